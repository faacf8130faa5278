"""Writes an integer network as a .tflite file: flatbuffers tables by the slot numbers of TensorFlow Lite's schema.

The schema is lite/schema/schema.fbs of TensorFlow, version 3. `onnxruntime` brings the only library this needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np

from archfab.hardware.int8.expressible import NONE, expressible
from archfab.hardware.int8.graph import Graph, Node, Tensor

# operator -> builtin code, version of its int8 kernel, member of the union BuiltinOptions
CODES: dict[str, tuple[int, int, int]] = {
    "add": (0, 2, 11), "average_pool_2d": (1, 2, 5), "concatenation": (2, 2, 10), "conv_2d": (3, 3, 1),
    "depthwise_conv_2d": (4, 3, 2), "fully_connected": (9, 4, 8), "logistic": (14, 2, 0), "max_pool_2d": (17, 2, 5),
    "mul": (18, 2, 21), "relu": (19, 2, 0), "relu_n1_to_1": (20, 1, 0),
    "relu6": (21, 2, 0), "reshape": (22, 1, 17), "softmax": (25, 2, 9), "tanh": (28, 2, 0), "pad": (34, 2, 22),
    "transpose": (39, 2, 26), "mean": (40, 2, 27), "sub": (41, 2, 28), "strided_slice": (45, 2, 32),
    "exp": (47, 2, 33), "maximum": (55, 2, 39), "minimum": (57, 2, 39), "pad_v2": (60, 2, 43),
    "transpose_conv": (67, 3, 49), "rsqrt": (76, 2, 0), "reduce_max": (82, 2, 27),
    "resize_nearest_neighbor": (97, 2, 74), "leaky_relu": (98, 2, 75), "quantize": (114, 2, 89),
    "hard_swish": (117, 1, 91), "batch_matmul": (126, 2, 101), "gelu": (150, 2, 116)}
TYPES = {"int8": 9, "int32": 2}
SAME, VALID = 0, 1

Slots = Mapping[int, tuple[str, Any]]
"""Slot number -> what is written there: the builder's word for a scalar's type, or "Offset", and the value."""


def write(graph: Graph, description: str = "archfab") -> bytes:
    """The network as the bytes of a .tflite file."""
    graph = expressible(graph)
    out = flatbuffers.Builder(1 << 16)
    codes = sorted({node.op for node in graph.nodes})
    buffers = [table(out, {})]                      # buffer 0 is empty by convention
    places = {}
    for i, tensor in enumerate(graph.tensors):
        if tensor.data is not None:
            places[i] = len(buffers)
            buffers.append(table(out, {0: ("Offset", data(out, tensor.data))}))
    tensors = [tensor_table(out, tensor, places.get(i, 0)) for i, tensor in enumerate(graph.tensors)]
    operators = [operator_table(out, graph, node, codes.index(node.op)) for node in graph.nodes]
    subgraph = table(out, {0: ("Offset", offsets(out, tensors)), 1: ("Offset", ints(out, graph.inputs)),
                           2: ("Offset", ints(out, graph.outputs)), 3: ("Offset", offsets(out, operators)),
                           4: ("Offset", out.CreateString("main"))})
    kinds = [table(out, {0: ("Int8", CODES[op][0] if CODES[op][0] < 127 else 127), 2: ("Int32", CODES[op][1]),
                         3: ("Int32", CODES[op][0])}) for op in codes]
    model = table(out, {0: ("Uint32", 3), 1: ("Offset", offsets(out, kinds)), 2: ("Offset", offsets(out, [subgraph])),
                        3: ("Offset", out.CreateString(description)), 4: ("Offset", offsets(out, buffers))})
    out.Finish(model, b"TFL3")
    return bytes(out.Output())


def table(out: flatbuffers.Builder, slots: Slots) -> int:
    """One table; what it points to has to be written before."""
    slots = {slot: (kind, value() if callable(value) else value) for slot, (kind, value) in slots.items()}
    out.StartObject(max(slots, default=-1) + 1)
    for slot, (kind, value) in slots.items():
        if kind == "Offset":
            out.PrependUOffsetTRelativeSlot(slot, value, 0)
        else:
            getattr(out, f"Prepend{kind}")(value)       # written even where it is the schema's default
            out.Slot(slot)
    return out.EndObject()


def offsets(out: flatbuffers.Builder, items: Sequence[int]) -> int:
    out.StartVector(4, len(items), 4)
    for item in reversed(items):
        out.PrependUOffsetTRelative(item)
    return out.EndVector()


def ints(out: flatbuffers.Builder, values: Sequence[int], dtype: str = "int32") -> int:
    return out.CreateNumpyVector(np.array(values, dtype))


def data(out: flatbuffers.Builder, values: np.ndarray) -> int:
    """A constant's bytes, on a 16-byte boundary."""
    raw = np.ascontiguousarray(values).tobytes()
    out.StartVector(1, len(raw), 16)
    out.head = out.Head() - len(raw)
    out.Bytes[out.Head():out.Head() + len(raw)] = raw
    return out.EndVector()


