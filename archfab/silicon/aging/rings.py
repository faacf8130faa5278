"""Ring oscillators: frequency from a waveform, what a slower ring says of the threshold, how much dies differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.aging.conditions import numbers
from archfab.silicon.aging.effects import ALPHA, shift_for_ratio_mv


def ring_frequency_hz(volts: Any, interval_s: float) -> tuple[float, float, float]:
    """The frequency of an oscillator's sampled output: value, and 95 % by how much its periods differ.

    Periods are from one rise through the middle to the next, interpolated; a rise counts once the output was below a
    quarter of its swing, so noise at the middle is not taken for periods.

    :raises UsageError: fewer than three periods, a time step that is none.
    """
    from scipy.stats import t as student
    output = numbers("the waveform", volts).ravel()
    step = float(numbers("the sample interval", interval_s))
    if step <= 0:
        raise UsageError(f"the sample interval is {step:g} s; give more than 0")
    low, high = np.quantile(output, [0.02, 0.98]) if output.size else (0.0, 0.0)
    middle, quarter = (low + high) / 2, low + (high - low) / 4
    rises, armed = [], False
    for i in range(1, output.size):
        armed = armed or bool(output[i - 1] < quarter)
        if armed and output[i - 1] < middle <= output[i]:
            rises.append((i - 1 + (middle - output[i - 1]) / (output[i] - output[i - 1])) * step)
            armed = False
    periods = np.diff(rises)
    if len(periods) < 3:
        raise UsageError(f"the waveform has {len(periods)} whole periods; a frequency with an interval takes 3 or more")
    mean = float(periods.mean())
    half = float(student.ppf(0.975, len(periods) - 1) * periods.std(ddof=1) / np.sqrt(len(periods)))
    return 1 / mean, 1 / (mean + half), 1 / max(mean - half, 1e-3 * mean)


def spread_of_dies(frequencies_hz: Any) -> tuple[float, float, float]:
    """How much dies differ at one time, as a share: the standard deviation over the mean, and its 95 % interval (by
    chi-squared). This is process variation, not ageing.

    :raises UsageError: fewer than two dies.
    """
    from scipy.stats import chi2
    found = numbers("a frequency", frequencies_hz).ravel()
    if found.size < 2 or (found <= 0).any():
        raise UsageError("a spread takes the frequencies of at least two dies, all above 0")
    share, freedom = float(found.std(ddof=1) / found.mean()), found.size - 1
    return share, share * float(np.sqrt(freedom / chi2.ppf(0.975, freedom))), share * float(
        np.sqrt(freedom / chi2.ppf(0.025, freedom)))


def shift_of_slower_ring_mv(fresh_hz: Any, aged_hz: Any, overdrive_v: float, alpha: float = ALPHA) -> Any:
    """The threshold shift by which a ring of inverters got slower, where PMOS and NMOS edges take half of a period each
    and only PMOS edges age: the slow edge takes 2 fresh / aged - 1 times as long (alpha-power law).

    :raises UsageError: frequencies that are none, a ring that got faster.
    """
    fresh, aged = numbers("a fresh frequency", fresh_hz), numbers("an aged frequency", aged_hz)
    if (fresh <= 0).any() or (aged <= 0).any():
        raise UsageError("frequencies are above 0")
    if (aged > fresh).any():
        raise UsageError("an aged ring is faster than it was fresh; are the two in the right order?")
    return shift_for_ratio_mv(overdrive_v, 2 * fresh / aged - 1, alpha)
