"""The curves of a comparison as a picture: a panel for each table, a line with its band for each strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from archfab.comparison.verdict import ranked
from archfab.drawing import INK, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours without yellow: told apart by colour-blind readers; a second round has other dashes
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
COLUMNS = 3
KINDS = {"mean": ("mean", "low", "high"), "median": ("median", "q25", "q75")}      # a line, and its band
BREAK = 2.5             # how far below the least regret 0 is drawn on a logarithmic axis, as a factor
DECADES = 0.9           # a regret that shrinks by more than this is drawn on a logarithmic axis


def comparison_figure(document: Mapping[str, Any], kinds: Sequence[str] = ("mean",)) -> Figure:
    """Regret over evaluations, and over simulated time for tables that have it: a block of panels for each kind."""
    from matplotlib.figure import Figure
    panels = [(table, key) for key in ("curve", "curve_over_seconds") for table in document["tables"]
              if any(row[key] for row in table["strategies"])]
    if not panels:
        panels = [(document["tables"][0], "curve")]
    looks = look(document)
    columns = min(COLUMNS, math.ceil(math.sqrt(len(panels))))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(1.2 + 5.2 * columns, 0.9 + 3.9 * rows * len(kinds)), layout="constrained")
    axes = list(figure.subplots(rows * len(kinds), columns, squeeze=False).flat)
    for kind, block in zip(kinds, batches(axes, rows * columns), strict=True):
        for axis, (table, key) in zip(block, panels, strict=False):
            panel(axis, table, key, kind, looks)
        for axis in block[len(panels):]:
            axis.set_visible(False)
    lines = {line.get_label(): line for axis in axes for line in axis.get_lines()}
    names = [name for name in looks if name in lines]
    room = int(figure.get_figwidth() / (0.62 + 0.078 * max(map(len, names), default=1)))       # of a name, in inches
    if names:
        figure.legend([lines[name] for name in names], names, loc="outside lower center", frameon=False, fontsize=9,
                      ncols=max(1, min(len(names), room)), handlelength=2.6)
    return figure


def batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[i:i + size] for i in range(0, len(items), size)]


def look(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A colour and a dash for each strategy, the same in every panel."""
    names = [row["strategy"] for row in document["tables"][0]["strategies"]]
    return {name: {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i // len(COLOURS) % len(DASHES)]}
            for i, name in enumerate(names)}


def panel(axis: Any, table: Mapping[str, Any], key: str, kind: str, looks: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [row for row in reversed(ranked(table)) if row[key]]             # the best on top
    floor, logarithmic = scale([row[key] for row in rows], KINDS[kind])
    faint = 0.14 if len(rows) <= 6 else 0.07
    nil = False
    for row in rows:
        curve, style = row[key], looks[row["strategy"]]
        columns = [curve[name] for name in KINDS[kind]]
        if logarithmic:
            nil = nil or any(y < floor for column in columns for y in column)
            columns = [[y if y >= floor else floor / BREAK for y in column] for column in columns]
        line, low, high = columns
        axis.fill_between(curve["at"], low, high, step="post", color=style["color"], alpha=faint, linewidth=0)
        axis.step(curve["at"], line, where="post", linewidth=1.6, label=row["strategy"], **style)
    if logarithmic:
        log_axis(axis, floor, nil)
    elif rows:
        top = axis.get_ylim()[1]
        axis.set_ylim(-0.02 * top, top)                                     # a line at 0 is seen whole
    if rows:
        axis.set_xlim(rows[0][key]["at"][0], rows[0][key]["at"][-1])
    axis.set_title(title(table), fontsize=10.5, color=INK, loc="left")
    axis.set_xlabel("evaluations" if key == "curve" else "simulated seconds of training", fontsize=9)
    axis.set_ylabel(f"{kind} regret of {label(table['measure'])}", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#e8ecf0", linewidth=0.8)
    axis.set_axisbelow(True)


def title(table: Mapping[str, Any]) -> str:
    """The table, and its goals where there are several."""
    goals = ", ".join(f"{'least' if sense == 'min' else 'most'} {label(name)}"
                      for name, sense in table["goals"].items())
    return table["label"] + ("\n" + fill(goals, 64) if len(table["goals"]) > 1 else "")


def log_axis(axis: Any, floor: float, nil: bool) -> None:
    """A logarithmic axis of regret; where curves reach 0, that is a tick below a break."""
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(plain_number)
    axis.yaxis.set_minor_formatter(sparse_number(axis, floor))
    if nil:
        top = axis.get_ylim()[1]
        axis.set_ylim(floor / BREAK / 1.12, top)
        for minor, zero in ((True, []), (False, [floor / BREAK])):          # no tick between the break and 0
            ticks = [float(tick) for tick in axis.get_yticks(minor=minor) if floor <= tick <= top]
            axis.set_yticks([*zero, *ticks], minor=minor)
        axis.yaxis.set_major_formatter(lambda value, _=None: "0" if value < floor else plain_number(value))
        axis.plot([0], [floor / math.sqrt(BREAK)], marker=[(-1, -0.6), (1, 0.6)], color=INK, markersize=8,
                  linestyle="", clip_on=False, transform=axis.get_yaxis_transform(), zorder=5, label="_break")
    axis.tick_params(axis="y", which="minor", labelsize=7, labelcolor="#62707d")


def scale(curves: Sequence[Mapping[str, Sequence[float]]], names: Sequence[str]) -> tuple[float, bool]:
    """Below which regret a logarithmic axis shows 0, and whether one helps."""
    lines = [y for curve in curves for y in curve[names[0]] if y > 0]
    if not lines:
        return 0.0, False
    least = min(y for curve in curves for name in names for y in curve[name] if y > 0)
    return max(least / 1.25, max(lines) * 1e-5), max(lines) / min(lines) > 10 ** DECADES


def plain_number(value: float, _: Any = None) -> str:
    return f"{value:g}"


def sparse_number(axis: Any, floor: float) -> Any:
    """Labels between the decades, on an axis that spans few of them."""
    def text(value: float, _: Any = None) -> str:
        low, high = axis.get_ylim()
        digit = round(value / 10 ** math.floor(math.log10(value)))
        return f"{value:g}" if high / low < 300 and digit in (2, 5) and value >= floor else ""
    return text
