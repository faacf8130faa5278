"""The nodes of an ONNX graph as operators on buffers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from archfab.core import UsageError
from archfab.hardware.loops import Loops, attention, convolution, product_of
from archfab.hardware.operators import ONNX_KINDS, ONNX_VIEWS
from archfab.hardware.windows import Window, made
from archfab.hardware.workload import Buffer, Op, Workload

if TYPE_CHECKING:
    import onnx

Type = tuple[tuple[int, ...], str]
"""Shape and number type of a tensor."""
CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3, "ConvTranspose": 1, "DeformConv": 1}
"""The operators that convolve, and which of their inputs holds the weights."""
PRODUCTS = {"MatMul": 1, "MatMulInteger": 1, "FusedMatMul": 1, "QLinearMatMul": 3, "Gemm": 1}
RECURRENT = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""Gates, each a product with the input and one with the state."""
CONSTANT = {"Constant", "ConstantOfShape", "Shape", "Size", "Range", "EyeLike", "RandomNormal", "RandomUniform"}
NO_PARAMETERS = {"BatchNormalization": (3, 4), "Resize": (1, 2), "Upsample": (1,),
                 **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), (1, 2)),
                 **dict.fromkeys(("ConvInteger", "MatMulInteger"), (2, 3)),
                 **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), (1, 2, 4, 5, 6, 7))}
