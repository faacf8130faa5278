"""How options are weighed: probabilities, draws and gradients, against formulas and by frequencies."""

import pytest
import torch
from scipy.stats import chisquare
from torch import nn as tnn

from archfab import UsageError
from archfab.lowering._mixed import Weigh
from archfab.lowering._weighting import EVERY, WEIGHTINGS, noisy, weighting

LOGITS = [0.3, -1.2, 0.9, 0.0, -0.4]


def logits(*values, grad=False):
    return torch.tensor(values or LOGITS, dtype=torch.float64, requires_grad=grad)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def counted(rule, number=4000):
    """How often each option had the largest weight."""
    source, found = draws(1), torch.zeros(len(LOGITS), dtype=torch.long)
    for _ in range(number):
        found[int(rule(source)[0].argmax())] += 1
    return found


def fits(found, chances):
    """Whether frequencies are those of some chances: right rules fail for one seed in a thousand."""
    return chisquare(found.numpy(), (chances * found.sum()).numpy()).pvalue > 1e-3


# --- all of them

@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weights_are_shares_and_those_that_are_not_computed_are_zero(name):
    for seed in range(20):
        weights, active = weighting(name)(logits(grad=True), 0.7, draws(seed))
        assert active == sorted(set(active)) and set(active) <= set(range(5))
        others = [i for i in range(5) if i not in active]
        assert bool((weights[others] == 0).all()) and bool((weights >= 0).all()) and bool((weights <= 1).all())
        if name != "sigmoid":
            assert float(weights.detach().sum()) == pytest.approx(1, abs=1e-12)
        assert (len(active) == 5) is (name in EVERY)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_equal_seeds_draw_alike(name):
    def rounds(seed):
        source = draws(seed)
        return [weighting(name)(logits(), 1.0, source) for _ in range(8)]

    one, again, other = rounds(3), rounds(3), rounds(4)
    assert all(torch.equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(one, again, strict=True))
    if name not in ("softmax", "sigmoid"):
        assert any(not torch.equal(a[0], b[0]) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_decision_of_one_option_takes_it(name):
    weights, active = weighting(name)(logits(0.0), 1.0, draws())
    assert active == [0] and (name == "sigmoid" or weights.tolist() == [1.0])


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_logits_far_apart_are_still_drawn(name):
    for seed in range(5):
        weights, _ = weighting(name)(torch.tensor([300.0, 0.0, -300.0]), 1.0, draws(seed))
        assert torch.isfinite(weights).all() and int(weights.argmax()) == 0


def test_of_options_that_are_equally_unlikely_each_is_drawn_beside_a_sure_one():
    found = {tuple(weighting("gates")(torch.tensor([300.0, 0.0, 0.0]), 1.0, draws(seed))[1]) for seed in range(20)}
    assert found == {(0, 1), (0, 2)}


def test_an_unknown_weighting_is_named_with_those_that_there_are():
    with pytest.raises(UsageError, match=r"no weighting named 'softmx'; known: gates, gumbel, .*mean 'softmax'"):
        weighting("softmx")


# --- without draws

def test_softmax_is_the_one_of_the_logits_over_the_temperature():
    for temperature in (0.5, 1.0, 3.0):
        e = (logits() / temperature).exp()
        assert torch.allclose(weighting("softmax")(logits(), temperature, None)[0], e / e.sum(), atol=1e-15)


def test_sigmoids_are_independent():
    weights, _ = weighting("sigmoid")(logits(), 1.0, None)
    assert torch.allclose(weights, 1 / (1 + (-logits()).exp()), atol=1e-15)
    x = logits(grad=True)
    jacobian = torch.autograd.functional.jacobian(lambda x: weighting("sigmoid")(x, 1.0, None)[0], x)
    assert torch.allclose(jacobian, torch.diag(weights * (1 - weights)), atol=1e-15)


# --- with Gumbel noise

def test_noise_is_that_of_gumbel():
    """-log(-log u) with u uniform, added to the logits' log-softmax."""
    u = torch.rand(5, generator=draws(7))
    wanted = ((logits().log_softmax(0) - (-u.log()).log()) / 0.6).softmax(0)
    assert torch.allclose(noisy(logits(), 0.6, draws(7)), wanted, atol=1e-12)


def test_near_temperature_zero_gumbel_is_the_argmax_of_the_noisy_logits():
    for seed in range(50):
        noise = -(-torch.rand(5, generator=draws(seed)).log()).log()
        best = int((logits() + noise).argmax())
        weights, _ = weighting("gumbel")(logits(), 1e-6, draws(seed))
        assert int(weights.argmax()) == best and float(weights[best]) == pytest.approx(1, abs=1e-9)
        assert weighting("hard_gumbel")(logits(), 1.0, draws(seed))[1] == [best]


@pytest.mark.parametrize("name", ["gumbel", "hard_gumbel", "one_path", "gates"])
def test_options_are_let_through_as_often_as_their_softmax_says(name):
    found = counted(lambda source: weighting(name)(logits(), 1e-4 if name == "gumbel" else 1.0, source))
    chances = logits().softmax(0)
    if name == "gates":     # two are drawn without putting back, then one of them: the sum over pairs
        p = chances
        pair = [[p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]) for j in range(5)] for i in range(5)]
        chances = torch.stack([sum(pair[i][j] * p[i] / (p[i] + p[j]) for j in range(5) if j != i) for i in range(5)])
    assert float(chances.sum()) == pytest.approx(1) and fits(found, chances)
    assert not fits(found, torch.full((5,), 0.2, dtype=torch.float64))


