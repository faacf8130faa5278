"""Active learning chooses what networks disagree on, and no copies; labels of tight binding are consistent."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from archfab.core import UsageError
from archfab.tasks.molecules.active import choose, describe, disagreement, learn
from archfab.tasks.molecules.data import Structure
from archfab.tasks.molecules.labels import label

WATER = np.array([[0.0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])


def waters(number, rng, width=0.05):
    return [Structure(np.array([8, 1, 1]), WATER + rng.normal(scale=width, size=(3, 3))) for _ in range(number)]


class Springs(nn.Module):
    """A spring in each pair; the networks of the task take and give the same."""

    def __init__(self, stiffness, rest=1.2, r_max=4.0):
        super().__init__()
        self.stiffness, self.rest, self.r_max = stiffness, rest, r_max

    def forward(self, numbers, positions, edges, shifts, structure, cell):
        vectors = positions[edges[0]] - positions[edges[1]] + shifts
        r = vectors.norm(dim=1)
        pull = (self.stiffness * (r - self.rest) / r)[:, None] * vectors
        energy = torch.zeros(len(cell)).double().index_add(0, structure[edges[1]],
                                                           self.stiffness * (r - self.rest) ** 2 / 4)
        return energy, torch.zeros_like(positions).index_add(0, edges[1], pull), torch.zeros_like(cell)


# --- which ones

def test_without_diversity_it_is_the_order_of_uncertainty():
    rng = np.random.default_rng(0)
    values = rng.random(30)
    assert choose(values, rng.normal(size=(30, 4)), 10, diversity=0.0) == np.argsort(-values)[:10].tolist()


def test_no_two_copies_of_one_structure_are_chosen():
    points = np.repeat(np.arange(6.0)[:, None], 5, axis=0)          # five copies of six structures
    values = np.repeat([6.0, 5, 4, 3, 2, 1], 5)
    assert choose(values, points, 5, diversity=0.0) == [0, 1, 2, 3, 4]
    for diversity in (0.01, 0.3, 1.0):
        chosen = choose(values, points, 6, diversity)
        assert sorted(i // 5 for i in chosen) == list(range(6))
    assert choose(values, points, 1, 0.5) == [0]


def test_what_is_known_is_not_chosen_again():
    points = np.arange(5.0)[:, None]
    values = np.array([9.0, 1, 1, 1, 1])
    assert choose(values, points, 1, 0.5) == [0]
    assert 0 not in choose(values, points, 4, 0.5, known=points[:1])


def test_full_diversity_takes_the_farthest_point():
    points = np.array([[0.0], [1], [10], [11], [5]])
    assert choose(np.array([2.0, 1, 1, 1, 1]), points, 3, 1.0, known=points[:1]) == [3, 4, 1]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 20), diversity=st.floats(0, 1))
def test_it_chooses_as_many_as_asked_and_none_twice(seed, size, diversity):
    rng = np.random.default_rng(seed)
    values, points = rng.random(size) * rng.integers(0, 2, size), rng.integers(0, 3, (size, 2)).astype(float)
    number = int(rng.integers(0, size + 1))
    chosen = choose(values, points, number, diversity, known=rng.normal(size=(2, 2)))
    assert len(set(chosen)) == len(chosen) == number and set(chosen) <= set(range(size))


def test_impossible_choices_are_refused():
    with pytest.raises(UsageError, match="cannot be chosen from a pool of 2"):
        choose(np.ones(2), np.ones((2, 1)), 3)
    with pytest.raises(UsageError, match="structure 1 of the pool"):
        choose(np.array([1.0, np.nan]), np.ones((2, 1)), 1)
    with pytest.raises(UsageError, match="diversity"):
        choose(np.ones(2), np.ones((2, 1)), 1, 1.5)
    with pytest.raises(UsageError, match="nothing to disagree"):
        disagreement([Springs(1.0)], waters(1, np.random.default_rng(0)))


def test_the_descriptor_does_not_see_turns_mirrors_and_numbering():
    rng = np.random.default_rng(1)
    (one,) = waters(1, rng)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = [2, 0, 1]
    same = Structure(one.numbers[order], one.positions[order] @ turn + 3)
    other = Structure(one.numbers, one.positions * 1.1)
    found = describe([one, same, other])
    assert found[1] == pytest.approx(found[0], abs=1e-12) and np.linalg.norm(found[2] - found[0]) > 0.05
    cell = Structure(np.array([14, 14]), np.array([[0.0, 0, 0], [1.36] * 3]), np.eye(3) * 2.72, (True,) * 3)
    twice = Structure(np.tile([14, 14], 2), np.concatenate([cell.positions, cell.positions + [2.72, 0, 0]]),
                      np.diag([5.44, 2.72, 2.72]), (True,) * 3)
    found = describe([cell, twice])
    assert found[0] == pytest.approx(found[1])


def test_disagreement_is_that_of_the_worst_atom():
    structures = waters(4, np.random.default_rng(2))
    models = [Springs(stiffness) for stiffness in (1.0, 2.0, 4.0)]
    found = disagreement(models, structures)
    unit = np.array([np.linalg.norm(forces, axis=1).max() for forces in (
        np.split(_ask(Springs(1.0), structures), 4))])
    assert found == pytest.approx(unit * np.std([1.0, 2, 4]))


def _ask(model, structures):
    from archfab.tasks.molecules.ensemble import ask_of
    return np.concatenate(ask_of([model], structures)[0].forces)


def test_a_round_labels_what_was_chosen_and_the_next_one_knows_it():
    rng = np.random.default_rng(3)
    pool, seen = waters(12, rng), []

    def train(known):
        seen.append(len(known))
        return [Springs(1.0 + 1 / len(known)), Springs(1.0)]

    rounds = list(learn(labels_of(waters(2, rng)), pool, train, labels_of, rounds=3, number=4))
    assert seen == [2, 6, 10] and [len(each.pool) for each in rounds] == [12, 8, 4]
    taken = [id(each.pool[i]) for each in rounds for i in each.chosen]
    assert sorted(taken) == sorted(map(id, pool))
    for each in rounds:
        assert [s.positions.tolist() for s in each.labelled] == [each.pool[i].positions.tolist() for i in each.chosen]
    assert len(list(learn(labels_of(waters(2, rng)), pool, train, labels_of, 3, 12))) == 1         # nothing is left
    (last,) = learn(labels_of(waters(2, rng)), pool, train, labels_of, 3, 4, enough=1e9)
    assert last.chosen == [] and last.labelled == []


def labels_of(structures):
    return [Structure(s.numbers, s.positions, energy=0.0, forces=np.zeros((len(s), 3))) for s in structures]


# --- labels

def test_tight_binding_gives_forces_that_are_its_gradient():
    pytest.importorskip("tblite")
    (one,) = waters(1, np.random.default_rng(4))
    (found,) = label([one])
    assert found.energy == pytest.approx(-5.07 * 27.2114, abs=0.5)      # GFN2-xTB of water: -5.070 Hartree
    for atom, axis in ((0, 1), (2, 2)):
        energies = []
        for sign in (1, -1):
            moved = one.positions.copy()
            moved[atom, axis] += sign * 1e-3
            energies.append(label([Structure(one.numbers, moved)])[0].energy)
        assert found.forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / 2e-3, abs=2e-3)


@pytest.mark.slow
def test_tight_binding_gives_stresses_that_are_derivatives_by_strain():
    pytest.importorskip("tblite")
    cell = np.array([[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]])
    diamond = Structure(np.array([6, 6]), np.array([[0.0, 0, 0], [0.9, 0.88, 0.93]]), cell, (True,) * 3)
    (found,) = label([diamond])
    for i, j in ((0, 0), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * 1e-3
            energies.append(label([Structure(diamond.numbers, diamond.positions @ strain, cell @ strain,
                                             (True,) * 3)])[0].energy)
        assert found.stress[i, j] == pytest.approx((energies[0] - energies[1]) / 2e-3 / diamond.volume, abs=2e-3)


def test_progress_is_told_and_what_cannot_be_labelled_is_said(monkeypatch):
    pytest.importorskip("tblite")
    told = []
    label(waters(2, np.random.default_rng(5)), progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]
    with pytest.raises(UsageError, match="no method named 'PM6'"):
        label([], "PM6")
    slab = Structure(np.array([6]), np.zeros((1, 3)), np.eye(3) * 5, (True, True, False))
    with pytest.raises(UsageError, match=r"frame 0 .*periodic in some directions"):
        label([slab])
    with pytest.raises(UsageError, match=r"frame 1 .*GFN2-xTB gives no answer"):
        label([*waters(1, np.random.default_rng(6)), Structure(np.array([110]), np.zeros((1, 3)))])
    monkeypatch.setitem(__import__("sys").modules, "tblite.interface", None)
    with pytest.raises(UsageError, match=r"pip install 'archfab\[xtb\]'"):
        label(waters(1, np.random.default_rng(7)))
