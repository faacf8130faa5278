"""How far a threshold shifts, and what is left of speed: with the interval that the parameters leave."""

from __future__ import annotations

from typing import Any

import numpy as np

from archfab.silicon.aging.conditions import YEAR_S, Array, lifespan, overdrive, share, temperature
from archfab.silicon.aging.effects import ALPHA, delay_ratio
from archfab.silicon.aging.parameters import REFERENCE, ParameterSet


def threshold_shift_mv(vdd_v: Any, vth_v: Any, kelvin: Any, duty: Any, years: Any,
                       parameters: ParameterSet = REFERENCE) -> tuple[Array, Array, Array]:
    """The threshold shift of a PMOS in mV under constant conditions: value, low, high (95 %, by the parameters).

    Arrays broadcast. 0 years are no shift. See `Model` for the equations.

    :raises UsageError: a supply at or below the threshold, Celsius for kelvin, percent for a share, time backwards.
    """
    over = overdrive(vdd_v, vth_v)
    vdd, over, hot, on, time = np.broadcast_arrays(
        np.asarray(vdd_v, float), over, temperature("the temperature", kelvin), share("the duty cycle", duty),
        lifespan(years) * YEAR_S)
    return (parameters.shift_mv(over, hot, on, time), *parameters.bounds_mv(vdd, over, hot, on, time))


def end_of_life_delay_ratio(vdd_v: Any, vth_v: Any, kelvin: Any, duty: Any, years: Any,
                            parameters: ParameterSet = REFERENCE, alpha: float = ALPHA) -> tuple[Array, Array, Array]:
    """Delay after `years` over the fresh delay at the same supply: value, low, high; infinite where the transistor
    would no longer switch.

    ((Vdd - Vt) / (Vdd - Vt - dVt))^alpha, alpha = 1.3 (alpha-power law). Arrays broadcast; a vector of 10,000
    conditions takes some milliseconds.

    :raises UsageError: as `threshold_shift_mv`.
    """
    shifts = threshold_shift_mv(vdd_v, vth_v, kelvin, duty, years, parameters)
    over = np.asarray(vdd_v, float) - np.asarray(vth_v, float)
    value, low, high = (np.asarray(delay_ratio(over, each, alpha)) for each in shifts)
    return value, low, high
