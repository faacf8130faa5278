"""Fits the bundled devices to measured networks again, and says how far the device files are off.

Needs the optional data folder (ARCHFAB_DATA) for every device but cortex-m4, cortex-m7 and cortex-m33.
    python benchmarks/calibration.py [--device NAME]    the device files against a new fit, and residuals
    python benchmarks/calibration.py --json             one list of rows
    python benchmarks/calibration.py --write            and every prediction, to benchmarks/results/calibration-*.csv
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares
from scipy.stats import spearmanr

from archfab import nn, registry
from archfab.core import Cost
from archfab.evaluate import load_device
from archfab.hardware.kernels import fuse
from archfab.hardware.models.roofline import BIAS_BYTES, KINDS, positions
from archfab.hardware.tracing import trace
from archfab.hardware.workload import Workload, record_genotype
from archfab.nn.cells import useful
from archfab.space import Space

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("ARCHFAB_DATA", ROOT / "../shared/data"))
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPERATIONS = ("none", "skip", "conv1x1", "conv3x3", "pool")
# MLPerf Tiny v1.2 on STM32L4R5 at 120 MHz, STM32U575 at 160 MHz, STM32H7A3 at 280 MHz: inferences per second,
# microjoules per inference
TINY = {
    "cortex-m4": {"AD": (190.086, 203.4), "KWS": (23.155, 1820.5), "IC": (6.056, 6919.4), "VWW": (11.245, 3894.6)},
    "cortex-m33": {"AD": (291.589, 81.9), "KWS": (34.416, 656.2), "IC": (9.003, 2579.0), "VWW": (16.870, 1354.7)},
    "cortex-m7": {"AD": (816.004, 165.7), "KWS": (88.356, 1375.6), "IC": (24.483, 5090.3), "VWW": (42.009, 2965.5)}}
CORAL_MOBILENET_MS = 2.2        # Coral FAQ: MobileNet v1, 224x224, Dev Board with Edge TPU
# device -> utilisations that are fitted, sharing a value in a group; other fitted numbers; how near the logarithms
# of utilisations stay to their mean (standard deviation): near where four networks must tell four kinds apart
FITS: dict[str, tuple[tuple[tuple[str, ...], ...], tuple[str, ...], float]] = {
    **dict.fromkeys(TINY, ((("conv",), ("pointwise",), ("depthwise",), ("linear",)), ("overhead_us",), 0.1)),
    **dict.fromkeys(("raspberry-pi-4", "pixel-3"), ((("conv",), ("pointwise", "linear"), ("depthwise",), ("pool",),
                                                     ("elementwise", "norm"), ("move",)),
                                                    ("overhead_us", "saturation.pointwise"), 3.0)),
    "adreno-640": ((("conv",), ("pointwise", "linear"), ("pool",), ("elementwise", "norm", "move")), (), 3.0),
    "edge-npu": ((("conv",), ("pointwise", "linear"), ("pool",), ("elementwise", "norm", "move")), ("start_us",), 3.0),
    "server-gpu": ((("conv", "pointwise", "linear"), ("depthwise",), ("elementwise", "norm", "move", "pool")),
                   ("overhead_us", "start_us", "saturation.pointwise"), 3.0)}


@dataclass
class Case:
    """A network that was measured: what it runs, and how long it took."""

    name: str
    workload: Workload
    seconds: float
    held_out: bool = True


def recorded(network: Any, *shape: int) -> Workload:
    """The workload of a description without choices."""
    return record_genotype(Space(network), {}, (torch.empty(1, *shape),))


def tiny_descriptions() -> dict[str, tuple[Any, tuple[int, ...]]]:
    """The four reference networks of MLPerf Tiny, and the shapes of their inputs."""
    dense = [[nn.Linear(width), nn.BatchNorm1d(), nn.ReLU()] for width in [128] * 4 + [8] + [128] * 4]
    words = [nn.Conv2d(64, (10, 4), stride=2, padding=(5, 1), bias=False), nn.BatchNorm2d(), nn.ReLU()]
    blocks = [nn.ResidualBlock(16), nn.ResidualBlock(32, stride=2), nn.ResidualBlock(64, stride=2)]
    return {"AD": (nn.Sequential(*dense, nn.Linear(640)), (640,)),
            "KWS": (nn.Sequential(*words, *[nn.SeparableConv(64)] * 4, nn.Classifier(12)), (1, 49, 10)),
            "IC": (nn.Sequential(nn.ConvNormAct(16), *blocks, nn.Classifier(10)), (3, 32, 32)),
            "VWW": (mobilenet(0.25, 2), (3, 96, 96))}


def tiny_networks() -> dict[str, Workload]:
    """The workloads of the four reference networks of MLPerf Tiny."""
    return {name: recorded(network, *shape) for name, (network, shape) in tiny_descriptions().items()}


def mobilenet(width: float, classes: int) -> Any:
    """MobileNet v1 (Howard et al., 2017)."""
    rows = zip([64, 128, 128, 256, 256, *[512] * 6, 1024, 1024], [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1], strict=True)
    blocks = [nn.SeparableConv(int(channels * width), stride=stride) for channels, stride in rows]
    return nn.Sequential(nn.ConvNormAct(int(32 * width), 3, 2), *blocks, nn.Classifier(classes))


def nasbench201() -> Any:
    """The network of NAS-Bench-201 around its cell: 16, 32 and 64 channels, five cells each."""
    def halve(width: int) -> Any:
        body = [nn.ReLU(), nn.Conv2d(width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(),
                nn.ReLU(), nn.Conv2d(width, 3, padding=1, bias=False), nn.BatchNorm2d()]
        return nn.Residual(nn.Sequential(*body), nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(width, 1, bias=False)))

    cells = [nn.nasbench201_cell()] * 5
    return nn.Sequential(nn.Conv2d(16, 3, padding=1, bias=False), nn.BatchNorm2d(), *cells, halve(32), *cells,
                         halve(64), *cells, nn.BatchNorm2d(), nn.ReLU(), nn.Classifier(10))


def genotype_of(row: dict[str, str]) -> dict[str, str]:
    """A row of the NAS-Bench-201 table as decisions of `nasbench201`."""
    return {f"cell.{i}-{j}": OPERATIONS[int(row[f"e{i}{j}"])] for i, j in EDGES}


def all_reachable(row: dict[str, str]) -> bool:
    """Whether every operation lies on a path from input to output; else the table's network ran more than ours."""
    edges = [(i, j, nn.Identity()) for i, j in EDGES if row[f"e{i}{j}"] != "0"]
    return bool(edges) and len(useful(edges, 1, [3])) == len(edges)


