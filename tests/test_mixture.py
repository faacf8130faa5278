"""All networks of a space at once: with one option let through, the network; else the sums that formulas say."""

import random

import pytest
import torch
from zoo import VISION, Only2, case, close, normal, said, same_state, samples, shake

from archfab import Space, UsageError, choose, describe, nn, repeat
from archfab.lowering import mixture as lowering
from archfab.lowering._weighting import weighting
from archfab.lowering.elastic import Elastic
from archfab.lowering.mixture import Mixture
from archfab.nn.cells import OpenCell
from archfab.space.choices import CHANNELS


def mixed(space, x, seed=0, **options):
    torch.manual_seed(seed)
    return Mixture(space if isinstance(space, Space) else Space(space), x, **options)


def opened(mixture, logits=None):
    """Lets all options through by a softmax of the logits; those of the mixture itself by default."""
    for i, name in enumerate(mixture.names):
        values = mixture.logits[i] if logits is None else logits[i]
        mixture.gates.set(name, values.softmax(0), list(range(len(values))))
    return mixture


def one_hot_is_the_network(mixture, genotype, x):
    """Whether the mixture with one option let through each says what the network says, and ends in its state."""
    mixture.choose(genotype)
    twin = mixture.elastic.extract(genotype)
    return close(said(mixture, x, False), said(twin, x, False)) and close(said(mixture, x, True), said(twin, x, True)) \
        and same_state(mixture.elastic.extract(genotype).state_dict(), twin.state_dict())


def gradients(mixture, x):
    """Whether the derivatives by the logits are those of finite differences, and all of them reach something."""
    mixture = mixture.double().eval()
    logits = [normal(len(each), seed=i).double().requires_grad_() for i, each in enumerate(mixture.logits)]

    def loss(*logits):
        return (opened(mixture, logits)(x) * torch.linspace(-1, 1, 2)).sum()

    found = torch.autograd.grad(loss(*logits), logits)
    return torch.autograd.gradcheck(loss, logits) and all(bool((each != 0).all()) for each in found)


# --- one option let through

CASES = [(None, "mobile"), (None, "cell"), (None, "darts"), (None, "attention"), (15, "cell"),
         pytest.param(0, "zoo", marks=pytest.mark.slow),
         *(pytest.param(15, name, marks=pytest.mark.slow) for name in ("mobile", "darts", "attention")),
         *(pytest.param(28, name, marks=pytest.mark.slow) for name in VISION.spaces)]


@pytest.mark.parametrize(("size", "name"), CASES)
def test_one_option_let_through_is_the_network(size, name):
    space, x = case(size, name)
    mixture = mixed(space, x)
    shake(mixture.elastic)
    for genotype in [mixture.elastic.largest, mixture.elastic.smallest, *samples(space, 6 if name != "zoo" else 12)]:
        assert one_hot_is_the_network(mixture, genotype, x), genotype


def test_layers_of_every_kind_are_mixed_where_their_sizes_are_fixed():
    space, x = case(0, "zoo")
    fixed = {"width": 16, "hidden": 8, "wide": 12, "norms": 4, "up": 8, "out": 4, "square": 3}
    mixture = mixed(space, x, allowed={name: [label] for name, label in fixed.items()})
    shake(mixture.elastic)
    assert mixture.outer == [] and len({"cell", "layers", "bias", "heads", "inner", "encoders", "kernel"} & {
        *mixture.names}) == 7
    for genotype in samples(space, 8):
        genotype = {name: fixed.get(name, label) for name, label in genotype.items()}
        assert one_hot_is_the_network(mixture, genotype, x), genotype


def test_cells_with_missing_edges_and_dead_nodes_are_the_networks():
    space, x = case(None, "cell")
    mixture = mixed(space, x)
    shake(mixture.elastic)
    source = random.Random(1)
    seen = 0
    for _ in range(25):
        genotype = {name: source.choice(["none", "none", *labels]) for name, labels in space.labels.items()}
        seen += genotype["cell.0-1"] == "none" and genotype["cell.1-3"] != "none"       # an edge out of a dead node
        assert one_hot_is_the_network(mixture, genotype, x), genotype
    assert seen and one_hot_is_the_network(mixture, dict.fromkeys(space.labels, "none"), x)


