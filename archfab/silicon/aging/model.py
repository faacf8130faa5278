"""What a model of ageing is: named parameters, closed forms, and a state that a changing profile moves on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

BOLTZMANN_EV_K = 8.62e-5
"""eV/K, in the three digits that the reference figures were made with: CODATA's 8.61733e-5 gives 34.23 mV where they
print 34.3, this gives all nine to their last digit. In an activation energy the difference is .03 %."""
REFERENCE_K = 398.15
"""The temperature at which amplitudes are stated: 125 C, where stress is usually measured."""

Values = Mapping[str, float]
State = Any
Step = Callable[[State], State]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a model: `log` ones are positive, `share` ones lie between 0 and 1. `needs` names what has to
    vary in measurements for it to be found: overdrive, kelvin, recovery, or nothing; a `held` one is never fitted."""

    name: str
    unit: str
    about: str
    default: float
    scale: Literal["log", "free", "share"] = "log"
    needs: Literal["overdrive", "kelvin", "recovery", ""] = ""
    held: bool = False


class Model(ABC):
    """A model of the threshold shift of a transistor in mV, from gate overdrive, temperature, duty cycle and time."""

    name: ClassVar[str]
    about: ClassVar[str]
    source: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    amplitudes: ClassVar[Mapping[str, str]]     # the parameters that scale the whole shift, and their energies
    recovers: ClassVar[bool] = True

    @abstractmethod
    def stressed_mv(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any) -> Any:
        """The shift after constant conditions from fresh, of arrays that broadcast."""

    @abstractmethod
    def recovering_mv(self, values: Values, overdrive_v: Any, kelvin: Any, duty: Any, seconds: Any,
                      recovery_s: Any) -> Any:
        """The shift after constant conditions from fresh and then `recovery_s` without stress."""

    @abstractmethod
    def fresh(self, values: Values) -> State:
        """The state of a transistor that was never stressed."""

    @abstractmethod
    def step(self, values: Values, overdrive_v: float, kelvin: float, duty: float, seconds: float) -> Step:
        """What one phase of constant conditions makes of a state; without duty or overdrive it recovers."""

    @abstractmethod
    def shift_mv(self, values: Values, state: State) -> float:
        """The shift of a state."""


def level(amplitude: float, gamma: float, activation_ev: float, overdrive_v: Any, kelvin: Any) -> Any:
    """An amplitude at 1 V overdrive and 398.15 K, taken to others: a power of the overdrive times Arrhenius."""
    warmth = np.exp(-activation_ev / BOLTZMANN_EV_K * (1 / np.asarray(kelvin) - 1 / REFERENCE_K))
    return amplitude * np.maximum(overdrive_v, 0.0) ** gamma * warmth


def alternating(duty: Any, exponent: float) -> Any:
    """What a duty cycle leaves of constant stress in reaction-diffusion: (d / (1 + sqrt((1 - d) / 2)))^n."""
    return (np.asarray(duty) / (1 + np.sqrt((1 - np.asarray(duty)) / 2))) ** exponent
