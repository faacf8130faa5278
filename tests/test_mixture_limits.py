"""What a mixture can leave out, and what it refuses and why."""

import pytest
import torch
from test_mixture import mixed, nested, one_hot_is_the_network
from torch.utils._pytree import tree_leaves
from zoo import ODD, SPACES, VISION, address, case, normal, samples, shake, shape_for, views

from archfab import Space, UsageError, choose, nn, repeat
from archfab.core import BuildError
from archfab.lowering import mixture as lowering
from archfab.lowering.elastic import Elastic
from archfab.lowering.mixture import Mixture
from archfab.nn.cells import OpenCell
from archfab.space.choices import CHANNELS

# --- fewer options, fewer parts

def test_options_that_are_not_allowed_are_left_out():
    space, x = case(None, "cell")
    every, allowed = mixed(space, x), {"cell.0-1": ["skip", "conv3x3"], "cell.0-3": ["conv1x1"]}
    some = mixed(space, x, allowed=allowed)
    assert every.parts - some.parts > 10
    assert some.gates.labels == {**every.gates.labels, **allowed}
    assert [len(each) for each in some.logits] == [2, 5, 5, 1, 5, 5]
    (genotype, *_) = samples(space, 1)
    kept = {**genotype, "cell.0-1": "conv3x3", "cell.0-3": "conv1x1"}
    assert one_hot_is_the_network(some, kept, x)
    with pytest.raises(UsageError, match=r"option 'none' of choice 'cell.0-1' is not in this mixture; it has: 'skip'"):
        some.choose({**kept, "cell.0-1": "none"})
    some.weigh("softmax")
    assert torch.isfinite(some(x)).all()


@pytest.mark.parametrize(("allowed", "message"), [
    ({"cell.0-9": ["skip"]}, "no choice named 'cell.0-9'; known: .*did you mean"),
    ({"cell.0-1": ["skip", "conv"]}, r"allowed has \['skip', 'conv'\] for choice 'cell.0-1'; legal: .*'conv1x1'"),
    ({"cell.0-1": []}, r"allowed has \[\] for choice 'cell.0-1'; legal: at least one of 'none'")])
def test_what_cannot_be_allowed_is_refused(allowed, message):
    space, x = case(None, "cell")
    with pytest.raises(UsageError, match=message):
        mixed(space, x, allowed=allowed)


@pytest.mark.parametrize(("name", "between"), [("cell", 0), ("darts", 1)])
def test_runs_of_equal_cells_are_thinned(name, between):
    """Two stages of cells; in the space `darts` a reduction stands between them."""
    cells = 2 if between else 3
    task = VISION(cells=cells)
    space, x = Space(task.space(name)), normal(2, *task.example()[0].shape[1:])
    elastic = Elastic(space, x)
    for share, left in ((1.0, cells), (0.6, cells - 1), (0.1, 1)):
        mixture = mixed(space, x, elastic=elastic, share=share)
        assert sum(isinstance(part, OpenCell) for part in mixture.net.modules()) == 2 * left + between
        assert mixture.train()(x).shape == (2, 10)


# --- what cannot be mixed

@pytest.mark.parametrize(("root", "message"), [
    (lambda: [nn.Linear(4), nn.Linear(choose("width", 2, 3))],
     r"choice 'width' changes the shape of what the network gives.*; end the network in a part of one shape, such as "
     r"nn.Classifier"),
    (lambda: [*(nn.Linear(choose(f"w{i}", *range(2, 9))) for i in range(6)), nn.Linear(2)],
     r"choices 'w0'.* multiply to more than 2,000 parts.*--estimator supernet.*or let fewer sizes be open"),
    (lambda: [repeat(choose("a", 1, 2) * choose("b", 1, 2), lambda i: nn.Linear(3)), nn.Linear(2)],
     r"choice 'a' decides how often net\[0\] repeats together with other choices.*; let one choice decide it")])
def test_what_cannot_be_mixed_is_refused_by_its_choice_with_what_to_do(root, message, monkeypatch):
    monkeypatch.setattr(lowering, "MOST", 2000)
    space, x = Space(root()), torch.zeros(2, 3)
    with pytest.raises(UsageError, match=message):
        Mixture(space, x)
    ok, because = lowering.supports(space, (x,))
    assert not ok and because


def test_options_that_do_not_fit_together_are_named_with_what_to_do():
    space = [nn.Linear(choose("width", 64, 96)), nn.Unflatten(1, (1, -1)),
             nn.TransformerEncoderLayer(choose("heads", 3, 4), 64, batch_first=True), nn.Flatten(), nn.Linear(3)]
    ok, because = lowering.supports(Space(space), (torch.zeros(2, 5),))
    assert not ok and "'width'=64" in because and "'heads'=3" in because and "--estimator training" in because


