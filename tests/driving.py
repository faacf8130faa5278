"""Driving strategies in tests: as a search does it, without a log."""

import json
import random
from collections import deque
from dataclasses import asdict, fields, is_dataclass

import pytest

from archfab import Space, registry
from archfab.core import Event, Lesson, Limit, Trial, UsageError
from archfab.evaluate import load_device
from archfab.runs.store import Store

TOY = registry.load("tasks", "toy")()


def make(name, space=None, goals=None, limits=(), **options):
    limits = [Limit.parse(text) for text in limits]
    return registry.load("strategies", name)(space or Space(TOY.space()), goals or {"error": "min"}, limits, **options)


def ask(strategy, number, seed=0):
    return strategy.ask(number, random.Random(f"{seed}:{number}"))


def toy(trial):
    return Event("ok", trial, TOY.known(trial.genotype))


def lesson(strategy, number, seed=0):
    """What a lesson may find: random chances of every option."""
    rng = random.Random(f"{seed}:lesson:{number}")
    labels = {name: list(each) for name, each in strategy.space.labels.items()}
    return Event("lesson", data={"number": number, "loss": 1 / number, "labels": labels,
                                 "chances": {name: [rng.random() for _ in each] for name, each in labels.items()}})


def propose(strategy, number, seed=0, events=None):
    """The next trial, after the lessons that the strategy asks for; they are appended to the events."""
    events = [] if events is None else events
    while isinstance(asked := ask(strategy, number, seed), Lesson):
        json.dumps(asked.data)
        events.append(lesson(strategy, 1 + sum(event.kind == "lesson" for event in events), seed))
        strategy.tell(events[-1])
    return asked


def drive(strategy, trials, seed=0, judge=toy):
    """A run as the search does it; its events."""
    events = []
    for number in range(trials):
        trial = propose(strategy, number, seed, events)
        if trial is None:
            break
        for event in (Event("asked", trial), judge(trial)):
            strategy.tell(event)
            events.append(event)
    return events


def state(strategy):
    """All of a strategy's state as plain data."""
    return plain({name: value for name, value in vars(strategy).items() if name not in ("space", "hints")})


def plain(value):
    if hasattr(value, "state_dict"):                # a torch module or optimizer
        return plain(value.state_dict())
    if hasattr(value, "tolist"):                    # an array or tensor
        return value.tolist()
    if is_dataclass(value):
        return plain({item.name: getattr(value, item.name) for item in fields(value)})
    if isinstance(value, dict):
        return {repr(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | deque | set | frozenset):
        return [plain(each) for each in (sorted(value, key=repr) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, Space):
        return "the space"
    if value is None or isinstance(value, str | int | float | bool | type):
        return value
    return {"a": type(value).__name__, **plain(vars(value))}


def through_json(event):
    """The event as it is read back from a run's log."""
    data = json.loads(json.dumps(asdict(event)))
    return Event(**{**data, "trial": data["trial"] and Trial(**data["trial"])})


def errors(events):
    return [event.metrics["error"] for event in events if event.kind == "ok"]


def log(folder):
    """A run's log without its clock."""
    store = Store.open(folder)
    rows = [row[:5] for row in store.rows()]
    store.close()
    return rows


class Stop:
    """Interrupts a run after some events of a kind."""

    def __init__(self, kind, number):
        self.kind, self.number = kind, number

    def __call__(self, spec, folder):
        def watch(phase, log, elapsed):
            if sum(event.kind == self.kind for event in log.events) == self.number:
                raise KeyboardInterrupt
        return watch


def refuses_device(folder, text, said):
    """Whether a device file is refused with the words that say what is wrong in it."""
    file = folder / "mine.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        load_device(str(file))
