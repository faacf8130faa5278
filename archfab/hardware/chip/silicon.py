"""What a chip's silicon comes to: how many dies are good, what one costs, how slow it gets, what it emits.

The table `silicon` of a device file says the process node and how the product is used; all else is of the node
(`silicon/nodes.toml`). Yield and cost lie between area and defects at their best together and at their worst; carbon has
the 95 % interval of what errs independently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from archfab.core import BuildError, Cost, UsageError, unknown
from archfab.hardware.chip.area import Area
from archfab.hardware.numbers import check
from archfab.silicon.aging.shifts import end_of_life_delay_ratio
from archfab.silicon.carbon.product import DAYS, die_carbon
from archfab.silicon.nodes import Node, interval, node
from archfab.silicon.yields.cost import DieCost, die_cost

FIGURES = ("good_die_yield", "die_cost_usd", "embodied_carbon_g", "carbon_g")
D0 = interval("d0_per_cm2")
LATE = "end_of_life_latency_ms"


@dataclass(frozen=True)
class Silicon:
    """The process and the use of a chip."""

    node_nm: float
    overhead_mm2: float             # pads, clocks, interfaces
    years: float
    kelvin: float
    duty: float                     # share of the time that a transistor is under stress
    alpha: float                    # how even defects lie (negative binomial yield); small is clustered
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
        """What a die of this size comes to that takes so long and so much energy for one inference."""
        made, least, most = (self._made(mm2, density) for mm2, density in
                             ((area.mm2, 1.0), (area.low, D0[0]), (area.high, D0[1])))
        figures = {"area_mm2": Cost(area.mm2, "analytic", area.low, area.high),
                   "good_die_yield": Cost(made.good_die_yield, "analytic", most.good_die_yield, least.good_die_yield),
                   "die_cost_usd": Cost(made.total_usd, "analytic", least.total_usd, most.total_usd)}
        carbon = die_carbon(
            area_mm2=area.mm2, node_nm=self.node_nm, yield_=made.good_die_yield, dies_per_wafer=made.dies_per_wafer,
            energy_mj=energy_mj.value, inferences=self.inferences_per_day * DAYS * self.years, pue=1.0,
            grid_g_kwh=self.grid_g_per_kwh, fab_g_kwh=self.fab_g_per_kwh, area_spread=spread(figures["area_mm2"]),
            yield_spread=spread(figures["good_die_yield"]), energy_spread=spread(energy_mj))
        figures.update(embodied_carbon_g=carbon["embodied_g"], carbon_g=carbon["carbon_g"])
        if latency_ms:
            figures[LATE] = self._late(latency_ms)
        return figures

    def _made(self, area_mm2: float, density: float) -> DieCost:
        """A die of this size at so many times the node's defects.

        :raises BuildError: where it does not fit on a wafer.
        """
        made = die_cost(area_mm2, self.node.wafer_usd, self.node.d0_per_cm2 * density, self.alpha)
        if not math.isfinite(made.total_usd):
            raise BuildError(f"no die of {area_mm2:.4g} mm2 fits on a wafer")
        return made

    def _late(self, latency_ms: Cost) -> Cost:
        """The latency at the clock that is left at the end of life, at the node's supply."""
        ratio, low, high = (float(found) for found in end_of_life_delay_ratio(
            self.node.vdd_v, self.node.vth_v, self.kelvin, self.duty, self.years))
        return Cost(latency_ms.value * ratio, "analytic", latency_ms.low * low, latency_ms.high * high)


def spread(figure: Cost) -> float:
    """Half of its interval, as a share of it."""
    return (figure.high - figure.low) / 2 / figure.value


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
        check(device, f"silicon.{name}", table[name])
    made = Silicon(**{name: float(table[name]["value"]) for name in legal})
    node(made.node_nm)
    if made.duty > 1:
        raise UsageError(f"device '{device}': silicon.duty is a share from 0 to 1, not {made.duty:g}")
    if not 200 <= made.kelvin <= 500:
        raise UsageError(f"device '{device}': silicon.kelvin is a temperature from 200 to 500 K, not "
                         f"{made.kelvin:g}"
                         + (f"; {made.kelvin:g} degrees Celsius are {made.kelvin + 273.15:g} K" if made.kelvin < 200
                            else ""))
    return made
