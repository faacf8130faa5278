"""How weights lie in flash: each family of kernels reads them in an order of its own, which costs nothing when the
code is generated and saves instructions in every inference."""

from __future__ import annotations

import math

import numpy as np

LANES = 16          # bytes of a vector
Kernels = str       # plain, dsp or mve, see `cores.Core`


def dense(weights: np.ndarray, groups: int, kernels: Kernels) -> list[np.ndarray]:
    """The weights of a convolution [outputs, ...], one array of bytes for each group."""
    arrange = {"plain": twos, "dsp": pairs, "mve": blocks}[kernels]
    return [arrange(part) for part in np.split(weights.reshape(len(weights), -1), groups)]


def connected(weights: np.ndarray, kernels: Kernels) -> np.ndarray:
    """The weights of a fully connected layer [outputs, inputs]."""
    return weights.ravel() if kernels == "plain" else dense(weights, 1, kernels)[0]


def grown(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A matrix with zeros below and to the right, so that its sizes are multiples of these."""
    down, right = (-x.shape[0] % rows, -x.shape[1] % columns)
    return np.pad(x, ((0, down), (0, right)))


def twos(weights: np.ndarray) -> np.ndarray:
    """Two elements of one channel, then of the next: a0 a1 b0 b1, a2 a3 b2 b3."""
    x = grown(weights, 2, 2)
    return x.reshape(len(x) // 2, 2, -1, 2).transpose(0, 2, 1, 3).ravel()


def pairs(weights: np.ndarray) -> np.ndarray:
    """Words of two channels and two elements, for SXTB16: a0 b0 a2 b2, then a1 b1 a3 b3."""
    x = grown(weights, 2, 4)
    x = x.reshape(len(x) // 2, 2, -1, 2, 2)            # channel pair, channel, four elements as (0, 1), (2, 3)
    return x.transpose(0, 2, 4, 3, 1).ravel()


def blocks(weights: np.ndarray) -> np.ndarray:
    """Four channels at a time, a vector of each; in the end what is left of the depth."""
    x = grown(weights, 4, 1)
    whole = x.shape[1] // LANES * LANES
    parts = []
    for four in x.reshape(-1, 4, x.shape[1]):
        parts += [four[:, :whole].reshape(4, -1, LANES).transpose(1, 0, 2).ravel(), four[:, whole:].ravel()]
    return np.concatenate(parts)


def depthwise(weights: np.ndarray, kernels: Kernels) -> np.ndarray:
    """Weights [taps, channels] in blocks of four or, for vectors, eight channels, tap by tap; vectors take two taps
    at a time."""
    block, taps = (8, 2) if kernels == "mve" else (4, 1)
    x = grown(weights, taps, block)
    return x.reshape(len(x), -1, block).transpose(1, 0, 2).ravel()


SLOW = 100          # AF_SLOW in kernels/archfab.h


def channels(bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, fast: np.ndarray,
             kernels: Kernels) -> np.ndarray:
    """The numbers of a group's output channels. For vectors four biases, four multipliers, four shifts, ...; else one
    channel after the other: bias, multiplier, and how far to shift right in the end where that is `fast` (`af_channel`
    in kernels/archfab.h)."""
    if kernels == "mve":
        return grown(np.stack([bias, multiplier, shift], 1), 4, 1).reshape(-1, 4, 3).transpose(0, 2, 1).ravel()
    return grown(np.stack([bias, multiplier, np.where(fast, -1 - shift, shift - SLOW)], 1), 4, 1).ravel()


def channels_once(bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, fast: np.ndarray,
                  kernels: Kernels) -> np.ndarray:
    """The same for a layer whose sums are rounded once, after which one bit less is left to shift."""
    return channels(bias, multiplier, shift + fast * (kernels != "mve"), fast, kernels)


def depthwise_channels(bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, fast: np.ndarray,
                       kernels: Kernels) -> np.ndarray:
    """The same for a depthwise convolution, whose vectors hold the even and the odd ones of eight channels."""
    if kernels == "mve":
        order = np.arange(-(-len(bias) // 8) * 8).reshape(-1, 4, 2).transpose(0, 2, 1).ravel()
        bias, multiplier, shift, fast = (np.pad(x, (0, -len(x) % 8))[order] for x in (bias, multiplier, shift, fast))
    return channels(bias, multiplier, shift, fast, kernels)


def scratch(kernels: Kernels, depth: int, outputs: int) -> int:
    """Bytes that a convolution needs beside its input and output."""
    words = math.ceil(depth / 4)                    # of bytes
    return {"plain": 4 * (depth + depth % 2) + outputs, "dsp": 20 * words + outputs, "mve": 2 * depth + LANES}[kernels]
