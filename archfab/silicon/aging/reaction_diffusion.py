"""Reaction-diffusion: a power of time while bonds break, and a recovery that scales with the time under stress."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from archfab.silicon.aging.model import Model, Parameter, Step, Values, alternating, level

Rested = tuple[float, float, float, float]


class ReactionDiffusion(Model):
    """Stress: dVth = A V^G e^(-Ea/kT) t^n, n = 1/6 where hydrogen molecules diffuse (1/4 for atoms). Recovery of a time
    r after a stress of s: dVth (q + (1 - q) / (1 + B (r/s)^b)); b = 1/2 is the square root that diffusion back gives,
    a small b the slow, nearly logarithmic one that is measured (universal relaxation, Grasser et al., IEDM 2007; Alam,
    IEDM 2003). A duty cycle follows the long-term form (d / (1 + sqrt((1-d)/2)))^n. State: the
    shift without what recovered, the time under stress, the rest that stress has not undone, and all rest. A time of
    stress undoes as much rest as went with as much stress so far, so that turns of any length come near the long-term
    form; bonds that mended are the first to break again."""

    name = "reaction-diffusion"
    about = "a power of time; recovery by the ratio of the times without and under stress"
    source = "Alam, IEDM 2003; Grasser et al., IEDM 2007; assumed figures, scaled to the reference set at 10 years"
    parameters = (
        Parameter("a_mv", "mV", "shift after 1 s at 1 V overdrive and 398.15 K", 1.0),
        Parameter("gamma", "", "power of the overdrive", 4.5, "free", "overdrive"),
        Parameter("ea_ev", "eV", "activation energy", 0.08, "free", "kelvin"),
        Parameter("n", "", "power of time", 1 / 6),
        Parameter("permanent", "", "share that never recovers", 0.0, "share", held=True),
        Parameter("relax", "", "B of the recovery", 0.7, "log", "recovery"),
        Parameter("beta", "", "power of the ratio of times: 0.5 is the square root", 0.5, "log", "recovery"))
    amplitudes: ClassVar = {"a_mv": "ea_ev"}

    def _level(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any) -> Any:
        return alternating(duty, values["n"]) * level(values["a_mv"], values["gamma"], values["ea_ev"], overdrive_v,
                                                      kelvin)

    def _left(self, values: Values, stress_s: Any, recovery_s: Any) -> Any:
        """The share of the shift that is left."""
        ratio = np.asarray(recovery_s) / np.maximum(stress_s, 1e-300)
        return values["permanent"] + (1 - values["permanent"]) / (1 + values["relax"] * ratio ** values["beta"])

    def stressed_mv(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any) -> Any:
        return self._level(values, overdrive_v, kelvin, duty) * np.asarray(seconds) ** values["n"]

    def recovering_mv(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any,
                      recovery_s: Any) -> Any:
        return self.stressed_mv(values, overdrive_v, kelvin, duty, seconds) * self._left(
            values, seconds, recovery_s)

    def fresh(self, values: Values) -> Rested:
        return 0.0, 0.0, 0.0, 0.0

    def step(self, values: Values, overdrive_v: float, kelvin: float, duty: float, seconds: float) -> Step:
        slow, n = float(self._level(values, overdrive_v, kelvin, duty)), values["n"]

        def recover(state: Rested) -> Rested:
            shift, on, rest, rests = state
            return (shift, on, rest + seconds, rests + seconds) if shift else state

        def stress(state: Rested) -> Rested:
            shift, on, rest, rests = state
            undone = rests * math.log1p(seconds / on) if on else 0.0
            grown = slow * ((shift / slow) ** (1 / n) + seconds) ** n
            return max(shift, grown), on + seconds, max(0.0, rest - undone), rests

        if seconds == 0:
            return lambda state: state
        return stress if slow > 0 else recover

    def shift_mv(self, values: Values, state: Rested) -> float:
        return state[0] * float(self._left(values, state[1], state[2])) if state[2] else state[0]
