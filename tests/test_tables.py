"""Benchmark tables: what is read, what a search sees of it, what is refused, and the published facts of real ones."""

import csv
import gzip
import io
import json
import random
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archfab import Space, choose, repeat
from archfab.core import Unknown, UsageError
from archfab.metrics.pareto import dominates
from archfab.tables import find_mappings, read_table
from archfab.tables.mapping import EMBEDDED, checked, read_mapping, shipped, texts_of
from archfab.tables.same import Plain, Tree
from archfab.tables.summary import ranks, summary

MAPPING = """
about = "two by two"
goals = { accuracy = "max" }
hints = ["params"]
[architectures]
file = 'archs\\.(csv|csv\\.gz|parquet)'
key = "id"
rows = 4
[labels]
a = "one"
b = "two"
[decisions]
first = { column = "code", at = 0 }
second = { column = "code", at = 1 }
[[values]]
column = 'params'
metric = "params"
[[values]]
file = 'scores\\.csv'
column = '(?P<data>[a-z]+)_(?P<split>val|test)_(?P<epochs>\\d+)(_(?P<seed>s\\d))?'
metric = "accuracy"
[[values]]
file = 'scores\\.csv'
column = '(?P<metric>seconds)_(?P<epochs>\\d+)'
"""
ARCHS = [["id", "code", "params"], ["w", "aa", "1"], ["x", "ab", "2"], ["y", "ba", "3"], ["z", "bb", ""]]
SCORES = [
    ["id", "red_val_2", "red_val_8_s0", "red_val_8_s1", "red_test_8", "blue_val_8_s0", "seconds_8"],
    ["z", "50", "60", "70", "66", "5", "40"],
    ["y", "40", "50", "", "55", "6", "30"],
    ["x", "30", "45", "47", "48", "7", "20"],
    ["w", "20", "30", "32", "33", "8", "10"]]


def write(folder, name="archs.csv", rows=ARCHS, mapping=MAPPING):
    folder.mkdir(exist_ok=True)
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    data = text.getvalue().encode()
    (folder / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    if mapping is not None:
        (folder / "mapping.toml").write_text(mapping)
    return folder


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "t", "scores.csv", SCORES)
    return write(tmp_path / "t")


@pytest.fixture
def table(folder):
    return read_table(folder, "red")


def g(code):
    return {"first": {"a": "one", "b": "two"}[code[0]], "second": {"a": "one", "b": "two"}[code[1]]}


# what is read

def test_a_table_is_its_files(table):
    assert (table.name, table.about, table.data_set, table.data_sets) == ("t", "two by two", "red", ("blue", "red"))
    assert table.space.labels == {"first": ("one", "two"), "second": ("one", "two")}
    assert table.genotypes == [g("aa"), g("ab"), g("ba"), g("bb")]
    assert table.metrics == ("accuracy", "params") and table.epochs == (2, 8)


def test_another_file_is_joined_by_its_key_in_whatever_order(table):
    assert [table.truth(genotype)["accuracy"] for genotype in table.genotypes] == [33, 48, 55, 66]


def test_without_noise_the_full_training_is_seen_as_it_is_reported(table):
    assert table.see(g("bb")) == {"accuracy": 66}
    assert table.see(g("ba")) == {"accuracy": 55, "params": 3}
    assert table.expected(g("bb")) == {"accuracy": 65}


def test_a_shorter_training_sees_the_longest_within_it_and_never_less_than_the_shortest(table):
    seen = [table.see(g("bb"), epochs=epochs)["accuracy"] for epochs in (0.5, 2, 7.9, 8, 100, None)]
    assert seen == [50, 50, 50, 66, 66, 66]
    assert [table.trained(epochs) for epochs in (0.5, 2, 7.9, 8, None)] == [2, 2, 2, 8, 8]


def test_noise_is_one_of_the_seeds_that_there_are_each_as_often(table):
    rng = random.Random(0)
    drawn = [table.see(g("bb"), rng)["accuracy"] for _ in range(400)]
    assert set(drawn) == {60, 70} and 160 < drawn.count(60) < 240
    assert {table.see(g("ba"), rng)["accuracy"] for _ in range(50)} == {50}     # it has one seed alone
    assert {table.see(g("bb"), rng, epochs=2)["accuracy"] for _ in range(50)} == {50}


def test_scores_of_one_trial_are_of_one_seed(tmp_path):
    rows = [["op", "error_val_s0", "error_val_s1", "loss_val_s0", "loss_val_s1"], ["a", "0.1", "0.2", "1", "2"],
            ["b", "0.3", "0.4", "3", "4"]]
    mapping = """
        goals = { error = "min" }
        [decisions]
        op = { column = "op", labels = ["a", "b"] }
        [[values]]
        column = '(?P<metric>error|loss)_(?P<split>val)_(?P<seed>s\\d)'
    """
    table, rng = read_table(write(tmp_path / "t", rows=rows, mapping=mapping)), random.Random(1)
    seen = [table.see({"op": "a"}, rng) for _ in range(30)]
    assert {(round(10 * row["error"]), row["loss"]) for row in seen} == {(1, 1), (2, 2)}


def test_seconds_are_in_proportion_to_the_epochs_that_are_trained(table):
    assert table.spent(g("bb")) == table.spent(g("bb"), 9) == 40
    assert table.spent(g("bb"), 2) == table.spent(g("bb"), 5) == 10


def test_hints_are_the_costs_named_as_such_where_they_are_known(table):
    assert table.hint_names == ("params",)
    assert (table.hints(g("aa")), table.hints(g("bb")), table.hints({"first": "three"})) == ({"params": 1}, {}, {})


