"""From the kinds of `translate` to steps of an integer network, channels last."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from archfab.core import BuildError
from archfab.hardware.int8.draft import IMAGE, ROWS, Draft, Laid, Sheet, Step, reshape_order, share
from archfab.hardware.int8.expressible import same_padding
from archfab.hardware.int8.float_model import Float, Operator, Value

FIXED = {"logistic": (1 / 256, -128), "softmax": (1 / 256, -128), "tanh": (1 / 128, 0)}
LAST_IMAGE = {3: ROWS, 4: IMAGE}


def emitted(network: Float) -> tuple[list[Step], list[Draft], list[Draft]]:
    """The steps of a folded network, its inputs and its outputs."""
    maker = Emitter(network)
    for operator in network.operators:
        EMITTERS[operator.kind](maker, operator)
    outputs = [maker.output(name) for name in network.outputs]
    return used(maker.sheet.steps, outputs), maker.inputs, outputs


def used(steps: list[Step], outputs: list[Draft]) -> list[Step]:
    """The steps that an output depends on."""
    wanted, kept = {id(x) for x in outputs}, []
    for step in reversed(steps):
        if id(step.output) in wanted:
            wanted.update(id(x) for x in step.inputs)
            kept.append(step)
    return kept[::-1]


class Emitter:
    """Where each ONNX value lies."""

    def __init__(self, network: Float) -> None:
        self.network = network
        self.sheet = Sheet()
        self.laid: dict[str, Laid] = {}
        self.inputs = []
        for name in network.inputs:
            value = network.values[name]
            self.laid[name] = self.sheet.tensor(name, value, IMAGE if len(value.shape) == 4 else None)
            self.inputs.append(self.laid[name].draft)

    def value(self, name: str) -> Value:
        return self.network.values[name]

    def get(self, name: str, rank: int = 0) -> Laid:
        """A value, with leading axes of length 1 up to a rank."""
        if name not in self.laid:
            data = self.value(name).data
            if data is None:
                raise BuildError(f"nothing computes '{name}'")
            return self.sheet.constant(name, np.asarray(data), max(rank, np.ndim(data)))
        x = self.laid[name]
        more = rank - len(x.order)
        if more > 0:
            x = self.sheet.reshaped(x, (1,) * more + x.draft.shape,
                                    (*range(more), *(axis + more for axis in x.order)))
        return x

    def last(self, x: Laid) -> Laid:
        """Channels last: an image, or a sequence as an image of one row."""
        order = LAST_IMAGE.get(len(x.order))
        if order is None:
            raise BuildError(f"'{x.draft.name}' has {len(x.order)} axes; images have 4 and sequences 3")
        x = self.sheet.ordered(x, order)
        n, *rest = x.draft.shape
        return x if len(order) == 4 else Laid(self.sheet.reshaped(x, (n, 1, *rest), IMAGE).draft, IMAGE)

    def image(self, op: str, operator: Operator, inputs: list[Laid], options: dict[str, Any],
              same: bool = False, **more: Any) -> None:
        """An operator on images whose result takes the place of its ONNX value."""
        wide = value = self.value(operator.out)
        flat = len(value.shape) == 3
        if flat:
            wide = Value((*value.shape[:2], 1, value.shape[2]), None, value.low, value.high)
        out = self.sheet.tensor(operator.out + ("/image" if flat else ""), wide, IMAGE)
        if same:
            share(inputs[0].draft, out.draft)
        self.sheet.add(op, inputs, out, options, **more)
        if flat:
            n, _, length, channels = out.draft.shape
            out = self.sheet.reshaped(out, (n, length, channels), ROWS)
        self.laid[operator.out] = out

    def put(self, op: str, operator: Operator, inputs: list[Laid], order: tuple[int, ...],
            options: dict[str, Any] | None = None, same: bool = False, **more: Any) -> None:
        """An operator whose result takes the place of its ONNX value."""
        out = self.sheet.tensor(operator.out, self.value(operator.out), order)
        if same:
            share(inputs[0].draft, out.draft)
        out.draft.fixed = FIXED.get(op)
        self.laid[operator.out] = self.sheet.add(op, inputs, out, options, **more)

    def output(self, name: str) -> Draft:
        """An output of the network: with four axes channels last, else as ONNX has it."""
        x = self.get(name)
        x = self.sheet.ordered(x, IMAGE if len(x.order) == 4 else range(len(x.order)))
        if x.draft.data is not None:
            raise BuildError(f"the output '{name}' is a constant: this network does not look at its input")
        return x.draft


def conv(to: Emitter, o: Operator) -> None:
    x, w, a = to.last(to.get(o.inputs[0])), o.arrays["weights"], o.attributes
    options = {key: a[key] for key in ("stride", "dilation", "padding")}
    channels = x.draft.shape[3]
    depthwise = a["groups"] == channels and w.shape[1] == 1 and (channels > 1 or len(w) == 1)
    to.image("depthwise_conv_2d" if depthwise else "conv_2d", o, [x], options, weights=w, bias=o.arrays["bias"],
             clip=a.get("clip"))


def conv_transpose(to: Emitter, o: Operator) -> None:
    options = {key: o.attributes[key] for key in ("stride", "padding")}
    to.image("transpose_conv", o, [to.last(to.get(o.inputs[0]))], options, weights=o.arrays["weights"],
             bias=o.arrays["bias"], clip=o.attributes.get("clip"))


def linear(to: Emitter, o: Operator) -> None:
    x, w = to.get(o.inputs[0]), o.arrays["weights"]
    rank = len(x.order)
    if x.place(rank - 1) != rank - 1:
        x = to.sheet.ordered(x, range(rank))
    to.put("fully_connected", o, [x], x.order, weights=w, bias=o.arrays["bias"], clip=o.attributes.get("clip"))


def affine(to: Emitter, o: Operator) -> None:
    """As a depthwise convolution of one pixel where channels have their own numbers, else as a product and a sum."""
    x, scale, shift = to.get(o.inputs[0]), o.arrays["scale"], o.arrays["shift"]
    axis, rank = o.attributes["axis"], len(x.order)
    clip = o.attributes.get("clip")
    if axis == 1 and rank in LAST_IMAGE:
        x = to.last(x)
        options = {"stride": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0)}
        count = x.draft.shape[3]
        scale, shift = (np.broadcast_to(array, count) for array in (scale, shift))
        to.image("depthwise_conv_2d", o, [x], options, weights=scale.reshape(-1, 1, 1, 1), bias=shift, clip=clip)
        return
    value = to.value(o.out)

    def spread(name: str, array: np.ndarray) -> Laid:
        shape = [1] * rank
        if axis is not None:
            shape[axis] = array.size
        return to.sheet.ordered(to.sheet.constant(f"{o.out}/{name}", array.reshape(shape), rank), x.order)

    if shift.any() and (scale == 1).all():
        to.put("add", o, [x, spread("shift", shift)], x.order, clip=clip)
        return
    if not shift.any():
        to.put("mul", o, [x, spread("scale", scale)], x.order, clip=clip)
        return
    before = to.value(o.inputs[0])
    least = [np.min([before.low * scale, before.high * scale]), np.max([before.low * scale, before.high * scale])]
    middle = to.sheet.tensor(f"{o.out}/scaled", Value(value.shape, None, *map(float, least)), x.order)
    to.sheet.add("mul", [x, spread("scale", scale)], middle)
    to.put("add", o, [middle, spread("shift", shift)], x.order, clip=clip)


def binary(to: Emitter, o: Operator) -> None:
    rank = len(to.value(o.out).shape)
    a, b = (to.get(name, rank) for name in o.inputs)
    larger = math.prod(a.logical) >= math.prod(b.logical)
    first = a if b.draft.data is not None or (a.draft.data is None and larger) else b
    a, b = to.sheet.ordered(a, first.order), to.sheet.ordered(b, first.order)
    to.put(o.kind, o, [a, b], first.order, clip=o.attributes.get("clip"))


def batch_matmul(to: Emitter, o: Operator) -> None:
    rank = len(to.value(o.out).shape)
    a, b = (to.get(name, rank) for name in o.inputs)
    plain = tuple(range(rank))
    swapped = (*plain[:-2], plain[-1], plain[-2])
    transpose_b = b.order == swapped
    a, b = to.sheet.ordered(a, plain), to.sheet.ordered(b, swapped if transpose_b else plain)
    to.put("batch_matmul", o, [a, b], plain, {"transpose_b": transpose_b})


def clip(to: Emitter, o: Operator) -> None:
    x = to.get(o.inputs[0])
    to.put("relu", o, [x], x.order, clip=(o.attributes["low"], o.attributes["high"]))


def unary(to: Emitter, o: Operator) -> None:
    x = to.get(o.inputs[0])
    to.put(o.attributes["function"], o, [x], x.order, o.attributes["options"])


def softmax(to: Emitter, o: Operator) -> None:
    x, axis = to.get(o.inputs[0]), o.attributes["axis"]
    if x.order[-1] != axis:
        x = to.sheet.ordered(x, (*(a for a in range(len(x.order)) if a != axis), axis))
    to.put("softmax", o, [x], x.order, {"beta": 1.0})


def max_pool(to: Emitter, o: Operator) -> None:
    options = {key: o.attributes[key] for key in ("kernel", "stride", "padding")}
    to.image("max_pool_2d", o, [to.last(to.get(o.inputs[0]))], options, same=True)


def average_pool(to: Emitter, o: Operator) -> None:
    """Where padding is not SAME, a zero-padded mean times the share of the window that lies inside."""
    x = to.last(to.get(o.inputs[0]))
    options = {key: o.attributes[key] for key in ("kernel", "stride", "padding")}
    shape = to.value(o.out).shape
    size = (1, *shape[2:])[-2:]
    top, left, bottom, right = options["padding"]
    same = [same_padding(x.draft.shape[1 + i], size[i], options["kernel"][i], options["stride"][i], 1) for i in (0, 1)]
    if not any(options["padding"]) or same == [(top, bottom), (left, right)]:
        to.image("average_pool_2d", o, [x], options, same=True)
        return
    paddings = ((0, 0), (top, bottom), (left, right), (0, 0))
    share_low = to.sheet.like(x, [n + sum(p) for n, p in zip(x.draft.shape, paddings, strict=True)], IMAGE, "padded")
    to.sheet.add("pad", [x], share_low, {"paddings": paddings})
    pooled = to.sheet.like(x, (shape[0], *size, shape[1]), IMAGE, "pooled")
    to.sheet.add("average_pool_2d", [share_low], pooled, {**options, "padding": (0, 0, 0, 0)})
    inside = [inside_of(x.draft.shape[1 + i], size[i], options["kernel"][i], options["stride"][i], (top, left)[i])
              for i in (0, 1)]
    whole = math.prod(options["kernel"])
    factor = whole / np.outer(*inside).reshape(1, *size, 1)
    constant = Laid(to.sheet.constant(f"{o.out}/inside", factor, 4).draft, IMAGE)
    to.image("mul", o, [pooled, constant], {})


def inside_of(size: int, out: int, kernel: int, stride: int, before: int) -> np.ndarray:
    """How much of each window lies inside, along one axis."""
    starts = np.arange(out) * stride - before
    return np.minimum(starts + kernel, size) - np.maximum(starts, 0)


def reduction(to: Emitter, o: Operator) -> None:
    x, axes, keep = to.get(o.inputs[0]), o.attributes["axes"], o.attributes["keep"]
    if 0 in axes and x.logical[0] == 1 and len(axes) > 1:
        axes = tuple(axis for axis in axes if axis)     # the batch is 1: nothing to reduce
    left = [axis for axis in x.order if keep or axis not in o.attributes["axes"]]
    order = tuple(sorted(left).index(axis) for axis in left)
    if len(axes) != len(o.attributes["axes"]) and not keep:
        x = to.sheet.ordered(x, range(len(x.order)))
        x = to.sheet.reshaped(x, x.draft.shape[1:], range(len(x.order) - 1))
        axes = tuple(axis - 1 for axis in axes)
        order = tuple(range(len(to.value(o.out).shape)))
    options = {"axes": tuple(sorted(x.place(axis) for axis in axes)), "keep": keep}
    to.put(o.kind, o, [x], order, options, same=o.kind == "reduce_max")


def reshape(to: Emitter, o: Operator) -> None:
    x, shape = to.get(o.inputs[0]), to.value(o.out).shape
    order = reshape_order(x, shape)
    readers = [reader for reader in to.network.operators if o.out in reader.inputs]
    flat = len(shape) == 2 and shape[0] == 1 and o.out not in to.network.outputs
    if order is None and flat and readers and all(reader.kind == "linear" for reader in readers):
        permuted(x, readers)                            # weights take the order that the data has
        order = (0, 1)
    if order is None:
        x = to.sheet.ordered(x, range(len(x.order)))
        order = tuple(range(len(shape)))
    to.laid[o.out] = to.sheet.reshaped(x, tuple(shape[axis] for axis in order), order)


def permuted(x: Laid, readers: list[Operator]) -> None:
    places = np.arange(math.prod(x.logical)).reshape(x.logical).transpose(x.order).reshape(-1)
    for reader in readers:
        reader.arrays["weights"] = reader.arrays["weights"][:, places]


def transpose(to: Emitter, o: Operator) -> None:
    """Only the names of the axes change."""
    x, permutation = to.get(o.inputs[0]), o.attributes["permutation"]
    to.laid[o.out] = Laid(x.draft, tuple(permutation.index(axis) for axis in x.order))


def concat(to: Emitter, o: Operator) -> None:
    parts = [to.get(name) for name in o.inputs]
    order = next((x.order for x in parts if x.draft.data is None), parts[0].order)
    out = to.sheet.tensor(o.out, to.value(o.out), order)
    placed: list[Laid] = []
    for part in parts:
        x = to.sheet.ordered(part, order)
        if x.draft.root.fixed is not None or not share(x.draft, out.draft):
            again = Laid(Draft(to.sheet.name(f"{x.draft.name}/again"), x.draft.shape, x.draft.low, x.draft.high), order)
            share(again.draft, out.draft)
            x = to.sheet.add("quantize", [x], again)
        placed.append(x)
    to.laid[o.out] = to.sheet.add("concatenation", placed, out, {"axis": order.index(o.attributes["axis"])})


def pad(to: Emitter, o: Operator) -> None:
    x = to.get(o.inputs[0])
    to.put("pad", o, [x], x.order, {"paddings": tuple(o.attributes["paddings"][axis] for axis in x.order)}, same=True)


def cut(to: Emitter, o: Operator) -> None:
    x = to.get(o.inputs[0])
    to.put("strided_slice", o, [x], x.order, {key: tuple(o.attributes[key][axis] for axis in x.order)
                                              for key in ("begin", "end", "stride")}, same=True)


def resize(to: Emitter, o: Operator) -> None:
    to.image("resize_nearest_neighbor", o, [to.last(to.get(o.inputs[0]))], {}, same=True)


EMITTERS: dict[str, Callable[[Emitter, Operator], None]] = {
    "conv": conv, "conv_transpose": conv_transpose, "linear": linear, "affine": affine, "add": binary,
    "sub": binary, "mul": binary,
    "batch_matmul": batch_matmul, "clip": clip, "unary": unary, "softmax": softmax, "average_pool": average_pool,
    "max_pool": max_pool, "mean": reduction, "reduce_max": reduction, "reshape": reshape, "transpose": transpose,
    "concat": concat, "pad": pad, "slice": cut, "resize": resize}
