"""What a Hawkes process is made of, and what follows from it without data: branching, stationarity, rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from archfab.core import UsageError


@dataclass(frozen=True)
class Parameters:
    """The intensity of type k: base[k] + sum over m, j and events l < t of type j of
    weights[m, j, k] decays[m, j, k] exp(-decays[m, j, k] (t - t_l)).

    `weights[:, j, k]` is what j does to k, the source first: its sum over m is the mean number of events of type k that
    an event of type j brings about by itself. Hawkes (Biometrika 1971).

    :param base: [K], events in a unit of time. :param weights: [M, K, K] for M exponentials.
    :param decays: in a unit of time, [M, 1, 1] (one for all pairs), [M, 1, K] (by target) or [M, K, K] (by pair).
    """

    base: np.ndarray
    weights: np.ndarray
    decays: np.ndarray

    def __post_init__(self) -> None:
        m, k = len(self.weights), len(self.base)
        if self.base.ndim != 1 or self.weights.shape != (m, k, k) or self.decays.shape not in (
                (m, 1, 1), (m, 1, k), (m, k, k)):
            raise UsageError(f"parameters of shapes {self.base.shape}, {self.weights.shape} and {self.decays.shape}: "
                             "a base of [K], weights of [M, K, K] and decays of [M, 1 or K, 1 or K] are legal")
        if not (np.isfinite(self.base).all() and np.isfinite(self.weights).all() and np.isfinite(self.decays).all()
                and (self.decays > 0).all()):
            raise UsageError("parameters are finite numbers, and decays are above 0")

    @property
    def kinds(self) -> int:
        return len(self.base)

    def column(self, k: int) -> np.ndarray:
        """The decays of the kernels that excite k: [M, 1 or K]."""
        return self.decays[:, :, k if self.decays.shape[2] > 1 else 0]

    @property
    def kernels(self) -> np.ndarray:
        """What an event adds to the intensities at once: weights times decays, [M, K, K]."""
        return self.weights * self.decays

    @property
    def branching(self) -> np.ndarray:
        """[j, k]: the mean number of events of k that one of j brings about directly."""
        return self.weights.sum(0)

    @property
    def radius(self) -> float:
        """The largest absolute eigenvalue of the branching matrix; the process is stationary below 1."""
        return float(np.abs(np.linalg.eigvals(self.branching)).max())

    @property
    def rates(self) -> np.ndarray:
        """Events of each type in a unit of time in the long run: (I - A^T)^-1 base.

        :raises UsageError: where the process is not stationary, so that there are none.
        """
        if self.radius >= 1:
            raise UsageError(f"the spectral radius of the branching matrix is {self.radius:.4g}: at 1 and above the "
                             "process explodes and has no stationary rates; below 1 it has")
        return np.linalg.solve(np.eye(self.kinds) - self.branching.T, self.base)

    @property
    def endogenous(self) -> np.ndarray:
        """The share of each type's events that other events brought about: 1 - base / rate (Filimonov and Sornette,
        2012); 0 where there are no events."""
        rates = self.rates
        return np.where(rates > 0, 1 - self.base / np.where(rates > 0, rates, 1.0), 0.0)

    @property
    def verdict(self) -> str:
        """Whether the process is stationary, in a sentence."""
        if self.radius >= 1:
            return (f"Not stationary: the spectral radius of the branching matrix is {self.radius:.3f}, at or above 1. "
                    "Simulated for long it explodes; the fit may have missed a trend or a change in the base rate.")
        share = self.endogenous @ self.rates / max(self.rates.sum(), 1e-300)
        return (f"Stationary: the spectral radius of the branching matrix is {self.radius:.3f}, below 1; "
                f"{share:.0%} of the events are brought about by earlier ones.")

    def rescaled(self, unit: float) -> Parameters:
        """The same process where `unit` of the time up to now counts as 1."""
        return Parameters(self.base * unit, self.weights, self.decays * unit)

    def plain(self) -> dict[str, Any]:
        return {"base": self.base.tolist(), "weights": self.weights.tolist(), "decays": self.decays.tolist()}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Parameters:
        return cls(*(np.array(data[name], dtype=float) for name in ("base", "weights", "decays")))
