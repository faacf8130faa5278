"""From genotypes to torch modules: what is built is trainable, repeatable, and what was recorded of it."""

import random
import re

import pytest
import torch
from torch import nn as tnn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from archfab import Space, UsageError, choose, describe, nn, registry, repeat
from archfab.hardware.workload import record_genotype
from archfab.lowering.concrete import BuildError, build, supports

VISION = registry.load("tasks", "vision")
SPACES = VISION.spaces


@pytest.fixture(scope="module", params=[None, 15], ids=["8x8", "15x15"])
def task(request):
    return VISION(size=request.param)


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def images(task, number=3):
    return normal(number, *task.example()[0].shape[1:])


def some(task, name, number=4, seed=0):
    """A space of the task, and random genotypes of it in which some path leads through every cell."""
    space, source = Space(task.space(name)), random.Random(f"{name}:{seed}")
    found = []
    while len(found) < number:
        genotype = space.sample(source)
        if name != "cell" or genotype["cell.0-3"] != "none":
            found.append(genotype)
    return space, found


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


def in_products():
    """Attention as its two matrix products: torch's counter has no formula for the fused operator of a CPU."""
    return sdpa_kernel(SDPBackend.MATH)


def seeded(space, genotype, example, seed=0):
    torch.manual_seed(seed)
    return build(space, genotype, example)


# --- networks of random genotypes

@pytest.mark.parametrize("name", SPACES)
def test_every_parameter_of_a_random_network_gets_a_finite_gradient(task, name):
    space, genotypes = some(task, name)
    x, y = images(task), torch.tensor([0, 3, 9])
    for genotype in genotypes:
        net = seeded(space, genotype, task.example())
        logits = net(x)
        assert logits.shape == (3, 10)
        tnn.functional.cross_entropy(logits, y).backward()
        for key, parameter in net.named_parameters():
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", SPACES)
def test_a_recorded_workload_has_the_parameters_and_the_work_of_the_network(task, name):
    space, genotypes = some(task, name, seed=1)
    for genotype in genotypes:
        workload = record_genotype(space, genotype, task.example())
        net = build(space, genotype, task.example())
        with FlopCounterMode(display=False) as counted, torch.no_grad(), in_products():
            net.eval()(*task.example())
        assert workload.params == sum(p.numel() for p in net.parameters())
        assert workload.macs * 2 == counted.get_total_flops() > 0
        assert not [op.name for op in workload.ops if op.kind == "unknown"]


@pytest.mark.parametrize("name", SPACES)
def test_a_seed_gives_the_same_weights_and_a_state_dict_carries_them_over(task, name):
    space, genotypes = some(task, name, 2, seed=2)
    for genotype in genotypes:
        one, again, other = (seeded(space, genotype, task.example(), seed) for seed in (5, 5, 6))
        assert same(one, again) and not same(one, other)
        one(images(task))       # moves the running statistics
        other.load_state_dict(one.state_dict())
        x = images(task, 2)
        assert torch.equal(one.eval()(x), other.eval()(x))


@pytest.mark.parametrize("name", SPACES)
def test_every_vision_space_is_supported(task, name):
    ok, because = supports(Space(task.space(name)), task.example())
    assert ok and "every option was built" in because


def test_a_network_around_an_empty_cell_still_trains(task):
    space = Space(task.space("cell"))
    net = build(space, dict.fromkeys(space.labels, "none"), task.example())
    logits = net(images(task))
    logits.logsumexp(1).sum().backward()
    assert torch.isfinite(net[-1][-1].weight.grad).all()


def test_equal_genotypes_in_another_order_are_one_network(task):
    space, (genotype, *_) = some(task, "mobile", 1)
    again = dict(reversed(genotype.items()))
    assert same(seeded(space, genotype, task.example()), seeded(space, again, task.example()))


# --- what building leaves alone

class Frozen(tnn.Module):
    """A user's part that holds one layer in evaluation mode."""

    def __init__(self, num_features, body=None):
        super().__init__()
        self.norm = tnn.BatchNorm2d(num_features).eval()
        self.body = body or tnn.Identity()

    def forward(self, x):
        return self.body(self.norm(x))


