"""Measured threshold shifts: read from CSV, checked, and laid out for fitting."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from statistics import fmean

import numpy as np

from archfab.core import UsageError, unknown
from archfab.silicon.aging.conditions import (
    Array,
    duration,
    numbers,
    overdrive_of_field_v,
    share,
    temperature,
    voltage,
)
from archfab.silicon.aging.model import Model, Values

COLUMNS = ("device", "phase", "seconds", "hours", "dvth_mv", "dvth_v", "overdrive_v", "stress_v", "field_mv_cm",
           "kelvin", "duty", "sigma_mv")
GATES = ("overdrive_v", "stress_v", "field_mv_cm")
LEAST_ROWS = 8
NEAR_V, NEAR_K = 0.01, 1.0           # measured conditions that are no further apart are the same


@dataclass(frozen=True)
class Row:
    """One measurement; a recovery has an overdrive of 0 and no duty."""

    device: str
    seconds: float
    overdrive_v: float
    kelvin: float
    duty: float
    dvth_mv: float
    sigma_mv: float | None


class Measurements:
    """Rows of some devices, in time; devices with one stress and at most one recovery go through the closed forms of a
    model, others step by step."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        self.devices = list(dict.fromkeys(row.device for row in rows))
        self.device = np.array([self.devices.index(row.device) for row in rows])
        self.seconds = np.array([row.seconds for row in rows])
        self.dvth_mv = np.array([row.dvth_mv for row in rows])
        self.recovering = np.array([row.duty == 0 for row in rows])
        given = [row.sigma_mv for row in rows]
        self.sigma_mv = np.array(given, float) if all(each is not None for each in given) else None
        self.overdrives = sorted({row.overdrive_v for row in rows if row.duty > 0})
        self.temperatures = sorted({row.kelvin for row in rows if row.duty > 0})
        self.varies = {"overdrive": np.ptp(self.overdrives or [0]) > 2 * NEAR_V,
                       "kelvin": np.ptp(self.temperatures or [0]) > 2 * NEAR_K}
        self._lay_out()

    def _lay_out(self) -> None:
        """What closed forms take for each row; NaN where a device has more than two phases."""
        number = len(self.rows)
        self.over, self.hot, self.duty = np.full((3, number), np.nan)
        self.stress_s, self.recovery_s = np.zeros((2, number))
        self.long: list[list[int]] = []
        for device in range(len(self.devices)):
            places = [int(i) for i in np.flatnonzero(self.device == device)]
            phases: list[tuple[float, float, float]] = []
            for i in places:
                row = self.rows[i]
                now = (row.overdrive_v, row.kelvin, row.duty) if row.duty else (0.0, 0.0, 0.0)
                if not phases or phases[-1] != now:
                    phases.append(now)
            if len(phases) > 2 or not phases[0][2] or (len(phases) == 2 and phases[1][2]):
                self.long.append(places)
                continue
            ended = max(self.seconds[i] for i in places if not self.recovering[i])
            for i in places:
                self.over[i], self.hot[i], self.duty[i] = phases[0]
                self.stress_s[i] = min(self.seconds[i], ended)
                self.recovery_s[i] = max(0.0, self.seconds[i] - ended)
        self.short = ~np.isnan(self.over)

    def predicted(self, model: Model, values: Values) -> Array:
        """The shift that a model has at each row."""
        found = np.empty(len(self.rows))
        off, on = self.short & self.recovering, self.short & ~self.recovering
        if on.any():
            found[on] = model.stressed_mv(values, self.over[on], self.hot[on], self.duty[on], self.stress_s[on])
        if off.any():
            found[off] = model.recovering_mv(values, self.over[off], self.hot[off], self.duty[off], self.stress_s[off],
                                             self.recovery_s[off])
        for places in self.long:
            state, now = model.fresh(values), 0.0
            for i in places:
                row = self.rows[i]
                state = model.step(values, row.overdrive_v, row.kelvin, row.duty, row.seconds - now)(state)
                found[i], now = model.shift_mv(values, state), row.seconds
        return found

    def without_last_decade(self) -> tuple[Measurements, Array] | None:
        """The rows of the first phase of each device up to a tenth of its stress, and which rows of stress come later;
        None where that leaves too little."""
        early, late = np.zeros((2, len(self.rows)), bool)
        for device in range(len(self.devices)):
            mine = self.short & (self.device == device) & ~self.recovering
            if mine.any():
                last = self.seconds[mine].max()
                early |= mine & (self.seconds <= last / 10 * (1 + 1e-9))
                late |= mine & (self.seconds > last / 10 * (1 + 1e-9))
        if early.sum() < LEAST_ROWS or not late.any():
            return None
        return Measurements([row for row, keep in zip(self.rows, early, strict=True) if keep]), late


