"""The memory planner: in which order steps run and where their buffers lie, so that an arena is as small as can be.

    graph = Graph(steps=[Step(reads=(0,), writes=(1,)), Step(reads=(1,), writes=(2,), overwrites=(1,))],
                  sizes=[3072, 16384, 16384], inputs=(0,), outputs=(2,))
    found = plan(graph)             # found.arena bytes; found.order; found.offsets[buffer]; found.bound, found.gap

One idea, one file: `graph` (what is asked), `segment` (the same as bit masks), `orders` (least peak over the
topological orders), `offsets` (packing), `planning` (both together), `kernels` (a network's kernels as a graph),
`runtime` (what a device's runtime does of it), `patches` (the
first stage patch by patch), `report` and `picture` (for people).
"""

from archfab.hardware.memory.graph import Graph, Step
from archfab.hardware.memory.planning import Plan, plan

__all__ = ["Graph", "Plan", "Step", "plan"]
