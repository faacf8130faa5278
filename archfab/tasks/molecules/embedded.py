"""A small data set that is generated: molecules of five atoms with bonds and angles, of a potential that is stated."""

from __future__ import annotations

import numpy as np

from archfab.tasks.molecules.data import Dataset, Structure
from archfab.tasks.molecules.units import Units

DEPTH, STEEPNESS, BOND = 4.5, 1.9, 1.09     # of each bond: D (1 - exp(-a (r - r0)))^2, in eV, 1/Angstrom, Angstrom
STIFFNESS, COSINE = 1.6, -1 / 3             # of each angle at the centre: k / 2 (cos - cos0)^2, in eV
KELVIN = 900.0
BOLTZMANN = 8.617333262e-5                  # eV / K
TRAIN, TEST = 140, 60


def generated(seed: int = 0) -> Dataset:
    """Molecules like methane at 900 K: Morse bonds from the centre to four corners, and harmonic angles between them,
    so that no pair potential describes them. Drawn by Metropolis' rule; energies and forces are exact."""
    rng = np.random.default_rng(seed)
    structures = [labelled(positions) for positions in walk(rng, TRAIN + TEST)]
    about = (f"{TRAIN + TEST} generated molecules like methane (Morse bonds, harmonic angles) at {KELVIN:.0f} K, "
             "energies in eV, lengths in Angstrom")
    return Dataset(structures[:TRAIN], structures[TRAIN:], about, Units())


def labelled(positions: np.ndarray) -> Structure:
    """A molecule with its energy and forces."""
    energy, forces = potential(positions)
    return Structure(np.array([6, 1, 1, 1, 1]), positions, energy=energy, forces=forces)


def potential(positions: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy in eV and forces [5, 3] in eV/Angstrom; the centre is the first atom."""
    arms = positions[1:] - positions[0]
    length = np.linalg.norm(arms, axis=1)
    unit = arms / length[:, None]
    decay = np.exp(-STEEPNESS * (length - BOND))
    pull = 2 * DEPTH * STEEPNESS * decay * (1 - decay)              # the energy's derivative by the length
    cosines = unit @ unit.T
    bend = STIFFNESS * (cosines - COSINE) * (1 - np.eye(4))         # by the cosines, each pair once
    slopes = pull[:, None] * unit + (bend @ unit - (bend * cosines).sum(1)[:, None] * unit) / length[:, None]
    upper = np.triu_indices(4, 1)
    energy = DEPTH * ((1 - decay) ** 2).sum() + STIFFNESS / 2 * ((cosines[upper] - COSINE) ** 2).sum()
    return float(energy), np.concatenate([slopes.sum(0, keepdims=True), -slopes])


def walk(rng: np.random.Generator, number: int, apart: int = 30, step: float = 0.05) -> list[np.ndarray]:
    """Positions of a Metropolis walk, some steps apart, each turned at random."""
    corners = BOND / np.sqrt(3) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    positions = np.concatenate([np.zeros((1, 3)), corners])
    energy, found = potential(positions)[0], []
    for i in range(apart * (number + 10)):
        moved = positions + rng.normal(scale=step, size=positions.shape)
        risen = potential(moved)[0]
        if rng.random() < np.exp(min(0.0, (energy - risen) / (BOLTZMANN * KELVIN))):
            positions, energy = moved, risen
        if i % apart == apart - 1 and i >= 10 * apart:
            turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
            found.append((positions - positions.mean(0)) @ turn.T)
    return found
