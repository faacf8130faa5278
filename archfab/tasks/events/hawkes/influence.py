"""Who excites whom: each pair's weight with its interval, and tests corrected for how many there are."""

from __future__ import annotations

from collections.abc import Sequence as Row
from dataclasses import dataclass
from math import comb

import numpy as np

from archfab.core import Exhibit, UsageError
from archfab.tasks.events.hawkes.fitting import Fit, columns, newton
from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.intervals import Intervals

HEADER = ("source", "target", "weight", "low", "high", "deviance", "p", "p, corrected (Holm)", "excludes zero")


@dataclass(frozen=True)
class Edge:
    """What events of one type do to another: `weight` is the mean number of events that one brings about directly.

    :param low: the 95 % interval of this pair alone, to `high`. :param deviance: twice the log-likelihood that is lost
        without the pair, decays kept. :param p: of the deviance if the weight were 0.
    :param corrected: p with regard to all pairs (Holm, Scandinavian Journal of Statistics 1979).
    """

    source: int
    target: int
    weight: float
    low: float
    high: float
    deviance: float
    p: float
    corrected: float

    @property
    def solid(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def influence(history: History, found: Fit, intervals: Intervals) -> list[Edge]:
    """An edge for each pair (source, target) that the fit allowed, in order of source and target.

    A weight of 0 lies at the edge of what is legal, so that the deviance of a true 0 is, nearly, a mixture of
    chi-squared laws with 0 to M degrees of freedom, of binomial shares (Self and Liang, JASA 1987).
    """
    if (found.parameters.weights < 0).any():
        raise UsageError("the deviances are those of a linear process; this one has weights below 0")
    lost = deviances(history, found)
    pairs = [(j, k) for j, k in np.ndindex(lost.shape) if found.allowed[j, k]]
    p = np.array([chance(float(lost[pair]), len(found.parameters.weights)) for pair in pairs])
    weight, low, high = found.parameters.branching, intervals.branching.low, intervals.branching.high
    return [Edge(j, k, float(weight[j, k]), float(low[j, k]), float(high[j, k]), float(lost[j, k]), float(alone),
                 float(corrected)) for (j, k), alone, corrected in zip(pairs, p, holm(p), strict=True)]


def deviances(history: History, found: Fit) -> np.ndarray:
    """[j, k]: twice the log-likelihood that is lost when j may not excite k, all else but the decays fitted again."""
    parameters, kinds = found.parameters, history.kinds
    sums, covered = history.moments(parameters.decays)[0], history.covered(parameters.decays)[0]
    lost = np.zeros((kinds, kinds))
    for k, part in enumerate(history.parts):
        if not history.counts[k]:
            continue
        design, cost = columns(history, sums[part], covered, parameters, k)
        best = np.concatenate([parameters.base[k:k + 1], parameters.weights[:, :, k].ravel()])
        source = np.concatenate([[-1], np.tile(np.arange(kinds), len(parameters.weights))])
        for j in np.flatnonzero(parameters.weights[:, :, k].sum(0)):        # a weight of 0 loses nothing
            x = without(design, cost, best, source == j)
            lost[j, k] = 2 * (value(design, cost, best) - value(design, cost, x))
    return np.maximum(lost, 0.0)


def without(design: np.ndarray, cost: np.ndarray, best: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """The best x that is 0 where it is `dropped`, and stays 0 where it had no say."""
    used = ~dropped & ((best > 0) | (cost > 0))
    answer = np.zeros(len(best))
    answer[used] = newton(design[:, used], cost[used], best[used])
    return answer


def value(design: np.ndarray, cost: np.ndarray, x: np.ndarray) -> float:
    return float(np.log(design @ x).sum() - cost @ x)


def chance(deviance: float, components: int) -> float:
    """How likely a deviance of this size or above is for true weights of 0."""
    from scipy.stats import chi2
    if deviance <= 0:
        return 1.0
    return float(sum(comb(components, m) / 2**components * chi2.sf(deviance, m) for m in range(1, components + 1)))


def holm(p: np.ndarray) -> np.ndarray:
    """p-values that keep the chance of any false finding: the i-th smallest of n times n - i + 1, never falling."""
    order = np.argsort(p, kind="stable")
    found = np.empty(len(p))
    found[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return found


def table(edges: Row[Edge], names: Row[str], file: str = "influence.csv") -> Exhibit:
    """The edges as CSV, the strongest first."""
    rows = [(names[e.source], names[e.target], e.weight, e.low, e.high, e.deviance, e.p, e.corrected,
             "yes" if e.solid else "no") for e in sorted(edges, key=lambda e: -e.weight)]
    sure = sum(e.corrected < 0.05 for e in edges)
    return Exhibit.table(file, "Who excites whom: mean number of events that one event of the source brings about "
                         f"directly, with 95 % intervals; {sure} of {len(edges)} pairs hold at 5 % with regard to all",
                         HEADER, rows)
