"""One set of weights for all networks of a space: a view on it is the network, and learns for all of them."""

import gc
import weakref

import pytest
import torch
from torch import nn as tnn
from torch.utils._pytree import tree_leaves
from zoo import (
    CASES,
    ODD,
    ROWS,
    SMALL,
    SPACES,
    VISION,
    address,
    alike,
    case,
    holds,
    made,
    normal,
    parameters,
    said,
    same_state,
    samples,
    shake,
    shape_for,
    step,
    views,
    words,
    zoo,
)

from archfab import Space, UsageError, choose, nn
from archfab.core import BuildError
from archfab.lowering import _survey
from archfab.lowering import elastic as lowering
from archfab.lowering.concrete import build
from archfab.lowering.elastic import Elastic
from archfab.space.choices import CHANNELS

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


# --- what cannot be

def test_a_wrong_genotype_is_refused_as_everywhere():
    shared = made(zoo(), words())
    for genotype, message in (({}, "lacks 'width'"), ({**shared.largest, "width": 9}, "no option 9; legal: 8, 16"),
                              ({**shared.largest, "kernel": 4}, "no option 4")):
        with pytest.raises(UsageError, match=message):
            shared.at(genotype)


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
