"""A plan file (TOML) as a checked plan."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archfab.core import UsageError, unknown
from archfab.silicon.netzero.baseline import with_inventory
from archfab.silicon.netzero.fields import Table, checked, unique
from archfab.silicon.netzero.interactions import check_interactions
from archfab.silicon.netzero.plan import (
    LEAST_CUT,
    LEAST_PERMANENCE_YEARS,
    CarbonPrice,
    Measure,
    Milestone,
    Offset,
    Plan,
    Removal,
    Source,
)

OFFSETS = ("offset", "offsets", "credit", "credits", "carbon credit", "compensation", "avoidance")
REMOVALS = ("removal", "removals", "dac", "sequestration")


def read_plan(path: str | Path) -> Plan:
    """The plan in a TOML file.

    :raises UsageError: says what is wrong in the file, what is legal and what to do.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}; `archfab silicon plan --template {path}` writes one to start from"
                         ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read as a plan: {error}") from None
    return plan_of(data, path.stem, path.parent)


def plan_of(data: Mapping[str, Any], name: str = "plan", folder: Path = Path()) -> Plan:
    """The plan in plain data, as a TOML file in a folder holds it.

    :raises UsageError: says what is wrong, what is legal and what to do.
    """
    table = Table("the plan", with_inventory(data, folder))
    base = table.year("base_year")
    first = table.year("first_year", base + 1, base, 2200, ": it is not before the base year")
    last = table.year("last_year", None, first, first + 100, ": it is not before the plan's first year, nor a "
                                                             "century after")
    sources = tuple(source(each) for each in rows(table, "sources"))
    if not sources:
        raise UsageError("the plan has no [[sources]]; a base year's inventory is where a plan begins: list them, or "
                         'write inventory = "FILE.json", what `archfab silicon inventory` printed with --json')
    if not any(each.t or each.market_t for each in sources):
        raise UsageError("all [[sources]] emit 0 t; there is nothing to cut")
    measures = tuple(measure(each, sources, first, last) for each in rows(table, "measures"))
    removals = tuple(removal(each, first, last) for each in rows(table, "removals"))
    offsets = tuple(offset(each, first, last) for each in rows(table, "offsets"))
    for kind, named in (("sources", sources), ("measures", measures), ("removals", removals), ("offsets", offsets)):
        unique(kind, [each.name for each in named])
    check_interactions(measures)
    milestones = [milestone(each, base, first, last) for each in rows(table, "milestones")]
    for each in rows(table, "linear"):
        milestones += linear(each, base, first, last)
    net_zero = Table("[net_zero]", table.data["net_zero"]) if table.has("net_zero") else None
    net_zero_year, least_cut, permanence = None, LEAST_CUT, LEAST_PERMANENCE_YEARS
    if net_zero is not None:
        net_zero_year = net_zero.year("year", None, max(first, base + 1), last, ", the years of the plan after its "
                                                                                "base year")
        least_cut = net_zero.share("cut", LEAST_CUT)
        permanence = net_zero.number("permanence_years", LEAST_PERMANENCE_YEARS, 0)
        net_zero.done()
        milestones.append(Milestone("net zero", net_zero_year, cut=least_cut))
    unique("milestones", [each.name for each in milestones])
    for aim in milestones:
        if not any(each.scope in aim.scopes for each in sources):
            raise UsageError(f"milestone '{aim.name}' is about scopes {', '.join(map(str, aim.scopes))}, of which "
                             "there is no source")
    cumulative = table.number("cumulative_t", None, 0) if table.has("cumulative_t") else None
    if not milestones and cumulative is None:
        raise UsageError("the plan aims at nothing; write [[milestones]], [[linear]], [net_zero] or cumulative_t")
    spending, counts = money(table, first, last)
    made = Plan(
        table.text("name", name), base, first, last, sources, measures, tuple(milestones), removals, offsets,
        net_zero_year, least_cut, permanence, spending, counts, cumulative, price(table),
        table.share("discount_rate", 0.0, 0.0, 0.5), table.flag("residual_value", True),
        table.text("scope2", "both", ("both", "location", "market")), table.share("correlation", 0.0),
        table.text("currency", "USD"))
    table.done()
    return made


def rows(table: Table, key: str) -> list[Any]:
    value = table.data[key] if table.has(key) else []
    if not isinstance(value, list):
        raise UsageError(f"{table.what}: '{key}' is a list of tables; write each as [[{key}]]")
    return value


