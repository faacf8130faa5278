"""Builds the network and trains it: the honest, expensive way."""

from __future__ import annotations

import random
import time

from archfab.core import Budget, Estimator, Genotype, Metrics, Task
from archfab.space import Space


class Training(Estimator):
    """Trains each network from fresh weights for one trial's budget and scores it on validation data.

    :param test: whether each network is scored on test data too, as `test_NAME`, which no strategy sees.
    :param clock: whether the processor seconds of building, training and validating are noted, as
        `train_seconds`; they differ from run to run, and so then does the log.
    """

    def __init__(self, *, test: bool = False, clock: bool = False) -> None:
        self.test = test
        self.clock = clock

    def estimate(self, task: Task, space: Space, genotype: Genotype, budget: Budget,
                 rng: random.Random) -> tuple[Metrics, list[dict[str, float]]]:
        from archfab.learning import seed_torch
        from archfab.lowering.concrete import build
        start = time.process_time()
        seed_torch(rng)
        example = task.example()
        assert example is not None
        model = build(space, genotype, example)
        curve = task.fit(model, budget, rng)
        scores = dict(task.score(model, "validation"))
        if self.clock:
            scores["train_seconds"] = time.process_time() - start
        if self.test:
            scores.update({f"test_{name}": value for name, value in task.score(model, "test").items()})
        return scores, curve


export = Training
