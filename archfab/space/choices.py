"""Decisions and arithmetic on them: the only symbols that a network description may contain."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from archfab.core import Genotype, Label, UsageError

OPERATORS: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "//": operator.floordiv, "%": operator.mod, "**": operator.pow, "neg": operator.neg,
    "min": min, "max": max,
}


class Expr:
    """A value that is known once the decisions are taken."""

    def __add__(self, other: Any) -> Expr:
        return Arithmetic("+", self, other)

    def __radd__(self, other: Any) -> Expr:
        return Arithmetic("+", other, self)

    def __sub__(self, other: Any) -> Expr:
        return Arithmetic("-", self, other)

    def __rsub__(self, other: Any) -> Expr:
        return Arithmetic("-", other, self)

    def __mul__(self, other: Any) -> Expr:
        return Arithmetic("*", self, other)

    def __rmul__(self, other: Any) -> Expr:
        return Arithmetic("*", other, self)

    def __truediv__(self, other: Any) -> Expr:
        return Arithmetic("/", self, other)

    def __rtruediv__(self, other: Any) -> Expr:
        return Arithmetic("/", other, self)

    def __floordiv__(self, other: Any) -> Expr:
        return Arithmetic("//", self, other)

    def __rfloordiv__(self, other: Any) -> Expr:
        return Arithmetic("//", other, self)

    def __mod__(self, other: Any) -> Expr:
        return Arithmetic("%", self, other)

    def __rmod__(self, other: Any) -> Expr:
        return Arithmetic("%", other, self)

    def __pow__(self, other: Any) -> Expr:
        return Arithmetic("**", self, other)

    def __rpow__(self, other: Any) -> Expr:
        return Arithmetic("**", other, self)

    def __neg__(self) -> Expr:
        return Arithmetic("neg", self)

    def _undecided(self, *_: Any) -> bool:
        raise TypeError("a choice has no value yet where the space is declared; instead of comparing it, "
                        "put what depends on it into its options: choose(name, small=..., large=...)")

    __bool__ = __lt__ = __le__ = __gt__ = __ge__ = _undecided

    def __eq__(self, other: object) -> bool:
        return self is other or self._undecided()

    __hash__ = object.__hash__


class Choice(Expr):
    """One decision: a name, and its options by label."""

    def __init__(self, name: str, options: Mapping[Any, Any]) -> None:
        self.name = name
        self.options: dict[Label, Any] = dict(options)

    def __repr__(self) -> str:
        return f"choose({self.name!r}, {', '.join(map(str, self.options))})"


class Arithmetic(Expr):
    """An operator on expressions and numbers."""

    def __init__(self, symbol: str, *operands: Any) -> None:
        for operand in operands:
            numeric = isinstance(operand, int | float) and not isinstance(operand, bool)
            if not (numeric or isinstance(operand, Expr)):
                raise TypeError(f"arithmetic on a choice takes numbers and choices, not {operand!r}")
            if isinstance(operand, Choice):
                _must_be_numbers(operand)
        self.symbol = symbol
        self.operands = operands


class InputChannels(Expr):
    """The channels (dimension 1) of whatever comes in where the description stands."""


CHANNELS = InputChannels()


class Repeat:
    """The first `count` of some descriptions, one after another."""

    def __init__(self, count: Any, items: tuple[Any, ...]) -> None:
        self.count = count
        self.items = items


def choose(name: str, /, *options: Label, **labelled: Any) -> Choice:
    """One decision between values, or between labelled descriptions.

    `choose("width", 16, 24)` decides a value; `choose("op", skip=nn.Identity(), conv=nn.Conv2d(8, 3))` a
    part. The same name is the same decision wherever it stands.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"a choice is named by a text, not by {name!r}")
    if bool(options) == bool(labelled):
        raise UsageError(f"choice '{name}' takes either values or labelled options, and at least one")
    if labelled:
        return Choice(name, labelled)
    for option in options:
        if not isinstance(option, str | int | float | bool | None):
            raise UsageError(f"choice '{name}': {option!r} is no plain value; label it: "
                             f"choose({name!r}, some_label=...)")
        if isinstance(option, float) and not math.isfinite(option):
            raise UsageError(f"choice '{name}': {option} is not a finite number")
    if len(set(options)) < len(options):
        raise UsageError(f"choice '{name}' has equal options: {', '.join(map(repr, options))}")
    return Choice(name, {option: option for option in options})


def repeat(count: Any, build: Callable[[int], Any]) -> Repeat:
    """`build(0), build(1), ...` one after another, `count` of them: a number, a choice or arithmetic on one.

    Decisions beyond the chosen depth are not decisions of that network.
    """
    if not callable(build) or hasattr(build, "state_dict"):
        raise UsageError(f"repeat takes a function from the position to a description, not {build!r}; "
                         "write: repeat(count, lambda i: ...)")
    counts = [value for _, value in outcomes(count)]
    for value in counts:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UsageError(f"repeat takes whole numbers from 0 up, not {value!r}")
    return Repeat(count, tuple(build(i) for i in range(max(counts))))


def minimum(*values: Any) -> Expr:
    """The smallest of some choices and numbers."""
    return Arithmetic("min", *values)


def maximum(*values: Any) -> Expr:
    """The largest of some choices and numbers."""
    return Arithmetic("max", *values)


def evaluate(value: Any, genotype: Genotype, channels: int | None = None) -> Any:
    """The plain value of an expression under a genotype; other values are returned as they are."""
    if isinstance(value, Choice):
        return evaluate(value.options[genotype[value.name]], genotype, channels)
    if isinstance(value, Arithmetic):
        return OPERATORS[value.symbol](*(evaluate(part, genotype, channels) for part in value.operands))
    if isinstance(value, InputChannels):
        if channels is None:
            raise ValueError("the input channels are known only inside a network")
        return channels
    return value


def undecided(value: Any, genotype: Genotype) -> Choice | None:
    """The first choice that an expression still hangs on, given those already taken."""
    if isinstance(value, Choice):
        return undecided(value.options[genotype[value.name]], genotype) if value.name in genotype else value
    if isinstance(value, Arithmetic):
        return next((found for part in value.operands if (found := undecided(part, genotype)) is not None), None)
    return None


def outcomes(value: Any, taken: Genotype | None = None) -> Iterator[tuple[Genotype, Any]]:
    """Every way to decide an expression, with the value that it gives."""
    taken = taken or {}
    choice = undecided(value, taken)
    if choice is None:
        yield taken, evaluate(value, taken)
        return
    for label in choice.options:
        yield from outcomes(value, {**taken, choice.name: label})


def _must_be_numbers(choice: Choice) -> None:
    for label, option in choice.options.items():
        if not (isinstance(option, Expr) or (isinstance(option, int | float) and not isinstance(option, bool))):
            raise TypeError(f"arithmetic on choice '{choice.name}', whose option {label!r} is no number")