def test_another_data_set_has_its_own_scores(folder):
    table = read_table(f"{folder}#blue")
    assert table.epochs == (8,) and table.best("accuracy", "max") == 8
    assert table.see(g("aa"))["accuracy"] == 8


def test_the_front_is_exact(table):
    assert table.points({"accuracy": "max", "params": "min"}) == [(-33, 1), (-48, 2), (-55, 3)]   # bb has no params
    assert len(table.front({"accuracy": "max", "params": "min"})) == 3
    assert table.front({"accuracy": "max"}) == [(-66,)]


def test_what_the_table_lacks_is_unknown(table):
    with pytest.raises(Unknown, match="no row"):
        table.see({"first": "one"})
    with pytest.raises(Unknown, match="no params of this architecture on red"):
        table.see(g("bb"), names=["accuracy", "params"])


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_the_formats_are_read_alike(tmp_path, ending, table):
    folder = write(tmp_path / "other", "scores.csv", SCORES)
    if ending == "parquet":
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet
        columns = list(zip(*ARCHS[1:], strict=True))
        parquet.write_table(pa.table({"id": columns[0], "code": columns[1], "params": pa.array([1, 2, 3, None])}),
                            folder / "archs.parquet")
    else:
        write(folder, f"archs.{ending}")
    other = read_table(folder, "red")
    assert other.genotypes == table.genotypes
    for genotype in table.genotypes:
        assert (other.see(genotype), other.truth(genotype)) == (table.see(genotype), table.truth(genotype))


def test_a_byte_order_mark_blanks_and_empty_last_lines_do_no_harm(folder, table):
    text = (folder / "archs.csv").read_text()
    (folder / "archs.csv").write_bytes(("\ufeff" + text.replace(",", " , ") + "\n\n").encode())
    assert read_table(folder, "red").genotypes == table.genotypes


def test_a_column_that_nobody_asks_for_is_not_read(folder):
    (folder / "scores.csv").write_text((folder / "scores.csv").read_text().replace(",8,", ",x,"))
    read_table(folder, "red").see(g("aa"), names=["accuracy"])
    with pytest.raises(UsageError, match=r"scores\.csv, row 5, column 'blue_val_8_s0': 'x' is no finite number"):
        read_table(folder, "blue").see(g("aa"))


def test_a_declared_space_is_read_beside_its_mapping(tmp_path):
    space = Space([repeat(choose("depth", 1, 2), lambda i: choose(f"op{i}", True, None, "x"))])
    genotypes = list(space)
    rows = [["depth", "op0", "op1", "score"]]
    for i, genotype in enumerate(genotypes):
        text = {True: "true", None: "null", "x": "x"}
        rows.append([str(genotype["depth"]), text[genotype["op0"]],
                     text[genotype["op1"]] if "op1" in genotype else "", str(i)])
    mapping = """
        space = "space.json"
        [decisions]
        depth = { column = "depth" }
        op0 = { column = "op0" }
        op1 = { column = "op1" }
        [[values]]
        column = '(?P<metric>score)'
        split = "val"
    """
    folder = write(tmp_path / "t", rows=rows, mapping=mapping)
    (folder / "space.json").write_text(json.dumps(space.data))
    table = read_table(folder)
    assert table.space.hash == space.hash
    assert [table.truth(genotype)["score"] for genotype in genotypes] == list(range(space.size))


@given(st.lists(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()), min_size=1,
                unique_by=lambda label: (type(label), label)))
def test_every_label_has_a_text_of_its_own(labels):
    texts = texts_of(labels)
    assert [(type(label), label) for label in texts.values()] == [(type(label), label) for label in labels]
    assert all(text == text.strip() != "" for text in texts)


# equal networks

def test_trees_are_equal_up_to_order_and_what_only_passes_on():
    tree = Tree("link", ("a", "b", "c"), "skip")

    def key(link, *ops):
        return tree({"link": link, **dict(zip("abc", ops, strict=True))})

    assert key("000", "x", "y", "z") == key("000", "z", "x", "y") != key("000", "x", "y", "y")
    assert key("012", "skip", "x", "y") == key("012", "x", "skip", "y") == key("012", "x", "y", "skip")
    assert key("012", "x", "y", "z") != key("012", "y", "x", "z")
    assert key("011", "x", "y", "skip") != key("011", "x", "y", "y")
    assert not tree.fits({"link": "021"}) and not tree.fits({"link": "00"}) and tree.fits({"link": "012"})


def test_a_plain_key_knows_an_absent_decision_from_a_label_that_is_nothing():
    assert Plain(("a", "b"))({"a": 1}) != Plain(("a", "b"))({"a": 1, "b": None})


# what is refused

