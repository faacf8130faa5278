"""Composed workloads: operator for operator those of the whole network, in every space and for awkward parts."""

import random

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
