"""Building many networks of one space: a part is built once for all networks in which it is the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from archfab.lowering.concrete import Builder
from archfab.space import Space
from archfab.space.descriptions import encode

REMEMBERED = 20_000         # parts kept before they are forgotten and built again


class Remembering(Builder):
    """A builder for many networks of one space: a part is built once for all networks in which it is the same."""

    def __init__(self, space: Space) -> None:
        super().__init__({})
        self.space = space
        self._known: dict[Any, Any] = {}
        self._spelled: dict[int, tuple[tuple[str, ...], int | str, Any]] = {}

    def part(self, value: Any, x: Any, where: str) -> tuple[nn.Module, Any]:
        if self.inside:
            return super().part(value, x, where)
        names, text = self._spell(value)
        key = where, signature(x), text, tuple(map(self.genotype.get, names))
        found = self._known.get(key)
        if found is None:
            found = self.first(value, x, where)
            if len(self._known) > REMEMBERED:
                self._known.clear()
                self._spelled.clear()
            self._known[key] = found
        return self.again(found)

    def first(self, value: Any, x: Any, where: str) -> Any:
        """What is kept of a part when it is built."""
        return super().part(value, x, where)

    def again(self, found: Any) -> tuple[nn.Module, Any]:
        """What comes of it each time that the part is needed."""
        return found

    def _spell(self, value: Any) -> tuple[tuple[str, ...], int | str]:
        """The decisions in a part, and what tells it apart: itself, or its text where a container has just made it."""
        found = self._spelled.get(id(value))
        if found is None:
            names, text = self.space.decisions(value), ""
            if names is None:
                choices: dict[str, Any] = {}
                text, names = repr(encode(value, choices)), tuple(choices)
            found = self._spelled[id(value)] = names, text or id(value), value      # held, so that its id stays its own
        return found[:2]


def signature(x: Any) -> Any:
    """Shapes and types of an input, to look parts up by."""
    if isinstance(x, torch.Tensor):
        return x.shape, x.dtype
    return tuple(map(signature, x)) if isinstance(x, tuple | list) else repr(x)
