"""Accesses of random small nests, against walking through every step and looking at what each memory holds."""

import itertools
import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.hardware.mapping.architecture import OPERANDS, ZIGZAG, Architecture, Memory, Port
from archfab.hardware.mapping.batch import of_nests
from archfab.hardware.mapping.latency import covered
from archfab.hardware.mapping.layer import LOOPS, Layer, distinct
from archfab.hardware.mapping.nest import Nest, check, moves
from archfab.hardware.mapping.traffic import Flow, reach

RULES = replace(ZIGZAG, first_reads=False, halo_shared=False, input_edges=False)
"""What a walk sees: no reads of what was never written, units that want the same tile served at once."""


def memory(name, operands, serves):
    directions = ("from_above", "to_below", "from_below", "to_above")
    return Memory(name, math.inf, 1.0, 1.0, operands,
                  (Port("port", 8, 8, tuple((each, way) for each in operands for way in directions)),), serves)


def touched(operand, layer, at):
    """The element of an operand that a multiply-accumulate at these loop counters uses."""
    b, g, k, c, oy, ox, fy, fx = at
    rows = layer.stride[0] * oy + layer.dilation[0] * fy, layer.stride[1] * ox + layer.dilation[1] * fx
    return {"input": (b, g, c, *rows), "weight": (g, k, c, fy, fx), "output": (b, g, k, oy, ox)}[operand]


def walked(layer, nest, architecture):
    """Elements moved by (operand, level, direction), by walking. A loop's counter has its inner loops as low digits."""
    spread = [(loop, units) for along in nest.unrolled for loop, units in along]
    where = [along for along, loops in enumerate(nest.unrolled) for _ in loops]
    units = list(itertools.product(*(range(count) for _, count in spread)))
    steps = list(itertools.product(*(range(count) for _, count in reversed(nest.loops))))

    def counters(step, unit):
        at, weight = [0] * 8, [1] * 8
        for (loop, count), digit in zip(nest.loops, reversed(step), strict=True):
            at[LOOPS.index(loop)] += digit * weight[LOOPS.index(loop)]
            weight[LOOPS.index(loop)] *= count
        for (loop, count), digit in zip(spread, unit, strict=True):
            at[LOOPS.index(loop)] += digit * weight[LOOPS.index(loop)]
            weight[LOOPS.index(loop)] *= count
        return at

    moved = defaultdict(int)
    for operand in OPERANDS:
        levels, held = architecture.levels(operand), dict(nest.held)[operand]
        fans = reach(architecture, operand)
        used = {(step, unit): touched(operand, layer, counters(step, unit)) for step in steps for unit in units}
        for boundary in range(len(levels)):
            inner = [at for each in fans[:boundary] for at in each]             # dimensions inside the boundary
            passed = [at for each in fans[:boundary + 1] for at in each]        # and inside the memory outside it
            cut = held[boundary - 1] if boundary else 0
            tiles, seen = {}, defaultdict(set)
            for outer, run in itertools.groupby(steps, key=lambda step: step[:len(step) - cut]):
                inside = defaultdict(set)
                turned = tuple(digit for digit, (loop, _) in zip(outer, reversed(nest.loops), strict=False)
                               if loop in moves(operand))       # two windows that happen to be equal count as two tiles
                for step in run:
                    for unit in units:
                        instance = tuple(digit for digit, at in zip(unit, where, strict=True) if at not in inner)
                        inside[instance].add(used[step, unit])
                parents = defaultdict(list)
                for unit in units:
                    instance = tuple(digit for digit, at in zip(unit, where, strict=True) if at not in inner)
                    parent = tuple(digit for digit, at in zip(unit, where, strict=True) if at not in passed)
                    tile = frozenset(inside[instance])
                    if (boundary == 0 and (operand == "output" or not architecture.rules.latched)) \
                            or tiles.get(instance) != turned:
                        parents[parent].append((instance, tile))
                for parent, changed in parents.items():
                    for tile in {tile for _, tile in changed}:                  # one read for all that want the same
                        if operand != "output":
                            moved[operand, boundary, "to_below"] += len(tile)
                            continue
                        moved[operand, boundary, "from_below"] += len(tile)     # each tile that comes also leaves
                        back = tile <= seen[parent]
                        assert back or not tile & seen[parent]
                        moved[operand, boundary, "to_below"] += len(tile) * back
                        if boundary:
                            for _ in {instance for instance, one in changed if one == tile}:
                                moved[operand, boundary - 1, "from_above"] += len(tile) * back
                    for instance, tile in set(changed):
                        if boundary:
                            way = "to_above" if operand == "output" else "from_above"
                            moved[operand, boundary - 1, way] += len(tile)
                        tiles[instance] = turned
                    for _, tile in changed:
                        seen[parent] |= tile
    return moved


