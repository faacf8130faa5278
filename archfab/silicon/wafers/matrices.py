"""Wafer maps in text, one line for each row of dies; a blank line ends a wafer."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from archfab.core import UsageError
from archfab.silicon.wafers.maps import OFF, WaferMap

BLANK = ("", ".", "-", "_", "nan", "-1", "n/a")
PASSES, FAILS = ("p", "pass", "passed", "passing", "good", "ok"), ("f", "fail", "failed", "failing", "bad", "x")
CODES: Mapping[str, str] = {
    "wafer": "0 no die, 1 passing, 2 failing (or 0, 128, 255)", "pass": "1 passing, 0 failing",
    "fail": "1 failing, 0 passing", "defects": "the number of defects of each die"}
"""What numbers in a map can mean; where there is no die the cell is empty or one of . - _ -1."""
Cells = list[tuple[int, list[str]]]             # line number and cells of each row


def maps_of_matrix(text: str, name: str, codes: str | None) -> list[WaferMap]:
    """The wafers of a text in which each line is a row of dies, cells apart by commas, semicolons, tabs or blanks, or
    single letters without anything between.

    :raises UsageError: for ragged rows, and for codes that are unknown or could mean several things.
    """
    wafers: list[Cells] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            wafers.append([])
        elif not line.lstrip().startswith("#"):
            wafers[-1].append((number, cells_of(line)))
    wafers = [rows for rows in wafers if rows]
    for rows in wafers:
        for number, cells in rows:
            if len(cells) != len(rows[0][1]):
                raise UsageError(f"{name}: line {number} has {len(cells)} dies, but line {rows[0][0]} has "
                                 f"{len(rows[0][1])}; all rows of a wafer need the same, with an empty cell or '.' "
                                 "where there is no die")
    seen = {cell.lower() for rows in wafers for _, cells in rows for cell in cells} - set(BLANK)
    hollow = any("0" in "".join("0" if cell == "0" else "x" for cell in cells if cell).strip("0")
                 for rows in wafers for _, cells in rows)
    meaning, note, counted = meaning_of(seen, name, codes, hollow)
    return [WaferMap(name if len(wafers) == 1 else f"{name}#{i}",
                     np.array([[meaning[cell.lower()] for cell in cells] for _, cells in rows], np.int64),
                     counted=counted, notes=(note,)) for i, rows in enumerate(wafers)]


def cells_of(line: str) -> list[str]:
    for separator in (",", ";", "\t"):
        if separator in line:
            return [cell.strip() for cell in line.rstrip("\r").split(separator)]
    words = line.split()
    return list(words[0]) if len(words) == 1 and re.fullmatch(r"[PpFfXx._-]{2,}", words[0]) else words


def meaning_of(seen: set[str], name: str, codes: str | None, hollow: bool) -> tuple[dict[str, int], str, bool]:
    """What each cell means (-1 no die, else failing or not, or defects), that in words, and whether it counts."""
    found = dict.fromkeys(BLANK, OFF)
    words = {cell for cell in seen if cell in PASSES + FAILS}
    numbers = whole(seen - words, name)
    if words and numbers:
        raise UsageError(f"{name} mixes letters ({', '.join(sorted(words)[:3])}) with numbers "
                         f"({', '.join(sorted(numbers)[:3])}); use one of the two")
    if words:
        return found | {cell: int(cell in FAILS) for cell in words}, "codes: P passing, F failing", False
    codes = codes or kind_of(set(numbers.values()), name, hollow)
    if codes == "defects":
        if numbers and min(numbers.values()) < 0:
            raise UsageError(f"{name}: {min(numbers.values())} defects in a die cannot be; legal: 0 and up, or -1 or "
                             "an empty cell where there is no die")
        return found | numbers, f"codes: {CODES[codes]}", True
    tables = {"wafer": {0: OFF, 1: 0, 2: 1}, "pass": {1: 0, 0: 1}, "fail": {0: 0, 1: 1}}
    table = tables[codes]
    if codes == "wafer" and set(numbers.values()) <= {0, 128, 255} and 128 in numbers.values():
        table = {0: OFF, 128: 0, 255: 1}
    if odd := sorted(set(numbers.values()) - set(table)):
        raise UsageError(f"{name}: unknown codes of dies {', '.join(map(str, odd[:5]))}; legal: {CODES[codes]}; if "
                         "they are numbers of defects, say --codes defects")
    return found | {cell: table[value] for cell, value in numbers.items()}, f"codes: {CODES[codes]}", False


def kind_of(values: set[int], name: str, hollow: bool) -> str:
    """What the numbers of a map mean where nobody said so; refused where they could mean several things. `hollow`: a 0
    stands between other numbers of its row, where a wafer has dies."""
    if (2 in values and values <= {0, 1, 2} and not hollow) or ({128, 255} & values and values <= {0, 128, 255}):
        return "wafer"
    said = "; ".join(f"--codes {key}: {about}" for key, about in CODES.items())
    if values <= {0, 1}:
        raise UsageError(f"{name} has the codes 0 and 1 alone, which can be either way round; say {said}")
    if values <= {0, 1, 2}:
        raise UsageError(f"{name} has a 0 between other dies of a row: if 0 is no die, it has holes, and if they are "
                         f"numbers of defects, they are not codes; say {said}")
    odd = sorted(values - {0, 1, 2})
    raise UsageError(f"{name}: unknown codes of dies {', '.join(map(str, odd[:5]))}; say what they are, {said}")


def whole(cells: set[str], name: str) -> dict[str, int]:
    found = {}
    for cell in cells:
        try:
            found[cell] = int(cell) if "." not in cell and "e" not in cell else exact(float(cell))
        except (ValueError, OverflowError):
            raise UsageError(f"{name}: unknown code '{cell[:20]}' of a die; legal: P and F, or whole numbers, and an "
                             "empty cell or one of . - _ where there is no die") from None
        if abs(found[cell]) > 10 ** 9:
            raise UsageError(f"{name}: {cell[:20]} is too large for a code or for a number of defects")
    return found


def exact(value: float) -> int:
    if value != round(value):
        raise ValueError
    return round(value)


