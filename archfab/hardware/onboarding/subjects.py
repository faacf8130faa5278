"""Which networks the rows of a file mean: rows of a known table, or networks of a public space."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from archfab.core import UsageError
from archfab.hardware.onboarding.knowledge import Table
from archfab.hardware.onboarding.spaces import KNOWN, Networks, cells

OPERATIONS = {"none": 0, "skip_connect": 1, "nor_conv_1x1": 2, "nor_conv_3x3": 3, "avg_pool_3x3": 4}
NAMED = 5               # rows that an error names


@dataclass(frozen=True)
class Subjects:
    """The networks of some rows."""

    networks: Networks
    space: str                      # of a table; empty for networks that were recorded
    rows: tuple[int, ...]           # which row each is
    at: tuple[int, ...] = ()        # which network of the table each is; -1: none
    table: Table | None = None
    notes: tuple[str, ...] = ()

    def take(self, chosen: Sequence[int]) -> Subjects:
        return replace(self, networks=self.networks.take(chosen), rows=tuple(self.rows[i] for i in chosen),
                       at=tuple(self.at[i] for i in chosen) if self.at else ())


def identify(rows: Sequence[Mapping[str, str]], columns: Collection[str], tables: Sequence[Table],
             wanted: str | None = None, skip_dead: bool = True) -> Subjects:
    """Rows as networks of a table's space, found by its key columns."""
    if "arch_str" in columns and "idx" not in columns:
        rows, columns = [{**row, "idx": index_of(row["arch_str"])} for row in rows], [*columns, "idx"]
    table = table_for(columns, tables, wanted)
    place = table.place
    try:
        networks, dead = table.described(rows)
    except UsageError:
        faults = [f"row {i}: {error}" for i, row in enumerate(rows, 2) if (error := fault(table, row))]
        raise UsageError(f"unknown networks: {'; '.join(faults[:NAMED])}{' ...' if len(faults) > NAMED else ''}; a "
                         f"network is named by {', '.join(table.keys)}, as in {', '.join(table.sources)}, such as "
                         f"{table.networks.keys[0]}") from None
    alive = [i for i in range(len(rows)) if not (dead[i] and skip_dead)]
    left = [networks.keys[i] for i in range(len(rows)) if dead[i]] if skip_dead else []
    notes = [f"left out, for they have no path from input to output: {', '.join(left[:NAMED])}"
             + (f" and {len(left) - NAMED} more" if len(left) > NAMED else "")] if left else []
    networks = networks.take(alive)
    return Subjects(networks, table.space, tuple(alive), tuple(place.get(key, -1) for key in networks.keys), table,
                    tuple(notes))


def fault(table: Table, row: Mapping[str, str]) -> str | None:
    """What is wrong with the name of a network, if anything is."""
    try:
        table.described([row])
    except UsageError as error:
        return str(error)
    return None


def table_for(columns: Collection[str], tables: Sequence[Table], wanted: str | None) -> Table:
    """The table whose networks the columns name: the one with most key columns among them."""
    if wanted is not None:
        found = [table for table in tables if table.space == wanted]
        if not found:
            raise UsageError(f"the knowledge has no space '{wanted}'; it has {', '.join(t.space for t in tables)}")
        if missing := [key for key in found[0].keys if key not in columns]:
            raise UsageError(f"networks of {wanted} are named by {', '.join(found[0].keys)}; there is no {missing[0]}")
        return found[0]
    matching = [table for table in tables if set(table.keys) <= set(columns)]
    if not matching:
        raise UsageError(
            f"the columns {', '.join(columns)} name no network that is known. Known spaces: "
            + "; ".join(f"{', '.join(table.keys)}" + (f" ({table.space})" if table.space in KNOWN else "")
                        for table in tables)
            + "; or a column genotype (with --task and --space), or a column onnx with paths of ONNX files")
    return max(matching, key=lambda table: len(table.keys))


def index_of(text: str) -> str:
    """The NAS-Bench-201 index of an architecture string, such as |nor_conv_3x3~0|+|...|+|...|."""
    pieces = re.findall(r"([a-z0-9_]+)~(\d)", text)
    try:
        if [int(source) for _, source in pieces] != [0, 0, 1, 0, 1, 2]:
            raise KeyError
        digits = np.array([OPERATIONS[name] for name, _ in pieces])
    except KeyError:
        return text             # no index: the reader says what is wrong with it
    return str(int(np.flatnonzero((cells() == digits).all(1))[0]))


def recorded(rows: Sequence[Mapping[str, str]], names: Sequence[str],
             bill_of: Callable[[Mapping[str, str]], list[float]]) -> Subjects:
    """Rows as recorded networks; what cannot be recorded is named with its reason."""
    from archfab.hardware.onboarding.spaces import of_bills
    bills, faults = [], []
    for i, row in enumerate(rows, 2):
        try:
            bills.append(bill_of(row))
        except UsageError as error:
            faults.append(f"row {i}: {error}")
    if faults:
        raise UsageError(f"unknown networks: {'; '.join(faults[:NAMED])}{' ...' if len(faults) > NAMED else ''}")
    return Subjects(of_bills(names, bills), "", tuple(range(len(rows))))
