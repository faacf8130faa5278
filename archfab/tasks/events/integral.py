"""The integral of an intensity over time where it has no closed form: by quadrature, or, in training, random points."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch

NODES = 16          # of the quadrature
DRAWN = 8           # random points in training


def integral(intensity: Callable[[torch.Tensor], torch.Tensor], waits: torch.Tensor, random: bool,
             nodes: int = 0) -> torch.Tensor:
    """The sum over all types of the integral of `intensity` from 0 to each wait.

    Time is the square of an even variable x, u = wait x^2, so that the points lie densest after an event, where
    intensities change fastest. Quadrature is Gauss and Legendre's in x. Random points are one in each of equal
    intervals of x (stratified): an unbiased estimate, from torch's global generator.

    :param intensity: of times [B, L, P] as [B, L, P, K]. :param waits: [B, L, Q].
    :param nodes: how many points; by default 16 of a quadrature and 8 random ones.
    :returns: [B, L, Q].
    """
    if random:
        n = nodes or DRAWN
        strata = torch.arange(n, device=waits.device, dtype=waits.dtype)
        x = (strata + torch.rand(*waits.shape, n, device=waits.device, dtype=waits.dtype)) / n
        weights = torch.full_like(strata, 1 / n)
    else:
        known = legendre(nodes or NODES)
        x, weights = (torch.tensor(each, device=waits.device, dtype=waits.dtype) for each in known)
    values = intensity((waits[..., None] * x * x).flatten(2)).sum(-1).unflatten(2, (waits.shape[2], -1))
    return waits * (values * (2 * x * weights)).sum(-1)


@cache
def legendre(n: int) -> tuple[list[float], list[float]]:
    """Points and weights of Gauss and Legendre's rule on 0 to 1."""
    x, weights = np.polynomial.legendre.leggauss(n)
    return ((x + 1) / 2).tolist(), (weights / 2).tolist()
