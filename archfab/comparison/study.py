"""A comparison from request to document: every run that is not done yet, then what all of them say."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path
from typing import Any

from archfab import registry
from archfab.comparison.curves import Record, at, budgets, curve, evaluation_grid, second_grid
from archfab.comparison.journal import Key, journal, key_of
from archfab.comparison.play import make_strategy
from archfab.comparison.request import Request
from archfab.comparison.significance import LEVEL, TABLES, critical_difference, friedman, pairs, ranks
from archfab.comparison.verdict import emptiness, ranks_verdict, table_verdict
from archfab.comparison.workers import SEEDS, play_all
from archfab.comparison.yardstick import Yardstick
from archfab.core import UsageError
from archfab.tables import Table, read_table

Watch = Callable[[int, int, float, float | None], None]     # runs done, of how many, seconds so far and left


def compare(strategies: Sequence[str] = (), tables: Sequence[str] = ("digits",), *, evaluations: int = 150,
            runs: int = 50, workers: int | None = None, out: str | Path | None = None, maximize: Sequence[str] = (),
            minimize: Sequence[str] = (), limits: Sequence[str] = (), noise: bool = False,
            epochs: float | None = None, hints: bool = True, seed: int = 0,
            watch: Watch | None = None) -> dict[str, Any]:
    """Plays strategies on benchmark tables, several runs each, and says how they compare.

    :param strategies: names or files, with options as in `evolution:population=50`; all there are without any.
    :param tables: as `archfab.tables.read_table` takes them.
    :param evaluations: of each run, in whole trainings.
    :param out: where runs and the report are kept, and gone on with; nothing is written without it.
    :param maximize: goals, with `minimize`; each table's own without any.
    :param noise: whether strategies see one seed's validation score, or what is reported.
    :param epochs: of one whole training; the longest that a table has without it.
    :param watch: is told the progress.
    :returns: what `comparison.json` holds.
    :raises UsageError: saying what was wrong and what is legal.
    """
    request = Request.make(strategies or registry.names("strategies"), tables, evaluations, runs, maximize=maximize,
                           minimize=minimize, limits=limits, noise=noise, epochs=epochs, hints=hints, seed=seed)
    return carry_out(request, Path(out) if out else None, workers, watch)


def carry_out(request: Request, out: Path | None = None, workers: int | None = None,
              watch: Watch | None = None) -> dict[str, Any]:
    """Does what is left of a comparison, and writes its results into `out`."""
    workers = checked_workers(workers)
    start = time.monotonic()
    tables = {text: read_table(text) for text in request.tables}
    yardsticks = {text: measure(request, text, table) for text, table in tables.items()}
    header = {**request.plain(), "archfab": metadata.version("archfab"),
              "data": {text: facts(table) for text, table in tables.items()}}
    with journal(out, header) if out else nullcontext() as kept:
        records = dict(kept.done) if kept else {}
        for record in gather(request, yardsticks, records, workers, out / "workers.log" if out else None, watch):
            if kept:
                kept.add(record)
        document = report(request, tables, yardsticks, records)
        document.update(seconds=round(time.monotonic() - start, 2), command=request.command(out, workers))
        if out:
            from archfab.comparison.page import write
            write(out, document)
    return document


def checked_workers(workers: int | None) -> int:
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise UsageError(f"--workers takes a whole number from 1 up, not {workers}")
    return workers or os.cpu_count() or 1


def measure(request: Request, text: str, table: Table) -> Yardstick:
    """What runs on a table are measured by; refuses what the table or a strategy cannot do."""
    goals = request.goals or table.goals
    if not goals:
        raise UsageError(f"table {text} says no goals; name some: --maximize NAME, --minimize NAME, of "
                         f"{', '.join(table.metrics)}")
    table.require([*goals, *(limit.name for limit in request.bounds)])
    if request.epochs and table.epochs and request.epochs < table.epochs[0]:
        raise UsageError(f"table {text} has no training of {request.epochs:g} epochs; the shortest is "
                         f"{table.epochs[0]:g}")
    for player in request.strategies:
        try:
            make_strategy(player.name, table, goals, request.bounds, player.options, request.hints)
        except UsageError as error:
            raise UsageError(f"strategy '{player.label}' cannot play on table {text}: {error}") from None
    return Yardstick.of(table, goals, request.bounds)


def gather(request: Request, yardsticks: Mapping[str, Yardstick], records: dict[Key, Any], workers: int,
           log: Path | None = None, watch: Watch | None = None) -> Any:
    """Plays what is not in `records` yet, or failed; puts each run there and yields it.

    A table's runs come together, and among them every strategy's first run first, so that an early end leaves
    strategies that can be compared and the time left is known soon.
    """
    keys = [(table, player.label, run) for table in request.tables for run in range(request.runs)
            for player in request.strategies]
    missing = [key for key in keys if key not in records or "failed" in records[key]]
    pace = Pace(keys, missing)
    try:
        for record in play_all(request, yardsticks, missing, workers, log):
            records[key_of(record)] = record
            pace.take(record)
            yield record
            if watch:
                watch(len(keys) - len(missing) + pace.done, len(keys), pace.elapsed, pace.left)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted after {len(keys) - len(missing) + pace.done} of {len(keys)} runs"
                                f"{'; the same command goes on' if log else ''}") from None


class Pace:
    """How long what is left will take: each strategy's runs as long as those that it has done."""

    def __init__(self, keys: Sequence[Key], missing: Sequence[Key]) -> None:
        self.start = time.monotonic()
        self.done = 0
        self.pending = Counter(strategy for _, strategy, _ in missing)
        self.spent: dict[str, list[float]] = {}

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def take(self, record: Record) -> None:
        self.done += 1
        self.pending[record["strategy"]] -= 1
        self.spent.setdefault(record["strategy"], []).append(record.get("cpu", 0.0))

    @property
    def left(self) -> float | None:
        """Seconds; the time so far, in proportion to the work done. None before every strategy has done a run."""
        if any(name not in self.spent for name in self.pending):
            return None
        work = sum(map(sum, self.spent.values()))
        rest = sum(count * sum(self.spent[name]) / len(self.spent[name]) for name, count in self.pending.items())
        return self.elapsed * rest / work if work else None