def nested(name, **more):
    """An operation whose absence stands in an option of an option."""
    return choose(f"{name}.kind", conv=nn.Sequential(nn.Conv2d(CHANNELS, 1), nn.BatchNorm2d()), **more,
                  other=choose(f"{name}.other", none=nn.Zero(), skip=nn.Identity()))


def sided(name, first, *others):
    return choose(name, one=[nn.Edge(0, first)], two=[nn.Edge(*edge) for edge in others])


def conv():
    return nn.Conv2d(3, choose("k", 1, 3), padding="same")


CELLS = {
    "nested": lambda: nn.Cell([[nn.Edge(0, nested("a"))], [nn.Edge(0, nested("b")), nn.Edge(1, nested("c"))]]),
    "an option without edges": lambda: nn.Cell([choose("n", some=[nn.Edge(0, conv())], none=[]),
                                                [nn.Edge(1, conv()), nn.Edge(0, nn.Identity())]]),
    "an option of a missing edge": lambda: nn.Cell([choose("n", some=[nn.Edge(0, conv())], none=[
        nn.Edge(0, nn.Zero())]), [nn.Edge(1, nn.BatchNorm2d())]]),
    "nothing ever": lambda: nn.Cell([[nn.Edge(0, nn.Zero())], [nn.Edge(1, conv()), nn.Edge(0, conv())]]),
    "two alike": lambda: nn.Cell([choose("n", two=[nn.Edge(0, nested("a")), nn.Edge(0, nested("a"))],
                                         one=[nn.Edge(0, nested("a"))])]),
    "sources": lambda: nn.Cell([[nn.Edge(0, conv())], [nn.Edge(choose("from", 0, 1), conv())]]),
    "edges": lambda: nn.Cell([[choose("edge", a=nn.Edge(0, conv()), b=nn.Edge(0, nn.Identity()))],
                              [nn.Edge(0, conv()), choose("more", yes=[nn.Edge(1, conv())], no=[])]]),
    "nodes in nodes": lambda: nn.Cell([choose("n", a=choose("m", x=[nn.Edge(0, conv())], y=[nn.Edge(
        0, nn.Identity())]), b=[nn.Edge(0, nn.BatchNorm2d())])]),
    "width": lambda: nn.Cell([[nn.Edge(0, nested("a"))], [nn.Edge(1, nested("b"))]], width=5),
    "widths": lambda: nn.Cell([[nn.Edge(0, nested("a"))]], width=choose("width", 3, 5)),
    "concat": lambda: nn.Cell([sided("n", conv(), (0, nn.Identity())), sided("m", conv(), (0, conv()), (1, conv()))],
                              concat=True),
    "concat of one": lambda: nn.Cell([[], [nn.Edge(0, conv())]], concat=True),
    "chain": lambda: nn.CellChain(*(nn.Cell([sided(f"n{i}", conv(), (1, nn.Identity()))], 2) for i in range(3))),
    "chain of open length": lambda: nn.CellChain(
        nn.Cell([[nn.Edge(0, conv())]], 2), repeat(choose("depth", 1, 2, 3), lambda i: nn.Cell([[nn.Edge(
            1, conv())]], 2))),
    "shapes": lambda: nn.Cell([choose("n", a=[nn.Edge(0, nn.Conv2d(4, 1))], b=[nn.Edge(0, nn.Conv2d(2, 1))])]),
}
ROWS = {
    "none before a layer": lambda: [choose("op", none=nn.Zero(), conv=nn.Conv2d(8, 1)), nn.Conv2d(4, 3)],
    "in place": lambda: [choose("op", relu=nn.ReLU(inplace=True), same=nn.Identity(), tanh=nn.Tanh()), nn.Conv2d(2, 1)],
    "exits": lambda: [nn.Conv2d(3, 1), repeat(choose("depth", 0, 1, 3), lambda i: [nn.Conv2d(3, 1), nn.ReLU(
        inplace=True)])],
    "exits of several shapes": lambda: [repeat(choose("depth", 1, 2, 3), lambda i: nn.Conv2d(3 + i, 1))],
    "exits in an option": lambda: choose("op", none=nn.Identity(), row=repeat(
        choose("depth", 1, 2), lambda i: nn.Conv2d(3, choose(f"k{i}", 1, 3), padding="same"))),
    "exits with widths": lambda: repeat(
        choose("depth", 1, 2), lambda i: [nn.Conv2d(choose(f"w{i}", 4, 8), 1), nn.Conv2d(3, 1)]),
    "exits by arithmetic": lambda: repeat(choose("depth", 1, 2) * 2 - 1, lambda i: nn.Conv2d(3, 1)),
    "options in options": lambda: choose("a", x=choose("b", u=nn.Conv2d(3, 1), v=[nn.Tanh(), nn.Conv2d(3, 1)]),
                                         y=nn.Conv2d(3, 3, padding=1)),
    "shared": lambda: [nn.Conv2d(choose("width", 4, 8), 1), nn.ReLU(), nn.Conv2d(choose("width", 4, 8), 1)],
    "sums": lambda: nn.Conv2d(choose("a", 2, 4) + choose("b", 0, 2), 1),
    "squeeze": lambda: nn.MBConv(choose("width", 3, 6), 3, choose("expand", 1, 2), squeeze=2),
    "shortcut": lambda: nn.ResidualBlock(choose("width", 3, 4), choose("k", 1, 3)),
    "given": lambda: [nn.AdaptiveAvgPool2d(1), nn.Flatten(), describe(Only2)(nn.Linear(choose("w", 2, 3)), choose(
        "kind", "a", "b"))],
}


