"""How long something takes, so that it can be believed: warm, repeated, with an interval, and with drift seen.

Needs the standard library alone (Python 3.8), because it is sent as it stands to boards that have no archfab.
"""

from __future__ import annotations

import gc
import hashlib
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

LEAST = 1e-3            # seconds of one sample: shorter runs are repeated within it
WINDOW = 3              # runs whose median says whether the warm-up still gets faster
SETTLED = 0.98          # a median above this share of the one before is no longer getting faster
CALM = 0.03             # share of a sample that others may have had the processor
PASSES = 7              # of the calibration kernel, each time
KERNEL = b"\x5a" * 400_000


class Clock:
    """The times that a measurement reads, in seconds: on the wall, of this process, of this thread."""

    wall = staticmethod(time.perf_counter)
    process = staticmethod(time.process_time)
    thread = staticmethod(time.thread_time)


@dataclass(frozen=True)
class Settings:
    """How long and how strictly something is timed."""

    seconds: float = 1.0    # of timing, after the warm-up
    warmup: float = 0.5     # seconds of warm-up at most; it ends when runs no longer get faster
    blocks: int = 5         # between which the machine is looked at
    drift: float = 0.05     # change of the calibration kernel, as a share, beyond which a block is measured again
    busy: float = 0.1       # share of the time in which others had the processor, beyond which it is measured again
    again: int = 5          # blocks that are measured again at most
    refuse: float = 2.0     # an unsteady machine whose own times differ by more than this, as a share, is refused


@dataclass(frozen=True)
class Beat:
    """One look at the machine: the fastest pass of a kernel whose work never changes, and who had the processor."""

    seconds: float
    taken: float            # share of the time that others had the processor


@dataclass(frozen=True)
class Block:
    """Samples in a row, between two looks at the machine. With one thread, those during which other work had the
    processor are set aside; where that leaves none, that time is taken off all of them, and `wall` keeps it."""

    samples: tuple[float, ...]
    wall: float                 # median of the samples as the clock on the wall has it
    runs: int
    aside: int
    before: Beat
    after: Beat
    single: bool                # one thread
    taken: float
    joules: float | None = None


def beat(clock: Any = Clock) -> Beat:
    """The calibration kernel: hashing of 400 kB, which a processor does at a speed that only its frequency sets."""
    best, cpu, start = math.inf, clock.thread(), clock.wall()
    for _ in range(PASSES):
        begin = clock.wall()
        hashlib.sha256(KERNEL).digest()
        best = min(best, clock.wall() - begin)
    wall = clock.wall() - start
    return Beat(best, max(0.0, 1 - (clock.thread() - cpu) / wall))


def measure(run: Callable[[], Any], settings: Settings, threads: int = 1, clock: Any = Clock,
            look: Callable[[Any], Beat] = beat, meter: Callable[[], float] | None = None,
            tick: Callable[[], None] = lambda: None,
            renew: Callable[[], Callable[[], Any]] | None = None) -> dict[str, Any]:
    """Times `run` and says how far that can be off, as plain data (see `summary`).

    :param threads: how many `run` uses; with one, processor time that a sample lacks was taken by other work.
    :param look: how the machine is looked at. :param meter: joules used so far, where that can be read.
    :param tick: called between samples, never within one. :param renew: gives another `run` of the same for each block,
        so that where it happens to lie in memory counts as chance.
    """
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        seconds, warm = warm_up(run, settings, clock, tick)
        inner = max(1, math.ceil(LEAST / max(seconds, 1e-9)))
        blocks: list[Block] = []
        before = look(clock)
        while len(good(blocks, settings)) < settings.blocks and len(blocks) < settings.blocks + settings.again:
            if blocks and renew:
                run = renew()
                for _ in range(WINDOW if inner > 1 else 1):
                    run()
                    tick()
                before = look(clock)
            block = timed(run, inner, settings.seconds / settings.blocks, threads, before, clock, look, meter, tick)
            blocks.append(block)
            before = block.after
        return summary(blocks, settings, warm)
    finally:
        if collecting:
            gc.enable()


def warm_up(run: Callable[[], Any], settings: Settings, clock: Any, tick: Callable[[], None]) -> tuple[float, int]:
    """Runs until it no longer gets faster; the seconds of a late run, and how many runs that took."""
    taken: list[float] = []
    start = clock.wall()
    while True:
        begin = clock.wall()
        run()
        taken.append(clock.wall() - begin)
        tick()
        late = clock.wall() - start >= settings.warmup
        if len(taken) >= 2 * WINDOW:
            now, then = statistics.median(taken[-WINDOW:]), statistics.median(taken[-2 * WINDOW:-WINDOW])
            if late or (now >= SETTLED * then and clock.wall() - start >= settings.warmup / 10):
                return now, len(taken)
        elif late and len(taken) > 1:
            return taken[-1], len(taken)


