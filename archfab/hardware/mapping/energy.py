"""Energy of a batch of mappings: accesses of every memory times what one costs, by memory and operand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from archfab.hardware.mapping.architecture import OPERANDS, Architecture, Memory
from archfab.hardware.mapping.batch import Array, Batch
from archfab.hardware.mapping.traffic import Transfer


def words(transfer: Transfer, memory: Memory, whole: bool) -> Array:
    """Accesses of all instances of a memory for a transfer, in words of the port's full width."""
    bits = transfer.amount * transfer.bits
    port = transfer.port
    each = np.ceil(bits / port.least) * (port.least / port.bits) if whole else bits / (memory.word or port.bits)
    return each * transfer.count * transfer.units * transfer.share


def energies(transfers: Sequence[Transfer], batch: Batch, architecture: Architecture) -> Array:
    """pJ, [N, memories, operands]: reads and writes, without leakage and the arithmetic."""
    found = np.zeros((len(batch), len(architecture.memories), len(OPERANDS)))
    for each in transfers:
        at = architecture.levels(each.operand)[each.level]
        memory = architecture.memories[at]
        cost = memory.read if each.direction.startswith("to_") else memory.write
        found[:, at, OPERANDS.index(each.operand)] += cost * words(each, memory, architecture.rules.whole_words)
    return found
