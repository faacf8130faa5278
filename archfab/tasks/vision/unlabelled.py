"""Images without labels, read as those were that a network has learned from: for predictions."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

from archfab.core import UsageError
from archfab.tasks.vision.data import (
    folder_files,
    is_image,
    opened,
    parsing,
    pixels,
    read_idx,
    read_npy,
    resized,
    single_file,
    to_nchw,
    to_uint8,
    zip_files,
)

NAMES = ("x", "images", "x_test", "x_train")        # of the array in an .npz, the first that is there
LEGAL = "legal are an image, a folder or .zip of images, an .npz with an array x, and an IDX file of images"


def read_unlabelled(path: Path, shape: tuple[int, int, int]) -> tuple[list[str], np.ndarray]:
    """The names of images and their pixels uint8 [N, C, H, W], brought to the shape (C, H, W) of a network's input.

    :raises UsageError: for what cannot be read, and for images of another number of channels.
    """
    if path.is_dir():
        return _decoded(folder_files(path), str(path), shape)
    if path.suffix.lower() == ".zip":
        with zip_files(path) as files:
            return _decoded(files, str(path), shape)
    if path.suffix.lower() == ".npz":
        x = _array(path)
    elif re.search(r"images[-.]idx3-ubyte(\.gz)?$", path.name):
        x = read_idx(path, ndim=3)[:, None]
    else:
        return _decoded([single_file(path)], str(path.parent), shape)
    if x.shape[1] != shape[0]:
        raise UsageError(f"{path} has images of {x.shape[1]} channels, and the network takes {shape[0]}")
    return [str(i) for i in range(len(x))], resized(to_uint8(x, str(path)), str(path), shape[1:])


def _array(path: Path) -> np.ndarray:
    with parsing(str(path)), zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        name = next((name for name in NAMES if name in members), next(iter(members)) if len(members) == 1 else "")
        if not name:
            raise UsageError(f"{path} has the arrays {', '.join(members)}; call the one of images x")
        return to_nchw(read_npy(archive, members[name], f"{name} of {path}"), f"{name} of {path}")


def _decoded(files: list, where: str, shape: tuple[int, int, int]) -> tuple[list[str], np.ndarray]:
    channels, height, width = shape
    if channels not in (1, 3):
        raise UsageError(f"the network takes images of {channels} channels, which no image file has; give an .npz")
    found = sorted((file for file in files if is_image(file)), key=lambda file: file.parts)
    if not found:
        raise UsageError(f"{where} has no images; {LEGAL}")
    x = np.zeros((len(found), *shape), np.uint8)
    for i, file in enumerate(found):
        with opened(file, where) as image:
            x[i] = pixels(image, "L" if channels == 1 else "RGB", (width, height))
    return ["/".join(file.parts) for file in found], x
