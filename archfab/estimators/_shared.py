"""Weights that networks share, kept from lesson to lesson: saved, resumed, checked."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.utils import _pytree as pytree

from archfab.core import Diverged, Task, UsageError, canonical
from archfab.space import Space

FORMAT = 1
SPACE = "space.json"
KEPT = 2            # lessons whose weights stay on disk: the last, and the one before


def file_of(folder: Path, lesson: int) -> Path:
    return folder / f"lesson-{lesson:05}.pt"


def lessons_in(folder: Path) -> list[int]:
    """The lessons whose weights are there."""
    return sorted(int(found[1]) for path in folder.glob("lesson-*.pt")
                  if (found := re.fullmatch(r"lesson-(\d+)\.pt", path.name)))


def made_for(task: Task) -> dict[str, Any]:
    """What shared weights are good for: the task, the shapes of a network's inputs, and the data held out from them."""
    if task not in _known:
        _known[task] = {"task": task.name, "inputs": [list(x.shape) for x in pytree.tree_leaves(task.example())],
                        "validation": means(task.batches("validation", random.Random(0)))}
    return _known[task]


def means(batches: Iterable[Any]) -> list[str]:
    """What tells data apart, in whatever order they come: how many entries each tensor has, and their mean."""
    totals: dict[int, list[float]] = {}
    for batch in batches:
        for i, x in enumerate(pytree.tree_leaves(batch)):
            if isinstance(x, torch.Tensor):
                before = totals.get(i, [0, 0.0])
                totals[i] = [before[0] + x.numel(), before[1] + float(x.double().sum())]
    return [f"{number} entries of mean {total / max(1, number):.5g}" for number, total in totals.values()]


_known: WeakKeyDictionary[Task, dict[str, Any]] = WeakKeyDictionary()


def keep(folder: Path, lesson: int, task: Task, space: Space, model: nn.Module,
         optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
    """Writes the state after a lesson, whole or not at all; older ones are removed.

    :raises Diverged: when a weight is not finite.
    """
    state = model.state_dict()
    if (name := not_finite(state)) is not None:
        raise Diverged(f"the shared weights are not finite after lesson {lesson} ({name}); a smaller --lr may help")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / SPACE).exists():
        draft = folder / f"{SPACE}.new"
        draft.write_text(canonical(space.data), encoding="utf-8")
        os.replace(draft, folder / SPACE)
    path = file_of(folder, lesson)
    draft = path.with_suffix(".new")
    torch.save({"format": FORMAT, "lesson": lesson, "space": space.hash, "made_for": made_for(task), "weights": state,
                "optimizers": {name: each.state_dict() for name, each in optimizers.items()}}, draft)
    os.replace(draft, path)
    for old in lessons_in(folder):
        if old <= lesson - KEPT:
            file_of(folder, old).unlink(missing_ok=True)


def space_of(folder: Path) -> Space:
    """The space whose networks share the weights in a folder."""
    try:
        return Space.from_data(json.loads((folder / SPACE).read_text(encoding="utf-8")))
    except OSError:
        raise UsageError(f"there are no shared weights at {folder}; train some: archfab search TASK --estimator "
                         "supernet --run NAME, then name that run") from None
    except ValueError:
        raise UsageError(f"{folder / SPACE} is damaged; restore it from a copy") from None


def read(folder: Path, lesson: int | None, task: Task, space: Space) -> dict[str, Any]:
    """What was kept after a lesson, the last one by default.

    :raises UsageError: when it is missing, damaged, of another task or space, or holds numbers that are not finite.
    """
    there = lessons_in(folder)
    lesson = lesson if lesson is not None else (there[-1] if there else 0)
    path = file_of(folder, lesson)
    if lesson not in there:
        raise UsageError(f"there are no shared weights of lesson {lesson} at {folder}; train some: "
                         "archfab search TASK --estimator supernet")
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        found, weights, known = state["space"], state["weights"], dict(state["made_for"])
        state["optimizers"], state["lesson"], state["format"]
    except Exception as error:
        raise UsageError(f"the shared weights {path} cannot be read: {(str(error).splitlines() or ['damaged'])[0]}; "
                         "restore the file from a copy, or begin a new run") from None
    if state["format"] > FORMAT:
        raise UsageError(f"{path} was written by a newer archfab (format {state['format']})")
    if found != space.hash:
        raise UsageError(f"the shared weights {path} belong to another space (hash {found}, asked for {space.hash}); "
                         "give the space that they were trained on (--space), or train new ones")
    if known != (asked := made_for(task)):
        differs = next(name for name in asked if known.get(name) != asked[name])
        raise UsageError(f"the shared weights {path} were trained with {differs} {known.get(differs)}, not "
                         f"{asked[differs]}; give the task, data and split that they were trained on, or train new "
                         "ones")
    if (name := not_finite(weights)) is not None:
        raise UsageError(f"the shared weights {path} hold numbers that are not finite ({name}); begin a new run, with "
                         "a smaller --lr if they came so from training")
    return state


def restore(state: Mapping[str, Any], model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer],
            where: Path) -> None:
    """Puts what was read into a model and its optimizers."""
    try:
        model.load_state_dict(state["weights"])
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
    except (RuntimeError, KeyError, ValueError) as error:
        first = " ".join(str(error).split())[:200]
        raise UsageError(f"the shared weights in {where} do not fit this space's networks; were they trained by "
                         f"another method, or by another version of archfab? ({first})") from None


def not_finite(state: Mapping[str, torch.Tensor]) -> str | None:
    """The name of a tensor with a number that is not finite."""
    return next((name for name, tensor in state.items()
                 if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())), None)
