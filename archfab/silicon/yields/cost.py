"""What one good die costs: the wafer shared among its good dies, test, packaging, and design over the volume."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.yields.checks import above_zero, from_zero, share
from archfab.silicon.yields.dies import dies_per_wafer
from archfab.silicon.yields.models import good_die_yield, plain


@dataclass(frozen=True)
class Wafer:
    """How dies lie on a wafer, as `dies_per_wafer` says."""

    diameter_mm: float = 300.0
    edge_mm: float = 3.0
    scribe_mm: float = 0.1
    how: str = "formula"


CHIPLET_ACTUARY = Wafer(300.0, 5.0, 0.2, "formula")
"""The conventions of Chiplet Actuary (Feng and Ma, DAC 2022), whose yield is a negative binomial with alpha = 10."""
CHIPLET_ACTUARY_ALPHA = 10.0


@dataclass(frozen=True)
class DieCost:
    """What makes up the cost of one good die, in USD each; the parts add up to the total."""

    wafer_share_usd: Any        # of one die, good or bad
    probe_usd: Any              # of testing one die on the wafer
    defects_usd: Any            # of the bad dies that each good one carries
    package_usd: Any            # packaging and final test
    fallout_usd: Any            # of what fails only after packaging
    design_usd: Any             # masks and design, over the volume
    total_usd: Any
    dies_per_wafer: Any
    good_die_yield: Any

    def parts(self) -> dict[str, Any]:
        """What adds up to the total, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)[:6]}


def die_cost_usd(area_mm2: Any, wafer_usd: Any, d0_per_cm2: Any, alpha: Any = None, model: str = "negative-binomial",
                 **others: Any) -> Any:
    """The cost of one good die in USD: `die_cost(...).total_usd`, inf where no die fits on a wafer."""
    return die_cost(area_mm2, wafer_usd, d0_per_cm2, alpha, model, **others).total_usd


def die_cost(area_mm2: Any, wafer_usd: Any, d0_per_cm2: Any, alpha: Any = None, model: str = "negative-binomial",
             layers: Any = None, width_mm: Any = None, height_mm: Any = None, wafer: Wafer = Wafer(),
             line_yield: Any = 1.0, probe_usd: Any = 0.0, package_usd: Any = 0.0, final_test_usd: Any = 0.0,
             final_yield: Any = 1.0, design_usd: Any = 0.0, volume: Any = None) -> DieCost:
    """What one good die costs, and of what that is made up.

    ((wafer / (dies line_yield) + probe) / yield + package + final test) / final_yield + design / volume: a wafer's
    price is shared among the dies that pass, each die is probed once, only those that pass are packaged, and those
    that fail after packaging take their package with them (Hennessy and Patterson, Computer Architecture, chapter 1,
    in other words).

    :param area_mm2: of one die, square unless its sides are given; a number or an array, as the other figures.
    :param wafer_usd: price of a processed wafer.
    :param d0_per_cm2: killing defects per cm2; with alpha, model and layers as `good_die_yield` takes them.
    :param wafer: how dies are placed on it.
    :param line_yield: the share of started wafers that are finished.
    :param probe_usd: testing one die on the wafer; `package_usd` and `final_test_usd`: of one packaged die.
    :param final_yield: the share of packaged dies that work.
    :param design_usd: masks and design, shared among `volume` good dies.
    :raises UsageError: a figure that is impossible.
    """
    dies = dies_per_wafer(area_mm2, wafer.diameter_mm, wafer.edge_mm, wafer.scribe_mm, width_mm, height_mm, wafer.how)
    area = np.asarray(area_mm2 if area_mm2 is not None else np.multiply(width_mm, height_mm))
    good = good_die_yield(area, d0_per_cm2, alpha, model, layers)
    price, probe = from_zero("a wafer's price in USD", wafer_usd), from_zero("a price of probing in USD", probe_usd)
    with np.errstate(divide="ignore"):
        raw = np.where(np.asarray(dies) > 0, price / np.asarray(dies), np.inf) / share("a line yield", line_yield)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        defects = np.where(np.isinf(raw), 0.0, (raw + probe) * (1 / np.asarray(good) - 1))
    package = from_zero("a price of packaging in USD", package_usd) \
        + from_zero("a price of a test in USD", final_test_usd)
    lost = 1 / share("a final yield", final_yield) - 1
    fallout = np.where(np.isinf(raw), 0.0, (np.where(np.isinf(raw), 0.0, raw) + probe + defects + package) * lost)
    design = from_zero("a price of the design in USD", design_usd)
    if volume is None and design.any():
        raise UsageError("the price of a design needs the volume that it is shared among (--volume 1e6)")
    design = design / above_zero("a volume", 1 if volume is None else volume)
    names = [field.name for field in fields(DieCost)[:6]]
    parts = dict(zip(names, np.broadcast_arrays(raw, probe, defects, package, fallout, design), strict=True))
    total = np.sum(list(parts.values()), axis=0)
    return DieCost(**{name: plain(part) for name, part in parts.items()}, total_usd=plain(total), dies_per_wafer=dies,
                   good_die_yield=good)
