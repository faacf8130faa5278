"""What a kernel that a table does not list may take, from kernels of its kind between which it lies."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from archfab.hardware.measuring.table import Entry, Key, Table

LEAST = 4           # neighbours of a kind below which nothing is said


@dataclass(frozen=True)
class Between:
    """An interpolated time, and the interval in which the neighbours and their own interpolation put it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Family:
    """Kernels alike but for their sizes: log work against log milliseconds, sorted by work."""

    points: Sequence[tuple[float, float]]

    def at(self, work: float, points: Sequence[tuple[float, float]] | None = None) -> tuple[float, float, float] | None:
        """On a straight line between the nearest below and above, in logarithms; None beyond the ends."""
        points = self.points if points is None else points
        below = [y for x, y in points if x == max((x for x, _ in points if x <= work), default=None)]
        above = [y for x, y in points if x == min((x for x, _ in points if x >= work), default=None)]
        if not below or not above:
            return None
        left, right = max(x for x, _ in points if x <= work), min(x for x, _ in points if x >= work)
        share = (work - left) / (right - left) if right > left else 0.5
        value = (1 - share) * sum(below) / len(below) + share * sum(above) / len(above)
        return value, min(*below, *above), max(*below, *above)

    @cached_property
    def error(self) -> float:
        """The largest difference, as a logarithm, where each inner point is left out and interpolated."""
        worst = 0.0
        for i, (x, y) in enumerate(self.points):
            found = self.at(x, [*self.points[:i], *self.points[i + 1:]])
            worst = max(worst, abs(found[0] - y)) if found else worst
        return worst


def family_of(key: Key) -> tuple[str, ...]:
    """What kernels have in common that may be interpolated between: all but their sizes."""
    detail = re.sub(r" groups \d+", " groups" if key.kind == "depthwise" else r"\g<0>", key.detail)
    return key.kind, key.operators, detail, str(key.inputs.count("+")), str(key.weights.count("+"))


def work_of(key: Key) -> float:
    """Multiply-accumulates of a kernel with a matrix, which are rows and kernel times weights; elements of others."""
    elements = sum(float(each) for each in key.inputs.split("+") if each)
    sizes = [float(each) for each in key.output.split("x") if each]
    out = math.prod(sizes)
    if key.kind in ("conv", "pointwise", "depthwise", "linear") and key.weights:
        channels = sizes[1] if key.kind != "linear" and len(sizes) > 1 else sizes[-1]
        return out / max(channels, 1.0) * float(key.weights.split("+")[0])
    return elements + out


class Interpolation:
    """Families of a table's single kernels."""

    def __init__(self, table: Table) -> None:
        points: dict[tuple[str, ...], list[tuple[float, float]]] = {}
        entries: Mapping[Entry, float] = table.entries
        for entry, value in entries.items():
            work = work_of(entry[0])
            if len(entry) == 1 and value > 0 and work > 0:
                points.setdefault(family_of(entry[0]), []).append((math.log(work), math.log(value)))
        self.families = {name: Family(sorted(found)) for name, found in points.items() if len(found) >= LEAST}

    def of(self, key: Key) -> Between | None:
        """None where too few kernels of this kind are listed, or this one lies beyond them."""
        family = self.families.get(family_of(key))
        found = family.at(math.log(work_of(key))) if family and work_of(key) > 0 else None
        if found is None or family is None:
            return None
        value, low, high = found
        return Between(math.exp(value), math.exp(min(low, value - family.error)),
                       math.exp(max(high, value + family.error)))
