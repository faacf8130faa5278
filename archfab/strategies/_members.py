"""Networks that were tried, what they scored, and networks that were not tried yet."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archfab.core import Event, Genotype, Goals, Key, Limit, Trial
from archfab.core import key_of as key
from archfab.space import Space

TRIES = 20      # draws for a network that was not tried yet


@dataclass(frozen=True, slots=True)
class Member:
    """A network that was tried: what it scored (smaller is better) and by how much it breaks the limits."""

    number: int
    genotype: Genotype
    excess: float
    scores: tuple[float, ...]       # empty where it was rejected without a trial
    rank: tuple[float, bool, tuple[float, ...]]     # small is good: feasibility first (Deb, CMAME 2000)

    @classmethod
    def of(cls, event: Event, goals: Goals, limits: Sequence[Limit]) -> Member | None:
        """What an event says of a network; None where that is nothing."""
        if event.kind not in ("ok", "rejected") or event.trial is None:
            return None
        excess = sum(limit.excess(event.metrics) for limit in limits)
        if event.kind == "rejected" and not excess:
            return None
        scores = tuple(event.metrics[name] if sense == "min" else -event.metrics[name]
                       for name, sense in goals.items()) if event.kind == "ok" else ()
        return cls(event.trial.number, event.trial.genotype, excess, scores, (excess, not scores, scores))


def fresh(space: Space, tried: Callable[[Key], bool], rng: random.Random) -> Genotype | None:
    """A random network that was not tried; None where there is none left.

    Where the draws are all known, a space that can be counted is gone through from a random place; in one that
    cannot, which is vast, the last draw is repeated.
    """
    for _ in range(TRIES):
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


def new_child(draw: Callable[[], Trial], space: Space, tried: set[Key], rng: random.Random) -> Trial:
    """The first child drawn that was not tried; a random network where all around is known."""
    for _ in range(TRIES):
        child = draw()
        if key(child.genotype) not in tried:
            return child
    return Trial(child.number, unseen(space, tried, rng))


def unseen(space: Space, tried: set[Key], rng: random.Random) -> Genotype:
    """A random network that was not tried; any where none is left."""
    return fresh(space, tried.__contains__, rng) or space.sample(rng)