@pytest.mark.parametrize("body", [None, nn.Sequential(nn.Conv2d(4, 1), nn.BatchNorm2d())])
def test_a_built_network_is_in_training_mode_as_torch_leaves_it(body):
    net = build(Space([nn.ConvNormAct(8), describe(Frozen)(body), nn.Dropout(0.5)]), {}, (torch.zeros(2, 3, 7, 7),))
    assert [key for key, part in net.named_modules() if not part.training] == ["1.norm"]
    statistics = [buffer for key, buffer in net.named_buffers() if key.endswith("running_mean")]
    assert statistics and all(torch.equal(mean, torch.zeros_like(mean)) for mean in statistics)


def test_building_draws_the_same_weights_whether_its_shapes_are_known_or_not():
    """The first network of a shape is run on shapes to see what it makes of them, the second one is not."""
    space = Space([nn.Conv2d(choose("width", 7, 9), 3), nn.Flatten(2), nn.TransformerEncoderLayer(3, 8), nn.Linear(2)])
    one, again = (seeded(space, {"width": 9}, (torch.zeros(2, 3, 29, 29),)) for _ in range(2))
    assert same(one, again)


def test_building_does_not_touch_its_example():
    example = (normal(2, 3, 7, 7),)
    before = example[0].clone()
    build(Space([nn.ReLU(inplace=True), nn.BatchNorm2d(), nn.ReLU(inplace=True)]), {}, example)
    assert torch.equal(example[0], before)


def test_recording_leaves_no_fake_tensor_behind(task):
    for name in SPACES:
        space, (genotype,) = some(task, name, 1, seed=3)
        for _ in range(2):
            record_genotype(space, genotype, task.example())
        net = build(space, genotype, task.example())
        assert {type(p) for p in net.parameters()} == {tnn.Parameter}
        assert type(net(images(task))) is torch.Tensor


# --- parts in parts

class Wrapped(tnn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)


def test_a_described_part_may_be_given_to_a_users_class():
    x = normal(2, 3, 7, 7)
    net = seeded(Space([describe(Wrapped)(nn.Conv2d(5, 3)), nn.Conv2d(2, 1)]), {}, (x,))
    torch.manual_seed(0)
    hand = tnn.Sequential(tnn.Conv2d(3, 5, 3), tnn.Conv2d(5, 2, 1))
    assert torch.equal(net(x), hand(x))


def test_two_described_parts_given_to_one_class_keep_their_own_shapes():
    for width in (8, 16):
        net = build(Space([describe(Wrapped)(nn.Conv2d(width, 3)), nn.Conv2d(2, 1)]), {}, (torch.zeros(2, 3, 9, 9),))
        assert net[1].in_channels == width


def test_a_class_that_was_defined_anew_has_its_own_shapes():
    for width in (8, 16):
        class Block(tnn.Module):
            def __init__(self, in_channels, width=width):
                super().__init__()
                self.inner = tnn.Conv2d(in_channels, width, 1)

            def forward(self, x):
                return self.inner(x)

        net = build(Space([describe(Block)(), nn.Conv2d(2, 1)]), {}, (torch.zeros(2, 3, 9, 9),))
        assert net[1].in_channels == width


def test_a_repeat_lays_out_as_many_as_decided():
    space = Space(repeat(choose("depth", 0, 2, 3), lambda i: nn.Linear(choose(f"width{i}", 4, 5))))
    x = (torch.zeros(2, 7),)
    assert len(build(space, {"depth": 0}, x)) == 0
    net = build(space, {"depth": 2, "width0": 4, "width1": 5}, x)
    assert [(layer.in_features, layer.out_features) for layer in net] == [(7, 4), (4, 5)]


def test_lists_in_options_are_laid_out_in_the_row_they_stand_in():
    space = Space([choose("op", two=[nn.Linear(4), [nn.ReLU(), repeat(2, lambda i: nn.Linear(5 + i))]], no=[]),
                   nn.Linear(1)])
    net = build(space, {"op": "two"}, (torch.zeros(2, 7),))
    assert [type(part).__name__ for part in net] == ["Linear", "ReLU", "Linear", "Linear", "Linear"]
    assert net[-1].in_features == 6 and build(space, {"op": "no"}, (torch.zeros(2, 7),))[-1].in_features == 7


# --- errors

