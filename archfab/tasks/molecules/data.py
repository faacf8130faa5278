"""Structures: atoms with their energies and forces in eV and Angstrom, from extended XYZ and .npz files, checked."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from archfab.core import UsageError
from archfab.tasks.molecules.elements import RADII, SYMBOLS
from archfab.tasks.molecules.neighbours import completed, neighbours
from archfab.tasks.molecules.units import Units

LEGAL = ("legal are extended XYZ (.xyz, .extxyz, also .gz), .npz of one molecule (nuclear_charges, coords, energies, "
         "forces), .npz of many structures (n_atoms, positions, cell, energy, forces), and a folder of one such file "
         "or of a train and a test file")
SUFFIXES = (".xyz", ".extxyz", ".xyz.gz", ".extxyz.gz", ".npz")
CLOSEST = 0.4       # of the sum of two covalent radii: no two atoms of a molecule come that close


@dataclass(frozen=True, eq=False)
class Structure:
    """Atoms in space: one molecule or one periodic cell, and what is known of it.

    :param numbers: atomic numbers, int64 [N]. :param positions: float64 [N, 3] in Angstrom.
    :param cell: rows are lattice vectors, [3, 3] in Angstrom. :param periodic: along each of them.
    :param energy: in eV. :param forces: [N, 3] in eV/Angstrom.
    :param stress: the energy's derivative by the strain, by volume, [3, 3] in eV/Angstrom^3 (tension is positive).
    :param group: where it comes from, in the words of the file.
    :raises UsageError: for wrong shapes, atoms of no element, values that are not finite, cells without volume.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray | None = None
    periodic: tuple[bool, bool, bool] = (False, False, False)
    energy: float | None = None
    forces: np.ndarray | None = None
    stress: np.ndarray | None = None
    group: str = ""

    def __post_init__(self) -> None:
        numbers = np.asarray(self.numbers)
        if numbers.ndim != 1 or not len(numbers):
            raise UsageError("it has no atoms; a structure has at least one")
        if not np.issubdtype(numbers.dtype, np.integer) or (numbers < 1).any() or (numbers >= len(SYMBOLS)).any():
            wrong = numbers[~np.isin(numbers, np.arange(1, len(SYMBOLS)))]
            raise UsageError(f"no element has the atomic number {wrong[0] if len(wrong) else numbers[0]}; legal are "
                             f"whole numbers from 1 to {len(SYMBOLS) - 1}")
        set_ = object.__setattr__
        set_(self, "numbers", numbers.astype(np.int64))
        set_(self, "positions", array("positions", self.positions, (len(numbers), 3)))
        set_(self, "periodic", tuple(bool(each) for each in self.periodic))
        if self.cell is not None:
            set_(self, "cell", array("the cell", self.cell, (3, 3)))
        if len(self.periodic) != 3:
            raise UsageError(f"periodic says yes or no for each of three lattice vectors, not for {len(self.periodic)}")
        completed(self.cell, np.array(self.periodic))
        if self.energy is not None:
            set_(self, "energy", float(array("the energy", self.energy, ())))
        if self.forces is not None:
            set_(self, "forces", array("forces", self.forces, (len(numbers), 3)))
        if self.stress is not None:
            if self.volume is None:
                raise UsageError("it has a stress and no volume; cells that are periodic in all directions have one")
            set_(self, "stress", array("the stress", self.stress, (3, 3)))

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def volume(self) -> float | None:
        """Of the cell in Angstrom^3, where it is periodic in all directions."""
        return abs(float(np.linalg.det(self.cell))) if self.cell is not None and all(self.periodic) else None

    def neighbours(self, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
        """Its pairs of atoms within a cutoff in Angstrom: see `neighbours.neighbours`."""
        return neighbours(self.positions, cutoff, self.cell, self.periodic)


@dataclass(frozen=True)
class Dataset:
    """Structures to learn from and, where the source tells them apart, to test on."""

    train: list[Structure]
    test: list[Structure] | None
    source: str                                     # what was read from where and in which units, in words
    units: Units = field(default_factory=Units)     # those of the source
    suspicions: tuple[str, ...] = ()                # what may be wrong with it, in words


def read_structures(path: Path | str, *, test: Path | str | None = None, units: str = "auto",
                    species: str | None = None, labelled: bool = True, closest: float = CLOSEST) -> Dataset:
    """The structures of a file or a folder.

    What looks like wrong units is warned of and stands in the result's `suspicions`.

    :param test: the file of the structures to test on, where a folder does not tell.
    :param units: as `units.read_units` takes them; auto: those of the format, eV and Angstrom where it has none.
    :param species: the element of all atoms, for files that name none.
    :param labelled: whether every structure must have an energy.
    :param closest: the least distance of two atoms as a share of the sum of their covalent radii.
    :raises UsageError: with the file and the frame (the first is 0), for whatever is wrong with it.
    """
    from archfab.tasks.molecules.suspicion import suspicions
    files = roles(Path(path), None if test is None else Path(test))
    parts, said, doubts = {}, [], []
    for role, file in files.items():
        parts[role], read, how = read_file(file, units, species)
        check(parts[role], str(file), labelled, closest)
        said.append(f"{role} {file}: {len(parts[role])} structures, {read}" + (f"; {how}" if how else ""))
        if found := suspicions(parts[role]):
            warnings.warn(f"{file}: {'; '.join(found)} It was read with {read}; where that is wrong say what is right, "
                          "as in --units kcal/mol", stacklevel=2)
        doubts += [f"{file}: {doubt}" for doubt in found]
    return Dataset(parts["train"], parts.get("test"), "; ".join(said), read, tuple(doubts))


def read_file(path: Path, units: str = "auto", species: str | None = None) -> tuple[list[Structure], Units, str]:
    """The structures of one file, the units that it is in, and what was made of it, in words."""
    from archfab.tasks.molecules import archives, extxyz
    reader = archives.read if path.name.endswith(".npz") else extxyz.read
    try:
        structures, found, how = reader(path, units, species)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}); check the path") from error
    if not structures:
        raise UsageError(f"{path} has no structures; {LEGAL}")
    return structures, found, how


