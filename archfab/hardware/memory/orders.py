"""The order of steps with the least peak of live memory.

What is live after a set of steps does not hang on their order, so orders are paths through the sets that are closed
under "runs earlier" (down-sets), and the least peak is a minimax shortest path: the set of least peak so far is taken
next (Dijkstra's algorithm with max in place of sum). Three things keep it small. A bound: at a step, what its
ancestors made and it or its descendants need is live in every order; an order that meets it is best. Free moves: a
chain of steps that fits under the peak so far and leaves no more memory live than before can be run at once, for live
memory is submodular in the set of steps run, so that the chain never does worse early than late. And pieces: a step
that is an ancestor or a descendant of every other one cuts the graph in two that have nothing to do with each other;
equal pieces are solved once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from archfab.hardware.memory.segment import Segment, bits

SURE = 20
"""A piece of up to so many steps is solved exactly, however long it takes."""
EFFORT = 20_000
"""How many sets are looked at in a larger piece before the best order so far is taken."""


class Order(NamedTuple):
    """An order of a segment's steps, its peak, and what no order can be below."""

    steps: tuple[int, ...]
    peak: int
    bound: int


def best_order(segment: Segment, effort: int = EFFORT) -> Order:
    """The order with the least peak; where the search ends early, `bound` is less than `peak`."""
    given = tuple(range(len(segment.before)))
    bound, live = floor_of(segment), lives(segment, given)
    peak = max((during for during, _ in live), default=at_rest(segment))
    if peak == bound:
        return Order(given, peak, bound)
    order: list[int] = []
    highest = lowest = bound
    for start, end in pieces(segment):
        most = max(during for during, _ in live[start:end])
        if most <= highest:                             # as good as any order of this piece needs to be
            order += given[start:end]
            continue
        part, unit = segment.part(start, end).scaled()
        base = (live[start - 1][1] if start else at_rest(segment)) - unit * at_rest(part)
        found = solved(part, effort)
        order += [start + k for k in found.steps]
        highest, lowest = max(highest, base + unit * found.peak), max(lowest, base + unit * found.bound)
    return Order(tuple(order), highest, lowest)


def at_rest(segment: Segment) -> int:
    """What is live before the first step."""
    return sum(held.size for held in segment.buffers if held.first < 0)


def lives(segment: Segment, order: Sequence[int]) -> list[tuple[int, int]]:
    """For each step in an order, the bytes that are live while it runs and after it."""
    news, ends = births(segment), deaths(segment)
    left = [held.uses for held in segment.buffers]
    live, found = at_rest(segment), []
    for k in order:
        kept = ~(1 << k)
        saved = 0
        for i in segment.over[k]:
            if not left[i] & kept:
                saved = segment.buffers[i].size
        during = live + news[k] + segment.scratch[k] - saved
        live += news[k]
        for i in ends[k]:
            left[i] &= kept
            if not left[i]:
                live -= segment.buffers[i].size
        found.append((during, live))
    return found


def births(segment: Segment) -> list[int]:
    """For each step, the bytes of the buffers that it is the first to write."""
    news = [0] * len(segment.before)
    for held in segment.buffers:
        if held.first >= 0:
            news[held.first] += held.size
    return news


def deaths(segment: Segment) -> list[list[int]]:
    """For each step, the buffers that it may be the last to use."""
    ends: list[list[int]] = [[] for _ in segment.before]
    for i, held in enumerate(segment.buffers):
        if not held.stays:
            for k in bits(held.uses):
                ends[k].append(i)
    return ends


def floor_of(segment: Segment) -> int:
    """A bound of every order's peak: the most, over the steps, of what must be live while the step runs."""
    steps = range(len(segment.before))
    made, needed, always = [0] * len(steps), [0] * len(steps), 0
    for i, held in enumerate(segment.buffers):
        if held.stays:
            always |= 1 << i
        if held.first >= 0:
            made[held.first] |= 1 << i
        for k in bits(held.uses):
            needed[k] |= 1 << i
    there = sum(1 << i for i, held in enumerate(segment.buffers) if held.first < 0)
    for k in steps:
        for p in bits(segment.before[k]):
            made[k] |= made[p]
    for k in reversed(steps):
        for p in bits(segment.before[k]):
            needed[p] |= needed[k]
    sizes = [held.size for held in segment.buffers]
    later = [0] * len(steps)
    for k in reversed(steps):
        for p in bits(segment.before[k]):
            later[p] |= later[k] | 1 << k
    most = at_rest(segment)
    for k in steps:
        live = sum(sizes[i] for i in bits((made[k] | there) & (needed[k] | always))) + segment.scratch[k]
        saved = max((sizes[i] for i in segment.over[k] if not segment.buffers[i].uses & later[k]), default=0)
        most = max(most, live - saved)
    return most


def pieces(segment: Segment) -> Iterator[tuple[int, int]]:
    """Ranges of steps, each ending in a step that all earlier ones lead to and all later ones come from."""
    number = len(segment.before)
    earlier = [0] * number
    for k, mask in enumerate(segment.before):
        for p in bits(mask):
            earlier[k] |= earlier[p]
        earlier[k] |= mask
    common, cuts = -1, []
    for k in reversed(range(number)):
        if earlier[k] == (1 << k) - 1 and common >> k & 1:
            cuts.append(k + 1)
        common &= earlier[k]
    start = 0
    for end in [*reversed(cuts), *([] if cuts[:1] == [number] else [number])]:
        yield start, end
        start = end


