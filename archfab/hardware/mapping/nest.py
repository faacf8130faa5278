"""A mapping: which loops run side by side on the array, which one after another and in which order, and how many of
these each memory holds of each operand. Loops that a memory does not hold run outside it and fill it anew."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archfab.core import UsageError
from archfab.hardware.mapping.architecture import OPERANDS, Architecture
from archfab.hardware.mapping.layer import LOOPS, RELEVANT, Layer

SHORT = {"input": "I", "weight": "W", "output": "O"}


@dataclass(frozen=True)
class Nest:
    """`unrolled`: for each dimension of the array, (loop, units). `loops`: (loop, count) one after another, innermost
    first. `held`: for each operand, how many of `loops` each of its memories has inside, innermost memory first."""

    unrolled: tuple[tuple[tuple[str, int], ...], ...]
    loops: tuple[tuple[str, int], ...]
    held: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def steps(self) -> int:
        """Cycles without any stall: one for each step of the loops."""
        return math.prod(count for _, count in self.loops)

    def plain(self, architecture: Architecture) -> dict[str, Any]:
        """As plain data, for export."""
        held = dict(self.held)
        return {"unrolled": {name: [list(each) for each in loops] for (name, _), loops in
                             zip(architecture.array, self.unrolled, strict=True)},
                "loops": [list(each) for each in self.loops],
                "held": {operand: {architecture.memories[at].name: held[operand][level]
                                   for level, at in enumerate(architecture.levels(operand))} for operand in OPERANDS}}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], architecture: Architecture) -> Nest:
        """The mapping that `plain` wrote."""
        try:
            return cls(tuple(tuple((str(loop), int(units)) for loop, units in data["unrolled"].get(name, ()))
                             for name, _ in architecture.array),
                       tuple((str(loop), int(count)) for loop, count in data["loops"]),
                       tuple((operand, tuple(int(data["held"][operand][architecture.memories[at].name])
                                             for at in architecture.levels(operand))) for operand in OPERANDS))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"this is no mapping on '{architecture.name}': {type(error).__name__} {error}; it has "
                             "unrolled, loops and held, as `archfab` exports them") from None

    def text(self, architecture: Architecture) -> str:
        """The nest as nested loops, outermost first, each with the memories that hold what is inside it."""
        lines, held = [], dict(self.held)
        for at in range(len(self.loops), -1, -1):
            for number in range(len(architecture.memories) - 1, -1, -1):
                memory = architecture.memories[number]
                here = [SHORT[operand] for operand in OPERANDS if number in architecture.levels(operand)
                        and held[operand][architecture.levels(operand).index(number)] == at]
                if here:
                    lines.append("  " * (len(self.loops) - at) + f"[{memory.name} holds {' '.join(here)}]")
            if at:
                loop, count = self.loops[at - 1]
                lines.append("  " * (len(self.loops) - at) + f"for {loop} in {count}")
        indent = "  " * len(self.loops)
        for (name, _), loops in zip(architecture.array, self.unrolled, strict=True):
            if any(units > 1 for _, units in loops):
                lines.append(indent + f"on {name}: " + " x ".join(f"{loop} {units}" for loop, units in loops))
        return "\n".join([*lines, indent + "multiply-accumulate"])


def check(nest: Nest, layer: Layer, architecture: Architecture) -> None:
    """Raises `UsageError` where a nest is none of this layer on this array."""
    total = dict.fromkeys(LOOPS, 1)
    for loop, count in (*nest.loops, *(each for loops in nest.unrolled for each in loops)):
        if loop not in total or count < 1:
            raise UsageError(f"a mapping has the loop '{loop}' {count} times; loops are {', '.join(LOOPS)}, from once "
                             "up")
        total[loop] *= count
    if short := [loop for loop, size in zip(LOOPS, layer.sizes, strict=True) if total[loop] < size]:
        loop = short[0]
        raise UsageError(f"the mapping runs loop {loop} {total[loop]} times; the layer needs "
                         f"{layer.sizes[LOOPS.index(loop)]}")
    if len(nest.unrolled) != len(architecture.array):
        raise UsageError(f"the mapping unrolls {len(nest.unrolled)} dimensions; the array has "
                         f"{len(architecture.array)}")
    for (name, size), loops in zip(architecture.array, nest.unrolled, strict=True):
        if (units := math.prod(units for _, units in loops)) > size:
            raise UsageError(f"the mapping takes {units} units along {name}, which has {size}")
    for operand, held in nest.held:
        last, levels = len(nest.loops), len(architecture.levels(operand))
        if len(held) != levels or list(held) != sorted(held) or held[-1] != last:
            raise UsageError(f"the operand {operand} goes through {levels} memories, each of which holds at least the "
                             f"loops of the one before, the last all {last}; not {held}")


def moves(operand: str) -> frozenset[str]:
    """The loops that an operand moves with, by name."""
    return frozenset(LOOPS[loop] for loop in RELEVANT[operand])
