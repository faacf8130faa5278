"""Progressive search: what the levels are, that networks grow, and what the predictor knows."""

import random

import pytest
from driving import TOY, ask, drive, errors, make

from archfab import Space, UsageError, choose, nn, registry, repeat
from archfab.core import Event
from archfab.strategies._members import key
from archfab.strategies.progressive import Deeper, Freer, Kernel, depths, growth, simplest

STAGES = Space([[repeat(choose(f"depth{s}", 4, 2, 3), lambda i, s=s: choose(f"kernel{s}.{i}", 3, 5, 7))
                 for s in range(3)], choose("width", 8, 16)])
FLAT = Space([choose(f"c{i}", *range(4)) for i in range(8)])


def summed(trial):
    return Event("ok", trial, {"error": -float(sum(trial.genotype.values()))})


# --- levels

def test_depths_are_what_counts_a_repeat_from_the_least_to_the_most():
    assert depths(STAGES) == {f"depth{s}": [2, 3, 4] for s in range(3)}
    assert depths(FLAT) == {}
    more = choose("more", 0, 2)
    assert depths(Space(repeat(choose("base", 3, 1) + more, lambda i: choose(f"a{i}", 1, 2)))) \
        == {"base": [1, 3], "more": [0, 2]}
    named = Space(choose("net", small=repeat(2, lambda i: choose(f"b{i}", 1, 2)),
                         large=repeat(choose("n", 1, 5), lambda i: choose(f"c{i}", 1, 2))))
    assert depths(named) == {"n": [1, 5]}


def test_the_toy_space_grows_in_depth():
    assert depths(Space(TOY.space())) == {"depth": [2, 3, 4, 5, 6]}


def test_with_depths_the_first_level_is_the_least_and_the_last_the_most():
    grown, rng = growth(STAGES, 4), random.Random(0)
    assert isinstance(grown, Deeper) and grown.levels == 4 and grown.bounds == [0, 2, 4, 6]
    for level, steps in enumerate(grown.bounds):
        for _ in range(20):
            genotype = grown.extend(None, level, rng)
            STAGES.check(genotype)
            assert sum(genotype[f"depth{s}"] - 2 for s in range(3)) == steps


def test_an_extension_has_all_that_the_simpler_network_has():
    for space in (STAGES, FLAT):
        grown, rng = growth(space, 4), random.Random(1)
        for _ in range(30):
            genotype = grown.extend(None, 0, rng)
            for level in range(1, grown.levels):
                extended = grown.extend(genotype, level, rng)
                space.check(extended)
                free = grown.names[grown.bounds[level]:] if isinstance(grown, Freer) else list(grown.depths)
                assert all(extended[name] == label for name, label in genotype.items() if name not in free)
                genotype = extended


def test_in_other_spaces_decisions_are_opened_in_order_and_the_rest_is_simplest():
    grown, rng = growth(FLAT, 3), random.Random(0)
    assert isinstance(grown, Freer) and grown.bounds == [0, 3, 6, 8]
    for level in range(3):
        found = [grown.extend(None, level, rng) for _ in range(60)]
        for place, name in enumerate(FLAT.labels):
            assert {genotype[name] for genotype in found} == (set(range(4)) if place < grown.bounds[level + 1] else {0})


def test_the_simplest_option_is_the_identity_then_the_smallest_number_then_the_first():
    space = Space([choose("op", conv=nn.Conv2d(8, 3), skip=nn.Identity()), choose("width", 32, 8, 16),
                   choose("act", "relu", "gelu"), choose("flag", True, False)])
    found = {name: simplest(options) for name, options in space.data["choices"].items()}
    assert found == {"op": "skip", "width": 8, "act": "relu", "flag": True}


def test_there_are_no_more_levels_than_steps():
    assert growth(FLAT, 100).levels == 8
    assert growth(STAGES, 100).levels == 7
    assert growth(STAGES, 1).bounds == [0]
    assert growth(Space([choose("a", 1)]), 4).levels == 0


# --- the search

