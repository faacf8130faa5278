"""Measuring: known times through a clock of ours, drift and load that are put in, real networks, boards over ssh."""

import ast
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from archfab.core import BuildError, UsageError
from archfab.evaluate import load_device
from archfab.hardware.measuring import board, remote, timing
from archfab.hardware.measuring.operators import added_up, described
from archfab.hardware.measuring.remote import Place, Sample, ask
from archfab.hardware.measuring.timing import Beat, Settings, interval, measure
from archfab.hardware.measuring.torch_timing import kept, time_module
from archfab.hardware.models.host import Host, milli
from archfab.hardware.network import Network
from archfab.hardware.workload import record

MEASURING = Path(timing.__file__).parent
QUICK = {"seconds": 0.02, "warmup": 0.01, "blocks": 2, "again": 1, "refuse": 1e9}
REQUEST = {"settings": QUICK, "threads": 1, "optimisation": "all", "profile": 3}


# --- a clock of ours

class FakeClock:
    """Time passes only where a test says so; `share` of it is ours."""

    def __init__(self):
        self.now, self.mine, self.share = 0.0, 0.0, 1.0

    def wall(self):
        return self.now

    def process(self):
        return self.mine

    thread = process

    def sleep(self, seconds):
        self.now += seconds
        self.mine += seconds * self.share


def measured(clock, run, looks=(), **settings):
    """A measurement whose looks at the machine find these seconds, the last one again and again."""
    found = itertools.chain(looks, itertools.repeat(looks[-1] if looks else 1.0))
    return measure(run, Settings(**settings), 1, clock, look=lambda _: Beat(next(found), 0.0))


@settings(deadline=None, max_examples=10)
@given(st.floats(1e-5, 3))
def test_a_known_time_is_found(seconds):
    clock = FakeClock()
    found = measured(clock, lambda: clock.sleep(seconds), seconds=0.02, warmup=0.01)
    assert found["median"] == pytest.approx(seconds, rel=1e-6)
    assert found["low"] == pytest.approx(found["high"], rel=1e-6)
    assert found["steady"] and not found["note"] and not found["measured_again"]


def test_the_median_and_its_interval_are_those_of_the_runs():
    clock, rng = FakeClock(), np.random.default_rng(0)
    times = iter(rng.lognormal(-4, 0.3, 100_000))
    found = measured(clock, lambda: clock.sleep(float(next(times))), seconds=20, warmup=0.2)
    assert found["low"] <= np.exp(-4) <= found["high"]
    assert found["median"] == pytest.approx(np.exp(-4), rel=0.05)


def test_slow_first_runs_are_warm_up():
    clock, count = FakeClock(), itertools.count()
    found = measured(clock, lambda: clock.sleep(1.0 if next(count) < 4 else 0.01), warmup=30)
    assert found["high"] == pytest.approx(0.01) and found["warm_up_runs"] >= 4


def test_the_warm_up_ends_though_runs_get_faster_for_ever():
    clock, count = FakeClock(), itertools.count(1)
    assert measured(clock, lambda: clock.sleep(0.1 / next(count) ** 2 + 1e-3), warmup=0.5)["warm_up_runs"] < 1000


def test_a_block_during_which_the_processor_was_slow_is_measured_again():
    clock, looks, slow = FakeClock(), iter([1, 1, 1.5, 1.5]), [1.0]

    def look(_):
        slow.append(next(looks, 1.0))
        return Beat(slow[-1], 0.0)

    found = measure(lambda: clock.sleep(0.01 * slow[-1]), Settings(), 1, clock, look)
    assert found["steady"] and found["measured_again"] == 3         # those that ended, lay, or began in it
    assert found["high"] == pytest.approx(0.01)
    assert [bool(block["fault"]) for block in found["blocks"]] == [False, True, True, True] + 4 * [False]
    assert "50 % slower" in found["blocks"][1]["fault"]


