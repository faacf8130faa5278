"""Moran's I, join counts and nearest neighbours: reference figures, brute force, theory, false alarms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wafers import disk, patched

from archfab.core import UsageError
from archfab.silicon.wafers.lattice import Lattice
from archfab.silicon.wafers.maps import WaferMap
from archfab.silicon.wafers.reading import maps_in_npz
from archfab.silicon.wafers.spatial import clustering, together

ROWS, COLUMNS = np.indices((8, 8))
CHECKERS, HALVES = (ROWS + COLUMNS) % 2, (ROWS < 4).astype(int)


def wafer(values, **others):
    return WaferMap("w", np.asarray(values, np.int64), **others)


def by_double_loop(found, weights):
    """Moran's I and join counts from their definitions, over all pairs of dies."""
    places = [tuple(map(int, place)) for place in np.argwhere(found.dies)]
    values = {place: int(found.values[place]) for place in places}
    mean = sum(values.values()) / len(values)
    above = total = both = one = none = 0.0
    for a in places:
        for b in places:
            down, across = abs(a[0] - b[0]), abs(a[1] - b[1])
            if a == b or (down + across != 1 if weights == "rook" else max(down, across) != 1):
                continue
            total += 1
            above += (values[a] - mean) * (values[b] - mean)
            failing = (values[a] > 0) + (values[b] > 0)
            both, one, none = both + (failing == 2) / 2, one + (failing == 1) / 2, none + (failing == 0) / 2
    spread = sum((value - mean) ** 2 for value in values.values())
    return len(values) / total * above / spread, both, one, none


def nearest_by_double_loop(found):
    width, height = found.die_mm or (1, 1)
    places = np.argwhere(found.failing)
    steps = places[:, None] - places[None]
    apart = np.hypot(steps[..., 1] * width, steps[..., 0] * height)
    return (apart + np.diag(np.full(len(places), math.inf))).min(1).mean()


def test_the_reference_figures():
    checkers, halves = clustering(wafer(CHECKERS)), clustering(wafer(HALVES))
    assert checkers.statistics["moran"].value == pytest.approx(-1.0)
    assert halves.statistics["moran"].value == pytest.approx(0.857, abs=5e-4)
    for found in (checkers, halves):
        assert found.statistics["moran"].theory[0] == pytest.approx(-1 / 63)
        assert found.statistics["moran"].expected == pytest.approx(-1 / 63, abs=0.012)
        assert found.statistics["moran"].p_value == 0.002
    assert checkers.statistics["BW"].value == 112 and halves.statistics["BW"].value == 8


@pytest.mark.parametrize("weights", ["rook", "queen"])
@pytest.mark.parametrize("seed", range(6))
def test_every_statistic_is_that_of_a_double_loop(weights, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 11, 2))
    values = rng.poisson(0.8, shape) if seed % 2 else (rng.random(shape) < 0.3).astype(int)
    values[0, 0], values[-1, -1], values[1, 1] = 1, 1, 0
    found = wafer(np.where(rng.random(shape) < 0.2, -1, values), die_mm=(2.0, 7.0) if seed > 3 else None)
    told = clustering(found, weights, permutations=49)
    moran, both, one, none = by_double_loop(found, weights)
    assert told.statistics["moran"].value == pytest.approx(moran, abs=1e-9)
    assert [told.statistics[name].value for name in ("BB", "BW", "WW")] == [both, one, none]
    lattice = Lattice.of(found, weights)
    assert lattice.nearest(lattice.fields(found.values[found.dies]))[0] == pytest.approx(nearest_by_double_loop(found))


def test_far_failing_dies_are_found_too():
    values = np.zeros((40, 40), int)
    values[0, 0] = values[39, 39] = values[3, 0] = 1
    found = wafer(values)
    lattice = Lattice.of(found, "rook")
    mean = lattice.nearest(lattice.fields(found.values[found.dies]))[0]
    assert mean == pytest.approx((3 + 3 + math.hypot(36, 39)) / 3)


@pytest.mark.parametrize("weights", ["rook", "queen"])
@pytest.mark.parametrize("counted", [False, True])
def test_shuffled_wafers_have_the_mean_and_deviation_of_theory(weights, counted):
    rng = np.random.default_rng(1)
    values = rng.poisson(0.5, (14, 14))
    told = clustering(wafer(np.where(disk(14), values if counted else np.minimum(values, 1), -1)), weights, 4000,
                      names=["moran", "BB", "BW", "WW"])
    for name, found in told.statistics.items():
        mean, deviation, _ = found.theory
        assert found.expected == pytest.approx(mean, abs=4 * deviation / math.sqrt(4000)), name
        assert found.deviation == pytest.approx(deviation, rel=0.05), name


