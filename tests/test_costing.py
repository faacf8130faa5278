"""`archfab cost`: a genotype, an ONNX file and a bundle cost the same; what cannot be costed is refused in words."""

import json
import random

import onnx
import pytest
import torch

from archfab.cli import main
from archfab.core import BuildError, Device, UsageError
from archfab.costing.costs import cost_of, costs_on, workload_of
from archfab.exporting import to_onnx
from archfab.plan import plan


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network of the cell space as a genotype, as an ONNX file, and as a folder with one."""
    folder = tmp_path_factory.mktemp("cost")
    bench = plan("vision", space="mobile", data=None, device="null", options={})
    genotype = bench.space.sample(random.Random(4))
    (folder / "genotype.json").write_text(json.dumps(genotype))
    onnx.save(bench.workload(genotype).network.onnx(), folder / "network.onnx")
    return folder


def test_a_genotype_a_file_and_a_bundle_cost_the_same(network):
    of_task = cost_of("vision", "cortex-m7", str(network / "genotype.json"), "mobile")
    of_file, of_folder = (cost_of(str(path), "cortex-m7") for path in (network / "network.onnx", network))
    assert of_file["costs"] == of_folder["costs"]
    assert of_file["costs"]["macs"] == of_task["costs"]["macs"]
    assert of_file["costs"]["latency_ms"]["value"] == pytest.approx(of_task["costs"]["latency_ms"]["value"], rel=0.01)


def test_every_number_says_where_it_comes_from(network, capfd):
    assert main(["cost", str(network / "network.onnx"), "--device", "cortex-m7", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert {"value", "low", "high", "origin"} == set(document["costs"]["latency_ms"])
    assert "MLPerf Tiny" in document["sources"]["utilisation.conv"]["source"]
    assert sum(row["latency_ms"] for row in document["operators"]) == pytest.approx(
        document["costs"]["latency_ms"]["value"])
    assert document["unknown"] == [] and document["capacity"]["memory_kb"] == 1024


def test_what_does_not_fit_is_said(tmp_path, capsys):
    onnx.save(to_onnx(torch.nn.Linear(3000, 1000), (torch.rand(1, 3000),)), tmp_path / "wide.onnx")
    assert main(["cost", str(tmp_path / "wide.onnx"), "--device", "cortex-m7"]) == 0
    assert "it does not fit: flash_kb is 2934, and cortex-m7 has room for 2048" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "message"), [
    (["vision"], "say which network: --genotype FILE"),
    (["toy", "--genotype", "GENOTYPE"], "the task 'toy' has no networks"),
    (["vision", "--genotype", "none.json"], "none.json cannot be read"),
    (["vision", "--genotype", "NETWORK"], "is no JSON file"),
    (["vision", "--space", "cell", "--genotype", "GENOTYPE"], "the genotype lacks 'cell.0-1'"),
    (["vision", "--shape", "x=1x3"], "--shape says the inputs of an ONNX file"),
    (["NETWORK", "--genotype", "GENOTYPE"], "an ONNX file is a network of its own; leave --genotype out"),
    (["NETWORK", "--shape", "input=1x0"], "--shape is written NAME=1x3x224x224, not 'input=1x0'"),
    (["NETWORK", "--shape", "1x3x8x8"], "--shape is written"),
    (["NETWORK", "--shape", "image=1x3x8x8"], "has no input 'image'; it has: input"),
    (["none.onnx"], "there is no file none.onnx"),
    (["NETWORK", "--device", "cortex-m8"], "no device named 'cortex-m8'"),
])
def test_what_cannot_be_costed_is_refused(words, message, network, capsys):
    places = {"NETWORK": str(network / "network.onnx"), "GENOTYPE": str(network / "genotype.json")}
    assert main(["cost", *(places.get(word, word) for word in words)]) == 2
    assert message in capsys.readouterr().err


class Refusing(Device):
    """A device that has no room for anything."""

    name = "tiny"

    def cost(self, workload):
        raise BuildError("it needs 9 kB of flash, and there are 8")


def test_a_network_that_a_device_cannot_take(network):
    workload = workload_of(str(network), None, None, None, (), {})
    with pytest.raises(UsageError, match="'tiny' cannot cost this network: it needs 9 kB"):
        costs_on(Refusing(), workload)
