"""The accelerator as a device: whole networks, every operator accounted for, device files that are wrong."""

import json
import tomllib
from dataclasses import replace

import pytest
import torch
from torch import nn

from archfab import registry
from archfab.core import UsageError
from archfab.costing.costs import cost_of
from archfab.costing.mappings import write
from archfab.hardware.loops import Loops
from archfab.hardware.mapping.nest import Nest
from archfab.hardware.mapping.network import edge_of
from archfab.hardware.models.accelerator import Accelerator
from archfab.hardware.workload import record

BUNDLED = ("tpu-like", "edge-tpu-like", "eyeriss-like")


def numbers(name="tpu-like", **changes):
    return {**registry.load("devices", name), **changes}


def network():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1, groups=16),
        nn.Conv2d(16, 32, 1),
        nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, padding=1, groups=4), nn.ConvTranspose2d(32, 8, 4, 2, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


@pytest.fixture(scope="module")
def workload():
    return record(network(), (torch.zeros(1, 3, 32, 32),))


@pytest.mark.parametrize("name", BUNDLED)
def test_a_network_costs_what_its_operators_cost(name, workload):
    costs = Accelerator(numbers(name)).cost(workload)
    figures, rows = costs.figures, costs.operators
    assert costs.unknown == []
    assert figures["cycles"].value == pytest.approx(sum(row["cycles"] for row in rows))
    assert figures["energy_mj"].value == pytest.approx(sum(row["energy_mj"] for row in rows))
    clock = numbers(name)["clock_mhz"]["value"]
    assert figures["latency_ms"].value == pytest.approx(figures["cycles"].value / clock / 1e3)
    for figure in figures.values():
        assert 0 <= figure.low <= figure.value <= figure.high
    assert sum(row["macs"] for row in rows) == workload.macs == figures["macs"].value
    for row in rows:
        assert row["energy_mj"] == pytest.approx(sum(sum(each.values()) for each in row["energy_by_level_mj"].values()))
        assert row["cycles"] > 0 and row["bytes"] > 0 and row["mapping"]
        assert bool(row["nests"]) == bool(row["macs"]) and 0 <= row["utilisation"] <= 1
    json.dumps(costs.plain()), json.dumps(list(rows))
    assert set(figures) == set(Accelerator(numbers(name)).figures)


def test_every_kind_of_layer_is_the_loop_nest_that_it_should_be(workload):
    device = Accelerator(numbers("edge-tpu-like"))
    by_shape = {(row["kind"], tuple(row["shape"])): row for row in device.cost(workload).operators}
    transposed = by_shape["conv", (1, 8, 16, 16)]
    assert transposed["macs"] == 32 * 8 * 8 * 8 * 16          # stride divides the kernel: not one product is idle
    pool = by_shape["pool", (1, 32, 8, 8)]
    assert pool["bytes"] == 32 * 16 * 16 + 32 * 8 * 8 and pool["mapping"] == "past the array, through dram"
    assert pool["cycles"] == pool["bytes"] / 8                # 64 bit in a cycle


def test_attention_is_two_products_and_its_scores_pass_by():
    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)
    found = Accelerator(numbers()).cost(record(Attention(), (torch.zeros(1, 4, 16, 8),)))
    row, = (row for row in found.operators if row["macs"])
    assert row["kind"] == "attention" and len(row["nests"]) == 2 and row["macs"] == 2 * 4 * 16 * 16 * 8
    assert row["energy_by_level_mj"]["dram"]["past the array"] > 0


def test_what_has_no_loop_nest_is_listed_as_unknown_and_costs_nothing_silently():
    net = nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU())
    found = Accelerator(numbers()).cost(record(net, (torch.zeros(1, 1, 5, 5, 5),)))
    assert found.unknown and "convolution" in found.unknown


def test_inputs_end_at_the_edge():
    convolution = Loops(inputs=3, outputs=8, height=112, width=112, kernel_height=7, kernel_width=7, stride=(2, 2))
    assert edge_of(convolution, 3 * 224 * 224) == (224, 224)
    assert edge_of(convolution, 3 * 229 * 229) == (229, 229)
    assert edge_of(convolution, 3 * 230 * 230) is None
    one = Loops(inputs=4, width=10, kernel_width=3)
    assert edge_of(one, 4 * 10) == (1, 10)


def test_the_interval_is_what_both_ways_of_counting_say(workload):
    ours = Accelerator(numbers("eyeriss-like")).cost(workload).figures
    architecture = {**numbers("eyeriss-like")["architecture"], "rules": "zigzag"}
    assert ours["energy_mj"].low == pytest.approx(ours["energy_mj"].value)      # Timeloop counts fewer accesses
    assert ours["energy_mj"].high > 1.05 * ours["energy_mj"].value
    other = Accelerator(numbers("eyeriss-like", architecture=architecture)).cost(workload).figures
    assert other["energy_mj"].low < other["energy_mj"].high


def test_a_device_without_a_clock_gives_cycles_and_no_latency(workload):
    given = numbers()
    del given["clock_mhz"]
    device = Accelerator(given)
    assert "latency_ms" not in device.figures and "latency_ms" not in device.cost(workload).figures
    assert device.cost(workload).figures["cycles"].value > 0


