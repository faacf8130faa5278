"""Dies per wafer: the formula's figures; the best grid against rasters and against all crossings of its conditions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.core import UsageError
from archfab.silicon.yields.dies import dies_per_wafer
from archfab.silicon.yields.grid import best_grid, grid_at


def test_the_formula():
    assert dies_per_wafer(100) == pytest.approx(640.2, abs=0.05)
    assert dies_per_wafer(600) == pytest.approx(90.6, abs=0.05)
    # Chiplet Actuary (Feng and Ma, DAC 2022) with its 5 mm edge and 0.2 mm lanes
    assert dies_per_wafer(100, edge_mm=5, scribe_mm=0.2) == pytest.approx(571.71, abs=0.005)
    assert dies_per_wafer(width_mm=20, height_mm=5) == pytest.approx(dies_per_wafer(100))
    assert dies_per_wafer([1e6, 100], 300) == pytest.approx([0, dies_per_wafer(100)])


def test_the_exact_grid():
    assert best_grid(10, 10, 300, 3, 0.1).dies == 612
    assert best_grid(26, 33, 300, 3, 0.1).dies == 64
    # with only the dies themselves inside, one position holds four more: a corner of the grid at the wafer's centre
    bare = best_grid(10, 10, 300, 3, 0.1, lanes=False)
    assert (bare.dies, bare.x_mm, bare.y_mm) == (616, 5.05, 5.05)
    areas = [100, 29.5 ** 2, 90000]
    assert list(dies_per_wafer(areas, edge_mm=3, scribe_mm=0.1, how="exact")) == [
        612, best_grid(29.5, 29.5, 300, 3, 0.1).dies, 0]


def counted(x, y, width, height, radius, scribe, lanes):
    """By the four corners of every die."""
    half = np.array([width, height]) / 2 + (scribe / 2 if lanes else 0)
    i = np.arange(-200, 201)
    across = x + i[np.abs(i) * (width + scribe) < radius + 2 * width] * (width + scribe)
    up = y + i[np.abs(i) * (height + scribe) < radius + 2 * height] * (height + scribe)
    inside = np.ones((len(across), len(up)), bool)
    for a, b in itertools.product((-1, 1), (-1, 1)):
        inside &= np.hypot((across + a * half[0])[:, None], (up + b * half[1])[None]) <= radius + 1e-9
    return int(inside.sum())


def most_by_corners(width, height, radius, scribe, lanes):
    """The most dies over all positions of the grid: the positions that hold given dies are where discs of radius R
    overlap, so that the best lies where two of their circles cross."""
    half = np.array([width, height]) / 2 + (scribe / 2 if lanes else 0)
    pitch = np.array([width, height]) + scribe
    reach = [range(-int(radius / p) - 2, int(radius / p) + 3) for p in pitch]
    centres = np.array([(-i * pitch[0] - a * half[0], -j * pitch[1] - b * half[1])
                        for i in reach[0] for j in reach[1] for a in (-1, 1) for b in (-1, 1)])
    near = np.abs(np.hypot(*centres.T) - radius) < np.hypot(*pitch)      # circles through the cell around 0
    centres = np.unique(centres[near].round(12), axis=0)
    best = counted(0, 0, width, height, radius, scribe, lanes)
    for k, one in enumerate(centres):
        between = centres[k + 1:] - one
        apart = np.hypot(*between.T)
        between, apart = between[(apart < 2 * radius + 1e-9) & (apart > 1e-9)], apart[
            (apart < 2 * radius + 1e-9) & (apart > 1e-9)]
        side = np.sqrt(np.clip(radius ** 2 - apart ** 2 / 4, 0, None))[:, None] \
            * np.column_stack([-between[:, 1], between[:, 0]]) / apart[:, None]
        for places in (one + between / 2 + side, one + between / 2 - side):
            for x, y in places[(np.abs(places) <= pitch / 2 + 1e-9).all(1)]:
                best = max(best, counted(x, y, width, height, radius, scribe, lanes))
    return best


@pytest.mark.parametrize(("width", "height", "radius", "scribe", "lanes"), [
    (1, 1, 2.5, 0, True), (1, 1, 3.25, 0, True), (3, 4, 5, 0, True), (1.7, 1.1, 4.1, 0.1, True),
    (2, 3, 7.3, 0.1, False),
    (1, 1, 1.25, 0, True), (10, 10, 25, 0.2, False), (7, 5, 12.5, 0, True)])
def test_the_best_grid_is_the_best_of_all_crossings(width, height, radius, scribe, lanes):
    found = best_grid(width, height, 2 * radius, 0, scribe, lanes)
    assert found.dies == most_by_corners(width, height, radius, scribe, lanes)
    assert counted(found.x_mm, found.y_mm, width, height, radius, scribe, lanes) == found.dies == len(found.centres())


@settings(max_examples=15, deadline=None)
@given(st.floats(2, 60), st.floats(2, 60), st.sampled_from([0.0, 0.05, 0.1, 1.0]),
       st.sampled_from([100.0, 150.0, 300.0]), st.sampled_from([0.0, 2.0, 3.0, 5.0]), st.booleans(),
       st.randoms(use_true_random=False))
def test_no_position_of_a_fine_raster_holds_more(width, height, scribe, diameter, edge, lanes, rng):
    found = best_grid(width, height, diameter, edge, scribe, lanes)
    assert counted(found.x_mm, found.y_mm, width, height, diameter / 2 - edge, scribe, lanes) == found.dies
    for _ in range(60):
        x, y = rng.random() * (width + scribe), rng.random() * (height + scribe)
        assert grid_at(x, y, width, height, diameter, edge, scribe, lanes).dies <= found.dies
    assert best_grid(height, width, diameter, edge, scribe, lanes).dies == found.dies        # the wafer turned


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height", "lanes"), [
    (10, 10, True), (10, 10, False), (26, 33, True), (7.07, 9.9, True), (14.2, 3.3, False), (5, 5, True)])
def test_the_best_grid_against_a_raster_of_160_000_positions(width, height, lanes):
    half = np.array([width, height]) / 2 + (0.05 if lanes else 0)
    best, i = 0, np.arange(-60, 61)
    for x in np.linspace(0, (width + 0.1) / 2, 400):
        across = (np.abs(x + i * (width + 0.1)) + half[0]) ** 2
        up = (np.abs(np.linspace(0, (height + 0.1) / 2, 400)[:, None] + i * (height + 0.1)) + half[1]) ** 2
        most = 147 ** 2 - across[across <= 147 ** 2]
        best = max(best, int((up[:, :, None] <= most + 1e-9).sum((1, 2)).max()))
    found = best_grid(width, height, 300, 3, 0.1, lanes).dies
    assert best <= found <= best + max(1, 0.001 * best)


def test_whole_and_partial_dies_cover_the_wafer():
    grid = best_grid(9, 7, 300, 3, 0.1)
    together = (len(grid.centres()) + len(grid.centres(partial=True))) * 9.1 * 7.1
    assert together > math.pi * 147 ** 2 > grid.dies * 9 * 7
    assert len(grid.centres()) == len(np.unique(grid.centres().round(6), axis=0)) == grid.dies


@pytest.mark.parametrize(("call", "says"), [
    (lambda: best_grid(0, 1), "width"), (lambda: best_grid(1, -1), "height"),
    (lambda: best_grid(1, 1, 300, 150), "nothing"),
    (lambda: best_grid(1, 1, 300, -3), "edge"), (lambda: best_grid(1, 1, -300), "diameter"),
    (lambda: best_grid(1e-3, 1e-3), "in mm"), (lambda: dies_per_wafer(), "--area-mm2"),
    (lambda: dies_per_wafer(10, width_mm=1, height_mm=1), "either"), (lambda: dies_per_wafer(0), "above 0"),
    (lambda: dies_per_wafer(10, how="guess"), "formula, exact"), (lambda: dies_per_wafer(10, scribe_mm=-1), "scribe"),
])
def test_impossible_wafers_are_refused(call, says):
    with pytest.raises(UsageError, match=says):
        call()
