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
WORTH = 10.0            # measurements that the deviations of the posterior are worth, against those of the device's own
NEGLIGIBLE = 1e-3       # weight of a runtime that is left out


@dataclass(frozen=True)
class Learned:
    """A device's list under each runtime that may be its own, and how likely that is."""

    posteriors: tuple[Posterior, ...]
    weights: tuple[float, ...]
    runtimes: tuple[int, ...]
    factor: float = 1.0             # of the intervals, as its own measurements and a rehearsal on known devices have it

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
class Doubts:
    """Each measurement against what the others say of it."""

    values: np.ndarray      # what they say, ms
    deviations: np.ndarray  # of a measurement around that, ms
    off: np.ndarray         # by how many of them it is off
    trust: np.ndarray       # 1: wholly
    outlier: np.ndarray


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


def studied(setting: Setting, networks: Networks, latencies: np.ndarray, step: float = 0.0,
            keep_outliers: bool = False) -> tuple[Learned, Doubts]:
    """A device from its measurements: outliers found, unless they are to be kept, and the intervals as wide as its own
    measurements are from what the others say of them."""
    doubts = doubted(setting, networks, latencies, step, keep_outliers)
    model = learned(setting, networks, latencies, step, doubts.trust)
    off = np.minimum(doubts.off, OFF)[~doubts.outlier]
    return replace(model, factor=math.sqrt((WORTH + float(off @ off)) / (WORTH + len(off)))), doubts


def doubted(setting: Setting, networks: Networks, latencies: np.ndarray, step: float,
            keep_outliers: bool = False) -> Doubts:
    """Trust falls with the fourth power of how far a measurement is from what the others say, themselves trusted as
    far; to a fixed point."""
    def against_others(trust: np.ndarray) -> Doubts:
        values, deviations = left_out(setting, networks, latencies, step, trust)
        off = np.abs(latencies - values) / deviations
        return Doubts(values, deviations, off, trust,
                      (off > OFF) & (np.abs(np.log(latencies / values)) > math.log(RATIO)))

    found = against_others(np.ones(len(latencies)))
    if keep_outliers:
        return replace(found, outlier=np.zeros(len(latencies), bool))
    for _ in range(ROUNDS):
        trust = np.minimum(1.0, (FAR / np.maximum(found.off, FAR)) ** 4)
        if np.abs(np.log(found.trust / trust)).max() < 0.1:
            break
        found = against_others(trust)
    return found


def checked(model: Learned, networks: Networks, latencies: np.ndarray, doubts: Doubts) -> list[Checked]:
    low, high = model.interval(doubts.values, doubts.deviations)
    return [Checked(key, float(latencies[i]), float(doubts.values[i]), float(low[i]), float(high[i]),
                    float(doubts.trust[i]), bool(doubts.outlier[i])) for i, key in enumerate(networks.keys)]


def rescaled(model: Learned, factor: float) -> Learned:
    """With intervals that are wider by a factor."""
    return replace(model, factor=model.factor * factor)
