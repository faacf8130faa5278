"""Which features couple to which under rotations and mirrorings, and with what coefficients: the algebra is e3nn's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from e3nn import o3
from torch._subclasses.fake_tensor import unset_fake_temporarily

from archfab.core import BuildError

PARITIES = ("natural", "both")
Irreps = tuple[str, ...]
"""Kinds of features by name, as e3nn writes them: degree l and parity, e (even) or o (odd); 2l + 1 components each."""


def degree(irrep: str) -> int:
    return int(irrep[:-1])


def size(irrep: str) -> int:
    """Components of one feature."""
    return 2 * degree(irrep) + 1


def dimension(irreps: Irreps) -> int:
    return sum(map(size, irreps))


def harmonics(l_max: int) -> Irreps:
    """Spherical harmonics up to a degree: a vector's parity is odd, so theirs is (-1)^l."""
    return tuple(f"{n}{'eo'[n % 2]}" for n in range(l_max + 1))


def allowed(l_max: int, parity: str) -> Irreps:
    """The features that a network may have.

    :param parity: `natural`: of each degree those that are even or odd as spherical harmonics are; `both`: also
        pseudoscalars, pseudovectors, ... With either, energies do not change under mirroring.
    """
    return tuple(irrep for n in range(l_max + 1) for irrep in (f"{n}e", f"{n}o")
                 if parity == "both" or irrep in harmonics(l_max))


def reached(irreps: Irreps, l_max: int, parity: str) -> Irreps:
    """The features that come of one convolution with spherical harmonics."""
    edge = harmonics(l_max)
    return tuple(k for k in allowed(l_max, parity) if any(couples(i, j, k) for i in irreps for j in edge))


def features_of(components: int, l_max: int, parity: str) -> Irreps:
    """The features that make up so many components after some number of layers; a network begins with scalars."""
    irreps: Irreps = ("0e",)
    while dimension(irreps) != components:
        irreps, before = reached(irreps, l_max, parity), irreps
        if irreps == before:
            raise BuildError(f"no features of degrees up to {l_max} and parity {parity} have {components} components")
    return irreps


def couples(i: str, j: str, k: str) -> bool:
    """Whether the product of two features has a part of a third kind."""
    return o3.Irrep(k) in o3.Irrep(i) * o3.Irrep(j)


@lru_cache
def coefficients(i: int, j: int, k: int) -> np.ndarray:
    """Wigner's 3j symbols [2i + 1, 2j + 1, 2k + 1] times sqrt(2k + 1), which keep variances of 1."""
    with unset_fake_temporarily(), torch.device("cpu"), torch.no_grad():
        return (o3.wigner_3j(i, j, k, dtype=torch.float64) * (2 * k + 1) ** 0.5).numpy()


@dataclass(frozen=True)
class Coupling:
    """All ways in which features x and y multiply to features z, as one table.

    `paths` names the ways to each kind of z; `table` is [components of x, components of y, columns]: the columns of one
    kind of z stand together, those of one component with all its paths in a row.
    """

    paths: dict[str, tuple[str, ...]]
    table: np.ndarray

    @property
    def number(self) -> int:
        return sum(map(len, self.paths.values()))

    @property
    def columns(self) -> dict[str, int]:
        """How many columns each kind of z has: components times paths."""
        return {irrep: size(irrep) * len(ways) for irrep, ways in self.paths.items()}


@lru_cache
def coupling(x: Irreps, y: Irreps, z: Irreps, symmetric: bool = False) -> Coupling:
    """The ways from x and y to z, those to one kind of z in the order in which x and y name theirs.

    :param symmetric: x and y are the same features, so that each pair counts once and what changes its sign when they
        change places is left out, for it is zero.
    """
    paths: dict[str, tuple[str, ...]] = {}
    blocks = []
    at_x, at_y = offsets(x), offsets(y)
    for k in z:
        found = [(i, j) for i in x for j in y if couples(i, j, k) and not (symmetric and vanishes(x, i, j, k))]
        if not found:
            continue
        block = np.zeros((dimension(x), dimension(y), size(k), len(found)))
        for path, (i, j) in enumerate(found):
            block[at_x[i]:at_x[i] + size(i), at_y[j]:at_y[j] + size(j), :, path] = \
                coefficients(degree(i), degree(j), degree(k))
        paths[k] = tuple(f"{i} x {j}" for i, j in found)
        blocks.append(block.reshape(dimension(x), dimension(y), -1))
    return Coupling(paths, np.concatenate(blocks, 2))


def vanishes(x: Irreps, i: str, j: str, k: str) -> bool:
    """Whether a path of a product of features with themselves says nothing new: the same as another, or zero."""
    return x.index(i) > x.index(j) or (i == j and (2 * degree(i) - degree(k)) % 2 == 1)


def offsets(irreps: Sequence[str]) -> dict[str, int]:
    """Where the components of each kind begin."""
    ends = np.cumsum([0, *map(size, irreps)])
    return dict(zip(irreps, map(int, ends), strict=False))
