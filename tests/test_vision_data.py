"""What the vision task reads, and that whatever it cannot read ends in a UsageError."""

import gzip
import io
import os
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from archfab.core import UsageError
from archfab.tasks.vision.data import Images, read_images, split_off

DATA = Path(os.environ.get("ARCHFAB_DATA", Path(__file__).parents[1] / "../shared/data"))
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (12, 6, 5), dtype=np.uint8)
Y = np.arange(12, dtype=np.uint8) % 3
COLOUR = RNG.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)


def shared(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"no {name} in {DATA} (set ARCHFAB_DATA)")
    return DATA / name


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def encoded(pixels: np.ndarray, kind: str = "png") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format={"jpg": "jpeg"}.get(kind, kind))
    return stream.getvalue()


def class_files(x: np.ndarray, y: np.ndarray = Y, top: str = "", kind: str = "png") -> dict[str, bytes]:
    return {f"{top}c{label}/{i:03}.{kind}": encoded(x[i], kind) for i, label in enumerate(y)}


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def by_class(x: np.ndarray, y: np.ndarray = Y) -> np.ndarray:
    return x[np.argsort(y, kind="stable")]


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is and ends before its pixels do."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    sized = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return sized + struct.pack(">I", 1000) + b"IDAT" + bytes(8)


def assert_valid(images: Images) -> None:
    parts = [(images.x_train, images.y_train)]
    if images.x_test is not None and images.y_test is not None:
        parts.append((images.x_test, images.y_test))
        assert images.x_test.shape[1:] == images.x_train.shape[1:]
    for x, y in parts:
        assert x.dtype == np.uint8 and x.ndim == 4 and 0 not in x.shape and x.flags["C_CONTIGUOUS"]
        assert y.dtype == np.int64 and y.shape == x.shape[:1]
        assert y.min() >= 0 and y.max() < len(images.classes)
    assert np.bincount(images.y_train, minlength=len(images.classes)).min() >= 2
    assert len(images.classes) == len(set(images.classes)) >= 2 and images.source


# --- what is read


def test_digits_without_a_path():
    images = read_images(None)
    assert_valid(images)
    assert images.x_train.shape == (1797, 1, 8, 8) and images.x_test is None and images.y_test is None
    assert images.x_train.min() == 0 and images.x_train.max() == 255
    assert images.classes == tuple("0123456789") and images.source == "8x8 digits of scikit-learn"
    assert list(images.y_train[:5]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("as_folder", [False, True])
def test_npz_round_trip(tmp_path, as_folder):
    file = (
        lay(tmp_path, {"a.npz": npz(x_train=X, y_train=Y, x_test=X[:4], y_test=Y[:4]), "README": b""})
        / "a.npz"
    )
    images = read_images(tmp_path if as_folder else str(file))
    assert_valid(images)
    assert np.array_equal(images.x_train, X[:, None]) and np.array_equal(images.y_train, Y)
    assert np.array_equal(images.x_test, X[:4, None]) and np.array_equal(images.y_test, Y[:4])
    assert images.classes == ("0", "1", "2") and "a.npz" in images.source


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("is_last", [False, True])
def test_npz_takes_channels_first_and_last(tmp_path, channels, is_last):
    x = RNG.integers(0, 256, (12, channels, 6, 5), dtype=np.uint8)
    given_x = x.transpose(0, 2, 3, 1) if is_last else x
    lay(tmp_path, {"a.npz": npz(x_train=given_x, y_train=Y)})
    assert np.array_equal(read_images(tmp_path).x_train, x)


@pytest.mark.parametrize(
    "x",
    [
        X / 255,
        (X / 255).astype(np.float32),
        (X / 255).astype(np.float16),
        X.astype(float),
        X.astype(">f4"),
        X.astype(np.int64),
        np.asfortranarray(X),
    ],
    ids=["unit64", "unit32", "unit16", "bytes64", "big-endian", "int64", "fortran"],
)
def test_npz_pixels_of_any_dtype_come_back_as_bytes(tmp_path, x):
    lay(tmp_path, {"a.npz": npz(x_train=x, y_train=Y)})
    assert np.array_equal(read_images(tmp_path).x_train[:, 0], X)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([-7, 3, 40], ("-7", "3", "40")),
        (["tree", "cat", "dog"], ("cat", "dog", "tree")),
        ([b"b", b"a", b"c"], ("a", "b", "c")),
        (np.array([9, 2**64 - 1, 10], np.uint64), ("9", "10", f"{2**64 - 1}")),
    ],
    ids=["int", "str", "bytes", "uint64"],
)
def test_npz_labels_of_any_value_are_numbered_and_named(tmp_path, values, names):
    labels = np.asarray(values)[Y]
    lay(tmp_path, {"a.npz": npz(x_train=X, y_train=labels[:, None], x_test=X[1:2], y_test=labels[1:2])})
    images = read_images(tmp_path)
    read = [images.classes[i] for i in images.y_train]
    assert images.classes == names
    assert read == [v.decode() if isinstance(v, bytes) else str(v) for v in labels.tolist()]
    assert images.classes[images.y_test[0]] == read[1]


