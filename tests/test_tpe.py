"""TPE: its densities by hand, its split, what it finds, and that parallel workers do not repeat one another."""

import math
import random
from collections import Counter

import pytest
from driving import TOY, ask, drive, errors, make, toy

from archfab import Space, UsageError, choose
from archfab.core import Event
from archfab.metrics.levels import Levels
from archfab.metrics.pareto import best_first, front, fronts, hypervolume
from archfab.strategies._members import key
from archfab.surrogates.parzen import Memory, Parzen, Rows

BEST = 0.05 + 0.9 / 7


@pytest.fixture
def small():
    """Six networks: a=p with b, a=q with c and perhaps b."""
    return Space(choose("a", p=choose("b", 1, 2), q=choose("c", x=[], y=[], z=choose("b", 1, 2))))


def parzen(space, genotypes, prior):
    rows = Rows(space)
    return Parzen(space, rows, genotypes, rows(genotypes), prior), rows


# --- densities

def test_the_density_of_a_conditional_space_by_hand(small):
    one, two = {"a": "p", "b": 1}, {"a": "q", "c": "x"}
    density, rows = parzen(small, [one, two], prior=0.5)
    ratio = 1 + 3 / 0.5                                                 # of its own option to any other
    pair, triple = (ratio / (ratio + 1), 1 / (ratio + 1)), (ratio / (ratio + 2), 1 / (ratio + 2))
    expected = {                    # prior, the kernel around `one`, the kernel around `two` (which has no b)
        ("p", 1): (1 / 4, pair[0] * pair[0], pair[1] / 2),
        ("p", 2): (1 / 4, pair[0] * pair[1], pair[1] / 2),
        ("q", "x"): (1 / 6, pair[1] / 3, pair[0] * triple[0]),          # `one` has no c
        ("q", "y"): (1 / 6, pair[1] / 3, pair[0] * triple[1]),
        ("q", "z", 1): (1 / 12, pair[1] / 3 * pair[0], pair[0] * triple[1] / 2),
        ("q", "z", 2): (1 / 12, pair[1] / 3 * pair[1], pair[0] * triple[1] / 2)}
    for genotype in small:
        prior, first, second = expected[tuple(genotype.values())]
        assert math.exp(density.log(rows([genotype]))[0]) == pytest.approx((0.5 * prior + first + second) / 2.5)


@pytest.mark.parametrize("number", [0, 1, 7])
@pytest.mark.parametrize("prior", [0.1, 1.0, 20.0])
def test_a_density_adds_up_to_1_over_the_whole_space(number, prior):
    for space in (Space(TOY.space()), Space([choose("a", 1), choose("b", x=choose("c", 2), y=[])])):
        rng = random.Random(0)
        density, rows = parzen(space, [space.sample(rng) for _ in range(number)], prior)
        assert sum(math.exp(value) for value in density.log(rows(list(space)))) == pytest.approx(1, abs=1e-4)


def test_draws_are_as_frequent_as_the_density_says(small):
    density, rows = parzen(small, [{"a": "p", "b": 1}, {"a": "q", "c": "z", "b": 2}, {"a": "p", "b": 1}], prior=1.0)
    rng, draws = random.Random(0), 20_000
    found = Counter(key(density.draw(rng)) for _ in range(draws))
    for genotype in small:
        chance = math.exp(density.log(rows([genotype]))[0])
        assert found[key(genotype)] / draws == pytest.approx(chance, abs=4 * math.sqrt(chance / draws))


# --- the split

def test_the_best_share_is_good_failures_never_are_and_what_runs_counts_among_the_others():
    space = Space(choose("a", *range(40)))
    memory = Memory(space, gamma=0.2, candidates=8, prior=1.0)
    for i in range(12):
        memory.add({"a": i}, 0.0, (float(i % 10),))         # 0 and 10 are the best, then 1 and 11
    memory.add({"a": 20})                                   # failed
    memory.add({"a": 21}, 0.5, (-5.0,))                     # breaks a limit
    memory.add({"a": 22}, 2.0, ())                          # rejected
    good, other = memory.densities(space, [{"a": 30}])
    assert {genotype["a"] for genotype in good.genotypes} == {0, 10, 1}             # a fifth of 14, rounded up
    assert {genotype["a"] for genotype in other.genotypes} == {*range(2, 10), 11, 20, 21, 22, 30}
    assert len(other.placed) == len(other.genotypes) == 13


def test_when_everything_breaks_a_limit_the_least_broken_is_good_and_when_all_fails_nothing_is():
    space = Space(choose("a", *range(40)))
    memory = Memory(space, gamma=0.1, candidates=8, prior=1.0)
    for i in range(10):
        memory.add({"a": i})
    assert memory.densities(space)[0].genotypes == []
    for i in range(10, 20):
        memory.add({"a": i}, 25.0 - i, ())
    assert memory.densities(space)[0].genotypes == [{"a": 19}]


