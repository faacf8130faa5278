"""A picture of a run's lessons: the losses, what the decisions lean to, and shared against own weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archfab.drawing import FOUND, INK, LINE, OTHER, label, new_figure
from archfab.runs.shared import lessons, pairs, trust

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from archfab.runs import Run

MOST = 8        # options whose share is drawn


def lessons_figure(run: Run) -> Figure | None:
    """One panel for what there is of each: losses by lesson, shares of options by lesson, scores by both weights."""
    taught, both = lessons(run), pairs(run)
    leaning = shares(taught)
    panels = [lambda axis: losses_panel(axis, taught)] if taught else []
    panels += [lambda axis: shares_panel(axis, leaning)] if leaning else []
    panels += [lambda axis: pairs_panel(axis, run, both)] if len(both) > 1 else []
    if not panels:
        return None
    figure, axes = new_figure(len(panels))
    for axis, draw in zip(axes, panels, strict=True):
        draw(axis)
    return figure


def losses_panel(axis: Any, taught: Sequence[Mapping[str, Any]]) -> None:
    for key, words, colour in (("loss", "weights", FOUND), ("held", "decisions, on data held out", LINE)):
        rows = [row for row in taught if key in row]
        if rows:
            axis.plot([row["number"] for row in rows], [row[key] for row in rows], color=colour, label=words)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(title="loss of the shared weights", xlabel="lesson", ylabel="loss")
    axis.legend(frameon=False)


def shares(taught: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """For each option that several decisions have, by lesson: the share of these decisions in which it is the most
    probable. This is where a collapse to skip connections shows."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in taught:
        wins: dict[str, list[bool]] = {}
        for name, chances in row.get("chances", {}).items():
            top = max(chances)
            for option, chance in zip(row["labels"][name], chances, strict=True):
                wins.setdefault(str(option), []).append(chance == top)
        for option, won in wins.items():
            if len(won) > 1:
                found.setdefault(option, []).append((row["number"], sum(won) / len(won)))
    return found


def shares_panel(axis: Any, leaning: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    ranked = sorted(leaning, key=lambda option: -max(share for _, share in leaning[option]))[:MOST]
    for option in ranked:
        numbers, values = zip(*leaning[option], strict=True)
        heavy = {"color": INK, "linewidth": 2.2} if option == "skip" else {"linewidth": 1.2}
        axis.plot(numbers, values, label=option, **heavy)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(title="share of decisions that lean to each option", xlabel="lesson", ylim=(-0.02, 1.02))
    axis.legend(frameon=False, fontsize=8)


def pairs_panel(axis: Any, run: Run, both: Sequence[tuple[str, float, float]]) -> None:
    name = label(next(iter(run.spec.objectives)))
    axis.scatter([shared for _, shared, _ in both], [alone for *_, alone in both], color=FOUND, s=26)
    for ident, shared, alone in both:
        axis.annotate(ident[:6], (shared, alone), fontsize=7, color=OTHER, xytext=(3, 3), textcoords="offset points")
    found = trust(run)[0]
    words = f"Kendall {found.kendall:.2f}" if found else "too few to rank"
    axis.set(title=f"networks trained alone ({words})", xlabel=f"{name} by shared weights", ylabel=f"{name} alone")
    axis.title.set_color(INK)
