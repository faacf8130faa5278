"""Wafer maps of every kind of file that is read, and what is said of files that are wrong."""

import io
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wafers import disk

from archfab.core import UsageError
from archfab.silicon.wafers.maps import WaferMap, chosen, edge, rings, tiles, window_passes
from archfab.silicon.wafers.reading import maps_in_npz, read_maps


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


KLARF = '''FileVersion 1 1;
FileTimestamp 01-01-26 10:00:00;
SampleSize 1 200;
DiePitch 2.5000000000e+03 2.0000000000e+03;
DieOrigin 0.000000 0.000000;
WaferID "W25";
SampleCenterLocation 2.5000000000e+03 3.0000000000e+03;
ClassLookup 2
 0 "unknown; or new"
 1 "scratch";
InspectionTest 1;
SampleTestPlan 5
  0 0
  0 1
  1 0
  1 1
  -1 2;
AreaPerTest 2.0e+10;
DefectRecordSpec 7 DEFECTID XREL YREL XINDEX YINDEX IMAGECOUNT IMAGELIST;
DefectList
 1 5.5e+02 1.0e+03 0 0 2
  1 0 2 0
 2 5.5e+02 1.0e+03 1 1 0 0
 3 5.6e+02 1.1e+03 1 1 0 0
 4 5.5e+02 1.0e+03 -1 2 0 0;
SummarySpec 5 TESTNO NDEFECT DEFDENSITY NDIE NDEFDIE;
SummaryList
 1 4 0.1 5 3;
EndOfFile;
'''


def read(tmp_path, text, name="map.csv", **options):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_maps(tmp_path / name, **options)


@pytest.mark.parametrize("text, options, counted, values", [
    ("0,1,0\n1,2,1\n0,1,0\n", {}, False, [[-1, 0, -1], [0, 1, 0], [-1, 0, -1]]),
    ("0;255\n128;128\n", {}, False, [[-1, 1], [0, 0]]),
    (".PF\nPPX\n", {}, False, [[-1, 0, 1], [0, 0, 1]]),
    ("pass,fail\n,ok\n", {}, False, [[0, 1], [-1, 0]]),
    ("0 1\n1 -1\n", {"codes": "pass"}, False, [[1, 0], [0, -1]]),
    ("0 1\n1 -1\n", {"codes": "fail"}, False, [[0, 1], [1, -1]]),
    ("0\t12\n\t3.0\n", {"codes": "defects"}, True, [[0, 12], [-1, 3]]),
    ("\ufeff# a comment\n1,2\n", {}, False, [[0, 1]]),
    ("x,y,pass\n4,7,1\n5,7,0\n5,8,true\n", {}, False, [[0, 1], [-1, 0]]),
    ("Die X;Die Y;HardBin\n0;0;1\n1;0;7\n-1;0;2\n", {}, False, [[1, 0, 1]]),
    ("x,y,bin\n0,0,1\n1,0,7\n2,0,2\n", {"good_bins": (2, 7)}, False, [[1, 0, 0]]),
    ("col,row,result\n0,0,PASS\n0,1,F\n", {}, False, [[0], [1]]),
    ("x,y,failed,note\n0,0,no,a\n0,1,yes,\"b,c\"\n", {}, False, [[0], [1]]),
    ("x,y,pass,defects\n0,0,1,3\n1,0,1,0\n", {}, True, [[3, 0]]),
    (KLARF, {}, True, [[-1, 1, 0], [-1, 0, 2], [1, -1, -1]])])
def test_every_way_of_writing_a_map_is_read(tmp_path, text, options, counted, values):
    found, = read(tmp_path, text, **options)
    assert found.values.tolist() == values and found.counted == counted


def test_many_wafers_of_one_file(tmp_path):
    matrices = read(tmp_path, "1,2\n1,1\n\n\n2,2\n1,1\n")
    assert [each.name for each in matrices] == ["map.csv#0", "map.csv#1"]
    assert [int(each.failing.sum()) for each in matrices] == [1, 2]
    table = read(tmp_path, "lot,wafer,x,y,defects,label\nA,1,0,0,2,Scratch\nA,2,0,0,0,\nA,1,1,0,1,Scratch\n")
    assert [(each.name, each.label, each.values.tolist()) for each in table] == \
        [("A 1", "Scratch", [[2, 1]]), ("A 2", "", [[0]])]


