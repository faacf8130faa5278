"""Structures from .npz archives: one molecule at many positions, as rMD17 has it, or structures one after another."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from archfab.core import UsageError
from archfab.tasks.molecules.data import LEGAL, Structure, at
from archfab.tasks.molecules.elements import NUMBERS
from archfab.tasks.molecules.units import Units, read_units

NAMES = {
    "numbers": ("nuclear_charges", "numbers", "atomic_numbers", "z"),
    "positions": ("coords", "positions", "coordinates", "R"),
    "energy": ("energies", "energy", "E"),
    "forces": ("forces", "F"),
    "cell": ("cell", "lattice"),
    "periodic": ("pbc", "periodic"),
    "stress": ("stress",), "virial": ("virial",), "virial_stress": ("virial_stress",),
    "group": ("group",), "n_atoms": ("n_atoms",),
}
"""What an array may be called; the first name that is there counts."""
MOST_BYTES = 8 * 2**30


def read(path: Path, units: str, species: str | None) -> tuple[list[Structure], Units, str]:
    """The structures of an archive, its units, and what was made of it, in words.

    Archives that call their arrays as rMD17 or MD17 do (nuclear_charges and coords; z and R) are in kcal/mol and
    Angstrom, as those are; all others are in eV and Angstrom. Names that an archive gives itself (e_unit and r_unit, as
    sGDML writes them) come first, and what the user says comes before all.
    """
    arrays, there = load(path)
    known = {meaning: next((name for name in names if name in arrays), None) for meaning, names in NAMES.items()}
    if known["positions"] is None:
        raise UsageError(f"{path} has no positions, but {', '.join(sorted(there)) or 'nothing'}; {LEGAL}")
    try:
        found = read_units(units) if units != "auto" else units_of(arrays, known)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    data = {meaning: arrays[name] for meaning, name in known.items() if name is not None}
    for meaning, values in data.items():
        if values.dtype.kind not in ("U" if meaning == "group" else "US" if meaning == "numbers" else "") + "biuf":
            raise UsageError(f"{known[meaning]} of {path} has values of {values.dtype}; legal are numbers")
    how = ""
    if "numbers" not in data:
        data["numbers"], how = one_species(path, data, species)
    frames = concatenated(path, data) if "n_atoms" in data else stacked(path, data)
    structures = []
    for frame, each in enumerate(frames):
        try:
            structures.append(structure(each, found))
        except UsageError as error:
            raise UsageError(f"{at(str(path), frame)}: {error}") from None
    return structures, found, how


def load(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays that mean something here, by their names, and the names of all; what else there is is not unpacked."""
    wanted = {"e_unit", "r_unit"}.union(*NAMES.values())
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise UsageError(f"{path} is no .npz archive; {LEGAL}")
            assert archive.zip is not None
            if sum(int(info.file_size) for info in archive.zip.infolist()) > MOST_BYTES:
                raise UsageError(f"{path} unpacks to more than {MOST_BYTES >> 30} GiB; split it")
            return {name: archive[name] for name in archive.files if name in wanted}, archive.files
    except UsageError:
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise UsageError(f"{path} is damaged ({error}); write it anew") from None
    except (ValueError, LookupError, EOFError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError,
            SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path} is damaged or holds Python objects ({type(error).__name__}: {error}); write it anew "
                         "with numpy.savez") from None


def units_of(arrays: Mapping[str, np.ndarray], known: Mapping[str, str | None]) -> Units:
    said = [f"{kind}={arrays[name].astype(str)}" for kind, name in (("energy", "e_unit"), ("length", "r_unit"))
            if name in arrays]
    if said:
        return read_units(",".join(said))
    as_md17 = (known["numbers"], known["positions"]) in (("nuclear_charges", "coords"), ("z", "R"))
    return Units(energy="kcal/mol" if as_md17 else "eV")


def one_species(path: Path, data: Mapping[str, np.ndarray], species: str | None) -> tuple[np.ndarray, str]:
    """Atomic numbers of a file that names none: the user's element, or the one that the file's name begins with."""
    named = species or path.name.replace("-", "_").split("_")[0].split(".")[0]
    if named not in NUMBERS:
        raise UsageError(f"{path} does not say which elements its atoms are (no nuclear_charges, numbers or z), and "
                         f"'{named}' is none; give the element of all atoms as species, as in species=Si")
    atoms = data["positions"].shape[0] if "n_atoms" in data else data["positions"].shape[-2] \
        if data["positions"].ndim == 3 else 0
    return np.full(atoms, NUMBERS[named]), f"all atoms are {named}" + ("" if species else ", as the file's name says")


