"""What is reached without any network: naive, seasonal naive, Naive2 as M4 defines it, and exponential smoothing."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from archfab.core import UsageError

Array = NDArray[np.float64]
Method = Callable[[Array, int, int], Array]
CRITICAL = 1.645        # of the normal distribution, two-sided 90 %


def naive(history: Array, horizon: int, season: int = 1) -> Array:
    """The last known value, at every step."""
    return np.full(horizon, history[~np.isnan(history)][-1])


def seasonal_naive(history: Array, horizon: int, season: int) -> Array:
    """The last known value of the same phase of the season; of a phase that was never known, the last value."""
    known = np.arange(len(history))[~np.isnan(history)]
    last = naive(history, season)
    last[known % season] = history[known]               # later ones overwrite earlier ones
    return last[(len(history) + np.arange(horizon)) % season]


def naive2(history: Array, horizon: int, season: int) -> Array:
    """The naive forecast of the seasonally adjusted series, its season put back (Makridakis et al., 2020).

    A series is adjusted where its autocorrelation at the season is significant at 90 %: by the factors of the classical
    multiplicative decomposition, or, where a value is not above 0, by the terms of the additive one. Missing values are
    interpolated for that.
    """
    whole = interpolated(history)
    if not is_seasonal(whole, season):
        return naive(history, horizon)
    ahead = (len(history) + np.arange(horizon)) % season
    now = np.flatnonzero(~np.isnan(history))[-1]
    factors = indices(whole, season, multiplicative := bool(whole.min() > 0))
    if multiplicative:
        return history[now] / factors[now % season] * factors[ahead]
    return history[now] - factors[now % season] + factors[ahead]


def is_seasonal(series: Array, season: int) -> bool:
    """Whether |r[m]| > 1.645 sqrt((1 + 2 sum of r[k]^2 over k < m) / n), r the autocorrelations, m the season.

    A series of less than three seasons is taken as not seasonal.
    """
    if season < 2 or len(series) < 3 * season:
        return False
    centred = series - series.mean()
    power = float(centred @ centred)
    if power == 0:
        return False
    r = np.array([centred[k:] @ centred[:-k] for k in range(1, season + 1)]) / power
    limit = CRITICAL * math.sqrt((1 + 2 * float(r[:-1] @ r[:-1])) / len(series))
    return bool(abs(r[-1]) > limit)


def indices(series: Array, season: int, multiplicative: bool = True) -> Array:
    """What each phase of the season has over the trend, by classical decomposition (Persons, 1919): a factor with mean
    1, or a term with mean 0. The trend is the centred moving average over one season."""
    weights = np.full(season + 1, 1 / season) if season % 2 == 0 else np.full(season, 1 / season)
    if season % 2 == 0:
        weights[[0, -1]] /= 2
    half = len(weights) // 2
    trend = np.convolve(series, weights, "valid")
    middle = series[half:len(series) - half]
    over = middle / trend if multiplicative else middle - trend
    phase = (half + np.arange(len(over))) % season
    found = np.array([over[phase == i].mean() for i in range(season)])
    return found / found.mean() if multiplicative else found - found.mean()


def interpolated(series: Array) -> Array:
    """Missing values on straight lines between their neighbours; at the ends, the nearest known value."""
    known = ~np.isnan(series)
    if known.all():
        return series
    at = np.arange(len(series))
    return np.interp(at, at[known], series[known])


def ets(history: Array, horizon: int, season: int) -> Array:
    """Exponential smoothing with a damped additive trend and, where there are two seasons of data, an additive season
    (Holt-Winters; Gardner and McKenzie, 1985), fitted by statsmodels. Missing values are interpolated; where the
    fit ends in numbers that are not finite, the forecast is the naive one."""
    try:
        smoothing = import_module("statsmodels.tsa.holtwinters").ExponentialSmoothing
    except ModuleNotFoundError:
        raise UsageError("the baseline ETS needs statsmodels; install it: pip install 'archfab[forecasting]', or leave "
                         "it out: --ets 0") from None
    whole = interpolated(history)
    scale = float(np.abs(whole).max()) or 1.0
    seasonal = "add" if season > 1 and len(whole) >= 2 * season + 3 else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                 # fits that end before they have converged serve too
        model = smoothing(whole / scale, trend="add", damped_trend=True, seasonal=seasonal,
                          seasonal_periods=season if seasonal else None,
                          initialization_method="heuristic" if len(whole) > 2 * season + 9 else "estimated")
        found = np.asarray(model.fit().forecast(horizon)) * scale
    return found if np.isfinite(found).all() else naive(history, horizon)


METHODS: dict[str, Method] = {"naive": naive, "seasonal naive": seasonal_naive, "Naive2": naive2}


def forecasts(method: Method, histories: Sequence[Array], horizon: int, season: int) -> Array:
    """One forecast for each history: [windows, horizon]."""
    return np.stack([method(history, horizon, season) for history in histories])
