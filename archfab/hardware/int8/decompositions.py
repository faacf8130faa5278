"""Normalisations written out in operators that integer networks have, before ranges are measured."""

from __future__ import annotations

from typing import Any

import numpy as np


def decomposed(model: Any) -> Any:
    """The model with layer, instance and group normalisation in simple operators, without dead ends."""
    import onnx
    nodes = list(model.graph.node)
    if not any(node.op_type in NORMS for node in nodes):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    writer = Writer(result, opset)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    for value in (*inferred.value_info, *inferred.input):
        writer.ranks[value.name] = len(value.type.tensor_type.shape.dim)
    for node in nodes:
        make = NORMS.get(node.op_type)
        if make is None or len([name for name in node.output if name]) != 1:
            result.graph.node.append(node)
        else:
            make(writer, node)
    return result


class Writer:
    """Appends operators whose values are named after the operator that they replace."""

    def __init__(self, model: Any, opset: int) -> None:
        self.model = model
        self.opset = opset
        self.number = 0
        self.ranks: dict[str, int] = {}

    def rank(self, name: str) -> int:
        """How many axes a value has; 0 where ONNX cannot tell."""
        return self.ranks.get(name, 0)

    def constant(self, name: str, data: Any) -> str:
        from onnx import numpy_helper
        self.number += 1
        name = f"{name}/constant{self.number}"
        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(data), name))
        return name

    def apply(self, kind: str, inputs: list[str], out: str = "", **attributes: Any) -> str:
        from onnx import helper
        self.number += 1
        out = out or f"{inputs[0]}/{kind.lower()}{self.number}"
        self.model.graph.node.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def mean(self, x: str, axes: list[int]) -> str:
        if self.opset >= 18:
            return self.apply("ReduceMean", [x, self.constant(x, np.array(axes, np.int64))], keepdims=1)
        return self.apply("ReduceMean", [x], axes=axes, keepdims=1)

    def normalised(self, x: str, axes: list[int], epsilon: float, out: str = "") -> str:
        """(x - mean) / sqrt(variance + epsilon) over axes."""
        centred = self.apply("Sub", [x, self.mean(x, axes)])
        variance = self.mean(self.apply("Mul", [centred, centred]), axes)
        spread = self.apply("Sqrt", [self.apply("Add", [variance, self.constant(x, np.float32(epsilon))])])
        return self.apply("Div", [centred, spread], out)


def layer_norm(writer: Writer, node: Any) -> None:
    """Over the axes from `axis` on (Ba, Kiros and Hinton, 2016)."""
    given = {a.name: a for a in node.attribute}
    axis = given["axis"].i if "axis" in given else -1
    epsilon = given["epsilon"].f if "epsilon" in given else 1e-5
    shape = next((x.dims for x in writer.model.graph.initializer if x.name == node.input[1]), None)
    if shape is None or (axis >= 0 and not shape):
        writer.model.graph.node.append(node)
        return
    axes = list(range(-len(shape), 0))
    x = writer.normalised(node.input[0], axes, epsilon)
    bias = node.input[2] if len(node.input) > 2 else ""
    x = writer.apply("Mul", [x, node.input[1]], "" if bias else node.output[0])
    if bias:
        writer.apply("Add", [x, bias], node.output[0])


def instance_norm(writer: Writer, node: Any) -> None:
    """Of each channel over its own pixels (Ulyanov, Vedaldi and Lempitsky, 2016); group norms are made of it."""
    rank = writer.rank(node.input[0])
    if rank < 3:
        writer.model.graph.node.append(node)
        return
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    x = writer.normalised(node.input[0], list(range(2, rank)), epsilon)
    shape = writer.constant(x, np.array([-1, *[1] * (rank - 2)], np.int64))
    scale, shift = (writer.apply("Reshape", [name, shape]) for name in node.input[1:3])
    writer.apply("Add", [writer.apply("Mul", [x, scale]), shift], node.output[0])


NORMS = {"LayerNormalization": layer_norm, "InstanceNormalization": instance_norm}
