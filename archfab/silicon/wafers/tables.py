"""Wafer maps in tables with a header: a line for each die, with its column, its row, and whether it passes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np

from archfab.core import UsageError
from archfab.silicon.wafers.maps import OFF, WaferMap
from archfab.silicon.wafers.matrices import BLANK, FAILS, PASSES, exact

NAMES: Mapping[str, tuple[str, ...]] = {
    "x": ("x", "col", "column", "diex", "xindex", "xcoord", "xdie"),
    "y": ("y", "row", "diey", "yindex", "ycoord", "ydie"),
    "wafer": ("wafer", "waferid", "waferno", "wafernumber", "slot"), "lot": ("lot", "lotid"),
    "label": ("label", "failuretype", "pattern"),
    "defects": ("defects", "defectcount", "ndefects", "count", "faults"),
    "pass": ("pass", "passed", "passing", "good"), "fail": ("fail", "failed", "failing", "bad"),
    "result": ("result", "status", "passfail"), "bin": ("bin", "hardbin", "softbin", "hbin", "sbin", "bincode")}
"""The names of columns that are understood, in lower case without blanks and underscores."""
VALUES = ("defects", "pass", "fail", "result", "bin")
YES, NO = ("1", "true", "yes", "y"), ("0", "false", "no", "n")
ROOM = 1000             # cells of the grid for each die of the table, at most: more are positions, not dies


def columns_of(header: Sequence[str]) -> dict[str, int]:
    """Which column is what."""
    found: dict[str, int] = {}
    for place, cell in enumerate(header):
        plain = "".join(letter for letter in cell.lower() if letter.isalnum())
        for kind, names in NAMES.items():
            if plain in names:
                found.setdefault(kind, place)
    return found


def is_table(line: str) -> bool:
    """Whether this first line of a file is the header of such a table."""
    cells = [cell.strip() for cell in split(line)]
    names = [cell for cell in cells if cell.isidentifier() and len(cell) > 1
             and cell.lower() not in (*PASSES, *FAILS, *BLANK)]
    return {"x", "y"} <= set(columns_of(cells)) or len(names) > 1


def split(line: str) -> list[str]:
    separator = next((each for each in ",;\t" if each in line), ",")
    return next(csv.reader([line], delimiter=separator), [])


def maps_of_table(text: str, name: str, good_bins: Sequence[int] | None = None) -> list[WaferMap]:
    """The wafers of a table with the columns x and y, one of defects, pass, fail, result or bin, and, where there are
    several wafers, wafer (and lot).

    :raises UsageError: for columns that are missing, values that are unknown, dies that stand there twice.
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1)
             if line.strip() and not line.lstrip().startswith("#")]
    header = split(lines[0][1])
    places = columns_of(header)
    values = [kind for kind in VALUES if kind in places]
    if missing := [kind for kind in ("x", "y") if kind not in places] + ([] if values else ["pass"]):
        raise UsageError(f"{name} has no column {' and '.join(missing)} (it has: {', '.join(header)}); it needs x, y "
                         f"and one of {', '.join(VALUES)}, and wafer where there are several")
    kind = values[0]
    if good_bins is not None and kind != "bin":
        raise UsageError(f"{name}: which dies pass is told by the column {header[places[kind]]}, not by bins; leave "
                         "--good-bins out")
    good_bins = good_bins or (1,)
    separator = next((each for each in ",;\t" if each in lines[0][1]), ",")
    found: dict[tuple[str, str], dict[tuple[int, int], tuple[int, int]]] = {}
    labels: dict[tuple[str, str], str] = {}
    rows = csv.reader(io.StringIO("\n".join(line for _, line in lines[1:])), delimiter=separator)
    for (number, _), cells in zip(lines[1:], rows, strict=False):
        where = f"{name}, line {number}"
        if len(cells) != len(header):
            raise UsageError(f"{where} has {len(cells)} cells where the header has {len(header)}")
        die = (index(cells[places["x"]], where, "x"), index(cells[places["y"]], where, "y"))
        key = tuple(cells[places[part]].strip() if part in places else "" for part in ("lot", "wafer"))
        wafer = found.setdefault((key[0], key[1]), {})
        if die in wafer:
            raise UsageError(f"{where}: the die at x {die[0]}, y {die[1]}"
                             + (f" of wafer {' '.join(key).strip()}" if any(key) else "") + f" stands in line "
                             f"{wafer[die][1]} already; keep one of the two" + (
                                 "" if any(key) else ", or add a column wafer if they are of several wafers"))
        wafer[die] = (value(cells[places[kind]], kind, where, good_bins), number)
        labels.setdefault((key[0], key[1]), cells[places["label"]].strip() if "label" in places else "")
    if not found:
        raise UsageError(f"{name} has a header and no dies")
    note = {"defects": f"codes: {header[places[kind]]} are numbers of defects",
            "bin": f"codes: bin {', '.join(map(str, good_bins))} passes, others fail"}.get(
                kind, f"codes: column {header[places[kind]]}")
    return [grid(" ".join(part for part in key if part) or name, dies, kind == "defects", labels[key], note)
            for key, dies in found.items()]


def grid(name: str, dies: Mapping[tuple[int, int], tuple[int, int]], counted: bool, label: str, note: str) -> WaferMap:
    places = np.array(list(dies))
    low, high = places.min(0), places.max(0)
    wide, tall = (int(size) for size in high - low + 1)
    if wide * tall > max(10_000, ROOM * len(dies)):
        raise UsageError(f"{name}: {len(dies)} dies at x {low[0]} to {high[0]} and y {low[1]} to {high[1]} lie too far "
                         "apart for dies in a grid; x and y count dies, they are no positions in um: divide them by "
                         "the step from die to die")
    values = np.full((tall, wide), OFF, np.int64)
    values[places[:, 1] - low[1], places[:, 0] - low[0]] = [each for each, _ in dies.values()]
    return WaferMap(name, values, counted=counted, label=label, upward=True, notes=(note,))


def index(cell: str, where: str, axis: str) -> int:
    try:
        found = exact(float(cell))
    except (ValueError, OverflowError):
        raise UsageError(f"{where}: {axis} is '{cell[:20]}'; legal: whole numbers that count dies (a position in mm "
                         "has to be divided by the step from die to die)") from None
    if abs(found) > 10 ** 9:
        raise UsageError(f"{where}: {axis} is {cell[:20]}, too large to count dies")
    return found


def value(cell: str, kind: str, where: str, good_bins: Sequence[int]) -> int:
    """Defects of a die, or 1 where it fails."""
    plain = cell.strip().lower()
    if kind in ("defects", "bin"):
        try:
            found = exact(float(plain))
            if not 0 <= found <= 10 ** 9:
                raise ValueError
        except (ValueError, OverflowError):
            what = "a number of defects" if kind == "defects" else "a bin"
            raise UsageError(f"{where}: '{cell[:20]}' is not {what}; legal: whole numbers from 0 up") from None
        return found if kind == "defects" else int(found not in good_bins)
    if plain in PASSES + FAILS:                         # a word says itself whether the die passes
        return int(plain in FAILS)
    if plain not in YES + NO:
        raise UsageError(f"{where}: unknown code '{cell[:20]}'; legal: 1 or 0, true or false, P or F, pass or fail")
    if kind == "result":
        raise UsageError(f"{where}: '{cell[:20]}' in a column of results can be either way round; legal: P or F, pass "
                         "or fail, or name the column pass or fail")
    return int((plain in YES) == (kind == "fail"))
