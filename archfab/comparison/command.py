"""The verb `compare-strategies`: its words, and the call that they make."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archfab.comparison.study import Watch


def add(one: argparse.ArgumentParser) -> None:
    """The verb's options."""
    one.add_argument("--strategies", nargs="+", default=[], metavar="NAME[:OPTION=VALUE,...]",
                     help="names (archfab list strategies) or .py files (default: all there are)")
    one.add_argument("--tables", nargs="+", default=["digits"], metavar="TABLE",
                     help="folders with a benchmark table; DIR#DATASET, DIR1+DIR2 (default: the digits)")
    one.add_argument("--evaluations", type=int, default=150, help="of each run (default: %(default)s)")
    one.add_argument("--runs", type=int, default=50, help="of each strategy on each table (default: %(default)s)")
    one.add_argument("--minimize", action="append", default=[], metavar="NAME", help="may be given several times")
    one.add_argument("--maximize", action="append", default=[], metavar="NAME")
    one.add_argument("--limit", action="append", default=[], metavar="'NAME<=NUMBER'", dest="limits")
    one.add_argument("--noise", action="store_true", help="strategies see one seed's validation score")
    one.add_argument("--epochs", type=float, metavar="N", help="of a whole training (default: the most there are)")
    one.add_argument("--no-hints", action="store_false", dest="hints", help="strategies see no cheap figures")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--workers", type=int, help=f"processes (default: one for each core, {os.cpu_count()} here)")
    one.add_argument("--out", type=Path, metavar="DIR", help="where runs and report are kept, and gone on with "
                                                             "(default: comparisons/ and the request's hash)")


def carry_out(asked: argparse.Namespace, watch: Watch) -> tuple[dict[str, Any], Path]:
    """Does what was asked; returns the document and its folder."""
    from archfab import registry
    from archfab.comparison import study
    from archfab.comparison.request import Request
    request = Request.make(asked.strategies or registry.names("strategies"), asked.tables, asked.evaluations,
                           asked.runs, maximize=asked.maximize, minimize=asked.minimize, limits=asked.limits,
                           noise=asked.noise, epochs=asked.epochs, hints=asked.hints, seed=asked.seed)
    out = asked.out or Path("comparisons") / request.hash
    return study.carry_out(request, out, asked.workers, watch), out
