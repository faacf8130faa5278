"""Transformers on images: blocks against torch and against formulas, the space `attention` against counts by hand."""

import math
import random

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn as tnn
from torch.nn import functional as F

from archfab import Space, choose, nn, registry
from archfab.core import Budget
from archfab.deliver import check_onnx, export_onnx
from archfab.evaluate import load_device
from archfab.hardware.workload import record, record_genotype
from archfab.learning import seed_torch
from archfab.lowering.concrete import Builder, BuildError, build, shapes_of
from archfab.tasks.vision.spaces import patch

VISION = registry.load("tasks", "vision")
TOKENS, CLASSES = 16, 10     # of the digits: 8x8 pixels, patches of 2x2


@pytest.fixture(scope="module")
def task():
    return VISION()


@pytest.fixture(scope="module")
def space(task):
    return Space(task.space("attention"))


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(description, x, **genotype):
    torch.manual_seed(0)
    return build(Space(description), genotype, (x,))


def params(module):
    return sum(p.numel() for p in module.parameters())


def genotype_of(depth, width=48, heads=3, ratio=2):
    found = {"width": width, "depth": depth}
    for i in range(1, depth + 1):
        found |= {f"block{i}.heads": heads, f"block{i}.ratio": ratio}
    return found


# --- attention

def attention_by_hand(net, x, heads):
    """softmax(q k' / sqrt(head size)) v, head by head."""
    q, k, v = net.query(x), net.key(x), net.value(x)
    size = q.shape[-1] // heads
    found = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        weights = (q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(size)).softmax(-1)
        found.append(weights @ v[..., part])
    return net.out(torch.cat(found, -1))


@pytest.mark.parametrize(("heads", "size"), [(1, 24), (3, 8), (4, 6)])
def test_attention_is_torchs_attention_with_the_same_weights(heads, size):
    x = normal(2, 7, 24)
    net, theirs = made(nn.Attention(heads, size), x), tnn.MultiheadAttention(24, heads, batch_first=True)
    with torch.no_grad():
        layers = net.query, net.key, net.value
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in layers]))
        theirs.out_proj.load_state_dict(net.out.state_dict())
    assert torch.allclose(net(x), theirs(x, x, x)[0], rtol=0, atol=1e-6)
    assert params(net) == params(theirs)


@pytest.mark.parametrize(("heads", "size"), [(2, 5), (3, 16), (1, 1)])
def test_heads_have_any_size_whatever_the_width_of_the_tokens(heads, size):
    x, inner = normal(2, 7, 10), heads * size
    net = made(nn.Attention(heads, size), x)
    assert net(x).shape == x.shape
    assert torch.allclose(net(x), attention_by_hand(net, x, heads), rtol=0, atol=1e-6)
    assert params(net) == 3 * (10 * inner + inner) + inner * 10 + 10


def test_the_first_heads_are_the_leading_features_of_each_layer():
    """So a network of two heads stands in one of three, which is what networks that share weights need."""
    x = normal(2, 7, 10)
    large, small = made(nn.Attention(3, 4), x), made(nn.Attention(2, 4), x)
    with torch.no_grad():
        for name in ("query", "key", "value"):
            getattr(small, name).weight.copy_(getattr(large, name).weight[:8])
            getattr(small, name).bias.copy_(getattr(large, name).bias[:8])
        small.out.weight.copy_(large.out.weight[:, :8])
        small.out.bias.copy_(large.out.bias)
        large.out.weight[:, 8:] = 0
    assert torch.allclose(small(x), large(x), rtol=0, atol=1e-6)


def test_work_of_attention_equals_a_count_by_hand():
    x = normal(1, 7, 10)
    assert record(made(nn.Attention(3, 4), x), (x,)).macs == 4 * 7 * 10 * 12 + 2 * 7 * 7 * 12


# --- images as tokens, positions, blocks, the head

def test_a_token_is_a_linear_map_of_its_patch():
    x = normal(2, 3, 6, 8)
    net = made(nn.Patches(5, 2), x)
    patches = F.unfold(x, 2, stride=2).transpose(1, 2)          # [N, T, 3 * 2 * 2]
    assert torch.allclose(net(x), F.linear(patches, net.project.weight.flatten(1), net.project.bias), atol=1e-6)
    assert net(x).shape == (2, 12, 5)


