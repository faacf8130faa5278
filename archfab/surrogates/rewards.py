"""Rewards without a scale: a result is worth as much as it is rare among the latest ones."""

from __future__ import annotations

import math
from collections import deque

import numpy as np


class Rewards:
    """Turns results into rewards, whatever the unit and the number of the objectives.

    Of the last n results, those of all networks that were tried or rejected for their costs, each has

        quality Q = 1 - (the share of the n that dominate it), so with one objective its rank,
        value   V = Q * (1 + e)^-penalty, with e = sum over the limits of max(0, cost / target - 1).

    This is the reward of MnasNet (Tan et al., CVPR 2019, equation 2, with no gain from being below the target),
    quality * (cost / target)^w, for a quality that may be in any unit. With s the share of the n whose value is
    less (and half of those equal), the reward of the latest is R = -log(1 - s): one in a hundred does so well at
    R = log 100. For results of an unchanging distribution R is exponentially distributed, of mean and deviation 1.

    :param penalty: how hard a broken limit counts.
    :param window: n, the number of results that are compared.
    """

    def __init__(self, penalty: float, window: int) -> None:
        self.penalty = penalty
        self.recent: deque[tuple[float, tuple[float, ...]]] = deque(maxlen=window)

    def add(self, excess: float, scores: tuple[float, ...]) -> float:
        """The reward of a result: by how much it breaks the limits, and its scores (small is good; none where it
        was rejected, which is worse than any score)."""
        self.recent.append((excess, scores))
        goals = max(len(each) for _, each in self.recent)
        points = np.array([each or (math.inf,) * goals for _, each in self.recent])
        values = quality(points) * (1 + np.array([over for over, _ in self.recent])) ** -self.penalty
        below = np.count_nonzero(values < values[-1]) + np.count_nonzero(values == values[-1]) / 2
        return -math.log(1 - below / len(values))


def quality(points: np.ndarray) -> np.ndarray:
    """1 less the share of the points [n, goals] that dominate each; the small numbers are the good ones."""
    one, other = points[:, None], points[None]
    return 1 - ((one <= other).all(2) & (one < other).any(2)).mean(0)
