"""An integer network: int8 tensors and the operators between them, named as TensorFlow Lite names them.

A quantised number means real = scale * (integer - zero) (Jacob et al., CVPR 2018, arXiv:1712.05877). Activations
are int8 with one scale; images are NHWC and the batch is 1. Weights are int8, symmetric (zero 0), with a scale for
each output channel along `axis`: convolutions OHWI, depthwise 1HWC, fully connected [outputs, inputs]. Biases are
int32 of the scale input * weights.

Operators, their inputs, and their options (`clamp` is the smallest and largest quantised output):
- conv_2d (x, weights, bias): stride, dilation, padding, clamp. Its groups are channels of x / inputs of the weights
- depthwise_conv_2d (x, weights, bias): stride, dilation, padding, clamp. Output c reads input c // multiplier, where
  multiplier = outputs / inputs
- transpose_conv (x, weights, bias): stride, padding (what is cut off the whole result), clamp; weights OHWI
- fully_connected (x, weights, bias): clamp; works on the last axis of x
- add, sub, mul (a, b): clamp; shapes are broadcast. minimum, maximum (a, b): of one scale
- average_pool_2d, max_pool_2d (x): kernel, stride, padding; what lies outside is not counted; of one scale
- mean (x): axes, keep. reduce_max (x): axes, keep; of one scale
- reshape (x). transpose (x): permutation. concatenation (a, b, ...): axis. pad (x): paddings (before, after) for each
  axis, value (quantised). strided_slice (x): begin, end, stride. resize_nearest_neighbor (x). All of one scale
- logistic, tanh, hard_swish, gelu (approximate), leaky_relu (alpha), relu (clamp), exp, rsqrt, quantize (to another
  scale) (x): one number to one number, by a table of 256 entries, see `tables.table`
- softmax (x): beta; over the last axis. batch_matmul (a, b): transpose_b
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

LOW, HIGH = -128, 127
FULL = (LOW, HIGH)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A quantised tensor: an activation, or a constant where it has data."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"                     # int8, or int32 for biases
    scale: tuple[float, ...] = (1.0,)       # numbers that float32 holds; several along `axis`
    zero: int = 0
    axis: int | None = None                 # along which the scales stand, where there are several
    data: np.ndarray | None = None

    @property
    def constant(self) -> bool:
        return self.data is not None

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def quantised(self, real: np.ndarray) -> np.ndarray:
        """The nearest int8 numbers of an activation's real values; ties go away from zero."""
        steps = np.asarray(real, np.float64) / np.float64(self.scale[0])
        return np.clip(np.trunc(steps + np.copysign(0.5, steps)) + self.zero, LOW, HIGH).astype(np.int8)

    def real(self, integers: np.ndarray) -> np.ndarray:
        """What quantised numbers mean."""
        return ((integers.astype(np.float64) - self.zero) * self.scale[0]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Node:
    """One operator: tensors by their place in the graph, options as plain data."""

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]

    @property
    def clamp(self) -> tuple[int, int]:
        return self.options.get("clamp", FULL)


@dataclass(frozen=True, eq=False)
class Graph:
    """The operators in an order in which they can run."""

    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def macs(self) -> int:
        return sum(macs_of(self, node) for node in self.nodes)

    @property
    def weights(self) -> int:
        """Bytes of all constants."""
        return sum(t.data.nbytes for t in self.tensors if t.data is not None)

    def plain(self) -> dict[str, Any]:
        """The structure without weights, as plain data."""
        return {"tensors": [[t.name, list(t.shape), t.dtype, list(t.scale), t.zero, t.axis] for t in self.tensors],
                "nodes": [[n.op, list(n.inputs), list(n.outputs), dict(n.options)] for n in self.nodes],
                "inputs": list(self.inputs), "outputs": list(self.outputs)}

    @cached_property
    def digest(self) -> str:
        """A name for the exact network, weights included."""
        found = hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode())
        for tensor in self.tensors:
            if tensor.data is not None:
                found.update(np.ascontiguousarray(tensor.data).tobytes())
        return found.hexdigest()


def macs_of(graph: Graph, node: Node) -> int:
    """Multiply-accumulates of an operator."""
    x, out = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
    if node.op == "conv_2d" or node.op == "fully_connected":
        return out.elements * int(np.prod(graph.tensors[node.inputs[1]].shape[1:]))
    if node.op == "depthwise_conv_2d":
        return out.elements * int(np.prod(graph.tensors[node.inputs[1]].shape[1:3]))
    if node.op == "transpose_conv":
        return x.elements * graph.tensors[node.inputs[1]].elements // x.shape[-1]
    if node.op == "batch_matmul":
        return out.elements * x.shape[-1]
    return 0
