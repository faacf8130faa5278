"""A rehearsal: the same networks, measured on each known device as if it were the new one.

Its own columns (all batch sizes, all data sets) are taken out of the knowledge; the others learn it from the same
measurements. How well its table is then ranked and enclosed says what to expect, and by what factor intervals are too
narrow or too wide (a quantile over devices, as conformal prediction takes it over examples).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archfab.hardware.onboarding.knowledge import Table
from archfab.hardware.onboarding.learning import NOMINAL, NORMAL, learned
from archfab.hardware.onboarding.references import Reference
from archfab.hardware.onboarding.setting import family, setting_of
from archfab.hardware.onboarding.spaces import Networks

LOOKED_AT = 1000        # networks of the table
NARROWEST, WIDEST = 0.7, 2.0
STEPS = np.linspace(0.005, 0.995, 100)


@dataclass(frozen=True)
class Rehearsed:
    """How one known device would have been learned."""

    device: str
    spearman: float
    within: float           # share of predictions within 10 %
    coverage: float
    width: float            # median half width of the interval, relative
    off: tuple[float, ...]  # quantiles of the absolute error in deviations


def rehearse(table: Table, rows: np.ndarray, known: Sequence[Reference], without: Sequence[str] = ()) -> list[Rehearsed]:
    """All devices of the table that have measured those rows, one by one."""
    rng = np.random.default_rng(0)
    looked = np.setdiff1d(rng.permutation(len(table.networks))[:LOOKED_AT], rows)
    found = []
    for name, latencies in table.latencies.items():
        if name in without or np.isnan(latencies[rows]).any() or not any(each.name == name for each in known):
            continue
        same = {each.name for each in known if family(each.name) == family(name)} | set(without)
        if not any(each.name not in same and table.space in each.noise for each in known):
            continue
        setting = setting_of(table.space, table.networks, known, same)
        whole = bool(np.all(latencies[rows] == np.round(latencies[rows])))
        model = learned(setting, table.networks.take(rows), latencies[rows], 1.0 if whole else 0.0)
        seen = looked[~np.isnan(latencies[looked])]
        value, deviation = model.predict(table.networks.take(seen))
        found.append(scored(name, value, deviation, latencies[seen]))
    return found


def scored(name: str, value: np.ndarray, deviation: np.ndarray, true: np.ndarray) -> Rehearsed:
    off = np.abs(value - true) / deviation
    return Rehearsed(name, spearman(value, true), float(np.mean(np.abs(value / true - 1) <= 0.1)),
                     float(np.mean(off <= NORMAL)), float(np.median(NORMAL * deviation / value)),
                     tuple(np.quantile(off, STEPS).tolist()))


def factor_of(rehearsed: Sequence[Rehearsed]) -> float:
    """By what the intervals are to be multiplied so that they hold the nominal share over all devices together."""
    if len(rehearsed) < 5:
        return 1.0
    together = np.concatenate([each.off for each in rehearsed])
    return float(np.clip(np.quantile(together, NOMINAL) / NORMAL, NARROWEST, WIDEST))


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation, ties at their mean rank; 0 where one of them does not vary."""
    a, b = ranks(one), ranks(other)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def simulated(networks: Networks, value: np.ndarray, deviation: np.ndarray, seed: int = 0) -> float:
    """The rank correlation with another measurement that is to be expected where no known device can rehearse."""
    rng = np.random.default_rng(seed)
    return float(np.mean([spearman(value, value + deviation * rng.standard_normal(len(value))) for _ in range(20)]))
