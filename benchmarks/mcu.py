"""Our int8 kernels on simulated Cortex-M cores: instructions, bit-exactness, and cycles against MLPerf Tiny.

Needs a cross-compiler and QEMU: apt install gcc-arm-none-eabi qemu-system-arm
    python benchmarks/mcu.py                    every row (three minutes of one core, nearly all of it 50 networks)
    python benchmarks/mcu.py --json             one list of rows
    python benchmarks/mcu.py --networks 0       without the random networks
    python benchmarks/mcu.py --write            and CSVs in benchmarks/results/
    python benchmarks/mcu.py --fit              the cycles of the device files, fitted anew, as TOML
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares

from archfab.core import Cost
from archfab.evaluate import load_device
from archfab.exporting import to_onnx
from archfab.hardware.int8.graph import Graph, Node, Tensor, macs_of
from archfab.hardware.int8.quantise import quantise
from archfab.hardware.mcu.cache import Cache
from archfab.hardware.mcu.cores import CORES
from archfab.hardware.mcu.cycles import classes
from archfab.hardware.mcu.running import Execution, examples, execute, first_difference
from archfab.hardware.models.mcu import Mcu, legal_classes
from archfab.lowering.concrete import build
from archfab.space import Space
from archfab.tasks.vision import spaces

sys.path.insert(0, str(Path(__file__).parent))
from calibration import tiny_descriptions
from rows import row, show

RESULTS = Path(__file__).parent / "results"
# MLPerf Tiny v1.2, STMicroelectronics: inferences per second, microjoules per inference
MEASURED = {
    "cortex-m4": {"AD": (190.086, 203.4), "KWS": (23.155, 1820.5), "IC": (6.056, 6919.4), "VWW": (11.245, 3894.6)},
    "cortex-m33": {"AD": (291.589, 81.9), "KWS": (34.416, 656.2), "IC": (9.003, 2579.0), "VWW": (16.870, 1354.7)},
    "cortex-m7": {"AD": (816.004, 165.7), "KWS": (88.356, 1375.6), "IC": (24.483, 5090.3), "VWW": (42.009, 2965.5)}}
CLOCK = {"cortex-m4": 120e6, "cortex-m33": 160e6, "cortex-m7": 280e6}
# Arm, Cortex-M4 Technical Reference Manual (DDI 0439), 3.3.1: the middle of what an instruction may take
DOCUMENTED = {"arithmetic": 1.0, "multiply": 1.0, "long_multiply": 1.0, "divide": 7.0, "load": 1.5, "store": 1.5,
              "several": 3.0, "branch": 2.0, "float": 2.0}
NEAR = 0.05         # standard deviation of a class's logarithm around the documented one, after a common factor
NOISE = 0.05        # of a measured latency's logarithm: other kernels than ours ran there
TARGETS = {"m3": (4.0, 3.34), "m4": (2.5, 2.33), "m7": (None, 2.34), "m33": (None, None), "m55": (0.6, 0.39)}
PEER = "CMSIS-NN"   # its 3x3 convolutions in the same simulator


def one_layer(op: str, size: int, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> Graph:
    """A network of one layer with random weights."""
    rng = np.random.default_rng(0)
    scales = tuple(float(np.float32(x)) for x in rng.uniform(0.001, 0.004, outputs))
    shape, axis = (outputs, kernel, kernel, inputs), 0
    if op == "depthwise_conv_2d":
        shape, axis = (1, kernel, kernel, outputs), 3
    if op == "fully_connected":
        shape = (outputs, inputs)
    flat = op == "fully_connected"
    depth = math.prod(shape) // outputs
    side = -(-size // stride)
    weights = rng.integers(-127, 128, shape).astype(np.int8)
    tensors = (Tensor("x", (1, inputs) if flat else (1, size, size, inputs), scale=(0.05,), zero=-128),
               Tensor("weights", shape, scale=scales, axis=axis, data=weights),
               Tensor("bias", (outputs,), "int32", scales, axis=0,
                      data=rng.integers(-2000, 2000, outputs).astype(np.int32)),
               Tensor("y", (1, outputs) if flat else (1, side, side, outputs),
                      scale=(float(np.float32(0.02 * depth**0.5)),), zero=-128))
    pad = kernel // 2
    options = {} if flat else {"stride": (stride, stride), "dilation": (1, 1), "padding": (pad, pad, pad, pad)}
    return Graph(tensors, (Node(op, (0, 1, 2), (3,), options),), (0,), (3,))


LAYERS = {
    "": one_layer("conv_2d", 16, 32, 32, 3), " conv 3x3 32x32x3 -> 16": one_layer("conv_2d", 32, 3, 16, 3),
    " conv 3x3 8x8x64 -> 64": one_layer("conv_2d", 8, 64, 64, 3),
    " conv 3x3 stride 2 32x32x16 -> 32": one_layer("conv_2d", 32, 16, 32, 3, 2),
    " pointwise 16x16x32 -> 64": one_layer("conv_2d", 16, 32, 64),
    " depthwise 3x3 16x16x32": one_layer("depthwise_conv_2d", 16, 32, 32, 3),
    " depthwise 5x5 16x16x32": one_layer("depthwise_conv_2d", 16, 32, 32, 5),
    " fully connected 256 -> 64": one_layer("fully_connected", 1, 256, 64)}


def layer_rows() -> Iterator[dict[str, Any]]:
    """Instructions a multiply-accumulate of whole layers: patches, sums and rescaling."""
    for label, graph in LAYERS.items():
        for name, core in CORES.items():
            short = name.removeprefix("cortex-")
            target, peer = TARGETS[short] if not label else (None, None)
            done = execute(graph, core, Cache())
            yield row(f"instructions per mac {short}{label}", round(done.instructions / graph.macs, 4), "", target,
                      peers={PEER: peer} if peer else None)


def random_network(number: int) -> tuple[str, Graph]:
    """One of the networks of the vision spaces."""
    rng = random.Random(number)
    kind = ("mobile", "cell", "darts", "attention")[number % 4]
    size, channels = rng.choice([(8, 1), (16, 1), (28, 1), (32, 3)])
    size = max(size, 16) if kind == "darts" else size
    description = spaces.darts(size, 10, 8) if kind == "darts" else getattr(spaces, kind)(size, 10)
    space = Space(description)
    torch.manual_seed(number)
    x = (torch.randn(1, channels, size, size),)
    return f"{kind} {number} {size}x{size}", quantise(to_onnx(build(space, space.sample(rng), x).eval(), x))


def exact_rows(count: int) -> Iterator[dict[str, Any]]:
    """Networks of which every operator gives every number of the reference, on every core."""
    exact = 0
    for number in range(count):
        name, graph = random_network(number)
        differing = {core: found for core in CORES if (found := first_difference(graph, CORES[core], Cache(),
                                                                                examples(graph, number)))}
        exact += not differing
        print(f"{name}: {differing or 'exact'}", file=sys.stderr)
    if count:
        yield row("bit exact networks", exact, f"of {count}", count, True)


@cache
def tiny_graphs() -> dict[str, Graph]:
    """The four networks of MLPerf Tiny in int8."""
    found = {}
    for name, (description, shape) in tiny_descriptions().items():
        torch.manual_seed(0)
        x = (torch.randn(1, *shape),)
        found[name] = quantise(to_onnx(build(Space(description), {}, x).eval(), x))
    return found


@cache
def tiny_runs(core: str) -> dict[str, Execution]:
    return {name: execute(graph, CORES[core], Cache()) for name, graph in tiny_graphs().items()}


def counts_of(core: str, done: Execution) -> np.ndarray:
    """How many instructions of each class ran."""
    total = sum((classes(each) for each in done.histograms), start=classes({}))
    return np.array([total[name] for name in legal_classes(CORES[core])], float)


def fitted(core: str, names: Sequence[str]) -> dict[str, float]:
    """Cycles of each class that make the measured networks' latencies, near a multiple of the documented ones."""
    counts = np.array([counts_of(core, tiny_runs(core)[name]) for name in names])
    cycles = np.array([CLOCK[core] / MEASURED[core][name][0] for name in names])
    prior = np.array([DOCUMENTED[name] for name in legal_classes(CORES[core])])

    def misses(x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.log(counts @ (prior * np.exp(x[0] + x[1:])) / cycles) / NOISE, x[1:] / NEAR])

    x = least_squares(misses, np.zeros(1 + len(prior))).x
    return dict(zip(legal_classes(CORES[core]), prior * np.exp(x[0] + x[1:]), strict=True))


