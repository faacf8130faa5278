"""What measurements could not tell of a model, spread in its bootstrap samples as it is for sets of others."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from archfab.silicon.aging.model import Model, Parameter, Values, level
from archfab.silicon.aging.parameters import SPREAD

RECOVERY = 1.15
"""Assumed standard deviation of the logarithm of what only recovery tells: 95 % lie within ten times up or down."""


def spread(model: Model, samples: Collection[Values], names: Collection[str], overdrive_v: float, kelvin: float,
           rng: np.random.Generator) -> tuple[Mapping[str, float], ...]:
    """Samples in which the parameters `names`, which were held for want of data, vary too. Shifts at the overdrive and
    temperature that were measured stay what they were: amplitudes make good for the other power and energy there."""
    return tuple(_one(model, each, names, overdrive_v, kelvin, rng) for each in samples)


def _one(model: Model, sample: Values, names: Collection[str], overdrive_v: float, kelvin: float,
         rng: np.random.Generator) -> Mapping[str, float]:
    values = {each.name: _drawn(each, sample[each.name], rng) if each.name in names else sample[each.name]
              for each in model.parameters}
    for amplitude, energy in model.amplitudes.items():
        before, after = (level(1.0, each["gamma"], each[energy], overdrive_v, kelvin) for each in (sample, values))
        values[amplitude] *= float(before / after)
    return values


def _drawn(parameter: Parameter, value: float, rng: np.random.Generator) -> float:
    chance = float(rng.standard_normal())
    if parameter.needs == "overdrive":
        return value + SPREAD["gamma"] * chance
    if parameter.needs == "kelvin":
        return value + SPREAD["ea_ev"] * chance
    return value * float(np.exp(RECOVERY * chance))
