"""What making a die emits, by ACT: the fab's electricity, its gases, the materials, shared by the dies that are
good."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.carbon.grids import Grid
from archfab.silicon.carbon.uncertain import Term
from archfab.silicon.nodes import Node, node

PACKAGE_G = 150.0               # of one integrated circuit's package, by ACT
FAB_GRID = Grid.about(583.0, "Taiwan", "ACT (Gupta et al., ISCA 2022), location Taiwan", "TWN")
ABATEMENT = 0.97                # the share of the gases that the fab destroys
SPREADS = {"energy of the fab (EPA)": 0.2, "materials (MPA)": 0.5, "packaging": 0.5}
"""Half of the 95 % interval as a share of the value: assumptions, for ACT gives none. That of the gases is what lies
between 95 and 99 % abatement."""

Number = Any                    # a number or an array of them


@dataclass(frozen=True)
class Making:
    """How a die is made: what it needs to be known beside its area and node."""

    grid: Grid = FAB_GRID
    abatement: float = ABATEMENT
    packages: float = 1.0
    package_g: float = PACKAGE_G
    dies_per_wafer: float | None = None     # charges the whole wafer to its dies; None: the die's own area alone
    wafer_mm: float = 300.0
    yield_spread: float = 0.0               # half of the 95 % interval of the yield, as a share of it
    area_spread: float = 0.0                # and of the area


def carbon_per_area_g_cm2(*, node_nm: str | float | Node, yield_: Number, grid_g_kwh: Number = FAB_GRID.g_kwh,
                          abatement: float = ABATEMENT) -> Number:
    """Grams of CO2e that a cm2 of good die cost.

    ACT (Gupta et al., ISCA 2022): CPA = (CI_fab EPA + GPA + MPA) / Y; CI_fab in g/kWh, EPA in kWh/cm2, GPA and MPA in
    g/cm2 by node. Takes arrays of yields and of grids.

    :raises UsageError: of a yield that is not above 0 and up to 1, of an abatement outside what is known, 0.95 to 0.99.
    """
    check_yield(yield_)
    if not np.all(np.asarray(grid_g_kwh) >= 0) or not np.all(np.isfinite(grid_g_kwh)):
        raise UsageError(f"a fab's grid of {grid_g_kwh} g/kWh is not possible; it is from 0 up")
    made = as_node(node_nm)
    return (np.asarray(grid_g_kwh) * made.epa_kwh_per_cm2 + gases_g_cm2(made, abatement) + made.mpa_g_per_cm2) \
        / np.asarray(yield_) + 0.0


def embodied_carbon_g(*, area_mm2: Number, node_nm: str | float | Node, yield_: Number,
                      grid_g_kwh: Number = FAB_GRID.g_kwh, abatement: float = ABATEMENT, packages: Number = 1.0,
                      package_g: float = PACKAGE_G, dies_per_wafer: Number | None = None,
                      wafer_mm: float = 300.0) -> Number:
    """Grams of CO2e to make one good die and its packages.

    ACT (Gupta et al., ISCA 2022): area CPA + packages 150 g. With `dies_per_wafer`, each die is charged its share of
    the whole wafer, edge and scribe lines included, in place of its own area. Takes arrays.

    :raises UsageError: of an area, a yield or a number of dies that is not possible.
    """
    charged = charged_mm2(area_mm2, dies_per_wafer, wafer_mm)
    return charged / 100 * carbon_per_area_g_cm2(node_nm=node_nm, yield_=yield_, grid_g_kwh=grid_g_kwh,
                                                 abatement=abatement) + np.asarray(packages) * package_g


def charged_mm2(area_mm2: Number, dies_per_wafer: Number | None = None, wafer_mm: float = 300.0) -> Number:
    """The area of wafer that one die is charged: its own, or the wafer's shared by its dies."""
    if not np.all(np.asarray(area_mm2) > 0) or not np.all(np.isfinite(area_mm2)):
        raise UsageError(f"a die of {area_mm2} mm2 is none; the area is above 0")
    wafer_mm2 = math.pi * wafer_mm ** 2 / 4
    if not np.all(np.asarray(area_mm2) <= wafer_mm2):
        raise UsageError(f"a die of {area_mm2} mm2 is larger than a wafer of {wafer_mm:g} mm ({wafer_mm2:.0f} mm2)")
    if dies_per_wafer is None:
        return np.asarray(area_mm2) + 0.0
    if not np.all(np.asarray(dies_per_wafer) > 0):
        raise UsageError(f"{dies_per_wafer} dies per wafer: no die fits; make the die smaller or the wafer larger")
    share = wafer_mm2 / np.asarray(dies_per_wafer)
    if not np.all(share >= np.asarray(area_mm2) * (1 - 1e-9)):
        raise UsageError(f"{dies_per_wafer} dies of {area_mm2} mm2 are more than a wafer of {wafer_mm:g} mm holds "
                         f"({wafer_mm2:.0f} mm2)")
    return share + 0.0


