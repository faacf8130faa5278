"""Goes through a space once: what stands where, in which sizes, and which networks are the largest and smallest."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.utils import _pytree as pytree

from archfab.core import BuildError, Genotype, Label, UsageError, canonical
from archfab.lowering._lend import OURS, Unlendable, lend
from archfab.lowering._mixed import Gates
from archfab.lowering._remembering import Remembering, signature
from archfab.lowering.concrete import Builder, shapes_of
from archfab.space import Space
from archfab.space.choices import Choice
from archfab.space.descriptions import Description, encode
from archfab.space.report import ways

DRAWN = 32                  # networks that are gone through besides the extremes and what differs from them in one
PASSES = 5                  # over all decisions, in search of the largest and the smallest network


@dataclass(frozen=True, slots=True)
class Variant:
    """A module of shapes alone, and what makes it: a description, what comes in, and the decisions."""

    module: nn.Module
    value: Description
    x: Any
    genotype: Genotype


@dataclass
class Place:
    """What was met at one place."""

    variants: dict[str, Variant] = field(default_factory=dict)      # by the call that makes the module
    largest: str = ""
    kernels: set[tuple[int, ...]] = field(default_factory=set)

    def add(self, key: str, variant: Variant) -> None:
        """Notes a module."""
        if key in self.variants:
            return
        self.variants[key] = variant
        if not self.largest or elements(variant.module) > elements(self.variants[self.largest].module):
            self.largest = key
        if isinstance(variant.module, _ConvNd):
            self.kernels.add(variant.module.kernel_size)

    def make(self, where: str) -> nn.Module:
        """The largest module with weights, from torch's global generator, that all others can be cut out of."""
        largest = self.variants[self.largest]
        return self.grow(Builder(largest.genotype).leaf(largest.value, largest.x, where)[0])

    def grow(self, module: nn.Module) -> nn.Module:
        """The largest module, with its tensors enlarged where another module has a longer side.

        They are larger than in any network where one has more inputs and another more outputs. What is new is drawn
        from the values that a tensor has; how tensors of users' classes hang together is not known, they stay.
        """
        if not all(type(part).__module__.startswith(OURS) for part in module.modules()):
            return module
        others = [other.module.state_dict() for other in self.variants.values()]
        for name, tensor in module.state_dict(keep_vars=True).items():
            shapes = [other[name].shape for other in others if name in other and other[name].dim() == tensor.dim()]
            shape = torch.Size(map(max, zip(*shapes, strict=True)))
            if shape != tensor.shape:
                drawn = torch.randint(tensor.numel(), shape, device=tensor.device)
                larger: Any = tensor.detach().flatten()[drawn]
                path, _, key = name.rpartition(".")
                setattr(module.get_submodule(path), key,
                        nn.Parameter(larger) if isinstance(tensor, nn.Parameter) else larger)
        return module

    def check(self, where: str) -> int:
        """The elements of the weights that all modules here are cut out of.

        :raises UsageError: when some cannot be; says which decision, why and what would help.
        """
        largest = self.variants[self.largest]
        large = self.grow(copy.deepcopy(largest.module)) if len(self.variants) > 1 else largest.module
        for small in sorted(self.variants.values(), key=lambda variant: variant is largest):
            try:
                lend(large, small.module)
            except Unlendable as error:
                changed = [f"'{name}'" for name, label in small.genotype.items() if largest.genotype[name] != label]
                which = f"choice {' and '.join(changed)}" if changed else "networks"
                raise UsageError(f"{which} cannot share weights at {where}: {error}") from None
            small.module.to("meta")         # it may have been made with weights of its own
        return weights_of(large)


@dataclass
class Survey:
    """What stands where in a space, and its extremes."""

    places: dict[str, Place]
    largest: Genotype
    smallest: Genotype
    defaults: Genotype          # for each decision its label in the largest network, or if that had it
    weights: int                # elements of all shared weights
    most: int                   # of the largest network's


