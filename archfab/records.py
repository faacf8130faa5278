"""What passes between the parts: plain data, and the errors that say what is wrong with a request or a network."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Literal

Label = str | int | float | bool | None
Genotype = Mapping[str, Label]
Key = frozenset[tuple[str, Label]]
Metrics = Mapping[str, float]
Goals = Mapping[str, Literal["min", "max"]]
Hints = Callable[[Genotype], Metrics]
"""Cheap figures of a network that are known before it is tried, by name: parameters, costs, zero-cost scores."""


class UsageError(Exception):
    """The request is wrong: the message says what was asked, what is legal and what to do (exit code 2)."""


class BuildError(Exception):
    """A network that cannot be made; the message says which part and why."""


class Unknown(Exception):
    """A network of which the estimator knows nothing, so that it is rejected without a trial; the message says why."""


class Diverged(Exception):
    """Training produced numbers that are not finite; the message says when."""


def unknown(kind: str, name: str, known: Sequence[str], hint: str = "") -> UsageError:
    """The error for a name that does not exist: says what is known and the nearest of it."""
    near = get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    guess = f"; did you mean '{near[0]}'?" if near else ""
    listing = ", ".join(sorted(known)) or "none"
    return UsageError(f"no {kind} named '{name}'; known: {listing}{guess}{' ' + hint if hint else ''}")


def canonical(data: Any) -> str:
    """JSON with one spelling: sorted keys, no spaces, only finite numbers."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def identity(data: Any) -> str:
    """A 12-digit id of plain data, the same in every process and on every machine."""
    return hashlib.sha256(canonical(data).encode()).hexdigest()[:12]


def key_of(genotype: Genotype) -> Key:
    """Equal for equal genotypes, whatever the order of their decisions; cheaper than `identity`, for this process."""
    return frozenset(genotype.items())


@dataclass(frozen=True)
class Limit:
    """A bound that a delivered network must keep, such as `memory_kb<=256`."""

    name: str
    sense: Literal["<=", ">="]
    value: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        found = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*(<=|>=)\s*([-+\d.eE]+)\s*", text)
        try:
            assert found and math.isfinite(float(found[3]))
            return cls(found[1], found[2], float(found[3]))  # type: ignore[arg-type]
        except (AssertionError, ValueError):
            raise UsageError(f"'{text}' is no limit; write NAME<=NUMBER or NAME>=NUMBER, e.g. "
                             "'memory_kb<=256' (in quotes, for the shell)") from None

    def excess(self, metrics: Metrics) -> float:
        """By how much of its own size the bound is broken; 0 when it is kept or not yet known."""
        value = metrics.get(self.name)
        if value is None:
            return 0.0
        over = value - self.value if self.sense == "<=" else self.value - value
        return max(0.0, over) / (abs(self.value) or 1.0)

    def __str__(self) -> str:
        value = int(self.value) if self.value == int(self.value) else self.value
        return f"{self.name}{self.sense}{value!r}"


