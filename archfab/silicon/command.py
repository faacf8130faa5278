"""The verb `silicon`: its words are declared by the rooms that answer them."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from archfab.silicon.aging.command import add as add_aging
from archfab.silicon.carbon.command import add as add_carbon
from archfab.silicon.netzero.command import add as add_netzero
from archfab.silicon.wafers.command import add as add_wafers
from archfab.silicon.words import Document
from archfab.silicon.yields.command import add as add_yields


def add(one: argparse.ArgumentParser) -> None:
    """The words below the verb, and their options."""
    words = one.add_subparsers(dest="word", required=True, metavar="WORD")

    def word(name: str, about: str, example: str, do: Callable[[argparse.Namespace], Document],
             show: Callable[[Document], None]) -> argparse.ArgumentParser:
        made = words.add_parser(name, help=about, description=about, epilog=f"example: {example}", allow_abbrev=False,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
        made.set_defaults(carry_out=do, shown=show)
        made.add_argument("--json", action="store_true", default=argparse.SUPPRESS,
                          help="one JSON document on standard output")
        return made

    for add_room in (add_yields, add_wafers, add_aging, add_carbon, add_netzero):
        add_room(word)
