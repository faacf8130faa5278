"""How well a Hawkes process is known: 95 % intervals from the observed information, or by parametric bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from archfab.core import UsageError
from archfab.tasks.events.hawkes.fitting import Fit, fit
from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.likelihood import gradient, hessian
from archfab.tasks.events.hawkes.parameters import Parameters
from archfab.tasks.events.hawkes.simulation import clusters

Z = 1.959963984540054       # of a normal variable, 95 %


@dataclass(frozen=True)
class Range:
    """Lower and upper ends of intervals, in the shape of what they are of; nan where the data does not tell."""

    low: np.ndarray
    high: np.ndarray

    def holds(self, value: np.ndarray) -> np.ndarray:
        return (self.low <= value) & (value <= self.high)


@dataclass(frozen=True)
class Intervals:
    """95 % intervals of parameters and of what follows from them; `method` says how they were had."""

    base: Range
    weights: Range
    decays: Range
    branching: Range
    radius: Range
    method: str


def observed(history: History, found: Fit) -> Intervals:
    """Intervals from the exact Hessian of the log-likelihood at its top.

    Base rates and decays: normal on the logarithm. Weights above 0: normal, cut at 0. Weights that the fit put at 0,
    where the likelihood falls from the edge: those values at which the profile of the likelihood's quadratic model has
    not yet fallen by 1.92, which is cautious when the true value is 0 (the deviance is then a mixture with half its
    mass at 0: Self and Liang, JASA 1987). Given decays count as known. Forbidden weights are 0.
    """
    parameters = found.parameters
    kinds, m = parameters.kinds, len(parameters.weights)
    theta = np.concatenate([parameters.base, parameters.weights.ravel(), parameters.decays.ravel()])
    offset = kinds + parameters.weights.size
    allowed = np.broadcast_to(found.allowed, parameters.weights.shape).ravel()
    sourced = np.broadcast_to((np.bincount(history.types, minlength=kinds) > 0)[:, None],
                              parameters.weights.shape).ravel()
    axes = tuple(axis for axis in (1, 2) if parameters.decays.shape[axis] == 1)
    used = (parameters.weights > 0).any(axis=axes, keepdims=True).ravel() & found.free
    free = np.concatenate([(parameters.base > 0) & (history.counts > 0), theta[kinds:offset] > 0, used])
    information = -hessian(history, parameters)
    covariance = inverse(information, free)
    edge = kinds + np.flatnonzero((theta[kinds:offset] == 0) & allowed & sourced)
    error = np.sqrt(np.where(np.diag(covariance) > 0, np.diag(covariance), np.nan))
    low, high = theta - Z * error, theta + Z * error
    with np.errstate(invalid="ignore", over="ignore"):
        for part in (slice(0, kinds), slice(offset, None)):
            low[part] = theta[part] * np.exp(-Z * error[part] / theta[part])
            high[part] = theta[part] * np.exp(Z * error[part] / theta[part])
    inner = slice(kinds, offset)
    low[inner] = np.where(allowed, np.maximum(low[inner], 0.0), 0.0)
    high[inner] = np.where(allowed, high[inner], 0.0)
    low[edge], high[edge] = 0.0, from_edge(history, parameters, information, covariance, edge)
    none = kinds + np.flatnonzero(allowed & ~sourced)
    low[none], high[none] = 0.0, np.inf
    if not found.free:
        low[offset:], high[offset:] = theta[offset:], theta[offset:]
    cut = (slice(0, kinds), inner, slice(offset, None))
    shapes = (parameters.base.shape, parameters.weights.shape, parameters.decays.shape)
    base, weights, decays = (Range(low[part].reshape(shape), high[part].reshape(shape))
                             for part, shape in zip(cut, shapes, strict=True))
    return Intervals(base, weights, decays, branching(parameters, weights, covariance[inner, inner]),
                     radius(parameters, covariance[inner, inner]),
                     "observed information" if m else "observed information of a Poisson process")


def inverse(information: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The covariance of the free parameters, 0 elsewhere; nan for those whose information is not positive."""
    found = np.zeros_like(information)
    index = np.flatnonzero(free)
    block = information[np.ix_(index, index)]
    size = np.sqrt(np.maximum(np.diag(block), 1e-300))
    lengths, axes = np.linalg.eigh(block / np.outer(size, size)) if len(index) else (np.ones(0), np.zeros((0, 0)))
    flat = lengths < 1e-10
    inner = (axes[:, ~flat] / lengths[~flat]) @ axes[:, ~flat].T / np.outer(size, size)
    loose = (np.abs(axes[:, flat]) > 1e-3).any(1)       # what the likelihood does not tell apart
    inner[loose] = inner[:, loose] = np.nan
    found[np.ix_(index, index)] = inner
    return found


