"""Bayesian optimisation: Gaussian process on the tree of decisions, (hypervolume) improvement (Snoek et al., 2012)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from archfab.core import Event, Genotype, Goals, Limit, Metrics, Strategy, Trial, UsageError, identity
from archfab.metrics.pareto import crowding, front
from archfab.space import Space
from archfab.strategies._members import Key, key, unseen

if TYPE_CHECKING:
    from archfab.surrogates.catalogue import Catalogue
    from archfab.surrogates.features import Features
    from archfab.surrogates.gaussian import Settings
    from archfab.surrogates.improvement import Model

MOST = 250          # outcomes that the model learns from: the best half, and others spread evenly
EVERY = 100         # outcomes until which a new plan is made after each; later after each 30th part of them
TOP = 8             # networks whose neighbours are candidates, and thrice as many with several goals


class Bayes(Strategy):
    """Models every goal, and every limit that only a trial can tell, with a Gaussian process.

    Next comes the network that is expected to improve most: over the best value (Jones et al., J. Global
    Optimization 1998), or over the hypervolume of the front (Emmerich et al., CEC 2011), times the probability that
    it keeps the limits (Gardner et al., ICML 2014). Candidates are the neighbours of the best networks and random
    ones. A network that failed counts as the worst so far. A goal or limit that the hints tell is not modelled for
    the most promising candidates, but taken as it is.

    :param initial: random networks before the first model.
    :param candidates: random networks among those considered for a proposal.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, initial: int = 10,
                 candidates: int = 400) -> None:
        super().__init__(space, goals, limits)
        for name, value, least in (("initial", initial, 2), ("candidates", candidates, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UsageError(f"{name} is a whole number from {least} up, not {value!r}")
        self.initial = initial
        self.candidates = candidates
        self.taken: set[Key] = set()                        # networks that were asked
        self.outcomes: dict[Key, Event] = {}                # the first of each network
        self.plan: list[Genotype] = []                      # what to try next, the best first
        self.planned = 0                                    # outcomes when the plan was made
        self.catalogue: Catalogue | None = None
        self.drawn: list[int] = []                          # random candidates of the last plans
        self.settings: dict[tuple[str, int], Settings] = {}     # of the last models, where the next search begins

    def ask(self, number: int, rng: random.Random) -> Trial | None:
        for genotype in self.plan:
            if key(genotype) not in self.taken:
                return Trial(number, genotype)
        return Trial(number, unseen(self.space, self.taken, rng))

    def tell(self, event: Event) -> None:
        if event.trial is None:
            return
        known = key(event.trial.genotype)
        self.taken.add(known)
        if event.kind in ("ok", "failed", "rejected") and known not in self.outcomes:
            self.outcomes[known] = event
            if self.due():
                self.planned = len(self.outcomes)
                self.plan = self.make_plan(random.Random(f"{self.planned}:{identity(event.trial.genotype)}"))

    def due(self) -> bool:
        """Whether the plan is used up or too old."""
        count = len(self.outcomes)
        age = max(1, count // 30) if count > EVERY else 1
        return count >= self.initial and (count - self.planned >= age or self.used_up())

    def used_up(self) -> bool:
        return all(key(genotype) in self.taken for genotype in self.plan)

    def features(self) -> Features:
        from archfab.surrogates.features import tree
        return tree(self.space)

    def make_plan(self, rng: random.Random) -> list[Genotype]:
        """The candidates that are expected to improve most, the best first."""
        from archfab.surrogates.catalogue import Catalogue
        if self.catalogue is None:
            self.catalogue = Catalogue(self.space, self.features())
        known = [event for event in self.outcomes.values() if event.kind in ("ok", "failed")]
        if not any(event.kind == "ok" for event in known):
            return []
        ranked = self.ranked(known)
        rows = self.choose_candidates([event.trial.genotype for event in ranked if event.kind == "ok" and event.trial],
                                      rng)
        if not rows:
            return []
        model, rows = self.model(thinned(ranked), rows, rng)
        number = 4 + 2 * max(1, len(self.outcomes) // 30)
        gains = model.gains(rows)
        best = [rows[i] for i in (-gains).argsort(kind="stable")]
        if self.hints is not None and (told := model.told(self.hints(self.catalogue.genotypes[best[0]]))):
            sure = [rows[i] for i in (-model.chance(rows)).argsort(kind="stable")] if self.limits else []
            half = self.looks // 2 if sure else self.looks
            best = self.looked_at([*dict.fromkeys([*best[:half], *sure[:self.looks - half]])], model, told)
        return [self.catalogue.genotypes[row] for row in best[:number]]

    def model(self, events: Sequence[Event], rows: list[int], rng: random.Random) -> tuple[Model, list[int]]:
        """A model of what the trials told, and the candidates that it is for."""
        from archfab.surrogates.improvement import Model
        assert self.catalogue
        return Model(self.catalogue, self.catalogue.at, events, self.goals, self.limits, self.settings, rng), rows

    def looked_at(self, rows: Sequence[int], model: Model, told: Sequence[str]) -> list[int]:
        """Candidates in the order that their known figures give them, those that keep the limits first."""
        assert self.hints and self.catalogue
        exact = [self.hints(self.catalogue.genotypes[row]) for row in rows]
        gains = model.gains(rows, {name: [each.get(name) for each in exact] for name in told})
        excess = [sum(limit.excess(each) for limit in self.limits) for each in exact]
        return [rows[i] for i in sorted(range(len(rows)), key=lambda i: (excess[i], -gains[i]))]

    def choose_candidates(self, best: Sequence[Genotype], rng: random.Random) -> list[int]:
        """Rows of the catalogue that were not tried: neighbours of the best networks, and random ones."""
        assert self.catalogue
        top = TOP if len(self.goals) == 1 else 3 * TOP
        catalogue, new = self.catalogue, self.candidates if not self.drawn else max(1, self.candidates // 8)
        self.drawn = [*self.drawn, *catalogue.draw(new, rng)][-2 * self.candidates:]
        near = [row for start in catalogue.add(best[:top]) for row in catalogue.neighbours(start)]
        return [row for row in dict.fromkeys([*near, *self.drawn]) if catalogue.keys[row] not in self.taken]

    def ranked(self, events: Sequence[Event]) -> list[Event]:
        """The best first: those that keep the limits before others, and failed ones last; with several goals front
        by front, the lonely ones of each first."""
        excess = {id(event): sum(limit.excess(event.metrics) for limit in self.limits) for event in events}
        good = [event for event in events if event.kind == "ok" and not excess[id(event)]]
        bad = sorted((event for event in events if event.kind == "ok" and excess[id(event)]),
                     key=lambda event: excess[id(event)])
        failed = [event for event in events if event.kind == "failed"]
        if len(self.goals) == 1:
            good.sort(key=lambda event: self.scores(event.metrics))
            return [*good, *bad, *failed]
        ordered: list[Event] = []
        while good:
            points = [self.scores(event.metrics) for event in good]
            layer = front(points)
            alone = crowding([points[i] for i in layer])
            ordered += [good[layer[i]] for i in sorted(range(len(layer)), key=lambda i: -alone[i])]
            if len(ordered) > 2 * MOST or len(layer) == len(good):
                taken = set(layer)
                return [*ordered, *(event for i, event in enumerate(good) if i not in taken), *bad, *failed]
            good = [event for i, event in enumerate(good) if i not in set(layer)]
        return [*ordered, *bad, *failed]

    def scores(self, metrics: Metrics) -> tuple[float, ...]:
        """The goals as numbers to be made small."""
        return tuple(metrics[name] if sense == "min" else -metrics[name] for name, sense in self.goals.items())


def thinned(ranked: Sequence[Event]) -> list[Event]:
    """At most `MOST` of them: the first half of that, and of the others evenly."""
    if len(ranked) <= MOST:
        return list(ranked)
    half = MOST // 2
    rest = ranked[half:]
    return [*ranked[:half], *(rest[i * len(rest) // half] for i in range(half))]


export = Bayes
