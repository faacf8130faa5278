"""Descriptions build what the same calls of torch build; blocks and cells are held against torch written by hand."""

import inspect
import random
from itertools import pairwise, product

import pytest
import torch
from torch import nn as tnn

from archfab import CHANNELS, Space, UsageError, choose, describe, nn
from archfab.hardware.workload import record_genotype
from archfab.lowering.concrete import BuildError, build


def made(description, *inputs, seed=0, **genotype):
    """The network of a description for inputs of these shapes (or for these tensors), from a seed."""
    torch.manual_seed(seed)
    example = tuple(torch.zeros(*x) if isinstance(x, tuple) else x for x in inputs)
    return build(Space(description), genotype, example)


def by_hand(make, seed=0):
    torch.manual_seed(seed)
    return make()


def params(module):
    return sum(p.numel() for p in module.parameters())


def assert_same(net, hand, *inputs):
    """Equal weights in the same order, and equal outputs in training and in evaluation."""
    for one, other in ((net.parameters(), hand.parameters()), (net.buffers(), hand.buffers())):
        one, other = list(one), list(other)
        assert len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    for mode in (True, False):
        outputs = []
        for module in (net, hand):
            torch.manual_seed(7)        # dropout
            outputs.append(torch.utils._pytree.tree_leaves(module.train(mode)(*inputs)))
        assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


# --- every class of torch.nn

CLASSES = sorted(name for name in dir(tnn) if inspect.isclass(getattr(tnn, name))
                 and issubclass(getattr(tnn, name), tnn.Module) and name != "Module")


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_of_torch_nn_is_described_under_its_own_name(name):
    described = getattr(nn, name)
    assert described.target == f"torch.nn:{name}" and described.__doc__ == getattr(tnn, name).__doc__
    assert nn.torch_names() == CLASSES and len(CLASSES) > 140


def says_its_parameters(name):
    return all(p.kind is not p.VAR_KEYWORD for p in inspect.signature(getattr(tnn, name)).parameters.values())


SAYING = [name for name in CLASSES if says_its_parameters(name)]     # the others have none, or are recurrent
assert len(SAYING) > 140


@pytest.mark.parametrize("name", SAYING)
def test_every_class_takes_the_arguments_that_torch_takes_but_for_the_input_sizes(name):
    """What torch says about a wrong argument is said where it is written, and nothing legal is refused."""
    from archfab.space.descriptions import INFERRED
    signature = inspect.signature(getattr(tnn, name))
    needed = {p.name: 1 for p in signature.parameters.values()
              if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in INFERRED}
    assert getattr(nn, name)(**needed).kwargs == needed
    with pytest.raises(UsageError, match=rf"torch.nn:{name} takes .*no_such"):
        getattr(nn, name)(**needed, no_such=1)
    for left_out in needed:
        with pytest.raises(UsageError, match=left_out):
            getattr(nn, name)(**{key: 1 for key in needed if key != left_out})


@pytest.mark.parametrize(("name", "message"), [
    ("Conv2D", r"no 'Conv2D'.*did you mean nn\.Conv2d\?"), ("LayerNrom", r"did you mean nn\.LayerNorm\?"),
    ("MBconv", r"did you mean nn\.MBConv\?"), ("Classifer", r"did you mean nn\.Classifier\?"),
    ("functional_", "no 'functional_'"), ("Zzzzz", "neither a class of torch.nn nor a block of ours$")])
def test_a_misspelt_part_is_an_attribute_error_with_a_guess(name, message):
    with pytest.raises(AttributeError, match=message):
        getattr(nn, name)


@pytest.mark.parametrize("name", ["Module", "Parameter", "init", "_reduction"])
def test_what_is_no_part_is_no_attribute(name):
    assert not hasattr(nn, name)


# --- wrong arguments

@pytest.mark.parametrize(("write", "message"), [
    (lambda: nn.Conv2d(16), r"Conv2d takes \(out_channels, kernel_.*missing.*'kernel_size'; in_channels is left out"),
    (lambda: nn.Conv2d(16, 3, kernal=3), "unexpected keyword argument 'kernal'"),
    (lambda: nn.Conv2d(3, 16, 3, 1, 0, 1, 1, True, "zeros", None, None), "too many positional"),
    (lambda: nn.Linear(), r"missing.*'out_features'; in_features is left out"),
    (lambda: nn.Linear(8, 16, 32, 64, 5), "too many positional"),
    (lambda: nn.Linear(8, out_features=8), "multiple values.*'out_features'"),
    (lambda: nn.ReLU(3, 4), "too many positional"),
    (lambda: nn.GroupNorm(), "missing.*'num_groups'"),
    (lambda: nn.GRU(), "missing.*'hidden_size'; input_size is left out"),
    (lambda: nn.GRU(8, nonlinearity="relu"), "unexpected keyword argument 'nonlinearity'"),
    (lambda: nn.LSTM(8, hidden=3), "unexpected keyword argument 'hidden'")])
