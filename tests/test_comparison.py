"""Comparing strategies: what is measured, the statistics, and that nothing is lost or done twice."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from itertools import product

import numpy as np
import pytest
from conftest import ROOT
from scipy import stats

from archfab.comparison import compare
from archfab.comparison.curves import budgets, curve, evaluation_grid, values
from archfab.comparison.picture import comparison_figure
from archfab.comparison.play import Step, course, make_strategy, play
from archfab.comparison.request import Player, Request
from archfab.comparison.significance import (
    critical_difference,
    fewest_runs,
    friedman,
    holm,
    paired,
    pairs,
    ranks,
)
from archfab.comparison.workers import play_one
from archfab.comparison.yardstick import Yardstick
from archfab.core import Limit, UsageError
from archfab.metrics.pareto import dominates, hypervolume
from archfab.tables import read_table

MAPPING = """
about = "A table made for a test"
goals = { accuracy = "max" }
hints = ["params"]

[architectures]
file = 'table\\.csv'

[decisions]
a = { column = "a", labels = [0, 1, 2, 3] }
b = { column = "b", labels = [0, 1, 2, 3] }
c = { column = "c", labels = [0, 1, 2, 3] }

[[values]]
column = '(?P<split>val|test)_(?P<epochs>\\d+)(_(?P<seed>\\d))?'
metric = "accuracy"

[[values]]
column = 'seconds_(?P<epochs>\\d+)'
metric = "seconds"

[[values]]
column = '(?P<metric>params|latency_ms)'
"""
HEADER = "a,b,c,val_1,val_4_0,val_4_1,test_4_0,test_4_1,seconds_1,seconds_4,params,latency_ms"


def truth(a, b, c):
    return 90 - (a - 2) ** 2 - 2 * (b - 1) ** 2 - 0.5 * c * (c - a) ** 2


def write_table(folder, shift=0.0):
    """64 architectures of three decisions; the best is a=2, b=1, c=0 or 2 at 90 plus the shift."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = random.Random(0)
    lines = [HEADER]
    for a, b, c in product(range(4), repeat=3):
        score = truth(a, b, c) + shift
        seen = [score - 5 + noise.gauss(0, 2), score + noise.gauss(0, 1), score + noise.gauss(0, 1)]
        row = [a, b, c, *seen, score - 0.25, score + 0.25, 10.0, 40.0, 1 + a + b + c, 1 + a * b + c]
        lines.append(",".join(map(str, row)))
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    (folder / "mapping.toml").write_text(MAPPING)
    return folder


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "tiny")


def write_strategy(path, ask, more=""):
    path.write_text(f"""
import os, time
from archfab.core import Strategy, Trial

class Mine(Strategy):
    def ask(self, number, rng):
        {ask}
    def tell(self, event):
        pass
{more}
export = Mine
""")
    return str(path)


def lines_of(folder):
    return (folder / "runs.jsonl").read_text().splitlines()


def outcomes(folder):
    """What the runs found, whatever order they finished in and however long they took."""
    found = [json.loads(line) for line in lines_of(folder)[1:]]
    return {(r["table"], r["strategy"], r["run"]): {k: v for k, v in r.items() if k != "cpu"} for r in found}


# What is measured

def test_regret_is_the_distance_from_the_best_of_the_table_and_limits_bound_what_counts(table):
    read = read_table(table)
    stick = Yardstick.of(read, {"accuracy": "max"})
    assert (stick.best, stick.worst) == (90, min(truth(*abc) for abc in product(range(4), repeat=3)))
    assert stick.regret(88.5) == 1.5 and stick.regret(None) == stick.best - stick.worst
    bound = Yardstick.of(read, {"accuracy": "max"}, [Limit.parse("latency_ms<=2")])
    kept = [truth(a, b, c) for a, b, c in product(range(4), repeat=3) if 1 + a * b + c <= 2]
    assert (bound.best, bound.worst) == (max(kept), min(kept)) and bound.best < 90
    least = Yardstick.of(read, {"latency_ms": "min"})
    assert (least.best, least.worst, least.regret(3)) == (1, 13, 2)
    with pytest.raises(UsageError, match="no architecture of table tiny has accuracy and keeps latency_ms<=0"):
        Yardstick.of(read, {"accuracy": "max"}, [Limit.parse("latency_ms<=0.5")])


