"""Weighs all options by a softmax and follows its gradient (Liu et al., DARTS, ICLR 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archfab.core import Goals, Limit, UsageError
from archfab.space import Space
from archfab.strategies._gradient import Gradient


class Darts(Gradient):
    """Differentiable architecture search, of the first or of the second order: see `estimators/_bilevel.py`.

    Differs from the paper: each declared decision has its logits, so in the space `darts` the pairs of inputs of a node
    have some, and there is no zero; the step ahead of the second order is a plain gradient step; the logits learn ten
    times as fast (3e-3), and the weights by the task's own recipe.

    :param lessons: epochs in which the mixture is trained.
    :param rate: learning rate of the logits (Adam).
    :param warm: share of the lessons in which the weights alone learn.
    :param order: 2 follows the weights one step ahead; it takes about three times as long.
    """

    zeros = False

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, lessons: int = 50,
                 rate: float = 3e-3, warm: float = 0.0, order: int = 1) -> None:
        super().__init__(space, goals, limits, lessons=lessons, rate=rate, warm=warm)
        if order not in (1, 2):
            raise UsageError(f"order is 1 or 2, not {order!r}")
        self.order = order

    def lesson(self) -> dict[str, Any]:
        return {"weighting": "softmax", "order": self.order, "decay": 1e-3}


export = Darts
