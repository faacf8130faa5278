"""The next event: when it is expected, and of which type, from intensities as functions of the time that passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

PANELS, NODES = 40, 8


@dataclass(frozen=True)
class Prediction:
    """For each event, from what came before it alone.

    :param wait: [n], the expected time from the event before (or the start). :param median: [n], the median of it.
    :param chances: [n, K], of the type, whenever the event comes. :param never: [n], how likely no event ever comes.
    """

    wait: np.ndarray
    median: np.ndarray
    chances: np.ndarray
    never: np.ndarray

    @property
    def types(self) -> np.ndarray:
        """The most probable type of each event."""
        return self.chances.argmax(1)


def predict(intensity: Callable[[slice, np.ndarray], np.ndarray], number: int, far: float, chunk: int) -> Prediction:
    """Survival, its integral and the chances of types, by Gauss and Legendre's rule on panels of doubling length.

    :param intensity: for some of the events and waits [Q]: intensities [n, Q, K] if nothing happens until then.
    :param number: of events. :param far: a wait by which an event has almost surely come.
    :param chunk: how many events are worked on at once.
    """
    at, weight, within = panels()
    found = []
    for low in range(0, number, chunk):
        rates = intensity(slice(low, min(low + chunk, number)), at * far)
        total = rates.sum(2)
        by_panel = total.reshape(len(total), PANELS, NODES)
        spans = np.diff(edges())[:, None] * far
        ended = (by_panel * weight.reshape(PANELS, NODES) * far).sum(2).cumsum(1)       # compensator at panel ends
        started = np.concatenate([np.zeros((len(total), 1)), ended[:, :-1]], axis=1)
        reached = started[:, :, None] + (by_panel @ within.T) * spans
        alive = np.exp(-reached.reshape(len(total), -1))
        wait = (alive * weight).sum(1) * far
        chances = np.einsum("nqk,nq->nk", rates, alive * weight * far)
        grown = np.concatenate([np.zeros((len(total), 1)), reached.reshape(len(total), -1)], axis=1)
        median = np.array([np.interp(np.log(2), row, np.append(0.0, at) * far, right=np.inf) for row in grown])
        never = np.exp(-ended[:, -1])
        found.append((np.where(never > 1e-6, np.inf, wait), median,
                      chances / np.maximum(chances.sum(1, keepdims=True), 1e-300), never))
    return Prediction(*(np.concatenate(each) for each in zip(*found, strict=True)))


def edges() -> np.ndarray:
    """The ends of the panels, from 0 to 1."""
    return np.concatenate([[0.0], 2.0 ** np.arange(1 - PANELS, 1)])


@cache
def panels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and weights on 0 to 1, and the matrix that integrates from a panel's beginning to each point in it."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    x, w = (x + 1) / 2, w / 2
    powers = np.vander(x, NODES, increasing=True)
    within = (powers * x[:, None] / np.arange(1, NODES + 1)) @ np.linalg.inv(powers)
    length = np.diff(edges())[:, None]
    return (edges()[:-1, None] + length * x).ravel(), (length * w).ravel(), within
