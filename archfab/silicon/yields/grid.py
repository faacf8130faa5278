"""The grid of dies that fits most on a wafer: found by bounds over all positions of the grid, not by trying some.

With the centre of a die at (x, y) from the wafer's centre, a row of dies at the height v = y + j py holds
floor((a - x)/px) + floor((a + x)/px) + 1 of them, where a = sqrt(R^2 - (|v| + h/2)^2) - w/2 is how far a die's centre
may lie from the middle; w and h are a die's, with half a scribe lane on each side unless lanes may lie beyond the
edge. Over a rectangle of positions, the largest a and the ends of x bound each row from above, and so the sum.
Rectangles that cannot beat the best count known are dropped, the others split, until none is left. By reflection a
quarter of the positions suffices. Sizes closer than a picometre count as equal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from archfab.core import UsageError
from archfab.silicon.yields.checks import above_zero, from_zero

PICOMETRE = 1e-9        # in mm
MOST_ROWS = 4000        # of half a wafer
CHUNK = 4_000_000       # rows of all rectangles that are looked at together


@dataclass(frozen=True)
class Grid:
    """Dies on a wafer: how many lie whole on its usable part, and where the grid lies: the centre of one die from the
    wafer's centre, in mm."""

    dies: int
    x_mm: float
    y_mm: float
    width_mm: float
    height_mm: float
    scribe_mm: float
    diameter_mm: float
    edge_mm: float
    lanes: bool = True          # the half of the scribe lane around a die has to lie on the usable part too

    @property
    def margin_mm(self) -> float:
        return self.scribe_mm / 2 if self.lanes else 0.0

    def centres(self, partial: bool = False) -> np.ndarray:
        """The centres of the whole dies in mm, row by row; or of those that lie only in part on the usable wafer."""
        radius = self.diameter_mm / 2 - self.edge_mm
        pitch = np.array([self.width_mm, self.height_mm]) + self.scribe_mm
        half = np.array([self.width_mm, self.height_mm]) / 2 + self.margin_mm
        reach = np.ceil(radius / pitch).astype(int) + 1
        x = self.x_mm + np.arange(-reach[0], reach[0] + 1) * pitch[0]
        y = self.y_mm + np.arange(-reach[1], reach[1] + 1) * pitch[1]
        across, up = (part.ravel() for part in np.meshgrid(x, y))
        far = np.hypot(np.abs(across) + half[0], np.abs(up) + half[1])
        whole = far <= radius + PICOMETRE
        if partial:
            near = np.hypot(np.clip(np.abs(across) - half[0], 0, None), np.clip(np.abs(up) - half[1], 0, None))
            whole = ~whole & (near < radius - PICOMETRE)
        return np.column_stack([across[whole], up[whole]])