def facts(table: Table) -> dict[str, Any]:
    """What a table is, so that a comparison does not go on with another one."""
    return {"name": table.name, "data_set": table.data_set, "architectures": len(table.genotypes),
            "space": table.space.hash, "metrics": list(table.metrics), "goals": dict(table.goals),
            "best": {name: table.best(name, sense) for name, sense in table.goals.items()}}


def report(request: Request, tables: Mapping[str, Table], yardsticks: Mapping[str, Yardstick],
           records: Mapping[Key, Record]) -> dict[str, Any]:
    """Everything that the runs say, as plain data."""
    by_table = {text: {player.label: [records[key] for run in range(request.runs)
                                      if "failed" not in records[key := (text, player.label, run)]]
                       for player in request.strategies} for text in request.tables}
    labels = table_labels(tables)
    found = [one_table(request, text, labels[text], tables[text], yardsticks[text], by_table[text])
             for text in request.tables]
    failures = [{"table": labels[key[0]], "strategy": key[1], "run": key[2], "seed": request.seed * SEEDS + key[2],
                 "message": record["failed"]} for key, record in sorted(records.items()) if "failed" in record]
    failures += [{"table": table["label"], "strategy": row["strategy"], "run": 0, "seed": request.seed * SEEDS,
                  "message": emptiness(row)}
                 for table in found for row in table["strategies"] if row["runs"] and row["empty"] == row["runs"]]
    across = rank_table(request, found)
    return {"request": request.plain(), "hash": request.hash, "environment": environment(), "tables": found,
            "ranks": across, "verdict": [*(table["verdict"] for table in found),
                                         *([across["verdict"]] if across["verdict"] else [])], "failures": failures}


