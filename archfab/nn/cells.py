"""Cells: directed acyclic graphs whose edges carry operations, as NAS-Bench-201 and DARTS search them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
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


@lru_cache(1024)        # cells ask for the same few again and again
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


@lru_cache(1024)
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
        edges = [(source, j, op, place) for j, node in enumerate(nodes, inputs)
                 for source, op, place in incoming(builder, builder.taken(node, where), j, where)]
        outputs = list(range(inputs, inputs + len(nodes))) if concat else [inputs + len(nodes) - 1]
        edges = useful([edge for edge in edges if not is_zero(builder.decided(edge[2]))], inputs, outputs)
        reached = [i for i in outputs if any(target == i for _, target, *_ in edges)]
        if not reached:
            last = inputs - 1
            edges, reached = [(last, outputs[-1], Zero(), where)], outputs[-1:]
        ops = []
        for source, target, op, place in edges:
            module, y = builder.part(op, shapes[source], place)
            if target in shapes and shapes[target].shape != y.shape:
                raise BuildError(f"{where}: the edges into node {target} give {tuple(shapes[target].shape)} and "
                                 f"{tuple(y.shape)}, which cannot be added")
            ops.append(module)
            shapes[target] = y
        y = shapes[reached[0]]
        if len(reached) > 1:
            y = y.new_empty((y.shape[0], sum(shapes[i].shape[1] for i in reached), *y.shape[2:]))
        return CellModule(prepare, [(s, t) for s, t, *_ in edges], ops, reached), y

    @staticmethod
    def relax(builder: Any, x: Any, where: str, nodes: Any, inputs: int, concat: bool,
              width: Any) -> tuple[nn.Module, Any]:
        """The cell with its decisions open: every edge of every option, weighed by the options that have it."""
        states = x if isinstance(x, tuple) else (x,)
        prepare, shapes = prepared(builder, states, width, where)
        listed: dict[Any, tuple[Any, ...]] = {}
        numbers: dict[int, int] = {}            # options of each node
        for j, node in enumerate(nodes, inputs):
            choice, options = builder.options(node)
            numbers[j] = len(options)
            for index, (label, option) in enumerate(options.items()):
                stands = (node, where) if choice is None else (option, f"{where}/{choice.name}={label}")
                for source, op, place in incoming(builder, builder.taken(*stands), j, where):
                    if is_zero(builder.options(op)[1].get(None)):
                        continue
                    name = None if choice is None else choice.name
                    key = place, op.name if isinstance(op, Choice) else None
                    listed.setdefault(key, (source, j, op, place, name, []))[-1].append(index)
        last = inputs + len(nodes) - 1
        edges = []
        for source, target, op, place, name, having in useful(
                list(listed.values()), inputs, range(inputs, last + 1) if concat else [last]):
            module, y = builder.part(op, shapes[source], place)
            if hasattr(module, "hush"):
                module.hush()
            if shapes.setdefault(target, y).shape != y.shape:
                builder.decided(nodes[target - inputs])         # each option by itself
            edges.append(OpenEdge(source, target, module, name, having))
        outputs = [i for i in range(inputs, last + 1) if i in shapes] if concat else [last]
        y = empty = shapes[inputs - 1]          # what a cell without edges gives
        if outputs and outputs[0] in shapes:
            y = shapes[outputs[0]]
        if len(outputs) > 1:
            y = y.new_empty((y.shape[0], sum(shapes[i].shape[1] for i in outputs), *y.shape[2:]))
        always = filled(edges, inputs, numbers)
        if not always.issuperset(outputs) and (len(outputs) > 1 or y.shape != empty.shape):
            names = {name for edge in edges if edge.target not in always
                     for name in (edge.name, getattr(edge.op, "name", None)) if name}
            raise BuildError(f"{where}: a node of the output may be without edges by choice "
                             f"{' and '.join(map(repr, sorted(names)))}, and then the output has another shape; leave "
                             "out nn.Zero and options without edges there")
        return OpenCell(builder.gates, prepare, edges, outputs), y


class OpenEdge(NamedTuple):
    """An edge of a cell with open decisions: it counts for the options of its node that have it."""

    source: int
    target: int
    op: nn.Module
    name: str | None            # the decision of its node; None where there is none
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
        last = values[len(states) - 1]
        for edge in self.edges:
            counts, share = self.share(edge)
            if not counts or edge.source not in values:
                continue
            y = edge.op(values[edge.source])
            if y is None:
                continue
            y = y if share is None else y * share
            values[edge.target] = values[edge.target] + y if edge.target in values else y
        found = [values[i] for i in self.outputs if i in values] or [torch.zeros_like(last)]
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def share(self, edge: OpenEdge) -> tuple[bool, torch.Tensor | None]:
        """Whether an edge counts in this step, and the sum of the weights of the options that have it; None for 1."""
        if edge.name is None:
            return True, None
        active = [i for i in self.gates.active[edge.name] if i in edge.options]
        whole = not active or self.gates.single(edge.name)
        return bool(active), None if whole else self.gates.weights[edge.name][active].sum()


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
        return chained(builder, x, laid(builder, cells, where))

    @staticmethod
    def relax(builder: Any, x: Any, where: str, cells: Any) -> tuple[nn.Module, Any]:
        """The chain with only as many cells of each run of equal ones as are asked for."""
        return chained(builder, x, builder.thinned(list(laid(builder, cells, where))))


def laid(builder: Any, cells: Sequence[Any], where: str) -> Iterator[tuple[str, Any]]:
    """The cells of a chain with their places. A choice among single cells stays, as its options have places of their
    own; what may be several cells is laid out."""
    for i, cell in enumerate(cells):
        options = cell.options.values() if isinstance(cell, Choice) else [cell]
        if all(isinstance(option, Description) for option in options):
            yield f"{where}[{i}]", cell
        else:
            yield from ((f"{where}[{i}][{j}]", each) for j, each in enumerate(builder.items([cell])))


def chained(builder: Any, x: Any, row: Iterable[tuple[str, Any]]) -> tuple[nn.Module, Any]:
    """Cells with their places, each fed by the two before it."""
    before, last, modules = x, x, []
    for place, cell in row:
        module, y = builder.part(cell, (before, last), place)
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


def incoming(builder: Any, option: tuple[Any, str], target: int, where: str) -> Iterator[tuple[int, Any, str]]:
    """The edges into a node, as one of its options has them: their sources, operations and places.

    A choice of operations is the same part in every option of a node that has it, so it stands in the cell, `where`;
    other operations stand in the option.
    """
    edges, at = option
    seen: Counter[Any] = Counter()
    for edge in map(builder.decided, builder.items(edges)):
        source, op = source_of(builder, edge, target, where), edge.kwargs["op"]
        open_ = isinstance(op, Choice)
        place = f"{where if open_ else at}[{source}-{target}]"
        seen[kind := (place, op.name if open_ else None)] += 1
        yield source, op, place if seen[kind] == 1 else f"{place}#{seen[kind]}"


def filled(edges: Sequence[OpenEdge], inputs: int, numbers: Mapping[int, int]) -> set[int]:
    """The nodes that have a value whatever is decided: one by edges that are always there, in each of its options."""
    found = set(range(inputs))
    for node, number in numbers.items():
        firm = (edge for edge in edges if edge.target == node and edge.source in found
                and not getattr(edge.op, "may_be_silent", False))
        if len({index for edge in firm for index in edge.options}) == number:
            found.add(node)
    return found


def useful(edges: list[tuple[Any, ...]], inputs: int, outputs: Sequence[int]) -> list[tuple[Any, ...]]:
    """The edges on some path from an input to an output, in an order in which they can be computed."""
    edges = sorted(edges, key=lambda edge: (edge[1], edge[0]))
    alive = set(range(inputs))
    for source, target, *_ in edges:
        if source in alive:
            alive.add(target)
    wanted = set(outputs)
    for source, target, *_ in reversed(edges):
        if target in wanted:
            wanted.add(source)
    return [edge for edge in edges if edge[0] in alive and edge[1] in wanted]
