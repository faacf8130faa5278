"""A plan file that is wrong is refused with what is wrong, what is legal and what to do."""

import copy
import json
import re
import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.cli import main
from archfab.core import UsageError
from archfab.silicon.netzero.pathway import cheapest
from archfab.silicon.netzero.reading import plan_of, read_plan
from archfab.silicon.netzero.template import TEMPLATE
from archfab.silicon.netzero.uncertainty import draw

GOOD = {"base_year": 2024, "last_year": 2030, "discount_rate": 0.05,
        "sources": [{"name": "heat", "scope": 1, "t": 1000}, {"name": "power", "scope": 2, "t": 500, "market_t": 600}],
        "measures": [{"name": "a", "acts_on": {"heat": 0.4}, "capital": 100}, {"name": "b", "acts_on": {"heat": 0.5}},
                     {"name": "c", "acts_on": {"power": 0.9}, "running": -5}],
        "milestones": [{"name": "half", "year": 2029, "cut": 0.3}],
        "removals": [{"name": "dac", "permanence_years": 1000, "cost_per_t": 500, "limit_t": 100}],
        "offsets": [{"name": "trees", "t": 10}]}


def broken(*path, **change):
    """The good plan with a table changed: broken("measures", 0, start=2010)."""
    data = copy.deepcopy(GOOD)
    table = data
    for step in path:
        table = table.setdefault(step, {}) if isinstance(table, dict) else table[step]
    for key, value in change.items():
        if value is None:
            table.pop(key)
        else:
            table[key] = value
    return data


def test_the_good_plan_is_good():
    assert cheapest(plan_of(GOOD)) is not None


@pytest.mark.parametrize("data,words", [
    # the target and the years
    (broken("milestones", 0, year=2020), ["not after the base year 2024"]),
    (broken("milestones", 0, year=2040), ["between 2025 and 2030"]),
    (broken(last_year=2020), ["'last_year' is 2020", "not before the plan's first year"]),
    (broken(first_year=2020), ["not before the base year"]),
    (broken(base_year=24), ["calendar year"]),
    (broken("milestones", 0, cut=50), ["for 50 % write 0.5"]),
    (broken("milestones", 0, t=100), ["either 'cut'", "or 't'"]),
    (broken("milestones", 0, scopes=[4]), ["list of 1, 2 and 3"]),
    (broken(milestones=[]), ["aims at nothing"]),
    (broken("net_zero", year=2030, cut=0.8), ["0.9 at least", "never for less"]),
    (broken("net_zero", year=2030, cut=90), ["for 90 % write 0.9"]),
    (broken("net_zero", year=2030, permanence_years=50), ["100 years at least"]),
    (broken("net_zero", year=2040), ["between 2025 and 2030"]),
    # measures
    (broken("measures", 0, acts_on={"heat": 40}), ["for 40 % write 0.4"]),
    (broken("measures", 0, acts_on={"heat": -0.4}), ["not below 0"]),
    (broken("measures", 0, acts_on={"haet": 0.4}), ["no source named 'haet'", "did you mean 'heat'"]),
    (broken("measures", 0, acts_on=["heat"], potential_t=-5), ["'potential_t' is -5", "not below 0"]),
    (broken("measures", 0, potential_t=5), ["shares and 'potential_t'"]),
    (broken("measures", 0, kind="offset"), ["never counts as one", "[[offsets]]"]),
    (broken("measures", 0, kind="removal"), ["[[removals]]"]),
    (broken("measures", 0, kind="magic"), ["legal: abatement, certificates"]),
    (broken("measures", 0, kind="certificates"), ["scope 2 alone", "'heat' is of scope 1"]),
    (broken("measures", 0, requires=["a"]), ["requires itself"]),
    (broken("measures", 0, apart_from=["c"]), ["there is none", "write excludes"]),
    (broken("milestones", 0, scopes=[3]), ["scopes 3, of which there is no source"]),
    (broken("measures", 0, kind=" Offset"), ["never counts as one"]),
    (broken("milestones", 0, name="net zero") | {"net_zero": {"year": 2030}}, ["two milestones are named 'net zero'"]),
    (broken("measures", 0, requires=["z"]), ["no measure named 'z'"]),
    (broken("measures", 0, requires=["b"], excludes=["b"]), ["requires 'b' and excludes it"]),
    (broken(measures=[{"name": "a", "acts_on": {"heat": 0.1}, "requires": ["b"]},
                      {"name": "b", "acts_on": {"heat": 0.1}, "requires": ["c"]},
                      {"name": "c", "acts_on": {"heat": 0.1}, "requires": ["a"]}]), ["circle: a -> b -> c -> a"]),
    (broken("measures", 0, capital=100, capital_per_t=1), ["'capital' and 'capital_per_t'"]),
    (broken("measures", 0, capital="cheap"), ["'capital' is 'cheap'"]),
    (broken("measures", 0, capital=float("nan")), ["'capital' is nan"]),
    (broken("measures", 0, start=2050), ["'start' is 2050"]),
    (broken("measures", 0, ramp=20), ["for 20 % write 0.2"]),
    (broken("measures", 0, ramp=0), ["never be deployed"]),
    (broken("measures", 0, lifetime=0), ["not below 1"]),
    (broken("measures", 0, lifetime=2.5), ["whole number"]),
    (broken("measures", 0, whole="yes"), ["true or false"]),
    (broken("measures", 0, whole=True, ramp=0.5), ["all or nothing"]),
    (broken("measures", 0, capitol=5), ["no field of [[measures]] 'a' named 'capitol'", "did you mean 'capital'"]),
    (broken("measures", 1, name="a"), ["two measures are named 'a'"]),
    (broken("measures", 0, acts_on=None), ["needs 'acts_on'"]),
    # sources, money, the rest
    (broken("sources", 0, t=-1), ["'t' is -1", "not below 0"]),
    (broken("sources", 0, t=True), ["'t' is True"]),
    (broken("sources", 0, scope=4), ["not above 3"]),
    (broken("sources", 0, market_t=5), ["only scope 2 has a market-based figure"]),
    (broken("sources", 0, growth=3), ["for 3 % write 0.03"]),
    (broken("sources", 0, growth=0.02, growth_low=0.03), ["outside its interval"]),
    (broken("sources", 0, uncertainty=15), ["for 15 % write 0.15"]),
    (broken(sources=[]), ["no [[sources]]"]),
    (broken(sources=[{"name": "x", "scope": 1, "t": 0}]), ["emit 0 t"]),
    (broken(sources=5), ["[[sources]]"]),
    (broken(discount_rate=5), ["for 5 % write 0.05"]),
    (broken(scope2="markt"), ["legal: both, location, market"]),
    (broken(currencey="USD"), ["no field of the plan named 'currencey'"]),
    (broken("spending", years={"2050": 5}), ["no year of the plan"]),
    (broken("spending", per_year=-5), ["not below 0"]),
    (broken("spending", counts="all"), ["limits nothing"]),
    (broken("removals", 0, permanence_years=-1), ["not below 0"]),
    (broken("removals", 0, limit_t=None), ["needs 'limit_t'"]),
    (broken("offsets", 0, **{"from": 2029, "to": 2027}), ["'to' is 2027"]),
    (broken("carbon_price", per_t=-4), ["not below 0"]),
])
def test_what_is_wrong_is_said(data, words):
    with pytest.raises(UsageError) as caught:
        plan_of(data)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_savings_are_negative_costs_and_legal():
    found = cheapest(plan_of(broken("measures", 0, capital=-50, running=-10)))
    assert found.deployed["a"][0] == pytest.approx(1) and found.cost < 0


