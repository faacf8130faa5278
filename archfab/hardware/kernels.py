"""From operators to kernels: what a runtime runs at once, after norms and activations are folded in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from archfab.hardware.workload import Op, Workload

FOLDS_INTO = {"norm": {"conv", "pointwise", "depthwise", "linear"},
              "elementwise": {"conv", "pointwise", "depthwise", "linear", "norm", "pool", "elementwise"}}
"""An operator of this kind joins the kernel before it, when that is of one of these kinds."""


@dataclass(frozen=True)
class Kernel:
    """Operators that run as one: activations read and written, weights, work."""

    kind: str
    names: tuple[str, ...]
    reads: tuple[int, ...]      # activation buffers
    writes: tuple[int, ...]
    weights: int                # elements
    biases: int                 # elements that remain when a norm is folded: one for each output channel
    macs: int
    shape: tuple[int, ...]
    detail: str


def fuse(workload: Workload) -> list[Kernel]:
    """Operators as kernels: an operator on one activation that nobody else reads joins the kernel that made it."""
    readers = readers_of(workload)
    kernels: list[Kernel] = []
    maker: dict[int, int] = {}          # activation buffer -> kernel that wrote it
    version: Counter[int] = Counter()
    for op in workload.ops:
        kernel = kernel_of(op, workload)
        before = maker.get(kernel.reads[0]) if len(kernel.reads) == 1 else None
        if before is not None and readers[kernel.reads[0], version[kernel.reads[0]]] == 1 \
                and joins(kernel, kernels[before]):
            kernels[before] = joined(kernels[before], kernel)
        else:
            kernels.append(kernel)
            before = len(kernels) - 1
        maker.update(dict.fromkeys(kernel.writes, before))
        version.update(op.writes)
    return kernels


def readers_of(workload: Workload) -> Counter[tuple[int, int]]:
    """How many operators read a buffer between two writes to it: an operator in place makes a new version."""
    version: Counter[int] = Counter()
    readers: Counter[tuple[int, int]] = Counter()
    for op in workload.ops:
        readers.update((b, version[b]) for b in set(op.reads))
        version.update(op.writes)
    readers.update((b, version[b]) for b in workload.outputs)
    return readers


def kernel_of(op: Op, workload: Workload) -> Kernel:
    roles = [(b, workload.buffers[b].role) for b in dict.fromkeys(op.reads)]
    weights = [workload.buffers[b].elements for b, role in roles if role != "activation"]
    matrix = [size for size in weights if op.kind in ("conv", "pointwise", "depthwise", "linear")][:1]
    bias = op.shape[1] if matrix and len(op.shape) > 1 else 0
    return Kernel(op.kind, (op.name,), tuple(b for b, role in roles if role == "activation"), op.writes,
                  max(weights, default=0) if matrix else sum(weights), bias, op.macs, op.shape, op.detail)


def joins(kernel: Kernel, before: Kernel) -> bool:
    same_size = kernel.shape == before.shape
    return same_size and before.kind in FOLDS_INTO.get(kernel.kind, ())


def joined(before: Kernel, kernel: Kernel) -> Kernel:
    """A norm's parameters vanish into the weights before it; an activation has none."""
    kept = kernel.weights if kernel.kind != "norm" else 0
    return replace(before, names=before.names + kernel.names, writes=kernel.writes, weights=before.weights + kept)
