"""Makes the knowledge that is bundled with archfab: what the parts of three public spaces run, and a sample of their
measured networks (archfab/hardware/onboarding/bundled).

Needs the optional data folder (ARCHFAB_DATA); takes about three minutes:
    python benchmarks/knowledge.py --out archfab/hardware/onboarding/bundled
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from calibration import DATA, EDGES, OPERATIONS, fbnet, nasbench201, once_for_all, recorded, table

from archfab.hardware.onboarding.spaces import cell_counts, only
from archfab.hardware.onboarding.terms import TERMS, bill
from archfab.hardware.workload import record_genotype
from archfab.space import Space

NETWORKS = 500          # of each space
RESOLUTIONS = (128, 176, 224)
CELLS = 200             # that are recorded


def sparse(row: np.ndarray) -> dict[str, float]:
    """Amounts by term, those that are not zero."""
    return {TERMS[i]: float(f"{row[i]:.9g}") for i in np.flatnonzero(abs(row) > 1e-9)}


def cells() -> dict[str, Any]:
    """What each operation, sum and shared activation of a NAS-Bench-201 network runs, by least squares."""
    rows = table("nasbench201/archs.csv.gz")
    ops = np.array([[int(row[f"e{i}{j}"]) for i, j in EDGES] for row in rows])
    reached = only(ops, "alive")
    whole = np.flatnonzero((reached == ops).all(1) & (reached > 0).any(1))
    chosen = np.random.default_rng(0).choice(whole, CELLS, replace=False)
    space, image = Space(nasbench201()), (torch.empty(1, 3, 32, 32),)

    def amounts(row: np.ndarray) -> list[float]:
        decisions = {f"cell.{i}-{j}": OPERATIONS[o] for (i, j), o in zip(EDGES, row, strict=True)}
        return bill(record_genotype(space, decisions, image))[0]

    measured = np.array([amounts(ops[i]) for i in chosen])
    found = np.linalg.lstsq(cell_counts(ops[chosen]), measured, rcond=None)[0]
    off = np.abs(cell_counts(ops[chosen]) @ found - measured).mean(0) / np.maximum(measured.mean(0), 1e-9)
    print("cells: worst mean error of a term", f"{off.max():.3f}", TERMS[int(off.argmax())])
    return {"parts": [sparse(row) for row in found]}


def chains() -> dict[str, Any]:
    """What each block of the FBNet space adds to a network of skips."""
    def amounts(ops: Sequence[int]) -> np.ndarray:
        return np.array(bill(recorded(fbnet(list(ops)), 3, 32, 32))[0])

    base = amounts([8] * 22)
    blocks = [[sparse(amounts([8] * i + [op] + [8] * (21 - i)) - base) for op in range(9)] for i in range(22)]
    return {"base": sparse(base), "blocks": blocks}


def stages() -> dict[str, Any]:
    """What each block of the Once-for-All space adds, at three resolutions."""
    def amounts(at: int, kernel: int, expand: int, depth: int, side: int) -> np.ndarray:
        kernels, expands, depths = [3] * 20, [3] * 20, [2] * 5
        kernels[at], expands[at], depths[at // 4] = kernel, expand, depth
        return np.array(bill(recorded(once_for_all(kernels, expands, depths), 3, side, side))[0])

    found = []
    for side in RESOLUTIONS:
        base = amounts(0, 3, 3, 2, side)
        without = [amounts(at, 3, 3, max(2, at % 4), side) for at in range(20)]
        blocks = [[[sparse(amounts(at, kernel, expand, max(2, at % 4 + 1), side) - without[at])
                    for expand in (3, 4, 6)] for kernel in (3, 5, 7)] for at in range(20)]
        found.append({"resolution": side, "base": sparse(base), "blocks": blocks})
    return {"resolutions": found}


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    path.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))


def sample(out: Path) -> None:
    """Some networks of each space with what they took on each device."""
    cells_ = table("help-latency/nb201_latency_ms.csv.gz")
    more = {row["idx"]: row for row in table("hw-nas-bench/nb201_cifar10.csv.gz")}
    extra = [name for name in next(iter(more.values())) if name.endswith("_latency")]
    names = [name for name in cells_[0] if name != "idx"]
    write(out / "nb201_latency_ms.csv.gz", ["idx", *names, *(name.removesuffix("_latency") for name in extra)],
          [[row["idx"], *(row[name] for name in names), *(more[row["idx"]][name] for name in extra)]
           for row in some(cells_)])
    for name in ("fbnet_latency_ms", "ofa_latency_ms"):
        rows = table(f"help-latency/{name}.csv.gz")
        write(out / f"{name}.csv.gz", list(rows[0]), [list(row.values()) for row in some(rows)])


def some(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(random.Random(0).sample(rows, NETWORKS), key=lambda row: int(row["idx"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    codes = "\n".join("".join(row[f"e{i}{j}"] for i, j in EDGES) for row in table("nasbench201/archs.csv.gz"))
    (asked.out / "nb201_cells.txt.gz").write_bytes(gzip.compress(codes.encode(), 9, mtime=0))
    sample(asked.out)
    parts = {"nb201": cells(), "fbnet": chains(), "ofa": stages()}
    (asked.out / "parts.json.gz").write_bytes(gzip.compress(json.dumps(parts).encode(), 9, mtime=0))
    print(DATA, "->", asked.out, sum(path.stat().st_size for path in asked.out.iterdir()), "bytes")


if __name__ == "__main__":
    main()