def test_two_gates_are_drawn_without_putting_back():
    source, found = draws(2), torch.zeros(5, dtype=torch.long)
    for _ in range(4000):
        two = weighting("gates")(logits(), 1.0, source)[1]
        assert len(two) == 2
        found[two] += 1
    p = logits().softmax(0)
    wanted = torch.stack([p[i] + sum(p[j] * p[i] / (1 - p[j]) for j in range(5) if j != i) for i in range(5)])
    assert fits(found, wanted / 2)


# --- gradients

def test_the_hard_choice_has_the_gradient_of_the_soft_weights():
    """Dong and Yang, GDAS, equation 5: one-hot forwards, soft backwards."""
    for seed in range(10):
        hard, soft = logits(grad=True), logits(grad=True)
        weights, (best,) = weighting("hard_gumbel")(hard, 0.8, draws(seed))
        assert weights.tolist() == [float(i == best) for i in range(5)]
        weights[best].backward()
        noisy(soft, 0.8, draws(seed))[best].backward()
        assert torch.allclose(hard.grad, soft.grad, atol=1e-15) and bool((hard.grad != 0).all())


def test_the_gradient_of_two_gates_is_that_of_proxylessnas():
    """Equation 4, restricted to the two that were drawn: dL/da_i = sum_j dL/dg_j p_j (delta_ij - p_i)."""
    by_gate = torch.tensor([0.7, -2.0, 1.1, 0.4, -0.3], dtype=torch.float64)
    for seed in range(20):
        a = logits(grad=True)
        weights, two = weighting("gates")(a, 1.0, draws(seed))
        assert sorted(weights.tolist()) == [0, 0, 0, 0, 1] and float(weights.detach()[two].sum()) == 1
        (weights * by_gate).sum().backward()
        p = logits()[two].softmax(0)
        wanted = torch.zeros(5, dtype=torch.float64)
        for i, at in enumerate(two):
            wanted[at] = sum(by_gate[two[j]] * p[j] * (float(i == j) - p[i]) for j in range(2))
        assert torch.allclose(a.grad, wanted, atol=1e-15) and bool((a.grad[two] != 0).all())


def test_one_path_has_no_gradient():
    weights, active = weighting("one_path")(logits(grad=True), 1.0, draws())
    assert not weights.requires_grad and weights.tolist() == [float(i == active[0]) for i in range(5)]


# --- the weighed sum

def test_a_weighed_sum_is_the_sum_and_its_gradients_are_right():
    values = [torch.randn(3, 2, dtype=torch.float64, generator=draws(i), requires_grad=True) for i in range(3)]
    weights = logits(0.2, -0.5, 1.5, grad=True)
    wanted = 0.2 * values[0] - 0.5 * values[1] + 1.5 * values[2]
    assert torch.allclose(Weigh.apply(weights, *values), wanted, atol=1e-15)
    assert torch.autograd.gradcheck(Weigh.apply, (weights, *values))
    assert torch.autograd.gradgradcheck(Weigh.apply, (weights, *values))


def test_a_weighed_sum_of_which_not_all_learns():
    values = [torch.randn(4, dtype=torch.float64, generator=draws(i), requires_grad=i == 1) for i in range(2)]
    fixed, learnt = logits(0.2, 0.8), logits(0.2, 0.8, grad=True)
    assert torch.autograd.gradcheck(lambda value: Weigh.apply(fixed, values[0], value), (values[1],))
    Weigh.apply(learnt, values[0], values[1].detach()).sum().backward()
    assert torch.allclose(learnt.grad, torch.stack([value.sum() for value in values]), atol=1e-15)


def test_strides_do_not_matter():
    """Images in torch's channels-last layout are weighed against others in the plain one."""
    one, other = (torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=draws(i)) for i in range(2))
    layer = tnn.Parameter(logits(0.3, 0.7))
    total = Weigh.apply(layer, one.to(memory_format=torch.channels_last), other)
    total.square().sum().backward()
    wanted = torch.stack([(2 * total * value).sum() for value in (one, other)])
    assert torch.allclose(layer.grad, wanted, atol=1e-12)
