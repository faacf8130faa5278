"""Roofline: a kernel takes as long as its arithmetic or its memory traffic, whichever is longer, plus a launch.

t = max(work / (peak * utilisation), bytes / bandwidth) + overhead, summed over fused kernels (Williams, Waterman and
Patterson, CACM 2009), plus a start where a device has one. Utilisation is that of the kernel's kind, times
p / (p + s) for convolutions with p output positions where a device says at which number s of positions half the
utilisation is reached (`saturation`): small images leave lanes, tiles or whole cores idle. Where launches run ahead
of the kernels (`asynchronous`), the longer of both sums counts: launches, or kernels. Work is multiply-accumulates;
for kernels without any, the elements that they touch. Energy is power times time.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from archfab.core import Cost, Costs, Device, UsageError, unknown
from archfab.hardware.kernels import FOLDS_INTO, Kernel, fuse, kept
from archfab.hardware.memory.runtime import Runtime
from archfab.hardware.numbers import check, group
from archfab.hardware.workload import Workload

NUMBERS = ("peak_gmacs", "bandwidth_gb_s", "overhead_us", "power_w")
OPTIONAL = ("start_us",)
SATURABLE = ("conv", "pointwise", "depthwise")
PRICED_AS = {"fourier": "linear"}      # where a device has no utilisation of its own for a kind
KINDS = ("conv", "pointwise", "depthwise", "linear", "attention", "norm", "pool", "elementwise", "move")
UNCERTAIN = ("latency_ms", "energy_mj")
ERRORS = (*UNCERTAIN, "assumed")        # assumed: on top, for the time in kinds whose utilisation nobody measured
BIAS_BYTES = 4
QUICK = 10      # the memory planner's effort: orders are nearly always as good as with more (benchmarks/memory.py)
TABLES = ("utilisation", "error", "capacity", "saturation", "measured", "memory", "fusion")
SETTINGS = ("name", "about", "model", "path", "bits", "asynchronous")
RATES = ("peak_gmacs", "bandwidth_gb_s")       # [measured.peak_gmacs]: the fastest that anything was seen to run


class Roofline(Device):
    """A device as a few numbers, each with its source (see `devices/*.toml`)."""

    figures = ("latency_ms", "energy_mj", "memory_kb", "flash_kb", "macs", "params")

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self.name = numbers["name"]
        if extra := [key for key in numbers if key not in (*NUMBERS, *OPTIONAL, *TABLES, *SETTINGS)]:
            raise unknown("number or table", extra[0], [*NUMBERS, *OPTIONAL, *TABLES], f"(device '{self.name}')")
        self.about = numbers.get("about", "")
        self.bits = numbers.get("bits", 32)
        if self.bits not in (4, 8, 16, 32):
            raise UsageError(f"device '{self.name}': bits is 4, 8, 16 or 32, not {self.bits!r}")
        self.sources = {**{key: numbers.get(key, {}) for key in NUMBERS},
                        **{key: numbers[key] for key in OPTIONAL if key in numbers},
                        **group(self.name, numbers, "utilisation", (*KINDS, *PRICED_AS)),
                        **group(self.name, numbers, "error", ERRORS),
                        **group(self.name, numbers, "capacity", self.figures),
                        **group(self.name, numbers, "saturation", SATURABLE),
                        **group(self.name, numbers, "measured", RATES)}
        for key, entry in self.sources.items():
            check(self.name, key, entry, key in (*RATES, "power_w") or key.startswith("capacity."))
        check_peaks(self.name, numbers, self.sources)
        self._peak, self._bandwidth, self._overhead, self._power = (numbers[key]["value"] for key in NUMBERS)
        self._start = numbers["start_us"]["value"] if "start_us" in numbers else 0.0
        self._asynchronous = numbers.get("asynchronous", False)
        if not isinstance(self._asynchronous, bool):
            raise UsageError(f"device '{self.name}': asynchronous is true or false, not {self._asynchronous!r}")
        self.runtime = Runtime.of(numbers)
        self._utilisation = {key: entry["value"] for key, entry in numbers.get("utilisation", {}).items()}
        self._saturation = {key: entry["value"] for key, entry in numbers.get("saturation", {}).items()}
        self._assumed = {"unknown", *(PRICED_AS.keys() - self._utilisation.keys())}
        self._assumed |= {kind for kind in self._utilisation if numbers["utilisation"][kind]["origin"] == "analytic"}
        self.fusion = fusion_rules(self.name, numbers.get("fusion", FOLDS_INTO))
        self._error = numbers.get("error", {})
        self.capacity = {key: float(entry["value"]) for key, entry in numbers.get("capacity", {}).items()}
        if missing := [kind for kind in KINDS if kind not in self._utilisation]:
            raise UsageError(f"device '{self.name}' says no utilisation for {', '.join(missing)}")
        self._utilisation = {kind: self._utilisation[as_] for kind, as_ in PRICED_AS.items()} | self._utilisation
        if missing := [name for name in UNCERTAIN if name not in self._error]:
            raise UsageError(f"device '{self.name}' does not say how far its {missing[0]} can be off: "
                             f"add [error.{missing[0]}]")

    def cost(self, workload: Workload) -> Costs:
        kernels = fuse(workload, self.fusion)
        sizes = workload.sizes(self.bits)
        rows = self._rows(kernels, workload, sizes)
        memory = self.runtime.arena(kernels, workload, self.bits, QUICK) / 1024
        weights, biases = kept(kernels)
        flash = (sum(sizes[b] for b in weights) + biases * BIAS_BYTES) / 1024
        unknown = sorted({name for k in kernels if k.kind == "unknown" for name in k.names})
        return Costs({
            "latency_ms": self._figure("latency_ms", rows), "energy_mj": self._figure("energy_mj", rows),
            "memory_kb": Cost(memory, "analytic", memory, memory),
            "flash_kb": Cost(flash, "analytic", flash, flash),
            "macs": Cost.counted(workload.macs), "params": Cost.counted(workload.params)}, rows, unknown)

    def _rows(self, kernels: list[Kernel], workload: Workload, sizes: Sequence[float]) -> list[dict[str, Any]]:
        """One row for each kernel, and one for the start; their latencies add up to the network's."""
        times = [self._times(kernel, workload, sizes) for kernel in kernels]
        launch = self._overhead / 1e6
        launch_bound = self._asynchronous and launch * len(times) > sum(max(c, m) for c, m, _ in times)
        rows = []
        for kernel, (compute, move, traffic) in zip(kernels, times, strict=True):
            seconds = launch if launch_bound else max(compute, move) + (0.0 if self._asynchronous else launch)
            bound = "launch" if launch_bound else "compute" if compute >= move else "memory"
            rows.append(self._row("+".join(kernel.names), kernel.kind, kernel.detail, list(kernel.shape), kernel.macs,
                                  int(traffic), bound, seconds))
        if self._start:
            rows.append(self._row("start", "start", "", [], 0, 0, "launch", self._start / 1e6))
        return rows

    def _times(self, kernel: Kernel, workload: Workload, sizes: Sequence[float]) -> tuple[float, float, float]:
        """Seconds of arithmetic, seconds of memory traffic, and the bytes of that traffic."""
        touched = (*kernel.reads, *kernel.writes)
        elements = sum([workload.buffers[b].elements for b in touched])
        traffic = sum([sizes[b] for b in touched + kernel.weights]) + kernel.biases * BIAS_BYTES
        rate = self._peak * 1e9 * self._utilisation.get(kernel.kind, self._utilisation["move"])
        work = (kernel.macs or elements) * (1 + self._saturation.get(kernel.kind, 0.0) / positions(kernel))
        return work / rate, traffic / (self._bandwidth * 1e9), traffic

    def _row(self, operator: str, kind: str, detail: str, shape: list[int], macs: int, traffic: int, bound: str,
             seconds: float) -> dict[str, Any]:
        return {"operator": operator, "kind": kind, "detail": detail, "shape": shape, "macs": macs, "bytes": traffic,
                "bound": bound, "latency_ms": seconds * 1e3, "energy_mj": seconds * 1e3 * self._power}

    def _figure(self, name: str, rows: list[dict[str, Any]]) -> Cost:
        """The sum over the kernels; its interval is wider by the part that rests on assumed utilisations."""
        error, assumed = self._error[name], self._error.get("assumed", {"low": 1, "high": 1})
        guessed = sum(row[name] for row in rows if row["kind"] in self._assumed)
        value = sum(row[name] for row in rows)
        known = value - guessed
        return Cost(value, error["origin"], error["low"] * (known + guessed * assumed["low"]),
                    error["high"] * (known + guessed * assumed["high"]))


