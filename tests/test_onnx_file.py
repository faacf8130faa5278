"""ONNX files as workloads: the same counts as the recorded network, and files that cannot be read."""

import random

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies
from onnx import TensorProto, helper, numpy_helper

from archfab.core import UsageError
from archfab.evaluate import load_device
from archfab.exporting import to_onnx
from archfab.hardware.loops import Loops
from archfab.hardware.onnx_file import read_onnx, record_onnx, zeros
from archfab.hardware.workload import record
from archfab.plan import plan


def model_of(nodes, inputs, outputs, constants=(), opset=17, **types):
    """A graph: inputs and outputs by name and shape, constants by name and array."""
    def info(name, shape):
        return helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), shape)

    graph = helper.make_graph(nodes, "g", [info(*each) for each in inputs.items()],
                              [info(*each) for each in outputs.items()],
                              [numpy_helper.from_array(array, name) for name, array in dict(constants).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(("space", "apart"), [("mobile", 0.01), ("attention", 0.2)])
def test_an_exported_network_counts_as_the_recorded_one(space, apart):
    """The products of attention and their scaling are operators of their own in ONNX."""
    bench = plan("vision", space=space, data=None, device="cortex-m7", options={})
    recorded = bench.workload(bench.space.sample(random.Random(1)))
    read = record_onnx(recorded.network.onnx())
    assert read.macs == recorded.macs
    nests, theirs = ([op.loops for op in each.ops if op.kind in ("conv", "pointwise", "depthwise")]
                     for each in (recorded, read))
    assert nests == theirs and nests
    ours, theirs = (load_device("cortex-m7").cost(each).figures for each in (recorded, read))
    assert theirs["latency_ms"].value == pytest.approx(ours["latency_ms"].value, rel=apart)
    assert theirs["memory_kb"].value == pytest.approx(ours["memory_kb"].value, rel=apart)


def test_a_network_behind_a_file_is_that_file():
    model = to_onnx(torch.nn.Linear(3, 2), (torch.rand(4, 3),))
    workload = record_onnx(model)
    assert workload.network.module() is None
    assert [tuple(x.shape) for x in workload.network.inputs()] == [(4, 3)]
    assert record(torch.nn.Linear(3, 2), (torch.rand(4, 3),)).ops[0].loops == workload.ops[0].loops


def test_constants_and_views_are_no_operators():
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
             helper.make_node("Reshape", ["x", "s"], ["y"]), helper.make_node("MatMul", ["y", "wt"], ["z"])]
    workload = record_onnx(model_of(nodes, {"x": [2, 3]}, {"z": [2, 4]}, {"w": ones(4, 3)}))
    assert [op.name for op in workload.ops] == ["MatMul"]
    assert workload.params == 12 and workload.macs == 24
    assert workload.ops[0].loops == (Loops(outputs=4, inputs=3, height=2),)


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers_are_counted(kind, gates):
    length, batch, features, hidden = 5, 2, 3, 7
    node = helper.make_node(kind, ["x", "w", "r"], ["y"], hidden_size=hidden)
    workload = record_onnx(model_of([node], {"x": [length, batch, features]}, {"y": [length, 1, batch, hidden]},
                                    {"w": ones(1, gates * hidden, features), "r": ones(1, gates * hidden, hidden)}))
    assert workload.macs == gates * length * batch * hidden * (features + hidden)
    flash = load_device("cortex-m7").cost(workload).figures["flash_kb"].value
    assert flash == gates * hidden * (features + hidden) / 1024


def test_shapes_that_hang_on_values_are_found_by_a_run():
    nodes = [helper.make_node("NonZero", ["x"], ["at"]), helper.make_node("Cast", ["at"], ["y"], to=TensorProto.FLOAT)]
    workload = record_onnx(model_of(nodes, {"x": [2, 3]}, {"y": [2, None]}))
    assert [op.shape for op in workload.ops] == [(2, 0), (2, 0)]         # of zeros, none is no zero


def test_an_unknown_operator_is_listed():
    node = helper.make_node("Det", ["x"], ["y"])
    workload = record_onnx(model_of([node], {"x": [1, 3, 3]}, {"y": [1]}))
    assert load_device("cortex-m7").cost(workload).unknown == ["Det"]


def test_a_batch_of_any_size_is_one_and_other_axes_are_asked_for():
    node = helper.make_node("Relu", ["x"], ["y"])
    model = model_of([node], {"x": ["batch", 4]}, {"y": ["batch", 4]})
    assert record_onnx(model).ops[0].shape == (1, 4)
    assert record_onnx(model, {"x": [7, 4]}).ops[0].shape == (7, 4)
    open_ = model_of([node], {"x": [1, "length"]}, {"y": [1, "length"]})
    with pytest.raises(UsageError, match=r"axis 1 may be of any size; say it: --shape x=1x64"):
        record_onnx(open_)
    assert record_onnx(open_, {"x": [1, 9]}).ops[0].shape == (1, 9)
    with pytest.raises(UsageError, match="has 2 axes"):
        record_onnx(open_, {"x": [9]})
    with pytest.raises(UsageError, match="no input 'z'; it has: x"):
        record_onnx(open_, {"z": [9]})


def macs_of(node, inputs, output, **more):
    return record_onnx(model_of([node], inputs, {"y": output}, **more)).macs


@pytest.mark.parametrize(("a", "b", "macs"), [
    ((2, 3), (5, 3, 4), 120), ((1, 4, 2, 3), (5, 1, 3, 4), 480), ((5, 2, 3), (3, 4), 120), ((3,), (5, 3, 4), 60),
    ((5, 2, 3), (3,), 30), ((7, 5, 2, 3), (5, 3, 4), 840)])
def test_products_of_a_batch_are_as_many_as_the_outputs_say(a, b, macs):
    """Each output is a sum over the axis that vanishes, whichever factor has the batch."""
    out = (np.ones(a) @ np.ones(b)).shape
    assert macs == np.prod(out) * a[-1]
    assert macs_of(helper.make_node("MatMul", ["a", "b"], ["y"]), {"a": a, "b": b}, out) == macs


@pytest.mark.parametrize(("equation", "a", "b", "macs"), [
    ("ij,jk->ik", (2, 3), (3, 4), 24), ("...ij,...jk->...ik", (7, 2, 3), (7, 3, 4), 168),
    ("b...i,io->b...o", (2, 5, 3), (3, 4), 120), ("...i,...i->...", (5, 1, 3), (6, 3), 90)])
def test_sums_of_products_count_what_dots_stand_for(equation, a, b, macs):
    out = np.einsum(equation, np.ones(a), np.ones(b)).shape
    assert macs_of(helper.make_node("Einsum", ["a", "b"], ["y"], equation=equation), {"a": a, "b": b}, out) == macs


def test_attention_is_counted_as_its_two_products():
    flat = {"q": [2, 10, 128], "k": [2, 12, 32], "v": [2, 12, 32]}
    node = helper.make_node("Attention", list(flat), ["y"], q_num_heads=8, kv_num_heads=2)
    assert macs_of(node, flat, [2, 10, 128], opset=23) == 2 * 2 * 8 * 10 * 12 * 16
    apart = {"q": [2, 8, 10, 16], "k": [2, 8, 12, 16], "v": [2, 8, 12, 16]}
    workload = record_onnx(model_of([helper.make_node("Attention", list(apart), ["y"])], apart,
                                    {"y": [2, 8, 10, 16]}, opset=23))
    q, k = torch.zeros(2, 8, 10, 16), torch.zeros(2, 8, 12, 16)
    (theirs,) = (op for op in record(Attending(), (q, k)).ops if op.kind == "attention")
    assert workload.ops[0].loops == theirs.loops


class Attending(torch.nn.Module):
    def forward(self, q, k):
        return torch.nn.functional.scaled_dot_product_attention(q, k, k)


def test_weights_in_a_constant_are_parameters():
    weight = numpy_helper.from_array(ones(4, 3), "v")
    nodes = [helper.make_node("Constant", [], ["w"], value=weight),
             helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)]
    workload = record_onnx(model_of(nodes, {"x": [2, 3]}, {"y": [2, 4]}))
    assert workload.params == 12 and [op.name for op in workload.ops] == ["Gemm"]