def test_shuffling_moves_dies_and_never_changes_them():
    rng = np.random.default_rng(2)
    found = wafer(np.where(disk(7), 0, -1))
    lattice = Lattice.of(found, "rook")
    values = rng.integers(0, 4, int(found.dies.sum()))
    drawn = np.concatenate(list(lattice.shuffled(values, 2000, rng)))
    assert (np.sort(drawn[:, lattice.sites], axis=1) == np.sort(values)).all()
    outside = np.delete(drawn, lattice.sites, axis=1)
    assert not outside.any()
    means = drawn[:, lattice.sites].mean(0)         # each site sees every die as often
    assert abs(means - values.mean()).max() < 5 * values.std() / math.sqrt(2000)


def test_the_seed_decides_and_nothing_else():
    found = patched(np.random.default_rng(3), 0.4, 1.0, 20, 4)
    one, same, other = (clustering(found, permutations=99, seed=seed) for seed in (5, 5, 6))
    assert one.statistics == same.statistics
    assert one.statistics["moran"].expected != other.statistics["moran"].expected
    assert one.statistics["moran"].value == other.statistics["moran"].value


def test_false_alarms_are_as_many_as_p_values_promise():
    rng = np.random.default_rng(4)
    alarms = [[each.p_value <= 0.1 for each in clustering(
        wafer(np.where(disk(12), rng.random((12, 12)) < 0.25, -1)), permutations=39, seed=i,
        names=["moran", "BB", "nearest"]).statistics.values()] for i in range(60)]
    assert (np.mean(alarms, axis=0) < 0.22).all() and (np.mean(alarms, axis=0) > 0).all()


def test_clusters_are_found_and_point_the_same_way():
    told = clustering(patched(np.random.default_rng(5), 0.4, 0.5, 30, 5)).statistics
    assert told["moran"].p_value == 0.002 and told["moran"].z > 5 and told["BB"].z > 5
    assert told["BW"].z < -5 and told["nearest"].value < 1


def test_a_die_without_neighbours_and_wafers_without_a_pattern_are_told():
    assert clustering(wafer([[0, 1]])).statistics["BW"].value == 1
    assert clustering(wafer([[0, -1, 1]])).why_not == "no two dies are neighbours"
    assert "no die fails" in clustering(wafer(np.zeros((4, 4)))).why_not
    assert "all dies fail" in clustering(wafer(np.ones((4, 4)))).why_not
    counted = clustering(wafer(1 + CHECKERS, counted=True))         # all fail, with 1 or 2 defects
    assert counted.statistics["moran"].value == pytest.approx(-1.0)
    single = clustering(wafer(np.eye(1, 16).reshape(4, 4)))
    assert "nearest" not in single.statistics and single.clark_evans is None


def test_points_anywhere_have_a_clark_evans_index_near_1():
    rng = np.random.default_rng(6)
    values = np.where(disk(400), 0, -1)
    places = np.argwhere(values == 0)
    values[tuple(places[rng.choice(len(places), 300, replace=False)].T)] = 1
    assert clustering(wafer(values), permutations=0, names=["nearest"]).clark_evans == pytest.approx(1, abs=0.08)


def test_wafers_together_say_what_one_alone_cannot():
    rng = np.random.default_rng(7)
    told = [clustering(patched(rng, 0.5, 1.0, 12, 3), permutations=199, seed=i,
                       names=["moran", "BB"]) for i in range(16)]
    whole = together(told)
    assert whole["BB"].value == sum(each.statistics["BB"].value for each in told)
    alone = np.median([abs(each.statistics["moran"].z) for each in told])
    assert whole["moran"].z > 2 * alone and whole["moran"].p_value == pytest.approx(0.01)


@pytest.mark.parametrize("options, words", [({"weights": "bishop"}, "no weights named 'bishop'; known: queen, rook"),
                                            ({"permutations": -1}, "-1 permutations cannot be"),
                                            ({"names": ["moron"]}, "did you mean 'moran'")])
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(UsageError, match=words):
        clustering(wafer(HALVES), **options)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.sampled_from([-1, 0, 0, 1, 3]), min_size=4, max_size=4), min_size=2, max_size=8))
def test_joins_add_up_whatever_the_wafer(rows):
    found = wafer(rows, counted=True)
    if not found.dies.any():
        return
    told = clustering(found, "queen", permutations=9)
    if told.statistics:
        assert sum(told.statistics[name].value for name in ("BB", "BW", "WW") if name in told.statistics) == told.pairs
        assert all(0 < each.p_value <= 1 for each in told.statistics.values())


@pytest.mark.shared
def test_real_patterns_lie_together_and_plain_wafers_less(shared_data):
    maps, labels = maps_in_npz(shared_data / "wm811k-subset" / "test.npz")
    median = {}
    for label in ("None", "Edge-Ring", "Center", "Donut"):
        some = [found for found, name in zip(maps, labels, strict=True) if name == label and found.size < 1500][:25]
        median[label] = np.median([clustering(WaferMap.of_codes("w", found), permutations=0, names=["moran"])
                                   .statistics["moran"].value for found in some if (found == 2).any()])
    assert min(median["Edge-Ring"], median["Center"], median["Donut"]) > median["None"] + 0.1, median
