"""Known devices as price lists, read from the networks they were measured on, their noise left behind.

For each device, ridge regression of the relative error on the terms of `terms.TERMS`, towards the prices that the
bundled rooflines have in common, and for each space on the codes of its columns: what a place in the network adds. Of
the runtimes (which operations are run at all) the one that fits best is taken. What remains is the device's noise.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from archfab.hardware.onboarding.knowledge import LEAST, Table
from archfab.hardware.onboarding.spaces import RUNTIMES
from archfab.hardware.onboarding.terms import COUNTING, KINDS, START, TERMS

DEVICES = Path(__file__).parents[1] / "devices"
ROWS = 2000             # of a table that a device is fitted to: more change nothing
NEAR = {"launches": 100.0, START: 100.0}    # how far a price is from the rooflines' (relative), beforehand: launches
USUALLY = 1.0                               # differ by orders of magnitude, the rest by less
ROUNDS = 8              # of taking out prices that come out negative
PLACES = 0.05           # how far a code moves the latency of the mean network (relative), beforehand
FLOOR = 0.3             # errors are relative to the latency, but at least to this share of the median
RESIDUAL = 0.05         # relative error of the fit, beforehand


@dataclass(frozen=True)
class Reference:
    """A known device: what each term costs on it, and what the codes of each space add. Another device of the same
    `family` is the same hardware with another batch size or other data."""

    name: str
    prices: np.ndarray                      # ms of each term
    places: Mapping[str, np.ndarray]        # ms of each code, by space
    runtime: Mapping[str, str]              # by space
    noise: Mapping[str, float]              # relative deviation of what was measured around this, by space
    rows: int = 0
    origin: str = "measured"

    def knows(self, space: str) -> bool:
        """Whether it was measured on networks of that space."""
        return space in self.noise

    def latencies(self, columns: np.ndarray, space: str) -> np.ndarray:
        """Of networks [network, term or code]; never below a twentieth of their median."""
        codes = columns.shape[1] - len(TERMS)
        found = columns @ np.concatenate([self.prices, self.places.get(space, np.zeros(codes))])
        return np.maximum(found, 0.05 * max(float(np.median(found)), 1e-9))


@cache
def rooflines() -> tuple[Reference, ...]:
    """The bundled devices of the cost model roofline, with the sum in place of the maximum."""
    found = []
    for file in sorted(DEVICES.glob("*.toml")):
        numbers = tomllib.loads(file.read_text(encoding="utf-8"))
        if numbers.get("model") == "roofline":
            found.append(Reference(file.stem, roofline_prices(numbers), {}, {}, {}, 0, "analytic"))
    return tuple(found)


def roofline_prices(numbers: Mapping[str, Any]) -> np.ndarray:
    """ms of each term: launches, GMAC over the rate of the kind, million elements over the bandwidth."""
    peak, bandwidth = numbers["peak_gmacs"]["value"], numbers["bandwidth_gb_s"]["value"]
    moved = numbers["bits"] / 8 / bandwidth                     # ms a million elements
    price = {START: numbers.get("start_us", {"value": 0})["value"] / 1e3}
    for kind in KINDS:
        rate = peak * numbers["utilisation"][kind]["value"]     # MACs or elements a second, in 1e9
        price[f"{kind} launches"] = numbers["overhead_us"]["value"] / 1e3
        price[f"{kind} gmacs"] = 1e3 / rate
        price[f"{kind} melements"] = moved + (0.0 if kind in COUNTING else 1.0 / rate)
    return np.array([price[term] for term in TERMS])


@cache
def usual() -> np.ndarray:
    """The prices that rooflines have in common, each scaled to the same arithmetic: where nothing else is known."""
    lists = np.stack([np.maximum(each.prices / np.exp(np.log(np.maximum(each.prices[1:], 1e-9)).mean()), 1e-6)
                      for each in rooflines()])
    return np.exp(np.log(lists).mean(0))


def references(tables: Sequence[Table], seed: int = 0) -> list[Reference]:
    """Every device that the tables have measured on enough networks."""
    names = dict.fromkeys(name for table in tables for name in table.latencies)
    found = [reference(name, [table for table in tables if name in table.latencies], seed) for name in names]
    return [each for each in found if each is not None]


def reference(name: str, tables: Sequence[Table], seed: int) -> Reference | None:
    """One device from all tables that have it."""
    parts = []
    for table in tables:
        known = np.flatnonzero(~np.isnan(table.latencies[name]))
        if len(known) >= LEAST:
            chosen = np.random.default_rng(seed).permutation(known)[:ROWS]
            parts.append((table, np.sort(chosen)))
    if not parts:
        return None
    runtime = {table.space: best_runtime(table, chosen, table.latencies[name]) for table, chosen in parts}
    prices, places, noise = fitted([(table.space, table.networks.columns(runtime[table.space])[chosen],
                                     table.latencies[name][chosen]) for table, chosen in parts])
    return Reference(name, prices, places, {space: RUNTIMES[at] for space, at in runtime.items()}, noise,
                     sum(len(chosen) for _, chosen in parts))


def best_runtime(table: Table, chosen: np.ndarray, latencies: np.ndarray) -> int:
    """The runtime under which the device's latencies are best explained."""
    count = len(table.networks.bills)
    if count == 1:
        return 0

    def error(at: int) -> float:
        columns, y = table.networks.columns(at)[chosen], latencies[chosen]
        prices, places, _ = fitted([(table.space, columns, y)])
        return float(np.mean(np.abs(columns @ np.concatenate([prices, places[table.space]]) / y - 1)))

    return min(range(count), key=error)


