"""A device from its measurements: every runtime is tried, outliers are found, and what is predicted has an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from archfab.hardware.onboarding.posterior import Posterior, learn, without_each
from archfab.hardware.onboarding.setting import Setting
from archfab.hardware.onboarding.spaces import Networks

NOMINAL = 0.90
NORMAL = 1.6449         # deviations to each side that hold so much
FAR = 3.0               # deviations from what the others say, beyond which a measurement is trusted less
OFF = 4.0               # deviations beyond which it is an outlier and named,
RATIO = 1.3             # if it is off by that factor
ROUNDS = 6
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
    trust: float            # 1: wholly
    outlier: bool


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
             trust: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What the other measurements say of each: values and deviations."""
    found = [without_each(prior, networks.columns(at), latencies, step, trust)
             for at, prior in enumerate(setting.priors)]
    values, deviations, evidence = (np.stack(part) for part in zip(*found, strict=True))
    logs = evidence + np.log(setting.shares)[:, None]
    weights = np.exp(logs - logs.max(0))
    weights /= weights.sum(0)
    mean = (weights * values).sum(0)
    square = (weights * (values**2 + deviations**2)).sum(0)
    return mean, np.sqrt(np.maximum(square - mean**2, 1e-18))


def doubted(setting: Setting, networks: Networks, latencies: np.ndarray,
            step: float) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """How far each measurement is trusted, whether it is an outlier, and what the others say of it. Trust falls with
    the fourth power of how far a measurement is from what the others say, themselves trusted as far; to a fixed
    point."""
    trust = np.ones(len(latencies))
    for _ in range(ROUNDS):
        values, deviations = left_out(setting, networks, latencies, step, trust)
        off = np.abs(latencies - values) / deviations
        before, trust = trust, np.minimum(1.0, (FAR / np.maximum(off, FAR)) ** 4)
        if np.abs(np.log(before / trust)).max() < 0.1:
            break
    outlier = (off > OFF) & (np.abs(np.log(latencies / values)) > math.log(RATIO))
    return trust, outlier, (values, deviations)


def checked(model: Learned, networks: Networks, latencies: np.ndarray, trust: np.ndarray, outlier: np.ndarray,
            others: tuple[np.ndarray, np.ndarray]) -> list[Checked]:
    low, high = model.interval(*others)
    return [Checked(key, float(latencies[i]), float(others[0][i]), float(low[i]), float(high[i]), float(trust[i]),
                    bool(outlier[i])) for i, key in enumerate(networks.keys)]


def rescaled(model: Learned, factor: float) -> Learned:
    return replace(model, factor=factor)
