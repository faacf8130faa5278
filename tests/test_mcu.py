"""Code for microcontrollers: bit for bit the integer reference, counted exactly, with what can go wrong."""

import csv
import random
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from driving import refuses_device
from mcu_graphs import Maker, everything, random_layers

from archfab import registry
from archfab.core import BuildError, UsageError
from archfab.evaluate import load_device
from archfab.exporting import to_onnx
from archfab.hardware.int8.quantise import quantise
from archfab.hardware.mcu import layouts, moves, operators, running, simulator, toolchain
from archfab.hardware.mcu.cache import Cache
from archfab.hardware.mcu.codegen import EMITTERS, generate
from archfab.hardware.mcu.cores import CORES, core_of
from archfab.hardware.mcu.cycles import class_of
from archfab.hardware.mcu.running import examples, execute, first_difference
from archfab.hardware.models.mcu import Mcu
from archfab.hardware.network import Network
from archfab.hardware.workload import record
from archfab.lowering.concrete import build
from archfab.plan import plan
from archfab.space import Space
from archfab.tasks.vision import spaces

ROOT = Path(__file__).parents[1]
TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm", "gcc")
needs_tools = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=toolchain.INSTALL + " gcc")
SIMULATED = [name for name in registry.names("devices") if registry.load("devices", name).get("model") == "mcu"]
FAMILIES = ("cortex-m3", "cortex-m4", "cortex-m55")         # plain C, dual-MAC, vectors


def small(seed=0):
    """A network of two layers that runs in no time."""
    m = Maker(seed, (1, 6, 5, 3))
    m.conv(4)
    m.connected(3)
    return m.graph()


@pytest.fixture
def fresh(tmp_path):
    """A cache that remembers no run, with the compiled kernels of the user's own."""
    core, own, cache = CORES["cortex-m4"], Cache(), Cache(tmp_path / "cache")
    for folder in (toolchain.kernels(core, own), simulator.plugin(own).parent):
        (cache.root / folder.name).symlink_to(folder)
    return cache


def slow_on(name):
    return name if name in FAMILIES else pytest.param(name, marks=pytest.mark.slow)


# --- bit for bit

@needs_tools
@pytest.mark.parametrize("name", [slow_on(name) for name in CORES])
def test_every_operator_gives_the_references_numbers(name):
    graph = everything()
    assert {node.op for node in graph.nodes} | {"gelu", "exp", "rsqrt"} == set(EMITTERS)
    assert first_difference(graph, CORES[name], Cache(), examples(graph)) is None


@needs_tools
@pytest.mark.parametrize("name", [slow_on(name) for name in CORES])
def test_softmax_gives_the_references_numbers(name):
    """Many rows, because its reciprocal, one step of Newton's short, is right in nearly all."""
    m = Maker(0, (200, 12))
    m.add("softmax", (m.x,), m.tensor(m.shape(), scale=(1 / 256,), zero=-128), beta=1.0)
    assert first_difference(m.graph(), CORES[name], Cache(), examples(m.graph())) is None


@needs_tools
@pytest.mark.slow
@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("seed", range(12))
def test_random_layers_give_the_references_numbers(name, seed):
    graph = random_layers(seed)
    assert first_difference(graph, CORES[name], Cache(), examples(graph, seed)) is None


@needs_tools
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mobile", "cell", "darts", "attention"])
@pytest.mark.parametrize("name", CORES)
def test_networks_of_the_vision_spaces_give_the_references_numbers(kind, name):
    space = Space(getattr(spaces, kind)(16, 10))
    x = (torch.randn(1, 1, 16, 16),)
    for seed in range(2):
        graph = quantise(to_onnx(build(space, space.sample(random.Random(seed)), x).eval(), x))
        assert first_difference(graph, CORES[name], Cache(), examples(graph, seed)) is None


@needs_tools
def test_a_wrong_number_is_seen_and_its_operator_named(monkeypatch, fresh):
    right = layouts.pairs
    monkeypatch.setattr(layouts, "pairs", lambda weights: right(weights)[::-1].copy())
    with pytest.raises(BuildError, match=r"other numbers than the int8 reference, first at conv_2d 't\d'.*of 120"):
        execute(Maker.graph(conv_alone()), CORES["cortex-m4"], fresh)


def conv_alone():
    m = Maker(3, (1, 6, 5, 3))
    padded = m.conv(4)
    assert padded
    while m.tensors[m.x].elements != 120:
        m = Maker(int(m.rng.integers(1000)), (1, 6, 5, 3))
        m.conv(4)
    return m


