"""Whether failures lie together: Moran's I, join counts, nearest neighbours, held against shuffled wafers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from archfab.core import UsageError, unknown
from archfab.silicon.wafers.maps import WaferMap

STEPS: dict[str, tuple[tuple[int, int], ...]] = {
    "rook": ((0, 1), (1, 0)), "queen": ((0, 1), (1, 0), (1, 1), (1, -1))}
"""Rows and columns to the neighbours of a die, each pair of dies once."""
CHUNK = 2_000_000           # cells of shuffled wafers that are held at once
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Statistic:
    """One figure of a wafer beside those of the same dies shuffled.

    `expected`, `deviation`: mean and standard deviation of the shuffled ones. `z`: how many deviations the wafer is off.
    `p_value`: two-sided, from ranks among the shuffled (the wafer counted as one of them); None without any.
    `formula`: expectation and z by theory, where there is one.
    """

    value: float
    expected: float
    deviation: float
    z: float | None
    p_value: float | None
    p_greater: float | None
    formula: tuple[float, float | None] | None = None


@dataclass(frozen=True)
class Clustering:
    """The spatial statistics of one wafer, or why there are none."""

    name: str
    why_not: str = ""
    moran: Statistic | None = None
    joins: dict[str, Statistic] | None = None       # BB failing-failing, BW failing-passing, WW passing-passing
    nearest: Statistic | None = None                # mean distance to the nearest failing die over the shuffled one
    clark_evans: float | None = None                # over that of points anywhere, edge-corrected (Donnelly 1978)


def clustering(wafer: WaferMap, weights: Literal["rook", "queen"] = "rook", permutations: int = 999,
               seed: int = 0) -> Clustering:
    """Moran's I of defects (or failures), join counts and nearest-neighbour index of failing dies, with p-values from
    wafers on which the same dies are shuffled among the same sites. The same seed gives the same p-values.

    I = n / S0 sum(w_ij z_i z_j) / sum(z_i^2), E[I] = -1 / (n - 1) (Moran 1950; Cliff and Ord 1981, randomisation).
    Sites without a die are no neighbours.

    :param weights: rook (sides) or queen (sides and corners).
    :raises UsageError: for other weights, or a number of permutations below 0.
    """
    if weights not in STEPS:
        raise unknown("weights", weights, list(STEPS))
    if permutations < 0:
        raise UsageError(f"{permutations} permutations cannot be; legal: 0 (none) and up, such as 999")
    lattice = Lattice.of(wafer.dies, STEPS[weights])
    values, failing = lattice.values(wafer), lattice.values(wafer) > 0
    if lattice.pairs == 0:
        return Clustering(wafer.name, "no two dies are neighbours")
    if failing.all() or not failing.any():
        return Clustering(wafer.name, f"{'all dies fail' if failing.all() else 'no die fails'}, so there is no pattern")
    rng = np.random.default_rng(seed)
    steps = nearest_steps(wafer)
    drawn = [lattice.figures(fields, steps) for fields in lattice.shuffled(values, permutations, rng)]
    shuffled = {key: np.concatenate([each[key] for each in drawn]) for key in drawn[0]} if drawn else {}
    found = {key: float(each[0]) for key, each in lattice.figures(lattice.fields(values[None]), steps).items()}
    same = values.min() == values.max()
    moran = None if same else statistic(found["moran"], shuffled.get("moran"), moran_formula(values, lattice))
    joins = {key: statistic(found[key], shuffled.get(key), joins_formula(int(failing.sum()), lattice)[key])
             for key in ("BB", "BW", "WW")}
    nearest = None
    if failing.sum() > 1:
        nearest = statistic(found["nearest"], shuffled.get("nearest"), None)
        if drawn:
            nearest = scaled(nearest, 1 / nearest.expected)
    return Clustering(wafer.name, "", moran, joins, nearest,
                      None if failing.sum() < 2 else clark_evans(found["nearest"], int(failing.sum()), wafer))


@dataclass(frozen=True)
class Lattice:
    """The dies of a wafer as sites in a grid with a rim of empty cells, and the steps to their neighbours."""

    dies: NDArray[np.bool_]
    sites: NDArray[np.int64]            # flat places of dies in the grid with its rim
    shape: tuple[int, int]
    strides: tuple[int, ...]            # steps to neighbours in the flat grid
    degrees: Floats                     # neighbours of each cell, in the flat grid
    pairs: int

    @classmethod
    def of(cls, dies: NDArray[np.bool_], steps: tuple[tuple[int, int], ...]) -> Lattice:
        room = np.pad(dies, 1)
        strides = tuple(row * room.shape[1] + column for row, column in steps)
        flat = room.ravel()
        degrees = np.zeros(flat.size)
        for stride in strides:
            both = flat[stride:] & flat[:-stride]
            degrees[stride:] += both
            degrees[:-stride] += both
        return cls(dies, np.flatnonzero(flat), (room.shape[0], room.shape[1]), strides, degrees,
                   int(degrees.sum()) // 2)

    def values(self, wafer: WaferMap) -> NDArray[np.int64]:
        return wafer.values[self.dies]

    def fields(self, values: NDArray[np.int64]) -> NDArray[np.float32]:
        """Values [wafers, dies] as flat grids [wafers, cells], 0 where there is no die."""
        found = np.zeros((len(values), self.shape[0] * self.shape[1]), np.float32)
        found[:, self.sites] = values
        return found

    def shuffled(self, values: NDArray[np.int64], permutations: int,
                 rng: np.random.Generator) -> Iterator[NDArray[np.float32]]:
        """The dies shuffled among their sites, some wafers at once: the commonest value everywhere, and the others on
        places drawn without repetition, in random order."""
        kinds, numbers = np.unique(values, return_counts=True)
        common = kinds[numbers.argmax()]
        others = values[values != common]
        most = max(1, CHUNK // (self.shape[0] * self.shape[1]))
        for first in range(0, permutations, most):
            found = np.zeros((min(most, permutations - first), self.shape[0] * self.shape[1]), np.float32)
            if common:
                found[:, self.sites] = common
            for row in found:
                row[self.sites[rng.choice(len(values), len(others), replace=False)]] = others
            yield found

    def figures(self, fields: NDArray[np.float32], steps: list[tuple[float, int, int]]) -> dict[str, Floats]:
        """Of each wafer of a batch: Moran's I, the three join counts, the mean distance to the nearest failing die."""
        count = len(self.sites)
        mean = float(fields[0].sum(dtype=np.float64)) / count
        squares = float((fields[0].astype(np.float64) ** 2).sum()) - count * mean ** 2
        cross = np.zeros(len(fields))
        for stride in self.strides:
            cross += np.einsum("ij,ij->i", fields[:, stride:], fields[:, :-stride], dtype=np.float64)
        ends = (fields @ self.degrees.astype(np.float32)).astype(np.float64)
        covered = cross - mean * ends + mean ** 2 * self.pairs
        moran = count / self.pairs * covered / squares if squares > 0 else np.full(len(fields), np.nan)
        failing = fields > 0
        if fields.max() > 1:                # defects were counted: joins are of failing dies
            ones = failing.astype(np.float32)
            cross = np.zeros(len(fields))
            for stride in self.strides:
                cross += np.einsum("ij,ij->i", ones[:, stride:], ones[:, :-stride], dtype=np.float64)
            ends = (ones @ self.degrees.astype(np.float32)).astype(np.float64)
        return {"moran": moran, "BB": cross, "BW": ends - 2 * cross, "WW": self.pairs - ends + cross,
                "nearest": self.nearest(failing, steps)}

    def nearest(self, failing: NDArray[np.bool_], steps: list[tuple[float, int, int]]) -> Floats:
        """The mean distance from a failing die to the next one, of each wafer of a batch."""
        found = []
        for field in failing:
            places = np.flatnonzero(field)
            total, number = 0.0, len(places)
            wide = self.shape[1]
            if number < 2:
                found.append(math.nan)
                continue
            rows, columns = places // wide, places % wide
            for distance, row, column in steps:
                hit = np.zeros(len(places), bool)
                for down, across in {(row, column), (row, -column), (-row, column), (-row, -column)}:
                    to, over = rows + down, columns + across
                    inside = (to >= 0) & (to < self.shape[0]) & (over >= 0) & (over < wide)
                    hit[inside] |= field[(to * wide + over)[inside]]
                total += distance * hit.sum()
                rows, columns, places = rows[~hit], columns[~hit], places[~hit]
                if not len(places):
                    break
            found.append(total / number)
        return np.array(found)