class Surveyor(Remembering):
    """Goes through networks that together take every option, without any weights, and notes what stands where."""

    def __init__(self, space: Space, example: Any) -> None:
        super().__init__(space)
        self.places: dict[str, Place] = {}
        self.gates = Gates(space.labels)
        self._input = shapes_of(example)
        self._paths = ways(space)
        self._around: set[tuple[str, str]] = set()      # choices whose options are being built
        self._walked: set[str] = set()                  # choices all options of which are built wherever they stand
        self._relaxed: set[Any] = set()                 # containers that were gone through with all their options
        self._inputs: list[Any] = []                    # what comes in at the parts that are being made
        self._weights = self._work = 0

    def survey(self) -> Survey:
        defaults = self.best({name: most(labels) for name, labels in self.space.labels.items()}, 1)
        largest, smallest = self.complete({}, defaults), self.complete({}, self.best(defaults, -1))
        source = random.Random(0)
        for _ in range(DRAWN):      # sizes that more than one change leads to
            self.size(self.space.walk(lambda node: source.choice(self.space.labels[node.name])), defaults, False)
        weights, _ = self.visit(largest, defaults)
        return Survey(self.places, largest, smallest, defaults, self.check(), weights)

    def check(self) -> int:
        """The elements of all shared weights.

        :raises UsageError: with everything that stands against sharing some.
        """
        total, reasons = 0, list[str]()
        for where, place in self.places.items():
            try:
                total += place.check(where)
            except UsageError as error:
                reasons.append(str(error))
        if reasons:
            raise UsageError("; ".join(dict.fromkeys(reasons)))
        return total

    def visit(self, genotype: Genotype, defaults: Genotype) -> tuple[int, int]:
        """Notes a network's parts; elements of its weights, and of what its parts hand on."""
        self.genotype, self._weights, self._work = {**defaults, **genotype}, 0, 0
        self.part(self.space.root, self._input, "net")
        return self._weights, self._work

    def best(self, labels: dict[str, Label], sign: int) -> dict[str, Label]:
        """The labels of the network of most (or, with sign -1, least) weights, one decision after the other until no
        change helps; where weights are equal, of most that is handed on."""
        labels = dict(labels)
        for _ in range(PASSES):
            before = dict(labels)
            for name, options in self.space.labels.items():
                order = sorted(options, key=lambda label: label != before[name])        # of equal ones the first stays
                found = {label: self.size(self.changed(labels, name, label), labels, sign > 0) for label in order}
                sizes = {label: (sign * size[0], sign * size[1]) for label, size in found.items() if size}
                labels[name] = max(sizes, key=sizes.__getitem__, default=before[name])
            if labels == before:
                break
        return labels

    def size(self, genotype: Genotype, labels: Genotype, must: bool) -> tuple[int, int] | None:
        """What `visit` says of a network; None where it cannot be built.

        :raises UsageError: where it cannot be built, but must be.
        """
        try:
            return self.visit(genotype, labels)
        except BuildError as error:
            if not must:
                return None
            other = ", ".join(f"{name}={label}" for name, label in genotype.items() if labels[name] != label)
            raise UsageError(f"the largest network{' with ' * bool(other)}{other} cannot be built: {error}; leave out "
                             "the options that do not fit") from None

    def changed(self, labels: dict[str, Label], name: str, label: Label) -> dict[str, Label]:
        """A network with one decision changed, and with no more others than that needs."""
        wanted = {**self._paths[name], name: label}
        for other in self._paths[name]:
            fewer = {key: each for key, each in wanted.items() if key != other}
            if name in self.complete(fewer, labels):
                wanted = fewer
        return self.complete(wanted, labels)

    def complete(self, wanted: Genotype, labels: Genotype) -> dict[str, Label]:
        """A whole network with these decisions; the others by their labels."""
        return self.space.walk(lambda node: wanted[node.name] if node.name in wanted else labels[node.name])

    # --- every part is built where it may stand, whatever else is decided

    def first(self, value: Any, x: Any, where: str) -> Any:
        weights, work, build = self._weights, self._work, super().first
        if isinstance(value, Choice):
            self._others(value, x, where)
            label, build = self.genotype[value.name], self.part     # its option may be a choice, so it is a part too
            value, where = value.options[label], f"{where}/{value.name}={label}"
        module, y = build(value, x, where)
        found = module, y, self._weights - weights, self._work - work
        self._weights, self._work = weights, work
        return found

    def again(self, found: Any) -> tuple[nn.Module, Any]:
        module, y, weights, work = found
        self._weights += weights
        self._work += work
        return module, y

    def _others(self, choice: Choice, x: Any, where: str) -> None:
        """Builds the options that were not taken."""
        self._walked.add(choice.name)
        if (where, choice.name) in self._around:
            return
        self._around.add((where, choice.name))
        taken = self.genotype
        for label in choice.options:
            with self._aside():
                self.genotype = {**taken, choice.name: label}
                self.part(choice, x, where)
        self.genotype = taken
        self._around.discard((where, choice.name))

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Counts nothing of what is built, and lets pass what cannot be built with these other decisions."""
        before = self._weights, self._work
        with suppress(BuildError):
            yield
        self._weights, self._work = before

    def container(self, value: Description, x: Any, where: str) -> tuple[nn.Module, Any]:
        sizes = tuple(self.genotype.get(name) for name in self._spell(value)[0] if name not in self._walked)
        if hasattr(value.make, "relax") and (where, signature(x), sizes) not in self._relaxed:
            self._relaxed.add((where, signature(x), sizes))
            with self._aside():
                value.make.relax(self, x, where, *value.args, **value.kwargs)
        return super().container(value, x, where)

    def options(self, value: Any) -> tuple[Choice | None, dict[Label, Any]]:
        """Every option of a choice in a container that goes through all."""
        if not isinstance(value, Choice):
            return None, {None: self.decided(value)}
        self._walked.add(value.name)
        return value, dict(value.options)

    def flat(self, value: Any, where: str) -> Iterator[tuple[str, Any]]:
        """One item of a row; a choice stays as it is, so that all its options are seen."""
        return iter([(where, value)]) if isinstance(value, Choice) else super().flat(value, where)

    def items(self, values: Any) -> list[Any]:
        return Builder(self.genotype).items(values)

    def thinned(self, row: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return row

    # --- what is built

    def leaf(self, value: Description, x: Any, where: str) -> tuple[nn.Module, Any]:
        self._inputs.append(x)
        try:
            module, y = super().leaf(value, x, where)
        finally:
            self._inputs.pop()
        if not self.inside:
            self._work += sum(part.numel() for part in pytree.tree_leaves(y) if isinstance(part, torch.Tensor))
        return module, y

    def made(self, value: Description, args: tuple[Any, ...], kwargs: dict[str, Any], where: str) -> Any:
        module = light(value, args, kwargs, self.inside > 0)
        if isinstance(module, nn.Module) and not self.inside and elements(module):
            variant = Variant(module, value, self._inputs[-1], self.genotype)
            self.places.setdefault(where, Place()).add(call(value, args, kwargs, self.genotype), variant)
            self._weights += weights_of(module)
        return module


_surveys: WeakKeyDictionary[Space, dict[str, Survey]] = WeakKeyDictionary()


def survey_of(space: Space, example: Any) -> Survey:
    """The survey of a space for inputs of a shape, made once.

    :raises UsageError: when some option's weights cannot be cut out of the largest ones; says which and why.
    """
    known = _surveys.setdefault(space, {})
    key = repr(signature(shapes_of(example)))
    if key not in known:
        known[key] = Surveyor(space, example).survey()
    return known[key]


def light(value: Description, args: tuple[Any, ...], kwargs: Mapping[str, Any], whole: bool = False) -> Any:
    """The module of a call without its weights, where it needs none to be made; draws nothing.

    :param whole: with its weights all the same: a module that is given to another one, which is run on shapes.
    """
    if not whole and not given(args, kwargs):
        with suppress(Exception), torch.device("meta"):
            module = value.make(*args, **kwargs)
            if not isinstance(module, nn.Module) or not computed(module):
                return module
    with torch.random.fork_rng(devices=[]):
        return value.make(*args, **kwargs)


def computed(module: nn.Module) -> bool:
    """Whether it holds values that no state dict has, which are computed when it is made."""
    kept = ("_parameters", "_buffers", "_modules")
    return any(part._non_persistent_buffers_set or (not type(part).__module__.startswith(OURS) and any(
        isinstance(leaf, torch.Tensor) for key, each in vars(part).items() if key not in kept
        for leaf in pytree.tree_leaves(each))) for part in module.modules())


def given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[nn.Module]:
    """The modules among the arguments of a call."""
    return [part for part in pytree.tree_leaves((args, kwargs)) if isinstance(part, nn.Module)]


def call(value: Description, args: tuple[Any, ...], kwargs: Mapping[str, Any], genotype: Genotype) -> str:
    """A call as text; one that is given modules by how these are described and decided, and their shapes."""
    modules = given(args, kwargs)
    if not modules:
        return canonical([value.target, encode([args, kwargs], {})])
    choices: dict[str, Any] = {}
    described = encode(value, choices)
    return canonical([described, [genotype.get(name) for name in choices],
                      [list(tensor.shape) for part in modules for tensor in part.state_dict().values()]])


def elements(module: nn.Module) -> int:
    """Elements of a module's tensors."""
    return weights_of(module) + sum(tensor.numel() for tensor in module.buffers())


def weights_of(module: nn.Module) -> int:
    """Elements of a module's parameters."""
    return sum(tensor.numel() for tensor in module.parameters())


def most(labels: tuple[Label, ...]) -> Label:
    """The largest of numbers, the last of other labels."""
    numeric = [label for label in labels if isinstance(label, int | float) and not isinstance(label, bool)]
    return max(numeric) if len(numeric) == len(labels) else labels[-1]
