"""Bundles: whole, checked against torch, and derived again to the last bit."""

import json
import random

import numpy as np
import onnxruntime
import pytest
import torch

from archfab import Budget, registry
from archfab.core import Port
from archfab.deliver import check_onnx, export_onnx, load_model, read_bundle, replay
from archfab.lowering.concrete import build
from archfab.plan import accelerator_of, plan
from archfab.runs import Run
from archfab.search import search
from archfab.space import Space
from archfab.tasks.vision import Vision


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return search("vision", space="cell", trials=3, deliver=2, seeds=2, minimize=["error", "macs"], seed=2,
                  trial_budget=Budget(steps=20), full_budget=Budget(steps=40), random=False,
                  run=tmp_path_factory.mktemp("runs") / "one", options={"channels": 4})


def test_the_exported_network_answers_as_the_torch_module_for_any_batch(run):
    member = run.best
    session = onnxruntime.InferenceSession(member.bundle / "network.onnx")
    model = member.model()
    assert not model.training
    for batch in (1, 5, 33):
        x = torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            ours = model(x).numpy()
        assert np.abs(session.run(None, {"input": x.numpy()})[0] - ours).max() < 1e-4 * np.abs(ours).max()


def test_a_delivered_network_reports_its_test_score_over_seeds(run):
    delivered = [member for member in run.front if member.delivered]
    assert delivered
    for member in delivered:
        bundle = read_bundle(member.bundle)
        errors = [scores["error"] for scores in bundle["test"]]
        assert len(errors) == 2
        assert member.plain()["test_error"] == pytest.approx(np.mean(errors))
        assert bundle["genotype"] == dict(member.genotype)
        assert bundle["space_hash"] == Space.from_data(run.spec.space).hash
        assert bundle["costs"]["macs"]["value"] == member.metrics["macs"]


def test_the_first_test_score_belongs_to_the_exported_weights(run):
    bundle = read_bundle(run.best.bundle)
    task = plan("vision").task
    assert task.score(run.best.model(), "test")["error"] == pytest.approx(bundle["test"][0]["error"])


def test_replay_derives_the_same_bits(run):
    found = replay(run.best.bundle)
    assert found["same"] and found["differences"] == [] == found["environment"]


def test_a_network_that_an_accelerator_scored_comes_back_to_be_checked(run, monkeypatch):
    """What `score` leaves on an accelerator cannot be asked about inputs that lie in memory."""
    def score(self, model, *args, real=Vision.score):
        found = real(self, model, *args)
        model.away = True
        return found

    def cpu(self, real=torch.nn.Module.cpu):
        self.away = False
        return real(self)

    def called(self, *inputs, real=torch.nn.Module.__call__):
        if getattr(self, "away", False):
            raise RuntimeError("inputs and weights are not on the same device")
        return real(self, *inputs)

    monkeypatch.setattr(Vision, "score", score)
    monkeypatch.setattr(torch.nn.Module, "cpu", cpu)
    monkeypatch.setattr(torch.nn.Module, "__call__", called)
    assert replay(run.best.bundle)["same"]


def test_a_bundle_says_what_it_was_trained_on(run, monkeypatch):
    assert read_bundle(run.best.bundle)["environment"]["accelerator"] == accelerator_of(Vision())
    task = Vision()
    for device, name in (("cpu", "none"), ("mps", "mps")):
        task.device = torch.device(device)
        assert accelerator_of(task) == name
    task.device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a {device.type}")
    assert accelerator_of(task) == "a cuda"
    assert accelerator_of(registry.load("tasks", "toy")()) == "none"


def test_a_bundle_says_its_layout_and_is_loaded_in_it(run, tmp_path):
    import shutil
    folder = tmp_path / "bundles" / "one"
    shutil.copytree(run.best.bundle, folder)
    said, x, answers = read_bundle(folder), torch.rand(2, 1, 8, 8), []
    assert said["layout"]["torch"] in ("nchw", "nhwc") and "failed" not in said["layout"]
    for layout in ("nchw", "nhwc"):
        (folder / "bundle.json").write_text(json.dumps({**said, "layout": {"torch": layout}}))
        model = load_model(folder)
        wide = [w for w in model.parameters() if w.dim() == 4 and w.shape[1] > 1 and w.shape[2] > 1]
        assert wide and all(w.is_contiguous(memory_format=torch.channels_last) == (layout == "nhwc") for w in wide)
        with torch.no_grad():
            answers.append(model(x))
    assert torch.allclose(*answers, atol=1e-5)
    assert replay(folder)["same"]           # in whatever layout it is delivered, it is the same network


