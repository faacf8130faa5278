"""What one training step of an equivariant potential costs, beside `nequip`'s own network of the same sizes.

    pip install 'archfab[molecules,peers]'
    python benchmarks/nequip_step.py                     # a table
    python benchmarks/nequip_step.py --json              # rows for machines
    python benchmarks/nequip_step.py --csv benchmarks/results/nequip-step-2-cores.csv

Five ethanol-like molecules (nine atoms at random, all within 4 Angstrom of many) a step, three layers of 16 channels,
8 Bessel functions, radial nets of two layers of 32, natural parity, float32, one thread, eager mode both; the loss is
the same sum of squares of energies and forces, and both end in a step of AdamW. CPU seconds, medians of steps measured
in turns; below 1 the ratio says that ours is faster. nequip's self-connection is linear in an embedding of the species;
of three numbers, as here, it has as many weights as one by species.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import row, show

from archfab.learning import Recipe, make_optimizer
from archfab.lowering.concrete import build
from archfab.space import Space
from archfab.tasks.molecules.data import Structure
from archfab.tasks.molecules.graphs import inputs
from archfab.tasks.molecules.interaction import Interaction
from archfab.tasks.molecules.potential import Potential
from archfab.tasks.molecules.spaces import radial

R_MAX, LAYERS, FEATURES, BESSEL, WIDTH, BATCH = 4.0, 3, 16, 8, 32, 5
SPECIES = [1, 6, 8]


def molecules() -> list[Structure]:
    """Nine atoms each, no two closer than 0.9 Angstrom."""
    rng = np.random.default_rng(0)
    found = []
    while len(found) < BATCH:
        places: list[np.ndarray] = []
        while len(places) < 9:
            place = rng.uniform(-1.9, 1.9, 3)
            if all(np.linalg.norm(place - other) > 0.9 for other in places):
                places.append(place)
        found.append(Structure(np.array([6, 6, 8, 1, 1, 1, 1, 1, 1]), np.array(places)))
    return found


def stepping(model: torch.nn.Module, ask: Callable[[], tuple[torch.Tensor, torch.Tensor]]) -> Callable[[], None]:
    """A training step of a network that is asked for energies and forces."""
    optimizer = make_optimizer(model.train(), Recipe(weight_decay=0.0))

    def step() -> None:
        energy, forces = ask()
        loss = (energy / 9).square().mean() + forces.square().mean()
        float(loss.detach())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def ours(given: tuple[torch.Tensor, ...], neighbours: float, l_max: int) -> tuple[Callable[[], None], int]:
    net = radial(2, WIDTH, "float32")
    layers = [Interaction(FEATURES, l_max, "natural", net, 1, i == LAYERS - 1) for i in range(LAYERS)]
    space = Potential(SPECIES, [-1.0, -2.0, -3.0], 1.0, [[R_MAX, neighbours]], R_MAX, BESSEL, l_max, FEATURES, layers)
    torch.manual_seed(0)
    model = build(Space(space), {}, given)
    return stepping(model, lambda: model(*given)[:2]), sum(weight.numel() for weight in model.parameters())


def theirs(given: tuple[torch.Tensor, ...], neighbours: float, l_max: int) -> tuple[Callable[[], None], int]:
    from nequip.data import AtomicDataDict as Keys
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state
    set_global_state()
    model = NequIPGNNModel(
        seed=0, model_dtype="float32", r_max=R_MAX, type_names=["H", "C", "O"], num_layers=LAYERS, l_max=l_max,
        parity=False, num_features=FEATURES, radial_mlp_depth=2, radial_mlp_width=WIDTH, num_bessels=BESSEL,
        bessel_trainable=True, type_embed_num_features=len(SPECIES), avg_num_neighbors=neighbours,
        per_type_energy_scales=1.0, per_type_energy_shifts={"H": -1.0, "C": -2.0, "O": -3.0})
    numbers, positions, edges, _, structure, _ = given
    data = {Keys.POSITIONS_KEY: positions, Keys.EDGE_INDEX_KEY: edges, Keys.BATCH_KEY: structure,
            Keys.ATOM_TYPE_KEY: torch.tensor([SPECIES.index(int(number)) for number in numbers]),
            Keys.NUM_NODES_KEY: torch.full((BATCH,), 9)}

    def ask() -> tuple[torch.Tensor, torch.Tensor]:
        found = model(dict(data))
        return found[Keys.TOTAL_ENERGY_KEY].flatten(), found[Keys.FORCE_KEY]

    return stepping(model, ask), sum(weight.numel() for weight in model.parameters())


def measure(repeats: int, l_max: int) -> list[dict[str, Any]]:
    given = inputs(molecules(), R_MAX)
    neighbours = given[2].shape[1] / len(given[0])
    made = {"ours": ours(given, neighbours, l_max), "nequip": theirs(given, neighbours, l_max)}
    times: dict[str, list[float]] = {name: [] for name in made}
    for i in range(repeats + 5):
        for name, (step, _) in made.items():
            start = time.process_time()
            step()
            if i >= 5:
                times[name].append(time.process_time() - start)
    found = {name: statistics.median(each) for name, each in times.items()}
    weights = {f"weights of {name}": number for name, (_, number) in made.items()}
    return [row(f"molecules step, l_max {l_max}", 1e3 * found["ours"], "CPU ms", peers={"nequip": 1e3 * found["nequip"],
                                                                                       **weights}),
            row(f"molecules step ratio, l_max {l_max}", found["ours"] / found["nequip"], "of nequip", 1.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = [each for l_max in (0, 1, 2) for each in measure(asked.repeats, l_max)]
    show(rows, asked.json, asked.csv, "python benchmarks/nequip_step.py")


if __name__ == "__main__":
    main()
