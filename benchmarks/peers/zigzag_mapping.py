"""ZigZag's mapping search, and its cost model on given mappings: JSON on standard input, JSON on standard output.

Needs zigzag-dse and six, in this or in an environment of their own:

    python -m venv zigzag && zigzag/bin/pip install zigzag-dse==3.9.1 six

Input: `accelerator` (ZigZag's description as data), `layers` (name, sizes of B K G OX OY C FX FY, stride, dilation,
edge, bits), and either `unrolled` with `objective` (search with that unrolling, null: ZigZag's own), or `nests` (as
`archfab` exports them, one for each layer: evaluate them).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

OPERANDS = {"input": "I", "weight": "W", "output": "O"}


def workload(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The layers in ZigZag's terms."""
    found = []
    for number, layer in enumerate(layers):
        (down, across), (down_taps, across_taps) = layer["stride"], layer["dilation"]
        given = {
            "id": number, "name": f"layer{number}", "operator_type": "Conv",
            "equation": "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
            "dimension_relations": [f"ix={across}*ox+{across_taps}*fx", f"iy={down}*oy+{down_taps}*fy"],
            "loop_dims": list(layer["sizes"]), "loop_sizes": list(layer["sizes"].values()),
            "operand_precision": dict(zip(("I", "W", "O_final", "O"), layer["bits"], strict=True)),
            "operand_source": {"I": number, "W": number}}
        if layer["edge"]:
            sizes = layer["sizes"]
            whole = {"IX": (sizes["OX"] - 1) * across + (sizes["FX"] - 1) * across_taps + 1,
                     "IY": (sizes["OY"] - 1) * down + (sizes["FY"] - 1) * down_taps + 1}
            edge = {"IX": min(layer["edge"][1], whole["IX"]), "IY": min(layer["edge"][0], whole["IY"])}
            given.update(pr_loop_dims=["IX", "IY"], pr_loop_sizes=[edge["IX"], edge["IY"]],
                         padding=[[0, whole["IX"] - edge["IX"]], [0, whole["IY"] - edge["IY"]]])
        found.append(given)
    return found


def mapping(unrolled: dict[str, list[Any]] | None) -> list[dict[str, Any]]:
    spatial = None if unrolled is None else {name: [f"{loop}, {units}" for loop, units in loops]
                                             for name, loops in unrolled.items()}
    return [{"name": "default", "spatial_mapping": spatial, "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"}}]


def searched(asked: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What ZigZag finds, and the CPU seconds that it takes."""
    import yaml
    from zigzag.api import get_hardware_performance_zigzag
    for name, data in (("accelerator", asked["accelerator"]), ("mapping", mapping(asked["unrolled"])),
                       ("workload", workload(asked["layers"]))):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    begin = time.process_time()
    energy, cycles, costs = get_hardware_performance_zigzag(
        str(folder / "workload.yaml"), str(folder / "accelerator.yaml"), str(folder / "mapping.yaml"),
        opt=asked["objective"], dump_folder=str(folder / "out"), loma_show_progress_bar=False)
    seconds = time.process_time() - begin
    layers = []
    for cost, _ in costs[0][1]:
        levels = {operand: cost.temporal_mapping.mapping_dic_origin[next(
            each for each in cost.layer.layer_operands if each.name == short)] for operand, short in OPERANDS.items()}
        held = {operand: [sum(len(each) for each in loops[:at + 1]) for at in range(len(loops))]
                for operand, loops in levels.items()}
        layers.append({
            "energy": cost.energy_total, "cycles": cost.latency_total2,
            "unrolled": {dimension.name: [[loop.name, units] for loop, units in loops.items()]
                         for dimension, loops in cost.layer.spatial_mapping.items()},
            "loops": [[loop.name, count] for level in levels["weight"] for loop, count in level], "held": held})
    return {"seconds": seconds, "energy": energy, "cycles": cycles, "layers": layers}


def evaluated(asked: dict[str, Any]) -> dict[str, Any]:
    """What ZigZag's cost model says of given mappings."""
    from zigzag.cost_model.cost_model import CostModelEvaluation
    from zigzag.datatypes import LayerDim, LayerOperand
    from zigzag.mapping.temporal_mapping import TemporalMapping, TemporalMappingType
    from zigzag.parser.accelerator_factory import AcceleratorFactory
    from zigzag.parser.accelerator_validator import AcceleratorValidator
    from zigzag.parser.mapping_validator import MappingValidator
    from zigzag.parser.workload_factory import LayerNodeFactory
    from zigzag.parser.workload_validator import WorkloadValidator
    from zigzag.stages.mapping.spatial_mapping_conversion import SpatialMappingConversionStage
    accelerator = AcceleratorFactory(AcceleratorValidator(asked["accelerator"]).normalized_data).create()
    found = []
    for data, nest in zip(WorkloadValidator(workload(asked["layers"])).normalized_data, asked["nests"], strict=True):
        layer = LayerNodeFactory(data, MappingValidator(mapping(
            {name: loops for name, loops in nest["unrolled"].items() if loops})).normalized_data).create()
        layer.spatial_mapping.initialize_oa_dims(accelerator.operational_array.dimension_sizes)
        stage = SpatialMappingConversionStage([None], accelerator=accelerator, layer=layer)  # type: ignore[list-item]
        spatial, whole = stage.convert_user_spatial_mapping(layer.spatial_mapping)
        levels: dict[Any, Any] = {}
        for operand, short in OPERANDS.items():
            cuts = [0, *nest["held"][operand].values()]
            levels[LayerOperand(short)] = [[(LayerDim(loop), count) for loop, count in nest["loops"][one:other]]
                                           for one, other in pairwise(cuts)]
        cost = CostModelEvaluation(accelerator=accelerator, layer=layer, spatial_mapping=spatial,
                                   spatial_mapping_int=whole,
                                   temporal_mapping=TemporalMapping(levels, layer, TemporalMappingType.UNEVEN))
        found.append({"energy": cost.energy_total, "cycles": cost.latency_total2})
    return {"layers": found}


def main() -> None:
    logging.disable(logging.CRITICAL)
    asked = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        os.chdir(folder)
        found = evaluated(asked) if "nests" in asked else searched(asked, Path(folder))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
