"""Cells: directed acyclic graphs whose edges carry operations, as NAS-Bench-201 and DARTS search them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import nn

from archfab.core import BuildError
from archfab.nn.blocks import make
from archfab.space.choices import CHANNELS, Choice, choose
from archfab.space.descriptions import Describer, Description


def Edge(source: Any, op: Any) -> Description:
    """An operation on the value of an earlier node; a cell's inputs are the first nodes."""
    return Describer(EdgeData, "archfab.nn.cells:EdgeData")(source, op)


def Cell(nodes: Sequence[Any], inputs: int = 1, concat: bool = False, width: Any = None) -> Description:
    """A directed acyclic graph; each node is the sum of its edges.

    :param nodes: for each node after the inputs, its edges, or a choice among lists of edges.
    :param inputs: 1, or 2 in a `CellChain`.
    :param concat: the output is all nodes side by side, not the last one.
    :param width: channels that the inputs are brought to first, at the size of the last input.
    """
    return Describer(CellModule, "archfab.nn.cells:CellModule")(list(nodes), inputs, concat, width)


def CellChain(*cells: Any) -> Description:
    """Cells in a row, each fed by the two before it; the first by the input twice."""
    return Describer(ChainModule, "archfab.nn.cells:ChainModule")(list(cells))


def Zero() -> Description:
    """No connection: the edge is left out."""
    return Describer(ZeroModule, "archfab.nn.cells:ZeroModule")()


