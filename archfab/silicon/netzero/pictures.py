"""The pathway as wedges, and the marginal abatement cost curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from archfab.drawing import INK, LINE, OTHER, new_figure
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
    listed = [*(["rest"] if rest else []), *reversed(shown)]
    for colour, each in zip(([OTHER] if rest else []) + list(WEDGES), listed, strict=False):
        more = sum((taken[one] for one in rest), 0.0 * level) if each == "rest" else taken[each]
        text = f"{len(rest)} more measures" if each == "rest" else each
        axis.fill_between(years, level, level + more, color=colour, linewidth=0.6, edgecolor="white", label=text)
        level = level + more
    if bands:
        band = [np.array(bands[f"do_nothing_{account}"][end]) / size for end in ("low", "high")]
        axis.fill_between(years, *band, color="#e9e4da", linewidth=0, zorder=0.6, label="doing nothing, 95 % interval")
        for edge in band:
            axis.plot(years, edge, color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
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
    figure.set_size_inches(10.4, 6.2)
    size, name = unit(sum(bar.t for bar in bars))
    low, high = limits(bars)
    place, colours, middles = 0.0, colouring(bars), []
    for bar in bars:
        width, height = bar.t / size, float(np.clip(bar.cost_per_t, low, high))
        axis.bar(place, height, width, align="edge", color=colours[bar.name] if bar.used else "#eef1f4",
                 edgecolor="white" if bar.used else OTHER, linewidth=0.6)
        middles.append(place + width / 2)
        place += width
    span = high - low
    for bar, middle, x in zip(bars, middles, spread(middles, 0.0245 * place, place), strict=True):
        beyond = "" if low <= bar.cost_per_t <= high else f" ({bar.cost_per_t:,.0f})"
        top = max(0.0, float(np.clip(bar.cost_per_t, low, high)))
        axis.plot([middle, x, x], [top, high + 0.05 * span, high + 0.07 * span], color="#9aa7b3", linewidth=0.5)
        axis.text(x, high + 0.08 * span, bar.name + beyond, rotation=90, ha="center", va="bottom", fontsize=7.5,
                  color=INK if bar.used else "#7a8794")
    used = sum(bar.t for bar in bars if bar.used) / size
    axis.axhline(0, color=INK, linewidth=0.9)
    if 0 < used < 0.999 * place:
        axis.axvline(used, color=LINE, linewidth=1.3, ymax=0.49)
        axis.annotate("left out", (used, low), (3, 2), textcoords="offset points", fontsize=8.5, color=LINE)
    price = sum(cap["marginal_cost_per_t"] or 0.0
                for cap in pathway.caps if cap["year"] == year and cap["account"] == account)
    if price > 0:
        axis.axhline(min(price, high), color=LINE, linewidth=1.2, linestyle=(0, (4, 2)))
        axis.annotate(f"one tonne less in {year} would cost {price:,.0f}", (0, min(price, high)), (4, 3),
                      textcoords="offset points", fontsize=8.5, color=LINE)
    axis.set_xlim(0, place)
    axis.set_ylim(low - 0.06 * span, high + 1.1 * span)
    axis.set_yticks([tick for tick in axis.get_yticks() if low - 0.06 * span <= tick <= high + 0.03 * span])
    axis.set_xlabel(f"{name} CO2e abated in {year}, scope 2 {account}-based (pale: full potential alone, not taken)")
    axis.set_ylabel(f"{plan.currency} per tonne")
    axis.set_title(f"{plan.name}: what a tonne costs in {year}", loc="left", fontsize=11, color=INK)
    return figure


def limits(bars: Sequence[Bar]) -> tuple[float, float]:
    """The range of costs that is drawn: where all but 4 % of the tonnes lie, so that no sliver flattens the rest. What
    goes beyond is cut off there and says its cost."""
    if not bars:
        return -1.0, 1.0
    ordered = sorted(bars, key=lambda bar: bar.cost_per_t)
    tonnes = np.cumsum([bar.t for bar in ordered]) / sum(bar.t for bar in ordered)
    costs = np.array([bar.cost_per_t for bar in ordered])
    places = np.minimum(np.searchsorted(tonnes, [0.02, 0.98 - 1e-9]), len(costs) - 1)
    low, high = costs[places]
    reach = 1.15 * max(abs(low), abs(high), 1e-9)
    return max(min(0.0, float(costs.min())), -reach), min(max(0.05 * reach, float(costs.max())), reach)


def spread(places: Sequence[float], gap: float, most: float) -> list[float]:
    """Places for labels as near to where they belong as can be, no two closer than a gap (or what room there is)."""
    gap = min(gap, most / max(1, len(places)))
    found: list[list[float]] = []       # groups: sum of wished first places, size
    for i, place in enumerate(places):
        found.append([place - i * gap, 1])
        while len(found) > 1 and found[-2][0] / found[-2][1] > found[-1][0] / found[-1][1]:
            total, size = found.pop()
            found[-1] = [found[-1][0] + total, found[-1][1] + size]
    first = [total / size for total, size in found for _ in range(int(size))]
    last = most - gap / 2 - (len(places) - 1) * gap
    return [min(max(each, gap / 2), last) + i * gap for i, each in enumerate(first)]


def colouring(bars: Sequence[Bar]) -> dict[str, str]:
    """Savings in green, then blue to orange as tonnes get dearer."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex
    ramp = LinearSegmentedColormap.from_list("cost", ["#7db7de", "#0b6fb8", "#7b6fb0", "#d9822b"])
    costly = [bar for bar in bars if bar.used and bar.cost_per_t >= 0]
    place = {bar.name: i / max(1, len(costly) - 1) for i, bar in enumerate(costly)}
    return {bar.name: to_hex(ramp(place[bar.name])) if bar.name in place else "#4f9d69" for bar in bars}
