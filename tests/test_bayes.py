"""Bayes, auto and bananas: they find what is known to be best, use hints as they should, and never repeat."""

from statistics import mean

import pytest
from driving import TOY, ask, drive, errors, make

from archfab import Space, UsageError, choose, nn
from archfab.core import Event, Trial
from archfab.metrics.pareto import front, hypervolume

BEST = 0.05 + 0.9 / 7
LEARNERS = ["bayes", "auto", "bananas"]


@pytest.mark.parametrize("name", LEARNERS)
def test_far_ahead_of_random_search_at_60_trials(name):
    found, blind = ([min(errors(drive(make(each), 60, seed))) for seed in range(5)] for each in (name, "random"))
    assert mean(found) - BEST < 0.3 * (mean(blind) - BEST)


@pytest.mark.parametrize("name", LEARNERS)
def test_no_network_is_proposed_twice_while_others_are_left(name):
    space = Space([choose(f"d{i}", 0, 1, 2) for i in range(3)])
    events = drive(make(name, space), 27, judge=lambda t: Event("ok", t, {"error": sum(t.genotype.values())}))
    assert len({Space.id(event.trial.genotype) for event in events}) == 27


@pytest.mark.parametrize("name", LEARNERS)
def test_what_runs_is_not_proposed_again(name):
    strategy, running = make(name), set()
    drive(strategy, 30)
    for number in range(30, 40):
        trial = ask(strategy, number)
        assert Space.id(trial.genotype) not in running
        running.add(Space.id(trial.genotype))
        strategy.tell(Event("asked", trial))


@pytest.mark.parametrize("name", LEARNERS)
def test_two_objectives_come_nearer_to_the_exact_front_than_random_search(name):
    goals = {"error": "min", "size": "min"}
    exact = [tuple(TOY.known(genotype).values()) for genotype in Space(TOY.space())]
    whole = hypervolume([exact[i] for i in front(exact)], (1.0, 460.0))

    def missing(each):
        runs = [drive(make(each, goals=goals), 80, seed) for seed in range(4)]
        return mean(1 - hypervolume([(e.metrics["error"], e.metrics["size"]) for e in events if e.kind == "ok"],
                                    (1.0, 460.0)) / whole for events in runs)

    assert missing(name) < (1.1 if name == "bananas" else 0.6) * missing("random")      # bananas is hardly better


@pytest.mark.parametrize("name", LEARNERS)
def test_a_limit_is_kept_more_often_than_by_random_search(name):
    def share(each):
        events = drive(make(each, limits=["size<=64"]), 80)[1::2]
        return mean(event.metrics["size"] <= 64 for event in events[40:])

    assert share(name) > 1.5 * share("random")


@pytest.mark.parametrize("name", ["bayes", "auto"])
def test_a_limit_that_the_hints_tell_is_never_broken_by_a_planned_network(name):
    strategy = make(name, limits=["size<=64"])
    strategy.hints = lambda genotype: {"size": TOY.known(genotype)["size"]}
    events = drive(strategy, 60)[1::2]
    assert all(event.metrics["size"] <= 64 for event in events[20:])


# --- auto

def counted(hints):
    """How many of the first networks after the blind ones are of the largest width, under some hints."""
    found = 0
    for seed in range(6):
        strategy = make("auto")
        strategy.hints = hints
        found += sum(event.trial.genotype["width"] == 64 for event in drive(strategy, 8, seed)[4::2])
    return found


def test_auto_follows_hints_that_agree_with_the_results_and_leaves_those_that_mislead():
    good = counted(lambda genotype: {"size": TOY.known(genotype)["size"]})
    bad = counted(lambda genotype: {"nonsense": -TOY.known(genotype)["size"]})
    assert good >= 24 and bad <= good / 2


def test_auto_looks_at_no_more_hints_than_it_may():
    asked = set()
    strategy = make("auto")
    strategy.looks = 5
    strategy.hints = lambda genotype: asked.add(Space.id(genotype)) or {"macs": float(genotype["width"])}
    events = drive(strategy, 6)
    assert len(asked) <= 5 + 5 * 4 + len(events) // 2


def test_auto_compares_hints_where_there_are_several_goals_of_no_more_networks_than_it_may():
    asked = set()
    strategy = make("auto", goals={"error": "min", "size": "min"})
    strategy.looks = 5
    strategy.hints = lambda genotype: asked.add(Space.id(genotype)) or {"macs": float(genotype["width"])}
    events = drive(strategy, 20)
    assert len(asked) <= 5 * 5 + 20 + 5 * len(events) // 2
    assert len(strategy.described([0, 1])) == len(strategy.catalogue.at([0, 1])) + 1


def test_the_kernel_of_auto_sees_paths_where_there_are_cells():
    cells = make("auto", Space(nn.nasbench201_cell()))
    assert "paths" in cells.features().blocks and "paths" not in make("auto").features().blocks


# --- what is not

@pytest.mark.parametrize(("name", "options", "message"), [
    ("bayes", {"initial": 1}, "initial is a whole number from 2 up, not 1"),
    ("auto", {"candidates": 0}, "candidates is a whole number from 1 up"),
    ("bananas", {"members": 1}, "members is a whole number from 2 up"),
    ("bananas", {"encoding": "pth"}, "did you mean 'path'"),
    ("bananas", {"encoding": "path"}, "has no cells"),
    ("bananas", {"use_hints": 3}, "true or false")])
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        make(name, **options)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_failed_network_counts_as_the_worst(name):
    """Where half of a space fails, a learner leaves it."""
    space = Space([choose("a", "well", "fails"), *(choose(f"d{i}", 0, 1, 2, 3) for i in range(4))])

    def judge(trial):
        if trial.genotype["a"] == "fails":
            return Event("failed", trial, note="no")
        return Event("ok", trial, {"error": sum(trial.genotype[f"d{i}"] for i in range(4)) / 12})

    kept = [event.kind == "ok" for seed in range(3)
            for event in drive(make(name, space), 40, seed, judge=judge)[1::2][20:]]     # blind, it would be half
    assert mean(kept) > 0.7


def test_bananas_draws_of_one_network_are_normal_around_the_ensembles_mean():
    import random

    import numpy as np
    strategy = make("bananas")
    drive(strategy, 20)
    genotype = Trial(0, {"width": 64, "depth": 2, "layer0": "conv5", "layer1": "skip"}).genotype
    draws = np.array([strategy.predictor.draw([genotype], [{}], random.Random(i))[0, 0] for i in range(2000)])
    from archfab.strategies.bananas import see
    said = strategy.predictor.ensemble.predict(see(strategy.predictor.encodings, [genotype], {}, [{}]))[:, 0, 0]
    assert draws.mean() == pytest.approx(said.mean(), abs=4 * float(said.std()) / 2000**0.5)
    assert draws.std() == pytest.approx(said.std(), rel=0.1)
