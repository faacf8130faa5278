"""Reads event sequences: CSV or Parquet tables of (sequence, time, type), JSON lines, or a folder of them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Row
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.tasks.events.data import Events, Sequence, split

COLUMNS = {"sequence": ("sequence", "sequence_id", "seq", "seq_id", "id"), "time": ("time", "times", "t", "timestamp"),
           "type": ("type", "k", "mark", "event", "event_type", "kind"), "start": ("start",), "end": ("end",)}
"""The names that a column may have, in any case; `start` and `end` of the window are optional."""

PARTS = {"train": ("train",), "validation": ("dev", "validation", "valid", "val"), "test": ("test",)}
LARGEST = 2.0**53   # up to which whole numbers are exact
ENDINGS = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")


@dataclass
class Listed:
    """A sequence as a file lists it: its name, times, labels of types, the window where it is said, and for each event
    where it stands."""

    name: str
    times: list[float] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    window: tuple[float | None, float | None] = (None, None)


def read_events(data: str, start: float | None = None, end: float | None = None, types: str = "",
                duplicates: str = "refuse") -> Events:
    """All parts of a data set.

    :param data: a folder with files train, test and, if there is one, dev (or validation, valid, val), or one file,
        which is split. :param start: :param end: the window of sequences that say none; else from the first event to
        the last. :param types: names of types, with commas between; else those of the training file.
    :param duplicates: what two equal rows of a table are: `refuse` or `keep` (two events).
    :raises UsageError: with file and line.
    """
    path = Path(data)
    if path.is_dir():
        files = {name: part_file(path, names) for name, names in PARTS.items()}
        if not files["train"] or not files["test"]:
            raise UsageError(f"{path} has no {'test' if files['train'] else 'train'} file; a folder of events has the "
                             f"files train, test and, if you like, dev; their endings: {', '.join(ENDINGS)}")
    else:
        files = {"train": path}
    listed = {name: list_file(file, duplicates) for name, file in files.items() if file}
    names = named_types(types) or label_order(label for each in listed["train"] for label in each.labels)
    found = {name: [sequence_of(each, names, start, end) for each in parts] for name, parts in listed.items()}
    events = [sequence for parts in found.values() for sequence in parts]
    if not path.is_dir():
        found = split(found["train"])
    elif "validation" not in found:
        parts = split(found["train"], test=0.0)
        found = {**found, "train": parts["train"], "validation": parts["validation"]}
    return Events(found["train"], found["validation"], found["test"], names, described(path, events, len(names)))


def read_file(file: str | Path, names: tuple[str, ...], start: float | None = None,
              end: float | None = None, duplicates: str = "refuse") -> dict[str, Sequence]:
    """The sequences of one file by name, for types that are known.

    :raises UsageError: where two sequences have one name, among others.
    """
    found: dict[str, Sequence] = {}
    for each in list_file(Path(file), duplicates):
        if each.name in found:
            raise UsageError(f"{Path(file).name} has two sequences named '{each.name}'; give each an id of its own")
        found[each.name] = sequence_of(each, names, start, end)
    return found


def described(path: Path, sequences: Row[Sequence], types: int) -> str:
    """Where events come from and what there is of them."""
    ties = sum(int((np.diff(each.times) == 0).sum()) for each in sequences)
    at_once = f", {ties} of them at the same time as the one before" if ties else ""
    return (f"{path}: {sum(map(len, sequences)):,} events of {types} types in {len(sequences):,} sequences{at_once}")


def part_file(folder: Path, names: Row[str]) -> Path | None:
    """The file of one part of a data set; None where there is none."""
    found = [file for name in names for ending in ENDINGS if (file := folder / f"{name}{ending}").exists()]
    if len(found) > 1:
        raise UsageError(f"{folder} has several files for one part: {', '.join(each.name for each in found)}; keep one")
    return found[0] if found else None


def named_types(text: str) -> tuple[str, ...]:
    """Names that were given with commas between."""
    names = tuple(name.strip() for name in text.split(",")) if text else ()
    if len(set(names)) < len(names) or "" in names:
        raise UsageError(f"--types {text} has an empty or repeated name; write each type once, with commas between")
    return names


def label_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The names of all types: whole numbers by size, others by the alphabet."""
    return tuple(sorted(set(labels), key=lambda label: (0, int(label), "") if label.isdecimal() else (1, 0, label)))


