"""A plan's answer as plain data: the ledger year by year, measures, milestones, the verdict, and how far it can be
trusted."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from archfab.silicon.netzero.claim import claim
from archfab.silicon.netzero.curve import cost_curve
from archfab.silicon.netzero.pathway import Pathway, standalone_cost
from archfab.silicon.netzero.plan import ACCOUNTS, Plan
from archfab.silicon.netzero.shortfall import Shortfall


def document(pathway: Pathway, year: int, account: str, missed: Shortfall | None = None,
             trusted: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All that is told of a pathway. Tonnes and money are yearly; `cost` is discounted to the plan's first year."""
    plan = pathway.plan
    total = {key: pathway.discounted(sum(by.values(), np.zeros(len(plan.years))))
             for key, by in (("capital", pathway.capital), ("running", pathway.running))}
    return {
        **plan.plain(), "feasible": missed is None, "cost": pathway.cost, "gap": pathway.gap,
        "cost_of": {**total, "removals": pathway.discounted(pathway.removal_cost),
                    "carbon_price": pathway.discounted(pathway.carbon_cost), "value_at_the_end": -pathway.end_value},
        "claim": claim(pathway), "milestones": pathway.caps, "ledger": ledger(pathway), "measures": measures(pathway),
        "curve": {"year": year, "account": account, "bars": [asdict(bar)
                                                             for bar in cost_curve(pathway, year, account)]},
        "spending_price": dict(zip(map(str, plan.years), pathway.spending_price.tolist(), strict=True))
        if plan.spending is not None else None,
        "offsets": [{"name": each.name, "t": each.t, "from": each.first, "to": each.last,
                     "cost": each.t * each.cost_per_t, "counts_as": 0} for each in plan.offsets],
        "shortfall": None if missed is None else short(missed), "uncertainty": trusted}


def short(missed: Shortfall) -> dict[str, Any]:
    """A shortfall without its pathway, which the document holds already."""
    return {"missed_t": missed.missed_t, "missed": missed.missed,
            "removals_short_t": year_keys(missed.removals_short_t),
            "reachable": missed.reachable, "missed_t_without": dict(missed.without), "binds": missed.binds,
            "extra_spending": None if missed.extra_spending is None else year_keys(missed.extra_spending)}


def year_keys(by_year: Mapping[int, float]) -> dict[str, float]:
    return {str(year): value for year, value in by_year.items()}


def ledger(pathway: Pathway) -> list[dict[str, Any]]:
    """One row for each year: emissions by account and scope, what is abated, removed, offset (counted as nothing) and
    paid."""
    plan = pathway.plan
    zero = np.zeros(len(plan.years))
    columns: dict[str, np.ndarray] = {}
    for account in ACCOUNTS:
        columns[f"do_nothing_{account}_t"] = pathway.baseline[account].sum(axis=0)
        columns[f"abated_{account}_t"] = sum(pathway.abated[account].values(), zero)
        columns[f"emitted_{account}_t"] = pathway.total(account)
        columns[f"by_chance_{account}_t"] = pathway.by_chance[account].sum(axis=0)
    for scope in (1, 2, 3):
        for account in ACCOUNTS if scope == 2 else ("market",):
            columns[f"scope_{scope}_{account}_t" if scope == 2 else f"scope_{scope}_t"] = pathway.total(account,
                                                                                                        (scope,))
    columns["durable_removals_t"] = sum(pathway.removed.values(), zero)
    for account in ACCOUNTS:
        columns[f"net_{account}_t"] = columns[f"emitted_{account}_t"] - columns["durable_removals_t"]
    columns["offsets_not_counted_t"] = offset(plan, "t")
    columns["capital"] = sum(pathway.capital.values(), zero)
    columns["running"] = sum(pathway.running.values(), zero)
    columns["removals_cost"] = pathway.removal_cost
    columns["carbon_price_cost"] = pathway.carbon_cost
    columns["spent"] = pathway.spent
    columns["offsets_cost_not_counted"] = offset(plan, "cost")
    return [{"year": year, **{name: float(values[i]) for name, values in columns.items()}}
            for i, year in enumerate(plan.years)]


def offset(plan: Plan, what: str) -> np.ndarray:
    """Tonnes or cost of offsets by year."""
    return np.array([sum(each.t * (each.cost_per_t if what == "cost" else 1.0) for each in plan.offsets
                         if each.first <= year <= each.last) for year in plan.years])


def measures(pathway: Pathway) -> list[dict[str, Any]]:
    """What becomes of each measure."""
    plan, found = pathway.plan, []
    for each in plan.measures:
        share = pathway.deployed[each.name]
        begun = np.flatnonzero(share > 1e-6)
        found.append({
            "name": each.name, "kind": "certificates" if each.certificates else "abatement",
            "first_year": plan.years[begun[0]] if len(begun) else None, "deployed_at_the_end": float(share[-1]),
            "cost_per_t_alone": standalone_cost(plan, each.name) if plan.full_t(each) else None,
            "abated_t_at_the_end": {account: float(pathway.abated[account][each.name][-1]) for account in ACCOUNTS},
            "capital": float(pathway.capital[each.name].sum()), "running": float(pathway.running[each.name].sum()),
            "deployed": share.tolist()})
    return found


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV; numbers keep ten digits."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(rows[0] if rows else [])
    writer.writerows([f"{value:.10g}" if isinstance(value, float) else value for value in row.values()] for row in rows)
    return lines.getvalue()


def deployments(pathway: Pathway) -> list[dict[str, Any]]:
    """One row for each measure and year, for a table."""
    plan = pathway.plan
    return [{"measure": each.name, "year": year, "deployed": float(pathway.deployed[each.name][i]),
             "abated_location_t": float(pathway.abated["location"][each.name][i]),
             "abated_market_t": float(pathway.abated["market"][each.name][i]),
             "capital": float(pathway.capital[each.name][i]), "running": float(pathway.running[each.name][i])}
            for each in plan.measures for i, year in enumerate(plan.years)]
