"""The loop: asks the strategy, runs the trials, keeps the log. A new run and a resumed one are the same loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from archfab import registry
from archfab.core import Budget, Event, Executor, Job, Lesson, Spec, Strategy, Task, Trial, UsageError, key_of, unknown
from archfab.evaluate import Workbench, repeated, seen
from archfab.plan import environment, plain_budget, plan
from archfab.runs import Log, Run, Store, unfinished
from archfab.space import network_of

LESSONS = 0.6           # share of an arm's time that lessons may take, where a search is bounded in time
REJECTIONS = 1000       # rejected proposals, one after another, that end an arm


Watch = Callable[[str, Log, float], None]
"""Told after every event: the phase, the log, the seconds that the run has been running for."""
Watcher = Callable[[Spec, Path], Watch]
"""Makes a watch for a run, from its spec and folder."""


def search(task: str | Task, *, space: Any = None, data: str | None = None, strategy: str = "auto",
           estimator: str | None = None, device: str = "null", minimize: Sequence[str] = (),
           maximize: Sequence[str] = (), limits: Sequence[str] = (), trials: int | None = None,
           budget: str | float | None = None, trial_budget: Budget | None = None, full_budget: Budget | None = None,
           deliver: int = 3, seeds: int = 1, random: bool = True, workers: int = 1, threads: int | None = None,
           seed: int = 0, options: Mapping[str, Any] | None = None, run: str | Path | None = None,
           runs: str | Path = "runs", watcher: Watcher | None = None) -> Run:
    """Searches for the networks that fit, trains and exports the best of them; returns the run.

    :param task: a name, a path to a .py file, or a `Task`.
    :param space: one of the task's spaces by name, a path to a .py file, or a description.
    :param limits: such as "memory_kb<=256".
    :param trials: networks to try; 50 when neither this nor `budget` is given.
    :param budget: bounds search and random search together in time, half each: seconds, or "90s", "10m", "1.5h".
    :param trial_budget: of one trial; :param full_budget: of one delivered network.
    :param deliver: networks of the front that are delivered; :param seeds: trainings of each of them.
    :param random: whether a random search of equal budget runs beside the search.
    :param options: of the task, the strategy and the estimator, by name.
    :param run: the run's name or folder.
    :raises UsageError: when the request is wrong; nothing is left behind then.

    >>> run = archfab.search("vision", device="cortex-m7", limits=["memory_kb<=64"], trials=20)
    >>> run.best.model()
    """
    if run is not None and (place(run, runs) / "run.sqlite").exists():
        raise UsageError(f"there is a run named '{run}' already; go on with it: archfab resume {run}, or give "
                         "another name")
    bench = plan(task, space=space, data=data, strategy=strategy, estimator=estimator, device=device,
                 minimize=minimize, maximize=maximize, limits=limits, trials=trials, budget=budget,
                 trial_budget=trial_budget, full_budget=full_budget, deliver=deliver, seeds=seeds, random=random,
                 workers=workers, threads=threads, seed=seed, options=options)
    folder = folder_for(bench.spec, run, Path(runs))
    bench.folder = folder
    return go(bench, Store.create(folder, bench.spec, environment(bench)), watcher)


def resume(run: str | Path, *, runs: str | Path = "runs", task: Task | None = None,
           watcher: Watcher | None = None) -> Run:
    """Goes on with an interrupted run, to the same end as if nothing had happened."""
    store = Store.open(find(run, runs))
    spec = store.spec()
    if not unfinished(spec, Log(spec, store.events())):
        store.close()
        raise UsageError(f"the run {run} is finished; look at it: archfab show {run}")
    if spec.task == "object" and task is None:
        store.close()
        raise UsageError("this run's task was given as an object; give it again: archfab.resume(run, task=...)")
    bench = Workbench(spec, task, folder=store.folder)
    declared = bench.space_now() if bench.estimator.lowering != "concrete" else None
    if declared not in (None, bench.space.hash):
        store.close()
        raise UsageError(f"the space {spec.space_from} is another one than when this run began (hash "
                         f"{bench.space.hash} then, {declared} now), so its shared weights do not fit it; restore it, "
                         "or begin a new run")
    now, then = environment(bench), store.environment()
    for what in ("device numbers", "torch", "accelerator", "data", "task file"):
        if now[what] != then.get(what, now[what]):
            store.close()
            raise UsageError(f"not the same {what} as when this run began ({then[what]} then, {now[what]} now), so its "
                             "trials cannot be mixed with new ones; begin a new run")
    return go(bench, store, watcher)


def export_networks(folder: Path, idents: Sequence[str], seeds: int | None = None,
                    full_budget: Budget | None = None) -> Run:
    """Trains networks of a run at full budget and writes their bundles; without ids, the best network."""
    run = Run(folder)
    spec = replace(run.spec, seeds=seeds or run.spec.seeds,
                   full_budget=plain_budget(full_budget) if full_budget else run.spec.full_budget)
    chosen = [run.member(ident) for ident in idents] or [run.best]
    if not run.finished:
        raise UsageError(f"the run {run.name} is not finished; first: archfab resume {folder}")
    bench = Workbench(spec, folder=folder)
    if bench.example is None:
        raise UsageError(f"the task '{spec.task}' has no networks, so none that could be exported")
    store = Store.open(folder)
    taught = len(Log(spec, store.events()).given)
    with working(bench, store) as executor:
        for member in chosen:
            trial = Trial(member.trial, member.genotype, member.arm)
            executor.submit(Job("deliver", trial, {"folder": str(folder), "seeds": spec.seeds, "taught": taught}))
        for _ in chosen:
            store.record(executor.next())
    return Run(folder)


def go(bench: Workbench, store: Store, watcher: Watcher | None = None) -> Run:
    """Runs every phase that has not ended."""
    watch = watcher(bench.spec, store.folder) if watcher else (lambda *_: None)
    try:
        with working(bench, store) as executor:
            drive(bench, store, executor, watch)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; go on with: archfab resume {store.folder}") from None
    finally:
        getattr(watch, "end", lambda: None)()
    return Run(store.folder)


@contextmanager
def working(bench: Workbench, store: Store) -> Iterator[Executor]:
    """An executor for a run that no other process works on; both are closed whatever happens."""
    try:
        with store.writing():
            executor = make_executor(bench, store)
            try:
                yield executor
            finally:
                executor.close()
    finally:
        store.close()


def drive(bench: Workbench, store: Store, executor: Executor, watch: Watch) -> None:
    """The phases of a run, each from where the log leaves it."""
    log = Log(bench.spec, store.events())
    for phase in unfinished(bench.spec, log):

        def record(event: Event, phase: str = phase) -> None:
            store.record(event)
            log.add(event)
            watch(phase, log, store.elapsed)

        if phase in ("search", "random"):
            why = explore(phase, bench, log, store, executor, record)
        elif phase == "baseline":
            if not any(event.kind == "baseline" for event in log.events):
                executor.submit(Job("baseline"))
                record(executor.next())
            why = "done"
        elif phase == "check":
            why = check_scores(bench, log, store, executor, record)
        else:
            why = deliver_front(bench, log, store, executor, record)
        record(Event("ended", data={"phase": phase, "why": why}))
        store.commit()


def explore(arm: str, bench: Workbench, log: Log, store: Store, executor: Executor,
            record: Callable[[Event], None]) -> str:
    """Lets one strategy propose until its budget is used; returns why it ended."""
    strategy = make_strategy(arm, bench)
    waits = bench.estimator.isolate
    for event in log.events:
        if event.kind in ("lesson", "ended") or (event.trial is not None and event.trial.arm == arm):
            strategy.tell(seen(event))

    def happened(event: Event) -> None:
        record(event)
        strategy.tell(seen(event))

    for trial in list(log.pending.values()):        # one that repeats a known network is done at once
        submit(trial, log, executor, happened)
    while True:
        why = ""
        while len(log.pending) < executor.slots and not (why := enough(arm, bench, log, store.elapsed)):
            asked = propose(arm, bench, log, strategy)
            if asked is None:
                why = "the strategy has nothing left to try"
                break
            if isinstance(asked, Lesson):
                if log.pending:                     # a trial is scored with the weights that it was asked under
                    break
                if too_long(bench, log, store.elapsed):
                    happened(Event("ended", data={"phase": "lessons", "why": "the time is up"}))
                else:
                    teach(timed(asked, bench, log, store.elapsed), log, executor, happened)
                store.commit()
                continue
            trial = replace(asked, number=log.next_number, arm=arm)
            happened(Event("asked", trial))
            submit(trial, log, executor, happened)
        if not log.pending:
            if why:
                return why
            continue
        if waits:
            store.commit()
        happened(executor.next())


def propose(arm: str, bench: Workbench, log: Log, strategy: Strategy) -> Trial | Lesson | None:
    """What comes next: a lesson that the estimator or the strategy needs, or a trial."""
    number = log.next_number
    seed = f"{bench.spec.seed}:{arm}:{number}" + (f":{len(log.lessons)}" if log.lessons else "")
    teaches = arm == "search" and "lessons" not in log.ended
    due = bench.estimator.lesson(log.lessons, log.done["search"]) if teaches else None
    if due is None:
        return strategy.ask(number, Random(seed))
    if not due.data.get("proposals"):
        return due
    drawn = (strategy.ask(number, Random(f"{seed}:{i}")) for i in range(due.data["proposals"]))
    return replace(due, data={**due.data, "proposals": [network_of(each.genotype) for each in drawn
                                                        if isinstance(each, Trial)]})


def lesson_time(bench: Workbench) -> float:
    """Seconds of the search that lessons may take; infinite where it is not bounded in time."""
    share = LESSONS * (0.5 if bench.spec.random else 1.0)
    return share * bench.spec.seconds if bench.spec.seconds else float("inf")


def too_long(bench: Workbench, log: Log, elapsed: float) -> bool:
    """Whether another lesson like those before would leave too little time for trials; the first is always given."""
    return bool(log.lessons) and elapsed * (1 + 1 / len(log.lessons)) > lesson_time(bench)


def timed(lesson: Lesson, bench: Workbench, log: Log, elapsed: float) -> Lesson:
    """The first lesson is told within how many minutes all have to be given, so that their number and schedules are
    made for it."""
    if log.lessons or not bench.spec.seconds:
        return lesson
    return replace(lesson, data={**lesson.data, "within": max(0.01, (lesson_time(bench) - elapsed) / 60)})


def teach(lesson: Lesson, log: Log, executor: Executor, happened: Callable[[Event], None]) -> None:
    """Gives a lesson; the next one follows from what it found."""
    executor.submit(Job("lesson", data={"number": len(log.lessons) + 1, "data": dict(lesson.data)}))
    happened(executor.next())


def submit(trial: Trial, log: Log, executor: Executor, happened: Callable[[Event], None]) -> None:
    """Runs a trial, or repeats the outcome of one that tried the same network before. What differs in the device alone
    is costed, and scored as before."""
    before = log.known.get(log.key(trial))
    if before is None:
        scored = log.scored.get(log.network_key(trial))
        executor.submit(Job("try", trial, {"taught": len(log.given), **({"like": outcome(scored)} if scored else {})}))
    else:
        happened(repeated(before, trial))


def outcome(event: Event) -> dict[str, Any]:
    """What a trial of the same network on another device starts from: its scores, as plain data."""
    assert event.trial
    return {"metrics": dict(event.metrics), "figures": dict(event.figures), "curve": list(event.curve),
            "note": f"scored as trial {event.trial.number}, the same network"}


def enough(arm: str, bench: Workbench, log: Log, elapsed: float) -> str:
    """Why an arm is to end now, in words; empty while it goes on."""
    spec = bench.spec
    if log.lessons and log.lessons[-1].note:
        return f"lesson {len(log.lessons)} failed: {log.lessons[-1].note}"
    running = sum(trial.fidelity for trial in log.pending.values() if trial.arm == arm)
    share = 0.5 if arm == "search" and spec.random else 1.0
    most = spec.trials if arm == "search" else log.recent
    if most is not None and log.done[arm] + running >= most - 1e-9:
        return "the trials are used"
    if spec.seconds is not None and elapsed >= share * spec.seconds:
        return "the time is up"
    if log.rejections[arm] >= REJECTIONS:
        return f"{REJECTIONS} proposals in a row were rejected"
    if bench.space.counter and log.whole >= bench.space.counter.count:
        return "every architecture of the space was tried"
    return ""


def check_scores(bench: Workbench, log: Log, store: Store, executor: Executor,
                 record: Callable[[Event], None]) -> str:
    """Trains networks alone, from the best to the worst by their scores, to see whether these rank as that does."""
    store.commit()
    run = Run(store.folder)
    scored = {key_of(network_of(event.trial.genotype)): event for arm in ("random", "search") for event in run.kept(arm)
              if event.trial}
    ranked = sorted(scored.values(), key=lambda event: (run.point(event)[0], event.trial and event.trial.number))
    chosen = spread(ranked, bench.spec.check)
    left = [event.trial for event in chosen if event.trial and event.trial.number not in log.checked]
    for trial in left:
        executor.submit(Job("check", trial))
    for _ in left:
        record(executor.next())
        store.commit()
    return f"{len(chosen)} networks"


def deliver_front(bench: Workbench, log: Log, store: Store, executor: Executor,
                  record: Callable[[Event], None]) -> str:
    """Trains and exports members spread over the front."""
    store.commit()
    chosen = spread(Run(store.folder).front, bench.spec.deliver)
    numbers = {member.trial for member in chosen}
    trials = {event.trial.number: event.trial for event in log.events
              if event.kind == "asked" and event.trial is not None and event.trial.number in numbers}
    left = [trials[member.trial] for member in chosen if member.trial not in log.delivered]
    for trial in left:
        executor.submit(Job("deliver", trial, {"folder": str(store.folder), "seeds": bench.spec.seeds,
                                               "taught": len(log.given)}))
    for _ in left:
        record(executor.next())
        store.commit()
    return f"{len(chosen)} of the front"


def spread(front: list[Any], number: int) -> list[Any]:
    """The best in the first objective, the last, and others evenly between them."""
    if number >= len(front):
        return list(front)
    if number == 1:
        return front[:1]
    return [front[round(i * (len(front) - 1) / (number - 1))] for i in range(number)]


def make_strategy(arm: str, bench: Workbench) -> Strategy:
    spec = bench.spec
    name, options = (spec.strategy, spec.strategy_options) if arm == "search" else ("random", {})
    strategy = registry.load("strategies", name)(bench.space, spec.objectives, bench.limits, **options)
    strategy.hints = bench.hints
    return strategy


def make_executor(bench: Workbench, store: Store) -> Executor:
    """A pool where trials are heavy, so that a network that kills its process does not end the run."""
    spec = bench.spec
    alone = spec.task == "object" or (spec.workers == 1 and not bench.estimator.isolate)
    if alone:
        return registry.load("executors", "local")(bench)
    return registry.load("executors", "pool")(bench, spec.workers, store.folder / "workers.log")


def folder_for(spec: Spec, run: str | Path | None, runs: Path) -> Path:
    """Where a new run is kept: the name given, or the task's name and the next free number."""
    if run is not None:
        return place(run, runs)
    stem = Path(spec.task).stem
    runs.mkdir(parents=True, exist_ok=True)
    for i in itertools.count(1):
        with suppress(FileExistsError):
            (runs / f"{stem}-{i}").mkdir()                  # this process alone has it now
            return runs / f"{stem}-{i}"
    raise AssertionError("unreachable: the count does not end")


def place(run: str | Path, runs: str | Path) -> Path:
    """A run's folder: a path as it is, a bare name below the folder of runs."""
    if not Path(run).name:
        raise UsageError(f"'{run}' is no name for a run")
    return Path(run) if len(Path(run).parts) > 1 else Path(runs) / run


def find(run: str | Path, runs: str | Path = "runs") -> Path:
    """The folder of an existing run, by its name or path."""
    for folder in (place(run, runs), Path(run), Path(run).parent if Path(run).suffix == ".sqlite" else Path(run)):
        if (folder / "run.sqlite").is_file():
            return folder
    known = sorted(path.parent.name for path in Path(runs).glob("*/run.sqlite"))
    raise unknown("run", str(run), known, f"(in {runs}; another place: --runs DIR)")
