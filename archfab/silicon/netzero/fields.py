"""The fields of a plan file: each is there, of its kind, possible, and in the unit that is meant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from archfab.core import UsageError, unknown


class Table:
    """One table of a plan file, read field by field; what nobody asked for is refused in the end."""

    def __init__(self, what: str, data: Any) -> None:
        if not isinstance(data, Mapping):
            raise UsageError(f"{what} is a table of fields, not {data!r}")
        self.what, self.data, self.asked = what, data, set[str]()

    def has(self, key: str) -> bool:
        self.asked.add(key)
        return key in self.data

    def need(self, key: str, meaning: str) -> Any:
        if not self.has(key):
            raise UsageError(f"{self.what} needs '{key}': {meaning}")
        return self.data[key]

    def text(self, key: str, default: str | None = None, legal: Sequence[str] = ()) -> str:
        value = self.need(key, f"one of {', '.join(legal)}" if legal else "a text") if default is None else (
            self.data[key] if self.has(key) else default)
        if not isinstance(value, str) or not value.strip():
            raise UsageError(f"{self.what}: '{key}' is {value!r}; write a text in quotes")
        if legal and value not in legal:
            raise UsageError(f"{self.what}: '{key}' is '{value}'; legal: {', '.join(legal)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.data[key] if self.has(key) else default
        if not isinstance(value, bool):
            raise UsageError(f"{self.what}: '{key}' is {value!r}; write true or false")
        return value

    def number(self, key: str, default: float | None = None, low: float = -math.inf, high: float = math.inf,
               meaning: str = "a number") -> float:
        """A finite number between the bounds."""
        if not self.has(key):
            if default is None:
                raise UsageError(f"{self.what} needs '{key}': {meaning}")
            return default
        return checked(f"{self.what}: '{key}'", self.data[key], low, high, meaning)

    def share(self, key: str, default: float | None = None, low: float = 0.0, high: float = 1.0) -> float:
        """A share, written as 0.4 for 40 %."""
        if not self.has(key):
            if default is None:
                raise UsageError(f"{self.what} needs '{key}': a share, such as 0.4 for 40 %")
            return default
        return share(f"{self.what}: '{key}'", self.data[key], low, high)

    def whole(self, key: str, default: int | None = None, low: int = 0, high: int = 10**9) -> int:
        value = self.number(key, default, low, high, "a whole number")
        if value != int(value):
            raise UsageError(f"{self.what}: '{key}' is {value:g}; write a whole number")
        return int(value)

    def year(self, key: str, default: int | None = None, first: int = 1990, last: int = 2200, why: str = "") -> int:
        """A calendar year within bounds; the message says why they hold."""
        if not self.has(key) and default is not None:
            return default
        value = self.whole(key, None, -10**9)
        if not 1990 <= value <= 2200:
            raise UsageError(f"{self.what}: '{key}' is {value}; write a calendar year such as 2030")
        if not first <= value <= last:
            raise UsageError(f"{self.what}: '{key}' is {value}, but it lies between {first} and {last}{why}")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        value = self.data[key] if self.has(key) else []
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise UsageError(f"{self.what}: '{key}' is a list of names, not {value!r}")
        return tuple(dict.fromkeys(value))

    def scopes(self, key: str = "scopes") -> tuple[int, ...]:
        value = self.data[key] if self.has(key) else [1, 2, 3]
        if not isinstance(value, list) or not value or not all(scope in (1, 2, 3) for scope in value) \
                or any(isinstance(scope, bool) for scope in value):
            raise UsageError(f"{self.what}: '{key}' is {value!r}; write a list of 1, 2 and 3, such as [1, 2]")
        return tuple(sorted(set(value)))

    def done(self) -> None:
        """Refuses what was not asked for, as a field misspelt is a field ignored."""
        if extra := sorted(set(self.data) - self.asked):
            raise unknown(f"field of {self.what}", extra[0], sorted(self.asked))


def checked(what: str, value: Any, low: float, high: float, meaning: str = "a number") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{what} is {value!r}; write {meaning}")
    if value < low:
        raise UsageError(f"{what} is {value:g}; it is {meaning} and not below {low:g}")
    if value > high:
        raise UsageError(f"{what} is {value:g}; it is {meaning} and not above {high:g}")
    return float(value)


def share(what: str, value: Any, low: float = 0.0, high: float = 1.0) -> float:
    """A share between the bounds; one that looks like a percentage is refused with what was meant."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 < abs(value) <= 100:
        raise UsageError(f"{what} is {value:g}; shares are written from 0 to 1: for {value:g} % write {value / 100:g}")
    return checked(what, value, low, high, "a share (0.4 is 40 %)")


def unique(kind: str, names: Sequence[str]) -> None:
    """Refuses the second of two equal names."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"two {kind} are named '{name}'; give each its own name")
        seen.add(name)
