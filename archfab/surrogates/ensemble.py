"""An ensemble of small networks that predicts scores with their uncertainty (Lakshminarayanan et al., NeurIPS 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Ensemble:
    """Multilayer perceptrons that differ in their initial weights and in the order of the data; ReLU between layers.

    All members are trained at once by products with a leading member axis. The spread of their predictions is
    the uncertainty: it is small at the data and grows away from it.
    """

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    """Weights [members, inputs, outputs] and biases [members, 1, outputs] of each layer."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """What each member says: [members, n, targets] for inputs [n, features]."""
        return forward(self.layers, np.broadcast_to(x, (len(self.layers[0][0]), *x.shape)))[-1]


def fit(x: np.ndarray, y: np.ndarray, seed: int, *, members: int = 5, hidden: Sequence[int] = (32, 32),
        steps: int = 100, rate: float = 0.01, decay: float = 1e-3, batch: int = 64) -> Ensemble:
    """An ensemble trained by Adam (Kingma and Ba, ICLR 2015) on the squared error, the rate falling to 0 as a cosine.

    :param x: inputs [n, features].
    :param y: targets [n, targets], of about unit scale (see `normal_scores`); NaN where one is not known.
    :param seed: of the weights and batches.
    :param steps: gradient steps, whatever n: the time of a fit does not grow with the data.
    :param decay: how much of the weights is lost by a step at rate 1 (Loshchilov and Hutter, ICLR 2019).
    :param batch: data of one step, drawn for each member on its own.
    """
    random = np.random.default_rng(seed)
    sizes = (x.shape[1], *hidden, y.shape[1])
    weights, layers = initial(sizes, members, random)
    slope, slopes = like(sizes, members)
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    x, y = x.astype(np.float32), y.astype(np.float32)
    order = Batches(len(x), members, min(batch, len(x)), random)
    for step in range(1, steps + 1):
        rows = order.next()
        gradient(layers, x[rows], y[rows], slopes)
        adam(weights, slope, first, second, step, rate * 0.5 * (1 + np.cos(np.pi * (step - 1) / steps)), decay)
    return Ensemble(layers)


def adam(weights, slope, first, second, step, rate, decay):
    first += 0.1 * (slope - first)
    second += 0.001 * (slope * slope - second)
    weights *= 1 - rate * decay
    weights -= (rate / (1 - 0.9 ** step)) * first / (np.sqrt(second / (1 - 0.999 ** step)) + 1e-8)


class Batches:
    """Rows for each member: passes through the data in an order of its own, one after another."""

    def __init__(self, n, members, size, random):
        self.n, self.members, self.size, self.random = n, members, size, random
        self.left = np.empty((members, 0), dtype=np.intp)

    def next(self):
        if self.left.shape[1] < self.size:
            order = self.random.permuted(np.tile(np.arange(self.n), (self.members, 1)), axis=1)
            self.left = np.concatenate([self.left, order], axis=1)
        rows, self.left = self.left[:, :self.size], self.left[:, self.size:]
        return rows


def like(sizes, members):
    shapes = [shape for a, b in pairwise(sizes) for shape in ((members, a, b), (members, 1, b))]
    flat = np.zeros(sum(int(np.prod(s)) for s in shapes), dtype=np.float32)
    views, at = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        views.append(flat[at:at + size].reshape(shape))
        at += size
    return flat, tuple(zip(views[::2], views[1::2], strict=True))


def initial(sizes, members, random):
    flat, layers = like(sizes, members)
    for weight, _ in layers:
        weight[...] = random.normal(0, np.sqrt(2 / weight.shape[1]), weight.shape)
    return flat, layers


def forward(layers, x):
    values = [x]
    for i, (weight, bias) in enumerate(layers):
        z = values[-1] @ weight
        z += bias
        if i < len(layers) - 1:
            np.maximum(z, 0, out=z)
        values.append(z)
    return values


def gradient(layers, x, y, slopes):
    values = forward(layers, x)
    delta = values[-1] - y
    missing = np.isnan(delta)
    if missing.any():
        delta[missing] = 0
    loss = float((delta * delta).sum() / (delta.shape[1]))
    delta *= 2 / delta.shape[1]
    for i in range(len(layers) - 1, -1, -1):
        weight, bias = slopes[i]
        np.matmul(values[i].transpose(0, 2, 1), delta, out=weight)
        delta.sum(axis=1, keepdims=True, out=bias)
        if i:
            delta = delta @ layers[i][0].transpose(0, 2, 1)
            delta *= values[i] > 0
    return loss