def test_several_goals_are_measured_by_the_share_of_the_exact_fronts_hypervolume(table):
    goals = {"accuracy": "max", "latency_ms": "min"}
    read = read_table(table)
    stick = Yardstick.of(read, goals)
    exact = read.front(goals)
    assert stick.size == len(exact) > 2
    low, high = np.min(exact, axis=0), np.max(exact, axis=0)
    corner = high + 0.1 * (high - low)                      # the nadir of the exact front, and a tenth beyond
    volume = hypervolume(exact, tuple(corner))
    assert stick.share(exact) == pytest.approx(1)
    assert stick.share([exact[0]]) == pytest.approx(hypervolume([exact[0]], tuple(corner)) / volume)
    assert stick.share([(0.0, 1e9)]) == 0                   # outside the box
    steps = play(make_strategy("random", read, goals), read, 60, 3)
    changes, reported = stick.trace(steps)
    seen = []
    for step in steps:
        seen.append((-step.truth["accuracy"], step.truth["latency_ms"]))
        now = [change for change in changes if change[0] <= step.spent][-1]
        assert now[2] == pytest.approx(hypervolume(seen, tuple(corner)) / volume)
    assert [change[2] for change in changes] == sorted({change[2] for change in changes})
    front = {point for point in seen if not any(dominates(other, point) for other in seen)}
    assert {(-accuracy, latency) for accuracy, latency in reported} == front
    assert Yardstick.from_plain(json.loads(json.dumps(stick.plain()))) == stick


def test_reported_is_the_truth_of_what_looked_best_and_nothing_while_that_breaks_a_limit():
    stick = Yardstick({"accuracy": "max"}, ("latency_ms<=5",), 95.0, 50.0)

    def step(spent, looks, true, slow=1.0, truly_slow=None):
        return Step(spent, spent * 10, {}, {"accuracy": looks, "latency_ms": slow} if looks else {},
                    {"accuracy": true, "latency_ms": truly_slow or slow})

    steps = [step(0.25, None, 0), step(1.25, 80, 90), step(2.25, 99, 70), step(3.25, 99.5, 94, slow=6),
             step(4.25, 98, 95), step(5.25, 100, 93, truly_slow=7)]
    assert stick.trace(steps)[0] == [(1.25, 12.5, 90), (2.25, 22.5, 70), (5.25, 52.5, None)]
    both = Yardstick({"accuracy": "max", "params": "min"}, (), 1, 0, (-95.0, 1.0), (10.0, 4.0), 1.21)
    looks = [Step(i, None, {}, {"accuracy": a, "params": p}, {"accuracy": t, "params": p})
             for i, (a, p, t) in enumerate([(90, 3, 90), (91, 3, 86), (80, 1, 80)], 1)]
    changes, reported = both.trace(looks)                   # the second looks better and is worse: the share falls
    assert len(changes) == 2 and changes[1][2] < changes[0][2]
    assert sorted(reported) == [[80, 1], [86, 3]]


def test_a_curve_is_a_step_function_of_what_was_spent():
    stick = Yardstick({"accuracy": "max"}, (), 100.0, 10.0)
    records = [{"changes": [[0.5, 5, 90.0], [2.5, 20, 95.0]], "seconds": 30},
               {"changes": [[2, 12, 97.0]], "seconds": 24}, {"changes": [], "seconds": 3}]
    grid = [1.0, 2.0, 2.5, 3.0]
    assert values(records, grid, stick.worst).tolist() == [[90, 90, 95, 95], [10, 97, 97, 97], [10, 10, 10, 10]]
    assert values(records, [4, 5, 12, 100], 10.0, axis=1).tolist() == [[10, 90, 90, 95], [10, 10, 97, 97],
                                                                       [10, 10, 10, 10]]
    found = curve(records, grid, stick)
    assert found["at"] == grid
    assert found["mean"] == pytest.approx([(10 + 90 + 90) / 3, (10 + 3 + 90) / 3, (5 + 3 + 90) / 3, 98 / 3])
    assert found["median"] == [90, 10, 5, 5]
    assert found["value"][1] == pytest.approx((90 + 97 + 10) / 3)
    assert found["q25"][1] == pytest.approx(np.percentile([10, 3, 90], 25))
    assert all(low <= mean <= high for low, mean, high in zip(found["low"], found["mean"], found["high"], strict=True))
    assert curve(records, grid, stick) == found             # the same resamples


def test_the_band_is_the_confidence_interval_of_the_mean():
    rng = random.Random(1)
    regrets = [abs(rng.gauss(5, 1)) for _ in range(400)]
    records = [{"changes": [[1, None, 100 - regret]]} for regret in regrets]
    found = curve(records, [1.0], Yardstick({"accuracy": "max"}, (), 100.0, 0.0))
    half = 1.96 * np.std(regrets) / math.sqrt(len(regrets))
    assert found["low"][0] == pytest.approx(np.mean(regrets) - half, abs=half / 8)
    assert found["high"][0] == pytest.approx(np.mean(regrets) + half, abs=half / 8)


def test_grids_hold_the_budgets():
    assert budgets(150) == [50, 100, 150] and budgets(1) == [1] and budgets(4) == [2, 3, 4]
    for evaluations in (1, 7, 150, 1000, 12345):
        grid = evaluation_grid(evaluations)
        assert set(budgets(evaluations)) <= set(grid) and grid[0] == 1 and grid[-1] == evaluations
        assert len(grid) <= 160 and grid == sorted(set(grid))


# The statistics

