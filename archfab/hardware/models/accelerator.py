"""A spatial array with a memory hierarchy: the best mapping of each layer, its cycles and energy (`hardware/mapping`).

The array and its memories stand in ZigZag's terms, in the device file's table `architecture` or in a YAML file that
`architecture` names. Where the file says no clock there are cycles and no latency. Figures are analytic; their
interval is what the two published ways of counting accesses and stalls (ZigZag's, Timeloop's) say of the same
mappings; how right the description's own numbers are it cannot say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from archfab.core import Cost, Costs, Device, UsageError
from archfab.hardware.kernels import fuse
from archfab.hardware.mapping import zigzag
from archfab.hardware.mapping.architecture import RULES, Architecture
from archfab.hardware.mapping.evaluate import Evaluation, evaluate_all
from archfab.hardware.mapping.network import Step, run
from archfab.hardware.mapping.search import OBJECTIVES
from archfab.hardware.memory.runtime import Runtime
from archfab.hardware.workload import Workload

KEYS = ("name", "path", "about", "model", "architecture", "objective", "bits", "partial_bits", "clock_mhz")
ORIGINS = ("measured", "calibrated", "simulated", "analytic")


class Accelerator(Device):
    """An array that maps each layer for the least energy, latency, or product of both (`objective`)."""

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self.name, self.about = numbers["name"], numbers.get("about", "")
        if stray := [key for key in numbers if key not in KEYS]:
            raise UsageError(f"device '{self.name}': there is no {stray[0]}; legal: {', '.join(KEYS)}")
        self.architecture = architecture_of(numbers)
        self.objective = numbers.get("objective", "edp")
        if self.objective not in OBJECTIVES:
            raise UsageError(f"device '{self.name}': objective is one of {', '.join(OBJECTIVES)}, not "
                             f"{self.objective!r}")
        bits, partial = (whole(self.name, key, numbers.get(key, default)) for key, default in
                         (("bits", 8), ("partial_bits", 16)))
        self.bits, self.partial_bits = bits, partial
        self.clock = clock(self.name, numbers["clock_mhz"]) if "clock_mhz" in numbers else None
        self.sources = sources(numbers)
        self.figures = ("cycles", *(("latency_ms",) if self.clock else ()), "energy_mj", "memory_kb", "utilisation",
                        *(("area_mm2",) if self.architecture.area is not None else ()), "macs", "params")

    def cost(self, workload: Workload) -> Costs:
        kernels = fuse(workload)
        steps, unknown = run(kernels, workload, self.architecture, self.objective,
                             (self.bits, self.bits, self.bits, self.partial_bits))
        cycles, energy = sum(step.cycles for step in steps), sum(step.energy for step in steps)
        others = [self._counted_as(rules, steps) for rules in RULES]
        figures = {"cycles": around(cycles, [found for found, _ in others]),
                   "energy_mj": around(energy / 1e9, [found / 1e9 for _, found in others])}
        if self.clock:
            figures["latency_ms"] = around(cycles / self.clock / 1e3, [found / self.clock / 1e3 for found, _ in others])
        memory = Runtime().arena(kernels, workload, self.bits) / 1024
        figures["memory_kb"] = Cost(memory, "analytic", memory, memory)
        macs = sum(layer.macs for step in steps for layer, *_ in step.mapped)
        figures["utilisation"] = around(macs / max(1.0, cycles) / self.architecture.units,
                                        [macs / max(1.0, found) / self.architecture.units for found, _ in others])
        if (area := self.architecture.area) is not None:
            figures["area_mm2"] = Cost(area, "analytic", area, area)
        figures.update(macs=Cost.counted(workload.macs), params=Cost.counted(workload.params))
        return Costs(figures, [self._row(step) for step in steps], unknown)

    def _counted_as(self, rules: str, steps: Sequence[Step]) -> tuple[float, float]:
        """Cycles and pJ of the same mappings, counted by other rules."""
        mapped = [each for step in steps for each in step.mapped]
        others = evaluate_all([each[:2] for each in mapped], replace(self.architecture, rules=RULES[rules]))
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
    """The table `architecture`, or the YAML file that it names: a path beside the device's file."""
    given, name = numbers.get("architecture"), numbers["name"]
    if isinstance(given, Mapping):
        return zigzag.from_plain({"name": name, **given}, f"device '{name}': architecture")
    if isinstance(given, str) and given.endswith((".yaml", ".yml")):
        return zigzag.read(Path(numbers.get("path", ".")).parent / given)
    raise UsageError(f"device '{name}' has no architecture: a table in ZigZag's terms, or the name of a .yaml file "
                     "beside the device's")


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
    if isinstance(given, Mapping):
        array = given.get("operational_array", {})
        found.update({f"memories.{name}": {key: table[key] for key in ("source", "origin") if key in table}
                      for name, table in given.get("memories", {}).items()},
                     operational_array={key: array[key] for key in ("source", "origin") if key in array})
    return found


export = Accelerator
