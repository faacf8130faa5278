"""What may be wrong with the units of labelled structures: energies, forces and lengths held against one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archfab.tasks.molecules.baseline import fit_pair_potential
from archfab.tasks.molecules.data import Structure
from archfab.tasks.molecules.elements import RADII, SYMBOLS
from archfab.tasks.molecules.units import BOHR, ENERGIES, HARTREE

LOOKED_AT = 200             # structures
ENTRIES = 5_000_000         # numbers in the displacements of all pairs
FEWEST = 20                 # structures that say something
HOT, COLD = 3500.0, 25.0    # Kelvin: data for potentials is seldom beyond
STRONG = 12.0               # eV/Angstrom: root mean square of the forces of a structure far from any minimum
SOFT = 0.02                 # eV/Angstrom^2: less than holds any atom
BOLTZMANN = 8.617333262e-5  # eV/K
NOBLE = (2, 10, 18, 36, 54, 86)
KCAL, KJ = 1 / ENERGIES["kcal/mol"], 1 / ENERGIES["kJ/mol"]
FACTORS = {
    KCAL: "kcal/mol", KJ: "kJ/mol", 1000.0: "meV", 1 / HARTREE: "Hartree", 2 / HARTREE: "Rydberg",
    KJ / KCAL: "kJ/mol beside kcal/mol", HARTREE * KCAL: "Hartree beside kcal/mol", BOHR: "units by Bohr",
    BOHR / HARTREE: "Hartree/Bohr", BOHR * KCAL: "kcal/mol/Bohr",
}
"""By how much a number is too large that is in this unit and read as eV (or eV/Angstrom)."""


@dataclass(frozen=True)
class Pairs:
    """Structures of one composition, two by two: what the second's energy is above the first's, what the forces say
    that it is, how far apart they are (root mean square, Angstrom), and what the forces pull back."""

    rise: np.ndarray            # [P] in eV
    work: np.ndarray            # [P] in eV: -1/2 (F1 + F2) . (x2 - x1), exact where the energy is quadratic
    distance: np.ndarray        # [P]
    pull: np.ndarray            # [P] in eV: -(F2 - F1) . (x2 - x1)
    modes: int                  # directions in which the atoms can move against each other
    structures: int


def suspicions(structures: Sequence[Structure]) -> list[str]:
    """What looks like a mistake in units, in words; empty where nothing does.

    Energies are held against forces by differences between similar structures, or, where no two are alike, by a pair
    potential that is fitted to forces alone; against the energies of free atoms; forces against the temperature that
    equipartition says; lengths against covalent radii. All are statistics, so each is a doubt, never a refusal.
    """
    if not structures:
        return []
    step = -(-len(structures) // LOOKED_AT)
    with_forces = [each for each in structures if each.forces is not None and len(each) > 1]
    pairs = [found for group in alike(with_forces) if (found := compare(group)) is not None]
    doubts = [consistency(pairs) if pairs else likeness(with_forces[::step]), free_atoms(structures[::step]),
              warmth(pairs) or strength(with_forces[::step]), lengths(structures[::4 * step])]
    return [doubt for doubt in doubts if doubt]


def alike(structures: Sequence[Structure]) -> list[list[Structure]]:
    """The largest groups of the same atoms in the same cell, evenly thinned; none where they are too small."""
    groups: dict[tuple, list[Structure]] = {}
    for each in structures:
        cell = b"" if not any(each.periodic) or each.cell is None else each.cell.round(4).tobytes()
        groups.setdefault((each.numbers.tobytes(), cell, each.periodic), []).append(each)
    ordered = sorted((group for group in groups.values() if len(group) >= FEWEST), key=len, reverse=True)
    chosen = []
    for group in ordered[:4]:
        most = max(FEWEST, min(LOOKED_AT, math.isqrt(2 * ENTRIES // (3 * len(group[0])))))
        chosen.append(group[::-(-len(group) // most)])
    return chosen


def compare(group: Sequence[Structure]) -> Pairs | None:
    """All pairs of a group, each turned upon the other where no direction is periodic (Kabsch, 1976)."""
    labelled = [each for each in group if each.energy is not None]
    if len(labelled) < FEWEST:
        return None
    first = labelled[0]
    positions = np.stack([each.positions for each in labelled])
    forces = np.stack([each.forces for each in labelled if each.forces is not None])
    energies = np.array([each.energy for each in labelled])
    i, j = np.triu_indices(len(labelled), 1)
    if any(first.periodic):
        assert first.cell is not None
        cell = np.where(np.array(first.periodic)[:, None], first.cell, 0)
        share = (positions[j] - positions[i]) @ np.linalg.pinv(cell)
        apart, before = positions[j] - positions[i] - np.rint(share) @ cell, forces[i]
        apart -= apart.mean(1, keepdims=True)
    else:
        positions = positions - positions.mean(1, keepdims=True)
        turn = rotation(positions[i], positions[j])
        apart, before = positions[j] - positions[i] @ turn, forces[i] @ turn
    return Pairs(energies[j] - energies[i], -((before + forces[j]) * apart).sum((1, 2)) / 2,
                 np.sqrt((apart**2).sum(2).mean(1)), -((forces[j] - before) * apart).sum((1, 2)),
                 max(1, 3 * len(first) - (3 if any(first.periodic) else 6)), len(labelled))


def rotation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The rotations R [P, 3, 3] for which `one @ R` is nearest to `other`, both [P, N, 3]."""
    u, _, v = np.linalg.svd(np.swapaxes(one, 1, 2) @ other)
    u[:, :, 2] *= np.sign(np.linalg.det(u @ v))[:, None]
    return u @ v


