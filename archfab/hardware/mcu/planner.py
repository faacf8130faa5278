"""Where tensors lie in the arena: a place is used again as soon as nobody needs what stands there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

ALIGNMENT = 8


class Need(NamedTuple):
    """A piece of memory: how many bytes, from which step to which."""

    size: int
    first: int
    last: int


def offsets(needs: Sequence[Need]) -> tuple[list[int], int]:
    """A place for each piece, and the size of the whole: the largest first, each as low as it goes."""
    places: dict[int, int] = {}
    for i in sorted(range(len(needs)), key=lambda i: (-needs[i].size, needs[i].first)):
        size, first, last = needs[i]
        taken = sorted((places[j], places[j] + needs[j].size) for j in places
                       if needs[j].first <= last and first <= needs[j].last)
        at = 0
        for begin, end in taken:
            if at + size <= begin:
                break
            at = max(at, -(-end // ALIGNMENT) * ALIGNMENT)
        places[i] = at
    return [places[i] for i in range(len(needs))], max((places[i] + needs[i].size for i in places), default=0)
