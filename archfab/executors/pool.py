"""Runs jobs in worker processes on this machine: JSON lines through pipes, no pickles.

A worker that dies takes one job with it; the job is tried once more, then it is recorded as failed.
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
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from archfab.core import Event, Executor, Job, Spec, Trial, UsageError, identity
from archfab.evaluate import Workbench

ATTEMPTS = 2


class Worker:
    """One process and the job that it is doing."""

    def __init__(self, spec: Spec, folder: Path | None, log: IO[bytes] | int,
                 done: queue.Queue[tuple[Worker, str]]) -> None:
        self.job: Job | None = None
        self.process = subprocess.Popen([sys.executable, "-m", "archfab.executors.pool"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=log, env=environment(spec))
        self.send({"spec": spec.plain(), "folder": str(folder) if folder else None})
        threading.Thread(target=self._listen, args=(done,), daemon=True).start()

    def send(self, data: dict[str, Any]) -> None:
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


class Pool(Executor):
    """Worker processes, each with a pipe; all of them end with the driver."""

    def __init__(self, bench: Workbench, workers: int = 1, log: Path | None = None) -> None:
        self.slots = workers
        self._spec, self._folder = bench.spec, bench.folder
        self._log: IO[bytes] | int = open(log, "ab") if log else subprocess.DEVNULL    # noqa: SIM115
        self._done: queue.Queue[tuple[Worker, str]] = queue.Queue()
        self._workers: list[Worker] = []
        self._waiting: deque[Job] = deque()
        self._attempts: dict[int, int] = {}

    def submit(self, job: Job) -> None:
        self._waiting.append(job)
        self._assign()

    def next(self) -> Event:
        while True:
            worker, line = self._done.get()
            job, worker.job = worker.job, None
            if line:
                assert job
                self._attempts.pop(id(job), None)
                self._assign()
                answer = json.loads(line)
                if "fault" in answer:
                    raise OSError(answer["fault"])
                if "request" in answer:
                    raise UsageError(answer["request"])
                return event_from(answer, job)
            self._workers.remove(worker)
            if job is not None and (event := self._died(worker, job)):
                return event

    def close(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
        self._workers.clear()
        if not isinstance(self._log, int):
            self._log.close()

    def _assign(self) -> None:
        for worker in self._workers:
            if worker.job is None and self._waiting:
                self._give(worker)
        while self._waiting and len(self._workers) < self.slots:
            self._workers.append(Worker(self._spec, self._folder, self._log, self._done))
            self._give(self._workers[-1])

    def _give(self, worker: Worker) -> None:
        worker.job = self._waiting.popleft()
        worker.send({"kind": worker.job.kind, "data": worker.job.data,
                     "trial": asdict(worker.job.trial) if worker.job.trial else None})

    def _died(self, worker: Worker, job: Job) -> Event | None:
        attempts = self._attempts[id(job)] = self._attempts.get(id(job), 1) + 1
        if attempts <= ATTEMPTS:
            self._waiting.appendleft(job)
            self._assign()
            return None
        self._attempts.pop(id(job))
        self._assign()
        code = worker.process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        note = f"the worker process {how}, twice (out of memory?)"
        if job.kind == "deliver":
            assert job.trial
            return Event("delivered", job.trial, note=note, data={"id": identity(job.trial.genotype)})
        return Event(OUTCOMES[job.kind], job.trial, note=note, data=numbered(job))


OUTCOMES: dict[str, Any] = {"try": "failed", "lesson": "lesson", "check": "checked", "deliver": "delivered",
                            "baseline": "baseline"}
"""The kind of the event that says that a job came to nothing."""


def numbered(job: Job) -> dict[str, Any]:
    return {"number": job.data["number"]} if job.kind == "lesson" else {}


def event_from(data: dict[str, Any], job: Job) -> Event:
    return Event(**{**data, "trial": job.trial})


def environment(spec: Spec) -> dict[str, str]:
    """The worker's environment: how many threads each library may use, and where this archfab lies."""
    threads = str(spec.threads)
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    waiting = os.environ.get("OMP_WAIT_POLICY", "passive")      # spinning threads stall each other on a busy machine
    return {**os.environ, "OMP_WAIT_POLICY": waiting,
            "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads,
            "PYTHONPATH": path}


def work() -> None:
    """A worker's whole life: the spec, then jobs, one a line, until the driver closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C is the driver's to handle
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)                                       # what a user's code prints is no answer
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    start = json.loads(lines.get())
    bench = Workbench(Spec.from_plain(start["spec"]), folder=Path(start["folder"]) if start["folder"] else None)
    while True:
        data = json.loads(lines.get())
        trial = Trial(**data["trial"]) if data["trial"] else None
        try:
            event = bench.run(Job(data["kind"], trial, data["data"]))
            answer = {**asdict(event), "trial": None}
        except OSError as error:                        # a full disk is the run's trouble, not the network's
            answer = {"fault": str(error)}
        except UsageError as error:                     # shared weights that cannot be used, say
            answer = {"request": str(error)}
        try:
            text = json.dumps(answer, allow_nan=False)
        except (TypeError, ValueError) as error:        # a task answered with something that is no plain data
            text = json.dumps({"kind": OUTCOMES[data["kind"]], "note": f"{type(error).__name__}: {error}",
                               "data": numbered(Job(data["kind"], None, data["data"]))})
        answers.write(text + "\n")
        answers.flush()


def _read(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)                                         # the driver is gone: nobody wants the answer


export = Pool

if __name__ == "__main__":
    work()
