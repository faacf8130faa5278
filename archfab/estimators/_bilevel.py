"""Weights and decisions of a mixture learned side by side: min over a of L_held(w*(a), a), w*(a) = argmin L_train(w, a)
(Liu et al., DARTS, ICLR 2019)."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from archfab.core import Diverged, Task, UsageError
from archfab.estimators._student import PROBE, lessons_in
from archfab.learning import make_optimizer, rate
from archfab.lowering.mixture import Mixture
from archfab.space import Space

HELD = 0.5          # share of the training data that the decisions learn from; the weights learn from the rest
LEAST = 0.02        # share of the learning rate below which it does not fall: lessons may end early
SMALL = 0.01        # the finite difference of the second order moves the weights by this much, in norm

TINY = 1e-9         # a cost of nothing, in a logarithm

Loss = Callable[[], torch.Tensor]


class Learner:
    """A mixture with the optimizers of its weights and of its logits.

    Batch norms do not rescale while decisions are learned, so that an option cannot make up for its weight.
    """

    def __init__(self, task: Task, space: Space, data: Mapping[str, Any]) -> None:
        self.task = task
        self.made_of = structure(data)
        self.mixture = Mixture(space, task.example(), allowed=data.get("allowed"), share=data.get("share", 1.0))
        task.place(self.mixture)
        for part in self.mixture.elastic.modules():
            if isinstance(part, _BatchNorm) and part.affine:
                part.requires_grad_(False)
        weights = nn.ModuleList([self.mixture.elastic])
        self.optimizer = make_optimizer(weights, task.recipe)
        momentum = 0.0 if data["weighting"] == "gates" else 0.5       # no momentum for options that were not drawn
        self.logits = torch.optim.Adam(self.mixture.logits.parameters(), lr=data["rate"], betas=(momentum, 0.999),
                                       weight_decay=data.get("decay", 0.0))
        self.lessons = 0

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"weights": self.optimizer, "logits": self.logits}

    def epoch(self, data: Mapping[str, Any], number: int, rng: random.Random) -> dict[str, Any]:
        """One pass over the training data of the weights, with a step of the decisions before each of theirs.

        :raises Diverged: when a loss is no finite number.
        """
        draws = random.Random(rng.getrandbits(60))
        held = self.held(rng)
        steps, (first, length) = math.ceil(self.task.steps_an_epoch * (1 - HELD)), data.get("stage", (0, data["of"]))
        losses, judged, total, start = [], [], data["of"], time.monotonic()
        for i, batch in enumerate(self.task.batches("train", rng, (0.0, 1 - HELD))):
            if data.get("within") and i == min(PROBE, steps - 1):
                pace = (time.monotonic() - start) / max(1, i)
                if not data.get("learns", True):        # later lessons will
                    pace += (1 - data.get("warm", 0.0)) * self.time_of_decision(next(held), batch, data)
                total = min(total, lessons_in(60 * data["within"], pace, steps))
                length = min(length, total)
            progress = min(1.0, (number - 1 - first + i / steps) / length)
            share = max(LEAST, rate(progress, min(self.task.recipe.warmup, 1 / length)))
            for group in self.optimizer.param_groups:
                group["lr"] = self.task.recipe.lr * share
            if data.get("learns", True):
                judged.append(self.decide(next(held), batch, data, draws.getrandbits(60)))
                if not math.isfinite(judged[-1]):
                    raise Diverged(f"the loss of the decisions, on data held out, is {judged[-1]} at step {i + 1} of "
                                   f"lesson {number}; a smaller --rate or --lr may help")
            losses.append(self.learn(batch, data, draws.getrandbits(60)))
            if not math.isfinite(losses[-1]):
                raise Diverged(f"the loss is {losses[-1]} at step {i + 1} of lesson {number}; a smaller --lr may help")
        if not losses:
            raise UsageError(f"the training data of the task '{self.task.name}' gives no batch to learn from")
        found = {"loss": sum(losses) / len(losses), "chances": self.mixture.chances(), "of": total,
                 "labels": {name: self.mixture.gates.labels[name] for name in self.mixture.names}}
        return {**found, "held": sum(judged) / len(judged)} if judged else found

    def held(self, rng: random.Random) -> Iterator[Any]:
        """The batches that the decisions learn from, again and again."""
        while True:
            batches = iter(self.task.batches("train", rng, (1 - HELD, 1.0)))
            if (first := next(batches, None)) is None:
                raise UsageError(f"the training data of the task '{self.task.name}' is too small to teach weights and "
                                 "decisions apart: half of it gives no batch; make the batches smaller (--batch)")
            yield first
            yield from batches

    def learn(self, batch: Any, data: Mapping[str, Any], seed: int) -> float:
        """One step of the weights, on all options or on those that are drawn."""
        kind = data.get("path", data["weighting"])
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.weigh(kind, data, seed)
        loss = self.task.loss(self.task.answer(self.mixture, batch), batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.mixture.elastic.parameters(), self.task.recipe.clip)
        self.optimizer.step()
        return float(loss.detach())

    def decide(self, held: Any, batch: Any, data: Mapping[str, Any], seed: int) -> float:
        """One step of the logits, by the gradient of the first or of the second order; none if the loss is no finite
        number. Returns the loss on held data."""
        value, gradients = self.slopes(held, batch, data, seed)
        if not math.isfinite(value):
            return value
        logits = list(self.mixture.logits)
        before = [parameter.detach().clone() for parameter in logits]
        for parameter, gradient in zip(logits, gradients, strict=True):
            parameter.grad = gradient
        self.logits.step()
        if data["weighting"] == "gates":
            for name, parameter, old in zip(self.mixture.names, logits, before, strict=True):
                keep_others(parameter, old, self.mixture.gates.active[name])
        return value

    def slopes(self, held: Any, batch: Any, data: Mapping[str, Any], seed: int) -> tuple[float, list[torch.Tensor]]:
        """The loss on held data, and its gradient by the logits; `batch` is what the second order steps ahead on."""
        self.mixture.train()
        logits, value = list(self.mixture.logits), 0.0

        def judged() -> torch.Tensor:
            nonlocal value
            self.weigh(data["weighting"], data, seed)
            loss = self.task.loss(self.task.answer(self.mixture, held), held)
            value = float(loss.detach())
            return with_costs(loss, self.mixture, data)

        def trained() -> torch.Tensor:
            self.weigh(data["weighting"], data, seed)
            return self.task.loss(self.task.answer(self.mixture, batch), batch)

        if data.get("order", 1) == 2:
            weights = [weight for weight in self.mixture.elastic.parameters() if weight.requires_grad]
            gradients = second_order(judged, trained, logits, weights, self.optimizer.param_groups[0]["lr"])
        else:
            gradients = first_order(judged, logits)
        return value, gradients

    def time_of_decision(self, held: Any, batch: Any, data: Mapping[str, Any]) -> float:
        """Seconds that a step of the decisions takes; they stay as they are."""
        self.slopes(held, batch, data, 0)       # the first one is slow
        start = time.monotonic()
        self.slopes(held, batch, data, 0)
        return time.monotonic() - start

    def weigh(self, kind: str, data: Mapping[str, Any], seed: int) -> None:
        """Sets the gates; the same seed draws the same options. Skips are left out now and then where that is asked."""
        draws = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)             # dropout masks are the same too
        self.mixture.weigh(kind, data.get("temperature", 1.0), draws)
        for name, labels in data.get("skips", {}).items():
            if dropped := data.get("skip_dropout", 0.0):
                self.drop(name, labels, dropped, draws)
            if beside := data.get("auxiliary", 0.0):
                self.add_skip(name, labels, beside)

    def drop(self, name: str, labels: Sequence[Any], chance: float, draws: torch.Generator) -> None:
        """Leaves skips out with a chance, and weighs them the more when they stay (dropout on an operation)."""
        gates = self.mixture.gates
        weights, active = gates.weights[name], gates.active[name]
        factor = torch.ones_like(weights, requires_grad=False)
        for label in labels:
            if label in gates.labels[name]:
                kept = float(torch.rand((), generator=draws)) >= chance
                factor[gates.labels[name].index(label)] = 1 / (1 - chance) if kept else 0.0
        gates.set(name, weights * factor, active)

    def add_skip(self, name: str, labels: Sequence[Any], share: float) -> None:
        """Puts a skip with a fixed weight beside the options, so that skips are not chosen only because they let
        gradients through (Chu et al., DARTS-, ICLR 2021)."""
        gates = self.mixture.gates
        weights, active = gates.weights[name], gates.active[name]
        more = torch.zeros_like(weights, requires_grad=False)
        for label in labels:
            if label in gates.labels[name]:
                more[gates.labels[name].index(label)] = share
        gates.set(name, weights + more, active)


def structure(data: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a mixture is made of: another one is built when this changes."""
    return repr(data.get("allowed")), data.get("share", 1.0)


