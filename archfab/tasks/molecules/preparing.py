"""From raw structures to what a delivered network takes and says: units, edges, predictions of a file, baselines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from archfab.core import Exhibit, Metrics, UsageError
from archfab.tasks.molecules.baseline import fit_pair_potential
from archfab.tasks.molecules.data import Dataset, Structure, read_structures
from archfab.tasks.molecules.elements import SYMBOLS
from archfab.tasks.molecules.errors import Answers, collected, scores
from archfab.tasks.molecules.graphs import Graphs, collate

ATOMS = 1_000       # that are asked for at once


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


def predicted(models: Sequence[Any], preprocessing: Mapping[str, Any], data: str) -> Iterable[Exhibit]:
    """What networks say of the structures of a file: their mean; of several also how far they are from it."""
    structures = read_structures(data, labelled=False).train
    known = list(preprocessing["species"])
    for frame, each in enumerate(structures):
        others = sorted({SYMBOLS[number] for number in each.numbers} - set(known))
        if others:
            raise UsageError(f"frame {frame} of {data} has the element {others[0]} (the first is 0); these networks "
                             f"know {', '.join(known)}")
    answers = [ask(model, structures, float(preprocessing["cutoff"])) for model in models]
    mean = mean_of(answers)
    spread = [np.sqrt(np.mean([((one.forces[i] - mean.forces[i]) ** 2).sum(1) for one in answers], 0)).max()
              for i in range(len(structures))]
    yield Exhibit("predictions.xyz", "Energies, forces and stresses as extended XYZ, in eV and Angstrom.",
                  extended_xyz(structures, mean).encode())
    rank = np.argsort(np.argsort([-each for each in spread], kind="stable"))
    energies = np.array([one.energy for one in answers])
    header = ["frame", "atoms", "energy_ev", "energy_ev_per_atom", "max_force_ev_per_angstrom"]
    several = ["energy_deviation_ev", "max_force_deviation_ev_per_angstrom", "rank"] if len(models) > 1 else []
    yield Exhibit.table("predictions.csv", "Energies of each frame; of several networks their disagreement, the frame "
                        "that they disagree on most first in rank.", header + several, [
        [i, len(each), float(mean.energy[i]), float(mean.energy[i] / len(each)),
         float(np.linalg.norm(mean.forces[i], axis=1).max()),
         *([float(energies[:, i].std()), float(spread[i]), int(rank[i]) + 1] if several else [])]
        for i, each in enumerate(structures)])


def ask(model: Any, structures: Sequence[Structure], cutoff: float) -> Answers:
    """What a network says of some structures."""
    graphs, own = Graphs(structures), float(getattr(model, "r_max", cutoff))
    model.eval()
    with torch.no_grad():
        return collected(lambda chosen: model(*collate([structures[i] for i in chosen],
                                                       [graphs.edges(i, own) for i in chosen])),
                         [len(each) for each in structures], ATOMS)


def mean_of(answers: Sequence[Answers]) -> Answers:
    """What an ensemble says."""
    forces = [np.mean(each, 0) for each in zip(*(one.forces for one in answers), strict=True)]
    stress: Any = [one.stress for one in answers]
    return Answers(np.mean([one.energy for one in answers], 0), forces, np.mean(stress, 0))


def extended_xyz(structures: Sequence[Structure], answers: Answers) -> str:
    """Structures with what is said of them, in eV and Angstrom."""
    lines = []
    for i, each in enumerate(structures):
        about = ["Properties=species:S:1:pos:R:3:forces:R:3", f"energy={answers.energy[i]:.10g}",
                 'pbc="' + " ".join("FT"[periodic] for periodic in each.periodic) + '"']
        if each.cell is not None:
            about.insert(0, f'Lattice="{numbers(each.cell)}"')
        if each.volume is not None and answers.stress is not None:
            about.append(f'stress="{numbers(answers.stress[i])}"')
        lines += [str(len(each)), " ".join(about)]
        lines += [f"{SYMBOLS[number]} {numbers(place)} {numbers(force)}"
                  for number, place, force in zip(each.numbers, each.positions, answers.forces[i], strict=True)]
    return "\n".join(lines) + "\n"


def numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.10g}" for value in np.ravel(values))


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
