"""From measurements to a device that can be named: read, identified, checked, learned, rehearsed, written."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import numpy as np

from archfab import registry
from archfab.core import UsageError
from archfab.device.networks import DRAWN, Naming
from archfab.hardware.onboarding.choosing import chosen
from archfab.hardware.onboarding.files import save
from archfab.hardware.onboarding.knowledge import Table, read_knowledge
from archfab.hardware.onboarding.learning import (
    NOMINAL,
    NORMAL,
    OFF,
    Checked,
    Learned,
    checked,
    rescaled,
    studied,
)
from archfab.hardware.onboarding.measurements import Measurements, read_measurements
from archfab.hardware.onboarding.references import Reference, references
from archfab.hardware.onboarding.rehearsal import Rehearsed, factor_of, rehearse, simulated
from archfab.hardware.onboarding.setting import Setting, setting_of, unlike_any
from archfab.hardware.onboarding.spaces import ABOUT_RUNTIMES, RUNTIMES, Networks
from archfab.hardware.onboarding.subjects import Subjects

LEAST = 5               # measured networks; ten are what the figures were measured with
USUAL = 10
STRANGE = 30.0          # beyond all known devices by this factor, a unit is suspected
CANDIDATES = 2000       # of a table
SAID_NEXT = 3


@dataclass(frozen=True)
class Known:
    """What is known before the new device is: tables, devices, and the prior for networks of the measured kind."""

    tables: list[Table]
    devices: list[Reference]
    setting: Setting
    candidates: Networks        # of which some may be measured next


def known_for(naming: Naming, subjects: Subjects | None, devices: list[Reference], candidates: Networks | None = None,
              seed: int = 0) -> Known:
    """The prior for the networks of a table, of a task's space, or like those that were measured."""
    if subjects is not None and subjects.table is not None:
        of, space = subjects.table.networks, subjects.space
    elif naming.task is not None:
        of, space = naming.drawn(DRAWN, seed), ""
    else:
        assert subjects is not None
        of, space = subjects.networks, ""
    some = np.random.default_rng(seed).permutation(len(of))[:CANDIDATES]
    return Known(list(naming.tables), devices, setting_of(space, of, devices), candidates or of.take(np.sort(some)))


def add(name: str, file: str, knowledge: Sequence[str] = (), unit: str | None = None, naming: Naming | None = None,
        replace: bool = False, keep_outliers: bool = False) -> dict[str, Any]:
    """A new device NAME from a file of measurements; returns what there is to know of it."""
    began = time.process_time()
    folder = registry.own_devices()
    check_name(name, folder, replace)
    measured = read_measurements(file, unit)
    tables = read_knowledge(knowledge)
    naming = naming or Naming([])
    naming.tables, naming.folder = tables, Path(file).resolve().parent
    subjects, latencies = subjects_of(measured, naming)
    known = known_for(naming, subjects, references(tables))
    if len(latencies) < LEAST:
        raise too_few(len(latencies), known, subjects)
    networks, setting = subjects.networks, known.setting
    model, doubts = studied(setting, networks, latencies, measured.step, keep_outliers)
    rehearsed = rehearse(subjects.space, networks, known.candidates, known.devices, tables)
    model = rescaled(model, factor_of(rehearsed))
    document = told(name, measured, subjects, latencies, known, model,
                    checked(model, networks, latencies, doubts), rehearsed, knowledge)
    path = save(folder, name, for_file(document, networks), model, setting.codes)
    return {**document, "file": str(path), "seconds": round(time.process_time() - began, 2)}


def check_name(name: str, folder: Path, replace: bool) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name) or name.endswith((".toml", ".py")):
        raise UsageError(f"'{name}' is no name for a device; letters, digits, '-', '_', '.' and '+', such as my-phone")
    if name in registry.bundled("devices"):
        raise UsageError(f"'{name}' is a device that comes with archfab; take another name")
    if (folder / f"{name}.toml").exists() and not replace:
        raise UsageError(f"there is a device '{name}' already ({folder / name}.toml); take another name, or replace "
                         "it: --replace")