def test_a_drift_that_does_not_end_is_said_and_widens_the_interval():
    clock, count = FakeClock(), itertools.count()

    def look(_):
        return Beat(1 + 0.1 * next(count), 0.0)

    pace = itertools.count()
    found = measure(lambda: clock.sleep(0.01 + 1e-5 * next(pace)), Settings(), 1, clock, look)
    assert not found["steady"] and found["measured_again"] == Settings.again
    assert "10 of 10 blocks were disturbed: the processor was" in found["note"] and not found["refused"]
    medians = [block["median"] for block in found["blocks"]]
    assert found["low"] <= min(medians) and found["high"] >= max(medians) > min(medians)


def test_a_new_run_for_each_block_makes_its_luck_part_of_the_interval():
    clock, luck = FakeClock(), iter([0.011, 0.012, 0.013, 0.014])

    def renew():
        seconds = next(luck)
        return lambda: clock.sleep(seconds)

    found = measure(lambda: clock.sleep(0.01), Settings(), 1, clock, lambda _: Beat(1.0, 0.0), renew=renew)
    assert (found["low"], found["median"], found["high"]) == pytest.approx((0.01, 0.012, 0.014), rel=0.02)


def test_an_interval_that_is_too_wide_is_refused():
    clock, count = FakeClock(), itertools.count()
    found = measure(lambda: clock.sleep(0.01 * 1.01 ** next(count)), Settings(seconds=5), 1, clock,
                    lambda _: Beat(1 + 0.1 * next(count), 0.0))
    assert not found["steady"] and found["refused"]


def test_a_busy_machine_is_not_refused_while_our_own_times_agree():
    clock = FakeClock()
    clock.share = 0.1
    found = measured(clock, lambda: clock.sleep(0.01))
    assert found["high"] == pytest.approx(10 * found["low"]) and not found["steady"] and not found["refused"]


def test_runs_that_other_work_interrupted_are_set_aside():
    clock, count = FakeClock(), itertools.count()

    def run():
        clock.sleep(0.01)
        if next(count) % 4 == 0:                # the processor is gone for a while
            clock.now += 0.05

    found = measured(clock, run, warmup=0.0)
    assert found["steady"] and found["set_aside"] > 0
    assert found["high"] == pytest.approx(0.01)


def test_a_machine_that_is_never_ours_is_told_busy():
    clock = FakeClock()
    clock.share = 0.5
    found = measured(clock, lambda: clock.sleep(0.01))
    assert not found["steady"] and "other work had the processor for 50 % of the time" in found["note"]
    assert found["low"] == pytest.approx(0.005) and found["high"] == pytest.approx(0.01)     # without, and with it
    assert found["median"] == pytest.approx(0.005)


def test_with_several_threads_the_looks_tell_that_the_machine_is_busy():
    clock = FakeClock()
    found = measure(lambda: clock.sleep(0.01), Settings(), 2, clock, lambda _: Beat(1.0, 0.3))
    assert not found["steady"] and "30 %" in found["note"]


def test_energy_is_what_the_meter_says_of_a_run():
    clock = FakeClock()
    found = measure(lambda: clock.sleep(0.01), Settings(), 1, clock, lambda _: Beat(1.0, 0.0),
                    meter=lambda: 3 * clock.now)
    assert found["joules"]["median"] == pytest.approx(0.03)
    assert "joules" not in measured(clock, lambda: clock.sleep(0.01))


def test_the_garbage_collector_rests_while_timing_and_works_again_after():
    import gc
    clock, seen = FakeClock(), set()

    def run():
        seen.add(gc.isenabled())
        clock.sleep(0.01)

    measured(clock, run)
    assert seen == {False} and gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        measured(clock, lambda: 1 / 0)
    assert gc.isenabled()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_the_interval_of_a_median_holds_it(values):
    low, high = interval(sorted(values))
    assert min(values) <= low <= np.median(values) <= high <= max(values)


@pytest.mark.parametrize(("n", "rank"), [(5, 1), (6, 1), (9, 2), (10, 2), (20, 6), (50, 18), (100, 40)])
def test_the_ranks_of_the_interval_are_those_of_the_binomial_table(n, rank):        # as in Conover's tables
    assert interval(list(range(1, n + 1))) == (rank, n + 1 - rank)


