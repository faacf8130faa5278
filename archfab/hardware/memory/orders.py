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

import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from itertools import accumulate, count
from operator import eq
from typing import NamedTuple

from archfab.hardware.memory.segment import Segment, bits

SURE = 20
"""A piece of up to so many steps is solved exactly, however long it takes."""
EFFORT = 20_000
"""How many sets are looked at in a larger piece before a good order is taken in place of the best."""
DIVES = 40
"""How many sets are then looked at to find an order that is better by a byte, as long as that succeeds."""


class Order(NamedTuple):
    """An order of a segment's steps, its peak, and what no order can be below."""

    steps: tuple[int, ...]
    peak: int
    bound: int


def best_order(segment: Segment, effort: int = EFFORT) -> Order:
    """The order with the least peak; where the search ends early, `bound` is less than `peak`."""
    order = list(range(len(segment.before)))
    live, start_live = lives(segment, order), at_rest(segment)
    highest = lowest = start_live
    ranges = [(max([during for during, _ in live[start:end]]), start, end) for start, end in pieces(segment)]
    for most, start, end in sorted(ranges, reverse=True):
        if most <= highest:                 # the given order is as good as that of any piece that is left needs to be
            break
        if end - start == 1:
            highest = lowest = most
            continue
        part, unit = segment.part(start, end).scaled()
        base = (live[start - 1][1] if start else start_live) - unit * at_rest(part)
        found = solved(part, effort)
        order[start:end] = [start + k for k in found.steps]
        highest, lowest = max(highest, base + unit * found.peak), max(lowest, base + unit * found.bound)
    return Order(tuple(order), highest, lowest)


def at_rest(segment: Segment) -> int:
    """What is live before the first step."""
    return sum(held.size for held in segment.buffers if held.first < 0)


def lives(segment: Segment, order: Sequence[int]) -> list[tuple[int, int]]:
    """For each step in an order, the bytes that are live while it runs and after it."""
    number, live, found = len(order), at_rest(segment), []
    news, gone, held = [0] * number, [0] * (number + 1), spans(segment, order)
    for (start, end), (size, first, _, stays) in zip(held, segment.buffers, strict=True):
        if first >= 0:
            news[start] += size
        gone[number if stays else end] += size
    for at, k in enumerate(order):
        during = live + news[at] + segment.scratch[k]
        for i in segment.over[k]:
            if held[i][1] == at:
                during -= segment.buffers[i].size
                break
        live += news[at] - gone[at]
        found.append((during, live))
    return found


def spans(segment: Segment, order: Sequence[int]) -> list[tuple[int, int]]:
    """From which to which place in an order each buffer is held."""
    number = len(order)
    last = max(0, number - 1)
    if all(map(eq, order, range(number))):
        return [(first if first > 0 else 0, last if stays else uses.bit_length() - 1)
                for _, first, uses, stays in segment.buffers]
    place = [0] * number
    for at, k in enumerate(order):
        place[k] = at
    return [(place[first] if first >= 0 else 0, last if stays else max([place[k] for k in bits(uses)]))
            for _, first, uses, stays in segment.buffers]


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
    before, sizes = [bits(mask) for mask in segment.before], [held.size for held in segment.buffers]
    number = len(before)
    made, needed, later, there, always = [0] * number, [0] * number, [0] * number, 0, 0
    for i, (_, first, uses, stays) in enumerate(segment.buffers):
        bit = 1 << i
        if stays:
            always |= bit
        if first >= 0:
            made[first] |= bit
        else:
            there |= bit
        for k in bits(uses):
            needed[k] |= bit
    for k in range(number):
        for p in before[k]:
            made[k] |= made[p]
    for k in reversed(range(number)):
        need, after = needed[k], later[k] | 1 << k
        for p in before[k]:
            needed[p] |= need
            later[p] |= after
    most = at_rest(segment)
    for k in range(number):
        live = segment.scratch[k] + sum([sizes[i] for i in bits((made[k] | there) & (needed[k] | always))])
        if live > most:
            after = later[k]
            live -= max([sizes[i] for i in segment.over[k] if not segment.buffers[i].uses & after], default=0)
            most = max(most, live)
    return most


