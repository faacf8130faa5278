"""The pathway as a linear programme: what is built when, what it takes of each source, what is left, what it costs.

Sources are cut into parts that hold sets of measures (`parts.py`), which keeps measures that multiply linear and exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from archfab.silicon.netzero.interactions import excluded
from archfab.silicon.netzero.parts import divide, remaining, walk
from archfab.silicon.netzero.plan import Measure, Plan
from archfab.silicon.netzero.programme import Frozen, Programme, Solution


@dataclass(frozen=True)
class Without:
    """Limits that are lifted, to see which of them binds."""

    spending: bool = False
    ramps: bool = False
    starts: bool = False
    removals: bool = False


@dataclass
class Model:
    """The programme of a plan and where its columns and rows are. Tonnes are in units of `tonne`, money of `unit`."""

    plan: Plan
    tonne: float
    unit: float
    programme: Frozen
    cost: np.ndarray                                # discounted
    deployed: list[np.ndarray]                      # by measure: the share in use, by year
    built: list[np.ndarray]
    capacity: list[np.ndarray]
    taken: list[dict[str, np.ndarray]]              # by measure in t/y: tonnes of each source
    parts: list[dict[tuple[int, ...], np.ndarray]]  # by source: the share of it that holds each set
    left: dict[str, list[np.ndarray]]               # by account and source: tonnes
    removed: list[np.ndarray]
    over: np.ndarray                                # tonnes above a cap: zero unless allowed
    short: np.ndarray                               # removals short of the residual, by year
    extra: np.ndarray                               # money above the limit, by year
    caps: list[Cap] = field(default_factory=list)
    spending_rows: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    residual_rows: dict[str, np.ndarray] = field(default_factory=dict)

    def objective(self, *columns: np.ndarray) -> np.ndarray:
        """The sum of some columns, to be made small."""
        found = np.zeros(self.programme.matrix.shape[1])
        for each in columns:
            np.add.at(found, each[each >= 0], 1.0)
        return found

    def solve(self, objective: np.ndarray | None = None, over: float = 0.0, short: float = 0.0, extra: float = 0.0,
              at_most: Sequence[tuple[np.ndarray, float]] = (), seconds: float | None = None) -> Solution:
        """The cheapest pathway, or the least of another objective; `over`, `short`, `extra` are the most (in the
        units of the model) that a cap may be missed by, that removals may be short, that may be spent above a
        limit."""
        high = {int(column): most for columns, most in ((self.over, over), (self.short, short), (self.extra, extra))
                for column in columns}
        return self.programme.solve(self.cost if objective is None else objective, high, at_most, seconds=seconds)


@dataclass(frozen=True)
class Cap:
    """The most that may be emitted in one year, or over all of them (`year` None), by one account."""

    name: str
    year: int | None
    account: str
    scopes: tuple[int, ...]
    t: float
    row: int
    over: int           # the column of its slack


def build(plan: Plan, without: Without | None = None, caps_t: dict[tuple[str, int | None, str], float] | None = None,
          only: set[str] | None = None, forced: dict[str, np.ndarray] | None = None) -> Model:
    """The programme of a plan. `caps_t`: other caps by milestone, year and account; `only`: the measures that may be
    used; `forced`: what of a measure is built by year, as the baselines ask for."""
    without = without or Without()
    years, number = plan.years, len(plan.years)
    tonne = max(plan.base_t("location"), plan.base_t("market")) / 1e3
    unit = money_unit(plan)
    made, discounts = Programme(), plan.discounts()
    costs: list[tuple[np.ndarray, np.ndarray]] = []
    spent: list[tuple[np.ndarray, np.ndarray]] = []         # columns by year of payment, and what a unit costs
    deployed, built, capacity = [], [], []
    scales = [plan.scale(each) for each in plan.measures]
    for measure, scale in zip(plan.measures, scales, strict=True):
        allowed = only is None or measure.name in only
        chosen = deploy(made, plan, measure, scale, without, allowed, (forced or {}).get(measure.name))
        deployed.append(chosen[0])
        built.append(chosen[1])
        capacity.append(chosen[2])
        pay(plan, measure, scale, chosen, discounts / unit, costs, spent, unit)
    together(made, plan, deployed, capacity, scales)
    parts, taken = divide(made, plan, deployed, tonne)
    walk(made, plan, parts, built, scales)
    left = remaining(made, plan, parts, taken, tonne)
    removed = []
    for each in plan.removals:
        durable = each.permanence_years >= plan.permanence_years
        elapsed = np.maximum(0, np.array(years) - each.start)
        most = np.where(np.array(years) >= each.start, each.limit_t * (1 + each.growth) ** elapsed, 0.0) / tonne
        due = plan.net_zero_year is not None and durable
        most = np.where([due and year >= (plan.net_zero_year or 0) for year in years],
                        np.inf if without.removals else most, 0.0)
        removed.append(made.add_columns(number, 0.0, most))
        each_t = each.cost_per_t * (1 + each.cost_change) ** np.arange(number) * tonne / unit
        costs.append((removed[-1], each_t * discounts))
        if plan.spending_counts == "all":
            spent.append((removed[-1], each_t))
    if plan.carbon_price:
        price = plan.carbon_price
        for i, source in enumerate(plan.sources):
            if source.scope in price.scopes:
                each_t = price.per_t * (1 + price.growth) ** np.arange(number) * tonne / unit
                costs.append((left["market"][i], each_t * discounts))
    short = made.add_columns(number, 0.0, 0.0)
    rows = neutral(made, plan, left, removed, short)
    caps = limit(made, plan, left, tonne, caps_t or {})
    extra, spending_rows = purse(made, plan, spent, unit, without)
    programme = made.freeze()
    cost = np.zeros(made.columns)
    for columns, values in costs:
        there = columns >= 0
        np.add.at(cost, columns[there], values[there])
    return Model(plan, tonne, unit, programme, cost, deployed, built, capacity, taken, parts, left, removed,
                 np.array([cap.over for cap in caps], int), short, extra, caps, spending_rows, rows)


def money_unit(plan: Plan) -> float:
    """A unit in which the costs of a plan are neither tiny nor huge: a hundredth of the dearest, and not above the
    middle one, for a single measure of another order would push the others below the solver's tolerance."""
    sizes = [size for each in plan.measures for size in (abs(each.capital), 10 * abs(each.running)) if size > 0]
    return min(max(sizes) / 1e2, float(np.median(sizes))) if sizes else 1.0


