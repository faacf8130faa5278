"""How the defect density falls over time: learning curves, which of them the lots support, and when a target is met.

A lot's density scatters around the curve f by the chance of its defects, by how its wafers differ, and by a share phi
of f that lots differ by beyond that: variance f/(n A) + (within + phi) f^2, or (e^(f A) - 1)/(n A^2) + (within + phi)
f^2 where only good dies are known. `within` is 1/(alpha m) for m wafers of like size, with the alpha of all lots
together. Curve and phi are found together by normal maximum likelihood with that variance (pseudo-likelihood: Carroll
and Ruppert, JASA 1982); intervals are those of curves fitted again to lots drawn from the fit, of each form as many as
its Akaike weight says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.yields.checks import above_zero

CURVES = {
    "constant": "D",
    "exponential": "D e^(-t/tau)",
    "exponential-floor": "F + D e^(-t/tau)",
    "power": "D N^-b, N the dies made so far (Wright, J. Aeronautical Sciences 1936)",
}
MOST = 500.0            # spans of the lots' time: later is never


@dataclass(frozen=True)
class Points:
    """Lots as points: when, the dies of each, D0 per cm2, whether defects were counted (or good dies), and how much of
    D0 squared its variance is because wafers differ."""

    when: np.ndarray
    dies: np.ndarray
    d0: np.ndarray
    area_cm2: float
    counted: bool
    within: np.ndarray | float = 0.0

    @property
    def span(self) -> float:
        return float(self.when[-1] - self.when[0]) or 1.0

    def cumulative(self, when: np.ndarray) -> np.ndarray:
        """Dies made until a time, those of half a lot at a lot's own; at the mean rate after the last."""
        made = np.cumsum(self.dies) - self.dies / 2
        rate = self.dies.sum() / self.span
        later = made[-1] + rate * (when - self.when[-1])
        return np.where(when <= self.when[-1], np.interp(when, self.when, made), later)

    def variance(self, f: np.ndarray, phi: float) -> np.ndarray:
        x = f * self.area_cm2
        own = x if self.counted else np.expm1(np.clip(x, 0, 50))
        return np.maximum(own, 1e-12) / (self.dies * self.area_cm2 ** 2) + (self.within + phi) * f ** 2


@dataclass(frozen=True)
class Curve:
    """A fitted learning curve: its parameters, the scatter of lots beyond chance, log-likelihood and AIC."""

    name: str
    parameters: dict[str, float]
    scatter: float
    log_likelihood: float
    aic: float
    points: Points

    def support(self, best: Curve) -> float:
        """Its Akaike weight, relative to that of the best curve (Burnham and Anderson, 2002)."""
        return float(np.exp((best.aic - self.aic) / 2))

    def at(self, when: np.ndarray) -> np.ndarray:
        return value(self.name, np.log(list(self.parameters.values())), np.asarray(when, dtype=float), self.points)


def value(name: str, logs: np.ndarray, when: np.ndarray, points: Points) -> np.ndarray:
    """A curve at some times, from the logarithms of its parameters."""
    p, t = np.exp(np.clip(logs, -50, 50)), when - points.when[0]
    if name == "constant":
        return np.full(np.shape(when), p[0])
    if name == "power":
        return p[0] * points.cumulative(when) ** -p[1]
    with np.errstate(under="ignore"):
        falling = p[0] * np.exp(-t / p[1])
    return falling + (p[2] if name == "exponential-floor" else 0.0)


NAMES = {"constant": ("d0",), "exponential": ("d0", "tau"), "exponential-floor": ("d0", "tau", "floor"),
         "power": ("d0", "b")}


def fit_curves(points: Points) -> list[Curve]:
    """Every curve that the number of lots allows, the best by AIC first.

    :raises UsageError: fewer than three lots.
    """
    if len(points.when) < 3:
        raise UsageError(f"{len(points.when)} lots tell no learning curve; give at least 3, better 8")
    if not points.d0.any():
        raise UsageError("no lot has a defect, so that there is nothing to learn from")
    able = [name for name in CURVES if len(NAMES[name]) + 1 < len(points.when) and
            (name == "constant" or points.when[-1] > points.when[0])]
    return sorted((_fit(name, points) for name in able), key=lambda curve: curve.aic)


