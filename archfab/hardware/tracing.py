"""Workloads composed of parts: a part is recorded once for each way it is decided and each shape that comes in.

Of a fresh network most parts are known from others of its space, so it takes a tenth of the time of recording it whole.
The workload is the same, operator for operator. A container of the user's own may look into what stands in it, at the
place where it stands or at the genotype, and a part may take gradients through another: those are recorded whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode

from archfab.core import Genotype, canonical
from archfab.hardware.workload import Op, Recorder, Workload, faked, in_parts, record, record_genotype, tensors
from archfab.lowering.concrete import Builder, shapes_of
from archfab.space import Space
from archfab.space.descriptions import Description, encode

ROOT = "net"
OWN = ("archfab", "torch")      # packages whose containers only run what stands in them
PLAIN = (int, float, bool, str, type(None))
SUMS = (torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor)
REMEMBERED = 2_500
"""So many fragments of a space, and as many older ones; more cost more in garbage collection than they save, for parts
such as whole cells seldom come again."""
_tracers: WeakKeyDictionary[Space, Tracer] = WeakKeyDictionary()


def trace(space: Space, genotype: Genotype, example: tuple[Any, ...]) -> Workload:
    """The workload of a genotype; what was recorded for other networks of its space is used again.

    :param example: inputs of the network's forward; only their shapes and types are looked at.
    """
    space.check(genotype)
    if space not in _tracers:
        _tracers[space] = Tracer()
    return _tracers[space].trace(space, genotype, example)


@dataclass(frozen=True)
class Fragment:
    """What a part runs on inputs of one shape: operators on buffers of its own, and what it gives."""

    workload: Workload
    inputs: Any                 # what comes in, as `known` says
    answer: Any                 # on the meta device


@dataclass(frozen=True)
class Signature:
    """A number that equal descriptions share, the names of the choices in them, whether there is code of others."""

    number: int
    names: tuple[str, ...]
    foreign: bool


class Decisions(dict[str, Any]):
    """The decisions of one part; whoever asks for another learns that there is none."""

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]


class Entangled(Exception):
    """A part is used in a way in which it was not recorded."""


class Played(nn.Module):
    """Stands where a part stands; instead of running, it notes what the part runs."""

    fragment: Fragment
    kept: dict[int, int]        # parameters: the fragment's buffer -> the recorder's

    def plays(self, fragment: Fragment) -> Played:
        """Stands for this fragment from now on."""
        self.__dict__.update(fragment=fragment, kept={})        # torch takes longer over attributes than all else here
        return self

    def train(self, mode: bool = True) -> Played:
        """It has no layers that training would change."""
        return self

    def forward(self, *inputs: Any) -> Any:
        composer = _get_current_dispatch_mode()
        given = [*inputs] if len(inputs) == 1 and isinstance(inputs[0], torch.Tensor) else tensors(inputs)
        if not isinstance(composer, Composer) or known(inputs) != self.fragment.inputs:
            raise Entangled
        if torch.is_grad_enabled() and any(x.requires_grad for x in given):
            raise Entangled
        return composer.play(self.fragment, given, self.kept)


class Drawer:
    """Gives fake tensors, none twice, out of a pool that outlives it; for making one takes longer than all else."""

    def __init__(self, pool: dict[Any, list[torch.Tensor]]) -> None:
        self.pool = pool
        self.used: Counter[Any] = Counter()

    def __call__(self, like: torch.Tensor) -> torch.Tensor:
        """A tensor of this shape, strides and type."""
        kind = kind_of(like)
        there = self.pool.setdefault(kind, [])
        i = self.used[kind]
        self.used[kind] += 1
        if i == len(there) or kind_of(there[i]) != kind or there[i].requires_grad:
            there[i:i + 1] = [torch.empty_strided(like.shape, like.stride(), dtype=like.dtype)]
        return there[i]


class Composer(Recorder):
    """A recorder that takes in whole fragments too."""

    def __init__(self, model: nn.Module, inputs: tuple[Any, ...], drawer: Drawer) -> None:
        super().__init__(model, inputs)
        self.drawer = drawer

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What an operator gives. The sum of two tensors that lie alike lies like them: cells add much."""
        alike = func in SUMS and not kwargs and len(args) == 2 and all(isinstance(x, torch.Tensor) for x in args)
        if alike and kind_of(args[0]) == kind_of(args[1]) and args[0].is_contiguous() and not args[0].requires_grad:
            return self.drawer(args[0])
        return func(*args, **kwargs)

    def play(self, fragment: Fragment, given: Sequence[torch.Tensor], kept: dict[int, int]) -> Any:
        """Notes a fragment's operators on these inputs; what it gives."""
        part, first = fragment.workload, len(self.buffers)
        place = dict(zip(part.inputs, map(self._number, given), strict=True)) | kept
        fresh = [i for i in range(len(part.buffers)) if i not in place]
        place.update(zip(fresh, range(first, first + len(fresh)), strict=True))
        self.buffers += [part.buffers[i] for i in fresh]
        kept.update((i, place[i]) for i in fresh if part.buffers[i].role != "activation")
        self.ops += [moved(op, place) for op in part.ops]
        numbers = iter(part.outputs)

        def made(like: torch.Tensor) -> torch.Tensor:
            y = self.drawer(like)
            self._name(y, place[next(numbers)])
            return y

        if isinstance(fragment.answer, torch.Tensor):
            return made(fragment.answer)
        return pytree.tree_map_only(torch.Tensor, made, fragment.answer)


