"""What few bits cost: errors on the digits by bit width, and the time of a training step.

    python benchmarks/bits.py [--json] [--out CSV] [--seeds N]
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rows import row, show

from archfab import Space, nn
from archfab.core import Budget
from archfab.lowering.concrete import build
from archfab.space.descriptions import Description
from archfab.tasks.vision import Vision

WIDTHS = (None, 8, 6, 4, 3, 2)
MORE = {8: 0.3, 6: 0.5, 4: 0.5, 3: 1.0, 2: 2.0}
"""Points of error that are little at each width: the mean of ten seeds is known to about 0.2."""


def network(bits: int | None) -> Description:
    """Four plain convolutions and a head; the first and the last layer have 8 bits."""
    outer = 8 if bits else None
    inner = [nn.ConvNormAct(width, stride=stride, bits=bits, signed=False) for width, stride in
             ((16, 1), (32, 2), (32, 1))]
    return nn.Sequential(nn.ConvNormAct(16, bits=outer), *inner, nn.Classifier(10, bits=outer, signed=False))


def trained(task: Vision, bits: int | None, seed: int) -> tuple[float, float]:
    """The test error in points, and CPU milliseconds of a training step."""
    torch.manual_seed(seed)
    model = build(Space(network(bits)), {}, task.example())
    start = time.process_time()
    task.fit(model, Budget(epochs=12), random.Random(seed))
    steps = 12 * task.steps_an_epoch
    return 100 * float(task.score(model, "test")["error"]), 1e3 * (time.process_time() - start) / steps


def rows(seeds: int = 10) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    task, found = Vision(), []
    errors, times = {}, {}
    for bits in WIDTHS:
        each = [trained(task, bits, seed) for seed in range(seeds)]
        errors[bits] = statistics.mean(error for error, _ in each)
        times[bits] = statistics.median(cost for _, cost in each)
        print(bits, [round(error, 1) for error, _ in each], file=sys.stderr)
    found.append(row("error in floating point", errors[None], "% of test digits"))
    found += [row(f"error more with {bits} bits", errors[bits] - errors[None], "points", MORE[bits])
              for bits in WIDTHS if bits]
    found.append(row("training step, 4 bits against floating point", times[4] / times[None], "times", 2.5))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    asked = parser.parse_args()
    show(rows(asked.seeds), asked.json, asked.out, "python benchmarks/bits.py")


if __name__ == "__main__":
    main()
