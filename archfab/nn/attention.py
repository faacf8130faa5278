"""Blocks of vision transformers (Dosovitskiy et al., ICLR 2021): images as tokens [N, T, E], and attention on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from archfab.core import BuildError
from archfab.nn.blocks import Residual, make
from archfab.space.descriptions import Describer, Description

Layers = tuple[int, nn.Module, nn.Module, nn.Module, nn.Module]


def Patches(width: Any, size: Any) -> Description:
    """An image [N, C, H, W] as tokens [N, T, width], each a linear map of one patch of `size` x `size` pixels.

    Sizes that do not divide are rounded up: the image is padded with zeros, half of them on each side, so
    that no pixel is lost and T = ceil(H / size) * ceil(W / size).
    """
    return Describer(PatchesModule, "archfab.nn.attention:PatchesModule")(width, size)


def Positions(deviation: float = 0.02) -> Description:
    """Adds a learned vector to each token, by its place.

    :param deviation: of the first values. Vision transformers have 0.02; short trainings like it larger.
    """
    return Describer(PositionsModule, "archfab.nn.attention:PositionsModule")(deviation)


def Attention(heads: Any, head_size: Any = 16) -> Description:
    """Multi-head self-attention on [N, T, E] (Vaswani et al., NeurIPS 2017), with heads * head_size features inside,
    whatever E is (Chen et al., AutoFormer, ICCV 2021).

    Queries, keys, values and the output have a linear layer each, and head h has the features from h * head_size
    on: the first heads of a network are the leading features of each layer.
    """
    return Describer(AttentionModule, "archfab.nn.attention:AttentionModule")(heads, head_size)


def Mlp(ratio: Any = 4) -> Description:
    """Two linear layers with a GELU between, on the last dimension: E -> ratio * E -> E."""
    return Describer(MlpModule, "archfab.nn.attention:MlpModule")(ratio)


def AttentionBlock(heads: Any, head_size: Any = 16, ratio: Any = 4) -> Description:
    """A block of a transformer, normalised first: x + attention(norm(x)), then x + mlp(norm(x))."""
    return make("Sequential", Residual(make("Sequential", make("LayerNorm"), Attention(heads, head_size))),
                Residual(make("Sequential", make("LayerNorm"), Mlp(ratio))))


def TokenClassifier(classes: Any, dropout: float = 0.0) -> Description:
    """The head: mean over the tokens, normalised, then one linear layer to class scores."""
    drop = [make("Dropout", dropout)] if dropout else []
    mean = Describer(MeanModule, "archfab.nn.attention:MeanModule")()
    return make("Sequential", mean, make("LayerNorm"), *drop, make("Linear", classes))


class PatchesModule(nn.Module):
    """A convolution whose kernels do not overlap, its pixels in a row: [N, C, H, W] -> [N, T, width]."""

    def __init__(self, project: nn.Module) -> None:
        super().__init__()
        self.project = project

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(x).flatten(2).transpose(1, 2)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, width: Any, size: Any) -> tuple[nn.Module, Any]:
        shaped(x, 4, "an image [N, C, H, W]", where)
        size = counted(builder.decided(size, x), "size", where)
        padding = tuple((-n % size + 1) // 2 for n in x.shape[2:])
        project, y = builder.part(make("Conv2d", width, size, stride=size, padding=padding), x, f"{where}.project")
        return PatchesModule(project), y.flatten(2).transpose(1, 2)


class PositionsModule(nn.Module):
    """x + positions, which are [1, T, E] and drawn from a normal distribution.

    Vision transformers cut it at -2 and 2, which is 100 of their deviations away: no draw is ever cut. (Torch's
    `trunc_normal_` looks at the values that it drew, so it cannot run on shapes alone.)
    """

    def __init__(self, input_shape: tuple[int, int], deviation: float) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.empty(1, *input_shape))
        nn.init.normal_(self.positions, std=deviation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.positions


class AttentionModule(nn.Module):
    """out(softmax(q k' / sqrt(head_size)) v), with q, k and v linear in x, head by head."""

    def __init__(self, heads: int, query: nn.Module, key: nn.Module, value: nn.Module, out: nn.Module) -> None:
        super().__init__()
        self.heads = heads
        self.query = query
        self.key = key
        self.value = value
        self.out = out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(x)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def split(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """Queries, keys and values of each head: [N, H, T, head_size]."""
        for layer in (self.query, self.key, self.value):
            yield layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, heads: Any, head_size: Any) -> tuple[nn.Module, Any]:
        layers, z = attending(builder, x, where, heads, head_size)
        return AttentionModule(*layers), z


def attending(builder: Any, x: Any, where: str, heads: Any, head_size: Any) -> tuple[Layers, Any]:
    """The number of heads, and the layers of queries, keys, values and the output."""
    shaped(x, 3, "tokens [N, T, E]", where)
    heads = counted(builder.decided(heads, x), "heads", where)
    inner = heads * counted(builder.decided(head_size, x), "head_size", where)
    query, y = builder.part(make("Linear", inner), x, f"{where}.query")
    key, _ = builder.part(make("Linear", inner), x, f"{where}.key")
    value, _ = builder.part(make("Linear", inner), x, f"{where}.value")
    out, z = builder.part(make("Linear", x.shape[2]), y, f"{where}.out")
    return (heads, query, key, value, out), z


class MlpModule(nn.Sequential):
    """What an `Mlp` becomes; its hidden size hangs on the last dimension of what comes in."""

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, ratio: Any) -> tuple[nn.Module, Any]:
        hidden = counted(int(x.shape[-1] * builder.decided(ratio, x)), "the hidden size", where)
        expand, inner = builder.part(make("Linear", hidden), x, f"{where}.expand")
        project, y = builder.part(make("Linear", x.shape[-1]), inner, f"{where}.project")
        return MlpModule(expand, nn.GELU(), project), y


class MeanModule(nn.Module):
    """The mean over the tokens: [N, T, E] -> [N, E]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1)


def counted(value: Any, what: str, where: str) -> int:
    """A whole number from 1 up."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BuildError(f"{where}: {what} is a whole number from 1 up, not {value!r}")
    return value


def shaped(x: Any, dimensions: int, what: str, where: str) -> None:
    """An input of the right number of dimensions."""
    if not isinstance(x, torch.Tensor) or x.dim() != dimensions:
        raise BuildError(f"{where} takes {what}, not {'x'.join(map(str, getattr(x, 'shape', [type(x).__name__])))}")
