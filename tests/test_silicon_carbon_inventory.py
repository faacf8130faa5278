"""Scopes 1 to 3: units, bought energy both ways, intervals, nothing counted twice, and the words that show it."""

import csv
import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archfab.cli import main
from archfab.core import UsageError
from archfab.silicon.carbon.inventory import add_up, read_inventory
from archfab.silicon.carbon.uncertain import draw
from archfab.silicon.carbon.units import GWP, kg_per_unit

FAB = """
organisation = "Example Fab"
year = 2023
[[activity]]
name = "NF3"
scope = 1
amount = 350
unit = "kg"
gas = "NF3"
amount_uncertainty_percent = 30
[[activity]]
name = "boilers"
scope = 1
amount = 12_000
unit = "GJ"
factor = 0.2
factor_unit = "kg/kWh"
source = "supplier"
factor_uncertainty_percent = 5
[[activity]]
name = "flights"
scope = 3
category = 6
amount = 900_000
unit = "pkm"
factor = 171
factor_unit = "g/pkm"
[[energy]]
name = "fab 1"
amount = 30
unit = "GWh"
place = "TWN"
residual_g_kwh = 700
[[energy]]
name = "fab 2"
amount = 10
unit = "GWh"
place = "TWN"
residual_g_kwh = 700
[[energy]]
name = "office"
amount = 900
unit = "MWh"
place = "FRA"
[[instrument]]
name = "wind"
kind = "contract"
kwh = 20e6
g_kwh = 11
market = "TWN"
[[instrument]]
name = "certificates"
kind = "certificate"
kwh = 900_000
g_kwh = 0
market = "FRA"
retired = true
serial = "FR-1"
[[chips]]
name = "accelerators"
category = 2
count = 1000
area_mm2 = 100
node = 7
yield = 0.9
[[cloud]]
name = "cloud"
kwh = 1000
place = "USA"
pue = 1.1
[[sold]]
name = "products"
count = 10
energy_mj = 2
inferences_per_day = 1e6
years = 4
place = "World"
"""


@pytest.fixture(autouse=True)
def own_grids(monkeypatch):
    monkeypatch.setattr("archfab.silicon.carbon.grids.installed", lambda: False)


@pytest.fixture
def read(tmp_path):
    def reading(text):
        (tmp_path / "inventory.toml").write_text(text)
        return read_inventory(tmp_path / "inventory.toml")
    return reading


def small(*tables):
    return 'organisation = "X"\nyear = 2023\n' + "\n".join(tables)


GAS = '[[activity]]\nname = "a"\nscope = 1\namount = 5\nunit = "kg"\ngas = "SF6"\n'
POWER = '[[energy]]\nname = "p"\namount = 1000\nplace = "TWN"\n'


def test_every_line_by_hand(read):
    found = add_up(read(FAB), "location")
    kg = {name: each.value for name, each in found.lines.items()}
    assert kg["NF3"] == 350 * 17_400 and kg["boilers"] == pytest.approx(12e6 / 3.6 * 0.2)
    assert kg["flights"] == pytest.approx(153_900) and kg["office"] == pytest.approx(900_000 * 0.056)
    assert kg["fab 1"] == pytest.approx(30e6 * 0.6424) and kg["cloud"] == pytest.approx(1100 * 0.3695)
    assert kg["accelerators"] == pytest.approx((583 * 2.15 + 275 + 500) / 0.9 + 150)
    assert kg["products"] == pytest.approx(10 / 1800 * 365.25 * 4 * 0.475)
    assert found.whole.value == pytest.approx(math.fsum(kg.values()))
    assert {name: scope for name, (scope, _) in found.placed.items()}["accelerators"] == "3"


def test_market_based_is_what_was_contracted_and_the_residual_mix(read):
    found = add_up(read(FAB), "market")
    # 20 of 40 GWh are claimed at 11 g, shared by use; the others at the residual mix of 700
    assert found.lines["fab 1"].value == pytest.approx(0.75 * 20e6 * 0.011 + 15e6 * 0.7)
    assert found.lines["fab 2"].value == pytest.approx(0.25 * 20e6 * 0.011 + 5e6 * 0.7)
    assert found.lines["office"].value == 0
    location = add_up(read(FAB), "location")
    assert found.scopes["1"] == location.scopes["1"] and found.scopes["3"] == location.scopes["3"]
    assert found.whole.value - location.whole.value == pytest.approx(
        found.scopes["2"].value - location.scopes["2"].value)