# AUC of C4.5 with m, with cf, with both, on 14 data sets: Demsar, JMLR 2006, table 6
AUC = [(.763, .768, .771, .798), (.599, .591, .590, .569), (.954, .971, .968, .967), (.628, .661, .654, .657),
       (.882, .888, .886, .898), (.936, .931, .916, .931), (.661, .668, .609, .685), (.583, .583, .563, .625),
       (.775, .838, .866, .875), (1., 1., 1., 1.), (.940, .962, .965, .962), (.619, .666, .614, .669),
       (.972, .981, .975, .973), (.957, .978, .946, .970)]


def test_friedman_and_nemenyi_agree_with_the_worked_example_of_demsar():
    scores = [[-auc for auc in row] for row in AUC]
    assert np.mean(ranks(scores), axis=0) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    found = friedman(scores)
    assert found["chi2"] == pytest.approx(9.28, abs=0.005)
    assert found["f"] == pytest.approx(3.69, abs=0.005)
    untied = stats.friedmanchisquare(*np.transpose(scores)).statistic         # corrected for ties, as random ranks are
    assert found["p"] == pytest.approx(stats.f.sf(13 * untied / (14 * 3 - untied), 3, 39), abs=0.002)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 14, 0.10) == pytest.approx(1.12, abs=0.005)
    assert critical_difference(5, 30) == pytest.approx(2.728 * math.sqrt(5 * 6 / 180), abs=1e-3)


def test_friedman_agrees_with_scipy_and_is_exact_for_few_tables():
    rng = np.random.default_rng(0)
    scores = rng.random((9, 4))
    assert friedman(scores)["chi2"] == pytest.approx(stats.friedmanchisquare(*scores.T).statistic)
    agreed = friedman([[1, 2, 3]] * 3)
    assert agreed["f"] is None and agreed["p"] == pytest.approx(6 / 6 ** 3, abs=0.004)    # 6 of 216 agree as well
    assert friedman([[1, 2]] * 3)["p"] == pytest.approx(0.25, abs=0.01)                   # three tables cannot tell two
    assert friedman([[1, 1, 1]] * 4)["p"] == 1


def test_pairs_of_strategies_are_tested_run_by_run():
    rng = np.random.default_rng(0)
    one = rng.normal(1, 1, 30)
    other = one + rng.normal(0.5, 0.2, 30)
    p, sign = paired(one, other)
    assert (p, sign) == (pytest.approx(stats.wilcoxon(one, other).pvalue), -1)
    assert paired(other, one) == (p, 1)
    assert paired([1.0, 2.0], [1.0, 2.0 + 1e-15]) == (1.0, 0)
    assert paired(one, rng.permutation(one))[0] > 0.05
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []
    found = pairs({"a": dict(enumerate(one)), "b": dict(enumerate(other)), "c": dict(enumerate(one[:20]))})
    assert [(pair["one"], pair["other"], pair["runs"], pair["significant"]) for pair in found] == [
        ("a", "b", 30, True), ("a", "c", 20, False), ("b", "c", 20, True)]
    assert [pair["better"] for pair in found] == ["a", None, "c"]


@pytest.mark.parametrize("strategies", [2, 3, 8])
def test_with_the_fewest_runs_the_clearest_difference_is_just_significant(strategies):
    tests = strategies * (strategies - 1) // 2
    runs = fewest_runs(strategies)
    clearest = [stats.wilcoxon(np.arange(1, n + 1)).pvalue * tests for n in (runs - 1, runs)]
    assert clearest[0] > 0.05 >= clearest[1]


# Running

@pytest.mark.slow
def test_runs_in_workers_are_the_runs_of_a_strategy_alone_whatever_their_number(table, tmp_path):
    asked = {"tables": [table], "evaluations": 20, "runs": 4, "noise": True, "seed": 7}
    names = ["random", "evolution:population=5,tournament=2"]
    compare(names, workers=1, out=tmp_path / "one", **asked)
    compare(names, workers=3, out=tmp_path / "three", **asked)
    assert outcomes(tmp_path / "one") == outcomes(tmp_path / "three") and len(outcomes(tmp_path / "one")) == 8
    request = Request.make(names, [str(table)], 20, 4, noise=True, seed=7)
    read = read_table(table)
    stick = Yardstick.of(read, read.goals)
    for (_, strategy, run), record in outcomes(tmp_path / "one").items():
        alone = json.loads(json.dumps(play_one(request, read, stick, strategy, run)))
        assert {key: record[key] for key in alone if key != "cpu"} == {k: v for k, v in alone.items() if k != "cpu"}
    other = compare(names, workers=1, **{**asked, "seed": 8})
    assert other["tables"][0]["strategies"][0]["reported"] != [record["reported"] for key, record in
                                                              sorted(outcomes(tmp_path / "one").items())
                                                              if key[1] == "random"]


