"""NSGA-II: non-dominated sorting and crowding, feasibility first (Deb et al., IEEE TEC 2002)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from archfab.core import Event, Goals, Limit, Strategy, Trial, UsageError
from archfab.metrics.pareto import best_first
from archfab.space import Space
from archfab.strategies._members import Key, Member, key, new_child, unseen


class NSGA2(Strategy):
    """An elitist genetic algorithm for several objectives and limits.

    Parents win tournaments of two: the member of the better front, or the one that stands more alone on the same
    (constrained domination: networks that break the limits come last, by how much). It is the steady form: every
    result takes part in the selection at once, in whatever order results come (Nebro and Durillo, EMO 2009,
    find it better than the paper's whole generations, and so it is on the tables). With one objective it is an
    elitist genetic algorithm.

    :param population: how many live at once; also how many are drawn before the first tournament.
    :param crossover: the share of children that have two parents, each decision from either.
    :param mutation: the share of these that have one decision changed as well; children of one parent always have.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, population: int = 20,
                 crossover: float = 0.9, mutation: float = 0.5) -> None:
        super().__init__(space, goals, limits)
        if not isinstance(population, int) or isinstance(population, bool) or population < 2:
            raise UsageError(f"a population is a whole number from 2 up, not {population!r}")
        for name, share in (("crossover", crossover), ("mutation", mutation)):
            if isinstance(share, bool) or not (isinstance(share, int | float) and 0 <= share <= 1):
                raise UsageError(f"{name} is a share from 0 to 1, not {share!r}")
        self.population = population
        self.crossover = crossover
        self.mutation = mutation
        self.tried: set[Key] = set()
        self.living: list[Member] = []      # the best first

    def ask(self, number: int, rng: random.Random) -> Trial:
        if number < self.population or not self.living:
            return Trial(number, unseen(self.space, self.tried, rng))
        return new_child(lambda: self._child(number, rng), self.space, self.tried, rng)

    def _child(self, number: int, rng: random.Random) -> Trial:
        parent = self._parent(rng)
        child = parent.genotype
        crossed = rng.random() < self.crossover
        if crossed:
            child = self.space.crossover(child, self._parent(rng).genotype, rng)
        if not crossed or rng.random() < self.mutation:
            child = self.space.mutate(child, rng)
        return Trial(number, child, parent=parent.number)

    def tell(self, event: Event) -> None:
        if event.trial is None:
            return
        self.tried.add(key(event.trial.genotype))
        member = Member.of(event, self.goals, self.limits)
        if member is None:
            return
        members = [*self.living, member]
        order = best_first([each.scores for each in members], [each.excess for each in members])
        self.living = [members[i] for i in order[:self.population]]

    def _parent(self, rng: random.Random) -> Member:
        """The better of two: of a better front, or more alone on the same."""
        return self.living[min(int(rng.random() * len(self.living)) for _ in range(2))]


export = NSGA2
