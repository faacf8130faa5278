"""A spatial array of multipliers with a memory hierarchy, as plain data: the terms are ZigZag's.

A memory stands once for all units along the dimensions that it serves and is repeated along the others. Memories are
listed from the multipliers outwards; each operand goes through those that hold it, in that order. What a figure
counts (whole words, first reads of partial sums, ...) differs from tool to tool and is a `Rules` of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from archfab.core import UsageError

OPERANDS = ("input", "weight", "output")
DIRECTIONS = ("from_above", "to_below", "from_below", "to_above")
"""How data move through a memory: written from the next outer one, read towards the multipliers, written from there
(results), read towards the next outer one (results)."""


@dataclass(frozen=True)
class Rules:
    """What is counted as an access and how long transfers take; the two conventions that have published figures."""

    name: str
    latched: bool           # an operand that does not change from one step to the next is not read again by multipliers
    first_reads: bool       # a partial sum is read back before its first update too
    drain_reads: bool       # results that leave a memory are read from it
    halo_shared: bool       # inputs that neighbouring units share are read once for all of them
    whole_words: bool       # a transfer takes whole words of the port
    stalls: bool            # transfers wait for each other, the first and last are not hidden; else the slowest rules
    input_edges: bool       # inputs end at the image's edge; else padding is fetched like data


ZIGZAG = Rules("zigzag", latched=True, first_reads=True, drain_reads=True, halo_shared=True, whole_words=True,
               stalls=True, input_edges=True)
"""ZigZag 3.9 (Mei et al., IEEE Trans. Computers 2021): uneven mappings, ports with a smallest and a largest word."""
TIMELOOP = Rules("timeloop", latched=False, first_reads=False, drain_reads=False, halo_shared=False, whole_words=False,
                 stalls=False, input_edges=False)
"""Timeloop v4 (Parashar et al., ISPASS 2019): every level holds one block of loops for all its operands."""
RULES = {rules.name: rules for rules in (ZIGZAG, TIMELOOP)}


@dataclass(frozen=True)
class Port:
    """A memory's port: bits in a cycle, the smallest access in bits, and which (operand, direction) it serves."""

    name: str
    bits: float
    least: float
    serves: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Memory:
    """One level: size in bits, energy of one access of `word` bits (0: of as many as the port has) in pJ, area in mm2
    of one instance (None: unknown), the array's dimensions that share an instance."""

    name: str
    size: float
    read: float
    write: float
    operands: tuple[str, ...]
    ports: tuple[Port, ...]
    serves: tuple[str, ...] = ()
    area: float | None = None
    word: float = 0
    leakage: float = 0.0                            # pJ of one instance in one cycle
    double_buffered: bool = False
    loops: tuple[str, ...] | None = None            # the loops that may stand here; None: any

    def port(self, operand: str, direction: str) -> Port | None:
        return next((port for port in self.ports if (operand, direction) in port.serves), None)

    def resized(self, size: float) -> Memory:
        """The same memory with another size, in bits: an access takes energy as the square root of the size, as a
        memory's wires grow with its edge; area and leakage grow with the size. An estimate, no figure of a library."""
        factor = size / self.size
        return replace(self, size=size, read=self.read * factor ** 0.5, write=self.write * factor ** 0.5,
                       area=None if self.area is None else self.area * factor, leakage=self.leakage * factor)


@dataclass(frozen=True)
class Architecture:
    """An array (sizes of its dimensions by name), energy of a multiply-accumulate in pJ, area of a multiplier in mm2,
    and memories from the multipliers outwards."""

    name: str
    array: tuple[tuple[str, int], ...]
    mac: float
    memories: tuple[Memory, ...]
    rules: Rules = ZIGZAG
    mac_area: float | None = None
    systolic: tuple[str, ...] = ()
    unrolls: tuple[tuple[str, tuple[str, ...]], ...] = ()   # the loops that a dimension may unroll; absent: any
    even: bool = False                                      # a memory holds the same loops of all its operands

    def __post_init__(self) -> None:
        check(self)

    def resized(self, **sizes: float) -> Architecture:
        """The same array with memories of other sizes, in bits by name (see `Memory.resized`)."""
        finite = [memory.name for memory in self.memories if memory.size < math.inf]
        if stray := sorted(set(sizes) - set(finite)):
            raise UsageError(f"accelerator '{self.name}' has no memory {stray[0]} with a size; it has "
                             + ", ".join(finite))
        return replace(self, memories=tuple(each.resized(sizes[each.name]) if each.name in sizes else each
                                            for each in self.memories))

    @cached_property
    def units(self) -> int:
        return math.prod(size for _, size in self.array)

    def levels(self, operand: str) -> tuple[int, ...]:
        """The memories that an operand goes through, as numbers, innermost first."""
        return self._levels[operand]

    @cached_property
    def _levels(self) -> Mapping[str, tuple[int, ...]]:
        return {operand: tuple(at for at, memory in enumerate(self.memories) if operand in memory.operands)
                for operand in OPERANDS}

    def instances(self, memory: Memory) -> int:
        """How many of a memory there are."""
        return math.prod(size for name, size in self.array if name not in memory.serves)

    @cached_property
    def area(self) -> float | None:
        """mm2 of the memories and the multipliers; None where a part is unknown."""
        parts = [memory.area for memory in self.memories] + [self.mac_area]
        if any(part is None for part in parts):
            return None
        return self.units * float(self.mac_area or 0) + sum(self.instances(each) * float(each.area or 0)
                                                            for each in self.memories)


