"""Gumbel-softmax over all options, with the expected cost on the device in the loss (Wu et al., FBNet, CVPR 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from archfab.core import Goals, Limit, UsageError, unknown
from archfab.space import Space
from archfab.strategies._gradient import Gradient

COLDER = 4.05       # the temperature falls by exp(-this) over the lessons: 0.956 in each of 90


class FBNet(Gradient):
    """Loss times a power of the logarithm of the expected cost, which a table of the device's figures tells.

    loss * log2(1 + E / base)^weight, E the expected cost and base that of the likely network. Differs from the paper:
    the table is taken anew around the likely network in each lesson, the expected cost is that of the softmax without
    noise, and half of the data teaches the decisions, not a fifth.

    :param lessons: epochs in which the mixture is trained.
    :param rate: learning rate of the logits (Adam).
    :param warm: share of the lessons in which the weights alone learn.
    :param hot: temperature at the start.
    :param cost: the figure of the device that counts; latency_ms, or macs where the device tells none.
    :param weight: power of the cost in the loss.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, lessons: int = 60,
                 rate: float = 1e-2, warm: float = 0.1, hot: float = 5.0, cost: str = "",
                 weight: float = 0.6) -> None:
        super().__init__(space, goals, limits, lessons=lessons, rate=rate, warm=warm)
        if not hot > 0 or weight < 0:
            raise UsageError("hot is a temperature above 0, the weight of the cost a number from 0 up")
        self.hot, self.cost, self.weight = hot, cost, weight

    def lesson(self) -> dict[str, Any]:
        return {"weighting": "gumbel", "temperature": self.hot * math.exp(-COLDER * self.progress),
                **self.priced("times")}

    def priced(self, form: str) -> dict[str, Any]:
        """The table of costs around the likely network, where the decisions learn; nothing where no figures are
        known at all.

        :raises UsageError: before the first lesson, when the cost that counts is not among the figures.
        """
        if self.hints is None or not self.weight:
            return {}
        known = self.hints(self.likely())
        name = self.cost or ("latency_ms" if "latency_ms" in known else "macs")
        if name not in known:
            raise unknown("figure", name, list(known), "(--cost; a device gives more: --device NAME; of a device that "
                          "runs each network nothing is known beforehand, so take a table of it: archfab device table)")
        return {"cost": self.costs(name, self.weight, form)} if self.progress >= self.warm else {}


export = FBNet