def fbnet(ops: list[int]) -> Any:
    """A network of the FBNet space for 32x32 images (Wu et al., CVPR 2019; strides of HW-NAS-Bench)."""
    def layer(op: int, before: int, width: int, stride: int) -> list[Any]:
        if op == 8:
            return [] if stride == 1 and width == before else [nn.ConvNormAct(width, 1, stride)]
        expand, groups = ((1, 1), (1, 2), (3, 1), (6, 1))[op % 4]
        shuffle = [nn.ChannelShuffle(groups)] if groups > 1 else []
        return [nn.Residual(nn.Sequential(
            nn.ConvNormAct(nn.CHANNELS * expand, 1, groups=groups), *shuffle,
            nn.ConvNormAct(nn.CHANNELS, 5 if op > 3 else 3, stride, groups=nn.CHANNELS),
            nn.ConvNormAct(width, 1, groups=groups, activation=None)))]

    widths = [16, 16, *[24] * 4, *[32] * 4, *[64] * 4, *[112] * 4, *[184] * 4, 352]
    layers = [layer(op, widths[i], widths[i + 1], 2 if i in (5, 9, 17) else 1) for i, op in enumerate(ops)]
    return nn.Sequential(nn.ConvNormAct(16), *layers, nn.ConvNormAct(1504, 1), nn.Classifier(100))


