"""The energy of a computation that nobody measured, by Green Algorithms: cores, memory and GPUs by their power."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from archfab.core import UsageError
from archfab.silicon.carbon.codecarbon import installed, tdp_table
from archfab.silicon.carbon.uncertain import Term

CORE_W = 12.0               # Green Algorithms' core of a processor of which nothing is known
MEMORY_W_GB = 0.3725        # Green Algorithms (Lannelongue et al., Advanced Science 2021)
KNOWN, UNKNOWN, MEMORY, PUE = 0.6, 1.0, 0.5, 0.3
"""Half of the 95 % interval, as a share: of a power that is known by its thermal design (four processors that
CodeCarbon measured by RAPL drew .42 to 1.61 of it times their load, above a load of 30 %:
benchmarks/silicon_carbon.py); of a core of which nothing is known (Green Algorithms' table goes from 3.8 to 23.8 W,
and that comes on top); of memory (an assumption); of an unknown PUE (the survey's data centres: about 1.1 to 2)."""
NOISE = re.compile(r"\((?:r|tm)\)|\b(?:intel|amd|cpu|processor|\d+(?:st|nd|rd|th) gen|\d+-core)\b|with radeon.*|@.*$",
                   re.IGNORECASE)


@dataclass(frozen=True)
class Core:
    """The power of one busy core, how far it may be off, and how it is known."""

    watts: float
    spread: float
    how: str
    most_w: float | None = None         # of the whole processor


def energy_terms(*, core: Core, core_hours: float, hours: float, memory_gb: float, gpu_w: float = 0.0,
                 ) -> dict[str, Term]:
    """kWh of a computation, before what its data centre adds: processor, memory and GPU.

    Green Algorithms (Lannelongue et al. 2021): E = t (n P u + mem 0.3725 W/GB) PUE; `core_hours` is t n u. Two
    threads on one core do not draw twice its power, so the processor never draws more than its thermal design power,
    where that is known.

    :raises UsageError: of what is below 0.
    """
    for name, value in (("core hours", core_hours), ("hours", hours), ("memory in GB", memory_gb),
                        ("GPU's power in W", gpu_w), ("power of a core in W", core.watts)):
        if not 0 <= value < math.inf:
            raise UsageError(f"the {name} cannot be {value:g}; a finite number from 0 up")
    processor_kwh = core.watts * core_hours / 1000
    if core.most_w is not None:
        processor_kwh = min(processor_kwh, core.most_w * hours / 1000)
    return {"processor": Term(processor_kwh, {"power of a core": core.spread}),
            "memory": Term(MEMORY_W_GB * memory_gb * hours / 1000, {"power of memory": MEMORY}),
            "gpu": Term(gpu_w * hours / 1000, {"power of the GPU": KNOWN})}


def core_of(tdp_w: float | None = None, cores: int | None = None, cpuinfo: str | None = None) -> Core:
    """The power of a core: as the user says it, from CodeCarbon's table of thermal design powers, or unknown.

    :raises UsageError: of numbers that are not possible, and of one without the other.
    """
    if cpuinfo is None:
        path = Path("/proc/cpuinfo")
        cpuinfo = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    name, sockets, each, guest = processor_of(cpuinfo)
    if tdp_w is not None:
        count = (None if guest else each) if cores is None else cores
        if not 0 < tdp_w < 3000:
            raise UsageError(f"a thermal design power of {tdp_w:g} W is not possible; processors have 5 to 500 W")
        if count is None:
            raise UsageError("--tdp-w is of the whole processor, and this machine does not tell how many cores that "
                             "has (it is a virtual one); say so with --cores")
        if count < 1:
            raise UsageError(f"{count} cores are none")
        return Core(tdp_w / count, KNOWN, f"{tdp_w:g} W for {count} cores, given by the user",
                    None if guest else tdp_w * sockets)
    if cores is not None:
        raise UsageError("--cores is of use together with --tdp-w alone: their quotient is the power of a core")
    named = {plain(known): (known, watts) for known, watts in tdp_table().items()}.get(plain(name) or "none")
    if named and each and not guest:
        return Core(named[1] / each, KNOWN, f"{named[1]:g} W ({named[0]}, CodeCarbon's table) for {each} cores",
                    named[1] * sockets)
    because = "a virtual machine does not tell how many cores the whole has" if named and guest else \
        f"'{name or 'this processor'}' is not in CodeCarbon's table" if installed() else \
        "the table of processors comes with pip install 'archfab[carbon]'"
    return Core(CORE_W, UNKNOWN,
                f"Green Algorithms' {CORE_W:g} W for a core of which nothing is known: {because}; --tdp-w and --cores "
                "say more")


def processor_of(cpuinfo: str) -> tuple[str, int, int | None, bool]:
    """The processor's name, how many sockets there are, the cores of each, and whether this is a virtual machine, which
    may not know."""
    name, guest, socket = "", False, "0"
    cores: dict[str, int] = {}
    for line in cpuinfo.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "model name":
            name = value
        elif key == "physical id":
            socket = value
        elif key == "cpu cores" and value.isdigit():
            cores[socket] = int(value)
        elif key == "flags":
            guest = guest or "hypervisor" in value.split()
    return name, max(1, len(cores)), max(cores.values(), default=None), guest


def plain(name: str) -> str:
    """A processor's name without what makers and kernels put around it."""
    return " ".join(NOISE.sub(" ", name).casefold().split())
