"""Pictures of a run: the front, and the training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archfab.drawing import FOUND, INK, LINE, OTHER, label, new_figure, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from archfab.runs import Member, Run

def front_figure(run: Run) -> Figure:
    """Every network that was scored, the front, random search and the baselines; one panel for each pair of
    objectives that has the first one in it, or the best so far where there is one objective."""
    names = list(run.spec.objectives)
    figure, axes = new_figure(max(1, len(names) - 1))
    if len(names) == 1:
        progress_panel(axes[0], run, names[0])
    for axis, other in zip(axes, names[1:], strict=False):
        front_panel(axis, run, names[0], other)
    where = "" if run.spec.device == "null" else f" on {run.spec.device}"
    figure.suptitle(f"{title(run)}: {run.count('search', 'ok', 'failed')} networks tried{where}", color=INK)
    return figure


def title(run: Run) -> str:
    from pathlib import Path
    return Path(run.spec.task).stem


def front_panel(axis: Any, run: Run, first: str, other: str) -> None:
    for arm, look, words in (("random", {"facecolors": "none", "edgecolors": OTHER}, "random search, as many trials"),
                             ("search", {"color": OTHER}, f"tried by {run.spec.strategy}")):
        events = run.kept(arm)
        if events:
            axis.scatter([e.metrics[other] for e in events], [e.metrics[first] for e in events], s=18, label=words,
                         **look)
    members = sorted(run.front, key=lambda m: m.metrics[other])
    if members:
        x, y = ([m.metrics[name] for m in members] for name in (other, first))
        axis.errorbar(x, y, xerr=spread(members, other), yerr=spread(members, first), fmt="o", color=FOUND,
                      ecolor=FOUND, elinewidth=0.7, alpha=0.9, markersize=6, label="front, with error bars")
        axis.step(x, y, where="post", color=FOUND, linewidth=1)
    delivered = [m for m in members if f"{first}" in m.delivered.get("test", {})]
    if delivered:
        axis.scatter([m.metrics[other] for m in delivered], [m.delivered["test"][first] for m in delivered],
                     marker="*", s=110, color=LINE, zorder=4, label="delivered, on test data")
    baselines(axis, run, first)
    values = [e.metrics[other] for arm in ("search", "random") for e in run.kept(arm)]
    if values and min(values) > 0 and max(values) / min(values) > 30:
        axis.set_xscale("log")
    axis.set_xlabel(label(other))
    axis.set_ylabel(label(first))
    axis.legend(fontsize=8, framealpha=0.85, edgecolor="none")


def compared_figure(runs: Sequence[Run]) -> Figure:
    """The fronts of several runs of one task in one picture."""
    names = list(runs[0].spec.objectives)
    figure, axes = new_figure(max(1, len(names) - 1))
    for axis, other in zip(axes, names[1:] or ["trial"], strict=True):
        for run in runs:
            points = sorted((m.plain()[other], m.metrics[names[0]]) for m in run.front)
            if points:
                axis.step(*zip(*points, strict=True), where="post", marker="o", linewidth=1, label=run.name)
        axis.set_xlabel(label(other))
        axis.set_ylabel(label(names[0]))
        axis.legend(fontsize=8, framealpha=0.85, edgecolor="none")
    return figure


def progress_panel(axis: Any, run: Run, name: str) -> None:
    low = run.spec.objectives[name] == "min"
    for arm, colour in (("random", OTHER), ("search", FOUND)):
        values = [event.metrics[name] for event in run.of(arm, "ok")]
        best = [(min if low else max)(values[:i + 1]) for i in range(len(values))]
        if values:
            axis.plot(range(1, len(best) + 1), best, color=colour, label=run.spec.strategy if arm == "search" else arm)
    baselines(axis, run, name)
    axis.set_xlabel("networks tried")
    axis.set_ylabel(f"best {label(name)} so far")
    axis.legend(fontsize=8, framealpha=0.85, edgecolor="none")


def baselines(axis: Any, run: Run, name: str) -> None:
    for i, (method, scores) in enumerate(run.baseline.items()):
        if name in scores:
            axis.axhline(scores[name], color=LINE, linewidth=0.9, linestyle=("--", ":", "-.")[i % 3],
                         label=f"baseline: {method}")


def spread(members: Sequence[Member], name: str) -> list[list[float]] | None:
    """Error bars of a figure: below and above each value."""
    if not any(name in member.figures for member in members):
        return None
    ranges = [member.figures.get(name, {"value": 0, "low": 0, "high": 0}) for member in members]
    return [[r["value"] - r["low"] for r in ranges], [r["high"] - r["value"] for r in ranges]]


def curves_figure(run: Run) -> Figure | None:
    """Validation and training loss over epochs of the front's members; None where nothing was trained."""
    members = [member for member in run.front if member.curve]
    if not members:
        return None
    figure, axes = new_figure(2)
    for axis, key in zip(axes, ("loss", "validation"), strict=True):
        for member in members[:8]:
            rows: Sequence[Mapping[str, float]] = [row for row in member.curve if key in row]
            axis.plot([row["epoch"] for row in rows], [row[key] for row in rows], marker=".", label=member.id[:6])
        axis.set_xlabel("epoch")
        axis.set_ylabel("training loss" if key == "loss" else "validation: what the training watches")
    axes[1].legend(fontsize=8, framealpha=0.85, edgecolor="none")
    return figure


def front_png(run: Run) -> bytes:
    """The front as a PNG picture."""
    return png(front_figure(run))
