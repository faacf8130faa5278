"""What a space is and what it can do, said before anything runs."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from archfab import registry
from archfab.core import Genotype, Label
from archfab.space.counting import Node
from archfab.space.space import Space

TRIES = 5       # networks tried with an option before it is held to be impossible


def report(space: Space, example: tuple[Any, ...] | None) -> dict[str, Any]:
    """Size, hash, sampling, every choice with its labels and what it hangs on, and the lowerings."""
    counter = space.counter
    return {"size": counter.count if counter else None, "hash": space.hash, "sampling": space.sampling,
            "choices": [{"name": name, "labels": list(labels), "when": conditions(space).get(name, "always")}
                        for name, labels in space.labels.items()],
            "lowerings": {name: dict(zip(("ok", "because"), registry.load("lowerings", name)(space, example),
                                         strict=True))
                          for name in registry.names("lowerings")}}


def conditions(space: Space) -> dict[str, str]:
    """For each choice that not every network has, the decisions that bring it, in words."""
    always = {id(node): node for node in space.roots}
    for node in (pending := list(space.roots)):
        for below in set.intersection(*(set(opened) for opened in node.opens.values())):
            if always.setdefault(id(below), below) is below and below not in pending:
                pending.append(below)
    found: dict[str, list[str]] = {}
    seen: set[Node] = set(space.roots)
    for node in (pending := list(space.roots)):
        for label, opened in node.opens.items():
            for below in opened:
                found.setdefault(below.name, []).append(f"{node.name}={label}")
                if below not in seen:
                    seen.add(below)
                    pending.append(below)
    everywhere = {node.name for node in always.values()}
    return {name: " or ".join(dict.fromkeys(reasons)) for name, reasons in found.items() if name not in everywhere}


def uncovered(space: Space, works: Callable[[Genotype], bool], rng: random.Random) -> list[tuple[str, Label]]:
    """The options that stand in no network that works, each tried a few times with other decisions drawn."""
    missing = dict.fromkeys((name, label) for name, labels in space.labels.items() for label in labels)
    paths = ways(space)
    left = []
    for name, label in [*missing]:
        for _ in range(TRIES):
            if (name, label) not in missing:
                break
            genotype = space.fix({**paths[name], name: label}, rng)
            if works(genotype):
                for item in genotype.items():
                    missing.pop(item, None)
        if (name, label) in missing:
            left.append((name, label))
    return left if space.labels or works({}) else [("the one network", None)]


def ways(space: Space) -> dict[str, dict[str, Label]]:
    """For each choice, decisions under which a network has it."""
    found: dict[str, dict[str, Label]] = {}
    pending: list[tuple[Node, dict[str, Label]]] = [(node, {}) for node in space.roots]
    seen: set[tuple[Node, frozenset[tuple[str, Label]]]] = set()
    for node, before in pending:
        key = (node, frozenset((name, label) for name, label in before.items() if name in node.names))
        if key in seen:
            continue
        seen.add(key)
        if node.name in before:
            pending.extend((below, before) for below in node.opens[before[node.name]])
            continue
        found.setdefault(node.name, before)
        pending.extend((below, {**before, node.name: label})
                       for label, opened in node.opens.items() for below in opened)
    return found
