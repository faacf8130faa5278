"""The word `die-cost`: what one good die costs, and of what that is made up."""

from __future__ import annotations

import argparse
from typing import Any

from archfab.core import UsageError
from archfab.silicon.words import Document, Word
from archfab.silicon.yields.words.options import (
    Defects,
    add_density,
    add_die,
    add_how,
    add_png,
    add_wafer,
    area_of,
    defects_of,
    draw,
    price_of,
    priced,
    tell_sources,
    wafer_of,
    warn,
)

PARTS = {"wafer_share_usd": "share of the wafer", "probe_usd": "probing", "defects_usd": "bad dies",
         "package_usd": "package and final test", "fallout_usd": "fails after packaging",
         "design_usd": "design and masks"}


def add(word: Word) -> None:
    """The word and its options."""
    one = word("die-cost", "what one good die costs", "archfab silicon die-cost --node 7 --area-mm2 100 --convention "
               "chiplet-actuary", carry_out, shown)
    add_die(one)
    add_density(one)
    add_wafer(one)
    add_how(one)
    one.add_argument("--wafer-usd", type=float, metavar="USD", help="price of a processed wafer (default: the node's)")
    one.add_argument("--line-yield", type=float, default=1.0, metavar="SHARE", help="of wafers started that are "
                     "finished (default: 1)")
    for name, about in (("probe", "testing one die on the wafer"), ("package", "packaging one die"),
                        ("final-test", "testing one packaged die"), ("design", "masks and design, over the volume")):
        one.add_argument(f"--{name}-usd", type=float, default=0.0, metavar="USD", help=f"{about} (default: 0)")
    one.add_argument("--final-yield", type=float, default=1.0, metavar="SHARE", help="of packaged dies that work "
                     "(default: 1)")
    one.add_argument("--volume", type=float, metavar="N", help="good dies that share the design")
    add_png(one, "cost over area")


def carry_out(asked: argparse.Namespace) -> Document:
    """The cost and its parts; with an interval of D0, its ends too."""
    import numpy as np

    from archfab.silicon.yields.checks import doubts as of_units
    from archfab.silicon.yields.dies import doubts
    area, width, height = area_of(asked)
    if asked.volume is not None and not asked.design_usd:
        raise UsageError("--volume is what a design is shared among; say --design-usd too, or leave it out")
    defects = defects_of(asked)
    wafer, price = wafer_of(asked), price_of(asked, defects)

    def cost(d0: float, scale: Any = 1.0) -> Any:
        from archfab.silicon.yields.cost import die_cost
        return die_cost(None, price, d0, defects.alpha, defects.model, defects.layers, width * scale, height * scale,
                        wafer, asked.line_yield, asked.probe_usd, asked.package_usd, asked.final_test_usd,
                        asked.final_yield, asked.design_usd, asked.volume)

    found = cost(defects.d0)
    if not np.isfinite(found.total_usd):
        why = "no die of it fits on the wafer" if not found.dies_per_wafer else "no die is good"
        advice = f"; if the area is in um2, it is {area / 1e6:g} mm2" if area > 70000 else ""
        raise UsageError(f"a die of {area:.6g} mm2 cannot be had: {why}{advice}")
    ends = [None, None]
    if defects.ends:
        ends = [value if np.isfinite(value) else None for value in (cost(d0).total_usd for d0 in defects.ends)]
    draw(asked.png, lambda: _figure(cost, defects, area))
    return {"cost_usd": found.total_usd, "low": ends[0], "high": ends[1],
            "parts": {name: float(value) for name, value in found.parts().items()},
            "dies_per_wafer": float(found.dies_per_wafer), "yield": float(found.good_die_yield),
            **priced(asked, defects), "area_mm2": area, "width_mm": width, "height_mm": height, **defects.plain(),
            "diameter_mm": wafer.diameter_mm, "edge_mm": wafer.edge_mm, "scribe_mm": wafer.scribe_mm, "how": wafer.how,
            "warnings": [*defects.notes, *of_units(area_mm2=area), *doubts(wafer.diameter_mm)]}


def _figure(cost: Any, defects: Defects, area: float) -> Any:
    import numpy as np

    from archfab.silicon.yields.pictures import cost_curve
    scales = np.sqrt(np.linspace(0.02, 2, 100))
    found = cost(defects.d0, scales)
    keep = np.isfinite(found.total_usd)
    parts = {PARTS[name]: np.asarray(value)[keep] for name, value in found.parts().items()}
    return cost_curve(area * scales[keep] ** 2, parts, area, f"D0 = {defects.d0:g} per cm2, {defects.model}")


def shown(document: Document) -> None:
    """The cost and what it is made up of."""
    from archfab.terminal import say, show_table
    ends = ""
    if document["d0_low"] is not None:
        high = "beyond any price" if document["high"] is None else f"{document['high']:.2f}"
        ends = f" (from {document['low']:.2f} to {high} USD over the interval of D0)"
    say(f"a good die costs {document['cost_usd']:.2f} USD{ends}: {document['dies_per_wafer']:.2f} dies on a wafer of "
        f"{document['wafer_usd']:,.0f} USD, {100 * document['yield']:.2f} % of them good")
    show_table(["part", "USD", "%"], [[PARTS[name], f"{value:.2f}", f"{100 * value / document['cost_usd']:.1f}"]
                                      for name, value in document["parts"].items() if value])
    tell_sources(document)
    warn(document)
