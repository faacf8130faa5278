"""The potential: symmetries in float64, forces and stresses against finite differences, e3nn as the oracle."""

import random

import numpy as np
import pytest
import torch

from archfab.core import BuildError
from archfab.lowering.concrete import build
from archfab.space import Space
from archfab.tasks.molecules import spaces
from archfab.tasks.molecules.coupling import coupling, features_of, harmonics, reached
from archfab.tasks.molecules.data import Structure
from archfab.tasks.molecules.graphs import inputs
from archfab.tasks.molecules.interaction import Gate, Interaction
from archfab.tasks.molecules.parts import Bessel, Dense, Mix, PathWeights, envelope, part
from archfab.tasks.molecules.potential import Potential

CONSTANTS = {"species": [1, 6, 8], "energies": [-1.0, -2.0, -3.0], "scale": 1.3,
             "neighbours": [[2.0, 3.0], [5.0, 10.0]], "dtype": "float64"}
NETWORKS = {
    "l_max 1": {"l_max": 1, "parity": "natural", "layers": 2},
    "l_max 2, both parities": {"l_max": 2, "parity": "both", "layers": 3},
    "l_max 0": {"l_max": 0, "parity": "natural", "layers": 3},
    "correlation 3": {"l_max": 1, "correlation": 3, "layers": 2},
    "correlation 2": {"l_max": 2, "correlation": 2, "layers": 1},
}


def network(name, r_max=3.0, seed=0, dtype="float64"):
    about = NETWORKS[name]
    space = Space((spaces.mace if "correlation" in about else spaces.nequip)({**CONSTANTS, "dtype": dtype}, (r_max,)))
    genotype = space.fix({"features": 8, "radial.layers": 1, "radial.width": 16, "basis": 6, "r_max": r_max, **about},
                         random.Random(0))
    torch.manual_seed(seed)
    return build(space, genotype, inputs([molecule()], r_max)).eval()


def molecule(seed=0, atoms=7):
    """Atoms at random, no two closer than 0.8 Angstrom."""
    rng = np.random.default_rng(seed)
    places = []
    while len(places) < atoms:
        place = rng.uniform(-1.6, 1.6, 3)
        if all(np.linalg.norm(place - other) > 0.8 for other in places):
            places.append(place)
    return Structure(rng.choice([1, 6, 8], atoms), np.array(places))


def crystal(seed=0):
    """A triclinic cell, smaller than the cutoff in one direction."""
    rng = np.random.default_rng(seed)
    cell = np.array([[3.1, 0.0, 0.0], [0.7, 2.8, 0.0], [-0.4, 0.5, 3.4]])
    places = np.array([[0, 0, 0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0, 0.5, 0.5]]) + rng.uniform(-0.05, 0.05, (4, 3))
    return Structure(np.array([6, 8, 6, 1]), places @ cell, cell=cell, periodic=(True, True, True))


def changed(structure, **changes):
    return Structure(**{**{name: getattr(structure, name) for name in ("numbers", "positions", "cell", "periodic")},
                        **changes})


def turn(seed=0, mirrored=False):
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix)) * (-1 if mirrored else 1)


def ask(model, *structures):
    with torch.no_grad():
        return [x.numpy() for x in model(*inputs(structures, model.r_max))]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("make", [molecule, crystal])
