"""Asynchronous successive halving: who is in the top 1/eta of a rung goes on at once (Li et al., MLSys 2020)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from archfab.core import Genotype, Goals, Limit, Trial
from archfab.metrics.levels import Levels
from archfab.space import Space
from archfab.strategies._halving import Halving
from archfab.strategies._members import Member


@dataclass(slots=True)
class Stage:
    """A rung on its way: who has ended in it, and who was promoted out of it."""

    ended: int = 0                                                  # failed ones too, rejected ones not
    ranking: Levels = field(default_factory=Levels)
    genotypes: dict[int, Genotype] = field(default_factory=dict)    # of the ranked, by number of their trial
    promoted: set[int] = field(default_factory=set)


class ASHA(Halving):
    """Successive halving that never waits.

    Each proposal is the promotion of a network that is among the best 1/eta of the trials that have ended in its
    rung, from the highest rung that has one, or else a new network in the lowest. With several objectives the best
    are those of the first fronts, the lonely first; networks that break limits come after those that keep them;
    failed ones count as the worst, rejected ones not at all. When there is no new network left in a small space, the
    best that remain are promoted.

    :param eta: of how many networks one is promoted.
    :param least: the shortest trial, as a share of a whole one.
    """

    multifidelity = True

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, eta: int = 3,
                 least: float = 1 / 9) -> None:
        super().__init__(space, goals, limits, eta, least)
        self.stages = {fidelity: Stage() for fidelity in self.fidelities}

    def ask(self, number: int, rng: random.Random) -> Trial | None:
        for parent, genotype, fidelity in self._promotable():
            return Trial(number, genotype, parent=parent, fidelity=fidelity)
        found = self._new(self.fidelities[0], rng)
        if found is not None:
            return Trial(number, found, fidelity=self.fidelities[0])
        for parent, genotype, fidelity in self._promotable(everyone=True):
            return Trial(number, genotype, parent=parent, fidelity=fidelity)
        return None

    def _begin(self, trial: Trial) -> None:
        for stage in self.stages.values():
            if trial.parent in stage.genotypes:
                stage.promoted.add(trial.parent)

    def _end(self, trial: Trial, member: Member | None, rejected: bool) -> None:
        stage = self.stages.get(trial.fidelity)
        if stage is None or rejected:           # a fidelity that is none of ours, or never in the rung
            return
        stage.ended += 1
        if member is not None:
            stage.ranking.add(trial.number, member.excess, member.scores)
            stage.genotypes[trial.number] = trial.genotype

    def _promotable(self, everyone: bool = False) -> Iterator[tuple[int, Genotype, float]]:
        """Who may go on, with the fidelity that is next; the highest rung first, in it the best."""
        for below, above in reversed(list(zip(self.fidelities, self.fidelities[1:], strict=False))):
            stage = self.stages[below]
            for number in islice(stage.ranking, None if everyone else stage.ended // self.eta):
                if number not in stage.promoted:
                    yield number, stage.genotypes[number], above


export = ASHA
