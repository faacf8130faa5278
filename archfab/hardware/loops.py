"""The loop nests of multiply-accumulate operators: what a spatial array unrolls and tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from archfab.hardware.operators import ATTENTION, CONVOLUTIONS


@dataclass(frozen=True)
class Loops:
    """One nest of multiply-accumulates: eight counts, and how the input is walked through."""

    batch: int = 1
    groups: int = 1             # independent nests: convolution groups, matrix products of a batch
    outputs: int = 1            # channels of one group
    inputs: int = 1             # channels of one group
    height: int = 1             # of the output; rows of a matrix product
    width: int = 1
    kernel_height: int = 1
    kernel_width: int = 1
    stride: tuple[int, int] = (1, 1)        # down, across
    dilation: tuple[int, int] = (1, 1)

    @property
    def macs(self) -> int:
        return self.batch * self.groups * self.outputs * self.inputs * self.height * self.width \
            * self.kernel_height * self.kernel_width


def loops_of(name: str, args: Any, out: Any) -> tuple[Loops, ...]:
    """The nests of an aten operator: one, two of attention (with the keys, with the values), none of those without
    multiply-accumulates and of convolutions in three dimensions."""
    if name in CONVOLUTIONS:
        x, weight, stride, dilation, transposed, groups = args[0], args[1], args[3], args[5], args[6], args[8]
        return convolution(x.shape, weight.shape, out.shape, stride, dilation, transposed, groups)
    if name in ATTENTION:
        return attention(*(each.shape for each in args[:3]))
    match name:
        case "mm" | "bmm" | "mv" | "dot":
            a, b = args[:2]
        case "addmm" | "baddbmm" | "addmv":
            a, b = args[1:3]
        case "linear":
            a, b = args[0], args[1].t()
        case _:
            return ()
    return (product_of(a.shape, b.shape),)


def attention(q: Any, k: Any, v: Any) -> tuple[Loops, ...]:
    """The nests of attention, by the shapes of queries, keys and values [..., length, depth]: for each query the
    products with the keys, then with the values."""
    heads = math.prod(q[:-2])
    return (Loops(groups=heads, outputs=k[-2], inputs=q[-1], height=q[-2]),
            Loops(groups=heads, outputs=v[-1], inputs=k[-2], height=q[-2]))


def convolution(x: Any, weight: Any, out: Any, stride: Any, dilation: Any, transposed: bool,
                groups: int) -> tuple[Loops, ...]:
    """The nest of a convolution in one or two dimensions, by the shapes of its input [N, C, ...], weights and output;
    a transposed one walks through its input and scatters."""
    if len(weight) not in (3, 4):
        return ()
    size, kernel = tuple(x if transposed else out)[2:], tuple(weight)[2:]
    outputs, inputs = (weight[1], weight[0] // groups) if transposed else (weight[0] // groups, weight[1])
    (height, width), (down, across) = padded(size), padded(kernel)
    return (Loops(int(x[0]), int(groups), int(outputs), int(inputs), height, width, down, across,
                  padded((1, 1) if transposed else stride), padded(dilation)),)


def product_of(a: Any, b: Any) -> Loops:
    """The nest of a matrix product [..., n, k] x [..., k, m], of vectors too."""
    rows = a[-2] if len(a) > 1 else 1
    columns = b[-1] if len(b) > 1 else 1
    groups = math.prod(map(max, zip_longest(a[:-2][::-1], b[:-2][::-1], fillvalue=1)))
    if len(b) < 3:                              # one matrix for all
        rows, groups = rows * groups, 1
    return Loops(groups=int(groups), outputs=int(columns), inputs=int(a[-1]), height=int(rows))


def padded(sizes: Any) -> tuple[int, int]:
    """Two numbers, the first 1 where there is one dimension; one number for both where torch was given one."""
    found = tuple(int(size) for size in sizes)
    return (1, found[0]) if len(found) == 1 else (found[0], found[1])
