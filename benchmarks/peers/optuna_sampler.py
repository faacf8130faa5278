"""A sampler of Optuna as a strategy, so that it can be compared: `benchmarks/peers/optuna_sampler.py:sampler=tpe`.

Optuna's `ask` changes its state, so this one cannot resume a run; benchmarks only.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from typing import Any

from archfab.core import Event, Goals, Limit, Strategy, Trial, UsageError
from archfab.space import Space


class OptunaSampler(Strategy):
    """Decisions as conditional categorical parameters, Optuna's defaults otherwise.

    :param sampler: `tpe` (with several goals MOTPE), `random` or `nsgaii`.
    :param population: of `nsgaii`; Optuna's default without it.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, sampler: str = "tpe",
                 population: int = 50) -> None:
        import optuna
        super().__init__(space, goals, limits)
        if limits:
            raise UsageError("this strategy takes no limits")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        makers = {"tpe": lambda seed: optuna.samplers.TPESampler(seed=seed), "random": optuna.samplers.RandomSampler,
                  "nsgaii": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=population)}
        if sampler not in makers:
            raise UsageError(f"no sampler '{sampler}'; known: {', '.join(makers)}")
        self.make = makers[sampler]
        self.study: Any = None
        self.open: dict[int, Any] = {}

    def ask(self, number: int, rng: random.Random) -> Trial:
        import optuna
        if self.study is None:
            self.study = optuna.create_study(
                directions=["minimize" if sense == "min" else "maximize" for sense in self.goals.values()],
                sampler=self.make(rng.randrange(2 ** 31)))
        self.open[number] = trial = self.study.ask()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Trial(number, self.space.walk(
                lambda node: trial.suggest_categorical(node.name, self.space.labels[node.name])))

    def tell(self, event: Event) -> None:
        import optuna
        if event.kind == "ok" and event.trial:
            self.study.tell(self.open.pop(event.trial.number), [event.metrics[name] for name in self.goals])
        elif event.kind in ("failed", "rejected") and event.trial:
            self.study.tell(self.open.pop(event.trial.number), state=optuna.trial.TrialState.FAIL)


export = OptunaSampler
