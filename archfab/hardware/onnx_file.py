"""An ONNX file as a workload: the operators of its graph, with shapes inferred or, where that fails, found by a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfab.core import UsageError
from archfab.hardware.loops import Loops, convolution, product_of
from archfab.hardware.network import Network
from archfab.hardware.operators import ONNX_KINDS, ONNX_VIEWS
from archfab.hardware.windows import Window, made
from archfab.hardware.workload import Buffer, Op, Workload

if TYPE_CHECKING:
    import onnx
    import torch

CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3, "ConvTranspose": 1, "DeformConv": 1}
"""The operators that convolve, and which of their inputs holds the weights."""
PRODUCTS = {"MatMul": 1, "MatMulInteger": 1, "FusedMatMul": 1, "QLinearMatMul": 3, "Gemm": 1}
RECURRENT = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""Gates, each a product with the input and one with the state."""
CONSTANT = {"Constant", "ConstantOfShape", "Shape", "Size", "Range", "EyeLike", "RandomNormal", "RandomUniform"}
STATISTICS = {"BatchNormalization": (3, 4)}
"""Inputs that are constants but no parameters."""


def record_onnx(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]] | None = None) -> Workload:
    """The workload of an ONNX model on inputs of the shapes that it says, or of `shapes`; a batch that may be of any
    size is 1.

    :raises UsageError: where it is no valid model, or a shape is not known.
    """
    model = settled(model, shapes or {})
    reader = Reader(model, known_types(model))
    for node in model.graph.node:
        reader.take(node)
    return replace(reader.workload(), network=Network(model=model))


def read_onnx(path: Path | str) -> onnx.ModelProto:
    """An ONNX file, checked; weights in files beside it are read too."""
    import onnx
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path}")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        return model
    except Exception as error:
        raise UsageError(f"{path} is no ONNX model that can be read: {(str(error).splitlines() or ['?'])[0]}") from None


