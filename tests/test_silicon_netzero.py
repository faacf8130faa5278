"""The cheapest pathway: brute force, an independent formula for overlaps, duals, the ledger's sums, unreachable
targets."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.silicon.netzero.claim import claim
from archfab.silicon.netzero.document import ledger
from archfab.silicon.netzero.greedy import greedy
from archfab.silicon.netzero.model import build
from archfab.silicon.netzero.pathway import annuity, cheapest
from archfab.silicon.netzero.reading import plan_of
from archfab.silicon.netzero.shortfall import shortfall

SOURCES = [{"name": "heat", "scope": 1, "t": 1000, "growth": 0.02},
           {"name": "power", "scope": 2, "t": 2000, "market_t": 1500, "growth": 0.03, "intensity": -0.02}]
DAC = {"name": "dac", "permanence_years": 1000, "cost_per_t": 400, "limit_t": 1000}


def plan(**fields):
    return plan_of({"base_year": 2024, "first_year": 2025, "last_year": 2028, "discount_rate": 0.05,
                    "residual_value": False, "sources": SOURCES, **fields})


def whole(name, capital, running=0.0, **fields):
    return {"name": name, "capital": capital, "running": running, "whole": True, **fields}


MENU = [whole("insulate", 2e5, -3e4, acts_on={"heat": 0.4}, lead=1),
        whole("heat pumps", 5e5, 1e4, acts_on={"heat": 0.9}, apart_from=["biogas"]),
        whole("biogas", 1e4, 9e4, acts_on={"heat": 0.8}),
        whole("servers", 3e5, -8e4, acts_on={"power": 0.35}),
        whole("solar", 4e5, -2e4, acts_on={"power": 0.5, "heat": 0.1}, requires=["servers"]),
        whole("lease", 1e4, 7e4, acts_on={"power": 0.6}, excludes=["solar"])]


def brute(made, most):
    """The least cost over every year in which each measure can begin, or never: kept from then on, by the product of
    what measures leave."""
    years, names = made.years, [each.name for each in made.measures]
    since = np.array(years) - made.base_year
    best = np.inf
    options = [[None, *range(each.lead, len(years))] for each in made.measures]
    for begins in product(*options):
        chosen = dict(zip(names, begins, strict=True))
        if chosen["solar"] is not None and (chosen["servers"] is None or chosen["servers"] > chosen["solar"]):
            continue
        if chosen["solar"] is not None and chosen["lease"] is not None:
            continue
        if chosen["heat pumps"] is not None and chosen["biogas"] is not None:
            continue
        cost, left = 0.0, np.array([each.baseline(since) for each in made.sources])
        for each, begin in zip(made.measures, begins, strict=True):
            if begin is None:
                continue
            scale = made.scale(each)
            grown = np.diff(np.concatenate([[0.0], np.where(np.arange(len(years)) >= begin, scale, 0.0)]))
            for year in range(begin, len(years)):
                cost += grown[year] * each.capital / 1.05 ** (year - each.lead)
                cost += each.running * scale[year] / 1.05 ** year
                for i, source in enumerate(made.sources):
                    left[i, year] *= 1 - each.acts_on.get(source.name, 0.0)
        if (left.sum(axis=0) <= np.array(most) + 1e-6).all():
            best = min(best, cost)
    return best


@pytest.mark.parametrize("most", [(9e9, 3000, 2200, 1500), (9e9, 2600, 2000, 1000), (9e9, 9e9, 9e9, 650)])
def test_whole_measures_with_interactions_cost_what_brute_force_finds(most):
    made = plan(measures=MENU, scope2="location", milestones=[
        {"name": str(year), "year": year, "t": t, "keep": False} for year, t in zip(range(2025, 2029), most,
                                                                                    strict=True)
        if t < 9e8])
    found = cheapest(made)
    assert found.cost == pytest.approx(brute(made, most), rel=1e-6)
    assert found.gap <= 1e-6


def test_two_measures_on_one_source_multiply_where_they_must_overlap():
    # independent: shares x, y overlap by max(0, x + y - 1) at least; the least cost on a fine grid
    made = plan_of({"base_year": 2024, "last_year": 2025, "sources": [{"name": "s", "scope": 1, "t": 1000}],
                    "residual_value": False, "milestones": [{"name": "m", "year": 2025, "cut": 0.7}],
                    "measures": [{"name": "a", "acts_on": {"s": 0.5}, "running": 1000},
                                 {"name": "b", "acts_on": {"s": 0.6}, "running": 1500}]})
    found = cheapest(made)
    x, y = np.meshgrid(np.linspace(0, 1, 501), np.linspace(0, 1, 501))
    left = 1 - 0.5 * x - 0.6 * y + 0.3 * np.maximum(0, x + y - 1)
    assert found.cost == pytest.approx(np.where(left <= 0.3 + 1e-9, 1000 * x + 1500 * y, np.inf).min(), rel=4e-3)
    assert found.total("location")[0] == pytest.approx(300)
    # both in full leave (1 - 0.5)(1 - 0.6), never 1 - 1.1
    both = cheapest(plan_of({"base_year": 2024, "last_year": 2025, "sources": [{"name": "s", "scope": 1, "t": 1000}],
                             "milestones": [{"name": "m", "year": 2025, "cut": 0.8}],
                             "measures": [{"name": "a", "acts_on": {"s": 0.5}}, {"name": "b", "acts_on": {"s": 0.6}}]}))
    assert both.total("location")[0] == pytest.approx(200)
    assert both.by_chance["location"].sum() == pytest.approx(200)


def test_measures_in_tonnes_never_take_more_than_is_left():
    made = plan(scope2="location", milestones=[{"name": "m", "year": 2028, "t": 0, "scopes": [1]}], measures=[
        {"name": "share", "acts_on": {"heat": 0.9}, "running": 1}, {"name": "tonnes", "acts_on": ["heat"],
                                                                    "potential_t": 900,
                                                                "running_per_t": 1}])
    found = cheapest(made)
    assert found.total("location", (1,))[-1] == pytest.approx(0, abs=1e-6)
    assert found.abated["location"]["share"][-1] + found.abated["location"]["tonnes"][-1] == pytest.approx(
        1000 * 1.02 ** 4)
    # a whole project that could take more than there is takes what there is
    project = cheapest(plan(scope2="location", milestones=[{"name": "m", "year": 2028, "t": 0, "scopes": [1]}],
                            measures=[
        whole("project", 10, acts_on=["heat"], potential_t=5000)]))
    assert project.total("location", (1,))[-1] == pytest.approx(0, abs=1e-6)


PARTIAL = [{"name": "insulate", "acts_on": {"heat": 0.4}, "capital": 2e5, "running": -3e4, "ramp": 0.4},
           {"name": "pumps", "acts_on": {"heat": 0.9}, "capital": 5e5, "running": 1e4, "ramp": 0.5, "lifetime": 2},
           {"name": "servers", "acts_on": {"power": 0.35}, "capital": 3e5, "running": -8e4},
           {"name": "solar", "acts_on": {"power": 0.5, "heat": 0.1}, "capital": 4e5, "running": -2e4},
           {"name": "supply", "acts_on": ["power"], "potential_t": 300, "running_per_t": 70}]
HALF = [{"name": "half", "year": 2027, "cut": 0.5}]


def test_the_marginal_cost_is_what_a_tonne_more_would_save():
    made = plan(measures=PARTIAL, milestones=HALF, scope2="location")
    found = cheapest(made)
    tight = [cap for cap in found.caps if cap["marginal_cost_per_t_discounted"] > 1e-6]
    assert tight
    for cap in tight:
        key = (cap["milestone"], cap["year"], cap["account"])
        less, more = (cheapest(made, caps_t={key: cap["cap_t"] + step}).cost for step in (-0.01, 0.01))
        price = cap["marginal_cost_per_t_discounted"]
        assert (found.cost - more) / 0.01 - 0.01 <= price <= (less - found.cost) / 0.01 + 0.01
        years = cap["year"] - 2025
        assert cap["marginal_cost_per_t"] == pytest.approx(cap["marginal_cost_per_t_discounted"] * 1.05 ** years)


def test_the_solution_keeps_the_conditions_of_karush_kuhn_and_tucker():
    model = build(plan(measures=PARTIAL, milestones=HALF, scope2="both"))
    found, frozen = model.solve(), model.programme
    rows = frozen.matrix @ found.x
    slack = np.minimum(np.where(np.isfinite(frozen.row_high), frozen.row_high - rows, np.inf),
                       np.where(np.isfinite(frozen.row_low), rows - frozen.row_low, np.inf))
    assert slack.min() > -1e-6                                                      # primal feasibility
    assert abs(found.duals * np.where(np.isfinite(slack), slack,
                                      0)).max() < 1e-5   # complementary slackness of the rows
    reduced = model.cost - frozen.matrix.T @ found.duals                            # stationarity
    high = np.where(frozen.high > 1e9, np.inf, frozen.high)
    assert (reduced[(found.x > frozen.low + 1e-7) & (found.x < high - 1e-7)] == pytest.approx(0, abs=1e-6))
    assert (reduced[found.x < high - 1e-7] > -1e-6).all() and (reduced[found.x > frozen.low + 1e-7] < 1e-6).all()


def test_spending_limits_hold_and_their_price_is_what_money_would_save():
    free = cheapest(plan(measures=PARTIAL, milestones=HALF, scope2="location"))
    limit = 0.6 * free.spent.max()
    made = plan(measures=PARTIAL, milestones=HALF, scope2="location", spending={"per_year": limit})
    found = cheapest(made)
    assert found.spent.max() <= limit * (1 + 1e-6) and found.cost > free.cost
    year = int(found.spending_price.argmax())
    assert found.spending_price[year] > 0
    more = cheapest(plan(measures=PARTIAL, milestones=HALF, scope2="location", spending={
        "per_year": limit, "years": {str(2025 + year): limit + 10}}))
    assert (found.cost - more.cost) / 10 == pytest.approx(found.spending_price[year], rel=0.05)


def test_ramps_lead_times_starts_and_lifetimes_hold():
    made = plan_of({"base_year": 2024, "first_year": 2025, "last_year": 2034, "sources": SOURCES, "scope2": "location",
                    "milestones": [{"name": "m", "year": 2032, "cut": 0.3, "scopes": [1]}],
                    "measures": [{"name": "pumps", "acts_on": {"heat": 0.9}, "capital": 5e5, "ramp": 0.15,
                                  "start": 2026,
                                  "lead": 2, "lifetime": 4}]})
    found = cheapest(made)
    used, scale = found.deployed["pumps"], made.scale(made.measures[0])
    assert (used[:3] == 0).all()
    assert (np.diff(used * scale, prepend=0) <= 0.15 * scale + 1e-7).all()
    stands = np.array([found.built["pumps"][max(0, i - 3):i + 1].sum() for i in range(10)])
    assert (used * scale <= stands + 1e-7).all()
    paid = found.capital["pumps"]
    assert paid.sum() == pytest.approx(found.built["pumps"].sum() * 5e5)
    assert np.flatnonzero(paid)[0] == np.flatnonzero(found.built["pumps"])[0] - 2


def test_what_is_installed_stays_until_its_lifetime_ends():
    # cheap to install, dear to run: idling it after the milestone's single year would pay
    measure = {"name": "fuel", "acts_on": {"heat": 0.9}, "capital": 1, "running": 1e5}
    once = [{"name": "once", "year": 2026, "t": 300, "scopes": [1], "keep": False}]
    kept = cheapest(plan(measures=[measure], milestones=once))
    assert (np.diff(kept.deployed["fuel"][1:] * 1.02 ** np.arange(3)) >= -1e-7).all()
    ended = cheapest(plan(measures=[{**measure, "lifetime": 1}], milestones=once))
    assert ended.deployed["fuel"][2:].max() < 1e-7 and ended.cost < kept.cost


def test_certificates_lower_the_market_based_figure_only():
    paper = {"name": "paper", "kind": "certificates", "acts_on": {"power": 1.0}, "running_per_t": 1}
    market = cheapest(plan(scope2="market", measures=[paper], milestones=[
        {"name": "m", "year": 2028, "cut": 0.9, "scopes": [2]}]))
    assert market.total("market", (2,))[-1] == pytest.approx(150)
    assert market.total("location", (2,)) == pytest.approx(market.baseline["location"][1])
    assert cheapest(plan(scope2="both", measures=[paper], milestones=[
        {"name": "m", "year": 2028, "cut": 0.9, "scopes": [2]}])) is None


DEEP = {"sources": [{"name": "s", "scope": 1, "t": 1000}], "base_year": 2024, "last_year": 2030}
ALL = {"name": "all", "acts_on": {"s": 0.92}, "running": 1000}


@pytest.mark.parametrize("removals,offsets,cut,good", [
    ([DAC], [], 0.9, True), ([], [], 0.9, False), ([{**DAC, "limit_t": 50}], [], 0.9, False),
    ([{**DAC, "permanence_years": 99}], [], 0.9, False), ([], [{"name": "o", "t": 1e6}], 0.9, False),
    ([DAC], [], 0.93, False)])
def test_net_zero_is_said_only_with_ninety_percent_cut_and_durable_removals(removals, offsets, cut, good):
    made = plan_of({**DEEP, "measures": [ALL], "removals": removals, "offsets": offsets,
                    "net_zero": {"year": 2030, "cut": cut}})
    found = cheapest(made)
    assert (found is not None) == good
    nearest = found or shortfall(made).nearest
    verdict = claim(nearest)
    assert verdict["net_zero"] == good
    assert any(says.startswith("net zero in") for says in verdict["says"]) == good
    left, removed = nearest.total("location")[-1], sum(each[-1] for each in nearest.removed.values())
    assert good == (left <= 100 + 1e-6 and removed >= left - 1e-6)


def test_certificates_alone_make_no_net_zero():
    made = plan_of({"base_year": 2024, "last_year": 2026, "scope2": "market", "removals": [DAC],
                    "sources": [{"name": "p", "scope": 2, "t": 1000}], "net_zero": {"year": 2026},
                    "measures": [{"name": "paper", "kind": "certificates", "acts_on": {"p": 1.0}}]})
    verdict = claim(cheapest(made))
    assert verdict["accounts"]["market"]["net_zero"] and not verdict["net_zero"]
    assert verdict["accounts"]["location"]["cut_lacks_t"] == pytest.approx(900)
    assert any("location-based: 0.0% of the base year's emissions are cut and 90% are needed: 900 t" in says
               for says in verdict["says"])


def test_a_plan_of_one_year_and_one_without_measures():
    frame = {"base_year": 2024, "last_year": 2025, "sources": [{"name": "s", "scope": 1, "t": 100, "growth": -0.5}],
             "milestones": [{"name": "m", "year": 2025, "cut": 0.5}]}
    assert cheapest(plan_of(frame)).cost == 0
    assert cheapest(plan_of({**frame, "measures": [{"name": "m", "acts_on": {"s": 1.0}, "whole": True}]})).cost == 0


def test_a_carbon_price_is_paid_for_what_is_left_and_makes_abatement_pay():
    made = {"base_year": 2024, "last_year": 2025, "sources": [{"name": "s", "scope": 1, "t": 1000}],
            "milestones": [{"name": "m", "year": 2025, "cut": 0.0}],
            "measures": [{"name": "m", "acts_on": {"s": 0.4}, "running_per_t": 50}]}
    dear, cheap = (cheapest(plan_of({**made, "carbon_price": {"per_t": price}})) for price in (51, 49))
    assert dear.deployed["m"][0] == pytest.approx(1) and dear.cost == pytest.approx(400 * 50 + 600 * 51)
    assert cheap.deployed["m"][0] == 0 and cheap.cost == pytest.approx(1000 * 49)


def test_a_budget_over_all_years_and_its_price():
    made = plan(measures=PARTIAL, cumulative_t=9000.0, scope2="location")
    found = cheapest(made)
    assert found.total("location").sum() <= 9000 * (1 + 1e-6)
    (cap,) = found.caps
    assert cap["year"] is None and cap["marginal_cost_per_t"] > 0
    more = cheapest(plan(measures=PARTIAL, cumulative_t=9001.0, scope2="location"))
    assert found.cost - more.cost == pytest.approx(cap["marginal_cost_per_t"], rel=0.02)


def test_a_straight_line_is_a_cap_for_every_year():
    made = plan(measures=PARTIAL, scope2="location", linear=[{"name": "near", "cut_per_year": 0.042, "from": 2026,
                                                             "to": 2028}])
    assert [cap["cap_t"] for cap in cheapest(made).caps] == pytest.approx([3000 * (1 - 0.042 * n) for n in (2, 3, 4)])


def test_a_pathway_that_keeps_its_milestones_without_a_year_of_net_zero_is_not_called_so():
    found = cheapest(plan_of({**DEEP, "measures": [ALL], "removals": [DAC],
                              "milestones": [{"name": "deep", "year": 2030, "cut": 0.92}]}))
    assert not claim(found)["net_zero"] and "no year of net zero" in claim(found)["says"][0]
    assert not sum(each.sum() for each in found.removed.values())


def test_offsets_change_nothing_but_their_own_line():
    offset = {"name": "trees", "t": 5e5, "cost_per_t": 3}
    plain, with_offsets = (cheapest(plan(measures=PARTIAL, milestones=HALF, offsets=each)) for each in ([], [offset]))
    assert plain.cost == with_offsets.cost
    for one, other in zip(ledger(plain), ledger(with_offsets), strict=True):
        differing = {key for key in one if one[key] != other[key]}
        assert differing == {"offsets_not_counted_t", "offsets_cost_not_counted"}
    assert ledger(with_offsets)[0]["offsets_cost_not_counted"] == 1.5e6


# --- out of reach

def test_a_target_out_of_reach_says_by_how_much_in_which_year_and_why():
    # 0.9 x 1000 at most, 0.15 of it per year from 2025: in 2028 4 x 0.15 x 0.9 = 54 % at most
    made = plan_of({"base_year": 2024, "last_year": 2028, "sources": [{"name": "s", "scope": 1, "t": 1000}],
                    "milestones": [{"name": "deep", "year": 2028, "cut": 0.8}],
                    "measures": [{"name": "m", "acts_on": {"s": 0.9}, "capital": 100, "ramp": 0.15}]})
    assert cheapest(made) is None
    found = shortfall(made)
    by_account = {each["account"]: each for each in found.missed}
    assert by_account["location"]["missed_by_t"] == pytest.approx(460 - 200, abs=1e-3)
    assert by_account["location"]["year"] == 2028
    assert found.binds == ["ramps"] and found.without["ramps"] == pytest.approx(0, abs=1e-3)
    assert found.reachable[0]["greatest_cut"] == pytest.approx(0.54)
    assert found.nearest.total("location")[-1] == pytest.approx(460, abs=1e-3)


def test_a_limit_on_spending_that_is_too_low_says_how_much_more_it_takes():
    made = plan_of({"base_year": 2024, "last_year": 2026, "sources": [{"name": "s", "scope": 1, "t": 1000}],
                    "milestones": [{"name": "deep", "year": 2026, "cut": 0.8}], "spending": {"per_year": 300},
                    "measures": [{"name": "m", "acts_on": {"s": 1.0}, "capital": 1000}]})
    found = shortfall(made)
    assert sum(found.extra_spending.values()) == pytest.approx(200)     # 800 needed, 2 x 300 there
    assert found.binds == ["spending"]
    assert found.reachable[0]["greatest_cut"] == pytest.approx(0.6)


def test_potential_is_named_where_all_measures_do_not_suffice():
    found = shortfall(plan_of({"base_year": 2024, "last_year": 2026, "sources": [{"name": "s", "scope": 1, "t": 1000}],
                               "milestones": [{"name": "deep", "year": 2026, "cut": 0.8}],
                               "measures": [{"name": "m", "acts_on": {"s": 0.5}},
                                            {"name": "n", "acts_on": {"s": 0.5}}]}))
    assert found.binds == ["potential"] and found.reachable[0]["greatest_cut"] == pytest.approx(0.75)


# --- whatever the plan

def random_plan(seed, whole_measures=0):
    rng = np.random.default_rng(seed)
    sources = [{"name": f"s{i}", "scope": int(rng.integers(1, 4)), "t": float(rng.lognormal(6, 1)),
                "growth": float(rng.uniform(-0.03, 0.04)), "intensity": float(rng.uniform(-0.03, 0))} for i in range(3)]
    measures = []
    for i in range(6):
        on = {f"s{i % 3}": float(rng.uniform(0.2, 0.9)), f"s{rng.integers(3)}": float(rng.uniform(0.1, 0.6))}
        measures.append({"name": f"m{i}", "acts_on": on, "capital": float(rng.uniform(0, 3e5)),
                         "running": float(rng.normal(0, 2e4)), "lifetime": int(rng.integers(1, 9)),
                         **({"whole": True} if i < whole_measures else {"ramp": float(rng.uniform(0.3, 1))})})
    return plan_of({"base_year": 2024, "last_year": 2031, "discount_rate": 0.04, "sources": sources,
                    "measures": measures,
                    "milestones": [{"name": "m", "year": 2030, "cut": float(rng.uniform(0.1, 0.4))}]})


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_ledgers_add_up_and_nothing_is_negative(seed):
    found = cheapest(random_plan(seed))
    if found is None:
        return
    for row in ledger(found):
        for account in ("location", "market"):
            assert row[f"do_nothing_{account}_t"] - row[f"abated_{account}_t"] == pytest.approx(
                row[f"emitted_{account}_t"], rel=1e-6, abs=1e-4)
            assert row[f"emitted_{account}_t"] >= -1e-6
        assert row["scope_1_t"] + row["scope_2_market_t"] + row["scope_3_t"] == pytest.approx(row["emitted_market_t"])
    assert all(cap["emitted_t"] <= cap["cap_t"] * (1 + 1e-6) for cap in found.caps)
    discounts = found.plan.discounts()
    paid = sum(found.capital.values()) + sum(found.running.values())
    assert (paid * discounts).sum() - found.end_value == pytest.approx(found.cost, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_no_naive_plan_is_cheaper(seed):
    made = random_plan(seed)
    best, naive = cheapest(made), greedy(made)
    if best is None:
        assert naive.pathway is None
    elif naive.pathway is not None:
        assert best.cost <= naive.timed.cost + 1e-3 <= naive.pathway.cost + 2e-3


def test_annuities_pay_a_capital_back():
    assert annuity(1000, 0.0, 10) == 100
    paid = annuity(1000, 0.07, 10)
    assert sum(paid / 1.07 ** year for year in range(1, 11)) == pytest.approx(1000)


def test_neither_the_unit_of_money_nor_that_of_tonnes_changes_the_pathway():
    def made(tonnes, money):
        sources = [{**each, "t": each["t"] * tonnes, **({"market_t": 1500 * tonnes} if each["scope"] == 2 else {})}
                   for each in SOURCES]
        measures = [{**each, "capital": each["capital"] * money, "running": each["running"] * money}
                    for each in PARTIAL if "potential_t" not in each]
        return cheapest(plan(sources=sources, measures=measures, milestones=HALF))
    plain, other = made(1, 1), made(1e6, 1e-3)
    assert other.cost == pytest.approx(plain.cost * 1e-3, rel=1e-6)
    assert other.caps[0]["marginal_cost_per_t"] == pytest.approx(plain.caps[0]["marginal_cost_per_t"] * 1e-9, rel=1e-5)
