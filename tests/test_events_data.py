"""Event files: what is read, how it is split and cut, and that whatever is wrong is said with its place."""

import gzip
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.core import UsageError
from archfab.tasks.events.data import Sequence, split
from archfab.tasks.events.reading import read_events, read_file

HEADER = "sequence,time,type\n"


def sequence(times, types=None, start=None, end=None):
    times = np.array(times, float)
    types = np.zeros(len(times), np.int64) if types is None else np.array(types)
    return Sequence(times, types, times[0] if start is None else start, times[-1] if end is None else end)


def write(folder, name, text):
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def lines(*sequences):
    return "".join(json.dumps(each) + "\n" for each in sequences)


TEN = "".join(f"s{i},{t},{'ab'[t % 2]}\n" for i in range(20) for t in range(i % 3, 12))


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
def test_every_format_says_the_same(ending, tmp_path):
    rows = [row.split(",") for row in TEN.split()]
    if ending == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet
        path = tmp_path / "events.parquet"
        parquet.write_table(pyarrow.table({"ID": [r[0] for r in rows], "t": [float(r[1]) for r in rows],
                                           "Mark": [r[2] for r in rows]}), path)
    elif ending.startswith("csv"):
        text = "Type,Seq,T,remark\n" + "".join(f"{k},{s},{t},x\n" for s, t, k in rows)
        path = write(tmp_path, f"events.{ending}", text)
    else:
        names = dict.fromkeys(row[0] for row in rows)
        found = ({"t": [float(t) for s, t, _ in rows if s == name], "k": [k for s, _, k in rows if s == name]}
                 for name in names)
        path = write(tmp_path, f"events.{ending}", lines(*found))
    events = read_events(str(path))
    plain = read_events(str(write(tmp_path, "plain.csv", HEADER + TEN)))
    assert events.types == ("a", "b") and len(events.test) == 4 and len(events.validation) == 2
    for part in ("train", "validation", "test"):
        for one, other in zip(events.part(part), plain.part(part), strict=True):
            assert np.array_equal(one.times, other.times) and np.array_equal(one.types, other.types)
            assert (one.start, one.end, one.given) == (one.times[0], one.times[-1], 1)


@pytest.mark.parametrize("rows, said", [
    ("a,1,x\na,0.5,x\n", "line 3: the time 0.5 comes after 1"),
    ("a,1,x\na,nan,x\n", "line 3: the time 'nan' is not finite"),
    ("a,1,x\na,inf,x\n", "line 3: .*not finite"), ("a,1,x\na,,x\n", "line 3: the time '' is no number"),
    ("a,1,x\na,1,x\n", "line 3 repeats .*line 2.*--duplicates keep"), ("a,1,x\na,2\n", "line 3 has 2 cells"),
    ("a,1,x\nb,2,\n", "line 3: the type '' is neither"), ("a,1,x\na,2021-05-04,x\n", "line 3: .*no number; dates"),
    ("a,1,x\n,2,x\n", "line 3: the sequence '' is neither"), ('a,1,"x\n', "no CSV"), ("", "has no events"),
    ("a,1,x\na,1_0,x\n", "line 3: the time '1_0' is no number"),
    ("a,1,x\na,1700000000000000001,x\n", r"line 3: .*above 2\^53.*subtract the first time"),
    ("a,1,x\nb,2,x\n", "line 2, sequence a: .*no length.*--start and --end")])
