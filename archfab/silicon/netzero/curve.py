"""The marginal abatement cost curve: what each measure takes in one year, and what a tonne of it costs."""

from __future__ import annotations

from dataclasses import dataclass

from archfab.silicon.netzero.model import capital_by_year
from archfab.silicon.netzero.pathway import Pathway, annuity, standalone_cost

LEAST = 1e-4        # of the base year's emissions: less is no bar


@dataclass(frozen=True)
class Bar:
    """One measure: tonnes in the year (its own, after what cheaper ones took), cost per tonne, and whether the
    pathway uses it. Of one that it does not use: tonnes and cost of full deployment alone."""

    name: str
    t: float
    cost_per_t: float
    used: bool
    certificates: bool


def cost_curve(pathway: Pathway, year: int, account: str) -> list[Bar]:
    """The bars of a year from the cheapest tonne to the dearest. Cost of one that is used: the annuity of what stands
    plus the running cost of the year, by the tonnes that it takes in the plan, so overlaps make it dearer than
    alone."""
    plan, place = pathway.plan, year - pathway.plan.first_year
    small = LEAST * plan.base_t(account)
    found = []
    for measure in plan.measures:
        if account == "location" and measure.certificates:
            continue
        t = float(pathway.abated[account][measure.name][place])
        if t > small:
            stands = slice(max(0, place + 1 - measure.lifetime), place + 1)
            _, price = capital_by_year(plan, measure)
            capital = float((pathway.built[measure.name] * price)[stands].sum())
            yearly = annuity(capital, plan.discount_rate, measure.lifetime) \
                + float(pathway.running[measure.name][place])
            found.append(Bar(measure.name, t, yearly / t, True, measure.certificates))
        elif (alone := plan.full_t(measure, account)) > small:
            found.append(Bar(measure.name, alone, standalone_cost(plan, measure.name), False, measure.certificates))
    return sorted(found, key=lambda bar: (not bar.used, bar.cost_per_t))
