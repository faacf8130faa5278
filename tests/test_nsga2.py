"""NSGA-II: selection as in the paper, feasibility first, and fronts found where they are known."""

from itertools import permutations, product

import pytest
from driving import TOY, ask, drive, errors, make

from archfab import Space, UsageError, choose
from archfab.core import Event, Trial
from archfab.metrics.pareto import front, hypervolume
from archfab.strategies._members import key

GOALS = {"error": "min", "size": "min"}
PLAIN = {"width": 8, "depth": 2, "layer0": "skip", "layer1": "skip"}


def tell(strategy, points):
    for number, (error, size) in enumerate(points):
        strategy.tell(Event("ok", Trial(number, PLAIN), {"error": float(error), "size": float(size)}))


def numbers(strategy):
    return [member.number for member in strategy.living]


def test_the_population_is_what_sorting_and_crowding_leave():
    """Two fronts; the second does not fit whole, so that its most crowded member goes."""
    first = [(0, 10), (5, 5), (10, 0)]
    second = [(1, 12), (5.5, 6.5), (6, 6), (12, 1)]
    strategy = make("nsga2", goals=GOALS, population=6)
    tell(strategy, [*second, *first])
    assert set(numbers(strategy)) == {4, 5, 6, 0, 3, 2}         # crowding: 11 / 11 of number 1, 12 / 11 of number 2
    assert set(numbers(strategy)[:3]) == {4, 5, 6}


def test_networks_that_break_limits_come_last_by_how_much():
    strategy = make("nsga2", goals=GOALS, limits=["size<=10"], population=3)
    tell(strategy, [(0, 30), (0, 15), (9, 9), (0, 20)])
    assert numbers(strategy) == [2, 1, 3]
    strategy.tell(Event("rejected", Trial(4, PLAIN), {"size": 12.0}))
    strategy.tell(Event("rejected", Trial(5, PLAIN)))           # unknown to the estimator
    strategy.tell(Event("failed", Trial(6, PLAIN)))
    assert numbers(strategy) == [2, 4, 1]


def test_parents_win_tournaments_of_two():
    strategy = make("nsga2", population=4, crossover=0)
    for number, error in enumerate([0.5, 0.2, 0.9, 0.4]):
        strategy.tell(Event("ok", Trial(number, PLAIN), {"error": error}))
    parents = [ask(strategy, 4, seed).parent for seed in range(1500)]
    ranks = [1, 3, 0, 2]                                        # the best first
    for place, number in enumerate(ranks):
        chance = sum(min(pair) == place for pair in product(range(4), repeat=2)) / 16
        assert parents.count(number) / 1500 == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 1500) ** 0.5)


def test_the_selection_does_not_depend_on_the_order_of_results_while_fronts_fit_whole():
    points = [(0, 10), (5, 5), (10, 0), (1, 12), (7, 7.5), (12, 1)]
    for order in permutations(points):
        strategy = make("nsga2", goals=GOALS, population=3)
        tell(strategy, order)
        assert {member.scores for member in strategy.living} == {(0, 10), (5, 5), (10, 0)}


def test_a_child_has_every_decision_of_a_parent_or_one_changed():
    space = Space([choose(f"c{i}", *range(4)) for i in range(8)])
    for mutation, changed in ((0.0, {0}), (1.0, {0, 1})):
        strategy = make("nsga2", space, population=2, crossover=1, mutation=mutation)
        one, other = {f"c{i}": 0 for i in range(8)}, {f"c{i}": 1 for i in range(8)}
        for number, genotype in enumerate((one, other)):
            strategy.tell(Event("ok", Trial(number, genotype), {"error": float(number)}))
        children = [ask(strategy, 2, seed).genotype for seed in range(60)]
        assert {sum(label not in (0, 1) for label in child.values()) for child in children} == changed
        assert not any(child in (one, other) for child in children)


def test_no_network_is_tried_twice():
    events = drive(make("nsga2", goals=GOALS), 500)[::2]
    assert len({key(event.trial.genotype) for event in events}) == 500
    events = drive(make("nsga2", Space(choose("a", *range(9)))), 40,
                   judge=lambda trial: Event("ok", trial, {"error": float(trial.genotype["a"])}))
    assert len(events) == 80


def test_it_is_far_ahead_of_random_search_on_two_objectives():
    """Both after 500 trials: the share of the exact front's hypervolume that is still missing."""
    exact = [tuple(TOY.known(genotype).values()) for genotype in Space(TOY.space())]
    best = hypervolume([exact[i] for i in front(exact)], (1.0, 460.0))
    missing = {"random": 0.0, "nsga2": 0.0}
    for name in missing:
        for seed in range(4):
            events = drive(make(name, goals=GOALS), 500, seed=seed)
            points = [(e.metrics["error"], e.metrics["size"]) for e in events if e.kind == "ok"]
            missing[name] += 1 - hypervolume(points, (1.0, 460.0)) / best
    assert missing["nsga2"] < 0.3 * missing["random"]


@pytest.mark.parametrize("bound", [48, 200])
def test_it_keeps_a_limit_and_finds_the_best_within_it(bound):
    least = min(error for error, size in (TOY.known(g).values() for g in Space(TOY.space())) if size <= bound)
    found = []
    for seed in range(4):
        events = drive(make("nsga2", limits=[f"size<={bound}"]), 600, seed)[1::2]
        kept = [event.metrics["error"] for event in events if event.metrics["size"] <= bound]
        found.append(min(kept))
        assert len(kept) > 200
    assert sorted(found)[1] <= 1.02 * least


def test_with_one_objective_it_finds_the_optimum():
    found = [min(errors(drive(make("nsga2"), 700, seed))) for seed in range(5)]
    assert sum(error == pytest.approx(0.05 + 0.9 / 7, abs=1e-9) for error in found) >= 3


@pytest.mark.parametrize(("options", "message"), [
    ({"population": 1}, "whole number from 2 up, not 1"), ({"population": 9.5}, r"not 9\.5"),
    ({"population": True}, "not True"), ({"crossover": 1.5}, r"crossover is a share from 0 to 1, not 1\.5"),
    ({"crossover": float("nan")}, "not nan"), ({"mutation": -0.1}, r"mutation is a share from 0 to 1, not -0\.1"),
    ({"mutation": "much"}, "not 'much'")])
def test_bad_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        make("nsga2", **options)


@pytest.mark.shared
@pytest.mark.parametrize("device", ["raspi4", "eyeriss"])
def test_accuracy_and_latency_of_nasbench201(shared_data, device):
    """The share of the exact front's hypervolume after 300 evaluations, up to the worst of the whole table."""
    from archfab.comparison.play import make_strategy, play
    from archfab.tables import read_table
    table = read_table(f"{shared_data / 'nasbench201'}+{shared_data / 'hw-nas-bench'}")
    latency = f"{device}_latency_ms"
    goals = {"accuracy": "max", latency: "min"}
    reference = tuple(map(max, zip(*table.points(goals), strict=True)))
    whole = hypervolume(table.front(goals), reference)
    shares = {}
    for name in ("nsga2", "random"):
        runs = [play(make_strategy(name, table, goals), table, 300, seed) for seed in range(5)]
        shares[name] = sum(hypervolume([(-step.truth["accuracy"], step.truth[latency]) for step in steps], reference)
                           for steps in runs) / len(runs) / whole
    assert shares["nsga2"] >= 0.995 and 1 - shares["nsga2"] < 0.5 * (1 - shares["random"])
