"""ONNX operators that move numbers or look at them in another way, in the kinds of integer networks."""

from __future__ import annotations

import numpy as np

from archfab.hardware.int8.float_model import Float, Operator, Value
from archfab.hardware.int8.kinds import NoForm, Translation, numbers, one, shape


def reshape(operator: Operator, network: Float) -> list[Operator]:
    return one("reshape", operator)


def transpose(operator: Operator, network: Float) -> list[Operator]:
    rank = len(shape(network, operator.inputs[0]))
    return one("transpose", operator, permutation=tuple(operator.attributes.get("perm", range(rank)[::-1])))


def concat(operator: Operator, network: Float) -> list[Operator]:
    rank = len(shape(network, operator.out))
    return one("concat", operator, operator.inputs, axis=operator.attributes["axis"] % rank)


def pad(operator: Operator, network: Float) -> list[Operator]:
    rank = len(shape(network, operator.inputs[0]))
    given, value = numbers(operator, network, 1, "pads"), numbers(operator, network, 2, "value")
    if operator.attributes.get("mode", "constant") != "constant" or given is None:
        raise NoForm(f"mode {operator.attributes.get('mode')}")
    if value is not None and value.size and float(value.reshape(-1)[0]) != 0:
        raise NoForm("a value other than 0")
    axes = numbers(operator, network, 3)
    chosen = list(range(rank)) if axes is None else [int(axis) % rank for axis in axes]
    sides = [(0, 0)] * rank
    for i, axis in enumerate(chosen):
        sides[axis] = (int(given[i]), int(given[i + len(chosen)]))
    if any(side < 0 for pair in sides for side in pair):
        raise NoForm("negative padding")
    return one("pad", operator, paddings=tuple(sides))


def slices(operator: Operator, network: Float) -> list[Operator]:
    x = shape(network, operator.inputs[0])
    starts, ends = numbers(operator, network, 1, "starts"), numbers(operator, network, 2, "ends")
    axes, steps = numbers(operator, network, 3, "axes"), numbers(operator, network, 4)
    if starts is None or ends is None:
        raise NoForm("no bounds")
    cuts = [slice(0, n, 1) for n in x]
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = i if axes is None else int(axes[i]) % len(x)
        step = 1 if steps is None else int(steps[i])
        if step < 1:
            raise NoForm("a negative step")
        cuts[axis] = slice(*slice(int(start), int(end), step).indices(x[axis]))
    return one("slice", operator, begin=tuple(c.start for c in cuts), end=tuple(c.stop for c in cuts),
               stride=tuple(c.step for c in cuts))


def split(operator: Operator, network: Float) -> list[Operator]:
    x = shape(network, operator.inputs[0])
    axis, at, parts = operator.attributes.get("axis", 0) % len(x), 0, []
    for name in operator.outputs:
        size = shape(network, name)[axis]
        begin, end = [0] * len(x), list(x)
        begin[axis], end[axis] = at, at + size
        parts.append(Operator("slice", operator.inputs[:1], [name], {"begin": tuple(begin), "end": tuple(end),
                                                                     "stride": (1,) * len(x)}))
        at += size
    return parts


def gather(operator: Operator, network: Float) -> list[Operator]:
    """Of consecutive places of a computed value."""
    x = network.values[operator.inputs[0]]
    places = numbers(operator, network, 1)
    axis = operator.attributes.get("axis", 0) % len(x.shape)
    if places is None or x.data is not None:
        raise NoForm("")
    flat = places.reshape(-1) % x.shape[axis]
    if not len(flat) or not np.array_equal(flat, np.arange(flat[0], flat[0] + len(flat))):
        raise NoForm("of places that do not follow each other")
    begin, end = [0] * len(x.shape), list(x.shape)
    begin[axis], end[axis] = int(flat[0]), int(flat[-1]) + 1
    cut = f"{operator.out}/cut"
    network.values[cut] = Value(tuple(e - b for b, e in zip(begin, end, strict=True)), None, x.low, x.high)
    return [Operator("slice", operator.inputs[:1], [cut], {"begin": tuple(begin), "end": tuple(end),
                                                           "stride": (1,) * len(begin)}),
            *one("reshape", operator, [cut])]


def resize(operator: Operator, network: Float) -> list[Operator]:
    x, out, a = shape(network, operator.inputs[0]), shape(network, operator.out), operator.attributes
    if a.get("mode", "nearest") != "nearest" or len(x) != 4 or x[:2] != out[:2]:
        raise NoForm(f"mode {a.get('mode')}")
    if any(o % i for i, o in zip(x[2:], out[2:], strict=True)):
        raise NoForm("by a factor that is no whole number")
    where, nearest = a.get("coordinate_transformation_mode", "half_pixel"), a.get("nearest_mode", "round_prefer_floor")
    legal = where.startswith("half_pixel") or (where, nearest) == ("asymmetric", "floor")
    if operator.kind == "Resize" and not legal:
        raise NoForm(f"coordinates {where}, {nearest}")
    return one("resize", operator)


def identity(operator: Operator, network: Float) -> list[Operator]:
    if shape(network, operator.inputs[0]) != shape(network, operator.out):
        raise NoForm("to another shape")
    if operator.kind == "Cast" and operator.attributes.get("to") != 1:
        raise NoForm("to another type")
    return one("identity", operator)


MOVES: dict[str, Translation] = {
    "Reshape": reshape, "Flatten": reshape, "Squeeze": reshape, "Unsqueeze": reshape, "Transpose": transpose,
    "Concat": concat, "Pad": pad, "Slice": slices, "Split": split, "Gather": gather, "Resize": resize,
    "Upsample": resize, "Identity": identity, "Dropout": identity, "Cast": identity, "Expand": identity}
