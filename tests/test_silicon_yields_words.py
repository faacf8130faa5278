"""The words about yield as a user gives them: what they answer, what they draw, what they refuse."""

import json
from pathlib import Path

import pytest
from PIL import Image

from archfab.cli import main, parser
from archfab.core import UsageError
from archfab.silicon.files import write

LAYER = ("critical-area --area-mm2 100 --width-um 0.1 --space-um 0.1 --length-um 10000 --lines 25000 --x0-um 0.05 "
         "--d0-short 0.5 --d0-open 0.2 --alpha 2")
LOTS = "lot,date,dies,good\n" + "".join(
    f"L{i},2026-{1 + i // 2:02}-{1 + 14 * (i % 2):02},600,{good}\n"
    for i, good in enumerate((380, 420, 455, 470, 488, 500, 507, 512, 517, 520)))


def ask(text):
    """What a word answers, without starting a program."""
    asked = parser().parse_args(["silicon", *text.split()])
    return asked.carry_out(asked)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lots.csv").write_text(LOTS)
    Path("demand.csv").write_text("period,units,d0\njan,10000,0.3\nfeb,20000,0.2\nmar,40000,\n")


def test_the_yield_of_the_readme(archfab):
    answer = archfab("silicon", "yield", "--model", "negative-binomial", "--d0", 0.1, "--alpha", 2, "--area-mm2", 100,
                     "--json")
    assert answer.json["yield"] == pytest.approx(1.05 ** -2) and f"{answer.json['yield']:.4f}" == "0.9070"
    assert answer.json["warnings"] == []


def test_intervals_run_from_the_worst_to_the_best_density():
    found = ask("yield --d0 0.1 --d0-interval 0.05 0.2 --alpha 2 --area-mm2 100")
    assert (found["low"], found["high"]) == pytest.approx((1.1 ** -2, 1.025 ** -2))
    cost = ask("die-cost --wafer-usd 9346 --d0 0.1 --d0-interval 0.05 0.2 --alpha 2 --area-mm2 100")
    assert cost["low"] < cost["cost_usd"] < cost["high"]
    starts = ask("starts --demand 1e5 --d0 0.1 --d0-interval 0.05 0.2 --alpha 2 --area-mm2 100 --unit-usd 5")
    assert starts["low"] < starts["wafers"] < starts["high"]
    assert starts["stake"]["revenue_low_usd"] < starts["stake"]["revenue_usd"] < starts["stake"]["revenue_high_usd"]


def test_all_models_side_by_side():
    found = ask("yield --models all --d0 0.5 --area-mm2 100")
    names = [(row["model"], row["alpha"]) for row in found["models"]]
    assert ("negative-binomial", 0.5) in names and ("poisson", None) in names and len(names) == 8
    assert "--layers" in found["skipped"][0]
    found = ask("yield --models all --d0 0.5 --area-mm2 100 --layers 8 --alpha 2")
    assert [row["model"] for row in found["models"]].count("negative-binomial") == 1 and not found["skipped"]
    assert len(ask("yield --models poisson,murphy --d0 0.5 --area-mm2 100")["models"]) == 2
    assert ask("yield --observed-yield 0.64 --alpha 2 --area-mm2 100")["d0_per_cm2"] == pytest.approx(0.5)
    assert ask("yield --d0 0.1 --alpha inf --area-mm2 100")["alpha"] == "inf"
    halved = ask("yield --d0 0.1 --alpha 2 --area-mm2 100 --systematic-yield 0.5")
    assert halved["yield"] == pytest.approx(1.05 ** -2 / 2)


