"""Whether a point process fits, by time rescaling: residuals that are exponential if it does, tests and pictures."""

from __future__ import annotations

from collections.abc import Sequence as Row
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from archfab.core import Exhibit, UsageError
from archfab.tasks.events.data import Sequence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAVEAT = ("p-values are exact for data that the process was not fitted to; on its own training data they are too "
          "large, since fitted parameters bend towards the data")


@dataclass(frozen=True)
class Check:
    """A Kolmogorov-Smirnov test of residuals against the unit exponential law, and how far neighbours hang together.

    :param name: of the type, or `pooled`. :param correlation: of each residual with the next, after a transform to a
        normal law; within `band` of 0 for 95 % of processes that fit.
    """

    name: str
    number: int
    mean: float
    distance: float
    p: float
    correlation: float
    band: float


@dataclass(frozen=True)
class Residuals:
    """Rescaled waiting times: of each type on its own, and of all events together.

    By the time-rescaling theorem (Brown et al., Neural Computation 2002) they are independent draws from the unit
    exponential law if the intensities are right.
    """

    by_type: dict[str, np.ndarray]
    pooled: np.ndarray

    @cached_property
    def tests(self) -> list[Check]:
        """One test for all events, then one for each type with at least five."""
        named = {"pooled": self.pooled, **self.by_type}
        return [check(name, values) for name, values in named.items() if len(values) >= 5]

    @property
    def verdict(self) -> str:
        if not self.tests:
            return "Too few events for a test of the fit: five are needed."
        pooled = self.tests[0]
        holds = "is not rejected" if pooled.p >= 0.05 else "is rejected"
        types = self.tests[1:]
        bad = [each.name for each in types if each.p * len(types) < 0.05]       # Bonferroni
        more = f"; by type, it is rejected for {', '.join(bad)}" if bad else "; by type, it is rejected for none" \
            if types else ""
        return (f"Time rescaling: the process {holds} (Kolmogorov-Smirnov distance {pooled.distance:.4f} over "
                f"{pooled.number} events, p = {pooled.p:.2g}){more}.")

    def exhibits(self) -> list[Exhibit]:
        """The picture of QQ and KS, and the tests as a table."""
        from archfab.drawing import svg
        header = ("type", "residuals", "mean", "distance", "p", "lag-1 correlation", "its 95 % band")
        rows = [(each.name, each.number, each.mean, each.distance, each.p, each.correlation, each.band)
                for each in self.tests]
        return [Exhibit("diagnostics.svg", "Time-rescaling residuals: quantiles and Kolmogorov-Smirnov bands. "
                        + self.verdict, svg(draw(self)).encode()),
                Exhibit.table("residuals.csv", f"Tests of the time-rescaling residuals; {CAVEAT}", header, rows)]


def residuals(sequences: Row[Sequence], increments: Row[np.ndarray], names: Row[str]) -> Residuals:
    """Residuals of a process from its compensator.

    Sequences are joined in rescaled time: what a window holds after its last event counts towards the first event of
    the next one, so that short windows do not make waiting times look short.

    :param increments: for each sequence [n + 1, K]: the integral of each type's intensity from the event before (or
        the start) to each event, and from the last one to the end of the window. The compensator may be sampled.
    :param names: of the K types.
    :raises UsageError: for increments that are no numbers from 0 up, with where they stand.
    """
    if len(sequences) != len(increments):
        raise UsageError(f"{len(sequences)} sequences with increments for {len(increments)}")
    for number, (sequence, rows) in enumerate(zip(sequences, increments, strict=True), 1):
        if rows.shape != (len(sequence) + 1, len(names)):
            raise UsageError(f"sequence {number}: increments of shape {rows.shape}; {len(sequence)} events of "
                             f"{len(names)} types have {(len(sequence) + 1, len(names))}")
        if not (bad := np.isfinite(rows).all(1) & (rows >= -1e-9).all(1)).all():
            raise UsageError(f"sequence {number}: the compensator grows by {rows[~bad][0]} before event "
                             f"{int(np.argmin(bad)) + 1}; it grows by finite numbers from 0 up")
    if not sequences:
        return Residuals({name: np.zeros(0) for name in names}, np.zeros(0))
    running = np.cumsum(np.concatenate(increments), axis=0)
    types = np.concatenate([marks(sequence) for sequence in sequences])
    found = {name: np.diff(running[types == k, k], prepend=0.0) for k, name in enumerate(names)}
    return Residuals(found, np.diff(running[types >= 0].sum(1), prepend=0.0))


