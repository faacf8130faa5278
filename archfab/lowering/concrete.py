"""From a declaration and its decisions to a plain torch module. Input sizes are inferred on the way."""

from __future__ import annotations

import inspect
import random
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from archfab.core import BuildError, Genotype, UsageError, canonical
from archfab.space import Space
from archfab.space.choices import Choice, Expr, Repeat, evaluate
from archfab.space.descriptions import INFERRED, Description, encode
from archfab.space.report import uncovered

_flows: dict[str, Any] = {}     # what a part makes of an input's shape, by the part and the shape


def build(space: Space, genotype: Genotype, example: tuple[Any, ...]) -> nn.Module:
    """The network of a genotype, with fresh weights from torch's global generator.

    :param example: inputs of the network's forward; only their shapes and types are looked at.
    """
    space.check(genotype)
    shapes = pytree.tree_map_only(torch.Tensor, lambda x: torch.empty_like(x, device="meta"), example)
    module, _ = Builder(genotype).part(space.root, shapes[0] if len(shapes) == 1 else shapes, "net")
    if not isinstance(module, nn.Module):
        raise UsageError("this space describes no network: its root is no description of a torch module")
    return module


class Builder:
    """Builds part after part, each with the shape that the one before hands on."""

    def __init__(self, genotype: Genotype) -> None:
        self.genotype = genotype

    def part(self, value: Any, x: Any, where: str) -> tuple[nn.Module, Any]:
        """The module of a description that stands where `x` comes in, and what it makes of `x`."""
        value = self.decided(value)
        if isinstance(value, list | tuple | Repeat):
            value = Description("torch.nn:Sequential", tuple(self.items(value)), {}, nn.Sequential)
        if not isinstance(value, Description):
            raise BuildError(f"{where}: {value!r} is no description of a module")
        where = f"{where}/{value.target.rpartition(':')[2]}"
        if value.target == "torch.nn:Sequential":
            return self.chain(value, x, where)
        if hasattr(value.make, "assemble"):
            return value.make.assemble(self, x, where, *value.args, **value.kwargs)
        return self.leaf(value, x, where)

    def chain(self, value: Description, x: Any, where: str) -> tuple[nn.Module, Any]:
        """One part after another."""
        modules = []
        for i, item in enumerate(self.items(value.args)):
            module, x = self.part(item, x, f"{where}[{i}]")
            modules.append(module)
        return nn.Sequential(*modules), x

    def leaf(self, value: Description, x: Any, where: str) -> tuple[nn.Module, Any]:
        """A module made by one call, its arguments decided and its input sizes filled in."""
        args = tuple(self.argument(arg, x, where) for arg in value.args)
        kwargs = {key: self.argument(arg, x, where) for key, arg in value.kwargs.items()}
        kwargs.update(inferred(value, kwargs, x))
        try:
            module = value.make(*args, **kwargs)
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            shown = ", ".join([*map(repr, args), *(f"{key}={arg!r}" for key, arg in kwargs.items())])[:200]
            raise BuildError(f"{where}({shown}) on an input of {shape_of(x)}: {error}") from error
        if isinstance(module, Description):
            return self.part(module, x, where)
        if not isinstance(module, nn.Module):
            raise BuildError(f"{where} returned {type(module).__name__}, not a torch module")
        return module, flow(value, args, kwargs, module, x, where)

    def argument(self, value: Any, x: Any, where: str) -> Any:
        """A plain argument; a description among the arguments is built for the same input."""
        value = self.decided(value, x)
        if isinstance(value, Description):
            return self.part(value, x, where)[0]
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

    def items(self, values: Any) -> list[Any]:
        """Parts one after another, repeats laid out to their decided number."""
        if isinstance(values, Repeat):
            return self.items(values.items[:self.decided(values.count)])
        found: list[Any] = []
        for value in values:
            value = self.decided(value)
            found.extend(self.items(value) if isinstance(value, list | tuple | Repeat) else [value])
        return found


def inferred(value: Description, kwargs: Mapping[str, Any], x: Any) -> dict[str, Any]:
    """The arguments that say the input's size, read off the input."""
    found = {}
    for name in inferred_names(value):
        if name not in kwargs:
            if not isinstance(x, torch.Tensor) or x.dim() < 2:
                raise BuildError(f"{value.target}: {name} cannot be inferred from {shape_of(x)}; give it by name")
            found[name] = INFERRED[name](tuple(x.shape))
    return found


_signatures: dict[str, tuple[str, ...]] = {}


def inferred_names(value: Description) -> tuple[str, ...]:
    if value.target not in _signatures:
        from archfab.nn import signature
        known = signature(value.target, value.make)
        names = known.parameters if known else inspect.Signature().parameters
        _signatures[value.target] = tuple(name for name in names if name in INFERRED)
    return _signatures[value.target]


def flow(value: Description, args: Any, kwargs: Any, module: nn.Module, x: Any, where: str) -> Any:
    """What a module makes of an input, in shapes alone; remembered, for the same parts come again and again."""
    try:
        key = canonical([encode(Description(value.target, args, kwargs), {}), describe_shapes(x)])
    except (UsageError, TypeError, ValueError):
        key = None
    if key is None or key not in _flows:
        try:
            y = run_on_shapes(value, args, kwargs, module, x)
        except Exception as error:
            raise BuildError(f"{where} cannot take an input of {shape_of(x)}: {str(error).splitlines()[0]}") from error
        if key is None:
            return y
        _flows[key] = y
    return _flows[key]


def run_on_shapes(value: Description, args: Any, kwargs: Any, module: nn.Module, x: Any) -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode
    inputs = x if isinstance(x, tuple) else (x,)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        fake = pytree.tree_map_only(torch.Tensor, lambda t: torch.empty(t.shape, dtype=t.dtype), inputs)
        training = [part.training for part in module.modules()]
        held = any(isinstance(part, nn.Module) for part in pytree.tree_leaves((args, kwargs)))
        stand_in = module if held else value.make(*args, **kwargs)
        try:
            y = stand_in.eval()(*fake)
        finally:
            for part, was in zip(module.modules(), training, strict=True):
                part.training = was
    return pytree.tree_map_only(torch.Tensor, lambda t: torch.empty(t.shape, dtype=t.dtype, device="meta"), y)


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
        return False, f"no network with {left[0][0]}={left[0][1]} could be built: {faults}"
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
