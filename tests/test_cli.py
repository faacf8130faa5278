"""The command line as a user meets it: answers, exit codes, and what it says about wrong requests."""

import json
import struct

import numpy as np
import pytest

from archfab import cli
from archfab.runs import Run

GENOTYPE = {f"cell.{i}-{j}": "conv3x3" for j in (1, 2, 3) for i in range(j)}
CELL = ["vision", "--space", "cell", "--channels", "4"]


def one_line(answer):
    """The message of a refused request: one line, no trace, nothing on standard output."""
    assert answer.out == "" and "Traceback" not in answer.err
    lines = answer.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("archfab: ")
    return lines[0]


@pytest.mark.parametrize(("words", "says"), [
    (["search", "visoin"], ["no task named 'visoin'", "did you mean 'vision'"]),
    (["search", "toy", "--strategy", "evolutoin"], ["no strategy named", "did you mean 'evolution'"]),
    (["search", "toy", "--estimator", "trainning"], ["no estimator named", "'training'"]),
    (["search", "toy", "--device", "nul"], ["no device named 'nul'", "'null'"]),
    (["search", "toy", "--minimize", "eror"], ["no objective named 'eror'", "did you mean 'error'"]),
    (["search", "toy", "--minimize", "latency_ms"], ["no objective named 'latency_ms'", "--device"]),
    (["search", "toy", "--limit", "sise<=3"], ["no limit named 'sise'", "did you mean 'size'"]),
    (["search", "toy", "--limit", "size=3"], ["'size=3' is no limit", "NAME<=NUMBER"]),
    (["search", "toy", "--minimize", "error", "--maximize", "error"], ["minimized and maximized"]),
    (["search", "toy", "--space", "celll"], ["no space named"]),
    (["search", "toy", "--trials", "0"], ["--trials", "from 1 up"]),
    (["search", "toy", "--trials", "many"], ["--trials", "--help"]),
    (["search", "toy", "--workers", "0"], ["--workers"]),
    (["search", "toy", "--budget", "soon"], ["'soon' is no length of time", "10m"]),
    (["search", "toy", "--strategy", "evolution", "--population", "lots"], ["--population", "'lots'"]),
    (["search", "toy", "--strategy", "evolution", "--populatoin", "5"],
     ["no option named 'populatoin'", "did you mean 'population'"]),
    (["search", "toy", "--strategy", "evolution", "--population", "2"], ["tournament of 10", "population of 2"]),
    (["search", "toy", "--data", "x"], ["no option named 'data'"]),
    (["search", "no-such-file.py"], ["no Python file"]),
    (["search", "vision", "--epochs", "-1"], ["-1.0 epochs"]),
    (["search", "vision", "--data", "nowhere"], ["nowhere"]),
    (["resume", "nothing"], ["no run named 'nothing'"]),
    (["show", "nothing"], ["no run named 'nothing'"]),
    (["list", "devises"], ["no kind named", "did you mean 'devices'"]),
    (["search", "toy", "--trails", "30"], ["did you mean '--trials'"]),
    (["search", "vision", "--lr", "nan"], ["--lr takes a number", "'nan'"]),
    (["search", "vision", "--batch", "1"], ["batch >= 2"]),
    (["search", "toy", "--limit", "error<=1e999"], ["'error<=1e999' is no limit"]),
    (["search", "toy", "--run", "."], ["no name for a run"]),
    (["frobnicate"], ["frobnicate"]),
    ([], ["VERB"]),
    (["show", "x", "--frobnicate", "1"], ["no option --frobnicate"]),
])
def test_a_wrong_request_ends_with_code_2_and_one_clear_line(archfab, tmp_path, words, says):
    line = one_line(archfab(*words, code=2))
    for part in says:
        assert part in line, line
    assert list(tmp_path.iterdir()) == [], "something was left behind"


def test_an_interruption_says_so_with_code_130(monkeypatch, capsys):
    def stopped():
        raise KeyboardInterrupt
    monkeypatch.setattr(cli, "parser", stopped)
    assert cli.main(["list", "tasks"]) == 130
    assert capsys.readouterr().err == "\narchfab: interrupted\n"


def test_a_limit_that_nothing_can_meet_is_found_before_training(archfab, tmp_path):
    line = one_line(archfab("search", *CELL, "--limit", "params<=10", code=2))
    assert "no architecture" in line and "least params found is" in line
    assert list(tmp_path.iterdir()) == []


