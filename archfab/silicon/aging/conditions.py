"""The conditions a transistor ages in, checked: volts, kelvin, share of time under stress, years."""

from __future__ import annotations

from typing import Any

import numpy as np

from archfab.core import UsageError

YEAR_H = 365.25 * 24
YEAR_S = YEAR_H * 3600
COLDEST_K, HOTTEST_K, HIGHEST_V, LONGEST_YEARS = 200.0, 600.0, 20.0, 1000.0

Array = np.ndarray[Any, np.dtype[np.float64]]


def refuse(name: str, value: float, because: str) -> UsageError:
    return UsageError(f"{name} is {value:g}: {because}")


def numbers(name: str, values: Any) -> Array:
    """Values as an array of finite numbers."""
    try:
        found = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise UsageError(f"{name} is {values!r}, which is no number") from None
    if (bad := first(found, ~np.isfinite(found))) is not None:
        raise refuse(name, bad, "only finite numbers can be used")
    return found


def first(found: Array, wrong: Any) -> float | None:
    """The first value that is wrong, if any is."""
    bad = np.atleast_1d(found)[np.atleast_1d(wrong)]
    return float(bad[0]) if bad.size else None


def voltage(name: str, values: Any, least: float = 0.0) -> Array:
    """Volts above `least`; what is surely millivolts is refused."""
    found = numbers(name, values)
    if (bad := first(found, found > HIGHEST_V)) is not None:
        raise refuse(name, bad, f"volts up to {HIGHEST_V:g} are legal; if that is millivolts, give {bad / 1000:g}")
    if (bad := first(found, found < least)) is not None:
        raise refuse(name, bad, f"volts from {least:g} up are legal (of a PMOS the magnitude)")
    return found


def temperature(name: str, values: Any) -> Array:
    """Kelvin of something that works; Celsius is caught by its range."""
    found = numbers(name, values)
    if (bad := first(found, found < COLDEST_K)) is not None:
        if bad <= -273.15:
            raise refuse(name, bad, f"kelvin from {COLDEST_K:g} to {HOTTEST_K:g} are legal")
        raise refuse(name, bad, f"an operating temperature below {COLDEST_K:g} K is surely meant in Celsius; "
                                f"{bad:g} C are {bad + 273.15:g} K")
    if (bad := first(found, found > HOTTEST_K)) is not None:
        raise refuse(name, bad, f"kelvin from {COLDEST_K:g} to {HOTTEST_K:g} are legal")
    return found


def share(name: str, values: Any) -> Array:
    """A share of time from 0 to 1; percent is refused."""
    found = numbers(name, values)
    if (bad := first(found, found > 1)) is not None:
        meant = f"; if that is percent, give {bad / 100:g}" if bad <= 100 else ""
        raise refuse(name, bad, f"a share of the time, from 0 (never under stress) to 1 (always), is legal{meant}")
    if (bad := first(found, found < 0)) is not None:
        raise refuse(name, bad, "a share of the time, from 0 (never under stress) to 1 (always), is legal")
    return found


def duration(name: str, values: Any) -> Array:
    """A time from 0 up."""
    found = numbers(name, values)
    if (bad := first(found, found < 0)) is not None:
        raise refuse(name, bad, "time runs forwards: give 0 or more")
    return found


def lifespan(values: Any) -> Array:
    """Years in use, from 0 up; what is surely hours or seconds is refused."""
    found = duration("the number of years", values)
    if (bad := first(found, found > LONGEST_YEARS)) is not None:
        raise refuse("the number of years", bad, f"up to {LONGEST_YEARS:g} are legal; if that is hours, give "
                     f"{bad / YEAR_H:.4g}, if it is seconds, {bad / YEAR_S:.4g}")
    return found


def overdrive_of_field_v(field_mv_cm: Any, oxide_nm: Any) -> Array:
    """The overdrive in volts that makes a field in MV/cm across an oxide: field times thickness (of SiO2)."""
    field, oxide = numbers("the gate field", field_mv_cm), numbers("the oxide thickness", oxide_nm)
    if (bad := first(oxide, (oxide < 0.3) | (oxide > 100))) is not None:
        raise refuse("the oxide thickness", bad, "nanometres from 0.3 to 100 are legal")
    if (bad := first(field, (field <= 0) | (field > 20))) is not None:
        raise refuse("the gate field", bad, "MV/cm above 0 and up to 20 are legal (oxides break below that)")
    return np.asarray(field * oxide / 10)


def overdrive(vdd_v: Any, vth_v: Any) -> Array:
    """Volts of the gate above the threshold, which have to be more than none."""
    supply, threshold = voltage("the supply voltage", vdd_v), voltage("the threshold voltage", vth_v)
    over = np.asarray(supply - threshold)
    if (bad := first(over, over <= 0)) is not None:
        raise refuse("the supply voltage above the threshold", bad,
                     "a transistor that never switches on has no delay; give a supply above the threshold, in volts")
    return over
