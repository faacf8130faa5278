"""Composed workloads: operator for operator those of the whole network, in every space and for awkward parts."""

import gc
import random
import weakref
from dataclasses import dataclass

import pytest
import torch

from archfab import choose, describe, nn, registry, repeat
from archfab.core import BuildError
from archfab.hardware.tracing import _tracers, trace
from archfab.hardware.workload import record_genotype
from archfab.plan import plan
from archfab.space import Space

SPACES = [pytest.param(task, space, marks=[] if task == "vision" else [pytest.mark.slow])
          for task in registry.names("tasks") if task not in ("toy", "table")
          for space in registry.load("tasks", task).spaces]


def plain(workload):
    """A workload with its buffers numbered as they are met."""
    order = {}

    def number(buffers):
        return tuple(order.setdefault(b, len(order)) for b in buffers)

    inputs = number(workload.inputs)
    ops = [(op.name, op.kind, number(op.reads), number(op.writes), op.macs, op.shape, op.detail, op.loops)
           for op in workload.ops]
    return inputs, ops, number(workload.outputs), [workload.buffers[b] for b in order]


def same(space, example, number=4, seed=0):
    """Whether some networks composed are what they are whole; the later ones of parts that are known."""
    rng = random.Random(seed)
    for _ in range(number):
        genotype = space.sample(rng)
        assert plain(trace(space, genotype, example)) == plain(record_genotype(space, genotype, example))
    return True


@pytest.mark.parametrize(("task", "space"), SPACES)
def test_composed_is_whole(task, space):
    bench = plan(task, space=space, data=None, device="null", options={})
    rng = random.Random(f"{task}{space}")
    for _ in range(2):
        genotype = bench.space.sample(rng)
        example = bench.task.example_for(genotype)
        assert plain(trace(bench.space, genotype, example)) == plain(record_genotype(bench.space, genotype, example))


def test_known_parts_are_not_recorded_again():
    bench = plan("vision", space="cell", data=None, device="null", options={})
    for i in range(60):
        trace(bench.space, bench.space.sample(random.Random(i)), bench.example)
    tracer = _tracers[bench.space]
    before = len(tracer.fragments)
    trace(bench.space, bench.space.sample(random.Random(1)), bench.example)
    assert len(tracer.fragments) == before and not tracer.entangled and not tracer.whole


