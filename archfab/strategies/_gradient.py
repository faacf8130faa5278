"""What the strategies that learn by gradients share: lessons first, then the networks that their decisions point at."""

from __future__ import annotations

import heapq
import math
import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from archfab.core import Event, Genotype, Goals, Label, Lesson, Limit, Strategy, Trial, UsageError, key_of
from archfab.space import Space

SKIPS = ("torch.nn:Identity", "archfab.nn.cells:HalveModule")
ZEROS = ("archfab.nn.cells:ZeroModule",)
SUMS = 4            # random networks on which it is seen whether the differences of a table of costs add up
STARTS = 5          # random networks from which one is sought that keeps the limits, where the likely ones lead nowhere
MOST = 500          # networks looked at in the order of their probability for one that keeps the limits


class Gradient(Strategy):
    """Asks for lessons in which a mixture is trained, then for the most probable networks, one after the other."""

    estimator = "relaxed"
    zeros = True
    """Whether an option that gives nothing may be chosen. In a sum of all options its weight only scales the others,
    which norms undo, so that it says nothing of its use (DARTS, section 2.4)."""

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, lessons: int = 50,
                 rate: float = 3e-3, warm: float = 0.0) -> None:
        super().__init__(space, goals, limits)
        if lessons < 1 or not 0 < rate < math.inf or not 0 <= warm < 1:
            raise UsageError("lessons are a whole number from 1 up, rate is a number above 0, and warm a share from 0 "
                             "to below 1")
        self.total, self.rate, self.warm = lessons, rate, warm
        self.done = 0
        self.chances: dict[str, dict[Label, float]] = {}        # by decision, of each label that is open
        self.tried: set[Any] = set()
        self.queue: list[tuple[float, int, dict[str, Label]]] = []      # to be tried, the likeliest first
        self.seen: set[Any] = set()
        self.skips = options_of(space, SKIPS)
        self.nothing = {} if self.zeros else options_of(space, ZEROS)        # what is never chosen

    # --- lessons

    def ask(self, number: int, rng: random.Random) -> Trial | Lesson | None:
        if self.done < self.total:
            return Lesson({"of": self.total, "rate": self.rate, "warm": self.warm,
                           "learns": self.progress >= self.warm, **self.lesson()})
        return Trial(number, self.queue[0][2]) if self.queue else None

    @property
    def progress(self) -> float:
        return self.done / self.total

    @abstractmethod
    def lesson(self) -> dict[str, Any]:
        """What the next lesson is: the weighting of the options, and what else the method is made of."""

    def tell(self, event: Event) -> None:
        if event.kind == "lesson" and not event.note:
            self.done += 1
            self.taught(event.data)
            if self.done >= self.total:
                self.begin()
        elif event.kind == "ended" and event.data.get("phase") == "lessons":
            self.total = self.done
            self.begin()
        elif event.trial is not None and event.kind in ("asked", "ok", "failed", "rejected"):
            self.tried.add(key_of(event.trial.genotype))
            self.advance()

    def taught(self, data: Mapping[str, Any]) -> None:
        """Takes in what a lesson found."""
        self.chances = {name: {label: 0.0 if label in self.nothing.get(name, ()) else chance
                               for label, chance in zip(data["labels"][name], found, strict=True)}
                        for name, found in data["chances"].items()}
        self.total = max(self.done, min(self.total, data.get("of", self.total)))

    # --- the networks that come of it

    def likely(self) -> dict[str, Label]:
        """The network of the most probable options."""
        return self.space.walk(lambda node: best(self.chances.get(node.name), self.space.labels[node.name]))

    def begin(self) -> None:
        """Puts the most probable network first in the queue of those to try."""
        start = self.likely()
        self.queue = [(0.0, 0, start)]
        self.seen = {key_of(start)}
        self.advance()

    def advance(self) -> None:
        """Brings the most probable network that was not tried and keeps the limits to the front of the queue: of what
        was found to be reachable by changing one decision after another."""
        looked = 0
        while self.queue and not self.fits(self.queue[0][2]):
            if looked == MOST:
                starts = (self.queue[0][2], *(self.space.sample(random.Random(i)) for i in range(STARTS)))
                found = next((near for start in starts if (near := self.downhill(start))), None)
                self.queue = [(self.gap(found), 0, found)] if found else []
                return
            _, _, genotype = heapq.heappop(self.queue)
            looked += 1
            for near in self.space.neighbours(genotype):
                if key_of(near) not in self.seen:
                    self.seen.add(key_of(near))
                    heapq.heappush(self.queue, (self.gap(near), len(self.seen), near))

    def downhill(self, genotype: dict[str, Label]) -> dict[str, Label] | None:
        """A network that keeps the limits, by changing one decision after another to the neighbour that breaks them the
        least, the likeliest of several; None where the last one still breaks them."""
        over = self.excess(genotype)
        while over > 0:
            least, _, near = min(((self.excess(near), self.gap(near), near) for near in
                                  self.space.neighbours(genotype)), key=lambda found: found[:2])
            if least >= over:
                return None
            over, genotype = least, near
        return genotype if key_of(genotype) not in self.tried else None

    def fits(self, genotype: Genotype) -> bool:
        """Whether a network is new and keeps the limits, as far as its figures are known."""
        return key_of(genotype) not in self.tried and not self.excess(genotype)

    def excess(self, genotype: Genotype) -> float:
        """By how much a network breaks the limits, as far as its figures are known."""
        if not self.limits or self.hints is None:
            return 0.0
        known = self.hints(genotype)
        return sum(limit.excess(known) for limit in self.limits)

    def gap(self, genotype: Genotype) -> float:
        """By how much less probable a network's options are than the most probable ones, as a logarithm."""
        total = 0.0
        for name, label in genotype.items():
            if known := self.chances.get(name):
                total += math.log(max(known.values())) - math.log(max(known.get(label, 0.0), 1e-12))
        return total

    def skipping(self) -> dict[str, list[str]]:
        """The decisions of the likely network that take a skip connection, by cell; decisions of a cell share the name
        before the point."""
        found: dict[str, list[str]] = {}
        for name, label in self.likely().items():
            if label in self.skips.get(name, ()):
                found.setdefault(name.partition(".")[0] if "." in name else "", []).append(name)
        return found

    def skipped(self) -> int:
        """The most skip connections that one cell of the likely network has."""
        return max(map(len, self.skipping().values()), default=0)

    def limit_skips(self, most: int) -> None:
        """Gives the place of the weakest skips of a cell to the next best option, until no more are left than that."""
        while movable := [name for names in self.skipping().values() if len(names) > most
                          for name in names if any(self.without_skips(name).values())]:
            weakest = min(movable, key=lambda name: max(self.chances[name].values()))
            self.chances[weakest] = self.without_skips(weakest)

    def without_skips(self, name: str) -> dict[Label, float]:
        """The chances of a decision's options, of skips none."""
        return {label: 0.0 if label in self.skips[name] else chance
                for label, chance in self.chances.get(name, {}).items()}

    def costs(self, name: str, weight: float, form: str) -> dict[str, Any]:
        """What the network costs with each option in place of the likely one, from the hints: a table around the likely
        network. An option that cannot be built beside the others counts as the likely one does. It is `additive` where
        its differences add up to what some random networks cost, as those of a lookup table do."""
        assert self.hints is not None
        base = self.likely()
        at = self.hints(base)[name]
        table = {choice: {"labels": list(self.space.labels[choice]),
                          "costs": [self.hints(self.space.fix({**base, choice: other})).get(name, at)
                                    for other in self.space.labels[choice]]} for choice in base}
        return {"name": name, "base": at, "table": table, "weight": weight, "form": form,
                "additive": self.adds_up(name, base, at, table)}

    def adds_up(self, name: str, base: Genotype, at: float, table: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether the differences in a table around a network add up to the costs of random ones."""
        assert self.hints is not None
        rng = random.Random("additive")
        for _ in range(SUMS):
            drawn = self.space.fix({choice: rng.choice(self.space.labels[choice]) for choice in base})
            cost = self.hints(drawn).get(name)
            if cost is None or drawn.keys() != base.keys():
                return False
            total = at + sum(row["costs"][row["labels"].index(drawn[choice])] - at for choice, row in table.items())
            if not math.isclose(total, cost, rel_tol=1e-6):
                return False
        return True


def best(chances: Mapping[Label, float] | None, labels: Sequence[Label]) -> Label:
    return max(chances, key=lambda label: chances[label]) if chances else labels[0]


def options_of(space: Space, makes: Sequence[str]) -> dict[str, list[Label]]:
    """The options that are a module of one of these classes, by decision."""
    found = {name: [label for label, option in options if isinstance(option, Mapping) and option.get("make") in makes]
             for name, options in space.data["choices"].items()}
    return {name: labels for name, labels in found.items() if labels}
