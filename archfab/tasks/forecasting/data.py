"""Time series from the files people keep them in: CSV (gzipped or not) and Parquet, long or wide, and folders as M4's.

Three layouts: `long` (a row for each value: series, time, value), `rows` (a row for each series, its name first, as in
M4) and `columns` (a column for each series, time first). Empty cells, NA and NaN are missing values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

from archfab.core import UsageError, unknown
from archfab.tables.rows import FORMATS, Sheet, is_table
from archfab.tasks.forecasting.series import Array, Series

LAYOUTS = ("auto", "long", "rows", "columns")
GROUPS = {"Yearly": (6, 1), "Quarterly": (8, 4), "Monthly": (18, 12), "Weekly": (13, 1), "Daily": (14, 1),
          "Hourly": (48, 24)}
"""Horizon and season of the groups of M4 (Makridakis et al., 2020)."""
MISSING = {"", "na", "nan", "null", "none", "<na>"}
SERIES, TIME, VALUE = (("unique_id", "series", "series_id", "id", "item_id", "item"),
                       ("ds", "time", "timestamp", "date", "datetime"), ("y", "value", "target"))
MARKS = {";": "semicolons", "\t": "tabs", "|": "bars"}
LEGAL = ("legal: long (columns of series, time and value), rows (a series in each row, its name first, as M4 has them) "
         "and columns (a time column first, then a series in each column)")


@dataclass(frozen=True)
class Columns:
    """How a file is to be read: its layout, and the names of the columns of a long one."""

    layout: str = "auto"
    series: str | None = None
    time: str | None = None
    value: str | None = None
    gaps: str = "keep"

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise unknown("layout", self.layout, LAYOUTS)
        if self.gaps not in ("keep", "fill"):
            raise UsageError(f"--gaps is keep or fill, not '{self.gaps}'")


def read_series(name: str, group: str | None, columns: Columns) -> Series:
    """The series of a file, or of a folder with GROUP-train and GROUP-test files.

    :raises UsageError: with file, row and column, for anything that is no series.
    """
    path = Path(name)
    if path.is_dir():
        return read_folder(path, group, columns)
    if not path.exists():
        raise UsageError(f"there is no file or folder {path}")
    if not is_table(path):
        raise UsageError(f"{path} is no table; legal are files ending in {', '.join(FORMATS)} and folders of "
                         "GROUP-train.csv.gz and GROUP-test.csv.gz")
    found = read_file(path, columns)
    return replace(found, group=group or group_of(path))


def group_of(path: Path) -> str:
    """The group of M4 that a file is named after, or nothing."""
    return next((group for group in GROUPS if re.match(rf"{group}\b", path.name, re.IGNORECASE)), "")


def read_folder(folder: Path, group: str | None, columns: Columns) -> Series:
    """The training and test parts of a group in a folder."""
    found = {file.name[:file.name.index("-train.")]: file for file in sorted(folder.iterdir())
             if "-train." in file.name and is_table(file)}
    if not found:
        raise UsageError(f"{folder} has no file named GROUP-train.csv, .csv.gz or .parquet; name one file instead, or "
                         "name the training file so")
    if group is None and len(found) > 1:
        raise UsageError(f"{folder} has several groups of series ({', '.join(found)}); choose one: --series GROUP")
    group = group or next(iter(found))
    if group not in found:
        raise unknown("group of series", group, list(found))
    train = read_file(found[group], columns)
    beside = folder / found[group].name.replace("-train.", "-test.")
    if not beside.exists():
        return replace(train, group=group)
    test = read_file(beside, columns)
    places = {name: i for i, name in enumerate(test.names)}
    if lacking := [name for name in train.names if name not in places]:
        raise UsageError(f"{beside} lacks series '{lacking[0]}', which {found[group]} has; a test part continues every "
                         "series")
    if more := [name for name in test.names if name not in train.names]:
        raise UsageError(f"{beside} has series '{more[0]}', which {found[group]} lacks; a test part continues "
                         "series of the training part alone")
    return replace(train, group=group, test=tuple(test.values[places[name]] for name in train.names))


def read_file(path: Path, columns: Columns) -> Series:
    sheet = Sheet(path)
    if len(sheet.header) == 1 and (mark := next((mark for mark in MARKS if mark in sheet.header[0]), None)):
        raise UsageError(f"{path}, row 1: '{sheet.header[0][:40]}' has no comma, but {MARKS[mark]}; write the file "
                         "with commas between its cells and points in its numbers")
    layout = layout_of(sheet, columns)
    found = {"long": read_long, "rows": read_rows, "columns": read_columns}[layout](sheet, columns)
    if not found.names:
        raise UsageError(f"{path} has no row below its header; {LEGAL}")
    if "" in found.names:
        raise UsageError(f"{path}, {found.rows[found.names.index('')]}: this series has no name; every series has one")
    if doubled := next((name for name in found.names if found.names.count(name) > 1), None) \
            if len(set(found.names)) < len(found.names) else None:
        raise UsageError(f"{path}: two series are named '{doubled}'; every series has a name of its own")
    return found


def layout_of(sheet: Sheet, columns: Columns) -> str:
    """The layout that was asked for, or the one that the header shows."""
    if columns.layout != "auto":
        return columns.layout
    known = [name.lower() for name in sheet.header]
    if columns.value or (any(name in known for name in VALUE) and any(name in known for name in TIME)):
        return "long"
    if columns.time or known[0] in TIME or (sheet.rows and is_time(sheet.rows[0][0])):
        return "columns"
    return "rows"


def is_time(text: str) -> bool:
    """Whether a text is a date, with a time or without; numbers are none."""
    try:
        float(text)
        return False
    except ValueError:
        pass
    try:
        date(text.strip())
        return True
    except ValueError:
        return False


def date(text: str) -> datetime:
    """A date, with a time or without, or a month (2024-05), which is its first day."""
    return datetime.fromisoformat(f"{text}-01" if re.fullmatch(r"\d{4}-\d{2}", text) else text)


def column(sheet: Sheet, asked: str | None, usual: Sequence[str]) -> str | None:
    """A column by the name that was asked for, or by one of the usual names."""
    if asked is not None:
        sheet._place(asked)
        return asked
    return next((name for name in sheet.header if name.lower() in usual), None)


def read_rows(sheet: Sheet, columns: Columns) -> Series:
    """A series in each row; empty cells at its end are none of its values."""
    if len(sheet.header) == 1:
        raise UsageError(f"{sheet.path} has one column ('{sheet.header[0][:40]}'), so that its values have neither the "
                         f"name of a series nor a time; {LEGAL}")
    names, values, rows = [], [], []
    for number, row in enumerate(sheet.rows, 2):
        cells = row[1:]
        while cells and not cells[-1].strip():
            cells.pop()
        names.append(row[0].strip())
        values.append(numbers(cells, [f"row {number}, column '{name}'" for name in sheet.header[1:]], sheet))
        rows.append(f"row {number}")
    guess = "; the file is taken to have a series in each row: --layout long or columns where it has not"
    return Series(tuple(names), tuple(values), str(sheet.path), rows=tuple(rows),
                  hint=guess if columns.layout == "auto" else "")


def read_columns(sheet: Sheet, columns: Columns) -> Series:
    """A series in each column beside the one of time."""
    time = column(sheet, columns.time, TIME) or sheet.header[0]
    order = ordered(sheet, sheet.texts(time), range(len(sheet.rows)), time, "")
    names = [name for name in sheet.header if name != time]
    if not names:
        raise UsageError(f"{sheet.path} has a column of time ('{time}') and no other; {LEGAL}")
    values = []
    for name in names:
        found = numbers(sheet.texts(name), below(sheet, name), sheet)
        values.append(placed(found, order, columns, f"{sheet.path}, column '{time}'"))
    return Series(tuple(names), tuple(values), str(sheet.path), rows=tuple(f"column '{name}'" for name in names))


def read_long(sheet: Sheet, columns: Columns) -> Series:
    """A value in each row, with its series and its time."""
    series, time = column(sheet, columns.series, SERIES), column(sheet, columns.time, TIME)
    value = column(sheet, columns.value, VALUE)
    if value is None or time is None:
        raise UsageError(f"{sheet.path} names no column of {'values' if value is None else 'times'} (its header: "
                         f"{', '.join(sheet.header)}); say which: --value NAME --time NAME --id NAME; {LEGAL}")
    found = numbers(sheet.texts(value), below(sheet, value), sheet)
    owners = sheet.texts(series) if series else [value] * len(found)
    rows: dict[str, list[int]] = {}
    for i, owner in enumerate(owners):
        rows.setdefault(owner, []).append(i)
    times = sheet.texts(time)
    values = [placed(found, ordered(sheet, times, members, time, owner), columns,
                     f"{sheet.path}, column '{time}', series '{owner}'") for owner, members in rows.items()]
    return Series(tuple(rows), tuple(values), str(sheet.path),
                  rows=tuple(f"rows from {members[0] + 2}" for members in rows.values()))


def below(sheet: Sheet, name: str) -> list[str]:
    """The places of a column's cells, in words."""
    return [f"row {i}, column '{name}'" for i in range(2, len(sheet.rows) + 2)]


