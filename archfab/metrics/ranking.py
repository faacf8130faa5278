"""Whether two scores rank alike: Kendall's and Spearman's correlation, with an interval."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

DRAWS = 1000        # resamples of a bootstrap interval


@dataclass(frozen=True)
class Correlation:
    """How alike two scores rank some networks: 1 the same way, 0 no relation, -1 the other way round; with the 95 %
    bootstrap interval of Kendall's."""

    number: int
    kendall: float
    spearman: float
    low: float
    high: float
    chance: float       # that unrelated scores rank as much alike as these, either way round

    def plain(self) -> dict[str, float]:
        return asdict(self)


def correlation(one: Sequence[float], other: Sequence[float]) -> Correlation | None:
    """Kendall's tau-b (Biometrika 1938, 1945) and Spearman's rho; None for fewer than three pairs, or where all are
    equal in one score."""
    from scipy.stats import kendalltau, spearmanr
    if len(one) < 3 or len(set(one)) < 2 or len(set(other)) < 2:
        return None
    low, high = bootstrap(list(zip(one, other, strict=True)), lambda pairs: kendall(*zip(*pairs, strict=True)))
    tau, chance = kendalltau(one, other)
    return Correlation(len(one), float(tau), float(spearmanr(one, other)[0]), low, high, float(chance))


def kendall(one: Sequence[float], other: Sequence[float]) -> float:
    from scipy.stats import kendalltau
    return float(kendalltau(one, other)[0])


def bootstrap(rows: Sequence[tuple[float, float]], statistic: Callable[[list[tuple[float, float]]], float],
              draws: int = DRAWS) -> tuple[float, float]:
    """Percentile interval of a statistic over resampled rows (Efron, 1979); draws that have none are left out."""
    rng = random.Random(0)
    found = sorted(value for _ in range(draws)
                   if not math.isnan(value := statistic([rng.choice(rows) for _ in rows])))
    if not found:
        return -1.0, 1.0
    return found[round(0.025 * (len(found) - 1))], found[round(0.975 * (len(found) - 1))]
