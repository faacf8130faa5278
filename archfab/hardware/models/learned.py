"""A price list learned from a few measurements, by what other devices cost; latencies come with a calibrated interval.

t = start + sum over the kernels of launches, arithmetic and traffic at the device's prices (`onboarding/terms.py`),
with the uncertainty that the measurements leave in the prices (`onboarding/posterior.py`). `archfab device add` makes
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archfab.core import BuildError, Cost, Costs, Device

if TYPE_CHECKING:
    from archfab.hardware.workload import Workload


class LearnedDevice(Device):
    """A device that was measured on about ten networks."""

    figures = ("latency_ms", "macs", "params")

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        from archfab.hardware.onboarding.files import load
        self.name = numbers["name"]
        self.about = numbers.get("about", "")
        self.model, self.codes = load(numbers)
        self.priced = numbers.get("priced", True) is not False
        self.sources = {key: entry for key in ("noise", "interval", "expected", "made_from")
                        if isinstance(entry := numbers.get(key), Mapping) and {"origin", "source"} <= set(entry)}

    def cost(self, workload: Workload) -> Costs:
        import numpy as np

        from archfab.hardware.onboarding.terms import bill
        if not self.priced:
            raise BuildError(f"device '{self.name}' was learned from a table whose networks archfab cannot build, so "
                             f"it knows the rows of that table alone: archfab device predict {self.name}")
        amounts, unknown = bill(workload)
        value, deviation = self.model.at_large(np.array([amounts]))
        low, high = self.model.interval(value, deviation)
        return Costs({"latency_ms": Cost(float(value[0]), "calibrated", float(low[0]), float(high[0])),
                      "macs": Cost.counted(workload.macs), "params": Cost.counted(workload.params)},
                     self._rows(workload, float(value[0])), unknown)

    def _rows(self, workload: Workload, total: float) -> list[dict[str, Any]]:
        """Each kernel's share of the latency by its prices; what comes out negative, as fits of few measurements can,
        is shown as nothing, and the others are scaled to add up."""
        import numpy as np

        from archfab.hardware.kernels import fuse
        from archfab.hardware.onboarding.terms import PLACE, START, bought
        prices = np.sum([weight * post.prices() for weight, post in zip(
            self.model.weights, self.model.posteriors, strict=True)], axis=0)
        rows = [{"operator": "+".join(kernel.names), "kind": kernel.kind, "detail": kernel.detail,
                 "shape": list(kernel.shape), "macs": kernel.macs,
                 "bytes": int(sum(workload.buffers[b].bytes_in(32)
                                  for b in (*kernel.reads, *kernel.writes, *kernel.weights))),
                 "latency_ms": max(sum(prices[term] * x for term, x in bought(kernel, workload)), 0.0)}
                for kernel in fuse(workload)]
        rows.append({"operator": "start", "kind": "start", "detail": "", "shape": [], "macs": 0, "bytes": 0,
                     "latency_ms": max(float(prices[PLACE[START]]), 0.0)})
        together = sum(row["latency_ms"] for row in rows) or 1.0
        return [{**row, "latency_ms": float(row["latency_ms"] * total / together)} for row in rows]


export = LearnedDevice
