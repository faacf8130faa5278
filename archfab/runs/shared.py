"""What a run's lessons were, and whether scores by shared weights rank networks as training alone does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfab.core import UsageError
from archfab.metrics.ranking import Correlation, correlation

if TYPE_CHECKING:
    from archfab.runs.run import Run

LEAST = 0.4         # Kendall's correlation below which a ranking is said to be untrustworthy
CHANCE = 0.05       # above which as high a one can come of unrelated scores


def lessons(run: Run) -> list[dict[str, Any]]:
    """What each lesson found: its number, losses, and the chances of the options where decisions were learned."""
    return [dict(event.data) for event in run.events if event.kind == "lesson" and not event.note]


def pairs(run: Run) -> list[tuple[str, float, float]]:
    """Of each network that was trained alone: its id, its score by shared weights and its score alone, in the first
    objective that both have."""
    from archfab.runs.run import Member
    scored = {event.trial.number: event for event in run.events if event.kind == "ok" and event.trial}
    found = []
    for event in run.events:
        if event.kind == "checked" and event.trial and not event.note:
            shared = scored[event.trial.number]
            name = next((name for name in run.spec.objectives if name in event.metrics), None)
            if name:
                found.append((Member(run, shared).id, shared.metrics[name], event.metrics[name]))
    return found


def trust(run: Run) -> tuple[Correlation | None, str]:
    """The rank correlation between shared and own weights on the networks that were trained alone, and what it means
    in a sentence; empty where the run has no shared weights."""
    source = run.spec.estimator_options.get("supernet")
    if run.spec.estimator != "supernet":
        return None, ""
    if source and not run.spec.check:
        from archfab.runs.run import Run as Other
        if not (Path(source) / "run.sqlite").is_file():
            return None, f"The shared weights are of {source}, which is gone: whether they rank well is NOT known."
        try:
            found, sentence = trust(Other(source))
        except UsageError as error:
            return None, f"The shared weights are of {source}, whose check can NOT be read: {error}"
        return found, sentence and f"{sentence} (checked by the run {Path(source).name})"
    if not run.spec.check:
        return None, "Whether the shared weights rank networks as training alone does was NOT checked (--check N)."
    known = pairs(run)
    found = correlation([shared for _, shared, _ in known], [alone for _, _, alone in known])
    if found is None:
        return None, f"Too few networks ({len(known)}) were trained alone to say whether the shared weights rank well."
    figures = (f"Kendall {found.kendall:.2f} (95 %: {found.low:.2f} to {found.high:.2f}), Spearman "
               f"{found.spearman:.2f} on {found.number} networks")
    if found.kendall < LEAST:
        return found, (f"Scores by shared weights can NOT be trusted to rank networks as training alone does: {figures}"
                       ". Train the shared weights longer (--lessons), or those networks (--epochs), if their short "
                       "training is what cannot be trusted; or search with --estimator training.")
    if found.chance > CHANCE:
        return found, (f"Scores by shared weights seem to rank networks as training alone does, but too few were "
                       f"trained alone to be sure: {figures}.")
    return found, f"Scores by shared weights rank networks as training alone does: {figures}."