def PreConv(channels: Any, kernel: Any) -> Description:
    """Activation, convolution, batch normalisation: the order used inside cells."""
    return make("Sequential", make("ReLU"), make("Conv2d", channels, kernel, padding=kernel // 2, bias=False),
                make("BatchNorm2d"))


def nasbench201_cell(name: str = "cell") -> Description:
    """Four nodes, one of five operations on each of six edges: 15,625 cells (Dong and Yang, ICLR 2020)."""

    def operation(i: int, j: int) -> Any:
        return choose(f"{name}.{i}-{j}", none=Zero(), skip=make("Identity"), conv1x1=PreConv(CHANNELS, 1),
                      conv3x3=PreConv(CHANNELS, 3), pool=make("AvgPool2d", 3, stride=1, padding=1,
                                                             count_include_pad=False))

    return Cell([[Edge(i, operation(i, j)) for i in range(j)] for j in range(1, 4)])


def darts_cell(width: Any, name: str, reduce: bool = False, nodes: int = 4) -> Description:
    """Each node adds one of seven operations on two different earlier nodes (Liu et al., ICLR 2019)."""

    def operation(i: int, j: int) -> Any:
        stride = 2 if reduce and i < 2 else 1
        return choose(f"{name}.{i}-{j}", **darts_operations(stride))

    def node(j: int) -> Any:
        return choose(f"{name}.{j}", **{f"{a},{b}": [Edge(a, operation(a, j)), Edge(b, operation(b, j))]
                                         for a, b in combinations(range(j), 2)})

    return Cell([node(j) for j in range(2, 2 + nodes)], inputs=2, concat=True, width=width)


def darts_operations(stride: int) -> dict[str, Any]:
    """The seven operations of DARTS, its zero left out as in its derived cells."""

    def depthwise(kernel: int, stride: int, dilation: int = 1) -> Description:
        return make("Sequential", make("ReLU"),
                    make("Conv2d", CHANNELS, kernel, stride=stride, padding=dilation * (kernel // 2),
                         dilation=dilation, groups=CHANNELS, bias=False),
                    make("Conv2d", CHANNELS, 1, bias=False), make("BatchNorm2d"))

    def separable(kernel: int) -> Description:
        return make("Sequential", depthwise(kernel, stride), depthwise(kernel, 1))

    def pool(kind: str, **options: bool) -> Description:
        return make("Sequential", make(kind, 3, stride=stride, padding=1, **options),
                    make("BatchNorm2d", affine=False))

    return {"max_pool": pool("MaxPool2d"), "avg_pool": pool("AvgPool2d", count_include_pad=False),
            "skip": make("Identity") if stride == 1 else Halve(CHANNELS),
            "sep3x3": separable(3), "sep5x5": separable(5),
            "dil3x3": depthwise(3, stride, 2), "dil5x5": depthwise(5, stride, 2)}


def Halve(channels: Any) -> Description:
    """Half the size with every pixel still seen: two shifted strided 1x1 convolutions side by side."""
    return Describer(HalveModule, "archfab.nn.cells:HalveModule")(channels)


class EdgeData:
    """What an edge says; it is no module of its own, the cell builds its operation."""

    def __init__(self, source: int, op: Any) -> None:
        self.source = source
        self.op = op


class ZeroModule(nn.Module):
    """Zeros of the input's shape: stands only where a whole cell is empty."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


class HalveModule(nn.Module):
    """Factorised reduction of DARTS: [N, C, H, W] -> [N, channels, H/2, W/2] (rounded up)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(in_channels, channels // 2, 1, stride=2, bias=False)
        self.right = nn.Conv2d(in_channels, channels - channels // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(x)
        shifted = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.left(x), self.right(shifted)], 1))


class CellModule(nn.Module):
    """A cell as decided: the operations that a path from input to output uses, and nothing else."""

    def __init__(self, prepare: Sequence[nn.Module], edges: Sequence[tuple[int, int]], ops: Sequence[nn.Module],
                 outputs: Sequence[int]) -> None:
        super().__init__()
        self.prepare = nn.ModuleList(prepare)
        self.ops = nn.ModuleList(ops)
        self.edges = tuple(edges)
        self.outputs = tuple(outputs)

    def forward(self, *states: torch.Tensor) -> torch.Tensor:
        values = {i: prepare(state) for i, (prepare, state) in enumerate(zip(self.prepare, states, strict=True))}
        for (source, target), op in zip(self.edges, self.ops, strict=True):
            y = op(values[source])
            values[target] = values[target] + y if target in values else y
        if len(self.outputs) == 1:
            return values[self.outputs[0]]
        return torch.cat([values[i] for i in self.outputs], 1)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, nodes: Any, inputs: int, concat: bool,
                 width: Any) -> tuple[nn.Module, Any]:
        states = x if isinstance(x, tuple) else (x,)
        if len(states) != inputs:
            raise BuildError(f"{where}: a cell of {inputs} inputs stands where {len(states)} come in "
                             "(2 in a CellChain, else 1)")
        prepare, shapes = prepared(builder, states, width, where)
        edges = [(source_of(builder, edge, inputs + j, where), inputs + j, edge.kwargs["op"])
                 for j, node in enumerate(nodes) for edge in builder.items(builder.decided(node))]
        outputs = list(range(inputs, inputs + len(nodes))) if concat else [inputs + len(nodes) - 1]
        edges = useful([edge for edge in edges if not is_zero(builder.decided(edge[2]))], inputs, outputs)
        reached = [i for i in outputs if any(target == i for _, target, _ in edges)]
        if not reached:
            last = inputs - 1
            edges, reached = [(last, outputs[-1], Zero())], outputs[-1:]
        ops = []
        for source, target, op in edges:
            module, y = builder.part(op, shapes[source], f"{where}[{source}-{target}]")
            if target in shapes and shapes[target].shape != y.shape:
                raise BuildError(f"{where}: the edges into node {target} give {tuple(shapes[target].shape)} and "
                                 f"{tuple(y.shape)}, which cannot be added")
            ops.append(module)
            shapes[target] = y
        y = shapes[reached[0]]
        if len(reached) > 1:
            y = y.new_empty((y.shape[0], sum(shapes[i].shape[1] for i in reached), *y.shape[2:]))
        return CellModule(prepare, [(s, t) for s, t, _ in edges], ops, reached), y


    @staticmethod
    def relax(builder: Any, x: Any, where: str, nodes: Any, inputs: int, concat: bool,
              width: Any) -> tuple[nn.Module, Any]:
        """The cell with its decisions open: every edge of every option, weighed by the options that have it."""
        states = x if isinstance(x, tuple) else (x,)
        prepare, shapes = prepared(builder, states, width, where)
        edges: dict[tuple[int, int, Any], OpenEdge] = {}
        for j, node in enumerate(nodes, inputs):
            choice, options = builder.options(node)
            for label, listed in options.items():
                for edge in builder.items(listed):
                    source, op = source_of(builder, edge, j, where), edge.kwargs["op"]
                    if is_zero(builder.options(op)[1].get(None)):
                        continue
                    key = source, j, op.name if isinstance(op, Choice) else id(op)
                    if key not in edges:
                        module, y = builder.part(op, shapes[source], f"{where}[{source}-{j}]")
                        module.silent = True
                        if shapes.setdefault(j, y).shape != y.shape:
                            raise BuildError(f"{where}: the edges into node {j} have several shapes")
                        edges[key] = OpenEdge(source, j, module, None if choice is None else choice.name, [])
                    if choice is not None:
                        edges[key].options.append(builder.gates.labels[choice.name].index(label))
        outputs = list(range(inputs, inputs + len(nodes))) if concat else [inputs + len(nodes) - 1]
        if any(i not in shapes or (concat and may_be_empty(edges.values(), i)) for i in outputs):
            raise BuildError(f"{where}: a node that may be empty stands beside others in the output, whose channels "
                             "then change; leave out nn.Zero there")
        y = shapes[outputs[0]]
        if len(outputs) > 1:
            y = y.new_empty((y.shape[0], sum(shapes[i].shape[1] for i in outputs), *y.shape[2:]))
        return OpenCell(builder.gates, prepare, list(edges.values()), outputs), y


