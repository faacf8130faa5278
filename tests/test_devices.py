"""Devices and their cost model: golden costs by hand, counts against torch's and a published table, measured nets."""

import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from driving import refuses_device
from scipy.stats import spearmanr
from torch.utils.flop_counter import FlopCounterMode

from archfab import nn, registry
from archfab.core import UsageError
from archfab.evaluate import load_device
from archfab.hardware.kernels import fuse
from archfab.hardware.loops import Loops
from archfab.hardware.models.roofline import KINDS, Roofline
from archfab.hardware.network import Network
from archfab.hardware.numbers import OTHERS, unit_of
from archfab.hardware.tracing import trace
from archfab.hardware.workload import record, record_genotype
from archfab.lowering.concrete import build
from archfab.space import Space

ROOT = Path(__file__).parents[1]
DEVICES = registry.names("devices")
ROOFLINES = [name for name in DEVICES if isinstance(load_device(name), Roofline)]


@pytest.fixture(scope="session")
def calibration():
    """benchmarks/calibration.py as a module."""
    return registry.user_file(ROOT / "benchmarks/calibration.py")


def small_net(inplace=False):
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU(inplace=inplace),
        torch.nn.Conv2d(8, 8, 3, padding=1, groups=8), torch.nn.ReLU(inplace=inplace), torch.nn.MaxPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(8 * 4 * 4, 5))


def small_workload(inplace=False):
    model, inputs = small_net(inplace).eval(), (torch.rand(1, 3, 8, 8),)
    return replace(record(model, inputs), network=Network(lambda: (model, inputs)))


def with_slow_marked(names):
    """Devices that run a network take seconds."""
    return [pytest.param(name, marks=[pytest.mark.slow] if load_device(name).slow else []) for name in names]


def made_up(**changes):
    """A device of round numbers; `None` takes one away."""
    def entry(value, key):
        return {"value": value, "unit": unit_of(key), "origin": "analytic", "source": "made up for this test"}

    def error(low, high):
        return {"low": low, "high": high, "origin": "analytic", "source": "made up for this test"}

    values = {"peak_gmacs": 1, "bandwidth_gb_s": 1, "overhead_us": 10, "power_w": 2, **changes}
    return {"name": "made-up", "bits": 8,
            **{key: value if isinstance(value, bool) else entry(value, key) for key, value in values.items()},
            "utilisation": {kind: entry(0.5, f"utilisation.{kind}") for kind in KINDS},
            "error": {"latency_ms": error(0.5, 2), "energy_mj": error(0.25, 4)}}


# --- every bundled device

@pytest.mark.parametrize("name", with_slow_marked(DEVICES))
def test_every_device_costs_a_network(name):
    device = load_device(name)
    try:
        device.ready()
    except UsageError as error:         # compilers and simulators are extras, and not on every machine
        pytest.skip(str(error))
    costs = device.cost(small_workload())
    assert device.name == name and device.about
    assert set(costs.figures) == set(device.figures)
    assert costs.figures["macs"].value == 8 * 3 * 9 * 64 + 8 * 9 * 64 + 128 * 5
    assert costs.figures["params"].value == sum(p.numel() for p in small_net().parameters())
    for figure in costs.figures.values():
        assert 0 < figure.low <= figure.value <= figure.high < float("inf")
    assert not costs.unknown


@pytest.mark.parametrize("name", ROOFLINES)
def test_every_number_says_where_it_comes_from(name):
    numbers = registry.load("devices", name)
    assert {f"utilisation.{kind}" for kind in KINDS} < set(load_device(name).sources)
    for key, entry in load_device(name).sources.items():
        assert entry["origin"] in ("measured", "calibrated", "simulated", "analytic"), key
        assert len(entry["source"]) > 20, f"{key}: a source names a document, a fit or an assumption"
        assert key.startswith("error.") or entry["unit"], key
        if "assumption" in entry["source"]:
            assert entry["origin"] == "analytic", f"{key} is assumed, so it is not {entry['origin']}"
    assert set(numbers["error"]) == {"latency_ms", "energy_mj", "assumed"}


@pytest.mark.parametrize("name", ROOFLINES)
def test_rows_add_up_to_the_figures(name):
    costs = load_device(name).cost(small_workload())
    for key in ("latency_ms", "energy_mj", "macs"):
        assert sum(row[key] for row in costs.operators) == pytest.approx(costs.figures[key].value)