@pytest.mark.parametrize(("name", "change", "words"), [
    ("archs.csv", lambda rows: rows[:-1], ["archs.csv has 3 rows", "t has 4", "not whole"]),
    ("archs.csv", lambda rows: [*rows[:-1], rows[1]], ["archs.csv, row 5", "same architecture as row 2"]),
    ("archs.csv", lambda rows: [*rows[:-1], ["w", "bb", "1"]], ["archs.csv, row 5", "'w'", "row 2 already"]),
    ("archs.csv", lambda rows: [*rows[:-1], ["z", "bc", "1"]], ["row 5", "column 'code'", "'c' is no label", "a, b"]),
    ("archs.csv", lambda rows: [*rows[:-1], ["z", "b", "1"]], ["row 5", "lacks 'second'", "'one', 'two'"]),
    ("archs.csv", lambda rows: [*rows[:-1], ["z", "bb"]], ["row 5", "2 cells where the header names 3"]),
    ("archs.csv", lambda rows: [*rows[:2], [], *rows[2:]], ["row 3", "0 cells"]),
    ("archs.csv", lambda rows: [*rows[:-1], ["z", "bb", "many"]], ["archs.csv, row 5, column 'params'", "'many'"]),
    ("archs.csv", lambda rows: [*rows[:-1], ["z", "bb", "nan"]], ["row 5, column 'params'", "'nan'", "no finite"]),
    ("archs.csv", lambda rows: [*rows[:-1], ["z", "bb", "-inf"]], ["row 5, column 'params'", "'-inf'"]),
    ("archs.csv", lambda rows: [*rows[:-1], ["z", "bb", "1_0"]], ["row 5, column 'params'", "'1_0'"]),
    ("archs.csv", lambda rows: [["id", "code", "id"], *rows[1:]], ["row 1", "two columns are named 'id'"]),
    ("archs.csv", lambda rows: [["id", "ops", "params"], *rows[1:]], ["no column 'code'", "id, ops, params"]),
    ("archs.csv", lambda rows: [], ["archs.csv is empty", "column names"]),
    ("archs.csv", lambda rows: rows[:1], ["archs.csv has 0 rows"]),
    ("scores.csv", lambda rows: [*rows[:-1], ["q", *rows[-1][1:]]], ["scores.csv, row 5", "no architecture", "'q'"]),
    ("scores.csv", lambda rows: [*rows, rows[1]], ["scores.csv, row 6", "'z' stands in row 2 already"]),
    ("scores.csv", lambda rows: [["key", *rows[0][1:]], *rows[1:]], ["scores.csv has no column 'id'"]),
])
def test_a_damaged_table_says_the_file_the_row_and_what_is_legal(folder, name, change, words):
    write(folder, name, change(ARCHS if name == "archs.csv" else SCORES))
    with pytest.raises(UsageError) as error:
        summary(read_table(folder, "red"))
    assert all(word in str(error.value) for word in words), error.value


def test_another_file_has_a_row_for_each_architecture(folder):
    write(folder, "scores.csv", [*SCORES[:2], SCORES[4]])
    with pytest.raises(UsageError) as error:
        read_table(folder, "red")
    for word in ("scores.csv lacks 2 of 4 architectures", "first the id 'x'", "a row for each", "partial = true",
                 f"{folder / 'mapping.toml'}, [[values]] 2"):
        assert word in str(error.value)


def test_rows_that_another_file_may_lack_are_unknown_values(folder):
    write(folder, "scores.csv", SCORES[:-1], MAPPING.replace("file = 'scores", "partial = true\nfile = 'scores"))
    table = read_table(folder, "red")
    assert table.see(g("bb"))["accuracy"] == 66
    with pytest.raises(Unknown, match="no accuracy"):
        table.see(g("aa"), names=["accuracy"])


@pytest.mark.parametrize(("change", "words"), [
    (lambda rows: [*rows[:-1], ["w", "nan", *rows[-1][2:]]], ["row 5, column 'red_val_2'", "'nan'"]),
    (lambda rows: [*rows[:-1], [*rows[-1][:4], "high", *rows[-1][5:]]], ["row 5, column 'red_test_8'", "'high'"]),
    (lambda rows: [*rows[:-1], rows[1]], ["row 5", "'z' stands in row 2 already"]),
    (lambda rows: [*rows[:-1], [*rows[-1][:-1], "-3"]], ["scores.csv, row 5, column 'seconds_8'", "'-3' is below 0",
                                                        "a number from 0 up"])])
def test_a_search_on_a_broken_table_ends_before_anything_is_written(archfab, folder, change, words):
    write(folder, "scores.csv", change(SCORES))
    said = archfab("search", "table", "--data", f"{folder}#red", "--trials", 5, "--run", "r", code=2).err
    assert all(word in " ".join(said.split()) for word in words), said
    assert {path.name for path in folder.parent.iterdir()} <= {"t"}
    with pytest.raises(UsageError):
        read_table(folder, "red")


def test_a_search_reads_every_metric_before_it_begins(folder):
    from archfab.tasks.table import TableTask
    write(folder, "archs.csv", [*ARCHS[:-1], ["z", "bb", "many"]])
    read_table(folder, "red")
    with pytest.raises(UsageError, match=r"archs\.csv, row 5, column 'params': 'many'"):
        TableTask(data=f"{folder}#red")


def test_rows_are_counted_by_data_set(tmp_path):
    mapping = """
        data_set = "red"
        [architectures]
        file = '(?P<data>\\w+)\\.csv'
        rows = { red = 2, blue = 1 }
        [decisions]
        op = { column = "op", labels = ["a", "b"] }
        [[values]]
        column = '(?P<metric>size)'
    """
    write(tmp_path / "t", "blue.csv", [["op", "size"], ["a", "1"]])
    folder = write(tmp_path / "t", "red.csv", [["op", "size"], ["a", "1"], ["b", "2"]], mapping)
    assert [len(read_table(folder, name).genotypes) for name in ("red", "blue")] == [2, 1]
    write(folder, "red.csv", [["op", "size"], ["a", "1"]], mapping)
    with pytest.raises(UsageError, match=r"red\.csv has 1 rows, t has 2"):
        read_table(folder)
    for wrong, words in (("{ red = 1, bleu = 1 }", r"no data set named 'bleu'.*mapping\.toml"),
                         ("{ red = true }", r"rows: 'red' is True; legal: a whole number"), ("[2]", "'rows'")):
        write(folder, "red.csv", [["op", "size"], ["a", "1"]], mapping.replace("{ red = 2, blue = 1 }", wrong))
        with pytest.raises(UsageError, match=words):
            read_table(folder)


