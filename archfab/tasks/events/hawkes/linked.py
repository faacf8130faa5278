"""Hawkes processes with inhibition: weights of any sign, and a link that keeps the intensity from falling below 0."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Sequence as Row
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from archfab.core import UsageError
from archfab.tasks.events.data import Sequence
from archfab.tasks.events.hawkes.fitting import Fit, fit
from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.intervals import Intervals, Range, Z, inverse
from archfab.tasks.events.hawkes.likelihood import hessian
from archfab.tasks.events.hawkes.linked_likelihood import NODES, Likelihood
from archfab.tasks.events.hawkes.parameters import Parameters
from archfab.tasks.events.hawkes.process import Process
from archfab.tasks.events.hawkes.simulation import thinning

LINKS = ("softplus", "relu")
STEPS = 500         # of L-BFGS-B, at most


@dataclass(frozen=True)
class LinkedHawkes(Process):
    """A Hawkes process whose weights may be below 0 (inhibition): its intensity is link(base + excitation).

    There is one decay for all pairs in each exponential (Bremaud and Massoulie, Annals of Probability 1996). The
    compensator is a quadrature between neighbouring events, or exact for relu with one exponential.

    :param softness: [K]: softplus is softness log(1 + exp(x / softness)); None: relu, max(0, x), with a base above 0.
    :param floor: of each intensity, added to what the link gives.
    """

    softness: np.ndarray | None = field(default=None)
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.softness is None and not (self.parameters.base > 0).all():
            raise UsageError("with the link relu every base rate is above 0, else a type may never happen again")
        if self.parameters.decays.shape[1:] != (1, 1):
            raise UsageError("a process with a link has one decay for all pairs in each exponential: decays [M, 1, 1]")

    def link(self, x: np.ndarray) -> np.ndarray:
        if self.softness is None:
            return self.floor + np.maximum(x, 0.0)
        return self.floor + self.softness * np.logaddexp(0, x / self.softness)

    @property
    def exact(self) -> bool:
        return self.softness is None and len(self.parameters.weights) == 1

    @property
    def verdict(self) -> str:
        """Whether the process is stable, in a sentence."""
        excitation = float(np.abs(np.linalg.eigvals(np.maximum(self.parameters.weights, 0).sum(0))).max())
        if excitation < 1:
            return (f"Stable: the spectral radius of the exciting weights alone is {excitation:.3f}, below 1, so that "
                    "a linear process which does not explode lies above this one.")
        return (f"Not known to be stable: the spectral radius of the exciting weights alone is {excitation:.3f}, at or "
                "above 1; only inhibition can keep it from exploding.")

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        found = self.parameters
        return torch.from_numpy(found.base), torch.from_numpy(found.weights), torch.from_numpy(found.decays[:, 0, 0])

    def increments(self, history: History, nodes: int = NODES) -> tuple[np.ndarray, np.ndarray]:
        base, weights, decays = self.tensors()
        likelihood = Likelihood(history, self.softness, nodes)
        with torch.no_grad():
            beyond = likelihood.beyond(base, likelihood.excited(weights, decays), decays).numpy()
        rest = self.link(self.parameters.base)
        after = rest * history.stays[:, None] + beyond
        before = np.concatenate([np.zeros((1, self.kinds)), after[:-1]])[:len(after)]
        before[history.first] = rest * history.times[history.first, None]
        last = np.append(history.first[1:], True)[:len(history)]
        tail = rest * history.length[:, None]
        tail[history.sequence[last]] = after[last]
        return before, tail

    def simulate(self, windows: Iterable[tuple[float, float]], rng: np.random.Generator) -> list[Sequence]:
        """By thinning."""
        return thinning(self.parameters, windows, rng, self.link)

    @classmethod
    def fit(cls, sequences: Row[Sequence], kinds: int, rng: np.random.Generator, link: str = "softplus",
            softness: float = 0.1, components: int = 1, decays: np.ndarray | float | None = None, starts: int = 1,
            steps: int = STEPS, nodes: int = NODES) -> tuple[LinkedHawkes, Fit]:
        """The most likely process, by L-BFGS-B from the linear one and, with more `starts`, from random ones near it.

        :param softness: of softplus, as a share of each type's mean rate.
        :param decays: given ones, a number or [M]; else as many as `components` are fitted.
        :param steps: of L-BFGS-B, at most; a note says where they did not suffice.
        :param nodes: of the quadrature in the fit; with 8 of them it is four times as fast as with 32.
        """
        if link not in LINKS or not softness > 0:
            raise UsageError(f"links are {' and '.join(LINKS)}, with a softness above 0; got '{link}' and {softness}")
        history = History(sequences, kinds)
        if decays is not None and np.ndim(decays) > 1:
            raise UsageError("decays of a process with a link are a number or a list of them, one for each exponential")
        linear = fit(history, rng, decays=decays, components=components)
        rates = np.maximum(history.counts, 0.5) / history.duration
        soft = softness * rates if link == "softplus" else None
        found = [climb(Likelihood(history, soft, nodes), linear, rates, noise, steps)
                 for noise in (None, *(rng.normal(size=linear.parameters.weights.shape) for _ in range(starts - 1)))]
        exact, best, ended = max(found, key=lambda each: each[0])
        process = cls(best, soft)
        notes = [process.verdict, "the compensator is exact" if process.exact else
                 f"the compensator is a quadrature of {nodes} points between neighbouring events"]
        if not process.exact:
            coarse, fine = (sum(float(part.sum()) for part in process.increments(history, each))
                            for each in (nodes, 2 * nodes))
            off = abs(fine - coarse) / len(history.order)
            notes.append(f"twice as many points change the log-likelihood by {off:.1g} nats per event")
        if not ended:
            notes.append(f"the search was stopped after {steps} steps, still climbing: give it more by `steps`")
        if not np.isfinite(exact):
            notes.append("events happened where the fitted intensity is 0: the likelihood is 0; take the link softplus")
        tried = tuple(value for value, _, _ in found)
        return process, Fit(best, exact, np.ones((kinds, kinds), bool), linear.free, tried, tuple(notes))


def climb(likelihood: Likelihood, linear: Fit, rates: np.ndarray, noise: np.ndarray | None,
          steps: int) -> tuple[float, Parameters, bool]:
    """The top of the likelihood that is reached from the linear fit; weights have any sign.

    Steps are measured in standard errors of the linear process, so that one step size suits all parameters.

    :returns: the log-likelihood, its parameters, and whether the search ended by itself.
    """
    from scipy.optimize import minimize
    start, scale = linear.parameters, 1 / len(likelihood.history.order)
    unit = units(likelihood.history, start)
    cuts = np.cumsum([start.base.size, start.weights.size])
    least = torch.from_numpy(1e-3 * rates)
    weights = start.weights if noise is None else start.weights + 0.1 * noise

    def parts(theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        base, weights, decays = (theta * torch.from_numpy(unit)).tensor_split(cuts.tolist())
        return base, weights.view(start.weights.shape), decays.exp()

    def objective(row: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.from_numpy(row).requires_grad_()
        value = -likelihood(*parts(theta), least) * scale
        value.backward()
        assert theta.grad is not None
        return float(value.detach()), theta.grad.numpy()

    row = np.concatenate([np.maximum(start.base, 0.05 * rates), weights.ravel(), np.log(start.decays).ravel()])
    low, high = np.full(len(row), -np.inf), np.full(len(row), np.inf)
    low[:cuts[0]] = 1e-6 * rates if likelihood.softness is None else -np.inf
    reach = 4.0 if linear.free else 0.0                 # of the logarithm of a decay
    low[cuts[1]:], high[cuts[1]:] = row[cuts[1]:] - reach, row[cuts[1]:] + reach
    done = minimize(objective, row / unit, jac=True, method="L-BFGS-B",
                    bounds=np.column_stack([low / unit, high / unit]),
                    options={"maxiter": steps, "maxfun": 10 * steps, "ftol": 1e-10, "gtol": 1e-3 * scale, "maxcor": 30})
    base, weight, decays = (part.numpy() for part in parts(torch.from_numpy(done.x)))
    with torch.no_grad():
        exact = float(likelihood(*parts(torch.from_numpy(done.x))))
    return exact, Parameters(base, weight, decays.reshape(-1, 1, 1)), bool(done.success)


def units(history: History, parameters: Parameters) -> np.ndarray:
    """The standard error of each parameter on its own, decays by their logarithm."""
    information = np.maximum(-np.diag(hessian(history, parameters)), 1e-12)
    factor = np.ones(len(information))
    factor[len(factor) - parameters.decays.size:] = parameters.decays.ravel()
    return np.clip(1 / np.sqrt(information) / factor, 1e-6, 1.0)


def curvature(process: LinkedHawkes, sequences: Row[Sequence]) -> np.ndarray:
    """The exact Hessian of the log-likelihood by (base, weights, decays), each in C order."""
    likelihood = Likelihood(History(sequences, process.kinds), process.softness)
    parts = process.tensors()
    shapes, sizes = [part.shape for part in parts], [part.numel() for part in parts]

    def value(theta: torch.Tensor) -> torch.Tensor:
        return likelihood(*(part.view(shape) for part, shape in zip(theta.split(sizes), shapes, strict=True)))

    theta = torch.cat([part.flatten() for part in parts]).requires_grad_()
    slope: Callable[..., Any] = torch.autograd.grad
    first, = slope(value(theta), theta, create_graph=True)
    return torch.stack([slope(each, theta, retain_graph=True)[0] for each in first]).numpy()


def observed(process: LinkedHawkes, found: Fit, sequences: Row[Sequence]) -> Intervals:
    """95 % intervals from the exact Hessian at the top: normal, on the logarithm for decays; given decays are known."""
    parameters = process.parameters
    values = np.concatenate([parameters.base, parameters.weights.ravel(), parameters.decays.ravel()])
    free = np.full(len(values), True)
    free[len(values) - parameters.decays.size:] = found.free
    covariance = inverse(-curvature(process, sequences), free)
    half = Z * np.sqrt(np.diag(covariance))
    cuts = np.cumsum([parameters.base.size, parameters.weights.size])
    low, high = (np.split(values + sign * half, cuts) for sign in (-1, 1))
    base, weights = (Range(low[i].reshape(each.shape), high[i].reshape(each.shape))
                     for i, each in enumerate((parameters.base, parameters.weights)))
    factor = np.exp(half[cuts[1]:].reshape(parameters.decays.shape) / parameters.decays)
    inner = covariance[cuts[0]:cuts[1], cuts[0]:cuts[1]]
    m, k = len(parameters.weights), process.kinds
    spread = Z * np.sqrt(inner.reshape(m, k * k, m, k * k).sum((0, 2)).diagonal().reshape(k, k))
    return Intervals(base, weights, Range(parameters.decays / factor, parameters.decays * factor),
                     Range(parameters.branching - spread, parameters.branching + spread),
                     Range(np.array(np.nan), np.array(np.nan)), "observed information; none for the spectral radius")
