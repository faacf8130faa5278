"""Wafer maps of every kind of file that is read, and what is said of files that are wrong."""

import numpy as np
import pytest

from archfab.core import UsageError
from archfab.silicon.wafers.reading import maps_in_npz


def write_npz(path, maps, labels=None, **others):
    arrays = {"flat": np.concatenate([each.ravel() for each in maps]),
              "shape": np.array([each.shape for each in maps], np.int16)} | others
    np.savez(path, **arrays, **({} if labels is None else {"failureType": np.array(labels)}))
    return path


@pytest.mark.parametrize("scale", [1, 127.5])
def test_maps_laid_end_to_end_come_back_as_0_1_2(tmp_path, scale):
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 3, shape).astype(np.uint8) for shape in [(3, 4), (5, 2), (1, 1), (26, 26)]]
    written = [np.ceil(each * scale).astype(np.uint8) for each in maps]
    read, labels = maps_in_npz(write_npz(tmp_path / "maps.npz", written, ["None", "Donut", "None", "Scratch"]))
    assert all((one == other).all() and one.dtype == np.uint8 for one, other in zip(maps, read, strict=True))
    assert labels == ["None", "Donut", "None", "Scratch"]
    assert maps_in_npz(tmp_path / "maps.npz", limit=2)[1] == ["None", "Donut"]


@pytest.mark.parametrize("others, words", [
    ({"flat": np.array([0, 1, 7], np.uint8)}, "unknown codes of dies 7; legal: 0 no die, 1 passing, 2 failing"),
    ({"flat": np.array([0, 128, 3], np.uint8)}, "unknown codes of dies 3"),
    ({"flat": np.array([0, 1], np.uint8)}, "'flat' has 2 values where the shapes of its 1 maps need 3"),
    ({"flat": np.array(["a", "b", "c"])}, "the codes of dies are <U1"),
    ({"shape": np.array([[1, 3, 1]])}, "'shape' must be rows and columns"),
    ({"shape": np.array([[-1, -3]])}, "whole numbers from 1 up"),
    ({"shape": np.array([[1., 3.]])}, "whole numbers from 1 up"),
    ({"failureType": np.array(["None", "Loc"])}, "one text for each of the 1 maps"),
    ({"flat": np.array([0, "x", None], object)}, "pickled objects, which are never loaded"),
])
def test_files_that_are_not_so_are_refused_with_the_reason(tmp_path, others, words):
    path = write_npz(tmp_path / "maps.npz", [np.array([[0, 1, 2]], np.uint8)], **others)
    with pytest.raises(UsageError, match=words.replace("[", r"\[")):
        maps_in_npz(path)


def test_a_file_that_is_absent_or_no_numpy_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        maps_in_npz(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("x,y,pass\n")
    with pytest.raises(UsageError, match="is no NumPy file of numbers"):
        maps_in_npz(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", maps=np.zeros((2, 2)))
    with pytest.raises(UsageError, match="holds maps; maps laid end to end need the arrays 'flat' and 'shape'"):
        maps_in_npz(tmp_path / "other.npz")


@pytest.mark.shared
def test_the_labelled_subset_has_the_published_counts_and_share_of_failing_dies(shared_data):
    maps, labels = maps_in_npz(shared_data / "wm811k-subset" / "test.npz")
    assert len(maps) == len(labels) == 12450
    assert {name: labels.count(name) for name in ("None", "Edge-Ring", "Near-full")} == \
        {"None": 7346, "Edge-Ring": 1936, "Near-full": 30}
    dies = np.bincount(np.concatenate([each.ravel() for each in maps]), minlength=3)
    assert len(dies) == 3 and round(dies[2] / (dies[1] + dies[2]), 4) == 0.1283
