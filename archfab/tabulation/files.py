"""Writes the runs of a new benchmark table as files: rows, mapping, space, and what it is in words."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import gmtime, strftime
from typing import Any, NamedTuple

from archfab.core import Budget, BuildError, Device, Event, Genotype, Metrics
from archfab.evaluate import Workbench, load_device
from archfab.runs import Run
from archfab.tables.mapping import texts_of

FILE = "table.csv.gz"
DIGITS = 5              # significant digits of a number that is no whole one


class Key(NamedTuple):
    """Which number a column holds: a cost, or a score on a split after some training with a seed."""

    metric: str
    split: str = ""
    epochs: float = 0.0
    seed: int | None = None

    @property
    def column(self) -> str:
        trained = [] if self.seed is None else [f"e{self.epochs:g}", f"s{self.seed}"]
        return "_".join([self.metric, *filter(None, [self.split]), *trained])

    def order(self, scores: Sequence[str]) -> tuple[Any, ...]:
        """Scores first, each at the end of its training before its curve; then seconds, then costs as they come."""
        if self.seed is None:
            return (2,)
        place = scores.index(self.metric) if self.metric in scores else 0
        return (int(self.metric not in scores), place, self.split, -self.epochs, self.seed)


Row = dict[Key, float]


def write_table(runs: Sequence[Run], folder: Path, bench: Workbench, devices: Sequence[str], about: str,
                licence: str) -> dict[str, Any]:
    """Writes `table.csv.gz`, `space.json`, `README.md` and, when all else is there, `mapping.toml`."""
    name = folder.resolve().name
    genotypes = list(bench.space)
    rows, failures = gather(runs, bench, genotypes)
    live = [load_device(device) for device in devices]
    for row, genotype in zip(rows, genotypes, strict=True):
        row.update({Key(cost): value for cost, value in costs_of(bench, genotype, live).items()})
    keys = sorted(dict.fromkeys(key for row in rows for key in row), key=lambda key: key.order(bench.task.scores))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines(bench, genotypes, rows, keys))
    content = gzip.compress(text.getvalue().encode(), 9, mtime=0)       # the same rows give the same bytes
    document = {"table": str(folder), "architectures": len(genotypes), "seeds": len(runs), "epochs": length_of(bench),
                "failed": len(failures), "devices": list(devices), "columns": len(keys), "bytes": len(content),
                "seconds": round(sum(run.seconds for run in runs), 1)}
    about = about or f"every architecture of a space of the task {bench.spec.task}, trained with {len(runs)} seeds"
    (folder / FILE).write_bytes(content)
    (folder / "space.json").write_text(json.dumps(bench.space.data, separators=(",", ":")) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(readme(name, about, licence, document, bench, runs, failures), encoding="utf-8")
    (folder / "mapping.toml").write_text(mapping_text(about, name, bench, len(genotypes), keys), encoding="utf-8")
    return document


def gather(runs: Sequence[Run], bench: Workbench, genotypes: Sequence[Genotype]) -> tuple[list[Row], list[str]]:
    """What the trainings found, a row for each architecture, and those that failed, in words."""
    rows: list[Row] = [{} for _ in genotypes]
    failures: list[str] = []
    place = {typed(genotype): i for i, genotype in enumerate(genotypes)}
    for run in runs:
        for event in run.of("search", "ok", "failed", "rejected"):
            assert event.trial
            i = place[typed(event.trial.genotype)]
            if event.kind == "ok":
                rows[i].update(figures_of(event, bench.task.scores, run.spec.seed, length_of(bench)))
            else:
                failures.append(f"row {i + 2}, seed {run.spec.seed}: {event.note}")
    return rows, failures


def typed(genotype: Genotype) -> frozenset[Any]:
    """A genotype as a key; 1, 1.0 and true are three labels."""
    return frozenset((name, type(label), label) for name, label in genotype.items())


def length_of(bench: Workbench) -> float:
    """How long one network is trained: in epochs, or in the steps or seconds that the task counts."""
    budget = Budget.from_plain(bench.spec.budget)
    return float(budget.epochs or budget.steps or budget.seconds or 0)


def figures_of(event: Event, scores: Sequence[str], seed: int, epochs: float) -> Row:
    """What one training says: each score at its end on both splits, and on validation data after each epoch.

    A curve holds what the network scores if its training stops there: that of the best epoch so far, for the
    weights of that one are kept (`archfab.learning.fit`).
    """
    row: Row = {}
    for name in scores:
        for said, split in ((name, "val"), (f"test_{name}", "test")):
            if said in event.metrics:
                row[Key(name, split, epochs, seed)] = event.metrics[said]
    best = math.inf
    kept: Mapping[str, float] = {}
    for point in event.curve:
        if point.get("validation", math.inf) < best:
            best, kept = point["validation"], point
        if point["epoch"] < epochs:
            row.update({Key(name, "val", point["epoch"], seed): kept[f"validation_{name}"]
                        for name in scores if f"validation_{name}" in kept})
    if "train_seconds" in event.metrics:
        row[Key("seconds", "", epochs, seed)] = event.metrics["train_seconds"]
    return row


def costs_of(bench: Workbench, genotype: Genotype, devices: Sequence[Device]) -> Metrics:
    """The network's size, and its figures on each device as DEVICE_FIGURE; its workload is recorded once."""
    if bench.example is None:
        return {}
    try:
        workload = bench.workload(genotype)
    except BuildError:
        return {}
    sizes = {"params": float(workload.params), "macs": float(workload.macs)}
    return sizes | {f"{re.sub(r'[^A-Za-z0-9]', '_', device.name)}_{figure}": cost.value for device in devices
                    for figure, cost in device.cost(workload).figures.items() if figure not in sizes}


