"""Maximum likelihood for linear Hawkes processes: convex for given decays, and decays by their profile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from archfab.core import UsageError
from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.likelihood import Gradient, gradient, log_likelihood
from archfab.tasks.events.hawkes.parameters import Parameters

TIES = ("shared", "target", "pair")
PRECISE = 1e-9      # of the log-likelihood: how much a further step of Newton's method may still gain


@dataclass(frozen=True)
class Fit:
    """The most likely parameters, how likely they make the data, and what has to be said of them.

    :param allowed: [j, k], whether j may excite k. :param free: whether decays were fitted.
    :param tried: the log-likelihood that each start ended in.
    """

    parameters: Parameters
    log_likelihood: float
    allowed: np.ndarray
    free: bool
    tried: tuple[float, ...]
    notes: tuple[str, ...]


def fit(history: History, rng: np.random.Generator, decays: np.ndarray | float | None = None, components: int = 1,
        tie: str = "shared", allowed: np.ndarray | None = None, starts: int = 3) -> Fit:
    """The most likely base rates, weights (none below 0) and, where they are not given, decays.

    Given the decays the log-likelihood is concave and falls apart by target: each is solved by Newton's method, whose
    step is a non-negative least-squares problem. Decays are found by L-BFGS-B on the profile, whose gradient is the
    partial one (Danskin); several starts, since the profile may have several tops.

    :param decays: given ones: a number, [M], or in a shape of `Parameters`. :param components: exponentials to fit.
    :param tie: which pairs share a fitted decay: all (`shared`), those of a `target`, or none (`pair`).
    :param allowed: [j, k], whether j may excite k; all may by default.
    :param starts: the first is where a coarse grid is highest, the others are drawn at random.
    """
    kinds = history.kinds
    mask = np.ones((kinds, kinds), bool) if allowed is None else np.asarray(allowed, bool)
    if mask.shape != (kinds, kinds):
        raise UsageError(f"`allowed` has the shape {mask.shape}; it says for each of {kinds} x {kinds} pairs (source, "
                         "target) whether the one may excite the other")
    if not history.counts.any():
        raise UsageError("there is no event to learn from: each sequence is empty, or has one event that opens it")
    if decays is not None:
        given = np.asarray(decays, float)
        given = given.reshape(-1, 1, 1) if given.ndim < 2 else given
        parameters = solve(history, given, mask)
        value = log_likelihood(history, parameters)
        return Fit(parameters, value, mask, False, (value,), notes(history, parameters, False))
    if tie not in TIES or components < 1 or starts < 1:
        raise UsageError(f"decays are tied as one of {', '.join(TIES)}, with components and starts from 1 up; got "
                         f"'{tie}', {components} and {starts}")
    return Profile(history, mask, (components, 1 if tie != "pair" else kinds, 1 if tie == "shared" else kinds)).fit(
        rng, starts)


class Profile:
    """The log-likelihood as a function of the decays alone, the rest being the best for them."""

    def __init__(self, history: History, allowed: np.ndarray, shape: tuple[int, int, int]) -> None:
        self.history, self.allowed, self.shape = history, allowed, shape
        gaps = history.gaps[history.gaps > 0]
        self.gap = float(np.median(gaps)) if len(gaps) else history.duration
        self.low = float(np.log(0.1 / history.length.mean()))
        self.high = max(self.low + 1, float(np.log(20 / (np.quantile(gaps, 0.05) if len(gaps) else self.gap))))
        self.last: Parameters | None = None

    def fit(self, rng: np.random.Generator, starts: int) -> Fit:
        found = [self.climb(start) for start in self.starts(rng, starts)]
        value, best = max(found, key=lambda each: each[0])
        order = np.argsort(best.decays.mean((1, 2)), kind="stable")     # exponentials from slow to fast
        best = Parameters(best.base, best.weights[order], best.decays[order])
        return Fit(best, value, self.allowed, True, tuple(value for value, _ in found),
                   (*notes(self.history, best, True), *self.said(best)))

    def said(self, best: Parameters) -> list[str]:
        at = np.log(best.decays)
        used = np.broadcast_to(best.weights > 0, best.weights.shape).any(
            tuple(axis for axis in (1, 2) if self.shape[axis] == 1), keepdims=True)
        stuck = used & ((at < self.low + 1e-3) | (at > self.high - 1e-3))
        return [f"{int(stuck.sum())} of {at.size} decays lie at the end of the range that was searched, "
                f"{np.exp(self.low):.3g} to {np.exp(self.high):.3g}"] if stuck.any() else []

    def starts(self, rng: np.random.Generator, number: int) -> list[np.ndarray]:
        """Logarithms of decays: the best of a grid first, then random ones."""
        components = self.shape[0]
        middle = np.log(1 / self.gap)
        grid = np.clip(np.linspace(middle - 5, middle + 2, 6), self.low, self.high)
        spread = np.linspace(-1.2, 1.2, components) if components > 1 else np.zeros(1)
        rows = [np.clip(at + spread, self.low, self.high) for at in grid]
        first = max(rows, key=lambda row: self.value(self.full(row))[0])
        others = [np.sort(rng.uniform(max(self.low, middle - 5), min(self.high, middle + 2), components))
                  for _ in range(number - 1)]
        return [self.full(row) for row in (first, *others)]

    def full(self, row: np.ndarray) -> np.ndarray:
        return np.broadcast_to(row[:, None, None], self.shape).ravel()

    def value(self, log_decays: np.ndarray) -> tuple[float, Parameters, Gradient]:
        decays = np.exp(log_decays).reshape(self.shape)
        self.last = solve(self.history, decays, self.allowed, self.last)
        value, slopes = gradient(self.history, self.last)
        return value, self.last, slopes

    def climb(self, start: np.ndarray) -> tuple[float, Parameters]:
        from scipy.optimize import minimize
        scale = 1 / len(self.history.order)

        def objective(log_decays: np.ndarray) -> tuple[float, np.ndarray]:
            value, parameters, slopes = self.value(log_decays)
            return -value * scale, -(slopes.decays * parameters.decays).ravel() * scale

        done = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(self.low, self.high)] * len(start),
                        options={"maxiter": 200, "ftol": 1e-13, "gtol": 1e-3 * scale})
        value, parameters, _ = self.value(done.x)
        return value, parameters


def notes(history: History, parameters: Parameters, free: bool) -> tuple[str, ...]:
    """What a user has to know of a fit."""
    found = [] if parameters.radius < 1 else [parameters.verdict]
    silent = np.flatnonzero(history.counts == 0)
    if len(silent):
        found.append(f"types without a scored event have a base rate of half an event in all: {silent.tolist()}")
    return tuple(found)


def solve(history: History, decays: np.ndarray, allowed: np.ndarray, start: Parameters | None = None) -> Parameters:
    """The most likely base rates and weights for given decays; a type without events gets half an event in all."""
    base = np.full(history.kinds, 0.5 / history.duration)
    weights = np.zeros((len(decays), history.kinds, history.kinds))
    found = Parameters(base, weights, decays)
    sums, covered = history.moments(decays)[0], history.covered(decays)[0]
    for k, part in enumerate(history.parts):
        if history.counts[k]:
            design, cost = columns(history, sums[part], covered, found, k)
            used = np.concatenate([[True], np.broadcast_to(allowed[:, k], weights.shape[:2]).ravel()]) & (cost > 0)
            before = None if start is None else np.concatenate([start.base[k:k + 1], start.weights[:, :, k].ravel()])
            answer = np.zeros(len(cost))
            answer[used] = newton(design[:, used], cost[used], None if before is None else before[used])
            base[k], weights[:, :, k] = answer[0], answer[1:].reshape(weights.shape[:2])
    return Parameters(base, weights, decays)


def columns(history: History, sums: np.ndarray, covered: np.ndarray, parameters: Parameters,
            k: int) -> tuple[np.ndarray, np.ndarray]:
    """For target k: what one unit of base and of each weight adds to the intensities at its events, and to the
    compensator."""
    kernels = (parameters.column(k) * sums).reshape(len(sums), sums[0].size)
    design = np.concatenate([np.ones((len(sums), 1)), kernels], axis=1)
    cost = covered[:, :, k if covered.shape[2] > 1 else 0]
    return design, np.concatenate([[history.duration], cost.ravel()])


def newton(design: np.ndarray, cost: np.ndarray, start: np.ndarray | None = None, most: int = 100) -> np.ndarray:
    """The x >= 0 that makes sum log(design x) - cost x largest.

    Each step maximises the quadratic model under x >= 0, exactly, as non-negative least squares; since the function is
    self-concordant, halved steps always climb (Boyd and Vandenberghe, Convex Optimization, 9.6).
    """
    from scipy.optimize import nnls
    n = len(design)
    x = n / (len(cost) * cost) if start is None else np.maximum(start, 1e-8 * n / cost)
    intensity = design @ x
    value = np.log(intensity).sum() - cost @ x
    for _ in range(most):
        scaled = design / intensity[:, None]
        slope = scaled.sum(0) - cost
        curve = scaled.T @ scaled
        size = np.sqrt(np.maximum(np.diag(curve), 1e-300))
        size = np.where(np.diag(curve) > 0, size, cost)         # a column that meets no event: only its cost counts
        lengths, axes = np.linalg.eigh(curve / np.outer(size, size))
        roots = np.sqrt(np.maximum(lengths, 1e-12 * lengths[-1]))
        target = roots * (axes.T @ (size * x)) + axes.T @ (slope / size) / roots
        step = nnls(roots[:, None] * axes.T, target, maxiter=30 * len(x))[0] / size - x
        gain, share = float(slope @ step), 1.0
        if gain < PRECISE:
            break
        while share > 1e-10:
            tried = design @ (x + share * step)
            better = np.log(tried).sum() - cost @ (x + share * step) if tried.min() > 0 else -np.inf
            if better >= value + 1e-4 * share * gain:
                break
            share /= 2
        else:
            break
        x, intensity, value = np.maximum(x + share * step, 0.0), tried, better
    return x