def subjects_of(measured: Measurements, naming: Naming) -> tuple[Subjects, np.ndarray]:
    """The measured networks and their latencies in ms; a network that goes by several names is measured several
    times."""
    if not measured.rows:
        raise UsageError(f"no network has a latency yet; at least {LEAST} are needed, {USUAL} are better")
    subjects = naming.find(measured.rows, measured.columns)
    groups: dict[str, list[int]] = {}
    for i, key in enumerate(subjects.networks.keys):
        groups.setdefault(key, []).append(i)
    latencies = np.array([np.mean([measured.latencies[subjects.rows[i]] for i in rows]) for rows in groups.values()])
    if len(groups) == len(subjects.rows):
        return subjects, latencies
    several = sum(len(rows) > 1 for rows in groups.values())
    note = f"{several} networks were measured several times, under different rows: the means are used"
    return replaced(subjects.take([rows[0] for rows in groups.values()]), notes=(*subjects.notes, note)), latencies


def too_few(number: int, known: Known, subjects: Subjects) -> UsageError:
    following = upcoming(known, subjects.networks, USUAL - number)
    return UsageError(f"{number} measured networks are too few for a device: at least {LEAST} are needed, {USUAL} are "
                      f"better. Measure next: {'; '.join(following)} (archfab device next --measurements FILE)")


def upcoming(known: Known, networks: Networks, number: int, model: Learned | None = None) -> list[str]:
    """Which networks to measure next, the most telling first."""
    likely = dict(zip(model.runtimes, model.weights, strict=True)) if model else None
    features = np.concatenate([known.setting.features(networks, likely),
                               known.setting.features(known.candidates, likely)])
    seen = set(networks.keys)
    repeated = [len(networks) + i for i, key in enumerate(known.candidates.keys) if key in seen]
    rows = chosen(features, number, [*range(len(networks))], repeated)
    return [known.candidates.keys[row - len(networks)] for row in rows]


def told(name: str, measured: Measurements, subjects: Subjects, latencies: np.ndarray, known: Known, model: Learned,
         rows: list[Checked], rehearsed: list[Rehearsed], knowledge: Sequence[str]) -> dict[str, Any]:
    """What a person wants to know of the new device."""
    networks = subjects.networks
    value, deviation = model.predict(known.candidates)
    floor = math.hypot(model.noise, measured.step / math.sqrt(12) / float(np.median(latencies)))
    notes = [*measured.notes, *subjects.notes, *suspicions(subjects, latencies, known)]
    notes += [outlier_note(row) for row in rows if row.outlier]
    several = sum(row.outlier for row in rows)
    if several > 1 and 5 * several > len(rows):
        notes.append(f"{several} outliers among {len(rows)} measurements are many: was the device busy with something "
                     "else, or is it unlike all that are known? Measure those again, or more")
    if len(latencies) < USUAL:
        notes.append(f"{len(latencies)} networks were measured; {USUAL} are better")
    where = subjects.space or "the task's space" if subjects.table or not known.setting.space else ""
    return {
        "device": name,
        "about": f"learned from {len(latencies)} measurements of networks of {where or 'ONNX files'}, with "
                 f"{len(known.setting.names)} known devices as knowledge",
        "space": subjects.space, "measurements": len(latencies), "known_devices": list(known.setting.names),
        "knowledge": [str(Path(each).resolve()) for each in knowledge] or ["bundled"],
        "runtimes": [{"name": RUNTIMES[at], "about": ABOUT_RUNTIMES[RUNTIMES[at]], "probability": round(weight, 4)}
                     for at, weight in zip(model.runtimes, model.weights, strict=True)],
        "noise": model.noise, "rounded_to_ms": measured.step if measured.step > 1e-3 * latencies.min() else 0.0,
        "repeats_spread": measured.spread, "floor": floor, "interval_factor": model.factor,
        "interval_half_width": float(np.median(NORMAL * model.factor * deviation / value)),
        "expected": expectation(rehearsed, known.candidates, value, model.factor * deviation),
        "rehearsal": [{key: x for key, x in asdict(each).items() if key != "off"} for each in rehearsed],
        "checks": [asdict(row) for row in rows], "excluded": len(subjects.table.excluded) if subjects.table else 0,
        "next": upcoming(known, networks, SAID_NEXT, model), "notes": notes}