def lines(bench: Workbench, genotypes: Sequence[Genotype], rows: Sequence[Row],
          keys: Sequence[Key]) -> Iterator[list[str]]:
    """The header, then one row for each architecture."""
    texts = {name: {(type(label), label): text for text, label in texts_of(labels).items()}
             for name, labels in bench.space.labels.items()}
    yield [*texts, *(key.column for key in keys)]
    for genotype, row in zip(genotypes, rows, strict=True):
        labels = {name: texts[name][type(label), label] for name, label in genotype.items()}
        yield [*(labels.get(name, "") for name in texts), *(short(row[key]) if key in row else "" for key in keys)]


def short(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.{DIGITS}g}"


def mapping_text(about: str, name: str, bench: Workbench, count: int, keys: Sequence[Key]) -> str:
    """The mapping by which the table is read."""
    trained = r"_e(?P<epochs>[\d.]+)_s(?P<seed>\d+)"
    scores = [score for score in bench.task.scores if any(key.metric == score and key.split for key in keys)]
    costs = [key.metric for key in keys if key.seed is None]
    rules = [group(scores) + "_(?P<split>val|test)" + trained] if scores else []
    if any(key.metric == "seconds" and key.seed is not None for key in keys):
        rules.append(group(["seconds"]) + trained)
    if costs:
        rules.append(group(costs))
    goals = ", ".join(f"{toml(goal)} = {toml(sense)}" for goal, sense in bench.task.goals.items())
    return "\n".join([
        f"about = {toml(about)}", 'space = "space.json"', f"data_set = {toml(name)}", f"goals = {{ {goals} }}",
        f"hints = [{', '.join(toml(cost) for cost in ('params', 'macs') if cost in costs)}]", "",
        "[architectures]", r"file = 'table\.(csv|csv\.gz|parquet)'", f"rows = {count}", "", "[decisions]",
        *(f"{toml(choice)} = {{ column = {toml(choice)} }}" for choice in bench.space.labels),
        *(f"\n[[values]]\ncolumn = '{rule}'" for rule in rules)]) + "\n"


def group(names: Sequence[str]) -> str:
    return f"(?P<metric>{'|'.join(map(re.escape, names))})"


def toml(text: str) -> str:
    """A TOML string: JSON's are."""
    return json.dumps(text)


def readme(name: str, about: str, licence: str, document: dict[str, Any], bench: Workbench, runs: Sequence[Run],
           failures: Sequence[str]) -> str:
    """What the table is, how, when and with what it was made."""
    spec, where = bench.spec, runs[0].environment
    space = Path(spec.space_from).name if spec.space_from else "given as an object"
    data = Path(spec.task_options.get("data") or "").name
    options = "".join(f" --{key.replace('_', '-')} {value if key != 'data' else data}"
                      for key, value in spec.task_options.items())
    epochs = f" --epochs {spec.budget['epochs']:g}" if "epochs" in spec.budget else ""
    seconds = [event.metrics["train_seconds"] for run in runs for event in run.of("search", "ok")
               if "train_seconds" in event.metrics]
    names = ("archfab", "torch", "numpy", "scikit-learn", "python", "machine")
    return "\n".join([
        f"# {name}: {about}", "",
        f"{document['architectures']:,} architectures x {document['seeds']} seeds. The space is `space.json` "
        f"({space}, hash {bench.space.hash}).", "",
        f"Made on {strftime('%Y-%m-%d', gmtime())} by", "",
        f"    archfab table build {Path(spec.task).name} --space {space}{epochs} --seeds {document['seeds']}{options}"
        f"{' --devices ' if document['devices'] else ''}{' '.join(document['devices'])} --out {name}", "",
        f"on {data or 'the data that the task has of its own'}, with "
        f"{', '.join(f'{key} {where[key]}' for key in names if key in where)}.",
        *([f"It took {sum(seconds) / 60:.3g} minutes of one processor core, {median(seconds):.2g} s a training in the "
           "median."] if seconds else []), "",
        *([f"{len(failures)} trainings failed and have empty cells:", "", *(f"- {line}" for line in failures[:20])]
          if failures else ["No training failed."]), "",
        f"Columns of `{FILE}`, numbers to {DIGITS} significant digits:", "",
        "- decisions under their own names, empty where the network has not got them",
        "- `SCORE_SPLIT_eEPOCHS_sSEED`: a score on validation or test data after so many epochs of one training. Fewer",
        "  epochs than the most are the learning curve: what the network scores if its training stops there, which is",
        "  its best epoch so far (by the validation loss), of one schedule over all epochs",
        "- `seconds_eEPOCHS_sSEED`: processor seconds of the training; they depend on what else the machine did",
        "- `params`, `macs`, `DEVICE_FIGURE`: costs by archfab's cost models", "",
        f"Licence: {licence or 'not stated; ask whoever gave you this table'}."]) + "\n"
