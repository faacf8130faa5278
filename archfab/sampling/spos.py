"""One network a step, each decision drawn evenly (Guo et al., single path one-shot, ECCV 2020; RandomNAS)."""

from __future__ import annotations

import random
from typing import Any


def step(student: Any, batch: Any, progress: float, rng: random.Random) -> float:
    """Learns on one network."""
    return student.learn(student.draw(rng), batch)[0]


export = step
