"""A plan file that is wrong is refused with what is wrong, what is legal and what to do."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.core import UsageError
from archfab.silicon.netzero.pathway import cheapest
from archfab.silicon.netzero.reading import plan_of, read_plan
from archfab.silicon.netzero.template import TEMPLATE

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
