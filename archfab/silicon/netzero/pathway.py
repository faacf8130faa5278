"""The pathway that was found, year by year: what is deployed, emitted, removed and paid, and what a tonne less would
cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.netzero.interactions import apart
from archfab.silicon.netzero.model import Cap, Model, build, capital_by_year, end_value
from archfab.silicon.netzero.parts import factor, leftover
from archfab.silicon.netzero.plan import ACCOUNTS, Plan
from archfab.silicon.netzero.programme import Solution


@dataclass(frozen=True)
class Pathway:
    """Arrays are by year of the plan; tonnes per year and money of the year (not discounted) unless said otherwise."""

    plan: Plan
    cost: float                                     # discounted, the value at the end taken off
    gap: float                                      # by what share the cost can be above the least
    deployed: Mapping[str, np.ndarray]              # share of full deployment in use
    built: Mapping[str, np.ndarray]                 # share of full deployment (base year) that starts to work
    capital: Mapping[str, np.ndarray]
    running: Mapping[str, np.ndarray]
    removal_cost: np.ndarray
    carbon_cost: np.ndarray
    end_value: float
    baseline: Mapping[str, np.ndarray]              # by account: sources by years
    emitted: Mapping[str, np.ndarray]
    by_chance: Mapping[str, np.ndarray]             # what would be left if measures met on parts by chance
    abated: Mapping[str, Mapping[str, np.ndarray]]  # by account and measure
    removed: Mapping[str, np.ndarray]               # durable removals only
    caps: Sequence[Mapping[str, Any]]
    spending_price: np.ndarray                      # what one more unit of money in a year would save, discounted
    parts: Sequence[Mapping[tuple[int, ...], np.ndarray]]
    taken: Mapping[str, Sequence[Mapping[str, np.ndarray]]]     # by account and measure in tonnes: tonnes by source

    @property
    def spent(self) -> np.ndarray:
        """What the plan's limit on spending counts."""
        capital = sum(self.capital.values(), np.zeros(len(self.plan.years)))
        if self.plan.spending_counts == "capital":
            return capital
        return capital + sum(self.running.values(), np.zeros(len(self.plan.years))) + self.removal_cost

    def total(self, account: str, scopes: tuple[int, ...] = (1, 2, 3)) -> np.ndarray:
        rows = [i for i, each in enumerate(self.plan.sources) if each.scope in scopes]
        return self.emitted[account][rows].sum(axis=0)

    def discounted(self, money: np.ndarray) -> float:
        return float((money * self.plan.discounts()).sum())


def cheapest(plan: Plan, seconds: float | None = None, only: set[str] | None = None,
             forced: dict[str, np.ndarray] | None = None,
             caps_t: dict[tuple[str, int | None, str], float] | None = None) -> Pathway | None:
    """The cheapest pathway that keeps every milestone, budget, ramp and requirement; None where there is none.

    A mixed-integer linear programme solved by HiGHS, exact to a relative gap of 1e-6 (a linear one without `whole`
    and `excludes`): minimise sum_t d_t (capital + running + removals + carbon price) - value at the end, d_t =
    (1+r)^-t.

    :raises UsageError: where the costs have no least value.
    """
    model = build(plan, only=only, forced=forced, caps_t=caps_t)
    found = model.solve(seconds=seconds)
    if found.status == "infeasible":
        return None
    if found.status != "optimal":
        raise UsageError(f"the pathway could not be decided: the solver says '{found.status}'"
                         + ("; give more --seconds" if found.status == "stopped" else ""))
    return read(model, found)


def read(model: Model, found: Solution) -> Pathway:
    """What a solution says, in tonnes and money."""
    plan, x = model.plan, found.x
    number = len(plan.years)
    clean = np.where(np.abs(x) < 1e-9, 0.0, x)
    discounts = plan.discounts()
    capital, running, value = {}, {}, 0.0
    for i, measure in enumerate(plan.measures):
        built, (paid, price) = clean[model.built[i]], capital_by_year(plan, measure)
        capital[measure.name] = np.bincount(paid, built * price, number)
        running[measure.name] = clean[model.deployed[i]] * measure.running * plan.scale(measure)
        value += float((built * end_value(plan, measure, price)).sum() * discounts[-1])
    removal_cost = sum((clean[columns] * model.tonne * each.cost_per_t * (1 + each.cost_change) ** np.arange(number)
                        for each, columns in zip(plan.removals, model.removed, strict=True)), np.zeros(number))
    baseline = {account: np.array([each.baseline(plan.since_base, account) for each in plan.sources])
                for account in ACCOUNTS}
    parts = [{each: clean[columns] for each, columns in here.items()} for here in model.parts]
    amounts = [{name: clean[columns] * model.tonne for name, columns in here.items()} for here in model.taken]
    left = {account: leftover(plan, parts, amounts, account) for account in ACCOUNTS}
    emitted = {account: each[0] for account, each in left.items()}
    taken = {account: each[1] for account, each in left.items()}
    return Pathway(
        plan, float(model.cost @ x) * model.unit, found.gap,
        {each.name: np.clip(clean[columns], 0.0, 1.0) for each,
         columns in zip(plan.measures, model.deployed, strict=True)},
        {each.name: clean[columns] for each, columns in zip(plan.measures, model.built, strict=True)},
        capital, running, removal_cost, carbon_cost(plan, emitted["market"]), value, baseline, emitted,
        {account: chance(plan, parts, taken[account], baseline[account], account) for account in ACCOUNTS},
        {account: attributed(plan, parts, taken[account], baseline[account], account) for account in ACCOUNTS},
        {each.name: clean[columns] * model.tonne for each, columns in zip(plan.removals, model.removed, strict=True)},
        [told(model, cap, found, emitted) for cap in model.caps],
        -found.duals[model.spending_rows] if len(model.spending_rows) else np.zeros(number), parts, taken)


