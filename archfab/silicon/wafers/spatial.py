"""Whether failures lie together: Moran's I, join counts, nearest neighbours, held against the same dies shuffled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from archfab.core import UsageError, unknown
from archfab.silicon.wafers.lattice import STEPS, Floats, Lattice
from archfab.silicon.wafers.maps import WaferMap

NAMES = ("moran", "BB", "BW", "WW", "nearest")


@dataclass(frozen=True)
class Statistic:
    """One figure of a wafer beside those of the same dies shuffled.

    `expected`, `deviation`: of the shuffled (mean, standard deviation). `z`: how many deviations off. `p_value`:
    two-sided, `p_greater` one-sided, from the rank among the shuffled, the wafer itself counted as one of them.
    `theory`: expectation, standard deviation and z of the formula, where there is one. None: not known.
    """

    value: float
    expected: float | None = None
    deviation: float | None = None
    z: float | None = None
    p_value: float | None = None
    p_greater: float | None = None
    theory: tuple[float, float, float | None] | None = None


@dataclass(frozen=True)
class Clustering:
    """The spatial statistics of a wafer (`moran`, `BB` failing beside failing, `BW` failing beside passing, `WW`,
    `nearest` the nearest-neighbour index), or why there are none."""

    name: str
    dies: int
    failing: int
    pairs: int
    statistics: dict[str, Statistic] = field(default_factory=dict)
    clark_evans: float | None = None
    why_not: str = ""
    shuffled: dict[str, Floats] = field(default_factory=dict, repr=False)


def clustering(wafer: WaferMap, weights: str = "rook", permutations: int = 999,
               seed: int | Sequence[int] = 0,
               names: Sequence[str] = NAMES) -> Clustering:
    """Moran's I of defects (or failures), join counts and nearest-neighbour index of failing dies, with p-values from
    the same dies shuffled among the same sites; the same seed gives the same.

    I = n / S0 sum(w_ij z_i z_j) / sum(z_i^2), E[I] = -1 / (n - 1) (Moran 1950; its variance and those of join counts
    under randomisation: Cliff and Ord 1981). The nearest-neighbour index is the mean distance from a failing die to the
    next over its mean when shuffled: below 1 clustered; `clark_evans` has points anywhere in a disk in the denominator
    instead (Clark and Evans 1954, Donnelly's correction for the edge). Sites without a die are nobody's neighbours.

    :param weights: rook (dies that share a side) or queen (or a corner).
    :raises UsageError: for other weights or statistics, or a negative number of permutations.
    """
    if weights not in STEPS:
        raise unknown("weights", weights, list(STEPS))
    if wrong := [name for name in names if name not in NAMES]:
        raise unknown("statistic", wrong[0], list(NAMES))
    if permutations < 0:
        raise UsageError(f"{permutations} permutations cannot be; legal: 0 (no p-values) and up, such as 999")
    lattice = Lattice.of(wafer, weights)
    values = wafer.values[wafer.dies]
    failing = int((values > 0).sum())
    told = Clustering(wafer.name, len(values), failing, lattice.pairs)
    if not lattice.pairs:
        return replaced(told, "no two dies are neighbours")
    if failing in (0, len(values)) and ("moran" not in names or values.min() == values.max()):
        return replaced(told, f"{'all dies fail' if failing else 'no die fails'}: there is no pattern to test")
    wanted = [name for name in names if (name != "moran" or values.min() < values.max())
              and (name != "nearest" or failing > 1)]
    rng = np.random.default_rng(seed)
    own = {name: float(each[0]) for name, each in figures(lattice, lattice.fields(values), wanted).items()}
    drawn = [figures(lattice, fields, wanted) for fields in lattice.shuffled(values, permutations, rng)]
    shuffled = {name: np.concatenate([each[name] for each in drawn]) for name in wanted if drawn}
    theory = moments(values, lattice)
    scale = float(shuffled["nearest"].mean()) if "nearest" in shuffled else 1.0
    if "nearest" in shuffled:
        shuffled["nearest"] = shuffled["nearest"] / scale
    found = {name: statistic(own[name] / (scale if name == "nearest" else 1), shuffled.get(name), theory.get(name))
             for name in wanted if name != "nearest" or drawn}
    index = clark_evans(own["nearest"], failing, len(values), lattice.die_mm) if "nearest" in own else None
    return Clustering(wafer.name, len(values), failing, lattice.pairs, found, index, "", shuffled)


def replaced(told: Clustering, why_not: str) -> Clustering:
    return Clustering(told.name, told.dies, told.failing, told.pairs, why_not=why_not)


def figures(lattice: Lattice, fields: NDArray[np.float32], names: Sequence[str]) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    if "moran" in names:
        found["moran"] = lattice.moran(fields)
    if {"BB", "BW", "WW"} & set(names):
        found |= lattice.joins(fields)
    if "nearest" in names:
        found["nearest"] = lattice.nearest(fields)
    return {name: found[name] for name in names}


def statistic(value: float, shuffled: Floats | None, theory: tuple[float, float] | None) -> Statistic:
    told = None if theory is None else (*theory, (value - theory[0]) / theory[1] if theory[1] > 0 else None)
    if shuffled is None:
        return Statistic(value, theory=told)
    mean, deviation = float(shuffled.mean()), float(shuffled.std(ddof=1)) if len(shuffled) > 1 else 0.0
    slack = 1e-9 * max(1.0, abs(value))         # equal figures can differ in the last bit
    above = (1 + int((shuffled >= value - slack).sum())) / (1 + len(shuffled))
    below = (1 + int((shuffled <= value + slack).sum())) / (1 + len(shuffled))
    return Statistic(value, mean, deviation, (value - mean) / deviation if deviation > 0 else None,
                     min(1.0, 2 * min(above, below)), above, told)


def moments(values: NDArray[np.int64], lattice: Lattice) -> dict[str, tuple[float, float]]:
    """Expectation and standard deviation of Moran's I and of join counts when values are shuffled (Cliff and Ord)."""
    n, failing = len(values), int((values > 0).sum())
    s0, s1, s2 = lattice.moments
    found = {}
    apart = values - values.mean()
    spread = float((apart ** 2).mean())
    if n > 3 and spread > 0:
        peak = float((apart ** 4).mean()) / spread ** 2
        mean = -1 / (n - 1)
        square = (n * ((n * n - 3 * n + 3) * s1 - n * s2 + 3 * s0 ** 2)
                  - peak * ((n * n - n) * s1 - 2 * n * s2 + 6 * s0 ** 2)) / ((n - 1) * (n - 2) * (n - 3) * s0 ** 2)
        found["moran"] = (mean, math.sqrt(max(0.0, square - mean ** 2)))
    if n > 3:
        found["BB"], found["WW"] = same_joins(n, failing, s0, s1, s2), same_joins(n, n - failing, s0, s1, s2)
        good = n - failing
        two, three, four = failing * good / falling(n, 2), failing * good * (n - 2) / falling(n, 3), \
            falling(failing, 2) * falling(good, 2) / falling(n, 4)
        mean = s0 * two
        square = (2 * s1 * two + (s2 - 2 * s1) * three + 4 * (s0 ** 2 + s1 - s2) * four) / 4
        found["BW"] = (mean, math.sqrt(max(0.0, square - mean ** 2)))
    return found


def same_joins(n: int, kind: int, s0: float, s1: float, s2: float) -> tuple[float, float]:
    two, three, four = (falling(kind, k) / falling(n, k) for k in (2, 3, 4))
    mean = s0 * two / 2
    square = (s1 * two + (s2 - 2 * s1) * three + (s0 ** 2 + s1 - s2) * four) / 4
    return mean, math.sqrt(max(0.0, square - mean ** 2))


def falling(n: int, k: int) -> float:
    return float(math.prod(n - j for j in range(k)))


def clark_evans(distance: float, failing: int, dies: int, die_mm: tuple[float, float]) -> float:
    """Mean distance over that of as many points anywhere in a disk of the wafer's area, edge-corrected (Donnelly)."""
    area = dies * die_mm[0] * die_mm[1]
    around = 2 * math.sqrt(math.pi * area)
    return distance / (0.5 * math.sqrt(area / failing) + (0.0514 + 0.041 / math.sqrt(failing)) * around / failing)


def together(found: Iterable[Clustering]) -> dict[str, Statistic]:
    """The statistics over several wafers, each shuffled within itself: join counts summed, the others averaged by dies
    (Moran's I) or failing dies (nearest neighbours). Wafers may come one after another; their shuffles are not kept."""
    sums: dict[str, tuple[float, float, Floats]] = {}           # weight, value, shuffled
    for each in found:
        for name, one in each.statistics.items():
            if name in each.shuffled:
                weight = float({"moran": each.dies, "nearest": each.failing}.get(name, 1))
                total, value, shuffled = sums.get(name, (0.0, 0.0, np.zeros(len(each.shuffled[name]))))
                sums[name] = (total + weight, value + weight * one.value, shuffled + weight * each.shuffled[name])
    scales = {name: total if name in ("moran", "nearest") else 1.0 for name, (total, _, _) in sums.items()}
    return {name: statistic(sums[name][1] / scales[name], sums[name][2] / scales[name], None)
            for name in NAMES if name in sums}
