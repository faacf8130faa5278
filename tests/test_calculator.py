"""Networks as an ASE calculator: energy is conserved, structures relax, ensembles tell their spread."""

import numpy as np
import pytest
import torch
from torch import nn

from archfab.core import UsageError
from archfab.tasks.molecules.answers import spread
from archfab.tasks.molecules.data import Structure
from archfab.tasks.molecules.ensemble import ask_of

ase = pytest.importorskip("ase")
from ase import Atoms, units  # noqa: E402
from ase.build import bulk, molecule  # noqa: E402
from ase.md.verlet import VelocityVerlet  # noqa: E402
from ase.optimize import BFGS  # noqa: E402

from archfab.tasks.molecules.calculator import Potential, atoms_of, structure_of  # noqa: E402


class Morse(nn.Module):
    """A Morse potential that ends smoothly, with the inputs and outputs of the networks of the task."""

    def __init__(self, depth=1.5, best=2.35, width=1.4, r_max=4.0, species=(14,)):
        super().__init__()
        self.depth, self.best, self.width, self.r_max = depth, best, width, r_max
        self.register_buffer("species", torch.tensor(species))

    def forward(self, numbers, positions, edges, shifts, structure, cell):
        with torch.enable_grad():
            vectors = (positions[edges[0]] - positions[edges[1]] + shifts).requires_grad_(True)
            r = vectors.norm(dim=1)
            x = (r / self.r_max).clamp(max=1)
            smooth = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
            pairs = self.depth * ((1 - torch.exp(-self.width * (r - self.best))) ** 2 - 1) * smooth / 2
            slopes, = torch.autograd.grad(pairs.sum(), vectors)
        energy = torch.zeros(len(cell), dtype=torch.float64).index_add(0, structure[edges[1]], pairs.detach())
        forces = torch.zeros_like(positions).index_add(0, edges[1], slopes).index_add(0, edges[0], -slopes)
        pairs = vectors.detach()[:, :, None] * slopes[:, None]
        strained = torch.zeros_like(cell).index_add(0, structure[edges[1]], pairs)
        return energy, forces, strained / cell.det().abs().clamp(min=1e-9)[:, None, None]


def silicon(kelvin=None, seed=0):
    atoms = bulk("Si", cubic=True) * (2, 1, 1)
    if kelvin:
        momenta = np.random.default_rng(seed).normal(size=(len(atoms), 3))
        momenta *= np.sqrt(atoms.get_masses() * units.kB * kelvin)[:, None]
        atoms.set_momenta(momenta - momenta.mean(0))
    return atoms


def run(atoms, steps, femtoseconds=1.0):
    """Total energies of a run at constant energy."""
    found = []
    dynamics = VelocityVerlet(atoms, femtoseconds * units.fs)
    dynamics.attach(lambda: found.append(atoms.get_total_energy()))
    dynamics.run(steps)
    return np.array(found)


def test_energy_is_conserved_and_better_so_in_shorter_steps():
    drift = {}
    for femtoseconds in (2.0, 1.0):
        atoms = silicon(600)
        atoms.calc = Potential(Morse())
        energies = run(atoms, int(150 / femtoseconds), femtoseconds)
        drift[femtoseconds] = np.ptp(energies)
        assert atoms.calc.listed < len(energies) / 3 and atoms.get_kinetic_energy() > 0.1
    assert drift[1.0] < 2e-3 * len(silicon())
    assert drift[2.0] / drift[1.0] == pytest.approx(4, rel=0.35)        # the integrator is of second order


def test_a_skin_changes_no_trajectory():
    runs = []
    for skin in (0.0, 0.6):
        atoms = silicon(1500)
        atoms.calc = Potential(Morse(), skin=skin)
        run(atoms, 40)
        runs.append((atoms.positions, atoms.calc.listed))
    assert np.abs(runs[0][0] - runs[1][0]).max() < 1e-9 and runs[0][1] > 2 * runs[1][1]