@pytest.mark.parametrize("how", ["at = 0", 'separator = " ", count = true'])
def test_a_parquet_number_of_which_pieces_are_read_is_refused(tmp_path, how):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet
    mapping = f"""
        [decisions]
        op = {{ column = "arch", {how}, labels = ["0", "1"] }}
        [[values]]
        column = '(?P<metric>size)'
    """
    folder = write(tmp_path / "t", "other.txt", [], mapping)
    arch = pa.array([0, 1]) if "at" in how else pa.array([0, 1]).dictionary_encode()
    parquet.write_table(pa.table({"arch": arch, "size": [1, 2]}), folder / "t.parquet")
    with pytest.raises(UsageError, match=r"column 'arch' of .*t\.parquet is a number; it has to be text"):
        read_table(folder)
    (folder / "mapping.toml").write_text(mapping.replace(f"{how}, ", ""))
    assert read_table(folder).genotypes == [{"op": "0"}, {"op": "1"}]


@pytest.mark.parametrize(("content", "word"), [
    (gzip.compress(b"id,code,params\nw,aa,1\n" * 500, mtime=0)[:-30], "cannot be read"),
    (b"\x1f\x8b\x08nothing", "cannot be read"),
    (gzip.compress(b"id,code,params\n\xff\xfe,aa,1\n", mtime=0), "utf-8"), (gzip.compress(b"", mtime=0), "empty"),
    (gzip.compress(b"id,code,params\nw,aa," + b"1" * 200_000, mtime=0), "field larger"),
    (gzip.compress(b'id,code,params\nw,"aa"a,1\n', mtime=0), "cannot be read")])
def test_a_damaged_file_is_named(tmp_path, content, word):
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "archs.csv.gz").write_bytes(content)
    (folder / "mapping.toml").write_text(MAPPING)
    with pytest.raises(UsageError) as error:
        summary(read_table(folder, "red"))
    assert "archs.csv.gz" in str(error.value) and word in str(error.value)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-40], lambda data: data[:60] + data[80:],
                                    lambda data: b"PAR1" + bytes(40) + b"PAR1"])
def test_a_damaged_parquet_file_is_named(tmp_path, damage):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet
    folder = write(tmp_path / "t", "scores.csv", SCORES)
    parquet.write_table(pa.table(dict(zip(ARCHS[0], zip(*ARCHS[1:], strict=True), strict=True))),
                        folder / "archs.parquet")
    (folder / "archs.parquet").write_bytes(damage((folder / "archs.parquet").read_bytes()))
    with pytest.raises(UsageError, match=r"archs\.parquet cannot be read"):
        read_table(folder, "red")


@pytest.mark.parametrize(("old", "new", "words"), [
    ("[decisions]", "[decision]", ["'decision'", "legal: about"]),
    ('goals = { accuracy = "max" }', 'goals = { accuracy = "most" }', ["accuracy", "'most'", "'min' or 'max'"]),
    ('goals = { accuracy = "max" }', 'goals = { speed = "max" }', ["no objective named 'speed'", "accuracy, params"]),
    ("rows = 4", "rows = -4", ["'rows'", "-4"]), ("rows = 4", 'rows = "4"', ["'rows'", "whole number"]),
    ("at = 1", "at = true", ["'at'", "True"]), ("at = 1", "place = 1", ["decision 'second'", "'place'", "separator"]),
    ('column = "code", at = 1', "at = 1", ["decision 'second'", "no column"]),
    ("(?P<data>[a-z]+)", "(?P<data>[a-z+)", ["'column'", "no regular expression"]),
    ('metric = "accuracy"', 'metric = "{score}"', ["'{score}'", "'score'", "groups: data, epochs"]),
    ('metric = "accuracy"', 'metric = "{data.x}"', ["'data.x'"]), ('metric = "accuracy"', 'metric = "{"', ["'{'"]),
    ("[labels]\na = \"one\"\nb = \"two\"", "", ["decision 'first' has no labels", "labels = [...]"]),
    ('b = "two"', 'b = ["two"]', ["['two']", "is no label"]), ('key = "id"', "", ["scores.csv", "needs a key"]),
    ("[[values]]", "[values]", ["no TOML"]), ('hints = ["params"]', "hints = 3", ["'hints'", "a list of texts"]),
    ("archs\\.", "nets\\.", ["no file", "is named nets"]),
    ('hints = ["params"]', 'hints = ["parms"]', ["no cost named 'parms'", "known: params", "mapping.toml", "hint"]),
    ("column = 'params'", "column = 'parms'", ["mapping.toml, [[values]] 1", "no column is named parms",
                                               "archs.csv has id, code, params"]),
    ("(?P<metric>seconds)_", "(?P<metric>minutes)_", ["mapping.toml, [[values]] 3", "scores.csv has id, red_val_2"]),
    ("file = 'scores\\.csv'\ncolumn = '(?P<m", "file = 'times'\ncolumn = '(?P<m",
     ["[[values]] 3", "no file is named times", "there are archs.csv, scores.csv"]),
    ('goals = { accuracy = "max" }', 'goals = { speed = "max" }', ["a goal of the mapping", "mapping.toml"]),
    ('column = "code", at = 0', 'column = "cod", at = 0', ["archs.csv has no column 'cod', which the mapping",
                                                           "mapping.toml names; it has id, code, params"]),
    ('key = "id"', 'key = "no"', ["archs.csv has no column 'no', which the mapping", "mapping.toml"]),
    ('metric = "params"', 'metric = "params"\npartial = 3', ["[[values]] 1", "'partial'", "true or false"]),
    ('about = "two by two"', 'about = "two by two"\nspace = "none.json"', ["none.json", "cannot be read"]),
])
def test_a_wrong_mapping_says_what_is_legal(folder, old, new, words):
    text = MAPPING
    assert old in text
    (folder / "mapping.toml").write_text(text.replace(old, new))
    with pytest.raises(UsageError) as error:
        summary(read_table(folder, "red"))
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(("declared", "words"), [
    ([choose("first", "one", "two"), choose("second", "one", "two", "three")],
     ["does not cover its space", "'second' has no text for 'three'"]),
    ([choose("first", "one", "two"), choose("second", "one", "two"), choose("third", 1, 2)],
     ["no [decisions]", "'third'"]),
    ([choose("first", "one", "two")], ["maps decisions", "second", "the space has first"])])
