"""A new device from ten measurements: what networks buy, the posterior against brute force, reading, bad input."""

import csv
import gzip
import itertools
import json
import math
import random
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab import registry
from archfab.core import BuildError, UsageError
from archfab.device.add import add
from archfab.device.choose import following, predicted
from archfab.device.command import remove
from archfab.device.networks import Naming
from archfab.evaluate import load_device
from archfab.hardware.models.learned import LearnedDevice
from archfab.hardware.onboarding import posterior as posteriors
from archfab.hardware.onboarding import rehearsal as rehearsals
from archfab.hardware.onboarding import spaces
from archfab.hardware.onboarding.choosing import NOISE, chosen
from archfab.hardware.onboarding.files import toml
from archfab.hardware.onboarding.knowledge import bundled, read_knowledge
from archfab.hardware.onboarding.learning import OFF, WORTH, learned, left_out, studied
from archfab.hardware.onboarding.measurements import read_measurements
from archfab.hardware.onboarding.posterior import Prior, learn, split, without_each
from archfab.hardware.onboarding.references import above_zero, references, rooflines, usual
from archfab.hardware.onboarding.rehearsal import rehearse, spearman
from archfab.hardware.onboarding.setting import family, setting_of
from archfab.hardware.onboarding.terms import PLACE, TERMS, bill
from archfab.hardware.workload import record, record_genotype
from archfab.space import Space
from archfab.tables.mapping import SHIPPED

NEW = "titanx"          # the device that the knowledge of these tests lacks


@pytest.fixture(autouse=True)
def own_devices(tmp_path, monkeypatch):
    """The user's devices of a test."""
    monkeypatch.setenv("ARCHFAB_DEVICES", str(tmp_path / "devices"))
    return tmp_path / "devices"


@pytest.fixture(scope="session")
def cells():
    """The bundled cells as rows."""
    with gzip.open(spaces.BUNDLED / "nb201_latency_ms.csv.gz", "rt") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def knowledge(cells, tmp_path_factory):
    """A folder with the bundled cells on all devices but one."""
    folder = tmp_path_factory.mktemp("knowledge")
    names = [name for name in cells[0] if family(name) != NEW]
    write(folder / "nb201_latency_ms.csv", names, [[row[name] for name in names] for row in cells])
    return folder


@pytest.fixture(scope="session")
def ten(knowledge, cells, tmp_path_factory):
    """Ten chosen cells, as a file to fill in, filled in with what the new device takes."""
    file = tmp_path_factory.mktemp("ten") / "ten.csv"
    following([str(knowledge)], number=10, out=str(file))
    truth = {row["idx"]: row["titanx_32"] for row in cells}
    rows = list(csv.DictReader(file.open()))
    assert [*rows[0]] == ["idx", "latency_ms"] and {row["latency_ms"] for row in rows} == {""}
    return [(row["idx"], float(truth[row["idx"]])) for row in rows]


@pytest.fixture(scope="session")
def made(ten, knowledge, tmp_path_factory):
    """The new device, learned once: its files, and what there is to know of it."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHFAB_DEVICES", str(folder / "devices"))
        document = add("mine", measured(folder / "ten.csv", ten), [str(knowledge)])
    return folder / "devices", document


@pytest.fixture
def mine(made, own_devices):
    """A copy of it among the test's devices."""
    shutil.copytree(made[0], own_devices)
    return made[1]


def write(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def measured(path, rows, header=("idx", "latency_ms")):
    return write(path, header, rows)


def calibration():
    return registry.user_file(spaces.Path(__file__).parents[1] / "benchmarks/calibration.py")


# --- what networks buy

def test_the_bill_of_a_network_by_hand():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
                              torch.nn.Flatten(), torch.nn.Linear(256, 5, bias=False))
    amounts, unknown = bill(record(net, (torch.rand(1, 3, 8, 8),)))
    bought = {term: amounts[PLACE[term]] for term in TERMS if amounts[PLACE[term]]}
    assert not unknown
    assert bought == pytest.approx({
        "start": 1, "conv launches": 1, "conv gmacs": 4 * 27 * 64 / 1e9, "conv melements": (192 + 256 + 108) / 1e6,
        "linear launches": 1, "linear gmacs": 1280 / 1e9, "linear melements": (256 + 5 + 1280) / 1e6})


def test_operators_that_no_term_covers_are_named_and_not_free():
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.linalg.inv(x)

    amounts, unknown = bill(record(Odd(), (torch.eye(8)[None],)))
    assert unknown and amounts[PLACE["elementwise launches"]] >= 1


def test_cells_buy_what_is_recorded():
    module = calibration()
    space, image = Space(module.nasbench201()), (torch.empty(1, 3, 32, 32),)
    exact = [PLACE[term] for term in TERMS if not term.startswith(("elementwise", "norm"))]
    ops = spaces.cells()
    whole = np.flatnonzero((spaces.only(ops, "alive") == ops).all(1) & (ops > 0).any(1))
    for index in random.Random(3).sample(whole.tolist(), 4):
        decisions = {f"cell.{i}-{j}": module.OPERATIONS[o] for (i, j), o in zip(module.EDGES, ops[index], strict=True)}
        true = np.array(bill(record_genotype(space, decisions, image))[0])
        networks, dead = spaces.nb201([{"idx": str(index)}])
        assert not dead.any()
        for at in range(3):
            assert networks.bills[at, 0, exact] == pytest.approx(true[exact], rel=1e-6, abs=1e-9)
            assert networks.bills[at, 0].sum() == pytest.approx(true.sum(), rel=0.1)


