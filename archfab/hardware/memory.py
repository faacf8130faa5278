"""How much memory activations need, in the order in which the kernels run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from archfab.hardware.kernels import Kernel


def live_ranges(kernels: Sequence[Kernel], inputs: Iterable[int], outputs: Iterable[int]) -> dict[int, tuple[int, int]]:
    """For each buffer, the first and the last kernel that need it."""
    ranges = dict.fromkeys(inputs, (0, 0))
    for step, kernel in enumerate(kernels):
        for buffer in (*kernel.reads, *kernel.writes):
            first, _ = ranges.get(buffer, (step, step))
            ranges[buffer] = (first, step)
    for buffer in outputs:
        if buffer in ranges:
            ranges[buffer] = (ranges[buffer][0], len(kernels) - 1)
    return ranges


def peak_bytes(kernels: Sequence[Kernel], sizes: Sequence[float], inputs: Iterable[int],
               outputs: Iterable[int]) -> float:
    """The largest sum of live activations over the steps, in the unit of the sizes.

    An elementwise kernel writes over an input of the same size that nobody needs afterwards.
    """
    ranges = live_ranges(kernels, inputs, outputs)
    peak = 0.0
    for step, kernel in enumerate(kernels):
        live = sum(sizes[buffer] for buffer, (first, last) in ranges.items() if first <= step <= last)
        if kernel.kind == "elementwise":
            dying = [b for b in kernel.reads if ranges[b][1] == step and b not in kernel.writes]
            live -= max((sizes[b] for b in dying if sizes[b] == sizes[kernel.writes[0]]), default=0)
        peak = max(peak, live)
    return peak