def test_a_mapping_covers_its_space(folder, declared, words):
    (folder / "space.json").write_text(json.dumps(Space(declared).data))
    (folder / "mapping.toml").write_text('space = "space.json"\n' + MAPPING)
    with pytest.raises(UsageError) as error:
        read_table(folder, "red")
    assert all(word in str(error.value) for word in words), error.value


def test_unknown_names_are_answered_with_the_known_ones(folder, table, tmp_path):
    with pytest.raises(UsageError, match=r"no data set named 'rot'; known: blue, red"):
        read_table(folder, "rot")
    with pytest.raises(UsageError, match=r"no data set named 'digit'; known: digits; did you mean 'digits'"):
        read_table("digits#digit")
    with pytest.raises(UsageError, match=r"no objective named 'acuracy'; known: accuracy, params; did you mean"):
        table.require(["acuracy"])
    with pytest.raises(UsageError, match=r"no mapping named 'nasbench21'.*did you mean 'nasbench201'"):
        read_table(folder, mapping="nasbench21")
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere"):
        read_table(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no mapping fits .*known mappings: hw-nas-bench"):
        read_table(tmp_path / "empty")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.booleans(), st.integers(0, 200), st.integers(0, 60))
def test_any_bytes_give_a_table_or_a_usage_error(tmp_path, noise, packed, start, length):
    folder = write(tmp_path / "t", "scores.csv", SCORES)
    text = io.StringIO()
    csv.writer(text).writerows(ARCHS)
    data = text.getvalue().encode()
    data = data[:start] + noise + data[start + length:]
    (folder / "archs.csv").unlink(missing_ok=True)
    (folder / "archs.csv.gz").unlink(missing_ok=True)
    (folder / ("archs.csv.gz" if packed else "archs.csv")).write_bytes(gzip.compress(data, mtime=0) if packed else data)
    try:
        summary(read_table(folder, "red"), {"accuracy": "max", "params": "min"})
    except UsageError as error:
        assert str(error)


VALUES = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
                      lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner,
                                                                                           max_size=3)), max_leaves=5)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_mapping_gives_a_table_or_a_usage_error(folder, data):
    import tomllib
    mapping = tomllib.loads(MAPPING)
    for _ in range(data.draw(st.integers(1, 2))):           # one or two places get some other value
        place = mapping
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and data.draw(st.booleans()):
                place = place[key]
                continue
            if isinstance(place, dict) and data.draw(st.booleans()):
                del place[key]
            else:
                place[key] = data.draw(VALUES)
            break
    try:
        from archfab.tables.reader import Reader
        summary(Reader([folder], checked(mapping, folder / "mapping.toml"), "red").table())
    except UsageError as error:
        assert str(error)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(MAPPING) - 1), st.integers(0, 20), st.text(max_size=6))
def test_any_mapping_text_gives_a_table_or_a_usage_error(folder, start, length, noise):
    (folder / "mapping.toml").write_text(MAPPING[:start] + noise + MAPPING[start + length:], encoding="utf-8",
                                         errors="replace")
    try:
        summary(read_table(folder, "red"))
    except UsageError as error:
        assert str(error)


# what it says of itself

def test_ranks_share_the_places_of_equal_values():
    assert ranks([10, 30, 10, 20]) == [1.5, 4, 1.5, 3]


def test_a_summary_counts_and_correlates(table):
    document = summary(table, {"accuracy": "max", "params": "min"})
    assert document["space"] == {"hash": table.space.hash, "size": 4, "known": 4, "decisions": 2}
    accuracy, params = document["metrics"]
    assert (accuracy["least"], accuracy["median"], accuracy["most"], accuracy["known"]) == (33, 51.5, 66, 4)
    assert (params["kind"], params["known"]) == ("cost", 3)
    noise = {(row["split"], row["epochs"]): row["noise"] for row in accuracy["measured"]}
    assert noise[("val", 8)] == pytest.approx((50**0.5 + 2 * 2**0.5) / 3)       # deviations of 60,70 | 45,47 | 30,32
    assert [(row["name"], row["spearman"], row["of"]) for row in document["predictors"]] == [
        ("params", pytest.approx(1), 3), ("accuracy val, epoch 2", pytest.approx(1), 4),
        ("accuracy val, epoch 8", pytest.approx(1), 4)]
    assert document["fronts"] == [{"objectives": {"accuracy": "max", "params": "min"}, "points": 3}]
    assert document["training_seconds"] == {"least": 10, "median": 25, "most": 40}
    json.dumps(document, allow_nan=False)


