"""Wafer maps as images: .npz files of maps laid end to end, brought to one size without losing thin scratches."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from archfab.core import UsageError
from archfab.silicon.wafers.reading import FAIL, NO_DIE, maps_in_npz
from archfab.tasks.vision.data import Images, to_images, zeros

KIND = "wafer maps"
CHANNELS = ("share of failing dies among those there", "share of the area with dies")
SIZE = 32           # pixels to a side where the user gives none
PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
PLACES = ("train", "validation", "test")
Maps = list[np.ndarray]             # each [rows, columns]: no die, passing, failing


def files_of(path: Path) -> list[Path]:
    """The files of wafer maps that a path names: one .npz of maps end to end, or a folder of nothing else that holds
    data; empty for data of any other kind."""
    files = sorted(path.glob("[!.]*.npz")) if path.is_dir() else [path] if path.suffix == ".npz" else []
    return files if files and all(map(holds_maps, files)) else []


def holds_maps(path: Path) -> bool:
    """Whether an .npz has maps end to end, by the names of its arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"flat.npy", "shape.npy"} <= set(archive.namelist())
    except Exception:       # damaged zip files raise errors of many kinds; whoever reads the file says what is wrong
        return False


def read(files: Sequence[Path], size: int | None = None) -> Images:
    """Labelled maps; a file's name says its part (`train`, `val`, `test` somewhere in it), a single file is divided.

    No map that a network is scored on is learned from: exact copies of test maps are taken out of validation and
    training, copies of validation maps out of training; of copies inside a part that is yet to be divided one stays.
    What is left out is said.

    :raises UsageError: for files that are damaged, without labels, or whose parts cannot be told.
    """
    parts = by_part(files)
    where = str(files[0] if len(files) == 1 else files[0].parent)
    read_ = {part: labelled(paths) for part, paths in parts.items()}
    unlabelled = sum(missing for _, _, missing in read_.values())
    kept = {part: (maps, labels) for part, (maps, labels, _) in read_.items()}
    notes = [f"{unlabelled:,} maps have no label and are left out"] if unlabelled else []
    notes += without_copies(kept)
    if notes:
        warnings.warn(f"{where}: {'; '.join(notes)}", stacklevel=2)
    arrays: dict[str, np.ndarray] = {}
    for part, (maps, labels) in kept.items():
        arrays |= {f"x_{part}": drawn(maps, size or SIZE), f"y_{part}": np.array(labels)}
    return to_images(arrays, "; ".join([f"wafer maps in {where}", *notes]), kind=KIND)


def by_part(files: Sequence[Path]) -> dict[str, list[Path]]:
    """The files of each part, by their names."""
    if len(files) == 1:
        return {"train": list(files)}
    found: dict[str, list[Path]] = {}
    for file in files:
        words = {PARTS[word] for word in re.findall(r"[a-z]+", file.stem.lower()) if word in PARTS}
        if len(words) != 1:
            raise UsageError(f"{file} does not say whether its maps are to train on or to test on; put train, val or "
                             "test into its name, or give the path of one file")
        found.setdefault(words.pop(), []).append(file)
    if "train" not in found:
        raise UsageError(f"{files[0].parent} has no maps to train on (a file with train in its name)")
    return found


def labelled(files: Sequence[Path]) -> tuple[Maps, list[str], int]:
    """The maps of some files that have a label, their labels, and how many have none."""
    kept: Maps = []
    labels: list[str] = []
    missing = 0
    for file in files:
        maps, said = maps_in_npz(file)
        if not any(said):
            raise UsageError(f"{file} has no labels (failureType); a search needs them")
        for number, (wafer, label) in enumerate(zip(maps, said, strict=True)):
            if not wafer.any():
                raise UsageError(f"{file}: map {number} (counted from 0) has no dies")
            if label:
                kept.append(wafer)
                labels.append(label)
            else:
                missing += 1
    return kept, labels, missing


def without_copies(parts: dict[str, tuple[Maps, list[str]]]) -> list[str]:
    """Takes out of each part, in place, the maps that stand in a part it must not know; says what was left out."""
    said = []
    known: set[tuple[tuple[int, ...], bytes]] = set()
    divided = len(parts) < len(PLACES)          # part of the training maps will be set aside
    for part in reversed([each for each in PLACES if each in parts]):
        maps, labels = parts[part]
        names = [(wafer.shape, wafer.tobytes()) for wafer in maps]
        keep = [i for i, name in enumerate(names) if name not in known]
        if copies := len(maps) - len(keep):
            said.append(f"{copies} {part} maps are left out, for they are copies of maps that networks are scored on")
        if part == "train" and divided:
            first = {names[i]: i for i in reversed(keep)}
            if again := len(keep) - len(first):
                said.append(f"{again} maps that are there twice or more are left out but for one each")
            keep = sorted(first.values())
        parts[part] = ([maps[i] for i in keep], [labels[i] for i in keep])
        known.update(names)
    return said


def drawn(maps: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Maps of any sizes as images uint8 [N, 2, size, size]: `CHANNELS`, each averaged over the pixel's area.

    A pixel takes of each die the share that lies in it, so that no die is lost and a lone failing one stays as bright
    as it is large. The wafer is round whatever its dies' shape, so a map fills the square.
    """
    out = zeros((len(maps), 2, size, size), "the images of wafer maps")
    alike: dict[tuple[int, ...], list[int]] = {}
    for i, wafer in enumerate(maps):
        alike.setdefault(wafer.shape, []).append(i)
    for (rows, columns), places in alike.items():
        down, across = shares(rows, size), shares(columns, size).T
        for chosen in np.array_split(places, -(-len(places) * rows * columns // 2**22)):
            stack = np.stack([maps[i] for i in chosen])
            there, failing = (down @ (kind.astype(np.float32) @ across) for kind in (stack != NO_DIE, stack == FAIL))
            out[chosen, 0] = np.rint(255 * np.minimum(1, failing / np.maximum(there, 1e-6)))
            out[chosen, 1] = np.rint(255 * np.minimum(1, there))
    return out


def shares(dies: int, pixels: int) -> np.ndarray:
    """What share of each pixel's side each die of a row takes, float32 [pixels, dies]; rows add up to 1."""
    ends = np.arange(pixels + 1) * (dies / pixels)
    number = np.arange(dies)
    over = np.minimum(ends[1:, None], number + 1) - np.maximum(ends[:-1, None], number)
    return (np.maximum(over, 0) * (pixels / dies)).astype(np.float32)
