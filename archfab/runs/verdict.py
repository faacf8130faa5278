"""Plain sentences on a finished search: did it beat the baselines, and a random search of equal budget?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archfab.runs import Run

NOISE = 0.005       # a difference in hypervolume below this share is no difference


def verdict(run: Run) -> list[str]:
    return [sentence for sentence in (against_baselines(run), against_random(run)) if sentence]


def against_baselines(run: Run) -> str:
    scores = {name: value for name, found in run.baseline.items() if (value := run.headline(found)) is not None}
    goal = next((name for name in run.spec.objectives if any(name in found for found in run.baseline.values())), None)
    if not scores or goal is None:
        return ""
    if not run.front:
        return "The search found no network that keeps the limits; the baselines stand."
    low = run.spec.objectives[goal] == "min"
    name = (min if low else max)(scores, key=lambda key: scores[key])
    best = (min if low else max)(member.metrics[goal] for member in run.front)
    if (best < scores[name]) if low else (best > scores[name]):
        return f"The search beat every baseline: {goal} {best:.4g} against {scores[name]:.4g} ({name})."
    return (f"The search did NOT beat the baseline {name}: {goal} {best:.4g} against {scores[name]:.4g}. "
            "Use the baseline, or search longer.")


def against_random(run: Run) -> str:
    if not run.spec.random or not run.count("random", "ok", "failed"):
        return ""
    volumes = run.hypervolumes()
    if not any(volumes.values()):
        return ""
    budget = f"{run.count('random', 'ok', 'failed')} random trials"
    figures = f"hypervolume {volumes['search']:.3f} against {volumes['random']:.3f}"
    if volumes["search"] > volumes["random"] + NOISE:
        return f"The search beat {budget}: {figures}."
    if volumes["search"] >= volumes["random"] - NOISE:
        return f"The search was no better than {budget}: {figures}."
    return (f"The search did NOT beat {budget}: {figures}. Networks of the random search can be delivered too: "
            f"archfab export {run.folder} ID")
