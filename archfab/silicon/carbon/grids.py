"""What a kWh of a grid emits: tables of countries, regions and years, from the user's CSV, CodeCarbon's files or our
own few."""

from __future__ import annotations

import csv
import io
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from archfab.core import UsageError, unknown
from archfab.silicon.carbon.codecarbon import installed, read_grids

SPREAD = 0.2
"""Half of the 95 % interval of a grid's figure of which nobody says more, as a share of it. ACT's figures of seven
countries are within 20 % of Our World in Data's, and half of Google's of its regions within 25 %
(benchmarks/silicon_carbon.py)."""
OWN = "archfab's own table"
MOST = 2500.0               # g/kWh: more than any fuel emits
COLUMNS = {                 # what a column is called, by us and by those who publish such tables
    "place": ("place", "iso_code", "code", "country_code", "zone_key", "zone id"),
    "name": ("name", "zone name", "country_name", "entity", "country"), "region": ("region",), "year": ("year",),
    "g_kwh": ("g_kwh", "carbon_intensity", "carbon_intensity_avg", "carbon intensity of electricity - gco2/kwh"),
    "low": ("low",), "high": ("high",), "residual_g_kwh": ("residual_g_kwh",), "source": ("source",)}


@dataclass(frozen=True)
class Grid:
    """What a kWh from one grid emitted in one year, location-based, with its interval and source; and the residual
    mix, which is what is left when others have taken what they bought, where the table tells."""

    place: str                  # ISO 3166 alpha-3, or what the table calls it; with a region: USA/california
    name: str
    year: int | None
    g_kwh: float
    low: float
    high: float
    source: str
    residual_g_kwh: float | None = None

    @property
    def spread(self) -> float:
        """Half of the interval as a share of the value."""
        return (self.high - self.low) / 2 / self.g_kwh if self.g_kwh else 0.0

    @property
    def factor(self) -> str:
        """What its uncertainty is called: one wherever this grid is used."""
        return f"grid of {self.place or self.name}{f' in {self.year}' if self.year else ''}"

    @classmethod
    def about(cls, g_kwh: float, name: str, source: str, place: str = "", year: int | None = None) -> Grid:
        """A figure of a grid of which nobody says how far it is off."""
        check(g_kwh, "a grid's intensity")
        return cls(place, name, year, float(g_kwh), g_kwh * (1 - SPREAD), g_kwh * (1 + SPREAD), source)

    @classmethod
    def given(cls, g_kwh: float, source: str = "given by the user") -> Grid:
        """A figure without a place, taken as exact.

        :raises UsageError: where no grid can be like that.
        """
        check(g_kwh, "a grid's intensity")
        return cls("", f"{g_kwh:g} g/kWh", None, float(g_kwh), float(g_kwh), float(g_kwh), source)


@dataclass(frozen=True)
class Table:
    """Grids, and what they were read from."""

    source: str
    grids: tuple[Grid, ...]

    def places(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(grid.place for grid in self.grids))

    def find(self, place: str, year: int | None = None) -> Grid:
        """The grid of a country (its ISO code or name) or of a region (USA/california); of the newest year unless one
        is asked.

        :raises UsageError: names what is near, or the years there are.
        """
        wanted = place.strip().casefold()
        found = [grid for grid in self.grids if grid.place.casefold() == wanted] or \
            [grid for grid in self.grids if grid.name.casefold() == wanted]
        if not found:
            names = {grid.name.casefold(): grid.name for grid in self.grids}
            known = {**{each.casefold(): each for each in self.places()}, **names}
            if len(known) > 40:
                known = near(wanted, known)
            more = "" if self.source != OWN else "; pip install 'archfab[carbon]' knows 350"
            raise unknown("grid", place, list(known.values()), f"(of {len(self.places())} in {self.source}{more}; a "
                          "table of your own: --grids FILE.csv, or give a number of g/kWh)")
        if len(places := dict.fromkeys(grid.place for grid in found)) > 1:
            raise UsageError(f"'{place}' is the name of {len(places)} grids: {', '.join(places)}; say which")
        if year is None:
            return max(found, key=lambda grid: grid.year or 0)
        for grid in found:
            if grid.year == year:
                return grid
        years = ", ".join(str(grid.year) for grid in sorted(found, key=lambda grid: grid.year or 0))
        raise UsageError(f"{self.source} tells of {found[0].name} in {years}, not in {year}; leave the year out for "
                         "the newest, or give a table of your own with --grids FILE.csv")


def near(wanted: str, known: Mapping[str, str]) -> dict[str, str]:
    """Of many names a few that are like it."""
    from difflib import get_close_matches
    return {each: known[each] for each in get_close_matches(wanted, list(known), n=8, cutoff=0.4)}


def grid_table(file: str | Path | None = None) -> Table:
    """The user's CSV; else CodeCarbon's tables where that package is installed (extra `carbon`); else our own few.

    :raises UsageError: of a file that is no such table.
    """
    if file is not None:
        return read_csv(Path(file))
    return packaged() if installed() else bundled()