def embodied_terms(area_mm2: float, node_nm: str | float | Node, yield_: float, making: Making = Making(),
                   called: str = "the die") -> list[Term]:
    """The parts of a die's embodied carbon, electricity, gases, materials and packaging, each with what is uncertain
    of it."""
    check_yield(yield_)
    made = as_node(node_nm)
    if not (0 <= making.packages < math.inf and 0 <= making.package_g < math.inf):
        raise UsageError(f"{making.packages} packages of {making.package_g} g are not possible; numbers from 0 up")
    per_cm2 = float(charged_mm2(area_mm2, making.dies_per_wafer, making.wafer_mm)) / 100 / yield_
    gases = gases_g_cm2(made, making.abatement)
    yielding = {f"yield of {called}": making.yield_spread, f"area of {called}": making.area_spread}
    return [
        Term(per_cm2 * making.grid.g_kwh * made.epa_kwh_per_cm2,
             {"energy of the fab (EPA)": SPREADS["energy of the fab (EPA)"], making.grid.factor: making.grid.spread,
              **yielding}),
        Term(per_cm2 * gases, {f"gases of the fab (GPA, {made.name} nm, {100 * making.abatement:g} % abated)":
                               abs(made.gpa_95_g_per_cm2 - made.gpa_99_g_per_cm2) / 2 / gases, **yielding}),
        Term(per_cm2 * made.mpa_g_per_cm2, {"materials (MPA)": SPREADS["materials (MPA)"], **yielding}),
        Term(making.packages * making.package_g, {"packaging": SPREADS["packaging"]})]


PARTS = ("electricity of the fab", "gases of the fab", "materials", "packaging")
"""What the terms of `embodied_terms` are called, in their order."""


def gases_g_cm2(made: Node, abatement: float) -> float:
    """Direct emissions of the fab in g/cm2, between what is known for 95 and 99 % abatement."""
    if 1 < abatement <= 100:
        raise UsageError(f"an abatement of {abatement:g} looks like percent; it is a share: {abatement / 100:g}")
    if not 0.95 <= abatement <= 0.99:
        raise UsageError(f"an abatement of {abatement:g} is outside of what is known, 0.95 to 0.99 of the gases")
    return made.gpa_95_g_per_cm2 + (abatement - 0.95) / 0.04 * (made.gpa_99_g_per_cm2 - made.gpa_95_g_per_cm2)


def check_yield(yield_: Number) -> None:
    values = np.asarray(yield_, dtype=float)
    if not np.all((values > 0) & (values <= 1)):
        hint = f"; {yield_:g} % is {yield_ / 100:g}" if values.ndim == 0 and 1 < values <= 100 else ""
        raise UsageError(f"a yield of {yield_} makes no die's carbon; it is above 0 and at most 1{hint}")


def as_node(node_nm: str | float | Node) -> Node:
    return node_nm if isinstance(node_nm, Node) else node(node_nm)