def tensor_table(out: flatbuffers.Builder, tensor: Tensor, buffer: int) -> int:
    name, shape = out.CreateString(tensor.name), ints(out, tensor.shape)
    slots: dict[int, tuple[str, Any]] = {0: ("Offset", shape), 1: ("Int8", TYPES[tensor.dtype]),
                                         2: ("Uint32", buffer), 3: ("Offset", name)}
    if tensor.scale:
        scales = out.CreateNumpyVector(np.array(tensor.scale, np.float32))
        zeros = ints(out, [tensor.zero] * len(tensor.scale), "int64")
        slots[4] = ("Offset", table(out, {2: ("Offset", scales), 3: ("Offset", zeros),
                                          6: ("Int32", tensor.axis or 0)}))
    return table(out, slots)


def operator_table(out: flatbuffers.Builder, graph: Graph, node: Node, code: int) -> int:
    inputs, outputs = ints(out, node.inputs), ints(out, node.outputs)
    union = CODES[node.op][2]
    slots: dict[int, tuple[str, Any]] = {0: ("Uint32", code), 1: ("Offset", inputs), 2: ("Offset", outputs)}
    if union:
        options = table(out, OPTIONS.get(node.op, lambda *_: {})(out, graph, node))
        slots |= {3: ("Uint8", union), 4: ("Offset", options)}
    return table(out, slots)


def conv(out: flatbuffers.Builder, graph: Graph, node: Node) -> Slots:
    (high, wide), (down, across) = node.options["stride"], node.options["dilation"]
    return {0: ("Int8", node.options["padding"]), 1: ("Int32", wide), 2: ("Int32", high),
            3: ("Int8", node.options["fused"]), 4: ("Int32", across), 5: ("Int32", down)}


def depthwise(out: flatbuffers.Builder, graph: Graph, node: Node) -> Slots:
    x, weights = (graph.tensors[i] for i in node.inputs[:2])
    (high, wide), (down, across) = node.options["stride"], node.options["dilation"]
    return {0: ("Int8", node.options["padding"]), 1: ("Int32", wide), 2: ("Int32", high),
            3: ("Int32", weights.shape[3] // x.shape[3]), 4: ("Int8", node.options["fused"]), 5: ("Int32", across),
            6: ("Int32", down)}


def pool(out: flatbuffers.Builder, graph: Graph, node: Node) -> Slots:
    (high, wide), (tall, broad) = node.options["stride"], node.options["kernel"]
    return {0: ("Int8", node.options["padding"]), 1: ("Int32", wide), 2: ("Int32", high), 3: ("Int32", broad),
            4: ("Int32", tall), 5: ("Int8", NONE)}


def transposed(out: flatbuffers.Builder, graph: Graph, node: Node) -> Slots:
    high, wide = node.options["stride"]
    return {0: ("Int8", node.options["padding"]), 1: ("Int32", wide), 2: ("Int32", high),
            3: ("Int8", node.options["fused"])}


def fused(out: flatbuffers.Builder, graph: Graph, node: Node) -> Slots:
    return {0: ("Int8", node.options["fused"])}


Options = Callable[[flatbuffers.Builder, Graph, Node], Slots]
OPTIONS: dict[str, Options] = {
    "conv_2d": conv, "depthwise_conv_2d": depthwise, "average_pool_2d": pool, "max_pool_2d": pool,
    "transpose_conv": transposed, "add": fused, "sub": fused, "mul": fused,
    "fully_connected": lambda out, graph, node: {
        0: ("Int8", node.options["fused"]), 2: ("Bool", len(graph.tensors[node.outputs[0]].shape) > 2)},
    "softmax": lambda out, graph, node: {0: ("Float32", node.options["beta"])},
    "concatenation": lambda out, graph, node: {0: ("Int32", node.options["axis"]), 1: ("Int8", NONE)},
    "reshape": lambda out, graph, node: {0: ("Offset", ints(out, graph.tensors[node.outputs[0]].shape))},
    "mean": lambda out, graph, node: {0: ("Bool", node.options["keep"])},
    "reduce_max": lambda out, graph, node: {0: ("Bool", node.options["keep"])},
    "leaky_relu": lambda out, graph, node: {0: ("Float32", node.options["alpha"])},
    "gelu": lambda out, graph, node: {0: ("Bool", node.options["approximate"])},
    "batch_matmul": lambda out, graph, node: {0: ("Bool", False), 1: ("Bool", node.options["transpose_b"])}}
