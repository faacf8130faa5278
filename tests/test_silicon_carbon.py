"""What a chip emits: ACT's figures, exact intervals against Monte Carlo, the life of a product, bills of materials."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.core import UsageError
from archfab.silicon.carbon.bill import MEMORY_SPREAD, bill_terms, memory_table, read_bill
from archfab.silicon.carbon.embodied import (
    FAB_GRID,
    PARTS,
    Making,
    carbon_per_area_g_cm2,
    charged_mm2,
    embodied_carbon_g,
    embodied_terms,
)
from archfab.silicon.carbon.grids import Grid
from archfab.silicon.carbon.product import Product, die_carbon, footprint_of, over_the_years
from archfab.silicon.carbon.uncertain import Term, draw, interval, ratio_interval, total
from archfab.silicon.carbon.use import operational_carbon_g, years_of_growth, years_until
from archfab.silicon.yields.models import good_die_yield

# ACT (Gupta et al., ISCA 2022), its own yield of .875, 97 % abatement, Taiwan 583 g/kWh: reference page silicon.md
ACT = {28: 1328.2, 14: 1556.7, 7: 2318.2, 5: 2778.0, 3: 3162.6}
# ACT 2.0 (github.com/facebookresearch/ACT), act/boms/dellr740.yaml
R740 = """
name = "Dell R740"
[[part]]
name = "CPU"
kind = "die"
count = 2
area_mm2 = 698
node = 28
yield = 0.875
fab_grid = 820
abatement = 0.95
packages = 2
[[part]]
name = "DRAM"
kind = "dram"
count = 12
type = "ddr3_50nm"
capacity_gb = 36
yield = 0.875
packages = 19
[[part]]
name = "main SSD"
kind = "flash"
count = 8
type = "nand_30nm"
capacity_gb = 3840
yield = 0.875
packages = 13
[[part]]
name = "second SSD"
kind = "flash"
type = "nand_30nm"
capacity_gb = 400
yield = 0.875
packages = 13
[[part]]
name = "its DRAM"
kind = "dram"
type = "ddr3_50nm"
capacity_gb = 68
yield = 0.875
packages = 19
"""
USE = Grid("QQQ", "somewhere", 2024, 400.0, 320.0, 480.0, "a test")


def product(**changes):
    return Product(**{**{"area_mm2": 100.0, "node_nm": 7, "yield_": 0.9, "energy_mj": 2.0, "inferences_per_day": 1e6,
                         "years": 4.0,
                             "grid": USE, "pue": 1.2}, **changes})


@pytest.mark.parametrize("node", ACT)
def test_a_cm2_of_die_emits_what_act_says_to_a_tenth_of_a_gram(node):
    assert carbon_per_area_g_cm2(node_nm=node, yield_=0.875) == pytest.approx(ACT[node], abs=0.05)


def test_the_dell_r740_emits_what_act_says_to_the_gram(tmp_path):
    (tmp_path / "r740.toml").write_text(R740)
    by_part = {name: total(terms).value for name, terms in bill_terms(read_bill(tmp_path / "r740.toml")).items()}
    assert math.fsum(by_part.values()) == pytest.approx(1_523_138, abs=0.5)
    # ACT's integration test gives these parts in kg
    assert by_part["CPU"] == pytest.approx(23_143.4057, abs=0.01)
    assert by_part["main SSD"] == pytest.approx(8 * (136_045.714 + 1950), abs=0.1)
    assert by_part["DRAM"] == pytest.approx(330_428.571, abs=0.01)
    assert by_part["second SSD"] + by_part["its DRAM"] == pytest.approx(62_750 + 19 * 150, abs=0.1)


def test_die_and_package_by_hand():
    # 7 nm, 100 mm2, Y .9: (583 * 2.15 + 275 + 500) / .9 + 150
    assert embodied_carbon_g(area_mm2=100, node_nm=7, yield_=0.9) == pytest.approx((583 * 2.15 + 275 + 500) / 0.9 + 150)
    parts = dict(zip(PARTS, embodied_terms(100, 7, 0.9), strict=True))
    assert parts["gases of the fab"].value == pytest.approx(275 / 0.9)
    gases = next(spread for name, spread in parts["gases of the fab"].spreads.items() if "GPA" in name)
    assert gases == pytest.approx((350 - 200) / 2 / 275)            # from 95 to 99 % abatement
    assert math.fsum(term.value for term in parts.values()) == pytest.approx(
        embodied_carbon_g(area_mm2=100, node_nm=7, yield_=0.9))


def test_our_yield_in_place_of_the_fixed_one_and_the_whole_wafer_charged():
    areas = np.array([50.0, 100.0, 400.0, 800.0])
    good = good_die_yield(areas, 0.09, 2.0)
    ours = embodied_carbon_g(area_mm2=areas, node_nm=7, yield_=good)
    acts = embodied_carbon_g(area_mm2=areas, node_nm=7, yield_=0.875)
    assert (ours < acts).tolist() == (good > 0.875).tolist() and good[0] > 0.875 > good[-1]
    # a wafer's dies together carry the wafer: 612 of 10 x 10 mm on 300 mm (3 mm edge, .1 mm lanes)
    charged = charged_mm2(100.0, 612)
    assert charged * 612 == pytest.approx(math.pi * 150 ** 2) and charged > 115
    whole = embodied_carbon_g(area_mm2=100, node_nm=7, yield_=0.9, dies_per_wafer=612, packages=0)
    own = embodied_carbon_g(area_mm2=100, node_nm=7, yield_=0.9, packages=0)
    assert whole / own == pytest.approx(charged / 100)


def test_the_sum_has_its_exact_moments_and_monte_carlo_agrees():
    terms = [Term(100.0, {"grid": 0.2, "a": 0.5}), Term(40.0, {"grid": 0.2, "b": 1.0}), Term(60.0, {"c": 0.3}),
             Term(5.0)]
    found = total(terms)
    drawn = draw(terms, np.random.default_rng(1), 400_000).sum(axis=0)
    assert found.value == 205 and found.value == pytest.approx(drawn.mean(), rel=3e-3)
    assert found.deviation == pytest.approx(drawn.std(), rel=0.01)
    low, high = np.quantile(drawn, (0.025, 0.975))
    assert found.low == pytest.approx(low, rel=0.03) and found.high == pytest.approx(high, rel=0.03)
    # first-order shares: the variance of the mean given one factor, here by hand for the grid
    square = (0.2 / 1.959963984540054) ** 2
    assert found.shares["grid"] == pytest.approx(square * 140 ** 2 / found.deviation ** 2)
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert 0.9 < sum(found.shares.values()) <= 1 + 1e-12


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 100), st.sets(st.sampled_from("abcdef"), max_size=4)), max_size=7))
def test_the_variance_is_the_sum_of_all_covariances(rows):
    squares = dict(zip("abcdef", (0.01, 0.04, 0.3, 0.0, 0.5, 1.2), strict=True))
    terms = [Term(value, {name: 1.959963984540054 * math.sqrt(squares[name]) for name in names})
             for value, names in rows]

    def covariance(one, other):
        shared = math.prod(1 + squares[name] for name in one.spreads.keys() & other.spreads.keys())
        return one.value * other.value * (shared - 1)

    every = math.fsum(covariance(one, other) for one in terms for other in terms)
    assert total(terms).deviation == pytest.approx(math.sqrt(max(0.0, every)), rel=1e-6, abs=1e-5)


def test_what_is_shared_does_not_average_out():
    together = total([Term(10.0, {"grid": 0.2})] * 10)
    apart = total([Term(10.0, {f"grid {k}": 0.2}) for k in range(10)])
    assert together.deviation == pytest.approx(apart.deviation * math.sqrt(10))
    assert total([Term(100.0, {"grid": 0.2})]).deviation == pytest.approx(together.deviation)


def test_one_factor_is_a_lognormal_with_the_mean_that_was_given():
    low, high = interval(100.0, 100 * 0.5 / 1.959963984540054)
    assert math.sqrt(low * high) < 100 and low > 0                  # skewed, never negative
    assert total([Term(3.0, {"x": 0.0})]).low == 3.0 == total([]).value + 3
    with pytest.raises(UsageError, match="two uncertainties"):
        total([Term(1.0, {"x": 0.1}), Term(1.0, {"x": 0.2})])
    for bad in (-0.1, math.nan, math.inf):
        with pytest.raises(UsageError, match="from 0 up"):
            total([Term(1.0, {"x": bad})])


def test_a_ratio_of_totals_covers_as_it_says():
    for above, below in (({"a": 0.4}, {"b": 0.6}), ({"a": 0.4, "grid": 0.5}, {"b": 0.2, "grid": 0.5})):
        terms = [Term(50.0, above), Term(20.0, below)]
        one, other = draw(terms, np.random.default_rng(0), 200_000)
        low, high = ratio_interval(terms[:1], terms[1:])
        assert np.mean((one / other >= low) & (one / other <= high)) == pytest.approx(0.95, abs=0.003)
    assert ratio_interval([Term(50.0, {"grid": 0.5})], [Term(20.0, {"grid": 0.5})]) == pytest.approx((2.5, 2.5))


def test_a_grid_that_makes_and_drives_a_chip_is_one_when_use_overtakes_manufacture():
    found = footprint_of(product(grid=FAB_GRID)).break_even_years
    apart = footprint_of(product(grid=Grid.about(583.0, "elsewhere", "a test"))).break_even_years
    assert found[0] == apart[0] and apart[1] < found[1] < found[0] < found[2] < apart[2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e6), st.dictionaries(st.sampled_from("abcd"), st.just(0.3), max_size=3)),
                max_size=6))
def test_the_value_lies_in_its_interval_and_a_sum_scales(rows):
    terms = [Term(value, spreads) for value, spreads in rows]
    found = total(terms)
    assert 0 <= found.low <= found.value <= found.high
    twice = total([Term(2 * term.value, term.spreads) for term in terms])
    assert twice.high == pytest.approx(2 * found.high, abs=1e-9) and twice.low == pytest.approx(2 * found.low, abs=1e-9)


def test_use_over_the_years_by_hand():
    # 2 mJ, a million a day: 2 kJ a day is 1/1800 kWh
    assert operational_carbon_g(energy_mj=2, inferences=1e6, grid_g_kwh=400, pue=1.2) == pytest.approx(400 * 1.2 / 1800)
    found = footprint_of(product())
    assert found.operational.value == pytest.approx(400 * 1.2 / 1800 * 365.25 * 4)
    assert found.break_even_years[0] == pytest.approx(found.embodied.value / (400 * 1.2 / 1800 * 365.25))
    idle = footprint_of(product(idle_w=0.5, energy_mj=0.0))
    assert idle.operational.value == pytest.approx(0.0005 * 24 * 365.25 * 4 * 1.2 * 400)


def test_a_grid_that_gets_cleaner_is_the_integral_and_may_never_overtake():
    assert years_of_growth(4.0, 0.0) == 4.0
    fine = np.linspace(0, 10, 200_001)
    assert years_of_growth(10.0, -0.08) == pytest.approx(np.trapezoid(0.92 ** fine, fine) if hasattr(np, "trapezoid")
                                                         else np.trapz(0.92 ** fine, fine), rel=1e-9)
    for change in (-0.3, -0.01, 0.0, 0.05):
        assert years_until(float(years_of_growth(7.0, change)), change) == pytest.approx(7.0)
    assert years_until(20.0, -0.08) is None         # all of time is worth 12 years of today
    assert footprint_of(product(grid_change=-0.5)).break_even_years[0] is None
    with pytest.raises(UsageError, match="above -1"):
        years_of_growth(1.0, -1.0)


def test_payback_is_manufacture_over_what_is_saved_each_year():
    found = footprint_of(product(replaces_mj=6.0))
    saved = 400 * 1.2 / 1800 * 365.25 * 2           # 4 mJ less of each
    assert found.payback_years[0] == pytest.approx(found.embodied.value / saved)
    assert found.payback_years[1] < found.payback_years[0] < found.payback_years[2]
    assert footprint_of(product(replaces_mj=1.0)).payback_years == (None, None, None)
    assert footprint_of(product()).payback_years is None


def test_the_curve_ends_at_the_footprint_and_only_grows():
    found, curve = footprint_of(product()), over_the_years(product())
    assert curve["years"][-1] == 4
    assert curve["embodied"][-1] + curve["operational"][-1] == pytest.approx(found.both.value)
    assert curve["high"][-1] == pytest.approx(found.both.high) and (np.diff(curve["operational"]) > 0).all()
    assert curve["operational"][0] == pytest.approx(0, abs=1e-9)


def test_figures_of_a_die_for_a_search_agree_with_the_equations():
    found = die_carbon(area_mm2=100, node_nm=7, yield_=0.9, energy_mj=2, inferences=1e9, grid_g_kwh=400, fab_g_kwh=583,
                       pue=1.0)
    assert found["embodied_g"].value == pytest.approx(embodied_carbon_g(area_mm2=100, node_nm=7, yield_=0.9))
    assert found["operational_g"].value == pytest.approx(operational_carbon_g(energy_mj=2, inferences=1e9,
                                                                              grid_g_kwh=400, pue=1))
    assert found["carbon_g"].value == pytest.approx(found["embodied_g"].value + found["operational_g"].value)
    assert all(each.low < each.value < each.high and each.origin == "analytic" for each in found.values())
    wider = die_carbon(area_mm2=100, node_nm=7, yield_=0.9, energy_mj=2, inferences=1e9, grid_g_kwh=400, fab_g_kwh=583,
                       pue=1.0, area_spread=0.5)
    assert wider["carbon_g"].high > found["carbon_g"].high


def test_a_bill_beside_the_die_is_added(tmp_path):
    (tmp_path / "b.toml").write_text('[[part]]\nkind = "given"\nname = "case"\ngrams = 500\nsource = "its maker"\n'
                                     '[[part]]\nkind = "disk"\ntype = "exos_x16"\ncapacity_gb = 16000\ncount = 2\n')
    found = footprint_of(product(rest=read_bill(tmp_path / "b.toml")))
    assert found.parts["case"] == 500 and found.parts["disk"] == pytest.approx(2 * 16000 * 1.334)
    assert found.embodied.value == pytest.approx(footprint_of(product()).embodied.value + 500 + 2 * 16000 * 1.334)


@pytest.mark.parametrize("changes, message", [
    ({"area_mm2": -1.0}, "area is above 0"), ({"area_mm2": 0.0}, "area is above 0"),
    ({"yield_": 0.0}, "above 0 and at"),
    ({"yield_": 87.5}, "87.5 % is 0.875"), ({"node_nm": 6}, "no process node named '6'"), ({"pue": 0.9}, "1 or more"),
    ({"energy_mj": -2.0}, "energy of an inference"), ({"energy_mj": math.nan}, "energy of an inference"),
    ({"inferences_per_day": -1.0}, "inferences a day"), ({"years": 0.0}, "life of 0 years"), ({"idle_w": -1.0}, "idle"),
    ({"making": Making(abatement=97.0)}, "it is a share: 0.97"), ({"making": Making(abatement=0.5)}, "0.95 to 0.99"),
    ({"making": Making(packages=-1.0)}, "packages"), ({"making": Making(dies_per_wafer=0.0)}, "no die fits"),
    ({"making": Making(dies_per_wafer=10_000.0)}, "more than a wafer"),
    ({"making": Making(yield_spread=-1.0)}, "from 0 up"), ({"area_mm2": 8e4}, "larger than a wafer of 300 mm"),
    ({"grid_change": -1.5}, "above -1")])
def test_what_is_not_possible_is_refused_in_words(changes, message):
    with pytest.raises(UsageError, match=message):
        footprint_of(product(**changes))


@pytest.mark.parametrize("text, message", [
    ("", "has no part"), ("[[part]]\nkind = 'die'\nnode = 7\nyield = 0.9", "no area_mm2"),
    ("[[part]]\nkind = 'chip'", "did you mean|no kind of part"), ("[[part]]\nkind = 'dram'\ntype = "
                                                                  "'ddr9'\ncapacity_gb = 1\n"
                                                                "yield = 0.9", "no type of dram named 'ddr9'"),
    ("[[part]]\nkind = 'given'\ngrams = -3\nsource = 'x'", "grams is -3"),
    ("[[part]]\nkind = 'given'\ngrams = 3", "no source"),
    ("[[part]]\nkind = 'disk'\ntype = 'exos_x16'\ncapacity_gb = 1\nyield = 0.9", "no key of"),
    ("[[part]]\nkind = 'disk'\ntype = 'exos_x16'\ncapacity_gb = '1 TB'", "is '1 TB'"),
    ("[[part]]\nkind = 'disk'\ntype = 'exos_x16'\ncapacity_gb = 1\n" * 2, "two parts named 'disk'"),
    ("[[part]]\nkind = 'die'\narea_mm2 = 1\nnode = 7\nyield = 0.9\nfab_grid = true", "a number of g/kWh"),
    ("part = 3", "list of tables"), ("[[part]", "cannot be read"), ("colour = 1", "no key of")])
def test_a_bill_with_a_fault_says_which(text, message, tmp_path):
    (tmp_path / "b.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_bill(tmp_path / "b.toml")


def test_a_gigabyte_emits_what_act_says_give_or_take_a_half():
    # ACT (github.com/facebookresearch/ACT, act/models/dram, ssd, hdd)
    table = memory_table()
    assert [table["dram"][name] for name in ("ddr3_50nm", "lpddr3_30nm", "lpddr4", "ddr4_10nm")] == [600, 201, 48, 65]
    assert [table["flash"][name] for name in ("nand_30nm", "nand_tlc_v3", "western_digital_2019")] == [31, 6.3, 10.7]
    assert [table["disk"][name] for name in ("exos_x16", "barracuda", "skyhawk_6tb")] == [1.334, 4.57, 3.74]
    assert MEMORY_SPREAD == 0.5


def test_the_fabs_grid_is_acts():
    assert FAB_GRID.g_kwh == 583 and "ACT" in FAB_GRID.source