def open_edge(source=0):
    return nn.Edge(source, choose("a", none=nn.Zero(), conv=nn.Conv2d(CHANNELS, 1)))


def half():
    return nn.Edge(0, nn.Conv2d(2, 1))


@pytest.mark.parametrize("root", [
    lambda: nn.Cell([[open_edge()], [nn.Edge(0, nn.Identity())]], concat=True),
    lambda: nn.Cell([[open_edge()], [nn.Edge(1, nn.Identity())]], concat=True),
    lambda: nn.Cell([[nn.Edge(0, nested("a"))], [nn.Edge(0, nn.Identity())]], concat=True),
    lambda: nn.Cell([choose("a", some=[half()], none=[]), [half()]], concat=True),
    lambda: nn.Cell([[open_edge()], [nn.Edge(1, nn.Conv2d(5, 1))]])])
def test_a_cell_whose_output_changes_its_shape_where_edges_are_missing_is_refused(root):
    space = Space([nn.Conv2d(4, 1), root(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2)])
    x = torch.zeros(2, 3, 4, 4)
    shared = Elastic(space, x)
    assert len({shared.at(genotype)[:2](x).shape for genotype in space}) > 1
    ok, because = lowering.supports(space, (x,))
    assert not ok and "net[1]/CellModule: a node of the output may be without edges by choice 'a" in because
    assert "another shape; leave out nn.Zero and options without edges there" in because


def test_where_a_missing_edge_changes_the_shape_what_follows_is_mixed_with_it():
    edge = nn.Edge(0, choose("a", none=nn.Zero(), conv=nn.Conv2d(4, 1)))
    space = Space([nn.Cell([[edge]]), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2)])
    mixture, x = mixed(space, torch.zeros(1, 3, 4, 4)), normal(2, 3, 4, 4)
    assert [type(part).__name__ for part in mixture.net] == ["Mixed"]
    assert all(one_hot_is_the_network(mixture, genotype, x) for genotype in space)


@pytest.mark.parametrize("name", ODD)
def test_odd_spaces_are_judged_and_never_raise(name):
    for root in (ODD[name](), [ODD[name](), nn.Linear(2)], nn.Cell([ODD[name]()]), nn.CellChain(ODD[name]())):
        space = Space(root)
        for example in ((torch.zeros(2, 3),), None):
            ok, because = lowering.supports(space, example)
            assert isinstance(ok, bool) and isinstance(because, str) and because
            if ok:
                mixture = mixed(space, example)
                assert tree_leaves(mixture(*example)) and mixture.names


@pytest.mark.parametrize("name", SPACES)
def test_spaces_with_views_are_mixed_or_refused_by_name(name):
    space = Space([SPACES[name](), *([nn.Linear(2)] if name == "unlike" else [nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                                                             nn.Linear(2)])])
    x = shape_for(name) + normal(*shape_for(name).shape)
    ok, because = lowering.supports(space, (x,))
    if not ok:
        assert any(f"'{choice}'" in because for choice in space.labels) or "CellModule" in because
        return
    mixture = mixed(space, x)
    shake(mixture.elastic)
    for genotype in samples(space, 12):
        assert one_hot_is_the_network(mixture, genotype, x), genotype


def test_judging_a_space_draws_nothing_and_says_how_much_is_computed():
    space, x = Space([nn.Linear(4), choose("op", a=nn.Linear(4), b=[nn.Linear(4), nn.Tanh()]), nn.Linear(2)]), \
        torch.zeros(1, 3)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    ok, because = lowering.supports(space, (x,))
    assert torch.equal(torch.get_rng_state(), before)
    assert ok and because == "all 1 decisions are mixed, in 5 parts where one network has up to 4"
    ok, because = lowering.supports(Space(nn.Linear(2)), (x,))
    assert (ok, because) == (False, "it has no decisions")
    with pytest.raises((BuildError, UsageError)):
        Mixture(Space(nn.Conv2d(8, 9)), torch.zeros(1, 3, 5, 5))


def test_a_mixture_holds_no_weights_of_its_own():
    space, x = case(None, "mobile")
    mixture = mixed(space, x)
    shared = {address(tensor) for tensor in (*mixture.elastic.parameters(), *mixture.elastic.buffers())}
    found = [tensor for tensor in views(mixture.net).values() if isinstance(tensor, torch.Tensor)]
    assert len(found) > 1000 and {address(tensor) for tensor in found if tensor.dim() != 4} <= shared
    assert not list(mixture.net.parameters())
