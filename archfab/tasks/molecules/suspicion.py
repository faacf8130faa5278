"""What may be wrong with the units of labelled structures, said aloud."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archfab.tasks.molecules.data import Structure


def suspicions(structures: Sequence[Structure]) -> list[str]:
    return []