def numbers(cells: Sequence[str], places: Sequence[str], sheet: Sheet) -> Array:
    """Cells as numbers, NaN where one is marked as missing."""
    try:
        found = np.array([float(cell) for cell in cells])
        if np.isfinite(found).all() and not any("_" in cell for cell in cells):
            return found
    except ValueError:
        pass                                            # one by one, to say which
    return np.array([number(cell, place, sheet) for cell, place in zip(cells, places, strict=False)], dtype=float)


def number(cell: str, place: str, sheet: Sheet) -> float:
    text = cell.strip()
    if text.lower() in MISSING:
        return math.nan
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value):
        return value
    raise UsageError(f"{sheet.path}, {place}: '{text[:40]}' is no finite number; legal: a number, or an empty cell, NA "
                     "or NaN where the value is missing")


def ordered(sheet: Sheet, times: Sequence[str], members: Sequence[int], name: str,
            owner: str) -> list[tuple[float, int]]:
    """The rows of one series by their times, as (time, row).

    :raises UsageError: where two have the same time, or one has none.
    """
    found = sorted((moment(times[i], i, sheet, name), i) for i in members)
    for (one, first), (other, second) in pairwise(found):
        if one == other:
            whose = f" of series '{owner}'" if owner else ""
            raise UsageError(f"{sheet.path}, row {max(first, second) + 2}, column '{name}': the time '{times[second]}'"
                             f"{whose} stands in row {min(first, second) + 2} already; each step has one value: remove "
                             "one of them, or name the column that tells the series apart (--id)")
    return found