def predicted(core: str, name: str, cycles: Mapping[str, float]) -> float:
    """Milliseconds."""
    return float(counts_of(core, tiny_runs(core)[name]) @ np.array([*cycles.values()])) / CLOCK[core] * 1e3


def watts(core: str, names: Sequence[str]) -> float:
    return float(np.mean([MEASURED[core][name][0] * MEASURED[core][name][1] / 1e6 for name in names]))


def left_out(core: str) -> tuple[list[float], list[float]]:
    """Measured over predicted, latency and energy, of each network by a fit to the other three."""
    latency, energy = [], []
    for name, (rate, microjoules) in MEASURED[core].items():
        others = [other for other in MEASURED[core] if other != name]
        ms = predicted(core, name, fitted(core, others))
        latency.append(1e3 / rate / ms)
        energy.append(microjoules / 1e3 / (ms * watts(core, others)))
    return latency, energy


def tiny_rows(write: bool) -> Iterator[dict[str, Any]]:
    """The device files against the table, and how far a fit to three networks is off on the fourth."""
    table = []
    for core, measured in MEASURED.items():
        device, fit = load_device(f"{core}-simulated"), fitted(core, list(measured))
        assert isinstance(device, Mcu)
        inside = 0
        for name, (rate, microjoules) in measured.items():
            graph = tiny_graphs()[name]
            costs = device.cost_of(graph, graph.macs, 0).figures
            ms, mj = 1e3 / rate, microjoules / 1e3
            inside += within(costs["latency_ms"], ms) and within(costs["energy_mj"], mj)
            table.append([core, name, graph.macs, int(costs["instructions"].value),
                          f"{costs['instructions'].value / graph.macs:.3f}", f"{costs['flash_kb'].value:.1f}",
                          f"{costs['memory_kb'].value:.1f}", f"{costs['latency_ms'].value:.4g}",
                          f"{costs['latency_ms'].low:.4g}", f"{costs['latency_ms'].high:.4g}", f"{ms:.4g}",
                          f"{costs['energy_mj'].value:.4g}", f"{mj:.4g}"])
        latency, energy = left_out(core)
        short = core.removeprefix("cortex-")
        yield row(f"{short} leave-one-out worst latency ratio", round(worst(latency), 3), "x", 1.5)
        yield row(f"{short} leave-one-out worst energy ratio", round(worst(energy), 3), "x", 1.5)
        yield row(f"{short} table inside the interval", inside, "of 4", 4, True)
        ratio = max(worst([value / device.sources[f"cycles.{key}"]["value"]]) for key, value in fit.items())
        yield row(f"{short} file against refit", round(ratio, 3), "x", 1.02)
    if write:
        save("mcu-mlperf-tiny", ("core", "network", "macs", "instructions", "per_mac", "flash_kb", "ram_kb",
                                 "estimated_ms", "low_ms", "high_ms", "published_ms", "estimated_mj", "published_mj"),
             table)