def test_the_document_says_everything_as_plain_data(table, tmp_path):
    other = write_table(tmp_path / "other", shift=3)
    third = write_table(tmp_path / "third", shift=-3)
    document = compare(["random", "evolution:population=6,tournament=3", "local.py"][:2], [table, other, third],
                       evaluations=30, runs=12, out=tmp_path / "out", workers=2)
    assert json.loads((tmp_path / "out/comparison.json").read_text()) == json.loads(json.dumps(document))
    assert [each["label"] for each in document["tables"]] == ["tiny", "other", "third"]
    assert [each["best"] for each in document["tables"]] == [90, 93, 87]
    first = document["tables"][0]
    for row in first["strategies"]:
        assert row["runs"] == 12 and row["failed"] == 0 and len(row["reported"]) == 12
        assert row["curve"]["at"] == list(range(1, 31)) and [p["at"] for p in row["budgets"]] == [10, 20, 30]
        assert np.mean([found[0][0] for found in row["reported"]]) == pytest.approx(row["budgets"][-1]["value"])
        assert row["budgets"][-1]["mean"] == pytest.approx(90 - row["budgets"][-1]["value"], abs=1e-4)
        assert all(a >= b for a, b in zip(row["curve"]["mean"], row["curve"]["mean"][1:], strict=False))
        seconds = row["curve_over_seconds"]
        assert seconds["at"][0] == 40 and seconds["mean"][-1] == pytest.approx(row["curve"]["mean"][-1])
    across = document["ranks"]["budgets"][-1]
    assert sum(across["mean"].values()) == pytest.approx(3)
    assert across["friedman"]["p"] >= 0.2 and across["apart"] == []       # three tables cannot tell two strategies
    assert "too few for 2 strategies" in document["ranks"]["verdict"]
    assert (tmp_path / "out/comparison.png").read_bytes()[:4] == b"\x89PNG"
    page = (tmp_path / "out/report.html").read_text()
    assert "compare-strategies --strategies random evolution:population=6,tournament=3 --tables" in page
    assert all(sentence.split(":")[0] in page for sentence in document["verdict"])
    assert "src=" not in page and "<link" not in page and "<script" not in page      # it needs nothing else
    assert not (tmp_path / "out/workers.log").exists()


def test_a_difference_is_called_significant_only_where_it_is(table, tmp_path):
    short = {"tables": [table], "evaluations": 40, "workers": 1}
    same = compare(["random", "evolution:population=40,tournament=1"], runs=10, **short)     # it has only drawn so far
    assert "not significantly different from" in same["verdict"][0]
    few = compare(["random", "evolution:population=5,tournament=3"], runs=4, **short)
    assert "NO difference can be called significant" in few["verdict"][0] and "need 6 or more" in few["verdict"][0]
    poor = write_strategy(tmp_path / "poor.py", "return Trial(number, {'a': 3, 'b': 3, 'c': 1})")
    clear = compare(["evolution", poor], runs=6, **short)
    assert "evolution is the best" in clear["verdict"][0]
    assert clear["verdict"][0].endswith(f"significantly better than {poor}.")
    alone = compare(["random"], runs=1, **short)
    assert "no other strategy to compare it with" in alone["verdict"][0]


def test_several_goals_limits_and_short_trainings(table):
    document = compare(["evolution"], [table], evaluations=30, runs=3, maximize=["accuracy"], minimize=["latency_ms"],
                       limits=["params<=6"], epochs=1, workers=1)
    found = document["tables"][0]
    assert found["measure"] == "hypervolume share" and found["best"] == 1 and found["limits"] == ["params<=6"]
    assert found["box"]["latency_ms"][0] == 1
    last = found["strategies"][0]["budgets"][-1]
    assert 0 < last["value"] <= 1 and last["mean"] == pytest.approx(1 - last["value"])
    assert found["strategies"][0]["curve_over_seconds"]["at"][-1] <= 30 * 10     # an epoch takes 10 seconds
    assert all(1 + latency >= 0 and accuracy <= 90 for run in found["strategies"][0]["reported"]
               for accuracy, latency in run)


def test_trials_of_a_low_fidelity_spend_a_part_and_report_nothing(table, tmp_path):
    mine = write_strategy(tmp_path / "mine.py", "return Trial(number, self.space.sample(rng), "
                                                "fidelity=0.25 if number % 5 < 4 else 1.0)")
    document = compare([mine], [table], evaluations=4, runs=3, workers=1, out=tmp_path / "out")
    stick = document["tables"][0]
    assert stick["strategies"][0]["curve"]["mean"][0] == stick["best"] - stick["worst"]      # after one evaluation
    for record in outcomes(tmp_path / "out").values():
        assert record["changes"][0][0] == 2                                # four quarters, then a whole one
        assert record["spent"] == 4 and record["steps"] == 10
        assert 40 < record["seconds"] <= 8 * 10 + 2 * 40        # what was trained before is not trained again


# What was measured at all, and by whom

