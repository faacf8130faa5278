"""How many dies of a tile pass, where the wafer is a mosaic of patches that each have a density of their own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb, gammaln

KAPPA = (1e-4, 1e3)         # the range of 1 / alpha that is searched; below the least it is Poisson's
NODES = 300
Floats = NDArray[np.float64]


def mixing(mean: float, kappa: float) -> tuple[Floats, Floats]:
    """Densities (killing defects of a die) and their weights: nodes of the gamma distribution, even in logarithm."""
    if kappa < KAPPA[0]:
        return np.array([mean]), np.array([1.0])
    alpha = 1 / kappa
    reach = math.sqrt(90 * kappa)
    low, high = -reach - 45 / (alpha + 1), min(math.log1p(60 * kappa) + reach, math.log(700 * kappa + 20 * reach + 2))
    places = np.linspace(low, high, NODES)
    logs = alpha * (places - np.exp(places)) + alpha * math.log(alpha) - gammaln(alpha)
    return mean * np.exp(places), np.exp(logs) * (places[1] - places[0])


def all_pass(dies: NDArray[np.int64], mean: float, kappa: float) -> Floats:
    """The chance that so many dies of one patch all pass: (1 + k n m)^(-1 / k)."""
    many = dies * mean
    return np.exp(-many) if kappa < KAPPA[0] else np.exp(-np.log1p(kappa * many) / kappa)


def one_patch(dies: int, densities: Floats, weights: Floats, passing: float | None = None) -> Floats:
    """P(j of n pass) = C(n, j) E[e^-jl (1 - e^-l)^(n - j)] for j = 0 to n, dies of one patch."""
    good = np.arange(dies + 1)
    with np.errstate(divide="ignore"):
        logs = np.log(-np.expm1(-densities))
    terms = np.exp(-np.outer(good[:-1], densities) + np.outer(dies - good[:-1], logs)) @ weights
    last = float(np.exp(-dies * densities) @ weights) if passing is None else passing
    return np.append(terms, last) * comb(dies, good)


Partition = tuple[int, int, tuple[int, ...]]        # cuts, in how many ways, and the dies of the parts


@cache
def partitions(shape: tuple[int, int], present: bytes) -> tuple[Partition, ...]:
    """The ways in which straight cuts between rows and columns part the dies of a tile; `present` has a byte for each
    of its sites, 0 where there is no die."""
    def lengths(size: int) -> list[NDArray[np.int64]]:
        return [np.concatenate([[0], np.cumsum(cuts)]).astype(np.int64)
                for cuts in product((0, 1), repeat=size - 1)]
    rows, columns = np.nonzero(np.frombuffer(present, np.uint8).reshape(shape))
    told: Counter[tuple[int, tuple[int, ...]]] = Counter()
    for down in lengths(shape[0]):
        for across in lengths(shape[1]):
            parts = np.bincount(down[rows] * shape[1] + across[columns])
            told[int(down[-1] + across[-1]), tuple(sorted(int(size) for size in parts if size))] += 1
    return tuple((cuts, ways, sizes) for (cuts, sizes), ways in sorted(told.items()))


def chances(kinds: Sequence[tuple[Partition, ...]], lines: int, densities: Floats, weights: Floats, together: float,
            passing: Callable[[int], float] | None = None) -> Floats:
    """P(j dies of a tile pass), j = 0 to all, for each kind of tile, end to end. Each line between rows or columns is a
    border of patches with the chance 1 - together; a part's dies lie in one patch, whose density is drawn.

    :param passing: the chance that so many dies of one patch all pass, where it is known exactly.
    """
    parts = {size: one_patch(size, densities, weights, None if passing is None else passing(size))
             for size in {size for kind in kinds for _, _, sizes in kind for size in sizes}}
    found = []
    for kind in kinds:
        whole = np.zeros(sum(kind[0][2]) + 1)
        for cuts, ways, sizes in kind:
            if (chance := ways * (1 - together) ** cuts * together ** (lines - cuts)) > 0:
                each = parts[sizes[0]]
                for size in sizes[1:]:
                    each = np.convolve(each, parts[size])
                whole += chance * each
        found.append(whole)
    return np.concatenate(found)
