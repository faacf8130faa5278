"""Contracts of every strategy in the registry, and what evolution finds where the answer is known."""

import random
from itertools import product

import pytest
from driving import TOY, ask, drive, errors, make, propose, state, through_json, toy

from archfab import Space, UsageError, choose, registry, repeat
from archfab.core import Event, Strategy, Trial
from archfab.metrics.pareto import crowding, front, hypervolume

NAMES = registry.names("strategies")
BEST = 0.05 + 0.9 / 7

SPACES = {
    "toy": lambda: TOY.space(),
    "one option": lambda: [choose("a", 1), choose("b", x=choose("c", 2))],
    "no choice": lambda: [],
    "two": lambda: choose("a", 1, 2),
    "conditional": lambda: choose("a", p=choose("b", 1, 2), q=[choose("c", 1, 2, 3), choose("d", r=choose("b", 1, 2))]),
    "huge": lambda: [repeat(choose(f"n{s}", 0, 3), lambda i, s=s: choose(f"k{s}.{i}", *range(9))) for s in range(12)],
}
EVENTS = {
    "all well": lambda trial: Event("ok", trial, judged(trial)),
    "all fail": lambda trial: Event("failed", trial, note="RuntimeError: by construction"),
    "all rejected": lambda trial: Event("rejected", trial, {"size": 1e9}),
    "a mixture": lambda trial: [Event("ok", trial, judged(trial)), Event("failed", trial, note="no"),
                                Event("rejected", trial, {"size": 1e9})][trial.number % 3],
}


def judged(trial):
    score = sum(len(str(label)) * (i + 1) for i, label in enumerate(trial.genotype.values()))
    return {"error": 1 / (1 + score), "accuracy": float(score), "size": float(len(trial.genotype))}


GOALS = {"one": {"error": "min"}, "one to be large": {"accuracy": "max"},
         "three": {"error": "min", "accuracy": "max", "size": "min"}}


# --- contracts

@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("space", "events"), [
    pytest.param(space, events, marks=[pytest.mark.slow] if space == "huge" and events != "a mixture" else [])
    for space in SPACES for events in EVENTS])
