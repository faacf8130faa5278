"""The gradients of decisions: second order beside finite differences, expected costs beside a device's own figures."""

import itertools
import math
import random

import pytest
import torch

from archfab import Space, choose, nn, registry, repeat
from archfab.core import Spec
from archfab.estimators._bilevel import expected_cost, first_order, keep_others, second_order, with_costs
from archfab.evaluate import Workbench
from archfab.lowering.mixture import Mixture
from archfab.strategies._gradient import Gradient


def small_case(seed=0):
    """A linear mixture of two maps in double precision: L_train and L_held as functions of weights and logits."""
    draws = torch.Generator().manual_seed(seed)
    def normal(*shape):
        return torch.randn(*shape, generator=draws, dtype=torch.double)

    x, y, u, v = normal(12, 3), normal(12, 2), normal(10, 3), normal(10, 2)
    weights = [normal(3, 2).requires_grad_(), normal(3, 2).requires_grad_()]
    logits = [normal(2).requires_grad_()]

    def loss(inputs, targets, weights=weights, logits=logits):
        p = logits[0].softmax(0)
        mixed = p[0] * (inputs @ weights[0]).tanh() + p[1] * (inputs @ weights[1])
        return ((mixed - targets) ** 2).mean()

    return weights, logits, lambda *a: loss(x, y, *a), lambda *a: loss(u, v, *a)


@pytest.mark.parametrize("seed", range(5))
def test_the_second_order_gradient_is_that_of_the_loss_after_a_step(seed):
    """d/da L_held(w - step dL_train/dw, a), as a central difference of the whole expression."""
    weights, logits, train, held = small_case(seed)
    step = 0.05
    before = [w.detach().clone() for w in weights]
    found = second_order(held, train, logits, weights, step)[0]
    assert all(torch.equal(a, b) for a, b in zip(before, weights, strict=True))

    def ahead(a):
        gradients = torch.autograd.grad(train(weights, [a]), weights)
        return float(held([w - step * g for w, g in zip(weights, gradients, strict=True)], [a]).detach())

    for i in range(2):
        change = torch.zeros(2, dtype=torch.double)
        change[i] = 1e-5
        a = logits[0].detach()
        difference = (ahead(a + change) - ahead(a - change)) / 2e-5
        assert float(found[i]) == pytest.approx(difference, rel=2e-3, abs=1e-6)
    assert not torch.allclose(found, first_order(held, logits)[0], rtol=1e-3)


def test_without_a_step_ahead_the_second_order_is_the_first():
    weights, logits, train, held = small_case()
    assert torch.allclose(second_order(held, train, logits, weights, 0.0)[0], first_order(held, logits)[0])


def test_a_drawn_pair_moves_without_changing_the_chances_of_the_others():
    before = torch.tensor([0.3, -1.0, 0.7, 0.1])
    logits = before + torch.tensor([0.5, 9.0, -0.2, 9.0])
    keep_others(logits, before, [0, 2])
    assert torch.allclose(logits.softmax(0)[[1, 3]], before.softmax(0)[[1, 3]])
    moved = (before + torch.tensor([0.5, 0, -0.2, 0]))[[0, 2]].softmax(0)
    assert torch.allclose(logits[[0, 2]].softmax(0), moved)


# --- expected costs

class Likely(Gradient):
    """The network of the first options, and the table around it."""

    def lesson(self):
        return {}


def priced(space_name="mobile", device="cortex-m7", figure="latency_ms"):
    task = registry.load("tasks", "vision")()
    space = Space(task.space(space_name))
    spec = Spec(task="vision", space=space.data, objectives={"error": "min"}, device=device)
    bench = Workbench(spec, task, space)
    strategy = Likely(space, {"error": "min"})
    strategy.hints = bench.hints
    return space, bench, strategy, figure


@pytest.mark.parametrize("space_name", ["mobile", "cell", "attention"])
def test_the_expected_cost_at_one_hot_is_the_devices_own_figure(space_name):
    space, bench, strategy, figure = priced(space_name)
    rng = random.Random(3)
    base = space.sample(rng)
    strategy.chances = {name: {label: float(base.get(name, labels[0]) == label) for label in labels}
                        for name, labels in space.labels.items()}
    assert strategy.likely() == base
    cost = strategy.costs(figure, 1.0, "plus")
    labels = {name: list(each) for name, each in space.labels.items()}

    def expected(genotype):
        one_hot = {name: torch.tensor([float(genotype.get(name, base.get(name)) == label) for label in each])
                   for name, each in labels.items() if name in base}
        return float(expected_cost(cost, one_hot, labels))

    assert expected(base) == pytest.approx(bench.costs(base).figures[figure].value, rel=1e-6)
    for name in rng.sample(list(base), min(5, len(base))):
        label = rng.choice(labels[name])
        near = space.fix({**base, name: label})
        if set(near) == set(base):
            assert expected(near) == pytest.approx(bench.costs(near).figures[figure].value, rel=1e-5)


