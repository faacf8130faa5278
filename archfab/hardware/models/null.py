"""Counts multiply-accumulates and parameters; says nothing of time, energy or memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archfab.core import Cost, Costs, Device

if TYPE_CHECKING:
    from archfab.hardware.workload import Workload


class Null(Device):
    """The null member among the cost models."""

    figures = ("macs", "params")

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self.name = numbers["name"]
        self.about = numbers["about"]

    def cost(self, workload: Workload) -> Costs:
        return Costs({"macs": Cost.counted(workload.macs), "params": Cost.counted(workload.params)})


export = Null
