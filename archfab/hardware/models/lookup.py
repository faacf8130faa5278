"""Tables of kernels, measured on the device or read from a file: a network takes the sum of what its kernels take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfab.core import Cost, Costs, Device, UsageError, unknown
from archfab.hardware.kernels import fuse

if TYPE_CHECKING:
    from archfab.hardware.kernels import Kernel
    from archfab.hardware.measuring.interpolation import Interpolation
    from archfab.hardware.measuring.table import Table
    from archfab.hardware.workload import Workload

ORIGINS = ("measured", "calibrated", "simulated", "analytic")
KNOWN = ("name", "about", "model", "path", "table", "interpolate", "start_ms", "scale", "error")


class Lookup(Device):
    """Adds up a table's entries. Where one is missing there is no latency at all, unless the file asks to interpolate.

    A table is a CSV file (see `measuring/table.py`), named beside the TOML file that describes the device:
    `[table] file, origin, source`, `[error.latency_ms] low, high, origin, source` (the ratio of whole networks to what
    is said of them), `[start_ms] value, origin, source` (what a run takes beside its kernels), `[scale] value, origin,
    source` (by which all of it is multiplied: kernels take longer among others than alone), `interpolate = true`.
    """

    figures = ("latency_ms", "macs", "params")

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self.name, self.about = numbers["name"], numbers.get("about", "")
        for key in numbers:
            if key not in KNOWN:
                raise unknown(f"setting of the device '{self.name}'", key, KNOWN[4:])
        self.file = Path(numbers.get("path", "")).parent / self._told("table", numbers.get("table"), "file")["file"]
        error = numbers.get("error", {})
        self.error = self._told("error.latency_ms", error.get("latency_ms") if isinstance(error, Mapping) else None,
                                "low", "high")
        if not 0 < self.error["low"] <= 1 <= self.error["high"] < math.inf:
            raise UsageError(f"device '{self.name}': error.latency_ms are factors around 1, low to high, not "
                             f"{self.error['low']} to {self.error['high']}")
        self.start, self.scale = (numbers.get(key) and self._told(key, numbers[key], "value")
                                  for key in ("start_ms", "scale"))
        if self.start and not 0 <= self.start["value"] < math.inf:
            raise UsageError(f"device '{self.name}': start_ms is a number from 0 up, not {self.start['value']}")
        if self.scale and not 0 < self.scale["value"] < math.inf:
            raise UsageError(f"device '{self.name}': scale is a number above 0, not {self.scale['value']}")
        if not isinstance(numbers.get("interpolate", False), bool):
            raise UsageError(f"device '{self.name}': interpolate is true or false, not {numbers['interpolate']!r}")
        self.interpolate = numbers.get("interpolate", False)
        self.sources = {"table": numbers["table"], "error.latency_ms": self.error,
                        **({"start_ms": self.start} if self.start else {}),
                        **({"scale": self.scale} if self.scale else {})}

    @cached_property
    def table(self) -> Table:
        from archfab.hardware.measuring.table import read_table
        return read_table(self.file)

    @cached_property
    def between(self) -> Interpolation:
        from archfab.hardware.measuring.interpolation import Interpolation
        return Interpolation(self.table)

    def cost(self, workload: Workload) -> Costs:
        from archfab.hardware.measuring.table import key_of
        kernels = fuse(workload)
        keys = [key_of(kernel, workload) for kernel in kernels]
        rows, lacking = [], []
        for at, entry, value in self.table.match(keys):
            row = described(kernels[at:at + len(entry)], workload)
            if value is not None:
                rows.append({**row, "entry": "listed", "latency_ms": value, "low_ms": value, "high_ms": value})
            elif self.interpolate and (found := self.between.of(keys[at])):
                rows.append({**row, "entry": "interpolated", "latency_ms": found.value, "low_ms": found.low,
                             "high_ms": found.high})
            else:
                lacking.append(str(keys[at]))
        if self.start:
            rows.append({**EMPTY, "operator": "start", "kind": "start", "entry": "listed",
                         **dict.fromkeys(TIMES, self.start["value"])})
        scale = self.scale["value"] if self.scale else 1.0
        rows = [{**row, **{name: row[name] * scale for name in TIMES}} for row in rows]
        figures = {} if lacking else {"latency_ms": self._sum(rows)}
        return Costs({**figures, "macs": Cost.counted(workload.macs), "params": Cost.counted(workload.params)}, rows,
                     list(dict.fromkeys(lacking)))

    def _sum(self, rows: list[dict[str, Any]]) -> Cost:
        low, value, high = (sum(row[name] for row in rows) for name in ("low_ms", "latency_ms", "high_ms"))
        return Cost(value, self.error["origin"], low * self.error["low"], high * self.error["high"])

    def _told(self, key: str, entry: Any, *values: str) -> dict[str, Any]:
        """A table of the TOML file, with where it comes from."""
        if not isinstance(entry, Mapping) or not {"origin", "source", *values} <= set(entry):
            raise UsageError(f"device '{self.name}': [{key}] needs {', '.join((*values, 'origin'))} and source")
        if entry["origin"] not in ORIGINS:
            raise UsageError(f"device '{self.name}': {key} has the origin '{entry['origin']}'; "
                             f"legal: {', '.join(ORIGINS)}")
        wanted = str if key == "table" else (int, float)
        if wrong := [each for each in values if not isinstance(entry[each], wanted) or isinstance(entry[each], bool)]:
            raise UsageError(f"device '{self.name}': {key}.{wrong[0]} is {'a text' if wanted is str else 'a number'}, "
                             f"not {entry[wrong[0]]!r}")
        return dict(entry)


TIMES = ("latency_ms", "low_ms", "high_ms")
EMPTY = {"operator": "", "kind": "", "detail": "", "shape": [], "macs": 0, "bytes": 0, "bound": ""}


def described(kernels: list[Kernel], workload: Workload) -> dict[str, Any]:
    """A row's columns that do not depend on time, for kernels that one entry stands for."""
    first, last = kernels[0], kernels[-1]
    touched = [b for kernel in kernels for b in (*kernel.reads, *kernel.writes, *kernel.weights)]
    return {"operator": " ; ".join("+".join(kernel.names) for kernel in kernels),
            "kind": first.kind if len(kernels) == 1 else "block", "detail": first.detail, "shape": list(last.shape),
            "macs": sum(kernel.macs for kernel in kernels),
            "bytes": int(sum(workload.buffers[b].bytes_in(32) for b in touched)), "bound": ""}


export = Lookup
