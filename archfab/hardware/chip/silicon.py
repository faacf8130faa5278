"""What a chip's silicon comes to: how many dies are good, what one costs, how slow it gets, what it emits.

The table `silicon` of a device file says the process node and how the product is used; all else is of the node
(`silicon/nodes.toml`). Yield and cost lie between area and defects at their best together and at their worst; carbon
has the 95 % interval of what errs independently, where a larger area counts with the yield that it lowers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from archfab.core import BuildError, Cost, UsageError, unknown
from archfab.hardware.chip.area import SOURCE as AREAS
from archfab.hardware.chip.area import Area
from archfab.hardware.numbers import check
from archfab.silicon import nodes
from archfab.silicon.aging.shifts import end_of_life_delay_ratio
from archfab.silicon.carbon.grids import MOST as MOST_G_KWH
from archfab.silicon.carbon.product import DAYS, die_carbon
from archfab.silicon.nodes import QUANTITIES, Node, interval, node
from archfab.silicon.yields.checks import RETICLE_MM2
from archfab.silicon.yields.cost import die_cost

FIGURES = ("good_die_yield", "die_cost_usd", "embodied_carbon_g", "carbon_g")
D0 = interval("d0_per_cm2")
LATE = "end_of_life_latency_ms"


class Made(NamedTuple):
    """A die in production: the share of good ones, USD of a good one, how many a wafer holds."""

    good: float
    usd: float
    dies: float


@dataclass(frozen=True)
class Silicon:
    """The process and the use of a chip."""

    node_nm: float
    overhead_mm2: float             # pads, clocks, interfaces
    years: float
    kelvin: float
    duty: float                     # share of the time that a transistor is under stress
    alpha: float                    # how even defects lie (negative binomial yield); small is clustered, inf Poisson
    inferences_per_day: float
    grid_g_per_kwh: float           # where it is used
    fab_g_per_kwh: float            # where it is made

    @property
    def node(self) -> Node:
        return node(self.node_nm)

    def at(self, node_nm: float | None) -> Silicon:
        """The same product in another process."""
        return self if node_nm is None else replace(self, node_nm=node_nm)

    def figures(self, area: Area, latency_ms: Cost | None, energy_mj: Cost) -> dict[str, Cost]:
        """What a die of this size comes to that takes so long and so much energy for one inference.

        :raises BuildError: where it cannot be made.
        """
        made, least, most = self._made([area.mm2, area.low, area.high], [1.0, *D0])
        carbon = self._carbon(area, made, energy_mj)
        figures = {"area_mm2": Cost(area.mm2, "analytic", area.low, area.high),
                   "good_die_yield": Cost(made.good, "analytic", most.good, least.good),
                   "die_cost_usd": Cost(made.usd, "analytic", least.usd, most.usd),
                   "embodied_carbon_g": carbon["embodied_g"], "carbon_g": carbon["carbon_g"]}
        if latency_ms:
            figures[LATE] = self._late(latency_ms)
        return figures

    def _made(self, areas_mm2: Sequence[float], densities: Sequence[float]) -> list[Made]:
        """Dies of these sizes, the first as it is believed to be, at so many times the node's defects.

        :raises BuildError: where it is larger than one exposure, or one does not fit on a wafer.
        """
        if areas_mm2[0] > RETICLE_MM2:
            raise BuildError(f"a die of {areas_mm2[0]:.4g} mm2 is larger than one exposure, {RETICLE_MM2:g} mm2; take "
                             "a smaller array, smaller memories or a newer node")
        found = die_cost(np.array(areas_mm2), self.node.wafer_usd, self.node.d0_per_cm2 * np.array(densities),
                         self.alpha)
        made = [Made(*map(float, each)) for each in zip(found.good_die_yield, found.total_usd,
                                                        found.dies_per_wafer, strict=True)]
        if not all(math.isfinite(each.usd) for each in made):
            raise BuildError(f"no die of {max(areas_mm2):.4g} mm2 fits on a wafer")
        return made

    def _carbon(self, area: Area, made: Made, energy_mj: Cost) -> dict[str, Cost]:
        """What one die emits. A wafer's carbon is shared among its good dies as its price is, so that the spread of
        the price by area alone, and by defects alone, is that of the carbon."""
        small, large, clean, dirty = (each.usd for each in self._made(
            [area.low, area.high, area.mm2, area.mm2], [1.0, 1.0, *D0]))
        return die_carbon(
            area_mm2=area.mm2, node_nm=self.node_nm, yield_=made.good, dies_per_wafer=made.dies,
            energy_mj=energy_mj.value, inferences=self.inferences_per_day * DAYS * self.years, pue=1.0,
            grid_g_kwh=self.grid_g_per_kwh, fab_g_kwh=self.fab_g_per_kwh,
            area_spread=(large - small) / 2 / made.usd, yield_spread=(dirty - clean) / 2 / made.usd,
            energy_spread=(energy_mj.high - energy_mj.low) / 2 / energy_mj.value if energy_mj.value else 0.0)

    def _late(self, latency_ms: Cost) -> Cost:
        """The latency at the clock that is left at the end of life, at the node's supply.

        :raises BuildError: where transistors may no longer switch by then.
        """
        ratio, low, high = (float(found) for found in end_of_life_delay_ratio(
            self.node.vdd_v, self.node.vth_v, self.kelvin, self.duty, self.years))
        if not math.isfinite(high):
            raise BuildError(f"transistors of {self.node.name} nm may no longer switch after {self.years:g} years at "
                             f"{self.kelvin:g} K; take fewer years, a lower temperature or another node")
        return Cost(latency_ms.value * ratio, "analytic", latency_ms.low * low, latency_ms.high * high)


def read(device: str, table: Any) -> Silicon:
    """The table `silicon` of a device file, every number with its source.

    :raises UsageError: names what is missing, stray or impossible.
    """
    legal = [field.name for field in fields(Silicon)]
    if not isinstance(table, Mapping):
        raise UsageError(f"device '{device}': silicon is a table of numbers, such as [silicon.node_nm]")
    for name in table:
        if name not in legal:
            raise unknown(f"number of silicon in the device '{device}'", name, legal)
    if missing := [name for name in legal if name not in table]:
        raise UsageError(f"device '{device}': the table silicon lacks {', '.join(missing)}")
    for name in legal:
        endless = name == "alpha" and isinstance(table[name], Mapping) and table[name].get("value") == math.inf
        check(device, f"silicon.{name}", {**table[name], "value": 0} if endless else table[name])
    made = Silicon(**{name: float(table[name]["value"]) for name in legal})
    node(made.node_nm)
    most = {"duty": (1, "a share"), "years": (100, "a number of years"), "inferences_per_day": (1e12, "a number"),
            "overhead_mm2": (RETICLE_MM2, "an area in mm2"), "fab_g_per_kwh": (MOST_G_KWH, "an intensity of a grid"),
            "grid_g_per_kwh": (MOST_G_KWH, "an intensity of a grid")}
    for name, (limit, what) in most.items():
        if (value := getattr(made, name)) > limit:
            raise UsageError(f"device '{device}': silicon.{name} is {what} from 0 to {limit:g}, not {value:g}")
    if not 200 <= made.kelvin <= 500:
        raise UsageError(f"device '{device}': silicon.kelvin is a temperature from 200 to 500 K, not "
                         f"{made.kelvin:g}"
                         + (f"; {made.kelvin:g} degrees Celsius are {made.kelvin + 273.15:g} K" if made.kelvin < 200
                            else ""))
    return made


def sources(table: Mapping[str, Mapping[str, Any]], nodes_nm: Sequence[float]) -> dict[str, Mapping[str, Any]]:
    """Where a chip's numbers come from: the product's, its areas, and those of the processes that it may be made in."""
    return {**{f"silicon.{name}": entry for name, entry in table.items()},
            "areas": {"origin": "analytic", "source": AREAS}, **of_node(nodes_nm)}


def of_node(nodes_nm: Sequence[float]) -> dict[str, Mapping[str, Any]]:
    """The numbers of one process, or of several beside each other, with their sources."""
    made = [node(each) for each in nodes_nm]
    found: dict[str, Mapping[str, Any]] = {}
    for quantity in QUANTITIES:
        entry, (low, high) = nodes.table()[quantity], interval(quantity)
        value = ", ".join(f"{getattr(each, quantity):g}" + (f" ({each.name} nm)" if len(made) > 1 else "")
                          for each in made)
        found[f"node.{quantity}"] = {
            "value": value, "unit": entry["unit"] + (f", times {low:g} to {high:g}" if low < high else ""),
            "origin": entry["origin"], "source": entry["source"]}
    return found
