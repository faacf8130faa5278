"""Quantises a float network in ONNX to int8, by the rules of TensorFlow Lite's specification.

Activations are asymmetric with one scale, weights symmetric with one for each output channel, biases int32 (Jacob et
al., CVPR 2018, arXiv:1712.05877; "TensorFlow Lite 8-bit quantization specification"). Ranges are the smallest and
largest values on calibration inputs. Pools, reshapes, concatenations and the like keep their input's scale; logistic
and softmax have 1/256 with zero -128, tanh 1/128 with zero 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from archfab.hardware.int8.draft import Draft, Step
from archfab.hardware.int8.emit import emitted
from archfab.hardware.int8.float_model import read
from archfab.hardware.int8.folding import folded
from archfab.hardware.int8.graph import FULL, HIGH, LOW, Graph, Node, Tensor
from archfab.hardware.int8.translate import translate

WEIGHT_HIGH = 127
BIAS_HIGH = 2**30               # leaves the sums of products as much again
# the least scale of an output as a share of its input's; below, 32 bits overflow
RATIOS = {"add": 2.0**-18, "sub": 2.0**-18, "hard_swish": 2.0**-6, "mean": 2.0**-12, "relu": 2.0**-12,
          "leaky_relu": 2.0**-12, "quantize": 2.0**-12}
PRODUCT_RATIO = 2.0**-14        # as a share of the product of both factors' scales, for each term of a sum of products
SOFTMAX_LEAST = 2.0**-25        # the least scale of what softmax takes: below, differences vanish


def quantise(model: Any, calibration: Sequence[np.ndarray | Sequence[np.ndarray]] | None = None) -> Graph:
    """The integer network of a float network. What has four axes enters and leaves channels last (NHWC), everything
    else as in ONNX.

    :param model: an `onnx.ModelProto`, its bytes, or its path; a free batch is taken as 1.
    :param calibration: samples of the inputs, as the float network takes them (NCHW). Without them,
        noise of N(0, 1): then costs are right and accuracy is not.
    :raises UsageError: where it is no valid ONNX in float32 with fixed shapes.
    :raises BuildError: where operators have no int8 form: all of them are listed.
    """
    steps, inputs, outputs = emitted(folded(translate(read(model, calibration))))
    widen(steps)
    return Fixed(steps).graph(inputs, outputs)


def quantised_inputs(graph: Graph, sample: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    """A float sample, as the float network takes it, as the integer network takes it: images channels last."""
    arrays = [sample] if isinstance(sample, np.ndarray) else list(sample)
    return [graph.tensors[i].quantised(np.moveaxis(x, 1, -1) if x.ndim == 4 else x)
            for i, x in zip(graph.inputs, arrays, strict=True)]


def widen(steps: Sequence[Step]) -> None:
    """Makes scales large enough for the integer arithmetic; twice, for tensors that share a scale widen each other."""
    for step in [*steps, *steps]:
        if step.op == "softmax":
            at_least(step.inputs[0], SOFTMAX_LEAST)
        scales = [scale_of(x)[0] for x in step.inputs]
        if step.op in RATIOS:
            at_least(step.output, max(scales) * RATIOS[step.op])
        if step.weights is not None:                            # here biases may fill 31 bits
            at_least(step.output, scales[0] * float(np.abs(step.weights).max(initial=0)) / WEIGHT_HIGH)
        if step.op in ("mul", "batch_matmul"):
            terms = step.inputs[0].shape[-1] if step.op == "batch_matmul" else 1
            at_least(step.output, math.prod(scales) * terms * PRODUCT_RATIO)


def at_least(x: Draft, scale: float) -> None:
    """Widens a tensor's range where its scale would be smaller."""
    root = x.root
    if root.fixed is None and scale_of(x)[0] < scale:
        root.low, root.high = min(root.low, 0.0), max(root.high, 0.0)
        root.high = root.low + scale * (HIGH - LOW)


