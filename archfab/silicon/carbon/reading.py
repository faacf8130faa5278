"""Files a person writes: TOML with tables of known keys, numbers that are numbers, and errors that say where."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archfab.core import UsageError, unknown


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """A TOML file.

    :raises UsageError: where it cannot be read.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{what} {path} cannot be read: {error}") from None

MOST = 1e18             # of anything that is counted


class Entry:
    """One table of such a file: asked for its keys one by one, so that what was never asked for can be refused."""

    def __init__(self, where: str, data: Any, legal: Sequence[str]) -> None:
        if not isinstance(data, Mapping):
            raise UsageError(f"{where} is a table of {', '.join(legal)}, not {data!r}")
        if extra := sorted(set(data) - set(legal)):
            raise unknown(f"key of {where}", extra[0], legal)
        self.where, self.data = where, data

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def text(self, key: str, default: str | None = None) -> str:
        found = self.data.get(key, default)
        if found is None:
            raise UsageError(f"{self.where} has no {key}")
        if not isinstance(found, str) or not (found.strip() or key not in self.data):
            raise UsageError(f"{self.where}: {key} is {found!r}; it is a text")
        return found.strip()

    def number(self, key: str, default: float | None = None, low: float = 0.0, high: float = MOST,
               above: bool = False, why: str = "") -> float:
        """A number from `low` (or above it) to `high`."""
        found = self.data.get(key, default)
        if found is None:
            raise UsageError(f"{self.where} has no {key}")
        legal = f"a number {'above' if above else 'from'} {low:g}{f' to {high:g}' if high < MOST else ' up'}"
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            raise UsageError(f"{self.where}: {key} is {found!r}; it is {legal}")
        if not low <= found <= high or (above and found == low):
            raise UsageError(f"{self.where}: {key} is {found:g}; it is {legal}{f'. {why}' if why else ''}")
        return float(found)

    def whole(self, key: str, low: int, high: int) -> int:
        found = self.data.get(key)
        if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
            raise UsageError(f"{self.where}: {key} is {found!r}; it is a whole number from {low} to {high}")
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        found = self.data.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, str) and each.strip() for each in found):
            raise UsageError(f"{self.where}: {key} is {found!r}; it is a list of texts")
        return tuple(each.strip() for each in found)

    def tables(self, key: str) -> list[Any]:
        found = self.data.get(key, [])
        if not isinstance(found, list):
            raise UsageError(f"{self.where}: {key} is a list of tables, each written [[{key}]]")
        return found