def test_blocks_of_the_other_spaces_buy_what_is_recorded():
    module, rng = calibration(), random.Random(4)
    ops = [rng.randrange(9) for _ in range(22)]
    true = bill(module.recorded(module.fbnet(ops), 3, 32, 32))[0]
    found, _ = spaces.fbnet([{"ops": " ".join(map(str, ops))}])
    assert found.bills[0, 0] == pytest.approx(np.array(true), rel=1e-6, abs=1e-9)
    ks, e, d = rng.choices((3, 5, 7), k=20), rng.choices((3, 4, 6), k=20), rng.choices((2, 3, 4), k=5)
    true = np.array(bill(module.recorded(module.once_for_all(ks, e, d), 3, 160, 160))[0])
    found, _ = spaces.ofa([{"ks": " ".join(map(str, ks)), "e": " ".join(map(str, e)), "d": " ".join(map(str, d)),
                            "r": "160"}])
    assert found.bills[0, 0] == pytest.approx(true, rel=0.06, abs=1e-6)       # between three recorded sides


def test_what_a_runtime_leaves_out_is_found_by_walking_every_path():
    ops = spaces.cells()[random.Random(5).sample(range(15_625), 300)]
    edges = list(zip(spaces.CELL_SOURCE.tolist(), spaces.CELL_TARGET.tolist(), strict=True))
    for row, needed, alive in zip(ops, spaces.only(ops, "needed"), spaces.only(ops, "alive"), strict=True):
        paths = [path for length in range(1, 4) for path in itertools.permutations(range(6), length)
                 if all(row[e] for e in path)
                 and all(edges[a][1] == edges[b][0] for a, b in itertools.pairwise(path))]
        to_output = {e for path in paths if edges[path[-1]][1] == 3 for e in path}
        through = {e for path in paths if edges[path[0]][0] == 0 and edges[path[-1]][1] == 3 for e in path}
        assert {e for e in range(6) if needed[e]} == to_output
        assert {e for e in range(6) if alive[e]} == through


def test_the_index_of_cells_is_that_of_the_shipped_mapping():
    assert (SHIPPED / "nasbench201.toml").exists()
    assert len({tuple(row) for row in spaces.cells().tolist()}) == 15_625


