"""Roofline: a kernel takes as long as its arithmetic or its memory traffic, whichever is longer, plus a launch.

t = max(work / (peak * utilisation of its kind), bytes / bandwidth) + overhead, summed over fused kernels
(Williams, Waterman and Patterson, CACM 2009). Work is multiply-accumulates; for kernels without any, the
elements that they touch. Energy is power times time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archfab.core import Cost, Costs, Device, UsageError
from archfab.hardware.kernels import Kernel, fuse
from archfab.hardware.memory import peak_elements
from archfab.hardware.workload import Workload

NUMBERS = ("peak_gmacs", "bandwidth_gb_s", "overhead_us", "power_w")
KINDS = ("conv", "pointwise", "depthwise", "linear", "attention", "norm", "pool", "elementwise", "move")
BIAS_BYTES = 4
ORIGINS = ("measured", "calibrated", "simulated", "analytic")


class Roofline(Device):
    """A device as a few numbers, each with its source (see `devices/*.toml`)."""

    figures = ("latency_ms", "energy_mj", "memory_kb", "flash_kb", "macs", "params")

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self.name = numbers["name"]
        self.about = numbers.get("about", "")
        self.bits = numbers.get("bits", 32)
        if self.bits not in (4, 8, 16, 32):
            raise UsageError(f"device '{self.name}': bits is 4, 8, 16 or 32, not {self.bits!r}")
        self.sources = {**{key: numbers.get(key, {}) for key in NUMBERS},
                        **{f"utilisation.{key}": value for key, value in numbers.get("utilisation", {}).items()},
                        **{f"capacity.{key}": value for key, value in numbers.get("capacity", {}).items()},
                        **{f"error.{key}": value for key, value in numbers.get("error", {}).items()}}
        for key, entry in self.sources.items():
            self._check(key, entry)
        self._peak, self._bandwidth, self._overhead, self._power = (numbers[key]["value"] for key in NUMBERS)
        self._utilisation = {key: entry["value"] for key, entry in numbers.get("utilisation", {}).items()}
        self._error = numbers.get("error", {})
        self.capacity = {key: float(entry["value"]) for key, entry in numbers.get("capacity", {}).items()}
        if missing := [kind for kind in KINDS if kind not in self._utilisation]:
            raise UsageError(f"device '{self.name}' says no utilisation for {', '.join(missing)}")

    def cost(self, workload: Workload) -> Costs:
        kernels = fuse(workload)
        rows = [self._row(kernel, workload) for kernel in kernels]
        sizes = [buffer.elements for buffer in workload.buffers]
        latency = sum(row["latency_ms"] for row in rows)
        memory = peak_elements(kernels, sizes, workload.inputs, workload.outputs) * self.bits / 8 / 1024
        flash = sum(k.weights * self.bits / 8 + k.biases * BIAS_BYTES for k in kernels) / 1024
        unknown = sorted({name for k in kernels if k.kind == "unknown" for name in k.names})
        return Costs({
            "latency_ms": self._figure("latency_ms", latency),
            "energy_mj": self._figure("energy_mj", latency * self._power),
            "memory_kb": Cost(memory, "analytic", memory, memory),
            "flash_kb": Cost(flash, "analytic", flash, flash),
            "macs": Cost.counted(workload.macs), "params": Cost.counted(workload.params)}, rows, unknown)

    def _row(self, kernel: Kernel, workload: Workload) -> dict[str, Any]:
        elements = sum(workload.buffers[b].elements for b in {*kernel.reads, *kernel.writes})
        traffic = (elements + kernel.weights) * self.bits / 8 + kernel.biases * BIAS_BYTES
        rate = self._peak * 1e9 * self._utilisation.get(kernel.kind, self._utilisation["move"])
        compute, move = (kernel.macs or elements) / rate, traffic / (self._bandwidth * 1e9)
        seconds = max(compute, move) + self._overhead / 1e6
        return {"operator": "+".join(kernel.names), "kind": kernel.kind, "detail": kernel.detail,
                "shape": list(kernel.shape), "macs": kernel.macs, "bytes": int(traffic),
                "bound": "compute" if compute >= move else "memory", "latency_ms": seconds * 1e3,
                "energy_mj": seconds * 1e3 * self._power}

    def _figure(self, name: str, value: float) -> Cost:
        error = self._error.get(name)
        if not error:
            raise UsageError(f"device '{self.name}' does not say how far its {name} can be off: add [error.{name}]")
        return Cost(value, error["origin"], value * error["low"], value * error["high"])

    def _check(self, key: str, entry: Any) -> None:
        """Every number says its origin and source, and is possible."""
        if not isinstance(entry, Mapping) or not {"source", "origin"} <= set(entry):
            raise UsageError(f"device '{self.name}': {key} needs a value, an origin and a source")
        if entry["origin"] not in ORIGINS:
            raise UsageError(f"device '{self.name}': {key} has the origin '{entry['origin']}'; "
                             f"legal: {', '.join(ORIGINS)}")
        values = [entry.get(field) for field in (("low", "high") if key.startswith("error.") else ("value",))]
        if not all(isinstance(value, int | float) and value >= 0 for value in values):
            raise UsageError(f"device '{self.name}': {key} is no number from 0 up")
        if key.startswith("utilisation.") and not 0 < entry["value"] <= 1:
            raise UsageError(f"device '{self.name}': {key} is a share above 0 and at most 1, not {entry['value']}")
        if key in ("peak_gmacs", "bandwidth_gb_s", "power_w") and entry["value"] <= 0:
            raise UsageError(f"device '{self.name}': {key} must be above 0")


export = Roofline