def sequence_of(listed: Listed, names: tuple[str, ...], start: float | None, end: float | None) -> Sequence:
    """A listed sequence, checked; errors say the place of the event that is wrong."""
    low, high = (said if said is not None else given for said, given in zip(listed.window, (start, end), strict=True))
    if not listed.times and (low is None or high is None):
        raise UsageError(f"{listed.name} is empty: it has no event, and its window is not known; say from when to when "
                         "it was watched, by the keys `start` and `end` or by --start and --end, or leave it out")
    numbers = {name: i for i, name in enumerate(names)}
    for label, place in zip(listed.labels, listed.places, strict=True):
        if label not in numbers:
            raise UsageError(f"{place}: the type '{label}' is unknown: it is not among the types of the training data "
                             f"({', '.join(names[:20])}); mend the label, or name all types with --types")
    for i, (one, other) in enumerate(zip(listed.times, listed.times[1:], strict=False)):
        if other < one:
            raise UsageError(f"{listed.places[i + 1]}: the time {other:.10g} comes after {one:.10g} in the same "
                             "sequence, a negative gap; sort events by time (equal times are legal)")
    low = low if low is not None else listed.times[0]
    high = high if high is not None else listed.times[-1]
    try:
        return Sequence(np.array(listed.times, np.float64), np.array([numbers[label] for label in listed.labels]), low,
                        high)
    except UsageError as error:
        hint = "; say from when to when it was watched: columns or keys `start` and `end`, or --start and --end" \
            if low == high else ""
        where = f"{listed.places[0]}, sequence {listed.name}" if listed.places else listed.name
        raise UsageError(f"{where}: {error}{hint}") from None


def list_file(path: Path, duplicates: str = "refuse") -> list[Listed]:
    """The sequences of one file, in the order in which they begin in it."""
    if duplicates not in ("refuse", "keep"):
        raise UsageError(f"--duplicates is refuse or keep, not {duplicates}")
    kind = path.name.lower().removesuffix(".gz")
    if not path.exists():
        raise UsageError(f"there are no events at {path}; give a folder, or a file that ends in {', '.join(ENDINGS)}")
    if kind.endswith(".jsonl"):
        found = [from_object(line, place) for line, place in text_lines(path)]
    elif kind.endswith(".csv"):
        found = gathered(csv_rows(path), duplicates)
    elif kind.endswith(".parquet"):
        found = gathered(parquet_rows(path), duplicates)
    else:
        raise UsageError(f"{path.name} is no file of events; the endings are {', '.join(ENDINGS)}")
    if not found:
        raise UsageError(f"{path} has no events")
    return found


# --- JSON lines

def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines that are not blank, each with its place."""
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if line.strip():
            yield line, f"{path.name}, line {number}"


def from_object(line: str, place: str) -> Listed:
    """One line {"t": [...], "k": [...]}, with "start" and "end" where the window is known."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place} is no JSON: {error}") from None
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in "tk"):
        raise UsageError(f'{place} is no sequence; write {{"t": [times], "k": [types]}}')
    if extra := sorted(set(data) - {"t", "k", "start", "end", "id"}):
        raise UsageError(f"{place} has unknown keys: {', '.join(extra)}; known: t, k, start, end, id")
    if len(data["t"]) != len(data["k"]):
        raise UsageError(f"{place} has {len(data['t'])} times and {len(data['k'])} types; each event has one of both")
    places = [f"{place}, event {i + 1}" for i in range(len(data["t"]))]
    return Listed(place if "id" not in data else str(data["id"]),
                  [number(value, where, "time") for value, where in zip(data["t"], places, strict=True)],
                  [label_of(value, where) for value, where in zip(data["k"], places, strict=True)], places,
                  (edge(data.get("start"), place, "start"), edge(data.get("end"), place, "end")))