def carbon_cost(plan: Plan, emitted: np.ndarray) -> np.ndarray:
    """What the carbon price takes, by year."""
    if plan.carbon_price is None:
        return np.zeros(len(plan.years))
    priced = [i for i, each in enumerate(plan.sources) if each.scope in plan.carbon_price.scopes]
    price = plan.carbon_price.per_t * (1 + plan.carbon_price.growth) ** np.arange(len(plan.years))
    return emitted[priced].sum(axis=0) * price


def told(model: Model, cap: Cap, found: Solution, emitted: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A cap, what is emitted under it, and its shadow price: what one tonne less would cost, in money of the first year
    of the plan (discounted) and of the cap's own year."""
    rows = [i for i, each in enumerate(model.plan.sources) if each.scope in cap.scopes]
    under = emitted[cap.account][rows]
    place = None if cap.year is None else cap.year - model.plan.first_year
    price = abs(float(found.duals[cap.row])) * model.unit / model.tonne
    return {"milestone": cap.name, "year": cap.year, "account": cap.account, "scopes": list(cap.scopes), "cap_t": cap.t,
            "emitted_t": float(under.sum() if place is None else under[:, place].sum()),
            "marginal_cost_per_t_discounted": price,
            "marginal_cost_per_t": price if place is None else price / float(model.plan.discounts()[place])}


def standalone_cost(plan: Plan, name: str) -> float:
    """Cost per tonne of a measure alone at the base year's activity: capital as an annuity over its lifetime, plus
    running cost, by the tonnes that it takes (market-based). Annuity: C r / (1 - (1+r)^-L), C / L where r = 0."""
    measure = next(each for each in plan.measures if each.name == name)
    tonnes = plan.full_t(measure)
    yearly = annuity(measure.capital, plan.discount_rate, measure.lifetime) + measure.running
    if tonnes == 0:
        return float("inf") if yearly >= 0 else float("-inf")
    return yearly / tonnes


def annuity(capital: float, rate: float, years: int) -> float:
    """The equal yearly payments that a capital costs over so many years."""
    return capital / years if rate == 0 else capital * rate / (1.0 - (1.0 + rate) ** -years)


def by_cost(plan: Plan) -> list[int]:
    """The measures from the cheapest tonne to the dearest: the order in which they are credited."""
    return sorted(range(len(plan.measures)), key=lambda i: (standalone_cost(plan, plan.measures[i].name), i))


def attributed(plan: Plan, parts: Sequence[Mapping[tuple[int, ...], np.ndarray]],
               taken: Sequence[Mapping[str, np.ndarray]],
               baseline: np.ndarray, account: str) -> dict[str, np.ndarray]:
    """What each measure takes. Where several stand on one part, the cheaper tonne goes first and the next gets its
    share of what is left, so the sum over measures is exactly what is no longer emitted."""
    rank = {i: place for place, i in enumerate(by_cost(plan))}
    found = {each.name: np.zeros(len(plan.years)) for each in plan.measures}
    for i, here in enumerate(parts):
        for measures, size in here.items():
            left = baseline[i] * size
            for m in sorted(measures, key=rank.__getitem__):
                after = left * factor(plan, plan.sources[i].name, (m,), account)
                found[plan.measures[m].name] += left - after
                left = after
    for measure, amounts in zip(plan.measures, taken, strict=True):
        found[measure.name] += sum(amounts.values(), np.zeros(len(plan.years)))
    return found


def chance(plan: Plan, parts: Sequence[Mapping[tuple[int, ...], np.ndarray]], taken: Sequence[Mapping[str, np.ndarray]],
           baseline: np.ndarray, account: str) -> np.ndarray:
    """What each source would emit if deployments met by chance: B prod(1 - p x) over measures. Measures that are to be
    apart, or require each other, keep to that and count as one."""
    found = baseline.copy()
    for i, here in enumerate(parts):
        for group in groups(plan, here):
            found[i] *= 1.0 - sum((size * (1.0 - factor(plan, plan.sources[i].name, tuple(set(each) & group), account))
                                   for each, size in here.items()), np.zeros(len(plan.years)))
        for amounts in taken:
            found[i] = np.maximum(0.0, found[i] - amounts.get(plan.sources[i].name, 0.0))
    return found


def groups(plan: Plan, here: Mapping[tuple[int, ...], np.ndarray]) -> list[set[int]]:
    """The measures on one source, those together that depend on each other."""
    pairs = apart(plan.measures) | {frozenset((each.name, name)) for each in plan.measures for name in each.requires}
    found: list[set[int]] = []
    for i in sorted({m for each in here for m in each}):
        near = [group for group in found
                if any(frozenset((plan.measures[i].name, plan.measures[j].name)) in pairs for j in group)]
        found = [group for group in found if group not in near] + [{i}.union(*near)]
    return found
