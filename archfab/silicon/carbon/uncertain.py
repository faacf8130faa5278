"""Sums of uncertain products: their exact mean and variance, 95 % intervals, and what the uncertainty comes from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archfab.core import UsageError

Z = 1.959963984540054       # of a normal distribution, 95 % lie within so many deviations
MOST = 100.0                # what is uncertain by more is not known at all


@dataclass(frozen=True)
class Term:
    """One product of a sum: its value, and its uncertain factors by name, each with half of its 95 % interval as a
    share of its value (the percentage of the IPCC Guidelines, divided by 100). Terms with a factor of the same name
    share it: what is wrong with one grid figure is wrong wherever it is used."""

    value: float
    spreads: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Total:
    """A sum with its 95 % interval, its standard deviation, and the share of its variance that each factor explains
    alone."""

    value: float
    low: float
    high: float
    deviation: float
    shares: Mapping[str, float]

    def plain(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


def total(terms: Sequence[Term]) -> Total:
    """The sum of products of independent lognormal factors, each with the mean that was given.

    Mean and variance are exact, whatever is shared: cov(i, j) = v_i v_j (prod (1 + c^2) - 1) over the shared factors, c
    their coefficient of variation. The interval is that of a lognormal with these moments (Fenton 1960): exact for one
    term, and for sums as near as the benchmark says. Where no term is uncertain the interval is the value.

    :raises UsageError: of spreads that are no shares from 0 up.
    """
    value = math.fsum(term.value for term in terms)
    squares = squares_of(terms)
    variance = max(0.0, variance_of(terms, squares))
    low, high = interval(value, math.sqrt(variance))
    sums: dict[str, float] = {}
    for term in terms:
        for name in term.spreads:
            sums[name] = sums.get(name, 0.0) + term.value
    alone = {name: square * sums[name] ** 2 for name, square in squares.items()}
    shares = {name: part / variance for name, part in sorted(alone.items(), key=lambda item: -item[1])
              if variance > 0 and part > 0}
    return Total(value, low, high, math.sqrt(variance), shares)


def variance_of(terms: Sequence[Term], squares: Mapping[str, float]) -> float:
    """The exact variance of the sum. What only one term has makes no covariance, so terms are gathered by the factors
    that others have too: many lines of an inventory are few kinds."""
    met = Counter(name for term in terms for name in term.spreads)
    kinds: dict[frozenset[str], float] = {}
    alone = []
    for term in terms:
        common = frozenset(name for name in term.spreads if met[name] > 1)
        kinds[common] = kinds.get(common, 0.0) + term.value
        shared = math.prod(1 + squares[name] for name in common)
        own = math.prod(1 + squares[name] for name in term.spreads.keys() - common)
        alone.append(term.value ** 2 * shared * (own - 1))
    between = (one * other * (math.prod(1 + squares[name] for name in a & b) - 1)
               for a, one in kinds.items() for b, other in kinds.items() if a & b)
    return math.fsum(alone) + math.fsum(between)


def squares_of(terms: Sequence[Term]) -> dict[str, float]:
    """The squared coefficient of variation of each factor."""
    squares: dict[str, float] = {}
    for term in terms:
        for name, spread in term.spreads.items():
            if not 0 <= spread <= MOST:
                raise UsageError(f"the uncertainty of {name} is {spread!r}; give half of its 95 % interval as a share "
                                 f"of its value, from 0 up to {MOST:g}")
            square = (spread / Z) ** 2
            if not math.isclose(squares.setdefault(name, square), square, rel_tol=1e-9):
                raise UsageError(f"{name} has two uncertainties, {Z * math.sqrt(squares[name]):.4g} and {spread:.4g}; "
                                 "one factor has one: give the other another name")
    return squares


def interval(mean: float, deviation: float) -> tuple[float, float]:
    """The 95 % interval of a lognormal with this mean and standard deviation."""
    if mean <= 0 or deviation <= 0:
        return mean, mean
    square = math.log1p((deviation / mean) ** 2)
    middle, width = mean * math.exp(-square / 2), math.exp(Z * math.sqrt(square))
    return min(mean, middle / width), max(mean, middle * width)


def ratio_interval(above: Sequence[Term], below: Sequence[Term]) -> tuple[float, float]:
    """The 95 % interval of one sum over another, both lognormal: a factor that both have moves them together."""
    one, other = total(above), total(below)
    ratio = one.value / other.value
    both = total([*above, *(Term(term.value * ratio, term.spreads) for term in below)])
    squares = [(each.deviation / each.value) ** 2 for each in (one, other)]
    shared = ((both.deviation / one.value) ** 2 - sum(squares)) / 2
    widths = [math.log1p(square) for square in squares]
    middle = ratio * math.exp((widths[1] - widths[0]) / 2)
    width = math.exp(Z * math.sqrt(max(0.0, sum(widths) - 2 * math.log1p(shared))))
    return min(ratio, middle / width), max(ratio, middle * width)


def draw(terms: Sequence[Term], rng: Any, draws: int) -> Any:
    """Random values of each term, (terms, draws): the Monte Carlo of the IPCC Guidelines (approach 2)."""
    import numpy as np
    factors = {}
    for name, square in squares_of(terms).items():
        sigma = math.sqrt(math.log1p(square))
        factors[name] = np.exp(sigma * rng.standard_normal(draws) - sigma * sigma / 2)
    drawn = np.empty((len(terms), draws))
    for row, term in zip(drawn, terms, strict=True):
        row[:] = term.value
        for name in term.spreads:
            row *= factors[name]
    return drawn
