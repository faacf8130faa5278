"""Gaussian processes, expected improvement, ensembles: against libraries, sampling and formulas."""

import random

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve

from archfab import Space, choose, repeat
from archfab.core import Event, Limit, Trial
from archfab.metrics.pareto import hypervolume
from archfab.surrogates.catalogue import NEIGHBOURS, Catalogue
from archfab.surrogates.ensemble import fit, flat, gradient, log_places
from archfab.surrogates.features import LACKING, Standing, rich, tree
from archfab.surrogates.gaussian import (
    JITTER,
    GaussianProcess,
    Settings,
    expected_improvement,
    kernel,
    normal_scores,
    quadratic,
)
from archfab.surrogates.hypervolume import boxes, expected_hypervolume_improvement
from archfab.surrogates.improvement import Model, Scale


@pytest.fixture
def draws():
    return np.random.default_rng(0)


# --- Gaussian process

def test_the_prediction_is_the_textbooks(draws):
    x, other = draws.random((12, 3)), draws.random((5, 3))
    y = np.sin(3 * x).sum(1)
    process = GaussianProcess([x], y, draws, Settings(np.array([2.0]), np.array([0.5]), 1e-2), steps=0)
    size = np.square(x).sum(1).mean()

    def covariance(a, b):
        return 1 / (1 + 2.0 * ((a[:, None] - b[None]) ** 2).sum(2)) + 0.5 * ((1 + a @ b.T / size) / 2) ** 2

    known = covariance(x, x)
    factor = cho_factor(known + (1e-2 + JITTER * np.diag(known).mean()) * np.eye(12))
    cross = covariance(other, x)
    mean, deviation = process.predict([other])
    assert mean == pytest.approx(y.mean() + cross @ cho_solve(factor, y - y.mean()), abs=1e-9)
    left = np.diag(covariance(other, other)) - np.einsum("ij,ij->i", cross, cho_solve(factor, cross.T).T)
    variance = (y - y.mean()) @ cho_solve(factor, y - y.mean()) / 12
    assert deviation == pytest.approx(np.sqrt(variance * left), abs=1e-9)


def test_it_equals_scikit_learn(draws):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import DotProduct, RationalQuadratic
    x, other = draws.random((20, 2)), draws.random((6, 2))
    x /= np.sqrt(np.square(x).sum(1).mean())            # of mean square 1
    y = x[:, 0] - x[:, 1] ** 2
    kernel = RationalQuadratic(0.5, alpha=1.0) + 0.3 / 4 * DotProduct(1.0) ** 2
    theirs = GaussianProcessRegressor(kernel, alpha=1e-3, optimizer=None).fit(x, y - y.mean())
    ours = GaussianProcess([x], y, draws, Settings(np.array([2.0]), np.array([0.3]), 1e-3), steps=0)   # 1 / (2 * 0.5^2)
    assert ours.predict([other])[0] == pytest.approx(theirs.predict(other) + y.mean(), abs=1e-3)


def test_the_search_for_settings_never_ends_in_less_probable_ones_and_repeats(draws):
    x, noise = draws.random((30, 2)), draws.normal(size=(30, 4))
    y = np.sin(6 * x[:, 0])
    start = GaussianProcess([x, noise], y, np.random.default_rng(1), steps=0)
    found, again = (GaussianProcess([x, noise], y, np.random.default_rng(1), steps=60) for _ in range(2))
    assert found._loss(found.settings)[0] < start._loss(start.settings)[0]
    assert found.settings.scales.tolist() == again.settings.scales.tolist()
    scales = found.settings.scales / start.settings.scales
    assert scales[0] > scales[1]                    # the block that says nothing comes to count for less


def test_the_distance_of_decisions_is_that_of_the_tree():
    space = Space([choose("a", 1, 2), choose("n", p=choose("b", 1, 2), q=1)])
    one, other, third = {"a": 1, "n": "p", "b": 1}, {"a": 1, "n": "p", "b": 2}, {"a": 1, "n": "q"}
    x, = tree(space)([one, other, third])
    squared = ((x[:, None] - x[None]) ** 2).sum(2)
    assert squared[0, 1] == 2 and squared[0, 2] == 2 + 1 and squared[1, 2] == 3


