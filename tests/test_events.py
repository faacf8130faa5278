"""The task `events`: scores against closed forms, predictions, thinning, the ladder, exhibits, forecasts, delivery."""

import csv
import io
import json
import random

import numpy as np
import pytest
import torch

from archfab import Space
from archfab.core import Budget, UsageError
from archfab.deliver import check_onnx, export_onnx
from archfab.learning import seed_torch
from archfab.lowering.concrete import build
from archfab.tasks.events import EventStreams
from archfab.tasks.events.batches import padded
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.evaluation import foreseen, grid, log_likelihoods, predict, ratio, scores
from archfab.tasks.events.example import SIZES, process
from archfab.tasks.events.ladder import ladder, scored
from archfab.tasks.events.thinning import simulate

GRU = {"encoder": "recurrent", "head": "exponential", "time": "gaps", "layers": 1, "hidden": 16, "embedding": 4}
ENCODERS = {"hawkes": {"encoder": "hawkes", "exponentials": 2},
            "inhibiting": {"encoder": "inhibiting", "exponentials": 2}, "recurrent": {**GRU, "head": "loglogistic"},
            "continuous": {"encoder": "continuous", "time": "none", "layers": 1, "hidden": 16},
            "attention": {"encoder": "attention", "head": "decay", "hidden": 16, "blocks": 1}}
METHODS = ["Poisson", "univariate Hawkes", "Hawkes", "Hawkes with inhibition", "neural Hawkes", "transformer"]


class Constant(torch.nn.Module):
    """A Poisson process as a network."""

    def __init__(self, rates):
        super().__init__()
        self.register_buffer("rates", torch.tensor(rates))

    def forward(self, types, gaps, waits):
        return self.rates.expand(*waits.shape, len(self.rates)), waits * self.rates.sum()


@pytest.fixture(scope="module")
def task():
    return EventStreams()


def made(task, decided, seed=0):
    space = Space(task.space())
    seed_torch(random.Random(seed))
    return build(space, space.walk(lambda c: decided.get(c.name, space.labels[c.name][0])), task.example())


@pytest.fixture(scope="module")
def trained(task):
    model = made(task, GRU)
    task.fit(model, Budget(epochs=15), random.Random(0))
    return model.eval()


def rows_of(exhibit):
    return list(csv.DictReader(io.StringIO(exhibit.content.decode())))


def test_the_example_is_always_the_same_and_its_best_score_is_known(task):
    again = EventStreams()
    assert {name: len(task.events.part(name)) for name in SIZES} == SIZES
    for name in SIZES:
        assert all(np.array_equal(one.times, other.times) for one, other in
                   zip(task.events.part(name), again.events.part(name), strict=True))
    found = {name: scored(task, each, "test")["nll"] for name, each in
             {"true": process(), **dict(reversed(_classical(task).items()))}.items()}
    assert list(found.values()) == sorted(found.values())


def _classical(task):
    return task.classical


def test_training_beats_poisson_and_nothing_beats_the_process_itself(task, trained):
    best = scored(task, process(), "validation")["nll"]
    poisson = scored(task, _classical(task)["Poisson"], "validation")["nll"]
    assert best - 0.05 < task.score(trained)["nll"] < poisson - 0.1


