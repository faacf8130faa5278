"""Neighbour lists: every pair of atoms within a cutoff, periodic in any directions, cells smaller than it included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from archfab.core import UsageError

MOST_IMAGES = 5_000_000     # atoms of the cell and of its images that are looked at


def neighbours(positions: np.ndarray, cutoff: float, cell: np.ndarray | None = None,
               periodic: Sequence[bool] = (False, False, False)) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of atoms that are closer than a cutoff: edges int64 [2, E] (sender, receiver), shifts float64 [E, 3].

    The vector of an edge is `positions[sender] - positions[receiver] + shift`; a shift is a sum of whole lattice
    vectors. Both directions of a pair are there; an atom is its own neighbour through its images alone. Edges are
    ordered by receiver, sender and image. Atoms may lie outside of the cell, cells may be triclinic, of either
    handedness and smaller than the cutoff.

    :param positions: [N, 3]. :param cutoff: in the unit of the positions.
    :param cell: [3, 3], rows are lattice vectors; those of directions that are not periodic do not matter.
    :raises UsageError: for values that are not finite and for cells without volume.
    """
    positions = np.asarray(positions, dtype=float).reshape(-1, 3)
    if not np.isfinite(positions).all():
        raise UsageError(f"the position of atom {int(np.flatnonzero(~np.isfinite(positions).all(1))[0]) + 1} is not "
                         "finite; every position is three numbers")
    if not 0 < cutoff < np.inf:
        raise UsageError(f"a cutoff is a finite length above 0, not {cutoff}")
    which = np.array(periodic, dtype=bool)
    lattice = completed(cell, which)
    inverse = np.linalg.inv(lattice)
    heights = 1 / np.linalg.norm(inverse, axis=0)               # between the opposite faces of the cell
    share = positions @ inverse
    wrapped = np.where(which, np.floor(share), 0.0)
    share = share - wrapped
    owner, offset, around = images(share, which, cutoff / heights, len(positions))
    inside = share @ lattice
    found = cKDTree(around @ lattice).sparse_distance_matrix(cKDTree(inside), cutoff * (1 + 1e-9) + 1e-9,
                                                             output_type="ndarray") if len(positions) else \
        np.zeros(0, dtype=[("i", int), ("j", int)])
    sender, receiver = owner[found["i"]], found["j"].astype(np.int64)
    steps = offset[found["i"]] - wrapped[sender] + wrapped[receiver]
    shifts = steps @ np.where(which[:, None], lattice, 0.0)
    length = np.linalg.norm(positions[sender] - positions[receiver] + shifts, axis=1)
    kept = (length < cutoff) & ((sender != receiver) | (steps != 0).any(1))
    order = np.lexsort((*steps[kept].T[::-1], sender[kept], receiver[kept]))
    return np.stack([sender[kept][order], receiver[kept][order]]), shifts[kept][order]


def completed(cell: np.ndarray | None, periodic: np.ndarray) -> np.ndarray:
    """The cell with unit vectors, at right angles to all others, in the directions that are not periodic."""
    if not periodic.any():
        return np.eye(3)
    if cell is None:
        raise UsageError("periodic structures need a cell; give one, or say that no direction is periodic")
    cell = np.asarray(cell, dtype=float)
    if cell.shape != (3, 3) or not np.isfinite(cell[periodic]).all():
        raise UsageError("a cell is three finite lattice vectors, [3, 3]")
    kept = cell[periodic]
    full = np.zeros((3, 3))
    full[periodic] = kept
    full[~periodic] = np.linalg.svd(kept)[2][len(kept):]
    lengths = np.linalg.norm(full, axis=1)
    if not lengths.all() or abs(np.linalg.det(full / lengths[:, None])) < 1e-4:
        raise UsageError(f"the cell {np.round(cell, 4).tolist()} is degenerate: its periodic lattice vectors are zero "
                         "or lie in one plane; give three that span a volume")
    return full


def images(share: np.ndarray, periodic: np.ndarray, reach: np.ndarray,
           number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The atoms of the cell and all images that may be within reach of one: owners, offsets and coordinates.

    :param share: coordinates in lattice vectors, from 0 to 1 where periodic. :param reach: the cutoff in heights.
    """
    most = np.where(periodic, np.ceil(reach), 0).astype(int)
    count = int(np.prod(2.0 * most + 1)) * number
    if count > MOST_IMAGES:
        raise UsageError(f"a cutoff that reaches {most.max()} cells far is too large for this cell of {number} atoms")
    steps = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), -1).reshape(-1, 3).astype(float)
    if number:      # whole cells first: beyond reach of all atoms
        low, high = share.min(0) - reach - 1e-6, share.max(0) + reach + 1e-6
        steps = steps[((steps + share.max(0) >= low) & (steps + share.min(0) <= high) | ~periodic).all(1)]
    around = (share[None] + steps[:, None]).reshape(-1, 3)
    owner = np.tile(np.arange(number), len(steps))
    offset = np.repeat(steps, number, axis=0)
    if number:
        near = (((around >= low) & (around <= high)) | ~periodic).all(1)
        owner, offset, around = owner[near], offset[near], around[near]
    return owner, offset, around
