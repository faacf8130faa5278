"""Networks of public benchmark spaces as amounts: what each buys of a device, from the codes in a table's row.

Recording a network takes 20 ms, a table has 15,625; the blocks of these spaces add up, so they were recorded once
each (`benchmarks/knowledge.py`). A row has one bill for each runtime: one runs every operation, another drops what no
output needs, a third also what only ever sees zeros. Networks in which all is of use have the same bill thrice.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.hardware.onboarding.terms import PLACE, TERMS

BUNDLED = Path(__file__).parent / "bundled"
RUNTIMES = ("all", "needed", "alive")
ABOUT_RUNTIMES = {"all": "runs every operation of a network",
                  "needed": "leaves out operations that no output needs",
                  "alive": "leaves out operations that no output needs or that only see zeros"}
CELL_SOURCE, CELL_TARGET = np.array([0, 0, 1, 0, 1, 2]), np.array([1, 2, 2, 3, 3, 3])


@dataclass(frozen=True)
class Networks:
    """Networks as amounts, for each runtime: the terms that they buy, and the codes of a table's columns, around
    those of the mean network, so that zero says nothing."""

    keys: tuple[str, ...]           # what a table calls them
    bills: np.ndarray               # [runtime, network, term]
    codes: np.ndarray               # [runtime, network, code]
    names: tuple[str, ...] = ()     # of the codes
    priced: bool = True             # whether the bills are known: only then a searched network can be costed

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Sequence[int] | np.ndarray) -> Networks:
        chosen = np.asarray(rows, int)
        return replace(self, keys=tuple(self.keys[i] for i in chosen), bills=self.bills[:, chosen],
                       codes=self.codes[:, chosen])

    def columns(self, runtime: int) -> np.ndarray:
        """Terms and codes side by side: [network, term or code]."""
        at = min(runtime, len(self.bills) - 1)
        return np.concatenate([self.bills[at], self.codes[at]], axis=1)


def of_bills(keys: Sequence[str], bills: Sequence[Sequence[float]]) -> Networks:
    """Recorded networks: nothing in them is of no use, so every runtime runs the same."""
    amounts = np.array(bills, float).reshape(1, len(keys), len(TERMS))
    return Networks(tuple(keys), amounts, np.zeros((1, len(keys), 0)))


@cache
def parts() -> Mapping[str, Any]:
    """The amounts of each part of each space."""
    return json.loads(gzip.decompress((BUNDLED / "parts.json.gz").read_bytes()))


def dense(amounts: Mapping[str, float]) -> np.ndarray:
    row = np.zeros(len(TERMS))
    for term, amount in amounts.items():
        row[PLACE[term]] = amount
    return row


def one_hot(codes: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """[network, position] -> [network, position * label]; a code outside the labels is none of them."""
    return (codes[:, :, None] == np.array(labels)).reshape(len(codes), -1).astype(float)


# --- NAS-Bench-201: codes of the edges 01 02 12 03 13 23; 0 none, 1 skip, 2 conv 1x1, 3 conv 3x3, 4 pool

@cache
def cells() -> np.ndarray:
    """The codes of all 15,625 cells by the official index."""
    lines = gzip.decompress((BUNDLED / "nb201_cells.txt.gz").read_bytes()).decode().split()
    return np.array([[int(digit) for digit in line] for line in lines])


def only(ops: np.ndarray, runtime: str) -> np.ndarray:
    """The codes of what a runtime runs; the others are 0."""
    on, n = ops > 0, len(ops)
    fed, needed = np.zeros((n, 4), bool), np.zeros((n, 4), bool)
    fed[:, 0] = needed[:, 3] = True
    for edge in range(6):
        fed[:, CELL_TARGET[edge]] |= fed[:, CELL_SOURCE[edge]] & on[:, edge]
    for edge in reversed(range(6)):
        needed[:, CELL_SOURCE[edge]] |= needed[:, CELL_TARGET[edge]] & on[:, edge]
    runs = {"all": on, "needed": on & needed[:, CELL_TARGET],
            "alive": on & needed[:, CELL_TARGET] & fed[:, CELL_SOURCE]}[runtime]
    return np.where(runs, ops, 0)


def cell_counts(ops: np.ndarray) -> np.ndarray:
    """1, convolutions 1x1 and 3x3, pools, sums at nodes, and convolutions whose input others read too."""
    convolution = (ops == 2) | (ops == 3)
    into = np.stack([(ops[:, node == CELL_TARGET] > 0).sum(1) for node in (1, 2, 3)])
    out = np.stack([(ops[:, node == CELL_SOURCE] > 0).sum(1) for node in (0, 1, 2)])
    read = np.stack([convolution[:, node == CELL_SOURCE].sum(1) for node in (0, 1, 2)])
    sums, shared = np.maximum(into - 1, 0).sum(0), np.where(out > 1, read, 0).sum(0)
    return np.stack([np.ones(len(ops)), (ops == 2).sum(1), (ops == 3).sum(1), (ops == 4).sum(1), sums, shared], axis=1)


def nb201(rows: Sequence[Mapping[str, str]]) -> tuple[Networks, np.ndarray]:
    """Cells by `idx`; and which of them have no path from input to output."""
    at = np.array([whole(row["idx"], "idx", 0, 15_624) for row in rows], int)
    ops = cells()[at]
    amounts = np.stack([dense(part) for part in parts()["nb201"]["parts"]])
    ran = [only(ops, runtime) for runtime in RUNTIMES]
    usual = [one_hot(only(cells(), runtime), (1, 2, 3, 4)).mean(0) for runtime in RUNTIMES]
    names = tuple(f"edge {i}-{j} {op}" for i, j in zip(CELL_SOURCE, CELL_TARGET, strict=True)
                  for op in ("skip", "conv1x1", "conv3x3", "pool"))
    bills = np.stack([np.maximum(cell_counts(part) @ amounts, 0) for part in ran])
    networks = Networks(tuple(row["idx"] for row in rows), bills,
                        np.stack([one_hot(part, (1, 2, 3, 4)) - mean for part, mean in zip(ran, usual, strict=True)]),
                        names)
    return networks, np.logical_not((ran[2] > 0).any(axis=1))


# --- FBNet for 32x32 images: `ops`, 22 codes

def fbnet(rows: Sequence[Mapping[str, str]]) -> tuple[Networks, np.ndarray]:
    ops = np.array([codes(row["ops"], "ops", 22, range(9)) for row in rows], int).reshape(-1, 22)
    found = parts()["fbnet"]
    blocks = np.stack([np.stack([dense(part) for part in layer]) for layer in found["blocks"]])
    bills = dense(found["base"]) + blocks[np.arange(22), ops].sum(1)
    names = tuple(f"layer {i} op {op}" for i in range(22) for op in range(9))
    networks = Networks(tuple(row["ops"] for row in rows), bills[None], (one_hot(ops, range(9)) - 1 / 9)[None],
                        names)
    return networks, np.zeros(len(rows), bool)


# --- Once-for-All MobileNetV3: `ks` and `e` of 20 blocks, `d` of 5 stages, `r`

def ofa(rows: Sequence[Mapping[str, str]]) -> tuple[Networks, np.ndarray]:
    kernels = np.array([codes(row["ks"], "ks", 20, (3, 5, 7)) for row in rows], int).reshape(-1, 20)
    expands = np.array([codes(row["e"], "e", 20, (3, 4, 6)) for row in rows], int).reshape(-1, 20)
    depths = np.array([codes(row["d"], "d", 5, (2, 3, 4)) for row in rows], int).reshape(-1, 5)
    sides = np.array([whole(row["r"], "r", 96, 320) for row in rows], float)
    present = np.arange(20) % 4 < depths[:, np.arange(20) // 4]
    at_kernel, at_expand = np.searchsorted([3, 5, 7], kernels), np.searchsorted([3, 4, 6], expands)
    found = parts()["ofa"]["resolutions"]
    known = np.array([each["resolution"] for each in found], float)
    bills = np.zeros((len(rows), len(TERMS)))
    for i, each in enumerate(found):    # amounts are quadratic in the side of the image, but for what strides round up
        blocks = np.stack([[[dense(part) for part in line] for line in block] for block in each["blocks"]])
        amounts = dense(each["base"]) + (blocks[np.arange(20), at_kernel, at_expand] * present[..., None]).sum(1)
        others = [other for j, other in enumerate(known) if j != i]
        weight = np.prod([(sides - other) / (known[i] - other) for other in others], axis=0)
        bills += weight[:, None] * amounts
    usual = np.repeat([(3 - max(0, at % 4 - 1)) / 27 for at in range(20)], 9)      # depths are 2, 3 or 4 alike
    layers = one_hot(np.where(present, at_kernel * 3 + at_expand, -1), range(9)) - usual
    names = tuple(f"block {i} kernel {k} expand {e}" for i in range(20) for k in (3, 5, 7) for e in (3, 4, 6))
    keys = tuple(" | ".join(row[name] for name in ("ks", "e", "d", "r")) for row in rows)
    return Networks(keys, np.maximum(bills, 0)[None], layers[None], names), np.zeros(len(rows), bool)


KNOWN = {"nb201": (nb201, ("idx",)), "fbnet": (fbnet, ("ops",)), "ofa": (ofa, ("ks", "e", "d", "r"))}


def whole(text: str, column: str, low: int, high: int) -> int:
    value = number(text)
    if value is None or value != int(value) or not low <= value <= high:
        raise UsageError(f"{column} is a whole number from {low} to {high}, not '{text}'")
    return int(value)


def codes(text: str, column: str, length: int, legal: Sequence[int]) -> list[int]:
    found = [number(piece) for piece in text.split()]
    if len(found) != length or any(value not in legal for value in found):
        raise UsageError(f"{column} is {length} codes out of {', '.join(map(str, legal))}, not '{text}'")
    return [int(value) for value in found if value is not None]


def number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
