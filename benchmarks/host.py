"""How far measurements on this machine can be trusted: beside a plain loop, over repeats, sums of kernels beside whole
networks, and what a memory layout gains. ResNet-18 and MobileNetV2 on 224 x 224 pictures, one thread.

    python benchmarks/host.py [--json] [--out benchmarks/results/host-2-cores.csv]      about four minutes

Times are those that the processor was ours, so that a busy machine changes them little.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rows import row, show
from torch import nn

from archfab.evaluate import load_device
from archfab.hardware.kernels import fuse
from archfab.hardware.measuring.interpolation import Interpolation
from archfab.hardware.measuring.layouts import feed_of, layouts, runner
from archfab.hardware.measuring.table import Table, key_of
from archfab.hardware.measuring.tabulate import make_device, quick, tabulate
from archfab.hardware.models import host as host_model
from archfab.hardware.network import Network
from archfab.hardware.workload import Workload, record
from archfab.plan import plan

REPEATS = 5
LOOP = 30
SPACE = 16          # random networks of the vision space, to check a table on and to try it on


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(outputs), *([nn.ReLU6()] if act else []))


class Residual(nn.Module):
    """What is computed, added to what came in, or to a projection of it."""

    def __init__(self, body: nn.Module, beside: nn.Module | None, after: nn.Module) -> None:
        super().__init__()
        self.body, self.beside, self.after = body, beside or nn.Identity(), after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.body(x) + self.beside(x))


def resnet18() -> nn.Module:
    """He et al., CVPR 2016."""
    parts: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
                              nn.MaxPool2d(3, 2, 1)]
    width = 64
    for outputs, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first, 1):
            body = nn.Sequential(conv(width, outputs, 3, stride, act=False), nn.ReLU(),
                                 conv(outputs, outputs, 3, act=False))
            beside = conv(width, outputs, 1, stride, act=False) if stride > 1 or width != outputs else None
            parts.append(Residual(body, beside, nn.ReLU()))
            width = outputs
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)).eval()


def mobilenet_v2() -> nn.Module:
    """Sandler et al., CVPR 2018."""
    parts: list[nn.Module] = [conv(3, 32, 3, 2)]
    width = 32
    for expand, outputs, number, first in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                           (6, 160, 3, 2), (6, 320, 1, 1)):
        for i in range(number):
            stride, inner = first if i == 0 else 1, width * expand
            body = nn.Sequential(*([conv(width, inner, 1)] if expand > 1 else []),
                                 conv(inner, inner, 3, stride, inner), conv(inner, outputs, 1, act=False))
            parts.append(Residual(body, None, nn.Identity()) if stride == 1 and width == outputs else body)
            width = outputs
    return nn.Sequential(*parts, conv(320, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(1280, 1000)).eval()


NETWORKS = {"resnet18": resnet18, "mobilenetv2": mobilenet_v2}


def workload(module: nn.Module) -> Workload:
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return replace(record(module, (x,)), network=Network(lambda: (module, (x,))))


def machine(seconds: float = 1.0) -> Any:
    """The device `host`, which here refuses nothing: the intervals are among the results."""
    device = quick(load_device("host"), seconds)
    device.settings = replace(device.settings, refuse=1e3)
    return device


def repeats(traced: Workload, device: Any) -> list[Any]:
    """The same network measured again and again, as if never before."""
    found = []
    for _ in range(REPEATS):
        host_model._known.clear()
        found.append(device.cost(traced).figures["latency_ms"])
    return found


def plain_loop(network: Network) -> float:
    """What one would write by hand: some runs to warm up, then the median of more, in milliseconds."""
    run = runner(network.onnx(), feed_of(network.onnx(), network))
    times = []
    for i in range(10 + LOOP):
        start = time.process_time()
        run()
        times.append(1e3 * (time.process_time() - start) if i >= 10 else 0.0)
    return statistics.median(times[10:])


def trust(name: str, traced: Workload) -> Iterator[dict[str, Any]]:
    assert traced.network is not None
    device = machine()
    found = repeats(traced, device)
    values = [cost.value for cost in found]
    middle = statistics.median(values)
    loop = plain_loop(traced.network)
    yield row(f"host latency {name}", middle, "ms", peers={"plain loop": loop})
    yield row(f"host beside a plain loop {name}", abs(middle / loop - 1) * 100, "% apart", 10)
    yield row(f"host spread over {REPEATS} repeats {name}", 100 * (max(values) - min(values)) / middle, "%", 10)
    yield row(f"host intervals that hold the median of all {name}",
              sum(cost.low <= middle <= cost.high for cost in found) / len(found), "share", higher_is_better=True)


def sums(name: str, traced: Workload) -> Iterator[dict[str, Any]]:
    device = machine(0.2)
    keys = [key_of(kernel, traced) for kernel in fuse(traced)]
    table = tabulate(list(dict.fromkeys(keys)), device)
    total = table.start_ms + sum(table.milliseconds[key] for key in keys)
    measured = device.cost(traced).figures["latency_ms"].value
    yield row(f"lookup sum of kernels {name}", total, "ms", peers={"whole network": measured})
    yield row(f"lookup additivity error {name}, without a scale", 100 * abs(total / measured - 1), "%")


def space() -> Iterator[dict[str, Any]]:
    """A table of a space of networks so small that what lies between kernels counts, tried on fresh networks."""
    bench, rng = plan("vision", space="mobile"), random.Random(0)
    device = machine(0.05)
    with tempfile.TemporaryDirectory() as folder:
        made = make_device("mine", Path(folder), device, bench.space, bench.workload, rng, networks=SPACE)
        table = load_device(made["device"])
        rows = list(interpolated(table.table))
        drawn = [bench.workload(bench.space.sample(rng)) for _ in range(SPACE)]
        start = time.process_time()
        costs = [table.cost(each).figures for each in drawn]
        seconds = time.process_time() - start
    found = [(cost["latency_ms"], device.cost(each).figures["latency_ms"].value)
             for cost, each in zip(costs, drawn, strict=True) if "latency_ms" in cost]
    errors = [100 * abs(cost.value / measured - 1) for cost, measured in found]
    yield from rows
    yield row("lookup kernels of the vision space mobile", made["kernels"], "kernels", higher_is_better=True)
    yield row("lookup fresh networks whose kernels are all listed", len(found) / SPACE, "share", higher_is_better=True)
    yield row("lookup milliseconds to price a network", 1e3 * seconds / SPACE, "CPU ms", 1)
    yield row("lookup scale from sums to whole networks", made["scale"], "ratio")
    if errors:
        yield row("lookup median error on fresh networks", statistics.median(errors), "%", 10)
        yield row("lookup greatest error on fresh networks", max(errors), "%", 25)
        yield row("lookup fresh networks within the interval",
                  sum(cost.low <= measured <= cost.high for cost, measured in found) / len(found), "share",
                  higher_is_better=True)


def interpolated(table: Table) -> Iterator[dict[str, Any]]:
    """Each kernel of a table taken out and interpolated."""
    errors, held = [], []
    for entry, value in table.entries.items():
        found = Interpolation(Table({key: each for key, each in table.entries.items() if key != entry})).of(entry[0])
        if found:
            errors.append(100 * abs(found.value / value - 1))
            held.append(found.low <= value <= found.high)
    share = len(errors) / len(table.entries)
    yield row("lookup kernels that can be interpolated", share, "share", higher_is_better=True)
    yield row("lookup median error of an interpolated kernel", statistics.median(errors), "%")
    yield row("lookup interpolated kernels within their interval", sum(held) / len(held), "share", 0.85, True)


def gains(name: str, traced: Workload) -> Iterator[dict[str, Any]]:
    assert traced.network is not None
    found = layouts(traced.network)
    by_torch, by_onnx = found["torch"], found["onnxruntime"]
    yield row(f"layouts torch NHWC {name}", by_torch["nhwc_ms"], "CPU ms", peers={"NCHW": by_torch["nchw_ms"]})
    yield row(f"layouts torch NHWC over NCHW {name}", by_torch["ratio"]["value"], "ratio")
    yield row(f"layouts onnxruntime blocked over NCHW {name}", by_onnx["ratio"]["value"], "ratio")
    yield row(f"layouts hidden copies and transposes {name}", sum(each["latency_ms"] for each in found["hidden"]), "ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = []
    for name, make in NETWORKS.items():
        traced = workload(make())
        found += [*trust(name, traced), *sums(name, traced), *gains(name, traced)]
    show([*found, *space()], asked.json, asked.out, "python benchmarks/host.py --out " + str(asked.out))


if __name__ == "__main__":
    main()
