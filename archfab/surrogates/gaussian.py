"""Gaussian process regression on blocks of features (Rasmussen and Williams, 2006), with the scores it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

SPREAD = 2.0            # standard deviations of the log-normal priors on scales ...
NOISE_SPREAD = 2.0      # ... and on the noise
NOISE = 1e-2            # share of the variance that is noise, before anything is known


@dataclass(frozen=True)
class Settings:
    """What the kernel k(a, b) = exp(-sum_j scale_j |a_j - b_j|^2) and the noise are set to; scales by block."""

    scales: np.ndarray
    noise: float = NOISE


class GaussianProcess:
    """Exact inference, with scales and noise at (nearly) the most probable values.

    Blocks are float arrays [points, width]. Scales are found by a random walk from the last ones on the log
    posterior, whose prior is log-normal around equal shares of a typical distance: no gradient, few points, and
    the same result for the same `rng`.
    """

    def __init__(self, blocks: Sequence[np.ndarray], y: np.ndarray, rng: np.random.Generator,
                 start: Settings | None = None, steps: int = 20) -> None:
        self.blocks = list(blocks)
        self.mean = float(y.mean())
        self.distances = [distance(block, block) for block in self.blocks]
        self.prior = typical(self.distances)
        self.y = y - self.mean
        self.settings, self.factor = self._search(start or Settings(self.prior), rng, steps)
        self.weights = solve_triangular(self.factor, self.y, lower=True, check_finite=False)
        self.variance = max(float(self.weights @ self.weights) / len(y), 1e-9)

    def predict(self, blocks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the function (without noise) at other points."""
        cross = kernel([distance(mine, other) for mine, other in zip(self.blocks, blocks, strict=True)],
                       self.settings.scales)
        solved = solve_triangular(self.factor, cross, lower=True, check_finite=False)
        left = np.maximum(1 - np.einsum("ij,ij->j", solved, solved), 1e-9)
        return self.mean + solved.T @ self.weights, np.sqrt(self.variance * left)

    def _search(self, start: Settings, rng: np.random.Generator, steps: int) -> tuple[Settings, np.ndarray]:
        best = start
        least, factor = self._loss(best)
        for _ in range(steps):
            moved = rng.random(len(best.scales)) < 0.6
            tried = Settings(best.scales * np.exp(rng.normal(0, 0.7, len(best.scales)) * moved),
                             float(np.clip(best.noise * np.exp(rng.normal(0, 0.7)), 1e-5, 1.0)))
            loss, other = self._loss(tried)
            if loss < least:
                least, best, factor = loss, tried, other
        return best, factor

    def _loss(self, settings: Settings) -> tuple[float, np.ndarray]:
        """Negative log posterior with the variance integrated at its best (Rasmussen and Williams, eq. 5.8)."""
        n = len(self.y)
        covariance = kernel(self.distances, settings.scales)
        covariance[np.diag_indices(n)] += settings.noise + 1e-8
        factor = np.linalg.cholesky(covariance)
        weights = solve_triangular(factor, self.y, lower=True, check_finite=False)
        fit = 0.5 * n * np.log(max(float(weights @ weights) / n, 1e-12)) + float(np.log(np.diag(factor)).sum())
        doubt = float((np.log(settings.scales / self.prior) ** 2).sum()) / (2 * SPREAD**2) \
            + np.log(settings.noise / NOISE) ** 2 / (2 * NOISE_SPREAD**2)
        return fit + doubt, factor


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances [len(a), len(b)]."""
    squares = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)[None, :]
    return np.maximum(squares - 2 * (a @ b.T), 0).astype(np.float64)


def kernel(distances: Sequence[np.ndarray], scales: np.ndarray) -> np.ndarray:
    exponent = distances[0] * -scales[0]
    for each, scale in zip(distances[1:], scales[1:], strict=True):
        exponent -= scale * each
    return np.exp(exponent)


def typical(distances: Sequence[np.ndarray]) -> np.ndarray:
    """Scales under which all blocks together make a typical pair of points correlate by 1/e."""
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
