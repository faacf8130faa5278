"""What a shift of the threshold does: delay, drive current, transconductance (alpha-power law)."""

from __future__ import annotations

from typing import Any

import numpy as np

ALPHA = 1.3
"""Velocity saturation: the drive current follows (Vdd - Vth)^1.3 (Sakurai and Newton, JSSC 1990; OldSpot)."""


def left(overdrive_v: Any, dvth_mv: Any) -> Any:
    """The share of the overdrive that is left, from 0 up."""
    return np.maximum(1 - np.asarray(dvth_mv) / 1000 / np.asarray(overdrive_v), 0.0)


def delay_ratio(overdrive_v: Any, dvth_mv: Any, alpha: float = ALPHA) -> Any:
    """Delay over the fresh delay at the same supply: ((Vdd - Vt) / (Vdd - Vt - dVt))^alpha; infinite where it no
    longer switches."""
    with np.errstate(divide="ignore"):
        return left(overdrive_v, dvth_mv) ** -alpha


def drive_loss(overdrive_v: Any, dvth_mv: Any, alpha: float = ALPHA) -> Any:
    """The share of the saturated drive current that is lost."""
    return 1 - left(overdrive_v, dvth_mv) ** alpha


def transconductance_loss(overdrive_v: Any, dvth_mv: Any, alpha: float = ALPHA) -> Any:
    """The share of the saturated transconductance dI/dVgs that is lost through the threshold; what interface traps
    take from mobility comes on top."""
    return 1 - left(overdrive_v, dvth_mv) ** (alpha - 1)


def shift_for_ratio_mv(overdrive_v: Any, ratio: Any, alpha: float = ALPHA) -> Any:
    """The shift that makes the delay `ratio` times the fresh one."""
    return 1000 * np.asarray(overdrive_v) * (1 - np.asarray(ratio) ** (-1 / alpha))


def delay_of(overdrive_v: Any, vdd_v: Any, alpha: float = ALPHA) -> Any:
    """Delay in units of its own, to compare supplies: Vdd / (Vdd - Vth - dVth)^alpha."""
    with np.errstate(divide="ignore"):
        return np.asarray(vdd_v) / np.maximum(overdrive_v, 0.0) ** alpha
