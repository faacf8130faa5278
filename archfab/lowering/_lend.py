"""How a smaller module is cut out of a larger one of its class, so that both have the same weights.

A class of your own says it with one method, `lend(self, small)`, called on the larger module: the tensors of
`small` by name, as views on the tensors of `self` (or functions of no argument, where a view cannot say it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

Lent = torch.Tensor | Callable[[], torch.Tensor]
OURS = ("torch.", "archfab.")


class Unlendable(Exception):
    """A smaller module that cannot be cut out of a larger one; the message says why and what would help."""


def lend(large: nn.Module, small: nn.Module) -> dict[str, Lent]:
    """Every tensor of `small` by its name in the state dict, cut out of `large`."""
    found: dict[str, Lent] = {}
    for name, part in small.named_modules():
        try:
            other = large.get_submodule(name)
        except AttributeError:
            raise Unlendable(f"the larger one has no part '{name}'") from None
        for key, tensor in cut(other, part).items():
            found[f"{name}.{key}" if name else key] = tensor
    return found


def cut(large: nn.Module, small: nn.Module) -> Mapping[str, Lent]:
    """The tensors that a module has itself, without those of its parts."""
    wanted = own(small)
    if not wanted:
        return {}
    if type(large) is not type(small):
        raise Unlendable(f"it is a {type(large).__name__} in one network and a {type(small).__name__} in another; "
                         "label them as options: choose(name, one=..., other=...)")
    have = own(large)
    if all(name in have and have[name].shape == tensor.shape for name, tensor in wanted.items()):
        return {name: have[name].view_as(have[name]) for name in wanted}
    if callable(rule := getattr(large, "lend", None)):
        return rule(small)
    for kind, known in RULES.items():
        if isinstance(large, kind):
            return known(large, small)
    if not type(large).__module__.startswith(OURS):
        raise Unlendable(f"the weights of {type(large).__name__} change their shape, and it does not say how a smaller "
                         f"one is cut out: give the class a method lend(self, small), or choose between labelled parts")
    return leading(large, small)


def own(module: nn.Module) -> dict[str, torch.Tensor]:
    """A module's tensors in its state dict, without those of its parts."""
    buffers = {name: buffer for name, buffer in module.named_buffers(recurse=False)
               if name not in module._non_persistent_buffers_set}
    return {**dict(module.named_parameters(recurse=False)), **buffers}


def leading(large: nn.Module, small: nn.Module) -> dict[str, Lent]:
    """The first channels of each tensor: linear layers, norms, embeddings."""
    have = own(large)
    return {name: corner(have[name], tuple(tensor.shape), name) for name, tensor in own(small).items()
            if check_has(have, name)}


def check_has(have: Mapping[str, torch.Tensor], name: str) -> bool:
    if name not in have:
        raise Unlendable(f"the larger one has no {name}; where one option has it and another has not, label them: "
                         "choose(name, one=..., other=...)")
    return True


def corner(tensor: torch.Tensor, shape: tuple[int, ...], name: str = "weight") -> torch.Tensor:
    """The first entries along every axis."""
    if len(shape) != tensor.dim() or any(n > most for n, most in zip(shape, tensor.shape, strict=True)):
        raise Unlendable(f"its {name} of {'x'.join(map(str, shape))} is no part of the largest one's, "
                         f"{'x'.join(map(str, tensor.shape))}")
    for axis, size in enumerate(shape):
        if size != tensor.shape[axis]:
            tensor = tensor.narrow(axis, 0, size)
    return tensor.view_as(tensor)


def centred(weight: torch.Tensor, kernel: tuple[int, ...]) -> torch.Tensor:
    """The middle of a kernel: [out, in, *large] -> [out, in, *kernel]."""
    for axis, (size, most) in enumerate(zip(kernel, weight.shape[2:], strict=True), 2):
        if size > most:
            raise Unlendable(f"its kernel of {'x'.join(map(str, kernel))} is no part of the largest one's")
        if size < most:
            weight = weight.narrow(axis, (most - size) // 2, size)
    return weight


def convolution(large: nn.Module, small: nn.Module) -> dict[str, Lent]:
    """The first channels, and the middle of the kernel (Cai et al., Once-for-All, ICLR 2020)."""
    have = own(large)
    found: dict[str, Lent] = {}
    for name, tensor in own(small).items():
        check_has(have, name)
        if name == "weight":
            inner = centred(have[name], tuple(tensor.shape[2:]))
            found[name] = corner(inner, tuple(tensor.shape), name)
        else:
            found[name] = corner(have[name], tuple(tensor.shape), name)
    return found


def stacked(blocks: int) -> Callable[[torch.Tensor, tuple[int, ...], str], Lent]:
    """A rule for tensors of several matrices one above the other: the first rows of each matrix."""

    def rule(tensor: torch.Tensor, shape: tuple[int, ...], name: str) -> Lent:
        if tuple(tensor.shape) == shape:
            return tensor.view_as(tensor)
        apart = tensor.unflatten(0, (blocks, -1))
        inner = corner(apart, (blocks, shape[0] // blocks, *shape[1:]), name)
        return lambda: inner.reshape(shape)

    return rule


def attention(large: nn.Module, small: nn.Module) -> dict[str, Lent]:
    """Queries, keys and values each by their first rows: nn.MultiheadAttention keeps them in one matrix."""
    have, rule = own(large), stacked(3)
    return {name: (rule if name.startswith("in_proj") else corner)(have[name], tuple(tensor.shape), name)
            for name, tensor in own(small).items() if check_has(have, name)}


def recurrent(large: Any, small: nn.Module) -> dict[str, Lent]:
    """Each gate by its first rows: recurrent layers keep their gates in one matrix."""
    have, rule = own(large), stacked({"LSTM": 4, "GRU": 3}.get(large.mode, 1))
    return {name: (corner if name.startswith("weight_hr") else rule)(have[name], tuple(tensor.shape), name)
            for name, tensor in own(small).items() if check_has(have, name)}


RULES: dict[type, Callable[[Any, nn.Module], dict[str, Lent]]] = {
    _ConvNd: convolution, nn.MultiheadAttention: attention, nn.RNNBase: recurrent}
