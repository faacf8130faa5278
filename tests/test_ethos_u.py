"""The cost model `ethos_u`: Vela's figures for our own .tflite files, and what it says where it cannot give any."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from int8_nets import model

from archfab import registry
from archfab.core import BuildError, UsageError
from archfab.evaluate import load_device
from archfab.hardware.int8 import vela
from archfab.hardware.int8.quantise import quantise
from archfab.hardware.int8.tflite import write
from archfab.hardware.models.ethos_u import EthosU, refilled, structure
from archfab.hardware.onnx_file import record_onnx
from archfab.hardware.workload import Workload

F32 = np.float32
DEVICES = ("ethos-u55-128", "ethos-u85-256")
needs_vela = pytest.mark.skipif(not vela.installed(), reason="needs Arm's Vela: pip install 'archfab[ethos-u]'")


def network(width=16, seed=0, size=16):
    """Two convolutions, a depthwise one, a sum, a mean, a classifier."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return (0.3 * rng.standard_normal(shape)).astype(F32)

    held = {"w1": normal(width, 3, 3, 3), "w2": normal(width, 1, 3, 3), "w3": normal(width, width, 1, 1),
            "w4": normal(10, width)}
    nodes = [("Conv", ["x", "w1"], ["a"], {"pads": [1] * 4, "strides": [2, 2]}), ("Relu", ["a"], ["b"], {}),
             ("Conv", ["b", "w2"], ["c"], {"pads": [1] * 4, "group": width}), ("Conv", ["c", "w3"], ["d"], {}),
             ("Add", ["b", "d"], ["e"], {}), ("GlobalAveragePool", ["e"], ["f"], {}), ("Flatten", ["f"], ["g"], {}),
             ("Gemm", ["g", "w4"], ["y"], {"transB": 1})]
    return model(nodes, {"x": [1, 3, size, size]}, ["y"], held)


def numbers(**changes):
    """A device file's content; `None` takes an entry away."""
    found = {**registry.load("devices", "ethos-u55-128"), "name": "made-up"}
    found.update({key: {"value": value, "origin": "analytic", "source": "made up"} if isinstance(value, str | int) else
                  value for key, value in changes.items()})
    return {key: value for key, value in found.items() if value is not None}


@needs_vela
@pytest.mark.parametrize("name", [DEVICES[0], pytest.param(DEVICES[1], marks=pytest.mark.slow)])
def test_costs_come_from_vela_and_rows_add_up(name):
    device, workload = load_device(name), record_onnx(network())
    costs = device.cost(workload)
    assert set(costs.figures) == set(device.figures) and "energy_mj" not in costs.figures
    latency = costs.figures["latency_ms"]
    assert latency.origin == "simulated" and 0 < latency.low <= latency.value <= latency.high
    assert sum(row["latency_ms"] for row in costs.operators) == pytest.approx(latency.value)
    assert costs.figures["macs"].value == workload.macs
    found = {row["operator"]: row for row in costs.operators}
    assert found["conv2d"]["kind"] == "pointwise" and found["depthwiseconv2d"]["kind"] == "depthwise"
    assert found["fullyconnected"]["macs"] == 160 and found["add"]["kind"] == "elementwise"
    assert all(row["target"] == "npu" and row["energy_mj"] is None for row in costs.operators) and not costs.unknown
    assert found["conv2d"]["shape"] == [1, 8, 8, 16]
    for entry in device.sources.values():
        assert len(entry["source"]) > 20 and entry["origin"] == "simulated"


