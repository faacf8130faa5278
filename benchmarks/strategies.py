"""Every strategy on a benchmark table: how good it is after so many evaluations, and what it costs.

    python benchmarks/strategies.py --table ../shared/data/nasbench201 --evaluations 150 --runs 50
    python benchmarks/strategies.py --table ../shared/data/nas-bench-graph#pubmed --strategies random auto --json
    python benchmarks/strategies.py --runs 200 --csv benchmarks/results/strategies-nasbench201.csv

`STRATEGY@N`: the mean over runs of what the architecture that looked best after N evaluations scores in truth. In the
`noisy` rows strategies see one seed's validation score after a short training instead of the truth; what is reported
is the truth again. `STRATEGY overhead_ms`: CPU milliseconds of its `ask` and `tell` for one trial. The last row is the
wall time of a whole comparison on the command line, start-up and report included. Peers are played in the same run, by
the same loop: Optuna's TPE for fewer runs, because it is slow (`peer_runs`).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import mean, median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")       # before numpy: CPU seconds of one thread

from archfab import registry
from archfab.comparison.curves import values
from archfab.comparison.play import make_strategy, play
from archfab.comparison.request import Request
from archfab.comparison.study import gather
from archfab.comparison.yardstick import Yardstick
from archfab.core import Event, Goals, Strategy, Trial, UsageError
from archfab.tables import Table, read_table
from archfab.terminal import Runs

PEERS = Path(__file__).parent / "peers"
TPE, OPTUNA_RANDOM = (f"{PEERS / 'optuna_sampler.py'}:sampler={name}" for name in ("tpe", "random"))
PYGLOVE = str(PEERS / "pyglove_evolution.py")
CHECKPOINTS = (20, 50, 100, 150, 200, 300, 500)
TARGETS = {"local_search@100": 94.31, "evolution@150": 94.33, "reinforce@150": 94.15, "bananas@100": 94.28,
           "auto@50": 94.30, "auto@100": 94.36}         # of NAS-Bench-201 on CIFAR-10, without noise
OVERHEAD = {"evolution overhead_ms": 0.05, "auto overhead_ms": 5.0}
WHOLE = 5.0                                             # seconds of 200 runs x 200 evaluations of evolution
PATIENCE = 30.0                                         # CPU seconds for measuring one strategy's overhead


class Timed(Strategy):
    """A strategy with a clock on it."""

    def __init__(self, inner: Strategy) -> None:
        super().__init__(inner.space, inner.goals, inner.limits)
        self.inner = inner
        self.trials, self.seconds = 0, 0.0

    def ask(self, number: int, rng: Random) -> Trial | None:
        if self.seconds > PATIENCE:
            return None
        start = time.process_time()
        trial = self.inner.ask(number, rng)
        self.seconds += time.process_time() - start
        self.trials += trial is not None
        return trial

    def tell(self, event: Event) -> None:
        start = time.process_time()
        self.inner.tell(event)
        self.seconds += time.process_time() - start


def playable(names: Sequence[str], table: Table, goals: Goals, hints: bool) -> list[str]:
    """The strategies that can play on a table; says why the others cannot."""
    found = []
    for name in names:
        try:
            make_strategy(name, table, goals, hints=hints)
            found.append(name)
        except UsageError as error:
            print(f"{name} cannot play on this table: {error}", file=sys.stderr)
    return found


def noise_matters(table: Table, yardstick: Yardstick, epochs: float | None) -> bool:
    """Whether what a strategy sees with noise is another number than what is reported."""
    rng, names = Random(0), tuple(yardstick.goals)
    drawn = [table.genotypes[rng.randrange(len(table.genotypes))] for _ in range(50)]
    return any(table.see(each, rng, epochs, names) != table.truth(each, names) for each in drawn)


def accuracy_rows(asked: argparse.Namespace, names: Sequence[str], table: Table, yardstick: Yardstick,
                  epochs: float | None = None, noise: bool = False) -> list[dict[str, Any]]:
    """A row for each strategy and checkpoint."""
    places = sorted({at for at in CHECKPOINTS if at < asked.evaluations} | {asked.evaluations})
    found = played(asked, names, asked.runs, yardstick, epochs, noise)
    peer = {} if asked.no_peers else {"optuna TPE": played(asked, [TPE], min(asked.runs, asked.peer_runs), yardstick,
                                                           epochs, noise)[TPE]}
    targets = TARGETS if (table.name, table.data_set) == ("nasbench201", "cifar10") and not noise \
        and set(yardstick.goals) == {"accuracy"} else {}
    rows = []
    for name, records in found.items():
        for at in places:
            row = f"{name}@{at}"
            rows.append({"name": row + " noisy" * noise, "value": after(records, at, yardstick) if records else None,
                         "unit": yardstick.measure, "higher_is_better": yardstick.best > yardstick.worst,
                         "target": targets.get(row), "runs": len(records),
                         "peers": {name: after(theirs, at, yardstick) for name, theirs in peer.items() if theirs},
                         "peer_runs": {name: len(theirs) for name, theirs in peer.items()}})
    return rows


def after(records: Sequence[dict[str, Any]], at: int, yardstick: Yardstick) -> float:
    return round(float(values(records, [at], yardstick.worst).mean()), 4)


def played(asked: argparse.Namespace, names: Sequence[str], runs: int, yardstick: Yardstick, epochs: float | None,
           noise: bool) -> dict[str, list[dict[str, Any]]]:
    """The runs of some strategies that came to their end, in worker processes."""
    request = Request.make(names, [asked.table], asked.evaluations, runs, noise=noise, epochs=epochs,
                           hints=not asked.no_hints, seed=asked.seed)
    line = Runs()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for record in gather(request, {request.tables[0]: yardstick}, {}, asked.workers, watch=line):
        if "failed" in record:
            print(f"{record['strategy']}, run {record['run']}: {record['failed']}", file=sys.stderr)
        else:
            found[record["strategy"]].append(record)
    line.end()
    return found


def overhead_rows(asked: argparse.Namespace, names: Sequence[str], table: Table, goals: Goals) -> list[dict[str, Any]]:
    """What each strategy costs alone, beside what the peers cost: ratios of CPU seconds in this process."""
    peers = {}
    if not asked.no_peers:
        for label, strategy, most in (("optuna TPE", TPE, 1000), ("optuna random", OPTUNA_RANDOM, 1000),
                                      ("pyglove evolution", PYGLOVE, 300)):
            name, _, sampler = strategy.partition(":sampler=")
            if len(goals) == 1 or "optuna" in label:
                peers[label] = overhead(name, table, goals, min(most, asked.overhead_trials),
                                        {"sampler": sampler} if sampler else {}, asked)[0]
    rows = []
    for name in names:
        spent, trials = overhead(name, table, goals, asked.overhead_trials, {}, asked)
        rows.append({"name": f"{name} overhead_ms", "value": round(spent, 4), "unit": "CPU ms a trial",
                     "higher_is_better": False, "target": OVERHEAD.get(f"{name} overhead_ms"), "trials": trials,
                     "peers": {label: round(theirs / spent, 2) for label, theirs in peers.items() if spent}})
    return rows


def overhead(name: str, table: Table, goals: Goals, trials: int, options: dict[str, Any],
             asked: argparse.Namespace) -> tuple[float, int]:
    """CPU milliseconds of a trial, the median of up to three runs; and over how many trials."""
    found: list[tuple[float, int]] = []
    total = 0.0
    while len(found) < 3 and total < PATIENCE / 3:
        timed = Timed(make_strategy(name, table, goals, options=options, hints=not asked.no_hints))
        play(timed, table, trials, len(found))
        found.append((1000 * timed.seconds / max(1, timed.trials), timed.trials))
        total += timed.seconds
    return median(spent for spent, _ in found), round(mean(count for _, count in found))


def whole_row(asked: argparse.Namespace) -> dict[str, Any]:
    """Wall seconds that a user waits for 200 runs of 200 evaluations."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "archfab.cli", "compare-strategies", "--strategies", "evolution",
                        "--tables", asked.table, "--evaluations", "200", "--runs", "200", "--workers",
                        str(asked.workers), "--out", folder], check=True, stdout=subprocess.DEVNULL)
        spent = time.perf_counter() - start
    return {"name": "evolution 200x200 s", "value": round(spent, 2), "unit": "s", "higher_is_better": False,
            "target": WHOLE, "peers": {}}