@cache
def bundled() -> Table:
    """The grids that come with archfab."""
    rows = tomllib.loads(files("archfab.silicon.carbon").joinpath("grids.toml").read_text(encoding="utf-8"))["grid"]
    return Table(OWN, tuple(with_spread(**row) for row in rows))


@cache
def packaged() -> Table:
    """The grids of CodeCarbon's data files; the package itself is never imported."""
    version, rows = read_grids()
    return Table(f"codecarbon {version}", (*(with_spread(*row) for row in rows),
                                           *(grid for grid in bundled().grids if grid.place == "WORLD")))


def with_spread(place: str, name: str, year: int | None, g_kwh: float, source: str) -> Grid:
    return Grid.about(g_kwh, name, source, place, year)


def grid_of(text: str | float, year: int | None = None, file: str | Path | None = None) -> Grid:
    """A grid as a user names it: a number of g/kWh, an ISO code, a country's name, or a region such as
    USA/california."""
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise UsageError(f"a grid is a number of g/kWh, an ISO code or a name, not {text!r}")
    try:
        number = float(text)
    except ValueError:
        return grid_table(file).find(str(text), year)
    return Grid.given(number)


def check(g_kwh: float, what: str) -> None:
    if not 0 <= g_kwh <= MOST:
        hint = "; a number of kg/kWh is to be multiplied by 1,000" if 0 < g_kwh < 3 else \
            "; no fuel emits more, is this g per MWh?" if g_kwh > MOST else ""
        raise UsageError(f"{what} of {g_kwh:g} g CO2e/kWh is not possible; legal: 0 to {MOST:g}{hint}")


def read_csv(path: Path) -> Table:
    """A table of grids: a column `place` and one `g_kwh`; also `name`, `region`, `year`, `low`, `high`,
    `residual_g_kwh`, `source`. The column names of Our World in Data, CodeCarbon and electricityMap's yearly averages
    are understood.

    :raises UsageError: names the line and what is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise UsageError(f"the grid table {path} cannot be read: {error}") from None
    rows = csv.reader(io.StringIO(text))
    header = [cell.strip().casefold() for cell in next(rows, [])]
    where = {key: header.index(name) for key, names in COLUMNS.items() for name in reversed(names) if name in header}
    if missing := {"place", "g_kwh"} - set(where):
        raise UsageError(f"the grid table {path} has no column {' and no column '.join(sorted(missing))}; it has "
                         f"{', '.join(header) or 'nothing'}. Name them place and g_kwh (g CO2e per kWh)")
    grids = tuple(grids_of(rows, where, path))
    positive = [grid.g_kwh for grid in grids if grid.g_kwh]
    if not grids:
        raise UsageError(f"the grid table {path} has no line with a figure")
    if positive and max(positive) < 3:
        raise UsageError(f"every figure of {path} is below 3 g/kWh, which no table of grids is: these look like "
                         "kg/kWh; multiply them by 1,000")
    seen: dict[tuple[str, int | None], float] = {}
    for grid in grids:
        if seen.setdefault((grid.place.casefold(), grid.year), grid.g_kwh) != grid.g_kwh:
            raise UsageError(f"{path} gives {grid.place} in {grid.year} twice: "
                             f"{seen[grid.place.casefold(), grid.year]:g} and {grid.g_kwh:g} g/kWh; keep one")
    return Table(path.name, grids)


def grids_of(rows: Iterator[Sequence[str]], where: Mapping[str, int], path: Path) -> Iterator[Grid]:
    for line, row in enumerate(rows, 2):
        cells = {key: row[at].strip() for key, at in where.items() if at < len(row)}
        if not any(cells.values()) or not cells.get("g_kwh"):
            continue

        def number(key: str, cells: Mapping[str, str] = cells, line: int = line) -> float | None:
            try:
                found = float(cells[key]) if cells.get(key) else None
                assert found is None or math.isfinite(found)
            except (ValueError, AssertionError):
                raise UsageError(f"{path}, line {line}: {key} is '{cells[key]}', which is no number") from None
            if found is not None and key != "year":
                check(found, f"{path}, line {line}: {key}")
            return found

        value, low, high, year = (number(key) for key in ("g_kwh", "low", "high", "year"))
        assert value is not None
        if (low is None) != (high is None):
            raise UsageError(f"{path}, line {line}: low and high come together")
        low, high = (value * (1 - SPREAD), value * (1 + SPREAD)) if low is None or high is None else (low, high)
        if value == 0 < high:
            raise UsageError(f"{path}, line {line}: an interval up to {high:g} is of no figure of 0; give its mean")
        if not low <= value <= high:
            raise UsageError(f"{path}, line {line}: {value:g} is not between low {low:g} and high {high:g}")
        if not cells.get("place"):
            raise UsageError(f"{path}, line {line}: the place is empty; give its ISO code or a name")
        if year is not None and not (year == int(year) and 1900 <= year <= 2200):
            raise UsageError(f"{path}, line {line}: {year:g} is no year")
        place = cells["place"] + (f"/{cells['region']}" if cells.get("region") else "")
        yield Grid(place, cells.get("name") or place, None if year is None else int(year), value, low, high,
                   cells.get("source") or path.name, number("residual_g_kwh"))
