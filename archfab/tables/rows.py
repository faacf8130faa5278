"""Rows of CSV, CSV.gz and Parquet files, every cell checked: an error names the file, the row and what is legal."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

from archfab.core import UsageError

FORMATS = (".csv", ".csv.gz", ".parquet")


class Sheet:
    """One file as columns of text. Row 1 is the header, as in a spreadsheet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = read_rows(path)
        self.header = next(rows, [])
        if not self.header:
            raise UsageError(f"{path} is empty; a table begins with a row of column names")
        if doubled := next((name for name in self.header if self.header.count(name) > 1), None):
            raise UsageError(f"{path}, row 1: two columns are named '{doubled}'; every column has a name of its own")
        self.rows = []
        for i, row in enumerate(rows, 2):
            if len(row) != len(self.header):
                raise UsageError(f"{path}, row {i}: {len(row)} cells where the header names {len(self.header)}")
            self.rows.append(row)

    def texts(self, name: str) -> list[str]:
        """One column as it stands."""
        if name not in self.header:
            raise UsageError(f"{self.path} has no column '{name}'; it has {', '.join(self.header)}")
        place = self.header.index(name)
        return [row[place] for row in self.rows]

    def numbers(self, name: str) -> list[float | None]:
        """One column as finite numbers; None where a cell is empty."""
        found: list[float | None] = []
        for i, text in enumerate(self.texts(name), 2):
            if text == "":
                found.append(None)
                continue
            try:
                value = float(text)
                if not math.isfinite(value):
                    raise ValueError
            except ValueError:
                raise UsageError(f"{self.path}, row {i}, column '{name}': '{text[:40]}' is no finite number; legal: a "
                                 "number, or an empty cell where there is none") from None
            found.append(value)
        return found


def header(path: Path) -> list[str]:
    """The column names of a file, without reading the rest of it."""
    return next(read_rows(path), [])


def is_table(path: Path) -> bool:
    return path.is_file() and path.name.endswith(FORMATS)


def read_rows(path: Path) -> Iterator[list[str]]:
    """The header, then every row, as texts."""
    if path.suffix == ".parquet":
        yield from read_parquet(path)
        return
    try:
        open_ = gzip.open if path.suffix == ".gz" else open
        with open_(path, "rt", encoding="utf-8-sig", newline="") as file:
            for row in csv.reader(file):
                if row:
                    yield [cell.strip() for cell in row]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a table: {error}") from None


def read_parquet(path: Path) -> Iterator[list[str]]:
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError:
        raise UsageError(f"{path.name} needs pyarrow; install it: pip install 'archfab[parquet]'") from None
    try:
        data = parquet.read_table(path)
    except (OSError, ArrowException) as error:
        raise UsageError(f"{path} cannot be read as a table: {error}") from None
    yield list(data.column_names)
    columns = [column.to_pylist() for column in data.columns]
    for row in zip(*columns, strict=True):
        yield ["" if cell is None else str(cell) for cell in row]
