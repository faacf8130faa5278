"""A run is its event log: killed anywhere and resumed, it ends as if nothing had happened."""

import random
import signal
import subprocess
import sys
import time

import pytest
from driving import log

from archfab.runs import Run, Store
from archfab.search import resume, search

TOY = ["search", "toy", "--trials", "250", "--seed", "3", "--delay", "0.01", "--fail", "0.1", "--run", "one"]
VISION = ["search", "vision", "--trials", "4", "--steps", "4", "--full-steps", "4", "--deliver", "1", "--seed", "3",
          "--run", "one"]


def start(words, folder):
    return subprocess.Popen([sys.executable, "-m", "archfab.cli", *words], cwd=folder, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True)


def kill_and_resume(words, tmp_path, waits, kind=signal.SIGKILL):
    """Starts a command, kills it after each wait, resumes it, lets the last one end; the number of kills that hit."""
    hits, folder = 0, tmp_path / "runs" / "one"
    process = start(words, tmp_path)
    for wait in waits:
        time.sleep(wait)
        hits += process.poll() is None
        process.send_signal(kind)
        process.communicate()
        begun = (folder / "run.sqlite").exists()
        process = start(["resume", "one"] if begun else words, tmp_path)
    _, err = process.communicate()
    assert process.returncode == 0 or "is finished" in err, err
    return hits


def undisturbed(words, tmp_path):
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    process = start(words, folder)
    assert process.wait() == 0, process.stderr.read()
    return log(folder / "runs" / "one")


@pytest.mark.slow
def test_a_run_killed_at_ten_random_points_ends_with_the_undisturbed_log(tmp_path):
    rng = random.Random(time.time_ns())
    hits = kill_and_resume(TOY, tmp_path, [rng.uniform(0.15, 0.45) for _ in range(10)])
    assert hits == 10
    assert log(tmp_path / "runs" / "one") == undisturbed(TOY, tmp_path)


@pytest.mark.slow
def test_a_run_that_trains_and_delivers_ends_with_the_undisturbed_log(tmp_path):
    rng = random.Random(time.time_ns())
    hits = kill_and_resume(VISION, tmp_path, [rng.uniform(2, 9) for _ in range(5)])
    assert hits >= 2
    assert log(tmp_path / "runs" / "one") == undisturbed(VISION, tmp_path)


def test_ctrl_c_leaves_a_resumable_run(tmp_path):
    process = start(TOY, tmp_path)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130 and "Traceback" not in err
    assert not Run(tmp_path / "runs" / "one").finished
    assert start(["resume", "one"], tmp_path).wait() == 0
    assert log(tmp_path / "runs" / "one") == undisturbed(TOY, tmp_path)


def test_same_seed_same_log_other_seed_other_log(tmp_path):
    logs = []
    for i, seed in enumerate((5, 5, 6)):
        run = search("toy", trials=60, seed=seed, run=tmp_path / str(i), options={"fail": 0.2})
        logs.append(log(run.folder))
    assert logs[0] == logs[1] != logs[2]


def test_a_finished_run_is_not_resumed(tmp_path, archfab):
    archfab("search", "toy", "--trials", "5", "--run", "one")
    answer = archfab("resume", "one", code=2)
    assert "finished" in answer.err and "archfab show one" in answer.err


def resumes_from_everywhere(whole, tmp_path):
    """Each prefix of a run's log, resumed, ends as the run did."""
    wanted = log(whole.folder)
    for cut in range(len(wanted)):
        store = Store.create(tmp_path / f"cut{cut}", whole.spec, {})
        for event in whole.events[:cut]:
            store.record(event)
        store.close()
        assert log(resume(tmp_path / f"cut{cut}").folder) == wanted


def test_every_prefix_of_a_log_is_continued_to_the_same_end(tmp_path):
    """Not only where a kill happens to hit: after each single event."""
    whole = search("toy", trials=12, seed=9, run=tmp_path / "whole", options={"fail": 0.3})
    resumes_from_everywhere(whole, tmp_path)


def test_two_processes_do_not_work_on_one_run(tmp_path, archfab):
    process = start(TOY, tmp_path)
    time.sleep(1.0)
    answer = archfab("resume", "one", code=2)
    process.kill()
    process.communicate()
    assert "another process" in answer.err


def test_every_prefix_is_continued_also_where_networks_repeat(tmp_path):
    """A space of eight networks: many a trial repeats one that is known."""
    (tmp_path / "small.py").write_text(
        "from archfab import choose\n"
        "space = [choose('width', 8, 16), choose('depth', 2), choose('layer0', 'skip', 'pool'),\n"
        "         choose('layer1', 'skip', 'pool')]\n")
    asked = {"space": str(tmp_path / "small.py"), "trials": 20, "strategy": "random"}
    whole = search("toy", run=tmp_path / "whole", **asked)
    assert any("the network of trial" in event.note for event in whole.events)
    resumes_from_everywhere(whole, tmp_path)


def test_a_run_ends_on_sigterm_even_in_the_background(tmp_path):
    process = subprocess.Popen([sys.executable, "-m", "archfab.cli", *TOY], cwd=tmp_path, stderr=subprocess.PIPE,
                               text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    time.sleep(1.0)
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "archfab resume" in err


def test_starts_at_the_same_moment_get_runs_of_their_own(tmp_path):
    processes = [start(["search", "toy", "--trials", "50", "--no-random"], tmp_path) for _ in range(5)]
    assert [process.wait() for process in processes] == [0] * 5
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [f"toy-{i}" for i in range(1, 6)]


def test_a_run_is_not_continued_with_another_task_file(tmp_path, archfab):
    (tmp_path / "mine.py").write_text("from archfab.tasks.toy import Toy as export\n")
    process = start(["search", "mine.py", *TOY[2:]], tmp_path)
    time.sleep(1.0)
    process.kill()
    process.communicate()
    (tmp_path / "mine.py").write_text("from archfab.tasks.toy import Toy as export  # changed\n")
    assert "not the same task file" in archfab("resume", "one", code=2).err


def test_a_run_is_not_continued_on_another_accelerator(tmp_path, archfab, monkeypatch):
    process = start(TOY, tmp_path)
    time.sleep(1.0)
    process.kill()
    process.communicate()
    monkeypatch.setattr("archfab.plan.accelerator_of", lambda task: "another one")
    assert "not the same accelerator as when this run began (none then, another one now)" in archfab(
        "resume", "one", code=2).err
