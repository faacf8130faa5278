"""One network on one simulated core: code generated, linked, run, and compared with the integer reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archfab.core import BuildError
from archfab.hardware.int8.graph import Graph
from archfab.hardware.int8.reference import run_all
from archfab.hardware.mcu.cache import Cache
from archfab.hardware.mcu.codegen import Program, generate
from archfab.hardware.mcu.cores import Core
from archfab.hardware.mcu.simulator import SECONDS, counter_digest, simulate
from archfab.hardware.mcu.toolchain import Sizes, digest, link, temporary


@dataclass(frozen=True)
class Execution:
    """What a run of a network needed: bytes, and for each operator that has code its mnemonics with their counts."""

    sizes: Sizes
    nodes: tuple[int, ...]
    histograms: tuple[Counter[str], ...]

    @property
    def instructions(self) -> int:
        return sum(sum(each.values()) for each in self.histograms)


def examples(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    """Inputs that reach every int8 number."""
    rng = np.random.default_rng(seed)
    return [rng.integers(-128, 128, graph.tensors[i].shape).astype(np.int8) for i in graph.inputs]


def execute(graph: Graph, core: Core, cache: Cache, inputs: Sequence[np.ndarray] | None = None,
            room: Mapping[str, float] | None = None, seconds: float = SECONDS) -> Execution:
    """Runs a network once, or remembers what a run of the same code gave.

    :param inputs: int8 inputs; without any, `examples`. :param room: the device's memory_kb and flash_kb.
    :raises BuildError: where it cannot be generated, does not fit, does not finish, or where a single number of the
        outputs differs from the reference.
    """
    inputs = examples(graph) if inputs is None else inputs
    program = generate(graph, core, inputs)
    least = Sizes(program.constants, program.arena)
    fits(least, room or {})
    fits(least, {"flash_kb": core.flash[1] / 1024, "memory_kb": core.ram[1] / 1024}, f"simulated board {core.machine}")
    name = f"run-{digest(core, program.source, counter_digest())}"
    known = recalled(cache.read(name), program)
    if known:
        fits(known.sizes, room or {})
        return known
    with temporary() as folder:
        sizes = link(program.source, core, folder, cache)
        fits(sizes, room or {})
        found = simulate(folder / "network.elf", core, cache, seconds)
    compare(graph, core, cache, inputs, found.printed, seconds)
    if len(found.histograms) != len(program.nodes):
        raise BuildError(f"the simulated {core.name} passed {len(found.histograms)} marks, not {len(program.nodes)}")
    done = Execution(sizes, program.nodes, found.histograms)
    cache.write(name, {"flash": sizes.flash, "ram": sizes.ram, "histograms": [dict(each) for each in done.histograms]})
    return done


def recalled(data: Any, program: Program) -> Execution | None:
    """What was kept of an earlier run; None where that is damaged."""
    try:
        histograms = tuple(Counter({str(k): int(n) for k, n in each.items()}) for each in data["histograms"])
        known = Execution(Sizes(int(data["flash"]), int(data["ram"])), program.nodes, histograms)
        return known if len(histograms) == len(program.nodes) else None
    except (TypeError, KeyError, ValueError, AttributeError):
        return None


def fits(sizes: Sizes, room: Mapping[str, float], where: str = "device") -> None:
    """Raises `BuildError` for a network that there is no room for."""
    for what, need, key in (("flash", sizes.flash, "flash_kb"), ("RAM", sizes.ram, "memory_kb")):
        if key in room and need / 1024 > room[key]:
            raise BuildError(f"the network needs {need / 1024:.1f} kB of {what} and the {where} has {room[key]:g} kB; "
                             "a smaller network fits, or another device")


def compare(graph: Graph, core: Core, cache: Cache, inputs: Sequence[np.ndarray], printed: np.ndarray,
            seconds: float) -> None:
    """Raises `BuildError` unless the outputs are the reference's, bit for bit; it names the first operator that
    differs."""
    values = run_all(graph, inputs)
    if np.array_equal(printed, joined([values[i] for i in graph.outputs])):
        return
    first = first_difference(graph, core, cache, inputs, seconds)
    raise BuildError(f"the code for the {core.name} gives other numbers than the int8 reference"
                     + (f", first at {first}" if first else "") + "; this is a fault of archfab, please report it")


def first_difference(graph: Graph, core: Core, cache: Cache, inputs: Sequence[np.ndarray],
                     seconds: float = SECONDS) -> str | None:
    """The first operator whose output differs from the reference's, with how many numbers do; None where all agree."""
    program = generate(graph, core, inputs, trace=True)
    with temporary() as folder:
        link(program.source, core, folder, cache)
        printed = simulate(folder / "network.elf", core, cache, seconds).printed
    values, at = run_all(graph, inputs), 0
    for node in (graph.nodes[number] for number in program.nodes):
        want = values[node.outputs[0]].ravel()
        got = printed[at:at + want.size]
        at += want.size
        if not np.array_equal(want, got):
            wrong = int((want != got).sum()) if want.size == got.size else want.size
            return f"{node.op} '{graph.tensors[node.outputs[0]].name}' ({wrong} of {want.size} numbers)"
    return None


def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(x) for x in arrays])
