"""Ageing: what fits find of planted parameters, how fast, and the reference figures.

    python benchmarks/silicon_aging.py                 # a table
    python benchmarks/silicon_aging.py --json          # rows for machines
    python benchmarks/silicon_aging.py --csv benchmarks/results/silicon-aging-2-cores.csv

`all found`: the share of 100 noisy synthetic experiments (six devices, three overdrives, three temperatures, stress
to 100,000 s and as long a recovery; 0.2 mV and 2 % noise) in which every planted parameter lies in its joint 95 %
interval at once; `least found alone`: of the parameter that lies least often in its own 95 % interval; `ten years on
found`: the share in which the interval of the shift after ten years (1.1 V, threshold 0.5 V, 378 K) holds the truth.
`forecast over noise`: how far the last decade of stress is missed by a fit of the stress before it, over the noise
there, the median of 20. `furthest from the reference`: of the nine figures of the published set and the three of the
other form, in mV. Times are CPU seconds on one core, the median of five.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rows import row, show

from archfab.silicon.aging.adaptive import schedule
from archfab.silicon.aging.bhardwaj import long_term_mv
from archfab.silicon.aging.conditions import YEAR_S
from archfab.silicon.aging.fitting import compared, fit, forecast_mv
from archfab.silicon.aging.missions import Mission, Phase
from archfab.silicon.aging.models import MODELS
from archfab.silicon.aging.parameters import set_for
from archfab.silicon.aging.planted import experiment
from archfab.silicon.aging.profiles import course
from archfab.silicon.aging.shifts import end_of_life_delay_ratio, threshold_shift_mv

EXPERIMENTS, FORECASTS = 100, 20
FIGURES = {1.0: (23.6, 28.2, 34.3), 0.5: (19.7, 23.5, 28.5), 0.1: (14.8, 17.6, 21.4)}
DAY = Mission((Phase("day", 10, 1.1, 368, 0.5), Phase("evening", 4, 0.9, 338, 0.2), Phase("night", 10, 0, 300, 0)))


def planted(name: str) -> dict[str, float]:
    return {**set_for(name).values, **{each.name: each.default for each in MODELS[name].parameters if each.held}}


def coverage(name: str) -> list[dict[str, Any]]:
    """How often fits of a model find what was planted, and what a fit takes."""
    values, alone, jointly, later, seconds = planted(name), dict.fromkeys(planted(name), 0), 0, 0, []
    at = (0.6, 378, 1.0, 10 * YEAR_S)
    truth = float(MODELS[name].stressed_mv(values, *at))
    for seed in range(EXPERIMENTS):
        data = experiment(MODELS[name], values, np.random.default_rng(seed))
        before = time.process_time()
        found = fit(MODELS[name], data, samples=200, seed=seed, forecast=False)
        seconds.append(time.process_time() - before)
        inside = True
        for key, each in found.estimates.items():
            alone[key] += each.low <= values[key] <= each.high
            inside &= each.low_jointly <= values[key] <= each.high_jointly
        jointly += inside
        low, high = found.as_set(name).bounds_mv(1.1, *at)
        later += bool(low <= truth <= high)
    fitted = [alone[key] for key in found.estimates]
    return [row(f"{name}: all found", jointly / EXPERIMENTS, "share", 0.9, True),
            row(f"{name}: least found alone", min(fitted) / EXPERIMENTS, "share", 0.9, True),
            row(f"{name}: found alone, mean", statistics.fmean(fitted) / EXPERIMENTS, "share", None, True),
            row(f"{name}: ten years on found", later / EXPERIMENTS, "share", 0.9, True),
            row(f"{name}: a fit with 200 samples", statistics.median(seconds), "CPU s", 2.0)]


def forecast(name: str) -> dict[str, Any]:
    missed = []
    for seed in range(FORECASTS):
        data = experiment(MODELS[name], planted(name), np.random.default_rng(seed))
        parts = data.without_last_decade()
        miss = forecast_mv(MODELS[name], data)
        assert parts is not None and miss is not None
        shift = data.predicted(MODELS[name], planted(name))[parts[1]]
        missed.append(miss / float(np.sqrt((0.2 ** 2 + (0.02 * shift) ** 2).mean())))
    return row(f"{name}: forecast over noise", statistics.median(missed), "times")


def reference() -> dict[str, Any]:
    years = np.array([1.0, 3.0, 10.0])
    away = [np.abs(threshold_shift_mv(1.1, 0.5, 378, duty, years)[0] - said).max() for duty, said in FIGURES.items()]
    other = np.abs(long_term_mv(1.1, 378, 1, years * YEAR_S).round() - (104, 124, 152)).max()
    return row("furthest from the reference", float(max(*away, other)), "mV", 0.1)


def cpu(work: Callable[[], Any]) -> float:
    taken = []
    for _ in range(5):
        before = time.process_time()
        work()
        taken.append(time.process_time() - before)
    return statistics.median(taken)


def times() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    volts, hot, on = rng.uniform(0.7, 1.2, 10_000), rng.uniform(300, 400, 10_000), rng.uniform(0, 1, 10_000)
    data = experiment(MODELS["two-component"], planted("two-component"), rng)
    slowest = set_for("two-component")
    return [row("10,000 delay ratios at the end of life", cpu(lambda: end_of_life_delay_ratio(volts, 0.4, hot, on, 10)),
                "CPU s", 0.1),
            row("ten years of days, two-component", cpu(lambda: course(DAY, 0.5, 10, slowest)), "CPU s", 1.0),
            row("an adaptive supply, two-component", cpu(lambda: schedule(1.1, 0.5, 378, 0.5, 10, parameters=slowest)),
                "CPU s", 1.0),
            row("four models compared, 228 measurements", cpu(lambda: compared(list(MODELS.values()), data, 200, 0)),
                "CPU s", 10.0)]


def rows() -> list[dict[str, Any]]:
    """All figures of ageing."""
    found = [reference()]
    for name in MODELS:
        found += [*coverage(name), forecast(name)]
    return [*found, *times()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    show(rows(), asked.json, asked.csv, "python benchmarks/silicon_aging.py --csv " + str(asked.csv))


if __name__ == "__main__":
    main()
