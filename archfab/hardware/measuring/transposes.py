"""Transposes that an ONNX graph does not need: pairs that undo each other, also with elementwise operators between."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

UNARY = {"Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Gelu", "Erf", "Exp", "Log", "Sqrt", "Neg",
         "Abs", "Elu", "Selu", "Softplus", "Mish", "Reciprocal", "Identity", "Cast", "Clip", "Floor", "Ceil", "Round"}
"""Elementwise operators, whose first input alone may be transposed; what else they read is one number."""
BINARY = {"Add", "Mul", "Sub", "Div", "Max", "Min", "Pow"}


def without_transposes(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The same function with fewer transposes, and how many fewer; the model itself where none can go."""
    import onnx
    if any(each.HasField("g") or each.graphs for node in model.graph.node for each in node.attribute):
        return model, 0         # branches and loops read tensors from outside
    draft = onnx.ModelProto()
    draft.CopyFrom(model)
    graph = Graph(draft.graph)
    while graph.joined() or graph.sunk():
        pass
    graph.clean()
    saved = count(model) - count(draft)
    return (draft, saved) if saved > 0 else (model, 0)


def count(model: onnx.ModelProto) -> int:
    return Counter(node.op_type for node in model.graph.node)["Transpose"]


def order_of(node: Any) -> list[int] | None:
    """The permutation of a transpose; None where it is not said and hangs on the number of axes."""
    return next((list(each.ints) for each in node.attribute if each.name == "perm"), None)


class Graph:
    """A graph under change: who makes and who reads each tensor. Every change leaves what it computes as it was."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.kept = {each.name for each in graph.output}
        self.index()

    def index(self) -> None:
        self.makers = {name: node for node in self.graph.node for name in node.output}
        self.readers: Counter[str] = Counter(name for node in self.graph.node for name in node.input)
        self.single = {each.name for each in self.graph.initializer if all(size == 1 for size in each.dims)}
        self.constant = {each.name for each in self.graph.initializer}

    def transpose_of(self, name: str) -> Any:
        """The transpose that makes a tensor, where one does and says its order."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type == "Transpose" and order_of(node) else None

    def joined(self) -> bool:
        """Makes one transpose of two in a row, or none where they undo each other."""
        for node in self.graph.node:
            before = self.transpose_of(node.input[0]) if node.op_type == "Transpose" and order_of(node) else None
            if before is None:
                continue
            first, second = order_of(before) or [], order_of(node) or []
            both = [first[axis] for axis in second]
            if both == sorted(both) and node.output[0] not in self.kept:
                self.rename(node.output[0], before.input[0])
                self.graph.node.remove(node)
            else:
                node.input[0] = before.input[0]
                set_order(node, both)
            self.clean()
            return True
        return False

    def sunk(self) -> bool:
        """Moves a transpose behind the elementwise operator that alone reads it, where another one comes after."""
        for node in self.graph.node:
            moved = self.movable(node)
            if not moved or node.output[0] in self.kept or not self.leads_to_transpose(node.output[0]):
                continue
            order = order_of(moved[0]) or []
            for transpose in moved:
                for i, name in enumerate(node.input):
                    if name == transpose.output[0]:
                        node.input[i] = transpose.input[0]
            after = moved[0]
            made = node.output[0]
            node.output[0] = made + "_as_it_was"
            fresh = type(after)()
            fresh.CopyFrom(after)
            fresh.name, fresh.input[0], fresh.output[0] = made + "_transposed", node.output[0], made
            set_order(fresh, order)
            self.graph.node.insert(list(self.graph.node).index(node) + 1, fresh)
            self.clean()
            return True
        return False

    def movable(self, node: Any) -> list[Any]:
        """The transposes before an elementwise operator which nobody else reads, where all its inputs have the same."""
        if node.op_type not in UNARY | BINARY or len(node.output) != 1:
            return []
        full = [name for name in node.input if name and name not in self.single]
        if node.op_type in UNARY:
            full = full if full == [node.input[0]] else []
        made = [self.transpose_of(name) for name in full]
        alone = all(self.readers[name] == full.count(name) and name not in self.kept for name in full)
        if not made or not alone or any(each is None for each in made):
            return []
        return made if len({tuple(order_of(each) or ()) for each in made}) == 1 else []

    def leads_to_transpose(self, name: str) -> bool:
        """Whether, through elementwise operators alone, a tensor comes to a transpose and to nothing else."""
        readers = [node for node in self.graph.node if name in node.input]
        return bool(readers) and all(
            node.op_type == "Transpose" or (node.op_type in UNARY | BINARY and node.output[0] not in self.kept
                                            and self.leads_to_transpose(node.output[0])) for node in readers)

    def rename(self, old: str, new: str) -> None:
        for node in self.graph.node:
            for i, name in enumerate(node.input):
                if name == old:
                    node.input[i] = new

    def clean(self) -> None:
        """Takes away transposes that change nothing or that nobody reads."""
        self.index()
        again = True
        while again:
            again = False
            for node in list(self.graph.node):
                if node.op_type != "Transpose" or node.output[0] in self.kept:
                    continue
                order = order_of(node)
                if order is not None and order == sorted(order):
                    self.rename(node.output[0], node.input[0])
                elif self.readers[node.output[0]]:
                    continue
                self.graph.node.remove(node)
                self.index()
                again = True


def set_order(node: Any, order: list[int]) -> None:
    import onnx
    del node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("perm", order))
