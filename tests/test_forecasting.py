"""The task of forecasting: networks as their equations say, training on the loss that a network decides, intervals."""

import copy
import math
import random

import numpy as np
import pytest
import torch

from archfab import Space
from archfab.core import Budget, UsageError
from archfab.learning import seed_torch
from archfab.lowering.concrete import build
from archfab.lowering.elastic import Elastic
from archfab.registry import load
from archfab.tasks.forecasting import baselines, intervals, nbeats
from archfab.tasks.forecasting.ensemble import middle
from archfab.tasks.forecasting.losses import loss_of
from archfab.tasks.forecasting.windows import Batch, Sampler

Forecasting = load("tasks", "forecasting")


@pytest.fixture(scope="module")
def shops():
    return Forecasting(ets=0)


def network(task, name="interpretable", seed=0, **decided):
    space = Space(task.space(name))
    genotype = space.fix({**space.sample(random.Random(seed)), **decided})
    seed_torch(random.Random(seed))
    return build(space, genotype, task.example())


def stirred(model, seed=0):
    """Weights drawn at random, heads too, which begin at zero."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=draws) / weight.shape[-1] ** 0.5)
    return model.eval()


def windows(task, number=24):
    return torch.from_numpy(task.parts.windows["validation"].inputs[:number]).float()


# --- networks

@pytest.mark.parametrize("name", Forecasting.spaces)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_parts_sum_to_the_forecast_to_the_last_bit(shops, name, seed):
    """An ensemble of an odd number of members takes each step from the one whose forecast is the median."""
    odd = {"lookbacks": "short", "losses": "three", "repeats": 1} if name == "ensemble" else {}
    model, x = stirred(network(shops, name, seed, **odd)), windows(shops)
    parts = list(model.decomposition(x).values())
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert len(parts) > 1 and all(part.abs().max() > 0 for part in parts)
    assert torch.equal(total if model.quantiles else total[:, 0], model(x))


def test_an_even_ensemble_has_the_mean_of_the_two_in_the_middle(shops):
    model = stirred(network(shops, "ensemble", lookbacks="long", losses="smape", repeats=2))
    x = windows(shops)
    said = torch.stack([member(x) for member in model.members])
    assert len(said) == 6
    assert torch.allclose(model(x), said.sort(0).values[2:4].mean(0))
    assert torch.allclose(sum(model.decomposition(x).values())[:, 0], model(x), rtol=1e-4, atol=1e-2)
    assert torch.equal(middle(said[:5]), said[:5].median(0).values)


def test_a_stack_is_what_the_equations_say(shops):
    """One trend block by hand: layers, coefficients, backcast and forecast on t^i, and what is left of the past."""
    model = stirred(network(shops, lookback=36, start=1, **{"trend.layers": 2, "trend.degree": 2}))
    x = windows(shops)[:5, -36:]
    scale = x.abs().max(1).values
    past = x.flip(1) / scale[:, None]
    stack = model.stacks[0]
    state = model.start(windows(shops)[:5])
    assert torch.allclose(state[0], past) and torch.allclose(state[3][:, 0], x[:, -1:].expand(-1, 12))
    block = stack.blocks
    first, second = block.body[0], block.body[2]
    residual, total = past, torch.zeros(5, 12)
    for _ in range(3):                                              # the blocks share one set of weights
        hidden = (second(first(residual).relu())).relu()
        backward, forward = block.back(hidden), block.ahead(hidden)
        t = (torch.arange(36) + 1) / 84
        backcast = sum(backward[:, i:i + 1] * t ** i for i in range(3))
        total = total + sum(forward[:, i:i + 1] * (torch.arange(12) / 12) ** i for i in range(3))
        residual = residual - backcast
    after, part = stack.part(state)
    assert torch.allclose(after, residual, rtol=1e-3, atol=1e-4)
    assert torch.allclose(part[:, 0], total * scale[:, None], rtol=1e-3, atol=1e-2)


def test_harmonics_go_on_from_the_past_into_the_future():
    future = nbeats.BasisModule("seasonality", 5, 12, 1, 12, 84).values
    past = nbeats.BasisModule("seasonality", 5, 24, -1, 12, 84).values
    t = torch.cat([-(torch.arange(24) + 1).flip(0), torch.arange(12)]).double()
    line = torch.cat([past.flip(1), future], 1).double()
    by_hand = [torch.ones(36).double(), (torch.pi * t / 6).cos(), (torch.pi * t / 6).sin(), (torch.pi * t / 3).cos(),
               (torch.pi * t / 3).sin()]
    assert torch.allclose(line, torch.stack(by_hand), atol=1e-6)
    smaller = nbeats.BasisModule("seasonality", 3, 12, -1, 12, 84).values
    assert torch.equal(past[:3, :12], smaller)          # so that networks can share them


def test_a_fresh_network_is_the_naive_or_the_seasonal_naive_forecast(shops):
    window = shops.parts.windows["validation"]
    for start, method in ((1, baselines.naive), (12, baselines.seasonal_naive)):
        said = intervals.raw(network(shops, start=start), window.inputs, 12).value
        assert said == pytest.approx(window.simple(method), rel=1e-6)


def test_missing_values_are_neither_seen_nor_explained(shops):
    """What lies before a series' beginning changes nothing, and a missing value is no zero."""
    model = stirred(network(shops, lookback=84, start=12))
    x = windows(shops)[:6]
    holes = x.clone()
    holes[:, :40] = float("nan")
    holes[:, [70, 83]] = float("nan")
    zeros = holes.nan_to_num(0.0)
    said = model(holes)
    assert said.isfinite().all() and not torch.allclose(said, model(zeros))
    residual, known, *_ = model.stacks(model.start(holes))
    assert (residual[known == 0] == 0).all() and (known.sum(1) == 42).all()
    level = network(shops, lookback=84, start=1)
    assert torch.equal(level.eval()(holes), holes[:, 82:83].expand(-1, 12))         # the last known value
    cycle = network(shops, lookback=84, start=12)(holes)
    assert torch.equal(cycle[:, 11], holes[:, 71]) and torch.equal(cycle[:, 10], holes[:, 82])


