"""Structures from extended XYZ files: a number of atoms, a line of `key=value`, a line an atom; then the next frame."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from archfab.core import UsageError
from archfab.tasks.molecules.archives import square
from archfab.tasks.molecules.data import Structure, at
from archfab.tasks.molecules.elements import NUMBERS, SYMBOLS
from archfab.tasks.molecules.units import Units, read_units

ENERGIES = ("REF_energy", "ref_energy", "dft_energy", "DFT_energy", "energy", "Energy", "free_energy")
FORCES = ("REF_forces", "ref_forces", "dft_forces", "DFT_forces", "forces", "force", "Forces")
STRESSES = ("REF_stress", "ref_stress", "dft_stress", "stress")
VIRIALS = ("REF_virial", "REF_virials", "dft_virial", "virial", "virials")
GROUPS = ("config_type", "group")
MOST_BYTES = 4 * 2**30
_PAIR = re.compile(r"""([^\s="']+)\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|[^\s"']*)""")
_TRUE, _FALSE = ("T", "True", "true", "1"), ("F", "False", "false", "0")


def read(path: Path, units: str, species: str | None) -> tuple[list[Structure], Units, str]:
    """The frames of a file, its units (eV and Angstrom where the user says none), and what was made of it, in words."""
    found = read_units(units) if units != "auto" else Units()
    structures: list[Structure] = []
    used: dict[str, str] = {}
    lines = text(path).splitlines()
    for start, number in frames(path, lines):
        frame = len(structures)
        try:
            structures.append(structure(lines[start + 1], lines[start + 2:start + 2 + number], found, used, start + 3))
        except UsageError as error:
            raise UsageError(f"{at(str(path), frame)}, line {start + 1}: {error}") from None
    return structures, found, ", ".join(f"{what} from '{key}'" for what, key in used.items())


def text(path: Path) -> str:
    """The text of a file, unpacked where it is packed."""
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UsageError(f"{path} is damaged ({error}); write it anew") from None
    if len(content) > MOST_BYTES:
        raise UsageError(f"{path} is longer than {MOST_BYTES >> 30} GiB; split it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text (byte {error.start}); an extended XYZ file is UTF-8") from None


def frames(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where each frame begins, and its number of atoms."""
    start = frame = 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        word = lines[start].strip()
        if not (word.isascii() and word.isdigit()) or len(word) > 9:
            raise UsageError(f"{at(str(path), frame)}, line {start + 1}: a frame begins with its number of atoms, not "
                             f"with '{word[:40]}'; does the frame before have more lines than it says?")
        number = int(word)
        if start + 2 + number > len(lines):
            raise UsageError(f"{at(str(path), frame)}, line {start + 1}: the file ends after "
                             f"{max(0, len(lines) - start - 2)} of {number} atoms; is it cut?")
        yield start, number
        start, frame = start + 2 + number, frame + 1


def structure(comment: str, rows: Sequence[str], units: Units, used: dict[str, str], line: int) -> Structure:
    """One frame in eV and Angstrom; adds to `used` which keys its energy and forces were read from."""
    about = {key: value[1:-1] if value[:1] in "\"'{[" and value else value for key, value in _PAIR.findall(comment)}
    columns = atoms(about.get("Properties", "species:S:1:pos:R:3"), rows, line)
    if "pos" not in columns or not {"species", "Z"} & set(columns):
        raise UsageError(f"its Properties name no {'species' if 'pos' in columns else 'pos'}, but "
                         f"{', '.join(columns)}; legal is 'species:S:1:pos:R:3:forces:R:3'")
    lattice = next((about[key] for key in ("Lattice", "lattice", "cell") if key in about), None)
    cell = None if lattice is None else np.reshape(numbers("Lattice", lattice, 9), (3, 3)) * units.to_length
    energy, forces = chosen("energy", about, ENERGIES, used), chosen("forces", columns, FORCES, used)
    return Structure(
        elements(columns), columns["pos"] * units.to_length, cell, directions(about.get("pbc"), cell is not None),
        None if energy is None else numbers(energy, about[energy], 1)[0] * units.to_energy,
        None if forces is None else columns[forces] * units.to_force, stress(about, cell, units, used),
        next((about[key] for key in GROUPS if key in about), ""))


def atoms(properties: str, rows: Sequence[str], line: int) -> dict[str, np.ndarray]:
    """The columns of the atoms' lines by their names: text or numbers, [N] or [N, width]."""
    words = properties.split(":")
    if len(words) % 3 or not all(kind in "SRIL" and len(kind) == 1 for kind in words[1::3]) \
            or not all(width.isascii() and width.isdigit() and 0 < int(width[:5]) < 10_000 for width in words[2::3]):
        raise UsageError(f"Properties='{properties[:80]}' is not name:kind:columns, with the kinds S, R, I and L")
    widths = [int(width[:5]) for width in words[2::3]]
    table = [row.split() for row in rows]
    for i, row in enumerate(table):
        if len(row) != sum(widths):
            raise UsageError(f"atom {i} (line {line + i}) has {len(row)} columns; its Properties name {sum(widths)}")
    columns, first = {}, 0
    for name, kind, width in zip(words[::3], words[1::3], widths, strict=True):
        values = [row[first:first + width] for row in table]
        first += width
        if kind in "RI":
            found = np.array([[number(name, value, line + i) for value in row] for i, row in enumerate(values)],
                             dtype=float).reshape(len(table), width)
        else:
            found = np.array(values, dtype=str).reshape(len(table), width)
        columns[name] = found[:, 0] if width == 1 else found
    return columns


def number(name: str, word: str, line: int | None = None) -> float:
    try:
        return float(word.replace("D", "e").replace("d", "e")) if "_" not in word else float("")
    except ValueError:
        where = "" if line is None else f" (line {line})"
        raise UsageError(f"{name}{where}: '{word[:40]}' is no number") from None


def numbers(name: str, value: str, count: int | None = None) -> np.ndarray:
    found = np.array([number(name, word) for word in re.sub(r"[\[\],]", " ", value).split()])
    if count is not None and len(found) != count:
        raise UsageError(f"{name} has {len(found)} numbers; legal are {count}")
    return found


def elements(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Atomic numbers from symbols or numbers."""
    if "species" not in columns:
        found = columns["Z"]
        if found.dtype.kind != "f" or found.ndim != 1 or not (found == found.round()).all():
            raise UsageError("Z are no whole numbers")
        return np.clip(found, -1, 1000).astype(np.int64)
    wrong = [str(symbol) for symbol in np.ravel(columns["species"]) if str(symbol) not in NUMBERS]
    if wrong:
        raise UsageError(f"unknown species '{wrong[0][:40]}'; legal are the symbols of elements, as in C, Si, H")
    return np.array([NUMBERS[str(symbol)] for symbol in np.ravel(columns["species"])], dtype=np.int64)


def directions(pbc: str | None, lattice: bool) -> tuple[bool, bool, bool]:
    """Along which lattice vectors it is periodic: all of them where only a lattice is given."""
    if pbc is None:
        return (lattice,) * 3
    words = re.sub(r"[\[\],]", " ", pbc).split()
    if len(words) == 1 and len(words[0]) == 3 and set(words[0]) <= set("TF"):
        words = list(words[0])
    if len(words) != 3 or not all(word in _TRUE + _FALSE for word in words):
        raise UsageError(f"pbc='{pbc[:40]}' is not three of T and F")
    one, two, three = (word in _TRUE for word in words)
    return one, two, three


def chosen(what: str, there: Mapping[str, object], names: Sequence[str], used: dict[str, str]) -> str | None:
    """The first of the names that is there; another one than in the frames before would mix levels of theory."""
    found = next((name for name in names if name in there), None)
    if found and used.setdefault(what, found) != found:
        raise UsageError(f"its {what} stands as '{found}', that of earlier frames as '{used[what]}'; give all frames "
                         "one name")
    return found


def stress(about: Mapping[str, str], cell: np.ndarray | None, units: Units, used: dict[str, str]) -> np.ndarray | None:
    """The stress in eV/Angstrom^3: as it is, or from the virial, minus the stress times the volume."""
    if (key := chosen("stress", about, STRESSES, used)) is not None:
        return square(numbers(key, about[key]), "yz xz xy") * units.to_stress
    if (key := chosen("virial", about, VIRIALS, used)) is None:
        return None
    if cell is None or not (volume := abs(float(np.linalg.det(cell)))):
        raise UsageError("it has a virial and no cell")
    return -square(numbers(key, about[key]), "yz xz xy") * units.to_energy / volume


def written(structures: Sequence[Structure]) -> str:
    """Structures with all that is known of them as the text of an extended XYZ file, in eV and Angstrom; read again,
    they are the same to the last bit."""
    lines = []
    for each in structures:
        about = [] if each.cell is None else [f'Lattice="{row(each.cell)}"']
        about.append("Properties=species:S:1:pos:R:3" + (":forces:R:3" if each.forces is not None else ""))
        about += [] if each.energy is None else [f"energy={each.energy!r}"]
        about += [] if each.stress is None else [f'stress="{row(each.stress)}"']
        about.append('pbc="' + " ".join("FT"[periodic] for periodic in each.periodic) + '"')
        about += [f'config_type="{each.group}"'] if each.group else []
        columns = each.positions if each.forces is None else np.concatenate([each.positions, each.forces], 1)
        lines += [str(len(each)), " ".join(about)]
        lines += [f"{SYMBOLS[kind]} {row(values)}" for kind, values in zip(each.numbers, columns, strict=True)]
    return "\n".join(lines) + "\n"


def row(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in np.ravel(values))
