"""Tree-structured Parzen estimator: go where good networks are denser than others (Bergstra et al., NeurIPS 2011)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from archfab.core import Event, Genotype, Goals, Limit, Strategy, Trial, UsageError
from archfab.space import Space
from archfab.strategies._members import Member, fresh, key


class TPE(Strategy):
    """Splits the outcomes into the best share and the others, and proposes what is likelier among the best.

    Both sides have a density over the conditional space (`surrogates.parzen`); the proposal is, of networks drawn
    from the density of the good ones, the one with the greatest ratio, which is the one of greatest expected
    improvement. The kernels are joint over all decisions, so that what is good only together is found (as the
    multivariate kernels of Falkner et al., ICML 2018). With several objectives the good ones are the first fronts,
    the lonely of the last (after Ozaki et al., GECCO 2020); networks that break limits come after those that keep
    them, by how much they do, and failed ones are never good. Networks that still run count among the others.
    A network is proposed once.

    :param startup: random networks before the first model.
    :param candidates: networks drawn for one proposal.
    :param gamma: the share of the outcomes that is good (of many, 25 networks).
    :param prior: weight of an even density, in networks: large explores, small stays close to what is good.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, startup: int = 10,
                 candidates: int = 64, gamma: float = 0.1, prior: float = 0.3) -> None:
        from archfab.surrogates.parzen import Memory
        super().__init__(space, goals, limits)
        check(startup, candidates, gamma, prior)
        self.startup = startup
        self.memory = Memory(space, gamma, candidates, prior)
        self.tried: set[object] = set()
        self.done: set[object] = set()
        self.pending: dict[int, Genotype] = {}

    def ask(self, number: int, rng: random.Random) -> Trial | None:
        found: Genotype | None = None
        if len(self.memory) >= self.startup:
            found = self.memory.propose(self.space, self.pending.values(), self.tried.__contains__, rng)
        if found is None:
            found = fresh(self.space, self.tried.__contains__, rng)
        return None if found is None else Trial(number, found)

    def tell(self, event: Event) -> None:
        if event.trial is None or event.kind not in ("asked", "ok", "failed", "rejected"):
            return
        genotype = event.trial.genotype
        known = key(genotype)
        self.tried.add(known)
        if event.kind == "asked":
            self.pending[event.trial.number] = genotype
            return
        self.pending.pop(event.trial.number, None)
        if known not in self.done:
            self.done.add(known)
            member = Member.of(event, self.goals, self.limits)
            if member is None:
                self.memory.add(genotype)
            else:
                self.memory.add(genotype, member.excess, member.scores)


def check(startup: int, candidates: int, gamma: float, prior: float) -> None:
    """Refuses options of a Parzen model that make no sense."""
    for name, number in (("startup", startup), ("candidates", candidates)):
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise UsageError(f"{name} is a number of networks, 1 or more, not {number!r}")
    if not isinstance(gamma, int | float) or not 0 < gamma < 1:
        raise UsageError(f"gamma is the share of the outcomes that is good, above 0 and below 1, not {gamma!r}")
    if not isinstance(prior, int | float) or not 0 < prior < float("inf"):
        raise UsageError(f"prior is a weight in networks, above 0, not {prior!r}")


export = TPE
