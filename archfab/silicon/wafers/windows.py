"""D0 and alpha where only passing and failing is known: from the yield of windows of several dies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import f as f_distribution

from archfab.core import Estimate, UsageError
from archfab.silicon.wafers.blocks import share_seen
from archfab.silicon.wafers.counts import triangle
from archfab.silicon.wafers.fitting import inverse, outward
from archfab.silicon.wafers.maps import WaferMap, window_passes
from archfab.silicon.wafers.mosaic import KAPPA, all_pass
from archfab.silicon.wafers.tallies import Tally, taken

SHAPES: dict[int, tuple[int, int]] = {1: (1, 1), 2: (1, 2), 4: (2, 2), 8: (2, 4), 16: (4, 4)}
"""Rows and columns of a window of so many dies."""
MEAN = (1e-9, 1e3)          # killing defects of a die that are searched
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """Windows of one size at all places of the wafers: how many, how many without a failing die, and the share that
    the fit expects where a window lies in one patch."""

    dies: int
    places: int
    passing: int
    fitted: float


@dataclass(frozen=True)
class WindowFit:
    """What passing and failing neighbours say of the process.

    `mean`: killing defects of a die; `alpha`, `kappa` = 1 / alpha as in `CountFit`. `patch`: the mean width of patches
    of one density, in dies. `inflation`: how many times wider the variances of log mean and log kappa are by what
    groups of tiles tell than by the likelihood; the intervals are widened by it. `aic`: of each model of the density,
    with the log-likelihood over the inflation. `told_apart`: D0 and alpha are told apart at all.
    """

    mean: Estimate
    alpha: Estimate
    kappa: Estimate
    windows: tuple[Window, ...]
    tile: int
    tiles: int
    patch: float
    groups: int
    inflation: tuple[float, float]
    aic: dict[str, float]
    told_apart: bool


def window_shapes(sizes: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Rows and columns of windows by their dies; 1 is always among them.

    :raises UsageError: for sizes that are not 1, 2, 4, 8 or 16.
    """
    if wrong := [size for size in sizes if size not in SHAPES]:
        raise UsageError(f"windows of {wrong[0]} dies are not known; legal: {', '.join(map(str, SHAPES))}")
    return {size: SHAPES[size] for size in sorted({1, *map(int, sizes)})}


def fit_windows(wafers: Sequence[WaferMap], sizes: Sequence[int] = (1, 2, 4), confidence: float = 0.95) -> WindowFit:
    """D0 and alpha of greatest likelihood from how many dies of each tile pass; tiles are the largest of the windows.

    The density is gamma distributed from patch to patch of the wafer, so that a window of k dies within a patch yields
    (1 + k m / alpha)^-alpha (Stapper; windowing properly weighted: de Vries and Volf, IEEE TSM 17(2) 2004). Patches may
    end within a tile: how often is taken from how the correlation of neighbours falls with their distance. Tiles lie at
    all places, so each die is in as many, and count by the part that it is of them (a composite likelihood).

    Intervals: the profile likelihood, its drop times how much wider leaving out groups of tiles in turn (wafers, or
    blocks of a wafer: jackknife) makes the variances than the likelihood says, with F(1, groups - 1). Of one wafer with
    patches as wide as a sixth of it there are few patches, and the intervals are too narrow.

    :raises UsageError: for windows that are not known, for wafers on which all dies pass or all fail.
    """
    shapes = window_shapes(sizes)
    tile = max(shapes)
    if tile == 1:
        raise UsageError("windows of one die do not tell D0 and alpha apart; add larger ones, such as 1,2,4")
    tally = taken(wafers, shapes[tile])
    failing, number = (sum(int(mask.sum()) for mask in masks) for masks in
                       ([wafer.failing for wafer in wafers], [wafer.dies for wafer in wafers]))
    if failing in (0, number):
        raise UsageError(f"{'all' if failing else 'no'} dies fail: the yield says nothing but a bound")
    if not tally.tiles.sum():
        raise UsageError(f"no window of {shapes[tile][0]} x {shapes[tile][1]} dies fits on the wafers; name smaller "
                         "ones")
    together = tally.together
    mean, kappa = search(tally, together)
    inflation = widened(tally, mean, kappa, together, share_seen(wafers))
    count = len(tally.tiles)
    quantile = float(f_distribution.ppf(confidence, 1, count - 1)) if count > 1 else math.inf
    around, bent = profile(tally, mean, kappa, together, [quantile * each / 2 for each in inflation])
    aic = {name: 2 * free - 2 * loglik / max(inflation)
           for name, (loglik, free) in rivals(tally, mean, kappa, together).items()}
    return WindowFit(around, Estimate(inverse(kappa), inverse(bent.high), inverse(bent.low)), bent,
                     tuple(seen(wafers, size, shape, mean, kappa) for size, shape in shapes.items()), tile,
                     int(tally.tiles.sum()), 1 / (1 - together) if together < 1 else math.inf, count, inflation, aic,
                     around.high < math.inf and not (bent.low == 0 and bent.high > 10))


