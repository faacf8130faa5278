"""Distributions of the defects of a die: the likelihood of a histogram of counts, and what fits it best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import gammaln

from archfab.core import UsageError

MOST = 100_000          # defects of a die
SLOW = 2_000            # above, Neyman's type A is not tried: its probabilities need sums over sums
KAPPA = (1e-9, 1e6)     # the range of 1 / alpha that is searched
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """How many dies have how many defects: `dies[n]` have n. All that a fit of independent dies needs."""

    dies: Floats

    @classmethod
    def of(cls, defects: Sequence[int] | NDArray[np.generic]) -> Histogram:
        """Of the defects of each die.

        :raises UsageError: for numbers that are negative, broken or beyond 100,000.
        """
        counts = np.asarray(defects).ravel()
        if not counts.size:
            raise UsageError("there are no dies to fit")
        if counts.dtype.kind not in "iub":
            if counts.dtype.kind != "f" or not np.isfinite(counts).all() or (counts != counts.round()).any():
                raise UsageError("numbers of defects are whole numbers from 0 up")
            counts = counts.astype(np.int64)
        if counts.min() < 0 or counts.max() > MOST:
            raise UsageError(f"{counts.min() if counts.min() < 0 else counts.max()} defects in a die cannot be; legal: "
                             f"0 to {MOST:,}")
        return cls(np.bincount(counts.astype(np.int64)).astype(float))

    @property
    def number(self) -> float:
        return float(self.dies.sum())

    @property
    def total(self) -> float:
        return float(self.dies @ np.arange(len(self.dies)))

    @property
    def mean(self) -> float:
        return self.total / self.number

    @property
    def variance(self) -> float:
        """The sample's, with n - 1."""
        return float(self.dies @ (np.arange(len(self.dies)) - self.mean) ** 2) / max(1.0, self.number - 1)

    @property
    def above(self) -> Floats:
        """How many dies have more than n defects."""
        return (self.number - np.cumsum(self.dies))[:-1]


def log_factorials(most: int) -> Floats:
    return gammaln(np.arange(most + 1) + 1.0)


def poisson(histogram: Histogram, mean: float) -> float:
    """Log-likelihood of independent defects: P(n) = m^n e^-m / n!."""
    if mean <= 0:
        return 0.0 if histogram.total == 0 else -math.inf
    return histogram.total * math.log(mean) - histogram.number * mean \
        - float(histogram.dies @ log_factorials(len(histogram.dies) - 1))


def negative_binomial(histogram: Histogram, mean: float, kappa: float) -> float:
    """Log-likelihood where the density varies from die to die by a gamma distribution (Stapper 1973), kappa 1 / alpha:
    P(n) = (1 + km)^-(n + 1/k) m^n prod(1 + kj, j < n) / n!, which at kappa 0 is Poisson's."""
    if kappa <= KAPPA[0] or mean <= 0:
        return poisson(histogram, mean)
    grown = math.log1p(kappa * mean)
    return float(histogram.above @ np.log1p(kappa * np.arange(len(histogram.above)))) \
        + histogram.total * (math.log(mean) - grown) - histogram.number * grown / kappa \
        - float(histogram.dies @ log_factorials(len(histogram.dies) - 1))


def best_kappa(histogram: Histogram, mean: float) -> float:
    """The kappa of the greatest likelihood at a mean: 0 where the counts vary no more than Poisson's."""
    steps = np.arange(len(histogram.above))

    def slope(kappa: float) -> float:
        grown = kappa * mean
        rest = (math.log1p(grown) - grown / (1 + grown)) / kappa ** 2 if grown > 1e-4 else \
            mean ** 2 * (0.5 - 2 * grown / 3 + 3 * grown ** 2 / 4)
        return float(histogram.above @ (steps / (1 + kappa * steps))) + histogram.number * rest \
            - histogram.total * mean / (1 + grown)

    if mean <= 0 or slope(KAPPA[0]) <= 0:
        return 0.0
    low = high = 1.0
    while slope(high) > 0 and high < KAPPA[1]:
        high *= 4
    while slope(low) < 0 and low > KAPPA[0]:
        low /= 4
    return float(brentq(slope, low, high, xtol=1e-12, rtol=1e-10)) if high < KAPPA[1] else KAPPA[1]


@dataclass(frozen=True)
class Model:
    """One distribution, fitted: its parameters by name, the log-likelihood, and the probability of each count."""

    name: str
    parameters: dict[str, float]
    loglik: float
    probabilities: Floats

    @property
    def aic(self) -> float:
        return 2 * len(self.parameters) - 2 * self.loglik


def fitted(histogram: Histogram, name: str, parameters: dict[str, float], probabilities: Floats) -> Model:
    present = histogram.dies > 0
    with np.errstate(divide="ignore"):
        loglik = float(histogram.dies[present] @ np.log(probabilities[present]))
    return Model(name, parameters, loglik, probabilities)


def fit_poisson(histogram: Histogram) -> Model:
    mean = histogram.mean
    return fitted(histogram, "poisson", {"mean": mean}, poisson_probabilities(np.array([mean]), len(histogram.dies))[0])


