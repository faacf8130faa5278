"""Weighs each option by itself, so that skips gain nothing by the others' loss (Chu et al., Fair DARTS, ECCV 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archfab.core import Goals, Limit, UsageError
from archfab.space import Space
from archfab.strategies._gradient import Gradient


class FairDarts(Gradient):
    """DARTS with a sigmoid for each option and a loss that draws it to 0 or 1.

    Differs from the paper: every decision takes its strongest option; there is no threshold below which none is taken.

    :param lessons: epochs in which the mixture is trained.
    :param rate: learning rate of the logits (Adam).
    :param warm: share of the lessons in which the weights alone learn.
    :param zero_one: weight of the zero-one loss, -mean (sigmoid - 0.5)^2 over all options.
    """

    zeros = False

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, lessons: int = 50,
                 rate: float = 3e-3, warm: float = 0.0, zero_one: float = 10.0) -> None:
        super().__init__(space, goals, limits, lessons=lessons, rate=rate, warm=warm)
        if zero_one < 0:
            raise UsageError(f"zero_one is a number from 0 up, not {zero_one!r}")
        self.zero_one = zero_one

    def lesson(self) -> dict[str, Any]:
        return {"weighting": "sigmoid", "zero_one": self.zero_one}


export = FairDarts
