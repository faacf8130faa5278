"""What a step of DARTS costs: weights and decisions, first and second order, beside the work that it cannot do without.

    python benchmarks/darts_step.py                     # a table
    python benchmarks/darts_step.py --json              # rows for machines
    python benchmarks/darts_step.py --csv benchmarks/results/darts-step-2-cores.csv

The DARTS space with 8 channels and 5 cells at 32x32, batches of 8, one thread, CPU seconds, medians. `mixture step
ratio` is a forward and backward pass of the mixture over the sum of the same passes of every operation in it, each by
itself on the input that it has there; both are measured in turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rows import row, show
from torch import nn

from archfab import Space, registry
from archfab.estimators._bilevel import Learner
from archfab.lowering._mixed import Exits, Mixed
from archfab.nn.cells import OpenCell
from archfab.tasks.vision import spaces

EARLIER = {"quark0/darts, another day": 1.38}      # .73 for the decisions, .65 for the weights; two cores, same size
LESSON: dict[str, Any] = {"of": 1, "rate": 3e-4, "weighting": "softmax", "decay": 1e-3}


def cpu(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def make(batch: int) -> tuple[Learner, list[tuple[torch.Tensor, torch.Tensor]]]:
    """A learner on random images of the size of CIFAR-10, and two batches of them."""
    torch.manual_seed(0)
    task = registry.load("tasks", "vision")(size=32)
    example = torch.zeros(1, 3, 32, 32)
    task.example = lambda batch=1: (example,)
    learner = Learner(task, Space(spaces.darts(32, 10, channels=8, cells=1)), LESSON)
    return learner, [(torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))) for _ in range(2)]


def operations(learner: Learner, x: torch.Tensor) -> list[tuple[nn.Module, Any]]:
    """Every part of the mixture that computes something, with the input that it meets; the mixing itself left out."""
    found: list[tuple[nn.Module, Any]] = []
    handles = []

    def note(module: nn.Module, inputs: Any) -> None:
        found.append((module, tuple(part.detach().clone() for part in inputs)))

    def visit(module: nn.Module) -> None:
        for child in module.children():
            if isinstance(child, nn.ModuleList) or mixes(child):
                visit(child)
            else:
                handles.append(child.register_forward_pre_hook(note))

    visit(learner.mixture.net)
    learner.mixture(x)
    for handle in handles:
        handle.remove()
    return found


def mixes(module: nn.Module) -> bool:
    return any(isinstance(part, Mixed | Exits | OpenCell) for part in module.modules())


def passes(module: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...]) -> None:
    """One forward and one backward pass, down to the inputs."""
    given = tuple(part.requires_grad_(part.is_floating_point()) for part in inputs)
    y = module(*given)
    if y.requires_grad:
        y.backward(torch.ones_like(y))


def measure(repeats: int, batch: int) -> list[dict[str, Any]]:
    learner, (one, other) = make(batch)
    learner.mixture.train()
    learner.mixture.weigh("softmax")
    parts = operations(learner, one[0])
    times: dict[str, list[float]] = {name: [] for name in ("plain", "mixture", "parts", "first", "second")}

    def plain() -> None:
        with torch.no_grad():
            learner.mixture.weigh("softmax")
        learner.task.loss(learner.mixture(one[0]), one).backward()

    def mixture() -> None:
        learner.mixture.weigh("softmax")
        passes(learner.mixture, (one[0].clone(),))

    def alone() -> None:
        for module, inputs in parts:
            passes(module, inputs)

    def step(order: int) -> None:
        learner.decide(other, one, {**LESSON, "order": order}, 0)
        learner.learn(one, LESSON, 0)

    works: dict[str, Callable[[], None]] = {"plain": plain, "mixture": mixture, "parts": alone,
                                            "first": lambda: step(1), "second": lambda: step(2)}
    for i in range(repeats + 1):
        for name, work in works.items():
            spent = cpu(work)
            if i:                       # the first round warms up
                times[name].append(spent)
    found = {name: statistics.median(each) for name, each in times.items()}
    ratio = statistics.median(a / b for a, b in zip(times["mixture"], times["parts"], strict=True))
    plainly = {"forward and backward": found["plain"]}
    return [row("darts step, first order", found["first"], "CPU s", peers={**EARLIER, **plainly}),
            row("darts step, second order", found["second"], "CPU s", peers=plainly),
            row("forward and backward of the mixture", found["plain"], "CPU s"),
            row("sum of its operations' own steps", found["parts"], "CPU s", peers={"operations": len(parts)}),
            row("mixture step ratio", ratio, "times", target=1.15)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    show(measure(asked.repeats, asked.batch), asked.json, asked.csv, "python benchmarks/darts_step.py")


if __name__ == "__main__":
    main()
