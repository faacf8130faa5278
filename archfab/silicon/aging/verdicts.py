"""What fits say, as a plain document: parameters with intervals, which model fits best and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from archfab.silicon.aging.fitting import Fit, unmeasured
from archfab.silicon.aging.measurements import Measurements
from archfab.silicon.aging.models import model_named

SHAPE = 4.0         # standard errors of a correlation of 0 from which a model's shape is doubted


def figure(value: float | None, digits: int = 4) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")


def fitted(file: str, data: Measurements, fits: Sequence[Fit]) -> dict[str, Any]:
    """All fits, the least AIC first, and sentences about them."""
    return {"file": file, "measurements": len(data.rows), "devices": len(data.devices),
            "overdrives_v": data.overdrives, "kelvins": data.temperatures,
            "recovering": int(data.recovering.sum()), "best": fits[0].model,
            "models": [one(each, fits[0]) for each in fits], "verdict": sentences(data, fits)}


def one(found: Fit, best: Fit) -> dict[str, Any]:
    model = model_named(found.model)
    rows = {}
    for each in model.parameters:
        estimate = found.estimates.get(each.name)
        rows[each.name] = {"value": figure(found.values[each.name]), "unit": each.unit, "about": each.about}
        if estimate:
            rows[each.name] |= {"low": figure(estimate.low), "high": figure(estimate.high),
                                "low_jointly": figure(estimate.low_jointly),
                                "high_jointly": figure(estimate.high_jointly)}
        else:
            rows[each.name]["held"] = found.held[each.name]
    return {"model": found.model, "aic": figure(found.aic, 6), "bic": figure(found.bic, 6),
            "aic_above_best": figure(found.aic - best.aic), "rms_mv": figure(found.rms_mv),
            "forecast_rms_mv": figure(found.forecast_mv), "noise_mv": figure(found.noise_mv, 3),
            "noise_share": figure(found.noise_share, 3), "device_share": figure(found.device_share, 3),
            "runs": figure(found.runs, 3),
            "parameters": rows}


def sentences(data: Measurements, fits: Sequence[Fit]) -> list[str]:
    said = []
    if len(fits) > 1:
        gap = fits[1].aic - fits[0].aic
        if gap < 2:
            said.append(f"{fits[0].model} and {fits[1].model} fit equally well (their AIC differ by {gap:.1f}): these "
                        "measurements do not tell them apart, though their forecasts may differ")
        else:
            said.append(f"{fits[0].model} fits best: the AIC of {fits[1].model} is {gap:.1f} higher"
                        + (", which is no strong evidence" if gap < 6 else ""))
        if min(fits, key=lambda each: each.bic) is not fits[0]:
            said.append(f"by BIC, which charges more for parameters, "
                        f"{min(fits, key=lambda each: each.bic).model} is best")
    if fits[0].runs > SHAPE / math.sqrt(len(data.rows)):
        said.append(f"{fits[0].model} has not the shape of these measurements: its misses go together in time "
                    f"(correlation {fits[0].runs:.2f}), so its intervals are too narrow")
    known = [each for each in fits if each.forecast_mv is not None]
    if known:
        ahead = min(known, key=lambda each: each.forecast_mv or math.inf)
        said.append(f"the last decade of stress is forecast best by {ahead.model} fitted to the stress before it: "
                    f"{ahead.forecast_mv:.2g} mV root mean square")
    for name in unmeasured(fits[0].held):
        said.append(f"{name} of {fits[0].model} is not fitted but held at {fits[0].values[name]:g}, with an assumed "
                    f"spread in the parameter file: {fits[0].held[name]}")
    if not data.recovering.any():
        said.append("no recovery was measured, so nothing here tells how much of the shift is permanent")
    if fits[0].device_share > 0.02:
        said.append(f"devices differ by {fits[0].device_share:.1%} beyond the noise; the intervals hold that")
    return said