def write_sparse(folder):
    """50 rows of a space of 5^12, so that who proposes at random finds none of them."""
    rng = random.Random(0)
    folder.mkdir()
    names = [f"d{i}" for i in range(12)]
    rows = [[rng.randrange(5) for _ in names] + [round(rng.random(), 4)] for _ in range(50)]
    (folder / "table.csv").write_text("\n".join(",".join(map(str, row)) for row in [[*names, "acc"], *rows]) + "\n")
    decisions = "\n".join(f'{name} = {{ column = "{name}", labels = [0, 1, 2, 3, 4] }}' for name in names)
    (folder / "mapping.toml").write_text(f"""
about = "Few of many"
goals = {{ acc = "max" }}
[architectures]
file = 'table\\.csv'
[decisions]
{decisions}
[[values]]
column = '(?P<metric>acc)'
""")
    return folder, [dict(zip(names, row, strict=False)) for row in rows]


def test_who_measured_nothing_is_said_and_is_no_winner(tmp_path, archfab):
    sparse, rows = write_sparse(tmp_path / "sparse")
    words = ["compare-strategies", "--tables", sparse, "--evaluations", "5", "--runs", "6", "--workers", "1"]
    answer = archfab(*words, "--strategies", "random", "--out", "out", "--json", code=1)
    why = "6 of 6 runs found no architecture of the table (1000 proposals in a row that the table lacks)"
    assert answer.json["verdict"] == [
        f"sparse: NO run measured anything, so nothing can be said. random: {why}."]
    assert answer.err.count(f"archfab: failed: random on sparse, seed 0: {why}") == 1
    row = answer.json["tables"][0]["strategies"][0]
    assert (row["runs"], row["failed"], row["empty"], row["curve"], row["budgets"]) == (6, 0, 6, None, [])
    assert (row["evaluated"], row["rejected"]) == ([0] * 6, [1000] * 6)
    assert set(row["ended"]) == {"1000 proposals in a row that the table lacks"}
    for record in outcomes(tmp_path / "out").values():
        assert (record["steps"], record["rejected"], record["ended"]) == (0, 1000, row["ended"][0])
    assert f"<code>random</code><br><small>{why}</small>" in (tmp_path / "out/report.html").read_text()

    known = write_strategy(tmp_path / "known.py", "return Trial(number, ROWS[number % len(ROWS)])", f"ROWS = {rows}")
    lucky = write_strategy(tmp_path / "lucky.py", "return Trial(number, ROWS[0] if self.luck > 0.5 else "
                           "self.space.sample(rng)) if number else self.first(rng)", f"""
    luck = 0
    def first(self, rng):
        self.luck = rng.random()
        return self.ask(1, rng)
ROWS = {rows}""")
    answer = archfab(*words, "--strategies", "random", known, lucky, "--out", "more", "--json", code=1)
    said = answer.json["verdict"][0]
    empty = answer.json["tables"][0]["strategies"][2]["empty"]
    assert 0 < empty < 6 and f"{lucky}: {empty} of 6 runs found no architecture" in said
    assert f"{known} is the best" in said and f"random: {why}." in said
    assert said.count("counts as the worst of the table") == 1
    assert [row["strategy"] for row in answer.json["failures"]] == ["random"]
    assert answer.json["ranks"]["strategies"] == [known, lucky]
    assert {pair["one"] for pair in answer.json["tables"][0]["pairs"]} == {known}


def test_a_run_says_why_it_ended_early(table):
    read = read_table(table)
    early = course(make_strategy("exhaustive", read, read.goals), read, 100)
    assert (len(early.steps), early.rejected, early.ended) == (64, 0, "the strategy has nothing left to try")
    assert course(make_strategy("random", read, read.goals), read, 10).ended is None


def test_runs_kept_by_an_earlier_version_are_gone_on_with(table, tmp_path):
    asked = {"strategies": ["random"], "tables": [table], "evaluations": 5, "runs": 2, "workers": 1}
    compare(**asked, out=tmp_path / "out")
    first, *others = lines_of(tmp_path / "out")
    old = [{k: v for k, v in json.loads(line).items() if k not in ("rejected", "ended")} for line in others]
    (tmp_path / "out/runs.jsonl").write_text("\n".join([first, *map(json.dumps, old)]) + "\n")
    row = compare(**asked, out=tmp_path / "out")["tables"][0]["strategies"][0]
    assert (row["evaluated"], row["rejected"], row["ended"], row["empty"]) == ([5, 5], [0, 0], [None, None], 0)


def test_ties_are_called_ties(table, tmp_path):
    def always(name, a, b, c):
        return write_strategy(tmp_path / f"{name}.py", f"return Trial(number, {{'a': {a}, 'b': {b}, 'c': {c}}})")

    best, also, poor, alike = always("best", 2, 1, 0), always("also", 2, 1, 2), always("poor", 2, 0, 0), \
        always("alike", 2, 0, 2)
    short = {"tables": [table], "evaluations": 3, "workers": 1}
    said = compare([best, poor, also], runs=8, **short)["verdict"][0]
    assert said == (f"tiny, after 3 evaluations: {best} and {also} both reach the best there is, accuracy 90, in each "
                    f"of their runs; significantly better than {poor}.")
    said = compare([poor, alike], runs=2, **short)["verdict"][0]
    assert f"{poor} and {alike} tie, with a mean accuracy 88 where 90 is possible" in said and "least" not in said
    said = compare([poor, alike, best], runs=2, **short)["verdict"][0]
    assert f"{best} has the least mean regret" in said and "NO difference can be called significant" in said


