"""Expected hypervolume improvement, exact for independent normal objectives, all to be made small.

The region that a front does not dominate is cut into disjoint boxes; in each the expected gain is a product of
one-dimensional expected improvements (after Emmerich et al., CEC 2011; Yang et al., Swarm Evol. Comp. 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from archfab.metrics.pareto import Point, front
from archfab.surrogates.gaussian import expected_improvement

Box = tuple[tuple[float, ...], tuple[float, ...]]       # lower corner (-inf where open), upper corner


def boxes(points: Sequence[Point], reference: Point) -> list[Box]:
    """The part below the reference that no point dominates, as disjoint boxes."""
    inside = [p for p in points if all(a < b for a, b in zip(p, reference, strict=True))]
    inside = [inside[i] for i in front(inside)]
    if len(reference) == 1:
        return [((-np.inf,), (min((p[0] for p in inside), default=reference[0]),))]
    levels = [-np.inf, *sorted({p[-1] for p in inside}), reference[-1]]
    found: list[Box] = []
    for low, high in pairwise(levels):          # between two levels the front is the same
        below = [p[:-1] for p in inside if p[-1] <= low]
        found += [((*lower, low), (*upper, high)) for lower, upper in boxes(below, reference[:-1])]
    return found


def expected_hypervolume_improvement(means: np.ndarray, deviations: np.ndarray, points: Sequence[Point],
                                     reference: Point) -> np.ndarray:
    """What each candidate is expected to add to the hypervolume.

    :param means: [candidates, objectives], and :param deviations: alike; 0 where an objective is known.
    """
    cut = boxes(points, reference)
    gains = np.ones((len(means), len(cut)))
    for axis in range(len(reference)):
        edges = sorted({box[side][axis] for box in cut for side in (0, 1)} - {-np.inf})
        improvement = {edge: expected_improvement(means[:, axis], deviations[:, axis], edge) for edge in edges}
        improvement[-np.inf] = np.zeros(len(means))
        gains *= np.stack([improvement[upper[axis]] - improvement[lower[axis]] for lower, upper in cut], axis=1)
    return gains.sum(axis=1)