def test_a_description_may_lie_in_a_yaml_file_beside_the_devices(tmp_path, workload):
    import yaml
    given = numbers("tpu-like")
    (tmp_path / "array.yaml").write_text(yaml.safe_dump({"name": "array", **given["architecture"]}, sort_keys=False))
    (tmp_path / "mine.toml").write_text('about = "mine"\nmodel = "accelerator"\narchitecture = "array.yaml"\n')
    device = Accelerator(registry.load("devices", str(tmp_path / "mine.toml")))
    assert replace(device.architecture, name="") == replace(Accelerator(given).architecture, name="")
    assert device.cost(workload).figures["cycles"].value == Accelerator(given).cost(workload).figures["cycles"].value


@pytest.mark.parametrize("name", BUNDLED)
def test_every_number_of_a_bundled_array_says_where_it_comes_from(name):
    sources = Accelerator(numbers(name)).sources
    assert {"clock_mhz", "operational_array", "memories.dram"} <= set(sources)
    assert all(entry["source"] and entry["origin"] for entry in sources.values())


CLOCK = {"value": 700, "unit": "MHz", "origin": "measured", "source": "here"}


@pytest.mark.parametrize("change, message", [
    ({"architecture": None}, "has no architecture: a table in ZigZag's terms"),
    ({"architecture": "array.toml"}, "has no architecture"),
    ({"architecture": "none.yaml"}, "there is no file"),
    ({"architecture": {"memories": {}}}, "architecture has no operational_array"),
    ({"objective": "speed"}, "objective is one of energy, latency, edp, not 'speed'"),
    ({"bits": 0}, "bits takes a whole number from 1 to 64, not 0"),
    ({"partial_bits": 8.5}, "partial_bits takes a whole number"),
    ({"clock_mhz": 700}, "clock_mhz needs a value, a unit, an origin and a source"),
    ({"clock_mhz": {**CLOCK, "unit": "GHz"}}, "clock_mhz is in MHz, not in GHz"),
    ({"clock_mhz": {**CLOCK, "value": 0}}, "clock_mhz takes a number above 0, not 0"),
    ({"clock_mhz": {**CLOCK, "origin": "felt"}}, "the origin 'felt'; legal: measured"),
    ({"clok_mhz": CLOCK}, "there is no clok_mhz; legal: name, path, about")])
def test_a_wrong_device_file_is_refused(change, message):
    with pytest.raises(UsageError, match=message):
        Accelerator(numbers(**change))


def test_the_bundled_files_are_plain_toml():
    for name in BUNDLED:
        path = registry.HERE / "hardware" / "devices" / f"{name}.toml"
        assert tomllib.loads(path.read_text())["model"] == "accelerator"


@pytest.fixture
def onnx_file(tmp_path):
    """A convolution and a pooling."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
         helper.make_node("MaxPool", ["y"], ["z"], kernel_shape=[2, 2], strides=[2, 2])], "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 8, 8, 8])],
        [numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_mappings_are_printed_written_and_drawn(onnx_file, capsys):
    import yaml
    document = cost_of(str(onnx_file), "tpu-like")
    write(document, "-")
    printed = capsys.readouterr().out
    assert "multiply-accumulate" in printed and "past the array, through dram" in printed
    for file in ("nests.yaml", "nests.json", "energy.svg", "energy.png"):
        write(document, str(onnx_file.parent / file))
    written = yaml.safe_load((onnx_file.parent / "nests.yaml").read_text())
    assert written == json.loads((onnx_file.parent / "nests.json").read_text())
    assert [each["nests"] for each in written["layers"]] == [row["nests"] for row in document["operators"]]
    architecture = Accelerator(numbers()).architecture
    nest, = document["operators"][0]["nests"]
    assert Nest.from_plain(nest, architecture).plain(architecture) == nest
    assert (onnx_file.parent / "energy.svg").read_text().startswith("<svg")
    assert (onnx_file.parent / "energy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_command_line_shows_costs_and_writes_mappings(onnx_file, archfab):
    document = archfab("cost", onnx_file, "--device", "tpu-like", "--mappings", "nests.yaml", "--json").json
    assert {"cycles", "energy_mj", "latency_ms", "utilisation"} <= set(document["costs"])
    assert (onnx_file.parent / "nests.yaml").exists()
    assert "utilisation" in archfab("cost", onnx_file, "--device", "eyeriss-like").out


@pytest.mark.parametrize("device, file, message", [
    ("cortex-m7", "-", "maps no loops; devices with the cost model `accelerator`"),
    ("tpu-like", "nests.txt", "a file that ends in .yaml, .yml, .json, .svg, .png"),
    ("tpu-like", "none/nests.json", "cannot be written: No such file")])
def test_mappings_that_cannot_be_had_say_why(onnx_file, archfab, device, file, message):
    assert message in archfab("cost", onnx_file, "--device", device, "--mappings", file, code=2).err


def test_a_wrong_mapping_file_is_refused():
    with pytest.raises(UsageError, match="no mapping on 'tpu-like': KeyError"):
        Nest.from_plain({"loops": []}, Accelerator(numbers()).architecture)
