"""Tables of kernels: sums and what is missing, files that are wrong, interpolation, gradients, measured tables."""

import csv
import itertools
import math
import random

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab import nn
from archfab.core import BuildError, UsageError
from archfab.estimators._bilevel import expected_cost
from archfab.evaluate import load_device
from archfab.hardware.kernels import fuse
from archfab.hardware.measuring import tabulate
from archfab.hardware.measuring.interpolation import Interpolation, family_of, work_of
from archfab.hardware.measuring.kernel_models import kernel_model, seen_through
from archfab.hardware.measuring.table import COLUMNS, Key, Table, key_of, read_blocks, read_table, write_table
from archfab.hardware.models.host import Host
from archfab.hardware.models.lookup import Lookup
from archfab.hardware.onnx_file import record_onnx
from archfab.hardware.workload import record, record_genotype
from archfab.space import Space, choose
from archfab.strategies.fbnet import FBNet

QUICK = {"name": "quick", "seconds": 0.01, "warmup": 0.005, "blocks": 1, "again": 0, "profile": 2, "refuse": 1e9}


def small_net():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU6(),
        torch.nn.Conv2d(8, 8, 3, padding=1, groups=8), torch.nn.MaxPool2d(2), torch.nn.Conv2d(8, 16, 1),
        torch.nn.Hardswish(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 5))


def traced(model=None):
    return record(model or small_net(), (torch.rand(1, 3, 16, 16),))


def keys_of(workload):
    return [key_of(kernel, workload) for kernel in fuse(workload)]


def device(tmp_path, values, **more):
    """A lookup device with these milliseconds, by key or by several keys."""
    write_table(tmp_path / "mine.csv", [(key if isinstance(key, tuple) else (key,), value)
                                        for key, value in values.items()])
    told = {"origin": "measured", "source": "made up for this test"}
    return Lookup({"name": "mine", "model": "lookup", "path": str(tmp_path / "mine.toml"),
                   "table": {"file": "mine.csv", **told},
                   "error": {"latency_ms": {"low": 0.5, "high": 2.0, **told}}, **more})


# --- sums

def test_a_network_takes_the_sum_of_its_entries(tmp_path):
    workload = traced()
    values = {key: 2.0 ** i for i, key in enumerate(keys_of(workload))}
    costs = device(tmp_path, values, start_ms={"value": 0.25, "origin": "measured", "source": "test"}).cost(workload)
    latency = costs.figures["latency_ms"]
    assert latency.value == sum(values.values()) + 0.25 == sum(row["latency_ms"] for row in costs.operators)
    assert (latency.low, latency.high) == (latency.value / 2, latency.value * 2)
    assert [row["latency_ms"] for row in costs.operators] == [*values.values(), 0.25]
    assert sum(row["macs"] for row in costs.operators) == workload.macs and not costs.unknown


def test_a_scale_multiplies_every_row_and_the_sum(tmp_path):
    workload = traced()
    told = {"origin": "calibrated", "source": "test"}
    plain = {"start_ms": {"value": 1.0, **told}}
    one, two = (device(tmp_path, dict.fromkeys(keys_of(workload), 1.0), **plain, **more).cost(workload)
                for more in ({}, {"scale": {"value": 1.5, **told}}))
    assert two.figures["latency_ms"].value == 1.5 * one.figures["latency_ms"].value
    assert [row["latency_ms"] for row in two.operators] == [1.5 * row["latency_ms"] for row in one.operators]


def test_the_scale_is_the_mean_ratio_and_the_interval_holds_nine_of_ten():
    scale, factor = tabulate.scale_of([1.0, 2.0, 4.0])
    assert scale == pytest.approx(2.0)
    assert math.log(factor, 2) == pytest.approx(2.92 * math.sqrt(4 / 3))      # Student's t
    rng = np.random.default_rng(0)
    for number in (2, 3, 5, 12):
        held = []
        for _ in range(2000):
            logs = rng.normal(0.3, 0.05, number + 1)
            scale, factor = tabulate.scale_of(np.exp(logs[:-1]))
            held.append(scale / factor <= math.exp(logs[-1]) <= scale * factor)
        assert 0.88 <= np.mean(held) <= 0.97


