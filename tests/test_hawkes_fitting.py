"""Maximum likelihood for Hawkes processes: the optimum against other ways to it, planted parameters, intervals."""

import numpy as np
import pytest
from hawkes import PLANTED, odd_sequences

from archfab.core import UsageError
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes.fitting import fit
from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.intervals import bootstrap, observed
from archfab.tasks.events.hawkes.likelihood import gradient, log_likelihood
from archfab.tasks.events.hawkes.parameters import Parameters
from archfab.tasks.events.hawkes.process import Hawkes, poisson, univariate
from archfab.tasks.events.hawkes.simulation import clusters


@pytest.fixture(scope="module")
def history():
    return History(clusters(PLANTED, [(0, 400)] * 3, np.random.default_rng(0)), 3)


def em(history, decays, steps):
    """Expectation and maximisation (Veen and Schoenberg, JASA 2008): each event is credited to the causes it may have
    in the shares that they have of its intensity."""
    sums, covered = history.moments(decays)[0], history.covered(decays)[0]
    base, weights = history.counts / history.duration / 2, np.full((len(decays), 3, 3), 0.1)
    for _ in range(steps):
        new = np.empty_like(weights)
        for k, part in enumerate(history.parts):
            caused = decays[:, 0] * sums[part] * weights[:, :, k]
            intensity = base[k] + caused.sum((1, 2))
            base[k] = (base[k] / intensity).sum() / history.duration
            new[:, :, k] = (caused / intensity[:, None, None]).sum(0) / covered[:, :, 0]
        weights = new
    return Parameters(base, weights, decays)


