"""The dies of a wafer as sites of a grid: their neighbours, dies shuffled among the sites, figures of many at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archfab.silicon.wafers.maps import WaferMap

STEPS: dict[str, tuple[tuple[int, int], ...]] = {
    "rook": ((0, 1), (1, 0)), "queen": ((0, 1), (1, 0), (1, 1), (1, -1))}
"""Rows and columns to the neighbours of a die, each pair of dies once."""
RIM = 6                     # empty cells around the dies, so that a step from a die stays in the grid
CHUNK = 200_000             # cells of shuffled wafers that are held at once: what a fast cache holds
PAIRS = 2_000_000           # distances between dies that are held at once
Floats = NDArray[np.float64]
Fields = NDArray[Any]       # [wafers, cells], float32 where sums of products are exact in it, else float64


@dataclass(frozen=True)
class Lattice:
    """Sites with a die, and the steps from each to its neighbours in the flat grid."""

    sites: NDArray[np.int64]            # flat places of the dies
    wide: int                           # cells of a row
    cells: int
    strides: tuple[int, ...]
    degrees: Floats                     # neighbours of each cell
    pairs: int                          # of neighbours, each once
    die_mm: tuple[float, float]         # or 1, 1: distances are in dies then

    @classmethod
    def of(cls, wafer: WaferMap, weights: str) -> Lattice:
        room = np.pad(wafer.dies, RIM)
        flat, wide = room.ravel(), room.shape[1]
        strides = tuple(row * wide + column for row, column in STEPS[weights])
        degrees = np.zeros(flat.size)
        for stride in strides:
            both = flat[stride:] & flat[:-stride]
            degrees[stride:] += both
            degrees[:-stride] += both
        return cls(np.flatnonzero(flat), wide, flat.size, strides, degrees, int(degrees.sum()) // 2,
                   wafer.die_mm or (1.0, 1.0))

    @property
    def moments(self) -> tuple[float, float, float]:
        """S0, S1, S2 of the weights (Cliff and Ord)."""
        return 2.0 * self.pairs, 4.0 * self.pairs, 4.0 * float((self.degrees ** 2).sum())

    def fields(self, values: NDArray[np.int64]) -> Fields:
        """The dies of one wafer, [1, cells], 0 where there is none."""
        found = np.zeros((1, self.cells), self.kind(values))
        found[0, self.sites] = values
        return found

    def kind(self, values: NDArray[np.int64]) -> Any:
        return np.float32 if float(values.max()) ** 2 * self.cells < 2 ** 24 else np.float64

    def shuffled(self, values: NDArray[np.int64], permutations: int, rng: np.random.Generator) -> Iterator[Fields]:
        """The dies shuffled among the sites, some wafers at a time: the commonest value everywhere, and the others on
        sites drawn without repetition, in random order."""
        kinds, numbers = np.unique(values, return_counts=True)
        common = kinds[numbers.argmax()]
        others = values[values != common].astype(self.kind(values))
        mixed = bool(others.size) and others.min() < others.max()       # else their order does not matter
        most = max(1, CHUNK // self.cells)
        for first in range(0, permutations, most):
            found = np.zeros((min(most, permutations - first), self.cells), others.dtype)
            if common:
                found[:, self.sites] = common
            for row in found:
                row[self.sites[rng.choice(len(values), len(others), replace=False, shuffle=mixed)]] = others
            yield found

    def joined(self, fields: Fields) -> tuple[Floats, Floats]:
        """Of each wafer: the sum of products over pairs of neighbours, and of values times numbers of neighbours."""
        cross = np.zeros(len(fields))
        for stride in self.strides:
            cross += np.einsum("ij,ij->i", fields[:, stride:], fields[:, :-stride])
        return cross, (fields @ self.degrees.astype(fields.dtype)).astype(np.float64)

    def moran(self, fields: Fields) -> Floats:
        """I = n / S0 sum(w_ij z_i z_j) / sum(z_i^2) of each wafer; all have the same dies."""
        values = fields[0, self.sites].astype(np.float64)
        mean = values.mean()
        cross, ends = self.joined(fields)
        return len(values) / self.pairs * (cross - mean * ends + mean ** 2 * self.pairs) / ((values - mean) ** 2).sum()

    def joins(self, fields: Fields) -> dict[str, Floats]:
        """Pairs of neighbours that both fail, of which one fails, that both pass."""
        both, ends = self.joined((fields > 0).astype(np.float32))
        return {"BB": both, "BW": ends - 2 * both, "WW": self.pairs - ends + both}

    def nearest(self, fields: Fields) -> Floats:
        """The mean distance from a failing die to the next failing one, of each wafer."""
        shells = self.shells()
        return np.array([self.nearest_of(field, shells) for field in fields > 0])

    def nearest_of(self, field: NDArray[np.bool_], shells: list[tuple[float, list[int]]]) -> float:
        everyone = places = np.flatnonzero(field)
        total = 0.0
        for distance, steps in shells:
            hit = field[places + steps[0]]
            for step in steps[1:]:
                hit |= field[places + step]
            total += distance * np.count_nonzero(hit)
            places = places[~hit]
            if not len(places):
                return total / len(everyone)
        for part in np.array_split(places, 1 + len(places) * len(everyone) // PAIRS):
            apart = np.hypot((everyone % self.wide - (part % self.wide)[:, None]) * self.die_mm[0],
                             (everyone // self.wide - (part // self.wide)[:, None]) * self.die_mm[1])
            apart[apart == 0] = math.inf
            total += float(apart.min(1).sum())
        return total / len(everyone)

    def shells(self) -> list[tuple[float, list[int]]]:
        """Distances that steps within the rim can have, ascending, as far as none is missing, and the steps of each."""
        found: dict[float, list[int]] = {}
        reach = RIM * min(self.die_mm) * (1 + 1e-9)
        for row in range(-RIM, RIM + 1):
            for column in range(-RIM, RIM + 1):
                distance = round(math.hypot(column * self.die_mm[0], row * self.die_mm[1]), 9)
                if 0 < distance <= reach:
                    found.setdefault(distance, []).append(row * self.wide + column)
        return sorted(found.items())
