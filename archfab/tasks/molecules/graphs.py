"""Structures as a network takes them: edges within its cutoff, many structures side by side as one graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from archfab.tasks.molecules.data import Structure

Graph = tuple[np.ndarray, np.ndarray]       # edges [2, E] and shifts [E, 3]


class Graphs:
    """Structures, with the edges of each within each cutoff found once."""

    def __init__(self, structures: Sequence[Structure]) -> None:
        self.structures = list(structures)
        self._known: dict[tuple[int, float], Graph] = {}

    def __len__(self) -> int:
        return len(self.structures)

    def edges(self, i: int, cutoff: float) -> Graph:
        if (i, cutoff) not in self._known:
            self._known[i, cutoff] = self.structures[i].neighbours(cutoff)
        return self._known[i, cutoff]

    def batch(self, chosen: Sequence[int], cutoff: float) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """Some structures as the inputs of a network, and what it should say: see `collate` and `targets`."""
        some = [self.structures[i] for i in chosen]
        return collate(some, [self.edges(i, cutoff) for i in chosen]), targets(some)

    def neighbours(self, cutoff: float, most: int = 50) -> float:
        """The mean number of neighbours of an atom, in up to so many structures evenly chosen."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(most, len(self))).astype(int))
        return sum(self.edges(i, cutoff)[0].shape[1] for i in chosen) / sum(len(self.structures[i]) for i in chosen)


def collate(structures: Sequence[Structure], graphs: Sequence[Graph]) -> tuple[torch.Tensor, ...]:
    """The inputs of a `Potential`: numbers, positions, edges, shifts, structure, cell."""
    sizes = np.array([len(each) for each in structures])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    cells: Any = [np.zeros((3, 3)) if each.volume is None else each.cell for each in structures]
    found = (np.concatenate([each.numbers for each in structures]),
             np.concatenate([each.positions for each in structures]),
             np.concatenate([edges + start for (edges, _), start in zip(graphs, starts, strict=True)], 1),
             np.concatenate([shifts for _, shifts in graphs]),
             np.repeat(np.arange(len(structures)), sizes), np.stack(cells))
    return tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in found)


def inputs(structures: Sequence[Structure], cutoff: float) -> tuple[torch.Tensor, ...]:
    """The inputs of a `Potential` for some structures."""
    return collate(structures, [each.neighbours(cutoff) for each in structures])


def targets(structures: Sequence[Structure]) -> tuple[torch.Tensor, ...]:
    """What a `Potential` should say: energy [S], forces [N, 3], stress [S, 3, 3] (zeros where none is known), which of
    the stresses are known [S] and how many atoms there are [S]."""
    energy: Any = [each.energy for each in structures]
    forces: Any = [each.forces for each in structures]
    stress = [np.zeros((3, 3)) if each.stress is None else each.stress for each in structures]
    return (torch.tensor(energy, dtype=torch.float64), torch.from_numpy(np.concatenate(forces)),
            torch.from_numpy(np.stack(stress)), torch.tensor([each.stress is not None for each in structures]),
            torch.tensor([len(each) for each in structures]))
