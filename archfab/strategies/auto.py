"""The default: Bayesian optimisation on rich features, begun with the cheap figures that are known of a network."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from archfab.core import Genotype, Goals, Limit, Metrics, Trial
from archfab.space import Space
from archfab.strategies.bayes import Bayes

if TYPE_CHECKING:
    import numpy as np

    from archfab.surrogates.features import Features

BLIND = 2           # random networks first, whatever the hints say
BELIEF = 0.5        # the correlation of hints and quality that is believed before anything was tried ...
WEIGHT = 4.0        # ... and for how many networks that belief counts
LEAST = 0.25        # the correlation from which on the hints are followed
SAMPLE = 300        # networks that the hints of others are ranked among
DRAWN = 500         # networks of which the hints pick one
LACKING = -0.7      # the place of a network of which a hint is not known


class Auto(Bayes):
    """`bayes` with a better beginning and a kernel that knows more of a network.

    The first networks are those that the hints (parameters, operations, zero-cost scores) hold for the best, for
    as long as the hints agree with what was found: their correlation with the first goal is estimated anew after each
    network, from a belief that it is 0.5. Without hints, and where they mislead, they are random. The kernel
    compares decisions, numbers, how often each option stands in the network, and the paths of cells.

    :param initial: networks before the first model.
    :param candidates: random networks among those considered for a proposal.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, initial: int = 8,
                 candidates: int = 400) -> None:
        super().__init__(space, goals, limits, initial=initial, candidates=candidates)

    def features(self) -> Features:
        from archfab.surrogates.features import rich
        return rich(self.space)

    def ask(self, number: int, rng: random.Random) -> Trial | None:
        if self.plan or self.hints is None or not BLIND <= len(self.outcomes) < self.initial:
            return super().ask(number, rng)
        picked = self.hinted(rng)
        return super().ask(number, rng) if picked is None else Trial(number, picked)

    def hinted(self, rng: random.Random) -> Genotype | None:
        """Of some random networks the one that the hints hold for the best; None where they are not to be trusted."""
        assert self.hints
        tried = [event for event in self.outcomes.values() if event.kind == "ok" and event.trial]
        if not any(self.hints(event.trial.genotype).keys() - self.goals.keys() for event in tried if event.trial):
            return None
        import numpy as np

        from archfab.surrogates.gaussian import normal_scores
        drawn = [self.space.sample(rng) for _ in range(min(self.looks, DRAWN))]
        places = self.places([self.hints(g) for g in drawn + [event.trial.genotype for event in tried if event.trial]])
        hints, told = places[:len(drawn)], places[len(drawn):]
        quality = -normal_scores(np.array([self.scores(event.metrics)[0] for event in tried])) if len(tried) > 1 \
            else np.zeros(len(tried))
        if (WEIGHT * BELIEF + quality @ told) / (WEIGHT + told @ told) < LEAST:
            return None
        return next((drawn[i] for i in np.argsort(-hints, kind="stable")
                     if frozenset(drawn[i].items()) not in self.taken), None)

    def places(self, hints: Sequence[Metrics]) -> np.ndarray:
        """Where networks stand among a fixed sample, over all hints; of deviation 1."""
        assert self.hints
        import numpy as np
        source = random.Random("auto")
        sample = [self.hints(self.space.sample(source)) for _ in range(min(self.looks, SAMPLE))]
        total = np.zeros(len(hints))
        for name in dict.fromkeys(name for each in sample for name in each if name not in self.goals):
            known = np.sort([each[name] for each in sample if name in each])
            total += [3.5 * (np.searchsorted(known, each[name]) / len(known) - 0.5) if name in each else LACKING
                      for each in hints]
        return total / (total.std() or 1.0)


export = Auto
