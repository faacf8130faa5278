"""Wafers that the tests draw from a known process."""

import numpy as np

from archfab.silicon.wafers.maps import WaferMap


def disk(size):
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    return np.hypot(rows, columns) <= size / 2


def negative_binomial(rng, mean, alpha, number):
    return rng.poisson(rng.gamma(alpha, mean / alpha, number))


def patched(rng, mean, alpha, size, patch, counted=False, name="wafer"):
    """A round wafer cut into rectangles of a gamma distributed density each, about so many dies wide."""
    rows, columns = ((rng.random(size) < 1 / patch).cumsum() for _ in range(2))
    density = rng.gamma(alpha, mean / alpha, (rows[-1] + 1, columns[-1] + 1))[np.ix_(rows, columns)]
    defects = rng.poisson(density)
    return WaferMap(name, np.where(disk(size), defects if counted else np.minimum(defects, 1), -1), counted=counted)
