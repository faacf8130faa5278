"""What can be said without a search: a space's report with prices, and the costs of one network."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from archfab.core import Budget, BuildError, Genotype, Task, UsageError
from archfab.evaluate import Workbench
from archfab.plan import plan
from archfab.space.report import report

DRAWN = 20          # random networks that are costed


def preview(task: str, space: str | None, data: str | None, device: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The report of a task's space: what it holds, what it can do, what its networks and a search will cost."""
    bench = plan(task, space=space, data=data, device=device, options=options)
    rng = random.Random(0)
    document = report(bench.space, bench.example)
    drawn = costs_of_some(bench, rng) if bench.example is not None else []
    names = drawn[0][1].keys() if drawn else ()
    document.update(device=device, drawn=len(drawn), costs={name: {
        "least": min(c[name] for _, c in drawn), "median": median(c[name] for _, c in drawn),
        "most": max(c[name] for _, c in drawn)} for name in names})
    middling = sorted(drawn, key=lambda item: item[1]["macs"])[len(drawn) // 2][0] if drawn else None
    document["trial_seconds"] = trial_seconds(bench, middling, rng) if middling else None
    return document


def costs_of_some(bench: Workbench, rng: random.Random) -> list[tuple[Genotype, dict[str, float]]]:
    found: list[tuple[Genotype, dict[str, float]]] = []
    for _ in range(DRAWN):
        genotype = bench.space.sample(rng)
        try:
            figures = bench.costs(genotype).figures
        except BuildError:
            continue
        found.append((genotype, {name: cost.value for name, cost in figures.items()}))
    return found


def trial_seconds(bench: Workbench, genotype: Genotype, rng: random.Random) -> float:
    """How long one trial takes here: a few steps of one network, measured and scaled to the budget."""
    import torch

    from archfab.lowering.concrete import build
    torch.set_num_threads(bench.spec.threads)
    budget = Budget.from_plain(bench.spec.budget)
    if budget.seconds:
        return budget.seconds
    assert bench.example is not None
    task: Task = bench.task

    def timed(steps: int) -> float:
        start = time.perf_counter()
        task.fit(build(bench.space, genotype, bench.example or ()), Budget(steps=steps), rng)
        return time.perf_counter() - start

    timed(1)
    few, more = timed(1), timed(6)
    epochs = budget.epochs or (budget.steps or 1) / task.steps_an_epoch
    a_step = max(0.0, (more - few) / 5)
    return epochs * (task.steps_an_epoch * a_step + max(0.0, few - a_step))


def cost_of(task: str, file: str, space: str | None, data: str | None, device: str,
            options: Mapping[str, Any]) -> dict[str, Any]:
    """What the network of a genotype file costs on a device, operator by operator."""
    bench = plan(task, space=space, data=data, device=device, options=options)
    genotype = read_genotype(Path(file))
    bench.space.check(genotype)
    if bench.example is None:
        raise UsageError(f"the task '{task}' has no networks, so none that could cost anything")
    try:
        costs = bench.costs(genotype)
    except BuildError as error:
        raise UsageError(f"this network cannot be built: {error}") from None
    return {"device": device, "costs": {name: asdict(cost) for name, cost in costs.figures.items()},
            "operators": list(costs.operators), "unknown": list(costs.unknown)}


def read_genotype(path: Path) -> dict[str, Any]:
    """A genotype from a JSON file: the bare decisions, or a bundle or a front member that holds them."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON file: {error}") from None
    found = data.get("genotype", data) if isinstance(data, dict) else data
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no genotype: a JSON object from choice name to label")
    return found
