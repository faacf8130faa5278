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


@dataclass(frozen=True)
class Maturity:
    """What lots tell: the densities, the best curve and the others, draws of the best, what is plain to say."""

    lots: Lots
    densities: tuple[LotDensity, ...]
    curves: tuple[Curve, ...]
    draws: tuple[Curve, ...]
    deviations: np.ndarray

    @property
    def curve(self) -> Curve:
        return self.curves[0]

    def band(self, when: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The 95 % band of the curve."""
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
                    lots.lots[0].defects is not None, _within(lots, densities))
    curves = tuple(fit_curves(points))
    f = curves[0].at(points.when)
    return Maturity(lots, densities, curves, tuple(redrawn(curves[0], rng, draws)),
                    (points.d0 - f) / np.sqrt(points.variance(f, curves[0].scatter)))


def _within(lots: Lots, densities: Sequence[LotDensity]) -> np.ndarray:
    """How much of D0 squared a lot's variance is because its rows differ: 1/alpha, averaged over lots by what they tell
    of it, over the number of rows of like size."""
    known = [(len(lot.dies) - 1, 1 / each.alpha) for lot, each in zip(lots.lots, densities, strict=True)
             if each.alpha is not None]
    spread = float(np.average([s for _, s in known], weights=[w for w, _ in known])) if known else 0.0
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
    low, high = np.quantile([draw.parameters[name] for draw in found.draws], [0.025, 0.975])
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
    if all(len(lot.dies) == 1 for lot in found.lots.lots):
        lines.append("alpha is not told by one row a lot: give a row for each wafer, or for each die")
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
    ends = f"{target['low'] or 'never'} to {target['high'] or 'never'}"
    tail = f"; {100 * target['never_share']:.0f} % of the curves drawn never do" if target["never_share"] else ""
    return f"{goal} is reached {target['reached']} (95 %: {ends}){tail}"


def finite(value: float | None) -> float | None:
    """The value, or None where it is infinite, which JSON has no word for."""
    return None if value is None or not np.isfinite(value) else value
