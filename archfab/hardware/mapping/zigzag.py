"""Accelerator files in ZigZag's format: which numbers stand where, and clear messages where one is missing or wrong.

The format (zigzag-dse 3.9, MIT): `operational_array` with `dimensions`, `sizes`, `unit_energy` (pJ), `unit_area`, and
`memories`, innermost first, each with `size` (bit), `r_cost`, `w_cost` (pJ for one access of the port's largest word),
`area`, `operands` (I1: inputs, I2: weights, O: outputs), `served_dimensions` and `ports` with their bits in a cycle and
what they are allocated to: operand, and fh, tl, fl, th for from/to the higher/lower memory. A memory serves what the
lower ones of its operands serve too, whether it says so or not. `dataflows`, `input_precision`, `latency`, `mem_type`
are read past: every dataflow is searched, and a transfer takes as long as its port needs. The format has no unit of
areas: they count where `area_unit` is mm2. Further keys of ours: `rules`, `even`, `unrolls`; of a memory `word`,
`leakage`, `loops` (see `architecture`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from archfab.core import UsageError
from archfab.hardware.mapping.architecture import RULES, Architecture, Memory, Port
from archfab.hardware.mapping.layer import LOOPS

OPERANDS = {"I1": "input", "I2": "weight", "O": "output"}
DIRECTIONS = {"fh": "from_above", "tl": "to_below", "fl": "from_below", "th": "to_above"}
TYPES = {"read": ("tl", "th"), "write": ("fh", "fl"), "read_write": tuple(DIRECTIONS)}
NOTES = ("source", "origin", "about")
"""Keys of our own that any table may have: where its numbers come from."""


def read(path: Path) -> Architecture:
    """An architecture from a YAML file in ZigZag's format."""
    return from_plain(read_yaml(path), path.name)


def read_yaml(path: Path) -> Any:
    """A YAML file as plain data."""
    try:
        import yaml  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise UsageError("accelerators in YAML files need PyYAML; install it: pip install pyyaml") from None
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise UsageError(f"there is no file {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} is no YAML file: {' '.join(str(error).split())}") from None


def from_plain(data: Any, where: str) -> Architecture:
    """An architecture from the data of such a file.

    :param where: the file, for messages.
    """
    table = Table(data, where)
    table.only("name", "memories", "operational_array", "dataflows", "rules", "even", "unrolls", "area_unit",
               *NOTES)
    array, memories = table.table("operational_array"), table.table("memories")
    if array.flag("is_imc"):
        raise UsageError(f"{where}: operational_array: in-memory computing (is_imc) is not modelled; an array of "
                         "multipliers is (is_imc: false)")
    array.only("dimensions", "sizes", "unit_energy", "unit_area", "systolic_dimensions", "is_imc", "input_precision",
               *NOTES)
    if table.data.get("area_unit", "mm2") != "mm2":
        raise UsageError(f"{where}: area_unit is mm2, not {table.data['area_unit']}")
    names, sizes = array.list("dimensions"), array.list("sizes")
    if len(names) != len(sizes):
        raise UsageError(f"{where}: operational_array has {len(names)} dimensions and {len(sizes)} sizes; each "
                         "dimension takes one")
    for size in sizes:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise UsageError(f"{where}: operational_array: sizes takes whole numbers from 1 up, not {size!r}")
    rules = str(table.data.get("rules", "zigzag"))
    if rules not in RULES:
        raise UsageError(f"{where}: rules is one of {', '.join(RULES)}, not '{rules}'")
    unrolls = {} if "unrolls" not in table.data else table.table("unrolls").data
    return Architecture(
        str(table.data.get("name", where)), tuple(zip(map(str, names), sizes, strict=True)),
        array.number("unit_energy"), levels(memories, "area_unit" in table.data), RULES[rules],
        area(array, "unit_area") if "area_unit" in table.data else None,
        systolic=tuple(map(str, array.list("systolic_dimensions"))) if "systolic_dimensions" in array.data else (),
        unrolls=tuple((str(name), loops(Table(unrolls, f"{where}: unrolls"), name)) for name in unrolls),
        even=table.flag("even"))


def levels(table: Table, areas: bool) -> tuple[Memory, ...]:
    """The memories, each with what it serves.

    :param areas: whether the file says in which unit its areas are.
    """
    found: list[Memory] = []
    served: dict[str, set[str]] = {operand: set() for operand in OPERANDS.values()}
    for name in table.data:
        one = memory(str(name), table.table(name))
        for operand in one.operands:
            served[operand] |= set(one.serves)
        serves = set().union(*(served[operand] for operand in one.operands))
        found.append(replace(one, serves=tuple(sorted(serves)), area=one.area if areas else None))
    return tuple(found)


