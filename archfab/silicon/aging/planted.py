"""Stress and recovery experiments with known parameters and noise, to see what a fit finds of them."""

from __future__ import annotations

import numpy as np

from archfab.silicon.aging.measurements import Measurements, Row
from archfab.silicon.aging.model import Model, Values

CONDITIONS = ((0.8, 358.15), (1.0, 398.15), (0.8, 398.15), (1.0, 358.15), (0.9, 378.15), (1.0, 398.15))


def experiment(model: Model, values: Values, rng: np.random.Generator, noise_mv: float = 0.2,
               noise_share: float = 0.02) -> Measurements:
    """Six devices at three overdrives and three temperatures: stress from 1 s to 100,000 s, then as long a recovery
    from 1 ms on, with Gaussian noise of sqrt(mv^2 + (share shift)^2)."""
    stress, recovery = np.geomspace(1, 1e5, 21), np.geomspace(1e-3, 1e5, 17)
    rows = []
    for device, (over, kelvin) in enumerate(CONDITIONS, 1):
        for time in stress:
            rows.append(Row(str(device), float(time), over, kelvin, 1.0, 0.0, None))
        for time in recovery:
            rows.append(Row(str(device), float(stress[-1] + time), 0.0, kelvin, 0.0, 0.0, None))
    plan = Measurements(rows)
    shift = plan.predicted(model, values)
    seen = shift + np.hypot(noise_mv, noise_share * shift) * rng.standard_normal(len(shift))
    return Measurements([Row(row.device, row.seconds, row.overdrive_v, row.kelvin, row.duty, float(value), None)
                         for row, value in zip(rows, seen, strict=True)])
