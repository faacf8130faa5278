"""Yield, wafers and costs as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from archfab.drawing import FOUND, INK, LINE, OTHER, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from archfab.silicon.yields.critical_area import Faults, Layer, Sizes
    from archfab.silicon.yields.grid import Grid
    from archfab.silicon.yields.maturity import Maturity

COLOURS = (FOUND, LINE, INK, "#3c9d6b", "#a04fa0", "#c0433e", "#7f8b97", "#56b4d3", "#b8a12c")


def yield_curves(areas: np.ndarray, curves: Mapping[str, np.ndarray], area: float,
                 band: tuple[np.ndarray, np.ndarray] | None, title: str) -> Figure:
    """Yields over the area of a die; the area that was asked for is marked."""
    figure, (axis,) = new_figure()
    if band:
        axis.fill_between(areas, 100 * band[0], 100 * band[1], color=OTHER, alpha=0.5, linewidth=0,
                          label="interval of D0")
    for (name, values), colour in zip(curves.items(), COLOURS * 3, strict=False):
        axis.plot(areas, 100 * values, color=colour, label=name)
        axis.plot([area], [100 * np.interp(area, areas, values)], "o", color=colour, markersize=5)
    axis.axvline(area, color=OTHER, linewidth=1, linestyle="--", zorder=0)
    axis.set_xlim(0, areas[-1])
    axis.set_ylim(0, 101)
    axis.set_xlabel("area of a die (mm²)")
    axis.set_ylabel("good dies (%)")
    axis.set_title(title, color=INK, fontsize=11)
    if len(curves) > 4:
        figure.legend(frameon=False, fontsize=9, loc="outside right upper")
    else:
        axis.legend(frameon=False, fontsize=9)
    return figure


def critical_areas(layers: Sequence[Layer], faults: Sequence[Faults], sizes: Sizes) -> Figure:
    """Left, critical areas and the density of sizes over the size of a defect; right, killing defects by layer."""
    figure, (left, right) = new_figure(2)
    drawn = [layer for layer in layers if layer.lines]
    largest = max([3 * layer.lines.pitch_um + layer.lines.width_um for layer in drawn if layer.lines]
                  or [10 * sizes.x0_um])
    x = np.linspace(0, max(largest, 2 * sizes.x0_um), 400)
    for layer, colour in zip(drawn, COLOURS * 5, strict=False):
        assert layer.lines
        for fault, style in (("short", "-"), ("open", "--")):
            left.plot(x, layer.lines.area_um2(fault, x) / 1e6, style, color=colour, label=f"{layer.name}, {fault}s")
    other = left.twinx()
    other.fill_between(x, sizes.density(x), color=OTHER, alpha=0.4, linewidth=0)
    other.spines[["top"]].set_visible(False)
    other.set_ylabel("density of sizes (per µm), grey")
    other.set_ylim(0)
    left.set_zorder(other.get_zorder() + 1)
    left.patch.set_visible(False)
    left.set_xlim(0, x[-1])
    left.set_ylim(0)
    left.set_xlabel("diameter of a defect (µm)")
    left.set_ylabel("critical area (mm²)")
    if drawn:
        left.legend(frameon=False, fontsize=9)
    place, base = np.arange(len(faults)), np.zeros(len(faults))
    for name, colour in (("short", FOUND), ("open", LINE), ("other", OTHER)):
        heights = np.array([getattr(each, name) for each in faults])
        if heights.any():
            name = f"{name}s" if name != "other" else "by kill ratio"
            right.bar(place, heights, 0.6, bottom=base, color=colour, label=name)
        base = base + heights
    right.set_xticks(place, [each.name for each in faults])
    room = 1.0 if len(faults) < 3 else 0.7
    right.set_xlim(-room, len(faults) - 1 + room)
    right.set_ylim(0, 1.2 * float(base.max()) or 1.0)
    right.set_ylabel("killing defects on a die")
    right.set_title(f"together {base.sum():.4g}", color=INK, fontsize=11)
    if base.any():
        right.legend(frameon=False)
    return figure


def wafer(grid: Grid) -> Figure:
    """A wafer with its whole dies, and in grey those that lie on it only in part."""
    from matplotlib.collections import PatchCollection
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle, Rectangle
    figure = Figure(figsize=(6.4, 6.7), layout="constrained")
    axis = figure.subplots()
    size = np.array([grid.width_mm, grid.height_mm])
    rim = Circle((0, 0), grid.diameter_mm / 2, facecolor="#f4f6f8", edgecolor=INK, linewidth=1.2)
    axis.add_patch(rim)
    for centres, colour in ((grid.centres(partial=True), OTHER), (grid.centres(), FOUND)):
        dies = PatchCollection([Rectangle(tuple(centre - size / 2), *size) for centre in centres], facecolor=colour,
                               edgecolor="white", linewidth=min(0.5, float(size.min()) / 10))
        axis.add_collection(dies)
        if colour is OTHER:
            dies.set_clip_path(rim)
    if grid.edge_mm:
        axis.add_patch(Circle((0, 0), grid.diameter_mm / 2 - grid.edge_mm, fill=False, edgecolor=LINE, linewidth=1,
                              linestyle="--"))
    half = 1.03 * grid.diameter_mm / 2
    axis.set(xlim=(-half, half), ylim=(-half, half), aspect="equal", xlabel="mm", ylabel="mm")
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(f"{grid.dies} whole dies of {grid.width_mm:.4g} mm x {grid.height_mm:.4g} mm", color=INK,
                   fontsize=11)
    return figure


def cost_curve(areas: np.ndarray, parts: Mapping[str, np.ndarray], area: float, title: str) -> Figure:
    """The cost of a good die over its area, by what it is made up of."""
    figure, (axis,) = new_figure()
    shown = {name: values for name, values in parts.items() if np.nanmax(values) > 0}
    axis.stackplot(areas, list(shown.values()), labels=list(shown), colors=COLOURS, alpha=0.85)
    axis.axvline(area, color=INK, linewidth=1, linestyle="--")
    axis.set_xlim(areas[0], areas[-1])
    axis.set_ylim(0)
    axis.set_xlabel("area of a die (mm²)")
    axis.set_ylabel("cost of a good die (USD)")
    axis.set_title(title, color=INK, fontsize=11)
    axis.legend(frameon=False, loc="upper left")
    return figure


def system_curves(areas: np.ndarray, whole: np.ndarray, curves: Mapping[tuple[int, str], np.ndarray], area: float,
                  whole_name: str) -> Figure:
    """Left, what a system costs over the area of all its logic, whole or cut; right, cut against whole: cutting pays
    below 1. A colour for each package, a dash for each number of dies."""
    figure, (left, right) = new_figure(2)
    kinds, numbers = ([*dict.fromkeys(key[i] for key in curves)] for i in (1, 0))
    left.plot(areas, whole, color=INK, linewidth=2.2, label=f"one die, {whole_name}")
    right.axhline(1, color=INK, linewidth=2.2)
    for (number, kind), values in curves.items():
        colour = (FOUND, LINE, "#3c9d6b", "#a04fa0")[kinds.index(kind) % 4]
        style = ("-", "--", ":", "-.")[numbers.index(number) % 4]
        left.plot(areas, values, style, color=colour, linewidth=1.5, label=f"{number} dies, {kind}")
        right.plot(areas, values / whole, style, color=colour, linewidth=1.5)
    for axis in (left, right):
        axis.axvline(area, color=OTHER, linewidth=1, linestyle="--", zorder=0)
        axis.set_xlim(0, areas[-1])
        axis.set_xlabel("area of the whole on one die (mm²)")
    top = [float(np.nanmax(values)) for values in (whole, *curves.values()) if not np.isnan(values).all()]
    left.set_ylim(0, 1.05 * max(top))
    right.set_ylim(0, 2)
    left.set_ylabel("cost of a working system (USD)")
    right.set_ylabel("against one die")
    left.legend(frameon=False, fontsize=9)
    return figure


def starts_chart(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Wafers to start in each period, and what is asked for."""
    figure, (axis,) = new_figure()
    place = [row["period"] for row in rows]
    axis.bar(place, [row["wafers"] for row in rows], color=FOUND, label="wafers to start")
    axis.set_xlabel("period (0: the first demand)")
    axis.set_ylabel("wafers to start")
    asked = axis.twinx()
    asked.step([i for i, _ in enumerate(rows)], [row["units"] for row in rows], where="mid", color=LINE,
               label="units asked for")
    asked.set_ylim(0)
    asked.set_ylabel("units asked for")
    asked.spines[["top"]].set_visible(False)
    figure.legend(frameon=False, loc="outside upper center", ncols=2)
    return figure


