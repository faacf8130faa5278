"""Active learning without data: ethanol under GFN2-xTB, labelled where networks disagree, and beside that by chance.

    python recipes/active_learning.py --rounds 3 --members 3

A pool of structures comes from molecular dynamics at 1,000 K, and structures to test on from another such run. Each
round trains an ensemble by `archfab.search` on what is labelled, chooses the structures that its members disagree on,
and labels them. It needs pip install 'archfab[molecules,xtb]'.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevin import Langevin

import archfab
from archfab import Budget
from archfab.tasks.molecules import extxyz
from archfab.tasks.molecules.active import choose, describe, disagreement
from archfab.tasks.molecules.answers import mean
from archfab.tasks.molecules.calculator import structure_of
from archfab.tasks.molecules.data import Structure
from archfab.tasks.molecules.ensemble import ask_of
from archfab.tasks.molecules.labels import label


class TightBinding(Calculator):
    """GFN2-xTB for ASE's dynamics."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms: Any = None, properties: Sequence[str] = ("energy",),
                  system_changes: Sequence[str] = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        (found,) = label([structure_of(self.atoms)])
        self.results = {"energy": found.energy, "forces": found.forces}


def dynamics(name: str, number: int, kelvin: float, rng: np.random.Generator, apart: int = 10) -> list[Structure]:
    """Structures of a molecule, 10 femtoseconds apart, at a temperature."""
    atoms = molecule(name)
    atoms.calc = TightBinding()
    found: list[Structure] = []
    run = Langevin(atoms, 1.0 * units.fs, temperature_K=kelvin, friction=0.02 / units.fs, rng=rng, fixcm=False)
    run.run(100)
    for _ in range(number):
        run.run(apart)
        found.append(structure_of(atoms))
    return found


def ensemble(known: Sequence[Structure], arguments: argparse.Namespace, folder: Path, seed: int) -> list[Any]:
    """Networks found and trained by searches of unlike seeds on what is labelled."""
    file = folder / "known.xyz"
    file.write_text(extxyz.written(known))
    found = []
    for member in range(arguments.members):
        run = archfab.search("molecules", data=str(file), trials=arguments.trials, deliver=1, random=False,
                             strategy="random", seed=100 * seed + member, options={"cutoffs": "4"},
                             trial_budget=Budget(steps=arguments.steps // 4), full_budget=Budget(steps=arguments.steps),
                             runs=folder / f"runs-{len(list(folder.glob('runs-*')))}")
        found.append(run.best.model())
    return found


def force_error(models: Sequence[Any], test: Sequence[Structure]) -> float:
    """The mean absolute error of the ensemble's force components, in meV/Angstrom."""
    truth = np.concatenate([each.forces for each in test if each.forces is not None])
    return 1e3 * float(np.abs(np.concatenate(mean(ask_of(models, test)).forces) - truth).mean())


def learn(pick: Callable[[Sequence[Any], list[Structure], list[Structure]], list[int]], models: Sequence[Any],
          known: list[Structure], pool: list[Structure], test: list[Structure], arguments: argparse.Namespace,
          folder: Path) -> list[float]:
    """The force error after each round, of one way to pick what is labelled."""
    errors = []
    for number in range(1, arguments.rounds + 1):
        chosen = pick(models, pool, known)
        known = known + label([pool[i] for i in chosen])
        pool = [each for i, each in enumerate(pool) if i not in set(chosen)]
        models = ensemble(known, arguments, folder, arguments.seed * 10 + number)
        errors.append(force_error(models, test))
        print(f"{len(known)} labelled: {errors[-1]:.1f} meV/Angstrom", file=sys.stderr)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, about in (
            ("rounds", 3, "rounds of labelling"), ("number", 10, "structures labelled in a round"),
            ("start", 10, "structures labelled at first"), ("pool", 300, "structures to choose among"),
            ("members", 3, "networks of the ensemble"), ("trials", 2, "networks that each of their searches tries"),
            ("steps", 600, "training steps of each"), ("seed", 0, "of everything")):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{about} ({default})")
    parser.add_argument("--molecule", default="CH3CH2OH", help="a molecule that ase.build knows (CH3CH2OH)")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    print("dynamics with GFN2-xTB", file=sys.stderr)
    pool = dynamics(arguments.molecule, arguments.pool, 1000.0, rng)
    test = label(dynamics(arguments.molecule, 100, 1000.0, rng))
    known, pool = label(pool[:arguments.start]), pool[arguments.start:]

    def by_disagreement(models: Sequence[Any], pool: list[Structure], known: list[Structure]) -> list[int]:
        points = describe([*pool, *known])
        return choose(disagreement(models, pool), points[:len(pool)], arguments.number, 0.5, points[len(pool):])

    def by_chance(models: Sequence[Any], pool: list[Structure], known: list[Structure]) -> list[int]:
        return rng.choice(len(pool), arguments.number, replace=False).tolist()

    errors = {}
    with tempfile.TemporaryDirectory() as folder:
        first = ensemble(known, arguments, Path(folder), arguments.seed * 10)
        for name, pick in (("disagreement", by_disagreement), ("random", by_chance)):
            print(f"labelled by {name}", file=sys.stderr)
            errors[name] = [force_error(first, test), *learn(pick, first, known, pool, test, arguments, Path(folder))]
    labelled = [arguments.start + arguments.number * i for i in range(arguments.rounds + 1)]
    rows = [{"labelled": number, "disagreement_mev_per_angstrom": one, "random_mev_per_angstrom": other}
            for number, one, other in zip(labelled, errors["disagreement"], errors["random"], strict=True)]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    print("labelled   force error of disagreement   of random choice (meV/Angstrom)")
    for row in rows:
        print("{labelled:8d} {disagreement_mev_per_angstrom:30.1f} {random_mev_per_angstrom:18.1f}".format(**row))


if __name__ == "__main__":
    main()