"""Inputs that are constants but no parameters: statistics, scales, zero points."""
DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Whose operators are known by their names."""


class Reader:
    """Goes through the nodes of a graph and notes operators and buffers."""

    def __init__(self, model: onnx.ModelProto, types: Mapping[str, Type]) -> None:
        self.types = types
        self.ops: list[Op] = []
        self.buffers: list[Buffer] = []
        self.numbers: dict[str, int] = {}       # tensor -> buffer
        self.constant: set[str] = set()
        self.graph = model.graph
        self.readers = Counter([*(name for node in self.graph.node for name in node.input),
                                *(each.name for each in self.graph.output)])
        no_parameters = {node.input[i] for node in model.graph.node for i in NO_PARAMETERS.get(node.op_type, ())
                         if i < len(node.input)}
        for name, each, code in weights(model.graph):
            self.number(name, "parameter" if trained(each, code) and name not in no_parameters else "state")
            self.constant.add(name)
        self.inputs = tuple(self.number(each.name) for each in model.graph.input if each.name not in self.numbers)

    def workload(self) -> Workload:
        outputs = tuple(self.number(each.name) for each in self.graph.output)
        return Workload(tuple(self.ops), tuple(self.buffers), self.inputs, outputs)

    def number(self, name: str, role: str = "activation") -> int:
        """The buffer of a tensor."""
        if name not in self.numbers:
            shape, dtype = self.type(name)
            self.numbers[name] = len(self.buffers)
            self.buffers.append(Buffer(math.prod(shape), role, dtype))
        return self.numbers[name]

    def alone(self, number: int) -> bool:
        """Whether a buffer has one reader, under whatever names views give it."""
        return all(self.readers[name] == 1 for name, each in self.numbers.items() if each == number)

    def take(self, node: Any) -> None:
        """Notes one node; views and what is known before the run are no operators."""
        inputs = [name for name in node.input if name]
        known, inside = node.domain in DOMAINS, list(bodies(node))
        fixed = known and not inside and (node.op_type in CONSTANT or (
            bool(inputs) and all(name in self.constant for name in inputs)))
        first = self.numbers.get(inputs[0]) if inputs else None
        if (value := constant(node)) is not None and trained(value, value.data_type):
            self.number(node.output[0], "parameter")
        if fixed or (known and node.op_type in ONNX_VIEWS):
            for name in node.output:
                if not name:
                    continue
                if fixed:
                    self.constant.add(name)
                alike = first is not None and self.buffers[first].elements == math.prod(self.shape(name))
                rounds = node.op_type == "QuantizeLinear"
                if rounds and first is not None and self.alone(first):      # it is kept rounded alone
                    self.buffers[first] = replace(self.buffers[first], dtype=self.type(name)[1])
                    self.numbers[name] = first
                elif alike and first is not None and not rounds:
                    self.numbers[name] = first
                else:
                    self.number(name, "state" if fixed else "activation")
            return
        reads = tuple(dict.fromkeys(self.number(name) for name in inputs
                                    if not (name in self.constant and self.type(name)[1] == "int64")))
        for body in inside:
            reads += tuple(self.inner(body))
        only = 1 if node.op_type in ("MaxPool", "BatchNormalization") else None
        outputs = [name for name in node.output if name][:only]
        kind = self.kind(node)
        loops = self.loops(node) if kind != "unknown" else ()
        macs = sum(nest.macs for nest in loops) or (self.other_macs(node) if kind != "unknown" else 0)
        self.ops.append(Op(node.op_type, kind, reads, tuple(map(self.number, outputs)), macs,
                           self.shape(outputs[0]), self.detail(node), loops,
                           self.window(node)))

    def inner(self, body: onnx.GraphProto) -> Iterator[int]:
        """Buffers that the body of a branch or loop reads: weights of its own, and tensors around it."""
        held = [*weights(body), *((node.output[0], value, value.data_type) for node in body.node
                                  if (value := constant(node)) is not None)]
        for _, each, code in held:
            if trained(each, code):
                yield len(self.buffers)
                self.buffers.append(Buffer(math.prod(each.dims), "parameter", type_name(code)))
        own = {name for name, _, _ in held} | {each.name for each in body.input}
        yield from dict.fromkeys(self.numbers[name] for node in body.node for name in node.input
                                 if name in self.numbers and name not in own)

    def type(self, name: str) -> Type:
        if name not in self.types:
            raise UsageError(f"the shape of '{name}' in the model is not known: it may be no tensor (a sequence, a "
                             "map)")
        return self.types[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.type(name)[0]

    def loops(self, node: Any) -> tuple[Loops, ...]:
        if node.op_type in CONVOLUTIONS:
            spatial = len(self.shape(node.input[0])) - 2
            return convolution(self.shape(node.input[0]), self.weight(node), self.shape(node.output[0]),
                               attribute(node, "strides", [1] * spatial), attribute(node, "dilations", [1] * spatial),
                               node.op_type == "ConvTranspose", attribute(node, "group", 1))
        if node.op_type in PRODUCTS:
            a, b = self.shape(node.input[0]), self.weight(node)
            a = (*a[:-2], a[-1], a[-2]) if attribute(node, "transA", 0) else a
            b = (*b[:-2], b[-1], b[-2]) if attribute(node, "transB", 0) else b
            if a[-1] != b[-2 if len(b) > 1 else 0]:
                raise UsageError(f"the shapes in the model contradict each other: {node.op_type} '{node.name}' "
                                 f"multiplies {'x'.join(map(str, a))} by {'x'.join(map(str, b))}")
            return (product_of(a, b),)
        if node.op_type == "Attention" and node.domain in DOMAINS[:2]:
            return attention(*(self.by_heads(node, *each) for each in enumerate(("q", "kv", "kv"))))
        return ()

    def by_heads(self, node: Any, place: int, whose: str) -> tuple[int, ...]:
        """Queries, keys or values of an attention as batch, heads, length, depth; what was kept from before is read
        too."""
        shape = self.shape(node.input[place])
        if len(shape) == 3:
            heads = attribute(node, f"{whose}_num_heads", 1)
            shape = (shape[0], heads, shape[1], shape[2] // heads)
        before = node.input[place + 3] if place and len(node.input) > place + 3 else ""
        return (*shape[:2], shape[2] + (self.shape(before)[2] if before else 0), shape[3])

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
            return summed(attribute(node, "equation", b"").decode(), [self.shape(name) for name in node.input])
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
        if node.domain not in DOMAINS or (node.op_type == "Attention" and node.domain == "com.microsoft"):
            return "unknown"
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


def summed(equation: str, shapes: Sequence[tuple[int, ...]]) -> int:
    """Multiply-accumulates of a sum of products: one for each setting of all its letters; of one factor, none."""
    sizes: dict[Any, int] = {}
    for term, shape in zip(equation.replace(" ", "").split("->")[0].split(","), shapes, strict=True):
        before, dots, after = term.partition("...")
        between = [-i for i in range(len(shape) - len(before) - len(after), 0, -1)] if dots else []
        for axis, size in zip([*before, *between, *after], shape, strict=True):
            sizes[axis] = max(size, sizes.get(axis, 1))
    return math.prod(sizes.values()) if len(shapes) > 1 else 0


def attribute(node: Any, name: str, default: Any) -> Any:
    """An attribute of a node, or what holds without it."""
    import onnx
    return next((onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def weights(graph: onnx.GraphProto) -> Iterator[tuple[str, Any, int]]:
    """Names, tensors and type codes of what a graph comes with, sparse or not."""
    for each in graph.initializer:
        yield each.name, each, each.data_type
    for sparse in graph.sparse_initializer:
        yield sparse.values.name, sparse, sparse.values.data_type


def constant(node: onnx.NodeProto) -> Any:
    """The tensor that a node `Constant` holds, if it is one."""
    return attribute(node, "value", None) if node.op_type == "Constant" else None


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a branch or loop, and those inside them."""
    for each in node.attribute:
        for graph in (*([each.g] if each.HasField("g") else []), *each.graphs):
            yield graph
            for inner in graph.node:
                yield from bodies(inner)


def trained(tensor: Any, code: int) -> bool:
    """Whether a constant looks like a parameter: indices, masks and single numbers do not."""
    return bool(tensor.dims) and type_name(code) not in ("int64", "bool", "string")


def type_name(code: int) -> str:
    """float32, int8, ...: as torch calls them."""
    import onnx
    return onnx.TensorProto.DataType.Name(code).lower().replace("float", "float32" if code == 1 else "float").replace(
        "double", "float64")
