"""How mature a process is: D0 and alpha of each lot, the learning curve through them, when a target is met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.yields.density import LotDensity, lot_density
from archfab.silicon.yields.learning import CURVES, Curve, Points, fit_curves, limits, reached, redrawn
from archfab.silicon.yields.lots import Lots

EXCURSION = 3.0         # standard deviations of a lot from the curve
UNTOLD_BY_DEFECTS = "alpha is not told by one row a lot: give a row for each wafer, or for each die"
UNTOLD_BY_GOOD = ("passing and failing dies of one size do not tell D0 and alpha apart: D0 is that of independent "
                  "defects (Poisson), and larger the more they cluster; give defects, or a row for each wafer")


@dataclass(frozen=True)
class Maturity:
    """What lots tell: the densities, the best curve and the others, draws of all of them by how well the lots support
    each, and how many standard deviations each lot is off the best."""

    lots: Lots
    densities: tuple[LotDensity, ...]
    curves: tuple[Curve, ...]
    draws: tuple[Curve, ...]
    deviations: np.ndarray

    @property
    def curve(self) -> Curve:
        return self.curves[0]

    def band(self, when: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The 95 % band of the curve, whichever of them it is."""
        low, high = np.quantile([draw.at(when) for draw in self.draws], [0.025, 0.975], axis=0)
        return low, high


def maturity(lots: Lots, area_mm2: float, rng: np.random.Generator, draws: int = 200) -> Maturity:
    """D0 and alpha of each lot, and the learning curve that the lots support best by AIC.

    :param rng: of the draws that the intervals of the curve come from.
    :raises UsageError: fewer than three lots whose density is known, or none with a defect.
    """
    densities = tuple(lot_density(lot, area_mm2) for lot in lots.lots)
    if not all(np.isfinite(each.d0_per_cm2) for each in densities):
        name = next(lot.name for lot, each in zip(lots.lots, densities, strict=True) if np.isinf(each.d0_per_cm2))
        raise UsageError(f"lot '{name}' has no good die, so that its defect density has no upper end and no curve goes "
                         "through it; leave it out, or give defects")
    points = Points(np.array([lot.when for lot in lots.lots]), np.array([float(sum(lot.dies)) for lot in lots.lots]),
                    np.array([each.d0_per_cm2 for each in densities]), area_mm2 / 100,
                    lots.lots[0].defects is not None, _within(lots, densities, area_mm2 / 100))
    curves = tuple(fit_curves(points))
    f = curves[0].at(points.when)
    drawn = [each for curve in curves for each in redrawn(curve, rng, round(draws * curve.support(curves[0])))]
    return Maturity(lots, densities, curves, tuple(drawn),
                    (points.d0 - f) / np.sqrt(points.variance(f, curves[0].scatter)))


def _within(lots: Lots, densities: Sequence[LotDensity], area_cm2: float) -> np.ndarray:
    """How much of D0 squared a lot's variance is because its rows differ: 1/alpha of all lots together, by moments (the
    likeliest alpha of a few rows is too large), over the number of rows of like size."""
    beyond = squares = 0.0
    for lot, told in zip(lots.lots, densities, strict=True):
        n, rows = np.array(lot.dies, dtype=float), len(lot.dies)
        if told.alpha is None:
            continue
        if lot.defects is not None:
            density = np.array(lot.defects) / (n * area_cm2)
            chance = density.mean() / (n * area_cm2)
        else:
            good = np.maximum(np.array(lot.good), 0.5) / n
            density, chance = -np.log(good) / area_cm2, (1 / good - 1) / (n * area_cm2 ** 2)
        variance = density.var(ddof=1)
        beyond += (rows - 1) * (variance - chance.mean())
        squares += (rows - 1) * (density.mean() ** 2 - variance / rows)
    spread = max(0.0, beyond / squares) if squares > 0 else 0.0
    return np.array([spread * sum(n * n for n in lot.dies) / sum(lot.dies) ** 2 for lot in lots.lots])


