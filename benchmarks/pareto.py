"""Accuracy and latency together: the share of the exact front's hypervolume, on every device of a table.

    python benchmarks/pareto.py --tables ARCHITECTURES LATENCIES                 # a table
    python benchmarks/pareto.py --tables ../data/nasbench201 ../data/hw-nas-bench --json
    python benchmarks/pareto.py --tables ... --csv benchmarks/results/pareto-hw-nas-bench.csv

Noise-free, without the device's figure among the hints. The hypervolume is measured from the nadir of the exact front
and a tenth of its span beyond. Peers play the same table in the same run: Optuna's NSGA-II and MOTPE, pymoo's NSGA-II.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import mean
from subprocess import PIPE, Popen
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")       # before numpy: devices are played side by side
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from archfab.comparison.play import make_strategy, play
from archfab.comparison.yardstick import Yardstick
from archfab.core import Unknown, UsageError, unknown
from archfab.tables import Table, read_table
from archfab.terminal import REPORT, clock

OURS = ("auto", "bayes", "tpe", "evolution", "nsga2", "random")
PEERS = {"optuna NSGA-II": "nsgaii", "optuna MOTPE": "motpe", "pymoo NSGA-II": "pymoo"}
TARGET = 0.99
PATIENCE = 3        # proposals of a peer for each evaluation: some propose what the table lacks again and again
POPULATION = 20     # of the peers' NSGA-II, as of ours: their default of 50 or 100 leaves few generations of 300


def shares(table: Table, goals: dict[str, Any], names: Sequence[str], evaluations: int, runs: int) -> dict[str, float]:
    """The mean share of the exact front's hypervolume, by strategy or peer; says now and then how far it is."""
    yardstick = Yardstick.of(table, goals)
    start = said = time.monotonic()
    found: dict[str, list[float]] = {name: [] for name in names}
    for done, (name, seed) in enumerate(product(names, range(runs)), 1):
        found[name].append(yardstick.share(points_of(name, table, goals, evaluations, seed)))
        if (now := time.monotonic()) - said > REPORT:
            said = now
            print(f"{list(goals)[-1]}: {done}/{len(names) * runs} runs, now {name}, {clock(now - start)} so far",
                  file=sys.stderr)
    return {name: mean(values) for name, values in found.items()}


def points_of(name: str, table: Table, goals: dict[str, Any], evaluations: int, seed: int) -> list[tuple[float, ...]]:
    """What one run reached, as numbers to be made small."""
    if PEERS.get(name) == "pymoo":
        return by_pymoo(table, goals, evaluations, seed)
    if name in PEERS:
        return by_optuna(PEERS[name], table, goals, evaluations, seed)
    steps = play(make_strategy(name, table, goals), table, evaluations, seed)
    return [signed(step.truth, goals) for step in steps]


def signed(metrics: Any, goals: dict[str, Any]) -> tuple[float, ...]:
    return tuple(metrics[goal] if sense == "min" else -metrics[goal] for goal, sense in goals.items())


def by_optuna(kind: str, table: Table, goals: dict[str, Any], evaluations: int, seed: int) -> list[tuple[float, ...]]:
    import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION) if kind == "nsgaii" else \
        optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(directions=["minimize"] * len(goals), sampler=sampler)
    found: list[tuple[float, ...]] = []
    for _ in range(PATIENCE * evaluations):
        if len(found) == evaluations:
            break
        trial = study.ask()
        genotype = {name: trial.suggest_categorical(name, labels) for name, labels in table.space.labels.items()}
        try:
            found.append(signed(table.truth(genotype, list(goals)), goals))
            study.tell(trial, found[-1])
        except Unknown:                 # the table lacks a figure of it, as for ours: it does not count
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return found


def by_pymoo(table: Table, goals: dict[str, Any], evaluations: int, seed: int) -> list[tuple[float, ...]]:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.mixed import MixedVariableDuplicateElimination, MixedVariableMating, MixedVariableSampling
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.core.variable import Choice
    from pymoo.optimize import minimize
    found: list[tuple[float, ...]] = []

    class Lookup(ElementwiseProblem):       # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(vars={name: Choice(options=list(labels)) for name, labels in table.space.labels.items()},
                             n_obj=len(goals))

        def _evaluate(self, x: Any, out: dict[str, Any], *_: Any, **__: Any) -> None:
            try:
                out["F"] = signed(table.truth({name: labels[labels.index(x[name])] for name, labels in
                                              table.space.labels.items()}, list(goals)), goals)
                found.append(out["F"])
            except Unknown:
                out["F"] = (1e9,) * len(goals)

    duplicates = MixedVariableDuplicateElimination()
    algorithm = NSGA2(pop_size=POPULATION, sampling=MixedVariableSampling(), eliminate_duplicates=duplicates,
                      mating=MixedVariableMating(eliminate_duplicates=duplicates))
    minimize(Lookup(), algorithm, ("n_eval", PATIENCE * evaluations), seed=seed)
    return found[:evaluations]


