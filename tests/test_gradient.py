"""Strategies that learn by gradients: what each asks of its lessons, what it ends in, and runs of each."""

import random

import pytest
import torch
from driving import Stop, log

import archfab
from archfab import Space, UsageError, choose, nn, registry
from archfab.core import Diverged, Event, Lesson, Trial
from archfab.estimators._bilevel import Learner
from archfab.runs.shared import lessons
from archfab.search import resume
from archfab.strategies._gradient import ZEROS, options_of
from archfab.strategies.pdarts import DROPOUT, KEPT

NAMES = [name for name in registry.names("strategies") if registry.load("strategies", name).estimator == "relaxed"]
CELL = Space(nn.nasbench201_cell())
OPS = list(CELL.labels["cell.0-1"])


def make(name, space=CELL, limits=(), hints=None, **options):
    from archfab.core import Limit
    strategy = registry.load("strategies", name)(space, {"error": "min"}, [Limit.parse(text) for text in limits],
                                                 **options)
    strategy.hints = hints
    return strategy


def taught(strategy, chances):
    """A lesson that found these chances of the five operations, the same on every edge or by edge."""
    asked = strategy.ask(0, random.Random(0))
    assert isinstance(asked, Lesson)
    open_ = asked.data.get("allowed") or {}
    labels = {name: list(open_.get(name, each)) for name, each in strategy.space.labels.items()}
    if not isinstance(chances, dict):
        chances = dict.fromkeys(labels, chances)
    found = {name: [dict(zip(OPS, chances[name], strict=True))[label] for label in labels[name]] for name in labels}
    strategy.tell(Event("lesson", data={"labels": labels, "chances": found}))
    return asked.data


def by_edge(**leading):
    """Chances in which each edge leans to the operation named, edge by edge; the others to conv3x3."""
    found = {}
    for name in CELL.labels:
        op = leading.get("e" + name[-3] + name[-1], "conv3x3")
        found[name] = [0.5 if op == each else 0.3 if each == "conv1x1" else 0.1 for each in OPS]
    return found


# --- what each method is made of

def test_seven_strategies_learn_by_gradients():
    assert NAMES == ["darts", "darts_plus", "fair_darts", "fbnet", "gdas", "pdarts", "proxyless"]


@pytest.mark.parametrize("name", NAMES)
def test_lessons_come_first_and_then_the_most_probable_network(name):
    strategy = make(name, lessons=4)
    asked = [taught(strategy, [0.1, 0.05, 0.2, 0.6, 0.05]) for _ in range(4)]
    assert len(asked) == 4
    trial = strategy.ask(0, random.Random(0))
    assert isinstance(trial, Trial) and set(trial.genotype.values()) == {"conv3x3"}
    strategy.tell(Event("asked", trial))
    second = strategy.ask(1, random.Random(0))
    assert sorted(second.genotype.values()) == ["conv1x1", *["conv3x3"] * 5]        # one edge takes its second best


@pytest.mark.parametrize("name", NAMES)
def test_limits_hold_for_the_networks_that_are_proposed(name):
    heavy = {"none": 0, "skip": 0, "pool": 0, "conv1x1": 1, "conv3x3": 9}
    for most in (40, 3):        # the first is found in the order of probability, the second by going downhill
        strategy = make(name, lessons=4, limits=[f"params<={most}"], hints=lambda genotype: {
            "params": float(sum(heavy[op] for op in genotype.values())), "macs": 1.0})
        for _ in range(4):
            taught(strategy, [0.1, 0.05, 0.2, 0.6, 0.05])
        found = strategy.ask(0, random.Random(0)).genotype
        assert sum(heavy[op] for op in found.values()) <= most
        if most == 40:
            assert strategy.gap(found) == pytest.approx(min(
                strategy.gap(genotype) for genotype in CELL if sum(heavy[op] for op in genotype.values()) <= most))


def test_darts_plus_stops_before_skips_take_over_and_keeps_what_was_before():
    strategy = make("darts_plus", lessons=10, skips=2)
    for leaning in (by_edge(), by_edge(e01="skip"), by_edge(e01="skip", e02="skip")):
        asked = taught(strategy, leaning)
    assert asked["auxiliary"] == pytest.approx(0.8) and asked["skips"]["cell.0-1"] == ["skip"]
    trial = strategy.ask(0, random.Random(0))
    assert isinstance(trial, Trial) and sorted(trial.genotype.values()) == [*["conv3x3"] * 5, "skip"]