def once_for_all(kernels: list[int], expands: list[int], depths: list[int]) -> Any:
    """A network of the Once-for-All MobileNetV3 space, width 1.2 (Cai et al., ICLR 2020)."""
    stages = [(32, 2, 0, "ReLU"), (48, 2, 4, "ReLU"), (96, 2, 0, "Hardswish"), (136, 1, 4, "Hardswish"),
              (192, 2, 4, "Hardswish")]
    blocks = [nn.MBConv(width, kernels[4 * s + i], expands[4 * s + i], stride if i == 0 else 1, squeeze, activation)
              for s, (width, stride, squeeze, activation) in enumerate(stages) for i in range(depths[s])]
    head = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(1536, 1, bias=False), nn.Hardswish(), nn.Flatten(), nn.Linear(1000)]
    return nn.Sequential(nn.ConvNormAct(24, 3, 2, activation="Hardswish"), nn.MBConv(24, 3, 1), *blocks,
                         nn.ConvNormAct(1152, 1, activation="Hardswish"), *head)


def batched(workload: Workload, batch: int) -> Workload:
    """The same network on a batch: activations and arithmetic grow, parameters stay."""
    buffers = tuple(replace(b, elements=b.elements * batch) if b.role == "activation" else b for b in workload.buffers)
    return replace(workload, buffers=buffers, ops=tuple(
        replace(op, macs=op.macs * batch, shape=(op.shape[0] * batch, *op.shape[1:])) for op in workload.ops))


def table(path: str) -> list[dict[str, str]]:
    with gzip.open(DATA / path, "rt") as file:
        return list(csv.DictReader(file))


@cache
def cells(few: str | None = None) -> list[tuple[str, Workload]]:
    """450 NAS-Bench-201 networks without unreachable operations; of those that a table has, where it has `few`."""
    known = few and {row["idx"] for row in table(few)}
    rows = [row for row in table("nasbench201/archs.csv.gz")
            if all_reachable(row) and (not known or row["idx"] in known)]
    space, image = Space(nasbench201()), (torch.empty(1, 3, 32, 32),)
    return [(row["idx"], trace(space, genotype_of(row), image)) for row in random.Random(1).sample(rows, 450)]


def timed_cells(column: str, few: str | None = None) -> Iterator[Case]:
    """The cells that a table has a time for: a third to fit, two thirds held out."""
    times = {row["idx"]: row[column] for row in table(few or "hw-nas-bench/nb201_cifar10.csv.gz")}
    for i, (idx, workload) in enumerate(cells(few)):
        if times[idx]:
            yield Case(f"nasbench201 {idx}", workload, float(times[idx]) / 1e3, i >= 150)


def cases_of(device: str) -> Iterator[Case]:
    """The measured networks of a device."""
    if device in TINY:
        yield from (Case(name, workload, 1 / TINY[device][name][0]) for name, workload in tiny_networks().items())
    if device == "edge-npu":
        yield from timed_cells("edgetpu_latency")
    if device in ("raspberry-pi-4", "pixel-3"):
        column = {"raspberry-pi-4": "raspi4", "pixel-3": "pixel3"}[device]
        yield from timed_cells(f"{column}_latency")
        for i, row in enumerate(random.Random(1).sample(table("help-latency/fbnet_latency_ms.csv.gz"), 300)):
            workload = recorded(fbnet([*map(int, row["ops"].split())]), 3, 32, 32)
            yield Case(f"fbnet {row['idx']}", workload, float(row[column]) / 1e3, i >= 150)
    if device == "adreno-640":
        yield from timed_cells("gpu", "nn-meter/nb201_latency_ms.csv.gz")
    if device == "server-gpu":
        for i, row in enumerate(random.Random(1).sample(table("help-latency/ofa_latency_ms.csv.gz"), 200)):
            workload = recorded(once_for_all(*([*map(int, row[key].split())] for key in ("ks", "e", "d"))),
                                3, int(row["r"]), int(row["r"]))
            for b in (1, 32, 64):
                yield Case(f"ofa {row['idx']} batch {b}", batched(workload, b), float(row[f"v100_{b}"]) / 1e3, i >= 100)


