"""What a delivered point process shows on test sequences: fit, predictions, its place on the ladder, influences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from archfab.core import Exhibit
from archfab.tasks.events import ladder
from archfab.tasks.events.evaluation import by_type, log_likelihoods, predict
from archfab.tasks.events.residuals import residuals

if TYPE_CHECKING:
    from archfab.tasks.events import EventStreams

LISTED = 50         # test sequences whose predictions are listed


def exhibits(task: EventStreams, model: Any) -> Iterator[Exhibit]:
    from archfab.tasks.events.example import process
    from archfab.tasks.events.intensity_picture import exhibit as intensities
    model.cpu().eval()
    data, sequences = task.padded["test"], task.events.test
    grown = by_type(model, data)
    yield from residuals(sequences, [grown[i, :len(each) + 1] for i, each in enumerate(sequences)],
                         task.events.types).exhibits()
    yield predictions(task, model)
    yield intensities(model, max(sequences, key=lambda each: each.scored), task.events.types, task.events.gap)
    counts = data.scored.double().numpy().sum(1)
    mine = log_likelihoods(model, data) - np.log(task.events.gap) * counts
    rungs = {**task.rungs, "this network": mine}
    if task.simulated:
        rungs["the process itself, which nothing beats"] = process().log_likelihoods(sequences)
    yield ladder.table(ladder.ladder(rungs, counts))
    yield from task.influences


def predictions(task: EventStreams, model: Any) -> Exhibit:
    """Each event of some test sequences beside what was expected before it."""
    sequences, names, unit = task.events.test[:LISTED], task.events.types, task.events.gap
    found = predict(model, task.padded["test"][:len(sequences)], task.longest)
    best = found.chances.argmax(-1)
    lines = []
    for i, each in enumerate(sequences):
        before = np.concatenate([[each.start], each.times])
        for row in range(each.given, len(each)):
            lines.append((i + 1, row + 1, float(each.times[row]), names[each.types[row]],
                          float(before[row] + found.wait[i, row] * unit),
                          float(before[row] + found.median[i, row] * unit), names[best[i, row]],
                          float(found.chances[i, row, each.types[row]])))
    header = ("sequence", "event", "time", "type", "expected time", "median time", "most probable type",
              "chance of the type that came")
    return Exhibit.table("predictions.csv", f"Every event of the first {len(sequences)} test sequences, and what was "
                         "expected from those before it", header, lines)


def influences(task: EventStreams) -> Iterator[Exhibit]:
    """Who excites whom, from a Hawkes process fitted to the training part, and what each stream is worth on test
    sequences."""
    from archfab.tasks.events.hawkes import backtest, influence, influence_picture, intervals
    from archfab.tasks.events.hawkes.history import History
    from archfab.tasks.events.hawkes.process import Hawkes
    history = History(task.events.train, task.kinds)
    _, found = Hawkes.fit(task.events.train, task.kinds, np.random.default_rng(ladder.SEED))
    edges = influence.influence(history, found, intervals.observed(history, found))
    yield influence_picture.exhibit(edges, task.events.types)
    yield influence.table(edges, task.events.types)
    yield backtest.table(backtest.backtest(task.events.train, task.events.test, found), task.events.types)