# --- counting

@needs_tools
@pytest.mark.parametrize("name", [slow_on(name) for name in CORES])
def test_the_count_agrees_with_the_system_timer(name, tmp_path):
    core, graph = CORES[name], small()
    source = generate(graph, core, examples(graph)).source
    timed = source.replace("void af_network(void)", "static void whole(void)") + """
        __attribute__((section(".outside"), noinline)) void af_network(void) {
            volatile uint32_t *timer = (volatile uint32_t *)0xe000e010;
            timer[1] = 0xffffff, timer[2] = 0, timer[0] = 5;
            uint32_t before = timer[2];
            whole();
            uint32_t after = timer[2], ticks = (before - after) & 0xffffff;
            af_print((int8_t *)&ticks, 4);
        }"""
    toolchain.link(timed, core, tmp_path, Cache())
    printed = simulator.values(simulator.qemu(tmp_path / "network.elf", core, ["-icount", "shift=4"], 60))
    ticks = int.from_bytes(printed[:4].tobytes(), "little")
    counted = execute(graph, core, Cache()).instructions
    marks = 3 * len(generate(graph, core, examples(graph)).nodes) + 3        # a mark is a call, a jump and a return
    assert ticks * core.tick_ns / 16 == pytest.approx(counted + marks, abs=6)   # a tick is 2 or 3 instructions
    assert counted > 1000


def test_an_instruction_without_operands_does_not_hide_the_next_one():
    text = ("   10:\tfe71 0f4d \tvpst\n   14:\ted91 1e00 \tvldrbt.u8\tq0, [r1]\n\n"
            "00000018 <f>:\n   18:\t4770      \tbx\tlr\n")
    assert simulator.LINE.findall(text) == [("10", "vpst", ""), ("14", "vldrbt.u8", "q0, [r1]"), ("18", "bx", "lr")]


def test_marks_are_not_counted_and_code_that_nobody_saw_is_refused():
    code = {0: ("bl", "20 <__af_mark_veneer>"), 4: ("mul", "r0, r1"), 8: ("vpst", ""), 32: ("bx", "lr"),
            40: ("ldr.w", "pc, [pc] @ 44 <__af_mark_veneer+0x4>")}
    counts = "0 999 1 5\n1 4 2 7\n1 0 1 1\n1 28 1 1\n1 20 1 1\n"
    assert simulator.histograms(counts, code, 32) == ({"mul": 7, "vpst": 7},)
    with pytest.raises(BuildError, match="code ran at 0x999"):
        simulator.histograms("1 999 1 5\n", code, 32)


@needs_tools
def test_a_run_is_remembered_and_nothing_is_left_behind(tmp_path, monkeypatch, fresh):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    graph, core = small(1), CORES["cortex-m4"]
    done = execute(graph, core, fresh)
    assert not list(temporary.iterdir())
    monkeypatch.setattr(running, "simulate", None)           # a second simulation would fail
    assert execute(graph, core, fresh) == done
    [entry] = fresh.root.glob("run-*.json")
    entry.write_text('{"flash": 1')
    with pytest.raises(TypeError):
        execute(graph, core, fresh)


def test_the_cache_is_bounded_and_survives_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    cache = Cache(tmp_path / "cache")
    monkeypatch.setattr("archfab.hardware.mcu.cache.ENTRIES", 3)
    for i in range(5):
        cache.write(f"run-{i}", {"n": i})
    assert len(list((tmp_path / "cache").glob("*.json"))) == 3
    monkeypatch.setattr("archfab.hardware.mcu.cache.FOLDERS", 2)
    made = [cache.folder(f"kernels-{i}", lambda folder: (folder / "x.o").touch()) for i in range(4)]
    assert sum(path.exists() for path in made) == 2 and (made[-1] / "x.o").exists()
    assert cache.read("run-absent") is None
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = Cache(tmp_path / "file" / "cache")
    other.write("run-1", {"n": 1})
    assert other.read("run-1") == {"n": 1}


@pytest.mark.parametrize(("mnemonic", "kind"), [
    ("ldr.w", "load"), ("ldrd", "several"), ("strb", "store"), ("push", "several"), ("smlad", "multiply"),
    ("mla", "multiply"), ("smull", "long_multiply"), ("sdiv", "divide"), ("bne.n", "branch"), ("bl", "branch"),
    ("le", "branch"), ("cbz", "branch"), ("bic.w", "arithmetic"), ("bfi", "arithmetic"), ("lsls", "arithmetic"),
    ("vldrb.8", "vector_memory"), ("vmlava.s8", "vector"), ("vmov.32", "float"), ("vadd.f32", "float"),
    ("vadd.i32", "vector"), ("it", "arithmetic"), ("ssat", "arithmetic")])
