"""Lots of wafers over time from a CSV file: dies, and their defects, good ones or yield."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from archfab.core import UsageError

TIMES, COUNTS = ("date", "order"), ("defects", "good", "yield")
EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Lot:
    """A lot: when it was made (days since 1970, or its order), and for each of its rows, which are wafers or dies, the
    dies and either their defects or the good ones."""

    name: str
    when: float
    dies: tuple[int, ...]
    defects: tuple[int, ...] | None
    good: tuple[int, ...] | None


@dataclass(frozen=True)
class Lots:
    """Lots in the order of time; `dated` tells whether that is days or an order."""

    lots: tuple[Lot, ...]
    dated: bool

    def at(self, when: float) -> str:
        """A time in words: a date, or a number."""
        if not self.dated:
            return f"{when:.6g}"
        try:
            return (EPOCH + timedelta(days=when)).date().isoformat()
        except OverflowError:
            return f"in {when / 365.25 + 1970:.0f}"


def read_lots(path: Path, sort: bool = False) -> Lots:
    """Lots of a CSV file with the columns `lot`, `date` (ISO) or `order`, `dies`, and one of `defects`, `good` and
    `yield`. Several rows with one lot are its wafers, or its dies where `dies` is 1.

    :param sort: whether lots that are not in the order of time are brought into it.
    :raises UsageError: says which line is wrong and why; lots that go backwards in time.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(line for line in file if not line.startswith("#"))
            rows = [(reader.line_num, row) for row in reader]
            names = [name.strip() for name in reader.fieldnames or ()]
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is no CSV file: {error}") from None
    time, count = _columns(path, names)
    found: dict[str, list[tuple[float, int, int]]] = {}
    for number, row in rows:
        where = f"{path}, line {number}"
        cells = {str(key).strip(): value.strip() for key, value in row.items() if isinstance(value, str)}
        dies = _count(where, "dies", cells, least=1)
        found.setdefault(cells.get("lot") or cells.get(time, ""), []).append(
            (_when(where, time, cells), dies, _outcome(where, count, cells, dies)))
    if not found:
        raise UsageError(f"{path} has no lots")
    lots = []
    for name, parts in found.items():
        if len({when for when, *_ in parts}) > 1:
            raise UsageError(f"{path}: lot '{name}' has more than one {time}; give all of its rows the same")
        outcome = tuple(value for *_, value in parts)
        lots.append(Lot(name, parts[0][0], tuple(dies for _, dies, _ in parts), outcome if count == "defects" else None,
                        None if count == "defects" else outcome))
    made = Lots(tuple(sorted(lots, key=lambda lot: lot.when) if sort else lots), time == "date")
    for before, after in pairwise(made.lots):
        if after.when < before.when:
            raise UsageError(f"{path}: time goes backwards: lot '{after.name}' ({made.at(after.when)}) stands after "
                             f"lot '{before.name}' ({made.at(before.when)}); put the right {time}, or bring the lots "
                             "into order with --sort")
    return made


def _columns(path: Path, names: Sequence[str]) -> tuple[str, str]:
    times, counts = [n for n in TIMES if n in names], [n for n in COUNTS if n in names]
    if len(times) != 1 or len(counts) != 1 or "dies" not in names:
        raise UsageError(f"{path} has the columns {', '.join(names) or 'none'}; it needs lot, one of "
                         f"{' and '.join(TIMES)}, dies, and one of {', '.join(COUNTS)}")
    return times[0], counts[0]


def _when(where: str, column: str, cells: Mapping[str, str]) -> float:
    text = cells.get(column, "")
    try:
        if column == "order":
            when = float(text)
            if math.isfinite(when):
                return when
            raise ValueError
        return (datetime.fromisoformat(text).replace(tzinfo=None) - EPOCH) / timedelta(days=1)
    except ValueError:
        legal = "a number" if column == "order" else "a date such as 2026-03-31"
        raise UsageError(f"{where}: the {column} '{text}' is not {legal}") from None


def _count(where: str, column: str, cells: Mapping[str, str], least: int = 0) -> int:
    text = cells.get(column, "")
    try:
        value = float(text)
        if value == int(value) and value >= least:
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"{where}: {column} are '{text}'; give a whole number from {least} up")


def _outcome(where: str, column: str, cells: Mapping[str, str], dies: int) -> int:
    if column != "yield":
        value = _count(where, column, cells)
        if column == "good" and value > dies:
            raise UsageError(f"{where}: {value} good dies of {dies}")
        return value
    text = cells.get("yield", "")
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        advice = f"; {share:g} % are {share / 100:g}" if 1 < share <= 100 else ""
        raise UsageError(f"{where}: the yield '{text}' is no share from 0 to 1{advice}")
    return round(share * dies)
