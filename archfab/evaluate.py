"""One job, start to end: what a worker does with a trial. Plain data in, an event out."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfab import registry
from archfab.core import (
    Budget,
    BuildError,
    Costs,
    Device,
    Diverged,
    Estimate,
    Estimator,
    Event,
    Genotype,
    Job,
    Metrics,
    Spec,
    Task,
    Trial,
    Unknown,
    UsageError,
    identity,
    key_of,
    unknown,
)
from archfab.space import Space, as_space, device_of, joined, network_of, networks_of

if TYPE_CHECKING:
    from archfab.hardware.workload import Workload


class Workbench:
    """The live parts of a run that its spec names: made once in each process that works on it."""

    def __init__(self, spec: Spec, task: Task | None = None, space: Space | None = None,
                 folder: Path | None = None) -> None:
        self.spec = spec
        self.folder = folder
        if task is not None:
            self.task = task
        if space is not None:
            self.space = space
        self.limits = spec.parsed_limits
        self._hints: dict[frozenset[Any], Metrics] = {}
        self._costs: dict[frozenset[Any], Costs] = {}

    @cached_property
    def task(self) -> Task:
        return registry.load("tasks", self.spec.task)(**self.spec.task_options)

    @cached_property
    def space(self) -> Space:
        """The space as its file or task declares it now, where that is what the run was started with; else as the
        run recorded it."""
        if self.spec.space_from and self.spec.task != "object":
            try:
                declared = self.declared()
            except UsageError:
                return Space.from_data(self.spec.space)
            if declared.hash == identity(self.spec.space):
                return declared
        return Space.from_data(self.spec.space)

    def declared(self) -> Space:
        """The space as its file or task and its device declare it now."""
        return joined(find_space(self.task, self.spec.space_from)[0], self.device.decisions)

    def space_now(self) -> str | None:
        """The hash of the space as it is declared now; None where it cannot be read."""
        try:
            return self.declared().hash if self.spec.space_from else None
        except UsageError:
            return None

    @cached_property
    def networks(self) -> Space:
        """The space without the device's decisions: what is built and trained."""
        return networks_of(self.space)

    @cached_property
    def estimator(self) -> Estimator:
        return registry.load("estimators", self.spec.estimator)(**self.spec.estimator_options)

    @cached_property
    def device(self) -> Device:
        return load_device(self.spec.device)

    @cached_property
    def example(self) -> tuple[Any, ...] | None:
        return self.task.example()

    def costs(self, genotype: Genotype) -> Costs:
        """What the network costs on the run's device: its figures, remembered."""
        key = key_of(genotype)
        if key not in self._costs:
            device = self.device.decided(device_of(genotype))
            costs = device.cost(self.workload(genotype)) if self.example is not None else Costs({})
            self._costs[key] = replace(costs, operators=())
        return self._costs[key]

    def workload(self, genotype: Genotype) -> Workload:
        """What the network runs, recorded without training it; it can be made, for devices that run it."""
        from archfab.hardware.network import Network
        from archfab.hardware.tracing import trace
        genotype = network_of(genotype)
        example = self.task.example_for(genotype) or ()

        def make() -> tuple[Any, tuple[Any, ...]]:
            from archfab.lowering.concrete import build
            return self.task.exported(build(self.networks, genotype, example)), example

        return replace(trace(self.networks, genotype, example), network=Network(make))

    def hints(self, genotype: Genotype) -> Metrics:
        """What is known of a network before it is tried: its costs, and what the estimator says of it cheaply."""
        key = key_of(genotype)
        if key not in self._hints:
            try:
                costs = {} if self.device.slow else self.costs(genotype).figures
                known = self.estimator.hints(self.task, self.networks, network_of(genotype))
                self._hints[key] = {**{name: cost.value for name, cost in costs.items()}, **known}
            except BuildError:          # the trial will say why
                self._hints[key] = {}
        return self._hints[key]

    def run(self, job: Job) -> Event:
        """Does a job; whatever goes wrong with a network becomes an event with its reason."""
        if job.kind == "baseline":
            return self._baseline()
        self.estimator.folder = self.folder and self.folder / "shared"
        self.estimator.trials = self.spec.trials
        if job.kind == "lesson":
            return self._teach(**job.data)
        assert job.trial
        self.estimator.taught = job.data.get("taught", 0)
        if job.kind == "deliver":
            from archfab.deliver import deliver
            return deliver(self, job.trial, job.data["folder"], job.data["seeds"])
        return self._check(job.trial) if job.kind == "check" else self._try(job.trial, job.data.get("like"))

    def _teach(self, number: int, data: Mapping[str, Any]) -> Event:
        """A lesson; what ends it early is said in the event."""
        try:
            rng = random.Random(f"{self.spec.seed}:lesson:{number}")
            found = self.estimator.teach(self.task, self.networks, number, data, rng)
            return Event("lesson", data={"number": number, **found})
        except (OSError, UsageError):
            raise
        except Exception as error:
            return Event("lesson", data={"number": number}, note=reason(error))

    def _check(self, trial: Trial) -> Event:
        """A network trained alone for a trial's budget."""
        try:
            alone = registry.load("estimators", "training")()
            rng = random.Random(f"{self.spec.seed}:check:{trial.number}")
            scores, curve = alone.estimate(self.task, self.networks, network_of(trial.genotype),
                                           Budget.from_plain(self.spec.budget), rng)
            return Event("checked", trial, finite(scores), curve=[dict(finite(row)) for row in curve])
        except Exception as error:
            return Event("checked", trial, note=reason(error))

    def _try(self, trial: Trial, like: Mapping[str, Any] | None = None) -> Event:
        """A trial. :param like: the outcome of one that had the same network on another device."""
        figures: dict[str, Any] = {}
        try:
            costs = self.costs(trial.genotype)
            figures = costs.plain()
            metrics: dict[str, float] = {name: cost.value for name, cost in costs.figures.items()}
            if broken := self.broken(metrics):
                return Event("rejected", trial, metrics, figures, note=broken)
            if like is not None:
                known = {name: value for name, value in like["metrics"].items() if name not in metrics}
                figures.update({name: like["figures"][name] for name in known if name in like["figures"]})
                return Event("ok", trial, {**metrics, **known}, figures, like["curve"], like["note"])
            rng = random.Random(f"{self.spec.seed}:train:{trial.number}")
            scores, curve = self.estimator.estimate(self.task, self.networks, network_of(trial.genotype),
                                                    Budget.from_plain(self.spec.budget).scaled(trial.fidelity), rng)
            metrics.update(finite(scores))
            if lacking := [name for name in self.spec.objectives if name not in metrics]:
                unsaid = f"nothing says its {', '.join(lacking)}"
                raise LookupError(unsaid) if curve else Unknown(unsaid)     # what was trained is a trial
            curve = [dict(finite(row)) for row in curve]
            figures.update({name: {"value": float(value), "origin": "measured", "low": value.low, "high": value.high}
                            for name, value in scores.items() if isinstance(value, Estimate)})
            return Event("ok", trial, metrics, figures, curve)
        except Unknown as error:
            return Event("rejected", trial, metrics, figures, note=str(error))
        except Exception as error:
            return Event("failed", trial, {}, figures, note=reason(error))

    def broken(self, metrics: Metrics) -> str:
        """The limits that are broken by what is known, in words; empty when none is."""
        return ", ".join(f"{limit.name} {metrics[limit.name]:.6g} is outside {limit}"
                         for limit in self.limits if limit.excess(metrics))

    def _baseline(self) -> Event:
        if where := self.estimator.elsewhere(self.task):
            return Event("baseline", note=f"the scores are looked up in {where}, which has none")
        try:
            return Event("baseline", data={"scores": {name: finite(found)
                                                      for name, found in self.task.baseline().items()}})
        except Exception as error:
            return Event("baseline", note=reason(error))