@pytest.mark.parametrize(
    ("pattern", "test"),
    [
        ("{}-{}-idx{}-ubyte", "t10k"),
        ("{}-{}.idx{}-ubyte", "t10k"),
        ("{}-{}-idx{}-ubyte.gz", "t10k"),
        ("{}-{}.idx{}-ubyte.gz", "t10k"),
        ("emnist-letters-{}-{}-idx{}-ubyte.gz", "test"),
    ],
)
def test_idx_round_trip(tmp_path, pattern, test):
    arrays = {
        ("train", "images"): X,
        ("train", "labels"): Y,
        (test, "images"): X[:5],
        (test, "labels"): Y[:5],
    }
    pack = gzip.compress if pattern.endswith(".gz") else bytes
    lay(tmp_path, {pattern.format(*key, a.ndim): pack(idx(a)) for key, a in arrays.items()})
    for path in (tmp_path, tmp_path / pattern.format("train", "images", 3)):
        images = read_images(path)
        assert_valid(images)
        assert np.array_equal(images.x_train, X[:, None]) and np.array_equal(images.y_train, Y)
        assert np.array_equal(images.x_test, X[:5, None]) and np.array_equal(images.y_test, Y[:5])
        assert images.source == f"IDX files in {tmp_path}"


def test_idx_prefers_the_unpacked_file_and_needs_no_test_part(tmp_path):
    lay(tmp_path, {"train-images-idx3-ubyte": idx(X), "train-labels-idx1-ubyte": idx(Y)})
    lay(tmp_path, {"train-images-idx3-ubyte.gz": b"not read", "._train-labels-idx1-ubyte": b"not read"})
    images = read_images(tmp_path)
    assert np.array_equal(images.x_train[:, 0], X) and images.x_test is None


def test_idx_sets_side_by_side_are_told_apart_by_path(tmp_path):
    for prefix, x in (("a-", X), ("b-", 255 - X)):
        lay(
            tmp_path, {f"{prefix}train-images-idx3-ubyte": idx(x), f"{prefix}train-labels-idx1-ubyte": idx(Y)}
        )
    assert np.array_equal(read_images(tmp_path / "b-train-images-idx3-ubyte").x_train[:, 0], 255 - X)
    with pytest.raises(UsageError, match="more than one data set"):
        read_images(tmp_path)


@pytest.mark.parametrize("x", [X, COLOUR], ids=["grey", "rgb"])
@pytest.mark.parametrize("top", ["", "train/", "nested/", "nested/train/"])
@pytest.mark.parametrize("form", ["folder", "zip", "folder of a zip"])
def test_image_folder_round_trip(tmp_path, x, top, form):
    files = class_files(x, top=top)
    files |= {
        "__MACOSX/c0/000.png": b"junk",
        f"{top}c0/._000.png": b"junk",
        f"{top}.DS_Store": b"",
        "README.md": b"",
    }
    if form != "folder":
        files = {"set.zip": zipped(files), "README.md": b""}
    images = read_images(lay(tmp_path, files) / ("set.zip" if form == "zip" else ""))
    assert_valid(images)
    expected = by_class(x if x.ndim == 4 else x[..., None]).transpose(0, 3, 1, 2)
    assert np.array_equal(images.x_train, expected) and np.array_equal(images.y_train, np.sort(Y))
    assert images.classes == ("c0", "c1", "c2") and images.x_test is None


