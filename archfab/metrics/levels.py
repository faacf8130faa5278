"""Levels of non-domination, kept up to date as points come."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import count

from archfab.metrics.pareto import Point, crowding, dominates

Entry = tuple[Point, int]       # scores to be made small, and whose they are


class Levels:
    """Numbers in the order of constrained domination and crowding (Deb et al., IEEE TEC 2002), the best first.

    It is the order of `pareto.best_first`, at the cost of one insertion for each new point: the efficient
    non-domination level update of Li et al. (IEEE Transactions on Cybernetics 2017). One objective is the case in
    which a level holds equal points.
    """

    def __init__(self) -> None:
        self.levels: list[list[Entry]] = []
        self.broken: list[tuple[float, bool, Point, int]] = []      # those that break limits, the least excess first

    def __len__(self) -> int:
        return sum(map(len, self.levels)) + len(self.broken)

    def add(self, number: int, excess: float, scores: Point) -> None:
        """Takes in a point: by how much it breaks the limits, and its scores (none where it was not tried)."""
        if excess or not scores:
            insort(self.broken, (excess, not scores, scores, number))
            return
        first = bisect_left(self.levels, True, key=lambda level: not any(dominates(s, scores) for s, _ in level))
        moving: list[Entry] = [(scores, number)]
        for place in count(first):
            if place == len(self.levels):
                self.levels.append(moving)
                return
            stays: list[Entry] = []
            falls: list[Entry] = []
            for entry in self.levels[place]:
                (falls if any(dominates(s, entry[0]) for s, _ in moving) else stays).append(entry)
            if not stays:                   # all of it falls, and so does every level below
                self.levels.insert(place, moving)
                return
            self.levels[place] = stays + moving
            if not falls:
                return
            moving = falls

    def __iter__(self) -> Iterator[int]:
        for level in self.levels:
            if len(level) == 1:
                yield level[0][1]
                continue
            alone = crowding([scores for scores, _ in level])
            yield from (level[i][1] for i in sorted(range(len(level)), key=lambda i: (-alone[i], level[i][1])))
        yield from (entry[-1] for entry in self.broken)