def stacked(path: Path, data: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Frames of equal atoms: positions [S, N, 3]."""
    positions = data["positions"]
    if positions.ndim == 2:
        positions = positions[None]
        data = {**data, **{name: data[name][None] for name in ("forces",) if name in data}}
    if positions.ndim != 3 or positions.shape[2] != 3 or not len(positions):
        raise UsageError(f"the positions of {path} have the shape {list(data['positions'].shape)}; legal is "
                         "[structures, atoms, 3], or [atoms, 3] with n_atoms, the number of atoms of each structure")
    number = len(positions)
    numbers = data["numbers"]
    if numbers.ndim == 1:
        numbers = np.broadcast_to(numbers, (number, len(numbers)))
    spread = {"numbers": numbers, "positions": positions}
    for meaning, values in data.items():
        if meaning in ("cell", "periodic") and values.ndim == (2 if meaning == "cell" else 1):
            values = np.broadcast_to(values, (number, *values.shape))
        spread.setdefault(meaning, values)
    return by_frame(path, {k: np.reshape(v, (number,)) if k == "energy" and v.size == number else v
                           for k, v in spread.items()}, number)


def concatenated(path: Path, data: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Frames of unlike size: positions [atoms of all frames, 3], cut as n_atoms [S] says."""
    sizes, atoms = data["n_atoms"], len(data["positions"])
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or (sizes < 0).any() or int(sizes.sum(dtype=object)) != atoms:
        raise UsageError(f"n_atoms of {path} does not cut its positions, {list(data['positions'].shape)}: legal are "
                         "whole numbers, one a structure, that sum to the number of positions")
    cuts = np.cumsum(sizes)[:-1]
    per_atom = {}
    for meaning in ("numbers", "positions", "forces"):
        if meaning in data:
            if len(data[meaning]) != atoms:
                raise UsageError(f"{path} has {len(data[meaning])} {meaning} for {atoms} atoms")
            per_atom[meaning] = np.split(data[meaning], cuts)
    rest = {meaning: values for meaning, values in data.items() if meaning not in (*per_atom, "n_atoms")}
    frames = by_frame(path, rest, len(sizes))
    return [{**frame, **{meaning: parts[i] for meaning, parts in per_atom.items()}} for i, frame in enumerate(frames)]


def by_frame(path: Path, data: Mapping[str, np.ndarray], number: int) -> list[dict[str, np.ndarray]]:
    for meaning, values in data.items():
        if not values.ndim or len(values) != number:
            there = len(values) if values.ndim else 1
            raise UsageError(f"{path} has {there} values of {meaning} for {number} structures; legal is one for each")
    return [{meaning: values[i] for meaning, values in data.items()} for i in range(number)]


def structure(frame: Mapping[str, np.ndarray], units: Units) -> Structure:
    """One frame in eV and Angstrom. With a cell and no word on it, all directions are periodic."""
    numbers = frame["numbers"]
    if numbers.dtype.kind in "US":
        wrong = [str(symbol) for symbol in numbers if str(symbol) not in NUMBERS]
        if wrong:
            raise UsageError(f"no element has the symbol '{wrong[0]}'")
        numbers = np.array([NUMBERS[str(symbol)] for symbol in numbers])
    cell = frame["cell"] * units.to_length if "cell" in frame else None
    periodic = np.ravel(frame["periodic"]).astype(bool) if "periodic" in frame else np.full(3, cell is not None)
    if len(periodic) == 1:
        periodic = np.repeat(periodic, 3)
    return Structure(numbers, frame["positions"] * units.to_length, cell, tuple(periodic),
                     float(frame["energy"]) * units.to_energy if "energy" in frame else None,
                     frame["forces"] * units.to_force if "forces" in frame else None,
                     stress(frame, cell, units), str(frame.get("group", "")))


def stress(frame: Mapping[str, np.ndarray], cell: np.ndarray | None, units: Units) -> np.ndarray | None:
    """The stress of a frame: as it is (six values: xx yy zz yz xz xy), from its virial (minus the stress times the
    volume), or from a `virial_stress` as VASP prints it (pressure is positive, kbar, xx yy zz xy yz zx)."""
    if "stress" in frame:
        return square(frame["stress"], "yz xz xy") * units.to_stress
    if "virial" in frame:
        if cell is None:
            raise UsageError("it has a virial and no cell")
        return -square(frame["virial"], "yz xz xy") * units.to_energy / max(abs(float(np.linalg.det(cell))), 1e-300)
    if "virial_stress" in frame:
        kbar = Units(stress=units.stress or "kbar")
        return -square(frame["virial_stress"], "xy yz xz") * kbar.to_stress
    return None


def square(values: np.ndarray, order: str) -> np.ndarray:
    """A symmetric matrix from its nine or its six values."""
    if values.size == 9:
        return np.reshape(values, (3, 3)).astype(float)
    if values.shape != (6,):
        raise UsageError(f"the stress has the shape {list(values.shape)}; legal are [3, 3] and [6]")
    found = np.diag(values[:3]).astype(float)
    for value, name in zip(values[3:], order.split(), strict=True):
        one, other = ("xyz".index(letter) for letter in name)
        found[one, other] = found[other, one] = value
    return found
