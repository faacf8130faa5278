"""Groups of dies that may resemble each other, and intervals that do not take the dies of a group as independent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from archfab.core import Estimate
from archfab.silicon.wafers.maps import WaferMap, tiles

WAFERS = 5          # with so many, wafers are the groups
ACROSS = 3          # blocks across a wafer where there are fewer: more are narrower, and resemble their neighbours
TOGETHER = 0.2      # the least chance that neighbours share a patch: below, patches are no wider than dies
MOST = 50           # groups of wafers, each of as many wafers


def groups(wafers: Sequence[WaferMap], tile: tuple[int, int]) -> list[NDArray[np.int64]]:
    """To which group each tile of each wafer belongs: to its wafer, or, of few wafers, to a block of a wafer."""
    owners = []
    for i, wafer in enumerate(wafers):
        across = [math.ceil(size / side) for size, side in zip(wafer.values.shape, tile, strict=True)]
        if len(wafers) >= WAFERS:
            owners.append(np.full(across, i * min(MOST, len(wafers)) // len(wafers)))
            continue
        rows, columns = (np.arange(count) // max(1, math.ceil(count / ACROSS)) for count in across)
        owners.append(i * ACROSS ** 2 + rows[:, None] * ACROSS + columns)
    return owners


def in_patches(near: float, far: float, further: float) -> tuple[float, float]:
    """The covariance of dies of one patch of the wafer, and the chance that neighbours share a patch: to the covariance
    at no step a parabola leads from those at one, two and three. The chance is 1 where no fall is seen."""
    none = 3 * near - 3 * far + further
    if not 0 < near < none:
        return max(0.0, near), 1.0
    together = max(TOGETHER, near / none)
    return near / together, together


def likeness(wafers: Sequence[WaferMap]) -> tuple[float, float, float]:
    """The variance of a die of its own, that of patches, and the chance that neighbours share a patch."""
    mean = float(np.concatenate([wafer.values[wafer.dies] for wafer in wafers]).mean())
    sums = np.zeros((4, 2))                 # by steps between two dies: products, and pairs
    for wafer in wafers:
        apart = np.where(wafer.dies, wafer.values - mean, 0.0)
        for step in range(4):
            for each, dies in ((apart, wafer.dies), (apart.T, wafer.dies.T)):
                end = max(0, len(dies) - step)
                sums[step] += (each[:end] * each[step:]).sum(), (dies[:end] & dies[step:]).sum()
    spread, *alike = map(float, sums[:, 0] / np.maximum(1.0, sums[:, 1]))
    common, together = in_patches(*alike)
    return max(0.0, spread - common), min(common, spread), together


def share_seen(wafers: Sequence[WaferMap]) -> float:
    """How much of the variance of a mean over dies its groups show, from 0 to 1. Blocks of one wafer are alike where a
    patch of one density lies in two of them, so they differ less than independent ones would. Patches count as no
    wider than half a block: of wider ones there are too few to tell."""
    if len(wafers) >= WAFERS:
        return 1.0
    own, common, together = likeness(wafers)
    of_block = of_wafer = 0.0
    for wafer in wafers:
        block = [math.ceil(side / ACROSS) for side in wafer.values.shape]
        chance = min(together, 1 - 2 / max(3, *block))
        of_block += variance(block, own, common, chance)
        of_wafer += variance(wafer.values.shape, own, common, chance)
    if not of_wafer:
        return 1.0
    apart = (len(wafers) * of_block / of_wafer - 1) / (len(wafers) * ACROSS ** 2 - 1)
    return min(1.0, apart) if apart > 0 else 1.0


def variance(size: Sequence[int], own: float, common: float, together: float) -> float:
    """Of the mean of a rectangle of dies: of each its own, and a common one that falls by `together` with each step."""
    def alike(dies: int) -> float:
        steps = np.arange(1, dies)
        return float(dies + 2 * ((dies - steps) * together ** steps).sum()) / dies ** 2
    return own / math.prod(size) + common * math.prod(map(alike, size))


def block_interval(wafers: Sequence[WaferMap], confidence: float = 0.95) -> tuple[Estimate, int] | None:
    """Defects (or failures) of a die, and an interval from how much groups of dies differ: wafers, where there are five
    or more, else blocks of a third of a wafer's side. It needs no model of how defects cluster.

    The ratio of defects to dies over the groups, its variance by the residuals of the groups (ratio estimator) over the
    share of it that blocks show, on a logarithmic scale, with Student's t. None where nothing fails or there are fewer
    than five groups.
    """
    sums, sizes = [], []
    for wafer in wafers:
        if len(wafers) >= WAFERS:
            sums.append(wafer.values[wafer.dies].sum())
            sizes.append(wafer.dies.sum())
            continue
        step = tuple(max(1, math.ceil(size / ACROSS)) for size in wafer.values.shape)
        dies, _ = tiles(wafer, *step)
        room = np.zeros((dies.shape[0] * step[0], dies.shape[1] * step[1]), np.int64)
        room[:wafer.values.shape[0], :wafer.values.shape[1]] = np.where(wafer.dies, wafer.values, 0)
        defects = room.reshape(dies.shape[0], step[0], dies.shape[1], step[1]).sum((1, 3))
        sums += list(defects[dies > 0])
        sizes += list(dies[dies > 0])
    total, size = np.array(sums, float), np.array(sizes, float)
    count = len(total)
    if count < WAFERS or not total.sum():
        return None
    mean = total.sum() / size.sum()
    spread = float(((total - mean * size) ** 2).sum()) * count / (count - 1) / share_seen(wafers)
    error = math.sqrt(spread) / total.sum()
    half = float(student.ppf((1 + confidence) / 2, count - 1)) * error
    return Estimate(float(mean), float(mean) * math.exp(-half), float(mean) * math.exp(half)), count