@pytest.mark.parametrize("name", NAMES)
def test_what_gives_nothing_is_chosen_only_where_options_are_drawn_against_each_other(name):
    strategy = make(name, lessons=3)
    for _ in range(3):
        taught(strategy, [0.4, 0.05, 0.2, 0.3, 0.05])       # the first is none
    found = strategy.ask(0, random.Random(0)).genotype
    assert set(found.values()) == {"none" if name in ("gdas", "fbnet", "proxyless") else "conv3x3"}


def skipping(strategy, number, cells):
    """Lessons in which all decisions of some cells lean to a skip where they have one, the first of them most."""
    for _ in range(number):
        asked = strategy.ask(0, random.Random(0))
        open_ = asked.data.get("allowed") or {}
        labels = {name: list(open_.get(name, each)) for name, each in strategy.space.labels.items()}
        chances = {name: [0.9 - i / 1000 if label in strategy.skips.get(name, ()) and name.startswith(cells) else
                          0.05 if label in strategy.skips.get(name, ()) else 0.1 for label in each]
                   for i, (name, each) in enumerate(labels.items())}
        strategy.tell(Event("lesson", data={"labels": labels, "chances": chances}))


DARTS = Space(registry.load("tasks", "vision")().space("darts"))


@pytest.mark.parametrize("name", ["pdarts", "darts_plus"])
def test_skips_are_limited_in_each_cell_by_itself_however_the_lessons_end(name):
    strategy = make(name, DARTS, lessons=9, skips=2)
    skipping(strategy, 4, "normal")
    assert strategy.skipped() > 2
    before = {cell: names for cell, names in strategy.skipping().items() if len(names) <= 2}
    strategy.tell(Event("ended", data={"phase": "lessons", "why": "the time is up"}))
    assert strategy.skipped() == (2 if name == "pdarts" else 1)
    assert {cell: names for cell, names in strategy.skipping().items() if cell in before} == before
    assert isinstance(strategy.ask(0, random.Random(0)), Trial)


@pytest.mark.parametrize("name", ["pdarts", "darts_plus"])
def test_a_skip_beside_nothing_else_stays_and_the_others_give_way(name):
    edges = [choose(f"cell.{i}", **{"skip": nn.Identity(), "none": nn.Zero(),
                                    **({"conv": nn.Conv2d(4, 3, padding=1)} if i else {})}) for i in range(3)]
    strategy = make(name, Space(edges), lessons=3, skips=1)
    skipping(strategy, 1, "cell")
    strategy.tell(Event("ended", data={"phase": "lessons", "why": "the time is up"}))
    assert strategy.likely() == {"cell.0": "skip", "cell.1": "conv", "cell.2": "conv"}


def test_darts_plus_does_not_end_while_decisions_settle():
    strategy = make("darts_plus", lessons=20, skips=1)
    for leaning in (by_edge(), by_edge(e01="skip")):        # a tenth of the lessons
        taught(strategy, leaning)
    taught(strategy, by_edge())
    taught(strategy, by_edge(e01="skip"))
    assert isinstance(strategy.ask(0, random.Random(0)), Trial)


def test_darts_alone_goes_on_into_the_collapse():
    strategy = make("darts", lessons=3)
    for leaning in (by_edge(), by_edge(e01="skip"), by_edge(e01="skip", e02="skip", e12="skip")):
        taught(strategy, leaning)
    assert list(strategy.ask(0, random.Random(0)).genotype.values()).count("skip") == 3


def test_pdarts_drops_options_deepens_and_limits_skips():
    strategy = make("pdarts", lessons=9, skips=1, warm=0.4)
    leaning = by_edge(e01="skip", e02="skip", e12="skip", e03="pool")
    asked = [taught(strategy, leaning) for _ in range(9)]
    assert [round(each["share"], 2) for each in asked] == [0.33] * 3 + [0.67] * 3 + [1.0] * 3
    assert [each["fresh"] for each in asked] == [True, False, False] * 3
    assert [each["learns"] for each in asked] == [False, False, True] * 3
    opened = [len((each["allowed"] or CELL.labels)["cell.0-1"]) for each in asked]
    assert opened == [5] * 3 + [4] * 3 + [2] * 3 and KEPT == (1.0, 0.625, 0.375)
    assert asked[0]["skip_dropout"] == 0 and asked[3]["skip_dropout"] == DROPOUT[1] > asked[4]["skip_dropout"]
    found = strategy.ask(0, random.Random(0)).genotype
    assert list(found.values()).count("skip") == 1 and list(found.values()).count("conv1x1") == 2


