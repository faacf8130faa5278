"""The pair potential: it finds a planted one, and its forces and stresses are the derivatives of its energy."""

import numpy as np
import pytest

from archfab.core import UsageError
from archfab.tasks.molecules.baseline import PairPotential, basis, fit_pair_potential
from archfab.tasks.molecules.data import Structure, read_structures

CUTOFF = 5.0
SILICON = (True, True, True)


def envelope(r):
    x = np.minimum(r / CUTOFF, 1)
    return 1 - 28 * x**6 + 48 * x**7 - 21 * x**8


def morse(r, depth=1.5, width=1.4, best=1.6):
    """A Morse potential that ends smoothly at the cutoff."""
    return depth * ((1 - np.exp(-width * (r - best))) ** 2 - 1) * envelope(r)


def lennard_jones(r, depth=0.4, size=1.9):
    return 4 * depth * ((size / r) ** 12 - (size / r) ** 6) * envelope(r)


def planted(structure, phi, shift=-3.0):
    """Energy and forces of a pair potential, by central differences of the pair energy."""
    (sender, receiver), shifts = structure.neighbours(CUTOFF)
    vectors = structure.positions[sender] - structure.positions[receiver] + shifts
    r = np.linalg.norm(vectors, axis=1)
    slope = (phi(r + 1e-5) - phi(r - 1e-5)) / 2e-5
    forces = np.zeros_like(structure.positions)
    np.add.at(forces, receiver, vectors / r[:, None] * slope[:, None])
    return phi(r).sum() / 2 + shift * len(structure), forces


def clusters(number, rng, numbers=(14,) * 6, cell=None):
    """Random atoms, none closer than 1.3 Angstrom."""
    found = []
    while len(found) < number:
        positions = rng.uniform(0, 4.2, (len(numbers), 3))
        structure = Structure(np.array(numbers), positions, cell, (cell is not None,) * 3)
        if not structure.neighbours(1.3)[0].size:
            found.append(structure)
    return found


def labelled(structures, phi):
    return [Structure(s.numbers, s.positions, s.cell, s.periodic, *planted(s, phi)) for s in structures]


@pytest.mark.parametrize("phi", [morse, lennard_jones])
@pytest.mark.parametrize("cell", [None, np.array([[5.5, 0, 0], [1.5, 5.2, 0], [0.4, -1, 5.8]])])
def test_it_finds_a_planted_potential(phi, cell):
    rng = np.random.default_rng(0)
    data = labelled(clusters(60, rng, cell=cell), phi)
    found = fit_pair_potential(data, CUTOFF, 24, smoothness=0)
    r = np.linspace(1.4, 4.9, 50)
    assert np.abs(found.energy_between(14, 14, r) - phi(r)).max() < 2e-3 * np.abs(phi(r)).max()
    assert found.shifts == pytest.approx([-3.0], abs=1e-2)
    fresh = labelled(clusters(10, rng, cell=cell), phi)
    energies, forces = found.predict(fresh)
    scale = np.abs(np.concatenate([s.forces for s in fresh])).max()
    assert np.abs(np.concatenate(forces) - np.concatenate([s.forces for s in fresh])).max() < 5e-3 * scale
    assert energies == pytest.approx([s.energy for s in fresh], abs=0.02)


def random_potential(rng, species=(1, 6, 8)):
    number = len(species) * (len(species) + 1) // 2
    return PairPotential(CUTOFF, 8, species, rng.normal(size=(number, 8)), rng.normal(size=len(species)))


@pytest.mark.parametrize("cell", [None, np.diag([4.3, 4.6, 5.1]) + np.tril(np.full((3, 3), 0.7), -1)])
def test_forces_are_minus_the_gradient(cell):
    rng = np.random.default_rng(1)
    potential, (structure,) = random_potential(rng), clusters(1, rng, (1, 6, 8, 6, 1), cell)
    _, forces, _ = potential.answer(structure)
    assert forces.sum(0) == pytest.approx(np.zeros(3), abs=1e-12)
    for atom in range(5):
        for axis in range(3):
            step = np.zeros((5, 3))
            step[atom, axis] = 1e-5
            up, down = (potential.answer(Structure(structure.numbers, structure.positions + sign * step, cell,
                                                   structure.periodic))[0] for sign in (1, -1))
            assert forces[atom, axis] == pytest.approx(-(up - down) / 2e-5, abs=1e-6)


