"""What the scripts share that print rows: one row, and all of them as a table, JSON or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def row(name: str, value: float, unit: str, target: float | None = None, higher_is_better: bool = False,
        peers: Mapping[str, float] | None = None) -> dict[str, Any]:
    """One measured figure beside what was aimed at, and what others reach."""
    return {"name": name, "value": value, "unit": unit, "higher_is_better": higher_is_better, "target": target,
            "peers": dict(peers or {})}


def missed(found: Mapping[str, Any]) -> bool:
    if found["target"] is None:
        return False
    return found["value"] < found["target"] if found["higher_is_better"] else found["value"] > found["target"]


def show(rows: Sequence[Mapping[str, Any]], as_json: bool, path: Path | None, recipe: str) -> None:
    """Prints the rows; writes them as CSV with the command that made them."""
    if path:
        with path.open("w", newline="", encoding="utf-8") as file:
            file.write(f"# {recipe}\n")
            writer = csv.writer(file)
            writer.writerow(["name", "value", "unit", "target", "missed", "peers"])
            writer.writerows([each["name"], f"{each['value']:.4g}", each["unit"],
                              "" if each["target"] is None else each["target"], "yes" if missed(each) else "no",
                              "; ".join(f"{name} {value:.4g}" for name, value in each["peers"].items())]
                             for each in rows)
    if as_json:
        print(json.dumps(list(rows), indent=1))
        return
    for each in rows:
        sense, verdict = ">=" if each["higher_is_better"] else "<=", ", MISSED" if missed(each) else ""
        aim = "" if each["target"] is None else f"  (target {sense} {each['target']:g}{verdict})"
        peers = "".join(f"  {name}: {value:.4g}" for name, value in each["peers"].items())
        print(f"{each['name']:45s} {each['value']:10.4g} {each['unit']}{aim}{peers}")