def test_temperatures_fall():
    gdas, fbnet = make("gdas", lessons=5), make("fbnet", lessons=5)
    flat = [0.2] * 5
    hot = [taught(gdas, flat)["temperature"] for _ in range(5)]
    warm = [taught(fbnet, flat)["temperature"] for _ in range(5)]
    assert hot[0] == 10 and hot == sorted(hot, reverse=True) and hot[-1] == pytest.approx(10 - 0.8 * 9.9)
    assert warm[0] == 5 and warm == sorted(warm, reverse=True)


def test_costs_are_asked_for_by_name_before_the_first_lesson():
    strategy = make("fbnet", hints=lambda genotype: {"macs": 1.0, "params": 2.0}, cost="latency_ms")
    with pytest.raises(UsageError, match=r"latency_ms.*macs, params.*--device"):
        strategy.ask(0, random.Random(0))
    known = make("proxyless", lessons=4, warm=0.5, hints=lambda genotype: {"macs": 1.0})
    flat = [0.2] * 5
    asked = [taught(known, flat) for _ in range(4)]
    assert ["cost" in each for each in asked] == [False, False, True, True] and asked[2]["cost"]["name"] == "macs"


@pytest.mark.parametrize(("name", "options"), [
    ("darts", {"order": 3}), ("darts", {"lessons": 0}), ("darts", {"rate": 0}), ("darts", {"warm": 1}),
    ("gdas", {"cold": 0}), ("gdas", {"hot": 0.01}), ("pdarts", {"lessons": 2}), ("darts_plus", {"skips": 0}),
    ("fair_darts", {"zero_one": -1}), ("fbnet", {"weight": -1})])
def test_options_without_sense_are_refused(name, options):
    with pytest.raises(UsageError):
        make(name, **options)


# --- lessons really given

def learner(weighting="softmax", space=None, **data):
    task = registry.load("tasks", "vision")()
    torch.manual_seed(0)
    lesson = {"of": 2, "rate": 0.05, "weighting": weighting, **data}
    return Learner(task, space or Space(task.space("cell")), lesson), lesson


def test_a_warm_up_lesson_leaves_the_decisions_alone_and_another_does_not():
    one, lesson = learner()
    before = one.mixture.chances()
    one.epoch({**lesson, "learns": False}, 1, random.Random(0))
    assert one.mixture.chances() == before
    one.epoch(lesson, 2, random.Random(0))
    assert one.mixture.chances() != before


def test_decisions_do_not_move_weights_and_weights_do_not_move_decisions():
    one, lesson = learner()
    batches = list(one.task.batches("train", random.Random(0)))
    weights = [w.detach().clone() for w in one.mixture.elastic.parameters()]
    for order in (1, 2):
        one.decide(batches[0], batches[1], {**lesson, "order": order}, 0)
        assert all(torch.equal(a, b) for a, b in zip(weights, one.mixture.elastic.parameters(), strict=True))
    chances = one.mixture.chances()
    one.learn(batches[0], lesson, 0)
    assert one.mixture.chances() == chances
    assert not all(torch.equal(a, b) for a, b in zip(weights, one.mixture.elastic.parameters(), strict=True))


def test_gates_move_two_options_and_keep_the_chances_of_the_rest():
    one, lesson = learner("gates", path="one_path")
    batches = list(one.task.batches("train", random.Random(0)))
    before = one.mixture.chances()
    one.decide(batches[0], batches[1], lesson, 7)
    for name, found in one.mixture.chances().items():
        drawn = one.mixture.gates.active[name]
        assert len(drawn) == 2
        for i, (old, new) in enumerate(zip(before[name], found, strict=True)):
            assert (i in drawn) or new == pytest.approx(old, abs=1e-6)


def test_skip_dropout_leaves_skips_out_as_often_as_it_says_and_keeps_the_mean():
    one, lesson = learner(skips={"cell.0-1": ["skip"]}, skip_dropout=0.3)
    found = []
    for seed in range(400):
        one.weigh("softmax", lesson, seed)
        found.append(float(one.mixture.gates.weights["cell.0-1"][1]))
    plain = one.mixture.chances()["cell.0-1"][1]
    dropped = sum(value == 0 for value in found)
    assert 85 < dropped < 155 and sum(found) / 400 == pytest.approx(plain, rel=0.15)