def test_without_a_residual_mix_the_reader_is_told(read):
    notes = read(small(POWER)).notes()
    assert len(notes) == 1 and "no residual mix of TWN" in notes[0]
    assert add_up(read(small(POWER)), "market").whole.value == pytest.approx(642.4)
    late = read(small(POWER).replace("2023", "2024")).notes()
    assert any("Taiwan as it was in 2023" in note for note in late)


def test_what_is_claimed_is_certain_and_the_rest_is_not(read):
    part = small(POWER + 'amount_uncertainty_percent = 10\nresidual_g_kwh = 700\n'
                 '[[instrument]]\nname = "i"\nkind = "supplier"\nkwh = 400\ng_kwh = 0\nmarket = "TWN"\n')
    found = add_up(read(part), "market").whole
    # 1000 kWh +- 10 % less 400, times 700 g +- 20 %: exact variance of (A - 400) G
    a, g = 1000 * 0.1 / 1.96, 700 * 0.2 / 1.96
    variance = (a * a + 600 ** 2) * (g * g + 700 ** 2) - (600 * 700) ** 2
    assert found.value == pytest.approx(420) and found.deviation == pytest.approx(math.sqrt(variance) / 1000, rel=1e-4)


def test_monte_carlo_and_exact_moments_agree(read):
    found = read(FAB)
    terms = [term for _, _, part in found.terms("market").values() for term in part]
    drawn = draw(terms, np.random.default_rng(3), 40_000).sum(axis=0)
    exact = add_up(found, "market").whole
    assert (exact.low, exact.high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), rel=0.02)


def test_what_has_no_uncertainty_and_what_is_nearly_all_claimed_is_said(read):
    assert [note[:32] for note in read(small(GAS)).notes()] == ["no uncertainty is given of a: co"]
    assert not read(small(GAS + "amount_uncertainty_percent = 5\n")).notes()
    doubtful = POWER + "amount_uncertainty_percent = 10\nresidual_g_kwh = 700\n"
    wind = '[[instrument]]\nname = "w"\nkind = "contract"\nkwh = {}\ng_kwh = 0\nmarket = "TWN"\n'
    assert not read(small(doubtful, wind.format(800))).notes()
    assert "less than the amount may be off" in read(small(doubtful, wind.format(950))).notes()[0]
    cloud = '[[cloud]]\nname = "c"\nkwh = 3\nplace = "World"\n'
    assert read(small(cloud)).notes() == ["c: the grid of World as it was in 2018"]


def test_a_figure_of_ones_own_stands_beside_the_fabs_grid_and_another_residual_mix(read):
    own = POWER.replace('place = "TWN"', 'place = "TWN"\ng_kwh = 500\n{}')
    chips = '[[chips]]\nname = "c"\ncount = 2\ncategory = 1\narea_mm2 = 9\nnode = 7\nyield = 0.9\n'
    found = add_up(read(small(own.format("factor_uncertainty_percent = 10"), chips)))
    assert {"grid of TWN", "grid of 500 g/kWh +- 10 %"} <= set(found.whole.shares)
    two = small(POWER + "residual_g_kwh = 700\n", own.format("residual_g_kwh = 650").replace('"p"', '"q"'))
    assert add_up(read(two)).whole.value == pytest.approx(1350)


def test_factors_from_one_source_are_wrong_together(read):
    line = '[[activity]]\nname = "{}"\nscope = 1\namount = {}\nunit = "kWh"\nfactor = 0.2\nfactor_unit = "kg/kWh"\n' \
        'factor_uncertainty_percent = 20\nsource = "{}"\n'
    same = add_up(read(small(line.format("a", 1, "s"), line.format("b", 2, "s")))).whole
    other = add_up(read(small(line.format("a", 1, "s"), line.format("b", 2, "t")))).whole
    assert same.value == other.value and same.deviation == pytest.approx(0.6 * 0.2 / 1.96, rel=1e-4)
    assert other.deviation == pytest.approx(0.2 / 1.96 * math.hypot(0.2, 0.4), rel=1e-4)


def test_biogenic_co2_is_beside_the_scopes(read):
    wood = '[[activity]]\nname = "wood"\nscope = "outside"\namount = 9\nunit = "kg"\nfactor = 1.7\n' \
        'factor_unit = "kg/kg"\n'
    found = add_up(read(small(GAS, wood)))
    assert found.scopes["outside"].value == pytest.approx(15.3) and found.whole.value == 5 * GWP["SF6"]