def test_scales_and_zero_points_are_no_parameters():
    constants = {"s": np.float32(0.1), "z": np.int8(0), "w": np.ones((4, 3, 3, 3), np.int8), "ws": ones(4),
                 "wz": np.zeros(4, np.int8)}
    first = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"])
    apart = [first, helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
             helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
             helper.make_node("Conv", ["xd", "wd"], ["y"])]
    whole = [first, helper.make_node("QLinearConv", ["xq", "s", "z", "w", "ws", "wz", "s", "z"], ["yq"]),
             helper.make_node("DequantizeLinear", ["yq", "s", "z"], ["y"])]
    for nodes in (apart, whole):
        workload = record_onnx(model_of(nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 4, 6, 6]}, constants))
        assert (workload.params, workload.macs) == (108, 36 * 108)
        assert {b.dtype for b in workload.buffers if b.role == "parameter"} == {"int8"}


@pytest.mark.parametrize("known", [True, False])
def test_branches_are_listed_and_what_they_hold_is_counted(known):
    def branch(name):
        return helper.make_graph([helper.make_node("MatMul", ["x", name], [f"{name}y"])], name, [],
                                 [helper.make_tensor_value_info(f"{name}y", TensorProto.FLOAT, [2, 4])],
                                 [numpy_helper.from_array(ones(3, 4), name)])

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    model = model_of([node], {"x": [2, 3]} | ({} if known else {"c": []}), {"y": [2, 4]},
                     {"c": np.array(True)} if known else {}, c=TensorProto.BOOL)
    workload = record_onnx(model)
    assert [(op.name, op.kind) for op in workload.ops] == [("If", "unknown")] and workload.params == 24
    assert workload.inputs[0] in workload.ops[0].reads


