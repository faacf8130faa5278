"""Hawkes processes drawn at random: by thinning, and, for linear ones, as clusters of offspring."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from archfab.core import UsageError
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes.parameters import Parameters

Link = Callable[[np.ndarray], np.ndarray]


def identity(x: np.ndarray) -> np.ndarray:
    return x


def thinning(parameters: Parameters, windows: Iterable[tuple[float, float]], rng: np.random.Generator,
             link: Link = identity, most: int = 1_000_000) -> list[Sequence]:
    """Sequences over windows of time, all at once, each from an empty past (Ogata, IEEE Trans. Inf. Theory 1981).

    Between events excitation falls and inhibition fades, so that the intensity stays below that of the excitations
    alone as they are now: candidates come at that rate and are kept with the share that the true intensity has of it.

    :param link: of the linear intensity, never falling and never below 0; see `linked.LINKS`.
    :param most: events in all after which a process is said to explode.
    """
    start, end = np.array(list(windows), float).reshape(-1, 2).T
    if link is identity and (parameters.weights < 0).any():
        raise UsageError("a linear process has no weights below 0; inhibition needs a link: softplus or relu")
    now, rows = start.copy(), np.arange(len(start))
    state = np.zeros((len(start), len(parameters.weights), parameters.decays.shape[1], parameters.kinds))
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    base, decays, kernels, count = parameters.base, parameters.decays, parameters.kernels, 0
    while len(rows):
        bound = link(base + np.maximum(state, 0).sum((1, 2))).sum(1)
        wait = rng.standard_exponential(len(rows)) / np.maximum(bound, 1e-300)
        now = now + wait
        inside = now <= end[rows]
        if not inside.all():
            now, rows, state, wait, bound = now[inside], rows[inside], state[inside], wait[inside], bound[inside]
        state = state * np.exp(-decays * wait[:, None, None, None])
        cumulated = link(base + state.sum((1, 2))).cumsum(1)
        drawn = rng.random(len(rows)) * bound
        kept = np.flatnonzero(drawn < cumulated[:, -1])
        if len(kept):
            types = (cumulated[kept] <= drawn[kept, None]).sum(1)
            source = types if state.shape[2] > 1 else 0
            state[kept, :, source] += kernels[:, types].swapaxes(0, 1)
            found.append((rows[kept], now[kept], types))
            if (count := count + len(kept)) > most:
                raise UsageError(f"more than {most:,} events before the windows end: {parameters.verdict} Ask for "
                                 "shorter windows, or for more events by `most`")
    return gathered(found, start, end)


def clusters(parameters: Parameters, windows: Iterable[tuple[float, float]], rng: np.random.Generator,
             most: int = 10_000_000) -> list[Sequence]:
    """Sequences of a linear process as immigrants and their offspring, generation by generation (Hawkes and Oakes,
    J. Appl. Prob. 1974): another way to the same law, exact too, and some hundred times as fast."""
    start, end = np.array(list(windows), float).reshape(-1, 2).T
    if (parameters.weights < 0).any():
        raise UsageError("a process with weights below 0 has no clusters; simulate it by thinning")
    born = rng.poisson((end - start)[:, None] * parameters.base)
    rows, types = (np.repeat(index.ravel(), born.ravel()) for index in np.indices(born.shape))
    times = rng.uniform(start[rows], end[rows])
    found, count = [(rows, times, types)], len(rows)
    decays = np.broadcast_to(parameters.decays, parameters.weights.shape)
    while len(rows):
        children = rng.poisson(parameters.weights[:, types])                    # [M, events, K]
        component, parent, kind = (np.repeat(index.ravel(), children.ravel()) for index in np.indices(children.shape))
        times = times[parent] + rng.standard_exponential(len(parent)) / decays[component, types[parent], kind]
        rows = rows[parent]
        inside = times <= end[rows]
        rows, times, types = rows[inside], times[inside], kind[inside]
        found.append((rows, times, types))
        if (count := count + len(rows)) > most:
            raise UsageError(f"more than {most:,} events before the windows end: {parameters.verdict}")
    return gathered(found, start, end)


def gathered(found: list[tuple[np.ndarray, np.ndarray, np.ndarray]], start: np.ndarray,
             end: np.ndarray) -> list[Sequence]:
    """Events as (row, time, type) in sequences, one for each window."""
    if not found:
        found = [(np.zeros(0, int), np.zeros(0), np.zeros(0, int))]
    rows, times, types = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.lexsort((times, rows))
    edges = np.searchsorted(rows[order], np.arange(len(start) + 1))
    return [Sequence(times[order[low:high]], types[order[low:high]].astype(np.int64), float(begin), float(stop))
            for low, high, begin, stop in zip(edges[:-1], edges[1:], start, end, strict=True)]
