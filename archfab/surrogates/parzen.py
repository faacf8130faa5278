"""Densities of good and of other networks (Bergstra et al., NeurIPS 2011), with joint kernels over the decisions."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from archfab.core import Genotype, Label, key_of
from archfab.metrics.levels import Levels
from archfab.metrics.pareto import Point
from archfab.space import Space
from archfab.space.counting import Node

MOST_GOOD = 25      # as in Hyperopt (Bergstra et al., ICML 2013): in a long run the best, not the better half
DRAWS = 3           # draws for each candidate, since some are known already


class Rows:
    """Genotypes as rows of 0 and 1: a place for each option, and one for each decision that says whether the network
    has it."""

    def __init__(self, space: Space) -> None:
        places = [(name, label) for name, labels in space.labels.items() for label in labels]
        self.options = {place: i for i, place in enumerate(places)}
        self.decisions = {name: len(places) + i for i, name in enumerate(space.labels)}
        self.counts = np.array([len(labels) for labels in space.labels.values()], float)

    def __call__(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        rows = np.zeros((len(genotypes), len(self.options) + len(self.decisions)), np.float32)
        for row, genotype in zip(rows, genotypes, strict=True):
            row[[self.options[item] for item in genotype.items()]] = 1
            row[[self.decisions[name] for name in genotype]] = 1
        return rows


class Parzen:
    """A density over the genotypes of a conditional space: a kernel around each of n genotypes, and a prior.

    p(x) = (w u(x) + sum_i k(x|x_i)) / (w + n). The prior u takes every decision evenly, option by option as the
    tree opens; a kernel takes each of c options of a decision that x_i has with probability 1 / (r + c - 1), its
    own option r times as likely, and the options of one that x_i has not got evenly. So what is counted for a
    decision are the genotypes that have it, and the sum over all genotypes is 1. Kernels become narrow as
    genotypes become many: r = 1 + (n + 1) / w, the product form of a count with w / (n + 1) added to each option.

    :param genotypes: the x_i; `placed` are their rows.
    :param prior: w, in genotypes.
    """

    def __init__(self, space: Space, rows: Rows, genotypes: Sequence[Genotype], placed: np.ndarray,
                 prior: float) -> None:
        self.space = space
        self.genotypes = genotypes
        self.placed = placed
        self.prior = prior
        self.ratio = 1 + (len(genotypes) + 1) / prior
        self.even = np.concatenate([np.zeros(len(rows.options)), -np.log(rows.counts)])
        self.gain = np.concatenate([np.full(len(rows.options), math.log(self.ratio)),
                                    np.log(rows.counts) - np.log(self.ratio + rows.counts - 1)]).astype(np.float32)

    def log(self, rows: np.ndarray) -> np.ndarray:
        """The logarithm of the density at each row."""
        terms = np.full((len(rows), len(self.placed) + 1), math.log(self.prior))
        terms[:, :-1] = (rows * self.gain) @ self.placed.T
        most = terms.max(axis=1)
        return (rows @ self.even + most + np.log(np.exp(terms - most[:, None]).sum(axis=1))
                - math.log(self.prior + len(self.placed)))

    def draw(self, rng: random.Random) -> dict[str, Label]:
        """A genotype drawn from the density."""
        at = int(rng.random() * (len(self.genotypes) + self.prior))
        centre: Genotype = self.genotypes[at] if at < len(self.genotypes) else {}

        def pick(node: Node) -> Label:
            labels = self.space.labels[node.name]
            if node.name in centre and rng.random() * (self.ratio + len(labels) - 1) < self.ratio - 1:
                return centre[node.name]
            return labels[int(rng.random() * len(labels))]

        return self.space.walk(pick)


class Memory:
    """Outcomes of different networks, and what they say of where to go on.

    :param gamma: the share of the outcomes that is good.
    :param candidates: how many networks are drawn from the good ones' density for one proposal.
    :param prior: weight of the even density, in networks.
    """

    def __init__(self, space: Space, gamma: float, candidates: int, prior: float) -> None:
        self.gamma = gamma
        self.candidates = candidates
        self.prior = prior
        self.rows = Rows(space)
        self.genotypes: list[Genotype] = []
        self.placed: list[np.ndarray] = []
        self.levels = Levels()              # of all that did not fail

    def __len__(self) -> int:
        return len(self.genotypes)

    def add(self, genotype: Genotype, excess: float = math.inf, scores: Point = ()) -> None:
        """Takes in an outcome; one without scores and excess is a failure."""
        if excess < math.inf:
            self.levels.add(len(self.genotypes), excess, scores)
        self.genotypes.append(genotype)
        self.placed.append(self.rows([genotype])[0])

    def propose(self, space: Space, pending: Iterable[Genotype], tried: Callable[[Any], bool],
                rng: random.Random) -> Genotype | None:
        """Of candidates drawn from the good ones' density l, the one with the greatest l/g; None if all were tried.

        :param pending: networks that run; they count among the others, so that not all workers go to one place.
        """
        good, other = self.densities(space, pending)
        drawn: dict[Any, Genotype] = {}
        for _ in range(DRAWS * self.candidates):
            genotype = good.draw(rng)
            key = key_of(genotype)
            if not tried(key):
                drawn[key] = genotype
                if len(drawn) == self.candidates:
                    break
        if not drawn:
            return None
        listed = list(drawn.values())
        rows = self.rows(listed)
        return listed[int(np.argmax(good.log(rows) - other.log(rows)))]

    def densities(self, space: Space, pending: Iterable[Genotype] = ()) -> tuple[Parzen, Parzen]:
        """l and g: of the good networks, and of all others."""
        most = min(math.ceil(self.gamma * len(self.levels)), MOST_GOOD)
        good = list(islice(self.levels, most))
        rest = sorted(set(range(len(self.genotypes))).difference(good))
        running = list(pending)
        placed = np.array(self.placed).reshape(len(self.placed), -1)
        others = np.concatenate([placed[rest], self.rows(running)]) if running else placed[rest]
        return (Parzen(space, self.rows, [self.genotypes[i] for i in good], placed[good], self.prior),
                Parzen(space, self.rows, [*(self.genotypes[i] for i in rest), *running], others, self.prior))