def titled(kind: str, data: Any) -> Table:
    """One of a list of tables, called by its name in messages."""
    first = Table(f"one of [[{kind}]]", data)
    first.text("name")
    table = Table(f"[[{kind}]] '{data['name']}'", data)
    table.has("name")
    return table


def source(data: Any) -> Source:
    table = titled("sources", data)
    scope = table.whole("scope", None, 1, 3)
    t = table.number("t", None, 0, meaning="tonnes of CO2e in the base year")
    if scope != 2 and "market_t" in data:
        raise UsageError(f"{table.what} is of scope {scope}; only scope 2 has a market-based figure ('market_t')")
    growth = table.share("growth", 0.0, -0.5, 0.5)
    made = Source(data["name"], scope, t, table.number("market_t", t, 0, meaning="tonnes of CO2e in the base year"),
                  table.share("uncertainty", 0.0, 0.0, 0.99), growth, table.share("growth_low", growth, -0.5, 0.5),
                  table.share("growth_high", growth, -0.5, 0.5), table.share("intensity", 0.0, -0.5, 0.5))
    if not made.growth_low <= growth <= made.growth_high:
        raise UsageError(f"{table.what}: growth {growth:g} lies outside its interval from growth_low "
                         f"{made.growth_low:g} to growth_high {made.growth_high:g}")
    table.done()
    return made


def measure(data: Any, sources: tuple[Source, ...], first: int, last: int) -> Measure:
    table = titled("measures", data)
    kind = table.text("kind", "abatement")
    if kind.strip().lower() in OFFSETS:
        raise UsageError(f"{table.what} is an {kind}: what others do not emit lowers no emission of yours, so it is "
                         "no abatement measure and never counts as one; write it under [[offsets]], where it is told "
                         "and paid for")
    if kind.strip().lower() in REMOVALS:
        raise UsageError(f"{table.what} is a {kind}: removals neutralise what is left after abatement and never stand "
                         "in for it; write it under [[removals]] with its permanence_years, cost_per_t and limit_t")
    if kind not in ("abatement", "certificates"):
        raise UsageError(f"{table.what}: 'kind' is '{kind}'; legal: abatement, certificates")
    acts_on = reach(table, sources)
    certificates = kind == "certificates"
    if certificates and (other := [name for name in acts_on if scope_of(sources, name) != 2]):
        raise UsageError(f"{table.what} is of certificates, which lower the market-based figure of scope 2 alone; "
                         f"'{other[0]}' is of scope {scope_of(sources, other[0])}")
    potential = None
    if table.has("potential_t"):
        potential = table.number("potential_t", None, 0, meaning="tonnes per year")
        if any(value != 1 for value in acts_on.values()):
            raise UsageError(f"{table.what} has shares and 'potential_t'; write one of them: acts_on = "
                             f"{list(acts_on)!r} with potential_t, or acts_on with shares")
    alone = sum((each.market_t if each.scope == 2 else each.t) * acts_on.get(each.name, 0.0) for each in sources)
    alone = alone if potential is None else min(alone, potential)
    made = Measure(
        data["name"], acts_on, cost(table, "capital", alone), cost(table, "running", alone), potential, certificates,
        table.year("start", first, 1990, last, ", the years of the plan"), table.whole("lead", 0, 0, 50),
        table.share("ramp", 1.0), table.whole("lifetime", 20, 1, 200), table.flag("whole", False),
        table.names("excludes"), table.names("apart_from"), table.names("requires"),
        table.share("cost_change", 0.0, -0.5, 0.5))
    if made.ramp == 0:
        raise UsageError(f"{table.what}: 'ramp' is 0, so it could never be deployed; leave the measure out instead")
    if made.whole and made.ramp < 1:
        raise UsageError(f"{table.what} is whole (all or nothing) and has a ramp of {made.ramp:g}; choose one of them")
    table.done()
    return made


def scope_of(sources: tuple[Source, ...], name: str) -> int:
    return next(each.scope for each in sources if each.name == name)


def reach(table: Table, sources: tuple[Source, ...]) -> dict[str, float]:
    """What a measure acts on, as a share by source."""
    value = table.need("acts_on", 'shares by source, such as {"office power" = 0.4}, or a list of sources')
    known = [each.name for each in sources]
    if isinstance(value, str | list):
        names = table.names("acts_on")
        if "potential_t" in table.data:
            part = 1.0
        else:
            part = table.share("share")
        found = dict.fromkeys(names, part)
    else:
        shares = Table(f"{table.what}: 'acts_on'", value)
        found = {name: shares.share(name) for name in shares.data}
    if not found:
        raise UsageError(f"{table.what} acts on no source; known: {', '.join(known)}")
    for name, part in found.items():
        if name not in known:
            raise unknown("source", name, known, f"({table.what} acts on it)")
        if part == 0:
            raise UsageError(f"{table.what} takes a share of 0 of '{name}'; leave it out of 'acts_on'")
    return found


