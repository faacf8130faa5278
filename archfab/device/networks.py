"""The networks of a file of measurements or candidates, whatever way it names them."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from archfab.core import BuildError, Genotype, UsageError, canonical
from archfab.evaluate import Workbench
from archfab.hardware.onboarding.knowledge import Table
from archfab.hardware.onboarding.spaces import Networks, of_bills
from archfab.hardware.onboarding.subjects import Subjects, identify, recorded
from archfab.plan import plan

DRAWN = 60              # networks of a searched space that say how its networks differ


@dataclass
class Naming:
    """How networks are named: by the tables' columns, by a genotype of a task's space, or by an ONNX file."""

    tables: Sequence[Table]
    table: str | None = None
    task: str | None = None
    space: str | None = None
    data: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()           # that paths in the file are relative to

    @cached_property
    def bench(self) -> Workbench:
        if self.task is None:
            raise UsageError("networks named by a genotype need the task, and the space, that they are of: --task "
                             "vision --space cell")
        bench = plan(self.task, space=self.space, data=self.data, options=self.options)
        if bench.example is None:
            raise UsageError(f"the task '{self.task}' has no networks, so none that could be measured")
        return bench

    def find(self, rows: Sequence[Mapping[str, str]], columns: Collection[str]) -> Subjects:
        """The networks of some rows."""
        if "onnx" in columns:
            return recorded(rows, [row["onnx"] for row in rows], self.onnx_bill)
        if "genotype" in columns or (self.task is not None and set(columns) <= self.decisions):
            genotypes = [self.genotype(row) for row in rows]
            return recorded(rows, [canonical(dict(genotype)) for genotype in genotypes],
                            lambda row: self.bill(self.genotype(row)))
        return identify(rows, columns, self.tables, self.table)

    @property
    def decisions(self) -> set[str]:
        return set(self.bench.space.labels)

    def genotype(self, row: Mapping[str, str]) -> Genotype:
        """The genotype that a row names, checked against the space."""
        if "genotype" not in row:
            genotype = {name: label(text) for name, text in row.items() if text}
        else:
            try:
                genotype = json.loads(row["genotype"])
            except ValueError:
                raise UsageError(f"the genotype '{row['genotype']}' is no JSON") from None
            if not isinstance(genotype, dict):
                raise UsageError(f"the genotype {row['genotype']} is no JSON object of decisions")
        self.bench.space.check(genotype)
        return genotype

    def bill(self, genotype: Genotype) -> list[float]:
        from archfab.hardware.onboarding.terms import bill
        try:
            return bill(self.bench.workload(genotype))[0]
        except BuildError as error:
            raise UsageError(f"this network cannot be built: {error}") from None

    def onnx_bill(self, row: Mapping[str, str]) -> list[float]:
        from archfab.hardware.onboarding.terms import bill
        from archfab.hardware.onnx_file import read_onnx, record_onnx
        return bill(record_onnx(read_onnx(self.folder / row["onnx"])))[0]

    def drawn(self, number: int, seed: int) -> Networks:
        """Random networks of the task's space."""
        rng, found = random.Random(seed), dict[str, list[float]]()
        for _ in range(4 * number):
            genotype = self.bench.space.sample(rng)
            key = canonical(dict(genotype))
            if key in found:
                continue
            try:
                found[key] = self.bill(genotype)
            except UsageError:
                continue
            if len(found) == number:
                break
        return of_bills(list(found), list(found.values()))


def label(text: str) -> Any:
    """A cell as a decision's label: a JSON value, or the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
