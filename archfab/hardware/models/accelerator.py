"""A spatial array with a memory hierarchy: the best mapping of each layer, its cycles and energy (`hardware/mapping`).

The array and its memories stand in ZigZag's terms, in the device file's table `architecture` or in a YAML file that
`architecture` names. Where the file says no clock there are cycles and no latency. Figures are analytic; their
interval is what the two published ways of counting accesses and stalls (ZigZag's, Timeloop's) say of the same
mappings; how right the description's own numbers are it cannot say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from archfab import registry
from archfab.core import BuildError, Cost, Costs, Device, Label, UsageError
from archfab.hardware.chip import decisions, silicon
from archfab.hardware.chip.area import Area, floorplan, total, width_factor
from archfab.hardware.kernels import Kernel, fuse, operand_bits
from archfab.hardware.mapping import zigzag
from archfab.hardware.mapping.architecture import RULES, Architecture
from archfab.hardware.mapping.evaluate import Evaluation, evaluate_all
from archfab.hardware.mapping.network import Step, run
from archfab.hardware.mapping.search import OBJECTIVES
from archfab.hardware.memory.runtime import Runtime
from archfab.hardware.workload import Workload
from archfab.silicon.nodes import interval

KEYS = ("name", "path", "about", "model", "architecture", "objective", "bits", "partial_bits", "multipliers",
        "clock_mhz", "silicon", "decisions")
ORIGINS = ("measured", "calibrated", "simulated", "analytic")


class Accelerator(Device):
    """An array that maps each layer for the least energy, latency, or product of both (`objective`). With a table
    `silicon` it is a chip with a die's cost; with a table `decisions` it is a family of chips."""

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self.name, self.about = numbers["name"], numbers.get("about", "")
        if stray := [key for key in numbers if key not in KEYS]:
            raise UsageError(f"device '{self.name}': there is no {stray[0]}; legal: {', '.join(KEYS)}")
        self.architecture = architecture_of(numbers)
        self.objective = one_of(numbers, "objective", OBJECTIVES, "edp")
        self.multipliers = one_of(numbers, "multipliers", ("fixed", "network"), "fixed")
        bits, partial = (whole(self.name, key, numbers.get(key, default)) for key, default in
                         (("bits", 8), ("partial_bits", 16)))
        self.bits, self.partial_bits = bits, partial
        self.clock = clock(self.name, numbers["clock_mhz"]) if "clock_mhz" in numbers else None
        self.silicon = silicon.read(self.name, numbers["silicon"]) if "silicon" in numbers else None
        if "decisions" in numbers:
            self.decisions = decisions.read(self.name, numbers["decisions"], self.architecture, bool(self.silicon))
        self.labels: Mapping[str, Any] = {}
        self.doubt = (1.0, 1.0)     # factors around energies on the chip, where another node's were taken
        self.resized: Mapping[str, tuple[float, float]] = {}        # around those of memories of another size
        self.sources = sources(numbers)
        if self.silicon:
            nodes = [self.silicon.node_nm, *(float(str(nm)) for nm in self.decisions.get("node_nm", ()))]
            self.sources |= silicon.sources(numbers["silicon"], list(dict.fromkeys(nodes)))
        self.figures = ("cycles", *(("latency_ms",) if self.clock else ()), "energy_mj", "memory_kb", "utilisation",
                        *(("area_mm2",) if self.silicon or self.architecture.area is not None else ()),
                        *(silicon.FIGURES if self.silicon else ()),
                        *((silicon.LATE,) if self.silicon and self.clock else ()), "macs", "params")

    def decided(self, labels: Mapping[str, Label]) -> Accelerator:
        """The chip that these decisions make; what is not decided stays as the file's architecture has it."""
        if not labels:
            return self
        if not self.decisions:
            super().decided(labels)
        decisions.check(self.name, labels, self.decisions)
        made = copy(self)
        made.labels = dict(labels)
        made.architecture = decisions.decided(self.architecture, labels)
        made.resized = decisions.doubts(self.architecture, made.architecture)
        if self.silicon:
            made.silicon = self.silicon.at(made.labels.get("node_nm"))
            shrunk = made.silicon.node.switching_energy / self.silicon.node.switching_energy
            made.architecture = decisions.scaled(made.architecture, shrunk, shrunk)
            made.doubt = interval("switching_energy") if shrunk != 1 else (1.0, 1.0)
            made.sources = {**self.sources, **silicon.of_node([made.silicon.node_nm])}
        return made

    def cost(self, workload: Workload) -> Costs:
        kernels = fuse(workload)
        width = self._width(kernels, workload)
        unit = width_factor(width) / width_factor((self.bits, self.bits))
        architecture = decisions.scaled(self.architecture, 1.0, unit)
        steps, unknown = run(kernels, workload, architecture, self.objective,
                             (self.bits, self.bits, self.bits, self.partial_bits))
        cycles, energy = sum(step.cycles for step in steps), sum(step.energy for step in steps)
        others = [self._counted_as(rules, steps, architecture) for rules in RULES]
        mapped = [cost for step in steps for *_, cost in step.mapped]
        levels, outermost = [cost.by_level() for cost in mapped], architecture.memories[-1].name
        inside = sum(cost.energy - each[outermost] for cost, each in zip(mapped, levels, strict=True))
        least, most = (inside * (self.doubt[i] - 1) + sum(each[name] * (factors[i] - 1) for each in levels
                       for name, factors in self.resized.items()) for i in (0, 1))
        figures = {"cycles": around(cycles, [found for found, _ in others]),
                   "energy_mj": around(energy / 1e9, [(found + more) / 1e9 for _, found in others
                                                      for more in (least, most)])}
        if self.clock:
            figures["latency_ms"] = around(cycles / self.clock / 1e3, [found / self.clock / 1e3 for found, _ in others])
        memory = Runtime().arena(kernels, workload, self.bits) / 1024
        figures["memory_kb"] = Cost(memory, "analytic", memory, memory)
        macs = sum(layer.macs for step in steps for layer, *_ in step.mapped)
        figures["utilisation"] = around(macs / max(1.0, cycles) / self.architecture.units,
                                        [macs / max(1.0, found) / self.architecture.units for found, _ in others])
        plan = self.floorplan(width)
        if self.silicon:
            figures.update(self.silicon.figures(total(plan), figures.get("latency_ms"), figures["energy_mj"]))
        elif (area := self.architecture.area) is not None:
            figures["area_mm2"] = Cost(area, "analytic", area, area)
        figures.update(macs=Cost.counted(workload.macs), params=Cost.counted(workload.params))
        return Costs(figures, [self._row(step) for step in steps], unknown, self._notes(width, plan))

    def floorplan(self, width: tuple[int, int]) -> list[Area]:
        """The parts of the chip with multipliers of this width; empty where its process is not known."""
        return floorplan(self.architecture, self.silicon.node, width, self.silicon.overhead_mm2) if self.silicon else []

    def _notes(self, width: tuple[int, int], plan: Sequence[Area]) -> dict[str, Any]:
        """The chip that the costs are of, in words."""
        if not self.silicon:
            return {}
        array = " x ".join(str(size) for _, size in self.architecture.array)
        return {"die": f"{self.silicon.node.name} nm, {array} multipliers of {width[0]} x {width[1]} bits: "
                + ", ".join(f"{part.part} {part.mm2:.3g}" for part in plan) + " mm2"}

    def _width(self, kernels: Sequence[Kernel], workload: Workload) -> tuple[int, int]:
        """Bits of the multipliers' operands: the device's, or of the widest that the network has."""
        found = [operand_bits(kernel, workload.buffers, (self.bits, self.bits, self.bits))[:2] for kernel in kernels
                 if kernel.loops]
        widest = max((one for one, _ in found), default=self.bits), max((two for _, two in found), default=self.bits)
        if self.multipliers == "network":
            return widest
        if max(widest) > self.bits:
            raise BuildError(f"the network has operands of {max(widest)} bits, and the multipliers of {self.name} take "
                             f"{self.bits}")
        return self.bits, self.bits

    def _counted_as(self, rules: str, steps: Sequence[Step], architecture: Architecture) -> tuple[float, float]:
        """Cycles and pJ of the same mappings, counted by other rules."""
        mapped = [each for step in steps for each in step.mapped]
        others = evaluate_all([each[:2] for each in mapped], replace(architecture, rules=RULES[rules]))
        pairs = [(new, old) for (*_, old), new in zip(mapped, others, strict=True)]
        return (sum(step.cycles for step in steps) + sum(new.cycles - old.cycles for new, old in pairs),
                sum(step.energy for step in steps) + sum(new.energy - old.energy for new, old in pairs))

    def _row(self, step: Step) -> dict[str, Any]:
        kernel, costs = step.kernel, [cost for *_, cost in step.mapped]
        levels = self._levels(step, costs)
        outermost = self.architecture.memories[-1].name
        moved = (step.passing + sum(cost.outermost for cost in costs)) / 8
        return {"operator": "+".join(kernel.names), "kind": kernel.kind, "detail": kernel.detail,
               "shape": list(kernel.shape), "macs": kernel.macs, "bytes": int(moved), "cycles": step.cycles,
               **({"latency_ms": step.cycles / self.clock / 1e3} if self.clock else {}),
               "energy_mj": step.energy / 1e9, "energy_by_level_mj": levels,
               "utilisation": sum(cost.macs for cost in costs) / max(1.0, step.cycles) / self.architecture.units,
               "mapping": "\n".join(nest.text(self.architecture) for _, nest, _ in step.mapped)
               or f"past the array, through {outermost}",
               "nests": [nest.plain(self.architecture) for _, nest, _ in step.mapped]}

    def _levels(self, step: Step, costs: Sequence[Evaluation]) -> dict[str, dict[str, float]]:
        """mJ by memory and operand; of the arithmetic; of what goes past the array."""
        found: dict[str, dict[str, float]] = {}
        for cost in costs:
            found.setdefault("mac", {}).setdefault("mac", 0.0)
            found["mac"]["mac"] += cost.arithmetic / 1e9
            leaked = [(name, (("leakage", value),)) for name, value in cost.leakage if value]
            for name, operands in (*cost.accesses, *leaked):
                for operand, value in operands:
                    level = found.setdefault(name, {})
                    level[operand] = level.get(operand, 0.0) + value / 1e9
        rest = step.energy / 1e9 - sum(cost.energy for cost in costs) / 1e9
        if step.passing:
            found.setdefault(self.architecture.memories[-1].name, {})["past the array"] = rest
        return found


