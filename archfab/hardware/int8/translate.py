"""ONNX operators in the few kinds that integer networks are made of; what has no such form is listed and refused.

Kinds, with shapes as ONNX has them (NCHW):
conv, conv_transpose and linear (arrays weights, bias), affine (arrays scale, shift along one axis, or of one number),
add sub mul batch_matmul, clip, unary, softmax, average_pool max_pool, mean reduce_max, reshape transpose concat pad
slice resize, erf sqrt inverse (which only patterns may use), identity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from archfab.core import BuildError
from archfab.hardware.int8.float_model import Float, Operator, Value
from archfab.hardware.int8.kinds import NoForm, Translation, numbers, one, shape, weights
from archfab.hardware.int8.translate_moves import MOVES


def translate(network: Float) -> Float:
    """The same network in the kinds above.

    :raises BuildError: that lists every operator without an integer form.
    """
    operators: list[Operator] = []
    missing: dict[str, str] = {}
    for operator in network.operators:
        try:
            if operator.kind not in TRANSLATIONS:
                raise NoForm("")
            operators += TRANSLATIONS[operator.kind](operator, network)
        except NoForm as why:
            missing.setdefault(operator.kind + (f" ({why})" if str(why) else ""), operator.out)
    if missing:
        raise no_form(missing)
    return Float(operators, network.values, network.inputs, network.outputs)


def no_form(missing: dict[str, str]) -> BuildError:
    """The error for operators, each with the value that one of them computes."""
    listing = ", ".join(f"{kind} at '{at}'" for kind, at in missing.items())
    return BuildError(f"operators without an int8 form: {listing}")


def spatial(operator: Operator, network: Float, kernel: Sequence[int], dilation: Sequence[int]) -> dict[str, Any]:
    """Stride and padding (top, left, bottom, right) as they take effect; sequences count as one row."""
    a, x, out = operator.attributes, shape(network, operator.inputs[0]), shape(network, operator.out)
    count = len(x) - 2
    if count not in (1, 2):
        raise NoForm(f"{count} spatial axes")
    stride = list(a.get("strides", [1] * count))
    pads = list(a.get("pads", [0] * 2 * count))
    automatic = a.get("auto_pad", "NOTSET")
    sides = []
    for i in range(count):
        span = (kernel[i] - 1) * dilation[i] + 1
        total = max(0, (out[2 + i] - 1) * stride[i] + span - x[2 + i])      # of which ONNX may say more
        before = {"NOTSET": pads[i], "VALID": 0, "SAME_UPPER": total // 2, "SAME_LOWER": total - total // 2}[automatic]
        sides.append((before, max(0, total - before)))
    if count == 1:
        stride, sides, dilation, kernel = [1, *stride], [(0, 0), *sides], [1, *dilation], [1, *kernel]
    return {"stride": tuple(stride), "kernel": tuple(kernel), "dilation": tuple(dilation),
            "padding": (sides[0][0], sides[1][0], sides[0][1], sides[1][1])}


def conv(operator: Operator, network: Float) -> list[Operator]:
    w = weights(operator, network, 1)
    bias = numbers(operator, network, 2)
    kernel = w.shape[2:]
    where = spatial(operator, network, kernel, operator.attributes.get("dilations", [1] * len(kernel)))
    if w.ndim == 3:
        w = w[:, :, None]
    arrays = {"weights": w, "bias": np.zeros(len(w)) if bias is None else bias.astype(np.float64)}
    return one("conv", operator, None, arrays, groups=operator.attributes.get("group", 1), **where)


def conv_transpose(operator: Operator, network: Float) -> list[Operator]:
    a, w = operator.attributes, weights(operator, network, 1)
    bias = numbers(operator, network, 2)
    if a.get("group", 1) != 1 or any(d != 1 for d in a.get("dilations", [])) or w.ndim not in (3, 4):
        raise NoForm("groups, dilation or three axes")
    x, out, count = shape(network, operator.inputs[0]), shape(network, operator.out), w.ndim - 2
    stride, pads = list(a.get("strides", [1] * count)), a.get("pads", [0] * 2 * count)
    sides = []
    for i in range(count):
        total = (x[2 + i] - 1) * stride[i] + w.shape[2 + i] - out[2 + i]
        before = {"NOTSET": pads[i], "VALID": 0, "SAME_UPPER": total // 2, "SAME_LOWER": total - total // 2}[
            a.get("auto_pad", "NOTSET")]
        if total - before < 0:
            raise NoForm("output padding beyond the result")
        sides.append((before, total - before))
    if count == 1:
        w, stride, sides = w[:, :, None], [1, *stride], [(0, 0), *sides]
    arrays = {"weights": w.swapaxes(0, 1), "bias": np.zeros(w.shape[1]) if bias is None else bias.astype(np.float64)}
    return one("conv_transpose", operator, None, arrays, stride=tuple(stride),
               padding=(sides[0][0], sides[1][0], sides[0][1], sides[1][1]))


def gemm(operator: Operator, network: Float) -> list[Operator]:
    a = operator.attributes
    if a.get("transA"):
        raise NoForm("transA")
    w = weights(operator, network, 1) * a.get("alpha", 1.0)
    w = w if a.get("transB") else w.T
    bias = numbers(operator, network, 2)
    bias = np.zeros(1) if bias is None else bias.astype(np.float64) * a.get("beta", 1.0)
    if bias.size not in (1, len(w)):
        raise NoForm("a bias that differs from row to row")
    return one("linear", operator, None, {"weights": w, "bias": np.broadcast_to(bias.reshape(-1), len(w)).copy()})


def matmul(operator: Operator, network: Float) -> list[Operator]:
    w = network.constant(operator.inputs[1])
    if w is not None and w.ndim == 2 and len(shape(network, operator.inputs[0])) >= 2:
        return one("linear", operator, None, {"weights": w.astype(np.float64).T, "bias": np.zeros(w.shape[1])})
    if len(shape(network, operator.inputs[0])) < 2 or len(shape(network, operator.inputs[1])) < 2:
        raise NoForm("a vector")
    return one("batch_matmul", operator, operator.inputs[:2])


def batch_norm(operator: Operator, network: Float) -> list[Operator]:
    if operator.attributes.get("training_mode"):
        raise NoForm("training mode")
    scale, shift, mean, variance = (weights(operator, network, i) for i in (1, 2, 3, 4))
    scale = scale / np.sqrt(variance + operator.attributes.get("epsilon", 1e-5))
    return one("affine", operator, None, {"scale": scale, "shift": shift - mean * scale}, axis=1)


def arithmetic(kind: str) -> Translation:
    """Of two computed values, or of one and a constant: then it is affine where the constant lies along one axis."""
    def translation(operator: Operator, network: Float) -> list[Operator]:
        constants = [network.constant(name) for name in operator.inputs]
        if constants[0] is None and constants[1] is None:
            if kind == "div":
                return divided(operator, network)
            return one(kind, operator, operator.inputs)
        place = 0 if constants[1] is None else 1
        x, c = operator.inputs[1 - place], np.asarray(constants[place], np.float64)
        if kind == "div" and place == 0:
            if c.size != 1 or float(c.reshape(-1)[0]) != 1:
                raise NoForm("a constant divided")
            return one("inverse", operator, [x])
        out = shape(network, operator.out)
        axis = line(c, out)
        if shape(network, x) != out or axis == -1:
            if kind == "div":
                raise NoForm("divided by a constant of several axes")
            return one(kind, operator, operator.inputs)
        flat = c.reshape(-1)
        scale, shift = {"add": (np.ones_like(flat), flat), "mul": (flat, np.zeros_like(flat)),
                        "sub": (np.ones_like(flat), -flat) if place else (-np.ones_like(flat), flat),
                        "div": (1 / np.where(flat == 0, 1, flat), np.zeros_like(flat))}[kind]
        if kind == "div" and (flat == 0).any():
            raise NoForm("divided by zero")
        return one("affine", operator, [x], {"scale": scale, "shift": shift}, axis=axis)
    return translation


def line(constant: np.ndarray, out: tuple[int, ...]) -> int | None:
    """The axis of the result along which a constant lies; None for one number, -1 where there are several."""
    full = (1,) * (len(out) - constant.ndim) + constant.shape
    axes = [i for i, n in enumerate(full) if n > 1]
    return None if not axes else axes[0] if len(axes) == 1 else -1


def divided(operator: Operator, network: Float) -> list[Operator]:
    """a / b as a times 1 / b; the inverse has a form where b is a square root."""
    below = network.values[operator.inputs[1]]
    if below.low <= 0:
        raise NoForm("by numbers that are not all positive")
    inverse = f"{operator.out}/inverse"
    network.values[inverse] = Value(below.shape, None, 1 / below.high, 1 / below.low)
    return [Operator("inverse", [operator.inputs[1]], [inverse]),
            *one("mul", operator, [operator.inputs[0], inverse])]


def power(operator: Operator, network: Float) -> list[Operator]:
    exponent = weights(operator, network, 1)
    if exponent.size == 1 and float(exponent.reshape(-1)[0]) == 2:
        return one("mul", operator, [operator.inputs[0]] * 2)
    if exponent.size == 1 and float(exponent.reshape(-1)[0]) == 0.5:
        return one("sqrt", operator)
    raise NoForm("a power other than 2 and 0.5")


def clip(operator: Operator, network: Float) -> list[Operator]:
    low, high = numbers(operator, network, 1, "min"), numbers(operator, network, 2, "max")
    return one("clip", operator, low=-math.inf if low is None else float(low.reshape(-1)[0]),
               high=math.inf if high is None else float(high.reshape(-1)[0]))


def relu(operator: Operator, network: Float) -> list[Operator]:
    return one("clip", operator, low=0.0, high=math.inf)


def negative(operator: Operator, network: Float) -> list[Operator]:
    return one("affine", operator, None, {"scale": -np.ones(1), "shift": np.zeros(1)}, axis=None)


def added(operator: Operator, network: Float) -> list[Operator]:
    if len(operator.inputs) > 2:
        raise NoForm("of more than two")
    return arithmetic("add")(operator, network) if len(operator.inputs) == 2 else one("identity", operator)


def bound(side: str) -> Translation:
    """The larger or smaller of a value and one constant number."""
    def translation(operator: Operator, network: Float) -> list[Operator]:
        constants = [network.constant(name) for name in operator.inputs]
        held = [data for data in constants if data is not None]
        if len(constants) != 2 or len(held) != 1 or held[0].size != 1:
            raise NoForm("but with one constant number")
        limit = float(held[0].reshape(-1)[0])
        x = operator.inputs[0 if constants[0] is None else 1]
        return one("clip", operator, [x], low=limit if side == "low" else -math.inf,
                   high=limit if side == "high" else math.inf)
    return translation


def unary(function: str, **defaults: Any) -> Translation:
    def translation(operator: Operator, network: Float) -> list[Operator]:
        options = {name: operator.attributes.get(name, default) for name, default in defaults.items()}
        return one("unary", operator, None, function=function, options=options)
    return translation


def gelu(operator: Operator, network: Float) -> list[Operator]:
    return one("unary", operator, None, function="gelu",
               options={"approximate": operator.attributes.get("approximate", "none") == "tanh"})


def leaky(operator: Operator, network: Float) -> list[Operator]:
    slope = weights(operator, network, 1)
    if slope.size != 1:
        raise NoForm("a slope for each channel")
    return one("unary", operator, None, function="leaky_relu", options={"alpha": float(slope.reshape(-1)[0])})


def hard_sigmoid(operator: Operator, network: Float) -> list[Operator]:
    alpha, beta = operator.attributes.get("alpha", 0.2), operator.attributes.get("beta", 0.5)
    x, line = network.values[operator.inputs[0]], f"{operator.out}/line"
    ends = sorted((x.low * alpha + beta, x.high * alpha + beta))
    network.values[line] = Value(x.shape, None, *ends)
    return [Operator("affine", operator.inputs[:1], [line], {"axis": None},
                     {"scale": np.array([alpha]), "shift": np.array([beta])}),
            *one("clip", operator, [line], low=0.0, high=1.0)]


def softmax(operator: Operator, network: Float) -> list[Operator]:
    x = shape(network, operator.inputs[0])
    axis = operator.attributes.get("axis", -1) % len(x)
    return one("softmax", operator, axis=axis)


def average_pool(operator: Operator, network: Float) -> list[Operator]:
    a = operator.attributes
    kernel = a["kernel_shape"]
    if any(d != 1 for d in a.get("dilations", [])):
        raise NoForm("dilation")
    where = spatial(operator, network, kernel, [1] * len(kernel))
    pads = a.get("pads", [0] * 2 * len(kernel))
    if not a.get("count_include_pad") or not any(pads) or a.get("auto_pad", "NOTSET") != "NOTSET":
        return one("average_pool", operator, None, **where)
    x, wide = network.values[operator.inputs[0]], f"{operator.out}/padded"
    sides = [(0, 0), (0, 0), *zip(pads[:len(kernel)], pads[len(kernel):], strict=True)]
    network.values[wide] = Value(tuple(n + sum(s) for n, s in zip(x.shape, sides, strict=True)), None,
                                 min(x.low, 0), max(x.high, 0))
    beyond = spatial(Operator("", [wide], operator.outputs, {**a, "pads": [0] * len(pads)}), network, kernel,
                     [1] * len(kernel))
    return [Operator("pad", operator.inputs[:1], [wide], {"paddings": tuple(sides)}),
            *one("average_pool", operator, [wide], **beyond)]


def max_pool(operator: Operator, network: Float) -> list[Operator]:
    a = operator.attributes
    if any(d != 1 for d in a.get("dilations", [])):
        raise NoForm("dilation")
    if len([name for name in operator.outputs if name]) > 1:
        raise NoForm("indices")
    kernel = a["kernel_shape"]
    return one("max_pool", operator, None, **spatial(operator, network, kernel, [1] * len(kernel)))


def global_pool(kind: str) -> Translation:
    def translation(operator: Operator, network: Float) -> list[Operator]:
        return one(kind, operator, None, axes=tuple(range(2, len(shape(network, operator.inputs[0])))), keep=True)
    return translation


def reduce(kind: str) -> Translation:
    def translation(operator: Operator, network: Float) -> list[Operator]:
        rank = len(shape(network, operator.inputs[0]))
        axes = numbers(operator, network, 1, "axes")
        if axes is None and operator.attributes.get("noop_with_empty_axes"):
            return one("identity", operator)
        chosen = range(rank) if axes is None else sorted({int(axis) % rank for axis in axes})
        return one(kind, operator, None, axes=tuple(chosen), keep=bool(operator.attributes.get("keepdims", 1)))
    return translation


def simply(kind: str) -> Translation:
    return lambda operator, network: one(kind, operator)


def rounding(operator: Operator, network: Float) -> list[Operator]:
    raise NoForm("the network rounds to few bits itself, and this device rounds all networks to 8 its own way; give it "
                 "the network without nn.Quantised, in floating point")


TRANSLATIONS: dict[str, Translation] = {
    "Conv": conv, "ConvTranspose": conv_transpose,
    "Gemm": gemm, "MatMul": matmul, "BatchNormalization": batch_norm, "Add": arithmetic("add"),
    "Sub": arithmetic("sub"), "Mul": arithmetic("mul"), "Div": arithmetic("div"), "Pow": power, "Clip": clip,
    "Relu": relu, "Sigmoid": unary("logistic"), "Tanh": unary("tanh"), "HardSwish": unary("hard_swish"),
    "Exp": unary("exp"), "LeakyRelu": unary("leaky_relu", alpha=0.01), "PRelu": leaky, "Gelu": gelu,
    "HardSigmoid": hard_sigmoid, "Softmax": softmax, "AveragePool": average_pool, "MaxPool": max_pool,
    "GlobalAveragePool": global_pool("mean"), "GlobalMaxPool": global_pool("reduce_max"),
    "ReduceMean": reduce("mean"), "ReduceMax": reduce("reduce_max"), "Erf": simply("erf"), "Sqrt": simply("sqrt"),
    "Reciprocal": simply("inverse"), "Neg": negative, "Sum": added, "Max": bound("low"),
    "Min": bound("high"), **dict.fromkeys(("Round", "QuantizeLinear", "DequantizeLinear"), rounding), **MOVES}
