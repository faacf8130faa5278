"""How a smaller module is cut out of a larger one of its class, so that both have the same weights.

A class of your own says it with one method, `lend(self, small)`, called on the larger module: the tensors of
`small` by their names in its state dict, as views on the tensors of `self` (or functions of no argument, where a view
cannot say it). It speaks for the parts inside as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

Lent = torch.Tensor | Callable[[], torch.Tensor]
OURS = ("torch.", "archfab.")
LABEL = "choose between whole parts there: choose(name, one=..., other=...)"


@dataclass(frozen=True)
class Computed:
    """A tensor that is no view but a function of others: it needs computing anew only after these have changed."""

    function: Callable[[], torch.Tensor]
    sources: tuple[torch.Tensor, ...]

    def __call__(self) -> torch.Tensor:
        return self.function()


class Unlendable(Exception):
    """A smaller module that cannot be cut out of a larger one; the message says why and what would help."""


def lend(large: nn.Module, small: nn.Module, inside: str = "") -> dict[str, Lent]:
    """Every tensor of `small` by its name in the state dict, cut out of `large`."""
    if callable(rule := getattr(large, "lend", None)):
        return asked(rule, small)
    found = cut(large, small, inside)
    for name, part in small._modules.items():
        if part is None:
            continue
        other = large._modules.get(name)
        if other is None:
            raise Unlendable(f"a network has a part '{inside}{name}' in it, and a larger one has none; {LABEL}")
        found |= {f"{name}.{key}": tensor for key, tensor in lend(other, part, f"{inside}{name}.").items()}
    return found


def asked(rule: Callable[[nn.Module], Any], small: nn.Module) -> dict[str, Lent]:
    """What a user's class lends, if it is what it has to lend."""
    name, wanted = f"{type(small).__name__}.lend", {key: tuple(part.shape) for key, part in small.state_dict().items()}
    try:
        lent = dict(rule(small))
        shapes = {key: tuple((part() if callable(part) else part).shape) for key, part in lent.items()}
    except Exception as error:
        raise Unlendable(f"{name} fails: {type(error).__name__}: {error}") from error
    if shapes != wanted:
        raise Unlendable(f"{name} gives {shown(shapes)}; it has to give {shown(wanted)}")
    return lent


def shown(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{key} of {by(shape)}" for key, shape in shapes.items()) or "nothing"


def by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"


def cut(large: nn.Module, small: nn.Module, inside: str) -> dict[str, Lent]:
    """The tensors that a module has itself, without those of its parts."""
    wanted, have = own(small), own(large)
    if not wanted:
        return {}
    name, what = type(large).__name__, f"its part '{inside[:-1]}'" if inside else "it"
    if type(large) is not type(small):
        raise Unlendable(f"{what} is a {name} in one network and a {type(small).__name__} in another; {LABEL}")
    for key in wanted:
        if key not in have:
            raise Unlendable(f"{what} has a {key} in one network, and none in a larger one; {LABEL}")
    if all(have[key].shape == tensor.shape for key, tensor in wanted.items()):
        return {key: have[key][...] for key in wanted}
    rule = next((known for kind, known in RULES.items() if isinstance(large, kind)), None)
    if rule is None and not type(large).__module__.startswith(OURS):
        raise Unlendable(f"the weights of {name} change their shape, and it does not say how smaller ones are cut out: "
                         f"give the class a method lend(self, small), or {LABEL}")
    return {key: (rule or leading)(have[key], tuple(tensor.shape), key) for key, tensor in wanted.items()}


def own(module: nn.Module) -> dict[str, torch.Tensor]:
    """A module's tensors in its state dict, without those of its parts."""
    return {name: tensor for name, tensor in [*module._parameters.items(), *module._buffers.items()]
            if tensor is not None and name not in module._non_persistent_buffers_set}


# --- rules: a tensor of the larger module, the shape of the smaller one's, its name

def leading(tensor: torch.Tensor, shape: tuple[int, ...], name: str = "weight") -> torch.Tensor:
    """The first entries along every axis: linear layers, norms, embeddings."""
    if len(shape) != tensor.dim() or any(n > most for n, most in zip(shape, tensor.shape, strict=True)):
        raise Unlendable(f"its {name} of {by(shape)} is no part of the largest one's, {by(tuple(tensor.shape))}; "
                         f"{LABEL}")
    for axis, size in enumerate(shape):
        if size != tensor.shape[axis]:
            tensor = tensor.narrow(axis, 0, size)
    return tensor[...]


def convolution(tensor: torch.Tensor, shape: tuple[int, ...], name: str = "weight") -> torch.Tensor:
    """The first channels, and the middle of the kernel (Cai et al., Once-for-All, ICLR 2020)."""
    return leading(centred(tensor, shape[2:]), shape, name)


def centred(weight: torch.Tensor, kernel: tuple[int, ...]) -> torch.Tensor:
    """The middle of a kernel: [out, in, *large] -> [out, in, *kernel]."""
    for axis, size in enumerate(kernel, 2):
        if size < weight.shape[axis]:
            weight = weight.narrow(axis, (weight.shape[axis] - size) // 2, size)
    return weight


def stacked(blocks: int, *names: str) -> Callable[[torch.Tensor, tuple[int, ...], str], Lent]:
    """A rule for tensors of several matrices one above the other, whose names begin so: the first rows of each."""

    def rule(tensor: torch.Tensor, shape: tuple[int, ...], name: str) -> Lent:
        if not name.startswith(names) or tuple(tensor.shape) == shape:
            return leading(tensor, shape, name)
        inner = leading(tensor.unflatten(0, (blocks, -1)), (blocks, shape[0] // blocks, *shape[1:]), name)
        return Computed(lambda: inner.reshape(shape), (inner,))

    return rule


GATES = ("weight_ih", "weight_hh", "bias_")
RULES: dict[type, Callable[[torch.Tensor, tuple[int, ...], str], Lent]] = {
    _ConvNd: convolution, nn.MultiheadAttention: stacked(3, "in_proj"), nn.RNN: leading, nn.RNNCell: leading,
    nn.LSTM: stacked(4, *GATES), nn.LSTMCell: stacked(4, *GATES), nn.GRU: stacked(3, *GATES),
    nn.GRUCell: stacked(3, *GATES)}
"""Kinds whose tensors are not simply cut at their ends, or that users make classes of."""