def roles(path: Path, test: Path | None) -> dict[str, Path]:
    """The files to train and to test on, of a file or a folder."""
    try:
        if not path.is_dir():
            if not path.name.endswith(SUFFIXES) or not path.is_file():
                what = "no file of structures" if path.exists() else "not there"
                raise UsageError(f"{path} is {what}; {LEGAL}")
            return {"train": path} | ({"test": test} if test else {})
        files = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES) and file.name[0] != ".")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}); check the path") from error
    if len(files) == 1:
        return {"train": files[0]} | ({"test": test} if test else {})
    words = {file: re.split(r"[^a-z]+", file.name.lower().replace("training", "train")) for file in files}
    named = {role: [file for file in files if role in words[file]] for role in ("train", "test")}
    if len(named["train"]) == 1 and test:
        return {"train": named["train"][0], "test": test}
    if len(files) == 2 and len(named["train"]) == len(named["test"]) == 1:
        return {role: found[0] for role, found in named.items()}
    names = ", ".join(file.name for file in files) or "none"
    todo = f"name one, as {files[0]}, and another to test on where there is one" if files else LEGAL
    raise UsageError(f"the names of the files in {path} do not say which one to train on (found: {names}); "
                     f"{todo}")


def check(structures: Sequence[Structure], source: str, labelled: bool = True, closest: float = CLOSEST) -> None:
    """Raises `UsageError` for atoms closer than physical and, where they are asked for, missing energies."""
    for frame, structure in enumerate(structures):
        if labelled and structure.energy is None:
            raise UsageError(f"{at(source, frame)} has no energy; every structure to learn from needs one")
        radii = RADII[structure.numbers]
        (sender, receiver), shifts = structure.neighbours(2 * closest * radii.max())
        vectors = structure.positions[sender] - structure.positions[receiver] + shifts
        length, least = np.linalg.norm(vectors, axis=1), closest * (radii[sender] + radii[receiver])
        for edge in np.flatnonzero(length < least)[:1]:
            one, other = sorted((int(sender[edge]), int(receiver[edge])))
            pair = "-".join(SYMBOLS[structure.numbers[atom]] for atom in (one, other))
            raise UsageError(f"{at(source, frame)}: atoms {one} and {other} ({pair}, the first atom is 0) are "
                             f"{length[edge]:.3g} Angstrom apart, closer than physical ({least[edge]:.3g}); are the "
                             "lengths in another unit, or is an atom there twice?")


def isolated(structure: Structure, cutoff: float) -> str:
    """What is wrong where an atom has no neighbour within the cutoff, in words, else nothing; structures of one atom
    that is not periodic are free atoms, which are meant to have none."""
    (_, receiver), _ = structure.neighbours(cutoff)
    alone = np.setdiff1d(np.arange(len(structure)), receiver)
    if not len(alone) or (len(structure) == 1 and not any(structure.periodic)):
        return ""
    return (f"atom {alone[0]} ({SYMBOLS[structure.numbers[alone[0]]]}, the first atom is 0) has no neighbour within "
            f"{cutoff:g} Angstrom, so nothing could be learned of its forces; take a larger cutoff, or leave the "
            "structure out")


def at(source: str, frame: int) -> str:
    return f"{source}, frame {frame} (the first is 0)"


def array(name: str, values: object, shape: tuple[int, ...]) -> np.ndarray:
    """Finite floats of a shape."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: no numbers") from None
    if found.shape != shape:
        raise UsageError(f"{name} have the shape {list(found.shape)}; legal is {list(shape)}")
    if not np.isfinite(found).all():
        row = f" (atom {int(np.flatnonzero(~np.isfinite(found.reshape(len(found), -1)).all(1))[0])}, the first is 0)" \
            if found.ndim == 2 else ""
        raise UsageError(f"{name}: NaN or infinite{row}; every value must be a finite number")
    return found
