"""Controllers: distributions over the networks of a space that are learned by the policy gradient.

A controller says the logits of one decision after another, given those already taken. How a result changes them
(`Gradient`) is the same for all: it is known in closed form with respect to the logits, and the controller
carries it on to its weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archfab.core import Genotype
from archfab.space import Space

NEVER = -1e9        # the logit of an option that a decision has not got
FAR = 3.0           # how much likelier than when it was proposed a network may be and still be taught away by PPO
Episode = tuple[tuple[int, int], ...]
"""A network as the decisions taken one after another, each with its option, both by number."""


class Vocabulary:
    """The decisions of a space between two or more options, by number, and their options."""

    def __init__(self, space: Space) -> None:
        free = [(name, labels) for name, labels in space.labels.items() if len(labels) > 1]
        self.numbers = {name: i for i, (name, _) in enumerate(free)}
        self.labels = [labels for _, labels in free]
        self.options = [{label: i for i, label in enumerate(labels)} for labels in self.labels]
        self.widest = max(map(len, self.labels), default=0)

    def episode(self, space: Space, genotype: Genotype) -> Episode:
        """The decisions of a network in the order in which they are taken."""
        walked = space.walk(lambda node: genotype[node.name])
        return tuple((number, self.options[number][label]) for name, label in walked.items()
                     if (number := self.numbers.get(name)) is not None)


@dataclass(frozen=True)
class Batch:
    """Episodes side by side, [episodes, steps] each; the shorter ones are filled up with steps not `active`."""

    decisions: np.ndarray
    options: np.ndarray
    active: np.ndarray

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Batch:
        shape = len(episodes), max(map(len, episodes))
        decisions, options = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, episode in enumerate(episodes):
            decisions[row, :len(episode)], options[row, :len(episode)] = zip(*episode, strict=True)
        return cls(decisions, options, np.arange(shape[1]) < np.array([[len(episode)] for episode in episodes]))

    def taken(self, values: np.ndarray) -> np.ndarray:
        """Of values by option [episodes, steps, options], those of the options that were taken."""
        return np.take_along_axis(values, self.options[..., None], 2)[..., 0]


@dataclass(frozen=True)
class Gradient:
    """Where the logits go: the gradient of what is made large, averaged over the episodes.

    REINFORCE (Williams, Machine Learning 1992) makes A sum_t log p_t large, with the advantage A and p_t the
    probability of the option taken at step t. PPO (Schulman et al., 2017, equation 7) makes sum_t min(r_t A,
    clip(r_t, 1 - c, 1 + c) A) large, with r_t = p_t / old p_t; where A < 0 also a ratio above `FAR` gives no
    gradient, so that a late result does not throw the controller off (dual clip: Ye et al., AAAI 2020). To either is
    added entropy * sum_t H_t, where H_t = -sum_k p_k log p_k is the entropy of the decision.
    """

    batch: Batch
    advantages: np.ndarray              # [episodes]
    entropy: float
    old: np.ndarray | None = None       # PPO: log p_t of the controller that made the proposals, [episodes, steps]
    clip: float = 0.2

    @classmethod
    def of(cls, batch: Batch, advantages: Sequence[float], entropy: float, old: Sequence[np.ndarray] | None,
           clip: float) -> Gradient:
        """As above, with the old log p_t of each episode by itself."""
        padded = None
        if old is not None:
            padded = np.zeros(batch.options.shape)
            padded[batch.active] = np.concatenate(old)
        return cls(batch, np.array(advantages), entropy, padded, clip)

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """The gradient, [episodes, steps, options], at logits of the same shape."""
        logs = log_softmax(logits)
        p = np.exp(logs)
        spread = -(p * logs).sum(2, keepdims=True)
        onehot = np.arange(logits.shape[2]) == self.batch.options[..., None]
        slope = self._gain(logs)[..., None] * (onehot - p) - self.entropy * p * (logs + spread)
        return slope * self.batch.active[..., None] / len(logits)

    def _gain(self, logs: np.ndarray) -> np.ndarray:
        """The derivative by log p_t, [episodes, steps]: nothing where PPO's clip holds."""
        gain = np.broadcast_to(self.advantages[:, None], self.batch.options.shape)
        if self.old is None:
            return gain
        ratio = np.exp(np.minimum(self.batch.taken(logs) - self.old, 50.0))
        held = np.where(gain > 0, ratio > 1 + self.clip, (ratio < 1 - self.clip) | (ratio > FAR))
        return np.where(held, 0.0, ratio * gain)


class Controller(ABC):
    """A learned distribution over networks: the product of those of their decisions, each given the ones before."""

    @abstractmethod
    def start(self) -> Any:
        """The memory before the first decision."""

    @abstractmethod
    def step(self, memory: Any, decision: int) -> tuple[list[float], Any]:
        """The logits of a decision, and the memory with it."""

    @abstractmethod
    def take(self, memory: Any, decision: int, option: int) -> Any:
        """The memory once the option is taken."""

    @abstractmethod
    def logits(self, batch: Batch) -> np.ndarray:
        """Of whole episodes, [episodes, steps, options]; `NEVER` where a decision has no such option."""

    @abstractmethod
    def learn(self, batch: Batch, gradient: Callable[[np.ndarray], np.ndarray]) -> None:
        """Takes one step up, given the gradient as a function of the logits."""

    def log_probability(self, episode: Episode) -> np.ndarray:
        """The logarithm of the probability of each decision of an episode as it was taken."""
        batch = Batch.of([episode])
        return batch.taken(log_softmax(self.logits(batch)))[0]


class Logits(Controller):
    """Every decision on its own: a table of logits, which climbs along the plain gradient."""

    def __init__(self, vocabulary: Vocabulary, rate: float) -> None:
        self.rate = rate
        self.counts = [len(labels) for labels in vocabulary.labels]
        self.table = np.array([[0.0 if k < count else NEVER for k in range(vocabulary.widest)]
                               for count in self.counts])

    def start(self) -> None:
        return None

    def step(self, memory: None, decision: int) -> tuple[list[float], None]:
        return self.table[decision, :self.counts[decision]].tolist(), None

    def take(self, memory: None, decision: int, option: int) -> None:
        return None

    def logits(self, batch: Batch) -> np.ndarray:
        return self.table[batch.decisions]

    def learn(self, batch: Batch, gradient: Callable[[np.ndarray], np.ndarray]) -> None:
        np.add.at(self.table, batch.decisions, self.rate * gradient(self.logits(batch)))


def make(name: str, vocabulary: Vocabulary, rate: float) -> Controller:
    """A controller that was taught nothing: 'logits', 'lstm' or 'transformer'."""
    if name == "logits":
        return Logits(vocabulary, rate)
    from archfab.surrogates.sequences import Sequences  # here, as torch takes a second to import
    return Sequences(name, vocabulary, rate)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
