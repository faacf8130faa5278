"""Mappings: what the columns of some files mean, written in TOML and checked before a file is read."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from archfab.core import Goals, Label, UsageError
from archfab.space import Space
from archfab.tables.rows import Sheet, is_table
from archfab.tables.same import Tree

SHIPPED = Path(__file__).parent / "mappings"
EMBEDDED = Path(__file__).parent / "digits"


@dataclass(frozen=True)
class Decision:
    """Which column holds a decision: its whole text, or the piece `at` a place, or the number of pieces."""

    column: str
    labels: Mapping[str, Label] | None      # text -> label; None: the options of the declared space, as text
    separator: str | None = None
    at: int | None = None
    count: bool = False

    def text(self, cell: str) -> str | None:
        """What a cell says of this decision; None where it says nothing, for then the network has not got it."""
        if self.at is None and not self.count:
            return cell or None
        pieces = cell.split(self.separator) if self.separator else list(cell)
        if self.count:
            return str(len(pieces))
        assert self.at is not None
        return pieces[self.at] if self.at < len(pieces) else None


@dataclass(frozen=True)
class Values:
    """Which columns of which files hold a metric. Named groups of the two patterns stand for the keys below."""

    column: re.Pattern[str]
    file: re.Pattern[str] | None = None     # without one, the file of the architectures
    key: str | None = None                  # the column that names the architecture, in another file
    metric: str = "{metric}"
    split: str | None = None                # val or test; without one it is a cost, known without a training
    epochs: float | None = None             # of training
    seed: str | None = None                 # several give several measurements; `mean` is their mean
    data: str | None = None                 # the data set; without one it holds for all
    partial: bool = False                   # whether its file may lack architectures
    where: str = "the mapping"              # the rule in words, for errors

    def read(self, file: str, column: str) -> dict[str, Any] | None:
        """What a column of a file is; None where the rule is not about it."""
        groups: dict[str, Any] = {}
        for pattern, name in ((self.file, file), (self.column, column)):
            if pattern is not None:
                match = pattern.fullmatch(name)
                if not match:
                    return None
                groups.update({key: value for key, value in match.groupdict().items() if value})
        said = {"split": self.split, "epochs": self.epochs or 0.0, "seed": self.seed or "mean", "data": self.data,
                **groups}
        try:
            found = {**said, "metric": self.metric.format(**said), "epochs": float(said["epochs"])}
        except KeyError:                    # a group that did not take part
            return None
        except ValueError:
            found = {**said, "epochs": math.nan}
        if not (math.isfinite(found["epochs"]) and found["split"] in (None, "val", "test")):
            raise UsageError(f"{file}, column '{column}': read as split {said['split']!r} after {said['epochs']!r} "
                             "epochs; legal: the splits val and test, and a number of epochs")
        return found


@dataclass(frozen=True)
class TableMapping:
    """A mapping file's content, checked."""

    name: str
    path: Path
    about: str
    joins: str | None               # the mapping whose architectures its rows are keyed by; None: it has its own
    space_file: str | None          # the declared space; None: one plain choice for each decision
    data_set: str                   # the default one
    goals: Goals
    hints: tuple[str, ...]          # costs that may be shown to a strategy before a network is tried
    file: re.Pattern[str]           # of the architectures
    key: str | None                 # the column by which other files name an architecture
    rows: int | None                # how many there are in every data set
    rows_by: Mapping[str, int]      # how many there are in one
    decisions: Mapping[str, Decision]
    same: Tree | None
    values: tuple[Values, ...]

    @property
    def own(self) -> bool:
        """Whether it was written for the files at hand, and so names nothing in vain."""
        return self.path.parent.resolve() != SHIPPED.resolve()

    def rows_in(self, data_set: str) -> int | None:
        """How many architectures a data set has, where the mapping says so."""
        return self.rows_by.get(data_set, self.rows)

    def space(self) -> Space | None:
        """The declared space; None where the table itself says it."""
        if self.space_file is None:
            return None
        file = self.path.parent / self.space_file
        try:
            return Space.from_data(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError, UsageError) as error:
            raise UsageError(f"{self.path}: the space {file} cannot be read: {error}") from None

    def fits(self, folder: Path) -> bool:
        """Whether a folder holds the files that a mapping is about."""
        if self.joins:
            return any(rule.file is not None and rule.file.fullmatch(path.name) and rule.key in (
                names := Sheet(path).header) and any(rule.read(path.name, name) for name in names)
                       for rule in self.values for path in tables_of(folder))
        wanted = {decision.column for decision in self.decisions.values()}
        here = [rule for rule in self.values if rule.file is None]
        return any(self.file.fullmatch(path.name) and wanted <= set(names := Sheet(path).header)
                   and all(any(rule.read(path.name, name) for name in names) for rule in here)
                   for path in tables_of(folder))


