"""Defect density and clustering from the defects of each die: the likeliest values, their intervals, other models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2

from archfab.core import Estimate, UsageError
from archfab.silicon.wafers.counts import (
    KAPPA,
    MODELS,
    Histogram,
    Model,
    best_kappa,
    negative_binomial,
)

EXPECTED = 5.0          # dies that a cell of the test of fit needs at least


@dataclass(frozen=True)
class Goodness:
    """Pearson's test of a model against the counts: cells with few dies expected are joined."""

    model: str
    chi2: float
    degrees: int
    p_value: float | None       # None where too few cells are left


@dataclass(frozen=True)
class CountFit:
    """What the defects of dies say of the process.

    `mean`: defects of a die. `d0_per_cm2`: the same for a cm2, None without an area. `alpha`: the clustering parameter
    of the negative binomial, infinite where defects are independent; None where there are no defects at all.
    `kappa`: 1 / alpha, 0 where defects are independent. `good`: the share of dies without defects that the negative
    binomial gives. All with their 95 % intervals. `models`: all that were fitted, the least AIC first.
    """

    dies: int
    defects: int
    mean: Estimate
    d0_per_cm2: Estimate | None
    alpha: Estimate | None
    kappa: Estimate | None
    good: float
    models: tuple[Model, ...]
    goodness: tuple[Goodness, ...]
    dispersion: float           # variance over mean: 1 for independent defects


def fit_counts(defects: Sequence[int] | NDArray[Any] | Histogram, area_cm2: float | None = None,
               models: Sequence[str] = tuple(MODELS), confidence: float = 0.95) -> CountFit:
    """D0 and alpha of greatest likelihood from the defects of each die, with intervals, and other models beside them.

    The negative binomial with the mean D0 A: P(0) = (1 + D0 A / alpha)^-alpha (Stapper, IBM J. R&D 1973); Poisson is
    its limit of infinite alpha. Intervals hold the values whose profile likelihood is within chi2(1) / 2 of the
    greatest. Dies count as independent given the model: where neighbours or wafers resemble each other, see
    `blocks.block_interval` and `lots.fit_lot`.

    :param defects: of each die (0 for dies without), or a `Histogram`.
    :param area_cm2: of a die.
    :raises UsageError: for no dies, for numbers that are no counts, for an area that is not above 0.
    """
    if area_cm2 is not None and not (0 < area_cm2 < math.inf):
        raise UsageError(f"the area of a die is {area_cm2:g} cm2; it must be above 0")
    if not 0 < confidence < 1:
        raise UsageError(f"a confidence of {confidence:g} is none; legal: above 0 and below 1, such as 0.95")
    histogram = defects if isinstance(defects, Histogram) else Histogram.of(defects)
    drop = float(chi2.ppf(confidence, 1)) / 2
    mean, alpha, kappa = intervals(histogram, drop, confidence)
    found = sorted((model for name in models if (model := MODELS[name](histogram)) is not None),
                   key=lambda model: model.aic)
    tested = tuple(goodness(histogram, model) for model in found)
    good = 1.0 if kappa is None else good_share(mean, kappa)
    return CountFit(int(histogram.number), int(histogram.total), mean,
                    None if area_cm2 is None else Estimate(mean / area_cm2, mean.low / area_cm2, mean.high / area_cm2),
                    alpha, kappa, good, tuple(found), tested,
                    histogram.variance / histogram.mean if histogram.total else 1.0)


def good_share(mean: float, kappa: float) -> float:
    """(1 + k m)^(-1 / k), and e^-m at k = 0."""
    return math.exp(-math.log1p(kappa * mean) / kappa) if kappa > KAPPA[0] else math.exp(-mean)


def intervals(histogram: Histogram, drop: float,
              confidence: float) -> tuple[Estimate, Estimate | None, Estimate | None]:
    """Mean, alpha and 1 / alpha of the negative binomial; without any defect the mean lies below the exact limit of
    Poisson's, and alpha is not known."""
    if histogram.total == 0:
        return Estimate(0.0, 0.0, -math.log((1 - confidence) / 2) / histogram.number), None, None
    mean, kappa = histogram.mean, best_kappa(histogram, histogram.mean)
    floor = negative_binomial(histogram, mean, kappa) - drop

    def of_kappa(value: float) -> float:
        return negative_binomial(histogram, mean, value) - floor

    def of_mean(value: float) -> float:
        return negative_binomial(histogram, value, best_kappa(histogram, value)) - floor

    high = outward(of_kappa, max(kappa, 0.01), 2.0, KAPPA[1])
    low = 0.0 if of_kappa(0.0) >= 0 else outward(of_kappa, kappa, 0.5, KAPPA[0])
    around = Estimate(mean, outward(of_mean, mean, 0.9, mean * 1e-9), outward(of_mean, mean, 1.1, mean * 1e9))
    return around, Estimate(inverse(kappa), inverse(high), inverse(low)), Estimate(kappa, low, high)


def inverse(value: float) -> float:
    return 1 / value if value > 0 else math.inf


def outward(height: Callable[[float], float], start: float, factor: float, end: float) -> float:
    """Where a likelihood that is above 0 near its peak falls to 0, going outward from there by a factor; the end if it
    does not before."""
    inner, outer = start, start * factor
    while height(outer) > 0:
        inner, outer = outer, outer * factor
        if (outer > end) == (factor > 1):
            return math.inf if factor > 1 else 0.0
    if height(inner) <= 0:          # the peak is further in than the start
        return outward(height, start / factor, factor, end)
    return float(brentq(height, inner, outer, xtol=0.0 + 1e-14 * abs(inner), rtol=1e-9))


def goodness(histogram: Histogram, model: Model) -> Goodness:
    """Pearson's chi2 with cells of at least five expected dies, the last cell open."""
    expected = histogram.number * model.probabilities
    cells: list[tuple[float, float]] = []
    seen = hoped = 0.0
    for count in range(len(histogram.dies)):
        seen, hoped = seen + histogram.dies[count], hoped + expected[count]
        left = histogram.number - sum(cell[1] for cell in cells) - hoped
        if hoped >= EXPECTED and left >= EXPECTED:
            cells.append((seen, hoped))
            seen = hoped = 0.0
    cells.append((histogram.number - sum(cell[0] for cell in cells), histogram.number - sum(cell[1] for cell in cells)))
    free = sum(1 for value in model.parameters.values() if not math.isinf(value))
    degrees = len(cells) - 1 - free
    far = float(sum((found - hoped) ** 2 / hoped for found, hoped in cells if hoped > 0))
    return Goodness(model.name, far, degrees, float(chi2.sf(far, degrees)) if degrees > 0 else None)


def aic_weights(models: Sequence[Model]) -> list[float]:
    """How much each model is supported among these, summing to 1 (Akaike weights)."""
    least = min(model.aic for model in models)
    raw = np.exp([(least - model.aic) / 2 for model in models])
    return [float(each) for each in raw / raw.sum()]
