"""What a Hawkes process costs: log-likelihood and gradient, the fit, simulation; and whether its intervals hold.

    python benchmarks/hawkes.py                     # a table
    python benchmarks/hawkes.py --json              # rows for machines
    python benchmarks/hawkes.py --coverage --csv benchmarks/results/hawkes-2-cores.csv

100,000 events of 10 types, drawn from a planted process (a spectral radius of 0.7, three in ten pairs), one thread, CPU
seconds, medians. `hawkes gradient s` begins with the bare sequence and has the gradient by base rates, weights and
decay; `hawkes fit s` finds all of them, decay included, from three starts. Coverage: three types, 1,000 units of time,
100 simulations.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rows import row, show

from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes.fitting import fit
from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.intervals import observed
from archfab.tasks.events.hawkes.likelihood import gradient, log_likelihood
from archfab.tasks.events.hawkes.parameters import Parameters
from archfab.tasks.events.hawkes.simulation import clusters, thinning

EVENTS, KINDS = 100_000, 10
SMALL = Parameters(np.array([0.3, 0.5, 0.4]), np.array([[[0.4, 0.25, 0.0], [0.0, 0.3, 0.2], [0.15, 0.0, 0.35]]]),
                   np.full((1, 1, 1), 2.0))


def cpu(work: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """The median of CPU seconds, and the last answer."""
    times, answer = [], None
    for _ in range(repeats):
        start = time.process_time()
        answer = work()
        times.append(time.process_time() - start)
    return statistics.median(times), answer


def planted() -> Parameters:
    rng = np.random.default_rng(0)
    weights = rng.random((1, KINDS, KINDS)) * (rng.random((1, KINDS, KINDS)) < 0.3)
    weights *= 0.7 / np.abs(np.linalg.eigvals(weights[0])).max()
    return Parameters(rng.uniform(0.2, 0.7, KINDS), weights, np.full((1, 1, 1), 1.5))


def drawn(parameters: Parameters) -> Sequence:
    """The first 100,000 events of a long draw."""
    length = 1.1 * EVENTS / parameters.rates.sum()
    found = clusters(parameters, [(0.0, length)], np.random.default_rng(1))[0]
    if len(found) <= EVENTS:
        raise SystemExit(f"{len(found)} events were drawn; another seed is needed")
    return Sequence(found.times[:EVENTS], found.types[:EVENTS], 0.0, float(found.times[EVENTS]))


def loop(sequence: Sequence, parameters: Parameters) -> float:
    """The recursion, event by event in Python, without a gradient: what is usual."""
    decay, state, before = parameters.decays.item(), np.zeros(KINDS), sequence.start
    kernels, total = parameters.kernels[0], 0.0
    for now, kind in zip(sequence.times, sequence.types, strict=True):
        state *= np.exp(-decay * (now - before))
        total += np.log(parameters.base[kind] + state[kind])
        state += kernels[kind]
        before = now
    left = -np.expm1(-decay * (sequence.end - sequence.times))
    return total - parameters.base.sum() * sequence.length - float(left @ parameters.branching.sum(1)[sequence.types])


def measure(repeats: int) -> list[dict[str, Any]]:
    truth = planted()
    sequence = drawn(truth)
    cpu(lambda: gradient(History([sequence], KINDS), truth))        # warms up
    spent, (value, _) = cpu(lambda: gradient(History([sequence], KINDS), truth), repeats)
    alone, _ = cpu(lambda: log_likelihood(History([sequence], KINDS), truth), repeats)
    plain, same = cpu(lambda: loop(sequence, truth))
    assert abs(value - same) < 1e-10 * abs(same), (value, same)
    short = sequence.pieces(20)
    many, _ = cpu(lambda: gradient(History(short, KINDS), truth), repeats)
    pairs = Parameters(truth.base, truth.weights, np.full((1, KINDS, KINDS), 1.5))
    by_pair, _ = cpu(lambda: gradient(History([sequence], KINDS), pairs), repeats)
    three = Parameters(truth.base, np.repeat(truth.weights / 3, 3, 0), np.array([0.3, 1.5, 8.0]).reshape(3, 1, 1))
    sums, _ = cpu(lambda: gradient(History([sequence], KINDS), three), repeats)
    history = History([sequence], KINDS)
    fitted, found = cpu(lambda: fit(history, np.random.default_rng(0)))
    given, _ = cpu(lambda: fit(history, np.random.default_rng(0), decays=1.5), repeats)
    known, _ = cpu(lambda: observed(history, found))
    window = [(0.0, sequence.length)]
    thinned, events = cpu(lambda: thinning(truth, window, np.random.default_rng(2)))
    branched, _ = cpu(lambda: clusters(truth, window, np.random.default_rng(2)), repeats)
    return [row("hawkes gradient s", spent, "CPU s", target=0.1, peers={"likelihood alone": alone,
                                                                        "likelihood alone, a loop in Python": plain}),
            row("hawkes gradient s, 5,000 sequences", many, "CPU s", peers={"sequences": len(short)}),
            row("hawkes gradient s, a decay for each pair", by_pair, "CPU s"),
            row("hawkes gradient s, three exponentials", sums, "CPU s"),
            row("hawkes fit s", fitted, "CPU s", target=30, peers={"decay given": given}),
            row("hawkes intervals s", known, "CPU s"),
            row("hawkes fit: decay found, of 1.5", found.parameters.decays.item(), ""),
            row("hawkes thinning s", thinned, "CPU s", peers={"events": len(events[0]), "as clusters": branched})]


def coverage(simulations: int) -> list[dict[str, Any]]:
    """How often 95 % intervals hold the planted value: over all parameters, and of the parameter where it is least."""
    rng, hits = np.random.default_rng(0), []
    for _ in range(simulations):
        history = History(clusters(SMALL, [(0.0, 1000.0)], rng), 3)
        known = observed(history, fit(history, rng, starts=1))
        hits.append(np.concatenate([known.base.holds(SMALL.base), known.weights.holds(SMALL.weights).ravel(),
                                    known.decays.holds(SMALL.decays).ravel()]))
    share = np.mean(hits, axis=0)
    return [row("hawkes coverage, mean of 13 parameters", 100 * float(share.mean()), "%", target=90,
                higher_is_better=True, peers={"simulations": simulations}),
            row("hawkes coverage, the least of 13 parameters", 100 * float(share.min()), "%", target=90,
                higher_is_better=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--coverage", action="store_true", help="planted parameters inside their intervals, too")
    parser.add_argument("--simulations", type=int, default=100)
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    found = measure(asked.repeats) + (coverage(asked.simulations) if asked.coverage else [])
    words = "python benchmarks/hawkes.py" + (" --coverage" if asked.coverage else "")
    show(found, asked.json, asked.csv, words)


if __name__ == "__main__":
    main()
