"""Forecasts of time series by N-BEATS: CSV and Parquet files, folders as M4's; a generated example by default."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import nn

from archfab.core import Budget, Estimate, Exhibit, Metrics, Port, Task, UsageError, unknown
from archfab.learning import Recipe, fit
from archfab.metrics import forecasting as metrics
from archfab.tasks.forecasting import baselines, intervals, spaces
from archfab.tasks.forecasting.data import GROUPS, Columns, read_series
from archfab.tasks.forecasting.ensemble import middle, point
from archfab.tasks.forecasting.example import SEASON, example_series
from archfab.tasks.forecasting.losses import loss_of
from archfab.tasks.forecasting.nbeats import LEARNED
from archfab.tasks.forecasting.series import Series
from archfab.tasks.forecasting.splits import Splits
from archfab.tasks.forecasting.windows import Batch

if TYPE_CHECKING:
    from archfab.space.descriptions import Description

STEPS = 50              # in what counts as one epoch
SMALL = 5000            # values to learn from, below which training is short


class Answers(NamedTuple):
    """What the networks say that are trained on their own, with their losses and the quantiles that they forecast."""

    forecasts: tuple[torch.Tensor, ...]
    losses: tuple[str, ...]
    quantiles: tuple[tuple[float, ...], ...]


class Forecasting(Task):
    """Forecasts series of equally spaced values. What is to be forecast in the test part is never seen by a search.

    :param data: a CSV or Parquet file, long or wide, or a folder of GROUP-train and GROUP-test files; a generated
        example without it.
    :param series: the group, in a folder that has several, such as M4's Hourly.
    :param horizon: steps to be forecast; the group's, or the length of the test part, where it is left out.
    :param season: steps of one season, 1 where there is none; the group's where it is left out.
    :param shortest: the shortest look-back, in horizons; a series has to have that many values and a horizon more.
    :param longest: the longest one; in a series that is too short for it, what lies before its beginning is missing.
    :param history: how far back training windows begin, in horizons.
    :param origins: from how many points in time validation forecasts are made, for each series; enough for 60 windows
        where it is left out.
    :param test_origins: the same for a test part that is cut off the series.
    :param stride: steps between two of them; one horizon where it is left out.
    :param coverage: the share of truths that a prediction interval is to hold.
    :param calibrate: whether a twin of each delivered network is trained without the validation windows first, to see
        how far forecasts are off; takes as long again.
    :param layout: of the file: long, rows, columns, or auto.
    :param id: the column of series names, in a long file. :param time: the column of times.
    :param value: the column of values. :param gaps: what steps of time without a row are: keep, as if they were none;
        fill, missing values.
    :param ets: the most windows on which exponential smoothing, at up to a second each, is fitted as a baseline.
    :param lr: the highest learning rate. :param batch: windows of one training step; 64, or 256 of 100 series or more.
    :param weight_decay: of the weights. :param ema: decay of the moving average of the weights; 0: none.
    """

    name = "forecasting"
    goals = {"owa": "min"}
    scores = ("owa", "smape", "mase", "mape", "coverage")
    spaces = ("interpretable", "mixed", "generic", "modules", "ensemble")
    steps_an_epoch = STEPS
    ports = ((Port("window"),), (Port("forecast"),))

    def __init__(self, *, data: str | None = None, series: str | None = None, horizon: int | None = None,
                 season: int | None = None, shortest: int = 2, longest: int = 7, history: int = 10,
                 origins: int | None = None, test_origins: int = 1, stride: int | None = None, coverage: float = 0.95,
                 calibrate: bool = True, layout: str = "auto", id: str | None = None, time: str | None = None,
                 value: str | None = None, gaps: str = "keep", ets: int | None = None, lr: float = 2e-3,
                 batch: int | None = None, weight_decay: float = 0.0, ema: float = 0.98) -> None:
        if not 0 < coverage < 1 or min(history, shortest, test_origins) < 1 or longest < shortest:
            raise UsageError("coverage is a share above 0 and below 1; history, shortest and test-origins are whole "
                             "numbers from 1 up, and longest is at least shortest")
        for name, given in (("horizon", horizon), ("season", season), ("stride", stride), ("origins", origins)):
            if given is not None and given < 1:
                raise UsageError(f"--{name} is a whole number from 1 up, not {given}")
        if series and not data:
            raise UsageError(f"--series {series} names a group of the series in --data; give that too")
        if ets and not find_spec("statsmodels"):
            raise UsageError("the baseline ETS needs statsmodels; install it: pip install 'archfab[forecasting]'")
        self.ets = ets if ets is not None else 150 if find_spec("statsmodels") else 0
        self.columns = Columns(layout, id, time, value, gaps)
        self.read = read_series(data, series, self.columns) if data else example_series()
        self.horizon, self.season = self.sizes_of(self.read, horizon, season, None if data else (SEASON, SEASON))
        if self.read.test is not None and test_origins > 1:
            raise UsageError(f"{self.read.source} has a test part of its own, which says how many origins there are; "
                             "leave --test-origins out")
        self.lookbacks = tuple(n * self.horizon for n in range(shortest, longest + 1))
        self.coverage, self.calibrate = coverage, calibrate
        if batch is None:
            batch = 64 if len(self.read.names) < 100 else 256
        self.recipe = Recipe(lr=lr, batch=batch, weight_decay=weight_decay, ema=ema, clip=1.0)
        self.parts = Splits(self.read, self.horizon, self.season, self.lookbacks[0], self.lookbacks[-1],
                            history * self.horizon, origins, test_origins, stride)

    @staticmethod
    def sizes_of(series: Series, horizon: int | None, season: int | None,
                 usual: tuple[int, int] | None) -> tuple[int, int]:
        """Horizon and season: as asked, as the test part has it, or as is usual, which the group of M4 says."""
        usual = usual or GROUPS.get(series.group)
        if horizon is None and series.test is not None:
            horizon = min(map(len, series.test))
        horizon = horizon or (usual[0] if usual else None)
        if horizon is None:
            raise UsageError(f"how many steps are to be forecast of the series in {series.source}? --horizon N (and "
                             "--season N where they have a season)")
        return horizon, season or (usual[1] if usual else 1)

    # --- networks

    def space(self, name: str | None = None) -> Description:
        name = name or self.spaces[0]
        if name not in self.spaces:
            raise unknown("space", name, self.spaces)
        return getattr(spaces, name)(spaces.Sizes(self.horizon, self.season, self.lookbacks,
                                                  tuple(spaces.levels(self.coverage))))

    def example(self, batch: int = 1) -> tuple[torch.Tensor, ...]:
        return (torch.zeros(batch, self.lookbacks[-1]),)

    @property
    def small(self) -> bool:
        """Whether the series are few and short, so that networks soon know them by heart."""
        return sum(map(len, self.parts.train)) < SMALL

    def budget(self) -> Budget:
        return Budget(epochs=3 if self.small else 6)

    def full_budget(self) -> Budget:
        return Budget(epochs=4 if self.small else 40)

    def fit(self, model: nn.Module, budget: Budget, rng: random.Random, full: bool = False,
            rate: float = 1.0) -> list[dict[str, float]]:
        """`full` trains on all but the test part. A budget of steps or epochs is that of each member of an ensemble;
        one of seconds is shared out."""
        if not full:
            return self.learn(model, budget, rng, rate, "train", watch=True)
        if self.calibrate:
            budget = replace(budget, seconds=budget.seconds and budget.seconds / 2)
            twin = copy.deepcopy(model)
            self.learn(twin, budget, random.Random(rng.getrandbits(60)), rate, "train")
            self.set_margin(model, twin)
        else:
            model.margin.windows.fill_(LEARNED)                 # type: ignore[union-attr, operator]
        return self.learn(model, budget, rng, rate, "usable")

    def learn(self, model: nn.Module, budget: Budget, rng: random.Random, rate: float, part: str,
              watch: bool = False) -> list[dict[str, float]]:
        """Trains every member on its own batches.

        :param watch: whether the weights of the epoch that is best on validation are kept; else the last ones.
        """
        members: list[Any] = list(model.members)                # type: ignore[arg-type]
        budget = replace(budget, seconds=budget.seconds and budget.seconds / len(members))
        curve = []
        for i, member in enumerate(members):
            draws = torch.Generator().manual_seed(rng.getrandbits(60))
            rows = fit(member, lambda draws=draws: self.parts.samplers[part].epoch(STEPS, self.recipe.batch, draws),   # type: ignore
                       STEPS, lambda batch, member=member: self.loss(self.answer(member, batch), batch),   # type: ignore
                       replace(self.recipe, lr=self.recipe.lr * rate), budget,
                       (lambda member=member: self.points(member, "validation")) if watch else None,    # type: ignore
                       watched="owa")
            curve += [{**row, "member": float(i)} if len(members) > 1 else row for row in rows]
        return curve

    def batches(self, split: Literal["train", "validation"], rng: random.Random,
                part: tuple[float, float] = (0.0, 1.0)) -> Iterator[Batch]:
        """A share of the training data is a share of the series, or, of a single series, of its time."""
        if split == "validation":
            held = self.parts.windows["validation"]
            whole = (torch.from_numpy(each).float() for each in (held.inputs, held.truth, held.scale))
            yield from (Batch(*parts) for parts in zip(*(x.split(self.recipe.batch) for x in whole), strict=True))
            return
        draws = torch.Generator().manual_seed(rng.getrandbits(60))
        sampler, number = self.parts.samplers["train"], len(self.parts.train)
        steps = max(1, math.ceil(STEPS * (part[1] - part[0])))
        if part == (0.0, 1.0) or number == 1:
            yield from sampler.epoch(steps, self.recipe.batch, draws, part=part)
            return
        order = torch.randperm(number, generator=torch.Generator().manual_seed(1))      # the same in every pass
        first = min(round(part[0] * number), number - 1)
        chosen = order[first:max(first + 1, round(part[1] * number))]
        yield from sampler.epoch(steps, self.recipe.batch, draws, chosen)

    def answer(self, model: Any, batch: Batch) -> Answers:
        members = list(getattr(model, "members", ()))
        if members:
            return Answers(tuple(member(batch.inputs) for member in members), tuple(member.loss for member in members),
                           tuple(member.quantiles for member in members))
        inside = next(part for part in model.modules() if hasattr(part, "loss"))        # of a mixture
        return Answers((model(batch.inputs),), (inside.loss,), (inside.quantiles,))

    def loss(self, answer: Answers, batch: Batch) -> torch.Tensor:
        """The mean of the members' losses, each of its own kind."""
        each = [loss_of(kind, forecast, quantiles, batch)
                for forecast, kind, quantiles in zip(*answer, strict=True)]
        return each[0] if len(each) == 1 else torch.stack(each).mean()

    def distance(self, answer: Answers, other: Answers) -> torch.Tensor:
        """2 |f - g| / (|f| + |g|) between the medians, the denominator without a gradient, and at least a thousandth of
        the window's largest forecast."""
        one, two = (middle(torch.stack([point(forecast, quantiles) for forecast, quantiles in
                                        zip(said.forecasts, said.quantiles, strict=True)])) for said in (answer, other))
        size = one.detach().abs() + two.detach().abs()
        return 2 * ((one - two).abs() / torch.maximum(size, 1e-3 * size.amax(1, keepdim=True) + 1e-30)).mean()

    # --- scores

    def points(self, model: Any, split: str) -> dict[str, Estimate]:
        """The scores of forecasts without intervals."""
        window = self.parts.windows[split]
        return window.scores(intervals.raw(model, window.inputs, self.season).value)

    def score(self, model: Any, split: Literal["validation", "test"] = "validation") -> Metrics:
        """The means over all windows of a split; no coverage where no window has an interval.

        Intervals on validation come from the other half of its windows; on test, from validation windows, which the
        network or its twin was not trained on. A network that comes here without having been trained for delivery, as
        one of shared weights does, has its margin set.
        """
        window = self.parts.windows[split]
        if split == "validation":
            found = intervals.crossed(window.truth, intervals.raw(model, window.inputs, self.season), self.coverage)
        else:
            if not float(model.margin.windows):
                self.set_margin(model, model)
            found = intervals.forecast(model, window.inputs, self.season)
        held = metrics.coverage(window.truth, found.low, found.high)
        return {**window.scores(found.value), **intervals.share("coverage", held)}

    def set_margin(self, model: Any, judged: Any) -> None:
        """Notes how far a network was off on validation windows."""
        window = self.parts.windows["validation"]
        found = intervals.raw(judged, window.inputs, self.season)
        by = intervals.radius(window.truth, found, self.coverage)
        with torch.no_grad():
            model.margin.radius.copy_(torch.from_numpy(by))
            model.margin.windows.fill_(len(window.truth))

    def baseline(self) -> dict[str, Metrics]:
        methods = dict(baselines.METHODS)
        if sum(len(self.parts.windows[split].inputs) for split in ("validation", "test")) <= self.ets:
            methods["ETS"] = baselines.ets
        splits = (("", self.parts.windows["validation"]), ("test_", self.parts.windows["test"]))
        return {name: {prefix + score: float(value) for prefix, window in splits
                       for score, value in window.scores(window.simple(method)).items()}
                for name, method in methods.items()}

    # --- delivery

    def inputs(self, number: int) -> tuple[torch.Tensor, ...]:
        return (torch.from_numpy(self.parts.windows["test"].inputs[:number]).float(),)

    def preprocessing(self) -> dict[str, Any]:
        longest, shortest = self.lookbacks[-1], self.lookbacks[0]
        return {"input": f"float32 [batch, {longest}]: the last values of a series as they are, the oldest first; NaN "
                         "where one is missing and before a series begins",
                "output": f"float32 [batch, {self.horizon}]: the next values; [batch, quantiles, {self.horizon}] of a "
                          "network that was trained on quantiles",
                "lookback": longest, "shortest": shortest, "horizon": self.horizon, "season": self.season,
                "quantiles": list(spaces.levels(self.coverage)), "coverage": self.coverage,
                "columns": asdict(self.columns), "group": self.read.group}

    def exhibits(self, model: Any) -> Iterable[Exhibit]:
        from archfab.tasks.forecasting import pictures
        return pictures.exhibits(self, model)

    @classmethod
    def predict(cls, models: Sequence[Any], preprocessing: Mapping[str, Any], data: str) -> Iterable[Exhibit]:
        from archfab.tasks.forecasting import pictures
        return pictures.predictions(models, preprocessing, data)


export = Forecasting