class Twice(torch.nn.Module):
    """A part that runs what stands in it twice, with the same weights."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(self.inner(x))

    @staticmethod
    def assemble(builder, x, where, inner):
        return Twice(builder.part(inner, x, where)[0]), x


class Tied(Twice):
    """A part that looks at the weights of what stands in it."""

    def forward(self, x):
        return torch.nn.functional.linear(self.inner(x), self.inner.weight)

    @staticmethod
    def assemble(builder, x, where, inner):
        return Tied(builder.part(inner, x, where)[0]), x


class Slope(Twice):
    """A part that takes the gradient of what stands in it."""

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            return torch.autograd.grad(self.inner(x).sum() + (x * x).sum(), x)[0]

    @staticmethod
    def assemble(builder, x, where, inner):
        return Slope(builder.part(inner, x, where)[0]), x


class Half(Twice):
    """A part that runs what stands in it on another shape than it was assembled for."""

    def forward(self, x):
        return torch.cat([self.inner(x[:1]), self.inner(x[1:])])

    @staticmethod
    def assemble(builder, x, where, inner):
        return Half(builder.part(inner, x, where)[0]), x


class Looking(Twice):
    """A part that looks at what stands in it, at where it stands or at the genotype."""

    def __init__(self, inner, by, where, genotype):
        super().__init__(inner)
        self.sees = {"class": lambda: isinstance(inner, torch.nn.Linear), "bias": lambda: hasattr(inner, "bias"),
                     "parameters": lambda: len(list(self.parameters())) > 1, "place": lambda: "[2]" in where,
                     "name": lambda: type(inner).__name__ == "Linear", "state": lambda: bool(inner.state_dict()),
                     "genotype": lambda: genotype["act"] == "a", "get": lambda: genotype.get("act") == "a"}[by]()

    def forward(self, x):
        y = self.inner(x)
        return torch.sigmoid(y) if self.sees else torch.tanh(y)

    @staticmethod
    def assemble(builder, x, where, inner, by):
        module, y = builder.part(inner, x, where)
        return Looking(module, by, where, builder.genotype), y


@pytest.mark.parametrize("by", ["class", "bias", "parameters", "place", "name", "state", "genotype", "get"])
def test_parts_that_look_at_what_stands_in_them(by):
    inner = choose("kind", linear=nn.Linear(6), same=nn.Identity(), row=nn.Sequential(nn.Linear(6), nn.ReLU()))
    alike = describe(Looking)(nn.Linear(6), by)
    space = Space([nn.Linear(6), alike, alike, describe(Looking)(inner, by), choose("act", a=nn.ReLU(), b=nn.Tanh())])
    assert same(space, (torch.zeros(4, 6),), 8)


class Counting(Twice):
    """A part that hands a number on beside the tensor."""

    def forward(self, x):
        for i in range(3):
            x = self.inner(x, i)
        return x

    @staticmethod
    def assemble(builder, x, where, inner):
        module, y = builder.part(inner, (x, 0), where)
        return Counting(module), y


class Odd(torch.nn.Module):
    def forward(self, x, i):
        return x.relu() if i % 2 else x.tanh()


@dataclass(frozen=True)
class Box:
    """Holds a tensor where nobody looks for one."""

    held: torch.Tensor


class Boxed(torch.nn.Module):
    def forward(self, x):
        return Box(x.relu())


class Unboxed(torch.nn.Module):
    def forward(self, box):
        return box.held.tanh()


class Named(torch.nn.Module):
    def forward(self, x):
        return {"whole": x.relu(), "left": x[:, :3], "size": 3}


class Unnamed(torch.nn.Module):
    def forward(self, row):
        return row["whole"][:, :3] + row["left"].mul_(row["size"])


def local(name):
    """Two classes of one address."""
    class Local(torch.nn.Module):
        def forward(self, x):
            return getattr(torch, name)(x)

    return describe(Local)()


@pytest.mark.parametrize("parts", [[describe(Counting)(describe(Odd)())], [describe(Boxed)(), describe(Unboxed)()],
                                   [describe(Named)(), describe(Unnamed)()], [local("relu"), local("tanh")]],
                         ids=["numbers", "boxes", "dictionaries", "namesakes"])
def test_what_parts_hand_on_and_who_they_are(parts):
    assert same(Space([nn.Linear(6, bias=choose("bias", True, False)), *parts, nn.ReLU()]), (torch.zeros(4, 6),))


def test_a_tuple_is_handed_on_as_one():
    """A row of parts hands on one value, so this network does not run, composed or whole."""
    space = Space([nn.Linear(6), describe(Pair)(), describe(Apart)()])
    for trial in (trace, record_genotype):
        with pytest.raises(TypeError, match="missing 1 required"):
            trial(space, {}, (torch.zeros(4, 6),))


class Pair(torch.nn.Module):
    def forward(self, x):
        return x, x


class Apart(torch.nn.Module):
    def forward(self, a, b):
        return a + b


def test_what_is_known_of_a_space_goes_with_it():
    space = Space([nn.Linear(choose("width", 2, 3)), describe(Boxed)()])
    trace(space, {"width": 2}, (torch.zeros(4, 6),))
    gone = weakref.ref(_tracers[space])
    del space
    gc.collect()
    assert gone() is None


class Turned(torch.nn.Module):
    """A part whose output is a view that does not lie in one piece."""

    def forward(self, x):
        return x.transpose(-1, -2)


@pytest.mark.parametrize("part", [Twice, Tied, Slope, Half])
def test_parts_that_do_more_than_run_what_stands_in_them(part):
    def block(i):
        return describe(part)(nn.Linear(6, bias=choose(f"bias{i}", True, False)))

    space = Space([nn.Linear(6), repeat(choose("depth", 1, 2, 3), block), nn.ReLU()])
    assert same(space, (torch.zeros(4, 6),), 8)


def test_views_are_handed_on_as_they_lie():
    space = Space([nn.Linear(6), describe(Turned)(), nn.Flatten(), nn.Linear(choose("width", 2, 3)), nn.ReLU()])
    assert same(space, (torch.zeros(4, 5, 6),), 4)


def test_a_network_that_cannot_be_built_says_so_as_ever():
    space = Space([nn.Conv2d(4, choose("kernel", 3, 9)), nn.ReLU()])
    for trial in (trace, record_genotype):
        with pytest.raises(BuildError, match=r"cannot take an input of 1x3x5x5|Conv2d"):
            trial(space, {"kernel": 9}, (torch.zeros(1, 3, 5, 5),))
    assert trace(space, {"kernel": 3}, (torch.zeros(1, 3, 5, 5),)).macs == 4 * 27 * 9