def one_table(request: Request, text: str, label: str, table: Table, yardstick: Yardstick,
              records: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    """A table's curves, tests and verdict."""
    grid = evaluation_grid(request.evaluations)
    times = second_grid([record for each in records.values() for record in each])
    strategies = []
    for name, each in records.items():
        measured = any(record["steps"] for record in each)
        over = curve(each, grid, yardstick) if measured else None
        steps = sum(record["steps"] for record in each)
        strategies.append({
            "strategy": name, "runs": len(each), "failed": request.runs - len(each),
            "empty": sum(not record["steps"] for record in each),
            "evaluated": [record["steps"] for record in each],
            "rejected": [record.get("rejected", 0) for record in each],
            "ended": [record.get("ended") for record in each],
            "cpu_ms_per_evaluation": round(1000 * sum(record["cpu"] for record in each) / steps, 4) if steps else None,
            "budgets": [at(over, budget) for budget in budgets(request.evaluations)] if over else [],
            "curve": over, "curve_over_seconds": curve(each, times, yardstick, 1) if measured and times else None,
            "reported": [record["reported"] for record in each]})
    regrets = {name: {record["run"]: yardstick.regret(record["changes"][-1][2] if record["changes"] else None)
                      for record in each} for name, each in records.items() if any(record["steps"] for record in each)}
    found = {"table": text, "label": label, **facts(table), "about": table.about, "goals": dict(yardstick.goals),
             "limits": list(yardstick.limits), "measure": yardstick.measure, "best": yardstick.best,
             "worst": yardstick.worst, "front": yardstick.size, "box": box(yardstick), "strategies": strategies,
             "pairs": pairs(regrets) if len(regrets) > 1 else []}
    return {**found, "verdict": table_verdict(found)}


def box(yardstick: Yardstick) -> dict[str, list[float]] | None:
    """Where hypervolumes are taken, in the goals' own numbers: the exact front's best of each, and the far corner."""
    if len(yardstick.goals) == 1:
        return None
    signs = [1 if sense == "min" else -1 for sense in yardstick.goals.values()]
    far = [low + 1.1 * span for low, span in zip(yardstick.ideal, yardstick.span, strict=True)]
    return {name: [sign * low, sign * high]
            for name, sign, low, high in zip(yardstick.goals, signs, yardstick.ideal, far, strict=True)}


def table_labels(tables: Mapping[str, Table]) -> dict[str, str]:
    """A short name for each table; what was asked, where short names are the same."""
    short = {text: table.name if table.data_set in ("default", table.name) else f"{table.name} {table.data_set}"
             for text, table in tables.items()}
    times = Counter(short.values())
    return {text: name if times[name] == 1 else f"{name} ({text})" for text, name in short.items()}


def rank_table(request: Request, tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Ranks by mean regret: on each table, and their means over tables with a test, at each budget."""
    played = [player.label for player in request.strategies
              if all(row["curve"] for table in tables for row in table["strategies"]
                     if row["strategy"] == player.label)]
    found: dict[str, Any] = {"strategies": played, "budgets": [], "verdict": ""}
    if len(played) < 2:
        return found
    for i, budget in enumerate(budgets(request.evaluations)):
        scores = [[next(row for row in table["strategies"] if row["strategy"] == name)["budgets"][i]["mean"]
                   for name in played] for table in tables]
        each = ranks(scores)
        means = [sum(column) / len(each) for column in zip(*each, strict=True)]
        row: dict[str, Any] = {
            "evaluations": budget, "mean": dict(zip(played, means, strict=True)),
            "tables": {table["label"]: dict(zip(played, line, strict=True))
                       for table, line in zip(tables, each, strict=True)},
            "friedman": None, "critical_difference": None, "apart": []}
        if len(tables) >= TABLES:
            row["friedman"] = test = friedman(scores)
            row["critical_difference"] = far = critical_difference(len(played), len(tables))
            if test["p"] < LEVEL:
                row["apart"] = [[a, b] for a, x in row["mean"].items() for b, y in row["mean"].items() if y - x >= far]
        found["budgets"].append(row)
    found["verdict"] = ranks_verdict(found, len(tables))
    return found


def environment() -> dict[str, Any]:
    return {"archfab": metadata.version("archfab"), "python": platform.python_version(),
            "machine": platform.machine(), "cores": os.cpu_count()}
