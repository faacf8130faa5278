"""Pictures of ageing: curves over the years with their intervals, schedules of supplies, fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from archfab.drawing import FOUND, INK, LINE, OTHER, new_figure
from archfab.silicon.aging.adaptive import Schedule
from archfab.silicon.aging.measurements import Measurements
from archfab.silicon.aging.models import model_named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from archfab.silicon.aging.fitting import Fit

COLOURS = (FOUND, LINE, "#2f8f5b", "#8a4fb0", "#b3403a", "#5a6b7c")
MOST_DELAY = 2.0            # factors of delay beyond this are not drawn


def finish(figure: Figure, axes: Sequence[Any], title: str) -> Figure:
    for axis in axes:
        if axis.get_legend_handles_labels()[1]:
            axis.legend(fontsize=8, framealpha=0.85, edgecolor="none")
    figure.suptitle(title, color=INK, fontsize=11)
    return figure


def band(axis: Any, years: Any, rows: tuple[Any, ...], label: str) -> None:
    value, low, high = (np.where(np.isfinite(each), each, np.nan) for each in rows)
    axis.fill_between(years, low, np.where(np.isnan(high), np.nanmax(np.append(high, 1.0)), high), color=FOUND,
                      alpha=0.15, linewidth=0, label="as far as parameters are known, 95 %")
    axis.plot(years, value, color=FOUND, label=label)
    axis.set_xlabel("years")


def shift_figure(years: Any, shift: tuple[Any, ...], ratio: tuple[Any, ...], other: Any, title: str) -> Figure:
    """The shift and the delay over the years, with their intervals and the second published form."""
    figure, axes = new_figure(2)
    band(axes[0], years, shift, "threshold shift")
    if np.isfinite(other).any():
        axes[0].plot(years, other, color=LINE, linestyle="--", label="Bhardwaj et al., assumed 65 nm inputs")
    band(axes[1], years, tuple(100 * (np.minimum(each, MOST_DELAY) - 1) for each in ratio),
         "delay of rising edges")
    axes[0].set_ylabel("threshold shift (mV)")
    axes[1].set_ylabel("slower than fresh (%)")
    for axis in axes:
        axis.set_xscale("log")
    return finish(figure, axes, title)


def mission_figure(found: Any, title: str) -> Figure:
    """A mission's shift over the years: the most in each cycle, and what is left at its end."""
    figure, axes = new_figure(2)
    years = found.years[1:]
    band(axes[0], years, (found.peak_mv[1:], found.low_mv[1:], found.high_mv[1:]), "most in a cycle")
    axes[0].plot(years, found.end_mv[1:], color=LINE, linewidth=1, label="at the end of a cycle")
    band(axes[1], years, tuple(100 * (np.minimum(each[1:], MOST_DELAY) - 1) for each in (
        found.ratio, found.ratio_low, found.ratio_high)), "delay in the worst phase")
    axes[0].set_ylabel("threshold shift (mV)")
    axes[1].set_ylabel("slower than fresh (%)")
    for axis in axes:
        axis.set_xscale("log")
    return finish(figure, axes, title)


def lifetime_figure(years: Any, ratio: tuple[Any, ...], guardband: float | None, title: str) -> Figure:
    """The delay over the years, and the guardband that it has to keep."""
    figure, axes = new_figure()
    band(axes[0], years, tuple(100 * (np.minimum(each, MOST_DELAY) - 1) for each in ratio),
         "delay")
    if guardband is not None:
        axes[0].axhline(100 * guardband, color=LINE, linestyle="--", label=f"guardband {guardband:.3g}")
    axes[0].set_xscale("log")
    axes[0].set_ylabel("slower than fresh (%)")
    return finish(figure, axes, title)


def derate_figure(rows: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Derates over what varies most: the years, or else the duty cycle, temperature or voltage."""
    figure, axes = new_figure()
    keys = [key for key in ("years", "duty", "kelvin", "vdd_v") if len({row[key] for row in rows}) > 1] or ["years"]
    along, others = keys[0], [key for key in ("vdd_v", "kelvin", "duty", "years") if key != keys[0]]
    groups: dict[tuple[float, ...], list[Mapping[str, float]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in others), []).append(row)
    units = {"vdd_v": "V", "kelvin": "K", "duty": "duty", "years": "years"}
    for i, (group, some) in enumerate(sorted(groups.items())):
        said = ", ".join(f"{value:g} {units[key]}" for key, value in zip(others, group, strict=True) if key in keys)
        axes[0].plot([row[along] for row in some], [row["late_rise"] for row in some], marker="o", markersize=4,
                     color=COLOURS[i % len(COLOURS)], linestyle=("-", "--", ":", "-.")[i // len(COLOURS) % 4],
                     label=said or None)
    axes[0].set_xlabel({"vdd_v": "supply (V)", "kelvin": "temperature (K)", "duty": "duty cycle"}.get(along, along))
    axes[0].set_ylabel("late rising edges, times fresh")
    if 1 < len(groups) <= 24:
        figure.legend(loc="outside right center", fontsize=8, edgecolor="none")
    figure.suptitle(title, color=INK, fontsize=11)
    return figure


def schedule_figure(found: Schedule, title: str) -> Figure:
    """Supplies over the life beside the fixed one, and the shift that they make."""
    figure, axes = new_figure(2)
    ends = [each.to_years for each in found.intervals]
    axes[0].step([0.0, *ends], [found.intervals[0].vdd_v, *(each.vdd_v for each in found.intervals)], where="pre",
                 color=FOUND, label="adaptive")
    axes[0].axhline(found.fixed_v, color=LINE, linestyle="--", label="fixed, enough for the whole life")
    axes[0].axhline(found.target_v, color=OTHER, linewidth=1, label="fresh")
    axes[1].plot(ends, [each.dvth_mv for each in found.intervals], color=FOUND, label="adaptive")
    axes[1].plot(ends[-1:], [found.fixed_dvth_mv], "o", color=LINE, label="fixed, at the end")
    axes[0].set_ylabel("supply (V)")
    axes[1].set_ylabel("threshold shift (mV)")
    for axis in axes:
        axis.set_xlabel("years")
    return finish(figure, axes, title)


def fit_figure(data: Measurements, fits: Sequence[Fit], title: str) -> Figure:
    """Measured shifts and the fitted models: under stress, and in recovery."""
    recovers = bool(data.recovering.any())
    figure, axes = new_figure(2 if recovers else 1)
    styles = ("-", "--", ":", "-.")
    curves = [data.predicted(model_named(each.model), each.values) for each in fits]
    for axis, which, clock in zip(axes, (~data.recovering, data.recovering), (
            data.seconds, np.where(data.short, data.recovery_s, data.seconds)), strict=False):
        for device, name in enumerate(data.devices):
            mine = which & (data.device == device) & (clock > 0)
            colour = COLOURS[device % len(COLOURS)]
            axis.plot(clock[mine], data.dvth_mv[mine], "o", markersize=3, color=colour, alpha=0.6,
                      label=f"device {name}" if axis is axes[0] and len(data.devices) <= 8 else None)
            for i, curve in enumerate(curves):
                axis.plot(clock[mine], curve[mine], styles[i % 4], color=colour, linewidth=1.2)
        axis.set_xscale("log")
        axis.set_xlabel("seconds under stress" if axis is axes[0] else "seconds of recovery")
    for i, each in enumerate(fits):
        axes[-1].plot([], [], styles[i % 4], color=INK, label=each.model)
    axes[0].set_ylabel("threshold shift (mV)")
    return finish(figure, axes, title)
