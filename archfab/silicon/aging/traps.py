"""Traps that fill while the gate is on and empty while it is off, each with its own two times."""

from __future__ import annotations

from typing import Any

import numpy as np

from archfab.silicon.aging.model import Step

Array = np.ndarray[Any, np.dtype[np.float64]]


def moved(level_mv: float, capture_hz: Array, emission_hz: Array, duty: float, seconds: float) -> Step:
    """What a phase makes of traps that hold x mV each: x' = d c (level - x)+ - (1 - d) e x, solved exactly.

    Switching is taken to be fast against the traps' times, so that a trap sees the mean of its rates. The stress
    decides up to which level traps fill; those that a stronger stress filled beyond it only empty. The right side
    rises with the level, so a stronger stress never leaves less.
    """
    if duty <= 0 or level_mv <= 0:
        keeps = np.exp(-emission_hz * seconds)
        return lambda held: held * keeps
    capture, emission = duty * capture_hz, (1 - duty) * emission_hz
    both = capture + emission
    aim = level_mv * capture / both
    keeps, empties = np.exp(-both * seconds), np.exp(-emission * seconds)

    def on(held: Array) -> Array:
        after = aim + (held - aim) * keeps
        above = held > level_mv
        if above.any():
            with np.errstate(divide="ignore", invalid="ignore"):
                crossing = np.where(above, np.log(np.where(above, held, level_mv) / level_mv) / emission, 0.0)
            late = aim + (level_mv - aim) * np.exp(-both * np.maximum(seconds - crossing, 0.0))
            after = np.where(above, np.where(crossing >= seconds, held * empties, late), after)
        return after

    return on