def test_wrong_arguments_are_refused_where_they_are_written(write, message):
    with pytest.raises(UsageError, match=message):
        write()


# --- inferred sizes, class by class

CASES = {
    "Linear": ((5,), {}, (7, 5), {}, (2, 7)),
    "Conv1d": ((5, 3), {"padding": 1}, (6, 5, 3), {"padding": 1}, (2, 6, 9)),
    "Conv2d": ((4, 3, 2), {"groups": 2, "bias": False}, (6, 4, 3, 2), {"groups": 2, "bias": False}, (2, 6, 9, 8)),
    "Conv3d": ((4, 2), {}, (6, 4, 2), {}, (2, 6, 4, 4, 4)),
    "ConvTranspose1d": ((4, 3), {}, (6, 4, 3), {}, (2, 6, 5)),
    "ConvTranspose2d": ((4, 3, 2), {"output_padding": 1}, (6, 4, 3, 2), {"output_padding": 1}, (2, 6, 5, 5)),
    "ConvTranspose3d": ((2, 2), {}, (6, 2, 2), {}, (1, 6, 3, 3, 3)),
    "BatchNorm1d": ((), {}, (6,), {}, (4, 6)),
    "BatchNorm2d": ((1e-3,), {"affine": True}, (6, 1e-3), {}, (2, 6, 5, 5)),
    "BatchNorm3d": ((), {}, (6,), {}, (2, 6, 2, 2, 2)),
    "InstanceNorm1d": ((), {"affine": True}, (6,), {"affine": True}, (2, 6, 5)),
    "InstanceNorm2d": ((), {"affine": True}, (6,), {"affine": True}, (2, 6, 5, 5)),
    "InstanceNorm3d": ((), {}, (6,), {}, (2, 6, 2, 2, 2)),
    "GroupNorm": ((3,), {}, (3, 6), {}, (2, 6, 5)),
    "LayerNorm": ((), {}, (7,), {}, (2, 4, 7)),
    "RMSNorm": ((1e-5,), {}, (7, 1e-5), {}, (2, 4, 7)),
    "PReLU": ((6,), {}, (6,), {}, (2, 6, 3)),
    "Bilinear": ((7, 5, 3), {}, (7, 5, 3), {}, None),
    "Flatten": ((), {}, (), {}, (2, 3, 4)),
    "Unflatten": ((1, (2, 3)), {}, (1, (2, 3)), {}, (4, 6, 2)),
    "MaxPool1d": ((2,), {}, (2,), {}, (2, 3, 9)),
    "MaxPool2d": ((3, 2, 1), {}, (3, 2, 1), {}, (2, 3, 9, 9)),
    "MaxPool3d": ((2,), {}, (2,), {}, (1, 3, 4, 4, 4)),
    "AvgPool1d": ((2,), {}, (2,), {}, (2, 3, 9)),
    "AvgPool2d": ((2,), {"ceil_mode": True}, (2,), {"ceil_mode": True}, (2, 3, 9, 9)),
    "AdaptiveAvgPool2d": ((2,), {}, (2,), {}, (2, 3, 9, 9)),
    "AdaptiveMaxPool1d": ((3,), {}, (3,), {}, (2, 3, 9)),
    "LPPool2d": ((2, 3), {}, (2, 3), {}, (2, 3, 9, 9)),
    "Dropout": ((0.5,), {}, (0.5,), {}, (4, 9)),
    "GELU": ((), {"approximate": "tanh"}, (), {"approximate": "tanh"}, (4, 9)),
    "Softmax": ((-1,), {}, (-1,), {}, (4, 9)),
    "ZeroPad2d": (((1, 2, 0, 1),), {}, ((1, 2, 0, 1),), {}, (1, 2, 3, 3)),
    "PixelShuffle": ((2,), {}, (2,), {}, (1, 8, 3, 3)),
    "Upsample": ((), {"scale_factor": 2}, (), {"scale_factor": 2}, (1, 2, 3, 3)),
    "LocalResponseNorm": ((2,), {}, (2,), {}, (1, 4, 3, 3)),
    "ChannelShuffle": ((2,), {}, (2,), {}, (1, 4, 3, 3)),
    "GRUCell": ((4,), {}, (7, 4), {}, (2, 7)),
    "LSTMCell": ((4,), {"bias": False}, (7, 4), {"bias": False}, (2, 7)),
    "GRU": ((4, 2), {"batch_first": True}, (7, 4, 2), {"batch_first": True}, (2, 5, 7)),
    "LSTM": ((4,), {"bidirectional": True, "proj_size": 2}, (7, 4), {"bidirectional": True, "proj_size": 2}, (5, 2, 7)),
    "RNN": ((4,), {}, (7, 4), {}, (5, 2, 7)),
    "TransformerEncoderLayer": ((2, 16), {"batch_first": True}, (8, 2, 16), {"batch_first": True}, (2, 5, 8)),
}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[-1]])
def test_a_class_of_torch_with_its_input_size_left_out_is_that_class(name):
    args, kwargs, full_args, full_kwargs, shape = CASES[name]
    x = normal(*shape)
    net = made(getattr(nn, name)(*args, **kwargs), x)
    hand = by_hand(lambda: getattr(tnn, name)(*full_args, **full_kwargs))
    assert type(net) is type(hand) and repr(net) == repr(hand)
    assert list(net.state_dict()) == list(hand.state_dict())
    assert_same(net, hand, x)