def check(given: Architecture) -> None:
    """Raises `UsageError` where an array is impossible."""
    for problem in problems(given):
        raise UsageError(f"accelerator '{given.name}': {problem}")


def problems(given: Architecture) -> Iterator[str]:
    names = [name for name, _ in given.array]
    if not names or len(set(names)) < len(names):
        yield "an array has one or more dimensions, each with a name of its own"
    for name, size in given.array:
        if size < 1:
            yield f"dimension {name} has {size} units; it takes a whole number from 1 up"
    if stray := sorted({*given.systolic, *dict(given.unrolls)} - set(names)):
        yield f"the array has no dimension {stray[0]}; it has {', '.join(names)}"
    if not 0 <= given.mac < math.inf:
        yield f"the energy of a multiply-accumulate is {given.mac} pJ; it takes a number from 0 up"
    for memory in given.memories:
        yield from (f"memory {memory.name}: {problem}" for problem in
                    (*memory_problems(memory, names), *unserved(memory, memory is given.memories[-1])))
        if memory.loops is not None and not given.even:
            yield f"memory {memory.name} names the loops that may stand there, which needs an array that is even"
    for operand in OPERANDS:
        if not given.levels(operand):
            yield f"no memory holds the operand {operand}"
        elif given.levels(operand)[-1] != len(given.memories) - 1:
            yield (f"the operand {operand} ends in {given.memories[given.levels(operand)[-1]].name}; the last memory "
                   f"({given.memories[-1].name}) has to hold all of {', '.join(OPERANDS)}")
        served: set[str] = set()
        for at in given.levels(operand):
            if lost := sorted(served - set(given.memories[at].serves)):
                yield (f"memory {given.memories[at].name} does not serve {lost[0]}, which a memory nearer to the "
                       f"multipliers serves for the operand {operand}")
            served = set(given.memories[at].serves)


def memory_problems(memory: Memory, names: list[str]) -> Iterator[str]:
    if not memory.size > 0:
        yield f"its size is {memory.size} bits; it takes a number above 0"
    for label, value in (("read", memory.read), ("write", memory.write), ("leakage", memory.leakage)):
        if not 0 <= value < math.inf:
            yield f"its {label} energy is {value} pJ; it takes a number from 0 up"
    if memory.area is not None and not 0 <= memory.area < math.inf:
        yield f"its area is {memory.area} mm2; it takes a number from 0 up"
    if not memory.operands or len(set(memory.operands)) < len(memory.operands):
        yield "it holds one operand or more, each named once"
    if stray := sorted(set(memory.operands) - set(OPERANDS)):
        yield f"there is no operand {stray[0]}; there are {', '.join(OPERANDS)}"
    if stray := sorted(set(memory.serves) - set(names)):
        yield f"it serves the dimension {stray[0]}, which the array has not; it has {', '.join(names)}"
    for port in memory.ports:
        if not 0 < port.least <= port.bits:
            yield (f"port {port.name} moves at least {port.least} and at most {port.bits} bits in a cycle; it takes "
                   "numbers above 0, the least not above the most")


def unserved(memory: Memory, last: bool) -> Iterator[str]:
    """What no port moves; the last memory needs no way outwards."""
    for operand in memory.operands:
        for direction in DIRECTIONS if operand == "output" else DIRECTIONS[:2]:
            found = [port for port in memory.ports if (operand, direction) in port.serves]
            if len(found) > 1 or (not found and not (last and direction.endswith("above"))):
                yield f"{len(found) or 'no'} ports move the operand {operand} {direction.replace('_', ' ')}; one has to"