def test_same_seed_same_weights_other_seed_other_weights(task):
    states = []
    for seed in (3, 3, 4):
        model = made(task, {**GRU, "head": "decay"}, seed)
        task.fit(model, Budget(epochs=1), random.Random(seed))
        states.append(model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_a_search_never_sees_test_sequences(task, monkeypatch):
    monkeypatch.setattr(task, "padded", {name: part for name, part in task.padded.items() if name != "test"})
    model = made(task, GRU)
    task.fit(model, Budget(steps=2), random.Random(0))
    assert task.score(model)["nll"] > 0
    with pytest.raises(KeyError):
        task.score(model, "test")


def test_a_poisson_network_scores_as_by_hand(task):
    """nll per event is sum(r) T / n - mean log r; the next event is 1 / sum(r) away; the type is the most frequent."""
    rates, unit, data = [0.5, 0.3, 0.1], task.events.gap, task.padded["validation"]
    model, sequences = Constant(rates), task.events.validation
    found = scores(log_likelihoods(model, data), data, unit, predict(model, data, task.longest))
    n, time = sum(each.scored for each in sequences), sum(each.length for each in sequences)
    counts = sum(np.bincount(each.types, minlength=3) for each in sequences)
    per_time = np.array(rates) / unit
    assert found["nll"] == pytest.approx((per_time.sum() * time - counts @ np.log(per_time)) / n, rel=1e-5)
    waits = np.concatenate([np.diff(each.times, prepend=each.start) for each in sequences])
    assert found["time_rmse"] == pytest.approx(np.sqrt(((waits - unit / 0.9) ** 2).mean()), rel=1e-4)
    assert found["type_error"] == pytest.approx(1 - counts[0] / n)
    assert found["nll"].low < found["nll"] < found["nll"].high


def test_scores_do_not_hang_on_the_unit_of_the_network():
    sequences = [Sequence(np.array([0.0, 1.0, 3.0]), np.array([0, 1, 0]), 0.0, 4.0)] * 2
    values = []
    for unit in (1.0, 2.5):
        data = padded(sequences, 2, unit)
        values.append(scores(log_likelihoods(Constant([0.4 * unit, 0.2 * unit]), data), data, unit)["nll"])
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_predictions_of_known_laws():
    """Constant rates 3 and 1: mean 1/4, median log(2)/4, chances 3/4 and 1/4; a falling hazard exp(-u): survival
    exp(exp(-u) - 1), whose median solves exp(-u) = 1 - log 2."""
    times = grid(10.0)
    wait, median, chances = foreseen(np.broadcast_to([3.0, 1.0], (1, len(times), 2)), times)
    assert wait[0] == pytest.approx(0.25) and median[0] == pytest.approx(np.log(2) / 4)
    assert chances[0] == pytest.approx([0.75, 0.25])
    _, median, chances = foreseen(np.exp(-times)[None, :, None], times)
    assert median[0] == pytest.approx(-np.log(1 - np.log(2)), rel=5e-3) and chances[0] == pytest.approx([1.0])


def test_predictions_of_a_hawkes_network_are_those_of_the_classical_code(task):
    from archfab.tasks.events.hawkes.parameters import Parameters
    from archfab.tasks.events.hawkes.process import Hawkes
    model = made(task, {"encoder": "hawkes", "exponentials": 1})
    base, weights, decays = (each.detach().double().numpy() for each in model.parameters_of())
    data = padded(task.events.test[:3], task.kinds, 1.0)
    found = predict(model, data, 30.0)
    theirs = Hawkes(Parameters(base, weights, decays[:, None, None])).predict(task.events.test[:3])
    filled = [(i, row) for i, each in enumerate(task.events.test[:3]) for row in range(len(each) + 1)]
    for ours, known in ((found.wait, theirs.wait), (found.median, theirs.median), (found.chances, theirs.chances)):
        assert np.array([ours[i, row] for i, row in filled]) == pytest.approx(known, rel=2e-2, abs=1e-3)


def test_intervals_of_a_ratio_hold_the_truth_in_19_of_20_samples():
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        counts = rng.integers(5, 40, 80)
        found = ratio(rng.normal(2.0 * counts, 3.0), counts)
        held += found.low <= 2.0 <= found.high
    assert 0.92 < held / 400 < 0.98


def test_thinning_draws_from_the_network():
    """A Poisson network: counts and times have its law. A Hawkes network: its mean rate is that of theory."""
    rng, empty = np.random.default_rng(0), Sequence(np.zeros(0), np.zeros(0, np.int64), -1.0, 0.0)
    drawn = simulate(Constant([0.6, 0.2]), [empty] * 400, [10.0] * 400, rng, 2, 2.0, 64)
    counts = np.array([np.bincount(each.types, minlength=2) for each in drawn])
    assert counts.mean(0) == pytest.approx([3.0, 1.0], abs=0.3) and counts[:, 0].var() == pytest.approx(3.0, rel=0.3)
    assert all(each.start == 0 and each.end == 10 for each in drawn)
    from archfab.tasks.events.processes import HawkesModule
    torch.manual_seed(0)
    model = HawkesModule(2, (0.7, 0.3), 1)
    base, weights, _ = (each.detach().numpy() for each in model.parameters_of())
    drawn = simulate(model, [empty] * 60, [60.0] * 60, rng, 2, 1.0, 128)
    rates = np.mean([np.bincount(each.types[each.times > 15], minlength=2) for each in drawn], 0) / 45
    assert rates == pytest.approx(np.linalg.solve(np.eye(2) - weights.sum(0).T, base), rel=0.12)


def test_thinning_raises_a_bound_that_was_too_low_and_stops_what_explodes():
    class Late(Constant):
        def forward(self, types, gaps, waits):
            rates = 40 * torch.exp(-((waits - 0.51) * 60) ** 2) + 0.01         # a spike between the points looked at
            return rates[..., None], waits
    empty = Sequence(np.zeros(0), np.zeros(0, np.int64), -1e-9, 0.0)
    drawn = simulate(Late([1.0]), [empty] * 300, [0.6] * 300, np.random.default_rng(0), 1, 1.0, 16)
    expected = 1 - np.exp(-40 * np.sqrt(np.pi) / 60 - 0.006)
    assert np.mean([len(each) > 0 for each in drawn]) == pytest.approx(expected, abs=0.09)
    with pytest.raises(UsageError, match="explodes"):
        simulate(Constant([1e4]), [empty], [1.0], np.random.default_rng(0), 1, 1.0, 16, most=100)


def test_the_ladder_says_what_beats_what():
    counts, rng = np.full(50, 10), np.random.default_rng(0)
    first = rng.normal(size=50)
    found = ladder({"a": first, "b": first + 5 + 0.1 * rng.normal(size=50), "c": first + 5, "d": first}, counts)
    assert [row["verdict"] for row in found] == ["", "beats the one before", "cannot be told from the one before",
                                                 "is beaten by the one before"]
    assert found[1]["gain"] == pytest.approx(0.5, abs=0.01) and found[0]["nll"] == pytest.approx(-first.mean() / 10)


@pytest.mark.slow
def test_what_a_delivered_network_shows(task, trained):
    found = {each.file: each for each in task.exhibits(trained)}
    assert set(found) == {"diagnostics.svg", "residuals.csv", "predictions.csv", "intensities.svg", "ladder.csv",
                          "influence.svg", "influence.csv", "backtest.csv"}
    rungs = rows_of(found["ladder.csv"])
    assert [row["method"] for row in rungs][:7] == [*METHODS, "this network"]
    assert float(rungs[6]["nll"]) == pytest.approx(task.score(trained, "test")["nll"], abs=1e-5)
    assert "transformer" in found["ladder.csv"].about
    edges = {(row["source"], row["target"]): float(row["low"]) for row in rows_of(found["influence.csv"])}
    assert edges["failure", "repair"] > 0.3
    gains = {(row["source taken away"], row["target"]): row["verdict"] for row in rows_of(found["backtest.csv"])}
    assert gains["failure", "repair"] == "helps"
    pooled = rows_of(found["residuals.csv"])[0]
    assert float(pooled["mean"]) == pytest.approx(1, abs=0.1)
    assert list(task.baseline()) == METHODS


def test_forecasts_of_a_new_file(task, trained, tmp_path):
    lines = [{"t": [0.5, 1.0], "k": ["order", "failure"], "start": 0, "end": 1.5, "id": "x"},
             {"t": [0.5, 1.0], "k": ["failure", "order"], "start": 0, "end": 1.5, "id": "y"}]
    path = tmp_path / "new.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    plain = json.loads(json.dumps(task.preprocessing()))
    following, drawn = (rows_of(each) for each in EventStreams.predict([trained, trained], plain, str(path)))
    assert [row["sequence"] for row in following] == ["x", "y"]
    for row in following:
        assert float(row["expected time"]) > 1.5 and float(row["median time"]) > 1.5
        assert sum(float(row[f"chance of {name}"]) for name in task.events.types) == pytest.approx(1, abs=1e-6)
    assert following[0]["type"] == "repair"
    assert {row["draw"] for row in drawn} == {str(i + 1) for i in range(10)}
    assert len(list(EventStreams.predict([trained], plain, str(path), draws=0))) == 1
    assert {row["sequence"] for row in drawn} == {"x", "y"} and all(float(row["time"]) > 1.5 for row in drawn)
    path.write_text((json.dumps({"t": [0.5], "k": ["order"], "id": "x"}) + "\n") * 2)
    with pytest.raises(UsageError, match=r"no length.*--start and --end"):
        list(EventStreams.predict([trained], plain, str(path)))
    with pytest.raises(UsageError, match="two sequences named 'x'"):
        list(EventStreams.predict([trained], plain, str(path), start=0.0))
    path = tmp_path / "new.csv"
    path.write_text("sequence,time,type\nx,0.5,order\nx,0.5,order\n")
    with pytest.raises(UsageError, match="--duplicates keep"):
        list(EventStreams.predict([trained], plain, str(path), start=0.0))
    later, = EventStreams.predict([trained], plain, str(path), start=0.0, end=2.0, duplicates="keep", draws=0)
    assert float(rows_of(later)[0]["known until"]) == 2 and float(rows_of(later)[0]["expected time"]) > 2
    with pytest.raises(UsageError, match="from 0 up"):
        list(EventStreams.predict([trained], plain, str(path), draws=-1))
    path = tmp_path / "new.jsonl"
    path.write_text(json.dumps({"t": [0, 1], "k": ["order", "holiday"]}) + "\n")
    with pytest.raises(UsageError, match="line 1, event 2: the type 'holiday' is unknown"):
        list(EventStreams.predict([trained], plain, str(path)))


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_exported_networks_answer_as_the_trained_ones(task, encoder, tmp_path):
    model = made(task, ENCODERS[encoder]).eval()
    export_onnx(task.exported(model), task.example(2), tmp_path / "network.onnx", task.ports)
    check_onnx(model, task.inputs(20), tmp_path / "network.onnx")                  # raises above 1e-4
    types, gaps, _ = task.inputs(5)
    check_onnx(model, (types, gaps, torch.rand(5, task.rows, 7)), tmp_path / "network.onnx")
    assert all(weight.requires_grad for weight in model.parameters())


def test_long_sequences_are_cut_to_what_a_network_sees(tmp_path):
    rng = np.random.default_rng(0)
    rows = "".join(f"only,{t:.6f},{'ab'[k]}\n" for t, k in zip(np.sort(rng.uniform(0, 900, 800)),
                                                               rng.integers(0, 2, 800), strict=True))
    path = tmp_path / "long.csv"
    path.write_text("sequence,time,type\n" + rows)
    task = EventStreams(data=str(path), context=50)
    assert task.rows == 52 and sum(each.scored for each in task.events.train + task.events.validation
                                   + task.events.test) == 799
    model = made(task, GRU)
    task.fit(model, Budget(steps=3), random.Random(0))
    assert task.score(model, "test")["nll"] > 0


@pytest.mark.parametrize("wrong", [{"context": 1}, {"lr": -1.0}, {"data": "no such folder"}, {"batch": 1},
                                   {"start": 0.0}, {"types": "a,b"}, {"duplicates": "keep"}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(UsageError):
        EventStreams(**wrong)


def test_a_trial_is_not_too_short_where_there_are_few_data(task):
    assert task.steps_an_epoch == 3 and task.budget() == Budget(epochs=25) and task.full_budget() == Budget(epochs=100)


def test_a_batch_is_as_long_as_its_longest_sequence(task):
    whole = list(task.batches("train", random.Random(0)))
    assert sum(len(batch[1][0]) for batch in whole) == SIZES["train"]
    assert all(batch[0][0].shape[1] <= task.rows for batch in whole)
    parts = [list(task.batches("train", random.Random(0), part)) for part in ((0.0, 0.5), (0.5, 1.0))]
    assert [sum(len(batch[1][0]) for batch in part) for part in parts] == [48, 48]
    inputs, targets = whole[0]
    model = made(task, GRU).eval()
    with torch.no_grad():
        assert torch.isfinite(task.loss(model(*inputs), (inputs, targets)))
        assert task.distance(model(*inputs), model(*inputs)) == 0


def test_rows_are_cut_off_only_where_nothing_is_scored():
    ties = Sequence(np.array([0.0, 1.0, 1.0]), np.array([0, 1, 0]), 0.0, 1.0)
    data = padded([ties, ties], 2, 1.0, 9)
    assert data.trimmed().types.tolist() == [[2, 0, 1]] * 2 and data.trimmed().scored.sum() == data.scored.sum() == 4
    assert data.trimmed().waits.sum() == data.waits.sum() == 2


def test_an_event_of_which_training_data_know_nothing_costs_every_method_a_finite_likelihood(tmp_path):
    """In training b only follows a, so that its base rate is 0; in the test it comes by itself."""
    rng = np.random.default_rng(0)
    for name, number in (("train", 40), ("test", 12)):
        lines = []
        for i in range(number):
            times = np.sort(rng.uniform(1, 20, 5))
            rows = [(t, "a") for t in times] + [(t + rng.uniform(0.01, 0.3), "b") for t in times]
            rows += [(0.5, "b")] if name == "test" and not i else []
            lines += [f"{i},{t},{k},0,25" for t, k in sorted(rows)]
        (tmp_path / f"{name}.csv").write_text("sequence,time,type,start,end\n" + "\n".join(lines))
    task = EventStreams(data=str(tmp_path))
    assert task.classical["Hawkes"].parameters.base[1] < 1e-5
    found = {name: process.log_likelihoods(task.events.test) for name, process in task.classical.items()}
    assert all(np.isfinite(values).all() for values in found.values())
    lost = np.full(12, 1.0)
    lost[0] = -np.inf
    with np.errstate(invalid="ignore"):
        rows = ladder({"a": np.ones(12), "b": lost, "c": np.ones(12)}, np.full(12, 10))
    assert [row["verdict"] for row in rows] == ["", "is beaten by the one before", "beats the one before"]


def test_parts_without_a_scored_event_are_refused(tmp_path):
    path = tmp_path / "single.csv"
    path.write_text("sequence,time,type\n" + "".join(f"s{i},0,x\n" for i in range(20)))
    with pytest.raises(UsageError, match=r"the train part has no event to be scored.*--start"):
        EventStreams(data=str(path), start=0.0, end=30.0)
    assert EventStreams(data=str(path), start=-1.0, end=30.0).rows == 2


@pytest.mark.slow
@pytest.mark.shared
def test_each_classical_process_beats_the_one_before_on_taxi_rides(shared_data):
    task = EventStreams(data=str(shared_data / "tpp-taxi"))
    assert task.kinds == 10 and task.rows == 39
    nll = [scored(task, process, "test")["nll"] for process in task.classical.values()]
    assert nll == pytest.approx([0.627, 0.579, 0.312, -0.18], abs=0.01)
