"""The naive plan: cheapest tonne first, each measure as early and as fast as it can, until every milestone is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from archfab.silicon.netzero.interactions import apart, required
from archfab.silicon.netzero.pathway import Pathway, by_cost, cheapest
from archfab.silicon.netzero.plan import Measure, Plan


@dataclass(frozen=True)
class Greedy:
    """`pathway` is None where even all measures do not do; `measures` in the order in which they were taken; `timed`:
    the same measures, with the best of timings; `overspent`: the most by which a year's limit on spending is broken
    (the naive plan knows none)."""

    measures: tuple[str, ...]
    pathway: Pathway | None
    timed: Pathway | None
    overspent: float


def greedy(plan: Plan) -> Greedy:
    """Measures in the order of their cost per tonne alone, what they require before them and what excludes them left
    out, as many as it takes; the number is found by halving, for more measures never emit more."""
    free = replace(plan, spending=None)
    order = chosen(plan)
    low, high = 0, len(order)
    best = pathway_of(free, order)
    if best is None:
        return Greedy(tuple(order), None, None, 0.0)
    while low < high:
        middle = (low + high) // 2
        found = pathway_of(free, order[:middle])
        low, high, best = (low, middle, found) if found else (middle + 1, high, best)
    names = tuple(order[:high])
    limits = np.array([(plan.spending or {}).get(year, np.inf) for year in plan.years])
    assert best is not None
    return Greedy(names, best, cheapest(free, only=set(names)), float(max(0.0, (best.spent - limits).max())))


def pathway_of(plan: Plan, names: list[str]) -> Pathway | None:
    """What comes of building these measures as early and as fast as they can be."""
    forced = {each.name: fastest(plan, each) if each.name in names else np.zeros(len(plan.years))
              for each in plan.measures}
    return cheapest(plan, only=set(names), forced=forced)


def chosen(plan: Plan) -> list[str]:
    """All measures in the order in which the naive plan takes them."""
    known, pairs = {each.name: each for each in plan.measures}, apart(plan.measures)
    found: list[str] = []
    for i in by_cost(plan):
        name = plan.measures[i].name
        wanted = [each.name for each in plan.measures if each.name in required(name, known) | {name}]
        wanted = sorted(wanted, key=lambda each: len(required(each, known)))
        if not any(frozenset((one, other)) in pairs for one in wanted for other in found):
            found += [each for each in wanted if each not in found]
    return found


def fastest(plan: Plan, measure: Measure) -> np.ndarray:
    """What of a measure is built by year if it grows as fast as its ramp lets it, and is renewed when it ends."""
    scale = plan.scale(measure)
    begin = max(0, max(measure.start, plan.first_year) + measure.lead - plan.first_year)
    built, stands = np.zeros(len(scale)), 0.0
    for year in range(begin, len(scale)):
        ended = built[year - measure.lifetime] if year >= measure.lifetime else 0.0
        wanted = min(scale[year], stands + measure.ramp * scale[year])
        built[year] = max(0.0, wanted - (stands - ended))
        stands += built[year] - ended
    return built
