"""The graph of who excites whom: types on a circle, arrows as wide as the weights."""

from __future__ import annotations

from collections.abc import Sequence as Row
from typing import TYPE_CHECKING, Any

import numpy as np

from archfab.core import Exhibit
from archfab.tasks.events.hawkes.influence import Edge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 60       # arrows; with more, nothing is seen
RADIUS = 0.13   # of a node


def exhibit(edges: Row[Edge], names: Row[str], file: str = "influence.svg") -> Exhibit:
    from archfab.drawing import svg
    about = ("Who excites whom: an arrow for each weight above 0, solid where its 95 % interval excludes zero; what an "
             "event makes likelier, which is no proof of a cause")
    return Exhibit(file, about, svg(draw(edges, names)).encode())


def draw(edges: Row[Edge], names: Row[str]) -> Figure:
    """Arrows from source to target, bent so that both directions are seen; a loop is a type that excites itself."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from archfab.drawing import FOUND, INK, LINE, OTHER
    some = sorted((edge for edge in edges if edge.weight != 0), key=lambda edge: -abs(edge.weight))
    shown = some[:MOST]
    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    axis = figure.subplots()
    axis.set_aspect("equal")
    axis.axis("off")
    angle = np.pi / 2 - 2 * np.pi * np.arange(len(names)) / len(names)
    at = np.column_stack([np.cos(angle), np.sin(angle)]) * (1.0 if len(names) > 1 else 0.0)
    size = min(RADIUS, 2.2 / max(len(names), 1))
    largest = max((abs(edge.weight) for edge in shown), default=1.0)
    for edge in reversed(shown):        # the strongest on top
        colour = (FOUND if edge.weight > 0 else LINE) if edge.solid else OTHER
        arrow(axis, at, edge, size, 0.6 + 4.4 * abs(edge.weight) / largest, colour)
    for place, name in zip(at, names, strict=True):
        axis.add_patch(disc(place, size, INK))
        axis.annotate(short(name), place, color=INK, ha="center", va="center", fontsize=9 if size > 0.1 else 7,
                      zorder=5)
    kinds = [Line2D([], [], color=FOUND, linewidth=2, label="95 % interval above zero"),
             Line2D([], [], color=OTHER, linewidth=2, linestyle="--", label="interval reaches zero")]
    if any(edge.weight < 0 for edge in shown):
        kinds.insert(1, Line2D([], [], color=LINE, linewidth=2, label="inhibits: interval below zero"))
    axis.legend(handles=kinds, loc="lower center", bbox_to_anchor=(0.5, -0.06), ncols=len(kinds), frameon=False)
    axis.set_xlim(-1.5, 1.5)
    axis.set_ylim(-1.45, 1.5)
    left = f", the {MOST} strongest of {len(some)}" if len(some) > MOST else ""
    axis.set_title(f"Who excites whom{left}; the widest arrow: {largest:.2g} events for each event", color=INK,
                   fontsize=11)
    return figure


def disc(place: np.ndarray, size: float, colour: str) -> Any:
    from matplotlib.patches import Circle
    return Circle((float(place[0]), float(place[1])), size, facecolor="white", edgecolor=colour, linewidth=1.2,
                  zorder=4)


def arrow(axis: Any, at: np.ndarray, edge: Edge, size: float, width: float, colour: str) -> None:
    """An arrow from one node's rim to another's, or a loop on the outer side of its node."""
    from matplotlib.patches import FancyArrowPatch
    style, look = f"-|>,head_length={3 + width},head_width={1.5 + 0.6 * width}", "-" if edge.solid else (0, (4, 3))
    begin, end = at[edge.source], at[edge.target]
    if edge.source == edge.target:
        outward = begin / np.linalg.norm(begin) if np.linalg.norm(begin) else np.array([0.0, 1.0])
        across = np.array([-outward[1], outward[0]])
        begin, end = (begin + size * (outward * 0.8 + sign * across * 0.6) for sign in (1, -1))
        bend = "arc3,rad=-1.9"
    else:
        direction = (end - begin) / np.linalg.norm(end - begin)
        begin, end = begin + direction * size, end - direction * (size + 0.02)
        bend = "arc3,rad=0.16"
    axis.add_patch(FancyArrowPatch(tuple(begin), tuple(end), arrowstyle=style, connectionstyle=bend, linewidth=width,
                                   linestyle=look, color=colour, shrinkA=0, shrinkB=0, zorder=3 if edge.solid else 2))


def short(name: str) -> str:
    """A name that fits into a node."""
    return name if len(name) <= 8 else name[:7] + "."
