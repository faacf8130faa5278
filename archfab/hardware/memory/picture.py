"""A plan as a picture: buffers as rectangles over the steps and the places in the arena."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archfab.drawing import FOUND, INK, LINE, OTHER, new_figure, png
from archfab.hardware.memory.graph import Graph
from archfab.hardware.memory.planning import Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def drawn(plan: Plan, graph: Graph, limit: int | None = None) -> Figure:
    """Buffers as rectangles: steps to the right, places in the arena upwards; those at the peak in colour.

    :param limit: the bytes that there are, as a line.
    """
    figure, (axis,) = new_figure()
    for name, (first, last) in plan.lives.items():
        if name in graph.views:
            continue
        colour = FOUND if first <= plan.fullest <= last else OTHER
        axis.add_patch(rectangle(first, plan.offsets[name] / 1024, last - first + 1, graph.size(name) / 1024, colour))
    for at, k in enumerate(plan.order):
        if k in plan.scratch:
            axis.add_patch(rectangle(at, plan.scratch[k] / 1024, 1, graph.steps[k].scratch / 1024, LINE))
    axis.axhline(plan.arena / 1024, color=INK, linewidth=1)
    axis.annotate(f"{plan.arena / 1024:.4g} KiB", (0, plan.arena / 1024), xytext=(2, 3), textcoords="offset points",
                  color=INK, fontsize=9)
    if limit is not None:
        axis.axhline(limit / 1024, color=LINE, linewidth=1.2, linestyle="--")
        axis.annotate(f"room: {limit / 1024:.4g} KiB", (1, limit / 1024), xycoords=axis.get_yaxis_transform(),
                      xytext=(-2, 3), textcoords="offset points", color=INK, fontsize=9, ha="right")
    axis.set_xlim(0, max(1, len(plan.order)))
    axis.set_ylim(0, 1.08 * max(plan.arena, limit or 0, 1) / 1024)
    axis.set_xlabel("kernel, as they run")
    axis.set_ylabel("place in memory (KiB)")
    if plan.order:
        name = graph.steps[plan.order[plan.fullest]].name
        axis.set_title(f"the peak: {name if len(name) < 70 else name[:67] + '...'}", fontsize=9, color=INK)
    return figure


def rectangle(x: float, y: float, width: float, height: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle
    return Rectangle((x, y), width, height, facecolor=colour, edgecolor="white", linewidth=0.6)


def picture(plan: Plan, graph: Graph, limit: int | None = None) -> bytes:
    """The same as a PNG file."""
    return png(drawn(plan, graph, limit))