@pytest.mark.parametrize("decays", [[2.0], [0.7, 4.0]])
def test_newton_em_and_lbfgs_end_at_one_optimum(history, decays):
    from scipy.optimize import minimize
    found = fit(history, np.random.default_rng(0), decays=decays)
    shape = found.parameters.weights.shape

    def objective(row):
        value, slopes = gradient(history, Parameters(row[:3], row[3:].reshape(shape), found.parameters.decays))
        return -value, -np.concatenate([slopes.base, slopes.weights.ravel()])

    start = np.concatenate([np.full(3, 0.3), np.full(np.prod(shape), 0.1)])
    other = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(1e-9, None)] * 3 + [(0, None)] * (
        len(start) - 3), options={"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-7})
    third = em(history, found.parameters.decays, 3000)
    assert found.log_likelihood == pytest.approx(-other.fun, abs=1e-4)
    assert found.log_likelihood >= -other.fun - 1e-7
    assert found.log_likelihood == pytest.approx(log_likelihood(history, third), abs=0.02)
    assert found.log_likelihood >= log_likelihood(history, third) - 1e-7
    if len(decays) == 1:
        assert np.abs(found.parameters.weights - third.weights).max() < 2e-3
        assert np.abs(found.parameters.base - third.base).max() < 1e-3


@pytest.mark.parametrize("tie", ["shared", "target", "pair"])
def test_fitted_decays_are_a_stationary_point(history, tie):
    found = fit(history, np.random.default_rng(1), tie=tie, starts=1)
    _, slopes = gradient(history, found.parameters)
    inner = found.parameters.weights > 0
    assert np.abs(slopes.base).max() < 1e-2
    assert np.abs(slopes.weights[inner]).max() < 1e-2 and (slopes.weights[~inner] < 1e-2).all()
    assert np.abs(slopes.decays * found.parameters.decays).max() < 0.05
    assert found.log_likelihood >= log_likelihood(history, PLANTED)


def test_freer_decays_fit_the_training_data_better(history):
    rng = np.random.default_rng(1)
    values = [fit(history, rng, tie=tie, starts=1).log_likelihood for tie in ("shared", "target", "pair")]
    values.append(fit(history, rng, components=2, starts=2).log_likelihood)
    assert values[0] <= values[1] + 1e-6 <= values[2] + 2e-6 and values[0] <= values[3] + 1e-6


def test_planted_parameters_are_recovered():
    history = History(clusters(PLANTED, [(0, 6000)], np.random.default_rng(4)), 3)
    found = fit(history, np.random.default_rng(0))
    known = observed(history, found)
    assert found.parameters.base == pytest.approx(PLANTED.base, abs=0.05)
    assert found.parameters.weights == pytest.approx(PLANTED.weights, abs=0.05)
    assert found.parameters.decays.item() == pytest.approx(2.0, abs=0.2)
    assert known.weights.high.max() - known.weights.low.min() < 0.6
    assert known.radius.low < found.parameters.radius < known.radius.high


def test_planted_sums_of_exponentials_are_recovered():
    planted = Parameters(np.array([0.5]), np.array([[[0.3]], [[0.4]]]), np.array([0.3, 8.0]).reshape(2, 1, 1))
    history = History(clusters(planted, [(0, 10000)], np.random.default_rng(4)), 1)
    found = fit(history, np.random.default_rng(0), components=2)
    assert found.parameters.decays.ravel() == pytest.approx([0.3, 8.0], rel=0.35)
    assert found.parameters.weights.ravel() == pytest.approx([0.3, 0.4], abs=0.06)
    known = observed(history, found)
    assert known.branching.low[0, 0] < 0.7 < known.branching.high[0, 0]


def coverage(simulations, seed):
    rng, hits = np.random.default_rng(seed), []
    for _ in range(simulations):
        history = History(clusters(PLANTED, [(0, 1000)], rng), 3)
        known = observed(history, fit(history, rng, starts=1))
        hits.append(np.concatenate([known.base.holds(PLANTED.base), known.weights.holds(PLANTED.weights).ravel(),
                                    known.decays.holds(PLANTED.decays).ravel(),
                                    [known.radius.holds(np.array(PLANTED.radius))]]))
    return np.mean(hits, axis=0)


def test_intervals_hold_the_planted_parameters():
    assert coverage(15, 0).mean() > 0.92


@pytest.mark.slow
def test_intervals_hold_each_planted_parameter_in_nine_of_ten_simulations():
    found = coverage(300, 0)
    assert found.mean() > 0.94 and found.min() >= 0.9


def test_intervals_of_weights_at_the_edge_begin_at_zero(history):
    found = fit(history, np.random.default_rng(0), decays=2.0)
    known = observed(history, found)
    edge = found.parameters.weights == 0
    assert edge.any() and not known.weights.low[edge].any() and (known.weights.high[edge] > 0).all()
    assert known.decays.low == known.decays.high == found.parameters.decays        # given, so known
    best, moved = found.log_likelihood, found.parameters.weights.copy()
    at = tuple(np.argwhere(edge)[0])
    moved[at] = known.weights.high[at]      # the likelihood there, all else fitted again, is 1.92 lower
    rest = constrained(history, found, at, known.weights.high[at])
    assert best - rest == pytest.approx(1.92, rel=0.15)


def constrained(history, found, at, value):
    """The largest log-likelihood with one weight held."""
    from scipy.optimize import minimize
    shape = found.parameters.weights.shape
    place = 3 + int(np.ravel_multi_index(at, shape))

    def objective(row):
        value, slopes = gradient(history, Parameters(row[:3], row[3:].reshape(shape), found.parameters.decays))
        return -value, -np.concatenate([slopes.base, slopes.weights.ravel()])

    start = np.concatenate([found.parameters.base, found.parameters.weights.ravel()])
    bounds = [(1e-9, None)] * 3 + [(0, None)] * (len(start) - 3)
    bounds[place] = (value, value)
    start[place] = value
    return -minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14}).fun


