"""Measured latencies as a user wrote them down: read from CSV or JSON, every cell checked, nothing guessed.

The latency column says its unit (latency_ms, latency_us, latency_s); all others name the network. Repeats of a network
are averaged, and that is said. What cannot be used is refused with every faulty row named at once.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from archfab.core import UsageError
from archfab.hardware.onboarding.knowledge import NO_LATENCY, UNITS, read_rows

LATENCY = re.compile(r"latency|runtime|time|inference|ms|us|milliseconds|microseconds|seconds|latencies", re.IGNORECASE)
WITH_UNIT = re.compile(r"^(.*_)?(latency|time)_(ms|us|s)$")
SHOWN = 8               # faulty rows that are named
APART = 1.5             # repeats that differ by more are said


@dataclass(frozen=True)
class Measurements:
    """What was measured: one row for each network, repeats averaged."""

    rows: tuple[Mapping[str, str], ...]     # the cells that name the network
    latencies: tuple[float, ...]            # ms
    repeats: tuple[int, ...]
    step: float                             # ms, to which they were rounded
    spread: float | None                    # relative standard deviation of repeats
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    missing: tuple[Mapping[str, str], ...] = ()     # networks whose latency is still empty


def read_measurements(file: str | Path, unit: str | None = None) -> Measurements:
    """The measurements of a CSV file (.csv, .csv.gz) or of a JSON list of objects (.json)."""
    file = Path(file)
    rows = read_objects(file) if file.name.endswith(".json") else read_rows(file)
    if not rows:
        raise UsageError(f"{file} has no measurements; it needs a row of column names, such as idx,latency_ms, and a "
                         "row for each measured network")
    column, scale = latency_column(file, list(rows[0]), unit)
    columns = tuple(name for name in rows[0] if name not in (column, "unit") and not NO_LATENCY.search(name))
    if not columns:
        raise UsageError(f"{file} does not say which networks were measured: it has no column but {column}")
    faults, found, missing = [], [], []
    for i, row in enumerate(rows, 2):
        named = {name: row.get(name, "") for name in columns}
        try:
            value = measured(row.get(column, ""), unit_of(row, scale))
        except ValueError as error:
            faults.append(f"row {i} ({', '.join(filter(None, named.values()))}): {error}")
            continue
        if value is None:
            missing.append(named)
        else:
            found.append((named, *value))
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise UsageError(f"{file}, {column}: " + "; ".join(faults[:SHOWN]) + more
                         + ". A latency is a number above 0; leave the cell empty where nothing was measured. Nothing "
                           "was changed")
    return averaged(found, tuple(missing), columns)


def read_objects(file: Path) -> list[dict[str, str]]:
    """JSON: a list of objects, alone or under "measurements"; a genotype may be an object in it."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is no JSON file: {error}") from None
    rows = data.get("measurements") if isinstance(data, dict) else data
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f'{file} is no list of measurements; write [{{"idx": 4711, "latency_ms": 12.3}}, ...]')
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: text_of(row.get(name)) for name in names} for row in rows]


def text_of(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value)


def latency_column(file: Path, header: Sequence[str], unit: str | None) -> tuple[str, float | None]:
    """The column with the latencies, and the ms in one of its unit; None where each row says its own."""
    if unit is not None and unit not in UNITS:
        raise UsageError(f"--unit is one of {', '.join(UNITS)}, not '{unit}'")
    if doubled := next((name for name in header if header.count(name) > 1), None):
        raise UsageError(f"{file}: two columns are named '{doubled}'")
    known = [name for name in header if WITH_UNIT.match(name)]
    if len(known) > 1:
        raise UsageError(f"{file} has {len(known)} latency columns ({', '.join(known)}): one device at a time; take "
                         "the others out")
    if known:
        named = known[0].rsplit("_", 1)[1]
        if unit is not None and unit != named:
            raise UsageError(f"{file}: the column {known[0]} says {named}, --unit says {unit}; leave one out")
        if "unit" in header:
            raise UsageError(f"{file}: both the column name {known[0]} and the column 'unit' say a unit; leave one out")
        return known[0], UNITS[named]
    bare = [name for name in header if LATENCY.fullmatch(name)]
    if len(bare) == 1 and unit is not None:
        return bare[0], UNITS[unit]
    if len(bare) == 1 and "unit" in header:
        return bare[0], None
    if bare:
        raise UsageError(f"{file}: the column '{bare[0]}' does not say its unit; name it latency_ms, latency_us or "
                         "latency_s, or say --unit ms")
    raise UsageError(f"{file} has no latency column; it has {', '.join(header)}. Name it latency_ms, latency_us or "
                     "latency_s")


def unit_of(row: Mapping[str, str], scale: float | None) -> float:
    if scale is not None:
        return scale
    if row["unit"] not in UNITS:
        raise ValueError(f"unit is one of {', '.join(UNITS)}, not '{row['unit']}'")
    return UNITS[row["unit"]]


def measured(text: str, scale: float) -> tuple[float, float] | None:
    """A latency and the step that it was rounded to, both in ms; None for an empty cell."""
    if not text:
        return None
    try:
        written = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"'{text}' is no number") from None
    value = float(written) * scale if written.is_finite() else math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"{text} is no latency")
    exponent = written.normalize().as_tuple().exponent
    return value, 10.0 ** min(int(exponent), 0) * scale


def averaged(found: Sequence[tuple[Mapping[str, str], float, float]], missing: tuple[Mapping[str, str], ...],
             columns: tuple[str, ...]) -> Measurements:
    """Repeats of a network as their mean."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for named, value, _ in found:
        groups.setdefault(tuple(named.values()), []).append(value)
    notes = []
    repeated = {key: values for key, values in groups.items() if len(values) > 1}
    spread = None
    if repeated:
        notes.append(f"{len(repeated)} networks were measured several times: the means are used")
        squares = sum((value / (sum(values) / len(values)) - 1) ** 2
                      for values in repeated.values() for value in values)
        spread = math.sqrt(squares / sum(len(values) - 1 for values in repeated.values()))
        notes += [f"{', '.join(key)}: the repeats are {min(values):.4g} to {max(values):.4g} ms, far apart"
                  for key, values in repeated.items() if max(values) > APART * min(values)]
    if missing:
        notes.append(f"{len(missing)} networks have no latency yet: left out")
    step = min((step for _, _, step in found), default=0.0)
    return Measurements(tuple(dict(zip(columns, key, strict=True)) for key in groups),
                        tuple(sum(values) / len(values) for values in groups.values()),
                        tuple(len(values) for values in groups.values()), step, spread, columns, tuple(notes), missing)
