"""Ageing: the reference's figures, closed forms against stepping, and what has to hold whatever the profile."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.core import UsageError
from archfab.silicon.aging.adaptive import schedule
from archfab.silicon.aging.bhardwaj import long_term_mv
from archfab.silicon.aging.conditions import YEAR_S
from archfab.silicon.aging.derates import commands, derate_table
from archfab.silicon.aging.effects import delay_of, delay_ratio, drive_loss, shift_for_ratio_mv, transconductance_loss
from archfab.silicon.aging.lifetimes import guardband_share, lifetime_years, mission_lifetime_years
from archfab.silicon.aging.missions import Mission, Phase
from archfab.silicon.aging.models import MODELS
from archfab.silicon.aging.parameters import REFERENCE, ParameterSet, read_set, set_for, write_set
from archfab.silicon.aging.profiles import course
from archfab.silicon.aging.shifts import end_of_life_delay_ratio, threshold_shift_mv
from archfab.silicon.aging.traps import moved

EVERY = pytest.mark.parametrize("name", MODELS)
DAY = Mission((Phase("day", 10, 1.1, 368, 0.5), Phase("evening", 4, 0.9, 338, 0.2), Phase("night", 10, 0, 300, 0)))


# --- figures of others

@pytest.mark.parametrize("duty, said", [(1, (23.6, 28.2, 34.3)), (0.5, (19.7, 23.5, 28.5)), (0.1, (14.8, 17.6, 21.4))])
def test_the_published_set_gives_the_reference_figures_to_their_last_digit(duty, said):
    """Joshi et al. (IRPS 2012) as OldSpot computes it, at 1.1 V, threshold 0.5 V, 378 K, after 1, 3 and 10 years."""
    assert threshold_shift_mv(1.1, 0.5, 378, duty, [1, 3, 10])[0].round(1).tolist() == list(said)


def test_the_published_set_is_the_published_equation():
    """With CODATA's Boltzmann constant written out: two figures would miss their last digit, none 0.1 mV."""
    k, seconds, energy = 8.617333e-5, 10 * 365.25 * 86400, 2 / 3 * (0.175 - 0.2) + 0.58 / 6
    by_hand = 0.027e-12 * 1000 * 0.6 ** 4.5 * (5.5e12 * math.exp(-energy / (k * 378)) * seconds ** (1 / 6)
                                               + 8e11 * math.exp(-0.03 / (k * 378)))
    assert by_hand == pytest.approx(34.229, abs=1e-3)
    assert float(threshold_shift_mv(1.1, 0.5, 378, 1, 10)[0]) == pytest.approx(by_hand, rel=1e-3)


def test_the_other_published_form_gives_its_figures_and_the_gap_is_in_the_interval():
    """Bhardwaj et al. (CICC 2006) with assumed 65 nm inputs: 104, 124 and 152 mV."""
    other = long_term_mv(1.1, 378, 1, np.array([1, 3, 10]) * YEAR_S)
    assert other.round().tolist() == [104, 124, 152]
    value, low, high = threshold_shift_mv(1.1, 0.5, 378, 1, np.array([1, 3, 10]))
    assert (other / value > 4).all() and (high >= other).all() and (low < value / 2).all()
    assert np.isnan(long_term_mv(0.3, 378, 1, 1e6)) and long_term_mv(1.1, 378, 1, 0) == 0


def test_delay_ratios_of_the_reference():
    assert delay_ratio(0.6, 30) == pytest.approx(1.0690, abs=5e-5)
    assert delay_ratio(0.6, 50) == pytest.approx(1.1198, abs=5e-5)
    assert shift_for_ratio_mv(0.6, delay_ratio(0.6, 50)) == pytest.approx(50)
    assert delay_ratio(0.6, 600) == math.inf and drive_loss(0.6, 700) == 1


def test_losses_follow_from_the_current_by_numerical_differentiation():
    current = lambda gate, threshold: (gate - threshold) ** 1.3     # noqa: E731 - alpha-power law
    fresh, aged, h = 0.5, 0.53, 1e-6
    assert drive_loss(0.6, 30) == pytest.approx(1 - current(1.1, aged) / current(1.1, fresh))
    slope = [(current(1.1 + h, v) - current(1.1 - h, v)) / (2 * h) for v in (fresh, aged)]
    assert transconductance_loss(0.6, 30) == pytest.approx(1 - slope[1] / slope[0], rel=1e-6)
    assert delay_ratio(0.6, 30) == pytest.approx(delay_of(0.57, 1.1) / delay_of(0.6, 1.1))


