"""The words of `archfab silicon` that this room answers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from archfab.core import UsageError
from archfab.silicon.files import check_folder, check_picture, write
from archfab.silicon.words import Document, Word


def add(word: Word) -> None:
    """The words, their options, what does them and how the answers are shown."""
    from archfab.silicon.netzero.showing import show
    one = word("plan", "the cheapest pathway to a target, or by how much it is out of reach; and whether net zero "
                       "may be said",
               "archfab silicon plan PLAN.toml --out DIR", carry_out, show)
    one.add_argument("plan", nargs="?", metavar="PLAN.toml", help="inventory, aims and measures; see --template")
    one.add_argument("--template", nargs="?", const="", metavar="FILE", help="write a commented plan to start from (to "
                     "standard output without FILE), and stop")
    one.add_argument("--confidence", type=float, metavar="SHARE", help="a pathway that meets all milestones with this "
                     "probability, such as 0.9, given how far the inventory and its growth can be off")
    one.add_argument("--greedy", action="store_true", help="tell what the naive plan would cost, cheapest tonne first")
    one.add_argument("--year", type=int, help="the year of the cost curve; the last one if left out")
    one.add_argument("--account", choices=("location", "market"), help="the figure of scope 2 that pictures show")
    one.add_argument("--png", metavar="FILE", help="the pathway as a picture (.png or .svg)")
    one.add_argument("--curve", metavar="FILE", help="the marginal abatement cost curve as a picture (.png or .svg)")
    one.add_argument("--csv", metavar="FILE", help="the ledger year by year")
    one.add_argument("--out", metavar="DIR", help="all of it: pathway.png, curve.png, ledger.csv, measures.csv, "
                                                  "plan.json")
    one.add_argument("--draws", type=int, default=4000, help="baselines drawn at random for the probabilities (4000)")
    one.add_argument("--seed", type=int, default=0, help="of the draws (0)")
    one.add_argument("--seconds", type=float, help="the most that the solver may take for one pathway with whole "
                                                   "numbers")


def carry_out(asked: argparse.Namespace) -> Document:
    """Solves the plan, judges it, writes what was asked for."""
    from archfab.silicon.netzero.template import TEMPLATE
    if asked.template is not None:
        if asked.plan:
            raise UsageError("--template writes a new plan and reads none; give one of them")
        if asked.template:
            path = Path(asked.template)
            if path.exists():
                raise UsageError(f"{path} exists already, and a template would overwrite it; give another name")
            write(path, TEMPLATE)
        return {"template": asked.template or TEMPLATE, "written": bool(asked.template)}
    if not asked.plan:
        raise UsageError("which plan? archfab silicon plan PLAN.toml; --template writes one to start from")
    from archfab.silicon.netzero.answer import answer
    from archfab.terminal import Line
    files, line = pictures(asked), Line()

    def tell(text: str) -> None:
        if line.live or line.due():
            line.write(text)
    found = answer(asked.plan, asked.confidence, asked.greedy, asked.year, asked.account, asked.draws, asked.seed,
                   asked.seconds, tell)
    line.end()
    return found.written(files)


def pictures(asked: argparse.Namespace) -> dict[str, Path]:
    """Which files are to be written, by what they hold; what cannot be is refused before anything is solved."""
    files: dict[str, Path] = {}
    if asked.out:
        folder = Path(asked.out)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--out {folder}: {error.strerror}") from None
        files = {"pathway.png": folder / "pathway.png", "curve.png": folder / "curve.png",
                 "ledger.csv": folder / "ledger.csv",
                 "measures.csv": folder / "measures.csv", "plan.json": folder / "plan.json"}
    extra: dict[str, Any] = {"pathway.png": asked.png, "curve.png": asked.curve, "ledger.csv": asked.csv}
    for name, path in extra.items():
        if path:
            (check_picture if name.endswith(".png") else check_folder)(Path(path))
            files[name if name not in files else f"{name}:2"] = Path(path)
    return files