def read_measurements(path: Path, vth_v: float | None = None, oxide_nm: float | None = None) -> Measurements:
    """Measurements from CSV: `seconds` (or hours) since a device's test began, `dvth_mv` (or dvth_v), `overdrive_v` (or
    stress_v, the magnitude at the gate, with `vth_v`; or field_mv_cm with `oxide_nm`), `kelvin`; if wanted `device`,
    `phase` (stress or recovery), `duty` and `sigma_mv` (the standard deviation of that measurement).

    :raises UsageError: says which row is wrong, and what is legal.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"there is no file of measurements {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text: {error}") from None
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), 1)
                if line.strip() and not line.startswith("#")]
    try:
        table = [[cell.strip() for cell in row] for row in csv.reader((line for _, line in numbered), strict=True)]
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV file: {error}") from None
    if len(table) != len(numbered):
        raise UsageError(f"{path}: a cell goes over several lines; is a quotation mark left open?")
    if not table:
        raise UsageError(f"{path} is empty; its header names columns, e.g. "
                         "device,phase,seconds,overdrive_v,kelvin,dvth_mv")
    header = table[0]
    for name in header:
        if name not in COLUMNS:
            raise unknown("column", name, COLUMNS, f"({path.name})")
    if len(set(header)) < len(header):
        raise UsageError(f"{path.name}: a column is there twice: {', '.join(header)}")
    for some in (("seconds", "hours"), ("dvth_mv", "dvth_v"), GATES):
        if sum(name in header for name in some) != 1:
            raise UsageError(f"{path.name}: give one column of {', '.join(some)}")
    if "kelvin" not in header:
        raise UsageError(f"{path.name}: the column kelvin is missing")
    if "stress_v" in header and vth_v is None:
        raise UsageError(f"{path.name} gives gate voltages (stress_v): say the threshold with --vth, "
                         "or give overdrive_v")
    if "field_mv_cm" in header and oxide_nm is None:
        raise UsageError(f"{path.name} gives gate fields (field_mv_cm): say the oxide with --oxide-nm, "
                         "or give overdrive_v")
    rows = []
    for (number, _), cells in zip(numbered[1:], table[1:], strict=True):
        if len(cells) != len(header):
            raise UsageError(f"{path.name}, line {number}: {len(cells)} cells, the header has {len(header)}")
        rows.append(_row(f"{path.name}, line {number}:", dict(zip(header, cells, strict=True)), vth_v, oxide_nm))
    return checked(rows, path.name)


def _row(at: str, cells: Mapping[str, str], vth_v: float | None, oxide_nm: float | None) -> Row:
    def figure(name: str) -> float:
        try:
            return float(numbers(f"{at} {name}", float(cells[name])))
        except ValueError:
            raise UsageError(f"{at} {name} is '{cells[name]}', which is no number") from None

    phase = cells.get("phase") or "stress"
    if phase not in ("stress", "recovery"):
        raise unknown("phase", phase, ("stress", "recovery"), f"({at[:-1]})")
    kelvin = float(temperature(f"{at} kelvin", figure("kelvin")))
    gate = next(name for name in GATES if name in cells)
    if phase == "recovery":
        over, duty = 0.0, 0.0
        if cells[gate] and figure(gate) > 0:
            raise UsageError(f"{at} a recovery with {gate} {figure(gate):g}: while the gate is on it is stress; "
                             "give 0 or leave it empty")
    else:
        if gate == "field_mv_cm":
            over = float(overdrive_of_field_v(figure(gate), oxide_nm))
        else:
            over = float(voltage(f"{at} {gate}", abs(figure(gate)) if gate == "stress_v" else figure(gate)))
            over -= float(voltage("the threshold voltage", vth_v)) if gate == "stress_v" else 0.0
        if over <= 0:
            raise UsageError(f"{at} a stress with an overdrive of {over:g} V: the gate has to be above the threshold; "
                             "what recovers has phase recovery")
        duty = float(share(f"{at} duty", figure("duty"))) if cells.get("duty") else 1.0
        if not duty:
            raise UsageError(f"{at} a stress with duty 0; what recovers has phase recovery")
    seconds = float(duration(f"{at} time", figure("seconds") if "seconds" in cells else figure("hours") * 3600))
    shift = figure("dvth_mv") if "dvth_mv" in cells else 1000 * figure("dvth_v")
    sigma = figure("sigma_mv") if cells.get("sigma_mv") else None
    if sigma is not None and sigma <= 0:
        raise UsageError(f"{at} sigma_mv is {sigma:g}; a standard deviation above 0 is legal")
    return Row(cells.get("device") or "1", seconds, over, kelvin, duty, shift, sigma)


def steady(rows: Sequence[Row]) -> list[Row]:
    """Rows with the mean conditions of their phase, which goes on while overdrive and temperature stay near its first:
    a chamber that flickers by tenths of a kelvin tells no activation energy."""
    phases: dict[str, list[list[int]]] = {}
    for i, row in enumerate(rows):
        mine = phases.setdefault(row.device, [[]])
        first = rows[mine[-1][0]] if mine[-1] else row
        if (row.duty != first.duty or abs(row.overdrive_v - first.overdrive_v) > NEAR_V
                or abs(row.kelvin - first.kelvin) > NEAR_K):
            mine.append([])
        mine[-1].append(i)
    found = list(rows)
    for places in chain.from_iterable(phases.values()):
        over, kelvin = (round(fmean(getattr(rows[i], key) for i in places), 6) for key in ("overdrive_v", "kelvin"))
        for i in places:
            found[i] = replace(rows[i], overdrive_v=over, kelvin=kelvin)
    return found


def checked(rows: Sequence[Row], where: str) -> Measurements:
    """Rows whose time runs forwards and whose unit can be what it says.

    :raises UsageError: says what is wrong.
    """
    if len(rows) < LEAST_ROWS:
        raise UsageError(f"{where} has {len(rows)} measurements; a fit takes at least {LEAST_ROWS}")
    last: dict[str, float] = {}
    for row in rows:
        if row.seconds < last.get(row.device, 0.0):
            raise UsageError(f"{where}: time goes backwards for device {row.device}, from {last[row.device]:g} s to "
                             f"{row.seconds:g} s; seconds count from the beginning of the device's test, recovery too")
        last[row.device] = row.seconds
    if any(row.sigma_mv is None for row in rows) and any(row.sigma_mv is not None for row in rows):
        raise UsageError(f"{where}: some measurements have a sigma_mv and some do not; give it everywhere or nowhere")
    if not any(row.duty > 0 and row.seconds > 0 for row in rows):
        raise UsageError(f"{where} has no measurement after a time of stress")
    most = max(row.dvth_mv for row in rows)
    if most <= 0:
        raise UsageError(f"{where}: no shift is above 0; a shift of a PMOS counts as its magnitude")
    if most < 0.3:
        raise UsageError(f"{where}: the largest shift is {most:g} mV, surely meant in volts; name the column dvth_v")
    if most > 2000:
        raise UsageError(f"{where}: the largest shift is {most:g} mV, more than 2 V; is it in microvolts?")
    return Measurements(steady(rows))
