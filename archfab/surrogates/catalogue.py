"""Networks that a model-based strategy has looked at: their features once, their neighbours once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from random import Random
from typing import Any

import numpy as np

from archfab.core import Genotype, key_of
from archfab.space import Space
from archfab.surrogates.features import Features

NEIGHBOURS = 60         # of one network; of more, a random part


class Catalogue:
    """Rows of features by network, in the order in which they were first looked at."""

    def __init__(self, space: Space, features: Features) -> None:
        self.space = space
        self.features = features
        self.genotypes: list[Genotype] = []
        self.keys: list[Any] = []
        self.rows: dict[Any, int] = {}
        self.blocks: list[np.ndarray] = []
        self.around: dict[int, list[int]] = {}

    def add(self, genotypes: Iterable[Genotype]) -> list[int]:
        """The row of each network; new ones are described first."""
        listed = list(genotypes)
        keys = [key_of(genotype) for genotype in listed]
        new: dict[Any, Genotype] = {}
        for key, genotype in zip(keys, listed, strict=True):
            if key not in self.rows:
                new.setdefault(key, genotype)
        if new:
            for key in new:
                self.rows[key] = len(self.rows)
            self.keys += new
            self.genotypes += new.values()
            self._store(self.features(list(new.values())))
        return [self.rows[key] for key in keys]

    def at(self, rows: Sequence[int]) -> list[np.ndarray]:
        """The features of some rows, block by block."""
        chosen = np.asarray(rows, dtype=int)
        return [block[chosen] for block in self.blocks]

    def neighbours(self, row: int) -> list[int]:
        """Networks one decision away; where many, a part that depends on the network alone."""
        if row not in self.around:
            genotype = self.genotypes[row]
            rng = Random(f"neighbours:{row}")
            self.around[row] = self.add([self.space.fix({**genotype, name: other}, rng)
                                         for name, other in changes(self.space, genotype, rng)])
        return self.around[row]

    def draw(self, number: int, rng: Random) -> list[int]:
        """Random networks; every one of a space that is no larger than that."""
        counter = self.space.counter
        if counter and counter.count <= number:
            return self.add(self.space)
        return self.add(self.space.sample(rng) for _ in range(number))

    def _store(self, found: list[np.ndarray]) -> None:
        """Appends to arrays that grow by doubling."""
        count = len(self.genotypes)
        if not self.blocks:
            self.blocks = [np.empty((0, part.shape[1]), part.dtype) for part in found]
        for i, part in enumerate(found):
            if len(self.blocks[i]) < count:
                grown = np.zeros((max(256, 2 * count), part.shape[1]), part.dtype)
                grown[:len(self.blocks[i])] = self.blocks[i]
                self.blocks[i] = grown
            self.blocks[i][count - len(part):count] = part


def changes(space: Space, genotype: Genotype, rng: Random) -> list[tuple[str, Any]]:
    """The single changes of a network, or a random part of them where they are many."""
    every = [(name, other) for name, label in genotype.items() for other in space.labels[name] if other != label]
    if len(every) > NEIGHBOURS:
        rng.shuffle(every)
    return list(islice(every, NEIGHBOURS))
