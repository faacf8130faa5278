"""REINFORCE: a controller learns by the policy gradient which decisions are good (Zoph and Le, ICLR 2017)."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from archfab.core import Event, Genotype, Goals, Label, Limit, Strategy, Trial, UsageError, unknown
from archfab.space import Space
from archfab.space.counting import Node
from archfab.strategies._members import TRIES, Key, Member, key, unseen

RATES = {"logits": 0.7, "lstm": 0.015, "transformer": 0.006}
ALGORITHMS = ("reinforce", "ppo")
WINDOW = 100        # results that a reward compares with
HEAT = 0.2          # by which the temperature rises with each draw of a network that was proposed before


class Reinforce(Strategy):
    """A controller emits the decisions of a network one after another, and each result makes them likelier or rarer.

    The reward R of a result is -log of the share of the latest results that are better, which has no unit, deals
    with several objectives, and has soft limits like MnasNet's (`surrogates.rewards` has the formula); a network that
    failed, or was rejected for no limit, has R = 0, less than any other. The advantage is A = R - b, with the moving
    baseline b <- decay b + (1 - decay) R. The controller climbs the gradient of A sum_t log p_t + entropy sum_t H_t,
    by REINFORCE (Williams, 1992) or with PPO's clip (Schulman et al., 2017), over the active decisions t
    (`surrogates.controllers`).

    As a network that was tried teaches nothing new, one that is drawn again is not proposed: the next draw is made
    at a higher temperature, so that the search goes on near what the controller has settled on.

    :param controller: `logits` (each decision on its own), `lstm` or `transformer` (which see the decisions before).
    :param algorithm: `reinforce`, or `ppo`, which learns several times from the same results.
    :param rate: step size of the controller; without it 0.7 for logits, 0.015 for lstm, 0.006 for transformer.
    :param entropy: weight of the entropy of the decisions, which keeps them open.
    :param decay: share of the baseline that stays when a reward comes in.
    :param batch: results that make one update.
    :param penalty: how hard a broken limit counts: the value is multiplied by (1 + relative excess)^-penalty.
    :param clip: by how much PPO lets the probability of a decision change, as a share of it.
    :param epochs: steps that PPO takes with one batch.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, controller: str = "logits",
                 algorithm: str = "reinforce", rate: float | None = None, entropy: float = 0.02, decay: float = 0.9,
                 batch: int = 1, penalty: float = 10.0, clip: float = 0.2, epochs: int = 4) -> None:
        from archfab.surrogates import controllers, rewards
        super().__init__(space, goals, limits)
        check(controller, algorithm, rate, entropy, decay, batch, penalty, clip, epochs)
        self.algorithm = algorithm
        self.entropy = entropy
        self.decay = decay
        self.batch = batch
        self.clip = clip
        self.epochs = epochs if algorithm == "ppo" else 1
        self.vocabulary = controllers.Vocabulary(space)
        self.controller = controllers.make(controller, self.vocabulary, RATES[controller] if rate is None else rate)
        self.rewards = rewards.Rewards(penalty, WINDOW)
        self.baseline = 1.0                                             # the mean of R at first
        self.tried: set[Key] = set()
        self.asked: dict[int, Any] = {}                                 # PPO: log p_t when a network was proposed
        self.waiting: list[tuple[controllers.Episode, float, Any]] = []     # with advantage and, for PPO, log p_t

    def ask(self, number: int, rng: random.Random) -> Trial:
        for attempt in range(TRIES):
            genotype = self.draw(rng, 1 + HEAT * attempt)
            if key(genotype) not in self.tried:
                return Trial(number, genotype)
        return Trial(number, unseen(self.space, self.tried, rng))

    def draw(self, rng: random.Random, temperature: float = 1.0) -> Genotype:
        """A network as the controller emits it; its logits are divided by the temperature."""
        memory = self.controller.start()

        def pick(node: Node) -> Label:
            nonlocal memory
            decision = self.vocabulary.numbers.get(node.name)
            if decision is None:
                return self.space.labels[node.name][0]
            logits, memory = self.controller.step(memory, decision)
            highest = max(logits)
            weights = [math.exp((logit - highest) / temperature) for logit in logits]
            option = rng.choices(range(len(weights)), weights)[0]
            memory = self.controller.take(memory, decision, option)
            return self.vocabulary.labels[decision][option]

        return self.space.walk(pick)

    def tell(self, event: Event) -> None:
        if event.trial is None or event.kind not in ("asked", "ok", "failed", "rejected"):
            return
        self.tried.add(key(event.trial.genotype))
        episode = self.vocabulary.episode(self.space, event.trial.genotype)
        if not episode:                                                 # nothing to decide
            return
        if event.kind == "asked":
            if self.algorithm == "ppo":
                self.asked[event.trial.number] = self.controller.log_probability(episode)
            return
        member = Member.of(event, self.goals, self.limits)
        reward = self.rewards.add(member.excess, member.scores) if member else 0.0
        self.waiting.append((episode, reward - self.baseline, self._old(event.trial.number, episode)))
        self.baseline = self.decay * self.baseline + (1 - self.decay) * reward
        if len(self.waiting) >= self.batch:
            self._learn()

    def _old(self, number: int, episode: Any) -> Any:
        """For PPO, log p_t of the controller that proposed a network, as far as it was told of that."""
        if self.algorithm != "ppo":
            return None
        known = self.asked.pop(number, None)
        return self.controller.log_probability(episode) if known is None else known

    def _learn(self) -> None:
        from archfab.surrogates.controllers import Batch, Gradient
        episodes, advantages, old = zip(*self.waiting, strict=True)
        batch = Batch.of(episodes)
        gradient = Gradient.of(batch, advantages, self.entropy, old if self.algorithm == "ppo" else None, self.clip)
        for _ in range(self.epochs):
            self.controller.learn(batch, gradient)
        self.waiting = []


def check(controller: str, algorithm: str, rate: float | None, entropy: float, decay: float, batch: int,
          penalty: float, clip: float, epochs: int) -> None:
    """Refuses options that make no sense."""
    if controller not in RATES:
        raise unknown("controller", controller, list(RATES))
    if algorithm not in ALGORITHMS:
        raise unknown("algorithm", algorithm, ALGORITHMS)
    for name, value in (("rate", rate), ("clip", clip)):
        if value is not None and not (is_number(value) and value > 0):
            raise UsageError(f"{name} is a number above 0, not {value!r}")
    for name, value in (("entropy", entropy), ("penalty", penalty)):
        if not (is_number(value) and value >= 0):
            raise UsageError(f"{name} is a number from 0 up, not {value!r}")
    if not (is_number(decay) and 0 <= decay < 1):
        raise UsageError(f"decay is a share from 0 to below 1, not {decay!r}")
    for name, value in (("batch", batch), ("epochs", epochs)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{name} is a whole number from 1 up, not {value!r}")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


export = Reinforce