def test_trials_grow_level_by_level():
    events = drive(make("progressive", STAGES, levels=4, width=5), 20,
                   judge=lambda trial: Event("ok", trial, {"error": 1 / sum(v for v in trial.genotype.values())}))
    depth = [sum(e.trial.genotype[f"depth{s}"] - 2 for s in range(3)) for e in events[::2]]
    assert depth == [0] * 5 + [2] * 5 + [4] * 5 + [6] * 5


def test_those_that_grow_are_the_best():
    """Two networks of each level grow: on the next one every network extends the two best of all before."""
    events = drive(make("progressive", FLAT, levels=4, width=2), 8, judge=summed)
    told = [(event.metrics["error"], event.trial.genotype) for event in events[1::2]]
    for level in (1, 2, 3):
        best = [genotype for _, genotype in sorted(told[:2 * level], key=lambda each: each[0])[:2]]
        for _, genotype in told[2 * level:2 * level + 2]:
            assert any(all(genotype[name] == parent[name] for name in list(FLAT.labels)[:2 * level])
                       for parent in best)


def test_a_level_with_few_networks_is_filled_up_from_the_next():
    space = Space([choose("a", 0, 1), choose("b", 0, 1, 2), choose("c", 0, 1, 2)])
    events = drive(make("progressive", space, levels=3, width=6), 6, judge=summed)
    found = [event.trial.genotype for event in events[::2]]
    assert len({key(genotype) for genotype in found}) == 6
    assert sum(genotype["b"] == genotype["c"] == 0 for genotype in found) >= 2


def test_no_network_is_tried_twice_and_pending_ones_are_not_asked_again():
    events = drive(make("progressive"), 200)[::2]
    assert len({key(event.trial.genotype) for event in events}) == 200
    strategy, running, seen = make("progressive", FLAT), [], set()
    for number in range(100):
        trial = ask(strategy, number)
        assert key(trial.genotype) not in seen
        seen.add(key(trial.genotype))
        strategy.tell(Event("asked", trial))
        running.append(trial)
        if len(running) > 7:
            strategy.tell(summed(running.pop(0)))


@pytest.mark.parametrize("space", [Space([]), Space([choose("a", 1)]), Space(choose("a", 1, 2))])
def test_where_nothing_can_grow_it_searches_all_the_same(space):
    events = drive(make("progressive", space), 30, judge=lambda trial: Event("ok", trial, {"error": 0.0}))
    assert len(events) == 60 and {key(event.trial.genotype) for event in events[::2]} == {key(g) for g in space}


def test_it_finds_the_optimum_of_additive_decisions_in_few_trials():
    for seed in range(3):
        assert min(errors(drive(make("progressive", FLAT), 60, seed, summed))) == -24      # of 65,536 networks


def test_it_finds_the_optimum_of_the_toy_task():
    found = [min(errors(drive(make("progressive"), 200, seed))) for seed in range(4)]
    assert sum(error == pytest.approx(0.05 + 0.9 / 7, abs=1e-9) for error in found) >= 3


def test_failures_are_learned_from():
    """Half of the space fails; later proposals mostly avoid it."""
    def judge(trial):
        return Event("failed", trial, note="no") if trial.genotype["c0"] < 2 else summed(trial)

    events = drive(make("progressive", FLAT, levels=2), 80, judge=judge)[1::2]
    assert sum(event.kind == "failed" for event in events[40:]) <= 8


def test_with_two_objectives_both_ends_of_the_front_are_found():
    space = Space([choose(f"c{i}", *range(4)) for i in range(6)])

    def judge(trial):
        total = float(sum(trial.genotype.values()))
        return Event("ok", trial, {"error": -total, "size": total})

    found = [event.metrics["size"] for event in drive(make("progressive", space, {"error": "min", "size": "min"}), 80,
                                                      judge=judge)[1::2]]
    assert max(found) == 18 and min(found) <= 1


# --- hints

def test_limits_that_the_hints_know_are_kept_from_the_first_ranking_on():
    strategy = make("progressive", FLAT, limits=["size<=12"], levels=2, width=5)
    strategy.hints = lambda genotype: {"size": float(sum(genotype.values()))}
    events = drive(strategy, 60, judge=lambda trial: Event("ok", trial, {
        "error": -float(sum(trial.genotype.values())), "size": float(sum(trial.genotype.values()))}))[1::2]
    assert all(event.metrics["size"] <= 12 for event in events[5:])
    assert min(event.metrics["error"] for event in events) == -12


