"""Ten measurements on each device of two public collections, the other devices as knowledge: how well is it learned?

For every device in turn its own columns, all batch sizes and data sets, are taken out of the knowledge. A draw is 400
random networks to choose from; the ten are chosen as `archfab device next` does (and drawn at random, beside it), their
entries in the table are the measurements, and every other network of the table is predicted. The factor of the
intervals comes from rehearsals on the known devices, in the first draws of each device as a user's would, in the others
the middle one of those. Beside it in the same run:
a Gaussian process on six principal components of the other devices' logarithms. The ceiling is what the best of several
fits to thousands of the device's own measurements reaches on rows it has not seen: the rest is the noise of the table,
which nobody can rank. On noisy tables ten measurements and the other devices can reach it.

Needs the optional data folder (ARCHFAB_DATA). Any table that lies there is scored, other devices included.
    python benchmarks/onboarding.py --json              one list of rows; 20 draws
    python benchmarks/onboarding.py --write             and one row for each device in benchmarks/results
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import re
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rows import missed, row, show

from archfab.hardware.onboarding.choosing import chosen
from archfab.hardware.onboarding.knowledge import Table, read_knowledge
from archfab.hardware.onboarding.learning import NORMAL, studied
from archfab.hardware.onboarding.references import Reference, fitted, references
from archfab.hardware.onboarding.rehearsal import factor_of, rehearse, spearman
from archfab.hardware.onboarding.setting import Setting, family, setting_of
from archfab.hardware.onboarding.spaces import RUNTIMES
from archfab.hardware.onboarding.terms import TERMS

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("ARCHFAB_DATA", ROOT / "../shared/data"))
FOLDERS = ("help-latency", "hw-nas-bench")
MEASURED, POOL = 10, 400
REHEARSED = 4               # draws of each device whose intervals are rehearsed
GPU = re.compile(r"\d+ti_|titan|v100")
HEADLINE = "nb201"          # the space that the targets were set for; the others' ceilings are below them
FIELDS = ("spearman", "within 10 %", "coverage", "half width", "noise", "worst draw", "spearman of random ten",
          "plain gp spearman", "plain gp within 10 %", "plain gp spearman of random ten")


@dataclass
class Case:
    """One device of one table, and the means over the draws."""

    table: Table
    name: str
    means: dict[str, float]
    ceiling: float
    ceiling_within: float
    floor: float


class Peer:
    """A Gaussian process on six principal components of the other devices' logarithms, by scikit-learn."""

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        whole = [name for name in names if not np.isnan(table.latencies[name]).any()]
        logs = np.log(np.stack([table.latencies[name] for name in whole], axis=1))
        logs = (logs - logs.mean(0)) / logs.std(0)
        left, size, _ = np.linalg.svd(logs, full_matrices=False)
        scores = left[:, :6] * size[:6]
        self.features = scores / scores[:, 0].std()

    def predict(self, rows: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
        kernel = ConstantKernel() * RBF(2.0) + ConstantKernel() * DotProduct() + WhiteKernel(0.01)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            process = GaussianProcessRegressor(kernel, normalize_y=True).fit(self.features[rows], np.log(y))
            return np.exp(process.predict(self.features[test]))


def ceiling(table: Table, name: str, known: Reference) -> tuple[float, float, float]:
    """Rank correlation, share within 10 % and relative deviation of fits to four fifths of the device's own table, on
    the other rows: its prices with and without the places, and for the cells every pair of operations; the best."""
    y = table.latencies[name]
    rows = np.random.default_rng(1).permutation(np.flatnonzero(~np.isnan(y)))
    train, test = rows[: len(rows) * 4 // 5], rows[len(rows) * 4 // 5:]
    at = RUNTIMES.index(known.runtime[table.space])
    columns, found = table.networks.columns(at), []
    for part in (columns, columns[:, :len(TERMS)]):
        prices, places, _ = fitted([(table.space, part[train], y[train])])
        found.append(np.maximum(part[test] @ np.concatenate([prices, places[table.space]]), 0.05 * np.median(y[train])))
    if table.space == "nb201":
        codes = np.concatenate([table.networks.codes[i] for i in sorted({0, at})], axis=1)
        ones = (codes > 0).astype(float)
        pairs = np.concatenate([ones, *(ones[:, [i]] * ones[:, i + 1:] for i in range(ones.shape[1] - 1))], axis=1)
        pairs = np.concatenate([np.ones((len(pairs), 1)), pairs[:, pairs.any(0)]], axis=1)
        weight = 1 / np.maximum(y[train], 0.3 * np.median(y[train]))
        design = pairs[train] * weight[:, None]
        solution = np.linalg.solve(design.T @ design + 1e-3 * np.eye(design.shape[1]), design.T @ (y[train] * weight))
        found.append(np.maximum(pairs[test] @ solution, 0.05 * np.median(y[train])))
    scores = [(spearman(each, y[test]), float(np.mean(np.abs(each / y[test] - 1) <= 0.1)),
               float(np.std(np.log(each / y[test])))) for each in found]
    return max(scores)


def score(table: Table, name: str, known: Sequence[Reference], draws: int, peer: bool) -> Case:
    """One device: the means over the draws."""
    same = [each.name for each in known if family(each.name) == family(name)]
    others = [each.name for each in known if each.name not in same and each.name in table.latencies]
    y = table.latencies[name]
    there = np.flatnonzero(~np.isnan(y))
    whole = bool(np.all(y[there] == np.round(y[there])))
    setting = setting_of(table.space, table.networks, known, same)
    plain = Peer(table, others) if peer else None
    memo: dict[tuple[str, ...], Setting] = {}
    found, factors = [], []
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        pool = rng.choice(there, POOL, replace=False)
        ten = pool[chosen(setting.features(table.networks.take(pool)), MEASURED)]
        any_ten = pool[:MEASURED]
        test = np.setdiff1d(there, np.concatenate([ten, any_ten]))
        step = 1.0 if whole else 0.0
        model, by_chance = (studied(setting, table.networks.take(rows), y[rows], step)[0] for rows in (ten, any_ten))
        if draw < REHEARSED:
            factors.append(factor_of(rehearse(table.space, table.networks.take(ten), table.networks, known, [table],
                                              same, memo)))
        factor = factors[draw] if draw < REHEARSED else float(np.median(factors))
        value, deviation = model.predict(table.networks.take(test))
        chance, _ = by_chance.predict(table.networks.take(test))
        gp, gp_chance = (plain.predict(rows, y[rows], test) if plain else np.full(len(test), np.nan)
                         for rows in (ten, any_ten))
        true, half = y[test], NORMAL * model.factor * factor * deviation
        found.append((spearman(value, true), within(value, true), np.mean(np.abs(value - true) <= half),
                      np.median(half / value), model.noise, spearman(value, true), spearman(chance, true),
                      *((spearman(gp, true), within(gp, true), spearman(gp_chance, true)) if plain
                        else [math.nan] * 3)))
    means = dict(zip(FIELDS, np.mean(found, axis=0).tolist(), strict=True))
    means["worst draw"] = float(min(each[0] for each in found))
    return Case(table, name, means, *ceiling(table, name, next(each for each in known if each.name == name)))


def within(value: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean(np.abs(value / true - 1) <= 0.1))


def summary(cases: Sequence[Case], seconds: float) -> list[dict[str, Any]]:
    """The rows: the space that the targets were set for, then each space, each GPU, and what the noise allows."""
    def of(some: Sequence[Case], field: str) -> np.ndarray:
        return np.array([case.means[field] for case in some])

    def named(prefix: str, some: Sequence[Case], mean: float | None, worst: float | None) -> list[dict[str, Any]]:
        ours, plain = of(some, "spearman"), of(some, "plain gp spearman of random ten")
        tops = np.array([case.ceiling for case in some])
        return [row(f"{prefix} spearman mean", float(ours.mean()), "", mean, True,
                    {"plain gp": float(plain.mean()), "plain gp, our ten": float(of(some, "plain gp spearman").mean()),
                     "ceiling": float(tops.mean())}),
                row(f"{prefix} spearman worst", float(ours.min()), "", worst, True,
                    {"plain gp": float(plain.min()), "ceiling": float(tops[int(ours.argmin())])}),
                row(f"{prefix} coverage", float(of(some, "coverage").mean()), "", 0.85 if mean else None, True, {}),
                row(f"{prefix} coverage off nominal", float(abs(of(some, "coverage").mean() - 0.9)), "",
                    0.05 if mean else None, False, {})]

    headline = [case for case in cases if case.table.space == HEADLINE]
    rows = named("onboarding", headline, 0.965, 0.90)
    gpus = [case for case in headline if GPU.search(case.name)]
    rows += [row("onboarding gpu within 10 % mean", 100 * float(of(gpus, "within 10 %").mean()), "%", 90, True,
                 {"plain gp": 100 * float(of(gpus, "plain gp within 10 %").mean())}),
             row("onboarding gpu within 10 % worst", 100 * float(of(gpus, "within 10 %").min()), "%", 90, True,
                 {"plain gp": 100 * float(of(gpus, "plain gp within 10 %").min()),
                  "ceiling": 100 * gpus[int(of(gpus, "within 10 %").argmin())].ceiling_within})] if gpus else []
    rows.append(row("onboarding spearman mean, random ten", float(of(headline, "spearman of random ten").mean()), "",
                    None, True))
    rows.append(row("onboarding devices whose ceiling is below 0.90",
                    float(sum(case.ceiling < 0.90 for case in headline)), "devices"))
    for space in dict.fromkeys(case.table.space for case in cases):
        if space != HEADLINE:
            rows += named(f"onboarding {space}", [case for case in cases if case.table.space == space], None, None)
    for case in cases:
        rows.append(row(f"onboarding {case.table.space} {case.name} spearman", case.means["spearman"], "",
                        0.90 if case.table.space == HEADLINE else None, True,
                        {"plain gp": case.means["plain gp spearman of random ten"], "ceiling": case.ceiling}))
    rows.append(row("onboarding cpu seconds", seconds, "s", 600.0))
    return [{**each, "peers": {name: x for name, x in each["peers"].items() if not math.isnan(x)}} for each in rows]


def write(path: Path, cases: Sequence[Case], draws: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# ARCHFAB_DATA=<data folder> python benchmarks/onboarding.py --write; means over {draws} draws\n")
        writer = csv.writer(file)
        writer.writerow(["space", "device", *FIELDS, "ceiling spearman", "ceiling within 10 %", "noise of the table",
                         "networks", "excluded"])
        for case in cases:
            there = int((~np.isnan(case.table.latencies[case.name])).sum())
            numbers = [*case.means.values(), case.ceiling, case.ceiling_within, case.floor]
            writer.writerow([case.table.space, case.name, *(f"{x:.4f}" for x in numbers), there,
                             len(case.table.excluded)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--spaces", nargs="+", metavar="NAME", help="nb201, fbnet, ofa (default: all)")
    parser.add_argument("--devices", nargs="+", metavar="NAME", help="some of them (default: all)")
    parser.add_argument("--no-peer", action="store_true", help="without the Gaussian process on principal components")
    asked = parser.parse_args()
    began = time.process_time()
    tables = read_knowledge([DATA / folder for folder in FOLDERS if (DATA / folder).is_dir()])
    known = references(tables)
    cases = [score(table, name, known, asked.draws, not asked.no_peer) for table in tables
             if not asked.spaces or table.space in asked.spaces
             for name in table.latencies if not asked.devices or name in asked.devices]
    rows = summary(cases, time.process_time() - began)
    if asked.write:
        write(ROOT / "benchmarks/results/onboarding.csv", cases, asked.draws)
    show(rows, asked.json, ROOT / "benchmarks/results/onboarding-summary.csv" if asked.write else None,
         "ARCHFAB_DATA=<data folder> python benchmarks/onboarding.py --write")
    if not asked.json and (late := [each["name"] for each in rows if missed(each)]):
        print(f"missed: {', '.join(late)}")


if __name__ == "__main__":
    main()