def at_mean(tally: Tally, mean: float, together: float) -> float:
    """The likeliest kappa at a mean; 0 where none above is likelier than Poisson's."""
    found = minimize_scalar(lambda log: -tally.loglik(mean, math.exp(log), together),
                            bounds=tuple(map(math.log, KAPPA)), method="bounded", options={"xatol": 1e-4})
    return math.exp(found.x) if -found.fun > tally.loglik(mean, 0.0, together) + 1e-9 else 0.0


def at_kappa(tally: Tally, kappa: float, together: float) -> float:
    """The likeliest mean at a kappa: near that of the yield of single dies, and a little to each side."""
    log = -math.log(min(max(tally.good, 1e-9), 1 - 1e-9))
    start = log if kappa == 0 else math.expm1(min(kappa * log, 600.0)) / kappa
    middle = math.log(min(max(start, MEAN[0] * 10), MEAN[1] / 10))
    found = minimize_scalar(lambda log: -tally.loglik(math.exp(log), kappa, together), bounds=(middle - 2, middle + 2),
                            method="bounded", options={"xatol": 1e-5})
    return math.exp(found.x)


def search(tally: Tally, together: float, start: tuple[float, float] | None = None) -> tuple[float, float]:
    """The likeliest mean and kappa; from a start, or from kappas over the whole range."""
    flat = at_kappa(tally, 0.0, together)
    if start is None or not start[1]:
        tried = [(tally.loglik(each := at_kappa(tally, kappa, together), kappa, together), each, kappa)
                 for kappa in np.geomspace(0.01, 30, 8)]
        start = max(tried)[1:]
    found = minimize(lambda x: -tally.loglik(math.exp(x[0]), math.exp(x[1]), together) if abs(x).max() < 12 else 1e9,
                     np.log(start), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-7, "maxiter": 400})
    if -found.fun <= tally.loglik(flat, 0.0, together) + 1e-6:
        return flat, 0.0
    return math.exp(found.x[0]), math.exp(found.x[1])


def widened(tally: Tally, mean: float, kappa: float, together: float, shown: float) -> tuple[float, float]:
    """How many times wider the variances of log mean and of log kappa are by a jackknife of groups, in which the width
    of patches is found anew too, than by the likelihood; 1 at least. At kappa 0 the mean alone is looked at."""
    count, free = len(tally.tiles), 2 if kappa else 1
    bent = curvature(tally, mean, kappa, together, free)
    if count < 3 or np.linalg.eigvalsh(bent).min() <= 0:
        return 1.0, 1.0
    found = []
    for group in range(count):
        left = tally.without(group)
        if kappa:
            each = search(left, left.together, (mean, kappa))
            found.append([math.log(each[0]), math.log(max(each[1], KAPPA[0]))])
        else:
            found.append([math.log(at_kappa(left, 0.0, left.together))])
    told = np.array(found)
    spread = ((told - told.mean(0)) ** 2).sum(0) * (count - 1) / count / shown
    ratios = np.maximum(1.0, spread / np.diag(np.linalg.inv(bent)))
    return float(ratios[0]), float(ratios[-1])


