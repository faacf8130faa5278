"""Spaces of many kinds of networks, and what tests of the lowerings look at in them."""

import random
from functools import cache

import pytest
import torch
from torch import nn as tnn

from archfab import Space, choose, describe, nn, registry, repeat
from archfab.lowering.elastic import Elastic
from archfab.space.choices import CHANNELS

VISION = registry.load("tasks", "vision")


# --- spaces

class Only(tnn.Module):
    """The first of what a recurrent layer returns."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]


class Attend(tnn.Module):
    def __init__(self, embed_dim, heads):
        super().__init__()
        self.inner = tnn.MultiheadAttention(embed_dim, heads, batch_first=True)

    def forward(self, x):
        return self.inner(x, x, x, need_weights=False)[0]


class Swap(tnn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


class Square(tnn.Module):
    def forward(self, x):
        return x.unflatten(2, (4, -1))


def zoo():
    """A space with most kinds of torch's layers, for texts of 8 words out of 11."""
    width, hidden, layers = choose("width", 8, 16), choose("hidden", 8, 16), choose("layers", 1, 2)
    layer = nn.TransformerEncoderLayer(choose("heads", 2, 4), choose("inner", 12, 20), dropout=0.0, batch_first=True)
    return Space(nn.Sequential(
        nn.Embedding(11, width),
        choose("cell", rnn=describe(Only)(nn.RNN(hidden, layers, batch_first=True)),
               gru=describe(Only)(nn.GRU(hidden, layers, batch_first=True)),
               lstm=describe(Only)(nn.LSTM(hidden, layers, batch_first=True, bidirectional=True))),
        nn.Linear(width, bias=choose("bias", True, False)), nn.LayerNorm(), describe(Attend)(2),
        nn.TransformerEncoder(layer, choose("encoders", 1, 2), enable_nested_tensor=False),
        describe(Swap)(), nn.Conv1d(choose("wide", 8, 12), choose("kernel", 3, 5, 7), padding="same"),
        nn.GroupNorm(choose("norms", 2, 4)), describe(Square)(),
        nn.ConvTranspose2d(choose("up", 4, 8), 3, stride=2),
        nn.Conv2d(choose("out", 4, 8), choose("square", 1, 3), groups=choose("groups", 1, 2, 4)),
        nn.BatchNorm2d(), nn.ReLU(inplace=True), nn.Classifier(3)))


def words(number=4, seed=1):
    return torch.randint(0, 11, (number, 8), generator=torch.Generator().manual_seed(seed))


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CASES = [(None, "mobile"), (None, "cell"), (None, "darts"), (None, "attention"), (15, "mobile"), (15, "cell"),
         (15, "attention"), (0, "zoo"), *(pytest.param(28, name, marks=pytest.mark.slow) for name in VISION.spaces),
         pytest.param(15, "darts", marks=pytest.mark.slow)]


@cache
def case(size, name):
    """A space with inputs of its networks; always the same, so that it is gone through once."""
    if name == "zoo":
        return zoo(), words()
    task = VISION(size=size)
    return Space(task.space(name)), normal(4, *task.example()[0].shape[1:])


# --- what is looked at

def made(space, x, seed=0):
    torch.manual_seed(seed)
    return Elastic(space, x)


@torch.no_grad()
def shake(net, seed=0):
    """Moves every weight, every kernel transform and every running statistic."""
    source = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter += 0.1 * torch.randn(parameter.shape, generator=source)
    for name, buffer in net.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer += 3
        elif name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=source))
        else:
            buffer += 0.1 * torch.randn(buffer.shape, generator=source)
    return net


def close(one, other):
    return bool((one - other).abs().max() <= 1e-6 * max(1.0, float(other.detach().abs().max())))


def alike(one, other):
    """Equal but for rounding: without gradients, other kernels of the processor are used."""
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3)


def same_state(one, other):
    return list(one) == list(other) and all(close(one[key].double(), other[key].double()) for key in one)


def said(net, x, train):
    torch.manual_seed(3)        # dropout
    return net.train(train)(x)


def holds(shared, genotype, x, net=None):
    """Whether a view says what the extracted network says, in evaluation and in training, and ends in its state."""
    net, twin = net or shared.at(genotype), shared.extract(genotype)
    assert twin.training and all(parameter.requires_grad for parameter in twin.parameters())
    return close(said(net, x, False), said(twin, x, False)) and close(said(net, x, True), said(twin, x, True)) \
        and same_state(shared.extract(genotype).state_dict(), twin.state_dict())


