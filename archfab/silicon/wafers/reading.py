"""Reading wafer maps, whatever they were written by: CSV, KLA results files, NumPy files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from archfab.core import UsageError, unknown
from archfab.silicon.wafers.arrays import FAIL, LEGAL, NO_DIE, PASS, as_codes, load, maps_in_npz
from archfab.silicon.wafers.klarf import is_klarf, maps_of_klarf
from archfab.silicon.wafers.maps import OFF, WaferMap, checked
from archfab.silicon.wafers.matrices import CODES, kind_of, maps_of_matrix
from archfab.silicon.wafers.tables import is_table, maps_of_table

__all__ = ["FAIL", "NO_DIE", "PASS", "maps_in_npz", "read_maps"]


def read_maps(path: str | Path, codes: str | None = None, good_bins: Sequence[int] | None = None,
              die_mm: tuple[float, float] | None = None, wafer_mm: float | None = None) -> list[WaferMap]:
    """The wafer maps of a file, by what is in it.

    Text: a table with a header (columns x, y, and defects, pass, fail, result or bin; wafer where there are several);
    a matrix of dies, with a blank line between wafers; a KLA results file (KLARF 1.0 to 1.2). NumPy: an .npz with maps
    end to end (`flat`, `shape`, `failureType`), or an .npy or .npz with matrices or stacks of them.

    :param codes: what the numbers of a matrix mean: wafer, pass, fail or defects; None where they say it themselves.
    :param good_bins: the bins that pass, of a table with a column bin; bin 1 where nothing is said.
    :param die_mm: width and height from die to die, where the file does not say.
    :param wafer_mm: the diameter of the wafer, where the file does not say.
    :raises UsageError: says which line or value is wrong, and what is legal.
    """
    if codes is not None and codes not in CODES:
        raise unknown("meaning of codes", codes, list(CODES))
    path = Path(path)
    if path.suffix in (".npz", ".npy"):
        refuse(path.name, "a NumPy file", None, good_bins)
        wafers = maps_of_arrays(path, codes)
    else:
        text = text_of(path)
        first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
        if not first:
            raise UsageError(f"{path.name} is empty; a map has a line for each row of dies, or a header x,y,pass and a "
                             "line for each die")
        if is_klarf(text):
            refuse(path.name, "a KLA results file", codes, good_bins)
            wafers = maps_of_klarf(text, path.name)
        elif is_table(first):
            refuse(path.name, "a table with a header", codes, None)
            wafers = maps_of_table(text, path.name, good_bins)
        else:
            refuse(path.name, "a matrix", None, good_bins)
            wafers = maps_of_matrix(text, path.name, codes)
    return [checked(wafer, die_mm, wafer_mm) for wafer in wafers]


def refuse(name: str, kind: str, codes: str | None, good_bins: Sequence[int] | None) -> None:
    """Options that say what the values of another kind of file mean would be ignored."""
    if codes is not None:
        raise UsageError(f"{name} is {kind}, which says itself what its values mean; --codes is for matrices "
                         "of numbers")
    if good_bins is not None:
        raise UsageError(f"{name} is {kind} and has no bins; --good-bins is for tables with a column bin")


def text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text; read are CSV and KLA results files, .npy and .npz") from None


def maps_of_arrays(path: Path, codes: str | None) -> list[WaferMap]:
    """Maps end to end, or the matrices [rows, columns] and stacks of matrices [wafers, rows, columns] of a file."""
    arrays = load(path)
    if isinstance(arrays, dict) and {"flat", "shape"} <= set(arrays):
        refuse(path.name, "a file of maps end to end", codes, None)
        maps, labels = maps_in_npz(path)
        note = (f"codes: {LEGAL}",)
        return [WaferMap.of_codes(f"{path.name}#{i}", found, label=label, notes=note)
                for i, (found, label) in enumerate(zip(maps, labels, strict=True))]
    named = arrays if isinstance(arrays, dict) else {"": arrays}
    wafers: list[WaferMap] = []
    for key, array in named.items():
        name = f"{path.name}{':' + key if key else ''}"
        if array.ndim not in (2, 3) or not array.size or array.dtype.kind not in "iufb":
            raise UsageError(f"{name} is {array.dtype} {list(array.shape)}; a map is a matrix of numbers [rows, "
                             "columns] or a stack of them [wafers, rows, columns]")
        values = meant(array, name, codes)
        wafers += [WaferMap(name if array.ndim == 2 else f"{name}#{i}", each, counted=codes == "defects",
                            notes=(f"codes: {CODES[codes or 'wafer']}",))
                   for i, each in enumerate(values[None] if array.ndim == 2 else values)]
    if not wafers:
        raise UsageError(f"{path.name} holds no arrays")
    return wafers


def hollow(values: np.ndarray, gone: np.ndarray) -> bool:
    """Whether a 0 stands between other numbers of its row."""
    some = (values != 0) & ~gone
    before = np.maximum.accumulate(some, axis=-1)
    after = np.maximum.accumulate(some[..., ::-1], axis=-1)[..., ::-1]
    return bool(((values == 0) & ~gone & before & after).any())


def meant(array: np.ndarray, name: str, codes: str | None) -> np.ndarray:
    """The dies of an array: -1 no die, else failing or not, or the number of defects."""
    numbers = array.astype(float)
    gone = ~np.isfinite(numbers) | (numbers == OFF)
    whole = np.where(gone, 0, numbers)
    if (whole != whole.round()).any():
        raise UsageError(f"{name} holds {whole[whole != whole.round()][0]:g}; codes and numbers of defects are whole")
    kind = codes or kind_of(set(np.unique(whole[~gone]).astype(np.int64).tolist()), name, hollow(whole, gone))
    if kind == "defects":
        if (whole < 0).any():
            raise UsageError(f"{name}: {whole.min():g} defects in a die cannot be; legal: 0 and up, or -1 where there "
                             "is no die")
        values = whole
    elif kind == "wafer":
        values = as_codes(np.where(gone, 0, whole), name).astype(np.int64) - 1
    else:
        if (odd := np.setdiff1d(whole[~gone], [0, 1])).size:
            raise UsageError(f"{name}: unknown codes of dies {', '.join(f'{code:g}' for code in odd[:5])}; legal: "
                             f"{CODES[kind]}")
        values = whole if kind == "fail" else 1 - whole
    return np.where(gone, OFF, values).astype(np.int64)

