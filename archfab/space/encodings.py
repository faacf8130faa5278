"""Encodings: genotypes as 0/1 vectors of a fixed length, decision by decision or path by path.

White et al., "BANANAS", AAAI 2021, and "A study on encodings for NAS", NeurIPS 2020.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from archfab.core import Genotype, canonical
from archfab.space.choices import Choice, Repeat, evaluate, outcomes
from archfab.space.descriptions import Description, encode, parts
from archfab.space.space import Space

if TYPE_CHECKING:
    import numpy as np

Path = tuple[Any, ...]      # the input that it starts at, then the operations along it

CELL = "archfab.nn.cells:CellModule"
ZERO = "archfab.nn.cells:ZeroModule"
ROUTES = 4096               # ways through a cell that are followed, the shortest


@dataclass(frozen=True)
class Encoding:
    """Genotypes as vectors: what each place stands for, and which places of a genotype hold a 1."""

    features: tuple[str, ...]
    ones: Callable[[Genotype], Iterable[int]]

    def __call__(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """The vectors of some genotypes, 0 and 1: float32 [genotypes, features]."""
        import numpy as np
        found = np.zeros((len(genotypes), len(self.features)), dtype=np.float32)
        for row, genotype in zip(found, genotypes, strict=True):
            row[list(self.ones(genotype))] = 1
        return found


def one_hot(space: Space, names: Iterable[str] | None = None) -> Encoding:
    """`Space.encode` for many genotypes at once: a place for each option of each decision (of `names` alone)."""
    places = [(name, label) for name in (space.labels if names is None else names) for label in space.labels[name]]
    at = {place: i for i, place in enumerate(places)}

    def ones(genotype: Genotype) -> Iterator[int]:
        return (at[item] for item in genotype.items() if item in at)

    return Encoding(tuple(f"{name}={label}" for name, label in places), ones)


def paths(space: Space, limit: int = 1024) -> Encoding | None:
    """A place for each way from an input of a cell to its output, told by the labels along it; None without cells.

    Networks that differ only in edges that no such path uses are encoded equally. A cell that stands in several
    places counts once; decisions that belong to no cell follow as one-hot. Of many paths the shortest have a
    place of their own, whole lengths at a time while they are at most `limit`; longer ones share `limit // 4`
    places by their hash (the paper leaves them out).
    """
    cells = [Cell(description) for description in distinct_cells(space.root)]
    if not cells:
        return None
    own, all_of_them = shortest(cells, limit)
    at = {path: i for i, path in enumerate(own)}
    shared = 0 if all_of_them else max(1, limit // 4)
    covered = {name for cell in cells for name in cell.space.labels}
    rest = one_hot(space, [name for name in space.labels if name not in covered])

    def place(path: Path) -> int:
        known = at.get(path)
        return len(own) + zlib.crc32(repr(path).encode()) % shared if known is None else known

    def ones(genotype: Genotype) -> Iterator[int]:
        for i, cell in enumerate(cells):
            yield from (place((i, *path)) for path in cell.paths(genotype))
        yield from (len(own) + shared + i for i in rest.ones(genotype))

    return Encoding((*(f"cell {path[0]}: {' > '.join(map(str, path[1:]))}" for path in own),
                     *(f"longer {i}" for i in range(shared)), *rest.features), ones)


class TooMany(Exception):
    """More paths than are worth a place each."""


class Cell:
    """The graph of a cell's description (see `archfab.nn.cells`): which paths there are, and which may be."""

    def __init__(self, description: Description) -> None:
        self.inputs: int = description.kwargs["inputs"]
        self.nodes: Sequence[Any] = description.kwargs["nodes"]
        self.space = Space(list(self.nodes))
        last = self.inputs + len(self.nodes)
        self.outputs = range(self.inputs if description.kwargs["concat"] else last - 1, last)
        edges = {target: list(every_edge(node)) for target, node in enumerate(self.nodes, self.inputs)}
        self.operations = {id(edge): Operation(edge.kwargs["op"]) for node in edges.values() for edge in node}
        self.possible = {target: [(source, self.operations[id(edge)]) for edge in node
                                  for source in {value for _, value in outcomes(edge.kwargs["source"])}]
                         for target, node in edges.items()}
        self.longest = self._longest()
        self.wires = {target: [(edge.kwargs["source"], self.operations[id(edge)]) for edge in edges[target]]
                      for target, node in enumerate(self.nodes, self.inputs) if isinstance(node, list | tuple)
                      and all(isinstance(edge, Description) and type(edge.kwargs["source"]) is int for edge in node)}

    def paths(self, genotype: Genotype) -> set[Path]:
        """The paths of a network, none where it has not got this cell."""
        if any(node.name not in genotype for node in self.space.roots):
            return set()
        found: dict[int, set[Path]] = {i: {(i,)} for i in range(self.inputs)}
        for target, node in enumerate(self.nodes, self.inputs):
            into: set[Path] = set()
            for source, operation in self.wires.get(target) or self._wired(node, genotype):
                word = operation.word(genotype)
                if word is not None:
                    into.update([(*path, word) for path in found[source] if len(path) <= self.longest])
            found[target] = into
        return set().union(*(found[i] for i in self.outputs))

    def _wired(self, node: Any, genotype: Genotype) -> Iterator[tuple[int, Operation]]:
        """From which nodes a node is fed, and through what."""
        for edge in taken_edges(node, genotype):
            yield evaluate(edge.kwargs["source"], genotype), self.operations[id(edge)]

    def by_length(self, limit: int) -> Iterator[set[Path]]:
        """The paths that there may be, of one operation, of two, ...; raises `TooMany` far beyond `limit`."""
        ends: dict[int, set[Path]] = {i: {(i,)} for i in range(self.inputs)}
        for _ in range(self.longest):
            longer: dict[int, set[Path]] = {}
            for target, into in self.possible.items():
                sources = [(ends[source], operation.words(limit)) for source, operation in into if source in ends]
                if any(len(words) * len(before) > 16 * limit for before, words in sources):
                    raise TooMany
                longer[target] = {(*path, word) for before, words in sources for path in before for word in words}
            ends = longer
            yield set().union(*(ends[i] for i in self.outputs))

    def _longest(self) -> int:
        """The number of operations on a path up to which there are at most `ROUTES` ways through the graph."""
        ways = dict.fromkeys(range(self.inputs), 1)
        total = 0
        for length in range(1, len(self.nodes) + 1):
            ways = {target: sum(ways.get(source, 0) for source in {source for source, _ in into})
                    for target, into in self.possible.items()}
            total += sum(ways[i] for i in self.outputs)
            if total > ROUTES:
                return max(1, length - 1)
        return len(self.nodes)


