"""Every decision as a weighted or gated sum of its options, so that gradients say which is better (DARTS and kin).

A decision is mixed at the smallest part, or row of parts, that has the same shape for each of its options: an
operation where it stands, a kernel at its convolution, an expansion around its block, a width around all that
follows. The options of one decision are views on one set of weights where they are sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from archfab.core import BuildError, Genotype, Label, UsageError, canonical, unknown
from archfab.lowering import concrete
from archfab.lowering._mixed import Exits, Gates, Mixed
from archfab.lowering._remembering import signature
from archfab.lowering._weighting import EVERY, one_hot, weighting
from archfab.lowering.concrete import Builder
from archfab.lowering.elastic import Elastic
from archfab.space import Space
from archfab.space.choices import Choice, Expr, Repeat, evaluate, undecided
from archfab.space.descriptions import Description, encode

MOST = 20_000       # parts of a mixture


class Undecided(BuildError):
    """A part hangs on a decision in a way that no sum of its options can say there."""

    def __init__(self, choice: Choice) -> None:
        super().__init__(choice.name)
        self.choice = choice


class Unfit(BuildError):
    """A part that cannot be made with some options together; the message names the decisions."""


class Mixer(Builder):
    """Builds a network in which decisions stay open; `genotype` holds those that are taken around a part."""

    def __init__(self, elastic: Elastic, gates: Gates, share: float = 1.0) -> None:
        super().__init__({})
        self.elastic, self.gates, self.share = elastic, gates, share
        self.viewer = elastic.viewer
        self.built = self.tried = 0             # parts that stand in the mixture; those, and others built in vain
        self.around: dict[str, int] = {}        # for each decision that is mixed, the most parts inside one option

    # --- what is decided, and what is not

    def open(self, value: Any) -> Choice | None:
        """The decision that a part or a number still hangs on itself, whatever stands inside."""
        return undecided(value.count if isinstance(value, Repeat) else value, self.genotype)

    def taken(self, value: Any, where: str) -> tuple[Any, str]:
        if isinstance(value, Choice) and (choice := self.open(value)) is not None:
            raise Undecided(choice)
        return super().taken(value, where)

    def decided(self, value: Any, x: Any = None) -> Any:
        if isinstance(value, Expr) and (choice := self.open(value)) is not None:
            raise Undecided(choice)
        return super().decided(value, x)

    def options(self, value: Any) -> tuple[Choice | None, dict[Label, Any]]:
        """An open choice with its options, which the container weighs; what is decided, as the one option of none."""
        if isinstance(value, Choice) and value.name not in self.genotype:
            self.around.setdefault(value.name, 0)
            return value, {label: value.options[label] for label in self.gates.labels[value.name]}
        return None, {None: self.decided(value)}

    @contextmanager
    def given(self, name: str, label: Label) -> Iterator[None]:
        """One more decision taken, around what is built inside."""
        self.genotype = {**self.genotype, name: label}
        try:
            yield
        finally:
            self.genotype = {key: each for key, each in self.genotype.items() if key != name}

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Counts nothing of what is built in vain."""
        before = self.built, dict(self.around)
        try:
            yield
        except Undecided:
            self.built, self.around = before
            raise

    # --- what is built

    def part(self, value: Any, x: Any, where: str) -> tuple[nn.Module, Any]:
        try:
            with self.attempt():
                inner, place = self.taken(value, where)
                if isinstance(inner, Repeat) and self.open(inner) is not None:
                    return self.exits(inner, x, place)
                return super().part(inner, x, place)
        except Undecided as found:
            if self.inside:
                raise
            return self.mixed(found.choice, lambda: self.part(value, x, where), own=found.choice is value)

    def mixed(self, choice: Choice, build: Callable[[], tuple[nn.Module, Any]],
              own: bool = False) -> tuple[nn.Module, Any]:
        """What `build` gives with each option of a choice, side by side.

        :param own: whether that is what stands in the options, and nothing around it.
        :raises Undecided: when their shapes differ, so that a larger part has to be mixed.
        """
        options: dict[Label, nn.Module] = {}
        shapes: list[Any] = []
        sizes = [self.around.get(choice.name, 0)]
        for label in self.gates.labels[choice.name]:
            before = self.built
            with self.given(choice.name, label):
                options[label], y = build()
            shapes.append(y)
            sizes.append(0 if own else self.built - before)
            if signature(y) != signature(shapes[0]):
                raise Undecided(choice)
        self.around[choice.name] = max(sizes)
        return Mixed(self.gates, choice.name, list(options.values())), shapes[0]

    def exits(self, value: Repeat, x: Any, where: str) -> tuple[nn.Module, Any]:
        """A row whose length is open: its options leave it at different places."""
        choice = undecided(value.count, self.genotype)
        assert choice is not None
        labels = self.gates.labels[choice.name]
        if any(undecided(value.count, {**self.genotype, choice.name: label}) is not None for label in labels):
            raise UsageError(f"choice '{choice.name}' decides how often {where} repeats together with other choices, "
                             "which a mixture cannot say; let one choice decide it")
        counts = [evaluate(value.count, {**self.genotype, choice.name: label}) for label in labels]
        parts, shapes = [], [x]
        for i, item in enumerate(value.items[:max(counts)]):
            part, x = self.chain(self.flat(item, f"{where}[{i}]"), x)
            parts.append(part)
            shapes.append(x)
        if len({repr(signature(shapes[count])) for count in counts}) > 1:
            raise Undecided(choice)
        self.around.setdefault(choice.name, 0)
        return Exits(self.gates, choice.name, parts, counts), shapes[counts[0]]

    def flat(self, value: Any, where: str) -> Iterator[tuple[str, Any]]:
        """One item of a row; an open one stays as it is."""
        if isinstance(value, Choice) and self.open(value) is None:
            value, where = self.taken(value, where)
        if isinstance(value, Choice | Repeat) and self.open(value) is not None:
            yield where, value
        else:
            yield from super().flat(value, where)

    def items(self, values: Any) -> list[Any]:
        """What a container goes through itself, one part by one: an open item must be one part whatever is decided."""
        found = super().items(values)
        for item in found:
            if isinstance(item, Choice | Repeat) and (choice := self.open(item)) is not None and not all(
                    isinstance(option, Description) for option in getattr(item, "options", {None: None}).values()):
                raise Undecided(choice)
        return found

    def chain(self, row: Any, x: Any) -> tuple[nn.Module, Any]:
        modules, items, at = [], self.thinned(list(row)), 0
        while at < len(items):
            module, x, at = self.stretch(items, at, x)
            modules.append(module)
        return nn.Sequential(*modules), x

    def thinned(self, items: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        """A row with runs of equal parts shortened to a share (P-DARTS searches in nets that grow deeper)."""
        if self.share == 1:
            return items
        runs: list[list[tuple[str, Any]]] = []
        for item in items:
            if runs and canonical(encode(runs[-1][0][1], {})) == canonical(encode(item[1], {})):
                runs[-1].append(item)
            else:
                runs.append([item])
        return [item for run in runs for item in run[:max(1, round(self.share * len(run)))]]

    def stretch(self, items: Sequence[tuple[str, Any]], at: int, x: Any) -> tuple[nn.Module, Any, int]:
        """The fewest items from one on that have the same shape for every option, and where they end."""
        place, item = items[at]
        try:
            with self.attempt():
                module, y = self.part(item, x, place)
            return module, y, at + 1
        except Undecided as found:
            choice = found.choice
        for end in range(at + 2, len(items) + 1):
            if self.agree(choice, items[at:end], x):
                try:
                    with self.attempt():
                        module, y = self.mixed(choice, lambda end=end: self.chain(items[at:end], x))    # type: ignore
                    return module, y, end
                except Undecided:
                    continue
        raise Undecided(choice)

    def agree(self, choice: Choice, items: Sequence[tuple[str, Any]], x: Any) -> bool:
        """Whether a row has one shape for all options of a choice when the others are as in the largest network."""
        found = set()
        for label in self.gates.labels[choice.name]:
            self.viewer.genotype = {**self.elastic.defaults, **self.genotype, choice.name: label}
            y = x
            for place, item in items:
                for inner, each in self.viewer.flat(item, place):
                    y = self.viewer.part(each, y, inner)[1]
            found.add(repr(signature(y)))
        return len(found) == 1

    def container(self, value: Description, x: Any, where: str) -> tuple[nn.Module, Any]:
        if hasattr(value.make, "relax"):
            return value.make.relax(self, x, where, *value.args, **value.kwargs)
        return super().container(value, x, where)

    def leaf(self, value: Description, x: Any, where: str) -> tuple[nn.Module, Any]:
        self.tried += 1
        if self.tried > MOST:
            names = ", ".join(f"'{name}'" for name in list(self.genotype)[:6])
            raise UsageError(f"the options of choices {names} multiply to more than {MOST:,} parts, because each "
                             "changes the shapes that the next one meets; search them with --estimator supernet "
                             "(elastic), or let fewer sizes be open")
        try:
            return super().leaf(value, x, where)
        except (Undecided, Unfit):
            raise
        except BuildError as error:
            taken = ", ".join(f"'{name}'={label}" for name, label in self.genotype.items())
            if not taken:
                raise
            raise Unfit(f"{error}, with {taken}: a mixture needs every combination of these; leave out options that do "
                        "not fit together, or search with --estimator training") from None

    def made(self, value: Description, args: tuple[Any, ...], kwargs: dict[str, Any], where: str) -> Any:
        if self.inside:
            return super().made(value, args, kwargs, where)
        self.built += 1
        return self.elastic.view(where, value, args, kwargs, self.genotype)


class Mixture(nn.Module):
    """All networks of a space at once: `logits` has a vector for each decision, `weigh` turns them into gates.

    :param allowed: the labels that stay open, for the decisions of which some were dropped.
    :param share: how much of each run of equal parts is built.
    :raises UsageError: when a decision cannot be mixed; says which, why and what would help.
    """

    def __init__(self, space: Space, example: Any, elastic: Elastic | None = None,
                 allowed: Mapping[str, Sequence[Label]] | None = None, share: float = 1.0) -> None:
        super().__init__()
        self.space = space
        self.elastic = elastic or Elastic(space, example)
        self.gates = Gates({**space.labels, **checked(allowed or {}, space)})
        self.share = share
        mixer = self._build()
        self.parts = mixer.built
        self.names = [name for name in space.labels if name in mixer.around]
        single = Mixer(self.elastic, self.gates, share)
        single.genotype = dict(self.elastic.largest)
        single.part(space.root, self.elastic.viewer.input, "net")
        self.single = single.built
        self.outer = [name for name in self.names if mixer.around[name] >= single.built]
        self.logits = nn.ParameterList(1e-3 * torch.randn(len(self.gates.labels[name])) for name in self.names)
        self.weigh("softmax")

    def forward(self, *inputs: Any) -> Any:
        return self.net(*inputs)

    def weigh(self, kind: str, temperature: float = 1.0, draws: torch.Generator | None = None) -> None:
        """Sets the gates from the logits: see `_weighting`.

        Of the `outer` decisions, each option of which is a pass through the whole network, one option is drawn where
        the weighting would compute all of them.
        """
        rule, drawn = weighting(kind), weighting("hard_gumbel")
        for name, logits in zip(self.names, self.logits, strict=True):
            all_of_them = name in self.outer and kind in EVERY
            self.gates.set(name, *(drawn(logits, 1.0, draws) if all_of_them else rule(logits, temperature, draws)))

    def choose(self, genotype: Genotype) -> None:
        """Sets the gates so that one network alone is computed; decisions that it has not got are as in the largest.

        :raises UsageError: when it has an option that was dropped.
        """
        for name, logits in zip(self.names, self.logits, strict=True):
            labels = self.gates.labels[name]
            label = genotype.get(name, self.elastic.defaults[name])
            if label not in labels and name in genotype:
                raise UsageError(f"option {label!r} of choice '{name}' is not in this mixture; it has: "
                                 f"{', '.join(map(repr, labels))}")
            index = labels.index(label) if label in labels else 0
            self.gates.set(name, one_hot(index, logits.detach()), [index])

    def chances(self) -> dict[str, list[float]]:
        """The softmax of each decision's logits."""
        return {name: logits.detach().double().softmax(0).tolist()
                for name, logits in zip(self.names, self.logits, strict=True)}

    def _build(self) -> Mixer:
        mixer = Mixer(self.elastic, self.gates, self.share)
        try:
            self.net, _ = mixer.part(self.space.root, self.elastic.viewer.input, "net")
        except Undecided as found:
            raise UsageError(f"choice '{found.choice.name}' changes the shape of what the network gives, so its "
                             "options cannot be added up; end the network in a part of one shape, such as "
                             "nn.Classifier") from None
        return mixer

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self.gates.weights = {name: fn(weights.detach()) for name, weights in self.gates.weights.items()}
        return self


def checked(allowed: Mapping[str, Sequence[Label]], space: Space) -> Mapping[str, Sequence[Label]]:
    """The labels that stay open, if they are labels of the space, and some for each decision."""
    for name, labels in allowed.items():
        if name not in space.labels:
            raise unknown("choice", name, list(space.labels))
        if not labels or any(label not in space.labels[name] for label in labels):
            raise UsageError(f"allowed has {list(labels)!r} for choice '{name}'; legal: at least one of "
                             f"{', '.join(map(repr, space.labels[name]))}")
    return allowed


def supports(space: Space, example: tuple[Any, ...] | None) -> tuple[bool, str]:
    """Whether every decision of a space can be mixed, and how many times the work of one network that is."""
    possible, because = concrete.supports(space, example)
    if not possible:
        return False, because
    try:
        with torch.random.fork_rng(devices=[]):
            mixture = Mixture(space, example)
    except (BuildError, UsageError) as error:
        return False, str(error)
    if not mixture.names:
        return False, "it has no decisions"
    outer = ", ".join(f"'{name}'" for name in mixture.outer)
    passes = f"; each option of {outer} is a pass through the whole network, so one of them is drawn in each step" \
        if outer else ""
    return True, (f"all {len(mixture.names)} decisions are mixed, in {mixture.parts:,} parts where one network has up "
                  f"to {mixture.single:,}{passes}")


export = supports
