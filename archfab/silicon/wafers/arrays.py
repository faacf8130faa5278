"""Wafer maps in NumPy files: many maps laid end to end as in the WM-811K subset, matrices, stacks of matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archfab.core import UsageError

NO_DIE, PASS, FAIL = 0, 1, 2
LEGAL = "0 no die, 1 passing, 2 failing (or 0, 128, 255)"
LABELS = "failureType"


def maps_in_npz(path: str | Path, limit: int | None = None) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """The wafer maps of an .npz file that holds many of them end to end, and the label of each (or "" without labels).

    `flat` are all maps ravelled and laid end to end, `shape` [maps, 2] their rows and columns, `failureType` their
    labels. Each map comes back as uint8 [rows, columns]: 0 no die, 1 a passing die, 2 a failing die, however the file
    spelt them (0/1/2, or 0/128/255 as pictures).

    :param limit: read only so many, the first.
    :raises UsageError: for a file that is not so, that holds pickled objects, or has other codes.
    """
    arrays = load(path)
    if not isinstance(arrays, dict) or not {"flat", "shape"} <= set(arrays):
        found = ", ".join(arrays) if isinstance(arrays, dict) else "one array"
        raise UsageError(f"{path} holds {found}; maps laid end to end need the arrays 'flat' and 'shape'")
    flat, shape = arrays["flat"], arrays["shape"]
    if shape.ndim != 2 or shape.shape[1] != 2 or not np.issubdtype(shape.dtype, np.integer) or (shape < 1).any():
        raise UsageError(f"{path}: 'shape' must be rows and columns of each map, whole numbers from 1 up in an array "
                         f"[maps, 2], not {shape.dtype} {list(shape.shape)}")
    sizes = shape.astype(np.int64).prod(axis=1)
    if flat.ndim != 1 or len(flat) != sizes.sum():
        raise UsageError(f"{path}: 'flat' has {flat.size} values where the shapes of its {len(shape)} maps need "
                         f"{sizes.sum()}; the file is cut off or not of this kind")
    labels = arrays.get(LABELS)
    if labels is not None and (labels.shape != (len(shape),) or labels.dtype.kind not in "US"):
        raise UsageError(f"{path}: '{LABELS}' must hold one text for each of the {len(shape)} maps")
    codes = as_codes(flat, str(path))
    ends = np.cumsum(sizes)
    number = len(shape) if limit is None else min(limit, len(shape))
    maps = [codes[ends[i] - sizes[i]:ends[i]].reshape(tuple(shape[i])) for i in range(number)]
    return maps, [""] * number if labels is None else [str(label) for label in labels[:number].astype(str)]


def load(path: str | Path) -> Any:
    """The array of an .npy file, or all arrays of an .npz file by their names; pickled objects are refused."""
    try:
        found = np.load(path, allow_pickle=False)
        return found if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:      # damaged zip files raise errors of many kinds
        words = str(error) or type(error).__name__
        why = "it holds pickled objects, which are never loaded" if "pickle" in words else words
        raise UsageError(f"{path} is no NumPy file of numbers: {why}; save it with numpy.savez(FILE, maps=array)"
                         ) from None


def as_codes(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """0, 1, 2 of 0/1/2 or of 0/128/255; other codes are named and refused."""
    if values.dtype == bool or not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise UsageError(f"{where}: the codes of dies are {values.dtype}; legal: {LEGAL}")
    if values.dtype == np.uint8:
        found = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    else:
        found = np.unique(values)
    present = set(found.tolist())
    if present <= {0, 1, 2}:
        return values.astype(np.uint8)
    if present <= {0, 128, 255}:
        table = np.zeros(256, np.uint8)
        table[[128, 255]] = PASS, FAIL
        return table[values.astype(np.uint8)]
    odd = sorted(present - {0, 1, 2} if present & {1, 2} else present - {0, 128, 255}, key=str)
    raise UsageError(f"{where}: unknown codes of dies {', '.join(f'{code:g}' for code in odd[:5])}; legal: {LEGAL}")