def fit_negative_binomial(histogram: Histogram) -> Model:
    mean = histogram.mean
    kappa = best_kappa(histogram, mean)
    found = fitted(histogram, "negative-binomial", {"mean": mean, "alpha": 1 / kappa if kappa else math.inf},
                   negative_binomial_probabilities(mean, kappa, len(histogram.dies)))
    return found


def fit_seeds(histogram: Histogram) -> Model:
    """Seeds' yield 1 / (1 + m): the density varies exponentially, which is alpha = 1."""
    mean = histogram.mean
    return fitted(histogram, "seeds", {"mean": mean}, negative_binomial_probabilities(mean, 1.0, len(histogram.dies)))


def fit_murphy(histogram: Histogram) -> Model:
    """Murphy's yield ((1 - e^-m) / m)^2: the density varies by a triangle from 0 to twice its mean."""
    shares, weights = triangle()

    def probabilities(mean: float) -> Floats:
        return weights @ poisson_probabilities(mean * shares, len(histogram.dies))

    def loss(log_mean: float) -> float:
        return -fitted(histogram, "murphy", {}, probabilities(math.exp(log_mean)) + 1e-300).loglik

    if histogram.total == 0:
        return fitted(histogram, "murphy", {"mean": 0.0}, np.ones(1))
    middle = math.log(histogram.mean)
    mean = math.exp(minimize_scalar(loss, bounds=(middle - 1, middle + 1), method="bounded",
                                    options={"xatol": 1e-9}).x)
    return fitted(histogram, "murphy", {"mean": mean}, probabilities(mean))


def fit_zero_inflated(histogram: Histogram) -> Model:
    """Some dies cannot have defects, or were not looked at; the others have Poisson's."""
    mean, positive = histogram.mean, histogram.number - histogram.dies[0]
    share, rate = 0.0, mean
    if positive and histogram.total > positive and histogram.dies[0] > histogram.number * math.exp(-mean):
        each = histogram.total / positive
        rate = float(brentq(lambda x: x / -math.expm1(-x) - each, 1e-12, each))
        share = max(0.0, 1 - mean / rate)
    probabilities = (1 - share) * poisson_probabilities(np.array([rate]), len(histogram.dies))[0]
    probabilities[0] += share
    return fitted(histogram, "zero-inflated-poisson", {"mean": (1 - share) * rate, "share": share}, probabilities)


def fit_neyman(histogram: Histogram) -> Model | None:
    """Neyman's type A: clusters fall as Poisson's, and each brings a Poisson number of defects."""
    size, mean = len(histogram.dies), histogram.mean
    if size > SLOW or not 0 < mean < 500:
        return None

    def loss(log_each: float) -> float:
        return -fitted(histogram, "", {}, neyman_probabilities(mean, math.exp(log_each), size) + 1e-300).loglik

    each = math.exp(minimize_scalar(loss, bounds=(math.log(1e-6), math.log(max(20.0, 4 * size))), method="bounded",
                                    options={"xatol": 1e-7}).x)
    return fitted(histogram, "neyman-a", {"mean": mean, "per_cluster": each}, neyman_probabilities(mean, each, size))


def poisson_probabilities(means: Floats, size: int) -> Floats:
    """[means, counts below size]."""
    counts = np.arange(size)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(counts, counts * np.log(means)[:, None], 0.0)
    return np.exp(logs - means[:, None] - log_factorials(size - 1))


def negative_binomial_probabilities(mean: float, kappa: float, size: int) -> Floats:
    if kappa <= KAPPA[0] or mean <= 0:
        return poisson_probabilities(np.array([mean]), size)[0]
    counts, grown = np.arange(size), math.log1p(kappa * mean)
    products = np.concatenate([[0.0], np.cumsum(np.log1p(kappa * counts[:-1]))])
    return np.exp(products + counts * (math.log(mean) - grown) - grown / kappa - log_factorials(size - 1))


def neyman_probabilities(mean: float, each: float, size: int) -> Floats:
    """By the recursion P(n + 1) = c / (n + 1) sum(d^j / j! e^-d (n-j)th, j <= n), c = mean, d = defects a cluster."""
    clusters = mean / each
    terms = poisson_probabilities(np.array([each]), size)[0]
    found = np.zeros(size)
    found[0] = math.exp(clusters * math.expm1(-each))
    for n in range(size - 1):
        found[n + 1] = mean / (n + 1) * float(terms[:n + 1] @ found[n::-1])
    return found


def triangle() -> tuple[Floats, Floats]:
    """Nodes and weights of the triangle from 0 over 1 to 2."""
    places, weights = np.polynomial.legendre.leggauss(64)
    rising = (places + 1) / 2
    return np.concatenate([rising, 2 - rising]), np.concatenate([rising * weights, rising * weights]) / 2


MODELS: dict[str, Callable[[Histogram], Model | None]] = {
    "poisson": fit_poisson, "negative-binomial": fit_negative_binomial, "seeds": fit_seeds, "murphy": fit_murphy,
    "zero-inflated-poisson": fit_zero_inflated, "neyman-a": fit_neyman}