@pytest.mark.parametrize("is_zip", [False, True])
@pytest.mark.parametrize("val", ["val", "valid", "validation", "VAL"])
def test_image_splits(tmp_path, val, is_zip):
    files = class_files(X[:6], Y[:6], "train/") | class_files(X[6:9], Y[6:9], f"{val}/")
    files |= class_files(X[9:11], Y[9:11], "test/")
    images = read_images(lay(tmp_path, {"a.zip": zipped(files)} if is_zip else files))
    assert_valid(images)
    assert images.x_train.shape == (9, 1, 6, 5) and np.array_equal(np.bincount(images.y_train), [3, 3, 3])
    assert np.array_equal(images.x_test, X[9:11, None]) and np.array_equal(images.y_test, Y[9:11])


@pytest.mark.parametrize("kind", ["png", "jpg", "jpeg", "bmp", "gif", "webp"])
def test_every_image_format_is_read(tmp_path, kind):
    flat = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None, None] * 20, (12, 8, 8))
    images = read_images(lay(tmp_path, class_files(flat, kind=kind)))
    assert images.x_train.shape[2:] == (8, 8)
    assert np.abs(images.x_train.astype(int) - by_class(flat)[:, None]).max() <= 2


def test_one_coloured_image_makes_all_of_them_rgb(tmp_path):
    files = class_files(X) | {"c0/000.png": encoded(COLOUR[0])}
    images = read_images(lay(tmp_path, files))
    assert images.x_train.shape == (12, 3, 6, 5)
    assert np.array_equal(images.x_train[0], COLOUR[0].transpose(2, 0, 1))
    assert np.array_equal(images.x_train[1:], np.repeat(by_class(X)[1:, None], 3, axis=1))


def test_sixteen_bits_of_grey_are_scaled_and_one_bit_is_black_and_white(tmp_path):
    deep = {f"a/{i}.png": encoded(x.astype(np.uint16) * 257) for i, x in enumerate(X[:2])}
    flat = {f"b/{i}.png": encoded(x > 127) for i, x in enumerate(X[:2])}
    images = read_images(lay(tmp_path, deep | flat))
    assert np.array_equal(images.x_train[:2, 0], X[:2])
    assert np.array_equal(images.x_train[2:, 0], np.where(X[:2] > 127, 255, 0))


def test_images_of_differing_size_take_the_median_size_or_the_one_given(tmp_path):
    sizes = [(4, 8), (6, 8), (6, 8), (10, 20), (6, 10)]
    lay(
        tmp_path,
        {f"{'ab'[i % 2]}/{i}.png": encoded(np.full(s, 10 * i, np.uint8)) for i, s in enumerate(sizes)},
    )
    images = read_images(tmp_path)
    assert images.x_train.shape == (5, 1, 6, 8) and images.source.endswith("resized to 6x8")
    assert [x.mean() for x in images.x_train] == [0, 20, 40, 10, 30]
    assert read_images(tmp_path, size=12).x_train.shape == (5, 1, 12, 12)


def test_size_means_the_same_in_every_format(tmp_path):
    lay(
        tmp_path,
        {"idx/train-images-idx3-ubyte": idx(by_class(X)), "idx/train-labels-idx1-ubyte": idx(np.sort(Y))},
    )
    lay(tmp_path, {"grey.npz": npz(x_train=by_class(X), y_train=np.sort(Y))} | class_files(X, top="grey/"))
    lay(
        tmp_path,
        {"rgb.npz": npz(x_train=by_class(COLOUR), y_train=np.sort(Y))} | class_files(COLOUR, top="rgb/"),
    )
    grey, rgb = read_images(tmp_path / "grey.npz", 9).x_train, read_images(tmp_path / "rgb.npz", 9).x_train
    assert grey.shape == (12, 1, 9, 9) and rgb.shape == (12, 3, 9, 9)
    assert np.array_equal(read_images(tmp_path / "idx", 9).x_train, grey)
    assert np.array_equal(read_images(tmp_path / "grey", 9).x_train, grey)
    assert np.array_equal(read_images(tmp_path / "rgb", 9).x_train, rgb)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_a_size_as_small_as_a_number_of_channels_is_read(tmp_path, size):
    lay(tmp_path, class_files(COLOUR))
    assert read_images(tmp_path, size).x_train.shape == (12, 3, size, size)
    assert read_images(None, size).x_train.shape == (1797, 1, size, size)


@pytest.mark.parametrize("name", ["a.npz", "train-images-idx3-ubyte", "c0/000.png"])
def test_arrays_may_be_written_to(tmp_path, name):
    files = (
        {"a.npz": npz(x_train=X, y_train=Y)} if name == "a.npz" else idx_files() if "idx" in name else PNGS
    )
    images = read_images(lay(tmp_path, files))
    assert images.x_train.flags["WRITEABLE"] and images.y_train.flags["WRITEABLE"]


