"""A small example whose best score is known: sequences of a Hawkes process that excites and inhibits."""

from __future__ import annotations

import numpy as np

from archfab.tasks.events.data import Events, Sequence
from archfab.tasks.events.hawkes.linked import LinkedHawkes
from archfab.tasks.events.hawkes.parameters import Parameters

SEED, WINDOW = 20240229, 6.0
SIZES = {"train": 96, "validation": 60, "test": 120}
NAMES = ("order", "failure", "repair")


def process() -> LinkedHawkes:
    """Orders bring orders; failures stop orders and bring repairs; a repair ends failures."""
    weights = np.array([[[0.5, 0.15, 0.0], [-0.9, 0.3, 0.9], [0.2, -0.8, -0.3]]])
    return LinkedHawkes(Parameters(np.array([0.7, 0.25, 0.05]), weights, np.full((1, 1, 1), 1.5)),
                        np.array([0.05, 0.05, 0.05]))


def events() -> Events:
    """Sequences over windows of 6 time units, in three parts."""
    drawn = process().simulate([(0.0, WINDOW)] * sum(SIZES.values()), np.random.default_rng(SEED))
    low, parts = 0, dict[str, list[Sequence]]()
    for name, number in SIZES.items():
        parts[name], low = drawn[low:low + number], low + number
    return Events(parts["train"], parts["validation"], parts["test"], NAMES,
                  f"simulated: {sum(map(len, drawn)):,} events of a Hawkes process with inhibition, seed {SEED}")
