"""Microcontroller: int8 code generated for the network and run on a simulated Cortex-M, every instruction counted.

The outputs are compared bit for bit with the integer reference. Flash and RAM are those of the linker's map. Cycles are
the instructions of each class times what the device file says for the class; energy is power times time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archfab.core import Cost, Costs, Device, UsageError
from archfab.hardware.mcu.cycles import CLASSES, classes
from archfab.hardware.numbers import check, group

if TYPE_CHECKING:
    from archfab.hardware.int8.graph import Graph
    from archfab.hardware.mcu.cores import Core
    from archfab.hardware.mcu.running import Execution
    from archfab.hardware.workload import Workload

TIMES = ("latency_ms", "energy_mj")
COUNTS = ("memory_kb", "flash_kb", "instructions", "macs", "params")
KINDS = {"conv_2d": "conv", "depthwise_conv_2d": "depthwise", "fully_connected": "linear", "batch_matmul": "attention",
         "softmax": "attention", "average_pool_2d": "pool", "max_pool_2d": "pool", "mean": "pool",
         "reduce_max": "pool", "transpose": "move", "concatenation": "move", "pad": "move", "strided_slice": "move",
         "resize_nearest_neighbor": "move"}


class Mcu(Device):
    """A microcontroller as a core, a clock, and what instructions cost (see `devices/cortex-m4-simulated.toml`)."""

    slow = True

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        from archfab.hardware.mcu.cores import core_of
        self.name = numbers["name"]
        self.about = numbers.get("about", "")
        if "core" not in numbers:
            raise UsageError(f"device '{self.name}' does not say its core; add a line such as: core = \"cortex-m4\"")
        self.core = core_of(str(numbers["core"]))
        powered = "power_w" in numbers
        self.figures = (*TIMES[:2 if powered else 1], *COUNTS)
        self._seconds = float(self._plain(numbers, "simulation_seconds", 300))
        self.sources = {"clock_mhz": numbers.get("clock_mhz", {}),
                        **({"power_w": numbers["power_w"]} if powered else {}),
                        **group(self.name, numbers, "cycles", legal_classes(self.core)),
                        **group(self.name, numbers, "capacity", COUNTS[:2]),
                        **group(self.name, numbers, "error", TIMES)}
        if missing := [name for name in legal_classes(self.core) if f"cycles.{name}" not in self.sources]:
            raise UsageError(f"device '{self.name}' says no cycles for {', '.join(missing)}")
        for key, entry in self.sources.items():
            self._check(key, entry)
        if missing := [name for name in self.figures if name in TIMES and f"error.{name}" not in self.sources]:
            raise UsageError(f"device '{self.name}' does not say how far its {missing[0]} can be off: "
                             f"add [error.{missing[0]}]")
        self._clock = numbers["clock_mhz"]["value"] * 1e6
        self._power = numbers["power_w"]["value"] if powered else 0.0
        self._cycles = {name: entry["value"] for name, entry in numbers.get("cycles", {}).items()}
        self._error = numbers.get("error", {})
        self.capacity = {name: float(entry["value"]) for name, entry in numbers.get("capacity", {}).items()}

    def ready(self) -> None:
        from archfab.hardware.mcu.simulator import compiler
        from archfab.hardware.mcu.toolchain import PREFIX, tool
        for name in (PREFIX + "gcc", "qemu-system-arm"):
            tool(name)
        compiler()

    def cost(self, workload: Workload) -> Costs:
        """The costs of the workload's network; the first time it is compiled and simulated, which takes seconds.

        :raises BuildError: where it has no int8 form, no code, does not fit, or does not finish in time.
        """
        from archfab.hardware.int8.quantise import quantise
        if workload.network is None:
            raise UsageError(f"the device '{self.name}' runs networks, and this workload is none: record it from a "
                             "genotype, a torch module or an ONNX file")
        return self.cost_of(quantise(workload.network.onnx()), workload.macs, workload.params)

    def cost_of(self, graph: Graph, macs: int, params: int) -> Costs:
        """The costs of an integer network."""
        from archfab.hardware.mcu.cache import Cache
        from archfab.hardware.mcu.running import execute
        done = execute(graph, self.core, Cache(), room=self.capacity, seconds=self._seconds)
        rows = self._rows(graph, done)
        figures = {"memory_kb": Cost.counted(done.sizes.ram / 1024), "flash_kb": Cost.counted(done.sizes.flash / 1024),
                   "instructions": Cost.counted(done.instructions), "macs": Cost.counted(macs),
                   "params": Cost.counted(params)}
        return Costs({name: self._figure(name, rows) for name in self.figures if name in TIMES} | figures, rows)

    def _rows(self, graph: Graph, done: Execution) -> list[dict[str, Any]]:
        """One row for each operator that has code."""
        from archfab.hardware.int8.graph import macs_of
        rows = []
        for number, histogram in zip(done.nodes, done.histograms, strict=True):
            node = graph.nodes[number]
            read, out = [graph.tensors[i] for i in node.inputs], graph.tensors[node.outputs[0]]
            cycles = sum(times * self._cycles[name] for name, times in classes(histogram).items())
            row = {"operator": node.op, "kind": kind_of(graph, number), "detail": detail_of(graph, number),
                   "shape": list(out.shape), "macs": macs_of(graph, node),
                   "bytes": sum(x.elements * (4 if x.dtype == "int32" else 1) for x in (*read, out)),
                   "instructions": sum(histogram.values()), "cycles": cycles,
                   "latency_ms": cycles / self._clock * 1e3}
            rows.append(row | ({"energy_mj": row["latency_ms"] * self._power} if self._power else {}))
        return rows

    def _figure(self, name: str, rows: list[dict[str, Any]]) -> Cost:
        """The sum over the operators, and how far off it can be."""
        error, value = self._error[name], sum(row[name] for row in rows)
        return Cost(value, error["origin"], error["low"] * value, error["high"] * value)

    def _plain(self, numbers: Mapping[str, Any], key: str, default: float) -> float:
        value = numbers.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UsageError(f"device '{self.name}': {key} is a number above 0, not {value!r}")
        return value

    def _check(self, key: str, entry: Any) -> None:
        """Every number says its unit, origin and source, and is possible."""
        check(self.name, key, entry, positive=True)
        unit = "MHz" if key == "clock_mhz" else "cycles" if key.startswith("cycles.") else entry.get("unit")
        if entry.get("unit") != unit:
            raise UsageError(f"device '{self.name}': {key} is to be in {unit}: "
                             f"unit = \"{unit}\", not {entry.get('unit')!r}")


def legal_classes(core: Core) -> tuple[str, ...]:
    """The classes of instructions that a core has."""
    return tuple(name for name in CLASSES if core.kernels == "mve" or not name.startswith("vector"))


def kind_of(graph: Graph, number: int) -> str:
    """What other cost models call such an operator."""
    node = graph.nodes[number]
    if node.op == "conv_2d" and graph.tensors[node.inputs[1]].shape[1:3] == (1, 1):
        return "pointwise"
    return KINDS.get(node.op, "elementwise")


def detail_of(graph: Graph, number: int) -> str:
    """Kernel and stride, where there are any."""
    node = graph.nodes[number]
    if node.op in ("conv_2d", "depthwise_conv_2d"):
        kernel = graph.tensors[node.inputs[1]].shape[1:3]
        groups = graph.tensors[node.inputs[0]].shape[-1] // graph.tensors[node.inputs[1]].shape[3]
        many = f" groups {groups}" if node.op == "conv_2d" and groups > 1 else ""
    elif node.op in ("average_pool_2d", "max_pool_2d"):
        kernel, many = tuple(node.options["kernel"]), ""
    else:
        return ""
    return f"{kernel[0]}x{kernel[1]}/{node.options['stride'][0]}{many}"


export = Mcu
