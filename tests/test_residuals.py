"""Time rescaling: right processes are not rejected, wrong ones are, and short windows do not mislead."""

import numpy as np
import pytest
from hawkes import PLANTED
from scipy.stats import kstest

from archfab.core import UsageError
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes.process import Hawkes, poisson
from archfab.tasks.events.hawkes.simulation import clusters
from archfab.tasks.events.residuals import CAVEAT, check, quantiles, residuals

NAMES = ("a", "b", "c")


@pytest.mark.parametrize("windows", [[(0.0, 3000.0)], [(2.0, 4.0)] * 1500])
def test_hawkes_events_do_not_reject_a_hawkes_process_and_reject_a_poisson_process(windows):
    train, held = (clusters(PLANTED, windows, np.random.default_rng(seed)) for seed in (5, 6))
    fitted, _ = Hawkes.fit(train, 3, np.random.default_rng(0), starts=1)
    for process in (Hawkes(PLANTED), fitted):
        found = process.residuals(held, NAMES)
        assert min(each.p for each in found.tests) > 0.01 and "is not rejected" in found.verdict
    wrong = poisson(train, 3).residuals(held, NAMES)
    assert max(each.p for each in wrong.tests) < 1e-3 and "is rejected" in wrong.verdict
    assert wrong.tests[0].correlation > wrong.tests[0].band


def test_p_values_of_the_true_process_are_uniform():
    rng, found = np.random.default_rng(0), []
    for _ in range(80):
        drawn = clusters(PLANTED, [(0.0, 60.0)] * 5, rng)
        found.append([each.p for each in Hawkes(PLANTED).residuals(drawn, NAMES).tests])
    assert min(kstest(column, "uniform").pvalue for column in np.transpose(found)) > 0.01


def test_poisson_events_do_not_reject_a_poisson_process_in_windows_that_hold_few():
    rng = np.random.default_rng(3)
    counts = rng.poisson(0.8, 4000)
    sequences = [Sequence(np.sort(rng.uniform(0, 1, n)), np.zeros(n, np.int64), 0.0, 1.0) for n in counts]
    found = residuals(sequences, [np.diff(each.times, prepend=0, append=1)[:, None] * 0.8 for each in sequences], ["x"])
    assert len(found.pooled) == counts.sum() and found.tests[0].p > 0.05
    assert found.pooled.mean() == pytest.approx(1, abs=0.05)


def test_residuals_are_the_compensator_between_events_of_a_type():
    sequence = Sequence(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0, 1, 0, 1]), 0.0, 4.0)
    rows = np.array([[0, 0], [1, 2], [3, 4], [5, 6], [7, 8.0]])
    found = residuals([sequence, sequence], [rows, rows], ("x", "y"))
    assert found.by_type["x"].tolist() == [4, 5 + 7 + 1 + 3]           # the event at the start is given
    assert found.by_type["y"].tolist() == [2, 10, 8 + 2, 10]
    assert found.pooled.tolist() == [3, 7, 11, 15 + 3, 7, 11]


def test_bands_of_quantiles_hold_the_exponential_law():
    rng, inside = np.random.default_rng(0), []
    for _ in range(200):
        values = rng.standard_exponential(300)
        rows = quantiles(values, 50)
        inside.append((rows[:, 2] <= rows[:, 1]) & (rows[:, 1] <= rows[:, 3]))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02) and np.mean(inside, axis=0).min() > 0.88
    assert (rows[:, 2] < rows[:, 0]).all() and (rows[:, 0] < rows[:, 3]).all()
    assert check("x", values).p > 0.05 and check("x", 2 * values).p < 1e-6


def test_pictures_and_tables():
    sequences = clusters(PLANTED, [(0.0, 100.0)], np.random.default_rng(0))
    picture, table = Hawkes(PLANTED).residuals(sequences, NAMES).exhibits()
    assert picture.file == "diagnostics.svg" and picture.content.startswith(b"<svg") and b"NaN" not in picture.content
    assert "time rescaling" in picture.about.lower() and CAVEAT in table.about
    assert [line.split(",")[0] for line in table.content.decode().splitlines()] == ["type", "pooled", *NAMES]
    nothing = residuals([], [], NAMES)
    assert "Too few" in nothing.verdict and nothing.exhibits()[0].content.startswith(b"<svg")


@pytest.mark.parametrize(("rows", "said"), [
    (np.zeros((2, 3)), "shape"), (np.full((3, 3), np.nan), "before event 1"), (-np.ones((3, 3)), "from 0 up")])
def test_increments_that_are_none_are_refused(rows, said):
    sequence = Sequence(np.array([1.0, 2.0]), np.array([0, 1]), 0.0, 4.0)
    with pytest.raises(UsageError, match=said):
        residuals([sequence], [rows], NAMES)
