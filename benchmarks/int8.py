"""Integer networks of the spaces of `vision`: equal to LiteRT bit for bit, and what is lost against the float network.

Needs LiteRT, the oracle: pip install ai-edge-litert
    python benchmarks/int8.py [--networks 50]    a table
    python benchmarks/int8.py --json             one list of rows
    python benchmarks/int8.py --write            and to benchmarks/results/int8.csv
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from archfab.core import Budget
from archfab.exporting import to_onnx
from archfab.hardware.int8 import reference, tflite
from archfab.hardware.int8.graph import Graph
from archfab.hardware.int8.quantise import quantise, quantised_inputs
from archfab.lowering.concrete import build
from archfab.space import Space
from archfab.tasks.vision import Vision

ROOT = Path(__file__).parents[1]
SPACES = ("mobile", "cell", "darts", "attention")
EPOCHS, IMAGES, CALIBRATION = 10, 360, 100


def litert(graph: Graph, samples: list[list[np.ndarray]]) -> list[np.ndarray]:
    """The first output of TensorFlow Lite's reference kernels."""
    interpreter = Interpreter(model_content=tflite.write(graph), num_threads=1,
                              experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    (slot,), out, found = interpreter.get_input_details(), interpreter.get_output_details()[0], []
    for sample in samples:
        interpreter.set_tensor(slot["index"], sample[0])
        interpreter.invoke()
        found.append(interpreter.get_tensor(out["index"]))
    return found


def exactness(space: str, number: int) -> Iterator[dict[str, Any]]:
    """Random untrained networks for digits; some of `cell` do not look at their input and are drawn again."""
    task = Vision()
    declared, example = Space(task.space(space)), task.example()
    equal, seconds, seed = 0, [], 0
    tried = 0
    while tried < number:
        torch.manual_seed(seed)
        module = build(declared, declared.sample(random.Random(seed)), example).eval()
        seed += 1
        one = to_onnx(module, example)
        if not one.graph.node:
            continue
        tried += 1
        before = time.process_time()
        graph = quantise(one)
        seconds.append(time.process_time() - before)
        samples = [quantised_inputs(graph, x) for x in np.random.default_rng(seed).standard_normal(
            (3, *example[0].shape)).astype(np.float32)]
        equal += all(np.array_equal(a, reference.run(graph, x)[0]) for a, x in
                     zip(litert(graph, samples), samples, strict=True))
    yield row(f"{space} networks equal to LiteRT bit for bit", 100 * equal / number, "%", 100, True, networks=number)
    yield row(f"{space} median seconds to quantise", float(np.median(seconds)), "CPU s", 1.0)


def accuracy(space: str) -> Iterator[dict[str, Any]]:
    """One network trained on the digits, against itself in integers on test images."""
    task, rng = Vision(), random.Random(3)
    declared, example = Space(task.space(space)), task.example()
    torch.manual_seed(0)
    module = build(declared, declared.sample(rng), example)
    task.fit(module, Budget(epochs=EPOCHS), rng)
    module.eval()
    images = task.inputs(IMAGES)[0]
    graph = quantise(to_onnx(module, example), [x[None].numpy() for x in images[:CALIBRATION]])
    with torch.no_grad():
        theirs = module(images).numpy()
    out = graph.tensors[graph.outputs[0]]
    ours = np.array([out.real(reference.run(graph, quantised_inputs(graph, x[None].numpy()))[0])[0] for x in images])
    yield row(f"{space} trained on digits: same class as the float network", 100 * np.mean(
        ours.argmax(1) == theirs.argmax(1)), "%", 97, True, images=IMAGES)
    yield row(f"{space} trained on digits: error of the outputs", 100 * float(np.sqrt(
        ((ours - theirs) ** 2).mean() / (theirs**2).mean())), "% rms", 15)


def row(name: str, value: float, unit: str, target: float, higher: bool = False, **peers: float) -> dict[str, Any]:
    return {"name": name, "value": round(float(value), 4), "unit": unit, "higher_is_better": higher, "target": target,
            "peers": peers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    wanted = parser.parse_args()
    found = [each for space in SPACES for rows in (exactness(space, wanted.networks), accuracy(space)) for each in rows]
    if wanted.write:
        with open(ROOT / "benchmarks/results/int8.csv", "w", newline="") as file:
            file.write(f"# recipe: python benchmarks/int8.py --networks {wanted.networks} --write\n")
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("name", "value", "unit", "target"))
            writer.writerows([r[key] for key in ("name", "value", "unit", "target")] for r in found)
    if wanted.json:
        print(json.dumps(found, indent=1))
        return
    for r in found:
        met = r["value"] == r["target"] or (r["value"] > r["target"]) == r["higher_is_better"]
        print(f"{r['name']:62} {r['value']:>9} {r['unit']:6} target {r['target']:<5}{'' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
