"""Looks the scores of a network up in a benchmark table: nothing is built or trained."""

from __future__ import annotations

import random
from functools import cached_property

from archfab.core import Budget, Estimator, Genotype, Metrics, Task, Unknown
from archfab.space import Space
from archfab.tables import Table, read_table
from archfab.tables.reader import sources


class TableEstimator(Estimator):
    """Scores, costs and training seconds of a network as a table has them; what is reported as `test_NAME`.

    A network that the table lacks is rejected with the reason. Where the task's score is `error` and the table
    has `accuracy` alone, the error is what lacks to 1, or to 100 where the table is in percent.

    :param table: as `--data` of the task `table`; without it that task's own, else the digits of archfab.
    :param noise: whether one seed's validation scores are seen, or the figures that are reported.
    """

    isolate = False
    paths = ("table",)
    sources = staticmethod(sources)

    def __init__(self, *, table: str | None = None, noise: bool = True) -> None:
        self.where = table
        self.noise = noise
        if table is not None:
            self.own        # noqa: B018 - reads it, so that a wrong one is an error now

    @cached_property
    def own(self) -> Table:
        return read_table(self.where)

    def estimate(self, task: Task, space: Space, genotype: Genotype, budget: Budget,
                 rng: random.Random) -> tuple[Metrics, list[dict[str, float]]]:
        table = self.of(task)
        if foreign := [name for name in genotype if name not in table.space.labels]:
            raise Unknown(f"table {table.name} knows no decision '{foreign[0]}'; it has "
                          f"{', '.join(table.space.labels)}")
        scores = table.see(genotype, rng if self.noise else None, budget.epochs)
        if missing := [name for name in table.scores if name not in scores]:
            raise Unknown(f"table {table.name} has no {missing[0]} of this architecture on {table.data_set}")
        reported = table.truth(genotype)
        scores.update({f"test_{name}": reported[name] for name in table.scores if name in reported})
        if "error" in task.scores and "error" not in scores and "accuracy" in scores:
            whole = 100 if table.best("accuracy", "max") > 1 else 1
            scores.update({name.replace("accuracy", "error"): 1 - scores[name] / whole
                           for name in ("accuracy", "test_accuracy") if name in scores})
        if (seconds := table.spent(genotype, budget.epochs)) is not None:
            scores["train_seconds"] = seconds
        return scores, []

    def elsewhere(self, task: Task) -> str:
        table = self.of(task)
        return "" if table is getattr(task, "table", None) else f"table {table.name} ({table.data_set})"

    def hints(self, task: Task, space: Space, genotype: Genotype) -> Metrics:
        return self.of(task).hints(genotype)

    def of(self, task: Task) -> Table:
        """The table that was named, else the task's own."""
        found = getattr(task, "table", None)
        return found if self.where is None and isinstance(found, Table) else self.own


export = TableEstimator
