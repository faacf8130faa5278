"""How long costs take: fresh architectures of a space on a roofline device, and ones that are known.

    python benchmarks/costs.py                      # a table
    python benchmarks/costs.py --json               # rows for machines
    python benchmarks/costs.py --csv benchmarks/results/costs-2-cores.csv

One thread, CPU seconds. `fresh`: seconds for 10,000 architectures that are all different, the first included, from the
genotype to the figures; `whole`: the same by recording each network whole, scaled up from 100. `nasbench201` has the
full network of 15 cells, `cell` is the cell space of the task vision.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from rows import row, show

from archfab import registry
from archfab.evaluate import Workbench
from archfab.hardware.workload import record_genotype
from archfab.plan import plan
from archfab.space import Space

DEVICE, NUMBER, WHOLE, KNOWN = "cortex-m7", 10_000, 100, 2000


def benches() -> dict[str, Workbench]:
    """A workbench for each space."""
    found = {name: plan("vision", space=name, data=None, device=DEVICE, options={})
             for name in ("cell", "mobile", "attention")}
    cells = registry.user_file(Path(__file__).parent / "calibration.py").nasbench201()
    found["nasbench201"] = plan("vision", space=Space(cells), data=None, device=DEVICE, options={"size": 32})
    return found


def different(space: Space, number: int) -> list[dict[str, Any]]:
    """So many different architectures, drawn with one seed."""
    rng, found = random.Random(1), {}
    while len(found) < number:
        genotype = space.sample(rng)
        found[frozenset(genotype.items())] = genotype
    return list(found.values())


def measured(name: str, bench: Workbench) -> list[dict[str, Any]]:
    genotypes = different(bench.space, NUMBER)
    start = time.process_time()
    for genotype in genotypes:
        bench.costs(genotype)
    fresh = time.process_time() - start
    times = []
    for genotype in genotypes[:KNOWN]:
        start = time.process_time()
        bench.costs(genotype)
        times.append(time.process_time() - start)
    start = time.process_time()
    for genotype in genotypes[:WHOLE]:
        bench.device.cost(record_genotype(bench.space, genotype, bench.example or ()))
    whole = (time.process_time() - start) * NUMBER / WHOLE
    return [row(f"costs fresh {name}", fresh, "s", 40 if "cell" in name or "nas" in name else None,
                peers={"whole": whole}),
            row(f"costs known {name}", 1e3 * statistics.median(times), "ms", 0.1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = [each for name, bench in benches().items() for each in measured(name, bench)]
    show(rows, asked.json, asked.csv, "recipe: python benchmarks/costs.py --csv benchmarks/results/costs-2-cores.csv")


if __name__ == "__main__":
    main()
