"""The Cortex-M cores that can be simulated: how to compile for them, and the board that QEMU has for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archfab.core import unknown

MIB = 1 << 20


@dataclass(frozen=True)
class Core:
    """A core, the kernels that suit it, and where the memories of its simulated board lie.

    Flash and RAM are places for code and data; `outside` holds what only the simulation needs. The sizes are those
    of QEMU's board and far larger than a product's, whose limits stand in the device file.
    """

    name: str
    flags: tuple[str, ...]
    kernels: Literal["plain", "dsp", "mve"]
    machine: str
    vectors: int                    # where the core looks for them at reset
    flash: tuple[int, int]          # origin and bytes
    ram: tuple[int, int]
    outside: tuple[int, int]
    tick_ns: float = 40.0           # of the system timer


FPU = "-mfloat-abi=hard"
# QEMU 7.2, docs/system/arm/mps2.rst; addresses: Arm's application notes AN385, AN386, AN500, AN505, AN547
CORES = {core.name: core for core in (
    Core("cortex-m3", ("-mcpu=cortex-m3",), "plain", "mps2-an385",
         0, (64, 4 * MIB - 64), (0x20000000, 4 * MIB), (0x21000000, 16 * MIB)),
    Core("cortex-m4", ("-mcpu=cortex-m4", FPU), "dsp", "mps2-an386",
         0, (64, 4 * MIB - 64), (0x20000000, 4 * MIB), (0x21000000, 16 * MIB)),
    Core("cortex-m7", ("-mcpu=cortex-m7", FPU), "dsp", "mps2-an500",
         0, (64, 4 * MIB - 64), (0x20000000, 4 * MIB), (0x60000000, 16 * MIB)),
    Core("cortex-m33", ("-mcpu=cortex-m33", FPU), "dsp", "mps2-an505",
         0x10000000, (0x10000040, 4 * MIB - 64), (0x38000000, 4 * MIB), (0x80000000, 16 * MIB), 50.0),
    Core("cortex-m55", ("-mcpu=cortex-m55", FPU), "mve", "mps3-an547",
         0, (0x60000000, 32 * MIB), (0x31000000, 4 * MIB), (0x64000000, 64 * MIB), 31.25))}


def core_of(name: str) -> Core:
    """A core by its name."""
    if name not in CORES:
        raise unknown("simulated core", name, list(CORES))
    return CORES[name]
