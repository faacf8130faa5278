"""Labels from a quantum-chemical method that needs no data: GFN2-xTB through tblite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from archfab.core import UsageError, unknown
from archfab.tasks.molecules.data import Structure, at
from archfab.tasks.molecules.units import BOHR, HARTREE

METHODS = ("GFN2-xTB", "GFN1-xTB")


def label(structures: Sequence[Structure], method: str = "GFN2-xTB", charge: float = 0.0, unpaired: int = 0,
          progress: Callable[[int, int], None] | None = None) -> list[Structure]:
    """Structures with the energies, forces and, where all directions are periodic, stresses that tight binding gives.

    GFN2-xTB (Bannwarth, Ehlert and Grimme, JCTC 2019) has all elements up to radon; a molecule of some ten atoms takes
    milliseconds. Energies are those of valence electrons.

    :param charge: of each structure, in elementary charges. :param unpaired: electrons without a partner.
    :param progress: is told after each structure how many are done, and of how many.
    :raises UsageError: when tblite is not installed, for what the method cannot do, and where it does not converge.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    try:
        from tblite.interface import Calculator
    except ModuleNotFoundError:
        raise UsageError("labels need tblite; install it: pip install 'archfab[xtb]'") from None
    found = []
    for frame, each in enumerate(structures):
        if any(each.periodic) and not all(each.periodic):
            raise UsageError(f"{at('the structures to label', frame)} is periodic in some directions; {method} labels "
                             "structures that are periodic in all or in none")
        try:
            found.append(labelled(each, Calculator, method, charge, unpaired))
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"{at('the structures to label', frame)}: {method} gives no answer ({error}); are its "
                             "atoms too close, or its charge and unpaired electrons wrong?") from None
        if progress:
            progress(frame + 1, len(structures))
    return found


def labelled(structure: Structure, calculator: Any, method: str, charge: float, unpaired: int) -> Structure:
    """One structure with its labels; tblite speaks Hartree and Bohr."""
    periodic = all(structure.periodic)
    cell = {"lattice": structure.cell / BOHR, "periodic": np.ones(3, dtype=bool)} \
        if periodic and structure.cell is not None else {}
    engine = calculator(method, structure.numbers, structure.positions / BOHR, charge, unpaired, **cell)
    engine.set("verbosity", 0)
    answer = engine.singlepoint()
    stress = answer.get("virial") * HARTREE / structure.volume if structure.volume else None
    return replace(structure, energy=float(answer.get("energy")) * HARTREE,
                   forces=-answer.get("gradient") * HARTREE / BOHR, stress=stress)
