"""A mission: what a chip lives through, phase by phase, again and again."""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from archfab.core import UsageError, unknown
from archfab.silicon.aging.conditions import duration, share, temperature, voltage

COLUMNS = ("name", "hours", "share", "vdd_v", "kelvin", "duty", "activity")


@dataclass(frozen=True)
class Phase:
    """A part of a mission's cycle. `duty` is the share of it in which the transistor is under stress: what was given,
    times the activity (the share in which the block works at all). Without either it recovers."""

    name: str
    hours: float
    vdd_v: float
    kelvin: float
    duty: float

    def stresses(self, vth_v: float) -> bool:
        return self.duty > 0 and self.vdd_v > vth_v


@dataclass(frozen=True)
class Mission:
    """Phases that come again in this order."""

    phases: tuple[Phase, ...]

    @property
    def hours(self) -> float:
        return round(math.fsum(phase.hours for phase in self.phases), 9)

    def plain(self) -> list[dict[str, Any]]:
        return [asdict(phase) for phase in self.phases]


def mission_of(rows: Sequence[Mapping[str, Any]], cycle_hours: float, where: str) -> Mission:
    """Phases from rows of plain data, each with its hours or its share of the cycle.

    :raises UsageError: says which phase is wrong, and what is legal.
    """
    if not rows:
        raise UsageError(f"{where} has no phases; each has hours (or share), vdd_v, kelvin and duty")
    phases = []
    for number, row in enumerate(rows, 1):
        name = str(row.get("name") or f"phase {number}")
        at = f"{where}, {name}:"
        for key in row:
            if key not in COLUMNS:
                raise unknown("column", str(key), COLUMNS, f"({where})")

        def figure(key: str, default: float | None = None, row: Mapping[str, Any] = row, at: str = at) -> float:
            given = row.get(key)
            if given is None or given == "":
                if default is None:
                    raise UsageError(f"{at} {key} is missing; legal: {', '.join(COLUMNS)}")
                return default
            try:
                return float("true" if isinstance(given, bool) else given)
            except (TypeError, ValueError, OverflowError):
                raise UsageError(f"{at} {key} is {given!r}, which is no number") from None

        has_hours, has_share = (row.get(key) not in (None, "") for key in ("hours", "share"))
        if has_hours == has_share:
            raise UsageError(f"{at} give either hours or share (of the {cycle_hours:g} hours of a cycle)")
        hours = figure("hours") if has_hours else cycle_hours * float(share(f"{at} share", figure("share")))
        duty = float(share(f"{at} duty", figure("duty"))) * float(share(f"{at} activity", figure("activity", 1.0)))
        phases.append(Phase(name, float(duration(f"{at} hours", hours)), float(voltage(f"{at} vdd_v", figure("vdd_v"))),
                            float(temperature(f"{at} kelvin", figure("kelvin"))), duty))
    shares = [float(row["share"]) for row in rows if row.get("share") not in (None, "")]
    if shares and len(shares) == len(rows) and abs(sum(shares) - 1) > 1e-6:
        raise UsageError(f"{where}: the shares add up to {sum(shares):g}; they have to add up to 1, "
                         "with what is left as a phase of its own (duty 0 recovers)")
    if shares and len(shares) < len(rows):
        raise UsageError(f"{where}: some phases say hours and some say share; give one of them everywhere")
    found = Mission(tuple(phase for phase in phases if phase.hours > 0))
    if not found.phases:
        raise UsageError(f"{where}: every phase has 0 hours")
    return found


def read_mission(path: Path, cycle_hours: float = 24.0) -> Mission:
    """A mission from CSV with a header, or from TOML with `[[phase]]` tables (and `cycle_hours`, for shares).

    :raises UsageError: says what is wrong with the file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"there is no mission file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text: {error}") from None
    if path.suffix == ".toml":
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{path} is no TOML file: {error}") from None
        if extra := sorted(set(data) - {"phase", "cycle_hours"}):
            raise UsageError(f"{path}: unknown {', '.join(extra)}; legal: cycle_hours, [[phase]]")
        rows = data.get("phase", [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UsageError(f"{path}: phases are tables, each begun by [[phase]]")
        hours = data.get("cycle_hours", cycle_hours)
        if isinstance(hours, bool) or not isinstance(hours, int | float):
            raise UsageError(f"{path}: cycle_hours is {hours!r}, which is no number")
        return mission_of(rows, cycle(float(hours)), path.name)
    try:
        table = list(csv.reader((line for line in text.splitlines() if line.strip() and not line.startswith("#")),
                                strict=True))
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV file: {error}") from None
    if not table:
        raise UsageError(f"{path} is empty; legal: a header with some of {', '.join(COLUMNS)}, a row for each phase")
    header = [cell.strip() for cell in table[0]]
    if len(set(header)) < len(header):
        raise UsageError(f"{path}: a column is there twice: {', '.join(header)}")
    for number, row in enumerate(table[1:], 2):
        if len(row) != len(header):
            raise UsageError(f"{path}: row {number} has {len(row)} cells, the header {len(header)}")
    return mission_of([dict(zip(header, map(str.strip, row), strict=True)) for row in table[1:]], cycle(cycle_hours),
                      path.name)


def cycle(hours: float) -> float:
    if not 0 < hours < np.inf:
        raise UsageError(f"a cycle of {hours:g} hours is none; give more than 0")
    return hours
