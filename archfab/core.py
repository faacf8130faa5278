"""The nouns: every part of archfab is one of these, or passes one of these to another."""

from __future__ import annotations

import os
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from archfab.records import (  # noqa: F401 - all of it is had from here
    Budget,
    BuildError,
    Cost,
    Costs,
    Diverged,
    Estimate,
    Event,
    Exhibit,
    Genotype,
    Goals,
    Hints,
    Job,
    Key,
    Label,
    Lesson,
    Limit,
    Metrics,
    Port,
    Spec,
    Trial,
    Unknown,
    UsageError,
    canonical,
    identity,
    key_of,
    unknown,
)

if TYPE_CHECKING:
    from archfab.hardware.workload import Workload
    from archfab.space import Space


def sources(name: str) -> tuple[str, list[Path]]:
    """The user's name for data in a form that holds in every working directory, and the paths that it stands for."""
    path = Path(os.path.abspath(name))
    return str(path), [path]


class Task(ABC):
    """A model family on a data set."""

    name: str
    paths: tuple[str, ...] = ("data",)
    """The options that name data; `sources` reads them."""
    sources = staticmethod(sources)
    goals: Goals = {"error": "min"}
    """What is optimised when the user does not say."""
    scores: tuple[str, ...] = ("error",)
    """Every number that `score` gives; each may be an objective or a limit."""
    estimator = "training"
    spaces: tuple[str, ...] = ("default",)
    steps_an_epoch = 1

    @abstractmethod
    def space(self, name: str | None = None) -> Any:
        """The description of a space, by its name among `spaces`; the first when no name is given."""

    def known(self, genotype: Genotype) -> Metrics:
        """The score as a known function, for the tasks that have one (the `exact` estimator asks this)."""
        raise UsageError(f"the task '{self.name}' has no known score; take --estimator training")

    def example(self, batch: int = 1) -> tuple[Any, ...] | None:
        """Inputs of the right shape for `batch` samples; None for a task without networks."""
        return None

    def example_for(self, genotype: Genotype, batch: int = 1) -> tuple[Any, ...] | None:
        """The inputs of one network, for tasks where decisions say how large they are."""
        return self.example(batch)

    def budget(self) -> Budget:
        """What one trial trains for when the user does not say."""
        return Budget()

    def full_budget(self) -> Budget:
        """What one delivered network trains for when the user does not say."""
        return self.budget()

    def fit(self, model: Any, budget: Budget, rng: random.Random, full: bool = False,
            rate: float = 1.0) -> list[dict[str, float]]:
        """Trains the model in place; returns its curve, one row an epoch.

        :param full: whether it is trained for delivery. :param rate: the share of the usual learning rate.
        """
        raise UsageError(f"the task '{self.name}' has no networks to train")

    recipe: Any = None
    """How networks are trained, for tasks that give `batches`: a `learning.Recipe`."""

    def batches(self, split: Literal["train", "validation"], rng: random.Random,
                part: tuple[float, float] = (0.0, 1.0)) -> Iterator[Any]:
        """One pass over a split in shuffled batches, those of `train` as training sees them; weights that networks
        share are trained on these.

        :param part: from which to which share of the split; the shares stay the same in every pass.
        """
        raise UsageError(f"the task '{self.name}' gives no batches, so weights cannot be shared on it; search it with "
                         "--estimator training")

    def place(self, model: Any) -> Any:
        """The model where it computes fastest: on the device, in the memory layout."""
        return model

    def answer(self, model: Any, batch: Any) -> Any:
        """What a network says of a batch of (inputs, targets)."""
        return model(*batch[0]) if isinstance(batch[0], tuple) else model(batch[0])

    def loss(self, answer: Any, batch: Any) -> Any:
        """What training makes small, as one number that has a gradient."""
        raise UsageError(f"the task '{self.name}' has no loss")

    def distance(self, answer: Any, other: Any) -> Any:
        """How far an answer is from another network's, which it is to learn from."""
        return ((answer - other) ** 2).mean()

    def score(self, model: Any, split: Literal["validation", "test"] = "validation") -> Metrics:
        """The goals' values on a split, as `Estimate`s where their intervals are known. A search sees `validation`;
        delivery computes `test` once."""
        raise UsageError(f"the task '{self.name}' has no networks to score")

    def inputs(self, number: int) -> tuple[Any, ...]:
        """Real inputs of the test split, to check an exported network against the trained one."""
        raise UsageError(f"the task '{self.name}' has no inputs")

    ports: tuple[tuple[Port, ...], tuple[Port, ...]] = ((Port("input"),), (Port("output"),))
    """The inputs and outputs of an exported network."""

    def exported(self, model: Any) -> Any:
        """The module that is exported in a network's place, where ONNX cannot hold the network as it is."""
        return model

    def preprocessing(self) -> dict[str, Any]:
        """What a user of a delivered network does to raw data before the network sees it, as plain data."""
        return {}

    def exhibits(self, model: Any) -> Iterable[Exhibit]:
        """What comes of a delivered network beside its scores: pictures, tables; computed once, on test data."""
        return ()

    @classmethod
    def predict(cls, models: Sequence[Any], preprocessing: Mapping[str, Any], data: str) -> Iterable[Exhibit]:
        """What delivered networks say of new data; several are an ensemble. Neither the task's data nor its options
        are needed: all that has to be known stands in `preprocessing`."""
        raise UsageError(f"networks of the task '{cls.name}' are used through ONNX or archfab.load_model")

    def baseline(self) -> dict[str, Metrics]:
        """What is reached without any search, by the name of the method: scores, and `test_` scores."""
        return {}


