"""What is no network for integers is refused with a reason, never with a traceback of another library."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_nets import model
from onnx import TensorProto, helper, numpy_helper

from archfab.core import BuildError, UsageError
from archfab.hardware.int8.graph import Graph
from archfab.hardware.int8.quantise import quantise

F32 = np.float32
WEIGHTS = {"w": np.ones((3, 2, 3, 3), F32)}


def small(shape=(1, 2, 6, 6), **more):
    return model([("Conv", ["x", "w"], ["y"], {})], {"x": list(shape)}, ["y"], WEIGHTS, **more)


def changed(change):
    one = small()
    change(one)
    return one


def free_height(one):
    one.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def free_batch(one):
    one.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def no_shape(one):
    one.graph.input[0].type.tensor_type.ClearField("shape")


def halves(one):
    one.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def doubles(one):
    one.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((3, 2, 3, 3)), "w"))


def whole_numbers(one):
    one.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64


def elsewhere(one):
    one.graph.initializer[0].data_location = TensorProto.EXTERNAL
    one.graph.initializer[0].external_data.add(key="location", value="../../etc/passwd")


@pytest.mark.parametrize("change, words", [
    (free_height, r"no fixed length along axis 2 \(height\)"), (no_shape, "shape"),
    (halves, "'x' is float16; export the network in float32"), (doubles, "'w' are double; export"),
    (whole_numbers, "'x' is int64; integer networks take float32 inputs"),
    (elsewhere, "the weights lie in another file"), (lambda one: one.ClearField("opset_import"), "which opset"),
    (lambda one: one.graph.ClearField("output"), "has no outputs"),
    (lambda one: one.graph.ClearField("input"), "has no inputs"),
    (lambda one: one.graph.initializer[0].dims.append(7), "no valid ONNX|onnxruntime does not take"),
    (lambda one: one.graph.node[0].input.append("nowhere"), "no valid ONNX"),
    (lambda one: one.graph.node[0].ClearField("op_type"), "no valid ONNX")])
def test_bad_models(change, words):
    with pytest.raises(UsageError, match=words):
        quantise(changed(change))


def test_a_free_batch_is_one_and_another_batch_is_refused():
    assert quantise(changed(free_batch)).tensors[0].shape == (1, 6, 6, 2)
    with pytest.raises(UsageError, match="a batch of 3; integer networks take one sample at a time"):
        quantise(small((3, 2, 6, 6)))


def test_bad_files(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        quantise(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no protobuf")
    with pytest.raises(UsageError, match="this is no ONNX file"):
        quantise(tmp_path / "text.onnx")
    with pytest.raises(UsageError, match="not int"):
        quantise(3)


@pytest.mark.parametrize("calibration, words", [
    ([], "at least one"), ([np.zeros((1, 2, 5, 6), F32)], r"has the shapes \[\(1, 2, 5, 6\)\]"),
    ([np.full((1, 2, 6, 6), np.nan, F32)], "not finite")])
def test_bad_calibration(calibration, words):
    with pytest.raises(UsageError, match=words):
        quantise(small(), calibration)


def test_what_depends_on_the_numbers_is_refused():
    nodes = [("NonZero", ["x"], ["n"], {}), ("Cast", ["n"], ["y"], {"to": 1})]
    with pytest.raises(BuildError, match=r"shape of 'n' depends on the input's numbers|NonZero"):
        quantise(model(nodes, {"x": [1, 4]}, ["y"]), [np.eye(1, 4, dtype=F32), np.ones((1, 4), F32)])
    with pytest.raises(BuildError, match="'y' is not finite"):
        quantise(model([("Log", ["x"], ["y"], {})], {"x": [1, 4]}, ["y"]), [-np.ones((1, 4), F32)])


def test_control_flow_and_other_domains_are_named():
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["b"])], "branch", [],
                               [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 4])])
    nodes = [("ReduceMax", ["x"], ["m"], {"keepdims": 0}), ("Greater", ["m", "zero"], ["c"], {}),
             ("If", ["c"], ["y"], {"then_branch": branch, "else_branch": branch})]
    with pytest.raises(BuildError, match="If at 'y'"):
        quantise(model(nodes, {"x": [1, 4]}, ["y"], {"zero": F32(0)}))
    one = model([("MatMul", ["x", "w"], ["y"], {})], {"x": [1, 4]}, ["y"], {"w": np.ones((4, 2), F32)})
    one.graph.node[0].op_type, one.graph.node[0].domain = "FusedMatMul", "com.microsoft"
    one.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises((BuildError, UsageError), match=r"com\.microsoft\.FusedMatMul"):
        quantise(one)


def test_a_constant_output_and_unused_inputs():
    held = {"k": np.ones((1, 3), F32), "w": np.ones((2, 3), F32)}
    with pytest.raises(BuildError, match="the output 'y' is a constant"):
        quantise(model([("Add", ["k", "k"], ["y"], {})], {"x": [1, 4]}, ["y"], held))
    bare = model([("Identity", ["k"], ["y"], {})], {"x": [1, 4]}, ["y"], held)
    del bare.graph.node[:]
    bare.graph.output[0].name = "k"
    with pytest.raises(BuildError, match="the output 'k' is a constant: this network does not look at its input"):
        quantise(bare)
    graph = quantise(model([("MatMul", ["x", "w"], ["y"], {})], {"x": [1, 2], "unused": [1, 5]}, ["y"], held))
    assert len(graph.inputs) == 2 and len(graph.nodes) == 1


# --- anything at all

def only_known_errors(source):
    try:
        assert isinstance(quantise(source), Graph)
    except (UsageError, BuildError) as error:
        assert str(error)


WHOLE = small().SerializeToString()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(WHOLE)), st.binary(max_size=20), st.integers(0, 20))
def test_damaged_bytes(cut, junk, skip):
    only_known_errors(WHOLE[:cut] + junk + WHOLE[cut + skip:])


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes(junk):
    only_known_errors(junk)


KINDS = ["Conv", "Relu", "Add", "Mul", "Sub", "Div", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Reshape",
         "Transpose", "Softmax", "Sigmoid", "HardSwish", "MatMul", "Gemm", "ReduceMean", "Flatten", "Squeeze", "Pad",
         "Slice", "Split", "Clip", "Identity", "Sqrt", "Erf", "Pow", "Gather", "LayerNormalization", "Expand", "Cast",
         "LSTM", "TopK", "Where", "Unsqueeze", "Resize", "BatchNormalization", "Shape", "Exp", "ReduceMax", "Neg"]
HELD = {"w": np.ones((2, 2, 3, 3), F32), "v": np.full(2, 0.5, F32), "i": np.array([1, -1]), "s": F32(0.7),
        "m": np.eye(6, dtype=F32)}
ATTRIBUTES = [{}, {"axis": 1}, {"axis": -1}, {"kernel_shape": [2, 2]}, {"perm": [0, 2, 3, 1]}, {"keepdims": 0},
              {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}, {"axes": [2, 3]}, {"to": 1}]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_networks(data):
    names, nodes = ["x"], []
    for i in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(KINDS))
        inputs = data.draw(st.lists(st.sampled_from([*names, *HELD]), min_size=1, max_size=3))
        inputs[0] = data.draw(st.sampled_from(names))
        nodes.append(helper.make_node(kind, inputs, [f"t{i}"], **data.draw(st.sampled_from(ATTRIBUTES))))
        names.append(f"t{i}")
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 6, 6])],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, ["a"] * data.draw(st.integers(1, 4)))],
        [numpy_helper.from_array(np.asarray(x), name) for name, x in HELD.items()])
    opset = data.draw(st.sampled_from([9, 13, 18]))
    only_known_errors(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


def test_the_source_is_left_as_it_was():
    one = changed(free_batch)
    before = one.SerializeToString()
    quantise(one)
    assert one.SerializeToString() == before
    onnx.checker.check_model(one)
