"""How far predicted energies, forces and stresses are from the true ones, structure by structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from archfab.core import Estimate, Metrics
from archfab.tasks.molecules.answers import Answers
from archfab.tasks.molecules.data import Structure

GPA = 160.21766208      # GPa in one eV/Angstrom^3


def scores(structures: Sequence[Structure], answers: Answers) -> Metrics:
    """Mean absolute errors: `energy_mae` in meV/atom, `force_mae` of components in meV/Angstrom, and, where some true
    stress is known, `stress_mae` of components in GPa. Intervals are over structures."""
    sizes = np.array([len(each) for each in structures], dtype=float)
    energies = np.array([each.energy for each in structures], dtype=float)
    found = {"force_mae": mean_of(force_errors(structures, answers) * 1e3, sizes),
             "energy_mae": Estimate.mean_of((np.abs(answers.energy - energies) / sizes * 1e3).tolist())}
    known = [i for i, each in enumerate(structures) if each.stress is not None]
    if known and answers.stress is not None:
        found["stress_mae"] = Estimate.mean_of([
            GPA * float(np.abs(answers.stress[i] - structures[i].stress).mean()) for i in known])
    return found


def force_errors(structures: Sequence[Structure], answers: Answers) -> np.ndarray:
    """The mean absolute error of each structure's force components, in eV/Angstrom."""
    return np.array([np.abs(each.forces - forces).mean()
                     for each, forces in zip(structures, answers.forces, strict=True)])


def mean_of(values: np.ndarray, weights: np.ndarray) -> Estimate:
    """The mean over structures, each by its weight."""
    return Estimate.mean_of((values * weights / weights.mean()).tolist())
