"""The defect density of a lot and how it varies among its wafers, by maximum likelihood with profile intervals.

The density of a row (a wafer, or a die) is drawn from a gamma law with mean D0 and shape alpha; its defects are
Poisson, and a die is good with e^(-D A). Defects are thus negative binomial with mean n A D0 and shape alpha; good
dies are binomial, averaged over the gamma law on a grid of densities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from archfab.silicon.yields.checks import above_zero
from archfab.silicon.yields.lots import Lot

MOST_ALPHA = 1000.0     # larger is a constant density
LogLikelihood = Callable[[float, float], float]


@dataclass(frozen=True)
class LotDensity:
    """D0 per cm2 and alpha of a lot, each with the ends of its 95 % interval; alpha is None where one row cannot tell
    it, and inf where rows do not differ more than by chance."""

    d0_per_cm2: float
    low: float
    high: float
    alpha: float | None
    alpha_low: float | None
    alpha_high: float | None


def lot_density(lot: Lot, area_mm2: float) -> LotDensity:
    """D0 and alpha of one lot. Where no row has a defect or no die is good, and where each row is one die that is good
    or not, the rows count as one, for then they tell nothing of alpha; `high` is inf where no die is good."""
    area = float(above_zero("an area in mm2", area_mm2)) / 100
    if not _events(lot) or _hopeless(lot) or (lot.good is not None and max(lot.dies) == 1):
        lot = Lot(lot.name, lot.when, (sum(lot.dies),), lot.defects and (sum(lot.defects),),
                  lot.good and (sum(lot.good),))
    likelihood = of_defects(lot, area) if lot.defects is not None else of_good(lot, area)
    start = max(_guess(lot, area), 0.5 / (sum(lot.dies) * area) * 0.1)
    if len(lot.dies) == 1:
        return _of_one(lambda d0: likelihood(d0, np.inf), lot, area)
    alpha, d0 = _best_alpha(likelihood, start)
    floor = likelihood(d0, alpha) - _drop(len(lot.dies))
    low, high = (_end(lambda d: _profiled(likelihood, d), d0, floor, sign) for sign in (-1, 1))

    def along(shape: float) -> float:
        return likelihood(_best_d0(likelihood, shape, d0), shape)

    ends = []
    for sign in (-1, 1):
        anchor = min(alpha, MOST_ALPHA)
        if sign > 0 and along(np.inf) > floor:
            ends.append(np.inf)
        elif sign < 0 and along(1e-3) > floor:
            ends.append(0.0)
        else:
            ends.append(_end(along, anchor, floor, sign))
    return LotDensity(d0, low, high, alpha, ends[0], ends[1])


def of_defects(lot: Lot, area_cm2: float) -> LogLikelihood:
    """The log-likelihood of D0 and alpha from defects."""
    from scipy.special import gammaln
    assert lot.defects is not None
    k, exposure = np.array(lot.defects, dtype=float), np.array(lot.dies) * area_cm2
    fixed = float(gammaln(k + 1).sum())

    def at(d0: float, alpha: float) -> float:
        mean = exposure * d0
        if d0 <= 0:
            return 0.0 if not k.any() else -np.inf
        if alpha > MOST_ALPHA:
            return float((k * np.log(mean) - mean).sum() - fixed)
        return float((gammaln(k + alpha) - gammaln(alpha) + k * np.log(mean / (alpha + mean))
                      - alpha * np.log1p(mean / alpha)).sum() - fixed)

    return at


def of_good(lot: Lot, area_cm2: float) -> LogLikelihood:
    """The log-likelihood of D0 and alpha from good dies."""
    from scipy.special import gammainc, gammaln
    assert lot.good is not None
    rows, times = np.unique(np.array([lot.dies, lot.good], dtype=float), axis=1, return_counts=True)    # alike: once
    n, g = rows
    fixed = gammaln(n + 1) - gammaln(g + 1) - gammaln(n - g + 1)
    share = np.clip(g / n, 0.5 / n, 1 - 0.5 / n)
    width = float((np.sqrt((1 - share) / (share * n)) / -np.log(share)).min())
    least, most = 1e-7 / n.max(), 60.0
    t = np.linspace(np.log(least), np.log(most), min(20_000, int(np.log(most / least) / min(0.02, width / 2)) + 2))
    x = np.exp(t)                                               # defects on a die
    with np.errstate(divide="ignore"):
        bad = np.log(-np.expm1(-x))
    logs = fixed[:, None] - g[:, None] * x + (n - g)[:, None] * bad
    peak = logs.max(1)
    table, step, all_good = np.exp(logs - peak[:, None]), t[1] - t[0], g == n

    def at(d0: float, alpha: float) -> float:
        mean = d0 * area_cm2
        if mean <= 0:
            return 0.0 if all_good.all() else -np.inf
        if alpha > MOST_ALPHA:
            return float(times @ (fixed - g * mean + np.where(n > g, (n - g) * np.log(-np.expm1(-mean)), 0.0)))
        law = np.exp(alpha * (np.log(alpha / mean) + t) - alpha / mean * x - gammaln(alpha)) * step
        law[0] /= 2
        rest = gammainc(alpha, alpha / mean * least) * np.exp(-peak) * all_good
        with np.errstate(divide="ignore"):
            return float(times @ (np.log(table @ law + rest) + peak))

    return at


def _of_one(likelihood: Callable[[float], float], lot: Lot, area: float) -> LotDensity:
    """One row: the density alone, with exact intervals (Garwood; Clopper and Pearson)."""
    from scipy.stats import beta, chi2
    n = lot.dies[0]
    if lot.defects is not None:
        k, exposure = lot.defects[0], n * area
        low = chi2.ppf(0.025, 2 * k) / 2 / exposure if k else 0.0
        return LotDensity(k / exposure, float(low), float(chi2.ppf(0.975, 2 * k + 2) / 2 / exposure), None, None, None)
    assert lot.good is not None
    g = lot.good[0]
    least = float(beta.ppf(0.025, g, n - g + 1)) if g else 0.0
    most = float(beta.ppf(0.975, g + 1, n - g)) if g < n else 1.0
    with np.errstate(divide="ignore"):
        return LotDensity(float(-np.log(g / n) / area) if g else np.inf, float(-np.log(most) / area) + 0.0,
                          float(-np.log(least) / area), None, None, None)


def _guess(lot: Lot, area: float) -> float:
    n = sum(lot.dies)
    if lot.defects is not None:
        return sum(lot.defects) / (n * area)
    assert lot.good is not None
    return float(-np.log(np.clip(sum(lot.good) / n, 0.3 / n, 1 - 0.3 / n)) / area)


def _events(lot: Lot) -> int:
    return sum(lot.defects) if lot.defects is not None else sum(lot.dies) - sum(lot.good or ())


def _hopeless(lot: Lot) -> bool:
    return lot.good is not None and not sum(lot.good)


def _best_d0(likelihood: LogLikelihood, alpha: float, near: float) -> float:
    from scipy.optimize import minimize_scalar
    found = minimize_scalar(lambda s: -likelihood(float(np.exp(s)), alpha),
                            bounds=(np.log(near) - 5, np.log(near) + 5), method="bounded", options={"xatol": 1e-7})
    return float(np.exp(found.x))


def _best_alpha(likelihood: LogLikelihood, near: float) -> tuple[float, float]:
    """The best alpha, inf if a constant density is as likely, and D0 with it."""
    from scipy.optimize import minimize_scalar
    found = minimize_scalar(lambda s: -likelihood(_best_d0(likelihood, float(np.exp(s)), near), float(np.exp(s))),
                            bounds=(np.log(1e-3), np.log(MOST_ALPHA)), method="bounded", options={"xatol": 1e-5})
    constant = _best_d0(likelihood, np.inf, near)
    if likelihood(constant, np.inf) >= -found.fun - 1e-6:
        return np.inf, constant
    alpha = float(np.exp(found.x))
    return alpha, _best_d0(likelihood, alpha, near)


def _profiled(likelihood: LogLikelihood, d0: float) -> float:
    from scipy.optimize import minimize_scalar
    found = minimize_scalar(lambda s: -likelihood(d0, float(np.exp(s))), bounds=(np.log(1e-3), np.log(MOST_ALPHA)),
                            method="bounded", options={"xatol": 1e-3})
    return max(-float(found.fun), likelihood(d0, np.inf))


def _drop(rows: int) -> float:
    """Of the log-likelihood from its top to the ends of a 95 % interval: that of a normal mean whose variance is as
    unknown, which is Student's interval; 1.92 for many rows."""
    from scipy.stats import t
    return float(rows / 2 * np.log1p(t.ppf(0.975, rows - 1) ** 2 / (rows - 1)))


def _end(profile: Callable[[float], float], best: float, floor: float, sign: int) -> float:
    """Where the profile falls to a floor, below or above the best value."""
    from scipy.optimize import brentq
    factor, last = 1.0, 0.0
    while factor < 60:
        step = last + 0.25 * factor
        if profile(best * float(np.exp(sign * step))) < floor:
            return float(np.exp(sign * brentq(
                lambda s: profile(best * float(np.exp(sign * s))) - floor, last, step, xtol=1e-4))) * best
        last, factor = step, factor * 1.5
    return 0.0 if sign < 0 else np.inf
