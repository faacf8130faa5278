"""Layouts: what is timed in turn, transposes that can go and those that cannot, hidden copies."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from archfab.deliver import lasting, moved
from archfab.hardware.measuring import layouts
from archfab.hardware.measuring.layouts import Ratio, compare, fitting, has_pictures, in_words
from archfab.hardware.measuring.torch_timing import hidden_copies, in_order
from archfab.hardware.measuring.transposes import count, without_transposes
from archfab.hardware.network import Network


class FakeClock:
    def __init__(self):
        self.now = 0.0

    def wall(self):
        return self.now

    process = wall

    def sleep(self, seconds):
        self.now += seconds


# --- in turn

@settings(deadline=None, max_examples=20)
@given(st.floats(1e-4, 1), st.floats(0.1, 10))
def test_a_known_ratio_is_found(seconds, factor):
    clock = FakeClock()
    ratio = compare(lambda: clock.sleep(seconds), lambda: clock.sleep(seconds * factor), 1, clock)
    assert ratio.value == pytest.approx(factor, rel=1e-6) == ratio.low == pytest.approx(ratio.high, rel=1e-6)
    assert ratio.first_ms == pytest.approx(1e3 * seconds, rel=1e-6)
    assert ratio.second_is_better == (factor < layouts.GAIN) or factor == pytest.approx(layouts.GAIN)


def test_a_machine_that_gets_slower_slows_both():
    clock = FakeClock()

    def run(seconds):
        return lambda: clock.sleep(seconds * (1 + clock.now))

    ratio = compare(run(0.01), run(0.008), 1, clock)
    assert ratio.low <= 0.8 <= ratio.high and ratio.value == pytest.approx(0.8, rel=0.1)


def test_a_gain_within_the_noise_is_none():
    assert Ratio(0.9, 0.85, 0.95, 1, 1).second_is_better
    assert not Ratio(0.9, 0.7, 1.05, 1, 1).second_is_better and not Ratio(0.98, 0.975, 0.985, 1, 1).second_is_better


# --- transposes

def model_of(nodes, inputs, outputs, constants=()):
    rank = len(next(iter(inputs.values())))
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name in outputs]
    given_ = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    graph = helper.make_graph(nodes, "g", given_, made, [numpy_helper.from_array(value, name)
                                                        for name, value in constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def transpose(x, y, perm=(0, 2, 3, 1)):
    return helper.make_node("Transpose", [x], [y], perm=list(perm))


BACK = (0, 3, 1, 2)


def outputs(model, seed=0):
    rng = np.random.default_rng(seed)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {slot.name: rng.standard_normal(slot.shape).astype("f") for slot in session.get_inputs()})


def same(one, two):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(outputs(one), outputs(two), strict=True))


SHAPE = {"x": [1, 3, 4, 5]}
REMOVABLE = {
    "a pair": ([transpose("x", "a"), transpose("a", "b", BACK), helper.make_node("Relu", ["b"], ["y"])], 0),
    "three that are one": ([transpose("x", "a"), transpose("a", "b", BACK), transpose("b", "y")], 1),
    "an elementwise operator between": ([transpose("x", "a"), helper.make_node("Relu", ["a"], ["b"]),
                                         transpose("b", "c", BACK), helper.make_node("Neg", ["c"], ["y"])], 0),
    "several between": ([transpose("x", "a"), helper.make_node("Relu", ["a"], ["b"]),
                         helper.make_node("Clip", ["b", "one", "six"], ["c"]),
                         helper.make_node("Mul", ["c", "six"], ["d"]), transpose("d", "e", BACK),
                         helper.make_node("Neg", ["e"], ["y"])], 0),
    "two that are added": ([transpose("x", "a"), helper.make_node("Neg", ["x"], ["n"]), transpose("n", "b"),
                            helper.make_node("Add", ["a", "b"], ["c"]), transpose("c", "d", BACK),
                            helper.make_node("Relu", ["d"], ["y"])], 0),
    "one added to itself": ([transpose("x", "a"), helper.make_node("Add", ["a", "a"], ["c"]),
                             transpose("c", "d", BACK), helper.make_node("Relu", ["d"], ["y"])], 0),
    "two that make another": ([transpose("x", "a", (0, 2, 1, 3)), transpose("a", "b", (0, 3, 2, 1)),
                               helper.make_node("Relu", ["b"], ["y"])], 1),
    "one of no effect": ([transpose("x", "a", (0, 1, 2, 3)), helper.make_node("Relu", ["a"], ["y"])], 0),
}
NEEDED = {
    "one alone": [transpose("x", "a"), helper.make_node("Relu", ["a"], ["y"])],
    "its other reader": [transpose("x", "a"), helper.make_node("Relu", ["a"], ["b"]), transpose("b", "c", BACK),
                         helper.make_node("ReduceSum", ["a"], ["s"], keepdims=1),
                         helper.make_node("Add", ["c", "s"], ["y"])],
    "a constant of several numbers": [transpose("x", "a"), helper.make_node("Add", ["a", "row"], ["b"]),
                                      transpose("b", "c", BACK), helper.make_node("Relu", ["c"], ["y"])],
    "two that are not alike": [transpose("x", "a"), transpose("x", "b", (0, 3, 2, 1)),
                               helper.make_node("ReduceSum", ["b"], ["s"], keepdims=1),
                               helper.make_node("Add", ["a", "s"], ["c"]), transpose("c", "d", BACK),
                               helper.make_node("Relu", ["d"], ["y"])],
}
CONSTANTS = (("one", np.float32(-1)), ("six", np.float32(0.5)), ("row", np.arange(3, dtype="f")))


@pytest.mark.parametrize("name", REMOVABLE)
def test_transposes_that_undo_each_other_go(name):
    nodes, left = REMOVABLE[name]
    model = model_of(nodes, SHAPE, ["y"], CONSTANTS)
    lean, saved = without_transposes(model)
    assert saved == count(model) - left == count(model) - count(lean) > 0
    onnx.checker.check_model(lean)
    assert same(model, lean)


@pytest.mark.parametrize("name", NEEDED)
def test_transposes_that_are_needed_stay(name):
    model = model_of(NEEDED[name], SHAPE, ["y"], CONSTANTS)
    lean, saved = without_transposes(model)
    assert saved == 0 and lean is model


def test_what_is_given_out_stays_under_its_name():
    model = model_of([transpose("x", "a"), transpose("a", "y", BACK)], SHAPE, ["a", "y"])
    lean, _ = without_transposes(model)
    assert [each.name for each in lean.graph.output] == ["a", "y"] and same(model, lean)


perms = st.permutations([0, 1, 2])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["t", "u", "b", "self"]), perms, st.integers(0, 20)), min_size=2, max_size=9))
def test_any_graph_of_transposes_computes_the_same_without_some(steps):
    nodes, made = [], ["x"]
    for i, (kind, perm, at) in enumerate(steps):
        source, out = made[at % len(made)], f"v{i}"
        nodes.append({"t": helper.make_node("Transpose", [source], [out], perm=list(perm)),
                      "u": helper.make_node("Relu", [source], [out]),
                      "b": helper.make_node("Add", [source, made[at // 3 % len(made)]], [out]),
                      "self": helper.make_node("Mul", [source, "six"], [out])}[kind])
        made.append(out)
    read = {name for node in nodes for name in node.input}
    ends = [name for name in made[1:] if name not in read]
    model = model_of(nodes, {"x": [2, 2, 2]}, ends, CONSTANTS[1:2])
    lean, saved = without_transposes(model)
    onnx.checker.check_model(lean)
    assert same(model, lean) and count(lean) == count(model) - saved


def test_a_graph_with_branches_is_left_alone():
    branch = helper.make_graph([helper.make_node("Identity", ["a"], ["z"])], "then", [],
                               [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])
    nodes = [transpose("x", "a"), transpose("a", "b", BACK),
             helper.make_node("If", ["yes"], ["c"], then_branch=branch, else_branch=branch),
             helper.make_node("Add", ["b", "b"], ["y"])]
    assert without_transposes(model_of(nodes, SHAPE, ["y"], [("yes", np.array(True))]))[1] == 0


# --- hidden copies

class Permuting(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = torch.nn.Conv2d(3, 8, 3), torch.nn.LayerNorm(8), torch.nn.Conv2d(8, 4, 1)

    def forward(self, x):
        y = self.norm(self.first(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.last(y.reshape(1, -1).reshape(y.shape))


def test_copies_inside_operators_and_of_their_own_are_found():
    rows = hidden_copies(Permuting().eval(), (torch.rand(1, 3, 10, 10),))
    assert [(row["operator"], row["name"]) for row in rows] == [
        ("contiguous", "inside native_layer_norm"), ("clone", "clone")]
    assert all(row["bytes"] == 2 * 8 * 8 * 8 * 4 and row["milliseconds"] > 0 for row in rows)
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    assert hidden_copies(plain, (torch.rand(1, 3, 9, 9),)) == []


def test_either_layout_is_an_order():
    x = torch.rand(2, 3, 4, 5)
    assert in_order(x) and in_order(x.contiguous(memory_format=torch.channels_last))
    assert not in_order(x.permute(0, 3, 2, 1)) and not in_order(x.transpose(1, 2))


# --- whole networks

@pytest.mark.slow
def test_a_network_with_pictures_is_compared_in_both_layouts(monkeypatch):
    monkeypatch.setattr(layouts, "BLOCK", 1e-4)
    monkeypatch.setattr(layouts.compare, "__defaults__", (1, layouts.Clock, 1e-4))
    module = Permuting().eval()
    before = [x.stride() for x in module.parameters()]
    found = layouts.layouts(Network(lambda: (module, (torch.rand(1, 3, 10, 10),))))
    assert found["torch"]["better"] in ("nchw", "nhwc") and found["torch"]["nhwc_ms"] > 0
    assert found["onnxruntime"]["better"] in ("nchw", "blocked")
    assert set(found["onnxruntime"]["inserted"]) == {"Transpose", "ReorderInput", "ReorderOutput"}
    assert {row["where"] for row in found["hidden"]} >= {"torch nchw"}
    assert [x.stride() for x in module.parameters()] == before
    assert json.loads(json.dumps(found)) == found and len(in_words(found)) == 4


@pytest.mark.slow
def test_the_command_line_compares_layouts(archfab, tmp_path):
    onnx.save(model_of(REMOVABLE["several between"][0], SHAPE, ["y"], CONSTANTS), tmp_path / "net.onnx")
    found = archfab("cost", "net.onnx", "--device", "null", "--layouts", "--json").json["layouts"]
    assert found["onnxruntime"]["transposes"]["exported"] == found["onnxruntime"]["transposes"]["avoidable"] == 2
    assert found["onnxruntime"]["transposes"]["equal"] and found["torch"] is None
    words = archfab("cost", "net.onnx", "--device", "null", "--layouts").out
    assert "transposes in the exported graph: 2, of which 2 undo each other" in words
    assert "torch: not compared, for it is no torch module" in words
    assert "layouts" not in archfab("cost", "net.onnx", "--device", "null", "--json").json


class Viewing(torch.nn.Module):
    """Looks at a picture in a way that only one order allows."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.first(x).view(x.shape[0], -1)


