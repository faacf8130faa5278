"""First the largest, then smaller kernels, depths, widths as well (Cai et al., Once-for-All, ICLR 2020)."""

from __future__ import annotations

import random
from typing import Any

from archfab.sampling._roles import roles

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
    drawn = [student.draw(rng, free=lambda name: known[name] in opened) for _ in range(NETWORKS)]
    losses = [student.learn(path, batch, like=teacher, labels=True, share=1 / NETWORKS)[0] for path in drawn]
    return sum(losses) / len(losses)


export = step
