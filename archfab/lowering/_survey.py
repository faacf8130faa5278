"""Goes through a space once: what stands where, in which sizes, and which networks are the largest and smallest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.utils import _pytree as pytree

from archfab.core import Genotype, Label, UsageError, canonical
from archfab.lowering._lend import Unlendable, lend
from archfab.lowering.concrete import Builder, shapes_of
from archfab.space import Space
from archfab.space.descriptions import Description, encode
from archfab.space.report import ways

REMEMBERED = 100_000        # parts kept before they are forgotten and built again


class Remembering(Builder):
    """A builder for many networks of one space: a part is built once for all networks in which it is the same."""

    def __init__(self, space: Space) -> None:
        super().__init__({})
        self.space = space
        self.inside = 0             # above 0 while an argument of a call is built
        self._known: dict[Any, Any] = {}

    def part(self, value: Any, x: Any, where: str) -> tuple[nn.Module, Any]:
        if self.inside:
            return super().part(value, x, where)
        names, made = self.space.decisions(value), ""
        if names is None:               # a container has just made it
            choices: dict[str, Any] = {}
            made, names = repr(encode(value, choices)), tuple(choices)
        key = (where, signature(x), made, tuple(map(self.genotype.get, names)))
        found = self._known.get(key)
        if found is None:
            if len(self._known) > REMEMBERED:
                self._known.clear()
            found = self._known[key] = self.first(value, x, where)
        return self.again(found)

    def first(self, value: Any, x: Any, where: str) -> Any:
        """What is kept of a part when it is built."""
        return super().part(value, x, where)

    def again(self, found: Any) -> tuple[nn.Module, Any]:
        """What comes of it each time that the part is needed."""
        return found

    def argument(self, value: Any, x: Any, where: str) -> Any:
        self.inside += 1
        try:
            return super().argument(value, x, where)
        finally:
            self.inside -= 1

    def forget(self) -> None:
        self._known.clear()


def signature(x: Any) -> Any:
    """Shapes and types of an input, to look parts up by."""
    if isinstance(x, torch.Tensor):
        return tuple(x.shape), x.dtype
    return tuple(map(signature, x)) if isinstance(x, tuple | list) else repr(x)


@dataclass
class Place:
    """What was met at one place: modules of shapes alone, by their arguments, and a network that has the largest."""

    variants: dict[str, tuple[nn.Module, Genotype]] = field(default_factory=dict)     # by the call that makes it
    largest: str = ""
    kernels: set[tuple[int, ...]] = field(default_factory=set)

    def add(self, key: str, module: nn.Module, genotype: Genotype) -> None:
        """Notes a module, and a network that has it."""
        if key in self.variants:
            return
        self.variants[key] = module, genotype
        if not self.largest or weight_of(module) > weight_of(self.variants[self.largest][0]):
            self.largest = key
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.dim() > 2:
            self.kernels.add(tuple(weight.shape[2:]))

    def check(self, where: str) -> None:
        """Refuses a place where not every module can be cut out of the largest."""
        large, base = self.variants[self.largest]
        for small, genotype in self.variants.values():
            try:
                lend(large, small)
            except Unlendable as error:
                changed = [f"'{name}'" for name, label in genotype.items() if base.get(name, label) != label]
                raise UsageError(f"choice {' and '.join(changed)} cannot share weights at {where}: {error}") from None


class Survey(Remembering):
    """Goes through networks that together take every option, without any weights, and notes what stands where."""

    def __init__(self, space: Space, example: Any) -> None:
        super().__init__(space)
        self.places: dict[str, Place] = {}
        self._input = shapes_of(example)
        self._paths = ways(space)
        self._met: list[tuple[str, str, nn.Module, int]] = []
        self._work = 0
        self.defaults: dict[str, Label] = {name: most(labels) for name, labels in space.labels.items()}
        self.largest, self.smallest = self._extremes()
        for _, _, genotype in self.changes(self.largest):
            self.visit(genotype)
        for where, place in self.places.items():
            place.check(where)

    def visit(self, genotype: Genotype) -> tuple[int, int]:
        """Notes a network's parts; elements of its weights, and of what its parts hand on."""
        self.genotype, self._met, self._work = genotype, [], 0
        self.part(self.space.root, self._input, "net")
        for where, key, module, _ in self._met:
            self.places.setdefault(where, Place()).add(key, module, genotype)
        return sum(weight for *_, weight in self._met), self._work

    def changes(self, base: Genotype) -> Iterator[tuple[str, Label, Genotype]]:
        """Networks that differ from one in a single decision, and in what that needs: every option once."""
        for name, labels in self.space.labels.items():
            for label in labels:
                wanted = {**base, **self._paths[name], name: label}
                yield name, label, self.complete(wanted)

    def complete(self, wanted: Genotype) -> dict[str, Label]:
        """A whole network with these decisions; the others as in the largest."""
        return self.space.walk(lambda node: wanted[node.name] if node.name in wanted else self.defaults[node.name])

    def _extremes(self) -> tuple[Genotype, Genotype]:
        """The networks of most and of least weights, decision by decision; where they are equal, of most and of least
        that their parts hand on."""
        base = self.complete({})
        sizes: dict[str, dict[Label, tuple[int, int]]] = {}
        for name, label, genotype in self.changes(base):
            sizes.setdefault(name, {})[label] = self.visit(genotype)
        large = {name: max(found, key=lambda label: (found[label], label == self.defaults[name]))
                 for name, found in sizes.items()}
        small = {name: min(found, key=found.__getitem__) for name, found in sizes.items()}
        self.defaults = large
        return self.complete(large), self.complete(small)

    def first(self, value: Any, x: Any, where: str) -> Any:
        before, work = len(self._met), self._work
        module, y = super().first(value, x, where)
        found = module, y, self._met[before:], self._work - work
        del self._met[before:]
        self._work = work
        return found

    def again(self, found: Any) -> tuple[nn.Module, Any]:
        module, y, met, work = found
        self._met += met
        self._work += work
        return module, y

    def leaf(self, value: Description, x: Any, where: str) -> tuple[nn.Module, Any]:
        module, y = super().leaf(value, x, where)
        if not self.inside:
            self._work += sum(part.numel() for part in (y if isinstance(y, tuple) else (y,))
                              if isinstance(part, torch.Tensor))
        return module, y

    def made(self, value: Description, args: tuple[Any, ...], kwargs: dict[str, Any], where: str) -> Any:
        module = light(value, args, kwargs)
        if isinstance(module, nn.Module) and not self.inside and (weight := weight_of(module)):
            self._met.append((where, call(value, args, kwargs), module, weight))
        return module


