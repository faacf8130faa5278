"""What of wafers the fit of windows rests on: how many dies of each tile pass, how alike near dies are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from archfab.silicon.wafers.blocks import groups, in_patches
from archfab.silicon.wafers.maps import OFF, WaferMap
from archfab.silicon.wafers.mosaic import Partition, all_pass, chances, mixing, partitions

STEPS = (1, 2, 3)           # between the dies of the pairs that tell how wide patches are
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tally:
    """Of each group of dies: how many tiles have how many passing dies, by kind (where in a tile its dies are), each
    tile counted as one over its size, for that many cover a die; and pairs of dies so many steps apart."""

    lines: int                  # between the rows and columns of a tile
    kinds: tuple[tuple[Partition, ...], ...]
    tiles: Floats               # [groups, passing dies of each kind]
    pairs: Floats               # [groups, 0 and the steps, pairs and those of which both pass]; at 0 steps the dies

    def without(self, group: int) -> Tally:
        keep = np.arange(len(self.tiles)) != group
        return Tally(self.lines, self.kinds, self.tiles[keep], self.pairs[keep])

    @property
    def good(self) -> float:
        """The share of dies that pass."""
        dies, passing = self.pairs[:, 0].sum(0)
        return float(passing / dies)

    @property
    def together(self) -> float:
        """The chance that neighbours share a patch, by how alike dies are one, two and three steps apart."""
        numbers, passing = self.pairs.sum(0)[1:].T
        return in_patches(*map(float, passing / np.maximum(1.0, numbers) - self.good ** 2))[1]

    def loglik(self, mean: float, kappa: float, together: float) -> float:
        return self.loglik_of(*mixing(mean, kappa), together, lambda dies: float(all_pass(np.array(dies), mean, kappa)))

    def loglik_of(self, densities: Floats, weights: Floats, together: float,
                  passing: Callable[[int], float] | None = None) -> float:
        found = chances(self.kinds, self.lines, densities, weights, together, passing)
        return float(self.tiles.sum(0) @ np.log(np.maximum(found, 1e-300)))


def taken(wafers: Sequence[WaferMap], shape: tuple[int, int]) -> Tally:
    """The tally of the wafers, by groups that have tiles. Tiles that lack dies count if they have room for four."""
    size = shape[0] * shape[1]
    found: dict[tuple[Partition, ...], dict[tuple[int, int], float]] = {}
    for down, across in product(range(shape[0]), range(shape[1])):
        for room, owner in zip(*shifted(wafers, shape, (down, across)), strict=True):
            parted = room.reshape(owner.shape[0], shape[0], owner.shape[1], shape[1])
            split = parted.transpose(0, 2, 1, 3).reshape(-1, size)
            present = split != OFF
            used = present.any(1) if size <= 4 else present.all(1)
            keys = np.stack([owner.ravel()[used], (split[used] == 0).sum(1), present[used] @ (1 << np.arange(size))])
            for (group, good, mask), number in zip(*kinds_of(keys), strict=True):
                kind = partitions(shape, bytes(int(mask) >> i & 1 for i in range(size)))
                tally = found.setdefault(kind, {})
                tally[int(group), int(good)] = tally.get((int(group), int(good)), 0.0) + int(number) / size
    labels = sorted({group for tally in found.values() for group, _ in tally})
    place = {group: i for i, group in enumerate(labels)}
    counts = []
    for kind, tally in found.items():
        table = np.zeros((len(labels), sum(kind[0][2]) + 1))
        for (group, good), number in tally.items():
            table[place[group], good] = number
        counts.append(table)
    return Tally(shape[0] + shape[1] - 2, tuple(found), np.concatenate(counts, axis=1) if counts else np.zeros((0, 0)),
                 pairs_of(wafers, shape, labels))


def pairs_of(wafers: Sequence[WaferMap], shape: tuple[int, int], labels: Sequence[int]) -> Floats:
    """Of each of these groups, [groups, 0 and the steps, 2]: pairs of dies so many steps apart in a row or a column, by
    the group of the first, and those of which both pass; at 0 steps the dies themselves."""
    found = []
    for wafer, owner in zip(wafers, groups(wafers, shape), strict=True):
        rows, columns = wafer.values.shape
        wide = owner.repeat(shape[0], 0).repeat(shape[1], 1)[:rows, :columns]
        good = wafer.values == 0
        for i, step in enumerate((0, *STEPS)):
            for down, across in {(step, 0), (0, step)}:
                here = (slice(0, max(0, rows - down)), slice(0, max(0, columns - across)))
                there = (slice(down, None), slice(across, None))
                for column, mask in enumerate((wafer.dies, good)):
                    found.append((i, column, np.bincount(wide[here][mask[here] & mask[there]])))
    sums = np.zeros((max(*labels, 0, *(len(each) for _, _, each in found)) + 1, 1 + len(STEPS), 2))
    for i, column, each in found:
        sums[:len(each), i, column] += each
    return sums[labels]


def shifted(wafers: Sequence[WaferMap], shape: tuple[int, int],
            shift: tuple[int, int]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """The wafers in grids of whole tiles that begin so many rows and columns before the first die, and the groups."""
    moved = []
    for wafer in wafers:
        sizes = [math.ceil((size + by) / side) * side
                 for size, by, side in zip(wafer.values.shape, shift, shape, strict=True)]
        room = np.full(sizes, OFF, np.int64)
        room[shift[0]:shift[0] + wafer.values.shape[0], shift[1]:shift[1] + wafer.values.shape[1]] = wafer.values
        moved.append(WaferMap(wafer.name, room))
    return [wafer.values for wafer in moved], groups(moved, shape)


def kinds_of(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The different columns, as rows, and how often each comes."""
    kinds, numbers = np.unique(keys, axis=1, return_counts=True)
    return kinds.T, numbers