def around(value: float, others: Sequence[float]) -> Cost:
    """An analytic figure between the least and the most that any way of counting says."""
    return Cost(value, "analytic", min(value, *others), max(value, *others))


def architecture_of(numbers: Mapping[str, Any]) -> Architecture:
    """The table `architecture`, or what it names: a YAML file beside the device's file, or another device's array."""
    given, name = numbers.get("architecture"), numbers["name"]
    if isinstance(given, Mapping):
        return zigzag.from_plain({"name": name, **given}, f"device '{name}': architecture")
    if isinstance(given, str) and given.endswith((".yaml", ".yml")):
        return zigzag.read(Path(numbers.get("path", ".")).parent / given)
    if given in registry.names("devices") and "architecture" in (other := registry.load("devices", str(given))):
        return architecture_of(other)
    raise UsageError(f"device '{name}' has no architecture: a table in ZigZag's terms, the name of a .yaml file "
                     "beside the device's, or of a device that has such a table")


def one_of(numbers: Mapping[str, Any], key: str, legal: Sequence[str], default: str) -> str:
    value = numbers.get(key, default)
    if value not in legal:
        raise UsageError(f"device '{numbers['name']}': {key} is one of {', '.join(legal)}, not {value!r}")
    return str(value)


def clock(name: str, entry: Any) -> float:
    if not isinstance(entry, Mapping) or not {"value", "unit", "source", "origin"} <= set(entry):
        raise UsageError(f"device '{name}': clock_mhz needs a value, a unit, an origin and a source")
    if entry["unit"] != "MHz":
        raise UsageError(f"device '{name}': clock_mhz is in MHz, not in {entry['unit']}")
    if entry["origin"] not in ORIGINS:
        raise UsageError(f"device '{name}': clock_mhz has the origin '{entry['origin']}'; legal: {', '.join(ORIGINS)}")
    value = entry["value"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UsageError(f"device '{name}': clock_mhz takes a number above 0, not {value!r}")
    return float(value)


def whole(name: str, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 64:
        raise UsageError(f"device '{name}': {key} takes a whole number from 1 to 64, not {value!r}")
    return value


def sources(numbers: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Where the numbers come from, by the part of the description that they belong to."""
    found = {"clock_mhz": numbers["clock_mhz"]} if "clock_mhz" in numbers else {}
    given = numbers.get("architecture")
    if isinstance(given, str) and not given.endswith((".yaml", ".yml")):        # another device's array
        return {**sources(registry.load("devices", given)), **found}
    if isinstance(given, Mapping):
        array = given.get("operational_array", {})
        found.update({f"memories.{name}": {key: table[key] for key in ("source", "origin") if key in table}
                      for name, table in given.get("memories", {}).items()},
                     operational_array={key: array[key] for key in ("source", "origin") if key in array})
    return found


export = Accelerator
