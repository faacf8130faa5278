"""Options that several words share, and what they mean together."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfab.core import UsageError

if TYPE_CHECKING:

    from archfab.silicon.yields.cost import Wafer

CONVENTIONS = ("chiplet-actuary",)


def add_die(one: argparse.ArgumentParser, required: bool = False) -> None:
    one.add_argument("--area-mm2", type=float, required=required, metavar="MM2", help="of one die (square, unless its "
                     "sides are given)")
    if not required:
        one.add_argument("--width-mm", type=float, metavar="MM", help="of one die")
        one.add_argument("--height-mm", type=float, metavar="MM")


def add_density(one: argparse.ArgumentParser, node: bool = True, default: str = "negative-binomial") -> None:
    one.add_argument("--d0", type=float, metavar="PER_CM2", help="killing defects per cm2"
                     + (" (default: the node's)" if node else ""))
    one.add_argument("--d0-interval", type=float, nargs=2, metavar=("LOW", "HIGH"), help="between which D0 lies: the "
                     "answer gets an interval too")
    one.add_argument("--model", default=default, metavar="NAME", help="poisson, murphy, seeds, seeds-exponential, "
                     "bose-einstein, negative-binomial (default: %(default)s)")
    one.add_argument("--alpha", type=float, metavar="A", help="of negative-binomial: small is clustered, inf is "
                     "Poisson")
    one.add_argument("--layers", type=float, metavar="N", help="of bose-einstein: critical layers, each with D0")
    if node:
        one.add_argument("--node", metavar="NM", help="a process node, for its wafer price and D0: 28, 14, 7, 5, 3")


def add_wafer(one: argparse.ArgumentParser) -> None:
    one.add_argument("--diameter-mm", type=float, metavar="MM", help="of the wafer (default: 300)")
    one.add_argument("--edge-mm", type=float, metavar="MM", help="ring without dies (default: 3)")
    one.add_argument("--scribe-mm", type=float, metavar="MM", help="lane between two dies (default: 0.1)")


def add_how(one: argparse.ArgumentParser) -> None:
    one.add_argument("--how", metavar="HOW", help="dies per wafer by the 'formula' or 'exact' on the best grid "
                     "(default: formula)")
    one.add_argument("--convention", metavar="NAME", help="chiplet-actuary: a 5 mm edge, 0.2 mm lanes, the formula, "
                     "alpha = 10, where nothing else is said")


def add_png(one: argparse.ArgumentParser, about: str) -> None:
    one.add_argument("--png", type=Path, metavar="FILE", help=f"{about}, as a picture (.png or .svg)")


def wafer_of(asked: argparse.Namespace) -> Wafer:
    """How dies lie on the wafer, from the options and the convention.

    :raises UsageError: an unknown convention.
    """
    from archfab.core import unknown
    from archfab.silicon.yields.cost import CHIPLET_ACTUARY, Wafer
    convention = getattr(asked, "convention", None)
    if convention is not None and convention not in CONVENTIONS:
        raise unknown("convention", convention, CONVENTIONS)
    start = CHIPLET_ACTUARY if convention else Wafer()
    given = {name: getattr(asked, name, None) for name in ("diameter_mm", "edge_mm", "scribe_mm", "how")}
    return type(start)(**{name: getattr(start, name) if value is None else value for name, value in given.items()})


@dataclass(frozen=True)
class Defects:
    """The density that was asked for: D0 with its interval, and the model's parameters."""

    d0: float
    ends: tuple[float, float] | None
    model: str
    alpha: float | None
    layers: float | None
    source: str = ""
    wafer_usd: float | None = None
    wafer_source: str = ""
    notes: tuple[str, ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        """For the answer; an infinite alpha as text, for JSON has no number for it."""
        return {"model": self.model, "d0_per_cm2": self.d0,
                "d0_low": self.ends[0] if self.ends else None, "d0_high": self.ends[1] if self.ends else None,
                "alpha": "inf" if self.alpha == float("inf") else self.alpha, "layers": self.layers,
                "source": self.source or None}

    def good(self, area_mm2: Any, d0: float | None = None) -> Any:
        """The yield of dies at D0, or at another density."""
        from archfab.silicon.yields.models import good_die_yield
        return good_die_yield(area_mm2, self.d0 if d0 is None else d0, self.alpha, self.model, self.layers)


def defects_of(asked: argparse.Namespace) -> Defects:
    """The density that the options mean.

    :raises UsageError: no density, one that is impossible, a parameter of another model.
    """
    from archfab.core import unknown
    from archfab.silicon.yields.checks import doubts, from_zero, interval
    from archfab.silicon.yields.models import MODELS
    if asked.model not in MODELS:
        raise unknown("yield model", asked.model, list(MODELS))
    alpha, layers = asked.alpha, asked.layers
    if alpha is None and asked.model == "negative-binomial" and getattr(asked, "convention", None):
        from archfab.silicon.yields.cost import CHIPLET_ACTUARY_ALPHA
        alpha = CHIPLET_ACTUARY_ALPHA
    for name, value, owner in (("alpha", alpha, "negative-binomial"), ("layers", layers, "bose-einstein")):
        if value is not None and asked.model != owner:
            raise UsageError(f"--{name} is of the model '{owner}', not of '{asked.model}'; leave it out, or choose "
                             f"--model {owner}")
    d0, source, price, wafer_source, ends = asked.d0, "", None, "", asked.d0_interval
    if getattr(asked, "node", None) is not None:
        from archfab.silicon.nodes import interval as factors
        from archfab.silicon.nodes import node, table
        found = node(asked.node)
        price, wafer_source = found.wafer_usd, f"{found.name} nm: {table()['wafer_usd']['source']}"
        if d0 is None:
            d0, source = found.d0_per_cm2, f"{found.name} nm: {table()['d0_per_cm2']['source']}"
            ends = ends or [d0 * factor for factor in factors("d0_per_cm2")]
    if d0 is None:
        raise UsageError("no defect density is given; say --d0 in defects per cm2"
                         + (", or --node for a published one" if hasattr(asked, "node") else ""))
    from_zero("a defect density per cm2", d0)
    if ends:
        from_zero("the interval of the defect density per cm2", ends)
    return Defects(d0, interval("a defect density per cm2", d0, ends), asked.model, alpha, layers, source, price,
                   wafer_source, tuple(doubts(d0, alpha=alpha)))


def area_of(asked: argparse.Namespace) -> tuple[float, float, float]:
    """Area, width and height of the die that was asked for."""
    from archfab.silicon.yields.dies import sides
    width, height = sides(asked.area_mm2, asked.width_mm, asked.height_mm)
    return float(width * height) if asked.area_mm2 is None else asked.area_mm2, float(width), float(height)


def price_of(asked: argparse.Namespace, defects: Defects) -> float:
    """The wafer's price that was asked for, or the node's.

    :raises UsageError: there is neither.
    """
    price = defects.wafer_usd if asked.wafer_usd is None else asked.wafer_usd
    if price is None:
        raise UsageError("no price of a wafer is given; say --wafer-usd, or --node for a published one")
    if asked.wafer_usd is None and (asked.diameter_mm or 300) != 300:
        raise UsageError(f"the price of a node is that of a wafer of 300 mm, not of {asked.diameter_mm:g} mm; say "
                         "--wafer-usd")
    return float(price)


def priced(asked: argparse.Namespace, defects: Defects) -> dict[str, Any]:
    """The wafer's price for the answer, and where it comes from if it was not given."""
    return {"wafer_usd": price_of(asked, defects),
            "wafer_source": None if asked.wafer_usd is not None else defects.wafer_source}


def tell_sources(document: Mapping[str, Any]) -> None:
    """Where the price and the density come from that were not given."""
    from archfab.terminal import say
    for name, key in (("the wafer's price", "wafer_source"), ("D0", "source")):
        if document.get(key):
            say(f"{name}: {document[key]}")


def draw(path: Path | None, figure: Any) -> None:
    """Writes the picture that `figure` makes, where one was asked for.

    :raises UsageError: another ending, or a file that cannot be written.
    """
    if path is None:
        return
    from archfab.silicon.files import check_picture, save
    check_picture(path)
    save(figure(), path)


def warn(document: Mapping[str, Any]) -> None:
    """What looks like another unit, below the answer."""
    from archfab.terminal import say
    for sentence in document.get("warnings", ()):
        say(f"careful: {sentence}")
