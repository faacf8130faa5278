"""How well classes are told apart: confusion matrices, and the scores and intervals that follow from them."""

from __future__ import annotations

import math

import numpy as np

from archfab.core import Estimate

Z = 1.96            # normal deviations of a 95 % interval


def proportion(value: float, n: int) -> Estimate:
    """A share of `n` cases with Wilson's interval (JASA 1927)."""
    middle = (value + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(value * (1 - value) / n + Z * Z / (4 * n * n))
    return Estimate(value, max(0.0, middle - half), min(1.0, middle + half))


def confusion(truth: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """How many cases of each class (rows) were said to be of each class (columns), int64 [classes, classes]."""
    pairs = truth.astype(np.int64) * classes + said.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def error(counts: np.ndarray) -> Estimate:
    """The share of all cases that were said to be of another class than they are."""
    n = int(counts.sum())
    return proportion((n - int(np.trace(counts))) / n, n)


def balanced_error(counts: np.ndarray) -> Estimate:
    """The mean over classes of the share of their cases that are missed, so that each class counts the same.

    It is 1 - scikit-learn's `balanced_accuracy_score`: classes without cases are left out. The interval is that of a
    linear function of independent proportions with 2/classes cases added to both sides of each (Price and Bonett,
    Computational Statistics & Data Analysis 45, 2004): it holds where classes are rare and nearly all right.
    """
    present = counts.sum(1) > 0
    hits, n, m = np.diag(counts)[present], counts.sum(1)[present], int(present.sum())
    share = (hits + 2 / m) / (n + 4 / m)
    half = Z * math.sqrt(float((share * (1 - share) / (n + 4 / m)).sum())) / m
    middle = 1 - float(share.mean())
    return Estimate(1 - float((hits / n).mean()), max(0.0, middle - half), min(1.0, middle + half))


def macro_f1(counts: np.ndarray) -> Estimate:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN), as scikit-learn's `f1_score(average="macro")`.

    Classes that neither are nor were said are left out. The interval is the delta method's for a multinomial table
    (Takahashi et al., Applied Intelligence 52, 2022), at cell counts to which 2/classes right and as many wrong cases
    are added in each row, as Price and Bonett do for proportions: without these it is too narrow near 1.
    """
    kept = np.flatnonzero(counts.sum(0) + counts.sum(1))
    counts, m = counts[np.ix_(kept, kept)].astype(float), len(kept)
    if m == 1:                                      # no other class was there to be confused with
        return proportion(1.0, int(counts.sum()))
    more = np.full((m, m), 2 / (m * (m - 1)))
    np.fill_diagonal(more, 2 / m)
    added = counts + more
    n, share = added.sum(), added / added.sum()
    size = share.sum(0) + share.sum(1)
    each = 2 * np.diag(share) / size
    slope = -(each / size)[:, None] - (each / size)[None, :]        # of the sum over classes, by each cell's share
    np.fill_diagonal(slope, slope.diagonal() + 2 / size)
    variance = float((share * slope ** 2).sum() - (share * slope).sum() ** 2) / n / m ** 2
    half, middle = Z * math.sqrt(max(0.0, variance)), float(each.mean())
    return Estimate(float(f1(counts).mean()), max(0.0, middle - half), min(1.0, middle + half))


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each class; 0 for a class that neither is nor was said."""
    return 2 * np.diag(counts) / np.maximum(counts.sum(0) + counts.sum(1), 1)


def scores(counts: np.ndarray) -> dict[str, Estimate]:
    """The scores of a confusion matrix, by name."""
    return {"error": error(counts), "balanced_error": balanced_error(counts), "macro_f1": macro_f1(counts)}
