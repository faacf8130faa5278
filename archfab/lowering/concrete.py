"""From a declaration and its decisions to a plain torch module. Input sizes are inferred on the way."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.utils import _pytree as pytree

from archfab.core import BuildError, Genotype, UsageError, canonical
from archfab.space import Space
from archfab.space.choices import Choice, Expr, Repeat, evaluate
from archfab.space.descriptions import INFERRED, Description, encode
from archfab.space.report import uncovered

_flows: dict[Any, Any] = {}     # what a part makes of an input's shape, by the part and the shape
_sizes: dict[Any, list[tuple[int, str]]] = {}


def build(space: Space, genotype: Genotype, example: tuple[Any, ...]) -> nn.Module:
    """The network of a genotype, with fresh weights from torch's global generator.

    :param example: inputs of the network's forward; only their shapes and types are looked at.
    """
    space.check(genotype)
    return Builder(genotype).part(space.root, shapes_of(example), "net")[0]


def shapes_of(example: Any) -> Any:
    """Inputs as shapes and types alone; a single one by itself."""
    example = (example,) if isinstance(example, torch.Tensor) else example
    shapes = pytree.tree_map_only(torch.Tensor, lambda x: torch.empty_like(x, device="meta"), example)
    return shapes[0] if len(shapes) == 1 else shapes


class Builder:
    """Builds part after part, each with the shape that the one before hands on.

    `where` is the place of a part: equal in every network that has the part, and no other part has it.
    """

    def __init__(self, genotype: Genotype) -> None:
        self.genotype = genotype
        self.inside = 0             # above 0 while an argument of a call is built

    def part(self, value: Any, x: Any, where: str) -> tuple[nn.Module, Any]:
        """The module of a description that stands where `x` comes in, and what it makes of `x`."""
        value, where = self.taken(value, where)
        if isinstance(value, list | tuple | Repeat):
            return self.chain(self.row(value, where), x)
        if not isinstance(value, Description):
            raise BuildError(f"{where}: {value!r} is no description of a module")
        where = f"{where}/{value.target.rpartition(':')[2]}"
        if value.target == "torch.nn:Sequential":
            return self.chain(self.row(value.args, where), x)
        try:
            if hasattr(value.make, "assemble"):
                return self.container(value, x, where)
            return self.leaf(value, x, where)
        except (BuildError, UsageError):
            raise
        except Exception as error:
            raise BuildError(f"{where} on an input of {shape_of(x)}: {first_line(error)}") from error

    def chain(self, row: Iterable[tuple[str, Any]], x: Any) -> tuple[nn.Module, Any]:
        """One part after another."""
        modules = []
        for place, item in row:
            module, x = self.part(item, x, place)
            modules.append(module)
        return nn.Sequential(*modules), x

    def container(self, value: Description, x: Any, where: str) -> tuple[nn.Module, Any]:
        """A part that builds what stands in it itself."""
        return value.make.assemble(self, x, where, *value.args, **value.kwargs)     # type: ignore[attr-defined]

    def leaf(self, value: Description, x: Any, where: str) -> tuple[nn.Module, Any]:
        """A module made by one call, its arguments decided and its input sizes filled in."""
        args = tuple(self.argument(arg, x, where) for arg in value.args)
        kwargs = {key: self.argument(arg, x, where) for key, arg in value.kwargs.items()}
        args, kwargs = with_sizes(value, args, kwargs, x, where)
        try:
            module = self.made(value, args, kwargs, where)
        except Exception as error:
            shown = ", ".join([*map(repr, args), *(f"{key}={arg!r}" for key, arg in kwargs.items())])[:200]
            raise BuildError(f"{where}({shown}) on an input of {shape_of(x)}: {first_line(error)}") from error
        if isinstance(module, Description):
            return self.part(module, x, where)
        if not isinstance(module, nn.Module):
            raise BuildError(f"{where} returned {type(module).__name__}, not a torch module")
        if isinstance(module, LazyModuleMixin):
            plain = type(module).__name__.removeprefix("Lazy")
            raise BuildError(f"{where}: sizes are inferred anyway; write nn.{plain}")
        return module, flow(value, args, kwargs, module, x, where)

    def made(self, value: Description, args: tuple[Any, ...], kwargs: dict[str, Any], where: str) -> Any:
        """The call itself; lowerings that share weights do something else here."""
        return value.make(*args, **kwargs)

    def argument(self, value: Any, x: Any, where: str) -> Any:
        """A plain argument; a description among the arguments is built for the same input."""
        value = self.decided(value, x)
        if isinstance(value, Description):
            self.inside += 1
            try:
                return self.part(value, x, where)[0]
            finally:
                self.inside -= 1
        if isinstance(value, Repeat):
            return [self.argument(item, x, where) for item in self.items(value)]
        if isinstance(value, list | tuple):
            return type(value)(self.argument(item, x, where) for item in value)
        if isinstance(value, Mapping):
            return {key: self.argument(item, x, where) for key, item in value.items()}
        return value

    def decided(self, value: Any, x: Any = None) -> Any:
        """A choice or an expression as what it was decided to be."""
        while isinstance(value, Choice):
            value = value.options[self.genotype[value.name]]
        return evaluate(value, self.genotype, channels(x)) if isinstance(value, Expr) else value

    def taken(self, value: Any, where: str) -> tuple[Any, str]:
        """A choice among parts as the part that was taken, at its own place."""
        while isinstance(value, Choice):
            label = self.genotype[value.name]
            value, where = value.options[label], f"{where}/{value.name}={label}"
        return value, where

    def row(self, values: Any, where: str) -> Iterator[tuple[str, Any]]:
        """Parts one after another with their places, repeats laid out to their decided number."""
        if isinstance(values, Repeat):
            values = values.items[:self.decided(values.count)]
        for i, value in enumerate(values):
            yield from self.flat(value, f"{where}[{i}]")

    def flat(self, value: Any, where: str) -> Iterator[tuple[str, Any]]:
        """One item of a row, which may stand for several."""
        inner, place = self.taken(value, where)
        yield from self.row(inner, place) if isinstance(inner, list | tuple | Repeat) else [(place, inner)]

    def items(self, values: Any) -> list[Any]:
        """Parts one after another, repeats laid out to their decided number."""
        return [item for _, item in self.row(values, "")]


def with_sizes(value: Description, args: tuple[Any, ...], kwargs: Mapping[str, Any], x: Any,
               where: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, with those that say the input's size read off the input where they were left out."""
    placed, named = list(args), dict(kwargs)
    for position, name in sizes_of(value):
        if name in named:
            continue
        if not isinstance(x, torch.Tensor) or x.dim() < 2:
            raise BuildError(f"{where}: {name} cannot be inferred from {shape_of(x)}; give it by name")
        size = INFERRED[name](tuple(x.shape))
        if args:
            placed.insert(position, size)
        else:
            named[name] = size
    return tuple(placed), named


