"""Delivered networks as a calculator of ASE: molecular dynamics, relaxation and all else that ASE does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from archfab.core import UsageError
from archfab.tasks.molecules.answers import mean, spread
from archfab.tasks.molecules.data import Structure
from archfab.tasks.molecules.ensemble import ask, known_species, reach, refuse_unknown
from archfab.tasks.molecules.graphs import collate

try:
    from ase.calculators.calculator import Calculator, all_changes
except ModuleNotFoundError:
    raise UsageError("the calculator needs ase; install it: pip install 'archfab[molecules]'") from None


class Potential(Calculator):
    """Networks as an ASE calculator; several are an ensemble, whose mean is the answer.

    Results are `energy` (eV), `forces` (eV/Angstrom) and, where all directions are periodic, `stress` (eV/Angstrom^3,
    in ASE's order xx yy zz yz xz xy); of an ensemble also `energy_spread` (standard deviation, eV), `forces_spread`
    ([N], root mean squared distance from the mean force, eV/Angstrom) and `disagreement`, its largest, which says when
    the atoms have left what the networks learned. Neighbours are listed a skin beyond the cutoff, and anew when an atom
    has moved by half of it.

    :param models: one network or several of the task molecules, of any cutoffs.
    :param device: where they compute. :param skin: in Angstrom.
    :raises UsageError: for atoms of species that the networks have not learned.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress", "energy_spread", "forces_spread",
                              "disagreement"]

    def __init__(self, models: nn.Module | Sequence[nn.Module], device: torch.device | str = "cpu",
                 skin: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        self.models = [models] if isinstance(models, nn.Module) else list(models)
        self.device, self.skin = device, skin
        self.cutoff, self.species = reach(self.models), known_species(self.models)
        if not 0 <= skin < np.inf:
            raise UsageError(f"a skin is a length of 0 or more, not {skin}")
        self.listed = 0             # how often neighbours were listed
        self._list: tuple[Structure, np.ndarray, np.ndarray] | None = None

    def calculate(self, atoms: Any = None, properties: Sequence[str] = ("energy",),
                  system_changes: Sequence[str] = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        here = structure_of(self.atoms)
        refuse_unknown(here.numbers, self.species)
        edges, shifts = self.neighbours(here)
        answers = ask(self.models, collate([here], [(edges, shifts)]), [len(here)], self.device)
        said = mean(answers)
        energy, forces = float(said.energy[0]), said.forces[0]
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if here.volume is not None and said.stress is not None:
            self.results["stress"] = said.stress[0][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        if len(self.models) > 1:
            apart = spread(answers)[0]
            self.results |= {"energy_spread": float(np.std([each.energy for each in answers])), "forces_spread": apart,
                             "disagreement": float(apart.max())}

    def neighbours(self, here: Structure) -> tuple[np.ndarray, np.ndarray]:
        """The pairs within the cutoff, from a list that reaches further and stays good while atoms move little."""
        if self._list is None or moved(self._list[0], here) > self.skin / 2:
            self._list = here, *here.neighbours(self.cutoff + self.skin)
            self.listed += 1
        _, edges, shifts = self._list
        vectors = here.positions[edges[0]] - here.positions[edges[1]] + shifts
        near = (vectors**2).sum(1) < self.cutoff**2
        return edges[:, near], shifts[near]


def structure_of(atoms: Any, **labels: Any) -> Structure:
    """ASE's atoms as a structure."""
    cell = np.array(atoms.cell) if any(atoms.pbc) else None
    one, two, three = map(bool, atoms.pbc)
    return Structure(atoms.numbers, atoms.positions.copy(), cell, (one, two, three), **labels)


def atoms_of(structure: Structure) -> Any:
    """A structure as ASE's atoms."""
    from ase import Atoms
    return Atoms(numbers=structure.numbers, positions=structure.positions, cell=structure.cell, pbc=structure.periodic)


def moved(before: Structure, now: Structure) -> float:
    """How far the atom has moved that moved farthest; infinitely far where other things changed."""
    then, cell = (np.zeros((3, 3)) if each.cell is None else each.cell for each in (before, now))
    if not np.array_equal(before.numbers, now.numbers) or before.periodic != now.periodic \
            or not np.array_equal(then, cell):
        return np.inf
    return float(np.sqrt(((now.positions - before.positions) ** 2).sum(1).max()))