def within(cost: Cost, value: float) -> bool:
    return cost.low <= value <= cost.high


def worst(ratios: Sequence[float]) -> float:
    return max(max(ratio, 1 / ratio) for ratio in ratios)


def speed_rows() -> Iterator[dict[str, Any]]:
    """Seconds for one network, kernels compiled before, nothing remembered."""
    _, graph = random_network(0)
    taken = []
    for seed in range(3):
        start = time.perf_counter()
        execute(graph, CORES["cortex-m4"], Cache(), examples(graph, 1000 + seed + int(time.time())))
        taken.append(time.perf_counter() - start)
    yield row("seconds a network m4", round(sorted(taken)[1], 2), "s", 5)


def print_fit() -> None:
    for core, measured in MEASURED.items():
        print(f"# {core}: power {watts(core, list(measured)):.4g} W")
        for key, value in fitted(core, list(measured)).items():
            print(f"{core} cycles.{key} = {value:.4g}")
        for what, ratios in zip(("latency", "energy"), left_out(core), strict=True):
            print(f"{core} error.{what}: measured over predicted {', '.join(f'{ratio:.3f}' for ratio in ratios)}")


def save(what: str, header: tuple[str, ...], table: list[list[Any]]) -> None:
    with (RESULTS / f"{what}.csv").open("w", newline="", encoding="utf-8") as file:
        file.write("# recipe: python benchmarks/mcu.py --write\n")
        csv.writer(file, lineterminator="\n").writerows([header, *table])


def operator_table() -> list[list[Any]]:
    """Instructions of each operator of the four networks."""
    found = []
    for core in CORES:
        for name, graph in tiny_graphs().items():
            done = tiny_runs(core)[name]
            for number, histogram in zip(done.nodes, done.histograms, strict=True):
                node = graph.nodes[number]
                found.append([core, name, node.op, "x".join(map(str, graph.tensors[node.outputs[0]].shape)),
                              macs_of(graph, node), sum(histogram.values())])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--networks", type=int, default=50)
    asked = parser.parse_args()
    if asked.fit:
        print_fit()
        return
    rows = [*layer_rows(), *tiny_rows(asked.write), *speed_rows(), *exact_rows(asked.networks)]
    if asked.write:
        save("mcu-operators", ("core", "network", "operator", "shape", "macs", "instructions"), operator_table())
    path = RESULTS / "mcu-simulated.csv" if asked.write else None
    show(rows, asked.json, path, "recipe: python benchmarks/mcu.py --write")


if __name__ == "__main__":
    main()