def test_an_illegal_genotype_is_refused_before_anything_is_built():
    space = Space(nn.Linear(choose("width", 4, 5)))
    for genotype, message in (({}, "lacks 'width'"), ({"width": 6}, "no option 6"), ({"width": 4, "x": 1}, "'x'")):
        with pytest.raises(UsageError, match=message):
            build(space, genotype, (torch.zeros(2, 7),))


class Choosy(tnn.Module):
    def __init__(self, width):
        super().__init__()
        if width > 4:
            raise ValueError(f"a width of {width} is too much")

    def forward(self, x):
        return x[:, 100]


@pytest.mark.parametrize(("root", "shape", "message"), [
    ([nn.ReLU(), [nn.Conv2d(8, 9)]], (2, 3, 7, 7), r"net\[1\]\[0\]/Conv2d.*2x3x7x7.*[Kk]ernel size"),
    (nn.Sequential(nn.Conv2d(9, 3, groups=2)), (2, 3, 7, 7), r"net/Sequential\[0\]/Conv2d\(.*groups=2.*2x3x7x7"),
    (nn.Linear(4), (5,), r"Linear: in_features cannot be inferred from 5; give it by name"),
    ([nn.GRU(4), nn.Linear(2)], (2, 5, 7), r"Linear: in_features cannot be inferred from 2x5x4, 1x5x4; give it"),
    ([nn.ReLU(), describe(Choosy)(5)], (2, 3), r"net\[1\]/Choosy\(width=5\) on an input of 2x3: a width"),
    (describe(Choosy)(4), (2, 3), r"net/Choosy cannot take an input of 2x3: .*(index|out of)"),
    ([3], (2, 3), r"net\[0\]: 3 is no description of a module"),
    (choose("a", x=5), (2, 3), "net/a=x: 5 is no description of a module")])
def test_what_cannot_be_built_is_named_with_its_place_and_the_shape_of_its_input(root, shape, message):
    space = Space(root)
    with pytest.raises(BuildError, match=message):
        build(space, space.fix({}), (torch.zeros(*shape),))


class Silent(tnn.Module):
    def forward(self, x):
        raise AssertionError        # as a bare assert does


class Raising(tnn.Module):
    def __init__(self, key):
        super().__init__()
        {}[key]


def test_a_failing_part_without_a_message_is_a_build_error():
    with pytest.raises(BuildError, match="net/Silent cannot take an input of 2x3"):
        build(Space(describe(Silent)()), {}, (torch.zeros(2, 3),))


def test_whatever_a_users_constructor_raises_is_a_build_error():
    with pytest.raises(BuildError, match="net/Raising"):
        build(Space(describe(Raising)("a")), {}, (torch.zeros(2, 3),))


def test_torchs_lazy_parts_are_refused_with_what_to_write_instead():
    with pytest.raises(BuildError, match=r"LazyLinear.*nn\.Linear"):
        build(Space([nn.LazyLinear(5), nn.Linear(3)]), {}, (torch.zeros(2, 7),))


def test_a_space_with_an_option_that_cannot_be_built_is_not_supported_and_says_because_of_which():
    space = Space(nn.Conv2d(choose("out", 4, 8), choose("kernel", 3, 9)))
    ok, because = supports(space, (torch.zeros(1, 3, 7, 7),))
    assert not ok and re.search(r"kernel\W+9", because) and "net/Conv2d" in because and "1x3x7x7" in because


def test_a_space_of_one_network_that_cannot_be_built_says_so():
    ok, because = supports(Space(nn.Conv2d(8, 9)), (torch.zeros(1, 3, 7, 7),))
    assert not ok and "1x3x7x7" in because and "None" not in because


def test_a_space_whose_shortcut_does_not_fit_is_not_supported():
    space = Space(nn.Residual(nn.Conv2d(choose("width", 8, 4), 1), nn.Conv2d(4, 1)))
    assert supports(space, (torch.zeros(1, 3, 4, 4),))[0] is False


def test_a_space_that_is_supported_runs():
    space = Space(nn.Cell([[nn.Edge(0, nn.Conv2d(8, 1)), nn.Edge(0, nn.Conv2d(choose("width", 4, 6), 1))]]))
    x = (torch.zeros(1, 3, 4, 4),)
    if supports(space, x)[0]:
        assert build(space, {"width": 4}, x)(*x).shape[1] == 8


def test_a_task_without_networks_supports_nothing():
    assert supports(Space(choose("a", 1, 2)), None) == (False, "the task has no networks")
