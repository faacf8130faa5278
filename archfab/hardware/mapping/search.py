"""Mapping search: for each layer the unrolling, the order of the loops and their split over the memories that cost
least.

Loops are of three kinds: those that leave weights, results or inputs where they are. Unrollings with few steps are
tried with each kind innermost, the promising ones with the kinds in all six orders. The best mappings are improved: a
factor is taken out of one loop and put elsewhere, all such moves of all layers evaluated at once, until none helps.
What memories hold follows from the order (`allocate`). Nothing is drawn: the same question has the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import permutations

import numpy as np

from archfab.core import BuildError, UsageError
from archfab.hardware.mapping.allocate import allocate
from archfab.hardware.mapping.architecture import Architecture
from archfab.hardware.mapping.batch import Array, Batch, of_layers
from archfab.hardware.mapping.evaluate import Evaluation, Figures, evaluation, figures
from archfab.hardware.mapping.layer import FX, FY, LOOPS, OX, OY, B, C, G, K, Layer
from archfab.hardware.mapping.nest import Nest
from archfab.hardware.mapping.unroll import unrollings

OBJECTIVES = ("energy", "latency", "edp")
KINDS = ((OX, OY, B), (FX, FY, C), (K,))
"""The loops that do not move weights, results, inputs."""
ORDERS = [[loop for kind in order for loop in kind] + [G] for order in permutations(KINDS)]
UNROLLINGS, PROMISING, BEAM, ROUNDS, SLOTS = 100, 30, 4, 6, 11
"""Unrollings that are tried, those of them that are tried in all orders, mappings that are improved side by side, how
often at most, and the most loops of a mapping."""

Mapped = tuple[Nest, Evaluation]


def best(layers: Sequence[Layer], architecture: Architecture, objective: str = "edp") -> list[Mapped]:
    """The best mapping found for each layer, with its cost. Known layers of a known array are looked up.

    :param objective: energy, latency (cycles) or edp (their product).
    """
    if objective not in OBJECTIVES:
        raise UsageError(f"a mapping is sought for {', '.join(OBJECTIVES)}, not '{objective}'")
    known = found_before(architecture, objective)
    if new := [layer for layer in dict.fromkeys(layers) if layer not in known]:
        known.update(zip(new, search(new, architecture, objective), strict=True))
    return [known[layer] for layer in layers]


@lru_cache(maxsize=512)
def found_before(architecture: Architecture, objective: str) -> dict[Layer, Mapped]:
    """What this process has found for an array."""
    return {}


def search(layers: Sequence[Layer], architecture: Architecture, objective: str) -> list[Mapped]:
    """As `best`, without memory."""
    unrolled = [unrollings(layer, architecture, UNROLLINGS) for layer in layers]
    batch, owner = seeds(layers, unrolled, ORDERS[::2])
    batch, score = scored(batch, architecture, objective)
    for at, layer in enumerate(layers):
        if not np.isfinite(score[owner == at]).any():
            raise BuildError(f"no mapping of a layer {dict(zip(LOOPS, layer.sizes, strict=True))} fits into the "
                             f"memories of '{architecture.name}'")
    keep = top(owner, score, PROMISING)
    unrolled = [batch.unroll[keep[owner[keep] == at]] for at in range(len(layers))]
    batch, owner = seeds(layers, unrolled, ORDERS)
    batch, score = scored(batch, architecture, objective)
    batch = improved(batch, owner, score, architecture, objective)
    found = figures(batch, architecture)
    return [(batch.nest(row), evaluation(found, row, architecture)) for row in range(len(batch))]


def improved(batch: Batch, owner: Array, score: Array, architecture: Architecture, objective: str) -> Batch:
    """The best row of each owner, after moving factors about as long as that helps."""
    keep = top(owner, score, BEAM)
    batch, owner, score = batch.take(keep), owner[keep], score[keep]
    fresh = np.arange(len(batch))
    for _ in range(ROUNDS):
        moved, source = moves(batch, fresh)
        if not len(moved):
            break
        moved, new = scored(moved, architecture, objective)
        batch, old = stack(batch, moved), len(batch)
        owner, score = np.concatenate([owner, owner[source]]), np.concatenate([score, new])
        keep = top(owner, score, BEAM)
        batch, owner, score = batch.take(keep), owner[keep], score[keep]
        fresh = np.flatnonzero(keep >= old)
    return batch.take(top(owner, score, 1))


def scored(batch: Batch, architecture: Architecture, objective: str) -> tuple[Batch, Array]:
    """The batch with what its memories hold, and what is to be small; infinite where it does not fit."""
    batch, fits = allocate(batch, architecture)
    found = figures(batch, architecture)
    return batch, np.where(fits & found.fits, value(found, objective), np.inf)


def value(found: Figures, objective: str) -> Array:
    """What is to be small; the other figure decides between equals."""
    energy, cycles = found.energy, found.cycles.total
    if objective == "edp":
        return energy * cycles
    main, other = (energy, cycles) if objective == "energy" else (cycles, energy)
    return main * (1 + 1e-9 * np.log(other))


def top(owner: Array, score: Array, most: int) -> Array:
    """The rows with the lowest scores of each owner, best first; of equal scores only one."""
    order = np.lexsort((score, owner))
    owners, scores = owner[order], score[order]
    first = np.concatenate([[True], (owners[1:] != owners[:-1])])
    other = first | np.concatenate([[True], scores[1:] > scores[:-1] * (1 + 1e-12)])
    order, owners, first = order[other], owners[other], first[other]
    place = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    return order[place < most]


def seeds(layers: Sequence[Layer], unrolled: Sequence[Array], orders: Sequence[Sequence[int]]) -> tuple[Batch, Array]:
    """Every unrolling of every layer with whole loops in each order; and whose rows these are."""
    owner = np.repeat(np.arange(len(layers)), [len(units) for units in unrolled])
    units = np.concatenate(list(unrolled))
    rounds = np.ceil(np.array([layer.sizes for layer in layers])[owner] / units.prod(axis=1))
    loops, counts = packed(np.repeat(np.array(orders), len(units), axis=0),
                           np.concatenate([rounds[:, order] for order in orders]))
    owners = np.tile(owner, len(orders))
    return of_layers(layers, owners, np.tile(units, (len(orders), 1, 1)), loops, counts), owners


def packed(loop: Array, count: Array) -> tuple[Array, Array]:
    """Equal loops that follow each other are one, loops that run once go to the end; the width becomes `SLOTS`."""
    loop, count = compact(loop, count)
    for at in range(loop.shape[1] - 1, 0, -1):
        same = (loop[:, at] == loop[:, at - 1]) & (count[:, at] > 1)
        count[:, at - 1] *= np.where(same, count[:, at], 1)
        count[:, at] = np.where(same, 1, count[:, at])
    loop, count = (each[:, :SLOTS] for each in compact(loop, count))
    spare = SLOTS - loop.shape[1]
    return np.pad(loop, ((0, 0), (0, spare))), np.pad(count, ((0, 0), (0, spare)), constant_values=1)


def compact(loop: Array, count: Array) -> tuple[Array, Array]:
    """Loops that run once go to the end."""
    order = np.argsort(count == 1, axis=1, kind="stable")
    return np.take_along_axis(loop, order, 1), np.take_along_axis(count, order, 1)


def moves(batch: Batch, rows: Array) -> tuple[Batch, Array]:
    """All rows that differ from the given ones by a factor of one loop that stands elsewhere; and their sources."""
    real = (batch.count > 1).sum(axis=1)
    found = [(row, at, to, part) for row in rows if real[row] < SLOTS for at in range(real[row])
             for part in factors(int(batch.count[row, at])) for to in range(real[row] + 1) if to not in (at, at + 1)]
    origin, at, to, part = np.array(found, int).reshape(-1, 4).T
    every = np.arange(len(origin))
    loop, count = batch.loop[origin], batch.count[origin].copy()
    moving = loop[every, at]
    count[every, at] = np.ceil(count[every, at] / part)
    slots = np.arange(SLOTS + 1)
    index = np.where(slots < to[:, None], slots, slots - 1)
    index[every, to] = SLOTS
    loop = np.take_along_axis(np.concatenate([loop, moving[:, None]], 1), index, 1)
    count = np.take_along_axis(np.concatenate([count, part[:, None].astype(float)], 1), index, 1)
    loop, count = packed(loop, count)
    moved = batch.take(origin)
    return Batch(moved.sizes, moved.stride, moved.dilation, moved.edge, moved.bits, moved.unroll, loop, count), origin


@cache
def factors(count: int) -> tuple[int, ...]:
    """What is taken out of a loop at once: all of it, its smallest or largest prime, all but the smallest; of a large
    prime half, rounded up."""
    primes = prime_factors(count)
    if len(primes) == 1:
        return (count,) if count <= 7 else (count, 2)
    return tuple(sorted({count, primes[0], primes[-1], count // primes[0]}))


def prime_factors(count: int) -> list[int]:
    """In order, repeated as often as they divide."""
    found, prime = [], 2
    while prime * prime <= count:
        while count % prime == 0:
            found.append(prime)
            count //= prime
        prime += 1
    return found + ([count] if count > 1 else [])


def stack(one: Batch, other: Batch) -> Batch:
    """The rows of both."""
    names = ("sizes", "stride", "dilation", "edge", "bits", "unroll", "loop", "count")
    return Batch(**{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in names},
                 held={name: np.concatenate([one.held[name], other.held[name]]) for name in one.held})
