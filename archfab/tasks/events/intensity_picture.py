"""A picture of the intensities of all types over one sequence, with its events below."""

from __future__ import annotations

from collections.abc import Sequence as Row
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from archfab.core import Exhibit
from archfab.drawing import INK, OTHER, new_figure, svg
from archfab.tasks.events.batches import padded
from archfab.tasks.events.data import Sequence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 24         # between neighbouring events
SHOWN = 6           # types with a colour of their own
COLOURS = ("#0b6fb8", "#d9822b", "#2a9d5c", "#8e5bb5", "#c2405b", "#7a6a4f")
LONGEST = 60        # events


def exhibit(model: Any, sequence: Sequence, names: Row[str], unit: float) -> Exhibit:
    return Exhibit("intensities.svg", "The intensity of each type over one test sequence, from what came before",
                   svg(draw(*curves(model, sequence, len(names), unit), sequence, names)).encode())


def curves(model: Any, sequence: Sequence, types: int, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """Times [n] and intensities [n, K] in events a unit of the data's time, from each event to the next."""
    data = padded([sequence], types, unit)
    share = torch.linspace(0, 1, POINTS)
    with torch.no_grad():
        found, _ = model(data.types, data.gaps, data.waits[..., None] * share)
    begin = np.concatenate([[sequence.start], sequence.times])
    times = begin[:, None] + data.waits[0].double().numpy()[:, None] * unit * share.numpy()
    return times.ravel(), found[0].double().numpy().reshape(-1, types) / unit


def draw(times: np.ndarray, rates: np.ndarray, sequence: Sequence, names: Row[str]) -> Figure:
    """One line for each of the most frequent types, one for all others together; the first 60 events."""
    figure, (axis,) = new_figure()
    figure.set_size_inches(9.6, 4.6)
    order = np.argsort(-np.bincount(sequence.types, minlength=len(names)), kind="stable")
    shown, rest = order[:SHOWN], order[SHOWN:]
    end = sequence.end if len(sequence) <= LONGEST else float(sequence.times[LONGEST - 1])
    seen = times <= end
    lines = [(names[k], COLOURS[i], rates[:, k], sequence.times[sequence.types == k]) for i, k in enumerate(shown)]
    if len(rest):
        lines.append((f"{len(rest)} other types", OTHER, rates[:, rest].sum(1),
                      sequence.times[np.isin(sequence.types, rest)]))
    top = max(float(rates[seen].max()), 1e-9)
    step = 0.035 * top
    for i, (name, colour, values, came) in enumerate(lines):
        axis.plot(times[seen], values[seen], color=colour, linewidth=1.3, label=name)
        came = came[came <= end]
        axis.plot(came, np.full(len(came), -step * (i + 1)), "|", color=colour, markersize=7)
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.set_ylim(-step * (len(lines) + 1), 1.05 * top)
    axis.set_yticks([tick for tick in axis.get_yticks() if 0 <= tick <= 1.05 * top])
    axis.set_xlabel("time (unit of the data); below the line: events")
    axis.set_ylabel("intensity (events a time unit)")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
