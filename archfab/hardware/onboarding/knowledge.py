"""What is known of other devices: tables of networks and how long each device takes for them.

A folder of CSV files, plain or gzip. The key columns name the network (see `spaces.KNOWN`; else whatever columns
hold no latency); every latency column is a device, and says its unit in its name or in that of the file.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from archfab.core import UsageError
from archfab.hardware.onboarding.coding import Coder, coder_of
from archfab.hardware.onboarding.spaces import BUNDLED, KNOWN, Networks, number

UNITS = {"ms": 1.0, "us": 1e-3, "s": 1e3}
"""Milliseconds in one of them."""
NO_LATENCY = re.compile(r"(_|^)(std|stddev|deviation|energy|mj|arithmetic_intensity)(_|$)")
LEAST = 20              # networks of a table, for a device to be learned from


@dataclass(frozen=True)
class Table:
    """Networks of one space, and what they take on each device."""

    space: str                              # of `spaces.KNOWN`, else the key columns
    keys: tuple[str, ...]                   # the columns that name a network
    networks: Networks
    latencies: Mapping[str, np.ndarray]     # ms by device; nan where it was not measured
    excluded: tuple[str, ...]               # keys of networks without a path from input to output
    sources: tuple[str, ...]                # files
    coder: Coder | None = None              # of a space that is none of `spaces.KNOWN`

    def described(self, rows: Sequence[Mapping[str, str]]) -> tuple[Networks, np.ndarray]:
        """Rows as networks of this space, and which of them have no path from input to output."""
        return described(self.space, rows, self.coder)

    @cached_property
    def place(self) -> Mapping[str, int]:
        return {key: i for i, key in enumerate(self.networks.keys)}


def read_knowledge(folders: Sequence[str | Path] = ()) -> list[Table]:
    """The tables of some folders or files; without any, what is bundled."""
    if not folders:
        return list(bundled())
    files = [file for folder in folders for file in files_of(Path(folder))]
    tables = tables_of(files)
    if not any(table.latencies for table in tables):
        raise UsageError(f"no latency table among {', '.join(map(str, folders))}: a table is a CSV file (or .csv.gz) "
                         "with a column for each device whose name ends in _ms, _us or _s, or a file named "
                         "..._latency_ms.csv, and columns that name the network: "
                         + "; ".join(f"{', '.join(keys)} ({name})" for name, (_, keys) in KNOWN.items()))
    return tables


@cache
def bundled() -> tuple[Table, ...]:
    """A sample of three public spaces on 34 device settings (`bundled/README.md`)."""
    return tuple(tables_of(sorted(BUNDLED.glob("*_latency_ms.csv.gz"))))


def files_of(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} with knowledge of other devices")
    return sorted(path for path in folder.iterdir() if path.name.endswith((".csv", ".csv.gz")))


def tables_of(files: Iterable[Path]) -> list[Table]:
    """One table for each space that the files hold."""
    spaces: dict[tuple[str, tuple[str, ...]], list[tuple[Path, list[dict[str, str]], dict[str, float]]]] = {}
    for file in files:
        rows = read_rows(file)
        devices = latency_columns(file, list(rows[0])) if rows else {}
        if devices:
            spaces.setdefault(space_of(list(rows[0]), devices), []).append((file, rows, devices))
    return [merged(name, keys, parts) for (name, keys), parts in spaces.items()]


def read_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file as text by column."""
    try:
        content = file.read_bytes()
        text = (gzip.decompress(content) if file.name.endswith(".gz") else content).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    except (UnicodeDecodeError, EOFError, zlib.error) as error:
        raise UsageError(f"{file} is no CSV file: {error}") from None
    lines = [line for line in csv.reader(text.splitlines()) if line and not line[0].startswith("#")]
    if not lines:
        return []
    header = [name.strip() for name in lines[0]]
    for i, line in enumerate(lines[1:], 2):
        if len(line) != len(header):
            raise UsageError(f"{file}, row {i}: {len(line)} cells where the header names {len(header)}")
    return [{name: cell.strip() for name, cell in zip(header, line, strict=True)} for line in lines[1:]]


