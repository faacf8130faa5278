"""Operators of one int8 number: each is a table of 256 entries, made once from the scales of input and output.

The entries are those of TensorFlow Lite's reference kernels. `logistic`, `tanh`, `gelu` and `exp` go through
float32 there as here, step by step; exponentials and the like are rounded correctly, so an entry could differ from
another C library's by one where the value lies within a rounding error of a tie. `hard_swish`, `leaky_relu`,
`relu`, `rsqrt` and `quantize` are integer arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from archfab.hardware.int8.fixed_point import (
    INT32_MAX,
    doubling_high_mul,
    multiplier_of,
    rounding_shift,
    scaled,
    truncated,
)
from archfab.hardware.int8.graph import HIGH, LOW, Node, Tensor

NUMBERS = np.arange(LOW, HIGH + 1)
INT16_MIN, INT16_MAX = -2**15, 2**15 - 1


def table(node: Node, x: Tensor, out: Tensor) -> np.ndarray:
    """What the operator makes of -128, -127, ..., 127."""
    return np.clip(TABLES[node.op](node, x, out), LOW, HIGH).astype(np.int8)


def through_float(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Node, Tensor, Tensor], np.ndarray]:
    """The table of a real function; ties go away from zero."""
    def entries(node: Node, x: Tensor, out: Tensor) -> np.ndarray:
        real = np.float32(x.scale[0]) * (NUMBERS - x.zero).astype(np.float32)
        result = function(real)
        steps = result * (np.float32(1) / np.float32(out.scale[0]))
        return np.trunc(steps.astype(np.float64) + np.copysign(0.5, steps)) + out.zero
    return entries


def single(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """A function of float32 numbers, rounded correctly."""
    return function(x.astype(np.float64)).astype(np.float32)


def logistic(x: np.ndarray) -> np.ndarray:
    return np.float32(1) / (np.float32(1) + single(np.exp, -x))


def gelu(node: Node, x: Tensor, out: Tensor) -> np.ndarray:
    """x Phi(x), or its approximation by a hyperbolic tangent (Hendrycks and Gimpel, 2016)."""
    from scipy.special import erf
    half, one = np.float32(0.5), np.float32(1)

    def exact(x: np.ndarray) -> np.ndarray:
        return half * x * (one + single(erf, x * np.float32(np.sqrt(0.5))))

    def approximate(x: np.ndarray) -> np.ndarray:
        inner = np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)
        return half * x * (one + single(np.tanh, inner))

    return through_float(approximate if node.options["approximate"] else exact)(node, x, out)


def quantize(node: Node, x: Tensor, out: Tensor) -> np.ndarray:
    real = np.float64(np.float32(x.scale[0])) / np.float64(np.float32(out.scale[0]))
    return scaled(NUMBERS - x.zero, *multiplier_of(float(real))) + out.zero


def relu(node: Node, x: Tensor, out: Tensor) -> np.ndarray:
    ratio = np.float32(x.scale[0]) / np.float32(out.scale[0])
    return np.clip(scaled(NUMBERS - x.zero, *multiplier_of(float(ratio))) + out.zero, *node.clamp)


def leaky_relu(node: Node, x: Tensor, out: Tensor) -> np.ndarray:
    here, there, alpha = np.float32(x.scale[0]), np.float32(out.scale[0]), np.float32(node.options["alpha"])
    value = NUMBERS - x.zero
    slope, flat = multiplier_of(float(here / there)), multiplier_of(float(here * alpha / there))
    return np.where(value >= 0, scaled(value, *slope), scaled(value, *flat)) + out.zero


def hard_swish(node: Node, x: Tensor, out: Tensor) -> np.ndarray:
    """x min(6, max(0, x + 3)) / 6 in 16-bit arithmetic (Howard et al., ICCV 2019)."""
    fine = np.float32(x.scale[0]) * np.float32(1 / 128)
    value = (NUMBERS - x.zero).astype(np.int64) << 7
    to_out, out_shift = halves(float(fine / np.float32(out.scale[0])))
    to_gate, gate_shift = halves(float(fine / (np.float32(3) / np.float32(32768))))
    gate = saturated(value << max(gate_shift - 1, 0))
    gate = high_mul_16(gate, to_gate)
    gate = saturated(gate << 1) if gate_shift > 0 else rounding_shift(gate, -gate_shift)
    gate = (gate + (1 << 15)) >> 1                              # from [-1, 1) to [0, 1)
    product = truncated(gate * high_mul_16(value, to_out), 15)
    if out_shift <= -16:                                        # there the kernel's mask of 16 bits is -1
        return (product >> 16) + (product > (product < 0) - 1) + out.zero
    return rounding_shift(product, -out_shift) + out.zero


def halves(real: float) -> tuple[int, int]:
    """A factor with a multiplier of 16 bits."""
    multiplier, shift = multiplier_of(real)
    return min((multiplier + (1 << 15)) >> 16, INT16_MAX), shift


def saturated(x: np.ndarray) -> np.ndarray:
    return np.clip(x, INT16_MIN, INT16_MAX)


def high_mul_16(a: np.ndarray, b: int) -> np.ndarray:
    """The high 16 bits of 2 a b, rounded."""
    product = a * b
    return np.minimum(truncated(product + np.where(product >= 0, 1 << 14, 1 - (1 << 14)), 15), INT16_MAX)


RSQRT_BITS = 20     # bits that 1 / sqrt(x) keeps before it is scaled


def rsqrt(node: Node, x: Tensor, out: Tensor) -> np.ndarray:
    """1 / sqrt(x); numbers that are not positive give the largest output."""
    factor = 1 / (np.sqrt(np.float32(x.scale[0])) * np.float32(out.scale[0]))
    multiplier, shift = multiplier_of(float(factor))
    value = NUMBERS - x.zero
    kept = scaled(np.ones_like(value), *inverse_roots(np.maximum(value, 1)))
    return np.where(value > 0, scaled(kept, multiplier, shift - RSQRT_BITS) + out.zero, HIGH)


def inverse_roots(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 / sqrt of integers from 1 to 2^29 as (multiplier, shift), times 2^RSQRT_BITS, by five steps of Newton's
    iteration with three integer bits."""
    pairs = (31 - np.frexp(values)[1].astype(np.int64)) // 2 - 1        # pairs of leading zeros, less one
    half = rounding_shift((values << (2 * pairs)) >> 1, 1)
    root = np.full(values.shape, 1 << 28, np.int64)
    for _ in range(5):
        cube = shifted(doubling_high_mul(doubling_high_mul(root, root), root), 6)
        root = shifted(doubling_high_mul(root, (1 << 27) + (1 << 28)) - doubling_high_mul(half, cube), 3)
    mantissa, shift = doubling_high_mul(root, 1518500250), 11 - pairs   # times 1 / sqrt(2)
    mantissa, shift = mantissa << np.maximum(-shift, 0), np.maximum(shift, 0)
    one = values == 1
    return np.where(one, INT32_MAX, mantissa), np.where(one, 0, -shift) + RSQRT_BITS


def shifted(x: np.ndarray, bits: int) -> np.ndarray:
    """Times a power of two, saturating: back to three integer bits."""
    return np.clip(np.asarray(x, np.int64) << bits, -2**31, INT32_MAX)


TABLES: dict[str, Callable[[Node, Tensor, Tensor], np.ndarray]] = {
    "logistic": through_float(logistic), "tanh": through_float(lambda x: single(np.tanh, x)),
    "exp": through_float(lambda x: single(np.exp, x)), "gelu": gelu,
    "quantize": quantize, "relu": relu, "leaky_relu": leaky_relu, "hard_swish": hard_swish, "rsqrt": rsqrt}