@pytest.mark.parametrize("name", [*CELLS, *ROWS])
def test_every_network_of_a_small_space_is_in_its_mixture(name):
    space = Space([{**CELLS, **ROWS}[name](), *([] if name == "given" else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]),
                   nn.Linear(2)])
    x = normal(3, 3, 5, 5)
    ok, because = lowering.supports(space, (x,))
    assert ok is bool(space.labels), because
    mixture = mixed(space, x)
    shake(mixture.elastic)
    for genotype in space if space.size <= 40 else samples(space, 40):
        assert one_hot_is_the_network(mixture, genotype, x), genotype
    if name not in ("nothing ever", "concat of one"):
        assert gradients(mixture, x.double())


# --- sums

def test_a_mixture_of_operations_is_the_sum_by_hand():
    space = Space([nn.Linear(4), choose("op", linear=nn.Linear(4), none=nn.Zero(), tanh=[nn.Linear(4), nn.Tanh()]),
                   choose("end", same=nn.Identity(), relu=nn.ReLU()), nn.Linear(2)])
    mixture, x = mixed(space, torch.zeros(1, 3)), normal(5, 3)
    with torch.no_grad():
        mixture.logits[0].copy_(torch.tensor([0.5, -1.0, 0.2]))
        mixture.logits[1].copy_(torch.tensor([0.1, 0.9]))
    mixture.weigh("softmax")
    net = {label: mixture.elastic.extract({"op": label, "end": "same"}) for label in ("linear", "tanh")}
    u, v = mixture.logits[0].softmax(0), mixture.logits[1].softmax(0)
    h = net["linear"][0](x)
    h = u[0] * net["linear"][1](h) + u[2] * net["tanh"][2](net["tanh"][1](h))
    h = v[0] * h + v[1] * h.relu()
    assert torch.allclose(mixture(x), net["linear"][-1](h), atol=1e-6)
    assert mixture.chances()["end"] == pytest.approx(v.tolist())


def test_a_size_is_mixed_around_what_hangs_on_it():
    space = Space([nn.Linear(4), nn.ReLU(), nn.Linear(choose("width", 2, 6)), nn.Tanh(), nn.Linear(3), nn.ReLU(),
                   nn.Linear(2)])
    mixture, x = opened(mixed(space, torch.zeros(1, 3))), normal(5, 3)
    with torch.no_grad():
        mixture.logits[0].copy_(torch.tensor([0.4, -0.3]))
    opened(mixture)
    w = mixture.logits[0].softmax(0)
    large = mixture.elastic.extract({"width": 6})
    h = large[:2](x)
    narrow = torch.tanh(h @ large[2].weight[:2].T + large[2].bias[:2]) @ large[4].weight[:, :2].T + large[4].bias
    h = w[0] * narrow + w[1] * large[2:5](h)
    assert torch.allclose(mixture(x), large[5:](h), atol=1e-6)
    assert [type(part).__name__ for part in mixture.net] == ["Linear", "ReLU", "Mixed", "ReLU", "Linear"]
    assert mixture.parts == 4 + 2 * 3 and mixture.single == 7 and mixture.outer == []


