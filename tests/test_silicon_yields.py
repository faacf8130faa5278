"""Yield models against the reference table, their limits and each other; from first principles against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import gamma

from archfab.core import UsageError
from archfab.silicon.yields import critical_area
from archfab.silicon.yields.compounding import compound_yield
from archfab.silicon.yields.critical_area import Layer, Lines, Sizes, faults_of
from archfab.silicon.yields.layers import read_layers, yields_of
from archfab.silicon.yields.models import MODELS, d0_of_yield, good_die_yield, yield_at

TABLE = {   # x: Poisson, negative binomial of alpha .5, 1, 2, 3, Murphy, e^-sqrt x; in %, from the papers' formulas
    0.1: (90.48, 91.29, 90.91, 90.70, 90.63, 90.56, 72.89),
    0.5: (60.65, 70.71, 66.67, 64.00, 62.97, 61.93, 49.31),
    1: (36.79, 57.74, 50.00, 44.44, 42.19, 39.96, 36.79),
    2: (13.53, 44.72, 33.33, 25.00, 21.60, 18.69, 24.31),
    5: (0.67, 30.15, 16.67, 8.16, 5.27, 3.95, 10.69),
}
COLUMNS = (("poisson", None), *(("negative-binomial", alpha) for alpha in (0.5, 1, 2, 3)), ("murphy", None),
           ("seeds-exponential", None))


@pytest.mark.parametrize("x", TABLE)
def test_the_table_of_yields_to_a_hundredth_of_a_percent(x):
    for (model, alpha), percent in zip(COLUMNS, TABLE[x], strict=True):
        assert 100 * good_die_yield(100, x, alpha, model) == pytest.approx(percent, abs=0.00501), (model, alpha)


def test_both_forms_of_seeds_and_bose_einstein():
    assert good_die_yield(200, 0.5, model="seeds") == 0.5
    assert good_die_yield(200, 0.5, model="seeds-exponential") == pytest.approx(math.exp(-1))
    assert good_die_yield(50, 0.5, model="bose-einstein", layers=3) == pytest.approx(1.25 ** -3)


def test_alpha_at_its_ends_is_a_limit():
    areas = np.array([0.0, 1.0, 100.0, 800.0])
    assert good_die_yield(areas, 0.3, math.inf) == pytest.approx(good_die_yield(areas, 0.3, model="poisson"), abs=1e-15)
    assert (good_die_yield(areas, 0.3, 0) == 1).all()
    assert good_die_yield(100, 1, 1e9) == pytest.approx(math.exp(-1), rel=1e-8)
    assert good_die_yield(100, 1, 1e-9) == pytest.approx(1, abs=1e-7)
    assert good_die_yield(100, 1, 5e-324) == 1.0
    for model in MODELS:
        assert good_die_yield(100, 0, 2, model, 5) == 1.0
        assert good_die_yield(0, 7, 2, model, 5) == 1.0


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-6, 30), st.floats(1e-3, 1e3), st.sampled_from(sorted(MODELS)))
def test_yields_fall_with_defects_and_lie_between_poisson_and_one(x, alpha, model):
    layers = 4.0
    value, more = (float(yield_at(each, model, alpha, layers)) for each in (x, 1.01 * x))
    assert 0 <= more < value <= 1
    if model in ("murphy", "seeds", "negative-binomial"):
        assert value >= math.exp(-x) * (1 - 1e-12)      # Jensen: whatever varies yields more
    if value > 1e-6:
        again = good_die_yield(100, d0_of_yield(value, 100, model, alpha, layers), alpha, model, layers)
        assert again == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("x", [1e-6, 0.1, 1, 5, 60])
def test_integration_over_densities_gives_the_closed_forms(x):
    assert compound_yield(x, "triangular") == pytest.approx(float(yield_at(x, "murphy")), abs=1e-9)
    assert compound_yield(x, "exponential") == pytest.approx(float(yield_at(x, "seeds")), abs=1e-9)
    assert compound_yield(x, "uniform") == pytest.approx(-math.expm1(-2 * x) / (2 * x), abs=1e-9)
    for alpha in (0.05, 0.5, 2, 10, 1e4, 1e9):
        assert compound_yield(x, "gamma", alpha) == pytest.approx(float(yield_at(x, "negative-binomial", alpha)),
                                                                  abs=1e-9)
    assert compound_yield(x, gamma(2, scale=0.5)) == pytest.approx(compound_yield(x, "gamma", 2), abs=1e-8)
    assert compound_yield(x, "gamma", math.inf) == math.exp(-x) and compound_yield(x, "gamma", 0) == 1


def test_a_drawn_die_agrees_with_the_integral():
    rng = np.random.default_rng(1)
    density = rng.gamma(2, 0.5, 400_000)
    good = (rng.poisson(1.3 * density) == 0).mean()
    assert good == pytest.approx(compound_yield(1.3, "gamma", 2), abs=4 * 0.5 / math.sqrt(400_000))


LINES = Lines(0.12, 0.08, 500.0, 7)


@pytest.mark.parametrize("fault", ["short", "open"])
@pytest.mark.parametrize("sizes", [Sizes(0.05), Sizes(0.11), Sizes(0.3), Sizes(0.05, 4.2), Sizes(0.04, 2.4)])
def test_the_averaged_critical_area_is_the_integral_over_sizes(fault, sizes):
    corners = sorted({sizes.x0_um, *(max(sizes.x0_um, corner) for corner in (0.08, 0.12, 0.28, 0.32))})
    whole = sum(quad(lambda x: LINES.area_um2(fault, x) * sizes.density(x), a, b, epsabs=1e-12)[0]
                for a, b in zip(corners, [*corners[1:], np.inf], strict=True))
    assert LINES.average_um2(fault, sizes) == pytest.approx(whole, rel=1e-7)
    assert quad(sizes.density, sizes.x0_um, np.inf)[0] == pytest.approx(1, rel=1e-8)


def test_one_space_has_the_area_of_the_textbook():
    pair = Lines(0.1, 0.2, 1000.0, 2)
    assert pair.average_um2("short", Sizes(0.05)) == pytest.approx(1000 * 0.05 ** 2 / 0.2)      # L x0^2 / s
    assert Lines(0.1, 0.2, 1000.0, 1).average_um2("open", Sizes(0.05)) == pytest.approx(1000 * 0.05 ** 2 / 0.1)
    assert Lines(0.1, 0.2, 1000.0, 1).average_um2("short", Sizes(0.05)) == 0    # one line shorts with nothing


@pytest.mark.parametrize("fault", ["short", "open"])
@pytest.mark.parametrize("size", [0.05, 0.1, 0.2, 0.33, 1.0, 3.0])
def test_critical_areas_against_discs_thrown_across_the_lines(fault, size):
    rng = np.random.default_rng(3)
    starts = np.arange(LINES.number) * LINES.pitch_um
    low, high = -2.0, starts[-1] + 2.12
    centre = rng.uniform(low, high, 60_000)[:, None]
    below, above = centre - size / 2, centre + size / 2
    if fault == "short":
        harm = ((above > starts) & (below < starts + LINES.width_um)).sum(1) >= 2
    else:
        harm = ((below <= starts) & (above >= starts + LINES.width_um)).any(1)
    share = LINES.area_um2(fault, size) / LINES.length_um / (high - low)
    assert harm.mean() == pytest.approx(share, abs=4 * math.sqrt(max(share * (1 - share), 1e-9) / 60_000) + 1e-9)


def test_a_die_of_layers_from_its_lines_to_its_yield(tmp_path):
    text = """
