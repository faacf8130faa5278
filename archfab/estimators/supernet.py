"""Scores networks by weights that all of them share: one training for the whole space."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfab import registry
from archfab.core import Budget, Estimator, Event, Genotype, Lesson, Metrics, Task, UsageError
from archfab.space import Space

if TYPE_CHECKING:
    from archfab.estimators._student import Student

TUNING = 0.5        # share of the usual learning rate at which a delivered network is tuned
CHECKED = 6         # networks that are trained alone


class Supernet(Estimator):
    """Trains one elastic net in lessons of one epoch, then scores each network on its view of the weights.

    A network's running statistics are taken anew before it is scored. A network is delivered with its shared weights,
    without training, or after `finetune` epochs.

    :param supernet: a run whose shared weights are used as they are; without it, weights are trained first.
    :param sampling: on which networks they are trained: spos, fairnas, sandwich, shrinking, attentive or policy.
    :param lessons: epochs of that training.
    :param minutes: bounds it in time instead of lessons; 0: it does not.
    :param every: with `--sampling policy`, trials between two lessons.
    :param batches: batches of training data from which running statistics are taken.
    :param finetune: epochs that a delivered network is trained on, at half the usual learning rate.
    :param retrain: whether a delivered network is trained from scratch instead, as one found otherwise is.
    :param check: networks that are trained alone to see whether shared weights rank as that does: 6, and none with
        weights of another run, which checked them itself.
    """

    lowering = "elastic"
    multifidelity = False
    paths = ("supernet",)

    def __init__(self, *, supernet: str | None = None, sampling: str = "sandwich", lessons: int = 30,
                 minutes: float = 0.0, every: int = 10, batches: int = 8, finetune: float = 0.0,
                 retrain: bool = False, check: int | None = None) -> None:
        if min(lessons, every, batches) < 1 or min(minutes, finetune, check or 0) < 0:
            raise UsageError("lessons, every and batches are numbers from 1 up; minutes, finetune and check from 0 up")
        self.step: Callable[..., float] = registry.load("sampling", sampling)
        self.sampling, self.lessons, self.minutes, self.every = sampling, lessons, minutes, every
        self.batches, self.finetune, self.retrain = batches, finetune, retrain
        if without_use := [f"--{name}" for name, value, usual, use in (
                ("sampling", sampling, "sandwich", not supernet), ("lessons", lessons, 30, not supernet),
                ("minutes", minutes, 0.0, not supernet), ("every", every, 10, sampling == "policy" and not supernet))
                if value != usual and not use]:
            raise UsageError(f"{', '.join(without_use)} would have no effect: "
                             + ("weights of another run are used as they are" if supernet else
                                "only --sampling policy goes back to lessons between trials") + "; leave it out")
        if retrain and finetune:
            raise UsageError("a delivered network is either tuned (--finetune) or trained from scratch (--retrain yes)")
        self.delivers = not retrain
        self.same = not finetune
        self.source = Path(supernet) if supernet else None
        self.check = check if check is not None else 0 if self.source else CHECKED
        self._student: Student | None = None
        self._calibration: list[Any] | None = None

    @staticmethod
    def sources(name: str) -> tuple[str, list[Path]]:
        """A run's folder in full, and the shared weights in it."""
        folder = Path(name) if (Path(name) / "shared").is_dir() else Path("runs") / name
        folder = folder.resolve()
        return str(folder), [folder / "shared"]

    def space(self) -> Any:
        if self.source is None:
            return None
        from archfab.estimators._shared import space_of
        try:
            return space_of(self.source / "shared")
        except UsageError as error:
            raise UsageError(f"{error} (a space of your own file is given again: --space FILE)") from None

    def ready(self, task: Task, space: Space) -> None:
        if self.source:
            self._at(task, space, None)

    def lesson(self, lessons: Sequence[Event], tried: float) -> Lesson | None:
        if self.source:
            return None
        total = lessons[-1].data.get("of", self.lessons) if lessons else self.lessons
        follows = self.sampling == "policy"
        if follows and self.trials:
            total = min(total, 1 + (self.trials - 1) // self.every)
        due = min(total, 1 + int(tried // self.every)) if follows else total
        left = self.minutes - sum(event.data.get("seconds", 0.0) for event in lessons) / 60
        if len(lessons) >= due or (self.minutes and left <= 0):
            return None
        from archfab.sampling.policy import PROPOSALS
        return Lesson({"of": total, **({"minutes": left} if self.minutes else {}),
                       **({"proposals": PROPOSALS} if follows else {})})

    def teach(self, task: Task, space: Space, number: int, data: Mapping[str, Any],
              rng: random.Random) -> Mapping[str, Any]:
        from archfab.estimators._shared import keep
        from archfab.learning import seed_torch
        assert self.folder is not None
        seed_torch(random.Random(rng.getrandbits(60)))      # of new weights; those that are read need none
        student = self._at(task, space, number - 1, teaching=True)
        seed_torch(rng)
        student.proposals = data.get("proposals", [])
        start, self._student = time.monotonic(), None       # a lesson that fails leaves nothing half-trained behind
        found = student.epoch(self.step, number, data, rng)
        keep(self.folder, number, task, space, student.net, {"weights": student.optimizer})
        student.lessons, self._student = number, student
        seconds = {"seconds": round(time.monotonic() - start, 1)} if self.minutes else {}
        return {**found, **seconds}

    def estimate(self, task: Task, space: Space, genotype: Genotype, budget: Budget,
                 rng: random.Random) -> tuple[Metrics, list[dict[str, float]]]:
        return dict(task.score(self._ready(task, space, genotype), "validation")), []

    def network(self, task: Task, space: Space, genotype: Genotype,
                rng: random.Random) -> tuple[Any, list[dict[str, float]]] | None:
        if self.retrain:
            return None
        model = self._ready(task, space, genotype)
        if not self.finetune:
            return model, []
        return model, task.fit(model, Budget(epochs=self.finetune), rng, full=True, rate=TUNING)

    def _ready(self, task: Task, space: Space, genotype: Genotype) -> Any:
        """A network with a copy of its weights and its own running statistics."""
        from archfab.learning import calibration, recalibrate
        student = self._at(task, space, self.taught if self.source is None else None)
        model = student.net.extract(genotype)
        if self._calibration is None:
            self._calibration = calibration(task, self.batches)
        recalibrate(model, task, self._calibration)
        return model

    def _at(self, task: Task, space: Space, lessons: int | None, teaching: bool = False) -> Student:
        """The shared weights after so many lessons; of another run, after its last one."""
        from archfab.estimators._shared import file_of, read, restore
        from archfab.estimators._student import Student
        known = self._student
        if known is not None and lessons in (None, known.lessons) and (known.teaches or not teaching):
            return known
        folder = self.source / "shared" if self.source else self.folder
        assert folder is not None
        student = Student(task, space)
        if lessons != 0:
            state = read(folder, lessons, task, space)
            restore(state, student.net, {"weights": student.optimizer} if teaching else {},
                    file_of(folder, state["lesson"]))
            student.lessons = state["lesson"]
        student.teaches = teaching
        self._student = student
        return student


export = Supernet