def test_nineteen_of_twenty_intervals_hold_the_median():
    rng = np.random.default_rng(1)
    held = [low <= 0 <= high for low, high in (interval(sorted(rng.standard_normal(n))) for n in (15, 60, 300)
                                               for _ in range(400))]
    assert 0.93 <= np.mean(held) <= 0.99


# --- what runs on a board

@pytest.mark.parametrize("name", remote.SENT)
def test_what_is_sent_needs_the_standard_library_alone_and_an_old_python(name):
    tree = ast.parse((MEASURING / f"{name}.py").read_text(), feature_version=(3, 8))
    for node in tree.body:          # numpy and onnxruntime are imported where a message can say that they lack
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
            [node.module] if isinstance(node, ast.ImportFrom) else []
        for each in names:
            ours = each.removeprefix("archfab.hardware.measuring.")
            assert each.split(".")[0] in sys.stdlib_module_names or ours in remote.SENT[:remote.SENT.index(name)]


def zone(folder, number, micro, name="package-0"):
    path = folder / f"intel-rapl:{number}"
    path.mkdir(exist_ok=True)
    (path / "name").write_text(name)
    (path / "energy_uj").write_text(str(micro))
    (path / "max_energy_range_uj").write_text("1000000")
    return path


def test_energy_counters_are_added_and_start_again_at_their_end(tmp_path):
    zone(tmp_path, 0, 900_000)
    zone(tmp_path, 1, 0, "package-1")
    zone(tmp_path, "0:0", 7, "core")
    shutil.copytree(zone(tmp_path, 0, 900_000), tmp_path / "intel-rapl-mmio:0")     # the same package once more
    joules = board.rapl(str(tmp_path))
    assert joules() == 0
    zone(tmp_path, 0, 950_000)
    zone(tmp_path, 1, 500_000, "package-1")
    assert joules() == pytest.approx(0.55)
    zone(tmp_path, 0, 50_000)               # full at 1 J
    assert joules() == pytest.approx(0.65)


def test_without_counters_there_is_no_energy(tmp_path):
    assert board.rapl(str(tmp_path)) is None
    (zone(tmp_path, 0, 1) / "energy_uj").unlink()
    assert board.rapl(str(tmp_path)) is None


# --- networks

def dense(layers, width=64, rows=8):
    """`layers` products of 8 rows with 64 x 64 weights."""
    rng, names = np.random.default_rng(0), [f"x{i}" for i in range(layers + 1)]
    weights = [numpy_helper.from_array(rng.standard_normal((width, width)).astype("f"), f"w{i}") for i in range(layers)]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]], f"product{i}") for i in range(layers)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, width]) for name in (names[0], names[-1])]
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def both():
    """What is found of 2 and of 200 layers, and of bytes that are no network."""
    return ask(Place(), REQUEST, [*(Sample(dense(n).SerializeToString()) for n in (2, 200)), Sample(b"nothing")])


def test_a_deeper_network_takes_longer(both):
    _, (short, long, _) = both
    assert 0 < short["timing"]["low"] <= short["timing"]["median"] <= short["timing"]["high"]
    assert long["timing"]["median"] > short["timing"]["median"]


def test_each_operator_is_a_row_with_its_name_shape_and_work(both):
    rows = [described(row) for row in both[1][0]["operators"]]
    assert [row["name"] for row in rows] == ["product0", "product1"]
    assert all(row["kind"] == "linear" and row["shape"] == [8, 64] and row["macs"] == 8 * 64 * 64 for row in rows)
    assert len(both[1][1]["operators"]) == 200


def test_the_memory_is_that_of_the_activations(both):
    held = both[1][0]["arena"]
    assert held == 3 * 8 * 64 * 4           # the input, what is between, the output
    assert both[1][1]["arena"] <= 4 * 8 * 64 * 4        # however many layers follow each other


def test_a_network_that_onnxruntime_refuses_is_told_with_the_reason(both):
    assert "INVALID_PROTOBUF" in both[1][2]["error"] or "InvalidProtobuf" in both[1][2]["error"]


