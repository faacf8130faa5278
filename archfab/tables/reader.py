"""Reads a benchmark table: architectures and goals at once, every other column when it is first used."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from archfab.core import Genotype, Label, UsageError, unknown
from archfab.space import Space, choose
from archfab.tables.mapping import (
    EMBEDDED,
    SHIPPED,
    TableMapping,
    Values,
    find_mappings,
    read_mapping,
    shipped,
    tables_of,
    texts_of,
)
from archfab.tables.rows import Numbers, Sheet
from archfab.tables.same import ABSENT, Plain, Tree
from archfab.tables.table import Column, Measure, Table

Texts = Mapping[str, Mapping[str, Label]]           # decision -> text -> label


def read_table(where: str | Path | None = None, data_set: str | None = None, mapping: str | None = None) -> Table:
    """A benchmark table from the user's files.

    :param where: a folder, or several joined by `+`, the one that says the architectures first; the digits table
        that comes with archfab without one, or by the name `digits`. `FOLDER#NAME` picks the data set `NAME`,
        `FOLDER#MAPPING/NAME` the mapping too.
    :param data_set: one of the table's data sets; the mapping's default without it.
    :param mapping: a shipped mapping by name, or the path of a .toml file.
    :raises UsageError: saying the file, the row and what is legal.
    """
    folders, picked = split_name("digits" if where is None else str(where))
    first, _, second = picked.rpartition("/")
    data_set, mapping = data_set or second or None, mapping or first or None
    return Reader(folders, choose_mapping(folders, mapping), data_set).table()


def sources(name: str) -> tuple[str, list[Path]]:
    """A table's name in a form that holds in every working directory, and the folders that it stands for."""
    folders, picked = split_name(name)
    return "+".join(map(str, folders)) + (f"#{picked}" if picked else ""), folders


def split_name(where: str) -> tuple[list[Path], str]:
    """The folders of a table's name, and what stands behind its `#`."""
    text, picked = where, ""
    if not Path(where).expanduser().is_dir():
        text, _, picked = where.partition("#")
    if text == "digits":
        return [EMBEDDED], picked
    whole = Path(text).expanduser().is_dir()
    folders = [Path(part).expanduser().resolve() for part in ([text] if whole else text.split("+"))]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder} with a benchmark table; give one, or none for the digits "
                             "table that comes with archfab")
    return folders, picked


def choose_mapping(folders: Sequence[Path], asked: str | None) -> TableMapping:
    """The mapping asked for, or the first that fits and says its own architectures."""
    known = sorted(path.stem for path in SHIPPED.glob("*.toml"))
    if asked:
        if not asked.endswith(".toml") and asked not in known:
            raise unknown("mapping", asked, known, "(or give the path of a .toml file)")
        found = read_mapping(Path(asked) if asked.endswith(".toml") else SHIPPED / f"{asked}.toml")
        fitting = [found]
    else:
        fitting = [mapping for folder in folders for mapping in find_mappings(folder)]
    for mapping in fitting:
        if not mapping.joins:
            return mapping
    if fitting:
        raise UsageError(f"{folders[0]} holds {fitting[0].name}, whose rows are keyed by those of {fitting[0].joins}; "
                         f"give that table's folder too, joined by +: .../{fitting[0].joins}+{folders[0]}")
    raise UsageError(f"no mapping fits the files of {folders[0]}; known mappings: {', '.join(known)}; or write one: "
                     "mapping.toml in that folder")


