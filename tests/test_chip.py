"""The chip that an accelerator is: its area against chips that were built, and what shrinks with what."""

import math
from dataclasses import replace

import pytest

from archfab import registry
from archfab.core import BuildError, Cost, UsageError
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


def test_the_energy_of_a_memory_of_another_size_is_doubtful_in_proportion():
    """ZigZag's own memories: a read of 2,048 bits from 2 MB takes 416.16 pJ, from 32 kB 4 x 22.9 pJ."""
    made = decisions.decided(TPU, {"array": 8, "sram_2MB_kb": 32})
    assert decisions.doubts(TPU, made) == {"sram_2MB": (1.0, pytest.approx(64 ** 0.25))}
    read = next(memory.read for memory in made.memories if memory.name == "sram_2MB")
    assert read < 4 * 22.9 < read * 64 ** 0.25
    assert decisions.doubts(made, TPU) == {"sram_2MB": (pytest.approx(64 ** -0.25), 1.0)}
    small, whole = (figures_of("tpu-like-open", labels)["energy_mj"] for labels in ({"sram_2MB_kb": 32}, {}))
    assert small.high / small.value > 1.01 * whole.high / whole.value


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
    (given(years=1e9), "from 0 to 100"), (given(grid_g_per_kwh=475e3), "from 0 to 2500"),
    (given(overhead_mm2=1e5), "from 0 to 858"), (given(alpha=math.nan), "no number"),
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


FIGURES = ("area_mm2", "good_die_yield", "die_cost_usd", "embodied_carbon_g", "carbon_g", "end_of_life_latency_ms")


def figures_of(device, labels=None, bits=8):
    from archfab.evaluate import load_device
    return load_device(device).decided(labels or {}).cost(of_bits(bits)).figures


def test_the_figures_of_a_die_are_those_of_the_parts_that_know_them():
    """Recomputed by hand from the area, the 28 nm node and the table of the device file."""
    found = figures_of("tpu-like")
    mm2, low, high = (getattr(found["area_mm2"], name) for name in ("value", "low", "high"))

    def good(area, d0):
        return (1 + d0 * area / 100 / 10) ** -10

    def dies(area):
        cell = (math.sqrt(area) + 0.1) ** 2
        return math.pi * 294**2 / (4 * cell) - math.pi * 294 / math.sqrt(2 * cell)

    assert found["good_die_yield"].value == pytest.approx(good(mm2, 0.07))
    assert found["good_die_yield"].low == pytest.approx(good(high, 0.07 * 1.6))
    assert found["good_die_yield"].high == pytest.approx(good(low, 0.07 * 0.7))
    assert found["die_cost_usd"].value == pytest.approx(2891 / dies(mm2) / good(mm2, 0.07))
    assert found["die_cost_usd"].high == pytest.approx(2891 / dies(high) / good(high, 0.07 * 1.6))
    wafer_cm2 = math.pi * 15**2
    made = (583 * 0.9 + 175 - (175 - 100) * 0.5 + 500) * wafer_cm2 / dies(mm2) / good(mm2, 0.07) + 150
    assert found["embodied_carbon_g"].value == pytest.approx(made)
    used = found["energy_mj"].value / 3.6e9 * 86400 * 365.25 * 10 * 475
    assert found["carbon_g"].value == pytest.approx(made + used)
    assert 1.0 < found["end_of_life_latency_ms"].value / found["latency_ms"].value < 1.2


@pytest.mark.parametrize("labels", [{}, {"node_nm": 7}, {"array": 8, "sram_2MB_kb": 64, "node_nm": 5}])
def test_every_figure_of_a_die_has_an_interval_around_it(labels):
    found = figures_of("tpu-like-open", labels)
    for name in FIGURES:
        assert found[name].low < found[name].value < found[name].high, name
        assert found[name].origin == "analytic"
    from archfab.evaluate import load_device
    assert set(FIGURES) <= set(load_device("tpu-like-open").figures) >= set(found)
    energy = found["energy_mj"]
    if "node_nm" in labels:
        assert energy.low < energy.value, "energies of another node are doubtful on both sides"


def test_a_smaller_chip_yields_more_and_costs_and_emits_less():
    small, large = (figures_of("tpu-like-open", {"array": array, "sram_2MB_kb": kb, "node_nm": 28})
                    for array, kb in ((8, 64), (32, 2048)))
    assert small["good_die_yield"].value > large["good_die_yield"].value
    for name in ("die_cost_usd", "embodied_carbon_g"):
        assert small[name].value < large[name].value


def test_a_description_without_a_process_says_its_own_area_alone():
    found = figures_of("eyeriss-like")
    assert "area_mm2" in found and not set(FIGURES[1:]) & set(found)