def fitted(parts: Sequence[tuple[str, np.ndarray, np.ndarray]]
           ) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, float]]:
    """Prices, places by space and noise by space of one device, from (space, [network, column], ms)."""
    terms, price = len(TERMS), usual()
    scales = [float(np.median(y)) / max(float(np.median(x[:, :terms] @ price)), 1e-12) for _, x, y in parts]
    scale = float(np.exp(np.mean(np.log(scales))))
    widths = [x.shape[1] - terms for _, x, _ in parts]
    rows, targets = [], []
    for i, (_, x, y) in enumerate(parts):
        middle = float(np.median(y))
        weight = 1.0 / (RESIDUAL * np.maximum(y, FLOOR * middle))
        block = np.zeros((len(y), terms + sum(widths)))
        block[:, :terms] = x[:, :terms] * price * scale
        start = terms + sum(widths[:i])
        block[:, start:start + widths[i]] = x[:, terms:] * middle
        rows.append(block * weight[:, None])
        targets.append(y * weight)
    design, target = np.concatenate(rows), np.concatenate(targets)
    spread = np.concatenate([[NEAR.get(term.split()[-1], USUALLY) for term in TERMS], np.full(sum(widths), PLACES)])
    centre = np.concatenate([np.ones(terms), np.zeros(sum(widths))])
    precision = design.T @ design + np.diag(1 / spread**2)
    solution = above_zero(precision, design.T @ target + centre / spread**2, terms)
    prices, places, noise = solution[:terms] * price * scale, {}, {}
    for i, (space, x, y) in enumerate(parts):
        start = terms + sum(widths[:i])
        places[space] = solution[start:start + widths[i]] * float(np.median(y))
        error = np.log(np.maximum(x @ np.concatenate([prices, places[space]]), 0.05 * np.median(y)) / y)
        noise[space] = robust_deviation(error)
    return prices, places, noise


def above_zero(precision: np.ndarray, right: np.ndarray, terms: int) -> np.ndarray:
    """Least squares with no negative price: those that come out negative are nothing, and the others fitted again."""
    used = np.ones(len(right), bool)
    solution = np.zeros(len(right))
    for _ in range(ROUNDS):
        solution[:] = 0
        solution[used] = np.linalg.solve(precision[np.ix_(used, used)], right[used])
        if not (solution[:terms] < 0).any():
            break
        used[:terms] &= solution[:terms] >= 0
    return np.concatenate([np.maximum(solution[:terms], 0), solution[terms:]])


def robust_deviation(errors: np.ndarray) -> float:
    """The standard deviation as the middle of the absolute errors has it."""
    return 1.4826 * float(np.median(np.abs(errors - np.median(errors)))) if len(errors) else math.nan
