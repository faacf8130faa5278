"""How many dies of a tile pass, where the wafer is a mosaic of patches that each have a density of their own."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb, gammaln

KAPPA = (1e-4, 1e3)         # the range of 1 / alpha that is searched; below the least it is Poisson's
NODES = 300
Floats = NDArray[np.float64]


def mixing(mean: float, kappa: float) -> tuple[Floats, Floats]:
    """Densities (killing defects of a die) and their weights: nodes of the gamma distribution, even in the logarithm."""
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


@cache
def partitions(rows: int, columns: int) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """The ways in which straight cuts between dies part a tile: how many cuts, in how many ways, and the sizes of the
    parts."""
    def lengths(size: int) -> list[tuple[int, tuple[int, ...]]]:
        found = []
        for cuts in product((False, True), repeat=size - 1):
            ends = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), size]
            found.append((sum(cuts), tuple(b - a for a, b in zip(ends, ends[1:], strict=False))))
        return found
    told = Counter((down + across, tuple(sorted(a * b for a in tall for b in wide)))
                   for down, tall in lengths(rows) for across, wide in lengths(columns))
    return tuple((cuts, ways, sizes) for (cuts, sizes), ways in told.items())


def tile_chances(shape: tuple[int, int], mean: float, kappa: float, together: float) -> Floats:
    """P(j dies of a tile pass), j = 0 to all; neighbours lie in one patch with the chance `together`, and each line
    between rows or columns of dies is a border of patches by itself."""
    return mixed(shape, *mixing(mean, kappa), together,
                 lambda dies: float(all_pass(np.array(dies), mean, kappa)))


def mixed(shape: tuple[int, int], densities: Floats, weights: Floats, together: float,
          passing: object = None) -> Floats:
    """The same for any distribution of the density."""
    lines = shape[0] + shape[1] - 2
    parts: dict[int, Floats] = {}
    found = np.zeros(shape[0] * shape[1] + 1)
    for cuts, ways, sizes in partitions(*shape):
        chance = ways * (1 - together) ** cuts * together ** (lines - cuts)
        if chance < 1e-12:
            continue
        whole = np.ones(1)
        for size in sizes:
            if size not in parts:
                parts[size] = one_patch(size, densities, weights, passing(size) if callable(passing) else None)
            whole = np.convolve(whole, parts[size])
        found += chance * whole
    return found