def test_too_many_measures_on_one_source_are_refused_before_minutes_pass():
    many = [{"name": f"m{i}", "acts_on": {"heat": 0.1}} for i in range(13)]
    with pytest.raises(UsageError, match="13 measures take a share of 'heat', and 12 can"):
        cheapest(plan_of(broken(measures=many)))


def test_files_that_are_no_plans(tmp_path):
    with pytest.raises(UsageError, match="--template"):
        read_plan(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("base_year = = 3")
    with pytest.raises(UsageError, match="cannot be read as a plan"):
        read_plan(tmp_path / "bad.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read as a plan"):
        read_plan(tmp_path / "bytes.toml")


def test_the_template_is_a_plan_in_reach(tmp_path):
    (tmp_path / "t.toml").write_text(TEMPLATE)
    assert cheapest(read_plan(tmp_path / "t.toml")) is not None


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-5, 3000), st.floats(allow_nan=True), st.text(max_size=4),
                   st.lists(st.integers(0, 5), max_size=2), st.dictionaries(st.text(max_size=4), st.floats(),
                                                                            max_size=2))
PLACES = [(), ("sources", 0), ("measures", 0), ("milestones", 0), ("removals", 0), ("offsets", 0), ("net_zero",),
          ("spending",), ("carbon_price",)]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PLACES), st.data())
def test_no_value_anywhere_breaks_the_reader(place, data):
    table = GOOD
    for step in place:
        table = table.get(step, {"year": 0, "cut": 0, "per_year": 0, "years": 0, "counts": 0, "per_t": 0}) \
            if isinstance(table, dict) else table[step]
    key = data.draw(st.sampled_from(sorted(table)))
    value = data.draw(VALUES)
    changed = broken(*place)
    inner = changed
    for step in place:
        inner = inner[step]
    inner[key] = value
    try:
        plan_of(changed)
    except UsageError as error:
        assert str(error)


