"""Series from files: every layout gives the same series, and what is wrong is said with its row."""

import gzip
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archfab.core import UsageError
from archfab.tasks.forecasting.data import Columns, read_series
from archfab.tasks.forecasting.series import Origins, Series, check, check_windows
from archfab.tasks.forecasting.splits import Splits, until
from archfab.tasks.forecasting.splits import test_part as part_of_test

WIDE = "id,V1,V2,V3,V4\na,1,2,,4\nb,5,6,7,\n"
LONG = ("unique_id,ds,y\nb,3,7\na,1,1\na,2,2\na,4,4\nb,1,5\nb,2,6\na,3,NA\n")
COLUMNS = "date,a,b\n2024-01-01,1,5\n2024-01-02,2,6\n2024-01-04,4,\n2024-01-03,,7\n"


def read(tmp_path, text, name="x.csv", group=None, **columns):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return read_series(str(path), group, Columns(**columns))


def plain(series):
    return {name: [None if math.isnan(x) else x for x in values] for name, values in
            zip(series.names, series.values, strict=True)}


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
@pytest.mark.parametrize("text, last", [(WIDE, []), (LONG, []), (COLUMNS, [None])])
def test_three_layouts_give_the_same_series(tmp_path, text, last, name):
    """Rows in any order; a series that ends early has a missing value at its end where time says so."""
    assert plain(read(tmp_path, text, name)) == {"a": [1, 2, None, 4], "b": [5, 6, 7, *last]}


def test_parquet_gives_the_same_series(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"unique_id": ["a", "a", "b", "b"], "y": [1.0, math.nan, 3.0, 4.5],
                              "ds": pandas.to_datetime(["2024-01-01", "2024-01-02"] * 2)})
    frame.to_parquet(tmp_path / "x.parquet")
    assert plain(read_series(str(tmp_path / "x.parquet"), None, Columns())) == {"a": [1, None], "b": [3, 4.5]}


def test_columns_of_a_long_file_are_named(tmp_path):
    text = "shop,day,sold\nx,2,20\nx,1,10\ny,1,1\n"
    assert plain(read(tmp_path, text, series="shop", time="day", value="sold")) == {"x": [10, 20], "y": [1]}


def test_steps_without_a_row_count_as_missing_where_that_is_asked(tmp_path):
    text = "ds,y\n2024-01-01,1\n2024-01-02,2\n2024-01-05,5\n"
    assert plain(read(tmp_path, text)) == {"y": [1, 2, 5]}
    assert plain(read(tmp_path, text, gaps="fill")) == {"y": [1, 2, None, None, 5]}
    with pytest.raises(UsageError, match="no multiples of one step"):
        read(tmp_path, "ds,y\n1,1\n2,2\n3.5,5\n", gaps="fill")
    assert plain(read(tmp_path, "ds,y\n0.1,1\n0.2,2\n0.4,5\n", gaps="fill")) == {"y": [1, 2, None, 5]}


@pytest.mark.parametrize("times", [("2024-01", "2024-02", "2024-04"), ("2024-01-01", "2024-02-01", "2024-04-01"),
                                   ("2024-01-31", "2024-02-29", "2024-04-30"), ("2020-07", "2021-07", "2023-07")])
def test_months_and_years_are_steps(tmp_path, times):
    rows = "".join(f"{time},{value}\n" for time, value in zip(times, (1, 2, 4), strict=True))
    assert plain(read(tmp_path, "ds,y\n" + rows, gaps="fill")) == {"y": [1, 2, None, 4]}
    assert plain(read(tmp_path, "month,shop\n" + rows, gaps="fill")) == {"shop": [1, 2, None, 4]}


