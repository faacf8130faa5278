"""Costs of dies and of systems against Chiplet Actuary's figures and simulated assembly; wafer starts against draws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.core import UsageError
from archfab.silicon.yields.chiplets import Process, crossover_mm2, curve, split_cost
from archfab.silicon.yields.cost import CHIPLET_ACTUARY, Wafer, die_cost, die_cost_usd
from archfab.silicon.yields.packages import KINDS, Die, Known, Package, package, system_cost
from archfab.silicon.yields.starts import Month, Product, at_stake, plan_starts, wafer_starts

NM7, NM5 = Process(9346, 0.09), Process(16988, 0.11)


@pytest.mark.parametrize(("area", "process", "good", "usd"), [
    (100, NM7, 0.9143, 17.88), (100, NM5, 0.8964, 33.15), (800, NM7, 0.4989, 318.60), (800, NM5, 0.4302, 671.59)])
def test_dies_of_chiplet_actuary_to_a_cent(area, process, good, usd):
    """Feng and Ma, DAC 2022: figures of a run of its code with its own parameters, as the reference page tells them."""
    found = die_cost(area, process.wafer_usd, process.d0_per_cm2, 10, wafer=CHIPLET_ACTUARY)
    assert found.good_die_yield == pytest.approx(good, abs=5e-5)
    assert found.total_usd == pytest.approx(usd, abs=0.005)


@pytest.mark.parametrize(("area", "process", "dies", "kind", "parts"), [
    (800, NM5, 2, "organic", (295.11, 175.66, 35.20, 0.71, 9.56)),
    (800, NM5, 4, "organic", (276.81, 73.59, 35.20, 1.44, 14.37)),
    (800, NM5, 4, "fan-out", (281.21, 73.59, 54.91, 26.61, 33.75)),
    (800, NM5, 4, "fan-out-dies-first", (281.21, 73.59, 54.91, 21.94, 228.07)),
    (800, NM5, 4, "interposer", (281.21, 73.59, 65.60, 53.78, 85.20)),
    (300, NM7, 3, "organic", (55.78, 5.60, 13.20, 0.40, 1.88)),
    (800, NM7, 1, "organic", (162.96, 159.64, 16.00, 0.16, 3.26))])
def test_systems_of_chiplet_actuary_to_a_cent(area, process, dies, kind, parts):
    """Raw chips, defective chips, raw package, defective packages, wasted chips: its equations, worked out apart."""
    found = split_cost(area, dies, process, KINDS[kind])
    assert (found.dies_usd, found.defects_usd, found.package_usd, found.package_loss_usd, found.die_loss_usd
            ) == pytest.approx(parts, abs=0.006)
    assert found.total_usd == pytest.approx(sum(parts), abs=0.02)


def test_a_die_by_hand():
    found = die_cost(100, 6405, 0.1, 2, wafer=Wafer(edge_mm=0, scribe_mm=0), line_yield=0.9, probe_usd=0.5,
                     package_usd=3, final_test_usd=1, final_yield=0.95, design_usd=1e6, volume=1e6)
    raw = 6405 / 640.215102985328 / 0.9
    assert found.total_usd == pytest.approx(((raw + 0.5) / (1.05 ** -2) + 4) / 0.95 + 1)
    assert sum(found.parts().values()) == pytest.approx(found.total_usd)


def test_costs_take_arrays_and_are_endless_where_nothing_fits():
    costs = die_cost_usd(np.array([10.0, 100.0, 90_000.0]), 9346, 0.09, 10)
    assert costs[0] < costs[1] < costs[2] == np.inf
    assert costs[1] == pytest.approx(die_cost_usd(100, 9346, 0.09, 10))
    assert die_cost_usd(90_000, 9346, 0.09, 10) == np.inf
    assert die_cost_usd(100, 9346, [0.0, 0.1], 2)[0] == pytest.approx(9346 / die_cost(100, 9346, 0, 2).dies_per_wafer)
    assert die_cost_usd(100, 9346, 0.1, 2, wafer=Wafer(how="exact")) == pytest.approx(9346 / 612 * 1.05 ** 2)


def assembled(rng, dies, kind, known, carrier_good, number=400_000):
    """What is spent and what works, by making many systems one after the other."""
    spent, bought = 0.0, np.ones(number, bool)
    for die in dies:
        for _ in range(die.number):
            good = np.zeros(number, bool)
            waiting = np.arange(number)
            while len(waiting):         # buy and test dies until one passes
                spent += len(waiting) * (die.raw_usd + known.test_usd)
                fine = rng.random(len(waiting)) < die.good
                passed = fine | (rng.random(len(waiting)) >= known.coverage)
                good[waiting[passed]] = fine[passed]
                waiting = waiting[~passed]
            bought &= good
    bonds = sum(die.number for die in dies)
    return spent / number, (bought & (rng.random((bonds, number)) < kind.bond_yield).all(0)).mean()


def test_an_organic_package_against_simulated_assembly():
    kind = Package("mine", "", bump_usd_per_mm2=0, bond_yield=0.97)
    dies, known = [Die(100, 20, 0.8, 2), Die(50, 5, 0.9)], Known(1.5, 0.7)
    found = system_cost(dies, kind, known, final_test_usd=2)
    spent, works = assembled(np.random.default_rng(0), dies, kind, known, 1)
    assert found.dies_usd + found.test_usd + found.defects_usd == pytest.approx(spent, rel=2e-3)
    assert found.system_yield == pytest.approx(works, rel=5e-3)
    layers = 250 * 4 * 0.005 * 2
    assert found.total_usd == pytest.approx((spent + layers + 2) / works, rel=6e-3)


def test_testing_dies_pays_where_they_are_bad_and_many():
    untested, tested = (split_cost(800, 4, NM5, KINDS["organic"], known) for known in (Known(0, 0), Known(2, 1)))
    assert untested.system_yield < 0.6 < tested.system_yield
    assert tested.total_usd < untested.total_usd
    clean = Process(16988, 0.0)
    assert split_cost(800, 4, clean, KINDS["organic"], Known(2, 1)).total_usd > split_cost(
        800, 4, clean, KINDS["organic"], Known(0, 0)).total_usd


def test_cutting_pays_from_the_cross_over_on():
    for number, kind in ((2, "organic"), (4, "organic"), (2, "interposer")):
        at = crossover_mm2(number, NM5, KINDS[kind], KINDS["organic"])
        one, many = (curve([at - 0.05, at], n, NM5, KINDS[k]) for n, k in ((1, "organic"), (number, kind)))
        assert many[0] >= one[0] and many[1] < one[1]
    assert crossover_mm2(2, Process(16988, 0.0), KINDS["interposer"], KINDS["organic"], most_mm2=1500) is None
    assert np.isnan(curve([50_000], 1, NM5, KINDS["organic"])).all()


@settings(max_examples=40, deadline=None)
@given(st.floats(10, 800), st.integers(1, 8), st.floats(0, 2), st.sampled_from(sorted(KINDS)), st.floats(0, 1),
       st.floats(0, 5))
def test_systems_cost_at_least_their_parts(area, number, d0, kind, coverage, test):
    found = split_cost(area, number, Process(9346, d0), KINDS[kind], Known(test, coverage))
    assert 0 < found.system_yield <= 1 and found.defects_usd >= -1e-9 and found.die_loss_usd >= -1e-9
    assert found.total_usd >= found.dies_usd + found.package_usd
    better = split_cost(area, number, Process(9346, d0 / 2), KINDS[kind], Known(test, coverage))
    assert better.total_usd <= found.total_usd * (1 + 1e-12)


PRODUCT = Product(100, 600, 0.1, 2, line_yield=0.95, final_yield=0.98)


def test_starts_by_hand_and_their_variance_against_draws():
    assert PRODUCT.units_per_start() == pytest.approx(600 * 1.05 ** -2 * 0.95 * 0.98)
    assert wafer_starts(1e5, PRODUCT) == math.ceil(1e5 / PRODUCT.units_per_start())
    assert wafer_starts(0, PRODUCT) == 0 and wafer_starts(1, PRODUCT) == 1
    rng = np.random.default_rng(0)
    density = rng.gamma(2, 0.05, 200_000)
    units = rng.binomial(600, 0.98 * np.exp(-density)) * (rng.random(200_000) < 0.95)
    assert units.mean() == pytest.approx(PRODUCT.units_per_start(), rel=2e-3)
    assert units.var() == pytest.approx(PRODUCT.variance_per_start(), rel=2e-2)
    wafers = wafer_starts(1e5, PRODUCT, 0.95)
    sums = rng.choice(units, (4000, wafers)).sum(1)
    assert 0.92 < (sums >= 1e5).mean() < 0.97       # 0.95 but for the skew of a sum of 203 wafers
    assert (rng.choice(units, (4000, wafer_starts(1e5, PRODUCT))).sum(1) >= 1e5).mean() < 0.7


def test_a_plan_meets_each_demand_and_wastes_less_than_a_wafer():
    months = [Month("a", 1000), Month("b", 3000, 0.2), Month("c", 0), Month("d", 777)]
    plan = plan_starts(months, PRODUCT, lead=2)
    assert [start.period for start in plan] == [-2, -1, 0, 1]
    made = asked = 0.0
    for month, start in zip(months, plan, strict=True):
        each = 600 * start.good_die_yield * 0.95 * 0.98
        made, asked = made + start.wafers * each, asked + month.units
        assert asked <= made + 1e-6 and (made - each < asked or not start.wafers)
    assert plan[1].good_die_yield == pytest.approx(1.1 ** -2)
    assert sum(s.wafers for s in plan_starts(months, PRODUCT, 2, 0.99)) > sum(s.wafers for s in plan)


def test_the_revenue_at_stake():
    stake = at_stake(1000, PRODUCT, 50, 0.02)
    whole = 1000 * 600 * 0.95 * 0.98 * 50
    assert stake.revenue_usd + stake.lost_usd == pytest.approx(whole)
    assert stake.per_point_usd == pytest.approx(whole / 100)
    assert stake.per_step_usd == pytest.approx(whole * (1.04 ** -2 - 1.05 ** -2))


@pytest.mark.parametrize(("call", "says"), [
    (lambda: die_cost(100, -1, 0.1, 2), "wafer's price"), (lambda: die_cost(0, 1, 0.1, 2), "area"),
    (lambda: die_cost(100, 1, 0.1, 2, line_yield=95), "95 % are 0.95"),
    (lambda: die_cost(100, 1, 0.1, 2, final_yield=0), "final yield"),
    (lambda: die_cost(100, 1, 0.1, 2, design_usd=1e6), "--volume"),
    (lambda: split_cost(100, 0, NM5, KINDS["organic"]), "0 dies"),
    (lambda: split_cost(100, 2.5, NM5, KINDS["organic"]), "whole"), (lambda: Known(coverage=1.2), "coverage"),
    (lambda: split_cost(90_000, 1, NM5, KINDS["organic"]), "fits"),
    (lambda: package("organik"), "did you mean 'organic'"),
    (lambda: split_cost(60_000, 64, NM5, KINDS["interposer"]), "fits on no wafer"),
    (lambda: system_cost([], KINDS["organic"]), "at least one"), (lambda: wafer_starts(-5, PRODUCT), "demand"),
    (lambda: wafer_starts(5, PRODUCT, 95), "confidence"), (lambda: plan_starts([], PRODUCT, -1), "lead"),
    (lambda: wafer_starts(5, Product(100, 600, 0.1, model="seeds-exponential"), 0.9), "poisson, murphy"),
    (lambda: wafer_starts(5, Product(100, 600, 1e5, model="poisson")), "no die is good"),
    (lambda: at_stake(1, PRODUCT, 5, 0.2), "smaller step"), (lambda: Product(100, 0, 0.1, 2), "dies on a wafer"),
])
def test_impossible_costs_are_refused(call, says):
    with pytest.raises(UsageError, match=says):
        call()
