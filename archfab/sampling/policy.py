"""Networks that the run's own strategy proposes: with reinforce this is ENAS (Pham et al., ICML 2018)."""

from __future__ import annotations

import random
from typing import Any

PROPOSALS = 64      # drawn from the strategy for each lesson


def step(student: Any, batch: Any, progress: float, rng: random.Random) -> float:
    """Learns on one of the proposals that came with the lesson; before any were made, on a random network."""
    shuffled = rng.sample(student.proposals, len(student.proposals))
    path = next((path for path in shuffled if student.can(path)), None) or student.draw(rng)
    return student.learn(path, batch)[0]


export = step