area_mm2 = 50
x0_um = 0.05
[[layer]]
name = "metal 1"
number = 2
width_um = 0.1
space_um = 0.1
length_um = 5000
lines = 40000
d0_short_per_cm2 = 0.6
d0_open_per_cm2 = 0.3
[[layer]]
name = "contacts"
kill_ratio = 0.02
d0_per_cm2 = 1.5
"""
    (tmp_path / "layers.toml").write_text(text)
    area, sizes, layers = read_layers(tmp_path / "layers.toml")
    faults, mean, yields = yields_of(layers, area, sizes, 2.0)
    lines = Lines(0.1, 0.1, 5000, 40000)
    short = 2 * 0.6 * lines.average_um2("short", sizes) / 1e8
    opened = 2 * 0.3 * lines.average_um2("open", sizes) / 1e8
    assert faults[0].mean == pytest.approx(short + opened)
    assert faults[0].kill_ratio == pytest.approx((short + opened) / (2 * 0.9 * 0.5))
    assert faults[1].mean == pytest.approx(1.5 * 0.5 * 0.02)
    assert mean == pytest.approx(short + opened + 0.015)
    assert yields["poisson"]["yield"] == pytest.approx(math.exp(-mean))
    for name in ("murphy", "negative-binomial"):
        assert yields[name]["yield"] == pytest.approx(yields[name]["closed_form"], abs=1e-9)
    for wrong, says in ((text.replace("lines = 40000", ""), "lines"), (text.replace("x0_um = 0.05", ""), "x0_um"),
                        (text.replace("lines = 40000", "lines = 400000000"), "more than the die"),
                        (text.replace("kill_ratio = 0.02", "kill_ratio = 2"), "no share"),
                        (text.replace("width_um = 0.1", "width_nm = 100"), "width_nm"),
                        (text.replace("width_um = 0.1", "width_um = '0.1'"), "no number"), ("area_mm2 = ", "TOML")):
        (tmp_path / "wrong.toml").write_text(wrong)
        with pytest.raises(UsageError, match=says):
            yields_of(*(lambda a, s, k: (k, a, s))(*read_layers(tmp_path / "wrong.toml")), 2.0)


def test_strained_assumptions_are_said():
    short = Layer("short", Lines(0.1, 0.1, 1.0, 3), 0.1)
    assert "ends" in critical_area.doubts([short], Sizes(0.05))[0]
    assert "larger" in critical_area.doubts([Layer("m", Lines(0.1, 0.1, 1e4, 3), 0.1)], Sizes(0.2))[0]
    assert not critical_area.doubts([Layer("m", Lines(0.1, 0.1, 1e4, 3), 0.1)], Sizes(0.05))
    with pytest.raises(UsageError, match="either"):
        Layer("m", Lines(0.1, 0.1, 1e4, 3), 0.1, kill_ratio=0.1)
    with pytest.raises(UsageError, match="exponent"):
        Sizes(0.05, 2.0)
    with pytest.raises(UsageError, match="area"):
        faults_of(short, 0.0, Sizes(0.05))


@pytest.mark.parametrize(("call", "says"), [
    (lambda: good_die_yield(-1, 0.1, 2), "area in mm2 of -1"), (lambda: good_die_yield(1, -0.1, 2), "per cm2 of -0.1"),
    (lambda: good_die_yield(1, math.nan, 2), "nan"), (lambda: good_die_yield(1, math.inf, 2), "inf"),
    (lambda: good_die_yield(1, 0.1, -2), "alpha of -2"), (lambda: good_die_yield(1, 0.1, math.nan), "alpha"),
    (lambda: good_die_yield(1, 0.1), "needs alpha"),
    (lambda: good_die_yield(1, 0.1, model="bose-einstein"), "--layers"),
    (lambda: good_die_yield(1, 0.1, 2, "negative_binomal"), "did you mean 'negative-binomial'"),
    (lambda: good_die_yield("wide", 0.1, 2), "no number"), (lambda: good_die_yield([], 0.1, 2), "no values"),
    (lambda: d0_of_yield(90, 100, "poisson"), "90 % are 0.9"), (lambda: d0_of_yield(0, 100, "poisson"), "no share"),
    (lambda: d0_of_yield(0.9, 100, "negative-binomial", 0), "alpha = 0"), (lambda: d0_of_yield(0.9, 0), "above 0"),
    (lambda: compound_yield(1, "normal"), "no law"), (lambda: compound_yield(-1), "-1"),
])
def test_what_is_impossible_is_refused_with_what_is_legal(call, says):
    with pytest.raises(UsageError, match=says):
        call()
