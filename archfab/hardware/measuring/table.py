"""Tables of what kernels take on a device: additive, one entry for each kernel and shape, or for several in a row."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from archfab.core import UsageError
from archfab.hardware.kernels import BATCH_NORMS, Kernel
from archfab.hardware.workload import Workload

UNITS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
"""Milliseconds in one."""
ALIKE = {"Conv": "convolution", "FusedConv": "convolution", "Relu": "relu", "relu6": "clip", "hardtanh": "clip",
         "clamp": "clip", "Clip": "clip", "HardSwish": "hardswish", "HardSigmoid": "hardsigmoid", "Sigmoid": "sigmoid",
         "Tanh": "tanh", "Gelu": "gelu", "Add": "add", "Mul": "mul", "Sub": "sub", "Div": "div", "Gemm": "addmm",
         "MatMul": "mm", "max_pool2d_with_indices": "max_pool", "MaxPool": "max_pool", "avg_pool2d": "avg_pool",
         "AveragePool": "avg_pool", "GlobalAveragePool": "mean", "ReduceMean": "mean", "_adaptive_avg_pool2d": "mean",
         "adaptive_avg_pool2d": "mean", "Concat": "cat", "_softmax": "softmax", "Softmax": "softmax",
         **dict.fromkeys(BATCH_NORMS, "batch_norm"), "native_layer_norm": "layer_norm",
         "LayerNormalization": "layer_norm"}
"""Names of torch and of ONNX for one thing."""


@dataclass(frozen=True, order=True)
class Key:
    """What tells kernels apart in a table; sizes as text, such as 1x16x32x32, or 512+512 elements for two inputs."""

    kind: str
    operators: str          # fused ones joined by +; batch norms, which are folded into weights, left out
    detail: str             # kernel/stride, groups and dilation
    inputs: str             # elements of each activation that is read
    weights: str            # elements of each parameter but for single numbers, such as the bounds of a clip
    output: str             # shape

    def __str__(self) -> str:
        return " ".join(part for part in (self.operators, self.detail, self.output) if part)


COLUMNS = tuple(each.name for each in fields(Key))
Entry = tuple[Key, ...]


@dataclass(frozen=True)
class Table:
    """Milliseconds of kernels, and of runs of kernels that were measured as one."""

    entries: Mapping[Entry, float]

    @cached_property
    def starting(self) -> Mapping[Key, Sequence[Entry]]:
        """The entries by their first kernel, the longest first."""
        found: dict[Key, list[Entry]] = {}
        for entry in sorted(self.entries, key=len, reverse=True):
            found.setdefault(entry[0], []).append(entry)
        return found

    def match(self, keys: Sequence[Key]) -> list[tuple[int, Entry, float | None]]:
        """The kernels in order as entries of the table: where each starts, what it covers, and its milliseconds; None
        for a kernel that is not listed. The longest entry that fits is taken."""
        found: list[tuple[int, Entry, float | None]] = []
        at = 0
        while at < len(keys):
            fits = next((entry for entry in self.starting.get(keys[at], ())
                         if tuple(keys[at:at + len(entry)]) == entry), None)
            found.append((at, fits or (keys[at],), self.entries[fits] if fits else None))
            at += len(fits or (0,))
        return found


def key_of(kernel: Kernel, workload: Workload) -> Key:
    """The key of a kernel of a workload; equal whether it was traced from torch or read from an ONNX file."""
    names = [name for i, name in enumerate(kernel.names) if not (i and name in BATCH_NORMS)]
    sizes = [str(workload.buffers[b].elements) for b in kernel.reads]
    weights = [str(workload.buffers[b].elements) for b in kernel.weights if workload.buffers[b].elements > 1]
    return Key(kernel.kind, "+".join(ALIKE.get(name, name) for name in names), detail_of(kernel), "+".join(sizes),
               "+".join(weights), "x".join(map(str, kernel.shape)))


def detail_of(kernel: Kernel) -> str:
    dilation = kernel.loops[0].dilation if kernel.loops else (1, 1)
    return kernel.detail if dilation == (1, 1) else f"{kernel.detail} dilation {dilation[0]}x{dilation[1]}"


def write_table(path: Path, rows: Iterable[tuple[Entry, float]]) -> None:
    """A table as CSV; an entry of several kernels has their parts side by side with `;` between them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, "latency_ms"))
    for entry, value in rows:
        writer.writerow((*(";".join(getattr(key, name) for key in entry) for name in COLUMNS), f"{value:.6g}"))
    path.write_text(text.getvalue(), encoding="utf-8")


