"""Mapping search on spatial arrays: energy, cycles and seconds of whole networks, beside ZigZag's.

    python benchmarks/mapping.py --json                       # ZigZag's figures as recorded, see --peer
    python benchmarks/mapping.py --peer zigzag/bin/python     # ZigZag run anew (an hour)
    python benchmarks/mapping.py --peer zigzag/bin/python --searches recorded      # its cost model alone

ResNet-18 and MobileNetV2 (224 x 224, int8, batch 1) layer by layer from and to DRAM, on the bundled descriptions of
a TPU-like and an edge-TPU-like array, which are ZigZag's. Both tools get the same layers. Rows show our mappings of
least energy x cycles; a peer `zigzag` is the lowest figure of its searches for latency and for energy, `zigzag (free)`
the same where it also chooses the unrolling; `ours in zigzag` is what ZigZag's own cost model says of our mappings,
`zigzag in ours` what our model says of ZigZag's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import rows

from archfab import registry
from archfab.hardware.mapping import search
from archfab.hardware.mapping.architecture import OPERANDS, Architecture
from archfab.hardware.mapping.evaluate import evaluate_all
from archfab.hardware.mapping.layer import LOOPS, Layer
from archfab.hardware.mapping.nest import Nest
from archfab.hardware.models.accelerator import architecture_of

HERE = Path(__file__).parent
RECORDED = HERE / "results" / "mapping-zigzag.json"
RECIPE = "python benchmarks/mapping.py --csv benchmarks/results/mapping-2-cores.csv"
UNROLLED = {"tpu-like": {"D1": [["K", 32]], "D2": [["C", 32]]},
            "edge-tpu-like": {"D1": [["K", 8]], "D2": [["C", 8]], "D3": [["OX", 4]], "D4": [["OY", 4]]}}
"""The unrolling that ZigZag's own mapping files give for these arrays."""


def resnet18() -> list[Layer]:
    """He et al., CVPR 2016."""
    found, before = [Layer(inputs=3, outputs=64, height=112, width=112, kernel_height=7, kernel_width=7, stride=(2, 2),
                           edge=(224, 224))], 64
    for outputs, size in ((64, 56), (128, 28), (256, 14), (512, 7)):
        for stride in (1 if outputs == 64 else 2, 1):
            edge = (size * stride, size * stride)
            found.append(Layer(inputs=before, outputs=outputs, height=size, width=size, kernel_height=3, kernel_width=3,
                               stride=(stride, stride), edge=edge))
            if stride == 2:
                found.append(Layer(inputs=before, outputs=outputs, height=size, width=size, stride=(2, 2), edge=edge))
            found.append(Layer(inputs=outputs, outputs=outputs, height=size, width=size, kernel_height=3,
                               kernel_width=3, edge=(size, size)))
            before = outputs
    return [*found, Layer(inputs=512, outputs=1000)]


def mobilenetv2() -> list[Layer]:
    """Sandler et al., CVPR 2018."""
    found = [Layer(inputs=3, outputs=32, height=112, width=112, kernel_height=3, kernel_width=3, stride=(2, 2),
                   edge=(224, 224))]
    before, size = 32, 112
    for expand, outputs, blocks, first in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                           (6, 160, 3, 2), (6, 320, 1, 1)):
        for block in range(blocks):
            stride, inner = (first if block == 0 else 1), before * expand
            if expand > 1:
                found.append(Layer(inputs=before, outputs=inner, height=size, width=size, edge=(size, size)))
            found.append(Layer(groups=inner, height=size // stride, width=size // stride, kernel_height=3,
                               kernel_width=3, stride=(stride, stride), edge=(size, size)))
            size //= stride
            found.append(Layer(inputs=inner, outputs=outputs, height=size, width=size, edge=(size, size)))
            before = outputs
    return [*found, Layer(inputs=320, outputs=1280, height=7, width=7, edge=(7, 7)), Layer(inputs=1280, outputs=1000)]


NETWORKS = {"ResNet-18": resnet18, "MobileNetV2": mobilenetv2}


def plain(layer: Layer) -> dict[str, Any]:
    sizes = dict(zip(LOOPS, layer.sizes, strict=True))
    return {"sizes": {loop: sizes[loop] for loop in ("B", "K", "G", "OX", "OY", "C", "FX", "FY")},
            "stride": layer.stride, "dilation": layer.dilation, "edge": layer.edge, "bits": layer.bits}


def description(device: str) -> tuple[Architecture, dict[str, Any]]:
    """A bundled array, and the same in ZigZag's format."""
    numbers = registry.load("devices", device)
    given = numbers["architecture"]

    def without_sources(table: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in table.items() if key not in ("source", "origin")}
    return architecture_of(numbers), {
        "name": device, "operational_array": {"unit_area": 0.0, **without_sources(given["operational_array"])},
        "memories": {name: {"area": 0.0, "latency": 1, **without_sources(memory)}
                     for name, memory in given["memories"].items()}}


