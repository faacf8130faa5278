"""Progressive search: networks grow from simple to full, a predictor picks which (PNAS, Liu et al., ECCV 2018)."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archfab.core import Event, Genotype, Goals, Label, Limit, Metrics, Strategy, Trial, UsageError
from archfab.metrics.pareto import best_first
from archfab.space import Space
from archfab.space.choices import Repeat, outcomes
from archfab.space.encodings import inside, one_hot
from archfab.strategies._members import TRIES, Key, Member, key, unseen

if TYPE_CHECKING:
    import numpy as np

IDENTITY = "torch.nn:Identity"
MOST = 400                              # networks that the predictor learns from: the best and the latest
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)        # the one that predicts held-out networks best is taken


class Deeper:
    """Growth where there are depths, the choices that count a `repeat`: a step is one more option of one of them.

    On level 0 every depth is the least, on the last level the most; other decisions are free.
    """

    def __init__(self, space: Space, depths: Mapping[str, Sequence[Label]], levels: int) -> None:
        steps = sum(len(labels) - 1 for labels in depths.values())
        self.space = space
        self.depths = depths
        self.levels = min(levels, steps + 1)
        self.bounds = [round(steps * level / max(1, self.levels - 1)) for level in range(self.levels)]

    def extend(self, genotype: Genotype | None, level: int, rng: random.Random) -> Genotype:
        """A network of a level that has all that a simpler one has; any of that level without one."""
        grown = genotype or self.space.fix({name: labels[0] for name, labels in self.depths.items()}, rng)
        for _ in range(self.bounds[level] - self.steps(grown)):
            higher = [(name, labels[labels.index(grown[name]) + 1]) for name, labels in self.depths.items()
                      if name in grown and grown[name] != labels[-1]]
            if not higher:
                break
            name, label = higher[int(rng.random() * len(higher))]
            grown = self.space.fix({**grown, name: label}, rng)
        return grown

    def steps(self, genotype: Genotype) -> int:
        """How far a network has grown."""
        return sum(labels.index(genotype[name]) for name, labels in self.depths.items() if name in genotype)


class Freer:
    """Growth in any other space: decisions are opened one after another, in the order of their declaration.

    Those not yet open have their simplest option.
    """

    def __init__(self, space: Space, levels: int) -> None:
        self.space = space
        self.names = [name for name, labels in space.labels.items() if len(labels) > 1]
        self.levels = min(levels, len(self.names))
        self.bounds = [0, *(math.ceil(len(self.names) * (i + 1) / self.levels) for i in range(self.levels))]
        self.simplest = {name: simplest(options) for name, options in space.data["choices"].items()}

    def extend(self, genotype: Genotype | None, level: int, rng: random.Random) -> Genotype:
        """A network of a level that has all that a simpler one has; any of that level without one."""
        names = self.names[self.bounds[level] if genotype else 0:self.bounds[level + 1]]
        opened = {name: rng.choice(self.space.labels[name]) for name in names}
        return self.space.fix({**self.simplest, **(genotype or {}), **opened})


class Progressive(Strategy):
    """Begins with simple networks and lets the best of a level grow into those of the next.

    On each level the best networks so far are extended in many ways; a predictor that learns from every result
    ranks the extensions, and the first of them are tried. After the last level, where networks have their full
    size, it goes on with small changes of the best. In a space without any choice, where nothing can grow, that
    is all it does.

    A space with depths (choices that count a `repeat`) grows in depth, and other decisions are free on every
    level. In any other space decisions are opened one after another in the order of declaration (a cell's node
    by node), and those not yet open have their simplest option: the identity, else the smallest number, else
    the first. Beyond the paper, the predictor is a ridge regression on decisions and pairs of decisions instead
    of a recurrent network; it has every result and cheap figure (see `Strategy.hints`), and an extension that
    breaks a limit by its cheap figures comes last.

    :param levels: how many levels there are at most; a level takes several steps where a space has more.
    :param width: how many networks are tried on a level, and how many of the best grow.
    :param candidates: how many extensions the predictor ranks.
    :param after: how many networks are tried between two rankings after the last level.
    """

    def __init__(self, space: Space, goals: Goals, limits: Sequence[Limit] = (), *, levels: int = 4, width: int = 6,
                 candidates: int = 200, after: int = 5) -> None:
        super().__init__(space, goals, limits)
        for name, value in (("levels", levels), ("width", width), ("candidates", candidates), ("after", after)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{name} is a whole number from 1 up, not {value!r}")
        self.width = width
        self.candidates = candidates
        self.after = after
        self.growth = growth(space, levels)
        self.level = 0
        self.left = width                       # results until the next plan
        self.plan: list[Genotype] = []          # what to try next, the best first; none on level 0
        self.tried: set[Key] = set()
        self.known: dict[Key, Member] = {}
        self.figures: dict[Key, Metrics] = {}   # the hints of those that are known

    def ask(self, number: int, rng: random.Random) -> Trial:
        for genotype in self.plan:
            if key(genotype) not in self.tried:
                return Trial(number, genotype)
        for level in range(self.level, self.growth.levels):         # a low level may have few networks
            for _ in range(TRIES):
                genotype = self.growth.extend(None, level, rng)
                if key(genotype) not in self.tried:
                    return Trial(number, genotype)
        return Trial(number, unseen(self.space, self.tried, rng))

    def tell(self, event: Event) -> None:
        trial = event.trial
        if trial is None:
            return
        told = key(trial.genotype)
        self.tried.add(told)
        if event.kind == "asked" or told in self.known:
            return
        self.known[told] = Member.of(event, self.goals, self.limits) or nothing(trial)
        if self.hints is not None:
            self.figures[told] = self.hints(trial.genotype)
        self.left -= 1
        if self.left <= 0:
            self.level += 1
            self.left = self.width if self.level < self.growth.levels else self.after
            self.plan = self._plan(random.Random(f"{len(self.known)}:{self.space.id(trial.genotype)}"))

    def _plan(self, rng: random.Random) -> list[Genotype]:
        """The next networks to try, the most promising first."""
        members = list(self.known.values())
        order = best_first([each.scores for each in members], [each.excess for each in members])
        parents = [members[i].genotype for i in order[:self.width] if members[i].scores]
        drawn = self._draw(parents, rng) if parents else []
        if not drawn:
            return []
        learned = sorted({*order[:MOST // 2], *range(max(0, len(members) - MOST // 2), len(members))})
        return self._ranked([members[i] for i in learned], drawn)[:4 * self.width]

    def _draw(self, parents: Sequence[Genotype], rng: random.Random) -> list[Genotype]:
        """Extensions of the parents that were not tried; small changes of them after the last level."""
        number = self.candidates if self.hints is None else min(self.candidates, self.looks)
        found: dict[Key, Genotype] = {}
        for i in range(number):
            genotype = parents[i % len(parents)]
            if self.level < self.growth.levels:
                genotype = self.growth.extend(genotype, self.level, rng)
            else:
                genotype = self.space.mutate(genotype, rng)
                if rng.random() < 0.5:
                    genotype = self.space.mutate(genotype, rng)
            found[key(genotype)] = genotype
        return [genotype for each, genotype in found.items() if each not in self.tried]

    def _ranked(self, members: Sequence[Member], drawn: Sequence[Genotype]) -> list[Genotype]:
        """By what is predicted of their goals and known of their limits, the best first."""
        known = [self.figures.get(key(member.genotype), {}) for member in members]
        figures = [self.hints(genotype) for genotype in drawn] if self.hints is not None else [{}] * len(drawn)
        kernel = Kernel(self.space, [member.genotype for member in members], drawn, known, figures)
        columns = []
        for axis, (name, sense) in enumerate(self.goals.items()):
            told = [each.get(name) for each in figures]
            if None in told:
                columns.append(kernel.predict([(member.excess, not member.scores, *member.scores[axis:axis + 1])
                                               for member in members]))
            else:
                columns.append([value if sense == "min" else -value for value in told if value is not None])
        excess = [sum(limit.excess(each) for limit in self.limits) for each in figures]
        return [drawn[i] for i in best_first(list(zip(*columns, strict=True)), excess)]


class Kernel:
    """Ridge regression on all decisions, pairs of them and cheap figures, through the products of those (kernel
    ridge regression; Saunders et al., ICML 1998): of some networks to learn from and others to predict."""

    def __init__(self, space: Space, known: Sequence[Genotype], others: Sequence[Genotype],
                 figures: Sequence[Metrics], other_figures: Sequence[Metrics]) -> None:
        import numpy as np
        decisions = one_hot(space)([*known, *others]).astype(float)
        decisions /= np.sqrt(decisions.sum(axis=1, keepdims=True)).clip(1)
        cheap = standard([*figures, *other_figures])
        self.products = [(1 + decisions @ decisions[:len(known)].T) ** 2 / 4]
        if cheap.shape[1]:
            self.products.append(self.products[0] + cheap @ cheap[:len(known)].T / cheap.shape[1])
        self.spectra = [np.linalg.eigh(product[:len(known)]) for product in self.products]

    def predict(self, results: Sequence[tuple[Any, ...]]) -> list[float]:
        """The place of the others among results (small is good), as a normal deviate.

        With or without the cheap figures and with the ridge that predict each known network best from the rest:
        the residual of one left out is a_i / (K + r I)^-1_ii, a = (K + r I)^-1 y.
        """
        import numpy as np

        from archfab.surrogates.gaussian import normal_scores
        places = {result: place for place, result in enumerate(sorted(set(results)))}
        y = normal_scores(np.array([places[result] for result in results]))
        fits: list[tuple[float, int, np.ndarray, np.ndarray]] = []
        for product, (values, vectors) in zip(self.products, self.spectra, strict=True):
            for ridge in RIDGES:
                inverse = (vectors / (values + ridge)) @ vectors.T
                weights = inverse @ y
                fits.append((float(np.square(weights / np.diag(inverse)).sum()), len(fits), product, weights))
        *_, product, weights = min(fits, key=lambda fit: fit[:2])
        return (product[len(y):] @ weights).tolist()


def standard(figures: Sequence[Metrics]) -> np.ndarray:
    """Figures as normal deviates of their place among the others, 0 where one is missing: [networks, figures]."""
    import numpy as np

    from archfab.surrogates.gaussian import normal_scores
    names = list(dict.fromkeys(name for each in figures for name in each))
    found = np.zeros((len(figures), len(names)))
    for column, name in zip(found.T, names, strict=True):
        there = [i for i, each in enumerate(figures) if name in each]
        column[there] = normal_scores(np.array([figures[i][name] for i in there]))
    return found


def nothing(trial: Trial) -> Member:
    """A network that failed: behind all others."""
    return Member(trial.number, trial.genotype, math.inf, (), (math.inf, True, ()))


def growth(space: Space, levels: int) -> Deeper | Freer:
    """How the networks of a space grow."""
    found = depths(space)
    return Deeper(space, found, levels) if found else Freer(space, levels)


def depths(space: Space) -> dict[str, list[Label]]:
    """The choices that count a `repeat`, with their options from the least depth to the most."""
    least: dict[str, dict[Label, int]] = {}
    for repeated in repeats(space.root):
        for taken, count in outcomes(repeated.count):
            for name, label in taken.items():
                counts = least.setdefault(name, {})
                counts[label] = min(count, counts.get(label, count))
    return {name: sorted(counts, key=counts.__getitem__) for name, counts in least.items()
            if len(set(counts.values())) > 1}


def repeats(root: Any) -> Iterator[Repeat]:
    """Every repeat of a description, each once."""
    seen: dict[int, Any] = {}           # held, so that an id stays its own
    pending = [root]
    while pending:
        value = pending.pop()
        if id(value) not in seen:
            seen[id(value)] = value
            pending.extend(inside(value))
            if isinstance(value, Repeat):
                yield value


def simplest(options: Sequence[tuple[Label, Any]]) -> Label:
    """The identity, else the smallest number, else the first."""
    for label, part in options:
        if isinstance(part, Mapping) and part.get("make") == IDENTITY:
            return label
    numbers = [label for label, _ in options if isinstance(label, int | float) and not isinstance(label, bool)]
    return min(numbers) if len(numbers) == len(options) else options[0][0]


export = Progressive