def find_space(task: Task, asked: Any) -> tuple[Space, str | None]:
    """The declared space, and where it was read from: the task's own, one of its names, a file, or an object."""
    if asked is None or (isinstance(asked, str) and asked in task.spaces):
        name = asked or task.spaces[0]
        return as_space(task.space(name)), name
    if not isinstance(asked, str | Path):
        return as_space(asked), None
    if not str(asked).endswith(".py"):
        raise unknown("space", str(asked), task.spaces, "(or the path of a .py file that declares `space`)")
    module = registry.user_file(Path(asked))
    if not hasattr(module, "space"):
        raise UsageError(f"{asked} declares no `space`; add a line: space = nn.Sequential(...), or a function "
                         "space(task)")
    declared = module.space
    return as_space(declared(task) if callable(declared) else declared), str(Path(asked).resolve())


def load_device(name: str) -> Device:
    """A device by its name or by the path of its TOML file."""
    numbers = registry.load("devices", name)
    if not isinstance(numbers, dict):
        return numbers()
    if "model" not in numbers:
        raise UsageError(f"the device '{name}' does not say its cost model; add a line: model = \"roofline\"")
    return registry.load("cost-models", numbers["model"])(numbers)


def finite(scores: Metrics) -> Metrics:
    """The scores as plain numbers, or an error naming the one that is not finite."""
    plain = {name: float(value) for name, value in scores.items()}
    for name, value in plain.items():
        if not math.isfinite(value):
            raise Diverged(f"the {name} is {value}")
    return plain


def reason(error: Exception) -> str:
    """One line that says what happened to a network."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:400]}" if words else type(error).__name__


def seen(event: Event) -> Event:
    """The event as a strategy may see it: without scores on test data."""
    if not any(name.startswith("test_") for name in event.metrics):
        return event
    return replace(event, metrics={k: v for k, v in event.metrics.items() if not k.startswith("test_")})


def repeated(event: Event, trial: Trial) -> Event:
    """The same outcome for another trial of the same network."""
    assert event.trial
    note = f"the network of trial {event.trial.number}" + (f": {event.note}" if event.note else "")
    return replace(event, trial=trial, note=note)
