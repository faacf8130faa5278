"""Which networks to measure next, and what a device that was learned says of others."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archfab import registry
from archfab.core import UsageError
from archfab.device.add import Known, known_for
from archfab.device.networks import Naming
from archfab.hardware.models.learned import LearnedDevice
from archfab.hardware.onboarding.choosing import chosen
from archfab.hardware.onboarding.knowledge import read_knowledge, read_rows
from archfab.hardware.onboarding.measurements import Measurements, read_measurements, read_objects
from archfab.hardware.onboarding.references import references
from archfab.hardware.onboarding.rehearsal import spearman
from archfab.hardware.onboarding.spaces import Networks
from archfab.hardware.onboarding.subjects import Subjects, table_for

DRAWN = 300             # networks of a task's space to choose from


def following(knowledge: Sequence[str] = (), naming: Naming | None = None, candidates: str | None = None,
              measurements: str | None = None, unit: str | None = None, number: int = 10, seed: int = 0,
              out: str | None = None) -> dict[str, Any]:
    """The networks to measure next; with `out`, as a CSV file whose latency column is to be filled in."""
    if number < 1:
        raise UsageError(f"--number takes a whole number from 1 up, not {number}")
    if out and Path(out).exists():
        raise UsageError(f"{out} exists already; take another file for --out")
    tables = read_knowledge(knowledge)
    naming = naming or Naming([])
    naming.tables = tables
    measured = read_measurements(measurements, unit) if measurements else None
    known, pool, keys, rows = pool_of(naming, candidates, measured, seed)
    features = known.setting.features(pool)
    seen, barred = np.zeros((0, features.shape[1])), list[int]()
    if measured is not None and measured.rows:
        naming.folder = Path(measurements or "").resolve().parent
        subjects = naming.find(measured.rows, measured.columns)
        if subjects.space != known.setting.space:
            raise UsageError(f"the measured networks are of {subjects.space or 'a task'}, the candidates of "
                             f"{known.setting.space or 'a task'}; both have to be of one space")
        seen = known.setting.features(subjects.networks)
        barred = [len(seen) + i for i, key in enumerate(pool.keys) if key in set(subjects.networks.keys)]
    if number > len(pool) - len(barred):
        raise UsageError(f"there are {len(pool) - len(barred)} networks to choose from, so not {number}")
    found = [i - len(seen) for i in chosen(np.concatenate([seen, features]), number, range(len(seen)), barred)]
    chosen_rows = [rows[i] if rows else dict(zip(keys, pool.keys[i].split(" | "), strict=True)) for i in found]
    if out:
        write(Path(out), [*keys, "latency_ms"], [[row[key] for key in keys] + [""] for row in chosen_rows])
    return {"space": known.setting.space, "from": len(pool), "known_devices": list(known.setting.names),
            "next": chosen_rows, "file": out}


def pool_of(naming: Naming, candidates: str | None, measured: Measurements | None, seed: int
            ) -> tuple[Known, Networks, tuple[str, ...], list[dict[str, str]]]:
    """What is known, the networks to choose from, the columns that name them, and their rows where a file gave them."""
    devices = references(list(naming.tables))
    if candidates:
        rows = read_objects(Path(candidates)) if candidates.endswith(".json") else read_rows(Path(candidates))
        if not rows:
            raise UsageError(f"{candidates} has no networks to choose from")
        columns = tuple(name for name in rows[0] if name not in ("latency_ms", "latency_us", "latency_s"))
        naming.folder = Path(candidates).resolve().parent
        subjects = naming.find(rows, columns)
        known = known_for(naming, subjects, devices, subjects.networks, seed)
        return known, subjects.networks, columns, [rows[i] for i in subjects.rows]
    if naming.task is not None:
        drawn = naming.drawn(DRAWN, seed)
        return known_for(naming, None, devices, drawn, seed), drawn, ("genotype",), []
    if measured is None and naming.table is None and len(naming.tables) > 1:
        raise UsageError("the knowledge has several spaces; say which: --table "
                         f"{' or '.join(table.space for table in naming.tables)}; or name candidates of your own: "
                         "--candidates FILE, or --task with --space")
    table = table_for(measured.columns, naming.tables, naming.table) if measured else naming.tables[0] \
        if naming.table is None else table_for(sum((t.keys for t in naming.tables), ()), naming.tables, naming.table)
    known = known_for(naming, Subjects(table.networks, table.space, (), (), table), devices, None, seed)
    return known, known.candidates, table.keys, []


def predicted(name: str, file: str, knowledge: Sequence[str] = (), naming: Naming | None = None,
              out: str | None = None) -> dict[str, Any]:
    """What a learned device says of the networks of a file; where that has latencies, how well they are met."""
    if out and Path(out).exists():
        raise UsageError(f"{out} exists already; take another file for --out")
    numbers = registry.load("devices", name)
    if not isinstance(numbers, dict) or numbers.get("model") != "learned":
        raise UsageError(f"'{name}' was not learned from measurements; archfab cost says what a network costs on it")
    device = LearnedDevice(numbers)
    made = numbers.get("made_from", {})
    folders = list(knowledge) or [each for each in made.get("knowledge", ()) if each != "bundled"]
    naming = naming or Naming([])
    naming.tables, naming.folder = read_knowledge(folders), Path(file).resolve().parent
    rows = read_objects(Path(file)) if file.endswith(".json") else read_rows(Path(file))
    if not rows:
        raise UsageError(f"{file} has no networks")
    has = any(name.startswith("latency_") for name in rows[0])
    measured = read_measurements(file) if has else None
    named: Sequence[Any] = measured.rows + measured.missing if measured else rows
    columns = measured.columns if measured else tuple(rows[0])
    subjects = naming.find(named, columns)
    value, low, high = answers(device, subjects)
    true = [measured.latencies[row] if measured and row < len(measured.latencies) else math.nan
            for row in subjects.rows]
    found = [{**dict(named[row]), "latency_ms": float(value[i]), "low_ms": float(low[i]), "high_ms": float(high[i]),
              "measured_ms": true[i] if math.isfinite(true[i]) else None} for i, row in enumerate(subjects.rows)]
    if out:
        write(Path(out), list(found[0]), [["" if x is None else x for x in row.values()] for row in found])
    return {"device": name, "networks": found, "notes": list(subjects.notes), "file": out,
            **agreement(value, low, high, np.array(true))}


def answers(device: LearnedDevice, subjects: Subjects) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latencies and intervals; by the codes of the space that the device was learned on, else by the terms alone."""
    model = device.model
    if subjects.networks.names == device.codes:
        value, deviation = model.predict(subjects.networks)
    elif device.priced and subjects.networks.priced:
        value, deviation = model.at_large(subjects.networks.bills[0])
    else:
        raise UsageError(f"device '{device.name}' was learned on networks of another space, which archfab cannot build")
    low, high = model.interval(value, deviation)
    return value, low, high


def agreement(value: np.ndarray, low: np.ndarray, high: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """How well measured latencies are met, where there are at least three."""
    there = np.isfinite(true)
    if there.sum() < 3:
        return {}
    v, t = value[there], true[there]
    return {"measured": int(there.sum()), "spearman": spearman(v, t),
            "within_10_percent": float(np.mean(np.abs(v / t - 1) <= 0.1)),
            "coverage": float(np.mean((low[there] <= t) & (t <= high[there])))}


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
