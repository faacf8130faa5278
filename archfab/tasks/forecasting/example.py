"""Series to try things on, made by a seeded generator: monthly figures of a dozen shops."""

from __future__ import annotations

import numpy as np

from archfab.tasks.forecasting.series import Series

SHOPS, MONTHS, SEASON = 12, 180, 12


def example_series(seed: int = 0) -> Series:
    """A trend that bends, a yearly season that grows with the level, noise that persists, and now and then a campaign.

    level * (1 + season) * exp(AR(1) noise) + campaigns; two values are missing.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(MONTHS)
    names, values = [], []
    for shop in range(SHOPS):
        level = rng.uniform(50, 500) * np.exp(np.cumsum(rng.normal(rng.uniform(-0.002, 0.006), 0.004, MONTHS)))
        phase, second = rng.uniform(0, 2 * np.pi, 2)
        season = rng.uniform(0.1, 0.4) * np.cos(2 * np.pi * t / SEASON + phase) \
            + rng.uniform(0, 0.12) * np.cos(4 * np.pi * t / SEASON + second)
        noise = np.zeros(MONTHS)
        for i, shock in enumerate(rng.normal(0, rng.uniform(0.02, 0.06), MONTHS)):
            noise[i] = 0.5 * noise[i - 1] + shock if i else shock
        made = level * (1 + season) * np.exp(noise)
        made[rng.integers(0, MONTHS, 2)] *= 1.25
        names.append(f"shop {shop + 1}")
        values.append(made.round(2))
    values[3][60:62] = np.nan
    return Series(tuple(names), tuple(values), "the generated example (monthly figures of 12 shops)")
