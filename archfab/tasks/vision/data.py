"""Labelled images from the formats people keep them in; wrong files raise UsageError alone."""

import gzip
import math
import re
import struct
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image

from archfab.core import UsageError

MAX_BYTES = 8 * 2**30  # of one array of images
MAX_FILE_BYTES = 2**28  # of one encoded image
GZIP_RATIO = 1032  # deflate packs no tighter
LEGAL = (
    "legal are an .npz with x_train and y_train, IDX files named as MNIST's, a folder or .zip of images "
    "as class/image or as train/class/image and test/class/image, and .npz files of wafer maps with flat, shape and "
    "failureType"
)
_SPLITS = {"train": "train", "val": "train", "valid": "train", "validation": "train", "test": "test"}
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_OTHER_SUFFIXES = (".tif", ".tiff", ".pgm", ".ppm", ".heic", ".avif", ".jp2")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
_IDX = re.compile(r"(?!\.)(.*?)(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(?:\.gz)?", re.IGNORECASE)
_Arrays = dict[str, np.ndarray]  # any of x_train, y_train, x_test, y_test, as the source has them


@dataclass(frozen=True)
class Images:
    """Labelled images: x uint8 [N, C, H, W], y int64 [N] into classes (names); all but the train part may be None."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray | None
    y_test: np.ndarray | None
    classes: tuple[str, ...]
    source: str  # what it was read from, in words
    x_validation: np.ndarray | None = None
    y_validation: np.ndarray | None = None
    kind: str = "images"  # what they are pictures of, where that says how to read and to turn them: `wafer maps`


def read_images(path: Path | str | None, size: int | None = None) -> Images:
    """Read the images at a path (None: scikit-learn's 8x8 digits), resized to size x size pixels if given.

    Reads .npz, IDX files, a folder or .zip of images, and wafer maps (see `wafers`); UsageError for anything else and
    for damaged files.
    """
    from archfab.tasks.vision import wafers

    if size is not None and size < 1:
        raise UsageError(f"image size {size} is not legal; give a number of pixels of at least 1")
    try:
        if path is not None and (files := wafers.files_of(Path(path))):
            return wafers.read(files, size)
        arrays, source = _read_digits() if path is None else _read_path(Path(path), size)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}); check the path") from error
    return to_images(arrays, source, size)


def split_off(y: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Stratified split: (indices kept, indices split off), deterministic by seed, every class on both sides.

    y [N]; both results int64, ascending; UsageError for a fraction outside of (0, 1) or a class of one image.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"{fraction} is not legal as the fraction to split off; give one between 0 and 1")
    rng = np.random.default_rng(seed)
    is_off = np.zeros(len(y), dtype=bool)
    for label, count in zip(*np.unique(y, return_counts=True), strict=True):
        if count < 2:
            raise UsageError(f"class {label} has 1 image and cannot be split; give at least 2 of each class")
        n_off = min(max(round(fraction * count), 1), count - 1)
        is_off[rng.permutation(np.flatnonzero(y == label))[:n_off]] = True
    return np.flatnonzero(~is_off), np.flatnonzero(is_off)


@contextmanager
def parsing(what: str) -> Iterator[None]:
    # zipfile, zlib, NumPy and Pillow raise almost anything on damaged bytes; only parsing belongs inside.
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        detail = str(error).partition("\n")[0] or type(error).__name__
        raise UsageError(f"{what} is damaged or of another format ({detail}); replace it") from error


def _read_digits() -> tuple[_Arrays, str]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return {"x_train": x[:, None], "y_train": digits.target}, "8x8 digits of scikit-learn"


def _read_path(path: Path, size: int | None) -> tuple[_Arrays, str]:
    if path.is_dir():
        return _read_folder(path, size)
    if not path.is_file():
        raise UsageError(f"{path} does not exist or is no regular file; {LEGAL}")
    if path.suffix.lower() == ".npz":
        return _read_npz(path)
    if path.suffix.lower() == ".zip":
        return _read_zip(path, size)
    if match := _IDX.fullmatch(path.name):
        return _read_idx_set(path.parent, _idx_sets(path.parent)[match[1]])
    raise UsageError(f"{path} has no format that can be read; {LEGAL}")


def _read_folder(folder: Path, size: int | None) -> tuple[_Arrays, str]:
    files = folder_files(folder)
    tops = sorted(f.parts[0] for f in files if len(f.parts) == 1)
    archives = [name for name in tops if name.lower().endswith((".npz", ".zip"))]
    idx_sets = _idx_sets(folder)
    has_images = any(is_image(f) and len(f.parts) > 1 for f in files)
    found = archives + [f"{prefix}*-ubyte" for prefix in idx_sets] + ["folders of images"] * has_images
    if len(found) > 1:
        raise UsageError(f"{folder} has more than one data set ({', '.join(found)}); give the path of one")
    if archives:
        return _read_path(folder / archives[0], size)
    if idx_sets:
        return _read_idx_set(folder, *idx_sets.values())
    return _read_image_set(files, str(folder), size)


def _read_npz(path: Path) -> tuple[_Arrays, str]:
    arrays: _Arrays = {}
    with parsing(str(path)), zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        for name in (n for n in ("x_train", "y_train", "x_test", "y_test") if n in members):
            what = f"{name} of {path}"
            array = read_npy(archive, members[name], what)
            arrays[name] = to_nchw(array, what) if name.startswith("x") else array
    if not arrays:
        raise UsageError(f"{path} has no x_train and y_train, but {', '.join(members) or 'nothing'}; {LEGAL}")
    return arrays, f"arrays in {path}"


def read_npy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, what: str) -> np.ndarray:
    with parsing(what), archive.open(info) as file:
        readers = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        shape, _, dtype = readers[np.lib.format.read_magic(file)[0]](file)
        if dtype.hasobject:
            raise UsageError(f"{what} has Python objects, which are never read; save numbers or strings")
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes > MAX_BYTES or file.tell() + n_bytes != info.file_size:
            raise UsageError(f"{what} does not match its header of {n_bytes} bytes; save it again")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def to_nchw(x: np.ndarray, what: str) -> np.ndarray:
    is_first, is_last = (x.ndim == 4 and x.shape[axis] in (1, 3, 4) for axis in (1, 3))
    if x.ndim != 3 and is_first == is_last:
        legal = "legal are [N, H, W], [N, H, W, C] and [N, C, H, W], C of 1, 3 or 4 in one place"
        raise UsageError(f"{what} has images of shape {list(x.shape)}; {legal}")
    x = x[:, None] if x.ndim == 3 else x if is_first else x.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(x)


def _idx_sets(folder: Path) -> dict[str, dict[str, Path]]:
    """Files by prefix of their names and by the array they have, unpacked ones before those in .gz."""
    sets: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir(), key=lambda f: (f.suffix.lower() != ".gz", f.name)):
        if (match := _IDX.fullmatch(file.name)) and file.is_file():
            array = ("x_" if match[3].lower() == "images" else "y_") + _SPLITS.get(match[2].lower(), "test")
            sets.setdefault(match[1], {})[array] = file
    return sets


def _read_idx_set(folder: Path, files: dict[str, Path]) -> tuple[_Arrays, str]:
    arrays = {
        name: read_idx(file, ndim=3)[:, None] if name.startswith("x") else read_idx(file, ndim=1)
        for name, file in files.items()
    }
    return arrays, f"IDX files in {folder}"


def read_idx(path: Path, ndim: int) -> np.ndarray:
    is_packed = path.suffix.lower() == ".gz"
    with parsing(str(path)), gzip.open(path) if is_packed else path.open("rb") as file:
        head = file.read(4 + 4 * ndim)
        if len(head) < 4 + 4 * ndim or head[:4] != bytes([0, 0, 8, ndim]):
            raise UsageError(f"{path} is no IDX file of uint8 in {ndim} dimensions; get it again")
        dims = struct.unpack(f">{ndim}I", head[4:])
        n_bytes = math.prod(dims)
        fits = n_bytes <= min(MAX_BYTES, path.stat().st_size * (GZIP_RATIO if is_packed else 1))
        data = file.read(n_bytes + 1) if fits else b""
        if not fits or len(data) != n_bytes:
            raise UsageError(f"{path} does not match its header of {n_bytes} bytes; get it again")
        return np.frombuffer(data, dtype=np.uint8).reshape(dims).copy()  # a buffer alone is read-only


class _File(NamedTuple):
    """One file of a folder or zip: path below its root, size and how to open it."""

    parts: tuple[str, ...]
    n_bytes: int
    open: Callable[[], IO[Any]]


def _read_zip(path: Path, size: int | None) -> tuple[_Arrays, str]:
    with zip_files(path) as files:
        return _read_image_set(files, str(path), size)


@contextmanager
def zip_files(path: Path) -> Iterator[list[_File]]:
    with parsing(str(path)):
        archive = zipfile.ZipFile(path)
    with archive:
        infos = {i.filename: i for i in archive.infolist() if not i.filename.endswith("/")}
        files = [
            _File(tuple(re.findall(r"[^/\\]+", name)), info.file_size, partial(archive.open, info))
            for name, info in infos.items()
        ]
        yield [f for f in files if not _is_junk(f)]


def folder_files(folder: Path) -> list[_File]:
    paths = (path for depth in range(1, 5) for path in folder.glob("/".join("*" * depth)) if path.is_file())
    files = (_File(p.relative_to(folder).parts, p.stat().st_size, partial(p.open, "rb")) for p in paths)
    return [f for f in files if not _is_junk(f)]


def single_file(path: Path) -> _File:
    return _File((path.name,), path.stat().st_size, partial(path.open, "rb"))


def _is_junk(file: _File) -> bool:
    return not file.parts or any(part.startswith(".") or part == "__MACOSX" for part in file.parts)


def is_image(file: _File) -> bool:
    return file.parts[-1].lower().endswith(_SUFFIXES)


def _read_image_set(files: list[_File], where: str, size: int | None) -> tuple[_Arrays, str]:
    inner = ["/".join(f.parts) for f in files if len(f.parts) > 1]
    if others := sorted(name for name in inner if name.lower().endswith(_OTHER_SUFFIXES)):
        raise UsageError(f"{others[0]} in {where} is in a format not read; convert it to .png or remove it")
    images = _without_top([f for f in files if is_image(f)])
    if not images:
        kinds = Counter(Path(f.parts[-1]).suffix or "without suffix" for f in files).most_common(5)
        found = ", ".join(f"{n} {kind}" for kind, n in kinds) or "no files"
        raise UsageError(f"{where} has no folders of images (found {found}); {LEGAL}")
    is_split = any(f.parts[0].lower() in _SPLITS and len(f.parts) > 2 for f in images)
    parts: dict[str, list[_File]] = {"train": [], "test": []}
    for file in sorted(images, key=lambda f: f.parts):
        split = _SPLITS.get(file.parts[0].lower()) if is_split else "train"
        if split is None or len(file.parts) != 2 + is_split:
            layout = "train/class/image or test/class/image" if is_split else "class/image"
            raise UsageError(f"{'/'.join(file.parts)} in {where} does not lie as {layout}; move or remove it")
        parts[split].append(file)
    x, note = _decode(parts["train"] + parts["test"], where, size)
    n = len(parts["train"])
    arrays: _Arrays = {}
    for split, pixels in (("train", x[:n]), ("test", x[n:])):
        if parts[split]:
            arrays |= {f"x_{split}": pixels, f"y_{split}": np.array([f.parts[-2] for f in parts[split]])}
    return arrays, f"images in {where}{note}"


def _without_top(files: list[_File]) -> list[_File]:
    """The files without a folder around all of them, and without files that lie in no folder."""
    for _ in range(4):
        files = [f for f in files if len(f.parts) > 1]
        tops = {f.parts[0] for f in files}
        if len(tops) != 1 or tops.pop().lower() in _SPLITS or max(len(f.parts) for f in files) < 3:
            break
        files = [f._replace(parts=f.parts[1:]) for f in files]
    return files


def _decode(files: list[_File], where: str, size: int | None) -> tuple[np.ndarray, str]:
    """Pixels uint8 [N, C, H, W], and a note for the source if images were resized."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        heads = []
        for file in files:
            with opened(file, where) as image:
                heads.append((image.mode, image.size))
        mode = "L" if all(m in ("1", "L", "LA") or m.startswith("I") for m, _ in heads) else "RGB"
        width, height = (size or int(np.median([s[axis] for _, s in heads])) for axis in (0, 1))
        x = zeros((len(files), len(mode), height, width), where)
        for i, file in enumerate(files):
            with opened(file, where) as image:
                x[i] = pixels(image, mode, (width, height))
    return x, "" if {s for _, s in heads} == {(width, height)} else f", resized to {height}x{width}"


@contextmanager
def opened(file: _File, where: str) -> Iterator[Image.Image]:
    what = f"{'/'.join(file.parts)} in {where}"
    if file.n_bytes > MAX_FILE_BYTES:
        raise UsageError(f"{what} has {file.n_bytes} bytes (most: {MAX_FILE_BYTES}); shrink or remove it")
    with parsing(what), file.open() as stream, Image.open(stream, formats=_FORMATS) as image:
        yield image


def pixels(image: Image.Image, mode: str, size: tuple[int, int]) -> np.ndarray:
    """Pixels uint8 [C, H, W] in Pillow's mode L or RGB; size is (W, H)."""
    if image.mode.startswith("I"):  # 16 bits of grey, which convert() clips
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert(mode)
    pixels = np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))
    return np.atleast_3d(pixels).transpose(2, 0, 1)