_surveys: WeakKeyDictionary[Space, dict[str, Survey]] = WeakKeyDictionary()


def survey_of(space: Space, example: Any) -> Survey:
    """The survey of a space for inputs of a shape, made once.

    :raises UsageError: when some option's weights cannot be cut out of the largest ones; says which and why.
    """
    known = _surveys.setdefault(space, {})
    key = repr(signature(shapes_of(example)))
    if key not in known:
        known[key] = Survey(space, example)
    return known[key]


def light(value: Description, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The module of a call without its weights, where it needs none to be made."""
    if any(isinstance(part, nn.Module) for part in pytree.tree_leaves((args, kwargs))):
        return value.make(*args, **kwargs)
    with torch.device("meta"):
        module = value.make(*args, **kwargs)
    if isinstance(module, nn.Module) and any(part._non_persistent_buffers_set for part in module.modules()):
        return value.make(*args, **kwargs)          # what no state dict holds is computed when it is made
    return module


def call(value: Description, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """A call as text; modules among its arguments by the shapes of their tensors."""
    def plain(part: Any) -> Any:
        if isinstance(part, nn.Module):
            return [repr(part), [list(tensor.shape) for tensor in part.state_dict().values()]]
        if isinstance(part, list | tuple):
            return [plain(each) for each in part]
        if isinstance(part, Mapping):
            return {str(key): plain(each) for key, each in part.items()}
        return encode(part, {})

    return canonical([value.target, plain(args), plain(kwargs)])


def weight_of(module: nn.Module) -> int:
    """Elements of a module's tensors."""
    return sum(tensor.numel() for tensor in module.parameters()) + sum(t.numel() for t in module.buffers())


def most(labels: tuple[Label, ...]) -> Label:
    """The largest of numbers, the last of other labels."""
    numeric = [label for label in labels if isinstance(label, int | float) and not isinstance(label, bool)]
    return max(numeric) if len(numeric) == len(labels) else labels[-1]
