"""The lines of an inventory as they are written: activities, bought energy, chips, cloud, and products sold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archfab.core import UsageError, unknown
from archfab.silicon.carbon.bill import bill_terms, read_bill
from archfab.silicon.carbon.embodied import ABATEMENT, FAB_GRID, Making, embodied_terms
from archfab.silicon.carbon.grids import MOST, Grid, Table
from archfab.silicon.carbon.reading import Entry
from archfab.silicon.carbon.scope2 import Use
from archfab.silicon.carbon.uncertain import Term
from archfab.silicon.carbon.units import KINDS, UNITS, kg_of_gas, kg_per_unit
from archfab.silicon.carbon.use import DAYS, PUE_UNKNOWN, operational_carbon_g

CATEGORIES = {1: "purchased goods and services", 2: "capital goods", 3: "fuel and energy related",
              4: "upstream transport", 5: "waste", 6: "business travel", 7: "commuting", 8: "upstream leased assets",
              9: "downstream transport", 10: "processing of sold products", 11: "use of sold products",
              12: "end of life of sold products", 13: "downstream leased assets", 14: "franchises", 15: "investments"}
"""Scope 3, by the GHG Protocol's Corporate Value Chain Standard."""
NO_CREDITS = ("Offsets, avoided emissions and removals are no part of an inventory (archfab silicon plan has ledgers "
              "for them)")
CARRIERS = ("electricity", "heat", "steam", "cooling")
COMMON = ("name", "covers", "source")
LEGAL: Mapping[str, tuple[str, ...]] = {
    "activity": (*COMMON, "scope", "category", "amount", "unit", "factor", "factor_unit", "gas",
                 "amount_uncertainty_percent", "factor_uncertainty_percent"),
    "energy": (*COMMON, "carrier", "amount", "unit", "amount_uncertainty_percent", "place", "year", "g_kwh", "market",
               "residual_g_kwh", "factor_uncertainty_percent"),
    "instrument": ("name", "kind", "kwh", "g_kwh", "market", "year", "serial", "retired", "source"),
    "chips": (*COMMON, "category", "count", "bill", "area_mm2", "node", "yield", "abatement", "packages",
              "dies_per_wafer"),
    "cloud": (*COMMON, "kwh", "place", "year", "g_kwh", "pue", "amount_uncertainty_percent", "kg",
              "uncertainty_percent"),
    "sold": (*COMMON, "count", "energy_mj", "inferences_per_day", "years", "place", "year", "g_kwh", "pue",
             "amount_uncertainty_percent")}


@dataclass(frozen=True)
class Line:
    """One source of emissions: its scope ("1", "3" or "outside"), its category, and terms in kg CO2e."""

    name: str
    scope: str
    category: str
    terms: tuple[Term, ...]
    covers: tuple[str, ...]
    alike: Any                  # equal for lines that say the same of perhaps the same thing
    grid: Grid | None = None    # that its figure is of


def activity_of(entry: Entry, _: Table, __: Path) -> Line:
    scope = entry.data.get("scope")
    if isinstance(scope, bool | float) or scope not in (1, 3, "outside"):
        instead = ": bought energy is written as [[energy]]" if scope == 2 else ""
        raise UsageError(f"{entry.where}: scope is {scope!r}; legal: 1, 3 or \"outside\" (biogenic CO2){instead}")
    if scope != 3 and "category" in entry:
        raise UsageError(f"{entry.where}: categories are of scope 3 alone")
    category = CATEGORIES[entry.whole("category", 1, 15)] if scope == 3 else \
        "direct emissions" if scope == 1 else "biogenic CO2"
    name, unit, amount = entry.text("name"), entry.text("unit"), entry.number("amount", why=NO_CREDITS)
    if ("gas" in entry) == ("factor" in entry):
        raise UsageError(f"{entry.where} has {'both' if 'gas' in entry else 'neither'} a gas "
                         f"{'and' if 'gas' in entry else 'nor'} a factor; give one: gas = \"NF3\", or factor = 0.2 and "
                         "factor_unit = \"kg/kWh\"")
    if "gas" in entry:
        factor, said = kg_of_gas(entry.where, entry.text("gas"), unit), f"GWP of {entry.text('gas')}"
        if "factor_uncertainty_percent" in entry:
            raise UsageError(f"{entry.where}: the potential of a gas is taken as exact; what is uncertain is its "
                             "amount (amount_uncertainty_percent)")
    else:
        given = entry.number("factor", why=NO_CREDITS)
        factor = kg_per_unit(entry.where, given, entry.text("factor_unit"), unit)
        said = f"factor {given:g} {entry.text('factor_unit')} ({entry.text('source', 'no source')})"
    spreads = {f"amount of {name}": percent(entry, "amount_uncertainty_percent"),
               said: percent(entry, "factor_uncertainty_percent")}
    return Line(name, str(scope), category, (Term(amount * factor, spreads),), entry.texts("covers"),
                (str(scope), category, amount, unit, said))