@pytest.mark.parametrize("name", ROOFLINES)
def test_calibration_fits_the_devices_own_formula(name, calibration):
    workloads = [small_workload(), record(torch.nn.Linear(7, 3), (torch.rand(2, 7),))]
    expected = [load_device(name).cost(w).figures["latency_ms"].value for w in workloads]
    model = calibration.Model(name, [calibration.Case("", workload, 1.0) for workload in workloads])
    assert np.allclose(model.predict({}) * 1e3, expected)


# --- the formula, by hand

def one_conv():
    """3 to 4 channels, 3x3, on 8x8: 6,912 MACs; moves 192 + 256 activations, 108 weights, 4 biases of 4 bytes."""
    return record(torch.nn.Conv2d(3, 4, 3, padding=1, bias=False), (torch.rand(1, 3, 8, 8),))


def test_golden_cost_of_one_convolution():
    costs = Roofline(made_up()).cost(one_conv())
    assert costs.figures["macs"].value == 6912 and costs.figures["params"].value == 108
    assert costs.figures["latency_ms"].value == pytest.approx(6912 / 0.5e9 * 1e3 + 0.010)      # compute bound
    assert costs.figures["energy_mj"].value == pytest.approx(2 * (6912 / 0.5e9 * 1e3 + 0.010))
    assert costs.figures["memory_kb"].value == (192 + 256) / 1024
    assert costs.figures["flash_kb"].value == 108 / 1024
    assert [(row["bound"], row["bytes"], row["detail"]) for row in costs.operators] == [("compute", 556, "3x3/1")]
    assert costs.figures["latency_ms"].high == pytest.approx(2 * costs.figures["latency_ms"].value)


def test_golden_cost_when_memory_is_slow_and_a_start_is_paid():
    costs = Roofline(made_up(bandwidth_gb_s=0.01, start_us=5)).cost(one_conv())
    assert costs.figures["latency_ms"].value == pytest.approx(556 / 0.01e9 * 1e3 + 0.010 + 0.005)
    assert [row["bound"] for row in costs.operators] == ["memory", "launch"]


def test_small_images_reach_less_of_the_rate_where_a_device_says_so():
    """At 64 positions, with half the rate reached at 32: two thirds of it; 3x3 convolutions keep theirs."""
    half = {"value": 32, "unit": "positions", "origin": "analytic", "source": "made up for this test"}
    numbers = {**made_up(overhead_us=0), "saturation": {"pointwise": half}}
    pointwise = record(torch.nn.Conv2d(16, 32, 1, bias=False), (torch.rand(1, 16, 8, 8),))
    plain, small = (Roofline(each).cost(pointwise).figures["latency_ms"].value
                    for each in (made_up(overhead_us=0), numbers))
    assert small == pytest.approx(1.5 * plain) == pytest.approx(1.5 * 16 * 32 * 64 / 0.5e9 * 1e3)
    several = record(torch.nn.Conv2d(16, 32, 1, bias=False), (torch.rand(4, 16, 8, 8),))     # 256 positions
    assert Roofline(numbers).cost(several).figures["latency_ms"].value == pytest.approx(4 * plain * (1 + 32 / 256))
    assert Roofline(numbers).cost(one_conv()).figures == Roofline(made_up(overhead_us=0)).cost(one_conv()).figures


@pytest.mark.parametrize(("overhead", "seconds", "bound"), [(1, 2 * 6912 / 0.5e9, "compute"), (50, 100e-6, "launch")])
def test_launches_that_run_ahead_cost_the_longer_of_both(overhead, seconds, bound):
    two = torch.nn.Sequential(*[torch.nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(2)])
    workload = record(two, (torch.rand(1, 4, 8, 6),))
    costs = Roofline(made_up(asynchronous=True, overhead_us=overhead)).cost(workload)
    assert workload.macs == 2 * 6912
    assert costs.figures["latency_ms"].value == pytest.approx(seconds * 1e3)
    assert {row["bound"] for row in costs.operators} == {bound}


