"""The operators of torch and of ONNX by the kinds that cost models tell apart."""

from __future__ import annotations

import math
from typing import Any

VIEWS = {"view", "_unsafe_view", "reshape", "permute", "transpose", "t", "expand", "squeeze", "unsqueeze", "slice",
         "select", "alias", "detach", "split", "chunk", "unbind", "flatten", "as_strided", "lift_fresh", "unfold",
         "narrow", "split_with_sizes", "unsafe_split", "view_as_real", "view_as_complex", "_conj", "_neg_view",
         "diagonal", "unsafe_chunk", "expand_as", "view_as", "swapaxes", "movedim", "_reshape_alias"}
"""Operators that only look at memory in another way: they cost nothing."""

FIRST_OUTPUT = {"max_pool2d_with_indices", "max_pool3d_with_indices", "native_batch_norm", "native_layer_norm",
                "native_group_norm", "_native_batch_norm_legit_no_training"}
"""Operators whose other outputs serve training alone."""


QUANTISE = "archfab::quantise"
"""Rounds to few bits (archfab/nn/quantised.py): its arguments are x, the step's logarithm, the lowest level and the
highest."""
CONVOLUTIONS = {"convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution"}
MATRIX = {"mm", "addmm", "bmm", "baddbmm", "linear", "mv", "addmv", "dot"}
NORMS = {"native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "cudnn_batch_norm",
         "native_layer_norm", "native_group_norm", "batch_norm", "rms_norm", "_fused_rms_norm"}
POOLS = {"avg_pool2d", "max_pool2d_with_indices", "_adaptive_avg_pool2d", "adaptive_avg_pool2d", "mean", "sum", "amax",
         "avg_pool1d", "max_pool1d", "_adaptive_avg_pool3d", "avg_pool3d", "max_pool3d_with_indices",
         "adaptive_max_pool2d", "max", "min", "amin", "cumsum", "argmax", "prod", "var", "std", "norm",
         "linalg_vector_norm", "logsumexp", "any", "all", "cumprod", "aminmax"}
WINDOWS = {"avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices"}
MOVES = {"cat", "clone", "copy", "_to_copy", "constant_pad_nd", "index", "index_select", "gather", "scatter",
         "embedding", "stack", "roll", "flip", "repeat", "upsample_nearest2d", "upsample_bilinear2d", "fill", "zeros",
         "zeros_like", "full", "ones", "ones_like", "full_like", "arange", "new_zeros", "scatter_add", "index_add",
         "slice_scatter", "reflection_pad2d", "replication_pad2d", "pixel_shuffle", "channel_shuffle", "tril",
         "triu", "where", "masked_fill", "empty_like", "contiguous", "scalar_tensor", "index_put", "im2col", "col2im",
         "select_backward", "slice_backward", "sort"}
ATTENTION = {"_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_efficient_attention",
             "_scaled_dot_product_flash_attention", "scaled_dot_product_attention",
             "_scaled_dot_product_attention_math_for_mps", "_scaled_dot_product_attention_math"}
ELEMENTWISE = {"relu", "add", "mul", "sub", "div", "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "tanh", "silu",
               "gelu", "leaky_relu", "elu", "clamp", "clamp_min", "clamp_max", "neg", "exp", "log", "sqrt", "rsqrt",
               "pow", "abs", "softplus", "mish", "_softmax", "_log_softmax", "reciprocal", "sin", "cos", "erf",
               "_prelu_kernel",
               "square", "maximum", "minimum", "relu6", "selu", "celu", "threshold", "eq", "ne", "lt", "le", "gt",
               "ge", "logical_not", "logical_and", "logical_or", "bitwise_not", "bitwise_and", "bitwise_or", "rsub",
               "addcmul", "addcdiv", "round", "floor", "ceil", "sign", "softshrink", "hardshrink", "log1p", "expm1",
               "log_sigmoid_forward", "glu", "atan2", "fmod", "remainder", "isnan", "isinf", "tan", "lerp",
               "silu_backward", "sigmoid_backward", "tanh_backward", "gelu_backward", "threshold_backward",
               "linalg_cross"}


FOURIER = {"_fft_r2c", "_fft_c2r", "_fft_c2c"}


