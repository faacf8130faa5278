"""A kernel of a table as an ONNX network of its own, so that a device can be asked what it takes alone."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from archfab.hardware.measuring.table import Key

if TYPE_CHECKING:
    import onnx

OPSET = 20
UNARY = {"relu": "Relu", "hardswish": "HardSwish", "sigmoid": "Sigmoid", "tanh": "Tanh", "exp": "Exp", "neg": "Neg",
         "abs": "Abs", "sqrt": "Sqrt", "softplus": "Softplus", "mish": "Mish", "gelu": "Gelu", "erf": "Erf",
         "leaky_relu": "LeakyRelu", "elu": "Elu", "log": "Log", "reciprocal": "Reciprocal", "softmax": "Softmax"}
BINARY = {"add": "Add", "mul": "Mul", "sub": "Sub", "div": "Div", "maximum": "Max", "minimum": "Min", "pow": "Pow"}


class Draft:
    """A graph in the making: inputs, weights of noise, nodes in a row."""

    def __init__(self) -> None:
        import numpy as np
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.weights: list[Any] = []
        self.rng = np.random.default_rng(0)

    def input(self, shape: Sequence[int], numbers: str = "FLOAT") -> str:
        from onnx import TensorProto, helper
        kind = getattr(TensorProto, numbers)
        self.inputs.append(helper.make_tensor_value_info(f"x{len(self.inputs)}", kind, list(shape)))
        return self.inputs[-1].name

    def weight(self, value: Any) -> str:
        from onnx import numpy_helper
        self.weights.append(numpy_helper.from_array(value, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def noise(self, *shape: int) -> str:
        return self.weight(self.rng.standard_normal(shape).astype("float32"))

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        from onnx import helper
        self.nodes.append(helper.make_node(kind, list(inputs), [f"y{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def model(self, shape: Sequence[int]) -> onnx.ModelProto:
        from onnx import TensorProto, helper
        end = helper.make_tensor_value_info(self.nodes[-1].output[0], TensorProto.FLOAT, list(shape))
        graph = helper.make_graph(self.nodes, "kernel", self.inputs, [end], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


Sizes = list[int]


def kernel_model(key: Key) -> onnx.ModelProto | None:
    """The kernel alone, with weights and inputs of noise; None where its key does not tell enough to make it."""
    first, *fused = key.operators.split("+")
    output = [int(size) for size in key.output.split("x") if size]
    inputs = [int(size) for size in key.inputs.split("+") if size]
    weights = [int(size) for size in key.weights.split("+") if size]
    make = MAKERS.get(first) or (elementwise if first in UNARY or first in BINARY or first == "clip" else None)
    if make is None or not output or not inputs or not all(output):
        return None
    draft = Draft()
    made = make(draft, key, first, inputs, weights, output)
    for name in fused:
        made = made and activation(draft, name, made)
    return draft.model(output) if made else None


def activation(draft: Draft, name: str, x: str) -> str | None:
    """A fused operator of one input; arithmetic has a constant for the other."""
    import numpy as np
    if name == "clip":
        return draft.node("Clip", [x, draft.weight(np.float32(0)), draft.weight(np.float32(6))])
    if name == "hardsigmoid":
        return draft.node("HardSigmoid", [x], alpha=1 / 6)
    if name == "silu":
        return draft.node("Mul", [x, draft.node("Sigmoid", [x])])
    if name in BINARY:
        return draft.node(BINARY[name], [x, draft.weight(np.float32(2))])
    return draft.node(UNARY[name], [x]) if name in UNARY else None


def window(detail: str) -> tuple[Sizes, int, int, int] | None:
    """Kernel, stride, groups and dilation from words such as `3x3/2 groups 8 dilation 2x2`."""
    found = re.fullmatch(r"([\dx]+)/(\d+)(?: groups (\d+))?(?: dilation (\d+)x(\d+))?", detail)
    if not found or found[4] != found[5]:
        return None
    return [int(size) for size in found[1].split("x")], int(found[2]), int(found[3] or 1), int(found[4] or 1)


def seen_through(elements: int, output: Sizes, kernel: Sizes, stride: int, dilation: int) -> tuple[Sizes, int] | None:
    """The input's sizes, and the padding, with which a window has an output of these sizes; `elements` is their
    product. The padding that keeps sizes is tried first."""
    reach = dilation * (kernel[0] - 1)
    for padding in sorted(range(reach + 1), key=lambda p: abs(2 * p - reach)):
        sides = [(size - 1) * stride + dilation * (k - 1) + 1 - 2 * padding
                 for size, k in zip(output, kernel, strict=True)]
        for more in itertools.product(range(stride), repeat=len(sides)):
            sizes = [side + extra for side, extra in zip(sides, more, strict=True)]
            if min(sizes) > 0 and math.prod(sizes) == elements:
                return sizes, padding
    return None


def convolution(draft: Draft, key: Key, first: str, inputs: Sizes, weights: Sizes, output: Sizes) -> str | None:
    told = window(key.detail)
    if told is None or len(inputs) != 1 or len(weights) != 1 or len(output) != len(told[0]) + 2:
        return None
    kernel, stride, groups, dilation = told
    batch, channels = output[:2]
    per_group, rest = divmod(weights[0], channels * math.prod(kernel))
    if rest or not per_group or inputs[0] % (batch * per_group * groups):
        return None
    found = seen_through(inputs[0] // (batch * per_group * groups), output[2:], kernel, stride, dilation)
    if found is None:
        return None
    sizes, padding = found
    x = draft.input([batch, per_group * groups, *sizes])
    return draft.node("Conv", [x, draft.noise(channels, per_group, *kernel), draft.noise(channels)], group=groups,
                      strides=[stride] * len(kernel), dilations=[dilation] * len(kernel),
                      pads=[padding] * 2 * len(kernel))


def pool(draft: Draft, key: Key, first: str, inputs: Sizes, weights: Sizes, output: Sizes) -> str | None:
    told = window(key.detail)
    if told is None or len(output) != len(told[0]) + 2:
        return None
    kernel, stride, _, _ = told
    found = seen_through(inputs[0] // math.prod(output[:2]), output[2:], kernel, stride, 1)
    if found is None or found[1] > kernel[0] // 2:
        return None
    x = draft.input([*output[:2], *found[0]])
    return draft.node("MaxPool" if first == "max_pool" else "AveragePool", [x], kernel_shape=kernel,
                      strides=[stride] * len(kernel), pads=[found[1]] * 2 * len(kernel))


def product(draft: Draft, key: Key, first: str, inputs: Sizes, weights: Sizes, output: Sizes) -> str | None:
    """Rows times a matrix of weights, or two activations multiplied."""
    columns, rows = output[-1], math.prod(output[:-1])
    if weights:
        depth, rest = divmod(weights[0], columns)
        if rest or inputs != [rows * depth]:
            return None
        x, w = draft.input([rows, depth]), draft.noise(depth, columns)
        y = draft.node("Gemm", [x, w, draft.noise(columns)]) if first == "addmm" else draft.node("MatMul", [x, w])
        return y if len(output) == 2 else draft.node("Reshape", [y, draft.weight(shape_of(output))])
    if len(inputs) != 2 or len(output) < 3 or inputs[0] % rows:
        return None
    depth = inputs[0] // rows
    if inputs[1] != math.prod(output[:-2]) * depth * columns:
        return None
    return draft.node("MatMul", [draft.input([*output[:-1], depth]), draft.input([*output[:-2], depth, columns])])


def attention(draft: Draft, key: Key, first: str, inputs: Sizes, weights: Sizes, output: Sizes) -> str | None:
    """softmax(q k^T / sqrt(E)) v, as four operators, for runtimes that have no fused one."""
    import numpy as np
    *lead, length, wide = output
    heads = math.prod(lead)
    if inputs == [3 * math.prod(output)]:       # all three lie side by side
        inputs = [math.prod(output)] * 3
    if len(inputs) != 3 or inputs[0] % (heads * length) or inputs[2] % (heads * wide):
        return None
    depth, keys = inputs[0] // (heads * length), inputs[2] // (heads * wide)
    if inputs[1] != heads * keys * depth:
        return None
    q, k, v = draft.input([*lead, length, depth]), draft.input([*lead, depth, keys]), draft.input([*lead, keys, wide])
    scores = draft.node("Mul", [draft.node("MatMul", [q, k]), draft.weight(np.float32(depth ** -0.5))])
    return draft.node("MatMul", [draft.node("Softmax", [scores]), v])


def mean(draft: Draft, key: Key, first: str, inputs: Sizes, weights: Sizes, output: Sizes) -> str | None:
    """Over all that is behind the channels."""
    import numpy as np
    kept = [size for size in output if size > 1] or [1]
    per, rest = divmod(inputs[0], math.prod(kept))
    if rest or len(inputs) != 1 or len(kept) > 2:
        return None
    x = draft.input([1, *kept, per] if len(kept) < 2 else [*kept, per])
    y = draft.node("ReduceMean", [x, draft.weight(np.array([-1], "int64"))], keepdims=0)
    return draft.node("Reshape", [y, draft.weight(shape_of(output))])


def norm(draft: Draft, key: Key, first: str, inputs: Sizes, weights: Sizes, output: Sizes) -> str | None:
    if len(inputs) != 1 or not weights or inputs[0] != math.prod(output):
        return None
    if first == "layer_norm" and weights[0] == output[-1]:
        return draft.node("LayerNormalization", [draft.input(output), draft.noise(weights[0]), draft.noise(weights[0])])
    if first == "batch_norm" and len(output) > 1:
        parts = [draft.noise(output[1]) for _ in range(3)]
        positive = draft.weight(draft.rng.random(output[1]).astype("float32") + 1)
        return draft.node("BatchNormalization", [draft.input(output), *parts, positive])
    return None


def joined(draft: Draft, key: Key, first: str, inputs: Sizes, weights: Sizes, output: Sizes) -> str | None:
    """Along the channels."""
    if len(output) < 2:
        return None
    beside = math.prod(output) // output[1]
    if any(size % beside for size in inputs) or sum(inputs) != math.prod(output) or len(inputs) < 2:
        return None
    xs = [draft.input([output[0], size // beside, *output[2:]]) for size in inputs]
    return draft.node("Concat", xs, axis=1)


def gather(draft: Draft, key: Key, first: str, inputs: Sizes, weights: Sizes, output: Sizes) -> str | None:
    """Rows of a table of weights."""
    if len(inputs) != 1 or len(weights) != 1 or inputs[0] * output[-1] != math.prod(output) or weights[0] % output[-1]:
        return None
    return draft.node("Gather", [draft.noise(weights[0] // output[-1], output[-1]), draft.input(output[:-1], "INT64")])


def reordered(draft: Draft, key: Key, first: str, inputs: Sizes, weights: Sizes, output: Sizes) -> str | None:
    """A copy in another order, which a key does not tell: as that of attention heads and shuffled channels, where the
    second and the third axis change places."""
    if inputs != [math.prod(output)] or len(output) < 3:
        return None
    order = [0, 2, 1, *range(3, len(output))]
    return draft.node("Transpose", [draft.input([output[i] for i in order])], perm=order)


def elementwise(draft: Draft, key: Key, first: str, inputs: Sizes, weights: Sizes, output: Sizes) -> str | None:
    """One activation, or two of which the second may hold one number for each channel."""
    if len(inputs) == 1 and inputs[0] == math.prod(output):
        x = draft.input(output)
        if first in BINARY and weights:
            shape = next((output[i:] for i in range(len(output)) if math.prod(output[i:]) == weights[0]), None)
            return draft.node(BINARY[first], [x, draft.noise(*shape)]) if shape else None
        return activation(draft, first, x)
    if len(inputs) != 2 or first not in BINARY or max(inputs) != math.prod(output):
        return None
    shapes = []
    for size in inputs:
        few = [*output[:2], *(1 for _ in output[2:])]
        shape = output if size == math.prod(output) else few if size == math.prod(few) else None
        if shape is None:
            return None
        shapes.append(shape)
    return draft.node(BINARY[first], [draft.input(shape) for shape in shapes])


def shape_of(sizes: Sizes) -> Any:
    import numpy as np
    return np.array(sizes, "int64")


Maker = Callable[[Draft, Key, str, Sizes, Sizes, Sizes], "str | None"]
MAKERS: dict[str, Maker] = {
    "convolution": convolution, "max_pool": pool, "avg_pool": pool, "mm": product, "addmm": product, "linear": product,
    "bmm": product, "mean": mean, "layer_norm": norm, "batch_norm": norm, "cat": joined, "embedding": gather,
    "clone": reordered, "Transpose": reordered, "hardsigmoid": elementwise, "silu": elementwise,
    "scaled_dot_product_attention": attention, "_scaled_dot_product_flash_attention_for_cpu": attention}


def empty_model() -> onnx.ModelProto:
    """A network that does nothing: what a run takes beside its kernels."""
    draft = Draft()
    draft.node("Identity", [draft.input([1])])
    return draft.model([1])
