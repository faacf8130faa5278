"""Fits of ageing: planted parameters are found, noise and devices are told apart, the right model wins."""

from dataclasses import replace

import numpy as np
import pytest

from archfab.core import UsageError
from archfab.silicon.aging.fitting import Problem, compared, fit, noise_of
from archfab.silicon.aging.measurements import Measurements, Row, checked
from archfab.silicon.aging.models import MODELS
from archfab.silicon.aging.parameters import set_for
from archfab.silicon.aging.planted import experiment
from archfab.silicon.aging.shifts import threshold_shift_mv

EVERY = pytest.mark.parametrize("name", MODELS)


def planted(name):
    """What an experiment is made with: what a fit holds is at its default."""
    return {**set_for(name).values, **{each.name: each.default for each in MODELS[name].parameters if each.held}}


def made(name, seed, **noise):
    return experiment(MODELS[name], planted(name), np.random.default_rng(seed), **noise)


@EVERY
def test_without_noise_the_planted_parameters_come_back(name):
    found = fit(MODELS[name], made(name, 0, noise_mv=1e-6, noise_share=0.0), samples=20, forecast=False)
    for key, value in planted(name).items():
        assert found.values[key] == pytest.approx(value, rel=1e-4), key


@EVERY
def test_planted_parameters_lie_in_their_intervals(name):
    """Three noisy experiments with recovery: all parameters at once in two of them at least (the study of 100 is
    `benchmarks/silicon_aging.py`)."""
    inside = 0
    for seed in range(3):
        found = fit(MODELS[name], made(name, seed), samples=40, seed=seed, forecast=False)
        values = planted(name)
        inside += all(each.low_jointly <= values[key] <= each.high_jointly for key, each in found.estimates.items())
        assert all(each.low_jointly <= each.low < each.value < each.high <= each.high_jointly
                   for each in found.estimates.values())
        assert 0.01 < found.noise_share < 0.03 and found.noise_mv < 0.5
    assert inside >= 2


@pytest.mark.slow
@EVERY
def test_coverage_over_forty_experiments(name):
    inside = 0
    for seed in range(1000, 1040):
        found = fit(MODELS[name], made(name, seed), samples=200, seed=seed, forecast=False)
        inside += all(each.low_jointly <= planted(name)[key] <= each.high_jointly
                      for key, each in found.estimates.items())
    assert inside >= 33         # of 40, at 95 % each: fewer has a chance below 1 %


@pytest.mark.parametrize("name", ["two-component", pytest.param("reaction-diffusion", marks=pytest.mark.slow),
                                  pytest.param("hole-trapping", marks=pytest.mark.slow)])
def test_the_model_that_made_the_data_wins_and_forecasts_best(name):
    fits = compared(list(MODELS.values()), made(name, 7), samples=20, seed=0)
    assert fits[0].model == name and fits[1].aic - fits[0].aic > 50
    assert [each.aic for each in fits] == sorted(each.aic for each in fits)
    assert fits[0].runs < 0.3 < fits[-1].runs
    best = min(fits, key=lambda each: each.forecast_mv)
    assert next(each for each in fits if each.model == name).forecast_mv < 2 * best.forecast_mv


def test_aic_and_bic_of_a_power_law_by_hand():
    """With the noise known, against Gaussian densities written out; parameters are counted by hand."""
    data = made("power-law", 1, noise_mv=0.5, noise_share=0.0)
    known = Measurements([Row(*[getattr(row, key) for key in ("device", "seconds", "overdrive_v", "kelvin", "duty",
                                                               "dvth_mv")], 0.5) for row in data.rows])
    found = fit(MODELS["power-law"], known, samples=20, forecast=False)
    missed = known.dvth_mv - known.predicted(MODELS["power-law"], found.values)
    log_density = float((-missed ** 2 / (2 * 0.25) - np.log(0.5) - 0.5 * np.log(2 * np.pi)).sum())
    assert found.aic == pytest.approx(2 * 4 - 2 * log_density)
    assert found.bic == pytest.approx(4 * np.log(len(missed)) - 2 * log_density)


def test_noise_is_taken_apart():
    rng = np.random.default_rng(0)
    shift = np.geomspace(0.1, 100, 4000)
    for absolute, share in ((0.5, 0.03), (0.5, 0.0), (0.0, 0.03)):
        found = noise_of(np.hypot(absolute, share * shift) * rng.standard_normal(4000), shift)
        assert found[0] == pytest.approx(absolute, rel=0.1, abs=0.02)
        assert found[1] == pytest.approx(share, rel=0.1, abs=0.004)


