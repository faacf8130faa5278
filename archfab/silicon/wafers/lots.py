"""Several wafers: how far defects vary from wafer to wafer beside how they vary within one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import gammaln
from scipy.stats import chi2, chi2_contingency
from scipy.stats import f as f_distribution

from archfab.core import Estimate
from archfab.silicon.wafers.counts import Histogram, best_kappa
from archfab.silicon.wafers.fitting import inverse
from archfab.silicon.wafers.maps import WaferMap

PLACES, WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
LEAST = 1e-6            # 1 / alpha below which a part counts as absent
FLAT = math.log(LEAST / 2)
MEAN, WITHIN, BETWEEN = range(3)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LotFit:
    """Defects of a die over wafers: a gamma distribution of the wafers' means, and of the dies' within each.

    `mean` has the interval that takes wafers, not dies, as independent. `alpha_between` is infinite where wafers are
    alike, `alpha_within` where the dies of a wafer are Poisson's. `p_between`: of wafers that are alike.
    """

    wafers: int
    mean: Estimate
    alpha_within: Estimate
    alpha_between: Estimate
    p_between: float


@dataclass(frozen=True)
class YieldSpread:
    """Yields of wafers where passing and failing is known: whether they differ beyond chance, and the variance of their
    failing shares beyond it."""

    wafers: int
    chi2: float
    degrees: int
    p_value: float
    deviation: float        # of failing shares from wafer to wafer, beyond chance


@dataclass(frozen=True)
class Wafers:
    """What the likelihood needs: dies and defects of each wafer, and how many dies have more than n defects."""

    dies: Floats
    defects: Floats
    above: Floats

    def loglik(self, mean: float, within: float, between: float) -> float:
        """The dies of a wafer are negative binomial around its mean, which is gamma distributed: for given kappas the
        wafer's dies count by their sum, and its mean is integrated out (Gauss-Hermite around its mode, log scale)."""
        inner = float(self.above @ np.log1p(within * np.arange(len(self.above))))
        if between < LEAST:
            return inner + float(self.given(np.full(len(self.dies), math.log(mean)), within).sum())
        alpha = 1 / between
        logs = np.log((self.defects + alpha) / (self.dies + alpha / mean))
        for _ in range(60):
            slope, bend = self.slopes(logs, within, alpha, mean)
            step = np.clip(slope / bend, -1, 1)
            logs = logs + step
            if abs(step).max() < 1e-6:
                break
        width = 1 / np.sqrt(self.slopes(logs, within, alpha, mean)[1])
        spread = logs[:, None] + width[:, None] * PLACES
        prior = alpha * (spread - np.exp(spread) / mean) + alpha * math.log(alpha / mean) - gammaln(alpha)
        terms = self.given(spread.T, within).T + prior + PLACES ** 2 / 2
        top = terms.max(1)
        return inner + float((top + np.log(np.exp(terms - top[:, None]) @ WEIGHTS) + np.log(width)).sum())

    def given(self, logs: Floats, within: float) -> Floats:
        """Log-likelihood of each wafer at the logarithm of its mean, without what does not depend on it."""
        means = np.exp(logs)
        if within < LEAST:
            return self.defects * logs - self.dies * means
        grown = np.log1p(within * means)
        return self.defects * (logs - grown) - self.dies * grown / within

    def slopes(self, logs: Floats, within: float, alpha: float, mean: float) -> tuple[Floats, Floats]:
        """First derivative by the logarithm of a wafer's mean, and minus the second."""
        means = np.exp(logs)
        share = 1 / (1 + within * means)
        return self.defects * share - self.dies * means * share + alpha * (1 - means / mean), \
            (self.dies + within * self.defects) * means * share ** 2 + alpha * means / mean


