"""What drawing training windows and one training step cost, beside neuralforecast's N-BEATS of the same sizes.

    pip install 'archfab[peers]'
    python benchmarks/forecasting_step.py                     # a table
    python benchmarks/forecasting_step.py --json              # rows for machines
    python benchmarks/forecasting_step.py --csv benchmarks/results/forecasting-step-2-cores.csv

400 random series of 700 values, horizon 48, look-back 240; two stacks (trend, seasonality) of three blocks with shared
weights, three layers of 128 in each; one thread, CPU seconds, medians, both measured in turns. A step has 256 windows,
or 1024, neuralforecast's default: in every step it cuts all windows of a batch of 32 series, its default too, and
draws from these. The step is its own `training_step`, without Lightning's loop around it. Both end in a step of an Adam
optimizer; ours clips the gradient before.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import row, show

from archfab import registry
from archfab.learning import make_optimizer
from archfab.lowering.concrete import build
from archfab.space import Space
from archfab.tasks.forecasting import nbeats
from archfab.tasks.forecasting.series import Series
from archfab.tasks.forecasting.splits import Splits

SERIES, LENGTH, HORIZON, LOOKBACK, WIDTH, LAYERS = 400, 700, 48, 240, 128, 3
SIZES = (256, 1024)         # windows of a step: as archfab takes them, and as neuralforecast does by default


def values() -> np.ndarray:
    return np.random.default_rng(0).normal(100, 10, (SERIES, LENGTH))


def ours(size: int) -> tuple[Callable[[], Any], Callable[[Any], None], int]:
    """Drawing windows, a step on them, and the number of weights."""
    task = registry.load("tasks", "forecasting")(ets=0)
    series = Series(tuple(map(str, range(SERIES))), tuple(values()), "random numbers")
    parts = Splits(series, HORIZON, 1, 2 * HORIZON, LOOKBACK, LENGTH)
    stacks = [nbeats.Stack("trend", 3, LAYERS, WIDTH, 2, True, HORIZON, LOOKBACK),
              nbeats.Stack("seasonality", 3, LAYERS, WIDTH, HORIZON // 2, True, HORIZON, LOOKBACK)]
    torch.manual_seed(0)
    model = build(Space(nbeats.Forecaster(stacks, LOOKBACK, HORIZON, "mase")), {}, (torch.zeros(1, LOOKBACK),))
    optimizer = make_optimizer(model.train(), task.recipe)
    draws = torch.Generator().manual_seed(0)

    def step(batch: Any) -> None:
        loss = task.loss(task.answer(model, batch), batch)
        float(loss.detach())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), task.recipe.clip)
        optimizer.step()

    weights = sum(parameter.numel() for parameter in model.parameters())
    return lambda: parts.samplers["usable"].draw(size, draws), step, weights


def theirs(size: int) -> tuple[Callable[[], Any], Callable[[], None], int]:
    """The same of neuralforecast; its step draws the windows itself."""
    import pandas
    from neuralforecast.losses.pytorch import MAE
    from neuralforecast.models import NBEATS
    from neuralforecast.tsdataset import TimeSeriesDataModule, TimeSeriesDataset
    frame = pandas.DataFrame({"unique_id": np.repeat(np.arange(SERIES), LENGTH), "y": values().ravel(),
                              "ds": np.tile(np.arange(LENGTH), SERIES)})
    dataset = TimeSeriesDataset.from_df(frame)[0]
    model = NBEATS(h=HORIZON, input_size=LOOKBACK, stack_types=["trend", "seasonality"], n_blocks=[3, 3],
                   mlp_units=(LAYERS - 1) * [[WIDTH, WIDTH]], shared_weights=True, n_harmonics=1, n_polynomials=2,
                   loss=MAE(), windows_batch_size=size, batch_size=32, scaler_type="identity", max_steps=10)
    model.log = lambda *args, **kwargs: None
    loader: Iterator[Any] = cycle(TimeSeriesDataModule(dataset, batch_size=32).train_dataloader())
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-3)

    def draw() -> Any:
        batch = next(loader)
        windows, static, static_cols, condition, sample_weight, columns = model._create_windows(batch, step="train")
        chosen = torch.randperm(len(condition))[:size]
        return model._sample_windows(windows_temporal=windows, static=static, static_cols=static_cols,
                                     temporal_cols=columns, w_idxs=chosen, final_condition=condition,
                                     sample_weight=sample_weight)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model.training_step(next(loader), 0).backward()
        optimizer.step()

    return draw, step, sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def cpu(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(repeats: int, size: int) -> list[dict[str, Any]]:
    draw, learn, weights = ours(size)
    their_draw, their_step, their_weights = theirs(size)
    end = "" if size == SIZES[0] else f", {size} windows"
    works: dict[str, Callable[[], Any]] = {"draw": draw, "their draw": their_draw, "step": lambda: learn(draw()),
                                           "their step": their_step}
    times: dict[str, list[float]] = {name: [] for name in works}
    for i in range(repeats + 3):
        for name, work in works.items():
            spent = cpu(work)
            if i >= 3:                  # the first rounds warm up
                times[name].append(spent)
    found = {name: statistics.median(each) for name, each in times.items()}
    return [row(f"windows of one step{end}", 1e3 * found["draw"], "CPU ms",
                peers={"neuralforecast": 1e3 * found["their draw"]}),
            row(f"windows ratio{end}", found["draw"] / found["their draw"], "times", target=1.0),
            row(f"training step{end}", 1e3 * found["step"], "CPU ms",
                peers={"neuralforecast": 1e3 * found["their step"]}),
            row(f"training step ratio{end}", found["step"] / found["their step"], "times", target=1.0),
            row(f"weights{end}", weights, "number", peers={"neuralforecast": their_weights})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    rows = [each for size in SIZES for each in measure(asked.repeats, size)]
    show(rows, asked.json, asked.csv, "python benchmarks/forecasting_step.py")


if __name__ == "__main__":
    main()