def test_the_list_is_made_anew_when_cell_species_or_boundaries_change():
    atoms = silicon()
    atoms.calc = Potential(Morse(species=(14, 6)))
    for change in (lambda: atoms.set_cell(atoms.cell * 1.02, scale_atoms=True),
                   lambda: atoms.set_pbc((True, True, False)), lambda: atoms.set_atomic_numbers([6] * len(atoms)),
                   lambda: atoms.pop()):
        atoms.get_potential_energy()
        before = atoms.calc.listed
        change()
        energy = atoms.get_potential_energy()
        assert atoms.calc.listed == before + 1
        assert energy == pytest.approx(ask_of([Morse()], [Structure(np.full(len(atoms), 14), atoms.positions, np.array(
            atoms.cell), tuple(atoms.pbc))])[0].energy[0])


def test_forces_and_stress_are_derivatives():
    from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
    atoms = silicon()
    atoms.rattle(0.1, seed=1)
    atoms.calc = Potential(Morse())
    assert atoms.get_forces()[:3] == pytest.approx(calculate_numerical_forces(atoms, 1e-4, iatoms=range(3)), abs=1e-5)
    assert atoms.get_stress() == pytest.approx(calculate_numerical_stress(atoms, 1e-5), abs=1e-6)


def test_a_pair_relaxes_to_its_distance():
    atoms = Atoms("Si2", [[0, 0, 0], [0, 0, 2.8]])
    atoms.calc = Potential(Morse(r_max=40.0))
    BFGS(atoms, logfile=None).run(fmax=1e-5, steps=100)
    assert atoms.get_distance(0, 1) == pytest.approx(2.35, abs=2e-3)
    with pytest.raises(ase.calculators.calculator.PropertyNotImplementedError):     # ASE's word for: it has none
        atoms.get_stress()


def test_an_ensemble_answers_with_its_mean_and_its_spread():
    atoms = silicon()
    atoms.rattle(0.1, seed=2)
    members = [Morse(depth) for depth in (1.0, 1.5, 2.3)]
    alone = []
    for member in members:
        atoms.calc = Potential(member)
        alone.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
        assert "disagreement" not in atoms.calc.results
    atoms.calc = Potential(members)
    assert atoms.get_potential_energy() == pytest.approx(np.mean([one[0] for one in alone]))
    forces = np.stack([one[1] for one in alone])
    assert atoms.get_forces() == pytest.approx(forces.mean(0))
    assert atoms.get_stress() == pytest.approx(np.mean([one[2] for one in alone], 0))
    spread = np.sqrt(((forces - forces.mean(0)) ** 2).sum(2).mean(0))
    assert atoms.calc.results["forces_spread"] == pytest.approx(spread)
    assert atoms.calc.results["disagreement"] == pytest.approx(spread.max())
    assert atoms.calc.results["energy_spread"] == pytest.approx(np.std([one[0] for one in alone]))


def test_members_of_unlike_cutoffs_see_the_neighbours_that_each_had_alone():
    atoms = silicon()
    members = [Morse(r_max=3.0), Morse(r_max=5.0)]
    atoms.calc = Potential(members)
    together = atoms.get_potential_energy()
    alone = []
    for member in members:
        atoms.calc = Potential(member)
        alone.append(atoms.get_potential_energy())
    assert together == pytest.approx(np.mean(alone))


def test_structures_in_batches_are_those_alone():
    rng = np.random.default_rng(0)
    structures = [structure_of(silicon()) for _ in range(5)]
    structures = [Structure(s.numbers, s.positions + rng.normal(scale=0.1, size=s.positions.shape), s.cell, s.periodic)
                  for s in structures] + [Structure(np.array([14, 14]), np.array([[0.0, 0, 0], [2, 0, 0]]))]
    together, apart = (ask_of([Morse()], structures, atoms=atoms)[0] for atoms in (2000, 1))
    for one, other in zip((together.energy, together.stress, *together.forces),
                          (apart.energy, apart.stress, *apart.forces), strict=True):
        assert np.allclose(one, other)
    assert [len(each) for each in spread([together, apart])] == [16] * 5 + [2]


