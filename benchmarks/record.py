"""Keeps the result of a run or of a comparison as CSV, with the recipe that made it.

    python benchmarks/record.py RUN --recipe recipes/NAME.sh --out benchmarks/results/NAME-2-cores.csv

Of a run: the front and what was delivered. Of a comparison: what each strategy reached on each table, and its ranks.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any, TextIO

from archfab.runs import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    with asked.out.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {asked.recipe}\n")
        if (asked.run / "comparison.json").exists():
            write_comparison(file, json.loads((asked.run / "comparison.json").read_text(encoding="utf-8")))
        else:
            write_run(file, Run(asked.run))


def write_comparison(file: TextIO, document: dict[str, Any]) -> None:
    ranks = document["ranks"]
    file.write(f"# {document['seconds']:.0f} s on {document['environment']['cores']} cores; {ranks['verdict']}\n")
    writer = csv.writer(file)
    writer.writerow(["table", "strategy", "evaluations", "mean", "regret", "regret low", "regret high", "best possible",
                     "runs"])
    for table in document["tables"]:
        for row in table["strategies"]:
            writer.writerows([table["label"], row["strategy"], round(each["at"]), *(f"{each[name]:.6g}" for name in (
                "value", "mean", "low", "high")), table["best"], row["runs"]] for each in row["budgets"])
    for each in ranks["budgets"]:
        writer.writerows(["mean rank", name, each["evaluations"], f"{rank:.3g}"]
                         for name, rank in sorted(each["mean"].items(), key=lambda item: item[1]))


def write_run(file: TextIO, run: Run) -> None:
    document = run.plain()
    file.write(f"# {document['trials']} networks tried by {run.spec.strategy} and "
               f"{document['random'].get('trials', 0)} by random search, {document['seconds']:.0f} s in all, "
               f"{run.environment['cores']} cores, torch {run.environment['torch']}\n")
    for sentence in document["verdict"]:
        file.write(f"# {sentence.split(' Networks of the random')[0]}\n")
    for name, score in document["baseline"].items():
        file.write(f"# baseline {name}: {score:.4g}\n")
    scored = ("balanced_error", "macro_f1") if "balanced_error" in run.spec.objectives else ()
    names = ["id", "error", "test_error", *(each for name in scored for each in (name, f"test_{name}")),
             *(name for name in document["front"][0]
               if name.endswith(("_ms", "_mj", "_kb")) or name in ("macs", "params"))]
    writer = csv.writer(file)
    writer.writerow([*names, "latency_ms_low", "latency_ms_high"])
    for member, row in zip(run.front, document["front"], strict=True):
        latency = member.figures.get("latency_ms", {})
        writer.writerow([*(row.get(name, "") for name in names), latency.get("low", ""), latency.get("high", "")])


if __name__ == "__main__":
    main()