def test_instructions_are_told_apart(mnemonic, kind):
    assert class_of(mnemonic) == kind


# --- layouts of weights

@pytest.mark.parametrize("kernels", ["plain", "dsp", "mve"])
@pytest.mark.parametrize("groups", [1, 2])
def test_layouts_keep_every_weight(kernels, groups):
    weights = np.random.default_rng(0).integers(1, 128, (6, 37)).astype(np.int8)
    for part, packed in zip(np.split(weights, groups), layouts.dense(weights, groups, kernels), strict=True):
        assert sorted(packed[packed != 0]) == sorted(part.ravel())
    taps = weights.T.copy()
    packed = layouts.depthwise(taps, kernels)
    assert sorted(packed[packed != 0]) == sorted(taps.ravel())


def test_weights_lie_as_the_kernels_read_them():
    weights = np.arange(1, 13, dtype=np.int8).reshape(2, 6)
    assert layouts.twos(weights).tolist() == [1, 2, 7, 8, 3, 4, 9, 10, 5, 6, 11, 12]
    assert layouts.pairs(weights).tolist() == [1, 7, 3, 9, 2, 8, 4, 10, 5, 11, 0, 0, 6, 12, 0, 0]
    assert layouts.blocks(weights).reshape(4, 6)[:2].tolist() == weights.tolist()


def test_copies_are_loops_over_joined_axes():
    from archfab.hardware.mcu.axes import broadcast, loops
    assert loops((2, 3, 4), [(12, 4, 1), (12, 4, 1)], 2, "") == [[1, 24], [0, 1], [0, 1]]
    assert broadcast((1, 4), (2, 3, 4)) == [0, 0, 1]
    with pytest.raises(BuildError, match="1 nested loops"):
        loops((2, 3), [(1, 2)], 1, "transpose")
    assert moves.AXES == 6 and operators.PAIR_AXES == 4


# --- what can go wrong

def test_a_missing_compiler_or_simulator_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for name in ("arm-none-eabi-gcc", "qemu-system-arm"):
        with pytest.raises(UsageError, match=f"needs {name}.*apt install gcc-arm-none-eabi .*qemu-system-arm"):
            toolchain.tool(name)


def test_a_missing_tool_is_seen_before_a_search(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="needs arm-none-eabi-gcc, which is not installed"):
        plan("vision", space="cell", data=None, device="cortex-m4-simulated", options={"channels": 4})


def test_what_cannot_be_generated_is_listed_at_once():
    m = Maker(0, (1, 4, 4, 8))
    m.add("transpose_conv", (m.x,), m.tensor((1, 8, 8, 8)))
    m.add("fft", (m.x,), m.tensor((1, 8, 8, 8)))
    with pytest.raises(BuildError, match=r"no code.*fft 't2'.*transpose_conv 't1'.*known operators: add, "):
        generate(m.graph(), CORES["cortex-m4"], [np.zeros((1, 4, 4, 8), np.int8)])


def test_sums_that_may_overflow_are_refused():
    m = Maker(0, (1, 1, 1, 4))
    m.conv(4, (1, 1))
    m.tensors[m.x] = m.tensors[m.x].__class__("y", m.shape(), scale=(1e-12,))
    with pytest.raises(BuildError, match="may not fit in 32 bits"):
        generate(m.graph(), CORES["cortex-m4"], examples(m.graph()))


@pytest.mark.parametrize("op", ["max_pool_2d", "average_pool_2d"])
def test_an_image_too_wide_for_the_code_is_refused(op):
    m = Maker(0, (1, 1, 40_000, 1))
    m.pool(op, (1, 1))
    with pytest.raises(BuildError, match=op + r".*in width is 40000, and the code takes 32767 at most"):
        generate(m.graph(), CORES["cortex-m4"], examples(m.graph()))


@needs_tools
@pytest.mark.parametrize(("room", "said"), [({"flash_kb": 1}, r"needs \d+\.\d kB of flash and the device has 1 kB"),
                                            ({"memory_kb": 2}, r"needs \d+\.\d kB of RAM and the device has 2 kB")])
