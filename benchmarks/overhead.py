"""What the driver costs: trials of the toy task a second, log included, beside Optuna on the same job.

    python benchmarks/overhead.py                     # a table
    python benchmarks/overhead.py --json              # rows for machines
    python benchmarks/overhead.py --csv benchmarks/results/overhead-2-cores.csv

One process; CPU seconds, so that a busy machine does not matter; the median of several repetitions. Optuna
gets fewer trials, because its time for one trial grows with their number: that is in its favour.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import archfab
from archfab.tasks.toy import DEPTHS, KINDS, WIDTHS, Toy

TARGET = 3000.0
OBJECTIVES = {"random": ["error"], "evolution": ["error", "size"]}


def ours(strategy: str, trials: int) -> float:
    """CPU seconds of a search with its event log on disk."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        run = archfab.search("toy", strategy=strategy, trials=trials, random=False, minimize=OBJECTIVES[strategy],
                             run=Path(folder) / "run")
        spent = time.process_time() - start
        assert run.count("search", "ok") == trials
    return spent


def theirs(strategy: str, trials: int, storage: str) -> float:
    """CPU seconds of the same job in Optuna; its NSGA-II stands beside our evolution."""
    import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task = Toy()

    def objective(trial: Any) -> Any:
        genotype = {"width": trial.suggest_categorical("width", WIDTHS),
                    "depth": trial.suggest_categorical("depth", DEPTHS)}
        for i in range(genotype["depth"]):
            genotype[f"layer{i}"] = trial.suggest_categorical(f"layer{i}", list(KINDS))
        scores = task.known(genotype)
        found = tuple(scores[name] for name in OBJECTIVES[strategy])
        return found if len(found) > 1 else found[0]

    sampler = {"random": optuna.samplers.RandomSampler(seed=0),
               "evolution": optuna.samplers.NSGAIISampler(seed=0, population_size=20)}[strategy]
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        study = optuna.create_study(directions=["minimize"] * len(OBJECTIVES[strategy]), sampler=sampler,
                                    storage=f"sqlite:///{folder}/study.db" if storage == "sqlite" else None)
        study.optimize(objective, n_trials=trials)
        return time.process_time() - start


def per_second(work: Callable[[], float], trials: int, repetitions: int) -> float:
    return statistics.median(trials / work() for _ in range(repetitions))


def rows(trials: int, repetitions: int) -> list[dict[str, Any]]:
    found = []
    for strategy in OBJECTIVES:
        mine = per_second(lambda s=strategy: ours(s, trials), trials, repetitions)
        peers = {}
        for storage, count in (("memory", min(trials, 1000)), ("sqlite", min(trials, 150))):
            rate = per_second(lambda s=strategy, n=count, where=storage: theirs(s, n, where), count, repetitions)
            peers[f"optuna {'NSGA-II' if strategy == 'evolution' else 'random'} {storage}"] = round(mine / rate, 2)
        found.append({"name": f"{strategy} trials_per_s", "value": round(mine, 1), "unit": "trials per CPU second",
                      "higher_is_better": True, "target": TARGET, "peers": peers})
    return found


def start_up(repetitions: int) -> list[dict[str, Any]]:
    """Seconds that a user waits for the program to start, interpreter included."""
    found = []
    for name, words in (("import archfab", ["-c", "import archfab"]),
                        ("archfab --help", ["-m", "archfab.cli", "--help"])):
        spent = []
        for _ in range(max(5, repetitions)):
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            spent.append(time.perf_counter() - start)
        found.append({"name": f"{name} s", "value": round(statistics.median(spent), 4), "unit": "s",
                      "higher_is_better": False, "target": 0.3, "peers": {}})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    found = rows(asked.trials, asked.repetitions) + start_up(asked.repetitions)
    if asked.csv:
        write_csv(asked.csv, found, f"python benchmarks/overhead.py --trials {asked.trials} "
                                    f"--repetitions {asked.repetitions} --csv {asked.csv}")
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    for row in found:
        better = row["value"] >= row["target"] if row["higher_is_better"] else row["value"] <= row["target"]
        peers = "; ".join(f"{ratio:g} times {name}" for name, ratio in row["peers"].items())
        print(f"{row['name']}: {row['value']:,g} {row['unit']} (target {row['target']:g}: "
              f"{'met' if better else 'MISSED'}){'; ' + peers if peers else ''}")


def write_csv(path: Path, found: list[dict[str, Any]], recipe: str) -> None:
    """The rows with the command that made them."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {recipe}\n")
        writer = csv.writer(file)
        writer.writerow(["name", "value", "unit", "target", "peer", "times as fast as the peer"])
        for row in found:
            for peer, ratio in row["peers"].items() or [("", "")]:
                writer.writerow([row["name"], row["value"], row["unit"], row["target"], peer, ratio])


if __name__ == "__main__":
    main()
