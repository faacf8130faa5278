"""A net-zero plan as plain data: what is emitted, what is aimed at, what can be done about it and at what price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archfab.core import UsageError

if TYPE_CHECKING:
    import numpy as np

LEAST_CUT = 0.90
"""The share of the base year's emissions that has to be gone before 'net zero' may be said: SBTi's Corporate Net-Zero
Standard asks for 90 % and more (long-term targets; secondary: netzeroupdate.com). A plan may ask for more, never for
less."""
LEAST_PERMANENCE_YEARS = 100.0
"""How long a removal has to last to neutralise anything. SBTi asks for permanent removal and gives no number
(secondary: cnaught.com, 2024); 100 years is our assumption (registries' labels, recalled). A plan may ask
for more, never for less."""
ACCOUNTS = ("location", "market")
"""Scope 2 is accounted twice (GHG Protocol, Scope 2 Guidance): by the grid of the place, and by what contracts say."""


@dataclass(frozen=True)
class Source:
    """One thing that emits: tonnes of CO2e in the base year, how far that can be off (95 %), and how it goes on by
    itself: `growth` of the activity and change of its `intensity` (a grid that gets cleaner), each a share per year."""

    name: str
    scope: int
    t: float
    market_t: float                 # scope 2 by contracts; elsewhere the same as `t`
    uncertainty: float = 0.0        # half a 95 % interval, as a share of t
    growth: float = 0.0
    growth_low: float = 0.0         # 95 % interval of the growth
    growth_high: float = 0.0
    intensity: float = 0.0

    def activity(self, years: np.ndarray) -> np.ndarray:
        """The activity after so many years, that of the base year being 1."""
        return (1.0 + self.growth) ** years

    def baseline(self, years: np.ndarray, account: str = "location") -> np.ndarray:
        """Tonnes per year if nothing is done, so many years after the base year."""
        start = self.market_t if account == "market" else self.t
        return start * self.activity(years) * (1.0 + self.intensity) ** years


@dataclass(frozen=True)
class Measure:
    """Something that lowers emissions. It takes a `share` of each source it acts on, wherever it is deployed, or so
    many tonnes per year (`potential_t`). Costs are those of full deployment at the base year's activity."""

    name: str
    acts_on: Mapping[str, float]            # share by source; with potential_t: 1 for each source
    capital: float = 0.0                    # currency, once per lifetime
    running: float = 0.0                    # currency per year, negative where it saves
    potential_t: float | None = None
    certificates: bool = False              # contracts: they lower the market-based figure only
    start: int = 0                          # the first year in which money can be spent
    lead: int = 0                           # years from the money to the effect
    ramp: float = 1.0                       # share of full deployment that can be added in a year
    lifetime: int = 20                      # years
    whole: bool = False                     # all or nothing
    excludes: tuple[str, ...] = ()          # never in one plan with these
    apart_from: tuple[str, ...] = ()        # never on the same part of a source as these
    requires: tuple[str, ...] = ()          # deployed only where and as far as these are
    cost_change: float = 0.0                # of the capital, as a share per year


@dataclass(frozen=True)
class Milestone:
    """From this year on (or in it alone) the emissions of some scopes are at most a share of the base year's, or at
    most so many tonnes."""

    name: str
    year: int
    cut: float | None = None
    t: float | None = None
    scopes: tuple[int, ...] = (1, 2, 3)
    keep: bool = True


@dataclass(frozen=True)
class Removal:
    """Carbon taken out of the air and kept: for the residual alone, never instead of abatement."""

    name: str
    permanence_years: float
    cost_per_t: float
    limit_t: float                  # per year
    start: int
    growth: float = 0.0             # of the limit, share per year from `start`
    cost_change: float = 0.0        # share per year from the first year of the plan


@dataclass(frozen=True)
class Offset:
    """Credits bought for what others did not emit: told, paid for, and counted as nothing."""

    name: str
    t: float
    cost_per_t: float
    first: int
    last: int


@dataclass(frozen=True)
class CarbonPrice:
    """What is paid, or reckoned inside, for each tonne that is still emitted."""

    per_t: float
    growth: float = 0.0
    scopes: tuple[int, ...] = (1, 2, 3)


@dataclass(frozen=True)
class Plan:
    """Everything that a pathway is decided from."""

    name: str
    base_year: int
    first_year: int
    last_year: int
    sources: tuple[Source, ...]
    measures: tuple[Measure, ...]
    milestones: tuple[Milestone, ...]
    removals: tuple[Removal, ...] = ()
    offsets: tuple[Offset, ...] = ()
    net_zero_year: int | None = None
    least_cut: float = LEAST_CUT
    permanence_years: float = LEAST_PERMANENCE_YEARS
    spending: Mapping[int, float] | None = None     # the most that may be spent, by year
    spending_counts: str = "all"                    # "all": capital, running, removals less savings; or "capital"
    cumulative_t: float | None = None               # the most that may be emitted over all years of the plan
    carbon_price: CarbonPrice | None = None
    discount_rate: float = 0.0
    residual_value: bool = True
    scope2: str = "both"                            # which accounts have to keep the milestones
    correlation: float = 0.0                        # between the errors of the sources
    currency: str = "USD"

    def __post_init__(self) -> None:
        if self.least_cut < LEAST_CUT:
            raise UsageError(f"net zero asks for a cut of {LEAST_CUT:g} at least, not {self.least_cut:g}: a plan may "
                             "ask for more (0.95), never for less. Write a smaller aim as one of [[milestones]]")
        if self.permanence_years < LEAST_PERMANENCE_YEARS:
            raise UsageError(f"what neutralises a residual lasts {LEAST_PERMANENCE_YEARS:g} years at least, not "
                             f"{self.permanence_years:g} ('permanence_years'): a plan may ask for more, never for less")

    @property
    def years(self) -> list[int]:
        return list(range(self.first_year, self.last_year + 1))

    @property
    def since_base(self) -> np.ndarray:
        import numpy as np
        return np.array(self.years) - self.base_year

    @property
    def binding(self) -> tuple[str, ...]:
        """The accounts whose figures have to keep the milestones."""
        return ACCOUNTS if self.scope2 == "both" else (self.scope2,)

    def source(self, name: str) -> Source:
        return next(each for each in self.sources if each.name == name)

    def base_t(self, account: str, scopes: tuple[int, ...] = (1, 2, 3)) -> float:
        """Tonnes of the base year in these scopes."""
        return sum(each.market_t if account == "market" else each.t for each in self.sources if each.scope in scopes)

    def cap_t(self, milestone: Milestone, account: str) -> float:
        """The most tonnes that a milestone allows."""
        if milestone.cut is None:
            assert milestone.t is not None
            return milestone.t
        return (1.0 - milestone.cut) * self.base_t(account, milestone.scopes)

    def discounts(self) -> np.ndarray:
        """What money of each year is worth in the first year of the plan."""
        import numpy as np
        return (1.0 + self.discount_rate) ** -(np.arange(len(self.years)).astype(float))

    def full_t(self, measure: Measure, account: str = "market") -> float:
        """Tonnes per year that a measure alone takes of the base year's emissions, fully deployed."""
        if measure.certificates and account == "location":
            return 0.0
        on = sum((each.market_t if account == "market" else each.t) * measure.acts_on[each.name]
                 for each in self.sources if each.name in measure.acts_on)
        return on if measure.potential_t is None else min(on, measure.potential_t)

    def scale(self, measure: Measure) -> np.ndarray:
        """The activity that a measure acts on by year, that of the base year being 1: what full deployment costs
        more."""
        import numpy as np
        if measure.potential_t is not None:
            return np.ones(len(self.years))
        weights = {name: share * (self.source(name).market_t + self.source(name).t)
                   for name, share in measure.acts_on.items()}
        total = sum(weights.values())
        if total == 0:
            return np.ones(len(self.years))
        return np.sum([weight * self.source(name).activity(self.since_base) for name, weight in weights.items()],
                      axis=0) / total

    def plain(self) -> dict[str, Any]:
        """The frame of the plan, for a document."""
        return {"name": self.name, "base_year": self.base_year, "first_year": self.first_year,
                "last_year": self.last_year, "currency": self.currency, "discount_rate": self.discount_rate,
                "scope2": self.scope2, "sources": len(self.sources), "measures": len(self.measures),
                "base_t": {account: self.base_t(account) for account in ACCOUNTS}}