# --- the base year from an inventory

def line(name, scope, location, market=None):
    low, high = location / 1.25, location * 1.25
    both = {"value": location, "low": low, "high": high}
    return {"name": name, "scope": scope, "category": "c", "location_kg": both,
            "market_kg": both if market is None else {"value": market, "low": market, "high": market}}


INVENTORY = {"year": 2024, "lines": [line("boilers", "1", 1e6), line("meter", "2", 5e5, 6e5),
                                     line("wood", "outside", 9e9)]}


def from_inventory(tmp_path, document=INVENTORY, **more):
    (tmp_path / "i.json").write_text(document if isinstance(document, str) else json.dumps(document))
    return plan_of({"inventory": "i.json", "last_year": 2030, "milestones": GOOD["milestones"]} | more,
                   folder=tmp_path)


def test_an_inventory_is_the_base_year(tmp_path):
    made = from_inventory(tmp_path, sources=[{"name": "meter", "growth": 0.02}, {"name": "more", "scope": 3, "t": 5}])
    assert made.base_year == 2024 and [each.name for each in made.sources] == ["boilers", "meter", "more"]
    boilers, meter, more = made.sources
    assert (boilers.scope, boilers.t, boilers.market_t) == (1, 1000, 1000)
    assert (meter.scope, meter.t, meter.market_t, meter.growth) == (2, 500, 600, 0.02)
    assert (more.t, more.uncertainty) == (5, 0)
    # the interval that comes out of the draws is as wide as the one that went in
    low, high = np.quantile(draw(made, number=40_000).base["location"][:, 0], [0.025, 0.975])
    assert high / low == pytest.approx(1.25 ** 2, rel=0.01)


@pytest.mark.parametrize("document,more,words", [
    (INVENTORY, {"base_year": 2023}, ["'base_year' is 2023", "inventory is of 2024"]),
    (INVENTORY, {"sources": [{"name": "meter", "t": 5}]}, ["'meter' is in the inventory", "leave that out"]),
    (INVENTORY, {"sources": [{"name": "metre", "growth": 0.1}]}, ["'metre' needs 'scope'"]),
    (INVENTORY, {"sources": 5}, ["[[sources]]"]), (INVENTORY, {"inventory": 5}, ["write the name of a file"]),
    (INVENTORY, {"inventory": "no.json"}, ["there is no inventory", "inventory FILE --json"]),
    ("{", {}, ["cannot be read as an inventory"]), ("[]", {}, ["cannot be read as an inventory"]),
    ({"year": 2024, "lines": [{**line("a", "1", 1e6), "location_kg": {"value": 1e6, "low": 1e4, "high": 1e8}}]}, {},
     ["'a' of the inventory is uncertain by", "99% at most"])])
def test_inventories_that_do_not_fit_are_refused(tmp_path, document, more, words):
    with pytest.raises(UsageError) as caught:
        from_inventory(tmp_path, document, **more)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_what_the_word_inventory_prints_is_read(tmp_path, capfd):
    pytest.importorskip("archfab.silicon.carbon.inventory", reason="the word inventory is not there")
    (tmp_path / "fab.toml").write_text(
        'organisation = "Fab"\nyear = 2023\n[[activity]]\nname = "gas"\nscope = 1\n'
        'amount = 100\nunit = "kg"\ngas = "NF3"\namount_uncertainty_percent = 30\n'
        '[[energy]]\nname = "fab"\namount = 60\nunit = "GWh"\nplace = "TWN"\nresidual_g_kwh = 700\n')
    assert main(["silicon", "inventory", str(tmp_path / "fab.toml"), "--json"]) == 0
    printed = capfd.readouterr().out
    made = from_inventory(tmp_path, printed)
    sums = json.loads(printed)
    for account in ("location", "market"):
        assert made.base_t(account) == pytest.approx(sums[f"total_{account}_kg"]["value"] / 1000)
    assert {each.name: each.scope for each in made.sources} == {"gas": 1, "fab": 2}
    assert made.source("gas").uncertainty == pytest.approx(0.3) and made.base_year == 2023


def test_what_the_template_has_in_comments_can_be_taken_in():
    aims, measures = TEMPLATE.split("# --- what can be done")
    aims = re.sub(r"(?m)^# (?=\[|(?!inventory)\w+ = )", "", aims)
    made = plan_of(tomllib.loads(aims + measures))
    assert made.cumulative_t == 200000 and made.spending[2026] == 0.5e6 and made.carbon_price.per_t == 50
    assert made.correlation == 0.3 and not made.residual_value and len(made.milestones) == 7
