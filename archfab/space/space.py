"""A space: the decisions of a description, and walks, samples and changes of its genotypes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from archfab.core import Genotype, Label, UsageError, identity
from archfab.space.choices import Choice, Repeat, evaluate, undecided
from archfab.space.counting import Counter, Intractable, Node
from archfab.space.descriptions import decode, encode, parts

MISSING = "\0"       # no label that a person writes


class Space:
    """A network description with decisions in it.

    A genotype is a dict from choice name to label that holds exactly the decisions which that network has.
    """

    def __init__(self, root: Any) -> None:
        self.root = root
        options: dict[str, Any] = {}
        try:
            body = encode(root, options)
        except RecursionError:
            raise UsageError("the description is nested too deeply, or contains itself") from None
        self.data: dict[str, Any] = {"root": body, "choices": options}
        self.labels: dict[str, tuple[Label, ...]] = {
            name: tuple(label for label, _ in listed) for name, listed in options.items()}
        self._made: dict[int | str, tuple[Any, tuple[Node, ...]]] = {}
        self.roots = self._nodes(root)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Space:
        """The space that was written as `space.data`."""
        try:
            return cls(decode(data["root"], data["choices"], {}))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise UsageError("this is no space written by archfab") from None

    @cached_property
    def hash(self) -> str:
        """12 digits that name the declaration, the same in every process and on every machine."""
        return identity(self.data)

    @staticmethod
    def id(genotype: Genotype) -> str:
        """12 digits that name the architecture, the same in every process and on every machine."""
        return identity(genotype)

    @cached_property
    def counter(self) -> Counter | None:
        """Exact counting, or None where the decisions are too entangled for it."""
        try:
            return Counter(self.roots)
        except (Intractable, RecursionError):
            return None

    @property
    def size(self) -> int:
        """The number of different architectures."""
        if self.counter is None:
            raise UsageError("the decisions of this space are too entangled to be counted exactly")
        return self.counter.count

    @property
    def sampling(self) -> str:
        """How `sample` draws, in words."""
        if not self.counter:
            return "uniform decision by decision"
        return f"evenly over the kinds of network ('{self.root.name}'), uniform over the architectures of each" \
            if isinstance(self.root, Choice) else "uniform over architectures"

    def sample(self, rng: random.Random) -> dict[str, Label]:
        """A random genotype: every architecture equally likely where that is tractable (see `sampling`).

        Where the whole network is a choice, each of its options is: a kind with few decisions would never be drawn
        beside one with many.
        """
        if self.counter:
            first, count = 0, self.counter.count
            if isinstance(self.root, Choice):
                first, count = rng.choice(self.counter.ranges)
            return self.fix(self.counter.at(first + rng.randrange(count)))          # in the order of declaration
        return self.walk(lambda node: rng.choice(self.labels[node.name]))

    def __iter__(self) -> Iterator[dict[str, Label]]:
        """Every genotype once, where the space can be counted."""
        self.size  # noqa: B018 - says so where it cannot
        assert self.counter
        return (self.fix(self.counter.at(i)) for i in range(self.size))

    def mutate(self, genotype: Genotype, rng: random.Random) -> dict[str, Label]:
        """One decision changed; what the change opens is drawn, what it closes is dropped."""
        free = [name for name in genotype if len(self.labels[name]) > 1]
        if not free:
            return dict(genotype)
        name = free[int(rng.random() * len(free))]
        others = [label for label in self.labels[name] if label != genotype[name]]
        return self.fix({**genotype, name: others[int(rng.random() * len(others))]}, rng)

    def crossover(self, one: Genotype, other: Genotype, rng: random.Random) -> dict[str, Label]:
        """Every decision from either parent, evenly; a decision that only one parent has comes from it."""

        def pick(node: Node) -> Label:
            first, second = (one, other) if rng.random() < 0.5 else (other, one)
            if node.name in first:
                return first[node.name]
            return second[node.name] if node.name in second else rng.choice(self.labels[node.name])

        return self.walk(pick)

    def neighbours(self, genotype: Genotype) -> Iterator[dict[str, Label]]:
        """Every genotype with one decision changed; what a change opens takes its first option."""
        for name, label in genotype.items():
            for other in self.labels[name]:
                if other != label:
                    yield self.fix({**genotype, name: other})

    def encode(self, genotype: Genotype) -> list[float]:
        """A vector of fixed length: one-hot by decision, all zeros where the network has not got it."""
        return [float(name in genotype and genotype[name] == label)
                for name, labels in self.labels.items() for label in labels]

    def fix(self, genotype: Genotype, rng: random.Random | None = None) -> dict[str, Label]:
        """The nearest legal genotype: illegal or missing labels are drawn (the first option without `rng`)."""

        def pick(node: Node) -> Label:
            label = genotype.get(node.name, MISSING)
            labels = self.labels[node.name]
            if legal(label, labels):
                return label
            return labels[int(rng.random() * len(labels))] if rng else labels[0]

        return self.walk(pick)

    def check(self, genotype: Any) -> None:
        """Raises `UsageError`, saying what is legal, unless this is a genotype of the space."""
        if not isinstance(genotype, Mapping):
            raise UsageError(f"a genotype is a JSON object from choice name to label, not {genotype!r}")
        missing: list[Node] = []

        def pick(node: Node) -> Label:
            labels = self.labels[node.name]
            if node.name not in genotype:
                missing.append(node)
                return labels[0]
            label = genotype[node.name]
            if not legal(label, labels):
                raise UsageError(f"choice '{node.name}' has no option {label!r}; legal: {', '.join(map(repr, labels))}")
            return label

        active = self.walk(pick)
        if missing:
            raise UsageError("the genotype lacks " + "; ".join(
                f"'{node.name}' (legal: {', '.join(map(repr, self.labels[node.name]))})" for node in missing[:3]))
        for name in genotype:
            if name not in self.labels:
                near = get_close_matches(str(name), list(self.labels), n=1)
                raise UsageError(f"the space has no choice '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
            if name not in active:
                raise UsageError(f"'{name}' is not a decision of this network: what it belongs to was not chosen")

    def walk(self, pick: Callable[[Node], Label]) -> dict[str, Label]:
        """Takes the decisions in order, `pick` saying each one, and follows what they open."""
        genotype: dict[str, Label] = {}
        pending = list(self.roots)
        for node in pending:
            name = node.name
            if name not in genotype:
                genotype[name] = pick(node)
            opened = node.opens[genotype[name]]
            if opened:
                pending.extend(opened)
        return genotype

    def decisions(self, part: Any) -> tuple[str, ...] | None:
        """The names of the decisions that stand in a part of the declaration; None for what is no part of it."""
        key = part.name if isinstance(part, Choice) else id(part)
        if key not in self._made:
            return None
        return tuple(sorted(set().union(*(each.names for each in self._made[key][1]))))

    def _nodes(self, value: Any) -> tuple[Node, ...]:
        """The decisions that stand open in a description, each once."""
        key = value.name if isinstance(value, Choice) else id(value)
        if key not in self._made:
            self._made[key] = (value, self._open(value))    # the value is held so that its id stays its own
        return self._made[key][1]

    def _open(self, value: Any) -> tuple[Node, ...]:
        if isinstance(value, Choice):
            return (node(value.name, {label: self._nodes(part) for label, part in value.options.items()}),)
        if isinstance(value, Repeat):
            return self._repeat(value)
        return once(node for part in parts(value) for node in self._nodes(part))

    def _repeat(self, value: Repeat) -> tuple[Node, ...]:
        items = [self._nodes(item) for item in value.items]

        def decide(taken: dict[str, Label]) -> tuple[Node, ...]:
            choice = undecided(value.count, taken)
            if choice is None:
                return once(each for item in items[:evaluate(value.count, taken)] for each in item)
            return (node(choice.name, {label: decide({**taken, choice.name: label}) for label in choice.options}),)

        return decide({})


def legal(label: Any, labels: tuple[Label, ...]) -> bool:
    """Whether a label is among those of a choice; 1, 1.0 and True are three labels."""
    return any(label == other and type(label) is type(other) for other in labels)


def node(name: str, opens: dict[Label, tuple[Node, ...]]) -> Node:
    below = (each.names for opened in opens.values() for each in opened)
    return Node(name, opens, frozenset({name}).union(*below))


def once(nodes: Any) -> tuple[Node, ...]:
    return tuple({id(each): each for each in nodes}.values())


def as_space(value: Any) -> Space:
    """A space, given one or a description."""
    return value if isinstance(value, Space) else Space(value)
