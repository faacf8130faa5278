"""What may be said of a pathway: net zero, or what is missing from it in plain words."""

from __future__ import annotations

from typing import Any

from archfab.silicon.netzero.pathway import Pathway
from archfab.silicon.netzero.plan import ACCOUNTS, Plan

NEAR = 1e-6


def claim(pathway: Pathway) -> dict[str, Any]:
    """Whether net zero may be said, for each account of scope 2 and in all. It may where at least 90 % (or the plan's
    higher share) of the base year's emissions are gone in the year of net zero and stay gone, and durable removals
    match what is left in each year from then on. Offsets and removals that do not last count as nothing."""
    plan = pathway.plan
    year = plan.net_zero_year or plan.last_year
    accounts = {account: judged(pathway, account, year) for account in ACCOUNTS}
    good = plan.net_zero_year is not None and all(each["net_zero"] for each in accounts.values())
    return {"net_zero": good, "year": year, "needs_cut": plan.least_cut,
            "scopes": sorted({each.scope for each in plan.sources}), "accounts": accounts,
            "says": sentences(plan, accounts, year, good)}


def judged(pathway: Pathway, account: str, year: int) -> dict[str, Any]:
    """The cut, the residual and its neutralisation by one account, in the worst year from `year` on."""
    plan = pathway.plan
    base, begin = plan.base_t(account), year - plan.first_year
    left = pathway.total(account)[begin:]
    removed = sum((amount[begin:] for amount in pathway.removed.values()), 0.0 * left)
    worst = int(left.argmax())
    cut = 1.0 - left[worst] / base if base else 1.0
    lacking = float((left - removed).max())
    cut_lacks = max(0.0, float(left[worst]) - (1.0 - plan.least_cut) * base)
    return {"base_t": base, "residual_t": float(left[worst]), "cut": float(cut),
            "durable_removals_t": float(removed[worst]),
            "cut_lacks_t": cut_lacks if cut_lacks > NEAR * base else 0.0,
            "removals_lack_t": lacking if lacking > NEAR * base else 0.0,
            "net_zero": plan.net_zero_year is not None and cut_lacks <= NEAR * base and lacking <= NEAR * base}


def without(plan: Plan) -> str:
    """The scopes that the plan knows nothing of; a company is not at net zero by the others alone."""
    there = {each.scope for each in plan.sources}
    names = [str(scope) for scope in (1, 2, 3) if scope not in there]
    return f", of what is in the plan only (it has no source of scope {' and '.join(names)})" if names else ""


def sentences(plan: Plan, accounts: dict[str, dict[str, Any]], year: int, good: bool) -> list[str]:
    """The verdict, and what stands between the pathway and net zero."""
    said = []
    if good:
        least = min(each["cut"] for each in accounts.values())
        said.append(f"net zero in {year}{without(plan)}: {least:.1%} of the base year's emissions are cut and durable "
                    "removals neutralise the residual, by the location-based and the market-based figure of scope 2, "
                    "if the baseline comes out as given")
    elif plan.net_zero_year is None:
        said.append(f"the plan names no year of net zero, so it is not judged as one; by {year} it cuts "
                    + " and ".join(f"{each['cut']:.1%} ({account}-based)" for account, each in accounts.items()))
    else:
        said.append(f"this is not net zero in {year}:")
        for account, each in accounts.items():
            if each["net_zero"]:
                said.append(f"{account}-based: {each['cut']:.1%} cut and the residual of {each['residual_t']:,.0f} t "
                            "neutralised; this figure alone would do, but both are asked for")
            if each["cut_lacks_t"]:
                said.append(f"{account}-based: {each['cut']:.1%} of the base year's emissions are cut and "
                            f"{plan.least_cut:.0%} are needed: {each['cut_lacks_t']:,.0f} t per year are missing")
            if each["removals_lack_t"]:
                said.append(f"{account}-based: durable removals of {each['durable_removals_t']:,.0f} t do not "
                            f"neutralise the residual of {each['residual_t']:,.0f} t: {each['removals_lack_t']:,.0f} "
                            "t per year are missing")
    if passing := [each for each in plan.removals if each.permanence_years < plan.permanence_years]:
        said.append(f"{', '.join(each.name for each in passing)}: kept for less than {plan.permanence_years:g} years, "
                    "so it neutralises nothing and none is bought")
    if plan.offsets:
        total = sum(each.t * (each.last - each.first + 1) for each in plan.offsets)
        said.append(f"offsets of {total:,.0f} t in all are told and count as nothing: neither as abatement nor as "
                    "removals")
    return said
