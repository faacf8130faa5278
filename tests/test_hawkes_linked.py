"""Hawkes processes with inhibition: integrals, derivatives, and planted weights below zero."""

import numpy as np
import pytest
import torch
from hawkes import PLANTED, odd_sequences
from scipy.integrate import quad

from archfab.core import UsageError
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.likelihood import log_likelihood
from archfab.tasks.events.hawkes.linked import LinkedHawkes, curvature, observed
from archfab.tasks.events.hawkes.linked_likelihood import Likelihood, Scan
from archfab.tasks.events.hawkes.parameters import Parameters
from archfab.tasks.events.hawkes.process import Hawkes

INHIBITED = Parameters(PLANTED.base, np.array([[[0.4, 0.25, -0.5], [0.0, 0.3, 0.2], [0.15, -0.6, 0.35]]]),
                       np.full((1, 1, 1), 2.0))
TWO = Parameters(PLANTED.base, np.array([[[0.2, 0.1, -0.4], [0.0, 0.1, 0.2], [0.1, -0.2, 0.1]],
                                         [[-0.2, 0.2, 0.1], [0.3, 0.1, -0.1], [0.1, 0.1, 0.2]]]),
                 np.array([0.5, 6.0]).reshape(2, 1, 1))
SOFT = np.full(3, 0.05)


@pytest.mark.parametrize(("parameters", "softness", "precision"), [
    (INHIBITED, None, 1e-7), (INHIBITED, SOFT, 1e-5), pytest.param(TWO, SOFT, 1e-4, marks=pytest.mark.slow),
    pytest.param(TWO, None, 2e-3, marks=pytest.mark.slow)])
def test_the_compensator_is_the_integral_of_the_intensity(parameters, softness, precision):
    process = LinkedHawkes(parameters, softness)
    assert process.exact == (softness is None and len(parameters.weights) == 1)
    for sequence in odd_sequences(np.random.default_rng(0), 3, 12, 3):
        rows = process.compensators([sequence])[0]
        edges = np.array([sequence.start, *sequence.times, sequence.end])
        for row, low, high in zip(rows, edges[:-1], edges[1:], strict=True):
            for k in range(3):
                whole = quad(at, low + 1e-12, high, (sequence, process, k), limit=200)[0] if high > low else 0.0
                assert row[k] == pytest.approx(whole, abs=precision)


def at(time, sequence, process, kind):
    return process.intensity(sequence, np.array([time]))[0, kind]


def test_more_points_make_the_quadrature_exact():
    history = History(odd_sequences(np.random.default_rng(0), 6, 30, 3), 3)
    process = LinkedHawkes(INHIBITED, SOFT)
    best = np.concatenate(process.increments(history, 256))
    errors = [np.abs(np.concatenate(process.increments(history, n)) - best).max() for n in (8, 32, 128)]
    assert errors[0] > errors[1] > errors[2] and errors[1] < 1e-5 and errors[2] < 1e-11


def test_without_inhibition_relu_is_the_linear_process():
    sequences = odd_sequences(np.random.default_rng(1), 8, 30, 3)
    linked = LinkedHawkes(PLANTED)
    assert linked.log_likelihoods(sequences).sum() == pytest.approx(
        log_likelihood(History(sequences, 3), PLANTED), abs=1e-9)
    assert np.concatenate(linked.compensators(sequences)) == pytest.approx(
        np.concatenate(Hawkes(PLANTED).compensators(sequences)), abs=1e-9)


def test_a_scan_has_first_and_second_derivatives():
    rng = torch.Generator().manual_seed(0)
    decay = torch.rand(12, 1, generator=rng, dtype=torch.float64, requires_grad=True)
    inputs = torch.rand(12, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Scan.apply, (decay, inputs))
    assert torch.autograd.gradgradcheck(Scan.apply, (decay, inputs))


@pytest.mark.parametrize(("parameters", "softness"), [
    (INHIBITED, SOFT), pytest.param(TWO, SOFT, marks=pytest.mark.slow), (INHIBITED, None)])
def test_derivatives_are_finite_differences(parameters, softness):
    sequences = odd_sequences(np.random.default_rng(3), 3, 12, 3)
    likelihood = Likelihood(History(sequences, 3), softness)
    parts = LinkedHawkes(parameters, softness).tensors()
    sizes, shapes = [part.numel() for part in parts], [part.shape for part in parts]

    def value(row):
        split = torch.split(row, sizes)
        return likelihood(*(part.view(shape) for part, shape in zip(split, shapes, strict=True)))

    theta = torch.cat([part.flatten() for part in parts]).requires_grad_()
    if torch.isfinite(value(theta)):
        assert torch.autograd.gradcheck(value, (theta,), eps=1e-6, atol=1e-4)
        assert curvature(LinkedHawkes(parameters, softness), sequences) == pytest.approx(
            torch.autograd.functional.hessian(value, theta.detach()).numpy(), abs=1e-8)