def test_size_leaves_a_fourth_channel_out_of_the_colours(tmp_path):
    x = np.full((12, 6, 5, 4), [200, 100, 50, 0], dtype=np.uint8)
    lay(tmp_path, {"a.npz": npz(x_train=x, y_train=Y)})
    assert np.array_equal(read_images(tmp_path, 3).x_train[0, :, 0, 0], [200, 100, 50, 0])


@pytest.mark.shared
def test_fashion_mnist():
    images = read_images(shared("fashion-mnist"))
    assert_valid(images)
    assert images.x_train.shape == (20000, 1, 28, 28) and images.x_test.shape == (10000, 1, 28, 28)
    assert list(images.y_test[:10]) == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert images.x_train.mean() / 255 == pytest.approx(0.286, abs=0.001)


@pytest.mark.slow
@pytest.mark.shared
def test_cifar10():
    images = read_images(shared("cifar10-10k"))
    assert_valid(images)
    assert images.x_train.shape == (8000, 3, 32, 32) and images.x_test.shape == (2000, 3, 32, 32)
    assert np.array_equal(np.bincount(images.y_train), [800] * 10) and images.classes[::9] == (
        "airplane",
        "truck",
    )
    assert np.array_equal(np.bincount(images.y_test), [200] * 10)


# --- what is refused


def idx_files(x: bytes = idx(X), y: bytes = idx(Y), **more: bytes) -> dict[str, bytes]:
    return {"train-images-idx3-ubyte": x, "train-labels-idx1-ubyte": y} | more


