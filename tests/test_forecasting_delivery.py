"""From a search to forecasts of a new file: the program as a user runs it."""

import csv
import io
import json
import random

import numpy as np
import pytest
import torch

from archfab import Space
from archfab.core import Budget, UsageError
from archfab.deliver import check_onnx, export_onnx, load_model
from archfab.hardware.workload import record_genotype
from archfab.learning import seed_torch
from archfab.lowering.concrete import build
from archfab.registry import load

Forecasting = load("tasks", "forecasting")
SHORT = ("--trials", 3, "--steps", 6, "--full-steps", 6, "--deliver", 1, "--ets", 0, "--json")


def trained(task, name="interpretable", steps=2, **decided):
    space = Space(task.space(name))
    genotype = space.fix({**space.sample(random.Random(0)), **decided})
    seed_torch(random.Random(0))
    model = build(space, genotype, task.example())
    task.fit(model, Budget(steps=steps), random.Random(0), full=True)
    return model.eval()


@pytest.fixture(scope="module")
def shops():
    return Forecasting(ets=0)


def table(exhibit):
    return list(csv.DictReader(io.StringIO(exhibit.content.decode())))


@pytest.mark.parametrize("name, decided", [("interpretable", {"start": 12})] + [
    pytest.param(*each, marks=pytest.mark.slow) for each in (
        ("mixed", {"loss": "quantiles"}), ("ensemble", {"lookbacks": "short", "losses": "mase", "repeats": 1}))])
def test_exported_networks_say_the_same_on_raw_windows_with_holes(shops, tmp_path, name, decided):
    model = trained(shops, name, **decided)
    export_onnx(shops.exported(model), shops.example(2), tmp_path / "network.onnx", shops.ports)
    x = shops.inputs(12)[0]
    x[:, :30] = float("nan")
    x[3:, 70] = float("nan")
    assert check_onnx(model, (x,), tmp_path / "network.onnx") < 1e-4
    assert check_onnx(model, shops.inputs(5), tmp_path / "network.onnx") < 1e-4


def test_every_operator_of_a_network_is_known_to_devices(shops):
    for name in shops.spaces[:4]:
        space = Space(shops.space(name))
        workload = record_genotype(space, space.sample(random.Random(0)), shops.example())
        assert not [op.name for op in workload.ops if op.kind == "unknown"] and workload.macs > 0


def test_exhibits_of_a_delivered_network(shops):
    model = trained(shops)
    tests = shops.score(model, "test")
    shown = {each.file: each for each in shops.exhibits(model)}
    assert set(shown) == {"forecasts.csv", "backtest.csv", "forecasts.svg", "decomposition.svg"}
    rows = table(shown["backtest.csv"])
    assert [row["series"] for row in rows] == list(shops.read.names)
    assert np.mean([float(row["smape"]) for row in rows]) == pytest.approx(tests["smape"], rel=1e-6)
    assert np.mean([float(row["coverage"]) for row in rows]) == pytest.approx(tests["coverage"], rel=1e-6)
    naive = shops.baseline()["Naive2"]
    assert np.mean([float(row["naive2_mase"]) for row in rows]) == pytest.approx(naive["test_mase"], rel=1e-6)
    future = table(shown["forecasts.csv"])
    assert len(future) == 12 * 12 and future[0]["position"] == "181"
    assert all(float(row["low_95"]) <= float(row["forecast"]) <= float(row["high_95"]) for row in future)
    for file in ("forecasts.svg", "decomposition.svg"):
        text = shown[file].content.decode()
        assert text.startswith("<svg") and "NaN" not in text


def test_predictions_of_a_new_file(shops, tmp_path):
    """The file need not be the one that was learned from; what is known of it is its end."""
    models = [trained(shops, start=12), trained(shops, start=1)]
    made = json.loads(json.dumps(shops.preprocessing()))
    lines = ["date,a,b"] + [f"20{10 + i // 12:02}-{i % 12 + 1:02}-01,{100 + i + 10 * (i % 12)},{'' if i % 5 else i}"
                            for i in range(60)]
    (tmp_path / "new.csv").write_text("\n".join(lines) + "\n")
    shown = {each.file: each for each in Forecasting.predict(models, made, str(tmp_path / "new.csv"))}
    rows = table(shown["forecasts.csv"])
    assert [(row["series"], row["position"]) for row in rows[11:13]] == [("a", "72"), ("b", "61")]
    alone = [table(next(iter(Forecasting.predict([model], made, str(tmp_path / "new.csv"))))) for model in models]
    for i, row in enumerate(rows):
        assert float(row["forecast"]) == pytest.approx(np.mean([float(each[i]["forecast"]) for each in alone]))
    (tmp_path / "new.csv").write_text("\n".join(lines[:20]) + "\n")
    with pytest.raises(UsageError, match=r"column 'a': series 'a' has 19 values, .* look back 24 steps at least"):
        list(Forecasting.predict(models, made, str(tmp_path / "new.csv")))