class OpenEdge(NamedTuple):
    """An edge of a cell with open decisions: it counts for the options of its node that have it; for all without."""

    source: int
    target: int
    op: nn.Module
    name: str | None
    options: list[int]


class OpenCell(nn.Module):
    """A cell with open decisions: each node is the sum of its edges, as the gates weigh them."""

    def __init__(self, gates: Any, prepare: Sequence[nn.Module], edges: Sequence[OpenEdge],
                 outputs: Sequence[int]) -> None:
        super().__init__()
        self.gates, self.edges, self.outputs = gates, tuple(edges), tuple(outputs)
        self.prepare = nn.ModuleList(prepare)
        self.ops = nn.ModuleList(edge.op for edge in edges)

    def forward(self, *states: torch.Tensor) -> torch.Tensor:
        values: dict[int, torch.Tensor] = {
            i: prepare(state) for i, (prepare, state) in enumerate(zip(self.prepare, states, strict=True))}
        for edge in self.edges:
            share = self.share(edge)
            if edge.source not in values or share == 0:
                continue
            y = edge.op(values[edge.source])
            if y is None:
                continue
            y = y if share == 1 else y * share
            values[edge.target] = values[edge.target] + y if edge.target in values else y
        found = [values[i] if i in values else torch.zeros_like(states[-1]) for i in self.outputs]
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def share(self, edge: OpenEdge) -> Any:
        """The sum of the weights of the options that have an edge; exactly 0 or 1 where that is known."""
        if edge.name is None:
            return 1
        active = [i for i in self.gates.active[edge.name] if i in edge.options]
        if not active:
            return 0
        return 1 if self.gates.single(edge.name) else self.gates.weights[edge.name][active].sum()


class ChainModule(nn.Module):
    """Cells in a row, each fed by the two before it."""

    def __init__(self, cells: Sequence[nn.Module]) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before, last = x, x
        for cell in self.cells:
            before, last = last, cell(before, last)
        return last

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, cells: Any) -> tuple[nn.Module, Any]:
        before, last, modules = x, x, []
        for i, cell in enumerate(builder.items(cells)):
            module, y = builder.part(cell, (before, last), f"{where}[{i}]")
            modules.append(module)
            before, last = last, y
        return ChainModule(modules), last


def source_of(builder: Any, edge: Any, target: int, where: str) -> int:
    """The node that an edge comes from, which stands before the one that it goes to."""
    source = builder.decided(edge.kwargs["source"])
    if not isinstance(source, int) or not 0 <= source < target:
        raise BuildError(f"{where}: an edge into node {target} comes from {source!r}; legal: 0 to {target - 1}")
    return source


def prepared(builder: Any, states: Sequence[Any], width: Any, where: str) -> tuple[list[nn.Module], dict[int, Any]]:
    """The inputs brought to one width, and to the size of the last of them."""
    if width is None:
        return [nn.Identity() for _ in states], dict(enumerate(states))
    made = [builder.part(PreConv(width, 1) if x.shape[2:] == states[-1].shape[2:] else Halve(width), x,
                         f"{where}.input{i}") for i, x in enumerate(states)]
    return [module for module, _ in made], {i: y for i, (_, y) in enumerate(made)}


def is_zero(op: Any) -> bool:
    """Whether an operation is no connection."""
    return isinstance(op, Description) and op.target == "archfab.nn.cells:ZeroModule"


def may_be_empty(edges: Iterable[OpenEdge], node: int) -> bool:
    """Whether every edge into a node has an option that is no connection."""
    return all(getattr(edge.op, "empty", None) for edge in edges if edge.target == node)


def useful(edges: list[tuple[int, int, Any]], inputs: int, outputs: Sequence[int]) -> list[tuple[int, int, Any]]:
    """The edges on some path from an input to an output, in an order in which they can be computed."""
    edges = sorted(edges, key=lambda edge: (edge[1], edge[0]))
    alive = set(range(inputs))
    for source, target, _ in edges:
        if source in alive:
            alive.add(target)
    wanted = set(outputs)
    for source, target, _ in reversed(edges):
        if target in wanted:
            wanted.add(source)
    return [edge for edge in edges if edge[0] in alive and edge[1] in wanted]


