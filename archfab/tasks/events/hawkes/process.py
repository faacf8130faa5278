"""Hawkes and Poisson processes as one kind of thing: fitted, scored, simulated, asked for what comes next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from collections.abc import Sequence as Row
from dataclasses import dataclass
from typing import Any

import numpy as np

from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes import compensator
from archfab.tasks.events.hawkes.fitting import Fit, fit
from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.likelihood import at_events
from archfab.tasks.events.hawkes.parameters import Parameters
from archfab.tasks.events.hawkes.prediction import Prediction, predict
from archfab.tasks.events.hawkes.simulation import clusters, thinning
from archfab.tasks.events.residuals import Residuals, residuals


@dataclass(frozen=True)
class Process(ABC):
    """A point process whose linear intensity is that of `Parameters`."""

    parameters: Parameters

    @property
    @abstractmethod
    def exact(self) -> bool:
        """Whether the compensator is a closed form."""

    @property
    def kinds(self) -> int:
        return self.parameters.kinds

    @abstractmethod
    def link(self, x: np.ndarray) -> np.ndarray:
        """Intensities [..., K] from linear ones."""

    @abstractmethod
    def increments(self, history: History) -> tuple[np.ndarray, np.ndarray]:
        """The compensator by type before each event, [N, K], and after the last of each sequence, [S, K]."""

    @abstractmethod
    def simulate(self, windows: Iterable[tuple[float, float]], rng: np.random.Generator) -> list[Sequence]:
        """Sequences drawn over windows of time, each from an empty past."""

    def log_likelihoods(self, sequences: Row[Sequence]) -> np.ndarray:
        """The log-likelihood of each sequence, [S]; an event whose intensity is 0 makes it -inf."""
        history = History(sequences, self.kinds)
        before, tail = self.increments(history)
        owner = history.sequence[history.order]
        with np.errstate(divide="ignore"):
            gained = np.bincount(owner, np.log(self.at_events(history)), minlength=len(tail))
        return gained - np.bincount(history.sequence, before.sum(1), minlength=len(tail)) - tail.sum(1)

    def at_events(self, history: History) -> np.ndarray:
        """The intensity of its type at each scored event, in `history.order`."""
        linear, types = at_events(history, self.parameters), history.types[history.order]
        return self.link(np.where(np.arange(self.kinds) == types[:, None], linear[:, None], 0.0))[
            np.arange(len(types)), types]

    def log_likelihood(self, sequences: Row[Sequence]) -> float:
        """The mean log-likelihood per scored event, in nats."""
        return float(self.log_likelihoods(sequences).sum() / max(1, sum(sequence.scored for sequence in sequences)))

    def intensity(self, sequence: Sequence, at: np.ndarray) -> np.ndarray:
        """Each type's intensity just before some times, [Q, K]."""
        return self.link(compensator.intensity(sequence, self.parameters, np.asarray(at, float)))

    def compensators(self, sequences: Row[Sequence]) -> list[np.ndarray]:
        """For each sequence [n + 1, K]: the integral of each intensity from event to event and to the window's end."""
        history = History(sequences, self.kinds)
        return compensator.by_sequence(history, *self.increments(history))

    def residuals(self, sequences: Row[Sequence], names: Row[str]) -> Residuals:
        """The time-rescaling residuals; see `archfab.tasks.events.residuals`."""
        return residuals(sequences, self.compensators(sequences), names)

    def predict(self, sequences: Row[Sequence]) -> Prediction:
        """Time and type of each event from those before it, all sequences one after the other; and, after the last
        event of each sequence, of the one to come: n + 1 rows for a sequence of n."""
        history, found = History(sequences, self.kinds), self.parameters
        after = compensator.excitations(history, found)
        rows = [np.concatenate([np.zeros((1, *after.shape[1:])), part])
                for part in np.split(after, np.cumsum(history.sizes)[:-1])]
        states = np.concatenate(rows)

        def intensity(part: slice, waits: np.ndarray) -> np.ndarray:
            fallen = np.exp(-found.decays[..., None] * waits)                       # [M, J, 1 or K, Q]
            excited = np.einsum("nmjk,mjkq->nqk", states[part], np.broadcast_to(
                fallen, (*after.shape[1:], len(waits))))
            return self.link(found.base + excited)

        rest = float(self.link(found.base).sum())
        far = 40 / max(rest, 1e-12) + (20 / found.decays.min() if found.decays.size else 0.0)
        return predict(intensity, len(states), far, max(1, 2_000_000 // (400 * self.kinds)))

    def plain(self) -> dict[str, Any]:
        return {"process": type(self).__name__, **self.parameters.plain()}


class Hawkes(Process):
    """A linear Hawkes process; without exponentials it is a Poisson process. Its compensator is exact."""

    exact = True

    def link(self, x: np.ndarray) -> np.ndarray:
        return x

    def increments(self, history: History) -> tuple[np.ndarray, np.ndarray]:
        return compensator.increments(history, self.parameters)

    def at_events(self, history: History) -> np.ndarray:
        return at_events(history, self.parameters)

    def simulate(self, windows: Iterable[tuple[float, float]], rng: np.random.Generator,
                 method: str = "clusters") -> list[Sequence]:
        """By clusters of offspring, or by `thinning`: the law is the same."""
        return (thinning if method == "thinning" else clusters)(self.parameters, windows, rng)

    @classmethod
    def fit(cls, sequences: Row[Sequence], kinds: int, rng: np.random.Generator, **how: Any) -> tuple[Hawkes, Fit]:
        """The most likely process, and what is known of the fit; options as those of `fitting.fit`."""
        found = fit(History(sequences, kinds), rng, **how)
        return cls(found.parameters), found


def poisson(sequences: Row[Sequence], kinds: int) -> Hawkes:
    """The baseline that knows nothing of the past: each type comes at its mean rate (half an event in all where none
    came)."""
    return Hawkes(fit(History(sequences, kinds), np.random.default_rng(0), decays=np.zeros((0, 1, 1))).parameters)


def univariate(sequences: Row[Sequence], kinds: int, rng: np.random.Generator, **how: Any) -> tuple[Hawkes, Fit]:
    """The baseline in which each type excites itself alone, each with a decay of its own."""
    return Hawkes.fit(sequences, kinds, rng, allowed=np.eye(kinds, dtype=bool), **{"tie": "target", **how})