def asked(python: str, question: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run([python, str(HERE / "peers" / "zigzag_mapping.py")], input=json.dumps(question), text=True,
                          capture_output=True)
    if done.returncode:
        raise SystemExit(f"ZigZag failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def ours(layers: list[Layer], architecture: Architecture, objective: str) -> tuple[list[Any], float]:
    """The mappings found, and the median CPU seconds of five cold searches."""
    spent = []
    for _ in range(5):
        begin = time.process_time()
        found = dict(zip(distinct := list(dict.fromkeys(layers)), search.search(distinct, architecture, objective),
                         strict=True))
        spent.append(time.process_time() - begin)
    return [found[layer] for layer in layers], statistics.median(spent)


def total(costs: list[Any]) -> tuple[float, float]:
    return sum(cost.energy for cost in costs), sum(cost.cycles for cost in costs)


def theirs(python: str, table: dict[str, Any], layers: list[Layer], device: str) -> dict[str, Any]:
    """ZigZag's searches: for latency and for energy, with its files' unrolling and, for latency, with its own."""
    question = {"accelerator": table, "layers": [plain(layer) for layer in layers]}
    found = {objective: asked(python, {**question, "unrolled": UNROLLED[device], "objective": objective})
             for objective in ("latency", "energy")}
    found["free"] = asked(python, {**question, "unrolled": None, "objective": "latency"})
    return found


def as_nest(found: dict[str, Any], architecture: Architecture) -> Nest:
    return Nest(tuple(tuple((loop, units) for loop, units in found["unrolled"].get(name, ()))
                      for name, _ in architecture.array),
                tuple((loop, count) for loop, count in found["loops"]),
                tuple((operand, tuple(found["held"][operand])) for operand in OPERANDS))


def compared(python: str | None, anew: bool, recorded: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    label, own = "" if python and anew else " (recorded)", "" if python else " (recorded)"
    for device in UNROLLED:
        architecture, table = description(device)
        for name, network in NETWORKS.items():
            layers, end = network(), f"{name} {device}"
            mapped, seconds = ours(layers, architecture, "edp")
            energy, cycles = total([cost for _, cost in mapped])
            if python:
                other = theirs(python, table, layers, device) if anew else recorded[end]
                other["ours"] = asked(python, {"accelerator": table, "layers": [plain(layer) for layer in layers],
                                               "nests": [nest.plain(architecture) for nest, _ in mapped]})
                recorded[end] = other
            other = recorded[end]
            again = {key: total(evaluate_all([(layer, as_nest(each, architecture)) for layer, each in
                                              zip(layers, other[key]["layers"], strict=True)], architecture))
                     for key in ("latency", "energy")}
            peers = {figure: {f"zigzag{label}": min(other[key][figure] for key in ("latency", "energy")),
                              **({f"zigzag (free){label}": other["free"][figure]} if "free" in other else {}),
                              f"ours in zigzag{own}": sum(each[figure] for each in other["ours"]["layers"]),
                              "zigzag in ours": min(each[at] for each in again.values())}
                     for at, figure in enumerate(("energy", "cycles"))}
            found += [
                rows.row(f"mapping seconds {end}", seconds, "CPU s", 0.5,
                         peers={f"zigzag{label}": other["latency"]["seconds"]}),
                rows.row(f"mapping energy uJ {end}", energy / 1e6, "uJ", peers["energy"][f"zigzag{label}"] / 1e6,
                         peers={key: value / 1e6 for key, value in peers["energy"].items()}),
                rows.row(f"mapping cycles {end}", cycles, "cycles", peers["cycles"][f"zigzag{label}"],
                         peers=peers["cycles"])]
            for objective, unit in (("energy", "uJ"), ("latency", "cycles")):
                best, took = ours(layers, architecture, objective)
                least = total([cost for _, cost in best])
                found.append(rows.row(f"mapping least {objective} {end}", least[0] / 1e6 if unit == "uJ" else least[1],
                                      unit, peers={"CPU s": took}))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    here = sys.executable if importlib.util.find_spec("zigzag") else None
    parser.add_argument("--peer", default=here, help="a Python that has zigzag-dse and six; without one ZigZag's "
                        "recorded figures are shown")
    parser.add_argument("--searches", choices=("anew", "recorded"), default="anew",
                        help="whether ZigZag searches again")
    given = parser.parse_args()
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    found = compared(given.peer, given.searches == "anew", recorded)
    if given.peer:
        RECORDED.write_text(json.dumps(recorded, separators=(",", ":")) + "\n")
    rows.show(found, given.json, given.csv, RECIPE)


if __name__ == "__main__":
    main()