class Reader:
    """Reads one table."""

    def __init__(self, folders: Sequence[Path], mapping: TableMapping, data_set: str | None) -> None:
        self.mapping = mapping
        self.folders = folders
        self.data_set = data_set or mapping.data_set
        self.data_sets: set[str] = set()
        self.metrics: set[str] = set()                  # of all data sets
        self.sheet = cache(Sheet)
        self.order = cache(self._order)

    def table(self) -> Table:
        """The table, checked as far as it is read."""
        mapping = self.mapping
        self.path = self._architectures()
        sheet = self.sheet(self.path)
        wanted = mapping.rows_in(self.data_set)
        if wanted is not None and len(sheet.rows) != wanted:
            raise UsageError(f"{sheet.path} has {len(sheet.rows)} rows, {mapping.name} has {wanted}; the file is not "
                             "whole, or it is another table")
        if not sheet.rows:
            raise UsageError(f"{sheet.path} has no row below its header; a table has one for each architecture")
        space = mapping.space()
        texts = decisions_of(mapping, space)
        columns = {name: self._labels(sheet, name, labels) for name, labels in texts.items()}
        space = space or plain_space(texts, columns)
        genotypes = self._genotypes(sheet, space, columns)
        key = mapping.same or Plain(tuple(space.labels))
        rows = self._rows(sheet, genotypes, key)
        self.keys = self._keys(sheet)
        table = Table(mapping.name, mapping.about, self.data_set, (), space, mapping.goals, (), key, rows, genotypes)
        used = set()
        for rule, file in self._rules():
            for column in self.sheet(file).header:
                if said := rule.read(file.name, column):
                    used.add(rule.where)
                    self._take(table, rule, file, column, said)
        if mapping.own:
            self._in_vain(used)
        table.data_sets = tuple(sorted(self.data_sets or {mapping.data_set}))
        if self.data_set not in table.data_sets:
            raise unknown("data set", self.data_set, table.data_sets, f"(of table {mapping.name})")
        table.hint_names = tuple(name for name in mapping.hints if name in table.costs)
        for name in mapping.goals:
            if name not in table.metrics:
                raise unknown("objective", name, table.metrics,
                              f"(a goal of the mapping {mapping.path}; data set {self.data_set})")
        table.read(tuple(table.goals))
        return table

    def _in_vain(self, used: Collection[str]) -> None:
        """Refuses rules, hints and data sets that a mapping names and that no file has."""
        mapping = self.mapping
        for rule in mapping.values:
            files = [file for folder in self.folders for file in tables_of(folder)
                     if (rule.file or mapping.file).fullmatch(file.name)]
            if rule.where in used or any(rule.read(file.name, name) for file in files for name in
                                         self.sheet(file).header):
                continue
            if rule.file is not None and not files:
                known = ", ".join(file.name for folder in self.folders for file in tables_of(folder))
                raise UsageError(f"{rule.where}: no file is named {rule.file.pattern}; there are {known}")
            known = "; ".join(f"{file.name} has {', '.join(self.sheet(file).header)}" for file in files)
            raise UsageError(f"{rule.where}: no column is named {rule.column.pattern}; {known}")
        for name in mapping.hints:
            if name not in self.metrics:
                raise unknown("cost", name, sorted(self.metrics), f"(a hint of the mapping {mapping.path})")
        for name in mapping.rows_by:
            if name not in (known_sets := self.data_sets or {mapping.data_set}):
                raise unknown("data set", name, sorted(known_sets), f"(of rows in the mapping {mapping.path})")

    def _architectures(self) -> Path:
        """The file whose rows say what each architecture is: that of the data set, where each has its own."""
        found: dict[str | None, Path] = {}
        for folder in self.folders:
            for path in tables_of(folder):
                if match := self.mapping.file.fullmatch(path.name):
                    found.setdefault(match.groupdict().get("data"), path)
        if not found:
            raise UsageError(f"no file of {', '.join(map(str, self.folders))} is named {self.mapping.file.pattern}, "
                             f"which mapping {self.mapping.name} needs for the architectures")
        self.data_sets |= {name for name in found if name}
        if None in found:
            return found[None]
        if self.data_set not in found:
            raise unknown("data set", self.data_set, sorted(map(str, found)), f"(of table {self.mapping.name})")
        return found[self.data_set]

    def _rules(self) -> Iterator[tuple[Values, Path]]:
        """Every rule with every file that it may be about: of the mapping, and of those that join it."""
        for rule in self.mapping.values:
            if rule.file is None:
                yield rule, self.path
        for folder in self.folders:
            joining = [other for other in shipped() if other.joins == self.mapping.name and other.fits(folder)]
            for mapping in (self.mapping, *joining):
                for rule in mapping.values:
                    for file in tables_of(folder) if rule.file is not None else ():
                        if rule.file and rule.file.fullmatch(file.name):
                            yield rule, file

    def _labels(self, sheet: Sheet, name: str, labels: Mapping[str, Label]) -> list[Any]:
        """One decision's label in every row; `ABSENT` where the architecture has not got it."""
        decision = self.mapping.decisions[name]
        if decision.column in sheet.numeric and (decision.count or decision.at is not None):
            raise UsageError(f"column '{decision.column}' of {sheet.path} is a number; it has to be text, for decision "
                             f"'{name}' reads pieces of it")
        known: dict[str, Any] = {}
        found: list[Any] = []
        for i, cell in enumerate(sheet.texts(decision.column, f"the mapping {self.mapping.path}"), 2):
            if cell not in known:
                text = decision.text(cell)
                if text is not None and text not in labels:
                    raise UsageError(f"{sheet.path}, row {i}, column '{decision.column}': '{text[:40]}' is no label of "
                                     f"decision '{name}'; legal: {', '.join(labels)}")
                known[cell] = ABSENT if text is None else labels[text]
            found.append(known[cell])
        return found

    def _genotypes(self, sheet: Sheet, space: Space, columns: Mapping[str, list[Any]]) -> list[Genotype]:
        """The genotype of every row."""
        names = tuple(space.labels)
        wanted = [columns[name] for name in names]
        made: list[Genotype] = [{name: label for name, label in zip(names, row, strict=True) if label is not ABSENT}
                                for row in zip(*wanted, strict=True)]
        if flat(space) and all(set(columns[name]) <= set(labels) for name, labels in space.labels.items()):
            return made                                 # every combination is one of its architectures
        for i, genotype in enumerate(made, 2):
            try:
                space.check(genotype)
            except UsageError as error:
                raise UsageError(f"{sheet.path}, row {i}: no architecture of the space: {error}") from None
        return made

    def _rows(self, sheet: Sheet, genotypes: Sequence[Genotype], key: Plain | Tree) -> dict[Hashable, int]:
        """The row of every network."""
        rows: dict[Hashable, int] = {}
        for i, genotype in enumerate(genotypes):
            if isinstance(key, Tree) and not key.fits(genotype):
                raise UsageError(f"{sheet.path}, row {i + 2}: decision '{key.parents}' is "
                                 f"{genotype.get(key.parents)!r}; legal: for each of the {len(key.nodes)} nodes the "
                                 "number of an earlier one, or 0")
            if rows.setdefault(known := key(genotype), i) != i:
                raise UsageError(f"{sheet.path}, row {i + 2}: the same architecture as row {rows[known] + 2}; a table "
                                 "has each architecture once")
        return rows

    def _keys(self, sheet: Sheet) -> dict[str, int]:
        """Row by key, for files that name an architecture by it."""
        name = self.mapping.key
        if not name:
            return {}
        rows: dict[str, int] = {}
        for i, key in enumerate(sheet.texts(name, f"the mapping {self.mapping.path}")):
            if rows.setdefault(key, i) != i:
                raise UsageError(f"{sheet.path}, row {i + 2}: the {name} '{key[:40]}' stands in row {rows[key] + 2} "
                                 "already")
        return rows

    def _take(self, table: Table, rule: Values, file: Path, column: str, said: Mapping[str, Any]) -> None:
        """Puts a column where it belongs; where two files give the same, the first counts."""
        name, split, epochs, seed = (said[key] for key in ("metric", "split", "epochs", "seed"))
        spent = split is None and name == "seconds"
        if split is None and not spent:
            self.metrics.add(name)
        if said["data"]:
            self.data_sets.add(said["data"])
            if said["data"] != self.data_set:
                return
        values = Column(lambda: self._numbers(rule, file, column, 0.0 if spent else -math.inf))
        if split is None and not spent:
            table.costs.setdefault(name, values)
            return
        measures: dict[Any, Measure] = table.scores.setdefault(name, {}) if split else table.seconds
        measure = measures.setdefault((split, epochs) if split else epochs, Measure())
        if seed == "mean":
            measure.mean = measure.mean or values
        else:
            measure.seeds.setdefault(seed, values)

    def _numbers(self, rule: Values, file: Path, column: str, least: float) -> Numbers:
        """A column in the order of the architectures; None where the file lacks one and its rule lets it."""
        numbers = self.sheet(file).numbers(column, least)
        if file == self.path:
            return numbers
        name = rule.key or self.mapping.key
        order = self.order(file, name, rule.where)
        if len(order) < len(self.keys) and not rule.partial:
            there = set(order)
            missing = next(key for key, row in self.keys.items() if row not in there)
            raise UsageError(f"{file} lacks {len(self.keys) - len(order)} of {len(self.keys)} architectures, first the "
                             f"{name} '{missing[:40]}'; legal: a row for each; or say partial = true in {rule.where}")
        found: Numbers = [None] * len(self.keys)
        for row, value in zip(order, numbers, strict=True):
            found[row] = value
        return found

    def _order(self, file: Path, name: str | None, by: str) -> list[int]:
        """For each row of another file than the architectures', the architecture that it is about."""
        if not name or not self.keys:
            raise UsageError(f"the mapping {self.mapping.path}: {file.name} is another file than the architectures', "
                             "so [architectures] needs a key: the column by which other files name one")
        order: list[int] = []
        taken: dict[int, int] = {}
        for i, key in enumerate(self.sheet(file).texts(name, by), 2):
            if key not in self.keys:
                raise UsageError(f"{file}, row {i}: no architecture has the {name} '{key[:40]}'")
            row = self.keys[key]
            if taken.setdefault(row, i) != i:
                raise UsageError(f"{file}, row {i}: the {name} '{key[:40]}' stands in row {taken[row]} already")
            order.append(row)
        return order


