"""Fronts, hypervolume and crowding against brute force and the definitions in the papers."""

import random
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.metrics.pareto import best_first, crowding, dominates, front, fronts, hypervolume

FEW = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def points(axes, most=8, top=6):
    return st.lists(st.tuples(*[st.integers(0, top)] * axes), max_size=most)


ANY = st.integers(1, 4).flatmap(points)


# --- the front

@FEW
@given(ANY)
def test_the_front_is_what_no_point_dominates_each_value_once(found):
    best = {p for p in found
            if not any(all(a <= b for a, b in zip(q, p, strict=True)) and q != p for q in found)}
    chosen = front(found)
    assert [found[i] for i in chosen] == sorted(best)
    assert all(found.index(found[i]) == i for i in chosen)      # of equals, the first


@FEW
@given(st.integers(1, 4).flatmap(lambda axes: st.lists(
    st.tuples(*[st.floats(-1e6, 1e6, allow_nan=False)] * axes), max_size=12)), st.randoms(use_true_random=False))
def test_the_front_does_not_depend_on_the_order(found, source):
    mixed = found[:]
    source.shuffle(mixed)
    assert [found[i] for i in front(found)] == [mixed[i] for i in front(mixed)]


@pytest.mark.parametrize(("one", "other", "expected"), [
    ((1, 1), (1, 2), True), ((1, 1), (1, 1), False), ((1, 2), (2, 1), False), ((2, 2), (1, 1), False),
    ((0,), (1,), True), ((1, 1, 1), (1, 1, 1), False), ((-1.5, 0), (-1, 0), True)])
def test_dominates(one, other, expected):
    assert dominates(one, other) is expected


def test_points_of_different_length_are_an_error():
    with pytest.raises(ValueError, match="zip"):
        dominates((1, 2), (1, 2, 3))


def test_the_front_of_nothing_is_empty():
    assert front([]) == [] and crowding([]) == [] and hypervolume([], (1, 1)) == 0


# --- fronts, one behind the other

@FEW
@given(ANY)
def test_each_front_is_what_none_of_the_rest_dominates(found):
    rest = set(range(len(found)))
    for layer in fronts(found):
        assert set(layer) == {i for i in rest if not any(dominates(found[j], found[i]) for j in rest)}
        rest -= set(layer)
    assert not rest


def test_fronts_by_hand():
    assert fronts([]) == []
    assert fronts([(3,), (1,), (2,), (1,)]) == [[1, 3], [2], [0]]
    assert [sorted(layer) for layer in fronts([(0, 2), (2, 2), (2, 0), (0, 2), (1, 1), (3, 3)])] \
        == [[0, 2, 3, 4], [1], [5]]


def test_the_order_is_by_front_then_loneliness_then_excess():
    points = [(0, 4), (1, 2), (2, 1), (4, 0), (5, 5), (0, 0), (), (9, 9)]
    excess = [0, 0, 0, 0, 0, 0.5, 0.5, 0.1]
    order = best_first(points, excess)
    assert set(order[:2]) == {0, 3} and set(order[2:4]) == {1, 2}       # ends first, then the crowded
    assert order[4:] == [4, 7, 5, 6]        # the dominated, then by excess, scored before unscored


@FEW
@given(ANY, st.integers(0, 2**32))
def test_no_point_comes_before_one_that_dominates_it(found, seed):
    source = random.Random(seed)
    excess = [source.choice([0.0, 0.0, 0.5, 1.0]) for _ in found]
    order = best_first(found, excess)
    assert sorted(order) == list(range(len(found)))
    for i, early in enumerate(order):
        for late in order[i + 1:]:
            assert excess[early] <= excess[late]
            assert excess[late] or not dominates(found[late], found[early])


# --- hypervolume

def volume_by_inclusion_and_exclusion(found, reference):
    """The volume of a union of boxes from the volumes of all their intersections: exact on integers."""
    total = 0
    for size in range(1, len(found) + 1):
        for some in combinations(found, size):
            volume = 1
            for axis, bound in enumerate(reference):
                volume *= max(0, bound - max(p[axis] for p in some))
            total += volume if size % 2 else -volume
    return total


