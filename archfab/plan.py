"""From what the user asked for to a checked spec: everything that can be refused is refused here, before a start."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from archfab import registry
from archfab.core import Budget, Device, Estimator, Label, Limit, Spec, Task, UsageError, identity, unknown
from archfab.evaluate import Workbench, find_space, load_device
from archfab.registry import settled, typed
from archfab.runs import Run
from archfab.space import joined

GRADIENTLESS = "the decisions of a device have none"


def plan(task: Any, *, space: Any = None, data: str | None = None, strategy: str = "auto",
         estimator: str | None = None, device: str = "null", minimize: Sequence[str] = (),
         maximize: Sequence[str] = (), limits: Sequence[str] = (), trials: int | None = None,
         budget: str | float | None = None, trial_budget: Budget | None = None, full_budget: Budget | None = None,
         deliver: int = 3, seeds: int = 1, random: bool = True, workers: int = 1, threads: int | None = None,
         seed: int = 0, options: Mapping[str, Any] | None = None) -> Workbench:
    """The live parts of a new run and its spec, all checked. Raises `UsageError` with what is legal."""
    for name, value, least in (("--deliver", deliver, 0), ("--seeds", seeds, 1), ("--workers", workers, 1),
                               ("--trials", trials if trials is not None else 1, 1)):
        if not isinstance(value, int) or value < least:
            raise UsageError(f"{name} takes a whole number from {least} up, not {value}")
    task, strategy, device = map(settled, (task, strategy, device))
    proposer = registry.load("strategies", strategy)
    estimator = estimator_for(proposer, strategy, estimator)
    given = sort_options(task, strategy, estimator, {**(options or {}), **({"data": data} if data else {})})
    live = task if isinstance(task, Task) else registry.load("tasks", task)(**given["task"])
    estimator = estimator or live.estimator
    scorer = registry.load("estimators", estimator)(**given["estimator"])
    found, space_from = find_space(live, space if space is not None else scorer.space())
    declared = joined(found, open_of(device, live))
    seconds = duration(budget) if budget is not None else None
    spec = Spec(
        task=task if isinstance(task, str) else "object", task_options=given["task"], space=declared.data,
        space_from=space_from, objectives=objectives(live, device, minimize, maximize), strategy=strategy,
        strategy_options=given["strategy"], estimator=estimator, estimator_options=given["estimator"], device=device,
        limits=bounds(limits, load_device(device), live),
        trials=trials if trials or seconds else 50, seconds=seconds,
        budget=plain_budget(trial_budget or live.budget()), full_budget=plain_budget(full_budget or live.full_budget()),
        check=scorer.check if live.example() is not None else 0,
        deliver=deliver if live.example() is not None else 0, seeds=seeds, random=random and strategy != "random",
        workers=workers, threads=threads or default_threads(workers), seed=seed)
    refuse_pointless(strategy, proposer, estimator, scorer, full_budget)
    bench = Workbench(spec, live, declared)
    proposer(declared, spec.objectives, bench.limits, **given["strategy"])
    if workers > 1 and spec.task == "object":
        raise UsageError("several workers need a task that they can load: give its name, or the path of its .py file")
    check_sources(bench)
    check_lowering(bench)
    check_limits(bench)
    return bench


def open_of(device: str, task: Task) -> Mapping[str, Sequence[Label]]:
    """The decisions of a device.

    :raises UsageError: where they would change nothing.
    """
    decisions = load_device(device).decisions
    if decisions and task.example() is None:
        raise UsageError(f"the task '{task.name}' has no networks that could cost anything, so the decisions of the "
                         f"device '{device}' ({', '.join(decisions)}) would change nothing; take a device without")
    return decisions


def default_threads(workers: int) -> int:
    """What OMP_NUM_THREADS says, as torch takes it; else the cores that this process may use, shared out."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // workers)


