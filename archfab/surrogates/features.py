"""Genotypes as blocks of numbers, each block with a distance of its own: what a kernel compares networks by."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

import numpy as np

from archfab.core import Genotype, Label, Metrics
from archfab.space import Space
from archfab.space.encodings import one_hot, paths

LACKING = -0.7      # the standing of a network of which a figure is not known

Block = Callable[[Sequence[Genotype]], np.ndarray]


@dataclass(frozen=True)
class Features:
    """Named blocks over one space; a call gives float32 arrays [genotypes, width of the block].

    The squared distance in `decisions` is the tree-structured one (after Jenatton et al., ICML 2017): 2 for a
    decision taken differently, 1 for one that only one of the networks has, 0 for one that neither has.
    """

    blocks: dict[str, Block]

    def __call__(self, genotypes: Sequence[Genotype]) -> list[np.ndarray]:
        return [block(genotypes) for block in self.blocks.values()]


def tree(space: Space) -> Features:
    """The decisions alone."""
    return Features({"decisions": one_hot(space)})


def rich(space: Space) -> Features:
    """The decisions, numbers as numbers, how often each option stands in a network, and the paths of cells."""
    blocks: dict[str, Block] = {"decisions": one_hot(space)}
    if block := numbers(space):
        blocks["numbers"] = block
    if block := counts(space):
        blocks["counts"] = block
    if block := paths(space):
        blocks["paths"] = block
    return Features(blocks)


def numbers(space: Space) -> Block | None:
    """Numeric decisions by the rank of their label, from 0 to 1; the middle where a network has not got one."""
    scales: list[tuple[str, dict[Label, float]]] = []
    for name, labels in space.labels.items():
        if len(labels) > 2 and all(isinstance(label, int | float) and not isinstance(label, bool) for label in labels):
            order = sorted(labels)                                                          # type: ignore[type-var]
            scales.append((name, {label: i / (len(order) - 1) for i, label in enumerate(order)}))
    if not scales:
        return None
    return lambda genotypes: np.array([[scale.get(genotype.get(name, None), 0.5) for name, scale in scales]
                                       for genotype in genotypes], np.float32).reshape(len(genotypes), len(scales))


def counts(space: Space) -> Block | None:
    """How many decisions of one kind (with equal labels) take each option."""
    kinds: dict[tuple[Label, ...], list[str]] = {}
    for name, labels in space.labels.items():
        if len(labels) > 1:
            kinds.setdefault(labels, []).append(name)
    repeated = {labels: names for labels, names in kinds.items() if len(names) > 1}
    if not repeated:
        return None
    places: dict[str, dict[Label, int]] = {}
    width = 0
    for labels, names in repeated.items():
        at = {label: width + i for i, label in enumerate(labels)}
        places.update(dict.fromkeys(names, at))
        width += len(labels)

    def count(genotypes: Sequence[Genotype]) -> np.ndarray:
        found = np.zeros((len(genotypes), width), np.float32)
        for row, genotype in zip(found, genotypes, strict=True):
            for name, label in genotype.items():
                if name in places:
                    row[places[name][label]] += 1
        return found

    return count


class Standing:
    """Where networks stand among a sample by their cheap figures, one by one: from -1.7, the least, to 1.7.

    Places are evenly spread and of deviation 1, so that units and outliers do not matter, and a sum favours networks
    that stand well by every figure over those that excel by one (normal deviates began far worse on NAS-Bench-201:
    94.10 against 94.36 after 20). A network that lacks a figure stands in the lower third: as a rule the figure
    could not be computed.
    """

    def __init__(self, sample: Sequence[Metrics], without: Container[str] = ()) -> None:
        names = dict.fromkeys(name for figures in sample for name in figures if name not in without)
        self.known = {name: np.sort([figures[name] for figures in sample if name in figures]) for name in names}

    def __call__(self, networks: Sequence[Metrics]) -> np.ndarray:
        """[networks, figures]."""
        found = np.full((len(networks), len(self.known)), LACKING)
        for column, (name, known) in zip(found.T, self.known.items(), strict=True):
            there = [i for i, figures in enumerate(networks) if name in figures]
            values = [networks[i][name] for i in there]
            places = (np.searchsorted(known, values) + np.searchsorted(known, values, "right")) / (2 * len(known))
            column[there] = np.sqrt(12) * (places - 0.5)
        return found
