"""Mappings: what the columns of some files mean, written in TOML; and tables read by them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

from archfab.core import Genotype, Label, UsageError, unknown
from archfab.space import Space, choose
from archfab.tables.rows import Sheet, header, is_table
from archfab.tables.table import Measure, Table, check_covered

SHIPPED = Path(__file__).parent / "mappings"
EMBEDDED = Path(__file__).parent / "digits"
KEYS = {"about", "space", "data_set", "goals", "hints", "joins", "architectures", "labels", "decisions", "same",
        "values"}


@dataclass(frozen=True)
class TableMapping:
    """A mapping file's content, checked."""

    name: str
    path: Path
    data: Mapping[str, Any]
    labels: dict[str, dict[str, Label]] = field(default_factory=dict)       # decision -> text -> label

    @property
    def joins(self) -> str | None:
        """The mapping whose architectures its rows are keyed by; None where it says its own."""
        return self.data.get("joins")

    def space(self) -> Space | None:
        """The declared space; None where the table itself says it."""
        if "space" in self.data:
            file = self.path.parent / self.data["space"]
            try:
                return Space.from_data(json.loads(file.read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                raise UsageError(f"{self.path}: the space {file} cannot be read: {error}") from None
        return None


def read_mapping(path: Path) -> TableMapping:
    """A mapping file, or an error that says what is wrong in it."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the mapping {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the mapping {path} is no TOML file: {error}") from None
    if extra := sorted(set(data) - KEYS):
        raise UsageError(f"the mapping {path} says {', '.join(extra)}; legal: {', '.join(sorted(KEYS))}")
    if "joins" not in data and not data.get("decisions"):
        raise UsageError(f"the mapping {path} names no [decisions]: which column holds which decision")
    if not isinstance(data.get("values"), list) or not data["values"]:
        raise UsageError(f"the mapping {path} names no [[values]]: which columns hold scores or costs")
    for sense in data.get("goals", {}).values():
        if sense not in ("min", "max"):
            raise UsageError(f"the mapping {path}: a goal is 'min' or 'max', not {sense!r}")
    for rule in data["values"]:
        for key in ("file", "column"):
            try:
                re.compile(rule.get(key, ""))
            except re.error as error:
                raise UsageError(f"the mapping {path}: {rule[key]!r} is no regular expression: {error}") from None
    labels: dict[str, dict[str, Label]] = {}
    for name, entry in data.get("decisions", {}).items():
        if "column" not in entry:
            raise UsageError(f"the mapping {path}: decision '{name}' says no column")
        own = entry.get("labels", data.get("labels"))
        if not own:
            raise UsageError(f"the mapping {path}: decision '{name}' has no labels; list them: labels = [...], or name "
                             "each text: labels = { text = label }")
        labels[name] = {str(text): text for text in own} if isinstance(own, list) else dict(own)
    return TableMapping(path.stem if path.name != "mapping.toml" else path.parent.name, path, data, labels)


def find_mappings(folder: Path) -> list[TableMapping]:
    """The mappings that fit the files of a folder: its own `mapping.toml`, else the shipped ones that match."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} with a benchmark table")
    if (folder / "mapping.toml").exists():
        return [read_mapping(folder / "mapping.toml")]
    return [mapping for path in sorted(SHIPPED.glob("*.toml")) if fits(mapping := read_mapping(path), folder)]


def fits(mapping: TableMapping, folder: Path) -> bool:
    """Whether a folder holds the files that a mapping is about."""
    if mapping.joins:
        return any(matched(rule, path) and rule["key"] in (names := header(path))
                   and any(re.fullmatch(rule["column"], name) for name in names)
                   for rule in mapping.data["values"] for path in tables_of(folder))
    wanted = {entry["column"] for entry in mapping.data["decisions"].values()}
    rules = [rule["column"] for rule in mapping.data["values"] if "file" not in rule]
    return any(re.fullmatch(mapping.data["architectures"]["file"], path.name) and wanted <= set(names := header(path))
               and all(any(re.fullmatch(rule, name) for name in names) for rule in rules)
               for path in tables_of(folder))


def read_table(where: str | Path | None = None, data_set: str | None = None, mapping: str | None = None) -> Table:
    """A benchmark table from the user's files.

    :param where: a folder, or several joined by `+`, the one that says the architectures first; the digits table
        that comes with archfab without one. `FOLDER#NAME` picks the data set `NAME`, `FOLDER#MAPPING/NAME` the
        mapping too.
    :param data_set: one of the table's data sets; the mapping's default without it.
    :param mapping: a shipped mapping by name, or the path of a .toml file.
    :raises UsageError: saying the file, the row and what is legal.
    """
    if where is None or str(where) == "digits":
        return Reader([EMBEDDED], read_mapping(EMBEDDED / "mapping.toml"), data_set).table()
    text, _, picked = str(where).partition("#")
    if picked:
        first, _, second = picked.rpartition("/")
        data_set, mapping = data_set or second, mapping or first or None
    folders = [Path(part).expanduser().resolve() for part in text.split("+")]
    return Reader(folders, choose_mapping(folders, mapping), data_set).table()


def choose_mapping(folders: Sequence[Path], asked: str | None) -> TableMapping:
    """The mapping asked for, or the first that fits and says its own architectures."""
    if asked:
        if asked.endswith(".toml"):
            return read_mapping(Path(asked))
        known = sorted(path.stem for path in SHIPPED.glob("*.toml"))
        if asked not in known:
            raise unknown("mapping", asked, known, "(or give the path of a .toml file)")
        return read_mapping(SHIPPED / f"{asked}.toml")
    fitting = [mapping for folder in folders for mapping in find_mappings(folder)]
    for mapping in fitting:
        if not mapping.joins:
            return mapping
    if fitting:
        raise UsageError(f"{folders[0]} holds {fitting[0].name}, whose rows are keyed by those of {fitting[0].joins}; "
                         f"give that table's folder too: {fitting[0].joins}+{folders[0].name}")
    shipped = ", ".join(path.stem for path in sorted(SHIPPED.glob("*.toml")))
    raise UsageError(f"no mapping fits the files of {folders[0]}; known mappings: {shipped}; or write one: "
                     "mapping.toml in that folder")


class Reader:
    """Reads one table: the architectures first, then every column that the mapping names."""

    def __init__(self, folders: Sequence[Path], mapping: TableMapping, data_set: str | None) -> None:
        self.mapping = mapping
        self.folders = folders
        self.data_sets: set[str] = set()
        self.data_set = data_set or mapping.data.get("data_set", "default")
        self.sheets: dict[Path, Sheet] = {}

    def table(self) -> Table:
        mapping = self.mapping
        path = self._architectures()
        sheet = self._sheet(path)
        columns = {name: self._labels(sheet, name, entry) for name, entry in mapping.data["decisions"].items()}
        space = mapping.space() or plain_space(mapping, columns)
        check_covered(space, {name: list(texts.values()) for name, texts in mapping.labels.items()},
                      f"the mapping {mapping.path}")
        genotypes, rows = self._decode(sheet, space, columns)
        keys = self._keys(sheet)
        table = Table(mapping.name, mapping.data.get("about", ""), self.data_set, space,
                      mapping.data.get("goals", {}), tuple(mapping.data.get("hints", ())), rows, genotypes)
        for each, folder in self._sources():
            for rule in each.data["values"]:
                for file in tables_of(folder) if "file" in rule else [path]:
                    if found := matched(rule, file):
                        self._take(table, rule, file, found.groupdict(), path, keys)
        if self.data_set not in self.data_sets and self.data_sets:
            raise unknown("data set", self.data_set, sorted(self.data_sets), f"(of table {mapping.name})")
        table.require(tuple(table.goals))
        return table

    def _architectures(self) -> Path:
        """The file whose rows say what each architecture is: that of the data set, where each has its own."""
        pattern = self.mapping.data["architectures"]["file"]
        found = {match.groupdict().get("data"): path for folder in self.folders for path in tables_of(folder)
                 if (match := re.fullmatch(pattern, path.name))}
        if not found:
            raise UsageError(f"no file of {', '.join(map(str, self.folders))} is named {pattern}, which mapping "
                             f"{self.mapping.name} needs for the architectures")
        self.data_sets |= {name for name in found if name}
        if None in found:
            return found[None]
        if self.data_set not in found:
            raise unknown("data set", self.data_set, sorted(map(str, found)), f"(of table {self.mapping.name})")
        return found[self.data_set]

    def _sources(self) -> Iterator[tuple[TableMapping, Path]]:
        """The mapping with its folder, and the mappings that other folders bring and that join it."""
        for folder in self.folders:
            yield self.mapping, folder
            for other in (read_mapping(p) for p in sorted(SHIPPED.glob("*.toml"))):
                if other.joins == self.mapping.name and fits(other, folder):
                    yield other, folder

    def _sheet(self, path: Path) -> Sheet:
        if path not in self.sheets:
            self.sheets[path] = Sheet(path)
        return self.sheets[path]

    def _decode(self, sheet: Sheet, space: Space,
                columns: Mapping[str, list[Any]]) -> tuple[list[Genotype], dict[tuple[Label, ...], int]]:
        """The genotype of every row, and the row of every genotype."""
        wanted = self.mapping.data["architectures"].get("rows")
        if wanted and len(sheet.rows) != wanted:
            raise UsageError(f"{sheet.path} has {len(sheet.rows)} rows, {self.mapping.name} has {wanted}; the file is "
                             "not whole, or it is another table")
        genotypes: list[Genotype] = []
        rows: dict[tuple[Label, ...], int] = {}
        names = tuple(space.labels)
        for i in range(len(sheet.rows)):
            genotype = {name: label for name in names if (label := columns[name][i]) is not MISSING}
            try:
                space.check(genotype)
            except UsageError as error:
                raise UsageError(f"{sheet.path}, row {i + 2}: no architecture of the space: {error}") from None
            key = tuple(genotype.get(name) for name in names)
            if key in rows:
                raise UsageError(f"{sheet.path}, row {i + 2}: the same architecture as row {rows[key] + 2}; a table "
                                 "has each architecture once")
            rows[key] = i
            genotypes.append(genotype)
        for i, known in enumerate(genotypes):
            for alias in self._aliases(known):
                rows.setdefault(tuple(alias.get(name) for name in names), i)
        return genotypes, rows

    def _labels(self, sheet: Sheet, name: str, entry: Mapping[str, Any]) -> list[Any]:
        """One decision's label in every row; `MISSING` where a text is too short to hold it."""
        texts, known = sheet.texts(entry["column"]), self.mapping.labels[name]
        found: list[Any] = []
        for i, text in enumerate(texts, 2):
            if "at" in entry or entry.get("count"):
                pieces = text.split(entry["separator"]) if "separator" in entry else list(text)
                if entry.get("count"):
                    text = str(len(pieces))
                elif entry["at"] < len(pieces):
                    text = pieces[entry["at"]]
                else:
                    found.append(MISSING)
                    continue
            elif text == "":                        # a decision that this architecture has not got
                found.append(MISSING)
                continue
            if text not in known:
                raise UsageError(f"{sheet.path}, row {i}, column '{entry['column']}': '{text[:40]}' is no label of "
                                 f"decision '{name}'; legal: {', '.join(known)}")
            found.append(known[text])
        return found

    def _aliases(self, genotype: Genotype) -> Iterator[dict[str, Label]]:
        """The other genotypes of the same network."""
        for rule in self.mapping.data.get("same", ()):
            if all(genotype.get(name) == label for name, label in rule["when"].items()):
                for order in permutations(rule["groups"]):
                    moved = {new: genotype[old] for group, other in zip(rule["groups"], order, strict=True)
                             for new, old in zip(group, other, strict=True)}
                    yield {**genotype, **moved}

    def _keys(self, sheet: Sheet) -> dict[str, int]:
        """Row by key, for files that name an architecture by it."""
        name = self.mapping.data["architectures"].get("key")
        if not name:
            return {}
        rows: dict[str, int] = {}
        for i, key in enumerate(sheet.texts(name)):
            if key in rows:
                raise UsageError(f"{sheet.path}, row {i + 2}: the {name} '{key}' stands in row {rows[key] + 2} already")
            rows[key] = i
        return rows

    def _take(self, table: Table, rule: Mapping[str, Any], file: Path, groups: Mapping[str, str | None], first: Path,
              keys: Mapping[str, int]) -> None:
        """Takes every column of a file that a rule names into the table."""
        for name in header(file) if file not in self.sheets else self.sheets[file].header:
            match = re.fullmatch(rule["column"], name)
            if not match:
                continue
            said = {**rule, **{k: v for k, v in {**groups, **match.groupdict()}.items() if v}}
            if "data" in said:
                self.data_sets.add(said["data"])
                if said["data"] != self.data_set:
                    continue
            metric = rule.get("metric", "{metric}").format(**said)
            sheet = self._sheet(file)
            column = sheet.numbers(name)
            if file != first:
                column = self._joined(sheet, column, rule, keys)
            place(table, metric, said, column)

    def _joined(self, sheet: Sheet, column: list[float | None], rule: Mapping[str, Any],
                keys: Mapping[str, int]) -> list[float | None]:
        """A column in the order of the architectures; None where the file lacks one."""
        name = rule.get("key", self.mapping.data["architectures"].get("key"))
        if not name:
            raise UsageError(f"the mapping {self.mapping.path}: {sheet.path.name} is another file than the "
                             "architectures', so [architectures] needs a key")
        found: list[float | None] = [None] * len(keys)
        taken: dict[int, int] = {}
        for i, (key, value) in enumerate(zip(sheet.texts(name), column, strict=True), 2):
            if key not in keys:
                raise UsageError(f"{sheet.path}, row {i}: no architecture has the {name} '{key[:40]}'")
            row = keys[key]
            if row in taken:
                raise UsageError(f"{sheet.path}, row {i}: the {name} '{key}' stands in row {taken[row]} already")
            taken[row] = i
            found[row] = value
        return found


MISSING = object()


def plain_space(mapping: TableMapping, columns: Mapping[str, list[Any]]) -> Space:
    """One plain choice for each decision, among the labels that occur in the table."""
    return Space([choose(name, *(label for label in dict.fromkeys(texts.values()) if label in set(columns[name])))
                  for name, texts in mapping.labels.items()])


def tables_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_table(path))


def matched(rule: Mapping[str, Any], file: Path) -> re.Match[str] | None:
    return re.fullmatch(rule.get("file", ".*"), file.name)


def place(table: Table, metric: str, said: Mapping[str, Any], column: list[float | None]) -> None:
    """Puts a column where it belongs; where two files give the same, the first counts."""
    if "split" not in said:
        if metric == "seconds":
            table.seconds.setdefault(float(said.get("epochs", 0)), Measure()).seeds.setdefault(said.get("seed", "mean"),
                                                                                            column)
        else:
            table.costs.setdefault(metric, column)
        return
    measure = table.scores.setdefault(metric, {}).setdefault((said["split"], float(said.get("epochs", 0))), Measure())
    if said.get("seed", "mean") == "mean":
        measure.mean = measure.mean or column
    else:
        measure.seeds.setdefault(said["seed"], column)
