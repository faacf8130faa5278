"""Operators that only move data: each is a copy between two layouts of up to six axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archfab.core import BuildError
from archfab.hardware.mcu.axes import loops, strides
from archfab.hardware.mcu.operators import Calls, Place

AXES = 6            # AF_AXES in kernels/archfab.h


def move(at: Place, shape: Sequence[int], source: Sequence[int], target: Sequence[int], start: int = 0, end: int = 0,
         number: int = 0, which: int = 0) -> str:
    """A call that copies `shape` elements from `start` of input `which` to `end` of the output."""
    lengths, here, there = loops(shape, [source, target], AXES, f"{at.node.op} '{at.out.name}'")
    one = at.writer.structure("af_copy", f"{at.name}_{number}", {"shape": lengths, "from": here, "to": there})
    return f"af_move({one}, {{{which}}} + {start}, {{out}} + {end});"


def reshape(at: Place) -> Calls:
    return Calls([], alias=True)


def transpose(at: Place) -> Calls:
    steps = strides(at.inputs[0].shape)
    return Calls([move(at, at.out.shape, [steps[i] for i in at.node.options["permutation"]], strides(at.out.shape))])


def concatenation(at: Place) -> Calls:
    axis = at.node.options["axis"] % len(at.out.shape)
    steps, lines, begin = strides(at.out.shape), [], 0
    for i, x in enumerate(at.inputs):
        lines.append(move(at, x.shape, strides(x.shape), steps, 0, begin * steps[axis], i, i))
        begin += x.shape[axis]
    return Calls(lines)


def pad(at: Place) -> Calls:
    x = at.inputs[0]
    steps = strides(at.out.shape)
    end = sum(before * step for (before, _), step in zip(at.node.options["paddings"], steps, strict=True))
    return Calls([f"af_fill({{out}}, {at.node.options['value']}, {at.out.elements});",
                  move(at, x.shape, strides(x.shape), steps, 0, end)])


def strided_slice(at: Place) -> Calls:
    x, steps = at.inputs[0], strides(at.inputs[0].shape)
    begin, end, stride = (at.node.options[key] for key in ("begin", "end", "stride"))
    begins = [range(n)[slice(*cut)].start for n, cut in zip(x.shape, zip(begin, end, stride, strict=True), strict=True)]
    hops = [step * by for step, by in zip(steps, stride, strict=True)]
    start = sum(first * step for first, step in zip(begins, steps, strict=True))
    return Calls([move(at, at.out.shape, hops, strides(at.out.shape), start)])


def resize_nearest_neighbor(at: Place) -> Calls:
    batch, height, width, channels = at.inputs[0].shape
    _, tall, wide, _ = at.out.shape
    if tall % height or wide % width:
        raise BuildError(f"resize_nearest_neighbor '{at.out.name}': the code generator resizes by whole factors, not "
                         f"{height}x{width} to {tall}x{wide}")
    rows, columns = tall // height, wide // width
    shape = (batch, height, rows, width, columns, channels)
    source = (height * width * channels, width * channels, 0, channels, 0, 1)
    return Calls([move(at, shape, source, strides(shape))])


EMITTERS: dict[str, Callable[[Place], Calls]] = {
    "reshape": reshape, "transpose": transpose, "concatenation": concatenation, "pad": pad,
    "strided_slice": strided_slice, "resize_nearest_neighbor": resize_nearest_neighbor}
