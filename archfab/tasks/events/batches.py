"""Event sequences as tensors: a row for the window's start and one for each event, as many for all of a batch."""

from __future__ import annotations

from collections.abc import Sequence as Row
from dataclasses import dataclass

import numpy as np
import torch

from archfab.tasks.events.data import Sequence


@dataclass(frozen=True)
class Padded:
    """Sequences side by side. Row 0 is the start of the window, of the type K, which is none of the types; row i is
    event i; after the last one come rows without meaning, which networks may not let earlier rows see.

    :param types: int64 [N, L]. :param gaps: float32 [N, L], the time since the row before.
    :param waits: float32 [N, L], the time from this row to the next event, or to the window's end after the last one;
        0 in rows without meaning. :param following: int64 [N, L], the type of the next event.
    :param scored: float32 [N, L], 1 where the next event has a likelihood, else 0.
    """

    types: torch.Tensor
    gaps: torch.Tensor
    waits: torch.Tensor
    following: torch.Tensor
    scored: torch.Tensor

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, chosen: torch.Tensor | slice) -> Padded:
        return Padded(*(tensor[chosen] for tensor in self.tensors))

    def to(self, device: torch.device) -> Padded:
        return Padded(*(tensor.to(device) for tensor in self.tensors))

    def trimmed(self) -> Padded:
        """Without the last rows in which no sequence has a meaning."""
        used = ((self.waits > 0) | (self.scored > 0)).any(0).nonzero()
        return Padded(*(tensor[:, :int(used.max()) + 1 if len(used) else 1] for tensor in self.tensors))

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return self.types, self.gaps, self.waits, self.following, self.scored

    @property
    def inputs(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What a network takes: types and gaps of the rows, and the time after each at which it is asked, [N, L, 1]."""
        return self.types, self.gaps, self.waits[..., None]

    @property
    def batch(self) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """Inputs and targets."""
        return self.inputs, (self.following, self.scored)


def padded(sequences: Row[Sequence], types: int, unit: float, rows: int | None = None) -> Padded:
    """Sequences as tensors.

    :param types: how many types there are. :param unit: the time that counts as 1.
    :param rows: L; as many as are needed by default.
    """
    rows = rows or 1 + max(map(len, sequences))
    shape = len(sequences), rows
    kinds = np.full(shape, types, np.int64)
    following = np.zeros(shape, np.int64)
    gaps, waits, scored = (np.zeros(shape, np.float32) for _ in range(3))
    for i, each in enumerate(sequences):
        n = len(each)
        steps = np.diff(each.times, prepend=each.start, append=each.end) / unit
        kinds[i, 1:n + 1], following[i, :n] = each.types, each.types
        gaps[i, 1:n + 1], waits[i, :n + 1] = steps[:n], steps
        scored[i, each.given:n] = 1
    return Padded(*map(torch.from_numpy, (kinds, gaps, waits, following, scored)))
