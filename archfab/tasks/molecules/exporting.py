"""A network whose forward pass takes gradients, as one graph of plain operators that ONNX can hold."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule

BACKWARD = ("silu_backward", "sigmoid_backward", "tanh_backward", "slice_backward", "select_backward",
            "embedding_backward", "index_select_backward", "new_zeros", "narrow_copy", "linalg_vector_norm",
            "linalg_cross")
"""Operators of a gradient that have no counterpart in ONNX: written as others that have."""


def traced(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> GraphModule:
    """What a network computes on inputs of any lengths, its gradients included, with its weights inside.

    :param inputs: of lengths above 1.
    """
    from torch._decomp import get_decompositions
    from torch.fx.experimental import _config
    from torch.fx.experimental.proxy_tensor import make_fx
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    table: Any = get_decompositions([getattr(torch.ops.aten, name) for name in BACKWARD
                                if hasattr(torch.ops.aten, name)])

    def run(*given: torch.Tensor) -> Any:
        with torch.no_grad():
            return frozen(*given)

    config: Any = _config
    with config.patch(use_duck_shape=False):        # lengths that are equal here need not be so elsewhere
        return make_fx(run, table, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs)
