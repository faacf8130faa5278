"""Neural predictors and independent Thompson sampling: BANANAS (White et al., AAAI 2021)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING

from archfab.core import Event, Genotype, Goals, Limit, Metrics, Strategy, Trial, UsageError, unknown
from archfab.space import Space
from archfab.space.encodings import Encoding, one_hot, paths
from archfab.strategies._members import Key, Member, fresh, key

if TYPE_CHECKING:
    import numpy as np

    from archfab.surrogates.ensemble import Ensemble

AGAIN = 0.3         # chance that a mutant is mutated once more
STRANGERS = 0.1     # share of the candidates that are random
FAR = 1.0           # a limit counts as broken or kept by at most this share of its size
SUM = 0.05          # weight of the sum beside the maximum in a direction (Knowles, 2006)

ENCODINGS = ("auto", "path", "one-hot")

Candidates = list[tuple[Genotype, int | None]]      # with the number of the parent


class Bananas(Strategy):
    """Proposes what an ensemble of neural predictors, trained on all results so far, holds for the best.

    Candidates are mutants of the best networks so far and some random ones. For each a score is drawn from
    N(mean, variance) of the ensemble's predictions, independently (ITS), and the one with the best draw is tried.
    The predictors learn the logarithm of a network's place among the others (see `surrogates.ensemble`); one that
    failed has the last place. A network is proposed once.

    With several objectives each proposal goes into a direction drawn at random: parents and the candidate are best
    by the weighted Chebyshev distance (Knowles, ParEGO, IEEE TEC 2006). What breaks a limit comes after what keeps
    it, by how much it does, and that is predicted as well. Objectives and limits that the hints tell are taken as
    they are for the most promising candidates.

    :param encoding: what a predictor sees: `path`, the paths of operations through the cells, as in the paper;
        `one-hot`, the decisions; `auto`, the decisions, and the paths where there are cells.
    :param initial: random networks before the predictors are first trained.
    :param refit: results after which they are trained anew.
    :param candidates: networks among which a proposal is chosen.
    :param parents: how many of the best networks the mutants come from.
    :param members: predictors of the ensemble.
    :param use_hints: whether predictors see the cheap figures of a network as well, which is not in the paper.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, encoding: str = "auto",
                 initial: int = 10, refit: int = 10, candidates: int = 100, parents: int = 10, members: int = 5,
                 use_hints: bool = False) -> None:
        super().__init__(space, goals, limits)
        for name, value, least in (("initial", initial, 2), ("refit", refit, 1), ("candidates", candidates, 1),
                                   ("parents", parents, 1), ("members", members, 2)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UsageError(f"{name} is a whole number from {least} up, not {value!r}")
        if not isinstance(use_hints, bool):
            raise UsageError(f"use_hints is true or false, not {use_hints!r}")
        self.encodings = encodings(space, encoding)
        self.initial = initial
        self.refit = refit
        self.candidates = candidates
        self.parents = parents
        self.members = members
        self.use_hints = use_hints
        self.tried: set[Key] = set()
        self.learned: dict[Key, Event] = {}         # the first outcome of each network that teaches something
        self.known: list[Member] = []               # of these the networks that did not fail
        self.figures: list[Metrics] = []            # the hints of each, where predictors see them
        self.predictor: Predictor | None = None

    def ask(self, number: int, rng: random.Random) -> Trial | None:
        if self.predictor is not None:
            direction = [rng.expovariate(1) for _ in self.goals]
            drawn = self._draw(direction, rng)
            if drawn:
                genotype, parent = drawn[self._choose([genotype for genotype, _ in drawn], direction, rng)]
                return Trial(number, genotype, parent=parent)
        found = fresh(self.space, self.tried.__contains__, rng)
        return None if found is None else Trial(number, found)

    def tell(self, event: Event) -> None:
        if event.trial is None:
            return
        told = key(event.trial.genotype)
        self.tried.add(told)
        member = Member.of(event, self.goals, self.limits)
        if told in self.learned or (member is None and event.kind != "failed"):
            return
        self.learned[told] = event
        if member is not None:
            self.known.append(member)
        self.figures.append(self.hints(event.trial.genotype) if self.use_hints and self.hints else {})
        age = len(self.learned) - self.initial
        if age >= 0 and age % self.refit == 0 and self.known:
            self.predictor = Predictor.learn(self.encodings, list(self.learned.values()), self.figures, self.goals,
                                             self.limits, self.members, int(self.space.id(event.trial.genotype), 16))

    def _draw(self, direction: Sequence[float], rng: random.Random) -> Candidates:
        """Networks that were not tried: mutants of the best, and random ones."""
        best = self._best(direction)
        number = min(self.candidates, self.looks) if self.use_hints and self.hints else self.candidates
        found: dict[Key, tuple[Genotype, int | None]] = {}
        for i in range(number):
            parent = best[int(rng.random() * len(best))] if i >= STRANGERS * number else None
            genotype = self.space.mutate(parent.genotype, rng) if parent else self.space.sample(rng)
            while parent and rng.random() < AGAIN:
                genotype = self.space.mutate(genotype, rng)
            found[key(genotype)] = genotype, parent.number if parent else None
        return [candidate for each, candidate in found.items() if each not in self.tried]

    def _best(self, direction: Sequence[float]) -> list[Member]:
        """The best networks in a direction; those that break a limit least where there are not enough."""
        kept = [member for member in self.known if member.scores and not member.excess]
        if len(self.goals) == 1 or len(kept) < self.parents:
            return nsmallest(self.parents, self.known, key=attrgetter("rank"))
        import numpy as np

        from archfab.surrogates.ensemble import log_places
        places = np.stack([log_places(column) for column in np.array([each.scores for each in kept]).T], axis=1)
        return [kept[i] for i in distances(places, direction).argsort(kind="stable")[:self.parents]]

    def _choose(self, drawn: Sequence[Genotype], direction: Sequence[float], rng: random.Random) -> int:
        """Which of the candidates has the best draw."""
        assert self.predictor
        figures: list[Metrics] = [self.hints(each) if self.use_hints and self.hints else {} for each in drawn]
        draws = self.predictor.draw(drawn, figures, rng)
        order = self.predictor.order(draws, figures, direction)
        if self.hints is None or self.use_hints or not self._told(self.hints(drawn[order[0]])):
            return int(order[0])
        order = order[:self.looks]
        figures = [self.hints(drawn[i]) for i in order]
        return int(order[self.predictor.order(draws[order], figures, direction)[0]])

    def _told(self, hints: Metrics) -> bool:
        """Whether hints tell an objective or a limit."""
        return any(name in hints for name in (*self.goals, *(limit.name for limit in self.limits)))


@dataclass(frozen=True)
class Predictor:
    """An ensemble that was trained on results, and what its inputs and targets mean.

    Targets are the goals by place, then by how much each limit is broken.
    """

    encodings: Sequence[Encoding]
    hints: Mapping[str, np.ndarray]                         # values of each that is seen, in order
    goals: Goals
    places: Mapping[str, tuple[np.ndarray, np.ndarray]]     # of each goal: values, the best first, and their targets
    limits: Sequence[Limit]
    ensemble: Ensemble

    @classmethod
    def learn(cls, encodings: Sequence[Encoding], events: Sequence[Event], figures: Sequence[Metrics], goals: Goals,
              limits: Sequence[Limit], members: int, seed: int) -> Predictor:
        """From finished trials, and the hints that predictors see of each."""
        import numpy as np

        from archfab.surrogates.ensemble import fit, log_places
        targets, places = [], {}
        for name, sense in goals.items():
            values = np.array([np.inf if event.kind == "failed" else sign(sense) * event.metrics.get(name, np.nan)
                               for event in events])
            targets.append(log_places(values))
            order = np.argsort(values)[:np.isfinite(values).sum()]
            places[name] = values[order], targets[-1][order]
        targets += [np.array([over(limit, event.metrics) for event in events]) for limit in limits]
        names = dict.fromkeys(name for each in figures for name in each)
        hints = {name: np.sort([each[name] for each in figures if name in each]) for name in names}
        x = see(encodings, [event.trial.genotype for event in events if event.trial], hints, figures)
        return cls(encodings, hints, goals, places, limits, fit(x, np.stack(targets, axis=1), seed, members=members))

    def draw(self, genotypes: Sequence[Genotype], figures: Sequence[Metrics], rng: random.Random) -> np.ndarray:
        """Independent Thompson sampling: targets [networks, targets] from N(mean, variance) over the ensemble."""
        import numpy as np
        predicted = self.ensemble.predict(see(self.encodings, genotypes, self.hints, figures))
        noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(predicted.shape[1:])
        return predicted.mean(axis=0) + predicted.std(axis=0) * noise

    def order(self, draws: np.ndarray, figures: Sequence[Metrics], direction: Sequence[float]) -> np.ndarray:
        """Networks by their drawn targets, the best first; a figure that is known stands in for the draw."""
        import numpy as np
        columns = draws.T.copy()
        for column, (name, (values, targets)) in zip(columns, self.places.items(), strict=False):
            known = [i for i, each in enumerate(figures) if name in each]
            if known and len(values):
                column[known] = np.interp([sign(self.goals[name]) * figures[i][name] for i in known], values, targets)
        excess = np.zeros(len(draws))
        for column, limit in zip(columns[len(self.goals):], self.limits, strict=True):
            excess += [limit.excess(each) if limit.name in each else max(0.0, value)
                       for value, each in zip(column.tolist(), figures, strict=True)]
        return np.lexsort((distances(columns[:len(self.goals)].T, direction), excess))


def see(encodings: Sequence[Encoding], genotypes: Sequence[Genotype], hints: Mapping[str, np.ndarray],
        figures: Sequence[Metrics]) -> np.ndarray:
    """What predictors see of networks: encodings, and hints by their place, from -1 to 1 and 0 where one is missing."""
    import numpy as np
    cheap = np.zeros((len(genotypes), len(hints)), np.float32)
    for column, (name, known) in zip(cheap.T, hints.items(), strict=True):
        there = [i for i, each in enumerate(figures) if name in each]
        column[there] = 2 * np.searchsorted(known, [figures[i][name] for i in there]) / len(known) - 1
    return np.concatenate([*(encoding(genotypes) for encoding in encodings), cheap], axis=1)


def encodings(space: Space, name: str) -> list[Encoding]:
    """What predictors see, by the name of the option."""
    if name not in ENCODINGS:
        raise unknown("encoding", name, ENCODINGS)
    by_path = None if name == "one-hot" else paths(space)
    if name == "path" and by_path is None:
        raise UsageError("the space has no cells, whose paths could be encoded; take the encoding one-hot or auto")
    return [each for each in (by_path, one_hot(space) if name != "path" else None) if each]


def over(limit: Limit, metrics: Metrics) -> float:
    """By how much of its size a limit is broken, below 0 where it is kept; NaN where that is not known."""
    if limit.name not in metrics:
        return float("nan")
    value = metrics[limit.name] - limit.value
    return min(max((value if limit.sense == "<=" else -value) / (abs(limit.value) or 1.0), -FAR), FAR)


def distances(points: np.ndarray, direction: Sequence[float]) -> np.ndarray:
    """Augmented Chebyshev distances of points [n, goals] from the best of each goal, weighted by a direction."""
    if points.shape[1] == 1:
        return points[:, 0]
    away = (points - points.min(axis=0)) * direction
    return away.max(axis=1) + SUM * away.sum(axis=1)


def sign(sense: str) -> float:
    return 1.0 if sense == "min" else -1.0


export = Bananas