def latency_columns(file: Path, header: Sequence[str]) -> dict[str, float]:
    """Columns that hold latencies, and the milliseconds in one of their unit; none where the file has no such."""
    named = re.search(r"latency_(ms|us|s)$", file.name.removesuffix(".gz").removesuffix(".csv"))
    candidates = [name for name in header if not NO_LATENCY.search(name)]
    found = {name: UNITS[unit[1]] for name in candidates if (unit := re.search(r"_(ms|us|s)$", name))}
    if "eyeriss_arithmetic_intensity" in header:            # HW-NAS-Bench, whose latencies are in ms
        found.update({name: 1.0 for name in candidates if name.endswith("_latency")})
    if "decoder_arbitrary_ende_attn_avg" in header:         # HAT, whose latencies are in ms
        found.update({name: 1.0 for name in candidates if name.startswith("latency_mean")})
    if found or not named:
        return found
    keys = {key for _, columns in KNOWN.values() for key in columns}
    return {name: UNITS[named[1]] for name in candidates if name not in keys}


def space_of(header: Sequence[str], devices: Mapping[str, float]) -> tuple[str, tuple[str, ...]]:
    """The space that a table is of, and the columns that name a network."""
    for name in ("ofa", "fbnet", "nb201"):
        keys = KNOWN[name][1]
        if set(keys) <= set(header):
            return name, keys
    keys = tuple(name for name in header if name not in devices and not NO_LATENCY.search(name))
    return ", ".join(keys), keys


def merged(space: str, keys: tuple[str, ...],
           parts: Sequence[tuple[Path, list[dict[str, str]], dict[str, float]]]) -> Table:
    """The files of one space as one table; a network is the same where its keys are."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for file, found, _ in parts:
        for i, row in enumerate(found, 2):
            if missing := [key for key in keys if not row.get(key)]:
                raise UsageError(f"{file}, row {i}: no {missing[0]}")
            rows.setdefault(tuple(row[key] for key in keys), row)
    coder = None if space in KNOWN else coder_of(list(rows.values()), keys)
    networks, dead = described(space, list(rows.values()), coder)
    alive = np.flatnonzero(~dead)
    place = {key: i for i, key in enumerate(rows)}
    latencies: dict[str, np.ndarray] = {}
    for file, found, devices in parts:
        for column, scale in devices.items():
            name = device_name(file, column, latencies)
            values = np.full(len(rows), math.nan)
            for i, row in enumerate(found, 2):
                at = place[tuple(row[key] for key in keys)]
                values[at] = latency(row[column], scale, f"{file}, row {i}, {column}")
            latencies[name] = values[alive]
    return Table(space, keys, networks.take(alive), latencies,
                 tuple(networks.keys[i] for i in np.flatnonzero(dead)), tuple(file.name for file, _, _ in parts),
                 coder)


def described(space: str, rows: Sequence[Mapping[str, str]], coder: Coder | None) -> tuple[Networks, np.ndarray]:
    """Rows as networks of a space, and which of them have no path from input to output."""
    if coder is None:
        return KNOWN[space][0](rows)
    return coder.networks(rows), np.zeros(len(rows), bool)


def latency(text: str, scale: float, where: str) -> float:
    """Milliseconds; nan for an empty cell, a failed measurement."""
    if not text:
        return math.nan
    value = number(text)
    if value is None or not math.isfinite(value) or (value <= 0 and value != -1):
        raise UsageError(f"{where}: '{text}' is no latency; write a number above 0, or nothing where there is none")
    return value * scale if value > 0 else math.nan


def device_name(file: Path, column: str, taken: Mapping[str, np.ndarray]) -> str:
    """A column's name without unit; with what sets the file apart, where another file has the same."""
    name = re.sub(r"_latency(_(ms|us|s))?$|_(ms|us|s)$|^latency_mean_", "", column) or "device"
    stem = file.name.removesuffix(".gz").removesuffix(".csv")
    if "latency_mean" in column:
        return f"{stem} {name}"
    tag = re.search(r"cifar\d+|imagenet\w*", stem)
    name = f"{name} ({tag[0]})" if tag else name
    return name if name not in taken else f"{name} ({stem})"
