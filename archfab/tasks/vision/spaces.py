"""Spaces for image classifiers of any size: mobile blocks, with bit widths or without, the cells of NAS-Bench-201 and
DARTS, and transformers."""

from __future__ import annotations

import math
from typing import Any

from archfab import nn
from archfab.space import choose, repeat
from archfab.space.descriptions import Description


def reductions(size: int) -> int:
    """How often an image is halved until about 5 pixels are left; at least once, at most five times."""
    return max(1, min(5, int(math.log2(max(size, 8) / 5))))


def mobile(size: int, classes: int) -> Description:
    """Stages of mixed blocks: plain, depthwise-separable and inverted residual convolutions."""
    width = choose("width", 8, 12, 16, 24, 32)
    stem = choose("stem.stride", 1, 2) if size >= 16 else 1
    halvings = reductions(size) - (1 if size >= 64 else 0)
    stages = [stage(i, width * (i + 1), 2 if i else 1) for i in range(halvings + 1)]
    head = choose("head", none=nn.Identity(), wide=nn.ConvNormAct(width * 2 * len(stages), 1))
    return nn.Sequential(nn.ConvNormAct(width, 3, 2 if size >= 64 else stem), *stages, head,
                         nn.Classifier(classes, dropout=0.1))


def stage(i: int, width: Any, stride: int) -> Any:
    """One to three blocks at one size; the first one changes the size."""
    name = f"stage{i + 1}"

    def block(j: int) -> Any:
        here = f"{name}.{j + 1}"
        kernel = choose(f"{here}.kernel", 3, 5)
        step = stride if j == 0 else 1
        return choose(
            f"{here}.block",
            conv=nn.Residual(nn.ConvNormAct(width, 3, step)),
            separable=nn.Residual(nn.SeparableConv(width, kernel, step)),
            mbconv=nn.MBConv(width, kernel, choose(f"{here}.expand", 2, 3, 6), step))

    return repeat(choose(f"{name}.depth", 1, 2, 3), block)


def bits(size: int, classes: int) -> Description:
    """Stages of blocks of few bits: width, depth, and the kind, kernel and bits of each block are decided.

    The first and the last layer have 8 bits, as is usual (Esser et al., ICLR 2020). Every block ends in a ReLU, so
    that no later block has negative inputs and all its levels are of use.
    """
    width = choose("width", 8, 12, 16, 24, 32)
    halvings = reductions(size) - (1 if size >= 64 else 0)
    stages = [quantised_stage(i, width * (i + 1), 2 if i else 1) for i in range(halvings + 1)]
    return nn.Sequential(nn.ConvNormAct(width, 3, 2 if size >= 64 else 1, bits=8), *stages,
                         nn.Classifier(classes, bits=8, signed=False))


def quantised_stage(i: int, width: Any, stride: int) -> Any:
    """One to three blocks at one size; the first one changes the size."""
    name = f"stage{i + 1}"

    def block(j: int) -> Any:
        here = f"{name}.{j + 1}"
        kernel, bits = choose(f"{here}.kernel", 3, 5), choose(f"{here}.bits", 2, 3, 4, 6, 8)
        step = stride if j == 0 else 1
        return nn.Sequential(choose(
            f"{here}.block",
            conv=nn.Residual(nn.ConvNormAct(width, kernel, step, activation=None, bits=bits, signed=False)),
            mbconv=nn.MBConv(width, kernel, choose(f"{here}.expand", 2, 3, 6), step, bits=bits, signed=False)),
            nn.ReLU())

    return repeat(choose(f"{name}.depth", 1, 2, 3), block)


def cell(size: int, classes: int, channels: int = 16, cells: int = 1) -> Description:
    """The macro-architecture of NAS-Bench-201 (its own is channels 16, cells 5) around one searched cell."""
    stages: list[Any] = []
    for i in range(min(3, reductions(size) + 1)):
        if i:
            stages.append(halving(channels * 2**i))
        stages += [nn.nasbench201_cell("cell") for _ in range(cells)]
    return nn.Sequential(
        nn.Conv2d(channels, 3, padding=1, bias=False), nn.BatchNorm2d(), *stages,
        nn.BatchNorm2d(), nn.ReLU(), nn.Classifier(classes))


def halving(channels: int) -> Description:
    """The residual block between the stages of NAS-Bench-201."""
    body = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(),
                         nn.ReLU(), nn.Conv2d(channels, 3, padding=1, bias=False), nn.BatchNorm2d())
    return nn.Residual(body, nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(channels, 1, bias=False)))


def darts(size: int, classes: int, channels: int = 16, cells: int = 1) -> Description:
    """The two cells of DARTS, normal and reduction, stacked (its own CIFAR-10 net is channels 36, cells 6)."""
    chain: list[Any] = []
    for i in range(min(3, reductions(size) + 1)):
        if i:
            chain.append(nn.darts_cell(channels * 2**i, "reduce", reduce=True))
        chain += [nn.darts_cell(channels * 2**i, "normal") for _ in range(cells)]
    return nn.Sequential(nn.Conv2d(3 * channels, 3, padding=1, bias=False), nn.BatchNorm2d(),
                         nn.CellChain(*chain), nn.Classifier(classes))


def attention(size: int, classes: int) -> Description:
    """A small vision transformer (Dosovitskiy et al., ICLR 2021) whose width, depth, heads and MLP ratios are
    decided, as in AutoFormer (Chen et al., ICCV 2021).

    Positions begin nearly as large as the patches are: with the usual 0.02 the digits have nearly three times
    the error after 10 epochs.
    """

    def block(i: int) -> Description:
        name = f"block{i + 1}"
        return nn.AttentionBlock(choose(f"{name}.heads", 2, 3, 4), 16, choose(f"{name}.ratio", 1, 2, 4))

    return nn.Sequential(nn.Patches(choose("width", 32, 48, 64), patch(size)), nn.Positions(0.5),
                         repeat(choose("depth", 2, 3, 4), block), nn.TokenClassifier(classes))


def patch(size: int) -> int:
    """The pixels of a patch's side, such that there are 16 to 64 patches in an image of 4 x 4 pixels or more."""
    return max(1, size // 4) if size <= 8 else math.ceil(size / 8)
