"""Grid tables: our own few, CodeCarbon's files without importing it, the user's CSV, and what is wrong with one."""

import contextlib
import csv
import gzip
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.core import UsageError
from archfab.silicon.carbon import codecarbon
from archfab.silicon.carbon.estimate import UNKNOWN, core_of
from archfab.silicon.carbon.grids import Grid, bundled, grid_of, grid_table, packaged, read_csv

# CodeCarbon, 2023: reference page silicon.md
FIGURES = {"FRA": 56.0, "USA": 369.5, "DEU": 381.0, "GBR": 237.6, "SWE": 40.7, "CHN": 582.3, "IND": 713.4, "TWN": 642.4}


@pytest.fixture
def absent(monkeypatch):
    monkeypatch.setattr("archfab.silicon.carbon.grids.installed", lambda: False)


@pytest.fixture
def package(shared_data, tmp_path, monkeypatch):
    """An installed codecarbon, as far as its data files go: importing it would raise."""
    data = tmp_path / "codecarbon" / "data"
    (tmp_path / "codecarbon-3.3.2.dist-info").mkdir()
    (tmp_path / "codecarbon-3.3.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: "
                                                                      "codecarbon\nVersion: 3.3.2\n")
    for folder in ("private_infra/2023", "hardware", "cloud"):
        (data / folder).mkdir(parents=True)
    (tmp_path / "codecarbon" / "__init__.py").write_text("raise SystemExit('imported, and phones home')")
    for source, target in (("global_energy_mix.json", "private_infra/global_energy_mix.json"),
                           ("carbon_intensity_per_source.json", "private_infra/carbon_intensity_per_source.json"),
                           ("cpu_power.csv", "hardware/cpu_power.csv"), ("cloud_impact.csv", "cloud/impact.csv")):
        (data / target).write_bytes(gzip.decompress((shared_data / "codecarbon-tables" / f"{source}.gz").read_bytes()))
    (data / "private_infra/2023/usa_emissions.json").write_text(json.dumps(
        {"_unit": {"emissions": "lbs/MWh", "regionCode": "code"}, "_source": {"year": 2023},
         "california": {"emissions": 394.769, "regionCode": "CA"}}))
    (data / "private_infra/2023/canada_energy_mix.json").write_text(json.dumps(
        {"quebec": {"hydro": 90.0, "wind": 10.0, "naturalGas": 0.0, "nuclear": 0.0, "petroleum": 0.0, "coal": 0.0,
                    "solar": 0.0},
         "elsewhere": {"hydro": 50.0, "wind": 0.0, "naturalGas": 0.0, "nuclear": 0.0, "petroleum": 0.0, "coal": 0.0,
                       "solar": 0.0, "other": 50.0}}))
    monkeypatch.syspath_prepend(str(tmp_path))
    for cached in (packaged, codecarbon.tdp_table):
        cached.cache_clear()
    yield data
    for cached in (packaged, codecarbon.tdp_table):
        cached.cache_clear()


@pytest.mark.parametrize("place", FIGURES)
def test_our_own_table_has_the_reference_figures(place, absent):
    found = grid_table().find(place)
    assert found.g_kwh == pytest.approx(FIGURES[place]) and found.year == 2023 and "CodeCarbon" in found.source
    assert found.low < found.g_kwh < found.high


def test_the_world_is_475_and_a_number_is_a_grid(absent):
    assert grid_of("World").g_kwh == 475 == grid_of("world").g_kwh
    assert grid_of("120").g_kwh == 120 == grid_of(120).high and grid_of(120).spread == 0
    with pytest.raises(UsageError, match="did you mean 'Sweden'"):
        grid_of("Swedn")
    with pytest.raises(UsageError, match="in 2023, not in 2019"):
        grid_of("FRA", 2019)
    for bad in ("-1", "5000", "nan"):
        with pytest.raises(UsageError, match="not possible"):
            grid_of(bad)


@pytest.mark.shared
def test_codecarbons_files_are_read_and_the_package_is_not_imported(package):
    table = grid_table()
    assert table.source == "codecarbon 3.3.2" and len(table.places()) > 240
    for place, value in FIGURES.items():
        assert table.find(place, 2023).g_kwh == pytest.approx(value, abs=0.0501)
    assert table.find("France") == table.find("FRA")
    assert table.find("USA/california").g_kwh == pytest.approx(394.769 * 0.45359237, abs=1e-6)
    assert table.find("CAN/quebec").g_kwh == pytest.approx(0.9 * 26 + 0.1 * 26)
    assert "CAN/elsewhere" not in table.places()            # half of it has no figure
    assert table.find("gcp/us-central1").g_kwh > 0 and table.find("WORLD").g_kwh == 475
    assert "codecarbon" not in sys.modules


