"""Local search: every neighbour once, moves to what is better, new climbs at local optima."""

import random

import pytest
from driving import TOY, ask, drive, errors, make, toy

from archfab import Space, UsageError, choose, repeat
from archfab.core import Event, Trial
from archfab.metrics.pareto import front, hypervolume
from archfab.strategies._members import Member, key
from archfab.strategies.local_search import Neighbourhood

GRID = Space([choose("a", *range(12)), choose("b", *range(12))])
BEST = 0.05 + 0.9 / 7


def judge(function):
    return lambda trial: Event("ok", trial, {"error": float(function(**trial.genotype))})


def bowl(a, b):
    return abs(a - 7) + abs(b - 3)


def differences(one, other):
    return sum(one[name] != other[name] for name in one if name in other)


@pytest.mark.parametrize("neighbour", ["first", "best"])
def test_a_neighbour_differs_from_its_parent_in_one_decision_and_none_is_tried_twice(neighbour):
    trials = [event.trial for event in drive(make("local_search", neighbour=neighbour, initial=4), 500)[::2]]
    assert len({key(trial.genotype) for trial in trials}) == 500
    assert all(trial.parent is None for trial in trials[:4])
    children = [trial for trial in trials if trial.parent is not None]
    assert len(children) > 300
    assert all(differences(trials[child.parent].genotype, child.genotype) == 1 for child in children)


def test_first_improvement_moves_at_once():
    events = drive(make("local_search", GRID, initial=1), 40, judge=judge(bowl))
    best, parent = float("inf"), None
    for asked, told in zip(events[::2], events[1::2], strict=True):
        if asked.trial.parent is None and asked.trial.number:
            break                                       # the first optimum
        assert asked.trial.parent == parent
        if told.metrics["error"] < best:
            best, parent = told.metrics["error"], asked.trial.number
    assert best == 0


def test_best_neighbour_moves_to_the_best_when_all_neighbours_are_known():
    """In a bowl that is steep in one decision: 22 neighbours, then the best of them, then 11 along the other."""
    events = drive(make("local_search", GRID, neighbour="best", initial=1), 1 + 22 + 12, judge=judge(bowl))
    told = [(event.metrics["error"], event.trial) for event in events[1::2]]
    assert all(trial.parent == 0 for _, trial in told[1:23])
    chosen = min(told[1:23], key=lambda each: each[0])[1]
    assert {trial.parent for _, trial in told[23:34]} == {chosen.number}
    assert min(error for error, _ in told) == 0


def two_basins(a, b):
    return min(abs(a - 2) + abs(b - 2), abs(a - 9) + abs(b - 9) + 0.5)


def test_after_an_optimum_a_climb_begins_at_random_and_the_next_at_the_best_unexplored():
    strategy = make("local_search", GRID, initial=1)
    trials, told, optima, before = [], {}, [], 0
    for number in range(144):
        trial = ask(strategy, number)
        trials.append(trial)
        if strategy.optima > before:                    # by more than one where all around a start is known
            optima.append(number)
            if strategy.optima % 2:
                assert trial.parent is None
            elif trial.parent is not None:
                left = [error for each, error in told.items() if each not in strategy.explored]
                assert told[trial.parent] == min(left)
            before = strategy.optima
        strategy.tell(Event("asked", trial))
        told[number] = two_basins(**trial.genotype)
        strategy.tell(judge(two_basins)(trial))
    assert len(optima) >= 2 and min(told.values()) == 0
    assert len({key(trial.genotype) for trial in trials}) == 144    # all there are


def test_what_was_tried_latest_comes_last_at_the_next_network():
    space = Space([choose(f"c{i}", 0, 1) for i in range(6)])
    member = Member(9, dict.fromkeys(space.labels, 0), 0.0, (1.0,), (0.0, False, (1.0,)))
    latest = {("c2", 1): 7, ("c0", 1): 5, ("c4", 0): 8}
    around, order = Neighbourhood.of(member, space, set(), latest), []
    while around.next is not None:
        assert {name for name, label in around.next.items() if label} == {around.change[0]}
        order.append(around.change[0])
        around.advance(space, set())
    assert order[4:] == ["c0", "c2"] and sorted(order[:4]) == ["c1", "c3", "c4", "c5"]


def test_the_order_of_neighbours_has_no_bias():
    space = Space([choose(f"c{i}", 0, 1) for i in range(10)])
    first = []
    for number in range(600):
        genotype = space.sample(random.Random(number))
        first.append(Neighbourhood.of(Member(number, genotype, 0.0, (1.0,), (0.0, False, (1.0,))), space, set(),
                                      {}).change[0])
    for name in space.labels:
        assert first.count(name) / 600 == pytest.approx(0.1, abs=4 * (0.1 * 0.9 / 600) ** 0.5)