@pytest.mark.parametrize(("height", "width", "size"), [(7, 5, 3), (15, 15, 2), (5, 9, 4), (3, 3, 7), (6, 7, 1)])
def test_sizes_that_do_not_divide_are_rounded_up_and_every_pixel_is_seen_once(height, width, size):
    x = normal(1, 2, height, width).requires_grad_()
    net = made(nn.Patches(4, size), x)
    with torch.no_grad():
        net.project.weight.fill_(1)
    y = net(x)
    assert y.shape == (1, math.ceil(height / size) * math.ceil(width / size), 4)
    y.sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 4))


def test_positions_are_added_and_trained():
    x = normal(3, 7, 10)
    net = made(nn.Positions(), x)
    before = net.positions.detach().clone()
    assert before.shape == (1, 7, 10) and torch.equal(net(x), x + before)
    net(x).square().sum().backward()
    assert torch.allclose(net.positions.grad, 2 * (x + before).sum(0, keepdim=True), atol=1e-5)
    torch.optim.SGD(net.parameters(), 0.1).step()
    assert torch.allclose(net.positions, before - 0.1 * net.positions.grad, atol=1e-6)


@pytest.mark.parametrize("deviation", [0.02, 0.5])
def test_positions_begin_with_the_deviation_that_was_asked_for(deviation):
    positions = made(nn.Positions(deviation), torch.zeros(1, 100, 100)).positions
    assert abs(positions.std() / deviation - 1) < 0.03 and abs(positions.mean()) < 0.03 * deviation


def test_a_block_equals_its_equations():
    x = normal(2, 7, 10)
    net = made(nn.AttentionBlock(3, 4, 2), x)
    (norm, attention), (norm2, mlp) = net[0].body, net[1].body
    with torch.no_grad():
        for part in (norm, norm2):
            part.weight.copy_(normal(10, seed=2))
            part.bias.copy_(normal(10, seed=3))
    normed = F.layer_norm(x, (10,), norm.weight, norm.bias)
    y = x + attention_by_hand(attention, normed, 3)
    hidden = F.gelu(F.layer_norm(y, (10,), norm2.weight, norm2.bias) @ mlp[0].weight.T + mlp[0].bias)
    assert torch.allclose(net(x), y + hidden @ mlp[2].weight.T + mlp[2].bias, atol=1e-5)
    assert hidden.shape == (2, 7, 20)


def test_a_block_does_not_see_the_order_of_tokens_and_positions_show_it():
    x, order = normal(2, 7, 10), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    block = made(nn.AttentionBlock(2, 4), x)
    assert torch.allclose(block(x[:, order]), block(x)[:, order], atol=1e-5)
    placed = made([nn.Positions(), nn.AttentionBlock(2, 4)], x)
    assert not torch.allclose(placed(x[:, order]), placed(x)[:, order], atol=1e-3)


def test_the_head_is_a_linear_layer_on_the_normalised_mean():
    x = normal(2, 7, 10)
    net = made(nn.TokenClassifier(4, dropout=0.5), x).eval()
    assert torch.allclose(net(x), net[-1](F.layer_norm(x.mean(1), (10,))), atol=1e-6)
    assert params(net) == 2 * 10 + 10 * 4 + 4 and any(isinstance(part, tnn.Dropout) for part in net)


# --- decisions

@pytest.mark.parametrize(("heads", "ratio"), [(1, 0.5), (3, 2)])
def test_heads_and_ratios_that_are_decided_give_the_right_sizes(heads, ratio):
    block = nn.AttentionBlock(choose("heads", 1, 3), choose("heads", 1, 3) * 2, choose("ratio", 0.5, 2))
    (_, attention), (_, mlp) = (part.body for part in made(block, normal(2, 7, 10), heads=heads, ratio=ratio))
    inner = heads * heads * 2
    assert attention.heads == heads and attention.query.weight.shape == (inner, 10)
    assert attention.out.weight.shape == (10, inner) and mlp[0].weight.shape == (10 * ratio, 10)


