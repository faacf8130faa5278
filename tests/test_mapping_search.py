"""The mapping search: against every mapping of small layers, and as good as Timeloop's; the same every time."""

import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab import registry
from archfab.core import BuildError, UsageError
from archfab.hardware.mapping import timeloop
from archfab.hardware.mapping.architecture import Architecture, Memory, Port
from archfab.hardware.mapping.batch import of_layers
from archfab.hardware.mapping.evaluate import evaluate
from archfab.hardware.mapping.layer import LOOPS, Layer, distinct
from archfab.hardware.mapping.nest import Nest, check, moves
from archfab.hardware.mapping.search import OBJECTIVES, best, prime_factors, scored, search
from archfab.hardware.mapping.unroll import fitting, unrollings
from archfab.hardware.models.accelerator import architecture_of

C3 = Layer(inputs=3, outputs=32, height=112, width=112, kernel_height=3, kernel_width=3, stride=(2, 2))


def array(name):
    return architecture_of(registry.load("devices", name))


def memory(name, size, cost, operands, serves, bits):
    return Memory(name, size, cost, cost, operands, (
        Port("r", bits, 8, tuple((each, way) for each in operands for way in ("to_below", "to_above"))),
        Port("w", bits, 8, tuple((each, way) for each in operands for way in ("from_above", "from_below")))), serves)


SMALL = Architecture("small", (("D1", 2), ("D2", 2)), 0.1, (
    memory("weights", 32, 0.02, ("weight",), (), 16), memory("sums", 32, 0.02, ("output",), ("D2",), 32),
    memory("buffer", 512, 1.0, ("input", "output"), ("D1", "D2"), 64),
    memory("dram", 1e9, 20.0, ("input", "weight", "output"), ("D1", "D2"), 32)), systolic=("D1",))


def every_mapping(layer, architecture, objective):
    """The best of all orders of all prime factors under all unrollings."""
    lowest = math.inf
    units = unrollings(layer, architecture, 10**6)
    for unroll in units:
        rounds = np.ceil(np.array(layer.sizes) / unroll.prod(axis=0)).astype(int)
        primes = [(loop, prime) for loop, count in enumerate(rounds) for prime in prime_factors(int(count))]
        orders = sorted(set(permutations(primes))) or [()]
        loop = np.array([[each for each, _ in order] or [0] for order in orders])
        count = np.array([[each for _, each in order] or [1] for order in orders], float)
        batch = of_layers([layer], np.zeros(len(orders), int), np.broadcast_to(unroll, (len(orders), *unroll.shape)),
                          loop, count)
        lowest = min(lowest, scored(batch, architecture, objective)[1].min())
    return lowest


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("layer", [
    Layer(outputs=4, inputs=4, height=2, width=2), Layer(outputs=2, inputs=6, width=4, kernel_width=3),
    Layer(groups=4, height=4, width=2, kernel_height=3), Layer(outputs=5, inputs=7, height=2),
    Layer(batch=2, outputs=4, inputs=2, width=3, kernel_width=2, stride=(1, 2))], ids=lambda each: str(each.sizes))
def test_no_mapping_of_a_small_layer_is_better(layer, objective):
    (_, found), = search([layer], SMALL, objective)
    reached = {"energy": found.energy, "latency": found.cycles, "edp": found.energy * found.cycles}[objective]
    assert reached <= every_mapping(layer, SMALL, objective) * 1.001


def test_the_search_finds_a_mapping_that_beats_timeloops(shared_data):
    folder = shared_data / "timeloop-eyeriss-like"
    architecture = timeloop.read(folder / "arch.yaml", folder / "ERT.yaml", folder / "ART.yaml")
    theirs = evaluate(C3, timeloop.read_nest(folder / "map.yaml", architecture), architecture)
    for objective in ("edp", "energy"):
        (nest, found), = best([C3], architecture, objective)
        assert found.energy <= theirs.energy and found.cycles <= theirs.cycles
        for (name, _), loops in zip(architecture.array, nest.unrolled, strict=True):
            assert {loop for loop, _ in loops} <= set(dict(architecture.unrolls)[name])     # its constraints hold
        held = {operand: dict(zip(architecture.levels(operand), positions, strict=True))
                for operand, positions in nest.held}
        psum, weights, inputs = (next(iter(held[each].values())) for each in ("output", "weight", "input"))
        assert {loop for loop, _ in nest.loops[:psum]} <= {"K", "G"}
        assert {loop for loop, _ in nest.loops[psum:weights]} <= {"C", "FX", "G"} and inputs == weights
        assert held["input"][3] == held["output"][3]        # the global buffer holds the same loops of both


