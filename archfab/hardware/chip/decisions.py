"""What is open about an accelerator, and the array that comes of a decision.

The table `decisions` of a device file names what may differ, with its options: `array` (every dimension of the array)
or one dimension by its name, `MEMORY_kb` (a memory by its name), `node_nm` (the process node).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from archfab.core import Label, UsageError, unknown
from archfab.hardware.mapping.architecture import Architecture
from archfab.silicon.nodes import node


def read(device: str, given: Any, architecture: Architecture, has_node: bool) -> dict[str, tuple[Label, ...]]:
    """The decisions of a device file, checked.

    :raises UsageError: names what cannot be decided, and what can.
    """
    if not isinstance(given, Mapping):
        raise UsageError(f"device '{device}': decisions is a table, such as [decisions] array = [8, 16, 32]")
    legal = ["array", *(name for name, _ in architecture.array), *(f"{m.name}_kb" for m in architecture.memories[:-1]),
             *(["node_nm"] if has_node else [])]
    found: dict[str, tuple[Label, ...]] = {}
    for name, options in given.items():
        if name not in legal:
            hint = "(node_nm needs a table [silicon])" if name == "node_nm" else ""
            raise unknown(f"decision of the device '{device}'", name, legal, hint)
        if not isinstance(options, Sequence) or isinstance(options, str) or not options \
                or not all(positive(option) for option in options):
            raise UsageError(f"device '{device}': decisions.{name} is a list of different numbers above 0, not "
                             f"{options!r}")
        if name == "node_nm":
            options = [int(node(option).name) for option in options]
        if len(set(options)) != len(options):
            raise UsageError(f"device '{device}': decisions.{name} is a list of different numbers, not "
                             f"{', '.join(map(str, given[name]))}"
                             + (", which are one process (16, 14 and 12 nm are 14)" if name == "node_nm" else ""))
        whole = name == "array" or name in dict(architecture.array)
        if whole and not all(isinstance(option, int) for option in options):
            raise UsageError(f"device '{device}': decisions.{name} are whole numbers of units, not {list(options)}")
        found[name] = tuple(options)
    if "array" in found and (stray := [name for name, _ in architecture.array if name in found]):
        raise UsageError(f"device '{device}': decisions.array decides every dimension, {stray[0]} too; take one of "
                         "them")
    return found


def positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def check(device: str, labels: Mapping[str, Label], open_: Mapping[str, Sequence[Label]]) -> None:
    """Raises `UsageError` where a decision is none of the device's."""
    for name, label in labels.items():
        if name not in open_:
            raise unknown(f"decision of the device '{device}'", name, list(open_))
        if label not in open_[name]:
            raise UsageError(f"device '{device}': {name} is one of {', '.join(map(str, open_[name]))}, not {label!r}")


def decided(architecture: Architecture, labels: Mapping[str, Any]) -> Architecture:
    """The array with its decisions taken; the node and the width of the multipliers are none of its own."""
    array = tuple((name, int(labels.get(name, labels.get("array", size)))) for name, size in architecture.array)
    sizes = {name.removesuffix("_kb"): label * 8192.0 for name, label in labels.items() if name.endswith("_kb")}
    return replace(architecture, array=array).resized(**sizes)


def doubts(before: Architecture, after: Architecture) -> dict[str, tuple[float, float]]:
    """Factors around the energies of memories of another size: they are taken to go as its square root (`resized`), and
    may go as the fourth root, as ZigZag's own memories of 32 kB and 2 MB do more or less."""
    factors = {new.name: (old.size / new.size) ** 0.25 for old, new in zip(before.memories, after.memories, strict=True)
               if new.size != old.size}
    return {name: (min(1.0, factor), max(1.0, factor)) for name, factor in factors.items()}


def scaled(architecture: Architecture, on_chip: float, unit: float) -> Architecture:
    """The array with other energies: those of memories on the chip times `on_chip`, of an operation times `unit`. The
    outermost memory is another chip."""
    memories = [replace(each, read=each.read * on_chip, write=each.write * on_chip, leakage=each.leakage * on_chip)
                for each in architecture.memories[:-1]]
    return replace(architecture, mac=architecture.mac * unit, memories=(*memories, architecture.memories[-1]))
