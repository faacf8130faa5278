"""DARTS that stops before skip connections take over, and pays for them (Liang et al., DARTS+, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archfab.core import Goals, Label, Limit, UsageError
from archfab.space import Space
from archfab.strategies._gradient import Gradient


class DartsPlus(Gradient):
    """DARTS with early stopping and a penalty on skip connections.

    :param lessons: most epochs in which the mixture is trained.
    :param rate: learning rate of the logits (Adam).
    :param warm: share of the lessons in which the weights alone learn.
    :param skips: skip connections in one cell that end the lessons; the decisions before them count.
    :param penalty: weight of the mean chance of skips in the loss of the decisions; 0: none.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, lessons: int = 50,
                 rate: float = 3e-3, warm: float = 0.0, skips: int = 2, penalty: float = 0.5) -> None:
        super().__init__(space, goals, limits, lessons=lessons, rate=rate, warm=warm)
        if skips < 1 or penalty < 0:
            raise UsageError("skips are a whole number from 1 up, the penalty a number from 0 up")
        self.most, self.penalty = skips, penalty
        self.kept: dict[str, dict[Label, float]] = {}

    def lesson(self) -> dict[str, Any]:
        return {"weighting": "softmax", "decay": 1e-3, "skips": self.skips, "skip_penalty": self.penalty}

    def taught(self, data: Mapping[str, Any]) -> None:
        super().taught(data)
        if self.progress <= self.warm:
            return
        if self.skipped(self.chances) < self.most:
            self.kept = self.chances
        elif self.kept:
            self.chances, self.total = self.kept, self.done


export = DartsPlus