def rows(asked: argparse.Namespace) -> list[dict[str, Any]]:
    table = read_table(asked.table)
    yardstick = Yardstick.of(table, table.goals)
    names = playable(asked.strategies or registry.names("strategies"), table, table.goals, not asked.no_hints)
    epochs = asked.noise_epochs or (table.epochs[0] if table.epochs else 0) or None
    found = accuracy_rows(asked, names, table, yardstick)
    if noise_matters(table, yardstick, epochs):
        found += accuracy_rows(asked, names, table, yardstick, epochs, noise=True)
    if asked.overhead_trials:
        found += overhead_rows(asked, names, table, table.goals)
        found.append(whole_row(asked))
    return found


def said(row: dict[str, Any]) -> str:
    """A row for a person."""
    value = "every run FAILED" if row["value"] is None else f"{row['value']:,g} {row['unit']}"
    if row["target"] is not None:
        good = row["value"] is not None and (row["value"] >= row["target"] if row["higher_is_better"]
                                             else row["value"] <= row["target"])
        value += f" (target {row['target']:g}: {'met' if good else 'MISSED'})"
    times = "times as fast as " if "overhead" in row["name"] else ""
    peers = "; ".join(f"{ratio:g} {times}{name}" if times else f"{name} {ratio:g}"
                      for name, ratio in row["peers"].items())
    return f"{row['name']}: {value}{'; ' + peers if peers else ''}"


def write_csv(path: Path, found: Sequence[dict[str, Any]]) -> None:
    """The rows with the command that made them."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# python benchmarks/strategies.py {' '.join(sys.argv[1:])}\n")
        peers = sorted({name for row in found for name in row["peers"]})
        writer = csv.writer(file)
        writer.writerow(["name", "value", "unit", "target", "runs or trials", *peers])
        for row in found:
            writer.writerow([row["name"], row["value"], row["unit"], row["target"],
                             row.get("runs", row.get("trials")), *(row["peers"].get(name) for name in peers)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="../shared/data/nasbench201", help="as archfab compare-strategies takes it")
    parser.add_argument("--strategies", nargs="+", default=[], help="default: all there are")
    parser.add_argument("--evaluations", type=int, default=150)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--peer-runs", type=int, default=10, help="of Optuna's TPE, at most (default: %(default)s)")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--no-hints", action="store_true", help="strategies see no cheap figures")
    parser.add_argument("--noise-epochs", type=float, help="that strategies see in noisy rows (default: the fewest)")
    parser.add_argument("--overhead-trials", type=int, default=1000, help="0: no rows on time")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    try:
        found = rows(asked)
    except UsageError as error:
        print(f"strategies.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if asked.csv:
        write_csv(asked.csv, found)
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    for row in found:
        print(said(row))


if __name__ == "__main__":
    main()
