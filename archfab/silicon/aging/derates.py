"""Derate tables: delay over voltage, temperature, duty cycle and years, as CSV and as timing derate commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np

from archfab.core import UsageError
from archfab.silicon.aging.effects import ALPHA
from archfab.silicon.aging.parameters import REFERENCE, ParameterSet
from archfab.silicon.aging.shifts import end_of_life_delay_ratio, threshold_shift_mv

COLUMNS = ("vdd_v", "kelvin", "duty", "years", "dvth_mv", "late_rise", "late_rise_low", "late_rise_high", "late_fall")
MOST_ROWS = 100_000


def derate_table(vdd_v: Sequence[float], vth_v: float, kelvin: Sequence[float], duty: Sequence[float],
                 years: Sequence[float], parameters: ParameterSet = REFERENCE,
                 alpha: float = ALPHA) -> list[dict[str, float]]:
    """One row for each combination: the shift, and the factors on the delay of late edges.

    Only PMOS transistors shift, and they pull outputs up: rising edges of a cell's output slow down, falling ones do
    not (`late_fall` is 1).

    :raises UsageError: as `threshold_shift_mv`; too many combinations.
    """
    number = len(vdd_v) * len(kelvin) * len(duty) * len(years)
    if not 0 < number <= MOST_ROWS:
        raise UsageError(f"a table of {number:,} rows; 1 to {MOST_ROWS:,} are legal")
    grid = np.array(list(product(vdd_v, kelvin, duty, years)), float).T
    volts, hot, on, time = grid
    shift = threshold_shift_mv(volts, vth_v, hot, on, time, parameters)[0]
    value, low, high = end_of_life_delay_ratio(volts, vth_v, hot, on, time, parameters, alpha)
    columns = (*grid, shift, value, low, high, np.ones(number))
    return [dict(zip(COLUMNS, map(float, row), strict=True)) for row in zip(*columns, strict=True)]


def commands(rows: Sequence[Mapping[str, float]], about: str, use: Literal["late_rise", "late_rise_high"]) -> str:
    """Timing derate commands for a tool that reads SDC: the slowest row is in force, the others stand as comments.

    `-late -cell_delay` scales what makes a path slow (data, and the clock that launches), rising and falling edges of
    cells' outputs apart; early delays stay fresh, which is the safe side for hold.

    :raises UsageError: a row in which the transistor no longer switches.
    """
    dead = [row for row in rows if not np.isfinite(row[use])]
    if dead:
        raise UsageError("no derate can be written for " + place(dead[0]) + ": the threshold reaches the supply"
                         + ("; `--bound value` leaves out the uncertainty" if use == "late_rise_high" else ""))
    worst = max(rows, key=lambda row: row[use])
    lines = [f"# ageing derates: {about}",
             "# only PMOS edges degrade: rising outputs are late, falling ones and early arrivals are as fresh",
             f"# in force: {place(worst)}"]
    lines += [f"set_timing_derate -late -cell_delay -rise {round_up(worst[use])}",
              f"set_timing_derate -late -cell_delay -fall {worst['late_fall']:.4f}"]
    for row in rows:
        if row is not worst:
            lines += [f"# {place(row)}", f"#   set_timing_derate -late -cell_delay -rise {round_up(row[use])}"]
    return "\n".join([*lines, ""])


def place(row: Mapping[str, Any]) -> str:
    return f"{row['vdd_v']:g} V, {row['kelvin']:g} K, duty {row['duty']:g}, {row['years']:g} years"


def round_up(factor: float) -> str:
    """Four digits after the point, never below the factor."""
    return f"{np.ceil(factor * 1e4 - 1e-9) / 1e4:.4f}"
