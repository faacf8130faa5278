"""The inventory of an organisation: scopes 1 to 3, scope 2 both ways, with intervals, and nothing counted twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archfab.core import UsageError
from archfab.silicon.carbon.entries import LEGAL, READERS, Line, use_of
from archfab.silicon.carbon.grids import MOST, grid_table
from archfab.silicon.carbon.reading import Entry, read_toml
from archfab.silicon.carbon.scope2 import KINDS, Instrument, Use, location_terms, market_terms
from archfab.silicon.carbon.uncertain import Term, Total, total

BOTH = ("location", "market")


@dataclass(frozen=True)
class Inventory:
    """Every source of emissions of an organisation in a year."""

    organisation: str
    year: int
    lines: tuple[Line, ...]                 # scopes 1 and 3, and biogenic CO2 beside them
    uses: tuple[Use, ...] = ()              # scope 2
    instruments: tuple[Instrument, ...] = ()
    source: str = ""                        # of the grids

    def notes(self) -> list[str]:
        """What a reader has to be told."""
        exact = [name for name, (_, _, terms) in self.terms("location").items()
                 if any(term.value for term in terms) and not any(any(term.spreads.values()) for term in terms)]
        grids = [(each.name, each.grid) for each in self.uses] + [(each.name, each.grid) for each in self.lines
                                                                  if each.grid]
        return [*(f"{name}: the grid of {grid.name} as it was in {grid.year}" for name, grid in grids
                  if grid.year not in (None, self.year)),
                *market_terms(self.uses, self.instruments, self.year)[1],
                *([f"no uncertainty is given of {', '.join(exact)}: counted as exact, so the intervals are too narrow"]
                  if exact else [])]

    def terms(self, method: str) -> dict[str, tuple[str, str, list[Term]]]:
        """By name: scope, category and terms in kg CO2e; of scope 2 by one of the two methods."""
        bought = location_terms(self.uses) if method == "location" else \
            market_terms(self.uses, self.instruments, self.year)[0]
        return {**{line.name: (line.scope, line.category, list(line.terms)) for line in self.lines},
                **{name: ("2", f"bought energy, {method}-based", terms) for name, terms in bought.items()}}


@dataclass(frozen=True)
class Sums:
    """An inventory added up by one method of scope 2, in kg CO2e."""

    whole: Total
    scopes: Mapping[str, Total]
    categories: Mapping[tuple[str, str], Total]
    lines: Mapping[str, Total]
    placed: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def read_inventory(path: str | Path, grids: str | Path | None = None) -> Inventory:
    """An inventory from TOML: `organisation`, `year`, and tables [[activity]], [[energy]], [[instrument]], [[chips]],
    [[cloud]], [[sold]].

    :raises UsageError: names the table and what is wrong; where a thing seems to be counted twice, names both.
    """
    data = Entry(f"the inventory {path}", read_toml(path, "the inventory"),
                 ("organisation", "year", "energy", "instrument", *READERS))
    year, table = data.whole("year", 1990, 2100), grid_table(grids)
    lines: list[Line] = []
    covers: dict[str, str] = {}
    for kind, read in READERS.items():
        for number, each in enumerate(data.tables(kind), 1):
            entry = Entry(f"{kind} {number} of {path}", each, LEGAL[kind])
            named = Entry(f"{entry.where} ('{entry.text('name')}')", each, LEGAL[kind])
            lines.append(read(named, table, Path(path).parent))
            claim(covers, entry, f"{kind} '{lines[-1].name}'")
    uses = []
    for number, each in enumerate(data.tables("energy"), 1):
        entry = Entry(f"energy {number} of {path}", each, LEGAL["energy"])
        uses.append(use_of(entry, table, year))
        claim(covers, entry, f"energy '{uses[-1].name}'")
    instruments = tuple(instrument_of(Entry(f"instrument {number} of {path}", each, LEGAL["instrument"]), year)
                        for number, each in enumerate(data.tables("instrument"), 1))
    found = Inventory(data.text("organisation"), year, tuple(lines), tuple(uses), instruments, table.source)
    check_names(found)
    market_terms(found.uses, found.instruments, year)
    if not lines and not uses:
        raise UsageError(f"{path} has nothing in it; write [[activity]], [[energy]], [[chips]], [[cloud]] or [[sold]] "
                         "tables")
    return found


def instrument_of(entry: Entry, year: int) -> Instrument:
    kind = entry.text("kind")
    if kind not in KINDS:
        raise UsageError(f"{entry.where}: kind is '{kind}'; legal: {', '.join(KINDS)}. Offsets and credits are no "
                         "instruments of scope 2: they change no kWh's emissions (archfab silicon plan has a ledger "
                         "for them)")
    if kind == "certificate" and entry.data.get("retired") is not True:
        raise UsageError(f"{entry.where}: a certificate counts once it is retired for you, for until then it can be "
                         "sold on; say retired = true")
    return Instrument(entry.text("name"), kind, entry.number("kwh", above=True), entry.number("g_kwh", high=MOST),
                      entry.text("market"), entry.whole("year", 1990, 2100) if "year" in entry else year,
                      entry.text("serial", ""))


def claim(covers: dict[str, str], entry: Entry, called: str) -> None:
    """Each thing that emits (a meter, a machine, a contract) is covered by one line."""
    for thing in entry.texts("covers"):
        if thing in covers:
            raise UsageError(f"double counting: '{thing}' is covered by {covers[thing]} and by {called}; a thing that "
                             "emits is counted in one place")
        covers[thing] = called


def check_names(found: Inventory) -> None:
    names: set[str] = set()
    alike: dict[Any, str] = {}
    every: list[Line | Use | Instrument] = [*found.lines, *found.uses, *found.instruments]
    for line in every:
        if line.name in names:
            raise UsageError(f"two entries are named '{line.name}'; give each its own name, and count it once")
        names.add(line.name)
        if isinstance(line, Instrument) or line.covers:
            continue
        if alike.setdefault(line.alike, line.name) != line.name:
            raise UsageError(f"double counting? '{line.name}' and '{alike[line.alike]}' say the same: scope, amount "
                             "and factor. If they are two things, say so with covers = [\"what it is\"] in one of "
                             "them")


def add_up(found: Inventory, method: str = "market") -> Sums:
    """The totals of an inventory by one method of scope 2; biogenic CO2 is beside the scopes and in no total.

    :raises UsageError: of another method.
    """
    if method not in BOTH:
        raise UsageError(f"scope 2 is {' or '.join(BOTH)}-based, not '{method}'")
    by_name = found.terms(method)
    sums: dict[tuple[str, ...], list[Term]] = {(): []}      # everything, scopes, categories
    for scope, category, terms in by_name.values():
        for key in ((scope,), (scope, category), *([()] if scope != "outside" else [])):
            sums.setdefault(key, []).extend(terms)
    totals = {key: total(terms) for key, terms in sorted(sums.items())}
    return Sums(totals[()], {key[0]: each for key, each in totals.items() if len(key) == 1},
                {(key[0], key[1]): each for key, each in totals.items() if len(key) == 2},
                {name: total(terms) for name, (_, _, terms) in by_name.items()},
                {name: (scope, category) for name, (scope, category, _) in by_name.items()})
