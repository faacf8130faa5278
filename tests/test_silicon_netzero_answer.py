"""What the word `plan` answers: documents, files, pictures, probabilities against closed forms, a plan that holds."""

import csv
import json
import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import lognorm, norm

from archfab.cli import main
from archfab.silicon.netzero.answer import answer
from archfab.silicon.netzero.curve import cost_curve
from archfab.silicon.netzero.pathway import cheapest
from archfab.silicon.netzero.pictures import spread
from archfab.silicon.netzero.reading import plan_of
from archfab.silicon.netzero.template import TEMPLATE
from archfab.silicon.netzero.uncertainty import draw, reliability, robust

ONE = {"base_year": 2024, "first_year": 2025, "last_year": 2030, "scope2": "location",
       "measures": [{"name": "m", "acts_on": {"s": 0.9}, "capital": 1e5}],
       "milestones": [{"name": "deep", "year": 2030, "cut": 0.4, "keep": False}]}


def one(**source):
    return plan_of({**ONE, "sources": [{"name": "s", "scope": 1, "t": 1000, **source}]})


# --- probabilities

def test_the_chance_of_a_milestone_is_that_of_the_growth_it_allows():
    made = one(growth=0.03, growth_low=0.01, growth_high=0.06)
    pathway = cheapest(made, caps_t={("deep", 2030, "location"): 560})
    kept = pathway.total("location")[-1] / pathway.baseline["location"].sum(axis=0)[-1]
    allowed = (0.6 / kept) ** (1 / 6) - 1                                       # growth that would just do
    wanted = norm.cdf((allowed - 0.03) / ((0.06 - 0.03) / 1.96))
    found = reliability(pathway, number=20_000)["milestones"][0]
    assert 0.6 < wanted < 0.95 and found["low"] <= wanted + 0.005 and found["high"] >= wanted - 0.005


def test_an_error_of_the_inventory_leaves_a_cut_alone_and_moves_a_target_in_tonnes():
    share = reliability(cheapest(one(uncertainty=0.3)))
    assert share["all"]["probability"] == 1.0
    made = plan_of({**ONE, "milestones": [{"name": "tonnes", "year": 2030, "t": 600}],
                    "sources": [{"name": "s", "scope": 1, "t": 1000, "uncertainty": 0.3}]})
    pathway = cheapest(made, caps_t={("tonnes", 2030, "location"): 540})
    wanted = norm.cdf(math.log(600 / 540) / (math.log(1.3) / 1.96))
    assert reliability(pathway, number=20_000)["all"]["probability"] == pytest.approx(wanted, abs=0.01)


def test_draws_have_the_intervals_that_were_given():
    made = one(uncertainty=0.2, growth=0.02, growth_low=0.0, growth_high=0.05)
    draws = draw(made, number=40_000)
    # an independent lognormal of this mean and deviation
    sigma = math.sqrt(math.log(1 + (0.2 / 1.96) ** 2))
    wanted = lognorm(sigma, scale=1000 * math.exp(-sigma ** 2 / 2))
    assert wanted.mean() == pytest.approx(1000) and wanted.std() == pytest.approx(200 / 1.96)
    assert np.quantile(draws.base["location"], [0.025, 0.975]) == pytest.approx(wanted.ppf([0.025, 0.975]), rel=0.01)
    assert draws.base["location"].mean() == pytest.approx(1000, rel=2e-3)
    growth = draws.baseline["location"][:, 0, 0] / draws.base["location"][:, 0] - 1
    assert np.quantile(growth, [0.025, 0.5, 0.975]) == pytest.approx([0.0, 0.02, 0.05], abs=0.0015)
    assert (draw(made, seed=3).base["market"] == draw(made, seed=3).base["market"]).all()
    assert (draw(made, seed=3).base["market"] != draw(made, seed=4).base["market"]).any()


def test_sources_err_together_by_the_correlation_and_no_more():
    made = plan_of({**ONE, "correlation": 0.36, "sources": [
        {"name": name, "scope": 1, "t": 1000, "uncertainty": 0.2, "growth_low": -0.02, "growth_high": 0.02}
        for name in ("s", "other")]})
    draws = draw(made, number=40_000)
    base = np.log(draws.base["location"])
    grown = draws.baseline["location"][:, :, 0] / draws.base["location"]
    assert np.corrcoef(base.T)[0, 1] == pytest.approx(0.36, abs=0.02)
    assert np.corrcoef(grown.T)[0, 1] == pytest.approx(0.36, abs=0.02)
    assert abs(np.corrcoef(base[:, 0], grown[:, 0])[0, 1]) < 0.02
    assert base.std(axis=0) == pytest.approx(math.sqrt(math.log(1 + (0.2 / 1.96) ** 2)), rel=0.02)


def test_a_plan_with_confidence_holds_and_costs_what_the_quantile_asks_for():
    made = one(growth=0.03, growth_low=0.01, growth_high=0.05)
    found = robust(made, 0.9)
    assert found.pathway is not None
    judged = reliability(found.pathway, seed=77)["all"]
    assert judged["high"] >= 0.9 and judged["probability"] <= 0.93
    # the closed form: a share x with (1 - .9 x) (1 + g)^6 <= .6 at the 90 % point of the growth
    high = 0.03 + norm.ppf(0.9) * 0.02 / 1.96
    wanted = (1 - 0.6 / (1 + high) ** 6) / 0.9
    assert found.pathway.deployed["m"][-1] == pytest.approx(wanted, rel=0.02)
    assert found.pathway.cost > cheapest(made).cost


