"""Wafer maps as images: how long loading takes, and whether the intervals of balanced scores hold.

    python benchmarks/silicon_wafer_classes.py --json

Loading needs the folder `wm811k-subset` in the one that ARCHFAB_DATA names; without it that row is left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rows import row, show

from archfab.metrics.classification import balanced_error, macro_f1

DATA = Path(os.environ.get("ARCHFAB_DATA", "../shared/data")) / "wm811k-subset"
TABLES = 4000
WAFERS = ([123, 16, 148, 277, 103, 4, 1049, 25, 34], [0.95, 0.9, 0.85, 0.98, 0.77, 0.93, 0.98, 0.9, 0.78])
CASES = {"a seventh of the wafer test part": WAFERS, "ten classes of 36, 97 % right": ([36] * 10, [0.97] * 10),
         "ten classes of 36, 99.5 % right": ([36] * 10, [0.995] * 10), "classes of 200 and 8": ([200, 8], [0.95, 0.7])}


def rows() -> list[dict[str, Any]]:
    found = []
    if DATA.is_dir():
        found.append(row("18,051 labelled wafer maps to images", loading(DATA / "train_29.npz"), "CPU s", 5))
    for name, (counts, right) in CASES.items():
        held, plain = coverage(np.array(counts), np.array(right))
        for i, score in enumerate(("balanced_error", "macro_f1")):
            found.append(row(f"{score}: 95 % intervals hold, {name}", held[i], "%", 92, True,
                             {"without added cases": plain[i]}))
    return found


def loading(path: Path) -> float:
    """The median CPU time of three readings, copies taken out and drawn."""
    from archfab.tasks.vision.data import read_images
    times = []
    for _ in range(3):
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read_images(path)
        times.append(time.process_time() - start)
    return statistics.median(times)


def coverage(counts: np.ndarray, right: np.ndarray) -> tuple[list[float], list[float]]:
    """In how many of 100 simulated tables the truth lies in our interval, and in that of the plain delta method."""
    rng, n = np.random.default_rng(0), len(counts)
    chances = np.stack([np.where(np.arange(n) == i, p, (1 - p) * counts / (counts.sum() - counts[i]))
                        for i, p in enumerate(right)])
    truth = (1 - right.mean(), f1_of(chances * counts[:, None]))
    held, plain = np.zeros(2), np.zeros(2)
    for _ in range(TABLES):
        table = np.stack([rng.multinomial(k, p) for k, p in zip(counts, chances, strict=True)])
        for i, (score, bare) in enumerate(((balanced_error, error_of), (macro_f1, f1_of))):
            found = score(table)
            held[i] += found.low <= truth[i] <= found.high
            plain[i] += abs(bare(table) - truth[i]) <= 1.96 * delta(table, bare)
    return (held / TABLES * 100).tolist(), (plain / TABLES * 100).tolist()


def error_of(table: np.ndarray) -> float:
    return 1 - float((np.diag(table) / table.sum(1)).mean())


def f1_of(table: np.ndarray) -> float:
    return float((2 * np.diag(table) / np.maximum(table.sum(0) + table.sum(1), 1e-9)).mean())


def delta(table: np.ndarray, score: Callable[[np.ndarray], float]) -> float:
    """The standard error by the delta method, with slopes by small steps."""
    n, base = table.sum(), score(table)
    slopes = np.zeros(table.shape)
    for at in zip(*np.nonzero(table), strict=True):
        more = table.astype(float)
        more[at] += 1e-5 * n
        slopes[at] = (score(more) - base) / 1e-5
    share = table / n
    return float(np.sqrt(max(0.0, (share * slopes**2).sum() - (share * slopes).sum() ** 2) / n))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    show(rows(), asked.json, asked.csv, "python benchmarks/silicon_wafer_classes.py")
