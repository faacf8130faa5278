"""What the words of this room answer: plain documents, from what was asked on the command line."""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.silicon.aging import pictures
from archfab.silicon.aging.adaptive import Schedule, schedule
from archfab.silicon.aging.bhardwaj import CLOCK_S, OXIDE_NM, THRESHOLD_V, long_term_mv
from archfab.silicon.aging.conditions import YEAR_S, overdrive, overdrive_of_field_v
from archfab.silicon.aging.derates import COLUMNS, commands, derate_table
from archfab.silicon.aging.effects import delay_ratio, drive_loss, transconductance_loss
from archfab.silicon.aging.lifetimes import guardband_share, lifetime_years, mission_lifetime_years
from archfab.silicon.aging.missions import read_mission
from archfab.silicon.aging.parameters import ParameterSet, read_set, set_for
from archfab.silicon.aging.profiles import course
from archfab.silicon.aging.shifts import end_of_life_delay_ratio, threshold_shift_mv
from archfab.silicon.files import save, write
from archfab.silicon.words import Document
from archfab.terminal import Line

CURVE = 60                  # points of a picture's curve


def rounded(value: Any, digits: int = 3) -> float | None:
    """A figure in as many digits as are worth printing; None where it is not finite, or was None."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{float(value):.{digits}g}")


def factor(value: Any) -> float | None:
    """A delay factor, with four digits after the point."""
    return round(float(value), 4) if math.isfinite(value) else None


def chosen(asked: argparse.Namespace) -> ParameterSet:
    """The parameter set that was asked for."""
    if not 1 <= asked.alpha <= 3:
        raise UsageError(f"--alpha is {asked.alpha:g}; 1 (velocity saturation) to 3 are legal, 2 is a long channel")
    if not asked.parameters:
        return set_for(asked.model or "power-law")
    found = read_set(asked.parameters)
    if asked.model and asked.model != found.model:
        raise UsageError(f"{asked.parameters} has parameters of {found.model}, not of {asked.model}; leave out --model")
    return found


def origin(found: ParameterSet) -> dict[str, Any]:
    return {"model": found.model, "parameters": found.name, "origin": found.origin, "source": found.source}


def listed(name: str, text: str) -> list[float]:
    """Numbers with commas between."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--{name} is '{text}': numbers with commas between are legal, e.g. 1.0,1.1") from None


def years_of(most: float) -> Any:
    return np.geomspace(min(most / 10, 1 / 365.25), most, CURVE)


def aging(asked: argparse.Namespace) -> Document:
    found = chosen(asked)
    if (asked.field_mv_cm is None) != (asked.oxide_nm is None):
        raise UsageError("a gate field needs the oxide that it is across: give --field-mv-cm and --oxide-nm together")
    overdrive(asked.vdd, asked.vth)
    stress = asked.vdd if asked.field_mv_cm is None else (
        asked.vth + float(overdrive_of_field_v(asked.field_mv_cm, asked.oxide_nm)))
    under = (stress, asked.vth, asked.kelvin, asked.duty)
    shift = [float(each) for each in threshold_shift_mv(*under, asked.years, found)]
    over, other = asked.vdd - asked.vth, float(long_term_mv(stress, asked.kelvin, asked.duty, asked.years * YEAR_S))
    ratio = [float(delay_ratio(over, each, asked.alpha)) for each in shift]
    gap = other / shift[0] if shift[0] > 0 else math.nan
    if asked.png:
        if not asked.years:
            raise UsageError("after 0 years there is no curve to draw; give more with --years")
        times = years_of(asked.years)
        save(pictures.shift_figure(
            times, threshold_shift_mv(*under, times, found),
            tuple(delay_ratio(over, each, asked.alpha) for each in threshold_shift_mv(*under, times, found)),
            long_term_mv(stress, asked.kelvin, asked.duty, times * YEAR_S),
            f"{asked.vdd:g} V, threshold {asked.vth:g} V, {asked.kelvin:g} K, duty {asked.duty:g}: {found.model}"),
            asked.png)
    return {"dvth_mv": rounded(shift[0]), "dvth_mv_low": rounded(shift[1]), "dvth_mv_high": rounded(shift[2]),
            **{f"delay_ratio{end}": factor(each) for end, each in zip(("", "_low", "_high"), ratio, strict=True)},
            **losses("drive_current_loss", drive_loss, over, shift, asked.alpha),
            **losses("transconductance_loss", transconductance_loss, over, shift, asked.alpha),
            "conditions": {"vdd_v": asked.vdd, "vth_v": asked.vth, "kelvin": asked.kelvin, "duty": asked.duty,
                           "years": asked.years, "alpha": asked.alpha,
                           "stress_overdrive_v": rounded(stress - asked.vth, 6)},
            "over_time": over_time(under, over, asked.years, found, asked.alpha),
            **origin(found), "values": dict(found.values),
            "other_form": {"dvth_mv": rounded(other), "times_ours": rounded(gap), "form": "Bhardwaj et al., CICC 2006",
                           "inputs": f"assumed, 65 nm: oxide {OXIDE_NM} nm, threshold {THRESHOLD_V} V, "
                                     f"period {CLOCK_S} s"},
            "interval": interval_of(found)}


