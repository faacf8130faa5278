"""Whether a difference is more than chance: tests of one table's runs, and of ranks across tables.

Across tables: Friedman's test and Nemenyi's critical difference, as Demsar sets them out (JMLR 2006, "Statistical
Comparisons of Classifiers over Multiple Data Sets"). On one table: Wilcoxon's signed-rank test of runs that have
the same draws, with Holm's correction (Scandinavian Journal of Statistics 1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

LEVEL = 0.05
TABLES = 3              # the fewest for a test across tables
DRAWS = 20_000          # of ranks, for the p value of Friedman's statistic
EQUAL = 1e-12           # differences of regrets below this are none


def ranks(scores: Sequence[Sequence[float]]) -> list[list[float]]:
    """Each table's strategies from 1 (the smallest score) on; equals share the mean of their ranks."""
    from scipy.stats import rankdata
    return [[float(rank) for rank in rankdata(row)] for row in scores]


def friedman(scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Whether strategies differ over tables, from one score for each table (rows) and strategy (columns).

    `chi2` = 12 N / (k (k + 1)) (sum of R_j^2 - k (k + 1)^2 / 4) with mean ranks R_j of k strategies on N tables;
    `f` = (N - 1) chi2 / (N (k - 1) - chi2) (Iman and Davenport 1980; None where it is infinite). `p` is the share
    of random ranks that reach `chi2`, for the usual approximations are poor where tables are few.
    """
    import numpy as np
    table = np.array(ranks(scores))
    n, k = table.shape

    def statistic(means: Any) -> Any:
        return 12 * n / (k * (k + 1)) * ((means ** 2).sum(axis=-1) - k * (k + 1) ** 2 / 4)

    chi2 = float(statistic(table.mean(axis=0)))
    drawn = np.random.default_rng(0).permuted(np.broadcast_to(table, (DRAWS, n, k)), axis=2)
    reached = int((statistic(drawn.mean(axis=1)) >= chi2 - 1e-9).sum())
    rest = n * (k - 1) - chi2
    return {"chi2": chi2, "f": (n - 1) * chi2 / rest if rest > 1e-9 else None, "p": (reached + 1) / (DRAWS + 1)}


def critical_difference(strategies: int, tables: int, level: float = LEVEL) -> float:
    """Nemenyi's: mean ranks that differ by less are not told apart; q sqrt(k (k + 1) / (6 N))."""
    from scipy.stats import studentized_range
    q = studentized_range.ppf(1 - level, strategies, math.inf) / math.sqrt(2)
    return float(q * math.sqrt(strategies * (strategies + 1) / (6 * tables)))


def paired(one: Sequence[float], other: Sequence[float]) -> tuple[float, int]:
    """The p value that two strategies' regrets differ, run by run, and which has the smaller: -1, 0 or 1.

    Wilcoxon's signed-rank test, two-sided; equal runs count by Pratt's rule.
    """
    from scipy.stats import rankdata, wilcoxon
    differences = [0.0 if abs(a - b) < EQUAL else a - b for a, b in zip(one, other, strict=True)]
    if not any(differences):
        return 1.0, 0
    sizes = rankdata([abs(d) for d in differences])
    balance = sum(math.copysign(size, d) for size, d in zip(sizes, differences, strict=True) if d)
    p = float(wilcoxon(differences, zero_method="pratt").pvalue)
    return p, -1 if balance < 0 else 1 if balance > 0 else 0


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for there being several, in their order."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    most = 0.0
    for place, i in enumerate(order):
        most = max(most, min(1.0, (len(order) - place) * p_values[i]))
        corrected[i] = most
    return corrected


def fewest_runs(strategies: int, level: float = LEVEL) -> int:
    """With fewer runs not even the clearest difference between these strategies could pass the test."""
    pairs = max(1, strategies * (strategies - 1) // 2)
    return math.ceil(math.log2(2 * pairs / level))


def pairs(regrets: dict[str, dict[int, float]]) -> list[dict[str, Any]]:
    """Every pair of strategies on one table, compared over the runs that both have."""
    found: list[dict[str, Any]] = []
    for one, other in combinations(regrets, 2):
        both = sorted(set(regrets[one]) & set(regrets[other]))
        mine, theirs = ([regrets[name][run] for run in both] for name in (one, other))
        p, sign = paired(mine, theirs)
        found.append({"one": one, "other": other, "runs": len(both), "p": p,
                      "better": {-1: one, 1: other, 0: None}[sign]})
    for pair, corrected in zip(found, holm([pair["p"] for pair in found]), strict=True):
        pair.update(holm=corrected, significant=corrected < LEVEL)
    return found