@pytest.mark.parametrize("start", [1, 12])
def test_zeros_alone_are_forecast_as_zero(shops, start):
    model = stirred(network(shops, lookback=36, start=start))
    x = windows(shops)[:3]
    x[0, -36:] = 0.0
    x[1, -36:] = float("nan")
    said = model(x)
    assert (said[:2] == 0).all() and (said[2] != 0).all()


@pytest.mark.parametrize("factor", [1e-3, 1e4])
def test_forecasts_have_the_unit_of_the_data(shops, factor):
    model, x = stirred(network(shops, "mixed", 3)), windows(shops)
    assert torch.allclose(model(factor * x), factor * model(x), rtol=1e-3, atol=1e-3 * factor)


@pytest.mark.parametrize("name", ["interpretable", *(pytest.param(name, marks=pytest.mark.slow)
                                                     for name in ("mixed", "generic", "modules", "ensemble"))])
def test_networks_are_views_on_shared_weights(shops, name):
    """What a view says, the network that is taken out says too; a shorter look-back has the latest weights."""
    space = Space(shops.space(name))
    shared = stirred(Elastic(space, shops.example()))
    x = windows(shops)
    for seed in range(3):
        genotype = space.sample(random.Random(seed))
        assert torch.allclose(shared.at(genotype).eval()(x), shared.extract(genotype).eval()(x), rtol=1e-4, atol=1e-2)


# --- training

@pytest.mark.parametrize("loss", ["smape", "mase", "mape", "quantiles"])
def test_losses_by_hand(loss):
    truth = torch.tensor([[10.0, float("nan")], [2.0, 0.1]])
    forecast = torch.tensor([[8.0, 1e6], [4.0, 1.0]], requires_grad=True)
    scale = torch.tensor([2.0, 0.5])
    batch = Batch(torch.zeros(2, 4), truth, scale)
    off = [2 / 18, 2 / 6, 0.9 / 1.1]
    expected = {"smape": 2 * sum(off) / 3, "mase": (2 / 2 + 2 / 0.5 + 0.9 / 0.5) / 3,
                "mape": (2 / 10 + 2 / 2 + 0.9 / 0.5) / 3}
    if loss == "quantiles":
        both = torch.stack([forecast, forecast + 1], 1)
        each = [(0.1 * 2, 0.9 * 1), (0.9 * 2, 0.1 * 3), (0.9 * 0.9, 0.1 * 1.9)]
        found = loss_of(loss, both, (0.1, 0.9), batch)      # 8, 9 of 10; 4, 5 of 2; 1, 2 of .1
        wanted = 2 * sum((a + b) / 2 / s for (a, b), s in zip(each, (2, 0.5, 0.5), strict=True)) / 3
    else:
        found, wanted = loss_of(loss, forecast, (), batch), expected[loss]
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-5)
    found.backward()
    assert forecast.grad.isfinite().all() and forecast.grad[0, 1] == 0


