"""What is said of wafer maps: yields, the fit, the edge, clustering, as a plain document with its statements."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta as beta_distribution
from scipy.stats import fisher_exact

from archfab.core import Estimate, UsageError
from archfab.silicon.wafers.blocks import block_interval
from archfab.silicon.wafers.counts import MODELS
from archfab.silicon.wafers.fitting import aic_weights, fit_counts
from archfab.silicon.wafers.lots import fit_lot, yield_spread
from archfab.silicon.wafers.maps import WaferMap, die_area_cm2, edge
from archfab.silicon.wafers.spatial import Clustering, Statistic, clustering, together
from archfab.silicon.wafers.windows import WindowFit, alike, fit_windows

CLEAR = 2.0             # of AIC: below, two models are not told apart
DOUBT = 0.05
KEPT = 1.2              # times wider: above, the interval that does not take dies as independent is pointed at


@dataclass(frozen=True)
class Asked:
    """How maps are to be fitted."""

    edge_rings: int = 0
    edge_mm: float | None = None
    windows: tuple[int, ...] = (1, 2, 4)
    models: tuple[str, ...] = tuple(MODELS)
    weights: str = "rook"
    permutations: int = 999
    seed: int = 0


def plain(value: float | None) -> float | None:
    """Infinity and what is not known are null in JSON."""
    return None if value is None or not math.isfinite(value) else float(value)


def interval(estimate: Estimate | None, scale: float = 1.0) -> dict[str, float | None] | None:
    return None if estimate is None else {"value": plain(estimate * scale), "low": plain(estimate.low * scale),
                                          "high": plain(estimate.high * scale)}


def share(number: int, of: int) -> dict[str, Any]:
    """A share with its exact 95 % interval (Clopper and Pearson)."""
    low = 0.0 if number == 0 else float(beta_distribution.ppf(0.025, number, of - number + 1))
    high = 1.0 if number == of else float(beta_distribution.ppf(0.975, number + 1, of - number))
    return {"value": number / of, "low": low, "high": high}


def report(wafers: Sequence[WaferMap], asked: Asked,
           progress: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
    """Everything that is said of these wafers.

    :raises UsageError: for wafers of different dies, and for options that are not legal.
    """
    if not wafers:
        raise UsageError("there are no wafers to fit")
    if len({wafer.counted for wafer in wafers}) > 1:
        raise UsageError("some wafers tell numbers of defects and others only which dies fail; fit them apart")
    area = die_area_cm2(wafers)
    counted = wafers[0].counted
    masks = [edge(wafer, asked.edge_rings, asked.edge_mm) for wafer in wafers]
    kept = [wafer.kept(~mask & wafer.dies) for wafer, mask in zip(wafers, masks, strict=True)]
    dies, failing = sum(int(wafer.dies.sum()) for wafer in kept), sum(int(wafer.failing.sum()) for wafer in kept)
    statements: list[str] = []
    fit = (of_counts if counted else of_windows)(kept, asked, area, statements)
    rim = edges(wafers, masks, asked, statements)
    told, spatial = of_space(kept, asked, statements, progress)
    if counted and fit["independent"] is False:
        statements.append("The intervals of the fit take dies as independent, and they are not: the interval of "
                          f"D0 from {fit['blocks']['groups']} groups of dies is {fit['blocks']['wider']:.2g} times as "
                          "wide; trust that one.")
    spread = yield_spread(kept)
    return {"wafers": len(kept), "dies": dies, "failing": failing, "counted": counted,
            "yield": share(dies - failing, dies), "die_area_cm2": area,
            "die_mm": None if wafers[0].die_mm is None else list(wafers[0].die_mm), "fit": fit, "edge": rim,
            "spatial": spatial, "between_wafers": None if spread is None else
            {"chi2": spread.chi2, "degrees": spread.degrees, "p_value": spread.p_value,
             "deviation_beyond_chance": spread.deviation},
            "maps": [row(wafer, each) for wafer, each in zip(kept, told, strict=True)],
            "notes": sorted({note for wafer in wafers for note in wafer.notes}), "statements": statements}


def row(wafer: WaferMap, told: Clustering) -> dict[str, Any]:
    """One wafer in short."""
    found = told.statistics
    return {"name": wafer.name, "label": wafer.label, "dies": int(wafer.dies.sum()),
            "failing": int(wafer.failing.sum()),
            "defects": int(wafer.values[wafer.dies].sum()) if wafer.counted else None,
            "yield": 1 - float(wafer.failing.sum() / wafer.dies.sum()),
            "moran_i": plain(found["moran"].value) if "moran" in found else None,
            "moran_p": found["moran"].p_value if "moran" in found else None,
            "nearest_index": plain(found["nearest"].value) if "nearest" in found else None,
            "why_not": told.why_not or None}


def of_counts(wafers: Sequence[WaferMap], asked: Asked, area: float | None, statements: list[str]) -> dict[str, Any]:
    """The fit of defects per die."""
    found = fit_counts(np.concatenate([wafer.values[wafer.dies] for wafer in wafers]), area, asked.models)
    scale = None if area is None else 1 / area
    weights = aic_weights(found.models) if found.models else []
    best = found.models[0] if found.models else None
    if not found.defects:
        statements.append(f"No defect on {found.dies} dies: alpha is not known, and D0 lies below "
                          + (f"{found.mean.high / area:.3g} per cm2." if area else f"{found.mean.high:.3g} per die."))
    elif best is not None and len(found.models) > 1:
        second = found.models[1]
        lead = second.aic - best.aic
        statements.append(f"Of {len(found.models)} models {best.name} fits best by AIC" + (
            f", {lead:.1f} before {second.name}." if lead >= CLEAR else
            f", but {second.name} is as good (AIC {lead:.1f} more, below {CLEAR:g})."))
        tested = found.goodness[0]
        if tested.p_value is not None and tested.p_value < DOUBT:
            statements.append(f"Even {best.name} does not fit (chi2 {tested.chi2:.3g} at {tested.degrees} degrees of "
                              f"freedom, p {tested.p_value:.2g}).")
    if found.alpha is not None and math.isinf(found.alpha):
        statements.append("Defects vary from die to die no more than by chance: alpha is infinite, which is Poisson's "
                          f"model; it is above {found.alpha.low:.3g}.")
    blocks, independent = None, None
    if (grouped := block_interval(wafers)) is not None and 0 < found.mean.low < found.mean.high < math.inf:
        wider = math.log(grouped[0].high / grouped[0].low) / math.log(found.mean.high / found.mean.low)
        blocks = {"groups": grouped[1], "defects_per_die": interval(grouped[0]),
                  "d0_per_cm2": None if scale is None else interval(grouped[0], scale), "wider": wider}
        independent = wider < KEPT
    return {"from": "defects", "defects": found.defects, "defects_per_die": interval(found.mean),
            "d0_per_cm2": interval(found.d0_per_cm2), "alpha": interval(found.alpha),
            "inverse_alpha": interval(found.kappa), "yield": found.good, "dispersion": found.dispersion, "models": [
                {"name": model.name, "aic": model.aic, "weight": weight, "loglik": model.loglik,
                 "parameters": {name: plain(value) for name, value in model.parameters.items()},
                 "chi2": tested.chi2, "degrees": tested.degrees, "p_value": tested.p_value}
                for model, weight, tested in zip(found.models, weights, found.goodness, strict=True)],
            "blocks": blocks, "independent": independent, "lot": of_lot(wafers, area, statements)}


def of_lot(wafers: Sequence[WaferMap], area: float | None, statements: list[str]) -> dict[str, Any] | None:
    """How defects vary within and between wafers."""
    if (found := fit_lot(wafers)) is None:
        return None
    if found.p_between < DOUBT:
        statements.append(f"Wafers differ beyond chance (p {found.p_between:.2g}): alpha is {found.alpha_between:.3g} "
                          f"from wafer to wafer and {found.alpha_within:.3g} within one.")
    return {"wafers": found.wafers, "defects_per_die": interval(found.mean),
            "d0_per_cm2": None if area is None else interval(found.mean, 1 / area),
            "alpha_within": interval(found.alpha_within), "alpha_between": interval(found.alpha_between),
            "p_between": found.p_between}


def of_windows(wafers: Sequence[WaferMap], asked: Asked, area: float | None, statements: list[str]) -> dict[str, Any]:
    """The fit of passing and failing dies."""
    dies, failing = sum(int(wafer.dies.sum()) for wafer in wafers), sum(int(wafer.failing.sum()) for wafer in wafers)
    document: dict[str, Any] = {"from": "windows", "defects_per_die": None, "d0_per_cm2": None, "alpha": None,
                                "inverse_alpha": None, "windows": [], "models": [], "equal_likelihood": []}
    good = share(dies - failing, dies)
    unit, scale = ("per die", 1.0) if area is None else ("per cm2", 1 / area)
    if failing == 0:
        statements.append(f"No die fails, of {dies}: the yield is at least {good['low']:.2%}, so D0 is at most "
                          f"{-math.log(good['low']) * scale:.3g} {unit} where defects are Poisson's, and more where "
                          "they cluster. Nothing more can be said of D0, and nothing of alpha.")
        return document
    if failing == dies:
        statements.append(f"All {dies} dies fail: the yield is at most {good['high']:.2%}, so D0 is at least "
                          f"{-math.log(good['high']) * scale:.3g} {unit}, however defects cluster. Nothing more can be "
                          "said of D0, and nothing of alpha.")
        return document
    document["equal_likelihood"] = [{"alpha": plain(alpha), "defects_per_die": mean,
                                     "d0_per_cm2": None if area is None else mean / area}
                                    for alpha, mean in alike(1 - failing / dies).items()]
    if max(asked.windows) == 1:
        statements.append("Passing and failing at one size of die cannot tell D0 from alpha: every pair of the list of "
                          "equal likelihood gives this yield. Give numbers of defects, or larger windows (--windows "
                          "1,2,4).")
        return document
    try:
        found = fit_windows(wafers, asked.windows)
    except UsageError as error:
        if any(size not in (1, 2, 4, 8, 16) for size in asked.windows):
            raise
        statements.append(f"D0 and alpha are not fitted: {error}. Passing and failing at one size of die cannot tell "
                          "them apart.")
        return document
    statements.append("Passing and failing at one size of die cannot tell D0 from alpha. Windows of up to "
                      f"{found.tile} neighbouring dies can, by clusters wider than a die only; defects that cluster "
                      "within a die count as one. Numbers of defects would tell more.")
    if not found.told_apart:
        ends = [f"{end:.3g}" if math.isfinite(end) else "infinity" for estimate in (found.alpha, found.mean)
                for end in (estimate.low, estimate.high)]
        statements.append(f"These wafers are too few or too plain to tell them apart: alpha may be {ends[0]} to "
                          f"{ends[1]}, and a die may have {ends[2]} to {ends[3]} defects.")
    elif found.kappa.low == 0:
        statements.append(f"Passing dies lie no closer together than chance may have it: alpha is above "
                          f"{found.alpha.low:.3g}, and may be infinite (Poisson's model).")
    return document | windowed(found, area)


def windowed(found: WindowFit, area: float | None) -> dict[str, Any]:
    least = min(found.aic.values())
    weights = {name: math.exp((least - aic) / 2) for name, aic in found.aic.items()}
    return {"defects_per_die": interval(found.mean),
            "d0_per_cm2": None if area is None else interval(found.mean, 1 / area), "alpha": interval(found.alpha),
            "inverse_alpha": interval(found.kappa), "told_apart": found.told_apart,
            "windows": [{"dies": each.dies, "places": each.places, "passing": each.passing,
                         "yield": each.passing / each.places if each.places else None, "fitted": each.fitted}
                        for each in found.windows],
            "tiles": found.tiles, "groups": found.groups, "inflation": list(found.inflation),
            "patch_dies": plain(found.patch),
            "models": [{"name": name, "aic": aic, "weight": weights[name] / sum(weights.values())}
                       for name, aic in sorted(found.aic.items(), key=lambda item: item[1])]}


def edges(wafers: Sequence[WaferMap], masks: Sequence[NDArray[np.bool_]], asked: Asked,
          statements: list[str]) -> dict[str, Any] | None:
    """Yield at the edge against the rest: of what is left out, or else of the outermost ring."""
    left_out = any(mask.any() for mask in masks)
    if not left_out:
        try:
            masks = [edge(wafer, 1) for wafer in wafers]
        except UsageError:
            return None
    def of(inside: bool) -> tuple[int, int]:
        kept = [wafer.dies & (mask != inside) for wafer, mask in zip(wafers, masks, strict=True)]
        return sum(int(each.sum()) for each in kept), sum(int((wafer.failing & each).sum())
                                                          for wafer, each in zip(wafers, kept, strict=True))
    (outer, outer_bad), (inner, inner_bad) = of(False), of(True)
    if not outer:
        return None
    p_value = float(fisher_exact([[outer_bad, outer - outer_bad], [inner_bad, inner - inner_bad]])[1])
    if p_value < DOUBT:
        where = "the edge that is left out" if left_out else "the outermost ring of dies"
        statements.append(f"{where[0].upper()}{where[1:]} yields {1 - outer_bad / outer:.1%}, the rest "
                          f"{1 - inner_bad / inner:.1%} (p {p_value:.2g})." + (
                              "" if left_out else " --edge 1 leaves it out of the fit."))
    return {"left_out": left_out, "rings": asked.edge_rings if left_out and asked.edge_mm is None else
            None if left_out else 1, "mm": asked.edge_mm if left_out else None,
            "edge": {"dies": outer, "failing": outer_bad, "yield": share(outer - outer_bad, outer)},
            "centre": {"dies": inner, "failing": inner_bad, "yield": share(inner - inner_bad, inner)},
            "p_value": p_value}


def of_space(wafers: Sequence[WaferMap], asked: Asked, statements: list[str],
             progress: Callable[[int], None]) -> tuple[list[Clustering], dict[str, Any]]:
    """Moran's I, join counts and nearest neighbours of each wafer and of all together."""
    told: list[Clustering] = []

    def one_by_one() -> Iterator[Clustering]:
        for i, wafer in enumerate(wafers):
            found = clustering(wafer, asked.weights, asked.permutations, [asked.seed, i])
            told.append(replace(found, shuffled={}))
            yield found
            progress(i + 1)

    whole = together(one_by_one())
    if len(told) == 1:
        whole = told[0].statistics
    if (moran := whole.get("moran")) is not None and moran.p_value is not None:
        if moran.p_value < DOUBT and moran.value > 0:
            statements.append(f"Dies that fail lie together, wider than one die (Moran's I {moran.value:.3f}, p "
                              f"{moran.p_value:.2g}).")
        elif moran.p_value < DOUBT:
            statements.append(f"Dies that fail lie further apart than by chance (Moran's I {moran.value:.3f}, p "
                              f"{moran.p_value:.2g}).")
    else:
        statements += sorted({f"No pattern is tested: {each.why_not}." for each in told if each.why_not})[:3]
    return told, {"weights": asked.weights, "permutations": asked.permutations, "seed": asked.seed,
                  "clark_evans": plain(told[0].clark_evans) if len(told) == 1 else None,
                  "statistics": {name: of_statistic(each) for name, each in whole.items()}}


def of_statistic(found: Statistic) -> dict[str, Any]:
    theory = None if found.theory is None else {"expected": found.theory[0], "deviation": found.theory[1],
                                                "z": plain(found.theory[2])}
    return {"value": plain(found.value), "expected": plain(found.expected), "deviation": plain(found.deviation),
            "z": plain(found.z), "p_value": found.p_value, "p_greater": found.p_greater, "theory": theory}
