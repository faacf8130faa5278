"""The compensator of a linear Hawkes process from event to event, exact, and its intensity at any time."""

from __future__ import annotations

import numpy as np

from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.parameters import Parameters


def excitations(history: History, parameters: Parameters) -> np.ndarray:
    """What past events add to each type's intensity just after each event, by exponential and, where decays differ by
    pair, by source: [N, M, 1 or K, K]."""
    m, k = len(parameters.weights), history.kinds
    shape = parameters.decays.shape
    found = np.empty((len(history), m, shape[1], k))
    kernels = parameters.kernels
    for component in range(m):
        for column in range(shape[2]):
            state = history.states(parameters.decays[component, :, column])
            targets = slice(None) if shape[2] == 1 else slice(column, column + 1)
            if shape[1] == 1:
                found[:, component, 0, targets] = state @ kernels[component, :, targets]
            else:
                found[:, component, :, targets] = state[:, :, None] * kernels[component, :, targets]
    return found


def increments(history: History, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """The integral of each type's intensity from the event before (or the start) to each event, [N, K], and from the
    last event of each sequence (or the start) to the end of its window, [S, K]."""
    after = parameters.base * history.stays[:, None]
    if len(parameters.weights):
        share = -np.expm1(-parameters.decays * history.stays[:, None, None, None]) / parameters.decays
        after = after + (excitations(history, parameters) * share).sum((1, 2))
    before = np.empty_like(after)
    before[1:] = after[:-1]
    before[history.first] = parameters.base * history.times[history.first, None]
    tail = parameters.base * history.length[:, None]
    last = np.append(history.first[1:], True)[:len(history)]
    tail[history.sequence[last]] = after[last]
    return before, tail


def by_sequence(history: History, before: np.ndarray, tail: np.ndarray) -> list[np.ndarray]:
    """Increments as one array [n + 1, K] for each sequence."""
    cuts = np.split(before, np.cumsum(history.sizes)[:-1])
    return [np.concatenate([rows, end[None]]) for rows, end in zip(cuts, tail, strict=True)]


def intensity(sequence: Sequence, parameters: Parameters, at: np.ndarray) -> np.ndarray:
    """Each type's intensity at some times, [Q, K]: what is known just before them (at an event, without it)."""
    history = History([sequence], parameters.kinds)
    found = np.broadcast_to(parameters.base, (len(at), parameters.kinds)).copy()
    seen = np.searchsorted(sequence.times, at, side="left")             # how many events came before
    some = seen > 0
    if some.any() and len(parameters.weights):
        age = at[some] - sequence.times[seen[some] - 1]
        fallen = excitations(history, parameters)[seen[some] - 1] * np.exp(-parameters.decays
                                                                           * age[:, None, None, None])
        found[some] += fallen.sum((1, 2))
    return found