def test_every_proposal_is_legal_whatever_happens(name, space, events):
    space = Space(SPACES[space]())
    for goals in GOALS.values():
        strategy = make(name, space, goals, ["size<=4", "error<=0.5"])
        told = drive(strategy, 45, judge=EVENTS[events])
        assert isinstance(strategy, Strategy) and told
        for number, event in enumerate(event for event in told if event.kind == "asked"):
            assert event.trial.number == number
            space.check(event.trial.genotype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("told", [0, 1, 19, 20, 21, 60])
@pytest.mark.parametrize("goals", GOALS)
def test_asking_changes_nothing(name, told, goals):
    strategy = make(name, goals=GOALS[goals], limits=["size<=3"])
    drive(strategy, told, judge=EVENTS["a mixture"])
    before = state(strategy)
    first = ask(strategy, told)
    others = [ask(strategy, told + i, seed) for i in range(3) for seed in (1, 2)]
    assert all(others) and state(strategy) == before
    assert ask(strategy, told) == first


@pytest.mark.parametrize("name", NAMES)
def test_telling_does_not_change_what_it_is_told(name):
    trial = Trial(0, {"width": 8, "depth": 2, "layer0": "skip", "layer1": "pool"})
    metrics = {"error": 0.5, "size": 8.0}
    make(name).tell(Event("ok", trial, metrics))
    assert trial.genotype == {"width": 8, "depth": 2, "layer0": "skip", "layer1": "pool"}
    assert metrics == {"error": 0.5, "size": 8.0}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("goals", [pytest.param(goals, marks=[pytest.mark.slow] if goals == "three" else [])
                                   for goals in GOALS])
def test_a_strategy_told_the_log_again_goes_on_as_the_one_that_lived_it(name, goals):
    limits = ["size<=1e6"]          # what is rejected breaks a limit
    strategy, events = make(name, goals=GOALS[goals], limits=limits), []
    for number in range(70):
        if number % 9 == 0:
            again = make(name, goals=GOALS[goals], limits=limits)
            for event in events:
                again.tell(through_json(event))
            assert ask(again, number) == ask(strategy, number)
        trial = propose(strategy, number, events=events)
        event = EVENTS["a mixture"](trial) if number % 2 else EVENTS["all well"](trial)
        events += [Event("asked", trial), event]
        for each in events[-2:]:
            strategy.tell(each)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_is_the_same_run_and_another_is_another(name):
    runs = [[event.trial for event in drive(make(name), 60, seed) if event.trial] for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert name == "exhaustive" or runs[1] != runs[2]         # that one has a single order
    assert len({Space.id(trial.genotype) for trial in runs[0]}) > 25


@pytest.mark.parametrize("name", NAMES)
def test_events_may_come_late_and_in_any_order(name):
    """As with several workers: proposals are made while others run."""
    strategy, space, source = make(name), Space(TOY.space()), random.Random(0)
    running = []
    for number in range(120):
        trial = propose(strategy, number)
        space.check(trial.genotype)
        strategy.tell(Event("asked", trial))
        running.append(trial)
        if len(running) > 6:
            strategy.tell(toy(running.pop(source.randrange(len(running)))))


@pytest.mark.parametrize("name", NAMES)
def test_events_without_a_trial_change_no_proposal(name):
    strategy = make(name)
    drive(strategy, 40)
    before, state_before = ask(strategy, 40), state(strategy)
    for event in (Event("ended", data={"phase": "search"}), Event("baseline", metrics={"middle": 0.5})):
        strategy.tell(event)
    assert ask(strategy, 40) == before and state(strategy) == state_before


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_default_and_a_line_in_the_docstring(name):
    export = registry.load("strategies", name)
    for option, parameter in registry.settings(export).items():
        assert parameter.default is not parameter.empty and parameter.annotation is not parameter.empty
        assert f":param {option}:" in export.__doc__


# --- evolution

@pytest.fixture(scope="module")
def every():
    """All there is in the toy space: (error, size) of each architecture."""
    space = Space(TOY.space())
    found = [TOY.known(genotype) for genotype in space]
    assert len(found) == space.size == 6 * (4**2 + 4**3 + 4**4 + 4**5 + 4**6)
    return [(metrics["error"], metrics["size"]) for metrics in found]


@pytest.fixture(scope="module")
def exact(every):
    """The exact front of error and size."""
    points = sorted(set(every))
    return [points[i] for i in front(points)]


def test_the_known_optimum_is_the_optimum(every):
    assert min(every)[0] == pytest.approx(BEST, abs=1e-12)


def test_evolution_finds_the_optimum_and_random_search_does_not():
    found = [min(errors(drive(make("evolution"), 600, seed))) for seed in range(10)]
    assert sum(error == pytest.approx(BEST, abs=1e-9) for error in found) >= 7
    missed = [min(errors(drive(make("random"), 600, seed))) for seed in range(10)]
    assert sum(error == pytest.approx(BEST, abs=1e-9) for error in missed) <= 3


def test_evolution_beats_random_search_at_200_trials():
    means = [sum(min(errors(drive(make(name), 200, seed))) for seed in range(10)) / 10
             for name in ("evolution", "random")]
    assert means[0] < means[1] - 0.01


@pytest.mark.parametrize("options", [{}, {"crossover": 0.5}, {"population": 40, "tournament": 8}])
def test_evolution_reaches_the_exact_front_of_two_objectives(exact, options):
    reference = (1.0, 64 * 7 + 1.0)
    goals = {"error": "min", "size": "min"}
    whole = hypervolume(exact, reference)
    hits = {"evolution": 0, "random": 0}
    for seed in range(3):
        for name in hits:
            events = drive(make(name, goals=goals, **(options if name == "evolution" else {})), 1500, seed)
            found = {(event.metrics["error"], event.metrics["size"]) for event in events if event.kind == "ok"}
            hits[name] += len(found & set(exact))
            if name == "evolution":
                assert hypervolume(list(found), reference) >= 0.95 * whole
    assert hits["evolution"] > hits["random"]       # in hypervolume random search is as good on this space


@pytest.mark.parametrize("bound", [48, 96, 200])
def test_evolution_keeps_a_limit_and_comes_close_to_the_best_within_it(every, bound):
    least = min(error for error, size in every if size <= bound)
    found, kept = [], []
    for seed in range(4):
        events = drive(make("evolution", limits=[f"size<={bound}"]), 600, seed)[1::2]
        feasible = [event.metrics["error"] for event in events if event.metrics["size"] <= bound]
        found.append(min(feasible))
        kept.append(len(feasible) / len(events))
    assert sorted(found)[1] <= 1.02 * least and max(found) <= 1.1 * least
    assert min(kept) > 0.5


def test_evolution_leaves_what_is_outside_the_limits_even_where_trials_are_rejected_unscored():
    def judge(trial):
        metrics = TOY.known(trial.genotype)
        if metrics["size"] > 64:
            return Event("rejected", trial, {"size": metrics["size"]})
        return Event("ok", trial, metrics)

    events = drive(make("evolution", limits=["size<=64"]), 400, 0, judge)[1::2]
    early, late = ([event.kind for event in part].count("ok") / len(part) for part in (events[:20], events[200:]))
    assert late > max(0.5, 2 * early)


def test_evolution_maximizes_what_is_to_be_large():
    def judge(trial):
        return Event("ok", trial, {"accuracy": 1 - TOY.known(trial.genotype)["error"]})

    events = drive(make("evolution", goals={"accuracy": "max"}), 600, 0, judge)[1::2]
    assert max(event.metrics["accuracy"] for event in events) == pytest.approx(1 - BEST)


def test_evolution_draws_its_population_then_has_children_one_decision_away():
    space = Space(TOY.space())
    trials = [event.trial for event in drive(make("evolution", space, population=12, tournament=3), 80)[::2]]
    assert all(trial.parent is None for trial in trials[:12])
    for trial in trials[12:]:
        parent = trials[trial.parent].genotype
        assert max(0, trial.number - 12) <= trial.parent < trial.number       # the oldest have died
        assert sum(trial.genotype[name] != parent[name] for name in parent if name in trial.genotype) == 1


def test_a_tournament_is_drawn_evenly_and_won_by_the_best():
    strategy = make("evolution", population=4, tournament=2)
    for number, error in enumerate([0.5, 0.2, 0.9, 0.4]):
        genotype = {"width": 8, "depth": 2, "layer0": "skip", "layer1": "skip"}
        strategy.tell(Event("ok", Trial(number, genotype), {"error": error}))
    parents = [ask(strategy, 4, seed).parent for seed in range(1000)]
    for place, number in enumerate([1, 3, 0, 2]):       # the best first; of six pairs it is in three
        chance = (3 - place) / 6
        assert parents.count(number) / 1000 == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 1000) ** 0.5)


