"""The memory planner beside the arenas of frameworks, beside exact optima, and what it takes.

    python benchmarks/memory.py                     # a table
    python benchmarks/memory.py --json              # rows for machines
    python benchmarks/memory.py --csv benchmarks/results/memory-2-cores.csv

`arena over tflm`: our arena over the one that TensorFlow Lite Micro's own interpreter says it uses for the same int8
.tflite file (package tflite-micro; its non-persistent part), the worst over random networks of a space and over known
networks: at most 1. Ours is planned for the operators and tensors of that file, offsets included, 16-byte alignment as
there. `arena over greedy by size`: the same for the float32 kernels of more networks, against TensorFlow Lite's
documented rule in the network's own order. `arena over torch`: against the most bytes that torch's CPU allocator holds
for activations while it runs the network eagerly. `orders that are best`: the share of random graphs of 20 steps in
which the peak equals the optimum by dynamic programming; `plans without a gap`: the share of networks where the arena
is the least possible. Times are CPU milliseconds for one network that was never seen, on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rows import row, show
from torch import nn

from archfab import registry
from archfab.exporting import to_onnx
from archfab.hardware.kernels import fuse
from archfab.hardware.memory import Graph, Plan, Step, plan
from archfab.hardware.memory.kernels import graph_of
from archfab.hardware.memory.orders import EFFORT, solved
from archfab.hardware.memory.patches import splits
from archfab.hardware.memory.runtime import Runtime
from archfab.hardware.models.roofline import QUICK
from archfab.hardware.workload import Workload, record, record_genotype
from archfab.lowering.concrete import build
from archfab.space import Space

HERE = Path(__file__).parent
IN_PLACE = {"ADD", "SUB", "MUL", "RELU", "RELU6", "LOGISTIC", "TANH", "HARD_SWISH", "RESHAPE", "MAXIMUM", "MINIMUM",
            "QUANTIZE", "LEAKY_RELU", "GELU", "EXP", "RSQRT", "SOFTMAX"}
"""Operators of .tflite files that compute number by number, or row by row."""
TIMED, PEERS = 60, 4


# --- networks

def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(outputs), nn.ReLU6())


class Block(nn.Module):
    """A body with a shortcut around it."""

    def __init__(self, body: nn.Module, short: nn.Module | None, last: nn.Module) -> None:
        super().__init__()
        self.body, self.short, self.last = body, short, last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(x) if self.short is None else self.body(x) + self.short(x))


def mobilenet_v2(classes: int = 1000) -> nn.Module:
    """MobileNetV2, width 1 (Sandler et al., CVPR 2018)."""
    parts, width = [conv(3, 32, 3, 2)], 32
    for expand, out, number, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                        (6, 160, 3, 2), (6, 320, 1, 1)):
        for i in range(number):
            inner, step = width * expand, stride if i == 0 else 1
            body = nn.Sequential(*([conv(width, inner, 1)] if expand > 1 else []), conv(inner, inner, 3, step, inner),
                                 nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out))
            parts.append(Block(body, nn.Identity() if step == 1 and width == out else None, nn.Identity()))
            width = out
    return nn.Sequential(*parts, conv(320, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, classes))


def resnet18(classes: int = 1000) -> nn.Module:
    """ResNet-18 (He et al., CVPR 2016)."""
    def norm(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
                             nn.BatchNorm2d(outputs))

    parts: list[nn.Module] = [norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    width = 64
    for out in (64, 64, 128, 128, 256, 256, 512, 512):
        stride = 1 if out == width else 2
        body = nn.Sequential(norm(width, out, 3, stride), nn.ReLU(), norm(out, out, 3, 1))
        parts.append(Block(body, nn.Identity() if stride == 1 else norm(width, out, 1, 2), nn.ReLU()))
        width = out
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


def spaces() -> dict[str, tuple[Space, tuple[torch.Tensor, ...]]]:
    """The spaces of the task vision on images of 28x28, and the cells of NAS-Bench-201 on 32x32."""
    task = registry.load("tasks", "vision")(size=28)
    found = {name: (Space(task.space(name)), task.example()) for name in task.spaces}
    cells = registry.user_file(HERE / "calibration.py").nasbench201()
    return {**found, "nasbench201": (Space(cells), (torch.rand(1, 3, 32, 32),))}


def known() -> dict[str, tuple[nn.Module, tuple[torch.Tensor, ...]]]:
    return {"resnet18 224": (resnet18().eval(), (torch.rand(1, 3, 224, 224),)),
            "mobilenetv2 224": (mobilenet_v2().eval(), (torch.rand(1, 3, 224, 224),))}


# --- frameworks

def tflite_graph(file: bytes) -> Graph:
    """The operators and activation tensors of a .tflite file."""
    from ai_edge_litert import schema_py_generated as schema
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file, 0))
    part, names = model.subgraphs[0], {code: name for name, code in vars(schema.BuiltinOperator).items()
                                       if isinstance(code, int)}
    sizes = {}
    for i, tensor in enumerate(part.tensors):
        if model.buffers[tensor.buffer].data is None or len(model.buffers[tensor.buffer].data) == 0:
            width = {0: 4, 2: 4, 9: 1, 7: 2, 4: 8}[tensor.type]
            sizes[i] = int(torch.Size([int(n) for n in tensor.shape]).numel()) * width
    steps = []
    for op in part.operators:
        code = model.operatorCodes[op.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        reads = tuple(int(i) for i in op.inputs if int(i) in sizes)
        steps.append(Step(reads, tuple(map(int, op.outputs)), name, reads if name in IN_PLACE else ()))
    return Graph(steps, sizes, tuple(map(int, part.inputs)), tuple(map(int, part.outputs)))


def tflm_arena(file: bytes) -> int | None:
    """What TensorFlow Lite Micro's interpreter allocates for activations and scratch memory, by its own account; None
    where it has no kernel for an operator."""
    from tflite_micro.python.tflite_micro import runtime
    with tempfile.TemporaryFile() as log, redirected(log):
        try:
            runtime.Interpreter.from_bytes(file, intrepreter_config=runtime.InterpreterConfig.kAllocationRecording
                                           ).print_allocations()
        except RuntimeError:
            return None
        log.seek(0)
        said = log.read().decode()
    found = re.search(r"Arena allocation head (\d+) bytes", said)
    assert found, said
    return int(found[1])


@contextlib.contextmanager
def redirected(log: Any) -> Iterator[None]:
    """Both outputs of the process, which C code writes to, go to a file."""
    kept = [os.dup(number) for number in (1, 2)]
    for number in (1, 2):
        os.dup2(log.fileno(), number)
    try:
        yield
    finally:
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)


def torch_peak(net: nn.Module, inputs: tuple[torch.Tensor, ...]) -> int:
    """The most bytes that torch's CPU allocator holds beside the weights, the inputs included."""
    from torch.profiler import ProfilerActivity, profile
    with torch.no_grad():
        net(*inputs)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
            net(*inputs)
    held = most = sum(x.numel() * x.element_size() for x in inputs)
    for event in sorted(found.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def greedy_by_size(graph: Graph) -> int:
    """TensorFlow Lite's rule, in the graph's own order, nothing in place: by falling size, into the first gap."""
    lives: dict[Any, list[int]] = {name: [0, 0] for name in graph.inputs}
    for at, step in enumerate(graph.steps):
        for name in (*step.reads, *step.writes):
            lives.setdefault(name, [at, at])[1] = at
    for name in graph.outputs:
        lives[name][1] = len(graph.steps) - 1
    placed: list[tuple[int, int, list[int]]] = []
    for name in sorted(lives, key=lambda name: -graph.size(name)):
        at, size, life = 0, graph.size(name), lives[name]
        for low, high, (first, last) in sorted(placed):
            if first <= life[1] and life[0] <= last:
                if low - at >= size:
                    break
                at = max(at, high)
        placed.append((at, at + size, life))
    return max(high for _, high, _ in placed)


# --- rows

def peer_rows(number: int) -> Iterator[dict[str, Any]]:
    """Against frameworks that run: TensorFlow Lite Micro on the same file, torch on the same network."""
    from archfab.hardware.int8.quantise import quantise
    from archfab.hardware.int8.tflite import write
    nets: dict[str, list[tuple[nn.Module, tuple[torch.Tensor, ...]]]] = {name: [net] for name, net in known().items()}
    for name, (space, example) in spaces().items():
        rng = random.Random(2)
        nets[name] = [(build(space, space.sample(rng), example).eval(), example) for _ in range(number)]
    for name, group in nets.items():
        over, eager, kib = [], [], []
        for net, example in group:
            one = tuple(x[:1] for x in example)
            file = bytes(write(quantise(to_onnx(net, one))))
            if theirs := tflm_arena(file):
                over.append(plan(tflite_graph(file), alignment=16).arena / theirs)
                kib.append(theirs / 1024)
            workload = record(net, one)
            eager.append(plan(graph_of(fuse(workload), workload, 32)).arena / torch_peak(net, one))
        if over:
            yield row(f"arena over tflm {name} worst", max(over), "x", 1.0,
                      peers={"mean": statistics.mean(over), "tflm KiB": statistics.mean(kib)})
        if len(over) < len(group):
            yield row(f"networks that tflm cannot run {name}", len(group) - len(over), "networks")
        yield row(f"arena over torch {name} worst", max(eager), "x", 1.0, peers={"mean": statistics.mean(eager)})


def workloads(space: Space, example: tuple[torch.Tensor, ...], number: int) -> list[Workload]:
    rng = random.Random(1)
    return [record_genotype(space, space.sample(rng), tuple(x[:1] for x in example)) for _ in range(number)]


def space_rows(name: str, found: list[Workload]) -> Iterator[dict[str, Any]]:
    times, quick, full, over = [], [], [], []
    for workload in found:
        kernels = fuse(workload)
        solved.cache_clear()            # a network that was never seen
        start = time.process_time()
        quick.append(Runtime().arena(kernels, workload, 8, QUICK))
        times.append(1e3 * (time.process_time() - start))
        graph = graph_of(kernels, workload, 8)
        full.append(plan(graph, effort=EFFORT))
        over.append(quick[-1] / greedy_by_size(graph))
    steps = statistics.median(len(each.order) for each in full)
    yield row(f"arena over greedy by size {name} worst", max(over), "x", 1.0, peers={"mean": statistics.mean(over)})
    yield row(f"plans without a gap {name}", statistics.mean(each.gap == 0 for each in full), "share", 0.95, True)
    yield row(f"quick plans as good as full ones {name}", statistics.mean(a <= b.arena for a, b in zip(
        quick, full, strict=True)), "share", 0.95, True, {"worst ratio": worst(quick, full)})
    yield row(f"plan milliseconds {name} median", statistics.median(times), "ms", 1.0,
              peers={"kernels": steps, "worst": max(times)})


def worst(quick: list[int], full: list[Plan]) -> float:
    return max(a / b.arena for a, b in zip(quick, full, strict=True))


def optimum_row(number: int) -> dict[str, Any]:
    """Random graphs of 20 steps against dynamic programming over their down-sets (tests/test_memory.py)."""
    tests = registry.user_file(HERE.parent / "tests/test_memory.py")
    best = 0
    for seed in range(number):
        graph = tests.twenty_steps(random.Random(seed))
        best += plan(graph).bound == tests.least_peak_of_many(graph)
    return row("orders that are best, 20 steps", best / number, "share", 1.0, True, {"graphs": number})


def patch_rows() -> Iterator[dict[str, Any]]:
    """MobileNetV2 patch by patch, int8: how far the arena falls for at most a tenth more work."""
    net, example = known()["mobilenetv2 224"]
    workload = record(net, example)
    for streams, label in ((False, "image held"), (True, "image streamed")):
        start = time.process_time()
        found = [each for each in splits(fuse(workload), workload, 8, streams_input=streams) if each.more_macs <= 0.1]
        seconds = time.process_time() - start
        best = found[-1]
        yield row(f"patches mobilenetv2 224 {label}", found[0].plan.arena / best.plan.arena, "x less memory", 4.0, True,
                  {"more macs": best.more_macs, "KiB": best.plan.arena / 1024, "search seconds": seconds})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--networks", type=int, default=TIMED, help="of each space")
    parser.add_argument("--peers", type=int, default=PEERS, help="of each space that frameworks run; 0: none")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = [found for name, (space, example) in spaces().items()
            for found in space_rows(name, workloads(space, example, asked.networks))]
    for name, (net, example) in known().items():
        rows += space_rows(name, [record(net, example)])
    rows += [optimum_row(200), *patch_rows()]
    if asked.peers:
        rows += peer_rows(asked.peers)
    show(rows, asked.json, asked.csv, "recipe: python benchmarks/memory.py --csv benchmarks/results/memory-2-cores.csv")


if __name__ == "__main__":
    main()
