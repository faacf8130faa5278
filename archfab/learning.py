"""The plain training loop that tasks use: optimiser, schedule, early stopping, budget, divergence."""

from __future__ import annotations

import copy
import itertools
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from archfab.core import Budget, Diverged, Metrics, Task, UsageError


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    optimizer: str = "adamw"        # or sgd
    lr: float = 3e-3                # the highest learning rate
    weight_decay: float = 0.02      # not on norms and biases
    momentum: float = 0.9           # sgd alone
    batch: int = 64
    warmup: float = 0.1             # share of the training in which the learning rate rises
    label_smoothing: float = 0.05
    clip: float = 5.0               # largest norm of the gradient
    patience: int = 0               # epochs without a better validation score that end it; 0: never
    ema: float = 0.0                # decay of the moving average of the weights that is kept in their place; 0: none

    def __post_init__(self) -> None:
        if self.optimizer not in ("adamw", "sgd"):
            raise UsageError(f"no optimizer named '{self.optimizer}'; known: adamw, sgd")
        if not 0 < self.lr < math.inf or self.batch < 2 or self.weight_decay < 0 or self.patience < 0:
            raise UsageError("a recipe takes a finite lr > 0, batch >= 2, weight_decay >= 0 and patience >= 0")
        if not all(0 <= share < 1 for share in (self.warmup, self.label_smoothing, self.ema)):
            raise UsageError("warmup, label_smoothing and ema are shares from 0 to below 1")


def seed_torch(rng: random.Random) -> None:
    """Every draw of torch from here on follows from `rng`; only deterministic kernels are used, and gradients are added
    up in one order: those of gradients hang on what a thread of the accelerator's own had done before."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")     # CUDA's matrix products are exact only with it
    torch.manual_seed(rng.getrandbits(60))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.autograd.set_multithreading_enabled(False)


def accelerator() -> torch.device:
    """CUDA or MPS where present, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    fused = all(p.device.type in ("cpu", "cuda") for p in model.parameters())
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0,
                               fused=fused)
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=fused)


def rate(progress: float, warmup: float) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter, ICLR 2017); a share of the highest."""
    if progress < warmup:
        return max(progress, 1e-3) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


class Meter:
    """How much of a budget is used, from 0 to 1."""

    def __init__(self, budget: Budget, steps_an_epoch: int) -> None:
        if not budget:
            raise UsageError("training needs a budget: epochs, steps or seconds")
        self.seconds = budget.seconds
        limits = [budget.steps or math.inf, (budget.epochs or math.inf) * steps_an_epoch]
        self.steps = min(limits)
        self.taken = 0
        self._start = time.monotonic()

    @property
    def progress(self) -> float:
        used = self.taken / self.steps
        if self.seconds:
            used = max(used, (time.monotonic() - self._start) / self.seconds)
        return used


def fit(model: nn.Module, batches: Callable[[], Iterator[Any]], steps_an_epoch: int,
        loss: Callable[[Any], torch.Tensor], recipe: Recipe, budget: Budget,
        validate: Callable[[], Metrics] | None = None, watched: str = "loss") -> list[dict[str, float]]:
    """Trains `model` in place and returns its curve: epoch, training loss, and each validation score as
    `validation_NAME`; the one that is watched stands as `validation` too.

    :param batches: one epoch of inputs and targets.
    :param loss: of a batch, as one number with a gradient; `model` is in training mode.
    :param validate: the scores on validation data, by name.
    :param watched: the score to be made small; the weights of its best epoch are kept.
    :raises Diverged: when the loss is no finite number.
    """
    optimizer = make_optimizer(model, recipe)
    meter = Meter(budget, steps_an_epoch)
    curve: list[dict[str, float]] = []
    average = Average(model, recipe.ema) if recipe.ema else None
    best, best_state, since = math.inf, None, 0
    while meter.progress < 1:
        row = {"epoch": len(curve) + 1.0, "loss": epoch(model, batches(), loss, optimizer, recipe, meter, average)}
        if validate:
            with average.in_place() if average else nullcontext():
                scores = validate()
                row["validation"] = scores[watched]
                row.update({f"validation_{name}": value for name, value in scores.items()})
                since += 1
                if row["validation"] < best:
                    best, best_state, since = row["validation"], copy.deepcopy(model.state_dict()), 0
        curve.append(row)
        if not meter.taken:
            raise UsageError("the training data gives no batch to learn from")
        if recipe.patience and since >= recipe.patience:
            break
    if best_state is not None:
        model.load_state_dict(best_state)
    elif average:
        average.exchange()
    return curve


def epoch(model: nn.Module, batches: Iterator[Any], loss: Callable[[Any], torch.Tensor],
          optimizer: torch.optim.Optimizer, recipe: Recipe, meter: Meter, average: Average | None = None) -> float:
    """One pass over the data, or what is left of the budget; returns the mean training loss."""
    model.train()
    total, count = 0.0, 0
    for batch in batches:
        progress = meter.progress
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * rate(progress, recipe.warmup)
        value = loss(batch)
        now = float(value.detach())
        if not math.isfinite(now):
            raise Diverged(f"the training loss is {now} at step {meter.taken + 1} (learning rate "
                           f"{optimizer.param_groups[0]['lr']:.3g}); a smaller --lr may help")
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        if average:
            average.update()
        meter.taken += 1
        size = size_of(batch)
        total, count = total + now * size, count + size
    return total / max(count, 1)


def size_of(batch: Any) -> int:
    """How many samples a batch has: the length of its last tensor."""
    return len(pytree.tree_leaves(batch)[-1])


class Average:
    """The moving average of a model's weights: of each step, the share `1 - decay` (Polyak and Juditsky, 1992).

    Early on the decay is smaller, (1 + steps) / (10 + steps), so that the first weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.weights = list(model.parameters())
        self.mean = [weight.detach().clone() for weight in self.weights]
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.mean, [weight.detach() for weight in self.weights], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the mean weights inside."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @torch.no_grad()
    def exchange(self) -> None:
        """The model's weights and the mean change places."""
        for weight, mean in zip(self.weights, self.mean, strict=True):
            kept = weight.detach().clone()
            weight.copy_(mean)
            mean.copy_(kept)


def calibration(task: Task, number: int) -> list[Any]:
    """Some batches of training data, the same ones each time, to take running statistics from."""
    return list(itertools.islice(task.batches("train", random.Random("recalibrate")), number))


def recalibrate(model: nn.Module, task: Task, batches: Iterable[Any]) -> None:
    """Takes a network's running statistics anew: the mean over some batches.

    Weights that networks share have seen the inputs of many of them, none of which these statistics fit.
    """
    norms = [part for part in model.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    if not norms:
        return
    task.place(model).eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None            # the plain mean over all batches
        norm.train()
    with torch.no_grad():
        for batch in batches:
            task.answer(model, batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
