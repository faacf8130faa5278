"""The parts of each source: which measures stand on how much of it, and what that leaves.

A source is cut into parts, and each part holds a set of measures. On a part, measures multiply: after one that takes
30 % there is 70 % left for the next. The sizes of the parts are the columns, so what is left of a source is linear in
them and exact: no product of two columns arises, and nothing is counted twice. How far a measure is deployed is the sum
of the parts that hold it. The plan chooses which part gets what, once: from year to year parts only gain measures or
lose those whose lifetime ends. `pathway.chance` tells what would be left if measures met on parts by chance instead.
Measures in tonnes per year take what they can of what the others leave, and never more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from archfab.silicon.netzero.interactions import sets_on
from archfab.silicon.netzero.plan import ACCOUNTS, Plan
from archfab.silicon.netzero.programme import Programme, Term

Parts = dict[tuple[int, ...], np.ndarray]
"""For one source: the share of it that holds a set of measures (their places in the plan), by year."""


def divide(made: Programme, plan: Plan, deployed: list[np.ndarray], tonne: float
           ) -> tuple[list[Parts], list[dict[str, np.ndarray]]]:
    """The parts of each source by the set of measures on them, and the tonnes that measures in tonnes take."""
    number = len(plan.years)
    parts: list[Parts] = []
    for source in plan.sources:
        here = {each: made.add_columns(number, 0.0, 1.0) for each in sets_on(source.name, plan.measures)}
        parts.append(here)
        if not here:
            continue
        made.add_rows([(columns, 1.0) for columns in here.values()], high=1.0)
        for i, measure in enumerate(plan.measures):
            if source.name in measure.acts_on and measure.potential_t is None:
                made.add_rows([(deployed[i], -1.0), *((columns, 1.0) for each, columns in here.items() if i in each)],
                              0.0, 0.0)
    taken: list[dict[str, np.ndarray]] = []
    for i, measure in enumerate(plan.measures):
        taken.append({})
        if measure.potential_t is not None:
            taken[i] = {name: made.add_columns(number) for name in measure.acts_on}
            made.add_rows([(deployed[i], -measure.potential_t / tonne),
                           *((columns, 1.0) for columns in taken[i].values())],
                          -np.inf if measure.whole else 0.0, 0.0)       # all of it may be more than there is left
    return parts, taken


def walk(made: Programme, plan: Plan, parts: list[Parts], built: list[np.ndarray],
         scales: list[np.ndarray]) -> None:
    """From year to year a part only gains measures, and loses those whose lifetime ends. What a source grows by comes
    without any; what it shrinks by leaves all parts alike. Nothing that was installed is moved to another part."""
    number = len(plan.years)
    for source, here in zip(plan.sources, parts, strict=True):
        activity = source.activity(plan.since_base)
        kept = np.concatenate([[0.0], np.minimum(activity[1:], activity[:-1])])
        terms: dict[tuple[int, ...], list[Term]] = {
            each: [(columns, activity), (np.concatenate([[-1], columns[:-1]]), -kept)]
            for each, columns in here.items()}
        ends: dict[int, list[np.ndarray]] = {}
        for each in here:
            for m in each:
                rest = tuple(i for i in each if i != m)
                if rest and rest not in here:
                    continue
                gains = made.add_columns(number)
                terms[each].append((gains, -1.0))
                if rest:
                    terms[rest].append((gains, 1.0))
                if plan.measures[m].lifetime < number:
                    loses = made.add_columns(number)
                    ends.setdefault(m, []).append(loses)
                    terms[each].append((loses, 1.0))
                    if rest:
                        terms[rest].append((loses, -1.0))
        for rows in terms.values():
            made.add_rows(rows, 0.0, 0.0)
        for m, columns in ends.items():
            life = plan.measures[m].lifetime
            ended = np.concatenate([np.full(life, -1), built[m][:number - life]])
            made.add_rows([*((each, 1.0) for each in columns), (ended, -activity / scales[m])], high=0.0)


def factor(plan: Plan, source: str, measures: tuple[int, ...], account: str) -> float:
    """What a set of measures leaves of the part it stands on."""
    left = 1.0
    for i in measures:
        if account == "market" or not plan.measures[i].certificates:
            left *= 1.0 - plan.measures[i].acts_on[source]
    return left


def remaining(made: Programme, plan: Plan, parts: list[Parts],
              taken: list[dict[str, np.ndarray]], tonne: float) -> dict[str, list[np.ndarray]]:
    """What each source still emits, by account and year. In scope 2 the smaller of the two figures may be used up
    before all tonnes are taken, so it is only bounded from below; `leftover` tells what it is."""
    left: dict[str, list[np.ndarray]] = {account: [] for account in ACCOUNTS}
    for i, source in enumerate(plan.sources):
        amounts: dict[bool, list[Term]] = {certificates: [
            (amount[source.name], 1.0) for measure, amount in zip(plan.measures, taken, strict=True)
            if source.name in amount and measure.certificates is certificates] for certificates in (False, True)}
        larger = "location" if source.t >= source.market_t else "market"
        for account in ACCOUNTS:
            if account == "market" and source.scope != 2:
                left["market"].append(left["location"][i])
                continue
            start = source.baseline(plan.since_base, account) / tonne
            left[account].append(made.add_columns(len(plan.years)))
            gone: list[Term] = [(part, start * (1.0 - factor(plan, source.name, each, account)))
                                for each, part in parts[i].items()]
            bought = amounts[True] if account == "market" else []
            exact = not amounts[False] or account == larger == "location"
            made.add_rows([(left[account][i], 1.0), *gone, *amounts[False], *bought], start, start if exact else np.inf)
            if bought:
                made.add_rows([*gone, *bought], high=start)
        if amounts[False] and larger == "market":
            start = source.baseline(plan.since_base, larger) / tonne
            made.add_rows([*amounts[False], *((part, start * (1.0 - factor(plan, source.name, each, "location")))
                                              for each, part in parts[i].items())], high=start)
    return left


def leftover(plan: Plan, parts: Sequence[Mapping[tuple[int, ...], np.ndarray]],
             taken: Sequence[Mapping[str, np.ndarray]], account: str) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
    """What each source still emits (tonnes, sources by years), and what measures in tonnes take of it by one account:
    never more than the others leave."""
    emitted = np.zeros((len(plan.sources), len(plan.years)))
    found: list[dict[str, np.ndarray]] = [{} for _ in plan.measures]
    for i, source in enumerate(plan.sources):
        gone = sum((size * (1.0 - factor(plan, source.name, each, account)) for each, size in parts[i].items()),
                   np.zeros(len(plan.years)))
        room = source.baseline(plan.since_base, account) * np.maximum(0.0, 1.0 - gone)
        here = {m: amounts[source.name] for m, amounts in enumerate(taken)
                if source.name in amounts and (account == "market" or not plan.measures[m].certificates)}
        wanted = sum(here.values(), np.zeros(len(plan.years)))
        share = np.minimum(1.0, np.divide(room, wanted, out=np.ones_like(room), where=wanted > 0))
        for m, amounts in here.items():
            found[m][source.name] = amounts * share
        emitted[i] = np.maximum(0.0, room - wanted)
    return emitted, found
