"""PyGlove's regularised evolution as a strategy, so that it can be compared.

PyGlove's `propose` changes its state, so this one cannot resume a run; benchmarks only. Its algorithm is called
directly: through `pg.sample` a trial takes twice as long.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from archfab.core import Event, Goals, Limit, Strategy, Trial, UsageError
from archfab.space import Space


class PygloveEvolution(Strategy):
    """One `oneof` for each decision; a decision that an architecture has not got is ignored.

    :param population: how many live at once.
    :param tournament: how many compete to be the parent.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, population: int = 20,
                 tournament: int = 5) -> None:
        super().__init__(space, goals, limits)
        if len(goals) > 1 or limits:
            raise UsageError("this strategy takes one goal and no limits")
        self.sizes = (population, tournament)
        self.algorithm: Any = None
        self.open: dict[int, Any] = {}

    def ask(self, number: int, rng: random.Random) -> Trial:
        import pyglove as pg
        if self.algorithm is None:
            population, tournament = self.sizes
            self.algorithm = pg.evolution.regularized_evolution(
                population_size=population, tournament_size=tournament, seed=rng.randrange(2 ** 31))
            self.algorithm.setup(pg.dna_spec(pg.Dict({f"d{i}": pg.oneof(list(range(len(labels))))
                                                      for i, labels in enumerate(self.space.labels.values())})))
        self.open[number] = dna = self.algorithm.propose()
        picks = [dna.value] if len(self.space.labels) == 1 else [child.value for child in dna.children]
        chosen = {name: labels[pick] for (name, labels), pick in zip(self.space.labels.items(), picks, strict=True)}
        return Trial(number, self.space.walk(lambda node: chosen[node.name]))

    def tell(self, event: Event) -> None:
        if event.trial is None or event.kind not in ("ok", "failed", "rejected"):
            return
        dna = self.open.pop(event.trial.number)
        name, sense = next(iter(self.goals.items()))
        if event.kind == "ok":
            self.algorithm.feedback(dna, event.metrics[name] if sense == "max" else -event.metrics[name])


export = PygloveEvolution