def test_costs_say_what_chip_they_are_of():
    from archfab.evaluate import load_device
    said = load_device("tpu-like-open").decided({"array": 8, "node_nm": 7}).cost(of_bits(4)).notes["die"]
    assert said.startswith("7 nm, 8 x 8 multipliers of 4 x 4 bits: ") and "pads and interfaces 2 mm2" in said


def test_multiplications_of_fewer_bits_take_less_energy_in_multipliers_that_are_made_for_them():
    from archfab.evaluate import load_device

    def multiplying(name):
        rows = load_device(name).cost(of_bits(4)).operators
        return sum(row["energy_by_level_mj"]["mac"]["mac"] for row in rows if row["macs"])

    assert multiplying("tpu-like-open") == pytest.approx(area.width_factor((4, 4)) * multiplying("tpu-like"))


def die(mm2, low=None, high=None, **changes):
    made, energy = silicon.read("tpu-like", given(**changes)), Cost(0.01, "analytic", 0.009, 0.012)
    return made.figures(area.Area("die", mm2, low or mm2, high or mm2), Cost(1.0, "analytic", 1.0, 1.0), energy)


@pytest.mark.parametrize(("mm2", "high", "said"), [(900, 950, "one exposure, 858 mm2"), (800, 1e5, "fits on a wafer")])
def test_a_die_that_is_larger_than_an_exposure_or_a_wafer_is_none(mm2, high, said):
    with pytest.raises(BuildError, match=said):
        die(mm2, high=high)


def test_transistors_that_may_not_switch_at_the_end_of_life_have_no_latency():
    with pytest.raises(BuildError, match="100 years at 500 K"):
        die(100, years=100, kelvin=500, duty=1)
    assert die(100, years=0)["end_of_life_latency_ms"].value == 1


@pytest.mark.parametrize(("node_nm", "mm2", "low", "high"),
                         [(28, 331, 200, 480), (5, 300, 180, 450), (3, 600, 360, 840)])
def test_the_carbon_of_dies_drawn_from_the_intervals_of_area_and_defects_is_in_its_own(node_nm, mm2, low, high):
    """A larger area counts twice, with the wafer it takes and the yield it lowers; both are drawn here."""
    import numpy as np

    from archfab.silicon.carbon.embodied import embodied_carbon_g
    from archfab.silicon.yields.cost import die_cost
    rng = np.random.default_rng(0)

    def drawn(value, low, high):
        z = rng.standard_normal(20_000)
        return value * np.exp(np.where(z < 0, z * np.log(value / low), z * np.log(high / value)) / 1.96)

    areas, defects = drawn(mm2, low, high), node(node_nm).d0_per_cm2 * drawn(1.0, *silicon.D0)
    made = die_cost(areas, node(node_nm).wafer_usd, defects, 10)
    grams = embodied_carbon_g(area_mm2=areas, node_nm=node_nm, yield_=made.good_die_yield, grid_g_kwh=583,
                              abatement=0.97, dies_per_wafer=made.dies_per_wafer)
    found = die(mm2, low, high, node_nm=node_nm)["embodied_carbon_g"]
    assert 0.94 < np.mean((found.low <= grams) & (grams <= found.high)) < 0.98


def test_a_network_that_does_nothing_has_a_chip_all_the_same():
    import torch

    from archfab import nn
    from archfab.evaluate import load_device
    from archfab.hardware.tracing import trace
    from archfab.space import Space
    found = load_device("tpu-like").cost(trace(Space(nn.Identity()), {}, (torch.zeros(1, 4),))).figures
    assert found["energy_mj"].value == 0 and found["carbon_g"] == found["embodied_carbon_g"]


def test_defects_without_clusters_are_those_of_the_poisson_model():
    assert die(100, alpha=math.inf)["good_die_yield"].value == pytest.approx(math.exp(-0.07))


def test_a_chip_says_where_the_numbers_of_its_silicon_and_of_its_process_come_from():
    from archfab.evaluate import load_device
    open_ = load_device("tpu-like-open")
    assert open_.sources["node.wafer_usd"]["value"] == "2891 (28 nm), 3984 (14 nm), 9346 (7 nm), 16988 (5 nm)"
    made = open_.decided({"node_nm": 7}).sources
    assert made["node.wafer_usd"]["value"] == "9346" and made["silicon.alpha"]["value"] == 10
    assert "times 0.7 to 1.6" in made["node.d0_per_cm2"]["unit"] and "TPU v1" in made["areas"]["source"]
    assert "memories.sram_2MB" in made, "of the array that it is made from"
    assert all(entry["origin"] and entry["source"] for entry in made.values())
