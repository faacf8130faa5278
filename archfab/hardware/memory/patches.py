"""The first stage of a network run patch by patch: less memory for more work (MCUNetV2, Lin et al., arXiv:2110.15352).

The output of the stage is cut into a grid; what each patch of it needs is followed back through the windows of the
stage's operators, so patches overlap by a halo that is computed again. Only the input, the output and one patch of
everything between are held. The input is held whole too, for later patches need it, unless it comes in patch by patch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from archfab.core import UsageError
from archfab.hardware.kernels import Kernel
from archfab.hardware.memory.graph import Graph
from archfab.hardware.memory.kernels import graph_of, same_place
from archfab.hardware.memory.orders import pieces
from archfab.hardware.memory.planning import Plan
from archfab.hardware.memory.runtime import Runtime
from archfab.hardware.memory.segment import compiled
from archfab.hardware.workload import Workload

GRIDS = (1, 2, 3, 4, 5, 6, 8)
"""Into how many patches an axis is cut."""
QUICK = 10
"""The effort of one plan, where hundreds are made."""
Spans = dict[int, list[tuple[int, int]]]
"""For each buffer, from which to before which row (or column) each patch of a grid needs."""


@dataclass(frozen=True)
class Split:
    """A network whose first `kernels` kernels run patch by patch."""

    kernels: int
    grid: tuple[int, int]       # patches down and across
    more_macs: float            # the work that is done again, as a share of the network's
    plan: Plan


def splits(kernels: Sequence[Kernel], workload: Workload, bits: int, runtime: Runtime | None = None,
           streams_input: bool = False) -> list[Split]:
    """All that is worth having, from the least work to the least memory; without patches first.

    :param streams_input: whether the input comes in patch by patch and is never held whole.
    :raises UsageError: where no stage can be run so; the message says at which operator it ends and why.
    """
    runtime = runtime or Runtime()
    graph = graph_of(kernels, workload, bits, runtime.keeps_input)
    stages, reason = stages_of(kernels, workload, graph)
    if not stages:
        raise UsageError(f"this network cannot be run patch by patch: {reason}")
    found = [Split(0, (1, 1), 0.0, runtime.plan_graph(graph))]
    for end in stages:
        out = kernels[end - 1].writes[0]
        height, width = kernels[end - 1].shape[2:]
        rows = {n: spans(kernels[:end], out, 0, n) for n in GRIDS if n <= height}
        columns = {n: spans(kernels[:end], out, 1, n) for n in GRIDS if n <= width}
        for down, down_spans in rows.items():
            for across, across_spans in columns.items():
                if down * across > 1:
                    again = more_macs(kernels[:end], down_spans, across_spans)
                    cut = patched(graph, kernels[:end], workload, down_spans, across_spans, streams_input)
                    plan = runtime.plan_graph(cut, QUICK)
                    found.append(Split(end, (down, across), again / max(1, workload.macs), plan))
    return front(found)


def front(found: Sequence[Split]) -> list[Split]:
    """Those that no other beats in both work and memory."""
    best: list[Split] = []
    for each in sorted(found, key=lambda split: (split.more_macs, split.plan.arena, split.kernels)):
        if not best or each.plan.arena < best[-1].plan.arena:
            best.append(each)
    return best


def stages_of(kernels: Sequence[Kernel], workload: Workload, graph: Graph) -> tuple[list[int], str]:
    """After how many kernels a stage may end: all of them walk over one image, and only one buffer leaves it. And why
    not later."""
    if len(workload.inputs) != 1:
        return [], f"it has {len(workload.inputs)} inputs, and patches are cut out of one image"
    if len(kernels) < 2:
        return [], "it has fewer than two operators"
    ends, reason = [], ""
    cuts = {end for _, end in pieces(compiled(graph)[0])}
    local = {workload.inputs[0]}
    for k, kernel in enumerate(kernels):
        reason = why_not(kernel, local, workload)
        if reason:
            reason = f"operator {k} ({graph.steps[k].name}) {reason}"
            break
        local.update(kernel.writes)
        later = {b for other in kernels[k + 1:] for b in other.reads} | set(workload.outputs)
        leaving = (later & local) - set(kernel.writes)
        if k and k + 1 in cuts and not leaving and len(kernel.writes) == 1:
            ends.append(k + 1)
    return ends, reason or "there is no place where a single buffer leaves a stage"


def why_not(kernel: Kernel, local: set[int], workload: Workload) -> str:
    """Why an operator cannot run on a patch of an image; empty where it can."""
    if not set(kernel.reads) <= local:
        return "reads what is not made of the image"
    if same_place(kernel):
        alike = {workload.buffers[b].elements for b in (*kernel.reads, *kernel.writes)}
        return "" if len(alike) == 1 and len(kernel.shape) == 4 else "joins tensors of unequal shapes"
    if kernel.window is None or len(kernel.reads) != 1 or len(kernel.shape) != 4:
        return "needs the whole image, or it is not known which part of it"
    return ""


def spans(kernels: Sequence[Kernel], out: int, axis: int, number: int) -> Spans:
    """What `number` equal patches of the stage's output need of every buffer along an axis, halos included."""
    length = kernels[-1].shape[2 + axis]
    found: Spans = {out: [(i * length // number, (i + 1) * length // number) for i in range(number)]}
    for kernel in reversed(kernels):
        wanted = found[kernel.writes[0]]
        for buffer in kernel.reads:
            if buffer in kernel.writes:
                continue
            needs = [kernel.window.needs(axis, *each) for each in wanted] if kernel.window else wanted
            known = found.get(buffer, needs)
            found[buffer] = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(needs, known, strict=True)]
    return found


def more_macs(kernels: Sequence[Kernel], rows: Spans, columns: Spans) -> float:
    """The multiply-accumulates that are done again: what all patches compute, less the image once."""
    again = 0.0
    for kernel in kernels:
        height, width = kernel.shape[2:]
        done = total(rows[kernel.writes[0]]) * total(columns[kernel.writes[0]]) / (height * width)
        again += kernel.macs * (done - 1)
    return again


def total(each: Sequence[tuple[int, int]]) -> int:
    return sum(last - first for first, last in each)


def patched(graph: Graph, kernels: Sequence[Kernel], workload: Workload, rows: Spans, columns: Spans,
            streams_input: bool) -> Graph:
    """The graph as one patch sees it: buffers of the stage are as large as their largest patch; the whole input is
    held until the stage's last step, the whole output from its first."""
    image, out = workload.inputs[0], kernels[-1].writes[0]
    sizes = {buffer: graph.size(buffer) for step in graph.steps for buffer in (*step.reads, *step.writes)}
    for buffer, (height, width) in images(kernels).items():
        if buffer != out and (buffer != image or streams_input):
            share = largest(rows[buffer]) * largest(columns[buffer]) / (height * width)
            sizes[buffer] = math.ceil(sizes[buffer] * share - 1e-6)
    steps = list(graph.steps)
    first, last = steps[0], steps[len(kernels) - 1]
    if out not in first.writes:
        steps[0] = first._replace(writes=(*first.writes, out))
    if image not in last.reads and not streams_input:
        steps[len(kernels) - 1] = last._replace(reads=(*last.reads, image))
    return replace(graph, steps=steps, sizes=sizes)


def largest(each: Sequence[tuple[int, int]]) -> int:
    return max(last - first for first, last in each)


def images(kernels: Sequence[Kernel]) -> dict[int, tuple[int, int]]:
    """The heights and widths of the buffers of a stage."""
    found: dict[int, tuple[int, int]] = {}
    for kernel in kernels:
        size: tuple[int, int] = (kernel.shape[2], kernel.shape[3])
        found.update(dict.fromkeys(kernel.reads, kernel.window.size if kernel.window else size))
        found.update(dict.fromkeys(kernel.writes, size))
    return found


def least_work(found: Sequence[Split], limit: int) -> Split | None:
    """The split that does least work again and fits into so many bytes."""
    return next((each for each in found if each.plan.arena <= limit), None)
