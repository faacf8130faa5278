"""Regularised evolution: tournament, one mutation, the oldest dies (Real et al., AAAI 2019)."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from archfab.core import Event, Genotype, Goals, Limit, Strategy, Trial, UsageError
from archfab.metrics.pareto import crowding, front
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

    A tournament is won by the member that breaks the limits least (Deb, CMAME 2000); among those that keep
    them by the best score, or with several objectives by a member that no other of the tournament dominates,
    the one that stands most alone (Deb et al., NSGA-II, IEEE TEC 2002).

    :param population: how many live at once; also how many are drawn before the first tournament.
    :param tournament: how many compete to be the parent.
    :param crossover: the share of children that have two parents.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, population: int = 20,
                 tournament: int = 5, crossover: float = 0.0) -> None:
        super().__init__(space, goals, limits)
        if not 1 <= tournament <= population:
            raise UsageError(f"a tournament of {tournament} does not fit a population of {population}; "
                             "1 <= tournament <= population")
        if not 0 <= crossover <= 1:
            raise UsageError(f"crossover is a share from 0 to 1, not {crossover}")
        self.population = population
        self.tournament = tournament
        self.crossover = crossover
        self.living: deque[Member] = deque(maxlen=population)

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
        self.living.append(Member(event.trial.number, event.trial.genotype, excess, scores))

    def _parent(self, rng: random.Random) -> Member:
        count = len(self.living)
        rivals = [self.living[int(rng.random() * count)] for _ in range(self.tournament)]
        least = min(rival.excess for rival in rivals)
        rivals = [rival for rival in rivals if rival.excess == least]
        if len(rivals) == 1 or not rivals[0].scores:
            return rivals[0]
        if len(self.goals) == 1:
            return min(rivals, key=attrgetter("scores"))
        best = [rivals[i] for i in front([rival.scores for rival in rivals])]
        alone = crowding([rival.scores for rival in best])
        return best[rng.choice([i for i, distance in enumerate(alone) if distance == max(alone)])]


export = Evolution