def test_a_kernel_that_is_not_listed_is_named_and_takes_the_latency_away(tmp_path):
    workload = traced()
    values = dict.fromkeys(keys_of(workload), 1.0)
    gone = list(values)[2]
    del values[gone]
    costs = device(tmp_path, values).cost(workload)
    assert costs.unknown == [str(gone)] and "latency_ms" not in costs.figures
    assert len(costs.operators) == len(values) and costs.figures["macs"].value == workload.macs


def test_a_block_stands_for_its_kernels_and_the_longest_is_taken(tmp_path):
    workload = traced()
    keys = keys_of(workload)
    values = {**dict.fromkeys(keys, 1.0), (keys[0], keys[1]): 0.5, (keys[1], keys[2]): 100.0}
    costs = device(tmp_path, values).cost(workload)
    assert costs.figures["latency_ms"].value == 0.5 + len(keys) - 2
    assert costs.operators[0]["kind"] == "block" and " ; " in costs.operators[0]["operator"]
    assert sum(row["macs"] for row in costs.operators) == workload.macs


@pytest.mark.slow
def test_torch_and_onnx_have_the_same_keys():
    from archfab.exporting import to_onnx
    model = small_net().eval()
    exported = record_onnx(to_onnx(model, (torch.rand(1, 3, 16, 16),)))
    assert keys_of(traced(model)) == keys_of(exported)


def test_folded_norms_do_not_count_and_dilation_does():
    plain, normed, wide = (torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8)), torch.nn.Conv2d(3, 8, 3, padding=2, dilation=2))
    first, second, third = (keys_of(traced(model)) for model in (plain, normed, wide))
    assert first == second != third and "dilation 2x2" in third[0].detail


# --- files

KEY = Key("conv", "convolution+relu", "3x3/1", "128", "576", "1x8x4x4")
texts = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters=";"), min_size=1).map(
    str.strip).filter(bool)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.lists(st.builds(Key, *[texts] * 6), min_size=1, max_size=3).map(tuple), st.floats(0, 1e6),
                       min_size=1, max_size=5))