@pytest.mark.parametrize("factor, per, unit, kg", [
    (0.2, "kg/kWh", "GJ", 0.2 / 3.6 * 1000), (56.1, "kg/GJ", "kWh", 56.1 * 3.6 / 1000), (2.0, "t/t", "kg", 2.0),
    (171, "g/pkm", "pkm", 0.171), (2.3, "kg/L", "m3", 2300.0), (5, "kg/wafer", "wafer", 5.0),
    (1, "lb/MWh", "MWh", 0.45359237), (1, "kg/MMBtu", "GJ", 1 / 1.0550559), (1, "kg/therm", "MJ", 1 / 105.50559)])
def test_units_are_turned_into_each_other(factor, per, unit, kg):
    assert kg_per_unit("x", factor, per, unit) == pytest.approx(kg)


def test_gases_warm_as_ipccs_table_says():
    # IPCC AR6 WG I, table 7.SM.7 (github.com/chrisroadmap/ar6, data_output/7sm), CH4 table 7.15
    assert GWP == {"CO2": 1, "CH4": 29.8, "CH4 biogenic": 27, "N2O": 273, "SF6": 25200, "NF3": 17400, "CF4": 7380,
                   "C2F6": 12400, "C3F8": 9290, "c-C4F8": 10200, "HFC-23": 14600, "HFC-32": 771, "HFC-125": 3740,
                   "HFC-134a": 1530, "HFC-143a": 5810, "HFC-227ea": 3600}


def test_computing_in_a_cloud_takes_the_mean_data_centre_and_an_instrument_may_be_a_year_old(read):
    cloud = add_up(read(small('[[cloud]]\nname = "c"\nkwh = 100\ng_kwh = 500\n')))
    assert cloud.whole.value == pytest.approx(1.56 * 50)
    assert "w: of 2022, counted for 2023" in read(small(POWER, WIND + "year = 2022\n")).notes()


WIND = '[[instrument]]\nname = "w"\nkind = "contract"\nkwh = 100\ng_kwh = 0\nmarket = "TWN"\n'


@pytest.mark.parametrize("tables, message", [
    ([GAS, GAS], "two entries are named 'a'"),
    ([GAS, GAS.replace('"a"', '"b"')], "double counting\\? 'b' and 'a' say the same"),
    ([GAS + 'covers = ["tool 7"]\n', GAS.replace('"a"', '"b"') + 'covers = ["tool 7"]\n'], "'tool 7' is covered by "
                                                                                           "activity 'a'"),
    ([GAS + 'covers = ["m1"]\n', POWER + 'covers = ["m1"]\n'], "double counting: 'm1'"),
    ([POWER, WIND + 'serial = "1"\n', WIND.replace('"w"', '"v"') + 'serial = "1"\n'], "serial number 1 is claimed by "
                                                                                      "'w'"),
    ([POWER, WIND.replace("100", "1500")], "500 more than the 1,000 kWh"),
    ([POWER, WIND.replace('"TWN"', '"DEU"')], "where nothing was used"),
    ([POWER, WIND + "year = 2021\n"], "is of 2021"), ([POWER, WIND + "year = 2024\n"], "is of 2024"),
    ([POWER, WIND.replace("contract", "offset")], "no instruments of scope 2"),
    ([POWER, WIND.replace("contract", "certificate")], "retired = true"),
    ([GAS.replace("5", "-5")], "Offsets, avoided emissions and removals are no part"),
    ([GAS.replace("scope = 1", "scope = 2")], "written as \\[\\[energy\\]\\]"),
    ([GAS.replace("scope = 1", "scope = 4")], "scope is 4"),
    ([GAS.replace("scope = 1", "scope = true")], "scope is True"),
    ([GAS.replace("scope = 1", "scope = 1.0")], "scope is 1.0"),
    ([GAS.replace("scope = 1", "scope = 3")], "category is None"), ([GAS + "category = 3\n"], "of scope 3 alone"),
    ([GAS.replace("SF6", "XF9")], "no gas named 'XF9'"), ([GAS.replace('"kg"', '"m3"')], "counted by its mass"),
    ([GAS + 'factor = 1\nfactor_unit = "kg/kg"\n'], "both a gas and"),
    ([GAS.replace('gas = "SF6"\n', "")], "neither a gas nor"),
    ([GAS.replace('gas = "SF6"', 'factor = 1\nfactor_unit = "kg/kWh"')], "cannot be turned into each other"),
    ([GAS.replace('gas = "SF6"', 'factor = 1\nfactor_unit = "kWh/kg"')], "is a mass per something"),
    ([POWER.replace("TWN", "Atlantis")], "no grid named 'Atlantis'"), ([POWER + 'unit = "kg"\n'], "counted in kWh"),
    ([POWER.replace('place = "TWN"', "")], "neither a place"), ([GAS + "colour = 1\n"], "no key of activity 1"),
    ([], "nothing in it"),
    ([POWER + 'amount_uncertainty_percent = "ten"\n'], "is 'ten'"),
    (["[[robots]]\nname = 'r'\n"], "no key of the inventory"),
    (['[[cloud]]\nname = "c"\nkwh = 3\nkg = 4\n'], "and not both"),
    (['[[cloud]]\nname = "c"\nkg = 4\n'], "has no source"),
    (['[[chips]]\nname = "c"\ncount = 2\ncategory = 5\n'], "whole number from 1 to 2"),
    (['[[chips]]\nname = "c"\ncount = 2\ncategory = 1\narea_mm2 = 9\nnode = 7\n'], "has no yield"),
    (['[[chips]]\nname = "c"\ncount = 2\ncategory = 1\nbill = "no.toml"\n'], "cannot be read")])
