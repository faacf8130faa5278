"""What comes of a delivered network beside its scores: forecasts and backtests as tables, and pictures of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from archfab.core import Exhibit, UsageError
from archfab.drawing import FOUND, INK, LINE, OTHER, new_figure, svg
from archfab.metrics import forecasting as metrics
from archfab.tasks.forecasting import baselines, intervals
from archfab.tasks.forecasting.data import Columns, read_series
from archfab.tasks.forecasting.series import Array, check_sizes
from archfab.tasks.forecasting.windows import at_origins

if TYPE_CHECKING:
    from archfab.tasks.forecasting import Forecasting
    from archfab.tasks.forecasting.splits import Windows

SHOWN = 4               # series in a picture
PARTS = 2               # of them with their decomposition
LEAST = 12              # known steps in a picture, where the windows have as many
COLOURS = ("#3d8f5f", "#8a5fb0", "#b0483d", "#5f7fb0", "#8f7a3d", "#4d9a9a")


def exhibits(task: Forecasting, model: Any) -> Iterator[Exhibit]:
    """Of a delivered network: what comes next in every series, what it said of the test part, and pictures of that."""
    parts, window = task.parts, task.parts.windows["test"]
    names = task.read.names
    ahead, _ = at_origins(parts.full, [0], parts.longest, task.horizon)
    yield forecast_table(names, [len(values) for values in parts.full],
                         intervals.forecast(model, ahead, task.season), task.coverage)
    said = intervals.forecast(model, window.inputs, task.season)
    yield backtest_table(names, window, said)
    chosen = np.unique(np.linspace(0, len(names) - 1, SHOWN).round().astype(int))
    places = [int(np.flatnonzero(window.series == i)[-1]) for i in chosen]
    yield Exhibit("forecasts.svg", "Forecasts of the test part of some series, with what came",
                  drawn_forecasts(names, window, said, places, task.coverage))
    yield Exhibit("decomposition.svg", "What each stack of the network adds to these forecasts; the parts sum to them",
                  drawn_decomposition(names, window, model, places[:PARTS]))


def predictions(models: Sequence[Any], preprocessing: Mapping[str, Any], data: str) -> Iterator[Exhibit]:
    """What comes after the end of every series of a file; of several networks, their median."""
    columns = Columns(**preprocessing["columns"])
    series = read_series(data, preprocessing["group"] or None, columns)
    check_sizes(series)
    full = series.values if series.test is None else tuple(
        np.concatenate(pair) for pair in zip(series.values, series.test, strict=True))
    for i, values in enumerate(full):
        recent = values[max(0, len(values) - preprocessing["shortest"]):]
        if len(recent) < preprocessing["shortest"] or np.isnan(recent).all():
            known = int((~np.isnan(recent)).sum())
            raise UsageError(f"{series.where(i)} has {len(values)} values, {known} of its last "
                             f"{preprocessing['shortest']} known; the networks look back {preprocessing['shortest']} "
                             "steps at least; leave the series out, or deliver networks with a smaller --shortest"
                             f"{series.hint}")
    inputs, _ = at_origins(full, [0], preprocessing["lookback"], preprocessing["horizon"])
    found = intervals.median([intervals.forecast(model, inputs, preprocessing["season"]) for model in models])
    yield forecast_table(series.names, [len(values) for values in full], found, preprocessing["coverage"])
    places = list(range(min(SHOWN, len(full))))
    yield Exhibit("forecasts.svg", "Forecasts of the first series of the file",
                  drawn_next(series.names, inputs, found, places, preprocessing["coverage"]))


def forecast_table(names: Sequence[str], lengths: Sequence[int], found: intervals.Forecast,
                   coverage: float) -> Exhibit:
    """A row for each series and step; the ends of an interval are empty where there is none."""
    share = f"{100 * coverage:g}"

    def rows() -> Iterator[Sequence[Any]]:
        for i, name in enumerate(names):
            for step, (value, low, high) in enumerate(zip(found.value[i], found.low[i], found.high[i], strict=True)):
                ends = ["" if np.isnan(end) else float(end) for end in (low, high)]
                yield [name, lengths[i] + step + 1, step + 1, float(value), *ends]

    return Exhibit.table("forecasts.csv", f"What comes after the end of every series, with {share} % intervals",
                         ["series", "position", "step", "forecast", f"low_{share}", f"high_{share}"], rows())


def backtest_table(names: Sequence[str], window: Windows, said: intervals.Forecast) -> Exhibit:
    """A row for each series and origin of the test: the network's scores beside Naive2's."""
    naive = window.simple(baselines.naive2)
    truth, scale = window.truth, window.scale
    table = np.stack([metrics.smape(truth, said.value), metrics.mase(truth, said.value, scale),
                      metrics.coverage(truth, said.low, said.high), metrics.smape(truth, naive),
                      metrics.mase(truth, naive, scale)], 1)
    rows = ([names[window.series[i]], int(window.origins[i]), *("" if np.isnan(cell) else float(cell) for cell in row)]
            for i, row in enumerate(table))
    return Exhibit.table("backtest.csv", "Scores of the test forecasts of every series from every origin",
                         ["series", "origin", "smape", "mase", "coverage", "naive2_smape", "naive2_mase"], rows)


def panels(number: int) -> tuple[Any, Any]:
    """Panels side by side, smaller than a picture of one."""
    figure, axes = new_figure(number)
    figure.set_size_inches(min(5.2 * number, 20.8), 4.2)
    return figure, axes


def past(axis: Any, inputs: Array, horizon: int) -> None:
    """The end of what was known: three horizons, and a dozen steps at least."""
    recent = inputs[-max(3 * horizon, LEAST):]
    drawn(axis, np.arange(-len(recent) + 1, 1), recent, INK, 1.2, "known")
    axis.set_xlabel("steps from the origin")


def future(axis: Any, found: intervals.Forecast, i: int, coverage: float) -> None:
    steps = np.arange(1, found.value.shape[1] + 1)
    if not np.isnan(found.low[i]).any():
        wide = steps if len(steps) > 1 else steps + [-0.3, 0.3]
        low, high = (np.broadcast_to(ends[i], wide.shape) for ends in (found.low, found.high))
        axis.fill_between(wide, low, high, color=FOUND, alpha=0.18, linewidth=0, label=f"{100 * coverage:g} % interval")
    drawn(axis, steps, found.value[i], FOUND, 1.6, "forecast")


def drawn(axis: Any, steps: np.ndarray, values: np.ndarray, colour: str, width: float, name: str) -> None:
    """A line; points too where it has one step alone or holes."""
    marker = "o" if len(steps) == 1 else "." if np.isnan(values).any() else None
    axis.plot(steps, values, color=colour, linewidth=width, label=name, marker=marker)


def drawn_forecasts(names: Sequence[str], window: Windows, said: intervals.Forecast, places: Sequence[int],
                    coverage: float) -> bytes:
    figure, axes = panels(len(places))
    for axis, i in zip(axes, places, strict=True):
        past(axis, window.inputs[i], window.horizon)
        future(axis, said, i, coverage)
        drawn(axis, np.arange(1, window.horizon + 1), window.truth[i], LINE, 1.2, "what came")
        axis.set_title(f"{names[window.series[i]]}, from step {window.origins[i]}", fontsize=11)
    return finished(figure, axes)


def drawn_next(names: Sequence[str], inputs: Array, found: intervals.Forecast, places: Sequence[int],
               coverage: float) -> bytes:
    figure, axes = panels(len(places))
    for axis, i in zip(axes, places, strict=True):
        past(axis, inputs[i], found.value.shape[1])
        future(axis, found, i, coverage)
        axis.set_title(names[i], fontsize=11)
    return finished(figure, axes)


def drawn_decomposition(names: Sequence[str], window: Windows, model: Any, places: Sequence[int]) -> bytes:
    """For each window, the forecast above, and the part of each stack below."""
    x = torch.from_numpy(window.inputs[list(places)]).float()
    with torch.inference_mode():
        parts = decomposed(model.eval(), x)
    figure, axes = panels(2 * len(places))
    steps = np.arange(1, window.horizon + 1)
    for j, i in enumerate(places):
        whole, split = axes[2 * j], axes[2 * j + 1]
        drawn(whole, steps, window.truth[i], LINE, 1.2, "what came")
        drawn(whole, steps, sum(parts.values())[j], FOUND, 1.8, "forecast")            # type: ignore
        first, *others = parts.items()
        drawn(whole, steps, first[1][j], OTHER, 1.4, first[0])
        whole.set_title(f"{names[window.series[i]]}, from step {window.origins[i]}", fontsize=11)
        for (name, part), colour in zip(others, COLOURS * len(others), strict=False):
            drawn(split, steps, part[j], colour, 1.6, name)
        split.set_title(f"added to {first[0]}", fontsize=11)
        for axis in (whole, split):
            axis.set_xlabel("steps from the origin")
            if len(steps) == 1:
                axis.set_xticks(steps)
    return finished(figure, axes)


def decomposed(model: Any, x: torch.Tensor) -> dict[str, Array]:
    """The parts of the point forecast by name, [B, H]; of quantiles, those of the median."""
    place = model.quantiles.index(0.5) if model.quantiles else 0
    return {name: part[:, place].double().numpy() for name, part in model.decomposition(x).items()}


def finished(figure: Any, axes: Sequence[Any]) -> bytes:
    """The picture, its lines explained once below it."""
    named: dict[str, Any] = {}
    for axis in axes:
        axis.tick_params(labelsize=9)
        for line, name in zip(*axis.get_legend_handles_labels(), strict=True):
            named.setdefault(name, line)
    axes[0].set_ylabel("value")
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=len(named), frameon=False,
                  fontsize=10)
    return svg(figure).encode()