def test_parts_of_several_inputs_take_them_as_torch_does():
    x, y = normal(4, 7), normal(4, 5)
    assert_same(made(nn.Bilinear(7, 5, 3), x, y), by_hand(lambda: tnn.Bilinear(7, 5, 3)), x, y)
    q = normal(2, 5, 8)
    net = made(nn.MultiheadAttention(2, embed_dim=8, batch_first=True), q, q, q)
    assert_same(net, by_hand(lambda: tnn.MultiheadAttention(8, 2, batch_first=True)), q, q, q)


def test_embedding_of_whole_numbers_and_what_follows_it():
    x = torch.tensor([[1, 2, 3], [9, 0, 4]])
    net = made(nn.Sequential(nn.Embedding(10, 6), nn.Linear(3)), x)
    assert_same(net, by_hand(lambda: tnn.Sequential(tnn.Embedding(10, 6), tnn.Linear(6, 3))), x)


def test_a_described_layer_as_the_argument_of_another():
    x = normal(2, 5, 8)
    layer = nn.TransformerEncoderLayer(2, 16, batch_first=True)
    net = made(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), x)
    hand = by_hand(lambda: tnn.TransformerEncoder(tnn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2,
                                                  enable_nested_tensor=False))
    assert_same(net, hand, x)


def test_sizes_are_handed_on_from_part_to_part():
    x = normal(2, 3, 15, 11)
    net = made([nn.Conv2d(8, 3, stride=2), nn.BatchNorm2d(), [nn.ReLU(), nn.MaxPool2d(2)], nn.Flatten(), nn.Linear(9),
                nn.LayerNorm(), nn.Linear(4)], x)
    hand = by_hand(lambda: tnn.Sequential(
        tnn.Conv2d(3, 8, 3, stride=2), tnn.BatchNorm2d(8), tnn.ReLU(), tnn.MaxPool2d(2), tnn.Flatten(),
        tnn.Linear(8 * 3 * 2, 9), tnn.LayerNorm(9), tnn.Linear(9, 4)))
    assert_same(net, hand, x)


def test_an_input_size_given_by_its_name_overrules():
    assert made(nn.Conv2d(8, 3, in_channels=3), (1, 3, 8, 8)).in_channels == 3
    assert made(nn.LayerNorm(normalized_shape=[4, 5]), (2, 4, 5)).normalized_shape == (4, 5)
    assert made(nn.BatchNorm2d(num_features=choose("c", 3, 5)), (2, 3, 4, 4), c=3).num_features == 3
    with pytest.raises(BuildError, match=r"Conv2d.*2x5x8x8"):
        made(nn.Conv2d(16, 3, in_channels=4), (2, 5, 8, 8))