def test_what_is_reported_is_no_predictor_of_itself(folder):
    assert [row["name"] for row in summary(read_table(folder, "blue"))["predictors"]] == ["params"]
    goals = MAPPING.replace('accuracy = "max" }', 'params = "min" }')
    (folder / "mapping.toml").write_text(goals)
    assert summary(read_table(folder, "red"))["predictors"] == []


def test_ranks_agree_with_scipy():
    scipy = pytest.importorskip("scipy.stats")
    from archfab.tables.summary import agreement
    rng = random.Random(0)
    one, other = ([rng.randrange(9) for _ in range(60)] for _ in range(2))
    assert agreement(one, other)["spearman"] == pytest.approx(scipy.spearmanr(one, other).statistic)


def test_the_verb_shows_a_table(archfab, folder):
    document = archfab("table", "show", f"{folder}#red", "--maximize", "accuracy", "--json").json
    assert document["architectures"] == 4 and document["fronts"][0]["points"] == 1
    shown = archfab("table", "show", f"{folder}#red").out
    assert "4 architectures" in shown and "rank correlation with accuracy" in shown
    names = [row["name"] for row in archfab("table", "list", "--json").json]
    assert {"digits", "nasbench201", "hw-nas-bench"} <= set(names)
    assert "no data set named 'rot'" in archfab("table", "show", f"{folder}#rot", code=2).err
    assert "no objective named 'x'" in archfab("table", "show", f"{folder}#red", "--minimize", "x", code=2).err


# the task and the estimator

def test_a_search_on_a_table_sees_validation_and_shows_what_is_reported(archfab, folder):
    result = archfab("search", "table", "--data", f"{folder}#red", "--trials", 20, "--run", "r", "--json").json
    best = result["front"][0]
    assert best["genotype"] == g("bb") and best["accuracy"] in (60, 70) and best["test_accuracy"] == 66
    assert best["train_seconds"] == 40
    assert result["baseline"] == {"most params": 50, "median network": 50}
    quiet = archfab("search", "table", "--data", f"{folder}#red", "--noise", "no", "--trials", 20, "--run", "q",
                    "--json").json
    assert quiet["front"][0]["accuracy"] == 66 and quiet["baseline"]["median network"] == 55


def test_the_same_seed_draws_the_same_noise(archfab, folder):
    runs = [archfab("search", "table", "--data", f"{folder}#red", "--trials", 9, "--strategy", "evolution",
                    "--seed", seed, "--run", f"r{i}", "--json").json for i, seed in enumerate((1, 1, 2, 3))]
    values = [run["front"][0]["accuracy"] for run in runs]
    assert values[0] == values[1] and len(set(values)) > 1


@pytest.mark.parametrize(("task", "option"), [("table", "data"), ("toy", "table")])
def test_a_run_knows_its_table_in_every_working_directory_and_notices_that_it_has_changed(folder, monkeypatch, task,
                                                                                          option):
    from archfab.plan import environment, plan
    write(folder.parent / "more", "scores.csv", SCORES, None)
    monkeypatch.chdir(folder.parent)
    words = {"data": f"{folder.name}+more#red"} if option == "data" else \
        {"estimator": "table", "options": {"table": f"{folder.name}+more#red"}}
    bench = plan(task, **words)
    options = bench.spec.task_options if option == "data" else bench.spec.estimator_options
    assert options[option] == f"{folder}+{folder.parent / 'more'}#red"
    before = environment(bench)["data"]
    assert before != "none" and before == environment(bench)["data"]
    (folder.parent / "more" / "scores.csv").write_text("id\n")
    assert environment(bench)["data"] != before


def test_an_architecture_that_the_table_lacks_is_an_event_with_the_reason(archfab, folder):
    from archfab.runs import Run
    text = (folder / "mapping.toml").read_text().replace("rows = 4", "rows = 3")
    (folder / "mapping.toml").write_text(text)
    write(folder, "archs.csv", ARCHS[:-1], None)
    write(folder, "scores.csv", [SCORES[0], *SCORES[2:]], None)
    result = archfab("search", "table", "--data", f"{folder}#red", "--trials", 30, "--run", "runs/r", "--json").json
    assert result["rejected"] == result["unknown"] > 0 and result["failed"] == 0 and result["trials"] >= 3
    shown = archfab("show", "runs/r").out
    assert f"{result['unknown']:,} that the estimator does not know" in shown and "outside the limits" not in shown
    run = Run(folder.parent / "runs/r")
    assert {event.note.split(": ")[-1] for event in run.of("search", "rejected")} == {
        "table t has no row for this architecture"}


def test_a_table_with_accuracy_serves_a_task_with_errors(folder):
    from archfab.core import Budget, Task
    from archfab.estimators.table import TableEstimator

    class Errors(Task):
        name, scores = "errors", ("error", "loss")

        def space(self, name=None):
            return []

    estimator = TableEstimator(table=f"{folder}#red", noise=False)
    scores, curve = estimator.estimate(Errors(), read_table(folder, "red").space, g("ba"), Budget(epochs=8),
                                       random.Random(0))
    assert scores == {"accuracy": 55, "params": 3, "test_accuracy": 55, "error": pytest.approx(0.45),
                      "test_error": pytest.approx(0.45), "train_seconds": 30} and curve == []
    with pytest.raises(Unknown, match="knows no decision 'depth'"):
        estimator.estimate(Errors(), Space([]), {"depth": 1}, Budget(epochs=8), random.Random(0))
    with pytest.raises(UsageError, match="no folder"):
        TableEstimator(table="nowhere")


# the embedded table

