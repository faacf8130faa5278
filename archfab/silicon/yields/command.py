"""The words of `archfab silicon` that this room answers."""

from __future__ import annotations

from archfab.silicon.words import Word
from archfab.silicon.yields.words import chiplets, critical_area, die_cost, dies, maturity, model, starts


def add(word: Word) -> None:
    """The words, their options, what does them and how the answers are shown."""
    for each in (model, critical_area, dies, die_cost, starts, chiplets, maturity):
        each.add(word)
