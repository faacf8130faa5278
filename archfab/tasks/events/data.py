"""Event sequences: what a stream of typed events in continuous time is, how it is checked, cut and split into parts."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Row
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from archfab.core import UsageError

SPLIT_SEED = 0      # the parts stay the same for every run, so that runs can be compared
TEST, VALIDATION = 0.2, 0.15


@dataclass(frozen=True)
class Sequence:
    """Events of several types that were watched over one window of time.

    Times do not decrease. Equal times are legal: such events stand in the order in which they happened, so that a later
    one has the earlier ones in its history, no time ago. An event at the very start of the window opens it: it is given
    (history of all others), not scored, because no time passes before it. All events after it are scored, and so is the
    time to the window's end, in which nothing happened.

    :param times: float64 [n]. :param types: int64 [n], each from 0 up.
    :param start: where the window begins. :param end: where it ends.
    :raises UsageError: with the event that breaks a rule, counted from 1.
    """

    times: np.ndarray
    types: np.ndarray
    start: float
    end: float

    def __post_init__(self) -> None:
        if self.times.ndim != 1 or self.times.shape != self.types.shape:
            raise UsageError(f"{self.times.size} times beside {self.types.size} types; each event has one of both")
        if not (self.start < self.end and np.isfinite(self.end - self.start)):
            raise UsageError(f"a window from {self.start:g} to {self.end:g} has no length: it begins at a number and "
                             "ends at a higher one")
        if (bad := first(~np.isfinite(self.times))) is not None:
            raise UsageError(f"event {bad + 1} has the time {self.times[bad]:g}; times are finite numbers")
        if (bad := first(np.diff(self.times) < 0)) is not None:
            raise UsageError(f"event {bad + 2} at {self.times[bad + 1]:.10g} comes after one at "
                             f"{self.times[bad]:.10g}; events are sorted by time")
        if len(self.times) and not self.start <= self.times[0] <= self.times[-1] <= self.end:
            raise UsageError(f"events from {self.times[0]:.10g} to {self.times[-1]:.10g} are not all inside the window "
                             f"from {self.start:.10g} to {self.end:.10g}")
        if (bad := first(self.types < 0)) is not None:
            raise UsageError(f"event {bad + 1} has the type {self.types[bad]}; types are whole numbers from 0 up")

    def __len__(self) -> int:
        return len(self.times)

    @property
    def given(self) -> int:
        """How many events open the window and are not scored: 0 or 1."""
        return int(len(self.times) > 0 and self.times[0] == self.start)

    @property
    def scored(self) -> int:
        """How many events have a likelihood."""
        return len(self.times) - self.given

    @property
    def length(self) -> float:
        """How long the window is."""
        return self.end - self.start

    def without(self, number: int) -> Sequence:
        """The same window with the events of one type left out."""
        kept = self.types != number
        return replace(self, times=self.times[kept], types=self.types[kept])

    def pieces(self, most: int) -> list[Sequence]:
        """The sequence in pieces of at most `most` scored events, whose windows follow one on the other.

        A piece ends at its last event, which opens the next one: every event is scored once, and no time is lost. Equal
        times stay together, in a piece that is longer if need be.
        """
        found: list[Sequence] = []
        begin, start, n = 0, self.start, len(self)
        while True:
            end = begin + most + int(begin < n and self.times[begin] == start)
            while end < n and self.times[end - 1] in (self.times[end], start):
                end += 1
            if end >= n:
                return [*found, Sequence(self.times[begin:], self.types[begin:], start, self.end)]
            stop = float(self.times[end - 1])
            found.append(Sequence(self.times[begin:end], self.types[begin:end], start, stop))
            begin, start = end - 1, stop


@dataclass(frozen=True)
class Events:
    """Sequences in the three parts of a study, and the names of their types.

    :param types: the name of each type, by its number. :param source: where all of it comes from, in words.
    """

    train: list[Sequence]
    validation: list[Sequence]
    test: list[Sequence]
    types: tuple[str, ...]
    source: str

    @cached_property
    def gap(self) -> float:
        """The mean time from one event to the next in the training part: the scale of time that networks see."""
        time = sum(sequence.length for sequence in self.train)
        return time / max(1, sum(sequence.scored for sequence in self.train))

    def part(self, name: str) -> list[Sequence]:
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


def split(sequences: Row[Sequence], test: float = TEST, validation: float = VALIDATION) -> dict[str, list[Sequence]]:
    """Sequences in parts at random (always the same ones); where they are fewer than ten, each is cut in time instead:
    its beginning trains, the next stretch validates, the end tests.

    :param test: the share of the test part, 0 for none. :param validation: its share of what is left.
    """
    shares = {"train": (1 - test) * (1 - validation), "validation": (1 - test) * validation, "test": test}
    if len(sequences) < 10:
        return cut(sequences, shares)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(sequences))
    aside = round(shares["test"] * len(order))
    held = aside + max(1, round(shares["validation"] * len(order)))
    chosen = {"train": order[held:], "validation": order[aside:held], "test": order[:aside]}
    return {name: [sequences[i] for i in sorted(each)] for name, each in chosen.items()}


def cut(sequences: Iterable[Sequence], shares: dict[str, float]) -> dict[str, list[Sequence]]:
    """Each sequence in stretches that follow one on the other, by number of events."""
    found: dict[str, list[Sequence]] = {name: [] for name in shares}
    for sequence in sequences:
        edges = np.cumsum([0.0, *shares.values()])
        if len(sequence) < 10:
            raise UsageError(f"{len(sequence)} events in a sequence that is to be cut into training, validation and "
                             "test stretches; give 10 sequences or more, or longer ones, or one file for each part")
        for name, low, high in zip(shares, edges[:-1], edges[1:], strict=True):
            if shares[name]:
                try:
                    found[name].append(stretch(sequence, low, high))
                except UsageError as error:
                    raise UsageError(f"the {name} stretch of a sequence that is cut in time: {error}; give 10 "
                                     "sequences or more, or one file for each part") from None
    return found


def stretch(sequence: Sequence, low: float, high: float) -> Sequence:
    """A part of a sequence from one share of its events to another; its first event opens it."""
    n = len(sequence) - 1
    first_one, last = round(low * n), round(high * n)
    start = sequence.start if low == 0 else float(sequence.times[first_one])
    end = sequence.end if high > 1 - 1e-9 else float(sequence.times[last])
    return Sequence(sequence.times[first_one:last + 1], sequence.types[first_one:last + 1], start, end)


def first(broken: np.ndarray) -> int | None:
    """Where something is wrong for the first time."""
    return int(np.argmax(broken)) if broken.any() else None
