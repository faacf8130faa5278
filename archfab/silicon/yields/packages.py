"""Packages that hold one die or several, with what they cost and how often bonding fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archfab.core import UsageError, unknown
from archfab.silicon.yields.checks import LEAST, from_zero, share
from archfab.silicon.yields.cost import CHIPLET_ACTUARY, Wafer
from archfab.silicon.yields.dies import dies_per_wafer
from archfab.silicon.yields.models import good_die_yield

STEPS = ((900.0, 2.0), (289.0, 1.75), (0.0, 1.5))
"""An organic substrate under several dies has more layers: from this area in mm2, this factor on its price."""


@dataclass(frozen=True)
class Package:
    """How dies are put together. Prices, areas and yields are those of Chiplet Actuary (Feng and Ma, DAC 2022,
    parameter.ini) where `KINDS` has them.

    `carrier` is what dies are bonded on before the substrate: a silicon interposer or redistribution layers.
    """

    name: str
    about: str
    substrate_usd_per_mm2: float = 0.005
    substrate_scale: float = 4.0            # area of the substrate, of that of what lies on it
    bump_usd_per_mm2: float = 0.005         # between substrate and what lies on it
    bond_yield: float = 0.99                # of one die; with a carrier, of one die on the carrier
    substrate_yield: float = 0.99           # of bonding the carrier on the substrate
    carrier_wafer_usd: float | None = None
    carrier_d0_per_cm2: float = 0.0
    carrier_alpha: float = 1.0
    carrier_scale: float = 1.0              # area of the carrier, of that of the dies
    microbump_usd_per_mm2: float = 0.01     # between dies and carrier
    dies_first: bool = False                # the carrier is made over the dies, so that its defects cost dies


KINDS = {package.name: package for package in (
    Package("organic", "dies side by side on an organic substrate"),
    Package("fan-out", "dies on redistribution layers, which are tested before", bond_yield=0.98,
            carrier_wafer_usd=1200, carrier_d0_per_cm2=0.05, carrier_alpha=3, carrier_scale=1.2),
    Package("fan-out-dies-first", "redistribution layers made over the dies", bond_yield=0.98, carrier_wafer_usd=1200,
            carrier_d0_per_cm2=0.05, carrier_alpha=3, carrier_scale=1.2, dies_first=True),
    Package("interposer", "dies on a silicon interposer", bond_yield=0.95, carrier_wafer_usd=1937,
            carrier_d0_per_cm2=0.06, carrier_alpha=6, carrier_scale=1.1),
)}


def package(name: str) -> Package:
    """A package by its name.

    :raises UsageError: names the known ones.
    """
    if name not in KINDS:
        raise unknown("package", name, list(KINDS))
    return KINDS[name]


@dataclass(frozen=True)
class Die:
    """A die that goes into a package: its area in mm2, what one costs untested in USD, its yield, how many of it."""

    area_mm2: float
    raw_usd: float
    good: float
    number: int = 1


@dataclass(frozen=True)
class Known:
    """The test of dies before they are bonded: its price for one die, and the share of bad dies that it finds. 0 is no
    test: all dies are bonded, good or bad."""

    test_usd: float = 0.0
    coverage: float = 1.0

    def __post_init__(self) -> None:
        from_zero("a price of testing a die in USD", self.test_usd)
        share("the coverage of a test", self.coverage, zero=True)


ALL_KNOWN = Known()
"""A free test that finds every bad die."""


@dataclass(frozen=True)
class SystemCost:
    """What one working system costs in USD; the parts add up to the total."""

    dies_usd: float             # one of each die, untested
    test_usd: float             # testing them before they are bonded
    defects_usd: float          # bad dies that the test found
    package_usd: float          # one package, carrier included
    package_loss_usd: float     # packages lost with systems that fail, and carriers that fail
    die_loss_usd: float         # dies lost with systems that fail
    total_usd: float
    system_yield: float         # the share of systems, as put together, that work
    package_mm2: float
    carrier_mm2: float | None


def system_cost(dies: Sequence[Die], kind: Package, known: Known = ALL_KNOWN, wafer: Wafer = CHIPLET_ACTUARY,
                final_test_usd: float = 0.0) -> SystemCost:
    """The cost of a working system of one or more dies in a package.

    A die passes its test with Y + (1 - Y)(1 - coverage) and is good, having passed, with q = Y over that. Systems work
    with the product of q and of the bonding yields; those that do not lose their dies and their package. Carriers are
    tested before dies are bonded unless they are made over the dies. With a perfect free test these are the equations
    of Chiplet Actuary (Feng and Ma, DAC 2022), but for the micro-bumps, which are paid here for every die.

    :param wafer: how interposers or redistribution layers lie on their wafer.
    :param final_test_usd: of one system, working or not.
    :raises UsageError: no dies, or a carrier that fits on no wafer.
    """
    if not dies or any(each.number < 1 for each in dies):
        raise UsageError("a package needs at least one die")
    from_zero("a price of a test in USD", final_test_usd)
    number = sum(each.number for each in dies)
    area = sum(each.area_mm2 * each.number for each in dies)
    bumps = kind.microbump_usd_per_mm2 if kind.carrier_wafer_usd is not None else kind.bump_usd_per_mm2
    raw = sum((each.raw_usd + each.area_mm2 * bumps) * each.number for each in dies)
    test = defects = 0.0
    tested = 1.0
    for each in dies:
        passes = each.good + (1 - each.good) * (1 - known.coverage)
        if passes < LEAST or each.good < LEAST:
            raise UsageError(f"no die of {each.area_mm2:.6g} mm2 is good, so that no system works; check the defect "
                             "density (per cm2) and the area (mm2)")
        test += known.test_usd * each.number
        defects += (each.raw_usd + known.test_usd) * (1 / passes - 1) * each.number
        tested *= (each.good / passes) ** each.number
    bonded = kind.bond_yield ** number
    if bonded * tested < LEAST:
        raise UsageError(f"with {number} dies hardly any system works: all bonds hold in {bonded:.3g} of them, all "
                         f"dies are good in {tested:.3g}")
    if kind.carrier_wafer_usd is None:
        layers = 1.0 if number == 1 else next(factor for least, factor in STEPS if area * kind.substrate_scale > least)
        cost, carrier_mm2 = area * kind.substrate_scale * kind.substrate_usd_per_mm2 * layers, None
        works = bonded * tested
        package_loss = (cost + final_test_usd) * (1 / works - 1)
        die_loss = (raw + test + defects) * (1 / works - 1)
        package_mm2 = area * kind.substrate_scale
    else:
        carrier_mm2 = area * kind.carrier_scale
        carrier, carrier_good = _carrier(kind, carrier_mm2, wafer)
        package_mm2 = carrier_mm2 * kind.substrate_scale
        substrate = package_mm2 * kind.substrate_usd_per_mm2
        cost = carrier + substrate
        assembled = tested * kind.substrate_yield * (carrier_good if kind.dies_first else bonded)
        works = assembled
        package_loss = (carrier * (1 / (assembled if kind.dies_first else carrier_good * assembled) - 1)
                        + (substrate + final_test_usd) * (1 / (kind.substrate_yield * tested) - 1))
        die_loss = (raw + test + defects) * (1 / assembled - 1)
    total = raw + test + defects + cost + final_test_usd + package_loss + die_loss
    return SystemCost(raw, test, defects, cost + final_test_usd, package_loss, die_loss, total, works, package_mm2,
                      carrier_mm2)


def _carrier(kind: Package, area_mm2: float, wafer: Wafer) -> tuple[float, float]:
    """What one interposer or one set of redistribution layers costs, and its yield."""
    assert kind.carrier_wafer_usd is not None
    number = dies_per_wafer(area_mm2, wafer.diameter_mm, wafer.edge_mm, wafer.scribe_mm, how=wafer.how)
    if not number:
        raise UsageError(f"the package '{kind.name}' would need {area_mm2:.6g} mm2 under the dies, which fits on no "
                         f"wafer of {wafer.diameter_mm:g} mm")
    good = good_die_yield(area_mm2, kind.carrier_d0_per_cm2, kind.carrier_alpha)
    return kind.carrier_wafer_usd / number + area_mm2 * kind.bump_usd_per_mm2, good
