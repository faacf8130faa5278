"""Prediction intervals: a network's own quantiles, moved by how far they were off on windows set aside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from archfab.core import Estimate
from archfab.metrics import forecasting as metrics
from archfab.tasks.forecasting.series import Array

CHUNK = 1024        # windows of one forward pass
FLOOR = 1e-3        # the least spread, as a share of a window's largest magnitude


class Forecast(NamedTuple):
    """Forecasts and the ends of their intervals [W, H], in the data's unit, and each window's spread [W]."""

    value: Array
    low: Array
    high: Array
    spread: Array


def spread(inputs: Array, season: int) -> Array:
    """How much a window moves: its mean |x[t] - x[t - season]|, or from step to step where it is too short for that. At
    least a thousandth of its largest magnitude; 0 of zeros alone, for which there is no interval."""
    lag = season if season < inputs.shape[1] else 1
    moves = np.abs(inputs[:, lag:] - inputs[:, :-lag])
    known = ~np.isnan(moves)
    mean = np.where(known, moves, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    return np.maximum(mean, FLOOR * np.nan_to_num(np.abs(inputs), nan=0.0).max(1))


@torch.inference_mode()
def raw(model: Any, inputs: Array, season: int) -> Forecast:
    """What a network says itself: the ends of its quantiles in order, or, without any, its forecast at both ends."""
    model.eval()
    x = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32))
    said = torch.cat([model(part) for part in x.split(CHUNK)]).double().numpy()
    if not model.quantiles:
        return Forecast(said, said, said, spread(inputs, season))
    ordered = np.sort(said, axis=1)         # quantiles that cross are put in order (Chernozhukov et al., 2010)
    middle = np.argsort(np.argsort(model.quantiles))[list(model.quantiles).index(0.5)]
    return Forecast(ordered[:, middle], ordered[:, 0], ordered[:, -1], spread(inputs, season))


def radius(truth: Array, found: Forecast, level: float) -> Array:
    """How far the ends have to move for the share `level` of windows to lie inside, in units of spread: [H].

    Conformalised quantile regression (Romano et al., NeurIPS 2019); without quantiles, split conformal prediction. The
    ceil((n + 1) level)-th smallest of max(low - y, y - high) at each step; where n windows are too few for that, of
    all steps together, and if these are, the largest; NaN without any.
    """
    moving = found.spread > 0
    off = np.maximum(found.low - truth, truth - found.high)[moving] / found.spread[moving, None]
    steps = [column[~np.isnan(column)] for column in off.T]
    pooled = np.concatenate(steps)
    return np.array([ranked(step if len(step) + 1 >= 1 / (1 - level) else pooled, level) for step in steps])


def ranked(values: Array, level: float) -> float:
    if not len(values):
        return math.nan
    return float(np.sort(values)[min(math.ceil((len(values) + 1) * level), len(values)) - 1])


def widened(found: Forecast, by: Array) -> Forecast:
    """The interval with its ends moved out; never beyond each other, and the forecast inside. NaN where the window or
    the windows set aside say nothing."""
    move = by * np.where(found.spread > 0, found.spread, np.nan)[:, None]
    low, high = found.low - move, found.high + move
    return found._replace(low=np.minimum(low, found.value), high=np.maximum(high, found.value))


def crossed(truth: Array, found: Forecast, level: float) -> Forecast:
    """Intervals for the windows that they are taken from: each half by what the other half says."""
    half = np.arange(len(truth)) % 2 == 0
    low, high = found.low.copy(), found.high.copy()
    for one, other in ((half, ~half), (~half, half)):
        by = radius(truth[other], Forecast(*(part[other] for part in found)), level)
        mine = widened(Forecast(*(part[one] for part in found)), by)
        low[one], high[one] = mine.low, mine.high
    return found._replace(low=low, high=high)


def forecast(model: Any, inputs: Array, season: int) -> Forecast:
    """What a delivered network says, with its intervals; NaN at their ends where it has none."""
    found = raw(model, inputs, season)
    if float(model.margin.windows) > 0:
        return widened(found, model.margin.radius.double().cpu().numpy())
    if model.quantiles:
        return found
    nothing = np.full_like(found.value, np.nan)
    return found._replace(low=nothing, high=nothing)


def share(name: str, held: metrics.Array) -> dict[str, Estimate]:
    """The mean of shares that are known, between 0 and 1, under its name; nothing without any."""
    known = held[~np.isnan(held)]
    if not len(known):
        return {}
    mean = Estimate.mean_of(known.tolist())
    return {name: Estimate(float(mean), max(0.0, mean.low), min(1.0, mean.high))}


def median(found: Sequence[Forecast]) -> Forecast:
    """Several networks' forecasts as one: the median of each figure."""
    return Forecast(*(np.median(np.stack(parts), axis=0) for parts in zip(*found, strict=True)))