def over_time(under: tuple[float, float, float, float], over: float, years: float, found: ParameterSet,
              alpha: float) -> list[dict[str, Any]]:
    """Shift and delay at some times up to the end, each three times the one before it."""
    times = years / 3.0 ** np.arange(8)[::-1]
    shifts = threshold_shift_mv(*under, times, found)
    return [{"years": rounded(time, 4), "dvth_mv": rounded(shift), "dvth_mv_low": rounded(low),
             "dvth_mv_high": rounded(high), "delay_ratio": factor(delay_ratio(over, shift, alpha))}
            for time, shift, low, high in zip(times, *shifts, strict=True)]


def losses(name: str, loss: Callable[..., Any], over: float, shift: Sequence[float], alpha: float) -> dict[str, Any]:
    return {f"{name}{end}": rounded(loss(over, each, alpha))
            for end, each in zip(("", "_low", "_high"), shift, strict=True)}


def interval_of(found: ParameterSet) -> str:
    """What an interval rests on, in a sentence."""
    if found.replicates:
        return f"95 %, from {len(found.replicates)} bootstrap samples of the fit, if {found.model} is the right form"
    return ("95 % of an assumed spread of the parameters (amplitude 30 %, power of overdrive .5, power of time .02, "
            "activation .02 eV, growing away from 1 V overdrive, 398 K and 10,000 s), widened to the other published "
            "form")


def derate(asked: argparse.Namespace) -> Document:
    found = chosen(asked)
    rows = derate_table(listed("vdd", asked.vdd), asked.vth, listed("kelvin", asked.kelvin), listed("duty", asked.duty),
                        listed("years", asked.years), found, asked.alpha)
    about = f"{found.model}, {found.name} ({found.source}); threshold {asked.vth:g} V"
    if asked.csv:
        write(asked.csv, table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows]))
    written = {}
    if asked.sdc:
        text = commands(rows, about, "late_rise_high" if asked.bound == "high" else "late_rise")
        write(asked.sdc, text.encode())
        written["commands"] = [line for line in text.splitlines() if line.startswith("set_")]
    if asked.png:
        save(pictures.derate_figure(rows, f"late rising edges: {found.model}, threshold {asked.vth:g} V"),
                      asked.png)
    return {"rows": [{name: (factor(row[name]) if name.startswith("late") else rounded(row[name], 6)
                             if name != "dvth_mv" else rounded(row[name])) for name in COLUMNS} for row in rows],
            **written, **origin(found), "vth_v": asked.vth, "interval": interval_of(found)}


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in rows)
    return lines.getvalue().encode()