def kind_of(name: str, args: Any) -> str:
    """The kind of an operator: conv, pointwise, depthwise, linear, attention, fourier, norm, pool, elementwise,
    move, or unknown."""
    if name in CONVOLUTIONS:
        weight, groups = args[1], args[8]
        if groups > 1 and weight.shape[1] == 1:
            return "depthwise"
        return "pointwise" if math.prod(weight.shape[2:]) == 1 else "conv"
    for kind, known in (("linear", MATRIX), ("attention", ATTENTION), ("fourier", FOURIER), ("norm", NORMS),
                        ("pool", POOLS), ("move", MOVES), ("elementwise", ELEMENTWISE)):
        if name in known:
            return kind
    return "unknown"


def detail_of(name: str, args: Any) -> str:
    """Kernel and stride of a convolution, with its groups, and of a pool with a window."""
    if name in WINDOWS:
        kernel, stride = args[1], args[2] if len(args) > 2 and args[2] else args[1]
        return f"{'x'.join(map(str, kernel))}/{stride[0]}"
    if name not in CONVOLUTIONS:
        return ""
    weight, stride, groups = args[1], args[3], args[8]
    kernel = "x".join(map(str, weight.shape[2:]))
    return f"{kernel}/{stride[0]}" + (f" groups {groups}" if groups > 1 else "")



def fourier_macs(name: str, x: Any, out: Any, axes: Any) -> int:
    """Multiply-accumulates of a fast Fourier transform: n/2 log2 n complex products of four along each axis (Cooley
    and Tukey, 1965), half of that between real and complex numbers."""
    whole = x if name == "_fft_r2c" else out
    length = math.prod(whole.shape[axis] for axis in axes)
    products = whole.numel() / 2 * math.log2(max(2, length)) * 4
    return round(products if name == "_fft_c2c" else products / 2)


ONNX_VIEWS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "DequantizeLinear"}
"""Operators of ONNX that only look at memory in another way, or that every runtime takes into what reads them."""
ONNX_KINDS = {
    **dict.fromkeys(("MatMul", "Gemm", "MatMulInteger", "FusedMatMul", "QLinearMatMul", "LSTM", "GRU", "RNN",
                     "Einsum"), "linear"),
    "Attention": "attention",
    **dict.fromkeys(("BatchNormalization", "LayerNormalization", "GroupNormalization", "InstanceNormalization",
                     "RMSNormalization", "LpNormalization", "LRN", "SimplifiedLayerNormalization",
                     "SkipLayerNormalization"), "norm"),
    **dict.fromkeys(("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "ReduceMean",
                     "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
                     "ReduceLogSumExp",
                     "ReduceSumSquare", "ArgMax", "ArgMin", "CumSum", "TopK", "QLinearAveragePool",
                     "QLinearGlobalAveragePool"), "pool"),
    **dict.fromkeys(("Concat", "Transpose", "Slice", "Split", "Gather", "GatherElements", "GatherND", "ScatterElements",
                     "ScatterND", "Pad", "Tile", "Expand", "Resize", "Cast", "DepthToSpace", "SpaceToDepth", "Where",
                     "Trilu", "OneHot", "ReverseSequence", "Col2Im", "NonZero", "Compress", "CastLike", "Upsample",
                     "GridSample", "QLinearConcat"), "move"),
    **dict.fromkeys(("Relu", "Add", "Sub", "Mul", "Div", "Clip", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Gelu",
                     "LeakyRelu", "Elu", "Neg", "Exp", "Log", "Sqrt", "Pow", "Abs", "Softplus", "Softsign", "Mish",
                     "Softmax", "LogSoftmax", "Reciprocal", "Sin", "Cos", "Tan", "Erf", "PRelu", "Max", "Min", "Selu",
                     "Celu", "ThresholdedRelu", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Not",
                     "And", "Or", "Xor", "Round", "Floor", "Ceil", "Sign", "Shrink", "Mod", "IsNaN", "IsInf", "Sum",
                     "Mean", "QuantizeLinear", "DynamicQuantizeLinear", "QLinearAdd", "QLinearMul", "QLinearSigmoid",
                     "Sinh", "Cosh", "Asin", "Acos",
                     "Atan", "Asinh", "Acosh", "Atanh", "BitwiseAnd", "BitwiseOr", "BitwiseNot", "Swish",
                     "Hardmax", "BiasGelu", "FastGelu", "QuickGelu"), "elementwise")}
"""What cost models distinguish among the operators of ONNX, beside convolutions."""
