"""Which loops run side by side: the unrollings of a layer that an array allows, fastest first."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from archfab.hardware.mapping.architecture import OPERANDS, Architecture
from archfab.hardware.mapping.batch import Array, of_layers
from archfab.hardware.mapping.layer import LOOPS, Layer
from archfab.hardware.mapping.traffic import Operand

COMBINED = 3000
"""How many unrollings are compared at most, over all dimensions of the array."""
WASTE = 1.5
"""An unrolling that runs a loop so many times more often than needed is left out where others exist."""


def unrollings(layer: Layer, architecture: Architecture, most: int) -> Array:
    """[S, A, 8]: units along each dimension for each loop; those with the fewest steps come first."""
    allowed = dict(architecture.unrolls)
    each = max(2, int(COMBINED ** (1 / len(architecture.array))))
    options = []
    for at, (name, size) in enumerate(architecture.array):
        possible = along(layer, size, allowed.get(name, LOOPS))
        alone = np.ones((len(possible), len(architecture.array), len(LOOPS)))
        alone[:, at] = possible
        some = possible[fitting(alone, layer, architecture)][:each]
        options.append(np.unique(np.concatenate([some, np.ones((1, len(LOOPS)))]), axis=0))     # none: if no pair fits
    grid = np.stack(np.meshgrid(*(np.arange(len(option)) for option in options), indexing="ij"), -1)
    found = np.stack([option[at] for option, at in zip(options, grid.reshape(-1, len(options)).T, strict=True)], axis=1)
    sizes, units = np.array(layer.sizes, float), found.prod(axis=1)
    rounds = np.ceil(sizes / units)
    fine = (rounds * units / sizes).prod(axis=1) <= WASTE
    found, rounds = found[fine], rounds[fine]
    found = found[np.lexsort((found.sum(axis=(1, 2)), rounds.prod(axis=1)))]
    kept = [found[:0]]
    for begin in range(0, len(found), 2 * most):
        some = found[begin:begin + 2 * most]
        kept.append(some[fitting(some, layer, architecture)])
        if sum(map(len, kept)) >= most:
            break
    return np.concatenate(kept)[:most]


def fitting(unroll: Array, layer: Layer, architecture: Architecture) -> Array:
    """Which unrollings [S, A, 8] leave every memory room for at least one step's elements."""
    rows = len(unroll)
    batch = of_layers([layer], np.zeros(rows, int), unroll, np.zeros((rows, 1), int), np.ones((rows, 1)))
    room = {at: np.full(rows, memory.size) for at, memory in enumerate(architecture.memories)}
    for name in OPERANDS:
        operand = Operand(name, batch, architecture)
        for level, at in enumerate(operand.levels):
            left = batch.sizes > operand.spread[level + 1]
            partial = np.any(left & ~operand.moving, axis=1)
            room[at] = room[at] - operand.size(level + 1)[:, 0] * operand.width(partial)
    return np.all([left >= 0 for left in room.values()], axis=0)


def along(layer: Layer, size: int, loops: tuple[str, ...]) -> Array:
    """[S, 8]: what one dimension may unroll: nothing, one loop, or two; of each choice of loops what saves most steps,
    and the choices that save most first."""
    best: dict[tuple[int, ...], tuple[float, dict[int, int]]] = {(): (1.0, {})}
    long = [LOOPS.index(loop) for loop in loops if layer.sizes[LOOPS.index(loop)] > 1]
    for loop in long:
        for units in {tight(layer.sizes[loop], size), divisors(layer.sizes[loop], size)[-1]}:
            note(best, layer, {loop: units})
    for one, other in combinations(long, 2):
        for first, second in ((one, other), (other, one)):
            for units in divisors(layer.sizes[first], size // 2):
                if units > 1 and (rest := tight(layer.sizes[second], size // units)) > 1:
                    note(best, layer, {first: units, second: rest})
    chosen = sorted(best.values(), key=lambda found: (-found[0], len(found[1]), sorted(found[1].items())))
    array = np.ones((len(chosen), len(LOOPS)))
    for row, (_, units_of) in enumerate(chosen):
        for loop, units in units_of.items():
            array[row, loop] = units
    return array


def note(best: dict[tuple[int, ...], tuple[float, dict[int, int]]], layer: Layer, units: dict[int, int]) -> None:
    """Keeps an unrolling where none of the same loops saves more steps, or as many with fewer units."""
    speed = math.prod(layer.sizes[loop] / math.ceil(layer.sizes[loop] / count) for loop, count in units.items())
    key = tuple(sorted(units))
    if key not in best or (speed, -math.prod(units.values())) > (best[key][0], -math.prod(best[key][1].values())):
        best[key] = speed, units


def tight(count: int, most: int) -> int:
    """The fewest units that need as few rounds as `most` units do."""
    return math.ceil(count / math.ceil(count / most))


def divisors(count: int, most: int) -> list[int]:
    """Those up to a limit, in order; 1 always."""
    return [each for each in range(1, max(1, min(count, most)) + 1) if count % each == 0]