def lifetime(asked: argparse.Namespace) -> Document:
    found = chosen(asked)
    if (asked.guardband is None) == (asked.years is None):
        raise UsageError("give either --guardband (what lifetime has it?) or --years (what guardband does it need?)")
    if asked.mission:
        return mission_lifetime(asked, found)
    if asked.vdd is None or asked.kelvin is None:
        raise UsageError("give --vdd and --kelvin, or a profile with --mission FILE")
    at = (asked.vdd, asked.vth, asked.kelvin, 1.0 if asked.duty is None else asked.duty)
    if asked.guardband is not None:
        answer = named("lifetime_years", lifetime_years(*at, asked.guardband, found, asked.alpha))
        guardband, most = asked.guardband, 100.0
    else:
        shares = guardband_share(*at, asked.years, found, asked.alpha)
        answer, guardband, most = named("guardband", shares), shares[0], max(asked.years, 1e-3)
    if asked.png:
        years = years_of(most)
        save(pictures.lifetime_figure(
            years, end_of_life_delay_ratio(*at, years, found, asked.alpha),
            guardband if math.isfinite(guardband) else None,
            f"{at[0]:g} V, threshold {at[1]:g} V, {at[2]:g} K, duty {at[3]:g}"), asked.png)
    return {**answer, **asked_for(asked), **origin(found), "interval": interval_of(found)}


def asked_for(asked: argparse.Namespace) -> dict[str, Any]:
    return {"of": {"guardband": asked.guardband} if asked.guardband is not None else {"years": asked.years}}


def named(name: str, interval: Sequence[float | None]) -> dict[str, float | None]:
    return {f"{name}{end}": rounded(each, 4) for end, each in zip(("", "_low", "_high"), interval, strict=True)}


def mission_lifetime(asked: argparse.Namespace, found: ParameterSet) -> Document:
    if given := [f"--{name}" for name in ("vdd", "kelvin", "duty") if getattr(asked, name) is not None]:
        raise UsageError(f"the mission says its conditions; leave out {', '.join(given)}")
    mission = read_mission(asked.mission, asked.cycle_hours)
    horizon = asked.horizon if asked.guardband is not None else asked.years
    went = course(mission, asked.vth, horizon, found, asked.alpha)
    if asked.guardband is not None:
        answer = named("lifetime_years", mission_lifetime_years(mission, asked.vth, asked.guardband, horizon, found,
                                                                asked.alpha))
        guardband = asked.guardband
    else:
        guardband = float(went.ratio.max()) - 1
        answer = named("guardband", (guardband, float(went.ratio_low.max()) - 1, float(went.ratio_high.max()) - 1))
    if asked.png:
        save(pictures.lifetime_figure(
            went.years[1:], (went.ratio[1:], went.ratio_low[1:], went.ratio_high[1:]), guardband,
            f"{asked.mission.name}: worst phase, {found.model}"), asked.png)
    return {**answer, **asked_for(asked), "horizon_years": horizon, "phases": mission.plain(), **origin(found),
            "interval": interval_of(found)}


def mission(asked: argparse.Namespace) -> Document:
    found = chosen(asked)
    profile = read_mission(asked.file, asked.cycle_hours)
    went = course(profile, asked.vth, asked.years, found, asked.alpha)
    if asked.png:
        if len(went.years) < 2:
            raise UsageError("after 0 years there is no curve to draw; give more with --years")
        save(pictures.mission_figure(went, f"{asked.file.name}: {found.model}"), asked.png)
    rows = [{"years": rounded(went.years[i], 6), "dvth_mv": rounded(went.peak_mv[i], 4),
             "dvth_mv_low": rounded(went.low_mv[i]), "dvth_mv_high": rounded(went.high_mv[i]),
             "dvth_mv_at_end": rounded(went.end_mv[i], 4), "delay_ratio": factor(went.ratio[i]),
             "delay_ratio_low": factor(went.ratio_low[i]), "delay_ratio_high": factor(went.ratio_high[i])}
            for i in range(len(went.years))]
    if asked.csv:
        write(asked.csv, table(list(rows[0]), [list(row.values()) for row in rows]))
    return {**rows[-1], "rows": rows, "cycle_hours": profile.hours,
            "phases": [{**phase, "recovers": found.of.recovers and not each.stresses(asked.vth)}
                       for phase, each in zip(profile.plain(), profile.phases, strict=True)],
            "model_recovers": found.of.recovers, **origin(found), "vth_v": asked.vth, "interval": interval_of(found)}


