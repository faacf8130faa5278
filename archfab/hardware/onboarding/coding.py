"""Networks of a space that archfab cannot build, by the columns of its table: numbers and their products, labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from archfab.core import UsageError
from archfab.hardware.onboarding.spaces import Networks, number, one_hot
from archfab.hardware.onboarding.terms import PLACE, START, TERMS

MOST = 12               # labels of a column, or a twentieth of the rows: more say too little each


@dataclass(frozen=True)
class Coder:
    """How the key columns of a table become codes: the same for rows that are not in it."""

    keys: tuple[str, ...]
    scales: Mapping[str, float]                     # of number columns, by which they are divided
    labels: Mapping[tuple[str, int], tuple[str, ...]]       # of the pieces of the others
    mean: np.ndarray                                # of the codes

    def names(self) -> tuple[str, ...]:
        keys = list(self.scales)
        found = []
        for i, key in enumerate(keys):
            found += [key, *(f"{key} x {other}" for other in keys[i:])]
        return (*found, *(f"{key} {at} {label}" for (key, at), labels in self.labels.items() for label in labels))

    def networks(self, rows: Sequence[Mapping[str, str]]) -> Networks:
        """Rows as networks whose codes are known and nothing else."""
        bills = np.zeros((1, len(rows), len(TERMS)))
        bills[:, :, PLACE[START]] = 1
        return Networks(tuple(" | ".join(row[key] for key in self.keys) for row in rows), bills,
                        (self.codes(rows) - self.mean)[None], self.names(), priced=False)

    def codes(self, rows: Sequence[Mapping[str, str]]) -> np.ndarray:
        values = {key: np.array([self._number(row, key) for row in rows]) / scale for key, scale in self.scales.items()}
        keys, found = list(values), []
        for i, key in enumerate(keys):
            found += [values[key][:, None], *((values[key] * values[other])[:, None] for other in keys[i:])]
        for (key, at), labels in self.labels.items():
            place = {label: i for i, label in enumerate(labels)}
            found.append(one_hot(np.array([[self._place(row, key, at, place)] for row in rows]), range(len(labels))))
        return np.concatenate(found, axis=1) if found else np.zeros((len(rows), 0))

    def _number(self, row: Mapping[str, str], key: str) -> float:
        value = number(row[key])
        if value is None or not np.isfinite(value):
            raise UsageError(f"{key} is a number in this space, not '{row[key]}'")
        return value

    def _place(self, row: Mapping[str, str], key: str, at: int, place: Mapping[str, int]) -> int:
        pieces = row[key].split()
        label = pieces[at] if at < len(pieces) else ""
        if label not in place:
            raise UsageError(f"{key} is one of {', '.join(place)} at place {at}, not '{label}'")
        return place[label]


def coder_of(rows: Sequence[Mapping[str, str]], keys: Sequence[str]) -> Coder:
    """The coder of a table's rows: columns of numbers, and the pieces of all others, label by label."""
    scales: dict[str, float] = {}
    labels: dict[tuple[str, int], tuple[str, ...]] = {}
    for key in keys:
        values = [number(row[key]) for row in rows]
        if all(value is not None and np.isfinite(value) for value in values):
            scales[key] = max((abs(value) for value in values if value is not None), default=0.0) or 1.0
            continue
        texts = [row[key].split() for row in rows]
        for at in range(max(map(len, texts), default=0)):
            found = sorted({text[at] if at < len(text) else "" for text in texts})
            if 1 < len(found) <= max(MOST, len(rows) // 20):
                labels[key, at] = tuple(found)
    coder = Coder(tuple(keys), scales, labels, np.zeros(0))
    codes = Coder(tuple(keys), scales, labels, np.zeros(1)).codes(rows)
    return replace(coder, mean=codes.mean(0))