def _starts(name: str, points: Points) -> list[np.ndarray]:
    mean = float(np.average(points.d0, weights=points.dies))
    third = max(1, len(points.d0) // 3)
    first, last = (max(float(np.mean(part)), mean / 100) for part in (points.d0[:third], points.d0[-third:]))
    if name == "constant":
        return [np.log([mean])]
    if name == "power":
        made = points.cumulative(points.when)
        return [np.log([mean * made.mean() ** b, b]) for b in (0.1, 0.4, 1.0)]
    taus = [points.span * share for share in (0.15, 0.5, 2.0)]
    if name == "exponential":
        return [np.log([first, tau]) for tau in taus]
    return [np.log([max(first - last * share, first / 20), tau, last * share]) for tau in taus for share in (0.3, 0.8)]


def _fit(name: str, points: Points) -> Curve:
    from scipy.optimize import minimize

    def loss(theta: np.ndarray) -> float:
        f = value(name, theta[:-1], points.when, points)
        variance = points.variance(f, float(np.exp(np.clip(theta[-1], -20, 5))))
        return float(0.5 * (np.log(2 * np.pi * variance) + (points.d0 - f) ** 2 / variance).sum()
                     + 1e-8 * (theta ** 2).sum())

    def simplex(start: np.ndarray, tolerance: float) -> Any:
        return minimize(loss, start, method="Nelder-Mead", options={"xatol": tolerance, "fatol": tolerance / 100,
                                                                   "maxiter": 1500, "maxfev": 1500})

    tried = [simplex(np.append(start, np.log(0.02)), 1e-2) for start in _starts(name, points)]
    best = simplex(min(tried, key=lambda found: found.fun).x, 1e-6)
    parameters = dict(zip(NAMES[name], map(float, np.exp(np.clip(best.x[:-1], -50, 50))), strict=True))
    return Curve(name, parameters, float(np.exp(np.clip(best.x[-1], -20, 5))), -float(best.fun),
                 2 * (float(best.fun) + len(best.x)), points)


def redrawn(curve: Curve, rng: np.random.Generator, number: int = 200) -> list[Curve]:
    """The curve fitted again to lots drawn from it: gamma around the curve for what lots and wafers differ by, Poisson
    defects (or binomial good dies) within."""
    from scipy.optimize import least_squares
    points = curve.points
    f = curve.at(points.when)
    deviation = np.sqrt(points.variance(f, curve.scatter))
    logs = np.log(list(curve.parameters.values()))
    found = []
    for _ in range(number):
        # the scatter is as uncertain as that of a sample, and the likelihood's is too small by the parameters fitted
        scatter = np.broadcast_to(points.within + curve.scatter, f.shape) * len(f) / rng.chisquare(len(f) - len(logs))
        shape = 1 / np.maximum(scatter, 1e-9)
        density = f * rng.gamma(shape, 1 / shape)
        exposure = points.dies * points.area_cm2
        if points.counted:
            drawn = rng.poisson(density * exposure) / exposure
        else:
            good = rng.binomial(points.dies.astype(int), np.exp(-density * points.area_cm2))
            drawn = -np.log(np.maximum(good, 0.5) / points.dies) / points.area_cm2

        def misses(theta: np.ndarray, drawn: np.ndarray = drawn) -> np.ndarray:
            return (drawn - value(curve.name, theta, points.when, points)) / deviation

        theta = least_squares(misses, logs, method="lm", max_nfev=200).x
        values = map(float, np.exp(np.clip(theta, -50, 50)))
        found.append(Curve(curve.name, dict(zip(curve.parameters, values, strict=True)), curve.scatter, np.nan, np.nan,
                           points))
    return found


def reached(curve: Curve, target: float) -> float | None:
    """When a curve has come down to a target; None where it does not within 500 times the lots' time.

    :raises UsageError: a target that is not above 0.
    """
    above_zero("a target in defects per cm2", target)
    first, span = float(curve.points.when[0]), curve.points.span
    meets: Callable[[float], bool] = lambda t: float(curve.at(np.array([first + t]))[0]) <= target  # noqa: E731
    if meets(0.0):
        return first
    if not meets(MOST * span):
        return None
    low, high = 0.0, MOST * span
    while high - low > 1e-4 * span:
        middle = (low + high) / 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return first + high


def limits(values: Sequence[float | None]) -> tuple[float | None, float | None, float]:
    """The 2.5 % and 97.5 % quantiles of times, where None is never, and the share that is never."""
    times = np.array([np.inf if value is None else value for value in values])
    low, high = np.quantile(times, [0.025, 0.975], method="inverted_cdf")
    return (float(low) if np.isfinite(low) else None, float(high) if np.isfinite(high) else None,
            float(np.isinf(times).mean()))
