"""Which networks to measure next: those after which the others are known best.

Greedy: the network that takes most variance from all candidates together, given those already measured (Krause, Singh
and Guestrin, JMLR 2008, with the A-optimal gain in closed form). Nothing of it needs a measured value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from archfab.hardware.onboarding.posterior import NOISE_MIDDLE

NOISE = NOISE_MIDDLE**2     # relative variance of one measurement, beforehand


def chosen(features: np.ndarray, number: int, measured: Sequence[int] = (), barred: Sequence[int] = ()) -> list[int]:
    """Rows of `features` (whose products are covariances of relative latencies) to measure, the best first.

    :param barred: rows that are not to be measured, though they count among those that are to be known.
    """
    covariance = features @ features.T
    found: list[int] = []
    for row in measured:
        covariance = without(covariance, row)
    never = sorted({*measured, *barred})
    for _ in range(min(number, len(features) - len(never))):
        gain = (covariance**2).sum(0) / (np.diag(covariance) + NOISE)
        gain[[*never, *found]] = -1
        found.append(int(np.argmax(gain)))
        covariance = without(covariance, found[-1])
    return found


def without(covariance: np.ndarray, row: int) -> np.ndarray:
    """The covariance that is left when a network has been measured."""
    column = covariance[:, row]
    return covariance - np.outer(column, column) / (column[row] + NOISE)
