"""Which loops each memory holds, for given orders of the loops: as many as fit, from the multipliers outwards.

Where operands share a memory, they are given room so that the fewest bits cross its outer boundary. On an array with
even mappings all operands of a memory hold the same loops.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from archfab.hardware.mapping.architecture import OPERANDS, Architecture, Memory
from archfab.hardware.mapping.batch import Array, Batch
from archfab.hardware.mapping.layer import LOOPS
from archfab.hardware.mapping.traffic import Operand


def allocate(batch: Batch, architecture: Architecture) -> tuple[Batch, Array]:
    """The batch with what its memories hold, and which rows fit at all."""
    rows, length = batch.loop.shape
    operands = {name: Operand(name, batch, architecture) for name in OPERANDS}
    held: dict[str, list[Array]] = {name: [] for name in OPERANDS}
    fits = np.ones(rows, bool)
    end = np.zeros(rows, int)
    for at, memory in enumerate(architecture.memories):
        if at == len(architecture.memories) - 1:
            for name in memory.operands:
                held[name].append(np.full(rows, length))
            sizes = [bits(operands[name], len(held[name]))[:, -1] for name in memory.operands]
            fits &= sum(sizes, np.zeros(rows)) <= memory.size
            continue
        sizes = [bits(operands[name], len(held[name]) + 1) for name in memory.operands]
        if memory.double_buffered:
            sizes = [np.where(size < size[:, -1:], 2 * size, size) for size in sizes]
        if architecture.even:
            end = common(sizes, memory, end, batch)
            chosen = [end] * len(sizes)
        else:
            least = [held[name][-1] if held[name] else np.zeros(rows, int) for name in memory.operands]
            chosen = divide(sizes, least, memory.size, batch.steps)
        every = np.arange(rows)
        taken = [size[every, upto] for size, upto in zip(sizes, chosen, strict=True)]
        fits &= sum(taken, np.zeros(rows)) <= memory.size
        for name, upto in zip(memory.operands, chosen, strict=True):
            held[name].append(upto)
    return batch.holding({name: np.stack(positions, axis=1) for name, positions in held.items()}), fits


def bits(operand: Operand, boundary: int) -> Array:
    """[N, L + 1]: the bits of a tile inside a boundary, were it at each position."""
    return operand.size(boundary) * operand.width(operand.unfinished(boundary))


def furthest(size: Array, room: Array, least: Array) -> Array:
    """The outermost position where a tile fits into the room; `least` where none does."""
    length = size.shape[1] - 1
    fit = size <= room[:, None]
    return np.maximum(least, np.where(fit.any(axis=1), length - np.argmax(fit[:, ::-1], axis=1), 0))


def divide(sizes: Sequence[Array], least: Sequence[Array], room: float | Array, steps: Array) -> list[Array]:
    """A position for each operand of a memory: together they fit, and the fewest bits come in from outside."""
    rows, places = sizes[0].shape
    left = np.broadcast_to(np.asarray(room, float), (rows,))
    if len(sizes) == 1:
        return [furthest(sizes[0], left, least[0])]
    every = np.arange(rows)
    best = [np.array(each) for each in least]
    crossing = np.full(rows, np.inf)
    for place in range(places):
        first = np.maximum(place, least[0])
        if place and (first > place).all():
            continue
        rest = divide(sizes[1:], least[1:], left - sizes[0][every, first], steps)
        moved, taken = np.zeros(rows), np.zeros(rows)
        for size, position in zip(sizes, [first, *rest], strict=True):
            moved += size[every, position] / steps[every, position]
            taken += size[every, position]
        better = (taken <= left) & (moved <= crossing)
        crossing = np.where(better, moved, crossing)
        best = [np.where(better, new, old) for new, old in zip([first, *rest], best, strict=True)]
    return best


def common(sizes: Sequence[Array], memory: Memory, begin: Array, batch: Batch) -> Array:
    """The outermost position up to which all operands of a memory fit together, over loops that may stand there."""
    rows, length = batch.loop.shape
    legal = np.array([memory.loops is None or loop in memory.loops for loop in LOOPS])
    passed = legal[batch.loop] | (batch.count == 1) | (np.arange(length) < begin[:, None])
    free = np.concatenate([np.ones((rows, 1), bool), np.logical_and.accumulate(passed, axis=1)], axis=1)
    return furthest(np.where(free, sum(sizes, np.zeros_like(sizes[0])), np.inf), np.full(rows, memory.size), begin)