def positions(kernel: Kernel) -> float:
    """At how many places a convolution computes its channels: images times height times width."""
    return max(1.0, math.prod(kernel.shape) / max(1, kernel.shape[1])) if len(kernel.shape) > 1 else 1.0


def check_peaks(device: str, numbers: Mapping[str, Any], sources: Mapping[str, Any]) -> None:
    """What was measured is never above the peak: no utilisation above 1, no [measured] rate above its bound."""
    for key, entry in sources.items():
        if key.startswith("utilisation.") and not 0 < entry["value"] <= 1:
            advice = f"; if it was measured so, the peak of {numbers['peak_gmacs']['value']} GMAC/s is too low"
            raise UsageError(f"device '{device}': {key} is a share of the peak, above 0 and at most 1, not "
                             f"{entry['value']}{advice if entry['value'] else ''}")
        if key.startswith("measured.") and entry["value"] > (peak := numbers[key[9:]]["value"]):
            raise UsageError(f"device '{device}': its {key[9:]} of {peak} is below the {entry['value']} that was "
                             f"measured ({entry['source']}); one of the two is wrong")


def fusion_rules(name: str, entries: Any) -> Mapping[str, Collection[str]]:
    """Which kinds a device's runtime folds into the kernel before them: [fusion] norm = ["conv", ...]."""
    known = (*KINDS, *PRICED_AS)
    if not isinstance(entries, Mapping) or not all(isinstance(kinds, list | set) for kinds in entries.values()):
        raise UsageError(f"device '{name}': [fusion] says for a kind the list of kinds that it is folded into, such as "
                         'elementwise = ["conv", "linear"]')
    for kind in (*entries, *(kind for kinds in entries.values() for kind in kinds)):
        if kind not in known:
            raise unknown("kind of operator", str(kind), list(known), f"([fusion] of device '{name}')")
    return {kind: set(kinds) for kind, kinds in entries.items()}


export = Roofline