class Model:
    """The device's own formula on many networks at once, for fitting."""

    def __init__(self, device: str, cases: list[Case]) -> None:
        self.numbers = registry.load("devices", device)
        rows = [(i, *row) for i, case in enumerate(cases) for row in self.kernels(case.workload)]
        self.case, self.kind, self.work, self.bytes, self.positions = map(np.array, zip(*rows, strict=True))
        self.seconds = np.array([case.seconds for case in cases])

    def kernels(self, workload: Workload) -> Iterator[tuple[int, float, float, float]]:
        for kernel in fuse(workload):
            touched = sum(workload.buffers[b].elements for b in (*kernel.reads, *kernel.writes))
            weights = sum(workload.buffers[b].elements for b in kernel.weights)
            traffic = (touched + weights) * self.numbers["bits"] / 8 + kernel.biases * BIAS_BYTES
            yield KINDS.index(kernel.kind), kernel.macs or touched, traffic, positions(kernel)

    def number(self, key: str) -> float:
        """What the device file says."""
        group, _, name = key.rpartition(".")
        return (self.numbers.get(group, {}) if group else self.numbers).get(name, {"value": 0.0})["value"]

    def predict(self, found: dict[str, float]) -> np.ndarray:
        """Seconds of each network, with some of the device's numbers replaced."""
        now = {key: found.get(key, self.number(key))
               for key in ("peak_gmacs", "bandwidth_gb_s", "overhead_us", "start_us",
                           *(f"{group}.{kind}" for group in ("utilisation", "saturation") for kind in KINDS))}
        rate = now["peak_gmacs"] * 1e9 * np.array([now[f"utilisation.{kind}"] for kind in KINDS])
        half = np.array([now[f"saturation.{kind}"] for kind in KINDS])
        work = self.work * (1 + half[self.kind] / self.positions)
        times = np.maximum(work / rate[self.kind], self.bytes / (now["bandwidth_gb_s"] * 1e9))
        running, launching = np.bincount(self.case, times), np.bincount(self.case) * now["overhead_us"] / 1e6
        together = np.maximum(running, launching) if self.numbers.get("asynchronous") else running + launching
        return together + now["start_us"] / 1e6


def fitted(device: str, cases: list[Case]) -> dict[str, float]:
    """The device's numbers by least squares of the logarithm of the ratio, robust against outliers."""
    (groups, others, spread), model = FITS[device], Model(device, cases)

    def named(logs: np.ndarray) -> dict[str, float]:
        shares = {f"utilisation.{kind}": np.exp(x) for kinds, x in zip(groups, logs, strict=False) for kind in kinds}
        return {**shares, **dict(zip(others, np.exp(logs[len(groups):]), strict=True))}

    def residuals(logs: np.ndarray) -> np.ndarray:
        found, shares = named(logs), logs[:len(groups)]
        launch = [np.log(found["overhead_us"] / 5.0) / 1.5] if "overhead_us" in others else []
        return np.concatenate([np.log(model.predict(found) / model.seconds) / 0.05, (shares - shares.mean()) / spread,
                               launch])

    rates = {"conv": 0.1, "pointwise": 0.1, "linear": 0.1, "depthwise": 0.03}
    start = np.log([rates.get(kinds[0], 0.001) for kinds in groups] + [10.0] * len(others))
    highest = [0.0] * len(groups) + [9.0] * len(others)
    return named(least_squares(residuals, start, bounds=(-12, highest), loss="soft_l1", f_scale=2).x)



def ratio(a: float, b: float) -> float:
    """By which factor two numbers above 0 differ, from 1 up."""
    return float(max(a, b) / min(a, b))


def row(name: str, value: float, unit: str, target: float, higher: bool = False, **peers: float) -> dict[str, Any]:
    return {"name": name, "value": round(float(value), 4), "unit": unit, "higher_is_better": higher, "target": target,
            "peers": {key.replace("_", " "): float(f"{peer:.4g}") for key, peer in peers.items()}}


def family_of(case: Case) -> str:
    words = case.name.split()
    return " ".join(words[:1] + words[2:])


