"""Curves of many runs: what they report after so many evaluations or seconds, and how much that varies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from archfab.comparison.yardstick import Yardstick

Record = Mapping[str, Any]
POINTS = 150            # of a curve, at most about
RESAMPLES = 1000
QUANTILES = (10, 25, 75, 90)
DIGITS = 7              # that the numbers of a curve are written with


def budgets(evaluations: int) -> list[int]:
    """Where strategies are ranked: after a third, two thirds and all of the evaluations."""
    return sorted({math.ceil(evaluations * part / 3) for part in (1, 2, 3)})


def evaluation_grid(evaluations: int) -> list[float]:
    """The evaluations at which a curve has a point: all of them while they are few, and the budgets."""
    step = math.ceil(evaluations / POINTS)
    return [float(at) for at in sorted({1, *range(step, evaluations + 1, step), *budgets(evaluations)})]


def second_grid(records: Sequence[Record]) -> list[float]:
    """Simulated seconds from the first report to the end of the longest run; none where the table has no times."""
    ends = [record["seconds"] for record in records if record["seconds"]]
    starts = [record["changes"][0][1] for record in records if record["seconds"] and record["changes"]]
    if not ends or not starts or min(starts) >= max(ends):
        return []
    return [min(starts) + (max(ends) - min(starts)) * i / POINTS for i in range(POINTS + 1)]


def values(records: Sequence[Record], grid: Sequence[float], worst: float, axis: int = 0) -> Any:
    """What each run reports at each point of a grid, as an array of runs x points.

    A curve is a step function: a value holds until the next one. Before a run has anything to report the worst
    value of the table counts. `axis` 0: evaluations spent; 1: simulated seconds.
    """
    import numpy as np
    found = np.full((len(records), len(grid)), worst)
    for row, record in zip(found, records, strict=True):
        changes = record["changes"]
        if changes:
            places = np.searchsorted([change[axis] for change in changes], np.asarray(grid) + 1e-9, side="right")
            known = np.array([worst, *(worst if value is None else value for _, _, value in changes)])
            row[:] = known[places]
    return found


def curve(records: Sequence[Record], grid: Sequence[float], yardstick: Yardstick, axis: int = 0) -> dict[str, Any]:
    """The regret over a grid: mean with its 95 % bootstrap band, median and quantiles, and the mean value.

    The band is the percentile bootstrap over runs (Efron, Annals of Statistics 1979), the same resamples at every
    point; with one run it is that run.
    """
    import numpy as np
    reported = values(records, grid, yardstick.worst, axis)
    regrets = np.abs(yardstick.best - reported)
    rng = np.random.default_rng(0)
    count = len(records)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count
    low, high = np.percentile(weights @ regrets, (2.5, 97.5), axis=0)
    columns = {"mean": regrets.mean(axis=0), "low": low, "high": high, "median": np.median(regrets, axis=0),
               **{f"q{q}": np.percentile(regrets, q, axis=0) for q in QUANTILES}, "value": reported.mean(axis=0)}
    return {"at": short(grid), **{name: short(column) for name, column in columns.items()}}


def at(found: Mapping[str, Sequence[float]], place: float) -> dict[str, float]:
    """One point of a curve."""
    i = found["at"].index(place)
    return {name: column[i] for name, column in found.items()}


def short(numbers: Sequence[float]) -> list[float]:
    return [float(f"{x:.{DIGITS}g}") for x in numbers]
