"""DARTS in nets that grow deeper while options are dropped (Chen et al., P-DARTS, ICCV 2019)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from archfab.core import Goals, Label, Limit, UsageError
from archfab.space import Space
from archfab.strategies._gradient import Gradient

DEPTHS = (1 / 3, 2 / 3, 1.0)        # share of each run of equal parts that is built, by stage
KEPT = (1.0, 0.625, 0.375)          # share of the options that are open: 8, 5 and 3 of eight
DROPOUT = (0.0, 0.4, 0.7)           # of skips at the start of a stage; it falls to 0


class PDarts(Gradient):
    """Progressive DARTS: three stages, each of a new, deeper mixture with the better options of the one before.

    Deeper: runs of equal parts, such as the cells of a stage (`--cells 3`), are built to a third, two thirds, whole. In
    a space without such runs the stages only drop options. Differs from the paper: whole skips
    are dropped out, less and less in a straight line, and limited by giving way to the next option, without another
    search.

    :param lessons: epochs in which mixtures are trained, a third for each stage.
    :param rate: learning rate of the logits (Adam).
    :param warm: share of each stage in which the weights alone learn.
    :param skips: skip connections that a cell keeps at the end; the weakest beyond them give way.
    """

    zeros = False

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, lessons: int = 51,
                 rate: float = 3e-3, warm: float = 0.4, skips: int = 2) -> None:
        super().__init__(space, goals, limits, lessons=lessons, rate=rate, warm=warm)
        if lessons < len(DEPTHS) or skips < 0:
            raise UsageError(f"pdarts takes {len(DEPTHS)} lessons or more, and skips from 0 up")
        self.most = skips
        self.allowed: dict[str, list[Label]] = {}

    @property
    def stage(self) -> tuple[int, float, int, int]:
        """The stage of the next lesson, how far it is in it, its first lesson and how many it has."""
        stage = min(len(DEPTHS) - 1, self.done * len(DEPTHS) // self.total)
        first = math.ceil(stage * self.total / len(DEPTHS))
        length = math.ceil((stage + 1) * self.total / len(DEPTHS)) - first
        return stage, (self.done - first) / length, first, length

    def lesson(self) -> dict[str, Any]:
        stage, progress, first, length = self.stage
        return {"stage": [first, length], "weighting": "softmax", "decay": 1e-3,
                "allowed": self.allowed, "share": DEPTHS[stage],
                "fresh": progress == 0, "learns": progress >= self.warm, "skips": self.skips,
                "skip_dropout": DROPOUT[stage] * (1 - progress)}

    def taught(self, data: Mapping[str, Any]) -> None:
        super().taught(data)
        stage, progress, *_ = self.stage
        if progress == 0 and self.done < self.total:
            self.allowed = {name: strongest(known, math.ceil(KEPT[stage] * len(self.space.labels[name])))
                            for name, known in self.chances.items()}

    def begin(self) -> None:
        self.limit_skips(self.most)
        super().begin()


def strongest(chances: Mapping[Label, float], number: int) -> list[Label]:
    """The most probable labels, in their own order."""
    kept = sorted(chances, key=lambda label: -chances[label])[:max(1, number)]
    return [label for label in chances if label in kept]


export = PDarts
