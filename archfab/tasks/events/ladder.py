"""The ladder of methods: Poisson, Hawkes processes, known networks; whether each beats the one before."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from archfab.core import Estimate, Exhibit, Metrics
from archfab.tasks.events.evaluation import Predicted, log_likelihoods, ratio, scores
from archfab.tasks.events.heads import FLOOR

if TYPE_CHECKING:
    from archfab.tasks.events import EventStreams
    from archfab.tasks.events.hawkes.process import Process

SEED = 0
STEPS, NODES = 60, 8        # of the fit with inhibition, which is bounded: steps at most, points between events
WORK = 30_000_000           # events times types times steps of that fit; 10 steps at least


def classical(task: EventStreams) -> dict[str, Process]:
    """The processes that need no network, fitted to the training part.

    Each intensity has the same floor as those of networks, so that an event of which training data know nothing costs
    all methods alike, and none an infinity. The fit with inhibition ends after at most 60 steps.
    """
    from archfab.tasks.events.hawkes.linked import LinkedHawkes
    from archfab.tasks.events.hawkes.process import Hawkes, poisson, univariate
    train, kinds, rng = task.events.train, task.kinds, np.random.default_rng(SEED)
    floor = FLOOR / task.events.gap
    linear = {"Poisson": poisson(train, kinds), "univariate Hawkes": univariate(train, kinds, rng)[0],
              "Hawkes": Hawkes.fit(train, kinds, rng)[0]}
    steps = max(10, min(STEPS, WORK // (kinds * sum(map(len, train)))))
    bending, _ = LinkedHawkes.fit(train, kinds, rng, steps=steps, nodes=NODES)
    return {**{name: Hawkes(replace(each.parameters, base=each.parameters.base + floor))
               for name, each in linear.items()}, "Hawkes with inhibition": replace(bending, floor=floor)}


def networks(task: EventStreams) -> dict[str, Any]:
    """The networks of Mei and Eisner and of Zuo et al., trained for the budget of a delivered one."""
    from archfab.learning import seed_torch
    from archfab.tasks.events import known
    found = {}
    for name, make in (("neural Hawkes", known.neural_hawkes), ("transformer", known.transformer)):
        rng = random.Random(f"{SEED}:{name}")
        seed_torch(rng)
        model = make(task.rates)
        task.fit(model, task.full_budget(), rng, full=True)
        found[name] = model.eval()
    return found


def rungs(task: EventStreams) -> dict[str, np.ndarray]:
    """The log-likelihood of each test sequence by each method, the simplest first."""
    data, sequences = task.padded["test"], task.events.test
    shift = np.log(task.events.gap) * data.scored.double().numpy().sum(1)
    return {name: process.log_likelihoods(sequences) for name, process in task.classical.items()} | {
        name: log_likelihoods(task.place(model), data.to(task.device)) - shift
        for name, model in task.networks.items()}


def baselines(task: EventStreams) -> dict[str, Metrics]:
    """Scores of all these on validation and test sequences."""
    found: dict[str, Metrics] = {}
    for name, process in task.classical.items():
        found[name] = {**scored(task, process, "validation"), **tested(scored(task, process, "test"))}
    for name, model in task.networks.items():
        found[name] = {**task.score(model), **tested(task.score(model, "test"))}
    return found


def tested(scores: Mapping[str, float]) -> dict[str, float]:
    return {f"test_{name}": value for name, value in scores.items()}


def scored(task: EventStreams, process: Process, split: str) -> dict[str, Estimate]:
    """The same scores as those of networks, on the same sequences."""
    sequences, data = task.events.part(split), task.padded[split]
    foreseen = process.predict(sequences)
    shape = data.waits.shape
    filled = np.zeros(shape, bool)
    for i, each in enumerate(sequences):
        filled[i, :len(each) + 1] = True
    wait, median, chances = np.zeros(shape), np.zeros(shape), np.zeros((*shape, task.kinds))
    wait[filled], median[filled] = np.minimum(foreseen.wait, 1e6 * task.events.gap), foreseen.median
    chances[filled] = foreseen.chances
    unit = task.events.gap
    counts = data.scored.double().numpy().sum(1)
    return scores(process.log_likelihoods(sequences) + np.log(unit) * counts, data, unit,
                  Predicted(wait / unit, median / unit, chances))


def ladder(rows: Mapping[str, np.ndarray], counts: np.ndarray) -> list[dict[str, Any]]:
    """Each method beside the one before it, on the same test sequences.

    :param rows: log-likelihoods of the sequences by method, the simplest first. :param counts: their scored events.
    :returns: for each method its negative log-likelihood per event, the gain over the one before with its 95 % interval
        over sequences (paired), and a verdict.
    """
    found: list[dict[str, Any]] = []
    before: np.ndarray | None = None
    for name, values in rows.items():
        row: dict[str, Any] = {"method": name, "nll": float(ratio(-values, counts)), "gain": "", "low": "", "high": "",
                               "verdict": ""}
        if before is not None:
            gain = ratio(values - before, counts)
            row |= {"gain": float(gain), "low": gain.low, "high": gain.high, "verdict": verdict(gain)}
        found.append(row)
        before = values
    return found


def verdict(gain: Estimate) -> str:
    """In words; where one of the two has no likelihood, so that there is no interval, its sign decides."""
    if not np.isfinite(gain):
        return "beats the one before" if gain > 0 else "is beaten by the one before"
    if gain.low > 0:
        return "beats the one before"
    return "is beaten by the one before" if gain.high < 0 else "cannot be told from the one before"


def table(found: Sequence[Mapping[str, Any]], file: str = "ladder.csv") -> Exhibit:
    about = ("Test negative log-likelihood per event of each method, and its gain over the method before in nats per "
             "event with a 95 % interval over sequences: " + "; ".join(f"{row['method']} {row['verdict']}"
                                                                       for row in found if row["verdict"]))
    return Exhibit.table(file, about, list(found[0]), [list(row.values()) for row in found])
