"""The word `critical-area`: killing defects of a layout of lines and spaces, layer by layer, and the yields they
mean."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfab.core import UsageError
from archfab.silicon.words import Document, Word
from archfab.silicon.yields.words.options import add_png, draw, warn

if TYPE_CHECKING:
    from archfab.silicon.yields.critical_area import Layer, Sizes

GIVEN = ("area_mm2", "x0_um", "width_um", "space_um", "length_um")


def add(word: Word) -> None:
    """The word and its options."""
    one = word("critical-area", "yield from first principles: which defects short or open lines, layer by layer",
               "archfab silicon critical-area --area-mm2 100 --width-um 0.1 --space-um 0.1 --length-um 10000 --lines "
               "25000 --x0-um 0.05 --d0-short 0.5 --d0-open 0.2 --alpha 2", carry_out, shown)
    one.add_argument("file", nargs="?", type=Path, help="a TOML file of layers, instead of one layer's options")
    one.add_argument("--area-mm2", type=float, metavar="MM2", help="of the die")
    one.add_argument("--x0-um", type=float, metavar="UM", help="the smallest defect: diameters have the density "
                     "2 x0^2/x^3 beyond it")
    one.add_argument("--exponent", type=float, metavar="N", help="another power than 3")
    for name, about in (("width", "of a line"), ("space", "between two lines"), ("length", "of a line")):
        one.add_argument(f"--{name}-um", type=float, metavar="UM", help=about)
    one.add_argument("--lines", type=int, metavar="N", help="how many lie side by side (default: 1)")
    one.add_argument("--layers", type=int, metavar="N", help="equal layers (default: 1)")
    one.add_argument("--d0-short", type=float, metavar="PER_CM2", help="defects of extra material beyond x0")
    one.add_argument("--d0-open", type=float, metavar="PER_CM2", help="defects of missing material beyond x0")
    one.add_argument("--alpha", type=float, metavar="A", help="also the negative binomial yield")
    add_png(one, "critical area and defects over size, and faults by layer")


def carry_out(asked: argparse.Namespace) -> Document:
    """Faults by layer, and yields."""
    from archfab.silicon.yields.checks import doubts as of_units
    from archfab.silicon.yields.critical_area import doubts
    from archfab.silicon.yields.layers import read_layers, yields_of
    area, sizes, layers = _one(asked) if asked.file is None else read_layers(asked.file)
    if asked.file is not None and any(value is not None for name, value in vars(asked).items() if name in (
            *GIVEN, "exponent", "lines", "layers", "d0_short", "d0_open")):
        raise UsageError(f"{asked.file} has the layers; leave out the options of a single one")
    faults, mean, found = yields_of(layers, area, sizes, asked.alpha)
    draw(asked.png, lambda: _figure(layers, faults, sizes))
    densest = max(max(each.d0_short_per_cm2, each.d0_open_per_cm2, each.d0_per_cm2) for each in layers)
    return {"area_mm2": area, "x0_um": sizes.x0_um, "exponent": sizes.exponent, "faults_per_die": mean,
            "layers": [{**asdict(fault), "faults": fault.mean, "number": layer.number}
                       for fault, layer in zip(faults, layers, strict=True)],
            "yields": found, "alpha": "inf" if asked.alpha == float("inf") else asked.alpha,
            "warnings": [*of_units(densest, area), *doubts(layers, sizes)]}


def _one(asked: argparse.Namespace) -> tuple[float, Sizes, list[Layer]]:
    from archfab.silicon.yields.critical_area import Layer, Lines, Sizes
    if missing := [name for name in GIVEN if getattr(asked, name) is None]:
        raise UsageError(f"a layer needs --{missing[0].replace('_', '-')}; or give a TOML file of layers")
    if asked.d0_short is None and asked.d0_open is None:
        raise UsageError("no defects are given; say --d0-short, --d0-open or both, per cm2")
    lines = Lines(asked.width_um, asked.space_um, asked.length_um, 1 if asked.lines is None else asked.lines)
    sizes = Sizes(asked.x0_um) if asked.exponent is None else Sizes(asked.x0_um, asked.exponent)
    return asked.area_mm2, sizes, [Layer("lines", lines, asked.d0_short or 0.0, asked.d0_open or 0.0,
                                         number=1 if asked.layers is None else asked.layers)]


def _figure(layers: Any, faults: Any, sizes: Any) -> Any:
    from archfab.silicon.yields.pictures import critical_areas
    return critical_areas(layers, faults, sizes)


def shown(document: Document) -> None:
    """Layers, then yields."""
    from archfab.terminal import say, show_table
    show_table(["layer", "layers", "critical for shorts (um2)", "for opens (um2)", "kill ratio", "shorts", "opens",
                "other"],
               [[row["name"], row["number"], row["critical_short_um2"], row["critical_open_um2"], row["kill_ratio"],
                 row["short"], row["open"], row["other"]] for row in document["layers"]],
               f"killing defects on a die of {document['area_mm2']:g} mm2, sizes from {document['x0_um']:g} um")
    say()
    say(f"{document['faults_per_die']:.4g} killing defects a die")
    show_table(["yield", "integrated %", "closed form %"],
               [[name + (f", alpha {document['alpha']}" if name == "negative-binomial" else ""),
                 f"{100 * row['yield']:.4f}", f"{100 * row['closed_form']:.4f}" if "closed_form" in row else ""]
                for name, row in document["yields"].items()])
    warn(document)