def cost(table: Table, key: str, full_t: float) -> float:
    """A cost of full deployment, or one per tonne and year of it; savings are negative."""
    per_t = f"{key}_per_t"
    if table.has(key) and table.has(per_t):
        raise UsageError(f"{table.what} has '{key}' and '{per_t}'; write one of them")
    if table.has(per_t):
        return table.number(per_t, meaning="a cost per tonne") * full_t
    return table.number(key, 0.0)


def milestone(data: Any, base: int, first: int, last: int) -> Milestone:
    table = titled("milestones", data)
    year = table.whole("year", None, -10**9)
    if year <= base:
        raise UsageError(f"{table.what} is in {year}, not after the base year {base}, from which it counts")
    year = table.year("year", None, first, last, ", the years of the plan")
    if table.has("cut") == table.has("t"):
        raise UsageError(f"{table.what} needs either 'cut' (a share of the base year's emissions) or 't' (tonnes per "
                         "year)")
    made = Milestone(data["name"], year, table.share("cut") if "cut" in data else None,
                     table.number("t", None, 0) if "t" in data else None, table.scopes(), table.flag("keep", True))
    table.done()
    return made


def linear(data: Any, base: int, first: int, last: int) -> list[Milestone]:
    """A cap for every year of a straight line: so much of the base year's emissions less with each year."""
    table = titled("linear", data)
    per_year = table.share("cut_per_year")
    begin = table.year("from", first, first, last, ", the years of the plan")
    end = table.year("to", last, begin, last, ", the years from its beginning to the plan's last")
    since = table.year("counts_from", base, base, begin, ", the base year and the line's beginning")
    scopes = table.scopes()
    table.done()
    return [Milestone(f"{data['name']} {year}", year, cut=min(1.0, per_year * (year - since)), scopes=scopes,
                      keep=year == end) for year in range(begin, end + 1)]


def removal(data: Any, first: int, last: int) -> Removal:
    table = titled("removals", data)
    made = Removal(data["name"], table.number("permanence_years", None, 0, meaning="years that the carbon stays away"),
                   table.number("cost_per_t"), table.number("limit_t", None, 0, meaning="tonnes per year"),
                   table.year("start", first, 1990, last, ": not after the plan's last year"),
                   table.share("growth", 0.0, -0.5, 0.99), table.share("cost_change", 0.0, -0.5, 0.5))
    table.done()
    return made


def offset(data: Any, first: int, last: int) -> Offset:
    table = titled("offsets", data)
    begin = table.year("from", first, first, last, ", the years of the plan")
    made = Offset(data["name"], table.number("t", None, 0, meaning="tonnes per year"), table.number("cost_per_t", 0.0),
                  begin, table.year("to", last, begin, last, ", the years from its beginning to the plan's last"))
    table.done()
    return made


def money(table: Table, first: int, last: int) -> tuple[dict[int, float] | None, str]:
    """The most that may be spent, by year."""
    if not table.has("spending"):
        return None, "all"
    found = Table("[spending]", table.data["spending"])
    counts = found.text("counts", "all", ("all", "capital"))
    limits: dict[int, float] = {}
    if found.has("per_year"):
        limits = dict.fromkeys(range(first, last + 1), found.number("per_year", low=0))
    by_year = Table("[spending]: 'years'", found.data["years"]) if found.has("years") else None
    for key, value in (by_year.data if by_year else {}).items():
        if not key.isdigit() or not first <= int(key) <= last:
            raise UsageError(f"[spending]: {key!r} is no year of the plan ({first} to {last})")
        limits[int(key)] = checked(f"[spending]: {key}", value, 0, float("inf"))
    if not limits:
        raise UsageError("[spending] limits nothing; write per_year = 2e6, or years = {2026 = 1e6, 2027 = 2e6}")
    found.done()
    return limits, counts


def price(table: Table) -> CarbonPrice | None:
    if not table.has("carbon_price"):
        return None
    found = Table("[carbon_price]", table.data["carbon_price"])
    made = CarbonPrice(found.number("per_t", None, 0), found.share("growth", 0.0, -0.5, 0.5), found.scopes())
    found.done()
    return made