def test_a_network_that_runs_in_one_layout_alone_says_so():
    found = layouts.torch_layouts(Viewing().eval(), (torch.rand(2, 3, 10, 10),))
    assert found["better"] == "nchw" and "view" in found["failed"]
    model = model_of(REMOVABLE["a pair"][0], SHAPE, ["y"])
    chosen, _ = fitting(Viewing().eval(), model, (torch.rand(1, 3, 4, 5),))
    assert chosen["torch"] == "nchw"


def test_a_network_without_pictures_has_one_layout():
    module = torch.nn.Linear(4, 4)
    assert not has_pictures(module) and layouts.torch_layouts(module, (torch.rand(1, 4),)) is None


@pytest.mark.parametrize("equal", [True, False])
def test_an_onnx_graph_is_delivered_without_transposes_where_it_gives_the_same(equal, monkeypatch):
    model = model_of(REMOVABLE["an elementwise operator between"][0], SHAPE, ["y"], CONSTANTS)
    monkeypatch.setattr(layouts, "compare", lambda *_: pytest.fail("a file hangs on no clock"))
    if not equal:
        other = model_of([helper.make_node("Relu", ["x"], ["y"])], SHAPE, ["y"])
        monkeypatch.setattr(layouts, "without_transposes", lambda _: (other, 2))
    chosen, delivered = fitting(torch.nn.Identity(), model, (torch.randn(1, 3, 4, 5),))
    assert chosen["transposes_removed"] == (2 if equal else 0)
    assert count(delivered) == (0 if equal else 2)


# --- delivery

def test_measured_costs_are_no_difference_and_are_told_when_they_moved():
    def cost(value, origin):
        return {"value": value, "origin": origin, "low": value * 0.9, "high": value * 1.1}

    then = {"latency_ms": cost(1, "measured"), "macs": cost(5, "counted")}
    close, far = ({"latency_ms": cost(value, "measured"), "macs": cost(5, "counted")} for value in (1.05, 2))
    assert lasting(then) == lasting(close) == {"macs": then["macs"]}
    assert moved(then, close) == [] and moved(then, far) == ["latency_ms, measured: 1 then, 2 now"]
