"""DARTS that stops before skip connections take over, and is not drawn to them (Liang et al., DARTS+, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archfab.core import Goals, Label, Limit, UsageError
from archfab.space import Space
from archfab.strategies._gradient import Gradient

SETTLING = 0.1          # share of the lessons


class DartsPlus(Gradient):
    """DARTS with early stopping, an auxiliary skip, and a penalty on skips.

    Of DARTS+ is the early stop; the rest are remedies of others and of ours, each of which can be left out. Decisions
    settle for a tenth of the lessons before they can end them. In a space without skips this is DARTS.

    :param lessons: most epochs in which the mixture is trained.
    :param rate: learning rate of the logits (Adam).
    :param warm: share of the lessons in which the weights alone learn.
    :param skips: skip connections in one cell that end the lessons; the decisions before them count.
    :param auxiliary: weight of a skip beside all options at the start; it falls to 0 (DARTS-, Chu et al., ICLR 2021).
    :param penalty: weight of the mean chance of skips in the loss of the decisions; 0: none.
    """

    zeros = False

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, lessons: int = 50,
                 rate: float = 3e-3, warm: float = 0.0, skips: int = 2, auxiliary: float = 1.0,
                 penalty: float = 0.0) -> None:
        super().__init__(space, goals, limits, lessons=lessons, rate=rate, warm=warm)
        if skips < 1 or min(auxiliary, penalty) < 0:
            raise UsageError("skips are a whole number from 1 up; auxiliary and penalty are numbers from 0 up")
        self.most, self.auxiliary, self.penalty = skips, auxiliary, penalty
        self.kept: dict[str, dict[Label, float]] = {}

    def lesson(self) -> dict[str, Any]:
        return {"weighting": "softmax", "decay": 1e-3, "skips": self.skips,
                "auxiliary": self.auxiliary * (1 - self.progress), "skip_penalty": self.penalty}

    def taught(self, data: Mapping[str, Any]) -> None:
        super().taught(data)
        if self.progress <= self.warm:
            return
        if self.skipped() < self.most:
            self.kept = self.chances
        elif self.kept and self.progress > self.warm + SETTLING:
            self.chances, self.total = self.kept, self.done

    def begin(self) -> None:
        self.limit_skips(self.most - 1)     # where there were as many from the first lesson on
        super().begin()


export = DartsPlus
