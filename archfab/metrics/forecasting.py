"""How far forecasts are off: sMAPE, MAPE, MASE and OWA as the M4 competition defines them, quantile loss, coverage.

Arrays have one row for each window and one column for each step ahead. Where the truth is NaN it is missing, and that
step does not count; a window without any truth is NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def smape(truth: Array, forecast: Array) -> Array:
    """Symmetric mean absolute percentage error of each window, in percent from 0 to 200; 0 / 0 is 0.

    200 / H * sum |y - f| / (|y| + |f|) (Makridakis et al., International Journal of Forecasting 36, 2020).
    """
    return 200 * mean(ratio(np.abs(truth - forecast), np.abs(truth) + np.abs(forecast)))


def mape(truth: Array, forecast: Array) -> Array:
    """Mean absolute percentage error of each window, in percent; steps whose truth is 0 do not count."""
    off = np.abs(truth - forecast)
    return 100 * mean(np.divide(off, np.abs(truth), out=np.full_like(off, np.nan), where=truth != 0))


def mase(truth: Array, forecast: Array, scale: Array) -> Array:
    """Mean absolute scaled error of each window (Hyndman and Koehler, 2006).

    :param scale: of each window's series, by `naive_error`.
    """
    return mean(np.abs(truth - forecast)) / scale


def naive_error(series: Array, season: int) -> float:
    """The mean absolute error of the seasonal naive forecast within a series, which MASE is measured in: the mean of
    |y[t] - y[t - season]| over all t for which both are known; NaN where there is no such pair."""
    return float(mean(np.abs(series[season:] - series[:-season])[None])[0])


def owa(smape: float, mase: float, naive_smape: float, naive_mase: float) -> float:
    """Overall weighted average: the mean of sMAPE and MASE as shares of Naive2's, which are means over all series."""
    return (smape / naive_smape + mase / naive_mase) / 2


def pinball(truth: Array, quantiles: Array, levels: Sequence[float]) -> Array:
    """Mean quantile loss of each window (Koenker and Bassett, 1978): max(q (y - f), (q - 1) (y - f)).

    :param quantiles: forecasts [windows, levels, steps]. :param levels: their probabilities, between 0 and 1.
    """
    off = truth[:, None, :] - quantiles
    level = np.asarray(levels)[:, None]
    return mean(np.maximum(level * off, (level - 1) * off).reshape(len(truth), -1))


def coverage(truth: Array, low: Array, high: Array) -> Array:
    """The share of each window's steps whose truth lies in its interval, ends included; steps without an interval (NaN)
    do not count."""
    inside = ((truth >= low) & (truth <= high)).astype(float)
    return mean(np.where(np.isnan(truth) | np.isnan(low) | np.isnan(high), np.nan, inside))


def mean(values: Array) -> Array:
    """The mean of each row over what is not NaN; NaN where nothing is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)     # of a row without any number
        return np.nanmean(values, axis=1) if values.shape[1] else np.full(len(values), np.nan)


def ratio(top: Array, bottom: Array) -> Array:
    """top / bottom, and 0 where both are 0."""
    return np.divide(top, bottom, out=np.where(np.isnan(top), np.nan, 0.0), where=bottom != 0)