def memory(name: str, table: Table) -> Memory:
    """One memory of a file."""
    table.only("size", "r_cost", "w_cost", "area", "latency", "operands", "ports", "served_dimensions",
               "auto_cost_extraction", "mem_type", "force_double_buffering", "word", "leakage", "loops", *NOTES)
    if table.flag("auto_cost_extraction"):
        raise UsageError(f"{table.where}: auto_cost_extraction asks for CACTI, which is not run here; write r_cost and "
                         "w_cost in pJ, and area")
    operands = tuple(legal(table.where, "operand", str(each), OPERANDS) for each in table.list("operands"))
    ports = tuple(port(Table(each, f"{table.where}: port {at}")) for at, each in enumerate(table.list("ports"), 1))
    return Memory(name, table.number("size", above=True), table.number("r_cost"), table.number("w_cost"), operands,
                  ports, tuple(map(str, table.list("served_dimensions"))), area(table, "area"),
                  table.number("word", above=True) if "word" in table.data else 0.0,
                  table.number("leakage") if "leakage" in table.data else 0.0,
                  loops=loops(table, "loops") if "loops" in table.data else None,
                  double_buffered=table.flag("force_double_buffering"))


def port(table: Table) -> Port:
    """One port of a memory."""
    table.only("name", "type", "bandwidth_min", "bandwidth_max", "allocation", *NOTES)
    kind = table.data.get("type")
    if kind not in TYPES:
        raise UsageError(f"{table.where}: type is one of {', '.join(TYPES)}, not {kind!r}")
    serves = []
    for each in table.list("allocation"):
        operand, comma, direction = str(each).partition(", ")
        if not comma:
            raise UsageError(f"{table.where}: an allocation is an operand and a direction, such as 'I1, tl', not "
                             f"'{each}'")
        serves.append((legal(table.where, "operand", operand, OPERANDS),
                       legal(table.where, "direction", direction, DIRECTIONS)))
        if direction not in TYPES[kind]:
            raise UsageError(f"{table.where}: a {kind} port cannot serve '{each}'")
    return Port(str(table.data.get("name", "")), table.number("bandwidth_max", above=True),
                table.number("bandwidth_min", above=True), tuple(serves))


def legal(where: str, what: str, name: str, known: Mapping[str, str]) -> str:
    """What a name stands for, where it is one of the known ones."""
    if name not in known:
        raise UsageError(f"{where}: there is no {what} '{name}'; legal: {', '.join(known)}")
    return known[name]


def loops(table: Table, key: str) -> tuple[str, ...]:
    """Loops that a table allows."""
    return tuple(legal(table.where, "loop", str(each), dict.fromkeys(LOOPS, each)) for each in table.list(key))


def area(table: Table, key: str) -> float | None:
    """An area; None where there is none."""
    return None if table.data.get(key) is None else table.number(key)


class Table:
    """A mapping of a file, with messages that say where in it something is wrong."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, Mapping):
            raise UsageError(f"{where}: a table of keys and values is wanted here, not {type(data).__name__}")
        self.data, self.where = data, where

    def only(self, *keys: str) -> None:
        if stray := [key for key in self.data if key not in keys]:
            raise UsageError(f"{self.where}: there is no key '{stray[0]}'; legal: {', '.join(keys)}")

    def table(self, key: str) -> Table:
        return Table(self._get(key), f"{self.where}: {key}")

    def list(self, key: str) -> Sequence[Any]:
        found = self._get(key)
        if not isinstance(found, list | tuple):
            raise UsageError(f"{self.where}: {key} is a list, not {found!r}")
        return found

    def flag(self, key: str) -> bool:
        found = self.data.get(key, False)
        if not isinstance(found, bool):
            raise UsageError(f"{self.where}: {key} is true or false, not {found!r}")
        return found

    def number(self, key: str, above: bool = False) -> float:
        found = self._get(key)
        kind = "a number above 0" if above else "a number from 0 up"
        if isinstance(found, bool) or not isinstance(found, int | float) or math.isnan(found) or found < 0 \
                or (above and found == 0) or (not above and math.isinf(found)):
            raise UsageError(f"{self.where}: {key} takes {kind}, not {found!r}")
        return float(found)

    def _get(self, key: str) -> Any:
        if key not in self.data:
            raise UsageError(f"{self.where} has no {key}")
        return self.data[key]