def sizes_of(value: Description) -> list[tuple[int, str]]:
    """The parameters of a call that say the input's size, with their places."""
    if value.make not in _sizes:
        from archfab.nn import signature
        known = signature(value.target, value.make)
        _sizes[value.make] = [(i, name) for i, name in enumerate(known.parameters if known else ()) if name in INFERRED]
    return _sizes[value.make]


def flow(value: Description, args: Any, kwargs: Any, module: nn.Module, x: Any, where: str) -> Any:
    """What a module makes of an input, in shapes alone; remembered, for the same parts come again and again."""
    holds = any(isinstance(part, nn.Module) for part in pytree.tree_leaves((args, kwargs)))
    try:
        key = None if holds else (value.make, canonical([encode([args, kwargs], {}), describe_shapes(x)]))
    except (UsageError, TypeError, ValueError):
        key = None
    if key is not None and key in _flows:
        return _flows[key]
    try:
        y = run_on_shapes(lambda: module if holds else value.make(*args, **kwargs), x)
    except Exception as error:
        raise BuildError(f"{where} cannot take an input of {shape_of(x)}: {first_line(error)}") from error
    if key is not None:
        _flows[key] = y
    return y


def run_on_shapes(made: Callable[[], nn.Module], x: Any) -> Any:
    """Runs a module on fake tensors of the shapes of `x`, as it runs at inference, and leaves it as it was.

    A module made here is fake too: it draws no weights from torch's generator.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    inputs = x if isinstance(x, tuple) else (x,)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        module = made()
        training = {part: part.training for part in module.modules()}
        fake = pytree.tree_map_only(torch.Tensor, lambda t: torch.empty(t.shape, dtype=t.dtype), inputs)
        try:
            y = module.eval()(*fake)
        finally:
            for part, was in training.items():
                part.training = was
    return pytree.tree_map_only(torch.Tensor, lambda t: torch.empty(t.shape, dtype=t.dtype, device="meta"), y)


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def supports(space: Space, example: tuple[Any, ...] | None) -> tuple[bool, str]:
    """Whether networks of a space can be made: builds some that together take every option once."""
    if example is None:
        return False, "the task has no networks"
    from torch._subclasses.fake_tensor import FakeTensorMode
    built, faults = 0, ""

    def builds(genotype: Genotype) -> bool:
        nonlocal built, faults
        try:
            with FakeTensorMode(allow_non_fake_inputs=True):
                build(space, genotype, example)
        except BuildError as error:
            faults = str(error)
            return False
        built += 1
        return True

    if left := uncovered(space, builds, random.Random(0)):
        name, label = left[0]
        which = f"with {name}={label} " if space.labels else ""
        return False, f"no network {which}could be built: {faults}"
    return True, f"every option was built at least once, in {built} networks"


def channels(x: Any) -> int | None:
    return int(x.shape[1]) if isinstance(x, torch.Tensor) and x.dim() > 1 else None


def shape_of(x: Any) -> str:
    """A shape in words, for messages."""
    if isinstance(x, torch.Tensor):
        return "x".join(map(str, x.shape))
    return ", ".join(shape_of(part) for part in x) if isinstance(x, tuple | list) else type(x).__name__


def describe_shapes(x: Any) -> list[Any]:
    leaves, spec = pytree.tree_flatten(x)
    return [str(spec), [[list(leaf.shape), str(leaf.dtype)] if isinstance(leaf, torch.Tensor) else repr(leaf)
                        for leaf in leaves]]


export = supports