# --- every model

def shift_of(name, phases, splits=1):
    found = set_for(name)
    model, state = found.of, found.of.fresh(found.values)
    for over, kelvin, duty, seconds in phases:
        for _ in range(splits):
            state = model.step(found.values, over, kelvin, duty, seconds / splits)(state)
    return model.shift_mv(found.values, state)


@EVERY
@pytest.mark.parametrize("duty", [1, 0.5, 0.05, 0])
def test_constant_conditions_step_by_step_are_the_closed_form(name, duty):
    found = set_for(name)
    for time in (1.0, 1e4, 3e8):
        closed = float(found.shift_mv(0.6, 378, duty, time))
        assert shift_of(name, [(0.6, 378, duty, time)], splits=7) == pytest.approx(closed, rel=1e-9, abs=1e-12)


@EVERY
def test_recovery_step_by_step_is_the_closed_form(name):
    found = set_for(name)
    for duty, rest in product((1.0, 0.3), (1e-3, 10.0, 1e5)):
        closed = float(found.of.recovering_mv(found.values, 0.7, 358, duty, 1e4, rest))
        assert shift_of(name, [(0.7, 358, duty, 1e4), (0, 300, 0, rest)], splits=3) == pytest.approx(closed, rel=1e-9)


PHASE = st.tuples(st.sampled_from([0.0, 0.3, 0.5, 0.6, 0.7]), st.sampled_from([300.0, 358.0, 398.0]),
                  st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from([0.0, 1e-2, 10.0, 1e4, 1e7]))


@EVERY
@settings(max_examples=25, deadline=None)
@given(phases=st.lists(PHASE, min_size=1, max_size=5), data=st.data())
def test_whatever_the_profile(name, phases, data):
    """Splitting a phase changes nothing; more voltage or more time of stress never leaves less; shifts are finite and
    not negative; a rest at the end never adds."""
    shift = shift_of(name, phases)
    assert math.isfinite(shift) and shift >= 0
    assert shift_of(name, phases, splits=3) == pytest.approx(shift, rel=1e-6, abs=1e-9)
    assert shift_of(name, [*phases, (0.0, 300.0, 0.0, 1e3)]) <= shift * (1 + 1e-9)
    i = data.draw(st.integers(0, len(phases) - 1))
    over, kelvin, duty, seconds = phases[i]
    slack = 1e-6 * shift + 1e-9
    assert shift_of(name, [*phases[:i], (over + 0.05 if duty else over, kelvin, duty, seconds), *phases[i + 1:]]) >= (
        shift - slack)
    assert shift_of(name, [*phases, (0.7, 398.0, 1.0, 1e4)]) >= shift - slack


@EVERY
def test_hotter_higher_longer_and_more_duty_are_never_less(name):
    found = set_for(name)
    over, kelvin, duty, time = np.meshgrid([0.2, 0.5, 0.9], [250, 300, 400], [0, 0.01, 0.3, 0.9, 1],
                                           np.geomspace(1, 1e9, 7), indexing="ij")
    shift = found.shift_mv(over, kelvin, duty, time)
    for axis in range(4):
        assert (np.diff(shift, axis=axis) >= -1e-12).all()


def test_recovery_never_goes_below_the_permanent_part():
    found = set_for("two-component")
    forever = found.of.recovering_mv(found.values, 0.6, 378, 1.0, 1e5, np.array([0, 1, 1e6, 1e12, 1e20]))
    alone = ParameterSet("", found.model, dict(found.values, ar_mv=1e-12), "", "assumed").shift_mv(0.6, 378, 1, 1e5)
    assert (np.diff(forever) <= 0).all() and forever[-1] == pytest.approx(float(alone), rel=1e-3)
    some = dict(set_for("reaction-diffusion").values, permanent=0.4)
    model = MODELS["reaction-diffusion"]
    full = model.stressed_mv(some, 0.6, 378, 1.0, 1e5)
    left = model.recovering_mv(some, 0.6, 378, 1.0, 1e5, np.array([0, 1e30])) / full
    assert left.tolist() == pytest.approx([1, 0.4])


def test_reaction_diffusion_recovers_by_half_where_its_square_root_says_so():
    """Universal relaxation 1 / (1 + B sqrt(r/s)): with B = 1, half is left after a rest as long as the stress."""
    values = dict(set_for("reaction-diffusion").values, relax=1.0, beta=0.5)
    model = MODELS["reaction-diffusion"]
    assert model.recovering_mv(values, 0.6, 378, 1.0, 1e4, 1e4) == pytest.approx(
        model.stressed_mv(values, 0.6, 378, 1.0, 1e4) / 2)