def first_order(held: Loss, logits: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The gradient of the held loss by the logits, the weights taken as they are."""
    found = torch.autograd.grad(held(), logits, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(logits, found, strict=True)]


def second_order(held: Loss, train: Loss, logits: Sequence[torch.Tensor], weights: Sequence[torch.Tensor],
                 step: float) -> list[torch.Tensor]:
    """The gradient of L_held(w - step dL_train/dw, a) by a, its second derivative as a finite difference.

    DARTS, equations 7 and 8: dL_held(w', a)/da - step (dL_train(w+, a)/da - dL_train(w-, a)/da) / (2 eps), with
    w+- = w +- eps dL_held(w', a)/dw' and eps = 0.01 over the norm of that gradient.
    """
    start = [weight.detach().clone() for weight in weights]
    gradients = torch.autograd.grad(train(), weights, allow_unused=True)
    moved(weights, start, gradients, -step)
    found = torch.autograd.grad(held(), [*logits, *weights], allow_unused=True)
    direct = [torch.zeros_like(x) if g is None else g for x, g in zip(logits, found, strict=False)]
    beyond = found[len(logits):]
    norm = math.sqrt(sum(float((g * g).sum()) for g in beyond if g is not None))
    small = SMALL / max(norm, 1e-12)
    moved(weights, start, beyond, small)
    up = first_order(train, logits)
    moved(weights, start, beyond, -small)
    down = first_order(train, logits)
    moved(weights, start, beyond, 0.0)
    return [d - step * (u - v) / (2 * small) for d, u, v in zip(direct, up, down, strict=True)]


@torch.no_grad()
def moved(weights: Sequence[torch.Tensor], start: Sequence[torch.Tensor],
          by: Sequence[torch.Tensor | None], step: float) -> None:
    """Sets the weights to start + step * by."""
    for weight, old, change in zip(weights, start, by, strict=True):
        weight.copy_(old if change is None else old + step * change)


def with_costs(loss: torch.Tensor, mixture: Mixture, data: Mapping[str, Any]) -> torch.Tensor:
    """The loss that decisions learn from: with the expected cost, and with what skips and indecision cost."""
    chances = {name: logits.softmax(0) for name, logits in zip(mixture.names, mixture.logits, strict=True)}
    if cost := data.get("cost"):
        expected = expected_cost(cost, chances, mixture.gates.labels)
        if cost["form"] == "times":
            loss = loss * (torch.log1p(expected / cost["base"]) / math.log(2)) ** cost["weight"]
        else:
            loss = loss + cost["weight"] * expected / cost["base"]
    if penalty := data.get("skip_penalty", 0.0):
        shares = [chances[name][mixture.gates.labels[name].index(label)] for name, labels in data["skips"].items()
                  for label in labels if name in chances and label in mixture.gates.labels[name]]
        if shares:
            loss = loss + penalty * torch.stack(shares).mean()
    if penalty := data.get("zero_one", 0.0):
        open_ = torch.cat([logits.sigmoid() for logits in mixture.logits])
        loss = loss - penalty * ((open_ - 0.5) ** 2).mean()
    return loss


def expected_cost(cost: Mapping[str, Any], chances: Mapping[str, torch.Tensor],
                  labels: Mapping[str, Sequence[Any]]) -> torch.Tensor:
    """base * exp(the sum over decisions of sum_i p_i log(c_i / base)), c_i the cost with option i in the base network;
    base + the sum over decisions of sum_i p_i (c_i - base) where the table is `additive`.

    The table is taken around one network, whose own cost on the device is the base: there, and where one decision
    differs, it is exact. Logarithms add up what options save, so that the whole stays above 0, as costs do. An additive
    table is exact for every network, and its expectation that of the networks that are drawn with those chances.
    """
    base, additive = max(float(cost["base"]), TINY), cost.get("additive", False)
    total = torch.zeros(())
    for name, table in cost["table"].items():
        if name in chances:
            known = dict(zip(map(repr, table["labels"]), table["costs"], strict=True))
            parts = [known[repr(label)] - base if additive else math.log(max(known[repr(label)], TINY) / base)
                     for label in labels[name]]
            total = total + (chances[name] * torch.tensor(parts).to(chances[name])).sum()
    return base + total if additive else base * total.exp()


@torch.no_grad()
def keep_others(logits: torch.Tensor, before: torch.Tensor, drawn: Sequence[int]) -> None:
    """Shifts the drawn options so that the chances of all others stay (Cai et al., ProxylessNAS, section 3.2.1)."""
    chosen = torch.as_tensor(drawn, device=logits.device)
    moved_ = logits[chosen]
    others = torch.ones_like(logits, dtype=torch.bool)
    others[chosen] = False
    logits[others] = before[others]
    logits[chosen] = moved_ + before[chosen].logsumexp(0) - moved_.logsumexp(0)
