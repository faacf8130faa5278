"""A null task: its score is a known function of the decisions, so that strategies can be tested at once."""

from __future__ import annotations

import time

from archfab.core import Genotype, Metrics, Task, UsageError, identity
from archfab.space import choose, repeat

KINDS = {"skip": 0.0, "pool": 0.35, "conv3": 0.8, "conv5": 1.0}
WIDTHS = (8, 16, 24, 32, 48, 64)
DEPTHS = (2, 3, 4, 5, 6)


class Toy(Task):
    """Error falls with useful layers and width, `size` rises with them: the best of both is known.

    error = 0.05 + 0.9 / (1 + width/64 * sum of the layers' strengths), size = width * (1 + layers that
    compute). The least error is 0.05 + 0.9 / 7 at width 64 with six `conv5`.

    :param delay: seconds that each trial takes, to test what long trials meet.
    :param fail: the share of architectures that fail, the same ones every time.
    """

    name = "toy"
    goals = {"error": "min"}
    scores = ("error", "size")
    estimator = "exact"

    def __init__(self, *, delay: float = 0.0, fail: float = 0.0) -> None:
        if delay < 0 or not 0 <= fail <= 1:
            raise UsageError("toy takes a delay of 0 or more seconds and a share of failures from 0 to 1")
        self.delay = delay
        self.fail = fail

    def space(self, name: str | None = None) -> list[object]:
        return [choose("width", *WIDTHS),
                repeat(choose("depth", *DEPTHS), lambda i: choose(f"layer{i}", *KINDS))]

    def known(self, genotype: Genotype) -> Metrics:
        if self.delay:
            time.sleep(self.delay)
        if self.fail and int(identity(genotype), 16) % 1000 < 1000 * self.fail:
            raise RuntimeError("this architecture fails by construction")
        width = genotype["width"]
        layers = [KINDS[genotype[f"layer{i}"]] for i in range(genotype["depth"])]    # type: ignore
        strength = width / 64 * sum(layers)                                         # type: ignore
        return {"error": 0.05 + 0.9 / (1 + strength),
                "size": float(width * (1 + sum(1 for layer in layers if layer))),     # type: ignore
                }

    def baseline(self) -> dict[str, Metrics]:
        """The middle of every decision."""
        middle: Genotype = {"width": 32, "depth": 4, **{f"layer{i}": "conv3" for i in range(4)}}
        return {"middle": Toy().known(middle)}


export = Toy