def test_traps_follow_their_differential_equation():
    """Against a fine Euler integration, with a level that falls below what is held and rises again."""
    capture, emission = np.array([1.0, 0.1, 3.0]), np.array([0.5, 0.3, 0.01])
    held, slow, dt = np.zeros(3), np.zeros(3), 5e-4
    for level, duty, seconds in ((10.0, 0.6, 2.0), (3.0, 0.4, 3.0), (0.0, 0.5, 0.4), (6.0, 1.0, 1.0), (2.0, 1.0, 1.0)):
        held = moved(level, capture, emission, duty if level else 0.0, seconds)(held)
        for _ in range(round(seconds / dt)):
            on = duty if level else 0.0
            slow = slow + dt * (on * capture * np.maximum(level - slow, 0) - (1 - on) * emission * slow)
    assert held == pytest.approx(slow, rel=5e-3)


def test_hole_trapping_is_logarithmic_in_both_directions():
    found = set_for("hole-trapping")
    decades = found.shift_mv(0.6, 378, 1, np.geomspace(1, 1e6, 7))
    assert np.diff(decades) == pytest.approx(np.diff(decades)[0], rel=1e-3)
    rests = found.of.recovering_mv(found.values, 0.6, 378, 1.0, 1e6, np.geomspace(0.1, 1e3, 5))
    assert np.diff(rests) == pytest.approx(np.diff(rests)[0], rel=1e-2)


# --- conditions

@pytest.mark.parametrize("change, words", [
    ({"kelvin": 105}, "378.15 K"), ({"kelvin": -40}, "233.15 K"), ({"kelvin": -300}, "from 200 to 600"),
    ({"kelvin": 900}, "from 200 to 600"), ({"vdd_v": 1100}, "give 1.1"), ({"vdd_v": 0.5}, "never switches on"),
    ({"vdd_v": 0.4}, "never switches on"), ({"vth_v": -0.5}, "magnitude"), ({"vth_v": 500}, "give 0.5"),
    ({"duty": 50}, "give 0.5"), ({"duty": -0.1}, "0 (never"), ({"duty": 1e6}, "0 (never"), ({"years": -1}, "forwards"),
    ({"years": 87_660}, "give 10, if it is seconds"),
    ({"years": math.nan}, "finite"), ({"kelvin": math.nan}, "finite"), ({"vdd_v": math.inf}, "finite"),
    ({"duty": "half"}, "no number"), ({"kelvin": [378, 85]}, "358.15 K")])
def test_conditions_that_cannot_be(change, words):
    asked = {"vdd_v": 1.1, "vth_v": 0.5, "kelvin": 378, "duty": 1, "years": 10} | change
    with pytest.raises(UsageError) as raised:
        threshold_shift_mv(**asked)
    assert words in str(raised.value)


@EVERY
def test_no_years_and_no_duty_shift_nothing(name):
    for years, duty in ((0, 1), (10, 0), (0, 0)):
        assert [float(each) for each in threshold_shift_mv(1.1, 0.5, 378, duty, years, set_for(name))] == [0, 0, 0]
        assert [float(each) for each in end_of_life_delay_ratio(1.1, 0.5, 378, duty, years, set_for(name))] == [1, 1, 1]


def test_delay_ratios_take_arrays_and_order_their_interval():
    volts = np.linspace(0.7, 1.2, 200)[:, None]
    value, low, high = end_of_life_delay_ratio(volts, 0.4, np.linspace(300, 400, 5), 0.5, 10)
    assert value.shape == low.shape == high.shape == (200, 5)
    assert (low <= value).all() and (value <= high).all() and (value > 1).all()
    one = end_of_life_delay_ratio(float(volts[7, 0]), 0.4, 300, 0.5, 10)
    assert float(one[0]) == value[7, 0] and float(one[2]) == high[7, 0]


def test_sets_of_other_models_meet_the_reference_where_they_are_said_to():
    for name in MODELS:
        assert float(set_for(name).shift_mv(0.6, 378, 1, 10 * YEAR_S)) == pytest.approx(34.255, abs=1e-3)
        assert set_for(name).origin == ("literature" if name == "power-law" else "assumed")


# --- what comes of it