def test_the_bootstrap_agrees_with_the_observed_information(history):
    found = fit(history, np.random.default_rng(0), decays=2.0)
    drawn = bootstrap(history, found, np.random.default_rng(1), 100)
    known = observed(history, found)
    width = (known.base.high - known.base.low) / (drawn.base.high - drawn.base.low)
    assert (np.abs(np.log(width)) < 0.5).all()
    inner = found.parameters.weights > 0.1
    width = (known.weights.high - known.weights.low) / (drawn.weights.high - drawn.weights.low)
    assert (np.abs(np.log(width[inner])) < 0.5).all()
    with pytest.raises(UsageError, match="40 draws"):
        bootstrap(history, found, np.random.default_rng(1), 10)


def test_baselines():
    sequences = odd_sequences(np.random.default_rng(0), 10, 30, 3)
    simple = poisson(sequences, 3)
    scored = np.concatenate([each.types[each.given:] for each in sequences])
    assert simple.parameters.base == pytest.approx(np.bincount(scored, minlength=3) / sum(s.length for s in sequences))
    data = clusters(PLANTED, [(0, 2000)], np.random.default_rng(1))
    alone, _ = univariate(data, 3, np.random.default_rng(0), starts=1)
    assert not alone.parameters.branching[~np.eye(3, dtype=bool)].any()
    full, _ = Hawkes.fit(data, 3, np.random.default_rng(0), starts=1)
    held = clusters(PLANTED, [(0, 2000)], np.random.default_rng(2))
    scores = [each.log_likelihood(held) for each in (poisson(data, 3), alone, full, Hawkes(PLANTED))]
    assert scores[0] + 0.05 < scores[1] < scores[2] - 0.01 and scores[2] <= scores[3] + 1e-3


def test_types_without_events_get_half_an_event_and_are_named():
    sequence = Sequence(np.array([1.0, 2.0, 4.0]), np.array([0, 0, 2]), 0.0, 10.0)
    found = fit(History([sequence], 3), np.random.default_rng(0), decays=1.0)
    assert found.parameters.base[1] == pytest.approx(0.05)
    assert any("[1]" in note for note in found.notes)
    known = observed(History([sequence], 3), found)
    assert np.isinf(known.weights.high[0, 1, 0]) and np.isnan(known.base.low[1])


def test_stationarity_is_said():
    assert PLANTED.verdict.startswith("Stationary") and PLANTED.radius == pytest.approx(0.55, abs=0.01)
    assert np.allclose((np.eye(3) - PLANTED.branching.T) @ PLANTED.rates, PLANTED.base)
    assert (PLANTED.endogenous < 1).all() and (PLANTED.endogenous > 0).all()
    explosive = Parameters(PLANTED.base, 3 * PLANTED.weights, PLANTED.decays)
    assert explosive.verdict.startswith("Not stationary")
    with pytest.raises(UsageError, match="spectral radius"):
        _ = explosive.rates
    rising = Sequence(np.log1p(np.arange(1.0, 400)) * 2, np.zeros(399, np.int64), 0.0, 12.0)
    found = fit(History([rising], 1), np.random.default_rng(0))
    assert found.parameters.radius >= 1 and found.notes[0].startswith("Not stationary")
    with pytest.raises(UsageError, match="no bootstrap"):
        bootstrap(History([rising], 1), found, np.random.default_rng(0))


def test_same_seed_same_fit_and_plain_data_comes_back(history):
    fits = [fit(history, np.random.default_rng(3), components=2, starts=2).parameters for _ in range(2)]
    assert fits[0].plain() == fits[1].plain()
    assert Parameters.from_plain(fits[0].plain()).plain() == fits[0].plain()


def test_requests_that_are_wrong(history):
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="shared, target, pair"):
        fit(history, rng, tie="all")
    with pytest.raises(UsageError, match="allowed"):
        fit(history, rng, allowed=np.ones((2, 2)))
    empty = Sequence(np.zeros(0), np.zeros(0, np.int64), 0.0, 10.0)
    with pytest.raises(UsageError, match="no event to learn from"):
        fit(History([empty], 1), rng)