PNGS = class_files(X)
NAN = np.where(np.arange(12)[:, None, None] == 5, np.nan, X / 255)
NPY = io.BytesIO()
np.lib.format.write_array_header_1_0(
    NPY, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6, 10**6)}
)
WRONG = {
    "empty folder": ({}, "no folders of images .found no files"),
    "other files": ({"a.csv": b"1", "b.csv": b"", "c/d.txt": b""}, r"found 2 \.csv, 1 \.txt.*legal are"),
    "images in no class": (
        {"1.png": PNGS["c0/000.png"], "2.png": PNGS["c1/001.png"]},
        r"found 2 \.png.*legal are",
    ),
    "two archives": ({"a.zip": b"", "b.npz": b""}, "more than one data set .a.zip, b.npz"),
    "archive and images": ({"a.zip": b""} | PNGS, "more than one data set .a.zip, folders of images"),
    "npz of text": ({"a.npz": b"hello"}, "a.npz is damaged"),
    "npz cut": ({"a.npz": npz(x_train=X, y_train=Y)[:-100]}, "a.npz is damaged"),
    "npz without labels": ({"a.npz": npz(x_train=X)}, "a.npz: y_train missing; give"),
    "npz with other names": ({"a.npz": npz(data=X, target=Y)}, "no x_train and y_train, but data, target"),
    "npz with half a test": ({"a.npz": npz(x_train=X, y_train=Y, x_test=X)}, "y_test missing"),
    "npz of objects": (
        {"a.npz": npz(x_train=X, y_train=Y.astype(object))},
        "y_train of .*a.npz has Python objects",
    ),
    "npz of huge header": ({"a.npz": zipped({"x_train.npy": NPY.getvalue()})}, "x_train of .*does not match"),
    "npz lengths": (
        {"a.npz": npz(x_train=X, y_train=Y[:-1])},
        "y_train of .*a.npz has 11 labels for 12 images",
    ),
    "npz of NaN": ({"a.npz": npz(x_train=NAN, y_train=Y)}, "x_train of .*a.npz has NaN"),
    "npz below 0": ({"a.npz": npz(x_train=X - 128.0, y_train=Y)}, r"pixels from -1\d\d.*legal are"),
    "npz above 255": ({"a.npz": npz(x_train=X * 257.0, y_train=Y)}, "legal are uint8"),
    "npz of complex": ({"a.npz": npz(x_train=X * 1j, y_train=Y)}, "pixels of complex128; legal are"),
    "npz of 2 channels": (
        {"a.npz": npz(x_train=COLOUR[..., :2], y_train=Y)},
        r"shape \[12, 6, 5, 2\]; legal are",
    ),
    "npz of unclear channels": ({"a.npz": npz(x_train=COLOUR[:, :3], y_train=Y)}, r"shape \[12, 3, 5, 3\]"),
    "npz of vectors": ({"a.npz": npz(x_train=X[:, 0], y_train=Y)}, r"shape \[12, 5\]; legal are"),
    "npz of a number": ({"a.npz": npz(x_train=3, y_train=Y)}, r"shape \[\]; legal are"),
    "npz of no images": ({"a.npz": npz(x_train=X[:0], y_train=Y[:0])}, r"empty, of shape \[0, 1, 6, 5\]"),
    "npz of no test images": (
        {"a.npz": npz(x_train=X, y_train=Y, x_test=X[:0], y_test=Y[:0])},
        r"x_test of .* empty, of shape \[0, 1, 6, 5\]",
    ),
    "npz one-hot": (
        {"a.npz": npz(x_train=X, y_train=np.eye(3, dtype=int)[Y])},
        r"int64 \[12, 3\]; legal are",
    ),
    "npz float labels": (
        {"a.npz": npz(x_train=X, y_train=Y / 1)},
        r"float64 \[12\]; legal are integers or strings",
    ),
    "npz of invalid text": (
        {"a.npz": npz(x_train=X, y_train=np.full(12, 0x7FFFFFFF, np.uint32).view("<U1"))},
        "y_train of .* is damaged",
    ),
    "npz test of other size": (
        {"a.npz": npz(x_train=X, y_train=Y, x_test=X[:, :4], y_test=Y)},
        r"train images are \[1, 6, 5\], test images \[1, 4, 5\]",
    ),
    "npz test of new label": (
        {"a.npz": npz(x_train=X, y_train=Y, x_test=X, y_test=Y + 1)},
        "test label 3 is not among the train labels",
    ),
    "one class": ({"a.npz": npz(x_train=X, y_train=Y * 0)}, "class 0 has 12 of 12 .*at least 2 classes"),
    "class of one": ({"a.npz": npz(x_train=X, y_train=np.arange(12) // 11)}, "class 1 has 1 of 12"),
    "idx cut": (idx_files(x=idx(X)[:-1]), "train-images-idx3-ubyte does not match its header of 360 bytes"),
    "idx too long": (idx_files(x=idx(X) + b"1"), "does not match its header of 360 bytes"),
    "idx of too few bytes": (idx_files(y=b"\0\0\x08"), "train-labels-idx1-ubyte is no IDX file"),
    "idx of floats": (
        idx_files(x=idx(X).replace(b"\x08", b"\x0d", 1)),
        "is no IDX file of uint8 in 3 dimensions",
    ),
    "idx of huge dims": (idx_files(x=b"\0\0\x08\x03" + b"\xff" * 16), "does not match its header"),
    "idx of zero and huge dims": (
        idx_files(x=b"\0\0\x08\x03" + b"\xff" * 8 + b"\0" * 4),
        "images-idx3-ubyte",
    ),
    "idx counts": (idx_files(y=idx(Y[:-1])), "11 labels for 12 images"),
    "idx without labels": ({"train-images-idx3-ubyte": idx(X)}, "IDX files in .*y_train missing; give"),
    "idx without train": (
        {"t10k-images-idx3-ubyte": idx(X), "t10k-labels-idx1-ubyte": idx(Y)},
        "x_train, y_train",
    ),
    "idx.gz cut": ({"train-images-idx3-ubyte.gz": gzip.compress(idx(X))[:-9]}, "ubyte.gz is damaged"),
    "idx.gz of text": ({"train-images-idx3-ubyte.gz": b"hello"}, "ubyte.gz is damaged"),
    "idx.gz of huge dims": (
        {"train-images-idx3-ubyte.gz": gzip.compress(b"\0\0\x08\x03" + b"\x7f" * 12)},
        "does not match its header",
    ),
    "zip cut": ({"a.zip": zipped(PNGS)[:-30]}, "a.zip is damaged"),
    "zip of text": ({"a.zip": b"hello"}, "a.zip is damaged"),
    "zip of nothing": ({"a.zip": zipped({})}, "a.zip has no folders of images .found no files"),
    "zip of arrays": ({"a.zip": npz(x_train=X, y_train=Y)}, r"found 2 \.npy"),
    "zip of an empty name": ({"a.zip": zipped({"x": b""}).replace(b"x", b"\0")}, "no folders of images"),
    "image cut": (PNGS | {"c1/001.png": PNGS["c1/001.png"][:-30]}, "c1/001.png in .* is damaged"),
    "image in zip cut": (
        {"a.zip": zipped(PNGS | {"c1/001.png": PNGS["c1/001.png"][:-30]})},
        "c1/001.png in .*a.zip is damaged",
    ),
    "image of text": (PNGS | {"c1/001.png": b"hello"}, "c1/001.png in .* is damaged"),
    "image of another format": (PNGS | {"c1/001.png": encoded(X[0], "tiff")}, "c1/001.png in .* is damaged"),
    "pixel bomb": (PNGS | {"c1/001.png": png_header(10_000, 10_000)}, "c1/001.png in .*decompression bomb"),
    "larger pixel bomb": (
        PNGS | {"c1/001.png": png_header(60_000, 60_000)},
        "c1/001.png in .*decompression bomb",
    ),
    "many large images": (
        {f"{c}/{i}.png": png_header(9000, 9000) for c in "ab" for i in range(60)},
        "needs 9720000000 bytes",
    ),
    "unread image format": (PNGS | {"c1/a.tif": b""}, "c1/a.tif in .*convert it"),
    "one class of images": (class_files(X, Y * 0), "class c0 has 12 of 12"),
    "class of one image": (PNGS | {"c9/0.png": PNGS["c0/000.png"]}, "class c9 has 1 of 13"),
    "split without class": (
        class_files(X, top="train/") | {"test/1.png": PNGS["c0/000.png"]},
        "test/1.png in",
    ),
    "image too deep": (
        PNGS | {"c0/more/1.png": PNGS["c0/000.png"]},
        "c0/more/1.png in .* does not lie as class/im",
    ),
    "split unknown": (class_files(X, top="train/") | class_files(X, top="extra/"), "extra/c0/000.png in"),
    "test alone": (class_files(X, top="test/"), "x_train, y_train missing"),
    "test class not in train": (
        class_files(X, top="train/") | class_files(X, Y + 1, "test/"),
        "test label c3 is not among",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_data_is_refused_in_one_sentence(tmp_path, name):
    files, message = WRONG[name]
    with pytest.raises(UsageError, match=message) as caught:
        read_images(lay(tmp_path, files))
    assert str(tmp_path) in str(caught.value) and ";" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["missing", "missing.npz", "a.csv", "n" * 5000, "\0", ".train-images-idx3-ubyte"]
)
def test_a_path_of_nothing_that_can_be_read_is_refused(tmp_path, name):
    lay(tmp_path, {"a.csv": b"1,2", ".train-images-idx3-ubyte": idx(X)})
    with pytest.raises(UsageError, match=r"legal are|cannot be read"):
        read_images(tmp_path / name)


def test_an_encrypted_zip_is_refused(tmp_path):
    data = bytearray(zipped(PNGS))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(signature, at + 1)
    with pytest.raises(UsageError, match="encrypted"):
        read_images(lay(tmp_path, {"a.zip": bytes(data)}))


def test_a_packed_image_of_absurd_length_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a/0.webp", "w") as file:
            for _ in range(257):
                file.write(bytes(2**20))
        archive.writestr("b/0.png", PNGS["c0/000.png"])
    with pytest.raises(UsageError, match=r"a/0\.webp in .* bytes \(most"):
        read_images(tmp_path)


@pytest.mark.parametrize("size", [0, -3, 10**6])
def test_a_size_out_of_bounds_is_refused(size):
    with pytest.raises(UsageError, match=r"not legal|needs"):
        read_images(None, size)


def test_reading_leaves_the_warning_filters_alone(tmp_path):
    before = list(warnings.filters)
    read_images(lay(tmp_path, PNGS))
    assert warnings.filters == before


# --- whatever the bytes

VALID = {
    "a.npz": npz(x_train=X, y_train=Y, x_test=X[:3], y_test=Y[:3]),
    "train-images-idx3-ubyte": idx(X),
    "train-images-idx3-ubyte.gz": gzip.compress(idx(X), mtime=0),
    "a.zip": zipped(class_files(X[:4, :3, :3], np.arange(4) % 2), zipfile.ZIP_DEFLATED),
    "b.zip": zipped(
        {
            f"{'ab'[i % 2]}/{i}.{kind}": encoded(X[i], kind)
            for i, kind in enumerate(("png", "jpg", "bmp", "gif", "webp", "png"))
        }
    ),
}
MANGLED = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def read_or_refuse(tmp_path_factory, name: str, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("mangled")
    lay(folder, {name: data} | ({"train-labels-idx1-ubyte": idx(Y)} if "idx" in name else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert_valid(read_images(folder / name))
        except UsageError as error:
            assert name in str(error) or str(folder) in str(error)


@pytest.mark.parametrize("name", VALID)
def test_the_files_to_mangle_are_read(tmp_path_factory, name):
    folder = lay(tmp_path_factory.mktemp("valid"), {name: VALID[name], "train-labels-idx1-ubyte": idx(Y)})
    assert_valid(read_images(folder / name))


@pytest.mark.parametrize("name", VALID)
@MANGLED
@given(data=st.binary(max_size=300), keep=st.sampled_from([0, 4, 16, 64]))
@example(data=b"", keep=0)
def test_random_bytes_are_refused_or_read(tmp_path_factory, name, data, keep):
    read_or_refuse(tmp_path_factory, name, VALID[name][:keep] + data)


@pytest.mark.parametrize("name", VALID)
@MANGLED
@given(part=st.floats(0, 1))
def test_truncated_files_are_refused_or_read(tmp_path_factory, name, part):
    read_or_refuse(tmp_path_factory, name, VALID[name][: int(part * len(VALID[name]))])


def test_an_archive_of_an_unknown_version_is_refused(tmp_path_factory):
    data = bytearray(VALID["a.npz"])
    data[data.index(b"PK\x01\x02") + 6] = 64
    with pytest.raises(UsageError, match=r"a\.npz"):
        read_images(lay(tmp_path_factory.mktemp("new"), {"a.npz": bytes(data)}) / "a.npz")


@pytest.mark.parametrize("name", VALID)
@MANGLED
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6
    )
)
def test_mutated_files_are_refused_or_read(tmp_path_factory, name, changes):
    data = bytearray(VALID[name])
    for where, value in changes:
        data[int(where * len(data))] = value
    read_or_refuse(tmp_path_factory, name, bytes(data))


# A change inside of a member fails the checksum before any parser sees it, so these write the archive anew.
@pytest.mark.parametrize("kind", ["npy", "png", "jpg", "bmp", "gif", "webp"])
@MANGLED
@given(changes=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=4))
def test_mutated_members_are_refused_or_read(tmp_path_factory, kind, changes):
    if kind == "npy":
        with zipfile.ZipFile(io.BytesIO(VALID["a.npz"])) as archive:
            files = {n: archive.read(n) for n in archive.namelist()}
    else:
        files = class_files(X, kind=kind)
    first = next(iter(files))
    data = bytearray(files[first])
    for at, value in changes:
        data[at % len(data)] = value
    read_or_refuse(
        tmp_path_factory, "a.npz" if kind == "npy" else "a.zip", zipped(files | {first: bytes(data)})
    )


# --- split_off

LABELS = st.lists(st.integers(-3, 3), min_size=1, max_size=60).map(lambda y: np.array(y * 2))


@given(y=LABELS, fraction=st.floats(0.001, 0.999), seed=st.integers(0, 2**32))
def test_split_is_stratified_and_complete(y, fraction, seed):
    kept, off = split_off(y, fraction, seed)
    assert np.array_equal(np.sort(np.concatenate([kept, off])), np.arange(len(y)))
    assert np.array_equal(kept, np.sort(kept)) and np.array_equal(off, np.sort(off))
    for label in np.unique(y):
        n, n_off = np.sum(y == label), np.sum(y[off] == label)
        assert 1 <= n_off <= n - 1
        assert abs(n_off - fraction * n) <= 1
    again = split_off(y, fraction, seed)
    assert np.array_equal(again[0], kept) and np.array_equal(again[1], off)


def test_split_depends_on_the_seed():
    y = np.arange(200) % 4
    assert not np.array_equal(split_off(y, 0.3, 0)[1], split_off(y, 0.3, 1)[1])


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_a_fraction_out_of_bounds_is_refused(fraction):
    with pytest.raises(UsageError, match="between 0 and 1"):
        split_off(Y, fraction, 0)


def test_a_class_of_one_cannot_be_split():
    with pytest.raises(UsageError, match="class 7 has 1 image"):
        split_off(np.array([1, 1, 7]), 0.5, 0)
