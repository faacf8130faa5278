"""Time series side by side, checked once: what is legal, and what is said where something is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from archfab.core import UsageError
from archfab.metrics.forecasting import naive_error

Array = NDArray[np.float64]
LARGEST = 1e30          # magnitude of a value
FINEST = 1e-6           # moves of a series that float32 still sees, as a share of its largest magnitude


@dataclass(frozen=True)
class Series:
    """Named series of equally spaced values, oldest first; NaN where a value is missing. `test` is what follows."""

    names: tuple[str, ...]
    values: tuple[Array, ...]
    source: str                                 # what they were read from, in words
    test: tuple[Array, ...] | None = None       # the file's test part, for series by series
    group: str = ""                             # of M4, where the data says one
    rows: tuple[str, ...] = field(default=())   # where each series stands in its file, in words
    hint: str = ""                              # what to try where its series look wrong

    def where(self, i: int) -> str:
        """A series as an error names it."""
        place = f", {self.rows[i]}" if self.rows else ""
        return f"{self.source}{place}: series '{self.names[i]}'"


@dataclass(frozen=True)
class Origins:
    """From where a split's forecasts are made: for `number` origins, `stride` steps apart, the last one `after` steps
    before the end of all that is known."""

    number: int
    stride: int
    after: int = 0

    def back(self, horizon: int) -> list[int]:
        """How many known values follow each origin; the oldest origin first."""
        return [self.after + horizon + k * self.stride for k in reversed(range(self.number))]

    def length(self, horizon: int) -> int:
        """How many values follow the oldest origin."""
        return self.back(horizon)[0]


def check_sizes(series: Series) -> None:
    """Refuses values that float32 cannot calculate with."""
    for part in (series.values, series.test or ()):
        for i, values in enumerate(part):
            if len(large := np.flatnonzero(np.abs(values) > LARGEST)):
                what = "step" if part is series.values else "test step"
                raise UsageError(f"{series.where(i)}, {what} {large[0] + 1}: {values[large[0]]:g} is beyond "
                                 f"{LARGEST:g}, which float32 cannot calculate with; change the unit")


def check(series: Series, training: Sequence[Array], horizon: int, season: int, shortest: int) -> None:
    """Refuses series that cannot be learned from.

    :param training: the part of each that a search learns from. :param shortest: the shortest look-back.
    """
    needed = shortest + horizon
    for i, known in enumerate(training):
        where = series.where(i)
        if len(known) < max(needed, season + 1):
            raise UsageError(
                f"{where} has {len(series.values[i])} values, of which {len(known)} are left to learn from when the "
                f"origins of validation and test are set aside; {max(needed, season + 1)} are needed (shortest "
                f"look-back {shortest}, horizon {horizon}, season {season}); leave the series out, or lower --horizon, "
                f"--shortest, --origins or --season{series.hint}")
        seen = known[~np.isnan(known)]
        if not len(seen):
            raise UsageError(f"{where} has no value at all in the part to learn from; leave it out")
        if seen.min() == seen.max():
            raise UsageError(f"{where} is constant ({seen[0]:g}) in the part to learn from, so that its errors have no "
                             "scale; leave it out: its forecast is that value")
        error = naive_error(known, season)
        if not error > 0:
            what = "has no two known values one season apart" if np.isnan(error) else \
                "repeats itself exactly each season"
            raise UsageError(f"{where} {what} (season {season}) in the part to learn from, so that MASE has no scale; "
                             "leave it out, or give another --season")
        if error < FINEST * (largest := np.abs(seen).max()):
            raise UsageError(f"{where} moves by {error:.3g} in the mean (season {season}), with values up to "
                             f"{largest:.3g}, which float32 cannot tell apart; take its level off, or leave it out")


def check_windows(series: Series, full: Sequence[Array], ends: Sequence[int], horizon: int, shortest: int,
                  what: str) -> None:
    """Refuses origins at which nothing is known before or after.

    :param ends: how many values follow each origin. :param what: the split, in words.
    """
    for i, values in enumerate(full):
        for back in ends:
            at = len(values) - back
            if np.isnan(values[max(0, at - shortest):at]).all():
                raise UsageError(f"{series.where(i)}: all {shortest} values before its {what} origin at step {at} are "
                                 "missing; lengthen --shortest, move the origins (--stride, --origins), or leave it "
                                 "out")
            if np.isnan(values[at:at + horizon]).all():
                raise UsageError(f"{series.where(i)}: all {horizon} values to be forecast from its {what} origin at "
                                 f"step {at} are missing; move the origins (--stride, --origins), or leave it out")