class Operation:
    """What an edge does, in one word: the labels of its decisions; None where it is no connection."""

    def __init__(self, op: Any) -> None:
        self.op = op
        self.space = Space(op)
        self.table: dict[Any, str | None] | None = None
        if isinstance(op, Choice) and len(self.space.labels) == 1:
            self.table = {label: None if is_zero(part) else str(label) for label, part in op.options.items()}

    def word(self, genotype: Genotype) -> str | None:
        if self.table is not None:
            return self.table[genotype[self.op.name]]
        op = self.op
        while isinstance(op, Choice):
            op = op.options[genotype[op.name]]
        if is_zero(op):
            return None
        return ",".join(map(str, self.space.walk(lambda node: genotype[node.name]).values())) or op.target

    def words(self, limit: int) -> set[str]:
        """Every word that it may be; raises `TooMany` where they are more than `limit`."""
        counter = self.space.counter
        if counter is None or counter.count > limit:
            raise TooMany
        return {word for genotype in self.space if (word := self.word(genotype)) is not None}


def distinct_cells(root: Any) -> list[Description]:
    """The cells with decisions in them, each once wherever it stands."""
    seen: set[int] = set()
    found: dict[str, Description] = {}
    pending = [root]
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Description) and value.target == CELL and Space(list(value.kwargs["nodes"])).labels:
            known = {name: value.kwargs[name] for name in ("nodes", "inputs", "concat")}
            found.setdefault(canonical(encode(known, {})), value)
        pending.extend(reversed(inside(value)))
    return list(found.values())


def inside(value: Any) -> list[Any]:
    """What stands directly inside a value, the options of a choice and the items of a repeat included."""
    if isinstance(value, Choice):
        return list(value.options.values())
    return list(value.items) if isinstance(value, Repeat) else parts(value)


def every_edge(node: Any) -> Iterator[Description]:
    """The edges that a node may have."""
    if isinstance(node, Choice | Repeat | list | tuple):
        for each in inside(node):
            yield from every_edge(each)
    else:
        yield node


def taken_edges(node: Any, genotype: Genotype) -> Iterator[Description]:
    """The edges that a node has."""
    if isinstance(node, Choice):
        yield from taken_edges(node.options[genotype[node.name]], genotype)
    elif isinstance(node, Repeat | list | tuple):
        items = node.items[:evaluate(node.count, genotype)] if isinstance(node, Repeat) else node
        for each in items:
            yield from taken_edges(each, genotype)
    else:
        yield node


def is_zero(op: Any) -> bool:
    return isinstance(op, Description) and op.target == ZERO


def shortest(cells: Sequence[Cell], limit: int) -> tuple[list[Path], bool]:
    """Paths by cell, the shortest first, as many whole lengths as `limit` allows; whether these are all."""
    found: list[Path] = []
    try:
        for lengths in zip_longest(*(cell.by_length(limit) for cell in cells), fillvalue=set[Path]()):
            if len(found) + sum(map(len, lengths)) > limit:
                return found, False
            found += [(i, *path) for i, level in enumerate(lengths) for path in sorted(level)]
    except TooMany:
        return found, False
    return found, True