def marks(sequence: Sequence) -> np.ndarray:
    """The type of each scored event, -1 for the event that opens the window and for the window's end."""
    found = np.append(sequence.types, -1)
    found[:sequence.given] = -1
    return found


def check(name: str, values: np.ndarray) -> Check:
    """The Kolmogorov-Smirnov test and the correlation of neighbours for one row of residuals."""
    from scipy.special import ndtri
    from scipy.stats import kstest
    done = kstest(values, "expon")
    normal = ndtri(np.clip(-np.expm1(-values), 1e-12, 1 - 1e-12))
    centred = normal - normal.mean()
    spread = float(centred @ centred)
    return Check(name, len(values), float(values.mean()), float(done.statistic), float(done.pvalue),
                float(centred[1:] @ centred[:-1] / spread) if spread else 0.0, 1.96 / len(values) ** 0.5)


def quantiles(values: np.ndarray, most: int = 400) -> np.ndarray:
    """Rows of (expected, found, low, high) quantiles, at most `most` of them: the band holds 95 % of order statistics
    at each place (they are beta distributed)."""
    from scipy.stats import beta
    n = len(values)
    rank = np.unique(np.linspace(1, n, min(n, most)).round().astype(int))
    low, high = beta.ppf(0.025, rank, n + 1 - rank), beta.ppf(0.975, rank, n + 1 - rank)
    return np.column_stack([-np.log1p(-(rank - 0.5) / n), np.sort(values)[rank - 1], -np.log1p(-low),
                            -np.log1p(-high)])


def draw(found: Residuals) -> Figure:
    """Left, quantiles of all events together with their 95 % band; right, for each type and all together, how far the
    distribution lies from the unit exponential one, beside the 95 % band of Kolmogorov and Smirnov."""
    from archfab.drawing import FOUND, INK, LINE, OTHER, new_figure
    figure, (left, right) = new_figure(2)
    if not len(found.pooled):
        left.text(0.5, 0.5, "no events", ha="center", transform=left.transAxes, color=INK)
        return figure
    rows = quantiles(found.pooled)
    left.fill_between(rows[:, 0], rows[:, 2], rows[:, 3], color=OTHER, alpha=0.5, linewidth=0, label="95 % band")
    left.plot(rows[:, 0], rows[:, 0], color=INK, linewidth=1, label="expected")
    left.plot(rows[:, 0], rows[:, 1], ".", color=FOUND, markersize=4, label="all events")
    left.set_xlabel("quantile of the unit exponential law")
    left.set_ylabel("quantile of the residuals")
    left.set_title(f"{len(found.pooled)} rescaled waiting times", color=INK, fontsize=11)
    left.legend(frameon=False)
    grid = np.linspace(0, 1, 201)
    shown = [(name, values) for name, values in found.by_type.items() if len(values) >= 5]
    for number, (_, values) in enumerate(shown):
        label = f"each of {len(shown)} types" if number == 0 else None
        right.plot(grid, distance(values, grid) * np.sqrt(len(values)), color=OTHER, linewidth=1, label=label)
    right.plot(grid, distance(found.pooled, grid) * np.sqrt(len(found.pooled)), color=FOUND, linewidth=2,
               label="all events")
    right.axhline(1.358, color=LINE, linewidth=1, linestyle="--", label="95 % band")
    right.axhline(-1.358, color=LINE, linewidth=1, linestyle="--")
    right.set_xlabel("cumulative probability under the process")
    right.set_ylabel("(found - expected) x sqrt(events)")
    right.set_title("Kolmogorov-Smirnov", color=INK, fontsize=11)
    right.legend(frameon=False)
    return figure


def distance(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The empirical distribution of rescaled probabilities less the uniform one."""
    return np.searchsorted(np.sort(-np.expm1(-values)), grid, side="right") / len(values) - grid
