"""Where a defect of a given size shorts or opens parallel lines, averaged over the sizes of defects.

Lines of width w at spaces s, long against a defect; a defect is a disc of diameter x. It shorts two lines where it
touches both, and opens one where it covers its whole width, so that only its extent across the lines counts:
a strip of width x - s around the middle of each space, x - w around the middle of each line (Stapper, IBM J. R&D
1983 and 1984). Where strips of neighbours overlap, the area is counted once. Ends of lines are neglected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.yields.checks import above_zero, from_zero, share
from archfab.silicon.yields.models import plain

UM2_PER_CM2 = 1e8
LONG = 20.0             # times the larger of width and space: shorter lines have ends that count


@dataclass(frozen=True)
class Sizes:
    """How large defects are: the density (n - 1) x0^(n - 1) / x^n of diameters x beyond x0, 2 x0^2 / x^3 by default."""

    x0_um: float
    exponent: float = 3.0

    def __post_init__(self) -> None:
        above_zero("the smallest size of a defect in um", self.x0_um)
        if not 2 < self.exponent < np.inf:
            raise UsageError(f"an exponent of {self.exponent:g} is impossible: defects have a finite mean size only "
                             "above 2; published fits are 2.5 to 4, and 3 is usual")

    def density(self, size_um: Any) -> Any:
        """Of diameters, per um."""
        x, n = np.asarray(size_um, dtype=float), self.exponent
        with np.errstate(divide="ignore"):
            return plain(np.where(x < self.x0_um, 0.0, (n - 1) / self.x0_um * (self.x0_um / x) ** n))

    def excess(self, threshold_um: float) -> float:
        """The mean of how far a diameter goes beyond a threshold, in um; nothing for smaller ones."""
        n, x0, t = self.exponent, self.x0_um, threshold_um
        if t < x0:
            return x0 * (n - 1) / (n - 2) - t
        return x0 * (x0 / t) ** (n - 2) / (n - 2)


@dataclass(frozen=True)
class Lines:
    """Parallel lines of one layer: their width, the space between them, their length, how many there are."""

    width_um: float
    space_um: float
    length_um: float
    number: int = 1

    def __post_init__(self) -> None:
        for name in ("width", "space", "length"):
            above_zero(f"a {name} in um", getattr(self, f"{name}_um"))
        if self.number < 1 or self.number != int(self.number):
            raise UsageError(f"{self.number:g} lines are impossible; give a whole number from 1 up")

    @property
    def pitch_um(self) -> float:
        return self.width_um + self.space_um

    def area_um2(self, fault: str, size_um: Any) -> Any:
        """The critical area for defects of one diameter: where their centre may lie to do harm.

        :param fault: `short` or `open`.
        """
        threshold, strips = self.strips(fault)
        x = from_zero("the size of a defect in um", size_um)
        one = np.clip(x - threshold, 0.0, None)
        over = np.clip(x - threshold - self.pitch_um, 0.0, None)
        return plain(self.length_um * (strips * one - max(0, strips - 1) * over))

    def strips(self, fault: str) -> tuple[float, int]:
        """The smallest defect that does harm, and how many strips there are."""
        if fault not in ("short", "open"):
            raise UsageError(f"no fault '{fault}'; legal: short, open")
        return (self.space_um, self.number - 1) if fault == "short" else (self.width_um, self.number)

    def average_um2(self, fault: str, sizes: Sizes) -> float:
        """The critical area averaged over the sizes of defects: the integral of A(x) p(x), in closed form. With one
        space s beyond x0 and the exponent 3 that is length x0^2 / s."""
        threshold, strips = self.strips(fault)
        return self.length_um * (strips * sizes.excess(threshold)
                                 - max(0, strips - 1) * sizes.excess(threshold + self.pitch_um))


@dataclass(frozen=True)
class Layer:
    """One layer of a die: what its defects do is told by its lines, or by a kill ratio that was found otherwise.

    `d0_short_per_cm2` counts all defects of extra material beyond the smallest size, `d0_open_per_cm2` those of missing
    material; with `kill_ratio` (that of inspection, say) `d0_per_cm2` counts both.
    """

    name: str
    lines: Lines | None = None
    d0_short_per_cm2: float = 0.0
    d0_open_per_cm2: float = 0.0
    kill_ratio: float | None = None
    d0_per_cm2: float = 0.0
    number: int = 1

    def __post_init__(self) -> None:
        if (self.lines is None) == (self.kill_ratio is None):
            raise UsageError(f"layer '{self.name}' needs either lines (width_um, space_um, length_um, lines) or a "
                             "kill_ratio")
        if self.kill_ratio is not None:
            share(f"layer '{self.name}': a kill ratio", self.kill_ratio, zero=True)
            if self.d0_short_per_cm2 or self.d0_open_per_cm2:
                raise UsageError(f"layer '{self.name}' has a kill ratio, so its defects are d0_per_cm2")
        elif self.d0_per_cm2:
            raise UsageError(f"layer '{self.name}' has lines, so its defects are d0_short_per_cm2 and d0_open_per_cm2")
        for name in ("d0_short_per_cm2", "d0_open_per_cm2", "d0_per_cm2"):
            from_zero(f"layer '{self.name}': {name}", getattr(self, name))
        if self.number < 1 or self.number != int(self.number):
            raise UsageError(f"layer '{self.name}': {self.number:g} equal layers are impossible; give 1 or more")


@dataclass(frozen=True)
class Faults:
    """What a layer contributes: killing defects on a die by cause, and the share of its defects that kill."""

    name: str
    short: float
    open: float
    other: float
    critical_short_um2: float | None
    critical_open_um2: float | None
    kill_ratio: float | None

    @property
    def mean(self) -> float:
        return self.short + self.open + self.other


def faults_of(layer: Layer, area_mm2: float, sizes: Sizes) -> Faults:
    """The killing defects of a layer: lambda = D0 times the integral of A(x) p(x) dx, shorts and opens added.

    :param area_mm2: of the die; its kill ratio is lambda over the number of defects on it.
    :raises UsageError: lines that do not fit on the die.
    """
    area = float(above_zero("an area in mm2", area_mm2))
    times = layer.number
    if layer.kill_ratio is not None:
        return Faults(layer.name, 0.0, 0.0, times * layer.d0_per_cm2 * area / 100 * layer.kill_ratio, None, None,
                      layer.kill_ratio)
    assert layer.lines
    lines = layer.lines
    covered = lines.number * lines.pitch_um * lines.length_um / 1e6
    if covered > area * (1 + 1e-6) + lines.space_um * lines.length_um / 1e6:
        raise UsageError(f"layer '{layer.name}': {lines.number} lines of {lines.length_um:g} um at a pitch of "
                         f"{lines.pitch_um:g} um take {covered:.6g} mm2, more than the die's {area:g} mm2; are all "
                         "lengths in um?")
    critical = {fault: lines.average_um2(fault, sizes) for fault in ("short", "open")}
    short = times * layer.d0_short_per_cm2 * critical["short"] / UM2_PER_CM2
    opened = times * layer.d0_open_per_cm2 * critical["open"] / UM2_PER_CM2
    defects = times * (layer.d0_short_per_cm2 + layer.d0_open_per_cm2) * area / 100
    return Faults(layer.name, short, opened, 0.0, critical["short"], critical["open"],
                  (short + opened) / defects if defects else None)


def doubts(layers: Sequence[Layer], sizes: Sizes) -> list[str]:
    """Where the model's assumptions are strained."""
    said = []
    for layer in layers:
        if (lines := layer.lines) is None:
            continue
        if lines.length_um < LONG * max(lines.width_um, lines.space_um):
            said.append(f"layer '{layer.name}': lines of {lines.length_um:g} um are short against their width or space "
                        f"({max(lines.width_um, lines.space_um):g} um), and ends are neglected")
        if sizes.x0_um > min(lines.width_um, lines.space_um):
            said.append(f"layer '{layer.name}': every defect is larger than {sizes.x0_um:g} um, and the smaller of "
                        f"width and space is {min(lines.width_um, lines.space_um):g} um: the law of sizes is meant to "
                        "begin below what a defect has to bridge")
    return said
