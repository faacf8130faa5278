"""The words of ageing on the command line: what they print, write and refuse."""

import csv
import json
import math
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.cli import parser
from archfab.core import UsageError
from archfab.silicon.aging.command import MODELS as NAMES
from archfab.silicon.aging.measurements import read_measurements
from archfab.silicon.aging.missions import read_mission
from archfab.silicon.aging.models import MODELS
from archfab.silicon.aging.parameters import REFERENCE, read_set, set_for, write_set
from archfab.silicon.aging.planted import experiment
from archfab.silicon.aging.profiles import course

AT = ("--vdd", 1.1, "--vth", 0.5, "--kelvin", 378)
MISSION = """name,share,vdd_v,kelvin,duty,activity
day,0.4,1.1,368,0.5,
evening,0.2,0.9,338,0.5,0.4
night,0.4,0,300,0,
"""


def bench(path, name="two-component", seed=1, rows=None):
    """An experiment as a file."""
    data = experiment(MODELS[name], set_for(name).values, np.random.default_rng(seed))
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["device", "phase", "seconds", "overdrive_v", "kelvin", "dvth_mv"])
        writer.writerows([row.device, "stress" if row.duty else "recovery", f"{row.seconds:.9f}",
                          row.overdrive_v if row.duty else "", row.kelvin, f"{row.dvth_mv:.5f}"]
                         for row in data.rows[:rows])


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """The document that a word answers, after it was shown to a person too; in this process, for that is quick."""
    def run(*words):
        monkeypatch.chdir(tmp_path)
        asked = parser().parse_args(["silicon", *map(str, words)])
        document = asked.carry_out(asked)
        json.dumps(document, allow_nan=False)
        asked.shown(document)
        return {**document, "shown": capsys.readouterr().out}
    return run


def test_the_names_on_the_command_line_are_the_models():
    assert tuple(MODELS) == NAMES


def test_the_issue_in_its_own_words(archfab):
    found = archfab("silicon", "aging", *AT, "--duty", 1, "--years", 10, "--json").json
    assert found["dvth_mv"] == 34.3 and found["dvth_mv_high"] == 152 == found["other_form"]["dvth_mv"]
    assert found["delay_ratio"] == pytest.approx((0.6 / (0.6 - 0.034255)) ** 1.3, abs=5e-5)
    assert found["other_form"]["times_ours"] == 4.44 and found["origin"] == "literature"
    assert found["drive_current_loss"] == pytest.approx(1 - 1 / found["delay_ratio"], rel=1e-2)


def test_a_gate_field_is_the_overdrive_across_its_oxide(ask, tmp_path):
    """0.6 V across 1.5 nm are 4 MV/cm."""
    plain = ask("aging", *AT, "--png", "a.png")
    field = ask("aging", "--vdd", 0.9, *AT[2:], "--field-mv-cm", 4, "--oxide-nm", 1.5)
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert field["dvth_mv"] == plain["dvth_mv"] == 34.3 and field["delay_ratio"] > plain["delay_ratio"]
    assert [row["dvth_mv"] for row in plain["over_time"]] == sorted(row["dvth_mv"] for row in field["over_time"])
    assert plain["over_time"][-1]["years"] == 10 and plain["over_time"][-1]["dvth_mv"] == 34.3


def test_a_person_sees_the_gap_between_published_parameters(ask):
    said = ask("aging", *AT)["shown"]
    assert "34.3" in said and "14.3 to 152" in said and "4.44 times as much" in said and "measure your process" in said


