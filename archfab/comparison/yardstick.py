"""What a run is measured by: the best of its table, or the exact front of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from archfab.comparison.play import Step, incumbents
from archfab.core import Goals, Limit, Metrics, UsageError
from archfab.metrics.pareto import Point, dominates, front, hypervolume
from archfab.tables import Table

Change = tuple[float, float | None, float | None]      # spent, simulated seconds, the value from then on
EDGE = 1.1                                              # the box ends a tenth of the front's span beyond its nadir


@dataclass(frozen=True)
class Yardstick:
    """The value that a run is judged by, and what it can be at best and at worst.

    With one goal, the value is the reported score of the network that looks best. With several it is a
    hypervolume share: what the networks that look best dominate, of what the exact front does. Both volumes
    are taken in the box from the exact front's ideal point to its nadir and a tenth of its span beyond.
    """

    goals: Goals
    limits: tuple[str, ...]
    best: float
    worst: float                    # what counts as long as a run has nothing to report
    ideal: Point = ()
    span: Point = ()
    volume: float = 0.0             # of the exact front, in spans
    size: int = 1                   # how many networks the exact front has

    @classmethod
    def of(cls, table: Table, goals: Goals, limits: Sequence[Limit] = ()) -> Yardstick:
        """Measures a whole table; networks that break limits do not count."""
        points = kept(table, goals, limits)
        if not points:
            raise UsageError(f"no architecture of table {table.name} has {', '.join(goals)} and keeps "
                             f"{', '.join(map(str, limits)) or 'the limits'}; relax a limit")
        texts = tuple(map(str, limits))
        if len(goals) == 1:
            sign = 1 if next(iter(goals.values())) == "min" else -1
            return cls(dict(goals), texts, sign * min(points)[0], sign * max(points)[0])
        exact = sorted(set(points))
        exact = [exact[i] for i in front(exact)]
        ideal = tuple(map(min, zip(*exact, strict=True)))
        span = tuple(high - low or 1.0 for low, high in zip(ideal, map(max, zip(*exact, strict=True)), strict=True))
        bare = cls(dict(goals), texts, 1.0, 0.0, ideal, span, 1.0, len(exact))
        return cls(**{**vars(bare), "volume": bare.share(exact)})

    @property
    def measure(self) -> str:
        return next(iter(self.goals)) if len(self.goals) == 1 else "hypervolume share"

    def regret(self, value: float | None) -> float:
        """How far a value is from the best there is; 0 or more."""
        return abs(self.best - (self.worst if value is None else value))

    def share(self, points: Sequence[Point]) -> float:
        """The hypervolume of some points, in parts of the exact front's."""
        scaled = [tuple((x - low) / span for x, low, span in zip(point, self.ideal, self.span, strict=True))
                  for point in points]
        return hypervolume(scaled, (EDGE,) * len(self.span)) / self.volume

    def trace(self, steps: Sequence[Step]) -> tuple[list[Change], list[list[float]]]:
        """The value of a run wherever it changes, and the goals' reported values at its end."""
        limits = tuple(map(Limit.parse, self.limits))
        if len(self.goals) > 1:
            return self._volumes(steps, limits)
        name, sense = next(iter(self.goals.items()))
        changes: list[Change] = []
        for step, value in zip(steps, incumbents(steps, name, sense, limits), strict=True):
            if value != (changes[-1][2] if changes else None):
                changes.append((step.spent, step.seconds, value))
        last = changes[-1][2] if changes else None
        return changes, [[last]] if last is not None else []

    def _volumes(self, steps: Sequence[Step], limits: Sequence[Limit]) -> tuple[list[Change], list[list[float]]]:
        members: list[tuple[Point, Point, bool]] = []       # as it looked, as it is, whether it keeps the limits
        changes: list[Change] = []
        for step in steps:
            if not step.seen or any(limit.excess(step.seen) for limit in limits):
                continue
            looks = self._point(step.seen)
            if any(dominates(other, looks) or other == looks for other, _, _ in members):
                continue
            members = [member for member in members if not dominates(looks, member[0])]
            members.append((looks, self._point(step.truth), not any(limit.excess(step.truth) for limit in limits)))
            share = self.share([truth for _, truth, keeps in members if keeps])
            if share != (changes[-1][2] if changes else None):
                changes.append((step.spent, step.seconds, share))
        signs = [1 if sense == "min" else -1 for sense in self.goals.values()]
        return changes, [[sign * x for sign, x in zip(signs, truth, strict=True)] for _, truth, keeps in members
                         if keeps]

    def _point(self, metrics: Metrics) -> Point:
        return tuple(metrics[name] if sense == "min" else -metrics[name] for name, sense in self.goals.items())

    def plain(self) -> dict[str, Any]:
        return {**asdict(self), "limits": list(self.limits), "ideal": list(self.ideal), "span": list(self.span)}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Yardstick:
        return cls(**{**data, **{name: tuple(data[name]) for name in ("limits", "ideal", "span")}})


def kept(table: Table, goals: Goals, limits: Sequence[Limit]) -> list[Point]:
    """The goals of every network of a table that keeps the limits, as numbers to be made small."""
    wanted: Goals = {**dict.fromkeys((limit.name for limit in limits), "min"), **goals}
    points = table.points(wanted)
    if not limits:
        return points
    signs = {name: 1 if sense == "min" else -1 for name, sense in wanted.items()}
    places = [list(wanted).index(name) for name in goals]
    found = []
    for point in points:
        metrics = {name: sign * x for (name, sign), x in zip(signs.items(), point, strict=True)}
        if not any(limit.excess(metrics) for limit in limits):
            found.append(tuple(point[i] for i in places))
    return found
