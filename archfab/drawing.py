"""How every picture is drawn: colours, empty axes, and figures as PNG and SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FOUND, OTHER, LINE = "#1b2a3a", "#0b6fb8", "#b9c4cf", "#d9822b"
UNITS = {"_ms": " (ms)", "_mj": " (mJ)", "_kb": " (kB)", "_mm2": " (mm²)", "_usd": " (USD)", "_g": " (g)"}


def label(name: str) -> str:
    """A name with its unit set off, for an axis."""
    ending = next((ending for ending in UNITS if name.endswith(ending)), "")
    return name.removesuffix(ending).replace("_", " ") + UNITS.get(ending, "")


def new_figure(panels: int = 1) -> tuple[Figure, Sequence[Any]]:
    from matplotlib.figure import Figure
    figure = Figure(figsize=(7.2 * panels, 4.6), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#e8ecf0", linewidth=0.8)
        axis.set_axisbelow(True)
    return figure, axes


def png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130, metadata={"Software": None})
    return stream.getvalue()


def svg(figure: Figure) -> str:
    """The figure as SVG to be put into a page."""
    from matplotlib import rc_context
    stream = io.StringIO()
    with rc_context({"svg.hashsalt": "archfab"}):       # the same figure is the same text
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg"):], flags=re.DOTALL)