def test_structures_and_atoms_are_the_same_thing():
    for atoms in (silicon(), molecule("H2O")):
        again = atoms_of(structure_of(atoms))
        assert np.array_equal(again.positions, atoms.positions) and np.array_equal(again.numbers, atoms.numbers)
        assert np.array_equal(again.pbc, atoms.pbc) and (not atoms.pbc.any() or np.allclose(again.cell, atoms.cell))


def test_what_cannot_be_asked_is_said():
    atoms = molecule("H2O")
    atoms.calc = Potential(Morse())
    with pytest.raises(UsageError, match="have not learned H, O; they know Si"):
        atoms.get_potential_energy()
    with pytest.raises(UsageError, match="skin"):
        Potential(Morse(), skin=-1.0)
    with pytest.raises(UsageError, match="one network or more"):
        Potential([])
    with pytest.raises(UsageError, match="no cutoff"):
        Potential(nn.Linear(2, 2))
    atoms = silicon()
    atoms.calc = Potential(Morse(depth=float("nan")))
    with pytest.raises(UsageError, match="not finite"):
        atoms.get_potential_energy()


def network(r_max=4.0, species=(14,), seed=0):
    """An untrained network of the task, in float64."""
    from archfab.lowering.concrete import build
    from archfab.space import Space
    from archfab.tasks.molecules.graphs import inputs
    from archfab.tasks.molecules.spaces import nequip
    constants = {"species": list(species), "energies": [-5.0] * len(species), "scale": 1.0, "dtype": "float64",
                 "neighbours": [[r_max, 16.0]]}
    space = Space(nequip(constants, (r_max,), small=True))
    import random
    torch.manual_seed(seed)
    return build(space, space.sample(random.Random(seed)), inputs([structure_of(silicon())], r_max)).eval()


def test_a_network_of_the_task_is_such_a_module():
    pytest.importorskip("e3nn")
    from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
    atoms = bulk("Si")
    atoms.rattle(0.1, seed=3)
    atoms.calc = Potential([network(seed=seed) for seed in range(2)])
    assert atoms.get_forces() == pytest.approx(calculate_numerical_forces(atoms, 1e-4), abs=1e-5)
    assert atoms.get_stress() == pytest.approx(calculate_numerical_stress(atoms, 1e-5), abs=1e-6)
    assert atoms.calc.results["disagreement"] > 0
    atoms.calc = Potential(network())
    assert np.ptp(run(atoms, 20, 0.5)) < 5e-3 * len(atoms)


@pytest.mark.slow
def test_delivered_networks_are_a_calculator(tmp_path):
    pytest.importorskip("e3nn")
    from archfab import Budget, search
    from archfab.potential import calculator
    done = search("molecules", trials=1, deliver=1, random=False, strategy="random", run=tmp_path / "run",
                  trial_budget=Budget(steps=5), full_budget=Budget(steps=100))
    atoms = molecule("CH4")
    atoms.calc = calculator(done.best.bundle, done.best.bundle)
    assert atoms.calc.results.get("disagreement", 0.0) == 0 and np.isfinite(atoms.get_potential_energy())
    assert atoms.calc.results["disagreement"] == pytest.approx(0, abs=1e-12)
    before = np.abs(atoms.get_forces()).max()
    BFGS(atoms, logfile=None).run(fmax=0.1, steps=40)
    assert np.abs(atoms.get_forces()).max() < max(0.1, before)
    assert np.ptp(run(atoms, 50, 0.5)) < 5e-3 * len(atoms)


def test_folders_of_no_such_network_are_refused(tmp_path):
    from archfab.potential import calculator
    with pytest.raises(UsageError, match="one bundle or more"):
        calculator()
    with pytest.raises(UsageError):
        calculator(tmp_path)
