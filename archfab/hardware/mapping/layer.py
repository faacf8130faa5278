"""One layer as a loop nest of eight loops around a multiply-accumulate, and which operand each loop moves.

`O[b,g,k,y,x] += W[g,k,c,fy,fx] * I[b,g,c, sy*y + dy*fy, sx*x + dx*fx]`, with s the stride and d the dilation. The
loops are named as in ZigZag: B batch, G groups, K outputs and C inputs of a group, OY OX rows and columns of the
output, FY FX rows and columns of the kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LOOPS = ("B", "G", "K", "C", "OY", "OX", "FY", "FX")
B, G, K, C, OY, OX, FY, FX = range(8)
RELEVANT = {"input": (B, G, C, OY, OX, FY, FX), "weight": (G, K, C, FY, FX), "output": (B, G, K, OY, OX)}
"""The loops from one step to the next of which an operand moves on."""
WINDOWS = ((OY, FY), (OX, FX))
"""The loops that share an axis of the input: rows, columns."""


@dataclass(frozen=True)
class Layer:
    """The counts of the eight loops, stride and dilation (vertical, horizontal), the input's rows and columns where its
    edge is known, and bits of an input, a weight, a result and a partial sum."""

    batch: int = 1
    groups: int = 1
    outputs: int = 1
    inputs: int = 1
    height: int = 1
    width: int = 1
    kernel_height: int = 1
    kernel_width: int = 1
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    edge: tuple[int, int] | None = None
    bits: tuple[int, int, int, int] = (8, 8, 8, 16)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.batch, self.groups, self.outputs, self.inputs, self.height, self.width, self.kernel_height,
                self.kernel_width)

    @property
    def macs(self) -> int:
        return math.prod(self.sizes)

    def elements(self, operand: str) -> int:
        """How many there are of an operand; inputs as far as the window reaches and the edge allows."""
        if operand != "input":
            return math.prod(self.sizes[loop] for loop in RELEVANT[operand])
        edge = self.edge or (math.inf, math.inf)
        return round(self.batch * self.groups * self.inputs * math.prod(
            min(edge[axis], distinct(self.sizes[out], self.sizes[tap], self.stride[axis], self.dilation[axis]))
            for axis, (out, tap) in enumerate(WINDOWS)))


def distinct(outputs: int, taps: int, stride: int, dilation: int) -> int:
    """How many different positions stride * i + dilation * j there are, 0 <= i < outputs, 0 <= j < taps: all pairs
    but those that have the position of another, one dilation's step of outputs earlier."""
    common = math.gcd(stride, dilation)
    return outputs * taps - max(0, outputs - dilation // common) * max(0, taps - stride // common)
