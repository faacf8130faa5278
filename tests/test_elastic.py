"""One set of weights for all networks of a space: a view on it is the network, and learns for all of them."""

import gc
import random
import weakref
from functools import cache

import pytest
import torch
from torch import nn as tnn
from torch.utils._pytree import tree_leaves

from archfab import Space, UsageError, choose, describe, nn, registry, repeat
from archfab.core import BuildError
from archfab.lowering import _survey
from archfab.lowering import elastic as lowering
from archfab.lowering.concrete import build
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


# --- a view is the network

@pytest.mark.parametrize(("size", "name"), CASES)
def test_a_view_on_the_shared_weights_says_what_the_extracted_network_says(size, name):
    space, x = case(size, name)
    shared = shake(made(space, x))
    for genotype in [shared.largest, shared.smallest, *samples(space, 4 if name != "zoo" else 12)]:
        assert holds(shared, genotype, x)


def test_the_zoo_has_every_kind_of_layer_in_its_networks():
    space, x = zoo(), words()
    found = {type(part).__name__ for genotype in samples(space, 20)
             for part in build(space, genotype, x).modules()}
    assert {"Embedding", "RNN", "GRU", "LSTM", "Linear", "LayerNorm", "MultiheadAttention", "TransformerEncoder",
            "Conv1d", "GroupNorm", "ConvTranspose2d", "Conv2d", "BatchNorm2d"} <= found


@pytest.mark.parametrize(("size", "name"), [(None, "cell"), (None, "darts"), (None, "attention"), (None, "mobile"),
                                            (0, "zoo")])
def test_nothing_is_copied(size, name):
    """Views lie in the shared memory, all but smaller kernels and the gates of recurrent layers and attention."""
    space, x = case(size, name)
    shared = made(space, x)
    own = {address(tensor) for tensor in (*shared.parameters(), *shared.buffers())}
    for genotype in samples(space, 4):
        net = shared.at(genotype)
        found = views(net)
        assert len(found) == len(shared.extract(genotype).state_dict()) and not list(net.parameters())
        for key, tensor in found.items():
            computed = (name in ("zoo", "mobile") and key.endswith(".weight") and tensor.dim() > 2) or any(
                part in key for part in ("_l0", "_l1", "in_proj"))
            assert computed or address(tensor) in own, key
    largest = views(shared.at(shared.largest))
    assert {address(tensor) for key, tensor in largest.items() if "inner" not in key and "_l" not in key} <= own


@pytest.mark.parametrize(("size", "name"), [(None, "cell"), (None, "darts"), (None, "attention"), (None, "mobile")])
def test_a_step_of_a_view_moves_the_slice_alone_as_a_step_of_the_network_does(size, name):
    space, x = case(size, name)
    shared, x = shake(made(space, x)).double(), x.double()
    for genotype in samples(space, 3):
        genotype = {key: shared.defaults[key] if key.endswith("kernel") else label for key, label in genotype.items()}
        net, twin = shared.at(genotype), shared.extract(genotype)
        before = {address(p): p.detach().clone() for p in shared.parameters()}
        inside = {address(p): torch.zeros_like(p, dtype=torch.bool) for p in shared.parameters()}
        for tensor in views(net).values():
            if address(tensor) in inside:
                inside[address(tensor)].as_strided(tensor.size(), tensor.stride(), tensor.storage_offset()).fill_(True)
        shared.zero_grad()
        step(net, twin, [torch.optim.SGD(each.parameters(), 0.1) for each in (shared, twin)], x)
        assert same_state(shared.extract(genotype).state_dict(), twin.state_dict())
        changed = {address(p): p.detach() != before[address(p)] for p in shared.parameters()}
        assert not any(bool((changed[key] & ~inside[key]).any()) for key in changed)
        assert sum(int(each.sum()) for each in changed.values()) > 0.5 * parameters(twin)


# --- views that were made before

def trained(shared, x):
    optimizer = torch.optim.AdamW(shared.parameters(), 0.05, fused=True)
    for genotype in (shared.largest, shared.smallest):
        shared.at(genotype).train()(x).square().mean().backward()
    optimizer.step()


def stepped(shared, x):
    for parameter in shared.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(shared.parameters(), 0.05, momentum=0.9).step()


def loaded(shared, x):
    shared.load_state_dict(shake(made(shared.space, x, 7), 8).state_dict())


