"""Runs an integer network in numpy, bit for bit as the reference kernels of TensorFlow Lite do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from archfab.hardware.int8.fixed_point import multiplier_of, multipliers_of, scaled, scaled_once
from archfab.hardware.int8.graph import HIGH, LOW, Graph, Node, Tensor
from archfab.hardware.int8.softmax import softmax_of
from archfab.hardware.int8.tables import TABLES, table

Kernel = Callable[[Node, Sequence[Tensor], Tensor, list[np.ndarray]], np.ndarray]


def run(graph: Graph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a network for int8 inputs of its shapes."""
    values = run_all(graph, inputs)
    return [values[i] for i in graph.outputs]


def run_all(graph: Graph, inputs: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """The value of every tensor, constants included."""
    values = {i: t.data for i, t in enumerate(graph.tensors) if t.data is not None}
    for i, x in zip(graph.inputs, inputs, strict=True):
        assert x.dtype == np.int8 and x.shape == graph.tensors[i].shape, (x.dtype, x.shape, graph.tensors[i].shape)
        values[i] = x
    for node in graph.nodes:
        out = graph.tensors[node.outputs[0]]
        value = KERNELS[node.op](node, [graph.tensors[i] for i in node.inputs], out, [values[i] for i in node.inputs])
        assert value.shape == out.shape, (node.op, value.shape, out.shape)
        values[node.outputs[0]] = value.astype(np.int8)
    return values


def rescaled(sums: np.ndarray, x: Tensor, weights: Tensor, out: Tensor, clamp: tuple[int, int],
             scale: Callable[..., np.ndarray] = scaled) -> np.ndarray:
    """Sums of products (channels last) on the output's scale."""
    factors = np.float64(np.float32(x.scale[0])) * np.array(weights.scale, np.float32).astype(np.float64)
    multiplier, shift = multipliers_of(factors / np.float64(np.float32(out.scale[0])))
    return np.clip(scale(sums, multiplier, shift) + out.zero, *clamp)


def windows(x: np.ndarray, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = (1, 1)
            ) -> np.ndarray:
    """What each output sees of a padded image: [N, height, width, channels, kernel height, kernel width]."""
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    seen = sliding_window_view(x, spans, axis=(1, 2))
    return seen[:, ::stride[0], ::stride[1], :, ::dilation[0], ::dilation[1]]


def padded(x: np.ndarray, padding: Sequence[int], value: int = 0) -> np.ndarray:
    """An image with padding (top, left, bottom, right)."""
    top, left, bottom, right = padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def centred(x: np.ndarray, tensor: Tensor) -> np.ndarray:
    return x.astype(np.int64) - tensor.zero


def conv_2d(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    x, weights, bias = values
    seen = windows(padded(centred(x, tensors[0]), node.options["padding"]), weights.shape[1:3],
                   node.options["stride"], node.options["dilation"]).astype(np.float64)     # exact below 2^53
    groups = x.shape[-1] // weights.shape[3]
    sums = [np.tensordot(part, filters.astype(np.float64), ((3, 4, 5), (3, 1, 2)))
            for part, filters in zip(np.split(seen, groups, 3), np.split(weights, groups, 0), strict=True)]
    return rescaled(np.concatenate(sums, -1).astype(np.int64) + bias, tensors[0], tensors[1], out, node.clamp)


def depthwise_conv_2d(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    x, weights, bias = values
    seen = windows(padded(centred(x, tensors[0]), node.options["padding"]), weights.shape[1:3],
                   node.options["stride"], node.options["dilation"])
    seen = np.repeat(seen, weights.shape[3] // x.shape[-1], axis=3)
    sums = np.einsum("nhwcij,ijc->nhwc", seen, weights[0].astype(np.int64))
    return rescaled(sums + bias, tensors[0], tensors[1], out, node.clamp)


def transpose_conv(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    """Each input adds its window of products to the result, whose edges are cut off."""
    x, weights, bias = centred(values[0], tensors[0]).astype(np.float64), values[1].astype(np.float64), values[2]
    (high, wide), (top, left, bottom, right) = node.options["stride"], node.options["padding"]
    shape = [n + a + b for n, a, b in zip(out.shape[1:3], (top, left), (bottom, right), strict=True)]
    sums = np.zeros((x.shape[0], *shape, out.shape[3]))
    for i in range(weights.shape[1]):
        for j in range(weights.shape[2]):
            rows, columns = (slice(k, k + (n - 1) * s + 1, s) for k, n, s in zip((i, j), x.shape[1:3], (high, wide),
                                                                             strict=True))
            sums[:, rows, columns] += x @ weights[:, i, j].T
    inside = sums[:, top:shape[0] - bottom, left:shape[1] - right].astype(np.int64)
    return rescaled(inside + bias, tensors[0], tensors[1], out, node.clamp)


def fully_connected(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    """Rounds once where convolutions round twice: so does LiteRT 2.3."""
    x, weights, bias = values
    sums = centred(x, tensors[0]).astype(np.float64) @ weights.astype(np.float64).T
    return rescaled(sums.astype(np.int64) + bias, tensors[0], tensors[1], out, node.clamp, scaled_once)


ADD_SHIFT = 20      # bits that sums gain before their terms are scaled


def add(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray], sign: int = 1) -> np.ndarray:
    scales = [np.float64(np.float32(t.scale[0])) for t in tensors]
    common = 2 * max(scales)
    terms = []
    for value, tensor, scale, factor in zip(values, tensors, scales, (1, sign), strict=True):
        multiplier, shift = multiplier_of(scale / common)
        terms.append(scaled(centred(value, tensor) << ADD_SHIFT, factor * multiplier, shift))
    multiplier, shift = multiplier_of(common / (2.0**ADD_SHIFT * np.float64(np.float32(out.scale[0]))))
    return np.clip(scaled(terms[0] + terms[1], multiplier, shift) + out.zero, *node.clamp)


def sub(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    return add(node, tensors, out, values, -1)


def mul(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    a, b, c = (np.float32(t.scale[0]) for t in (*tensors, out))
    product = centred(values[0], tensors[0]) * centred(values[1], tensors[1])
    return np.clip(scaled(product, *multiplier_of(float(a * b / c))) + out.zero, *node.clamp)


def average_pool_2d(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    """The mean of what lies inside; ties go away from zero."""
    kernel, stride, padding = (node.options[key] for key in ("kernel", "stride", "padding"))
    x = values[0].astype(np.int64)
    sums = windows(padded(x, padding), kernel, stride).sum((4, 5))
    counts = windows(padded(np.ones_like(x), padding), kernel, stride).sum((4, 5))
    return divided(sums, counts)


def divided(sums: np.ndarray, counts: np.ndarray | int) -> np.ndarray:
    """Sums / counts to the nearest integer; ties go away from zero."""
    half = np.asarray(counts) // 2
    return np.where(sums > 0, (sums + half) // counts, -((-sums + half) // counts))


def max_pool_2d(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    kernel, stride, padding = (node.options[key] for key in ("kernel", "stride", "padding"))
    return windows(padded(values[0], padding, LOW), kernel, stride).max((4, 5))


def mean(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    x, axes = tensors[0], node.options["axes"]
    count = int(np.prod([x.shape[axis] for axis in axes]))
    sums = centred(values[0], x).sum(axes, keepdims=node.options["keep"])
    multiplier, shift = multiplier_of(float(np.float64(np.float32(x.scale[0])) / np.float64(np.float32(out.scale[0]))))
    bits = min(count.bit_length() - 1, 32, 31 + shift)
    multiplier, shift = (multiplier << bits) // count, shift - bits
    return np.clip(scaled(sums, multiplier, shift) + out.zero, LOW, HIGH)


def reshape(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    return values[0].reshape(out.shape)


def transpose(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    return values[0].transpose(node.options["permutation"])


def concatenation(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(values, node.options["axis"])


def pad(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    return np.pad(values[0], node.options["paddings"], constant_values=node.options["value"])


def strided_slice(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    begin, end, stride = (node.options[key] for key in ("begin", "end", "stride"))
    return values[0][tuple(slice(b, e, s) for b, e, s in zip(begin, end, stride, strict=True))]


def minimum(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    return np.minimum(*values)


def maximum(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    return np.maximum(*values)


def reduce_max(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    return values[0].max(node.options["axes"], keepdims=node.options["keep"])


def from_table(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    return table(node, tensors[0], out)[values[0].astype(np.int64) - LOW]


def softmax(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    return softmax_of(values[0], tensors[0].scale[0], node.options["beta"])


def batch_matmul(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]) -> np.ndarray:
    a, b = (centred(value, tensor).astype(np.float64) for value, tensor in zip(values, tensors, strict=True))
    sums = a @ (b.swapaxes(-1, -2) if node.options["transpose_b"] else b)
    here = np.float32(tensors[0].scale[0]) * np.float32(tensors[1].scale[0])
    real = np.float64(here) / np.float64(np.float32(out.scale[0]))
    return np.clip(scaled(sums.astype(np.int64), *multiplier_of(float(real))) + out.zero, *node.clamp)


def resize_nearest_neighbor(node: Node, tensors: Sequence[Tensor], out: Tensor, values: list[np.ndarray]
                            ) -> np.ndarray:
    rows, columns = (np.arange(out.shape[i]) * tensors[0].shape[i] // out.shape[i] for i in (1, 2))
    return values[0][:, rows][:, :, columns]


KERNELS: dict[str, Kernel] = {
    "conv_2d": conv_2d, "depthwise_conv_2d": depthwise_conv_2d, "transpose_conv": transpose_conv,
    "fully_connected": fully_connected, "add": add,
    "sub": sub, "mul": mul, "average_pool_2d": average_pool_2d, "max_pool_2d": max_pool_2d, "mean": mean,
    "reshape": reshape, "transpose": transpose, "concatenation": concatenation, "pad": pad,
    "strided_slice": strided_slice, "minimum": minimum, "maximum": maximum, "reduce_max": reduce_max,
    "softmax": softmax, "batch_matmul": batch_matmul, "resize_nearest_neighbor": resize_nearest_neighbor,
    **dict.fromkeys(TABLES, from_table)}