def test_windows_are_those_of_the_series():
    values = [np.arange(100.0, 160), np.arange(1000.0, 1025)]
    values[0][50] = np.nan
    sampler = Sampler(values, np.array([1.0, 7.0]), 20, 5, 10, 30)
    batch = sampler.draw(4000, torch.Generator().manual_seed(0))
    late = batch.scale == 7
    assert 0.45 < late.float().mean() < 0.55                                   # series evenly
    last = batch.inputs[:, -1]
    for mask, first, end in ((~late, 130, 159), (late, 1010, 1024)):            # origins evenly, the last one too
        origins = (batch.inputs[mask].nan_to_num(-1).max(1).values + 1).round()
        known = set(origins.int().tolist())
        assert min(known) == first and max(known) == end and len(known) >= end - first
    joined = torch.cat([batch.inputs, batch.truth], 1)
    steps = joined[:, 1:] - joined[:, :-1]
    assert ((steps == 1) | steps.isnan()).all()                                # in order, none left out
    assert batch.truth[:, 0].isnan().logical_not().float().mean() > 0.9
    assert last.isnan().any() and (~batch.truth.isnan()).any(1).all()          # something to learn from in each
    again = sampler.draw(4000, torch.Generator().manual_seed(0))
    assert torch.equal(again.inputs.nan_to_num(), batch.inputs.nan_to_num())


def test_same_seed_same_weights(shops):
    def trained(seed):
        rng = random.Random(seed)
        seed_torch(rng)
        space = Space(shops.space())
        model = build(space, space.sample(random.Random(0)), shops.example())
        shops.fit(model, Budget(steps=4), rng)
        return model.state_dict()

    one, two, three = map(trained, (0, 0, 1))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not all(torch.equal(one[key], three[key]) for key in one)


def test_training_beats_naive2_on_the_example(shops):
    model = network(shops, lookback=36, loss="mase", start=1,
                    **{"season.harmonics": 6, "season.width": 128, "season.layers": 2, "trend.width": 64,
                       "trend.layers": 2})
    before = shops.score(model)["owa"]
    curve = shops.fit(model, Budget(epochs=4), random.Random(0))
    found = shops.score(model)
    assert before > 2 and found["owa"] < 1 and found["owa"] == pytest.approx(min(row["validation"] for row in curve))
    assert found["owa"].low < found["owa"] < found["owa"].high
    assert 0.85 < found["coverage"] <= 1


def test_members_are_trained_each_on_its_own_loss(shops):
    """As alone: with the same first weights and the same batches."""
    model = network(shops, "ensemble", lookbacks="short", losses="three", repeats=1)
    assert [(m.lookback, m.loss) for m in model.members] == [
        (n, loss) for n in (24, 36, 48) for loss in ("smape", "mase", "mape")]
    alone = copy.deepcopy(model.members[0])
    shops.fit(model, Budget(steps=3), random.Random(0))
    shops.fit(alone, Budget(steps=3), random.Random(0))
    together = model.members[0].state_dict()
    assert all(torch.equal(together[key], each) for key, each in alone.state_dict().items())
    assert not torch.equal(next(model.members[1].parameters()), next(model.members[0].parameters()))


def test_test_values_are_seen_neither_in_the_search_nor_in_delivery():
    """Nothing that is learned changes when the test part does."""
    one, two = Forecasting(ets=0), Forecasting(ets=0)
    changed = [np.concatenate([values[:-12], values[-12:] * 3 + 100]) for values in two.read.values]
    object.__setattr__(two.read, "values", tuple(changed))
    two.parts = type(two.parts)(two.read, 12, 12, 24, 84, 120)
    for full in (False, True):
        models = [network(task) for task in (one, two)]
        for task, model in zip((one, two), models, strict=True):
            task.fit(model, Budget(steps=2), random.Random(0), full=full)
        assert all(torch.equal(a, b) for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values(),
                                                     strict=True))
        assert models[0].margin.windows == (len(one.parts.windows["validation"].truth) if full else 0)


# --- intervals