def test_what_is_written_is_read(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    write_table(path, entries.items())
    found = read_table(path).entries
    assert found.keys() == entries.keys()
    assert all(math.isclose(found[entry], value, rel_tol=1e-5, abs_tol=1e-300) for entry, value in entries.items())


def written(path, rows, columns=(*COLUMNS, "latency_ms")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


ROW = [getattr(KEY, name) for name in COLUMNS]


@pytest.mark.parametrize(("unit", "value"), [("ns", 2e6), ("us", 2000), ("ms", 2), ("s", 0.002)])
def test_the_column_says_the_unit(unit, value, tmp_path):
    table = read_table(written(tmp_path / "t.csv", [[*ROW, value]], (*COLUMNS, f"latency_{unit}")))
    assert table.entries[(KEY,)] == pytest.approx(2.0)


WRONG = {
    "no unit": ({"columns": (*COLUMNS, "latency")}, [[*ROW, 1]], "whose name says the unit"),
    "odd unit": ({"columns": (*COLUMNS, "latency_min")}, [[*ROW, 1]], "latency_min.*latency_ns, latency_us"),
    "two units": ({"columns": (*COLUMNS, "latency_ms", "latency_us")}, [[*ROW, 1, 1000]], "one column"),
    "no column": ({"columns": (*COLUMNS[1:], "latency_ms")}, [[*ROW[1:], 1]], "no column 'kind'"),
    "column twice": ({"columns": (*COLUMNS, "latency_ms", "latency_ms")}, [[*ROW, 1, 1]], "two columns 'latency"),
    "negative": ({}, [[*ROW, 1], [*ROW[:-1], "1x9x4x4", -1]], "line 3: a latency is a number from 0 up, not '-1'"),
    "nan": ({}, [[*ROW, "nan"]], "line 2.*not 'nan'"), "infinite": ({}, [[*ROW, "inf"]], "not 'inf'"),
    "a word": ({}, [[*ROW, "fast"]], "not 'fast'"), "nothing": ({}, [[*ROW, ""]], "not ''"),
    "twice": ({}, [[*ROW, 1], [*ROW, 2]], "line 3.*listed twice, with 1 and 2 ms"),
    "no rows": ({}, [], "has no rows"), "short row": ({}, [ROW[:3]], "line 2"),
    "long row": ({}, [[*ROW, 1, 2]], "line 2"),
    "uneven block": ({}, [[*ROW[:-1], "1x8x4x4;1x8x2x2", 1]], "same number of kernels"),
    "empty kind": ({}, [["", *ROW[1:], 1]], "kind and operators are empty"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_table_is_told_by_line(fault, tmp_path):
    options, rows, said = WRONG[fault]
    with pytest.raises(UsageError, match=said):
        read_table(written(tmp_path / "t.csv", rows, **options))


def test_the_same_row_twice_is_one(tmp_path):
    assert read_table(written(tmp_path / "t.csv", [[*ROW, 1], [*ROW, 1]])).entries == {(KEY,): 1.0}


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_any_text_is_a_table_or_is_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(UsageError):
        read_table(path)


@pytest.mark.parametrize(("changes", "said"), [
    ({"table": None}, r"\[table\] needs file"), ({"table": {"file": 3, "origin": "measured", "source": "x"}}, "a text"),
    ({"error": {}}, r"\[error.latency_ms\] needs low, high"), ({"interpolate": "yes"}, "true or false"),
    ({"error": {"latency_ms": {"low": 1.1, "high": 2, "origin": "measured", "source": "x"}}}, "factors around 1"),
    ({"error": {"latency_ms": {"low": 1, "high": 2, "origin": "guessed", "source": "x"}}}, "origin 'guessed'"),
    ({"start_ms": {"value": -1, "origin": "measured", "source": "x"}}, "from 0 up"),
    ({"start_ms": {"value": 1}}, r"\[start_ms\] needs"),
    ({"scale": {"value": 0, "origin": "measured", "source": "x"}}, "above 0"),
    ({"interpolat": True}, "did you mean 'interpolate'")])
def test_a_wrong_device_file_is_told(changes, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        device(tmp_path, {KEY: 1.0}, **changes)


def test_a_table_that_is_absent_is_told(tmp_path):
    made = device(tmp_path, {KEY: 1.0})
    (tmp_path / "mine.csv").unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        made.cost(traced())


# --- between what is listed

def conv_key(channels, size):
    return Key("conv", "convolution", "3x3/1", str(channels * size * size), str(9 * channels * channels),
               f"1x{channels}x{size}x{size}")


def listed(exponent=1.0, factor=lambda _: 1.0):
    keys = [conv_key(c, s) for c in (8, 16, 32, 64) for s in (4, 8, 16)]
    return {key: 1e-6 * work_of(key) ** exponent * factor(i) for i, key in enumerate(keys)}


def test_work_is_multiply_accumulates():
    workload = traced()
    for kernel, key in zip(fuse(workload), keys_of(workload), strict=True):
        if kernel.macs:
            assert work_of(key) == kernel.macs


@given(st.floats(0.3, 1.5), st.integers(9, 63))
def test_a_power_law_is_found_again(exponent, channels):
    table = Table({(key,): value for key, value in listed(exponent).items()})
    key = conv_key(channels, 8)
    found = Interpolation(table).of(key)
    assert found.value == pytest.approx(1e-6 * work_of(key) ** exponent, rel=1e-6)
    assert found.low <= found.value <= found.high


def test_an_interval_is_as_wide_as_the_table_is_rough():
    rough = listed(factor=lambda i: (1.0, 1.5)[i % 2])
    smooth, coarse = (Interpolation(Table({(k,): v for k, v in each.items()})).of(conv_key(24, 8))
                      for each in (listed(), rough))
    assert coarse.high / coarse.low > smooth.high / smooth.low
    assert coarse.high / coarse.low >= 1.5


def test_nothing_is_said_beyond_the_ends_or_of_another_kind_or_of_few():
    values = {(key,): value for key, value in listed().items()}
    between = Interpolation(Table(values))
    assert between.of(conv_key(4, 4)) is None and between.of(conv_key(128, 16)) is None
    assert between.of(conv_key(24, 8)) is not None
    assert between.of(Key(**{**vars(conv_key(24, 8)), "detail": "5x5/1"})) is None
    assert Interpolation(Table(dict(list(values.items())[:3]))).of(conv_key(12, 4)) is None


def test_families_keep_what_is_no_size():
    keys = [Key("depthwise", "convolution", f"3x3/1 groups {c}", f"{c * 64}", f"{9 * c}", f"1x{c}x8x8")
            for c in (8, 24)]
    assert family_of(keys[0]) == family_of(keys[1])
    assert family_of(Key("conv", "convolution", "3x3/1 groups 2", "1", "1", "1")) != family_of(
        Key("conv", "convolution", "3x3/1 groups 4", "1", "1", "1"))


def test_interpolation_happens_when_it_is_asked_for_and_is_said(tmp_path):
    class Net(torch.nn.Conv2d):
        def __init__(self):
            super().__init__(24, 24, 3, padding=1, bias=False)

    workload = record(Net(), (torch.rand(1, 24, 8, 8),))
    assert keys_of(workload) == [conv_key(24, 8)]
    assert "latency_ms" not in device(tmp_path, listed()).cost(workload).figures
    costs = device(tmp_path, listed(), interpolate=True).cost(workload)
    (row,) = costs.operators
    assert row["entry"] == "interpolated" and row["low_ms"] < row["latency_ms"] < row["high_ms"]
    assert costs.figures["latency_ms"].low == row["low_ms"] / 2 and not costs.unknown


# --- somebody else's table

@pytest.mark.shared
def test_a_block_table_of_nn_meter_prices_a_network(shared_data):
    def first_convolution(name):
        kind, *numbers = name.split("_")
        if kind != "firstconv":
            return None
        size, inputs, outputs, stride, kernel = map(int, numbers)
        out = size // stride
        return (Key("conv", "convolution+hardswish", f"{kernel}x{kernel}/{stride}", str(inputs * size * size),
                    str(outputs * inputs * kernel * kernel), f"1x{outputs}x{out}x{out}"),)

    path = shared_data / "nn-meter/vit_block_lut_ms.csv.gz"
    table = read_blocks(path, "pixel4", "ms", first_convolution)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 24, 3, 2, 1), torch.nn.BatchNorm2d(24), torch.nn.Hardswish())
    ((_, _, value),) = table.match(keys_of(record(net, (torch.rand(1, 3, 160, 160),))))
    assert value == 0.470908
    with pytest.raises(UsageError, match="no column 'pixel5'; it has: pixel1, pixel4"):
        read_blocks(path, "pixel5", "ms", first_convolution)
    with pytest.raises(UsageError, match="no unit"):
        read_blocks(path, "pixel4", "sec", first_convolution)
    with pytest.raises(UsageError, match="stands for the same kernels"):
        read_blocks(path, "pixel4", "ms", lambda name: (KEY,))


# --- gradients

def blocks():
    """Decisions that do not touch each other: what one takes is the same whatever the others are."""
    def block(i):
        return choose(f"block{i}", one=nn.Conv2d(8, 1), three=nn.Conv2d(8, 3, padding=1),
                      five=nn.Conv2d(8, 5, padding=2), skip=nn.Identity())
    return Space(nn.Sequential(nn.Conv2d(8, 3, padding=1), *(block(i) for i in range(3)), nn.Classifier(classes=4)))


X = (torch.zeros(1, 8, 8, 8),)


@pytest.fixture
def priced(tmp_path):
    """The space, a table of its kernels with times of all sizes, and hints that look networks up."""
    space, rng = blocks(), random.Random(0)
    kernels = tabulate.kernels_of_space(space, lambda genotype: record_genotype(space, genotype, X), rng)
    values = {key: float(f"{rng.lognormvariate(0, 1):.6g}") for key in kernels}
    table = device(tmp_path, values)

    def hints(genotype):
        return {name: cost.value for name, cost in table.cost(record_genotype(space, genotype, X)).figures.items()}

    return space, values, hints


def strategy_of(space, hints):
    strategy = FBNet(space, {"error": "min"}, warm=0)
    strategy.hints = hints
    return strategy


def test_the_expected_cost_of_a_network_that_is_certain_is_its_cost(priced):
    space, _, hints = priced
    cost = strategy_of(space, hints).lesson()["cost"]
    assert cost["additive"]
    for labels in itertools.islice(itertools.product(*space.labels.values()), 0, None, 7):
        genotype = dict(zip(space.labels, labels, strict=True))
        certain = {name: torch.tensor([float(label == genotype[name]) for label in all_])
                   for name, all_ in space.labels.items()}
        expected = float(expected_cost(cost, certain, space.labels))
        assert expected == pytest.approx(hints(genotype)["latency_ms"], rel=1e-5)


def test_the_gradient_by_a_decision_is_the_difference_of_the_entries(priced):
    space, values, hints = priced
    cost = strategy_of(space, hints).lesson()["cost"]
    chances = {name: torch.full((len(labels),), 1 / len(labels), requires_grad=True)
               for name, labels in space.labels.items()}
    expected_cost(cost, chances, space.labels).backward()
    for name, labels in space.labels.items():
        entries = []
        for label in labels:
            genotype = {**dict.fromkeys(space.labels, "skip"), name: label}
            entries.append(sum(values[key] for key in keys_of(record_genotype(space, genotype, X))))
        slopes = chances[name].grad
        for i, j in itertools.combinations(range(len(labels)), 2):
            assert float(slopes[i] - slopes[j]) == pytest.approx(entries[i] - entries[j], rel=1e-4, abs=1e-5)


def test_the_expectation_is_the_mean_over_networks_that_are_drawn(priced):
    space, _, hints = priced
    cost = strategy_of(space, hints).lesson()["cost"]
    rng = np.random.default_rng(0)
    chances = {name: torch.tensor(rng.dirichlet(np.ones(len(labels))), dtype=torch.float)
               for name, labels in space.labels.items()}
    mean = 0.0
    for labels in itertools.product(*(range(len(labels)) for labels in space.labels.values())):
        chance = math.prod(float(chances[name][i]) for name, i in zip(space.labels, labels, strict=True))
        mean += chance * hints({name: space.labels[name][i]
                                for name, i in zip(space.labels, labels, strict=True)})["latency_ms"]
    assert float(expected_cost(cost, chances, space.labels)) == pytest.approx(mean, rel=1e-4)


def test_costs_that_do_not_add_up_keep_the_logarithms(priced):
    space, _, hints = priced
    cost = strategy_of(space, lambda genotype: {"latency_ms": hints(genotype)["latency_ms"] ** 2}).lesson()["cost"]
    assert not cost["additive"]


# --- tables that are measured

def models():
    return {"convolutions": (small_net(), (1, 3, 16, 16)),
            "odd sizes": (torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5, 2), torch.nn.ELU(), torch.nn.AvgPool2d(3, 2, 1),
                                              torch.nn.Conv2d(4, 6, 3, dilation=2, groups=2)), (2, 3, 29, 23)),
            "a norm of its own": (torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.ReLU()), (1, 3, 8, 8)),
            "one dimension": (torch.nn.Sequential(torch.nn.Conv1d(3, 8, 3, padding=1), torch.nn.SiLU()), (1, 3, 50)),
            "tokens": (torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (1, 10, 16))}