def deploy(made: Programme, plan: Plan, measure: Measure, scale: np.ndarray, without: Without, allowed: bool,
           forced: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is in use (as a share), what is built and what stands (both in full deployments of the base year), by
    year."""
    years, number = np.array(plan.years), len(plan.years)
    soonest = plan.first_year if without.starts else max(measure.start, plan.first_year) + measure.lead
    ready = years >= soonest
    most = np.where(ready & allowed, scale.max(), 0.0)
    in_use = made.add_columns(number, 0.0, np.where(ready & allowed, 1.0, 0.0), whole=measure.whole)
    build = made.add_columns(number, 0.0 if forced is None else forced, most if forced is None else forced)
    stands = made.add_columns(number, 0.0, scale.max() * (1 + 1e-9))
    before = np.concatenate([[-1], stands[:-1]])
    ended = np.concatenate([np.full(min(measure.lifetime, number), -1), build[:max(0, number - measure.lifetime)]])
    made.add_rows([(stands, 1.0), (before, -1.0), (build, -1.0), (ended, 1.0)], 0.0, 0.0)
    made.add_rows([(in_use, scale), (stands, -1.0)], high=0.0)
    if measure.ramp < 1 and not without.ramps:
        used_before = np.concatenate([[-1], in_use[:-1]])
        made.add_rows([(in_use, scale), (used_before, -np.concatenate([[0.0], scale[:-1]]))], high=measure.ramp * scale)
    if measure.whole:
        made.add_rows([(in_use[1:], 1.0), (in_use[:-1], -1.0)], low=0.0)
    return in_use, build, stands


def pay(plan: Plan, measure: Measure, scale: np.ndarray, columns: tuple[np.ndarray, np.ndarray, np.ndarray],
        discounts: np.ndarray, costs: list[tuple[np.ndarray, np.ndarray]], spent: list[tuple[np.ndarray, np.ndarray]],
        unit: float) -> None:
    """What a measure costs: capital when it is decided, running while it is in use, and at the end of the plan the
    value of what still stands, in a straight line over its lifetime."""
    in_use, build, _ = columns
    number = len(plan.years)
    paid, price = capital_by_year(plan, measure)
    costs.append((build, price * discounts[paid] - end_value(plan, measure, price) * discounts[-1]))
    costs.append((in_use, measure.running * scale * discounts))
    for year in range(number):
        which = np.flatnonzero(paid == year)
        for i in which:
            row = np.full(number, -1)
            row[year] = build[i]
            spent.append((row, np.full(number, price[i] / unit)))
    if plan.spending_counts == "all":
        spent.append((in_use, measure.running * scale / unit))


def capital_by_year(plan: Plan, measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    """For what stands from each year on: when it is paid, and what one full deployment costs then."""
    number = len(plan.years)
    paid = np.maximum(0, np.arange(number) - measure.lead)
    return paid, measure.capital * (1 + measure.cost_change) ** paid


def end_value(plan: Plan, measure: Measure, price: np.ndarray) -> np.ndarray:
    """What is left of the capital when the plan ends."""
    number = len(plan.years)
    if not plan.residual_value:
        return np.zeros(number)
    return price * np.maximum(0, measure.lifetime - (number - np.arange(number))) / measure.lifetime


def together(made: Programme, plan: Plan, deployed: list[np.ndarray], capacity: list[np.ndarray],
             scales: list[np.ndarray]) -> None:
    """What requires another goes no further than that; of two that exclude each other one is never built."""
    place = {each.name: i for i, each in enumerate(plan.measures)}
    for i, each in enumerate(plan.measures):
        for name in each.requires:
            made.add_rows([(deployed[i], 1.0), (deployed[place[name]], -1.0)], high=0.0)
    pairs = sorted(tuple(sorted(pair)) for pair in excluded(plan.measures))
    taken = {name: made.add_columns(1, 0.0, 1.0, whole=True)[0]
             for name in sorted({name for pair in pairs for name in pair})}
    for name, column in taken.items():
        stands = capacity[place[name]]
        made.add_rows([(stands, 1.0), (np.full(len(stands), column), -scales[place[name]].max() * (1 + 1e-9))],
                      high=0.0)
    for one, other in pairs:
        made.add_row(np.array([taken[one], taken[other]]), 1.0, high=1.0)


def neutral(made: Programme, plan: Plan, left: dict[str, list[np.ndarray]], removed: list[np.ndarray],
            short: np.ndarray) -> dict[str, np.ndarray]:
    """From the year of net zero on, durable removals match what is left."""
    if plan.net_zero_year is None:
        return {}
    begin = plan.net_zero_year - plan.first_year
    return {account: made.add_rows([*((columns[begin:], 1.0) for columns in left[account]),
                                    *((columns[begin:], -1.0) for columns in removed), (short[begin:], -1.0)], high=0.0)
            for account in plan.binding}


def limit(made: Programme, plan: Plan, left: dict[str, list[np.ndarray]], tonne: float,
          caps_t: dict[tuple[str, int | None, str], float]) -> list[Cap]:
    """The caps of milestones, year by year, and of the sum over all years."""
    caps: list[Cap] = []
    for account in plan.binding:
        for each in plan.milestones:
            here = [columns for source, columns in zip(plan.sources, left[account],
                                                       strict=True) if source.scope in each.scopes]
            for year in range(each.year, (plan.last_year if each.keep else each.year) + 1):
                most = caps_t.get((each.name, year, account), plan.cap_t(each, account))
                over = made.add_columns(1, 0.0, 0.0)[0]
                place = year - plan.first_year
                row = made.add_row(np.array([*(columns[place] for columns in here), over]),
                                   np.array([1.0] * len(here) + [-1.0]), high=most / tonne)
                caps.append(Cap(each.name, year, account, each.scopes, most, row, int(over)))
        if plan.cumulative_t is not None:
            over = made.add_columns(1, 0.0, 0.0)[0]
            columns = np.concatenate([*left[account], [over]])
            most = caps_t.get(("cumulative", None, account), plan.cumulative_t)
            row = made.add_row(columns, np.array([1.0] * (len(columns) - 1) + [-1.0]), high=most / tonne)
            caps.append(Cap("cumulative", None, account, (1, 2, 3), most, row, int(over)))
    return caps


def purse(made: Programme, plan: Plan, spent: list[tuple[np.ndarray, np.ndarray]], unit: float, without: Without
          ) -> tuple[np.ndarray, np.ndarray]:
    """What may be spent by year."""
    number = len(plan.years)
    extra = made.add_columns(number, 0.0, 0.0)
    if plan.spending is None:
        return extra, np.empty(0, int)
    most = np.array([np.inf if without.spending else plan.spending.get(year, np.inf) for year in plan.years]) / unit
    return extra, made.add_rows([*spent, (extra, -1.0)], high=most)
