"""The curves of a comparison as a picture: a panel for each table, a line with its band for each strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archfab.comparison.verdict import ranked
from archfab.runs.picture import INK, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours without yellow: told apart by colour-blind readers; a second round has other dashes
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
COLUMNS = 3
DECADES = 0.9           # a regret that shrinks by more than this is drawn on a logarithmic axis


def comparison_figure(document: Mapping[str, Any]) -> Figure:
    """Mean regret with 95 % bands over evaluations, and over simulated time for tables that have it."""
    from matplotlib.figure import Figure
    panels = [(table, key) for key in ("curve", "curve_over_seconds") for table in document["tables"]
              if any(row[key] for row in table["strategies"])]
    if not panels:
        panels = [(document["tables"][0], "curve")]
    looks = look(document)
    columns = min(COLUMNS, math.ceil(math.sqrt(len(panels))))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(1.2 + 5.2 * columns, 0.9 + 3.9 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, (table, key) in zip(axes, panels, strict=False):
        panel(axis, table, key, looks)
    for axis in axes[len(panels):]:
        axis.set_visible(False)
    lines = {line.get_label(): line for axis in axes for line in axis.get_lines()}
    names = [name for name in looks if name in lines]
    room = int(figure.get_figwidth() / (0.62 + 0.078 * max(map(len, names), default=1)))       # of a name, in inches
    figure.legend([lines[name] for name in names], names, loc="outside lower center", frameon=False, fontsize=9,
                  ncols=max(1, min(len(names), room)), handlelength=2.6)
    return figure


def look(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A colour and a dash for each strategy, the same in every panel."""
    names = [row["strategy"] for row in document["tables"][0]["strategies"]]
    return {name: {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i // len(COLOURS) % len(DASHES)]}
            for i, name in enumerate(names)}


def panel(axis: Any, table: Mapping[str, Any], key: str, looks: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [row for row in reversed(ranked(table)) if row[key]]             # the best on top
    floor, logarithmic = scale([row[key] for row in rows])
    faint = 0.14 if len(rows) <= 6 else 0.07
    for row in rows:
        curve, style = row[key], looks[row["strategy"]]
        x, mean, low, high = (curve[name] for name in ("at", "mean", "low", "high"))
        if logarithmic:
            mean, low, high = ([max(y, floor) for y in column] for column in (mean, low, high))
        axis.fill_between(x, low, high, step="post", color=style["color"], alpha=faint, linewidth=0)
        axis.step(x, mean, where="post", linewidth=1.6, label=row["strategy"], **style)
    if logarithmic:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(plain_number)
        axis.yaxis.set_minor_formatter(sparse_number(axis))
        axis.tick_params(axis="y", which="minor", labelsize=7, labelcolor="#62707d")
    elif rows:
        axis.set_ylim(bottom=0)
    if rows:
        axis.set_xlim(rows[0][key]["at"][0], rows[0][key]["at"][-1])
    axis.set_title(table["label"], fontsize=10.5, color=INK, loc="left")
    axis.set_xlabel("evaluations" if key == "curve" else "simulated seconds of training", fontsize=9)
    axis.set_ylabel(f"mean regret of {label(table['measure'])}", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#e8ecf0", linewidth=0.8)
    axis.set_axisbelow(True)


def scale(curves: Sequence[Mapping[str, Sequence[float]]]) -> tuple[float, bool]:
    """The smallest regret that a logarithmic axis shows, and whether one helps."""
    means = [y for curve in curves for y in curve["mean"] if y > 0]
    if not means:
        return 0.0, False
    floor = max(min(means) / 2, max(means) * 1e-5)
    return floor, max(means) / min(means) > 10 ** DECADES


def plain_number(value: float, _: Any = None) -> str:
    return f"{value:g}"


def sparse_number(axis: Any) -> Any:
    """Labels between the decades, on an axis that spans few of them."""
    def text(value: float, _: Any = None) -> str:
        low, high = axis.get_ylim()
        digit = round(value / 10 ** math.floor(math.log10(value)))
        return f"{value:g}" if high / low < 300 and digit in (2, 5) else ""
    return text