def test_a_klarf_says_its_sizes_and_where_the_centre_is(tmp_path):
    found, = read(tmp_path, KLARF, "w25.001")
    assert found.name == "W25" and found.die_mm == (2.5, 2.0) and found.wafer_mm == 200
    assert found.upward and found.centre == pytest.approx((1.5, 1.0))       # 2.5 mm is at the edge of dies 0 and 1
    assert found.notes == ("4 defects on 5 dies of the plan",)
    second = KLARF.replace("EndOfFile;\n", 'WaferID "W26";\nDefectList;\nEndOfFile;\n')
    clean = read(tmp_path, second)[1]                                       # no plan of its own: that of before holds
    assert clean.name == "W26" and clean.values.sum() == -4 and clean.dies.sum() == 5


def test_defects_outside_the_plan_are_told_and_left_out(tmp_path):
    found, = read(tmp_path, KLARF.replace(" 4 5.5e+02 1.0e+03 -1 2", " 4 5.5e+02 1.0e+03 9 9"))
    assert "1 defects lie on dies outside the plan and are left out" in found.notes and found.values.max() == 2
    with pytest.raises(UsageError, match=r"3 of 4 defects lie on dies outside .* do not count from the same die"):
        read(tmp_path, KLARF.replace("1.0e+03 1 1", "1.0e+03 7 1").replace("1.1e+03 1 1", "1.1e+03 7 1")
             .replace("-1 2 0 0;", "-7 2 0 0;"))


@pytest.mark.parametrize("old, new, words", [
    ("FileVersion 1 1", "FileVersion 1 8", "version 1.8; read are 1.0, 1.1 and 1.2"),
    ("SampleTestPlan 5", "SampleTestPlan 6", "line 12: SampleTestPlan says 6 dies and lists 5"),
    ("  0 1\n", "  0 a\n", "SampleTestPlan holds whole numbers"),
    ("XINDEX YINDEX IMAGECOUNT", "XIND YIND IMAGECOUNT", "names no XINDEX and YINDEX"),
    (" 3 5.6e+02 1.1e+03 1 1 0 0", " 3 5.6e+02 1.1e+03 1 b 0 0", "defect 3 .* lacks what DefectRecordSpec promises"),
    ("DiePitch 2.5000000000e+03 2.0000000000e+03", "DiePitch wide", "diepitch needs 2 numbers"),
    ("SampleTestPlan 5\n  0 0\n  0 1\n  1 0\n  1 1\n  -1 2;", "", "no SampleTestPlan before the defects"),
    (" 4 5.5e+02 1.0e+03 -1 2 0 0;\n", "", "defect 4 .SummarySpec"),
    ("DefectList\n", "Defects\n", "has no DefectList"),
    ("EndOfFile;\n", "WaferStatus A", "not ended by a semicolon; the file may be cut off"),
    ("DiePitch 2.5000000000e+03", "DiePitch 2.5", "a die of 0.0025 mm cannot be"),
    ("DiePitch 2.5000000000e+03", "DiePitch 0", "line 4: DiePitch is 0 by 2000 um; both must be above 0"),
    ("SampleCenterLocation 2.5", "SampleCenterLocation 2500", "and more from the centre of a wafer 200 mm")])
def test_klarfs_that_are_wrong_are_refused(tmp_path, old, new, words):
    assert old in KLARF
    with pytest.raises(UsageError, match=words):
        read(tmp_path, KLARF.replace(old, new))