@EVERY
def test_a_mission_of_one_phase_is_constant_conditions(name):
    found = set_for(name)
    went = course(Mission((Phase("on", 24, 1.1, 378, 0.5),)), 0.5, 10, found)
    value, low, high = threshold_shift_mv(1.1, 0.5, 378, 0.5, went.years, found)
    assert went.peak_mv == pytest.approx(value, rel=1e-7) and went.end_mv == pytest.approx(value, rel=1e-7)
    assert went.low_mv == pytest.approx(low, rel=1e-7) and went.high_mv == pytest.approx(high, rel=1e-7)
    ratio = end_of_life_delay_ratio(1.1, 0.5, 378, 0.5, went.years, found)
    assert [went.ratio, went.ratio_low, went.ratio_high] == [pytest.approx(each, rel=1e-6) for each in ratio]


@EVERY
def test_a_mission_with_rests_lies_between_its_rests_and_its_worst_phase(name):
    found = set_for(name)
    went = course(DAY, 0.5, 3, found)
    assert (went.end_mv <= went.peak_mv + 1e-12).all()
    assert went.peak_mv[-1] < float(threshold_shift_mv(1.1, 0.5, 368, 1, 3, found)[0])
    assert (went.end_mv[-1] < 0.999 * went.peak_mv[-1]) == (name != "power-law")


def test_reaction_diffusion_in_slow_turns_is_near_its_form_for_fast_ones():
    """Twelve hours on, twelve off, for years: as (d / (1 + sqrt((1-d)/2)))^n within a tenth."""
    found = set_for("reaction-diffusion")
    for share in (0.5, 0.1):
        turns = Mission((Phase("on", 24 * share, 1.1, 378, 1), Phase("off", 24 * (1 - share), 0, 300, 0)))
        fast = float(threshold_shift_mv(1.1, 0.5, 378, share, 5, found)[0])
        assert course(turns, 0.5, 5, found).peak_mv[-1] == pytest.approx(fast, rel=0.1)


def test_a_mission_cut_into_smaller_phases_is_the_same_mission():
    halves = Mission(tuple(Phase(p.name, p.hours / 2, p.vdd_v, p.kelvin, p.duty) for p in DAY.phases for _ in range(2)))
    for name in MODELS:
        whole, cut = (course(each, 0.5, 1, set_for(name)) for each in (DAY, halves))
        assert cut.end_mv == pytest.approx(whole.end_mv, rel=1e-7)
        assert cut.peak_mv == pytest.approx(whole.peak_mv, rel=1e-7)


def test_a_power_law_mission_by_hand():
    """Two supplies in turn: equivalent times of the second in units of the first, for a plain power law."""
    values = dict(REFERENCE.values, b_mv=0.0)
    plain = ParameterSet("plain", "power-law", values, "", "assumed")
    model, mission = plain.of, Mission((Phase("high", 6, 1.1, 378, 1), Phase("low", 18, 1.0, 378, 1)))
    worth = (model.stressed_mv(values, 0.5, 378, 1, 1.0) / model.stressed_mv(values, 0.6, 378, 1, 1.0)) ** 6
    went = course(mission, 0.5, 2, plain)
    seconds = went.years[-1] * 365.25 * 3600 * (6 + 18 * worth)
    assert went.end_mv[-1] == pytest.approx(float(model.stressed_mv(values, 0.6, 378, 1, seconds)))


def test_a_lifetime_is_the_inverse_of_its_guardband():
    for years in (0.5, 10, 30):
        value, low, high = guardband_share(1.1, 0.5, 358, 0.5, years)
        assert low < value < high
        assert lifetime_years(1.1, 0.5, 358, 0.5, value)[0] == pytest.approx(years, rel=1e-6)
        assert lifetime_years(1.1, 0.5, 358, 0.5, high)[1] == pytest.approx(years, rel=1e-6)
        assert lifetime_years(1.1, 0.5, 358, 0.5, low)[2] == pytest.approx(years, rel=1e-6)
    assert lifetime_years(1.1, 0.5, 358, 0.5, 0.9)[0] is None and lifetime_years(1.1, 0.5, 358, 0.5, 1e-6)[0] == 0
    for bad in (0, -0.1, 5, math.nan):
        with pytest.raises(UsageError, match="guardband"):
            lifetime_years(1.1, 0.5, 358, 0.5, bad)


def test_a_mission_of_constant_conditions_lives_as_long():
    on = Mission((Phase("on", 24, 1.1, 378, 0.5),))
    value, low, _ = mission_lifetime_years(on, 0.5, 0.06, 30)
    assert value == pytest.approx(lifetime_years(1.1, 0.5, 378, 0.5, 0.06)[0], rel=0.02)
    assert low < value and mission_lifetime_years(on, 0.5, 0.5, 30)[0] is None


