"""Bought energy, counted twice over as the GHG Protocol asks: by where it was used, and by what was contracted for
it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archfab.core import UsageError
from archfab.silicon.carbon.grids import Grid
from archfab.silicon.carbon.uncertain import Term

KINDS = ("certificate", "contract", "supplier")
"""Contractual instruments: unbundled energy attribute certificates, power purchase contracts with theirs, and what a
supplier delivers under its own rate."""


@dataclass(frozen=True)
class Use:
    """Energy bought and used at one place in the year of the inventory."""

    name: str
    kwh: float
    spread: float               # of the amount
    grid: Grid
    market: str                 # where instruments may be claimed for it
    residual: Grid | None       # what is left there when others have taken what they bought
    covers: tuple[str, ...] = ()

    @property
    def alike(self) -> tuple[object, ...]:
        """Equal for uses that say the same of perhaps the same thing."""
        return "energy", self.kwh, self.market, self.grid


@dataclass(frozen=True)
class Instrument:
    """A claim on the emissions of so many kWh."""

    name: str
    kind: str
    kwh: float
    g_kwh: float
    market: str
    year: int
    serial: str


def location_terms(uses: Sequence[Use]) -> dict[str, list[Term]]:
    """kg CO2e of each use, by the average of its grid."""
    return {use.name: [Term(use.kwh * use.grid.g_kwh / 1000, {**amount(use), use.grid.factor: use.grid.spread})]
            for use in uses}


def market_terms(uses: Sequence[Use], instruments: Sequence[Instrument], year: int,
                 ) -> tuple[dict[str, list[Term]], list[str]]:
    """kg CO2e of each use by what was contracted: claimed kWh at the figure of their instrument, the others at the
    residual mix, or at the grid's average where the residual mix is not known; and what a reader has to be told.

    Instruments of a market are shared by the uses there in proportion. GHG Protocol Scope 2 Guidance (2015), chapters
    6, 7.

    :raises UsageError: of a claim that does not meet its quality criteria: another market, another time, more than
        was used, or made twice.
    """
    check_claims(uses, instruments, year)
    terms: dict[str, list[Term]] = {}
    notes = []
    for use in uses:
        here = [each for each in instruments if each.market == use.market]
        share = use.kwh / math.fsum(other.kwh for other in uses if other.market == use.market) if use.kwh else 0.0
        claimed = math.fsum(each.kwh for each in here) * share
        mix = use.residual or use.grid
        terms[use.name] = [Term(each.kwh * share * each.g_kwh / 1000, {}) for each in here if each.g_kwh]
        if use.kwh - claimed > 1e-9 * use.kwh:
            terms[use.name] += [Term(use.kwh * mix.g_kwh / 1000, {**amount(use), mix.factor: mix.spread}),
                                Term(-claimed * mix.g_kwh / 1000, {mix.factor: mix.spread})]
            if use.kwh - claimed < use.spread * use.kwh and claimed:
                notes.append(f"{use.name}: what is not claimed is less than the amount may be off: its market-based "
                             "interval is a guess")
            if use.residual is None:
                notes.append(f"{use.name}: no residual mix of {use.market} is given, so what is not claimed counts at "
                             "the grid's average; others may have claimed the clean part of that (residual_g_kwh)")
    notes += [f"{each.name}: of {each.year}, counted for {year}" for each in instruments if each.year != year]
    return terms, notes


def amount(use: Use) -> Mapping[str, float]:
    return {f"kWh of {use.name}": use.spread}


def check_claims(uses: Sequence[Use], instruments: Sequence[Instrument], year: int) -> None:
    used: dict[str, float] = {}
    for use in uses:
        used[use.market] = used.get(use.market, 0.0) + use.kwh
    claimed: dict[str, float] = {}
    serials: dict[str, str] = {}
    for each in instruments:
        if each.market not in used:
            raise UsageError(f"instrument '{each.name}' is of the market {each.market}, where nothing was used; "
                             f"markets with use: {', '.join(used) or 'none'}")
        if not 0 <= year - each.year <= 1:
            raise UsageError(f"instrument '{each.name}' is of {each.year}; a claim for {year} needs generation of that "
                             "year or the one before")
        if each.serial and each.serial in serials:
            raise UsageError(f"double counting: the serial number {each.serial} is claimed by '{serials[each.serial]}' "
                             f"and by '{each.name}'")
        serials[each.serial] = each.name
        claimed[each.market] = claimed.get(each.market, 0.0) + each.kwh
    for market, kwh in claimed.items():
        if kwh > used[market] * (1 + 1e-9):
            raise UsageError(f"the instruments of {market} claim {kwh:,.0f} kWh, {kwh - used[market]:,.0f} more than "
                             f"the {used[market]:,.0f} kWh used there; a surplus cannot be claimed for another market "
                             "or year")
