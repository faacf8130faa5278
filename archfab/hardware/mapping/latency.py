"""Cycles of a batch of mappings: the steps of the loops, and what the memories' ports add.

Where transfers do not stall (`Rules.stalls` false), the slowest port rules, as all of them work at the same time.
Where they do, the model is that of ZigZag (Mei et al., DATE 2022): a transfer has its whole period where a second
buffer takes it and the window in which the old tile is no longer used where not; what does not fit is a stall;
transfers that share a port share its time; the first tiles are fetched before the first step as far as no port had
time for them during the computation, the last results are written after the last step, and along a systolic
dimension results leave a unit a cycle after they are ready.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from archfab.hardware.mapping.architecture import Architecture, Port
from archfab.hardware.mapping.batch import Array, Batch
from archfab.hardware.mapping.traffic import Flow, Transfer


class Cycles(NamedTuple):
    """Steps, stalls between them, cycles before the first and after the last."""

    steps: Array
    stalls: Array
    loading: Array
    unloading: Array

    @property
    def total(self) -> Array:
        return self.steps + self.stalls + self.loading + self.unloading


def cycles(flows: Mapping[str, Flow], transfers: Sequence[Transfer], batch: Batch,
           architecture: Architecture) -> Cycles:
    """The cycles of every mapping of a batch."""
    steps = batch.steps[:, -1]
    ports: dict[tuple[int, str], list[Transfer]] = {}
    for each in transfers:
        ports.setdefault((architecture.levels(each.operand)[each.level], each.port.name), []).append(each)
    none = np.zeros(len(batch))
    if not architecture.rules.stalls:
        busy = [sum((each.amount * each.bits * each.count for each in group), none) / group[0].port.bits
                for group in ports.values()]
        return Cycles(steps, np.max([np.ceil(each) - steps for each in busy] + [none], axis=0), none, none)
    double = second_buffers(flows, architecture)
    stalls = np.max([none] + [stalled(group, double) for group in ports.values()], axis=0)
    loads: dict[tuple[str, int, str], Array] = {}
    for group in ports.values():
        loads.update(outside(group, flows, steps + stalls))
    return Cycles(steps, stalls, loading(loads, flows), unloading(loads, flows) + drain(batch, architecture))


def second_buffers(flows: Mapping[str, Flow], architecture: Architecture) -> dict[tuple[str, int], Array]:
    """For each operand and boundary, whether the memory inside it has room for the next tile beside this one."""
    order = ("output", "weight", "input")       # whoever comes first takes the room
    used = {(name, level): flows[name].in_use(level + 1) / memory.size
            for name in order for level, memory in enumerate(flows[name].memories)}
    full = {}
    for at, memory in enumerate(architecture.memories):
        full[at] = sum(used[name, architecture.levels(name).index(at)] for name in order if name in memory.operands)
    found: dict[tuple[str, int], Array] = {}
    for name in order:
        found[name, 0] = np.zeros(len(flows[name].batch), bool)
        for level, at in enumerate(flows[name].levels):
            easily, just = full[at] <= 0.5, used[name, level] <= 1 - full[at]
            found[name, level + 1] = easily | just
            if len(architecture.memories[at].operands) > 1:
                full[at] = full[at] + np.where(just & ~easily, used[name, level], 0.0)
    return found


def allowed(transfer: Transfer, double: Mapping[tuple[str, int], Array]) -> Array:
    """The steps that a transfer may take of its period."""
    boundary = transfer.level + transfer.direction.endswith("above")
    return np.where(double[transfer.operand, boundary], transfer.period, transfer.window)


def stalled(group: Sequence[Transfer], double: Mapping[tuple[str, int], Array]) -> Array:
    """Cycles that a port makes the array wait: transfers that take longer than they may, and where none does, what is
    lacking as they share the port."""
    late, spare, sought, busy = np.zeros((4, len(group[0].period)))
    periods, spans = [], []
    always = np.zeros(len(group[0].period), bool)
    for each in group:
        active, may = each.count > 0, allowed(each, double)
        times = np.where(active, np.maximum(each.count - 1, 0), 0.0)
        excess = (each.cycles - may) * times
        late, spare = late + np.maximum(excess, 0), spare + np.minimum(excess, 0)
        sought = sought + may * times
        always |= active & (may >= each.period)
        periods.append(np.where(active, each.period, 1.0))
        spans.append(np.where(active, may, 0.0))
        busy = np.maximum(busy, np.where(active, each.period * each.count, 0.0))
    union = np.array(busy)
    rows = np.flatnonzero(~always)
    if len(rows):
        union[rows] = covered(np.array(periods)[:, rows], np.array(spans)[:, rows], union[rows])
    return late + np.maximum(0, spare + sought - union)


def covered(periods: Array, spans: Array, total: Array) -> Array:
    """Steps of a total in which at least one of several windows is open. Window i is open for the first spans[i] steps
    of every periods[i]; each period is a multiple of the smaller ones."""
    order = np.argsort(periods, axis=0, kind="stable")
    periods, spans = np.take_along_axis(periods, order, 0), np.take_along_axis(spans, order, 0)

    def until(which: int, step: Array) -> Array:
        """Covered steps among the first ones, by the windows up to one."""
        if which < 0:
            return np.zeros_like(step)
        rounds, rest = np.divmod(step, periods[which])
        return rounds * once(which, periods[which]) + once(which, rest)

    def once(which: int, step: Array) -> Array:
        begun = np.minimum(step, spans[which])
        return begun + until(which - 1, step) - until(which - 1, begun)

    return until(len(periods) - 1, total)


def outside(group: Sequence[Transfer], flows: Mapping[str, Flow], during: Array) -> dict[tuple[str, int, str], Array]:
    """Cycles before the first or after the last step that each transfer of a port takes. What is moved only once may
    be moved while the array computes, as far as the port has time then and all but one smallest tile of it."""
    port = group[0].port
    moved = [each for each in group if each.operand != "output" or each.direction in ("from_below", "to_above")]
    if not moved:
        return {}
    needed = np.array([each.cycles for each in moved])
    once = np.array([each.count == 1 for each in moved])
    asked = sum(np.where(each.count > 1, np.floor(each.amount * each.bits / each.period), 0.0) for each in moved)
    least = np.array([np.ceil(flows[each.operand].bits_moved(1) / port.bits) for each in moved])
    surplus = np.maximum(0, (1 - asked / port.bits) * during)
    movable = np.where(once, np.maximum(0, needed - least), 0.0)
    order = np.argsort(np.where(once, -needed, np.inf), axis=0, kind="stable")
    sorted_movable = np.take_along_axis(movable, order, 0)
    before = np.cumsum(sorted_movable, axis=0) - sorted_movable
    hidden = np.clip(surplus - before, 0, sorted_movable)
    left = np.empty_like(needed)
    np.put_along_axis(left, order, np.take_along_axis(needed, order, 0) - hidden, 0)
    return {(each.operand, each.level, each.direction): left[at] for at, each in enumerate(moved)}


def shared(port: Port) -> bool:
    """Whether inputs and weights go through the same port."""
    return len({operand for operand, _ in port.serves} & {"input", "weight"}) == 2


def loading(loads: Mapping[tuple[str, int, str], Array], flows: Mapping[str, Flow]) -> Array:
    """Cycles until the first tiles are in the innermost memories: inputs and weights at the same time, but for ports
    that both go through."""
    parts = {}
    for name in ("input", "weight"):
        flow = flows[name]
        alone, half, both = np.zeros((3, len(flow.batch)))
        for level in range(len(flow.levels) - 1):
            inner = flow.memories[level].port(name, "from_above")
            outer = flow.memories[level + 1].port(name, "to_below")
            assert inner and outer
            longest = np.maximum(loads[name, level, "from_above"], loads[name, level + 1, "to_below"])
            if shared(inner) and shared(outer):
                both = both + longest
            elif shared(inner) or shared(outer):
                half = longest
            else:
                alone = alone + longest
        parts[name] = (both, half + alone)
    (both_1, rest_1), (both_2, rest_2) = parts["weight"], parts["input"]
    return np.minimum(both_1 + np.maximum(both_2 + rest_2, rest_1), both_2 + np.maximum(both_1 + rest_1, rest_2))


def unloading(loads: Mapping[tuple[str, int, str], Array], flows: Mapping[str, Flow]) -> Array:
    """Cycles from the last step until the results are in the outermost memory, one memory after another."""
    found = np.zeros(len(flows["output"].batch))
    for level in range(len(flows["output"].levels) - 1):
        found = found + np.maximum(loads["output", level, "to_above"], loads["output", level + 1, "from_below"])
    return found


def drain(batch: Batch, architecture: Architecture) -> Array:
    """Cycles that the last results take along the systolic dimensions."""
    along = [at for at, (name, _) in enumerate(architecture.array) if name in architecture.systolic]
    return np.maximum(batch.unroll[:, along].prod(axis=2) - 1, 0).sum(axis=1)