@pytest.mark.shared
def test_the_index_of_cells_is_the_official_one(shared_data):
    with gzip.open(shared_data / "nasbench201/archs.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    official = [[int(row[f"e{edge}"]) for edge in ("01", "02", "12", "03", "13", "23")] for row in rows]
    assert spaces.cells().tolist() == official
    from archfab.hardware.onboarding.subjects import index_of
    for row in random.Random(1).sample(rows, 20):
        assert index_of(row["arch_str"]) == row["idx"]


# --- the posterior

def made_up(rng, columns=9, measured=7):
    prior = Prior(rng.uniform(0.5, 1.5, columns), rng.normal(size=(columns, 3)) * 0.2, rng.uniform(0, 1, columns),
                  rng.uniform(0, 1, columns))
    return prior, rng.uniform(0, 1, (measured, columns)), rng.uniform(1, 9, measured)


def test_with_one_point_of_the_grid_the_posterior_is_the_textbooks(monkeypatch):
    for name, value in (("ALONG", (0.7,)), ("OWN", (2.0,)), ("NOISES", (0.05,)), ("JITTER", 0.0), ("SMALL", 0.0)):
        monkeypatch.setattr(posteriors, name, value)
    prior, x, y = made_up(np.random.default_rng(0))
    found = learn(prior, x, y, step=0.5)
    scale = np.exp(np.median(np.log(y / prior.usual(x))))
    covariance = posteriors.LEVEL * np.outer(prior.mean, prior.mean) + 0.7 * prior.directions @ prior.directions.T + \
        2.0 * np.diag(posteriors.USUAL_OWN[0] * prior.terms**2 + posteriors.USUAL_OWN[1] * prior.codes**2)
    noise = np.diag((0.05 * prior.usual(x)) ** 2 + (0.5 / scale) ** 2 / 12)
    gain = covariance @ x.T @ np.linalg.inv(x @ covariance @ x.T + noise)
    mean = prior.mean + gain @ (y / scale - x @ prior.mean)
    after = covariance - gain @ x @ covariance
    test = np.random.default_rng(1).uniform(0, 1, (20, 9))
    assert found.mean == pytest.approx(mean * scale)
    assert found.deviations(test, measured=False) == pytest.approx(scale * np.sqrt(np.diag(test @ after @ test.T)))


def test_the_grid_is_averaged_with_its_weights(monkeypatch):
    prior, x, y = made_up(np.random.default_rng(2))
    whole, logs, parts = learn(prior, x, y), [], []
    for along, own, noise in itertools.product(posteriors.ALONG, posteriors.OWN, posteriors.NOISES):
        with monkeypatch.context() as patch:
            for name, value in (("ALONG", (along,)), ("OWN", (own,)), ("NOISES", (noise,))):
                patch.setattr(posteriors, name, value)
            parts.append(learn(prior, x, y))
            logs.append(parts[-1].evidence)
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    test = np.random.default_rng(3).uniform(0, 1, (20, 9))
    values = np.stack([test @ part.mean for part in parts])
    squares = np.stack([part.deviations(test, measured=False) ** 2 for part in parts]) + values**2
    assert test @ whole.mean == pytest.approx(weights @ values)
    assert whole.deviations(test, measured=False) ** 2 == pytest.approx(weights @ squares - (weights @ values) ** 2)
    assert whole.evidence == pytest.approx(max(logs) + math.log(np.exp(np.array(logs) - max(logs)).sum()))


def test_each_left_out_is_the_posterior_of_the_others(monkeypatch):
    prior, x, y = made_up(np.random.default_rng(10))
    monkeypatch.setattr(Prior, "usual", lambda self, x: np.ones(len(x)))       # so that the scale is that of all
    y = np.array([1, 2, 2, 2, 2, 2, 3.0])
    trust = np.array([1, 1, 1, 0.01, 1, 1, 1.0])
    values, deviations, evidence = without_each(prior, x, y, 0.3, trust)
    for i in range(1, 6):       # whose absence leaves the median as it is
        others = np.arange(7) != i
        alone = learn(prior, x[others], y[others], 0.3, trust[others])
        spread = math.sqrt(alone.deviations(x[[i]], measured=False)[0] ** 2 + alone.step**2 / 12
                           + (2 * alone.noise) ** 2 + posteriors.JITTER * 4)
        assert values[i] == pytest.approx(x[i] @ alone.mean)
        assert deviations[i] == pytest.approx(spread)
        assert evidence[i] == pytest.approx(alone.evidence)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_another_unit_is_another_unit_and_nothing_else(factor):
    prior, x, y = made_up(np.random.default_rng(4))
    one, other = learn(prior, x, y), learn(prior, x, y * factor)
    assert other.mean == pytest.approx(one.mean * factor)
    assert other.deviations(x) == pytest.approx(one.deviations(x) * factor)


def test_more_measurements_leave_less_unknown_and_doubt_leaves_more():
    prior, x, y = made_up(np.random.default_rng(5), measured=12)
    y = x @ prior.mean * 3
    few, many = learn(prior, x[:4], y[:4]), learn(prior, x, y)
    assert (many.deviations(x, measured=False) < few.deviations(x, measured=False)).all()
    assert many.values(x) == pytest.approx(y, rel=0.02)
    rounded = learn(prior, x, y, step=0.5)
    assert rounded.deviations(x) ** 2 - rounded.deviations(x, measured=False) ** 2 == pytest.approx(
        (rounded.noise * rounded.values(x)) ** 2 + 0.25 / 12)
    wrong = y.copy()
    wrong[3] *= 5
    trusting, doubting = learn(prior, x, wrong), learn(prior, x, wrong, trust=np.where(np.arange(12) == 3, 1e-4, 1))
    assert abs(doubting.values(x) / y - 1).max() < 0.1 * abs(trusting.values(x) / y - 1).max()


def test_split_adds_and_takes_what_it_is_given():
    rng = np.random.default_rng(6)
    basis, middle = rng.normal(size=(12, 5)), rng.normal(size=(5, 5))
    middle = middle + middle.T
    more, less = split(basis, middle)
    assert more @ more.T - less @ less.T == pytest.approx(basis @ middle @ basis.T)


def test_prices_are_never_below_zero_and_least_squares_where_that_does_not_bind():
    rng = np.random.default_rng(7)
    design = rng.uniform(0, 1, (50, 6))
    truth = np.array([1, 2, 0.5, 3, -1, 1.0])      # the last two are codes: they may be negative
    assert above_zero(design.T @ design, design.T @ (design @ truth), 4) == pytest.approx(truth)
    bound = above_zero(design.T @ design, design.T @ (design @ np.array([1, -2, 0.5, 3, -1, 1.0])), 4)
    assert bound[:4].min() == 0 and bound[4] < 0


def test_the_first_to_be_measured_is_the_one_that_takes_most_variance():
    features = np.random.default_rng(8).normal(size=(15, 4))
    covariance = features @ features.T

    def left(row):
        column = covariance[:, row]
        return np.trace(covariance - np.outer(column, column) / (covariance[row, row] + NOISE))

    first = min(range(15), key=left)
    assert chosen(features, 3)[0] == first
    assert first not in chosen(features, 14, measured=[first]) and len(set(chosen(features, 14, [first]))) == 14
    assert chosen(features, 3, barred=[first])[0] != first


# --- known devices

def test_every_bundled_device_is_explained_by_its_price_list():
    tables = bundled()
    assert {table.space for table in tables} == {"nb201", "fbnet", "ofa"}
    known = references(tables)
    assert len(known) == 34
    for device in known:
        assert (device.prices >= 0).all()
        for table in tables:
            y = table.latencies.get(device.name)
            if y is None:
                continue
            there = ~np.isnan(y)
            at = spaces.RUNTIMES.index(device.runtime[table.space])
            found = device.latencies(table.networks.columns(at), table.space)
            assert spearman(found[there], y[there]) > 0.8
            assert 0.95 < np.median(found[there] / y[there]) < 1.05
    runtimes = {device.name: device.runtime.get("nb201") for device in known}
    assert runtimes["titanx_32"] == "all" and runtimes["raspi4"] == "needed" and runtimes["edgetpu"] == "alive"


def test_rooflines_are_price_lists_too():
    assert {"server-gpu", "cortex-m7"} <= {each.name for each in rooflines()}
    gpu = next(each for each in rooflines() if each.name == "server-gpu")
    numbers = registry.load("devices", "server-gpu")
    assert gpu.prices[PLACE["conv launches"]] == pytest.approx(numbers["overhead_us"]["value"] / 1000)
    assert gpu.prices[PLACE["conv gmacs"]] == pytest.approx(
        1000 / (numbers["peak_gmacs"]["value"] * numbers["utilisation"]["conv"]["value"]))
    assert gpu.prices[PLACE["conv melements"]] == pytest.approx(4 / numbers["bandwidth_gb_s"]["value"])
    assert (usual() > 0).all()


@pytest.mark.parametrize(("name", "expected"), [("1080ti_32", "1080ti"), ("raspi4 (cifar10)", "raspi4"),
                                                ("titan_xp_1", "titan_xp"), ("gold_6240", "gold_6240"),
                                                ("pixel2", "pixel2")])
def test_columns_of_one_device_are_one_family(name, expected):
    assert family(name) == expected


def test_rank_correlation_is_scipys():
    from scipy.stats import spearmanr
    rng = np.random.default_rng(9)
    a, b = rng.integers(0, 9, 80).astype(float), rng.normal(size=80)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b)[0])