def test_evolution_tries_no_network_twice_and_all_of_them_where_that_is_possible():
    events = drive(make("evolution"), 400)[::2]
    assert len({Space.id(event.trial.genotype) for event in events}) == 400
    events = drive(make("evolution", Space([choose("a", *range(5)), choose("b", *range(5))])), 60,
                   judge=lambda trial: Event("ok", trial, {"error": float(trial.genotype["a"])}))[::2]
    assert len({Space.id(event.trial.genotype) for event in events}) == 25


def test_evolution_does_not_propose_what_is_running_or_has_failed():
    strategy, seen = make("evolution", population=4, tournament=2), []
    for number in range(150):
        trial = ask(strategy, number)
        assert trial.genotype not in seen
        seen.append(trial.genotype)
        strategy.tell(Event("asked", trial))
        if number % 3:                                  # every third goes on running
            strategy.tell(toy(trial) if number % 2 else Event("failed", trial, note="no"))


def test_a_rejection_that_says_nothing_gives_no_member():
    strategy = make("evolution", limits=["size<=3"])
    strategy.tell(Event("rejected", Trial(0, {"width": 8, "depth": 2, "layer0": "skip", "layer1": "skip"})))
    assert not strategy.living and strategy.tried


@pytest.mark.shared
def test_evolution_on_nasbench201(shared_data):
    """A plain regularised evolution with the same population reaches 94.33 (shared/reference/nas.md)."""
    from archfab.comparison.play import incumbents, make_strategy, play
    from archfab.tables import read_table
    table = read_table(shared_data / "nasbench201")
    best = [incumbents(play(make_strategy("evolution", table, table.goals), table, 150, seed), "accuracy", "max")[-1]
            for seed in range(60)]
    assert sum(best) / len(best) >= 94.33


