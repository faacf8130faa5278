"""Point-process networks: causality, likelihoods against closed forms and double sums, padding, integrals."""

import importlib
import random

import numpy as np
import pytest
import torch

from archfab.lowering.concrete import build
from archfab.space import Space
from archfab.tasks.events.batches import padded
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.evaluation import by_type, log_likelihoods
from archfab.tasks.events.heads import FLOOR, Head, intensities_alone
from archfab.tasks.events.integral import integral
from archfab.tasks.events.known import neural_hawkes, transformer
from archfab.tasks.events.processes import HawkesModule
from archfab.tasks.events.spaces import NEURAL_HAWKES, TRANSFORMER, default

TYPES, ROWS = 3, 12
RATES = (0.5, 0.3, 0.2)
SPACE = Space(default(TYPES, list(RATES)))
ALL = {"hawkes": {"encoder": "hawkes"}, "inhibiting": {"encoder": "inhibiting"},
       "continuous": {"encoder": "continuous", "layers": 2, "time": "none"},
       **{f"recurrent-{head}": {"encoder": "recurrent", "head": head, "time": "waves"}
          for head in ("decay", "exponential", "linear", "loglogistic")},
       **{f"attention-{head}": {"encoder": "attention", "head": head, "fading": head != "linear"}
          for head in ("decay", "exponential", "linear", "loglogistic")}}


def example(batch=1, rows=ROWS):
    return (torch.zeros(batch, rows, dtype=torch.int64), torch.zeros(batch, rows), torch.zeros(batch, rows, 1))


def network(name, seed=0):
    torch.manual_seed(seed)
    genotype = SPACE.walk(lambda choice: ALL[name].get(choice.name, SPACE.labels[choice.name][-1]))
    model = build(SPACE, genotype, example()).double().eval()
    with torch.no_grad():
        for weight in model.parameters():           # far from where networks begin
            weight += 0.3 * torch.randn_like(weight)
    return model


def drawn(seed, number=5, most=ROWS - 1, ends=True):
    rng, found = np.random.default_rng(seed), []
    for _ in range(number):
        n = int(rng.integers(1, most + 1))
        times = np.cumsum(rng.exponential(size=n))
        found.append(Sequence(times, rng.integers(0, TYPES, n), 0.0, float(times[-1] + rng.exponential())))
    return found


def doubled(data):
    return [tensor.double() if tensor.is_floating_point() else tensor for tensor in data]


@pytest.mark.parametrize("name", ALL)
def test_an_intensity_knows_the_past_alone(name):
    """Changing event i's type, its time, or whatever comes later leaves every intensity up to t_i bit by bit."""
    model, generator = network(name), torch.Generator().manual_seed(1)
    types = torch.randint(0, TYPES, (2, ROWS), generator=generator)
    gaps, waits = (torch.rand(2, ROWS, *shape, generator=generator).double() for shape in ((), (3,)))
    before = model(types, gaps, waits)
    for i in range(1, ROWS):
        other, moved = types.clone(), gaps.clone()
        other[:, i:], moved[:, i:] = (other[:, i:] + 1) % TYPES, moved[:, i:] + 1
        for one, changed in zip(before, model(other, moved, waits), strict=True):
            assert torch.equal(one[:, :i], changed[:, :i])
            assert not torch.equal(one[:, i:], changed[:, i:])


@pytest.mark.parametrize("name", ALL)
def test_padding_changes_nothing(name):
    model, sequences = network(name), drawn(2)
    together = log_likelihoods(model, Doubled(padded(sequences, TYPES, 1.0, ROWS)))
    alone = [log_likelihoods(model, Doubled(padded([each], TYPES, 1.0)))[0] for each in sequences]
    assert together == pytest.approx(alone, abs=1e-9)


class Doubled:
    """A batch in double precision."""

    def __init__(self, data):
        self.data = data
        self.types, self.gaps, self.waits, self.following, self.scored = doubled(data.tensors)

    def __len__(self):
        return len(self.types)

    def __getitem__(self, chosen):
        return Doubled(self.data[chosen])

    @property
    def inputs(self):
        return self.types, self.gaps, self.waits[..., None]


@pytest.mark.parametrize("name", ALL)
def test_the_next_event_comes_with_probability_one_or_the_window_ends(name):
    """The sum over types of the integral of lambda_k exp(-Lambda) and the survival make 1."""
    model, data = network(name), Doubled(padded(drawn(3), TYPES, 1.0, ROWS))
    times = torch.cat([torch.zeros(1), torch.logspace(-4, 0.3, 500)]).double()
    with torch.no_grad():
        rates, grown = model(data.types[:1], data.gaps[:1], times.expand(1, ROWS, len(times)))
    density = (rates.sum(-1) * torch.exp(-grown)).numpy()
    assert np.trapezoid(density, times.numpy(), axis=-1) + np.exp(-grown[..., -1].numpy()) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", ALL)
