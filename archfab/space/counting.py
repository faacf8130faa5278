"""Counting and numbering the architectures of a conditional space, exactly.

A space is a set of open decisions; taking one may open others. Decisions that share no name below them are
independent, so their counts multiply; the options of one decision exclude each other, so theirs add up.
Decomposing into independent groups and remembering every group met makes this linear for the spaces people
write (it is component caching, as in exact model counters: Sang et al., SAT 2004).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from archfab.core import Label


class Intractable(Exception):
    """The decisions are so entangled that exact counting was given up."""


@dataclass(eq=False)
class Node:
    """An open decision: its name, and the decisions that each label opens."""

    name: str
    opens: dict[Label, tuple[Node, ...]]
    names: frozenset[str]       # of this decision and of all below it


@dataclass(frozen=True)
class Branch:
    """One decision of an independent group: running totals by label, and what is left to decide then."""

    name: str
    labels: tuple[Label, ...]
    totals: tuple[int, ...]     # totals[i]: architectures under labels before i
    rests: tuple[tuple[Branch, ...], ...]
    count: int


class Counter:
    """Counts the architectures under some open decisions, and finds the one with a given number."""

    def __init__(self, roots: tuple[Node, ...], most: int = 20_000) -> None:
        self._seen: dict[object, Branch] = {}
        self._most = most
        self.branches = self._branches(roots, {})
        self.count = product(self.branches)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Of the first decision's labels: the first number, and how many architectures each has."""
        (branch,) = self.branches
        ends = (*branch.totals[1:], branch.count)
        return [(first, end - first) for first, end in zip(branch.totals, ends, strict=True) if end > first]

    def at(self, index: int) -> dict[str, Label]:
        """The architecture with this number, from 0 to count - 1."""
        genotype: dict[str, Label] = {}
        pending = [(self.branches, index)]
        while pending:
            branches, index = pending.pop()
            for branch in branches:
                index, here = divmod(index, branch.count)
                chosen = bisect_right(branch.totals, here) - 1
                genotype[branch.name] = branch.labels[chosen]
                rest = branch.rests[chosen]
                if rest:
                    pending.append((rest, here - branch.totals[chosen]))
        return genotype

    def _branches(self, nodes: tuple[Node, ...], taken: dict[str, Label]) -> tuple[Branch, ...]:
        groups = independent(undecided(nodes, taken))
        return tuple(sorted((self._branch(group, taken) for group in groups), key=lambda b: b.name))

    def _branch(self, group: tuple[Node, ...], taken: dict[str, Label]) -> Branch:
        names = frozenset().union(*(node.names for node in group))
        relevant = {name: label for name, label in taken.items() if name in names}
        key = (frozenset(map(id, group)), tuple(sorted(relevant.items(), key=lambda item: item[0])))
        if key not in self._seen:
            if len(self._seen) >= self._most:
                raise Intractable
            self._seen[key] = self._decide(most_shared(group), group, relevant)
        return self._seen[key]

    def _decide(self, node: Node, group: tuple[Node, ...], taken: dict[str, Label]) -> Branch:
        rests = tuple(self._branches(group, {**taken, node.name: label}) for label in node.opens)
        totals = tuple(accumulate((product(rest) for rest in rests), initial=0))
        return Branch(node.name, tuple(node.opens), totals[:-1], rests, totals[-1])


def product(branches: tuple[Branch, ...]) -> int:
    count = 1
    for branch in branches:
        count *= branch.count
    return count


def undecided(nodes: tuple[Node, ...], taken: dict[str, Label]) -> list[Node]:
    """The open decisions once those already taken have opened what they open; each node once."""
    found: dict[int, Node] = {}
    pending = list(reversed(nodes))
    visited: set[int] = set()
    while pending:
        node = pending.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if node.name in taken:
            pending.extend(reversed(node.opens[taken[node.name]]))
        else:
            found[id(node)] = node
    return list(found.values())


def independent(nodes: list[Node]) -> list[tuple[Node, ...]]:
    """Nodes in groups, such that no name occurs below two groups."""
    groups: list[tuple[list[Node], set[str]]] = []
    for node in nodes:
        mine: tuple[list[Node], set[str]] = ([node], set(node.names))
        apart = []
        for group in groups:
            if group[1].isdisjoint(mine[1]):
                apart.append(group)
            else:
                mine = (group[0] + mine[0], group[1] | mine[1])
        groups = [*apart, mine]
    return [tuple(members) for members, _ in groups]


def most_shared(group: tuple[Node, ...]) -> Node:
    """The decision to take first: the one that occurs below the most others, so that the rest falls apart."""
    return max(group, key=lambda node: sum(node.name in other.names for other in group))