def test_a_folder_has_groups_and_test_parts(tmp_path):
    for name, text in (("Hourly-train.csv", WIDE), ("Hourly-test.csv", "id,V1\nb,8\na,9\n"), ("Daily-train.csv", WIDE)):
        (tmp_path / name).write_text(text)
    found = read_series(str(tmp_path), "Hourly", Columns())
    assert found.group == "Hourly" and [list(each) for each in found.test] == [[9], [8]]
    assert read_series(str(tmp_path), "Daily", Columns()).test is None
    with pytest.raises(UsageError, match=r"several groups of series \(Daily, Hourly\); choose one: --series"):
        read_series(str(tmp_path), None, Columns())
    with pytest.raises(UsageError, match=r"no group of series named 'Hourli'.*did you mean 'Hourly'"):
        read_series(str(tmp_path), "Hourli", Columns())
    (tmp_path / "Hourly-test.csv").write_text("id,V1\nb,8\n")
    with pytest.raises(UsageError, match="lacks series 'a'"):
        read_series(str(tmp_path), "Hourly", Columns())


@pytest.mark.parametrize("text, says", [
    ("id,V1,V2\na,1,2\nb,inf,3\n", "row 3, column 'V1': 'inf' is no finite number"),
    ("id,V1,V2\na,1,2x\n", "row 2, column 'V2': '2x' is no finite number"),
    ("id,V1,V2\na,1,1_0\n", "row 2, column 'V2': '1_0' is no finite number"),
    ("id,V1\na,1\na,2\n", "two series are named 'a'"),
    ("id,V1,V2\na,1\n", "row 2: 2 cells where the header names 3"),
    ("id,V1\n", "no row below its header"),
    ("", "is empty"),
    ("id;V1;V2\na;1;2\n", "row 1: 'id;V1;V2' has no comma, but semicolons"),
    ("ds;y\n2024-01-01;1,5\n", "row 1: 'ds;y' has no comma, but semicolons"),
    ("id\tV1\na\t1\n", "has no comma, but tabs"),
    ("sales\n1\n2\n", "has one column ('sales')"),
    ("id,V1\n,1\n", "row 2: this series has no name"),
    ("unique_id,ds,y\na,1,1\n,1,1\n", "rows from 3: this series has no name"),
    ("ds,y\n2024-01-01,1\n2024-01-01,2\n", "row 3, column 'ds': the time '2024-01-01' of series 'y' stands in row 2"),
    ("unique_id,ds,y\na,1,1\nb,1,1\na,1,3\n", "row 4, column 'ds': the time '1' of series 'a' stands in row 2"),
    ("ds,y\nyesterday,1\n", "row 2, column 'ds': 'yesterday' is no time"),
    ("ds,y\nnan,1\n", "row 2, column 'ds': 'nan' is no time"),
    ("date,a\n2024-01-01,Infinity\n", "row 2, column 'a': 'Infinity' is no finite number"),
])
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, says):
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    assert says in str(error.value)


def test_files_that_are_no_tables_are_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        read_series(str(tmp_path / "absent.csv"), None, Columns())
    (tmp_path / "x.txt").write_text("1")
    with pytest.raises(UsageError, match="is no table"):
        read_series(str(tmp_path / "x.txt"), None, Columns())
    with pytest.raises(UsageError, match="no file named GROUP-train"):
        read_series(str(tmp_path), None, Columns())
    (tmp_path / "x.csv.gz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(UsageError, match="cannot be read"):
        read_series(str(tmp_path / "x.csv.gz"), None, Columns())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode) | st.lists(
    st.lists(st.sampled_from(["1", "-2.5", "", "nan", "inf", "x", "2024-01-01", "ds", "y", "1e400"]), min_size=1,
             max_size=4), min_size=1, max_size=5).map(lambda rows: "\n".join(map(",".join, rows)).encode()))
def test_any_bytes_give_finite_series_or_a_reason(tmp_path, data):
    (tmp_path / "any.csv").write_bytes(data)
    try:
        found = read_series(str(tmp_path / "any.csv"), None, Columns())
    except UsageError as error:
        assert str(error)
        return
    assert found.names and len(found.names) == len(found.values)
    assert not any(np.isinf(values).any() for values in found.values)


