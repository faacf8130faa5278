"""Local search: climb from the best of some random networks, neighbour by neighbour (White et al., UAI 2021)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archfab.core import Event, Genotype, Goals, Label, Limit, Strategy, Trial, UsageError
from archfab.metrics.pareto import crowding, dominates, front
from archfab.space import Space
from archfab.strategies._members import Key, Member, key, unseen

RULES = ("first", "best")


Change = tuple[str, Label]


@dataclass(slots=True)
class Neighbourhood:
    """The networks one decision away from a member that were not tried. Only the next of them is made."""

    member: Member
    changes: list[Change]               # those after the next, the last one first
    change: Change | None = None        # of the next neighbour
    next: Genotype | None = None        # None when all were tried
    next_key: Key | None = None

    @classmethod
    def of(cls, member: Member, space: Space, tried: set[Key], latest: Mapping[Change, int]) -> Neighbourhood:
        """In random order, but the changes that were tried latest elsewhere come last."""
        changes = [(name, label) for name, taken in member.genotype.items()
                   for label in space.labels[name] if label != taken]
        random.Random(f"{member.number}:{space.id(member.genotype)}").shuffle(changes)
        changes.sort(key=lambda change: -latest.get(change, -1))
        around = cls(member, changes)
        around.advance(space, tried)
        return around

    def advance(self, space: Space, tried: set[Key]) -> None:
        """Makes the next neighbour that was not tried; what a change opens is drawn, once for each change."""
        while self.changes:
            self.change = name, label = self.changes.pop()
            draws = random.Random(f"{self.member.number}:{name}:{label}")
            self.next = space.fix({**self.member.genotype, name: label}, draws)
            self.next_key = key(self.next)
            if self.next_key not in tried:
                return
        self.change = self.next = self.next_key = None


class LocalSearch(Strategy):
    """Tries the neighbours of the best network and moves on to a better one, until none of them is better.

    No network is tried twice as long as there are new ones, and what was tried latest at one network is tried last
    at the next (as the "don't look bits" of Bentley, ORSA J. Computing 1992). At a local optimum the next climb
    begins, by turns, at a random network and at the best network whose neighbours were not all tried. Networks
    that break the limits are compared by how much.

    With several objectives it is Pareto local search (Paquete et al., Metaheuristics for Multiobjective
    Optimisation, 2004): a climb has a front instead of a best network. Whose neighbour comes next is decided
    between two of it by who stands more alone.

    :param neighbour: which better neighbour is moved to: the `first` that is found, or the `best` of all.
    :param initial: random networks before the first climb.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, neighbour: str = "first",
                 initial: int = 10) -> None:
        super().__init__(space, goals, limits)
        if neighbour not in RULES:
            raise UsageError(f"neighbour is one of {', '.join(RULES)}, not {neighbour!r}")
        if not isinstance(initial, int) or isinstance(initial, bool) or initial < 1:
            raise UsageError(f"initial is a whole number from 1 up, not {initial!r}")
        self.neighbour = neighbour
        self.initial = initial
        self.tried: set[Key] = set()
        self.latest: dict[Change, int] = {}         # the number of the last trial of a change
        self.known: dict[Key, Member] = {}
        self.climb: list[Neighbourhood] = []        # of the best network, or of the front
        self.alone: list[float] = []                # how far each of it is from the others
        self.better: list[Member] = []              # waits until all neighbours are known (`best`)
        self.running: set[int] = set()              # neighbours that were asked
        self.explored: set[int] = set()             # members whose neighbours were all tried
        self.optima = 0

    def ask(self, number: int, rng: random.Random) -> Trial:
        left = [i for i, around in enumerate(self.climb) if around.next is not None]
        if number < self.initial or not left:
            return Trial(number, unseen(self.space, self.tried, rng))
        rivals = [left[int(rng.random() * len(left))] for _ in range(2)]
        around = self.climb[max(rivals, key=self.alone.__getitem__)]
        assert around.next is not None
        return Trial(number, around.next, parent=around.member.number)

    def tell(self, event: Event) -> None:
        trial = event.trial
        if trial is None:
            return
        told = key(trial.genotype)
        self.tried.add(told)
        for around in self.climb:
            if around.change and around.next_key == told:
                self.latest[around.change] = trial.number
                around.advance(self.space, self.tried)
        if event.kind == "asked":
            if trial.parent is not None:
                self.running.add(trial.number)
            return
        self.running.discard(trial.number)
        member = Member.of(event, self.goals, self.limits)
        if member is not None and told not in self.known:
            self.known[told] = member
            if self.neighbour == "first" or trial.parent is None:
                self._move(member)
            elif self._improves(member):
                self.better.append(member)
        self._go_on()

    def _improves(self, member: Member) -> bool:
        """Whether nothing of the climb is as good."""
        return not any(beats(around.member, member) or around.member.rank == member.rank for around in self.climb)

    def _move(self, member: Member) -> None:
        """Takes a member into the climb in place of those that it beats, unless one is as good."""
        if not self._improves(member):
            return
        self.climb = [around for around in self.climb if not beats(member, around.member)]
        self.climb.append(Neighbourhood.of(member, self.space, self.tried, self.latest))
        self.alone = crowding([around.member.scores for around in self.climb])

    def _go_on(self) -> None:
        """Moves to what was found, or begins the next climb, once all neighbours are known."""
        while self.climb and not self.running and all(around.next is None for around in self.climb):
            self.explored.update(around.member.number for around in self.climb)
            if self.better:
                for member in sorted(self.better, key=lambda member: member.rank):
                    self._move(member)
                self.better = []
                continue
            self.optima += 1
            self.climb = []
            if self.optima % 2 == 0 and (start := self._unexplored()) is not None:
                self._move(start)

    def _unexplored(self) -> Member | None:
        """The best network whose neighbours were not all tried; with several objectives the loneliest of the best."""
        left = [member for member in self.known.values() if member.number not in self.explored]
        kept = [member for member in left if not member.excess]
        if len(self.goals) == 1 or not kept:
            return min(left, key=lambda member: member.rank, default=None)
        best = [kept[i] for i in front([member.scores for member in kept])]
        alone = crowding([member.scores for member in best])
        return best[alone.index(max(alone))]


def beats(one: Member, other: Member) -> bool:
    """Constrained domination: within the limits by every objective, else by how much they are broken."""
    if one.excess or other.excess:
        return one.rank[:2] < other.rank[:2]
    return dominates(one.scores, other.scores)


export = LocalSearch
