"""Loops over tensors: axes that follow one another are one loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from archfab.core import BuildError


def strides(shape: Sequence[int]) -> list[int]:
    """How far apart neighbours along each axis lie, in elements."""
    return [int(np.prod(shape[i + 1:])) for i in range(len(shape))]


def broadcast(shape: Sequence[int], to: Sequence[int]) -> list[int]:
    """The strides of a tensor that is repeated to another shape: 0 along the axes where it is."""
    padded = (1,) * (len(to) - len(shape)) + tuple(shape)
    return [0 if n == 1 else step for n, step in zip(padded, strides(padded), strict=True)]


def loops(shape: Sequence[int], steps: Sequence[Sequence[int]], most: int, what: str) -> list[list[int]]:
    """The fewest nested loops over a shape, outermost first, filled up to `most`: lengths, then for each tensor by
    how much it steps."""
    found: list[list[int]] = []
    for n, *by in zip(shape, *steps, strict=True):
        if n == 1:
            continue
        if found and found[-1][1:] == [n * step for step in by]:
            found[-1] = [found[-1][0] * n, *by]
        else:
            found.append([n, *by])
    found = found or [[1] + [1] * len(steps)]
    if len(found) > most:
        raise BuildError(f"{what}: the code generator has {most} nested loops, and this takes {len(found)}")
    filled = [[1] + [0] * len(steps)] * (most - len(found)) + found
    return [list(each) for each in zip(*filled, strict=True)]