def test_the_digits_table_is_what_its_page_says():
    table = read_table()
    assert (len(table.genotypes), table.space.size, table.epochs) == (1197, 1197, tuple(map(float, range(1, 10))))
    assert set(table.rows) == {table.key(genotype) for genotype in table.space}
    assert (EMBEDDED / "table.csv.gz").stat().st_size < 400_000
    document = summary(table)
    error = document["metrics"][0]
    assert all(row["seeds"] == 3 for row in error["measured"])
    assert error["deviation"] > 4 * max(row["noise"] for row in error["measured"] if row["epochs"] == 9)
    known = {row["name"]: row["spearman"] for row in document["predictors"]}
    assert known["error val, epoch 1"] < known["error val, epoch 3"] < known["error val, epoch 9"]
    assert {"params", "macs", "cortex_m7_latency_ms", "raspberry_pi_4_energy_mj", "edge_npu_memory_kb",
            "server_gpu_latency_ms"} <= set(table.costs)


@pytest.mark.parametrize("number", [0, 500, 1196])
def test_the_digits_table_has_the_costs_of_its_networks(number):
    torch = pytest.importorskip("torch")
    from archfab.evaluate import load_device
    from archfab.hardware.workload import record_genotype
    table = read_table()
    genotype = table.genotypes[number]
    workload = record_genotype(table.space, genotype, (torch.zeros(1, 1, 8, 8),))
    truth = table.truth(genotype)
    assert (truth["params"], truth["macs"]) == (workload.params, workload.macs)
    cost = load_device("cortex-m7").cost(workload).figures["latency_ms"].value
    assert truth["cortex_m7_latency_ms"] == pytest.approx(cost, rel=1e-4)


def test_the_mapping_that_the_page_shows_is_legal():
    import tomllib
    page = (Path(__file__).parents[1] / "docs/tables.md").read_text()
    mapping = checked(tomllib.loads(re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1]), Path("mapping.toml"))
    assert mapping.decisions["depth"].text("1 0") == "2" and mapping.decisions["op0"].text("1 0") == "1"
    said = mapping.values[1].read("scores.csv", "blue_val_12_s3")
    assert said == {"metric": "accuracy", "data": "blue", "split": "val", "epochs": 12, "seed": "3"}


def test_every_shipped_mapping_is_legal_and_its_space_is_covered():
    for mapping in shipped():
        space = mapping.space()
        if space is not None:
            from archfab.tables.reader import decisions_of
            assert set(decisions_of(mapping, space)) == set(space.labels)
    assert read_mapping(EMBEDDED / "mapping.toml").space().size == 1197


# published facts: the READMEs of the data

@pytest.mark.shared
def test_nasbench201_is_as_published(shared_data):
    table = read_table(shared_data / "nasbench201")
    skips = dict.fromkeys(table.space.labels, "skip")
    accuracy = table.reported("accuracy")
    assert len(accuracy) == table.space.size == 15625 and None not in accuracy
    assert table.best("accuracy", "max") == 94.3733
    best = table.genotypes[accuracy.index(94.3733)]
    assert sorted(best.values()) == ["conv1x1", "conv3x3", "conv3x3", "conv3x3", "conv3x3", "skip"]
    assert sum(value == 10 for value in accuracy) == 341
    assert table.truth(skips)["accuracy"] == pytest.approx(54.297, abs=0.001)
    assert table.epochs == (12, 200)
    seeds = [sum(column.values[row] is not None for column in
                 table.scores["accuracy"]["test", 200].seeds.values()) for row in range(15625)]
    assert [seeds.count(number) for number in (1, 2, 3)] == [2225, 5439, 7961]
    predictors = {row["name"]: row for row in summary(table)["predictors"]}
    assert round(predictors["accuracy val, epoch 12"]["spearman"], 2) == 0.77
    assert (round(predictors["nwot"]["spearman"], 2), predictors["nwot"]["of"]) == (0.81, 9445)
    other = read_table(shared_data / "nasbench201", "cifar100")
    assert other.best("accuracy", "max") == pytest.approx(73.5133, abs=1e-4)


@pytest.mark.shared
@pytest.mark.parametrize(("folder", "name", "words"), [
    ("nasbench201", "acc_200ep.csv.gz", "lacks 5000 of 15625 architectures, first the idx '10625'"),
    ("nas-bench-graph", "cora.csv.gz", "has 21206 rows, nas-bench-graph has 26206")])
def test_a_public_table_of_which_rows_are_cut_is_refused(shared_data, tmp_path, folder, name, words):
    for path in (shared_data / folder).glob("*.csv.gz"):
        (tmp_path / path.name).symlink_to(path)
    lines = gzip.decompress((tmp_path / name).read_bytes()).splitlines(keepends=True)
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(gzip.compress(b"".join(lines[:-5000]), mtime=0))
    with pytest.raises(UsageError, match=words):
        read_table(tmp_path)


@pytest.mark.shared
def test_a_path_from_input_to_output_is_what_the_341_cells_lack(shared_data):
    table = read_table(shared_data / "nasbench201")
    for genotype, accuracy in zip(table.genotypes, table.reported("accuracy"), strict=True):
        reached = {0}
        for end in (1, 2, 3):
            if any(genotype[f"cell.{start}-{end}"] != "none" for start in reached if start < end):
                reached.add(end)
        assert (3 in reached) == (accuracy != 10)


