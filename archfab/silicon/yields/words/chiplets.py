"""The word `chiplets`: one die against several in a package, and from which area on cutting pays."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from archfab.core import UsageError
from archfab.silicon.words import Document, Word
from archfab.silicon.yields.words.options import (
    add_density,
    add_how,
    add_png,
    add_wafer,
    defects_of,
    draw,
    price_of,
    priced,
    tell_sources,
    wafer_of,
    warn,
)

if TYPE_CHECKING:
    from archfab.silicon.yields.chiplets import Process
    from archfab.silicon.yields.packages import Known, Package

KEYS = ("dies_usd", "test_usd", "defects_usd", "package_usd", "package_loss_usd", "die_loss_usd", "total_usd")


def add(word: Word) -> None:
    """The word and its options."""
    one = word("chiplets", "one die, or several in a package: what a working system costs",
               "archfab silicon chiplets --node 5 --area-mm2 800 --convention chiplet-actuary --png chiplets.png",
               carry_out, shown)
    one.add_argument("--area-mm2", type=float, required=True, metavar="MM2", help="of the whole, were it on one die")
    one.add_argument("--dies", default="2,3,4", metavar="N,N", help="into how many it is cut (default: %(default)s)")
    one.add_argument("--packages", default="organic,fan-out,interposer", metavar="NAME,NAME", help="organic, fan-out, "
                     "fan-out-dies-first, interposer (default: %(default)s)")
    one.add_argument("--whole-package", default="organic", metavar="NAME", help="of the one die (default: organic)")
    one.add_argument("--link-share", type=float, default=0.1, metavar="SHARE", help="by how much a chiplet grows for "
                     "links (default: 0.1, as Chiplet Actuary)")
    one.add_argument("--bond-yield", type=float, metavar="SHARE", help="of bonding one die (default: the package's)")
    one.add_argument("--kgd-test-usd", type=float, default=0.0, metavar="USD", help="test of one die before bonding "
                     "(default: 0)")
    one.add_argument("--kgd-coverage", type=float, default=1.0, metavar="SHARE", help="of bad dies that this test "
                     "finds; 0 bonds untested dies (default: 1)")
    one.add_argument("--final-test-usd", type=float, default=0.0, metavar="USD", help="of one system (default: 0)")
    one.add_argument("--wafer-usd", type=float, metavar="USD", help="price of a processed wafer (default: the node's)")
    add_density(one)
    add_wafer(one)
    add_how(one)
    add_png(one, "cost over area, with the cross-overs")


def carry_out(asked: argparse.Namespace) -> Document:
    """Costs of each cut in each package, and the cross-overs."""
    from archfab.silicon.yields.checks import above_zero, doubts, from_zero, share
    from archfab.silicon.yields.chiplets import Process, split_cost
    from archfab.silicon.yields.packages import Known
    above_zero("an area in mm2", asked.area_mm2)
    share("the share of links", asked.link_share, zero=True)
    from_zero("a price of a test in USD", asked.final_test_usd)
    defects = defects_of(asked)
    process = Process(price_of(asked, defects), defects.d0, defects.alpha, defects.model, defects.layers,
                      wafer_of(asked))
    known = Known(asked.kgd_test_usd, asked.kgd_coverage)
    kinds = [_kind(name, asked.bond_yield) for name in asked.packages.split(",")]
    cuts = [(number, kind) for kind in kinds for number in _numbers(asked.dies) if number > 1]
    whole = _kind(asked.whole_package, asked.bond_yield)
    rows, cannot = [], []
    for number, kind in [(1, whole), *cuts]:
        row: dict[str, Any] = {"dies": number, "package": kind.name}
        try:
            found = split_cost(asked.area_mm2, number, process, kind, known, asked.link_share, asked.final_test_usd)
        except UsageError as error:
            cannot.append({**row, "because": str(error)})
            continue
        ends = [_total(asked, number, replace(process, d0_per_cm2=d0), kind, known) for d0 in defects.ends or ()]
        rows.append({**row, **asdict(found), "low": ends[0] if ends else None, "high": ends[1] if ends else None,
                     "crossover_mm2": None if number == 1 else _crossing(asked, number, process, kind, whole, known)})
    if not rows:
        raise UsageError(f"nothing of it can be made: {cannot[0]['because']}")
    draw(asked.png, lambda: _figure(asked, process, whole, cuts, known))
    best = min(rows, key=lambda row: row["total_usd"])
    return {"systems": rows, "cannot": cannot, "best": {"dies": best["dies"], "package": best["package"]},
            "area_mm2": asked.area_mm2, "link_share": asked.link_share, "kgd_test_usd": asked.kgd_test_usd,
            "kgd_coverage": asked.kgd_coverage, **priced(asked, defects), **defects.plain(),
            "packages": {kind.name: asdict(kind) for kind in dict.fromkeys([whole, *kinds])},
            "warnings": [*defects.notes, *doubts(area_mm2=asked.area_mm2)]}


def _total(asked: argparse.Namespace, number: int, process: Process, kind: Package, known: Known) -> float:
    from archfab.silicon.yields.chiplets import split_cost
    return split_cost(asked.area_mm2, number, process, kind, known, asked.link_share, asked.final_test_usd).total_usd


def _crossing(asked: argparse.Namespace, number: int, process: Process, kind: Package, whole: Package,
              known: Known) -> float | None:
    from archfab.silicon.yields.chiplets import crossover_mm2
    return crossover_mm2(number, process, kind, whole, known, asked.link_share, asked.final_test_usd)


def _kind(name: str, bond_yield: float | None) -> Package:
    from archfab.silicon.yields.checks import share
    from archfab.silicon.yields.packages import package
    found = package(name.strip())
    if bond_yield is None:
        return found
    if found.dies_first:
        raise UsageError(f"no die is bonded in '{found.name}', for its layers are made over the dies; leave out "
                         "--bond-yield, or this package")
    return replace(found, bond_yield=float(share("a bonding yield", bond_yield)))


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UsageError(f"--dies '{text}' is no list of whole numbers from 1 up, such as 2,4")
    return numbers


def _figure(asked: argparse.Namespace, process: Process, whole: Package, cuts: Sequence[tuple[int, Package]],
            known: Known) -> Any:
    import numpy as np

    from archfab.silicon.yields.chiplets import curve
    from archfab.silicon.yields.pictures import system_curves
    areas = np.linspace(asked.area_mm2 / 20, 1.5 * asked.area_mm2, 90)
    others = (known, asked.link_share, asked.final_test_usd)
    return system_curves(areas, curve(areas, 1, process, whole, *others), {
        (number, kind.name): curve(areas, number, process, kind, *others) for number, kind in cuts}, asked.area_mm2,
        whole.name)


def shown(document: Document) -> None:
    """A table of what systems cost, the cheapest first."""
    from archfab.terminal import say, show_table
    rows = sorted(document["systems"], key=lambda row: row["total_usd"])
    ends = ["low", "high"] if rows[0]["low"] is not None else []
    show_table(["dies", "package", "dies $", "test $", "bad dies $", "package $", "lost packages $", "lost dies $",
                "total $", *ends, "system yield %", "pays from mm2"],
               [[row["dies"], row["package"], *(f"{row[key]:.2f}" for key in (*KEYS, *ends)),
                 f"{100 * row['system_yield']:.2f}", row["crossover_mm2"]] for row in rows],
               f"a working system of {document['area_mm2']:g} mm2, D0 {document['d0_per_cm2']:g} per cm2, wafers of "
               f"{document['wafer_usd']:,.0f} USD")
    for row in document["cannot"]:
        say(f"{row['dies']} in {row['package']} cannot be made: {row['because']}")
    say("packages and their yields: Chiplet Actuary (Feng and Ma, DAC 2022), unless an option says otherwise")
    tell_sources(document)
    warn(document)
