"""What delivered networks say of new sequences: the next event of each, and continuations drawn at random."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Row
from typing import Any

import numpy as np
import torch

from archfab.core import Exhibit, UsageError
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.reading import read_file

AHEAD = 10.0        # how far, in mean gaps
SEED = 0


class Ensemble(torch.nn.Module):
    """Several networks as one process: the mean of their intensities, whose compensator is the mean of theirs."""

    def __init__(self, models: Row[Any]) -> None:
        super().__init__()
        self.models = torch.nn.ModuleList(models)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = [model(*inputs) for model in self.models]
        return (torch.stack([intensities for intensities, _ in found]).mean(0),
                torch.stack([compensators for _, compensators in found]).mean(0))


def forecasts(models: Row[Any], preprocessing: Mapping[str, Any], data: str, draws: int) -> Iterable[Exhibit]:
    """The next event of each sequence of a file, and what may come after it, drawn `draws` times.

    :raises UsageError: for a type that the networks do not know, with file and line.
    """
    if draws < 0:
        raise UsageError(f"draws is a number of continuations from 0 up, not {draws}")
    names, unit, rows = tuple(preprocessing["types"]), preprocessing["unit"], preprocessing["rows"]
    found = read_file(data, names, *(preprocessing[name] for name in ("start", "end", "duplicates")))
    model = Ensemble([model.cpu() for model in models]).eval()
    yield next_events(model, found, names, unit, rows, preprocessing["longest"])
    if draws:
        yield continuations(model, found, names, unit, rows, draws)


def next_events(model: Any, found: Mapping[str, Sequence], names: Row[str], unit: float, rows: int,
                longest: float) -> Exhibit:
    """For each sequence when its next event is to come, given that none came until its window's end, and of which
    type."""
    from archfab.tasks.events.evaluation import foreseen, grid
    from archfab.tasks.events.thinning import Paths
    paths = Paths(list(found.values()), len(names), unit, rows)
    times = grid(longest)
    lines = []
    for i, (name, sequence) in enumerate(found.items()):
        chosen = np.array([i])
        queries = paths.waited[i] + times[None]
        wait, median, chances = (each[0] for each in foreseen(paths.intensities(model, chosen, queries), times))
        best = int(chances.argmax())
        lines.append((name, sequence.end, sequence.end + float(wait) * unit, sequence.end + float(median) * unit,
                      names[best], float(chances[best]), *map(float, chances)))
    header = ("sequence", "known until", "expected time", "median time", "type", "chance of the type",
              *(f"chance of {name}" for name in names))
    return Exhibit.table("next.csv", "The next event of each sequence: when it is expected, and of which type", header,
                         lines)


def continuations(model: Any, found: Mapping[str, Sequence], names: Row[str], unit: float, rows: int,
                  draws: int) -> Exhibit:
    """Each sequence gone on with, some times, by thinning."""
    from archfab.tasks.events.thinning import simulate
    repeated = [sequence for sequence in found.values() for _ in range(draws)]
    drawn = simulate(model, repeated, [each.end + AHEAD * unit for each in repeated], np.random.default_rng(SEED),
                     len(names), unit, rows)
    lines = [(name, draw + 1, float(time), names[kind]) for i, name in enumerate(found) for draw in range(draws)
             for time, kind in zip(*(getattr(drawn[i * draws + draw], key) for key in ("times", "types")), strict=True)]
    about = (f"What may come: {draws} continuations of each sequence over {AHEAD * unit:.4g} time units, drawn by "
             "thinning")
    return Exhibit.table("continuations.csv", about, ("sequence", "draw", "time", "type"), lines)
