"""How many whole dies a wafer holds: by the usual formula, or counted on the best grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.yields.checks import above_zero, from_zero
from archfab.silicon.yields.grid import best_grid
from archfab.silicon.yields.models import plain

HOW = ("formula", "exact")


def dies_per_wafer(area_mm2: Any = None, diameter_mm: float = 300.0, edge_mm: float = 0.0, scribe_mm: float = 0.0,
                   width_mm: Any = None, height_mm: Any = None, how: str = "formula", lanes: bool = True) -> Any:
    """How many whole dies a wafer holds.

    The formula is pi d^2/4S - pi d/sqrt(2S) (de Vries, IEEE Trans. Semicond. Manuf. 2005, compares it with others),
    with the usable diameter d = diameter - 2 edge, and S the area of a die and of the scribe lane on two of its sides:
    a mean over positions of the grid, not rounded. `exact` counts on the grid that holds most (`best_grid`).

    :param area_mm2: of a square die; or give `width_mm` and `height_mm`. Numbers or arrays.
    :param edge_mm: the ring at the wafer's edge on which no part of a die may lie.
    :param scribe_mm: the width of the lane between two dies.
    :param lanes: of `exact`: whether the half of the lane around a die has to lie on the usable wafer too.
    :returns: a float or an array; 0 where no die fits.
    :raises UsageError: negative or zero sizes, an edge that leaves nothing, both area and sides.
    """
    width, height = sides(area_mm2, width_mm, height_mm)
    diameter, scribe = usable(diameter_mm, edge_mm), float(from_zero("a scribe lane in mm", scribe_mm))
    if how == "formula":
        cell = (width + scribe) * (height + scribe)
        found = np.pi * diameter ** 2 / (4 * cell) - np.pi * diameter / np.sqrt(2 * cell)
        return plain(np.where(np.hypot(width, height) > diameter, 0.0, np.clip(found, 0.0, None)))
    if how == "exact":
        pairs = np.stack(np.broadcast_arrays(width, height), -1)
        counts = [float(best_grid(w, h, diameter_mm, edge_mm, scribe_mm, lanes).dies) for w, h in pairs.reshape(-1, 2)]
        return plain(np.array(counts).reshape(pairs.shape[:-1]))
    raise UsageError(f"no way '{how}' to count dies; legal: {', '.join(HOW)}")


def sides(area_mm2: Any, width_mm: Any, height_mm: Any) -> tuple[np.ndarray, np.ndarray]:
    """Width and height of a die in mm; of a square where only the area is given.

    :raises UsageError: both or neither are given, or they are not above 0.
    """
    if area_mm2 is not None:
        if width_mm is not None and height_mm is not None:
            raise UsageError("give either the area or width and height of a die")
        area = above_zero("an area in mm2", area_mm2)
        if width_mm is None and height_mm is None:
            return np.sqrt(area), np.sqrt(area)
        one = above_zero("a side of a die in mm", height_mm if width_mm is None else width_mm)
        return (one, area / one) if height_mm is None else (area / one, one)
    if width_mm is None or height_mm is None:
        raise UsageError("a die needs an area (--area-mm2), or a width and a height (--width-mm, --height-mm)")
    return above_zero("a width in mm", width_mm), above_zero("a height in mm", height_mm)


def usable(diameter_mm: float, edge_mm: float) -> float:
    """The diameter on which dies may lie, in mm.

    :raises UsageError: nothing is left.
    """
    diameter = float(above_zero("a wafer's diameter in mm", diameter_mm))
    left = diameter - 2 * float(from_zero("an edge exclusion in mm", edge_mm))
    if left <= 0:
        raise UsageError(f"an edge exclusion of {edge_mm:g} mm leaves nothing of a wafer of {diameter:g} mm")
    return left


def doubts(diameter_mm: float) -> list[str]:
    """A diameter that no wafer has."""
    if any(abs(diameter_mm - known) < 1 for known in (25.4, 50.8, 76.2, 100, 125, 150, 200, 300, 450)):
        return []
    inches = {1: 25, 2: 51, 3: 76, 4: 100, 5: 125, 6: 150, 8: 200, 12: 300, 18: 450}
    advice = f"; {diameter_mm:g} inches are {inches[int(diameter_mm)]} mm" if diameter_mm in inches else ""
    return [f"wafers are made in diameters of 100, 125, 150, 200 and 300 mm, not of {diameter_mm:g} mm{advice}"]