def test_a_length_is_mixed_by_leaving_early():
    space = Space([repeat(choose("depth", 1, 2, 4), lambda i: nn.Linear(3)), nn.Linear(2)])
    mixture, x = mixed(space, torch.zeros(1, 3)), normal(5, 3)
    opened(mixture)
    w, deep = mixture.logits[0].softmax(0), mixture.elastic.extract({"depth": 4})
    h = w[0] * deep[:1](x) + w[1] * deep[:2](x) + w[2] * deep[:4](x)
    assert torch.allclose(mixture(x), deep[-1](h), atol=1e-6)
    assert mixture.parts == 5


def test_a_node_is_the_sum_of_its_edges_by_the_options_that_have_them():
    one, other, third = (nn.Conv2d(3, 1, bias=False) for _ in range(3))
    op = choose("op", a=other, none=nn.Zero())
    space = Space(nn.Cell([[nn.Edge(0, nn.Identity())], choose("node", x=[nn.Edge(0, one), nn.Edge(1, op)], y=[
        nn.Edge(0, one)], z=[nn.Edge(1, op), nn.Edge(0, third)])]))
    mixture, x = mixed(space, torch.zeros(1, 3, 4, 4)), normal(2, 3, 4, 4)
    opened(mixture)
    assert type(mixture.net) is OpenCell
    node, (a, _) = (dict(zip(mixture.names, mixture.logits, strict=True))[name].softmax(0) for name in ("node", "op"))
    cells = {label: mixture.elastic.extract({"node": label, "op": "a"} if label != "y" else {"node": label})
             for label in "xyz"}
    y = {(label, edge): op(x) for label, cell in cells.items() for edge, op in zip(cell.edges, cell.ops, strict=True)}
    wanted = node[0] * y["x", (0, 2)] + node[1] * y["y", (0, 2)] + node[2] * y["z", (0, 2)] \
        + (node[0] + node[2]) * a * y["x", (1, 2)]
    assert torch.allclose(mixture(x), wanted, atol=1e-6) and torch.equal(y["x", (1, 2)], y["z", (1, 2)])
    assert [(edge.source, edge.target, edge.options) for edge in mixture.net.edges] == [
        (0, 1, [0]), (0, 2, [0]), (0, 2, [1]), (0, 2, [2]), (1, 2, [0, 2])]


def test_edges_that_lead_nowhere_are_left_out():
    cell = nn.Cell([[nn.Edge(0, conv())], [nn.Edge(0, nn.Zero())], [nn.Edge(0, conv()), nn.Edge(2, conv())]])
    mixture = mixed(cell, torch.zeros(1, 3, 4, 4))
    assert [(edge.source, edge.target) for edge in mixture.net.edges] == [(0, 3)]
    assert sum(name.startswith("net/CellModule[") for name in mixture.elastic.places) == 1


def test_what_an_option_writes_in_place_no_other_one_sees():
    space = Space([choose("op", relu=nn.ReLU(inplace=True), same=nn.Identity()), nn.Flatten()])
    mixture, x = opened(mixed(space, torch.zeros(1, 3, 2, 2))), normal(4, 3, 2, 2)
    w, before = mixture.logits[0].softmax(0), x.clone()
    assert torch.allclose(mixture(x), (w[0] * before.relu() + w[1] * before).flatten(1), atol=1e-6)
    row = repeat(choose("depth", 0, 1, 2), lambda i: nn.ReLU(inplace=True))
    mixture, x = opened(mixed([row, nn.Linear(1)], torch.zeros(1, 3))), normal(4, 3)
    w, before = mixture.logits[0].softmax(0), x.clone()
    wanted = w[0] * before + (w[1] + w[2]) * before.relu()
    assert torch.allclose(mixture(x), mixture.elastic.extract({"depth": 0})[-1](wanted), atol=1e-6)


def test_options_may_return_several_tensors():
    space = Space(choose("op", one=nn.GRU(4, batch_first=True), two=nn.GRU(4, num_layers=1, batch_first=True)))
    mixture, x = opened(mixed(space, torch.zeros(1, 5, 3))), normal(2, 5, 3)
    w, nets = mixture.logits[0].softmax(0), [mixture.elastic.extract({"op": label}) for label in ("one", "two")]
    for found, one, other in zip(mixture(x), nets[0](x), nets[1](x), strict=True):
        assert torch.allclose(found, w[0] * one + w[1] * other, atol=1e-6)


