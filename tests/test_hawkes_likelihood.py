"""The likelihood of Hawkes processes against plain double sums, its derivatives, and bad input."""

import numpy as np
import pytest
from hawkes import PLANTED, double_sum, odd_sequences, random_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.core import UsageError
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes.compensator import by_sequence, increments, intensity
from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.likelihood import at_events, by_type, gradient, hessian, log_likelihood
from archfab.tasks.events.hawkes.parameters import Parameters
from archfab.tasks.events.hawkes.scan import scan

SHAPES = [(0, 1, 1), (1, 1, 1), (3, 1, 1), (1, 1, 3), (2, 1, 3), (1, 3, 3), (2, 3, 3)]


@pytest.mark.parametrize("n", [1, 2, 3, 17, 100, 1001])
@pytest.mark.parametrize("columns", [1, 4])
def test_a_scan_is_the_loop(n, columns):
    rng = np.random.default_rng(n)
    decay, inputs = rng.uniform(0, 1, (n, columns)) * (rng.random((n, 1)) < 0.9), rng.normal(size=(n, columns))
    state, rows = np.zeros(columns), []
    for a, u in zip(decay, inputs, strict=True):
        state = a * state + u
        rows.append(state)
    assert np.abs(scan(decay, inputs) - rows).max() < 1e-13


@pytest.mark.parametrize("shape", SHAPES)
def test_the_recursion_is_the_double_sum(shape):
    rng = np.random.default_rng(5)
    sequences = odd_sequences(rng, 12, 40, 3)
    for _ in range(3):
        parameters = random_parameters(rng, 3, shape)
        exact = double_sum(sequences, parameters)
        history = History(sequences, 3)
        assert abs(log_likelihood(history, parameters) - exact) < 1e-10
        assert abs(by_type(history, parameters).sum() - exact) < 1e-10
        assert abs(sum(log_likelihood(History([each], 3), parameters) for each in sequences) - exact) < 1e-10


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 1)), max_size=15), st.booleans(), st.floats(0.01, 300),
       st.floats(0.01, 300), st.floats(1e-3, 100))
@settings(max_examples=40, deadline=None)
def test_the_recursion_is_the_double_sum_of_any_events(events, opened, fast, slow, base):
    events = sorted(events)
    times, types = np.array([t for t, _ in events], float), np.array([k for _, k in events], np.int64)
    start = float(times[0]) if opened and len(times) and times[0] < 60 else -1.0
    sequences = [Sequence(times, types, start, 60.0), Sequence(times[:0], types[:0], 0.0, 1.0)]
    weights = np.array([[[0.2, 0.3], [0.0, 0.1]], [[0.4, 0.0], [0.1, 0.2]]])
    for decays in (np.array([fast, slow]).reshape(2, 1, 1), np.array([[[fast, 1.0]], [[slow, fast]]])):
        parameters = Parameters(np.array([base, 1.0]), weights, decays)
        exact = double_sum(sequences, parameters)
        assert abs(log_likelihood(History(sequences, 2), parameters) - exact) < 1e-10 * max(1.0, abs(exact))


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_and_hessian_are_finite_differences(shape):
    rng = np.random.default_rng(7)
    history, at = History(odd_sequences(rng, 8, 40, 3), 3), random_parameters(rng, 3, shape)
    sizes = np.cumsum([at.base.size, at.weights.size])
    theta = np.concatenate([at.base, at.weights.ravel(), at.decays.ravel()])

    def parameters(row):
        base, weights, decays = np.split(row, sizes)
        return Parameters(base, weights.reshape(at.weights.shape), decays.reshape(shape))

    def slope(row):
        found = gradient(history, parameters(row))[1]
        return np.concatenate([found.base, found.weights.ravel(), found.decays.ravel()])

    steps = 1e-6 * np.eye(len(theta))
    numeric = [(log_likelihood(history, parameters(theta + step)) - log_likelihood(history, parameters(theta - step)))
               / 2e-6 for step in steps]
    bent = [(slope(theta + step) - slope(theta - step)) / 2e-6 for step in steps]
    assert gradient(history, at)[0] == pytest.approx(log_likelihood(history, at), abs=1e-11)
    assert np.allclose(slope(theta), numeric, atol=1e-6, rtol=1e-6)
    assert np.allclose(hessian(history, at), bent, atol=1e-5, rtol=1e-6)


def test_the_gradient_is_that_of_autograd_through_the_double_sum():
    import torch
    rng = np.random.default_rng(3)
    sequence = odd_sequences(rng, 1, 60, 3)[0]
    parts = [torch.tensor(each, requires_grad=True) for each in (PLANTED.base, PLANTED.weights, PLANTED.decays)]
    base, weights, decays = parts
    times, types = torch.from_numpy(sequence.times), torch.from_numpy(sequence.types)
    age = times[:, None] - times[None, :]
    past = torch.ones_like(age).tril(-1)
    kernel = (weights[0][types][:, types].T * decays[0, 0, 0] * torch.exp(-decays[0, 0, 0] * age)) * past
    value = torch.log(base[types] + kernel.sum(1))[sequence.given:].sum() - base.sum() * sequence.length \
        - (weights[0][types].sum(1) * (1 - torch.exp(-decays[0, 0, 0] * (sequence.end - times)))).sum()
    value.backward()
    found, slopes = gradient(History([sequence], 3), PLANTED)
    assert found == pytest.approx(value.item(), abs=1e-10)
    for mine, theirs in zip((slopes.base, slopes.weights, slopes.decays), parts, strict=True):
        assert np.abs(mine - theirs.grad.numpy()).max() < 1e-10