def test_the_kernel_is_positive_for_any_numbers(draws):
    x = 10 * draws.normal(size=(40, 2))
    found = kernel([((x[:, None] - x[None]) ** 2).sum(2)], [quadratic(x, x, 3.0)],
                   Settings(np.array([1.0]), np.array([0.3])))
    assert np.linalg.eigvalsh(found).min() > -1e-9 * np.abs(found).max()


def test_normal_scores_do_not_depend_on_the_unit():
    y = np.array([3.0, 1.0, 2.0, 1e9])
    assert normal_scores(y) == pytest.approx(normal_scores(np.log(y)))
    assert normal_scores(y).argsort().tolist() == y.argsort().tolist()


def test_figures_stand_where_they_are_among_the_sample():
    stand = Standing([{"a": float(i), "b": -float(i), "error": 0.0} for i in range(100)], {"error"})
    found = stand([{"a": 49.5, "b": -1e9}, {"a": 1e9}, {"a": 20.0, "b": -20.0}])
    assert found.shape == (3, 2) and found[0, 0] == pytest.approx(0, abs=1e-9)
    assert found[0, 1] == pytest.approx(-found[1, 0]) == pytest.approx(-np.sqrt(3)) and found[1, 1] == LACKING
    assert found[2, 0] == pytest.approx(-found[2, 1]) and found[2, 0] < -0.5
    assert Standing([])([{"a": 1.0}]).shape == (1, 0)


# --- improvement

@pytest.mark.parametrize(("mean", "deviation", "best"), [(0.0, 1.0, 0.0), (0.5, 0.3, 0.2), (-1.0, 2.0, 0.4)])
def test_expected_improvement_is_the_mean_over_draws(draws, mean, deviation, best):
    sampled = np.maximum(best - draws.normal(mean, deviation, 400_000), 0).mean()
    assert expected_improvement(np.array([mean]), np.array([deviation]), best)[0] == pytest.approx(sampled, abs=6e-3)


def test_a_known_value_improves_by_its_difference():
    assert expected_improvement(np.array([1.0, 3.0]), np.zeros(2), 2.0) == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize("goals", [1, 2, 3])
def test_the_boxes_are_what_the_front_leaves(draws, goals):
    points, reference = [tuple(p) for p in draws.random((8, goals))], (1.1,) * goals
    volume = sum(np.prod([high - max(low, 0.0) for low, high in zip(*box, strict=True)])
                 for box in boxes(points, reference))
    assert volume == pytest.approx(1.1**goals - hypervolume(points, reference))


@pytest.mark.parametrize("goals", [2, 3])
def test_the_expected_gain_of_hypervolume_is_the_mean_over_draws(draws, goals):
    points, reference = [tuple(p) for p in draws.random((5, goals))], (1.1,) * goals
    mean, deviation = draws.random((1, goals)) * 0.6, np.full((1, goals), 0.2)
    before = hypervolume(points, reference)
    sampled = np.mean([hypervolume([*points, tuple(y)], reference) - before
                       for y in draws.normal(mean[0], deviation[0], (4000, goals))])
    found = expected_hypervolume_improvement(mean, deviation, points, reference)[0]
    assert found == pytest.approx(sampled, rel=0.08)


def test_of_known_objectives_the_gain_is_the_hypervolume_itself():
    points, reference, new = [(0.2, 0.8), (0.6, 0.3)], (1.0, 1.0), (0.4, 0.5)
    found = expected_hypervolume_improvement(np.array([new]), np.zeros((1, 2)), points, reference)[0]
    assert found == pytest.approx(hypervolume([*points, new], reference) - hypervolume(points, reference))


def test_one_outlier_does_not_flatten_the_others():
    values = np.array([94.0, 93.5, 93.0, 92.0, 10.0])
    found = Scale(values, "max")(values)
    assert found[:3].tolist() == sorted(found[:3]) and found[1] - found[0] > 0.1


