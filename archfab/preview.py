"""What can be said without a search: a space's report with prices."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Collection, Mapping
from statistics import median
from typing import Any

from archfab import registry
from archfab.core import Budget, BuildError, Genotype, Task
from archfab.evaluate import Workbench
from archfab.plan import gives_lessons, plan
from archfab.space import network_of
from archfab.space.report import report

DRAWN = 20          # random networks that are costed
DRAWN_SLOW = 3      # on a device that runs them
STEPS = 3           # of shared weights, that are timed


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
    document["lesson_seconds"] = lesson_seconds(bench, {name for name, found in document["lowerings"].items()
                                                        if found["ok"]}, rng)
    return document


def costs_of_some(bench: Workbench, rng: random.Random) -> list[tuple[Genotype, dict[str, float]]]:
    found: list[tuple[Genotype, dict[str, float]]] = []
    for _ in range(DRAWN_SLOW if bench.device.slow else DRAWN):
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
        task.fit(build(bench.networks, network_of(genotype), bench.example or ()), Budget(steps=steps), rng)
        return time.perf_counter() - start

    timed(1)
    few, more = timed(1), timed(6)
    epochs = budget.epochs or (budget.steps or 1) / task.steps_an_epoch
    a_step = max(0.0, (more - few) / 5)
    return epochs * (task.steps_an_epoch * a_step + max(0.0, few - a_step))


def lesson_seconds(bench: Workbench, lowerings: Collection[str], rng: random.Random) -> dict[str, float]:
    """How long one lesson takes here, an epoch of weights that networks share, by what gives it: a few steps of the
    supernet's usual sampling and of first-order darts, scaled to an epoch."""
    if not gives_lessons(bench.task):
        return {}
    from archfab.estimators._bilevel import HELD, Learner
    from archfab.estimators._student import Student

    def pace(step: Callable[[Any], Any]) -> float:
        times = []
        for batch in itertools.islice(bench.task.batches("train", rng), 1 + STEPS):
            start = time.perf_counter()
            step(batch)
            times.append(time.perf_counter() - start)
        return bench.task.steps_an_epoch * median(times[1:] or times or [0.0])

    found = {}
    if "elastic" in lowerings:
        student, rule = Student(bench.task, bench.networks), registry.load("sampling", "sandwich")
        found["supernet"] = pace(lambda batch: (rule(student, batch, 0.5, rng), student.optimizer.step()))
    if "mixture" in lowerings:
        data = {"weighting": "softmax", "rate": 3e-3}
        learner = Learner(bench.task, bench.networks, data)
        found["darts"] = (1 - HELD) * pace(lambda batch: (learner.decide(batch, batch, data, 0),
                                                          learner.learn(batch, data, 0)))
    return found