# --- reading measurements

UNITS = {"ms": 1.0, "us": 1e-3, "s": 1e3}


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 40), st.decimals("0.001", "9999", places=3)), min_size=1, max_size=15),
       unit=st.sampled_from(sorted(UNITS)), as_json=st.booleans())
def test_what_is_written_is_read(rows, unit, as_json, tmp_path_factory):
    file = tmp_path_factory.mktemp("read") / ("m.json" if as_json else "m.csv")
    if as_json:
        file.write_text(json.dumps([{"idx": i, f"latency_{unit}": float(value)} for i, value in rows]))
    else:
        write(file, ["idx", f"latency_{unit}"], rows)
    found = read_measurements(file)
    values = {}
    for i, value in rows:
        values.setdefault(str(i), []).append(float(value) * UNITS[unit])
    assert [row["idx"] for row in found.rows] == list(values)
    assert found.latencies == pytest.approx([sum(each) / len(each) for each in values.values()])
    assert sum(found.repeats) == len(rows)
    whole = all(value == int(value) for _, value in rows)
    assert (found.step == pytest.approx(UNITS[unit])) == whole


@settings(max_examples=80, deadline=None)
@given(text=st.text(max_size=80))
def test_any_text_is_measurements_or_a_clear_error(text, tmp_path_factory):
    for name in ("m.csv", "m.json"):
        file = tmp_path_factory.mktemp("fuzz") / name
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            found = read_measurements(file)
        except UsageError as error:
            assert str(error)
        else:
            assert all(0 < value < math.inf for value in found.latencies)


