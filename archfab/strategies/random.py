"""Random search: every proposal drawn afresh from the space (Li and Talwalkar, UAI 2019)."""

from __future__ import annotations

import random

from archfab.core import Event, Strategy, Trial


class Random(Strategy):
    """Draws from the space, blind to every result."""

    def ask(self, number: int, rng: random.Random) -> Trial:
        return Trial(number, self.space.sample(rng))

    def tell(self, event: Event) -> None:
        pass


export = Random