def test_the_machine_says_what_it_is(both):
    import onnxruntime
    assert both[0]["onnxruntime"] == onnxruntime.__version__ and both[0]["threads"] == 1
    assert both[0]["processor"] and both[0]["governor"]
    if hasattr(os, "sched_getaffinity"):
        assert len(both[0]["cores_used"]) == 1


def test_inputs_arrive_as_they_are():
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "index"], ["y"])], "look-up",
        [helper.make_tensor_value_info("index", TensorProto.INT64, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 4])],
        [numpy_helper.from_array(np.zeros((10, 4), "f"), "table")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    _, (right, wrong, made_up) = ask(Place(), REQUEST, [
        Sample(model, (np.array([1, 9, 3]),)), Sample(model, (np.array([1, 11, 3]),)), Sample(model)])
    assert "timing" in right and "timing" in made_up and "out of" in wrong["error"]


def test_an_axis_of_no_length_is_refused():
    model = dense(1)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    _, (found,) = ask(Place(), REQUEST, [Sample(model.SerializeToString())])
    assert "'batch' of no fixed length" in found["error"]


def test_rows_add_up_to_the_latency():
    profile = [{"operator": "a", "milliseconds": 1.0}, {"operator": "b", "milliseconds": 3.0}]
    assert [row["latency_ms"] for row in added_up(profile, 5.0)] == [1.0, 3.0, 1.0]
    assert [row["latency_ms"] for row in added_up(profile, 2.0)] == [0.5, 1.5]
    assert added_up([], 2.0)[0]["operator"] == "between operators"


@pytest.mark.parametrize(("groups", "kernel", "kind", "macs"), [
    (1, 3, "conv", 16 * 8 * 8 * 8 * 9), (1, 1, "pointwise", 16 * 8 * 8 * 8), (8, 3, "depthwise", 16 * 8 * 8 * 9)])
def test_the_work_of_a_convolution_follows_from_its_shapes(groups, kernel, kind, macs):
    row = described({"op": "FusedConv", "name": "", "milliseconds": 1, "inputs": [
        {"dtype": "float", "shape": [1, 8, 8, 8]}, {"dtype": "float", "shape": [16, 8 // groups, kernel, kernel]}],
        "outputs": [{"dtype": "float", "shape": [1, 16, 8, 8]}]})
    assert (row["kind"], row["macs"]) == (kind, macs)


def test_torch_rows_are_the_operators_that_ran_and_the_module_stays_as_it_was():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU()).train()
    before = [x.stride() for x in module.parameters()], torch.get_num_threads()
    for layout in ("nchw", "nhwc"):
        found = time_module(module, (torch.rand(1, 3, 10, 10),), Settings(**QUICK), layout=layout)
        rows = [(row["operator"], row["kind"], row["shape"]) for row in found["operators"] if row["bytes"]]
        assert rows == [("convolution", "conv", [1, 8, 8, 8]), ("native_batch_norm", "norm", [1, 8, 8, 8]),
                        ("relu", "elementwise", [1, 8, 8, 8])]
        assert found["operators"][0]["macs"] == 8 * 8 * 8 * 27
    assert ([x.stride() for x in module.parameters()], torch.get_num_threads()) == before
    assert all(part.training for part in module.modules())


# --- the device

class Known:
    """A network that a device can run, as `hardware.network` has it."""

    def __init__(self, model):
        self.model, self.asked = model, 0

    def onnx(self):
        self.asked += 1
        return self.model

    def module(self):
        return None

    def inputs(self):
        return (torch.zeros(8, 64),)


class Traced:
    macs, params, ops, buffers = 12, 34, (), ()

    def __init__(self, network):
        self.network = network


def test_the_device_gives_measurements_with_their_interval():
    costs = Host({"name": "mine", **QUICK, "profile": 3}).cost(Traced(Known(dense(5))))
    latency = costs.figures["latency_ms"]
    assert latency.origin == "measured" and latency.low < latency.value < latency.high
    assert sum(row["latency_ms"] for row in costs.operators) == pytest.approx(latency.value)
    assert costs.figures["macs"].value == 12 and costs.notes["machine"]["threads"] == 1
    assert json.dumps(dict(costs.notes)) and not costs.unknown


def test_the_interval_is_wider_by_what_processes_differ():
    found = milli({"median": 1e-3, "low": 0.9e-3, "high": 1.1e-3}, 0.02)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 0.9 / 1.02, 1.1 * 1.02))


def test_what_is_known_is_not_measured_again(monkeypatch):
    from archfab.hardware.models import host
    device = Host({"name": "mine", **QUICK})
    first = device.cost(Traced(Known(dense(6))))
    monkeypatch.setattr(host, "ask", lambda *_: pytest.fail("it is known"))
    assert device.cost(Traced(Known(dense(6)))) == first
    with pytest.raises(pytest.fail.Exception):
        Host({"name": "mine", **QUICK, "threads": 2}).cost(Traced(Known(dense(6))))


def test_a_machine_that_does_not_hold_still_fails_the_network(monkeypatch):
    from archfab.hardware.models import host
    restless = {"median": 2.0, "low": 1.0, "high": 9.0, "steady": False, "refused": True, "note": "10 of 10 blocks"}
    monkeypatch.setattr(host, "ask", lambda *_: ({}, [{"timing": restless, "operators": []}]))
    with pytest.raises(BuildError, match=r"does not hold still: 10 of 10.*between 1000 and 9000 ms.*refuse = "):
        Host({"name": "restless"}).cost(Traced(Known(dense(1))))


def test_a_network_of_which_only_operators_are_known_cannot_be_run():
    with pytest.raises(BuildError, match="only the operators are known"):
        Host({"name": "mine"}).cost(Traced(None))
    with pytest.raises(BuildError, match="an ONNX file alone"):
        Host({"name": "mine", "runtime": "torch"}).cost(Traced(Known(dense(1))))


@pytest.mark.parametrize(("wrong", "said"), [
    ({"thread": 2}, "did you mean 'threads'"), ({"threads": 0}, "from 1 up"), ({"threads": 1.5}, "a whole number"),
    ({"threads": True}, "a whole number"), ({"runtime": "onnx"}, "did you mean 'onnxruntime'"),
    ({"seconds": -1}, "above 0"), ({"seconds": float("nan")}, "above 0"), ({"warmup": float("inf")}, "from 0 up"),
    ({"cores": 3}, "is a list"), ({"ssh_options": ["-p", 22]}, "is a list"), ({"ssh": "-oProxyCommand=x"}, "USER@HOST"),
    ({"ssh": "a b"}, "USER@HOST"), ({"ssh": "pi@board", "runtime": "torch"}, "not by torch"),
    ({"cores": [-1]}, "from 0 up"), ({"cores": [True]}, "from 0 up"),
    ({"layout": "nhwc"}, "onnxruntime has no setting layout"),
    ({"runtime": "torch", "profile": 5}, "torch has no setting profile"), ({"python": "python4"}, "is of a board"),
    ({"ssh": "a", "python": " "}, "the name of a program"), ({"optimisation": "most"}, "optimisation"),
    ({"layout": "chwn"}, "nchw")])
def test_a_wrong_setting_is_named(wrong, said):
    with pytest.raises(UsageError, match=said):
        Host({"name": "mine", **wrong})


@pytest.mark.parametrize("name", ["host", "host-torch"])
def test_the_bundled_devices_load(name):
    device = load_device(name)
    assert device.slow and "latency_ms" in device.figures


# --- boards: an ssh that is a script of ours, then a real one

@pytest.fixture
def fake_ssh(tmp_path, monkeypatch):
    """Puts a shell script in the place of ssh; the last word that it is given is the command for the board."""
    def put(script):
        path = tmp_path / "bin" / "ssh"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\nfor last; do :; done\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
        return Place("pi@board", sys.executable, patience=20)
    return put


def one(place, layers=2):
    return ask(place, REQUEST, [Sample(dense(layers).SerializeToString())])


def test_a_board_says_what_this_machine_says(fake_ssh, both):
    place = fake_ssh('echo "Welcome to the board"; exec sh -c "$last"')
    machine, (found,) = one(place)
    assert set(machine) == set(both[0])
    assert set(found) == set(both[1][0]) and set(found["timing"]) == set(both[1][0]["timing"])
    assert [row["name"] for row in found["operators"]] == ["product0", "product1"]


def test_host_keys_are_checked_and_nothing_is_asked_of_the_user(fake_ssh, tmp_path):
    place = fake_ssh(f'echo "$@" > {tmp_path}/words; exec sh -c "$last"')
    one(Place(place.ssh, place.python, ("-p", "2222")))
    words = (tmp_path / "words").read_text()
    assert "-p 2222" in words and "BatchMode=yes" in words and "ServerAliveInterval" in words
    assert "StrictHostKeyChecking" not in words


UNREACHED = {
    "unknown key": ("Host key verification failed.", 255, UsageError, "accept it once by hand: ssh pi@board"),
    "changed key": ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", 255, UsageError, "ssh-keygen -R board"),
    "no access": ("pi@board: Permission denied (publickey).", 255, UsageError, "ssh-copy-id pi@board"),
    "no name": ("ssh: Could not resolve hostname board: Name or service not known", 255, UsageError, "no machine of"),
    "refused": ("ssh: connect to host board port 22: Connection refused", 255, BuildError, "stopped answering.*power"),
    "lost": ("client_loop: send disconnect: Broken pipe", 255, BuildError, "stopped answering after 0 of 1"),
    "no python": ("sh: 1: python3: not found", 127, UsageError, "no Python by the name.*apt-get install python3"),
    "killed": ("", 137, BuildError, "out of memory"),
    "odd": ("Traceback: odd", 1, BuildError, "ended after 0 of 1 networks: Traceback: odd"),
}


@pytest.mark.parametrize("fault", UNREACHED)
def test_a_board_that_cannot_be_used_is_told_with_what_to_do(fault, fake_ssh):
    words, code, kind, said = UNREACHED[fault]
    with pytest.raises(kind, match=said):
        one(fake_ssh(f'echo "{words}" >&2; exit {code}'))


def test_a_board_without_onnxruntime_or_with_an_old_python_is_told_what_to_install(fake_ssh):
    place = fake_ssh('exec sh -c "$last"')
    bare = Place("pi@board", f"{sys.executable} -S -E")     # without site-packages
    with pytest.raises(UsageError, match=r"cannot import onnxruntime.*pip install onnxruntime"):
        one(bare)
    fake_ssh('echo \'archfab:{"fatal": "python", "because": "3.5.2"}\'')
    with pytest.raises(UsageError, match=r"has Python 3\.5\.2, and measuring needs 3\.8"):
        one(place)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system keeps no process on a core")
def test_cores_that_are_not_there_are_told():
    for wrong in ({"cores": [4000]}, {"threads": 4000}):
        with pytest.raises(UsageError, match=r"has not the cores that the device's file asks for: .*4000"):
            ask(Place(), {**REQUEST, **wrong}, [Sample(dense(1).SerializeToString())])
        with pytest.raises(UsageError, match=r"has not the cores that the device's file asks for: .*4000"), \
                kept(wrong.get("cores", ()), wrong.get("threads", 1)):
            pass


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system keeps no process on a core")
def test_all_threads_of_torch_are_kept_on_the_cores_and_let_go_again():
    idle = threading.Event()
    thread = threading.Thread(target=idle.wait)
    thread.start()
    allowed = os.sched_getaffinity(0)
    core = min(allowed)
    with kept([core], 1) as used:
        assert used == [core] and os.sched_getaffinity(0) == os.sched_getaffinity(thread.native_id) == {core}
    assert os.sched_getaffinity(0) == os.sched_getaffinity(thread.native_id) == allowed
    idle.set()
    thread.join()


def test_two_processes_take_turns_with_torch_too(monkeypatch):
    import fcntl
    taken = []
    monkeypatch.setattr(fcntl, "flock", lambda file, how: taken.append(how))
    module = torch.nn.Linear(3, 2)
    inputs = (torch.rand(1, 3),)
    traced = replace(record(module, inputs), network=Network(lambda: (module, inputs)))
    Host({"name": "mine", "runtime": "torch", **QUICK}).cost(traced)
    assert taken == [fcntl.LOCK_EX]


def test_a_board_that_is_gone_fails_the_trial_and_not_the_run(fake_ssh, tmp_path, monkeypatch):
    from archfab.core import Job, Trial
    from archfab.plan import plan
    monkeypatch.setattr("archfab.exporting.to_onnx", lambda *_: dense(1))       # which takes seconds
    fake_ssh('echo "ssh: connect to host board port 22: No route to host" >&2; exit 255')
    (tmp_path / "board.toml").write_text('about = "gone"\nmodel = "host"\nssh = "pi@board"\n')
    bench = plan("vision", space="cell", device=str(tmp_path / "board.toml"), options={"channels": 4})
    event = bench.run(Job("try", Trial(0, bench.space.sample(random.Random(0)))))
    assert event.kind == "failed" and "pi@board stopped answering" in event.note and "power" in event.note


def test_a_board_that_falls_silent_is_given_up(fake_ssh):
    place = fake_ssh('echo \'archfab:{"alive": true}\'; exec sleep 60')
    start = time.monotonic()
    with pytest.raises(BuildError, match=r"no sign of life for 0\.5 s.*ssh pi@board.*patience"):
        one(Place(place.ssh, place.python, patience=0.5))
    assert time.monotonic() - start < 30        # not the minute that it sleeps


def test_without_ssh_its_package_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="apt-get install openssh-client"):
        one(Place("pi@board"))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A real sshd with keys that are thrown away, one process for each connection, on no port at all."""
    tools = [shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("sshd", "ssh", "ssh-keygen")]
    if not all(tools):                  # the same client without a server is tested by `fake_ssh`, everywhere
        pytest.skip("needs a real ssh on both sides: apt-get install openssh-server openssh-client")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)       # where sshd locks itself in, when it is root's
    for name in ("host", "user"):
        subprocess.run([tools[2], "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    (tmp_path / "sshd_config").write_text(
        f"HostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/user.pub\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPermitRootLogin yes\nPidFile none\n")
    (tmp_path / "known").write_text("board " + (tmp_path / "host.pub").read_text())
    (tmp_path / "config").write_text(
        f"Host board\n  ProxyCommand {tools[0]} -i -f {tmp_path}/sshd_config\n  IdentityFile {tmp_path}/user\n"
        f"  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {tmp_path}/known\n"
        "  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n")
    import getpass
    return Place(f"{getpass.getuser()}@board", sys.executable, ("-F", str(tmp_path / "config")))


def test_over_a_real_ssh_a_network_is_measured_as_here(server, both):
    machine, (found,) = one(server)
    assert set(machine) == set(both[0]) and set(found) == set(both[1][0])
    assert found["timing"]["median"] > 0 and found.get("arena") == both[1][0].get("arena")


def test_a_real_ssh_refuses_a_host_key_that_is_not_known(server, tmp_path):
    (tmp_path / "known").write_text("")
    with pytest.raises(UsageError, match="host key"):
        one(server)


def test_a_real_ssh_with_another_key_is_not_let_in(server, tmp_path):
    (tmp_path / "user.pub").write_text((tmp_path / "host.pub").read_text())
    with pytest.raises(UsageError, match="ssh-copy-id"):
        one(server)


def test_a_server_that_is_killed_fails_the_network_with_advice(server, tmp_path):
    python = tmp_path / "python"                # kills the server that it came through, in the middle of the work
    python.write_text("#!/bin/sh\nread header\nkill -9 $PPID\nsleep 30\n")
    python.chmod(0o755)
    with pytest.raises(BuildError, match=r"stopped answering after 0 of 1 networks.*see whether it has power"):
        one(Place(server.ssh, str(python), server.ssh_options, patience=20))