def test_derates_slow_rising_edges_alone_and_commands_never_round_down():
    rows = derate_table([1.0, 1.1], 0.5, [358, 378], [0.5, 1], [3, 10])
    assert len(rows) == 16 and all(row["late_fall"] == 1 for row in rows)
    for row in rows:
        at = (row["vdd_v"], 0.5, row["kelvin"], row["duty"], row["years"])
        assert row["late_rise"] == pytest.approx(float(end_of_life_delay_ratio(*at)[0]), rel=1e-12)
        assert row["late_rise"] > 1
    text = commands(rows, "x", "late_rise")
    live = [line for line in text.splitlines() if not line.startswith("#")]
    worst = max(row["late_rise"] for row in rows)
    assert live == [f"set_timing_derate -late -cell_delay -rise {math.ceil(worst * 1e4) / 1e4:.4f}",
                    "set_timing_derate -late -cell_delay -fall 1.0000"]
    assert text.count("#   set_timing_derate") == 15
    with pytest.raises(UsageError, match="reaches the supply"):
        commands(derate_table([0.8], 0.5, [400], [1], [10], set_for("power-law").scaled(1e3)), "x", "late_rise")


@EVERY
def test_an_adaptive_supply_is_the_best_of_all_schedules(name):
    """All schedules of six supplies over four times, tried one by one: none that keeps the delay costs less energy."""
    asked = {"margin": 0.0, "step_mv": 25.0, "most_v": 1.3, "times": 2, "parameters": set_for(name)}
    made = schedule(1.1, 0.5, 378, 0.5, 10, **asked)
    found, target = set_for(name), float(delay_of(0.6, 1.1))
    spans = [each.to_years - each.from_years for each in made.intervals]
    assert sum(spans) == pytest.approx(10) and len(spans) == 3

    def works(volts):
        state = found.of.fresh(found.values)
        for supply, span in zip(volts, spans, strict=True):
            state = found.of.step(found.values, supply - 0.5, 378, 0.5, span * YEAR_S)(state)
            if delay_of(supply - 0.5 - found.of.shift_mv(found.values, state) / 1000, supply) > target * (1 + 1e-9):
                return False
        return True

    grid = 1.1 + 0.025 * np.arange(9)
    best = min(sum(v * v * span for v, span in zip(volts, spans, strict=True))
               for volts in product(grid, repeat=3) if works(volts))
    ours = sum(each.vdd_v ** 2 * span for each, span in zip(made.intervals, spans, strict=True))
    assert ours == pytest.approx(best)
    fixed = min(v for v in grid if works([v] * 3))
    assert made.fixed_v == pytest.approx(fixed) and 0 <= made.saved < 1
    assert made.saved == pytest.approx(1 - ours / (fixed ** 2 * 10))


def test_adaptive_supplies_that_cannot_be():
    with pytest.raises(UsageError, match="misses its target by"):
        schedule(1.1, 0.5, 378, 1, 10, most_v=1.12)
    for words, change in (("voltage step", {"step_mv": 0}), ("times", {"times": 0}),
                          ("times", {"times": 10 ** 7}), ("life", {"years": 0}), ("margin", {"margin": -0.1}),
                          ("margin", {"margin": 5}), ("highest supply", {"most_v": 1.0})):
        with pytest.raises(UsageError, match=words):
            schedule(**{"vdd_v": 1.1, "vth_v": 0.5, "kelvin": 378, "duty": 1, "years": 10} | change)
    slack = schedule(1.1, 0.5, 378, 0.5, 10, margin=0.1)
    assert slack.intervals[0].vdd_v < 1.1 and slack.fixed_v < schedule(1.1, 0.5, 378, 0.5, 10).fixed_v


@pytest.mark.parametrize("source", ["a bench", "it's \"a\" bench\\n 漢 \U0001f600"])
def test_parameter_sets_survive_their_file(tmp_path, source):
    path = tmp_path / "own.toml"
    found = set_for("hole-trapping")
    own = ParameterSet("own", found.model, found.values, source, "fitted", (found.values, found.scaled(2).values))
    path.write_text(write_set(own), encoding="utf-8")
    read = read_set(path)
    assert (read.source, read.origin) == (source, "fitted")
    assert read.values == found.values and read.replicates == own.replicates and read.model == "hole-trapping"
    value, low, high = threshold_shift_mv(1.1, 0.5, 378, 1, 10, read)
    assert float(low) >= float(value) * 0.999 and float(value) * 1.9 < float(high) < float(value) * 2
