"""A device from its measurements: every runtime is tried, outliers are found, and what is predicted has an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from archfab.hardware.onboarding.posterior import Posterior, learn
from archfab.hardware.onboarding.setting import Setting
from archfab.hardware.onboarding.spaces import Networks

NOMINAL = 0.90
NORMAL = 1.6449         # deviations to each side that hold so much
OFF = 4.0               # deviations by which a measurement is off, left out of the fit, to be an outlier,
RATIO = 1.3             # and the factor
DOUBT = 1e-4            # how much an outlier is trusted
NEGLIGIBLE = 1e-3       # weight of a runtime that is left out


@dataclass(frozen=True)
class Learned:
    """A device's list under each runtime that may be its own, and how likely that is."""

    posteriors: tuple[Posterior, ...]
    weights: tuple[float, ...]
    runtimes: tuple[int, ...]
    factor: float = 1.0             # of the intervals, as a rehearsal on known devices has it

    def predict(self, networks: Networks) -> tuple[np.ndarray, np.ndarray]:
        """Latencies in ms and their standard deviations, of another measurement."""
        columns = [networks.columns(at) for at in self.runtimes]
        return self.mixed(np.stack([post.values(x) for post, x in zip(self.posteriors, columns, strict=True)]),
                          np.stack([post.deviations(x) for post, x in zip(self.posteriors, columns, strict=True)]))

    def mixed(self, values: np.ndarray, deviations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation over the runtimes, [runtime, network]."""
        shares = np.array(self.weights)
        mean = shares @ values
        return mean, np.sqrt(np.maximum(shares @ (values**2 + deviations**2) - mean**2, 1e-18))

    def at_large(self, bills: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same by the terms alone, [network, term], for networks of no known space."""
        each = np.array([[post.at_large(bill) for bill in bills] for post in self.posteriors])
        return self.mixed(each[..., 0], each[..., 1])

    def interval(self, value: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where another measurement lies with a probability of `NOMINAL`."""
        half = NORMAL * self.factor * deviation
        return np.maximum(value - half, value / (1 + half / value)**2), value + half

    @property
    def noise(self) -> float:
        """The relative deviation of a measurement around the latency, the floor of every interval."""
        return math.sqrt(sum(share * post.noise**2
                             for share, post in zip(self.weights, self.posteriors, strict=True)))


@dataclass(frozen=True)
class Checked:
    """One measurement against what the others say of it."""

    key: str
    measured: float
    predicted: float
    low: float
    high: float
    trusted: bool


def learned(setting: Setting, networks: Networks, latencies: np.ndarray, step: float = 0.0,
            trust: np.ndarray | None = None) -> Learned:
    """The posteriors of all runtimes, weighted by their evidence and by how many known devices have them."""
    found = [learn(prior, networks.columns(at), latencies, step, trust) for at, prior in enumerate(setting.priors)]
    logs = np.array([post.evidence for post in found]) + np.log(setting.shares)
    weights = np.exp(logs - logs.max())
    kept = np.flatnonzero(weights / weights.sum() > NEGLIGIBLE)
    share = weights[kept] / weights[kept].sum()
    return Learned(tuple(found[i] for i in kept), tuple(map(float, share)), tuple(map(int, kept)))


def left_out(setting: Setting, networks: Networks, latencies: np.ndarray, step: float,
             trust: np.ndarray | None = None) -> list[tuple[float, float]]:
    """What the other measurements say of each: value and deviation."""
    found = []
    for i in range(len(networks)):
        others = np.array([j for j in range(len(networks)) if j != i])
        model = learned(setting, networks.take(others), latencies[others], step,
                        None if trust is None else trust[others])
        value, deviation = model.predict(networks.take([i]))
        found.append((float(value[0]), float(deviation[0])))
    return found


def doubted(setting: Setting, networks: Networks, latencies: np.ndarray, step: float,
            most: int) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """How far each measurement is trusted: one that is far from what the others say is hardly; the worst first, at
    most so many. And what the others say of each."""
    trust = np.ones(len(latencies))
    for _ in range(most + 1):
        others = left_out(setting, networks, latencies, step, trust)
        values, deviations = np.array(others).T
        ratios, off = np.abs(np.log(latencies / values)), np.abs(latencies - values) / deviations
        suspect = np.where((off > OFF) & (ratios > math.log(RATIO)) & (trust == 1), ratios, 0.0)
        if not suspect.any() or (trust < 1).sum() == most:
            break
        trust[int(suspect.argmax())] = DOUBT
    return trust, others


def checked(model: Learned, networks: Networks, latencies: np.ndarray, trust: np.ndarray,
            others: Sequence[tuple[float, float]]) -> list[Checked]:
    rows = []
    for i, (value, deviation) in enumerate(others):
        low, high = model.interval(np.array([value]), np.array([deviation]))
        rows.append(Checked(networks.keys[i], float(latencies[i]), value, float(low[0]), float(high[0]),
                            bool(trust[i] == 1)))
    return rows


def rescaled(model: Learned, factor: float) -> Learned:
    return replace(model, factor=factor)
