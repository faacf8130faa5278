"""Several networks asked at once: their mean is the answer, their spread says where it is not to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from archfab.core import UsageError
from archfab.tasks.molecules.data import Structure
from archfab.tasks.molecules.elements import SYMBOLS
from archfab.tasks.molecules.graphs import collate


@dataclass(frozen=True)
class Answers:
    """What M networks say of S structures of N atoms in all, side by side."""

    energies: np.ndarray        # [M, S] in eV
    forces: np.ndarray          # [M, N, 3] in eV/Angstrom
    stresses: np.ndarray        # [M, S, 3, 3] in eV/Angstrom^3; zeros where there is no volume
    sizes: np.ndarray           # [S] atoms of each structure

    def spread(self) -> list[np.ndarray]:
        """How far the networks' forces on each atom lie apart: the root of the mean squared distance from their mean,
        [N] of each structure."""
        apart = self.forces - self.forces.mean(0)
        return np.split(np.sqrt((apart**2).sum(2).mean(0)), np.cumsum(self.sizes)[:-1])


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


def refuse_unknown(numbers: np.ndarray, species: Sequence[int] | None) -> None:
    """Raises `UsageError` for atoms of species that networks have not learned."""
    if species is not None and (wrong := np.setdiff1d(numbers, species)).size:
        raise UsageError(f"the networks have not learned {', '.join(SYMBOLS[each] for each in wrong)}; they know "
                         + ", ".join(SYMBOLS[each] for each in species))


def ask(models: Sequence[nn.Module], inputs: Sequence[torch.Tensor], sizes: Sequence[int],
        device: torch.device | str = "cpu") -> Answers:
    """What networks say of a graph of structures.

    :param inputs: numbers, positions, edges, shifts, structure, cell: as `graphs.collate` gives them.
    :raises UsageError: when an answer is no finite number.
    """
    given = [each.to(device) for each in inputs]
    found = []
    with torch.no_grad():
        for model in models:
            found.append([each.detach().cpu().numpy().astype(float) for each in model.to(device).eval()(*given)])
    energies, forces, stresses = (np.stack(each) for each in zip(*found, strict=True))
    answers = Answers(energies, forces, stresses, np.asarray(sizes))
    if not all(np.isfinite(each).all() for each in (answers.energies, answers.forces)):
        raise UsageError("a network's energy or forces are not finite; are atoms in one place, or of another species?")
    return answers


def ask_of(models: Sequence[nn.Module], structures: Sequence[Structure], device: torch.device | str = "cpu",
           atoms: int = 2000) -> Answers:
    """What networks say of structures, some at a time.

    :param atoms: about how many at a time.
    """
    cutoff, species = reach(models), known_species(models)
    parts: list[Answers] = []
    batch: list[Structure] = []
    for i, each in enumerate(structures):
        refuse_unknown(each.numbers, species)
        batch.append(each)
        if sum(map(len, batch)) >= atoms or i == len(structures) - 1:
            graph = collate(batch, [one.neighbours(cutoff) for one in batch])
            parts.append(ask(models, graph, [len(one) for one in batch], device))
            batch = []
    if not parts:
        raise UsageError("there are no structures to ask about")
    energies, forces, stresses = (np.concatenate([getattr(part, name) for part in parts], axis=1)
                                  for name in ("energies", "forces", "stresses"))
    return Answers(energies, forces, stresses, np.concatenate([part.sizes for part in parts]))
