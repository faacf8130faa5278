"""The kernels of a network as a graph for the planner."""

from __future__ import annotations

import math
from collections.abc import Sequence

from archfab.hardware.kernels import BATCH_NORMS, Kernel
from archfab.hardware.memory.graph import Graph, Step
from archfab.hardware.workload import Workload


def graph_of(kernels: Sequence[Kernel], workload: Workload, bits: int, keep_inputs: bool = False,
             names: bool = True) -> Graph:
    """A step for each kernel; the sizes of activations that are stored in so many bits.

    An elementwise kernel and a batch norm may write over any of their inputs. Activations that no kernel writes, such
    as constants made on the way, are there from the start. Names cost time, so they may be left out.
    """
    inputs = list(workload.inputs)
    steps: list[Step] = []
    written = set(inputs)
    for kernel in kernels:
        reads = kernel.reads
        if not written.issuperset(reads):
            given = [b for b in reads if b not in written and b not in kernel.writes]
            inputs += given
            written.update(given)
            reads = tuple(b for b in reads if b in written)
        written.update(kernel.writes)
        steps.append(Step(reads, kernel.writes, title(kernel) if names else "",
                          reads if same_place(kernel) else ()))
    sizes = workload.sizes(bits)
    return Graph(steps, {b: math.ceil(sizes[b]) for b in written}, inputs,
                 [b for b in workload.outputs if b in written], keep_inputs)


def same_place(kernel: Kernel) -> bool:
    """Whether a number that is written comes of the numbers that are read in the same place."""
    return kernel.kind == "elementwise" or kernel.names[0] in BATCH_NORMS


def title(kernel: Kernel) -> str:
    """What a person calls a kernel: its operators, and the shape of what it writes."""
    return f"{' + '.join(kernel.names)} {kernel.detail} {'x'.join(map(str, kernel.shape))}".replace("  ", " ")
