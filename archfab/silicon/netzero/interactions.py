"""How measures depend on each other: what excludes what, what requires what, and which sets can stand on one part."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from archfab.core import UsageError, unknown
from archfab.silicon.netzero.plan import Measure

MOST_ON_ONE_SOURCE = 12
"""So many overlapping measures on one source make 4,095 sets a year; beyond, the plan would take minutes."""


def check_interactions(measures: Sequence[Measure]) -> None:
    """Every name is known, nobody requires itself in a circle, and nobody requires what it excludes.

    :raises UsageError: names the measures.
    """
    known = {each.name: each for each in measures}
    for each in measures:
        for field in ("excludes", "apart_from", "requires"):
            for name in getattr(each, field):
                if name not in known:
                    raise unknown("measure", name, list(known), f"([[measures]] '{each.name}' {field} it)")
                if name == each.name:
                    raise UsageError(f"[[measures]] '{each.name}' {field} itself")
    for each in measures:
        for name in each.apart_from:
            pair = (each, known[name])
            if any(one.potential_t is not None for one in pair) or not set(pair[0].acts_on) & set(pair[1].acts_on):
                raise UsageError(f"[[measures]] '{each.name}' is apart_from '{name}', which is about parts of a "
                                 "source that both take a share of, and there is none; for one or the other in the "
                                 "plan write excludes")
    for each in measures:
        if circle := circle_from(each.name, known):
            raise UsageError(f"measures require each other in a circle: {' -> '.join(circle)}; none of them could "
                             "ever come first: take one of the requirements out")
    pairs = excluded(measures) | apart(measures)
    for each in measures:
        for name in required(each.name, known):
            if frozenset((each.name, name)) in pairs:
                raise UsageError(f"[[measures]] '{each.name}' requires '{name}' and excludes it, so it could never be "
                                 "deployed")


def circle_from(name: str, known: dict[str, Measure]) -> list[str] | None:
    """The circle of requirements that leads from a measure back to it."""
    paths = [[name]]
    seen: set[str] = set()
    while paths:
        path = paths.pop()
        for after in known[path[-1]].requires:
            if after == name:
                return [*path, name]
            if after not in seen:
                seen.add(after)
                paths.append([*path, after])
    return None


def required(name: str, known: dict[str, Measure]) -> set[str]:
    """All that a measure needs, directly or by others."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for after in known[waiting.pop()].requires:
            if after not in found:
                found.add(after)
                waiting.append(after)
    return found


def excluded(measures: Sequence[Measure]) -> set[frozenset[str]]:
    """Pairs that never stand in one plan; said by either side."""
    return {frozenset((each.name, name)) for each in measures for name in each.excludes}


def apart(measures: Sequence[Measure]) -> set[frozenset[str]]:
    """Pairs that never stand on the same part of a source; said by either side."""
    return {frozenset((each.name, name)) for each in measures for name in each.apart_from} | excluded(measures)


def sets_on(source: str, measures: Sequence[Measure]) -> list[tuple[int, ...]]:
    """The sets of measures (their places in the list) that can stand on one part of a source, the empty set left out.
    A set that holds a measure holds what that requires on this source, and no two that are to be apart."""
    here = [i for i, each in enumerate(measures) if source in each.acts_on and each.potential_t is None]
    if len(here) > MOST_ON_ONE_SOURCE:
        raise UsageError(f"{len(here)} measures take a share of '{source}', and {MOST_ON_ONE_SOURCE} can: split the "
                         "source into parts that different measures act on, or write small measures with potential_t")
    pairs = apart(measures)
    bad = {(i, j) for i, j in combinations(here, 2) if frozenset((measures[i].name, measures[j].name)) in pairs}
    names = {measures[i].name: i for i in here}
    needs = {i: {names[name] for name in measures[i].requires if name in names} for i in here}
    found: list[tuple[int, ...]] = [()]
    for i in here:
        found += [(*each, i) for each in found if not any((j, i) in bad for j in each)]
    return [each for each in found if each and all(needs[i] <= set(each) for i in each)]
