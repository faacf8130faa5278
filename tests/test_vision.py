"""The vision task: parts kept apart, exact by seed, honest about its baselines."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from archfab import Space
from archfab.core import Budget, Diverged, UsageError
from archfab.learning import seed_torch
from archfab.lowering.concrete import build
from archfab.metrics.classification import proportion
from archfab.registry import load

Vision = load("tasks", "vision")


@pytest.fixture(scope="module")
def digits():
    return Vision()


def trained(task, seed, full=False, budget=Budget(steps=12)):  # noqa: B008
    space = Space(task.space("cell"))
    rng = random.Random(seed)
    seed_torch(rng)
    model = build(space, space.sample(random.Random(1)), task.example())
    return model, task.fit(model, budget, rng, full)


def test_parts_are_stratified_disjoint_and_the_same_every_time(digits):
    rows = [{row.tobytes() for row in digits.parts[name][0]} for name in ("train", "validation", "test")]
    sizes = [len(digits.parts[name][1]) for name in ("train", "validation", "test")]
    assert sum(sizes) == 1797 == sum(map(len, rows))
    assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]
    for name in digits.parts:
        share = np.bincount(digits.parts[name][1]) / len(digits.parts[name][1])
        assert share.min() > 0.08 and share.max() < 0.12
    again = Vision()
    assert all(np.array_equal(again.parts[name][0], digits.parts[name][0]) for name in digits.parts)


def test_a_search_never_touches_test_images(digits, monkeypatch):
    parts = {name: part for name, part in digits.parts.items() if name != "test"}
    monkeypatch.setattr(digits, "parts", parts)
    model, _ = trained(digits, 0)
    assert 0 <= digits.score(model)["error"] <= 1
    with pytest.raises(KeyError):
        digits.score(model, "test")


def test_same_seed_same_weights_other_seed_other_weights(digits):
    states = [trained(digits, seed)[0].state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_training_learns_the_digits(digits):
    seed_torch(random.Random(0))
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Linear(256, 10))
    digits.fit(model, Budget(epochs=8), random.Random(0))
    assert digits.score(model)["error"] < 0.06
    assert digits.score(model, "test")["error"] < 0.08


def test_scores_equal_a_count_by_hand(digits):
    model, _ = trained(digits, 0)
    x, y = digits.parts["validation"]
    with torch.inference_mode():
        logits = model(digits.normal(x)).cpu()
    assert digits.score(model)["error"] == pytest.approx((logits.argmax(1).numpy() != y).mean())
    assert digits.score(model)["loss"] == pytest.approx(
        -torch.log_softmax(logits.double(), 1)[range(len(y)), y].mean().item(), rel=1e-5)


def test_normalised_training_images_have_mean_zero_and_deviation_one(digits):
    x = digits.normal(digits.parts["train"][0])
    assert x.mean().abs() < 1e-4 and abs(x.std() - 1) < 1e-3


def test_augmentation_moves_each_image_by_at_most_the_shift():
    digits = Vision(shift=0.13)
    draws = torch.Generator().manual_seed(0)
    x = digits.normal(digits.parts["train"][0][:64])
    moved = digits.augment(x, draws)
    assert moved.shape == x.shape and not torch.equal(moved, x)
    padded = nn.functional.pad(x, (1,) * 4, mode="replicate")
    windows = [padded[:, :, i:i + 8, j:j + 8] for i in range(3) for j in range(3)]
    assert digits.shift == 1
    assert all(any(torch.equal(moved[n], window[n]) for window in windows) for n in range(64))


def test_full_training_uses_validation_images_too(digits, monkeypatch):
    seen = []
    monkeypatch.setattr(Vision, "normal", lambda self, images, real=Vision.normal: seen.append(len(images))
                        or real(self, images))
    trained(digits, 0, full=True)
    assert seen[0] == 1222 + 216


def test_an_absurd_learning_rate_ends_in_a_reason_not_in_a_score():
    task = Vision(lr=1e30, optimizer="sgd")
    with pytest.raises(Diverged, match="step"):
        trained(task, 0, budget=Budget(steps=50))


def test_wilson_interval_against_published_values():
    """Newcombe, Statistics in Medicine 1998, table I: 81 of 263 gives 0.2553 to 0.3662."""
    found = proportion(81 / 263, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    for value in (0.0, 1.0):
        assert proportion(value, 263).low <= value <= proportion(value, 263).high


def test_baselines_are_near_the_known_figures(digits):
    """Multinomial naive Bayes on the digits is known to be right on about 87 %, a linear model on about 95 %."""
    found = digits.baseline()
    assert 0.07 < found["naive Bayes"]["test_error"] < 0.17
    assert 0.02 < found["linear"]["test_error"] < 0.07


@pytest.mark.parametrize("wrong", [{"validation": 0.0}, {"validation": 1.0}, {"flip": "maybe"}, {"shift": 0.7},
                                   {"channels": 0}, {"lr": -1.0}, {"data": "no such folder"}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(UsageError):
        Vision(**wrong)


@pytest.mark.shared
def test_fashion_mnist_is_read_and_split(shared_data):
    task = Vision(data=str(shared_data / "fashion-mnist"))
    assert [len(task.parts[name][1]) for name in ("train", "validation", "test")] == [17000, 3000, 10000]
    assert task.parts["test"][1][:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]


@pytest.mark.shared
def test_photographs_are_mirrored_and_digits_are_not(shared_data, digits):
    assert Vision(data=str(shared_data / "cifar10-10k")).flip and not digits.flip