def test_hints_that_tell_the_score_are_used():
    """A score that no pair of decisions explains, but a cheap figure does."""
    def score(genotype):
        return random.Random(str(sorted(genotype.items()))).random()

    def best(hints):
        found = []
        for seed in range(5):
            strategy = make("progressive", FLAT)
            strategy.hints = (lambda genotype: {"proxy": 10 - score(genotype) ** 2}) if hints else None
            strategy.looks = 1000
            found.append(min(errors(drive(strategy, 60, seed, lambda t: Event("ok", t, {"error": score(t.genotype)})))))
        return sum(found) / 5

    assert best(True) < 0.5 * best(False)


def test_no_more_hints_are_asked_than_there_are_looks():
    asked = []

    def hints(genotype):
        asked.append(genotype)
        return {"size": 1.0}

    strategy = make("progressive", FLAT, width=5)
    strategy.hints, strategy.looks = hints, 16
    drive(strategy, 5, judge=summed)
    assert 5 < len(asked) <= 5 + 16


# --- the predictor

def test_the_predictor_is_ridge_regression_on_decisions_and_pairs():
    """Its products are those of the explicit features 1, sqrt(2) x_i and x_i x_j over decisions x of unit length."""
    import numpy as np
    source = random.Random(0)
    known, others = ([FLAT.sample(source) for _ in range(n)] for n in (30, 10))
    kernel = Kernel(FLAT, known, others, [{}] * 30, [{}] * 10)

    def features(genotypes):
        x = np.array([FLAT.encode(genotype) for genotype in genotypes]) / np.sqrt(8)
        pairs = np.einsum("ni,nj->nij", x, x).reshape(len(x), -1)
        return np.hstack([np.ones((len(x), 1)), np.sqrt(2) * x, pairs]) / 2

    explicit, wanted = features(known), features(others)
    assert np.allclose(kernel.products[0], np.vstack([explicit, wanted]) @ explicit.T, atol=1e-6)

    from archfab.strategies.progressive import RIDGES
    from archfab.surrogates.gaussian import normal_scores
    results = [(source.random(),) for _ in known]
    y = normal_scores(np.array([result[0] for result in results]))

    def fit(x, y, ridge):
        return np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)

    losses = [sum((y[i] - explicit[i] @ fit(np.delete(explicit, i, 0), np.delete(y, i), ridge)) ** 2
                  for i in range(30)) for ridge in RIDGES]
    ridge = RIDGES[int(np.argmin(losses))]
    assert np.allclose(kernel.predict(results), wanted @ fit(explicit, y, ridge), atol=1e-5)


@pytest.mark.parametrize(("options", "message"), [
    ({"levels": 0}, "levels is a whole number from 1 up, not 0"), ({"width": -1}, "width is a whole number"),
    ({"candidates": 2.5}, r"not 2\.5"), ({"after": 0}, "after is a whole number"), ({"width": "few"}, "not 'few'")])
def test_bad_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        make("progressive", **options)


def test_its_description_loads_no_numpy_at_import():
    import subprocess
    import sys
    code = ("import sys, archfab.strategies.progressive, archfab.strategies.local_search, archfab.strategies.nsga2\n"
            "assert 'numpy' not in sys.modules and 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)
    assert registry.load("strategies", "progressive").__doc__


@pytest.mark.shared
@pytest.mark.parametrize("hints", [True, False])
def test_progressive_on_nasbench201(shared_data, hints):
    """Ahead of regularised evolution at half of its evaluations (94.16 at 100, 94.31 at 150)."""
    from archfab.comparison.play import incumbents, make_strategy, play
    from archfab.tables import read_table
    table = read_table(shared_data / "nasbench201")
    best = [incumbents(play(make_strategy("progressive", table, table.goals, hints=hints), table, 60, seed), "accuracy",
                       "max")[-1] for seed in range(8)]
    assert sum(best) / len(best) >= 94.3
