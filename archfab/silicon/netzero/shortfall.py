"""A plan that cannot keep its milestones: by how much it misses, in which year, which limit binds, what can be
reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.netzero.model import Model, Without, build
from archfab.silicon.netzero.pathway import Pathway, read
from archfab.silicon.netzero.plan import Plan

LIFTED = {"spending": "the limit on spending", "ramps": "the ramps", "starts": "the earliest starts and lead times",
          "removals": "the supply of durable removals"}
MOST_REACHES = 40


@dataclass(frozen=True)
class Shortfall:
    """`missed`: each cap that the nearest pathway misses; `reachable`: for each milestone that is missed the most
    that could be cut in its own year; `without`: tonnes missed in all if one limit were lifted; `extra_spending`: the
    least that would have to be spent above the limits, by year, to keep every milestone, None where money alone does
    not help; `removals_short_t` by year; `nearest`: the cheapest of the pathways that miss least."""

    missed_t: float
    missed: list[dict[str, Any]]
    removals_short_t: Mapping[int, float]
    reachable: list[dict[str, Any]]
    without: Mapping[str, float]
    binds: list[str]
    extra_spending: Mapping[int, float] | None
    nearest: Pathway


def shortfall(plan: Plan, seconds: float | None = None) -> Shortfall:
    """Where and why a plan falls short: the same programme with slack in its caps, made as small as it can be (the
    sum of tonnes over all caps and years), then the cheapest of the pathways that need no more slack than that."""
    model = build(plan)
    slack = model.objective(model.over, model.short)
    least = missing(model, seconds)
    found = model.solve(over=np.inf, short=np.inf, at_most=[(slack, least / model.tonne * (1 + 1e-7) + 1e-7)],
                        seconds=seconds)
    if found.status != "optimal":
        raise UsageError(f"the nearest pathway could not be decided: the solver says '{found.status}'")
    nearest = read(model, found)
    unpriced = {"marginal_cost_per_t": None, "marginal_cost_per_t_discounted": None}    # no tonne less can be had
    nearest = replace(nearest, caps=[{**cap, **unpriced} for cap in nearest.caps])
    missed = [{**told, "missed_by_t": told["emitted_t"] - told["cap_t"]} for told in nearest.caps
              if told["emitted_t"] - told["cap_t"] > 1e-3 * model.tonne]
    missed.sort(key=lambda each: (each["year"] or plan.last_year, each["account"]))
    short = {year: float(found.x[column] * model.tonne) for year, column in zip(plan.years, model.short, strict=True)
             if found.x[column] > 1e-5}
    without = {}
    for name in LIFTED:
        if (name == "spending" and plan.spending is None) or (name == "removals" and not short):
            continue
        without[name] = missing(build(plan, Without(**{name: True})), seconds)
    without["all of these"] = missing(build(plan, Without(True, True, True, True)), seconds)
    small = 1e-5 * model.tonne
    binds = [name for name, left in without.items() if name in LIFTED and left < least - small]
    if without["all of these"] > small:
        binds.append("potential")
    return Shortfall(least, missed, short, reachable(model, missed, seconds), without, binds,
                     extra_spending(model, seconds) if plan.spending is not None else None, nearest)


def missing(model: Model, seconds: float | None) -> float:
    """The least tonnes by which all caps together are missed, and removals are short."""
    found = model.solve(model.objective(model.over, model.short), over=np.inf, short=np.inf, seconds=seconds)
    if found.status != "optimal":
        raise UsageError(f"how far the plan falls short could not be decided: the solver says '{found.status}'")
    return max(0.0, found.value * model.tonne)


def reachable(model: Model, missed: list[dict[str, Any]], seconds: float | None) -> list[dict[str, Any]]:
    """The least emissions that each missed milestone's first missed year could have, all other milestones let go."""
    plan, found = model.plan, list[dict[str, Any]]()
    done: set[tuple[str, str]] = set()
    for each in missed:
        key = (each["milestone"], each["account"])
        if key in done or len(done) >= MOST_REACHES:
            continue
        done.add(key)
        cap = next(cap for cap in model.caps if (cap.name, cap.year, cap.account) == (each["milestone"], each["year"],
                                                                                  each["account"]))
        best = model.solve(model.objective(np.array([cap.over])), over=np.inf, short=np.inf, seconds=seconds)
        least = cap.t + max(0.0, best.value * model.tonne)
        base = plan.base_t(cap.account, cap.scopes)
        found.append({"milestone": cap.name, "year": cap.year, "account": cap.account, "asked_t": cap.t,
                      "least_t": least,
                      "asked_cut": None if cap.year is None else 1 - cap.t / base if base else None,
                      "greatest_cut": None if cap.year is None else 1 - least / base if base else None})
    return found


def extra_spending(model: Model, seconds: float | None) -> dict[int, float] | None:
    """The least money above the limits, in all, with which every milestone is kept."""
    found = model.solve(model.objective(model.extra), extra=np.inf, seconds=seconds)
    if found.status != "optimal":
        return None
    return {year: float(found.x[column] * model.unit) for year,
            column in zip(model.plan.years, model.extra, strict=True)
            if found.x[column] * model.unit > 1e-6 * model.unit}
