"""Plain sentences on a finished search: did it beat the baselines, and a random search beside it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archfab.runs.shared import trust

if TYPE_CHECKING:
    from archfab.runs import Member, Run

NOISE = 0.005       # a difference in hypervolume below this share is no difference


def verdict(run: Run) -> list[str]:
    """What a reader should know first; a sentence with NOT in it is bad news."""
    return [sentence for sentence in (undelivered(run), trust(run)[1], against_baselines(run), against_random(run))
            if sentence]


def undelivered(run: Run) -> str:
    failed = [event.note for event in run.events if event.kind == "delivered" and event.note]
    return f"{len(failed)} networks could NOT be delivered: {failed[-1]}" if failed else ""


def against_baselines(run: Run) -> str:
    """On test data where networks were delivered; else on validation data, which the search has chosen by."""
    goal = next((name for name in run.spec.objectives if any(name in found for found in run.baseline.values())), None)
    if goal is None:
        why = next((event.note for event in run.events if event.kind == "baseline" and event.note), "")
        return f"The baselines could NOT be computed: {why}" if why else ""
    sign = 1 if run.spec.objectives[goal] == "min" else -1
    members = [member for member in run.front if goal in member.delivered.get("test", {})]
    key, where = ("test_" + goal, "test") if members else (goal, "validation")
    members = members or run.front
    scores = {name: found[key] for name, found in run.baseline.items() if key in found}
    if not members or not scores:
        return "" if members else f"The search found NO network ({run.trouble()}); the baselines stand."
    name = min(scores, key=lambda method: sign * scores[method])
    value, low, high = min((interval(member, goal) for member in members), key=lambda found: sign * found[0])
    figures = f"{goal} {value:.4g} (95 %: {low:.4g} to {high:.4g}) against {scores[name]:.4g} ({name}), on {where} data"
    if low == high:
        figures = f"{goal} {value:.4g} against {scores[name]:.4g} ({name})"
    if sign * scores[name] > sign * (high if sign > 0 else low):
        return f"The search beat every baseline: {figures}."
    if sign * value < sign * scores[name]:
        return f"The search is ahead of every baseline, but NOT by more than chance: {figures}."
    return f"The search did NOT beat the baseline {name}: {figures}. Use the baseline, or search longer."


def interval(member: Member, goal: str) -> tuple[float, float, float]:
    """A network's score with its interval: on test data where it was delivered."""
    if goal in member.delivered.get("test", {}):
        value = member.delivered["test"][goal]
        low, high = member.delivered.get("test_interval", {}).get(goal, (value, value))
        return value, low, high
    value = member.metrics[goal]
    known = member.figures.get(goal, {"low": value, "high": value})
    return value, known["low"], known["high"]


def against_random(run: Run) -> str:
    if not run.spec.random or not run.count("random", "ok", "failed"):
        return ""
    volumes = run.hypervolumes()
    if not any(volumes.values()):
        return ""
    trials = {arm: run.count(arm, "ok", "failed") for arm in ("search", "random")}
    budget = f"{trials['random']} random trials"
    if run.spec.estimator == "relaxed":
        budget += f" (without the {sum(e.kind == 'lesson' for e in run.events)} lessons that the search had besides)"
    if run.spec.seconds and trials["random"] != trials["search"]:
        budget += f" (as many as fitted into the same time as its own {trials['search']})"
    figures = f"hypervolume {volumes['search']:.3f} against {volumes['random']:.3f}, one run of each"
    if volumes["search"] > volumes["random"] + NOISE:
        return f"The search beat {budget}: {figures}."
    if volumes["search"] >= volumes["random"] - NOISE:
        return f"The search was NOT better than {budget}: {figures}."
    how = f" Networks of the random search can be delivered too: archfab export {run.folder} ID" \
        if run.spec.deliver else ""
    return f"The search did NOT beat {budget}: {figures}.{how}"