def test_a_network_too_big_is_refused_before_it_runs(room, said, monkeypatch):
    monkeypatch.setattr(running, "simulate", None)
    with pytest.raises(BuildError, match=said):
        execute(small(2), CORES["cortex-m4"], Cache(), room=room)


@needs_tools
def test_a_network_too_big_for_the_simulated_board_says_so():
    m = Maker(0, (1, 1, 1, 3000))
    m.connected(1500)
    with pytest.raises(BuildError, match=r"\d kB of flash and the simulated board mps2-an386 has 4095"):
        execute(m.graph(), CORES["cortex-m4"], Cache())
    with pytest.raises(BuildError, match=r"\d kB of flash and the device has 64 kB"):
        execute(m.graph(), CORES["cortex-m4"], Cache(), room={"flash_kb": 64})


@needs_tools
def test_a_simulation_that_takes_too_long_is_stopped(fresh):
    graph = small(4)
    with pytest.raises(BuildError, match=r"longer than 0\.01 s and was stopped.*simulation_seconds"):
        execute(graph, CORES["cortex-m4"], fresh, seconds=0.01)


@needs_tools
def test_a_crash_is_reported(tmp_path):
    core = CORES["cortex-m4"]
    graph = small()
    source = generate(graph, core, examples(graph)).source
    toolchain.link(re.sub(r"(void af_network\(void\)\n{)", r"\1 *(volatile int *)0xf0000000 = 1;", source), core,
                   tmp_path, Cache())
    with pytest.raises(BuildError, match=r"cortex-m4 did not finish.*FAULT"):
        simulator.qemu(tmp_path / "network.elf", core, [], 60)


@needs_tools
@pytest.mark.parametrize("name", FAMILIES)
def test_the_stack_has_room_for_the_deepest_calls(name, tmp_path):
    """Kernels call at most one function that calls nothing, and stand below af_network and two of the harness."""
    sources = [*sorted(toolchain.HERE.glob("kernels/*.c")), toolchain.HERE / "runtime/start.c"]
    toolchain.call([toolchain.tool("arm-none-eabi-gcc"), *CORES[name].flags, *toolchain.FLAGS, "-fstack-usage",
                    f"-I{toolchain.HERE / 'kernels'}", "-c", *sources], "compiling", tmp_path)
    frames = [int(line.split("\t")[1]) for path in tmp_path.glob("*.su") for line in path.read_text().splitlines()]
    assert len(frames) > 20 and sum(sorted(frames)[-3:]) + 200 < toolchain.STACK


def test_an_unknown_core_names_the_known_ones():
    with pytest.raises(UsageError, match=r"no simulated core named 'cortex-m5'.*did you mean 'cortex-m55'"):
        core_of("cortex-m5")


def test_sizes_are_read_from_the_linkers_map():
    text = "\n.vectors        0x0 0x40\n.text           0x00000040      0x100\n *fill*\n.rodata 0x140 0x20\n" \
           ".bss            0x20000000      0x300\n.stack          0x20000300      0x800\n"
    assert toolchain.sizes(text) == toolchain.Sizes(0x40 + 0x100 + 0x20, 0x300 + 0x800)
    with pytest.raises(BuildError, match=r"no size for \.bss, \.stack"):
        toolchain.sizes(".text 0x0 0x10\n")


# --- devices

@needs_tools
@pytest.mark.parametrize("name", [slow_on(name.removesuffix("-simulated")) for name in SIMULATED])
def test_the_rows_of_a_device_add_up(name):
    device = load_device(f"{name}-simulated")
    m = Maker(0, (1, 8, 8, 3))
    m.conv(8)
    m.add("mean", (m.x,), m.tensor((1, 8)), axes=(1, 2), keep=False)
    m.connected(4)
    graph = m.graph()
    costs = device.cost_of(graph, graph.macs, 300)
    assert device.slow and set(costs.figures) == set(device.figures) and not costs.unknown
    assert ("energy_mj" in costs.figures) == ("power_w" in device.sources)
    for key in {"instructions", "latency_ms", "energy_mj", "macs"} & set(costs.figures):
        assert sum(row[key] for row in costs.operators) == pytest.approx(costs.figures[key].value)
    latency = costs.figures["latency_ms"]
    assert 0 < latency.low < latency.value < latency.high
    assert latency.origin == ("analytic" if name in ("cortex-m3", "cortex-m55") else "calibrated")
    assert costs.figures["flash_kb"].value > graph.weights / 1024
    assert [row["kind"] for row in costs.operators] == ["conv", "pool", "linear"]


