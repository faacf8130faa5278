"""Adaptive voltage: the least supply at each time that keeps the delay within its target, and what it saves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.aging.conditions import YEAR_S, lifespan, numbers, overdrive, share, temperature, voltage
from archfab.silicon.aging.effects import ALPHA, delay_of
from archfab.silicon.aging.parameters import REFERENCE, ParameterSet

MOST_SUPPLIES, MOST_TIMES = 10_000, 1000


@dataclass(frozen=True)
class Interval:
    """A part of the life: from when to when, at which supply, the shift and the delay (over the target) at its end."""

    from_years: float
    to_years: float
    vdd_v: float
    dvth_mv: float
    delay: float


@dataclass(frozen=True)
class Schedule:
    """Supplies over the life, beside one supply that is enough for all of it. `saved` is the share of the switching
    energy (by the square of the supply, at one clock) that the schedule saves."""

    target_v: float
    intervals: tuple[Interval, ...]
    fixed_v: float
    fixed_dvth_mv: float
    fixed_delay: float
    saved: float


def schedule(vdd_v: float, vth_v: float, kelvin: float, duty: float, years: float, *, margin: float = 0.0,
             step_mv: float = 10.0, most_v: float | None = None, times: int = 24,
             parameters: ParameterSet = REFERENCE, alpha: float = ALPHA) -> Schedule:
    """The least supply, in steps up from `vdd_v`, that keeps the delay within that of a fresh chip at `vdd_v` times
    1 + margin, from one time to the next: `times` from one second on, evenly in the logarithm of time, and as many
    evenly in time.

    A higher supply is faster and ages faster: the shift of each interval is computed at the supply that it has, and the
    supply has to be enough at the interval's end. Shifts rise with the supply, so the least supply that is enough at
    each time is also the schedule of least energy. The fixed supply is the least that lasts the whole life alone.

    :raises UsageError: as `threshold_shift_mv`; no supply up to `most_v` is enough (says by how much).
    """
    over = float(overdrive(vdd_v, vth_v))
    hot, on = float(temperature("the temperature", kelvin)), float(share("the duty cycle", duty))
    life, slack = float(lifespan(years)) * YEAR_S, float(numbers("the margin", margin))
    if not 0 <= slack < 1:
        raise UsageError(f"the margin is {slack:g}: a share of the delay from 0 to below 1 is legal, e.g. 0.05")
    if life <= 1:
        raise UsageError(f"a life of {years:g} years has nothing to be scheduled; give more than a second")
    if not step_mv > 0 or not np.isfinite(step_mv):
        raise UsageError(f"a voltage step of {step_mv:g} mV is none; give more than 0, e.g. 10")
    if (most_v or 1.3 * vdd_v) / (step_mv / 1000) > MOST_SUPPLIES:
        raise UsageError(f"steps of {step_mv:g} mV make more than {MOST_SUPPLIES:,} supplies; give larger ones")
    if not 1 <= times <= MOST_TIMES:
        raise UsageError(f"a supply that changes at {times:,} times; 1 to {MOST_TIMES:,} are legal")
    most = float(voltage("the highest supply", most_v if most_v is not None else 1.3 * vdd_v, least=vdd_v))
    # a margin lets a chip start below: steps go down to the least that is fast enough when fresh
    target = float(delay_of(over, vdd_v, alpha)) * (1 + slack)
    down = int((over - 1e-9) / (step_mv / 1000)) if slack else 0
    volts = vdd_v + np.arange(-down, int((most - vdd_v) / (step_mv / 1000) + 1e-9) + 1) * step_mv / 1000
    volts = np.array([each for each in volts if delay_of(each - vth_v, each, alpha) <= target * (1 + 1e-12)])
    model, values = parameters.of, parameters.values

    def least(state: Any, seconds: float, start: int) -> tuple[int, Any, float, float]:
        """The first supply from `start` that is fast enough after it was on for `seconds`."""
        for i in range(start, len(volts)):
            after = model.step(values, volts[i] - vth_v, hot, on, seconds)(state)
            shift = model.shift_mv(values, after)
            delay = float(delay_of(volts[i] - vth_v - shift / 1000, volts[i], alpha)) / target
            if delay <= 1 + 1e-12:
                return i, after, shift, delay
        much = f"by {delay - 1:.2%}" if np.isfinite(delay) else "for ever, for it no longer switches"
        raise UsageError(f"{most:g} V are not enough: the delay misses its target {much} with a shift of "
                         f"{shift:.1f} mV; allow a higher supply (--most-vdd), more margin or fewer years")

    edges = np.unique(np.concatenate([np.linspace(0.0, life, times + 1), np.geomspace(1.0, life, times)[:-1]]))
    state, found = model.fresh(values), []
    for start, end in pairwise(edges):
        i, state, shift, delay = least(state, float(end - start), 0)
        found.append(Interval(float(start) / YEAR_S, float(end) / YEAR_S, float(volts[i]), shift, delay))
    i, _, shift, delay = least(model.fresh(values), life, 0)
    spent = sum(each.vdd_v ** 2 * (each.to_years - each.from_years) for each in found) * YEAR_S
    saved = max(0.0, 1 - spent / (float(volts[i]) ** 2 * life))         # rounding may make it -2e-16
    return Schedule(vdd_v, tuple(found), float(volts[i]), shift, delay, saved)
