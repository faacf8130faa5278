"""Several networks asked at once: their mean is the answer, their spread says where it is not to be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from archfab.core import UsageError
from archfab.tasks.molecules.answers import Answers, joined, portions
from archfab.tasks.molecules.data import Structure
from archfab.tasks.molecules.elements import SYMBOLS
from archfab.tasks.molecules.graphs import inputs


def reach(models: Sequence[nn.Module]) -> float:
    """The largest cutoff of some networks; edges beyond a network's own change nothing for it."""
    if not models:
        raise UsageError("an ensemble has one network or more")
    found = [getattr(model, "r_max", None) for model in models]
    if not all(isinstance(each, int | float) for each in found):
        raise UsageError("one of the networks has no cutoff (r_max); networks of the task molecules have one")
    return float(max(each for each in found if each is not None))


def known_species(models: Sequence[nn.Module]) -> tuple[int, ...] | None:
    """The atomic numbers that all of some networks know; None where they do not say."""
    said = [set(map(int, species)) for model in models if (species := getattr(model, "species", None)) is not None]
    return tuple(sorted(set.intersection(*said))) if said else None


def refuse_unknown(numbers: np.ndarray, species: Sequence[int] | None, where: str = "") -> None:
    """Raises `UsageError` for atoms of species that networks have not learned."""
    if species is not None and (wrong := np.setdiff1d(numbers, species)).size:
        raise UsageError(f"{where}the networks have not learned {', '.join(SYMBOLS[each] for each in wrong)}; they "
                         "know " + ", ".join(SYMBOLS[each] for each in species))


def ask(models: Sequence[nn.Module], graph: Sequence[torch.Tensor], sizes: Sequence[int],
        device: torch.device | str = "cpu") -> list[Answers]:
    """What each of some networks says of a graph of structures.

    :param graph: numbers, positions, edges, shifts, structure, cell: as `graphs.collate` gives them.
    :param sizes: atoms of each structure.
    :raises UsageError: when an answer is no finite number.
    """
    given = [each.to(device) for each in graph]
    with torch.no_grad():
        found = [Answers.of(model.to(device).eval()(*given), sizes) for model in models]
    if not all(np.isfinite(values).all() for each in found for values in (each.energy, *each.forces)):
        raise UsageError("a network's energy or forces are not finite; are atoms in one place, or of another species?")
    return found


def ask_of(models: Sequence[nn.Module], structures: Sequence[Structure], device: torch.device | str = "cpu",
           atoms: int = 2000) -> list[Answers]:
    """What each of some networks says of structures, some at a time.

    :param atoms: at most so many at a time, where a structure has no more.
    :raises UsageError: for atoms of species that the networks have not learned, with the frame.
    """
    cutoff, species = reach(models), known_species(models)
    if not structures:
        raise UsageError("there are no structures to ask about")
    for frame, each in enumerate(structures):
        refuse_unknown(each.numbers, species, f"frame {frame} (the first is 0): ")
    parts = []
    for chosen in portions([len(each) for each in structures], atoms):
        some = [structures[i] for i in chosen]
        parts.append(ask(models, inputs(some, cutoff), [len(each) for each in some], device))
    return [joined(said) for said in zip(*parts, strict=True)]