def test_derates_as_table_csv_and_commands(ask, tmp_path):
    found = ask("derate", "--vdd", "1.0,1.1", "--vth", 0.5, "--kelvin", 378, "--duty", "0.5,1", "--years", "3,10",
                "--csv", "d.csv", "--sdc", "d.sdc", "--png", "d.svg")
    with (tmp_path / "d.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found["rows"]) == 8
    assert float(rows[-1]["late_rise"]) == pytest.approx(found["rows"][-1]["late_rise"], abs=1e-4)
    assert found["commands"] == ["set_timing_derate -late -cell_delay -rise 1.0795",
                                 "set_timing_derate -late -cell_delay -fall 1.0000"]
    assert (tmp_path / "d.sdc").read_text().count("set_timing_derate") == 9
    assert (tmp_path / "d.svg").read_text().startswith("<svg")


def test_a_mission_and_its_lifetime(ask, tmp_path):
    (tmp_path / "m.csv").write_text(MISSION)
    (tmp_path / "m.toml").write_text(
        "".join(f'[[phase]]\nname = "{n}"\nhours = {h}\nvdd_v = {v}\nkelvin = {k}\nduty = {d}\n' for n, h, v, k, d in (
            ("day", 9.6, 1.1, 368, 0.5), ("evening", 4.8, 0.9, 338, 0.2), ("night", 9.6, 0, 300, 0))))
    one, other = (ask("mission", file, "--vth", 0.5, "--years", 2, "--model", "two-component", *picture)
                  for file, picture in (("m.csv", ("--png", "m.png")), ("m.toml", ())))
    assert one["rows"] == other["rows"] and one["cycle_hours"] == 24
    assert [phase["recovers"] for phase in one["phases"]] == [False, False, True]
    stays = ask("mission", "m.csv", "--vth", 0.5, "--years", 0.1, "--csv", "m_years.csv")
    assert not any(phase["recovers"] for phase in stays["phases"]) and "does not recover" in stays["shown"]
    with (tmp_path / "m_years.csv").open() as file:
        assert float(list(csv.DictReader(file))[-1]["dvth_mv"]) == stays["dvth_mv"]
    assert one["dvth_mv_at_end"] < one["dvth_mv"] < one["dvth_mv_high"] and one["years"] == pytest.approx(2, rel=1e-3)
    life = ask("lifetime", "--mission", "m.csv", "--vth", 0.5, "--guardband", 0.05, "--horizon", 4,
               "--png", "l.png")
    need = ask("lifetime", "--mission", "m.csv", "--vth", 0.5, "--years", life["lifetime_years"])
    assert need["guardband"] == pytest.approx(0.05, rel=0.02)


def test_a_schedule_of_supplies(ask, tmp_path):
    found = ask("avs", *AT, "--duty", 0.5, "--csv", "v.csv", "--png", "v.png")
    assert 0.02 < found["energy_saved"] < 0.2 and found["final_vdd_v"] <= found["fixed_vdd_v"]
    assert all(row["delay_of_target"] <= 1 for row in found["schedule"])
    assert found["fixed_vdd_v_high"] is None and "no supply up to --most-vdd is enough" in found["shown"]
    cool = ask("avs", *AT[:4], "--kelvin", 300, "--duty", 0.1, "--years", 3, "--step-mv", 1)
    for name in ("energy_saved", "fixed_vdd_v", "final_vdd_v"):
        assert cool[f"{name}_low"] < cool[name] < cool[f"{name}_high"]
    with (tmp_path / "v.csv").open() as file:
        assert [float(row["vdd_v"]) for row in csv.DictReader(file)] == [row["vdd_v"] for row in found["schedule"]]


def test_a_lifetime_and_a_guardband(ask):
    life = ask("lifetime", *AT, "--duty", 0.5, "--guardband", 0.07)
    need = ask("lifetime", *AT, "--duty", 0.5, "--years", life["lifetime_years"], "--png", "l.svg")
    assert need["guardband"] == pytest.approx(0.07, rel=1e-3) and life["lifetime_years_high"] is None
    assert "to beyond" in life["shown"] and "more than 1000" in life["shown"] and "need a guardband" in need["shown"]


def test_measurements_fitted_and_used(ask, tmp_path):
    bench(tmp_path / "stress.csv", seed=2)
    found = ask("fit-aging", "stress.csv", "--samples", 25, "--models", "two-component, hole-trapping",
                "--out", "own.toml", "--png", "f.png")
    assert found["best"] == "two-component" and found["devices"] == 6 and found["recovering"] == 102
    best = found["models"][0]["parameters"]
    assert best["gamma"]["low"] < best["gamma"]["value"] < best["gamma"]["high"] and best["se"]["held"]
    own = ask("aging", *AT, "--parameters", "own.toml")
    assert own["origin"] == "fitted" and own["dvth_mv_low"] < 34.3 < own["dvth_mv_high"] < 60
    assert "bootstrap" in own["interval"]
    with pytest.raises(UsageError, match="--seed is -1"):
        ask("fit-aging", "stress.csv", "--seed", -1)
    assert "has not the shape" in ask("fit-aging", "stress.csv", "--samples", 20, "--models", "power-law")["shown"]


BAD = [
    (("aging", "--vdd", 1.1, "--vth", 0.5, "--kelvin", 105), "105 C are 378.15 K"),
    (("aging", "--vdd", 1100, "--vth", 0.5, "--kelvin", 378), "millivolts"),
    (("aging", "--vdd", 0.5, "--vth", 0.5, "--kelvin", 378), "never switches on"),
    (("aging", *AT, "--duty", 50), "percent"), (("aging", *AT, "--years", -1), "forwards"),
    (("aging", *AT, "--years", "nan"), "finite"), (("aging", *AT, "--model", "spice"), "power-law"),
    (("aging", *AT, "--parameters", "none.toml"), "no parameter file"), (("aging", *AT, "--alpha", 0), "--alpha"),
    (("aging", *AT, "--years", 0, "--png", "x.png"), "no curve"),
    (("derate", "--vdd", "1.1;1.2", "--vth", 0.5, "--kelvin", 378), "commas"),
    (("derate", "--vdd", "1.1", "--vth", 0.5, "--kelvin", 378, "--csv", "no/where.csv"), "cannot be written"),
    (("aging", *AT, "--field-mv-cm", 6), "--oxide-nm"),
    (("aging", *AT, "--field-mv-cm", 60, "--oxide-nm", 1), "MV/cm"),
    (("aging", *AT, "--field-mv-cm", 6, "--oxide-nm", 1800), "nanometres"),
    (("avs", *AT, "--step-mv", 1e-6), "supplies"), (("aging", *AT, "--alpha", 1000), "1 (velocity saturation) to 3"),
    (("aging", *AT, "--png", "a.pdf"), ".png or .svg"),
    (("lifetime", *AT), "either --guardband"), (("lifetime", *AT, "--guardband", 5), "give 0.05"),
    (("lifetime", *AT, "--guardband", 0.1, "--years", 3), "either --guardband"),
    (("lifetime", "--vth", 0.5, "--years", 3), "--mission"),
    (("avs", *AT, "--most-vdd", 1.12), "misses its target by"), (("avs", *AT, "--step-mv", 0), "voltage step"),
    (("mission", "none.csv", "--vth", 0.5), "no mission file"),
    (("fit-aging", "none.csv"), "no file of measurements"), (("fit-aging", "."), "cannot be read as text"),
    (("aging", *AT, "--parameters", "none.toml"), "no parameter file")]


@pytest.mark.parametrize("words, said", BAD)
def test_requests_that_are_wrong(archfab, words, said):
    assert said in archfab("silicon", *words, code=2).err


@pytest.mark.parametrize("text, said", [
    ("", "empty"), ("hours,vdd_v,kelvin,duty\n", "no phases"),
    ("hours,vdd_v,kelvin,duty\n24,1.1,85,1\n", "358.15 K"), ("hours,vdd_v,kelvin,duty\n24,1100,358,1\n", "millivolts"),
    ("hours,vdd_v,kelvin,duty\n-1,1.1,358,1\n", "forwards"), ("hours,vdd_v,kelvin,duty\n24,1.1,358,40\n", "percent"),
    ("hours,vdd,kelvin,duty\n24,1.1,358,1\n", "did you mean 'vdd_v'"),
    ("hours,vdd_v,kelvin,duty\n24,nan,358,1\n", "finite"), ("hours,vdd_v,kelvin,duty\n24,,358,1\n", "vdd_v is missing"),
    ("hours,vdd_v,kelvin,duty\n24,high,358,1\n", "no number"), ("hours,vdd_v,kelvin,duty\n24,1.1,358\n", "3 cells"),
    ("share,vdd_v,kelvin,duty\n0.5,1.1,358,1\n", "add up to 0.5"), ("vdd_v,kelvin,duty\n1.1,358,1\n", "hours or share"),
    ("hours,share,vdd_v,kelvin,duty\n24,1,1.1,358,1\n", "hours or share"),
    ("hours,vdd_v,kelvin,duty\n0,1.1,358,1\n", "0 hours"), ("hours,vdd_v,kelvin,duty\n24,0.4,358,1\n", "no phase of"),
    ("hours,hours,vdd_v,kelvin,duty\n24,24,1.1,358,1\n", "twice"),
    ("hours,vdd_v,kelvin,duty\n0.001,1.1,358,1\n", "duty cycle"),
    ("hours,vdd_v,kelvin,duty\n900000,1.1,358,1\n", "more than twice")])
def test_missions_that_are_wrong(tmp_path, text, said):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UsageError, match=re.escape(said)):
        course(read_mission(tmp_path / "m.csv"), 0.5, 10, REFERENCE)


