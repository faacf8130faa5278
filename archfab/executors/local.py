"""Runs jobs in this process, one at a time, in the order they were given."""

from __future__ import annotations

from collections import deque

from archfab.core import Event, Executor, Job
from archfab.evaluate import Workbench


class Local(Executor):
    """The null member among the executors: no process, no pipe."""

    slots = 1

    def __init__(self, bench: Workbench, workers: int = 1) -> None:
        self._bench = bench
        self._jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def next(self) -> Event:
        return self._bench.run(self._jobs.popleft())


export = Local