def test_stress_is_the_derivative_by_strain():
    rng = np.random.default_rng(2)
    cell = np.diag([4.3, 4.6, 5.1]) + np.tril(np.full((3, 3), 0.7), -1)
    potential, (structure,) = random_potential(rng), clusters(1, rng, (1, 6, 8, 6, 1), cell)
    stress = potential.answer(structure)[2]
    assert stress == pytest.approx(stress.T, abs=1e-12)
    for i in range(3):
        for j in range(3):
            energies = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[i, j] += sign * 1e-5
                energies.append(potential.answer(Structure(structure.numbers, structure.positions @ strain,
                                                           cell @ strain, structure.periodic))[0])
            assert stress[i, j] == pytest.approx((energies[0] - energies[1]) / 2e-5 / structure.volume, abs=1e-7)
    assert potential.answer(Structure(structure.numbers, structure.positions))[2] is None


def test_energy_and_forces_end_smoothly_at_the_cutoff():
    values, slopes = basis(np.array([CUTOFF - 1e-4, CUTOFF, CUTOFF + 1]), CUTOFF, 5)
    assert np.abs(values).max() < 1e-10 and np.abs(slopes).max() < 1e-6


def test_the_fit_is_that_of_all_rows_at_once(monkeypatch):
    rng = np.random.default_rng(3)
    data = labelled(clusters(20, rng), morse)
    at_once = fit_pair_potential(data, CUTOFF, 10)
    monkeypatch.setattr("archfab.tasks.molecules.baseline.ROWS", 30)
    assert fit_pair_potential(data, CUTOFF, 10).coefficients == pytest.approx(at_once.coefficients, rel=1e-6, abs=1e-8)


def test_what_cannot_be_fitted_or_answered_is_said():
    rng = np.random.default_rng(4)
    bare = clusters(3, rng)
    with pytest.raises(UsageError, match="no energies or forces"):
        fit_pair_potential(bare, CUTOFF)
    with pytest.raises(UsageError, match="no energies or forces"):
        fit_pair_potential([], CUTOFF)
    with pytest.raises(UsageError, match="not fitted to H; known: C, O"):
        random_potential(rng, (6, 8)).answer(Structure(np.array([6, 1]), np.eye(3)[:2]))
    with pytest.raises(UsageError, match="cutoff above 0"):
        fit_pair_potential(bare, -1.0)


@pytest.mark.shared
@pytest.mark.parametrize("name, share", [("rmd17-ethanol", 0.45), ("rmd17-aspirin", 0.5), ("mlearn-si", 0.4)])
def test_it_explains_most_of_the_forces_of_real_data(shared_data, name, share):
    data = read_structures(shared_data / name)
    _, forces = fit_pair_potential(data.train[::9], CUTOFF).predict(data.test[::9])
    truth = np.concatenate([each.forces for each in data.test[::9]])
    assert np.sqrt(((np.concatenate(forces) - truth) ** 2).mean() / (truth**2).mean()) < share


@pytest.mark.shared
def test_its_stress_has_the_sign_and_the_order_of_the_data(shared_data):
    data = read_structures(shared_data / "mlearn-si")
    potential = fit_pair_potential(data.train[::3], CUTOFF)
    strained = [each for each in data.train if each.group == "Elastic"]
    ours = np.stack([potential.answer(each)[2] for each in strained])
    theirs = np.stack([each.stress for each in strained])
    for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        assert np.corrcoef(ours[:, i, j], theirs[:, i, j])[0, 1] > 0.9
