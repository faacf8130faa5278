"""A network on a spatial array: its kernels as layers, each under its best mapping, one after another.

Layers with multiply-accumulates run on the array. Kernels without (pooling, norms that are not folded, element by
element, moves) go past it: their operands are read from and their results written to the outermost memory, which is
what they cost here. What is fused into a layer (`kernels.fuse`) acts on results as they leave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from archfab.hardware.kernels import Kernel, operand_bits
from archfab.hardware.loops import Loops
from archfab.hardware.mapping.architecture import Architecture
from archfab.hardware.mapping.evaluate import Evaluation
from archfab.hardware.mapping.layer import Layer
from archfab.hardware.mapping.nest import Nest
from archfab.hardware.mapping.search import best
from archfab.hardware.workload import Workload

PASSING = ("norm", "pool", "elementwise", "move")
"""Kinds without multiply-accumulates that cost their traffic."""


@dataclass(frozen=True)
class Step:
    """A kernel of a network: its layers on the array with mapping and cost, the bits that it moves past the array, pJ
    and cycles in all."""

    kernel: Kernel
    mapped: tuple[tuple[Layer, Nest, Evaluation], ...]
    passing: float
    energy: float
    cycles: float


def run(kernels: Sequence[Kernel], workload: Workload, architecture: Architecture, objective: str,
        bits: tuple[int, int, int, int]) -> tuple[list[Step], list[str]]:
    """The steps of a network, and the operators that this model does not know.

    :param bits: of an input, a weight, a result and a partial sum, where the network does not say fewer.
    """
    known = [kernel for kernel in kernels if kernel.loops or (kernel.kind in PASSING and not kernel.macs)]
    layers = [[layer_of(loops, kernel, workload, bits_of(kernel, workload, bits)) for loops in kernel.loops]
              for kernel in known]
    found = iter(best([layer for each in layers for layer in each], architecture, objective))
    steps = []
    for kernel, each in zip(known, layers, strict=True):
        mapped = tuple((layer, *next(found)) for layer in each)
        reads, writes = passing(kernel, workload, bits) if not mapped else scores(mapped, bits)
        energy, cycles = past(reads, writes, architecture)
        steps.append(Step(kernel, mapped, reads + writes, energy + sum(cost.energy for *_, cost in mapped),
                          cycles + sum(cost.cycles for *_, cost in mapped)))
    return steps, sorted({name for kernel in kernels if kernel not in known for name in kernel.names})


def bits_of(kernel: Kernel, workload: Workload, bits: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Of a layer's input, weight, result and partial sum, which has as many more than a product as the device's."""
    one, other, result = operand_bits(kernel, workload.buffers, bits[:3])
    return one, other, result, max(result, bits[3] - (bits[0] + bits[1]) + one + other)


def passing(kernel: Kernel, workload: Workload, bits: tuple[int, int, int, int]) -> tuple[float, float]:
    """Bits that a kernel without multiply-accumulates reads and writes."""
    return (sum(workload.buffers[b].bytes_in(bits[0]) * 8 for b in (*kernel.reads, *kernel.weights)),
            sum(workload.buffers[b].bytes_in(bits[2]) * 8 for b in kernel.writes))


def scores(mapped: Sequence[tuple[Layer, Nest, Evaluation]], bits: tuple[int, int, int, int]) -> tuple[float, float]:
    """Of attention in one piece, whose products are two: the scores between them are normalised past the array."""
    if len(mapped) < 2:
        return 0.0, 0.0
    count = sum(layer.elements("output") for layer, *_ in mapped[:-1])
    return float(count * bits[2]), float(count * bits[0])


def past(reads: float, writes: float, architecture: Architecture) -> tuple[float, float]:
    """pJ and cycles of bits through the outermost memory's ports, in whole words."""
    memory, energy = architecture.memories[-1], 0.0
    busy: dict[str, float] = {}
    for amount, direction, cost in ((reads, "to_below", memory.read), (writes, "from_below", memory.write)):
        port = memory.port("output", direction)
        assert port is not None
        energy += math.ceil(amount / (memory.word or port.bits)) * cost
        busy[port.name] = busy.get(port.name, 0.0) + amount / port.bits
    return energy, float(math.ceil(max(busy.values())))


def layer_of(loops: Loops, kernel: Kernel, workload: Workload, bits: tuple[int, int, int, int]) -> Layer:
    """A nest of multiply-accumulates as a layer, with the input's edge where it can be told. A transposed convolution
    is a convolution that gives stride x stride results at each place, with a kernel smaller by the stride."""
    counts = {name: getattr(loops, name) for name in ("batch", "groups", "outputs", "inputs", "height", "width",
                                                      "kernel_height", "kernel_width", "stride", "dilation")}
    if kernel.kind in ("conv", "pointwise", "depthwise"):
        size = (1, 1, *kernel.shape[2:])[-2:]
        up = [max(1, round(out / now)) for out, now in zip(size, (loops.height, loops.width), strict=True)]
        if math.prod(up) > 1:
            counts.update(outputs=loops.outputs * math.prod(up), kernel_height=math.ceil(loops.kernel_height / up[0]),
                          kernel_width=math.ceil(loops.kernel_width / up[1]))
        elif kernel.reads:
            return Layer(**counts, edge=edge_of(loops, workload.buffers[kernel.reads[0]].elements), bits=bits)
    return Layer(**counts, bits=bits)


def edge_of(loops: Loops, elements: int) -> tuple[int, int] | None:
    """Rows and columns of the input, from how many elements it has: what the windows reach, less as much padding down
    as across; None where that is not so."""
    sizes, kernel = (loops.height, loops.width), (loops.kernel_height, loops.kernel_width)
    down, across = ((out - 1) * stride + (taps - 1) * dilation + 1 for out, taps, stride, dilation in
                    zip(sizes, kernel, loops.stride, loops.dilation, strict=True))
    area, rest = divmod(elements, loops.batch * loops.groups * loops.inputs)
    for padding in range(max(down, across)):
        rows, columns = (reach - padding * (size > 1) for reach, size in zip((down, across), sizes, strict=True))
        if rest == 0 and rows * columns == area:
            return rows, columns
    return None