class Tracer(Builder):
    """Builds a network of stand-ins, each with the fragment of its part."""

    def __init__(self) -> None:
        super().__init__({})
        self.fragments: dict[Any, Fragment] = {}
        self.older: dict[Any, Fragment] = {}
        self.signatures: WeakKeyDictionary[Description, Signature] = WeakKeyDictionary()
        self.numbers: dict[Any, int] = {}
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.pool: dict[Any, list[torch.Tensor]] = {}
        self.players: list[Played] = []     # of the networks before, to be used again: modules take long to make
        self.playing = 0
        self.entangled: set[int] = set()
        self.whole = False          # networks of this space are no parts one after another

    def trace(self, space: Space, genotype: Genotype, example: tuple[Any, ...]) -> Workload:
        """The workload of a network of the tracer's space."""
        self.genotype, self.inside, self.playing = genotype, 0, 0
        x = shapes_of(example)
        if not self.whole:
            try:
                with self.mode, in_parts(), torch.no_grad():
                    return self.recorded(self.part(space.root, x, ROOT)[0], tupled(x))
            except Exception:
                pass
        found = record_genotype(space, genotype, example)
        self.whole = True
        return found

    def part(self, value: Any, x: Any, where: str) -> tuple[nn.Module, Any]:
        value, where = self.taken(value, where)
        if self.inside or where == ROOT or not isinstance(value, Description):
            return super().part(value, x, where)
        sign = self.signature(value)
        key = (sign.number, tuple([self.genotype.get(name) for name in sign.names]), known(tupled(x)),
               where if sign.foreign else "")
        found = self.fragments.get(key)
        if not found:
            found = self.older.get(key) or self.fragment(value, x, where, sign)
            if len(self.fragments) >= REMEMBERED:
                self.older, self.fragments = self.fragments, {}
            self.fragments[key] = found
        if self.playing == len(self.players):
            self.players.append(Played())
        self.playing += 1
        return self.players[self.playing - 1].plays(found), found.answer

    def fragment(self, value: Description, x: Any, where: str, sign: Signature) -> Fragment:
        """A part recorded: with stand-ins for what stands in it, or whole where that will not do."""
        inputs = tupled(x)
        given: list[Any] = []
        if sign.number not in self.entangled:
            try:
                recorded = self.recorded(Answering(super().part(value, x, where)[0], given), inputs)
            except Exception:
                self.entangled.add(sign.number)
        if not given:
            own = Decisions({name: self.genotype[name] for name in sign.names if name in self.genotype})
            module = Builder(own).part(value, x, where)[0]
            recorded = record(Answering(module, given), faked(inputs))
        known(given[0])         # what holds tensors in a way of its own cannot be handed on
        with _disable_current_modes():
            answer = pytree.tree_map_only(torch.Tensor, lambda t: torch.empty_strided(
                t.shape, t.stride(), dtype=t.dtype, device="meta"), given[0])
        return Fragment(recorded, known(inputs), answer)

    def recorded(self, module: nn.Module, inputs: tuple[Any, ...]) -> Workload:
        """What a part of stand-ins runs on inputs of these shapes."""
        drawer = Drawer(self.pool)
        drawn = pytree.tree_map_only(torch.Tensor, drawer, inputs)
        composer = Composer(module.eval(), drawn, drawer)
        with composer:
            y = module(*drawn)
        return composer.workload(y)

    def signature(self, value: Description) -> Signature:
        """What tells a description from others. Two of the user's own may have one address and differ."""
        if value not in self.signatures:
            choices: dict[str, Any] = {}
            body = [encode(value, choices), choices]
            is_foreign = foreign(body)
            number = self.numbers.setdefault(value if is_foreign else canonical(body), len(self.numbers))
            self.signatures[value] = Signature(number, tuple(choices), is_foreign)
            if hasattr(value.make, "assemble") and not ours(value.target):
                self.entangled.add(number)
        return self.signatures[value]


class Answering(nn.Module):
    """A part, and what it gave."""

    def __init__(self, part: nn.Module, given: list[Any]) -> None:
        super().__init__()
        self.part = part
        self.given = given

    def forward(self, *inputs: Any) -> Any:
        y = self.part(*inputs)
        self.given.append(y)
        return y


def tupled(x: Any) -> tuple[Any, ...]:
    """What goes in, as a tuple."""
    return x if isinstance(x, tuple) else (x,)


def known(inputs: Any) -> Any:
    """What a recording depends on of what comes in: of tensors their kind, of the rest everything.

    :raises Entangled: where it may hold tensors in a way of its own.
    """
    if isinstance(inputs, tuple) and len(inputs) == 1 and isinstance(inputs[0], torch.Tensor):
        return kind_of(inputs[0])
    leaves, structure = pytree.tree_flatten(inputs)
    if not all(isinstance(leaf, (torch.Tensor, *PLAIN)) for leaf in leaves):
        raise Entangled
    return str(structure), tuple([kind_of(leaf) if isinstance(leaf, torch.Tensor) else (type(leaf), leaf)
                                  for leaf in leaves])


def foreign(data: Any) -> bool:
    """Whether an encoded description names code beyond archfab's and torch's."""
    if isinstance(data, dict):
        target = data.get("make", data.get("object"))
        return (isinstance(target, str) and not ours(target)) or any(map(foreign, data.values()))
    return isinstance(data, list) and any(map(foreign, data))


def ours(target: str) -> bool:
    return target.split(":")[0].split(".")[0] in OWN and "<" not in target


def kind_of(x: torch.Tensor) -> tuple[Any, ...]:
    """What a recording depends on of a tensor."""
    return x.shape, x.stride(), x.dtype


def moved(op: Op, place: dict[int, int]) -> Op:
    """An operator on other buffers."""
    name, kind, reads, writes, macs, shape, detail, loops, window = op
    return Op(name, kind, tuple([place[b] for b in reads]), tuple([place[b] for b in writes]), macs, shape, detail,
              loops, window)
