"""How a device's runtime plans memory, as its file says: the table [memory]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from archfab.core import UsageError
from archfab.hardware.kernels import Kernel
from archfab.hardware.memory.graph import Graph
from archfab.hardware.memory.kernels import graph_of
from archfab.hardware.memory.orders import EFFORT
from archfab.hardware.memory.planning import Plan, arena_of, plan
from archfab.hardware.workload import Workload


@dataclass(frozen=True)
class Runtime:
    """What a runtime does; what a device file does not say is what our own planner does."""

    reorders: bool = True           # runs kernels in the order with the least peak, not in the network's own
    in_place: bool = True           # an elementwise kernel writes over an input that nobody needs afterwards
    keeps_input: bool = False       # the network's inputs are left as they are
    alignment: int = 1              # every buffer begins at a multiple of so many bytes

    @classmethod
    def of(cls, numbers: Mapping[str, Any]) -> Runtime:
        """From a device file.

        :raises UsageError: for an option that does not exist or of another type.
        """
        said = numbers.get("memory", {})
        legal: dict[str, type] = {item.name: type(item.default) for item in fields(cls)}
        given: list[tuple[str, Any]] = [*said.items()] if isinstance(said, Mapping) else [("", said)]
        for key, value in given:
            if key not in legal:
                raise UsageError(f"device '{numbers['name']}': [memory] is a table of {', '.join(legal)}; it says "
                                 f"{f'{key} = ' if key else ''}{value!r}")
            if type(value) is not legal[key] or (isinstance(value, int) and key == "alignment" and value < 1):
                asked = "a whole number from 1 up" if key == "alignment" else "true or false"
                raise UsageError(f"device '{numbers['name']}': memory.{key} is {asked}, not {value!r}")
        return cls(**said)

    def plan(self, kernels: Sequence[Kernel], workload: Workload, bits: int, effort: int = EFFORT) -> Plan:
        """The plan of a network's activations, stored in so many bits each."""
        return self.plan_graph(graph_of(kernels, workload, bits, self.keeps_input), effort)

    def arena(self, kernels: Sequence[Kernel], workload: Workload, bits: int, effort: int = EFFORT) -> int:
        """The bytes of that plan."""
        return arena_of(graph_of(kernels, workload, bits, self.keeps_input, names=False), self.reorders, self.in_place,
                        self.alignment, effort)

    def plan_graph(self, graph: Graph, effort: int = EFFORT) -> Plan:
        return plan(graph, self.reorders, self.in_place, self.alignment, effort)
