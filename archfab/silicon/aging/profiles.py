"""What a mission makes of a threshold over the years."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.aging.conditions import YEAR_H, Array, lifespan, voltage
from archfab.silicon.aging.effects import ALPHA, delay_ratio
from archfab.silicon.aging.missions import Mission
from archfab.silicon.aging.parameters import ParameterSet

MOST_STEPS = 1_000_000
POINTS = 48                 # cycles that are written down, evenly in the logarithm of time
REPLICATES = 40             # bootstrap samples that a mission is run with


@dataclass(frozen=True)
class Course:
    """A shift over the years: after each cycle that was written down, and the most within that cycle; delays over the
    fresh ones at the same supply, in the worst phase of the cycle."""

    years: Array
    end_mv: Array
    peak_mv: Array
    low_mv: Array
    high_mv: Array
    ratio: Array
    ratio_low: Array
    ratio_high: Array


def course(mission: Mission, vth_v: float, years: float, parameters: ParameterSet, alpha: float = ALPHA) -> Course:
    """The shift that a mission makes, repeated for `years`; the interval is that of the peak.

    Every phase of every cycle is computed: equivalent stress time where a model has no state, trap occupancy where it
    has. Cycles that take part in a year are whole: the last one ends nearest to `years`.

    :raises UsageError: too many cycles to compute, no phase with stress, time backwards.
    """
    threshold = float(voltage("the threshold voltage", vth_v))
    total = float(lifespan(years)) * YEAR_H
    if not any(phase.stresses(threshold) for phase in mission.phases):
        raise UsageError("no phase of the mission stresses the transistor: each has duty 0, or a supply at or below "
                         f"the threshold of {threshold:g} V")
    cycles = round(total / mission.hours)
    if total and not cycles:
        raise UsageError(f"one cycle takes {mission.hours:g} hours, more than twice the {total:g} hours of the mission")
    if cycles * len(mission.phases) > MOST_STEPS:
        raise UsageError(f"{cycles:,} cycles of {len(mission.phases)} phases are more than {MOST_STEPS:,} steps; "
                         "describe what alternates faster than an hour by its duty cycle")
    times, ends, peaks, lost = _run(mission, threshold, cycles, parameters)
    low, high = _factors(mission, threshold, cycles, times, peaks, parameters)
    ratio, below, above = (np.asarray(delay_ratio(1.0, 1000 * lost * part, alpha)) for part in (1.0, low, high))
    return Course(times / YEAR_H, ends, peaks, peaks * low, peaks * high, ratio, below, above)


def _run(mission: Mission, vth_v: float, cycles: int, parameters: ParameterSet) -> Array:
    """Rows of times in hours, the shift then, the most in that cycle, and the most of the overdrive that any phase
    loses."""
    model, values = parameters.of, parameters.values
    parts = max(1, -(-POINTS // max(cycles, 1)))        # splitting a phase changes nothing but what is written down
    plan: list[tuple[Callable[[Any], Any], float, float | None]] = []
    for phase in mission.phases:
        volts = max(0.0, phase.vdd_v - vth_v)
        step = model.step(values, volts, phase.kelvin, phase.duty, phase.hours * 3600 / parts)
        plan += [(step, phase.hours / parts, volts if phase.stresses(vth_v) else None)] * parts
    marks = set(np.unique(np.geomspace(1, max(cycles, 1), POINTS).round().astype(int)))
    state, rows = model.fresh(values), [(0.0, 0.0, 0.0, 0.0)]
    for number in range(1, cycles + 1):
        if number not in marks:
            for step, _, _ in plan:
                state = step(state)
            continue
        time, peak, lost = (number - 1) * mission.hours, model.shift_mv(values, state), 0.0
        for step, hours, over in plan:
            state = step(state)
            time, shift = time + hours, model.shift_mv(values, state)
            peak = max(peak, shift)
            if over is not None:
                lost = max(lost, shift / 1000 / over)
            if parts > 1:
                rows.append((time, shift, peak, lost))
        if parts == 1:
            rows.append((time, shift, peak, lost))
    return np.array(rows).T


def _factors(mission: Mission, vth_v: float, cycles: int, times: Array, peaks: Array,
             parameters: ParameterSet) -> tuple[Array, Array]:
    """What to multiply a peak with for its interval: by bootstrap samples, or by the interval of constant conditions
    in the phase that would shift it most."""
    if parameters.replicates:
        some = parameters.replicates[::-(-len(parameters.replicates) // REPLICATES)]
        every = [_run(mission, vth_v, cycles, ParameterSet(parameters.name, parameters.model, each, "", "fitted"))[2]
                 for each in some]
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(np.where(peaks > 0, np.array(every) / peaks, 1.0))
        half = 1.96 * np.sqrt((logs ** 2).mean(axis=0))
        return np.exp(-half), np.exp(half)
    worst = max((phase for phase in mission.phases if phase.stresses(vth_v)), key=lambda phase: float(
        parameters.shift_mv(phase.vdd_v - vth_v, phase.kelvin, phase.duty, times[-1] * 3600)))
    over = worst.vdd_v - vth_v
    low, high = np.ones_like(times), np.ones_like(times)
    if len(times) > 1:
        value = parameters.shift_mv(over, worst.kelvin, worst.duty, times[1:] * 3600)
        low[1:], high[1:] = (each / value for each in parameters.bounds_mv(worst.vdd_v, over, worst.kelvin, worst.duty,
                                                                           times[1:] * 3600))
    return low, high
