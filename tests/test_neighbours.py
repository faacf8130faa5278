"""Neighbour lists agree with brute force and with ASE: any cell, any boundaries, any cutoff."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.core import UsageError
from archfab.tasks.molecules.neighbours import neighbours

ALL = st.tuples(st.booleans(), st.booleans(), st.booleans())


def vectors(positions, edges, shifts):
    return positions[edges[0]] - positions[edges[1]] + shifts


def brute(positions, cutoff, cell, periodic, reach):
    """Every pair through every image of a generous block of cells."""
    ranges = [range(-reach, reach + 1) if each else (0,) for each in periodic]
    steps = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3)
    found = []
    for i in range(len(positions)):
        for j in range(len(positions)):
            vectors = positions[i] - positions[j] + steps @ cell
            near = (np.linalg.norm(vectors, axis=1) < cutoff) & ((i != j) | steps.any(1))
            found += [(i, j, *vector) for vector in np.round(vectors[near], 8)]
    return sorted(found)


def as_rows(positions, edges, shifts):
    return sorted((i, j, *np.round(v, 8)) for i, j, v in zip(*edges, vectors(positions, edges, shifts), strict=True))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), periodic=ALL, atoms=st.integers(1, 5), left=st.booleans())
def test_they_are_those_of_brute_force(seed, periodic, atoms, left):
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(2, 4, 3)) + rng.uniform(-0.7, 0.7, (3, 3))
    if left:
        cell = cell[::-1].copy()
    positions = rng.uniform(-1.5, 2.5, (atoms, 3)) @ cell           # outside of the cell too
    reach = 4 + int(np.ceil(2.5 * np.linalg.norm(np.linalg.inv(cell), axis=0).max()))
    rows = as_rows(positions, *neighbours(positions, 2.5, cell, periodic))
    want = brute(positions, 2.5, cell, periodic, reach)
    assert len(rows) == len(want) and (not want or np.allclose(rows, want))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), periodic=ALL, atoms=st.integers(1, 8), cutoff=st.floats(0.5, 7))
def test_they_are_those_of_ase(seed, periodic, atoms, cutoff):
    ase = pytest.importorskip("ase")
    from ase.neighborlist import primitive_neighbor_list
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(2, 5, 3)) + np.tril(rng.uniform(-1.5, 1.5, (3, 3)), -1)
    positions = rng.uniform(-3, 8, (atoms, 3))
    edges, shifts = neighbours(positions, cutoff, cell, periodic)
    # ASE's vector goes from i to j: i receives
    i, j, steps = primitive_neighbor_list("ijS", periodic, ase.geometry.complete_cell(cell), positions, cutoff)
    theirs = np.stack([j, i, *steps.T]) if len(i) else np.zeros((5, 0))
    whole = np.rint(shifts @ np.linalg.inv(cell))
    assert np.allclose(whole @ cell, shifts)
    ours = np.stack([*edges, *whole.T])
    assert {tuple(map(int, row)) for row in ours.T} == {tuple(map(int, row)) for row in theirs.T}
    assert len(ours.T) == len(theirs.T)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), periodic=ALL)
def test_every_pair_is_there_in_both_directions_and_wrapping_changes_no_vector(seed, periodic):
    rng = np.random.default_rng(seed)
    cell = np.eye(3) * 3 + rng.uniform(-1, 1, (3, 3))
    positions = rng.uniform(0, 3, (6, 3))
    edges, shifts = neighbours(positions, 3.3, cell, periodic)
    forward = as_rows(positions, edges, shifts)
    backward = sorted((j, i, *np.round(-np.array(v), 8)) for i, j, *v in forward)
    assert np.allclose(forward, backward) if forward else True
    moved = positions + np.where(periodic, rng.integers(-3, 4, (6, 3)), 0) @ cell
    assert np.allclose(forward, as_rows(moved, *neighbours(moved, 3.3, cell, periodic)), atol=1e-7)


def test_silicon_has_four_nearest_neighbours_and_twelve_next():
    a = 5.43
    cell = np.array([[0, a, a], [a, 0, a], [a, a, 0]]) / 2
    positions = np.array([[0, 0, 0], [a / 4] * 3])
    for cutoff, number in ((2.4, 4), (4.0, 16), (4.6, 28)):
        edges, _ = neighbours(positions, cutoff, cell, (True,) * 3)
        assert np.bincount(edges[1]).tolist() == [number, number]
        assert np.bincount(edges[0]).tolist() == [number, number]
    assert np.linalg.norm(vectors(positions, *neighbours(positions, 2.4, cell, (True,) * 3)), axis=1) == pytest.approx(
        a * 3**0.5 / 4)


def test_an_atom_alone_has_its_images_for_neighbours():
    edges, shifts = neighbours(np.zeros((1, 3)), 1.1, np.eye(3), (True, True, False))
    assert edges.tolist() == [[0] * 4, [0] * 4] and sorted(map(tuple, shifts)) == [
        (-1, 0, 0), (0, -1, 0), (0, 1, 0), (1, 0, 0)]
    assert neighbours(np.zeros((1, 3)), 9.0)[0].shape == (2, 0)
    assert neighbours(np.zeros((0, 3)), 9.0)[0].shape == (2, 0)


def test_a_pair_at_the_cutoff_is_out():
    positions = np.array([[0.0, 0, 0], [1, 0, 0]])
    assert neighbours(positions, 1.0)[0].shape == (2, 0)
    assert neighbours(positions, np.nextafter(1.0, 2))[0].tolist() == [[1, 0], [0, 1]]


def test_the_order_is_by_receiver_and_sender():
    rng = np.random.default_rng(0)
    edges, _ = neighbours(rng.uniform(0, 4, (30, 3)), 2.5, np.eye(3) * 4, (True,) * 3)
    assert edges.dtype == np.int64
    assert (np.diff(edges[1]) >= 0).all()
    assert all((np.diff(edges[0][edges[1] == atom]) >= 0).all() for atom in range(30))


@pytest.mark.parametrize("cell, message", [
    (None, "need a cell"), (np.zeros((3, 3)), "degenerate"), ([[1, 0, 0], [0, 1, 0], [1, 1, 0]], "degenerate"),
    (np.full((3, 3), np.nan), "finite"), (np.eye(2), "three finite")])
def test_wrong_cells_are_refused(cell, message):
    with pytest.raises(UsageError, match=message):
        neighbours(np.zeros((2, 3)), 1.0, cell, (True,) * 3)


def test_other_nonsense_is_refused():
    with pytest.raises(UsageError, match="atom 2 is not finite"):
        neighbours(np.array([[0, 0, 0], [0, np.inf, 0]]), 1.0)
    with pytest.raises(UsageError, match="cutoff"):
        neighbours(np.zeros((1, 3)), 0.0)
    with pytest.raises(UsageError, match="too large"):
        neighbours(np.zeros((1, 3)), 1000.0, np.eye(3), (True,) * 3)