def test_limits_are_kept_to_the_last_digit(archfab, tmp_path):
    archfab("search", "toy", "--trials", "30", "--limit", "error<=0.39453125", "--limit", "size<=1234567", "--run", "a")
    assert Run(tmp_path / "runs" / "a").spec.limits == ("error<=0.39453125", "size<=1234567")


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def bad_folders(folder):
    x, y = np.zeros((6, 8, 8), np.uint8), np.array([0, 1, 0, 1, 0, 1], np.uint8)

    def mnist(images, labels):
        (folder / "train-images-idx3-ubyte").write_bytes(images)
        (folder / "train-labels-idx1-ubyte").write_bytes(labels)

    return {"empty": lambda: None,
            "truncated": lambda: mnist(idx(x)[:-20], idx(y)),
            "another format": lambda: (folder / "notes.csv").write_text("a,b\n1,2\n"),
            "one class": lambda: mnist(idx(x), idx(y * 0)),
            "half of it": lambda: (folder / "train-images-idx3-ubyte").write_bytes(idx(x)),
            "pickled": lambda: np.savez(folder / "x.npz", x_train=np.array([{}], dtype=object), y_train=y)}


@pytest.mark.parametrize("kind", ["empty", "truncated", "another format", "one class", "half of it", "pickled"])
def test_a_bad_data_folder_ends_with_code_2_and_leaves_nothing(archfab, tmp_path, kind):
    folder = tmp_path / "data"
    folder.mkdir()
    bad_folders(folder)[kind]()
    one_line(archfab("search", "vision", "--data", "data", code=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_search_answers_with_the_documented_document(archfab):
    document = archfab("search", "toy", "--trials", "300", "--seed", "1", "--json").json
    assert {"run", "task", "trials", "failed", "seconds", "front", "baseline", "random"} <= set(document)
    assert (document["task"], document["trials"], document["failed"]) == ("toy", 300, 0)
    best = document["front"][0]
    assert {"id", "genotype", "error"} <= set(best) and best["error"] == pytest.approx(0.05 + 0.9 / 7)
    assert document["random"]["trials"] == 300 and document["baseline"]["middle"] > best["error"]


def test_show_compare_and_trials_answer_from_the_log(archfab):
    first = archfab("search", "toy", "--trials", "40", "--run", "a", "--json").json
    archfab("search", "toy", "--trials", "40", "--run", "b", "--strategy", "random")
    assert archfab("show", "a", "--json").json == first
    assert len(archfab("show", "a", "--trials", "--json").json) == 80
    one = archfab("show", "a", first["front"][0]["id"][:6], "--json").json
    assert one["genotype"] == first["front"][0]["genotype"]
    rows = archfab("compare", "a", "b", "--json").json["runs"]
    assert [row["strategy"] for row in rows] == ["auto", "random"]
    assert all(0 < row["hypervolume"] <= 1 for row in rows)
    archfab("search", "toy", "--trials", "5", "--run", "c", "--minimize", "size")
    assert "cannot be compared" in one_line(archfab("compare", "a", "c", code=2))


def test_a_run_whose_every_trial_fails_says_why_with_code_1(archfab):
    answer = archfab("search", "toy", "--fail", "1", "--trials", "5", code=1)
    assert "5 networks failed" in answer.err and "by construction" in answer.err


def test_failed_trials_are_events_and_the_run_goes_on(archfab):
    document = archfab("search", "toy", "--fail", "0.5", "--trials", "60", "--json").json
    assert 10 < document["failed"] < 50 and document["trials"] == 60 and document["front"]


def test_cost_adds_up_and_says_its_origin(archfab, tmp_path):
    (tmp_path / "g.json").write_text(json.dumps(GENOTYPE))
    document = archfab("cost", *CELL, "--genotype", "g.json", "--device", "cortex-m7", "--json").json
    costs = document["costs"]
    assert {"latency_ms", "energy_mj", "memory_kb", "flash_kb", "macs", "params"} <= set(costs)
    for row in costs.values():
        assert row["low"] <= row["value"] <= row["high"] and row["origin"]
    assert sum(op["latency_ms"] for op in document["operators"]) == pytest.approx(costs["latency_ms"]["value"])
    assert sum(op["macs"] for op in document["operators"]) == costs["macs"]["value"]
    assert document["unknown"] == []


@pytest.mark.parametrize(("text", "says"), [
    ("{", "no JSON file"), ("[1]", "no genotype"), ("{}", "lacks"),
    (json.dumps({**GENOTYPE, "cell.0-1": "conv9"}), "legal"), (json.dumps({**GENOTYPE, "x": 1}), "no choice 'x'")])
def test_a_wrong_genotype_is_refused(archfab, tmp_path, text, says):
    (tmp_path / "g.json").write_text(text)
    assert says in one_line(archfab("cost", *CELL, "--genotype", "g.json", code=2))


def test_space_reports_size_choices_lowerings_and_prices(archfab):
    document = archfab("space", *CELL, "--device", "cortex-m7", "--json").json
    assert document["size"] == 5**6 and len(document["choices"]) == 6
    assert document["lowerings"]["concrete"]["ok"] is True
    assert document["costs"]["latency_ms"]["least"] < document["costs"]["latency_ms"]["most"]
    assert set(document["lesson_seconds"]) == {"supernet", "darts"} and min(document["lesson_seconds"].values()) > 0
    assert document["trial_seconds"] > 0 and document["sampling"] == "uniform over architectures"


def test_list_names_everything_with_a_sentence(archfab):
    for kind in ("tasks", "strategies", "estimators", "devices", "executors", "cost-models", "lowerings"):
        rows = archfab("list", kind, "--json").json
        assert rows and all(row["about"] and {"name", "about", "extra"} <= set(row) for row in rows)


def test_list_tells_the_options_of_every_strategy_with_their_defaults(archfab):
    for name in (row["name"] for row in archfab("list", "strategies", "--json").json):
        options = archfab("list", "strategies", name, "--json").json["options"]
        assert all(row["about"] and row["name"].startswith("--") for row in options), name
    shown = archfab("list", "strategies", "evolution").out
    assert "--tournament" in shown and "how many compete to be the parent" in shown
    assert "did you mean 'evolution'" in archfab("list", "strategies", "evolutoin", code=2).err


def test_every_verb_has_help_with_an_example(archfab):
    from archfab.cli import parser
    verbs = next(action.choices for action in parser()._actions if action.choices)
    assert {"search", "resume", "show", "compare", "export", "replay", "space", "list", "cost"} <= set(verbs)
    for name, verb in verbs.items():
        assert "example: archfab " + name in verb.format_help()
        assert "--json" in verb.format_help()


def test_the_report_stands_alone(archfab, tmp_path):
    archfab("search", "toy", "--trials", "60", "--minimize", "error", "--minimize", "size", "--run", "a")
    page = (tmp_path / "runs" / "a" / "report.html").read_text()
    bare = page.replace("http://www.w3.org", "").replace("url(#", "")      # names of SVG itself; parts of this page
    for outside in ("http:", "https:", "src=", "<script", "@import", "url("):
        assert outside not in bare, outside
    assert "<svg" in page and "random" in page and "baseline" in page
    assert (tmp_path / "runs" / "a" / "front.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_what_a_users_file_prints_is_not_part_of_the_answer(archfab, tmp_path):
    (tmp_path / "noisy.py").write_text("print('noise')\nfrom archfab.tasks.toy import Toy as export\n")
    assert archfab("search", "noisy.py", "--trials", "3", "--json").json["trials"] == 3


def test_runs_without_any_network_that_keeps_the_limits_can_be_compared(archfab):
    for name in ("a", "b"):
        archfab("search", "toy", "--trials", "4", "--limit", "error<=0.01", "--run", name, code=1)
    assert [row["hypervolume"] for row in archfab("compare", "a", "b", "--json").json["runs"]] == [0, 0]


def test_a_front_with_many_figures_shows_the_objectives_and_their_test_scores_first():
    from archfab.terminal import COLUMNS, columns
    member = {"id": "x", "genotype": {}, **{f"cost{i}": 1.0 for i in range(20)}, "error": 0.1, "test_error": 0.2,
              "test_loss": 3.0}
    names = columns([member], ["error", "cost7"])
    assert names[:3] == ["error", "cost7", "test_error"] and len(names) == len(set(names)) == COLUMNS
    assert columns([{"id": "x", "error": 0.1, "loss": 1.0}], ["error"]) == ["error"]


def test_trials_are_counted_in_words_of_a_person():
    from archfab.terminal import count
    assert [count(each) for each in (32740, 7.0, 2.333, 1e6)] == ["32,740", "7", "2.3", "1,000,000"]


def test_a_search_of_networks_that_nothing_knows_says_so(archfab):
    failed = archfab("search", "toy", "--estimator", "table", "--table", "digits", "--trials", 5, "--no-random", code=1)
    assert "the last one so: table digits knows no decision 'layer0'" in failed.err
    assert "that the estimator does not know" in failed.out and "limits" not in failed.out
