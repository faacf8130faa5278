"""From operators to kernels: what a runtime runs at once, after norms and activations are folded in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from archfab.hardware.loops import Loops
from archfab.hardware.windows import Window
from archfab.hardware.workload import Buffer, Op, Workload, bits_of

FOLDS_INTO = {"norm": {"conv", "pointwise", "depthwise", "linear"},
              "elementwise": {"conv", "pointwise", "depthwise", "linear", "norm", "pool", "elementwise"}}
"""An operator of this kind joins the kernel before it, when that is of one of these kinds; a device may say other
rules."""
BATCH_NORMS = {"native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "batch_norm",
               "BatchNormalization"}
"""Norms that are constants at inference; others depend on the data and stay kernels of their own."""
MATRIX = {"conv", "pointwise", "depthwise", "linear"}
SEVERAL = {"LSTM", "GRU", "RNN", "Einsum"}
"""Operators with more than one matrix of weights."""


class Kernel(NamedTuple):
    """Operators that run as one: activations read and written, weights, work."""

    kind: str
    names: tuple[str, ...]
    reads: tuple[int, ...]      # activation buffers
    writes: tuple[int, ...]
    weights: tuple[int, ...]    # parameter buffers
    biases: int                 # elements of the bias, which a folded norm leaves too: one for each output channel;
                                # and the scales of weights of few bits
    macs: int
    shape: tuple[int, ...]
    detail: str
    loops: tuple[Loops, ...] = ()
    window: Window | None = None
    scales: int = 0             # how many of the biases are scales


def fuse(workload: Workload, rules: Mapping[str, Collection[str]] = FOLDS_INTO) -> list[Kernel]:
    """Operators as kernels: an operator on one activation that nobody else reads joins the kernel that made it."""
    readers = readers_of(workload)
    kernels: list[Kernel] = []
    maker: dict[int, int] = {}          # activation buffer -> kernel that wrote it
    version: dict[int, int] = {}
    for op in workload.ops:
        kernel = kernel_of(op, workload)
        before = maker.get(kernel.reads[0]) if len(kernel.reads) == 1 else None
        if before is not None and readers[kernel.reads[0], version.get(kernel.reads[0], 0)] == 1 \
                and joins(kernel, kernels[before], rules):
            kernels[before] = joined(kernels[before], kernel)
        else:
            kernels.append(kernel)
            before = len(kernels) - 1
        for b in kernel.writes:
            maker[b] = before
            version[b] = version.get(b, 0) + 1
    return kernels


def readers_of(workload: Workload) -> dict[tuple[int, int], int]:
    """How many operators read a buffer between two writes to it: an operator in place makes a new version."""
    version: dict[int, int] = {}
    readers: dict[tuple[int, int], int] = {}
    for op in workload.ops:
        for b in set(op.reads):
            key = b, version.get(b, 0)
            readers[key] = readers.get(key, 0) + 1
        for b in op.writes:
            version[b] = version.get(b, 0) + 1
    for b in workload.outputs:
        key = b, version.get(b, 0)
        readers[key] = readers.get(key, 0) + 1
    return readers


def kernel_of(op: Op, workload: Workload) -> Kernel:
    buffers = workload.buffers
    reads: list[int] = []
    weights: list[int] = []
    for b in dict.fromkeys(op.reads):
        (reads if buffers[b].role == "activation" else weights).append(b)
    biases: list[int] = []
    scales = 0
    if len(weights) > 1 and op.kind in MATRIX and op.name not in SEVERAL:
        weights.sort(key=lambda b: -buffers[b].elements)        # beside the matrix there is a bias or nothing
        weights, biases = weights[:1], weights[1:]
        scales = buffers[biases[0]].elements if bits_of(buffers[weights[0]].dtype) else 0
    return Kernel(op.kind, (op.name,), tuple(reads), op.writes, tuple(weights),
                  sum([buffers[b].elements for b in biases]) if biases else 0, op.macs, op.shape, op.detail, op.loops,
                  op.window, scales)


def joins(kernel: Kernel, before: Kernel, rules: Mapping[str, Collection[str]]) -> bool:
    foldable = kernel.kind != "norm" or kernel.names[0] in BATCH_NORMS
    return foldable and kernel.shape == before.shape and before.kind in rules.get(kernel.kind, ())


def joined(before: Kernel, kernel: Kernel) -> Kernel:
    """A norm's parameters vanish into the weights before it and leave a bias; an activation's stay."""
    norm = kernel.kind == "norm"
    return Kernel(before.kind, before.names + kernel.names, before.reads, kernel.writes,
                  before.weights if norm else before.weights + kernel.weights,
                  max(before.biases, kernel.shape[1] + before.scales) if norm else before.biases, before.macs,
                  before.shape, before.detail, before.loops, before.window, before.scales)


def kept(kernels: list[Kernel]) -> tuple[set[int], int]:
    """The weights, and the number of biases, that have to be stored: what several kernels use is stored once."""
    biases = {kernel.weights: kernel.biases for kernel in kernels}
    return {b for kernel in kernels for b in kernel.weights}, sum(biases.values())


def operand_bits(kernel: Kernel, buffers: Sequence[Buffer], default: tuple[int, int, int]) -> tuple[int, int, int]:
    """The bits of an input, a weight and a result: those that a network rounds to, and the default for floating point
    numbers. Where a product has no weight (attention) its other inputs stand for that."""
    of_inputs, of_weights, of_results = default
    reads = [bits_of(buffers[b].dtype) or of_inputs for b in kernel.reads]
    weights = [bits_of(buffers[b].dtype) or of_weights for b in kernel.weights[:1]]
    writes = [bits_of(buffers[b].dtype) or of_results for b in kernel.writes]
    if kernel.loops and not weights and reads:
        reads, weights = reads[:1], reads[1:] or reads
    return max(reads, default=of_inputs), max(weights, default=of_weights), max(writes, default=of_results)
