"""The largest network, the smallest and two between, which learn from the largest (Yu et al., BigNAS, ECCV 2020)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from archfab.core import Genotype

BETWEEN = 2         # random networks a step


def step(student: Any, batch: Any, progress: float, rng: random.Random) -> float:
    """Learns on the largest network from the labels, on the smallest and random ones from what the largest says.

    Differs from the paper: gradients are averaged, the task's own schedule is used, all networks are regularised alike.
    """
    return distil(student, [student.net.smallest, *(student.draw(rng) for _ in range(BETWEEN))], batch)


def distil(student: Any, others: Sequence[Genotype], batch: Any) -> float:
    """Learns on the largest network from the labels, on others from what the largest says; returns its loss."""
    share = 1 / (1 + len(others))
    loss, answer = student.learn(student.net.largest, batch, share=share)
    for genotype in others:
        student.learn(genotype, batch, like=answer, share=share)
    return loss


export = step
