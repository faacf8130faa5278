"""The default: Bayesian optimisation on rich features, begun with the cheap figures that are known of a network."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from archfab.core import Event, Genotype, Goals, Limit, Trial
from archfab.space import Space
from archfab.strategies._members import key
from archfab.strategies.bayes import Bayes
from archfab.strategies.local_search import LocalSearch

if TYPE_CHECKING:
    import numpy as np

    from archfab.surrogates.features import Features, Standing
    from archfab.surrogates.improvement import Model

BLIND = 2           # random networks first, whatever the hints say
BELIEF = 0.5        # the correlation of hints and quality that is believed before anything was tried ...
WEIGHT = 4.0        # ... and for how many networks that belief counts
LEAST = 0.25        # the correlation from which on the hints are followed
SAMPLE = 300        # networks that the hints of others are ranked among
DRAWN = 500         # networks of which the hints pick one
THIRD = 3           # with several goals each such network comes from local search ...
MODELLED = 20       # ... after that many


class Auto(Bayes):
    """`bayes` with a better beginning and a kernel that knows more of a network.

    The first networks are those that the hints (parameters, operations, zero-cost scores) hold for the best, for
    as long as the hints agree with what was found: their correlation with the first goal is estimated anew after each
    network, from a belief that it is 0.5. Without hints, and where they mislead, they are random. The kernel
    compares decisions, numbers, how often each option stands in the network, and the paths of cells. With several
    goals it compares the hints as well: a front needs models of good and of bad networks, which the hints tell apart;
    among the best alone they say little, and were of no help with one goal on the tables. And every third network
    is then a neighbour of the front, by Pareto local search: the model is too sure where a front is thin.

    :param initial: networks before the first model.
    :param candidates: random networks among those considered for a proposal.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, initial: int = 8,
                 candidates: int = 400) -> None:
        super().__init__(space, goals, limits, initial=initial, candidates=candidates)
        self.climber = LocalSearch(space, goals, limits) if len(goals) > 1 else None
        self.standing: Standing | None = None        # what the hints of networks are ranked by: a fixed sample
        self.stands: dict[int, np.ndarray] = {}     # by their hints, rows of the catalogue

    def features(self) -> Features:
        from archfab.surrogates.features import rich
        return rich(self.space)

    def ask(self, number: int, rng: random.Random) -> Trial | None:
        if self.climber and number % THIRD == 0 and len(self.outcomes) >= MODELLED:
            return self.climber.ask(number, rng)
        if self.plan or not self.standing or not BLIND <= len(self.outcomes) < self.initial:
            return super().ask(number, rng)
        picked = self.hinted(rng)
        return super().ask(number, rng) if picked is None else Trial(number, picked)

    def tell(self, event: Event) -> None:
        if self.climber:
            self.climber.tell(event)
        if self.hints and event.trial and self.standing is None and \
                self.hints(event.trial.genotype).keys() - self.goals.keys():
            from archfab.surrogates.features import Standing
            source = random.Random("auto")
            self.standing = Standing([self.hints(self.space.sample(source))
                                      for _ in range(min(self.looks, SAMPLE))], self.goals)
        super().tell(event)

    def hinted(self, rng: random.Random) -> Genotype | None:
        """Of some random networks the one that the hints hold for the best; None where they are not to be trusted."""
        assert self.hints and self.standing
        tried = [event for event in self.outcomes.values() if event.kind == "ok" and event.trial]
        import numpy as np

        from archfab.surrogates.gaussian import normal_scores
        drawn = [self.space.sample(rng) for _ in range(min(self.looks, DRAWN))]
        places = self.standing([self.hints(genotype) for genotype in
                                drawn + [event.trial.genotype for event in tried if event.trial]]).sum(axis=1)
        places /= places.std() or 1.0
        hints, told = places[:len(drawn)], places[len(drawn):]
        quality = -normal_scores(np.array([self.scores(event.metrics)[0] for event in tried])) if len(tried) > 1 \
            else np.zeros(len(tried))
        if (WEIGHT * BELIEF + quality @ told) / (WEIGHT + told @ told) < LEAST:
            return None
        return next((drawn[i] for i in np.argsort(-hints, kind="stable")
                     if key(drawn[i]) not in self.taken), None)

    def model(self, events: Sequence[Event], rows: list[int], rng: random.Random) -> tuple[Model, list[int]]:
        """With several goals the model has the hints too, of as many candidates as may be looked at."""
        if len(self.goals) == 1 or not self.standing:
            return super().model(events, rows, rng)
        from archfab.surrogates.improvement import Model
        assert self.catalogue
        if len(rows) > self.looks:
            plain, rows = super().model(events, rows, rng)
            rows = [rows[i] for i in (-plain.gains(rows)).argsort(kind="stable")[:self.looks]]
        return Model(self.catalogue, self.described, events, self.goals, self.limits, self.settings, rng), rows

    def described(self, rows: Sequence[int]) -> list[np.ndarray]:
        """The features of rows of the catalogue and, as one more block, what their hints say."""
        import numpy as np
        assert self.hints and self.standing and self.catalogue
        new = [row for row in dict.fromkeys(rows) if row not in self.stands]
        if new:
            found = self.standing([self.hints(self.catalogue.genotypes[row]) for row in new])
            self.stands.update(zip(new, found, strict=True))
        return [*self.catalogue.at(rows), np.stack([self.stands[row] for row in rows])]


export = Auto
