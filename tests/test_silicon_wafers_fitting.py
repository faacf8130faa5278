"""Fits of defects per die, of windows, of several wafers: planted figures, oracles, limits, coverage."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import gamma, nbinom
from scipy.stats import poisson as scipy_poisson
from scipy.stats import t as student
from wafers import disk, negative_binomial, patched

from archfab.core import UsageError
from archfab.silicon.wafers import counts
from archfab.silicon.wafers.blocks import block_interval, share_seen, variance
from archfab.silicon.wafers.counts import Histogram
from archfab.silicon.wafers.fitting import aic_weights, fit_counts
from archfab.silicon.wafers.lots import Wafers, fit_lot, yield_spread
from archfab.silicon.wafers.maps import WaferMap
from archfab.silicon.wafers.mosaic import all_pass, chances, mixing, partitions
from archfab.silicon.wafers.tallies import taken
from archfab.silicon.wafers.windows import alike, fit_windows, seen, window_shapes


def holds(estimate, truth):
    return estimate.low <= truth <= estimate.high


def test_the_reference_figures_are_recovered_from_15000_dies():
    """The reference page recovered (.497, .772) from one draw; another draw must be as near."""
    found = fit_counts(negative_binomial(np.random.default_rng(0), 0.5, 0.8, 15_000), area_cm2=1.0)
    assert abs(found.d0_per_cm2 - 0.5) < 0.015 and abs(found.alpha - 0.8) < 0.06
    assert holds(found.mean, 0.5) and holds(found.alpha, 0.8)
    assert found.models[0].name == "negative-binomial" and found.goodness[0].p_value > 0.05
    assert found.good == pytest.approx((1 + found.mean / found.alpha) ** -found.alpha)


@pytest.mark.parametrize("mean, kappa", [(0.5, 1.25), (3.0, 0.01), (0.02, 20.0), (40.0, 2.0)])
def test_the_likelihood_is_that_of_scipy(mean, kappa):
    defects = negative_binomial(np.random.default_rng(1), mean, 1 / kappa, 500)
    histogram = Histogram.of(defects)
    oracle = nbinom.logpmf(defects, 1 / kappa, 1 / (1 + kappa * mean)).sum()
    assert counts.negative_binomial(histogram, mean, kappa) == pytest.approx(oracle, rel=1e-9)
    assert counts.poisson(histogram, mean) == pytest.approx(scipy_poisson.logpmf(defects, mean).sum(), rel=1e-9)


def test_no_kappa_is_likelier_than_the_one_found():
    rng = np.random.default_rng(2)
    for mean, alpha in ((0.1, 0.3), (2.0, 5.0), (0.8, 1.0)):
        histogram = Histogram.of(negative_binomial(rng, mean, alpha, 800))
        best = counts.best_kappa(histogram, histogram.mean)
        top = counts.negative_binomial(histogram, histogram.mean, best)
        assert all(counts.negative_binomial(histogram, histogram.mean * scale, best * grown) <= top + 1e-7
                   for scale, grown in product((0.9, 1.0, 1.1), (0.0, 0.5, 0.99, 1.01, 2.0)))


def test_profile_intervals_end_where_the_likelihood_has_fallen_by_chi2():
    histogram = Histogram.of(negative_binomial(np.random.default_rng(3), 0.5, 0.8, 2000))
    found = fit_counts(histogram)
    top = counts.negative_binomial(histogram, found.mean, found.kappa)
    for end in (found.kappa.low, found.kappa.high):
        assert top - counts.negative_binomial(histogram, found.mean, end) == pytest.approx(3.841459 / 2, abs=1e-4)
    for end in (found.mean.low, found.mean.high):
        best = max(counts.negative_binomial(histogram, end, kappa) for kappa in np.linspace(0.8, 2.2, 2801))
        assert top - best == pytest.approx(3.841459 / 2, abs=1e-4)


@pytest.mark.parametrize("name", list(counts.MODELS))
def test_probabilities_of_every_model_sum_to_1_and_have_the_mean(name):
    defects = negative_binomial(np.random.default_rng(4), 0.7, 1.0, 3000)
    long = Histogram(np.append(Histogram.of(defects).dies, np.zeros(60)))
    found = counts.MODELS[name](long)
    assert found.probabilities.sum() == pytest.approx(1, abs=1e-9)
    mean = found.probabilities @ np.arange(len(found.probabilities))
    assert mean == pytest.approx(found.parameters["mean"], rel=1e-6)
    assert found.loglik == pytest.approx(np.log(found.probabilities[defects]).sum())


def test_aic_finds_the_model_that_made_the_counts():
    rng = np.random.default_rng(5)
    drawn = {"poisson": rng.poisson(0.5, 8000), "murphy": rng.poisson(4 * rng.triangular(0, 1, 2, 8000)),
             "negative-binomial": negative_binomial(rng, 1.0, 0.4, 8000),
             "seeds": negative_binomial(rng, 2.0, 1.0, 8000),
             "zero-inflated-poisson": rng.poisson(3.0, 8000) * (rng.random(8000) < 0.6),
             "neyman-a": rng.poisson(4.0 * rng.poisson(0.5, 8000))}
    for name, defects in drawn.items():
        found = fit_counts(defects)
        aic = {model.name: model.aic for model in found.models}
        assert aic[name] < found.models[0].aic + 2, (name, aic)
        assert sum(aic_weights(found.models)) == pytest.approx(1)
    assert fit_counts(drawn["poisson"]).alpha.high == math.inf


def test_limits_are_limits_and_no_errors():
    clean = fit_counts([0] * 100, area_cm2=0.5)
    assert clean.mean == 0 and clean.alpha is None and clean.mean.high == pytest.approx(-math.log(0.025) / 100)
    even = fit_counts([5] * 100)
    assert even.mean == 5 and even.alpha == math.inf and even.kappa.low == 0
    assert even.good == pytest.approx(math.exp(-5))
    wild = fit_counts([1000, 0, 0])
    assert wild.alpha < 0.1 and wild.mean.high == math.inf and 0 < wild.good < 1
    assert fit_counts([3]).mean == 3


@pytest.mark.parametrize("defects, area, words", [
    ([], 1.0, "no dies to fit"), ([0, -1], 1.0, "-1 defects in a die cannot be; legal: 0 to 100,000"),
    ([0.5], 1.0, "whole numbers from 0 up"), ([math.nan], 1.0, "whole numbers from 0 up"),
    ([200_000], 1.0, "200000 defects in a die cannot be"), ([1], 0.0, "area of a die is 0 cm2; it must be above 0"),
    ([1], -1.0, "must be above 0"), ([1], math.inf, "must be above 0"), (["a"], 1.0, "whole numbers")])
def test_counts_that_cannot_be_are_refused(defects, area, words):
    with pytest.raises(UsageError, match=words):
        fit_counts(defects, area)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=60))
def test_any_counts_give_ordered_intervals(defects):
    found = fit_counts(defects, models=("poisson", "negative-binomial"))
    assert found.mean.low <= found.mean <= found.mean.high and found.mean == pytest.approx(np.mean(defects))
    if sum(defects):
        assert found.alpha.low <= found.alpha <= found.alpha.high and found.kappa.low <= found.kappa <= found.kappa.high
    assert 0 <= found.good <= 1 and found.dies == len(defects)


def test_tiles_of_a_mosaic_are_counted_as_by_brute_force():
    """P(j pass) of a 2 x 2 tile by all 16 outcomes of each way in which borders can run."""
    mean, kappa, together = 0.7, 0.8, 0.6

    def passing(number):
        return float(all_pass(np.array(number), mean, kappa))

    def outcome(part):                  # a part's dies: inclusion and exclusion over its failing ones
        bad = len(part) - sum(part)
        return sum((-1) ** i * math.comb(bad, i) * passing(sum(part) + i) for i in range(bad + 1))

    expected = np.zeros(5)
    for cells in product((0, 1), repeat=4):
        a, b, c, d = cells
        ways = {(1, 1): [cells], (1, 0): [(a, b), (c, d)], (0, 1): [(a, c), (b, d)], (0, 0): [(a,), (b,), (c,), (d,)]}
        for (rows, columns), parts in ways.items():
            chance = (together if rows else 1 - together) * (together if columns else 1 - together)
            expected[sum(cells)] += chance * math.prod(outcome(part) for part in parts)
    kind = partitions((2, 2), bytes([1, 1, 1, 1]))
    found = chances([kind], 2, *mixing(mean, kappa), together, passing)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (2, 4), (4, 4)])
@pytest.mark.parametrize("mean, kappa, together", [(0.5, 1.25, 0.75), (0.001, 0.5, 0.3), (3.0, 30.0, 1.0),
                                                   (0.5, 0, 0.5), (0.2, 2e-4, 0.9)])
def test_chances_of_a_tile_sum_to_1_and_keep_the_yield(shape, mean, kappa, together):
    kind = partitions(shape, bytes([1] * shape[0] * shape[1]))
    densities, weights = mixing(mean, kappa)
    found = chances([kind], sum(shape) - 2, densities, weights, together,
                    lambda number: float(all_pass(np.array(number), mean, kappa)))
    assert found.sum() == pytest.approx(1, abs=1e-9)
    single = float(all_pass(np.array(1), mean, kappa))
    assert found @ np.arange(len(found)) / (len(found) - 1) == pytest.approx(single, abs=1e-9)
    assert weights @ densities == pytest.approx(mean, rel=1e-9)


def test_windows_recover_d0_and_alpha_where_clusters_are_wider_than_dies():
    rng = np.random.default_rng(6)
    found = fit_windows([patched(rng, 0.5, 0.8, 36, 6) for _ in range(10)])
    assert holds(found.mean, 0.5) and holds(found.alpha, 0.8) and found.told_apart
    assert found.groups == 10 and found.aic["poisson"] > min(found.aic.values()) + 10
    assert 0.7 < found.mean / 0.5 < 1.4
    assert min(found.inflation) > 1.2       # tiles overlap, and patches are shared


def test_every_die_counts_once_however_many_tiles_cover_it():
    full = taken([WaferMap("w", np.zeros((6, 6), np.int64))], (2, 2))
    dies = sum(full.tiles.sum(0)[place:place + len(each)] @ each for place, each in zip(
        np.cumsum([0] + [sum(kind[0][2]) + 1 for kind in full.kinds[:-1]]),
        [np.arange(sum(kind[0][2]) + 1) for kind in full.kinds], strict=True))
    assert dies == pytest.approx(36) and full.pairs.sum(0)[0].tolist() == [36, 36]
    assert full.pairs.sum(0)[1:, 0].tolist() == [60, 48, 36]


def test_the_width_of_patches_is_found_whether_it_varies_or_not():
    rng = np.random.default_rng(13)
    varying = taken([patched(rng, 0.5, 0.8, 60, 4) for _ in range(60)], (1, 2)).together
    place = (np.arange(60) + 1) // 4
    fixed = [WaferMap("w", np.minimum(1, rng.poisson(rng.gamma(0.8, 0.5 / 0.8, (16, 16))[np.ix_(place, place)])))
             for _ in range(60)]
    assert varying == pytest.approx(0.75, abs=0.04) and taken(fixed, (1, 2)).together == pytest.approx(0.75, abs=0.04)


def test_blocks_hide_variance_that_neighbours_share():
    """The share by brute force: the covariance matrix of 12 x 12 dies in 3 x 3 blocks of 4 x 4."""
    places = np.indices((12, 12)).reshape(2, -1)
    steps = abs(places[:, :, None] - places[:, None]).sum(0)
    covariance = 0.2 * 0.5 ** steps + 0.05 * (steps == 0)
    member = (places[0] // 4 * 3 + places[1] // 4 == np.arange(9)[:, None]) / 16
    blocks = member @ covariance @ member.T
    assert variance((4, 4), 0.05, 0.2, 0.5) == pytest.approx(blocks[0, 0])
    assert variance((12, 12), 0.05, 0.2, 0.5) == pytest.approx(blocks.sum() / 81)
    rng = np.random.default_rng(14)
    wide = patched(rng, 0.5, 0.8, 60, 5, counted=True)
    assert share_seen([wide]) < 0.9 < share_seen([WaferMap("w", rng.poisson(0.5, (60, 60)), counted=True)])
    assert share_seen([wide] * 5) == 1 == share_seen([WaferMap("w", np.zeros((9, 9), np.int64))])


def test_windows_of_independent_failures_give_poissons_model():
    rng = np.random.default_rng(7)
    wafers = [WaferMap("w", np.where(disk(40), rng.random((40, 40)) < 0.3, -1).astype(np.int64)) for _ in range(6)]
    found = fit_windows(wafers)
    assert found.kappa.low == 0 and found.alpha.high == math.inf and holds(found.mean, -math.log(0.7))
    assert found.alpha.low > 2


def test_windows_are_seen_at_all_places():
    wafers = [WaferMap("w", np.array([[0, 0, 1], [0, 0, 0], [-1, 0, 0]]))]
    found = [seen(wafers, size, shape, 0.1, 1.0) for size, shape in window_shapes([1, 2, 4]).items()]
    assert [(each.dies, each.places, each.passing) for each in found] == [(1, 8, 7), (2, 10, 8), (4, 3, 2)]
    assert [each.fitted for each in found] == pytest.approx([1 / 1.1, 1 / 1.2, 1 / 1.4])


def test_a_yield_alone_gives_pairs_of_equal_likelihood():
    found = alike(0.5)
    assert all((1 + mean / alpha) ** -alpha == pytest.approx(0.5) for alpha, mean in found.items() if alpha < math.inf)
    assert found[math.inf] == pytest.approx(math.log(2)) and found[1.0] == pytest.approx(1.0)


@pytest.mark.parametrize("values, sizes, words", [
    ([[0, 0], [0, 0]], (1, 2, 4), "no dies fail"), ([[1, 1], [1, 1]], (1, 2, 4), "all dies fail"),
    ([[0, 1], [0, 0]], (1,), "windows of one die do not tell D0 and alpha apart"),
    ([[0, 1], [0, 0]], (1, 3), "windows of 3 dies are not known; legal: 1, 2, 4, 8, 16"),
    ([[0, 1], [0, 0]], (16,), "no window of 4 x 4 dies fits")])
def test_windows_that_say_nothing_are_refused(values, sizes, words):
    with pytest.raises(UsageError, match=words):
        fit_windows([WaferMap("w", np.array(values))], sizes)


def test_groups_widen_the_interval_where_dies_resemble_each_other():
    rng = np.random.default_rng(8)
    alike_dies = [patched(rng, 0.5, 0.8, 30, 10, counted=True) for _ in range(8)]
    grouped, number = block_interval(alike_dies)
    plain = fit_counts(np.concatenate([wafer.values[wafer.dies] for wafer in alike_dies]))
    assert number == 8 and grouped == pytest.approx(plain.mean)
    assert grouped.high / grouped.low > 1.5 * plain.mean.high / plain.mean.low
    assert block_interval([WaferMap("w", np.zeros((20, 20), np.int64), counted=True)]) is None


def lot(rng, wafers, size, mean, within, between):
    means = rng.gamma(between, mean / between, wafers) if between < math.inf else np.full(wafers, mean)
    return [WaferMap(str(i), negative_binomial(rng, each, within, (size, size)), counted=True)
            for i, each in enumerate(means)]


def test_the_likelihood_of_a_lot_is_the_integral_over_its_wafers_means():
    wafers = lot(np.random.default_rng(9), 4, 4, 0.5, 2.0, 5.0)
    defects = [wafer.values.ravel() for wafer in wafers]
    oracle = sum(math.log(quad(lambda mean, each=each: math.exp(nbinom.logpmf(each, 2, 2 / (2 + mean)).sum())
                               * gamma.pdf(mean, 5, scale=0.1), 0, 8, limit=300)[0]) for each in defects)
    whole = Histogram.of(np.concatenate(defects))
    told = Wafers(np.full(4, 16.0), np.array([float(each.sum()) for each in defects]), whole.above)
    constant = whole.dies @ counts.log_factorials(len(whole.dies) - 1)
    assert told.loglik(0.5, 0.5, 0.2) - constant == pytest.approx(oracle, abs=2e-3)
    assert told.loglik(0.5, 0.5, 0.0) - constant == pytest.approx(counts.negative_binomial(whole, 0.5, 0.5), abs=1e-9)
    assert told.loglik(0.5, 0.5, 2e-6) == pytest.approx(told.loglik(0.5, 0.5, 0.0), abs=1e-3)


@pytest.mark.slow
def test_clustering_within_and_between_wafers_is_told_apart():
    rng = np.random.default_rng(12)
    apart = fit_lot(lot(rng, 15, 14, 0.6, 2.0, 4.0))
    assert holds(apart.mean, 0.6) and holds(apart.alpha_within, 2.0) and holds(apart.alpha_between, 4.0)
    assert apart.p_between < 1e-6
    same = fit_lot(lot(rng, 6, 14, 0.6, 2.0, math.inf))
    assert same.alpha_between.high == math.inf and same.p_between > 0.01
    assert fit_lot(lot(rng, 2, 5, 0.6, 2.0, 4.0)) is None


def test_yields_that_differ_beyond_chance_are_found():
    def wafer(share, seed):
        return WaferMap("w", (np.random.default_rng(seed).random((30, 30)) < share).astype(np.int64))
    same = yield_spread([wafer(0.2, i) for i in range(10)])
    apart = yield_spread([wafer(0.1 + 0.02 * i, i) for i in range(10)])
    assert same.p_value > 0.01 and apart.p_value < 1e-6 and same.degrees == 9
    assert apart.deviation == pytest.approx(np.std(0.1 + 0.02 * np.arange(10), ddof=1), rel=0.25)
    assert yield_spread([wafer(0.2, 0)]) is None


def test_the_mean_of_few_wafers_has_students_interval():
    means = np.array([0.46, 0.5, 0.53, 0.57])
    wafers = [WaferMap("w", np.random.default_rng(i).poisson(mean, (150, 150)), counted=True)
              for i, mean in enumerate(means)]
    found = fit_lot(wafers)
    rates = [wafer.values.mean() for wafer in wafers]
    half = student.ppf(0.975, 3) * np.std(rates, ddof=1) / 2
    assert found.mean.high - found.mean.low == pytest.approx(2 * half, rel=0.1)


def test_lots_of_few_wafers_are_fitted_whatever_they_are():
    for seed in range(2):
        found = fit_lot(lot(np.random.default_rng([seed, 4]), 4, 8, 0.5, 2.0, 4.0))
        for each in (found.mean, found.alpha_within, found.alpha_between):
            assert 0 <= each.low <= each <= each.high


@pytest.mark.slow
def test_intervals_cover_the_truth_on_92_to_98_of_100_wafers():
    rng = np.random.default_rng(11)
    covered = np.zeros(2)
    for _ in range(300):
        found = fit_counts(negative_binomial(rng, 0.5, 0.8, 700), models=())
        covered += holds(found.mean, 0.5), holds(found.alpha, 0.8)
    assert (covered / 300 > 0.92).all() and (covered / 300 < 0.98).all()
