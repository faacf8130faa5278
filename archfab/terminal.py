"""What a person sees: progress while a run goes on, and its result as tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archfab.metrics.pareto import front
from archfab.space import device_of

if TYPE_CHECKING:
    from archfab.core import Spec
    from archfab.runs import Log

REDRAW = 0.2            # seconds between two drawings on a terminal
REPORT = 15.0           # and between two lines in a file
COLUMNS = 8             # figures of a front that are shown
PHASES = {"search": "searching", "random": "random search beside it", "baseline": "baselines",
          "check": "training some networks alone, to check the shared weights",
          "deliver": "training and exporting the front"}


class Line:
    """One line on standard error that is drawn again now and then; in a file, a line now and then."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self._drawn = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._drawn > (REDRAW if self.live else REPORT)

    def write(self, text: str) -> None:
        self._drawn = time.monotonic()
        sys.stderr.write(f"\r\x1b[2K{text}" if self.live else text + "\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Clears the live line, so that the result stands alone."""
        if self.live:
            sys.stderr.write("\r\x1b[2K")


class Progress(Line):
    """One live line: trials done, best so far, size of the front, time left."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self._phase = ""
        self._points: list[tuple[float, ...]] = []
        self._seen = 0
        self._lessons, self._taught = 0, 0.0        # lessons so far, and the time after the last one

    def __call__(self, phase: str, log: Log, elapsed: float) -> None:
        if phase != self._phase or self.due():
            self._phase = phase
            self.write(self.line(phase, log, elapsed))

    def line(self, phase: str, log: Log, elapsed: float) -> str:
        """The state of a run in one line."""
        words = [PHASES[phase]]
        if len(log.lessons) > self._lessons:
            self._lessons, self._taught = len(log.lessons), elapsed
        if phase == "search" and log.lessons and not log.done["search"]:
            return self.lessons(log, elapsed)
        if phase in ("search", "random"):
            self._take_in(log)
            most = self.spec.trials if phase == "search" else log.recent
            words.append(f"{count(log.done[phase])}{f'/{count(most)}' if most else ''} trials")
            words += self.best()
            words.append(f"{clock(elapsed)} so far")
            if (left := self.left(phase, log, elapsed, most)) is not None:
                words.append(f"about {clock(left)} left in this part")
        elif phase == "deliver":
            words.append(f"{len(log.delivered)}/{self.spec.deliver} networks, {clock(elapsed)} so far")
        return " · ".join(words)

    def lessons(self, log: Log, elapsed: float) -> str:
        """The state of shared weights in one line."""
        done, last = len(log.lessons), log.lessons[-1].data
        of = f"/{last['of']}" if "of" in last else ""
        words = [f"training shared weights · {done}{of} lessons"]
        words += [f"loss {last['loss']:.4g}"] if "loss" in last else []
        words.append(f"{clock(elapsed)} so far")
        if "of" in last and done < last["of"]:
            words.append(f"about {clock(elapsed / done * (last['of'] - done))} left in this part")
        return " · ".join(words)

    def best(self) -> list[str]:
        if not self._points:
            return []
        name, sense = next(iter(self.spec.objectives.items()))
        best = min(point[0] for point in self._points)
        return [f"best {name} {best if sense == 'min' else -best:.4g}", f"front {len(self._points)}"]

    def left(self, phase: str, log: Log, elapsed: float, most: float | None) -> float | None:
        """Seconds until this part ends, by the pace so far."""
        done = log.done["search"] + (log.done["random"] if phase == "random" else 0)
        by_pace = (most - log.done[phase]) * (elapsed - self._taught) / done if most and done else None
        share = 0.5 if phase == "search" and self.spec.random else 1.0
        by_time = max(0.0, share * self.spec.seconds - elapsed) if self.spec.seconds else None
        known = [value for value in (by_pace, by_time) if value is not None]
        return min(known) if known else None

    def _take_in(self, log: Log) -> None:
        """Keeps the front of the search up to the newest event; scores before a lesson count no longer."""
        if any(event.kind == "lesson" for event in log.events[self._seen:]):
            self._points = []
        self._points += [self.spec.point(event.metrics) for event in log.events[self._seen:]
                         if event.kind == "ok" and event.trial and event.trial.arm == "search"
                         and event.trial.fidelity == 1
                         and self.spec.keeps(event.metrics)]
        self._seen = len(log.events)
        self._points = [self._points[i] for i in front(self._points)]


class Runs(Line):
    """One live line: runs of a comparison done, and the time left."""

    def __call__(self, done: int, total: int, elapsed: float, left: float | None) -> None:
        if self.due():
            rest = "" if left is None else f" · about {clock(left)} left"
            self.write(f"comparing · {done}/{total} runs · {clock(elapsed)} so far{rest}")


def count(trials: float) -> str:
    """Whole trials without a point; parts of one, which trials of lower fidelity are, with one."""
    return f"{trials:,.0f}" if abs(trials - round(trials)) < 0.05 else f"{trials:,.1f}"


def clock(seconds: float) -> str:
    seconds = round(seconds)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def say(text: str = "") -> None:
    print(text)


def show_table(header: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """A table on standard output."""
    from rich.console import Console
    from rich.table import Table
    drawn = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in header:
        drawn.add_column(name, overflow="fold")
    for row in rows:
        drawn.add_row(*(number(cell) for cell in row))
    console = Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 200, highlight=False,
                      markup=False)
    console.print(drawn)


def number(cell: Any) -> str:
    if isinstance(cell, bool) or cell is None:
        return {True: "yes", False: "no", None: ""}[cell]
    return f"{cell:.5g}" if isinstance(cell, float) else str(cell)


def show_run(document: Mapping[str, Any]) -> None:
    """A run's result as a person wants it: the front, then how it compares."""
    front = document["front"]
    outside = document["rejected"] - document["unknown"]
    rejected = (f", {outside:,} outside the limits" if outside else "") + (
        f", {document['unknown']:,} that the estimator does not know" if document["unknown"] else "")
    say(f"{document['run']}: {document['trials']} trials of {document['different']} networks "
        f"({document['failed']} failed{rejected}) in "
        f"{clock(document['seconds'])}{'' if document['finished'] else ', not finished'}")
    if front:
        names = columns(front, document["objectives"])
        chip = list(dict.fromkeys(name for member in front for name in device_of(member["genotype"])))
        rows = [[member["id"], *(member.get(name) for name in names),
                 *(device_of(member["genotype"]).get(name) for name in chip), member.get("bundle", "")]
                for member in front]
        show_table(["network", *names, *chip, "bundle"], rows)
    for sentence in document["verdict"]:
        say(sentence)


def columns(front: Sequence[Mapping[str, Any]], objectives: Sequence[str]) -> list[str]:
    """The figures of a front that are shown: the objectives, their scores on test data, and a few others."""
    known = dict.fromkeys(name for member in front for name in member)
    first = [*objectives, *(name for name in known if name.startswith("test_") and name != "test_loss")]
    others = [name for name in known if name not in ("genotype", "bundle", "id", "trial", "loss", "test_loss", *first)]
    return [*dict.fromkeys([*first, *others[:max(0, COLUMNS - len(first))]])]


def show_space(document: Mapping[str, Any]) -> None:
    """The report of a space."""
    size = document["size"]
    say(f"{f'{size:,} architectures' if size is not None else 'too entangled to be counted'}, "
        f"hash {document['hash']}, sampled {document['sampling']}")
    show_table(["choice", "options", "when"],
               [[c["name"], ", ".join(map(str, c["labels"])), c["when"]] for c in document["choices"]])
    say()
    show_table(["lowering", "possible", "because"],
               [[name, found["ok"], found["because"]] for name, found in document["lowerings"].items()])
    if document["costs"]:
        say()
        show_table(["cost", "least", "median", "most"],
                   [[name, row["least"], row["median"], row["most"]] for name, row in document["costs"].items()],
                   f"on {document['device']}, over {document['drawn']} random networks")
    if document["trial_seconds"] is not None:
        say()
        say(f"one trial takes about {clock(document['trial_seconds'])} here, a search of 50 trials and its random "
            f"search about {clock(100 * document['trial_seconds'])} on one worker (measured on a middling network)")
    given = {"supernet": "--estimator supernet", "darts": "--strategy darts"}
    if priced := [f"{clock(seconds)} with {given[name]}" for name, seconds in document["lesson_seconds"].items()]:
        say(f"one lesson, an epoch of weights that all networks share, takes about {' and '.join(priced)}")


def show_options(document: Mapping[str, Any]) -> None:
    """What can be set of a plug-in."""
    say(document["about"])
    if document["options"]:
        show_table(["option", "default", "meaning"], [list(row.values()) for row in document["options"]])
    if document.get("predict"):
        show_table(["option", "default", "meaning"], [list(row.values()) for row in document["predict"]],
                   "of archfab predict")


def show_comparison(document: Mapping[str, Any]) -> None:
    """Each table's strategies at the budgets, the least regret first, then what can be said of them."""
    for table in document["tables"]:
        rows = sorted((row for row in table["strategies"] if row["budgets"]),
                      key=lambda row: row["budgets"][-1]["mean"])
        if rows:
            places = [f"{point['at']:g}" for point in rows[0]["budgets"]]
            show_table(["strategy", *(f"{table['measure']} at {place}" for place in places), "regret", "95 %", "runs"],
                       [[row["strategy"], *(point["value"] for point in row["budgets"]), row["budgets"][-1]["mean"],
                         "{low:.4g} to {high:.4g}".format(**row["budgets"][-1]), row["runs"]] for row in rows],
                       table["label"])
            say()
    for sentence in document["verdict"]:
        say(sentence)
