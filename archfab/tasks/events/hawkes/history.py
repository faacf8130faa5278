"""Many sequences as one run of events, with the sums over the past of each event that an exponential kernel needs."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Row
from functools import cached_property
from itertools import pairwise

import numpy as np

from archfab.core import UsageError
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes.scan import scan


class History:
    """Sequences one after the other; nothing in one of them is the past of another.

    An event's past are the events before it in its sequence, those at the same time included. An event that opens
    its window (`Sequence.given`) is the past of others and is not scored itself.

    :param kinds: how many types there are.
    :raises UsageError: for a type that is not below `kinds`, with where it stands.
    """

    def __init__(self, sequences: Iterable[Sequence], kinds: int) -> None:
        found = list(sequences)
        if kinds < 1 or not found:
            raise UsageError(f"a history of {len(found)} sequences and {kinds} types; give at least one of both")
        for number, sequence in enumerate(found, 1):
            if len(sequence) and sequence.types.max() >= kinds:
                bad = int(np.argmax(sequence.types >= kinds))
                raise UsageError(f"sequence {number}, event {bad + 1}: the type {sequence.types[bad]} is unknown; "
                                 f"types are 0 to {kinds - 1}")
        self.kinds = kinds
        self.sizes = np.array([len(sequence) for sequence in found])
        self.length = np.array([sequence.length for sequence in found])
        self.sequence = np.repeat(np.arange(len(found)), self.sizes)
        self.times = np.concatenate([sequence.times - sequence.start for sequence in found])    # from the start
        self.types = np.concatenate([sequence.types for sequence in found])
        self.first = np.diff(self.sequence, prepend=-1) > 0
        self.scored = ~(self.first & (self.times == 0))
        self.gaps = np.where(self.first, 0.0, np.diff(self.times, prepend=0.0))
        self.left = self.length[self.sequence] - self.times                 # to the end of the window
        self.duration = float(self.length.sum())

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def order(self) -> np.ndarray:
        """The scored events, those of each type together."""
        return np.argsort(np.where(self.scored, self.types, self.kinds), kind="stable")[:int(self.scored.sum())]

    @cached_property
    def counts(self) -> np.ndarray:
        """How many scored events each type has."""
        return np.bincount(self.types[self.scored], minlength=self.kinds)

    @cached_property
    def parts(self) -> list[slice]:
        """Where the events of each type stand in `order`."""
        edges = np.concatenate([[0], np.cumsum(self.counts)])
        return [slice(low, high) for low, high in pairwise(edges)]

    @cached_property
    def runs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """For kernels that differ by target: of each scored event in `order`, the gap since the scored event of its
        type before it and whether there is one; of each pair (event, target), the next scored event of the target in
        `order`, or -1, and the time to it."""
        place = np.full((self.kinds, len(self) + 1), -1)
        place[self.types[self.order], self.order] = np.arange(len(self.order))
        times, sequence = self.times[self.order], self.sequence[self.order]
        earlier = np.concatenate([[False], (np.diff(self.types[self.order]) == 0) & (np.diff(sequence) == 0)])
        gaps = np.where(earlier, np.diff(times, prepend=0.0), 0.0)
        after = np.where(place < 0, len(self.order), place)                 # within a type, places ascend
        after = np.minimum.accumulate(after[:, ::-1], axis=1)[:, ::-1][:, 1:]
        target = np.minimum(after, max(0, len(self.order) - 1))
        valid = (after < len(self.order)) & (sequence[target] == self.sequence) if len(self.order) else after < 0
        wait = np.where(valid, times[target] - self.times, 0.0) if len(self.order) else np.zeros(after.shape)
        return gaps, earlier, np.where(valid, after, -1), wait

    def moments(self, decays: np.ndarray, highest: int = 0) -> list[np.ndarray]:
        """Sums over the past of each scored event in `order`, by component m and source type j:
        sum of (t_i - t_l)^p exp(-decay[m, j, k_i] (t_i - t_l)) over events l < i of type j, for p = 0 to `highest`.

        :param decays: [M, 1, 1] (one for all pairs), [M, 1, K] (by target) or [M, K, K] (by pair).
        :returns: for each p, [N, M, K].
        """
        each = [self.shared(decay.item(), highest) if decay.size == 1 else self.by_target(decay, highest)
                for decay in decays]
        empty = np.zeros((len(self.order), 0, self.kinds))              # of a Poisson process
        return [np.stack([sums[p] for sums in each], axis=1) if each else empty for p in range(highest + 1)]

    def shared(self, decay: float, highest: int) -> list[np.ndarray]:
        """The moments where one decay holds for all pairs: one scan over all events."""
        factor = np.where(self.first, 0.0, np.exp(-decay * self.gaps))[:, None]
        inputs = np.zeros((len(self), self.kinds))
        inputs[np.arange(1, len(self)), self.types[:-1]] = factor[1:, 0]
        return [sums[self.order] for sums in moments(factor, inputs, self.gaps[:, None], highest)]

    def by_target(self, decay: np.ndarray, highest: int) -> list[np.ndarray]:
        """The moments where decays differ by target: one scan over the events of each target, all of them at once."""
        gaps, earlier, after, wait = self.runs
        n = len(self.order)
        pair = np.broadcast_to(decay, (self.kinds, self.kinds))[self.types].T           # [target, event]
        chosen = after >= 0
        where = (after * self.kinds + self.types)[chosen]
        weight, wait = np.exp(-pair * wait)[chosen], wait[chosen]
        inputs = [np.bincount(where, weight * wait**p, minlength=n * self.kinds).reshape(n, self.kinds).astype(float)
                  for p in range(highest + 1)]
        own = decay[0, self.types[self.order]][:, None] if len(decay) == 1 else decay[:, self.types[self.order]].T
        factor = np.where(earlier[:, None], np.exp(-own * gaps[:, None]), 0.0)
        return moments(factor, inputs[0], gaps[:, None], highest, inputs[1:])

    def states(self, decay: np.ndarray) -> np.ndarray:
        """Just after each event, in order of time: sum of exp(-decay (t_i - t_l)) over events l <= i, by source type.

        :param decay: [1] or [K], by source. :returns: [N, K].
        """
        factor = np.where(self.first[:, None], 0.0, np.exp(-decay * self.gaps[:, None]))
        return scan(factor, np.eye(self.kinds)[self.types])

    @cached_property
    def stays(self) -> np.ndarray:
        """How long the state after each event holds: to the next event, or to the end of the window."""
        last = np.append(self.first[1:], True)[:len(self)]
        return np.where(last, self.left, np.append(self.gaps[1:], 0.0)[:len(self)])

    def covered(self, decays: np.ndarray, highest: int = 0) -> list[np.ndarray]:
        """The share of each event's kernel that its window holds, summed over the events of each type, and its first
        and second derivative by the decay: sums of 1 - e^(-dx), x e^(-dx), -x^2 e^(-dx), x the time to the end.

        :returns: for each, [M, K, 1 or K].
        """
        found = []
        for power in range(highest + 1):
            rows = np.zeros((len(decays), self.kinds, decays.shape[2]))
            for m, k in np.ndindex(len(decays), decays.shape[2]):
                own = decays[m, :, k][self.types] if decays.shape[1] > 1 else decays[m, 0, k]
                fallen = np.exp(-own * self.left)
                value = (1 - fallen, self.left * fallen, -self.left**2 * fallen)[power]
                rows[m, :, k] = np.bincount(self.types, value, minlength=self.kinds)
            found.append(rows)
        return found


def moments(factor: np.ndarray, inputs: np.ndarray, gaps: np.ndarray, highest: int,
            more: Row[np.ndarray] = ()) -> list[np.ndarray]:
    """Scans of the sums of t^p exp(-decay t), p up to 2: each follows from the ones below it.

    :param factor: what is left of the sums at the row before. :param inputs: what is new at a row, for p = 0.
    :param more: what is new for p = 1 and 2, where it is not as old as the gap; without it the new part is
        `inputs` times gap^p.
    """
    found = [scan(factor, inputs)]
    if highest >= 1:
        kept = found[0] - inputs if more else found[0]
        found.append(scan(factor, gaps * kept + (more[0] if more else 0.0)))
    if highest >= 2:
        if more:
            kept = gaps * (2 * (found[1] - more[0]) - gaps * kept) + more[1]
        else:
            kept = gaps * (2 * found[1] - gaps * found[0])
        found.append(scan(factor, kept))
    return found
