"""A new benchmark table: every architecture of a small space trained several times, by one run for each seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archfab import registry
from archfab.core import Budget, Event, Spec, UsageError
from archfab.evaluate import Workbench, load_device
from archfab.plan import environment, plan
from archfab.runs import Run, Store
from archfab.search import Watcher, go, resume

HOURS = 4.0         # of training, above which --yes is needed
RUNS = "runs"       # where in the table's folder the runs are kept, to be continued


def build_table(task: str, out: str | Path, *, space: str | None = None, data: str | None = None,
                epochs: float | None = None, seeds: int = 3, devices: Sequence[str] = (), workers: int = 1,
                options: Mapping[str, Any] | None = None, yes: bool = False, about: str = "", licence: str = "",
                watcher: Watcher | None = None) -> dict[str, Any]:
    """Trains every architecture of a space with every seed and writes the benchmark table; returns what it is.

    Interrupted, it goes on where it was when it is called again.

    :param out: the table's folder; its name is the table's name.
    :param epochs: of each training; what the task takes for one trial without it.
    :param devices: whose costs become columns.
    :param yes: build it even if that takes more than `HOURS` of training.
    :raises UsageError: when the request is wrong or too large, with the numbers; nothing is begun then.
    """
    folder = Path(out)
    for name in devices:
        load_device(name)
    if seeds < 1:
        raise UsageError(f"--seeds takes a whole number from 1 up, not {seeds}")
    if (folder / "mapping.toml").exists():
        raise UsageError(f"there is a table in {folder} already; look at it: archfab table show {folder}")
    asked: dict[str, Any] = {
        "space": space, "data": data, "strategy": "exhaustive", "random": False, "deliver": 0, "workers": workers,
        "threads": 1, "options": {**measured(task, options), **(options or {})},
        "trial_budget": Budget(epochs=epochs) if epochs is not None else None}
    bench = plan(task, **asked, trials=1)
    asked["trials"] = bench.space.size
    if devices and bench.example is None:
        raise UsageError(f"the task '{task}' has no networks, so none that could cost anything on {devices[0]}")
    if not yes and not (folder / RUNS).exists():
        check_price(bench, seeds, workers)
    try:
        runs = [carry_out(task, folder / RUNS / f"seed-{seed}", {**asked, "seed": seed}, watcher)
                for seed in range(seeds)]
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; the same command goes on where it was, in {folder}") from None
    from archfab.tabulation.files import write_table
    return write_table(runs, folder, bench, devices, about, licence)


def measured(task: str, options: Mapping[str, Any] | None) -> dict[str, bool]:
    """Options of the task's estimator that make it measure what a table holds, where it has them."""
    found = registry.load("tasks", task)
    estimator = registry.load("estimators", found.estimator)
    return {name: True for name in ("test", "clock") if name in registry.settings(estimator)}


def check_price(bench: Workbench, seeds: int, workers: int) -> None:
    """Refuses a table that takes too long, by the measured time of a middling network."""
    from archfab.preview import costs_of_some, trial_seconds
    if bench.example is None:
        return
    rng = random.Random(0)
    drawn = sorted(costs_of_some(bench, rng), key=lambda item: item[1]["macs"])
    seconds = trial_seconds(bench, drawn[len(drawn) // 2][0], rng) if drawn else 0.0
    hours = bench.space.size * seeds * seconds / 3600
    if hours > HOURS:
        raise UsageError(f"{bench.space.size:,} architectures x {seeds} seeds x {seconds:.3g} s a training are "
                         f"{hours:,.3g} hours, on {workers} workers {hours / workers:,.3g}; take a smaller --space, "
                         "fewer --seeds or --epochs, or say --yes")


def carry_out(task: str, folder: Path, asked: Mapping[str, Any], watcher: Watcher | None) -> Run:
    """One seed's run: begun, continued, or found complete."""
    if not (folder / "run.sqlite").exists():
        return begin(plan(task, **asked), folder, watcher)
    check_same(folder, plan(task, **asked).spec)
    run = Run(folder)
    return run if run.finished else resume(folder, watcher=watcher)


def begin(bench: Workbench, folder: Path, watcher: Watcher | None) -> Run:
    """A run without baselines, which nobody would look at."""
    store = Store.create(folder, bench.spec, environment(bench))
    store.record(Event("ended", data={"phase": "baseline", "why": "a table needs none"}))
    store.commit()
    return go(bench, store, watcher)


def check_same(folder: Path, now: Spec) -> None:
    """Refuses to mix trainings that were asked for differently."""
    store = Store.open(folder)
    then = store.spec()
    store.close()
    before, after = then.plain(), now.plain()
    for name in before:
        if name != "workers" and before[name] != after[name]:
            raise UsageError(f"{folder} was begun with another {name} ({before[name]} then, {after[name]} now); ask "
                             "for the same, or build the table in another --out folder")
