"""The numbers of a device file: each says its value, unit, origin and source, and is possible."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from archfab.core import UsageError

ORIGINS = ("measured", "calibrated", "simulated", "analytic")
UNITS = {"gmacs": "GMAC/s", "gb_s": "GB/s", "us": "us", "ms": "ms", "w": "W", "mj": "mJ", "kb": "KiB",
         "utilisation": "share of peak", "saturation": "positions"}
"""The unit of a number by the end of its name, or by the table in which it stands."""
OTHERS = {"GMAC/s": {"GFLOPS": 0.5, "GFLOP/s": 0.5, "TFLOPS": 500.0, "TOPS": 500.0, "GOPS": 0.5, "TMAC/s": 1000.0},
          "GB/s": {"MB/s": 1e-3, "GiB/s": 1.073741824, "Gbit/s": 0.125}, "us": {"ms": 1e3, "ns": 1e-3, "s": 1e6},
          "W": {"mW": 1e-3}, "ms": {"us": 1e-3, "s": 1e3}, "mJ": {"uJ": 1e-3, "J": 1e3},
          "KiB": {"MiB": 1024.0, "B": 1 / 1024, "kB": 1000 / 1024, "KB": 1000 / 1024, "MB": 1e6 / 1024},
          "share of peak": {"%": 0.01, "percent": 0.01}}
"""What to multiply a number in another unit by, for the message that refuses it."""


def unit_of(key: str) -> str | None:
    """The unit that a number has to be in; None for counts and for factors."""
    table, _, name = key.rpartition(".")
    if table == "error":
        return None
    return next((unit for end, unit in UNITS.items() if table == end or name.endswith("_" + end)), None)


def check(device: str, key: str, entry: Any, positive: bool = False) -> None:
    """One number of a device: its value is a number from 0 up (or above 0), in the unit that its name says.

    :raises UsageError: says which number of which device is wrong, and what it should be.
    """
    if not isinstance(entry, Mapping) or not {"source", "origin"} <= set(entry):
        raise UsageError(f"device '{device}': {key} needs a value, an origin and a source")
    if entry["origin"] not in ORIGINS:
        raise UsageError(f"device '{device}': {key} has the origin '{entry['origin']}'; legal: {', '.join(ORIGINS)}")
    if not isinstance(entry["source"], str) or not entry["source"].strip():
        raise UsageError(f"device '{device}': {key} has no source; name a document, a fit or an assumption")
    factors = key.startswith("error.")
    values = [entry.get(field) for field in (("low", "high") if factors else ("value",))]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
               for value in values):
        raise UsageError(f"device '{device}': {key} is no number from 0 up: {' to '.join(map(repr, values))}")
    if factors and not entry["low"] <= 1 <= entry["high"]:
        raise UsageError(f"device '{device}': {key} are factors around 1, low to high, "
                         f"not {entry['low']} to {entry['high']}")
    if positive and not values[0]:
        raise UsageError(f"device '{device}': {key} must be above 0")
    check_unit(device, key, entry)


def check_unit(device: str, key: str, entry: Mapping[str, Any]) -> None:
    unit, said = unit_of(key), entry.get("unit")
    if unit is None or said == unit:
        return
    if said is None:
        raise UsageError(f"device '{device}': {key} has no unit; it is to be in {unit}: add unit = \"{unit}\", if "
                         f"{entry.get('value')} is that")
    factor = OTHERS[unit].get(str(said))
    advice = f"; {entry['value']:g} {said} are {entry['value'] * factor:g} {unit}" if factor else ""
    raise UsageError(f"device '{device}': {key} is in '{said}', where {unit} is expected{advice}")


def group(device: str, numbers: Mapping[str, Any], table: str, legal: Sequence[str]) -> dict[str, Any]:
    """The numbers of a table of tables, such as [utilisation.conv], by their full names."""
    entries = numbers.get(table, {})
    if not isinstance(entries, Mapping):
        raise UsageError(f"device '{device}': {table} is a table of numbers, such as [{table}.{legal[0]}]")
    if extra := [key for key in entries if key not in legal]:
        raise UsageError(f"device '{device}': there is no {table}.{extra[0]}; legal: {', '.join(legal)}")
    return {f"{table}.{key}": value for key, value in entries.items()}
