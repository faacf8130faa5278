"""Windows: what a network sees of a series before an origin, and what comes after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from archfab.tasks.forecasting.series import Array


class Batch(NamedTuple):
    """Windows [B, look-back] with the oldest value first and NaN where none is known, what followed [B, horizon], and
    the naive error of each window's series [B]."""

    inputs: torch.Tensor
    truth: torch.Tensor
    scale: torch.Tensor


class Sampler:
    """Draws training windows: a series evenly, then an origin evenly among its last ones (Oreshkin et al., ICLR 2020).

    :param parts: of each series, what may be learned from. :param scales: their naive errors.
    :param shortest: the look-back in which something has to be known. :param history: how many steps before the end
        of a series its first origin lies at most; the last one has one value after it.
    """

    def __init__(self, parts: Sequence[Array], scales: Array, lookback: int, horizon: int, shortest: int,
                 history: int) -> None:
        self.lookback, self.horizon = lookback, horizon
        pieces: list[np.ndarray] = []
        begins: list[np.ndarray] = []       # of windows, each `lookback` before its origin
        at = 0
        for values in parts:
            pieces += [np.full(lookback, np.nan), values, np.full(horizon, np.nan)]
            known = np.flatnonzero(self.useful(values, shortest, horizon, history))
            begins.append(at + known)
            at += lookback + len(values) + horizon
        self.view = torch.from_numpy(np.concatenate(pieces)).float().unfold(0, lookback + horizon, 1)
        self.begins = torch.from_numpy(np.concatenate(begins))
        self.scales = torch.from_numpy(np.asarray(scales)).float()
        self.count = torch.tensor([len(each) for each in begins])
        self.first = self.count.cumsum(0) - self.count

    @staticmethod
    def useful(values: Array, shortest: int, horizon: int, history: int) -> np.ndarray:
        """For each origin from 0 to len(values) - 1, whether windows are drawn there: it is recent, all of the shortest
        look-back lies in the series, and something is known in it and after it."""
        known = np.concatenate([[0], np.cumsum(~np.isnan(values))])
        at = np.arange(len(values))
        before = known[at] - known[np.maximum(at - shortest, 0)]
        after = known[np.minimum(at + horizon, len(values))] - known[at]
        return (at >= np.maximum(shortest, len(values) - history)) & (before > 0) & (after > 0)

    def draw(self, number: int, draws: torch.Generator, members: torch.Tensor | None = None,
             part: tuple[float, float] = (0.0, 1.0)) -> Batch:
        """So many windows.

        :param members: the series to draw from; all without it. :param part: which share of each one's origins.
        """
        drawn = torch.rand(2, number, generator=draws)
        if members is None:
            series = (drawn[0] * len(self.count)).long()
        else:
            series = members[(drawn[0] * len(members)).long()]
        share = part[0] + drawn[1] * (part[1] - part[0])
        place = self.first[series] + torch.minimum((share * self.count[series]).long(), self.count[series] - 1)
        whole = self.view[self.begins[place]]
        return Batch(whole[:, :self.lookback], whole[:, self.lookback:], self.scales[series])

    def epoch(self, steps: int, batch: int, draws: torch.Generator, members: torch.Tensor | None = None,
              part: tuple[float, float] = (0.0, 1.0)) -> Iterator[Batch]:
        for _ in range(steps):
            yield self.draw(batch, draws, members, part)


def at_origins(full: Sequence[Array], backs: Sequence[int], lookback: int, horizon: int) -> tuple[Array, Array]:
    """The windows of all series at some origins, series by series: inputs [W, look-back] and truth [W, horizon].

    :param backs: how many values of a series follow each origin; beyond its beginning and end nothing is known.
    """
    inputs = np.full((len(full) * len(backs), lookback), np.nan)
    truth = np.full((len(inputs), horizon), np.nan)
    for i, values in enumerate(full):
        for j, back in enumerate(backs):
            at = len(values) - back
            before, after = values[max(0, at - lookback):at], values[at:at + horizon]
            inputs[i * len(backs) + j, lookback - len(before):] = before
            truth[i * len(backs) + j, :len(after)] = after
    return inputs, truth
