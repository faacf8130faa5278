"""The pathway as wedges, and the marginal abatement cost curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from archfab.core import UsageError
from archfab.drawing import INK, LINE, OTHER, new_figure, png, svg
from archfab.silicon.netzero.curve import Bar, cost_curve
from archfab.silicon.netzero.pathway import Pathway

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEDGES = ("#0b6fb8", "#5aa9dd", "#2a9d8f", "#8cc9a1", "#7b6fb0", "#b7a6d8", "#c9892b", "#e7c27d", "#a05a6c", "#d8a0ae")
REMOVED, REST = "#4f7f52", "#dfe5ea"
MOST = len(WEDGES)


def unit(largest: float) -> tuple[float, str]:
    """What to divide tonnes by for an axis, and its name."""
    for size, name in ((1e6, "Mt"), (1e3, "kt")):
        if largest >= 2 * size:
            return size, name
    return 1.0, "t"


def wedges(pathway: Pathway, account: str, bands: Mapping[str, Any] | None = None, says: str = "") -> Figure:
    """Emissions by year: the do-nothing line with its band, what each measure takes of it, what is left, the
    milestones, and below zero what durable removals take out."""
    plan = pathway.plan
    figure, (axis,) = new_figure()
    figure.set_size_inches(10.4, 5.6)
    years = np.array(plan.years)
    nothing, left = pathway.baseline[account].sum(axis=0), pathway.total(account)
    size, name = unit(float(nothing.max()))
    taken = {each: tonnes / size for each,
             tonnes in pathway.abated[account].items() if tonnes.max() > 1e-6 * nothing.max()}
    order = sorted(taken, key=lambda each: -taken[each].sum())
    shown, rest = order[:MOST if len(order) <= MOST else MOST - 1], order[MOST if len(order) <= MOST else MOST - 1:]
    level = left / size
    axis.fill_between(years, 0, level, color=REST, linewidth=0, label="still emitted")
    for colour, each in zip(WEDGES, reversed([*shown, *(["rest"] if rest else [])]), strict=False):
        more = sum((taken[one] for one in rest), 0.0 * level) if each == "rest" else taken[each]
        text = f"{len(rest)} more measures" if each == "rest" else each
        axis.fill_between(years, level, level + more, color=colour, linewidth=0.6, edgecolor="white", label=text)
        level = level + more
    if bands:
        band = bands[f"do_nothing_{account}"]
        axis.fill_between(years, np.array(band["low"]) / size, np.array(band["high"]) / size, color=INK, alpha=0.13,
                          linewidth=0, label="doing nothing, 95 % interval")
    axis.plot(years, nothing / size, color=INK, linewidth=1.6, linestyle=(0, (5, 2)), label="doing nothing")
    axis.plot(years, left / size, color=INK, linewidth=2.2, label="the pathway")
    removed = sum(pathway.removed.values(), 0.0 * left) / size
    if removed.max() > 0:
        axis.bar(years, -removed, width=0.8, color=REMOVED, label="durable removals")
    milestones(axis, pathway, account, size)
    axis.axhline(0, color=INK, linewidth=0.9)
    axis.set_xlim(years[0] - 0.6, years[-1] + 0.6)
    axis.set_ylabel(f"{name} CO2e per year, scope 2 {account}-based")
    axis.set_title(says or plan.name, loc="left", fontsize=11, color=INK)
    axis.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8.5)
    return figure


def milestones(axis: Any, pathway: Pathway, account: str, size: float) -> None:
    """A mark at each milestone of all scopes in its own year, with what it asks for."""
    plan = pathway.plan
    covering = [each for each in plan.milestones if set(each.scopes) == {1, 2, 3}]
    lines = [each for each in covering if not each.keep]
    if lines:
        axis.plot([each.year for each in lines], [plan.cap_t(each, account) / size for each in lines], color=LINE,
                  linewidth=1.2, marker=".", markersize=4, label="caps by year")
    points = [each for each in covering if each.keep]
    if not points:
        return
    axis.plot([each.year for each in points], [plan.cap_t(each, account) / size for each in points], linestyle="none",
              marker="v", markersize=8, color=LINE, markeredgecolor="white", label="milestones", zorder=5)
    for each in points:
        text = f"-{each.cut:.0%}" if each.cut is not None else f"{plan.cap_t(each, account) / size:,.3g}"
        axis.annotate(text, (each.year, plan.cap_t(each, account) / size), (0, 9), textcoords="offset points",
                      ha="center",
                      fontsize=9, color=INK, fontweight="bold", zorder=6,
                      bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8})


def abatement_curve(pathway: Pathway, account: str, year: int) -> Figure:
    """Bars from the cheapest tonne to the dearest, as wide as the tonnes of a year; what the pathway leaves out is
    pale."""
    plan = pathway.plan
    bars = [bar for bar in cost_curve(pathway, year, account) if np.isfinite(bar.cost_per_t)]
    figure, (axis,) = new_figure()
    figure.set_size_inches(10.4, 5.4)
    size, name = unit(sum(bar.t for bar in bars))
    low, high = limits(bars)
    place = 0.0
    colours = colouring(bars)
    for bar in bars:
        width, height = bar.t / size, float(np.clip(bar.cost_per_t, low, high))
        axis.bar(place, height, width, align="edge", color=colours[bar.name] if bar.used else "#eef1f4",
                 edgecolor="white" if bar.used else OTHER, linewidth=0.8)
        beyond = "" if low <= bar.cost_per_t <= high else f" {bar.cost_per_t:,.0f}"
        tag(axis, bar.name + beyond, place + width / 2, height, bar.used, high - low)
        place += width
    used = sum(bar.t for bar in bars if bar.used) / size
    axis.axhline(0, color=INK, linewidth=0.9)
    if 0 < used < place:
        axis.axvline(used, color=LINE, linewidth=1.4)
        axis.annotate("taken | left out", (used, high + 0.46 * (high - low)), ha="center", fontsize=8.5, color=LINE,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})
    price = sum(cap["marginal_cost_per_t"] for cap in pathway.caps if cap["year"] == year and cap["account"] == account)
    if price > 0:
        axis.axhline(min(price, high), color=LINE, linewidth=1.2, linestyle=(0, (4, 2)))
        axis.annotate(f"one tonne less in {year}: {price:,.0f}", (place, min(price, high)), (-2, 3),
                      textcoords="offset points", ha="right", fontsize=8.5, color=LINE)
    axis.set_xlim(0, place)
    axis.set_ylim(low - 0.06 * (high - low), high + 0.55 * (high - low))
    axis.set_xlabel(f"{name} CO2e abated in {year}, scope 2 {account}-based (pale: full potential alone, not taken)")
    axis.set_ylabel(f"{plan.currency} per tonne")
    axis.set_title(f"{plan.name}: what a tonne costs in {year}", loc="left", fontsize=11, color=INK)
    return figure


def limits(bars: Sequence[Bar]) -> tuple[float, float]:
    """The range of costs that is drawn: one very dear or cheap sliver does not flatten all others."""
    if not bars:
        return -1.0, 1.0
    costs = np.array([bar.cost_per_t for bar in bars])
    middle = np.quantile(np.abs(costs), 0.75)
    bound = max(4 * middle, 1e-9)
    return float(max(min(costs.min(), 0.0), -bound)), float(max(min(costs.max(), bound), 0.1 * bound))


def colouring(bars: Sequence[Bar]) -> dict[str, str]:
    """Savings in green, then blue to orange as tonnes get dearer."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex
    ramp = LinearSegmentedColormap.from_list("cost", ["#7db7de", "#0b6fb8", "#7b6fb0", "#d9822b"])
    costly = [bar for bar in bars if bar.used and bar.cost_per_t >= 0]
    place = {bar.name: i / max(1, len(costly) - 1) for i, bar in enumerate(costly)}
    return {bar.name: to_hex(ramp(place[bar.name])) if bar.name in place else "#4f9d69" for bar in bars}


def tag(axis: Any, text: str, middle: float, height: float, used: bool, span: float) -> None:
    """A bar's name, upright above it."""
    axis.text(middle, max(height, 0.0) + 0.02 * span, text, rotation=90, ha="center", va="bottom", fontsize=8,
              color=INK if used else "#7a8794")


def save(figure: Figure, path: Path) -> None:
    """The figure as PNG or SVG, by the ending of the file."""
    if path.suffix not in (".png", ".svg"):
        raise UsageError(f"a picture ends in .png or .svg, not '{path.suffix or path.name}'")
    if path.suffix == ".svg":
        path.write_text(svg(figure), encoding="utf-8")
    else:
        path.write_bytes(png(figure))
