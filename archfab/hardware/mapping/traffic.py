"""How much goes how often from memory to memory: the transfers of a batch of mappings.

Between two memories of an operand lies a boundary; boundary 0 lies between the multipliers and the innermost memory.
What is inside a boundary is a tile. It stays as long as the loops outside that turn do not move the operand on, and is
then replaced as a whole: transfers = tile x units that hold different ones x rounds of the loops outside, up from
the innermost that moves the operand on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from archfab.hardware.mapping.architecture import Architecture, Port
from archfab.hardware.mapping.batch import Array, Batch, elements
from archfab.hardware.mapping.layer import LOOPS, RELEVANT, WINDOWS

WHOLE = {"input": (0, 1, 3), "weight": RELEVANT["weight"], "output": RELEVANT["output"]}
"""The loops that move on the whole tile: no window of one overlaps that of the next."""


@dataclass(frozen=True, eq=False)
class Transfer:
    """One operand, one memory, one direction: `amount` elements of `bits` each, `count` times, once in `period` steps,
    in a `window` of it where there is no second buffer; `units` memories do the same at a time, of which `share` is
    needed where counts do not divide."""

    operand: str
    level: int
    direction: str
    port: Port
    amount: Array
    bits: Array
    period: Array
    count: Array
    window: Array
    units: Array
    share: Array

    @cached_property
    def cycles(self) -> Array:
        """Cycles of one transfer."""
        return np.ceil(self.amount * self.bits / self.port.bits)


def reach(architecture: Architecture, operand: str) -> list[list[int]]:
    """For each boundary of an operand and what is outside all memories, the dimensions of the array that fan out
    there: those that the memory outside it serves and none inside it does."""
    levels = architecture.levels(operand)
    found: list[list[int]] = [[] for _ in range(len(levels) + 1)]
    for along, (name, _) in enumerate(architecture.array):
        found[next((boundary for boundary, at in enumerate(levels) if name in architecture.memories[at].serves),
                   len(levels))].append(along)
    return found


class Operand:
    """One operand of a batch: its tiles, its boundaries, and what crosses them."""

    def __init__(self, name: str, batch: Batch, architecture: Architecture) -> None:
        self.name, self.batch, self.rules = name, batch, architecture.rules
        self.levels = architecture.levels(name)
        self.memories = [architecture.memories[at] for at in self.levels]
        self.moving = np.isin(np.arange(len(LOOPS)), RELEVANT[name])
        fans = [batch.unroll[:, along].prod(axis=1) for along in reach(architecture, name)]
        self.fans = fans                                                    # by boundary, [N, 8]
        self.spread = [np.ones_like(batch.sizes)]                           # units inside a boundary, [N, 8]
        for fan in fans:
            self.spread.append(self.spread[-1] * fan)
        self.stretch = self._stretch()

    def _stretch(self) -> Array:
        """[N, L + 1]: from each position outwards to the next loop that moves the operand on."""
        rows, length = self.batch.loop.shape
        stop = self.moving[self.batch.loop] & (self.batch.count > 1)
        found = np.full((rows, length + 1), length)
        for at in range(length - 1, -1, -1):
            found[:, at] = np.where(stop[:, at], at, found[:, at + 1])
        return found

    def _run(self, loops: Array) -> Array:
        """[N, L + 1]: from each position inwards past loops of some kinds; where that run begins."""
        rows, length = self.batch.loop.shape
        passed = loops[self.batch.loop] | (self.batch.count == 1)
        found = np.zeros((rows, length + 1), int)
        for at in range(length):
            found[:, at + 1] = np.where(passed[:, at], found[:, at], at + 1)
        return found

    def size(self, boundary: int) -> Array:
        """[N, L + 1]: the elements of a tile inside a boundary, were it at each position."""
        extents = self.batch.inside * self.spread[boundary][:, None]
        return elements(self.name, extents, self.batch, self.rules.input_edges)

    def unfinished(self, boundary: int) -> Array:
        """[N, L + 1]: whether results that wait inside a boundary are partial sums, were it at each position."""
        outside = np.ones(len(self.batch), bool)
        for fan in self.fans[boundary:]:
            outside &= (fan[:, ~self.moving] == 1).all(axis=1)
        turns = self.batch.inside[:, :, ~self.moving].prod(axis=2)
        return (turns != turns[:, -1:]) | ~outside[:, None]

    def width(self, partial: Array) -> Array:
        """Bits of an element; of a result, whether it is finished or not."""
        shape = (-1,) + (1,) * (partial.ndim - 1)
        inputs, weights, results, sums = (bits.reshape(shape) for bits in self.batch.bits.T)
        if self.name == "output":
            return np.where(partial, sums, results)
        return np.broadcast_to(inputs if self.name == "input" else weights, partial.shape)


class Flow(Operand):
    """An operand whose memories know what they hold."""

    def __init__(self, name: str, batch: Batch, architecture: Architecture) -> None:
        super().__init__(name, batch, architecture)
        rows = np.arange(len(batch))
        held = batch.held[name]
        first = self.stretch[:, 0] if name != "output" and self.rules.latched else np.zeros(len(batch), int)
        self.cuts = [first, *(self.stretch[rows, held[:, level]] for level in range(len(self.levels)))]
        self.periods = [batch.steps[rows, cut] for cut in self.cuts]
        total = batch.steps[:, -1]
        self.counts = [total / period for period in self.periods]
        still = self._run(~self.moving)
        self.windows = [self.periods[0]]
        for boundary in range(1, len(self.cuts)):
            begin = np.maximum(still[rows, self.cuts[boundary]], self.cuts[boundary - 1] if boundary > 1 else 0)
            self.windows.append(batch.steps[rows, begin])
        edges = self.rules.input_edges
        self.tiles = [elements(name, self.extents(boundary), batch, edges) for boundary in range(len(self.cuts))]
        outside = [fan.prod(axis=1) for fan in self.fans]
        self.units = [np.prod(outside[boundary:], axis=0) for boundary in range(len(outside) + 1)]
        turns = batch.inside[:, :, ~self.moving].prod(axis=2)
        self.rounds = [turns[:, -1] / turns[rows, cut] for cut in self.cuts]
        self.reduced = [fan[:, ~self.moving].prod(axis=1) for fan in self.fans]     # units that add up to one result
        self.partial = [np.prod([rounds, *self.reduced[boundary + 1:]], axis=0) > 1
                        for boundary, rounds in enumerate(self.rounds)]

    def in_use(self, boundary: int) -> Array:
        """Bits of a tile that are in use at a time: without the outermost loops that go through it piece by piece."""
        rows = np.arange(len(self.batch))
        kinds = np.isin(np.arange(len(LOOPS)), WHOLE[self.name])
        begin = np.maximum(self._run(kinds)[rows, self.cuts[boundary]], self.cuts[boundary - 1] if boundary > 1 else 0)
        return np.floor(self.bits_moved(boundary) * self.batch.steps[rows, begin] / self.periods[boundary])

    def bits_moved(self, boundary: int) -> Array:
        """Bits of a tile as it passes a boundary: results of several units are added up on the way."""
        return self.tiles[boundary] * self.width(self.partial[boundary])

    def bits_held(self, boundary: int) -> Array:
        """Bits of a tile as it waits inside."""
        partial = self.partial[boundary] | (self.reduced[boundary] > 1)
        return self.tiles[boundary] * self.width(partial)

    def joined(self, boundary: int) -> Array:
        """How many tiles' worth of elements one read serves the units of a boundary with, or they reduce to."""
        if self.rules.halo_shared:
            edges = self.rules.input_edges
            return (elements(self.name, self.spread[boundary + 1], self.batch, edges)
                    / elements(self.name, self.spread[boundary], self.batch, edges))
        return self.fans[boundary][:, self.moving].prod(axis=1)

    def share(self, level: int, boundary: int) -> Array:
        """The part of a memory's traffic over a boundary that is needed where counts do not divide. Inputs lack rows
        and columns of a tile then, not whole tiles."""
        filling = self.batch.filling
        spread_outside = np.prod([np.ones_like(filling), *self.fans[level + 1:]], axis=0) > 1
        counted = self.moving | spread_outside
        if self.name != "input":
            return np.where(counted, filling, 1.0).prod(axis=1)
        windows = np.isin(np.arange(len(LOOPS)), [loop for axis in WINDOWS for loop in axis])
        extents = self.extents(boundary)
        whole, lacking = (elements(self.name, each, self.batch, self.rules.input_edges)
                          for each in (extents, extents * np.where(windows, filling, 1.0)))
        return np.where(counted & ~windows, filling, 1.0).prod(axis=1) * lacking / whole

    def extents(self, boundary: int) -> Array:
        """[N, 8]: how often each loop runs inside a boundary."""
        if boundary == 0:
            return np.ones_like(self.batch.sizes)
        rows = np.arange(len(self.batch))
        return self.batch.inside[rows, self.batch.held[self.name][:, boundary - 1]] * self.spread[boundary]

    def transfers(self) -> list[Transfer]:
        found: list[Transfer] = []
        last = len(self.levels) - 1
        for level, memory in enumerate(self.memories):
            for boundary, inwards, outwards in ((level, "to_below", "from_below"),
                                                (level + 1, "from_above", "to_above")):
                below = boundary == level
                if not below and level == last:
                    continue
                amount = self.tiles[boundary] * (self.joined(boundary) if below else 1.0)
                partial, count = self.partial[boundary], self.counts[boundary]
                directions = [(inwards, count)]
                if self.name == "output":
                    again = count if self.rules.first_reads else count * (1 - 1 / self.rounds[boundary])
                    drained = count if below or self.rules.drain_reads else np.zeros_like(count)
                    directions = [(outwards, drained), (inwards, np.where(partial, again, 0.0))]
                for direction, times in directions:
                    port = memory.port(self.name, direction)
                    assert port is not None
                    found.append(Transfer(self.name, level, direction, port, amount, self.width(partial),
                                          self.periods[boundary], times, self.windows[boundary], self.units[level + 1],
                                          self.share(level, boundary)))
        return found
