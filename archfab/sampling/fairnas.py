"""As many networks a step as a decision has options, each option in exactly one (Chu et al., FairNAS, ICCV 2021)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from archfab.core import Label


def step(student: Any, batch: Any, progress: float, rng: random.Random) -> float:
    """Learns on networks that together have every option equally often: strictly so where all decisions have the same
    number of options and none hangs on another, else those with fewer go round again in another order. Networks that
    cannot be built are left out."""
    space = student.space
    number = max(map(len, space.labels.values()), default=1)
    orders = {name: rounds(labels, number, rng) for name, labels in space.labels.items()}
    paths = [space.walk(lambda node, i=i: orders[node.name][i]) for i in range(number)]
    paths = [path for path in paths if student.can(path)] or [student.draw(rng)]
    return sum(student.learn(path, batch, share=1 / len(paths))[0] for path in paths) / len(paths)


def rounds(labels: Sequence[Label], number: int, rng: random.Random) -> list[Label]:
    """The labels in random order, again and again, until there are enough."""
    found: list[Label] = []
    while len(found) < number:
        found += rng.sample(list(labels), len(labels))
    return found[:number]


export = step
