"""What using a product emits over its years: inferences and idle power on a grid that may change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from archfab.core import UsageError

PUE_UNKNOWN = 1.56              # the mean of Uptime Institute's survey of data centres, 2024
MJ_PER_KWH = 3.6e9              # millijoules
DAYS = 365.25

Number = Any


def operational_carbon_g(*, energy_mj: Number, inferences: Number, grid_g_kwh: Number, pue: Number) -> Number:
    """Grams of CO2e of so many inferences: E n PUE CI; the energy of one in millijoules. Takes arrays.

    :raises UsageError: of what is below 0, of a PUE below 1.
    """
    for name, value in (("energy of an inference", energy_mj), ("number of inferences", inferences),
                        ("grid's intensity", grid_g_kwh)):
        if not np.all(np.asarray(value) >= 0) or not np.all(np.isfinite(value)):
            raise UsageError(f"the {name} is {value}; it is a finite number from 0 up")
    check_pue(pue)
    return np.asarray(energy_mj) * inferences / MJ_PER_KWH * pue * grid_g_kwh + 0.0


def check_pue(pue: Number) -> None:
    if not np.all(np.asarray(pue) >= 1) or not np.all(np.isfinite(pue)):
        raise UsageError(f"a PUE of {pue} is not possible: the whole of a data centre uses at least what its computers "
                         f"do, so it is 1 or more (1 for a device outside, {PUE_UNKNOWN} where nobody knows)")


def years_of_growth(years: Number, change: float) -> Number:
    """So many years at a rate that changes by `change` a year (-0.05: 5 % less each year), in years at today's rate.

    integral from 0 to T of (1 + change)^t dt = ((1 + change)^T - 1) / ln(1 + change)
    """
    if not -1 < change <= 1:
        raise UsageError(f"a grid cannot change by {change:g} a year; the share is above -1 and at most 1 (-0.05: 5 % "
                         "less each year)")
    rate = math.log1p(change)
    return np.expm1(rate * np.asarray(years)) / rate if abs(rate) > 1e-12 else np.asarray(years) + 0.0


def years_until(today: float, change: float) -> float | None:
    """After how many years so many years at today's rate have gone by; None: never. The inverse of
    `years_of_growth`."""
    rate = math.log1p(change)
    if abs(rate) <= 1e-12:
        return today
    inside = rate * today
    return math.log1p(inside) / rate if inside > -1 else None
