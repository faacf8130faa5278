"""The chip that an accelerator is: its area against chips that were built, and what shrinks with what."""

import math
from dataclasses import replace

import pytest

from archfab import registry
from archfab.core import UsageError
from archfab.hardware.chip import area, decisions, silicon
from archfab.hardware.models.accelerator import architecture_of
from archfab.silicon.nodes import names, node

TPU = architecture_of(registry.load("devices", "tpu-like"))


def tpu_v1():
    """256 x 256 multipliers, 24 MiB of SRAM (Jouppi et al., ISCA 2017), without registers beside those of a unit."""
    memories = [each for each in TPU.memories if each.name in ("sram_2MB", "dram")]
    memories = [replace(each, operands=("input", "weight", "output")) for each in memories]
    ports = tuple(replace(port, serves=tuple((operand, direction) for operand in ("input", "weight", "output")
                                             for direction in {way for _, way in port.serves}))
                  for port in memories[0].ports)
    memories[0] = replace(memories[0], size=24 * 2**23, ports=ports)
    return replace(TPU, array=(("D1", 256), ("D2", 256)), memories=tuple(memories))


def test_the_model_gives_the_shares_of_tpu_v1s_floor_plan():
    parts = {part.part: part.mm2 / 331 for part in area.floorplan(tpu_v1(), node(28))}
    assert parts["sram_2MB"] == pytest.approx(0.29, abs=1e-9)
    assert parts["multipliers"] == pytest.approx(0.24, abs=1e-9)


def test_a_256_mbit_memory_in_7_nm_is_between_its_cells_and_tsmcs_test_chip():
    """42.64 mm2 with everything on it (Chang et al., ISSCC 2017): the upper bound that the model takes."""
    memory = replace(TPU.memories[2], size=2.0**28)
    found = area.memory_area(memory, TPU, node(7))
    assert 2**28 * 0.027e-6 < found.low < found.mm2 < found.high
    assert found.high == pytest.approx(42.64, rel=0.01)


@pytest.mark.parametrize("name", ["tpu-like", "edge-tpu-like"])
def test_newer_nodes_have_smaller_dies_and_pads_do_not_shrink(name):
    architecture = architecture_of(registry.load("devices", name))
    plans = [area.floorplan(architecture, node(each), overhead_mm2=2) for each in names()]
    sizes = [area.total(plan).mm2 for plan in plans]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
    for plan in plans:
        assert plan[-1].mm2 == 2
        assert all(part.low <= part.mm2 <= part.high for part in plan)
        whole = area.total(plan)
        assert whole.mm2 == pytest.approx(sum(part.mm2 for part in plan))
        assert sum(part.low for part in plan) <= whole.low <= whole.mm2 <= whole.high <= sum(part.high for part in plan)


def test_the_outermost_memory_is_another_chip():
    assert "dram" not in {part.part for part in area.floorplan(TPU, node(28))}


@pytest.mark.parametrize(("bits", "factor"), [((8, 8), 1.0), ((4, 4), 0.3), ((2, 8), 0.8 * 16 / 64 + 0.2 * 10 / 16)])
def test_multipliers_grow_with_the_product_of_their_bits(bits, factor):
    assert area.width_factor(bits) == pytest.approx(factor)
    parts = [area.floorplan(TPU, node(28), each)[-2].mm2 for each in (bits, (8, 8))]
    assert parts[0] / parts[1] == pytest.approx(factor)


def test_horowitzs_multipliers_grow_as_the_model_says():
    """45 nm, pJ: of 8 bits .2 and of 32 bits 3.1; the adder of 8 bits .03, of 32 bits .1 (ISSCC 2014)."""
    assert area.width_factor((32, 32)) == pytest.approx((3.1 + 0.1) / (0.2 + 0.03), rel=0.05)


def test_an_array_with_its_decisions_taken():
    made = decisions.decided(TPU, {"array": 8, "sram_2MB_kb": 64})
    assert made.units == 64 and {m.name: m.size for m in made.memories}["sram_2MB"] == 64 * 8192
    assert decisions.decided(TPU, {}) == TPU
    assert math.prod(size for _, size in decisions.decided(TPU, {"D1": 4}).array) == 4 * 32


def test_energies_are_scaled_on_the_chip_alone():
    made = decisions.scaled(TPU, 0.5, 0.25)
    assert made.memories[-1] == TPU.memories[-1] and made.mac == TPU.mac / 4
    assert all(new.read == old.read / 2 and new.write == old.write / 2
               for new, old in zip(made.memories[:-1], TPU.memories[:-1], strict=True))


def given(**changes):
    table = dict(registry.load("devices", "tpu-like")["silicon"])
    return {**table, **{name: {**table[name], "value": value} for name, value in changes.items()}}


def test_the_bundled_chips_say_where_every_number_of_their_silicon_comes_from():
    for name in ("tpu-like", "edge-tpu-like", "tpu-like-open"):
        assert silicon.read(name, registry.load("devices", name)["silicon"]).node_nm == 28


@pytest.mark.parametrize(("table", "said"), [
    ([1], "is a table"), ({}, "lacks node_nm"), ({**given(), "pads": 1}, "no number of silicon"),
    (given(kelvin=85), "358.15 K"), (given(kelvin=900), "200 to 500"), (given(duty=50), "share from 0 to 1"),
    (given(node_nm=90), "no process node"), (given(years=-1), "no number from 0 up"),
    ({**given(), "years": 10}, "needs a value, an origin and a source")])
def test_a_wrong_table_of_silicon_is_refused(table, said):
    with pytest.raises(UsageError, match=said):
        silicon.read("mine", table)


def of_bits(bits):
    import torch

    from archfab import nn
    from archfab.hardware.tracing import trace
    from archfab.space import Space
    layers = [nn.ConvNormAct(16, 3, bits=bits), nn.ConvNormAct(16, 3, bits=bits, signed=False),
              nn.Classifier(10, bits=bits, signed=False)]
    return trace(Space(nn.Sequential(*layers)), {}, (torch.zeros(1, 4, 16, 16),))


def test_fewer_bits_cost_less_energy_and_smaller_multipliers_where_the_chip_is_made_for_them():
    from archfab.evaluate import load_device
    open_, fixed = load_device("tpu-like-open"), load_device("tpu-like")
    found = {bits: (open_.cost(of_bits(bits)).figures, fixed.cost(of_bits(bits)).figures) for bits in (2, 4, 8, None)}
    for fewer, more in ((2, 4), (4, 8)):
        for name in ("area_mm2", "energy_mj", "memory_kb"):
            assert found[fewer][0][name].value < found[more][0][name].value, name
        assert found[fewer][1]["area_mm2"] == found[more][1]["area_mm2"], "a chip that is there stays as it is"
        assert found[fewer][1]["energy_mj"].value < found[more][1]["energy_mj"].value, "it moves fewer bits"
    assert found[8][0]["area_mm2"] == found[None][0]["area_mm2"], "floating point numbers are taken as the device's 8"


def test_operands_that_are_wider_than_the_multipliers_are_refused():
    from archfab.core import BuildError
    from archfab.evaluate import load_device
    with pytest.raises(BuildError, match="16 bits"):
        load_device("tpu-like").cost(of_bits(16))
    with pytest.raises(BuildError, match="no mapping"):     # sums of 32 bits do not fit into registers of 16
        load_device("tpu-like-open").cost(of_bits(16))
