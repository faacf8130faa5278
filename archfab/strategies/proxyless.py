"""Binary gates that let one path through, with the expected cost of the target device in the loss (Cai et al.,
ProxylessNAS, ICLR 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archfab.core import Goals, Limit
from archfab.space import Space
from archfab.strategies.fbnet import FBNet


class Proxyless(FBNet):
    """Weights learn on one drawn path, decisions on two; the loss has the expected cost added.

    loss + weight * E / base, E the expected cost and base that of the likely network; the table is FBNet's.

    :param lessons: epochs in which the mixture is trained.
    :param rate: learning rate of the logits (Adam).
    :param warm: share of the lessons in which the weights alone learn.
    :param cost: the figure of the device that counts; latency_ms, or macs where the device tells none.
    :param weight: what the expected cost counts, in units of the likely network's.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, lessons: int = 100,
                 rate: float = 1e-2, warm: float = 0.25, cost: str = "", weight: float = 0.1) -> None:
        super().__init__(space, goals, limits, lessons=lessons, rate=rate, warm=warm, cost=cost, weight=weight)

    def lesson(self) -> dict[str, Any]:
        return {"weighting": "gates", "path": "one_path", **self.priced("plus")}


export = Proxyless