@needs_vela
@pytest.mark.slow
def test_the_interval_is_of_the_weights_and_is_asked_once_for_a_structure(monkeypatch):
    device = EthosU(numbers())
    calls = []
    monkeypatch.setattr(vela, "estimates", lambda networks, target, real=vela.estimates:
                        calls.append(len(networks)) or real(networks, target))
    one, other = (device.cost(record_onnx(network(64, seed))) for seed in (0, 1))
    assert calls == [3, 1] and device.cost(record_onnx(network(64, 0))) is one and calls == [3, 1]
    for name in ("latency_ms", "flash_kb"):
        assert one.figures[name].low == other.figures[name].low < one.figures[name].value
    graph = quantise(network(64))
    packed, noise = (vela.estimates([write(refilled(graph, noise))], device.target())[0] for noise in (False, True))
    assert one.figures["latency_ms"].low == packed.milliseconds
    assert packed.number("total_npu_encoded_weights") < 0.5 * noise.number("total_npu_encoded_weights")
    assert structure(graph) == structure(quantise(network(64, 1))) != structure(quantise(network(48)))


@needs_vela
@pytest.mark.slow
def test_wider_is_slower_and_a_faster_target_is_faster():
    narrow, wide = (EthosU(numbers()).cost(record_onnx(network(width, 0, 32))).figures for width in (16, 64))
    assert narrow["latency_ms"].value < wide["latency_ms"].value
    assert narrow["memory_kb"].value < wide["memory_kb"].value
    small = EthosU(numbers(accelerator="ethos-u55-32")).cost(record_onnx(network(64, 0, 32))).figures
    assert small["latency_ms"].value > wide["latency_ms"].value


@needs_vela
@pytest.mark.slow
def test_the_same_network_costs_the_same_and_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    costs = [EthosU(numbers()).cost(record_onnx(network())).plain() for _ in range(2)]
    assert costs[0] == costs[1] and os.listdir(tmp_path) == []


@needs_vela
def test_operators_on_the_cpu_are_unknown_and_never_free():
    nodes = [("Conv", ["x", "w"], ["a"], {}), ("Resize", ["a", "", "three"], ["y"], {
        "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"})]      # the NPU doubles, at most
    held = {"w": np.ones((4, 3, 1, 1), F32), "three": np.array([1, 1, 3, 3], F32)}
    costs = EthosU(numbers()).cost(record_onnx(model(nodes, {"x": [1, 3, 6, 6]}, ["y"], held)))
    assert len(costs.unknown) == 1 and costs.unknown[0].startswith("resizenearestneighbor (1 of ")
    assert [row["target"] for row in costs.operators].count("cpu") == 1
    with pytest.raises(BuildError, match="Vela leaves all of this network to the CPU"):
        EthosU(numbers()).cost(record_onnx(model([("ReduceMean", ["x"], ["y"], {})], {"x": [1, 4, 6, 6]}, ["y"])))


@needs_vela
@pytest.mark.parametrize("changes, words", [
    ({"accelerator": "ethos-u99"}, "invalid choice: 'ethos-u99'"),
    pytest.param({"system_config": "Nowhere"}, "System_Config.Nowhere not found", marks=pytest.mark.slow),
    pytest.param({"memory_mode": "Nothing"}, "Memory_Mode.Nothing not found", marks=pytest.mark.slow),
    pytest.param({"config": "absent.ini"}, "absent.ini", marks=pytest.mark.slow)])
def test_a_target_that_vela_does_not_know(changes, words):
    with pytest.raises(UsageError, match="Vela does not take this device: .*" + words):
        EthosU(numbers(**changes)).cost(record_onnx(network()))


@pytest.mark.parametrize("changes, words", [
    ({"accelerator": None}, r"needs \[accelerator\] with a value"), ({"memory_mode": {"value": "x"}}, "needs a value"),
    ({"accelerator": {"value": 3, "origin": "analytic", "source": "s"}}, "a name of Vela's, in quotes, not 3"),
    ({"system_config": {"value": "x", "origin": "guessed", "source": "s"}}, "the origin 'guessed'; legal: measured"),
    ({"arena_kb": -3}, "arena_kb is a number above 0, not -3"),
    ({"capacity": {"memory_kb": {"value": 0, "origin": "analytic", "source": "s"}}}, "above 0"),
    ({"capacity": {"energy_mj": {"value": 1, "origin": "analytic", "source": "s"}}}, "no capacity.energy_mj; legal")])