@pytest.mark.parametrize(("description", "shape", "message"), [
    ([nn.Identity(), nn.Attention(0)], (1, 7, 10), r"net\S*\[1\]\S*/AttentionModule: heads .* not 0"),
    (nn.AttentionBlock(2, choose("size", 0)), (1, 7, 10), "net.*/AttentionModule: head_size .* not 0"),
    (nn.Attention(1.5), (1, 7, 10), "net.*/AttentionModule: heads .* not 1.5"),
    (nn.Attention(True), (1, 7, 10), "net.*/AttentionModule: heads .* not True"),
    (nn.AttentionBlock(2, 4, 0.05), (1, 7, 10), "net.*/MlpModule: the hidden size .* not 0"),
    (nn.Patches(8, choose("size", 0)), (1, 3, 8, 8), "net/PatchesModule: size .* not 0"),
    (nn.Attention(2), (1, 3, 8, 8), r"net/AttentionModule takes tokens \[N, T, E\], not 1x3x8x8"),
    (nn.Patches(8, 2), (1, 7, 10), r"net/PatchesModule takes an image .* not 1x7x10")])
def test_what_cannot_be_built_is_named_with_its_place(description, shape, message):
    space = Space(description)
    with pytest.raises(BuildError, match=message):
        build(space, space.fix({}), (torch.zeros(shape),))


def test_each_part_of_a_network_has_a_place_of_its_own(task, space):
    places = []

    class Noting(Builder):
        def part(self, value, x, where):
            places.append(where)
            return super().part(value, x, where)

    Noting(genotype_of(4)).part(space.root, shapes_of(task.example()), "net")
    assert len(places) == len(set(places)) > 4 * 10


# --- the space

def test_the_space_has_as_many_networks_as_a_count_by_hand_says(space):
    """3 widths, and for each of 2, 3 or 4 blocks 3 numbers of heads and 3 ratios."""
    assert space.size == 3 * (9**2 + 9**3 + 9**4) == 22_113


@pytest.mark.parametrize("seed", range(4))
def test_parameters_of_a_network_follow_the_formula(task, space, seed):
    genotype = space.sample(random.Random(seed))
    e, count = genotype["width"], 0
    for i in range(1, genotype["depth"] + 1):
        inner, hidden = 16 * genotype[f"block{i}.heads"], e * genotype[f"block{i}.ratio"]
        count += 2 * 2 * e + 3 * (e + 1) * inner + (inner + 1) * e + (e + 1) * hidden + (hidden + 1) * e
    count += (2 * 2 + 1) * e + TOKENS * e + 2 * e + (e + 1) * CLASSES
    assert params(build(space, genotype, task.example())) == count


def test_images_of_any_size_have_16_to_64_patches():
    assert {size: patch(size) for size in (8, 15, 28, 32, 224)} == {8: 2, 15: 2, 28: 4, 32: 4, 224: 28}
    assert all(16 <= math.ceil(size / patch(size)) ** 2 <= 64 for size in range(4, 300))


@pytest.mark.parametrize("name", [name for name in registry.names("devices") if not load_device(name).slow])
def test_every_device_knows_every_operator_of_the_space(task, space, name):
    costs = load_device(name).cost(record_genotype(space, genotype_of(3), task.example()))
    assert not costs.unknown and all(0 < figure.value < math.inf for figure in costs.figures.values())


def test_a_network_of_the_space_is_exported_for_any_batch(task, space, tmp_path):
    net, path = made(task.space("attention"), *task.example(), **genotype_of(2)).eval(), tmp_path / "network.onnx"
    export_onnx(net, task.example(2), path)
    assert check_onnx(net, task.inputs(64), path) < 1e-5
    session = onnxruntime.InferenceSession(path)
    for batch in (1, 5, 33):
        x = normal(batch, 1, 8, 8, seed=batch)
        ours = net(x).detach().numpy()
        assert np.abs(session.run(None, {"input": x.numpy()})[0] - ours).max() < 1e-4 * np.abs(ours).max()


def test_a_middling_network_learns_the_digits(task, space):
    rng = random.Random(0)
    seed_torch(rng)
    net = build(space, genotype_of(3), task.example())
    task.fit(net, Budget(epochs=10), rng)
    assert task.score(net)["error"] < 0.08