def read_table(path: Path) -> Table:
    """A table from CSV with the columns of `Key` and one of latency_ns, latency_us, latency_ms or latency_s.

    :raises UsageError: names the line, what is wrong with it and what is legal.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the table {path} cannot be read: {error}") from None
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        unit = unit_of(path, reader.fieldnames or ())
        entries: dict[Entry, float] = {}
        for row in reader:
            entry, value = entry_of(path, reader.line_num, row), number(path, reader.line_num, row[f"latency_{unit}"])
            value *= UNITS[unit]
            if entries.setdefault(entry, value) != value:
                raise UsageError(f"{path}, line {reader.line_num}: '{' ; '.join(map(str, entry))}' is listed twice, "
                                 f"with {entries[entry]:g} and {value:g} ms; keep one, or their median")
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV file: {error}") from None
    if not entries:
        raise UsageError(f"the table {path} has no rows")
    return Table(entries)


def read_blocks(path: Path, column: str, unit: str, entry: Callable[[str], Entry | None]) -> Table:
    """A table of whole blocks from a CSV file of somebody else, whose first column names them (as nn-Meter's do).

    :param entry: what a name stands for, as keys of the kernels that the block consists of; None leaves it out.
    :raises UsageError: where the file is no such table, or a name stands for what another one does, with another time.
    """
    if unit not in UNITS:
        raise UsageError(f"no unit '{unit}' of time; legal: {', '.join(UNITS)}")
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the table {path} cannot be read: {error}") from None
    names = list(rows[0]) if rows else []
    if column not in names[1:]:
        raise UsageError(f"{path} has no column '{column}'; it has: {', '.join(names[1:]) or 'no rows'}")
    entries: dict[Entry, float] = {}
    for line, row in enumerate(rows, 2):
        found = entry(row[names[0]])
        if found and row[column]:
            value = number(path, line, row[column]) * UNITS[unit]
            if entries.setdefault(found, value) != value:
                raise UsageError(f"{path}, line {line}: '{row[names[0]]}' stands for the same kernels as another "
                                 "block, which has another latency")
    if not entries:
        raise UsageError(f"no block of {path} stands for kernels, as they were read")
    return Table(entries)


def unit_of(path: Path, names: Sequence[str]) -> str:
    """The unit in which a table tells times: it stands in the column's name."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path} has two columns '{twice[0]}'")
    found = [name.removeprefix("latency_") for name in names if name.startswith("latency_")]
    if lacking := [name for name in COLUMNS if name not in names]:
        raise UsageError(f"{path} has no column '{lacking[0]}'; needed: "
                         f"{', '.join(COLUMNS)}, and one such as latency_ms")
    if len(found) != 1 or found[0] not in UNITS:
        legal = ", ".join(f"latency_{unit}" for unit in UNITS)
        raise UsageError(f"{path} tells its times in {', '.join(f'latency_{each}' for each in found) or 'no column'}; "
                         f"needed is one column whose name says the unit: {legal}")
    return found[0]


def entry_of(path: Path, line: int, row: Mapping[str, str | None]) -> Entry:
    parts = {name: (row[name] or "").split(";") for name in COLUMNS}
    if len({len(each) for each in parts.values()}) > 1 or None in row or None in row.values():
        raise UsageError(f"{path}, line {line}: the columns do not tell the same number of kernels; parts of a column "
                         "are parted by ;")
    entry = tuple(Key(*(parts[name][i].strip() for name in COLUMNS)) for i in range(len(parts["kind"])))
    if not all(key.kind and key.operators for key in entry):
        raise UsageError(f"{path}, line {line}: kind and operators are empty")
    return entry


def number(path: Path, line: int, said: str | None) -> float:
    try:
        value = float(said or "")
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"{path}, line {line}: a latency is a number from 0 up, not '{said}'")
    return value
