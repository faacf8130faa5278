"""The controllers and their gradients: against torch, by hand, and by counting."""

import math
import random
from collections import Counter
from statistics import mean

import numpy as np
import pytest
import torch
from driving import ask, drive, errors, make

from archfab import Space, UsageError, choose
from archfab.core import Event
from archfab.surrogates.controllers import Batch, Gradient, Vocabulary, log_softmax
from archfab.surrogates.controllers import make as make_controller
from archfab.surrogates.rewards import Rewards

CONTROLLERS = ["logits", "lstm", "transformer"]


def conditional():
    return Space(choose("a", p=choose("b", 1, 2), q=[choose("c", 1, 2, 3), choose("d", r=choose("b", 1, 2))]))


@pytest.fixture
def batch():
    return Batch.of([((0, 1), (1, 0), (2, 2)), ((0, 0),)])


def logits_of(seed=0):
    return np.random.default_rng(seed).normal(size=(2, 3, 4))


def by_torch(batch, objective, logits):
    at = torch.tensor(logits, requires_grad=True)
    logs = at.log_softmax(2)
    active = torch.from_numpy(batch.active)
    taken = logs.gather(2, torch.from_numpy(batch.options)[..., None])[..., 0]
    entropy = -(logs.exp() * logs).sum(2)
    (((objective(taken) + 0.1 * entropy) * active).sum() / len(logits)).backward()
    return at.grad.numpy()


def test_the_gradient_of_reinforce_is_torchs(batch):
    advantages = np.array([0.7, -1.3])
    ours = Gradient(batch, advantages, 0.1)(logits_of())
    theirs = by_torch(batch, lambda taken: torch.from_numpy(advantages)[:, None] * taken, logits_of())
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_the_gradient_of_ppo_is_torchs(batch):
    advantages = np.array([0.7, -1.3])
    old = batch.taken(log_softmax(logits_of(1))) * batch.active

    def clipped(taken):
        ratio, gain = (taken - torch.from_numpy(old)).exp(), torch.from_numpy(advantages)[:, None]
        return torch.minimum(ratio * gain, ratio.clip(0.8, 1.2) * gain)

    logits = 0.3 * logits_of() + 0.7 * logits_of(1)         # not so far that the second clip holds
    assert Gradient(batch, advantages, 0.1, old, 0.2)(logits) == pytest.approx(by_torch(batch, clipped, logits),
                                                                               abs=1e-12)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_networks_are_drawn_as_often_as_the_controller_says_and_all_together_surely(name):
    space = conditional()
    strategy = make("reinforce", space, controller=name)
    for genotype in space:                                  # taught something, so that it is not even
        episode = strategy.vocabulary.episode(space, genotype)
        weight = 3.0 * (genotype.get("b") == 2)
        strategy.controller.learn(Batch.of([episode]), Gradient(Batch.of([episode]), np.array([weight]), 0.0))
    chances = {Space.id(g): math.exp(strategy.controller.log_probability(strategy.vocabulary.episode(space, g)).sum())
               for g in space}
    assert sum(chances.values()) == pytest.approx(1)
    rng = random.Random(0)
    drawn = Counter(Space.id(strategy.draw(rng)) for _ in range(1500))
    for ident, chance in chances.items():
        assert drawn[ident] / 1500 == pytest.approx(chance, abs=4.5 * (chance * (1 - chance) / 1500) ** 0.5)


@pytest.mark.parametrize("name", CONTROLLERS)
@pytest.mark.parametrize("algorithm", ["reinforce", pytest.param("ppo", marks=pytest.mark.slow)])
def test_it_is_ahead_of_random_search(name, algorithm):
    found, blind = ([min(errors(drive(make(each, **options), 100, seed))) for seed in range(3)]
                    for each, options in (("reinforce", {"controller": name, "algorithm": algorithm}), ("random", {})))
    assert mean(found) < mean(blind)


def test_entropy_keeps_decisions_open():
    def spread(weight):
        strategy = make("reinforce", entropy=weight)
        drive(strategy, 150)
        logs = log_softmax(np.where(strategy.controller.table < -1e8, -50.0, strategy.controller.table))
        return -(np.exp(logs) * logs).sum(1).mean()

    assert spread(0.5) > spread(0.0) + 0.1


@pytest.mark.parametrize("name", CONTROLLERS)
def test_the_global_generator_of_torch_is_left_alone(name):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    drive(make("reinforce", controller=name), 12)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_reward_is_minus_the_logarithm_of_the_share_that_is_better():
    rewards = Rewards(penalty=10.0, window=100)
    for score in (0.9, 0.5, 0.7):
        rewards.add(0.0, (score,))
    assert rewards.add(0.0, (0.1,)) == pytest.approx(-math.log(1 - 3.5 / 4))
    assert rewards.add(0.0, (5.0,)) == pytest.approx(-math.log(1 - 0.5 / 5))


def test_a_limit_is_soft():
    rewards = Rewards(penalty=10.0, window=100)
    for score in (0.9, 0.5, 0.7):
        rewards.add(0.0, (score,))
    kept, little, much = (rewards.add(excess, (0.4,)) for excess in (0.0, 0.01, 1.0))
    assert kept > little > much


def test_a_decision_with_one_option_is_none():
    vocabulary = Vocabulary(Space([choose("a", 1), choose("b", 1, 2)]))
    assert list(vocabulary.numbers) == ["b"]
    assert make_controller("logits", vocabulary, 0.1).table.shape == (1, 2)


def test_failures_alone_teach_away_and_give_no_nonsense():
    strategy = make("reinforce")
    drive(strategy, 80, judge=lambda trial: Event("failed", trial, note="no"))
    assert np.isfinite(strategy.controller.table).all() and ask(strategy, 80) is not None


@pytest.mark.parametrize(("options", "message"), [
    ({"controller": "lstn"}, "did you mean 'lstm'"), ({"algorithm": "a2c"}, "no algorithm named 'a2c'"),
    ({"rate": 0.0}, "rate is a number above 0"), ({"decay": 1.0}, "below 1"), ({"batch": 0}, "from 1 up"),
    ({"entropy": -1.0}, "from 0 up"), ({"clip": float("nan")}, "above 0")])
def test_bad_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        make("reinforce", **options)
