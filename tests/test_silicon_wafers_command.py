"""`archfab silicon fit`: what it says of maps, as JSON, for a person, as a picture and as a table."""

import csv
import io
import json
import math

import numpy as np
import pytest
from PIL import Image
from wafers import disk, negative_binomial, patched

from archfab.cli import parser


def ask(*words):
    """The document, and what shows it."""
    asked = parser().parse_args(["silicon", "fit", *map(str, words)])
    return asked.carry_out(asked), asked.shown


@pytest.fixture
def counted(tmp_path):
    """Four wafers with counted defects: D0 .4 per cm2 on dies of .8 cm2, alpha 1."""
    rng = np.random.default_rng(3)
    path = tmp_path / "counts.csv"
    with path.open("w") as file:
        file.write("wafer,x,y,defects\n")
        for wafer in range(4):
            defects = negative_binomial(rng, 0.32, 1.0, (20, 20))
            file.writelines(f"{wafer},{x},{y},{defects[y, x]}\n" for y, x in np.argwhere(disk(20)))
    return path


@pytest.fixture
def tested(tmp_path):
    """One wafer of which it is known which dies fail."""
    wafer = patched(np.random.default_rng(1), 0.5, 0.8, 30, 5)
    path = tmp_path / "map.csv"
    path.write_text("\n".join("".join(".PF"[code + 1] for code in row) for row in wafer.values))
    return path, wafer


def test_defects_give_d0_alpha_and_the_models(archfab, counted):
    found = archfab("silicon", "fit", counted, "--die-mm", "10x8", "--permutations", 99, "--json").json
    fit = found["fit"]
    assert found["wafers"] == 4 and found["counted"] and found["die_area_cm2"] == pytest.approx(0.8)
    assert fit["d0_per_cm2"]["low"] < 0.4 < fit["d0_per_cm2"]["high"]
    assert fit["alpha"]["low"] < 1 < fit["alpha"]["high"] and fit["alpha"]["value"] * fit["inverse_alpha"]["value"] == \
        pytest.approx(1)
    assert fit["blocks"]["d0_per_cm2"]["value"] == pytest.approx(fit["blocks"]["defects_per_die"]["value"] / 0.8)
    assert fit["lot"]["d0_per_cm2"]["value"] == pytest.approx(fit["lot"]["defects_per_die"]["value"] / 0.8)
    aic = {model["name"]: model["aic"] for model in fit["models"]}
    assert len(aic) == 6 and aic["poisson"] > aic["negative-binomial"] + 10
    assert sum(model["weight"] for model in fit["models"]) == pytest.approx(1)
    assert fit["lot"]["wafers"] == 4 and fit["lot"]["alpha_between"]["high"] is None
    assert fit["yield"] == pytest.approx(found["yield"]["value"], abs=0.02)
    assert found["spatial"]["statistics"]["moran"]["p_value"] > 0.05 and fit["independent"]


def test_passing_and_failing_says_plainly_what_it_cannot_tell(tested):
    path, wafer = tested
    found, _ = ask(path, "--die-mm", 5, "--permutations", 99)
    fit = found["fit"]
    assert not found["counted"] and found["dies"] == wafer.dies.sum() and found["failing"] == wafer.failing.sum()
    assert found["statements"][0].startswith("Passing and failing at one size of die cannot tell D0 from alpha.")
    assert fit["d0_per_cm2"]["value"] == pytest.approx(fit["defects_per_die"]["value"] / 0.25)
    good = found["yield"]["value"]
    for pair in fit["equal_likelihood"]:
        alpha, mean = pair["alpha"], pair["defects_per_die"]
        assert (math.exp(-mean) if alpha is None else (1 + mean / alpha) ** -alpha) == pytest.approx(good)
    alone, _ = ask(path, "--windows", 1, "--permutations", 0)
    assert alone["fit"]["alpha"] is None and alone["fit"]["d0_per_cm2"] is None and alone["fit"]["equal_likelihood"]
    assert "cannot tell D0 from alpha: every pair of the list" in alone["statements"][0]


@pytest.mark.parametrize("letter, words", [
    ("P", "No die fails, of 9: the yield is at least 66.37%, so D0 is at most 0.41 per cm2"),
    ("F", "All 9 dies fail: the yield is at most 33.63%, so D0 is at least 1.09 per cm2")])
def test_wafers_of_which_no_or_all_dies_fail_give_a_bound(tmp_path, letter, words):
    (tmp_path / "map.csv").write_text("\n".join([letter * 3] * 3))
    found, show = ask(tmp_path / "map.csv", "--die-mm", 10)
    assert any(sentence.startswith(words) for sentence in found["statements"]), found["statements"]
    assert found["fit"]["alpha"] is None and found["spatial"]["statistics"] == {}
    assert any("No pattern is tested" in sentence for sentence in found["statements"])
    json.dumps(found, allow_nan=False)
    show(found)


def test_a_wafer_without_defects_gives_a_bound(tmp_path):
    (tmp_path / "map.csv").write_text("x,y,defects\n" + "".join(f"{i},0,0\n" for i in range(100)))
    found, show = ask(tmp_path / "map.csv", "--die-mm", 10)
    assert found["statements"][0] == "No defect on 100 dies: alpha is not known, and D0 lies below 0.0369 per cm2."
    show(found)