def flat(space: Space) -> bool:
    """Whether every architecture of a space has every decision."""
    return len(space.roots) == len(space.labels) and not any(
        opened for node in space.roots for opened in node.opens.values())


def decisions_of(mapping: TableMapping, space: Space | None) -> Texts:
    """The labels of every decision by their texts; refuses a mapping that does not cover its space."""
    where, mapped = f"the mapping {mapping.path}", mapping.decisions
    if space is None:
        return {name: decision.labels or {} for name, decision in mapped.items()}
    if extra := [name for name in mapped if name not in space.labels]:
        raise UsageError(f"{where} maps decisions that its space has not got: {', '.join(extra)}; the space has "
                         f"{', '.join(space.labels)}")
    found: dict[str, Mapping[str, Label]] = {}
    for name, labels in space.labels.items():
        if name not in mapped:
            raise UsageError(f"{where} does not cover its space: no [decisions] entry for '{name}'; it has "
                             f"{', '.join(mapped) or 'none'}")
        found[name] = mapped[name].labels or texts_of(labels)
        if missing := [label for label in labels if label not in found[name].values()]:
            raise UsageError(f"{where} does not cover its space: decision '{name}' has no text for "
                             f"{', '.join(map(repr, missing))}; give each in [labels]")
    return found


def plain_space(texts: Texts, columns: Mapping[str, list[Any]]) -> Space:
    """One plain choice for each decision, among the labels that occur in the table."""
    choices = []
    for name, labels in texts.items():
        occur = [label for label in dict.fromkeys(labels.values()) if label in set(columns[name])]
        if not occur:
            raise UsageError(f"decision '{name}' of the table has no label in any row")
        choices.append(choose(name, *occur))
    return Space(choices)