@pytest.mark.shared
def test_the_power_of_a_core_is_looked_up_by_name_and_not_on_a_virtual_machine(package):
    socket = "model name : Intel(R) Xeon(R) CPU E5-2620 v3 @ 2.40GHz\nphysical id : {}\ncpu cores : 6\nflags : fpu\n"
    two = core_of(cpuinfo=socket.format(0) + socket.format(1))
    assert two.watts == pytest.approx(85 / 6) and two.most_w == 170 and "E5-2620 v3" in two.how
    guest = core_of(cpuinfo=socket.format(0).replace("fpu", "fpu hypervisor"))
    assert guest.watts == 12 and guest.spread == UNKNOWN and "virtual machine" in guest.how
    assert core_of(cpuinfo="model name : AMD EPYC 7763 64-Core Processor\nphysical id : 0\ncpu cores : 64\n").watts == \
        pytest.approx(280 / 64)
    assert core_of(cpuinfo="model name : Mystery 1\ncpu cores : 4\n").watts == 12


@pytest.mark.shared
def test_a_version_without_the_file_is_refused_with_advice(package):
    (package / "private_infra/global_energy_mix.json").unlink()
    packaged.cache_clear()
    with pytest.raises(UsageError, match=r"no readable private_infra/global_energy_mix\.json"):
        grid_table()


@pytest.mark.shared
def test_electricitymaps_yearly_averages_are_understood(shared_data):
    path = shared_data / "mlco2-impact" / "2021-10-27yearly_averages.csv"
    table = read_csv(path)
    with path.open(newline="") as file:
        assert len(table.grids) == sum(row["carbon_intensity_avg"] != "" for row in csv.DictReader(file)) == 619
    found = table.find("AUS-NSW", 2018)
    assert found.g_kwh == pytest.approx(717.2494175763907) and found.name == "New South Wales"
    assert table.find("New South Wales").year == max(grid.year for grid in table.grids if grid.place == "AUS-NSW")


def test_a_users_csv_with_regions_years_intervals_and_residual_mix(tmp_path):
    (tmp_path / "g.csv").write_text("""place,name,region,year,g_kwh,low,high,residual_g_kwh,source
CHE,Switzerland,,2023,35,30,42,,me
CHE,Switzerland,,2022,40,,,,
CHE,Ticino,ticino,2023,12,,,300,

""")
    table = read_csv(tmp_path / "g.csv")
    newest = table.find("che")
    assert (newest.g_kwh, newest.low, newest.high, newest.year, newest.source) == (35, 30, 42, 2023, "me")
    assert newest.spread == pytest.approx(6 / 35) and table.find("CHE", 2022).spread == pytest.approx(0.2)
    assert table.find("CHE/ticino").residual_g_kwh == 300 and table.find("Ticino").source == "g.csv"


@pytest.mark.parametrize("text, message", [
    ("", "no column g_kwh and no column place"), ("place,co2\nFRA,56", "no column g_kwh; it has place, co2"),
    ("place,g_kwh\nFRA,abc", "line 2: g_kwh is 'abc'"), ("place,g_kwh\nFRA,-5", "not possible"),
    ("place,g_kwh\nFRA,0.056\nDEU,0.381", "multiply them by 1,000"), ("place,g_kwh\nFRA,56000", "g per MWh"),
    ("place,g_kwh\nFRA,56\nfra,57", "twice: 56 and 57"), ("place,g_kwh,low\nFRA,56,50", "low and high come together"),
    ("place,g_kwh,low,high\nFRA,56,60,70", "not between"),
    ("place,g_kwh,low,high\nFRA,0,0,7", "give its mean"), ("place,g_kwh,year\nFRA,56,12", "is no year"),
    ("place,g_kwh\n,56", "place is empty"), ("place,g_kwh\nFRA,", "no line with a figure"),
    ("place,g_kwh\nFRA,nan", "no number")])
def test_a_table_with_a_fault_says_where(text, message, tmp_path):
    (tmp_path / "g.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_csv(tmp_path / "g.csv")


def test_a_table_that_is_no_text_or_not_there_is_refused(tmp_path):
    (tmp_path / "g.csv").write_bytes(b"\xff\xfe\x00place")
    for name in ("g.csv", "nowhere.csv"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_csv(tmp_path / name)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("grid") / "g.csv"


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_table_or_a_usage_error(path, text):
    path.write_text("place,g_kwh,year\n" + text, encoding="utf-8", errors="replace", newline="")
    with contextlib.suppress(UsageError):
        assert all(0 <= grid.g_kwh <= 2500 for grid in read_csv(path).grids)


def test_a_name_of_two_grids_is_asked_about(tmp_path):
    (tmp_path / "g.csv").write_text("place,name,g_kwh\nUS-GA,Georgia,400\nGEO,Georgia,120\n")
    with pytest.raises(UsageError, match="name of 2 grids: US-GA, GEO"):
        read_csv(tmp_path / "g.csv").find("georgia")
    assert read_csv(tmp_path / "g.csv").find("geo").g_kwh == 120


def test_bundled_places_are_unique_and_exact_figures_stay_so():
    assert len(bundled().places()) == len(bundled().grids) == 9
    assert Grid.given(30).low == 30 == Grid.given(30).high
    assert Grid.about(30, "x", "y").spread == pytest.approx(0.2)


def test_the_package_is_never_imported_by_the_words():
    code = "import sys\nfrom archfab.cli import main\nmain(['silicon', 'grid', 'FRA'])\n" \
        "assert 'codecarbon' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