def test_compensators_are_integrals_of_the_intensities(name):
    model, data = network(name), Doubled(padded(drawn(4), TYPES, 1.0, ROWS))
    times = torch.linspace(0, 1, 401).double()
    with torch.no_grad():
        rates, grown = model(data.types[:1], data.gaps[:1], 2 * times.expand(1, ROWS, 401) ** 2)
    found = np.trapezoid(rates.sum(-1).numpy(), 2 * times.numpy() ** 2, axis=-1)
    assert grown[..., -1].numpy() == pytest.approx(found, rel=1e-3)       # 16 points, and weights far from usual ones
    assert (grown[..., 0] == 0).all() and (grown.diff(dim=-1) > 0).all()


def test_each_types_compensator_adds_up_to_the_whole():
    model, data = network("recurrent-exponential").float(), padded(drawn(5), TYPES, 1.0, ROWS)
    with torch.no_grad():
        whole = model(*data.inputs)[1][..., 0]
    assert by_type(model, data).sum(-1) == pytest.approx(whole.numpy(), rel=1e-4, abs=1e-6)


def test_random_points_are_unbiased_and_quadrature_converges():
    """exp(-3 u) + 0.2 up to 2: the exact integral is (1 - exp(-6)) / 3 + 0.4."""
    exact, waits = (1 - np.exp(-6)) / 3 + 0.4, torch.full((20_000, 1, 1), 2.0).double()

    def rate(u):
        return (torch.exp(-3 * u) + 0.2)[..., None]

    errors = [abs(float(integral(rate, waits[:1], False, nodes)) - exact) for nodes in (2, 4, 8, 16)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-9
    torch.manual_seed(0)
    for nodes in (1, 8):
        values = integral(rate, waits, True, nodes).flatten()
        assert abs(values.mean() - exact) < 4 * values.std() / len(values) ** 0.5
    assert values.std() < 0.05
    torch.manual_seed(0)
    again = integral(rate, waits, True, 1).flatten()
    assert not torch.equal(again, integral(rate, waits, True, 1).flatten())


def test_the_sampled_loss_has_the_exact_mean():
    """A decaying head in training: the mean over many draws of its compensator is the quadrature's."""
    model, data = network("recurrent-decay"), Doubled(padded(drawn(6, number=1), TYPES, 1.0, ROWS))
    repeated = [each.repeat(1000, *[1] * (each.dim() - 1)) for each in data.inputs]
    with torch.no_grad():
        exact = model(*data.inputs)[1].sum()
        sampled = model.train()(*repeated)[1].sum((1, 2))
    assert abs(sampled.mean() - exact) < 4 * sampled.std() / 1000**0.5


def test_a_network_that_mimics_poisson_has_its_likelihood():
    """All weights 0 but the biases: rates are constants, and the likelihood is sum n_k log r_k - r T."""
    for name in ("continuous", "recurrent-exponential", "recurrent-decay", "attention-linear"):
        model = network(name)
        with torch.no_grad():
            for weight in model.parameters():
                weight.zero_()
        sequences = drawn(7)
        counts = np.array([np.bincount(each.types, minlength=TYPES) for each in sequences])
        rates = np.array(RATES) + FLOOR
        expected = counts @ np.log(rates) - rates.sum() * np.array([each.length for each in sequences])
        assert log_likelihoods(model, Doubled(padded(sequences, TYPES, 1.0, ROWS))) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("exponentials", [1, 3])
def test_the_hawkes_module_equals_the_double_sum(exponentials):
    torch.manual_seed(0)
    model = HawkesModule(TYPES, RATES, exponentials).double()
    base, weights, decays = (each.detach().numpy() for each in model.parameters_of())
    sequences = drawn(8)
    found = log_likelihoods(model, Doubled(padded(sequences, TYPES, 1.0, ROWS)))
    for each, value in zip(sequences, found, strict=True):
        total = -base.sum() * each.length
        for i, (time, kind) in enumerate(zip(each.times, each.types, strict=True)):
            past = time - each.times[:i]
            rate = base[kind] + sum((weights[m, each.types[:i], kind] * decays[m] * np.exp(-decays[m] * past)).sum()
                                    for m in range(exponentials))
            total += np.log(rate) - sum((weights[m, kind] * (1 - np.exp(-decays[m] * (each.end - time)))).sum()
                                        for m in range(exponentials))
        assert value == pytest.approx(total, abs=1e-6)         # gaps are single precision


def test_the_hawkes_module_agrees_with_the_classical_code():
    from archfab.tasks.events.hawkes.parameters import Parameters
    from archfab.tasks.events.hawkes.process import Hawkes
    model = HawkesModule(TYPES, RATES, 2).double()
    base, weights, decays = (each.detach().numpy() for each in model.parameters_of())
    sequences = drawn(9)
    theirs = Hawkes(Parameters(base, weights, decays[:, None, None])).log_likelihoods(sequences)
    assert log_likelihoods(model, Doubled(padded(sequences, TYPES, 1.0, ROWS))) == pytest.approx(theirs, abs=1e-6)


def test_the_inhibiting_module_agrees_with_the_classical_code(monkeypatch):
    from archfab.tasks.events.hawkes.history import History
    from archfab.tasks.events.hawkes.linked import LinkedHawkes
    from archfab.tasks.events.hawkes.parameters import Parameters
    model, sequences = network("inhibiting"), drawn(9)
    base, weights, decays = (each.detach().numpy() for each in model.parameters_of())
    assert (weights < 0).any() and (weights > 0).any()
    softness = (model.rates * torch.exp(5.0 * model.softness)).detach().numpy()
    theirs = LinkedHawkes(Parameters(base, weights, decays[:, None, None]), softness, FLOOR)
    data = Doubled(padded(sequences, TYPES, 1.0, ROWS))
    assert log_likelihoods(model, data) == pytest.approx(theirs.log_likelihoods(sequences), rel=1e-4)
    monkeypatch.setattr("archfab.tasks.events.integral.NODES", 100)
    exact = sum(float(part.sum()) for part in theirs.increments(History(sequences, TYPES), 200))
    assert float(model(*data.inputs)[1].detach().sum()) == pytest.approx(exact, abs=1e-5)


def test_asked_for_one_row_a_network_says_what_it_says_of_all():
    data, rows = Doubled(padded(drawn(11), TYPES, 1.0, ROWS)), torch.tensor([0, 3, 1, 11, 5])
    for name in ALL:
        model, waits = network(name), torch.rand(5, 1, 4).double()
        with torch.no_grad(), intensities_alone(model):
            whole = model(data.types, data.gaps, waits.expand(5, ROWS, 4))[0]
        with torch.no_grad(), intensities_alone(model, rows):
            one = model(data.types, data.gaps, waits)[0]
        assert torch.allclose(one[:, 0], whole[torch.arange(5), rows], atol=1e-12)


def test_an_event_that_opens_the_window_is_given_and_not_scored():
    """The same numbers by hand: a Poisson network scores n - 1 events over the window."""
    model = network("recurrent-exponential")
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    opened = Sequence(np.array([1.0, 2.0, 2.0, 4.0]), np.array([0, 1, 2, 0]), 1.0, 5.0)
    rates = np.array(RATES) + FLOOR
    expected = np.log(rates[[1, 2, 0]]).sum() - 4 * rates.sum()
    assert log_likelihoods(model, Doubled(padded([opened], TYPES, 1.0))) == pytest.approx(expected, abs=1e-6)


def test_asked_for_intensities_alone_heads_compute_no_integral():
    model, data = network("continuous"), Doubled(padded(drawn(10), TYPES, 1.0, ROWS))
    with torch.no_grad():
        full = model(*data.inputs)
        with intensities_alone(model):
            rates, nothing = model(*data.inputs)
        assert torch.equal(rates, full[0]) and not nothing.any() and full[1].any()
    assert not any(part.alone for part in model.modules() if isinstance(part, Head))


@pytest.mark.parametrize("make, decided, sizes", [
    (neural_hawkes, NEURAL_HAWKES, {}), (transformer, TRANSFORMER, {"blocks": 2, "ratio": 2})])
def test_the_networks_of_the_literature_are_in_the_space(make, decided, sizes):
    labels = {name: each[len(each) // 2] for name, each in SPACE.labels.items()} | decided | sizes
    ours = build(SPACE, SPACE.walk(lambda choice: labels[choice.name]), example())
    known = make(RATES)
    assert {tuple(w.shape) for w in ours.parameters()} == {tuple(w.shape) for w in known.parameters()}
    assert sum(w.numel() for w in ours.parameters()) == sum(w.numel() for w in known.parameters())
    known.load_state_dict(dict(zip(known.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randint(0, TYPES, (2, ROWS)), torch.rand(2, ROWS), torch.rand(2, ROWS, 2)
    for one, other in zip(ours.eval()(*x), known.eval()(*x), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("lowering", ["concrete", "elastic", "mixture"])
def test_every_lowering_takes_the_space(lowering):
    possible, because = importlib.import_module(f"archfab.lowering.{lowering}").supports(SPACE, example())
    assert possible, because


def test_a_network_on_shared_weights_is_the_extracted_one():
    from archfab.lowering.elastic import Elastic
    torch.manual_seed(0)
    shared, rng = Elastic(SPACE, example()), random.Random(0)
    x = torch.randint(0, TYPES, (2, ROWS)), torch.rand(2, ROWS), torch.rand(2, ROWS, 1)
    for encoder in SPACE.labels["encoder"]:
        genotype = SPACE.walk(lambda c, e=encoder: e if c.name == "encoder" else rng.choice(SPACE.labels[c.name]))
        with torch.no_grad():
            for one, other in zip(shared.at(genotype).eval()(*x), shared.extract(genotype).eval()(*x), strict=True):
                assert torch.allclose(one, other, atol=1e-6)