def timed(run: Callable[[], Any], inner: int, seconds: float, threads: int, before: Beat, clock: Any,
          look: Callable[[Any], Beat], meter: Callable[[], float] | None, tick: Callable[[], None]) -> Block:
    """A block of samples, and a look at the machine after it."""
    samples: list[tuple[float, float]] = []         # seconds on the wall, and of them those that others took
    passed = 0.0
    joules = meter() if meter else 0.0
    while not samples or passed < seconds:
        cpu, begin = clock.process(), clock.wall()
        for _ in range(inner):
            run()
        took = clock.wall() - begin
        samples.append((took / inner, max(0.0, took - (clock.process() - cpu)) / inner if threads == 1 else 0.0))
        passed += took
        tick()
    used = (meter() - joules) / (inner * len(samples)) if meter else None
    calm = [(wall, 0.0) for wall, others in samples if others <= CALM * wall] or samples
    taken = sum(others for _, others in calm) / max(sum(wall for wall, _ in calm), 1e-12)
    return Block(tuple(wall - others for wall, others in calm), statistics.median(wall for wall, _ in calm),
                 inner * len(calm), len(samples) - len(calm), before, look(clock), threads == 1, taken, used)


def good(blocks: Sequence[Block], settings: Settings) -> list[Block]:
    """The blocks around which the machine was as fast as it ever was, and ours."""
    return [block for block in blocks if not fault(block, blocks, settings)]


def fault(block: Block, blocks: Sequence[Block], settings: Settings) -> str:
    """What is wrong with a block, in words; empty when nothing is."""
    best = min(each.seconds for other in blocks for each in (other.before, other.after))
    slow = max(block.before.seconds, block.after.seconds) / best - 1
    taken = lost(block)
    if slow > settings.drift:
        return f"the processor was {100 * slow:.0f} % slower than at its best"
    return f"other work had the processor for {100 * taken:.0f} % of the time" if taken > settings.busy else ""


def lost(block: Block) -> float:
    """The share of the time that others had the processor: known sample by sample with one thread (the rest is set
    aside); with several, only of the looks at the machine."""
    return block.taken if block.single else max(block.before.taken, block.after.taken)


def summary(blocks: Sequence[Block], settings: Settings, warm: int) -> dict[str, Any]:
    """Seconds a run: `median`, `low` and `high`; whether the machine was `steady`, and what was wrong if not.

    The interval holds the true median with 95 % by order statistics, and the medians of all blocks. On a machine
    that was not steady it holds those of every block, the disturbed ones too, with the time on the wall as well as
    without what other work took of it; `refused` says when the latter alone is too wide.
    """
    kept = good(blocks, settings)
    steady = len(kept) >= settings.blocks
    used = kept if steady else list(blocks)
    samples = sorted(x for block in used for x in block.samples)
    medians = [statistics.median(block.samples) for block in used]
    low, high = interval(samples)
    low, own = min(low, *medians), max(high, *medians)
    high = max(own, *(block.wall for block in used))
    faults = [fault(block, blocks, settings) for block in blocks]
    said = [text for text in faults if text]
    found = {"median": statistics.median(samples), "low": low, "high": high, "steady": steady,
             "refused": not steady and own > (1 + settings.refuse) * low, "samples": len(samples),
             "set_aside": sum(block.aside for block in used),
             "runs": sum(block.runs for block in used), "warm_up_runs": warm,
             "blocks": [{"median": statistics.median(block.samples), "calibration": block.after.seconds,
                         "taken": lost(block), "fault": text} for block, text in pairs(blocks, faults)],
             "measured_again": len(blocks) - settings.blocks,
             "note": "" if steady else f"{len(said)} of {len(blocks)} blocks were disturbed: {said[-1]}"}
    joules = [block.joules for block in used if block.joules is not None]
    if joules:
        found["joules"] = {"median": statistics.median(joules), "low": min(joules), "high": max(joules)}
    return found


def pairs(first: Sequence[Any], second: Sequence[Any]) -> list[tuple[Any, Any]]:
    return [(first[i], second[i]) for i in range(len(first))]


def interval(ordered: Sequence[float]) -> tuple[float, float]:
    """Where the median of the source lies, from sorted samples: the order statistics between which it is with 95 %
    (binomial; the normal approximation above 200 samples). All of the range where there are few."""
    n = len(ordered)
    if n > 200:
        rank = math.floor(n / 2 - 1.96 * math.sqrt(n) / 2)
    else:
        rank, below = 0, 1                      # chance, times 2^n, that at most `rank` samples lie below the median
        while below <= 0.025 * 2 ** n:
            rank += 1
            below += math.comb(n, rank)
    rank = max(0, min(rank, n) - 1)
    return ordered[rank], ordered[n - 1 - rank]
