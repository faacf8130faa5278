"""Hyperband, ASHA, BOHB: brackets and promotions as the papers have them, whatever ends late, fails or never ends."""

import random
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from driving import TOY, ask, make, through_json

from archfab import Space, UsageError, choose
from archfab.core import Event, Trial
from archfab.strategies._halving import Rung, brackets, rungs
from archfab.strategies._members import key

ALL = ["hyperband", "asha", "bohb"]


def early(trial, worse=0.3):
    """The toy's error, seen through short training: not the same order, and always worse."""
    noise = random.Random(f"{sorted(trial.genotype.items())}").uniform(0, 0.1)
    return Event("ok", trial, {"error": TOY.known(trial.genotype)["error"] + (1 - trial.fidelity) * (worse + noise)})


def run(strategy, whole, seed=0, judge=early, workers=1):
    """A search of so many whole trainings with several workers; its events in the order in which they came."""
    order, running, events, spent, number = random.Random(f"order {seed}"), [], [], 0.0, 0
    while spent < whole or running:
        while spent < whole and len(running) < workers and (trial := ask(strategy, number, seed)) is not None:
            number += 1
            spent += trial.fidelity
            running.append(trial)
            events.append(Event("asked", trial))
            strategy.tell(events[-1])
        if not running:
            break
        events.append(judge(running.pop(order.randrange(len(running)))))
        strategy.tell(events[-1])
    return events


def trials(events):
    return [event.trial for event in events if event.kind == "asked"]


# --- brackets

def test_the_brackets_are_those_of_the_papers_table():
    """Li et al., JMLR 2018, table 1: R = 81 and eta = 3."""
    table = [[(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)], [(34, 3), (11, 9), (3, 27), (1, 81)],
             [(15, 9), (5, 27), (1, 81)], [(8, 27), (2, 81)], [(5, 81)]]
    found = [[(rung.count, round(rung.fidelity * 81, 9)) for rung in bracket] for bracket in brackets(3, 1 / 81)]
    assert found == table


@pytest.mark.parametrize(("eta", "least", "expected"), [
    (3, 1 / 9, [1 / 9, 1 / 3, 1]), (3, 0.1, [1 / 9, 1 / 3, 1]), (3, 0.12, [1 / 3, 1]), (2, 0.3, [0.5, 1]),
    (10, 0.001, [0.001, 0.01, 0.1, 1]), (4, 1, [1]), (7, 1 / 343, [1 / 343, 1 / 49, 1 / 7, 1])])
def test_the_rungs_are_powers_of_eta_down_to_the_least(eta, least, expected):
    assert rungs(eta, least) == pytest.approx(expected)
    assert brackets(eta, least)[-1] == [Rung(len(expected), 1.0)]
    assert all(len(bracket) == len(expected) - i for i, bracket in enumerate(brackets(eta, least)))


@pytest.mark.parametrize(("eta", "least"), [(3, 1 / 81), (2, 1 / 64), (4, 1 / 16)])
def test_no_bracket_costs_more_than_a_whole_training_for_each_of_its_rungs_and_a_little(eta, least):
    for bracket in brackets(eta, least):
        spent = sum(rung.count * rung.fidelity for rung in bracket)
        assert spent <= len(brackets(eta, least)) + len(bracket)


# --- hyperband

@pytest.mark.parametrize("name", ["hyperband", "bohb"])
def test_with_one_worker_the_trials_are_the_brackets_one_after_another(name):
    plan = [rung.fidelity for bracket in 2 * brackets(3, 1 / 27) for rung in bracket for _ in range(rung.count)]
    made = trials(run(make(name, least=1 / 27), sum(plan) - 1e-6))
    assert [trial.fidelity for trial in made] == plan


