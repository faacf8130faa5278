"""What the tests of Hawkes processes share: a planted process, sequences with every oddity, and sums without tricks."""

import numpy as np

from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes.parameters import Parameters

PLANTED = Parameters(np.array([0.3, 0.5, 0.4]), np.array([[[0.4, 0.25, 0.0], [0.0, 0.3, 0.2], [0.15, 0.0, 0.35]]]),
                     np.full((1, 1, 1), 2.0))


def odd_sequences(rng, number, longest, kinds):
    """Empty ones, ones with equal times, ones that an event opens, windows that begin anywhere."""
    found = []
    for _ in range(number):
        n = int(rng.integers(0, longest + 1))
        times = np.sort(rng.choice(np.round(rng.uniform(5, 15, max(n, 1)), 2), n))
        start = float(times[0]) if n and rng.random() < 0.3 else 4.5
        found.append(Sequence(times, rng.integers(0, kinds, n), start, 16.0))
    return found


def random_parameters(rng, kinds, shape):
    return Parameters(rng.uniform(0.1, 1, kinds), rng.uniform(0, 0.3, (shape[0], kinds, kinds)),
                      rng.uniform(0.1, 4, shape))


def double_sum(sequences, parameters):
    """The log-likelihood with one loop over events and one over their past."""
    decays = np.broadcast_to(parameters.decays, parameters.weights.shape)
    total = 0.0
    for s in sequences:
        total -= parameters.base.sum() * (s.end - s.start)
        for time, kind in zip(s.times, s.types, strict=True):
            total -= (parameters.weights[:, kind] * -np.expm1(-decays[:, kind] * (s.end - time))).sum()
        for i in range(s.given, len(s)):
            k, intensity = s.types[i], parameters.base[s.types[i]]
            for earlier, j in zip(s.times[:i], s.types[:i], strict=True):
                intensity += (parameters.weights[:, j, k] * decays[:, j, k]
                              * np.exp(-decays[:, j, k] * (s.times[i] - earlier))).sum()
            total += np.log(intensity)
    return total
