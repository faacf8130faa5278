"""What delivered networks say of the structures of a file, and which of them to label next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from archfab.core import Exhibit, UsageError
from archfab.tasks.molecules.active import choose, describe
from archfab.tasks.molecules.answers import Answers, labelled, mean, spread
from archfab.tasks.molecules.data import Structure, read_structures
from archfab.tasks.molecules.ensemble import ask_of
from archfab.tasks.molecules.extxyz import written


def predicted(models: Sequence[Any], data: str, units: str = "auto", species: str | None = None, number: int = 0,
              diversity: float = 0.5) -> Iterable[Exhibit]:
    """Their mean; of several also how far they are from it, and of these the structures to label next.

    :param number: of structures to choose. :param diversity: see `active.choose`.
    """
    check(models, number, diversity)
    structures = to_ask_about(data, units, species, number)
    try:
        several = ask_of(models, structures)
    except UsageError as error:
        raise UsageError(f"{data}: {error}") from None
    apart = np.array([each.max() for each in spread(several)])
    chosen = choose(apart, describe(structures), number, diversity) if number else []
    yield Exhibit("predictions.xyz", "Energies, forces and stresses as extended XYZ, in eV and Angstrom.",
                  written(labelled(structures, mean(several))).encode())
    yield table(structures, several, apart, chosen)
    if chosen:
        yield Exhibit("chosen.xyz", f"The {number} structures to label next, the first one first, with what the file "
                      "says of them, in eV and Angstrom.", written([structures[i] for i in chosen]).encode())


def check(models: Sequence[Any], number: int, diversity: float) -> None:
    if number < 0 or not 0 <= diversity <= 1:
        raise UsageError("choose is a number of structures, 0 or more, and diversity a share from 0 to 1, not "
                         f"{number} and {diversity}")
    if number and len(models) < 2:
        raise UsageError("structures are chosen where networks disagree, and one network has nothing to disagree with; "
                         "name the bundles of two or more, trained from unlike seeds")


def to_ask_about(data: str, units: str, species: str | None, number: int) -> list[Structure]:
    """The structures of one file, with or without labels."""
    found = read_structures(data, units=units, species=species, labelled=False)
    if found.test is not None:
        raise UsageError(f"{data} has a train and a test file; name the one to ask about")
    if number > len(found.train):
        raise UsageError(f"{data} has {len(found.train)} structures, fewer than the {number} to choose")
    return found.train


def table(structures: Sequence[Structure], several: Sequence[Answers], apart: np.ndarray,
          chosen: Sequence[int]) -> Exhibit:
    """A row for each structure."""
    said, energies = mean(several), np.stack([each.energy for each in several])
    columns: dict[str, Sequence[Any]] = {
        "frame": range(len(structures)), "atoms": [len(each) for each in structures], "energy_ev": said.energy.tolist(),
        "energy_ev_per_atom": [float(value) / len(each) for value, each in zip(said.energy, structures, strict=True)],
        "max_force_ev_per_angstrom": [float(np.linalg.norm(forces, axis=1).max()) for forces in said.forces]}
    if len(several) > 1:
        rank = np.argsort(np.argsort(-apart, kind="stable"))
        columns |= {"energy_deviation_ev": energies.std(0).tolist(),
                    "max_force_deviation_ev_per_angstrom": apart.tolist(), "rank": (rank + 1).tolist()}
    if chosen:
        order = {frame: place + 1 for place, frame in enumerate(chosen)}
        columns["chosen"] = [order.get(frame, "") for frame in range(len(structures))]
    return Exhibit.table("predictions.csv", "Energies of each frame; of several networks their disagreement, the frame "
                         "that they disagree on most first in rank.", list(columns),
                         [list(row) for row in zip(*columns.values(), strict=True)])
