"""How a word below the verb `silicon` is declared: its parser, what does it, how its answer is shown."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, Protocol

Document = Mapping[str, Any]


class Word(Protocol):
    """Declares one word; the parser that comes back takes its options. `do` gets what was asked and returns a plain
    document, which `--json` prints and `show` shows to a person."""

    def __call__(self, name: str, about: str, example: str, do: Callable[[argparse.Namespace], Document],
                 show: Callable[[Document], None]) -> argparse.ArgumentParser: ...
