"""Before anything is trained: is there an architecture that meets the limits at all?"""

from __future__ import annotations

import random
from collections.abc import Mapping

from archfab.core import BuildError, Genotype, Limit, Metrics, UsageError, key_of
from archfab.evaluate import Workbench

DRAWS = 24          # architectures tried at random before the descent
STARTS = 3          # descents
MOST = 1500         # architectures costed in all


def find_feasible(bench: Workbench) -> Genotype:
    """An architecture whose costs meet every limit that the device can tell.

    Tries the whole space where it is small; else random draws, then descents along neighbours.

    :raises UsageError: when none is found, with the least that was reached.
    """
    limits = [limit for limit in bench.limits if limit.name in bench.device.figures]
    search = Descent(bench, limits)
    rng = random.Random(f"{bench.spec.seed}:feasible")
    counter = bench.space.counter
    tried: list[tuple[float, Genotype]]
    if counter and counter.count <= 200:
        tried = [(search.excess(genotype), genotype) for genotype in bench.space]
        whole = True
    else:
        tried, whole = [], False
        for _ in range(DRAWS):
            genotype: Genotype = bench.space.sample(rng)
            tried.append((search.excess(genotype), genotype))
            if tried[-1][0] == 0:
                return genotype
        starts = sorted(tried, key=lambda item: item[0])[:STARTS]
        tried += [search.down(excess, genotype) for excess, genotype in starts]
    excess, genotype = min(tried, key=lambda item: item[0])
    if excess == 0:
        return genotype
    if not search.seen:
        raise UsageError(f"no architecture of the space can be built; the last one failed so: {search.fault}")
    raise UsageError(refusal(limits, search, genotype, whole))


class Descent:
    """Follows neighbours to less excess over the limits, remembering what it has costed."""

    def __init__(self, bench: Workbench, limits: list[Limit]) -> None:
        self.bench = bench
        self.limits = limits
        self.seen: dict[frozenset[object], Metrics] = {}
        self.fault = ""

    def excess(self, genotype: Genotype) -> float:
        """By how much an architecture breaks the limits; infinite when it cannot be built."""
        key = key_of(genotype)
        if key not in self.seen:
            try:
                self.seen[key] = {n: c.value for n, c in self.bench.costs(genotype).figures.items()}
            except BuildError as error:
                self.fault = str(error)
                return float("inf")
        return sum(limit.excess(self.seen[key]) for limit in self.limits)

    def down(self, excess: float, genotype: Genotype) -> tuple[float, Genotype]:
        """The first neighbour that is better, again and again."""
        moved = True
        while moved and excess > 0 and len(self.seen) < MOST:
            moved = False
            for neighbour in self.bench.space.neighbours(genotype):
                found = self.excess(neighbour)
                if found < excess:
                    excess, genotype, moved = found, neighbour, True
                    break
        return excess, genotype


def refusal(limits: list[Limit], search: Descent, nearest: Genotype, whole: bool) -> str:
    """What is said when nothing fits: the least found of each limited cost, and the nearest architecture."""
    words = {"<=": "least", ">=": "most"}
    least = ", ".join(f"the {words[limit.sense]} {limit.name} found is {extreme(limit, search):.6g}"
                      for limit in limits)
    looked = f"all {len(search.seen)} architectures" if whole else f"{len(search.seen)} architectures, going downhill"
    near: Mapping[str, float] = search.seen[frozenset(nearest.items())]
    together = ", ".join(f"{limit.name} {near[limit.name]:.6g}" for limit in limits)
    return (f"no architecture of this space meets {' and '.join(map(str, limits))}: {least} (looked at {looked}); "
            f"the nearest has {together}. Loosen the limit, or give a space with smaller networks (--space)")


def extreme(limit: Limit, search: Descent) -> float:
    values = [metrics[limit.name] for metrics in search.seen.values()]
    return min(values) if limit.sense == "<=" else max(values)
