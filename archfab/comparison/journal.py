"""The runs of a comparison on disk: one JSON line each, appended as they finish, so that nothing is done twice."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from archfab.core import UsageError, canonical, identity

Key = tuple[str, str, int]              # table, strategy, run
NAME = "runs.jsonl"


def key_of(record: Mapping[str, Any]) -> Key:
    return record["table"], record["strategy"], record["run"]


class Journal:
    """`runs.jsonl`: the request with its hash on the first line, then one line for each finished run."""

    def __init__(self, file: IO[bytes], done: dict[Key, dict[str, Any]]) -> None:
        self._file = file
        self.done = done

    def add(self, record: Mapping[str, Any]) -> None:
        """Keeps a finished run; a failed one is kept too, and tried again another time."""
        self._file.write(canonical(record).encode() + b"\n")
        self._file.flush()
        self.done[key_of(record)] = dict(record)


@contextmanager
def journal(folder: Path, header: Mapping[str, Any]) -> Iterator[Journal]:
    """Opens the runs of a comparison in a folder, new or begun earlier, for this process alone.

    :param header: what the comparison is; a folder that holds another one is refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / NAME, "a+b")                       # noqa: SIM115 - closed below
    except OSError as error:
        raise UsageError(f"a comparison cannot be kept in {folder}: {error.strerror}; choose another place with "
                         "--out DIR") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another process works on the comparison {folder}; wait for it or end it") from None
        file.seek(0)
        whole, _, torn = file.read().rpartition(b"\n")
        if torn or not whole:                                   # the process was killed while it wrote
            file.truncate(len(whole) + bool(whole))
        lines = whole.split(b"\n") if whole else []
        first = {"request": dict(header), "hash": identity(header)}
        if lines:
            same_request(folder, lines[0], first)
        else:
            file.write(canonical(first).encode() + b"\n")
            file.flush()
        yield Journal(file, {key_of(record): record for record in records(folder / NAME, lines[1:], header)})


def same_request(folder: Path, line: bytes, asked: Mapping[str, Any]) -> None:
    """Refuses a folder whose first line is another request's, or nobody's."""
    try:
        found = json.loads(line)
        before, seal = found["request"], found["hash"]
        if not isinstance(before, dict) or identity(before) != seal:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{folder / NAME}, line 1: this is no request of a comparison; remove the file, or choose "
                         "another --out DIR") from None
    if seal != asked["hash"]:
        now = json.loads(canonical(asked["request"]))
        differing = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        raise UsageError(f"{folder} holds another comparison (it differs in {', '.join(differing)}); choose another "
                         f"--out DIR, or remove {folder / NAME}")


def records(path: Path, lines: list[bytes], header: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The finished runs, each checked; of a run that was done twice the last one counts."""
    labels = {player["label"] for player in header["strategies"]}
    for number, line in enumerate(lines, 2):
        try:
            record = json.loads(line)
            table, strategy, run = key_of(record)
            good = table in header["tables"] and strategy in labels and run in range(header["runs"]) \
                and (isinstance(record.get("failed"), str) or whole(record))
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            raise UsageError(f"{path}, line {number} is damaged: it is no run of this comparison; delete the line, and "
                             "the same command does that run again")
        yield record


def whole(record: Mapping[str, Any]) -> bool:
    """Whether a finished run says all that it should."""
    numbers = [record["spent"], record["cpu"], record["steps"], record.get("rejected", 0),
               *(x for change in record["changes"] for x in change if x is not None)]
    return all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers) \
        and all(len(change) == 3 for change in record["changes"]) and isinstance(record["reported"], list)
