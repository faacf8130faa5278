"""Where buffers lie in the arena: blocks with a life of steps, never two in one place at one time.

The least arena is a hard problem (dynamic storage allocation), but seldom a hard one here: the sum of what is live at
the worst step is a bound, and one of a few greedy rules nearly always meets it. Where none does, few blocks are
packed exactly by branch and bound.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

EXACT = 24
"""So many blocks are packed by branch and bound, where the greedy rules leave a gap."""
ROUNDS = 20
"""How often blocks that lie too high get an earlier turn."""
NODES = 20_000
"""How many partial packings branch and bound looks at."""


class Block(NamedTuple):
    """Memory that is held from one step to another, both included."""

    size: int
    start: int
    end: int


class Packing(NamedTuple):
    """An offset for each block, the bytes of all, and what no packing can be below."""

    offsets: tuple[int, ...]
    bytes: int
    bound: int


def packed(blocks: Sequence[Block], nodes: int = NODES) -> Packing:
    """The best packing that the greedy rules and, for few blocks, branch and bound find."""
    bound = most_at_once(blocks)
    best = Packing(*around_the_peak(blocks), bound)
    if best.bytes == bound:
        return best
    for rule in RULES:
        found = in_turn(blocks, rule(blocks))
        if found.bytes < best.bytes:
            best = Packing(found.offsets, found.bytes, bound)
        if best.bytes == bound:
            return best
    best = complaints(blocks, best)
    if best.bytes > bound and len(blocks) <= EXACT:
        return Branching(blocks, best, nodes).run()
    return best


def held_at(blocks: Sequence[Block]) -> list[int]:
    """The bytes that are held in each step."""
    changes = [0] * (max([block.end for block in blocks], default=0) + 2)
    for size, start, end in blocks:
        changes[start] += size
        changes[end + 1] -= size
    return list(accumulate(changes[:-1]))


def most_at_once(blocks: Sequence[Block]) -> int:
    """The most bytes that are held in one step."""
    return max(held_at(blocks))


def fullest_step(blocks: Sequence[Block]) -> int:
    held = held_at(blocks)
    return held.index(max(held))


def around_the_peak(blocks: Sequence[Block]) -> tuple[tuple[int, ...], int]:
    """Those of the fullest step on top of each other, then the others from there forwards and backwards in time, each
    in the first gap between those that are alive with it; offsets, and the bytes of all.

    For most networks it meets the bound as the rules do, in a fraction of their time.
    """
    fullest = fullest_step(blocks)
    offsets, tops, there = [0] * len(blocks), [0], []
    for i in sorted(range(len(blocks)), key=lambda i: -blocks[i].size):
        size, start, end = blocks[i]
        if start <= fullest <= end and size:
            offsets[i] = tops[-1]
            tops.append(tops[-1] + size)
            there.append((offsets[i], tops[-1], start, end))
    later = [(block.start, i) for i, block in enumerate(blocks) if block.start > fullest and block.size]
    alive = there
    for start, i in sorted(later):
        alive = [each for each in alive if each[3] >= start]
        tops.append(fitted(blocks[i], alive))
        offsets[i] = tops[-1] - blocks[i].size
    earlier = [(-block.end, i) for i, block in enumerate(blocks) if block.end < fullest and block.size]
    alive = there
    for end, i in sorted(earlier):
        alive = [each for each in alive if each[2] <= -end]
        tops.append(fitted(blocks[i], alive))
        offsets[i] = tops[-1] - blocks[i].size
    return tuple(offsets), max(tops)


def fitted(block: Block, alive: list[tuple[int, int, int, int]]) -> int:
    """Puts a block into the first gap between those that are alive, which are sorted by offset; its end."""
    at = place = 0
    for low, high, _, _ in alive:
        if low - at >= block.size:
            break
        at, place = high, place + 1
    alive.insert(place, (at, at + block.size, block.start, block.end))
    return at + block.size


def in_turn(blocks: Sequence[Block], turn: Sequence[int]) -> Packing:
    """Each block in turn at the lowest place that is free for all of its life."""
    offsets = [0] * len(blocks)
    placed: list[tuple[int, int, int, int]] = []
    top = 0
    for i in turn:
        size, start, end = blocks[i]
        at = 0
        if size:
            for low, high, begins, ends in placed:              # sorted by offset
                if begins <= end and start <= ends:
                    if low - at >= size:
                        break
                    if high > at:
                        at = high
            insort(placed, (at, at + size, start, end))
        offsets[i] = at
        top = max(top, at + size)
    return Packing(tuple(offsets), top, 0)


def by_size(blocks: Sequence[Block]) -> list[int]:
    """Large ones first, as TensorFlow Lite's planners do (Pisarchyk and Lee, arXiv:2001.03288, greedy by size)."""
    return sorted(range(len(blocks)), key=lambda i: (-blocks[i].size, blocks[i].start))


