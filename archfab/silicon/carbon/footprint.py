"""What a computation emitted: a command while it runs, measured where the machine tells; a past run, estimated."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archfab.core import UsageError
from archfab.silicon.carbon.estimate import PUE, Core, energy_terms
from archfab.silicon.carbon.grids import Grid
from archfab.silicon.carbon.meters import Found, find_meters, resident_bytes
from archfab.silicon.carbon.uncertain import Term, Total, total
from archfab.silicon.carbon.use import PUE_UNKNOWN, check_pue

APPLICATION = 0x61726366        # marks the SQLite files that are runs (archfab.runs)
SAMPLE = 0.5                    # seconds between two looks at the meters and at the memory
JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Spent:
    """What a computation took: time, processor time, memory, and the joules of those parts that told."""

    what: str
    seconds: float
    core_seconds: float
    memory_gb: float                                    # over the whole time
    joules: Mapping[str, float] = field(default_factory=dict)      # by part, measured
    meters: Sequence[str] = ()
    notes: Sequence[str] = ()
    exit: int | None = None


@dataclass(frozen=True)
class Emitted:
    """The energy of a computation in kWh and its emissions in grams, by part, each with how it is known."""

    energy_kwh: Total
    carbon_g: Total
    parts: Sequence[Mapping[str, Any]]
    measured: float                                     # share of the energy


def emitted(spent: Spent, grid: Grid, core: Core, pue: float | None = None, gpu_w: float = 0.0) -> Emitted:
    """Energy and emissions: measured parts as they are, the others by Green Algorithms, and what a data centre adds.

    :param pue: power usage effectiveness of where it ran; None: 1.56, which is only known roughly.
    """
    if pue is not None:
        check_pue(pue)
    factor, spread = (PUE_UNKNOWN, {"power usage effectiveness": PUE}) if pue is None else (pue, {})
    guessed = energy_terms(core=core, core_hours=spent.core_seconds / 3600, hours=spent.seconds / 3600,
                           memory_gb=spent.memory_gb, gpu_w=0.0 if "gpu" in spent.joules else gpu_w)
    parts: list[Mapping[str, Any]] = []
    terms = []
    for part, term in guessed.items():
        known = part in spent.joules
        value, doubt = (spent.joules[part] / JOULES_PER_KWH, {}) if known else (term.value, dict(term.spreads))
        if value or known:
            terms.append(Term(value * factor, {**doubt, **spread}))
            parts.append({"part": part, "kwh": value, "origin": "measured" if known else "analytic"})
    energy = total(terms)
    if factor > 1:
        parts.append({"part": "data centre (PUE)", "kwh": energy.value * (1 - 1 / factor), "origin": "analytic"})
    carbon = total([Term(term.value * grid.g_kwh, {**term.spreads, grid.factor: grid.spread}) for term in terms])
    told = math.fsum(part["kwh"] for part in parts if part["origin"] == "measured")
    return Emitted(energy, carbon, parts, told / energy.value if energy.value else 0.0)


def measure_command(command: Sequence[str], find: Callable[[], Found] = find_meters, quiet: bool = False,
                    memory_gb: float | None = None) -> Spent:
    """Runs a command and reads every meter of this machine before, while and after.

    Counters are of the whole processor and GPU: whatever else ran is in them, and so is their idle power.

    :param quiet: what the command prints goes to standard error, so that standard output is left to the answer.
    :raises UsageError: where there is no such command.
    """
    found = find()
    start = time.monotonic()
    before = {meter.name: meter.joules() for meter in found.meters}
    try:
        process = subprocess.Popen(list(command), stdout=sys.stderr.fileno() if quiet else None)
    except (OSError, ValueError) as error:
        raise UsageError(f"'{command[0]}' is no run, and as a command it cannot be started: {error}") from None
    looks: list[int] = []
    faults: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE if looks else 0.05):
            looks.append(resident_bytes(process.pid))
            try:
                for meter in found.meters:
                    meter.joules()
            except (RuntimeError, ValueError) as error:
                faults.append(str(error))
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        code, usage = wait_for(process)
    finally:
        over.set()
        watcher.join()
    seconds = time.monotonic() - start
    joules: dict[str, float] = {}
    try:
        for meter in () if faults else found.meters:
            joules[meter.part] = joules.get(meter.part, 0.0) + meter.joules() - before[meter.name]
    except (RuntimeError, ValueError) as error:
        faults.append(str(error))
        joules = {}
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    memory = sum(looks) / len(looks) if any(looks) else peak
    return Spent(" ".join(command), seconds, usage.ru_utime + usage.ru_stime,
                 memory / 1e9 if memory_gb is None else memory_gb, joules, [meter.name for meter in found.meters],
                 [*found.notes, *faults], code)


def wait_for(process: subprocess.Popen[bytes]) -> tuple[int, Any]:
    """Its exit code, and what it and all that it waited for used. An interrupt is left to it, so that it can save its
    work; the second one ends it."""
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except KeyboardInterrupt:
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except KeyboardInterrupt:
            process.kill()
            process.wait()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage


def read_run(folder: Path, memory_gb: float | None = None, usage: float = 1.0) -> Spent:
    """What a past run took, from its event log, which is opened for reading only: its workers' threads times the time
    that it was running for, at a given usage.

    :raises UsageError: where there is no run, or no event in it yet.
    """
    path = folder / "run.sqlite"
    if not path.is_file():
        raise UsageError(f"there is no run at {folder} (no file {path.name} in it), and no command was given; write "
                         "archfab silicon footprint RUN, or archfab silicon footprint -- COMMAND")
    try:
        elapsed, spec, environment = columns_of(path)
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise UsageError(f"{path} cannot be read as a run of archfab: {error}") from None
    if elapsed is None:
        raise UsageError(f"the run {folder} has no event yet, so it took no time that is known of")
    if not 0 <= usage <= 1:
        raise UsageError(f"a usage of {usage:g} is not possible; a share of each thread's time, from 0 to 1")
    threads = int(spec.get("workers", 1)) * int(spec.get("threads", 1))
    cores = min(threads, int(environment.get("cores") or threads))
    notes = [f"{spec.get('workers', 1)} workers of {spec.get('threads', 1)} threads on {environment.get('cores')} "
             f"cores, each busy for {100 * usage:g} % of {elapsed:.0f} s: a run does not keep its processor time; to "
             "measure a search, put it behind archfab silicon footprint --"]
    if memory_gb is None:
        notes.append("a run does not keep how much memory it took: none is counted; --memory-gb says it")
    return Spent(str(folder), elapsed, elapsed * cores * usage, memory_gb or 0.0, notes=notes)


def columns_of(path: Path) -> tuple[float | None, dict[str, Any], dict[str, Any]]:
    """Seconds at the last event, the spec and the environment of a run; a log on a read-only disk is read as it
    stands."""
    for way in ("mode=ro", "mode=ro&immutable=1"):
        db = sqlite3.connect(f"{path.resolve().as_uri()}?{way}", uri=True)
        try:
            if db.execute("pragma application_id").fetchone()[0] != APPLICATION:
                raise ValueError("it is a SQLite file, but not a run")
            elapsed = db.execute("select elapsed from events order by number desc limit 1").fetchone()
            spec, environment = db.execute("select spec.body, environment.body from spec, environment").fetchone()
            return elapsed and float(elapsed[0]), json.loads(spec), json.loads(environment)
        except sqlite3.OperationalError:
            if "immutable" in way:
                raise
        finally:
            db.close()
    raise AssertionError
