"""First the largest, then smaller kernels, depths, widths as well (Cai et al., Once-for-All, ICLR 2020)."""

from __future__ import annotations

import random
from typing import Any

from archfab.core import Label
from archfab.sampling._roles import roles
from archfab.space.counting import Node

STAGES = ((0.3, ()), (0.5, ("part", "kernel")), (0.7, ("part", "kernel", "depth")),
          (1.0, ("part", "kernel", "depth", "size", "other")))
"""Until which progress which decisions are open; the others are as in the largest network."""
NETWORKS = 2        # smaller networks a step


def step(student: Any, batch: Any, progress: float, rng: random.Random) -> float:
    """Learns on the largest network; later on smaller ones, from the labels and from what the largest says.

    Differs from the paper: the teacher is the largest network as it is now, not a frozen copy of it; channels are not
    sorted by importance; one schedule of the learning rate serves all stages.
    """
    opened = next(opened for until, opened in STAGES if progress <= until or until == 1)
    if not opened:
        return student.learn(student.net.largest, batch)[0]
    known = student.remember("roles", lambda: roles(student.space))
    teacher = student.answer(student.net.largest, batch)

    def pick(node: Node) -> Label:
        free = known[node.name] in opened
        return rng.choice(student.space.labels[node.name]) if free else student.net.defaults[node.name]

    losses = [student.learn(student.space.walk(pick), batch, like=teacher, labels=True, share=1 / NETWORKS)[0]
              for _ in range(NETWORKS)]
    return sum(losses) / len(losses)


export = step
