"""What each candidate is expected to gain, from models of the goals and limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

import numpy as np
from scipy.special import ndtr

from archfab.core import Event, Goals, Limit, Metrics
from archfab.surrogates.catalogue import Catalogue
from archfab.surrogates.gaussian import GaussianProcess, Settings, expected_improvement, normal_scores
from archfab.surrogates.hypervolume import expected_hypervolume_improvement

FEW = 20            # outcomes until which the settings of a model are searched for longer
CLIP = 1.5          # how far below the middle bad values count, in distances from the middle to the best tenth
EDGE = 0.1          # how far beyond the worst of the front the reference point lies, as a share of the front's span
WIDE = 24           # members of a front that a gain in three or more goals is computed with

Figures = Mapping[str, Sequence[float | None]]
Describe = Callable[[Sequence[int]], list[np.ndarray]]


class Scale:
    """Maps one goal's values to numbers that a model learns well: to be small, the best ones told apart, the bad
    ones pulled in (one diverged network must not flatten all others)."""

    def __init__(self, values: np.ndarray, sense: str) -> None:
        self.sign = 1.0 if sense == "min" else -1.0
        y = self.sign * values
        middle, good = np.quantile(y, 0.5), np.quantile(y, 0.1)
        self.most = middle + CLIP * (middle - good)
        if not middle > good:
            self.most = y.max()
        kept = np.minimum(y, self.most)
        self.mean, self.deviation = float(kept.mean()), float(kept.std()) or 1.0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return (np.minimum(self.sign * values, self.most) - self.mean) / self.deviation


class Places:
    """Maps one goal's values to their places among the others as normal deviates, to be small; between two of them and
    beyond the ends in a straight line. Nothing is pulled in: a front has members at both ends of each goal."""

    def __init__(self, values: np.ndarray, sense: str) -> None:
        self.sign = 1.0 if sense == "min" else -1.0
        y = self.sign * values
        self.values, first = np.unique(y, return_index=True)
        self.scores = normal_scores(y)[first]
        ends = self.values[-1] - self.values[0], self.scores[-1] - self.scores[0]
        self.slope = ends[1] / ends[0] if ends[0] > 0 else 1.0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        y = self.sign * values
        beyond = np.minimum(y - self.values[0], 0) + np.maximum(y - self.values[-1], 0)
        return np.interp(y, self.values, self.scores) + self.slope * beyond


class Model:
    """Gaussian processes of the goals and limits of the networks that were tried.

    :param describe: the features of rows of the catalogue, block by block.
    :param events: finished trials, at least one of them scored; a failed one counts as the worst.
    :param settings: of earlier models by name and number of blocks: where the search for settings begins, and ends.
    """

    def __init__(self, catalogue: Catalogue, describe: Describe, events: Sequence[Event], goals: Goals,
                 limits: Sequence[Limit], settings: dict[tuple[str, int], Settings], rng: Random) -> None:
        self.describe = describe
        self.goals = goals
        self.limits = limits
        self.events = events
        self.rows = catalogue.add(event.trial.genotype for event in events if event.trial)
        blocks = describe(self.rows)
        draws = np.random.default_rng(rng.getrandbits(60))
        steps = 24 if len(events) <= FEW or len(events) % 5 == 0 else 4
        self.scales: dict[str, Scale | Places] = {}
        self.models: dict[str, GaussianProcess] = {}
        self.values: dict[str, np.ndarray] = {}
        for name in dict.fromkeys([*goals, *(limit.name for limit in limits)]):
            values = self._values(name, goals.get(name, "min"))
            if values is None:
                continue
            scale = Places if len(goals) > 1 and name in goals else Scale
            self.scales[name] = scale(values, goals.get(name, "min"))
            self.values[name] = self.scales[name](values)
            key = name, len(blocks)
            self.models[name] = GaussianProcess(blocks, self.values[name], draws, settings.get(key), steps)
            settings[key] = self.models[name].settings

    def told(self, hints: Metrics) -> list[str]:
        """The goals and limits that need no model because the hints tell them."""
        return [name for name in self.models if name in hints]

    def gains(self, rows: Sequence[int], figures: Figures | None = None) -> np.ndarray:
        """What each candidate is expected to improve; `figures`: values that are known, by name."""
        found = self._found(rows, figures)
        chance = self._all_kept(found, len(rows))
        kept = self._kept()
        if not kept.any():
            return chance           # nothing to improve on yet: first find what keeps the limits
        if len(self.goals) == 1:
            name = next(iter(self.goals))
            return chance * expected_improvement(*found[name], float(self.values[name][kept].min()))
        return chance * self._hypervolume(found, kept)

    def chance(self, rows: Sequence[int]) -> np.ndarray:
        """The probability that each candidate keeps all limits."""
        return self._all_kept(self._found(rows, None), len(rows))

    def _found(self, rows: Sequence[int], figures: Figures | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Mean and deviation of every goal and limit."""
        blocks = self.describe(rows)
        return {name: self._known(name, figures[name], model.predict(blocks)) if figures and name in figures
                else model.predict(blocks) for name, model in self.models.items()}

    def _all_kept(self, found: Mapping[str, tuple[np.ndarray, np.ndarray]], number: int) -> np.ndarray:
        chance = np.ones(number)
        for limit in self.limits:
            if limit.name in found:
                chance *= self._chance(limit, *found[limit.name])
        return chance

    def _values(self, name: str, sense: str) -> np.ndarray | None:
        """What the trials told of one name; the worst of it where a trial failed."""
        known = [event.metrics[name] for event in self.events if name in event.metrics]
        if not known:
            return None
        worst = max(known) if sense == "min" else min(known)
        return np.array([event.metrics.get(name, worst) for event in self.events])

    def _known(self, name: str, values: Sequence[float | None],
               modelled: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Known values on the scale of the model; what is not known of a network stays modelled."""
        told = np.array([value is not None for value in values])
        exact = self.scales[name](np.array([0.0 if value is None else value for value in values]))
        return np.where(told, exact, modelled[0]), np.where(told, 0.0, modelled[1])

    def _chance(self, limit: Limit, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """The probability that a limit is kept."""
        scale = self.scales[limit.name]
        bound = float(scale(np.array([limit.value]))[0])
        below = (limit.sense == "<=") == (scale.sign > 0)
        z = (bound - mean) / np.maximum(deviation, 1e-9)
        return ndtr(z if below else -z)

    def _kept(self) -> np.ndarray:
        return np.array([event.kind == "ok" and not any(limit.excess(event.metrics) for limit in self.limits)
                         for event in self.events])

    def _hypervolume(self, found: Mapping[str, tuple[np.ndarray, np.ndarray]], kept: np.ndarray) -> np.ndarray:
        from archfab.metrics.pareto import front
        points = np.stack([self.values[name][kept] for name in self.goals], axis=1)
        best = points[front([tuple(point) for point in points])]
        span = np.maximum(best.max(0) - best.min(0), 1e-9)
        reference = best.max(0) + EDGE * span
        if len(self.goals) > 2 and len(best) > WIDE:
            best = best[np.linspace(0, len(best) - 1, WIDE).astype(int)]
        means, deviations = (np.stack([found[name][i] for name in self.goals], axis=1) for i in (0, 1))
        return expected_hypervolume_improvement(means, deviations, [tuple(point) for point in best], tuple(reference))
