"""Blocks of convolutional networks, described in torch's own parts so that every lowering can see inside."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from archfab.core import BuildError
from archfab.nn.quantised import Quantised
from archfab.space.choices import CHANNELS
from archfab.space.descriptions import Describer, Description

POSITIVE = ("ReLU", "ReLU6", "Sigmoid", "Hardsigmoid", "Softplus")
"""Activations that give nothing below zero."""


def make(name: str, *args: Any, **kwargs: Any) -> Description:
    """A description of a class of torch.nn."""
    import archfab.nn as described
    return getattr(described, name)(*args, **kwargs)


def ConvNormAct(channels: Any, kernel: Any = 3, stride: Any = 1, groups: Any = 1,
                activation: str | None = "ReLU", bits: Any = None, signed: bool = True) -> Description:
    """Convolution, batch normalisation, activation; padded so that stride 1 keeps the size (odd kernels).

    :param bits: of the weights and the inputs of the convolution, see `Quantised`; None: floating point.
    :param signed: False where the inputs are never negative, which their bits can then make more of.
    """
    convolution = Quantised(make("Conv2d", channels, kernel, stride=stride, padding=kernel // 2, groups=groups,
                                 bias=False), bits, bits, signed)
    return make("Sequential", convolution, make("BatchNorm2d"), *([make(activation)] if activation else []))


def SeparableConv(channels: Any, kernel: Any = 3, stride: Any = 1, activation: str = "ReLU") -> Description:
    """Depthwise, then pointwise convolution (Howard et al., MobileNets, 2017)."""
    return make("Sequential", ConvNormAct(CHANNELS, kernel, stride, groups=CHANNELS, activation=activation),
                ConvNormAct(channels, 1, activation=activation))


def MBConv(channels: Any, kernel: Any = 3, expand: Any = 6, stride: Any = 1, squeeze: int = 0,
           activation: str = "ReLU", bits: Any = None, signed: bool = True) -> Description:
    """Inverted residual: expand, depthwise, project, linear at the end (Sandler et al., CVPR 2018).

    :param expand: hidden channels over input channels; the plain number 1 leaves the expansion out.
    :param squeeze: when above 0, squeeze-and-excitation with hidden channels divided by this.
    :param bits: of weights and inputs of the three convolutions, see `Quantised`; None: floating point.
    :param signed: False where the block's input is never negative.
    """
    plain = isinstance(expand, int) and expand == 1
    inner = signed if plain else activation not in POSITIVE
    parts = [] if plain else [ConvNormAct(CHANNELS * expand, 1, activation=activation, bits=bits, signed=signed)]
    parts.append(ConvNormAct(CHANNELS, kernel, stride, groups=CHANNELS, activation=activation, bits=bits, signed=inner))
    if squeeze:
        parts.append(SqueezeExcite(squeeze))
    last = ConvNormAct(channels, 1, activation=None, bits=bits, signed=activation not in POSITIVE)
    return Residual(make("Sequential", *parts, last))


def ResidualBlock(channels: Any, kernel: Any = 3, stride: Any = 1, activation: str = "ReLU") -> Description:
    """Two convolutions beside a shortcut, which is projected where the shape changes (He et al., CVPR 2016)."""
    body = make("Sequential", ConvNormAct(channels, kernel, stride, activation=activation),
                ConvNormAct(channels, kernel, activation=None))
    shortcut = ConvNormAct(channels, 1, stride, activation=None)
    return make("Sequential", Residual(body, shortcut), make(activation))


def Classifier(classes: Any, dropout: float = 0.0, bits: Any = None, signed: bool = True) -> Description:
    """The head: average over the image, then one linear layer to class scores.

    :param bits: of the linear layer's weights and inputs, see `Quantised`; None: floating point.
    """
    drop = [make("Dropout", dropout)] if dropout else []
    return make("Sequential", make("AdaptiveAvgPool2d", 1), make("Flatten"), *drop,
                Quantised(make("Linear", classes), bits, bits, signed))


def SqueezeExcite(reduction: int = 4) -> Description:
    """Channels weighted by what the whole image says (Hu et al., CVPR 2018)."""
    return Describer(Scaled, "archfab.nn.blocks:Scaled")(reduction)


def Residual(body: Any, shortcut: Any = None) -> Description:
    """The body's output plus its input. Where their shapes differ: plus `shortcut` of the input, or, without
    one, the body alone."""
    return Describer(Sum, "archfab.nn.blocks:Sum")(body, shortcut)


class Sum(nn.Module):
    """body(x) + shortcut(x)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.shortcut(x)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, body: Any, shortcut: Any) -> tuple[nn.Module, Any]:
        inner, y = builder.part(body, x, where)
        if y.shape == x.shape:
            return Sum(inner, nn.Identity()), y
        if builder.decided(shortcut) is None:
            return inner, y
        side, z = builder.part(shortcut, x, f"{where}.shortcut")
        if z.shape != y.shape:
            raise BuildError(f"{where}: the body gives {tuple(y.shape)}, the shortcut {tuple(z.shape)}")
        return Sum(inner, side), y


class Scaled(nn.Module):
    """x times a gate computed from x, channel by channel."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, reduction: int) -> tuple[nn.Module, Any]:
        hidden = max(1, x.shape[1] // builder.decided(reduction, x))
        parts = [make("AdaptiveAvgPool2d", 1), make("Conv2d", hidden, 1), make("ReLU"),
                 make("Conv2d", x.shape[1], 1), make("Hardsigmoid")]
        return Scaled(builder.part(parts, x, where)[0]), x
