"""The area of an array of multipliers with its memories, part by part, calibrated with a chip that was built.

TPU v1 (Jouppi et al., ISCA 2017): at most 331 mm2 in 28 nm, of which 29 % are 24 MiB of SRAM (the unified buffer) and
24 % are 65,536 multipliers of 8 bits with their registers. Registers of a unit: the weight scratchpad of Timeloop's
Eyeriss-like chip, 5,816 um2 for 3,072 bits in 45 nm. Memories shrink with the node's SRAM cell, the rest of the array
with the density of its logic; pads, clocks and interfaces do not shrink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from archfab.hardware.mapping.architecture import Architecture, Memory
from archfab.silicon.nodes import Node, interval, node

SOURCE = ("floor plan of TPU v1 (Jouppi et al., ISCA 2017): at most 331 mm2 in 28 nm, 29 % for 24 MiB, 24 % for 65,536 "
          "multipliers; registers of Timeloop's Eyeriss-like chip; see archfab/hardware/chip/area.py")
TPU_MM2 = 331.0
SRAM_UM2_PER_BIT = 0.29 * TPU_MM2 * 1e6 / (24 * 2**20 * 8)
"""Of a large memory in 28 nm, decoders and wires included; 3.8 times the cell."""
UNIT_UM2 = 0.24 * TPU_MM2 * 1e6 / 65_536
"""Of one multiplier of 8 x 8 bits with adder and pipeline registers in 28 nm."""
REGISTER_UM2_PER_BIT = 5816 / 3072 * (28 / 45) ** 2
REGISTERS = 8192            # memories up to so many bits are made of registers, not of SRAM cells
MULTIPLIER_SHARE = 0.8
"""Of a unit's area and energy that is the multiplier, which grows with the product of its operands' bits (Horowitz,
ISSCC 2014: 8 bits .2 pJ, 32 bits 3.1 pJ); the rest, adder and registers, grows with their sum."""
SRAM_BOUNDS = (0.127 / 0.65 / SRAM_UM2_PER_BIT, 42.64 / 2**28 * 1e6 / (SRAM_UM2_PER_BIT * 0.027 / 0.127))
"""From cells that fill 65 % of a memory (WikiChip counts 70 %: 31.8 Mib/mm2 of .021 um2 cells, IEDM 2022) to TSMC's
256 Mbit test chip in 7 nm, all of it counted (42.64 mm2; Chang et al., ISSCC 2017)."""
LOGIC_BOUNDS = (0.5, 1.25)
"""An assumption: down to a unit without TPU v1's 32-bit sums and second set of weights, up to one with more wires."""
REGISTER_BOUNDS = (0.5, 2.0)
"""An assumption: between latches of a register file and flip-flops of their own."""


@dataclass(frozen=True)
class Area:
    """mm2 of one part of a chip, and between which it is believed to lie."""

    part: str
    mm2: float
    low: float
    high: float


def floorplan(architecture: Architecture, at: Node, bits: tuple[int, int] = (8, 8),
              overhead_mm2: float = 0.0) -> list[Area]:
    """The parts of a chip: memories, multipliers, and what does not shrink. The outermost memory is another chip.

    :param at: the process node. :param bits: of the multipliers' two operands.
    :param overhead_mm2: pads, clocks, interfaces.
    """
    unit = architecture.units * UNIT_UM2 * width_factor(bits) / 1e6 / at.logic_density
    density = doubt(at)
    parts = [memory_area(memory, architecture, at) for memory in architecture.memories[:-1]]
    parts.append(Area("multipliers", unit, unit * LOGIC_BOUNDS[0] / density[1], unit * LOGIC_BOUNDS[1] / density[0]))
    return [*parts, Area("pads and interfaces", overhead_mm2, overhead_mm2 / 2, overhead_mm2 * 2)]


def memory_area(memory: Memory, architecture: Architecture, at: Node) -> Area:
    """All instances of a memory."""
    bits = memory.size * architecture.instances(memory)
    if memory.size <= REGISTERS:
        mm2, density = bits * REGISTER_UM2_PER_BIT / 1e6 / at.logic_density, doubt(at)
        return Area(memory.name, mm2, mm2 * REGISTER_BOUNDS[0] / density[1], mm2 * REGISTER_BOUNDS[1] / density[0])
    mm2 = bits * SRAM_UM2_PER_BIT / 1e6 * at.bitcell_um2 / node(28).bitcell_um2
    return Area(memory.name, mm2, mm2 * SRAM_BOUNDS[0], mm2 * SRAM_BOUNDS[1])


def doubt(at: Node) -> tuple[float, float]:
    """Factors around the density of a node's logic; none of the node that areas are known in."""
    return interval("logic_density") if at.name != "28" else (1.0, 1.0)


def total(parts: list[Area]) -> Area:
    """The whole chip; its bounds are of parts that err independently."""
    mm2 = sum(part.mm2 for part in parts)
    below = math.sqrt(sum((part.mm2 - part.low) ** 2 for part in parts))
    above = math.sqrt(sum((part.high - part.mm2) ** 2 for part in parts))
    return Area("die", mm2, mm2 - below, mm2 + above)


def width_factor(bits: tuple[int, int]) -> float:
    """Area and energy of a unit for operands of so many bits, relative to 8 x 8."""
    one, other = bits
    return MULTIPLIER_SHARE * one * other / 64 + (1 - MULTIPLIER_SHARE) * (one + other) / 16
