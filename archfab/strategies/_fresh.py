"""Networks that were not tried yet."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from archfab.core import Genotype
from archfab.space import Space
from archfab.strategies.evolution import key

DRAWS = 20


def fresh(space: Space, tried: Callable[[Any], bool], rng: random.Random) -> Genotype | None:
    """A random network that was not tried; None where there is none left.

    Where the draws are all known, a space that can be counted is gone through from a random place; in one that
    cannot, which is vast, the last draw is repeated.

    :param tried: of a genotype's key.
    """
    for _ in range(DRAWS):
        genotype = space.sample(rng)
        if not tried(key(genotype)):
            return genotype
    if space.counter is None:
        return genotype
    start = rng.randrange(space.counter.count)
    for i in range(space.counter.count):
        genotype = space.fix(space.counter.at((start + i) % space.counter.count))
        if not tried(key(genotype)):
            return genotype
    return None
