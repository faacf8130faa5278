"""Runs of the same task side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archfab.core import UsageError
from archfab.metrics.pareto import shares
from archfab.runs.run import Run


def compare_runs(runs: Sequence[Run]) -> dict[str, Any]:
    """Each run's best in every objective, and its front's hypervolume in the box that all runs span.

    :raises UsageError: where the runs do not share task, objectives and device.
    """
    first = runs[0]
    for run in runs[1:]:
        for name in ("task", "task_options", "objectives", "device"):
            ours, theirs = getattr(first.spec, name), getattr(run.spec, name)
            if ours != theirs:
                raise UsageError(f"runs {first.name} and {run.name} cannot be compared: {name} {ours} and {theirs}")
    volumes = shares([[run.point(event) for event in run.kept()] for run in runs])
    return {"objectives": dict(first.spec.objectives), "runs": [
        {"run": str(run.folder), "strategy": run.spec.strategy, "seed": run.spec.seed, "space": run.spec.space_from,
         "trials": run.count("search", "ok", "failed"), "seconds": round(run.seconds, 3), "hypervolume": volume,
         "front": len(run.front),
         "best": {name: (min if sense == "min" else max)((m.metrics[name] for m in run.front), default=None)
                  for name, sense in first.spec.objectives.items()}}
        for run, volume in zip(runs, volumes, strict=True)]}