def settled(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """The model for inputs of one shape."""
    import onnx
    model_ = onnx.ModelProto()
    model_.CopyFrom(model)
    constants = {each.name for each in model_.graph.initializer}
    inputs = [each for each in model_.graph.input if each.name not in constants]
    if strange := sorted(shapes.keys() - {each.name for each in inputs}):
        raise UsageError(f"the model has no input '{strange[0]}'; it has: {', '.join(each.name for each in inputs)}")
    for each in inputs:
        if not each.type.HasField("tensor_type"):
            raise UsageError(f"the input '{each.name}' is no tensor")
        dims = each.type.tensor_type.shape.dim
        asked = shapes.get(each.name)
        if asked is not None and len(asked) != len(dims):
            raise UsageError(f"the input '{each.name}' has {len(dims)} axes, not the {len(asked)} of "
                             f"{'x'.join(map(str, asked))}")
        for axis, dim in enumerate(dims):
            if asked is not None:
                dim.dim_value = int(asked[axis])
            elif not dim.dim_value and axis == 0:
                dim.dim_value = 1
            elif not dim.dim_value:
                words = "x".join(str(d.dim_value or d.dim_param or "?") for d in dims)
                raise UsageError(f"the input '{each.name}' is {words}, whose axis {axis} may be of any size; say it: "
                                 f"--shape {each.name}={words.replace(dim.dim_param or '?', '64')}")
    return model_


Type = tuple[tuple[int, ...], str]


def known_types(model: onnx.ModelProto) -> dict[str, Type]:
    """Shape and number type of every tensor by name."""
    import onnx
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception:
        inferred = model        # a run will show the shapes, or say what is wrong with them
    found = {each.name: (tuple(each.dims), type_name(each.data_type)) for each in model.graph.initializer}
    for each in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        dims = each.type.tensor_type.shape.dim
        if each.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            found.setdefault(each.name, (tuple(dim.dim_value for dim in dims),
                                         type_name(each.type.tensor_type.elem_type)))
    if all(name in found for node in model.graph.node for name in node.output if name):
        return found
    return {**types_by_running(model), **found}


def type_name(code: int) -> str:
    """float32, int8, ...: as torch calls them."""
    import onnx
    return onnx.TensorProto.DataType.Name(code).lower().replace("float", "float32" if code == 1 else "float").replace(
        "double", "float64")


def types_by_running(model: onnx.ModelProto) -> dict[str, Type]:
    """The types of all tensors, from a run on zeros: what depends on values cannot be inferred."""
    import onnx
    import onnxruntime
    open_ = onnx.ModelProto()
    open_.CopyFrom(model)
    there = {each.name for each in open_.graph.output}
    names = [name for node in open_.graph.node for name in node.output if name and name not in there]
    open_.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(open_.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feed = {slot.name: x.numpy() for slot, x in zip(session.get_inputs(), zeros(model), strict=True)}
        values = session.run(None, feed)
    except Exception as error:
        raise UsageError("some shapes in the model are not known, and it cannot be run to find them: "
                         f"{str(error).splitlines()[0]}") from None
    return {slot.name: (tuple(value.shape), str(value.dtype)) for slot, value
            in zip(session.get_outputs(), values, strict=True) if hasattr(value, "shape")}


def zeros(model: onnx.ModelProto) -> tuple[torch.Tensor, ...]:
    """Zeros for the inputs of a model whose shapes are settled."""
    import torch
    constants = {each.name for each in model.graph.initializer}
    return tuple(torch.zeros([dim.dim_value or 1 for dim in each.type.tensor_type.shape.dim],
                             dtype=getattr(torch, type_name(each.type.tensor_type.elem_type), torch.float32))
                 for each in model.graph.input if each.name not in constants)


class Reader:
    """Goes through the nodes of a graph and notes operators and buffers."""

    def __init__(self, model: onnx.ModelProto, types: Mapping[str, Type]) -> None:
        self.types = types
        self.ops: list[Op] = []
        self.buffers: list[Buffer] = []
        self.numbers: dict[str, int] = {}       # tensor -> buffer
        self.constant: set[str] = set()
        self.graph = model.graph
        no_parameters = {node.input[i] for node in model.graph.node for i in STATISTICS.get(node.op_type, ())}
        for each in model.graph.initializer:
            trained = each.dims and type_name(each.data_type) != "int64" and each.name not in no_parameters
            self.number(each.name, "parameter" if trained else "state")
            self.constant.add(each.name)
        self.inputs = tuple(self.number(each.name) for each in model.graph.input if each.name not in self.numbers)

    def workload(self) -> Workload:
        outputs = tuple(self.number(each.name) for each in self.graph.output)
        return Workload(tuple(self.ops), tuple(self.buffers), self.inputs, outputs)

    def number(self, name: str, role: str = "activation") -> int:
        """The buffer of a tensor."""
        if name not in self.numbers:
            shape, dtype = self.types[name]
            self.numbers[name] = len(self.buffers)
            self.buffers.append(Buffer(math.prod(shape), role, dtype))
        return self.numbers[name]

    def take(self, node: Any) -> None:
        """Notes one node; views and what is known before the run are no operators."""
        inputs = [name for name in node.input if name]
        fixed = node.op_type in CONSTANT or (bool(inputs) and all(name in self.constant for name in inputs))
        first = self.numbers.get(inputs[0]) if inputs else None
        if fixed or node.op_type in ONNX_VIEWS:
            for name in node.output:
                if not name:
                    continue
                if fixed:
                    self.constant.add(name)
                alike = first is not None and self.buffers[first].elements == math.prod(self.types[name][0])
                if alike and first is not None:
                    self.numbers[name] = first
                else:
                    self.number(name, "state" if fixed else "activation")
            return
        reads = tuple(dict.fromkeys(self.number(name) for name in inputs
                                    if not (name in self.constant and self.types[name][1] == "int64")))
        only = 1 if node.op_type in ("MaxPool", "BatchNormalization") else None
        outputs = [name for name in node.output if name][:only]
        loops = self.loops(node)
        macs = sum(nest.macs for nest in loops) or self.other_macs(node)
        self.ops.append(Op(node.op_type, self.kind(node), reads, tuple(map(self.number, outputs)), macs,
                           self.types[outputs[0]][0], self.detail(node), loops,
                           self.window(node)))

    def shape(self, name: str) -> tuple[int, ...]:
        return self.types[name][0]

    def loops(self, node: Any) -> tuple[Loops, ...]:
        if node.op_type in CONVOLUTIONS:
            spatial = len(self.shape(node.input[0])) - 2
            return convolution(self.shape(node.input[0]), self.weight(node), self.shape(node.output[0]),
                               attribute(node, "strides", [1] * spatial), attribute(node, "dilations", [1] * spatial),
                               node.op_type == "ConvTranspose", attribute(node, "group", 1))
        if node.op_type in PRODUCTS:
            a, b = self.shape(node.input[0]), self.weight(node)
            a = a[::-1] if attribute(node, "transA", 0) else a
            b = (*b[:-2], b[-1], b[-2]) if attribute(node, "transB", 0) else b
            if a[-1] != b[-2 if len(b) > 1 else 0]:
                raise UsageError(f"the shapes in the model contradict each other: {node.op_type} '{node.name}' "
                                 f"multiplies {'x'.join(map(str, a))} by {'x'.join(map(str, b))}")
            return (product_of(a, b),)
        return ()

    def window(self, node: Any) -> Window | None:
        """Of convolutions and pools of images; padding that a runtime chooses is what the sizes leave over."""
        if node.op_type not in ("Conv", "MaxPool", "AveragePool") or len(self.shape(node.input[0])) != 4:
            return None
        x, out = self.shape(node.input[0]), self.shape(node.output[0])
        kernel = attribute(node, "kernel_shape", None) or self.weight(node)[2:]
        stride, dilation = attribute(node, "strides", [1, 1]), attribute(node, "dilations", [1, 1])
        padding = attribute(node, "pads", [0, 0])[:2]
        if (chosen := attribute(node, "auto_pad", b"NOTSET")) in (b"SAME_UPPER", b"SAME_LOWER"):
            over = [max(0, (out[2 + i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 - x[2 + i]) for i in (0, 1)]
            padding = [each // 2 if chosen == b"SAME_UPPER" else -(-each // 2) for each in over]
        return made(x, kernel, stride, padding, dilation)

    def weight(self, node: Any) -> tuple[int, ...]:
        return self.shape(node.input[{**CONVOLUTIONS, **PRODUCTS}[node.op_type]])

    def other_macs(self, node: Any) -> int:
        """Of recurrent layers, sums of products, and convolutions in three dimensions."""
        if node.op_type == "Einsum":
            letters = attribute(node, "equation", b"").decode().replace(" ", "").replace("...", "").split("->")[0]
            sizes = {letter: size for term, name in zip(letters.split(","), node.input, strict=True)
                     for letter, size in zip(term[::-1], self.shape(name)[::-1], strict=False)}
            return math.prod(sizes.values()) if len(node.input) > 1 else 0
        if node.op_type in RECURRENT:
            length, batch, features = self.shape(node.input[0])
            directions, hidden = self.shape(node.input[2])[0], self.shape(node.input[2])[2]
            return RECURRENT[node.op_type] * directions * length * batch * hidden * (features + hidden)
        if node.op_type in CONVOLUTIONS:
            across = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
            weight = self.weight(node)
            return self.shape(across)[0] * math.prod(self.shape(across)[2:]) * math.prod(weight)
        return 0

    def kind(self, node: Any) -> str:
        if node.op_type in CONVOLUTIONS:
            weight, groups = self.weight(node), attribute(node, "group", 1)
            if groups > 1 and weight[1] == 1:
                return "depthwise"
            return "pointwise" if math.prod(weight[2:]) == 1 else "conv"
        return ONNX_KINDS.get(node.op_type, "unknown")

    def detail(self, node: Any) -> str:
        if node.op_type in ("MaxPool", "AveragePool"):
            kernel = attribute(node, "kernel_shape", [])
            return f"{'x'.join(map(str, kernel))}/{attribute(node, 'strides', [1])[0]}"
        if node.op_type not in CONVOLUTIONS:
            return ""
        weight, groups = self.weight(node), attribute(node, "group", 1)
        stride = attribute(node, "strides", [1])[0]
        return f"{'x'.join(map(str, weight[2:]))}/{stride}" + (f" groups {groups}" if groups > 1 else "")


def attribute(node: Any, name: str, default: Any) -> Any:
    """An attribute of a node, or what holds without it."""
    import onnx
    return next((onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
