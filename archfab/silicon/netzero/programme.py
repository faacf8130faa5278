"""A linear programme put together from blocks of columns and rows, solved by HiGHS through SciPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import coo_matrix, csr_matrix, vstack

Term = tuple[np.ndarray, Any]
"""Columns, one for each row of a block, and their coefficients (one, or one for each row)."""


@dataclass(frozen=True)
class Solution:
    """What HiGHS found: `status` is optimal, infeasible, unbounded or stopped; `gap` is how far the value can be from
    the best (0 without whole numbers); `duals` tells what one more unit of a row's right-hand side changes the value
    by."""

    status: str
    value: float = float("nan")
    x: np.ndarray = field(default_factory=lambda: np.empty(0))
    duals: np.ndarray = field(default_factory=lambda: np.empty(0))
    gap: float = 0.0


class Programme:
    """Minimise a linear function of columns between bounds under rows between bounds."""

    def __init__(self) -> None:
        self._low: list[np.ndarray] = []
        self._high: list[np.ndarray] = []
        self._whole: list[np.ndarray] = []
        self._entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._row_low: list[np.ndarray] = []
        self._row_high: list[np.ndarray] = []
        self.columns = 0
        self.rows = 0

    def add_columns(self, number: int, low: Any = 0.0, high: Any = np.inf, whole: bool = False) -> np.ndarray:
        """So many new columns; their numbers."""
        self._low.append(np.broadcast_to(np.asarray(low, float), (number,)))
        self._high.append(np.broadcast_to(np.asarray(high, float), (number,)))
        self._whole.append(np.full(number, int(whole)))
        self.columns += number
        return np.arange(self.columns - number, self.columns)

    def add_rows(self, terms: Sequence[Term], low: Any = -np.inf, high: Any = np.inf) -> np.ndarray:
        """A block of rows, as many as the first term has columns; their numbers. A column of -1 stands for nothing."""
        number = len(terms[0][0])
        for columns, coefficients in terms:
            there = columns >= 0
            values = np.broadcast_to(np.asarray(coefficients, float), (number,))
            self._entries.append((self.rows + np.flatnonzero(there), columns[there], values[there]))
        self._row_low.append(np.broadcast_to(np.asarray(low, float), (number,)))
        self._row_high.append(np.broadcast_to(np.asarray(high, float), (number,)))
        self.rows += number
        return np.arange(self.rows - number, self.rows)

    def add_row(self, columns: np.ndarray, coefficients: Any, low: float = -np.inf, high: float = np.inf) -> int:
        """One row over many columns; its number."""
        values = np.broadcast_to(np.asarray(coefficients, float), (len(columns),))
        self._entries.append((np.full(len(columns), self.rows), columns, values))
        self._row_low.append(np.array([low]))
        self._row_high.append(np.array([high]))
        self.rows += 1
        return self.rows - 1

    def freeze(self) -> Frozen:
        rows, columns, values = (np.concatenate(parts) for parts in zip(*self._entries, strict=True))
        matrix = coo_matrix((values, (rows, columns)), shape=(self.rows, self.columns)).tocsr()
        return Frozen(matrix, np.concatenate(self._row_low), np.concatenate(self._row_high), np.concatenate(self._low),
                      np.concatenate(self._high), np.concatenate(self._whole))


@dataclass
class Frozen:
    """The rows and bounds of a programme, ready to be solved for any objective."""

    matrix: csr_matrix
    row_low: np.ndarray
    row_high: np.ndarray
    low: np.ndarray
    high: np.ndarray
    whole: np.ndarray

    def solve(self, objective: np.ndarray, high: Mapping[int, float] | None = None,
              at_most: Sequence[tuple[np.ndarray,
                                      float]] = (), gap: float = 1e-6, seconds: float | None = None) -> Solution:
        """The least of an objective. `high`: other upper bounds of columns; `at_most`: more rows, each a function of
        the columns and its bound. Duals of a programme with whole numbers are those of the linear one that is left
        when the whole numbers are fixed where they are best."""
        matrix, row_low, row_high = self.matrix, self.row_low, self.row_high
        if at_most:
            matrix = vstack([matrix, csr_matrix(np.array([row for row, _ in at_most]))]).tocsr()
            row_low = np.concatenate([row_low, np.full(len(at_most), -np.inf)])
            row_high = np.concatenate([row_high, [bound for _, bound in at_most]])
        low, upper = self.low.copy(), self.high.copy()
        for column, value in (high or {}).items():
            upper[column] = value
        left = 0.0
        if self.whole.any():
            options = {"mip_rel_gap": gap, **({"time_limit": seconds} if seconds else {})}
            found = milp(objective, integrality=self.whole, bounds=Bounds(low, upper), options=options,
                         constraints=LinearConstraint(matrix, row_low, row_high))
            if found.x is None:
                return Solution(STATUS.get(found.status, "stopped"))
            fixed = np.flatnonzero(self.whole)
            low[fixed] = upper[fixed] = np.round(found.x[fixed])
            left = float(found.mip_gap or 0.0)
        return solve_linear(objective, matrix, row_low, row_high, low, upper, left)


MANY = 20_000       # columns from which the interior point method is the faster one
STATUS = {0: "optimal", 1: "stopped", 2: "infeasible", 3: "unbounded", 4: "stopped"}


def solve_linear(objective: np.ndarray, matrix: csr_matrix, row_low: np.ndarray, row_high: np.ndarray, low: np.ndarray,
                 high: np.ndarray, gap: float = 0.0) -> Solution:
    """A programme without whole numbers, and the duals of its rows."""
    equal = np.flatnonzero(row_low == row_high)
    above = np.flatnonzero((row_low < row_high) & np.isfinite(row_high))
    below = np.flatnonzero((row_low < row_high) & np.isfinite(row_low))
    found = linprog(objective, A_ub=vstack([matrix[above], -matrix[below]]), b_ub=np.concatenate(
        [row_high[above], -row_low[below]]), A_eq=matrix[equal], b_eq=row_high[equal], bounds=np.column_stack([low,
                                                                                                               high]),
        method="highs-ipm" if len(objective) > MANY else "highs")
    if found.status != 0:
        return Solution(STATUS[found.status])
    duals = np.zeros(len(row_low))
    duals[equal] = found.eqlin.marginals
    duals[above] = found.ineqlin.marginals[:len(above)]
    duals[below] -= found.ineqlin.marginals[len(above):]
    return Solution("optimal", float(found.fun), found.x, duals, gap)