FAULTS = {
    "no unit": (["idx", "latency"], [[1, 2]], "does not say its unit"),
    "two latencies": (["idx", "latency_ms", "latency_us"], [[1, 2, 3]], "2 latency columns"),
    "no latency": (["idx", "power"], [[1, 2]], "no latency column"),
    "no network": (["latency_ms"], [[2]], "does not say which networks"),
    "negative": (["idx", "latency_ms"], [[1, 2], [2, -3]], "row 3 .2.*-3 is no latency"),
    "zero": (["idx", "latency_ms"], [[1, 0]], "0 is no latency"),
    "nan": (["idx", "latency_ms"], [[1, "nan"]], "nan is no latency"),
    "a word": (["idx", "latency_ms"], [[1, "fast"]], "'fast' is no number"),
    "unknown unit": (["idx", "latency", "unit"], [[1, 2, "min"]], "unit is one of"),
    "twice a unit": (["idx", "latency_ms", "unit"], [[1, 2, "ms"]], "leave one out"),
    "ragged": (["idx", "latency_ms"], [[1]], "1 cells where the header names 2"),
    "empty": ([], [], "no measurements"),
    "only a header": (["idx", "latency_ms"], [], "no measurements"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_measurements_say_what_is_wrong(fault, tmp_path):
    header, rows, said = FAULTS[fault]
    with pytest.raises(UsageError, match=said):
        read_measurements(write(tmp_path / "m.csv", header, rows))


def test_every_faulty_row_is_named_at_once(tmp_path):
    with pytest.raises(UsageError) as raised:
        read_measurements(measured(tmp_path / "m.csv", [[1, -1], [2, 5], [3, "x"], [4, "inf"]]))
    assert all(f"row {i}" in str(raised.value) for i in (2, 4, 5)) and "row 3" not in str(raised.value)


def test_units_by_row_and_by_option_are_converted(tmp_path):
    mixed = write(tmp_path / "a.csv", ["idx", "latency", "unit"], [[1, 2, "ms"], [2, 3000, "us"], [3, 0.004, "s"]])
    assert read_measurements(mixed).latencies == pytest.approx((2, 3, 4))
    bare = write(tmp_path / "b.csv", ["idx", "latency"], [[1, 2000]])
    assert read_measurements(bare, "us").latencies == pytest.approx((2,))
    with pytest.raises(UsageError, match="says ms, --unit says us"):
        read_measurements(measured(tmp_path / "c.csv", [[1, 2]]), "us")


def test_repeats_are_averaged_and_said_and_gaps_are_left(tmp_path):
    found = read_measurements(measured(tmp_path / "m.csv", [[1, 2], [2, 5], [1, 4], [3, ""]]))
    assert found.latencies == (3.0, 5.0) and found.repeats == (2, 1)
    assert any("several times" in note for note in found.notes) and any("far apart" in note for note in found.notes)
    assert [row["idx"] for row in found.missing] == ["3"]


# --- a device

def test_ten_chosen_measurements_make_a_device_that_knows_the_other_networks(mine, ten, cells, tmp_path):
    document = mine
    assert not any(family(name) == NEW for name in document["known_devices"]) and len(document["known_devices"]) == 21
    rows = [(row["idx"], row["titanx_32"]) for row in cells if row["idx"] not in dict(ten)]
    found = predicted("mine", measured(tmp_path / "all.csv", rows))
    assert found["spearman"] > 0.96 and found["within_10_percent"] > 0.9 and 0.8 < found["coverage"] <= 1
    assert any("no path" in note for note in found["notes"])
    assert document["runtimes"][0] == {"name": "all", "about": "runs every operation of a network", "probability": 1.0}
    assert 0.005 < document["floor"] < 0.1 and 0.9 < document["expected"]["spearman"] < 1
    assert document["expected"]["rehearsed_coverage"] == pytest.approx(0.9, abs=0.05)
    assert len(document["next"]) == 3 and not set(document["next"]) & set(dict(ten))


def test_the_device_is_known_by_name_and_says_what_it_was_made_of(mine, ten, knowledge, tmp_path, own_devices):
    assert registry.describe("devices", "mine") == {"name": "mine", "about": mine["about"], "extra": None,
                                                    "model": "learned"}
    assert "mine" in registry.names("devices")
    assert "10 measurements" in registry.describe("devices", "mine")["about"]
    numbers, device = registry.load("devices", "mine"), load_device("mine")
    assert isinstance(device, LearnedDevice) and numbers["made_from"]["measurements"] == 10
    assert {row["network"] for row in numbers["measured"]} == set(dict(ten))
    assert all(entry["origin"] == "calibrated" and len(entry["source"]) > 20 for entry in device.sources.values())
    assert {path.name for path in own_devices.iterdir()} == {"mine.toml", "mine.prices.csv"}
    assert load_device(str(own_devices / "mine.toml")).name == "mine"
    with pytest.raises(UsageError, match="a device 'mine' already"):
        add("mine", measured(tmp_path / "ten.csv", ten), [str(knowledge)])
    assert remove("mine")["device"] == "mine" and "mine" not in registry.names("devices")


def test_what_is_saved_predicts_what_was_learned(knowledge, cells, own_devices, tmp_path):
    table = read_knowledge([str(knowledge)])[0]
    known = references([table])
    setting = setting_of("nb201", table.networks, known)
    rows = np.arange(0, 480, 40)
    y = table.latencies["edgetpu"][rows]
    y = np.where(np.isnan(y), 1.0, y)
    model = learned(setting, table.networks.take(rows), y, 0.1)
    from archfab.hardware.onboarding.files import load, save
    path = save(own_devices, "kept", {"about": "a test", "interval": {"factor": 1.25}}, model, setting.codes)
    again, codes = load(registry.load("devices", str(path)))
    assert codes == setting.codes and again.factor == 1.25 and again.runtimes == model.runtimes
    for one, other in zip(model.predict(table.networks), again.predict(table.networks), strict=True):
        assert other == pytest.approx(one, rel=1e-6)
    for one, other in zip(model.at_large(table.networks.bills[0, :5]), again.at_large(table.networks.bills[0, :5]),
                          strict=True):
        assert other == pytest.approx(one, rel=1e-6)


def small_net(width):
    return torch.nn.Sequential(torch.nn.Conv2d(3, width, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
                               torch.nn.Conv2d(width, width, 3, padding=1), torch.nn.Flatten(),
                               torch.nn.Linear(width * 16, 5))


def test_a_searched_network_is_costed_with_an_interval(mine):
    device = load_device("mine")
    small, large = (device.cost(record(small_net(width), (torch.rand(1, 3, 8, 8),))) for width in (8, 512))
    for costs in (small, large):
        latency = costs.figures["latency_ms"]
        assert 0 < latency.low < latency.value < latency.high and latency.origin == "calibrated"
        assert sum(row["latency_ms"] for row in costs.operators) == pytest.approx(latency.value)
        assert all(row["latency_ms"] >= 0 for row in costs.operators) and not costs.unknown
    assert small.figures["latency_ms"].value < large.figures["latency_ms"].value
    assert small.figures["macs"].value == 8 * 27 * 64 + 8 * 72 * 16 + 128 * 5


def test_an_outlier_is_found_named_and_hardly_used(ten, cells, knowledge, tmp_path):
    wrong = [(idx, latency * (6 if i == 4 else 1)) for i, (idx, latency) in enumerate(ten)]
    document = add("mine", measured(tmp_path / "wrong.csv", wrong), [str(knowledge)])
    assert [row["key"] for row in document["checks"] if row["outlier"]] == [ten[4][0]]
    assert any(note.startswith(f"{ten[4][0]}: ") and "outlier" in note for note in document["notes"])
    rows = [(row["idx"], row["titanx_32"]) for row in cells if row["idx"] not in dict(ten)]
    assert predicted("mine", measured(tmp_path / "all.csv", rows))["spearman"] > 0.95
    kept = add("kept", measured(tmp_path / "wrong.csv", wrong), [str(knowledge)], keep_outliers=True)
    assert not any(row["outlier"] for row in kept["checks"]) and kept["floor"] > document["floor"]


def test_intervals_are_as_wide_as_the_devices_own_measurements_are_off():
    table = next(table for table in bundled() if table.space == "nb201")
    known = references([table])
    setting = setting_of("nb201", table.networks, known, ["silver_4210r"])
    networks, y = table.networks.take(range(0, 320, 20)), table.latencies["silver_4210r"][0:320:20]
    odd = y * np.where(np.arange(len(y)) % 4 == 1, 1.8, 1.0)     # a device that is slow at something nobody foresees
    (plain, none), (strange, doubts) = studied(setting, networks, y), studied(setting, networks, odd)
    assert not none.outlier.any() and (none.trust == 1).all()
    values, deviations = left_out(setting, networks, y, 0.0)
    off = np.minimum(abs(y - values) / deviations, OFF)
    assert plain.factor == pytest.approx(np.sqrt((WORTH + (off**2).sum()) / (WORTH + len(off))))
    assert (doubts.trust[doubts.outlier] < 1).all()
    width = [model.factor * (model.predict(table.networks)[1] / model.predict(table.networks)[0]).mean()
             for model in (plain, strange)]
    assert width[1] > 2 * width[0]


def test_many_outliers_are_said_to_be_many(ten, knowledge, tmp_path):
    wrong = [(idx, latency * {4: 8, 6: 9, 8: 7}.get(i, 1)) for i, (idx, latency) in enumerate(ten)]
    document = add("mine", measured(tmp_path / "wrong.csv", wrong), [str(knowledge)])
    several = sum(row["outlier"] for row in document["checks"])
    assert several == 3 and any("are many" in note for note in document["notes"])


def test_what_is_odd_by_less_than_an_outlier_is_trusted_less_and_widens_the_intervals():
    table = next(table for table in bundled() if table.space == "nb201")
    setting = setting_of("nb201", table.networks, references([table]), ["titanx_256"])
    networks, y = table.networks.take(range(0, 320, 20)), table.latencies["titanx_256"][0:320:20].copy()
    y[5] *= 1.25
    model, doubts = studied(setting, networks, y)
    assert doubts.off[5] > OFF and not doubts.outlier.any() and 0 < doubts.trust[5] < 0.7
    assert (np.delete(doubts.trust, 5) == 1).all() and model.factor > 1


def test_a_rehearsal_knows_nothing_of_the_device_that_it_rehearses(monkeypatch):
    table = next(table for table in bundled() if table.space == "nb201")
    known, left = references([table]), []

    def noted(space, networks, some, without):
        left.append((set(without), setting_of(space, networks, some, without)))
        return left[-1][1]

    monkeypatch.setattr(rehearsals, "setting_of", noted)
    found = rehearse("nb201", table.networks.take(range(10)), table.networks, known, [table], ["fpga"])
    assert len(found) == len(known) - 1 and not any(each.device == "fpga" for each in found)
    for without, setting in left:
        assert "fpga" in without and not without & set(setting.names)
    assert {"2080ti_1", "2080ti_32", "2080ti_256", "fpga"} in [without for without, _ in left]


def test_another_unit_under_the_name_of_ms_is_suspected(ten, knowledge, tmp_path):
    micro = add("micro", measured(tmp_path / "us.csv", [(idx, y * 1000) for idx, y in ten]), [str(knowledge)])
    assert any("times slower than the slowest" in note and "microseconds" in note for note in micro["notes"])
    whole = add("whole", measured(tmp_path / "s.csv", [(idx, y / 1000) for idx, y in ten]), [str(knowledge)])
    assert any("times faster than the fastest" in note and "seconds" in note for note in whole["notes"])


def test_one_row_in_another_unit_is_an_outlier_that_says_so(ten, knowledge, tmp_path):
    rows = [(idx, y * (1000 if i == 2 else 1)) for i, (idx, y) in enumerate(ten)]
    document = add("mine", measured(tmp_path / "m.csv", rows), [str(knowledge)])
    assert any(note.startswith(f"{ten[2][0]}: ") and "another unit?" in note for note in document["notes"])
    assert [row["key"] for row in document["checks"] if row["outlier"]] == [ten[2][0]]


def conv_model(width):
    from onnx import TensorProto, helper
    weights = [helper.make_tensor(name, TensorProto.FLOAT, [width, inputs, 3, 3], [0.1] * (width * inputs * 9))
               for name, inputs in (("a", 3), ("b", width))]
    nodes = [helper.make_node("Conv", ["x", "a"], ["y"], pads=[1] * 4), helper.make_node("Relu", ["y"], ["z"]),
             helper.make_node("Conv", ["z", "b"], ["out"], pads=[1] * 4)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
                              [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, width, 8, 8])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_onnx_files_are_measured(tmp_path):
    import onnx
    widths = (4, 8, 12, 16, 24, 32, 48)
    for width in widths:
        onnx.save(conv_model(width), tmp_path / f"{width}.onnx")
    rows = [(f"{width}.onnx", 1 + width * (27 + 9 * width) / 4000) for width in widths]
    document = add("mine", write(tmp_path / "m.csv", ["onnx", "latency_ms"], rows[:-1]))
    assert document["measurements"] == 6 and document["next"] == []
    found = predicted("mine", write(tmp_path / "n.csv", ["onnx", "latency_ms"], rows[-1:]))["networks"][0]
    assert found["low_ms"] < found["measured_ms"] < found["high_ms"]
    with pytest.raises(UsageError, match=r"row 2: there is no file .*gone\.onnx"):
        add("other", write(tmp_path / "o.csv", ["onnx", "latency_ms"], [("gone.onnx", 3)] * 6))


def test_too_few_measurements_say_how_many_and_which(ten, knowledge, tmp_path, own_devices):
    with pytest.raises(UsageError, match=r"3 measured networks are too few.*at least 5.*Measure next: (\d+; ){6}\d+"):
        add("mine", measured(tmp_path / "three.csv", ten[:3]), [str(knowledge)])
    assert not own_devices.exists()
    document = add("mine", measured(tmp_path / "six.csv", ten[:6]), [str(knowledge)])
    assert any("6 networks were measured; 10 are better" in note for note in document["notes"])


def test_runs_of_the_same_network_are_repeats_whatever_else_the_rows_say(ten, knowledge, tmp_path):
    rows = [(idx, run, y * (1 + 0.01 * run), 0.1) for idx, y in ten for run in (-1, 1)]
    file = write(tmp_path / "runs.csv", ["idx", "run", "latency_ms", "latency_std_ms"], rows)
    document = add("mine", file, [str(knowledge)])
    assert document["measurements"] == 10 and any("10 networks were measured several" in x for x in document["notes"])
    assert [row["measured"] for row in document["checks"]] == pytest.approx([y for _, y in ten])


@pytest.mark.parametrize(("rows", "said"), [([(15_625, 3)], "idx is a whole number from 0 to 15624"),
                                            ([("x", 3)], "idx is a whole number"), ([(1, "")], "no network has a")])
def test_unknown_networks_are_named(rows, said, knowledge, tmp_path):
    with pytest.raises(UsageError, match=said):
        add("mine", measured(tmp_path / "m.csv", rows), [str(knowledge)])


@pytest.mark.parametrize(("name", "said"), [("cortex-m7", "comes with archfab"), ("../x", "no name"),
                                            ("a.toml", "no name")])
def test_names_that_are_taken_or_none(name, said, ten, knowledge, tmp_path):
    with pytest.raises(UsageError, match=said):
        add(name, measured(tmp_path / "m.csv", ten), [str(knowledge)])


def test_columns_that_name_nothing_say_what_is_known(knowledge, tmp_path):
    file = write(tmp_path / "m.csv", ["colour", "latency_ms"], [["red", 3]] * 6)
    with pytest.raises(UsageError, match=r"colour name no network.*idx \(nb201\).*genotype.*onnx"):
        add("mine", file, [str(knowledge)])


def test_a_genotype_needs_its_task(knowledge, tmp_path):
    file = write(tmp_path / "m.csv", ["genotype", "latency_ms"], [["{}", 3]] * 6)
    with pytest.raises(UsageError, match="--task"):
        add("mine", file, [str(knowledge)])


def test_genotypes_of_a_searched_space_are_measured(tmp_path):
    naming = Naming(bundled(), task="vision", space="cell")
    networks = naming.drawn(14, seed=1)
    gpu = next(each for each in references(bundled()) if each.name == "titanx_32")
    y = networks.bills[0] @ gpu.prices * 0.5
    file = write(tmp_path / "m.csv", ["genotype", "latency_ms"], list(zip(networks.keys[:10], y[:10], strict=True)))
    document = add("mine", file, naming=Naming([], task="vision", space="cell"))
    assert document["space"] == "" and document["expected"]["spearman"] > 0.8
    device = load_device("mine")
    for key, true in list(zip(networks.keys, y, strict=True))[10:]:
        latency = device.cost(naming.bench.workload(json.loads(key))).figures["latency_ms"]
        assert latency.value == pytest.approx(true, rel=0.1) and latency.low < true < latency.high


def test_a_table_of_an_unknown_space_predicts_its_rows_and_refuses_networks(tmp_path):
    rng = np.random.default_rng(0)
    layers, width = rng.integers(1, 9, 120), rng.integers(8, 65, 120)
    devices = [(1 + a * layers + b * layers * width / 10) * rng.lognormal(0, 0.01, 120)
               for a, b in ((1, 0.1), (0.2, 1), (2, 0.3), (0.1, 0.1))]
    folder = tmp_path / "own"
    folder.mkdir()
    write(folder / "boards.csv", ["layers", "width", "a_ms", "b_ms", "c_ms", "d_ms"],
          [[n, w, *(f"{y[i]:.5f}" for y in devices)] for i, (n, w) in enumerate(zip(layers, width, strict=True))])
    truth = 3 * (1 + 0.7 * layers + 0.5 * layers * width / 10)
    rows = list({(int(n), int(w)): y for n, w, y in zip(layers, width, truth, strict=True)}.items())
    add("board", write(tmp_path / "m.csv", ["layers", "width", "latency_ms"], [(*key, y) for key, y in rows[:10]]),
        [str(folder)])
    found = predicted("board", write(tmp_path / "all.csv", ["layers", "width", "latency_ms"],
                                     [(*key, y) for key, y in rows[10:]]))
    assert found["spearman"] > 0.98
    new = write(tmp_path / "new.csv", ["layers", "width"], [(3, 50), (8, 64)])      # rows that are in no table
    assert [row["latency_ms"] for row in predicted("board", new)["networks"]] == pytest.approx(
        [3 * (1 + 2.1 + 7.5), 3 * (1 + 5.6 + 25.6)], rel=0.1)
    with pytest.raises(BuildError, match="archfab device predict board"):
        load_device("board").cost(record(torch.nn.Linear(3, 3), (torch.rand(1, 3),)))
    with pytest.raises(UsageError, match="unknown networks"):
        add("other", write(tmp_path / "n.csv", ["layers", "width", "latency_ms"], [(99, "wide", 3)] * 6), [str(folder)])


def test_knowledge_that_is_none_says_what_a_table_is(tmp_path):
    write(tmp_path / "x.csv", ["a", "b"], [[1, 2]])
    with pytest.raises(UsageError, match=r"no latency table.*_ms, _us or _s"):
        read_knowledge([str(tmp_path)])
    with pytest.raises(UsageError, match="there is no folder"):
        read_knowledge([str(tmp_path / "absent")])
    write(tmp_path / "x_latency_ms.csv", ["idx", "phone"], [[1, 2], [2, "slow"]])
    with pytest.raises(UsageError, match="row 3, phone: 'slow' is no latency"):
        read_knowledge([str(tmp_path)])


@pytest.mark.parametrize(("change", "said"), [
    (lambda text: text.replace("weight = 1.0", "weight = 0.4"), "weights of its runtimes add up"),
    (lambda text: text.replace('name = "all"', 'name = "some"'), "a runtime is one of"),
    (lambda text: text.replace("factor = ", "factor = -"), "factor is no number"),
    (lambda text: text.replace("mine.prices.csv", "gone.csv"), "gone.csv cannot be read"),
    (lambda text: text.replace("noise = ", "noise = nan #"), "noise is no number"),
    (lambda text: text.split("[[runtime]]")[0], r"has no \[\[runtime\]\]")])
def test_a_broken_device_file_says_what_is_wrong(change, said, mine, own_devices):
    file = own_devices / "mine.toml"
    assert change(file.read_text()) != file.read_text()
    file.write_text(change(file.read_text()))
    with pytest.raises(UsageError, match=said):
        load_device("mine")
    file.write_text("about = [")
    assert "cannot be used" in registry.describe("devices", "mine")["about"]      # and the others are still listed


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text("abc_", min_size=1), st.one_of(st.text(max_size=20), st.integers(-9, 9), st.booleans(),
                                                              st.lists(st.text(max_size=5))), max_size=5))
def test_toml_reads_back_as_what_it_was_written_from(data):
    import tomllib
    whole = {**data, "table": data, "rows": [data, data]}
    assert tomllib.loads(toml(whole)) == whole


def test_the_command_line_adds_lists_predicts_and_refuses(archfab, ten, knowledge, tmp_path):
    file = measured(tmp_path / "ten.csv", ten)
    document = archfab("device", "add", "mine", "--measurements", file, "--knowledge", knowledge, "--png", "m.png",
                       "--json").json
    assert document["device"] == "mine" and (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    assert any(row["name"] == "mine" for row in archfab("list", "devices", "--json").json)
    assert "already" in archfab("device", "add", "mine", "--measurements", file, code=2).err
    assert "several spaces" in archfab("device", "next", code=2).err
    assert "absent.csv cannot be read" in archfab("device", "add", "x", "--measurements", "absent.csv", code=2).err


@pytest.mark.slow
def test_a_search_runs_on_a_learned_device_and_its_report_keeps_to_the_interval(archfab, ten, knowledge, tmp_path):
    archfab("device", "add", "mine", "--measurements", measured(tmp_path / "ten.csv", ten), "--knowledge", knowledge)
    document = archfab("search", "vision", "--space", "cell", "--device", "mine", "--minimize", "error", "--minimize",
                       "latency_ms", "--trials", 4, "--epochs", 1, "--deliver", 0, "--run", "r", "--json").json
    assert all(member["latency_ms"] > 0 for member in document["front"])
    page = (tmp_path / "runs" / "r" / "report.html").read_text()
    assert "calibrated" in page and "marginal likelihood" in page


@pytest.mark.slow
@pytest.mark.shared
def test_ten_measurements_of_a_public_device_reach_what_the_table_allows(shared_data, monkeypatch):
    monkeypatch.syspath_prepend(str(spaces.Path(__file__).parents[1] / "benchmarks"))       # for its own imports
    onboarding = registry.user_file(spaces.Path(__file__).parents[1] / "benchmarks/onboarding.py")
    tables = read_knowledge([shared_data / "help-latency"])
    known = references(tables)
    table = next(table for table in tables if table.space == "nb201")
    for name, least in (("2080ti_256", 0.985), ("silver_4210r", 0.98)):
        case = onboarding.score(table, name, known, 2, False)
        assert least < case.means["spearman"] <= case.ceiling + 0.003
        assert 0.7 < case.means["coverage"] <= 1