def made(*values, test=None):
    return Series(tuple(f"s{i}" for i in range(len(values))), tuple(np.array(v, float) for v in values), "memory",
                  test)


@pytest.mark.parametrize("values, says", [
    ([1, 2, 3, 4, 5, 6], "has 6 values, of which 6 are left to learn from"),
    ([math.nan] * 20, "has no value at all"),
    ([7] * 20, r"is constant \(7\)"),
    ([1, 2] * 10, "repeats itself exactly each season"),
    ([1e9, 1e9 + 1, 1e9 + 1, 1e9 + 2] * 5, "which float32 cannot tell apart; take its level off"),
    ([1, math.nan, math.nan, 2, math.nan, math.nan] * 4, "no two known values one season apart"),
])
def test_series_that_cannot_be_learned_from_are_named(values, says):
    good = list(np.random.default_rng(0).normal(size=20))
    series = made(good, values)
    check(made(good), made(good).values, horizon=3, season=2, shortest=6)
    with pytest.raises(UsageError, match="series 's1'.*" + says):
        check(series, series.values, horizon=3, season=2, shortest=6)


def test_values_that_are_too_large_are_named():
    values = np.random.default_rng(0).normal(size=40)
    values[37] = -1e31
    with pytest.raises(UsageError, match=r"'s0', step 38: -1e\+31 is beyond 1e\+30"):      # in the test part
        Splits(made(values), 3, 1, 6, 9, 30, origins=1)


def test_a_series_that_gives_no_training_window_is_refused():
    """Its one known value of late stands at the end of what may be learned from."""
    good = np.random.default_rng(0).normal(size=100)
    late = good.copy()
    late[40:91] = math.nan
    Splits(made(good, late), 4, 1, 8, 8, 60, origins=1)
    with pytest.raises(UsageError, match=r"'s1': in the last 12 values of the part to learn from, no point in time"):
        Splits(made(good, late), 4, 1, 8, 8, 12, origins=1)


def test_origins_without_anything_known_are_refused():
    values = np.arange(20.0)
    values[12:16] = math.nan
    series = made(values)
    check_windows(series, series.values, [3], 3, 4, "validation")
    with pytest.raises(UsageError, match="all 4 values before its validation origin at step 16 are missing"):
        check_windows(series, series.values, [4], 4, 4, "validation")
    with pytest.raises(UsageError, match="all 4 values to be forecast from its test origin at step 12 are missing"):
        check_windows(series, series.values, [8], 4, 6, "test")


def test_rolling_origins_and_the_test_part():
    """Three origins, two steps apart: the last one has a horizon of 4 known values after it."""
    origins = Origins(3, 2)
    assert origins.back(4) == [8, 6, 4] and origins.length(4) == 8
    assert [len(each) for each in until([np.arange(20), np.arange(9)], 8)] == [12, 1]
    assert part_of_test(made(range(20)), 4, 3, 2) == origins
    assert part_of_test(made(range(20), test=(np.arange(9.0),)), 4, 1, 2).back(4) == [9, 7, 5]


def test_what_is_forecast_is_never_learned_from():
    """From 100 values: 2 test origins and 3 validation origins, 5 steps apart, of a horizon of 10."""
    values = np.random.default_rng(0).normal(size=100)
    splits = Splits(made(values), 10, 1, 20, 30, 60, origins=3, test_origins=2, stride=5)
    assert [len(part[0]) for part in (splits.train, splits.usable, splits.full)] == [65, 85, 100]
    validation, test = splits.windows["validation"], splits.windows["test"]
    assert list(validation.origins) == [65, 70, 75] and list(test.origins) == [85, 90]
    for window in (validation, test):
        for i, at in enumerate(window.origins):
            assert np.array_equal(window.inputs[i], values[at - 30:at])
            assert np.array_equal(window.truth[i], values[at:at + 10])