# --- the logits and the weights

def test_logits_and_weights_are_apart_and_together_all_parameters():
    space, x = case(None, "cell")
    mixture = mixed(space, x)
    weights, logits = set(map(id, mixture.elastic.parameters())), set(map(id, mixture.logits))
    assert not weights & logits and weights | logits == set(map(id, mixture.parameters()))
    assert [len(each) for each in mixture.logits] == [len(space.labels[name]) for name in mixture.names]
    assert weights == set(map(id, mixture.elastic.parameters()))


def test_a_seed_gives_the_same_mixture_and_the_weights_of_the_elastic_net():
    space, x = case(None, "cell")
    one, again, other = (mixed(space, x, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[key], again[key]) for key in one) and list(one) == list(again)
    assert any(not torch.equal(one[key], other[key]) for key in one)
    torch.manual_seed(3)
    alone = Elastic(space, x).state_dict()
    assert all(torch.equal(one[f"elastic.{key}"], alone[key]) for key in alone)
    shared = Elastic(space, x)
    assert mixed(space, x, elastic=shared).elastic is shared


@pytest.mark.parametrize("name", ["mobile", "darts"])
def test_equal_seeds_draw_the_same_gates(name):
    space, x = case(None, name)
    mixture = mixed(space, x)
    for kind in ("gumbel", "hard_gumbel", "gates", "one_path"):
        found = []
        for seed in (5, 5, 6):
            mixture.weigh(kind, 1.0, torch.Generator().manual_seed(seed))
            found.append((dict(mixture.gates.active), [each.tolist() for each in mixture.gates.weights.values()]))
        assert found[0] == found[1] != found[2]


def test_gates_are_those_of_the_weighting_decision_by_decision():
    space, x = case(None, "cell")
    mixture = mixed(space, x)
    mixture.weigh("gumbel", 0.5, torch.Generator().manual_seed(2))
    source = torch.Generator().manual_seed(2)
    for name, logits in zip(mixture.names, mixture.logits, strict=True):
        weights, active = weighting("gumbel")(logits, 0.5, source)
        assert torch.equal(mixture.gates.weights[name], weights) and mixture.gates.active[name] == active
    with pytest.raises(UsageError, match="no weighting named 'hard'; known: "):
        mixture.weigh("hard")


def test_of_decisions_that_are_passes_through_the_whole_network_one_is_drawn():
    space, x = case(None, "mobile")
    mixture = mixed(space, x)
    assert mixture.outer == ["width"]
    mixture.weigh("softmax", 1.0, torch.Generator().manual_seed(2))
    assert len(mixture.gates.active["width"]) == 1 and len(mixture.gates.active["stage1.1.block"]) == 3
    mixture.train()(x).sum().backward()
    assert all(bool((each.grad != 0).any()) for name, each in zip(mixture.names, mixture.logits, strict=True)
               if name in ("width", "stage1.depth", "stage1.1.block"))


def test_a_decision_that_is_a_part_itself_is_no_pass_however_large_it_is():
    space = Space(choose("op", a=[nn.Linear(2), nn.Tanh()], b=[nn.Linear(2), nn.ReLU()]))
    mixture = mixed(space, torch.zeros(1, 3))
    mixture.weigh("softmax")
    assert mixture.outer == [] and mixture.gates.active == {"op": [0, 1]} and mixture.single == 2


@pytest.mark.parametrize("change", ["double", "channels_last", "load"])
def test_a_mixture_stays_right_when_its_weights_move(change):
    space, x = case(None, "cell")
    mixture, (genotype, *_) = mixed(space, x), samples(space, 1)
    mixture.weigh("softmax")
    if change == "double":
        mixture, x = mixture.double(), x.double()
    elif change == "load":
        mixture.load_state_dict(mixed(space, x, 9).state_dict(), assign=True)
    else:
        mixture.to(memory_format=torch.channels_last)
    mixture(x).sum().backward()         # by the gates that were set before
    mixture.weigh("softmax")
    mixture(x).sum().backward()
    assert all(each.grad is not None and each.grad.dtype == each.dtype == x.dtype for each in mixture.logits)
    shake(mixture.elastic)
    assert one_hot_is_the_network(mixture, genotype, x)
