"""One wafer: the defects of each die or whether it fails, and which dies lie at the edge."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archfab.core import UsageError

OFF = -1                            # no die
DIE_MM = (0.05, 160.0)              # legal sides of a die
WAFER_MM = (25.0, 450.0)            # and diameters of a wafer


@dataclass(frozen=True, eq=False)
class WaferMap:
    """The dies of one wafer, as a grid.

    `values`: [rows, columns], the number of defects of each die, or 1 where it fails and 0 where it passes; -1 where
    there is none. `counted`: defects were counted; if not, it is only known whether a die has any that kills.
    `die_mm`: width and height from die to die. `centre`: column and row of the wafer's centre (whole numbers are
    centres of dies); else the middle of the dies. `upward`: rows count from the bottom.
    """

    name: str
    values: NDArray[np.int64]
    counted: bool = False
    die_mm: tuple[float, float] | None = None
    wafer_mm: float | None = None
    centre: tuple[float, float] | None = None
    label: str = ""
    upward: bool = False
    notes: tuple[str, ...] = ()

    @property
    def dies(self) -> NDArray[np.bool_]:
        return self.values != OFF

    @property
    def failing(self) -> NDArray[np.bool_]:
        return self.values > 0

    @property
    def middle(self) -> tuple[float, float]:
        """Column and row of the wafer's centre."""
        if self.centre is not None:
            return self.centre
        rows, columns = np.nonzero(self.dies)
        return (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2

    def far_mm(self, dies: float) -> NDArray[np.float64]:
        """How far each site's centre is from that of the wafer, each way with so many dies more (or fewer)."""
        column, row = self.middle
        rows, columns = np.indices(self.values.shape)
        width, height = self.die_mm or (1.0, 1.0)
        return np.hypot(np.maximum(0, abs(columns - column) + dies) * width,
                        np.maximum(0, abs(rows - row) + dies) * height)

    def kept(self, dies: NDArray[np.bool_]) -> WaferMap:
        """The same wafer with only these dies."""
        return replace(self, values=np.where(dies, self.values, OFF))

    @classmethod
    def of_codes(cls, name: str, codes: NDArray[Any], **others: Any) -> WaferMap:
        """Of 0 no die, 1 passing, 2 failing."""
        return cls(name, codes.astype(np.int64) - 1, **others)


def checked(wafer: WaferMap, die_mm: tuple[float, float] | None, wafer_mm: float | None) -> WaferMap:
    """The wafer with sizes of the die and of itself, where they are given; a wafer without dies or a size that cannot
    be is refused.

    :raises UsageError: says which legal size it may have been in another unit.
    """
    if not wafer.dies.any():
        raise UsageError(f"{wafer.name} has no dies")
    size, across = die_mm or wafer.die_mm, wafer_mm or wafer.wafer_mm
    for side in size or ():
        if not DIE_MM[0] <= side <= DIE_MM[1]:
            other = "" if not DIE_MM[0] <= side / 1000 <= DIE_MM[1] else f"; {side:g} um are {side / 1000:g} mm"
            raise UsageError(f"{wafer.name}: a die of {side:g} mm cannot be (legal: {DIE_MM[0]:g} to {DIE_MM[1]:g})"
                             + other)
    if across is not None and not WAFER_MM[0] <= across <= WAFER_MM[1]:
        other = "" if not WAFER_MM[0] <= across / 1000 <= WAFER_MM[1] else f"; {across:g} um are {across / 1000:g} mm"
        raise UsageError(f"{wafer.name}: a wafer {across:g} mm across cannot be (legal: {WAFER_MM[0]:g} to "
                         f"{WAFER_MM[1]:g}){other}")
    wafer = replace(wafer, die_mm=size, wafer_mm=across)
    if size is None or across is None:
        return wafer
    if (far := float(wafer.far_mm(-1.0)[wafer.dies].max())) > across / 2:
        raise UsageError(f"{wafer.name}: dies of {size[0]:g} x {size[1]:g} mm would lie {far:.3g} mm and more from the "
                         f"centre of a wafer {across:g} mm across; the size of the die or of the wafer is wrong")
    return wafer


def die_area_cm2(wafers: Iterable[WaferMap]) -> float | None:
    """The area from die to die, or None if not known of all; wafers of different dies are refused."""
    sizes = {wafer.die_mm for wafer in wafers}
    if len(sizes) > 1:
        told = " and ".join("unknown" if size is None else f"{size[0]:g} x {size[1]:g} mm"
                            for size in sorted(sizes, key=str))
        raise UsageError(f"the wafers have dies of different sizes ({told}); fit them apart, or say --die-mm WxH")
    size = sizes.pop()
    return None if size is None else size[0] * size[1] / 100


def rings(dies: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    """How far each die is from the edge: 0 for dies with no die on some side, 1 for the ring inside, up to `most`;
    -1 where there is no die."""
    left, found = dies.copy(), np.where(dies, most, OFF).astype(np.int64)
    for ring in range(most):
        padded = np.pad(left, 1)
        inside = left & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        found[left & ~inside] = ring
        left = inside
    return found


def edge(wafer: WaferMap, dies: int = 0, mm: float | None = None) -> NDArray[np.bool_]:
    """The dies at the wafer's edge: the outer rings of dies, or those that reach into the outer `mm` of the wafer.

    :raises UsageError: where the ring is in mm and sizes are not known, or where no die would be left.
    """
    if mm is None:
        found = (rings(wafer.dies, dies) < dies) & wafer.dies
    else:
        if wafer.die_mm is None or wafer.wafer_mm is None:
            raise UsageError(f"{wafer.name}: an edge in mm needs the sizes of die and wafer; add --die-mm WxH "
                             "--wafer-mm D, or count it in rings of dies: --edge 1")
        found = (wafer.far_mm(0.5) > wafer.wafer_mm / 2 - mm) & wafer.dies
    if not (wafer.dies & ~found).any():
        raise UsageError(f"{wafer.name}: no die is left inside an edge of "
                         + (f"{dies} rings" if mm is None else f"{mm:g} mm"))
    return found


def tiles(wafer: WaferMap, rows: int, columns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Dies and failing dies of each of the tiles that a grid of such windows cuts the wafer into, [down, across]."""
    down, across = (math.ceil(size / step) for size, step in zip(wafer.values.shape, (rows, columns), strict=True))
    room = np.full((down * rows, across * columns), OFF, np.int64)
    room[:wafer.values.shape[0], :wafer.values.shape[1]] = wafer.values
    split = room.reshape(down, rows, across, columns)
    return (split != OFF).sum((1, 3)), (split > 0).sum((1, 3))


def window_passes(wafer: WaferMap, rows: int, columns: int) -> tuple[int, int]:
    """How many windows of whole dies there are at all places of the wafer, and how many of them have no failing die."""
    def sums(grid: NDArray[Any]) -> NDArray[np.int64]:
        table = np.pad(grid.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        return (table[rows:, columns:] - table[:-rows, columns:] - table[rows:, :-columns] + table[:-rows, :-columns])
    if wafer.values.shape[0] < rows or wafer.values.shape[1] < columns:
        return 0, 0
    whole = sums(wafer.dies) == rows * columns
    return int(whole.sum()), int((whole & (sums(wafer.failing) == 0)).sum())


def chosen(wafers: Sequence[WaferMap], asked: str | None, label: str | None) -> list[WaferMap]:
    """The wafers that were asked for: by label, then by number (`0:25`, `3`, counted from 0) or by name.

    :raises UsageError: for what there is not.
    """
    left = [wafer for wafer in wafers if label is None or wafer.label == label]
    if not left:
        known = ", ".join(sorted({wafer.label or "(none)" for wafer in wafers}))
        raise UsageError(f"no wafer is labelled '{label}'; labels here: {known}")
    if asked is None:
        return left
    found: list[WaferMap] = []
    for part in asked.split(","):
        first, colon, last = part.partition(":")
        names = [wafer for wafer in left if wafer.name == part]
        if not colon and names:
            found += names
            continue
        try:
            picked = left[int(first or 0):int(last) if last else None] if colon else [left[int(first)]]
        except (ValueError, IndexError):
            picked = []
        if not picked:
            raise UsageError(f"there is no wafer '{part}' among {len(left)}; name one ({left[0].name}), or give "
                             f"numbers from 0 to {len(left) - 1}, such as 0:25")
        found += picked
    return list({id(wafer): wafer for wafer in found}.values())
