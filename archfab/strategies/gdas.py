"""Draws one option of each decision by Gumbel noise and follows the soft gradient (Dong and Yang, GDAS, CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archfab.core import Goals, Limit, UsageError
from archfab.space import Space
from archfab.strategies._gradient import Gradient


class Gdas(Gradient):
    """One path a step, so that a lesson costs little more than the training of one network.

    w = onehot(argmax(log p + g)) + s - stop(s), s = softmax((log p + g) / temperature), g Gumbel noise.

    :param lessons: epochs in which the mixture is trained.
    :param rate: learning rate of the logits (Adam).
    :param warm: share of the lessons in which the weights alone learn.
    :param hot: temperature at the start; :param cold: at the end, linearly between.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, lessons: int = 100,
                 rate: float = 3e-3, warm: float = 0.0, hot: float = 10.0, cold: float = 0.1) -> None:
        super().__init__(space, goals, limits, lessons=lessons, rate=rate, warm=warm)
        if not hot >= cold > 0:
            raise UsageError("the temperature falls from hot to cold, both above 0")
        self.hot, self.cold = hot, cold

    def lesson(self) -> dict[str, Any]:
        return {"weighting": "hard_gumbel", "temperature": self.hot + (self.cold - self.hot) * self.progress,
                "decay": 1e-3}


export = Gdas