def held_out_rows(device: str, cases: list[Case], costs: list[Cost]) -> Iterator[dict[str, Any]]:
    """How well the device file predicts networks that it was not fitted to, for each family and batch size."""
    for name in sorted({f"{device} {family_of(case)}" for case in cases}):
        chosen = [i for i, case in enumerate(cases) if name == f"{device} {family_of(case)}"]
        measured, predicted = np.array([(cases[i].seconds * 1e3, costs[i].value) for i in chosen]).T
        by_macs = round(float(spearmanr([cases[i].workload.macs for i in chosen], measured)[0]), 4)
        inside = np.mean([costs[i].low <= cases[i].seconds * 1e3 <= costs[i].high for i in chosen])
        yield row(f"{name} spearman", spearmanr(predicted, measured)[0], "", by_macs, True, macs_spearman=by_macs)
        yield row(f"{name} median abs error", 100 * float(np.median(abs(predicted / measured - 1))), "%", 10)
        yield row(f"{name} within interval", 100 * float(inside), "%", 85, True)


def leave_one_out_rows(device: str, cases: list[Case]) -> Iterator[dict[str, Any]]:
    """The worst of four predictions of a network that the fit did not see; power is the mean of the others."""
    latency, energy = [], []
    for case in cases:
        others = [other for other in cases if other is not case]
        seconds = Model(device, [case]).predict(fitted(device, others))[0]
        power = np.mean([TINY[device][other.name][1] * TINY[device][other.name][0] for other in others])
        latency.append(ratio(seconds, case.seconds))
        energy.append(ratio(seconds * power, TINY[device][case.name][1]))
    yield row(f"{device} leave-one-out worst latency ratio", max(latency), "x", 1.5)
    yield row(f"{device} leave-one-out worst energy ratio", max(energy), "x", 1.5)


def calibrate(device: str, write: bool) -> Iterator[dict[str, Any]]:
    """The rows of one device; each fitted number beside what the file says; with `write`, every prediction to a CSV."""
    cases = list(cases_of(device))
    held_out, file = [case for case in cases if case.held_out], load_device(device)
    costs = [file.cost(case.workload).figures["latency_ms"] for case in held_out]
    model = Model(device, held_out)
    assert np.allclose(model.predict({}) * 1e3, [cost.value for cost in costs]), "the fit uses another formula"
    yield from leave_one_out_rows(device, cases) if device in TINY else held_out_rows(device, held_out, costs)
    if device == "edge-npu":
        cost = file.cost(recorded(mobilenet(1, 1000), 3, 224, 224)).figures["latency_ms"]
        yield row("edge-npu MobileNet v1 224 latency ratio", ratio(cost.value, CORAL_MOBILENET_MS), "x", 1.5)
    for key, value in fitted(device, [case for case in cases if not case.held_out] or cases).items():
        yield row(f"{device} file against refit: {key}", ratio(model.number(key), value), "x", 1.02,
                  file=model.number(key), refit=value)
    if write:
        save(device, ("network", "measured_ms", "predicted_ms", "low_ms", "high_ms"),
             [(case.name, *(f"{x:.6g}" for x in (case.seconds * 1e3, cost.value, cost.low, cost.high)))
              for case, cost in zip(held_out, costs, strict=True)])


def save(what: str, header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    with open(ROOT / f"benchmarks/results/calibration-{what}.csv", "w", newline="") as file:
        file.write("# recipe: ARCHFAB_DATA=<data folder> python benchmarks/calibration.py --write\n")
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=list(FITS), action="append")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    wanted = parser.parse_args()
    rows = [found for device in wanted.device or FITS for found in calibrate(device, wanted.write)]
    if wanted.write and not wanted.device:
        save("summary", ("name", "value", "unit", "target", "peers"),
             [(*(r[key] for key in ("name", "value", "unit", "target")), json.dumps(r["peers"])) for r in rows])
    if wanted.json:
        print(json.dumps(rows, indent=1))
        return
    for r in rows:
        met = r["value"] == r["target"] or (r["value"] > r["target"]) == r["higher_is_better"]
        print(f"{r['name']:66} {r['value']:>8} {r['unit']:2} target {r['target']:<7}"
              f"{'' if met else 'MISSED '}{r['peers'] or ''}")


if __name__ == "__main__":
    main()
