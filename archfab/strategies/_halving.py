"""What the strategies of several fidelities share: rungs, brackets, and what was tried how long."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from archfab.core import Event, Genotype, Goals, Limit, Strategy, Trial, UsageError
from archfab.space import Space
from archfab.strategies._members import Member, fresh, key


@dataclass(frozen=True, slots=True)
class Rung:
    """A stage of successive halving: how many networks it has, and the share of a whole training that each gets."""

    count: int
    fidelity: float


def rungs(eta: int, least: float) -> tuple[float, ...]:
    """The fidelities 1, 1/eta, 1/eta^2, ... that are not below `least`, the least first."""
    found = [1.0]
    while found[0] / eta >= least * (1 - 1e-9):
        found.insert(0, eta ** -float(len(found)))
    return tuple(found)


def brackets(eta: int, least: float) -> list[list[Rung]]:
    """The brackets of Hyperband, the one with the most and shortest trials first (Li et al., JMLR 2018, algorithm 1).

    Bracket s of 0..S begins with ceil((S + 1) / (s + 1) * eta^s) networks at fidelity eta^-s; each next rung keeps
    one in eta of them, rounded down, and trains them eta times as long. All brackets cost about the same.
    """
    lengths = rungs(eta, least)
    found = []
    for s in reversed(range(len(lengths))):
        count = -(-len(lengths) * eta ** s // (s + 1))
        found.append([Rung(count // eta ** i, fidelity) for i, fidelity in enumerate(lengths[-s - 1:])])
    return found


class Halving(Strategy):
    """Short trials for many networks, longer ones for the best of them.

    A trial whose `parent` is set goes on with the network of that trial, at the next fidelity. A new network is one
    that was not yet tried at that fidelity or a higher one.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit], eta: int, least: float) -> None:
        super().__init__(space, goals, limits)
        if not isinstance(eta, int) or isinstance(eta, bool) or eta < 2:
            raise UsageError(f"eta is how many networks compete for one place, 2 or more, not {eta!r}")
        if not isinstance(least, int | float) or isinstance(least, bool) or not 0 < least <= 1:
            raise UsageError(f"least is the shortest trial as a share, above 0 and at most 1, not {least!r}")
        self.eta = eta
        self.fidelities = rungs(eta, least)
        self.reach: dict[object, float] = {}        # the greatest fidelity at which a network was asked
        self.running: dict[int, Trial] = {}
        self.ended: set[int] = set()

    def tell(self, event: Event) -> None:
        trial = event.trial
        if trial is None or event.kind not in ("asked", "ok", "failed", "rejected") or trial.number in self.ended:
            return
        if trial.number not in self.running:
            self.running[trial.number] = trial
            known = key(trial.genotype)
            self.reach[known] = max(self.reach.get(known, 0.0), trial.fidelity)
            self._begin(trial)
        if event.kind != "asked":
            del self.running[trial.number]
            self.ended.add(trial.number)
            self._end(trial, Member.of(event, self.goals, self.limits), event.kind == "rejected")

    @abstractmethod
    def _begin(self, trial: Trial) -> None:
        """A trial has its place in a rung now."""

    @abstractmethod
    def _end(self, trial: Trial, member: Member | None, rejected: bool) -> None:
        """A trial is over; `member` is what it says, None where that is nothing."""

    def _new(self, fidelity: float, rng: random.Random) -> Genotype | None:
        """A network to begin with; None where all were tried so long."""
        return fresh(self.space, lambda known: self.reach.get(known, 0.0) >= fidelity, rng)

    def _exhausted(self, fidelity: float) -> bool:
        """Whether every network of the space was tried so long."""
        counter = self.space.counter
        return (counter is not None and len(self.reach) >= counter.count
                and sum(reached >= fidelity for reached in self.reach.values()) >= counter.count)