def assigned(shared, x):
    shared.load_state_dict(shake(made(shared.space, x, 7), 8).state_dict(), assign=True)


def channels_last(shared, x):
    shared.to(memory_format=torch.channels_last)


def double(shared, x):
    shared.double()


@pytest.mark.parametrize(("size", "name"), [(None, "mobile"), (0, "zoo")])
@pytest.mark.parametrize("change", [trained, stepped, loaded, assigned, channels_last, double])
def test_a_network_built_before_the_weights_change_stays_right(size, name, change):
    space, x = case(size, name)
    shared = shake(made(space, x))
    genotypes = [shared.largest, *samples(space, 4)]
    nets = [shared.at(genotype) for genotype in genotypes]
    before = [said(net, x, False).detach().clone() for net in nets]
    with torch.inference_mode():
        assert all(map(alike, [said(net, x, False) for net in nets], before))
    change(shared, x)
    y = x.double() if change is double and x.is_floating_point() else x
    with torch.inference_mode():
        unlearned = [said(net, y, False) for net in nets]
    now = [said(net, y, False).detach() for net in nets]
    assert all(map(alike, unlearned, now))
    assert all(map(alike, [each.float() for each in now], before)) is (change in (channels_last, double))
    for genotype, net in zip(genotypes, nets, strict=True):
        assert shared.at(genotype) is net and holds(shared, genotype, y, net)
    assert {parameter.dtype for parameter in shared.extract(genotypes[1]).parameters()} == {
        torch.float64 if change is double else torch.float32}
    step(nets[0], nets[0], [], y)       # the views still lead to the weights
    assert all(parameter.grad is not None for parameter in shared.parts[0].parameters())


def test_views_made_in_inference_mode_learn_later():
    space, x = case(None, "mobile")
    shared, genotypes = made(space, x), samples(space, 3)
    with torch.inference_mode():
        for genotype in genotypes:
            shared.at(genotype).eval()(x)
    for genotype in genotypes:
        shared.zero_grad()
        twin = shared.extract(genotype)
        step(shared.at(genotype), twin, [], x)
        assert sum(int((p.grad != 0).sum()) for p in shared.parts.parameters() if p.grad is not None) >= sum(
            int((p.grad != 0).sum()) for p in twin.parameters())


def test_values_computed_in_inference_mode_may_stand_in_a_gradient_later():
    shared, x = made(Space(ROWS["rooted"]()), normal(3, 7)), normal(3, 7)
    with torch.inference_mode():
        net = shared.at(shared.largest)
    twin = shared.extract(shared.largest)
    step(net, twin, [torch.optim.SGD(each.parameters(), 0.1) for each in (shared, twin)], x)
    assert same_state(shared.extract(shared.largest).state_dict(), twin.state_dict())


def test_views_made_while_weights_are_frozen_learn_once_they_are_not():
    space, x = case(None, "cell")
    shared = made(space, x).requires_grad_(False)
    net = shared.at(shared.largest)
    net.train()(x).sum().backward() if net.train()(x).requires_grad else None
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in shared.parameters())
    shared.requires_grad_(True)
    twin = shared.extract(shared.largest)
    step(net, twin, [torch.optim.SGD(each.parameters(), 0.1) for each in (shared, twin)], x)
    assert same_state(shared.extract(shared.largest).state_dict(), twin.state_dict())


# --- randomness, memory

@pytest.mark.parametrize(("size", "name"), [(None, "mobile"), (0, "zoo")])
def test_a_seed_gives_the_same_shared_weights_and_nothing_else_draws(size, name):
    space, x = case(size, name)
    assert lowering.supports(space, (x,))[0]
    one, again, other = made(space, x, 5), made(Space.from_data(space.data), x, 5), made(space, x, 6)
    states = [each.state_dict() for each in (one, again, other)]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])
    torch.manual_seed(1)
    before = torch.get_rng_state()
    for genotype in samples(space, 4):
        one.at(genotype)
        one.extract(genotype)
    lowering.supports(Space.from_data(space.data), (x,))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_weights_are_drawn_as_torch_draws_them():
    shared = made(Space([nn.Linear(choose("width", 16, 4)), nn.BatchNorm1d()]), torch.zeros(2, 7), 3)
    torch.manual_seed(3)
    layer = tnn.Linear(7, 16)
    net = shared.extract({"width": 16})
    assert torch.equal(net[0].weight, layer.weight) and torch.equal(net[0].bias, layer.bias)
    assert torch.equal(shared.extract({"width": 4})[0].weight, layer.weight[:4])