def test_intervals_hold_the_share_that_they_promise():
    """Windows that are exchangeable: the mean coverage is at least the level, and not far above it."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        truth = rng.normal(size=(100, 3)) * [1, 5, 20]
        made = intervals.Forecast(np.zeros((100, 3)), np.zeros((100, 3)), np.zeros((100, 3)), np.ones(100))
        half = intervals.Forecast(*(part[:50] for part in made))
        by = intervals.radius(truth[:50], half, 0.9)
        wide = intervals.widened(half, by)
        held.append(((truth[50:] >= wide.low) & (truth[50:] <= wide.high)).mean(0))
    assert (np.mean(held, 0) > 0.89).all() and (np.mean(held, 0) < 0.94).all()


def test_quantiles_are_moved_both_ways():
    """Conformalised quantile regression: intervals that are too wide become narrower."""
    truth = np.linspace(-1, 1, 99)[:, None]
    wide = intervals.Forecast(np.zeros((99, 1)), np.full((99, 1), -3.0), np.full((99, 1), 3.0), np.ones(99))
    by = intervals.radius(truth, wide, 0.9)
    assert by[0] == pytest.approx(-3 + np.sort(np.abs(truth[:, 0]))[89])
    narrow = intervals.widened(wide, np.array([-10.0]))
    assert (narrow.low == 0).all() and (narrow.high == 0).all()         # the forecast stays inside


def test_what_is_not_known_is_not_made_up():
    """A window of zeros, or the only one of validation, has no interval, and moves no other's."""
    inputs = np.stack([np.zeros(8), np.arange(8.0)])
    assert intervals.spread(inputs, 1) == pytest.approx([0, 1])
    truth, zero = np.array([[5.0], [9.0]]), np.zeros((2, 1))
    found = intervals.Forecast(zero, zero, zero, intervals.spread(inputs, 1))
    by = intervals.radius(truth, found, 0.9)
    wide = intervals.widened(found, by)
    assert by == pytest.approx([9]) and np.isnan(wide.low[0]).all() and wide.high[1] == pytest.approx([9])
    alone = intervals.crossed(truth[1:], intervals.Forecast(*(part[1:] for part in found)), 0.9)
    assert np.isnan(alone.low).all() and intervals.share("coverage", np.array([math.nan])) == {}


def test_a_share_has_no_interval_beyond_0_and_1():
    found = intervals.share("coverage", np.array([1.0, 1.0, math.nan, 0.8, 1.0]))["coverage"]
    assert 0 < found.low < found < found.high == 1


def test_the_twin_that_is_calibrated_on_validation_is_not_chosen_by_it(shops, monkeypatch):
    """It has its last weights, as the delivered network has."""
    seen = []
    monkeypatch.setattr(type(shops), "points", lambda *_: seen.append(1) or {"owa": 1.0})
    shops.fit(network(shops), Budget(steps=2), random.Random(0), full=True)
    assert not seen
    shops.fit(network(shops), Budget(steps=2), random.Random(0))
    assert seen


def test_a_network_that_learns_quantiles_forecasts_them_in_order(shops):
    model = network(shops, "mixed", lookback=36, loss="quantiles", stacks=1, stack1="season")
    assert model.quantiles == (0.025, 0.25, 0.5, 0.75, 0.975)
    shops.fit(model, Budget(epochs=1), random.Random(0))
    found = intervals.raw(model, shops.parts.windows["validation"].inputs, 12)
    assert (found.low <= found.value).all() and (found.value <= found.high).all()
    assert (found.high - found.low).mean() > 0
    assert 0 < shops.score(model)["coverage"] <= 1


# --- options

@pytest.mark.parametrize("options, says", [
    ({"horizon": 0}, "--horizon is a whole number from 1 up"),
    ({"coverage": 1.0}, "coverage is a share"),
    ({"shortest": 3, "longest": 2}, "longest is at least shortest"),
    ({"layout": "tall"}, "no layout named 'tall'"),
    ({"gaps": "drop"}, "--gaps is keep or fill"),
    ({"horizon": 40}, "are left to learn from"),
    ({"series": "Hourly"}, "--series Hourly names a group"),
    ({"data": "nowhere.csv"}, "there is no file or folder"),
])
def test_options_that_cannot_be_are_refused(options, says):
    with pytest.raises(UsageError, match=says):
        Forecasting(**options)


def test_a_file_needs_a_horizon(tmp_path):
    (tmp_path / "x.csv").write_text("ds,y\n" + "".join(f"{i},{i % 7 + i / 50}\n" for i in range(200)))
    with pytest.raises(UsageError, match="how many steps are to be forecast"):
        Forecasting(data=str(tmp_path / "x.csv"))
    task = Forecasting(data=str(tmp_path / "x.csv"), horizon=7, season=7)
    assert task.lookbacks == (14, 21, 28, 35, 42, 49) and task.parts.validating.number > 1
