"""The workload of a network: the operators that it really runs, recorded at the aten level without computing.

The network is made of fake tensors (shapes and types, no data) and run once under a dispatch mode; whatever
runs can be recorded, and it takes about as long as running a tiny network.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

if TYPE_CHECKING:
    from archfab.core import Genotype
    from archfab.space import Space

VIEWS = {"view", "_unsafe_view", "reshape", "permute", "transpose", "t", "expand", "squeeze", "unsqueeze", "slice",
         "select", "alias", "detach", "split", "chunk", "unbind", "flatten", "as_strided", "lift_fresh", "unfold",
         "narrow", "split_with_sizes", "unsafe_split"}
"""Operators that only look at memory in another way: they cost nothing."""

FIRST_OUTPUT = {"max_pool2d_with_indices", "max_pool3d_with_indices", "native_batch_norm", "native_layer_norm",
                "native_group_norm", "_native_batch_norm_legit_no_training"}
"""Operators whose other outputs serve training alone."""


@dataclass(frozen=True)
class Buffer:
    """One piece of memory that holds a tensor."""

    elements: int
    role: str           # activation, parameter (trained), or state (kept but not trained)


@dataclass(frozen=True)
class Op:
    """One operator as it was run: its kind, buffers read and written, multiply-accumulates."""

    name: str                       # the aten operator
    kind: str                       # what cost models distinguish, see `kind_of`
    reads: tuple[int, ...]          # buffer numbers; parameters included
    writes: tuple[int, ...]
    macs: int
    shape: tuple[int, ...]          # of the first output
    detail: str = ""                # kernel, stride, groups of a convolution


@dataclass(frozen=True)
class Workload:
    """The operators of a network in the order in which they ran, and the memory that they touch."""

    ops: tuple[Op, ...]
    buffers: tuple[Buffer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def macs(self) -> int:
        return sum(op.macs for op in self.ops)

    @property
    def params(self) -> int:
        return sum(buffer.elements for buffer in self.buffers if buffer.role == "parameter")


def record_genotype(space: Space, genotype: Genotype, example: tuple[Any, ...]) -> Workload:
    """The workload of a genotype; its network is made of fake tensors, so no weights are drawn."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from archfab.lowering.concrete import build
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = build(space, genotype, example)
        return record(model, pytree.tree_map_only(
            torch.Tensor, lambda x: torch.empty(x.shape, dtype=x.dtype), example))


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
        self._roles = {x.untyped_storage()._cdata: "state" for x in model.buffers()}
        self._roles.update({x.untyped_storage()._cdata: "parameter" for x in model.parameters()})
        self.inputs = tuple(self._number(x) for x in pytree.tree_leaves(inputs) if isinstance(x, torch.Tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::").removesuffix("_")
        if name in VIEWS or name in ("empty", "dropout"):
            return out
        reads = tensors((args, kwargs))
        written = [x for x in tensors(out) if x.numel()][:1 if name in FIRST_OUTPUT else None]
        if written:
            self.ops.append(Op(name, kind_of(name, args), tuple(map(self._number, reads)),
                               tuple(map(self._number, written)), macs_of(func, args, kwargs, out),
                               tuple(written[0].shape), detail_of(name, args)))
        return out

    def workload(self, outputs: Any) -> Workload:
        numbers = tuple(self._number(x) for x in tensors(outputs))
        return Workload(tuple(self.ops), tuple(self.buffers), self.inputs, numbers)

    def _number(self, x: torch.Tensor) -> int:
        storage = x.untyped_storage()
        key = storage._cdata
        if key not in self._numbers:
            self._numbers[key] = len(self.buffers)
            self._held.append(storage)
            self.buffers.append(Buffer(storage.nbytes() // x.element_size(), self._roles.get(key, "activation")))
        return self._numbers[key]


def tensors(tree: Any) -> list[torch.Tensor]:
    return [x for x in pytree.tree_leaves(tree) if isinstance(x, torch.Tensor)]


def macs_of(func: Any, args: Any, kwargs: Any, out: Any) -> int:
    """Multiply-accumulates, by torch's own formulas (which count each as two operations); torch has none for
    attention on the CPU: queries [..., L, E] and keys [..., S, E], then weights and values [..., S, Ev]."""
    if func._schema.name.removeprefix("aten::") in ATTENTION:
        q, k, v = args[:3]
        return q.numel() // q.shape[-1] * k.shape[-2] * (q.shape[-1] + v.shape[-1])
    count = flop_registry.get(func._overloadpacket)
    if count is None:
        return 0
    return int(count(*args, **kwargs, out_val=out)) // 2


CONVOLUTIONS = {"convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution"}
MATRIX = {"mm", "addmm", "bmm", "baddbmm", "linear", "mv", "addmv", "dot"}
NORMS = {"native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "cudnn_batch_norm",
         "native_layer_norm", "native_group_norm", "batch_norm", "rms_norm", "_fused_rms_norm"}
POOLS = {"avg_pool2d", "max_pool2d_with_indices", "_adaptive_avg_pool2d", "adaptive_avg_pool2d", "mean", "sum", "amax",
         "avg_pool1d", "max_pool1d", "_adaptive_avg_pool3d", "avg_pool3d", "max_pool3d_with_indices",
         "adaptive_max_pool2d", "max", "min", "amin", "cumsum", "argmax", "prod", "var", "std", "norm",
         "linalg_vector_norm"}
MOVES = {"cat", "clone", "copy", "_to_copy", "constant_pad_nd", "index", "index_select", "gather", "scatter",
         "embedding", "stack", "roll", "flip", "repeat", "upsample_nearest2d", "upsample_bilinear2d", "fill", "zeros",
         "zeros_like", "full", "ones", "ones_like", "full_like", "arange", "new_zeros", "scatter_add", "index_add",
         "slice_scatter", "reflection_pad2d", "replication_pad2d", "pixel_shuffle", "channel_shuffle", "tril",
         "triu", "where", "masked_fill", "empty_like", "contiguous", "scalar_tensor", "index_put", "im2col", "col2im",
         "select_backward", "slice_backward"}
ATTENTION = {"_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_efficient_attention",
             "_scaled_dot_product_flash_attention", "scaled_dot_product_attention",
             "_scaled_dot_product_attention_math_for_mps", "_scaled_dot_product_attention_math"}
ELEMENTWISE = {"relu", "add", "mul", "sub", "div", "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "tanh", "silu",
               "gelu", "leaky_relu", "elu", "clamp", "clamp_min", "neg", "exp", "log", "sqrt", "rsqrt", "pow", "abs",
               "softplus", "mish", "_softmax", "_log_softmax", "reciprocal", "sin", "cos", "erf", "_prelu_kernel",
               "square", "maximum", "minimum", "relu6", "selu", "celu", "threshold", "eq", "ne", "lt", "le", "gt",
               "ge", "logical_not", "logical_and", "logical_or", "bitwise_not", "bitwise_and", "bitwise_or", "rsub",
               "addcmul", "addcdiv", "round", "floor", "ceil", "sign", "softshrink", "hardshrink", "log1p", "expm1",
               "log_sigmoid_forward", "glu", "atan2", "fmod", "remainder", "isnan", "isinf", "tan", "lerp",
               "silu_backward", "sigmoid_backward", "tanh_backward", "gelu_backward", "threshold_backward",
               "linalg_cross"}


def kind_of(name: str, args: Any) -> str:
    """The kind of an operator: conv, pointwise, depthwise, linear, attention, norm, pool, elementwise, move,
    or unknown."""
    if name in CONVOLUTIONS:
        weight, groups = args[1], args[8]
        if groups > 1 and weight.shape[1] == 1:
            return "depthwise"
        return "pointwise" if math.prod(weight.shape[2:]) == 1 else "conv"
    for kind, known in (("linear", MATRIX), ("attention", ATTENTION), ("norm", NORMS), ("pool", POOLS),
                        ("move", MOVES), ("elementwise", ELEMENTWISE)):
        if name in known:
            return kind
    return "unknown"


def detail_of(name: str, args: Any) -> str:
    if name not in CONVOLUTIONS:
        return ""
    weight, stride, groups = args[1], args[3], args[8]
    kernel = "x".join(map(str, weight.shape[2:]))
    return f"{kernel}/{stride[0]}" + (f" groups {groups}" if groups > 1 else "")

