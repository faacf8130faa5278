"""What interatomic potentials reach on rMD17 and on silicon: data efficiency by degree, learning curve, stresses.

    python benchmarks/molecules.py --data ../shared/data --journal benchmarks/results/molecules-trainings-2-cores.csv
    python benchmarks/molecules.py ... --csv benchmarks/results/molecules-2-cores.csv --picture docs/molecules.png
    python benchmarks/molecules.py ... --json            # rows for machines

Every network has three layers of 16 channels, 8 Bessel functions, radial nets of two layers of 32, natural parity and a
cutoff of 4 Angstrom; batches of five, the task's recipe, its best of the validation structures. `efficiency`: 50
structures, the same number of steps with l_max 0 and 1, three seeds. `curve`: 25 to 500 structures. `silicon`: cells
of 12 to 96 atoms with stresses. Errors are of the test structures. Each training is a line of the journal; one that
stands in it is not done again.
"""

from __future__ import annotations

import argparse
import csv
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rows import row, show

from archfab import registry
from archfab.core import Budget
from archfab.drawing import png
from archfab.learning import seed_torch
from archfab.lowering.concrete import build
from archfab.space import Space

SHAPE = {"r_max": 4.0, "basis": 8, "features": 16, "layers": 3, "parity": "natural", "radial.layers": 2,
         "radial.width": 32}
SEEDS, SIZES = (0, 1, 2), (25, 50, 100, 200, 500)
PUBLISHED = {"rmd17-ethanol": {"NequIP, published": 40.2, "MACE, published": 32.6}}     # meV/Angstrom, 50 structures
HEADER = ("part", "data", "structures", "l_max", "seed", "steps", "force_mae", "energy_mae", "stress_mae", "cpu_s")


class Training(NamedTuple):
    """One network to train: the part of the benchmark that it belongs to, and all that decides its result."""

    part: str
    data: str
    structures: int
    l_max: int
    seed: int
    steps: int

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(map(str, self))


def plan(parts: Sequence[str], steps: int) -> Iterator[Training]:
    for part in parts:
        if part == "efficiency":
            yield from (Training(part, data, 50, l_max, seed, steps) for data in ("rmd17-ethanol", "rmd17-aspirin")
                        for seed in SEEDS for l_max in (0, 1))
        if part == "curve":
            yield from (Training(part, "rmd17-ethanol", size, l_max, seed, 2 * steps)
                        for seed in SEEDS for l_max in (1, 0) for size in SIZES)
        if part == "silicon":
            yield from (Training(part, "mlearn-si", 0, l_max, 0, steps // 2) for l_max in (0, 1, 2))


def train(each: Training, folder: Path) -> dict[str, float]:
    """The test scores of one network, and what its training cost."""
    task = registry.load("tasks", "molecules")(data=str(folder / each.data), train=each.structures, cutoffs="4")
    space = Space(task.space("nequip"))
    rng = random.Random(each.seed)
    seed_torch(rng)
    model = build(space, {**SHAPE, "l_max": each.l_max}, task.example())
    start = time.process_time()
    task.fit(model, Budget(steps=each.steps), rng)
    cpu = time.process_time() - start
    return {**{name: float(value) for name, value in task.score(model, "test").items()}, "cpu_s": cpu}


def read(journal: Path) -> dict[tuple[str, ...], dict[str, float]]:
    """What was measured before."""
    if not journal.exists():
        return {}
    with journal.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return {tuple(line[name] for name in HEADER[:6]): {name: float(line[name]) for name in HEADER[6:] if line[name]}
            for line in lines}


def write(journal: Path, each: Training, found: dict[str, float]) -> None:
    new = not journal.exists()
    with journal.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            file.write("# python benchmarks/molecules.py; errors in meV/A, meV/atom and GPa, on test structures\n")
            writer.writerow(HEADER)
        writer.writerow([*each, *(f"{found[name]:.6g}" if name in found else "" for name in HEADER[6:])])


def rows_of(known: dict[tuple[str, ...], dict[str, float]]) -> list[dict[str, Any]]:
    def errors(part: str, data: str, structures: int, l_max: int, name: str = "force_mae") -> list[float]:
        return [found[name] for key, found in sorted(known.items())
                if key[:4] == (part, data, str(structures), str(l_max)) and name in found]

    rows = []
    for data in ("rmd17-ethanol", "rmd17-aspirin"):
        plain, better = (errors("efficiency", data, 50, l_max) for l_max in (0, 1))
        if plain and len(plain) == len(better):
            rows += [row(f"{data}, 50 structures, l_max {l_max}", statistics.mean(found), "meV/A",
                         peers=PUBLISHED.get(data)) for l_max, found in ((0, plain), (1, better))]
            worst = max(one / other for one, other in zip(better, plain, strict=True))
            rows.append(row(f"{data}, error of l_max 1 over l_max 0, worst seed", worst, "", 1.0))
    for size in SIZES:
        rows += [row(f"ethanol, {size} structures, l_max {l_max}", statistics.mean(found), "meV/A")
                 for l_max in (0, 1) if (found := errors("curve", "rmd17-ethanol", size, l_max))]
    for l_max in (0, 1, 2):
        rows += [row(f"silicon, l_max {l_max}, {what}", found[0], unit) for name, what, unit in (
            ("force_mae", "forces", "meV/A"), ("energy_mae", "energies", "meV/atom"), ("stress_mae", "stresses", "GPa"))
            if (found := errors("silicon", "mlearn-si", 0, l_max, name))]
    return rows


def picture(known: dict[tuple[str, ...], dict[str, float]], path: Path) -> None:
    from archfab.tasks.molecules.pictures import learning_curve
    curves: dict[str, dict[int, list[float]]] = {}
    for (part, _, size, l_max, *_), found in known.items():
        if part == "curve":
            curves.setdefault(f"l_max {l_max}", {}).setdefault(int(size), []).append(found["force_mae"])
    path.write_bytes(png(learning_curve(dict(sorted(curves.items())), "rMD17 ethanol: errors of forces, equal steps")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that has rmd17-ethanol and the others")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--parts", default="efficiency,silicon,curve")
    parser.add_argument("--steps", type=int, default=1000, help="of one training; the curve has twice, silicon half")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for each in plan(asked.parts.split(","), asked.steps):
        if each.key not in read(asked.journal):
            write(asked.journal, each, train(each, asked.data))
    known = read(asked.journal)
    if asked.picture:
        picture(known, asked.picture)
    show(rows_of(known), asked.json, asked.csv, "python benchmarks/molecules.py")


if __name__ == "__main__":
    main()
