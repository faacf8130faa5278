"""Many mappings of many layers at once, as arrays: one row is one layer under one mapping.

A loop's count 1 stands for no loop, so rows may have different numbers of loops. Positions 0 to L are between the
loops: position p has the p innermost loops inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from archfab.hardware.mapping.architecture import OPERANDS, Architecture
from archfab.hardware.mapping.layer import LOOPS, RELEVANT, WINDOWS, Layer
from archfab.hardware.mapping.nest import Nest

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Batch:
    """`sizes` [N, 8] counts of the layer's loops, `stride`, `dilation`, `edge` [N, 2], `bits` [N, 4], `unroll`
    [N, A, 8] units along each dimension of the array, `loop` [N, L] and `count` [N, L] loops one after another,
    innermost first, `held` [N, levels] by operand: positions up to which a memory has the loops inside."""

    sizes: Array
    stride: Array
    dilation: Array
    edge: Array
    bits: Array
    unroll: Array
    loop: Array
    count: Array
    held: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sizes)

    @cached_property
    def inside(self) -> Array:
        """[N, L + 1, 8]: how often each loop runs inside a position."""
        rows, length = self.loop.shape
        found = np.ones((rows, length + 1, len(LOOPS)))
        every = np.arange(rows)
        for at in range(length):
            found[:, at + 1] = found[:, at]
            found[every, at + 1, self.loop[:, at]] *= self.count[:, at]
        return found

    @cached_property
    def steps(self) -> Array:
        """[N, L + 1]: steps inside a position."""
        return np.concatenate([np.ones((len(self), 1)), np.cumprod(self.count, axis=1)], axis=1)

    @cached_property
    def filling(self) -> Array:
        """[N, 8]: the share of each loop's rounds that do something; below 1 where counts do not divide."""
        return self.sizes / (self.inside[:, -1] * self.unroll.prod(axis=1))

    def take(self, rows: Array) -> Batch:
        """Some of the rows."""
        return Batch(**{each.name: getattr(self, each.name)[rows] for each in fields(self) if each.name != "held"},
                     held={operand: held[rows] for operand, held in self.held.items()})

    def holding(self, held: Mapping[str, Array]) -> Batch:
        return replace(self, held=held)

    def nest(self, row: int) -> Nest:
        """One row as a mapping, without loops that run once."""
        real = self.count[row] > 1
        before = np.concatenate([[0], np.cumsum(real)])
        return Nest(
            tuple(tuple((LOOPS[at], int(units)) for at, units in enumerate(along) if units > 1)
                  for along in self.unroll[row]),
            tuple((LOOPS[loop], int(count)) for loop, count in
                  zip(self.loop[row][real], self.count[row][real], strict=True)),
            tuple((operand, tuple(int(before[at]) for at in self.held[operand][row])) for operand in OPERANDS))


def of_nests(pairs: Sequence[tuple[Layer, Nest]], architecture: Architecture) -> Batch:
    """Mappings of layers as rows."""
    length = max(1, *(len(nest.loops) for _, nest in pairs))
    unroll = np.ones((len(pairs), len(architecture.array), len(LOOPS)))
    loop, count = np.zeros((len(pairs), length), int), np.ones((len(pairs), length))
    held = {operand: np.zeros((len(pairs), len(architecture.levels(operand))), int) for operand in OPERANDS}
    for row, (_, nest) in enumerate(pairs):
        for along, loops in enumerate(nest.unrolled):
            for name, units in loops:
                unroll[row, along, LOOPS.index(name)] *= units
        for at, (name, rounds) in enumerate(nest.loops):
            loop[row, at], count[row, at] = LOOPS.index(name), rounds
        for operand, positions in nest.held:
            held[operand][row] = positions
            held[operand][row, -1] = length
    return of_layers([layer for layer, _ in pairs], np.arange(len(pairs)), unroll, loop, count, held)


def of_layers(layers: Sequence[Layer], owner: Array, unroll: Array, loop: Array, count: Array,
              held: Mapping[str, Array] | None = None) -> Batch:
    """Rows, each of the layer whose number `owner` [N] says."""
    def column(name: str) -> Array:
        return np.array([getattr(layer, name) for layer in layers], float)[owner]
    edge = np.array([layer.edge or (np.inf, np.inf) for layer in layers], float)[owner]
    return Batch(column("sizes"), column("stride"), column("dilation"), edge, column("bits"), unroll, loop, count,
                 held or {})


def elements(operand: str, extents: Array, batch: Batch, edges: bool) -> Array:
    """How many elements of an operand loops [N, ..., 8] touch that run so often.

    :param edges: whether inputs end where the image does.
    """
    if operand != "input":
        return extents[..., RELEVANT[operand]].prod(axis=-1)
    found = extents[..., :2].prod(axis=-1) * extents[..., 3]
    shape = (len(batch),) + (1,) * (extents.ndim - 2)
    for axis, (out, tap) in enumerate(WINDOWS):
        stride, dilation = batch.stride[:, axis], batch.dilation[:, axis]
        common = np.gcd(stride.astype(int), dilation.astype(int))
        outputs, taps = extents[..., out], extents[..., tap]
        across = outputs * taps - (np.maximum(0, outputs - (dilation // common).reshape(shape))
                                   * np.maximum(0, taps - (stride // common).reshape(shape)))
        found = found * (np.minimum(across, batch.edge[:, axis].reshape(shape)) if edges else across)
    return found
