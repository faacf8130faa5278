"""Exhaustive search: every architecture of a space once, in the order in which they are numbered."""

from __future__ import annotations

import random
from collections.abc import Sequence

from archfab.core import Event, Goals, Limit, Strategy, Trial, UsageError
from archfab.space import Space


class Exhaustive(Strategy):
    """Enumerates a space that can be counted; ends when every architecture was proposed."""

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = ()) -> None:
        super().__init__(space, goals, limits)
        if space.counter is None:
            raise UsageError("exhaustive search needs a space whose architectures can be counted, and the decisions "
                             "of this one are too entangled; take another --strategy")

    def ask(self, number: int, rng: random.Random) -> Trial | None:
        assert self.space.counter
        if number >= self.space.counter.count:
            return None
        return Trial(number, self.space.fix(self.space.counter.at(number)))

    def tell(self, event: Event) -> None:
        pass


export = Exhaustive
