"""A network on its way to integers: tensors with ranges instead of scales, weights still real.

A tensor keeps the axes of its ONNX value, but they may lie in memory in another order: `order[i]` is the axis that
lies at place i. A transpose then only renames axes; data moves where an operator needs another order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from archfab.hardware.int8.float_model import Value

IMAGE, ROWS = (0, 2, 3, 1), (0, 2, 1)       # channels last, of images and of sequences


@dataclass(eq=False)
class Draft:
    """A tensor in memory, and the range that its scale has to hold."""

    name: str
    shape: tuple[int, ...]
    low: float
    high: float
    fixed: tuple[float, int] | None = None      # scale and zero, where the operator dictates them
    data: np.ndarray | None = None              # real numbers of a constant
    same: Draft | None = None                   # the tensor whose scale it shares

    @property
    def root(self) -> Draft:
        return self if self.same is None else self.same.root


@dataclass(frozen=True, eq=False)
class Laid:
    """A tensor whose axes have a meaning: the ONNX axis that lies at each place."""

    draft: Draft
    order: tuple[int, ...]

    @property
    def logical(self) -> tuple[int, ...]:
        """The shape in the order of the ONNX axes."""
        return tuple(self.draft.shape[self.order.index(axis)] for axis in range(len(self.order)))

    def place(self, axis: int) -> int:
        """Where an ONNX axis lies."""
        return self.order.index(axis)


@dataclass(eq=False)
class Step:
    """An operator on drafts; weights [outputs, ...] and bias real, `clip` real bounds of the result."""

    op: str
    inputs: list[Draft]
    output: Draft
    options: dict[str, Any] = field(default_factory=dict)
    weights: np.ndarray | None = None
    bias: np.ndarray | None = None
    clip: tuple[float, float] | None = None


def share(a: Draft, b: Draft) -> bool:
    """Makes two tensors share one scale that holds both ranges; False where one's is dictated and differs."""
    a, b = a.root, b.root
    if a is b:
        return True
    if a.fixed is not None and b.fixed is not None and a.fixed != b.fixed:
        return False
    keep, gone = (b, a) if b.fixed is not None else (a, b)
    gone.same = keep
    keep.low, keep.high = min(a.low, b.low), max(a.high, b.high)
    return True


class Sheet:
    """The steps so far, and the moves of data between them."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.names: set[str] = set()
        self.makers: dict[int, Step] = {}

    def name(self, wish: str) -> str:
        """A name that no other tensor has."""
        name, i = wish, 1
        while name in self.names:
            i += 1
            name = f"{wish}/{i}"
        self.names.add(name)
        return name

    def tensor(self, name: str, value: Value, order: Sequence[int] | None = None) -> Laid:
        """A tensor for an ONNX value."""
        order = tuple(range(len(value.shape))) if order is None else tuple(order)
        shape = tuple(value.shape[axis] for axis in order)
        return Laid(Draft(self.name(name), shape, value.low, value.high), order)

    def constant(self, name: str, data: np.ndarray, rank: int) -> Laid:
        """A constant of real numbers, with leading axes of length 1 up to a rank."""
        data = data.reshape((1,) * (rank - data.ndim) + data.shape).astype(np.float64)
        low, high = (float(data.min()), float(data.max())) if data.size else (0.0, 0.0)
        return Laid(Draft(self.name(name), data.shape, low, high, None, data), tuple(range(rank)))

    def add(self, op: str, inputs: Sequence[Laid], output: Laid, options: Mapping[str, Any] | None = None,
            **more: Any) -> Laid:
        self.steps.append(Step(op, [x.draft for x in inputs], output.draft, dict(options or {}), **more))
        self.makers[id(output.draft)] = self.steps[-1]
        return output

    def like(self, x: Laid, shape: Sequence[int], order: Sequence[int], what: str) -> Laid:
        """A tensor with the scale of another."""
        out = Draft(self.name(f"{x.draft.name}/{what}"), tuple(shape), x.draft.root.low, x.draft.root.high)
        share(x.draft, out)
        return Laid(out, tuple(order))

    def reshaped(self, x: Laid, shape: Sequence[int], order: Sequence[int]) -> Laid:
        """The same memory under another shape; of reshapes that follow each other, only the last one stays."""
        while (maker := self.makers.get(id(x.draft))) is not None and maker.op == "reshape":
            x = Laid(maker.inputs[0], tuple(range(len(maker.inputs[0].shape))))
        if tuple(shape) == x.draft.shape:
            return Laid(x.draft, tuple(order))
        return self.add("reshape", [x], self.like(x, shape, order, "reshaped"))

    def ordered(self, x: Laid, order: Sequence[int]) -> Laid:
        """The tensor with its axes in an order in memory; data moves only where it has to."""
        order = tuple(order)
        if order == x.order:
            return x
        shape = tuple(x.logical[axis] for axis in order)
        permutation = tuple(x.order.index(axis) for axis in order)
        if x.draft.data is not None:
            draft = replace(x.draft, name=self.name(f"{x.draft.name}/ordered"), shape=shape,
                            data=x.draft.data.transpose(permutation))
            return Laid(draft, order)
        if [a for a in order if x.logical[a] > 1] == [a for a in x.order if x.logical[a] > 1]:
            return self.reshaped(x, shape, order)
        return self.add("transpose", [x], self.like(x, shape, order, "ordered"), {"permutation": permutation})


def regrouped(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """A reshape as the smallest groups of axes that keep their size: axes before and axes after of each."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        left, right, a, b = [], [], 1, 1
        if i < len(before):
            left, a, i = [i], before[i], i + 1
        if j < len(after) and (a != 1 or not left or after[j] == 1):
            right, b, j = [j], after[j], j + 1
        while a != b:
            if a < b and i < len(before):
                left, a, i = [*left, i], a * before[i], i + 1
            elif j < len(after):
                right, b, j = [*right, j], b * after[j], j + 1
            else:
                break
        groups.append((left, right))
    return groups


def reshape_order(x: Laid, after: Sequence[int]) -> tuple[int, ...] | None:
    """The order in memory of a reshaped tensor whose data can stay where it is; None where it has to move."""
    before = x.logical
    if 0 in before:
        return None
    places = [axis for axis in x.order if before[axis] > 1]
    order: list[int] = []
    ones = []
    at = 0
    groups = regrouped(before, after)
    owner = {axis: group for group in groups for axis in group[0]}
    for left, right in groups:
        if math.prod(before[axis] for axis in left) == 1:
            ones += right
    while at < len(places):
        left, right = owner[places[at]]
        long = [axis for axis in left if before[axis] > 1]
        if places[at:at + len(long)] != long:
            return None
        order += right
        at += len(long)
    for axis in ones:                           # axes of length 1 lie anywhere: where they are in the plain order
        order.insert(min(axis, len(order)), axis)
    return tuple(order)
