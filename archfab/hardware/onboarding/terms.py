"""What a network buys of a device: launches, arithmetic and traffic by kind of kernel, the terms of a price list.

A device is a price list, a latency the sum over the terms: t = start + sum_kind (launches * a + GMAC * b + million
elements moved * c). It is the roofline with a sum in place of its maximum, so it stays linear in what is unknown
of a device, which is what ten measurements can teach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archfab.hardware.kernels import Kernel, fuse

if TYPE_CHECKING:
    from archfab.hardware.workload import Workload

KINDS = ("conv", "pointwise", "depthwise", "linear", "attention", "norm", "pool", "elementwise", "move")
COUNTING = ("conv", "pointwise", "depthwise", "linear", "attention")      # kinds that multiply and accumulate
PRICED_AS = {"fourier": "linear"}       # what is no kind of its own; what nobody knows is as elementwise, and named
START = "start"
TERMS: tuple[str, ...] = (START, *(f"{kind} {what}" for kind in KINDS for what in ("launches", "gmacs", "melements")
                                   if what != "gmacs" or kind in COUNTING))
UNITS = {"launches": "ms a launch", "gmacs": "ms a GMAC", "melements": "ms a million elements moved", START: "ms"}
PLACE = {term: i for i, term in enumerate(TERMS)}


def bill(workload: Workload) -> tuple[list[float], list[str]]:
    """The amounts of `TERMS` that a network buys, and the operators that no term covers, which are in it as if they
    were elementwise."""
    kernels = fuse(workload)
    unknown = sorted({name for kernel in kernels if known_as(kernel) is None for name in kernel.names})
    amounts = [0.0] * len(TERMS)
    amounts[PLACE[START]] = 1.0
    for kernel in kernels:
        for term, amount in bought(kernel, workload):
            amounts[term] += amount
    return amounts, unknown


def known_as(kernel: Kernel) -> str | None:
    """The kind whose terms a kernel buys."""
    kind = PRICED_AS.get(kernel.kind, kernel.kind)
    return kind if kind in KINDS else None


def bought(kernel: Kernel, workload: Workload) -> list[tuple[int, float]]:
    """One kernel's amounts, by the place of the term."""
    kind = known_as(kernel) or "elementwise"
    elements = sum(workload.buffers[b].elements for b in (*kernel.reads, *kernel.writes, *kernel.weights))
    found = [(PLACE[f"{kind} launches"], 1.0), (PLACE[f"{kind} melements"], elements / 1e6)]
    if kind in COUNTING:
        found.append((PLACE[f"{kind} gmacs"], kernel.macs / 1e9))
    return found
