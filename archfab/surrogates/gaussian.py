"""Gaussian process regression on blocks of features (Rasmussen and Williams, 2006), with the scores it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

SPREAD = 2.0            # standard deviations of the log-normal priors on scales and shares ...
NOISE_SPREAD = 2.0      # ... and on the noise
NOISE = 1e-2            # share of the variance that is noise, before anything is known
SHARE = 0.3             # of each block's effects and pairs, beside 1 of what is particular, before anything is known
JITTER = 1e-7           # share of the variance that keeps the factorisation sound


@dataclass(frozen=True)
class Settings:
    """What the kernel and the noise are set to; scales and shares by block."""

    scales: np.ndarray
    shares: np.ndarray
    noise: float = NOISE


class GaussianProcess:
    """Exact inference, with scales, shares and noise at (nearly) the most probable values.

    The kernel is a sum of what networks have in common as a whole and, block by block, of the effects of single
    features and of pairs of them, which reach further:

        k(a, b) = 1 / (1 + sum_j scale_j |a_j - b_j|^2) + sum_j share_j ((1 + a_j . b_j / m_j) / 2)^2

    The first is the rational quadratic kernel (Rasmussen and Williams, eq. 4.19, alpha = 1), near and far at once;
    m_j is the mean of |a_j|^2 over the points learned from. Blocks are arrays [points, width]. Settings are found
    by a random walk from the last ones on the log posterior, whose prior is log-normal around equal parts of a
    typical distance: no gradient, few points, and the same result for the same `rng`.
    """

    def __init__(self, blocks: Sequence[np.ndarray], y: np.ndarray, rng: np.random.Generator,
                 start: Settings | None = None, steps: int = 20) -> None:
        self.blocks = [block.astype(float) for block in blocks]
        self.mean = float(y.mean())
        self.sizes = [float(np.square(block).sum(axis=1).mean()) or 1.0 for block in self.blocks]
        distances = [distance(block, block) for block in self.blocks]
        self.prior = Settings(typical(distances), np.full(len(blocks), SHARE))
        self.parts = distances, [quadratic(block, block, size)
                                 for block, size in zip(self.blocks, self.sizes, strict=True)]
        self.y = y - self.mean
        self.settings, self.factor = self._search(start or self.prior, rng, steps)
        self.weights = solve_triangular(self.factor, self.y, lower=True, check_finite=False)
        self.variance = max(float(self.weights @ self.weights) / len(y), 1e-9)

    def predict(self, blocks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the function (without noise) at other points."""
        others = [block.astype(float) for block in blocks]
        pairs = list(zip(self.blocks, others, self.sizes, strict=True))
        cross = kernel([distance(mine, other) for mine, other, _ in pairs],
                       [quadratic(mine, other, size) for mine, other, size in pairs], self.settings)
        solved = solve_triangular(self.factor, cross, lower=True, check_finite=False)
        own = 1 + sum(share * (1 + np.square(other).sum(axis=1) / size) ** 2 / 4
                      for share, other, size in zip(self.settings.shares, others, self.sizes, strict=True))
        left = np.maximum(own - np.einsum("ij,ij->j", solved, solved), 1e-9)
        return self.mean + solved.T @ self.weights, np.sqrt(self.variance * left)

    def _search(self, start: Settings, rng: np.random.Generator, steps: int) -> tuple[Settings, np.ndarray]:
        best = start
        least, factor = self._loss(best)
        for _ in range(steps):
            moved = [np.exp(rng.normal(0, 0.7, len(self.blocks)) * (rng.random(len(self.blocks)) < 0.6))
                     for _ in range(2)]
            tried = Settings(best.scales * moved[0], best.shares * moved[1],
                             float(np.clip(best.noise * np.exp(rng.normal(0, 0.7)), 1e-5, 1.0)))
            loss, other = self._loss(tried)
            if loss < least:
                least, best, factor = loss, tried, other
        return best, factor

    def _loss(self, settings: Settings) -> tuple[float, np.ndarray]:
        """Negative log posterior with the variance integrated at its best (Rasmussen and Williams, eq. 5.8)."""
        n = len(self.y)
        covariance = kernel(*self.parts, settings)
        covariance[np.diag_indices(n)] += settings.noise + JITTER * float(np.diag(covariance).mean())
        factor = np.linalg.cholesky(covariance)
        weights = solve_triangular(factor, self.y, lower=True, check_finite=False)
        fit = 0.5 * n * np.log(max(float(weights @ weights) / n, 1e-12)) + float(np.log(np.diag(factor)).sum())
        doubt = sum(float((np.log(found / prior) ** 2).sum()) for found, prior in
                    ((settings.scales, self.prior.scales), (settings.shares, self.prior.shares))) / (2 * SPREAD**2) \
            + np.log(settings.noise / NOISE) ** 2 / (2 * NOISE_SPREAD**2)
        return fit + doubt, factor


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances [len(a), len(b)]."""
    squares = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)[None, :]
    return np.maximum(squares - 2 * (a @ b.T), 0)


def quadratic(a: np.ndarray, b: np.ndarray, size: float) -> np.ndarray:
    """The products of all features and pairs of features, 1 where both are of that squared size and equal."""
    return np.square(0.5 + (0.5 / size) * (a @ b.T))


def kernel(distances: Sequence[np.ndarray], quadratics: Sequence[np.ndarray], settings: Settings) -> np.ndarray:
    far = 1 + settings.scales[0] * distances[0]
    for each, scale in zip(distances[1:], settings.scales[1:], strict=True):
        far += scale * each
    found: np.ndarray = 1 / far
    for each, share in zip(quadratics, settings.shares, strict=True):
        found += share * each
    return found


def typical(distances: Sequence[np.ndarray]) -> np.ndarray:
    """Scales under which all blocks together make a typical pair of points correlate by one half."""
    found = [float(np.median(part)) if (part := each[each > 0]).size else 1.0 for each in distances]
    return 1.0 / (np.array(found) * len(distances))


def normal_scores(y: np.ndarray) -> np.ndarray:
    """Each value's place among the others as a normal deviate: outliers and units do not matter."""
    return ndtri((rankdata(y) - 0.5) / len(y))


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """E[max(best - Y, 0)] of a normal Y that is to be small (Jones et al., J. Global Optimization 1998)."""
    gap = best - mean
    z = gap / np.maximum(deviation, 1e-12)
    return gap * ndtr(z) + deviation * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