# --- tables

def csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a CSV file by role, each with its place."""
    reader = csv.reader(io.StringIO(text_of(path), newline=""), strict=True)
    try:
        roles = roles_of(next(reader, []), path)
        for row in reader:
            place = f"{path.name}, line {reader.line_num}"
            if not row:
                continue
            if len(row) <= max(roles.values()):
                raise UsageError(f"{place} has {len(row)} cells, too few")
            yield place, {role: row[i].strip() for role, i in roles.items()}
    except csv.Error as error:
        raise UsageError(f"{path.name}, line {reader.line_num} is no CSV: {error}") from None


def parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a Parquet file by role, counted from 1."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError("Parquet files need pyarrow: pip install 'archfab[parquet]'") from None
    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {error}") from None
    roles = roles_of(table.column_names, path)
    columns = {role: table.column(i).to_pylist() for role, i in roles.items()}
    for i in range(table.num_rows):
        yield f"{path.name}, row {i + 1}", {role: column[i] for role, column in columns.items()}


def roles_of(header: Row[str], path: Path) -> dict[str, int]:
    """Where each role stands in a header."""
    names = [name.strip().lstrip("\ufeff").lower() for name in header]
    roles: dict[str, int] = {}
    for role, known in COLUMNS.items():
        found = [i for i, name in enumerate(names) if name in known]
        if len(found) > 1:
            raise UsageError(f"{path.name} has several columns for the {role}: {', '.join(header[i] for i in found)}")
        if found:
            roles[role] = found[0]
        elif role in ("sequence", "time", "type"):
            raise UsageError(f"{path.name} has no column for the {role}: its first line says "
                             f"{', '.join(header) or 'nothing'}; name the column one of: {', '.join(known)}")
    return roles


def gathered(rows: Iterable[tuple[str, dict[str, Any]]], duplicates: str) -> list[Listed]:
    """Rows put together by sequence."""
    found: dict[str, Listed] = {}
    seen: dict[tuple[str, float, str], str] = {}
    for place, row in rows:
        name = label_of(row["sequence"], place, "sequence")
        time, label = number(row["time"], place, "time"), label_of(row["type"], place)
        window = (edge(row.get("start"), place, "start"), edge(row.get("end"), place, "end"))
        if (earlier := seen.setdefault((name, time, label), place)) != place and duplicates == "refuse":
            raise UsageError(f"{place} repeats {earlier}: sequence {name}, time {time:.10g}, type {label}; where both "
                             "happened, say --duplicates keep")
        listed = found.setdefault(name, Listed(name, window=window))
        if listed.window != window:
            raise UsageError(f"{place} gives sequence {name} the window {window}, its first row {listed.window}")
        listed.times.append(time)
        listed.labels.append(label)
        listed.places.append(place)
    return list(found.values())


# --- cells

def number(value: Any, place: str, what: str) -> float:
    """A finite number."""
    try:
        if isinstance(value, bool) or "_" in str(value):
            raise ValueError
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{place}: the {what} {value!r} is no number; dates are to be turned into numbers, such as "
                         "hours since the first") from None
    if not math.isfinite(found):
        raise UsageError(f"{place}: the {what} {value!r} is not finite")
    if abs(found) > LARGEST:
        raise UsageError(f"{place}: the {what} {value!r} is above 2^53, where neighbouring times cannot be told apart; "
                         "subtract the first time, or take a larger unit")
    return found


def edge(value: Any, place: str, what: str) -> float | None:
    """Where a window begins or ends, if that is said."""
    return None if value in (None, "") else number(value, place, what)


def label_of(value: Any, place: str, what: str = "type") -> str:
    """The name of a type or sequence: a text or a whole number; 3.0 is 3."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or str(value).strip() == "":
        raise UsageError(f"{place}: the {what} {value!r} is neither a text nor a whole number")
    return str(value).strip()


def text_of(path: Path) -> str:
    """The text of a file, unpacked if it is packed."""
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.name.lower().endswith(".gz") else raw).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UsageError(f"{path} cannot be read as text: {error}") from None