def test_dies_and_what_they_cost():
    assert ask("dies --width-mm 26 --height-mm 33")["dies"] == 64
    found = ask("dies --width-mm 10 --height-mm 10")
    assert (found["dies"], found["dies_if_lanes_may_lie_on_the_edge"]) == (612, 616)
    assert ask("dies --width-mm 10 --height-mm 10 --offset-mm 0 0")["dies"] == 597
    found = ask("die-cost --node 7 --area-mm2 100 --convention chiplet-actuary")
    assert found["cost_usd"] == pytest.approx(17.88, abs=0.005) and found["low"] < 17.88 < found["high"]
    assert sum(found["parts"].values()) == pytest.approx(found["cost_usd"])
    found = ask("die-cost --wafer-usd 1000 --d0 0 --alpha 2 --width-mm 10 --height-mm 10 --how exact")
    assert found["cost_usd"] == pytest.approx(1000 / 612)


def test_systems_starts_and_layers():
    found = ask("chiplets --node 5 --area-mm2 800 --convention chiplet-actuary")
    totals = {(row["dies"], row["package"]): row["total_usd"] for row in found["systems"]}
    assert totals[4, "organic"] == pytest.approx(401.42, abs=0.005) and found["best"]["dies"] == 4
    found = ask("starts --demand demand.csv --alpha 2 --area-mm2 100 --d0 0.15 --lead 3 --line-yield 0.9")
    assert [row["period"] for row in found["periods"]] == [-3, -2, -1] and found["units"] == 70000
    assert [row["d0_per_cm2"] for row in found["periods"]] == [0.3, 0.2, 0.15]
    found = ask(LAYER)
    assert found["yields"]["negative-binomial"]["yield"] == pytest.approx(
        found["yields"]["negative-binomial"]["closed_form"], abs=1e-9)


def test_money_at_stake_is_of_each_period_with_its_own_density():
    found = ask("starts --demand demand.csv --alpha 2 --area-mm2 100 --d0 0.15 --unit-usd 10")
    dies = found["dies_per_wafer"] * 10
    assert found["stake"]["revenue_usd"] == pytest.approx(
        dies * sum(row["wafers"] * (1 + row["d0_per_cm2"] / 2) ** -2 for row in found["periods"]))
    assert found["stake"]["per_step_usd"] == pytest.approx(dies * sum(
        row["wafers"] * ((1 + 0.9 * d0 / 2) ** -2 - (1 + d0 / 2) ** -2)
        for row in found["periods"] for d0 in [row["d0_per_cm2"]]))
    assert found["yield"] is found["d0_per_cm2"] is found["stake"]["revenue_low_usd"] is None


def test_what_comes_from_a_node_names_its_source_and_nothing_else_does():
    node = ask("die-cost --node 7 --alpha 2 --area-mm2 100")
    assert "CSET" in node["wafer_source"] and "Chiplet Actuary" in node["source"]
    given = ask("die-cost --node 7 --alpha 2 --area-mm2 100 --d0 0.1")
    assert given["source"] is None and "CSET" in given["wafer_source"]
    given = ask("die-cost --node 7 --alpha 2 --area-mm2 100 --wafer-usd 5000")
    assert given["wafer_source"] is None and "Chiplet Actuary" in given["source"]


WORDS = (
    "yield --d0 0.1 --alpha 2 --area-mm2 100 --d0-interval 0.05 0.2", "yield --d0 0.1 --models all --area-mm2 100",
    LAYER, "dies --width-mm 10 --height-mm 12", "die-cost --node 7 --alpha 3 --area-mm2 100",
    "starts --demand demand.csv --alpha 2 --area-mm2 100 --d0 0.1 --lead 2 --unit-usd 9",
    "chiplets --node 7 --alpha 3 --area-mm2 400 --dies 2",
    "maturity lots.csv --area-mm2 100 --target 0.15 --csv out.csv")


@pytest.mark.parametrize("text", WORDS)
def test_every_word_speaks(text, capsys):
    asked = parser().parse_args(["silicon", *text.split()])
    document = asked.carry_out(asked)
    json.dumps(document, allow_nan=False)
    asked.shown(document)
    assert len(capsys.readouterr().out) > 60
    if text.startswith("maturity"):
        assert len(document["lots"]) == 10
        assert document["curve"]["name"] in ("exponential", "exponential-floor", "power")
        assert document["target"]["reached"].startswith("2026-")
        assert len(Path("out.csv").read_text().splitlines()) == 11


