"""The net-zero planner: how long it takes, how near it is to exact optima, and what it saves over a naive plan.

    python benchmarks/silicon_netzero.py                    # a table
    python benchmarks/silicon_netzero.py --json             # rows for machines
    python benchmarks/silicon_netzero.py --repeats 3 --csv benchmarks/results/silicon-netzero-2-cores.csv

`60 measures` is a random plan of 60 measures, 30 years and 20 sources, three measures on a source on average and up
to six; the median of so many plans as --repeats says, in CPU seconds with everything but drawing; `with whole
numbers`: 8 of its measures all or nothing, 4 pairs exclusive. `over brute force`: how much dearer the pathway is than
the best of all subsets and starts of whole measures by the plain product of what they leave, the worst of 20 plans.
`naive plan over optimum` is for recipes/net-zero.toml: cheapest tonne first (annuity over tonnes alone), each measure
as early and as fast as it can be, as many as it takes; beside it the same measures with the best of timings.
`probability` is that of a pathway asked for with 90 % confidence, on baselines that it was not made with, the worst
of five plans.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rows import row, show

from archfab.silicon.netzero.greedy import greedy
from archfab.silicon.netzero.pathway import cheapest
from archfab.silicon.netzero.plan import Plan
from archfab.silicon.netzero.reading import plan_of, read_plan
from archfab.silicon.netzero.uncertainty import reliability, robust

RECIPE = Path(__file__).parents[1] / "recipes" / "net-zero.toml"


def large(seed: int, whole: int = 0, exclusive: int = 0, measures: int = 60, years: int = 30,
          sources: int = 20) -> Plan:
    """A plan of the largest size that is asked for."""
    rng = np.random.default_rng(seed)
    listed = [{"name": f"s{i}", "scope": int(rng.choice([1, 2, 3, 3])), "t": float(rng.lognormal(7, 1)),
               "growth": float(rng.uniform(-0.01, 0.03)), "intensity": float(rng.uniform(-0.02, 0))}
              for i in range(sources)]
    tonnes = {each["name"]: each["t"] for each in listed}
    found = []
    for i in range(measures):
        on = [f"s{i % sources}"] + ([f"s{rng.integers(sources)}"] if rng.random() < 0.3 else [])
        acts_on = {name: float(rng.uniform(0.15, 0.75)) for name in on}
        full = sum(share * tonnes[name] for name, share in acts_on.items())
        price = float(rng.normal(60, 70))
        each: dict[str, Any] = {
            "name": f"m{i}", "acts_on": acts_on, "capital": float(full * abs(price) * rng.uniform(2, 8)),
            "running": float(full * price * rng.uniform(-0.2, 0.6)), "start": 2025 + int(rng.integers(0, 8)),
            "lead": int(rng.integers(0, 3)), "ramp": float(rng.uniform(0.1, 0.4)),
            "lifetime": int(rng.integers(8, 30)), "cost_change": -0.02}
        if i < whole:
            each = {**each, "whole": True, "ramp": 1.0}
        if i < 2 * exclusive and i % 2:
            each["excludes"] = [f"m{i - 1}"]
        if i > measures - 10:
            each["requires"] = [f"m{i - measures + 10}"]
        found.append(each)
    return plan_of({"base_year": 2024, "last_year": 2024 + years, "discount_rate": 0.05, "sources": listed,
                    "measures": found, "milestones": [{"name": "near", "year": 2034, "cut": 0.4},
                                                      {"name": "far", "year": 2024 + years - 4, "cut": 0.72}]})


def small(seed: int) -> Plan:
    """Four whole measures on two sources over three years, for brute force."""
    rng = np.random.default_rng(seed)
    measures = [{"name": f"m{i}", "acts_on": {"a": float(rng.uniform(0.1, 0.8)), "b": float(rng.uniform(0.1, 0.8))},
                 "capital": float(rng.uniform(0, 1e5)), "running": float(rng.normal(0, 2e4)), "whole": True}
                for i in range(4)]
    return plan_of({"base_year": 2024, "last_year": 2027, "residual_value": False, "measures": measures,
                    "sources": [{"name": "a", "scope": 1, "t": 1000}, {"name": "b", "scope": 3, "t": 700}],
                    "milestones": [{"name": "m", "year": 2026, "cut": 0.5}]})


def brute(plan: Plan) -> float:
    """The least cost over all starts of all measures, by the product of what they leave."""
    best = np.inf
    for begins in product(range(4), repeat=len(plan.measures)):
        left = {"a": np.full(3, 1000.0), "b": np.full(3, 700.0)}
        cost = 0.0
        for each, begin in zip(plan.measures, begins, strict=True):
            if begin < 3:
                cost += each.capital + each.running * (3 - begin)
                for name in left:
                    left[name][begin:] *= 1 - each.acts_on[name]
        if (left["a"] + left["b"])[1:].max() <= 850 + 1e-6:
            best = min(best, cost)
    return best


def uncertain(seed: int) -> Plan:
    """Five measures on three sources whose growth is known within two points."""
    rng = np.random.default_rng(seed)
    sources = [{"name": f"s{i}", "scope": 3, "t": float(rng.lognormal(6, 0.5)), "uncertainty": 0.2, "growth": 0.02,
                "growth_low": 0.0, "growth_high": 0.04} for i in range(3)]
    measures = [{"name": f"m{i}", "acts_on": {f"s{i % 3}": float(rng.uniform(0.5, 0.9))}, "ramp": 0.3,
                 "running": float(rng.uniform(1e3, 9e3))} for i in range(6)]
    return plan_of({"base_year": 2024, "last_year": 2036, "sources": sources, "measures": measures, "correlation": 0.3,
                    "milestones": [{"name": "near", "year": 2030, "cut": 0.25},
                                   {"name": "far", "year": 2035, "cut": 0.45}]})


def cpu(do: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    found = do()
    return time.process_time() - began, found


def solved(plan: Plan) -> float:
    seconds, found = cpu(lambda: cheapest(plan))
    assert found is not None
    return seconds


def over_brute(seed: int) -> float:
    plan = small(seed)
    found, best = cheapest(plan), brute(plan)
    if found is None or not np.isfinite(best):
        assert found is None and not np.isfinite(best)
        return 0.0
    return abs(found.cost - best) / max(1.0, abs(best))


def held(seed: int) -> float:
    found = robust(uncertain(seed), 0.9, seed).pathway
    assert found is not None
    return float(reliability(found, seed=1000 + seed, number=20_000)["all"]["probability"])


def rows(repeats: int = 1) -> list[dict[str, Any]]:
    """What was measured; the two rows of 60 measures are the median of so many plans."""
    recipe = read_plan(RECIPE)
    seconds, best = cpu(lambda: cheapest(recipe))
    naive = greedy(recipe)
    assert best and naive.pathway and naive.timed
    return [
        row("netzero: 60 measures, 30 years, 20 sources",
            statistics.median(solved(large(seed)) for seed in range(repeats)), "CPU s", 10.0),
        row("netzero: the same with whole numbers",
            statistics.median(solved(large(seed, 8, 4)) for seed in range(repeats)), "CPU s", 60.0),
        row("netzero: over brute force, worst of 20", max(over_brute(seed) for seed in range(20)), "share", 1e-6),
        row("netzero: recipe", seconds, "CPU s", 30.0),
        row("netzero: naive plan over optimum", naive.pathway.cost / best.cost, "ratio", 1.0, True,
            {"same measures well timed": naive.timed.cost / best.cost}),
        row("netzero: probability asked 0.9, worst of 5", min(held(seed) for seed in range(5)), "share", 0.9, True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--repeats", type=int, choices=range(1, 20), default=1, metavar="N",
                        help="plans of 60 measures of each kind (1)")
    asked = parser.parse_args()
    show(rows(asked.repeats), asked.json, asked.csv, f"python benchmarks/silicon_netzero.py --repeats {asked.repeats}")


if __name__ == "__main__":
    main()