def refuse_pointless(strategy: str, proposer: Any, estimator: str, scorer: Estimator, full: Budget | None) -> None:
    """Refuses what would have no effect."""
    if proposer.multifidelity and not scorer.multifidelity:
        raise UsageError(f"the strategy {strategy} asks for shorter trials, which the estimator {estimator} scores "
                         "like whole ones; take a strategy of one fidelity, such as auto or evolution")
    if full and scorer.delivers:
        raise UsageError(f"the estimator {estimator} delivers networks that are trained already, so a full budget "
                         "would change nothing; to train them from scratch: --retrain yes; to tune them: "
                         "--finetune EPOCHS")


def estimator_for(proposer: Any, strategy: str, estimator: str | None) -> str | None:
    """The estimator that was asked for, or that the strategy needs."""
    needed = getattr(proposer, "estimator", None)
    if needed and estimator not in (None, needed):
        raise UsageError(f"the strategy {strategy} learns from the gradients of a mixture of networks, which "
                         f"--estimator {estimator} cannot give; leave it out ({needed}), or take another strategy")
    return estimator or needed


def sort_options(task: Any, strategy: str, estimator: str | None,
                 options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The plug-ins' own options, each given to the plug-in that has it and turned into its type."""
    plugins = {"task": task if isinstance(task, Task) else registry.load("tasks", task),
               "strategy": registry.load("strategies", strategy)}
    estimator = estimator or plugins["task"].estimator
    plugins["estimator"] = registry.load("estimators", estimator)
    labels = {"task": f"task {task}", "strategy": f"strategy {strategy}", "estimator": f"estimator {estimator}"}
    takers = {kind: registry.settings(plugin) if callable(plugin) else {} for kind, plugin in plugins.items()}
    sorted_: dict[str, dict[str, Any]] = {kind: {} for kind in plugins}
    for name, value in options.items():
        homes = [kind for kind, taken in takers.items() if name in taken]
        if not homes:
            known = list(dict.fromkeys(key for taken in takers.values() for key in taken))
            raise unknown("option", name, known, f"(of {', '.join(labels.values())})")
        for kind in homes:
            sorted_[kind][name] = typed(name, value, takers[kind][name])
            if value and name in getattr(plugins[kind], "paths", ()):
                sorted_[kind][name], _ = plugins[kind].sources(value)
    return sorted_


def objectives(task: Task, device: str, minimize: Sequence[str], maximize: Sequence[str]) -> dict[str, Any]:
    """What is made small or large: what was asked, or the task's goals and the device's latency."""
    figures = load_device(device).figures
    known = [*task.scores, *(figures if task.example() is not None else ())]
    asked: dict[str, Any] = dict.fromkeys(minimize, "min")
    for name in maximize:
        if name in asked:
            raise UsageError(f"'{name}' cannot be minimized and maximized at once")
        asked[name] = "max"
    for name in asked:
        if name not in known:
            raise unknown("objective", name, known, foreign(device, name))
    if asked:
        return asked
    return {**task.goals, **({"latency_ms": "min"} if "latency_ms" in known else {})}


def bounds(asked: Sequence[str], device: Device, task: Task) -> tuple[str, ...]:
    """The limits asked for, and the device's own room where the user gave no limit of that name."""
    limits = [Limit.parse(text) for text in asked]
    named = {limit.name for limit in limits}
    room = device.capacity if task.example() is not None else {}
    return tuple(map(str, [*limits, *(Limit(name, "<=", most) for name, most in room.items() if name not in named)]))


def foreign(device: str, name: str) -> str:
    """A hint where the name is a cost that only other devices give."""
    if re.search(r"^area_mm2$|_yield$|_usd$|carbon_g$|^end_of_life_", name):
        return "(of dies: an accelerator with a table [silicon], such as tpu-like)"
    if device == "null" and re.search(r"_(ms|mj|kb)$", name):
        return "(a device gives more: --device NAME; archfab list devices)"
    return ""


def check_sources(bench: Workbench) -> None:
    """Refuses to build on another run that is not finished."""
    for name in bench.estimator.paths:
        folder = bench.spec.estimator_options.get(name)
        if folder and (Path(folder) / "run.sqlite").is_file() and not Run(folder).finished:
            raise UsageError(f"the run {folder} (--{name}) is not finished; first: archfab resume {folder}")


def gives_lessons(task: Task) -> bool:
    """Whether weights that networks share can be taught on a task."""
    given: Any = type(task)
    return given.batches is not Task.batches and given.loss is not Task.loss and bool(task.recipe)


def check_lowering(bench: Workbench) -> None:
    """Refuses a space that the estimator cannot lower, or in which some option can never be built, so that nothing
    fails late."""
    lowering = bench.estimator.lowering
    if lowering != "concrete" and not gives_lessons(bench.task):
        other = f"strategy than {bench.spec.strategy}" if lowering == "mixture" else "estimator"
        raise UsageError(f"the estimator {bench.spec.estimator} trains weights that networks share, for which the task "
                         f"'{bench.task.name}' lacks batches, loss or recipe (see Task); take another {other}")
    if bench.example is not None:
        if bench.device.decisions and lowering == "mixture":
            raise UsageError(f"the strategy {bench.spec.strategy} decides by gradients: {GRADIENTLESS}; take another "
                             "strategy, such as auto or nsga2")
        possible, because = registry.load("lowerings", lowering)(bench.networks, bench.example)
        if not possible:
            kind = "" if lowering == "concrete" else f" with the estimator {bench.spec.estimator} ({lowering})"
            raise UsageError(f"this space cannot be searched{kind}: {because}")
        bench.estimator.ready(bench.task, bench.networks)
        bench.device.ready()


def check_limits(bench: Workbench) -> None:
    """Refuses limits on unknown names, and limits that no architecture of the space can meet."""
    known = [*bench.task.scores, *(bench.device.figures if bench.example is not None else ())]
    for limit in bench.limits:
        if limit.name not in known:
            raise unknown("limit", limit.name, known, foreign(bench.spec.device, limit.name))
    if bench.example is not None and bench.limits and not bench.device.slow:
        from archfab.feasible import find_feasible
        find_feasible(bench)


def duration(text: str | float) -> float:
    """Seconds, from a number or from a text such as 90s, 10m, 1.5h."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", str(text))
    if not found or float(found[1]) <= 0:
        raise UsageError(f"'{text}' is no length of time; write for example 90s, 10m or 1.5h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def plain_budget(budget: Budget) -> dict[str, float]:
    return {name: value for name, value in vars(budget).items() if value is not None}


def environment(bench: Workbench) -> dict[str, Any]:
    """What else a result depends on: versions, the kind of machine, the device's numbers, the data, the user's file."""
    task = bench.spec.task
    named = [path for part, options in ((bench.task, bench.spec.task_options),
                                        (bench.estimator, bench.spec.estimator_options))
             for option in part.paths if options.get(option) for path in part.sources(options[option])[1]]
    versions = {}
    for package in ("archfab", "torch", "numpy", "scikit-learn", "onnx", "onnxruntime", "e3nn"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine(),
            "cores": os.cpu_count(), "accelerator": accelerator_of(bench.task),
            "device numbers": identity({**bench.device.sources, **bench.device.decisions}),
            "data": fingerprint(*named),
            "task file": fingerprint(*([Path(task)] if task.endswith(".py") else [])), **versions}


def accelerator_of(task: Task) -> str:
    """What a task trains on, where that is none of the processor's cores."""
    device = getattr(task, "device", None)
    kind = getattr(device, "type", "cpu")
    if kind != "cuda":
        return "none" if kind == "cpu" else str(kind)
    import torch
    return torch.cuda.get_device_name(device)


def fingerprint(*paths: Path) -> str:
    """Names the state of files and folders by the names and sizes in them, and of a .py file by its text; cheap on
    purpose."""
    if not any(path.exists() for path in paths):
        return "none"
    if paths[0].suffix == ".py":
        return identity(paths[0].read_text(encoding="utf-8", errors="replace"))
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return identity([[file.name, file.stat().st_size] for file in files if file.is_file()])