def test_a_file_that_cannot_be_written_is_named():
    with pytest.raises(UsageError, match=r"no/x\.csv cannot be written: No such file"):
        write(Path("no/x.csv"), b"")


@pytest.mark.slow
@pytest.mark.parametrize("text", WORDS)
def test_every_word_draws(text):
    ask(f"{text} --png picture.png")
    with Image.open("picture.png") as image:
        assert min(image.size) > 300 and len(image.convert("L").getcolors(100_000)) > 20
    if text.startswith("dies"):
        ask(f"{text} --png wafer.svg")
        assert Path("wafer.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(("text", "says"), [
    ("yield --d0 5000 --alpha 2 --area-mm2 10", "per m2, that is 0.5 per cm2"),
    ("yield --d0 0.001 --alpha 2 --area-mm2 10", "per mm2, that is 0.1 per cm2"),
    ("yield --d0 0.1 --alpha 2 --area-mm2 900", "larger than one exposure"),
    ("yield --d0 0.1 --alpha 2 --area-mm2 1e8", "in um2, that is 100 mm2"),
    ("yield --d0 0.1 --alpha 2 --area-mm2 0.0001", "cm2"), ("yield --d0 0.1 --alpha 1e6 --area-mm2 1", "'poisson'"),
    ("dies --width-mm 40 --height-mm 10", "one exposure"), ("dies --area-mm2 4 --diameter-mm 12", "12 inches are 300"),
])
def test_what_looks_like_another_unit_is_answered_with_a_warning(text, says):
    assert any(says in sentence for sentence in ask(text)["warnings"])


