"""Active learning: which structures to label next, so that networks learn most from few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from archfab.core import UsageError
from archfab.tasks.molecules.answers import spread
from archfab.tasks.molecules.data import Structure
from archfab.tasks.molecules.ensemble import ask_of

Label = Callable[[Sequence[Structure]], list[Structure]]
Train = Callable[[Sequence[Structure]], Sequence[nn.Module]]


@dataclass(frozen=True)
class Round:
    """One round of active learning: what was chosen by networks that had learned from the structures known before."""

    models: Sequence[nn.Module]
    known: list[Structure]          # what the models learned from
    pool: list[Structure]           # what they chose among
    disagreement: np.ndarray        # [pool] in eV/Angstrom
    chosen: list[int]               # of the pool
    labelled: list[Structure]       # the chosen ones with their labels


def disagreement(models: Sequence[nn.Module], structures: Sequence[Structure],
                 device: str = "cpu") -> np.ndarray:
    """How far networks are apart on each structure: the root mean squared distance of their forces from the mean, of
    the atom where it is largest; [S] in eV/Angstrom."""
    if len(models) < 2:
        raise UsageError("one network has nothing to disagree with; give two or more, trained from unlike seeds")
    return np.array([each.max() for each in spread(ask_of(models, structures, device))])


def choose(uncertainty: np.ndarray, descriptors: np.ndarray, number: int, diversity: float = 0.5,
           known: np.ndarray | None = None) -> list[int]:
    """The structures to label next, one after another: each has the largest uncertainty^(1 - diversity) x
    distance^diversity, the distance in descriptors to the nearest that is chosen or known.

    A copy of a chosen or known structure is at distance 0: with any diversity it comes after all others.

    :param uncertainty: [S], such as `disagreement`. :param descriptors: [S, D], such as `describe`.
    :param number: how many.
    :param diversity: 0: by uncertainty alone; 1: the farthest point each time (Gonzalez, 1985).
    :param known: descriptors [K, D] of the structures that are labelled already.
    :raises UsageError: for a pool that is too small and for values that are not finite.
    """
    values, points = np.asarray(uncertainty, dtype=float), np.asarray(descriptors, dtype=float)
    if not 0 <= number <= len(values) or len(points) != len(values):
        raise UsageError(f"{number} structures cannot be chosen from a pool of {len(values)} with {len(points)} "
                         "descriptors")
    if not 0 <= diversity <= 1:
        raise UsageError(f"diversity is a share from 0 to 1, not {diversity}")
    wrong = ~np.isfinite(values) | (values < 0) | ~np.isfinite(points).all(1)
    if wrong.any():
        raise UsageError(f"structure {int(wrong.argmax())} of the pool (the first is 0) has an uncertainty or a "
                         "descriptor that is not finite, or an uncertainty below 0")
    near = np.full(len(values), np.inf)
    for point in () if known is None else np.asarray(known, dtype=float):
        near = np.minimum(near, np.linalg.norm(points - point, axis=1))
    chosen: list[int] = []
    for _ in range(number):
        distance = np.where(np.isfinite(near), near, 1.0)       # nothing is chosen yet: all are as far
        merit = values ** (1 - diversity) * distance**diversity
        merit[chosen] = -1.0
        chosen.append(int(np.argmax(merit)))
        near = np.minimum(near, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen


def describe(structures: Sequence[Structure], cutoff: float = 5.0, functions: int = 12) -> np.ndarray:
    """A descriptor [S, pairs of species x functions] that turning, mirroring and numbering of atoms do not change: how
    many pairs of two species there are by atom, at each of some distances, through Gaussians as wide as they are apart.
    """
    species = sorted({int(number) for each in structures for number in each.numbers})
    place = {pair: i for i, pair in enumerate((one, other) for one in species for other in species if one <= other)}
    centres, width = np.linspace(0.5, cutoff, functions), (cutoff - 0.5) / max(1, functions - 1)
    found = np.zeros((len(structures), len(place), functions))
    for row, each in zip(found, structures, strict=True):
        (sender, receiver), shifts = each.neighbours(cutoff)
        length = np.linalg.norm(each.positions[sender] - each.positions[receiver] + shifts, axis=1)
        fade = 0.5 * (1 + np.cos(np.pi * length / cutoff))
        waves = np.exp(-0.5 * ((length[:, None] - centres) / width) ** 2) * fade[:, None]
        ends = np.sort(each.numbers[np.stack([sender, receiver])], axis=0)
        np.add.at(row, np.array([place[one, other] for one, other in ends.T], dtype=int), waves / len(each))
    return found.reshape(len(structures), -1)


def learn(known: Sequence[Structure], pool: Sequence[Structure], train: Train, label: Label, rounds: int, number: int,
          diversity: float = 0.5, enough: float = 0.0) -> Iterator[Round]:
    """Active learning: networks are trained on what is known, those of the pool that they disagree on are labelled and
    known from then on; round after round.

    :param known: labelled structures. :param pool: others, without labels.
    :param train: networks, two or more, from labelled structures. :param label: labels some structures.
    :param number: how many are labelled in a round. :param enough: it ends when the networks agree as well as this
        everywhere, in eV/Angstrom.
    """
    known, pool = list(known), list(pool)
    for _ in range(rounds):
        number = min(number, len(pool))
        if not number:
            return
        models = train(known)
        apart = disagreement(models, pool)
        points = describe([*pool, *known])
        wanted = number if apart.max() > enough else 0
        chosen = choose(apart, points[:len(pool)], wanted, diversity, points[len(pool):])
        labelled = label([pool[i] for i in chosen]) if chosen else []
        yield Round(models, list(known), list(pool), apart, chosen, labelled)
        if not chosen:
            return
        known += labelled
        pool = [each for i, each in enumerate(pool) if i not in set(chosen)]
