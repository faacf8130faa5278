"""Who excites whom: planted pairs are found, and streams that are taken away cost what they were worth."""

import numpy as np
import pytest
from hawkes import PLANTED

from archfab.core import UsageError
from archfab.tasks.events.hawkes import backtest, influence, influence_picture
from archfab.tasks.events.hawkes.fitting import fit
from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.intervals import observed
from archfab.tasks.events.hawkes.likelihood import by_type
from archfab.tasks.events.hawkes.parameters import Parameters
from archfab.tasks.events.hawkes.simulation import clusters

NAMES = ("a", "b", "c")
TRUE = {(0, 0), (0, 1), (1, 1), (1, 2), (2, 0), (2, 2)}


@pytest.fixture(scope="module")
def study():
    train, held = (clusters(PLANTED, [(0, 100)] * 40, np.random.default_rng(seed)) for seed in (0, 1))
    history = History(train, 3)
    found = fit(history, np.random.default_rng(0), starts=1)
    return train, held, history, found


def test_planted_pairs_are_found_and_no_others(study):
    _, _, history, found = study
    edges = influence.influence(history, found, observed(history, found))
    assert len(edges) == 9
    assert {(e.source, e.target) for e in edges if e.corrected < 0.05} == TRUE
    assert {(e.source, e.target) for e in edges if e.solid} == TRUE
    assert all(e.low <= e.weight <= e.high and e.p <= e.corrected for e in edges)


def test_a_deviance_is_that_of_a_fit_without_the_pair(study):
    _, _, history, found = study
    lost = influence.deviances(history, found)
    for j, k in ((0, 1), (2, 0)):
        mask = np.ones((3, 3), bool)
        mask[j, k] = False
        less = fit(history, np.random.default_rng(0), decays=found.parameters.decays, allowed=mask)
        assert lost[j, k] == pytest.approx(2 * (found.log_likelihood - less.log_likelihood), abs=1e-5)


def test_p_values_of_true_zeros_are_not_too_small():
    rng, small, number = np.random.default_rng(5), 0, 0
    for _ in range(40):
        history = History(clusters(PLANTED, [(0, 500)], rng), 3)
        found = fit(history, rng, decays=2.0)
        for edge in influence.influence(history, found, observed(history, found)):
            if (edge.source, edge.target) not in TRUE:
                number += 1
                small += edge.p < 0.1
    assert 0.03 < small / number < 0.19     # 0.1 and three standard errors of 120 draws


def test_holm_by_hand():
    assert influence.holm(np.array([0.04, 0.01, 0.03])).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert influence.chance(0.0, 2) == 1 and influence.chance(2.705543, 1) == pytest.approx(0.05, abs=1e-6)


def test_directions_are_those_that_were_planted(study):
    train, held, _, found = study
    rows = {(row.source, row.target): row for row in backtest.backtest(train, held, found)}
    assert {pair for pair, row in rows.items() if row.verdict == "helps"} == TRUE
    assert rows[0, 1].gain > 0.02 and abs(rows[1, 0].gain) < 0.002
    assert "no proof of a cause" in backtest.table(list(rows.values()), NAMES).about


@pytest.mark.parametrize("windows", [[(0, 100)] * 20, [(0, 700), (5, 5.001), (3, 800)]])
@pytest.mark.parametrize("tie", ["shared", "pair"])
def test_a_gain_is_a_difference_of_likelihoods(windows, tie):
    train, held = (clusters(PLANTED, windows, np.random.default_rng(seed)) for seed in (2, 3))
    past, future = History(train, 3), History(held, 3)
    found = fit(past, np.random.default_rng(0), tie=tie, starts=1)
    for row in backtest.backtest(train, held, found):
        mask = np.ones((3, 3), bool)
        mask[row.source, row.target] = False
        less = fit(past, np.random.default_rng(0), decays=found.parameters.decays, allowed=mask)
        gain = by_type(future, found.parameters) - by_type(future, less.parameters)
        assert row.gain * row.events == pytest.approx(gain[row.target], abs=1e-4)
        assert row.low <= row.gain <= row.high


def test_pictures_and_tables(study):
    _, _, history, found = study
    edges = influence.influence(history, found, observed(history, found))
    lines = influence.table(edges, NAMES).content.decode().splitlines()
    assert len(lines) == 10 and lines[0].startswith("source,target,weight") and lines[1].endswith("yes")
    picture = influence_picture.exhibit(edges, NAMES)
    assert picture.content.startswith(b"<svg") and picture.content == influence_picture.exhibit(edges, NAMES).content
    alone = [edge for edge in edges if edge.source == edge.target == 0]
    assert influence_picture.exhibit(alone, ("a very long name",)).content.startswith(b"<svg")
    assert influence_picture.exhibit([], ("x",)).content.startswith(b"<svg")
    crowd = [influence.Edge(j, k, 1.0 + j, 0.5, 9.0, 1.0, 0.1, 0.2) for j in range(12) for k in range(12)]
    assert b"60 strongest of 144" in influence_picture.exhibit(crowd, [f"t{i}" for i in range(12)]).content or \
        influence_picture.MOST == 60


def test_inhibiting_processes_are_refused(study):
    train, held, history, found = study
    from dataclasses import replace
    bad = replace(found, parameters=Parameters(PLANTED.base, -PLANTED.weights, PLANTED.decays))
    with pytest.raises(UsageError, match="below 0"):
        backtest.backtest(train, held, bad)
    with pytest.raises(UsageError, match="below 0"):
        influence.influence(history, bad, observed(history, found))
