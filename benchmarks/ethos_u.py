"""The four reference networks of MLPerf Tiny on the bundled Ethos-U devices, against published cycles.

Needs Arm's Vela: pip install 'archfab[ethos-u]'
    python benchmarks/ethos_u.py             a table
    python benchmarks/ethos_u.py --json      one list of rows
    python benchmarks/ethos_u.py --write     and every figure, to benchmarks/results/ethos-u.csv
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import torch

from archfab import registry
from archfab.evaluate import load_device
from archfab.exporting import to_onnx
from archfab.hardware.int8 import tflite, vela
from archfab.hardware.int8.graph import Graph, Tensor
from archfab.hardware.int8.quantise import quantise
from archfab.hardware.onnx_file import record_onnx
from archfab.lowering.concrete import build
from archfab.space import Space

ROOT = Path(__file__).parents[1]
# cycles that Vela's model gives for the trained networks of MLPerf Tiny: U55-128 at 500 MHz, U85-256 at 1 GHz
PUBLISHED = {"ethos-u55-128": {"AD": 201184, "KWS": 89900, "IC": 201747, "VWW": 220870},
             "ethos-u85-256": {"AD": 62705, "KWS": 54311, "IC": 99010, "VWW": 212034}}
# other weights of the same networks, as a trained network's may be: by their distribution, one scale for each tensor
WEIGHTS = {"Laplacian": lambda rng, shape: rng.laplace(size=shape),
           "Student t, 3 degrees": lambda rng, shape: rng.standard_t(3, size=shape),
           "Laplacian, half of them 0": lambda rng, shape: rng.laplace(size=shape) * (rng.random(shape) < 0.5)}
CLOCK = {"ethos-u55-128": 500e6, "ethos-u85-256": 1e9}


def tiny_models() -> dict[str, onnx.ModelProto]:
    """The networks of benchmarks/calibration.py as ONNX, with weights that nobody trained (seed 0)."""
    calibration = registry.user_file(ROOT / "benchmarks/calibration.py")
    with mock.patch.object(calibration, "recorded", lambda network, *shape: (network, shape)):
        networks = calibration.tiny_networks()
    found = {}
    for name, (network, shape) in networks.items():
        torch.manual_seed(0)
        example = (torch.empty(1, *shape),)
        found[name] = to_onnx(build(Space(network), {}, example).eval(), example)
    return found


def rows() -> Iterator[dict[str, Any]]:
    models = tiny_models()
    for name, one in models.items():
        before = time.process_time()
        quantise(one)
        yield row(f"quantising {name}", time.process_time() - before, "CPU s", 1.0)
    for device, published in PUBLISHED.items():
        for name, one in models.items():
            before = time.perf_counter()
            cost = load_device(device).cost(record_onnx(one)).figures["latency_ms"]
            seconds = time.perf_counter() - before
            cycles, low, high = (x * CLOCK[device] / 1e3 for x in (cost.value, cost.low, cost.high))
            yield row(f"{device} {name} cycles over published", cycles / published[name], "x", 1.15,
                      published=published[name], ours=cycles, low=low, high=high)
            inside = max(low / published[name], published[name] / high, 1.0)
            yield row(f"{device} {name} published outside the interval by", 100 * (inside - 1), "%", 15)
            yield row(f"{device} {name} seconds", seconds, "s", 10)
    yield from weights_rows(models)


def weights_rows(models: dict[str, onnx.ModelProto]) -> Iterator[dict[str, Any]]:
    """How much of the distance from the published cycles other weights explain."""
    graphs = {name: quantise(one) for name, one in models.items()}
    for device, published in PUBLISHED.items():
        for words, draw in WEIGHTS.items():
            files = [tflite.write(drawn(graph, draw)) for graph in graphs.values()]
            for name, found in zip(graphs, vela.estimates(files, load_device(device).target()), strict=True):
                yield row(f"{device} {name} cycles over published, weights {words}", found.cycles / published[name],
                          "x", 1.15, published=published[name], ours=found.cycles)


def drawn(graph: Graph, draw: Callable[..., np.ndarray]) -> Graph:
    """The same network with other int8 weights (seed 0)."""
    rng = np.random.default_rng(0)

    def filled(tensor: Tensor) -> Tensor:
        if tensor.data is None or tensor.dtype != "int8":
            return tensor
        real = draw(rng, tensor.data.shape)
        return replace(tensor, data=np.rint(real / np.abs(real).max() * 127).astype(np.int8))

    return replace(graph, tensors=tuple(map(filled, graph.tensors)))


def row(name: str, value: float, unit: str, target: float, **peers: float) -> dict[str, Any]:
    return {"name": name, "value": round(float(value), 4), "unit": unit, "higher_is_better": False, "target": target,
            "peers": {key: round(peer) for key, peer in peers.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    wanted = parser.parse_args()
    found = list(rows())
    if wanted.write:
        with open(ROOT / "benchmarks/results/ethos-u.csv", "w", newline="") as file:
            file.write(f"# recipe: python benchmarks/ethos_u.py --write; ethos-u-vela {vela.version()}; weights drawn, "
                       "not trained\n")
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("name", "value", "unit", "target", "peers"))
            writer.writerows((*(r[key] for key in ("name", "value", "unit", "target")), json.dumps(r["peers"]))
                             for r in found if not r["name"].endswith("seconds"))
    if wanted.json:
        print(json.dumps(found, indent=1))
        return
    for r in found:
        met = r["value"] <= r["target"]
        print(f"{r['name']:56} {r['value']:>9} {r['unit']:5} target {r['target']:<5}{'' if met else 'MISSED '}"
              f"{r['peers'] or ''}")


if __name__ == "__main__":
    main()
