"""Interatomic potentials: equivariant networks for energies, forces and stresses, from extended XYZ and .npz files."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import e3nn  # noqa: F401 - so that a missing extra is named when the task is loaded
import numpy as np
import torch
from torch import nn

from archfab.core import Budget, Exhibit, Genotype, Metrics, Port, Task, UsageError, unknown
from archfab.learning import Recipe, fit
from archfab.tasks.molecules.answers import Answers, joined, portions
from archfab.tasks.molecules.data import Dataset, Structure, read_structures
from archfab.tasks.molecules.errors import scores
from archfab.tasks.molecules.graphs import Graphs
from archfab.tasks.molecules.splitting import check, split

if TYPE_CHECKING:
    from archfab.space.descriptions import Description

EXTRA = "molecules"
ORDER_SEED = 2          # of the training structures, where shares of them are asked for
ATOMS = 500             # that are asked for at once
ROUND = 50              # steps, at least, between two looks at the validation structures
EDGES = 600_000         # that one trial sees, on data of the user's
Batch = tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]


class Molecules(Task):
    """Learns the energies of atoms, their forces and stresses. Test structures are never seen by a search.

    :param data: extended XYZ or .npz, or a folder of one such file or of a train and a test file; a small generated set
        without it.
    :param test: the file of the structures to test on, where the data does not tell.
    :param units: of the data, such as kcal/mol or Hartree,Bohr; auto: those of its format.
    :param species: the element of all atoms, for files that name none.
    :param train: how many structures are learned from; 0: all but those of the validation.
    :param validation: how many other structures of the training file a search is scored on; 0: as many as are learned
        from where that was said, else 15 %, but no more than 200.
    :param cutoffs: the cutoffs in Angstrom that a search chooses among, as 4,5.
    :param batch: structures of one training step.
    :param lr: the highest learning rate.
    :param weight_decay: of the weights.
    :param ema: decay of the moving average of the weights; 0: none.
    :param energy_weight: what the squared error of the energy by atom counts in the loss.
    :param force_weight: what the squared error of a force component counts.
    :param stress_weight: what the squared error of the virial by atom counts, where stresses are known.
    :param dtype: what networks compute in: float32 or float64.
    """

    name = "molecules"
    paths = ("data", "test")
    goals = {"force_mae": "min"}
    spaces = ("nequip", "mace", "layers")
    ports = ((Port("numbers", {0: "atoms"}), Port("positions", {0: "atoms"}), Port("edges", {1: "edges"}),
              Port("shifts", {0: "edges"}), Port("structure", {0: "atoms"}), Port("cell", {0: "structures"})),
             (Port("energy", {0: "structures"}), Port("forces", {0: "atoms"}), Port("stress", {0: "structures"})))

    def __init__(self, *, data: str | None = None, test: str | None = None, units: str = "auto",
                 species: str | None = None, train: int = 0, validation: int = 0, cutoffs: str | None = None,
                 batch: int = 5, lr: float = 3e-2, weight_decay: float = 0.0, ema: float = 0.99,
                 energy_weight: float = 1.0, force_weight: float = 1.0, stress_weight: float = 1.0,
                 dtype: str = "float32") -> None:
        if dtype not in ("float32", "float64"):
            raise UsageError(f"networks compute in float32 or float64, not in '{dtype}'")
        if min(energy_weight, force_weight, stress_weight) < 0 or not energy_weight + force_weight:
            raise UsageError("the weights of energy, force and stress are 0 or more, one of the first two above 0")
        if train < 0 or validation < 0:
            raise UsageError("train and validation are numbers of structures, 0 or more")
        if test and not data:
            raise UsageError("test names the structures to test on beside others to learn from: give --data too")
        self.recipe = Recipe(lr=lr, batch=batch, weight_decay=weight_decay, ema=ema)
        self.weights = energy_weight, force_weight, stress_weight
        self.generated, self.dtype = data is None, dtype
        self.dataset = the_data(data, test, units, species)
        self.cutoffs = lengths(cutoffs or ("1.6,3" if self.generated else "4,5"))
        self.parts = {name: Graphs(part) for name, part in split(self.dataset, train, validation).items()}
        known = self.parts["train"].structures
        self.species = sorted({int(number) for each in known for number in each.numbers})
        check(self.dataset, {name: part.structures for name, part in self.parts.items()}, self.cutoffs[0])
        self.scores = ("force_mae", "energy_mae") + ("stress_mae",) * all(
            any(each.stress is not None for each in part.structures) for part in self.parts.values())
        self.force_rms = max(1e-6, float(np.sqrt(np.mean(np.concatenate([
            each.forces.ravel() for each in known if each.forces is not None]) ** 2))))
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.steps_an_epoch = math.ceil(len(known) / batch)

    @property
    def constants(self) -> dict[str, Any]:
        """What a `Potential` takes of the training structures: energies of species by least squares, the forces' root
        mean square as the scale of energies, and how many neighbours there are."""
        known = self.parts["train"]
        return {"species": self.species, "energies": species_energies(known.structures, self.species),
                "scale": float(f"{self.force_rms:.6g}"), "dtype": self.dtype,
                "neighbours": [[cutoff, float(f"{known.neighbours(cutoff):.6g}")] for cutoff in self.cutoffs]}

    def space(self, name: str | None = None) -> Description:
        from archfab.tasks.molecules import spaces
        name = name or self.spaces[0]
        if name not in self.spaces:
            raise unknown("space", name, self.spaces)
        return getattr(spaces, name)(self.constants, self.cutoffs, small=self.generated)

    def example(self, batch: int = 1) -> tuple[torch.Tensor, ...]:
        """Training structures of middle size, with the edges of the largest cutoff."""
        return self.typical(batch, self.cutoffs[-1])

    def example_for(self, genotype: Genotype, batch: int = 1) -> tuple[torch.Tensor, ...]:
        """The same with the edges of the network's own cutoff."""
        asked = genotype.get("r_max")
        return self.typical(batch, float(asked) if isinstance(asked, int | float) else self.cutoffs[-1])

    def typical(self, batch: int, cutoff: float) -> tuple[torch.Tensor, ...]:
        part = self.parts["train"]
        order = np.argsort([len(each) for each in part.structures], kind="stable")
        middle = np.resize(order[len(order) // 2:], batch)
        return part.batch(middle.tolist(), cutoff)[0]

    def budget(self) -> Budget:
        """On data of the user's so many steps that 600,000 edges are seen (100 to 2,000 steps): half a minute or so."""
        if self.generated:
            return Budget(steps=100)
        edges = self.recipe.batch * self.example()[2].shape[1]
        return Budget(steps=max(100, min(2_000, round(EDGES / edges))))

    def full_budget(self) -> Budget:
        return self.budget().scaled(4)

    def fit(self, model: nn.Module, budget: Budget, rng: random.Random, full: bool = False,
            rate: float = 1.0) -> list[dict[str, float]]:
        """`full` changes nothing: the validation structures say which epoch's weights are kept, and are not learned."""
        self.place(model)
        draws = np.random.default_rng(rng.getrandbits(60))
        passes = math.ceil(ROUND / self.steps_an_epoch)
        cutoff = cutoff_of(model, self.cutoffs)

        def some() -> Iterator[Batch]:
            for _ in range(passes):
                yield from self.epoch("train", draws, cutoff)

        curve = fit(model, some, self.steps_an_epoch, lambda batch: self.loss(self.answer(model, batch), batch),
                    replace(self.recipe, lr=self.recipe.lr * rate), budget, lambda: self.score(model), "force_mae")
        return [{**row, "epoch": row["epoch"] * passes} for row in curve]

    def batches(self, split: Literal["train", "validation"], rng: random.Random,
                part: tuple[float, float] = (0.0, 1.0)) -> Iterator[Batch]:
        """With the edges of the largest cutoff, as networks of all cutoffs learn from them."""
        return self.epoch(split, np.random.default_rng(rng.getrandbits(60)), self.cutoffs[-1], part)

    def epoch(self, split: str, draws: np.random.Generator, cutoff: float,
              part: tuple[float, float] = (0.0, 1.0)) -> Iterator[Batch]:
        """All structures once, in batches of nearly equal size."""
        graphs = self.parts[split]
        order = np.random.default_rng(ORDER_SEED).permutation(len(graphs))
        kept = order[round(part[0] * len(graphs)):round(part[1] * len(graphs))]
        for chosen in np.array_split(draws.permutation(kept), math.ceil(len(kept) / self.recipe.batch)):
            inputs, targets = graphs.batch(chosen.tolist(), cutoff)
            yield tuple(x.to(self.device) for x in inputs), tuple(x.to(self.device) for x in targets)

    def loss(self, answer: Any, batch: Any) -> torch.Tensor:
        """Weighted mean squares of what energies by atom, force components and virials by atom are off, by the mean
        square of the forces."""
        (energy, forces, stress), (*known, has_stress, atoms) = answer, batch[1]
        volume = torch.linalg.det(batch[0][5]).abs() * has_stress / atoms       # of those whose stress is known
        virial = (((stress - known[2]) * volume[:, None, None]) ** 2).mean((1, 2)).sum() / has_stress.sum().clamp_min(1)
        terms = (((energy - known[0]) / atoms) ** 2).mean(), ((forces - known[1]) ** 2).mean(), virial
        return sum(weight * term for weight, term in zip(self.weights, terms, strict=True)) / self.force_rms**2

    def distance(self, answer: Any, other: Any) -> torch.Tensor:
        """The mean square of what the forces are off, by that of all forces."""
        return ((answer[1] - other[1]) ** 2).mean() / self.force_rms**2

    def place(self, model: nn.Module) -> nn.Module:
        return model.to(self.device)

    def score(self, model: nn.Module, split: Literal["validation", "test"] = "validation") -> Metrics:
        """Mean absolute errors of forces (meV/Angstrom), energies (meV/atom) and, where known, stresses (GPa)."""
        return scores(self.parts[split].structures, self.answers(model, split))

    def answers(self, model: nn.Module, split: str) -> Answers:
        """What a network says of the structures of a part."""
        part, cutoff = self.parts[split], cutoff_of(model, self.cutoffs)
        self.place(model).eval()
        sizes = [len(each) for each in part.structures]
        with torch.no_grad():
            return joined([Answers.of(model(*(x.to(self.device) for x in part.batch(chosen, cutoff)[0])),
                                      [sizes[i] for i in chosen]) for chosen in portions(sizes, ATOMS)])

    def inputs(self, number: int) -> tuple[torch.Tensor, ...]:
        """So many test structures, or as many as have 500 atoms together."""
        part = self.parts["test"]
        filled = np.cumsum([len(each) for each in part.structures])
        most = max(1, int((filled <= ATOMS).sum()))
        return part.batch(range(min(number, most)), self.cutoffs[-1])[0]

    def exported(self, model: nn.Module) -> nn.Module:
        """The network and its gradient as one graph of plain operators."""
        from archfab.tasks.molecules.exporting import traced
        return traced(model, self.typical(2, cutoff_of(model, self.cutoffs)))

    def preprocessing(self) -> dict[str, Any]:
        """How structures become what a network takes."""
        from archfab.tasks.molecules.preparing import said
        return said(self.species, self.cutoffs, self.dataset, self.dtype)

    def exhibits(self, model: nn.Module) -> Iterable[Exhibit]:
        """Parity of energies and forces on test structures, errors by element, and the predictions themselves."""
        from archfab.tasks.molecules.pictures import exhibits
        return exhibits(self.parts["test"].structures, self.answers(model, "test"))

    @classmethod
    def predict(cls, models: Sequence[Any], preprocessing: Mapping[str, Any], data: str, *, units: str = "auto",
                species: str | None = None, choose: int = 0, diversity: float = 0.5) -> Iterable[Exhibit]:
        """Energies, forces and stresses of the structures of a file, as extended XYZ and as a table; of several
        networks the mean, and how far they are from each other.

        :param units: of the file, such as kcal/mol,Bohr; auto: those of its format.
        :param species: the element of all atoms, for files that name none.
        :param choose: how many structures to choose that are to be labelled next: those that the networks disagree on,
            and unlike each other.
        :param diversity: of the choice; 0: by disagreement alone, 1: as unlike each other as can be.
        """
        from archfab.tasks.molecules.predicting import predicted
        return predicted(models, data, units, species, choose, diversity)

    def baseline(self) -> dict[str, Metrics]:
        """Energies by species with no forces, and a pair potential fitted by least squares."""
        from archfab.tasks.molecules.preparing import baselines
        return baselines({name: part.structures for name, part in self.parts.items()}, self.constants, self.cutoffs[-1])


def the_data(data: str | None, test: str | None, units: str, species: str | None) -> Dataset:
    if data is None:
        from archfab.tasks.molecules.embedded import generated
        return generated()
    found = read_structures(data, test=test, units=units, species=species)
    for role, part in (("train", found.train), ("test", found.test or ())):
        for frame, each in enumerate(part):
            if each.forces is None:
                raise UsageError(f"{role} frame {frame} of {data} has no forces (the first is 0); potentials learn "
                                 "from energies and forces of every structure")
    return found


def species_energies(structures: Sequence[Structure], species: Sequence[int]) -> list[float]:
    """The energy of an atom of each species in eV, by least squares; the smallest ones where that leaves them open."""
    counts = np.array([[(each.numbers == number).sum() for number in species] for each in structures], dtype=float)
    energies = np.array([each.energy for each in structures], dtype=float)
    return [float(f"{value:.10g}") for value in np.linalg.lstsq(counts, energies, rcond=None)[0]]


def cutoff_of(model: Any, cutoffs: Sequence[float]) -> float:
    """A network's own cutoff, or one that is large enough."""
    return float(getattr(model, "r_max", cutoffs[-1]))


def lengths(text: str) -> tuple[float, ...]:
    """Cutoffs from a text such as 4,5: from the smallest to the largest."""
    try:
        found = sorted({float(word) for word in str(text).split(",")})
        if not found or not all(0 < value < math.inf for value in found):
            raise ValueError
    except ValueError:
        raise UsageError(f"'{text}' are no cutoffs; write lengths in Angstrom, such as 4,5") from None
    return tuple(found)


export = Molecules