def fit_lot(wafers: Sequence[WaferMap], confidence: float = 0.95) -> LotFit | None:
    """Clustering within and between wafers from defects of dies, by maximum likelihood. None for fewer than three
    wafers or no defects.

    Intervals hold the values whose profile likelihood is within a drop of the greatest: chi2(1) / 2 for what many dies
    tell; for what the wafers tell, the mean and alpha between them, n / 2 log(1 + F(1, n - 1) / (n - 1)), which is
    exact for the mean of n normal figures of unknown variance and tends to the same.
    """
    counts = [wafer.values[wafer.dies] for wafer in wafers]
    if len(wafers) < 3 or not sum(int(each.sum()) for each in counts):
        return None
    histogram = Histogram.of(np.concatenate(counts))
    told = Wafers(np.array([float(len(each)) for each in counts]), np.array([float(each.sum()) for each in counts]),
                  histogram.above)
    mean = histogram.mean
    start = np.array([math.log(mean), math.log(max(best_kappa(histogram, mean), 0.01)), math.log(0.05)])

    top, peak = best(told, start)
    flat = best(told, peak, BETWEEN, FLAT)[0]
    few = len(wafers) - 1
    drop = float(chi2.ppf(confidence, 1)) / 2
    wider = (few + 1) / 2 * math.log1p(float(f_distribution.ppf(confidence, 1, few)) / few)

    def ends(which: int, drop: float) -> tuple[float, float]:
        low, high = (bound(told, peak, which, direction, top - drop) for direction in (-1, 1))
        return math.exp(low), math.exp(high)

    def alpha(which: int, drop: float) -> Estimate:
        low, high = ends(which, drop)
        value = math.exp(peak[which])
        return Estimate(inverse(value if value > 10 * LEAST else 0.0), inverse(high), inverse(low))

    return LotFit(len(wafers), Estimate(math.exp(peak[MEAN]), *ends(MEAN, wider)), alpha(WITHIN, drop),
                  alpha(BETWEEN, wider), float(chi2.sf(max(0.0, 2 * (top - flat)), 1)) / 2)


def best(told: Wafers, begin: Floats, fixed: int | None = None, value: float = 0.0) -> tuple[float, Floats]:
    """The greatest log-likelihood, and where: logarithms of the mean and of 1 / alpha within and between wafers, one of
    which may be held at a value."""
    free = [i for i in range(3) if i != fixed]

    def whole(x: Floats) -> Floats:
        found = np.full(3, value)
        found[free] = x
        return found

    found = minimize(lambda x: -told.loglik(*np.exp(whole(x))) if abs(whole(x)).max() <= 25 else 1e300, begin[free],
                     method="Nelder-Mead", options={
                         "xatol": 2e-3, "fatol": 1e-4, "maxiter": 400,
                         "initial_simplex": begin[free] + 0.2 * np.vstack([np.zeros(len(free)), np.eye(len(free))])})
    return -float(found.fun), whole(found.x)


def bound(told: Wafers, peak: Floats, which: int, direction: int, floor: float) -> float:
    """Where the profile of one parameter falls to a floor, going from the peak in a direction; infinite where it does
    not."""
    near = peak[which] if direction < 0 or which == MEAN else max(peak[which], math.log(LEAST))
    place = peak
    for _ in range(30):
        far = near + direction * (0.25 if which == MEAN else 0.7)
        if which != MEAN and far < math.log(LEAST) and best(told, place, which, FLAT)[0] > floor:
            return -math.inf
        height, place = best(told, place, which, far)
        if height < floor:
            def over(x: float, begin: Floats = place) -> float:
                return best(told, begin, which, x)[0] - floor
            return float(brentq(over, near, far, xtol=5e-3)) if over(near) > 0 > over(far) else near
        near = far
    return direction * math.inf


def yield_spread(wafers: Sequence[WaferMap]) -> YieldSpread | None:
    """Whether failing shares differ from wafer to wafer; None for one wafer, or where nothing or everything fails."""
    dies = np.array([int(wafer.dies.sum()) for wafer in wafers])
    bad = np.array([int(wafer.failing.sum()) for wafer in wafers])
    if len(wafers) < 2 or bad.sum() in (0, dies.sum()):
        return None
    found = chi2_contingency(np.stack([bad, dies - bad]), correction=False)
    share = bad.sum() / dies.sum()
    spread = float((dies * (bad / dies - share) ** 2).sum())
    beyond = (spread - (len(wafers) - 1) * share * (1 - share)) / (dies.sum() - (dies ** 2).sum() / dies.sum())
    return YieldSpread(len(wafers), float(found.statistic), int(found.dof), float(found.pvalue),
                       math.sqrt(max(0.0, beyond)))
