"""Structures are read in eV and Angstrom, as ASE reads them, and wrong files and units are said aloud."""

import gzip
import io
import itertools
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from archfab.core import UsageError
from archfab.tasks.molecules import extxyz
from archfab.tasks.molecules.data import Structure, check, isolated, read_file, read_structures
from archfab.tasks.molecules.elements import NUMBERS, RADII, SYMBOLS, formula
from archfab.tasks.molecules.suspicion import free_energy, suspicions
from archfab.tasks.molecules.units import BOHR, HARTREE, Units, read_units

KCAL = 23.060548
WATER = np.array([[0.0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
RNG = np.random.default_rng(0)
MANY = WATER + RNG.normal(scale=0.02, size=(4, 3, 3))
FORCES = RNG.normal(size=(4, 3, 3))
ENERGIES = np.array([-2080.1, -2080.2, -2080.3, -2080.4])
CELL = np.array([[6.0, 0, 0], [1, 7, 0], [0, 0.5, 8]])

XYZ = """3
Lattice="6 0 0 1 7 0 0 0.5 8" Properties=species:S:1:pos:R:3:forces:R:3 energy=-2080.5 pbc="T T T" config_type=bulk
O 0.0 0.0 0.12 0.1 0.2 0.3
H 0.0 0.76 -0.48 0 0 -1.5e-1
H 0.0 -0.76 -0.48 -0.1 -0.2 -0.15
3
Properties=species:S:1:pos:R:3:tags:I:1:forces:R:3 name="two words" energy=-2080.25 pbc="F F F"
H 0.0 0.76 -0.48 7 0 0 0
O 0.0 0.0 0.12 8 0 0 0
H 0.0 -0.76 -0.48 9 0 0 0
"""


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def rmd17(**changes):
    return {"nuclear_charges": np.array([8, 1, 1]), "coords": MANY, "energies": ENERGIES * KCAL,
            "forces": FORCES * KCAL} | changes


def in_a_row(**changes):
    return {"numbers": np.array([8, 1, 1, 8, 1, 1]), "n_atoms": np.array([3, 3]), "positions": MANY[:2].reshape(-1, 3),
            "cell": np.stack([CELL, CELL]), "energy": ENERGIES[:2], "forces": FORCES[:2].reshape(-1, 3),
            "group": np.array(["one", "two"])} | changes


def lay(folder, **files):
    for name, content in files.items():
        (folder / name.replace("_npz", ".npz").replace("_xyz", ".xyz").replace("_gz", ".gz")).write_bytes(
            content.encode() if isinstance(content, str) else content)
    return folder


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_structures(path, **options)


def assert_same(one, other):
    assert np.array_equal(one.numbers, other.numbers) and one.periodic == other.periodic
    for name in ("positions", "cell", "energy", "forces", "stress"):
        first, second = getattr(one, name), getattr(other, name)
        assert (first is None) == (second is None), name
        assert first is None or np.allclose(first, second, rtol=1e-6), name


# --- what is read

def test_the_elements_are_those_of_ase():
    data = pytest.importorskip("ase.data")
    assert data.chemical_symbols == list(SYMBOLS)
    assert {i: radius for i, radius in enumerate(data.covalent_radii) if 0 < i < 97} == pytest.approx(
        {i: RADII[i] for i in range(1, 97)})
    assert NUMBERS["Si"] == 14 and formula(np.array([1, 6, 8, 1, 1, 6, 1, 1, 1])) == "C2H6O"


def test_extended_xyz_is_what_it_says(tmp_path):
    data = quiet(lay(tmp_path, a_xyz=XYZ) / "a.xyz")
    first, second = data.train
    assert first.numbers.tolist() == [8, 1, 1] and second.numbers.tolist() == [1, 8, 1] and data.test is None
    assert first.energy == -2080.5 and first.group == "bulk" and first.periodic == (True, True, True)
    assert np.array_equal(first.cell, CELL) and first.forces[1, 2] == -0.15 and first.volume == pytest.approx(336)
    assert second.cell is None and second.volume is None and not any(second.periodic)
    assert "energy from 'energy'" in data.source and "energies in eV" in data.source


@pytest.mark.parametrize("name", ["a.xyz", "a.extxyz", "a.xyz.gz"])
def test_extended_xyz_is_read_as_ase_reads_it(tmp_path, name):
    io_ = pytest.importorskip("ase.io")
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    frames = []
    for i, pbc in enumerate([(True,) * 3, (False,) * 3, (True, False, True)]):
        atoms = Atoms("OH2", MANY[i], cell=CELL, pbc=pbc)
        more = {"stress": RNG.normal(size=6)} if i == 0 else {}
        atoms.calc = SinglePointCalculator(atoms, energy=ENERGIES[i], forces=FORCES[i], **more)
        frames.append(atoms)
    io_.write(tmp_path / name, frames, format="extxyz")
    for atoms, ours in zip(io_.read(tmp_path / name, ":", format="extxyz"), quiet(tmp_path / name).train, strict=True):
        stress = atoms.get_stress(voigt=False) if ours.volume else None
        assert_same(ours, Structure(atoms.numbers, atoms.positions, np.array(atoms.cell), tuple(atoms.pbc),
                                    atoms.get_potential_energy(), atoms.get_forces(), stress))


def test_rmd17_is_in_kcal_by_mol(tmp_path):
    data = quiet(lay(tmp_path, a_npz=npz(**rmd17())))
    assert data.units.energy == "kcal/mol" and "kcal/mol" in data.source and "times 0.0433641" in data.source
    for i, structure in enumerate(data.train):
        assert_same(structure, Structure(np.array([8, 1, 1]), MANY[i], energy=ENERGIES[i], forces=FORCES[i]))
    says = npz(**rmd17(e_unit=np.array("eV"), r_unit=np.array("Ang"), energies=ENERGIES, forces=FORCES))
    assert quiet(lay(tmp_path, a_npz=says)).train[1].energy == pytest.approx(ENERGIES[1])
    assert quiet(tmp_path, units="eV").train[1].energy == pytest.approx(ENERGIES[1])
    spoken = npz(**rmd17(e_unit=np.array(b"eV"), other=np.array([{}])))         # sGDML's has objects beside the arrays
    assert quiet(lay(tmp_path, a_npz=spoken)).train[1].energy == pytest.approx(ENERGIES[1] * KCAL)


def test_an_archive_of_one_structure_is_read(tmp_path):
    one = npz(**rmd17(coords=MANY[0], energies=np.array(ENERGIES[0] * KCAL), forces=FORCES[0] * KCAL))
    (found,) = quiet(lay(tmp_path, a_npz=one)).train
    assert_same(found, Structure(np.array([8, 1, 1]), MANY[0], energy=ENERGIES[0], forces=FORCES[0]))


def test_structures_one_after_another_are_cut(tmp_path):
    data = quiet(lay(tmp_path, a_npz=npz(**in_a_row())))
    assert [each.group for each in data.train] == ["one", "two"]
    assert_same(data.train[1], Structure(np.array([8, 1, 1]), MANY[1], CELL, (True,) * 3, ENERGIES[1], FORCES[1]))


def test_an_element_is_read_from_the_name_and_said(tmp_path):
    arrays = in_a_row()
    del arrays["numbers"]
    (tmp_path / "Si_training.npz").write_bytes(npz(**arrays))
    data = quiet(tmp_path, closest=0.1)
    assert set(data.train[0].numbers) == {14} and "all atoms are Si, as the file's name says" in data.source
    assert set(quiet(tmp_path, species="He", closest=0.1).train[0].numbers) == {2}
    (tmp_path / "Si_training.npz").rename(tmp_path / "bulk.npz")
    with pytest.raises(UsageError, match="does not say which elements"):
        quiet(tmp_path)


def test_stress_virial_and_the_order_of_vasp_agree(tmp_path):
    stress = np.array([[1.0, 0.4, 0.5], [0.4, 2, 0.6], [0.5, 0.6, 3]]) * 0.01
    volume = np.linalg.det(CELL)
    vasp = -stress[[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]] / Units(stress="kbar").to_stress
    voigt = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    for name, values in (("stress", stress), ("stress", voigt), ("virial", -stress * volume), ("virial_stress", vasp)):
        data = quiet(lay(tmp_path, a_npz=npz(**in_a_row(), **{name: np.stack([values] * 2)})))
        assert data.train[0].stress == pytest.approx(stress)
    for key, values in (("stress", stress), ("virial", -stress * volume)):
        words = " ".join(map(str, values.ravel()))
        text = XYZ.replace("config_type", f'{key}="{words}" config_type')
        assert quiet(lay(tmp_path, b_xyz=text) / "b.xyz").train[0].stress == pytest.approx(stress)


def test_roles_are_read_from_the_names(tmp_path):
    lay(tmp_path, water_train_01_npz=npz(**rmd17()), water_test_01_npz=npz(**rmd17(coords=MANY + 1)))
    data = quiet(tmp_path)
    assert data.test[0].positions[0, 0] == pytest.approx(data.train[0].positions[0, 0] + 1)
    one = quiet(tmp_path / "water_test_01.npz")
    assert one.test is None and len(one.train) == 4
    assert len(quiet(tmp_path / "water_test_01.npz", test=tmp_path / "water_train_01.npz").test) == 4
    lay(tmp_path, train_300_xyz=XYZ)
    with pytest.raises(UsageError, match=r"do not say which one to train on.*train_300\.xyz.*name one"):
        quiet(tmp_path)


def test_what_is_written_is_read_again_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(7)
    stress = np.diag(rng.normal(size=3))
    data = [Structure(np.array([8, 1, 1]), WATER + rng.normal(scale=0.01, size=(3, 3)), *more) for more in (
        (None, (False,) * 3, -1 / 3, rng.normal(size=(3, 3)), None, "two words"),
        (CELL / 3 * 3.1, (True,) * 3, rng.normal(), rng.normal(size=(3, 3)), stress),
        (CELL, (True, False, True), 1e-17, rng.normal(size=(3, 3))))]
    (tmp_path / "a.xyz").write_text(extxyz.written(data))
    for one, other in zip(quiet(tmp_path / "a.xyz").train, data, strict=True):
        assert one.energy == other.energy and one.group == other.group and one.periodic == other.periodic
        for name in ("numbers", "positions", "forces", "cell", "stress"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
    (tmp_path / "b.xyz").write_text(extxyz.written([Structure(np.array([2]), np.zeros((1, 3)))]))
    assert quiet(tmp_path / "b.xyz", labelled=False).train[0].energy is None


# --- units

@pytest.mark.parametrize("text, energy, length, force", [
    ("eV", 1, 1, 1), ("kcal/mol", 1 / 23.060548, 1, 1 / 23.060548), ("kJ/mol", 1 / 96.485332, 1, 1 / 96.485332),
    ("Hartree,Bohr", 27.2113862, 0.529177211, 51.4220675), ("Ry, bohr", 13.6056931, 0.529177211, 25.7110337),
    ("meV,nm", 1e-3, 10, 1e-4), ("energy=Hartree,force=eV/Angstrom", 27.2113862, 1, 1)])
def test_units_are_those_of_codata(text, energy, length, force):
    units = read_units(text)
    assert (units.to_energy, units.to_length, units.to_force) == pytest.approx((energy, length, force), rel=1e-7)
    ase = pytest.importorskip("ase.units")
    assert pytest.approx((ase.Hartree, ase.Bohr, ase.GPa), rel=1e-6) == (HARTREE, BOHR, Units(stress="GPa").to_stress)


def test_units_that_are_said_are_converted(tmp_path):
    text = read_file(lay(tmp_path, a_xyz=XYZ) / "a.xyz", "Hartree,Bohr")[0][0]
    assert text.energy == pytest.approx(-2080.5 * HARTREE) and text.positions[1, 1] == pytest.approx(0.76 * BOHR)
    assert text.forces[1, 2] == pytest.approx(-0.15 * HARTREE / BOHR) and text.cell[0, 0] == pytest.approx(6 * BOHR)


@pytest.mark.parametrize("text, message", [
    ("kcl/mol", "no unit of length named 'kcl/mol'"), ("energy=Bohr", "unit of energy"),
    ("force=eV", "no energy by a length"), ("mass=kg", "no quantity named 'mass'")])
def test_unknown_units_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        read_units(text)


# --- suspicions

def scaled(structures, energy=1.0, force=1.0, length=1.0):
    return [replace(s, energy=s.energy * energy, forces=s.forces * force, positions=s.positions * length,
                    cell=None if s.cell is None else s.cell * length, stress=None) for s in structures]


def harmonic(number=200, seed=0):
    """Water with springs between its atoms, at room temperature or so, turned about, with its energies and forces."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        positions = (WATER + rng.normal(scale=0.035, size=(3, 3))) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
        energy, forces = -2079.0, np.zeros((3, 3))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            vector = positions[i] - positions[j]
            length = np.linalg.norm(vector)
            stretch = length - np.linalg.norm(WATER[i] - WATER[j])
            energy += 12 * stretch**2
            forces[i] -= 24 * stretch * vector / length
            forces[j] += 24 * stretch * vector / length
        found.append(Structure(np.array([8, 1, 1]), positions, energy=energy, forces=forces))
    return found


WRONG_UNITS = {
    "energy in kcal/mol": (KCAL, 1), "energy in Hartree": (1 / HARTREE, 1), "energy as kcal/mol": (1 / KCAL, 1),
    "energy as Hartree": (HARTREE, 1), "forces in kcal/mol": (1, KCAL), "forces in Hartree": (1, 1 / HARTREE),
    "all in kcal/mol": (KCAL, KCAL), "all as kcal/mol": (1 / KCAL, 1 / KCAL),
    "atomic units": (1 / HARTREE, BOHR / HARTREE, 1 / BOHR), "gradients": (1, -1)}


def test_right_units_are_not_suspected():
    for seed in range(10):
        for number in (5, 20, 60):
            assert suspicions(harmonic(number, seed)) == []
    assert suspicions([]) == []


@pytest.mark.parametrize("name", WRONG_UNITS)
def test_wrong_units_are_suspected(name):
    assert suspicions(scaled(harmonic(), *WRONG_UNITS[name]))


def test_the_unit_is_guessed():
    data = harmonic()
    assert "is the energy in kcal/mol (a factor of 23.06)" in suspicions(scaled(data, KCAL))[0]
    assert "is the energy in Hartree" in suspicions(scaled(data, 1 / HARTREE))[0]
    assert "is the force in kcal/mol (a factor of 23.06)" in suspicions(scaled(data, 1, KCAL))[0]
    assert "wrong sign" in suspicions(scaled(data, 1, -1))[0]


def test_suspicions_are_warned_of(tmp_path):
    data = harmonic(100)
    arrays = {"numbers": data[0].numbers, "positions": np.stack([s.positions for s in data]),
              "energies": np.array([s.energy for s in data]) * KCAL, "forces": np.stack([s.forces for s in data])}
    with pytest.warns(UserWarning, match="energy in kcal/mol.*read with energies in eV.*--units kcal/mol") as said:
        found = read_structures(lay(tmp_path, a_npz=npz(**arrays)))
    assert found.suspicions and len(said) == 1


def test_energies_of_free_atoms_are_about_right():
    exact = {1: -0.5, 2: -2.9037, 6: -37.845, 8: -75.067, 14: -289.36, 26: -1263.6}      # Hartree, not relativistic
    for number, energy in exact.items():
        assert free_energy(np.array([number]))[0] == pytest.approx(energy * HARTREE, rel=0.03)


SLOW = [pytest.param(name, marks=pytest.mark.slow)
        for name in ("rmd17-aspirin", "3bpa/train_300K.xyz.gz", "3bpa/train_mixedT.xyz.gz")]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["rmd17-ethanol", "mlearn-si", *SLOW])
def test_real_data_in_right_units_are_not_suspected_and_in_wrong_ones_are(shared_data, name):
    data = read_structures(shared_data / name)
    assert data.suspicions == ()        # of the training and of the test structures
    for number in (20, 50):
        assert suspicions(data.train[:number]) == []
        assert suspicions(data.train[-number:]) == []
    for wrong, factors in WRONG_UNITS.items():      # of cohesive energies of a stiff crystal this one cannot be told
        if (name, wrong) != ("mlearn-si", "all as kcal/mol"):
            assert suspicions(scaled(data.train[-120:], *factors)), wrong


@pytest.mark.shared
def test_folders_of_real_data_are_read(shared_data):
    ethanol = read_structures(shared_data / "rmd17-ethanol")
    assert len(ethanol.train) == len(ethanol.test) == 1000 and formula(ethanol.train[0].numbers) == "C2H6O"
    assert np.mean([s.energy for s in ethanol.train]) == pytest.approx(-97076.263 / 23.060548, abs=1e-3)
    silicon = read_structures(shared_data / "mlearn-si")
    assert sum(map(len, silicon.train)) == 13233 and sum(map(len, silicon.test)) == 1525
    energies = [s.energy / len(s) for s in silicon.train]
    assert (min(energies), max(energies)) == pytest.approx((-5.425, -4.567), abs=1e-3)
    with pytest.raises(UsageError, match=r"do not say which one.*iso_atoms.xyz.gz"):
        read_structures(shared_data / "3bpa")


@pytest.mark.shared
def test_silicon_stress_is_the_slope_of_its_energy(shared_data):
    """Strained along x: between neighbours on the curve, the energy changes by the mean stress times the strain."""
    cells = [s for s in read_structures(shared_data / "mlearn-si").train if s.group == "Elastic" and len(s) == 64
             and abs(s.cell[[1, 2], [1, 2]] - 10.937456).max() < 1e-4
             and abs(s.cell - np.diag(np.diag(s.cell))).max() < 1e-6]
    cells.sort(key=lambda s: s.cell[0, 0])
    assert len(cells) >= 6
    for one, other in itertools.pairwise(cells):
        volume, strain = (one.volume + other.volume) / 2, np.log(other.cell[0, 0] / one.cell[0, 0])
        assert other.energy - one.energy == pytest.approx(
            volume * strain * (one.stress[0, 0] + other.stress[0, 0]) / 2, rel=0.05, abs=0.06)


# --- what is refused

def atom(**changes):
    return {"numbers": np.array([8, 1, 1]), "positions": WATER} | changes


@pytest.mark.parametrize("changes, message", [
    ({"numbers": np.zeros(0, int), "positions": np.zeros((0, 3))}, "no atoms"),
    ({"numbers": np.array([8, 1, 0])}, "atomic number 0"), ({"numbers": np.array([8, 1, 119])}, "atomic number 119"),
    ({"numbers": np.array([8, 1, 1.5])}, "atomic number"),
    ({"positions": WATER[:2]}, r"shape \[2, 3\]; legal is \[3, 3\]"),
    ({"positions": np.where(np.eye(3), np.nan, WATER)}, r"NaN or infinite \(atom 0"),
    ({"positions": [["a"] * 3] * 3}, "no numbers"), ({"energy": np.inf}, "energy: NaN or infinite"),
    ({"forces": WATER[:, :2]}, "shape"), ({"forces": np.full((3, 3), np.nan)}, "forces: NaN"),
    ({"cell": np.zeros((3, 3)), "periodic": (True,) * 3}, "degenerate"), ({"periodic": (True,) * 3}, "need a cell"),
    ({"cell": np.array([[1.0, 0, 0], [2, 0, 0], [0, 0, 1]]), "periodic": (True,) * 3}, "degenerate"),
    ({"periodic": (True,)}, "three lattice vectors"), ({"stress": np.eye(3)}, "no volume")])
def test_a_structure_that_cannot_be_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        Structure(**atom(**changes))


def test_non_orthogonal_and_left_handed_cells_are_as_good_as_others():
    left = Structure(**atom(cell=CELL[::-1].copy(), periodic=(True,) * 3))
    right = Structure(**atom(cell=CELL, periodic=(True,) * 3))
    assert left.volume == pytest.approx(right.volume) and left.volume > 0
    assert left.neighbours(7.0)[0].shape == right.neighbours(7.0)[0].shape


FRAME = r"frame 1 \(the first is 0\)"
WRONG = {
    "a.xyz": {
        "no number": (XYZ.replace("3\nProp", "x\nProp"), FRAME + ", line 6: a frame begins with its number of atoms"),
        "cut": (XYZ[:-40], FRAME + ".*ends after 2 of 3 atoms|columns"), "no frames": ("\n\n", "has no structures"),
        "no atoms": (XYZ + "0\n\n", r"frame 2 .*no atoms"),
        "unknown species": (XYZ.replace("H 0.0 0.76 -0.48 7", "Hx 0.0 0.76 -0.48 7"), FRAME + ".*unknown species 'Hx'"),
        "NaN": (XYZ.replace("O 0.0 0.0 0.12 8", "O 0.0 nan 0.12 8"), FRAME + r".*positions: NaN or infinite \(atom 1"),
        "NaN forces": (XYZ.replace("48 7 0 0 0", "48 7 0 inf 0"), FRAME + ".*forces: NaN"),
        "NaN energy": (XYZ.replace("-2080.25", "nan"), FRAME + ".*the energy: NaN"),
        "no energy": (XYZ.replace("energy=-2080.25", ""), FRAME + " has no energy"),
        "two keys": (XYZ.replace("energy=-2080.25", "REF_energy=1"), FRAME + ".*'REF_energy', that of earlier frames"),
        "columns": (XYZ.replace("8 0 0 0", "8 0 0"), FRAME + r".*atom 1 \(line 9\) has 7 columns; .* name 8"),
        "word": (XYZ.replace("O 0.0 0.0 0.12 8", "O 0.0 zero 0.12 8"), FRAME + ".*line 9.*'zero' is no number"),
        "lattice": (XYZ.replace("0.5 8\"", "0.5\""), "frame 0.*Lattice has 8 numbers; legal are 9"),
        "degenerate": (XYZ.replace("0 0.5 8\"", "6 0 0\""), "frame 0.*degenerate"),
        "pbc": (XYZ.replace("T T T", "T T maybe"), "frame 0.*pbc='T T maybe'"),
        "Properties": (XYZ.replace("forces:R:3 name", "forces:Q:3 name"), FRAME + ".*is not name:kind"),
        "no pos": (XYZ.replace(":pos:R:3:tags", ":place:R:3:tags"), FRAME + ".*name no pos"),
        "close": (XYZ.replace("H 0.0 -0.76 -0.48 9", "H 0.0 0.70 -0.48 9"),
                  FRAME + r".*atoms 0 and 2 \(H-H.*0.06 Angstrom apart, closer than physical"),
        "not text": (b"3\n\xff\xfe\n", "is no text"), "other format": ("hello", "frame 0.*a frame begins with"),
    },
    "a.xyz.gz": {"cut": (gzip.compress(XYZ.encode())[:-20], "is damaged"), "text": ("hello", "is damaged")},
    "a.npz": {
        "cut": (npz(**rmd17())[:-100], "is damaged"), "text": ("hello", "is damaged|no .npz"),
        "names": (npz(x=ENERGIES), "has no positions, but x"),
        "objects": (npz(**rmd17(coords=MANY.astype(object))), "damaged"),
        "lengths": (npz(**rmd17(energies=ENERGIES[:-1])), "3 values of energy for 4 structures"),
        "NaN": (npz(**rmd17(coords=np.where(np.arange(4)[:, None, None] == 1, np.nan, MANY))), FRAME + ".*NaN"),
        "numbers": (npz(**rmd17(nuclear_charges=np.array([8, 1]))), "shape"), "text in place": (
            npz(**rmd17(energies=np.array(["a"] * 4))), "energies of .* has values of"),
        "species": (npz(**rmd17(nuclear_charges=np.array([8, 1, 119]))), "frame 0.*atomic number 119"),
        "symbols": (npz(**rmd17(nuclear_charges=np.array(["O", "H", "Q"]))), "symbol 'Q'"),
        "flat": (npz(**rmd17(coords=MANY.ravel())), r"shape \[36\]"), "no energies": (
            npz(**{k: v for k, v in rmd17().items() if k != "energies"}), "frame 0 .* has no energy"),
        "cuts": (npz(**in_a_row(n_atoms=np.array([3, 2]))), "n_atoms of .* does not cut"),
        "negative cuts": (npz(**in_a_row(n_atoms=np.array([7, -1]))), "n_atoms of"),
        "empty frame": (npz(**in_a_row(n_atoms=np.array([0, 6]), )), "frame 0.*no atoms"),
        "cells": (npz(**in_a_row(cell=np.stack([CELL, CELL * 0]))), FRAME + ".*degenerate"),
        "forces": (npz(**in_a_row(forces=FORCES[0])), "3 forces for 6 atoms"),
        "close": (npz(**rmd17(coords=MANY * 0.1)), "closer than physical .*are the lengths in another unit"),
        "unit": (npz(**rmd17(e_unit=np.array("stone"))), "unit of energy named 'stone'"),
    },
}


@pytest.mark.parametrize("file, name", [(file, name) for file in WRONG for name in WRONG[file]])
def test_wrong_data_is_refused_with_file_and_frame(tmp_path, file, name):
    content, message = WRONG[file][name]
    (tmp_path / file).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError) as caught:
        quiet(tmp_path / file)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "missing.npz", "a.csv", "\0.xyz", "n" * 5000, "folder", "folder.xyz"])
def test_a_path_of_no_structures_is_refused(tmp_path, name):
    lay(tmp_path, a_xyz=XYZ)
    (tmp_path / "a.csv").write_text("1,2")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.xyz").mkdir()
    with pytest.raises(UsageError, match=r"legal are|cannot be read"):
        quiet(tmp_path / name)


def test_isolated_atoms_are_named():
    water = Structure(**atom())
    assert isolated(water, 2.0) == isolated(Structure(np.array([8]), np.zeros((1, 3))), 2.0) == ""
    far = Structure(np.array([8, 1, 1]), WATER + [[0, 0, 0], [0, 0, 0], [0, 0, 9]])
    assert isolated(far, 2.0).startswith("atom 2 (H, the first atom is 0) has no neighbour within 2 Angstrom")
    assert "atom 0" in isolated(Structure(np.array([18]), np.zeros((1, 3)), np.eye(3) * 9, (True,) * 3), 5.0)


def test_periodic_images_may_be_too_close():
    with pytest.raises(UsageError, match="closer than physical"):
        check([Structure(np.array([14]), np.zeros((1, 3)), np.diag([9.0, 9, 0.5]), (True,) * 3, energy=0.0)], "here")


# --- whatever the bytes

VALID = {"a.xyz": XYZ.encode(), "a.xyz.gz": gzip.compress(XYZ.encode(), mtime=0), "a.npz": npz(**rmd17()),
         "b.npz": npz(**in_a_row(stress=np.stack([np.eye(3)] * 2)))}
MANGLED = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


def read_or_refuse(folder, name, data):
    (folder / name).write_bytes(data)
    try:
        found = quiet(folder / name)
    except UsageError as error:
        assert name in str(error)
    else:
        assert all(np.isfinite(s.positions).all() and s.energy is not None for s in found.train)


@pytest.mark.parametrize("name", VALID)
@MANGLED
@given(data=st.binary(max_size=200), keep=st.sampled_from([0, 4, 16, 64]))
@example(data=b"", keep=0)
def test_random_bytes_are_refused_or_read(tmp_path_factory, name, data, keep):
    read_or_refuse(tmp_path_factory.mktemp("mangled"), name, VALID[name][:keep] + data)


@pytest.mark.parametrize("name", VALID)
@MANGLED
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
       part=st.floats(0.5, 1))
def test_mutated_and_cut_files_are_refused_or_read(tmp_path_factory, name, changes, part):
    data = bytearray(VALID[name])
    for where, value in changes:
        data[int(where * len(data))] = value
    kept = int(part * len(data)) if part < 0.9 else len(data)
    read_or_refuse(tmp_path_factory.mktemp("mangled"), name, bytes(data[:kept]))


WORDS = st.sampled_from([
    "3", "0", "-1", "1e999", "nan", "T", '"', "=", "Properties=", "pos:R:3", ":", "Lattice=", "\n", " ", "H", "O 0 0 0",
    "energy=", "1_0", "²", "energy=1", "stress=", "virial=", '"1 2 3"', "{", "[1,2]"])


@MANGLED
@given(words=st.lists(WORDS, max_size=30), at=st.integers(0, len(XYZ)), cut=st.integers(0, 60))
def test_text_of_the_format_s_own_words_is_refused_or_read(tmp_path_factory, words, at, cut):
    text = XYZ[:at] + "".join(words) + XYZ[at + cut:]
    read_or_refuse(tmp_path_factory.mktemp("mangled"), "a.xyz", text.encode())


# A change inside of an archive's member fails its checksum before anything is read, so these write it anew.
@MANGLED
@given(name=st.sampled_from(sorted(in_a_row())), where=st.integers(0, 11),
       value=st.sampled_from([0, -1, np.nan, np.inf, 1e308, -1e308, 2**31, 5]))
def test_odd_values_are_refused_or_read(tmp_path_factory, name, where, value):
    arrays = in_a_row(stress=np.stack([np.eye(3)] * 2))
    if arrays[name].dtype.kind != "U":
        with np.errstate(invalid="ignore"):
            arrays[name] = arrays[name].copy()
            arrays[name].flat[where % arrays[name].size] = np.array(value).astype(arrays[name].dtype)
    read_or_refuse(tmp_path_factory.mktemp("mangled"), "a.npz", npz(**arrays))