def test_assumed_utilisations_widen_the_interval():
    numbers = made_up(overhead_us=0)
    numbers["utilisation"]["conv"]["origin"] = "calibrated"
    numbers["error"]["assumed"] = {"low": 0.1, "high": 10, "origin": "analytic", "source": "made up for this test"}
    figure = Roofline(numbers).cost(one_conv()).figures["latency_ms"]
    assert (figure.low, figure.high) == pytest.approx((0.5 * figure.value, 2 * figure.value))
    figure = Roofline(numbers).cost(record(torch.nn.Linear(9, 9), (torch.rand(1, 9),))).figures["latency_ms"]
    assert (figure.low, figure.high) == pytest.approx((0.05 * figure.value, 20 * figure.value))


@pytest.mark.parametrize("key", ["peak_gmacs", "bandwidth_gb_s"])
def test_a_faster_device_is_never_slower(key):
    slow, fast = (Roofline(made_up(**{key: value})).cost(small_workload()).figures["latency_ms"].value
                  for value in (0.01, 0.02))
    assert fast < slow


# --- kernels and memory

def test_norms_and_activations_fold_into_the_kernel_before_them():
    assert [kernel.names for kernel in fuse(small_workload())] == [
        ("convolution", "native_batch_norm", "relu"), ("convolution", "relu"), ("max_pool2d_with_indices",), ("addmm",)]


def test_operators_in_place_cost_the_same():
    plain, inplace = (Roofline(made_up()).cost(small_workload(way)) for way in (False, True))
    assert plain.figures["latency_ms"] == inplace.figures["latency_ms"]
    assert plain.figures["memory_kb"] == inplace.figures["memory_kb"]


class Shortcut(torch.nn.Module):
    """conv(x) + x, by a plain or an in-place addition."""

    def __init__(self, inplace=False):
        super().__init__()
        self.conv = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.inplace = inplace

    def forward(self, x):
        y = self.conv(x)
        if self.inplace:
            y += x
            return y
        return y + x


@pytest.mark.parametrize("inplace", [False, True])
def test_memory_of_a_residual_holds_the_shortcut(inplace):
    """x, conv(x) and nothing more: the addition writes over one of them. Traffic of it: two read, one written."""
    workload = record(Shortcut(inplace), (torch.rand(1, 4, 16, 16),))
    costs = Roofline(made_up()).cost(workload)
    assert costs.figures["memory_kb"].value == 2 * 4 * 256 / 1024
    assert costs.operators[1]["bytes"] == 3 * 4 * 256


def test_memory_of_a_chain_is_its_largest_step():
    """On 16x16: 4 -> 8 -> 2 channels; 8 + 4 live in the first step, 8 + 2 in the second."""
    net = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 1), torch.nn.Conv2d(8, 2, 1))
    costs = Roofline(made_up()).cost(record(net, (torch.rand(1, 4, 16, 16),)))
    assert costs.figures["memory_kb"].value == 12 * 256 / 1024


