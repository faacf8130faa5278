"""The linear recurrence y[i] = decay[i] y[i-1] + input[i] without a loop over events."""

from __future__ import annotations

import math

import numpy as np


def scan(decay: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Every state of a linear recurrence that starts from nothing, in about 2 sqrt(n) steps of array arithmetic.

    The rows stand in blocks. All blocks run side by side from a state of zero; then the state at the end of each is
    carried into the next. Nothing is divided or rescaled, so nothing over- or underflows; a decay of 0 begins anew,
    so that many sequences, one after the other, cost what a single one does.

    :param decay: [n, 1] or [n, c], from 0 to 1. :param inputs: [n, c].
    :returns: [n, c].
    """
    n, columns = inputs.shape
    if not n:
        return inputs.copy()
    length = max(1, math.isqrt(n) // 2)
    blocks = math.ceil(n / length)
    spare = blocks * length - n
    y = np.pad(inputs, ((0, spare), (0, 0))).reshape(blocks, length, columns)
    a = np.pad(decay, ((0, spare), (0, 0))).reshape(blocks, length, -1)
    whole = a.copy()                                # decay from the beginning of the block
    for i in range(1, length):
        y[:, i] += a[:, i] * y[:, i - 1]
        whole[:, i] *= whole[:, i - 1]
    carried = np.zeros((blocks, columns))           # the state at the end of the block before
    for block in range(1, blocks):
        carried[block] = y[block - 1, -1] + whole[block - 1, -1] * carried[block - 1]
    y += whole * carried[:, None]
    return y.reshape(-1, columns)[:n]
