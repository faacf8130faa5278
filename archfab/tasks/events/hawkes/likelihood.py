"""The exact log-likelihood of a linear Hawkes process, its gradient and its Hessian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.parameters import Parameters


@dataclass(frozen=True)
class Gradient:
    """Derivatives of the log-likelihood, in the shapes of `Parameters`."""

    base: np.ndarray
    weights: np.ndarray
    decays: np.ndarray


def log_likelihood(history: History, parameters: Parameters) -> float:
    """Sum of the log-intensities at the events less the compensator, in O(N K); the compensator is exact."""
    return float(sum(by_type(history, parameters)))


def by_type(history: History, parameters: Parameters) -> np.ndarray:
    """The log-likelihood of each type's events, [K]; it is their sum."""
    values = np.bincount(history.types[history.order], np.log(at_events(history, parameters)),
                         minlength=history.kinds)
    covered = history.covered(parameters.decays)[0]
    return values - parameters.base * history.duration - (parameters.weights * covered).sum((0, 1))


def at_events(history: History, parameters: Parameters) -> np.ndarray:
    """The intensity of each scored event's own type just before it, in `history.order`; 0 gives log -inf."""
    sums = history.moments(parameters.decays)[0]
    found = np.empty(len(history.order))
    for k, part in enumerate(history.parts):
        kernel = (parameters.weights[:, :, k] * parameters.column(k)).ravel()
        found[part] = parameters.base[k] + sums[part].reshape(history.counts[k], len(kernel)) @ kernel
    return found


def gradient(history: History, parameters: Parameters) -> tuple[float, Gradient]:
    """The log-likelihood and its exact gradient by base, weights and decays, in O(N K)."""
    sums, first = history.moments(parameters.decays, 1)
    covered, fallen = history.covered(parameters.decays, 1)
    value, base = 0.0, np.empty(history.kinds)
    weights, decays = np.empty((2, *parameters.weights.shape))
    for k, part in enumerate(history.parts):
        decay, own = parameters.column(k), parameters.weights[:, :, k]
        flat = sums[part].reshape(history.counts[k], own.size)
        intensity = parameters.base[k] + flat @ (own * decay).ravel()
        inverse = 1 / intensity
        total = (inverse @ flat).reshape(own.shape)
        aged = (inverse @ first[part].reshape(flat.shape)).reshape(own.shape)
        value += float(np.log(intensity).sum())
        base[k] = inverse.sum() - history.duration
        column = k if covered.shape[2] > 1 else 0
        weights[:, :, k] = decay * total - covered[:, :, column]
        decays[:, :, k] = own * (total - decay * aged - fallen[:, :, column])
    value -= float(parameters.base.sum() * history.duration + (parameters.weights * covered).sum())
    return value, Gradient(base, weights, gathered(decays, parameters.decays.shape))


def gathered(pairs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Derivatives by pair, [M, K, K], added up over the pairs that share a decay."""
    axes = tuple(axis for axis in (1, 2) if shape[axis] == 1)
    return pairs.sum(axes, keepdims=True)


def hessian(history: History, parameters: Parameters) -> np.ndarray:
    """The exact matrix of second derivatives by (base, weights, decays), each in C order, one after the other."""
    sums, first, second = history.moments(parameters.decays, 2)
    _, fallen, bent = history.covered(parameters.decays, 2)
    m, k = len(parameters.weights), parameters.kinds
    cells = np.arange(m * k * k).reshape(m, k, k)
    decays = np.arange(parameters.decays.size).reshape(parameters.decays.shape)
    offset = k + m * k * k
    found = np.zeros((offset + parameters.decays.size,) * 2)
    for target, part in enumerate(history.parts):
        decay, own = parameters.column(target), parameters.weights[:, :, target]
        column = target if fallen.shape[2] > 1 else 0
        n, size = int(history.counts[target]), own.size
        kernel = (decay * sums[part]).reshape(n, size)
        slope = sums[part] - decay * first[part]                # of decay exp(-decay x), by the decay
        curve = decay * second[part] - 2 * first[part]
        inverse = 1 / (parameters.base[target] + kernel @ own.ravel())
        # rows of the Jacobian of the intensity by this target's base, weights and (pair) decays
        jacobian = np.concatenate([np.ones((n, 1)), kernel, (own * slope).reshape(n, size)], axis=1) * inverse[:, None]
        where = np.concatenate([[target], k + cells[:, :, target].ravel(),
                                offset + np.broadcast_to(decays[:, :, column], own.shape).ravel()])
        block = -jacobian.T @ jacobian
        mixed = inverse @ slope.reshape(n, size) - fallen[:, :, column].ravel()
        twice = own.ravel() * (inverse @ curve.reshape(n, size) - bent[:, :, column].ravel())
        index = np.arange(size)
        block[1 + index, 1 + size + index] += mixed
        block[1 + size + index, 1 + index] += mixed
        block[1 + size + index, 1 + size + index] += twice
        np.add.at(found, (where[:, None], where[None, :]), block)
    return found
