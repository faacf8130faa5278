"""A table in memory: what a strategy sees of an architecture, and what is reported of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from archfab.core import Genotype, Goals, Unknown, UsageError, unknown
from archfab.metrics.pareto import Point, front
from archfab.space import Space
from archfab.tables.rows import Numbers


class Column:
    """One number for each architecture, None where there is none; read from its file when first used."""

    def __init__(self, read: Callable[[], Numbers]) -> None:
        self._read = read

    @cached_property
    def values(self) -> Numbers:
        return self._read()


@dataclass
class Measure:
    """One metric, measured once or several times: on one split, after so many epochs of training."""

    mean: Column | None = None                                   # as the source gives it
    seeds: dict[str, Column] = field(default_factory=dict)

    def value(self, row: int, draw: float | None = None) -> float | None:
        """The mean over seeds, or one of them by a number from 0 to below 1; None where the table has none."""
        given = self.mean.values[row] if self.mean is not None else None
        if draw is None and given is not None:
            return given
        known = [value for column in self.seeds.values() if (value := column.values[row]) is not None]
        if not known:
            return given
        return sum(known) / len(known) if draw is None else known[int(draw * len(known))]


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
    data_sets: tuple[str, ...]
    space: Space
    goals: Goals
    hint_names: tuple[str, ...]                     # costs that are known before a training
    key: Callable[[Genotype], Hashable]             # equal for genotypes of the same network
    rows: Mapping[Hashable, int]                    # by key
    genotypes: Sequence[Genotype]
    costs: dict[str, Column] = field(default_factory=dict)
    scores: dict[str, dict[tuple[str, float], Measure]] = field(default_factory=dict)   # name -> (split, epochs)
    seconds: dict[float, Measure] = field(default_factory=dict)                         # training time by epochs
    _reported: dict[str, Numbers] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every name that may be an objective or a limit."""
        return (*self.scores, *self.costs)

    @cached_property
    def epochs(self) -> tuple[float, ...]:
        """The lengths of training that there are, the shortest first; 0 where the table does not say."""
        return tuple(sorted({epochs for measures in self.scores.values() for _, epochs in measures})) or (0.0,)

    def require(self, names: Sequence[str]) -> None:
        """Refuses names that the table has no values of."""
        for name in names:
            if name not in self.metrics:
                raise unknown("objective", name, self.metrics, f"(of table {self.name}, data set {self.data_set})")

    def read(self, names: Sequence[str] | None = None) -> None:
        """Reads and checks every column of some metrics, or of all, and the training times."""
        scores = [measure for name in names or self.scores for measure in self.scores.get(name, {}).values()]
        columns = [self.costs[name] for name in names or self.costs if name in self.costs]
        for measure in (*scores, *self.seconds.values()):
            columns += [*([measure.mean] if measure.mean else []), *measure.seeds.values()]
        for column in columns:
            column.values       # noqa: B018 - reads it

    def row(self, genotype: Genotype) -> int:
        """The row of an architecture; raises `Unknown` where the table lacks it."""
        found = self.rows.get(self.key(genotype))
        if found is None:
            raise Unknown(f"table {self.name} has no row for this architecture")
        return found

    def see(self, genotype: Genotype, rng: random.Random | None = None, epochs: float | None = None,
            names: Sequence[str] | None = None) -> dict[str, float]:
        """What a search sees: validation scores of one seed after at most `epochs`, and the costs.

        Without `rng` there is no noise: after the full training the reported value, else the mean over seeds.
        """
        row, draw = self.row(genotype), rng.random() if rng is not None else None
        return self._known({name: self._seen(name, row, draw, epochs) for name in names or self.metrics}, bool(names))

    def truth(self, genotype: Genotype, names: Sequence[str] | None = None) -> dict[str, float]:
        """What is reported: the mean over seeds on test data after the full training, and the costs."""
        row = self.row(genotype)
        return self._known({name: self.reported(name)[row] for name in names or self.metrics}, bool(names))

    def expected(self, genotype: Genotype) -> dict[str, float]:
        """What a search sees on average: validation scores after the full training as the mean over seeds, and
        the costs."""
        row = self.row(genotype)
        known = {name: self.scores[name][splits[0][0], splits[0][1][-1]].value(row) for name, splits in
                 self._lengths.items()}
        return self._known({**known, **{name: column.values[row] for name, column in self.costs.items()}}, False)

    def hints(self, genotype: Genotype) -> dict[str, float]:
        """The figures that can be had without a training, as far as the table has them."""
        row = self.rows.get(self.key(genotype))
        if row is None:
            return {}
        return {name: value for name in self.hint_names if (value := self.costs[name].values[row]) is not None}

    def trained(self, epochs: float | None = None) -> float:
        """How long a network is really trained of which at most so many epochs are asked for."""
        return nearest(self.epochs, epochs)

    def spent(self, genotype: Genotype, epochs: float | None = None) -> float | None:
        """Simulated seconds of training, where the table has them; in proportion where it has another length's."""
        if not self.seconds:
            return None
        trained = self.trained(epochs)
        length = nearest(tuple(sorted(self.seconds)), trained)
        seconds = self.seconds[length].value(self.row(genotype))
        return seconds * trained / length if seconds is not None and trained and length else seconds

    def reported(self, name: str) -> Numbers:
        """The reported value of every architecture: on test data, after the longest training."""
        if name not in self._reported:
            if name in self.costs:
                self._reported[name] = self.costs[name].values
            else:
                self.require([name])
                measures = self.scores[name]
                measure = measures[max(measures, key=lambda key: (key[1], key[0] == "test"))]
                self._reported[name] = [measure.value(row) for row in range(len(self.genotypes))]
        return self._reported[name]

    def best(self, name: str, sense: str) -> float:
        """The best reported value in the whole table."""
        known = [value for value in self.reported(name) if value is not None]
        if not known:
            raise UsageError(f"table {self.name} has no value of {name} on {self.data_set}")
        return min(known) if sense == "min" else max(known)

    def points(self, goals: Goals) -> list[Point]:
        """Every architecture's reported goals, as numbers to be made small; those that lack one left out."""
        columns = [(self.reported(name), 1.0 if sense == "min" else -1.0) for name, sense in goals.items()]
        found = []
        for row in range(len(self.genotypes)):
            point = tuple(sign * value for column, sign in columns if (value := column[row]) is not None)
            if len(point) == len(columns):
                found.append(point)
        return found

    def front(self, goals: Goals) -> list[Point]:
        """The exact front of the whole table."""
        points = sorted(set(self.points(goals)))
        return [points[i] for i in front(points)]

    @cached_property
    def _lengths(self) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
        """For each score the splits that a search may see, the better one first, with their lengths of training."""
        return {name: [(split, lengths) for split in ("val", "test")
                       if (lengths := tuple(sorted(length for part, length in measures if part == split)))]
                for name, measures in self.scores.items()}

    def _seen(self, name: str, row: int, draw: float | None, epochs: float | None) -> float | None:
        if name in self.costs:
            return self.costs[name].values[row]
        if name not in self.scores:
            self.require([name])
        split, lengths = self._lengths[name][0]
        length = nearest(lengths, epochs)
        if draw is None and length == self.epochs[-1]:
            return self.reported(name)[row]
        return self.scores[name][split, length].value(row, draw)

    def _known(self, values: Mapping[str, float | None], all_of_them: bool) -> dict[str, float]:
        """The values that there are; raises where one that was asked for is missing."""
        known = {name: value for name, value in values.items() if value is not None}
        if all_of_them and len(known) < len(values):
            lacking = next(name for name in values if name not in known)
            raise Unknown(f"table {self.name} has no {lacking} of this architecture on {self.data_set}")
        return known


def nearest(lengths: Sequence[float], epochs: float | None) -> float:
    """The longest training within so many epochs; the shortest there is where none is."""
    if epochs is None:
        return lengths[-1]
    within = lengths[0]
    for length in lengths:
        if length <= epochs * (1 + 1e-9):
            within = length
    return within
