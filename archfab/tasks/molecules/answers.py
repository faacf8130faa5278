"""What is said of structures: energies, forces and stresses, by one network or by several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from archfab.tasks.molecules.data import Structure


@dataclass(frozen=True)
class Answers:
    """What is said of some structures: energies [S] in eV, forces [N, 3] of each in eV/Angstrom, stresses [S, 3, 3] in
    eV/Angstrom^3 (None where nothing says any; zeros of a structure without a volume)."""

    energy: np.ndarray
    forces: list[np.ndarray]
    stress: np.ndarray | None = None

    @classmethod
    def of(cls, outputs: Sequence[torch.Tensor], sizes: Sequence[int]) -> Answers:
        """What a network puts out for structures of so many atoms each."""
        energy, forces, stress = (each.detach().cpu() for each in outputs)
        return cls(energy.numpy(), [each.numpy() for each in forces.split(list(sizes))], stress.numpy())


def joined(parts: Sequence[Answers]) -> Answers:
    """What was said of some structures, and of some more, as one."""
    stresses = [part.stress for part in parts if part.stress is not None]
    return Answers(np.concatenate([part.energy for part in parts]), [each for part in parts for each in part.forces],
                   np.concatenate(stresses) if len(stresses) == len(parts) else None)


def mean(several: Sequence[Answers]) -> Answers:
    """The mean of what several networks say of the same structures."""
    stresses = [each.stress for each in several if each.stress is not None]
    return Answers(np.mean([each.energy for each in several], 0),
                   [np.mean(forces, 0) for forces in zip(*(each.forces for each in several), strict=True)],
                   np.mean(stresses, 0) if len(stresses) == len(several) else None)


def spread(several: Sequence[Answers]) -> list[np.ndarray]:
    """How far networks' forces on each atom lie apart: the root of the mean squared distance from their mean, [N] of
    each structure in eV/Angstrom."""
    found = []
    for together in zip(*(each.forces for each in several), strict=True):
        forces = np.stack(together)
        found.append(np.sqrt(((forces - forces.mean(0)) ** 2).sum(2).mean(0)))
    return found


def labelled(structures: Sequence[Structure], answers: Answers) -> list[Structure]:
    """The structures with what is said of them in place of what was known."""
    return [replace(each, energy=float(answers.energy[i]), forces=answers.forces[i],
                    stress=None if each.volume is None or answers.stress is None else answers.stress[i])
            for i, each in enumerate(structures)]


def portions(sizes: Sequence[int], most: int) -> list[list[int]]:
    """Structures in their order, cut where a portion would have too many atoms."""
    found: list[list[int]] = [[]]
    filled = 0
    for i, size in enumerate(sizes):
        if found[-1] and filled + size > most:
            found.append([])
            filled = 0
        found[-1].append(i)
        filled += size
    return found
