"""A bill of materials: what a machine of several chips, memories and drives emitted to be made."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from archfab.core import UsageError, unknown
from archfab.silicon.carbon.embodied import ABATEMENT, FAB_GRID, PACKAGE_G, SPREADS, Making, embodied_terms
from archfab.silicon.carbon.grids import grid_of
from archfab.silicon.carbon.reading import Entry, read_toml
from archfab.silicon.carbon.uncertain import Term

KINDS = ("die", "dram", "flash", "disk", "given")
MEMORY_SPREAD = 0.5
"""Half of the 95 % interval of a gram per gigabyte, as a share: an assumption. ACT's bill of the Dell R740 and the
maker's own assessment of its drives (3,373 kg) are a factor of three apart, so it is no small one."""
LEGAL = ("name", "kind", "count", "area_mm2", "node", "yield", "fab_grid", "abatement", "packages", "package_g",
         "dies_per_wafer", "type", "capacity_gb", "grams", "uncertainty_percent", "source")
NEEDS = {"die": ("area_mm2", "node", "yield"), "dram": ("type", "capacity_gb", "yield"),
         "flash": ("type", "capacity_gb", "yield"), "disk": ("type", "capacity_gb"), "given": ("grams", "source")}
MAY = {"die": ("fab_grid", "abatement", "packages", "package_g", "dies_per_wafer"), "dram": ("packages", "package_g"),
       "flash": ("packages", "package_g"), "disk": (), "given": ("uncertainty_percent",)}


@dataclass(frozen=True)
class Part:
    """So many equal parts, and the terms that add up to what one of them emitted, in grams."""

    name: str
    count: float
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Bill:
    """What a machine is made of."""

    name: str
    parts: tuple[Part, ...]


@cache
def memory_table() -> Mapping[str, Mapping[str, Any]]:
    """Grams per gigabyte by kind and type, with the source."""
    return tomllib.loads(files("archfab.silicon.carbon").joinpath("parts.toml").read_text(encoding="utf-8"))


def read_bill(path: str | Path) -> Bill:
    """A bill from TOML: `name`, and [[part]] tables of the kinds die, dram, flash, disk and given.

    :raises UsageError: names the part and what is wrong with it.
    """
    whole = Entry(f"the bill {path}", read_toml(path, "the bill of materials"), ("name", "source", "part"))
    called = whole.text("name", Path(path).stem)
    parts = [part_of(f"part {number} of {path}", each, called) for number, each in enumerate(whole.tables("part"), 1)]
    if not parts:
        raise UsageError(f"{path} has no part; write one [[part]] for each: kind = {', '.join(KINDS)}")
    names = [part.name for part in parts]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{path} has two parts named '{twice}'; give each its own name, or one a count")
    return Bill(called, tuple(parts))


def part_of(where: str, data: Any, bill: str) -> Part:
    entry = Entry(where, data, LEGAL)
    kind = entry.text("kind")
    if kind not in KINDS:
        raise unknown("kind of part", kind, KINDS)
    name = entry.text("name", kind)
    entry = Entry(f"{where} ('{name}', a {kind})", data, ("name", "kind", "count", "source", *NEEDS[kind], *MAY[kind]))
    if absent := [key for key in NEEDS[kind] if key not in entry]:
        raise UsageError(f"{entry.where} has no {absent[0]}; a {kind} needs {', '.join(NEEDS[kind])}")
    return Part(name, entry.number("count", 1.0, above=True), tuple(terms_of(kind, f"{name} ({bill})", entry)))


def terms_of(kind: str, name: str, entry: Entry) -> list[Term]:
    """What one of a part emitted."""
    if kind == "given":
        return [Term(entry.number("grams"), {f"figure of {name}": entry.number("uncertainty_percent", 0.0) / 100})]
    if kind == "die":
        grid = FAB_GRID if "fab_grid" not in entry else grid_of(entry.data["fab_grid"])
        making = Making(grid, entry.number("abatement", ABATEMENT), entry.number("packages", 1.0),
                        entry.number("package_g", PACKAGE_G),
                        entry.number("dies_per_wafer", above=True) if "dies_per_wafer" in entry else None)
        return embodied_terms(entry.number("area_mm2", above=True), entry.data["node"],
                              entry.number("yield", above=True, high=1.0), making, name)
    table = memory_table()[kind]
    types = [key for key in table if key not in ("source", "by_yield")]
    if entry.text("type") not in types:
        raise unknown(f"type of {kind}", entry.text("type"), types)
    good = entry.number("yield", above=True, high=1.0) if table["by_yield"] else 1.0
    packaging = entry.number("packages", 0.0) * entry.number("package_g", PACKAGE_G)
    return [Term(entry.number("capacity_gb") * float(table[entry.text("type")]) / good,
                 {f"{kind} {entry.text('type')} per GB": MEMORY_SPREAD}),
            Term(packaging, {"packaging": SPREADS["packaging"]})]


def bill_terms(bill: Bill) -> dict[str, list[Term]]:
    """The terms of each part, all of its number together."""
    return {part.name: [Term(term.value * part.count, term.spreads) for term in part.terms] for part in bill.parts}