# The picture

def test_a_logarithmic_axis_says_where_regret_is_0(table):
    document = compare(["random", "local_search"], [table], evaluations=60, runs=6, workers=1)
    figure = comparison_figure(document, ["mean", "median"])
    figure.canvas.draw()
    assert len(figure.axes) == 4
    for axis, kind in zip(figure.axes, ("mean", "mean", "median", "median"), strict=True):
        assert axis.get_ylabel() == f"{kind} regret of accuracy" and axis.get_yscale() == "log"
        ticks = {text.get_text(): place for text, place in zip(axis.get_yticklabels(), axis.get_yticks(), strict=True)}
        line = next(line for line in axis.get_lines() if line.get_label() == "local_search")
        assert line.get_ydata()[-1] == ticks["0"]               # it has found the best in every run
        assert all(y == ticks["0"] or y > 2 * ticks["0"] for y in line.get_ydata())
    row = document["tables"][0]["strategies"][1]
    drawn = next(line for line in figure.axes[2].get_lines() if line.get_label() == "local_search").get_ydata()
    assert [y for y in drawn if y > 0.1] == [y for y in row["curve"]["median"] if y > 0.1]


def test_a_panel_of_several_goals_names_them_and_the_page_has_both_pictures(table, tmp_path):
    document = compare(["random", "evolution"], [table], evaluations=8, runs=3, workers=1, maximize=["accuracy"],
                       minimize=["latency_ms"], out=tmp_path / "out")
    figure = comparison_figure(document)
    assert figure.axes[0].get_title(loc="left") == "tiny\nmost accuracy, least latency (ms)"
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("<svg") == 2 and "its 95 % bootstrap band" in page and "25 to the 75 % quantile" in page


# Nothing is lost or done twice

