"""Worker processes: what they answer, and what happens when one dies."""

import os
import signal
import subprocess
import time

import pytest

from archfab.executors.pool import Pool
from archfab.plan import plan
from archfab.registry import load
from archfab.runs import Run
from archfab.search import search

DEADLY = '''
import os, signal
from pathlib import Path
from archfab.core import Task
from archfab.space import choose

class Deadly(Task):
    """Networks that kill their process: `once` the first time, `always` every time."""
    name = "deadly"
    estimator = "exact"

    def __init__(self, *, folder: str = "."):
        self.folder = Path(folder)

    def space(self, name=None):
        return [choose("kind", "good", "once", "always"), choose("x", 1, 2, 3, 4, 5, 6)]

    def known(self, genotype):
        print("noise on standard output")
        mark = self.folder / f"died-{genotype['x']}"
        if genotype["kind"] == "always" or (genotype["kind"] == "once" and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"error": genotype["x"] / 10}

export = Deadly
'''


@pytest.fixture
def deadly(tmp_path):
    path = tmp_path / "deadly.py"
    path.write_text(DEADLY)
    return str(path)


def test_a_killed_worker_costs_one_retry_and_then_one_failed_trial(tmp_path, deadly):
    run = search(deadly, trials=18, workers=2, strategy="random", run=tmp_path / "run",
                 options={"folder": str(tmp_path)})
    outcomes = {}
    for event in run.of("search", "ok", "failed"):
        outcomes.setdefault(event.trial.genotype["kind"], set()).add(event.kind)
        if event.kind == "failed":
            assert "SIGKILL" in event.note and "twice" in event.note
    assert outcomes == {"good": {"ok"}, "once": {"ok"}, "always": {"failed"}}
    assert run.count("search", "ok", "failed") == 18 and run.finished


def test_workers_find_what_one_process_finds(tmp_path):
    alone = search("toy", trials=80, strategy="random", seed=4, run=tmp_path / "alone")
    shared = search("toy", trials=80, strategy="random", seed=4, workers=2, run=tmp_path / "shared")

    def found(run):
        return sorted((e.trial.number, e.kind, tuple(e.metrics.items())) for e in run.of("search", "ok", "failed"))

    assert found(alone) == found(shared)


def test_workers_end_with_the_driver(tmp_path):
    bench = plan("toy", workers=2, options={"delay": 30.0})
    code = ("import time\nfrom archfab.core import Job, Trial\nfrom archfab.executors.pool import Pool\n"
            "from archfab.plan import plan\npool = Pool(plan('toy', workers=2, options={'delay': 30.0}), 2)\n"
            "for i in range(2): pool.submit(Job('try', Trial(i, pool_space.sample(__import__('random').Random(i)))))\n"
            "print(*[w.process.pid for w in pool._workers], flush=True)\ntime.sleep(60)\n")
    code = code.replace("pool_space", "plan('toy').space")
    driver = subprocess.Popen(["python3", "-c", code], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PATH": os.path.dirname(os.sys.executable) + ":" + os.environ["PATH"]})
    workers = list(map(int, driver.stdout.readline().split()))
    assert len(workers) == 2 and all(alive(pid) for pid in workers) and bench.spec.workers == 2
    time.sleep(1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    deadline = time.time() + 20
    while time.time() < deadline and any(alive(pid) for pid in workers):
        time.sleep(0.1)
    assert not any(alive(pid) for pid in workers)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_events_cross_the_pipe_unchanged(tmp_path):
    bench = plan("toy", workers=1)
    from archfab.core import Job, Trial
    trial = Trial(7, bench.space.sample(__import__("random").Random(1)), "search", 3)
    pool = Pool(bench, 1)
    pool.submit(Job("try", trial))
    theirs = pool.next()
    pool.close()
    local = load("executors", "local")(bench)
    local.submit(Job("try", trial))
    assert theirs == local.next()


def test_the_spec_of_a_run_survives_the_disk(tmp_path):
    run = search("toy", trials=3, run=tmp_path / "run", limits=["size<=300"],
                 strategy="evolution", options={"population": 5, "tournament": 2})
    assert Run(run.folder).spec == run.spec


ODD = '''
import os, signal
from archfab import nn
from archfab.core import Budget, Task
import torch, numpy

class Odd(Task):
    """Answers with numbers of numpy, curves that are not finite, or death in delivery."""
    name = "odd"

    def __init__(self, *, way="plain"):
        self.way = way

    def space(self, name=None):
        from archfab import choose
        return nn.Sequential(nn.Linear(choose("width", 2, 3, 4)), nn.Linear(2))

    def example(self, batch=1):
        return (torch.zeros(batch, 2),)

    def budget(self):
        return Budget(steps=1)

    def fit(self, model, budget, rng, full=False):
        if full and self.way == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return [{"epoch": 1.0, "loss": float("nan") if self.way == "nan" else numpy.float32(0.5)}]

    def score(self, model, split="validation"):
        return {"error": numpy.float32(0.25)}

    def inputs(self, number):
        return (torch.zeros(number, 2),)

export = Odd
'''


@pytest.fixture
def odd(tmp_path):
    path = tmp_path / "odd.py"
    path.write_text(ODD)
    return str(path)


def test_numbers_of_numpy_are_taken_as_numbers(tmp_path, odd):
    run = search(odd, trials=2, deliver=1, random=False, run=tmp_path / "run")
    assert run.count("search", "ok") == 2 and run.best.metrics["error"] == 0.25 and run.best.delivered
    assert run.best.model()(__import__("torch").zeros(1, 2)).shape == (1, 2)


def test_a_curve_that_is_not_finite_is_a_failed_trial(tmp_path, odd):
    run = search(odd, trials=2, random=False, run=tmp_path / "run", options={"way": "nan"})
    assert run.count("search", "failed") == 2
    assert all("loss is nan" in event.note for event in run.of("search", "failed"))


@pytest.mark.slow
def test_a_worker_that_dies_in_delivery_fails_the_delivery_and_no_trial(tmp_path, odd, archfab):
    answer = archfab("search", odd, "--trials", "2", "--deliver", "1", "--no-random", "--way", "die", "--run", "one",
                     "--json", code=1)
    assert (answer.json["trials"], answer.json["failed"]) == (2, 0)
    assert any("could NOT be delivered" in sentence and "SIGKILL" in sentence for sentence in answer.json["verdict"])
