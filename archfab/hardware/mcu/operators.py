"""What an operator of an integer network is in C: one call of a kernel, with its constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from archfab.core import BuildError
from archfab.hardware.int8.fixed_point import multiplier_of, multipliers_of
from archfab.hardware.int8.graph import FULL, Graph, Node, Tensor
from archfab.hardware.int8.softmax import exponentials
from archfab.hardware.int8.tables import TABLES, table
from archfab.hardware.mcu import layouts
from archfab.hardware.mcu.axes import broadcast, loops, strides
from archfab.hardware.mcu.cores import Core
from archfab.hardware.mcu.writer import Writer

OVERREAD = 16           # bytes behind its end that a kernel may read of a tensor, and ignores


INT16_MAX = 2**15 - 1   # of the sizes in `af_layer` and `af_window`


@dataclass
class Calls:
    """The code of one operator: its calls, where {0}, {1}, ... stand for its inputs, {out} and {scratch}."""

    lines: list[str]
    scratch: int = 0
    in_place: Sequence[int] = ()            # inputs that the output may overwrite
    alias: bool = False                     # the output is the input, under another shape


@dataclass
class Place:
    """What an emitter sees: the graph, one node, and where constants are written."""

    graph: Graph
    node: Node
    core: Core
    writer: Writer
    name: str
    inputs: list[Tensor] = field(init=False)
    out: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.inputs = [self.graph.tensors[i] for i in self.node.inputs]
        self.out = self.graph.tensors[self.node.outputs[0]]

    def struct(self, kind: str, **fields: Any) -> str:
        return self.writer.structure(kind, self.name, fields)


def scale_of(tensor: Tensor) -> np.float64:
    return np.float64(np.float32(tensor.scale[0]))


def layer(at: Place, sizes: dict[str, int], groups: int, weights: np.ndarray, packed: list[np.ndarray],
          arrange: Callable[..., np.ndarray] = layouts.channels, once: bool = False) -> str:
    """The structure of a layer with weights; `weights` [outputs, depth] are plain and `packed` as the kernel reads.

    :param once: whether sums are rounded once, as those of fully connected layers are.
    """
    x, quantised, bias = at.inputs
    assert quantised.data is not None and bias.data is not None
    if weights.size and weights.min() < -127:
        raise BuildError(f"{at.node.op} '{at.out.name}': a weight is -128; they are -127 to 127 in int8 networks")
    bounded(at, sizes)
    wide = weights.astype(np.int64)
    factors = np.float64(np.float32(x.scale[0])) * np.array(quantised.scale, np.float32).astype(np.float64)
    multiplier, shift = multipliers_of(np.broadcast_to(factors / scale_of(at.out), (len(wide),)))
    biases = bias.data.astype(np.int64).ravel()
    folded = biases - x.zero * wide.sum(1)
    span = np.abs(wide).sum(1) * max(127 - x.zero, x.zero + 128) + np.abs(biases)
    if (span * 2.0 ** np.maximum(shift, 0) >= 2**31).any() or (np.abs(folded) >= 2**31).any():
        raise BuildError(f"{at.node.op} '{at.out.name}': a sum of {weights.shape[1]} products may not fit in 32 bits")
    most = -2 if once else -1
    fast = (shift <= most) & (shift >= most - 22) & (once | (span < 2**30))
    parts = zip(*(np.split(values, groups) for values in (folded, multiplier, shift, fast)), strict=True)
    channels = [arrange(*part, at.core.kernels).astype(np.int32) for part in parts]
    low, high = at.node.clamp
    slow = not fast.all() if at.core.kernels != "mve" else (shift > (-2 if once else 0)).any()
    return at.struct("af_layer", weights=at.writer.array(np.concatenate(packed), "w", layouts.LANES),
                     channels=at.writer.array(np.concatenate(channels), "n"), **sizes, groups=groups,
                     depth=weights.shape[1], weights_a_group=packed[0].size, channels_a_group=channels[0].size,
                     in_zero=x.zero, out_zero=at.out.zero, low=low, high=high, slow=slow)


def bounded(at: Place, sizes: dict[str, int]) -> None:
    """Raises `BuildError` for a size that has no room in the structures of C."""
    if large := [name for name, size in sizes.items() if size > INT16_MAX]:
        raise BuildError(f"{at.node.op} '{at.out.name}': {large[0].replace('_', ' ')} is {sizes[large[0]]}, and the "
                         f"code takes {INT16_MAX} at most")


def geometry(at: Place, kernel: Sequence[int], inputs: int, outputs: int) -> dict[str, int]:
    """Sizes of a layer over an image, by their names in C."""
    _, in_height, in_width, _ = at.inputs[0].shape
    _, out_height, out_width, _ = at.out.shape
    (stride_y, stride_x), (dilation_y, dilation_x) = at.node.options["stride"], at.node.options["dilation"]
    pad_y, pad_x, *_ = at.node.options["padding"]
    return {"in_height": in_height, "in_width": in_width, "inputs": inputs, "out_height": out_height,
            "out_width": out_width, "outputs": outputs, "kernel_height": kernel[0], "kernel_width": kernel[1],
            "stride_y": stride_y, "stride_x": stride_x, "dilation_y": dilation_y, "dilation_x": dilation_x,
            "pad_y": pad_y, "pad_x": pad_x}


def conv_2d(at: Place) -> Calls:
    weights = at.inputs[1].data
    assert weights is not None
    groups = at.inputs[0].shape[-1] // weights.shape[3]
    flat = weights.reshape(len(weights), -1)
    sizes = geometry(at, weights.shape[1:3], weights.shape[3], len(weights) // groups)
    one = layer(at, sizes, groups, flat, layouts.dense(flat, groups, at.core.kernels))
    return Calls([f"af_convolution({one}, {{0}}, {{out}}, {{scratch}});"],
                 layouts.scratch(at.core.kernels, flat.shape[1], len(weights) // groups))


def depthwise_conv_2d(at: Place) -> Calls:
    weights = at.inputs[1].data
    assert weights is not None
    taps = weights[0].reshape(-1, weights.shape[3])
    inputs = at.inputs[0].shape[-1]
    sizes = geometry(at, weights.shape[1:3], inputs, taps.shape[1])
    one = layer(at, sizes, 1, taps.T, [layouts.depthwise(taps, at.core.kernels)], layouts.depthwise_channels)
    return Calls([f"af_depthwise({one}, {{0}}, {{out}}, {{scratch}});"], 8 * (len(taps) + 1) + inputs + 7)


def fully_connected(at: Place) -> Calls:
    weights = at.inputs[1].data
    assert weights is not None
    rows = at.inputs[0].elements // weights.shape[1]
    sizes = {"in_height": rows, "in_width": 1, "inputs": weights.shape[1], "out_height": rows, "out_width": 1,
             "outputs": len(weights), "kernel_height": 1, "kernel_width": 1, "stride_y": 1, "stride_x": 1,
             "dilation_y": 1, "dilation_x": 1, "pad_y": 0, "pad_x": 0}
    one = layer(at, sizes, 1, weights, [layouts.connected(weights, at.core.kernels)], layouts.channels_once, once=True)
    return Calls([f"af_fully_connected({one}, {{0}}, {{out}}, {{scratch}});"],
                 layouts.scratch(at.core.kernels, weights.shape[1], len(weights)))


PAIR_AXES = 4           # AF_PAIR_AXES in kernels/archfab.h


def pair(kernel: str, at: Place, terms: Sequence[tuple[int, int]], out: tuple[int, int]) -> Calls:
    steps = [broadcast(x.shape, at.out.shape) for x in at.inputs]
    shape, first, second, _ = loops(at.out.shape, [*steps, strides(at.out.shape)], PAIR_AXES,
                                    f"{at.node.op} '{at.out.name}'")
    low, high = at.node.clamp
    one = at.struct("af_pair", shape=shape, step=np.array([first, second]), zero=[x.zero for x in at.inputs],
                    multiplier=[m for m, _ in terms], shift=[s for _, s in terms], out_zero=at.out.zero,
                    out_multiplier=out[0], out_shift=out[1], low=low, high=high)
    return Calls([f"{kernel}({one}, {{0}}, {{1}}, {{out}});"],
                 in_place=[i for i, x in enumerate(at.inputs) if x.elements == at.out.elements])


def add(at: Place) -> Calls:
    scales = [scale_of(x) for x in at.inputs]
    common = 2 * max(scales)
    terms = [multiplier_of(float(scale / common)) for scale in scales]
    if at.node.op == "sub":
        terms[1] = (-terms[1][0], terms[1][1])
    return pair("af_add", at, terms, multiplier_of(float(common / (2.0**20 * scale_of(at.out)))))


def mul(at: Place) -> Calls:
    a, b, c = (np.float32(x.scale[0]) for x in (*at.inputs, at.out))
    multiplier, shift = multiplier_of(float(a * b / c))
    if shift > 14:
        raise BuildError(f"mul '{at.out.name}': products grow by 2^{shift} and may not fit in 32 bits")
    return pair("af_mul", at, [(0, 0), (0, 0)], (multiplier, shift))


def extreme(at: Place) -> Calls:
    return pair(f"af_{at.node.op}", at, [(0, 0), (0, 0)], (0, 0))


def pool(at: Place) -> Calls:
    _, in_height, in_width, channels = at.inputs[0].shape
    _, out_height, out_width, _ = at.out.shape
    (kernel_height, kernel_width), (stride_y, stride_x) = at.node.options["kernel"], at.node.options["stride"]
    pad_y, pad_x, *_ = at.node.options["padding"]
    sizes = {"in_height": in_height, "in_width": in_width, "channels": channels, "out_height": out_height,
             "out_width": out_width, "kernel_height": kernel_height, "kernel_width": kernel_width,
             "stride_y": stride_y, "stride_x": stride_x, "pad_y": pad_y, "pad_x": pad_x}
    bounded(at, sizes)
    one = at.struct("af_window", **sizes)
    kernel = {"average_pool_2d": "af_average_pool", "max_pool_2d": "af_max_pool"}[at.node.op]
    return Calls([f"{kernel}({one}, {{0}}, {{out}});"])


def reduction(at: Place) -> Calls:
    x = at.inputs[0]
    axes = sorted(axis % len(x.shape) for axis in at.node.options["axes"])
    if axes != list(range(axes[0], axes[-1] + 1)):
        raise BuildError(f"{at.node.op} '{at.out.name}': the code generator reduces axes side by side, not {axes}")
    outer, count, inner = (int(np.prod(x.shape[a:b])) for a, b in ((0, axes[0]), (axes[0], axes[-1] + 1),
                                                                     (axes[-1] + 1, len(x.shape))))
    multiplier, shift = 0, 0
    if at.node.op == "mean":
        multiplier, shift = multiplier_of(float(scale_of(x) / scale_of(at.out)))
        bits = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << bits) // count, shift - bits
        if count * 255 * 2.0 ** max(shift, 0) >= 2**31:
            raise BuildError(f"mean '{at.out.name}': a sum of {count} numbers may not fit in 32 bits")
    one = at.struct("af_reduction", outer=outer, count=count, inner=inner, zero=x.zero, out_zero=at.out.zero,
                    multiplier=multiplier, shift=shift)
    return Calls([f"af_{at.node.op}({one}, {{0}}, {{out}});"])


def lookup(at: Place) -> Calls:
    entries = at.writer.array(table(at.node, at.inputs[0], at.out), "t")
    return Calls([f"af_table({entries}, {{0}}, {{out}}, {at.out.elements});"], in_place=[0])


def softmax(at: Place) -> Calls:
    length = at.out.shape[-1]
    powers = exponentials(at.inputs[0].scale[0], at.node.options["beta"])
    one = at.struct("af_rows", rows=at.out.elements // length, length=length,
                    exponentials=at.writer.array(powers.astype(np.int32), "e"))
    if length >= 2**12:
        raise BuildError(f"softmax '{at.out.name}': a sum of {length} exponentials may not fit in 32 bits")
    return Calls([f"af_softmax({one}, {{0}}, {{out}});"], in_place=[0])


def batch_matmul(at: Place) -> Calls:
    a, b = at.inputs
    turned = at.node.options["transpose_b"]
    rows, depth = a.shape[-2:]
    columns = at.out.shape[-1]
    if a.shape[:-2] != b.shape[:-2]:
        raise BuildError(f"batch_matmul '{at.out.name}': the code generator multiplies batches of equal shape, not "
                         f"{a.shape} and {b.shape}")
    here = np.float32(a.scale[0]) * np.float32(b.scale[0])
    multiplier, shift = multiplier_of(float(np.float64(here) / scale_of(at.out)))
    if depth * 255 * 255 * 2.0 ** max(shift, 0) >= 2**31:
        raise BuildError(f"batch_matmul '{at.out.name}': a sum of {depth} products may not fit in 32 bits")
    low, high = at.node.options.get("clamp", FULL)
    one = at.struct("af_products", batch=at.out.elements // (rows * columns), rows=rows, columns=columns, depth=depth,
                    column_step=depth if turned else 1, depth_step=1 if turned else columns, zero=[a.zero, b.zero],
                    multiplier=multiplier, shift=shift, out_zero=at.out.zero, low=low, high=high)
    return Calls([f"af_matmul({one}, {{0}}, {{1}}, {{out}});"])


EMITTERS: dict[str, Callable[[Place], Calls]] = {
    "conv_2d": conv_2d, "depthwise_conv_2d": depthwise_conv_2d, "fully_connected": fully_connected, "add": add,
    "sub": add, "mul": mul, "minimum": extreme, "maximum": extreme, "average_pool_2d": pool, "max_pool_2d": pool,
    "mean": reduction, "reduce_max": reduction, "softmax": softmax, "batch_matmul": batch_matmul,
    **dict.fromkeys(TABLES, lookup)}
