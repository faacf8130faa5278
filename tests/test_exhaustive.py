"""Exhaustive search: each architecture once, in order, in any space that can be counted."""

import random

import pytest
from driving import TOY, ask, drive, make, state

from archfab import Space, UsageError, choose, repeat
from archfab.core import Event

SMALL = [repeat(choose("depth", 0, 1, 2), lambda i: choose(f"layer{i}", "a", "b")), choose("width", 8, 16)]


def failed(trial):
    return Event("failed", trial, note="by construction")


def test_every_architecture_once_in_the_order_of_the_space_and_then_none():
    space = Space(SMALL)
    strategy = make("exhaustive", space)
    found = [event.trial.genotype for event in drive(strategy, 1000, judge=failed)[::2]]
    assert found == list(space) and len(found) == space.size == 2 * (1 + 2 + 4)
    assert ask(strategy, space.size) is None and ask(strategy, space.size + 5) is None


def test_it_finds_the_optimum_of_the_toy_task():
    space = Space(TOY.space())
    strategy = make("exhaustive", space)
    best = min(TOY.known(ask(strategy, number).genotype)["error"] for number in range(space.size))
    assert best == pytest.approx(0.05 + 0.9 / 7)


def test_results_and_seeds_change_nothing():
    strategy = make("exhaustive")
    before = state(strategy)
    drive(strategy, 50)
    assert state(strategy) == before
    assert strategy.ask(7, random.Random(1)) == make("exhaustive").ask(7, random.Random(2))


def test_a_space_of_more_than_10_to_the_30_begins_at_once():
    space = Space([choose(f"c{i}", *range(10)) for i in range(31)])
    strategy = make("exhaustive", space)
    assert ask(strategy, 0).genotype == {f"c{i}": 0 for i in range(31)}
    last = ask(strategy, 10**31 - 1)
    assert last.genotype == {f"c{i}": 9 for i in range(31)} and ask(strategy, 10**31) is None


def test_a_space_without_a_choice_has_one_architecture():
    strategy = make("exhaustive", Space([]))
    assert ask(strategy, 0).genotype == {} and ask(strategy, 1) is None


def test_a_space_that_cannot_be_counted_is_refused():
    space = Space(SMALL)
    space.counter = None
    with pytest.raises(UsageError, match=r"can be counted.*another --strategy"):
        make("exhaustive", space)
