"""What a figure of a wafer may be: errors for what is impossible, doubts for what looks like another unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from archfab.core import UsageError

RETICLE_MM = (26.0, 33.0)
RETICLE_MM2 = 858.0
"""The largest field that one exposure of a 4:1 scanner writes: 26 mm x 33 mm (ASML, product pages of the TWINSCAN)."""
LEAST, MOST = 1e-12, 1e15
"""Beyond these no figure of a wafer lies in any unit, and arithmetic begins to overflow."""
MOST_D0 = 50.0          # per cm2: beyond it a die of 10 mm2 yields less than 1 %
LEAST_AREA = 1e-3       # mm2: a die of 30 um x 30 um


def from_zero(name: str, value: Any) -> np.ndarray:
    """The value as an array of finite numbers from 0 up.

    :raises UsageError: says which figure is wrong, and what is legal.
    """
    found = _numbers(name, value)
    wrong = ~((found >= 0) & (found <= MOST))
    if wrong.any():
        raise UsageError(f"{name} of {_first(found, wrong)} is impossible; give a number from 0 up{_end(found)}")
    return found


def above_zero(name: str, value: Any) -> np.ndarray:
    """The value as an array of finite numbers above 0.

    :raises UsageError: says which figure is wrong, and what is legal.
    """
    found = _numbers(name, value)
    wrong = ~((found >= LEAST) & (found <= MOST))
    if wrong.any():
        raise UsageError(f"{name} of {_first(found, wrong)} is impossible; give a number above 0{_end(found)}")
    return found


def share(name: str, value: Any, zero: bool = False) -> np.ndarray:
    """The value as an array of shares: above 0 (or from 0 up) and at most 1.

    :raises UsageError: says which figure is wrong, and that percent are to be divided by 100 where that is likely.
    """
    found = _numbers(name, value)
    wrong = ~((found >= (0 if zero else LEAST)) & (found <= 1))
    if wrong.any():
        bad = float(found[wrong].flat[0])
        advice = f"; {bad:g} % are {bad / 100:g}" if 1 < bad <= 100 else ""
        raise UsageError(f"{name} of {bad:g} is no share; give a number {'from' if zero else 'above'} 0 "
                         f"up to 1{advice}")
    return found


def interval(name: str, value: float, ends: Sequence[float] | None) -> tuple[float, float] | None:
    """Both ends around a value; None where there are none.

    :raises UsageError: the value lies outside, or the ends are in the wrong order.
    """
    if ends is None:
        return None
    low, high = (float(end) for end in ends)
    if not low <= value <= high:
        raise UsageError(f"{name} of {value:g} does not lie in its interval, {low:g} to {high:g}; give the lower end "
                         "first, both in the unit of the value")
    return low, high


def doubts(d0_per_cm2: Any = None, area_mm2: Any = None, alpha: float | None = None) -> list[str]:
    """What looks like another unit: sentences to be shown beside the answer, which is not refused."""
    said = []
    if d0_per_cm2 is not None and np.max(d0_per_cm2) > MOST_D0:
        d0 = float(np.max(d0_per_cm2))
        said.append(f"a defect density of {d0:g} per cm2 is beyond any process in production (0.05 to 2 per cm2 are "
                    f"usual); if it is per m2, that is {d0 / 1e4:g} per cm2")
    elif d0_per_cm2 is not None and 0 < np.max(d0_per_cm2) < 0.003:
        d0 = float(np.max(d0_per_cm2))
        said.append(f"a defect density of {d0:g} per cm2 is below any process in production; if it is per mm2, that "
                    f"is {d0 * 100:g} per cm2")
    if area_mm2 is not None and np.max(area_mm2) > RETICLE_MM2:
        area = float(np.max(area_mm2))
        advice = f"; if it is in um2, that is {area / 1e6:g} mm2" if area > 70000 else ""
        said.append(f"a die of {area:g} mm2 is larger than one exposure, {RETICLE_MM2:g} mm2 "
                    f"({RETICLE_MM[0]:g} mm x {RETICLE_MM[1]:g} mm)" + advice)
    elif area_mm2 is not None and np.min(area_mm2) < LEAST_AREA:
        area = float(np.min(area_mm2))
        said.append(f"a die of {area:g} mm2 is smaller than a bond pad's surroundings; if it is in cm2, that is "
                    f"{area * 100:g} mm2")
    if alpha is not None and alpha > 1000 and np.isfinite(alpha):
        said.append(f"alpha of {alpha:g} is as good as no clustering, which the model 'poisson' says plainly")
    return said


def _numbers(name: str, value: Any) -> np.ndarray:
    try:
        found = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise UsageError(f"{name} of {value!r} is no number") from None
    if not found.size:
        raise UsageError(f"{name} has no values")
    return found


def _end(values: np.ndarray) -> str:
    return f" to {MOST:g}" if (values > MOST).any() else ""


def _first(values: np.ndarray, wrong: np.ndarray) -> str:
    return f"{float(values[wrong].flat[0]):g}"
