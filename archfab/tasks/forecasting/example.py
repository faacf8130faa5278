"""Series to try things on, made by a seeded generator: monthly figures of a dozen shops."""

from __future__ import annotations

import numpy as np

from archfab.tasks.forecasting.series import Series

SHOPS, MONTHS, SEASON = 12, 180, 12


def example_series(seed: int = 0) -> Series:
    """A growth that changes slowly, a yearly season in proportion to the level, noise that persists, and now and then
    a campaign: level * (1 + season) * exp(AR(1) noise), two months a quarter larger; two values are missing.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(MONTHS)
    names, values = [], []
    for shop in range(SHOPS):
        level = rng.uniform(50, 500) * np.exp(np.cumsum(persistent(rng, 0.95, 0.003) + rng.uniform(-0.002, 0.006)))
        phase, second = rng.uniform(0, 2 * np.pi, 2)
        season = rng.uniform(0.1, 0.4) * np.cos(2 * np.pi * t / SEASON + phase) \
            + rng.uniform(0, 0.12) * np.cos(4 * np.pi * t / SEASON + second)
        made = level * (1 + season) * np.exp(persistent(rng, 0.5, rng.uniform(0.01, 0.03)))
        made[rng.integers(0, MONTHS, 2)] *= 1.25
        names.append(f"shop {shop + 1}")
        values.append(made.round(2))
    values[3][60:62] = np.nan
    return Series(tuple(names), tuple(values), "the generated example (monthly figures of 12 shops)")


def persistent(rng: np.random.Generator, share: float, deviation: float) -> np.ndarray:
    """Noise of which a share stays from month to month: an autoregression of order 1."""
    noise = rng.normal(0, deviation, MONTHS)
    for i in range(1, MONTHS):
        noise[i] += share * noise[i - 1]
    return noise
