"""The word `maturity`: D0 and alpha over lots, the learning curve, and when a target is met."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from archfab.core import UsageError
from archfab.silicon.files import write
from archfab.silicon.words import Document, Word
from archfab.silicon.yields.words.options import add_png, draw, warn


def add(word: Word) -> None:
    """The word and its options."""
    one = word("maturity", "defect density and clustering lot by lot, and the learning curve through them",
               "archfab silicon maturity lots.csv --area-mm2 100 --target 0.1 --png maturity.png", carry_out, shown)
    one.add_argument("file", type=Path, help="CSV: lot, date or order, dies, and one of defects, good, yield; several "
                     "rows of a lot are its wafers")
    one.add_argument("--area-mm2", type=float, required=True, metavar="MM2", help="of one die")
    one.add_argument("--target", type=float, metavar="PER_CM2", help="a defect density: when it is reached")
    one.add_argument("--sort", action="store_true", help="bring lots into the order of time first")
    one.add_argument("--seed", type=int, default=0, help="of the draws that intervals come from (default: 0)")
    one.add_argument("--csv", type=Path, metavar="FILE", help="the lots with D0 and alpha, as CSV")
    add_png(one, "lots, learning curve and alpha")


def carry_out(asked: argparse.Namespace) -> Document:
    """Densities of lots, the curve, the target."""
    import numpy as np

    from archfab.silicon.yields.checks import above_zero, doubts
    from archfab.silicon.yields.lots import read_lots
    from archfab.silicon.yields.maturity import document, maturity
    above_zero("an area in mm2", asked.area_mm2)
    if asked.target is not None:
        above_zero("a target in defects per cm2", asked.target)
    if asked.seed < 0:
        raise UsageError(f"--seed {asked.seed} cannot be; legal: 0 and up")
    found = maturity(read_lots(asked.file, asked.sort), asked.area_mm2, np.random.default_rng(asked.seed))
    made = document(found, asked.target)
    draw(asked.png, lambda: _figure(found, asked.target))
    if asked.csv:
        write(asked.csv, _table(made["lots"]))
    densest = max(each.d0_per_cm2 for each in found.densities)
    return {**made, "area_mm2": asked.area_mm2, "warnings": doubts(densest, asked.area_mm2)}


def _table(rows: list[dict[str, Any]]) -> bytes:
    from archfab.core import Exhibit
    return Exhibit.table("lots.csv", "D0 and alpha", list(rows[0]), [list(row.values()) for row in rows]).content


def _figure(found: Any, target: float | None) -> Any:
    from archfab.silicon.yields.pictures import maturity
    return maturity(found, target)


def shown(document: Document) -> None:
    """A table of lots, then what they mean."""
    from archfab.terminal import say, show_table

    def alpha(row: Any, key: str) -> Any:
        unbounded = row[key] is None and row["alpha_low"] is not None
        return "inf" if unbounded else row[key]

    show_table(["lot", "when", "rows", "dies", "D0", "low", "high", "alpha", "low", "high", "off the curve"],
               [[row["lot"], row["when"], row["rows"], row["dies"], row["d0_per_cm2"], row["low"], row["high"],
                 alpha(row, "alpha"), row["alpha_low"], alpha(row, "alpha_high"), f"{row['deviation']:+.1f}"]
                for row in document["lots"]], "D0 per cm2, with 95 % intervals; deviations from the curve in sigma")
    for sentence in document["said"]:
        say(sentence)
    warn(document)
