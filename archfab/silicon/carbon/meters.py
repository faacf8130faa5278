"""What the machine itself tells of its energy: processors through the kernel's RAPL counters, NVIDIA GPUs through
NVML."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"


class Counter:
    """A counter of energy that grows, and begins again at its limit: joules from its making on. To be read at least
    once each time that it goes round (a quarter of an hour at 300 W for the usual 262 kJ)."""

    def __init__(self, read: Callable[[], int], per_joule: float, limit: int | None = None) -> None:
        self._read, self._per_joule, self._limit = read, per_joule, limit
        self._last, self._sum = read(), 0

    def joules(self) -> float:
        now = self._read()
        step = now - self._last
        if step < 0:
            if self._limit is None:
                raise RuntimeError("an energy counter ran backwards: its driver was loaded anew, or the machine slept")
            step += self._limit
        self._last, self._sum = now, self._sum + step
        return self._sum / self._per_joule


@dataclass(frozen=True)
class Meter:
    """One thing that tells its energy: what it is ("processor", "memory", "gpu"), its name, and its joules so far."""

    part: str
    name: str
    joules: Callable[[], float]


@dataclass(frozen=True)
class Found:
    """The meters of this machine, and why there is none for a part where that can be helped."""

    meters: Sequence[Meter]
    notes: Sequence[str] = ()


def find_meters(powercap: Path = POWERCAP, nvml: str = NVML) -> Found:
    """The meters that can be read here and now."""
    processors, notes = rapl(powercap)
    gpus, more = nvidia(nvml)
    return Found([*processors, *gpus], [*notes, *more])


def rapl(folder: Path) -> tuple[list[Meter], list[str]]:
    """Processor packages and, where they have counters, their memories (Intel, and AMD from Zen on).

    A package is listed a second time under intel-rapl-mmio, and its cores lie inside it: both are left out.
    """
    zones = {}
    for zone in sorted(folder.glob("intel-rapl:*")):
        name = text(zone / "name")
        kind = "processor" if name.startswith("package") else "memory" if name == "dram" else ""
        if kind and (zone / "energy_uj").exists():
            zones[zone] = kind, f"RAPL {name} ({zone.name})"
    if not zones:
        return [], []
    if closed := [zone for zone in zones if not text(zone / "energy_uj").isdigit()]:
        return [], [f"the processor has energy counters, but {closed[0] / 'energy_uj'} may not be read by this user "
                    "(since CVE-2020-8694 root alone may). Run as root, or open them until the next start: sudo chmod "
                    f"a+r {folder}/intel-rapl:*/energy_uj"]
    meters = []
    for zone, (kind, name) in zones.items():
        limit = text(zone / "max_energy_range_uj")
        counter = Counter(lambda path=zone / "energy_uj": int(text(path)), 1e6,     # type: ignore[misc]
                          int(limit) if limit.isdigit() else None)
        meters.append(Meter(kind, name, counter.joules))
    return meters, []


def nvidia(library: str) -> tuple[list[Meter], list[str]]:
    """NVIDIA GPUs, by the energy that their driver has counted (from Volta on)."""
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return [], []
    if nvml.nvmlInit_v2() != 0:
        return [], [f"{library} is here, but tells of no GPU (is the driver loaded?)"]
    count = ctypes.c_uint()
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    meters: list[Meter] = []
    notes: list[str] = []
    for index in range(count.value):
        handle = ctypes.c_void_p()
        nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle))
        name = ctypes.create_string_buffer(96)
        nvml.nvmlDeviceGetName(handle, name, ctypes.c_uint(len(name)))
        called = f"NVML {name.value.decode(errors='replace') or 'GPU'} (GPU {index})"

        def read(handle: ctypes.c_void_p = handle) -> int:
            energy = ctypes.c_ulonglong()
            if code := nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(energy)):
                raise RuntimeError(f"NVML refuses the energy of a GPU (code {code})")
            return energy.value

        try:
            meters.append(Meter("gpu", called, Counter(read, 1e3).joules))
        except RuntimeError:
            notes.append(f"{called} counts no energy (GPUs before Volta do not, and parts of a GPU may not): give its "
                         "power with --gpu-w")
    return meters, notes


def text(path: Path) -> str:
    """A small file of the system; empty where it is absent or closed to us."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def resident_bytes(root: int, proc: Path = Path("/proc")) -> int:
    """The memory that a process and all it started hold, pages that they share counted for each; 0 where the system
    does not tell."""
    parents, pages = {}, {}
    for entry in proc.glob("[0-9]*"):
        fields = text(entry / "stat").rpartition(")")[2].split()     # a name may hold spaces and brackets
        if len(fields) > 21:
            parents[int(entry.name)], pages[int(entry.name)] = int(fields[1]), int(fields[21])
    family, fresh = {root}, {root}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - family
        family |= fresh
    return sum(pages.get(each, 0) for each in family) * os.sysconf("SC_PAGE_SIZE")