@pytest.mark.parametrize("text, said", [("phase = 3", "[[phase]]"), ("x = 1", "unknown x"), ("a b", "no TOML"),
                                        ("cycle_hours = -1\n[[phase]]\nshare=1\n", "-1 hours")])
def test_toml_missions_that_are_wrong(tmp_path, text, said):
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(UsageError, match=re.escape(said)):
        read_mission(tmp_path / "m.toml")


HEAD = "device,phase,seconds,overdrive_v,kelvin,dvth_mv\n"
GOOD = [f"1,stress,{10 ** i},1,398,{5 + 3 * i}" for i in range(9)]


@pytest.mark.parametrize("head, change, said", [
    (HEAD, {4: "1,stress,2,1,398,9"}, "time goes backwards for device 1"),
    (HEAD, {2: "1,stress,100,1,125,9"}, "398.15 K"),
    (HEAD, {2: "1,stress,100,1,398,nan"}, "line 4: dvth_mv"), (HEAD, {2: "1,stress,100,1,398,x"}, "no number"),
    (HEAD, {2: "1,stress,-1,1,398,9"}, "forwards"), (HEAD, {2: "1,stress,100,0,398,9"}, "above the threshold"),
    (HEAD, {2: "1,recovery,100,1,398,9"}, "it is stress"), (HEAD, {2: "1,relax,100,1,398,9"}, "no phase named 'relax'"),
    (HEAD, {2: "1,stress,100,1,398"}, "5 cells"), (HEAD, {2: "1,stress,100,1500,398,9"}, "millivolts"),
    (HEAD.replace("overdrive_v", "field_mv_cm"), {}, "--oxide-nm"),
    (HEAD, {2: '1,stress,"100,1,398,9'}, "no CSV file"),
    (HEAD.replace("dvth_mv", "dvth"), {}, "did you mean 'dvth_v'"), (HEAD.replace("dvth_mv", "sigma_mv"), {}, "dvth_v"),
    (HEAD.replace("kelvin", "duty"), {}, "kelvin is missing"), (HEAD.replace("overdrive_v", "stress_v"), {}, "--vth"),
    (HEAD, {i: GOOD[i].rsplit(",", 1)[0] + f",{0.005 + 0.003 * i}" for i in range(9)}, "name the column dvth_v"),
    (HEAD, {i: GOOD[i].rsplit(",", 1)[0] + f",{5000 + 3000 * i}" for i in range(9)}, "microvolts"),
    (HEAD, {i: GOOD[i].rsplit(",", 1)[0] + ",-9" for i in range(9)}, "magnitude"),
    (HEAD, dict.fromkeys(range(5)), "at least 8"),
    (HEAD, {i: line.replace("stress", "recovery").replace(",1,398", ",0,398") for i, line in enumerate(GOOD)},
     "time of stress")])
