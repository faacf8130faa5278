"""The sandwich with the worst of several networks of like cost between (Wang et al., AttentiveNAS, CVPR 2021)."""

from __future__ import annotations

import math
import random
from typing import Any

from archfab.core import Genotype
from archfab.sampling.sandwich import distil

POOL = 128          # networks whose cost is known
CANDIDATES = 3      # of like cost, of which one is learned on
NETWORKS = 2        # such networks a step


def step(student: Any, batch: Any, progress: float, rng: random.Random) -> float:
    """Learns on the largest network from the labels, on the smallest and the attended ones from the largest.

    Differs from the paper: candidates come from a fixed pool whose costs are known, and the worst one is taken, always.
    """
    pool = student.remember("pool", lambda: costed(student))
    worst = [attended(student, pool, batch, rng) for _ in range(NETWORKS)]
    return distil(student, [student.net.smallest, *worst], batch)


def costed(student: Any) -> list[tuple[float, Genotype]]:
    """Random networks with the logarithm of their multiply-accumulates, the least first."""
    rng = random.Random("attentive")
    found = [student.draw(rng) for _ in range(POOL)]
    return sorted(((math.log1p(student.macs(genotype)), genotype) for genotype in found), key=lambda item: item[0])


def attended(student: Any, pool: list[tuple[float, Genotype]], batch: Any, rng: random.Random) -> Genotype:
    """Of a few networks near a cost that is drawn evenly on a logarithmic scale, the one with the largest loss."""
    aim = rng.uniform(pool[0][0], pool[-1][0])
    near = sorted(rng.sample(pool, min(len(pool), 8 * CANDIDATES)), key=lambda item: abs(item[0] - aim))[:CANDIDATES]
    return max((genotype for _, genotype in near), key=lambda genotype: student.loss(genotype, batch))


export = step