def maturity(found: Maturity, target: float | None) -> Figure:
    """Left, D0 of each lot with its interval, and the learning curve with its 95 % band; right, alpha of each lot."""
    panels = 2 if any(each.alpha is not None for each in found.densities) else 1
    figure, axes = new_figure(panels)
    when, dated = found.curve.points.when, found.lots.dated
    ends = (when[0], when[-1] + 0.35 * found.curve.points.span)
    x = np.linspace(*ends, 200)
    low, high = found.band(x)
    left = axes[0]
    left.fill_between(_axis(x, dated), low, high, color=OTHER, alpha=0.5, linewidth=0, label="95 % of the curve")
    left.plot(_axis(x, dated), found.curve.at(x), color=INK, label=found.curve.name)
    d0 = np.array([each.d0_per_cm2 for each in found.densities])
    errors = np.array([[each.d0_per_cm2 - each.low for each in found.densities],
                       [each.high - each.d0_per_cm2 for each in found.densities]])
    left.errorbar(_axis(when, dated), d0, np.clip(errors, 0, None), fmt="o", color=FOUND, markersize=4, linewidth=1,
                  label="lots, 95 %")
    if target is not None:
        left.axhline(target, color=LINE, linewidth=1.2, linestyle="--", label="target")
    left.set_ylim(0)
    left.set_ylabel("D0 (per cm²)")
    left.legend(frameon=False)
    if panels == 2:
        _alphas(axes[1], found)
    for axis in axes:
        axis.set_xlabel("" if dated else "order")
        if dated:
            axis.tick_params(axis="x", rotation=30)
    return figure


def _alphas(axis: Any, found: Maturity) -> None:
    when, dated = found.curve.points.when, found.lots.dated
    top = 1.0
    for at, each in zip(_axis(when, dated), found.densities, strict=True):
        if each.alpha is None or each.alpha_low is None:
            continue
        most = each.alpha_high if each.alpha_high is not None and np.isfinite(each.alpha_high) else 1e3
        axis.plot([at, at], [max(each.alpha_low, 1e-2), most], color=FOUND, linewidth=1)
        axis.plot([at], [min(each.alpha, 1e3)], "o" if np.isfinite(each.alpha) else "^", color=FOUND, markersize=4)
        top = max(top, most)
    axis.set_yscale("log")
    axis.set_ylim(None, 1.5 * top)
    axis.set_ylabel("alpha of each lot, 95 % (at 1000: no clustering)")


def _axis(when: np.ndarray, dated: bool) -> Any:
    return np.asarray(when * 86400, dtype="datetime64[s]") if dated else when