@lru_cache(maxsize=4096)
def solved(segment: Segment, effort: int) -> Order:
    """The least peak of a piece by minimax search over its down-sets."""
    return Search(segment).run(effort)


class State(NamedTuple):
    """Where an order has come to: which steps have run (a mask), what is live, which steps can run next."""

    done: int
    live: int
    ready: int
    path: tuple         # the steps so far, linked from the last to the first


class Search:
    """One minimax search."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.number = len(segment.before)
        self.news = births(segment)
        self.after: list[list[tuple[int, int]]] = [[] for _ in segment.before]
        for j, mask in enumerate(segment.before):
            for k in bits(mask):
                self.after[k].append((mask, 1 << j))
        self.ends = [[(segment.buffers[i].uses & ~(1 << k), segment.buffers[i].size) for i in ends]
                     for k, ends in enumerate(deaths(segment))]
        self.over = [[(segment.buffers[i].uses & ~(1 << k), segment.buffers[i].size) for i in over]
                     for k, over in enumerate(segment.over)]
        self.near = [0] * self.number           # the steps that share a buffer with a step
        for held in segment.buffers:
            for k in bits(held.uses):
                self.near[k] |= held.uses

    def run(self, effort: int) -> Order:
        given = tuple(range(self.number))
        best = Order(given, max(during for during, _ in lives(self.segment, given)), floor_of(self.segment))
        full, ties = (1 << self.number) - 1, count()
        seen: set[int] = set()
        heap: list[tuple[int, int, int, int, State, int]] = []
        ready = sum(1 << k for k, mask in enumerate(self.segment.before) if not mask)
        peak, state = best.bound, State(0, at_rest(self.segment), ready, ())
        fresh = ready
        while True:
            state = self.freely(peak, state, fresh)
            if state.done == full:
                return Order(unwound(state.path), peak, peak)
            if len(seen) >= effort and self.number > SURE:
                return self.greedy(best, peak, state)
            if state.done not in seen:
                seen.add(state.done)
                for k in bits(state.ready):
                    during = max(peak, self.step(k, state.done, state.live)[0])
                    if during < best.peak and state.done | 1 << k not in seen:
                        heappush(heap, (during, -state.done.bit_count(), next(ties), k, state, peak))
            if not heap:
                return Order(best.steps, best.peak, best.peak)
            peak, _, _, k, before, earlier = heappop(heap)
            state = self.taken(k, before)
            fresh = state.ready if peak > earlier else state.ready & (~before.ready | self.near[k])

    def taken(self, k: int, state: State) -> State:
        """The state after one more step."""
        done = state.done | 1 << k
        return State(done, self.step(k, state.done, state.live)[1], self.opened(k, done, state.ready), (state.path, k))

    def step(self, k: int, done: int, live: int) -> tuple[int, int]:
        """Bytes live during and after a step."""
        during = then = live + self.news[k]
        for others, size in self.ends[k]:
            if others & done == others:
                then -= size
        for others, size in self.over[k]:
            if others & done == others:
                return during - size + self.segment.scratch[k], then
        return during + self.segment.scratch[k], then

    def opened(self, k: int, done: int, ready: int) -> int:
        """What can run once `k` has."""
        ready &= ~(1 << k)
        for needs, bit in self.after[k]:
            if needs & done == needs:
                ready |= bit
        return ready

    def freely(self, peak: int, state: State, fresh: int) -> State:
        """Runs chains that stay within the peak and leave no more live than before; of the steps that are ready only
        the `fresh` ones are looked at, for of the others it is known already."""
        while fresh:
            low = fresh & -fresh
            fresh ^= low
            then = self.chain(low.bit_length() - 1, peak, state)
            if then:
                fresh |= then.ready & ~state.ready
                for k in bits(then.done & ~state.done):
                    fresh |= then.ready & self.near[k]
                fresh &= then.ready
                state = then
        return state

    def chain(self, k: int, peak: int, state: State) -> State | None:
        """From step `k` on, each step opened by the one before, until no more is live than at first."""
        done, live, ready, path = state
        while True:
            during, live = self.step(k, done, live)
            if during > peak:
                return None
            before, done = ready, done | 1 << k
            ready, path = self.opened(k, done, ready), (path, k)
            if live <= state.live:
                return State(done, live, ready, path)
            opened = ready & ~before
            if not opened:
                return None
            k = opened.bit_length() - 1
            if opened != 1 << k:
                k = min(bits(opened), key=lambda j: self.step(j, done, live)[1])

    def greedy(self, best: Order, bound: int, state: State) -> Order:
        """From a state to the end by the step that needs least memory each time; the better of that and `best`."""
        peak = bound
        while state.ready:
            state = self.freely(peak, state, state.ready)
            if not state.ready:
                break
            k = min(bits(state.ready), key=lambda j: self.ranked(peak, j, state))
            peak, state = max(peak, self.step(k, state.done, state.live)[0]), self.taken(k, state)
        return Order(unwound(state.path), peak, bound) if peak < best.peak else Order(best.steps, best.peak, bound)

    def ranked(self, peak: int, k: int, state: State) -> tuple[int, int]:
        during, live = self.step(k, state.done, state.live)
        return max(peak, during), live


def unwound(path: tuple) -> tuple[int, ...]:
    """The steps of a linked path, first to last."""
    steps = []
    while path:
        path, k = path
        steps.append(k)
    return tuple(reversed(steps))
