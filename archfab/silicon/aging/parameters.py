"""Parameter sets: the published one, sets for the other models, and sets that were fitted and saved as TOML."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from archfab.core import UsageError, unknown
from archfab.silicon.aging.bhardwaj import long_term_mv
from archfab.silicon.aging.conditions import YEAR_S, Array
from archfab.silicon.aging.model import BOLTZMANN_EV_K, REFERENCE_K, Model
from archfab.silicon.aging.models import MODELS, model_named

SPREAD = {"amplitude": 0.3, "gamma": 0.5, "ea_ev": 0.02, "n": 0.02}
"""Assumed standard deviations of a set of which nothing was measured here: of the logarithm of the amplitude, the
power of overdrive, the activation energy, the power of time. Published powers of time lie between .13 and .25."""
MEASURED_V, MEASURED_K, MEASURED_S = 1.0, REFERENCE_K, 1e4
"""Where stress is usually measured (overdrive, temperature, time): uncertainty grows with the distance from there."""
Z95 = 1.959964
Origin = Literal["literature", "assumed", "fitted"]


@dataclass(frozen=True)
class ParameterSet:
    """A model with figures for it and where they come from; `replicates` are the parameters of bootstrap samples."""

    name: str
    model: str
    values: Mapping[str, float]
    source: str
    origin: Origin
    replicates: tuple[Mapping[str, float], ...] = field(default=(), repr=False)

    @property
    def of(self) -> Model:
        return model_named(self.model)

    def shift_mv(self, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any) -> Array:
        """The shift under constant conditions."""
        return np.asarray(self.of.stressed_mv(self.values, overdrive_v, kelvin, duty, seconds))

    def bounds_mv(self, vdd_v: Any, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any) -> tuple[Array, Array]:
        """Between what the shift lies as far as the parameters are known, at 95 %.

        With bootstrap samples their 2.5 % and 97.5 % points. Without, a factor from the assumed spread of the
        parameters that grows away from where stress is measured, widened to the second published form
        (`bhardwaj.py`): two parameter sets for one process differ 4 to 5 times.
        """
        value = self.shift_mv(overdrive_v, kelvin, duty, seconds)
        if self.replicates:
            every = [self.of.stressed_mv(each, overdrive_v, kelvin, duty, seconds) for each in self.replicates]
            low, high = np.quantile(np.array(every), [0.025, 0.975], axis=0)
            return np.minimum(low, value), np.maximum(high, value)
        factor = self.factor(overdrive_v, kelvin, seconds)
        other = np.broadcast_to(long_term_mv(vdd_v, kelvin, duty, seconds), value.shape)
        return np.fmin(value / factor, other), np.fmax(value * factor, other)

    def factor(self, overdrive_v: Any, kelvin: Any, seconds: Any) -> Array:
        """Up and down by what factor the shift is uncertain, of a set without bootstrap samples."""
        over, time = np.asarray(overdrive_v, float), np.asarray(seconds, float)
        variance = (SPREAD["amplitude"] ** 2 + (SPREAD["gamma"] * np.log(over / MEASURED_V)) ** 2
                    + (SPREAD["ea_ev"] / BOLTZMANN_EV_K * (1 / np.asarray(kelvin, float) - 1 / MEASURED_K)) ** 2
                    + (SPREAD["n"] * np.log(np.maximum(time, 1.0) / MEASURED_S)) ** 2)
        return np.exp(Z95 * np.sqrt(variance))

    def scaled(self, factor: float) -> ParameterSet:
        """The same with every shift `factor` times as large: a corner of the uncertainty."""
        values = {name: value * factor if name in self.of.amplitudes else value for name, value in self.values.items()}
        return ParameterSet(self.name, self.model, values, self.source, self.origin)


def _oldspot() -> ParameterSet:
    """A = 5.5e12 and B = 8e11 (per cm2), Gamma = 4.5, Ea = 2/3 (.175 - .2) + .58/6 = .080 eV for interface traps and
    .03 eV for holes, 0.027e-12 V cm2 a trap; amplitudes taken to 398.15 K."""
    interface_ev, holes_ev, per_trap_mv = 2 / 3 * (0.175 - 0.2) + 0.58 / 6, 0.03, 0.027e-12 * 1000
    warm = {name: math.exp(-ev / (BOLTZMANN_EV_K * REFERENCE_K)) for name, ev in (("a", interface_ev), ("b", holes_ev))}
    return ParameterSet("oldspot", "power-law", {
        "a_mv": per_trap_mv * 5.5e12 * warm["a"], "gamma": 4.5, "ea_ev": interface_ev, "n": 1 / 6,
        "b_mv": per_trap_mv * 8e11 * warm["b"], "eb_ev": holes_ev},
        "Joshi et al., IRPS 2012, as in OldSpot (github.com/hplp/oldspot)", "literature")


REFERENCE = _oldspot()


@cache
def set_for(model: str) -> ParameterSet:
    """The reference set; for the other models their assumed figures, with the amplitude that gives the reference's
    shift after 10 years of constant stress at 0.6 V overdrive and 378 K."""
    found = model_named(model)
    if model == REFERENCE.model:
        return REFERENCE
    plain = ParameterSet("assumed", model, {each.name: each.default for each in found.parameters}, found.source,
                         "assumed")
    at = (0.6, 378.0, 1.0, 10 * YEAR_S)
    return plain.scaled(float(REFERENCE.shift_mv(*at) / plain.shift_mv(*at)))


def read_set(path: Path) -> ParameterSet:
    """A parameter set from TOML, as `fit-aging --out` writes it.

    :raises UsageError: says what is wrong with the file.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no parameter file {path}; `archfab silicon fit-aging --out FILE` writes "
                         "one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} is no TOML file: {error}") from None
    legal = {"model", "source", "origin", "values", "replicates"}
    if extra := sorted(set(data) - legal):
        raise UsageError(f"{path}: unknown {', '.join(extra)}; legal: {', '.join(sorted(legal))}")
    if not isinstance(data.get("model"), str) or not isinstance(data.get("values"), dict):
        raise UsageError(f"{path} needs model = NAME ({', '.join(MODELS)}) and a table [values]")
    model = model_named(data["model"])
    names = {each.name for each in model.parameters}

    def complete(values: Any, where: str) -> dict[str, float]:
        if not isinstance(values, dict) or set(values) != names:
            given = sorted(values) if isinstance(values, dict) else []
            missing, extra = sorted(names - set(given)), sorted(set(given) - names)
            raise UsageError(f"{path}: {where} of {model.name} " + "; ".join(
                f"{word} {', '.join(some)}" for word, some in (("lacks", missing), ("does not know", extra)) if some))
        for each in model.parameters:
            value = values[each.name]
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number or (each.scale == "log" and value <= 0) or (each.scale == "share" and not 0 <= value <= 1):
                wanted = {"log": "above 0", "share": "from 0 to 1", "free": "that is finite"}[each.scale]
                raise UsageError(f"{path}: {each.name} ({each.about}) has to be a number {wanted}, not {value!r}")
        return {name: float(value) for name, value in values.items()}

    replicates = data.get("replicates", [])
    if not isinstance(replicates, list):
        raise UsageError(f"{path}: replicates has to be a list of tables, one for each bootstrap sample")
    origin = data.get("origin", "fitted" if replicates else "assumed")
    if origin not in get_args(Origin):
        raise unknown("origin", str(origin), get_args(Origin), f"({path})")
    return ParameterSet(path.stem, model.name, complete(data["values"], "[values]"), str(data.get("source", path)),
                        origin,
                        tuple(complete(each, "a replicate") for each in replicates))


def write_set(found: ParameterSet) -> str:
    """The TOML of a set, which `read_set` reads."""
    def table(values: Mapping[str, float]) -> str:
        return ", ".join(f"{name} = {value!r}" for name, value in values.items())

    lines = [f'model = "{found.model}"', f"source = {json.dumps(found.source, ensure_ascii=False)}",
             f'origin = "{found.origin}"', f"values = {{ {table(found.values)} }}", "replicates = ["]
    return "\n".join([*lines, *(f"    {{ {table(each)} }}," for each in found.replicates), "]", ""])
