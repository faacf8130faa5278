"""Test log-likelihood per event on public event streams: Poisson, Hawkes, networks, searched.

    python benchmarks/events.py --data ../shared/data/tpp-taxi ../shared/data/tpp-earthquake
    python benchmarks/events.py --json --trials 12 --runs runs/events

A folder of ARCHFAB_DATA is looked into where no data are named. All are fitted to the training part alone, the Hawkes
process with inhibition by at most 60 steps, and scored on the same events: the first event of each sequence opens its
window and is given, time is in the unit of the data, and the window ends with the last event. Likelihoods of other
publications are comparable only where these three are the same. The target of each row is the row before: it is printed
as missed where a method does not beat the one before it; `low` and `high` are the 95 % interval of the gain over it,
over sequences. The searched network is the best on validation data of `--trials` trials; test data are used once.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

from rows import row, show

import archfab

SETS = ("tpp-earthquake", "tpp-taxi")


def spent_cpu() -> float:
    """CPU seconds of this process and of the workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measure(data: Path, runs: Path, trials: int, strategy: str, seed: int) -> list[dict[str, Any]]:
    start, resumed = spent_cpu(), False
    folder = runs / f"{data.name}-{strategy}-{seed}"
    if (folder / "run.sqlite").exists():
        run, resumed = archfab.resume(folder), True
    else:
        run = archfab.search("events", data=str(data), strategy=strategy, trials=trials, deliver=1, random=False,
                             seed=seed, threads=1, run=folder)
    spent = spent_cpu() - start
    best = run.plain()["front"][0]
    with (folder / best["bundle"] / "ladder.csv").open(newline="", encoding="utf-8") as file:
        rungs = list(csv.DictReader(file))
    found, before = [], None
    for rung in rungs:
        name = "searched" if rung["method"] == "this network" else rung["method"]
        gain = {key: float(rung[key]) for key in ("gain", "low", "high") if rung[key]}
        value = -float(rung["nll"])
        found.append(row(f"{data.name}: {name}", value, "nats an event", target=before, higher_is_better=True,
                         peers=gain))
        before = value
    more = {name.removeprefix("test_"): best[name] for name in ("test_time_rmse", "test_type_error")}
    found[-1]["peers"] |= more
    cost = row(f"{data.name}: search, baselines and delivery", spent, "CPU s", peers={"trials": trials})
    return found if resumed else [*found, cost]         # what a resumed run cost before is not known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path, nargs="*", help="folders with train, dev and test files")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--strategy", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, help="where runs are kept and gone on with; else they are not kept")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    shared = Path(os.environ.get("ARCHFAB_DATA", "../shared/data"))
    with tempfile.TemporaryDirectory() as passing:
        rows = [found for data in asked.data or [shared / name for name in SETS]
                for found in measure(data, asked.runs or Path(passing), asked.trials, asked.strategy, asked.seed)]
    words = f"python benchmarks/events.py --trials {asked.trials} --strategy {asked.strategy} --seed {asked.seed}"
    show(rows, asked.json, asked.csv, words)


if __name__ == "__main__":
    main()
