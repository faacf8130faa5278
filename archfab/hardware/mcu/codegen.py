"""C code for an integer network: constants, an arena with a place for every tensor, and one call an operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archfab.core import BuildError
from archfab.hardware.int8.graph import Graph
from archfab.hardware.mcu import moves, operators
from archfab.hardware.mcu.cores import Core
from archfab.hardware.mcu.operators import OVERREAD, Calls, Place
from archfab.hardware.mcu.writer import Writer, numbers
from archfab.hardware.memory import Graph as Memory
from archfab.hardware.memory import Plan, Step
from archfab.hardware.memory import plan as plan_memory
from archfab.hardware.memory.graph import Name

EMITTERS = {**operators.EMITTERS, **moves.EMITTERS}


ALIGNMENT = 8           # bytes


@dataclass(frozen=True)
class Program:
    """The source of a network, and what it needs."""

    source: str
    arena: int                      # bytes of activations and scratch
    constants: int                  # bytes of weights and tables
    nodes: tuple[int, ...]          # the operators that have code, in order; one mark stands behind each


def generate(graph: Graph, core: Core, inputs: Sequence[np.ndarray], trace: bool = False) -> Program:
    """The source for one core, with these inputs in it.

    :param trace: whether each operator's output is printed as well, to see which one differs.
    :raises BuildError: naming everything that the generator has no code for.
    """
    writer = Writer()
    calls = emit(graph, core, writer)
    plan, number_of = planned(graph, calls)
    names = {i: f"(af_arena + {place})" for i, place in plan.offsets.items()}
    names |= {i: f"((const int8_t *){writer.array(t.data, 'c', OVERREAD)})" for i, t in enumerate(graph.tensors)
              if t.data is not None and t.dtype == "int8" and i in used(graph, calls)}
    arena = plan.arena + OVERREAD
    body, nodes = ["    af_mark();"], []
    for step in plan.order:
        node, call = graph.nodes[number_of[step]], calls[number_of[step]]
        out = names[node.outputs[0]]
        body += ["    " + line.format(*(names.get(i, "") for i in node.inputs), out=out,
                                      scratch=f"(af_arena + {plan.scratch.get(step, 0)})") for line in call.lines]
        body.append("    af_mark();")
        nodes.append(number_of[step])
        if trace:
            body.append(f"    af_print({out}, {graph.tensors[node.outputs[0]].elements});")
    source = "\n".join([
        '#include "archfab.h"', "void af_mark(void);", "void af_print(const int8_t *bytes, int32_t count);",
        '#define OUTSIDE __attribute__((section(".outside"), noinline))', *writer.declarations,
        f"static int8_t af_arena[{arena}] __attribute__((aligned(8)));",
        *(f"static const int8_t input{i}[{x.size}] __attribute__((section(\".outside.data\"))) = {numbers(x)};"
          for i, x in enumerate(inputs)),
        "void af_network(void)", "{", *body, "}", "OUTSIDE void af_load(void)", "{",
        *(f"    for (int32_t i = 0; i < {x.size}; i++)\n        {names[place]}[i] = input{i}[i];"
          for i, (x, place) in enumerate(zip(inputs, graph.inputs, strict=True))),
        "}", "OUTSIDE void af_show(void)", "{",
        *(f"    af_print({names[place]}, {graph.tensors[place].elements});" for place in graph.outputs), "}", ""])
    return Program(source, arena, writer.constants, tuple(nodes))


def emit(graph: Graph, core: Core, writer: Writer) -> list[Calls]:
    """The calls of every operator; what cannot be generated is collected and named in one error."""
    calls, problems = [], []
    for number, node in enumerate(graph.nodes):
        try:
            if node.op not in EMITTERS:
                raise BuildError(f"{node.op} '{graph.tensors[node.outputs[0]].name}'")
            calls.append(EMITTERS[node.op](Place(graph, node, core, writer, f"p{number}")))
        except BuildError as error:
            problems.append(str(error))
    if problems:
        raise BuildError(f"no code can be generated for {'; '.join(sorted(set(problems)))}; known operators: "
                         + ", ".join(sorted(EMITTERS)))
    return calls


def used(graph: Graph, calls: Sequence[Calls]) -> set[int]:
    """The tensors that calls read as they are; weights and biases are written in the kernels' own order."""
    return {tensor for node, call in zip(graph.nodes, calls, strict=True) for i, tensor in enumerate(node.inputs)
            if any(f"{{{i}}}" in line for line in call.lines)}


def planned(graph: Graph, calls: Sequence[Calls]) -> tuple[Plan, dict[int, int]]:
    """The order of the operators that have code, a place in the arena for each activation and each operator's
    scratch; and of which operator each step is."""
    coded = [number for number, call in enumerate(calls) if call.lines]
    views: dict[Name, Name] = {}
    for node, call in zip(graph.nodes, calls, strict=True):
        if call.alias:
            if graph.tensors[node.inputs[0]].constant:
                raise BuildError(f"{node.op} '{graph.tensors[node.outputs[0]].name}' works on a constant")
            views[node.outputs[0]] = node.inputs[0]
    steps = []
    for number in coded:
        node, call = graph.nodes[number], calls[number]
        reads = tuple(i for i in node.inputs if not graph.tensors[i].constant)
        over = tuple(node.inputs[i] for i in call.in_place if node.inputs[i] in reads)
        steps.append(Step(reads, node.outputs, node.op, over, call.scratch))
    sizes: dict[Name, int] = {i: t.elements for i, t in enumerate(graph.tensors) if not t.constant}
    plan = plan_memory(Memory(steps, sizes, graph.inputs, graph.outputs, views=views), alignment=ALIGNMENT)
    return plan, dict(enumerate(coded))
