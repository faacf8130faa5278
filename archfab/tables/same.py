"""When two genotypes are one network, so that a table holds it once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from archfab.core import Genotype, Label

ABSENT = "\0"           # stands where a genotype has not got a decision; no label that a person writes


@dataclass(frozen=True)
class Plain:
    """Genotypes that differ anywhere are different networks."""

    names: tuple[str, ...]

    def __call__(self, genotype: Genotype) -> Hashable:
        get = genotype.get
        return tuple([get(name, ABSENT) for name in self.names])


@dataclass(frozen=True)
class Tree:
    """Networks of nodes that each read one earlier node, as in NAS-Bench-Graph (Qin et al., NeurIPS 2022).

    The decision `parents` holds a digit for each node: which node it reads, 0 being the input. The network's
    output is what no node reads. Two genotypes are the same network when their trees are equal up to the order of
    siblings, once every node whose operation is `identity` is left out: its readers read its parent instead, and
    one that is its parent's only reader makes the parent an output.
    """

    parents: str
    nodes: tuple[str, ...]
    identity: Label

    def __call__(self, genotype: Genotype) -> Hashable:
        readers: list[list[int]] = [[] for _ in range(len(self.nodes) + 1)]
        for node, parent in enumerate(str(genotype.get(self.parents, "")), 1):
            readers[int(parent)].append(node)
        return self._form(0, readers, [genotype.get(name) for name in self.nodes])

    def _form(self, node: int, readers: list[list[int]], operations: list[Any]) -> tuple[Any, ...]:
        """What reads a node: operations, each with what reads it, in an order of their own."""
        found: list[tuple[Any, ...]] = []
        for reader in readers[node]:
            below = self._form(reader, readers, operations)
            operation = operations[reader - 1]
            if operation == self.identity and below:
                found.extend(below)
            else:
                found.append((operation, below))
        if node and found == [(self.identity, ())]:
            return ()
        return tuple(sorted(found))

    def fits(self, genotype: Genotype) -> bool:
        """Whether the digits name earlier nodes, one for each node."""
        digits = str(genotype.get(self.parents, ""))
        return len(digits) == len(self.nodes) and all(
            digit.isdecimal() and digit.isascii() and int(digit) <= i for i, digit in enumerate(digits))