def test_bad_rows_are_refused_with_their_line(rows, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        read_events(str(write(tmp_path, "bad.csv", HEADER + rows)))


@pytest.mark.parametrize("line, said", [
    ('{"t": [], "k": []}', "line 2 is empty"), ('{"t": [1, 2], "k": [0]}', "line 2 has 2 times and 1 types"),
    ('{"t": [1, 0], "k": [0, 0]}', "line 2, event 2: .*negative gap"),
    ('{"t": [1, NaN], "k": [0, 0]}', "event 2.*finite"),
    ('{"t": [1, 2], "k": [0, null]}', "event 2: the type None"),
    ('{"t": [1, 2], "k": [0, 1.5]}', "event 2: the type 1.5"),
    ('[1]', "line 2 is no sequence"), ('{"t": [1', "line 2 is no JSON"),
    ('{"t": [1, 2], "k": [0, 0], "x": 1}', "keys: x"),
    ('{"t": [1, 2], "k": [0, 0], "start": 1.5}', "not all inside the window"),
    ('{"t": [1, 2], "k": [0, 0], "end": 1.5}', "not all inside the window"),
    ('{"t": [1, true], "k": [0, 0]}', "no number")])
def test_bad_lines_are_refused_with_their_place(line, said, tmp_path):
    good = '{"t": [0, 1], "k": [0, 0]}\n'
    with pytest.raises(UsageError, match=said):
        read_events(str(write(tmp_path, "bad.jsonl", good + line)))


def test_types_that_training_data_lack_are_refused_at_test_time_unless_they_were_named(tmp_path):
    write(tmp_path, "train.jsonl", lines(*[{"t": [0, 1, 2], "k": [0, 1, 0]}] * 12))
    write(tmp_path, "test.jsonl", lines({"t": [0, 1], "k": [0, 7]}))
    with pytest.raises(UsageError, match=r"test.jsonl, line 1, event 2: the type '7' is unknown.*0, 1.*--types"):
        read_events(str(tmp_path))
    events = read_events(str(tmp_path), types="0,1,7")
    assert events.types == ("0", "1", "7") and len(events.validation) == 2 and events.test[0].types.tolist() == [0, 2]
    with pytest.raises(UsageError, match="'7' is unknown"):
        read_file(tmp_path / "test.jsonl", ("0", "1"))


@pytest.mark.parametrize("make, said", [
    (lambda at: "nowhere", "no events at"), (lambda at: str(at), "no train file"),
    (lambda at: str(write(at, "x.txt", "1")), "no file of events"),
    (lambda at: str(write(at, "x.csv", "time,type\n1,2\n")), "no column for the sequence: .*time, type"),
    (lambda at: str(write(at, "x.csv", "id,seq,time,type\n")), "several columns for the sequence"),
    (lambda at: str(write(at, "x.csv.gz", "")) and str((at / "x.csv.gz").write_bytes(b"no gzip") and at / "x.csv.gz"),
     "cannot be read as text")])
def test_files_that_are_no_events_are_refused(make, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        read_events(make(tmp_path))


def test_equal_times_are_legal_and_said(tmp_path):
    rows = "".join(f"s{i},{t},{k}\n" for i in range(12) for t in range(4) for k in "ab")
    path = write(tmp_path, "ties.csv", HEADER + rows)
    events = read_events(str(path))
    assert "48 of them at the same time" in events.source
    assert events.train[0].types.tolist() == [0, 1] * 4
    kept = read_events(str(write(tmp_path, "twice.csv", HEADER + TEN + "s19,11,b\n")), duplicates="keep")
    assert sum(map(len, kept.train + kept.validation + kept.test)) == len(TEN.split()) + 1


def test_windows_are_read_or_given(tmp_path):
    table = "sequence,time,type,start,end\n" + "".join(f"{i},{i + 1},a,{i},{i + 5}\n" for i in range(12))
    events = read_events(str(write(tmp_path, "windows.csv", table)))
    assert all((each.given, each.scored, each.length) == (0, 1, 5) for each in events.train)
    given_ones = read_events(str(write(tmp_path, "none.csv", HEADER + TEN)), start=-1.0, end=20.0)
    assert {(each.start, each.end) for each in given_ones.train} == {(-1.0, 20.0)}
    with pytest.raises(UsageError, match="line 3 gives sequence 0 the window"):
        read_events(str(write(tmp_path, "two.csv", "sequence,time,type,start,end\n0,1,a,0,5\n0,2,a,0,6\n")))


def test_few_long_sequences_are_cut_in_time():
    times = np.sort(np.random.default_rng(0).uniform(0, 100, 1000))
    parts = split([sequence(times, start=0.0, end=100.0)])
    (train,), (validation,), (test,) = parts["train"], parts["validation"], parts["test"]
    assert (train.start, test.end) == (0, 100) and train.end == validation.start and validation.end == test.start
    assert train.scored + validation.scored + test.scored == 1000
    assert test.scored == pytest.approx(200, abs=1)
    with pytest.raises(UsageError, match="10 sequences or more"):
        split([sequence([0, 1, 2])])
    with pytest.raises(UsageError, match=r"the validation stretch .* no length.*one file for each part"):
        split([sequence([0, 1] + [2] * 20, end=3.0)])


def test_a_window_without_events_counts_where_it_is_known(tmp_path):
    empty = {"t": [], "k": []}
    rows = lines(*[{"t": [1, 2], "k": [0, 1], "start": 0, "end": 4}] * 11, {**empty, "start": 0, "end": 9})
    events = read_events(str(write(tmp_path, "some.jsonl", rows)))
    whole = [*events.train, *events.validation, *events.test]
    assert sorted((len(each), each.length) for each in whole)[0] == (0, 9)
    with pytest.raises(UsageError, match=r"line 1 is empty: .*window is not known.*--start and --end"):
        read_events(str(write(tmp_path, "bad.jsonl", lines({**empty, "start": 0}))))
    assert read_file(tmp_path / "bad.jsonl", ("0",), end=3.0)["bad.jsonl, line 1"].length == 3


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=40), st.integers(1, 9), st.booleans(), st.booleans())
def test_pieces_score_every_event_once_and_lose_no_time(gaps, most, before, after):
    times = np.cumsum(np.array(gaps) % 4).astype(float)
    if times[0] == times[-1] and not after:
        return
    whole = sequence(times, np.arange(len(times)) % 3, times[0] - before, times[-1] + after)
    pieces = whole.pieces(most)
    assert sum(piece.scored for piece in pieces) == whole.scored
    assert sum(piece.length for piece in pieces) == pytest.approx(whole.length)
    assert all(one.end == other.start and other.given for one, other in itertools.pairwise(pieces))
    found = np.concatenate([piece.types[piece.given if i else 0:] for i, piece in enumerate(pieces)])
    assert np.array_equal(found, whole.types)
    assert all(piece.scored <= most or (np.diff(piece.times) == 0).any() for piece in pieces)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:tk01 .eNa\n-', max_size=60).map(str.encode),
       st.sampled_from(["csv", "jsonl", "csv.gz", "jsonl.gz", "parquet"]))