@st.composite
def cases(draw):
    """A layer of at most a few hundred steps, an array of one or two dimensions, and a mapping."""
    dimensions = draw(st.integers(1, 2))
    names = [f"D{at}" for at in range(dimensions)]
    window = draw(st.booleans())
    loops, spread = [], []
    for loop in draw(st.permutations(("B", "G", "K", "C", "OY", "OX", "FY", "FX")))[:draw(st.integers(1, 5))]:
        count = draw(st.sampled_from((2, 3)))
        loops.append((loop, count))
        if draw(st.booleans()) and len(loops) < 6:
            loops.append((loop, 2))
    loops = draw(st.permutations(loops))
    while math.prod(count for _, count in loops) > 100:
        loops = loops[:-1]
    unrolled = []
    for _ in names:
        free = ["B", "G", "K", "C"]     # counters of windows are contiguous only where loops alone make them
        spread = draw(st.sampled_from([(), ((draw(st.sampled_from(free)), draw(st.integers(2, 3))),)]))
        unrolled.append(tuple(spread))
    total = dict.fromkeys(LOOPS, 1)
    for loop, count in (*loops, *(each for along in unrolled for each in along)):
        total[loop] *= count
    layer = Layer(*(total[loop] for loop in LOOPS), stride=(draw(st.integers(1, 3)), 1 + window),
                  dilation=(draw(st.integers(1, 2)), 1))
    memories, held = [], {}
    serves = {operand: set() for operand in OPERANDS}
    for number in range(draw(st.integers(1, 4))):
        operands = draw(st.sampled_from([("input",), ("weight",), ("output",), ("input", "output"), OPERANDS]))
        shared = set.union(*(serves[each] for each in operands)) | set(draw(st.sets(st.sampled_from(names))))
        for each in operands:
            serves[each] = shared
        memories.append(memory(f"m{number}", operands, tuple(sorted(shared))))
    memories.append(memory("last", OPERANDS, tuple(names)))
    architecture = Architecture("random", tuple((name, 16) for name in names), 1.0, tuple(memories),
                                replace(RULES, latched=draw(st.booleans())))
    for operand in OPERANDS:
        count = len(architecture.levels(operand))
        held[operand] = (*sorted(draw(st.integers(0, len(loops))) for _ in range(count - 1)), len(loops))
    return layer, Nest(tuple(unrolled), tuple(loops), tuple(held.items())), architecture


@settings(max_examples=60, deadline=None)
@given(cases())
def test_every_transfer_is_what_a_walk_through_all_steps_counts(case):
    layer, nest, architecture = case
    check(nest, layer, architecture)
    batch = of_nests([(layer, nest)], architecture)
    told = {}
    for operand in OPERANDS:
        for each in Flow(operand, batch, architecture).transfers():
            told[operand, each.level, each.direction] = float((each.amount * each.count * each.units * each.share)[0])
    counted = walked(layer, nest, architecture)
    for key in told.keys() | counted.keys():
        assert told.get(key, 0.0) == pytest.approx(counted.get(key, 0)), (key, nest.text(architecture))


@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 5), st.integers(1, 4))
def test_positions_of_a_window_are_counted_without_repeats(outputs, taps, stride, dilation):
    positions = {stride * i + dilation * j for i in range(outputs) for j in range(taps)}
    assert distinct(outputs, taps, stride, dilation) == len(positions)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 12)), min_size=1, max_size=4), st.integers(1, 3))
def test_windows_that_open_together_cover_what_counting_says(windows, rounds):
    period, periods, spans = 1, [], []
    for factor, span in windows:
        period *= factor
        periods.append(period)
        spans.append(min(span, period))
    total = period * rounds
    steps = np.arange(total)
    expected = sum(any(step % p < s for p, s in zip(periods, spans, strict=True)) for step in steps)
    order = np.random.default_rng(0).permutation(len(periods))
    periods, spans = np.array(periods, float)[order][:, None], np.array(spans, float)[order][:, None]
    found = covered(periods, spans, np.array([float(total)]))
    assert found[0] == expected
