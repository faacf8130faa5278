"""KLA results files (KLARF 1.0 to 1.2): defects that an inspection found, counted for each die that it looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from archfab.core import UsageError
from archfab.silicon.wafers.maps import OFF, WaferMap

VERSIONS = (("1", "0"), ("1", "1"), ("1", "2"))
MOST_OUTSIDE = 0.5          # of the defects outside the plan: with more, the dies are not counted from the same one


class Record(NamedTuple):
    """One statement of a file: its keyword, its lines of words, and the line on which it begins."""

    keyword: str
    lines: list[list[str]]
    number: int

    @property
    def words(self) -> list[str]:
        return [word for line in self.lines for word in line]


def is_klarf(text: str) -> bool:
    return text.lstrip().lower().startswith("fileversion")


def records(text: str) -> Iterator[Record]:
    """The statements, each of which a semicolon ends; quoted words stay whole."""
    lines: list[list[str]] = []
    start = 0
    for number, line in enumerate(text.splitlines(), 1):
        parts = re.split(r';(?=(?:[^"]*"[^"]*")*[^"]*$)', line) if '"' in line else line.split(";")
        for place, part in enumerate(parts):
            if words := re.findall(r'"[^"]*"|\S+', part):
                start = start if lines else number
                lines.append(words)
            if place < len(parts) - 1 and lines:
                yield Record(lines[0][0].lower(), [lines[0][1:], *lines[1:]], start)
                lines = []
    if lines and lines[0][0].lower() != "endoffile":
        raise UsageError(f"line {start}: {lines[0][0]} is not ended by a semicolon; the file may be cut off")


def maps_of_klarf(text: str, name: str) -> list[WaferMap]:
    """The wafers of a file: for each die of the sample plan the number of its defects, 0 for those without.

    Dies are counted by XINDEX and YINDEX; DiePitch is in um, SampleSize in mm. Defects on dies outside the plan are
    left out and told.

    :raises UsageError: for other versions, for a file without a plan (then nobody knows of dies without defects), and
        for records that lack what the specification of the file promises.
    """
    wafers: list[WaferMap] = []
    plan: set[tuple[int, int]] = set()
    tested, fresh = False, True
    spec: list[str] = []
    pitch = across = centre = None
    wafer = ""
    try:
        for keyword, lines, number in records(text):
            words = [word for line in lines for word in line]
            where = f"{name}, line {number}"
            if keyword == "fileversion" and tuple(words[:2]) not in VERSIONS:
                raise UsageError(f"{name} is a KLA results file of version {'.'.join(words[:2])}; read are 1.0, 1.1 "
                                 "and 1.2: export one of these, or a CSV with columns x, y, defects")
            elif keyword == "samplesize":
                sizes = numbers(words, where, keyword, 2)
                across = sizes[1] if sizes[0] == 1 else None
            elif keyword == "diepitch":
                found = numbers(words, where, keyword, 2)
                if min(found[:2]) <= 0:
                    raise UsageError(f"{where}: DiePitch is {found[0]:g} by {found[1]:g} um; both must be above 0")
                pitch = (found[0] / 1000, found[1] / 1000)
            elif keyword == "samplecenterlocation":
                found = numbers(words, where, keyword, 2)
                centre = (found[0], found[1])
            elif keyword == "waferid":
                wafer = words[0].strip('"') if words else ""
                fresh = True                            # the plan of the wafer before holds until another one comes
            elif keyword == "sampletestplan":
                plan = set(planned(words, where)) | (set() if fresh else plan)
                tested, fresh = True, False
            elif keyword == "defectrecordspec":
                spec = [word.upper() for word in words[1:]]
            elif keyword == "defectlist":
                if not tested:
                    raise UsageError(f"{where}: there is no SampleTestPlan before the defects, so dies that were "
                                     "looked at and have none are not known, and no density can be fitted; export the "
                                     "file with its plan")
                defects = placed(lines, spec, where)
                wafers.append(counted(wafer or name, defects, plan, pitch, across, centre))
    except UsageError as error:
        raise error if str(error).startswith(name) else UsageError(f"{name}, {error}") from None
    if not wafers:
        raise UsageError(f"{name} has no DefectList (one without defects is written 'DefectList;')")
    return wafers


def numbers(words: list[str], where: str, keyword: str, least: int) -> list[float]:
    try:
        found = [float(word) for word in words]
        if len(found) < least or not all(map(np.isfinite, found)):
            raise ValueError
    except ValueError:
        raise UsageError(f"{where}: {keyword} needs {least} numbers, not '{' '.join(words)[:40]}'") from None
    return found


def planned(words: list[str], where: str) -> list[tuple[int, int]]:
    try:
        found = [int(word) for word in words]
    except ValueError:
        raise UsageError(f"{where}: SampleTestPlan holds whole numbers, column and row of each die") from None
    if not found or len(found) != 1 + 2 * found[0]:
        raise UsageError(f"{where}: SampleTestPlan says {found[0] if found else 'no'} dies and lists "
                         f"{max(0, len(found) - 1) / 2:g}")
    return list(zip(found[1::2], found[2::2], strict=True))


def placed(lines: list[list[str]], spec: list[str], where: str) -> list[tuple[int, int]]:
    """The die of each defect; lines too short to be a defect go on with the images of the one before."""
    if not {"XINDEX", "YINDEX"} <= set(spec):
        raise UsageError(f"{where}: DefectRecordSpec names no XINDEX and YINDEX before the DefectList, so the dies of "
                         "defects are not known")
    column, row = spec.index("XINDEX"), spec.index("YINDEX")
    images = "IMAGELIST" in spec
    least = len(spec) - images
    found: list[tuple[int, int]] = []
    for place, words in enumerate(lines):
        if not words or (images and found and len(words) < least):
            continue
        try:
            if len(words) < least:
                raise ValueError
            found.append((int(words[column]), int(words[row])))
        except ValueError:
            raise UsageError(f"{where}: defect {len(found) + 1} ({' '.join(words)[:40]}) lacks what DefectRecordSpec "
                             f"promises: {least} values, with whole numbers as XINDEX and YINDEX "
                             f"(line {place} of the list)") from None
    return found


def counted(name: str, defects: list[tuple[int, int]], plan: set[tuple[int, int]], pitch: tuple[float, float] | None,
            across: float | None, centre: tuple[float, float] | None) -> WaferMap:
    places = np.array(sorted(plan)).reshape(-1, 2)
    if not len(places):
        raise UsageError(f"{name}: the SampleTestPlan is empty")
    inside = [die for die in defects if die in plan]
    outside = len(defects) - len(inside)
    if outside > MOST_OUTSIDE * len(defects):
        strays = sorted(set(defects) - plan)
        raise UsageError(f"{name}: {outside} of {len(defects)} defects lie on dies outside the SampleTestPlan, such as "
                         f"{strays[0]}; the plan runs from {tuple(places.min(0).tolist())} to "
                         f"{tuple(places.max(0).tolist())}: plan and defects do not count from the same die")
    low = places.min(0)
    wide, tall = (int(size) for size in places.max(0) - low + 1)
    if wide * tall > 10_000_000:
        raise UsageError(f"{name}: a plan of {wide} x {tall} dies cannot be")
    values = np.full((tall, wide), OFF, np.int64)
    values[places[:, 1] - low[1], places[:, 0] - low[0]] = 0
    if inside:
        at = np.array(inside) - low
        np.add.at(values, (at[:, 1], at[:, 0]), 1)
    notes = [f"{len(inside)} defects on {len(places)} dies of the plan"]
    if outside:
        notes.append(f"{outside} defects lie on dies outside the plan and are left out")
    middle = None if centre is None or pitch is None else (centre[0] / pitch[0] / 1000 - 0.5 - float(low[0]),
                                                           centre[1] / pitch[1] / 1000 - 0.5 - float(low[1]))
    return WaferMap(name, values, counted=True, die_mm=pitch, wafer_mm=across, centre=middle, upward=True,
                    notes=tuple(notes))