def test_the_same_command_goes_on_where_it_was_cut_off(table, tmp_path):
    asked = {"strategies": ["random", "evolution"], "tables": [table], "evaluations": 15, "runs": 5, "workers": 2}
    whole = compare(out=tmp_path / "whole", **asked)
    out = tmp_path / "cut"
    compare(out=out, **asked)
    lines = lines_of(out)
    kept = lines[:4]
    (out / "runs.jsonl").write_text("\n".join(kept) + "\n" + lines[4][:len(lines[4]) // 2])     # killed while it wrote
    again = compare(out=out, **asked)
    assert lines_of(out)[:4] == kept and len(lines_of(out)) == 11
    assert outcomes(out) == outcomes(tmp_path / "whole")
    assert [row["curve"] for row in again["tables"][0]["strategies"]] == \
        [row["curve"] for row in whole["tables"][0]["strategies"]]
    before = lines_of(out)
    compare(out=out, **asked)
    assert lines_of(out) == before
    (out / "runs.jsonl").write_text(lines[0][:30])                                     # not even the request was whole
    compare(out=out, **asked)
    assert outcomes(out) == outcomes(tmp_path / "whole")


def test_control_c_leaves_what_can_be_gone_on_with(table, tmp_path):
    slow = write_strategy(tmp_path / "slow.py", "time.sleep(0.01); return Trial(number, self.space.sample(rng))")
    words = [sys.executable, "-m", "archfab.cli", "compare-strategies", "--strategies", slow, "--tables", str(table),
             "--evaluations", "10", "--runs", "24", "--workers", "2", "--out", str(tmp_path / "out"), "--json"]
    begun = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "out/runs.jsonl").exists() or len(lines_of(tmp_path / "out")) < 4:
        assert time.monotonic() < deadline and begun.poll() is None
        time.sleep(0.01)
    begun.send_signal(signal.SIGINT)
    out, err = begun.communicate(timeout=30)
    assert begun.returncode == 130 and out == "" and "the same command goes on" in err and "Traceback" not in err
    done = len(lines_of(tmp_path / "out"))
    assert 4 <= done < 25
    slow_part = lines_of(tmp_path / "out")
    finished = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    assert lines_of(tmp_path / "out")[:done] == slow_part and len(outcomes(tmp_path / "out")) == 24
    assert json.loads(finished.stdout)["tables"][0]["strategies"][0]["runs"] == 24


def test_a_folder_is_of_one_comparison_and_a_damaged_line_is_named(table, tmp_path):
    out = tmp_path / "out"
    asked = {"strategies": ["random"], "tables": [table], "evaluations": 5, "runs": 3, "workers": 1, "out": out}
    compare(**asked)
    with pytest.raises(UsageError, match=r"another comparison \(it differs in evaluations\); choose another --out DIR"):
        compare(**{**asked, "evaluations": 6})
    write_table(table, shift=1)
    with pytest.raises(UsageError, match=r"differs in data"):          # the table itself has changed
        compare(**asked)
    write_table(table)
    good = (out / "runs.jsonl").read_text()
    lines = good.splitlines()
    record = json.loads(lines[2])
    for bad in ("rubbish", "[1]", json.dumps({**record, "run": 99}), json.dumps({**record, "strategy": "evolution"}),
                json.dumps({**record, "changes": [[1, 2]]}), json.dumps({**record, "changes": [[1, None, "x"]]})):
        (out / "runs.jsonl").write_text("\n".join([*lines[:2], bad, *lines[3:]]) + "\n")
        with pytest.raises(UsageError, match=r"runs\.jsonl, line 3 is damaged"):
            compare(**asked)
    (out / "runs.jsonl").write_text("\n".join([lines[0].replace('"runs":3', '"runs":4'), *lines[1:]]) + "\n")
    with pytest.raises(UsageError, match="line 1: this is no request of a comparison"):
        compare(**asked)
    (out / "runs.jsonl").write_text(good)
    compare(**asked)


def test_two_processes_do_not_write_one_comparison(table, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    asked = {"strategies": ["random"], "tables": [table], "evaluations": 5, "runs": 1, "out": tmp_path / "out"}
    compare(**asked)
    with open(tmp_path / "out/runs.jsonl", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process works on the comparison"):
            compare(**asked)


def test_a_strategy_that_fails_is_named_and_ends_nothing(table, tmp_path, archfab):
    broken = write_strategy(tmp_path / "broken.py", "print('noise'); raise ValueError(f'cannot propose {number}')")
    dying = write_strategy(tmp_path / "dying.py", "os._exit(3)")
    answer = archfab("compare-strategies", "--strategies", "random", broken, dying, "--tables", table, "--evaluations",
                     "5", "--runs", "2", "--workers", "2", "--out", "out", "--json", code=1)
    messages = {(row["strategy"], row["seed"]): row["message"] for row in answer.json["failures"]}
    assert messages[broken, 0] == messages[broken, 1] == "ValueError: cannot propose 0"
    assert "ended with exit code 3, twice" in messages[dying, 0]
    assert f"failed: {broken} on tiny, seed 0: ValueError: cannot propose 0" in answer.err
    runs = {row["strategy"]: (row["runs"], row["failed"]) for row in answer.json["tables"][0]["strategies"]}
    assert runs == {"random": (2, 0), broken: (0, 2), dying: (0, 2)}
    assert answer.json["ranks"]["strategies"] == ["random"]
    assert "cannot propose 0" in (tmp_path / "out/report.html").read_text()
    write_strategy(tmp_path / "broken.py", "return Trial(number, self.space.sample(rng))")
    archfab("compare-strategies", "--strategies", "random", broken, dying, "--tables", table, "--evaluations", "5",
            "--runs", "2", "--workers", "2", "--out", "out", code=2)         # a changed strategy is another comparison


# What is refused

@pytest.mark.parametrize("asked, says", [
    ({"evaluations": 0}, "--evaluations takes a whole number from 1 up, not 0"),
    ({"evaluations": -5}, "--evaluations takes"),
    ({"runs": 0}, "--runs takes a whole number from 1 up, not 0"),
    ({"runs": -1}, "--runs takes"),
    ({"workers": 0}, "--workers takes"),
    ({"epochs": -1}, "--epochs takes a number above 0"),
    ({"epochs": 0.5}, "has no training of 0.5 epochs; the shortest is 1"),
    ({"strategies": ["evolutoin"]}, "did you mean 'evolution'"),
    ({"strategies": ["random", "random"]}, "the strategy 'random' is named twice"),
    ({"strategies": ["evolution:populaton=3"]}, "no option named 'populaton'.*did you mean 'population'"),
    ({"strategies": ["evolution:population=many"]}, "strategy 'evolution:population=many': --population takes a whole"),
    ({"strategies": ["evolution:population=3,tournament=9"]}, "cannot play on table .*a tournament of 9"),
    ({"tables": ["nowhere"]}, "there is no folder .*nowhere"),
    ({"tables": []}, "at least one table"),
    ({"maximize": ["fame"]}, "no objective named 'fame'; known: accuracy"),
    ({"limits": ["fame<=3"]}, "no objective named 'fame'"),
    ({"limits": ["params<3"]}, "is no limit"),
    ({"limits": ["params<=0"]}, "relax a limit"),
    ({"maximize": ["accuracy"], "minimize": ["accuracy"]}, "minimized and maximized at once"),
])
def test_a_wrong_request_says_what_is_legal(table, tmp_path, asked, says):
    full = {"strategies": ["random"], "tables": [table], "runs": 2, "workers": 1, "evaluations": 4,
            "out": tmp_path / "out", **asked}
    with pytest.raises(UsageError, match=says):
        compare(**full)
    assert not (tmp_path / "out").exists()


def test_a_strategys_options_have_their_types():
    assert Player.parse("evolution:population=50,tournament=10").options == {"population": 50, "tournament": 10}
    assert Player.parse("evolution:crossover=0.5").options == {"crossover": 0.5}
    assert Player.parse("random").options == {}
    request = Request.make(["evolution:crossover=0.5", "random"], ["digits"], maximize=["accuracy"], epochs=12)
    assert Request.from_plain(json.loads(json.dumps(request.plain()))).hash == request.hash
    assert request.hash != Request.make(["evolution:crossover=0.5", "random"], ["digits"], epochs=12).hash


def test_the_command_says_what_it_found_and_goes_on_by_itself(table, archfab, tmp_path):
    words = ["compare-strategies", "--strategies", "random", "evolution:population=6,tournament=2", "--tables", table,
             "--evaluations", "12", "--runs", "6", "--workers", "2"]
    answer = archfab(*words)
    assert "accuracy at 12" in answer.out and "report: comparisons/" in answer.out
    folders = os.listdir(tmp_path / "comparisons")
    assert len(folders) == 1
    again = archfab(*words, "--json")
    assert os.listdir(tmp_path / "comparisons") == folders and again.json["hash"] == folders[0]
    assert archfab("compare-strategies", "--runs", "-1", code=2).err.startswith("archfab: --runs takes")


@pytest.mark.shared
def test_the_exact_front_of_a_benchmark_table(shared_data):
    where = f"{shared_data}/nasbench201+{shared_data}/hw-nas-bench"
    document = compare(["evolution"], [where], evaluations=100, runs=4, workers=2, maximize=["accuracy"],
                       minimize=["raspi4_latency_ms"])
    found = document["tables"][0]
    assert found["front"] == 47 and found["architectures"] == 15625
    assert 0.95 < found["strategies"][0]["budgets"][-1]["value"] < 1


def test_the_benchmark_has_a_row_for_every_strategy_and_checkpoint(table):
    words = ["--table", str(table), "--evaluations", "30", "--runs", "3", "--no-peers", "--overhead-trials", "0"]
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks/strategies.py"), *words, "--json", "--strategies",
                           "random", "evolution"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {f"{name}@{at}{noise}" for name in ("random", "evolution") for at in (20, 30)
                         for noise in ("", " noisy")}
    clean = compare(["random"], [table], evaluations=30, runs=3, workers=1)["tables"][0]["strategies"][0]
    assert rows["random@20"]["value"] == pytest.approx(clean["budgets"][1]["value"], abs=1e-4)
    assert rows["random@20"]["higher_is_better"] and rows["random@20"]["target"] is None


def pareto(*words):
    return subprocess.run([sys.executable, str(ROOT / "benchmarks/pareto.py"), *map(str, words)], capture_output=True,
                          text=True, timeout=60)


def write_latencies(folder):
    """The small table with the latencies of a device, as the benchmark names them."""
    write_table(folder)
    for name, old, new in (("table.csv", "latency_ms", "pi_latency_ms"), ("mapping.toml", "|latency", "|pi_latency")):
        (folder / name).write_text((folder / name).read_text().replace(old, new))
    return folder


@pytest.mark.parametrize("words, says", [
    (["--tables", "nowhere"], "there is no folder"),
    (["--tables", "TABLE", "--devices", "toaster"], "no device named 'toaster'; known: pi"),
    (["--tables", "SPARSE"], "has no latencies (columns DEVICE_latency_ms); join one that has"),
    (["--tables", "TABLE", "--runs", "0"], "--runs takes a whole number from 1 up, not 0"),
    (["--tables", "TABLE", "--evaluations", "-3"], "--evaluations takes"),
    (["--tables", "TABLE", "--workers", "0"], "--workers takes"),
    (["--tables", "TABLE", "--strategies", "evolutoin"], "did you mean 'evolution'"),
    (["--tables", "TABLE", "--data-set", "mnist"], "mnist"),
    (["--tables", "TABLE", "--csv", "nowhere/a.csv"], "there is no folder"),
])
def test_the_pareto_benchmark_refuses_in_one_line(tmp_path, words, says):
    places = {"TABLE": write_latencies(tmp_path / "pi"), "SPARSE": write_sparse(tmp_path / "sparse")[0]}
    done = pareto(*(places.get(word, word) for word in words), "--no-peers")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("pareto.py: ") and done.stderr.count("\n") == 1 and says in done.stderr


def test_the_pareto_benchmark_says_how_far_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import pareto as benchmark
    monkeypatch.setattr(benchmark, "REPORT", 0.0)
    place = write_latencies(tmp_path / "pi")
    monkeypatch.setattr(sys, "argv", ["pareto.py", "--tables", str(place), "--no-peers", "--runs", "2", "--evaluations",
                                      "10", "--strategies", "random", "--json"])
    benchmark.main()
    said = capsys.readouterr()
    assert "pi_latency_ms: 1/2 runs, now random" in said.err
    assert [row["name"] for row in json.loads(said.out)] == ["random pi@10"]