@pytest.mark.parametrize("name", models())
def test_a_kernel_alone_has_the_shapes_and_the_work_of_its_key(name):
    model, shape = models()[name]
    workload = record(model, (torch.rand(shape),))
    for kernel, key in zip(fuse(workload), keys_of(workload), strict=True):
        made = kernel_model(key)
        assert made is not None, key
        session = onnxruntime.InferenceSession(made.SerializeToString())
        feed = {slot.name: np.zeros(slot.shape, "float32") for slot in session.get_inputs()}
        assert session.run(None, feed)[0].shape == kernel.shape
        assert sum(x.size for x in feed.values()) == sum(int(size) for size in key.inputs.split("+"))
        if kernel.kind != "attention":      # ours is made of products and a softmax
            assert record_onnx(made).macs == kernel.macs


@given(st.integers(1, 7), st.integers(1, 3), st.integers(1, 2), st.integers(0, 3), st.integers(8, 40))
def test_the_input_of_a_window_is_found(kernel, stride, dilation, padding, size):
    out = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    if out < 1 or padding > dilation * (kernel - 1):
        return
    found = seen_through(size * size, [out, out], [kernel, kernel], stride, dilation)
    assert found is not None
    sizes, pad = found
    assert math.prod(sizes) == size * size
    assert [(side + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 for side in sizes] == [out, out]


@pytest.mark.parametrize("changes", [{"detail": ""}, {"weights": "577"}, {"inputs": "127"}, {"operators": "strange"},
                                     {"output": ""}, {"operators": "convolution+strange"}])
def test_what_a_key_does_not_tell_is_not_made_up(changes):
    assert kernel_model(KEY) is not None
    assert kernel_model(Key(**{**vars(KEY), **changes})) is None


def test_reordering_that_neighbours_would_spare_is_left_out():
    found = {"timing": {"median": 5e-3}, "operators": [{"operator": "ReorderInput", "milliseconds": 1.0},
                                                       {"operator": "Conv", "milliseconds": 3.0}]}
    assert tabulate.alone(found, 1.0) == pytest.approx((5 - 1) * 0.75)
    assert tabulate.alone(found, 7.0) == tabulate.FLOOR


@pytest.mark.slow
def test_a_space_is_measured_and_becomes_a_device(tmp_path):
    space = blocks()

    def workload(genotype):
        from dataclasses import replace

        from archfab.hardware.network import Network
        from archfab.lowering.concrete import build
        return replace(record_genotype(space, genotype, X), network=Network(lambda: (build(space, genotype, X), X)))

    found = tabulate.make_device("here", tmp_path, Host(QUICK), space, workload, random.Random(0), networks=2)
    assert not found["not_measured"] and len(found["checked"]) == found["drawn"] == 2
    made = load_device(str(tmp_path / "here.toml"))
    assert len(made.table.entries) == found["kernels"] and made.sources["table"]["origin"] == "measured"
    for checked in found["checked"]:
        assert made.error["low"] <= checked["ratio"] / made.scale["value"] <= made.error["high"]
    costs = made.cost(workload(space.sample(random.Random(5))))
    latency = costs.figures["latency_ms"]
    assert not costs.unknown and 0 < latency.low <= latency.value <= latency.high
    assert latency.value == pytest.approx(sum(row["latency_ms"] for row in costs.operators))


class Restless:
    """A place that holds still for a kernel only when it is asked for the second or third time."""

    def __init__(self, times):
        self.times, self.asked = times, {}

    def found(self, samples, bound=False):
        rows = []
        for sample in samples:
            self.asked[sample.model] = self.asked.get(sample.model, 0) + 1
            refused = len(samples) > 1 and self.asked[sample.model] <= self.times
            rows.append({"timing": {"median": 1e-3, "refused": refused}, "operators": [], "machine": {}})
        return rows


@pytest.mark.parametrize(("times", "measured"), [(0, 2), (2, 2), (9, 0)])
def test_a_kernel_during_which_the_machine_was_restless_is_measured_again(times, measured):
    keys = [conv_key(8, 8), conv_key(16, 8)]
    found = tabulate.tabulate(keys, Restless(times))
    assert len(found.milliseconds) == measured and len(found.not_measured) == 2 - measured
    assert all("did not hold still, 3 times" in why for why in found.not_measured.values())


@pytest.mark.parametrize("settings, networks, message", [
    ({**QUICK}, 1, "two random networks or more, not 1"),
    ({"name": "torchy", "runtime": "torch"}, 2, "'torchy' runs torch; give host")])
def test_what_tells_nothing_of_sums_is_refused_before_anything_is_measured(settings, networks, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        tabulate.make_device("here", tmp_path, Host(settings), blocks(), lambda _: pytest.fail("it is refused"),
                             random.Random(0), networks)


@pytest.mark.parametrize("listed, said", [(True, "did not hold still"), (False, "not listed, such as .*did not")])
def test_a_table_that_cannot_be_checked_leaves_the_one_before_as_it_was(listed, said, tmp_path, monkeypatch):
    space = blocks()
    for file in ("here.csv", "here.toml"):
        (tmp_path / file).write_text("before")

    def measured(keys, *_):
        some = list(keys) if listed else list(keys)[:1]
        others = dict.fromkeys(list(keys)[len(some):], "it did not")
        return tabulate.Tabulated(dict.fromkeys(some, 1.0), 0.1, others, {})

    def restless(_, traced):
        raise BuildError("does not hold still")
    monkeypatch.setattr(tabulate, "tabulate", measured)
    monkeypatch.setattr(Host, "cost", restless)
    with pytest.raises(UsageError, match=f"fewer than two networks could be checked, for .*{said}"):
        tabulate.make_device("here", tmp_path, Host(QUICK), space, lambda genotype: record_genotype(space, genotype, X),
                             random.Random(0), 3)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"here.csv": "before", "here.toml": "before"}


def test_a_place_that_measures_nothing_is_told(tmp_path, monkeypatch):
    space = blocks()
    monkeypatch.setattr(tabulate, "kernel_model", lambda key: None)
    with pytest.raises(UsageError, match="none of the space's kernels could be measured"):
        tabulate.make_device("here", tmp_path, Host(QUICK), space, lambda genotype: record_genotype(space, genotype, X),
                             random.Random(0))