def document(found: Maturity, target: float | None = None) -> dict[str, Any]:
    """The same as plain data."""
    lots, best = found.lots, found.curve
    rows: list[dict[str, Any]] = [
        {"lot": lot.name, "when": lots.at(lot.when), "rows": len(lot.dies), "dies": sum(lot.dies),
         **{key: finite(value) for key, value in asdict(density).items()},
         "alpha_is_infinite": density.alpha is not None and bool(np.isinf(density.alpha)),
         "deviation": float(deviation)}
        for lot, density, deviation in zip(lots.lots, found.densities, found.deviations, strict=True)]
    made: dict[str, Any] = {
        "lots": rows, "time": "days" if lots.dated else "order",
        "curve": {"name": best.name, "formula": CURVES[best.name], "scatter": best.scatter ** 0.5,
                  "parameters": {name: _parameter(found, name) for name in best.parameters}},
        "curves": [{"name": each.name, "aic": each.aic, "difference": each.aic - best.aic} for each in found.curves],
        "excursions": [row["lot"] for row in rows if abs(row["deviation"]) > EXCURSION],
    }
    if target is not None:
        made["target"] = _target(found, target)
    made["said"] = list(said(made, found))
    return made


def _parameter(found: Maturity, name: str) -> dict[str, float]:
    low, high = np.quantile([draw.parameters[name] for draw in found.draws if draw.name == found.curve.name],
                            [0.025, 0.975])
    return {"value": found.curve.parameters[name], "low": float(low), "high": float(high)}


def _target(found: Maturity, target: float) -> dict[str, Any]:
    when = reached(found.curve, target)
    low, high, never = limits([reached(draw, target) for draw in found.draws])
    name = found.lots.at
    return {"d0_per_cm2": target, "reached": None if when is None else name(when),
            "reached_at": when, "low": None if low is None else name(low), "high": None if high is None else name(high),
            "never_share": never}


def said(made: Mapping[str, Any], found: Maturity) -> list[str]:
    """What the figures mean, in words."""
    best, lines = found.curve, []
    last = float(found.curve.at(found.curve.points.when[-1:])[0])
    lines.append(f"the lots are best described by {CURVES[best.name]}; at the last lot it stands at {last:.3g} per "
                 f"cm2, and lots differ by {100 * best.scatter ** 0.5:.0f} % beyond chance and the differences of "
                 "wafers")
    if best.name == "constant":
        lines.append("no learning is seen: a constant density describes the lots as well as any curve")
    elif len(made["curves"]) > 1 and made["curves"][1]["difference"] < 2:
        lines.append(f"{made['curves'][1]['name']} describes them as well (AIC {made['curves'][1]['difference']:.2g} "
                     "more): do not read far beyond the last lot")
    if made["excursions"]:
        lines.append(f"more than {EXCURSION:g} deviations off the curve: {', '.join(made['excursions'])}")
    if all(each.alpha is None for each in found.densities):
        lines.append(UNTOLD_BY_DEFECTS if found.lots.lots[0].defects is not None else UNTOLD_BY_GOOD)
    if target := made.get("target"):
        lines.append(_of_target(target, best))
    return lines


def _of_target(target: Mapping[str, Any], best: Curve) -> str:
    goal = f"{target['d0_per_cm2']:g} per cm2"
    if target["reached"] is None:
        floor = best.parameters.get("floor", best.parameters["d0"] if best.name == "constant" else None)
        why = f": the curve goes down to {floor:.3g}" if floor else ""
        share = 100 * (1 - target['never_share'])
        return f"{goal} is not reached by this curve{why}; {share:.0f} % of the curves drawn reach it"
    if target["reached_at"] <= best.points.when[0]:
        return f"{goal} is met from the first lot on"
    ends = f"{target['low'] or 'never'} to {target['high'] or 'never'}"
    tail = f"; {100 * target['never_share']:.1f} % of the curves drawn never do" if target["never_share"] else ""
    return f"{goal} is reached {target['reached']} (95 %: {ends}){tail}"


def finite(value: float | None) -> float | None:
    """The value, or None where it is infinite, which JSON has no word for."""
    return None if value is None or not np.isfinite(value) else value
