"""What serves training, validation and test: by origins in time, so that nobody learns from what is to be forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from archfab.core import Estimate, UsageError
from archfab.metrics import forecasting as metrics
from archfab.tasks.forecasting import baselines
from archfab.tasks.forecasting.series import Array, Origins, Series, check, check_sizes, check_windows
from archfab.tasks.forecasting.windows import Sampler, at_origins

WINDOWS = 60            # of validation, where it is not said from how many origins


class Splits:
    """Every series in its parts: `train` is what a search learns from, `usable` all but the test part, `full` all.

    Validation forecasts are made from the last origins of `usable`, test forecasts from those of `full`.

    :raises UsageError: where a series cannot be learned from, or nothing is known at an origin.
    """

    def __init__(self, series: Series, horizon: int, season: int, shortest: int, longest: int, history: int,
                 origins: int | None = None, test_origins: int = 1, stride: int | None = None) -> None:
        self.horizon, self.season, self.longest = horizon, season, longest
        self.shortest, self.history = shortest, history
        check_sizes(series)
        stride = stride or horizon
        self.testing = test_part(series, horizon, test_origins, stride)
        self.full = series.values if series.test is None else tuple(
            np.concatenate(pair) for pair in zip(series.values, series.test, strict=True))
        self.usable = series.values if series.test is not None else until(series.values, self.testing.length(horizon))
        self.validating = Origins(origins or enough(self.usable, horizon, stride), stride)
        self.train = until(self.usable, self.validating.length(horizon))
        check(series, self.train, horizon, season, shortest)
        check_training(series, self.train, horizon, shortest, history)
        check_windows(series, self.usable, self.validating.back(horizon), horizon, shortest, "validation")
        check_windows(series, self.full, self.testing.back(horizon), horizon, shortest, "test")

    @cached_property
    def windows(self) -> dict[str, Windows]:
        """Of validation and of test."""
        return {"validation": Windows(self.usable, self.validating, self, scales(self.train, self.season)),
                "test": Windows(self.full, self.testing, self, scales(self.usable, self.season))}

    @cached_property
    def samplers(self) -> dict[str, Sampler]:
        """Of training windows, from `train` and from `usable`."""
        return {name: Sampler(part, scales(part, self.season), self.longest, self.horizon, self.shortest, self.history)
                for name, part in (("train", self.train), ("usable", self.usable))}


class Windows:
    """The windows of a split: what is known before each origin, what came after, and what simple methods make of it."""

    def __init__(self, full: Sequence[Array], origins: Origins, splits: Splits, scale: Array) -> None:
        self.horizon, self.season = splits.horizon, splits.season
        self.full, self.backs = full, origins.back(self.horizon)
        self.inputs, self.truth = at_origins(full, self.backs, splits.longest, self.horizon)
        self.scale = np.repeat(scale, len(self.backs))
        self.series = np.repeat(np.arange(len(full)), len(self.backs))
        self.origins = np.array([len(values) - back for values in full for back in self.backs])

    def simple(self, method: baselines.Method) -> Array:
        """The forecasts of a method that sees the whole past of each window."""
        return baselines.forecasts(method, [values[:len(values) - back] for values in self.full for back in self.backs],
                                   self.horizon, self.season)

    @cached_property
    def naive(self) -> tuple[float, float]:
        """sMAPE and MASE of Naive2."""
        found = self.simple(baselines.naive2)
        smape = float(np.mean(metrics.smape(self.truth, found)))
        mase = float(np.mean(metrics.mase(self.truth, found, self.scale)))
        if not smape or not mase:
            raise UsageError("Naive2 forecasts these series without any error, so that OWA has no scale; take other "
                             "origins (--origins, --stride) or another --season")
        return smape, mase

    def scores(self, found: Array) -> dict[str, Estimate]:
        """The mean scores of forecasts, each with its interval over the windows."""
        smape, mase = metrics.smape(self.truth, found), metrics.mase(self.truth, found, self.scale)
        mape = metrics.mape(self.truth, found)
        owa = (smape / self.naive[0] + mase / self.naive[1]) / 2
        scored = {"owa": owa, "smape": smape, "mase": mase, "mape": mape[~np.isnan(mape)]}
        return {name: Estimate.mean_of(values.tolist()) for name, values in scored.items() if len(values)}


def check_training(series: Series, train: Sequence[Array], horizon: int, shortest: int, history: int) -> None:
    """Refuses series of which no training window can be drawn."""
    for i, values in enumerate(train):
        if not Sampler.useful(values, shortest, horizon, history).any():
            raise UsageError(f"{series.where(i)}: in the last {history} values of the part to learn from, no point in "
                             f"time has a known value among the {shortest} before it and one among the {horizon} after "
                             "it; raise --history, or leave it out")


def test_part(series: Series, horizon: int, origins: int, stride: int) -> Origins:
    """The origins of the test: as many as a file's test part has room for, else so many at the series' end."""
    if series.test is None:
        return Origins(origins, stride)
    lengths = {len(each) for each in series.test}
    if len(lengths) > 1 or min(lengths) < horizon:
        raise UsageError(f"the test part of {series.source} has {min(lengths)} to {max(lengths)} values a series; it "
                         f"takes one length for all, of at least the horizon ({horizon})")
    length = lengths.pop()
    number = 1 + (length - horizon) // stride
    return Origins(number, stride, length - horizon - (number - 1) * stride)


def until(values: Sequence[Array], aside: int) -> tuple[Array, ...]:
    """Every series without its last values."""
    return tuple(each[:max(0, len(each) - aside)] for each in values)


def enough(values: Sequence[Array], horizon: int, stride: int) -> int:
    """Origins that give 60 windows, as far as the last fifth of the shortest series has room for them."""
    room = 1 + (min(map(len, values)) // 5 - horizon) // stride
    return max(1, min(math.ceil(WINDOWS / len(values)), room))


def scales(parts: Sequence[Array], season: int) -> Array:
    """The naive error of each series, in which its MASE is measured."""
    return np.array([metrics.naive_error(values, season) for values in parts])