def pieces(segment: Segment) -> Iterator[tuple[int, int]]:
    """Ranges of steps, each ending in a step that all earlier ones lead to and all later ones come from.

    Such a step is one that no step before it waits to pass by, and no step after it can do without.
    """
    number = len(segment.before)
    follower, seen = [number] * number, 0           # the first step that each step leads to
    for k, mask in enumerate(segment.before):
        for p in bits(mask & ~seen):
            follower[p] = k
        seen |= mask
    nearest = [mask.bit_length() - 1 for mask in segment.before]        # the last step that each step comes from
    least = [*accumulate(reversed(nearest), min, initial=number)][::-1]
    start = waits = 0
    for k in range(number):
        if waits <= k <= least[k + 1]:
            yield start, k + 1
            start = k + 1
        waits = max(waits, follower[k])
    if start < number:
        yield start, number


@lru_cache(maxsize=4096)
def solved(segment: Segment, effort: int) -> Order:
    """The least peak of a piece by minimax search over its down-sets."""
    peak = max(during for during, _ in lives(segment, range(len(segment.before))))
    if peak == floor_of(segment):
        return Order(tuple(range(len(segment.before))), peak, peak)
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
        """The best order; where there is too much to look at, a good one and a bound."""
        best = self.order(tuple(range(self.number)), floor_of(self.segment))
        steps, bound = self.explore(best.bound, best.peak, effort if self.number > SURE else sys.maxsize)
        if steps or bound == best.peak:
            return Order(steps or best.steps, bound, bound)
        best = min(Order(best.steps, best.peak, bound), self.order(self.greedy(bound), bound), key=lambda o: o.peak)
        while best.peak > bound and (steps := self.explore(best.peak - 1, best.peak, DIVES)[0]):
            best = self.order(steps, bound)
        return best

    def order(self, steps: tuple[int, ...], bound: int) -> Order:
        return Order(steps, max(during for during, _ in lives(self.segment, steps)), bound)

    def explore(self, peak: int, ceiling: int, effort: int) -> tuple[tuple[int, ...], int]:
        """From a peak that is allowed from the start on, an order whose peak is the least below the ceiling, and that
        peak; no order and the ceiling, where there is none; no order and what none can be below, where more states
        would have to be looked at than allowed."""
        ready = sum(1 << k for k, mask in enumerate(self.segment.before) if not mask)
        state, fresh, ties = State(0, at_rest(self.segment), ready, ()), ready, count()
        heap: list[tuple[int, int, int, int, State, int]] = []
        seen: set[int] = set()
        while True:
            state = self.freely(peak, state, fresh)
            if state.done == (1 << self.number) - 1:
                return unwound(state.path), peak
            if len(seen) >= effort:
                return (), peak
            if state.done not in seen:
                seen.add(state.done)
                for k in bits(state.ready):
                    during = max(peak, self.step(k, state.done, state.live)[0])
                    if during < ceiling and state.done | 1 << k not in seen:
                        heappush(heap, (during, -state.done.bit_count(), next(ties), k, state, peak))
            if not heap:
                return (), ceiling
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

    def greedy(self, peak: int) -> tuple[int, ...]:
        """An order that takes the step that needs least memory each time."""
        ready = sum(1 << k for k, mask in enumerate(self.segment.before) if not mask)
        state = self.freely(peak, State(0, at_rest(self.segment), ready, ()), ready)
        while state.ready:
            k = min(bits(state.ready), key=lambda j: self.ranked(peak, j, state))
            peak, state = max(peak, self.step(k, state.done, state.live)[0]), self.taken(k, state)
            state = self.freely(peak, state, state.ready)
        return unwound(state.path)

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