@dataclass(frozen=True, slots=True)
class Trial:
    """One network to try: its number in the run, its decisions, whose proposal it is, and `fidelity`, the share of
    a trial's budget that it gets (above 0, at most 1)."""

    number: int
    genotype: Genotype
    arm: str = "search"
    parent: int | None = None
    fidelity: float = 1.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """One epoch in which weights that networks share are trained: what is taught, as plain data."""

    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a run. `rejected`: outside the limits by its costs, or unknown to the estimator, so never trained.
    `lesson`: shared weights were trained for an epoch. `checked`: a network was trained alone, to see whether shared
    weights rank as that does. `ended`: a phase is over."""

    kind: Literal["asked", "ok", "failed", "rejected", "lesson", "checked", "baseline", "delivered", "ended"]
    trial: Trial | None = None
    metrics: Metrics = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)     # value, origin, low, high by name
    curve: Sequence[Mapping[str, float]] = ()
    note: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """Something to do for a run: try a network, teach shared weights, check a network, deliver one, or compute the
    baselines."""

    kind: Literal["try", "lesson", "check", "deliver", "baseline"]
    trial: Trial | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """One figure of one network on one device, with where it comes from and how far it can be off."""

    value: float
    origin: Literal["measured", "calibrated", "simulated", "analytic", "counted"]
    low: float
    high: float

    @classmethod
    def counted(cls, value: float) -> Cost:
        return cls(value, "counted", value, value)


@dataclass(frozen=True)
class Costs:
    """What one network costs on one device: figures by name, the operators they add up from, the operators that the
    cost model does not know (never counted as free without saying so), and what else the figures rest on."""

    figures: Mapping[str, Cost]
    operators: Sequence[Mapping[str, Any]] = ()
    unknown: Sequence[str] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, dict[str, Any]]:
        return {name: asdict(cost) for name, cost in self.figures.items()}


class Estimate(float):
    """A score with the interval in which its true value lies with 95 % confidence, as the size of the data tells."""

    low: float
    high: float

    def __new__(cls, value: float, low: float, high: float) -> Estimate:
        made = super().__new__(cls, value)
        made.low, made.high = min(low, value), max(high, value)
        return made

    def __getnewargs__(self) -> tuple[float, float, float]:    # type: ignore[override]
        return float(self), self.low, self.high

    @classmethod
    def mean_of(cls, values: Sequence[float], scale: float = 1.0) -> Estimate:
        """The mean of independent figures, and 1.96 of its standard errors to each side."""
        n = len(values)
        mean = math.fsum(values) / n
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / max(1, n - 1))
        half = 1.96 * deviation / math.sqrt(n)
        return cls(mean * scale, (mean - half) * scale, (mean + half) * scale)


@dataclass(frozen=True)
class Port:
    """An input or output of an exported network: its name, and the axes whose length may vary, by name."""

    name: str
    axes: Mapping[int, str] = field(default_factory=lambda: {0: "batch"})


@dataclass(frozen=True)
class Exhibit:
    """Something to look at or to use that comes of a network: a picture, a table, a text."""

    file: str               # its name; the ending says what it is: .svg, .csv, .json, .xyz
    about: str              # what it shows, in one sentence
    content: bytes

    @classmethod
    def table(cls, file: str, about: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Exhibit:
        """Rows as CSV; numbers keep ten digits."""
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([f"{value:.10g}" if isinstance(value, float) else value for value in row] for row in rows)
        return cls(file, about, lines.getvalue().encode())


@dataclass(frozen=True)
class Budget:
    """How long one network may train: whichever of these is set ends it."""

    epochs: float | None = None
    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None and not value > 0:
                raise UsageError(f"a budget of {value} {item.name} is no budget; give a number above 0")

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Budget:
        return cls(**data)

    def scaled(self, share: float) -> Budget:
        """A share of this budget; at least one step."""
        if share == 1:
            return self
        return Budget(epochs=self.epochs and self.epochs * share, seconds=self.seconds and self.seconds * share,
                      steps=self.steps and max(1, round(self.steps * share)))

    def __bool__(self) -> bool:
        return any(getattr(self, item.name) is not None for item in fields(self))


@dataclass(frozen=True)
class Spec:
    """What a run is: everything that decides its result, as plain data, saved with it."""

    task: str                                   # a name, or a path to a .py file
    space: Mapping[str, Any]                    # the declaration as data (Space.data)
    objectives: Goals                           # name -> min or max
    space_from: str | None = None               # the name or file that the space was read from
    task_options: Mapping[str, Any] = field(default_factory=dict)
    strategy: str = "auto"
    strategy_options: Mapping[str, Any] = field(default_factory=dict)
    estimator: str = "training"
    estimator_options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "null"
    limits: tuple[str, ...] = ()
    trials: int | None = 50                     # how many networks are tried; None: until the time is up
    seconds: float | None = None                # bounds the search, not the delivery
    budget: Mapping[str, float] = field(default_factory=dict)       # one trial
    full_budget: Mapping[str, float] = field(default_factory=dict)  # one delivered network
    check: int = 0                              # how many networks are trained alone, to check shared weights
    deliver: int = 3                            # how many members of the front are delivered
    seeds: int = 1                              # trainings of each delivered network
    random: bool = True                         # an equal-budget random search beside the search
    workers: int = 1
    threads: int = 1                            # per worker: results depend on it in the last digits
    seed: int = 0

    @cached_property
    def parsed_limits(self) -> tuple[Limit, ...]:
        return tuple(map(Limit.parse, self.limits))

    def keeps(self, metrics: Metrics) -> bool:
        """Whether a network keeps every limit, as far as its figures are known."""
        return not any(limit.excess(metrics) for limit in self.parsed_limits)

    def point(self, metrics: Metrics) -> tuple[float, ...]:
        """The objectives as numbers to be made small."""
        return tuple(metrics[name] if sense == "min" else -metrics[name] for name, sense in self.objectives.items())

    def plain(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Spec:
        known = {item.name for item in fields(cls)}
        if extra := sorted(set(data) - known):
            raise UsageError(f"this run was written by another version of archfab: it says {', '.join(extra)}")
        return cls(**{**data, "limits": tuple(data.get("limits", ()))})