@pytest.mark.parametrize(("text", "says"), [
    ("yield --d0 -0.1 --alpha 2 --area-mm2 100", "-0.1"), ("yield --d0 0.1 --alpha 2 --area-mm2 0", "above 0"),
    ("yield --d0 0.1 --alpha 2 --area-mm2 -3", "-3"), ("yield --d0 0.1 --alpha 2", "--area-mm2"),
    ("yield --alpha 2 --area-mm2 100", "--d0"), ("yield --d0 0.1 --area-mm2 100", "--alpha"),
    ("yield --d0 0.1 --model poisson --alpha 2 --area-mm2 100", "--alpha is of the model 'negative-binomial'"),
    ("yield --d0 0.1 --d0-interval 0.2 0.3 --alpha 2 --area-mm2 100", "does not lie in its interval"),
    ("yield --d0 0.1 --d0-interval 0.2 0.05 --alpha 2 --area-mm2 100", "lower end first"),
    ("yield --models all,most --d0 1 --area-mm2 1", "no yield model named 'all'"),
    ("yield --observed-yield 0.8 --d0 1 --alpha 2 --area-mm2 1", "leave out --d0"),
    ("yield --observed-yield 80 --alpha 2 --area-mm2 1", "80"),
    ("yield --d0 0.1 --alpha 2 --area-mm2 1 --png y.gif", ".png or .svg"),
    ("yield --node 9 --alpha 2 --area-mm2 1", "no process node named '9'"),
    ("critical-area --area-mm2 1 --width-um 1", "--x0-um"), ("critical-area missing.toml", "no file"),
    (LAYER.replace("--width-um 0.1", "--width-um 0"), "width"), (LAYER.replace("100 ", "1 ", 1), "more than the die's"),
    ("dies --width-mm 300 --height-mm 300", "does not fit"), ("dies --area-mm2 1e8", "100 mm2"),
    ("dies --area-mm2 100 --edge-mm 150", "nothing"), ("die-cost --d0 0.1 --alpha 2 --area-mm2 100", "--wafer-usd"),
    ("die-cost --node 7 --alpha 2 --area-mm2 90000", "cannot be had"),
    ("die-cost --node 7 --area-mm2 90 --convention mine", "chiplet-actuary"),
    ("die-cost --node 7 --alpha 2 --area-mm2 90 --how best", "formula, exact"),
    ("starts --demand -5 --d0 0.1 --alpha 2 --area-mm2 100", "-5"),
    ("starts --demand nothing.csv --d0 0.1 --alpha 2 --area-mm2 100", "neither a number nor a file"),
    ("starts --demand lots.csv --d0 0.1 --alpha 2 --area-mm2 100", "period and units"),
    ("starts --demand 5 --d0 0.1 --alpha 2 --area-mm2 100 --line-yield 95", "95 % are 0.95"),
    ("chiplets --node 7 --alpha 2 --area-mm2 100 --dies two", "--dies 'two'"),
    ("chiplets --node 7 --alpha 2 --area-mm2 100 --packages cardboard", "organic"),
    ("chiplets --node 7 --alpha 2 --area-mm2 9e6", "nothing of it can be made"),
    ("dies --width-mm 10 --height-mm 10 --offset-mm 0 nan", "on no wafer"),
    ("dies --width-mm 0.01 --height-mm 0.01 --scribe-mm 0", "The formula"),
    ("dies --width-mm 10 --height-mm 10 --diameter-mm 1e308", "1e+308"),
    ("yield --d0 nan --alpha 2 --area-mm2 100", "nan"), ("yield --d0 0.1 --alpha nan --area-mm2 100", "alpha"),
    ("chiplets --node 7 --alpha 2 --area-mm2 100 --bond-yield 0", "bonding yield"),
    ("chiplets --wafer-usd 9 --d0 1e9 --model poisson --area-mm2 100", "no system works"),
    ("chiplets --node 7 --alpha 2 --area-mm2 100 --final-test-usd inf", "inf"),
    ("starts --demand 5 --d0 1e6 --model poisson --area-mm2 100", "no die is good"),
    ("starts --demand 5 --d0 0.1 --alpha 2 --area-mm2 100 --line-yield 1e-308", "line yield"),
    ("maturity lots.csv --area-mm2 5e-324", "area"), ("maturity lots.csv --area-mm2 100 --seed -1", "--seed -1"),
    ("maturity . --area-mm2 100", "cannot be read: Is a directory"), ("critical-area .", "cannot be read"),
    ("starts --demand . --area-mm2 100 --d0 0.1 --alpha 2", "cannot be read"),
    ("starts --demand 1e18 --area-mm2 100 --d0 0.1 --alpha 2", "0 up to 1e+15"),
    ("chiplets --node 7 --alpha 2 --area-mm2 100 --link-share 2", "share of links"),
    ("chiplets --node 7 --alpha 2 --area-mm2 100 --packages fan-out-dies-first --bond-yield 0.9", "no die is bonded"),
    ("die-cost --node 7 --alpha 2 --area-mm2 100 --diameter-mm 200", "a wafer of 300 mm"),
    ("die-cost --node 7 --alpha 2 --area-mm2 100 --volume 9", "--design-usd"),
    ("yield --models poisson,murphy --d0 0.1 --alpha 2 --area-mm2 1", "not among --models"),
    ("yield --models murphy --model poisson --d0 0.1 --area-mm2 1", "leave out one of them"),
    ("maturity gone.csv --area-mm2 100", "no file"), ("maturity lots.csv --area-mm2 0", "above 0"),
    ("maturity lots.csv --area-mm2 100 --target -1", "target"),
])
def test_wrong_requests_say_what_is_legal(text, says):
    with pytest.raises(UsageError) as error:
        ask(text)
    assert says in str(error.value)


def test_a_wrong_request_ends_with_two(capsys):
    assert main(["silicon", "yield", "--d0", "-1", "--alpha", "2", "--area-mm2", "100"]) == 2
    assert "impossible" in capsys.readouterr().err