def test_pending_neighbours_are_not_asked_twice_and_a_climb_waits_for_them():
    strategy, source = make("local_search", GRID, initial=3), random.Random(0)
    running, seen = [], set()
    for number in range(130):
        trial = ask(strategy, number)
        assert key(trial.genotype) not in seen
        seen.add(key(trial.genotype))
        strategy.tell(Event("asked", trial))
        running.append(trial)
        while len(running) > 5:
            strategy.tell(judge(bowl)(running.pop(source.randrange(len(running)))))
    assert strategy.optima >= 1


def test_what_a_change_opens_is_drawn_and_not_always_the_first_option():
    space = Space([choose("kind", plain=1, deep=repeat(choose("depth", 1, 2), lambda i: choose(f"op{i}", *range(9))))])
    opened = set()
    for seed in range(30):
        strategy = make("local_search", space, initial=1)
        trial = Trial(seed, {"kind": "plain"})
        strategy.tell(Event("ok", trial, {"error": 1.0}))
        opened.add(ask(strategy, seed + 1).genotype["op0"])
    assert len(opened) > 4


@pytest.mark.parametrize("neighbour", ["first", "best"])
def test_it_finds_the_optimum_of_the_toy_task(neighbour):
    found = [min(errors(drive(make("local_search", neighbour=neighbour), 700, seed))) for seed in range(6)]
    assert sum(error == pytest.approx(BEST, abs=1e-9) for error in found) >= 4


@pytest.mark.parametrize("bound", [48, 200])
def test_it_keeps_a_limit(bound):
    space = Space(TOY.space())
    least = min(error for error, size in (TOY.known(genotype).values() for genotype in space) if size <= bound)
    events = drive(make("local_search", limits=[f"size<={bound}"]), 600)[1::2]
    kept = [event.metrics["error"] for event in events if event.metrics["size"] <= bound]
    assert min(kept) <= 1.03 * least and len(kept) > 300


@pytest.mark.parametrize("neighbour", ["first", "best"])
def test_with_two_objectives_it_reaches_most_of_the_exact_front(neighbour):
    goals, reference = {"error": "min", "size": "min"}, (1.0, 64 * 7 + 1.0)
    every = [tuple(TOY.known(genotype).values()) for genotype in Space(TOY.space())]
    exact = hypervolume([every[i] for i in front(every)], reference)
    shares = []
    for name, options in (("local_search", {"neighbour": neighbour}), ("random", {})):
        events = drive(make(name, goals=goals, **options), 500)
        points = [(e.metrics["error"], e.metrics["size"]) for e in events if e.kind == "ok"]
        shares.append(1 - hypervolume(points, reference) / exact)
    assert shares[0] < 0.06 and (neighbour == "best" or shares[0] < shares[1])


def test_it_goes_on_when_the_whole_space_is_known_and_when_everything_fails():
    space = Space(choose("a", 1, 2, 3))
    assert len(drive(make("local_search", space), 20, judge=judge(lambda a: a))) == 40
    events = drive(make("local_search"), 60, judge=lambda trial: Event("failed", trial, note="no"))
    assert len({key(event.trial.genotype) for event in events}) == 60


def test_late_results_of_the_toy_task_are_taken_in():
    strategy = make("local_search", initial=2)
    late = [ask(strategy, 0), ask(strategy, 1)]
    for trial in late:
        strategy.tell(Event("asked", trial))
    for trial in reversed(late):
        strategy.tell(toy(trial))
    better = min(late, key=lambda trial: TOY.known(trial.genotype)["error"])
    assert ask(strategy, 2).parent == better.number


@pytest.mark.parametrize(("options", "message"), [
    ({"neighbour": "second"}, "neighbour is one of first, best, not 'second'"),
    ({"initial": 0}, "initial is a whole number from 1 up, not 0"), ({"initial": 2.5}, r"not 2\.5"),
    ({"initial": True}, "not True")])
def test_bad_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        make("local_search", **options)


@pytest.mark.shared
def test_local_search_on_nasbench201(shared_data):
    """First improvement reaches 94.31 after 100 evaluations (shared/reference/nas.md)."""
    from archfab.comparison.play import incumbents, make_strategy, play
    from archfab.tables import read_table
    table = read_table(shared_data / "nasbench201")
    best = [incumbents(play(make_strategy("local_search", table, table.goals), table, 100, seed), "accuracy",
                       "max")[-1] for seed in range(60)]
    assert sum(best) / len(best) >= 94.31
