"""A plan: the order of the steps and the place of every buffer, with how far it can be from the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archfab.hardware.memory.graph import Graph, Name
from archfab.hardware.memory.offsets import NODES, Block, Packing, packed
from archfab.hardware.memory.orders import EFFORT, Order, at_rest, best_order, lives, spans
from archfab.hardware.memory.segment import Segment, compiled


@dataclass(frozen=True)
class Plan:
    """Where everything lies and when it runs; sizes in bytes."""

    order: tuple[int, ...]                  # the graph's steps as they run
    offsets: Mapping[Name, int]             # of every buffer, views included
    lives: Mapping[Name, tuple[int, int]]   # from which to which place in `order` its memory is held
    scratch: Mapping[int, int]              # step of the graph -> offset of its scratch memory
    live: tuple[int, ...]                   # held while each step of `order` runs
    arena: int                              # the bytes of all
    peak: int                               # the most of `live`: what the arena is without gaps
    bound: int                              # no order has a lower peak (of the given order, where that is kept)

    @property
    def gap(self) -> float:
        """By which share the arena can at most be larger than the least possible one; 0: it is the least."""
        return self.arena / self.bound - 1 if self.bound else 0.0

    @property
    def fullest(self) -> int:
        """The place in `order` where most is held."""
        return max(range(len(self.live)), key=self.live.__getitem__, default=0)


def plan(graph: Graph, reorder: bool = True, in_place: bool = True, alignment: int = 1, effort: int = EFFORT,
         nodes: int = NODES) -> Plan:
    """The smallest arena that is found.

    :param reorder: whether steps may run in another order than the given one.
    :param in_place: whether steps may write over what they read (`Step.overwrites`).
    :param alignment: every offset is a multiple of so many bytes.
    :param effort: how many states the search for an order looks at in a piece of more than 20 steps; smaller pieces
        are solved exactly. :param nodes: the same for the packing.
    """
    best, bound, names = best_placed(graph, reorder, in_place, alignment, effort, nodes)
    return best.plan(graph, names, bound)


def arena_of(graph: Graph, reorder: bool = True, in_place: bool = True, alignment: int = 1,
             effort: int = EFFORT) -> int:
    """The bytes of the same plan, for those who ask nothing else."""
    return best_placed(graph, reorder, in_place, alignment, effort, NODES)[0].packing.bytes


def best_placed(graph: Graph, reorder: bool, in_place: bool, alignment: int, effort: int,
                nodes: int) -> tuple[Placed, int, list[Name]]:
    """The best packing that is found, what no order can be below, and the buffers' names."""
    segment, names = compiled(graph, in_place, alignment)
    given = tuple(range(len(graph.steps)))
    found = best_order(segment, effort) if reorder else kept_order(segment, given)
    best = placed(segment, found, nodes)
    if best.packing.bytes > found.peak:             # never above what simpler runtimes need: their ways are tried too
        if reorder:
            best = min(best, placed(segment, kept_order(segment, given), nodes), key=_bytes)
        if in_place and best.packing.bytes > found.peak:
            plain, _ = compiled(graph, False, alignment)
            for order in {found.steps, given}:
                best = min(best, placed(plain, kept_order(plain, order), nodes), key=_bytes)
    return best, found.bound, names


def kept_order(segment: Segment, order: tuple[int, ...]) -> Order:
    """An order as it is; its own peak is its bound."""
    peak = max((during for during, _ in lives(segment, order)), default=at_rest(segment))
    return Order(order, peak, peak)


@dataclass(frozen=True)
class Placed:
    """A segment in an order, packed."""

    segment: Segment
    order: tuple[int, ...]
    block_of: Sequence[int]         # buffer -> block; then one for each scratch memory
    blocks: Sequence[Block]
    packing: Packing

    def plan(self, graph: Graph, names: Sequence[Name], bound: int) -> Plan:
        offset = self.packing.offsets
        number = {name: i for i, name in enumerate(names)}
        every = {**number, **{view: number[graph.memory_of(view)] for view in graph.views
                              if graph.memory_of(view) in number}}
        live = tuple(during for during, _ in lives(self.segment, self.order)) or (at_rest(self.segment),)
        ends = spans(self.segment, self.order)
        needing = [k for k in self.order if self.segment.scratch[k]]
        return Plan(self.order, {name: offset[self.block_of[i]] for name, i in every.items()},
                    {name: ends[i] for name, i in every.items()},
                    dict(zip(needing, offset[len(offset) - len(needing):], strict=True)), live, self.packing.bytes,
                    max(live), min(bound, self.packing.bytes))


def _bytes(placed: Placed) -> int:
    return placed.packing.bytes


def placed(segment: Segment, order: Order, nodes: int) -> Placed:
    """Buffers that are written in place of others share a block with them."""
    ends = spans(segment, order.steps)
    parent = taken_over(segment, order.steps)
    block_of, blocks = [0] * len(ends), list[Block]()
    for i in sorted(range(len(ends)), key=lambda i: ends[i]):
        size, (start, end) = segment.buffers[i].size, ends[i]
        if i in parent:
            at = block_of[i] = block_of[parent[i]]
            blocks[at] = Block(size, blocks[at].start, max(end, blocks[at].end))
        else:
            block_of[i] = len(blocks)
            blocks.append(Block(size, start, end))
    blocks += [Block(segment.scratch[k], at, at) for at, k in enumerate(order.steps) if segment.scratch[k]]
    return Placed(segment, order.steps, block_of, blocks, packed(blocks, nodes))


def taken_over(segment: Segment, order: Sequence[int]) -> dict[int, int]:
    """Which buffer takes the memory of which: the first write of a step that of one that dies there."""
    found, ran = {}, 0
    for k in order:
        ran |= 1 << k
        for i in segment.over[k]:
            if not segment.buffers[i].uses & ~ran:
                found[segment.into[k]] = i
                break
    return found
