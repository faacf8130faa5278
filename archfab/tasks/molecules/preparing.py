"""What raw structures become before a network takes them, in words, and what is said of them without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archfab.core import Metrics
from archfab.tasks.molecules.answers import Answers
from archfab.tasks.molecules.baseline import fit_pair_potential
from archfab.tasks.molecules.data import Dataset, Structure
from archfab.tasks.molecules.elements import SYMBOLS
from archfab.tasks.molecules.errors import scores


def said(species: Sequence[int], cutoffs: Sequence[float], data: Dataset, dtype: str) -> dict[str, Any]:
    """How structures become what a network takes, as plain data."""
    return {"species": [SYMBOLS[number] for number in species], "cutoff": cutoffs[-1], "dtype": dtype,
            "learned_from": data.source,
            "inputs": {
                "numbers": "int64 [atoms]: atomic numbers, of the species above only",
                "positions": "float64 [atoms, 3] in Angstrom",
                "edges": "int64 [2, edges]: sender and receiver of every pair of atoms closer than `cutoff`, images of "
                         "periodic cells included, each pair in both directions; pairs beyond the network's own r_max "
                         "change nothing",
                "shifts": "float64 [edges, 3] in Angstrom: a sum of whole lattice vectors, such that the vector of an "
                          "edge is positions[sender] - positions[receiver] + shift",
                "structure": "int64 [atoms]: which structure each atom belongs to, from 0",
                "cell": "float64 [structures, 3, 3] in Angstrom, rows are lattice vectors; zeros where a structure is "
                        "not periodic in all directions"},
            "outputs": {"energy": "float64 [structures] in eV", "forces": "float64 [atoms, 3] in eV/Angstrom",
                        "stress": "float64 [structures, 3, 3] in eV/Angstrom^3, tension is positive; zeros without a "
                                  "cell"}}


def baselines(parts: Mapping[str, Sequence[Structure]], constants: Mapping[str, Any],
              cutoff: float) -> dict[str, Metrics]:
    """Scores, and `test_` scores, of the energies of species without forces, and of a pair potential."""
    energies = dict(zip(constants["species"], constants["energies"], strict=True))
    pairs = fit_pair_potential(parts["train"], cutoff)

    def atoms(structures: Sequence[Structure]) -> Answers:
        return Answers(np.array([sum(energies[int(n)] for n in each.numbers) for each in structures]),
                       [np.zeros((len(each), 3)) for each in structures], np.zeros((len(structures), 3, 3)))

    def potential(structures: Sequence[Structure]) -> Answers:
        found = [pairs.answer(each) for each in structures]
        return Answers(np.array([energy for energy, _, _ in found]), [forces for _, forces, _ in found],
                       np.array([np.zeros((3, 3)) if stress is None else stress for _, _, stress in found]))

    return {name: {f"{prefix}{key}": float(value) for prefix, part in (("", "validation"), ("test_", "test"))
                   for key, value in scores(parts[part], method(parts[part])).items()}
            for name, method in (("free atoms", atoms), ("pair potential", potential))}
