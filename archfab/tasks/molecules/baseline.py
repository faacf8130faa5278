"""A pair potential fitted by least squares: what energies and forces owe to distances of two atoms alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from archfab.core import UsageError
from archfab.tasks.molecules.data import Structure
from archfab.tasks.molecules.elements import SYMBOLS

ROWS = 20_000       # of the design matrix that are held at a time
RESOLVED = 1e-10    # of the largest singular value: directions below are left at zero


@dataclass(frozen=True)
class PairPotential:
    """The energy E = sum over atoms of e(species) + sum over pairs within the cutoff of phi(species, species, r).

    phi is a sum of `functions` Bessel functions sin(k pi r / c) / r, each times the envelope of `basis`, so that energy
    and forces are smooth where a pair enters the cutoff c. Forces are its exact gradient.
    """

    cutoff: float
    functions: int
    species: tuple[int, ...]        # atomic numbers, ascending
    coefficients: np.ndarray        # [pairs of species, functions] in eV
    shifts: np.ndarray              # [species] in eV

    def predict(self, structures: Sequence[Structure]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Energies [S] in eV, and the forces [N, 3] of each structure in eV/Angstrom."""
        answers = [self.answer(structure) for structure in structures]
        return np.array([energy for energy, _, _ in answers]), [forces for _, forces, _ in answers]

    def answer(self, structure: Structure) -> tuple[float, np.ndarray, np.ndarray | None]:
        """Energy in eV, forces [N, 3] in eV/Angstrom and, where all directions are periodic, the stress [3, 3] in
        eV/Angstrom^3 of one structure."""
        energies, forces, stress = columns(structure, self.cutoff, self.functions, self.species)
        weights = np.concatenate([self.coefficients.ravel(), self.shifts])
        return float(energies @ weights), forces @ weights, None if stress is None else stress @ weights

    def energy_between(self, one: int, other: int, distance: np.ndarray) -> np.ndarray:
        """phi of two species, by atomic number, at distances in Angstrom; in eV."""
        pair = pairs(self.species).index((min(one, other), max(one, other)))
        return basis(np.asarray(distance, dtype=float), self.cutoff, self.functions)[0] @ self.coefficients[pair]


def fit_pair_potential(structures: Sequence[Structure], cutoff: float, functions: int = 16,
                       energy_weight: float = 1.0, smoothness: float = 1e-3) -> PairPotential:
    """The pair potential of least squared error on energies by atom and forces.

    Where the structures hardly hold a distance it would be free to swing, so short waves are held small: beside the
    data stands a penalty on each coefficient that grows with the square of its wave number.

    :param cutoff: in Angstrom. :param functions: of each pair of species.
    :param energy_weight: what an energy counts beside all forces of its structure; 0: forces alone.
    :param smoothness: what the penalty on the shortest wave counts beside the data on the best known one.
    :raises UsageError: where there is nothing to fit to.
    """
    if not 0 < cutoff < np.inf or functions < 1 or energy_weight < 0 or smoothness < 0:
        raise UsageError("a pair potential takes a cutoff above 0, one function or more, and an energy_weight and a "
                         "smoothness of 0 or more")
    species = tuple(int(number) for number in np.unique(np.concatenate([s.numbers for s in structures]))) \
        if structures else ()
    number = len(pairs(species)) * functions + len(species)
    triangle = np.zeros((0, number + 1))
    for block in blocks(structures, cutoff, functions, species, energy_weight):
        triangle = np.asarray(np.linalg.qr(np.concatenate([triangle, block]), mode="r"))    # all that is needed
    if not triangle.any():
        raise UsageError("there are no energies or forces to fit a pair potential to")
    scale = np.linalg.norm(triangle[:, :-1], axis=0)
    penalty = np.zeros(number)
    cut = number - len(species)
    bend = np.resize(np.arange(1, functions + 1) / functions, cut) ** 2
    penalty[:cut] = smoothness * scale[:cut].max(initial=0) * bend
    scale[scale == 0] = 1
    system = np.concatenate([triangle[:, :-1], np.diag(penalty)]) / scale
    weights = np.linalg.lstsq(system, np.append(triangle[:, -1], np.zeros(number)), rcond=RESOLVED)[0] / scale
    return PairPotential(cutoff, functions, species, weights[:cut].reshape(-1, functions), weights[cut:])


