"""A run as its user sees it: the front, the trials, what was delivered, how it compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from archfab.core import Event, Genotype, Limit, Spec, UsageError, identity, key_of
from archfab.metrics.pareto import Point, front, shares
from archfab.runs.log import Log, unfinished
from archfab.runs.store import Store
from archfab.space import network_of


class Member:
    """One network of a run."""

    def __init__(self, run: Run, event: Event) -> None:
        assert event.trial
        self.run = run
        self.trial = event.trial.number
        self.arm = event.trial.arm
        self.genotype: Genotype = event.trial.genotype
        self.id = identity(event.trial.genotype)
        self.metrics = event.metrics
        self.figures = event.figures
        self.curve = event.curve

    @property
    def delivered(self) -> Mapping[str, Any]:
        """What its delivery found, or nothing where it was not delivered."""
        return self.run.deliveries.get(self.id, {})

    @property
    def bundle(self) -> Path | None:
        """The folder with the exported network, where it was delivered."""
        return self.run.folder / self.delivered["bundle"] if self.delivered else None

    def model(self) -> Any:
        """The trained torch module, read from its bundle."""
        if self.bundle is None:
            raise UsageError(f"network {self.id} was not delivered, so its trained weights were not kept; "
                             f"deliver it: archfab export {self.run.folder} {self.id}")
        from archfab.deliver import load_model
        return load_model(self.bundle)

    def plain(self) -> dict[str, Any]:
        row: dict[str, Any] = {"id": self.id, "genotype": dict(self.genotype), **self.metrics, "trial": self.trial}
        if self.delivered:
            row.update({f"test_{name}": value for name, value in self.delivered["test"].items()})
            row["bundle"] = str(self.bundle)
        return row

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {self.metrics[name]:.4g}" for name in self.run.spec.objectives)
        return f"<network {self.id}: {figures}>"


class Run:
    """Queries on one run's event log; nothing here changes it."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        store = Store.open(self.folder)
        self.spec: Spec = store.spec()
        self.environment = store.environment()
        self.events = list(store.events())
        self.seconds = store.last_elapsed()
        store.close()

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def finished(self) -> bool:
        """Whether everything that was asked for is done."""
        return not unfinished(self.spec, Log(self.spec, self.events))

    @cached_property
    def deliveries(self) -> dict[str, Mapping[str, Any]]:
        """What each delivery found, by the network's id; of several the last."""
        return {event.data["id"]: event.data for event in self.events
                if event.kind == "delivered" and "bundle" in event.data}

    def of(self, arm: str, *kinds: str) -> Iterator[Event]:
        """The events of one arm (`search`, or `random` beside it)."""
        return (event for event in self.events
                if event.kind in kinds and event.trial is not None and event.trial.arm == arm)

    def point(self, event: Event) -> Point:
        """The objectives as numbers to be made small."""
        return self.spec.point(event.metrics)

    def kept(self, arm: str = "search") -> list[Event]:
        """The networks of an arm that were scored at the whole trial budget and keep the limits; each once. Scores by
        shared weights count from the last lesson on."""
        found: dict[frozenset[Any], Event] = {}
        last = max((i for i, event in enumerate(self.events) if event.kind == "lesson" and not event.note),
                   default=-1)
        for event in self.events[last + 1:]:
            if event.kind == "ok" and event.trial and event.trial.arm == arm and event.trial.fidelity == 1 \
                    and self.spec.keeps(event.metrics):
                found.setdefault(key_of(event.trial.genotype), event)
        return list(found.values())

    def front_of(self, arm: str) -> list[Member]:
        events = self.kept(arm)
        return [Member(self, events[i]) for i in front([self.point(event) for event in events])]

    @cached_property
    def front(self) -> list[Member]:
        """The networks that no other beats in every objective, ordered by the first one."""
        return self.front_of("search")

    @property
    def best(self) -> Member:
        """The network that is best in the first objective; a delivered one where there is one."""
        members = [member for member in self.front if member.delivered] or self.front
        if not members:
            raise UsageError(f"run {self.name} has no network that keeps its limits")
        return members[0]

    def member(self, ident: str) -> Member:
        """A network of either arm by its id, or by the first digits of it."""
        found: dict[str, Event] = {}
        for event in self.events:
            if event.kind == "ok" and event.trial is not None and event.trial.fidelity == 1:
                found.setdefault(identity(event.trial.genotype), event)     # repeats are the same network
        hits = [event for key, event in found.items() if key.startswith(ident)]
        if len(hits) != 1:
            what = "several networks whose id begins" if hits else "no trained network whose id begins"
            raise UsageError(f"run {self.name} has {what} with '{ident}'; ids: archfab show {self.folder} --trials")
        return Member(self, hits[0])

    def trials(self) -> Table:
        """Every proposal as a row: number, arm, outcome, id, scores, costs, decisions."""
        rows = Table()
        for event in self.events:
            if event.kind in ("ok", "failed", "rejected") and event.trial is not None:
                rows.append({"trial": event.trial.number, "arm": event.trial.arm, "outcome": event.kind,
                             "id": identity(event.trial.genotype), "fidelity": event.trial.fidelity, **event.metrics,
                             "note": event.note, **event.trial.genotype})
        return rows

    def unknown(self) -> list[Event]:
        """Proposals of the search that were rejected though they break no limit: unknown to the estimator."""
        limits = [Limit.parse(text) for text in self.spec.limits]
        return [event for event in self.of("search", "rejected")
                if not any(limit.excess(event.metrics) for limit in limits)]

    def count(self, arm: str, *kinds: str) -> int:
        return sum(1 for _ in self.of(arm, *kinds))

    @property
    def baseline(self) -> dict[str, Mapping[str, float]]:
        """Scores reached without a search, by method."""
        return next((dict(event.data.get("scores", {})) for event in self.events if event.kind == "baseline"), {})

    def hypervolumes(self) -> dict[str, float]:
        """How much of the box between the best and worst point of either arm each arm's front dominates."""
        arms = ("search", "random")
        return dict(zip(arms, shares([[self.point(event) for event in self.kept(arm)] for arm in arms]), strict=True))

    def plain(self) -> dict[str, Any]:
        """The run as one JSON document."""
        volumes = self.hypervolumes()
        tried = {key_of(network_of(e.trial.genotype)) for e in self.of("search", "ok", "failed") if e.trial}
        document: dict[str, Any] = {
            "run": str(self.folder), "task": self.spec.task, "trials": self.count("search", "ok", "failed"),
            "different": len(tried),
            "failed": self.count("search", "failed"), "rejected": self.count("search", "rejected"),
            "unknown": len(self.unknown()),
            "seconds": round(self.seconds, 3), "finished": self.finished, "objectives": dict(self.spec.objectives),
            "hypervolume": volumes["search"], "front": [member.plain() for member in self.front],
            "baseline": {name: self.headline(scores) for name, scores in self.baseline.items()}, "random": {}}
        if self.spec.random and self.spec.strategy != "random":
            document["random"] = {
                "trials": self.count("random", "ok", "failed"), "failed": self.count("random", "failed"),
                "hypervolume": volumes["random"], "front": [member.plain() for member in self.front_of("random")]}
        from archfab.runs.shared import lessons, trust
        if taught := lessons(self):
            document["lessons"] = len(taught)
        if found := trust(self)[0]:
            document["ranking"] = found.plain()
        document["verdict"] = self.verdict()
        return document

    def trouble(self) -> str:
        """Why there is no network on the front, in words."""
        if broken := [event for event in self.events if event.kind == "lesson" and event.note]:
            return f"lesson {broken[-1].data['number']} failed: {broken[-1].note}"
        failed = [event.note for event in self.of("search", "failed")]
        if failed:
            return f"{len(failed)} networks failed; the last one so: {failed[-1]}"
        if unknown := self.unknown():
            return f"{len(unknown):,} networks that were proposed are unknown; the last one so: {unknown[-1].note}"
        if self.count("search", "rejected"):
            return "every network that was proposed is outside the limits"
        if not any(event.trial and event.trial.fidelity == 1 for event in self.of("search", "ok")):
            return "no network was tried at the whole trial budget; give more --trials or a longer --budget"
        return f"no network that was scored keeps the limits {', '.join(self.spec.limits)}"

    def undelivered(self, member: Member) -> str:
        """Why a network's delivery failed."""
        return next((event.note for event in reversed(self.events)
                     if event.kind == "delivered" and event.data.get("id") == member.id), "it was not delivered")

    def headline(self, scores: Mapping[str, float]) -> float | None:
        """The first objective's value among a baseline's scores."""
        return next((scores[name] for name in self.spec.objectives if name in scores), None)

    def verdict(self) -> list[str]:
        """Plain sentences: did the search beat the baselines and a random search of equal budget?"""
        from archfab.runs.verdict import verdict
        return verdict(self)

    def report(self) -> Path:
        """Writes `report.html` and `front.png` into the run's folder; returns the report's path."""
        from archfab.report import write_report
        return write_report(self)

    def _repr_png_(self) -> bytes:
        from archfab.runs.picture import front_png
        return front_png(self)

    def __repr__(self) -> str:
        return (f"<run {self.name} of {self.spec.task}: {self.count('search', 'ok', 'failed')} trials, "
                f"{len(self.front)} on the front>")


class Table(list[dict[str, Any]]):
    """Rows that a notebook shows as a table; `pandas.DataFrame(table)` takes it as it is."""

    def _repr_html_(self) -> str:
        from html import escape
        columns = list(dict.fromkeys(key for row in self for key in row))
        lines = ["".join(f"<td>{escape(str(row.get(c, '')))}</td>" for c in columns) for row in self]
        return (f"<table><tr>{''.join(f'<th>{escape(c)}</th>' for c in columns)}</tr>"
                + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")
