"""What gradients a mixture gives its logits: those of the methods' formulas and of finite differences."""

import pytest
import torch
from test_mixture import mixed, opened
from zoo import address, case, close, normal, shake, views

from archfab import Space, choose, nn, repeat

# --- gradients

@pytest.mark.parametrize(("size", "name"), [(None, "cell"), pytest.param(None, "darts", marks=pytest.mark.slow)])
def test_derivatives_by_logits_are_those_of_finite_differences(size, name):
    space, x = case(size, name)
    mixture, x = mixed(space, x).double().eval(), x[:2].double()
    shake(mixture.elastic)
    logits = [normal(len(each), seed=i).double().requires_grad_() for i, each in enumerate(mixture.logits)]

    def loss(values):
        return opened(mixture, values)(x).logsumexp(1).sum()

    found = torch.autograd.grad(loss(logits), logits)
    for k in range(0, len(logits), 5):
        for i in range(len(logits[k])):
            with torch.no_grad():
                up, down = (loss([each + (1e-6 * sign * torch.eye(len(each))[i] if j == k else 0)
                                  for j, each in enumerate(logits)]) for sign in (1, -1))
            assert float((up - down) / 2e-6) == pytest.approx(float(found[k][i]), rel=1e-5, abs=1e-7)


GATED = {
    "row": lambda: [choose("op", a=nn.Linear(3), b=nn.Linear(3), c=nn.Linear(3))],
    "cell": lambda: [nn.Cell([choose("op", **{label: [nn.Edge(0, nn.Linear(3))] for label in "abc"})])],
    "length": lambda: [repeat(choose("op", 1, 2, 3), lambda i: nn.Linear(3))],
}


@pytest.mark.parametrize("name", GATED)
def test_the_gradient_of_gates_is_that_of_proxylessnas_of_both_that_were_drawn(name):
    """dL/da_i = sum_j dL/dg_j p_j (delta_ij - p_i), dL/dg_j = <dL/dy, y_j>, with L = <c, y> of the output."""
    space = Space([*GATED[name](), nn.Flatten()])
    mixture, x, c = mixed(space, torch.zeros(1, 3)).double(), normal(2, 3).double(), normal(2, 3, seed=9).double()
    labels = mixture.gates.labels["op"]
    values = [(c * mixture.elastic.extract({"op": label})(x)).sum() for label in labels]
    for seed in range(8):
        mixture.zero_grad()
        mixture.weigh("gates", 1.0, torch.Generator().manual_seed(seed))
        two, kept = mixture.gates.active["op"], int(mixture.gates.weights["op"].argmax())
        y = mixture(x)
        assert close(y, mixture.elastic.extract({"op": labels[kept]})(x))
        (c * y).sum().backward()
        p = mixture.logits[0].detach()[two].softmax(0)
        wanted = torch.zeros(3, dtype=torch.float64)
        for i, at in enumerate(two):
            wanted[at] = sum(values[two[j]] * p[j] * (float(i == j) - p[i]) for j in range(2))
        assert torch.allclose(mixture.logits[0].grad, wanted, atol=1e-12) and bool((wanted[two] != 0).all())


def test_the_hard_choice_computes_one_option_and_its_gradient_is_soft():
    space = Space([choose("op", a=nn.Linear(3), b=nn.Linear(3)), nn.Flatten()])
    mixture, x = mixed(space, torch.zeros(1, 3)), normal(2, 3)
    mixture.weigh("hard_gumbel", 1.0, torch.Generator().manual_seed(0))
    (best,) = mixture.gates.active["op"]
    y = mixture(x)
    y.sum().backward()
    label = mixture.gates.labels["op"][best]
    assert close(y, mixture.elastic.extract({"op": label})(x)) and bool((mixture.logits[0].grad != 0).all())
    learnt = {address(parameter) for parameter in mixture.elastic.parameters() if parameter.grad is not None}
    assert learnt == {address(tensor) for tensor in views(mixture.elastic.at({"op": label})).values()}


def test_what_is_let_through_alone_is_not_weighed_and_trains_the_weights_alone():
    space, x = case(None, "darts")
    mixture = mixed(space, x)
    mixture.weigh("one_path", 1.0, torch.Generator().manual_seed(1))
    genotype = space.fix({name: mixture.gates.labels[name][mixture.gates.active[name][0]] for name in mixture.names})
    twin = mixture.elastic.extract(genotype)
    for net in (mixture, twin):
        net.train()(x).logsumexp(1).sum().backward()
    assert all(each.grad is None for each in mixture.logits)
    found = sum(float(each.grad.square().sum()) for each in mixture.elastic.parameters() if each.grad is not None)
    assert found == pytest.approx(sum(float(each.grad.square().sum()) for each in twin.parameters()), rel=1e-3)
