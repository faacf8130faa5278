"""Wafers to start for a demand, and the money that yield decides about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from archfab.core import UsageError
from archfab.silicon.yields.checks import LEAST, above_zero, from_zero, share
from archfab.silicon.yields.models import good_die_yield

VARIES = ("poisson", "murphy", "seeds", "negative-binomial")
"""Models that are a density which varies, so that they tell how much wafers differ."""


@dataclass(frozen=True)
class Product:
    """What is made, and how much of it comes through: dies on a wafer, their yield, the share of wafers that are
    finished, the share of packaged dies that work."""

    area_mm2: float
    dies_per_wafer: float
    d0_per_cm2: float
    alpha: float | None = None
    model: str = "negative-binomial"
    layers: float | None = None
    line_yield: float = 1.0
    final_yield: float = 1.0

    def __post_init__(self) -> None:
        above_zero("a number of dies on a wafer", self.dies_per_wafer)
        share("a line yield", self.line_yield)
        share("a final yield", self.final_yield)

    def good(self, areas: float = 1.0, d0_per_cm2: float | None = None) -> float:
        """The yield of a die, or of several side by side."""
        d0 = self.d0_per_cm2 if d0_per_cm2 is None else d0_per_cm2
        return float(good_die_yield(areas * self.area_mm2, d0, self.alpha, self.model, self.layers))

    def units_per_start(self, d0_per_cm2: float | None = None) -> float:
        """Working units that one started wafer gives in the mean."""
        return self.dies_per_wafer * self.good(d0_per_cm2=d0_per_cm2) * self.line_yield * self.final_yield

    def variance_per_start(self) -> float:
        """The variance of that number, where the density is one for a whole wafer and varies between wafers: two dies
        of a wafer are both good with the yield of twice the area."""
        n, y, both = self.dies_per_wafer, self.good(), self.good(2.0)
        p, f = self.line_yield, self.final_yield
        second = n * y * f + n * (n - 1) * both * f * f         # of working units on a finished wafer, squared
        return max(0.0, p * second - self.units_per_start() ** 2)


def wafer_starts(units: float, product: Product, confidence: float | None = None) -> int:
    """Wafers to start so that a demand is met in the mean, or with a probability.

    With a confidence the number of working units is taken as normal, with the variance that comes of defects, of
    wafers that differ (`Product.variance_per_start`) and of wafers that are lost.

    :raises UsageError: a yield of 0, a model that does not tell how wafers differ.
    """
    return _more(float(from_zero("a demand", units)), product, 0.0, 0.0, _quantile(confidence, product))


def _quantile(confidence: float | None, product: Product) -> float:
    if confidence is None:
        return 0.0
    if product.model not in VARIES:
        raise UsageError(f"the model '{product.model}' does not say how much wafers differ; with a confidence give one "
                         f"of {', '.join(VARIES)}")
    if not 0.5 <= confidence < 1:
        raise UsageError(f"a confidence of {confidence:g} is none; give 0.5 to below 1, such as 0.95")
    from scipy.stats import norm
    return float(norm.ppf(confidence))


def _more(units: float, product: Product, mean: float, variance: float, z: float) -> int:
    """The least number of further wafers with which the units in hand, their mean less z deviations, meet a demand."""
    each, spread = product.units_per_start(), product.variance_per_start() if z else 0.0
    if each < LEAST:
        raise UsageError("no die is good, so that no number of wafers meets a demand; check the defect density (per "
                         "cm2) and the area (mm2)")

    def met(wafers: int) -> bool:
        return mean + wafers * each - z * math.sqrt(variance + wafers * spread) >= units * (1 - 1e-12)

    high = max(1, math.ceil((units - mean) / each)) if units > mean else 1
    if met(0):
        return 0
    while not met(high):
        high *= 2
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if met(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class Stake:
    """The money that yield decides about, in USD a lot of wafers: what the good units bring, what the bad dies would
    have brought, what one point of yield and a defect density lower by `step` bring."""

    revenue_usd: float
    lost_usd: float
    per_point_usd: float
    per_step_usd: float
    step_per_cm2: float


def at_stake(wafers: float, product: Product, unit_usd: float, step_per_cm2: float | None = None) -> Stake:
    """What is earned and lost on a number of started wafers.

    :param unit_usd: what one working unit brings: its price, or its margin.
    :param step_per_cm2: a change of the defect density; a tenth of it if not given.
    """
    wafers, price = float(from_zero("a number of wafers", wafers)), float(from_zero("a price of a unit", unit_usd))
    d0 = product.d0_per_cm2
    step = float(from_zero("a step of the defect density", d0 / 10 if step_per_cm2 is None else step_per_cm2))
    if step > d0:
        raise UsageError(f"a defect density of {d0:g} per cm2 cannot fall by {step:g}; give a smaller step")
    dies = wafers * product.dies_per_wafer * product.line_yield * product.final_yield * price
    good = product.good()
    better = product.good(d0_per_cm2=d0 - step)
    return Stake(dies * good, dies * (1 - good), dies / 100, dies * (better - good), step)


@dataclass(frozen=True)
class Month:
    """A period of a plan: what is asked for, and the defect density of the wafers that it is made of, where it is
    known."""

    name: str
    units: float
    d0_per_cm2: float | None = None


@dataclass(frozen=True)
class Start:
    """Wafers to be started in a period, for the demand of a later one."""

    period: int
    wafers: int
    for_month: str
    units: float
    d0_per_cm2: float
    good_die_yield: float


def plan_starts(months: Sequence[Month], product: Product, lead: int = 0,
                confidence: float | None = None) -> list[Start]:
    """Wafers to be started in each period so that all that was asked for by then is in hand `lead` periods later; what
    whole wafers give beyond a demand serves the next one.

    :param lead: periods from the start of a wafer to the unit in hand; periods below 0 lie before the first demand.
    :raises UsageError: an impossible figure.
    """
    if lead < 0 or lead != int(lead):
        raise UsageError(f"a lead time of {lead:g} periods is impossible; give a whole number from 0 up")
    found, asked, mean, variance = [], 0.0, 0.0, 0.0
    z = _quantile(confidence, product)
    for i, month in enumerate(months):
        of = product if month.d0_per_cm2 is None else replace(product, d0_per_cm2=month.d0_per_cm2)
        asked += float(from_zero(f"the demand of {month.name}", month.units))
        wafers = _more(asked, of, mean, variance, z)
        mean += wafers * of.units_per_start()
        variance += wafers * of.variance_per_start()
        found.append(Start(i - int(lead), wafers, month.name, month.units, of.d0_per_cm2, of.good()))
    return found
