"""BOHB: Hyperband that draws its networks from a model of the longest trials so far (Falkner et al., ICML 2018)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from archfab.core import Genotype, Goals, Limit, Trial, UsageError
from archfab.space import Space
from archfab.strategies._members import Member
from archfab.strategies.hyperband import Hyperband
from archfab.strategies.tpe import check


class BOHB(Hyperband):
    """Hyperband's brackets and promotions; new networks come from densities as those of `tpe`.

    The model is of one fidelity alone, the highest at which enough trials have ended, so that scores of short and
    of long trials are never compared. A part of the networks is drawn blindly, which keeps Hyperband's guarantee.

    :param eta: how many networks compete for one place in the next rung.
    :param least: the shortest trial, as a share of a whole one.
    :param startup: trials of one fidelity before there is a model of it.
    :param share: of new networks, how many are drawn blindly.
    :param candidates: networks drawn for one proposal.
    :param gamma: the share of the outcomes that is good (of many, 25 networks).
    :param prior: weight of an even density, in networks: large explores, small stays close to what is good.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, eta: int = 3,
                 least: float = 1 / 9, startup: int = 10, share: float = 1 / 3, candidates: int = 64,
                 gamma: float = 0.1, prior: float = 0.3) -> None:
        from archfab.surrogates.parzen import Memory
        super().__init__(space, goals, limits, eta=eta, least=least)
        check(startup, candidates, gamma, prior)
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise UsageError(f"share is the part of the networks that is drawn blindly, from 0 to 1, not {share!r}")
        self.startup = startup
        self.share = share
        self.memories = {fidelity: Memory(space, gamma, candidates, prior) for fidelity in self.fidelities}

    def _new(self, fidelity: float, rng: random.Random) -> Genotype | None:
        model = next((memory for memory in reversed(self.memories.values()) if len(memory) >= self.startup), None)
        if model is not None and rng.random() >= self.share:
            pending = (trial.genotype for trial in self.running.values() if trial.parent is None)
            found = model.propose(self.space, pending, lambda known: self.reach.get(known, 0.0) >= fidelity, rng)
            if found is not None:
                return found
        return super()._new(fidelity, rng)

    def _end(self, trial: Trial, member: Member | None, rejected: bool) -> None:
        super()._end(trial, member, rejected)
        memory = self.memories.get(trial.fidelity)
        if memory is None:
            return
        if member is None:
            memory.add(trial.genotype)
        else:
            memory.add(trial.genotype, member.excess, member.scores)


export = BOHB
