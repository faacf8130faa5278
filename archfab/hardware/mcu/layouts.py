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
    return {"plain": np.ravel, "dsp": pairs, "mve": blocks}[kernels](weights)


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


def depthwise(weights: np.ndarray) -> np.ndarray:
    """Weights [taps, channels] in blocks of four channels, tap by tap."""
    x = grown(weights, 1, 4)
    return x.reshape(len(x), -1, 4).transpose(1, 0, 2).ravel()


def scratch(kernels: Kernels, depth: int) -> int:
    """Bytes that a convolution needs beside its input and output."""
    return {"plain": 4 * (depth + depth % 2), "dsp": 2 * 4 * 2 * math.ceil(depth / 4) + 4 * math.ceil(depth / 4),
            "mve": 2 * depth + LANES}[kernels]
