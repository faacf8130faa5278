"""Predicted against measured latencies with their intervals, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archfab.drawing import FOUND, INK, LINE, OTHER, new_figure, png

SHOWN = 100             # networks whose interval is drawn


def left_out_picture(document: Mapping[str, Any], path: Path) -> None:
    """Each measurement against what the others say of it."""
    rows = [{"x": row["measured"], "y": row["predicted"], "low": row["low"], "high": row["high"],
             "odd": row["outlier"], "key": row["key"]} for row in document["checks"]]
    draw(rows, f"{document['device']}: each of {len(rows)} measurements, left out and predicted", path)


def predicted_picture(document: Mapping[str, Any], path: Path) -> None:
    """Predictions against measurements, for the networks that have any."""
    rows = [{"x": row["measured_ms"], "y": row["latency_ms"], "low": row["low_ms"], "high": row["high_ms"],
             "odd": False, "key": ""} for row in document["networks"] if row["measured_ms"] is not None]
    said = f", rank correlation {document['spearman']:.3f}" if "spearman" in document else ""
    draw(rows, f"{document['device']}: {len(rows)} networks{said}", path)


def draw(rows: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    figure, (axis,) = new_figure()
    ends = [value for row in rows for value in (row["x"], row["y"])] or [1.0]
    line = [min(ends) * 0.9, max(ends) * 1.1]
    axis.plot(line, line, color=OTHER, linewidth=1, zorder=1)
    if len(rows) > SHOWN:
        axis.scatter([row["x"] for row in rows], [row["y"] for row in rows], s=3, color=OTHER, label="networks")
    every = rows[::-(-len(rows) // SHOWN)] if rows else rows
    for odd, colour, name in ((False, FOUND, "90 % interval"), (True, LINE, "outlier")):
        some = [row for row in every if row["odd"] == odd]
        if some:
            axis.errorbar([row["x"] for row in some], [row["y"] for row in some],
                          yerr=[[row["y"] - row["low"] for row in some], [row["high"] - row["y"] for row in some]],
                          fmt="o", markersize=4 if len(rows) <= SHOWN else 2, linewidth=1, color=colour, label=name)
    for row in rows if len(rows) <= 20 else ():
        if len(str(row["key"])) <= 12:
            axis.annotate(row["key"], (row["x"], row["y"]), fontsize=7, color=INK, xytext=(4, 3),
                          textcoords="offset points")
    axis.set_xlabel("measured (ms)")
    axis.set_ylabel("predicted (ms)")
    axis.set_title(title, loc="left", fontsize=10, color=INK)
    axis.legend(frameon=False, loc="upper left")
    path.write_bytes(png(figure))