def blocks(structures: Sequence[Structure], cutoff: float, functions: int, species: Sequence[int],
           energy_weight: float) -> Iterator[np.ndarray]:
    """The rows of the least-squares problem, targets in the last column, some thousands at a time."""
    rows: list[np.ndarray] = []
    for structure in structures:
        energies, forces, _ = columns(structure, cutoff, functions, species)
        weight = energy_weight * (3 / len(structure)) ** 0.5        # the energy by atom counts as 3 N forces do
        if structure.energy is not None and weight:
            rows.append(weight * np.append(energies, structure.energy)[None])
        if structure.forces is not None:
            rows.append(np.concatenate([forces.reshape(-1, len(energies)), structure.forces.reshape(-1, 1)], axis=1))
        if sum(map(len, rows)) > ROWS:
            yield np.concatenate(rows)
            rows = []
    if rows:
        yield np.concatenate(rows)


def columns(structure: Structure, cutoff: float, functions: int,
            species: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """What a structure's energy [P], forces [N, 3, P] and stress [3, 3, P] are of each of the P weights."""
    kind = np.searchsorted(species, structure.numbers).clip(max=len(species) - 1)
    if (wrong := structure.numbers[np.asarray(species)[kind] != structure.numbers]).size:
        raise UsageError(f"the pair potential was not fitted to {SYMBOLS[wrong[0]]}; known: "
                         + ", ".join(SYMBOLS[each] for each in species))
    (sender, receiver), shifts = structure.neighbours(cutoff)
    vectors = structure.positions[sender] - structure.positions[receiver] + shifts
    length = np.linalg.norm(vectors, axis=1)
    unit = vectors / length[:, None]
    value, slope = basis(length, cutoff, functions)
    order = {pair: i for i, pair in enumerate(pairs(range(len(species))))}
    table = np.array([[order[min(i, j), max(i, j)] for j in range(len(species))] for i in range(len(species))])
    pair = table[kind[sender], kind[receiver]]
    number, cut = len(structure), len(order) * functions
    energies = np.zeros(cut + len(species))
    np.add.at(energies[:cut].reshape(-1, functions), pair, value / 2)
    energies[cut:] = np.bincount(kind, minlength=len(species))
    forces = np.zeros((number, 3, cut + len(species)))
    flow = np.zeros((number * len(order), 3, functions))        # a pair is listed twice, so its halves make one whole
    np.add.at(flow, receiver * len(order) + pair, unit[:, :, None] * slope[:, None])
    forces[:, :, :cut] = flow.reshape(number, len(order), 3, functions).transpose(0, 2, 1, 3).reshape(number, 3, cut)
    if structure.volume is None:
        return energies, forces, None
    stress = np.zeros((3, 3, cut + len(species)))
    tension = np.einsum("ei,ej,ek->eijk", vectors, unit, slope) / (2 * structure.volume)
    for each in range(len(order)):
        stress[:, :, each * functions:(each + 1) * functions] = tension[pair == each].sum(0)
    return energies, forces, stress


def pairs(species: Sequence[int]) -> list[tuple[int, int]]:
    return [(one, other) for i, one in enumerate(species) for other in species[i:]]


def basis(distance: np.ndarray, cutoff: float, functions: int) -> tuple[np.ndarray, np.ndarray]:
    """sin(k pi r / c) / r times the polynomial envelope of degree 6 (Gasteiger et al., ICLR 2020), and the derivatives
    by r; both [..., functions], zero beyond the cutoff."""
    r = distance[..., None]
    wave = np.arange(1, functions + 1) * np.pi / cutoff
    x = np.minimum(r / cutoff, 1.0)
    envelope, bend = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8, -168 * x**5 * (1 - x) ** 2 / cutoff
    bessel = np.sin(wave * r) / r
    return bessel * envelope, (wave * np.cos(wave * r) - bessel) / r * envelope + bessel * bend