def use_of(entry: Entry, table: Table, year: int) -> Use:
    """Bought electricity, heat, steam or cold; of the others than electricity, g_kwh is to be given, and their market
    is their own."""
    name, unit = entry.text("name"), entry.text("unit", "kWh")
    if KINDS.get(unit) != "energy":
        raise UsageError(f"{entry.where}: bought energy is counted in {', '.join(UNITS['energy'])}, not in {unit}")
    carrier = entry.text("carrier", CARRIERS[0])
    if carrier not in CARRIERS:
        raise unknown("carrier", carrier, CARRIERS)
    if carrier != CARRIERS[0] and "g_kwh" not in entry:
        raise UsageError(f"{entry.where}: tables of grids are of electricity; give g_kwh of the {carrier}")
    grid = grid_for(entry, table)
    place = grid.place or entry.text("place", "")
    market = entry.text("market", place.partition("/")[0] or None)
    market += "" if carrier == CARRIERS[0] else f" {carrier}"
    residual_g = entry.number("residual_g_kwh", high=MOST) if "residual_g_kwh" in entry else grid.residual_g_kwh
    residual = None if residual_g is None else Grid.about(
        residual_g, f"{market}, residual mix", entry.text("source", "given by the user"), f"{market} residual", year)
    return Use(name, entry.number("amount", why=NO_CREDITS) * UNITS["energy"][unit],
               percent(entry, "amount_uncertainty_percent"), grid, market, residual, entry.texts("covers"))


def chips_of(entry: Entry, _: Table, folder: Path) -> Line:
    """Chips or machines bought: their manufacture, by our yield."""
    category = entry.whole("category", 1, 2)
    count, name = entry.number("count", why=NO_CREDITS), entry.text("name")
    if "bill" in entry:
        alone = ("area_mm2", "node", "yield", "abatement", "packages", "dies_per_wafer")
        if extra := [key for key in alone if key in entry]:
            raise UsageError(f"{entry.where}: {extra[0]} stands in the bill already")
        bill = read_bill(folder / entry.text("bill"))
        terms, what = [term for part in bill_terms(bill).values() for term in part], bill.name
    else:
        if absent := [key for key in ("area_mm2", "node", "yield") if key not in entry]:
            raise UsageError(f"{entry.where} has no {absent[0]}; chips need area_mm2, node and yield, or a bill of "
                             "materials")
        dies = entry.number("dies_per_wafer", above=True) if "dies_per_wafer" in entry else None
        making = Making(FAB_GRID, entry.number("abatement", ABATEMENT), entry.number("packages", 1.0),
                        dies_per_wafer=dies)
        terms = embodied_terms(entry.number("area_mm2", above=True), entry.data["node"],
                               entry.number("yield", above=True, high=1.0), making, name)
        what = repr(sorted((key, entry.data[key]) for key in ("area_mm2", "node", "yield")))
    return Line(name, "3", CATEGORIES[category], tuple(Term(term.value * count / 1000, term.spreads) for term in terms),
                entry.texts("covers"), ("chips", category, count, what))


def cloud_of(entry: Entry, table: Table, _: Path) -> Line:
    """Computing bought as a service: the provider's own figure, or its energy."""
    name = entry.text("name")
    if ("kg" in entry) == ("kwh" in entry):
        raise UsageError(f"{entry.where}: give kg (the provider's figure, with its source) or kwh with a place, and "
                         "not both")
    if "kg" in entry:
        kg = entry.number("kg", why=NO_CREDITS)
        terms = (Term(kg, {f"figure of {entry.text('source')}": percent(entry, "uncertainty_percent")}),)
        return Line(name, "3", CATEGORIES[1], terms, entry.texts("covers"), ("cloud", kg))
    grid, kwh = grid_for(entry, table), entry.number("kwh", why=NO_CREDITS)
    pue = entry.number("pue", PUE_UNKNOWN, low=1.0)
    terms = (Term(kwh * pue * grid.g_kwh / 1000, {grid.factor: grid.spread,
                                                  f"kWh of {name}": percent(entry, "amount_uncertainty_percent")}),)
    return Line(name, "3", CATEGORIES[1], terms, entry.texts("covers"), ("cloud", kwh, grid.factor), grid)


def sold_of(entry: Entry, table: Table, _: Path) -> Line:
    """Products sold in the year: what using them emits over their lives."""
    grid, name = grid_for(entry, table), entry.text("name")
    count, daily = entry.number("count", why=NO_CREDITS), entry.number("inferences_per_day")
    kg = count / 1000 * float(operational_carbon_g(
        energy_mj=entry.number("energy_mj"), inferences=daily * DAYS * entry.number("years", above=True),
        grid_g_kwh=grid.g_kwh, pue=entry.number("pue", 1.0, low=1.0)))
    terms = (Term(kg, {grid.factor: grid.spread, f"use of {name}": percent(entry, "amount_uncertainty_percent")}),)
    return Line(name, "3", CATEGORIES[11], terms, entry.texts("covers"), ("sold", count, daily, grid.factor), grid)


READERS: Mapping[str, Callable[[Entry, Table, Path], Line]] = {
    "activity": activity_of, "chips": chips_of, "cloud": cloud_of, "sold": sold_of}


def grid_for(entry: Entry, table: Table) -> Grid:
    """The grid that an entry names, or the figure that it gives."""
    if "g_kwh" in entry:
        value, spread = entry.number("g_kwh", high=MOST), percent(entry, "factor_uncertainty_percent")
        name = f"{value:g} g/kWh" + (f" +- {100 * spread:g} %" if spread else "")
        return Grid("", name, None, value, value * (1 - spread), value * (1 + spread),
                    entry.text("source", "given by the user"))
    if "place" not in entry:
        raise UsageError(f"{entry.where} has neither a place (an ISO code such as FRA) nor g_kwh")
    return table.find(entry.text("place"), entry.whole("year", 1990, 2100) if "year" in entry else None)


def percent(entry: Entry, key: str) -> float:
    """Half of a 95 % interval in percent, as the IPCC Guidelines write uncertainty; as a share."""
    return entry.number(key, 0.0, high=1000.0) / 100
