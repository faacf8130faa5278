"""Wafer maps as a picture: passing, failing, left out at the edge; several wafers, and all of them stacked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Ellipse, Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from archfab.drawing import INK, LINE, OTHER
from archfab.silicon.wafers.maps import WaferMap

MOST = 25                       # wafers that are drawn: a lot
LARGE = 40                      # dies across: below, lines part them
PASSING, FAILING, EDGE, EDGE_FAILING = "#c9dcec", LINE, "#e9ebee", "#c3b3a3"
SHARES = LinearSegmentedColormap.from_list("shares", [PASSING, "#f3d9a8", LINE, "#7a3a0c"])
DEFECTS = LinearSegmentedColormap.from_list("defects", ["#f0b878", LINE, "#7a3a0c"]).with_extremes(under=PASSING)


def drawn(wafers: Sequence[WaferMap], left_out: Sequence[NDArray[np.bool_]], titles: Sequence[str]) -> Figure:
    """The wafers, at most 25; of several wafers of one shape, the share of them on which each die fails
    comes first."""
    shown = list(zip(wafers, left_out, titles, strict=True))[:MOST]
    stacked = len(wafers) > 1 and len({wafer.values.shape for wafer in wafers}) == 1
    panels = len(shown) + stacked
    across = 1 if panels == 1 else min(6, max(2, math.ceil(math.sqrt(panels * 1.5))))
    down = math.ceil(panels / across)
    side = 5.2 if panels == 1 else 3.0 if panels <= 6 else 2.2
    height = side * down + 0.9
    figure = Figure(figsize=(side * across + (0.8 if stacked else 0), height),
                    layout=ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - 0.2 / height)))       # else titles are cut
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    if stacked:
        stack(figure, axes[0], wafers)
    counted = any(wafer.counted for wafer in wafers)
    most = max(2, max(int(wafer.values.max()) for wafer in wafers)) if counted else 1
    image = None
    for axis, (wafer, edge, title) in zip(axes[int(stacked):], shown, strict=False):
        image = one(axis, wafer, edge, title, most if counted else None) or image
    if counted and image is not None:
        figure.colorbar(image, ax=list(axes), shrink=0.6, label="defects in a die", aspect=30, pad=0.01,
                        ticks=MaxNLocator(integer=True))
    keys = [Patch(color=PASSING, label="no defect" if counted else "passing")]
    keys += [] if counted else [Patch(color=FAILING, label="failing")]
    if any(edge.any() for edge in left_out):
        keys += [Patch(color=EDGE, label="left out at the edge"), Patch(color=EDGE_FAILING, label="failing there")]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=9,
                  labelcolor=INK)
    return figure


def one(axis: Any, wafer: WaferMap, edge: NDArray[np.bool_], title: str, most: int | None) -> Any:
    """One wafer; its image where colours count defects."""
    frame(axis, wafer, title)
    look = {"aspect": aspect(wafer), "interpolation": "nearest", "origin": "lower" if wafer.upward else "upper"}
    image = None
    if most is not None:
        image = axis.imshow(np.ma.masked_where(~wafer.dies | edge, wafer.values), cmap=DEFECTS, vmin=1, vmax=most,
                            **look)
    kinds = np.where(wafer.failing, 1, 0) + 2 * edge
    hidden = ~wafer.dies if most is None else ~edge
    axis.imshow(np.ma.masked_where(hidden, kinds), vmin=-0.5, vmax=3.5,
                cmap=ListedColormap([PASSING, FAILING, EDGE, EDGE_FAILING]), **look)
    limits(axis, wafer)
    return image


def stack(figure: Figure, axis: Any, wafers: Sequence[WaferMap]) -> None:
    """The share of wafers on which each die fails."""
    dies = np.sum([wafer.dies for wafer in wafers], axis=0)
    share = np.sum([wafer.failing for wafer in wafers], axis=0) / np.maximum(1, dies)
    frame(axis, wafers[0], f"share of {len(wafers)} wafers that fail")
    image = axis.imshow(np.ma.masked_where(dies == 0, share), cmap=SHARES, vmin=0, vmax=max(float(share.max()), 1e-9),
                        aspect=aspect(wafers[0]), interpolation="nearest",
                        origin="lower" if wafers[0].upward else "upper")
    limits(axis, wafers[0])
    figure.colorbar(image, ax=axis, location="bottom", fraction=0.05, pad=0.02, format=lambda value, _: f"{value:.0%}")


def aspect(wafer: WaferMap) -> float:
    """Height of a die over its width; where it is not known, so that the dies fill a circle."""
    if wafer.die_mm is not None:
        return wafer.die_mm[1] / wafer.die_mm[0]
    rows, columns = np.nonzero(wafer.dies)
    tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    return float(wide / tall) if 0.25 < wide / tall < 4 else 1.0


def frame(axis: Any, wafer: WaferMap, title: str) -> None:
    """Title, and the wafer's outline where its diameter is known."""
    axis.set_title(title, fontsize=9, color=INK)
    if wafer.wafer_mm is not None and wafer.die_mm is not None:
        column, row = wafer.middle
        wide, tall = wafer.wafer_mm / wafer.die_mm[0], wafer.wafer_mm / wafer.die_mm[1]
        axis.add_patch(Ellipse((column, row), wide, tall, fill=False, edgecolor=OTHER, linewidth=1, clip_on=False,
                               zorder=3))


def limits(axis: Any, wafer: WaferMap) -> None:
    """Room for the dies and for the outline; lines between dies that are large enough."""
    rows, columns = wafer.values.shape
    if max(rows, columns) < LARGE:
        for lines, count in ((axis.axvline, columns), (axis.axhline, rows)):
            for place in range(1, count):
                lines(place - 0.5, color="white", linewidth=0.4)
    if wafer.wafer_mm is not None and wafer.die_mm is not None:
        for place, size, low, high, put in (
                (wafer.middle[0], wafer.wafer_mm / wafer.die_mm[0], *axis.get_xlim(), axis.set_xlim),
                (wafer.middle[1], wafer.wafer_mm / wafer.die_mm[1], *axis.get_ylim(), axis.set_ylim)):
            first, last = min(low, high, place - size / 2), max(low, high, place + size / 2)
            put((first, last) if low < high else (last, first))
