"""Fronts of several objectives. Points are tuples in which every number is to be as small as possible."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

Point = tuple[float, ...]


def dominates(one: Point, other: Point) -> bool:
    """No worse in anything and better in something."""
    better = False
    for a, b in zip(one, other, strict=True):
        if a > b:
            return False
        if a < b:
            better = True
    return better


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that none dominates, in the order of the first number; of equals, the first."""
    best: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i], i)):
        if not any(dominates(points[j], points[i]) or points[j] == points[i] for j in best):
            best.append(i)
    return best


def fronts(points: Sequence[Point]) -> list[list[int]]:
    """Indices by front: those that none dominates, then those that only these dominate, and so on.

    Efficient non-dominated sort (Zhang et al., IEEE TEC 2015): in lexicographic order no point is dominated by a
    later one, and one that a front does not dominate is not dominated by the fronts behind, so each joins the first
    such front, found by bisection. Equal points share a front.
    """
    layers: list[list[int]] = []
    for i in sorted(range(len(points)), key=points.__getitem__):

        def free(layer: list[int], point: Point = points[i]) -> bool:
            return not any(dominates(points[j], point) for j in reversed(layer))

        at = bisect_left(layers, True, key=free)
        if at == len(layers):
            layers.append([])
        layers[at].append(i)
    return layers


def best_first(points: Sequence[Point], excess: Sequence[float]) -> list[int]:
    """Indices in the order of constrained domination and crowding (Deb et al., IEEE TEC 2002, sections III and VI).

    Points without excess come front by front, the lonely ones of each first; then the others, the least excess
    first, and of equals those with scores.
    """
    kept = [i for i in range(len(points)) if not excess[i]]
    order: list[int] = []
    for layer in fronts([points[i] for i in kept]):
        alone = crowding([points[kept[i]] for i in layer])
        order += [kept[layer[i]] for i in sorted(range(len(layer)), key=lambda i: -alone[i])]
    broken = (i for i in range(len(points)) if excess[i])
    return order + sorted(broken, key=lambda i: (excess[i], not points[i], points[i]))


def crowding(points: Sequence[Point]) -> list[float]:
    """Distance to the neighbours on the front, summed over the objectives; infinite at the ends.

    Deb et al., NSGA-II, IEEE TEC 2002, section III-B.
    """
    distance = [0.0] * len(points)
    for axis in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda i: points[i][axis])
        span = points[order[-1]][axis] - points[order[0]][axis]
        distance[order[0]] = distance[order[-1]] = float("inf")
        if span > 0:
            for before, i, after in zip(order, order[1:], order[2:], strict=False):
                distance[i] += (points[after][axis] - points[before][axis]) / span
    return distance


def shares(sets: Sequence[Sequence[Point]]) -> list[float]:
    """The hypervolume of each set, as a share of the box that all of them span (with a tenth to spare)."""
    everything = [point for points in sets for point in points]
    if not everything:
        return [0.0] * len(sets)
    best, worst = (tuple(map(extreme, zip(*everything, strict=True))) for extreme in (min, max))
    spans = [high - low or 1.0 for low, high in zip(best, worst, strict=True)]
    edge = (1.1,) * len(spans)
    scaled = [[tuple((x - low) / span for x, low, span in zip(point, best, spans, strict=True)) for point in points]
              for points in sets]
    return [hypervolume(points, edge) / math.prod(edge) for points in scaled]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """The volume dominated by the points and bounded by the reference, by slicing (exact)."""
    inside = [p for p in points if all(a < b for a, b in zip(p, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(p[0] for p in inside)
    if len(reference) == 2:
        return area(inside, reference)
    inside = sorted((inside[i] for i in front(inside)), key=lambda p: p[-1])
    volume = 0.0
    for i, point in enumerate(inside):
        ceiling = inside[i + 1][-1] if i + 1 < len(inside) else reference[-1]
        if ceiling > point[-1]:
            volume += (ceiling - point[-1]) * hypervolume([p[:-1] for p in inside[:i + 1]], reference[:-1])
    return volume


def area(points: Sequence[Point], reference: Point) -> float:
    """The hypervolume of points in the plane, all below the reference: one pass over them from left to right."""
    covered, low = 0.0, reference[1]
    for x, y in sorted(points):
        if y < low:
            covered += (reference[0] - x) * (low - y)
            low = y
    return covered