def to_images(arrays: _Arrays, source: str, size: int | None = None, kind: str = "images") -> Images:
    """Images of arrays x_train and y_train, and where they are there x_validation, y_validation, x_test, y_test."""
    others = [split for split in ("validation", "test") if {f"x_{split}", f"y_{split}"} & arrays.keys()]
    splits = ["train", *others]
    if missing := [name for split in splits for name in (f"x_{split}", f"y_{split}") if name not in arrays]:
        legal = "give images (x) and labels (y) to train on, and to test on both or neither"
        raise UsageError(f"{source}: {', '.join(missing)} missing; {legal}")
    x = {split: to_uint8(arrays[f"x_{split}"], f"x_{split} of {source}") for split in splits}
    x = {split: resized(x[split], f"x_{split} of {source}", (size, size)) for split in splits} if size else x
    y = {split: _named(arrays[f"y_{split}"], len(x[split]), f"y_{split} of {source}") for split in splits}
    classes, y_train = y["train"]
    counts = np.bincount(y_train)
    if len(classes) < 2 or counts.min() < 2:
        rare = f"class {classes[counts.argmin()]} has {counts.min()} of {len(y_train)} images to train on"
        raise UsageError(f"{source}: {rare}; give at least 2 classes with at least 2 images each")
    given: dict[str, np.ndarray | None] = {}
    for split in others:
        if x[split].shape[1:] != x["train"].shape[1:]:
            train, other = (list(x[name].shape[1:]) for name in ("train", split))
            raise UsageError(f"{source}: train images are {train}, {split} images {other}; make them the same")
        names, numbers = y[split]
        if unknown := [name for name in names if name not in classes]:
            raise UsageError(f"{source}: {split} label {unknown[0]} is not among the train labels; remove or add it")
        given |= {f"x_{split}": x[split], f"y_{split}": np.array([classes.index(name) for name in names])[numbers]}
    return Images(x["train"], y_train, given.get("x_test"), given.get("y_test"), classes, source,
                  given.get("x_validation"), given.get("y_validation"), kind)


