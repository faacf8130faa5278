"""Which structures are learned from, which a search is scored on, and which are kept for the test."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from archfab.core import UsageError
from archfab.tasks.molecules.data import Dataset, Structure, isolated
from archfab.tasks.molecules.elements import SYMBOLS

SEED = 0        # the parts stay the same for every run, so that runs can be compared


def split(data: Dataset, train: int, validation: int) -> dict[str, list[Structure]]:
    """Training, validation and test structures; where the data has no test part, a fifth is set aside as one."""
    structures = [data.train[i] for i in np.random.default_rng(SEED).permutation(len(data.train))]
    test = data.test
    if test is None:
        aside = round(0.2 * len(structures))
        test, structures = structures[:aside], structures[aside:]
    number = len(structures)
    if not validation:
        wanted = max(10, train) if train else round(0.15 * number)
        validation = max(1, min(wanted, 200, number - max(1, train)))
    train = train or number - validation
    if min(len(test), train) < 1 or train + validation > number:
        raise UsageError(f"there are {number} structures to learn from and to validate on (and {len(test)} to test "
                         f"on), not {train} and {validation}; give fewer (--train, --validation) or more data")
    return {"train": structures[:train], "validation": structures[train:train + validation], "test": list(test)}


def check(data: Dataset, parts: Mapping[str, Sequence[Structure]], cutoff: float) -> None:
    """Raises `UsageError` for an element that no structure to learn from has, and for an atom without a neighbour;
    warns of structures to be scored on that are copies of some to learn from."""
    known = {int(number) for each in parts["train"] for number in each.numbers}
    for name, structures in parts.items():
        for each in structures:
            if others := sorted({int(number) for number in each.numbers} - known):
                raise UsageError(f"{where(data, each)}, of the {name} part, has the element {SYMBOLS[others[0]]}, "
                                 "which no structure that is learned from has: "
                                 f"{', '.join(SYMBOLS[number] for number in sorted(known))}; learn from more "
                                 "structures (--train), or leave it out")
            if wrong := isolated(each, cutoff):
                raise UsageError(f"{where(data, each)}: {wrong}")
    learned = {key(each): each for each in parts["train"]}
    copies = [(each, learned[key(each)]) for name in ("validation", "test") for each in parts[name]
              if key(each) in learned]
    if copies:
        one, other = (where(data, each) for each in copies[0])
        warnings.warn(f"{len(copies)} structures that networks are scored on are copies of some that they learn from, "
                      f"so scores look too good: {one} is {other}; leave one of each out", stacklevel=2)


def key(structure: Structure) -> tuple[object, ...]:
    """The same for copies: atoms at the same places to a millionth of an Angstrom."""
    cell = b"" if structure.cell is None else (structure.cell.round(6) + 0.0).tobytes()
    return structure.numbers.tobytes(), (structure.positions.round(6) + 0.0).tobytes(), cell, structure.periodic


def where(data: Dataset, structure: Structure) -> str:
    """The frame of a structure in the file that it was read from."""
    role, structures = ("train", data.train) if structure in data.train else ("test", data.test or [])
    return f"{role} frame {structures.index(structure)} (the first is 0)"
