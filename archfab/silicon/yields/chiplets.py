"""One die or several: what a system costs cut into equal chiplets, and from which area on that pays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from archfab.core import UsageError
from archfab.silicon.yields.checks import above_zero, share
from archfab.silicon.yields.cost import CHIPLET_ACTUARY, CHIPLET_ACTUARY_ALPHA, Wafer
from archfab.silicon.yields.dies import dies_per_wafer
from archfab.silicon.yields.models import good_die_yield
from archfab.silicon.yields.packages import ALL_KNOWN, Die, Known, Package, SystemCost, system_cost


@dataclass(frozen=True)
class Process:
    """What dies are made of: a wafer's price in USD, its defects per cm2, how they cluster, how dies lie on it."""

    wafer_usd: float
    d0_per_cm2: float
    alpha: float | None = CHIPLET_ACTUARY_ALPHA
    model: str = "negative-binomial"
    layers: float | None = None
    wafer: Wafer = CHIPLET_ACTUARY

    def die(self, area_mm2: float, number: int = 1) -> Die:
        """A die of this process.

        :raises UsageError: none of that area fits on a wafer.
        """
        dies = dies_per_wafer(area_mm2, self.wafer.diameter_mm, self.wafer.edge_mm, self.wafer.scribe_mm,
                              how=self.wafer.how)
        if not dies:
            raise UsageError(f"no die of {area_mm2:.6g} mm2 fits on a wafer of {self.wafer.diameter_mm:g} mm")
        good = good_die_yield(area_mm2, self.d0_per_cm2, self.alpha, self.model, self.layers)
        return Die(float(area_mm2), float(above_zero("a wafer's price in USD", self.wafer_usd)) / dies, good, number)


def split_cost(area_mm2: float, number: int, process: Process, kind: Package, known: Known = ALL_KNOWN,
               link_share: float = 0.1, final_test_usd: float = 0.0) -> SystemCost:
    """The cost of a system of `area_mm2` cut into `number` equal dies, or left whole where that is 1.

    :param area_mm2: of the whole on one die.
    :param link_share: by how much each chiplet grows for its links to the others, of its own area; 0.1 is what Chiplet
        Actuary (Feng and Ma, DAC 2022) assumes. One die has none.
    :raises UsageError: no such cut, or a die or interposer that fits on no wafer.
    """
    if number < 1 or number != int(number):
        raise UsageError(f"{number:g} dies are impossible; give a whole number from 1 up")
    area = float(above_zero("an area in mm2", area_mm2))
    each = area / number * (1 + (float(share("the share of links", link_share, zero=True)) if number > 1 else 0.0))
    carriers = replace(process.wafer, diameter_mm=CHIPLET_ACTUARY.diameter_mm)       # which their prices are of
    return system_cost([process.die(each, int(number))], kind, known, carriers, final_test_usd)


def curve(areas_mm2: Iterable[float], number: int, process: Process, kind: Package, known: Known = ALL_KNOWN,
          link_share: float = 0.1, final_test_usd: float = 0.0) -> np.ndarray:
    """The total cost in USD at each area; nan where it cannot be made."""
    found = []
    for area in areas_mm2:
        try:
            found.append(split_cost(area, number, process, kind, known, link_share, final_test_usd).total_usd)
        except UsageError:
            found.append(np.nan)
    return np.array(found)


def crossover_mm2(number: int, process: Process, kind: Package, whole: Package, known: Known = ALL_KNOWN,
                  link_share: float = 0.1, final_test_usd: float = 0.0,
                  most_mm2: float = 4000.0) -> float | None:
    """The smallest area at which `number` chiplets in `kind` cost less than one die in the package `whole`, to 0.01
    mm2; None if that is at no area up to `most_mm2`. Where one die fits on no wafer, chiplets that do cost less."""
    def dearer(area: float) -> bool:
        one = curve([area], 1, process, whole, known, link_share, final_test_usd)[0]
        many = curve([area], number, process, kind, known, link_share, final_test_usd)[0]
        return not np.isnan(many) and (np.isnan(one) or many < one)

    areas = np.geomspace(1.0, most_mm2, 160)
    first = next((i for i, area in enumerate(areas) if dearer(float(area))), None)
    if first is None:
        return None
    if first == 0:
        return float(areas[0])
    low, high = float(areas[first - 1]), float(areas[first])
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if dearer(middle) else (middle, high)
    return high