def test_measurements_that_are_wrong(tmp_path, head, change, said):
    lines = [change.get(i, line) for i, line in enumerate(GOOD)]
    (tmp_path / "s.csv").write_text(head + "\n".join(line for line in lines if line is not None) + "\n")
    with pytest.raises(UsageError, match=re.escape(said)):
        read_measurements(tmp_path / "s.csv")


@pytest.mark.parametrize("text, said", [
    ("a b", "no TOML"), ("model = 'power-law'", "[values]"), ("model = 'x'\nvalues = {}", "no ageing model named 'x'"),
    ("model = 'hole-trapping'\nvalues = {a_mv = 1}", "lacks ea_ev"), ("mode = 1", "unknown mode"),
    (write_set(set_for("power-law")).replace("literature", "guess"), "no origin named 'guess'"),
    ("model = 'hole-trapping'\nvalues = {a_mv = -1, gamma = 4, ea_ev = 0.1, t0_s = 1, ratio = 1}", "a_mv")])
def test_parameter_files_that_are_wrong(tmp_path, text, said):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(UsageError, match=re.escape(said)):
        read_set(tmp_path / "p.toml")


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_files_are_read_or_refused_and_nothing_else(data):
    """Files in which any cell, comma or line end was replaced by anything."""
    name, read, text = data.draw(st.sampled_from([
        ("m.csv", read_mission, MISSION), ("s.csv", read_measurements, HEAD + "\n".join(GOOD)),
        ("m.toml", read_mission, "cycle_hours = 24\n[[phase]]\nhours = 3\nvdd_v = 1.1\nkelvin = 358\nduty = 1\n"),
        ("p.toml", read_set, write_set(set_for("hole-trapping")))]))
    parts = re.split(r"([,\n = ])", text)
    for _ in range(data.draw(st.integers(1, 3))):
        odd = st.sampled_from(["", "nan", "-1", "1e400", "0", '"', "true", "9" * 400, "[", "\x00", "é", "#", "inf",
                               "1e-300"])
        parts[data.draw(st.integers(0, len(parts) - 1))] = data.draw(odd | st.text(max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text("".join(parts), encoding="utf-8", errors="replace")
        try:
            assert read(path) is not None
        except UsageError as error:
            assert len(str(error)) > 10


def test_gate_voltages_and_hours_are_the_same_measurements(tmp_path):
    (tmp_path / "a.csv").write_text(HEAD + "\n".join(GOOD))
    (tmp_path / "b.csv").write_text("device,phase,hours,stress_v,kelvin,dvth_v\n" + "\n".join(
        f"1,stress,{10 ** i / 3600!r},-1.4,398,{(5 + 3 * i) / 1000}" for i in range(9)))
    one, other = read_measurements(tmp_path / "a.csv"), read_measurements(tmp_path / "b.csv", vth_v=0.4)
    assert other.seconds == pytest.approx(one.seconds) and other.dvth_mv == pytest.approx(one.dvth_mv)
    assert other.overdrives == pytest.approx(one.overdrives) and math.isclose(other.overdrives[0], 1.0)