def read_mapping(path: Path) -> TableMapping:
    """A mapping file, or an error that says what is wrong in it and what is legal."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the mapping {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the mapping {path} is no TOML file: {error}") from None
    return checked(data, path)


def checked(data: Mapping[str, Any], path: Path) -> TableMapping:
    """A mapping from its data, every key of every part checked."""
    here = f"the mapping {path}"
    top = Part(data, here, "about", "joins", "space", "data_set", "goals", "hints", "architectures", "labels",
               "decisions", "same", "values")
    joins = top.text("joins")
    places = Part(top.table("architectures") or {}, f"{here}, [architectures]", "file", "key", "rows")
    entries = top.table("decisions") or {}
    rules = top.take("values", "a list of tables: [[values]]", list)
    if not joins and not entries:
        raise UsageError(f"{here} names no [decisions]: which column holds which decision")
    if not rules:
        raise UsageError(f"{here} names no [[values]]: which columns hold scores or costs")
    common = labels_of(top.take("labels", "a list of labels, or a table: text = label", list, dict), here)
    decisions = {name: decision_of(Part(entry, f"{here}, decision '{name}'", "column", "labels", "separator", "at",
                                        "count"), common, "space" in data) for name, entry in entries.items()}
    rows, rows_by = rows_of(places)
    return TableMapping(
        name=path.stem if path.name != "mapping.toml" else path.parent.name, path=path, about=top.text("about") or "",
        joins=joins, space_file=top.text("space"), data_set=top.text("data_set") or "default",
        goals=goals_of(top.table("goals") or {}, here), hints=top.texts("hints"),
        file=places.pattern("file") or re.compile(r".*"), key=places.text("key"),
        rows=rows, rows_by=rows_by, decisions=decisions, same=same_of(top.table("same"), decisions, here),
        values=tuple(values_of(Part(rule, f"{here}, [[values]] {i}", "file", "key", "column", "metric", "split",
                                    "epochs", "seed", "data", "partial"), bool(joins))
                     for i, rule in enumerate(rules, 1)))


class Part:
    """One table of a mapping; asking for a key checks it."""

    def __init__(self, data: Any, where: str, *known: str) -> None:
        if not isinstance(data, Mapping):
            raise UsageError(f"{where} is no table; legal keys: {', '.join(known)}")
        if extra := [key for key in data if key not in known]:
            raise UsageError(f"{where} says {', '.join(map(repr, extra))}; legal: {', '.join(known)}")
        self.data, self.where = data, where

    def take(self, key: str, legal: str, *kinds: type) -> Any:
        value = self.data.get(key)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise UsageError(f"{self.where}: '{key}' is {value!r:.60}; legal: {legal}")
        return value

    def text(self, key: str) -> str | None:
        if self.take(key, "a text", str) == "":
            raise UsageError(f"{self.where}: '{key}' is empty; give a text, or leave it out")
        return self.data.get(key)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.take(key, "a list of texts", list) or []
        if not all(isinstance(each, str) for each in value):
            raise UsageError(f"{self.where}: '{key}' is {value!r:.60}; legal: a list of texts")
        return tuple(value)

    def table(self, key: str) -> Mapping[str, Any] | None:
        return self.take(key, "a table", dict)

    def number(self, key: str, whole: bool = False) -> float | None:
        value = self.take(key, "a whole number" if whole else "a number", *((int,) if whole else (int, float)))
        if value is not None and not (value >= 0 and math.isfinite(value)):
            raise UsageError(f"{self.where}: '{key}' is {value!r:.60}; legal: a number from 0 up")
        return value

    def pattern(self, key: str) -> re.Pattern[str] | None:
        text = self.text(key)
        try:
            return None if text is None else re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise UsageError(f"{self.where}: '{key}' is no regular expression ({error}): {text!r:.60}") from None


def rows_of(places: Part) -> tuple[int | None, Mapping[str, int]]:
    """How many architectures there are: in every data set, or by data set."""
    rows = places.take("rows", "a whole number, or a table of them by data set", int, dict)
    if isinstance(rows, dict):
        part = Part(rows, f"{places.where}, rows", *rows)
        return None, {name: int(part.number(name, whole=True) or 0) for name in rows}
    return None if rows is None else int(places.number("rows", whole=True) or 0), {}


def goals_of(data: Mapping[str, Any], where: str) -> Goals:
    for name, sense in data.items():
        if sense not in ("min", "max"):
            raise UsageError(f"{where}: the goal '{name}' is {sense!r:.60}; legal: 'min' or 'max'")
    return dict(data)


def labels_of(data: Any, where: str) -> Mapping[str, Label] | None:
    """Labels by their texts: listed, or named one by one."""
    if data is None:
        return None
    if isinstance(data, list):
        data = texts_of(data) if all(isinstance(label, str | int | float) for label in data) else {"": data}
    if wrong := [label for label in data.values() if not isinstance(label, str | int | float)]:
        raise UsageError(f"{where}: {wrong[0]!r:.60} is no label; legal: a text, a number, true or false")
    return data


def texts_of(labels: Sequence[Label]) -> dict[str, Label]:
    """Labels by the texts that stand for them in a file: texts as they are, others as in JSON; where that is
    ambiguous or empty, texts as in JSON too."""
    plain = {label if isinstance(label, str) else json.dumps(label): label for label in labels}
    if len(plain) == len(labels) and all(text == text.strip() != "" for text in plain):
        return plain
    return {json.dumps(label): label for label in labels}


def decision_of(part: Part, common: Mapping[str, Label] | None, declared: bool) -> Decision:
    column = part.text("column")
    if column is None:
        raise UsageError(f"{part.where} says no column")
    own = labels_of(part.take("labels", "a list of labels, or a table: text = label", list, dict), part.where)
    labels = own or common
    if not labels and not declared:
        raise UsageError(f"{part.where} has no labels; list them: labels = [...], or name each text: "
                         "labels = { text = label }")
    at = part.number("at", whole=True)
    return Decision(column, labels, part.text("separator"), None if at is None else int(at),
                    bool(part.take("count", "true or false", bool)))


def values_of(part: Part, joined: bool) -> Values:
    column, file = part.pattern("column"), part.pattern("file")
    if column is None:
        raise UsageError(f"{part.where} says no column")
    groups = {*column.groupindex, *(file.groupindex if file else ())}
    metric, split, key = part.text("metric") or "{metric}", part.text("split"), part.text("key")
    try:
        pieces = [piece[1:] for piece in Formatter().parse(metric) if piece[1] is not None]
    except ValueError as error:
        raise UsageError(f"{part.where}: the metric '{metric}' cannot be filled in: {error}") from None
    wanted = {f"{name}{f'!{how}' if how else ''}{f':{form}' if form else ''}" for name, form, how in pieces}
    if extra := wanted - (groups | {"data", "split", "epochs", "seed"}):
        raise UsageError(f"{part.where}: the metric '{metric}' names {', '.join(map(repr, sorted(extra)))}, and no "
                         f"group of the patterns is named so; groups: {', '.join(sorted(groups)) or 'none'}")
    if split not in (None, "val", "test"):
        raise UsageError(f"{part.where}: the split is '{split}'; legal: val, test")
    if joined and (file is None or key is None):
        raise UsageError(f"{part.where} needs a file and a key: the column that names the architecture")
    seed = part.take("seed", "a text or a whole number", str, int)
    return Values(column, file, key, metric, split, part.number("epochs"), None if seed is None else str(seed),
                  part.text("data"), bool(part.take("partial", "true or false", bool)), part.where)


def same_of(data: Mapping[str, Any] | None, decisions: Mapping[str, Decision], where: str) -> Tree | None:
    if data is None:
        return None
    part = Part(data, f"{where}, [same]", "parents", "nodes", "identity")
    parents, nodes = part.text("parents"), part.texts("nodes")
    for name in (parents, *nodes):
        if name not in decisions:
            raise UsageError(f"{part.where}: {name!r} is no decision; legal: parents = a decision, nodes = a list of "
                             f"decisions, of {', '.join(decisions)}")
    assert parents
    return Tree(parents, nodes, part.take("identity", "a label", str, int, float))


def tables_of(folder: Path) -> list[Path]:
    """The files of a folder that may be tables."""
    try:
        return sorted(path for path in folder.iterdir() if is_table(path))
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}") from None


def find_mappings(folder: Path) -> list[TableMapping]:
    """The mappings that fit the files of a folder: its own `mapping.toml`, else the shipped ones that match."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} with a benchmark table")
    if (folder / "mapping.toml").exists():
        return [read_mapping(folder / "mapping.toml")]
    return [mapping for mapping in shipped() if mapping.fits(folder)]


def shipped() -> list[TableMapping]:
    """The mappings that come with archfab."""
    return [read_mapping(path) for path in sorted(SHIPPED.glob("*.toml"))]
