"""A piece of a graph as bit masks: what the searches work on, and by what equal pieces are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import NamedTuple

from archfab.core import UsageError
from archfab.hardware.memory.graph import Graph, Name, Step


class Held(NamedTuple):
    """The memory of a buffer within a segment."""

    size: int
    first: int          # the step that writes it first; -1: there before
    uses: int           # mask of the steps that touch it
    stays: bool         # needed afterwards


@dataclass(frozen=True)
class Segment:
    """Steps that run without others in between; equal segments have equal best orders."""

    before: tuple[int, ...]             # for each step, the mask of those that must run earlier (direct ones)
    scratch: tuple[int, ...]
    into: tuple[int, ...]               # for each step, its first write; -1: none, or one that takes nobody's place
    over: tuple[tuple[int, ...], ...]   # the buffers of which one may become that
    buffers: tuple[Held, ...]

    def scaled(self) -> tuple[Segment, int]:
        """With sizes divided by what divides all of them, and that divisor."""
        unit = gcd(*(held.size for held in self.buffers), *self.scratch) or 1
        if unit == 1:
            return self, 1
        return Segment(self.before, tuple(s // unit for s in self.scratch), self.into, self.over,
                       tuple(Held(h.size // unit, h.first, h.uses, h.stays) for h in self.buffers)), unit

    def part(self, start: int, end: int) -> Segment:
        """The steps from `start` to before `end`, where all earlier ones have run and no later one has; what they do
        not touch is left out."""
        inside, after = (1 << end) - (1 << start), -1 << end
        touched = [i for i, held in enumerate(self.buffers) if held.uses & inside]
        number = {old: new for new, old in enumerate(touched)}
        buffers = []
        for i in touched:
            size, first, uses, stays = self.buffers[i]
            buffers.append(Held(size, first - start if start <= first < end else -1, (uses & inside) >> start,
                                stays or bool(uses & after)))
        steps = range(start, end)
        return Segment(tuple((self.before[k] & inside) >> start for k in steps), self.scratch[start:end],
                       tuple(number[self.into[k]] if self.over[k] else -1 for k in steps),
                       tuple([tuple([number[i] for i in self.over[k] if not buffers[number[i]].stays]) for k in steps]),
                       tuple(buffers))


def bits(mask: int) -> list[int]:
    """The numbers whose bits are set."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


def compiled(graph: Graph, in_place: bool = True, alignment: int = 1) -> tuple[Segment, list[Name]]:
    """The whole graph as one segment, with the names of its buffers; sizes are rounded up to the alignment."""
    if alignment < 1:
        raise UsageError(f"an alignment of {alignment} bytes is none; give a number from 1 up")
    numbers: dict[Name, int] = {}
    roots = {name: graph.memory_of(name) for name in graph.views}

    def number(name: Name) -> int:
        if roots:
            name = roots.get(name, name)
        return numbers.setdefault(name, len(numbers))

    inputs = list(map(number, graph.inputs))
    there = len(numbers)
    first, uses = [-1] * there, [0] * there
    writer: list[int] = [0] * there             # masks: who wrote the version that there is now, and who read it
    readers: list[int] = [0] * there
    before, over = [], []
    for k, step in enumerate(graph.steps):
        bit, needs = 1 << k, 0
        reads, writes = [number(name) for name in step.reads], [number(name) for name in step.writes]
        if fresh := len(numbers) - len(first):
            first += [k] * fresh
            for masks in (uses, writer, readers):
                masks += [0] * fresh
        for i in reads:
            if first[i] == k:
                raise UsageError(f"step {k} ({step.name or 'without a name'}) reads the buffer {list(numbers)[i]!r}, "
                                 "which no earlier step writes; name it among the inputs")
            needs |= writer[i]
            readers[i] |= bit
            uses[i] |= bit
        for i in writes:
            if i < there and graph.keep_inputs:
                raise UsageError(f"step {k} ({step.name or 'without a name'}) writes the input {list(numbers)[i]!r}, "
                                 "which is to be kept; copy it first, or let inputs be overwritten")
            needs |= writer[i] | readers[i]
            uses[i] |= bit
            writer[i], readers[i] = bit, 0
        before.append(needs & ~bit)
        over.append((writes[0], taken_by(step, number)) if writes and in_place and step.overwrites else (0, []))
    stays = set(map(number, graph.outputs)) | (set(inputs) if graph.keep_inputs else set())
    names = list(numbers)
    exact = [graph.size(name) for name in names]
    sizes = [-(-size // alignment) * alignment for size in exact]
    if late := [names[i] for i in range(len(first), len(names))]:
        raise UsageError(f"the output {late[0]!r} is neither written by a step nor an input")
    buffers = tuple(Held(sizes[i], first[i], uses[i], i in stays or not uses[i]) for i in range(len(names)))
    taken = tuple(takes(over, buffers, exact))
    return Segment(tuple(before), tuple(-(-step.scratch // alignment) * alignment for step in graph.steps),
                   tuple(over[k][0] if taken[k] else -1 for k in range(len(over))), taken, buffers), names


def taken_by(step: Step, number: Callable[[Name], int]) -> list[int]:
    if step.overwrites is not step.reads and not set(step.overwrites) <= set(step.reads):
        raise UsageError(f"the step '{step.name}' overwrites {step.overwrites!r}, which is not among what it reads, "
                         f"{step.reads!r}")
    if step.overwrites is step.reads:
        return list(map(number, step.reads))
    beside = {number(name) for name in step.reads if name not in step.overwrites}       # other views of one memory
    return [i for i in map(number, step.overwrites) if i not in beside]


def takes(over: Sequence[tuple[int, list[int]]], buffers: Sequence[Held],
          exact: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Which buffers a step may turn into its first write: as large, before sizes are rounded to the alignment, and not
    needed when all steps have run."""
    for k, (write, candidates) in enumerate(over):
        if not candidates or buffers[write].first != k:
            yield ()
            continue
        yield tuple([i for i in candidates if i != write and exact[i] == exact[write] and not buffers[i].stays])
