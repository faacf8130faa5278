"""One weight-sharing net: every network of the space is a view on it (Once-for-All, BigNAS, single-path one-shot)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from archfab.core import BuildError, Genotype, UsageError
from archfab.lowering import concrete
from archfab.lowering._lend import Unlendable, centred, corner, lend
from archfab.lowering._survey import Remembering, Survey, call, light, survey_of, weight_of
from archfab.lowering.concrete import Builder, shapes_of
from archfab.space import Space
from archfab.space.descriptions import Description


class Maker(Builder):
    """Builds one network with real weights and keeps the parts that are the largest at their places."""

    def __init__(self, survey: Survey, parts: dict[str, nn.Module], genotype: Genotype) -> None:
        super().__init__(genotype)
        self.survey, self.parts = survey, parts

    def made(self, value: Description, args: tuple[Any, ...], kwargs: dict[str, Any], where: str) -> Any:
        module = super().made(value, args, kwargs, where)
        place = self.survey.places.get(where)
        if place and where not in self.parts and place.largest == call(value, args, kwargs):
            self.parts[where] = module
        return module


class Elastic(nn.Module):
    """The weights of all networks of a space, from torch's global generator; `at` and `extract` give a network's.

    :raises UsageError: when some option's weights cannot be cut out of the largest ones; says which and why.
    """

    def __init__(self, space: Space, example: Any) -> None:
        super().__init__()
        self.space, self.example = space, example
        self._survey = survey = survey_of(space, example)
        self.largest, self.smallest, self.defaults = survey.largest, survey.smallest, survey.defaults
        parts: dict[str, nn.Module] = {}
        for name, place in survey.places.items():
            if name not in parts:
                Maker(survey, parts, place.variants[place.largest][1]).part(space.root, shapes_of(example), "net")
        self.places = {name: i for i, name in enumerate(survey.places)}
        self.parts = nn.ModuleList(parts[name] for name in survey.places)
        self.bends = nn.ParameterDict()
        for name, place in survey.places.items():
            for one, other in steps(place.kernels):
                self.bends[bend(self.places[name], one, other)] = nn.Parameter(torch.eye(math.prod(other)))
        self._views: dict[tuple[str, str], nn.Module] = {}
        self.viewer = Viewer(self)

    def at(self, genotype: Genotype) -> nn.Module:
        """The network of a genotype on the shared weights: nothing is copied, and training it trains them."""
        self.viewer.genotype = genotype
        return self.viewer.part(self.space.root, self.viewer.input, "net")[0]

    def extract(self, genotype: Genotype) -> nn.Module:
        """A plain network with a copy of the weights, which gives the same outputs."""
        from archfab.lowering.concrete import build
        with torch.random.fork_rng(devices=[]):
            net = build(self.space, genotype, self.example)
        state = {f"{name}.{key}" if name else key: (tensor() if callable(tensor) else tensor).detach()
                 for name, part in self.at(genotype).named_modules()
                 for key, tensor in getattr(part, "borrowed", {}).items()}
        net.load_state_dict(state)
        first = next(self.parameters(), torch.zeros(0))
        return net.to(first.device)

    def view(self, place: str, value: Description, args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module:
        """The module of a call whose tensors are cut out of the part at its place."""
        key = (place, call(value, args, kwargs))
        if key not in self._views:
            with torch.inference_mode(False), torch.enable_grad():
                self._views[key] = self._borrow(place, value, args, kwargs)
        return self._views[key]

    def _borrow(self, place: str, value: Description, args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module:
        small = light(value, args, kwargs)
        if not isinstance(small, nn.Module) or not weight_of(small):
            return small
        if place not in self.places:
            raise BuildError(f"{place}: the shared weights have nothing here")
        try:
            lent = lend(self.parts[self.places[place]], small)
        except Unlendable as error:
            raise BuildError(f"{place}: {error}") from None
        if (bent := self._bent(place, small)) is not None:
            lent["weight"] = bent
        for name, tensor in lent.items():
            put(small, name, tensor() if callable(tensor) else tensor)
        small.borrowed = lent                                                   # type: ignore[assignment]
        changing = {name: tensor for name, tensor in lent.items() if callable(tensor)}
        if changing:
            def refresh(module: nn.Module, _: Any) -> None:
                for name, tensor in changing.items():
                    put(module, name, tensor())

            small.register_forward_pre_hook(refresh)
        return small

    def _bent(self, place: str, small: nn.Module) -> Callable[[], torch.Tensor] | None:
        """A smaller kernel as a learned function of the larger one, size by size (Cai et al., ICLR 2020)."""
        weight = getattr(small, "weight", None)
        found = self._survey.places[place].kernels
        if not isinstance(weight, torch.Tensor) or weight.dim() < 3 or len(found) < 2:
            return None
        shape = tuple(weight.shape)
        chain = [(one, other) for one, other in steps(found) if math.prod(other) >= math.prod(shape[2:])]
        if not chain:
            return None
        large: Any = self.parts[self.places[place]].weight
        start = corner(large, (*shape[:2], *large.shape[2:]))
        matrices = [self.bends[bend(self.places[place], one, other)] for one, other in chain]

        def computed() -> torch.Tensor:
            inner = start
            for (_, kernel), matrix in zip(chain, matrices, strict=True):
                inner = (centred(inner, kernel).flatten(2) @ matrix).unflatten(2, kernel)
            return inner

        return computed

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._views.clear()             # they look at memory that may be left behind
        self.viewer.forget()
        return super()._apply(fn, recurse)

    @property
    def size(self) -> int:
        """Elements of all weights."""
        return sum(parameter.numel() for parameter in self.parameters())


class Viewer(Remembering):
    """Builds networks out of shared weights."""

    def __init__(self, shared: Elastic) -> None:
        super().__init__(shared.space)
        self.shared = shared
        self.input = shapes_of(shared.example)

    def made(self, value: Description, args: tuple[Any, ...], kwargs: dict[str, Any], where: str) -> Any:
        return super().made(value, args, kwargs, where) if self.inside else self.shared.view(where, value, args, kwargs)


def put(module: nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Sets a tensor of a module where a parameter or a buffer was."""
    path, _, key = name.rpartition(".")
    part = module.get_submodule(path) if path else module
    part._parameters.pop(key, None)
    part._buffers.pop(key, None)
    setattr(part, key, tensor)


def steps(kernels: set[tuple[int, ...]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """From each kernel size to the next smaller one."""
    order = sorted(kernels, key=math.prod, reverse=True)
    return list(pairwise(order))


def bend(place: int, one: tuple[int, ...], other: tuple[int, ...]) -> str:
    """The name of a kernel transform: its part, and the sizes that it leads between."""
    return f"{place}: {'x'.join(map(str, one))} to {'x'.join(map(str, other))}"


def supports(space: Space, example: tuple[Any, ...] | None) -> tuple[bool, str]:
    """Whether one set of weights can serve every network of a space, and how each kind of choice is served."""
    possible, because = concrete.supports(space, example)
    if not possible:
        return False, because
    try:
        survey = survey_of(space, example)
    except (BuildError, UsageError) as error:
        return False, str(error)
    if not survey.places:
        return False, "no network of it has weights"
    weights = sum(weight_of(place.variants[place.largest][0]) for place in survey.places.values())
    largest = survey.visit(survey.largest)[0]
    sliced = sum(len(place.variants) > 1 for place in survey.places.values())
    return True, (f"one set of {weights:,} weights, {weights / largest:.2g} times the largest network's; "
                  f"{sliced} of {len(survey.places)} parts are sliced, the others are paths")


export = supports
