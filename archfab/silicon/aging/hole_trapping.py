"""Hole trapping: traps whose times are spread evenly over decades, so the shift follows the logarithm of time."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from archfab.silicon.aging.model import Model, Parameter, Step, Values, level
from archfab.silicon.aging.traps import Array, moved

FASTEST, SLOWEST, STEP = 4.0, -60.0, 0.4
"""Traps of a state: logarithms of their rates times the shortest time, so that exp(60) of it is still followed; the
rule of trapezoids on such an integrand is exact to 12 digits."""


class HoleTrapping(Model):
    """Stress: dVth = A V^G e^(-Ea/kT) ln(1 + t/t0); after a stress of s, a recovery of r leaves ln(1 + s / (t0 + r/k)),
    where traps emit k times as slowly as they capture. Both are what traps of rates f with the density e^(-f t0) / f
    do, each emitting at f/k (by Frullani's integral); a duty cycle d gives d/l ln(1 + l t/t0) with l = d + (1-d)/k.
    After the trapping models of Tewksbury and Lee (IEEE JSSC 1994) and of Wirth et al. (IEEE TED 2011)."""

    name = "hole-trapping"
    about = "the logarithm of time; emission as capture, but slower"
    source = "Tewksbury and Lee, JSSC 1994; Wirth et al., TED 2011; assumed figures, scaled to the reference set"
    parameters = (
        Parameter("a_mv", "mV", "shift per factor e of time at 1 V overdrive and 398.15 K", 1.0),
        Parameter("gamma", "", "power of the overdrive", 4.5, "free", "overdrive"),
        Parameter("ea_ev", "eV", "activation energy", 0.08, "free", "kelvin"),
        Parameter("t0_s", "s", "the shortest capture time", 1e-4),
        Parameter("ratio", "", "emission time over capture time", 10.0, "log", "recovery"))
    amplitudes: ClassVar = {"a_mv": "ea_ev"}

    def _level(self, values: Values, overdrive_v: Any, kelvin: Any) -> Any:
        return level(values["a_mv"], values["gamma"], values["ea_ev"], overdrive_v, kelvin)

    def stressed_mv(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any) -> Any:
        return self.recovering_mv(values, overdrive_v, kelvin, duty, seconds, 0.0)

    def recovering_mv(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any,
                      recovery_s: Any) -> Any:
        duty = np.asarray(duty)
        both = duty + (1 - duty) / values["ratio"]
        left = values["t0_s"] + np.asarray(recovery_s) / values["ratio"]
        return self._level(values, overdrive_v, kelvin) * duty / both * np.log1p(both * np.asarray(seconds) / left)

    def _rates(self, values: Values) -> Array:
        return np.exp(np.arange(SLOWEST, FASTEST, STEP)) / values["t0_s"]

    def fresh(self, values: Values) -> Array:
        return np.zeros(len(self._rates(values)))

    def step(self, values: Values, overdrive_v: float, kelvin: float, duty: float, seconds: float) -> Step:
        rates = self._rates(values)
        return moved(float(self._level(values, overdrive_v, kelvin)), rates, rates / values["ratio"], duty, seconds)

    def shift_mv(self, values: Values, state: Array) -> float:
        return float(STEP * np.exp(-self._rates(values) * values["t0_s"]) @ state)