def test_without_calibration_there_are_no_intervals():
    """The network has learned from the windows that could say how far it is off."""
    task = Forecasting(ets=0, calibrate=False)
    model = trained(task)
    assert "coverage" not in task.score(model, "test") and "coverage" in task.score(model)
    shown = {each.file: each for each in task.exhibits(model)}
    assert {row["low_95"] for row in table(shown["forecasts.csv"])} == {""}
    assert {row["coverage"] for row in table(shown["backtest.csv"])} == {""}


def test_shared_weights_have_their_margin_from_validation(shops):
    """They have not learned from its windows, and come to be scored without having been trained for delivery."""
    space = Space(shops.space())
    model = build(space, space.sample(random.Random(0)), shops.example())
    assert float(model.margin.windows) == 0
    assert 0 < shops.score(model, "test")["coverage"] <= 1
    assert float(model.margin.windows) == len(shops.parts.windows["validation"].truth)
    assert float(table(next(iter(shops.exhibits(model))))[0]["low_95"])


def test_a_horizon_of_one_step_is_seen(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["date,a"] + [f"20{10 + i // 12:02}-{i % 12 + 1:02},{rng.normal(50, 5)}" for i in range(60)]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    task = Forecasting(data=str(tmp_path / "x.csv"), horizon=1, shortest=6, longest=8, ets=0)
    shown = {each.file: each.content.decode() for each in task.exhibits(trained(task))}
    points = "M 0 3 \nC 0.795609 3 "                      # the circle of a marker
    assert all(points in shown[file] for file in ("forecasts.svg", "decomposition.svg"))


def test_predictions_refuse_what_float32_cannot_hold(shops, tmp_path):
    (tmp_path / "x.csv").write_text("id," + ",".join(f"V{i}" for i in range(30)) + "\na" + ",1" * 29 + ",1e39\n")
    with pytest.raises(UsageError, match=r"row 2: series 'a', step 30: 1e\+39 is beyond"):
        list(Forecasting.predict([trained(shops)], shops.preprocessing(), str(tmp_path / "x.csv")))


@pytest.mark.slow
def test_search_deliver_replay(archfab, tmp_path):
    found = archfab("search", "forecasting", *SHORT, "--run", "one", "--strategy", "evolution", "--no-random").json
    member = next(each for each in found["front"] if each.get("bundle"))
    assert found["failed"] == 0 and {"naive", "seasonal naive", "Naive2"} <= set(found["baseline"])
    folder = tmp_path / member["bundle"]
    assert archfab("replay", folder, "--json").json["same"]
    model = load_model(folder)
    assert float(model.margin.windows) > 0 and model(torch.rand(3, 84)).shape == (3, 12)
    made = json.loads((folder / "bundle.json").read_text())["preprocessing"]
    assert made["horizon"] == 12 and made["lookback"] == 84


@pytest.mark.slow
@pytest.mark.parametrize("words", [
    ("--strategy", "random"), ("--strategy", "reinforce"), ("--strategy", "evolution", "--device", "cortex-m7"),
    ("--space", "mixed", "--estimator", "supernet", "--lessons", 2, "--check", 0),
    ("--space", "modules", "--strategy", "darts", "--lessons", 2),
    ("--space", "modules", "--strategy", "gdas", "--lessons", 2),
    ("--space", "ensemble"), ("--space", "generic", "--strategy", "nsga2", "--minimize", "owa", "--minimize", "macs")])
def test_every_way_of_searching(archfab, words):
    short = SHORT[:4] + SHORT[6:] if "supernet" in words else SHORT        # it delivers its shared weights
    found = archfab("search", "forecasting", *words, *short, "--run", "one", "--no-random").json
    assert found["failed"] == 0 and found["front"]
    assert any(each.get("bundle") for each in found["front"])


@pytest.mark.slow
@pytest.mark.shared
def test_m4_from_the_command_line(archfab, shared_data):
    found = archfab("search", "forecasting", "--data", shared_data / "m4", "--series", "Weekly", *SHORT, "--run", "one",
                    "--no-random").json
    assert found["failed"] == 0
    assert found["baseline"]["Naive2"] == pytest.approx(1)


def test_what_is_wrong_with_data_ends_the_program_with_code_2(archfab, tmp_path):
    (tmp_path / "bad.csv").write_text("id,V1,V2,V3\na,1,2,inf\n")
    answer = archfab("search", "forecasting", "--data", tmp_path / "bad.csv", "--horizon", 2, code=2)
    assert "row 2, column 'V3': 'inf' is no finite number" in answer.err
