"""Builds the network and trains it: the honest, expensive way."""

from __future__ import annotations

import random

from archfab.core import Budget, Estimator, Genotype, Metrics, Task
from archfab.space import Space


class Training(Estimator):
    """Trains each network from fresh weights for one trial's budget and scores it on validation data."""

    def estimate(self, task: Task, space: Space, genotype: Genotype, budget: Budget,
                 rng: random.Random) -> tuple[Metrics, list[dict[str, float]]]:
        from archfab.learning import seed_torch
        from archfab.lowering.concrete import build
        seed_torch(rng)
        example = task.example()
        assert example is not None
        model = build(space, genotype, example)
        curve = task.fit(model, budget, rng)
        return task.score(model, "validation"), curve


export = Training