def test_energies_are_the_same_and_forces_turn_with_the_atoms(name, mirrored, make):
    model, structure, matrix = network(name), make(), turn(mirrored=mirrored)
    energy, forces, stress = ask(model, structure)
    turned = changed(structure, positions=structure.positions @ matrix.T + [3.0, -7.0, 0.5],
                     cell=None if structure.cell is None else structure.cell @ matrix.T)
    there = ask(model, turned)
    assert np.abs(forces).max() > 1e-3
    assert np.abs(there[0] - energy).max() < 1e-12
    assert np.abs(there[1] - forces @ matrix.T).max() < 1e-12
    assert np.abs(there[2] - matrix @ stress @ matrix.T).max() < 1e-12


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_of_atoms_does_not_matter_and_nothing_pulls_itself(name):
    model, structure = network(name), molecule()
    energy, forces, _ = ask(model, structure)
    order = np.random.default_rng(3).permutation(len(structure))
    there = ask(model, changed(structure, numbers=structure.numbers[order], positions=structure.positions[order]))
    assert np.abs(there[0] - energy).max() < 1e-12 and np.abs(there[1] - forces[order]).max() < 1e-12
    assert np.abs(forces.sum(0)).max() < 1e-12
    assert np.abs(np.cross(structure.positions, forces).sum(0)).max() < 1e-12


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("make", [molecule, crystal])
def test_forces_are_central_differences_of_the_energy(name, make):
    model, structure, h = network(name), make(), 1e-4
    _, forces, _ = ask(model, structure)
    rng = np.random.default_rng(1)
    for atom, axis in zip(rng.integers(len(structure), size=4), rng.integers(3, size=4), strict=True):
        ends = []
        for step in (h, -h):
            moved = structure.positions.copy()
            moved[atom, axis] += step
            ends.append(ask(model, changed(structure, positions=moved))[0][0])
        assert forces[atom, axis] == pytest.approx(-(ends[0] - ends[1]) / (2 * h), abs=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_stress_is_the_central_difference_of_the_energy_under_strain(name):
    model, structure, h = network(name), crystal(), 1e-4
    _, _, stress = ask(model, structure)
    for a, b in ((0, 0), (1, 1), (0, 1), (0, 2), (2, 1)):
        ends = []
        for step in (h, -h):
            strain = np.eye(3)
            strain[a, b] += step / 2
            strain[b, a] += step / 2
            ends.append(ask(model, changed(structure, positions=structure.positions @ strain,
                                           cell=structure.cell @ strain))[0][0])
        assert stress[0, a, b] == pytest.approx((ends[0] - ends[1]) / (2 * h) / structure.volume, abs=1e-7)


def test_a_cell_twice_as_long_has_twice_the_energy_and_the_same_forces_and_stress():
    model, structure = network("l_max 2, both parities"), crystal()
    energy, forces, stress = ask(model, structure)
    cell = structure.cell * np.array([[2.0], [1.0], [1.0]])
    double = Structure(np.tile(structure.numbers, 2), np.concatenate([structure.positions, structure.positions
                       + structure.cell[0]]), cell=cell, periodic=(True,) * 3)
    there = ask(model, double)
    assert np.abs(there[0] - 2 * energy).max() < 1e-12
    assert np.abs(there[1] - np.tile(forces, (2, 1))).max() < 1e-12 and np.abs(there[2] - stress).max() < 1e-12


def test_atoms_moved_by_lattice_vectors_change_nothing():
    model, structure = network("l_max 1"), crystal()
    moved = structure.positions + np.array([[0, 0, 0], [1, 0, 0], [-2, 1, 0], [0, 3, -1]]) @ structure.cell
    for here, there in zip(ask(model, structure), ask(model, changed(structure, positions=moved)), strict=True):
        assert np.abs(here - there).max() < 1e-12


def test_structures_side_by_side_are_told_what_each_is_told_alone():
    model = network("l_max 1")
    some = [molecule(), crystal(), molecule(2, 4)]
    energy, forces, stress = ask(model, *some)
    alone = [ask(model, each) for each in some]
    assert np.abs(energy - np.concatenate([each[0] for each in alone])).max() < 1e-12
    assert np.abs(forces - np.concatenate([each[1] for each in alone])).max() < 1e-12
    assert np.abs(stress - np.concatenate([each[2] for each in alone])).max() < 1e-12
    assert not stress[[0, 2]].any()


def test_energy_and_forces_are_smooth_where_an_atom_leaves_the_cutoff():
    model = network("l_max 1", r_max=3.0)

    def pair(r):
        return ask(model, Structure(np.array([6, 1]), np.array([[0.0, 0, 0], [r, 0, 0]])))

    alone = pair(3.5)[0][0]
    assert pair(3.0001)[0][0] == alone and not pair(3.0001)[1].any()
    assert 0 < abs(pair(2.999)[0][0] - alone) < 1e-7 and 0 < np.abs(pair(2.999)[1]).max() < 1e-4
    assert abs(pair(2.5)[0][0] - alone) > 1e-5


def test_edges_beyond_the_cutoff_change_nothing():
    model, structure = network("l_max 2, both parities", r_max=2.0), molecule()
    for here, there in zip(model(*inputs([structure], 2.0)), model(*inputs([structure], 5.0)), strict=True):
        assert (here - there).abs().max() < 1e-12


def test_an_unknown_species_gives_no_finite_energy():
    model, structure = network("l_max 1"), molecule()
    numbers = structure.numbers.copy()
    numbers[0] = 7
    assert not np.isfinite(ask(model, changed(structure, numbers=numbers))[0]).any()


def test_it_answers_alike_with_gradients_without_and_in_inference_mode():
    model, given = network("l_max 1"), inputs([molecule(), crystal()], 3.0)
    learning = model(*given)
    assert all(part.requires_grad for part in learning[:2])
    with torch.no_grad():
        plain = model(*given)
    with torch.inference_mode():
        inferred = model(*given)
    for one, other, third in zip(learning, plain, inferred, strict=True):
        assert (one.detach() - other).abs().max() < 1e-12 and torch.equal(other, third) and not other.requires_grad


def test_gradients_of_forces_reach_every_weight_and_are_central_differences():
    model, given = network("correlation 2"), inputs([molecule(), crystal()], 3.0)
    loss = sum((part**2).sum() for part in model(*given))
    loss.backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name
        ends, spot = [], int(weight.grad.abs().argmax())
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight.view(-1)[spot] += step
                ends.append(float(sum((part**2).sum() for part in model(*given))))
                weight.view(-1)[spot] -= step
        assert float(weight.grad.view(-1)[spot]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


# --- e3nn as the oracle

@pytest.fixture
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_couplings_are_those_of_e3nns_tensor_product(double_precision):
    from e3nn import o3
    irreps = ("0e", "0o", "1e", "1o", "2e")
    table = coupling(irreps, harmonics(2), ("0e", "1e", "1o", "2e"))
    x = torch.randn(6, 1 + 1 + 3 + 3 + 5)
    y = o3.spherical_harmonics([0, 1, 2], torch.randn(6, 3), True, "component")
    found = torch.einsum("nx,ny,xyk->nk", x, y, torch.as_tensor(table.table))
    at = 0
    for kind, ways in table.paths.items():
        for i, way in enumerate(ways):
            one, other = way.split(" x ")
            product = o3.TensorProduct(f"1x{one}", f"1x{other}", f"1x{kind}", [(0, 0, 0, "uuu", False)])
            starts = {k: sum(o3.Irrep(each).dim for each in irreps[:j]) for j, k in enumerate(irreps)}
            edge = int(other[0])**2
            wanted = product(x[:, starts[one]:starts[one] + o3.Irrep(one).dim],
                             y[:, edge:edge + o3.Irrep(other).dim].contiguous())
            size = o3.Irrep(kind).dim
            got = found[:, at:at + size * len(ways)].unflatten(1, (size, len(ways)))[:, :, i]
            assert (got - wanted).abs().max() < 1e-12
        at += size * len(ways)
    assert at == table.table.shape[2]


def test_mixing_is_e3nns_linear_map():
    from e3nn import o3
    kinds = {"0e": ("value",), "1o": ("value",), "2e": ("value",)}
    mix = Mix(kinds, kinds, 5, 3, "float64")
    theirs = o3.Linear("5x0e+5x1o+5x2e", "3x0e+3x1o+3x2e").double()
    theirs.weight = torch.nn.Parameter(torch.cat([mix.weights[kind].flatten() for kind in kinds]).detach())
    x = torch.randn(4, 9, 5, dtype=torch.float64)
    flat = torch.cat([block.transpose(1, 2).flatten(1) for block in x.split([1, 3, 5], 1)], 1)
    y = mix(x)
    wanted = theirs(flat).split([3, 9, 15], 1)
    for block, other in zip(y.split([1, 3, 5], 1), wanted, strict=True):
        assert (block.transpose(1, 2).flatten(1) - other).abs().max() < 1e-12


def test_gating_is_e3nns_gate():
    from e3nn import nn as enn
    gate = Gate(("0e", "0o", "1o"))
    theirs = enn.Gate("2x0e+2x0o", [torch.nn.functional.silu, torch.tanh], "2x0e", [torch.nn.functional.silu],
                      "2x1o").double()
    x = torch.randn(4, 1 + 1 + 1 + 3, 2, dtype=torch.float64)       # scalars, gates, pseudoscalars, vectors
    y = gate(x)
    ours = torch.cat([y[:, 0], y[:, 1], y[:, 2:].transpose(1, 2).flatten(1)], 1)
    assert str(theirs.irreps_in) == "2x0o+4x0e+2x1o"
    flat = torch.cat([x[:, 2], x[:, 0], x[:, 1], x[:, 3:].transpose(1, 2).flatten(1)], 1)
    assert (ours / theirs(flat) - 1).abs().max() < 3e-3          # e3nn draws samples for its constants


def test_features_that_can_be_reached():
    assert reached(("0e",), 2, "both") == ("0e", "1o", "2e")
    assert reached(("0e", "1o", "2e"), 2, "both") == ("0e", "1e", "1o", "2e", "2o")
    assert features_of(9 + 3 + 5, 2, "both") == ("0e", "1e", "1o", "2e", "2o")
    with pytest.raises(BuildError, match="7 components"):
        features_of(7, 1, "natural")


def test_the_envelope_is_flat_at_the_cutoff_and_the_basis_begins_finite():
    share = torch.tensor([0.0, 1 - 1e-4, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    value = envelope(share)
    slope, = torch.autograd.grad(value.sum(), share)
    assert value[0] == 1 and value[1] < 1e-10 and not value[2:].any()
    assert abs(slope[1]) < 1e-5 and not slope[2:].any()
    assert torch.isfinite(Bessel(4.0, 6, "float64")(torch.tensor([0.3, 3.9], dtype=torch.float64))).all()


@pytest.mark.parametrize("wrong", [{"features": 0}, {"l_max": 9}, {"parity": "odd"}, {"correlation": 7},
                                   {"r_max": -1.0}])
def test_networks_that_make_no_sense_are_refused_with_the_reason(wrong):
    about = {"features": 4, "l_max": 1, "parity": "natural", "correlation": 1, "r_max": 3.0, **wrong}
    layer = Interaction(about["features"], about["l_max"], about["parity"], part("Dense", 8, "float64"),
                        about["correlation"], True)
    space = Space(Potential(**CONSTANTS, r_max=about["r_max"], basis=4, l_max=min(2, about["l_max"]), features=4,
                            layers=[layer]))
    with pytest.raises(BuildError):
        build(space, {}, inputs([molecule()], 3.0))


def test_dense_layers_keep_the_variance():
    torch.manual_seed(0)
    x = torch.randn(4000, 32)
    assert float(Dense(32, 64)(x).detach().std()) == pytest.approx(1, abs=0.05)


def test_a_smaller_part_has_the_weights_of_the_same_paths_and_first_channels():
    large, small = (coupling(harmonics(n), harmonics(n), ("0e", "1o")) for n in (2, 1))
    assert small.paths["1o"] == ("0e x 1o", "1o x 0e") and len(large.paths["1o"]) == 4
    outputs = {"0e": ("value", "gate 1o", "gate 2e"), "1o": ("value",)}
    fewer = {"0e": ("value", "gate 1o"), "1o": ("value",)}
    torch.manual_seed(0)
    mix, inner = Mix(large.paths, outputs, 8, 6, "float64"), Mix(small.paths, fewer, 4, 3, "float64")
    lent = {name: each() if callable(each) else each for name, each in mix.lend(inner).items()}
    for kind, ways in small.paths.items():
        for i, way in enumerate(ways):
            for j, output in enumerate(fewer[kind]):
                wanted = mix.weights[kind][large.paths[kind].index(way), :4, outputs[kind].index(output), :3]
                assert torch.equal(lent[f"weights.{kind}"][i, :, j], wanted)
    weights, other = PathWeights(16, large.paths, 8, "float64"), PathWeights(8, small.paths, 4, "float64")
    found = weights.lend(other)["weight"]
    found = found() if callable(found) else found
    for i, name in enumerate(other.names):
        assert torch.equal(found[:, i], weights.weight[:8, weights.names.index(name), :4])
