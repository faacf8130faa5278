"""One weight-sharing net: every network of the space is a view on it (Once-for-All, BigNAS, single-path one-shot)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from archfab.core import BuildError, Genotype, UsageError
from archfab.lowering import concrete
from archfab.lowering._lend import Computed, Lent, Unlendable, centred, convolution, lend
from archfab.lowering._remembering import Remembering
from archfab.lowering._survey import call, elements, given, light, survey_of
from archfab.lowering.concrete import shapes_of
from archfab.space import Space
from archfab.space.descriptions import Description

Kernel = tuple[int, ...]


class Elastic(nn.Module):
    """The weights of all networks of a space, from torch's global generator; `at` and `extract` give a network's.

    :raises UsageError: when some option's weights cannot be cut out of the largest ones; says which and why.
    """

    def __init__(self, space: Space, example: Any) -> None:
        super().__init__()
        self.space, self.example = space, example
        survey = survey_of(space, example)
        self.largest, self.smallest, self.defaults = survey.largest, survey.smallest, survey.defaults
        self.viewer = Viewer(self)
        self.places = {name: i for i, name in enumerate(survey.places)}
        self.parts = nn.ModuleList(place.make(name) for name, place in survey.places.items())
        self.kernels = {name: parents(place.kernels) for name, place in survey.places.items()}
        self.bends = nn.ParameterDict({bend(self.places[name], one, other): torch.eye(math.prod(other))
                                       for name, known in self.kernels.items() for other, one in known.items() if one})
        self._views: dict[tuple[str, str], tuple[str, Any, Callable[[], Any]]] = {}
        self.register_load_state_dict_post_hook(Elastic._renew)

    def at(self, genotype: Genotype) -> nn.Module:
        """The network of a genotype on the shared weights: nothing is copied, and training it trains them.

        Its parts serve other networks too, so that `train` or `eval` is said each time.
        """
        self.viewer.genotype = genotype
        try:
            return self.viewer.part(self.space.root, self.viewer.input, "net")[0]
        except (KeyError, BuildError):
            self.space.check(genotype)
            raise

    def extract(self, genotype: Genotype) -> nn.Module:
        """A plain network with a copy of the weights, which gives the same outputs."""
        with torch.random.fork_rng(devices=[]):
            net = concrete.build(self.space, genotype, self.example)
        first = next(self.parameters(), torch.zeros(0))
        net.to(first.device, first.dtype)
        if any(weight.dim() == 4 and not weight.is_contiguous() for weight in self.parameters()):
            net.to(memory_format=torch.channels_last)           # type: ignore[call-overload]
        net.load_state_dict({f"{name}.{key}" if name else key: (tensor() if callable(tensor) else tensor).detach()
                             for name, part in self.at(genotype).named_modules()
                             for key, tensor in getattr(part, "borrowed", {}).items()})
        return net

    def view(self, place: str, value: Description, args: tuple[Any, ...], kwargs: dict[str, Any],
             genotype: Genotype) -> nn.Module:
        """The module of a call whose tensors are cut out of the part at its place."""
        key = (place, call(value, args, kwargs, genotype))
        if key not in self._views:
            with torch.inference_mode(False):
                module, like = light(value, args, kwargs), partial(light, value, args, kwargs)
                if isinstance(module, nn.Module) and elements(module):
                    if given(args, kwargs):             # the modules that it was given are part of it now
                        like = partial(copy.copy, copy.deepcopy(module).to("meta"))
                    self._borrow(place, module, module)
                self._views[key] = place, module, like
        return self._views[key][1]

    def _borrow(self, place: str, module: nn.Module, like: nn.Module) -> None:
        """Puts shared weights in place of a module's own; `like` is such a module that still has its own."""
        if place not in self.places:
            raise BuildError(f"{place}: the shared weights have nothing here")
        part = self.parts[self.places[place]]
        fixed = [tensor for tensor in part.parameters() if not tensor.requires_grad and tensor.is_floating_point()]
        with torch.inference_mode(False), torch.enable_grad():
            for tensor in fixed:
                tensor.requires_grad_(True)         # else its views would not learn when it may learn again
            try:
                lent = {**lend(part, like), **self._bent(place, like)}
            except Unlendable as error:
                raise BuildError(f"{place}: {error}") from None
            finally:
                for tensor in fixed:
                    tensor.requires_grad_(False)
            for name, each in lent.items():
                put(module, name, each() if callable(each) else each)
        for first in part.parameters():
            module.to(first.device, first.dtype)    # what no state dict has
            break
        if any(map(callable, lent.values())) and not hasattr(module, "borrowed"):
            module.register_forward_pre_hook(refresh)
        module.borrowed, module.versions = lent, None                           # type: ignore[assignment]

    def _bent(self, place: str, small: Any) -> dict[str, Lent]:
        """A smaller kernel as a learned function of a larger one, size by size (Cai et al., ICLR 2020)."""
        known = self.kernels[place]
        if len(known) < 2:
            return {}
        shape = tuple(small.weight.shape)
        kernel = min((kernel for kernel in known if holds(kernel, shape[2:])), key=math.prod, default=None)
        chain: list[tuple[Kernel, torch.Tensor]] = []
        while kernel and (larger := known[kernel]):
            chain.insert(0, (kernel, self.bends[bend(self.places[place], larger, kernel)]))
            kernel = larger
        if kernel is None or not chain:
            return {}
        large: Any = self.parts[self.places[place]].weight
        start = convolution(large, (*shape[:2], *kernel))

        def computed() -> torch.Tensor:
            inner = start
            for size, matrix in chain:
                inner = (centred(inner, size).flatten(2) @ matrix).unflatten(2, size)
            return centred(inner, shape[2:])

        return {"weight": Computed(computed, (start, *(matrix for _, matrix in chain)))}

    def _renew(self, _: Any = None) -> None:
        """Cuts all views anew, where weights may lie elsewhere than before; networks that were built stay right."""
        for place, module, like in self._views.values():
            if hasattr(module, "borrowed"):
                self._borrow(place, module, like())

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self.viewer.move(fn)
        self._renew()
        return self

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
        self.placed: WeakSet[nn.Module] = WeakSet()

    def made(self, value: Description, args: tuple[Any, ...], kwargs: dict[str, Any], where: str) -> Any:
        if self.inside:
            return light(value, args, kwargs, whole=True)
        return self.shared.view(where, value, args, kwargs, self.genotype)

    def container(self, value: Description, x: Any, where: str) -> tuple[nn.Module, Any]:
        module, y = super().container(value, x, where)
        if not self.inside:
            self.place(module)
        return module, y

    def place(self, module: nn.Module) -> None:
        """Puts what a container holds itself, which is computed when it is made, to where the weights lie."""
        if module in self.placed:
            return
        self.placed.add(module)
        weight = next(self.shared.parameters(), None)
        if module._buffers and weight is not None:
            module._apply(lambda x: x.to(weight.device, weight.dtype if x.is_floating_point() else x.dtype), False)
        for part in module.children():
            self.place(part)

    def move(self, fn: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """The same of all containers that were built, when the weights go elsewhere."""
        for module in self.placed:
            if module._buffers:
                module._apply(fn, False)


def put(module: nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Sets a tensor of a module where a parameter or a buffer was."""
    path, _, key = name.rpartition(".")
    part = module.get_submodule(path)
    part._parameters.pop(key, None)
    part._buffers.pop(key, None)
    setattr(part, key, tensor)


def refresh(module: Any, _: Any) -> None:
    """Computes the tensors that are no views before a module runs; without gradients only if their sources changed."""
    computed = {name: tensor for name, tensor in module.borrowed.items() if callable(tensor)}
    versions = None if torch.is_grad_enabled() else versions_of(computed)
    if versions is None or versions != module.versions:
        for name, tensor in computed.items():
            put(module, name, tensor())
    module.versions = versions


def versions_of(computed: Mapping[str, Lent]) -> list[int] | None:
    """How often the sources of computed tensors were written to; None where one does not say its sources.

    Fused optimizers write without torch's counting it, so that the steps of all optimizers are counted besides.
    """
    if not all(isinstance(tensor, Computed) for tensor in computed.values()):
        return None
    return [STEPS["taken"], *(source._version for tensor in computed.values()
                              for source in tensor.sources)]                            # type: ignore[union-attr]


STEPS = {"taken": 0}        # by any optimizer of this process


def count(*_: Any) -> None:
    STEPS["taken"] += 1


register_optimizer_step_post_hook(count)


def parents(kernels: set[Kernel]) -> dict[Kernel, Kernel | None]:
    """For each kernel size the next larger one that holds it."""
    order = sorted(kernels, key=lambda kernel: (math.prod(kernel), kernel))
    return {kernel: next((other for other in order if other != kernel and holds(other, kernel)), None)
            for kernel in order}


def holds(large: Kernel, small: Kernel) -> bool:
    return all(n >= m for n, m in zip(large, small, strict=True))


def bend(place: int, one: Kernel, other: Kernel) -> str:
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
    sliced = sum(len(place.variants) > 1 for place in survey.places.values())
    times = survey.weights / max(1, survey.most)
    return True, (f"one set of {survey.weights:,} weights, {times:.2g} times the largest network's; {sliced} of "
                  f"{len(survey.places)} parts are sliced, the others are paths")


export = supports
