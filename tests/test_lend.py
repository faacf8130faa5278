"""How smaller modules are cut out of larger ones, of torch's classes and of a user's own."""

import pytest
import torch
from zoo import ROWS, VISION, Attend, Fused, Mute, Only, Only2, address, holds, made, normal, shake, views

from archfab import Space, UsageError, choose, describe, nn, repeat
from archfab.lowering import elastic as lowering
from archfab.lowering.elastic import Elastic

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


def test_everything_that_stands_against_sharing_is_named():
    one, other = (describe(Mute)(choose(name, 4, 8)) for name in ("one", "other"))
    with pytest.raises(UsageError, match=r"'one'.*; choice 'other'"):
        made(Space([one, nn.Linear(6), other, nn.Linear(3)]), torch.zeros(1, 5))


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
