"""Hyperband: brackets of successive halving, from many short trials to few whole ones (Li et al., JMLR 2018)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from archfab.core import Goals, Limit, Trial
from archfab.metrics.levels import Levels
from archfab.space import Space
from archfab.strategies._halving import Halving, Rung, brackets
from archfab.strategies._members import Member, key


@dataclass(slots=True)
class Bracket:
    """One bracket on its way: the rung that it is at, and what that rung waits for."""

    rungs: list[Rung]
    places: int                                         # for new networks, all in the first rung
    at: int = 0
    running: int = 0
    queue: list[Member] = field(default_factory=list)   # promoted into this rung and not yet asked
    members: list[Member] = field(default_factory=list)     # that have ended in this rung

    @property
    def fidelity(self) -> float:
        return self.rungs[self.at].fidelity


class Hyperband(Halving):
    """Successive halving with every trade between many networks and long training, in turn.

    A rung is ranked when all its trials have ended; while one waits, the next bracket begins, so that no worker
    does. With several objectives the ranking is by fronts and crowding; networks that break limits come after those
    that keep them, failed ones are not promoted, and a rejected one leaves its place to another.

    :param eta: how many networks compete for one place in the next rung.
    :param least: the shortest trial, as a share of a whole one.
    """

    multifidelity = True

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, eta: int = 3,
                 least: float = 1 / 9) -> None:
        super().__init__(space, goals, limits, eta, least)
        self.plan = brackets(eta, least)
        self.turn = 0                           # of the plan: the bracket that begins next
        self.brackets: list[Bracket] = []       # that have begun and not ended, the oldest first
        self.owner: dict[int, Bracket] = {}     # by number of a running trial

    def ask(self, number: int, rng: random.Random) -> Trial | None:
        for bracket in self.brackets:
            if bracket.queue:
                member = bracket.queue[0]
                return Trial(number, member.genotype, parent=member.number, fidelity=bracket.fidelity)
            if bracket.places and (genotype := self._new(bracket.fidelity, rng)) is not None:
                return Trial(number, genotype, fidelity=bracket.fidelity)
        for _, (first, *_) in self._coming():
            if (genotype := self._new(first.fidelity, rng)) is not None:
                return Trial(number, genotype, fidelity=first.fidelity)
        return None

    def _begin(self, trial: Trial) -> None:
        bracket = self._promoted(trial) if trial.parent is not None else self._entered(trial)
        if bracket is not None:                 # else it is none of ours, and only known to have been tried
            bracket.running += 1
            self.owner[trial.number] = bracket

    def _end(self, trial: Trial, member: Member | None, rejected: bool) -> None:
        bracket = self.owner.pop(trial.number, None)
        if bracket is not None:
            bracket.running -= 1
            if rejected and not bracket.at:
                bracket.places += 1
            elif member is not None and not rejected:
                bracket.members.append(member)
        for each in self.brackets:
            self._advance(each)
        self.brackets = [each for each in self.brackets if each.running or each.queue or each.places]

    def _coming(self) -> Iterator[tuple[int, list[Rung]]]:
        """The brackets in the order in which they would begin."""
        for i in range(self.turn, self.turn + len(self.plan)):
            yield i, self.plan[i % len(self.plan)]

    def _promoted(self, trial: Trial) -> Bracket | None:
        """The bracket that a trial goes on in; takes it from its queue."""
        for bracket in self.brackets:
            for member in bracket.queue:
                if member.number == trial.parent and bracket.fidelity == trial.fidelity:
                    bracket.queue.remove(member)
                    return bracket
        return None

    def _entered(self, trial: Trial) -> Bracket | None:
        """The bracket that a new network enters, which may begin with it; takes a place."""
        for bracket in self.brackets:
            if bracket.places and bracket.fidelity == trial.fidelity:
                bracket.places -= 1
                return bracket
        for i, plan in self._coming():
            if plan[0].fidelity == trial.fidelity:
                self.turn = i + 1
                self.brackets.append(Bracket(plan, plan[0].count - 1))
                return self.brackets[-1]
        return None

    def _advance(self, bracket: Bracket) -> None:
        """Goes to the next rung if this one is complete."""
        if bracket.places and self._exhausted(bracket.fidelity):
            bracket.places = 0
        if bracket.places or bracket.running or bracket.queue or bracket.at + 1 == len(bracket.rungs):
            return
        bracket.at += 1
        ranking = Levels()
        for i, member in enumerate(bracket.members):
            if self.reach[key(member.genotype)] < bracket.fidelity:
                ranking.add(i, member.excess, member.scores)
        bracket.queue = [bracket.members[i] for i in islice(ranking, bracket.rungs[bracket.at].count)]
        bracket.members = []


export = Hyperband