def test_replay_names_what_differs(run, tmp_path):
    import shutil
    folder = tmp_path / "bundle"
    shutil.copytree(run.best.bundle, folder)
    bundle = json.loads((folder / "bundle.json").read_text())
    bundle["weights_digest"] = "0" * 16
    bundle["environment"]["torch"] = "0.1"
    bundle["test"][0]["error"] = 0.123
    (folder / "bundle.json").write_text(json.dumps(bundle))
    found = replay(folder)
    assert not found["same"]
    assert any("weights_digest" in line for line in found["differences"])
    assert any("test error" in line for line in found["differences"])
    assert found["environment"] == [f"torch: 0.1 then, {run.environment['torch']} now"]


def test_replay_finds_weights_that_were_changed(run, tmp_path):
    import shutil
    folder = tmp_path / "bundle"
    shutil.copytree(run.best.bundle, folder)
    state = torch.load(folder / "weights.pt", weights_only=True)
    state[next(iter(state))] += 1
    torch.save(state, folder / "weights.pt")
    found = replay(folder)
    assert not found["same"] and any("weights.pt" in line for line in found["differences"])


def test_an_export_that_answers_differently_is_refused(tmp_path):
    space = Space(plan("vision", space="cell", options={"channels": 4}).task.space("cell"))
    example = (torch.randn(2, 1, 8, 8),)
    genotypes = [space.sample(random.Random(i)) for i in (1, 2)]
    one, other = (build(space, genotype, example).eval() for genotype in genotypes)
    export_onnx(one, example, tmp_path / "one.onnx")
    assert check_onnx(one, example, tmp_path / "one.onnx") < 1e-5
    with pytest.raises(ArithmeticError, match="differs"):
        check_onnx(other, example, tmp_path / "one.onnx")


class Two(torch.nn.Module):
    """Two outputs, of which the second may be no number."""

    def __init__(self, second):
        super().__init__()
        self.register_buffer("second", torch.tensor(second))

    def forward(self, x):
        return x * 2, x * self.second


def test_an_output_that_is_no_number_is_refused_wherever_it_stands(tmp_path):
    x, ports = (torch.ones(2, 3),), ((Port("x"),), (Port("one"), Port("two")))
    for second in (3.0, float("nan")):
        export_onnx(Two(second), x, tmp_path / f"{second}.onnx", ports)
    assert check_onnx(Two(3.0), x, tmp_path / "3.0.onnx") == 0
    with pytest.raises(ArithmeticError, match="differs"):
        check_onnx(Two(float("nan")), x, tmp_path / "nan.onnx")


@pytest.mark.parametrize("damage", ["missing", "cut", "other json", "list"])
def test_a_damaged_bundle_is_said_in_one_line(run, tmp_path, archfab, damage):
    (tmp_path / "bundle").mkdir()
    text = (run.best.bundle / "bundle.json").read_text()
    damaged = {"missing": None, "cut": text[:100], "other json": "{}", "list": "[]"}[damage]
    if damaged is not None:
        (tmp_path / "bundle" / "bundle.json").write_text(damaged)
    answer = archfab("replay", "bundle", code=2)
    assert len(answer.err.strip().splitlines()) == 1 and "bundle" in answer.err


def test_a_pickle_in_place_of_the_weights_is_not_run(run, tmp_path):
    import pickle
    import shutil

    from archfab import UsageError

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    folder = tmp_path / "bundle"
    shutil.copytree(run.best.bundle, folder)
    (folder / "weights.pt").write_bytes(pickle.dumps({"x": Bomb()}))
    with pytest.raises(UsageError, match="weights"):
        load_model(folder)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.slow
def test_export_delivers_any_network_of_the_run(run, tmp_path, archfab):
    left = next(row["id"] for row in run.trials() if row["id"] not in run.deliveries)
    answer = archfab("export", run.folder, left[:8], "--full-steps", 5, "--json")
    assert answer.json[0]["id"] == left and (run.folder / "bundles" / left / "network.onnx").exists()
    assert left in Run(run.folder).deliveries
    assert not list((run.folder / "bundles").glob("*.new"))


def test_an_undelivered_network_says_how_to_deliver_it(tmp_path):
    from archfab import UsageError
    run = search("toy", trials=5, run=tmp_path / "toy")
    with pytest.raises(UsageError, match="archfab export"):
        run.best.model()
