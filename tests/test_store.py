"""The run file: whole or refused, whatever has happened to it."""

import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archfab.core import Event, Trial, UsageError
from archfab.runs import Run, Store
from archfab.search import resume, search

numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=20)
metrics = st.dictionaries(texts, numbers, max_size=3)


@st.composite
def event_lists(draw):
    """Some trials asked, then some of them finished in any order."""
    labels = st.one_of(st.integers(-99, 99), texts, st.booleans(), st.none(), numbers)
    trials = [Trial(i, draw(st.dictionaries(texts, labels, max_size=3)), draw(st.sampled_from(["search", "random"])),
                    draw(st.none() | st.integers(0, 9))) for i in range(draw(st.integers(0, 4)))]
    events = [Event("asked", trial) for trial in trials]
    for trial in draw(st.permutations(trials)):
        events.append(Event(draw(st.sampled_from(["ok", "failed", "rejected"])), trial, draw(metrics),
                            note=draw(texts)))
    return [*events, Event("ended", data={"phase": "search", "why": draw(texts)})]


@given(event_lists())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_events_come_back_as_they_were_recorded(tmp_path, events):
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    spec = search("toy", trials=1, run=folder / "source").spec
    store = Store.create(folder / "copy", spec, {"python": "3"})
    for event in events:
        store.record(event)
    store.close()
    store = Store.open(folder / "copy")
    assert list(store.events()) == events
    assert store.spec() == spec and store.environment() == {"python": "3"}
    store.close()


def test_not_a_number_is_never_written(tmp_path):
    run = search("toy", trials=1, run=tmp_path / "run")
    store = Store.open(run.folder)
    with pytest.raises(ValueError):
        store.record(Event("ok", Trial(0, {}), {"error": float("nan")}))
    store.close()


@pytest.fixture
def run(tmp_path):
    return search("toy", trials=40, run=tmp_path / "runs" / "one")


def damages(path):
    """What can have happened to a file, by name."""
    whole = path.read_bytes()
    yield "empty", b""
    yield "cut", whole[:len(whole) // 2]
    yield "text", b"this is a text file\n" * 400
    yield "random", random.Random(0).randbytes(20_000)
    yield "other application", whole[:68] + b"\0\0\0\1" + whole[72:]
    yield "newer format", whole[:60] + b"\0\0\0\x63" + whole[64:]
    yield "page of zeros", whole[:4096] + bytes(4096) + whole[8192:]


def test_a_damaged_or_foreign_run_file_is_refused_in_one_line(run, archfab):
    path = run.folder / "run.sqlite"
    for name, content in list(damages(path)):
        path.write_bytes(content)
        for verb in (["resume", "one"], ["show", "one"]):
            answer = archfab(*verb, code=2)
            assert len(answer.err.strip().splitlines()) == 1, (name, answer.err)
        assert path.read_bytes() == content, f"{name}: the file was changed"


def test_a_database_of_another_program_is_refused(tmp_path):
    (tmp_path / "one").mkdir()
    db = sqlite3.connect(tmp_path / "one" / "run.sqlite")
    db.execute("create table studies (id integer)")
    db.commit()
    db.close()
    with pytest.raises(UsageError, match="not a run of archfab"):
        Store.open(tmp_path / "one")


@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_are_refused_or_harmless(run, tmp_path, data):
    whole = bytearray((run.folder / "run.sqlite").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    folder = tmp_path / "flipped"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "run.sqlite").write_bytes(whole)
    try:
        found = Run(folder)
        json.dumps(found.plain())
    except UsageError:
        pass


def test_a_name_that_is_taken_is_refused_and_the_run_left_alone(run, archfab):
    before = (run.folder / "run.sqlite").read_bytes()
    answer = archfab("search", "toy", "--run", "one", code=2)
    assert "already" in answer.err and "archfab resume one" in answer.err
    assert (run.folder / "run.sqlite").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_said_and_nothing_is_left(tmp_path, archfab):
    (tmp_path / "file").write_text("")
    answer = archfab("search", "toy", "--runs", "file", code=2)
    assert "--runs" in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_said(tmp_path, archfab):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "--runs" in archfab("search", "toy", "--runs", "locked", code=2).err


def full_disk(words, folder, most):
    """Runs a command that may write no file larger than `most` bytes, as on a disk that fills up."""
    return subprocess.run([sys.executable, "-m", "archfab.cli", *words], cwd=folder, capture_output=True, text=True,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))


@pytest.mark.parametrize("most", [0, 10_000, pytest.param(100_000, marks=pytest.mark.slow), 200_000])
def test_a_full_disk_ends_with_a_message_and_the_run_goes_on_later(tmp_path, most):
    words = ["search", "toy", "--trials", "1500", "--seed", "2", "--run", "one"]
    done = full_disk(words, tmp_path, most)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "archfab:" in done.stderr
    folder = tmp_path / "runs" / "one"
    if not (folder / "run.sqlite").exists():
        assert not list(tmp_path.rglob("*.new*"))
        return
    left = [row[:5] for row in open_rows(folder)]
    whole = search("toy", trials=1500, seed=2, run=tmp_path / "whole")
    assert left == [row[:5] for row in open_rows(whole.folder)][:len(left)]
    resume(folder)
    assert [row[:5] for row in open_rows(folder)] == [row[:5] for row in open_rows(whole.folder)]


def open_rows(folder):
    store = Store.open(folder)
    rows = list(store.rows())
    store.close()
    return rows