def outcomes(space, judge, number=12):
    rng = random.Random(0)
    return [Event("ok", Trial(i, genotype), judge(genotype))
            for i, genotype in enumerate(space.sample(rng) for _ in range(number))]


def test_a_figure_that_is_known_takes_the_place_of_the_model():
    space = Space([choose(f"d{i}", 0, 1, 2) for i in range(4)])
    events = outcomes(space, lambda g: {"error": sum(g.values()) / 8, "ms": float(g["d0"])})
    catalogue = Catalogue(space, tree(space))
    model = Model(catalogue, catalogue.at, events, {"error": "min"}, [Limit("ms", "<=", 1.0)], {}, random.Random(0))
    rows = catalogue.add([{"d0": 0, "d1": 0, "d2": 0, "d3": 0}])
    assert model.told({"ms": 1.0, "macs": 2.0}) == ["ms"]
    kept, broken = model.gains(rows, {"ms": [0.5]})[0], model.gains(rows, {"ms": [5.0]})[0]
    assert kept > 0 and broken < 1e-6 * kept


# --- catalogue and features

def test_the_catalogue_describes_each_network_once_and_finds_it_again():
    space = Space([repeat(choose("n", 1, 2), lambda i: choose(f"k{i}", 3, 5, 7)), choose("w", 8, 16, 32)])
    catalogue, genotypes = Catalogue(space, rich(space)), list(space)
    rows = [row for genotype in genotypes for row in catalogue.add([genotype, genotypes[0]])][::2]
    assert rows == list(range(len(genotypes))) == catalogue.add(genotypes)
    for block, whole in zip(catalogue.at(rows), rich(space)(genotypes), strict=True):
        assert block.tolist() == whole.tolist()
    near = [catalogue.genotypes[row] for row in catalogue.neighbours(0)]
    assert len(near) <= NEIGHBOURS
    for genotype in near:
        space.check(genotype)


def test_counts_and_numbers_are_what_they_say():
    space = Space([choose("a", "x", "y"), choose("b", "x", "y"), choose("w", 8, 16, 32)])
    features = rich(space)
    found = dict(zip(features.blocks, features([{"a": "x", "b": "x", "w": 16}]), strict=True))
    assert found["counts"].tolist() == [[2, 0]] and found["numbers"].tolist() == [[0.5]]


# --- ensemble

def test_the_gradient_of_the_ensemble_is_the_numerical_one(draws):
    weights, layers = flat(2, (3, 4, 2))
    slope, slopes = flat(2, (3, 4, 2))
    weights[...] = draws.normal(size=weights.shape)
    x, y = draws.random((2, 6, 3)).astype(np.float32), draws.random((2, 6, 2)).astype(np.float32)
    y[0, 0, 0] = np.nan
    gradient(layers, x, y, slopes)
    other = flat(2, (3, 4, 2))[1]
    for place in draws.choice(len(weights), 12, replace=False):
        before, step = weights[place], 1e-2
        weights[place] = before + step
        up = gradient(layers, x, y, other)
        weights[place] = before - step
        down = gradient(layers, x, y, other)
        weights[place] = before
        assert slope[place] == pytest.approx((up - down) / (2 * step), rel=0.05, abs=0.02)


def test_the_ensemble_learns_and_knows_where_it_does_not_know(draws):
    x = draws.uniform(-1, 1, (60, 1)).astype(np.float32)
    model = fit(x, 2 * x, seed=1, steps=400, decay=0.0)
    near, far = model.predict(np.array([[0.3]]))[:, 0, 0], model.predict(np.array([[8.0]]))[:, 0, 0]
    assert near.mean() == pytest.approx(0.6, abs=0.1) and far.std() > 5 * near.std()
    assert fit(x, 2 * x, seed=1, steps=5).predict(x).tolist() == fit(x, 2 * x, seed=1, steps=5).predict(x).tolist()


def test_log_places_are_the_formula():
    found = log_places(np.array([10.0, 30.0, 20.0, 30.0, np.nan]))
    assert found[:4] == pytest.approx(1 + np.log(np.array([0.5, 3.0, 1.5, 3.0]) / 4)) and np.isnan(found[4])
