"""Lots over time: planted densities and learning curves recovered, coverage of intervals, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nbinom, t

from archfab.core import UsageError
from archfab.silicon.wafers.fitting import fit_counts
from archfab.silicon.yields.density import LotDensity, lot_density, of_defects, of_good
from archfab.silicon.yields.learning import Points, fit_curves, reached, redrawn
from archfab.silicon.yields.lots import Lot, Lots, read_lots
from archfab.silicon.yields.maturity import _within, document, maturity

DIES = (600,) * 25


def drawn(rng, d0, alpha, counted, dies=DIES, area=1.0, when=0.0):
    density = rng.gamma(alpha, d0 / alpha, len(dies))
    if counted:
        return Lot("lot", when, dies, tuple(map(int, rng.poisson(np.array(dies) * area * density))), None)
    return Lot("lot", when, dies, None, tuple(map(int, rng.binomial(dies, np.exp(-area * density)))))


def test_the_likelihood_of_defects_is_the_negative_binomial():
    lot = drawn(np.random.default_rng(0), 0.3, 1.5, True)
    mean = 600 * 0.25
    for d0, alpha in ((0.25, 0.7), (0.25, 5.0), (0.25, 400.0)):
        known = nbinom.logpmf(lot.defects, alpha, alpha / (alpha + mean)).sum()
        assert of_defects(lot, 1.0)(d0, alpha) == pytest.approx(known, rel=1e-9)


def test_the_likelihood_of_good_dies_is_the_average_over_densities():
    """Against the expansion of (1 - e^-x)^bad, whose terms are Laplace transforms of the gamma law."""
    lot = Lot("lot", 0, (9, 5, 7, 8), None, (9, 3, 0, 6))
    for d0, alpha in ((0.4, 0.3), (0.4, 1.0), (1.5, 4.0)):
        known = 0.0
        for n, g in zip(lot.dies, lot.good, strict=True):
            terms = [math.comb(n, g) * (-1) ** j * math.comb(n - g, j) * (1 + (g + j) * d0 / alpha) ** -alpha
                     for j in range(n - g + 1)]
            known += math.log(math.fsum(terms))
        assert of_good(lot, 1.0)(d0, alpha) == pytest.approx(known, abs=1e-6)


def test_defects_of_single_dies_are_fitted_as_those_of_wafer_maps():
    """The likelihood of rows with one die each is that of `fit_counts`, and so are its best values; intervals agree
    where rows are many."""
    rng = np.random.default_rng(6)
    for alpha in (0.5, 2.0, 1e9):
        counts = rng.poisson(rng.gamma(alpha, 0.8 / alpha, 2000))
        lot = lot_density(Lot("lot", 0, (1,) * 2000, tuple(map(int, counts)), None), 50)
        fit = fit_counts(counts, 0.5)
        assert (lot.d0_per_cm2, lot.low, lot.high) == pytest.approx(
            (fit.d0_per_cm2, fit.d0_per_cm2.low, fit.d0_per_cm2.high), rel=1e-3)
        assert (lot.alpha, lot.alpha_low, lot.alpha_high) == pytest.approx(
            (fit.alpha, fit.alpha.low, fit.alpha.high), rel=3e-3)


def test_passing_and_failing_single_dies_do_not_tell_alpha():
    lots = [Lot(f"{i}", i, (1,) * 200, None, (1,) * good + (0,) * (200 - good)) for i, good in
            enumerate((120, 140, 150, 155))]
    density = lot_density(lots[0], 100)
    assert density.alpha is None and density.d0_per_cm2 == pytest.approx(-math.log(0.6))
    made = document(maturity(Lots(tuple(lots), False), 100, np.random.default_rng(0), draws=20))
    assert any("do not tell D0 and alpha apart" in line for line in made["said"])


@pytest.mark.parametrize("counted", [True, False])
def test_planted_densities_lie_in_their_intervals(counted):
    rng = np.random.default_rng(4)
    found = [lot_density(drawn(rng, 0.2, 3.0, counted), 100) for _ in range(20)]
    assert sum(each.low <= 0.2 <= each.high for each in found) >= 16
    assert sum(each.alpha_low <= 3 <= each.alpha_high for each in found) >= 16
    assert np.mean([each.d0_per_cm2 for each in found]) == pytest.approx(0.2, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("wafers", [2, 3, 5, 25])
@pytest.mark.parametrize("counted", [True, False])
def test_intervals_of_lots_cover(counted, wafers):
    rng = np.random.default_rng(5)
    found = [lot_density(drawn(rng, 0.2, 3.0, counted, DIES[:wafers]), 100) for _ in range(400)]
    most = 0.98 if wafers > 5 else 1.0          # of two or three wafers intervals are as wide as Student's
    assert 0.91 <= np.mean([each.low <= 0.2 <= each.high for each in found]) <= most
    assert 0.91 <= np.mean([each.alpha_low <= 3 <= each.alpha_high for each in found]) <= most


def test_lots_of_few_wafers_have_the_intervals_of_student():
    """Wafers of very many dies, whose densities differ little, are a sample of a normal law."""
    share = np.array([0.95, 1.0, 1.08])
    lot = lot_density(Lot("lot", 0, (10 ** 8,) * 3, tuple(map(int, 1e8 * share)), None), 100)
    assert lot.high - lot.low == pytest.approx(2 * t.ppf(0.975, 2) * share.std(ddof=1) / math.sqrt(3), rel=0.03)


def test_lots_that_do_not_cluster_and_lots_of_one_row():
    even = lot_density(Lot("even", 0, (100,) * 5, (10,) * 5, None), 100)
    assert even.d0_per_cm2 == pytest.approx(0.1) and even.alpha == even.alpha_high == np.inf and even.alpha_low > 5
    one = lot_density(Lot("one", 0, (100,), (10,), None), 100)
    assert one.alpha is None and (one.low, one.high) == pytest.approx((0.04795, 0.18390), abs=1e-5)     # Garwood 1936
    shares = lot_density(Lot("one", 0, (100,), None, (90,)), 100)
    assert shares.d0_per_cm2 == pytest.approx(-math.log(0.9))
    assert (shares.low, shares.high) == pytest.approx((-math.log(0.95099), -math.log(0.82378)), abs=1e-4)


def test_lots_without_a_defect_or_a_good_die():
    clean = lot_density(Lot("clean", 0, (100,) * 5, None, (100,) * 5), 100)
    assert (clean.d0_per_cm2, clean.low) == (0, 0) and clean.high == pytest.approx(-math.log(0.025) / 500, rel=1e-2)
    assert lot_density(Lot("clean", 0, (100,) * 5, (0,) * 5, None), 100).high == pytest.approx(3.6889 / 500, rel=1e-3)
    dead = lot_density(Lot("dead", 0, (100,) * 5, None, (0,) * 5), 100)
    assert dead.d0_per_cm2 == dead.high == np.inf and 4 < dead.low < 5.5
    with pytest.raises(UsageError, match="no good die"):
        maturity(Lots((Lot("dead", 0, (9,), None, (0,)), *(Lot(f"{i}", i, (9,), None, (5,)) for i in range(1, 4))),
                      False), 100, np.random.default_rng(0))


def planted(rng, lots=24, floor=0.08, counted=True):
    made = []
    for i in range(lots):
        f = (floor + 0.4 * math.exp(-14 * i / 70)) * rng.gamma(60, 1 / 60)
        lot = drawn(rng, f, 4.0, counted, when=20000.0 + 14 * i)
        made.append(Lot(f"L{i}", lot.when, lot.dies, lot.defects, lot.good))
    return Lots(tuple(made), True)


@pytest.mark.parametrize("counted", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_planted_learning_curve_is_recovered(counted):
    found = maturity(planted(np.random.default_rng(2), counted=counted), 100, np.random.default_rng(0), draws=50)
    assert found.curve.name == "exponential-floor"
    made = document(found, target=0.2)
    parameters = made["curve"]["parameters"]
    for name, true in (("d0", 0.4), ("tau", 70), ("floor", 0.08)):
        assert parameters[name]["low"] <= true <= parameters[name]["high"], name
    true = 20000 - 70 * math.log(0.12 / 0.4)
    assert made["target"]["reached_at"] == pytest.approx(true, abs=21)
    assert made["target"]["low"] <= Lots((), True).at(true) <= made["target"]["high"]
    never = document(found, target=0.02)["target"]
    assert never["reached"] is None and never["never_share"] == 1
    assert any("not reached" in line for line in document(found, target=0.02)["said"])


def test_how_much_few_wafers_differ_is_not_told_too_small():
    """1/alpha = 0.25 of 200 lots of two wafers, where the likeliest value of each would be half of it."""
    rng = np.random.default_rng(3)
    for counted in (True, False):
        lots = Lots(tuple(drawn(rng, 0.2, 4.0, counted, DIES[:2]) for _ in range(200)), False)
        within = _within(lots, [LotDensity(0.2, 0.1, 0.3, 8.0, 1.0, math.inf)] * 200, 1.0)
        assert within == pytest.approx(0.25 / 2, rel=0.25)


def test_no_learning_is_said_and_excursions_are_named():
    rng = np.random.default_rng(8)
    lots = [Lot(f"{i}", i, (20_000,), (int(rng.poisson(2000 * rng.gamma(400, 1 / 400))),), None) for i in range(15)]
    lots[9] = Lot("9", 9, (20_000,), (4000,), None)
    made = document(maturity(Lots(tuple(lots), False), 100, np.random.default_rng(0), draws=20))
    assert made["curve"]["name"] == "constant" and made["excursions"] == ["9"]
    assert any("no learning" in line for line in made["said"])
    assert any("alpha is not told" in line for line in made["said"])


def test_curves_know_when_a_target_is_met():
    when = np.arange(10.0)
    points = Points(when, np.full(10, 1e7), 0.5 * np.exp(-when / 5), 1.0, True)
    curve = next(each for each in fit_curves(points) if each.name == "exponential")
    assert curve.parameters["tau"] == pytest.approx(5, rel=1e-2)
    assert reached(curve, 0.05) == pytest.approx(5 * math.log(10), rel=1e-2)
    assert reached(curve, 0.9) == 0.0
    same = [redrawn(curve, np.random.default_rng(3), 3) for _ in range(2)]
    assert [a.parameters for a in same[0]] == [b.parameters for b in same[1]]
    power = Points(when, np.full(10, 1000.0), 0.5 * (1000 * (when + 0.5)) ** -0.4, 1.0, True)
    assert fit_curves(power)[0].name == "power"


CSV = "lot,date,dies,defects\nA,2026-01-01,500,60\nA,2026-01-01,500,70\nB,2026-01-15,500,50\nC,2026-02-01,400,40\n"


def test_lots_are_read(tmp_path):
    path = tmp_path / "lots.csv"
    path.write_text(CSV)
    lots = read_lots(path)
    assert lots.lots[0] == Lot("A", 20454.0, (500, 500), (60, 70), None) and lots.at(lots.lots[2].when) == "2026-02-01"
    path.write_text("# from the fab\n order , lot,dies,yield\n1,A,200,90%\n2,B,200,0.85\n")
    assert [lot.good for lot in read_lots(path).lots] == [(180,), (170,)]


@pytest.mark.parametrize(("text", "says"), [
    (CSV.replace("2026-01-15", "2025-12-15"), "time goes backwards.*'B'.*2025-12-15.*'A'.*--sort"),
    (CSV.replace("2026-01-15", "15.1.2026"), "line 4.*'15.1.2026'.*2026-03-31"),
    (CSV.replace("B,2026-01-15", "A,2026-01-15"), "more than one date"), (CSV.replace("500,60", "500,-6"), "'-6'"),
    (CSV.replace("500,60", "500,6.5"), "whole number"), (CSV.replace("500,60", "0,60"), "dies are '0'"),
    (CSV.replace("dies", "chips"), "columns lot, date, chips"),
    (CSV.replace("defects", "good").replace("60", "600"), "600 good"),
    (CSV.replace("defects", "yield"), "60 % are 0.6"), (CSV.replace("defects", "yield").replace("60", "x"), "'x'"),
    ("", "columns none"), ("lot,date,dies,defects\n", "no lots"), (CSV.replace("500,60", "500"), "''"),
    (CSV.replace("date", "order"), "not a number"), (CSV.replace("500,60", "500,nan"), "'nan'"),
    (CSV.replace("500,60", "1e400,60"), "dies are"),
])
def test_what_is_wrong_with_a_file_of_lots_is_said(tmp_path, text, says):
    path = tmp_path / "lots.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        read_lots(path)
    if "backwards" in says:
        assert [lot.name for lot in read_lots(path, sort=True).lots] == ["B", "A", "C"]


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory):
    return tmp_path_factory.mktemp("lots")


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | st.lists(
    st.sampled_from(["A", "B", "2026-01-01", "2026-13-01", "5", "-1", "nan", "9" * 30, "", "\"", ","]),
    max_size=12).map(lambda cells: f"lot,date,dies,good\n{','.join(cells[:4])}\n{','.join(cells[4:])}".encode()))
def test_any_bytes_are_read_or_refused(anywhere, data):
    path = anywhere / "lots.csv"
    path.write_bytes(data)
    try:
        assert read_lots(path).lots
    except UsageError as error:
        assert "lots.csv" in str(error)


def test_too_few_lots_and_lots_without_defects():
    for lots, says in ((2, "2 lots tell no"), (4, "no lot has a defect")):
        with pytest.raises(UsageError, match=says):
            maturity(Lots(tuple(Lot(f"{i}", i, (9,), (0,), None) for i in range(lots)), False), 100,
                     np.random.default_rng(0))