def views(net):
    """The tensors that stand in a network where it would have its own."""
    return {f"{name}.{key}": tensor for name, part in net.named_modules() for key, tensor in vars(part).items()
            if isinstance(tensor, torch.Tensor)}


def address(tensor):
    return tensor.untyped_storage().data_ptr()


def samples(space, number, seed=0):
    source = random.Random(seed)
    return [space.sample(source) for _ in range(number)]


def parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


def step(net, twin, optimizer, x, seed=5):
    """One step of both from the same loss."""
    for each in (net, twin):
        torch.manual_seed(seed)
        each.train()(x).square().mean().backward()
    for each in optimizer:
        each.step()


# --- spaces whose sizes hang on each other

def bottleneck(i, channels):
    width = choose(f"inner{i}", 2, 4, 12)
    return choose(f"block{i}", plain=nn.ConvNormAct(channels, 3),
                  narrow=nn.Sequential(nn.ConvNormAct(width, 1), nn.ConvNormAct(channels, choose("kernel", 1, 3))))


SMALL = {
    "nested": lambda: [nn.Conv2d(choose("width", 4, 8), 3),
                       repeat(choose("depth", 1, 2), lambda i: bottleneck(i, choose("width", 4, 8)))],
    "unlike": lambda: [nn.Linear(choose("width", 2, 4, 8, 16)), nn.Linear(32 // choose("width", 2, 4, 8, 16)),
                       nn.Linear(choose("last", 3, 1))],
    "statistics": lambda: choose("op", norms=[nn.BatchNorm2d(affine=False) for _ in range(9)],
                                 one=nn.Conv2d(3, 1), pool=nn.AvgPool2d(3, 1, 1)),
    "empty": lambda: [nn.Cell([[nn.Edge(0, choose("a", conv=nn.Conv2d(3, 1), none=nn.Zero(), skip=nn.Identity()))],
                               [nn.Edge(choose("source", 0, 1), choose("b", none=nn.Zero(), conv=nn.Conv2d(3, 3,
                                                                                                     padding=1)))]])],
}


def shape_for(name):
    return torch.zeros(2, 7) if name == "unlike" else torch.zeros(2, 3, 8, 8)


class Twice(tnn.Module):
    """Scales its input by one of several rules; which one is a text."""

    def __init__(self, num_features, rule):
        super().__init__()
        self.weight = tnn.Parameter(torch.randn(num_features, 2 if rule == "two" else 1))
        self.rule = rule

    def forward(self, x):
        return x * self.weight.sum(1) if self.rule == "two" else x - self.weight[:, 0]

    def lend(self, small):
        return {"weight": self.weight[:small.weight.shape[0], :small.weight.shape[1]]}


class Fused(tnn.Module):
    """Two layers in one, whose halves are cut each by themselves."""

    def __init__(self, in_features, width):
        super().__init__()
        self.width = width
        self.both = tnn.Linear(in_features, 2 * width)

    def forward(self, x):
        one, other = self.both(x).chunk(2, -1)
        return one * other

    def lend(self, small):
        rows = torch.cat([torch.arange(small.width), self.width + torch.arange(small.width)])
        columns = small.both.in_features
        return {"both.weight": lambda: self.both.weight[rows.to(self.both.weight.device), :columns],
                "both.bias": lambda: self.both.bias[rows.to(self.both.bias.device)]}


class Mute(tnn.Module):
    def __init__(self, in_features, width):
        super().__init__()
        self.weight = tnn.Parameter(torch.randn(width, in_features))

    def forward(self, x):
        return x @ self.weight.T


class Rooted(Mute):
    """Values that no state dict has, and one that is read when the module is made."""

    def __init__(self, in_features, width):
        super().__init__(in_features, width)
        self.scale = torch.arange(1.0, 1.0 + width)
        self.register_buffer("shift", torch.linspace(0, 1, width), persistent=False)

    def forward(self, x):
        return super().forward(x) * self.scale + self.shift

    def lend(self, small):
        return {"weight": self.weight[tuple(slice(n) for n in small.weight.shape)]}


def source(i, *more):
    """A node with one edge, and in its first option some more."""
    def op(j):
        return nn.Edge(j, choose(f"op{i}", one=nn.Conv2d(CHANNELS, 1), three=nn.Conv2d(
            CHANNELS, choose(f"kernel{i}", 1, 3, 5), padding="same")))

    return choose(f"from{i}", **{f"at{j}": [op(j), *(more if j == 0 else ())] for j in range(i)})


def wide(width):
    return nn.Cell([[nn.Edge(0, nn.Conv2d(CHANNELS, 1)), nn.Edge(1, nn.Identity())]], 2, width=width)


SPACES = {
    **SMALL,
    "shortcuts": lambda: [nn.Conv2d(8, 1), *(nn.ResidualBlock(choose(f"width{i}", 4, 8, 12)) for i in range(3))],
    "shared option": lambda: choose("outer", **{
        name: [nn.Conv2d(3, 1), choose("inner", least=nn.BatchNorm2d(), more=nn.Conv2d(3, 1), and_more=nn.Conv2d(4, 1),
                                                 most=nn.Conv2d(5, choose("k", 1, 3)))]
        for name in ("one", "two", "three")}),
    "a choice in a choice": lambda: [
        nn.Conv2d(choose("width", 2, 3, 4) * 10, 1), nn.Conv2d(choose("width", 2, 3, 4) % 2 + 6, 1),
        choose("one", conv=nn.Conv2d(30, 1), other=choose("two", norm=nn.BatchNorm2d(), none=nn.Identity(),
                                                          conv=nn.Conv2d(20, 1)))],
    "one block again": lambda: repeat(choose("depth", 1, 3), lambda i: choose(
        "op", wide=nn.Conv2d(16, 1), narrow=choose("kind", one=nn.Conv2d(choose("width", 2, 4), 1),
                                                   two=nn.Conv2d(12 - choose("width", 2, 4), 1)))),
    "dead nodes": lambda: nn.Cell([source(1), source(2), source(3, nn.Edge(0, nn.Conv2d(CHANNELS, 11, padding=5)))]),
    "sums of kernels": lambda: nn.Conv2d(4, choose("a", 1, 2) + choose("b", 0, 2, 4), padding=3),
    "flat kernels": lambda: nn.Conv2d(4, (choose("high", 1, 3, 5), choose("wide", 1, 3, 5)), padding=2),
    "crossed kernels": lambda: nn.Conv2d(4, (choose("a", 1, 2, 3), 4 - choose("a", 1, 2, 3)), padding=3),
    "cells": lambda: nn.CellChain(*(choose(f"c{i}", one=wide(2), other=wide(3)) for i in range(3))),
    "rows of cells": lambda: nn.CellChain(wide(2), choose("row", one=[wide(2)], two=[wide(3), wide(2)], none=[])),
}
ROWS = {
    "texts": lambda: [nn.Linear(choose("width", 4, 8)), describe(Twice)(choose("rule", "one", "two")), nn.Linear(2)],
    "fused": lambda: [nn.Linear(choose("w", 4, 8)), describe(Fused)(choose("width", 3, 5)), nn.Linear(2)],
    "given": lambda: [describe(Only2)(describe(Fused)(choose("width", 3, 5)), choose("kind", "a", "b")), nn.Linear(2)],
    "rooted": lambda: [nn.Linear(choose("w", 4, 8)), describe(Rooted)(choose("width", 3, 5)), nn.Linear(2)],
    "bilinear": lambda: [describe(Pair)(choose("width", 3, 5), choose("out", 2, 4)), nn.Linear(2)],
    "gates": lambda: [nn.GRUCell(choose("width", 3, 5)), nn.Linear(2)],
}


class Only2(tnn.Module):
    """A part around another one, with a text that nothing else tells."""

    def __init__(self, inner, kind):
        super().__init__()
        self.inner, self.kind = inner, kind

    def forward(self, x):
        return self.inner(x) if self.kind == "a" else -self.inner(x)


class Pair(tnn.Module):
    def __init__(self, in_features, width, out):
        super().__init__()
        self.first = tnn.Linear(in_features, width)
        self.both = tnn.Bilinear(width, width, out)

    def forward(self, x):
        x = self.first(x)
        return self.both(x, x)


ODD = {
    "nothing": lambda: [], "no weights": lambda: nn.ReLU(), "no part": lambda: 3, "a number": lambda: choose("a", 1, 2),
    "none": lambda: None, "text": lambda: "nn.Linear", "map": lambda: {"a": nn.Linear(3)},
    "not for this input": lambda: nn.Conv2d(8, 9), "repeat none": lambda: repeat(0, lambda i: nn.Linear(3)),
    "one option": lambda: nn.Linear(choose("a", 3)), "lazy": lambda: nn.LazyLinear(3),
    "no module": lambda: describe(str)(), "edge alone": lambda: nn.Edge(0, nn.Linear(3)),
    "zero": lambda: nn.Zero(), "recurrent": lambda: nn.GRU(choose("a", 3, 4)),
}