def test_a_space_that_is_used_no_more_is_forgotten():
    space = Space(nn.Linear(choose("width", 4, 8)))
    Elastic(space, torch.zeros(2, 7))
    known = weakref.ref(space)
    del space
    gc.collect()
    assert known() is None


# --- the largest and the smallest

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


@pytest.mark.parametrize("name", SMALL)
def test_the_extremes_are_those_of_all_networks_by_parameters(name):
    space, x = Space(SMALL[name]()), shape_for(name)
    sizes = [parameters(build(space, genotype, x)) for genotype in space]
    shared = made(space, x)
    for genotype, extreme in ((shared.largest, max(sizes)), (shared.smallest, min(sizes))):
        space.check(genotype)
        assert parameters(build(space, genotype, x)) == extreme
    assert min(sizes) < max(sizes)


def test_of_networks_without_weights_the_smallest_hands_on_the_least():
    space = Space([nn.Conv2d(4, 1), nn.Cell([[nn.Edge(0, choose("a", pool=[nn.MaxPool2d(1), nn.MaxPool2d(1)],
                                                                skip=nn.Identity()))]])])
    shared = made(space, torch.zeros(2, 3, 4, 4))
    assert (shared.largest, shared.smallest) == ({"a": "pool"}, {"a": "skip"})


# --- every network of a space that is accepted has its view

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


@pytest.mark.parametrize("name", [*SPACES, *ROWS])
def test_every_network_of_a_space_that_is_accepted_has_its_view(name, monkeypatch):
    monkeypatch.setattr(_survey, "DRAWN", 0)        # no luck
    space = Space({**SPACES, **ROWS}[name]())
    x = normal(3, 7) if name in ROWS else shape_for(name) + normal(*shape_for(name).shape)
    ok, because = lowering.supports(space, (x,))
    assert ok, because
    shared = shake(made(space, x))
    genotypes = list(space) if space.size <= 60 else samples(space, 60)
    for genotype in genotypes:
        assert holds(shared, genotype, x), genotype


