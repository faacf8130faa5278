"""Any series at all: what is accepted is trained, scored and forecast with finite numbers; the rest is refused."""

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archfab import Space
from archfab.core import Budget, Diverged, UsageError
from archfab.lowering.concrete import build
from archfab.registry import load

Forecasting = load("tasks", "forecasting")
REACHED = {"taken": 0, "refused": 0}


def written(folder, values):
    path = folder / "any.csv"
    width = max(map(len, values))
    lines = [",".join([f"s{i}", *("" if math.isnan(x) else repr(x) for x in row), *[""] * (width - len(row))])
             for i, row in enumerate(values)]
    path.write_text(",".join(["id", *(f"V{i}" for i in range(width))]) + "\n" + "\n".join(lines) + "\n")
    return str(path)


def drawn(rng):
    """Some series, with holes, zeros and outliers in different measure; some of one value, or too short."""
    unit, holes, zeros, odd = 10 ** rng.uniform(-20, 20), rng.choice([0, 0.2, 0.6]), rng.choice([0, 0.2]), rng.random()

    def value(level):
        kind = rng.random()
        if kind < holes:
            return math.nan
        return 0.0 if kind < holes + zeros else 10 ** rng.uniform(-25, 25) if kind > 0.99 else rng.gauss(level, unit)

    length = rng.randint(25, 50) if odd > 0.1 else rng.randint(1, 12)
    level = rng.choice([0, 5, 100]) * unit
    return [[1.0] * 30 if rng.random() < 0.05 else [value(level) for _ in range(length)]
            for _ in range(rng.randint(1, 2))]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**9), st.integers(1, 3), st.integers(1, 5), st.integers(1, 3))
def test_any_series_are_forecast_with_finite_numbers_or_refused(tmp_path, seed, horizon, season, origins):
    try:
        task = Forecasting(data=written(tmp_path, drawn(random.Random(seed))), layout="rows", horizon=horizon,
                           season=season, origins=origins, longest=3, ets=0, batch=4)
    except UsageError as error:
        assert "series 's" in str(error)
        REACHED["refused"] += 1
        return
    REACHED["taken"] += 1
    space = Space(task.space())
    torch.manual_seed(seed)
    model = build(space, space.sample(random.Random(seed)), task.example())
    try:
        task.fit(model, Budget(steps=2), random.Random(seed), full=True)
        scores = {**task.score(model), **{f"test_{name}": value for name, value in task.score(model, "test").items()}}
    except (UsageError, Diverged) as error:
        assert str(error)
        return
    assert all(math.isfinite(value) for value in scores.values()), scores
    assert all(np.isfinite(float(value)) for found in task.baseline().values() for value in found.values())
    assert b"nan" not in next(iter(task.exhibits(model))).content


def test_both_ends_were_reached():
    assert REACHED["taken"] == REACHED["refused"] == 0 or min(REACHED.values()) > 2


@pytest.mark.parametrize("options", [{}, {"horizon": 3, "season": 4}, {"test_origins": 3, "stride": 2, "origins": 4}])
def test_a_single_series_is_enough(tmp_path, options):
    t = np.arange(150)
    values = [(10 + np.sin(t / 3) + 0.1 * t + np.random.default_rng(0).normal(0, 0.1, 150)).tolist()]
    task = Forecasting(data=written(tmp_path, values), ets=2, **{"horizon": 5, **options})
    model = build(Space(task.space()), Space(task.space()).sample(random.Random(0)), task.example())
    task.fit(model, Budget(steps=3), random.Random(0), full=True)
    assert math.isfinite(task.score(model, "test")["owa"])
    batches = [list(task.batches("train", random.Random(0), part)) for part in ((0.0, 0.5), (0.5, 1.0))]
    early, late = (torch.cat([batch.truth for batch in each]) for each in batches)
    assert early[~early.isnan()].mean() < late[~late.isnan()].mean()        # shares of time, as there is one series
    assert sum(len(batch.truth) for batch in task.batches("validation", random.Random(0))) == \
        len(task.parts.windows["validation"].truth)
