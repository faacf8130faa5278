"""The figures of a net-zero plan: both of scope 2, prices by year, bars, years of offsets, scopes left out."""

from dataclasses import replace

import numpy as np
import pytest
from test_silicon_netzero import ALL, DAC, DEEP, HALF, PARTIAL, plan

from archfab.core import UsageError
from archfab.silicon.netzero.claim import claim
from archfab.silicon.netzero.curve import cost_curve
from archfab.silicon.netzero.document import ledger
from archfab.silicon.netzero.pathway import annuity, cheapest
from archfab.silicon.netzero.reading import plan_of


def test_tonnes_are_taken_of_a_source_that_contracts_or_a_clean_grid_leave_nothing_of():
    solar = {"name": "solar", "acts_on": ["p"], "potential_t": 300, "running": 10}
    for location, market in ((1000, 0), (0, 1000)):
        made = plan_of({"base_year": 2024, "last_year": 2026, "measures": [solar],
                        "sources": [{"name": "p", "scope": 2, "t": location, "market_t": market}],
                        "milestones": [{"name": "m", "year": 2026, "t": 800}]})
        found = cheapest(made)
        other = "market" if location else "location"
        assert found.total("location" if location else "market") == pytest.approx([1000, 800])
        assert found.total(other) == pytest.approx([0, 0]) and not found.abated[other]["solar"].any()
    # a contract for all of it does not keep solar off the location-based figure, nor is its tonne taken twice
    both = cheapest(plan_of({"base_year": 2024, "last_year": 2025, "sources": [{"name": "p", "scope": 2, "t": 1000}],
                             "measures": [solar, {"name": "paper", "kind": "certificates", "acts_on": {"p": 1.0}}],
                             "scope2": "market", "milestones": [{"name": "m", "year": 2025, "cut": 1.0}],
                             "carbon_price": {"per_t": 1}}))
    assert both.total("market")[0] == pytest.approx(0)
    assert sum(each[0] for each in both.abated["market"].values()) == pytest.approx(1000)
    assert cheapest(plan_of({"base_year": 2024, "last_year": 2025, "sources": [{"name": "p", "scope": 2, "t": 1000}],
                             "measures": [solar], "milestones": [{"name": "m", "year": 2025, "cut": 0.31}]})) is None


def test_a_measure_of_absurd_cost_moves_no_other():
    far = {"name": "far", "acts_on": {"heat": 0.1}, "capital": 1e13}
    free, beside = (cheapest(plan(measures=[*PARTIAL, *more], milestones=HALF)) for more in ([], [far]))
    assert beside.cost == pytest.approx(free.cost, rel=1e-6)
    assert beside.deployed["insulate"] == pytest.approx(free.deployed["insulate"], abs=1e-6)


def test_net_zero_without_a_scope_says_so_and_no_plan_asks_for_less():
    made = plan_of({**DEEP, "measures": [ALL], "removals": [DAC], "net_zero": {"year": 2030}})
    verdict = claim(cheapest(made))
    assert verdict["scopes"] == [1] and "no source of scope 2 and 3" in verdict["says"][0]
    with pytest.raises(UsageError, match=r"at least, not 0.5"):
        replace(made, least_cut=0.5)
    with pytest.raises(UsageError, match="at least, not 5"):
        replace(made, permanence_years=5)


def test_a_bar_costs_the_annuity_of_what_was_paid_for_what_stands():
    made = plan_of({"base_year": 2024, "last_year": 2030, "discount_rate": 0.05,
                    "sources": [{"name": "s", "scope": 1, "t": 1000}],
                    "measures": [{"name": "m", "acts_on": {"s": 0.9}, "capital": 1e5, "running": 500, "ramp": 0.25,
                                  "lifetime": 20, "cost_change": -0.1}],
                    "milestones": [{"name": "m", "year": 2028, "cut": 0.9}]})
    (bar,) = cost_curve(cheapest(made), 2030, "market")
    paid = sum(0.25 * 1e5 * 0.9 ** year for year in range(4))        # a quarter in each of 2025 to 2028
    assert bar.cost_per_t == pytest.approx((annuity(paid, 0.05, 20) + 500) / 900)


def test_capital_is_paid_at_the_price_of_the_year_in_which_it_is_paid():
    made = plan(measures=[{"name": "m", "acts_on": {"heat": 0.9}, "capital": 1e5, "lead": 2, "cost_change": -0.1,
                           "whole": True}], scope2="location",
                milestones=[{"name": "m", "year": 2028, "cut": 0.5, "scopes": [1], "keep": False}])
    found = cheapest(made)                          # 2028 is the fourth year: decided in the second
    assert found.capital["m"] == pytest.approx([0, 1e5 * 0.9 * 1.02 ** 4, 0, 0])
    assert found.cost == pytest.approx(1e5 * 0.9 * 1.02 ** 4 / 1.05)


def test_doing_nothing_grows_and_gets_cleaner_each_year():
    found = cheapest(plan(measures=PARTIAL, milestones=HALF))
    assert found.baseline["market"][1] == pytest.approx([1500 * (1.03 * 0.98) ** n for n in (1, 2, 3, 4)])
    assert found.baseline["location"][0] == pytest.approx([1000 * 1.02 ** n for n in (1, 2, 3, 4)])


def test_net_zero_that_is_lost_again_is_none():
    made = plan_of({**DEEP, "measures": [ALL], "removals": [DAC], "net_zero": {"year": 2028}})
    found = cheapest(made)
    rise = np.array([0, 0, 0, 0, 0, 80.0])
    later = replace(found, emitted={account: each + rise for account, each in found.emitted.items()})
    assert claim(found)["net_zero"] and not claim(later)["net_zero"]
    assert claim(later)["accounts"]["market"]["residual_t"] == pytest.approx(found.total("market")[-1] + 80)


def test_savings_by_tonnes_end_where_there_are_no_tonnes():
    for location, market in ((100, 1000), (1000, 100)):
        found = cheapest(plan_of({"base_year": 2024, "last_year": 2025,
                                  "milestones": [{"name": "m", "year": 2025, "cut": 0}],
                                  "sources": [{"name": "p", "scope": 2, "t": location, "market_t": market}],
                                  "measures": [{"name": "m", "acts_on": ["p"], "potential_t": 5000, "running": -10}]}))
        assert found.deployed["m"][0] == pytest.approx(0.2) and found.cost == pytest.approx(-2)


def test_a_bar_costs_only_what_still_stands():
    made = plan_of({"base_year": 2024, "last_year": 2030, "sources": [{"name": "s", "scope": 1, "t": 1000}],
                    "measures": [{"name": "m", "acts_on": {"s": 0.9}, "capital": 9e3, "lifetime": 2}],
                    "milestones": [{"name": "m", "year": 2025, "cut": 0.9}]})
    assert cost_curve(cheapest(made), 2030, "market")[0].cost_per_t == pytest.approx(9e3 / 2 / 900)


def test_offsets_are_told_in_their_years_only():
    rows = ledger(cheapest(plan(measures=PARTIAL, milestones=HALF, offsets=[
        {"name": "trees", "t": 7, "cost_per_t": 3, "from": 2026, "to": 2027}])))
    assert [row["offsets_not_counted_t"] for row in rows] == [0, 7, 7, 0]
    assert [row["offsets_cost_not_counted"] for row in rows] == [0, 21, 21, 0]