def _named(y: np.ndarray, n: int, what: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the labels in the order of their values, and the number of each image's name, int64 [N]."""
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1 or y.dtype.kind not in "biuSU":
        raise UsageError(f"{what} has labels {y.dtype} {list(y.shape)}; legal are integers or strings [N]")
    if len(y) != n:
        raise UsageError(f"{what} has {len(y)} labels for {n} images; give as many labels as images")
    with parsing(what):
        y = np.char.decode(y, "utf-8", "replace") if y.dtype.kind == "S" else y
        values, numbers = np.unique(y, return_inverse=True)
        return tuple(str(value) for value in values.tolist()), numbers.astype(np.int64)


def resized(x: np.ndarray, what: str, size: tuple[int, int]) -> np.ndarray:
    """Images uint8 [N, C, H, W] brought to a size (H, W)."""
    if x.shape[2:] == size:
        return x
    out = zeros((*x.shape[:2], *size), what)
    for at in np.ndindex(*x.shape[:2]):  # by channel, as Pillow weights colours by a fourth channel
        out[at] = np.asarray(Image.fromarray(x[at]).resize(size[::-1], Image.Resampling.BILINEAR))
    return out


def to_uint8(x: np.ndarray, what: str) -> np.ndarray:
    """Pixels in 0..255 of an array of uint8, of other integers, or of floats in [0, 1] or [0, 255]."""
    legal = "legal are uint8, and floats in [0, 1] or [0, 255]"
    if 0 in x.shape:
        raise UsageError(f"{what} is empty, of shape {list(x.shape)}; give images of at least one pixel")
    if x.dtype.kind not in "biuf":
        raise UsageError(f"{what} has pixels of {x.dtype}; {legal}")
    if not np.isfinite(x).all():
        raise UsageError(f"{what} has NaN or infinity among its pixels; {legal}")
    if x.min() < 0 or x.max() > 255:
        raise UsageError(f"{what} has pixels from {x.min()} to {x.max()}; {legal}")
    scale = 255 if x.dtype.kind in "bf" and x.max() <= 1 else 1
    return x if x.dtype == np.uint8 else np.rint(x * np.float32(scale)).astype(np.uint8)


def zeros(shape: tuple[int, ...], what: str) -> np.ndarray:
    if math.prod(shape) > MAX_BYTES:
        raise UsageError(f"{what} needs {math.prod(shape)} bytes (most: {MAX_BYTES}); give a smaller size")
    return np.zeros(shape, dtype=np.uint8)