def moment(text: str, i: int, sheet: Sheet, name: str) -> float:
    """A time as a number: numbers as they are, dates in seconds."""
    try:
        value = float(text)
    except ValueError:
        try:
            found = date(text)
        except ValueError:
            raise UsageError(f"{sheet.path}, row {i + 2}, column '{name}': '{text[:40]}' is no time; legal: a number, "
                             "or a date such as 2024-05-31, 2024-05-31 13:00:00 or 2024-05") from None
        value = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(value):
        raise UsageError(f"{sheet.path}, row {i + 2}, column '{name}': '{text[:40]}' is no time; legal: a number, or a "
                         "date such as 2024-05-31")
    return value


def placed(found: Array, order: Sequence[tuple[float, int]], columns: Columns, where: str) -> Array:
    """Values in the order of time; with --gaps fill, steps that have no row are missing values."""
    values = found[[i for _, i in order]]
    if columns.gaps == "keep" or len(order) < 3:
        return values
    times = months(np.array([time for time, _ in order]))
    steps = np.diff(times)
    places = (times - times[0]) / steps.min()
    if np.abs(places - places.round()).max() > 1e-3 or places[-1] > 100 * len(order):
        raise UsageError(f"{where}: the times are no multiples of one step ({steps.min():g} at least, {steps.max():g} "
                         "at most), so that --gaps fill cannot say which are lacking; use --gaps keep")
    filled = np.full(int(places[-1].round()) + 1, np.nan)
    filled[places.round().astype(int)] = values
    return filled


def months(times: Array) -> Array:
    """Times in months, where all of them are the first day of one, or all of them the last; as they are where not."""
    if np.abs(times).max() > 1e11:                      # seconds beyond the years of dates
        return times
    for day in (0, 24 * 3600):
        whole = (times + day).astype("datetime64[s]").astype("datetime64[M]")
        if (whole.astype("datetime64[s]").astype(float) == times + day).all():
            return whole.astype(float)
    return times