def consistency(pairs: Sequence[Pairs]) -> str:
    """Whether energies rise as the forces say, from each structure to those most like it."""
    near = [np.argsort(each.distance, kind="stable")[:each.structures] for each in pairs]
    rise = np.concatenate([each.rise[which] for each, which in zip(pairs, near, strict=True)])
    work = np.concatenate([each.work[which] for each, which in zip(pairs, near, strict=True)])
    return verdict(rise, work, 1.6, "similar structures")


def likeness(structures: Sequence[Structure]) -> str:
    """The same from a pair potential fitted to forces alone: a coarse view, so that only coarse mistakes are seen."""
    labelled = [each for each in structures if each.energy is not None]
    if len(labelled) < 2 * FEWEST:
        return ""
    potential = fit_pair_potential(labelled, 5.0, 10, energy_weight=0.0)
    energies, _ = potential.predict(labelled)
    counts = np.array([[(each.numbers == number).sum() for number in potential.species] for each in labelled], float)
    rise, work = (values - counts @ np.linalg.lstsq(counts, values, rcond=1e-10)[0]
                  for values in (np.array([each.energy for each in labelled], float), energies))
    return verdict(rise, work, 6.0, "structures, by a pair potential fitted to the forces,")


def verdict(rise: np.ndarray, work: np.ndarray, tolerance: float, what: str) -> str:
    """What the regression of the forces' work on the rise of the energy says: energies are exact and the work is not,
    so its slope is 1, with an error; a doubt needs that four errors do not reach what is tolerated."""
    if not (rise @ rise > 0 and work @ work > 0) or len(rise) < 4:
        return ""
    slope = float(rise @ work / (rise @ rise))
    rest = work - slope * rise
    reach = 4 * math.sqrt(float(rest @ rest) / (rise @ rise) / (len(rise) / 2 - 1))     # a structure is in two pairs
    if slope + reach < 0:
        return (f"energies of {what} fall where the forces say that they rise: are the forces gradients, of the wrong "
                "sign?")
    if slope - reach <= tolerance and slope + reach >= 1 / tolerance:
        return ""
    if slope <= 0:
        return f"energies of {what} differ far more than the forces say: {guess('the energy', KCAL)}?"
    return (f"energies of {what} differ {1 / slope:.3g} times as much as the forces say: "
            f"{guess('the energy', 1 / slope)}, or {guess('the force', slope)}?")


def guess(what: str, factor: float) -> str:
    nearest = min(FACTORS, key=lambda each: abs(math.log(each / factor)))
    near = abs(math.log(nearest / factor)) < 0.35
    return f"is {what} in {FACTORS[nearest]} (a factor of {nearest:.4g})" if near else \
        f"is {what} off by a factor of {factor:.3g}"