class Strategy(ABC):
    """Proposes networks. It sees the space, the goals, the limits, the hints and the events, nothing else."""

    hints: Hints | None = None
    """Cheap figures by genotype, where there are any: set by the driver before the first `ask`. A figure of a
    goal's name is that goal's value. Deterministic, so a strategy may use them without telling."""
    looks: int = 32
    """How many networks a strategy should ask hints of for one proposal: a network's cost takes milliseconds, a
    table's tens of thousands a second."""
    estimator: str | None = None
    """The estimator that a strategy needs, where not every one will do."""
    multifidelity = False
    """Whether it asks for trials of a share of the budget."""

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = ()) -> None:
        self.space = space
        self.goals = dict(goals)
        self.limits = tuple(limits)

    @abstractmethod
    def ask(self, number: int, rng: random.Random) -> Trial | Lesson | None:
        """The next trial, a lesson that has to come before it, or None when there is nothing left to try. Never
        changes the strategy's state."""

    @abstractmethod
    def tell(self, event: Event) -> None:
        """Takes in one event; the only place where the strategy's state changes."""


class Estimator(ABC):
    """Says how good a genotype is."""

    isolate = True
    """Whether trials are long and heavy enough to run in a worker process of their own."""
    paths: tuple[str, ...] = ()
    """The options that name data; `sources` reads them."""
    sources = staticmethod(sources)
    lowering = "concrete"
    """What it makes of a space: it takes those that this lowering takes."""
    folder: Path | None = None
    """Where the run keeps the weights that its networks share; set before the first lesson."""
    taught = 0
    """After how many lessons a network is to be scored; set before each trial."""
    trials: int | None = None
    """How many trials the search has, where it is bounded by that."""
    multifidelity = True
    """Whether a shorter trial is cheaper and says less: what strategies of several fidelities need."""
    delivers = False
    """Whether `network` has networks that are ready for delivery."""
    same = False
    """Whether a network that it delivers is the same whatever the seed."""
    check = 0
    """How many networks are trained alone at the end of a search, to see whether its scores rank them alike."""

    @abstractmethod
    def estimate(self, task: Task, space: Space, genotype: Genotype, budget: Budget,
                 rng: random.Random) -> tuple[Metrics, list[dict[str, float]]]:
        """Scores by name, and the training curve (empty where there is none). A score named `test_...` is
        reported and never shown to a strategy."""

    def ready(self, task: Task, space: Space) -> None:
        """Raises `UsageError` where it cannot score networks of this space for this task; asked before a run begins."""
        return None

    def lesson(self, lessons: Sequence[Event], tried: float) -> Lesson | None:
        """The lesson that is due after those and so many trials of the search, if one is."""
        return None

    def teach(self, task: Task, space: Space, number: int, data: Mapping[str, Any],
              rng: random.Random) -> Mapping[str, Any]:
        """Gives lesson `number` (from 1): trains shared weights and keeps them in `folder`; what it found, as plain
        data. The same lesson after the same ones gives the same weights.

        :raises Diverged: when they are no longer finite.
        """
        raise UsageError("this estimator shares no weights; for a strategy that teaches some: --estimator relaxed, or "
                         "--estimator supernet")

    def network(self, task: Task, space: Space, genotype: Genotype,
                rng: random.Random) -> tuple[Any, list[dict[str, float]]] | None:
        """A network that is ready for delivery, with its curve; None where it has to be trained from scratch."""
        return None

    def space(self) -> Any:
        """The space that it serves, where it was made for one: what is searched when the user names none."""
        return None

    def elsewhere(self, task: Task) -> str:
        """Where the scores come from, in words, if it is not the task's data: then its intervals and baselines say
        nothing of them."""
        return ""

    def hints(self, task: Task, space: Space, genotype: Genotype) -> Metrics:
        """Cheap figures of a network that need no trial, for strategies that use them."""
        return {}


class Device(ABC):
    """Says what a network costs. It sees the traced operator graph, nothing else."""

    name: str
    about: str
    figures: tuple[str, ...] = ()
    """Names of the costs it gives."""
    sources: Mapping[str, Mapping[str, Any]] = {}
    """Where each of its numbers comes from."""
    capacity: Mapping[str, float] = {}
    """The most of a cost that the device has room for: limits that hold without being asked for."""
    slow = False
    """Whether a cost takes more than some tens of milliseconds, because the network is run: strategies then ask no
    hints of it."""

    decisions: Mapping[str, Sequence[Label]] = {}
    """What of it is still open, by name, with the options: searched together with the network, as `device.NAME`."""

    @abstractmethod
    def cost(self, workload: Workload) -> Costs: ...

    def decided(self, labels: Mapping[str, Label]) -> Device:
        """The device with these of its decisions taken."""
        if labels:
            raise UsageError(f"the device '{self.name}' has no decisions, so {', '.join(labels)} cannot be decided")
        return self

    def ready(self) -> None:
        """Raises `UsageError` where a tool that it needs is not installed; asked before a run begins."""
        return None


class Executor(ABC):
    """Runs jobs and returns events, both plain data."""

    slots: int

    @abstractmethod
    def submit(self, job: Job) -> None: ...

    @abstractmethod
    def next(self) -> Event:
        """The event of the next job that is done; waits for it."""

    def close(self) -> None:  # noqa: B027
        """Ends whatever runs."""