def test_the_edge_is_compared_and_left_out(tmp_path):
    rng = np.random.default_rng(2)
    dies = disk(25)
    inner = np.pad(dies, 1)
    inner = dies & inner[2:, 1:-1] & inner[:-2, 1:-1] & inner[1:-1, 2:] & inner[1:-1, :-2]
    values = np.where(dies, 1 + (rng.random(dies.shape) < np.where(inner, 0.1, 0.8)), 0)
    np.savetxt(tmp_path / "map.csv", values, "%d", ",")
    told, _ = ask(tmp_path / "map.csv", "--permutations", 0, "--windows", 1)
    assert not told["edge"]["left_out"] and told["edge"]["rings"] == 1 and told["edge"]["p_value"] < 1e-6
    assert any("The outermost ring of dies yields" in sentence for sentence in told["statements"])
    cut, _ = ask(tmp_path / "map.csv", "--edge", 1, "--permutations", 0, "--windows", 1)
    assert cut["edge"]["left_out"] and cut["dies"] == inner.sum() == cut["edge"]["centre"]["dies"]
    assert cut["edge"]["edge"]["dies"] == (dies & ~inner).sum()
    assert cut["yield"]["value"] == pytest.approx(1 - (values[inner] == 2).mean())
    mm, _ = ask(tmp_path / "map.csv", "--edge-mm", 5, "--die-mm", 4, "--wafer-mm", 110, "--permutations", 0,
                "--windows", 1)
    assert mm["edge"]["mm"] == 5 and mm["dies"] < told["dies"]


def test_maps_are_drawn_and_listed(tested, counted, tmp_path):
    path, _ = tested
    ask(path, "--png", tmp_path / "one.png", "--edge", 1, "--permutations", 0, "--windows", 1)
    seen = {color for _, color in Image.open(tmp_path / "one.png").convert("RGB").getcolors(1 << 20)}
    assert {(0xd9, 0x82, 0x2b), (0xc9, 0xdc, 0xec), (0xe9, 0xeb, 0xee), (0xc3, 0xb3, 0xa3)} <= seen
    found, show = ask(counted, "--png", tmp_path / "many.svg", "--csv", tmp_path / "many.csv", "--permutations", 19,
                      "--die-mm", "10x8", "--wafer-mm", 300, "--wafers", "0:2")
    drawn = (tmp_path / "many.svg").read_text()
    assert drawn.startswith("<svg") and "share of 2 wafers that fail" in drawn and "defects in a die" in drawn
    rows = list(csv.DictReader(io.StringIO((tmp_path / "many.csv").read_text())))
    assert [row["name"] for row in rows] == list("01")
    assert sum(int(row["failing"]) for row in rows) == found["failing"]
    show(found)


def test_the_same_seed_says_the_same(tested):
    found, again, other = (ask(tested[0], "--permutations", 19, "--seed", seed, "--windows", 1)[0]
                           for seed in (4, 4, 5))
    assert again == found and other["spatial"] != found["spatial"]


def test_a_person_reads_tables_and_sentences(tested, capsys):
    found, show = ask(tested[0], "--permutations", 19)
    show(found)
    said = capsys.readouterr().out
    assert "yield" in said and "Moran's I" in said and "window of dies" in said and "equal likelihood" in said
    assert "codes: P passing, F failing" in said


@pytest.mark.parametrize("options, words", [
    (["--windows", "1,3"], "windows of 3 dies are not known; legal: 1, 2, 4, 8, 16"),
    (["--windows", "two"], "--windows takes whole numbers with commas between"),
    (["--model", "poison"], "did you mean 'poisson'"), (["--weights", "king"], "no weights named 'king'"),
    (["--permutations", "-5"], "-5 permutations cannot be"), (["--seed", "-1"], "--seed -1 cannot be"),
    (["--edge", "-1"], "--edge -1 cannot be"), (["--edge", "99"], "no die is left inside an edge of 99 rings"),
    (["--edge-mm", "3"], "needs the sizes of die and wafer"), (["--edge-mm", "300"], "--edge-mm 300 cannot be"),
    (["--edge", "1", "--edge-mm", "3"], "say one of the two"), (["--png", "map.jpg"], "a .png or .svg file"),
    (["--png", "no/where.png"], "there is no folder no"), (["--die-mm", "wide"], "--die-mm takes width and height"),
    (["--die-mm", "10000"], "10000 um are 10 mm"), (["--wafers", "7"], "there is no wafer '7' among 1"),
    (["--label", "Donut"], "no wafer is labelled 'Donut'"), (["--good-bins", "a"], "--good-bins takes whole numbers"),
    (["--codes", "colour"], "no meaning of codes named 'colour'"), (["--good-bins", "2"], "a matrix and has no bins"),
    (["--model", "poisson"], "--model compares models of numbers of defects"),
    (["--die-mm", "8", "--wafer-mm", "50"], "the size of the die or of the wafer is wrong")])
def test_options_that_cannot_be_are_refused(archfab, tested, options, words):
    answer = archfab("silicon", "fit", tested[0], *options, code=2)
    assert words in answer.err and not answer.out


def test_files_that_do_not_go_together_are_refused(archfab, tested, counted):
    assert "is named twice; its dies would count twice" in archfab("silicon", "fit", counted, counted, code=2).err
    assert "--windows is for maps that say only which" in archfab("silicon", "fit", counted, "--windows", 1, code=2).err
    answer = archfab("silicon", "fit", tested[0], counted, code=2)
    assert "some wafers tell numbers of defects and others only which dies fail" in answer.err


@pytest.mark.slow
@pytest.mark.shared
def test_real_wafers_from_first_to_last(shared_data, tmp_path):
    found, show = ask(shared_data / "wm811k-subset" / "test.npz", "--label", "Edge-Ring", "--wafers", "0:6",
                      "--permutations", 19, "--png", tmp_path / "rings.png")
    assert found["wafers"] == 6 and {row["label"] for row in found["maps"]} == {"Edge-Ring"}
    assert found["edge"]["edge"]["yield"]["value"] < 0.3 < found["edge"]["centre"]["yield"]["value"]
    assert found["spatial"]["statistics"]["moran"]["value"] > 0.1
    show(found)
