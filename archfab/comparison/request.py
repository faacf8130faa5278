"""What a comparison is: everything that decides its result, checked, as plain data."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from archfab import registry
from archfab.core import Goals, Limit, UsageError, identity, unknown


@dataclass(frozen=True)
class Player:
    """A strategy with its options; `label` is what the user wrote, and names it in every result."""

    label: str
    name: str
    options: Mapping[str, Any]
    source: str | None = None           # what a user's own file says, so that a changed one is another strategy

    @classmethod
    def parse(cls, text: str) -> Player:
        """`evolution`, `evolution:population=50,tournament=10`, `./mine.py`."""
        found = re.fullmatch(r"(.+?)(?::(\w[\w-]*=.*))?", text)
        if not found:
            raise UsageError("a strategy has a name; write NAME or NAME:option=value,option=value")
        name = registry.settled(found[1])
        strategy = registry.load("strategies", name)
        if needed := getattr(strategy, "estimator", None):
            raise UsageError(f"the strategy '{name}' trains networks (--estimator {needed}), which a table cannot do; "
                             "compare strategies that propose networks")
        known = registry.settings(strategy)
        options = {}
        for item in (found[2] or "").split(",") if found[2] else []:
            key, _, value = item.partition("=")
            key = key.strip().replace("-", "_")
            if key not in known:
                raise unknown("option", key, list(known), f"(of strategy {found[1]})")
            try:
                options[key] = registry.typed(key, value.strip(), known[key])
            except UsageError as error:
                raise UsageError(f"strategy '{text}': {error}") from None
        source = identity(Path(name).read_text(encoding="utf-8")) if name.endswith(".py") else None
        return cls(text, name, options, source)


@dataclass(frozen=True)
class Request:
    """Strategies x tables x runs, and how each run goes."""

    strategies: tuple[Player, ...]
    tables: tuple[str, ...]             # as `archfab.tables.read_table` takes them, folders in full
    evaluations: int                    # of each run, in whole trainings
    runs: int                           # of each strategy on each table, run i with the same draws for all
    goals: Goals | None = None          # None: each table's own
    limits: tuple[str, ...] = ()
    noise: bool = False                 # whether a strategy sees one seed's validation score, or what is reported
    epochs: float | None = None         # of a whole training; None: the longest that a table has
    hints: bool = True                  # whether a strategy is told a table's cheap figures
    seed: int = 0

    @classmethod
    def make(cls, strategies: Sequence[str], tables: Sequence[str], evaluations: int = 150, runs: int = 50, *,
             maximize: Sequence[str] = (), minimize: Sequence[str] = (), limits: Sequence[str] = (),
             noise: bool = False, epochs: float | None = None, hints: bool = True, seed: int = 0) -> Request:
        """A checked request; whatever can be refused before a table is read is refused here."""
        for name, value in (("--evaluations", evaluations), ("--runs", runs)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{name} takes a whole number from 1 up, not {value}")
        if epochs is not None and not (math.isfinite(epochs) and epochs > 0):
            raise UsageError(f"--epochs takes a number above 0, not {epochs}")
        if both := sorted(set(maximize) & set(minimize)):
            raise UsageError(f"'{both[0]}' cannot be minimized and maximized at once")
        goals: dict[str, Any] = {**dict.fromkeys(maximize, "max"), **dict.fromkeys(minimize, "min")}
        return cls(strategies=tuple(map(Player.parse, different("strategy", strategies))),
                   tables=different("table", [folders_in_full(text) for text in tables]),
                   evaluations=evaluations, runs=runs, goals=goals or None,
                   limits=tuple(str(Limit.parse(text)) for text in limits), noise=noise, epochs=epochs, hints=hints,
                   seed=seed)

    @property
    def bounds(self) -> tuple[Limit, ...]:
        return tuple(map(Limit.parse, self.limits))

    @property
    def hash(self) -> str:
        return identity(self.plain())

    def plain(self) -> dict[str, Any]:
        return {**asdict(self), "strategies": [asdict(player) for player in self.strategies],
                "tables": list(self.tables), "limits": list(self.limits)}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Request:
        return cls(**{**data, "strategies": tuple(Player(**player) for player in data["strategies"]),
                      "tables": tuple(data["tables"]), "limits": tuple(data["limits"])})

    def command(self, out: Path | None = None, workers: int | None = None) -> str:
        """The command line that asks for the same comparison."""
        words = ["archfab", "compare-strategies", "--strategies", *(player.label for player in self.strategies),
                 "--tables", *self.tables, "--evaluations", str(self.evaluations), "--runs", str(self.runs)]
        for name, sense in (self.goals or {}).items():
            words += [f"--{sense}imize", name]
        for limit in self.limits:
            words += ["--limit", limit]
        words += ["--noise"] * self.noise + ["--no-hints"] * (not self.hints)
        words += ["--epochs", f"{self.epochs:g}"] if self.epochs else []
        words += ["--seed", str(self.seed)]
        words += ["--workers", str(workers)] if workers else []
        return shlex.join(words + (["--out", str(out)] if out else []))


def different(what: str, texts: Sequence[str]) -> tuple[str, ...]:
    """At least one, and none twice."""
    if not texts:
        raise UsageError(f"a comparison needs at least one {what}")
    if twice := next((text for text in texts if list(texts).count(text) > 1), None):
        raise UsageError(f"the {what} '{twice}' is named twice; name each once")
    return tuple(texts)


def folders_in_full(table: str) -> str:
    """A table's folders as full paths, so that it is the same table from anywhere."""
    text, mark, picked = str(table).partition("#")
    if text == "digits":
        return str(table)
    return "+".join(str(Path(part).expanduser().resolve()) for part in text.split("+")) + mark + picked
