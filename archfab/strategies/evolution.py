"""Regularised evolution: tournament, one mutation, the oldest dies (Real et al., AAAI 2019)."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from operator import attrgetter

from archfab.core import Event, Goals, Limit, Strategy, Trial, UsageError
from archfab.metrics.pareto import crowding, dominates
from archfab.space import Space
from archfab.strategies._members import Key, Member, key, new_child, unseen


class Evolution(Strategy):
    """Regularised evolution with limits and any number of objectives.

    A tournament is won by the member that breaks the limits least (Deb, CMAME 2000), and among those that keep
    them by the best score. With several objectives the networks that none dominates do not die of age: as soon
    as there are two, parents come from them alone, of two drawn the one that stands more alone (crowding as in
    Deb et al., NSGA-II, IEEE TEC 2002).

    Two things differ from the paper, and found better networks on all seven tables measured: a network that was
    tried is not proposed again, another tournament is held instead; and a tournament's rivals are different members.

    :param population: how many live at once; also how many are drawn before the first tournament.
    :param tournament: how many compete to be the parent.
    :param crossover: the share of children that have two parents.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, population: int = 20,
                 tournament: int = 10, crossover: float = 0.0) -> None:
        super().__init__(space, goals, limits)
        if not (isinstance(population, int) and isinstance(tournament, int) and 1 <= tournament <= population):
            raise UsageError(f"a tournament of {tournament} does not fit a population of {population}; "
                             "1 <= tournament <= population")
        if not (isinstance(crossover, int | float) and 0 <= crossover <= 1):
            raise UsageError(f"crossover is a share from 0 to 1, not {crossover!r}")
        self.population = population
        self.tournament = tournament
        self.crossover = crossover
        self.tried: set[Key] = set()
        self.living: deque[Member] = deque(maxlen=population)
        self.front: list[Member] = []           # with several objectives: kept whatever their age
        self.alone: list[float] = []            # how far each of them is from its neighbours

    def ask(self, number: int, rng: random.Random) -> Trial:
        if number < self.population or not self.living:
            return Trial(number, unseen(self.space, self.tried, rng))
        return new_child(lambda: self._child(number, rng), self.space, self.tried, rng)

    def _child(self, number: int, rng: random.Random) -> Trial:
        parent = self._parent(rng)
        genotype = parent.genotype
        if self.crossover and rng.random() < self.crossover:
            genotype = self.space.crossover(genotype, self._parent(rng).genotype, rng)
        return Trial(number, self.space.mutate(genotype, rng), parent=parent.number)

    def tell(self, event: Event) -> None:
        if event.trial is None:
            return
        self.tried.add(key(event.trial.genotype))
        member = Member.of(event, self.goals, self.limits)
        if member is None:
            return
        self.living.append(member)
        if len(self.goals) > 1 and member.scores and not member.excess:
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
        rivals = rng.sample(range(len(self.living)), min(self.tournament, len(self.living)))
        return min((self.living[i] for i in rivals), key=attrgetter("rank"))


export = Evolution