def avs(asked: argparse.Namespace) -> Document:
    found = chosen(asked)
    made, corners = schedule_with_corners(asked, found)
    rows = [{"from_years": rounded(each.from_years, 5), "to_years": rounded(each.to_years, 5),
             "vdd_v": rounded(each.vdd_v, 6), "dvth_mv": rounded(each.dvth_mv), "delay_of_target": factor(each.delay)}
            for each in made.intervals]
    if asked.csv:
        write(asked.csv, table(list(rows[0]), [list(row.values()) for row in rows]))
    if asked.png:
        save(pictures.schedule_figure(made, f"{made.saved:.1%} of the switching energy saved"), asked.png)
    three = (made, *corners)                    # savings jump by whole steps, so the ends need not be in order
    saved = [each.saved for each in three if each]
    return {**named("energy_saved", (made.saved, min(saved), max(saved) if len(saved) == 3 else None)),
            **named("fixed_vdd_v", [each.fixed_v if each else None for each in three]),
            **named("final_vdd_v", [each.intervals[-1].vdd_v if each else None for each in three]),
            "fixed_dvth_mv": rounded(made.fixed_dvth_mv), "final_dvth_mv": rows[-1]["dvth_mv"], "schedule": rows,
            "energy": "switching energy alone, by the square of the supply at one clock", **origin(found),
            "interval": interval_of(found)}


def schedule_with_corners(asked: argparse.Namespace, found: ParameterSet) -> tuple[Schedule, list[Schedule | None]]:
    """A schedule, and those for the ends of the interval of the shift that the fixed supply makes; None where no legal
    supply is enough."""
    def planned(parameters: ParameterSet) -> Schedule:
        return schedule(asked.vdd, asked.vth, asked.kelvin, asked.duty, asked.years, margin=asked.margin,
                        step_mv=asked.step_mv, most_v=asked.most_vdd, times=asked.times, parameters=parameters,
                        alpha=asked.alpha)

    made = planned(found)
    corners: list[Schedule | None] = []
    shift, *ends = threshold_shift_mv(made.fixed_v, asked.vth, asked.kelvin, asked.duty, asked.years, found)
    for end in ends:
        try:
            corners.append(planned(found.scaled(float(end / shift) if shift > 0 else 1.0)))
        except UsageError:
            corners.append(None)
    return made, corners


def fit_aging(asked: argparse.Namespace) -> Document:
    from archfab.silicon.aging.fitting import compared
    from archfab.silicon.aging.measurements import read_measurements
    from archfab.silicon.aging.models import MODELS, model_named
    from archfab.silicon.aging.parameters import write_set
    from archfab.silicon.aging.verdicts import fitted
    if not 20 <= asked.samples <= 100_000:
        raise UsageError(f"{asked.samples} bootstrap samples; 20 to 100,000 are legal (an interval needs some hundred)")
    if asked.seed < 0:
        raise UsageError(f"--seed is {asked.seed}; 0 or more is legal")
    data = read_measurements(asked.file, asked.vth, asked.oxide_nm)
    names = list(MODELS) if asked.models == "all" else [name.strip() for name in asked.models.split(",")]
    line = Line()
    try:
        fits = compared([model_named(name) for name in dict.fromkeys(names)], data, asked.samples, asked.seed,
                        lambda name: line.write(f"fitting {name} to {len(data.rows)} measurements"))
    finally:
        line.end()
    if asked.out:
        write(asked.out, write_set(fits[0].as_set(asked.file.name)).encode())
    if asked.png:
        save(pictures.fit_figure(data, fits, f"{asked.file.name}: {len(data.rows)} measurements"), asked.png)
    return fitted(asked.file.name, data, fits)


ANSWERS: dict[str, Callable[[argparse.Namespace], Document]] = {
    "aging": aging, "derate": derate, "lifetime": lifetime, "mission": mission, "avs": avs, "fit-aging": fit_aging}
