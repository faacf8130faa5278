"""An ensemble of small networks that predicts scores with their uncertainty (Lakshminarayanan et al., NeurIPS 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-8       # of Adam

Layers = tuple[tuple[np.ndarray, np.ndarray], ...]
"""Weights [members, inputs, outputs] and biases [members, 1, outputs] of each layer."""


@dataclass(frozen=True)
class Ensemble:
    """Multilayer perceptrons (ReLU between layers) that differ in their first weights and the order of their data.

    The spread of what they say is the uncertainty: small at the data, and growing away from them.
    """

    layers: Layers

    def predict(self, x: np.ndarray) -> np.ndarray:
        """What each member says of inputs [n, features]: [members, n, targets]."""
        return values(self.layers, x[None].astype(np.float32))[-1]


def fit(x: np.ndarray, y: np.ndarray, seed: int, *, members: int = 5, hidden: Sequence[int] = (32, 32),
        steps: int = 60, rate: float = 0.01, decay: float = 1.0, batch: int = 64) -> Ensemble:
    """Trains all members at once, each product of layers being one over a leading axis of members.

    Adam on the squared error (Kingma and Ba, ICLR 2015), the rate falling to 0 as a cosine. The time of a fit does
    not grow with the data.

    :param x: inputs [n, features].
    :param y: targets [n, targets] of about unit scale (see `log_places`); NaN where one is not known.
    :param seed: of the first weights and of the batches.
    :param steps: of gradient descent.
    :param decay: of the weights, as a share of the rate (Loshchilov and Hutter, ICLR 2019).
    :param batch: data of one step.
    """
    random = np.random.default_rng(seed)
    sizes = (x.shape[1], *hidden, y.shape[1])
    weights, layers = flat(members, sizes)
    slope, slopes = flat(members, sizes)
    for weight, _ in layers:
        weight[...] = random.normal(0, np.sqrt(2 / max(1, weight.shape[1])), weight.shape)     # He et al., ICCV 2015
    x, y = x.astype(np.float32), y.astype(np.float32)
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    draw = batches(len(x), members, min(batch, len(x)), random)
    for step in range(1, steps + 1):
        rows = next(draw)
        gradient(layers, x[rows], y[rows], slopes)
        first += (1 - FIRST) * (slope - first)
        second += (1 - SECOND) * (slope * slope - second)
        now = rate * (1 + np.cos(np.pi * (step - 1) / steps)) / 2
        weights *= 1 - now * decay
        weights -= now / (1 - FIRST ** step) * first / (np.sqrt(second / (1 - SECOND ** step)) + EPSILON)
    return Ensemble(layers)


def flat(members: int, sizes: Sequence[int]) -> tuple[np.ndarray, Layers]:
    """All weights of an ensemble as one vector of zeros, and views of it by layer."""
    shapes = [shape for inputs, outputs in pairwise(sizes)
              for shape in ((members, inputs, outputs), (members, 1, outputs))]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    vector = np.zeros(ends[-1], np.float32)
    views = [part.reshape(shape) for part, shape in zip(np.split(vector, ends[:-1]), shapes, strict=True)]
    return vector, tuple(zip(views[::2], views[1::2], strict=True))


def values(layers: Layers, x: np.ndarray) -> list[np.ndarray]:
    """The inputs [members or 1, n, features], and what comes out of each layer."""
    found = [x]
    for weight, bias in layers:
        z = found[-1] @ weight
        z += bias
        if weight is not layers[-1][0]:
            np.maximum(z, 0, out=z)
        found.append(z)
    return found


def gradient(layers: Layers, x: np.ndarray, y: np.ndarray, slopes: Layers) -> float:
    """Writes the loss's derivatives into `slopes`, shaped as the layers; returns the loss.

    The loss is the sum over members and targets of the squared error, averaged over the data [members, n, ...];
    a target that is not known (NaN) adds nothing.
    """
    found = values(layers, x)
    error = np.nan_to_num(found[-1] - y)
    count = max(1, x.shape[1])
    delta = 2 / count * error
    for i in reversed(range(len(layers))):
        weight, bias = slopes[i]
        np.matmul(found[i].transpose(0, 2, 1), delta, out=weight)
        delta.sum(axis=1, keepdims=True, out=bias)
        if i:
            delta = delta @ layers[i][0].transpose(0, 2, 1)
            delta *= found[i] > 0
    return float(np.square(error).sum() / count)


def batches(n: int, members: int, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows for each member [members, size], without end: passes through the data, each in an order of its own."""
    left = np.empty((members, 0), np.intp)
    while True:
        if left.shape[1] < size:
            order = random.permuted(np.tile(np.arange(n), (members, 1)), axis=1)
            left = np.concatenate([left, order], axis=1)
        yield left[:, :size]
        left = left[:, size:]


def log_places(y: np.ndarray) -> np.ndarray:
    """Each value by its place among the others, the least first: 1 + log(place / n), equal ones alike.

    Of mean 0 and deviation 1 for many values. Units and outliers do not matter, and as the step from a place to
    the next is 1 / place, the best ones are told apart and the bad ones hardly. NaN stays NaN.
    """
    found = np.full(len(y), np.nan)
    known = ~np.isnan(y)
    _, which, counts = np.unique(y[known], return_inverse=True, return_counts=True)
    found[known] = 1 + np.log((np.cumsum(counts) - counts / 2)[which] / max(1, known.sum()))
    return found
