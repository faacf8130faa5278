"""The training loop: its schedule, its budget, its ends."""

import copy
import json
import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from archfab.core import Budget, Diverged, Estimate, UsageError
from archfab.learning import Average, Recipe, fit, make_optimizer, rate, seed_torch


def line_data(n=64):
    x = torch.linspace(-1, 1, n)[:, None]
    return x, 3 * x + 1


def train(budget, recipe=None, validate=None, model=None, steps=4):
    model = model or nn.Linear(1, 1)
    x, y = line_data()
    seen = []

    def batches():
        for part in zip(x.split(len(x) // steps), y.split(len(x) // steps), strict=True):
            seen.append(1)
            yield part

    curve = fit(model, batches, steps, lambda batch: nn.functional.mse_loss(model(batch[0]), batch[1]),
                recipe or Recipe(lr=0.1), budget, validate)
    return model, curve, len(seen)


@given(st.floats(0, 1), st.floats(0.01, 0.9))
def test_the_learning_rate_stays_between_zero_and_its_highest(progress, warmup):
    assert 0 <= rate(progress, warmup) <= 1


def test_the_schedule_rises_to_one_and_ends_at_zero():
    assert rate(0.05, 0.1) == pytest.approx(0.5)
    assert rate(0.1, 0.1) == pytest.approx(1.0)
    assert rate(0.55, 0.1) == pytest.approx(0.5)
    assert rate(1.0, 0.1) == pytest.approx(0.0, abs=1e-12)


def test_the_moving_average_of_the_weights_takes_their_place():
    seen, model = [], nn.Linear(1, 1)
    train(Budget(steps=12), Recipe(lr=0.1), model=model)
    last = model.weight.item()
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    average, mean = Average(model, 0.5), model.weight.item()
    for step, value in enumerate((1.0, 3.0, -2.0), start=1):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * value
        with average.in_place():
            seen.append(model.weight.item())
            assert seen[-1] == pytest.approx(mean, rel=1e-6)
        assert model.weight.item() == value
    assert math.isfinite(last)


def test_an_estimate_is_a_number_that_keeps_its_interval():
    one = Estimate.mean_of([1.0, 2.0, 3.0, 4.0])
    half = 1.96 * (5 / 3) ** 0.5 / 2
    assert one == 2.5 and (one.low, one.high) == pytest.approx((2.5 - half, 2.5 + half))
    again = copy.deepcopy(one)
    assert (again, again.low, again.high) == (one, one.low, one.high) and json.dumps([one]) == "[2.5]"
    assert Estimate.mean_of([7.0]).low == 7.0


def test_a_training_with_a_moving_average_ends_on_it():
    ends = {}
    for ema in (0.0, 0.9):
        torch.manual_seed(1)
        model, _, _ = train(Budget(steps=8), Recipe(lr=0.3, ema=ema))
        ends[ema] = model.weight.item()
    assert ends[0.0] != ends[0.9]
    watched = []
    torch.manual_seed(1)
    model, _, _ = train(Budget(steps=8), Recipe(lr=0.3, ema=0.9), model=(kept := nn.Linear(1, 1)),
                            validate=lambda: watched.append(kept.weight.item()) or {"loss": -len(watched)})
    assert model.weight.item() == watched[-1] == pytest.approx(ends[0.9], rel=1e-6)


@pytest.mark.parametrize(("budget", "steps", "epochs"), [
    (Budget(epochs=3), 12, 3), (Budget(steps=6), 6, 2), (Budget(epochs=1.5), 6, 2), (Budget(epochs=5, steps=2), 2, 1)])
def test_a_budget_is_kept_exactly(budget, steps, epochs):
    taken = []
    model = nn.Linear(1, 1)
    model.register_forward_hook(lambda *_: taken.append(1))
    _, curve, _ = train(budget, model=model)
    assert (len(taken), len(curve)) == (steps, epochs)


def test_a_budget_of_seconds_ends_the_training():
    _, curve, steps = train(Budget(seconds=0.2))
    assert steps > 8 and curve


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_line_is_learnt(optimizer):
    seed_torch(random.Random(0))
    model, curve, _ = train(Budget(epochs=150), Recipe(optimizer=optimizer, lr=0.05, weight_decay=0.0))
    assert model.weight.item() == pytest.approx(3, abs=0.02) and model.bias.item() == pytest.approx(1, abs=0.02)
    assert curve[-1]["loss"] < 1e-3 < curve[0]["loss"]


def test_gradients_of_gradients_do_not_hang_on_what_a_process_did_before():
    """A backward pass in a thread of its own, as an accelerator's is, counts its operations apart from the forward
    passes, and the counts say in which order gradients are added up."""
    seed_torch(random.Random(0))
    assert not torch._C._is_multithreading_enabled()


def test_weights_decay_and_norms_and_biases_do_not():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 3))
    decay = {id(p): group["weight_decay"] for group in make_optimizer(model, Recipe(weight_decay=0.3)).param_groups
             for p in group["params"]}
    assert [decay[id(p)] for p in model.parameters()] == [0.3, 0, 0, 0, 0.3, 0]


def test_a_loss_that_is_not_finite_is_said_with_its_step():
    with pytest.raises(Diverged, match=r"nan at step 1 .*--lr"):
        train(Budget(epochs=1), model=nn.Sequential(nn.Linear(1, 1), Poison(math.nan)))


class Poison(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return x * self.value


def test_patience_ends_early_and_the_best_weights_are_kept():
    scores = iter([5.0, 1.0, 2.0, 3.0, 4.0, 0.0])
    states = []
    model = nn.Linear(1, 1)

    def validate():
        states.append(model.weight.item())
        return {"error": 0.5, "loss": next(scores)}

    model, curve, _ = train(Budget(epochs=50), Recipe(lr=0.1, patience=3), validate, model)
    assert [row["validation"] for row in curve] == [row["validation_loss"] for row in curve] == [5, 1, 2, 3, 4]
    assert {row["validation_error"] for row in curve} == {0.5}
    assert model.weight.item() == states[1]


@pytest.mark.parametrize("wrong", [{"optimizer": "adam"}, {"lr": 0}, {"batch": 0}, {"warmup": 1}, {"patience": -1},
                                   {"label_smoothing": 1.0}])
def test_a_wrong_recipe_is_refused(wrong):
    with pytest.raises(UsageError):
        Recipe(**wrong)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"steps": -1}, {"seconds": math.nan}])
def test_a_budget_of_nothing_is_refused(wrong):
    with pytest.raises(UsageError):
        Budget(**wrong)