def devices(table: Table) -> list[str]:
    return [name.removesuffix("_latency_ms") for name in table.costs if name.endswith("_latency_ms")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", required=True, help="folders that are joined, architectures first")
    parser.add_argument("--data-set")
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--strategies", nargs="+", default=list(OURS))
    parser.add_argument("--devices", nargs="+")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    try:
        table, chosen = checked(asked)
        found = in_parallel(chosen, asked) if len(chosen) > 1 else rows_of(table, chosen[0], asked)
        if asked.csv:
            write_csv(asked.csv, found, asked)
    except (UsageError, OSError) as error:
        print(f"pareto.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    for row in found:
        verdict = "" if row["target"] is None else f" (target {row['target']}: " \
            f"{'met' if row['value'] >= row['target'] else 'MISSED'})"
        print(f"{row['name']}: {row['value']:.4f}{verdict}"
              + "".join(f"; {peer} {value:.4f}" for peer, value in row["peers"].items()))


def checked(asked: argparse.Namespace) -> tuple[Table, list[str]]:
    """The table and the devices that are measured; refuses what cannot be done before anything is played."""
    for name in ("evaluations", "runs", "workers"):
        if (value := getattr(asked, name)) < 1:
            raise UsageError(f"--{name} takes a whole number from 1 up, not {value}")
    table = read_table("+".join(asked.tables), asked.data_set)
    known = devices(table)
    if not known:
        raise UsageError(f"table {table.name} has no latencies (columns DEVICE_latency_ms); join one that has: "
                         "--tables ARCHITECTURES LATENCIES")
    if not table.goals:
        raise UsageError(f"table {table.name} says no goals; its mapping.toml needs a line such as "
                         "goals = { accuracy = \"max\" }")
    chosen = list(dict.fromkeys(asked.devices or known))
    for device in chosen:
        if device not in known:
            raise unknown("device", device, known)
        for strategy in asked.strategies:
            make_strategy(strategy, table, goals_of(table, device))
    missing = [] if asked.no_peers else [name for name in ("optuna", "pymoo") if not find_spec(name)]
    if missing:
        raise UsageError(f"no package {' and '.join(missing)} for the peers; pip install {' '.join(missing)}, or say "
                         "--no-peers")
    if asked.csv and not asked.csv.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {asked.csv.absolute().parent} for --csv")
    return table, chosen


def goals_of(table: Table, device: str) -> dict[str, Any]:
    goal, sense = next(iter(table.goals.items()))
    return {goal: sense, f"{device}_latency_ms": "min"}


def rows_of(table: Table, device: str, asked: argparse.Namespace) -> list[dict[str, Any]]:
    goals = goals_of(table, device)
    names = [*asked.strategies, *(() if asked.no_peers else PEERS)]
    found = shares(table, goals, names, asked.evaluations, asked.runs)
    peers = {name: round(found[name], 5) for name in PEERS if name in found}
    return [{"name": f"{name} {device}@{asked.evaluations}", "value": round(found[name], 5),
             "unit": "share of the exact front's hypervolume", "higher_is_better": True,
             "target": TARGET if name == "auto" and asked.evaluations == 300 else None, "peers": peers}
            for name in asked.strategies]


def in_parallel(chosen: Sequence[str], asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Each device in a process of its own."""
    def one(device: str) -> list[dict[str, Any]]:
        words = [sys.executable, __file__, "--tables", *asked.tables, "--evaluations", str(asked.evaluations), "--runs",
                 str(asked.runs), "--strategies", *asked.strategies, "--devices", device, "--json"]
        words += ["--data-set", asked.data_set] if asked.data_set else []
        words += ["--no-peers"] if asked.no_peers else []
        out, _ = (process := Popen(words, stdout=PIPE, text=True)).communicate()
        if process.returncode:
            raise SystemExit(process.returncode)
        print(f"{device} done", file=sys.stderr)
        return json.loads(out)

    with ThreadPoolExecutor(asked.workers) as pool:
        return [row for rows in pool.map(one, chosen) for row in rows]


def write_csv(path: Path, found: Sequence[dict[str, Any]], asked: argparse.Namespace) -> None:
    """The rows with the command that made them."""
    peers = list(found[0]["peers"])
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# python benchmarks/pareto.py --tables {' '.join(Path(t).name for t in asked.tables)} "
                   f"--evaluations {asked.evaluations} --runs {asked.runs}\n")
        writer = csv.writer(file)
        writer.writerow(["name", "value", "unit", "target", *peers])
        writer.writerows([row["name"], row["value"], row["unit"], row["target"], *row["peers"].values()]
                         for row in found)


if __name__ == "__main__":
    main()