@pytest.mark.shared
def test_hw_nas_bench_joins_by_index(shared_data):
    where = f"{shared_data / 'nasbench201'}+{shared_data / 'hw-nas-bench'}"
    table = read_table(where)
    first, second = (table.truth(table.genotypes[i]) for i in (0, 1))
    assert first["raspi4_latency_ms"] == 10.481977 and first["eyeriss_energy_mj"] == 0.68728276
    assert first["accuracy"] == 85.8633 and second["fpga_latency_ms"] != first["fpga_latency_ms"]
    lacking = sum(value is None for value in table.reported("edgetpu_latency_ms"))
    assert lacking == 4699
    sizes = [len(table.front({"accuracy": "max", f"{device}_latency_ms": "min"})) for device in ("raspi4", "fpga")]
    assert sizes == [47, 13]
    with pytest.raises(UsageError, match=r"give that table's folder too, joined by \+"):
        read_table(shared_data / "hw-nas-bench")
    assert read_table(where, "cifar100").truth(table.genotypes[0])["raspi4_latency_ms"] == 10.432982


@pytest.mark.shared
def test_a_front_is_what_no_other_point_dominates(shared_data):
    table = read_table(f"{shared_data / 'nasbench201'}+{shared_data / 'hw-nas-bench'}")
    goals = {"accuracy": "max", "fpga_latency_ms": "min"}
    front, points = table.front(goals), set(table.points(goals))
    assert all(not dominates(other, point) for point in front for other in points)
    assert all(point in front or any(dominates(other, point) for other in front) for point in points)


@pytest.mark.shared
def test_nas_bench_macro_is_as_published(shared_data):
    table = read_table(shared_data / "nas-bench-macro")
    kinds = {"0": "identity", "1": "mb3_k3", "2": "mb6_k5"}
    best = {f"layer{i}": kinds[digit] for i, digit in enumerate("22212202", 1)}
    assert len(table.genotypes) == table.space.size == 3**8
    assert table.best("accuracy", "max") == pytest.approx(93.127, abs=5e-4)
    assert table.truth(best)["accuracy"] == table.best("accuracy", "max")
    assert (min(table.reported("params")), max(table.reported("params"))) == (387882, pytest.approx(2.933e6, rel=1e-3))


@pytest.mark.shared
@pytest.mark.parametrize(("data_set", "best"), [
    ("cora", .8313), ("citeseer", .7157), ("pubmed", .786), ("cs", .9126), ("physics", .930), ("photo", .9279),
    ("computers", .8558), ("arxiv", .7239), ("proteins", .7926)])
def test_nas_bench_graph_is_as_published(shared_data, data_set, best):
    table = read_table(shared_data / "nas-bench-graph", data_set)
    assert len(table.genotypes) == (2021 if data_set == "proteins" else 26206)
    assert table.best("accuracy", "max") == pytest.approx(best, abs=6e-5)


@pytest.mark.shared
@pytest.mark.parametrize(("data_set", "operations", "networks"), [("cora", 9, 26206), ("proteins", 5, 2021)])
def test_nas_bench_graph_has_each_network_once_but_those_that_put_out_their_input(shared_data, data_set, operations,
                                                                                  networks):
    """Counted without the files: the classes of genotypes by the rule of equal networks, less those in which a skip
    hangs on the input and nothing reads it, are exactly the rows of the table."""
    table = read_table(shared_data / "nas-bench-graph", data_set)
    labels = table.space.labels
    assert len(labels["link"]) == 9 and all(len(labels[f"op{i}"]) == operations for i in (1, 2, 3, 4))
    classes = {table.key(dict(zip(labels, choice, strict=True))) for choice in product(*labels.values())}
    inner = {form for form in classes if ("skip", ()) not in form}
    assert inner == set(table.rows) and len(inner) == networks
    known = summary(table)["space"]
    assert (known["known"], known["size"]) == {9: (53056, 59049), 5: (4576, 5625)}[operations]


@pytest.mark.shared
def test_transnas_bench_101_is_as_published(shared_data):
    macro, micro = (read_table(f"{shared_data / 'transnas-bench-101'}#transnas-bench-101-{kind}/class_scene")
                    for kind in ("macro", "micro"))
    assert (len(macro.genotypes), len(micro.genotypes), micro.space.size) == (3256, 4096, 4096)
    depths = [genotype["depth"] for genotype in macro.genotypes]
    assert [depths.count(depth) for depth in (4, 5, 6)] == [210, 750, 2296]
    assert len(micro.data_sets) == 7
    chance = [genotype for genotype, score in zip(micro.genotypes, micro.reported("score"), strict=True)
              if score == pytest.approx(7.484, abs=5e-4)]
    assert len(chance) == 169
    assert [mapping.name for mapping in find_mappings(shared_data / "transnas-bench-101")] == [
        "transnas-bench-101-macro", "transnas-bench-101-micro"]


@pytest.mark.shared
def test_parquet_gives_the_same_table(shared_data, tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet
    with gzip.open(shared_data / "nas-bench-macro/cifar10.csv.gz", "rt") as file:
        header, *rows = csv.reader(file)
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    parquet.write_table(pa.table({name: list(values) if name == "arch" else list(map(float, values))
                                  for name, values in columns.items()}), tmp_path / "cifar10.parquet")
    one, other = read_table(shared_data / "nas-bench-macro"), read_table(tmp_path)
    assert other.name == one.name and other.genotypes == one.genotypes
    assert other.reported("accuracy") == one.reported("accuracy") and other.reported("flops") == one.reported("flops")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["nasbench201", "nasbench201#cifar100", "nas-bench-macro", "nas-bench-graph",
                                  "transnas-bench-101", "transnas-bench-101#transnas-bench-101-micro/jigsaw"])
def test_every_column_of_the_public_tables_is_sound(shared_data, name):
    json.dumps(summary(read_table(f"{shared_data}/{name}")), allow_nan=False)