def test_what_is_wrong_or_counted_twice_is_said(tables, message, read):
    with pytest.raises(UsageError, match=message):
        read(small(*tables))


def ask(capfd, *words):
    assert main(["silicon", *map(str, words), "--json"]) == 0
    return json.loads(capfd.readouterr().out)


def test_the_word_writes_table_and_picture(tmp_path, capfd):
    (tmp_path / "fab.toml").write_text(FAB)
    found = ask(capfd, "inventory", tmp_path / "fab.toml", "--csv", tmp_path / "a.csv", "--png", tmp_path / "a.png")
    assert found["total_market_kg"]["value"] < found["total_location_kg"]["value"]
    assert {"1", "2 location-based", "2 market-based", "3"} == set(found["scopes"])
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert math.fsum(float(row["market_kg"]) for row in rows) == pytest.approx(found["total_market_kg"]["value"])
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_the_words_of_the_product_and_of_the_grid(tmp_path, capfd):
    life = ["carbon", "--area-mm2", 100, "--node", 7, "--energy-mj", 2, "--inferences-per-day", 1e6, "--years", 4,
            "--grid",
            "FRA", "--pue", 1]
    fixed = ask(capfd, *life, "--yield", 0.875)
    assert fixed["embodied_g"]["value"] == pytest.approx(2318.2 + 150,
                                                         abs=0.1)       # ACT's 100 mm2 at 7 nm, and a package
    ours = ask(capfd, *life, "--alpha", 2, "--d0", 0.1, "--csv", tmp_path / "c.csv", "--png", tmp_path / "c.svg")
    assert ours["yield"] == pytest.approx(0.9070295)
    whole = ask(capfd, *life, "--alpha", 2, "--d0", 0.1, "--charge-wafer")
    assert whole["dies_per_wafer"] == 612 and whole["embodied_g"]["value"] > ours["embodied_g"]["value"]
    doubtful = ask(capfd, *life, "--alpha", 2)
    assert doubtful["uncertainty"]["yield of the die"] > 0
    assert "yield of the die" not in ask(capfd, *life, "--alpha", 2, "--yield-uncertainty", 0)["uncertainty"]
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["total_g"]) == pytest.approx(ours["carbon_g"]["value"]) and len(rows) == 101
    assert (tmp_path / "c.svg").read_text().startswith("<svg")
    assert ask(capfd, "grid", "Sweden")["g_kwh"] == 40.7 and len(ask(capfd, "grid", "--list")["grids"]) == 9


@pytest.mark.parametrize("words, message", [
    (["--yield", "0.9", "--d0", "0.1"], "leave out --yield"), ([], "alpha"), (["--yield", "90"], "90 % is 0.9"),
    (["--yield", "0.9", "--dies-per-wafer", "100"], "--charge-wafer"),
    (["--yield", "0.9", "--edge-mm", "5"], "--charge-wafer"),
    (["--yield", "0.9", "--charge-wafer", "--dies-per-wafer", "0"], "no die fits"),
    (["--yield", "0.9", "--charge-wafer", "--dies-per-wafer", "9", "--edge-mm", "5"], "--edge-mm says nothing"),
    (["--yield", "0.9", "--png", "x.jpg"], ".png or .svg"),
    (["--yield", "0.9", "--pue", "0.2"], "1 or more"), (["--yield", "0.9", "--grid", "Nowhere"], "no grid named"),
    (["--yield", "0.9", "--grids", "no.csv"], "cannot be read"), (["--yield", "0.9", "--node", "6"], "process node")])
