"""The workload of a network: the operators that it really runs, recorded at the aten level without computing.

The network is made of fake tensors (shapes and types, no data) and run once under a dispatch mode; whatever
runs can be recorded, and it takes about as long as running a tiny network.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from archfab.hardware.loops import Loops, loops_of
from archfab.hardware.operators import FIRST_OUTPUT, QUANTISE, VIEWS, detail_of, fourier_macs, kind_of
from archfab.hardware.windows import Window, window_of

if TYPE_CHECKING:
    from archfab.core import Genotype
    from archfab.hardware.network import Network
    from archfab.space import Space

INTEGER = re.compile(r"u?int(\d+)")


@lru_cache(maxsize=256)
def bits_of(dtype: str) -> int:
    """The bits of a number that is no floating point number: int4, uint8, bool, ...; 0 of others."""
    found = INTEGER.fullmatch(dtype)
    return int(found[1]) if found else 8 if dtype == "bool" else 0


@dataclass(frozen=True)
class Buffer:
    """One piece of memory that holds a tensor."""

    elements: int
    role: str           # activation, parameter (trained), or state (kept but not trained)
    dtype: str = "float32"

    def bytes_in(self, bits: int) -> float:
        """Its size where floating point numbers are kept in so many bits; others keep their own."""
        return self.elements * (bits_of(self.dtype) or bits * (2 if self.dtype.startswith("complex") else 1)) / 8


class Op(NamedTuple):
    """One operator as it was run: its kind, buffers read and written, multiply-accumulates."""

    name: str                       # the aten operator
    kind: str                       # what cost models distinguish, see `kind_of`
    reads: tuple[int, ...]          # buffer numbers; parameters included
    writes: tuple[int, ...]
    macs: int
    shape: tuple[int, ...]          # of the first output
    detail: str = ""                # kernel, stride, groups of a convolution
    loops: tuple[Loops, ...] = ()   # the nests of its multiply-accumulates, where they are known
    window: Window | None = None    # how it walks over an image, where it does


@dataclass(frozen=True)
class Workload:
    """The operators of a network in the order in which they ran, and the memory that they touch."""

    ops: tuple[Op, ...]
    buffers: tuple[Buffer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    network: Network | None = field(default=None, compare=False, repr=False)
    """The network itself, for devices that run it."""

    @property
    def macs(self) -> int:
        return sum([op.macs for op in self.ops])

    @property
    def params(self) -> int:
        return sum(buffer.elements for buffer in self.buffers if buffer.role == "parameter")

    def sizes(self, bits: int) -> list[float]:
        """The bytes of every buffer, see `Buffer.bytes_in`."""
        width = {dtype: Buffer(1, "", dtype).bytes_in(bits) for dtype in {buffer.dtype for buffer in self.buffers}}
        return [buffer.elements * width[buffer.dtype] for buffer in self.buffers]


def record_genotype(space: Space, genotype: Genotype, example: tuple[Any, ...]) -> Workload:
    """The workload of a genotype; its network is made of fake tensors, so no weights are drawn."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from archfab.lowering.concrete import build
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = build(space, genotype, example)
        return record(model, faked(example))


def faked(example: tuple[Any, ...]) -> tuple[Any, ...]:
    """Inputs without data, inside a mode of fake tensors."""
    return pytree.tree_map_only(
        torch.Tensor, lambda x: torch.empty_strided(x.shape, x.stride(), dtype=x.dtype), example)


def record(model: torch.nn.Module, inputs: tuple[Any, ...]) -> Workload:
    """The workload of a torch module on inputs, in inference mode of its layers."""
    training = {part: part.training for part in model.modules()}
    recorder = Recorder(model, inputs)
    try:
        model.eval()
        with torch.no_grad(), in_parts(), recorder:
            outputs = model(*inputs)
    finally:
        for part, was in training.items():
            part.training = was
    return recorder.workload(outputs)


