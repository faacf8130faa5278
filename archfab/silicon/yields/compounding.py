"""Yield from first principles: a Poisson law whose density itself varies, integrated numerically over that density."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from archfab.core import UsageError, unknown
from archfab.silicon.yields.checks import from_zero
from archfab.silicon.yields.models import _alpha

NARROW = 1e4            # of alpha: above, the density under the integral loses digits, and quantiles do not
DENSITIES = ("triangular", "gamma", "exponential", "uniform")


class Density(Protocol):
    """A law of scipy.stats, or whatever else knows its quantiles."""

    def ppf(self, q: Any) -> Any: ...


def compound_yield(mean_defects: float, density: str | Density = "gamma", alpha: float | None = None) -> float:
    """The yield where the number of killing defects on a die is Poisson, and its mean varies from place to place:
    the integral of e^-xu over the law of u, whose mean is 1 (Murphy, Proc. IEEE 1964).

    The integral is over the quantiles of the law, the integral of e^(-x u(p)) over p from 0 to 1, by adaptive
    Gauss-Kronrod quadrature; so it serves any law that has quantiles.

    :param mean_defects: x = D0 A, or the sum of D0 times the critical area over all layers.
    :param density: `triangular` between 0 and 2 (Murphy's yield), `gamma` of shape alpha (negative binomial),
        `exponential` (Seeds), `uniform` between 0 and 2 ((1 - e^-2x)/2x), or a law of scipy.stats with mean 1.
    :raises UsageError: an unknown law, a negative mean, no alpha for a gamma law.
    """
    x = float(from_zero("a number of defects on a die", mean_defects))
    if density == "gamma":
        shape = float(_alpha(alpha))
        if shape == 0 or np.isinf(shape):
            return 1.0 if shape == 0 else float(np.exp(-x))
        if shape > NARROW:
            from scipy.stats import gamma
            return _over(x, gamma(shape, scale=1 / shape).ppf)
        return _over_gamma(x, shape)
    return _over(x, quantiles(density))


def quantiles(density: str | Density) -> Callable[[Any], Any]:
    """The quantiles of a law of defect densities relative to their mean."""
    if not isinstance(density, str):
        return density.ppf
    if density == "triangular":
        return lambda p: np.where(np.asarray(p) < 0.5, np.sqrt(2 * np.asarray(p)),
                                  2 - np.sqrt(2 * (1 - np.asarray(p))))
    if density == "exponential":
        return lambda p: -np.log1p(-np.asarray(p))
    if density == "uniform":
        return lambda p: 2 * np.asarray(p)
    raise unknown("law of defect densities", density, DENSITIES)


def _over(x: float, quantile: Callable[[Any], Any]) -> float:
    from scipy.integrate import quad

    def survives(p: float) -> float:
        return float(np.exp(-x * quantile(p)))

    whole = 0.0
    for low, high in ((0.0, 1e-6), (1e-6, 1e-3), (1e-3, 0.5), (0.5, 0.999), (0.999, 1.0)):
        whole += _checked(quad(survives, low, high, epsabs=1e-13, epsrel=1e-11, limit=400))
    return whole


def _over_gamma(x: float, shape: float) -> float:
    """The same with the density itself under the integral; over its logarithm, where it is smooth for every shape."""
    from scipy.integrate import quad
    from scipy.special import gammaln
    from scipy.stats import gamma

    def weighed(t: float) -> float:
        u = np.exp(t)
        return float(np.exp(-x * u + shape * (np.log(shape) + t) - shape * u - gammaln(shape)))

    low = (np.log(1e-17) + gammaln(shape + 1)) / shape - np.log(shape)       # below it lies less than 1e-17 of the law
    high = float(np.log(gamma.isf(1e-18, shape) / shape))
    peak = float(np.log(shape / (shape + x)))
    width = 1 / np.sqrt(shape)
    marks = sorted({low, high, *(min(max(peak + k * width, low), high) for k in (-12, -4, -1, 0, 1, 4))})
    return sum(_checked(quad(weighed, a, b, epsabs=1e-13, epsrel=1e-11, limit=400))
               for a, b in pairwise(marks))


def _checked(found: tuple[float, ...]) -> float:
    value, error = found[:2]
    if error > 1e-8:
        raise UsageError(f"the integral over the law of densities did not converge: off by up to {error:.1g}; give a "
                         "law with finite mean whose quantiles are continuous")
    return value
