"""Timeloop's files: an architecture (v0.4) with Accelergy's tables of energy and area, and a mapping.

Timeloop (Parashar et al., ISPASS 2019) lists components from the outside inwards, gives energy in pJ per access of
`width` bits (ERT) and area in um2 (ART), and names the loops N, G, M, C, P, Q, R, S; R goes with P, S with Q.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archfab.core import UsageError
from archfab.hardware.mapping.architecture import DIRECTIONS, OPERANDS, TIMELOOP, Architecture, Memory, Port
from archfab.hardware.mapping.nest import Nest

LOOPS = {"N": "B", "G": "G", "M": "K", "C": "C", "P": "OX", "Q": "OY", "R": "FX", "S": "FY"}
DATASPACES = {"Inputs": "input", "Weights": "weight", "Outputs": "output"}


def read(architecture: Path, energies: Path, areas: Path | None = None) -> Architecture:
    """An architecture from `arch.yaml`, `ERT.yaml` and, where areas are wanted, `ART.yaml`."""
    arch = _load(architecture)
    try:
        nodes = arch["architecture"]["nodes"]
        energy = {_component(each["name"]): {action["name"]: float(action["energy"]) for action in each["actions"]}
                  for each in _load(energies)["ERT"]["tables"]}
        area = {} if areas is None else {_component(each["name"]): float(each["area"]) / 1e6
                                         for each in _load(areas)["ART"]["tables"]}
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{architecture.name}, {energies.name}{(areas and ', ' + areas.name) or ''}: this is not what "
                         f"Timeloop v0.4 and Accelergy write: {type(error).__name__} {error}") from None
    return _assemble(list(_flat(nodes)), energy, area, architecture.name)


def read_nest(path: Path, architecture: Architecture) -> Nest:
    """The mapping of a `map.yaml`."""
    blocks: dict[str, list[tuple[str, int]]] = {}
    spatial: dict[str, list[tuple[str, int]]] = {}
    order: list[str] = []
    try:
        entries = _load(path)["mapping"]
        for each in entries:
            if each["type"] not in ("temporal", "spatial"):
                continue
            factors = {word[0]: int(word[1:]) for word in str(each["factors"]).split()}
            loops = [(LOOPS[letter], factors[letter]) for letter in each["permutation"] if factors.get(letter, 1) > 1]
            if each["type"] == "spatial":
                spatial[each["target"]] = loops
            else:
                blocks[each["target"]] = loops
                order.append(each["target"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path.name} is no mapping of Timeloop: {type(error).__name__} {error}") from None
    names = [memory.name for memory in architecture.memories]
    if extra := [name for name in order if name not in names and blocks[name]]:
        raise UsageError(f"{path.name} puts loops at {extra[0]}, which is no memory; there are {', '.join(names)}")
    nested: list[tuple[str, int]] = []
    upto: dict[str, int] = {}
    for name in order:
        nested += blocks[name]
        upto[name] = len(nested)
    unrolled = tuple(tuple(spatial.get(f"inter_{name}_spatial", ())) for name, _ in architecture.array)
    held = tuple((operand, tuple(upto.get(names[at], 0) for at in architecture.levels(operand)))
                 for operand in OPERANDS)
    return Nest(unrolled, tuple(nested), held)


def _load(path: Path) -> Any:
    """Timeloop's YAML, whose tags say what a node is; the kind is kept under the key `node`."""
    try:
        import yaml  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise UsageError("Timeloop's files need PyYAML; install it: pip install pyyaml") from None

    class Loader(yaml.SafeLoader):
        """Safe, and knows the tags of nodes."""

    def node(loader: Any, suffix: str, at: Any) -> dict[str, Any]:
        return {"node": suffix, **loader.construct_mapping(at, deep=True)}
    Loader.add_multi_constructor("!", node)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader)
    except OSError:
        raise UsageError(f"there is no file {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} is no YAML file: {' '.join(str(error).split())}") from None


def _component(name: str) -> str:
    """`system_top_level.mac[1..168]` is the component `mac`."""
    return re.sub(r"\[.*\]$", "", str(name)).rpartition(".")[2]


def _flat(nodes: Sequence[Mapping[str, Any]]) -> Any:
    for node in nodes:
        if node["node"] in ("Parallel", "Pipelined", "Hierarchical"):
            yield from _flat(node["nodes"])
        else:
            yield node


def _assemble(nodes: Sequence[Mapping[str, Any]], energy: Mapping[str, Mapping[str, float]], area: Mapping[str, float],
              where: str) -> Architecture:
    array: list[tuple[str, int]] = []
    unrolls: list[tuple[str, tuple[str, ...]]] = []
    memories: list[Memory] = []
    containers = [node for node in nodes if node["node"] == "Container" and "spatial" in node]
    last = nodes[-1]["name"] if nodes else ""
    for node in containers:
        array.append((node["name"], math.prod(int(size) for size in node["spatial"].values())))
        free = _free(node.get("constraints", {}).get("spatial", {}))
        if free is not None:
            unrolls.append((node["name"], free))
    seen = 0
    for node in nodes:
        if node["node"] == "Container":
            seen += node in containers
        elif node["name"] != last:
            memories.append(_memory(node, energy, area, tuple(name for name, _ in array[seen:]), where))
    return Architecture(where, tuple(array), _energy(energy, last, "compute", where), tuple(reversed(memories)),
                        TIMELOOP, area.get(last), unrolls=tuple(unrolls), even=True)


def _memory(node: Mapping[str, Any], energy: Mapping[str, Mapping[str, float]], area: Mapping[str, float],
            serves: tuple[str, ...], where: str) -> Memory:
    name, attributes, constraints = node["name"], node["attributes"], node.get("constraints", {})
    kept = constraints.get("dataspace", {}).get("keep") or list(DATASPACES)
    operands = tuple(operand for dataspace, operand in DATASPACES.items() if dataspace in kept)
    width, datawidth = float(attributes["width"]), float(attributes["datawidth"])
    ports = tuple(_port(f"{kind}_port", attributes.get(f"{kind}_bandwidth"), datawidth, operands, directions)
                  for kind, directions in (("read", DIRECTIONS[1::2]), ("write", DIRECTIONS[::2])))
    depth = attributes.get("depth")
    return Memory(name, math.inf if depth is None else float(depth) * width, _energy(energy, name, "read", where),
                  _energy(energy, name, "write", where), operands, ports, serves, area.get(name), width,
                  energy[name].get("leak", 0.0), loops=_free(constraints.get("temporal", {})))


def _port(name: str, words: Any, datawidth: float, operands: tuple[str, ...], directions: tuple[str, ...]) -> Port:
    """A port without a bandwidth is never waited for."""
    bits = math.inf if words is None else float(words) * datawidth
    return Port(name, bits, bits, tuple((operand, direction) for operand in operands for direction in directions))


def _free(constraint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The loops that a constraint leaves free; None where it constrains none. Groups, which its layers have not, are
    free where outputs are."""
    factors = constraint.get("factors")
    if factors is None:
        return None
    split = [str(each).replace(" ", "").partition("=") for each in factors]
    fixed = {LOOPS[letter] for letter, _, count in split if count == "1"}
    if "K" in fixed:
        fixed.add("G")
    return tuple(loop for loop in LOOPS.values() if loop not in fixed)


def _energy(energy: Mapping[str, Mapping[str, float]], name: str, action: str, where: str) -> float:
    if action not in energy.get(name, {}):
        raise UsageError(f"{where}: the table of energies says nothing of '{action}' of {name}")
    return energy[name][action]