def test_an_operator_of_somebody_else_is_unknown_whatever_its_name():
    node = helper.make_node("Relu", ["x"], ["y"], domain="somebody")
    model = model_of([node], {"x": [2, 3]}, {"y": [2, 3]})
    model.opset_import.append(helper.make_opsetid("somebody", 1))
    assert record_onnx(model).ops[0].kind == "unknown"


def test_functions_are_taken_apart():
    two = helper.make_function("own", "Two", ["a"], ["b"], [helper.make_node("MatMul", ["a", "a"], ["b"])],
                               [helper.make_opsetid("", 17)])
    model = model_of([helper.make_node("Two", ["x"], ["y"], domain="own")], {"x": [3, 3]}, {"y": [3, 3]})
    model.functions.append(two)
    model.opset_import.append(helper.make_opsetid("own", 1))
    workload = record_onnx(model)
    assert [op.name for op in workload.ops] == ["MatMul"] and workload.macs == 27


def test_sparse_weights_and_sequences():
    sparse = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [2, 3]}, {"y": [2, 4]})
    sparse.graph.sparse_initializer.append(helper.make_sparse_tensor(
        helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("at", TensorProto.INT64, [2], [0, 5]), [3, 4]))
    assert (record_onnx(sparse).macs, record_onnx(sparse).params) == (24, 12)
    nodes = [helper.make_node("SequenceConstruct", ["x", "x"], ["s"]),
             helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)]
    with pytest.raises(UsageError, match="shape of 's' in the model is not known: it may be no tensor"):
        record_onnx(model_of(nodes, {"x": [2, 3]}, {"y": [4, 3]}))


@pytest.mark.parametrize(("shape", "message"), [
    (None, "does not say the shape of the input 'x'; say it: --shape x=1x3x224x224"),
    ([1, -1], r"is 1x\?, whose axis 1 .* --shape x=1x64,"), ([1, 3, "x"], "--shape x=1x3x64,"),
    ([1, "h", "w"], "is 1xhxw, .* --shape x=1x64x64,")])
def test_a_shape_that_is_open_is_asked_for(shape, message):
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": shape}, {"y": shape})
    with pytest.raises(UsageError, match=message):
        record_onnx(model)
    axes = [5] * (len(shape) if shape else 2)
    assert record_onnx(model, {"x": axes}).ops[0].shape == tuple(axes)


def test_files_that_are_no_model_are_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        read_onnx(tmp_path / "none.onnx")
    whole = to_onnx(torch.nn.Linear(3, 2), (torch.rand(4, 3),)).SerializeToString()
    for content in (b"", b"no model", whole[:len(whole) // 2]):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(UsageError, match=r"bad.onnx is no ONNX model"):
            read_onnx(tmp_path / "bad.onnx")


def test_shapes_that_contradict_each_other_are_refused():
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    with pytest.raises(UsageError, match=r"MatMul .* multiplies 2x3 by 5x4"):
        record_onnx(model_of([node], {"x": [2, 3]}, {"y": [2, 4]}, {"w": ones(5, 4)}))


def test_zeros_have_the_types_of_the_inputs():
    node = helper.make_node("Gather", ["table", "at"], ["y"])
    model = model_of([node], {"at": [3]}, {"y": [3, 2]}, {"table": ones(5, 2)}, at=TensorProto.INT64)
    assert zeros(model)[0].dtype == torch.int64
    assert isinstance(model, onnx.ModelProto)


WHOLE = model_of([helper.make_node("Conv", ["x", "w"], ["y"], name="a", strides=[2, 2]),
                  helper.make_node("Flatten", ["y"], ["f"], name="b"), helper.make_node("Gemm", ["f", "g"], ["z"])],
                 {"x": [1, 3, 9, 9]}, {"z": [1, 2]}, {"w": ones(4, 3, 3, 3), "g": ones(64, 2)}).SerializeToString()


@given(at=strategies.integers(0, len(WHOLE) - 1), byte=strategies.integers(0, 255), end=strategies.integers(1, 2000))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_refused_or_still_a_model(at, byte, end, tmp_path):
    content = bytearray(WHOLE)
    content[at] = byte
    (tmp_path / "damaged.onnx").write_bytes(content[:end])
    try:
        workload = record_onnx(read_onnx(tmp_path / "damaged.onnx"))
    except UsageError as error:
        assert str(error)
    else:
        assert workload.macs >= 0 and all(b.elements >= 0 for b in workload.buffers)
