"""How near yields, dies per wafer and costs come to published figures, what they cost, and whether intervals hold.

    python benchmarks/silicon_yields.py             # a table
    python benchmarks/silicon_yields.py --json      # rows for machines
    python benchmarks/silicon_yields.py --csv benchmarks/results/silicon-yields-2-cores.csv

CPU seconds of one thread, medians. The raster tries 201 x 201 positions of the grid of dies (3 x 3 for the smallest).
Coverage: 120 processes of 24 lots of 25 wafers and 120 of 3 wafers, drawn from a planted curve, half of them with
defects and half with good dies; 300 lots of their own of each. It takes about two minutes.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rows import row, show

from archfab.silicon.yields.compounding import compound_yield
from archfab.silicon.yields.cost import CHIPLET_ACTUARY, die_cost, die_cost_usd
from archfab.silicon.yields.density import lot_density
from archfab.silicon.yields.dies import dies_per_wafer
from archfab.silicon.yields.grid import best_grid, grid_at
from archfab.silicon.yields.learning import limits, reached
from archfab.silicon.yields.lots import Lot, Lots
from archfab.silicon.yields.maturity import maturity
from archfab.silicon.yields.models import good_die_yield, yield_at

TABLE = {0.1: (90.48, 91.29, 90.91, 90.70, 90.63, 90.56, 72.89), 0.5: (60.65, 70.71, 66.67, 64.00, 62.97, 61.93, 49.31),
         1: (36.79, 57.74, 50.00, 44.44, 42.19, 39.96, 36.79), 2: (13.53, 44.72, 33.33, 25.00, 21.60, 18.69, 24.31),
         5: (0.67, 30.15, 16.67, 8.16, 5.27, 3.95, 10.69)}
COLUMNS = (("poisson", None), *(("negative-binomial", alpha) for alpha in (0.5, 1, 2, 3)), ("murphy", None),
           ("seeds-exponential", None))
ACTUARY = ((100, 9346, 0.09, 17.88), (100, 16988, 0.11, 33.15), (800, 9346, 0.09, 318.60), (800, 16988, 0.11, 671.59))
LOTS, DIES = 24, 600


def cpu(work: Callable[[], Any], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def figures() -> list[dict[str, Any]]:
    """Published figures, and by how much ours are off."""
    table = max(abs(100 * good_die_yield(100, x, alpha, model) - percent) for x, row_ in TABLE.items()
                for (model, alpha), percent in zip(COLUMNS, row_, strict=True))
    actuary = max(abs(die_cost_usd(area, wafer, d0, 10, wafer=CHIPLET_ACTUARY) - usd)
                  for area, wafer, d0, usd in ACTUARY)
    integral = max(abs(compound_yield(x, density, alpha) - float(yield_at(x, model, alpha)))
                   for x in (1e-3, 0.1, 1, 5, 60) for density, model, alpha in (
                       ("triangular", "murphy", None), ("exponential", "seeds", None),
                       *(("gamma", "negative-binomial", alpha) for alpha in (0.05, 0.5, 2, 10, 1e4))))
    dies = die_cost(100, 9346, 0.09, 10, wafer=CHIPLET_ACTUARY).dies_per_wafer
    return [row("yield table: largest error", table, "%", 0.01),
            row("yield integrals: largest error", integral, "", 1e-8),
            row("chiplet-actuary dies: largest error", actuary, "USD", 0.005),
            row("chiplet-actuary dies per wafer: error", abs(dies - 571.71), "dies", 0.005),
            row("dies per wafer, 10 x 10, best grid", best_grid(10, 10, 300, 3, 0.1).dies, "dies", 612, True),
            row("dies per wafer, 26 x 33, best grid", best_grid(26, 33, 300, 3, 0.1).dies, "dies", 64, True),
            row("dies per wafer, 600 mm2, formula: error", abs(dies_per_wafer(600) - 90.6), "dies", 0.05)]


def speed() -> list[dict[str, Any]]:
    """What the exact grid costs, and what a raster of positions finds and costs."""
    made = []
    for width, height in ((26.0, 33.0), (7.07, 9.9), (1.0, 1.0)):
        found = best_grid(width, height, 300, 3, 0.1)
        start = time.process_time()
        raster = max(grid_at(x, y, width, height, 300, 3, 0.1).dies
                     for x in np.linspace(0, (width + 0.1) / 2, 201 if width > 2 else 3)
                     for y in np.linspace(0, (height + 0.1) / 2, 201 if width > 2 else 3))
        spent = time.process_time() - start
        made.append(row(f"best grid {width:g} x {height:g}: dies", found.dies, "dies", raster, True,
                        {"raster": raster}))
        made.append(row(f"best grid {width:g} x {height:g}", 1e3 * cpu(
            lambda w=width, h=height: best_grid(w, h, 300, 3, 0.1)), "ms", 100, False, {"raster": 1e3 * spent}))
    areas = np.linspace(1, 800, 100_000)
    spent = cpu(lambda: die_cost_usd(areas, 9346, 0.09, 10))
    return [*made, row("cost of a good die, 100,000 areas", 1e3 * spent, "ms", 100)]


def planted(rng: np.random.Generator, wafers: int, d0: float, alpha: float, counted: bool, name: str = "",
            when: float = 0) -> Lot:
    density = rng.gamma(alpha, d0 / alpha, wafers)
    dies = (DIES,) * wafers
    if counted:
        return Lot(name, when, dies, tuple(map(int, rng.poisson(DIES * density))), None)
    return Lot(name, when, dies, None, tuple(map(int, rng.binomial(DIES, np.exp(-density)))))


def coverage(wafers: int) -> list[dict[str, Any]]:
    """The share of 95 % intervals that hold what was planted."""
    rng = np.random.default_rng(0)
    lots = [lot_density(planted(rng, wafers, 0.2, 3.0, i % 2 == 0), 100) for i in range(300)]
    held: dict[str, list[bool]] = {"D0 of a lot": [each.low <= 0.2 <= each.high for each in lots],
                                   "alpha of a lot": [(each.alpha_low or 0) <= 3 <= (each.alpha_high or math.inf)
                                                      for each in lots], "curve": [], "target": []}
    spent = []
    for i in range(120):
        made = [planted(rng, wafers, (0.08 + 0.4 * math.exp(-k / 5)) * rng.gamma(60, 1 / 60), 4.0, i % 2 == 0, f"{k}",
                        k) for k in range(LOTS)]
        start = time.process_time()
        found = maturity(Lots(tuple(made), False), 100, rng, 200)
        spent.append(time.process_time() - start)
        low, high = found.band(np.array([12.0]))
        held["curve"].append(bool(low[0] <= 0.08 + 0.4 * math.exp(-12 / 5) <= high[0]))
        first, last, _ = limits([reached(draw, 0.2) for draw in found.draws])
        true = 5 * math.log(0.4 / 0.12)
        held["target"].append((first or 0) <= true <= (math.inf if last is None else last))
    return [*(row(f"maturity, lots of {wafers} wafers: 95 % intervals that hold, {name}", 100 * float(np.mean(hits)),
                  "%", 92, True) for name, hits in held.items()),
            row(f"maturity: 24 lots of {wafers} wafers, 200 draws", statistics.median(spent), "s", 2)]


def rows() -> list[dict[str, Any]]:
    return [*figures(), *speed(), *coverage(25), *coverage(3)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    show(rows(), asked.json, asked.csv, "python benchmarks/silicon_yields.py --csv FILE")


if __name__ == "__main__":
    main()
