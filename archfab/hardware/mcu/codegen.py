"""C code for an integer network: constants, an arena with a place for every tensor, and one call an operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from archfab.core import BuildError
from archfab.hardware.int8.graph import Graph
from archfab.hardware.mcu import moves, operators
from archfab.hardware.mcu.cores import Core
from archfab.hardware.mcu.operators import OVERREAD, Calls, Place
from archfab.hardware.mcu.planner import Need, offsets
from archfab.hardware.mcu.writer import Writer, numbers

EMITTERS = {**operators.EMITTERS, **moves.EMITTERS}


@dataclass(frozen=True)
class Program:
    """The source of a network, and what it needs."""

    source: str
    arena: int                      # bytes of activations and scratch
    nodes: tuple[int, ...]          # the operators that have code, in order; one mark stands behind each


def generate(graph: Graph, core: Core, inputs: Sequence[np.ndarray], trace: bool = False) -> Program:
    """The source for one core, with these inputs in it.

    :param trace: whether each operator's output is printed as well, to see which one differs.
    :raises BuildError: naming everything that the generator has no code for.
    """
    writer = Writer()
    calls = emit(graph, core, writer)
    homes = shared(graph, calls)
    places, scratches, arena = arrange(graph, calls, homes)
    names = {i: f"(af_arena + {places[homes[i]]})" for i in homes}
    names |= {i: f"((const int8_t *){writer.array(t.data, 'c', OVERREAD)})" for i, t in enumerate(graph.tensors)
              if t.data is not None and t.dtype == "int8" and i in used(graph, calls)}
    body, nodes = ["    af_mark();"], []
    for number, (node, call) in enumerate(zip(graph.nodes, calls, strict=True)):
        out = names[node.outputs[0]]
        body += ["    " + line.format(*(names.get(i, "") for i in node.inputs), out=out,
                                      scratch=f"(af_arena + {scratches.get(number, 0)})") for line in call.lines]
        if call.lines:
            body.append("    af_mark();")
            nodes.append(number)
        if trace:
            body.append(f"    af_print({out}, {graph.tensors[node.outputs[0]].elements});")
    source = "\n".join([
        '#include "archfab.h"', "void af_mark(void);", "void af_print(const int8_t *bytes, int32_t count);",
        '#define OUTSIDE __attribute__((section(".outside"), noinline))', *writer.declarations,
        f"static int8_t af_arena[{arena}] __attribute__((aligned(8)));",
        *(f"static const int8_t input{i}[] __attribute__((section(\".outside.data\"))) = {{{numbers(x.ravel())}}};"
          for i, x in enumerate(inputs)),
        "void af_network(void)", "{", *body, "}", "OUTSIDE void af_load(void)", "{",
        *(f"    for (int32_t i = 0; i < {x.size}; i++)\n        {names[place]}[i] = input{i}[i];"
          for i, (x, place) in enumerate(zip(inputs, graph.inputs, strict=True))),
        "}", "OUTSIDE void af_show(void)", "{",
        *(f"    af_print({names[place]}, {graph.tensors[place].elements});" for place in graph.outputs), "}", ""])
    return Program(source, arena, tuple(nodes))


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


def shared(graph: Graph, calls: Sequence[Calls]) -> dict[int, int]:
    """For each activation the tensor whose place it takes: its own, or that of an input which is not needed after."""
    last = {i: number for number, node in enumerate(graph.nodes) for i in node.inputs}
    last.update(dict.fromkeys(graph.outputs, len(graph.nodes)))
    homes = {i: i for i in graph.inputs}
    ends = {i: last.get(i, 0) for i in graph.inputs}
    for number, (node, call) in enumerate(zip(graph.nodes, calls, strict=True)):
        out = node.outputs[0]
        chosen = out
        for slot in (0,) if call.alias else call.in_place:
            home = homes.get(node.inputs[slot])
            if home is None:
                if call.alias:
                    raise BuildError(f"{node.op} '{graph.tensors[out].name}' works on a constant")
                continue
            if call.alias or ends[home] <= number:
                chosen = home
                break
        homes[out] = chosen
        ends[chosen] = max(ends.get(chosen, 0), last.get(out, number))
    return homes


def arrange(graph: Graph, calls: Sequence[Calls], homes: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int],
                                                                                     int]:
    """Where each tensor and each operator's scratch lie in the arena, and how large it is."""
    spans: dict[int, list[int]] = {homes[i]: [0, 0] for i in graph.inputs}
    for number, node in enumerate(graph.nodes):
        for i in (*node.inputs, *node.outputs):
            if i in homes:
                spans.setdefault(homes[i], [number, number])[1] = number
    for i in graph.outputs:
        spans[homes[i]][1] = len(graph.nodes)
    needs = [Need(graph.tensors[i].elements, *span) for i, span in spans.items()]
    working = [number for number, call in enumerate(calls) if call.scratch]
    needs += [Need(calls[number].scratch, number, number) for number in working]
    places, size = offsets(needs)
    return (dict(zip(spans, places, strict=False)), dict(zip(working, places[len(spans):], strict=True)),
            size + OVERREAD)
