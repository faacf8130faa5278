"""The elastic net while it learns: what a sampling rule does with a batch."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from archfab.core import BuildError, Diverged, Genotype, Label, Task, UsageError
from archfab.learning import make_optimizer, rate
from archfab.lowering.elastic import Elastic
from archfab.space import Space

DRAWS = 1000        # random networks, one of which can be built
PROBE = 15          # steps after which the time of a step is known, where lessons are bounded by time


def lessons_in(seconds: float, pace: float, steps: int, least: int = 2) -> int:
    """How many epochs fit into a time, at so many seconds a step."""
    return max(least, int(seconds / (pace * steps)))


class Student:
    """Shared weights, their optimizer, and the task that they learn."""

    def __init__(self, task: Task, space: Space) -> None:
        self.task, self.space = task, space
        self.net = Elastic(space, task.example())
        task.place(self.net)
        self.optimizer = make_optimizer(self.net, task.recipe)
        self.lessons = 0
        self.teaches = True
        self.proposals: list[Genotype] = []
        self._memory: dict[str, Any] = {}

    def epoch(self, step: Callable[..., float], number: int, data: Mapping[str, Any],
              rng: random.Random) -> dict[str, Any]:
        """One lesson: every batch once. Returns the mean loss and how many lessons there are to be.

        :raises Diverged: when the loss is no finite number.
        """
        total, steps, losses, start = data["of"], self.task.steps_an_epoch, [], time.monotonic()
        for i, batch in enumerate(self.task.batches("train", rng)):
            if i == steps:
                raise UsageError(f"the task '{self.task.name}' gives more batches in an epoch than its steps_an_epoch "
                                 f"says ({steps}); set it to their number")
            if i == min(PROBE, steps - 1):
                pace = (time.monotonic() - start) / max(1, i)
                if data.get("minutes"):
                    total = number - 1 + lessons_in(60 * data["minutes"], pace, steps, least=2 if number == 1 else 1)
                if data.get("within"):
                    total = min(total, lessons_in(60 * data["within"], pace, steps))
            progress = min(1.0, (number - 1 + i / steps) / total)
            for group in self.optimizer.param_groups:
                group["lr"] = self.task.recipe.lr * rate(progress, min(self.task.recipe.warmup, 1 / total))
            self.optimizer.zero_grad(set_to_none=True)
            losses.append(float(step(self, batch, progress, rng)))
            if not math.isfinite(losses[-1]):
                raise Diverged(f"the loss is {losses[-1]} at step {i + 1} of lesson {number}; a smaller --lr may help")
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.task.recipe.clip)
            self.optimizer.step()
        if not losses:
            raise UsageError(f"the training data of the task '{self.task.name}' gives no batch to learn from")
        return {"loss": sum(losses) / len(losses), "of": total}

    def learn(self, genotype: Genotype, batch: Any, like: Any = None, labels: bool = False,
              share: float = 1.0) -> tuple[float, Any]:
        """Adds the gradients of one network; returns its loss and its answer.

        :param like: another network's answer, to learn from in place of the labels (or beside them: `labels`).
        :param share: what the gradients are multiplied by.
        """
        answer = self.task.answer(self.net.at(genotype).train(), batch)
        loss: Any = self.task.loss(answer, batch) if like is None or labels else 0.0
        if like is not None:
            loss = loss + self.task.distance(answer, like)
        (loss * share).backward()
        return float(loss.detach()), pytree.tree_map_only(torch.Tensor, torch.Tensor.detach, answer)

    @torch.no_grad()
    def answer(self, genotype: Genotype, batch: Any) -> Any:
        """What a network says, without learning."""
        return self.task.answer(self.net.at(genotype).train(), batch)

    def loss(self, genotype: Genotype, batch: Any) -> float:
        """A network's loss, without learning."""
        return float(self.task.loss(self.answer(genotype, batch), batch))

    def draw(self, rng: random.Random, free: Callable[[str], bool] = lambda name: True) -> dict[str, Label]:
        """A random network that can be built: each decision evenly, those that are not free as in the largest."""
        for _ in range(DRAWS):
            found = self.space.walk(lambda node: rng.choice(self.space.labels[node.name]) if free(node.name)
                                    else self.net.defaults[node.name])
            if self.can(found):
                return found
        raise UsageError(f"of {DRAWS:,} networks drawn at random none could be built; leave out options that do not "
                         "fit together")

    def can(self, genotype: Genotype) -> bool:
        """Whether a network can be built: options may not fit together."""
        try:
            self.net.at(genotype)
        except BuildError:
            return False
        return True

    def macs(self, genotype: Genotype) -> int:
        """Multiply-accumulates of a network on one example."""
        from archfab.hardware.tracing import trace
        return trace(self.space, genotype, self.task.example_for(genotype) or ()).macs

    def remember(self, name: str, make: Callable[[], Any]) -> Any:
        """Something that a rule needs in every step, made once."""
        if name not in self._memory:
            self._memory[name] = make()
        return self._memory[name]
