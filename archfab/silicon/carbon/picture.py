"""Pictures: a product's emissions over its years, and an inventory by scope and by line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archfab.core import UsageError
from archfab.drawing import FOUND, INK, LINE, OTHER, new_figure
from archfab.silicon.carbon.showing import scale_of

if TYPE_CHECKING:
    from archfab.silicon.carbon.inventory import Sums
    from archfab.silicon.carbon.product import Footprint

LINES = 12              # of an inventory that are drawn
USE = ("inferences", "idle")
SCOPES = {"1": INK, "2": LINE, "3": FOUND}


def draw_product(found: Footprint, curve: Mapping[str, Any], title: str) -> Any:
    """What has been emitted by each year, manufacture below use, with the interval of the sum; and the parts as
    bars."""
    figure, (left, right) = new_figure(2)
    size, unit = scale_of(max(curve["high"]))
    years, made, used = curve["years"], curve["embodied"] / size, curve["operational"] / size
    left.fill_between(years, 0, made, color=OTHER, linewidth=0, label="manufacture")
    left.fill_between(years, made, made + used, color=FOUND, alpha=0.75, linewidth=0, label="use")
    left.plot(years, curve["low"] / size, color=INK, linewidth=0.9, linestyle=":")
    left.plot(years, curve["high"] / size, color=INK, linewidth=0.9, linestyle=":", label="95 % of both")
    even = found.break_even_years and found.break_even_years[0]
    if even and even <= years[-1]:
        left.axvline(even, color=LINE, linewidth=1.4)
        left.annotate(f"use overtakes\nmanufacture: {even:.3g} years", (even, left.get_ylim()[1]), (4, -4),
                      textcoords="offset points", va="top", fontsize=8, color=LINE)
    left.set(xlabel="years in use", ylabel=f"emitted so far ({unit} CO2e)", xlim=(0, years[-1]), ylim=(0, None))
    left.set_title(title, loc="left", fontsize=10)
    early = even is not None and even < 0.45 * years[-1]
    left.legend(facecolor="white", edgecolor="none", fontsize=8, loc="lower right" if early else "upper left")
    parts = {name: value / size for name, value in found.parts.items() if value > 0}
    where = range(len(parts))
    right.barh(where, list(parts.values()), color=[FOUND if name in USE else OTHER for name in parts])
    right.set_yticks(where, list(parts))
    right.invert_yaxis()
    whole = sum(parts.values())
    for at, value in enumerate(parts.values()):
        right.annotate(f" {100 * value / whole:.0f} %", (value, at), va="center", fontsize=8, color=INK)
    right.set(xlabel=f"over the whole life ({unit} CO2e)", xlim=(0, 1.15 * max(parts.values())))
    right.grid(axis="y", visible=False)
    return figure


def draw_inventory(by_method: Mapping[str, Sums], title: str) -> Any:
    """The scopes as bars, location- beside market-based, with the interval of each total; and the largest lines.

    :raises UsageError: where there is nothing to draw.
    """
    if not any(sums.whole.value for sums in by_method.values()):
        raise UsageError("there is nothing to draw: scopes 1 to 3 add up to 0")
    figure, (left, right) = new_figure(2)
    size, unit = scale_of(1000 * max(sums.whole.value for sums in by_method.values()))
    draw_scopes(left, by_method, size / 1000)
    left.set(ylabel=f"{unit} CO2e in the year")
    left.set_title(title, loc="left", fontsize=10)
    draw_lines(right, by_method["market"], size / 1000)
    right.set(xlabel=f"{unit} CO2e, the largest lines, market-based")
    return figure


def draw_scopes(left: Any, by_method: Mapping[str, Sums], size: float) -> None:
    scopes = sorted({scope for sums in by_method.values() for scope in sums.scopes if scope != "outside"})
    for at, (_, sums) in enumerate(by_method.items()):
        below = 0.0
        for scope in scopes:
            value = sums.scopes[scope].value / size if scope in sums.scopes else 0.0
            left.bar(at, value, 0.6, below, color=SCOPES[scope], label=f"scope {scope}" if at == 0 else None)
            below += value
        reach = [max(0.0, below - sums.whole.low / size)], [max(0.0, sums.whole.high / size - below)]
        left.errorbar(at, below, reach, color="#000000", linewidth=1, capsize=4)
    left.set_xticks(range(len(by_method)), [f"{name}-based" for name in by_method])
    left.set_xlim(-0.6, len(by_method) - 0.4)
    left.legend(frameon=False, fontsize=8, loc="upper right")
    left.grid(axis="x", visible=False)


def draw_lines(right: Any, sums: Sums, size: float) -> None:
    lines = sorted(((name, each) for name, each in sums.lines.items() if sums.placed[name][0] != "outside"),
                   key=lambda item: -item[1].value)[:LINES]
    values = [each.value / size for _, each in lines]
    right.barh(range(len(lines)), values, xerr=[
        [max(0.0, value - each.low / size) for value, (_, each) in zip(values, lines, strict=True)],
        [max(0.0, each.high / size - value) for value, (_, each) in zip(values, lines, strict=True)]],
        color=[SCOPES[sums.placed[name][0]] for name, _ in lines],
        error_kw={"linewidth": 0.9, "capsize": 2, "ecolor": "#555555"})
    short = [name if len(name) < 34 else name[:32] + "..." for name, _ in lines]
    right.set_yticks(range(len(lines)), short, fontsize=8)
    right.invert_yaxis()
    right.grid(axis="y", visible=False)