@pytest.mark.parametrize("text, options, words", [
    ("", {}, "is empty"), ("# only a comment\n", {}, "is empty"),
    ("1,2\n1,1,1\n", {}, "line 2 has 3 dies, but line 1 has 2"),
    ("0,1\n1,1\n", {}, "0 and 1 alone, which can be either way round; say --codes"),
    ("1,0,2\n1,1,1\n", {}, "a 0 between other dies of a row"),
    ("1,2\n1,5\n", {}, "unknown codes of dies 5; say what they are, --codes"),
    ("1,2\n1,5\n", {"codes": "wafer"}, "unknown codes of dies 5; legal: 0 no die"),
    ("1,2\n", {"codes": "pass"}, "unknown codes of dies 2; legal: 1 passing, 0 failing"),
    ("1,-2\n", {"codes": "defects"}, "-2 defects in a die cannot be"),
    ("1,2\n1,1.5\n", {"codes": "defects"}, "unknown code '1.5' of a die"),
    ("1,inf\n", {"codes": "defects"}, "unknown code 'inf'"),
    ("P,2\n1,1\n", {}, "mixes letters"), ("P,Q\n", {}, "unknown code 'q'"),
    ("0,0\n0,0\n1,2\n", {"codes": "waferr"}, "did you mean 'wafer'"),
    ("-1,-1\n", {"codes": "defects"}, "has no dies"),
    ("x,y,pass\n0,0,1\n0,0,0\n", {}, "line 3: the die at x 0, y 0 stands in line 2 already; .* add a column wafer"),
    ("x,y,wafer,pass\n0,0,A,1\n0,0,A,0\n", {}, "of wafer A stands in line 2 already"),
    ("x,y,pass\n0,0,1\n1,0,2\n", {}, "line 3: unknown code '2'"),
    ("x,y,result\n0,0,1\n", {}, "'1' in a column of results can be either way round"),
    ("x,y,pass\n0,0\n", {}, "line 2 has 2 cells where the header has 3"),
    ("x,y,pass\n0.5,0,1\n", {}, "x is '0.5'; legal: whole numbers that count dies"),
    ("x,y,pass\nnan,0,1\n", {}, "x is 'nan'"), ("x,y,pass\n1e30,0,1\n", {}, "too large to count dies"),
    ("x,y,defects\n0,0,-3\n", {}, "'-3' is not a number of defects"),
    ("x,y,pass\n", {}, "has a header and no dies"),
    ("xpos,ypos,good\n0,0,1\n", {}, "has no column x and y .it has: xpos, ypos, good"),
    ("x,y,yield\n0,0,1\n", {}, "has no column pass"),
    ("x,y,pass\n0,0,1\n10000,20000,0\n", {}, "they are no positions in um"),
    ("1,2\n", {"die_mm": (10000.0, 8000.0)}, "a die of 10000 mm cannot be .*; 10000 um are 10 mm"),
    ("1,2\n", {"die_mm": (0.0, 1.0)}, "a die of 0 mm cannot be"),
    ("P" * 12, {"die_mm": (10.0, 10.0), "wafer_mm": 80.0}, "would lie 45 mm and more from the centre of a wafer 80 mm"),
    ("x,y,pass\n0,0,1\n", {"codes": "pass"}, "a table with a header, which says itself .* --codes is for matrices"),
    (KLARF, {"codes": "defects"}, "a KLA results file, which says itself"),
    (KLARF, {"good_bins": (1,)}, "--good-bins is for tables with a column bin"),
    ("1,2\n", {"good_bins": (1,)}, "a matrix and has no bins"),
    ("x,y,pass\n0,0,1\n", {"good_bins": (2,)}, "told by the column pass, not by bins"),
    ("1,2\n", {"wafer_mm": 300000.0}, "300000 um are 300 mm"), ("1,2\n", {"wafer_mm": -300.0}, "cannot be")])
def test_text_that_is_no_map_is_refused_with_what_is_legal(tmp_path, text, options, words):
    with pytest.raises(UsageError, match=words):
        read(tmp_path, text, **options)


def test_other_files_that_are_no_maps(tmp_path):
    (tmp_path / "map.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UsageError, match="is no text"):
        read_maps(tmp_path / "map.csv")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_maps(tmp_path / "absent.csv")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_maps(tmp_path)


def test_arrays_are_matrices_or_stacks_of_them(tmp_path):
    codes = np.array([[[0, 1, 0], [1, 2, 1]], [[0, 1, 0], [2, 2, 1]]])
    np.save(tmp_path / "stack.npy", codes)
    assert [each.values.tolist() for each in read_maps(tmp_path / "stack.npy")] == (codes - 1).tolist()
    np.savez(tmp_path / "two.npz", a=codes[0], b=codes[1].astype(float))
    assert [each.name for each in read_maps(tmp_path / "two.npz")] == ["two.npz:a", "two.npz:b"]
    np.save(tmp_path / "defects.npy", np.array([[0, 4], [np.nan, 1]]))
    found, = read_maps(tmp_path / "defects.npy", codes="defects")
    assert found.counted and found.values.tolist() == [[0, 4], [-1, 1]]


@pytest.mark.parametrize("array, codes, words", [
    (np.zeros(3), None, r"a matrix of numbers \[rows, columns\]"), (np.full((2, 2), 0.5), None, "holds 0.5"),
    (np.array([[1, 0, 2]]), None, "a 0 between other dies"), (np.array([[0, 1]]), None, "either way round"),
    (np.array([[0, 3]]), None, "unknown codes of dies 3"), (np.array([[0, -3]]), "defects", "-3 defects"),
    (np.array([[0, 3]]), "fail", "unknown codes of dies 3"), (np.array([["a"]]), None, "a matrix of numbers"),
    (np.array([[None]], object), None, "pickled objects, which are never loaded"),
    (np.zeros((0, 2)), None, "a matrix")])
def test_arrays_that_are_no_maps_are_refused(tmp_path, array, codes, words):
    np.save(tmp_path / "map.npy", array, allow_pickle=True)
    with pytest.raises(UsageError, match=words):
        read_maps(tmp_path / "map.npy", codes)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
       st.floats(0, 1))
