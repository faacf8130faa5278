"""A benchmark table as a task: search a space whose every network was trained before; the digits by default."""

from __future__ import annotations

from archfab.core import Budget, Genotype, Metrics, Task, UsageError
from archfab.space import Space
from archfab.tables import read_table
from archfab.tables.reader import sources


class TableTask(Task):
    """The space, goals, scores and costs of a benchmark table; nothing is built or trained.

    :param data: a folder with a table; DIR#DATASET picks a data set, DIR#MAPPING/DATASET a mapping too, DIR1+DIR2
        joins the tables of two folders. The digits that come with archfab without it.
    :param mapping: a shipped mapping by name (archfab table list), or a .toml file.
    :param noise: whether validation scores of one seed are seen, or the figures that are reported.
    """

    name = "table"
    estimator = "table"
    sources = staticmethod(sources)

    def __init__(self, *, data: str | None = None, mapping: str | None = None, noise: bool = True) -> None:
        self.table = read_table(data, mapping=mapping)
        self.table.read()                   # a trial sees every metric, so that a wrong cell is an error now
        self.noise = noise
        self.scores = self.table.metrics
        self.goals = self.table.goals or {self.scores[0]: "min"}

    def space(self, name: str | None = None) -> Space:
        return self.table.space

    def budget(self) -> Budget:
        """The longest training of the table."""
        return Budget(epochs=self.table.epochs[-1] or 1)

    def baseline(self) -> dict[str, Metrics]:
        """The network with the most of each cheap figure (parameter count as a proxy), and the median network."""
        goal = next(iter(self.goals))
        found: dict[str, Metrics] = {}
        for hint in self.table.hint_names:
            values = self.table.costs[hint].values
            known = [row for row, value in enumerate(values) if value is not None]
            if known:
                found[f"most {hint}"] = self._row(max(known, key=lambda row: values[row] or 0))
        reported = self.table.reported(goal)
        ranked = sorted((value, row) for row, value in enumerate(reported) if value is not None)
        if not ranked:
            raise UsageError(f"table {self.table.name} has no value of {goal} on {self.table.data_set}")
        found["median network"] = self._row(ranked[len(ranked) // 2][1])
        return found

    def _row(self, row: int) -> Metrics:
        genotype: Genotype = self.table.genotypes[row]
        reported = self.table.truth(genotype)
        seen = self.table.expected(genotype) if self.noise else reported
        return {**seen, **{f"test_{name}": value for name, value in reported.items() if name in self.table.scores}}


export = TableTask
