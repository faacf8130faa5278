"""Two components: a permanent shift by a power of time, and traps with log-normal capture and emission times."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from archfab.silicon.aging.model import Model, Parameter, Step, Values, level
from archfab.silicon.aging.traps import Array, moved

CAPTURE = np.linspace(-4.5, 4.5, 28)
"""Capture times of the traps, in standard deviations."""
EMISSION, EMISSION_SHARE = np.polynomial.hermite_e.hermegauss(7)


@lru_cache(maxsize=16)
def rates(tc_s: float, sc: float, ratio: float, se: float) -> tuple[Array, Array, Array]:
    """Capture and emission rates of the traps, and their shares, which add up to 1."""
    capture = np.exp(-np.log(10) * sc * CAPTURE[:, None] + 0 * EMISSION) / tc_s
    emission = capture / ratio * np.exp(-np.log(10) * se * EMISSION)
    shares = np.exp(-CAPTURE[:, None] ** 2 / 2) * EMISSION_SHARE
    return capture.ravel(), emission.ravel(), (shares / shares.sum()).ravel()


class TwoComponent(Model):
    """dVth = P + R. P = Ap V^G e^(-Ep/kT) (d t)^n never recovers; R is what traps hold, each filling towards
    Ar V^G e^(-Er/kT) with its capture time (log-normal: median tc, spread sc decades) and emptying with its emission
    time (ratio times the capture time, log-normal with se decades). After the capture-emission maps of Grasser et al.
    (IEDM 2011) and the permanent and recoverable components of Huard et al. (IRPS 2007)."""

    name = "two-component"
    about = "a permanent power of time, and traps with log-normal capture and emission times"
    source = "Grasser et al., IEDM 2011; Huard et al., IRPS 2007; assumed figures, scaled to the reference set"
    parameters = (
        Parameter("ap_mv", "mV", "permanent shift after 1 s at 1 V overdrive and 398.15 K", 1.0),
        Parameter("n", "", "power of time of the permanent shift", 0.2),
        Parameter("ar_mv", "mV", "all recoverable traps filled, at 1 V overdrive and 398.15 K", 18.0),
        Parameter("tc_s", "s", "median capture time", 30.0),
        Parameter("sc", "decades", "spread of capture times", 2.5),
        Parameter("ratio", "", "emission time over capture time", 5.0, "log", "recovery"),
        Parameter("se", "decades", "spread of emission times about that", 0.8, held=True),
        Parameter("gamma", "", "power of the overdrive", 4.5, "free", "overdrive"),
        Parameter("ep_ev", "eV", "activation energy of the permanent part", 0.12, "free", "kelvin"),
        Parameter("er_ev", "eV", "activation energy of the recoverable part", 0.05, "free", "kelvin"))
    amplitudes: ClassVar = {"ap_mv": "ep_ev", "ar_mv": "er_ev"}

    def _permanent(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any) -> Any:
        return level(values["ap_mv"], values["gamma"], values["ep_ev"], overdrive_v, kelvin) * (
            np.asarray(duty) * np.asarray(seconds)) ** values["n"]

    def _recoverable(self, values: Values, overdrive_v: Any, kelvin: Any) -> Any:
        return level(values["ar_mv"], values["gamma"], values["er_ev"], overdrive_v, kelvin)

    def _rates(self, values: Values) -> tuple[Array, Array, Array]:
        """Capture and emission rates of the traps, and their shares."""
        return rates(values["tc_s"], values["sc"], values["ratio"], values["se"])

    def stressed_mv(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any) -> Any:
        return self.recovering_mv(values, overdrive_v, kelvin, duty, seconds, 0.0)

    def recovering_mv(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any,
                      recovery_s: Any) -> Any:
        on, time, off = np.broadcast_arrays(*map(np.asarray, (duty, seconds, recovery_s)))
        capture, emission, shares = self._rates(values)
        if (on == 1).all():                     # emission waits, so the capture times alone decide what is filled
            captures, share = capture[::len(EMISSION)], shares.reshape(len(CAPTURE), -1)
            held = -np.expm1(-captures * time[..., None])
            if (off == 0).all():
                left = held @ share.sum(axis=1)
            else:
                kept = np.exp(-emission * off[..., None]).reshape(*off.shape, *share.shape)
                left = np.einsum("...i,ij,...ij->...", held, share, kept)
        else:
            fills, empties = on[..., None] * capture, (1 - on[..., None]) * emission
            held = fills / (fills + empties) * -np.expm1(-(fills + empties) * time[..., None])
            left = (held * np.exp(-emission * off[..., None])) @ shares
        return (self._permanent(values, overdrive_v, kelvin, duty, seconds) +
                self._recoverable(values, overdrive_v, kelvin) * left)

    def fresh(self, values: Values) -> tuple[float, Array]:
        return 0.0, np.zeros(len(CAPTURE) * len(EMISSION))

    def step(self, values: Values, overdrive_v: float, kelvin: float, duty: float, seconds: float) -> Step:
        capture, emission, _ = self._rates(values)
        traps = moved(float(self._recoverable(values, overdrive_v, kelvin)), capture, emission, duty, seconds)
        slow, n = float(self._permanent(values, overdrive_v, kelvin, duty, 1.0)), values["n"]

        def on(state: tuple[float, Array]) -> tuple[float, Array]:
            permanent = state[0]
            if slow > 0:
                permanent = max(permanent, slow * ((permanent / slow) ** (1 / n) + seconds) ** n)
            return permanent, traps(state[1])

        return on

    def shift_mv(self, values: Values, state: tuple[float, Array]) -> float:
        return state[0] + float(self._rates(values)[2] @ state[1])