@pytest.mark.parametrize("shape", SHAPES)
def test_the_compensator_is_the_integral_of_the_intensity(shape):
    rng = np.random.default_rng(1)
    nodes, shares = np.polynomial.legendre.leggauss(80)
    sequences, parameters = odd_sequences(rng, 4, 12, 3), random_parameters(rng, 3, shape)
    history = History(sequences, 3)
    before, tail = increments(history, parameters)
    assert np.log(at_events(history, parameters)).sum() - before.sum() - tail.sum() == pytest.approx(
        log_likelihood(history, parameters), abs=1e-10)
    for sequence, rows in zip(sequences, by_sequence(history, before, tail), strict=True):
        edges = np.array([sequence.start, *sequence.times, sequence.end])
        half = np.diff(edges)[:, None] / 2
        values = intensity(sequence, parameters, (edges[:-1, None] + half * (nodes + 1)).ravel())
        assert rows == pytest.approx((values.reshape(len(rows), 80, 3) * (half * shares)[..., None]).sum(1), abs=1e-8)


def test_the_intensity_at_an_event_is_that_before_it():
    sequence = Sequence(np.array([1.0, 2.0]), np.array([0, 1]), 0.0, 3.0)
    at = intensity(sequence, PLANTED, np.array([0.5, 1.0, 2.0]))
    assert at[:2] == pytest.approx(np.tile(PLANTED.base, (2, 1)))
    assert at[2] == pytest.approx(PLANTED.base + PLANTED.weights[0, 0] * 2 * np.exp(-2))


def test_events_at_one_time_stand_in_the_order_in_which_they_happened():
    both = Sequence(np.array([1.0, 1.0]), np.array([0, 1]), 0.0, 2.0)
    jump = np.log(PLANTED.base[0]) + np.log(PLANTED.base[1] + 2.0 * PLANTED.weights[0, 0, 1])
    fallen = 1 - np.exp(-2.0)
    assert log_likelihood(History([both], 3), PLANTED) == pytest.approx(
        jump - PLANTED.base.sum() * 2 - PLANTED.weights[0, :2].sum() * fallen, abs=1e-12)


def test_time_in_another_unit_is_the_same_process():
    rng = np.random.default_rng(2)
    sequences = odd_sequences(rng, 5, 30, 3)
    seconds = [Sequence(s.times / 60, s.types, s.start / 60, s.end / 60) for s in sequences]
    scored = sum(s.scored for s in sequences)
    assert log_likelihood(History(seconds, 3), PLANTED.rescaled(60)) == pytest.approx(
        log_likelihood(History(sequences, 3), PLANTED) + scored * np.log(60), abs=1e-9)


@pytest.mark.parametrize(("times", "types", "said"), [
    ([2.0, 1.0], [0, 0], "sorted by time"), ([1.0, np.nan], [0, 0], "event 2"), ([1.0, 2.0], [0, -1], "event 2"),
    ([1.0, 9.0], [0, 0], "not all inside the window")])
def test_events_that_are_none_are_refused(times, types, said):
    with pytest.raises(UsageError, match=said):
        Sequence(np.array(times), np.array(types), 0.0, 5.0)


def test_unknown_types_and_parameters_of_no_shape_are_refused():
    good = Sequence(np.array([1.0]), np.array([0]), 0.0, 2.0)
    with pytest.raises(UsageError, match="sequence 2, event 1: the type 5 is unknown; types are 0 to 2"):
        History([good, Sequence(np.array([1.0]), np.array([5]), 0.0, 2.0)], 3)
    with pytest.raises(UsageError, match="at least one of both"):
        History([], 3)
    with pytest.raises(UsageError, match="shapes"):
        Parameters(np.ones(2), np.ones((1, 2, 3)), np.ones((1, 1, 1)))
    with pytest.raises(UsageError, match="above 0"):
        Parameters(np.ones(2), np.ones((1, 2, 2)), np.zeros((1, 1, 1)))


def test_windows_without_events_count_only_the_compensator():
    empty = Sequence(np.zeros(0), np.zeros(0, np.int64), 0.0, 10.0)
    assert log_likelihood(History([empty, empty], 3), PLANTED) == pytest.approx(-20 * PLANTED.base.sum())
    value, slopes = gradient(History([empty], 3), PLANTED)
    assert value == pytest.approx(-12) and slopes.base == pytest.approx([-10] * 3) and not slopes.weights.any()