def test_with_two_objectives_parents_are_of_the_front_and_rather_lonely_than_crowded():
    points = [(0.0, 10.0), (1.0, 1.0), (1.1, 0.9), (1.2, 0.8), (10.0, 0.0), (11.0, 11.0)]   # the last is dominated
    strategy = make("evolution", goals={"error": "min", "size": "min"}, population=4, tournament=4)
    for number, (error, size) in enumerate(points):
        genotype = {"width": 8, "depth": 2, "layer0": "skip", "layer1": "skip"}
        strategy.tell(Event("ok", Trial(number, genotype), {"error": error, "size": size}))
    alone = crowding(points[:5])
    chances = [0.0] * 6
    for pair in product(range(5), repeat=2):            # of two drawn, the one that stands more alone
        chances[max(pair, key=alone.__getitem__)] += 1 / 25
    parents = [ask(strategy, 6, seed).parent for seed in range(2000)]
    for number, chance in enumerate(chances):           # the first is kept though the population has moved on
        assert parents.count(number) / 2000 == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 2000) ** 0.5)


def test_evolution_with_two_objectives_is_far_ahead_of_random_search():
    """Both after 500 trials: the share of the exact front's hypervolume that is still missing."""
    missing = {name: [] for name in ("random", "evolution")}
    exact = [tuple(TOY.known(genotype).values()) for genotype in Space(TOY.space())]
    best = hypervolume([exact[i] for i in front(exact)], (1.0, 460.0))
    for name, found in missing.items():
        for seed in range(4):
            events = drive(make(name, goals={"error": "min", "size": "min"}), 500, seed=seed)
            points = [(e.metrics["error"], e.metrics["size"]) for e in events if e.kind == "ok"]
            found.append(1 - hypervolume(points, (1.0, 460.0)) / best)
    assert sum(missing["evolution"]) < 0.3 * sum(missing["random"])


@pytest.mark.parametrize(("options", "message"), [
    ({"population": 0}, "population of 0"), ({"tournament": 0}, "tournament of 0"),
    ({"population": 3, "tournament": 4}, "tournament of 4 does not fit a population of 3"),
    ({"tournament": -1}, "1 <= tournament <= population"),
    ({"crossover": 1.5}, r"share from 0 to 1, not 1\.5"), ({"crossover": -0.1}, r"not -0\.1"),
    ({"crossover": float("nan")}, "not nan")])
def test_bad_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        make("evolution", **options)


@pytest.mark.parametrize("options", [{"population": 20.5}, {"population": "20"}, {"crossover": "0.5"}])
def test_options_of_another_type_are_refused(options):
    with pytest.raises(UsageError):
        make("evolution", **options)


@pytest.mark.parametrize("goals", ["one", "three"])
def test_a_rejected_trial_does_not_win_over_a_scored_one_that_breaks_the_limits_as_much(goals):
    strategy = make("evolution", Space(choose("a", *range(9))), GOALS[goals], ["size<=1", "error<=1"], population=2,
                    tournament=2)
    strategy.tell(Event("rejected", Trial(0, {"a": 0}), {"size": 2.0}))
    strategy.tell(Event("ok", Trial(1, {"a": 1}), {"size": 1.0, "error": 2.0, "accuracy": 0.0}))
    parents = [ask(strategy, 2, seed).parent for seed in range(40)]
    assert parents.count(1) > parents.count(0)