def bits_held(layer, nest, architecture):
    """Bits in each memory, counted loop by loop; a result is a partial sum while a loop outside adds to it."""
    found = dict.fromkeys(range(len(architecture.memories)), 0)
    for operand, positions in nest.held:
        moving, inside = moves(operand), dict.fromkeys(LOOPS, 1)
        spread = {name: loops for (name, _), loops in zip(architecture.array, nest.unrolled, strict=True)}
        begin = 0
        for at, position in zip(architecture.levels(operand), positions, strict=True):
            for name in architecture.memories[at].serves:
                for loop, units in spread.pop(name, ()):
                    inside[loop] *= units
            for loop, count in nest.loops[begin:position]:
                inside[loop] *= count
            begin = position
            elements = math.prod(inside[loop] for loop in moving - {"OY", "FY", "OX", "FX"})
            for axis, (out, tap) in enumerate((("OY", "FY"), ("OX", "FX"))):
                elements *= distinct(inside[out], inside[tap], layer.stride[axis], layer.dilation[axis]) \
                    if operand == "input" else inside[tap] if operand == "weight" else inside[out]
            adding = any(inside[loop] < size and loop not in moving
                         for loop, size in zip(LOOPS, layer.sizes, strict=True))
            found[at] += elements * (16 if operand == "output" and adding else 8)
    return found


@settings(max_examples=15, deadline=None)
@given(st.builds(Layer, groups=st.integers(1, 4), outputs=st.integers(1, 40), inputs=st.integers(1, 40),
                 height=st.integers(1, 20), width=st.integers(1, 20), kernel_height=st.integers(1, 5),
                 kernel_width=st.integers(1, 5), stride=st.tuples(st.integers(1, 2), st.integers(1, 2))),
       st.sampled_from(["tpu-like", "edge-tpu-like", "eyeriss-like"]))
def test_every_layer_gets_a_mapping_that_is_one_and_fits(layer, name):
    architecture = array(name)
    (nest, found), = search([layer], architecture, "edp")
    check(nest, layer, architecture)
    again = evaluate(layer, nest, architecture)
    assert again.energy == pytest.approx(found.energy) and again.cycles == pytest.approx(found.cycles)
    for at, bits in bits_held(layer, nest, architecture).items():
        assert bits <= architecture.memories[at].size
    assert found.macs == layer.macs and 0 < found.utilisation <= found.spatial_utilisation <= 1
    assert found.energy >= layer.macs * architecture.mac
    last = architecture.memories[-1]
    least = sum(layer.elements(each) for each in ("weight", "output")) * 8      # both go through the outermost memory
    assert found.outermost >= 0.99 * least and last.name in found.by_level()
    assert Nest.from_plain(nest.plain(architecture), architecture) == nest


def test_the_answer_is_the_same_whatever_is_asked_beside_it():
    layers = [Layer(outputs=64, inputs=32, height=14, width=14), Layer(groups=96, height=14, width=14, kernel_height=3,
                                                                       kernel_width=3), Layer(outputs=10, inputs=77)]
    architecture = array("edge-tpu-like")
    together = search(layers, architecture, "edp")
    assert together == search(layers, architecture, "edp")
    assert together == [search([layer], architecture, "edp")[0] for layer in layers]
    assert best(layers[:1] * 3, architecture)[2] is best(layers[:1], architecture)[0]       # looked up, not sought


def test_each_objective_is_best_at_its_own():
    layer = Layer(outputs=128, inputs=64, height=28, width=28, kernel_height=3, kernel_width=3)
    architecture = array("tpu-like")
    found = {objective: best([layer], architecture, objective)[0][1] for objective in OBJECTIVES}
    assert found["energy"].energy <= min(each.energy for each in found.values())
    assert found["latency"].cycles <= min(each.cycles for each in found.values())


def test_a_larger_array_is_no_slower_and_a_larger_buffer_needs_no_more_energy():
    layer = Layer(outputs=256, inputs=256, height=14, width=14, kernel_height=3, kernel_width=3)
    architecture = array("tpu-like")
    cycles = [best([layer], replace(architecture, array=(("D1", size), ("D2", size))), "latency")[0][1].steps
              for size in (8, 16, 32)]
    assert cycles == sorted(cycles, reverse=True)
    sizes = (2**17, 2**20, 2**24)
    resized = [replace(architecture, memories=tuple(replace(each, size=size) if each.name == "sram_2MB" else each
                                                    for each in architecture.memories)) for size in sizes]
    energy = [best([layer], each, "energy")[0][1].energy for each in resized]
    assert energy == sorted(energy, reverse=True) and energy[0] > energy[-1]


def test_a_layer_that_no_memory_can_hold_is_refused():
    tiny = replace(SMALL, memories=(replace(SMALL.memories[0], size=4), *SMALL.memories[1:]))
    assert not fitting(np.ones((1, 2, 8)), Layer(inputs=2), tiny).any()
    with pytest.raises(BuildError, match=r"'C': 3.* fits into the memories of 'small'"):
        search([Layer(inputs=3)], tiny, "energy")
    with pytest.raises(UsageError, match="energy, latency, edp, not 'power'"):
        best([Layer()], SMALL, "power")


def test_a_prime_loop_is_split_with_padding_where_that_helps():
    layer = Layer(outputs=13, inputs=13, height=13, width=13, kernel_height=7, kernel_width=7)
    (nest, found), = search([layer], array("tpu-like"), "latency")
    total = dict.fromkeys(LOOPS, 1)
    for loop, count in (*nest.loops, *(each for along in nest.unrolled for each in along)):
        total[loop] *= count
    assert all(total[loop] >= 13 for loop in ("K", "C", "OY", "OX")) and found.spatial_utilisation > 0.6