def test_the_channels_of_the_input_are_a_number_to_calculate_with():
    net = made(nn.Conv2d(CHANNELS * 2 + choose("more", 1, 2), 3, groups=CHANNELS // 6), (1, 6, 8, 8), more=2)
    assert (net.in_channels, net.out_channels, net.groups) == (6, 14, 1)


def test_rnn_takes_its_nonlinearity():
    x = normal(5, 2, 7)
    assert_same(made(nn.RNN(4, nonlinearity="relu"), x), by_hand(lambda: tnn.RNN(7, 4, nonlinearity="relu")), x)


def test_rnn_takes_its_arguments_in_torchs_order():
    x = normal(5, 2, 7)
    assert_same(made(nn.RNN(4, 1, "relu"), x), by_hand(lambda: tnn.RNN(7, 4, 1, "relu")), x)


# --- a user's own class and function

class Gate(tnn.Module):
    """A user's class whose input size is inferred."""

    def __init__(self, in_channels, factor, *, bias=True):
        super().__init__()
        self.inner = tnn.Conv2d(in_channels, in_channels * factor, 1, bias=bias)

    def forward(self, x):
        return self.inner(x)


def two_layers(in_features, hidden, classes=3):
    return tnn.Sequential(tnn.Linear(in_features, hidden), tnn.Linear(hidden, classes))


def in_our_words(hidden):
    return nn.Sequential(nn.Linear(hidden), nn.Linear(2))


def several(in_channels, *kernels):
    return tnn.Sequential(*[tnn.Conv2d(in_channels, in_channels, k, padding=k // 2) for k in kernels])


def not_a_module(size):
    return [size]


def test_a_users_class_is_described_with_its_input_size_left_out():
    x = normal(2, 3, 4, 4)
    net = made(nn.Sequential(describe(Gate)(choose("factor", 2, 3), bias=False), nn.Conv2d(2, 1)), x, factor=3)
    hand = by_hand(lambda: tnn.Sequential(Gate(3, 3, bias=False), tnn.Conv2d(9, 2, 1)))
    assert_same(net, hand, x)


def test_a_users_function_is_described():
    x = normal(4, 6)
    net = made(nn.Sequential(describe(two_layers)(choose("hidden", 5, 9)), nn.Linear(2)), x, hidden=9)
    assert_same(net, by_hand(lambda: tnn.Sequential(two_layers(6, 9), tnn.Linear(3, 2))), x)


def test_a_function_may_return_a_description():
    x = normal(4, 6)
    net = made(describe(in_our_words)(choose("hidden", 5, 9)), x, hidden=5)
    assert_same(net, by_hand(lambda: tnn.Sequential(tnn.Linear(6, 5), tnn.Linear(5, 2))), x)


def test_wrong_arguments_of_a_users_class_are_refused_where_they_are_written():
    with pytest.raises(UsageError, match=r"Gate takes \(factor, bias\).*missing.*'factor'; in_channels is left out"):
        describe(Gate)()
    with pytest.raises(UsageError, match="unexpected keyword argument 'width'"):
        describe(Gate)(2, width=3)


def test_a_function_that_makes_no_module_is_an_error_that_says_so():
    with pytest.raises(BuildError, match="not_a_module returned list, not a torch module"):
        made(describe(not_a_module)(3), (1, 3))


def test_a_function_of_an_input_size_and_any_number_of_arguments():
    assert params(made(describe(several)(3, 5), (1, 4, 8, 8))) == params(several(4, 3, 5))


# --- blocks

def conv_norm_act(cin, cout, k=3, s=1, groups=1, act=tnn.ReLU):
    return [tnn.Conv2d(cin, cout, k, s, k // 2, groups=groups, bias=False), tnn.BatchNorm2d(cout),
            *([act()] if act else [])]


class Plus(tnn.Module):
    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


class Times(tnn.Module):
    def __init__(self, *gate):
        super().__init__()
        self.gate = tnn.Sequential(*gate)

    def forward(self, x):
        return x * self.gate(x)


def squeeze_excite(c, hidden):
    return Times(tnn.AdaptiveAvgPool2d(1), tnn.Conv2d(c, hidden, 1), tnn.ReLU(), tnn.Conv2d(hidden, c, 1),
                 tnn.Hardsigmoid())


def seq(*parts):
    return tnn.Sequential(*[part for each in parts for part in (each if isinstance(each, list) else [each])])


BLOCKS = {      # the block on 8 channels, the same by hand, its parameters by hand
    "conv": (lambda: nn.ConvNormAct(16, 5, 2), lambda: seq(conv_norm_act(8, 16, 5, 2)), 8 * 16 * 25 + 32),
    "conv of groups": (lambda: nn.ConvNormAct(16, 3, groups=4), lambda: seq(conv_norm_act(8, 16, groups=4)),
                       2 * 16 * 9 + 32),
    "conv without activation": (lambda: nn.ConvNormAct(4, 1, activation=None),
                                lambda: seq(conv_norm_act(8, 4, 1, act=None)), 32 + 8),
    "conv with another activation": (lambda: nn.ConvNormAct(4, 1, activation="SiLU"),
                                     lambda: seq(conv_norm_act(8, 4, 1, act=tnn.SiLU)), 32 + 8),
    "separable": (lambda: nn.SeparableConv(16, 5, 2),
                  lambda: seq(conv_norm_act(8, 8, 5, 2, groups=8), conv_norm_act(8, 16, 1)),
                  8 * 25 + 16 + 8 * 16 + 32),
    "mbconv": (lambda: nn.MBConv(8, 5, 6), lambda: Plus(
        seq(conv_norm_act(8, 48, 1), conv_norm_act(48, 48, 5, groups=48), conv_norm_act(48, 8, 1, act=None)),
        tnn.Identity()), 8 * 48 + 96 + 48 * 25 + 96 + 48 * 8 + 16),
    "mbconv to other channels": (lambda: nn.MBConv(12, 3, 2), lambda: seq(
        conv_norm_act(8, 16, 1), conv_norm_act(16, 16, 3, groups=16), conv_norm_act(16, 12, 1, act=None)),
        8 * 16 + 32 + 16 * 9 + 32 + 16 * 12 + 24),
    "mbconv of stride 2": (lambda: nn.MBConv(8, 3, 2, 2), lambda: seq(
        conv_norm_act(8, 16, 1), conv_norm_act(16, 16, 3, 2, groups=16), conv_norm_act(16, 8, 1, act=None)),
        8 * 16 + 32 + 16 * 9 + 32 + 16 * 8 + 16),
    "mbconv without expansion": (lambda: nn.MBConv(8, 3, 1), lambda: Plus(
        seq(conv_norm_act(8, 8, 3, groups=8), conv_norm_act(8, 8, 1, act=None)), tnn.Identity()),
        8 * 9 + 16 + 64 + 16),
    "mbconv with squeeze": (lambda: nn.MBConv(8, 3, 3, squeeze=4), lambda: Plus(seq(
        conv_norm_act(8, 24, 1), conv_norm_act(24, 24, 3, groups=24), squeeze_excite(24, 6),
        conv_norm_act(24, 8, 1, act=None)), tnn.Identity()),
        8 * 24 + 48 + 24 * 9 + 48 + (24 * 6 + 6 + 6 * 24 + 24) + 24 * 8 + 16),
    "residual": (lambda: nn.ResidualBlock(8), lambda: seq(Plus(
        seq(conv_norm_act(8, 8), conv_norm_act(8, 8, act=None)), tnn.Identity()), tnn.ReLU()), 2 * (8 * 8 * 9 + 16)),
    "residual with projection": (lambda: nn.ResidualBlock(16, 3, 2), lambda: seq(Plus(
        seq(conv_norm_act(8, 16, 3, 2), conv_norm_act(16, 16, act=None)),
        seq(conv_norm_act(8, 16, 1, 2, act=None))), tnn.ReLU()),
        8 * 16 * 9 + 32 + 16 * 16 * 9 + 32 + 8 * 16 + 32),
    "squeeze": (lambda: nn.SqueezeExcite(4), lambda: squeeze_excite(8, 2), 8 * 2 + 2 + 2 * 8 + 8),
    "squeeze to the least": (lambda: nn.SqueezeExcite(100), lambda: squeeze_excite(8, 1), 8 + 1 + 8 + 8),
    "classifier": (lambda: nn.Classifier(10), lambda: seq(tnn.AdaptiveAvgPool2d(1), tnn.Flatten(), tnn.Linear(8, 10)),
                   8 * 10 + 10),
    "classifier with dropout": (lambda: nn.Classifier(10, 0.5), lambda: seq(
        tnn.AdaptiveAvgPool2d(1), tnn.Flatten(), tnn.Dropout(0.5), tnn.Linear(8, 10)), 8 * 10 + 10),
    "residual of a part": (lambda: nn.Residual(nn.Conv2d(8, 1)), lambda: Plus(tnn.Conv2d(8, 8, 1), tnn.Identity()), 72),
    "residual that cannot be": (lambda: nn.Residual(nn.Conv2d(4, 1)), lambda: tnn.Conv2d(8, 4, 1), 36),
}


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("size", [8, 15, 7])
def test_a_block_is_what_torch_by_hand_is(name, size):
    block, hand, count = BLOCKS[name]
    x = normal(2, 8, size, size)
    net = made(block(), x)
    assert params(net) == count
    assert_same(net, by_hand(hand), x)


def test_decisions_inside_blocks_are_taken():
    width, kernel, expand = choose("width", 8, 12), choose("kernel", 3, 5), choose("expand", 1, 4)
    net = made(nn.MBConv(width, kernel, expand, squeeze=2), (1, 8, 9, 9), width=12, kernel=5, expand=4)
    assert params(net) == 8 * 32 + 64 + 32 * 25 + 64 + (32 * 16 + 16 + 16 * 32 + 32) + 32 * 12 + 24
    net = made(nn.Sequential(nn.SqueezeExcite(choose("r", 2, 4)), nn.Conv2d(width * 2, 1, bias=False)), (1, 8, 9, 9),
               r=2, width=8)
    assert params(net) == 8 * 4 + 4 + 4 * 8 + 8 + 8 * 16


# --- cells

EDGES = [(i, j) for j in range(1, 4) for i in range(j)]
OPS = ("none", "skip", "conv1x1", "conv3x3", "pool")


def labels_of(ops):
    return {f"cell.{i}-{j}": op for (i, j), op in zip(EDGES, ops, strict=True)}


def on_a_path(ops):
    """The edges on some path from node 0 to node 3: the paths are few enough to be written down."""
    taken = dict(zip(EDGES, ops, strict=True))
    paths = [list(pairwise(path)) for path in ((0, 3), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3))]
    alive = [path for path in paths if all(taken[edge] != "none" for edge in path)]
    return {edge: taken[edge] for edge in EDGES if any(edge in path for path in alive)}


def cell_by_definition(ops, x, modules):
    """NAS-Bench-201: each node is the sum of its edges, absent ones left out; no node at all is zero."""
    nodes = {0: x}
    for (i, j), module in zip(on_a_path(ops), modules, strict=True):
        nodes[j] = nodes[j] + module(nodes[i]) if j in nodes else module(nodes[i])
    return nodes.get(3, torch.zeros_like(x))


def by_hand_op(op, c):
    if op in ("skip", "pool"):
        return tnn.Identity() if op == "skip" else tnn.AvgPool2d(3, 1, 1, count_include_pad=False)
    k = int(op[-1])
    return tnn.Sequential(tnn.ReLU(), tnn.Conv2d(c, c, k, padding=k // 2, bias=False), tnn.BatchNorm2d(c))


@pytest.mark.parametrize("seed", range(30))
def test_a_nasbench201_cell_is_the_sum_over_its_edges(seed):
    source = random.Random(seed)
    ops = [source.choice(OPS if seed % 2 else OPS[:1] + OPS) for _ in EDGES]
    x = normal(2, 4, 7, 7)
    net = made(nn.nasbench201_cell(), x, **labels_of(ops))
    modules = by_hand(lambda: [by_hand_op(op, 4) for op in on_a_path(ops).values()])
    weights = {"none": 0, "skip": 0, "pool": 0, "conv1x1": 16 + 8, "conv3x3": 144 + 8}
    assert params(net) == sum(weights[op] for op in on_a_path(ops).values())
    assert torch.equal(net(x), cell_by_definition(ops, x, modules))


def test_every_cell_of_skips_multiplies_by_its_number_of_paths():
    x = normal(1, 2, 3, 3)
    for ops in product(("none", "skip"), repeat=6):
        a, b, c, d, e, f = (op == "skip" for op in ops)         # 0-1, 0-2, 1-2, 0-3, 1-3, 2-3
        number = d + a * e + (b + a * c) * f
        assert torch.allclose(made(nn.nasbench201_cell(), x, **labels_of(ops))(x), number * x, atol=1e-6)


def test_a_cell_of_nothing_gives_zeros_and_has_no_parameters():
    x = normal(2, 4, 7, 7).requires_grad_()
    net = made(nn.nasbench201_cell(), x, **labels_of(["none"] * 6))
    assert params(net) == 0 and torch.equal(net(x), torch.zeros_like(x))


def test_dead_edges_are_left_out():
    to_nowhere, from_nowhere = (
        made(nn.nasbench201_cell(), (1, 4, 7, 7), **labels_of(ops.split()))
        for ops in ("conv3x3 none none skip none none", "none none conv3x3 skip conv3x3 conv3x3"))
    assert params(to_nowhere) == params(from_nowhere) == 0
    x = normal(1, 4, 7, 7)
    assert torch.equal(to_nowhere(x), x) and torch.equal(from_nowhere(x), x)


@pytest.mark.parametrize(("op", "count", "macs"), [("conv3x3", 1_531_546, 220.12e6), ("skip", 73_306, 7.78e6)])
def test_the_networks_of_nas_bench_201_have_their_published_size(op, count, macs):
    """Dong and Yang, ICLR 2020: the largest and the all-skip network of CIFAR-10, as its files list them."""
    from archfab.tasks.vision.spaces import cell
    space = Space(cell(32, 10, 16, 5))
    workload = record_genotype(space, dict.fromkeys(space.labels, op), (torch.zeros(1, 3, 32, 32),))
    assert workload.params == count and workload.macs == pytest.approx(macs, rel=1e-3)


def darts(genotype, width=4, reduce=False, size=8, channels=6):
    name = "reduce" if reduce else "normal"
    net = nn.CellChain(nn.darts_cell(width, name, reduce))
    labels = {f"{name}.{j}": "0,1" for j in range(2, 6)}
    labels |= {f"{name}.{i}-{j}": genotype for j in range(2, 6) for i in (0, 1)}
    return made(net, (2, channels, size, size), **labels)


PREPARE = 2 * (6 * 4 + 8)       # two inputs of 6 channels, each by a 1x1 convolution and a norm to 4
DARTS_OPS = {                   # parameters of one operation on 4 channels, of stride 1
    "skip": 0, "max_pool": 0, "avg_pool": 0,
    "sep3x3": 2 * (4 * 9 + 4 * 4 + 8), "sep5x5": 2 * (4 * 25 + 4 * 4 + 8),
    "dil3x3": 4 * 9 + 4 * 4 + 8, "dil5x5": 4 * 25 + 4 * 4 + 8}


@pytest.mark.parametrize("op", DARTS_OPS)
@pytest.mark.parametrize("reduce", [False, True])
def test_a_darts_cell_has_the_parameters_of_its_operations(op, reduce):
    count = DARTS_OPS[op]
    if reduce and op == "skip":
        count = 4 * 4 + 8       # factorised reduction: two 1x1 convolutions of half the channels, and a norm
    assert params(darts(op, reduce=reduce)) == PREPARE + 8 * count


@pytest.mark.parametrize("reduce", [False, True])
@pytest.mark.parametrize("op", DARTS_OPS)
@pytest.mark.parametrize("size", [15, 7, 1])
def test_a_darts_cell_gives_its_nodes_side_by_side_at_odd_sizes_too(op, reduce, size):
    y = darts(op, reduce=reduce, size=size)(normal(2, 6, size, size))
    assert y.shape == (2, 16, (size + 1) // 2 if reduce else size, (size + 1) // 2 if reduce else size)


def test_a_normal_darts_cell_of_skips_by_definition():
    x = normal(2, 6, 5, 5)
    net = darts("skip", size=5).eval()
    hand = by_hand(lambda: [tnn.Sequential(tnn.ReLU(), tnn.Conv2d(6, 4, 1, bias=False), tnn.BatchNorm2d(4)).eval()
                            for _ in range(2)])
    node = hand[0](x) + hand[1](x)
    assert torch.allclose(net(x), torch.cat([node] * 4, 1), atol=1e-6)


@pytest.mark.parametrize("size", [15, 7])
def test_a_chain_of_normal_and_reduction_cells_feeds_each_by_the_two_before(size):
    space = Space(nn.CellChain(nn.darts_cell(4, "normal"), nn.darts_cell(8, "reduce", reduce=True),
                               nn.darts_cell(8, "normal"), nn.darts_cell(8, "normal")))
    genotype = space.sample(random.Random(size))
    net = build(space, genotype, (torch.zeros(2, 3, size, size),))
    x = normal(2, 3, size, size)
    states = [x, x]
    for cell in net.cells:
        states.append(cell(states[-2], states[-1]))
    half = (size + 1) // 2
    assert [tuple(y.shape) for y in states[2:]] == [(2, 16, size, size)] + [(2, 32, half, half)] * 3
    assert torch.equal(net(x), states[-1])


class HalvedByHand(tnn.Module):
    """FactorizedReduce of the authors' code, which is for even sizes."""

    def __init__(self, c):
        super().__init__()
        self.one, self.other = (tnn.Conv2d(c, c // 2, 1, stride=2, bias=False) for _ in range(2))
        self.norm = tnn.BatchNorm2d(c)

    def forward(self, x):
        x = torch.relu(x)
        return self.norm(torch.cat([self.one(x), self.other(x[:, :, 1:, 1:])], 1))


def depthwise(c, k, stride=1, dilation=1):
    return [tnn.ReLU(), tnn.Conv2d(c, c, k, stride, dilation * (k // 2), dilation, groups=c, bias=False),
            tnn.Conv2d(c, c, 1, bias=False), tnn.BatchNorm2d(c)]


def darts_op_by_hand(op, stride, c=4):
    """operations.py of the authors' code."""
    if op == "skip":
        return tnn.Identity() if stride == 1 else HalvedByHand(c)
    if op.endswith("pool"):
        pool = tnn.MaxPool2d(3, stride, 1) if op == "max_pool" else tnn.AvgPool2d(3, stride, 1, count_include_pad=False)
        return tnn.Sequential(pool, tnn.BatchNorm2d(c, affine=False))
    k = int(op[-1])
    if op.startswith("dil"):
        return tnn.Sequential(*depthwise(c, k, stride, 2))
    return tnn.Sequential(*depthwise(c, k, stride), *depthwise(c, k))


@pytest.mark.parametrize("op", DARTS_OPS)
@pytest.mark.parametrize("stride", [1, 2])
def test_an_operation_of_darts_is_what_its_authors_wrote(op, stride):
    from archfab.nn.cells import darts_operations
    x = normal(2, 4, 8, 8)
    assert_same(made(darts_operations(stride)[op], x), by_hand(lambda: darts_op_by_hand(op, stride)), x)


DARTS_V2 = {       # Liu et al., ICLR 2019, figures 4 and 5: the second-order cells of CIFAR-10
    "normal": [("sep3x3", 0), ("sep3x3", 1), ("sep3x3", 0), ("sep3x3", 1), ("sep3x3", 1), ("skip", 0), ("skip", 0),
               ("dil3x3", 2)],
    "reduce": [("max_pool", 0), ("max_pool", 1), ("skip", 2), ("max_pool", 1), ("max_pool", 0), ("skip", 2),
               ("skip", 2), ("max_pool", 1)]}


@pytest.mark.slow
def test_the_network_of_darts_has_its_published_size():
    """3.3 million parameters in the paper; 3.349342 in the log of the authors' code (36 channels, 20 cells)."""
    from archfab.tasks.vision.spaces import darts as darts_space
    space, genotype = Space(darts_space(32, 10, 36, 6)), {}
    for name, edges in DARTS_V2.items():
        for j in range(4):
            two = sorted(edges[2 * j:2 * j + 2], key=lambda edge: edge[1])
            genotype[f"{name}.{j + 2}"] = f"{two[0][1]},{two[1][1]}"
            genotype |= {f"{name}.{i}-{j + 2}": op for op, i in two}
    assert record_genotype(space, genotype, (torch.zeros(1, 3, 32, 32),)).params == 3_349_342


# --- cells that are declared wrongly

SKIP = nn.Identity


def test_edges_that_do_not_fit_each_other_are_refused_when_the_network_is_built():
    with pytest.raises(BuildError, match=r"8.*4"):
        made(nn.Cell([[nn.Edge(0, nn.Conv2d(8, 1)), nn.Edge(0, nn.Conv2d(4, 1))]]), (1, 3, 4, 4))


@pytest.mark.parametrize("source", [3, 1, -1])
def test_an_edge_from_a_node_that_is_not_there_yet_is_refused(source):
    with pytest.raises((UsageError, BuildError), match=str(source)):
        made(nn.Cell([[nn.Edge(0, SKIP()), nn.Edge(source, SKIP())]]), (1, 3, 4, 4))


def test_the_source_of_an_edge_may_be_a_choice():
    x = normal(1, 3, 4, 4)
    description = nn.Cell([[nn.Edge(0, nn.ReLU())], [nn.Edge(choose("source", 0, 1), SKIP())]])
    assert torch.equal(made(description, x, source=0)(x), x)
    assert torch.equal(made(description, x, source=1)(x), x.relu())


@pytest.mark.parametrize("description", [lambda: nn.Cell([[nn.Edge(1, SKIP())]], inputs=2),
                                         lambda: nn.CellChain(nn.Cell([[nn.Edge(0, SKIP())]], inputs=1))])
def test_a_cell_of_another_number_of_inputs_than_it_gets_is_refused(description):
    with pytest.raises((UsageError, BuildError), match="input"):
        made(description(), (1, 3, 4, 4))


def test_a_shortcut_of_another_shape_than_the_body_is_a_build_error():
    with pytest.raises(BuildError, match=r"8.*4"):
        made(nn.Residual(nn.Conv2d(8, 1), nn.Conv2d(4, 1)), (1, 3, 4, 4))


@pytest.mark.parametrize("description", [lambda: nn.SqueezeExcite(0), lambda: nn.Conv2d(8 // choose("a", 0, 1), 1)])
def test_a_division_by_zero_is_a_build_error(description):
    made_of = Space(description())
    with pytest.raises((UsageError, BuildError)):
        build(made_of, made_of.fix({}), (torch.zeros(1, 3, 4, 4),))
