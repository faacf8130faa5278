"""The power law: a shift that grows with a power of time and does not recover."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from archfab.silicon.aging.model import Model, Parameter, Step, Values, alternating, level


class PowerLaw(Model):
    """dVth = g(d) (A V^G e^(-Ea/kT) t^n + B V^G e^(-Eb/kT)) with V the overdrive: interface traps that grow with a
    power of time, and holes that are trapped at once (Joshi et al., IRPS 2012, as OldSpot computes its first step: the
    shift is not taken off the overdrive). A changing profile goes on from the time in which the new conditions would
    have made the present shift."""

    name = "power-law"
    about = "a power of time, with overdrive and Arrhenius; no recovery"
    source = "Joshi et al., IRPS 2012; OldSpot (github.com/hplp/oldspot)"
    parameters = (
        Parameter("a_mv", "mV", "shift after 1 s at 1 V overdrive and 398.15 K", 1.0),
        Parameter("gamma", "", "power of the overdrive", 4.5, "free", "overdrive"),
        Parameter("ea_ev", "eV", "activation energy", 0.08, "free", "kelvin"),
        Parameter("n", "", "power of time", 1 / 6),
        Parameter("b_mv", "mV", "shift at once, at 1 V overdrive and 398.15 K", 0.0, "free", held=True),
        Parameter("eb_ev", "eV", "activation energy of the shift at once", 0.03, "free", held=True))
    amplitudes: ClassVar = {"a_mv": "ea_ev", "b_mv": "eb_ev"}
    recovers = False

    def _levels(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any) -> tuple[Any, Any]:
        share = alternating(duty, values["n"])
        return (share * level(values["a_mv"], values["gamma"], values["ea_ev"], overdrive_v, kelvin),
                share * level(values["b_mv"], values["gamma"], values["eb_ev"], overdrive_v, kelvin))

    def stressed_mv(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any) -> Any:
        slow, prompt = self._levels(values, overdrive_v, kelvin, duty)
        return slow * np.asarray(seconds) ** values["n"] + prompt * (np.asarray(seconds) > 0)

    def recovering_mv(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any,
                      recovery_s: Any) -> Any:
        return self.stressed_mv(values, overdrive_v, kelvin, duty, seconds) + 0 * np.asarray(recovery_s)

    def fresh(self, values: Values) -> float:
        return 0.0

    def step(self, values: Values, overdrive_v: float, kelvin: float, duty: float, seconds: float) -> Step:
        slow, prompt = map(float, self._levels(values, overdrive_v, kelvin, duty))
        n = values["n"]
        if slow <= 0 or seconds == 0:
            return lambda shift: shift

        def on(shift: float) -> float:
            before = (max(0.0, shift - prompt) / slow) ** (1 / n)
            return max(shift, slow * (before + seconds) ** n + prompt)

        return on

    def shift_mv(self, values: Values, state: float) -> float:
        return state
