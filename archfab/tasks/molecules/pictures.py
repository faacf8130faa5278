"""What a delivered potential shows: parity of energies and forces, errors by element, predictions, learning curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from archfab.core import Exhibit
from archfab.drawing import FOUND, INK, LINE, OTHER, new_figure, svg
from archfab.tasks.molecules.answers import Answers, labelled
from archfab.tasks.molecules.data import Structure
from archfab.tasks.molecules.elements import SYMBOLS
from archfab.tasks.molecules.extxyz import written

DRAWN = 4_000       # force components in the picture, evenly chosen


def exhibits(structures: Sequence[Structure], answers: Answers) -> Iterable[Exhibit]:
    """Of test structures, in eV and Angstrom."""
    yield Exhibit("parity.svg", "Predicted energies and forces against the true ones, on test structures.",
                  svg(parity(structures, answers)).encode())
    yield Exhibit.table("errors-by-element.csv", "Errors of force components on test structures, by element, in "
                        "meV/Angstrom.", ["element", "atoms", "force_mae", "force_rmse", "mean_abs_force"],
                        by_element(structures, answers))
    yield Exhibit.table("predictions.csv", "Energies of test structures in eV, and the mean errors of their force "
                        "components in meV/Angstrom.",
                        ["structure", "group", "atoms", "energy", "predicted_energy", "force_mae"], [
        [i, each.group, len(each), each.energy, float(answers.energy[i]),
         1e3 * float(np.abs(answers.forces[i] - each.forces).mean())] for i, each in enumerate(structures)])
    yield Exhibit("predictions.xyz", "Predicted energies, forces and stresses of the test structures, as extended XYZ.",
                  written(labelled(structures, answers)).encode())


def by_element(structures: Sequence[Structure], answers: Answers) -> list[list[Any]]:
    """For each element its atoms, the errors of their force components, and how large these are."""
    numbers = np.concatenate([each.numbers for each in structures])
    true: Any = np.concatenate([each.forces for each in structures])
    off = np.concatenate(answers.forces) - true
    return [[SYMBOLS[number], int((numbers == number).sum()), *(1e3 * float(value) for value in (
        np.abs(off[numbers == number]).mean(), np.sqrt((off[numbers == number] ** 2).mean()),
        np.abs(true[numbers == number]).mean()))] for number in np.unique(numbers)]


def parity(structures: Sequence[Structure], answers: Answers) -> Any:
    """Energies by atom, from their mean on, and force components: predicted against true."""
    sizes = np.array([len(each) for each in structures])
    energy: Any = np.array([each.energy for each in structures])
    forces: Any = np.concatenate([each.forces.ravel() for each in structures if each.forces is not None])
    said = np.concatenate([each.ravel() for each in answers.forces])
    figure, (left, right) = new_figure(2)
    middle = (energy / sizes).mean()
    error = np.abs(answers.energy - energy) / sizes
    against(left, 1e3 * (energy / sizes - middle), 1e3 * (answers.energy / sizes - middle), "energy from its mean",
            "meV/atom", 1e3 * error.mean())
    some = np.unique(np.linspace(0, len(forces) - 1, min(DRAWN, len(forces))).astype(int))
    against(right, forces[some], said[some], "force component", "eV/Å", np.abs(said - forces).mean(), 3)
    return figure


def against(axis: Any, true: np.ndarray, found: np.ndarray, what: str, unit: str, error: float,
            digits: int = 2) -> None:
    """One panel: a dot for each value, and the line on which they would all lie."""
    low, high = min(true.min(), found.min()), max(true.max(), found.max())
    edge = 0.04 * (high - low or 1.0)
    ends = [low - edge, high + edge]
    axis.plot(ends, ends, color=LINE, linewidth=1)
    axis.scatter(true, found, s=9, color=FOUND, alpha=0.35, linewidths=0)
    axis.set(xlim=ends, ylim=ends, xlabel=f"true {what} ({unit})", ylabel=f"predicted {what} ({unit})")
    axis.set_title(f"{what}: mean absolute error {error:.{digits}g} {unit}", fontsize=10, color=INK, loc="left")


def learning_curve(curves: Mapping[str, Mapping[int, Sequence[float]]], title: str) -> Any:
    """Errors of forces over the number of training structures, one line a name, a dot a seed, on two log axes."""
    figure, (axis,) = new_figure()
    sizes = sorted({size for curve in curves.values() for size in curve})
    for i, (name, curve) in enumerate(curves.items()):
        color = (FOUND, LINE, INK, OTHER)[i % 4]
        known = sorted(curve)
        means = [float(np.mean(curve[size])) for size in known]
        axis.plot(known, means, color=color, marker="o", markersize=4, label=name)
        for size in known:
            axis.scatter([size] * len(curve[size]), curve[size], s=12, color=color, alpha=0.4, linewidths=0)
    axis.set(xscale="log", yscale="log", xlabel="training structures", ylabel="force error on test structures (meV/Å)")
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.minorticks_off()
    errors = [value for curve in curves.values() for values in curve.values() for value in values]
    ticks = [tick for tick in (5, 7, 10, 15, 20, 30, 40, 60, 80, 100, 120, 150, 200, 300, 500, 1000)
             if min(errors) * 0.9 <= tick <= max(errors) * 1.1]
    axis.set_yticks(ticks, [str(tick) for tick in ticks])
    axis.set_title(title, fontsize=10, color=INK, loc="left")
    axis.legend(frameon=False)
    return figure