def test_a_confidence_out_of_reach_says_how_far_one_comes():
    made = plan_of({**ONE, "measures": [{"name": "m", "acts_on": {"s": 0.55}}],
                    "sources": [{"name": "s", "scope": 1, "t": 1000, "growth": 0.03, "growth_low": 0.0,
                                 "growth_high": 0.06}]})
    found = robust(made, 0.99)
    assert found.pathway is None and 0.4 < found.reached < 0.99


# --- the word

@pytest.fixture
def plan(tmp_path):
    (tmp_path / "plan.toml").write_text(TEMPLATE)
    return tmp_path / "plan.toml"


def test_the_document_is_json_and_the_files_are_there(plan, tmp_path, capfd):
    assert main(["silicon", "plan", str(plan), "--json", "--out", str(tmp_path / "out"), "--csv",
                 str(tmp_path / "l.csv"),
                 "--curve", str(tmp_path / "c.svg")]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["feasible"] and document["claim"]["net_zero"] and document["claim"]["needs_cut"] == 0.9
    assert {"ledger", "measures", "milestones", "curve", "uncertainty", "offsets", "cost", "shortfall"} <= set(document)
    for name in ("pathway.png", "curve.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "c.svg").read_text().startswith("<svg")
    rows = list(csv.DictReader((tmp_path / "l.csv").open()))
    assert [int(row["year"]) for row in rows] == list(range(2026, 2046))
    assert float(rows[-1]["net_market_t"]) <= 1e-3 < float(rows[-1]["emitted_market_t"])
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["cost"] == document["cost"]
    used = list(csv.DictReader((tmp_path / "out" / "measures.csv").open()))
    assert len(used) == 20 * len(document["measures"])
    assert document["offsets"][0]["counts_as"] == 0


def test_a_person_reads_the_verdict_first(plan, capsys):
    assert main(["silicon", "plan", str(plan), "--greedy"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Example Ltd: the cheapest pathway costs")
    assert "net zero in 2045: 90.0% of the base year's emissions are cut" in said
    assert "forest: kept for less than 100 years" in said and "count as nothing" in said
    assert "the naive plan, cheapest tonne first" in said


def test_out_of_reach_is_said_with_how_far(plan, capsys):
    text = plan.read_text().replace("limit_t = 2000 ", "limit_t = 300 ").replace("year = 2032 ", "year = 2027 ")
    plan.write_text(text)
    assert main(["silicon", "plan", str(plan), "--png", str(plan.parent / "p.png")]) == 0
    said = capsys.readouterr().out
    assert "out of reach" in said and "t above the" in said and "binds" in said and "can be reached in" in said
    assert "durable removals are" in said and "net zero in" not in said.replace("not net zero in", "")
    assert (plan.parent / "p.png").stat().st_size > 10_000


def test_the_template_is_written_once(tmp_path, capsys):
    assert main(["silicon", "plan", "--template", str(tmp_path / "mine.toml")]) == 0
    assert (tmp_path / "mine.toml").read_text() == TEMPLATE
    assert main(["silicon", "plan", "--template", str(tmp_path / "mine.toml")]) == 2
    assert "would overwrite it" in capsys.readouterr().err
    assert main(["silicon", "plan", "--template"]) == 0
    assert capsys.readouterr().out.startswith("# A net-zero plan")


@pytest.mark.parametrize("more,words", [
    (["--year", "2090"], "the years 2026 to 2045"), (["--confidence", "90"], "for 90 % write 0.9"),
    (["--draws", "3"], "between 100 and 100,000"), (["--seconds", "0"], "above 0"),
    (["--png", "picture.gif"], "a .png or .svg file"), (["--csv", "/nowhere/at/all.csv"], "cannot be written")])
def test_options_that_are_wrong(plan, capsys, more, words):
    assert main(["silicon", "plan", str(plan), *more]) == 2
    assert words in capsys.readouterr().err


def test_no_plan_names_the_template(capsys):
    assert main(["silicon", "plan"]) == 2
    assert "--template" in capsys.readouterr().err


# --- the curve

def test_the_curve_has_what_the_pathway_takes_and_what_it_leaves_out(plan):
    found = answer(plan).pathway
    bars = cost_curve(found, 2045, "market")
    taken = sum(bar.t for bar in bars if bar.used)
    assert taken == pytest.approx(found.baseline["market"][:, -1].sum() - found.total("market")[-1], rel=1e-3)
    used = [bar.cost_per_t for bar in bars if bar.used]
    assert used == sorted(used) and used[0] < 0 < used[-1]
    assert not any(bar.certificates for bar in cost_curve(found, 2045, "location"))


def test_labels_are_spread_and_keep_their_order():
    places = spread([1, 1.1, 1.2, 5, 9.9, 9.95], 1.0, 10)
    assert all(b - a >= 1 - 1e-9 for a, b in pairwise(places))
    assert places[0] >= 0.5 and places[-1] <= 9.5 + 1e-9 and places[3] == 5