@pytest.mark.parametrize("name", ["hyperband", "bohb"])
def test_the_best_of_a_complete_rung_are_promoted(name):
    events = run(make(name, least=1 / 27), 4)
    errors = {event.trial.number: event.metrics["error"] for event in events if event.kind == "ok"}
    made, start = trials(events), 0
    for before, after in pairwise(brackets(3, 1 / 27)[0]):
        rung = made[start:start + before.count]
        start += before.count
        best = sorted((trial.number for trial in rung), key=errors.__getitem__)[:after.count]
        promoted = made[start:start + after.count]
        assert [trial.parent for trial in promoted] == best
        assert [trial.genotype for trial in promoted] == [made[number].genotype for number in best]
        assert {trial.fidelity for trial in promoted} == {after.fidelity}


@pytest.mark.parametrize("workers", [2, 5, 30])
def test_while_a_rung_waits_the_next_bracket_begins(workers):
    """A rung is promoted from when it is complete, not before, and nobody is idle."""
    strategy = make("hyperband")
    events = run(strategy, 60, workers=workers)
    running, ended, at_once = set(), defaultdict(list), []
    for event in events:
        trial = event.trial
        if event.kind == "ok":
            running.discard(trial.number)
            ended[trial.fidelity].append(trial.number)
            continue
        running.add(trial.number)
        at_once.append(len(running))
        if trial.parent is not None:
            assert trial.parent not in running
    assert max(at_once) == workers
    promoted = [trial.parent for trial in trials(events) if trial.parent is not None]
    assert len(promoted) == len(set(promoted)) > 10
    counts = Counter(trial.fidelity for trial in trials(events))
    whole_plan = Counter()
    for bracket in brackets(3, 1 / 9):
        whole_plan.update({rung.fidelity: rung.count for rung in bracket})
    if workers < 30:
        for fidelity, count in counts.items():      # as many of each length as the plan has, but for the last brackets
            assert count == pytest.approx(60 / 8.67 * whole_plan[fidelity], abs=20)


def test_a_trial_that_never_ends_holds_up_its_own_bracket_alone():
    strategy, held, made = make("hyperband"), [], []
    for number in range(200):
        trial = ask(strategy, number)
        made.append(trial)
        strategy.tell(Event("asked", trial))
        if number in (4, 9, 50):
            held.append(trial)
        else:
            strategy.tell(early(trial))
    assert not {trial.parent for trial in made} & {trial.number for trial in held}
    assert sum(trial.fidelity == 1 for trial in made) > 20
    assert not any(trial.parent is not None and trial.parent < 9 for trial in made)     # the first bracket waits
    strategy.tell(early(held[0]))
    assert ask(strategy, 200).parent in range(9)                                        # until its last trial ends


# --- asha

