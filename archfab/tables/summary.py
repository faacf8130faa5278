"""What a benchmark table holds: coverage, metrics, noise, what predicts the result, exact fronts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import correlation, fmean, median, pstdev, stdev
from typing import Any

from archfab.core import Goals
from archfab.tables.rows import Numbers
from archfab.tables.table import Measure, Table

COUNTED = 1_000_000         # the largest space whose every genotype is looked up


def summary(table: Table, goals: Goals | None = None) -> dict[str, Any]:
    """A table as one JSON document.

    :param goals: objectives whose exact front is counted.
    """
    table.require(tuple(goals or ()))
    goal = next(iter(table.goals), None)
    document: dict[str, Any] = {
        "table": table.name, "about": table.about, "data_set": table.data_set, "data_sets": list(table.data_sets),
        "architectures": len(table.genotypes), "space": coverage(table), "goals": dict(table.goals),
        "epochs": list(table.epochs), "metrics": [metric(table, name) for name in table.metrics],
        "predictors": predictors(table, goal) if goal else [], "fronts": []}
    if table.seconds:
        spent = [seconds for genotype in table.genotypes if (seconds := table.spent(genotype)) is not None]
        document["training_seconds"] = {"least": min(spent), "median": median(spent), "most": max(spent)}
    if goals:
        document["fronts"].append({"objectives": dict(goals), "points": len(table.front(goals))})
    return document


def coverage(table: Table) -> dict[str, Any]:
    """How many genotypes of the space the table knows; equal networks count for each way to write them."""
    counter = table.space.counter
    size = counter.count if counter else None
    known = sum(table.key(genotype) in table.rows for genotype in table.space) if size and size <= COUNTED else None
    return {"hash": table.space.hash, "size": size, "known": known, "decisions": len(table.space.labels)}


def metric(table: Table, name: str) -> dict[str, Any]:
    """One metric's reported values over the table, and for a score how much the seed changes it."""
    values = [value for value in table.reported(name) if value is not None]
    row: dict[str, Any] = {"name": name, "kind": "score" if name in table.scores else "cost", "known": len(values),
                           "least": None, "median": None, "most": None, "deviation": None}
    if values:
        row.update(least=min(values), median=median(values), most=max(values), deviation=pstdev(values))
    if name in table.scores:
        row["measured"] = [{"split": split, "epochs": epochs, "seeds": len(measure.seeds) or 1,
                            "noise": noise(measure, len(table.genotypes))}
                           for (split, epochs), measure in sorted(table.scores[name].items())]
    return row


def noise(measure: Measure, count: int) -> float | None:
    """The deviation over seeds, on average over the networks that were measured several times."""
    columns = [column.values for column in measure.seeds.values()]
    found = [stdev(known) for row in range(count)
             if len(known := [value for column in columns if (value := column[row]) is not None]) > 1]
    return fmean(found) if found else None


def predictors(table: Table, goal: str) -> list[dict[str, Any]]:
    """What is known sooner than the goal, and its rank correlation with the goal: hints, and each measurement."""
    reported = table.reported(goal)
    found = [{"name": name, **agreement(table.costs[name].values, reported)} for name in table.hint_names
             if name != goal]
    last = table.epochs[-1]
    for (split, epochs), measure in sorted(table.scores.get(goal, {}).items()):
        if split == "val" or epochs < last:
            values = [measure.value(row) for row in range(len(reported))]
            if values == reported:          # it says nothing that the score correlates with itself
                continue
            label = f"{goal} {split}" + (f", epoch {epochs:g}" if epochs else "")
            found.append({"name": label, **agreement(values, reported)})
    return found


def agreement(one: Numbers, other: Numbers) -> dict[str, Any]:
    """Spearman's rank correlation over the architectures that have both, and how many these are."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    ranked = [ranks(side) for side in zip(*pairs, strict=True)]
    varied = len(pairs) > 1 and all(len(set(side)) > 1 for side in ranked)
    return {"spearman": correlation(*ranked) if varied else None, "of": len(pairs)}


def ranks(values: Sequence[float]) -> list[float]:
    """The place of each value from 1 up; equal values share the mean of their places."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for i in order[start:end]:
            found[i] = (start + 1 + end) / 2
        start = end
    return found


def facts(document: Mapping[str, Any]) -> list[str]:
    """The document's head in sentences."""
    space, data_sets = document["space"], document["data_sets"]
    size = f"{space['size']:,}" if space["size"] is not None else "more than can be counted"
    lines = [f"{document['table']}: {document['about']}".rstrip(": "),
             f"data set {document['data_set']}" + (f" of {', '.join(data_sets)}" if len(data_sets) > 1 else ""),
             f"{document['architectures']:,} architectures; the space has {size} in {space['decisions']} decisions"
             + ("" if space["known"] in (None, space["size"]) else f", of which the table knows {space['known']:,}")]
    if document["epochs"] != [0.0]:
        lines.append(f"trained for {', '.join(f'{epochs:g}' for epochs in document['epochs'])} epochs")
    if seconds := document.get("training_seconds"):
        lines.append("a training took from {least:.3g} to {most:.3g} s, in the median {median:.3g} s".format(**seconds))
    return lines