def best_grid(width_mm: float, height_mm: float, diameter_mm: float = 300.0, edge_mm: float = 0.0,
              scribe_mm: float = 0.0, lanes: bool = True) -> Grid:
    """The position of the grid at which most whole dies lie on the usable wafer; a notch or flat is not counted.

    :param lanes: whether the half of the scribe lane around each die has to lie on the usable wafer too.
    :raises UsageError: negative or zero sizes, an edge that leaves nothing.
    """
    width, height, scribe = _sizes(width_mm, height_mm, scribe_mm)
    radius = _radius(diameter_mm, edge_mm)
    pitch = np.array([width + scribe, height + scribe])
    _countable(pitch, radius)
    reach = pitch / 2 if lanes else np.array([width, height]) / 2
    if np.hypot(*reach) > radius + PICOMETRE:
        return Grid(0, 0.0, 0.0, width, height, scribe, diameter_mm, edge_mm, lanes)
    half = pitch / 2
    wafer = _Wafer(radius, reach, pitch)
    corners = np.array([[0, 0], [half[0], 0], [0, half[1]], half])         # where both halves are alike
    counts = wafer.most(corners, corners)
    best, place = int(counts.max()), corners[counts.argmax()]
    side = max(1, min(64, round(float(np.sqrt(radius / half.min())))))
    low, size = _split(np.zeros((1, 2)), half, side)
    while len(low):
        kept = []
        for part in np.array_split(low, max(1, len(low) * wafer.rows // CHUNK)):
            counts = wafer.most(part + size / 2, part + size / 2)
            if counts.max() > best:
                best, place = int(counts.max()), (part + size / 2)[counts.argmax()]
            kept.append(part[wafer.most(part, part + size) > best])
        low = np.concatenate(kept)
        if size.max() < PICOMETRE / 8:      # a place that holds more would hold it for a picometre around
            break
        low, size = _split(low, size, 2)
    return Grid(best, float(place[0]), float(place[1]), width, height, scribe, diameter_mm, edge_mm, lanes)


def grid_at(x_mm: float, y_mm: float, width_mm: float, height_mm: float, diameter_mm: float = 300.0,
            edge_mm: float = 0.0, scribe_mm: float = 0.0, lanes: bool = True) -> Grid:
    """The grid with the centre of a die at a given place: what a stepping plan holds."""
    width, height, scribe = _sizes(width_mm, height_mm, scribe_mm)
    radius = _radius(diameter_mm, edge_mm)
    if not (abs(x_mm) <= 1e6 and abs(y_mm) <= 1e6):
        raise UsageError(f"a grid at ({x_mm:g}, {y_mm:g}) mm is on no wafer; give the centre of one die in mm")
    _countable(np.array([width + scribe, height + scribe]), radius)
    grid = Grid(0, x_mm % (width + scribe), y_mm % (height + scribe), width, height, scribe, diameter_mm, edge_mm,
                lanes)
    return replace(grid, dies=len(grid.centres()))


class _Wafer:
    """Counts dies by rows, for many rectangles of positions at once."""

    def __init__(self, radius: float, half: np.ndarray, pitch: np.ndarray) -> None:
        self.radius, self.half, self.pitch = radius + PICOMETRE, half, pitch
        reach = int(radius / pitch[1]) + 1
        self.shifts = np.arange(-reach, reach + 1) * pitch[1]
        self.rows = len(self.shifts)

    def most(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """An upper bound of the dies for the positions from low to high; where both are equal, their number."""
        below, above = low[:, 1:] + self.shifts, high[:, 1:] + self.shifts
        nearest = np.maximum(np.maximum(below, -above), 0.0) + self.half[1]
        reach = np.sqrt(np.clip(self.radius ** 2 - nearest ** 2, 0.0, None)) - self.half[0]
        counts = (np.floor((reach - low[:, :1]) / self.pitch[0]) + np.floor((reach + high[:, :1]) / self.pitch[0]) + 1)
        return np.where((reach >= 0) & (nearest <= self.radius), np.clip(counts, 0.0, None), 0.0).sum(1)


def _countable(pitch: np.ndarray, radius: float) -> None:
    if pitch.min() < radius / MOST_ROWS:
        cell = float(pitch.prod())
        formula = np.pi * radius ** 2 / cell - np.pi * 2 * radius / np.sqrt(2 * cell)
        raise UsageError(f"dies {pitch[0]:g} mm and {pitch[1]:g} mm apart are too many to be counted one by one; are "
                         f"they in mm? The formula, good to 0.1 % for dies that small, says {formula:.6g}")


def _split(low: np.ndarray, size: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    step = size / parts
    shifts = np.stack(np.meshgrid(np.arange(parts), np.arange(parts)), -1).reshape(-1, 2) * step
    return (low[:, None] + shifts).reshape(-1, 2), step


def _sizes(width_mm: float, height_mm: float, scribe_mm: float) -> tuple[float, float, float]:
    return (float(above_zero("a width in mm", width_mm)), float(above_zero("a height in mm", height_mm)),
            float(from_zero("a scribe lane in mm", scribe_mm)))


def _radius(diameter_mm: float, edge_mm: float) -> float:
    radius = float(above_zero("a wafer's diameter in mm", diameter_mm)) / 2 - float(
        from_zero("an edge exclusion in mm", edge_mm))
    if radius <= 0:
        raise UsageError(f"an edge exclusion of {edge_mm:g} mm leaves nothing of a wafer of {diameter_mm:g} mm")
    return radius
