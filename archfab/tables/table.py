"""A table in memory: what a strategy sees of an architecture, and what is reported of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from archfab.core import Genotype, Goals, Label, Unknown, UsageError, unknown
from archfab.metrics.pareto import Point, front
from archfab.space import Space

Column = Sequence[float | None]


@dataclass
class Measure:
    """One metric, measured once or several times: on one split, after so many epochs of training."""

    mean: Column | None = None                                   # as the source gives it
    seeds: dict[str, Column] = field(default_factory=dict)

    def value(self, row: int, rng: random.Random | None = None) -> float | None:
        """The mean over seeds, or with `rng` one of them; None where the table has none."""
        if rng is None and self.mean is not None and self.mean[row] is not None:
            return self.mean[row]
        known = [value for column in self.seeds.values() if (value := column[row]) is not None]
        if not known:
            return self.mean[row] if self.mean is not None else None
        return rng.choice(known) if rng is not None else sum(known) / len(known)


@dataclass
class Table:
    """A benchmark table: architectures of a space, and their scores and costs.

    A trained score has up to two splits and several lengths of training: a search sees validation scores, drawn
    among the seeds (`see`), and test scores are what is reported (`truth`). Without one of the splits the
    other serves for both.
    """

    name: str
    about: str
    data_set: str
    space: Space
    goals: Goals
    hint_names: tuple[str, ...]
    rows: Mapping[tuple[Label, ...], int]
    genotypes: Sequence[Genotype]
    costs: dict[str, Column] = field(default_factory=dict)
    scores: dict[str, dict[tuple[str, float], Measure]] = field(default_factory=dict)   # name -> (split, epochs)
    seconds: dict[float, Measure] = field(default_factory=dict)                         # training time by epochs

    def __post_init__(self) -> None:
        self._names = tuple(self.space.labels)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every name that may be an objective or a limit."""
        return (*self.scores, *self.costs)

    @cached_property
    def epochs(self) -> tuple[float, ...]:
        """The lengths of training that there are, the shortest first."""
        return tuple(sorted({epochs for measures in self.scores.values() for _, epochs in measures}))

    def require(self, names: Sequence[str]) -> None:
        """Refuses names that the table has no values of."""
        for name in names:
            if name not in self.metrics:
                raise unknown("objective", name, self.metrics, f"(of table {self.name}, data set {self.data_set})")

    def row(self, genotype: Genotype) -> int:
        """The row of an architecture; raises `Unknown` where the table lacks it."""
        found = self.rows.get(tuple(genotype.get(name) for name in self._names))
        if found is None:
            raise Unknown(f"table {self.name} has no row for this architecture")
        return found

    def see(self, genotype: Genotype, rng: random.Random | None = None, epochs: float | None = None,
            names: Sequence[str] | None = None) -> dict[str, float]:
        """What a search sees: validation scores of one seed after at most `epochs`, and the costs.

        Without `rng` there is no noise: after the full training the reported value, else the mean over seeds.
        """
        row = self.row(genotype)
        return self._known({name: self._seen(name, row, rng, epochs) for name in names or self.metrics}, bool(names))

    def truth(self, genotype: Genotype, names: Sequence[str] | None = None) -> dict[str, float]:
        """What is reported: the mean over seeds on test data after the full training, and the costs."""
        row = self.row(genotype)
        return self._known({name: self._true(name, row) for name in names or self.metrics}, bool(names))

    def hints(self, genotype: Genotype) -> dict[str, float]:
        """The figures that can be had without a training, as far as the table has them."""
        row = self.rows.get(tuple(genotype.get(name) for name in self._names))
        if row is None:
            return {}
        return {name: value for name in self.hint_names
                if name in self.costs and (value := self.costs[name][row]) is not None}

    def spent(self, genotype: Genotype, epochs: float | None = None) -> float | None:
        """Simulated seconds of training, where the table has them."""
        length = self._length(self.seconds, epochs)
        return None if length is None else self.seconds[length].value(self.row(genotype))

    def best(self, name: str, sense: str) -> float:
        """The best reported value in the whole table."""
        return (min if sense == "min" else max)(value for row in self._every if (value := self._true(name, row))
                                                is not None)

    def points(self, goals: Goals) -> list[Point]:
        """Every architecture's reported goals, as numbers to be made small; those that lack one left out."""
        self.require(tuple(goals))
        found = []
        for row in self._every:
            values = [self._true(name, row) for name in goals]
            if None not in values:
                found.append(tuple(v if sense == "min" else -v for v, sense in zip(values, goals.values(), strict=True)
                                   if v is not None))
        return found

    def front(self, goals: Goals) -> list[Point]:
        """The exact front of the whole table."""
        points = sorted(set(self.points(goals)))
        return [points[i] for i in front(points)]

    @property
    def _every(self) -> Iterator[int]:
        return iter(range(len(self.genotypes)))

    def _seen(self, name: str, row: int, rng: random.Random | None, epochs: float | None) -> float | None:
        if name in self.costs:
            return self.costs[name][row]
        measures = self.scores[name]
        for split in ("val", "test"):
            lengths = {length: measure for (part, length), measure in measures.items() if part == split}
            length = self._length(lengths, epochs)
            if length is not None:
                if rng is None and length == self.epochs[-1]:
                    return self._true(name, row)
                return lengths[length].value(row, rng)
        return None

    def _true(self, name: str, row: int) -> float | None:
        if name in self.costs:
            return self.costs[name][row]
        measures = self.scores[name]
        split, length = max(measures, key=lambda key: (key[1], key[0] == "test"))
        return measures[split, length].value(row)

    def _length(self, lengths: Mapping[float, Measure], epochs: float | None) -> float | None:
        """The longest training within `epochs`; the shortest there is where none is."""
        if not lengths:
            return None
        within = [length for length in lengths if epochs is None or length <= epochs * (1 + 1e-9)]
        return max(within) if within else min(lengths)

    def _known(self, values: Mapping[str, float | None], all_of_them: bool) -> dict[str, float]:
        """The values that there are; raises where one that was asked for is missing."""
        known = {name: value for name, value in values.items() if value is not None}
        if all_of_them and len(known) < len(values):
            lacking = next(name for name in values if name not in known)
            raise Unknown(f"table {self.name} has no {lacking} of this architecture on {self.data_set}")
        return known


def check_covered(space: Space, decisions: Mapping[str, Sequence[Label]], where: str) -> None:
    """Refuses a mapping that does not give every option of every decision of its space."""
    for name, labels in space.labels.items():
        if name not in decisions:
            raise UsageError(f"{where} does not cover its space: no [decisions] entry for '{name}'; it has "
                             f"{', '.join(decisions) or 'none'}")
        if missing := [label for label in labels if label not in decisions[name]]:
            raise UsageError(f"{where} does not cover its space: decision '{name}' has no text for "
                             f"{', '.join(map(repr, missing))}; give each in [labels]")
    if extra := [name for name in decisions if name not in space.labels]:
        raise UsageError(f"{where} maps decisions that its space has not got: {', '.join(extra)}; the space has "
                         f"{', '.join(space.labels)}")