def test_no_file_breaks_the_reader(tmp_path_factory, content, ending):
    path = tmp_path_factory.mktemp("fuzz") / f"events.{ending}"
    path.write_bytes((HEADER.encode() if ending == "csv" else b"") + content)
    try:
        events = read_events(str(path))
    except UsageError:
        return
    assert events.train and all(each.scored >= 0 for each in events.train)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats() | st.integers(-3, 3).map(float), max_size=6), st.floats(), st.floats())
def test_a_sequence_is_right_or_refused(times, start, end):
    try:
        found = Sequence(np.array(times, float), np.zeros(len(times), np.int64), start, end)
    except UsageError:
        return
    assert np.isfinite(found.times).all() and (np.diff(found.times) >= 0).all() and found.length > 0
    assert all(start <= time <= end for time in found.times)


@pytest.mark.shared
@pytest.mark.parametrize("name, sizes, types, scored", [("earthquake", (3000, 400, 896), 7, 46363),
                                                        ("taxi", (1400, 200, 400), 10, 50454)])
def test_benchmark_folders(shared_data, name, sizes, types, scored):
    events = read_events(str(shared_data / f"tpp-{name}"))
    assert (len(events.train), len(events.validation), len(events.test)) == sizes
    assert events.types == tuple(map(str, range(types)))
    assert sum(each.scored for each in events.train) == scored