def test_the_gradient_of_the_expected_cost_is_that_of_the_sum_over_options():
    cost = {"base": 10.0, "table": {"a": {"labels": [1, 2, 3], "costs": [10.0, 14.0, 8.0]}}}
    logits = torch.tensor([0.2, -0.3, 0.5], dtype=torch.double, requires_grad=True)

    def total(x):
        return expected_cost(cost, {"a": x.softmax(0)}, {"a": [1, 2, 3]})

    p = [math.exp(v) for v in (0.2, -0.3, 0.5)]
    assert float(total(logits)) == pytest.approx(10 * 1.4 ** (p[1] / sum(p)) * 0.8 ** (p[2] / sum(p)))
    assert torch.autograd.gradcheck(total, (logits,))


def test_a_table_serves_options_that_were_dropped_and_labels_that_look_alike():
    cost = {"base": 1.0, "table": {"a": {"labels": [1, 1.0, True, "1"], "costs": [1.0, 2.0, 3.0, 4.0]}}}
    chances = {"a": torch.tensor([0.0, 1.0])}
    assert float(expected_cost(cost, chances, {"a": [1, True]})) == pytest.approx(3.0)
    assert float(expected_cost(cost, chances, {"a": ["1", 1.0]})) == pytest.approx(2.0)


def two_ops():
    space = Space([choose("op", skip=nn.Identity(), conv=nn.Conv2d(3, 3, padding=1)), nn.Flatten(), nn.Linear(2)])
    return Mixture(space, (torch.zeros(2, 3, 5, 5),))


def test_what_is_paid_for_skips_and_indecision_pushes_where_it_says():
    mixture = two_ops()
    with torch.no_grad():
        mixture.logits[0].copy_(torch.tensor([0.4, -0.1]))

    def gradient(**data):
        return torch.autograd.grad(with_costs(torch.zeros(()), mixture, data), mixture.logits[0])[0]

    skips = gradient(skip_penalty=1.0, skips={"op": ["skip"]})
    assert skips[0] > 0 > skips[1]                      # descent makes the skip less likely
    zero_one = gradient(zero_one=1.0)
    assert zero_one[0] < 0 < zero_one[1]                # descent moves each sigmoid away from a half
    cost = {"base": 2.0, "weight": 0.5, "table": {"op": {"labels": ["skip", "conv"], "costs": [2.0, 5.0]}}}
    for form in ("plus", "times"):
        loss = with_costs(torch.ones((), requires_grad=True), mixture, {"cost": {**cost, "form": form}})
        found = torch.autograd.grad(loss, mixture.logits[0])[0]
        assert found[1] > 0 > found[0]                  # and the dearer option less likely


def test_costs_and_penalties_are_what_the_papers_say():
    mixture = two_ops()
    with torch.no_grad():
        mixture.logits[0].copy_(torch.tensor([0.4, -0.1]))
    p = [math.exp(v) / (math.exp(0.4) + math.exp(-0.1)) for v in (0.4, -0.1)]
    cost = {"base": 2.0, "weight": 0.6, "table": {"op": {"labels": ["skip", "conv"], "costs": [2.0, 5.0]}}}
    expected = 2 * 2.5 ** p[1]

    def found(**data):
        return float(with_costs(torch.tensor(1.7), mixture, data).detach())

    assert found(cost={**cost, "form": "plus"}) == pytest.approx(1.7 + 0.6 * expected / 2)
    assert found(cost={**cost, "form": "times"}) == pytest.approx(1.7 * math.log2(1 + expected / 2) ** 0.6)
    assert found(skip_penalty=3.0, skips={"op": ["skip"]}) == pytest.approx(1.7 + 3 * p[0])
    sigmoids = [1 / (1 + math.exp(-v)) for v in (0.4, -0.1)]
    assert found(zero_one=10.0) == pytest.approx(1.7 - 10 * sum((s - 0.5) ** 2 for s in sigmoids) / 2)


def test_networks_come_in_the_order_of_their_probability():
    space = Space([choose("a", 1, 2, 3), choose("b", x=choose("c", 1, 2), y=[]), repeat(choose("n", 0, 1),
                                                                                    lambda i: choose("d", 5, 6))])
    strategy = Likely(space, {"error": "min"}, lessons=1)
    rng = random.Random(1)
    from archfab.core import Event
    chances = {name: [rng.random() + 0.1 for _ in labels] for name, labels in space.labels.items()}
    strategy.tell(Event("lesson", data={"labels": {n: list(each) for n, each in space.labels.items()},
                                        "chances": chances}))
    found = []
    for number in itertools.count():
        trial = strategy.ask(number, rng)
        if trial is None:
            break
        found.append(trial.genotype)
        strategy.tell(Event("asked", trial))
    assert len(found) == space.size == len({Space.id(genotype) for genotype in found})
    assert found[0] == strategy.likely() and min(map(strategy.gap, space)) == pytest.approx(strategy.gap(found[0]))
