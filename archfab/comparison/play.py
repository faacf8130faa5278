"""One strategy on one table, in memory: the loop of a search without its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from archfab import registry
from archfab.core import Event, Genotype, Goals, Lesson, Limit, Metrics, Strategy, Unknown, key_of
from archfab.tables import Table

REJECTIONS = 1000       # proposals that the table lacks, one after another, that end a run


@dataclass(frozen=True, slots=True)
class Step:
    """One evaluation: what was spent until its end, in whole trainings and simulated seconds, and what came of it."""

    spent: float
    seconds: float | None
    genotype: Genotype
    seen: Metrics           # empty where the trial failed, or was shorter than a whole training
    truth: Metrics


@dataclass(frozen=True, slots=True)
class Course:
    """A whole run: its evaluations, how many proposals the table lacks, and why it ended before its time, if so."""

    steps: list[Step]
    rejected: int
    ended: str | None


def make_strategy(name: str, table: Table, goals: Goals, limits: Sequence[Limit] = (),
                  options: Mapping[str, Any] | None = None, hints: bool = True) -> Strategy:
    """A strategy for a table, with the table's cheap figures as hints."""
    strategy = registry.load("strategies", name)(table.space, goals, limits, **(options or {}))
    strategy.hints = table.hints if hints and table.hint_names else None
    strategy.looks = 10_000
    return strategy


def play(strategy: Strategy, table: Table, evaluations: float, seed: int = 0, *, noise: bool = False,
         epochs: float | None = None) -> list[Step]:
    """The evaluations of one run; see `course`."""
    return course(strategy, table, evaluations, seed, noise=noise, epochs=epochs).steps


def course(strategy: Strategy, table: Table, evaluations: float, seed: int = 0, *, noise: bool = False,
           epochs: float | None = None) -> Course:
    """Lets a strategy propose until its evaluations are used, or until it has nothing left to try.

    An architecture that was tried is not trained again: its outcome is repeated, and counts. One that the table
    lacks is rejected, and does not.

    :param evaluations: in whole trainings; a trial of fidelity 0.1 counts as a tenth, or as
        the shortest training of the table where that is longer.
    :param noise: whether the strategy sees validation scores of a drawn seed, or what is reported.
    :param epochs: of one whole trial; the longest training of the table without it.
    """
    names = (*strategy.goals, *(limit.name for limit in strategy.limits))
    draws, known = Random(f"{seed}:noise"), {}
    whole = epochs or table.epochs[-1]
    longest = table.trained(whole)
    steps: list[Step] = []
    spent, seconds, number, rejected, rejections = 0.0, 0.0 if table.seconds else None, 0, 0, 0
    ended = None
    while spent < evaluations - 1e-9:
        if rejections == REJECTIONS:
            ended = f"{REJECTIONS} proposals in a row that the table lacks"
            break
        trial = strategy.ask(number, Random(f"{seed}:{number}"))
        assert not isinstance(trial, Lesson)            # `request` refuses strategies that ask for lessons
        if trial is None:
            ended = "the strategy has nothing left to try"
            break
        strategy.tell(Event("asked", trial))
        number += 1
        key = (key_of(trial.genotype), trial.fidelity)
        try:
            if key not in known:
                length = whole * trial.fidelity
                known[key] = table.see(trial.genotype, draws if noise else None, length, names)
                if seconds is not None:
                    seconds += table.spent(trial.genotype, length) or 0.0
            seen = known[key]
        except Unknown as error:
            rejected += 1
            rejections += 1
            strategy.tell(Event("rejected", trial, note=str(error)))
            continue
        rejections = 0
        share = table.trained(whole * trial.fidelity) / longest if longest else 1.0     # what the table really trained
        spent += max(trial.fidelity, share)
        full = trial.fidelity == 1
        steps.append(Step(spent, seconds, trial.genotype, seen if full else {},
                          table.truth(trial.genotype, names) if full else {}))
        strategy.tell(Event("ok", trial, seen))
    return Course(steps, rejected, ended)


def incumbents(steps: Sequence[Step], goal: str, sense: str, limits: Sequence[Limit] = ()) -> list[float | None]:
    """After each step, the reported value of the architecture that looked best so far.

    None before there is one, and where the one that looked best does in truth break a limit.
    """
    sign = 1 if sense == "min" else -1
    best: float | None = None
    reported: float | None = None
    found = []
    for step in steps:
        if step.seen and not any(limit.excess(step.seen) for limit in limits):
            value = sign * step.seen[goal]
            if best is None or value < best:
                best = value
                reported = None if any(limit.excess(step.truth) for limit in limits) else step.truth[goal]
        found.append(reported)
    return found