def by_area(blocks: Sequence[Block]) -> list[int]:
    """By size times life."""
    return sorted(range(len(blocks)), key=lambda i: -blocks[i].size * (blocks[i].end - blocks[i].start + 1))


def from_the_peak(blocks: Sequence[Block]) -> list[int]:
    """Those of the fullest step first, then those next to it in time, and so on."""
    fullest = fullest_step(blocks)
    away = [max(block.start - fullest, fullest - block.end, 0) for block in blocks]
    return sorted(range(len(blocks)), key=lambda i: (away[i], -blocks[i].size))


def by_breadth(blocks: Sequence[Block]) -> list[int]:
    """By how full their fullest step is, then large ones first (the same paper's greedy by breadth)."""
    last = max((block.end for block in blocks), default=0)
    held = [0] * (last + 2)
    for size, start, end in blocks:
        for step in range(start, end + 1):
            held[step] += size
    return sorted(range(len(blocks)),
                  key=lambda i: (-max(held[blocks[i].start:blocks[i].end + 1]), -blocks[i].size))


RULES: tuple[Callable[[Sequence[Block]], list[int]], ...] = (by_breadth, from_the_peak, by_size, by_area)


def complaints(blocks: Sequence[Block], best: Packing) -> Packing:
    """From a turn that was nearly good, the blocks that came to lie too high get an earlier turn, again and again
    (squeaky wheel optimization, Joslin and Clements 1999)."""
    for rule in RULES[:2]:
        turn = rule(blocks)
        for _ in range(ROUNDS):
            found = in_turn(blocks, turn)
            if found.bytes < best.bytes:
                best = Packing(found.offsets, found.bytes, best.bound)
            if best.bytes == best.bound:
                return best
            high = {i for i in turn if found.offsets[i] + blocks[i].size >= best.bytes}
            at = min(turn.index(i) for i in high) // 2
            rest = [i for i in turn if i not in high]
            turn = rest[:at] + [i for i in turn if i in high] + rest[at:]
    return best


class Branching:
    """Packs exactly: any packing can be had by placing blocks in the order of their offsets, each on top of those
    below it, so all such orders are gone through, and those given up that cannot beat the best."""

    def __init__(self, blocks: Sequence[Block], best: Packing, nodes: int) -> None:
        self.blocks = blocks
        self.best = best
        self.nodes = nodes
        number = range(len(blocks))
        self.beside = [[j for j in number if j != i and blocks[i].start <= blocks[j].end
                        and blocks[j].start <= blocks[i].end] for i in number]

    def run(self) -> Packing:
        """The best packing; where all orders were gone through, its size is the bound."""
        self.place([0] * len(self.blocks), [0] * len(self.blocks), set(range(len(self.blocks))), 0)
        offsets, size, bound = self.best
        return Packing(offsets, size, size if self.nodes > 0 else bound)

    def place(self, offsets: list[int], floors: list[int], left: set[int], lowest: int) -> bool:
        """Places the blocks that are left, none below `lowest`; whether the search may stop."""
        if not left:
            top = max(at + block.size for at, block in zip(offsets, self.blocks, strict=True))
            self.best = Packing(tuple(offsets), top, self.best.bound)
            return top == self.best.bound
        self.nodes -= 1
        if self.nodes <= 0:
            return True
        if not self.hopeful(floors, left, lowest):
            return False
        for i in sorted(left, key=lambda j: (floors[j], -self.blocks[j].size)):
            at = floors[i]
            if at < lowest:
                continue
            top = at + self.blocks[i].size
            raised = [(j, floors[j]) for j in self.beside[i] if j in left and floors[j] < top]
            for j, _ in raised:
                floors[j] = top
            left.remove(i)
            offsets[i] = at
            ended = self.place(offsets, floors, left, at)
            left.add(i)
            for j, floor in raised:
                floors[j] = floor
            if ended:
                return True
        return False

    def hopeful(self, floors: list[int], left: set[int], lowest: int) -> bool:
        """Whether what is left can still stay below the best: each block above its floor, and at the start of each
        block all that is alive there above the lowest floor of them."""
        for i in left:
            if floors[i] < lowest:      # nothing is placed below the last one any more
                floor = lowest
            else:
                floor = floors[i]
            if floor + self.blocks[i].size >= self.best.bytes:
                return False
        for i in left:
            start = self.blocks[i].start
            alive = [j for j in left if self.blocks[j].start <= start <= self.blocks[j].end]
            low = min(max(floors[j], lowest) for j in alive)
            if low + sum(self.blocks[j].size for j in alive) >= self.best.bytes:
                return False
        return True