def test_devices_that_differ_widen_the_intervals():
    same = made("power-law", 3)
    rng = np.random.default_rng(3)
    size = dict(zip(same.devices, 1 + 0.1 * rng.standard_normal(len(same.devices)), strict=True))
    different = Measurements([Row(row.device, row.seconds, row.overdrive_v, row.kelvin, row.duty,
                                  row.dvth_mv * size[row.device], None) for row in same.rows])
    one, other = (fit(MODELS["power-law"], each, 60, forecast=False) for each in (same, different))
    assert one.device_share < 0.01 < 0.03 < other.device_share
    width = [each.estimates["gamma"].high - each.estimates["gamma"].low for each in (one, other)]
    assert width[1] > 3 * width[0]
    assert other.estimates["gamma"].low_jointly < 4.5 < other.estimates["gamma"].high_jointly


def test_the_same_seed_gives_the_same_fit_and_another_one_another_interval():
    data = made("hole-trapping", 5)
    first, again, other = (fit(MODELS["hole-trapping"], data, 30, seed, forecast=False) for seed in (1, 1, 2))
    assert first == again and first.values == other.values and first.estimates != other.estimates


def test_what_measurements_cannot_tell_is_held_and_said():
    whole = made("two-component", 2)
    hot = Measurements([row for row in whole.rows if row.device == "1" and row.duty])
    found = fit(MODELS["two-component"], hot, samples=40, forecast=False)
    assert found.held == {"ratio": "no recovery was measured", "se": "set, not fitted",
                          "gamma": "all stress has one overdrive", "ep_ev": "all stress has one temperature",
                          "er_ev": "all stress has one temperature"}
    assert found.values["gamma"] == 4.5 and "gamma" not in found.estimates
    own = found.as_set("bench")
    assert own.source.endswith("assumed, with a spread: ratio, gamma, ep_ev, er_ev")
    known, colder, weaker, resting = (float(high / low) for low, high in (own.bounds_mv(1.0, *at, 1e4) for at in (
        (0.8, 358.15, 1.0), (0.8, 300.0, 1.0), (0.5, 358.15, 1.0), (0.8, 358.15, 0.1))))
    assert min(colder, weaker) > 1.3 and resting > 1.1
    assert known < 1.08 and found.estimates["ap_mv"].high > 3 * found.estimates["ap_mv"].low    # parts trade, not sums
    with pytest.raises(UsageError, match="cannot tell"):
        fit(MODELS["two-component"], Measurements(hot.rows[:6]), samples=20)


def test_a_chamber_that_flickers_tells_no_activation_energy():
    """Tenths of a kelvin and millivolts about one condition are that condition; devices 20 K apart stay apart."""
    whole, rng = made("power-law", 4), np.random.default_rng(4)
    noisy = [replace(row, kelvin=row.kelvin + 0.1 * rng.standard_normal(),
                     overdrive_v=row.overdrive_v and row.overdrive_v + 0.001 * rng.standard_normal())
             for row in whole.rows]
    one = checked([row for row in noisy if row.device == "2"], "")
    assert not one.long and set(Problem(MODELS["power-law"], one).held) == {"gamma", "ea_ev", "b_mv", "eb_ev"}
    every = checked(noisy, "")
    assert not every.long and every.varies == {"overdrive": True, "kelvin": True}
    assert every.over == pytest.approx(whole.over, abs=1e-3) and every.hot == pytest.approx(whole.hot, abs=0.1)


@EVERY
def test_measurements_in_turns_are_predicted_step_by_step(name):
    """Stress, rest, stress, at two temperatures: as the model's steps say; one stress and one rest by either way."""
    model, values = MODELS[name], planted(name)
    turns = [Row("1", *each, 1.0, None) for each in (
        (10.0, 0.8, 378.0, 1.0), (100.0, 0.8, 378.0, 1.0), (150.0, 0.0, 378.0, 0.0), (400.0, 0.6, 398.0, 0.5),
        (900.0, 0.6, 398.0, 0.5))]
    state, expected = model.fresh(values), []
    for over, kelvin, duty, span in ((0.8, 378, 1, 10), (0.8, 378, 1, 90), (0, 378, 0, 50), (0.6, 398, 0.5, 250),
                                     (0.6, 398, 0.5, 500)):
        state = model.step(values, over, kelvin, duty, span)(state)
        expected.append(model.shift_mv(values, state))
    many, once = Measurements(turns), Measurements(turns[:3])
    assert len(many.long) == 1 and not once.long
    assert many.predicted(model, values) == pytest.approx(expected)
    assert once.predicted(model, values) == pytest.approx(expected[:3])


def test_a_fitted_set_gives_shifts_whose_interval_holds_the_truth():
    data = made("two-component", 11)
    own = fit(MODELS["two-component"], data, samples=50, forecast=False).as_set("bench")
    truth = MODELS["two-component"].stressed_mv(planted("two-component"), 0.6, 378, 1.0, 10 * 365.25 * 86400)
    value, low, high = threshold_shift_mv(1.1, 0.5, 378, 1, 10, own)
    assert low < truth < high and high / low < 1.5 and low < value < high