def test_a_shape_that_is_the_largest_in_no_network_is_made_so_large_that_all_are_cut_out_of_it():
    space = Space([nn.Linear(choose("width", 2, 16)), nn.Linear(32 // choose("width", 2, 16))])
    shared = made(space, torch.zeros(1, 3))
    one, other = (shared.extract({"width": width})[1] for width in (2, 16))
    assert one.weight.shape == (16, 2) and other.weight.shape == (2, 16)
    assert torch.equal(one.weight[:2], other.weight[:, :2])
    assert one.weight.abs().max() <= 2 ** -0.5 and one.weight.unique().numel() > 8    # as torch draws it


def test_sizes_that_two_changes_lead_to_are_met_by_networks_that_are_drawn(monkeypatch):
    """The last layer has most inputs where both rows keep them; each change alone does not show it."""
    def row(name):
        return choose(name, least=nn.Linear(4), keeps=[nn.Linear(CHANNELS), nn.Linear(CHANNELS)],
                      most=[nn.Linear(60), nn.Linear(5)])

    space, x = Space([nn.Linear(9), row("one"), row("two"), nn.Linear(2)]), torch.zeros(2, 3)
    assert lowering.supports(space, (x,))[0]
    assert all(holds(made(space, x), genotype, normal(2, 3)) for genotype in space)
    monkeypatch.setattr(_survey, "DRAWN", 0)
    missed = made(Space.from_data(space.data), x)
    with pytest.raises(BuildError, match=r"net\[3\]/Linear: its weight of 2x9 is no part of the largest one's, 2x5"):
        missed.at({"one": "keeps", "two": "keeps"})


def test_a_kernel_that_stands_in_two_options_is_transformed_in_both():
    space = Space(VISION().space("mobile"))
    shared = made(space, VISION().example()[0])
    kinds = {name.split(".block=")[1].split("/")[0] for name, kernels in shared.kernels.items() if len(kernels) > 1}
    assert kinds == {"separable", "mbconv"}


# --- a user's own classes

class Wrong(Mute):
    def lend(self, small):
        return {"weight": self.weight[:1]}


class Broken(Mute):
    def lend(self, small):
        return {"weight": self.heft}


class Other(Mute):
    def lend(self, small):
        return {"heft": self.weight}


@pytest.mark.parametrize(("part", "message"), [
    (Mute, r"Mute change their shape.*does not say how.*method lend\(self, small\), or choose between whole parts"),
    (Wrong, r"Wrong.lend gives weight of 1x7; it has to give weight of [35]x7"),
    (Broken, r"Broken.lend fails: AttributeError.*heft"),
    (Other, r"Other.lend gives heft of 5x7; it has to give weight of [35]x7")])
def test_a_class_whose_weights_change_says_how_or_is_refused_by_its_choice_and_place(part, message):
    space = Space([nn.Sequential(describe(part)(choose("wide", 3, 5)))])
    ok, because = lowering.supports(space, (torch.zeros(2, 7),))
    assert not ok and f"choice 'wide' cannot share weights at net[0]/Sequential[0]/{part.__name__}: " in because
    with pytest.raises(UsageError, match=message):
        Elastic(space, torch.zeros(2, 7))


def test_a_class_without_a_rule_may_stand_where_its_shapes_do_not_change():
    space = Space([nn.Linear(choose("width", 4, 8)), nn.Linear(5), describe(Mute)(3)])
    shared, x = made(space, torch.zeros(2, 7)), normal(2, 7)
    assert all(holds(shared, genotype, x) for genotype in space)


@pytest.mark.parametrize(("root", "message"), [
    (lambda: describe(Only2)(choose("op", a=nn.Linear(7), b=nn.LayerNorm()), "a"),
     r"choice 'op' cannot.*its part 'inner' is a \w+ in one network and a \w+ in another; choose between whole"),
    (lambda: nn.Conv2d(choose("out", 2, 3), choose("kernel", 1, 9)),
     r"the largest network cannot.*net/Conv2d.*Kernel size.*; leave out the options"),
    (lambda: nn.Conv2d(2, choose("kernel", 3, 9), padding=choose("more", 1, 0)),
     r"the largest network with more=0 cannot be built: net/Conv2d cannot take.*; leave out the options"),
    (lambda: [nn.Linear(8 - choose("w", 2, 6)), describe(Fused)(choose("w", 2, 6))],
     r"choice 'w' cannot share weights at net\[1\]/Fused: Fused.lend gives both.weight of 4x2.*it has to give"),
    (lambda: describe(Mute)(choose("a", 2, 3) * choose("b", 2, 3)), r"choice '[ab]'.*(and '[ab]')? cannot share")])
def test_a_refusal_names_the_choice_and_what_to_do(root, message):
    shape = (2, 3, 7, 7) if "Conv2d" in repr(root()) else (2, 7)
    with pytest.raises(UsageError, match=message):
        Elastic(Space(root()), torch.zeros(shape))


def test_a_part_that_one_network_has_alone_is_refused():
    space = Space(nn.Linear(choose("width", 16, 2), bias=choose("bias", True, False)))
    assert lowering.supports(space, (torch.zeros(2, 3),))[0]        # the largest network has the bias
    layers = Space([nn.Linear(choose("heads", 1, 8) * 8, in_features=4), nn.TransformerEncoder(
        nn.TransformerEncoderLayer(1, 4, batch_first=True), 8 // choose("heads", 1, 8))])
    ok, because = lowering.supports(layers, (torch.zeros(2, 3, 4),))
    assert not ok and "'heads'" in because and "has a part 'layers." in because and "choose(name, one=" in because


# --- what is cut out of what

def test_kernel_transforms_lead_from_size_to_size():
    space = Space(nn.Conv2d(choose("out", 2, 4), choose("kernel", 3, 5, 7), padding="same"))
    shared = made(space, torch.zeros(1, 3, 9, 9))
    large = shared.parts[0].weight.detach()
    assert large.shape == (4, 3, 7, 7)
    for size in (3, 5, 7):      # at the identity: the middle
        crop = large[:2, :, (7 - size) // 2:(7 + size) // 2, (7 - size) // 2:(7 + size) // 2]
        assert torch.equal(shared.extract({"out": 2, "kernel": size}).weight, crop)
    shake(shared)
    large = shared.parts[0].weight.detach()
    first, second = (shared.bends[f"0: {way}"].detach() for way in ("7x7 to 5x5", "5x5 to 3x3"))
    assert first.shape == (25, 25) and second.shape == (9, 9)
    five = torch.einsum("oiq,qp->oip", large[:, :, 1:6, 1:6].reshape(4, 3, 25), first)
    three = torch.einsum("oiq,qp->oip", five.reshape(4, 3, 5, 5)[:, :, 1:4, 1:4].reshape(4, 3, 9), second)
    for size, wanted in ((5, five), (3, three), (7, large)):
        found = shared.extract({"out": 4, "kernel": size}).weight
        assert torch.allclose(found, wanted.reshape(4, 3, size, size), atol=1e-6)


def test_transforms_learn_and_only_where_a_smaller_kernel_is_used():
    space = Space(nn.Conv2d(2, choose("kernel", 3, 5, 7), padding="same"))
    shared, x = made(space, torch.zeros(1, 3, 9, 9)), normal(2, 3, 9, 9)
    for kernel, moved in ((7, set()), (5, {"7x7 to 5x5"}), (3, {"7x7 to 5x5", "5x5 to 3x3"})):
        shared.zero_grad()
        shared.at({"kernel": kernel})(x).square().sum().backward()
        assert {name.split(": ")[1] for name, each in shared.bends.items() if each.grad is not None} == moved


def test_a_view_has_the_memory_format_of_the_weights_where_it_shows_in_strides_of_one_entry_alone():
    shared = made(Space(nn.Conv2d(4, choose("kernel", 3, 5))), torch.zeros(1, 1, 9, 9))
    shared.to(memory_format=torch.channels_last)
    assert shared.at({"kernel": 5}).weight.stride() == shared.parts[0].weight.stride() == (25, 1, 5, 1)


def test_a_computed_kernel_is_computed_again_only_after_the_weights_changed_or_to_learn():
    space = Space(nn.Conv2d(2, choose("kernel", 3, 5), padding="same"))
    shared, x = made(space, torch.zeros(1, 3, 9, 9)), normal(2, 3, 9, 9)
    net = shared.at({"kernel": 3})
    with torch.no_grad():
        net(x)
        first = net.weight
        net(x)
        assert net.weight is first
        shared.parts[0].weight.mul_(2)
        net(x)
        assert torch.allclose(net.weight, 2 * first)
    net(x)
    assert net.weight.requires_grad


def test_values_that_no_state_dict_has_are_of_the_type_of_the_weights():
    shared = made(Space(ROWS["rooted"]()), normal(3, 7))
    before = shared.at(shared.largest)
    for net in (before, shared.double().at(shared.largest), shared.extract(shared.largest)):
        assert net[1].shift.dtype is torch.float64 and net[1].shift.tolist() == torch.linspace(0, 1, 5).tolist()
    assert shared.at(shared.smallest)[1].shift.dtype is torch.float64


def test_gates_are_cut_one_by_one():
    space = Space(describe(Only)(nn.LSTM(choose("hidden", 2, 5), batch_first=True)))
    shared = made(space, torch.zeros(1, 4, 3))
    large, small = (shared.extract({"hidden": hidden}).inner for hidden in (5, 2))
    rows = [0, 1, 5, 6, 10, 11, 15, 16]
    assert torch.equal(small.weight_ih_l0, large.weight_ih_l0[rows])
    assert torch.equal(small.weight_hh_l0, large.weight_hh_l0[rows][:, :2])
    assert torch.equal(small.bias_ih_l0, large.bias_ih_l0[rows])
    for layer, name in ((nn.GRUCell, "weight_hh"), (nn.GRU, "weight_hh_l0")):
        cells = made(Space(layer(choose("hidden", 2, 5))), torch.zeros(1, 3))
        large, small = (getattr(cells.extract({"hidden": hidden}), name) for hidden in (5, 2))
        assert torch.equal(small, large[[0, 1, 5, 6, 10, 11]][:, :2])


def test_queries_keys_and_values_are_cut_one_by_one():
    space = Space([nn.Linear(choose("width", 4, 8)), describe(Attend)(2)])
    shared = made(space, torch.zeros(1, 5, 3))
    large, small = (shared.extract({"width": width})[1].inner for width in (8, 4))
    rows = [*range(4), *range(8, 12), *range(16, 20)]
    assert torch.equal(small.in_proj_weight, large.in_proj_weight[rows][:, :4])
    assert torch.equal(small.out_proj.weight, large.out_proj.weight[:4, :4])


def test_a_shallower_network_has_the_first_blocks_of_the_deeper_one():
    space = Space(repeat(choose("depth", 2, 3, 4), lambda i: nn.Linear(5)))
    shared = made(space, torch.zeros(1, 5))
    deep = shared.extract({"depth": 4})
    for depth in (2, 3):
        net = shared.extract({"depth": depth})
        assert len(net) == depth
        assert all(torch.equal(net[i].weight, deep[i].weight) for i in range(depth))
    weights = [address(shared.at({"depth": 4})[i].weight) for i in range(4)]
    assert len(set(weights)) == 4
    assert [address(part.weight) for part in shared.at({"depth": 2})] == weights[:2]


def test_one_part_reached_through_several_decisions_is_one_and_labelled_options_are_apart():
    space = Space(VISION().space("darts"))
    shared = made(space, VISION().example()[0])
    genotype = {**shared.largest, "normal.3": "0,1", "normal.0-3": "sep3x3", "normal.1-3": "sep3x3"}
    one = space.fix(genotype)
    two = space.fix({**genotype, "normal.3": "0,2", "normal.2-3": "sep3x3"})

    def edges(labels):
        cell = shared.at(labels)[2].cells[0]
        return {edge: {address(tensor) for tensor in views(op).values()}
                for edge, op in zip(cell.edges, cell.ops, strict=True)}

    assert edges(one)[0, 3] == edges(two)[0, 3] != set()
    assert not edges(one)[0, 3] & edges(two)[2, 3]
    other = space.fix({**genotype, "normal.0-3": "sep5x5"})
    assert not edges(one)[0, 3] & edges(other)[0, 3]
    equal = Space(choose("op", a=nn.Linear(4), b=nn.Linear(4)))
    twins = made(equal, torch.zeros(1, 4))
    assert address(twins.at({"op": "a"}).weight) != address(twins.at({"op": "b"}).weight)


# --- what cannot be

def test_a_wrong_genotype_is_refused_as_everywhere():
    shared = made(zoo(), words())
    for genotype, message in (({}, "lacks 'width'"), ({**shared.largest, "width": 9}, "no option 9; legal: 8, 16"),
                              ({**shared.largest, "kernel": 4}, "no option 4")):
        with pytest.raises(UsageError, match=message):
            shared.at(genotype)


ODD = {
    "nothing": lambda: [], "no weights": lambda: nn.ReLU(), "no part": lambda: 3, "a number": lambda: choose("a", 1, 2),
    "none": lambda: None, "text": lambda: "nn.Linear", "map": lambda: {"a": nn.Linear(3)},
    "not for this input": lambda: nn.Conv2d(8, 9), "repeat none": lambda: repeat(0, lambda i: nn.Linear(3)),
    "one option": lambda: nn.Linear(choose("a", 3)), "lazy": lambda: nn.LazyLinear(3),
    "no module": lambda: describe(str)(), "edge alone": lambda: nn.Edge(0, nn.Linear(3)),
    "zero": lambda: nn.Zero(), "recurrent": lambda: nn.GRU(choose("a", 3, 4)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_spaces_are_judged_and_never_raise(name):
    for root in (ODD[name](), [ODD[name](), nn.Linear(2)]):
        space = Space(root)
        for example in ((torch.zeros(2, 3),), None):
            ok, because = lowering.supports(space, example)
            assert isinstance(ok, bool) and isinstance(because, str) and because
            if ok:
                shared = Elastic(space, example)
                said_by = [tree_leaves(each(shared.largest).eval()(*example)) for each in (shared.at, shared.extract)]
                assert said_by[0] and all(map(torch.equal, *said_by))
    assert lowering.supports(Space(ODD["one option"]()), (torch.zeros(2, 3),))[0]


def test_what_supports_says_of_the_weights_is_so():
    space, x = Space([nn.Linear(choose("width", 4, 8)), nn.ReLU(), nn.Linear(3)]), torch.zeros(2, 7)
    ok, because = lowering.supports(space, (x,))
    assert ok and because == ("one set of 91 weights, 1 times the largest network's; 2 of 2 parts are sliced, "
                              "the others are paths")
    assert Elastic(space, x).size == 91 == 8 * 7 + 8 + 8 * 3 + 3
    with pytest.raises((BuildError, UsageError)):
        Elastic(Space(nn.Conv2d(8, 9)), torch.zeros(1, 3, 5, 5))
