"""Weight sharing and gradients on NAS-Bench-201: how well shared weights rank, and the cell each method ends in.

    python benchmarks/one_shot.py --data $ARCHFAB_DATA/cifar10-10k/cifar10_10k_jpg.zip --table $ARCHFAB_DATA/nasbench201
    python benchmarks/one_shot.py ... --methods fairnas gdas --repeat fairnas --csv benchmarks/results/one-shot.csv

Every network is one of the table's 15,625 cells, so its accuracy after 200 epochs on CIFAR-10 is known; the methods see
8,000 images of it. Supernets: trained by a sampling, then searched by evolution for the least validation loss; the rank
correlations are over the networks of the random search beside it. Gradients: the network that the last lesson leans to.
`--trail` writes, lesson by lesson, how many of the six edges lean to a skip connection and what that cell reaches.
Runs are kept (`--runs`) and gone on with: the same command again repeats nothing that is finished.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rows import row, show

import archfab
from archfab import Space, registry
from archfab.core import Budget
from archfab.metrics.ranking import Correlation, correlation
from archfab.runs import Run
from archfab.search import resume
from archfab.tables import Table, read_table

SUPERNETS: dict[str, dict[str, Any]] = {
    "spos": {"lessons": 60}, "fairnas": {"lessons": 20}, "sandwich": {"lessons": 25}}
GRADIENTS: dict[str, dict[str, Any]] = {
    "darts": {"lessons": 40, "channels": 16}, "fair_darts": {"lessons": 20, "channels": 8},
    "darts_plus": {"lessons": 30, "channels": 8, "skips": 1}, "pdarts": {"lessons": 24, "channels": 8},
    "gdas": {"lessons": 60, "channels": 16}, "fbnet": {"lessons": 20, "channels": 8},
    "proxyless": {"lessons": 40, "channels": 8}}
AIM = 93.5


def run_of(method: str, seed: int, asked: argparse.Namespace) -> Run:
    """The finished run of a method; begun or gone on with where that is needed."""
    folder = asked.runs / f"{method}-{seed}"
    if (folder / "run.sqlite").exists():
        run = Run(folder)
        return run if run.finished else resume(folder)
    common = {"data": str(asked.data), "space": "cell", "deliver": 0, "seed": seed, "run": folder,
              "threads": asked.threads}
    if method in SUPERNETS:
        options = {"sampling": method, "check": 0, **SUPERNETS[method]}
        return archfab.search("vision", estimator="supernet", strategy="evolution", trials=asked.trials,
                              minimize=["loss"], options=options, **common)
    return archfab.search("vision", strategy=method, trials=1, random=False, trial_budget=Budget(steps=1),
                          minimize=["error"], options=GRADIENTS[method], **common)


def seeds_of(method: str, asked: argparse.Namespace) -> list[int]:
    return asked.seeds if method in asked.repeat else asked.seeds[:1]


def accuracy(table: Table, genotype: Any) -> float:
    return table.truth(genotype)["accuracy"]


def ranked(run: Run, table: Table) -> Correlation | None:
    """Shared-weight scores against the table, over networks drawn at random."""
    drawn = run.kept("random")
    return correlation([event.metrics["loss"] for event in drawn if event.trial],
                       [-accuracy(table, event.trial.genotype) for event in drawn if event.trial])


def trail(run: Run, table: Table) -> Iterator[tuple[int, int, float]]:
    """Lesson by lesson: edges that lean to a skip connection, and the accuracy of the cell leaned to."""
    strategy = registry.load("strategies", run.spec.strategy)(Space.from_data(run.spec.space), {"error": "min"},
                                                                **run.spec.strategy_options)
    for event in run.events:
        if event.kind == "lesson":
            strategy.tell(event)
            cell = strategy.likely()
            yield event.data["number"], list(cell.values()).count("skip"), accuracy(table, cell)


def measure(asked: argparse.Namespace, table: Table) -> list[dict[str, Any]]:
    rows, reached, minutes = [], {}, {}
    for method in asked.methods:
        seeds = seeds_of(method, asked)
        found = [run_of(method, seed, asked) for seed in seeds]
        cells = [accuracy(table, run.front[0].genotype) for run in found]
        reached[method] = statistics.mean(cells)
        minutes[method] = statistics.mean(run.seconds for run in found) / 60
        each = {f"seed {seed}": value for seed, value in zip(seeds, cells, strict=True)}
        rows.append(row(f"{method}: accuracy of its cell", reached[method], "%", higher_is_better=True, peers=each))
        if method in SUPERNETS:
            known = [both for run in found if (both := ranked(run, table))]
            rows += [row(f"{method}: {name}", statistics.mean(getattr(both, name) for both in known), "",
                         higher_is_better=True) for name in ("kendall", "spearman")]
        else:
            skips = [list(run.front[0].genotype.values()).count("skip") for run in found]
            rows.append(row(f"{method}: skips in its cell", statistics.mean(skips), "of 6 edges"))
    best = max(set(asked.repeat) & set(reached) or reached, key=lambda method: reached[method])
    rows.append(row(f"best method ({best}): accuracy of its cell", reached[best], "%", AIM, True,
                    {"best cell": table.best("accuracy", "max"), "all skips": 54.297}))
    rows.append(row(f"best method ({best}): time", minutes[best], "min", 30))
    return rows


def write_trail(path: Path, asked: argparse.Namespace, table: Table) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write("# python benchmarks/one_shot.py --trail\n")
        writer = csv.writer(file)
        writer.writerow(["method", "seed", "lesson", "skips of 6 edges", "accuracy of the cell"])
        for method in asked.methods:
            for seed in seeds_of(method, asked) if method in GRADIENTS else ():
                writer.writerows([method, seed, lesson, skips, f"{value:.2f}"]
                                 for lesson, skips, value in trail(run_of(method, seed, asked), table))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10, or a part of it, as task vision reads it")
    parser.add_argument("--table", required=True, help="the folder of NAS-Bench-201")
    parser.add_argument("--methods", nargs="+", default=[*SUPERNETS, *GRADIENTS], choices=[*SUPERNETS, *GRADIENTS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--repeat", nargs="+", default=["darts_plus"], metavar="METHOD",
                        help="methods that are run with every seed; the others with the first one")
    parser.add_argument("--trials", type=int, default=200, help="networks that evolution and random search try each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs/one-shot"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--trail", type=Path, metavar="CSV")
    asked = parser.parse_args(arguments)
    table = read_table(asked.table)
    rows = measure(asked, table)
    if asked.trail:
        write_trail(asked.trail, asked, table)
    show(rows, asked.json, asked.csv, "python benchmarks/one_shot.py --data CIFAR --table NASBENCH201 --methods "
         + " ".join(asked.methods))


if __name__ == "__main__":
    main()
