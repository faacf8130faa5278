"""What a chip's silicon comes to: how many dies are good, what one costs, how slow it gets, what it emits.

The table `silicon` of a device file says the process node and how the product is used; everything else is of the node
(`silicon/nodes.toml`). Bounds are those of area, defect density, energy and ageing, all taken at their worst or best
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from archfab.core import Cost, UsageError, unknown
from archfab.hardware.chip.area import Area
from archfab.hardware.numbers import check
from archfab.silicon.nodes import Node, node

FIGURES = ()
LATE = "area_mm2"


@dataclass(frozen=True)
class Silicon:
    """The process and the use of a chip."""

    node_nm: float
    overhead_mm2: float             # pads, clocks, interfaces
    years: float
    kelvin: float
    duty: float                     # share of the time that a transistor is under stress
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
        return {"area_mm2": Cost(area.mm2, "analytic", area.low, area.high)}


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
