"""What a run's events add up to: what is done, what is pending, what is left to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from archfab.core import Event, Spec, Trial, key_of
from archfab.space import network_of


class Log:
    """What the events so far add up to, kept up to date as they come."""

    def __init__(self, spec: Spec, events: Iterable[Event] = ()) -> None:
        self.spec = spec
        self.events: list[Event] = []
        self.ended: dict[str, str] = {}
        self.pending: dict[int, Trial] = {}
        self.next_number = 0
        self.done: dict[str, float] = {"search": 0, "random": 0}       # in whole trials
        self.rejections = {"search": 0, "random": 0}        # since the last trial that kept the limits
        self.known: dict[Any, Event] = {}
        self.scored: dict[Any, Event] = {}                  # by the network alone, whatever the device
        self.whole = 0                                      # different networks tried at the whole trial budget
        self.delivered: dict[int, Event] = {}
        self.lessons: list[Event] = []
        self.recent = 0.0                                   # of the search, in whole trials since the last lesson
        self.checked: dict[int, Event] = {}
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        self.events.append(event)
        trial = event.trial
        if event.kind == "asked":
            assert trial
            self.pending[trial.number] = trial
            self.next_number = trial.number + 1
        elif event.kind == "ended":
            self.ended[event.data["phase"]] = event.data["why"]
        elif event.kind == "lesson":
            self.lessons.append(event)
            self.whole = 0
            self.recent = 0.0
        elif trial is None:
            pass
        elif event.kind == "delivered":
            self.delivered[trial.number] = event
        elif event.kind == "checked":
            self.checked[trial.number] = event
        else:
            self.pending.pop(trial.number, None)
            if self.known.setdefault(self.key(trial), event) is event:
                self.whole += trial.fidelity == 1
            if event.kind == "ok":
                self.scored.setdefault(self.network_key(trial), event)
            if event.kind == "rejected":
                self.rejections[trial.arm] += 1
            else:
                self.rejections[trial.arm] = 0
                self.done[trial.arm] += trial.fidelity
                self.recent += trial.fidelity if trial.arm == "search" else 0

    @property
    def given(self) -> list[Event]:
        """The lessons that did not fail."""
        return [event for event in self.lessons if not event.note]

    def key(self, trial: Trial) -> Any:
        """What makes two trials the same: the network, how long it is trained, and what was taught before."""
        return key_of(trial.genotype), trial.fidelity, len(self.lessons)

    def network_key(self, trial: Trial) -> Any:
        """What makes two trials score alike: the same, without what was decided of the device."""
        return key_of(network_of(trial.genotype)), trial.fidelity, len(self.lessons)


def unfinished(spec: Spec, log: Log) -> list[str]:
    """The phases of a run that have not ended."""
    wanted = {"search": True, "random": spec.random, "baseline": True, "check": spec.check > 0,
              "deliver": spec.deliver > 0}
    return [phase for phase, asked in wanted.items() if asked and phase not in log.ended]
