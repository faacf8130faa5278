"""What a mapping costs: architecture, layers and mappings in, energy by memory and operand, cycles, use out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archfab.hardware.mapping.architecture import OPERANDS, Architecture
from archfab.hardware.mapping.batch import Array, Batch, of_nests
from archfab.hardware.mapping.energy import energies
from archfab.hardware.mapping.latency import Cycles, cycles
from archfab.hardware.mapping.layer import Layer
from archfab.hardware.mapping.nest import Nest, check
from archfab.hardware.mapping.traffic import Flow


@dataclass(frozen=True, eq=False)
class Figures:
    """Of a batch of mappings: multiply-accumulates, pJ of the arithmetic [N], of each memory and operand [N, M, 3], of
    leakage [N, M]; cycles; bits through the outermost memory; which mappings fit into the memories."""

    macs: Array
    arithmetic: Array
    accesses: Array
    leakage: Array
    cycles: Cycles
    outermost: Array
    fits: Array

    @property
    def energy(self) -> Array:
        """pJ in all."""
        return self.arithmetic + self.accesses.sum(axis=(1, 2)) + self.leakage.sum(axis=1)


@dataclass(frozen=True)
class Evaluation:
    """What one layer costs under one mapping: pJ, by memory and operand; cycles, of which steps, stalls, loading and
    unloading; bits through the outermost memory; multiply-accumulates per unit and cycle, as a share, in all and of the
    steps alone."""

    macs: int
    energy: float
    arithmetic: float
    accesses: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]
    leakage: tuple[tuple[str, float], ...]
    cycles: float
    steps: float
    stalls: float
    loading: float
    unloading: float
    outermost: float
    utilisation: float
    spatial_utilisation: float

    def by_level(self) -> dict[str, float]:
        """pJ of the arithmetic and of each memory, leakage included."""
        leaked = dict(self.leakage)
        return {"mac": self.arithmetic,
                **{name: sum(value for _, value in operands) + leaked[name] for name, operands in self.accesses}}


def figures(batch: Batch, architecture: Architecture) -> Figures:
    """The cost of every mapping of a batch."""
    flows = {operand: Flow(operand, batch, architecture) for operand in OPERANDS}
    transfers = [each for flow in flows.values() for each in flow.transfers()]
    taken = cycles(flows, transfers, batch, architecture)
    macs = batch.sizes.prod(axis=1)
    leakage = np.zeros((len(batch), len(architecture.memories)))
    fits = np.ones(len(batch), bool)
    for at, memory in enumerate(architecture.memories):
        inside = [(flows[each], architecture.levels(each).index(at)) for each in memory.operands]
        held = sum(flow.bits_held(level + 1) * buffers(flow, level, memory.double_buffered) for flow, level in inside)
        fits &= held <= memory.size
        if memory.leakage:
            flow, level = inside[0]
            leakage[:, at] = memory.leakage * flow.units[level + 1] * taken.total
    last = np.zeros(len(batch))
    for each in transfers:
        if architecture.levels(each.operand)[each.level] == len(architecture.memories) - 1:
            last += each.amount * each.bits * each.count * each.units * each.share
    return Figures(macs, macs * architecture.mac, energies(transfers, batch, architecture), leakage, taken, last, fits)


def buffers(flow: Flow, level: int, double: bool) -> Array | float:
    """How many tiles a memory keeps of an operand: two where it always buffers the next, unless this one is all."""
    return np.where(flow.counts[level + 1] > 1, 2.0, 1.0) if double else 1.0


def evaluate(layer: Layer, nest: Nest, architecture: Architecture) -> Evaluation:
    """The cost of one layer under one mapping; `UsageError` where the mapping is none of the layer on this array."""
    check(nest, layer, architecture)
    return evaluation(figures(of_nests([(layer, nest)], architecture), architecture), 0, architecture)


def evaluate_all(pairs: Sequence[tuple[Layer, Nest]], architecture: Architecture) -> list[Evaluation]:
    """As `evaluate`, for many at once and unchecked."""
    if not pairs:
        return []
    found = figures(of_nests(pairs, architecture), architecture)
    return [evaluation(found, row, architecture) for row in range(len(pairs))]


def evaluation(found: Figures, row: int, architecture: Architecture) -> Evaluation:
    """One row of a batch."""
    names = [memory.name for memory in architecture.memories]
    taken, macs = found.cycles, float(found.macs[row])
    return Evaluation(
        int(macs), float(found.energy[row]), float(found.arithmetic[row]),
        tuple((name, tuple((operand, float(found.accesses[row, at, OPERANDS.index(operand)]))
                           for operand in architecture.memories[at].operands)) for at, name in enumerate(names)),
        tuple((name, float(found.leakage[row, at])) for at, name in enumerate(names)),
        float(taken.total[row]), float(taken.steps[row]), float(taken.stalls[row]), float(taken.loading[row]),
        float(taken.unloading[row]), float(found.outermost[row]), macs / float(taken.total[row]) / architecture.units,
        macs / float(taken.steps[row]) / architecture.units)