@contextmanager
def in_parts() -> Iterator[None]:
    """Keeps torch from running whole layers (transformer encoders, recurrent nets) as one opaque operator."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # torch says on the way out that this is no Intel GPU
            with torch.backends.mkldnn.flags(enabled=False):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class Recorder(TorchDispatchMode):
    """Notes every aten operator that runs while it is entered."""

    def __init__(self, model: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        super().__init__()
        self.ops: list[Op] = []
        self.buffers: list[Buffer] = []
        self._numbers: dict[int, int] = {}      # storage -> buffer
        self._held: list[Any] = []              # storages stay alive, so that their ids stay theirs
        self._rounded: dict[tuple[int, str, int], int] = {}     # storage, number type, scales' storage -> buffer
        self._scales: dict[int, int] = {}       # what is kept in few bits -> its scales
        parts = list(model.modules())
        self._roles = {x.untyped_storage()._cdata: "state" for part in parts for x in part._buffers.values()
                       if x is not None}
        self._roles.update({x.untyped_storage()._cdata: "parameter" for part in parts
                            for x in part._parameters.values() if x is not None})
        self.inputs = tuple(self._number(x) for x in pytree.tree_leaves(inputs) if isinstance(x, torch.Tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = self.run(func, args, kwargs)
        name = func._schema.name.removeprefix("aten::").removesuffix("_")
        if name in VIEWS or name in ("empty", "empty_strided", "dropout"):
            return out
        if name == QUANTISE:
            return self.quantised(args, out)
        reads = tensors((args, kwargs))
        written = [x for x in tensors(out) if x.numel()][:1 if name in FIRST_OUTPUT else None]
        if written:
            read = [self._number(x) for x in reads]
            read += [self._scales[b] for b in read if b in self._scales] if self._scales else []
            self.ops.append(Op(name, kind_of(name, args), tuple(read),
                               tuple(map(self._number, written)), macs_of(func, args, kwargs, out),
                               tuple(written[0].shape), detail_of(name, args), loops_of(name, args, written[0]),
                               window_of(name, args)))
        return out

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What an operator gives."""
        return func(*args, **kwargs)

    def quantised(self, args: Any, out: torch.Tensor) -> torch.Tensor:
        """Notes a rounding: of an activation as an operator that writes fewer bits; of what is kept as that which is
        kept in fewer bits, with its scales, which whoever reads it reads too."""
        x, spread, low, high = args[:4]
        dtype, storage = integer_type(low, high), x.untyped_storage()
        role = self._roles.get(storage._cdata)
        if role is None:
            reads = self._number(x), self._number(spread)
            number = self._buffer(out, "activation", dtype)
            self.ops.append(Op("quantise", "elementwise", reads, (number,), 0, tuple(out.shape)))
            return out
        key = storage._cdata, dtype, spread.untyped_storage()._cdata
        if key in self._rounded:
            self._name(out, self._rounded[key])
            return out
        counted = storage._cdata in self._numbers       # kept as it is besides
        self._rounded[key] = number = self._buffer(out, "state" if counted else role, dtype)
        self._roles[storage._cdata] = "state"
        self._held.append(storage)
        self._scales[number] = self._number(spread)
        return out

    def workload(self, outputs: Any) -> Workload:
        numbers = tuple(self._number(x) for x in tensors(outputs))
        return Workload(tuple(self.ops), tuple(self.buffers), self.inputs, numbers)

    def _number(self, x: torch.Tensor) -> int:
        key = x.untyped_storage()._cdata
        if key not in self._numbers:
            self._buffer(x, self._roles.get(key, "activation"), str(x.dtype).removeprefix("torch."))
        return self._numbers[key]

    def _buffer(self, x: torch.Tensor, role: str, dtype: str) -> int:
        """A new buffer, in which a tensor lies."""
        number = len(self.buffers)
        self._name(x, number)
        self.buffers.append(Buffer(x.untyped_storage().nbytes() // x.element_size(), role, dtype))
        return number

    def _name(self, x: torch.Tensor, number: int) -> None:
        """Says which buffer a tensor lies in."""
        storage = x.untyped_storage()
        self._numbers[storage._cdata] = number
        self._held.append(storage)


def integer_type(low: int, high: int) -> str:
    """int4 for -8 to 7, uint4 for 0 to 15, and so on."""
    return f"{'u' if low == 0 else ''}int{(high - low).bit_length()}"


def tensors(tree: Any) -> list[torch.Tensor]:
    return [x for x in pytree.tree_leaves(tree) if isinstance(x, torch.Tensor)]


def macs_of(func: Any, args: Any, kwargs: Any, out: Any) -> int:
    """Multiply-accumulates: those of the loop nests; else by torch's own formulas, which count each as two
    operations; of a Fourier transform, as `fourier_macs` says."""
    name = func._schema.name.removeprefix("aten::")
    if loops := loops_of(name, args, tensors(out)[0]):
        return sum(each.macs for each in loops)
    if name.startswith("_fft_"):
        return fourier_macs(name, args[0], tensors(out)[0], args[1])
    count = flop_registry.get(func._overloadpacket)
    return 0 if count is None else int(count(*args, **kwargs, out_val=out)) // 2