@pytest.mark.parametrize("link", [pytest.param("softplus", marks=pytest.mark.slow), "relu"])
def test_planted_inhibition_is_found(link):
    truth = LinkedHawkes(INHIBITED, 0.1 * np.ones(3) * 0.6 if link == "softplus" else None)
    rng = np.random.default_rng(2)
    train, held = (truth.simulate([(0.0, 1500.0)], rng) for _ in range(2))
    fitted, found = LinkedHawkes.fit(train, 3, rng, link=link)
    assert found.log_likelihood > truth.log_likelihoods(train).sum()
    assert fitted.parameters.weights == pytest.approx(INHIBITED.weights, abs=0.15)
    assert fitted.parameters.weights[0, 0, 2] < -0.3 and fitted.parameters.weights[0, 2, 1] < -0.4
    linear, _ = Hawkes.fit(train, 3, rng, starts=1)
    assert fitted.log_likelihood(held) > linear.log_likelihood(held) + 0.05
    assert min(each.p for each in fitted.residuals(held, "abc").tests) > 0.01
    known = observed(fitted, found, train)
    assert known.weights.high[0, 0, 2] < 0 and known.weights.high[0, 2, 1] < 0
    assert known.decays.low < 2 < known.decays.high
    assert any(note.startswith("Stable") for note in found.notes)
    assert any(("exact" if link == "relu" else "quadrature") in note for note in found.notes)


def test_derivatives_that_are_computed_again_are_those_that_are_kept(monkeypatch):
    likelihood = Likelihood(History(odd_sequences(np.random.default_rng(3), 3, 12, 3), 3), SOFT)
    slopes = []
    for kept in (10**9, 0):
        monkeypatch.setattr("archfab.tasks.events.hawkes.linked_likelihood.KEPT", kept)
        parts = [part.clone().requires_grad_() for part in LinkedHawkes(TWO, SOFT).tensors()]
        slopes.append(torch.autograd.grad(likelihood(*parts), parts))
    assert all(torch.allclose(one, other, rtol=1e-12) for one, other in zip(*slopes, strict=True))


def test_a_floor_is_added_to_every_intensity():
    sequence, = odd_sequences(np.random.default_rng(5), 1, 12, 3)
    bare, raised = LinkedHawkes(INHIBITED, SOFT), LinkedHawkes(INHIBITED, SOFT, 0.25)
    times = np.linspace(sequence.start, sequence.end, 7)
    assert raised.intensity(sequence, times) == pytest.approx(bare.intensity(sequence, times) + 0.25)
    gained = raised.compensators([sequence])[0].sum() - bare.compensators([sequence])[0].sum()
    assert gained == pytest.approx(3 * 0.25 * sequence.length)


def test_events_that_inhibition_makes_nearly_or_quite_impossible():
    sequence = Sequence(np.array([1.0, 1.01]), np.array([0, 1]), 0.0, 2.0)
    strong = Parameters(PLANTED.base, np.where(np.eye(3) > 0, 0.0, -4.0)[None], PLANTED.decays)
    history = History([sequence], 3)
    soft = LinkedHawkes(strong, SOFT)
    exact = float(Likelihood(history, SOFT)(*soft.tensors()))
    assert exact == pytest.approx(soft.log_likelihoods([sequence]).sum(), abs=1e-9) and exact < -140
    assert LinkedHawkes(strong).log_likelihoods([sequence])[0] == -np.inf


def test_the_fit_reports_the_likelihood_of_what_it_returns_and_says_when_it_was_stopped():
    train = LinkedHawkes(INHIBITED, SOFT).simulate([(0.0, 200.0)], np.random.default_rng(0))
    for link in ("softplus", "relu"):
        fitted, found = LinkedHawkes.fit(train, 3, np.random.default_rng(0), link=link, steps=2)
        assert found.log_likelihood == max(found.tried)
        assert found.log_likelihood == pytest.approx(fitted.log_likelihoods(train).sum(), abs=1e-9) or \
            not np.isfinite(found.log_likelihood)
        assert any("stopped after 2 steps" in note for note in found.notes)


def test_requests_that_are_wrong():
    with pytest.raises(UsageError, match="softplus and relu"):
        LinkedHawkes.fit([], 3, np.random.default_rng(0), link="exp")
    with pytest.raises(UsageError, match="one decay for all pairs"):
        LinkedHawkes(Parameters(PLANTED.base, PLANTED.weights, np.ones((1, 3, 3))))
    with pytest.raises(UsageError, match="above 0"):
        LinkedHawkes(Parameters(PLANTED.base * 0, PLANTED.weights, PLANTED.decays))
    wild = LinkedHawkes(Parameters(PLANTED.base, 3 * PLANTED.weights, PLANTED.decays), SOFT)
    assert wild.verdict.startswith("Not known to be stable")