@needs_tools
def test_a_workload_is_costed_by_its_network():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
                                torch.nn.Flatten(), torch.nn.Linear(8, 4)).eval()
    inputs = (torch.rand(1, 3, 8, 8),)
    workload = replace(record(model, inputs), network=Network(lambda: (model, inputs)))
    costs = load_device("cortex-m4-simulated").cost(workload)
    assert costs.figures["macs"].value == 8 * 27 * 64 + 32 == sum(row["macs"] for row in costs.operators)
    assert costs.figures["params"].value == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", SIMULATED)
def test_every_number_of_a_device_says_where_it_comes_from(name):
    for key, entry in load_device(name).sources.items():
        assert len(entry["source"]) > 20, key
        if "assumption" in entry["source"]:
            assert entry["origin"] == "analytic", key


def test_a_workload_without_its_network_is_refused():
    with pytest.raises(UsageError, match="runs networks"):
        load_device("cortex-m4-simulated").cost(record(torch.nn.Linear(2, 2), (torch.rand(1, 2),)))


GOOD = (ROOT / "archfab/hardware/devices/cortex-m4-simulated.toml").read_text(encoding="utf-8")
BAD = {
    "no core": (GOOD.replace('core = "cortex-m4"\n', ""), "does not say its core"),
    "unknown core": (GOOD.replace('core = "cortex-m4"', 'core = "cortex-m9"'), "cortex-m9"),
    "no clock": (GOOD.replace("[clock_mhz]", "[clock]"), "clock_mhz"),
    "no unit": (GOOD.replace('unit = "MHz"\n', ""), "clock_mhz is to be in MHz"),
    "another unit": (GOOD.replace('unit = "MHz"', 'unit = "GHz"'), "clock_mhz is to be in MHz.*not 'GHz'"),
    "negative clock": (GOOD.replace("value = 120\n", "value = -120\n"), "clock_mhz is no number from 0 up: -120"),
    "no clock at all": (GOOD.replace("value = 120\n", "value = 0\n"), "clock_mhz must be above 0"),
    "infinite": (GOOD.replace("value = 120\n", "value = inf\n"), "clock_mhz is no number from 0 up: inf"),
    "true": (GOOD.replace("value = 120\n", "value = true\n"), "clock_mhz is no number from 0 up: True"),
    "class left out": (GOOD.replace("[cycles.divide]", "[cycles.vector]"), "there is no cycles.vector"),
    "no error": (GOOD.replace("[error.latency_ms]", "[other]"), r"add \[error.latency_ms\]"),
    "odd error": (re.sub(r"high = 1\.\d+", "high = 0.5", GOOD), "factors around 1"),
    "guessed": (GOOD.replace('origin = "measured"', 'origin = "guessed"'), "power_w.*guessed"),
    "seconds": (GOOD.replace("[clock_mhz]", "simulation_seconds = 0\n[clock_mhz]"), "simulation_seconds"),
    "cycles are no table": (GOOD.replace("[cycles.", "[other.").replace("[clock_mhz]", "cycles = 3\n[clock_mhz]"),
                            "cycles is a table"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_device_file_says_which_number_is_wrong(fault, tmp_path):
    text, said = BAD[fault]
    assert text != GOOD
    refuses_device(tmp_path, text, said)


def test_a_class_that_is_missing_is_named():
    numbers = dict(registry.load("devices", "cortex-m4-simulated"))
    numbers["cycles"] = {key: entry for key, entry in numbers["cycles"].items() if key != "branch"}
    with pytest.raises(UsageError, match="no cycles for branch"):
        Mcu(numbers)


@needs_tools
@pytest.mark.slow
def test_the_table_of_mlperf_tiny_lies_within_the_stated_intervals():
    with (ROOT / "benchmarks/results/mcu-mlperf-tiny.csv").open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert len(rows) == 12
    for row in rows:
        assert float(row["low_ms"]) <= float(row["published_ms"]) <= float(row["high_ms"]), row


@needs_tools
def test_kernels_keep_their_promise_of_instructions():
    """What the issue asks of a 3x3 convolution, whole layer, on a map small enough for a fast test."""
    for name, most in (("cortex-m3", 4), ("cortex-m4", 2.5), ("cortex-m55", 0.6)):
        m = Maker(0, (1, 8, 8, 32))
        m.conv(32)
        graph = m.graph()
        assert execute(graph, CORES[name], Cache()).instructions / graph.macs <= most