def outlier_note(row: Checked) -> str:
    """What is said of an outlier; a factor near a thousand is what another unit looks like."""
    ratio = row.measured / row.predicted
    unit = " (near a thousand: another unit?)" if 2.7 < abs(math.log10(ratio)) < 3.3 else ""
    return (f"{row.key}: {row.measured:.4g} ms is an outlier, {ratio:.3g} times what the others say ({row.low:.4g} to "
            f"{row.high:.4g} ms){unit}, more than {OFF:g} deviations off: hardly used; measure it again, or keep it: "
            "--keep-outliers")


def suspicions(subjects: Subjects, latencies: np.ndarray, known: Known) -> list[str]:
    """Latencies so far from every known device that another unit is likelier."""
    off = unlike_any(subjects.space, subjects.networks, latencies, known.devices, known.setting.names)
    if not (off > STRANGE or off < 1 / STRANGE):
        return []
    how = f"{off:.3g} times slower than the slowest" if off > 1 else f"{1 / off:.3g} times faster than the fastest"
    unit = "microseconds" if off > 1 else "seconds"
    return [f"the latencies are {how} known device: are they {unit} under the name of another unit? Then make the "
            "device again from a column named by its unit (latency_s, latency_us, latency_ms)"]


def expectation(rehearsed: Sequence[Rehearsed], networks: Networks, value: np.ndarray,
                deviation: np.ndarray) -> dict[str, Any]:
    """The rank correlation to expect with other measurements, and how the known devices did in the rehearsal."""
    found: dict[str, Any] = {"spearman": simulated(networks, value, deviation),
                             "by": "simulated measurements with the deviations that the ten leave and the noise"}
    if len(rehearsed) > 1:
        factor = factor_of(rehearsed)
        found.update(
            rehearsed=len(rehearsed), rehearsed_spearman=float(np.mean([each.spearman for each in rehearsed])),
            rehearsed_worst=min(each.spearman for each in rehearsed),
            rehearsed_within_10_percent=float(np.mean([each.within for each in rehearsed])),
            rehearsed_coverage=float(np.mean([np.mean(np.array(each.off) <= NORMAL * factor) for each in rehearsed])))
    return found


def for_file(document: Mapping[str, Any], networks: Networks) -> dict[str, Any]:
    """The document as the device file keeps it: every number with unit, origin and source."""
    said = f"{document['measurements']} measurements, archfab device add"
    expected = document["expected"]
    return {
        "about": document["about"], "priced": networks.priced,
        "made_from": {key: document[key] for key in ("measurements", "space", "known_devices", "knowledge", "notes")},
        "noise": {"value": float(f"{document['floor']:.5g}"), "unit": "share of the latency", "origin": "calibrated",
                  "source": f"marginal likelihood of {said}, with what rounding adds at the median; no interval is "
                            "narrower, no ranking inside it means anything"},
        "interval": {"nominal": NOMINAL, "factor": float(f"{document['interval_factor']:.6g}"), "unit": "factor",
                     "origin": "calibrated", "source": "the deviations of the posterior, times a factor from how "
                     "far the measurements are from what the others say of them, and one from the rehearsal on "
                     f"{len(document['rehearsal'])} known devices (1 where there are fewer than 5)"},
        "expected": {"value": float(f"{expected['spearman']:.4g}"), "unit": "Spearman's rank correlation",
                     "origin": "calibrated", "source": expected["by"]},
        "measured": [{"network": row["key"], "latency_ms": row["measured"],
                      "others_say_ms": [float(f"{row[key]:.6g}") for key in ("predicted", "low", "high")],
                      "trust": float(f"{row['trust']:.3g}"), "outlier": row["outlier"]} for row in document["checks"]]}