@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("workers", [1, 7])
@pytest.mark.parametrize("eta", [2, 3])
def test_asha_promotes_as_the_papers_get_job(seed, workers, eta):
    """An own simulation of algorithm 2 of Li et al., MLSys 2020, told the same events."""
    lengths = rungs(eta, 1 / 27)
    done, promoted = [{} for _ in lengths], [set() for _ in lengths]

    def job():
        for k in reversed(range(len(lengths) - 1)):
            ranked = sorted(done[k], key=lambda number: done[k][number])
            for number in ranked[:len(ranked) // eta]:
                if number not in promoted[k]:
                    return k + 1, number
        return 0, None

    for event in run(make("asha", eta=eta, least=1 / 27), 25, seed, workers=workers):
        trial = event.trial
        if event.kind == "asked":
            level, parent = job()
            assert (trial.fidelity, trial.parent) == (lengths[level], parent)
            if level:
                promoted[level - 1].add(parent)
        else:
            done[lengths.index(trial.fidelity)][trial.number] = event.metrics["error"]
    assert all(promoted[:-1])


@pytest.mark.parametrize(("kinds", "promoted"), [
    (["failed", "rejected", "ok"], True), (["rejected", "ok", "rejected"], False), (["failed", "failed"], False)])
def test_asha_counts_failed_trials_as_the_worst_and_rejected_ones_not_at_all(kinds, promoted):
    strategy = make("asha", eta=2)          # of two, one is promoted
    for number, kind in enumerate(kinds):
        trial = ask(strategy, number)
        strategy.tell(Event("asked", trial))
        strategy.tell(Event(kind, trial, {"error": 0.5} if kind == "ok" else {}))
    trial = ask(strategy, 9)
    assert (trial.parent, trial.fidelity) == ((kinds.index("ok"), 1 / 4) if promoted else (None, 1 / 8))


# --- all of them

@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("workers", [1, 6])
def test_only_trials_of_equal_fidelity_are_compared(name, workers):
    """Whatever short trials score, as long as their order stays, the search is the same."""

    def shifted(trial):
        event = early(trial)
        return replace(event, metrics={"error": event.metrics["error"] ** 3 - 100 * (1 - trial.fidelity)})

    plain, other = (trials(run(make(name, least=1 / 27), 25, judge=judge, workers=workers))
                    for judge in (early, shifted))
    assert plain == other


@pytest.mark.parametrize("name", ALL)
def test_failed_and_rejected_trials_are_never_promoted_and_block_nothing(name):
    def judge(trial):
        kind = random.Random(f"{trial.number}").choice(["ok", "failed", "rejected"])
        return early(trial) if kind == "ok" else Event(kind, trial)

    events = run(make(name), 40, judge=judge, workers=3)
    ended = {event.trial.number: event.kind for event in events if event.kind != "asked"}
    parents = [trial.parent for trial in trials(events) if trial.parent is not None]
    assert len(parents) > 10 and {ended[parent] for parent in parents} == {"ok"}
    assert any(trial.fidelity == 1 for trial in trials(events))


@pytest.mark.parametrize("name", ["hyperband", "bohb"])
def test_a_rejected_network_leaves_its_place_to_another(name):
    def judge(trial):
        return early(trial) if trial.genotype["width"] < 32 else Event("rejected", trial, {"size": 9.0})

    events = run(make(name, limits=["size<=1"], least=1 / 9), 12, judge=judge)
    ends = [event for event in events if event.kind in ("ok", "rejected")]
    kept = [event.trial.fidelity for event in ends if event.kind == "ok"]
    plan = [rung.fidelity for bracket in brackets(3, 1 / 9) for rung in bracket for _ in range(rung.count)]
    assert len(kept) < len(ends) and kept[:16] == plan[:16]


@pytest.mark.parametrize("name", ALL)
def test_with_nothing_ever_ending_there_is_always_another_network(name):
    strategy, seen = make(name), set()
    for number in range(300):
        trial = ask(strategy, number)
        assert (key(trial.genotype), trial.fidelity) not in seen
        seen.add((key(trial.genotype), trial.fidelity))
        strategy.tell(Event("asked", trial))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("workers", [1, 3, 50])
@pytest.mark.parametrize("options", [1, 2, 7, 40])
def test_in_a_small_space_every_network_gets_a_whole_trial_and_no_trial_is_repeated(name, workers, options):
    space = Space(choose("a", *range(options)))
    made = trials(run(make(name, space), 1000, judge=lambda trial: Event("ok", trial, {"error": trial.genotype["a"]}),
                      workers=workers))
    lengths = Counter((trial.genotype["a"], trial.fidelity) for trial in made)
    assert set(lengths.values()) == {1}
    assert {label for label, fidelity in lengths if fidelity == 1} == set(range(options))


@pytest.mark.parametrize("name", ALL)
def test_in_a_small_space_where_all_fails_the_search_ends(name):
    space = Space(choose("a", *range(7)))
    made = trials(run(make(name, space), 1000, judge=lambda trial: Event("failed", trial)))
    assert 7 <= len(made) <= 7 * 3


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("workers", [1, 4])
def test_a_replay_in_the_middle_of_a_bracket_goes_on_as_the_original(name, workers):
    events = run(make(name), 16, workers=workers)
    for at in range(3, len(events), 11):
        original, again = make(name), make(name)
        for event in events[:at]:
            original.tell(event)
            again.tell(through_json(event))
        assert ask(original, 1000) == ask(again, 1000)


@pytest.mark.parametrize("name", ALL)
def test_a_trial_of_another_hand_is_known_and_does_no_harm(name):
    """As in a log whose strategy had other options."""
    strategy = make(name)
    genotype = ask(strategy, 0).genotype
    for event in (Event("asked", Trial(0, genotype, fidelity=0.77)), Event("ok", Trial(0, genotype, fidelity=0.77),
                                                                           {"error": 0.5})):
        strategy.tell(event)
    assert key(ask(strategy, 0).genotype) != key(genotype)
    run_on = [ask(strategy, number) for number in range(1, 5)]
    assert all(trial.fidelity == 1 / 9 and trial.parent is None for trial in run_on)


@pytest.mark.parametrize("name", ALL)
def test_with_two_objectives_the_front_of_a_rung_is_promoted(name):
    def judge(trial):
        return Event("ok", trial, {"error": early(trial).metrics["error"], "size": TOY.known(trial.genotype)["size"]})

    events = run(make(name, goals={"error": "min", "size": "min"}), 1, judge=judge)
    points = {event.trial.number: tuple(event.metrics.values()) for event in events if event.kind == "ok"}
    for trial in trials(events):
        if trial.parent is not None:
            rivals = [points[other.number] for other in trials(events)[:9] if other.number != trial.parent]
            error, size = points[trial.parent]
            assert sum(e <= error and s <= size for e, s in rivals) <= 1


def best(name, whole, seed, **options):
    return min(event.metrics["error"] for event in run(make(name, **options), whole, seed)
               if event.kind == "ok" and event.trial.fidelity == 1)


def test_at_equal_cost_each_is_better_than_random_search_and_the_model_is_better_than_none():
    means = {name: sum(best(name, 40, seed) for seed in range(12)) / 12 for name in [*ALL, "random"]}
    assert means["bohb"] < means["hyperband"] < means["random"] and means["asha"] < means["random"]


def test_bohb_is_hyperband_until_it_has_a_model():
    plain, without = (trials(run(make(name, **options), 20)) for name, options in
                      (("hyperband", {}), ("bohb", {"startup": 10**6})))
    assert plain == without


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("options", "message"), [
    ({"eta": 1}, "eta is how many networks compete for one place, 2 or more, not 1"), ({"eta": 2.5}, r"not 2\.5"),
    ({"eta": True}, "not True"), ({"least": 0}, "above 0 and at most 1, not 0"), ({"least": 1.5}, r"not 1\.5"),
    ({"least": "1"}, "not '1'"), ({"least": float("nan")}, "not nan")])
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        make(name, **options)


@pytest.mark.parametrize("share", [-0.1, 1.1, "all", float("nan")])
def test_a_share_is_from_0_to_1(share):
    with pytest.raises(UsageError, match="drawn blindly, from 0 to 1"):
        make("bohb", share=share)


@pytest.mark.slow
@pytest.mark.shared
def test_on_nasbench201_with_its_12_epoch_scores(shared_data):
    from archfab.comparison.play import incumbents, make_strategy, play
    from archfab.tables import read_table
    table = read_table(str(shared_data / "nasbench201"))
    means = {}
    for name in [*ALL, "random"]:
        found = [incumbents(play(make_strategy(name, table, table.goals), table, 50, seed), "accuracy", "max")[-1]
                 for seed in range(15 if name == "bohb" else 60)]
        means[name] = sum(found) / len(found)
    assert means["bohb"] > 94.05 > means["asha"] > means["random"] + 0.1
    assert means["hyperband"] > means["random"] + 0.03