def test_damaged_files_of_maps_are_read_or_refused(changes, part):
    from archfab.silicon.wafers.arrays import maps_in_npz
    from archfab.tasks.vision.wafers import files_of
    stream = io.BytesIO()
    np.savez(stream, flat=np.array([0, 1, 2, 1], np.uint8), shape=np.array([[2, 2]]), failureType=np.array(["Loc"]))
    data = bytearray(stream.getvalue())
    for where, value in changes:
        data[int(where * len(data))] = value
    data = data[:int(part * len(data))] if part < 0.5 else data
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.npz"
        path.write_bytes(data)
        files_of(path)
        with suppress(UsageError):
            maps_in_npz(path)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="01259,;. \n\tPFxy-\"passdefects#eE+", max_size=60))
def test_any_text_is_read_or_refused(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.csv"
        path.write_text(text)
        try:
            found = read_maps(path)
        except UsageError as error:
            assert str(error)
        else:
            assert all(wafer.dies.any() and wafer.values.min() >= -1 for wafer in found)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_to_a_klarf_is_read_or_refused(data):
    place = data.draw(st.integers(0, len(KLARF) - 1))
    text = KLARF[:place] + data.draw(st.text(alphabet=" ;\"\n019ae.-", max_size=3)) + \
        KLARF[place + data.draw(st.integers(0, 8)):]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.001"
        path.write_text(text)
        try:
            assert read_maps(path)
        except UsageError as error:
            assert str(error)


def test_edges_are_rings_of_dies_or_of_mm():
    dies = disk(9)
    wafer = WaferMap("w", np.where(dies, 0, -1), die_mm=(10.0, 10.0), wafer_mm=110.0)
    ring = edge(wafer, 1)
    assert ring[4, 0] and not ring[4, 1] and not ring[~dies].any()
    assert (rings(dies, 9)[4] == [0, 1, 2, 3, 4, 3, 2, 1, 0]).all()
    far = np.hypot(*((abs(np.indices((9, 9)) - 4) + 0.5) * 10))
    assert (edge(wafer, mm=7.0) == (dies & (far > 48.0))).all() and edge(wafer, mm=7.0).any()
    assert not edge(wafer).any()
    with pytest.raises(UsageError, match="an edge in mm needs the sizes of die and wafer; add --die-mm WxH"):
        edge(WaferMap("w", wafer.values), mm=3.0)
    with pytest.raises(UsageError, match="no die is left inside an edge of 9 rings"):
        edge(wafer, 9)


def test_tiles_and_windows_cover_every_die():
    rng = np.random.default_rng(3)
    wafer = WaferMap("w", rng.integers(-1, 2, (7, 10)))
    dies, bad = tiles(wafer, 2, 4)
    assert dies.shape == (4, 3) and dies.sum() == wafer.dies.sum() and bad.sum() == wafer.failing.sum()
    windows = [wafer.values[i:i + 2, j:j + 2] for i in range(6) for j in range(9)]
    whole = [each for each in windows if (each >= 0).all()]
    assert window_passes(wafer, 2, 2) == (len(whole), sum((each == 0).all() for each in whole))
    assert window_passes(wafer, 8, 1) == (0, 0)


def test_wafers_are_chosen_by_number_name_and_label():
    wafers = [WaferMap(f"W{i}", np.zeros((1, 1), np.int64), label="odd" if i % 2 else "even") for i in range(6)]
    assert [each.name for each in chosen(wafers, "0:2,W4,5", None)] == ["W0", "W1", "W4", "W5"]
    assert [each.name for each in chosen(wafers, "1:", "odd")] == ["W3", "W5"]
    for asked, label, words in (("9", None, "no wafer '9' among 6"), ("W9", None, "no wafer 'W9'"),
                                ("5:2", None, "5:2"),
                                (None, "none", "no wafer is labelled 'none'; labels here: even, odd")):
        with pytest.raises(UsageError, match=words):
            chosen(wafers, asked, label)


@pytest.mark.slow
@pytest.mark.shared
def test_the_labelled_subset_is_read_as_wafers(shared_data):
    found = read_maps(shared_data / "wm811k-subset" / "test.npz")
    assert len(found) == 12450 and found[0].label and not found[0].counted
