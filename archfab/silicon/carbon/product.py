"""A product over its life: what making it emitted, what using it emits, when the one overtakes the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archfab.core import Cost, UsageError
from archfab.silicon.carbon.bill import Bill, bill_terms
from archfab.silicon.carbon.embodied import PARTS, Making, embodied_terms
from archfab.silicon.carbon.grids import Grid
from archfab.silicon.carbon.reading import MOST
from archfab.silicon.carbon.uncertain import Term, Total, ratio_interval, total
from archfab.silicon.carbon.use import DAYS, check_pue, operational_carbon_g, years_of_growth, years_until


@dataclass(frozen=True)
class Product:
    """A chip in use: what is made, and what it does every day for so many years."""

    area_mm2: float
    node_nm: str | float
    yield_: float
    energy_mj: float                        # of one inference
    inferences_per_day: float
    years: float
    grid: Grid
    pue: float
    making: Making = field(default_factory=Making)
    idle_w: float = 0.0                     # drawn all the time, beside the inferences
    grid_change: float = 0.0                # of the grid's intensity, as a share, a year
    energy_spread: float = 0.0              # half of the 95 % interval of the energy of an inference, as a share of it
    rest: Bill | None = None                # what else it is made of
    replaces_mj: float | None = None        # an inference on what it replaces


@dataclass(frozen=True)
class Footprint:
    """A product's emissions in grams with 95 % intervals; by part; over the years; and when use overtakes
    manufacture."""

    embodied: Total
    operational: Total
    both: Total
    parts: Mapping[str, float]
    yearly_g: float                         # of use, in the first year's grid
    break_even_years: tuple[float | None, float | None, float | None] | None   # value, low, high; None: never
    payback_years: tuple[float | None, float | None, float | None] | None
    inferences: float


def footprint_of(product: Product) -> Footprint:
    """What a product emits from the fab to its last day.

    :raises UsageError: of a number that is not possible, saying which.
    """
    check_product(product)
    by_part = made_terms(product)
    parts = {name: math.fsum(term.value for term in terms) for name, terms in by_part.items()}
    embodied = [term for terms in by_part.values() for term in terms]
    first = yearly(product, product.energy_mj)
    operational = use_terms(product, first, float(years_of_growth(product.years, product.grid_change)))
    for name, term in zip(("inferences", "idle"), operational, strict=True):
        parts[name] = term.value
    made, used = total(embodied), total(operational)
    if not math.isfinite(made.high + used.high):
        raise UsageError("these numbers add up to more than can be counted; look at their units")
    payback = None
    if product.replaces_mj is not None:
        saved = yearly(product, product.replaces_mj)[0] - first[0]
        payback = overtaking(embodied, [Term(max(0.0, saved), spreads(product))], product.grid_change)
    return Footprint(made, used, total([*embodied, *operational]), parts, math.fsum(first),
                     overtaking(embodied, use_terms(product, first, 1.0), product.grid_change), payback,
                     product.inferences_per_day * DAYS * product.years)


def die_carbon(*, area_mm2: float, node_nm: str | float, yield_: float, energy_mj: float, inferences: float,
               grid_g_kwh: float, fab_g_kwh: float, pue: float, dies_per_wafer: float | None = None,
               area_spread: float = 0.0, yield_spread: float = 0.0, energy_spread: float = 0.0) -> dict[str, Cost]:
    """What one die of a search emits, in grams with 95 % intervals: `embodied_g`, `operational_g`, their sum
    `carbon_g`.

    `embodied_carbon_g` and `operational_carbon_g` by their equations; spreads are halves of 95 % intervals as shares.

    :raises UsageError: of a number that is not possible, saying which.
    """
    check_pue(pue)
    made = embodied_terms(area_mm2, node_nm, yield_, Making(
        Grid.about(fab_g_kwh, "the fab", "given"), dies_per_wafer=dies_per_wafer, area_spread=area_spread,
        yield_spread=yield_spread))
    grid = Grid.about(grid_g_kwh, "use", "given")
    used = [Term(float(operational_carbon_g(energy_mj=energy_mj, inferences=inferences, grid_g_kwh=grid_g_kwh,
                                            pue=pue)),
                 {grid.factor: grid.spread, "energy of an inference": energy_spread})]
    return {name: Cost(each.value, "analytic", each.low, each.high) for name, each in (
        ("embodied_g", total(made)), ("operational_g", total(used)), ("carbon_g", total([*made, *used])))}


def made_terms(product: Product) -> dict[str, list[Term]]:
    """What making it emitted, by part: of the die, and of what else it is made of."""
    parts = {name: [term] for name, term in zip(
        PARTS, embodied_terms(product.area_mm2, product.node_nm, product.yield_, product.making), strict=True)}
    for name, terms in (bill_terms(product.rest) if product.rest else {}).items():
        parts.setdefault(name, []).extend(terms)
    return parts


def yearly(product: Product, energy_mj: float) -> tuple[float, float]:
    """Grams in a year on today's grid: of the inferences, and of the power that is drawn all the time."""
    inferences = float(operational_carbon_g(energy_mj=energy_mj, inferences=product.inferences_per_day * DAYS,
                                            grid_g_kwh=product.grid.g_kwh, pue=product.pue))
    return inferences, product.idle_w * DAYS * 24 / 1000 * product.pue * product.grid.g_kwh


def spreads(product: Product) -> dict[str, float]:
    return {product.grid.factor: product.grid.spread, "energy of an inference": product.energy_spread}


def use_terms(product: Product, first: Sequence[float], years: float) -> list[Term]:
    both = spreads(product)
    idle = {name: spread for name, spread in both.items() if name != "energy of an inference"}
    return [Term(first[0] * years, both), Term(first[1] * years, idle)]


def overtaking(made: Sequence[Term], a_year: Sequence[Term], change: float,
               ) -> tuple[float | None, float | None, float | None]:
    """After how many years what is emitted (or saved) each year adds up to what was made, with its interval."""
    one, other = total(made).value, total(a_year).value
    if other <= 0 or not math.isfinite(one / other):
        return None, None, None
    low, high = ratio_interval(made, a_year)
    return years_until(one / other, change), years_until(low, change), years_until(high, change)


def over_the_years(product: Product, points: int = 101) -> dict[str, Any]:
    """What has been emitted by each moment of the life, in grams, with the interval of the sum: for a picture and a
    CSV."""
    import numpy as np
    found = footprint_of(product)
    years = np.linspace(0, product.years, points)
    embodied = [term for terms in made_terms(product).values() for term in terms]
    first = yearly(product, product.energy_mj)
    sums = [total([*embodied, *use_terms(product, first, float(each))])
            for each in years_of_growth(years, product.grid_change)]
    return {"years": years, "embodied": np.full(points, found.embodied.value),
            "operational": np.array([each.value - found.embodied.value for each in sums]),
            "low": np.array([each.low for each in sums]), "high": np.array([each.high for each in sums])}


def check_product(product: Product) -> None:
    for name, value in (("energy of an inference in mJ", product.energy_mj), ("idle power in W", product.idle_w),
                        ("number of inferences a day", product.inferences_per_day),
                        ("energy of what is replaced in mJ", product.replaces_mj or 0.0),
                        ("uncertainty of the energy, a share,", product.energy_spread)):
        if not 0 <= value <= MOST:
            raise UsageError(f"the {name} is {value:g}; it is a number from 0 to {MOST:g}")
    if not 0 < product.years < 1000:
        raise UsageError(f"a life of {product.years:g} years is not possible; above 0, in years")
    check_pue(product.pue)
