"""Rewrites an integer network such that every operator is one that a .tflite file can say.

Padding becomes SAME, VALID, or an operator of its own before it; clamps become fused activations, or a minimum and
a maximum after it; numbers that TensorFlow Lite takes as inputs become constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from archfab.core import BuildError
from archfab.hardware.int8.graph import FULL, HIGH, LOW, Graph, Node, Tensor

SAME, VALID = 0, 1
NONE, RELU, RELU_N1_TO_1, RELU6 = 0, 1, 2, 3
RELUS = {NONE: "quantize", RELU: "relu", RELU_N1_TO_1: "relu_n1_to_1", RELU6: "relu6"}
PADDED = ("conv_2d", "depthwise_conv_2d", "average_pool_2d", "max_pool_2d")


def expressible(graph: Graph) -> Graph:
    """The same function, in the terms of the file format; `padding` and `fused` are the format's numbers then."""
    writer = Rewriter(graph)
    for node in graph.nodes:
        writer.node(node)
    return Graph(tuple(writer.tensors), tuple(writer.nodes), graph.inputs, graph.outputs)


class Rewriter:
    """Collects the tensors and operators of the new network."""

    def __init__(self, graph: Graph) -> None:
        self.tensors: list[Tensor] = list(graph.tensors)
        self.nodes: list[Node] = []
        self.after: list[Node] = []             # what follows a node as it is
        self.pending: list[Node] = []           # what follows a node and has to be rewritten itself

    def node(self, node: Node) -> None:
        options, self.pending = dict(node.options), []
        if node.op in PADDED:
            node, options["padding"] = self.padded(node)
        elif node.op == "transpose_conv":
            node, options["padding"] = self.cut(node)
        after = self.pending
        if "clamp" in options:
            node, options["fused"] = self.clamped(node)
        if node.op == "transpose_conv":                         # (output shape, weights, x, bias)
            shape = self.constant(node, "shape", self.tensors[node.outputs[0]].shape)
            node = replace(node, inputs=(shape, node.inputs[1], node.inputs[0], *node.inputs[2:]))
        extra = tuple(self.constant(node, str(i), values) for i, values in enumerate(self.arguments(node)))
        op = RELUS[options["fused"]] if node.op == "relu" else node.op
        self.nodes.append(Node(op, node.inputs + extra, node.outputs, options))
        self.nodes.extend(self.after)
        self.after = []
        for follower in after:
            self.node(follower)

    def arguments(self, node: Node) -> list[Any]:
        """What stands in a node's options here and among its inputs there."""
        options = node.options
        if node.op in ("mean", "reduce_max"):
            return [options["axes"]]
        if node.op == "transpose":
            return [options["permutation"]]
        if node.op == "pad":
            return [options["paddings"]]
        if node.op == "strided_slice":
            return [options["begin"], options["end"], options["stride"]]
        if node.op == "resize_nearest_neighbor":
            return [self.tensors[node.outputs[0]].shape[1:3]]
        if node.op == "reshape":
            return [self.tensors[node.outputs[0]].shape]
        return []

    def constant(self, node: Node, what: str, values: Any) -> int:
        data = np.array(values, np.int32)
        name = f"{self.tensors[node.outputs[0]].name}/{what}"
        return self.add(Tensor(name, data.shape, "int32", (), 0, None, data))

    def add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def padded(self, node: Node) -> tuple[Node, int]:
        """The node with padding that the format has, and which."""
        x, out = self.tensors[node.inputs[0]], self.tensors[node.outputs[0]]
        size = node.options["kernel"] if "kernel" in node.options else self.tensors[node.inputs[1]].shape[1:3]
        dilation = node.options.get("dilation", (1, 1))
        top, left, bottom, right = node.options["padding"]
        same = [same_padding(x.shape[1 + i], out.shape[1 + i], size[i], node.options["stride"][i], dilation[i])
                for i in (0, 1)]
        if same == [(top, bottom), (left, right)]:
            return node, SAME
        if not any((top, left, bottom, right)):
            return node, VALID
        if node.op == "average_pool_2d":
            raise BuildError(f"a .tflite file has no average pooling with the padding {(top, left, bottom, right)} "
                             "that does not count what lies outside")
        paddings = ((0, 0), (top, bottom), (left, right), (0, 0))
        shape = tuple(n + sum(p) for n, p in zip(x.shape, paddings, strict=True))
        wide = self.add(replace(x, name=f"{out.name}/padded", shape=shape))
        extra: tuple[int, ...] = (self.constant(node, "paddings", paddings),)
        op = "pad"
        if node.op == "max_pool_2d":                            # pads with the lowest number, not with zero
            op, least = "pad_v2", np.array([LOW], np.int8)
            extra += (self.add(Tensor(f"{out.name}/lowest", (1,), "int8", x.scale, x.zero, None, least)),)
        self.nodes.append(Node(op, (node.inputs[0], *extra), (wide,), {}))
        return replace(node, inputs=(wide, *node.inputs[1:])), VALID

    def cut(self, node: Node) -> tuple[Node, int]:
        """A transposed convolution whose edges are cut off as the format has it; else a slice follows the whole."""
        x, weights, out = (self.tensors[i] for i in (*node.inputs[:2], node.outputs[0]))
        top, left, bottom, right = node.options["padding"]
        if not any((top, left, bottom, right)):
            return node, VALID
        strides = node.options["stride"]
        same = [same_padding(out.shape[1 + i], x.shape[1 + i], weights.shape[1 + i], strides[i], 1) for i in (0, 1)]
        if same == [(top, bottom), (left, right)]:
            return node, SAME
        shape = (1, out.shape[1] + top + bottom, out.shape[2] + left + right, out.shape[3])
        whole = self.add(replace(out, name=f"{out.name}/whole", shape=shape))
        cut = {"begin": (0, top, left, 0), "end": (1, top + out.shape[1], left + out.shape[2], out.shape[3]),
               "stride": (1,) * 4}
        self.pending = [Node("strided_slice", (whole,), node.outputs, cut)]
        return replace(node, outputs=(whole,)), VALID

    def clamped(self, node: Node) -> tuple[Node, int]:
        """The node with a fused activation of the format, and which; what is none becomes two operators."""
        out = self.tensors[node.outputs[0]]
        self.after = []
        for fused in (NONE, RELU, RELU6, RELU_N1_TO_1):
            if node.clamp == range_of(fused, out):
                return node, fused
        low, high = node.clamp
        least, most = (self.add(Tensor(f"{out.name}/{name}", (1,) * len(out.shape), "int8", out.scale, out.zero, None,
                                       np.full((1,) * len(out.shape), value, np.int8)))
                       for name, value in (("least", low), ("most", high)))
        free, half = self.add(replace(out, name=f"{out.name}/free")), self.add(replace(out, name=f"{out.name}/half"))
        self.after = [Node("maximum", (free, least), (half,), {}), Node("minimum", (half, most), node.outputs, {})]
        return replace(node, outputs=(free,)), NONE


def same_padding(size: int, out: int, kernel: int, stride: int, dilation: int) -> tuple[int, int] | None:
    """The padding that SAME means along one axis; None where it gives another number of outputs."""
    if out != -(-size // stride):
        return None
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def range_of(fused: int, out: Tensor) -> tuple[int, int]:
    """The smallest and the largest quantised output of a fused activation."""
    def at(real: float) -> int:
        steps = np.float32(real) / np.float32(out.scale[0])
        return out.zero + int(np.trunc(steps + np.copysign(np.float32(0.5), steps)))

    reals: Sequence[float | None] = {NONE: (None, None), RELU: (0, None), RELU6: (0, 6), RELU_N1_TO_1: (-1, 1)}[fused]
    low, high = FULL
    return (low if reals[0] is None else max(LOW, at(reals[0])), high if reals[1] is None else min(HIGH, at(reals[1])))
