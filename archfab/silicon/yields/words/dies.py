"""The word `dies`: how many whole dies a wafer holds, and where the best grid lies."""

from __future__ import annotations

import argparse
import math

from archfab.core import UsageError
from archfab.silicon.words import Document, Word
from archfab.silicon.yields.words.options import add_die, add_png, add_wafer, area_of, draw, wafer_of, warn


def add(word: Word) -> None:
    """The word and its options."""
    one = word("dies", "dies per wafer, by the formula and on the grid that holds most",
               "archfab silicon dies --width-mm 10 --height-mm 10 --edge-mm 3 --scribe-mm 0.1 --png wafer.png",
               carry_out, shown)
    add_die(one)
    add_wafer(one)
    one.add_argument("--offset-mm", type=float, nargs=2, metavar=("X", "Y"), help="a given grid: the centre of one die "
                     "from the wafer's centre")
    one.add_argument("--lanes-on-edge", action="store_true", help="the lane around a die may lie on the edge "
                     "exclusion; only the die itself has to lie on usable area")
    add_png(one, "the wafer with its dies")


def carry_out(asked: argparse.Namespace) -> Document:
    """The counts, and the grid."""
    from archfab.silicon.yields.checks import RETICLE_MM
    from archfab.silicon.yields.checks import doubts as of_units
    from archfab.silicon.yields.dies import dies_per_wafer, doubts
    from archfab.silicon.yields.grid import best_grid, grid_at
    area, width, height = area_of(asked)
    wafer = wafer_of(asked)
    inside = not asked.lanes_on_edge
    formula = dies_per_wafer(None, wafer.diameter_mm, wafer.edge_mm, wafer.scribe_mm, width, height)
    best = best_grid(width, height, wafer.diameter_mm, wafer.edge_mm, wafer.scribe_mm, inside)
    bare = best_grid(width, height, wafer.diameter_mm, wafer.edge_mm, wafer.scribe_mm, False)
    grid = best if asked.offset_mm is None else grid_at(
        asked.offset_mm[0], asked.offset_mm[1], width, height, wafer.diameter_mm, wafer.edge_mm, wafer.scribe_mm,
        inside)
    if not best.dies:
        advice = f"; if the area is in um2, it is {area / 1e6:g} mm2" if area > 70000 else ""
        advice += "".join(f"; {sentence}" for sentence in doubts(wafer.diameter_mm))
        raise UsageError(f"a die of {width:.6g} mm x {height:.6g} mm does not fit on a wafer of {wafer.diameter_mm:g} "
                         f"mm with an edge exclusion of {wafer.edge_mm:g} mm{advice}")
    draw(asked.png, lambda: _figure(grid))
    warnings = [*doubts(wafer.diameter_mm), *of_units(area_mm2=area)]
    if not warnings and (max(width, height) > RETICLE_MM[1] or min(width, height) > RETICLE_MM[0]):
        warnings.append(f"a die of {width:.6g} mm x {height:.6g} mm does not fit into one exposure, {RETICLE_MM[0]:g} "
                        f"mm x {RETICLE_MM[1]:g} mm")
    return {"dies": grid.dies, "formula": formula, "best": best.dies, "offset_mm": [grid.x_mm, grid.y_mm],
            "partial": len(grid.centres(partial=True)), "width_mm": width, "height_mm": height, "area_mm2": area,
            "diameter_mm": wafer.diameter_mm, "edge_mm": wafer.edge_mm, "scribe_mm": wafer.scribe_mm,
            "lanes_inside": inside, "dies_if_lanes_may_lie_on_the_edge": bare.dies,
            "used_share": grid.dies * area / (math.pi * wafer.diameter_mm ** 2 / 4),
            "notch": "not counted: no die is lost to a notch, a flat or marks", "warnings": warnings}


def _figure(grid: object) -> object:
    from archfab.silicon.yields.pictures import wafer
    return wafer(grid)      # type: ignore[arg-type]


def shown(document: Document) -> None:
    """The counts in words."""
    from archfab.terminal import say
    say(f"{document['dies']} whole dies of {document['width_mm']:.6g} mm x {document['height_mm']:.6g} mm on a wafer "
        f"of {document['diameter_mm']:g} mm (edge {document['edge_mm']:g} mm, lanes {document['scribe_mm']:g} mm), "
        f"{100 * document['used_share']:.1f} % of its area; {document['partial']} partial ones")
    x, y = document["offset_mm"]
    if document["best"] > document["dies"]:
        say(f"the best grid holds {document['best']}")
    say(f"the centre of a die lies at ({x:.4g}, {y:.4g}) mm from the wafer's centre")
    if document["lanes_inside"] and document["dies_if_lanes_may_lie_on_the_edge"] != document["best"]:
        say(f"{document['dies_if_lanes_may_lie_on_the_edge']} if the lanes of outer dies may lie on the edge exclusion "
            "(--lanes-on-edge)")
    say(f"the formula says {document['formula']:.1f}; notch: {document['notch']}")
    warn(document)