def test_bad_device_files(changes, words):
    with pytest.raises(UsageError, match=words):
        EthosU(numbers(**changes))


def test_without_vela_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'archfab\[ethos-u\]'"):
        EthosU(numbers()).cost(record_onnx(network()))


@needs_vela
def test_a_workload_without_its_network_is_refused_and_so_is_what_has_no_integers():
    with pytest.raises(BuildError, match="compiles the network itself, and this workload has none"):
        EthosU(numbers()).cost(Workload((), (), (), ()))
    with pytest.raises(BuildError, match="operators without an int8 form: Softplus"):
        EthosU(numbers()).cost(record_onnx(model([("Softplus", ["x"], ["y"], {})], {"x": [1, 4]}, ["y"])))


@needs_vela
def test_a_file_that_is_no_network_is_vela_s_error_in_one_line():
    with pytest.raises(BuildError, match="Vela cannot compile this network: "):
        vela.estimates([b"TFL3 and then nothing"], EthosU(numbers()).target())


@needs_vela
@pytest.mark.slow
def test_from_the_command_line(archfab, tmp_path):
    onnx.save(network(), tmp_path / "net.onnx")
    found = archfab("cost", "net.onnx", "--device", "ethos-u55-128", "--json").json
    assert found["costs"]["latency_ms"]["origin"] == "simulated" and found["unknown"] == []
    assert {row["target"] for row in found["operators"]} == {"npu"}
    assert "depthwiseconv2d" in archfab("cost", "net.onnx", "--device", "ethos-u85-256").out
    assert [d for d in archfab("list", "devices", "--json").json if d["name"] == "ethos-u55-128"]


PUBLISHED = {"ethos-u55-128": {"AD": 201184, "KWS": 89900, "IC": 201747, "VWW": 220870},
             "ethos-u85-256": {"AD": 62705, "KWS": 54311, "IC": 99010, "VWW": 212034}}
CLOCK = {"ethos-u55-128": 500e6, "ethos-u85-256": 1e9}


@needs_vela
@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_cycles_of_mlperf_tiny_lie_in_or_near_the_interval(name):
    """The published networks are trained; ours are not, but their interval is over all weights."""
    ethos = registry.user_file(Path(__file__).parents[1] / "benchmarks/ethos_u.py")
    for network_name, onnx_model in ethos.tiny_models().items():
        latency = load_device(name).cost(record_onnx(onnx_model)).figures["latency_ms"]
        published = PUBLISHED[name][network_name] / CLOCK[name] * 1e3
        assert 0.87 * latency.low <= published <= 1.05 * latency.high, (name, network_name)


def test_random_weights_do_not_change_what_is_not_weight():
    graph = quantise(network())
    other = refilled(graph, True)
    assert [t.data is None for t in graph.tensors] == [t.data is None for t in other.tensors]
    changed = [i for i, (a, b) in enumerate(zip(graph.tensors, other.tensors, strict=True)) if a.data is not b.data]
    assert {graph.tensors[i].axis is not None for i in changed} == {True} and len(changed) == 4


@needs_vela
@pytest.mark.slow
def test_the_page_can_be_followed(tmp_path, monkeypatch):
    from test_docs import BLOCK, ROOT
    blocks = BLOCK.findall((ROOT / "docs/int8.md").read_text())
    files = {file: text for _, file, text in blocks if file}
    assert list(files) == ["make.py"]
    (tmp_path / "make.py").write_text(files["make.py"])
    done = subprocess.run([sys.executable, "make.py"], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "network.tflite").stat().st_size > 1000
    page = (ROOT / "docs/int8.md").read_text()
    table = page[page.index("about = \"our chip\""):].split("```")[0]
    (tmp_path / "mine.toml").write_text(table)
    assert load_device(str(tmp_path / "mine.toml")).cost(record_onnx(network())).figures["latency_ms"].value > 0