def gaps(one, held, batch, lesson, order):
    """The gradient by the logits as finite differences of the held loss after a step of the weights (DARTS, 7)."""
    weights = [w for w in one.mixture.elastic.parameters() if w.requires_grad]
    start = [w.detach().clone() for w in weights]
    ahead = one.optimizer.param_groups[0]["lr"] if order == 2 else 0.0

    def after():
        one.weigh("softmax", lesson, 0)
        loss = one.task.loss(one.task.answer(one.mixture, batch), batch)
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        with torch.no_grad():
            for w, g in zip(weights, gradients, strict=True):
                w -= 0 if g is None else ahead * g
            one.weigh("softmax", lesson, 0)
            found = float(one.task.loss(one.task.answer(one.mixture, held), held))
            for w, old in zip(weights, start, strict=True):
                w.copy_(old)
        return found

    found = []
    for logits in one.mixture.logits:
        for i in range(len(logits)):
            values = []
            for sign in (1, -1):
                logits.data[i] += sign * 1e-4
                values.append(after())
                logits.data[i] -= sign * 1e-4
            found.append((values[0] - values[1]) / 2e-4)
    return torch.tensor(found, dtype=torch.double)


@pytest.mark.parametrize("order", [1, 2])
def test_decisions_follow_the_loss_on_held_data_of_the_order_that_was_asked(order):
    smooth = Space([nn.Flatten(), *(part for i in range(2) for part in (
        nn.Linear(12), choose(f"op{i}", tanh=nn.Tanh(), plus=nn.Softplus(), skip=nn.Identity()))), nn.Linear(10)])
    one, lesson = learner(space=smooth, order=order)
    one.mixture.double()
    one.optimizer.param_groups[0]["lr"] = 0.3
    held, batch = ((x.double(), y) for x, y in list(one.task.batches("train", random.Random(0)))[:2])
    _, gradients = one.slopes(held, batch, lesson, 0)
    wanted, exchanged, other = (gaps(one, *case) for case in (
        (held, batch, lesson, order), (batch, held, lesson, order), (held, batch, lesson, 3 - order)))
    assert torch.allclose(torch.cat(gradients).cpu(), wanted, rtol=2e-3, atol=1e-6)
    assert not torch.allclose(wanted, exchanged, rtol=0.1) and not torch.allclose(wanted, other, rtol=0.1)


def test_weights_and_decisions_learn_from_halves_of_the_data_that_are_apart(monkeypatch):
    one, lesson = learner()
    seen = {"learn": set(), "decide": set()}
    part = {}
    whole = one.task.batches

    def batches(split, rng, share=(0.0, 1.0)):
        for batch in whole(split, rng, share):
            part[id(batch[1])] = share, batch
            yield batch

    monkeypatch.setattr(one.task, "batches", batches)
    monkeypatch.setattr(one, "learn", lambda batch, *_: seen["learn"].add(part[id(batch[1])][0]) or 1.0)
    monkeypatch.setattr(one, "decide", lambda held, batch, *_: (seen["decide"].add(part[id(held[1])][0]), 1.0)[1])
    one.epoch(lesson, 1, random.Random(0))
    assert seen == {"learn": {(0.0, 0.5)}, "decide": {(0.5, 1.0)}}