@FEW
@given(st.integers(1, 4).flatmap(lambda axes: st.tuples(points(axes, most=7), st.just((5,) * axes))))
def test_hypervolume_equals_inclusion_and_exclusion(given_):
    found, reference = given_       # some points lie on or outside of the reference
    assert hypervolume(found, reference) == volume_by_inclusion_and_exclusion(found, reference)


@pytest.mark.parametrize("axes", [2, 3, 4])
def test_hypervolume_agrees_with_monte_carlo(axes):
    source = random.Random(axes)
    found = [tuple(source.random() for _ in range(axes)) for _ in range(30)]
    draws = 6000
    hits = sum(any(all(a <= b for a, b in zip(p, x, strict=True)) for p in found)
               for x in (tuple(source.random() for _ in range(axes)) for _ in range(draws)))
    assert hypervolume(found, (1.0,) * axes) == pytest.approx(hits / draws, abs=4 * (0.25 / draws) ** 0.5)


@pytest.mark.parametrize(("found", "reference", "volume"), [
    ([(1, 1)], (3, 4), 6),
    ([(1, 3), (2, 2), (3, 1)], (4, 4), 6),
    ([(1, 3), (2, 2), (3, 1), (3, 3), (2, 2)], (4, 4), 6),      # dominated and double points add nothing
    ([(4, 0), (0, 5)], (4, 4), 0),                              # on the reference, and outside of it
    ([(-1.0, -2.0)], (0.0, 0.0), 2),
    ([(0, 0, 0)], (1, 2, 3), 6),
    ([(0, 1, 1), (1, 0, 1), (1, 1, 0)], (2, 2, 2), 4),
    ([(3,), (1,), (2,)], (4,), 3)])
def test_hypervolume_by_hand(found, reference, volume):
    assert hypervolume(found, reference) == volume


@FEW
@given(points(3, top=4), st.tuples(*[st.integers(0, 4)] * 3))
def test_hypervolume_never_falls_with_a_point_and_rises_only_with_a_new_one(found, new):
    before, after = (hypervolume(some, (5, 5, 5)) for some in (found, [*found, new]))
    covered = any(p == new or dominates(p, new) for p in found)
    assert (after == before) if covered else (after > before)


# --- crowding

def crowding_of_the_paper(found):
    """Deb et al. 2002, crowding-distance-assignment, for points that differ on every axis."""
    distance = dict.fromkeys(found, 0.0)
    for axis in range(len(found[0])):
        ranked = sorted(found, key=lambda p: p[axis])
        distance[ranked[0]] = distance[ranked[-1]] = float("inf")
        for k in range(1, len(ranked) - 1):
            distance[ranked[k]] += ((ranked[k + 1][axis] - ranked[k - 1][axis])
                                    / (ranked[-1][axis] - ranked[0][axis]))
    return [distance[p] for p in found]


@FEW
@given(st.integers(1, 10).flatmap(lambda n: st.tuples(*[st.permutations(range(n))] * 3)))
def test_crowding_is_that_of_the_paper(columns):
    found = [(a, b * 10, c * c) for a, b, c in zip(*columns, strict=True)]
    assert crowding(found) == pytest.approx(crowding_of_the_paper(found))


def test_crowding_by_hand():
    infinite = float("inf")
    assert crowding([(0, 8), (1, 4), (4, 2), (8, 0)]) == [infinite, 4 / 8 + 6 / 8, 7 / 8 + 4 / 8, infinite]
    assert crowding([(4, 2), (8, 0), (0, 8), (1, 4)]) == [7 / 8 + 4 / 8, infinite, infinite, 4 / 8 + 6 / 8]
    assert crowding([(3, 3)]) == [infinite]
    assert crowding([(1, 2), (2, 1)]) == [infinite, infinite]


def test_an_axis_on_which_all_are_equal_adds_nothing():
    distance = crowding([(0, 5), (1, 5), (2, 5), (4, 5)])
    assert distance[1:3] == [2 / 4, 3 / 4]