def from_edge(history: History, parameters: Parameters, information: np.ndarray, covariance: np.ndarray,
              edge: np.ndarray) -> np.ndarray:
    """Upper ends for weights a at 0, where slope a + curve a^2 / 2 = 1.92 have been lost; slope is the fall at 0."""
    slopes = gradient(history, parameters)[1].weights.ravel()[edge - parameters.kinds]
    known = np.nan_to_num(covariance)
    cross = information[edge]
    own = np.diag(information)[edge]
    curve = own - np.einsum("ij,jk,ik->i", cross, known, cross)
    slope, curve = np.maximum(-slopes, 0.0), np.maximum(curve, 1e-12 * own)
    steep = slope + np.sqrt(slope**2 + Z**2 * curve)
    return np.where(steep > 0, Z**2 / np.where(steep > 0, steep, 1.0), np.inf)


def branching(parameters: Parameters, weights: Range, covariance: np.ndarray) -> Range:
    """Of the weights summed over the exponentials: as the weights where there is one, else by their covariance, never
    narrower above than the widest of them."""
    m, k = len(parameters.weights), parameters.kinds
    if m == 1:
        return Range(weights.low[0], weights.high[0])
    if m == 0:
        return Range(np.zeros((k, k)), np.zeros((k, k)))
    total = covariance.reshape(m, k * k, m, k * k).sum((0, 2)).diagonal().reshape(k, k)
    half = Z * np.sqrt(np.maximum(total, 0.0))
    value = parameters.branching
    return Range(np.maximum(value - half, 0.0), np.maximum(value + half, weights.high.max(0)))


def radius(parameters: Parameters, covariance: np.ndarray) -> Range:
    """Of the spectral radius, by the delta method: its derivative by the matrix is u v^T / u.v, u and v the left and
    right vectors (Perron and Frobenius)."""
    m, value = len(parameters.weights), parameters.radius
    lengths, right = np.linalg.eig(parameters.branching)
    others, left = np.linalg.eig(parameters.branching.T)
    v = np.abs(right[:, np.argmax(lengths.real)].real)
    u = np.abs(left[:, np.argmax(others.real)].real)
    if u @ v < 1e-12 or not m:
        return Range(np.array(0.0 if not m else np.nan), np.array(0.0 if not m else np.nan))
    slope = np.tile((np.outer(u, v) / (u @ v)).ravel(), m)
    half = Z * np.sqrt(max(float(slope @ covariance @ slope), 0.0)) if not np.isnan(covariance).any() else np.nan
    return Range(np.array(max(0.0, value - half)), np.array(value + half))


def bootstrap(history: History, found: Fit, rng: np.random.Generator, number: int = 200,
              report: Callable[[int], None] | None = None) -> Intervals:
    """Percentile intervals of fits to sequences that are drawn from the fit, over the same windows (each from an
    empty past) and fitted in the same way, from where the fit ended."""
    if number < 40:
        raise UsageError(f"95 % intervals need 40 draws or more, not {number}")
    parameters = found.parameters
    if parameters.radius >= 1:
        raise UsageError(f"no bootstrap: {parameters.verdict}")
    m, tie = len(parameters.weights), {(1, 1): "shared", (1, parameters.kinds): "target"}.get(
        parameters.decays.shape[1:], "pair")
    windows = [(0.0, float(length)) for length in history.length]
    drawn: list[Parameters] = []
    while len(drawn) < number:
        again = History(clusters(parameters, windows, rng), parameters.kinds)
        how = {"components": m, "tie": tie, "starts": 1} if found.free else {"decays": parameters.decays}
        drawn.append(fit(again, rng, allowed=found.allowed, **how).parameters)
        if report:
            report(len(drawn))

    def spread(values: list[np.ndarray]) -> Range:
        return Range(*np.quantile(np.stack(values), [0.025, 0.975], axis=0))

    return Intervals(spread([each.base for each in drawn]), spread([each.weights for each in drawn]),
                     spread([each.decays for each in drawn]), spread([each.branching for each in drawn]),
                     spread([np.array(each.radius) for each in drawn]), f"parametric bootstrap, {number} draws")
