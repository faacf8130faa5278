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
from archfab.hardware.onboarding.learning import NOMINAL, NORMAL, studied
from archfab.hardware.onboarding.references import Reference
from archfab.hardware.onboarding.setting import Setting, family, setting_of
from archfab.hardware.onboarding.spaces import RUNTIMES, Networks

LOOKED_AT = 1000        # networks
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


def rehearse(space: str, measured: Networks, others: Networks, known: Sequence[Reference],
             tables: Sequence[Table] = (), without: Sequence[str] = (),
             memo: dict[tuple[str, ...], Setting] | None = None) -> list[Rehearsed]:
    """All known devices that stand for the new one in the prior, one by one; `others` is what is then predicted.

    :param memo: keeps the priors for the next rehearsal with the same `others`.
    """
    memo = {} if memo is None else memo
    looked = others.take(np.sort(np.random.default_rng(0).permutation(len(others))[:LOOKED_AT]))
    table = next((table for table in tables if table.space == space), None)
    some = [each for each in known if each.name not in without]
    used = [each for each in some if each.knows(space)] or [each for each in some if not space]
    found = []
    for device in used:
        same = {each.name for each in some if family(each.name) == family(device.name)} | set(without)
        if not any(each.name not in same and (each.knows(space) or not space) for each in some):
            continue
        left = tuple(sorted(same))
        setting = memo.get(left) or memo.setdefault(left, setting_of(space, others, some, same))
        y, step = taken(device, measured, space, table, 1)
        model, _ = studied(setting, measured, y, step)
        value, deviation = model.predict(looked)
        found.append(scored(device.name, value, model.factor * deviation, taken(device, looked, space, table, 2)[0]))
    return found


def taken(device: Reference, networks: Networks, space: str, table: Table | None,
          seed: int) -> tuple[np.ndarray, float]:
    """What networks took on a known device, and to what it was rounded; where its table does not say, what its list
    does, with its noise (of all its spaces, where this is none of them)."""
    runtime = RUNTIMES.index(device.runtime.get(space, RUNTIMES[0]))
    noise = device.noise.get(space, float(np.median(list(device.noise.values()) or [0.0])))
    y = device.latencies(networks.columns(runtime), space)
    y = y * np.exp(noise * np.random.default_rng(seed).standard_normal(len(y)))
    if table is None or device.name not in table.latencies:
        return y, 0.0
    known, place = table.latencies[device.name], table.place
    whole = bool(np.all((known == np.round(known)) | np.isnan(known)))
    rows = np.array([place.get(key, -1) for key in networks.keys])
    there = (rows >= 0) & ~np.isnan(known[rows])
    return np.where(there, known[rows], np.maximum(np.round(y), 1.0) if whole else y), 1.0 if whole else 0.0


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
