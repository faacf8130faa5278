"""Plays runs in worker processes: JSON lines through pipes, no pickles.

A worker that dies takes one run with it; the run is tried once more, then it is recorded as failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from archfab.comparison.journal import Key
from archfab.comparison.play import course, make_strategy
from archfab.comparison.request import Request
from archfab.comparison.yardstick import Yardstick
from archfab.tables import Table, read_table

AHEAD = 2               # runs that a worker is given at once, so that it never waits for the next
ATTEMPTS = 2
START = "from archfab.comparison.workers import work; work()"
SEEDS = 1_000_000       # so that comparisons of different seeds share no run


class Worker:
    """One process, and the runs that it was given and has not answered."""

    def __init__(self, setup: Mapping[str, Any], log: IO[bytes] | int,
                 done: queue.Queue[tuple[Worker, str]]) -> None:
        self.keys: deque[Key] = deque()
        self.process = subprocess.Popen([sys.executable, "-c", START], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=log, env=environment())
        self._send(setup)
        threading.Thread(target=self._listen, args=(done,), daemon=True).start()

    def give(self, key: Key) -> None:
        self.keys.append(key)
        self._send(key)

    def _send(self, data: Any) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):      # its death is reported by the listener
            self.process.stdin.write(json.dumps(data).encode() + b"\n")
            self.process.stdin.flush()

    def _listen(self, done: queue.Queue[tuple[Worker, str]]) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.endswith(b"\n"):                    # else it died in the middle of its answer
                done.put((self, line.decode()))
        done.put((self, ""))


def play_all(request: Request, yardsticks: Mapping[str, Yardstick], keys: Sequence[Key], workers: int,
             log: Path | None = None) -> Iterator[dict[str, Any]]:
    """The records of some runs, as they finish. Ends its processes however it is left."""
    setup = {"request": request.plain(), "yardsticks": {name: each.plain() for name, each in yardsticks.items()}}
    done: queue.Queue[tuple[Worker, str]] = queue.Queue()
    waiting, died = deque(keys), Counter[Key]()
    crew: list[Worker] = []
    with open(log, "ab") if log else contextlib.nullcontext(subprocess.DEVNULL) as errors:
        try:
            while waiting or any(worker.keys for worker in crew):
                while len(crew) < min(workers, len(waiting)):
                    crew.append(Worker(setup, errors, done))
                for ahead in range(1, AHEAD + 1 if len(waiting) > workers else 2):
                    for worker in crew:
                        if waiting and len(worker.keys) < ahead:
                            worker.give(waiting.popleft())
                worker, line = done.get()
                if line:
                    yield record(worker.keys.popleft(), json.loads(line))
                    continue
                crew.remove(worker)
                if worker.keys:
                    lost = worker.keys.popleft()
                    waiting.extendleft(reversed(worker.keys))
                    died[lost] += 1
                    if died[lost] < ATTEMPTS:
                        waiting.appendleft(lost)
                    else:
                        yield record(lost, {"failed": obituary(worker.process.wait(), log)})
        finally:
            for worker in crew:
                worker.process.kill()
            for worker in crew:
                worker.process.wait()
            if log and not log.stat().st_size:          # nobody complained
                log.unlink()


def record(key: Key, answer: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict(zip(("table", "strategy", "run"), key, strict=True)), **answer}


def obituary(code: int, log: Path | None) -> str:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"the worker process {how}, twice" + (f"; see {log.name}" if log else "")


def environment() -> dict[str, str]:
    """The worker's environment: one thread, and where this archfab lies."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": path}


def play_one(request: Request, table: Table, yardstick: Yardstick, label: str, run: int) -> dict[str, Any]:
    """One run: the values it reports wherever they change, what it used, or why it failed."""
    player = next(player for player in request.strategies if player.label == label)
    start = time.process_time()
    try:
        strategy = make_strategy(player.name, table, yardstick.goals, request.bounds, player.options, request.hints)
        played = course(strategy, table, request.evaluations, request.seed * SEEDS + run, noise=request.noise,
                        epochs=request.epochs)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}
    cpu = time.process_time() - start
    steps = played.steps
    changes, reported = yardstick.trace(steps)
    return {"changes": changes, "reported": reported, "steps": len(steps), "rejected": played.rejected,
            "ended": played.ended, "spent": steps[-1].spent if steps else 0.0,
            "seconds": steps[-1].seconds if steps else None, "cpu": round(cpu, 6)}


def work() -> None:
    """A worker's whole life: the request, then runs, one a line, until the driver closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C is the driver's to handle
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)                                       # what a user's strategy prints is no answer
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    setup = json.loads(lines.get())
    request = Request.from_plain(setup["request"])
    yardsticks = {name: Yardstick.from_plain(each) for name, each in setup["yardsticks"].items()}
    table_of = cache(read_table)
    while True:
        table, label, run = json.loads(lines.get())
        answer = play_one(request, table_of(table), yardsticks[table], label, run)
        answers.write(json.dumps(answer, allow_nan=False) + "\n")
        answers.flush()


def _read(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)                                         # the driver is gone: nobody wants the answer
