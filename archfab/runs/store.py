"""The run on disk: an append-only event log in SQLite (WAL). Only the driver writes it."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from archfab.core import Event, Spec, Trial, UsageError

APPLICATION = 0x61726366        # "arcf": tells our files from other SQLite files
VERSION = 1
SCHEMA = """
create table spec (body text not null);
create table environment (body text not null);
create table events (
    number  integer primary key,
    kind    text not null,
    trial   integer,
    arm     text,
    body    text not null,
    chain   integer not null,       -- checksum of this event and all before it
    elapsed real not null           -- seconds of running time; no part of what the run is
);
"""
COMMIT_SECONDS = 0.02               # what a killed driver repeats at most

Row = tuple[Any, ...]               # number, kind, trial, arm, body

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Store:
    """One run's event log, at `folder/run.sqlite`."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._db = connection
        before = self._db.execute("select number, chain, elapsed from events order by number desc limit 1").fetchone()
        last: tuple[int, int, float] = before or (0, self._first(), 0.0)
        self._number, self._chain, self._before = last
        self._start = self._committed = time.monotonic()

    @classmethod
    def create(cls, folder: Path, spec: Spec, environment: Mapping[str, Any]) -> Store:
        """A new run; the file appears whole or not at all."""
        path, draft = folder / "run.sqlite", folder / f"run.sqlite.{os.getpid()}.new"
        if path.exists():
            raise UsageError(f"there is a run at {folder} already; go on with it: archfab resume {folder}, "
                             "or give another --run NAME")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            draft.unlink(missing_ok=True)
            db = sqlite3.connect(draft)
            db.executescript(f"pragma application_id={APPLICATION}; pragma user_version={VERSION};" + SCHEMA)
            db.execute("insert into spec values (?)", (_encode(spec.plain()),))
            db.execute("insert into environment values (?)", (_encode(environment),))
            db.commit()
            db.close()
            os.link(draft, path)                            # fails where another process was first
            draft.unlink()
        except FileExistsError:
            draft.unlink()
            raise UsageError(f"another process has just begun a run at {folder}; give another --run NAME") from None
        except (OSError, sqlite3.Error) as error:
            for leftover in (draft, draft.with_name(draft.name + "-journal")):
                leftover.unlink(missing_ok=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
            raise UsageError(f"a run cannot be kept in {folder}: {error}; choose another place with --runs DIR") \
                from None
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Store:
        """An existing run; checks that the file is one of ours and whole."""
        path = folder / "run.sqlite"
        if not path.is_file():
            raise UsageError(f"there is no run at {folder} (no file {path.name} in it)")
        try:
            db = sqlite3.connect(path, isolation_level=None)
            db.execute("pragma busy_timeout=5000")
            mark = db.execute("pragma application_id").fetchone()[0]
            version = db.execute("pragma user_version").fetchone()[0]
            if mark != APPLICATION:
                raise UsageError(f"{path} is a SQLite file, but not a run of archfab")
            if version > VERSION:
                raise UsageError(f"{path} was written by a newer archfab (format {version}, this one reads {VERSION})")
            if (fault := db.execute("pragma quick_check").fetchone()[0]) != "ok":
                raise UsageError(f"{path} is damaged ({fault.splitlines()[0]}); restore it from a copy")
            if os.access(path, os.W_OK) and os.access(folder, os.W_OK):
                db.execute("pragma journal_mode=wal")
                db.execute("pragma synchronous=normal")
            store = cls(folder, db)
            store.spec(), store.environment()       # both can be read
            return store
        except (sqlite3.Error, TypeError, ValueError, IndexError, AttributeError) as error:
            raise UsageError(f"{path} cannot be read as a run of archfab: {error}") from None

    def spec(self) -> Spec:
        return Spec.from_plain(json.loads(self._db.execute("select body from spec").fetchone()[0]))

    def environment(self) -> dict[str, Any]:
        return json.loads(self._db.execute("select body from environment").fetchone()[0])

    @property
    def elapsed(self) -> float:
        """Seconds that the run has been running for, over all its resumptions."""
        return self._before + time.monotonic() - self._start

    def record(self, event: Event) -> None:
        """Appends one event."""
        if not self._db.in_transaction:
            self._db.execute("begin immediate")
        trial = event.trial
        row = (self._number + 1, event.kind, trial.number if trial else None, trial.arm if trial else None,
               _encode(body_of(event)))
        chain = link(row, self._chain)
        self._db.execute("insert into events values (?,?,?,?,?,?,?)", (*row, chain, self.elapsed))
        self._number, self._chain = row[0], chain
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self.commit()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the run for one driver: a second one is refused, and a full disk is said in words."""
        with open(self.folder / "driver.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"another process works on the run {self.folder}; wait for it or end it") from None
            yield

    def commit(self) -> None:
        if self._db.in_transaction:
            self._db.execute("commit")
        self._committed = time.monotonic()

    def rows(self) -> Iterator[Row]:
        """The log as it is stored, oldest first, each event checked against its checksum."""
        chain, number, path = self._first(), 0, self.folder / "run.sqlite"
        try:
            for *row, found, _ in self._db.execute("select * from events order by number"):
                number, chain = number + 1, link(row, chain)
                if chain != found or row[0] != number:
                    raise UsageError(f"{path} is damaged at event {number}; restore it from a copy")
                yield tuple(row)
        except (sqlite3.Error, UnicodeError) as error:
            raise UsageError(f"{path} is damaged after event {number}: {error}") from None

    def events(self) -> Iterator[Event]:
        """The log as events, oldest first."""
        trials: dict[int, Trial] = {}
        for _, kind, number, arm, text in self.rows():
            yield event_of(kind, number, arm, json.loads(text), trials)

    def _first(self) -> int:
        """The checksum that the log begins with: of what the run is."""
        return link(self._db.execute("select spec.body, environment.body from spec, environment").fetchone(), 0)

    def last_elapsed(self) -> float:
        return float(self._before)

    def close(self) -> None:
        """Commits and closes; the write-ahead log is folded into the file."""
        self.commit()
        self._db.close()


def link(row: Sequence[Any], before: int) -> int:
    """The checksum of a row and of the one before it."""
    return zlib.crc32(repr(tuple(row)).encode(), before)


def body_of(event: Event) -> dict[str, Any]:
    """What an event says beyond its kind and trial number. A genotype is kept once, where it was asked."""
    if event.kind == "asked":
        assert event.trial
        share = {} if event.trial.fidelity == 1 else {"fidelity": event.trial.fidelity}
        return {"genotype": event.trial.genotype, "parent": event.trial.parent, **share}
    body = {"metrics": event.metrics, "figures": event.figures, "curve": event.curve, "note": event.note,
            "data": event.data}
    return {key: value for key, value in body.items() if value}


def event_of(kind: Any, number: int | None, arm: str | None, body: dict[str, Any], trials: dict[int, Trial]) -> Event:
    """The event that `body_of` took apart; `trials` remembers those already asked."""
    if kind == "asked":
        assert number is not None and arm is not None
        trials[number] = Trial(number, body["genotype"], arm, body["parent"], body.get("fidelity", 1.0))
        return Event("asked", trials[number])
    return Event(kind, trials.get(number) if number is not None else None, **body)
