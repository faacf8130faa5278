"""The words of `archfab silicon` that this room answers."""

from __future__ import annotations

from archfab.silicon.words import Word


def add(word: Word) -> None:
    """The words, their options, what does them and how the answers are shown."""