def free_atoms(structures: Sequence[Structure]) -> str:
    """Whether total energies are those of free atoms in a unit that was not said.

    No structure's energy is far below that of its free atoms with all their electrons. Energies with fewer electrons
    (pseudopotentials) or without atoms' energies are smaller by any factor, so of these only the known factors are
    suspected.
    """
    shares = [each.energy / free_energy(each.numbers).sum() for each in structures if each.energy is not None]
    share = float(np.median(shares)) if shares else 1.0
    if share > 1.3:
        return f"energies are {share:.3g} times those of free atoms with all electrons: {guess('the energy', share)}?"
    for unit in ("kcal/mol", "Hartree"):
        factor = ENERGIES[unit] if unit == "kcal/mol" else 1 / HARTREE
        if abs(math.log(max(share, 1e-9) / factor)) < 0.03:
            read = "were they in eV and read as kcal/mol" if unit == "kcal/mol" else "is the energy in Hartree"
            return f"energies are 1/{1 / share:.4g} of those of free atoms with all electrons: {read}?"
    return ""


def free_energy(numbers: np.ndarray) -> np.ndarray:
    """Energies of free atoms in eV, within 3 %: the statistical atom (Schwinger, Physical Review A 24, 1981), with
    hydrogen and helium as they are."""
    z = np.asarray(numbers, dtype=float)
    smooth = -0.7687 * z ** (7 / 3) + 0.5 * z**2 - 0.2699 * z ** (5 / 3)
    return HARTREE * np.select([z == 1, z == 2], [-0.5, -2.9037], smooth)


def warmth(pairs: Sequence[Pairs]) -> str:
    """Whether forces pull atoms back as they do at a temperature that is seen: by equipartition, the mean of
    -(F2 - F1) . (x2 - x1) over independent pairs is twice the number of modes times k T."""
    for each in pairs:
        scale = 2 * each.modes * BOLTZMANN
        kelvin, error = float(each.pull.mean()) / scale, float(each.pull.std()) / scale / math.sqrt(each.structures / 2)
        moved = float((each.distance**2).mean()) * (each.modes / 3 + 1)
        if kelvin - 3 * error > HOT:
            return (f"forces hold the atoms as they would at {kelvin:,.0f} K: are the forces in kcal/mol/Angstrom (a "
                    f"factor of {KCAL:.4g}), or in kJ/mol/Angstrom ({KJ:.4g})?")
        if 0 < kelvin < kelvin + 3 * error < COLD and each.pull.mean() < SOFT * moved:
            return (f"forces hold the atoms as they would at {kelvin:.2g} K, and hardly at all: are they in eV and "
                    f"read as kcal/mol (a factor of 1/{KCAL:.4g}), or in Hartree (1/{HARTREE:.4g})?")
    return ""


def strength(structures: Sequence[Structure]) -> str:
    """Whether forces are larger than those that atoms meet in structures of a potential's data."""
    sizes = [float(np.sqrt((each.forces**2).mean())) for each in structures if each.forces is not None]
    if not sizes or (size := float(np.median(sizes))) < STRONG:
        return ""
    return (f"forces are {size:.3g} eV/Angstrom in the middle: are they in kcal/mol/Angstrom (a factor of {KCAL:.4g}), "
            f"or in kJ/mol/Angstrom ({KJ:.4g})?")


def lengths(structures: Sequence[Structure]) -> str:
    """Whether nearest neighbours are about as far apart as covalent radii say."""
    shares: list[float] = []
    for each in structures:
        radii = RADII[each.numbers]
        (sender, receiver), shifts = each.neighbours(4.4 * radii.max())
        vectors = each.positions[sender] - each.positions[receiver] + shifts
        share = np.linalg.norm(vectors, axis=1) / (radii[sender] + radii[receiver])
        nearest = np.full(len(each), np.inf)
        np.minimum.at(nearest, receiver, share)
        shares += nearest[np.isfinite(nearest) & ~np.isin(each.numbers, NOBLE)].tolist()
    share = float(np.median(shares)) if shares else 1.0
    if share > 1.65 or share < 0.65:
        unit = f"in Bohr (a factor of {1 / BOHR:.4g})" if share > 1 else "in Angstrom and read as Bohr"
        return (f"nearest atoms are {share:.2f} times as far apart as the sum of their covalent radii "
                f"({', '.join(sorted({SYMBOLS[z] for s in structures for z in s.numbers})[:6])}): are lengths {unit}?")
    return ""
