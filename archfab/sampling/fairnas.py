"""As many networks a step as a decision has options, each option in exactly one (Chu et al., FairNAS, ICCV 2021)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from archfab.core import Label


def step(student: Any, batch: Any, progress: float, rng: random.Random) -> float:
    """Learns on networks that together have every option equally often: strictly so where all decisions have the same
    number of options, else those with fewer go round again in another order."""
    space = student.space
    number = max(map(len, space.labels.values()), default=1)
    orders = {name: rounds(labels, number, rng) for name, labels in space.labels.items()}
    paths = [space.walk(lambda node, i=i: orders[node.name][i]) for i in range(number)]
    return sum(student.learn(path, batch, share=1 / number)[0] for path in paths) / number


def rounds(labels: Sequence[Label], number: int, rng: random.Random) -> list[Label]:
    """The labels in random order, again and again, until there are enough."""
    found: list[Label] = []
    while len(found) < number:
        found += rng.sample(list(labels), len(labels))
    return found[:number]


export = step
