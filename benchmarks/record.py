"""Keeps a run's result as CSV: the front, what was delivered, the command that made it.

    python benchmarks/record.py RUN --recipe recipes/NAME.sh --out benchmarks/results/NAME-2-cores.csv
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from archfab.runs import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    run = Run(asked.run)
    document = run.plain()
    with asked.out.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {asked.recipe}\n# {document['trials']} networks tried by {run.spec.strategy} and "
                   f"{document['random'].get('trials', 0)} by random search, {document['seconds']:.0f} s in all, "
                   f"{run.environment['cores']} cores, torch {run.environment['torch']}\n")
        for sentence in document["verdict"]:
            file.write(f"# {sentence.split(' Networks of the random')[0]}\n")
        for name, score in document["baseline"].items():
            file.write(f"# baseline {name}: {score:.4g}\n")
        names = ["id", "error", "test_error", *(name for name in document["front"][0]
                                                if name.endswith(("_ms", "_mj", "_kb")) or name in ("macs", "params"))]
        writer = csv.writer(file)
        writer.writerow([*names, "latency_ms_low", "latency_ms_high"])
        for member, row in zip(run.front, document["front"], strict=True):
            latency = member.figures.get("latency_ms", {})
            writer.writerow([*(row.get(name, "") for name in names), latency.get("low", ""), latency.get("high", "")])


if __name__ == "__main__":
    main()
