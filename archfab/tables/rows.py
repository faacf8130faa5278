"""Rows of CSV, CSV.gz and Parquet files, every cell checked: an error names the file, the row and what is legal."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from archfab.core import UsageError

FORMATS = (".csv", ".csv.gz", ".parquet")

Numbers = list[float | None]        # None where a cell is empty


class Sheet:
    """One file as columns of text. Row 1 is the header, as in a spreadsheet; the others are read when needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = [name.strip() for name in next(read_rows(path, header=True), [])]
        self.numeric = numeric_columns(path) if path.suffix == ".parquet" else frozenset()
        if not self.header:
            raise UsageError(f"{path} is empty; a table begins with a row of column names")
        if doubled := next((name for name in self.header if self.header.count(name) > 1), None):
            raise UsageError(f"{path}, row 1: two columns are named '{doubled}'; every column has a name of its own")

    @cached_property
    def rows(self) -> list[list[str]]:
        """Every row below the header."""
        rows = list(islice(read_rows(self.path), 1, None))
        while rows and not rows[-1]:                    # empty lines at the end
            rows.pop()
        width = len(self.header)
        for i, row in enumerate(rows, 2):
            if len(row) != width:
                raise UsageError(f"{self.path}, row {i}: {len(row)} cells where the header names {width}")
        return rows

    def texts(self, name: str, by: str = "") -> list[str]:
        """One column as it stands, without blanks around the texts; `by` is what asks for it, for errors."""
        place = self._place(name, by)
        return [row[place].strip() for row in self.rows]

    def numbers(self, name: str, least: float = -math.inf) -> Numbers:
        """One column as finite numbers, none below `least`; None where a cell is empty."""
        place = self._place(name)
        try:
            found = [float(text) if (text := row[place]) else None for row in self.rows]
            if all(value is None or (math.isfinite(value) and value >= least) for value in found) and not any(
                    "_" in row[place] for row in self.rows):
                return found
        except ValueError:
            pass                                        # told below, with its row
        return [self._number(i, name, text, least) for i, text in enumerate(self.texts(name), 2)]

    def _number(self, row: int, name: str, text: str, least: float) -> float | None:
        if not text:
            return None
        value = math.nan
        with suppress(ValueError):
            value = float(text) if "_" not in text else math.nan
        if math.isfinite(value) and value >= least:
            return value
        if math.isfinite(value):
            raise UsageError(f"{self.path}, row {row}, column '{name}': '{text[:40]}' is below {least:g}; legal: a "
                             f"number from {least:g} up, or an empty cell where there is none")
        raise UsageError(f"{self.path}, row {row}, column '{name}': '{text[:40]}' is no finite number; legal: a "
                         "number, or an empty cell where there is none")

    def _place(self, name: str, by: str = "") -> int:
        if name not in self.header:
            raise UsageError(f"{self.path} has no column '{name}'{by and f', which {by} names'}; it has "
                             f"{', '.join(self.header)}")
        return self.header.index(name)


def is_table(path: Path) -> bool:
    return path.is_file() and path.name.endswith(FORMATS)


def read_rows(path: Path, header: bool = False) -> Iterator[list[str]]:
    """The header, then every row, as texts."""
    if path.suffix == ".parquet":
        yield from read_parquet(path, header)
        return
    try:
        open_: Any = gzip.open if path.suffix == ".gz" else open
        with open_(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield from csv.reader(file, strict=True)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a table: {error}") from None


def numeric_columns(path: Path) -> frozenset[str]:
    """The columns of a Parquet file whose type is a number: as text they lack zeros in front."""
    from pyarrow import parquet, types

    def numeric(kind: Any) -> bool:
        kind = kind.value_type if types.is_dictionary(kind) else kind
        return any(is_one(kind) for is_one in (types.is_integer, types.is_floating, types.is_decimal))
    return frozenset(field.name.strip() for field in parquet.read_schema(path) if numeric(field.type))


def read_parquet(path: Path, header: bool = False) -> list[list[str]]:
    """All rows of a Parquet file, or the names of its columns alone."""
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError:
        raise UsageError(f"{path.name} needs pyarrow; install it: pip install 'archfab[parquet]'") from None
    try:
        if header:
            return [list(parquet.read_schema(path).names)]
        data = parquet.read_table(path)
        columns = [column.to_pylist() for column in data.columns]
    except (OSError, ValueError, OverflowError, ArrowException) as error:
        raise UsageError(f"{path} cannot be read as a table: {error}") from None
    return [list(data.column_names),
            *(["" if cell is None else str(cell) for cell in row] for row in zip(*columns, strict=True))]
