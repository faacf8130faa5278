"""Softmax in integers: a table of exponentials, their sum, and its reciprocal by Newton's iteration.

As gemmlowp's fixed-point functions and the reference kernel of TensorFlow Lite compute it. Qm.n is a 32-bit number
with m integer and n fractional bits.
"""

from __future__ import annotations

import numpy as np

from archfab.hardware.int8.fixed_point import INT32_MAX, INT32_MIN, doubling_high_mul, multiplier_of, rounding_shift
from archfab.hardware.int8.graph import HIGH, LOW

DIFFERENCE_BITS = 5         # differences are Q5.26
SUM_BITS = 12               # sums are Q12.19
EXP_EIGHTH, THIRD = 1895147668, 715827883                       # exp(-1/8) and 1/3 in Q0.31
EXP_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)     # exp(-2^k), k = -2 ... 4
FIRST, SLOPE = 1515870810, -1010580540                          # 48/17 and -32/17 in Q2.29: Newton's first guess


def exponentials(scale: float, beta: float = 1.0) -> np.ndarray:
    """exp(-beta scale d) in Q0.31 for the differences d = 0, 1, ..., 255; 0 where it is too small to count."""
    real = min(float(np.float32(scale)) * float(np.float32(beta)) * 2 ** (31 - DIFFERENCE_BITS), 2.0**31 - 1)
    multiplier, shift = multiplier_of(real)
    least = int(((1 << DIFFERENCE_BITS) - 1) * 2.0 ** (31 - DIFFERENCE_BITS - shift))
    d = np.arange(256, dtype=np.int64)
    kept = np.minimum(d, min(least, 255))
    return np.where(d <= least, exp_of(doubling_high_mul(-kept << max(shift, 0), multiplier)), 0)


def exp_of(x: np.ndarray) -> np.ndarray:
    """exp of numbers up to 0 in Q5.26, in Q0.31."""
    fraction = 31 - DIFFERENCE_BITS
    quarter = 1 << (fraction - 2)
    part = (x & (quarter - 1)) - quarter                        # in [-1/4, 0): the rest is a sum of powers of two
    y = (part << DIFFERENCE_BITS) + (1 << 28)                   # from -1/8 on, for a Taylor series there
    square = doubling_high_mul(y, y)
    cube, fourth = doubling_high_mul(square, y), doubling_high_mul(square, square)
    tail = rounding_shift(doubling_high_mul(rounding_shift(fourth, 2) + cube, THIRD) + square, 1)
    result = EXP_EIGHTH + doubling_high_mul(y + tail, EXP_EIGHTH)
    rest = part - x
    for k, factor in enumerate(EXP_POWERS):
        result = np.where(rest & (1 << (fraction - 2 + k)), doubling_high_mul(result, factor), result)
    return np.where(x == 0, INT32_MAX, result)


def reciprocal(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 / total for sums in Q12.19: a number in Q0.31, and by how many bits more it has to be shifted right."""
    zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
    x = (total << zeros) - (1 << 31)                            # the sum is (1 + x) 2^(12 - zeros)
    half = (x + INT32_MAX + 1) >> 1
    guess = FIRST + doubling_high_mul(half, SLOPE)
    for _ in range(3):
        error = (1 << 29) - doubling_high_mul(half, guess)
        guess = guess + saturated(doubling_high_mul(guess, error), 2)
    return saturated(guess, 1), SUM_BITS - zeros


def saturated(x: np.ndarray, bits: int) -> np.ndarray:
    return np.clip(x << bits, INT32_MIN, INT32_MAX)


def softmax_of(x: np.ndarray, scale: float, beta: float) -> np.ndarray:
    """The quantised shares along the last axis, of scale 1/256 and zero -128."""
    x = x.astype(np.int64)
    powers = exponentials(scale, beta)[x.max(-1, keepdims=True) - x]
    factor, more = reciprocal(rounding_shift(powers, SUM_BITS).sum(-1, keepdims=True))
    return np.clip(rounding_shift(doubling_high_mul(factor, powers), more + 31 - 8) + LOW, LOW, HIGH)