def test_with_two_objectives_the_first_front_is_good():
    space = Space(choose("a", *range(40)))
    memory = Memory(space, gamma=0.2, candidates=8, prior=1.0)
    for i, point in enumerate([(5.0, 5.0), (1.0, 4.0), (4.0, 4.0), (4.0, 1.0), (9.0, 9.0)] * 2):
        memory.add({"a": i}, 0.0, point)
    assert {genotype["a"] for genotype in memory.densities(space)[0].genotypes} <= {1, 3, 6, 8}


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_levels_kept_up_to_date_are_the_fronts_sorted_at_once(axes, seed):
    rng, levels, points, excess = random.Random(seed), Levels(), [], []
    for number in range(120):
        point = tuple(float(rng.randrange(9)) for _ in range(axes))
        points.append(point if rng.random() < 0.9 else ())
        excess.append(rng.choice([0.0, 0.0, 0.0, 1.0, 2.0]) if points[-1] else 3.0)
        levels.add(number, excess[-1], points[-1])
        assert len(levels) == number + 1
    kept = [i for i in range(120) if not excess[i]]
    expected = [{kept[i] for i in layer} for layer in fronts([points[i] for i in kept])]
    assert [{number for _, number in level} for level in levels.levels] == expected
    order, at_once = list(levels), best_first(points, excess)
    assert sorted(order) == list(range(120))
    assert [(points[i], excess[i]) for i in order[len(kept):]] == [(points[i], excess[i]) for i in at_once[len(kept):]]
    start = 0
    for layer in expected:
        assert set(order[start:start + len(layer)]) == layer
        start += len(layer)


# --- the strategy

def test_tpe_finds_the_optimum_far_more_often_than_random_search():
    hits = {name: sum(min(errors(drive(make(name), 200, seed))) == pytest.approx(BEST, abs=1e-9)
                      for seed in range(10)) for name in ("tpe", "random")}
    assert hits["tpe"] >= 8 and hits["random"] <= 2


def test_tpe_with_two_objectives_is_far_ahead_of_random_search():
    exact = [tuple(TOY.known(genotype).values()) for genotype in Space(TOY.space())]
    best = hypervolume([exact[i] for i in front(exact)], (1.0, 460.0))
    missing = {"random": 0.0, "tpe": 0.0}
    for name in missing:
        for seed in range(4):
            events = drive(make(name, goals={"error": "min", "size": "min"}), 300, seed)
            points = [(e.metrics["error"], e.metrics["size"]) for e in events if e.kind == "ok"]
            missing[name] += 1 - hypervolume(points, (1.0, 460.0)) / best
    assert missing["tpe"] < 0.4 * missing["random"]


@pytest.mark.parametrize("bound", [48, 200])
def test_tpe_keeps_a_limit_and_finds_the_best_within_it(bound):
    every = [TOY.known(genotype) for genotype in Space(TOY.space())]
    least = min(metrics["error"] for metrics in every if metrics["size"] <= bound)
    for seed in range(3):
        found = [event.metrics for event in drive(make("tpe", limits=[f"size<={bound}"]), 200, seed)[1::2]]
        kept = [metrics["error"] for metrics in found if metrics["size"] <= bound]
        assert min(kept) <= 1.05 * least and len(kept) > 0.5 * len(found)


def test_tpe_avoids_what_fails():
    def judge(trial):
        return toy(trial) if trial.genotype["width"] < 32 else Event("failed", trial, note="out of memory")

    failed = {name: [sum(event.kind == "failed" for event in drive(make(name), 150, seed, judge)[1::2])
                     for seed in range(4)] for name in ("tpe", "random")}
    assert max(failed["tpe"]) < 0.7 * min(failed["random"])


def test_no_network_is_proposed_twice_whatever_is_still_running():
    for hold in (0, 8, 1000):           # how many run at once; at last nothing ever ends
        strategy, running, seen = make("tpe"), [], set()
        for number in range(150):
            trial = ask(strategy, number)
            assert key(trial.genotype) not in seen
            seen.add(key(trial.genotype))
            strategy.tell(Event("asked", trial))
            running.append(trial)
            if len(running) > hold:
                strategy.tell(toy(running.pop(0)))


def test_what_runs_drives_the_next_proposal_elsewhere():
    strategy = make("tpe")
    drive(strategy, 30)
    trial = ask(strategy, 30)
    row = strategy.memory.rows([trial.genotype])

    def ratio():
        good, other = strategy.memory.densities(strategy.space, strategy.pending.values())
        return (good.log(row) - other.log(row))[0]

    before = ratio()
    strategy.tell(Event("asked", trial))
    assert ratio() < before - 0.1
    strategy.tell(Event("ok", trial, {"error": 0.0}))
    assert ratio() > before


def test_a_small_space_is_gone_through_once_then_nothing_is_left():
    space = Space(choose("a", p=choose("b", *range(9)), q=[choose("c", 1, 2, 3), choose("d", 1, 2)]))
    events = drive(make("tpe", space), 100, judge=lambda trial: Event("ok", trial, {"error": len(trial.genotype)}))
    assert len(events) // 2 == len({key(event.trial.genotype) for event in events}) == space.size == 15


@pytest.mark.parametrize(("options", "message"), [
    ({"startup": 0}, "startup is a number of networks, 1 or more, not 0"), ({"startup": 2.5}, r"not 2\.5"),
    ({"candidates": 0}, "candidates is a number"), ({"candidates": True}, "not True"),
    ({"gamma": 0}, "above 0 and below 1, not 0"), ({"gamma": 1.0}, r"not 1\.0"), ({"gamma": float("nan")}, "not nan"),
    ({"gamma": "0.1"}, "not '0.1'"), ({"prior": 0}, "prior is a weight"), ({"prior": float("inf")}, "not inf")])
def test_bad_options_are_refused(options, message):
    for name in ("tpe", "bohb"):
        with pytest.raises(UsageError, match=message):
            make(name, **options)


@pytest.mark.shared
def test_tpe_on_nasbench201(shared_data):
    from archfab.comparison.play import incumbents, make_strategy, play
    from archfab.tables import read_table
    table = read_table(str(shared_data / "nasbench201"))
    found = [incumbents(play(make_strategy("tpe", table, table.goals), table, 100, seed), "accuracy", "max")[-1]
             for seed in range(12)]
    assert sum(found) / len(found) > 94.25          # Optuna's multivariate TPE: 94.30 in 20 runs, its default 94.07
