"""Simulated Hawkes processes against theory, and what is foreseen of the next event."""

import numpy as np
import pytest
from hawkes import PLANTED, random_parameters
from scipy.stats import ks_2samp

from archfab.core import UsageError
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes.compensator import intensity
from archfab.tasks.events.hawkes.linked import LinkedHawkes
from archfab.tasks.events.hawkes.parameters import Parameters
from archfab.tasks.events.hawkes.process import Hawkes, poisson
from archfab.tasks.events.hawkes.simulation import clusters, thinning


@pytest.mark.parametrize(("simulate", "number"), [(thinning, 80), (clusters, 160)])
def test_rates_are_those_of_theory(simulate, number):
    found = simulate(PLANTED, [(0.0, 2000.0)] * number, np.random.default_rng(0))
    counts = sum(np.bincount(each.types, minlength=3) for each in found)
    assert counts / (2000 * number) == pytest.approx(PLANTED.rates, rel=0.015)


@pytest.mark.parametrize("shape", [(2, 1, 1), (1, 1, 3), (2, 3, 3)])
def test_thinning_and_clusters_draw_from_one_law(shape):
    rng = np.random.default_rng(2)
    parameters = random_parameters(rng, 3, shape)
    parameters = Parameters(parameters.base, parameters.weights * 0.6 / parameters.radius, parameters.decays)
    process = Hawkes(parameters)
    drawn = [process.simulate([(3.0, 23.0)] * 150, rng, method) for method in ("thinning", "clusters")]
    assert ks_2samp(*(list(map(len, each)) for each in drawn)).pvalue > 0.01
    for sequences in drawn:
        found = process.residuals(sequences, "abc")
        assert min(check.p * len(found.tests) for check in found.tests) > 0.02
        assert abs(found.tests[0].correlation) < 2 * found.tests[0].band


def test_same_seed_same_events_and_windows_begin_where_they_are_said_to():
    for simulate in (thinning, clusters):
        one, other = (simulate(PLANTED, [(5.0, 30.0), (0.0, 0.001)], np.random.default_rng(1)) for _ in range(2))
        assert one[0].times.tolist() == other[0].times.tolist() and one[0].types.tolist() == other[0].types.tolist()
        assert one[0].times.min() > 5.0 and one[0].end == 30.0 and len(one) == 2


def test_a_process_that_explodes_is_stopped():
    explosive = Parameters(PLANTED.base, 3 * PLANTED.weights, PLANTED.decays)
    for simulate in (thinning, clusters):
        with pytest.raises(UsageError, match="Not stationary"):
            simulate(explosive, [(0, 1000)], np.random.default_rng(0), most=10_000)
    inhibiting = Parameters(PLANTED.base, -PLANTED.weights, PLANTED.decays)
    for simulate in (thinning, clusters):
        with pytest.raises(UsageError, match="below 0"):
            simulate(inhibiting, [(0, 1000)], np.random.default_rng(0))


@pytest.mark.parametrize("process", [Hawkes(PLANTED), LinkedHawkes(
    Parameters(PLANTED.base, PLANTED.weights - 0.2, PLANTED.decays), np.full(3, 0.05))])
def test_the_next_event_is_foreseen_as_its_density_says(process):
    times = np.array([1.0, 1.5, 1.6, 4.0])
    sequence = Sequence(times, np.array([0, 1, 0, 2]), 0.0, 5.0)
    found = process.predict([sequence])
    assert len(found.wait) == 5
    grid = np.linspace(0, 60, 600_001)
    for i, last in enumerate([0.0, *times]):
        past = Sequence(times[:i], sequence.types[:i], 0.0, 100.0)
        rates = process.link(intensity(past, process.parameters, last + 1e-12 + grid))
        total = rates.sum(1)
        grown = np.concatenate([[0], np.cumsum((total[1:] + total[:-1]) / 2 * 1e-4)])
        assert found.wait[i] == pytest.approx(np.trapezoid(np.exp(-grown), grid), rel=1e-6)
        assert found.median[i] == pytest.approx(np.interp(np.log(2), grown, grid), rel=1e-3)
        assert found.chances[i] == pytest.approx(np.trapezoid(np.exp(-grown)[:, None] * rates, grid, axis=0), abs=1e-6)
    assert np.abs(found.chances.sum(1) - 1).max() < 1e-12 and found.never.max() < 1e-12


def test_a_poisson_process_expects_what_its_rates_say():
    simple = poisson([Sequence(np.array([1.0, 2.0, 4.0]), np.array([0, 0, 1]), 0.0, 10.0)], 2)
    found = simple.predict([Sequence(np.zeros(0), np.zeros(0, np.int64), 0.0, 1.0)])
    assert found.wait == pytest.approx([10 / 3]) and found.median == pytest.approx([np.log(2) * 10 / 3])
    assert found.chances == pytest.approx(np.array([[2 / 3, 1 / 3]])) and found.types.tolist() == [0]
