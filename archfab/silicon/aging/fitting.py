"""Models fitted to measured shifts: least squares, noise that grows with the signal, bootstrap, AIC and BIC."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from archfab.core import UsageError
from archfab.silicon.aging.conditions import Array
from archfab.silicon.aging.measurements import Measurements
from archfab.silicon.aging.model import Model, Parameter
from archfab.silicon.aging.parameters import ParameterSet
from archfab.silicon.aging.unmeasured import spread

STARTS: dict[str, dict[str, tuple[float, ...]]] = {
    "power-law": {"n": (0.1, 0.2)}, "reaction-diffusion": {"n": (0.1, 0.2), "beta": (0.2, 0.6)},
    "hole-trapping": {"t0_s": (1e-6, 1e-2), "ratio": (1.0, 30.0)},
    "two-component": {"tc_s": (1.0, 100.0), "ratio": (1.0, 10.0)}}
"""Where searches begin, besides the defaults."""
SET = "set, not fitted"
BEST_STARTS, ROUNDS, ANGLES = 2, 3, 181
STEPS, SETTLED = 10, 0.05           # of bootstrap samples: most steps, and the last step in standard errors


@dataclass(frozen=True)
class Estimated:
    """A parameter: its value, its own 95 % interval, and the interval that holds together with those of all others."""

    value: float
    low: float
    high: float
    low_jointly: float
    high_jointly: float


@dataclass(frozen=True)
class Fit:
    """A model fitted to measurements. `noise_mv` and `noise_share`: standard deviation = sqrt(mv^2 + (share shift)^2);
    `device_share`: how much devices differ. `held`: why a parameter was not fitted. `forecast_mv`: the root mean square
    miss in the last decade of stress by a fit of the stress before it; `runs`: how far misses that follow each other in
    time go together, a correlation that is about 0 where the model has the right shape."""

    model: str
    values: Mapping[str, float]
    estimates: Mapping[str, Estimated]
    held: Mapping[str, str]
    noise_mv: float
    noise_share: float
    device_share: float
    rms_mv: float
    aic: float
    bic: float
    rows: int
    forecast_mv: float | None
    runs: float
    replicates: tuple[Mapping[str, float], ...] = field(repr=False, default=())

    def as_set(self, name: str) -> ParameterSet:
        assumed = f"; assumed, with a spread: {', '.join(unmeasured(self.held))}" if unmeasured(self.held) else ""
        return ParameterSet(name, self.model, self.values, f"fitted to {self.rows} measurements of {name}{assumed}",
                            "fitted", self.replicates)


def unmeasured(held: Mapping[str, str]) -> list[str]:
    """Which parameters are held because the measurements could not tell them."""
    return [name for name, why in held.items() if why != SET]


def to_line(parameter: Parameter, value: float) -> float:
    """A parameter on the scale on which it is fitted: a logarithm where it is positive."""
    return math.log(value) if parameter.scale == "log" else value


def from_line(parameter: Parameter, place: float) -> float:
    return math.exp(min(max(place, -100.0), 100.0)) if parameter.scale == "log" else place


class Problem:
    """A model, measurements, and which of the parameters the measurements can tell."""

    def __init__(self, model: Model, data: Measurements) -> None:
        self.model, self.data = model, data
        self.held = {}
        for each in model.parameters:
            if each.held:
                self.held[each.name] = SET
            elif each.needs == "overdrive" and not data.varies["overdrive"]:
                self.held[each.name] = "all stress has one overdrive"
            elif each.needs == "kelvin" and not data.varies["kelvin"]:
                self.held[each.name] = "all stress has one temperature"
            elif each.needs == "recovery" and not data.recovering.any() and (data.duty[data.short] == 1).all():
                self.held[each.name] = "no recovery was measured"
        self.free = [each for each in model.parameters if each.name not in self.held]
        self.fixed = {each.name: each.default for each in model.parameters if each.name in self.held}
        if len(data.rows) <= len(self.free) + 2:
            raise UsageError(f"{len(data.rows)} measurements cannot tell the {len(self.free)} parameters of "
                             f"{model.name} and the noise; give more")

    def values(self, line: Sequence[float] | Array) -> dict[str, float]:
        found = {each.name: from_line(each, float(place)) for each, place in zip(self.free, line, strict=True)}
        return {each.name: found.get(each.name, self.fixed.get(each.name, each.default))
                for each in self.model.parameters}

    def predicted(self, line: Sequence[float] | Array) -> Array:
        with np.errstate(all="ignore"):
            return np.nan_to_num(self.data.predicted(self.model, self.values(line)), nan=1e9, posinf=1e9, neginf=-1e9)

    def starts(self, sigma: Array) -> list[Array]:
        """Shapes to begin from, each with the amplitude that fits best, the best first."""
        grid, found = STARTS.get(self.model.name, {}), []
        for shape in product(*([(name, value) for value in values] for name, values in grid.items())):
            values = {each.name: each.default for each in self.model.parameters} | dict(shape) | self.fixed
            shift = self.data.predicted(self.model, values)
            scale = max(1e-9, float((shift * self.data.dvth_mv / sigma ** 2).sum() / (shift ** 2 / sigma ** 2).sum()))
            values |= {name: values[name] * scale for name in self.model.amplitudes if name not in self.held}
            line = np.array([to_line(each, values[each.name]) for each in self.free])
            found.append((float((((self.predicted(line) - self.data.dvth_mv) / sigma) ** 2).sum()), line))
        return [line for _, line in sorted(found, key=lambda each: each[0])[:BEST_STARTS]]

    def solved(self, start: Array, target: Array, sigma: Array) -> Any:
        with np.errstate(over="ignore"):
            return least_squares(lambda line: (self.predicted(line) - target) / sigma, start, method="trf",
                                 x_scale="jac", max_nfev=100, ftol=1e-10, xtol=1e-10, gtol=1e-10)


def noise_of(residuals: Array, shift: Array) -> tuple[float, float]:
    """The noise's two parts by maximum likelihood: one in mV, one as a share of the shift. Their ratio is searched as
    an angle; the size that is best for a ratio is known."""
    size = float(np.sqrt((shift ** 2).mean())) or 1.0
    angle = np.linspace(0, np.pi / 2, ANGLES)[:, None]
    parts = np.cos(angle) ** 2 + (np.sin(angle) * shift / size) ** 2 + 1e-12
    scale = (residuals ** 2 / parts).mean(axis=1) + 1e-18
    best = int(np.argmin(np.log(parts).mean(axis=1) + np.log(scale)))
    root = float(np.sqrt(scale[best]))
    return root * float(np.cos(angle[best, 0])), root * float(np.sin(angle[best, 0])) / size


def fit(model: Model, data: Measurements, samples: int = 200, seed: int = 0, forecast: bool = True) -> Fit:
    """A model's parameters by weighted least squares, on scales on which they are unbounded, with bootstrap intervals.

    Where the file gives no sigma, noise is sqrt(s^2 + (r dVth)^2), found by maximum likelihood in turns with the fit.
    Bootstrap samples have standardised residuals, drawn anew, and differences between devices as large as found (and as
    uncertain); each is fitted from the optimum, noise included, with the derivatives there, or in full where that does
    not settle.

    :raises UsageError: too few measurements.
    """
    problem, target = Problem(model, data), data.dvth_mv
    known = data.sigma_mv
    sigma = known if known is not None else np.sqrt(0.05 ** 2 + 0.01 + (0.05 * target) ** 2)
    best = min((problem.solved(start, target, sigma) for start in problem.starts(sigma)), key=lambda found: found.cost)
    noise = (0.0, 0.0)
    for _ in range(ROUNDS if known is None else 0):
        shift = problem.predicted(best.x)
        noise = noise_of(target - shift, shift)
        sigma = np.sqrt(noise[0] ** 2 + (noise[1] * shift) ** 2 + 1e-12)
        best = problem.solved(best.x, target, sigma)
    shift, number, free = problem.predicted(best.x), len(target), len(problem.free)
    residuals = (target - shift) / sigma
    surprise = float((np.log(2 * np.pi * sigma ** 2) + residuals ** 2).sum())
    count = free + (2 if known is None else 0)
    differs, freedom = device_share(problem, shift, sigma)
    rng = np.random.default_rng(seed)
    lines = bootstrap(problem, best, residuals, shift, sigma, (differs, freedom), samples, rng)
    drawn = spread(model, [problem.values(line) for line in lines], unmeasured(problem.held),
                   float(np.mean(data.overdrives)), float(np.mean(data.temperatures)), rng)
    return Fit(model.name, problem.values(best.x), intervals(problem, best.x, lines), problem.held, *noise, differs,
               float(np.sqrt(((target - shift) ** 2).mean())), surprise + 2 * count,
               surprise + count * math.log(number), number, forecast_mv(model, data) if forecast else None,
               runs_of(data, residuals), drawn)


def runs_of(data: Measurements, residuals: Array) -> float:
    """The correlation of neighbouring standardised misses of a device."""
    same = data.device[1:] == data.device[:-1]
    return float((residuals[1:] * residuals[:-1])[same].mean() / (residuals ** 2).mean()) if same.any() else 0.0


def device_share(problem: Problem, shift: Array, sigma: Array) -> tuple[float, int]:
    """How much devices differ in the size of their shift, beyond what noise makes: a standard deviation, as a share,
    and its degrees of freedom. Size, overdrive and temperature take one device each; with none left none is known."""
    data, target = problem.data, problem.data.dvth_mv
    freedom = len(data.devices) - 1 - sum(each.needs in ("overdrive", "kelvin") for each in problem.free)
    if freedom < 1:
        return 0.0, 1
    scales, errors = [], []
    for device in range(len(data.devices)):
        mine = data.device == device
        weight = float((shift[mine] ** 2 / sigma[mine] ** 2).sum())
        scales.append(float((shift[mine] * target[mine] / sigma[mine] ** 2).sum()) / weight - 1)
        errors.append(1 / weight)
    return math.sqrt(max(0.0, float(np.sum(np.square(scales))) / freedom - float(np.mean(errors)))), freedom


def bootstrap(problem: Problem, best: Any, residuals: Array, shift: Array, sigma: Array,
              devices: tuple[float, int], samples: int, rng: np.random.Generator) -> list[Array]:
    """The parameters of bootstrap samples, on the scales on which they are fitted."""
    error = np.sqrt(np.maximum(np.diag(np.linalg.pinv(best.jac.T @ best.jac, rcond=1e-12)), 1e-30))
    data, number = problem.data, len(residuals)
    drawn_from = (residuals - residuals.mean()) * math.sqrt(number / max(1, number - len(problem.free)))
    if data.sigma_mv is not None:                       # what the file says of its noise counts, if the fit agrees
        size = max(1e-9, float(np.sqrt((drawn_from ** 2).mean())))
        drawn_from = drawn_from / size * max(1.0, size)
    lines = []
    for _ in range(samples):
        differs = devices[0] * math.sqrt(devices[1] / rng.chisquare(devices[1]))     # known no better than that
        scale = 1 + differs * rng.standard_normal(len(data.devices))
        target = shift * scale[data.device] + sigma * rng.choice(drawn_from, number)
        line, settled = refitted(problem, best.x, best.jac, target, sigma, error)
        if settled and data.sigma_mv is None:           # weights that other noise would have had are uncertain too
            now = problem.predicted(line)
            noise = noise_of(target - now, now)
            other = np.sqrt(noise[0] ** 2 + (noise[1] * now) ** 2 + 1e-12)
            line, settled = refitted(problem, line, best.jac * (sigma / other)[:, None], target, other, error)
        if not settled:
            with np.errstate(over="ignore"):
                line = least_squares(lambda at, aim=target: (problem.predicted(at) - aim) / sigma, best.x,
                                     x_scale="jac", max_nfev=12, ftol=1e-6, xtol=1e-6).x
        lines.append(line)
    return lines


def refitted(problem: Problem, start: Array, jac: Array, target: Array, sigma: Array,
             error: Array) -> tuple[Array, bool]:
    """The optimum near `start`, by Gauss-Newton steps from there whose derivatives follow by Broyden's updates. Says
    whether the steps became small against the standard errors."""
    line, slope = start, jac * error                    # parameters in units of their errors
    missed = (problem.predicted(line) - target) / sigma
    for _ in range(STEPS):
        step = np.linalg.lstsq(slope, -missed, rcond=1e-10)[0]
        step *= min(1.0, 1.0 / max(1e-300, float(np.abs(step * error).max())))
        line = line + step * error
        now = (problem.predicted(line) - target) / sigma
        if not np.isfinite(line).all() or not np.isfinite(now).all():
            return start, False
        if np.abs(step).max() < SETTLED:
            return line, True
        slope = slope + np.outer(now - missed - slope @ step, step) / float(step @ step)
        missed = now
    return line, False


def intervals(problem: Problem, best: Array, lines: Sequence[Array]) -> dict[str, Estimated]:
    """95 % intervals of each parameter, alone and jointly, from the deviations of bootstrap samples."""
    away = np.abs(np.array(lines) - best)
    spread = np.maximum(np.sqrt((away ** 2).mean(axis=0)), 1e-12)
    alone = np.quantile(away, 0.95, axis=0)
    jointly = float(np.quantile((away / spread).max(axis=1), 0.95)) * spread
    return {each.name: Estimated(*(from_line(each, float(best[i] + part)) for part in (
        0.0, -alone[i], alone[i], -max(jointly[i], alone[i]), max(jointly[i], alone[i]))))
        for i, each in enumerate(problem.free)}


def forecast_mv(model: Model, data: Measurements) -> float | None:
    """How far the last decade of stress is missed by a fit of the stress before it; None where that is too little."""
    parts = data.without_last_decade()
    if parts is None:
        return None
    early, late = parts
    try:
        found = fit(model, early, samples=2, forecast=False)
    except UsageError:
        return None
    missed = data.predicted(model, found.values)[late] - data.dvth_mv[late]
    return float(np.sqrt((missed ** 2).mean()))


def compared(models: Sequence[Model], data: Measurements, samples: int, seed: int,
             said: Callable[[str], None] = lambda name: None) -> list[Fit]:
    """Each model fitted, the least AIC first."""
    fits = []
    for model in models:
        said(model.name)
        fits.append(fit(model, data, samples, seed))
    return sorted(fits, key=lambda each: each.aic)
