"""Spaces of N-BEATS networks: interpretable, generic, mixed, one of modules alone, and ensembles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archfab.space import choose, repeat
from archfab.space.descriptions import Description
from archfab.tasks.forecasting.ensemble import Ensemble
from archfab.tasks.forecasting.nbeats import Forecaster, Stack

WIDTHS = (64, 128, 256)
NARROW = (64, 128)      # of the members of an ensemble


@dataclass(frozen=True)
class Sizes:
    """What a space has to know of the data: the horizon, the season, the look-backs, the levels of quantiles."""

    horizon: int
    season: int
    lookbacks: tuple[int, ...]
    quantiles: tuple[float, ...]

    @property
    def period(self) -> int:
        """Steps of the first harmonic: the horizon, rounded up to whole seasons."""
        return self.season * math.ceil(self.horizon / self.season)

    @property
    def begin(self) -> int:
        """A season, where every look-back holds one."""
        return self.season if self.season <= self.lookbacks[0] else 1

    @property
    def longest(self) -> int:
        return self.lookbacks[-1]

    @property
    def harmonics(self) -> tuple[int, ...]:
        """Numbers of harmonics, the constant one included: up to the period's half, as in the paper, and fewer."""
        most = max(1, self.period // 2)
        return tuple(sorted({max(1, most // 4), max(1, most // 2), most}))


def interpretable(sizes: Sizes) -> Description:
    """A trend, then a season, each of a stack whose blocks share their weights (Oreshkin et al., section 3.3)."""
    return Forecaster([trend(sizes, "trend"), seasonality(sizes, "season")], lookback(sizes), sizes.horizon,
                      loss(), sizes.quantiles, start(sizes))


def generic(sizes: Sizes) -> Description:
    """Stacks of learned bases (section 3.2)."""
    return Forecaster([repeat(choose("stacks", 2, 4, 6), lambda i: learned(sizes, "generic", choose("blocks", 1, 2)))],
                      lookback(sizes), sizes.horizon, loss(), sizes.quantiles, start(sizes))


def mixed(sizes: Sizes) -> Description:
    """One to three stacks, the kind of each decided, its blocks sharing weights or not."""

    def stack(i: int) -> Any:
        name = f"stack{i + 1}"
        shared, blocks = choose(f"{name}.shared", True, False), choose(f"{name}.blocks", 1, 2, 3)
        return choose(name, trend=trend(sizes, name, blocks, shared), season=seasonality(sizes, name, blocks, shared),
                      generic=learned(sizes, name, blocks, shared))

    return Forecaster([repeat(choose("stacks", 1, 2, 3), stack)], lookback(sizes), sizes.horizon,
                      loss("quantiles"), sizes.quantiles, start(sizes))


def modules(sizes: Sizes) -> Description:
    """Three stacks whose decisions are choices among parts: what gradients can weigh."""

    def stack(i: int) -> Any:
        name = f"stack{i + 1}"
        options = {
            "trend": Stack("trend", 2, 2, 64, 2, True, sizes.period, sizes.longest),
            "season": Stack("seasonality", 2, 2, 128, sizes.harmonics[-1], True, sizes.period, sizes.longest),
            "generic": Stack("generic", 1, 2, 64, 8, True, sizes.period, sizes.longest),
            "deep": Stack("generic", 2, 4, 64, 8, True, sizes.period, sizes.longest)}
        return choose(name, **options)

    return Forecaster([stack(i) for i in range(3)], sizes.lookbacks[len(sizes.lookbacks) // 2], sizes.horizon, "mase",
                      sizes.quantiles, sizes.begin)


def ensemble(sizes: Sizes) -> Description:
    """Interpretable networks of several look-backs and losses, each trained on its own, and their median."""
    backs = sizes.lookbacks
    return Ensemble([trend(sizes, "trend", widths=NARROW), seasonality(sizes, "season", widths=NARROW)],
                    choose("lookbacks", short=backs[:3], long=backs[-3:], spread=backs[1::2] or backs),
                    choose("losses", smape=("smape",), mase=("mase",), three=("smape", "mase", "mape")),
                    choose("repeats", 1, 2), sizes.horizon, sizes.quantiles, start(sizes))


def trend(sizes: Sizes, name: str, blocks: Any = 3, shared: Any = True,
          widths: Sequence[int] = WIDTHS) -> Description:
    return Stack("trend", blocks, choose(f"{name}.layers", 2, 3, 4), choose(f"{name}.width", *widths),
                 choose(f"{name}.degree", 1, 2, 3), shared, sizes.period, sizes.longest)


def seasonality(sizes: Sizes, name: str, blocks: Any = 3, shared: Any = True,
                widths: Sequence[int] = WIDTHS) -> Description:
    return Stack("seasonality", blocks, choose(f"{name}.layers", 2, 3, 4), choose(f"{name}.width", *widths),
                 choose(f"{name}.harmonics", *sizes.harmonics), shared, sizes.period, sizes.longest)


def learned(sizes: Sizes, name: str, blocks: Any, shared: Any = False) -> Description:
    return Stack("generic", blocks, choose(f"{name}.layers", 2, 3, 4), choose(f"{name}.width", *WIDTHS),
                 choose(f"{name}.basis", 4, 8, 16), shared, sizes.period, sizes.longest)


def lookback(sizes: Sizes) -> Any:
    return choose("lookback", *sizes.lookbacks)


def start(sizes: Sizes) -> Any:
    """Where forecasts start: at the last value, or at the last season where there is one."""
    return choose("start", 1, sizes.begin) if sizes.begin > 1 else 1


def loss(*more: str) -> Any:
    return choose("loss", "smape", "mase", "mape", *more)


def levels(coverage: float) -> Sequence[float]:
    """The levels that networks forecast which learn quantiles: the interval's ends, the quartiles and the median."""
    return tuple(round(level, 10) for level in ((1 - coverage) / 2, 0.25, 0.5, 0.75, (1 + coverage) / 2))
