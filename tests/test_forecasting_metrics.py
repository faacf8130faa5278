"""Scores of forecasts and the simple methods: figures by hand, M4's official table, statsmodels."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from archfab.metrics import forecasting as metrics
from archfab.tasks.forecasting import baselines
from archfab.tasks.forecasting.data import GROUPS, Columns, read_series

OFFICIAL = {"Hourly": {"naive": (43.003, 11.608), "seasonal naive": (13.912, 1.193), "Naive2": (18.383, 2.395)},
            "Weekly": {"naive": (9.161, 2.777), "seasonal naive": (9.161, 2.777), "Naive2": (9.161, 2.777)}}
"""sMAPE and MASE in the organisers' table (Makridakis et al., 2020)."""


def rows(*values):
    return np.array(values, float)


def test_scores_by_hand():
    truth, forecast = rows([1, 2, 4], [10, 0, 5]), rows([2, 2, 2], [5, 0, math.pi])
    assert metrics.smape(truth, forecast)[0] == pytest.approx(200 / 3 * (1 / 3 + 0 + 2 / 6))
    assert metrics.mape(truth, forecast)[0] == pytest.approx(100 / 3 * (1 + 0 + 0.5))
    assert metrics.mape(truth, forecast)[1] == pytest.approx(100 / 2 * (0.5 + (5 - math.pi) / 5))
    assert metrics.mase(truth, forecast, np.array([2.0, 4.0])) == pytest.approx([0.5, (5 + 5 - math.pi) / 12])
    assert metrics.naive_error(np.array([1.0, 5, 2, 9]), 2) == pytest.approx((1 + 4) / 2)
    assert metrics.owa(5, 1, 10, 4) == pytest.approx(0.375)
    assert metrics.coverage(truth, forecast - 1, forecast + 1) == pytest.approx([2 / 3, 1 / 3])
    quantiles = np.stack([forecast, forecast + 1], 1)
    by_hand = [[max(q * (y - f), (q - 1) * (y - f)) for q, row in ((0.1, 0), (0.9, 1)) for y, f in
                zip(truth[i], quantiles[i][row], strict=True)] for i in range(2)]
    assert metrics.pinball(truth, quantiles, (0.1, 0.9)) == pytest.approx(np.mean(by_hand, 1))


def test_missing_truth_does_not_count():
    truth, forecast = rows([1, math.nan, 4], [math.nan] * 3), rows([2, 7, 2], [1, 2, 3])
    for score in (metrics.smape, metrics.mape, lambda y, f: metrics.mase(y, f, np.ones(2)),
                  lambda y, f: metrics.coverage(y, f - 1, f + 1)):
        found = score(truth, forecast)
        assert found[0] == pytest.approx(score(rows([1, 4]), rows([2, 2]))[0] if score is not None else 0) \
            if found.shape == (1,) else math.isnan(found[1])
    assert metrics.smape(truth, forecast)[0] == pytest.approx(metrics.smape(rows([1, 4]), rows([2, 2]))[0])


FINITE = st.floats(-1e6, 1e6)


@given(arrays(float, (3, 5), elements=FINITE), arrays(float, (3, 5), elements=FINITE))
def test_smape_lies_between_0_and_200_is_symmetric_and_0_for_the_truth(truth, forecast):
    found = metrics.smape(truth, forecast)
    assert ((found >= 0) & (found <= 200 + 1e-9)).all()
    assert found == pytest.approx(metrics.smape(forecast, truth))
    assert (metrics.smape(truth, truth) == 0).all()


@given(arrays(float, 40, elements=st.floats(1, 1e3)), st.floats(0.1, 0.9))
def test_the_quantile_loss_is_least_at_the_empirical_quantile(sample, level):
    truth = sample[None]

    def loss(at):
        return metrics.pinball(truth, np.full((1, 1, 40), at), [level])[0]

    best = np.quantile(sample, level, method="inverted_cdf")
    assert all(loss(best) <= loss(at) + 1e-9 for at in sample)


@pytest.mark.shared
@pytest.mark.parametrize("group", OFFICIAL)
def test_simple_methods_reproduce_the_official_table_of_m4(shared_data, group):
    """To three decimals, as the organisers print it."""
    series, (horizon, season) = read_series(str(shared_data / "m4"), group, Columns()), GROUPS[group]
    truth = np.stack(series.test)
    scale = np.array([metrics.naive_error(each, season) for each in series.values])
    for name, (smape, mase) in OFFICIAL[group].items():
        forecast = baselines.forecasts(baselines.METHODS[name], series.values, horizon, season)
        assert round(float(metrics.smape(truth, forecast).mean()), 3) == smape
        assert round(float(metrics.mase(truth, forecast, scale).mean()), 3) == mase


@pytest.mark.parametrize("season", [4, 7, 12])
@pytest.mark.parametrize("kind", ["multiplicative", "additive"])
def test_seasonal_indices_equal_those_of_statsmodels(season, kind):
    seasonal = pytest.importorskip("statsmodels.tsa.seasonal")
    rng = np.random.default_rng(0)
    t = np.arange(6 * season + 3)
    series = 50 + t + 10 * np.sin(2 * np.pi * t / season) + rng.normal(size=len(t))
    theirs = seasonal.seasonal_decompose(series, model=kind, period=season).seasonal[:season]
    assert baselines.indices(series, season, kind == "multiplicative") == pytest.approx(theirs, rel=1e-10)


def test_the_season_is_tested_as_the_autocorrelation_says():
    acf = pytest.importorskip("statsmodels.tsa.stattools").acf
    rng = np.random.default_rng(1)
    said = []
    for strength in (0.0, 0.2, 0.4, 3.0):
        series = strength * np.sin(2 * np.pi * np.arange(120) / 12) + rng.normal(size=120)
        r = acf(series, nlags=12)[1:]
        limit = 1.645 * math.sqrt((1 + 2 * (r[:-1] ** 2).sum()) / 120)
        said.append(baselines.is_seasonal(series, 12))
        assert said[-1] == (abs(r[-1]) > limit)
    assert said[0] is False and said[-1] is True
    assert not baselines.is_seasonal(np.sin(np.arange(35) / 12), 12)        # less than three seasons


def test_simple_methods_on_series_that_they_fit_exactly():
    season = np.array([1.0, 2, 3, 6])
    history = np.concatenate([season * k for k in (1, 1, 1, 1, 1)])
    assert baselines.naive(history[:6], 3) == pytest.approx([2, 2, 2])
    assert baselines.seasonal_naive(history[:18], 6, 4) == pytest.approx([3, 6, 1, 2, 3, 6])
    assert baselines.naive2(history[:18], 6, 4) == pytest.approx([3, 6, 1, 2, 3, 6])
    assert baselines.naive2(history[:18] - 3, 6, 4) == pytest.approx([0, 3, -2, -1, 0, 3])      # additive
    holes = history[:18].copy()
    holes[[16, 17]] = math.nan
    assert baselines.seasonal_naive(holes, 4, 4) == pytest.approx([3, 6, 1, 2])
    assert baselines.naive(holes, 1) == pytest.approx([6])


def test_ets_follows_trend_and_season():
    pytest.importorskip("statsmodels")
    t = np.arange(72)
    series = 100 + 0.5 * t + 10 * np.sin(2 * np.pi * t / 12)
    found = baselines.ets(series[:60], 12, 12)
    assert np.abs(found - series[60:]).max() < 3
    assert np.abs(found - series[60:]).mean() < np.abs(baselines.seasonal_naive(series[:60], 12, 12)
                                                       - series[60:]).mean() / 2
