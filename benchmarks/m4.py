"""M4's Hourly and Weekly series and ETTh1: simple methods beside the official table, a searched network, an ensemble.

    python benchmarks/m4.py --data ../shared/data                  # a table; about 50 minutes on two cores
    python benchmarks/m4.py --data ../shared/data --only baselines # in a second
    python benchmarks/m4.py --data ../shared/data --csv benchmarks/results/m4-2-cores.csv

Nothing of the test part is seen before a network is delivered; the score is that of the delivered network whose
validation OWA is the best. `seconds` is the whole run: search, delivery with its calibrating twins, exports. ETTh1: the
usual 8640 hours to learn from, 2880 for validation and 2880 for test, 96 steps ahead; errors of all 7 series from every
origin, in units of each series' standard deviation over the first 8640 hours, as is usual for this data. The delivered
network is trained anew on the hours of validation too, which published figures mostly are not.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rows import row, show

import archfab
from archfab.core import Budget
from archfab.metrics import forecasting as metrics
from archfab.tasks.forecasting import baselines, intervals
from archfab.tasks.forecasting.data import GROUPS, Columns, read_series
from archfab.tasks.forecasting.windows import at_origins

OFFICIAL = {"Naive2": "Naive2", "seasonal naive": "sNaive"}
LEARNED, HELD = 8640, 2880                      # hours of ETTh1


def simple(data: Path) -> list[dict[str, Any]]:
    """sMAPE and MASE of simple methods, beside the organisers' figures."""
    with (data / "m4" / "m4_official_scores.csv").open(encoding="utf-8") as file:
        official = {each["user_id"]: each for each in csv.DictReader(file)}
    found = []
    for group in ("Hourly", "Weekly"):
        series, (horizon, season) = read_series(str(data / "m4"), group, Columns()), GROUPS[group]
        truth = np.stack(series.test or ())
        scale = np.array([metrics.naive_error(values, season) for values in series.values])
        for name, theirs in OFFICIAL.items():
            said = baselines.forecasts(baselines.METHODS[name], series.values, horizon, season)
            for score, value in (("sMAPE", metrics.smape(truth, said)), ("MASE", metrics.mase(truth, said, scale))):
                found.append(row(f"{group} {name} {score}", float(value.mean()), "%" if score == "sMAPE" else "",
                                 peers={"official": float(official[theirs][f"{score}_{group}"])}))
    return found


def searched(data: Path, folder: str, name: str, group: str, target: float | None, workers: int,
             **asked: Any) -> list[dict[str, Any]]:
    """The OWA of the delivered network with the best validation score, and how long all of it took."""
    start = time.monotonic()
    run = archfab.search("forecasting", data=str(data / "m4"), run=Path(folder) / name.replace(" ", "-"),
                         workers=workers, seed=0, options={"series": group}, random=False, **asked)
    seconds = time.monotonic() - start
    best = min((each for each in run.plain()["front"] if each.get("bundle")), key=lambda each: each["owa"])
    return [row(f"{name}: test OWA", best["test_owa"], "", target=target,
                peers={"sMAPE": best["test_smape"], "MASE": best["test_mase"], "coverage": best["test_coverage"]}),
            row(f"{name}: seconds", seconds, "s", peers={"networks": run.plain()["trials"], "workers": workers})]


def etth1(data: Path, folder: str, workers: int) -> list[dict[str, Any]]:
    """ETTh1 with rolling origins, every hour an origin."""
    with gzip.open(data / "etth1" / "ETTh1.csv.gz", "rt", encoding="utf-8") as file:
        table = list(csv.reader(file))[:1 + LEARNED + 2 * HELD]
    path = Path(folder) / "ETTh1.csv"
    path.write_text("\n".join(map(",".join, table)) + "\n", encoding="utf-8")
    origins = 1 + (HELD - 96) // 24
    start = time.monotonic()
    run = archfab.search("forecasting", data=str(path), run=Path(folder) / "etth1", workers=workers, seed=0, trials=12,
                         random=False, deliver=1, trial_budget=Budget(steps=300), full_budget=Budget(steps=1000),
                         options={"horizon": 96, "season": 24, "stride": 24, "origins": origins, "ets": 0,
                                  "test_origins": origins, "history": LEARNED // 96})
    seconds = time.monotonic() - start
    values = np.array([[float(cell) for cell in line[1:]] for line in table[1:]]).T
    spread = values[:, :LEARNED].std(1)
    backs = list(range(96, HELD + 1))[::-1]
    model = run.best.model()
    inputs, truth = at_origins(list(values), backs, 7 * 96, 96)
    unit = np.repeat(spread, len(backs))[:, None]
    naive = np.stack([baselines.seasonal_naive(each, 96, 24) for each in inputs])
    said = {"": intervals.raw(model, inputs, 24).value, "seasonal naive ": naive}
    errors = {key: (float((((found - truth) / unit) ** 2).mean()), float(np.abs((found - truth) / unit).mean()))
              for key, found in said.items()}
    return [row("ETTh1, 96 steps: MSE", errors[""][0], "", peers={"seasonal naive": errors["seasonal naive "][0]}),
            row("ETTh1, 96 steps: MAE", errors[""][1], "", peers={"seasonal naive": errors["seasonal naive "][1]}),
            row("ETTh1, 96 steps: seconds", seconds, "s", peers={"windows": len(inputs), "workers": workers})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds m4 and etth1")
    parser.add_argument("--only", choices=["baselines", "hourly", "weekly", "ensemble", "etth1"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "baselines": lambda: simple(asked.data),
            "hourly": lambda: searched(asked.data, folder, "Hourly interpretable", "Hourly", 0.60, asked.workers,
                                       trials=16, deliver=1),
            "weekly": lambda: searched(asked.data, folder, "Weekly interpretable", "Weekly", None, asked.workers,
                                       trials=16, deliver=1),
            "ensemble": lambda: searched(asked.data, folder, "Hourly ensemble", "Hourly", 0.50, asked.workers,
                                         space="ensemble", trials=10, deliver=1),
            "etth1": lambda: etth1(asked.data, folder, asked.workers)}
        rows = [each for name, work in parts.items() if asked.only in (None, name) for each in work()]
    show(rows, asked.json, asked.csv, "python benchmarks/m4.py --data DATA")


if __name__ == "__main__":
    main()
