"""What a profiler found of each operator as rows of `Costs.operators`, which add up to the measured latency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

LINEAR = {"Gemm", "MatMul", "FusedMatMul", "FusedGemm", "MatMulNBits"}
ATTENTION = {"Attention", "MultiHeadAttention", "GroupQueryAttention"}
NORMS = {"BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNorm", "SkipLayerNormalization",
         "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "LpNormalization", "RMSNormalization"}
POOLS = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum", "ReduceMax",
         "ReduceMin", "ReduceProd", "ReduceL2", "ArgMax", "ArgMin", "CumSum"}
MOVES = {"Transpose", "Reshape", "ReorderInput", "ReorderOutput", "Concat", "Slice", "Split", "Gather", "GatherND",
         "GatherElements", "ScatterND", "ScatterElements", "Pad", "Expand", "Squeeze", "Unsqueeze", "Flatten", "Cast",
         "Resize", "Tile", "Where", "Identity", "Shape", "DepthToSpace", "SpaceToDepth", "Constant", "ConstantOfShape",
         "Range", "MemcpyFromHost", "MemcpyToHost"}
RECURRENT = {"LSTM", "GRU", "RNN"}
BYTES = {"float": 4, "double": 8, "float16": 2, "bfloat16": 2, "int64": 8, "uint64": 8, "int32": 4, "uint32": 4,
         "int16": 2, "uint16": 2}
"""Of one element; a type that is not here has one byte."""


def added_up(profile: Sequence[Mapping[str, Any]], latency_ms: float) -> list[dict[str, Any]]:
    """Rows with `milliseconds` under a profiler as rows with `latency_ms` that add up to the network's own.

    The profiler itself takes time: where its times add up to more than that, each is scaled down. Where they add up to
    less, the rest is a row of its own, for it passes between the operators.
    """
    total = sum(each["milliseconds"] for each in profile)
    share = min(1.0, latency_ms / total) if total else 1.0
    rows = [{**{key: value for key, value in each.items() if key != "milliseconds"},
             "latency_ms": each["milliseconds"] * share} for each in profile]
    if (rest := latency_ms - total * share) > 1e-9 * latency_ms:
        rows.append({"operator": "between operators", "kind": "start", "detail": "", "shape": [], "macs": 0, "bytes": 0,
                     "bound": "measured", "name": "", "latency_ms": rest})
    return rows


def described(each: Mapping[str, Any]) -> dict[str, Any]:
    """A row of onnxruntime's profiler, its fused and reordering operators included, in our columns."""
    outputs = each["outputs"]
    shape = outputs[0]["shape"] if outputs else []
    kind, detail, macs = work_of(each["op"], [x["shape"] for x in each["inputs"]], shape)
    moved = sum(math.prod(x["shape"]) * BYTES.get(x["dtype"], 1) for x in (*each["inputs"], *outputs))
    return {"operator": each["op"], "kind": kind, "detail": detail, "shape": shape, "macs": macs, "bytes": moved,
            "bound": "measured", "name": each["name"], "milliseconds": each["milliseconds"]}


def work_of(op: str, inputs: Sequence[Sequence[int]], shape: Sequence[int]) -> tuple[str, str, int]:
    """The kind of an ONNX operator, its kernel, and its multiply-accumulates, from the shapes that it met."""
    if op.endswith("Conv") and len(inputs) > 1 and len(inputs[1]) > 2:
        weights, groups = inputs[1], inputs[0][1] // max(1, inputs[1][1])
        detail = "x".join(map(str, weights[2:])) + (f" groups {groups}" if groups > 1 else "")
        kind = "depthwise" if groups > 1 and weights[1] == 1 else "pointwise" if math.prod(weights[2:]) == 1 else "conv"
        return kind, detail, math.prod(shape) * math.prod(weights[1:])
    if op in LINEAR:
        return "linear", "", math.prod(shape) * (inputs[0][-1] if inputs and inputs[0] else 1)
    for kind, known in (("attention", ATTENTION), ("norm", NORMS), ("pool", POOLS), ("move", MOVES),
                        ("recurrent", RECURRENT)):
        if op in known:
            return kind, "", 0
    return "elementwise", "", 0
