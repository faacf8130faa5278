"""New benchmark tables: complete, the same however often interrupted, true to what was trained."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from archfab.core import Budget, UsageError
from archfab.runs import Run
from archfab.tables import read_table
from archfab.tabulation.build import build_table

SMALL = """
from archfab import choose, repeat
space = [choose("width", 8, 64), repeat(choose("depth", 2, 3), lambda i: choose(f"layer{i}", "skip", "conv5"))]
"""
TASK = '''
"""Parity of bits with a validation part: small enough to train whole spaces of it."""
import torch
from torch.nn import functional as F
from archfab import choose, nn, repeat
from archfab.core import Budget, Task
from archfab.learning import Recipe, fit

class Parity(Task):
    name, scores = "parity", ("error", "loss")

    def __init__(self, *, bits: int = 5):
        numbers = torch.arange(2**bits)
        x = 2 * torch.stack([numbers >> b & 1 for b in range(bits)], 1).float() - 1
        y = (x > 0).sum(1) % 2
        order = torch.randperm(2**bits, generator=torch.Generator().manual_seed(0))
        self.parts = {n: (x[c], y[c]) for n, c in zip(("train", "validation", "test"), order.tensor_split(3))}

    def space(self, name=None):
        width = choose("width", 4, 16)
        return nn.Sequential(repeat(choose("depth", 1, 2), lambda i: nn.Sequential(nn.Linear(width), choose(
            f"act{i}", relu=nn.ReLU(), broken=nn.Tanh()) if i else nn.ReLU())), nn.Linear(2))

    def example(self, batch=1):
        return (torch.zeros(batch, self.parts["train"][0].shape[1]),)

    def budget(self):
        return Budget(epochs=6)

    def fit(self, model, budget, rng, full=False):
        if any(isinstance(part, torch.nn.Tanh) for part in model.modules()):
            raise RuntimeError("this one fails")
        return fit(model, lambda: iter([self.parts["train"]]), 1,
                   lambda batch: F.cross_entropy(model(batch[0]), batch[1]), Recipe(lr=0.1), budget,
                   lambda: self.score(model))

    def score(self, model, split="validation"):
        x, y = self.parts[split]
        with torch.inference_mode():
            out = model.eval()(x)
            return {"error": float((out.argmax(1) != y).float().mean()), "loss": float(F.cross_entropy(out, y))}

export = Parity
'''


@pytest.fixture
def small(tmp_path):
    (tmp_path / "small.py").write_text(SMALL)
    return str(tmp_path / "small.py")


@pytest.fixture
def parity(tmp_path):
    (tmp_path / "parity.py").write_text(TASK)
    return str(tmp_path / "parity.py")


def content(folder):
    return [(folder / name).read_bytes() for name in ("table.csv.gz", "mapping.toml", "space.json")]


def test_every_architecture_is_in_it_with_every_seed(archfab, small, tmp_path):
    from archfab import registry
    document = archfab("table", "build", "toy", "--space", small, "--seeds", 2, "--out", "t", "--about", "a toy",
                       "--licence", "CC0-1.0", "--json").json
    assert (document["architectures"], document["seeds"], document["failed"]) == (24, 2, 0)
    table = read_table(tmp_path / "t")
    assert set(table.rows) == {table.key(genotype) for genotype in table.space}
    assert (table.name, table.about, table.goals, table.metrics) == ("t", "a toy", {"error": "min"}, ("error", "size"))
    toy = registry.load("tasks", "toy")()
    for genotype in table.genotypes:
        assert table.truth(genotype) == pytest.approx(toy.known(genotype), rel=1e-4)
    page = (tmp_path / "t/README.md").read_text()
    assert "24 architectures x 2 seeds" in page and "archfab table build toy --space small.py" in page
    assert "Licence: CC0-1.0" in page and "No training failed" in page and str(tmp_path) not in page


@pytest.mark.parametrize("after", [1, 7, 30, 49, 60])
def test_interrupted_it_goes_on_to_the_same_table(small, tmp_path, after):
    whole, broken = tmp_path / "a/t", tmp_path / "b/t"
    build_table("toy", whole, space=small, seeds=2)
    events = []

    def watcher(spec, folder):
        def watch(*_):
            events.append(1)
            if len(events) == after:
                raise KeyboardInterrupt
        return watch

    with pytest.raises(KeyboardInterrupt, match="the same command goes on"):
        build_table("toy", broken, space=small, seeds=2, watcher=watcher)
    assert not (broken / "mapping.toml").exists()
    build_table("toy", broken, space=small, seeds=2)
    assert content(broken) == content(whole)


def test_killed_it_goes_on_to_the_same_table(archfab, small, tmp_path):
    words = [sys.executable, "-m", "archfab.cli", "table", "build", "toy", "--space", small, "--seeds", "1",
             "--out", "t", "--delay", "0.05"]
    killed = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL)
    time.sleep(1)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "t/mapping.toml").exists()
    archfab(*words[3:])
    build_table("toy", tmp_path / "other/t", space=small, seeds=1, options={"delay": 0.05})
    assert content(tmp_path / "t") == content(tmp_path / "other/t")


def test_it_says_how_it_goes_on_and_computes_no_baselines(archfab, small, tmp_path):
    said = archfab("table", "build", "toy", "--space", small, "--seeds", "2", "--out", "t").err
    assert "t/runs/seed-0 (Ctrl-C stops it, the same command goes on)" in said and "seed-1" in said
    assert "archfab resume" not in said
    for seed in (0, 1):
        run = Run(tmp_path / f"t/runs/seed-{seed}")
        assert run.finished and not any(event.kind == "baseline" for event in run.events)


def test_a_table_says_what_the_trainings_said(parity, tmp_path):
    document = build_table(parity, tmp_path / "t", seeds=2, devices=["cortex-m7", "null"])
    assert (document["architectures"], document["epochs"], document["failed"]) == (6, 6, 4)
    table = read_table(tmp_path / "t")
    assert table.epochs == (1, 2, 3, 4, 5, 6) and table.hint_names == ("params", "macs")
    broken = [genotype for genotype in table.genotypes if "broken" in genotype.values()]
    assert len(broken) == 2 and not any({"error", "loss"} & set(table.see(genotype)) for genotype in broken)
    for seed in (0, 1):
        for event in Run(tmp_path / f"t/runs/seed-{seed}").of("search", "ok"):
            row = table.row(event.trial.genotype)
            for name in ("error", "loss"):
                scores = table.scores[name]
                assert scores["val", 6].seeds[str(seed)].values[row] == pytest.approx(event.metrics[name], rel=1e-4)
                assert scores["test", 6].seeds[str(seed)].values[row] == pytest.approx(event.metrics[f"test_{name}"],
                                                                                      rel=1e-4)
            losses = [point["validation"] for point in event.curve]
            for epoch in range(1, 6):                   # the curve: the best epoch so far
                best = event.curve[losses.index(min(losses[:epoch]))]
                for name in ("error", "loss"):
                    assert table.scores[name]["val", epoch].seeds[str(seed)].values[row] == pytest.approx(
                        best[f"validation_{name}"], rel=1e-4)
            seconds = table.seconds[6].seeds[str(seed)].values[row]
            assert seconds == pytest.approx(event.metrics["train_seconds"], rel=1e-4)
    assert "4 trainings failed and have empty cells" in (tmp_path / "t/README.md").read_text()


def test_costs_are_those_of_the_devices(parity, tmp_path):
    from archfab.evaluate import load_device
    from archfab.hardware.workload import record_genotype
    build_table(parity, tmp_path / "t", seeds=1, epochs=1, devices=["cortex-m7", "raspberry-pi-4"])
    table = read_table(tmp_path / "t")
    import torch
    genotype = {"width": 16, "depth": 2, "act1": "relu"}
    workload = record_genotype(table.space, genotype, (torch.zeros(1, 5),))
    truth = table.truth(genotype)
    assert (truth["params"], truth["macs"]) == (16 * 6 + 16 * 17 + 2 * 17, 16 * 5 + 16 * 16 + 2 * 16)
    for name in ("cortex-m7", "raspberry-pi-4"):
        for figure, cost in load_device(name).cost(workload).figures.items():
            if figure not in ("params", "macs"):
                assert truth[f"{name.replace('-', '_')}_{figure}"] == pytest.approx(cost.value, rel=1e-4)


@pytest.mark.slow
def test_two_workers_make_the_same_table(parity, tmp_path):
    for workers, name in ((1, "a"), (2, "b")):
        build_table(parity, tmp_path / name / "t", seeds=1, epochs=2, workers=workers)
    one, other = (read_table(tmp_path / name / "t") for name in ("a", "b"))
    assert one.genotypes == other.genotypes
    assert [one.truth(genotype) for genotype in one.genotypes] == [other.truth(genotype) for genotype in one.genotypes]


@pytest.mark.slow
def test_the_table_serves_its_own_task(archfab, parity, tmp_path):
    build_table(parity, tmp_path / "t", seeds=2)
    result = archfab("search", parity, "--estimator", "table", "--table", "t", "--trials", 8, "--deliver", 0,
                     "--run", "r", "--minimize", "error", "--json").json
    table = read_table(tmp_path / "t")
    for member in result["front"]:
        assert member["test_error"] == table.truth(member["genotype"])["error"]
    assert any("looked up in table" in sentence for sentence in result["verdict"])
    assert not any("error_low" in member for member in result["front"])
    assert result["rejected"] > 0           # the broken ones, which have no score


def test_the_price_is_named_before_a_large_table_is_begun(archfab, tmp_path):
    error = archfab("table", "build", "vision", "--out", "t", "--seeds", 2, code=2).err
    for word in ("architectures x 2 seeds x", "s a training", "hours", "--yes"):
        assert word in error
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(("words", "said"), [
    (["toy", "--out", "t", "--devices", "cortex-m7"], "has no networks"),
    (["toy", "--out", "t", "--devices", "cortex"], "no device named 'cortex'"),
    (["toy", "--out", "t", "--seeds", "0"], "--seeds takes a whole number from 1 up"),
    (["toy", "--out", "t", "--epochs", "-1"], "above 0"), (["toy", "--out", "t", "--workers", "0"], "--workers"),
    (["toy", "--out", "t", "--population", "3"], "no option named 'population'"),
    (["toys", "--out", "t"], "did you mean 'toy'"), (["toy"], "--out")])
def test_a_wrong_request_is_refused_and_leaves_nothing(archfab, tmp_path, words, said):
    assert said in archfab("table", "build", *words, code=2).err
    assert not (tmp_path / "t").exists()


def test_a_table_is_never_mixed_or_overwritten(small, tmp_path):
    build_table("toy", tmp_path / "t", space=small, seeds=1)
    with pytest.raises(UsageError, match="there is a table"):
        build_table("toy", tmp_path / "t", space=small, seeds=1)
    (tmp_path / "t/mapping.toml").unlink()
    with pytest.raises(UsageError, match=r"was begun with another task_options .*\{\} then, .*fail.* now"):
        build_table("toy", tmp_path / "t", space=small, seeds=1, options={"fail": 0.5})
    build_table("toy", tmp_path / "t", space=small, seeds=2)        # more seeds may follow
    assert len(read_table(tmp_path / "t").scores["error"]["val", 0].seeds) == 2


def test_labels_of_every_kind_come_back(tmp_path):
    from archfab import Space, choose
    from archfab.core import Task

    class Odd(Task):
        """Labels that look alike as text."""
        name = "odd"
        estimator = "exact"

        def space(self, name=None):
            return [choose("a", 1, "1", None, ""), choose("b", True, 0.5, "x, \"y\"\nz")]

        def known(self, genotype):
            return {"error": len(repr(sorted(genotype.items(), key=str)))}

    from archfab.evaluate import Workbench
    from archfab.plan import plan
    from archfab.search import search
    from archfab.tabulation.files import write_table
    bench = plan(Odd(), strategy="exhaustive", random=False, deliver=0, trials=12)
    run = search(Odd(), strategy="exhaustive", random=False, deliver=0, trials=12, run=tmp_path / "r")
    (tmp_path / "t").mkdir()
    write_table([run], tmp_path / "t", Workbench(bench.spec, Odd(), bench.space), [], "", "")
    table = read_table(tmp_path / "t")
    assert [json.dumps(genotype) for genotype in table.genotypes] == [json.dumps(g) for g in Space(Odd().space())]


def test_the_same_runs_give_the_same_bytes(small, tmp_path):
    build_table("toy", tmp_path / "t", space=small, seeds=1)
    before = content(tmp_path / "t")
    (tmp_path / "t/mapping.toml").unlink()
    build_table("toy", tmp_path / "t", space=small, seeds=1)
    assert content(tmp_path / "t") == before
    assert gzip.decompress(before[0]).decode().splitlines()[0] == (
        "width,depth,layer0,layer1,layer2,error_val_e0_s0,size_val_e0_s0")


# what the training estimator measures for it

def test_measuring_changes_no_training(parity):
    from archfab import registry
    from archfab.estimators.training import Training
    from archfab.evaluate import find_space
    task = registry.load("tasks", parity)()
    space, _ = find_space(task, None)
    genotype = {"width": 16, "depth": 2, "act1": "relu"}
    plain, curve = Training().estimate(task, space, genotype, Budget(epochs=5), random.Random(3))
    more, same = Training(test=True, clock=True).estimate(task, space, genotype, Budget(epochs=5), random.Random(3))
    assert curve == same
    assert {name: more[name] for name in plain} == plain
    assert set(more) - set(plain) == {"train_seconds", "test_error", "test_loss"} and more["train_seconds"] > 0
    best = min(curve, key=lambda row: row["validation"])
    assert (best["validation_error"], best["validation_loss"]) == (plain["error"], plain["loss"])


def test_the_digits_of_vision_have_curves_of_error_and_loss():
    from archfab import registry
    from archfab.estimators.training import Training
    from archfab.evaluate import find_space
    task = registry.load("tasks", "vision")()
    space, _ = find_space(task, "cell")
    genotype = dict.fromkeys(space.labels, "skip")
    scores, curve = Training(test=True).estimate(task, space, genotype, Budget(epochs=3), random.Random(0))
    best = min(curve, key=lambda row: row["validation"])
    assert [row["epoch"] for row in curve] == [1, 2, 3]
    assert (best["validation_error"], best["validation_loss"], best["validation"]) == (
        scores["error"], scores["loss"], scores["loss"])
