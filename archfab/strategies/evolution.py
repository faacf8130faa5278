"""Regularised evolution: tournament, one mutation, the oldest dies (Real et al., AAAI 2019)."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from archfab.core import Event, Genotype, Goals, Limit, Strategy, Trial, UsageError
from archfab.metrics.pareto import crowding, dominates
from archfab.space import Space


@dataclass(frozen=True, slots=True)
class Member:
    """One of the population: what it scored (smaller is better) and by how much it breaks the limits."""

    number: int
    genotype: Genotype
    excess: float
    scores: tuple[float, ...]


class Evolution(Strategy):
    """Regularised evolution with limits and any number of objectives.

    A tournament is won by the member that breaks the limits least (Deb, CMAME 2000), and among those that keep
    them by the best score. With several objectives the networks that none dominates do not die of age: as soon
    as there are two, parents come from them alone, of two drawn the one that stands more alone (crowding as in
    Deb et al., NSGA-II, IEEE TEC 2002).

    :param population: how many live at once; also how many are drawn before the first tournament.
    :param tournament: how many compete to be the parent.
    :param crossover: the share of children that have two parents.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, population: int = 20,
                 tournament: int = 5, crossover: float = 0.0) -> None:
        super().__init__(space, goals, limits)
        if not (isinstance(population, int) and isinstance(tournament, int) and 1 <= tournament <= population):
            raise UsageError(f"a tournament of {tournament} does not fit a population of {population}; "
                             "1 <= tournament <= population")
        if not (isinstance(crossover, int | float) and 0 <= crossover <= 1):
            raise UsageError(f"crossover is a share from 0 to 1, not {crossover!r}")
        self.population = population
        self.tournament = tournament
        self.crossover = crossover
        self.living: deque[Member] = deque(maxlen=population)
        self.front: list[Member] = []           # with several objectives: kept whatever their age
        self.alone: list[float] = []            # how far each of them is from its neighbours

    def ask(self, number: int, rng: random.Random) -> Trial:
        if number < self.population or not self.living:
            return Trial(number, self.space.sample(rng))
        parent = self._parent(rng)
        genotype = parent.genotype
        if self.crossover and rng.random() < self.crossover:
            genotype = self.space.crossover(genotype, self._parent(rng).genotype, rng)
        return Trial(number, self.space.mutate(genotype, rng), parent=parent.number)

    def tell(self, event: Event) -> None:
        if event.kind not in ("ok", "rejected") or event.trial is None:
            return
        excess = sum(limit.excess(event.metrics) for limit in self.limits)
        scores = tuple(event.metrics[name] if sense == "min" else -event.metrics[name]
                       for name, sense in self.goals.items()) if event.kind == "ok" else ()
        member = Member(event.trial.number, event.trial.genotype, excess, scores)
        self.living.append(member)
        if len(self.goals) > 1 and scores and not excess:
            self._keep(member)

    def _keep(self, member: Member) -> None:
        """Takes a member into the front, unless one of it is as good in everything."""
        if any(dominates(other.scores, member.scores) or other.scores == member.scores for other in self.front):
            return
        self.front = [other for other in self.front if not dominates(member.scores, other.scores)]
        self.front.append(member)
        self.alone = crowding([other.scores for other in self.front])

    def _parent(self, rng: random.Random) -> Member:
        if len(self.front) > 1:
            rivals = [int(rng.random() * len(self.front)) for _ in range(2)]
            return self.front[max(rivals, key=self.alone.__getitem__)]
        count = len(self.living)
        best = (self.living[int(rng.random() * count)] for _ in range(self.tournament))
        return min(best, key=lambda rival: (rival.excess, not rival.scores, rival.scores))


export = Evolution