def test_time_for_lessons_counts_the_steps_of_decisions_that_a_first_lesson_does_without(monkeypatch):
    one, lesson = learner()
    clock = [0.0]

    def takes(seconds, found):
        def work(*_):
            clock[0] += seconds
            return found
        return work

    monkeypatch.setattr("archfab.estimators._bilevel.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(one, "learn", takes(1.0, 1.0))
    monkeypatch.setattr(one, "slopes", takes(2.0, (1.0, [])))
    steps = -(-one.task.steps_an_epoch // 2)
    found = one.epoch({**lesson, "of": 1000, "learns": False, "warm": 0.25, "within": 10}, 1, random.Random(0))
    assert found["of"] == int(600 / (steps * (1 + 0.75 * 2)))


@pytest.mark.parametrize("weighting", ["softmax", "gates", "hard_gumbel"])
def test_a_loss_of_decisions_that_is_no_number_is_said_as_that_and_moves_nothing(weighting, monkeypatch):
    one, lesson = learner(weighting)
    before = one.mixture.chances()
    monkeypatch.setattr(type(one.task), "loss", lambda self, answer, batch: answer.sum() * float("nan"))
    with pytest.raises(Diverged, match=r"loss of the decisions.*is nan at step 1 of lesson 1.*--rate"):
        one.epoch(lesson, 1, random.Random(0))
    assert one.mixture.chances() == before


def test_data_that_cannot_be_halved_are_refused(monkeypatch):
    one, lesson = learner()
    whole = one.task.batches
    monkeypatch.setattr(one.task, "batches", lambda split, rng, share=(0.0, 1.0): iter(()) if share[0] else
                        whole(split, rng, share))
    with pytest.raises(UsageError, match=r"too small.*half of it gives no batch"):
        one.epoch(lesson, 1, random.Random(0))


# --- runs

FAST = {"trials": 1, "deliver": 0, "random": False, "threads": 1, "trial_budget": archfab.Budget(steps=3)}
SPACES = ["cell", "mobile", "attention"]
QUICK = [("darts", "cell")]


@pytest.mark.parametrize(("name", "space"), [
    pytest.param(name, space, marks=() if (name, space) in QUICK else pytest.mark.slow)
    for name in NAMES for space in SPACES])
def test_every_method_runs_on_every_space(name, space, tmp_path):
    least = 3 if name == "pdarts" else 2
    run = archfab.search("vision", space=space, strategy=name, device="cortex-m7", run=tmp_path / "one",
                         options={"lessons": least, "warm": 0.0, "batch": 128}, **FAST)
    found = lessons(run)
    assert len(found) == least and run.count("search", "ok") == 1
    decided = run.front[0].genotype
    chances = {key: dict(zip(found[-1]["labels"][key], found[-1]["chances"][key], strict=True)) for key in
               found[-1]["chances"]}
    nothing = {} if registry.load("strategies", name).zeros else options_of(Space.from_data(run.spec.space), ZEROS)
    for key, labels in nothing.items():
        assert decided.get(key) not in labels
        for label in labels:
            chances[key].pop(label, None)       # pdarts has dropped it, or not
    if name != "darts_plus":
        assert all(chances[key][label] == max(chances[key].values()) for key, label in decided.items()
                   if key in chances)
    assert "Shared weights" in run.report().read_text()


@pytest.mark.slow
def test_a_gradient_run_interrupted_goes_on_to_the_same_end(tmp_path):
    options = {"lessons": 2, "batch": 128}
    archfab.search("vision", space="cell", strategy="gdas", run=tmp_path / "whole", options=options, **FAST)
    with pytest.raises(KeyboardInterrupt):
        archfab.search("vision", space="cell", strategy="gdas", run=tmp_path / "one", options=options,
                       watcher=Stop("lesson", 1), **FAST)
    resume(tmp_path / "one")
    assert log(tmp_path / "one") == log(tmp_path / "whole")


@pytest.mark.slow
def test_a_cost_in_the_loss_makes_cheaper_networks(tmp_path):
    found = {}
    for weight in (0.0, 30.0):
        run = archfab.search("vision", space="cell", strategy="proxyless", device="cortex-m7",
                             run=tmp_path / str(weight), **FAST,
                             options={"lessons": 3, "warm": 0.0, "rate": 0.1, "weight": weight})
        found[weight] = run.front[0].metrics["latency_ms"]
    assert found[30.0] < found[0.0]


# --- what is refused

def test_a_gradient_strategy_takes_no_other_estimator(tmp_path):
    with pytest.raises(UsageError, match=r"darts.*--estimator training.*leave it out"):
        archfab.search("vision", strategy="darts", estimator="training", run=tmp_path / "one")


def test_a_space_that_cannot_be_mixed_is_refused_before_anything_starts(tmp_path):
    space = [nn.Flatten(), nn.Linear(choose("classes", 10, 12))]
    with pytest.raises(UsageError, match=r"mixture.*'classes'.*nn\.Classifier"):
        archfab.search("vision", space=space, strategy="darts", run=tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_gradient_strategies_are_not_compared_on_tables(archfab):
    answer = archfab("compare-strategies", "--strategies", "random", "darts", "--runs", "1", code=2)
    assert "darts" in answer.err and "table" in answer.err


def test_the_share_of_decisions_that_lean_to_each_option_is_counted():
    from archfab.runs.shared_picture import shares
    rows = [{"number": 1, "labels": {"a": ["skip", "conv"], "b": ["skip", "conv"], "c": [1, 2]},
             "chances": {"a": [0.6, 0.4], "b": [0.2, 0.8], "c": [0.5, 0.5]}}]
    assert shares(rows) == {"skip": [(1, 0.5)], "conv": [(1, 0.5)]}