def curvature(tally: Tally, mean: float, kappa: float, together: float, free: int) -> Floats:
    """Minus the second derivatives of the log-likelihood by log mean and log kappa."""
    step = 2e-3

    def at(first: float, second: float) -> float:
        return tally.loglik(mean * math.exp(first * step), kappa * math.exp(second * step), together)

    bent = np.empty((2, 2))
    middle = at(0, 0)
    bent[0, 0] = at(1, 0) + at(-1, 0) - 2 * middle
    bent[1, 1] = at(0, 1) + at(0, -1) - 2 * middle
    bent[0, 1] = bent[1, 0] = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
    return -bent[:free, :free] / step ** 2


def profile(tally: Tally, mean: float, kappa: float, together: float,
            drops: Sequence[float]) -> tuple[Estimate, Estimate]:
    """The values whose profile likelihood is within a drop of the greatest."""
    top = tally.loglik(mean, kappa, together)

    def of_mean(value: float) -> float:
        return tally.loglik(value, at_mean(tally, value, together), together) - top + drops[0]

    def of_kappa(value: float) -> float:
        return tally.loglik(at_kappa(tally, value, together), value, together) - top + drops[1]

    if math.isinf(max(drops)):
        return Estimate(mean, 0.0, math.inf), Estimate(kappa, 0.0, math.inf)
    low = 0.0 if kappa == 0 or of_kappa(0.0) >= 0 else outward(of_kappa, kappa, 0.5, KAPPA[0])
    high = outward(of_kappa, max(kappa, 0.05), 2.0, KAPPA[1])
    return Estimate(mean, outward(of_mean, mean, 0.8, MEAN[0]), outward(of_mean, mean, 1.25, MEAN[1])), \
        Estimate(kappa, low, high)


def rivals(tally: Tally, mean: float, kappa: float, together: float) -> dict[str, tuple[float, int]]:
    """Log-likelihood and free parameters of models of the density: one value, gamma, exponential, a triangle."""
    shares, weights = triangle()

    def murphy(log: float) -> float:
        return tally.loglik_of(math.exp(log) * shares, weights, together)

    middle = math.log(at_kappa(tally, 0.0, together))
    best = minimize_scalar(lambda log: -murphy(log), bounds=(middle - 2, middle + 3), method="bounded").x
    return {"poisson": (tally.loglik(at_kappa(tally, 0.0, together), 0.0, together), 1),
            "negative-binomial": (tally.loglik(mean, kappa, together), 2),
            "seeds": (tally.loglik(at_kappa(tally, 1.0, together), 1.0, together), 1), "murphy": (murphy(best), 1)}


def seen(wafers: Sequence[WaferMap], size: int, shape: tuple[int, int], mean: float, kappa: float) -> Window:
    """Windows both ways round, at all places."""
    found = [window_passes(wafer, *turned) for wafer in wafers for turned in {shape, shape[::-1]}]
    return Window(size, sum(each[0] for each in found), sum(each[1] for each in found),
                  float(all_pass(np.array(size), mean, kappa)))


def alike(good_share: float, alphas: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, math.inf)) -> dict[float, float]:
    """Killing defects of a die that give a yield, by alpha: all of equal likelihood, for a yield at one size of die is
    one number. m = alpha (Y^(-1 / alpha) - 1); -log Y at infinite alpha."""
    log = -math.log(good_share)
    return {alpha: log if math.isinf(alpha) else alpha * math.expm1(log / alpha) for alpha in alphas}