def test_the_word_carbon_refuses_in_words(words, message, archfab):
    life = ["--area-mm2", 100, "--node", 7, "--energy-mj", 2, "--inferences-per-day", 1e6, "--years", 4, "--grid",
            "FRA",
            "--pue", 1]
    assert message in archfab("silicon", "carbon", *life, *words, code=2).err


def test_answers_for_a_person_name_the_sources(tmp_path, capfd):
    (tmp_path / "fab.toml").write_text(FAB)
    for words in (["inventory", tmp_path / "fab.toml"], ["grid", "FRA"],
                  ["carbon", "--area-mm2", 100, "--node", 7, "--yield", 0.9, "--energy-mj", 2, "--inferences-per-day",
                   1e6,
                   "--years", 4, "--grid", "FRA", "--pue", 1, "--replaces-mj", 9]):
        assert main(["silicon", *map(str, words)]) == 0
    shown = capfd.readouterr().out
    for said in ("scope 2 market-based", "Our World in Data", "use overtakes manufacture after", "what the interval "
                                                                                                 "comes from",
                 "has paid for its manufacture"):
        assert said in shown


def test_steam_has_a_market_of_its_own_and_needs_a_figure(read):
    steam = '[[energy]]\nname = "s"\ncarrier = "steam"\namount = 1000\nunit = "GJ"\nplace = "TWN"\n'
    with pytest.raises(UsageError, match="give g_kwh of the steam"):
        read(small(steam))
    found = add_up(read(small(steam + "g_kwh = 250\n", POWER, WIND)), "market")
    assert found.lines["s"].value == pytest.approx(1000 / 3.6 * 250)        # no wind in it
    assert found.lines["p"].value == pytest.approx(900 * 0.6424)
    with pytest.raises(UsageError, match="no carrier named 'petrol'"):
        read(small(steam.replace('"steam"', '"petrol"')))


def test_bought_energy_that_says_the_same_is_asked_about(read):
    with pytest.raises(UsageError, match="'q' and 'p' say the same"):
        read(small(POWER, POWER.replace('"p"', '"q"')))
    read(small(POWER + 'covers = ["meter 1"]\n', POWER.replace('"p"', '"q"') + 'covers = ["meter 2"]\n'))


def test_figures_of_two_bills_with_parts_of_one_name_are_two(tmp_path, read):
    for name, doubt in (("a", 10), ("b", 50)):
        (tmp_path / f"{name}.toml").write_text('[[part]]\nkind = "given"\nname = "case"\ngrams = 1000\nsource = "x"\n'
                                               f"uncertainty_percent = {doubt}\n")
    chips = '[[chips]]\nname = "{0}"\ncategory = 2\ncount = 1\nbill = "{0}.toml"\n'
    assert len(add_up(read(small(chips.format("a"), chips.format("b")))).whole.shares) == 2


LINES = [number for number, line in enumerate(FAB.splitlines()) if "=" in line]
ODD = ["-1", "0", "1e308", "nan", "inf", "-inf", "true", '""', '"x"', "[]", "{}", "[1]", "1979-05-27", '"\\u0000"',
       "99999999999999"]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(LINES), st.sampled_from(ODD), st.sampled_from(["location", "market"]))
def test_any_one_value_that_is_odd_is_counted_or_refused_in_words(folder, number, value, method):
    lines = FAB.splitlines()
    lines[number] = lines[number].partition("=")[0] + "= " + value
    (folder / "odd.toml").write_text("\n".join(lines))
    try:
        found = add_up(read_inventory(folder / "odd.toml"), method).whole
    except UsageError as error:
        assert str(error)
    else:
        assert 0 <= found.low <= found.value <= found.high


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("odd")


def test_the_word_bill_adds_up_and_names_the_parts(tmp_path, capfd):
    (tmp_path / "b.toml").write_text('name = "box"\n[[part]]\nkind = "disk"\ntype = "exos_x16"\ncapacity_gb = '
                                     '1000\ncount = 3\n'
                                     '[[part]]\nkind = "dram"\ntype = "lpddr4"\ncapacity_gb = 16\nyield = '
                                     '0.875\npackages = 2\n')
    found = ask(capfd, "bill", tmp_path / "b.toml")
    assert found["embodied_g"]["value"] == pytest.approx(3 * 1334 + 16 * 48 / 0.875 + 300) and found["name"] == "box"
    assert [part["name"] for part in found["parts"]] == ["disk", "dram"] and found["origin"] == "analytic"
    assert found["embodied_g"]["low"] < found["embodied_g"]["value"] < found["embodied_g"]["high"]
