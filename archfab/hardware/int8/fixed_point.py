"""Fixed-point arithmetic on 32-bit integers, as gemmlowp and the reference kernels of TensorFlow Lite define it.

All functions take and return numpy arrays of int64 that hold int32 values (Jacob and Warden, gemmlowp,
doc/quantization.md; arXiv:1712.05877, appendix B).
"""

from __future__ import annotations

import math

import numpy as np

INT32_MIN, INT32_MAX = -2**31, 2**31 - 1


def multiplier_of(real: float) -> tuple[int, int]:
    """A positive factor as (multiplier, shift): real = multiplier * 2^(shift - 31), multiplier in [2^30, 2^31)."""
    if real == 0:
        return 0, 0
    share, shift = math.frexp(real)
    multiplier = math.floor(share * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    if shift < -31:
        return 0, 0
    return (multiplier, shift) if shift <= 30 else (INT32_MAX, 30)


def multipliers_of(real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`multiplier_of` for each of several factors."""
    pairs = [multiplier_of(float(factor)) for factor in np.ravel(real)]
    return (np.array([m for m, _ in pairs], np.int64), np.array([s for _, s in pairs], np.int64))


def doubling_high_mul(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """The high 32 bits of 2 a b, rounded; saturates for -2^31 times itself."""
    product = np.asarray(a, np.int64) * b
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    return np.minimum(truncated(nudged, 31), INT32_MAX)


def truncated(x: np.ndarray, bits: int) -> np.ndarray:
    """x / 2^bits, towards zero."""
    return np.where(x >= 0, x >> bits, -(-x >> bits))


def rounding_shift(x: np.ndarray, bits: np.ndarray | int) -> np.ndarray:
    """x / 2^bits to the nearest integer; ties go away from zero."""
    x, bits = np.asarray(x, np.int64), np.asarray(bits, np.int64)
    mask = (np.int64(1) << bits) - 1
    return (x >> bits) + ((x & mask) > (mask >> 1) + (x < 0))


def scaled(x: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """x times a factor from `multiplier_of`, each step rounded."""
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    return rounding_shift(doubling_high_mul(np.asarray(x, np.int64) << left, multiplier), right)


def scaled_once(x: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """x times a factor from `multiplier_of`, rounded once: (x multiplier + half) >> (31 - shift), ties upwards."""
    bits = 31 - np.asarray(shift, np.int64)
    return (np.asarray(x, np.int64) * multiplier + (np.int64(1) << (bits - 1))) >> bits
