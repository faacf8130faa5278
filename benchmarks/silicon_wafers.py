"""Wafer maps: whether intervals cover, how fast fits and permutations are.

    python benchmarks/silicon_wafers.py
    python benchmarks/silicon_wafers.py --json
    python benchmarks/silicon_wafers.py --csv benchmarks/results/silicon-wafers-2-cores.csv

Coverage: 300 simulations each. Counts are drawn die by die from a negative binomial; for windows (100), wafers are cut
by random lines into patches with a gamma distributed density, and each die fails where a Poisson number is not 0. A lot
(100) is 5 or 20 wafers whose means are gamma distributed too. Times are CPU seconds, the median of five.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from archfab.silicon.wafers.fitting import fit_counts
from archfab.silicon.wafers.lots import fit_lot
from archfab.silicon.wafers.maps import WaferMap
from archfab.silicon.wafers.spatial import clustering
from archfab.silicon.wafers.windows import fit_windows

sys.path.insert(0, str(Path(__file__).parent))
from rows import row, show

WAFERS = 300
MEAN, ALPHA = 0.5, 0.8
LOW, HIGH = 0.92, 0.98


def holds(estimate: Any, truth: float) -> bool:
    return estimate is not None and estimate.low <= truth <= estimate.high


def patched(rng: np.random.Generator, size: int, patch: float) -> WaferMap:
    """A round wafer cut into rectangles about so many dies wide, each of its own density."""
    rows, columns = ((rng.random(size) < 1 / patch).cumsum() for _ in range(2))
    density = rng.gamma(ALPHA, MEAN / ALPHA, (rows[-1] + 1, columns[-1] + 1))[np.ix_(rows, columns)]
    places = np.indices((size, size)) - (size - 1) / 2
    inside = np.hypot(places[0], places[1]) <= size / 2
    return WaferMap("wafer", np.where(inside, np.minimum(rng.poisson(density), 1), -1))


def covered(name: str, simulations: int, draw: Callable[[int], tuple[bool, ...]], parts: tuple[str, ...],
            bounds: bool = True) -> list[dict[str, Any]]:
    """The share of intervals that hold the truth; between 92 and 98 %, the two ends of which are rows of their own."""
    found = np.mean([draw(i) for i in range(simulations)], axis=0)
    made = []
    for part, share in zip(parts, found, strict=True):
        made.append(row(f"{name}: {part} covered", float(share), "share", LOW if bounds else None, True))
        if bounds:
            made.append(row(f"{name}: {part} covered, not too wide", float(share), "share", HIGH))
    return made


def of_counts(dies: int, mean: float, alpha: float) -> Callable[[int], tuple[bool, ...]]:
    def draw(seed: int) -> tuple[bool, ...]:
        rng = np.random.default_rng([seed, dies])
        found = fit_counts(rng.poisson(rng.gamma(alpha, mean / alpha, dies)), models=())
        return holds(found.mean, mean), holds(found.alpha, alpha)
    return draw


def of_windows(wafers: int, size: int, patch: float) -> Callable[[int], tuple[bool, ...]]:
    def draw(seed: int) -> tuple[bool, ...]:
        rng = np.random.default_rng([seed, wafers, size])
        found = fit_windows([patched(rng, size, patch) for _ in range(wafers)])
        return holds(found.mean, MEAN), holds(found.alpha, ALPHA)
    return draw


def of_lot(wafers: int) -> Callable[[int], tuple[bool, ...]]:
    def draw(seed: int) -> tuple[bool, ...]:
        rng = np.random.default_rng([seed, 7])
        means = rng.gamma(4.0, MEAN / 4.0, wafers)
        found = fit_lot([WaferMap(str(i), rng.poisson(rng.gamma(2.0, mean / 2.0, (14, 14))), counted=True)
                         for i, mean in enumerate(means)])
        assert found is not None
        return holds(found.mean, MEAN), holds(found.alpha_within, 2.0), holds(found.alpha_between, 4.0)
    return draw


def seconds(act: Callable[[], Any], times: int = 5) -> float:
    spent = []
    for _ in range(times):
        start = time.process_time()
        act()
        spent.append(time.process_time() - start)
    return median(spent)


def rows(simulations: int = WAFERS) -> list[dict[str, Any]]:
    """Every figure beside what was aimed at."""
    rng = np.random.default_rng(0)
    found = fit_counts(rng.poisson(rng.gamma(ALPHA, MEAN / ALPHA, 15_000)), 1.0)
    assert found.d0_per_cm2 is not None and found.alpha is not None
    made = [row("15,000 dies of D0 .5, alpha .8: D0", float(found.d0_per_cm2), "per cm2"),
            row("15,000 dies of D0 .5, alpha .8: alpha", float(found.alpha), "")]
    for dies, mean, alpha in ((700, MEAN, ALPHA), (700, 0.1, 2.0), (150, MEAN, ALPHA)):
        made += covered(f"defects, {dies} dies, {mean:g}, {alpha:g}", simulations, of_counts(dies, mean, alpha),
                        ("D0", "alpha"))
    made += covered("passing and failing, 12 wafers", simulations // 3, of_windows(12, 30, 4.0), ("D0", "alpha"))
    made += covered("passing and failing, 1 wafer", simulations // 3, of_windows(1, 60, 4.0), ("D0", "alpha"))
    for wafers in (5, 20):
        made += covered(f"{wafers} wafers", simulations // 3, of_lot(wafers), ("D0", "alpha within", "alpha between"))
    million = rng.poisson(rng.gamma(ALPHA, MEAN / ALPHA, 1_000_000))
    made.append(row("1,000,000 dies fitted", seconds(lambda: fit_counts(million)), "CPU s", 1.0))
    for name, values in (("12 % failing", (rng.random((300, 300)) < 0.12).astype(np.int64)),
                         ("half failing", (rng.random((300, 300)) < 0.5).astype(np.int64)),
                         ("defects", rng.poisson(rng.gamma(2.0, 0.5, (300, 300))))):
        wafer = WaferMap("wafer", values)
        made.append(row(f"Moran's I, 300 x 300, 999 shuffles, {name}",
                        seconds(lambda wafer=wafer: clustering(wafer, names=["moran"])), "CPU s", 1.0))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--simulations", type=int, default=WAFERS)
    asked = parser.parse_args()
    show(rows(asked.simulations), asked.json, asked.csv, "python benchmarks/silicon_wafers.py")


if __name__ == "__main__":
    main()
