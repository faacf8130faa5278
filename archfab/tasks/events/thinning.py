"""Sequences drawn from any point-process network, by thinning with a bound that adapts (Ogata, 1981)."""

from __future__ import annotations

from collections.abc import Sequence as Row
from typing import Any

import numpy as np
import torch

from archfab.core import UsageError
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.evaluation import ELEMENTS
from archfab.tasks.events.heads import intensities_alone

POINTS = 12         # at which the intensity is looked at for a bound
MARGIN = 1.5        # of the bound over the largest value seen


class Paths:
    """Many sequences that grow side by side: their rows, as networks see them, and how long they have waited since.

    :param histories: what each one begins with. :param opening: the type of row 0. :param rows: most that are kept;
        older events are forgotten, as where long sequences are cut.
    """

    def __init__(self, histories: Row[Sequence], opening: int, unit: float, rows: int) -> None:
        n = len(histories)
        self.opening, self.unit, self.rows = opening, unit, rows
        self.types = np.full((n, rows), opening, np.int64)
        self.gaps = np.zeros((n, rows), np.float32)
        self.last = np.zeros(n, np.int64)
        self.now = np.array([each.start for each in histories], float)
        self.waited = np.zeros(n)
        self.drawn: list[list[tuple[float, int]]] = [[] for _ in histories]
        for i, each in enumerate(histories):
            kept = np.searchsorted(each.times, each.times[-rows + 1], "left") if len(each) >= rows else 0
            start = each.start if kept == 0 else each.times[kept]
            times, types = each.times[kept:], each.types[kept:]
            n = min(len(times), rows - 1)
            self.types[i, 1:n + 1] = types[-n:] if n else types[:0]
            self.gaps[i, 1:n + 1] = (np.diff(times, prepend=start) / unit)[-n:] if n else 0
            self.last[i] = n
            self.now[i] = each.end
            self.waited[i] = (each.end - (times[-1] if n else each.start)) / unit

    def intensities(self, model: Any, chosen: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """[n, Q, K] at times [n, Q] after the last event of some paths, in network units."""
        length = int(self.last[chosen].max()) + 1
        size, found = max(1, ELEMENTS // length), []
        for low in range(0, len(chosen), size):
            part = chosen[low:low + size]
            types, gaps = (torch.from_numpy(each[part, :length]) for each in (self.types, self.gaps))
            waits = torch.from_numpy(queries[low:low + size]).float()[:, None]
            with torch.no_grad(), intensities_alone(model, torch.from_numpy(self.last[part])):
                found.append(model(types, gaps, waits)[0][:, 0])
        return torch.cat(found).double().numpy()

    def add(self, i: int, kind: int) -> None:
        """An event of a path at its present time."""
        self.drawn[i].append((float(self.now[i]), kind))
        if self.last[i] == self.rows - 1:
            self.types[i, 1:-1], self.gaps[i, 1:-1] = self.types[i, 2:].copy(), self.gaps[i, 2:].copy()
            self.gaps[i, 1] = 0
            self.last[i] -= 1
        self.last[i] += 1
        self.types[i, self.last[i]], self.gaps[i, self.last[i]] = kind, self.waited[i]
        self.waited[i] = 0.0


def simulate(model: Any, histories: Row[Sequence], until: Row[float], rng: np.random.Generator, types: int,
             unit: float, rows: int, most: int = 10_000) -> list[Sequence]:
    """What comes after each history: sequences over windows from its end to `until`, drawn from the network.

    The total intensity of the time to come is looked at in 12 points; 1.5 times the largest is the bound, at whose rate
    candidates come. A candidate whose intensity is above the bound shows that the bound was too low: it is raised and
    the stretch drawn again from there.

    :param unit: the time that the network counts as 1.
    :param most: events drawn for one sequence after which the process is said to explode.
    """
    model.cpu().eval()
    paths, end = Paths(histories, types, unit, rows), np.asarray(until, float)
    begun, margin = paths.now.copy(), np.full(len(end), MARGIN)
    going = np.flatnonzero(paths.now < end)
    while len(going):
        left = (end[going] - paths.now[going]) / unit
        here = paths.intensities(model, going, paths.waited[going, None]).sum((1, 2))
        span = np.minimum(left, 2 / np.maximum(here, 1e-9))
        queries = paths.waited[going, None] + span[:, None] * np.linspace(0, 1, POINTS)
        bound = margin[going] * paths.intensities(model, going, queries).sum(2).max(1)
        wait = rng.standard_exponential(len(going)) / np.maximum(bound, 1e-12)
        inside = wait < span
        step = np.minimum(wait, span)
        rates = paths.intensities(model, going, (paths.waited[going] + step)[:, None])[:, 0]
        total, uniform = rates.sum(1), rng.random(len(going))
        above = inside & (total > bound)
        margin[going[above]] *= 2
        moved = ~above
        paths.now[going[moved]] += step[moved] * unit
        paths.waited[going[moved]] += step[moved]
        for at in np.flatnonzero(inside & moved & (uniform * bound < total)):
            kind = int((rates[at].cumsum() <= uniform[at] * bound[at]).sum())
            paths.add(int(going[at]), min(kind, types - 1))
        if max(len(paths.drawn[i]) for i in going) > most:
            raise UsageError(f"more than {most:,} events of one sequence before its window ends: the network's process "
                             "explodes there; ask for a shorter window")
        going = going[paths.now[going] < end[going] - 1e-12 * np.abs(end[going])]
    return [Sequence(np.array([time for time, _ in drawn], float), np.array([kind for _, kind in drawn], np.int64),
                     float(start), float(stop))
            for drawn, start, stop in zip(paths.drawn, begun, end, strict=True)]
