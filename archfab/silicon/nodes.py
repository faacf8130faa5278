"""Process nodes: what a wafer costs, how many defects it has, what its cells measure, what making it emits."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from archfab.core import UsageError, unknown


@dataclass(frozen=True)
class Node:
    """One process node; every number is of a 300 mm wafer's process and has its source in `nodes.toml`."""

    name: str                       # its number in nm, as text
    wafer_usd: float
    d0_per_cm2: float
    epa_kwh_per_cm2: float          # electricity of the fab
    gpa_95_g_per_cm2: float         # gases, 95 % abated
    gpa_99_g_per_cm2: float
    mpa_g_per_cm2: float            # materials
    bitcell_um2: float              # of the densest SRAM
    logic_density: float            # relative to 28 nm
    switching_energy: float         # of an operation at equal speed, relative to 28 nm
    vdd_v: float
    vth_v: float


QUANTITIES = tuple(field.name for field in fields(Node) if field.name != "name")


@cache
def table() -> Mapping[str, Mapping[str, Any]]:
    """The file: for each quantity its unit, origin, source, values, and factors low and high around uncertain ones."""
    return tomllib.loads(files("archfab.silicon").joinpath("nodes.toml").read_text(encoding="utf-8"))


def names() -> tuple[str, ...]:
    """The nodes, largest first."""
    return tuple(sorted((key for key in table()["wafer_usd"] if key.isdecimal()), key=int, reverse=True))


def node(name: str | int | float) -> Node:
    """A node by its number: 7, "7", "7nm". TSMC's 16 and 12 nm are 14, as in the models that the numbers come from.

    :raises UsageError: names the known nodes.
    """
    key = str(name).strip().lower().removesuffix("nm").strip().removesuffix(".0")
    key = {"16": "14", "12": "14"}.get(key, key)
    if key not in names():
        raise unknown("process node", str(name), names(), "(in nm)")
    return Node(key, **{quantity: float(table()[quantity][key]) for quantity in QUANTITIES})


def interval(quantity: str) -> tuple[float, float]:
    """The factors around a quantity between which it is believed to lie; 1 and 1 where nothing is said."""
    if quantity not in table():
        raise UsageError(f"nodes have no {quantity}; they have {', '.join(QUANTITIES)}")
    return float(table()[quantity].get("low", 1.0)), float(table()[quantity].get("high", 1.0))
