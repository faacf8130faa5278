"""How long a guardband lasts, and what guardband a lifetime needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.aging.conditions import LONGEST_YEARS, YEAR_S, numbers
from archfab.silicon.aging.effects import ALPHA, shift_for_ratio_mv
from archfab.silicon.aging.missions import Mission
from archfab.silicon.aging.parameters import REFERENCE, ParameterSet
from archfab.silicon.aging.profiles import course
from archfab.silicon.aging.shifts import end_of_life_delay_ratio, threshold_shift_mv

Interval = tuple[float | None, float | None, float | None]


def guardband_share(vdd_v: float, vth_v: float, kelvin: float, duty: float, years: float,
                    parameters: ParameterSet = REFERENCE, alpha: float = ALPHA) -> tuple[float, float, float]:
    """The share by which a clock period has to be longer than the fresh delay to last `years`: value, low, high."""
    value, low, high = (float(each) - 1 for each in
                        end_of_life_delay_ratio(vdd_v, vth_v, kelvin, duty, years, parameters, alpha))
    return value, low, high


def lifetime_years(vdd_v: float, vth_v: float, kelvin: float, duty: float, guardband: float,
                   parameters: ParameterSet = REFERENCE, alpha: float = ALPHA) -> Interval:
    """Years until the delay has grown by the share `guardband`: value, low, high. None stands for more than 1000 years,
    and 0 where the first second takes it all.

    :raises UsageError: a guardband that is none, and what `threshold_shift_mv` refuses.
    """
    most = float(shift_for_ratio_mv(vdd_v - vth_v, 1 + positive(guardband), alpha))

    def at(index: int) -> Callable[[float], float]:
        return lambda years: float(threshold_shift_mv(vdd_v, vth_v, kelvin, duty, years, parameters)[index])

    return crossing(at(0), most), crossing(at(2), most), crossing(at(1), most)


def positive(guardband: float) -> float:
    found = float(numbers("the guardband", guardband))
    if found >= 1:
        raise UsageError(f"the guardband is {found:g}: it is a share of the delay, e.g. 0.05; "
                         f"if that is percent, give {found / 100:g}")
    if found <= 0:
        raise UsageError(f"the guardband is {found:g}: a share of the delay above 0 is legal, e.g. 0.05")
    return found


def crossing(shift: Callable[[float], float], most: float) -> float | None:
    """When a shift that never falls reaches `most`, by bisection in the logarithm of time."""
    first, last = 1 / YEAR_S, LONGEST_YEARS
    if shift(last) < most:
        return None
    if shift(first) >= most:
        return 0.0
    for _ in range(60):
        middle = float(np.sqrt(first * last))
        first, last = (middle, last) if shift(middle) < most else (first, middle)
    return last


def mission_lifetime_years(mission: Mission, vth_v: float, guardband: float, horizon_years: float,
                           parameters: ParameterSet = REFERENCE, alpha: float = ALPHA) -> Interval:
    """Years until the worst phase of a mission is slower by the share `guardband`; None where it is not within the
    horizon. Between two cycles that were written down it goes by the logarithm of time."""
    most = 1 + positive(guardband)
    found = course(mission, vth_v, horizon_years, parameters, alpha)

    def when(ratios: Any) -> float | None:
        ratios = np.maximum.accumulate(ratios)
        if ratios[-1] < most:
            return None
        i = int(np.argmax(ratios >= most))
        if i == 0 or found.years[i - 1] == 0:
            return float(found.years[i])
        part = (most - ratios[i - 1]) / (ratios[i] - ratios[i - 1])
        part = part if np.isfinite(part) else 0.0
        return float(np.exp(np.log(found.years[i - 1]) * (1 - part) + np.log(found.years[i]) * part))

    return when(found.ratio), when(found.ratio_high), when(found.ratio_low)
