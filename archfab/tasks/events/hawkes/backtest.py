"""Does knowing one stream of events help to foresee another? Take it away, and compare held-out likelihoods."""

from __future__ import annotations

from collections.abc import Sequence as Row
from dataclasses import dataclass

import numpy as np

from archfab.core import Exhibit, UsageError
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes.fitting import Fit, columns
from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.influence import without
from archfab.tasks.events.hawkes.parameters import Parameters

BLOCKS = 20         # stretches of time, where there are too few sequences for an interval over them
SEQUENCES = 10
HEADER = ("source taken away", "target", "gain by knowing it, nats per event", "low", "high", "held-out events",
          "verdict")


@dataclass(frozen=True)
class Help:
    """What the events of `source` add to the foresight of `target`.

    :param gain: of held-out log-likelihood, mean per event of the target, in nats, over a process that is fitted
        without the source.
    :param low: the 95 % interval of this pair alone, over sequences or stretches of time, to `high`.
    """

    source: int
    target: int
    gain: float
    low: float
    high: float
    events: int

    @property
    def verdict(self) -> str:
        """In a word. It is foresight that is tested, not causes: a third stream, recorded or not, may move both."""
        return "helps" if self.low > 0 else "misleads" if self.high < 0 else "not shown to help"


def backtest(train: Row[Sequence], held: Row[Sequence], found: Fit) -> list[Help]:
    """For each pair of a source and another target (or itself): the target's process is fitted to `train` again without
    the source's events in its history (decays kept), and both are scored on `held`."""
    parameters, kinds = found.parameters, found.parameters.kinds
    if (parameters.weights < 0).any():
        raise UsageError("the backtest fits linear processes; this one has weights below 0")
    past, future = History(train, kinds), History(held, kinds)
    sums, covered = past.moments(parameters.decays)[0], past.covered(parameters.decays)[0]
    seen, block, number = future.moments(parameters.decays)[0], *blocks(future)
    source = np.concatenate([[-1], np.tile(np.arange(kinds), len(parameters.weights))])
    rows = []
    for k in range(kinds):
        if not past.counts[k] or not future.counts[k]:
            continue
        design, cost = columns(past, sums[past.parts[k]], covered, parameters, k)
        test, _ = columns(future, seen[future.parts[k]], covered, parameters, k)
        paid = exposure(future, parameters, k, block, number)
        where = block[future.order[future.parts[k]]]
        count = np.bincount(where, minlength=number)
        best = np.concatenate([parameters.base[k:k + 1], parameters.weights[:, :, k].ravel()])
        for j in np.flatnonzero(found.allowed[:, k]):
            if not best[source == j].any():             # the fit makes no use of it
                rows.append(Help(int(j), k, 0.0, 0.0, 0.0, int(count.sum())))
                continue
            x = without(design, cost, best, source == j)
            with np.errstate(divide="ignore"):
                gained = np.log(test @ best) - np.log(test @ x)
            gain = np.bincount(where, gained, minlength=number) - paid @ (best - x)
            rows.append(Help(int(j), k, *mean(gain, count), int(count.sum())))
    return rows


def blocks(history: History) -> tuple[np.ndarray, int]:
    """The group of each event, for an interval: its sequence, or a stretch of its sequence."""
    if len(history.sizes) >= SEQUENCES:
        return history.sequence, len(history.sizes)
    each = max(2, BLOCKS // len(history.sizes))
    place = np.arange(len(history)) - np.repeat(np.cumsum(history.sizes) - history.sizes, history.sizes)
    return history.sequence * each + place * each // history.sizes[history.sequence], each * len(history.sizes)


def exposure(history: History, parameters: Parameters, k: int, block: np.ndarray, number: int) -> np.ndarray:
    """[G, 1 + M K]: what one unit of base and of each weight adds to the compensator of target k in each group."""
    pieces = [np.ones((len(history), 1)) * history.stays[:, None]]
    for decay in parameters.column(k):
        pieces.append(history.states(decay) * -np.expm1(-decay * history.stays[:, None]))
    after = np.concatenate(pieces, axis=1)
    found = np.zeros((number, after.shape[1]))
    np.add.at(found, block, after)          # a stay belongs to the group of the event that begins it
    first = np.flatnonzero(history.first)
    np.add.at(found[:, 0], block[first], history.times[first])
    empty = np.flatnonzero(history.sizes == 0)
    found[empty * (number // len(history.sizes)), 0] += history.length[empty]
    return found


def mean(gain: np.ndarray, count: np.ndarray) -> tuple[float, float, float]:
    """Gain per event with its 95 % interval: a ratio of sums over groups, linearised, by Student's law."""
    from scipy.stats import t
    ratio, groups = float(gain.sum() / count.sum()), int(((count > 0) | (gain != 0)).sum())
    if groups < 2 or not np.isfinite(ratio):
        return ratio, -np.inf, np.inf
    spread = np.sqrt(groups / (groups - 1) * ((gain - ratio * count) ** 2).sum()) / count.sum()
    half = float(t.ppf(0.975, groups - 1) * spread)
    return ratio, ratio - half, ratio + half


def table(rows: Row[Help], names: Row[str], file: str = "backtest.csv") -> Exhibit:
    """The backtest as CSV, the largest gain first."""
    ordered = sorted(rows, key=lambda row: -row.gain)
    about = ("How much each stream helps to foresee each other one on held-out data; each interval is of its pair "
             "alone, and foresight is no proof of a cause")
    return Exhibit.table(file, about, HEADER, [(names[row.source], names[row.target], row.gain, row.low, row.high,
                                                row.events, row.verdict) for row in ordered])