class Triangle(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.qr(x)[1]


class Spectrum(torch.nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).real


@pytest.mark.parametrize("name", ROOFLINES)
def test_an_unknown_operator_is_named_and_not_free(name):
    costs = load_device(name).cost(record(Triangle(), (torch.rand(4, 64),)))
    assert costs.unknown == ["linalg_qr"]
    assert next(row for row in costs.operators if "linalg_qr" in row["operator"])["latency_ms"] > 0


def test_a_fourier_transform_is_counted():
    """Of 64 real numbers: 32 log2 64 complex products of four, half of that; the answer is complex."""
    workload = record(Spectrum(), (torch.rand(4, 64),))
    op, spectrum = workload.ops[0], workload.buffers[workload.ops[0].writes[0]]
    assert (op.kind, op.macs) == ("fourier", 4 * 32 * 6 * 4 // 2)
    assert (spectrum.dtype, spectrum.elements, spectrum.bytes_in(8)) == ("complex64", 4 * 33, 2 * 4 * 33)
    assert not load_device("cortex-m7").cost(workload).unknown


# --- loop nests

NESTS = {
    "conv2d": (torch.nn.Conv2d(6, 4, (3, 5), stride=(2, 1), dilation=(1, 2), groups=2, padding=1), (2, 6, 9, 20),
               Loops(2, 2, 2, 3, 5, 14, 3, 5, (2, 1), (1, 2))),
    "depthwise": (torch.nn.Conv2d(6, 6, 3, groups=6), (1, 6, 9, 9), Loops(1, 6, 1, 1, 7, 7, 3, 3)),
    "conv1d": (torch.nn.Conv1d(6, 4, 3, stride=2), (2, 6, 9), Loops(2, 1, 4, 6, 1, 4, 1, 3, (1, 2))),
    "transposed": (torch.nn.ConvTranspose2d(6, 4, 3, stride=2), (1, 6, 5, 7), Loops(1, 1, 4, 6, 5, 7, 3, 3)),
    "linear": (torch.nn.Linear(6, 4), (5, 6), Loops(outputs=4, inputs=6, height=5)),
    "linear on a sequence": (torch.nn.Linear(6, 4), (2, 3, 6), Loops(outputs=4, inputs=6, height=6)),
}


@pytest.mark.parametrize("name", NESTS)
def test_the_loop_nest_of_an_operator(name):
    module, shape, nest = NESTS[name]
    op, = (op for op in record(module, (torch.rand(shape),)).ops if op.macs)
    assert op.loops == (nest,)
    assert op.macs == nest.macs == torchs_count(module, (torch.rand(shape),))


def test_attention_is_two_nests():
    q, k, v = torch.rand(2, 4, 5, 8), torch.rand(2, 4, 7, 8), torch.rand(2, 4, 7, 8)

    class Attention(torch.nn.Module):
        def forward(self, q, k, v):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    op, = record(Attention(), (q, k, v)).ops
    assert op.loops == (Loops(groups=8, outputs=7, inputs=8, height=5), Loops(groups=8, outputs=8, inputs=7, height=5))
    assert op.macs == sum(nest.macs for nest in op.loops)


# --- fusion rules

def test_a_device_says_what_its_runtime_folds():
    rules = {"norm": ["conv"], "elementwise": []}
    costs = Roofline({**made_up(), "fusion": rules}).cost(small_workload())
    assert [row["operator"] for row in costs.operators][:3] == ["convolution+native_batch_norm", "relu", "convolution"]
    assert len(Roofline({**made_up(), "fusion": {}}).cost(small_workload()).operators) == len(small_workload().ops)


@pytest.mark.parametrize("rules", [["norm"], {"norm": "conv"}, {"normal": ["conv"]}, {"norm": ["con"]}])
def test_impossible_fusion_rules_are_refused(rules):
    with pytest.raises(UsageError, match="fusion"):
        Roofline({**made_up(), "fusion": rules})


class Slope(torch.nn.Module):
    """An answer that is a gradient, as forces are."""

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            turned = torch.linalg.cross(x[:, :3], x[:, 1:4])
            functions = torch.nn.functional
            y = functions.silu(turned).sum() + torch.tanh(x[0]).sum() + functions.gelu(x).sum() + torch.relu(x).sum()
            return torch.autograd.grad(y + torch.sigmoid(x).sum(), x)[0]


@pytest.mark.parametrize("name", ROOFLINES)
def test_the_operators_of_a_gradient_are_known(name):
    workload = record(Slope(), (torch.rand(4, 5),))
    assert {"silu_backward", "tanh_backward", "linalg_cross", "slice_backward"} <= {op.name for op in workload.ops}
    assert not load_device(name).cost(workload).unknown


# --- counts against others

IMAGE = (1, 8, 12, 12)
BLOCKS = {
    "MBConv": nn.MBConv(8, 5, 3), "MBConv with squeeze": nn.MBConv(16, 3, 6, 2, squeeze=4),
    "SeparableConv": nn.SeparableConv(24, stride=2), "ResidualBlock": nn.ResidualBlock(16, stride=2)}


def torchs_count(model, inputs):
    """Multiply-accumulates by torch's own counter, which calls each two operations."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(*inputs)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("name", BLOCKS)
def test_macs_of_blocks_equal_torchs_count(name):
    x = (torch.rand(IMAGE),)
    space = Space(BLOCKS[name])
    assert record_genotype(space, {}, x).macs == torchs_count(build(space, {}, x), x) > 0


def test_macs_of_a_cell_network_equal_torchs_count(calibration):
    space, x = Space(calibration.nasbench201()), (torch.rand(1, 3, 32, 32),)
    genotype = space.sample(random.Random(3))
    assert record_genotype(space, genotype, x).macs == torchs_count(build(space, genotype, x), x) > 0


@pytest.fixture
def no_fused_attention():
    """Torch's fused attention for inference hides its products from every counter, its own included."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


TOKENS, WIDTH, HIDDEN = 10, 32, 64
ATTENTION_MACS = 4 * TOKENS * WIDTH * WIDTH + 2 * TOKENS * TOKENS * WIDTH


def test_macs_of_attention_equal_torchs_count(no_fused_attention):
    model, inputs = torch.nn.MultiheadAttention(WIDTH, 4, batch_first=True), (torch.rand(1, TOKENS, WIDTH),) * 3
    assert record(model, inputs).macs == torchs_count(model, inputs) == ATTENTION_MACS


def test_macs_of_a_transformer_layer_equal_a_count_by_hand():
    model = torch.nn.TransformerEncoderLayer(WIDTH, 4, HIDDEN, batch_first=True)
    assert record(model, (torch.rand(1, TOKENS, WIDTH),)).macs == ATTENTION_MACS + 2 * TOKENS * WIDTH * HIDDEN


@pytest.mark.shared
def test_parameters_equal_the_nasbench201_table(calibration, shared_data):
    rows = [row for row in calibration.table("nasbench201/archs.csv.gz") if calibration.all_reachable(row)]
    assert len(rows) == 9445 - 1        # as many as the table counts, but for the empty cell
    space, x = Space(calibration.nasbench201()), (torch.empty(1, 3, 32, 32),)
    for row in random.Random(5).sample(rows, 30):
        workload = trace(space, calibration.genotype_of(row), x)
        assert workload.params == round(float(row["params_m"]) * 1e6), row["arch_str"]


# --- measured networks

TINY_MACS = {"AD": 264_192, "KWS": 2_656_768, "IC": 12_501_632, "VWW": 7_489_664}


MICROCONTROLLERS = ("cortex-m4", "cortex-m33", "cortex-m7")


@pytest.mark.parametrize("board", MICROCONTROLLERS)
def test_mlperf_tiny_lies_within_the_stated_interval(board, calibration):
    device = load_device(board)
    for name, workload in calibration.tiny_networks().items():
        costs = device.cost(workload).figures
        rate, microjoules = calibration.TINY[board][name]
        assert workload.macs == TINY_MACS[name]
        assert costs["latency_ms"].low <= 1e3 / rate <= costs["latency_ms"].high, name
        assert costs["energy_mj"].low <= microjoules / 1e3 <= costs["energy_mj"].high, name
        assert costs["memory_kb"].value < device.capacity["memory_kb"], name
        assert costs["flash_kb"].value < device.capacity["flash_kb"], name


@pytest.mark.parametrize("board", MICROCONTROLLERS)
def test_leave_one_out_stays_within_the_stated_interval(board, calibration):
    errors = registry.load("devices", board)["error"]
    cases = list(calibration.cases_of(board))
    for row, name in zip(calibration.leave_one_out_rows(board, cases), ("latency_ms", "energy_mj"), strict=True):
        assert row["value"] <= errors[name]["high"] + 0.005
        assert row["value"] <= 1 / errors[name]["low"] + 0.02


def test_mobilenet_on_the_edge_npu_lies_within_the_stated_interval(calibration):
    workload = calibration.recorded(calibration.mobilenet(1, 1000), 3, 224, 224)
    latency = load_device("edge-npu").cost(workload).figures["latency_ms"]
    assert workload.params == 4_231_976
    assert latency.low <= calibration.CORAL_MOBILENET_MS <= latency.high


@pytest.mark.shared
@pytest.mark.parametrize(("name", "column", "file"), [
    ("raspberry-pi-4", "raspi4_latency", "hw-nas-bench/nb201_cifar10.csv.gz"),
    ("edge-npu", "edgetpu_latency", "hw-nas-bench/nb201_cifar10.csv.gz"),
    pytest.param("pixel-3", "pixel3_latency", "hw-nas-bench/nb201_cifar10.csv.gz", marks=pytest.mark.slow),
    pytest.param("adreno-640", "gpu", "nn-meter/nb201_latency_ms.csv.gz", marks=pytest.mark.slow)])
def test_other_measured_cells_are_ranked_and_enclosed(name, column, file, calibration, shared_data):
    times = {row["idx"]: row[column] for row in calibration.table(file)}
    rows = [row for row in calibration.table("nasbench201/archs.csv.gz")
            if calibration.all_reachable(row) and times.get(row["idx"])]
    space, device, x = Space(calibration.nasbench201()), load_device(name), (torch.empty(1, 3, 32, 32),)
    chosen = random.Random(7).sample(rows, 25)
    costs = [device.cost(trace(space, calibration.genotype_of(row), x)).figures["latency_ms"]
             for row in chosen]
    measured = [float(times[row["idx"]]) for row in chosen]
    assert spearmanr([cost.value for cost in costs], measured)[0] > 0.9
    assert sum(cost.low <= t <= cost.high for cost, t in zip(costs, measured, strict=True)) >= 20


# --- device files that are wrong

GOOD = (ROOT / "archfab/hardware/devices/cortex-m7.toml").read_text(encoding="utf-8")


def without(table, line=""):
    """The good file without a table, or without one line of it."""
    return re.sub(rf"(?ms)^\[{re.escape(table)}\]\n.*?(?=^\[|\Z)",
                  lambda found: re.sub(rf"(?m)^{line} = .*\n", "", found[0]) if line else "", GOOD)


def with_value(table, value):
    return re.sub(rf"(?m)(^\[{re.escape(table)}\]\n\w+ = ).*", rf"\g<1>{value}", GOOD)


MEASURED = """
[measured.{}]
value = {}
unit = "{}"
origin = "measured"
source = "a kernel that was timed for this test"
"""
BAD = {
    "no source": (without("power_w", "source"), "power_w"),
    "no origin": (without("utilisation.conv", "origin"), "utilisation.conv"),
    "no value": (without("bandwidth_gb_s", "value"), "bandwidth_gb_s"),
    "no number at all": (without("peak_gmacs"), "peak_gmacs"),
    "negative": (with_value("overhead_us", -1), "overhead_us"),
    "zero peak": (with_value("peak_gmacs", 0), "peak_gmacs"),
    "not a number": (with_value("power_w", "nan"), "power_w"),
    "infinite": (with_value("power_w", "inf"), "power_w"),
    "a word": (with_value("power_w", '"two"'), "power_w"),
    "utilisation 2": (with_value("utilisation.pool", 2), "utilisation.pool"),
    "utilisation 0": (with_value("utilisation.pool", 0), "utilisation.pool"),
    "unknown origin": (GOOD.replace('origin = "measured"', 'origin = "guessed"'), "power_w.*guessed"),
    "missing kind": (without("utilisation.attention"), "attention"),
    "unknown kind": (GOOD.replace("[utilisation.pool]", "[utilisation.pooling]"), "utilisation.pooling"),
    "missing error": (without("error.energy_mj"), "error.energy_mj"),
    "error that leaves out the value": (with_value("error.latency_ms", 1.2), "error.latency_ms"),
    "unknown capacity": (GOOD.replace("[capacity.memory_kb]", "[capacity.ram]"), "capacity.ram"),
    "bits": (GOOD.replace("bits = 8", "bits = 7"), "bits"),
    "no unit": (without("peak_gmacs", "unit"), "peak_gmacs has no unit; it is to be in GMAC/s"),
    "utilisation without a unit": (without("utilisation.pool", "unit"), "share of peak"),
    "another unit": (GOOD.replace('unit = "GB/s"', 'unit = "MB/s"'), r"bandwidth_gb_s is in 'MB/s'.*0\.00224 GB/s"),
    "operations for multiply-accumulates": (GOOD.replace("GMAC/s", "GFLOPS"), r"0\.56 GFLOPS are 0\.28 GMAC/s"),
    "empty source": (re.sub(r'(?m)(^\[power_w\]\n(?:.*\n)*?source = ).*', r'\g<1>""', GOOD), "power_w has no source"),
    "bandwidth 0": (with_value("bandwidth_gb_s", 0), "bandwidth_gb_s must be above 0"),
    "no room": (with_value("capacity.memory_kb", 0), "capacity.memory_kb must be above 0"),
    "true": (with_value("power_w", "true"), "power_w is no number"),
    "peak below measured": (GOOD + MEASURED.format("peak_gmacs", 0.6, "GMAC/s"), "peak_gmacs of 0.56 is below the 0.6"),
    "bandwidth below measured": (GOOD + MEASURED.format("bandwidth_gb_s", 3, "GB/s"), "gb_s of 2.24 is below the 3"),
    "measured what": (GOOD + MEASURED.format("power_w", 3, "W"), "there is no measured.power_w"),
    "utilisation above 1": (with_value("utilisation.conv", 1.2), r"peak of 0\.56 GMAC/s is too low"),
    "saturation of what has no positions": (GOOD.replace("[utilisation.conv]", "[saturation.linear]\nx = 1\n"
                                                         "[utilisation.conv]"), "there is no saturation.linear"),
    "memory order": (GOOD + "\n[memory]\norder = 3\n", "reorders, in_place, keeps_input, alignment"),
    "memory in place": (GOOD + "\n[memory]\nin_place = 1\n", "memory.in_place is true or false, not 1"),
    "memory alignment": (GOOD + "\n[memory]\nalignment = 0\n", "memory.alignment is a whole number from 1 up"),
    "memory no table": (GOOD.replace("bits = 8", "bits = 8\nmemory = 3"), r"\[memory\] is a table of reorders"),
    "no table": (without("capacity.memory_kb").replace("[capacity.flash_kb]", "[x]").replace(
        "bits = 8", "bits = 8\ncapacity = 3"), "capacity"),
    "unknown table": (GOOD + "\n[utilization.conv]\nvalue = 1\n", "'utilization'.*did you mean 'utilisation'"),
    "unknown number": (GOOD.replace("[power_w]", "[power_mw]"), "no number or table named 'power_mw'.*'power_w'"),
    "asynchronous": (GOOD.replace("bits = 8", 'bits = 8\nasynchronous = "yes"'), "asynchronous is true or false"),
    "missing model": (GOOD.replace('model = "roofline"\n', ""), "model"),
    "unknown model": (GOOD.replace('"roofline"', '"rooflin"'), "did you mean 'roofline'"),
    "bad TOML": ("[peak_gmacs\nvalue = ", "no TOML"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_device_file_says_which_number_is_wrong(fault, tmp_path):
    text, said = BAD[fault]
    assert text != GOOD
    refuses_device(tmp_path, text, said)


def test_the_good_file_loads_by_its_path(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(GOOD, encoding="utf-8")
    assert load_device(str(file)).name == "mine"
    with pytest.raises(UsageError, match=r"there is no file .*absent\.toml"):
        load_device(str(tmp_path / "absent.toml"))


def test_a_measured_rate_below_the_peak_is_taken(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(GOOD + MEASURED.format("peak_gmacs", 0.5, "GMAC/s"), encoding="utf-8")
    assert load_device(str(file)).sources["measured.peak_gmacs"]["value"] == 0.5


@pytest.mark.parametrize(("key", "unit"), [("peak_gmacs", "GMAC/s"), ("bandwidth_gb_s", "GB/s"), ("power_w", "W"),
                                           ("start_us", "us"), ("utilisation.conv", "share of peak"),
                                           ("capacity.flash_kb", "KiB"), ("capacity.params", None)])
def test_the_name_of_a_number_says_its_unit(key, unit):
    assert unit_of(key) == unit
    assert unit is None or unit in OTHERS


def stored(model, *inputs):
    """kB of weights and biases on a device of 8 bits."""
    return Roofline(made_up()).cost(record(model, inputs)).figures["flash_kb"].value * 1024


def test_weights_used_again_are_stored_once():
    linear = torch.nn.Linear(8, 8)
    assert stored(torch.nn.Sequential(linear, linear, linear), torch.rand(1, 8)) == 64 + 8 * 4
    assert stored(torch.nn.LSTM(4, 8, bias=False), torch.rand(10, 1, 4)) == 4 * 8 * (4 + 8)


def test_only_batch_norm_is_folded_and_leaves_a_bias():
    linear = torch.nn.Linear(8, 8, bias=False)
    assert stored(linear, torch.rand(1, 8)) == 64
    assert stored(torch.nn.Sequential(linear, torch.nn.BatchNorm1d(8)), torch.rand(1, 8)) == 64 + 8 * 4
    assert stored(torch.nn.Sequential(linear, torch.nn.LayerNorm(8)), torch.rand(1, 8)) == 64 + 2 * 8