def scale_of(draft: Draft) -> tuple[float, int]:
    """Scale and zero of a tensor: 0 is a quantised number exactly."""
    root = draft.root
    if root.fixed is not None:
        return root.fixed
    low, high = min(root.low, 0.0), max(root.high, 0.0)
    if not math.isfinite(high - low) or high - low < 1e-30:
        low, high = 0.0, 1.0
    scale = float(np.float32((high - low) / (HIGH - LOW)))
    return scale, int(np.clip(round(LOW - low / scale), LOW, HIGH))


class Fixed:
    """The integer network as it is put together from steps."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.tensors: list[Tensor] = []
        self.places: dict[int, int] = {}        # draft -> place of its tensor
        self.nodes: list[Node] = []
        self.steps = steps

    def graph(self, inputs: Sequence[Draft], outputs: Sequence[Draft]) -> Graph:
        for draft in inputs:
            self.place(draft)
        for step in self.steps:
            self.node(step)
        return Graph(tuple(self.tensors), tuple(self.nodes), tuple(map(self.place, inputs)),
                     tuple(map(self.place, outputs)))

    def add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def place(self, draft: Draft) -> int:
        if id(draft) not in self.places:
            scale, zero = scale_of(draft)
            tensor = Tensor(draft.name, draft.shape, "int8", (scale,), zero)
            if draft.data is not None:
                tensor = Tensor(draft.name, draft.shape, "int8", (scale,), zero, None, tensor.quantised(draft.data))
            self.places[id(draft)] = self.add(tensor)
        return self.places[id(draft)]

    def node(self, step: Step) -> None:
        inputs = [self.place(x) for x in step.inputs]
        options = dict(step.options)
        scale, zero = scale_of(step.output)
        if step.op in CLAMPED:
            options["clamp"] = clamp_of(step.clip, scale, zero)
        if step.op == "pad":
            options["value"] = zero
        if step.weights is not None and step.bias is not None:
            inputs += self.weights(step, self.tensors[inputs[0]].scale[0])
        self.nodes.append(Node(step.op, tuple(inputs), (self.place(step.output),), options))

    def weights(self, step: Step, scale: float) -> list[int]:
        """Quantised weights and biases; a channel's scale is large enough for its bias to fit into 32 bits."""
        assert step.weights is not None and step.bias is not None
        real, bias = step.weights, step.bias
        most = np.abs(real.reshape(len(real), -1)).max(1)
        scales = np.maximum(most / WEIGHT_HIGH, np.abs(bias) / (scale * BIAS_HIGH))
        scales = np.where(scales < 1e-30, 1.0, scales).astype(np.float32)
        steps = real / scales.astype(np.float64).reshape(-1, *[1] * (real.ndim - 1))
        data = np.clip(np.rint(steps), -WEIGHT_HIGH, WEIGHT_HIGH).astype(np.int8)
        biases = scales.astype(np.float64) * np.float32(scale)
        whole = np.clip(np.rint(bias / biases), -2**31, 2**31 - 1).astype(np.int32)
        axis = 0
        if step.op == "depthwise_conv_2d":
            data, axis = data.transpose(1, 2, 3, 0), 3                      # [outputs, 1, h, w] -> [1, h, w, outputs]
        elif step.op in ("conv_2d", "transpose_conv"):
            data = data.transpose(0, 2, 3, 1)
        name = step.output.name
        data = np.ascontiguousarray(data)
        return [self.add(Tensor(f"{name}/weights", data.shape, "int8", tuple(map(float, scales)), 0, axis, data)),
                self.add(Tensor(f"{name}/bias", whole.shape, "int32", tuple(map(float, biases.astype(np.float32))), 0,
                                0, whole))]


CLAMPED = ("conv_2d", "transpose_conv", "depthwise_conv_2d", "fully_connected", "add", "sub", "mul", "relu")


def clamp_of(clip: tuple[float, float] | None, scale: float, zero: int) -> tuple[int, int]:
    """Real bounds as bounds of the quantised output."""
    if clip is None:
        return FULL
    low, high = (zero + math.copysign(math.floor(abs(x) / scale + 0.5), x) if math.isfinite(x) else x for x in clip)
    return int(max(LOW, min(HIGH, low))), int(min(HIGH, max(LOW, high)))
