"""Trains a mixture of all networks for strategies that learn by gradients; networks that these end in, alone."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archfab.core import Task, UsageError
from archfab.estimators.training import Training
from archfab.space import Space

if TYPE_CHECKING:
    from archfab.estimators._bilevel import Learner


class Relaxed(Training):
    """Gives the lessons that a gradient strategy asks for; a trial is trained from fresh weights.

    :param test: whether each network is scored on test data too, as `test_NAME`, which no strategy sees.
    :param clock: whether the processor seconds of a trial are noted, as `train_seconds`.
    """

    lowering = "mixture"

    def __init__(self, *, test: bool = False, clock: bool = False) -> None:
        super().__init__(test=test, clock=clock)
        self._learner: Learner | None = None

    def teach(self, task: Task, space: Space, number: int, data: Mapping[str, Any],
              rng: random.Random) -> Mapping[str, Any]:
        from archfab.estimators._shared import keep
        from archfab.learning import seed_torch
        if "weighting" not in data:
            raise UsageError("the estimator relaxed gives the lessons of gradient strategies (darts and kin)")
        assert self.folder is not None
        seed_torch(random.Random(rng.getrandbits(60)))      # of a new mixture; one that is read needs none
        learner = self._at(task, space, number - 1, data)
        seed_torch(rng)
        self._learner = None                                # a lesson that fails leaves nothing half-trained behind
        found = learner.epoch(data, number, rng)
        keep(self.folder, number, task, space, learner.mixture, learner.optimizers)
        learner.lessons, self._learner = number, learner
        return found

    def _at(self, task: Task, space: Space, lessons: int, data: Mapping[str, Any]) -> Learner:
        """The mixture after so many lessons; a new one where what it is made of has changed."""
        from archfab.estimators._bilevel import Learner, structure
        from archfab.estimators._shared import file_of, read, restore
        known = self._learner
        if known is not None and known.lessons == lessons and known.made_of == structure(data):
            return known
        learner = Learner(task, space, data)
        if lessons and not data.get("fresh"):
            assert self.folder is not None
            restore(read(self.folder, lessons, task, space), learner.mixture, learner.optimizers,
                    file_of(self.folder, lessons))
        learner.lessons = lessons
        self._learner = learner
        return learner


export = Relaxed
